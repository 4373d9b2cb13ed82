//! The tests of clients/csharp, compiled and run with Mono.

use super::{Clients, debian};
use crate::{Outcome, steps};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Compiler, runtime and System.Core of Debian; 25 MB on the disk.
const PACKAGES: [&str; 3] = ["mono-mcs", "mono-runtime", "libmono-system-core4.0-cil"];

/// How long compiling and running each may take; measured: 1 s and 10 s.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run(clients: &Clients) -> Outcome<Option<String>> {
    let tools = [("mcs", "--version"), ("mono", "--version")];
    for (program, argument) in tools {
        if let Err(problem) = debian::provide(Command::new(program).arg(argument), &PACKAGES) {
            return Ok(Some(format!("SKIPPED: {problem}")));
        }
    }
    let folder = clients.made.join("csharp");
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let tests = folder.join("tests.exe");
    let mut compile = clients.command("mcs", "csharp");
    compile
        .args(["-warn:4", "-warnaserror+", "-r:System.Core.dll"])
        .arg(format!("-out:{}", tests.display()))
        .args(["Kinestream/*.cs", "tests/*.cs"]);
    steps::run_within("compiling clients/csharp", &mut compile, LIMIT)?;
    let mut run = clients.command("mono", "csharp");
    run.arg(&tests).arg("../..");
    steps::run_within("the C# client's tests", &mut run, LIMIT)?;
    Ok(None)
}
