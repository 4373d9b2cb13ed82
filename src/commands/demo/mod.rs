//! `kinestream demo`: something to watch, everything it needs in one process.

mod motion;
mod pusht;

use anyhow::Result;

use kinestream_command_line::{DemoArguments, DemoTask};

pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    match arguments.task {
        DemoTask::Pusht => pusht::run(arguments),
        DemoTask::Motion => motion::run(arguments),
    }
}
