//! Freezing one thread of a child process, so that a measurement can show what stands still with it and what does not.

// There is no other way to stop a single thread from outside.
#![allow(unsafe_code)]

use std::io::Error;

/// Holds one thread of a child process still until it is dropped, on the thread that froze it.
#[derive(Debug)]
pub struct ThreadFreezer {
    thread: libc::pid_t,
    // Only the tracing thread may let go again.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl ThreadFreezer {
    /// Freezes the thread called `name` of the process `process`, which must be a child of this one.
    ///
    /// # Errors
    /// No such thread, or the system does not allow it.
    pub fn freeze(process: u32, name: &str) -> Result<Self, Error> {
        let thread = find(process, name)?;
        // SAFETY: PTRACE_SEIZE takes no pointers that are read; the thread identifier is a number.
        check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, 0, 0) })?;
        let frozen = Self {
            thread,
            _not_send: std::marker::PhantomData,
        };
        // SAFETY: as above, on a thread that this one traces.
        check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0) })?;
        let mut status = 0;
        // SAFETY: `status` lives until the call returns.
        check(i64::from(unsafe {
            libc::waitpid(thread, &raw mut status, libc::__WALL)
        }))?;
        Ok(frozen)
    }
}

impl Drop for ThreadFreezer {
    fn drop(&mut self) {
        // SAFETY: the thread is traced by this thread and stopped; the call takes no pointers that are read.
        let _ = unsafe { libc::ptrace(libc::PTRACE_DETACH, self.thread, 0, 0) };
    }
}

fn check(result: i64) -> Result<(), Error> {
    match result {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

fn find(process: u32, name: &str) -> Result<libc::pid_t, Error> {
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?;
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name
            && let Some(thread) = task.file_name().to_str().and_then(|id| id.parse().ok())
        {
            return Ok(thread);
        }
    }
    Err(Error::other(format!(
        "process {process} has no thread called {name}"
    )))
}
