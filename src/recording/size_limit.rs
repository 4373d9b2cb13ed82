//! A limit on the size of files (`ulimit -f`, `LimitFSIZE=`) ends the recording and not the program.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// SIGXFSZ of Linux, on every processor that kinestream runs on.
const FILE_SIZE_EXCEEDED: i32 = 25;

/// Lets a write beyond the limit fail with an error. By default its signal ends the process, and the robot's commands with it.
pub(super) fn outlive() -> Result<()> {
    let doing = "cannot watch for SIGXFSZ";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(doing)?;
    let _context = runtime.enter();
    // The handler stays when its listener is dropped, and does nothing.
    drop(signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED)).context(doing)?);
    Ok(())
}
