//! Signals that end the program, as a flag that loops and the control thread look at.
//!
//! The handlers do nothing but set flags: no thread stands between a signal and the robot's way to rest, and nothing is
//! printed. A second Ctrl-C, SIGTERM or SIGQUIT ends the process within its handler, whatever its threads wait for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use signal_hook::consts::signal::{
    SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
    SIGXFSZ,
};
use signal_hook::flag::{register, register_conditional_shutdown};

/// Signals whose second one ends the process at once.
const INSISTENT: [i32; 3] = [SIGINT, SIGTERM, SIGQUIT];
/// Further signals that would end the process by themselves, with the robot at whatever speed it has.
const OTHERS: [i32; 7] = [
    SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU,
];
/// Exit status of a process that was ended at once.
const ENDED_AT_ONCE: i32 = 1;

/// Becomes true at the first signal that ends a program: Ctrl-C, SIGTERM, SIGHUP, SIGQUIT and their like. Signals that were
/// ignored from the start, such as SIGHUP under `nohup`, stay so. A file that grows beyond its limit is an error of the write
/// from now on, not a signal.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let ignored = ignored_signals();
    let is_ignored = |signal: i32| ignored >> (signal - 1) & 1 == 1;
    let watched = INSISTENT.into_iter().chain(OTHERS);
    for signal in watched.filter(|&signal| !is_ignored(signal)) {
        if INSISTENT.contains(&signal) {
            let seen = Arc::new(AtomicBool::new(false));
            // Looked at before it is set: the first one passes.
            register_conditional_shutdown(signal, ENDED_AT_ONCE, Arc::clone(&seen))
                .and_then(|_| register(signal, seen))
                .context("cannot watch for signals")?;
        }
        register(signal, Arc::clone(&flag)).context("cannot watch for signals")?;
    }
    register(SIGXFSZ, Arc::default()).context("cannot watch for signals")?;
    Ok(flag)
}

/// Signals that this process was started to ignore, one bit each from SIGHUP on; none where the system does not say.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_signal_raises_the_flag_and_what_was_ignored_is_known() {
        // Rust's runtime ignores SIGPIPE.
        assert_eq!(ignored_signals() >> 12 & 1, 1);
        let flag = flag().unwrap();
        assert!(!flag.load(Ordering::SeqCst));
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        assert!(flag.load(Ordering::SeqCst));
    }
}
