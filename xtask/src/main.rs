//! `cargo xtask`: set-up, demo, tests and checks of kinestream.
//!
//! It uses the standard library alone, so that it compiles in seconds on a bare machine, and it
//! ends with 0 (done), 1 (failed) or 2 (wrong usage).

mod arguments;
mod cache;
mod checkout;
mod ci;
mod circles;
mod clients;
mod demo;
mod documents;
mod fetch;
mod libtorch;
mod markdown;
mod package;
mod prerequisites;
mod python;
mod setup;
mod space;
mod steps;
mod suite;
mod wheels;

use arguments::{Request, Task};
use checkout::Checkout;
use std::process::ExitCode;

/// What a task ends in; the text says what was wrong and what to do.
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let request = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("xtask: {problem}\n\n{}", arguments::HELP);
            return ExitCode::from(2);
        }
    };
    let task = match request {
        Request::Help => {
            println!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Request::Run(task) => task,
    };
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Outcome {
    let checkout = Checkout::find()?;
    match task {
        Task::Setup(wanted) => {
            setup::run(&checkout, wanted)?;
            eprintln!("xtask: set up; cargo build, cargo run and cargo nextest run work here");
            Ok(())
        }
        Task::Demo(arguments) => demo::run(&checkout, arguments),
        Task::Test(arguments) => {
            setup::run(&checkout, None)?;
            suite::run(&checkout, &arguments)
        }
        Task::Clients => clients::run(&checkout),
        Task::Package(wanted) => package::run(&checkout, &wanted),
        Task::Ci => ci::run(&checkout),
    }
}
