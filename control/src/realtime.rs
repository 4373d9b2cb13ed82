//! What a control thread asks of the operating system, and what it was given.
//!
//! [`apply`] asks for a real-time priority, a processor of its own, memory that stays, and processors that stay awake. Then
//! it asks the system what is in force now: [`RealtimeStatus`] says what is, not what was wanted. On systems other than Linux
//! nothing is granted.

use std::fmt;
use std::fs::File;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[cfg_attr(target_os = "linux", path = "realtime/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "realtime/elsewhere.rs")]
mod system;

/// What the control thread asks for: the table `[control.realtime]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RealtimeConfig {
    /// Priority under SCHED_FIFO, 1 (lowest) to 99; 0 does not ask for it. Interrupt threads of a PREEMPT_RT kernel have
    /// 50.
    pub priority: u32,
    /// The processor that the thread stays on, counted from 0; none leaves it to the system.
    pub cpu: Option<usize>,
    /// Keep the memory of the whole process from being paged out, from the moment on that it is first used.
    pub lock_memory: bool,
    /// Keep all processors out of idle states that take longer than this to leave, in microseconds, as long as the loop
    /// runs; 0 keeps them awake. Costs power. None leaves it to the system.
    pub idle_latency_us: Option<u32>,
    /// Refuse to start where something asked for is not granted.
    pub strict: bool,
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Self {
            priority: 50,
            cpu: None,
            lock_memory: true,
            idle_latency_us: None,
            strict: false,
        }
    }
}

impl RealtimeConfig {
    /// Asks for nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            priority: 0,
            cpu: None,
            lock_memory: false,
            idle_latency_us: None,
            strict: false,
        }
    }

    /// Checks what can be checked without asking the system.
    ///
    /// # Errors
    /// A priority above 99.
    pub fn check(&self) -> Result<(), RealtimeError> {
        let priority = self.priority;
        if priority > 99 {
            return Err(RealtimeError::Priority { priority });
        }
        Ok(())
    }
}

/// What is in force for a thread, as the system reported it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RealtimeStatus {
    /// `SCHED_FIFO`, `SCHED_OTHER` and so on; `unknown` where the system does not say.
    pub scheduling_policy: String,
    /// Priority under SCHED_FIFO or SCHED_RR, 0 under any other.
    pub priority: u32,
    /// Processors that the thread may run on.
    pub cpus: Vec<usize>,
    /// Locked parts of the process's address space in bytes. Pages of these that were never touched take no memory.
    pub memory_locked_bytes: u64,
    /// Bound on the processors' idle states that this thread holds, in microseconds.
    pub idle_latency_us: Option<u32>,
    /// What was asked for and not granted, each with the reason and the remedy.
    pub refused: Vec<String>,
}

/// Why a thread was not given what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RealtimeError {
    /// Not a priority.
    #[error("[control.realtime] priority is {priority}, expected 0 (not asked for) to 99")]
    Priority {
        /// What was asked for.
        priority: u32,
    },
    /// Asked with `strict`.
    #[error("[control.realtime] strict = true, and this machine does not grant {}", refused.join("; nor "))]
    Refused {
        /// What was not granted, each with the reason and the remedy.
        refused: Vec<String>,
    },
    /// No such processor, or not for this process.
    #[error("the thread cannot be pinned to {0}")]
    Pin(String),
}

/// A thread's settings, as long as they are needed.
#[derive(Debug)]
pub struct Realtime {
    granted: RealtimeStatus,
    /// The bound on idle states holds while this is open.
    _idle: Option<File>,
}

impl Realtime {
    /// What is in force.
    #[must_use]
    pub fn granted(&self) -> &RealtimeStatus {
        &self.granted
    }
}

/// Gives the calling thread what `config` asks for, as far as the system allows, and reads back what is in force.
///
/// The thread keeps priority and processor, and the process its locked memory; idle states are given back when the value
/// returned is dropped. Also touches 256 kB of stack and asks for prompt wake-ups, which needs no permission. Threads that
/// the calling one starts do not inherit its priority.
///
/// # Errors
/// A priority above 99; with `strict`, anything that was not granted.
pub fn apply(config: &RealtimeConfig) -> Result<Realtime, RealtimeError> {
    config.check()?;
    let mut refused = Vec::new();
    crate::clock::wake_promptly();
    if let Some(cpu) = config.cpu
        && let Err(reason) = system::pin(cpu)
    {
        refused.push(reason);
    }
    if config.lock_memory
        && let Err(reason) = system::lock_memory()
    {
        refused.push(reason);
    }
    touch_stack();
    let idle = match config.idle_latency_us.map(system::bound_idle_latency) {
        Some(Ok(file)) => Some(file),
        Some(Err(reason)) => {
            refused.push(reason);
            None
        }
        None => None,
    };
    if config.priority > 0
        && let Err(reason) = system::set_fifo(config.priority)
    {
        refused.push(reason);
    }
    if config.strict && !refused.is_empty() {
        return Err(RealtimeError::Refused { refused });
    }
    let granted = RealtimeStatus {
        idle_latency_us: config.idle_latency_us.filter(|_| idle.is_some()),
        refused,
        ..in_force()
    };
    Ok(Realtime {
        granted,
        _idle: idle,
    })
}

