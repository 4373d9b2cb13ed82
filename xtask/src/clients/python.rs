//! The tests of clients/python, in virtual environments of their own in the user's cache: one for the benchmark's pymunk,
//! one for gym-pusht, which wants another.

use super::Clients;
use crate::{Outcome, cache, steps};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long making an environment may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// How long the tests in one environment may take; measured: 4 s, and 26 s with an episode in real time.
const TEST_LIMIT: Duration = Duration::from_secs(150);

/// The requirements of each environment, and the tests that run in it; none named: all that unittest finds.
const ENVIRONMENTS: [(&str, &[&str]); 2] = [
    ("requirements.txt", &["discover"]),
    (
        "requirements-gymnasium.txt",
        &["test_pusht_gymnasium", "test_running_policy"],
    ),
];

/// Runs them; what they need is installed first, where that is possible.
pub(super) fn run(clients: &Clients) -> Outcome<Option<String>> {
    let mut skipped = Vec::new();
    for (requirements, tests) in ENVIRONMENTS {
        let file = clients.folder.join("python").join(requirements);
        let wanted = fs::read_to_string(&file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        match environment(&wanted, &file) {
            Ok(python) => {
                let mut command = clients.command(python, "python");
                command
                    .env("PYTHONDONTWRITEBYTECODE", "1")
                    .args(["-m", "unittest"])
                    .args(tests);
                let what = format!("the Python client's tests with {requirements}");
                steps::run_within(&what, &mut command, TEST_LIMIT)?;
            }
            Err(problem) => skipped.push(format!("SKIPPED with {requirements}: {problem}")),
        }
    }
    Ok((!skipped.is_empty()).then(|| skipped.join("; ")))
}

/// The python of an environment with these requirements, made if there is none.
fn environment(wanted: &str, requirements: &Path) -> Outcome<PathBuf> {
    let version =
        steps::output_of(Command::new("python3").args(["-c", "import sys; print(sys.version)"]))
            .ok_or("python3 cannot be run")?;
    let key = fingerprint(&format!("{version}\n{wanted}"));
    let folder = cache::folder()?.join(format!("python-client-{key:016x}"));
    let python = folder.join("bin/python");
    // Written last: an environment without it was left half-made.
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(python);
    }
    let _ = fs::remove_dir_all(&folder);
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&folder).stdout(Stdio::null());
    steps::run_within(
        "python3 -m venv (Debian: apt-get install python3-venv)",
        &mut make,
        INSTALL_LIMIT,
    )?;
    let mut install = Command::new(&python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .arg("--requirement")
        .arg(requirements)
        .stdout(std::io::stderr());
    let what = format!("installing {}", requirements.display());
    steps::run_within(&what, &mut install, INSTALL_LIMIT)?;
    fs::write(&complete, "")
        .map_err(|error| format!("cannot write {}: {error}", complete.display()))?;
    Ok(python)
}

/// FNV-1a, 64 bits: the same on every release of Rust, unlike the standard library's hasher.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_fnv_1a() {
        assert_eq!(fingerprint(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint("foobar"), 0x8594_4171_f739_67e8);
    }
}
