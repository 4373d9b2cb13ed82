//! The tests of clients/python, in a virtual environment of their own in the user's cache.

use crate::checkout::Checkout;
use crate::{Outcome, cache, steps};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long making the environment may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// How long the tests may take.
const TEST_LIMIT: Duration = Duration::from_secs(600);

/// What became of the tests.
pub(crate) enum Clients {
    /// They ran and passed.
    Passed,
    /// They could not be run, for this reason.
    Skipped(String),
}

/// Runs them; what they need is installed first, where that is possible.
pub(crate) fn run(checkout: &Checkout) -> Outcome<Clients> {
    let folder = checkout.root().join("clients/python");
    let requirements = folder.join("requirements.txt");
    let Ok(wanted) = fs::read_to_string(&requirements) else {
        return Ok(Clients::Skipped(
            "clients/python/requirements.txt is not there".into(),
        ));
    };
    let python = match environment(&wanted, &requirements) {
        Ok(python) => python,
        Err(problem) => return Ok(Clients::Skipped(problem)),
    };
    let mut tests = Command::new(python);
    tests
        .current_dir(&folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-m", "unittest", "discover"]);
    steps::run_within("the Python clients' tests", &mut tests, TEST_LIMIT)?;
    Ok(Clients::Passed)
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
    steps::run_within(
        "installing clients/python/requirements.txt",
        &mut install,
        INSTALL_LIMIT,
    )?;
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
