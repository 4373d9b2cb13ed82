//! Which processor a thread is on, and keeping it there, where the system can be asked.

#[cfg(target_os = "linux")]
mod system {
    use rustix::thread::CpuSet;

    /// The processor that this thread is on just now.
    pub(crate) fn current() -> Option<usize> {
        Some(rustix::thread::sched_getcpu())
    }

    /// Processors that this thread may use, the last first.
    pub(crate) fn allowed() -> Vec<usize> {
        match rustix::thread::sched_getaffinity(None) {
            Ok(set) => (0..CpuSet::MAX_CPU)
                .rev()
                .filter(|cpu| set.is_set(*cpu))
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Keeps this thread on a processor. Where that is refused it runs on any.
    pub(crate) fn pin(cpu: usize) {
        let mut set = CpuSet::new();
        set.set(cpu);
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(crate) fn current() -> Option<usize> {
        None
    }

    pub(crate) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(crate) fn pin(_cpu: usize) {}
}

pub(crate) use system::{allowed, current, pin};
