//! The `kinestream` command: parsing, wiring and printing.

mod clips;
mod commands;
mod motion;
#[path = "front/request.rs"]
mod request;

use std::backtrace::BacktraceStatus;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use kinestream_command_line::{Cli, Command, is_clips, is_motion};
use kinestream_control::allocations::CountingAllocator;
use kinestream_diffusion::Solver;
use kinestream_runtime::log_writer::LogWriter;
use kinestream_runtime::{redaction, refusals};
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Counts, so that the control loop can show that it allocates nothing.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let cli = kinestream_command_line::parse(with_solvers);
    let log = start_log(&cli);
    let done = match &cli.command {
        Command::Generate(arguments) => commands::clips::generate::run(arguments),
        Command::Demonstrate(arguments) => commands::demonstrate::run(arguments),
        Command::Train(arguments) if is_clips(&arguments.config) => {
            commands::clips::train::run(arguments)
        }
        Command::Train(arguments) if is_motion(&arguments.config) => {
            commands::motion::train::run(arguments)
        }
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Eval(arguments) if is_clips(&arguments.config) => {
            commands::clips::eval::run(arguments)
        }
        Command::Eval(arguments) if is_motion(&arguments.config) => {
            commands::motion::eval::run(arguments)
        }
        Command::Eval(arguments) => commands::eval::run(arguments),
        Command::Bench { what } => kinestream_bench::run(what),
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
        Command::Schema => commands::schema::run(),
        Command::Completions(arguments) => arguments.run().map_err(Into::into),
        Command::Man(arguments) => arguments.run().map_err(Into::into),
        Command::Request(request) => request::run(request),
    };
    // What was logged before stands before the error.
    log.flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.line(format!("error: {error:#}\n").as_bytes());
            log.flush();
            ExitCode::FAILURE
        }
    }
}

/// The command line, with the solvers by their names.
fn with_solvers(command: clap::Command) -> clap::Command {
    let names = Solver::named_solvers().map(|(name, _)| name);
    let names = PossibleValuesParser::new(names.collect::<Vec<_>>());
    command.mut_subcommand("eval", |eval| {
        eval.mut_arg("solver", |solver| solver.value_parser(names))
    })
}

/// Logs on stderr, at the level asked for, and so that nobody ever waits for the log. Panics are told there too.
fn start_log(cli: &Cli) -> LogWriter {
    // A log would be written across the picture.
    let silent = matches!(&cli.command, Command::Top(it) if commands::top::takes_the_screen(it));
    let level = match cli.verbose {
        _ if silent => "off".to_owned(),
        0 => format!("warn,zenoh=error,kinestream=info,{}", refusals::SILENCED),
        1 => format!("info,kinestream=debug,{}", refusals::SILENCED),
        _ => "debug".to_owned(),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = LogWriter::new(std::io::stderr());
    let panics = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let name = std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned();
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            BacktraceStatus::Captured => format!("{trace}\n"),
            _ => String::new(),
        };
        panics.line(format!("thread '{name}' {panic}\n{trace}").as_bytes());
    }));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(log.clone())
        // Colours are noise in files and pipes.
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter.and(redaction::Redaction));
    tracing_subscriber::registry()
        .with(lines)
        .with(refusals::layer())
        .init();
    log
}
