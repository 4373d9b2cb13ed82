//! `kinestream`: what has to be quick is done here, everything else by `kinestream-engine` beside this program.
//!
//! Loading LibTorch takes longer than a robot may go on moving. So `stop` and its like stand in a program that is not linked
//! with it, and for every other command this program becomes the engine: same process, same arguments, same signals.

mod request;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser;

use request::RequestCommand;

/// The program that has all other commands, beside this one.
const ENGINE: &str = "kinestream-engine";

/// Requests to a running robot.
#[derive(Debug, Parser)]
#[command(name = "kinestream", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: RequestCommand,
    /// Say more on stderr (-v progress of parts, -vv everything).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1);
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    let done = match words.find(|word| !word.starts_with('-')) {
        Some(name) if is_request(&name) => request::run(&Cli::parse().command),
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

/// Whether a word names a command of this program.
fn is_request(word: &str) -> bool {
    use clap::CommandFactory as _;
    let known = Cli::command();
    known
        .get_subcommands()
        .any(|known| known.get_name() == word)
}

/// Runs the engine in place of this process; returns only where that fails.
fn become_engine() -> anyhow::Error {
    let beside = match engine_beside() {
        Ok(beside) => beside,
        Err(error) => return error,
    };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = Command::new(&beside).arg0(name).args(arguments).exec();
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
