//! `kinestream resim`: runs the engines again on a recording's inputs and compares every bit.

use anyhow::{Result, ensure};
use kinestream_runtime::resimulation::{ResimulationReport, resimulate};
use kinestream_terminal::{output, say};

use kinestream_command_line::ResimArguments;

pub(crate) fn run(arguments: &ResimArguments) -> Result<()> {
    let bar = output::progress(0, "messages");
    let folder = arguments.checkpoint.as_deref();
    let report = resimulate(&arguments.file, folder, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if arguments.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    ensure!(
        report.plans_compared + report.commands_compared > 0,
        "{}: nothing to compare: no plan and no command has survived",
        arguments.file.display()
    );
    ensure!(
        report.differing == 0,
        "{} of {} plans and commands differ",
        report.differing,
        report.plans_compared + report.commands_compared
    );
    Ok(())
}

fn print(report: &ResimulationReport) {
    say!(
        "{}: {:.1} s, {}",
        report.file,
        report.duration_s,
        if report.complete { "complete" } else { "cut" }
    );
    say!(
        "{} plans and {} commands compared, {} differ",
        report.plans_compared,
        report.commands_compared,
        report.differing
    );
    if report.missing > 0 {
        say!(
            "{} messages were not recorded; what comes after the first of them was not compared",
            report.missing
        );
    }
    if let Some(note) = &report.note {
        say!("{note}");
    }
    if let Some(first) = &report.first_difference {
        say!(
            "first difference: {} {} at {:.3} s, {}: recorded {}, now {}",
            first.what,
            first.number,
            first.at_s,
            first.field,
            first.recorded,
            first.resimulated
        );
    }
}
