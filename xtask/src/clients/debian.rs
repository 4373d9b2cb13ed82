//! Tools of Debian that a test needs: there, installed, or named in the reason to skip it.

use crate::{Outcome, steps};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long installing may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// Makes sure that `works` can be run, by installing `packages` where this process is root and apt-get is there. The
/// error says how to get them.
pub(super) fn provide(works: &mut Command, packages: &[&str]) -> Outcome {
    if steps::works(works) {
        return Ok(());
    }
    let program = works.get_program().to_string_lossy().into_owned();
    let remedy = format!("Debian: apt-get install {}", packages.join(" "));
    if !is_root() || !steps::works(Command::new("apt-get").arg("--version")) {
        return Err(format!("there is no {program} ({remedy})"));
    }
    eprintln!("xtask: installing {} with apt-get", packages.join(" "));
    let install = || {
        let mut install = apt_get();
        install
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages);
        steps::run_within("apt-get install", &mut install, INSTALL_LIMIT)
    };
    // The lists of a fresh image are empty or old.
    if install().is_err() {
        let mut update = apt_get();
        update.arg("update");
        steps::run_within("apt-get update", &mut update, INSTALL_LIMIT)
            .and_then(|()| install())
            .map_err(|problem| format!("{problem} ({remedy})"))?;
    }
    if steps::works(works) {
        Ok(())
    } else {
        Err(format!(
            "{program} is installed and does not run ({remedy})"
        ))
    }
}

fn apt_get() -> Command {
    let mut apt_get = Command::new("apt-get");
    apt_get
        .arg("--quiet=2")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    apt_get
}

/// The owner of what a process looks like in /proc is its effective user.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_is_left_alone() {
        provide(&mut Command::new("true"), &["no-such-package"]).unwrap();
    }
}
