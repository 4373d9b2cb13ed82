//! Running other programs: one line with name and time for each, and limits on how long.

use crate::Outcome;
use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a program with a time limit is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs `command`; an exit status other than 0 is a failure that names `what`.
pub(crate) fn run(what: &str, command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| cannot_start(what, command, &error))?;
    succeeded(what, status)
}

/// As [`run`], with no input, and stopped after `limit`.
pub(crate) fn run_within(what: &str, command: &mut Command, limit: Duration) -> Outcome {
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| cannot_start(what, command, &error))?;
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return succeeded(what, status),
            Ok(None) if started.elapsed() < limit => std::thread::sleep(POLL_INTERVAL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{what} did not end within {} s", limit.as_secs()));
            }
            Err(error) => return Err(format!("{what}: cannot wait for it: {error}")),
        }
    }
}

/// Whether `command` can be started and ends well; its output is dropped.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What `command` prints, trimmed; `None` when it cannot be started or fails.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// A time as a person reads it: "0.4 s", "73 s", "12 min 5 s".
pub(crate) fn readable(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

fn cannot_start(what: &str, command: &Command, error: &io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    format!("{what}: cannot start `{program}`: {error}")
}

fn succeeded(what: &str, status: ExitStatus) -> Outcome {
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what} failed ({status})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_status() {
        let problem = run("the check", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(
            problem.contains("the check") && problem.contains('3'),
            "{problem}"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let problem = run("the check", &mut Command::new("no-such-program-here")).unwrap_err();
        assert!(problem.contains("no-such-program-here"), "{problem}");
    }

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let limit = Duration::from_millis(60);
        let problem = run_within("the check", Command::new("sleep").arg("600"), limit).unwrap_err();
        assert!(problem.contains("did not end"), "{problem}");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(readable(Duration::from_millis(420)), "0.4 s");
        assert_eq!(readable(Duration::from_secs(73)), "73 s");
        assert_eq!(readable(Duration::from_secs(725)), "12 min 5 s");
    }
}
