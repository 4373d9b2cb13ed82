//! Whether an archive runs where nothing else is: unpacked in a Debian that has just been born, without compiler, Python or
//! LibTorch, a demo has to end well, from a disk that nobody has read of.

use super::files::{cannot_read, cannot_write, files_below};
use crate::{Outcome, cache, steps};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The Debian that is tried.
const SUITE: &str = "bookworm";

/// What the check runs; Debian's packages of the same names hold them, util-linux and coreutils those of others.
const TOOLS: [&str; 4] = ["debootstrap", "unshare", "chroot", "tar"];

/// What must not be there, or the check would show little.
const ABSENT: [&str; 5] = ["cc", "g++", "python3", "xz", "zstd"];

/// How long the demo may take, all in all.
const DEMO_LIMIT: Duration = Duration::from_secs(60);

/// How often the page is asked for a picture.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// An empty Debian.
pub(super) struct Root(PathBuf);

impl Root {
    /// Finds or makes one in the user's cache; names all that is missing for it.
    pub(super) fn prepare() -> Outcome<Self> {
        let mut missing: Vec<String> = TOOLS
            .iter()
            .filter(|tool| {
                !steps::works(Command::new("sh").args(["-c", &format!("command -v {tool}")]))
            })
            .map(|tool| {
                format!("there is no {tool} (Debian: apt-get install debootstrap util-linux)")
            })
            .collect();
        // The owner of a process's folder is its effective user.
        let user = fs::metadata("/proc/self").map(|metadata| metadata.uid());
        if user.as_ref().is_ok_and(|user| *user != 0) {
            missing.push("chroot is for root (run this as root)".into());
        }
        if !missing.is_empty() {
            return Err(format!("package --check: {}", missing.join("; ")));
        }
        let folder = cache::folder()?.join(format!("debian-{SUITE}-minbase"));
        if folder.is_dir() {
            return Ok(Self(folder));
        }
        eprintln!(
            "package: making a Debian {SUITE} of 0.2 GB in {}",
            folder.display()
        );
        let partial = folder.with_extension(format!("partial-{}", std::process::id()));
        fs::create_dir_all(&partial).map_err(|error| cannot_write(&partial, &error))?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap
            .args(["--variant=minbase", SUITE])
            .arg(&partial)
            .args(mirror())
            .stdout(Stdio::null());
        if let Err(problem) = steps::run("debootstrap", &mut debootstrap) {
            let _ = fs::remove_dir_all(&partial);
            return Err(problem);
        }
        fs::rename(&partial, &folder).map_err(|error| cannot_write(&folder, &error))?;
        Ok(Self(folder))
    }

    /// Unpacks the archive with the root's own tools, and runs it twice.
    pub(super) fn check(&self, archive: &Path) -> Outcome {
        for name in ABSENT {
            if self.0.join("usr/bin").join(name).exists() {
                return Err(format!(
                    "package --check: {} has {name}, and is to be empty: remove the folder and run this again",
                    self.0.display()
                ));
            }
        }
        let opt = self.0.join("opt");
        let _ = fs::remove_dir_all(&opt);
        fs::create_dir_all(&opt).map_err(|error| cannot_write(&opt, &error))?;
        let file = File::open(archive).map_err(|error| cannot_read(archive, &error))?;
        let started = Instant::now();
        let mut tar = self.command(&["tar", "-xz", "--strip-components=1", "-C", "/opt"]);
        steps::run("tar in the empty root", tar.stdin(file))?;
        let unpacked = started.elapsed();
        self.forget(&opt)?;
        let mut demo = self.command(&["/opt/bin/kinestream", "demo", "--headless"]);
        demo.args(["--episodes", "1", "--seconds", "5", "--json"]);
        let started = Instant::now();
        steps::run_within("demo --headless in the empty root", &mut demo, DEMO_LIMIT)?;
        let demo = started.elapsed();
        self.forget(&opt)?;
        let picture = self.first_picture()?;
        let _ = fs::remove_dir_all(&opt);
        eprintln!(
            "package: in an empty Debian {SUITE}: unpacked in {}, demo --headless --seconds 5 done in {}, first picture of a \
             page after {}, both from a cold start",
            steps::readable(unpacked),
            steps::readable(demo),
            steps::readable(picture)
        );
        Ok(())
    }

    /// The time from the start of `kinestream demo` until its page has a picture.
    fn first_picture(&self) -> Outcome<Duration> {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("no free port: {error}"))?
            .port();
        let mut demo = self.command(&["/opt/bin/kinestream", "demo", "--seconds", "60"]);
        demo.args(["--port", &port.to_string()]);
        let started = Instant::now();
        let mut child = demo
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start unshare: {error}"))?;
        let shown = loop {
            if has_picture(port) {
                break Ok(started.elapsed());
            }
            if started.elapsed() > DEMO_LIMIT || child.try_wait().is_ok_and(|end| end.is_some()) {
                break Err("demo in the empty root shows no picture".to_owned());
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        let _ = child.kill();
        let _ = child.wait();
        shown
    }

    /// A command in the root, with a /proc of its own, no variables but the necessary ones, and ended with this program's.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .arg(format!("--mount-proc={}", self.0.join("proc").display()))
            .arg("chroot")
            .arg(&self.0)
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root");
        command
    }

    /// Has the system forget what it holds of files in memory.
    fn forget(&self, folder: &Path) -> Outcome {
        steps::run("sync", &mut Command::new("sync"))?;
        for file in files_below(folder)? {
            let mut forget = Command::new("dd");
            forget.arg(format!("if={}", file.display())).args([
                "iflag=nocache",
                "count=0",
                "status=none",
            ]);
            steps::run("dd", &mut forget)?;
        }
        Ok(())
    }
}

/// Where this machine's apt gets Debian from, if it is a Debian.
fn mirror() -> Option<String> {
    let mut apt = Command::new("apt-get");
    apt.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]);
    let places = steps::output_of(&mut apt)?;
    let mut places = places.lines().map(|line| line.trim_end_matches('/'));
    places
        .find(|place| place.ends_with("/debian"))
        .map(str::to_owned)
}

/// Whether the page of a demo has something to show.
fn has_picture(port: u16) -> bool {
    let request =
        format!("GET /frame.json HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut answer = [0; 12];
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b" 200")
}
