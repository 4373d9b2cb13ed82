//! What a machine must have, checked before anything is downloaded or built: all that is missing
//! is named at once, each with its remedy.

use crate::Outcome;
use crate::checkout::Checkout;
use crate::python;
use crate::space::{self, Demand};
use crate::wheels::Distribution;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes that a build of everything, tests and release program, writes into the build folder;
/// measured: 4.9 GB.
const BUILD_BYTES: u64 = 6_000_000_000;

/// Room for pip's and the file system's own needs.
const SPARE_BYTES: u64 = 100_000_000;

/// What has to be fetched, and the cache that it goes into.
pub(crate) struct Fetch<'a> {
    /// The variant of LibTorch.
    pub distribution: &'a Distribution,
    /// The user's cache.
    pub cache: &'a Path,
}

/// Checks what a build needs and, if something has to be fetched, what that needs.
pub(crate) fn check(checkout: &Checkout, fetch: Option<&Fetch>) -> Outcome {
    let mut missing = Vec::new();
    let has_build = checkout.has_build();
    if !has_build {
        missing.extend(compiler_problem(checkout.target()));
    }
    let mut demands = Vec::new();
    if let Some(fetch) = fetch {
        missing.extend(python_problem());
        let wheels_and_folder =
            fetch.distribution.download_bytes() + fetch.distribution.unpacked_bytes();
        demands.push(Demand {
            folder: fetch.cache.to_path_buf(),
            bytes: wheels_and_folder + SPARE_BYTES,
            remedy: "set XDG_CACHE_HOME to a folder on a larger disk".into(),
        });
    }
    if !has_build {
        demands.push(Demand {
            folder: checkout.target().to_path_buf(),
            bytes: BUILD_BYTES,
            remedy: "set CARGO_TARGET_DIR to a folder on a larger disk".into(),
        });
    }
    missing.extend(space::shortages(&demands));
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("nothing was changed: {}", missing.join("; ")))
    }
}

fn python_problem() -> Option<String> {
    if !python::is_there() {
        return Some("there is no python3 (Debian: apt-get install python3 python3-pip)".into());
    }
    if !python::has_pip() {
        return Some("python3 has no pip (Debian: apt-get install python3-pip)".into());
    }
    None
}

/// The build scripts start $CXX, else `c++`; it must make a program with C++'s library.
fn compiler_problem(scratch: &Path) -> Option<String> {
    let named = std::env::var("CXX")
        .ok()
        .filter(|name| !name.trim().is_empty());
    let command = named.as_deref().unwrap_or("c++");
    if compiles(command, scratch) {
        return None;
    }
    if named.is_some() {
        return Some(format!(
            "CXX={command} cannot compile a C++17 program (unset it, or name one that can)"
        ));
    }
    for other in ["g++", "clang++"] {
        if compiles(other, scratch) {
            return Some(format!(
                "there is no `c++`, but {other} works (export CXX={other})"
            ));
        }
    }
    Some("there is no working C++ compiler (Debian: apt-get install g++)".into())
}

/// Whether `command`, a program and perhaps its first arguments, makes a program of C++17.
fn compiles(command: &str, scratch: &Path) -> bool {
    let mut words = command.split_whitespace();
    let Some(program) = words.next() else {
        return false;
    };
    let made = scratch.join(format!(".xtask-compiler-check-{}", std::process::id()));
    let child = Command::new(program)
        .args(words)
        .args(["-x", "c++", "-std=c++17", "-", "-o"])
        .arg(&made)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return false;
    };
    let source = b"#include <string>\nint main() { return (int)std::string().size(); }\n";
    // Dropping the pipe after this ends the compiler's input.
    let written = child.stdin.take().map(|mut input| input.write_all(source));
    let compiled = child.wait().is_ok_and(|status| status.success());
    let _ = std::fs::remove_file(&made);
    compiled && matches!(written, Some(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_no_compiler_is_found_out() {
        let scratch = std::env::temp_dir();
        assert!(!compiles("no-such-compiler", &scratch));
        assert!(!compiles("false", &scratch));
        assert!(!compiles("", &scratch));
    }
}
