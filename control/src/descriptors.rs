//! How many files and sockets this process may have open.
//!
//! An ordinary process may open 1,024, though the system would grant it a thousand times as many. Whoever connects takes one
//! of them, and a stop needs one as well: a program that others connect to asks for all there are when it starts.

use std::io;

/// Descriptors that a process may have open, before and after it asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// Before; none stands for no limit.
    pub before: Option<u64>,
    /// Now; none stands for no limit.
    pub now: Option<u64>,
}

/// Raises this process's limit on open descriptors to the highest that it may set itself. To be called once, before
/// anything listens. Programs that this one starts inherit the limit.
///
/// # Errors
/// The system refused; the limit is then what it was.
#[cfg(target_os = "linux")]
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let highest = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, highest)?;
    }
    Ok(DescriptorLimit {
        before: current,
        now: maximum,
    })
}

/// Asks for nothing on systems other than Linux.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    Ok(DescriptorLimit {
        before: None,
        now: None,
    })
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_highest_that_is_allowed() {
        let raised = raise_descriptor_limit().unwrap();
        let line = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = line
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[3], fields[4], "{line}");
        if let Some(now) = raised.now {
            assert_eq!(fields[3], now.to_string());
        }
        // Asking again changes nothing.
        let again = raise_descriptor_limit().unwrap();
        assert_eq!((again.before, again.now), (raised.now, raised.now));
    }
}
