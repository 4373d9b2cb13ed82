//! The `kinestream` command: parsing, wiring and printing.

mod checkpoint;
mod cli;
mod clips;
mod commands;
mod config;
mod controller;
mod device;
mod metrics;
mod motion;
mod nodes;
mod output;
mod page;
mod recording;
mod shutdown;
mod top;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use cli::{Bench, Cli, Command};
use kinestream_control::allocations::CountingAllocator;
use tracing_subscriber::EnvFilter;

/// Counts, so that the control loop can show that it allocates nothing.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        // A log would be written across the picture.
        _ if matches!(&cli.command, Command::Top(it) if commands::top::takes_the_screen(it)) => {
            "off"
        }
        0 => "warn,zenoh=error,kinestream=info",
        1 => "info,kinestream=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        // Colours are noise in files and pipes.
        log.with_ansi(false).init();
    }
    let done = match &cli.command {
        Command::Generate(arguments) => commands::clips::generate::run(arguments),
        Command::Train(arguments) if motion::is_clips(&arguments.config) => {
            commands::clips::train::run(arguments)
        }
        Command::Train(arguments) if motion::is_motion(&arguments.config) => {
            commands::motion::train::run(arguments)
        }
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Eval(arguments) if motion::is_clips(&arguments.config) => {
            commands::clips::eval::run(arguments)
        }
        Command::Eval(arguments) if motion::is_motion(&arguments.config) => {
            commands::motion::eval::run(arguments)
        }
        Command::Eval(arguments) => commands::eval::run(arguments),
        Command::Bench { what } => match what {
            Bench::Bridge(arguments) => commands::bench::bridge::run(arguments),
            Bench::Policy(arguments) => commands::bench::policy::run(arguments),
            Bench::Motion(arguments) => commands::bench::motion::run(arguments),
            Bench::Clips(arguments) => commands::bench::clips::run(arguments),
            Bench::Control(arguments) => commands::bench::control::run(arguments),
        },
        Command::Record(arguments) => commands::record::run(arguments),
        Command::Replay(arguments) => commands::replay::run(arguments),
        Command::Inspect(arguments) => commands::inspect::run(arguments),
        Command::Import(arguments) => commands::import::run(arguments),
        Command::Doctor(arguments) => commands::doctor::run(arguments),
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Sim(arguments) => commands::sim::run(arguments),
        Command::Ros2(arguments) => commands::ros2::run(arguments),
        Command::Top(arguments) => commands::top::run(arguments),
        Command::Resim(arguments) => commands::resim::run(arguments),
        Command::Stop(arguments) => commands::stop::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
