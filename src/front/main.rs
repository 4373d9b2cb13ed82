//! `kinestream`: what has to be quick is done here, everything else by `kinestream-engine` beside this program.
//!
//! Loading LibTorch takes longer than a robot may go on moving, and longer than a person waits for a help text. So `stop` and
//! its like, help and wrong usage stand in a program that is not linked with it, and for every other command this program
//! becomes the engine: same process, same arguments, same signals.

mod request;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use kinestream_command_line::Command;

/// The program that has all other commands, beside this one.
const ENGINE: &str = "kinestream-engine";

fn main() -> ExitCode {
    let cli = kinestream_command_line::parse(std::convert::identity);
    let done = match &cli.command {
        Command::Request(request) => request::run(request),
        Command::Completions(arguments) => arguments.run().map_err(Into::into),
        Command::Man(arguments) => arguments.run().map_err(Into::into),
        _ => Err(become_engine()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the engine in place of this process; returns only where that fails.
fn become_engine() -> anyhow::Error {
    let beside = match engine_beside() {
        Ok(beside) => beside,
        Err(error) => return error,
    };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = std::process::Command::new(&beside)
        .arg0(name)
        .args(arguments)
        .exec();
    let missing = format!(
        "cannot start {}; it belongs beside this program: build both with cargo build --release, and install both",
        beside.display()
    );
    anyhow::Error::new(error).context(missing)
}

fn engine_beside() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(own.parent().unwrap_or(Path::new(".")).join(ENGINE))
}
