//! The built program as a child process, with what it said.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything; only a hung program reaches it.
const LIMIT: Duration = Duration::from_secs(300);
/// Time between two looks at a child.
const GLANCE: Duration = Duration::from_millis(3);

/// A running program. It is killed if the test ends before it does.
pub(crate) struct Running {
    child: Child,
    command: String,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    command: String,
    /// Exit status; none if a signal ended the program.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program to its end, in a folder.
pub(crate) fn kinestream(folder: &Path, arguments: &[&str]) -> Finished {
    Running::start(folder, arguments).finish()
}

impl Running {
    /// Starts the program in a folder.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_kinestream"));
        Self::spawn(program, folder, arguments, Stdio::null())
    }

    /// Starts another program in a folder; what is said to it with [`Self::say`] is its stdin.
    pub(crate) fn start_other(program: &Path, folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(program, folder, arguments, Stdio::piped())
    }

    fn spawn(program: &Path, folder: &Path, arguments: &[&str], stdin: Stdio) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("OMP_NUM_THREADS", "1")
            .env_remove("RUST_LOG")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Self {
            command: format!("{} {}", program.display(), arguments.join(" ")),
            stdin: child.stdin.take(),
            stdout: Stream::collect(child.stdout.take().unwrap()),
            stderr: Stream::collect(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Waits until something is true; fails if the program ends before.
    pub(crate) fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            let ended = self.child.try_wait().unwrap();
            let said = self.stderr.so_far();
            assert!(
                ended.is_none(),
                "{} ended before {what}: {said}",
                self.command
            );
            assert!(
                begun.elapsed() < LIMIT,
                "{}: {what} never came: {said}",
                self.command
            );
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits until the program has said something on stderr; returns all it said so far.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let stderr = self.stderr.handle();
        self.wait_until(text, || stderr.lock().unwrap().contains(text));
        self.stderr.so_far()
    }

    /// Says a line on the program's stdin; false once it listens no more.
    pub(crate) fn say(&mut self, line: &str) -> bool {
        self.stdin
            .as_mut()
            .is_some_and(|stdin| writeln!(stdin, "{line}").is_ok() && stdin.flush().is_ok())
    }

    /// Closes the program's stdin.
    pub(crate) fn say_no_more(&mut self) {
        self.stdin = None;
    }

    /// Whether the program has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        // A shell's kill is there on every system; std sends SIGKILL only.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -INT {}", self.child.id())])
            .status()
            .expect("sh runs");
        assert!(sent.success(), "kill -INT failed");
    }

    /// kill -9.
    pub(crate) fn kill(mut self) -> Finished {
        self.child.kill().unwrap();
        self.finish()
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Finished {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > LIMIT => {
                    panic!("{} does not end: {}", self.command, self.stderr.so_far())
                }
                None => std::thread::sleep(GLANCE),
            }
        };
        Finished {
            command: std::mem::take(&mut self.command),
            status: status.code(),
            stdout: self.stdout.rest(),
            stderr: self.stderr.rest(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Refused if the program has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Asserts exit status 0 and returns itself.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.status, Some(0), "{}: {}", self.command, self.stderr);
        self.assert_no_panic();
        self
    }

    /// Asserts exit status 1 and one line on stderr, which holds all of `words`; nothing on stdout.
    #[track_caller]
    pub(crate) fn fails(self, words: &[&str]) {
        let Self {
            command,
            stdout,
            stderr,
            ..
        } = &self;
        self.assert_no_panic();
        assert_eq!(self.status, Some(1), "{command}: {stderr}");
        assert_eq!(stdout, "", "{command}");
        assert!(stderr.starts_with("error: "), "{command}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{command}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{command}: no `{word}` in {stderr}");
        }
    }

    /// Asserts exit status 2 and all of `words` on stderr; nothing on stdout.
    #[track_caller]
    pub(crate) fn reports_wrong_usage(self, words: &[&str]) {
        assert_eq!(self.status, Some(2), "{}: {}", self.command, self.stderr);
        assert_eq!(self.stdout, "", "{}", self.command);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{}: no `{word}` in {}",
                self.command,
                self.stderr
            );
        }
    }

    #[track_caller]
    fn assert_no_panic(&self) {
        assert!(
            !self.stderr.contains("panicked"),
            "{}: {}",
            self.command,
            self.stderr
        );
    }
}

/// All that comes out of a pipe, collected by a thread of its own so that the pipe never fills up.
struct Stream {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    fn collect(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                collected
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self {
            text,
            thread: Some(thread),
        }
    }

    fn handle(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.text)
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn rest(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.so_far()
    }
}