/// What is in force for the calling thread, without changing anything.
#[must_use]
pub fn in_force() -> RealtimeStatus {
    let (scheduling_policy, priority) = system::scheduling();
    RealtimeStatus {
        scheduling_policy,
        priority,
        cpus: system::cpus(),
        memory_locked_bytes: system::locked_bytes(),
        idle_latency_us: None,
        refused: Vec::new(),
    }
}

/// Keeps the calling thread on one processor, counted from 0.
///
/// # Errors
/// No such processor, or not for this process.
pub fn pin_current_thread(cpu: usize) -> Result<(), RealtimeError> {
    system::pin(cpu).map_err(RealtimeError::Pin)
}

/// What [`apply`] would be refused, found out without changing anything that lasts: on a thread of its own, and without
/// locking memory.
#[must_use]
pub fn would_refuse(config: &RealtimeConfig) -> Vec<String> {
    let memory = config
        .lock_memory
        .then(|| system::may_lock_memory().err())
        .flatten();
    let rest = RealtimeConfig {
        lock_memory: false,
        strict: false,
        ..*config
    };
    let trial = std::thread::spawn(move || apply(&rest).map(|held| held.granted.refused));
    let mut refused = match trial.join() {
        Ok(Ok(refused)) => refused,
        Ok(Err(error)) => vec![error.to_string()],
        Err(_) => vec!["a trial: the thread panicked".to_owned()],
    };
    refused.extend(memory);
    refused
}

impl fmt::Display for RealtimeStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.scheduling_policy)?;
        if self.priority > 0 {
            write!(out, " {}", self.priority)?;
        }
        let cpus: Vec<String> = self.cpus.iter().map(ToString::to_string).collect();
        write!(out, ", cpu {}", cpus.join(" "))?;
        match self.memory_locked_bytes {
            0 => write!(out, ", memory not locked")?,
            bytes => write!(
                out,
                ", {:.0} MB of address space locked",
                bytes as f64 / 1e6
            )?,
        }
        if let Some(latency_us) = self.idle_latency_us {
            write!(out, ", idle states up to {latency_us} us")?;
        }
        if !self.refused.is_empty() {
            write!(out, "; not granted: {}", self.refused.join("; "))?;
        }
        Ok(())
    }
}

/// Writes to the stack below the caller, so that the loop finds its pages there.
#[inline(never)]
fn touch_stack() {
    const BYTES: usize = 256 << 10;
    let mut stack = [0_u8; BYTES];
    // Seen from outside, every byte may be read: the compiler has to write them all.
    std::hint::black_box(&mut stack);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_nothing_is_granted_everywhere() {
        let strict = RealtimeConfig {
            strict: true,
            ..RealtimeConfig::nothing()
        };
        let held = apply(&strict).unwrap();
        assert_eq!(held.granted().refused, Vec::<String>::new());
        assert_eq!(held.granted(), &in_force());
    }

    #[test]
    fn what_cannot_be_granted_is_named_and_strict_refuses_it() {
        let mut config = RealtimeConfig {
            cpu: Some(1_000_000),
            ..RealtimeConfig::nothing()
        };
        let held = apply(&config).unwrap();
        let [reason] = &held.granted().refused[..] else {
            panic!("{:?}", held.granted());
        };
        assert!(reason.contains("1000000"), "{reason}");
        assert!(held.granted().to_string().contains("not granted: "));
        assert_eq!(would_refuse(&config), held.granted().refused);
        config.strict = true;
        let error = apply(&config).unwrap_err();
        assert!(matches!(&error, RealtimeError::Refused { refused } if refused.len() == 1));
        let text = error.to_string();
        assert!(
            text.contains("strict") && text.contains("1000000"),
            "{text}"
        );
        assert!(pin_current_thread(1_000_000).is_err());
    }

    #[test]
    fn priorities_out_of_range_are_refused() {
        let config = RealtimeConfig {
            priority: 100,
            ..RealtimeConfig::nothing()
        };
        let error = apply(&config).unwrap_err();
        assert_eq!(error, RealtimeError::Priority { priority: 100 });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_granted_priority_and_processor_are_read_back() {
        let report = std::thread::spawn(|| {
            let cpu = in_force().cpus.last().copied();
            let config = RealtimeConfig {
                priority: 1,
                cpu,
                ..RealtimeConfig::nothing()
            };
            (cpu, apply(&config).unwrap().granted().clone())
        });
        let (cpu, granted) = report.join().unwrap();
        assert_eq!(granted.cpus, Vec::from_iter(cpu));
        // Either it is allowed here and in force, or it is named as refused.
        let expected = match &granted.refused[..] {
            [] => ("SCHED_FIFO", 1),
            [reason] => {
                assert!(reason.contains("rtprio"), "{reason}");
                ("SCHED_OTHER", 0)
            }
            more => panic!("{more:?}"),
        };
        let found = (granted.scheduling_policy.as_str(), granted.priority);
        assert_eq!(found, expected);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_locked_or_the_remedy_is_named() {
        let config = RealtimeConfig {
            lock_memory: true,
            ..RealtimeConfig::nothing()
        };
        let refused = would_refuse(&config);
        let held = apply(&config).unwrap();
        assert_eq!(held.granted().refused, refused);
        match &refused[..] {
            [] => assert!(held.granted().memory_locked_bytes > 0),
            [reason] => assert!(reason.contains("memlock"), "{reason}"),
            more => panic!("{more:?}"),
        }
    }
}
