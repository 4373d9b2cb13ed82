//! What the commands print: one JSON object or readable lines on stdout, progress on stderr.

use std::fmt::{Arguments, Display};
use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Prints a line on stdout, as `println!`; see [`line()`].
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}

/// Prints a line on stdout. A reader that has gone, such as `head`, ends the program without a
/// word: whatever was to be done is done by the time that something is printed.
pub fn line(text: Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("error: cannot print the result: {error}");
        }
        std::process::exit(i32::from(error.kind() != ErrorKind::BrokenPipe));
    }
}

/// Prints one JSON object.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).context("cannot write the result as JSON")?;
    say!("{text}");
    Ok(())
}

/// What evaluates a network, and with which weights where it keeps some of its own.
pub fn executed(executor: impl Display, precision: Option<impl Display>) -> String {
    match precision {
        Some(precision) => format!("{executor} {precision}"),
        None => executor.to_string(),
    }
}

/// The bounds of an interval as they stand behind its value; nothing where there are none.
pub fn bounds(bounds: Option<[f64; 2]>) -> String {
    bounds.map_or(String::new(), |[low, high]| {
        format!(" [{low:.3}, {high:.3}]")
    })
}

/// A progress bar with rate and time left, drawn on terminals only.
pub fn progress(length: u64, unit: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let template = format!("{{bar:30}} {{pos}}/{{len}} {unit} {{per_sec}} {{eta}} left {{msg}}");
    let bar = ProgressBar::with_draw_target(Some(length), target);
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A line of text that is drawn again whenever it changes, on terminals only.
pub fn status_line() -> ProgressBar {
    let line = progress(0, "");
    match ProgressStyle::with_template("{msg}") {
        Ok(style) => line.with_style(style),
        Err(_) => line,
    }
}
