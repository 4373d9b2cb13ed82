//! Systems other than Linux: nothing is granted.

use std::fs::File;

pub(super) fn pin(cpu: usize) -> Result<(), String> {
    Err(format!("cpu {cpu}: {ONLY}"))
}

pub(super) fn lock_memory() -> Result<(), String> {
    Err(format!("locked memory: {ONLY}"))
}

pub(super) fn may_lock_memory() -> Result<(), String> {
    lock_memory()
}

pub(super) fn bound_idle_latency(latency_us: u32) -> Result<File, String> {
    Err(format!("idle states up to {latency_us} us: {ONLY}"))
}

pub(super) fn set_fifo(priority: u32) -> Result<(), String> {
    Err(format!("SCHED_FIFO priority {priority}: {ONLY}"))
}

pub(super) fn scheduling() -> (String, u32) {
    ("unknown".to_owned(), 0)
}

pub(super) fn cpus() -> Vec<usize> {
    Vec::new()
}

pub(super) fn locked_bytes() -> u64 {
    0
}

const ONLY: &str = "only Linux is supported; leave it out of [control.realtime]";
