//! The newest command that was sent, for whoever looks at it: atomics, so that the publisher thread waits for nobody.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use kinestream_bridge::wire::{ActionFlags, ActionSlice};

use crate::control_config::MOST_NUMBERS;

/// Written by the publisher thread alone. A reader may see a mixture of two commands, which differ by a control period.
#[derive(Debug)]
pub(crate) struct LatestCommand {
    size: AtomicUsize,
    due_ns: AtomicU64,
    flags: AtomicU8,
    values: [AtomicU32; MOST_NUMBERS],
}

/// A command as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SentCommand {
    /// When it was due, in nanoseconds of the monotonic clock.
    pub(crate) due_ns: u64,
    /// Its setpoints, in the action's units.
    pub(crate) values: Vec<f32>,
    /// Whether a limit changed it.
    pub(crate) is_limited: bool,
    /// Whether it leads to rest or rests.
    pub(crate) is_holding: bool,
}

const LIMITED: u8 = 1;
const HOLDING: u8 = 2;

impl Default for LatestCommand {
    fn default() -> Self {
        Self {
            size: AtomicUsize::new(0),
            due_ns: AtomicU64::new(0),
            flags: AtomicU8::new(0),
            values: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl LatestCommand {
    /// Keeps a command of at most [`MOST_NUMBERS`] numbers; further ones are left out.
    pub(crate) fn keep(&self, command: &ActionSlice<'_>) {
        let flag = |flag: ActionFlags, bit: u8| if command.flags.contains(flag) { bit } else { 0 };
        let flags = flag(ActionFlags::LIMITED, LIMITED) | flag(ActionFlags::HOLDING, HOLDING);
        for (slot, value) in self.values.iter().zip(command.values) {
            slot.store(value.to_bits(), Ordering::Relaxed);
        }
        self.flags.store(flags, Ordering::Relaxed);
        self.due_ns
            .store(command.stamp.monotonic_ns, Ordering::Relaxed);
        let size = command.values.len().min(MOST_NUMBERS);
        self.size.store(size, Ordering::Release);
    }

    /// The newest command, none before the first.
    pub(crate) fn read(&self) -> Option<SentCommand> {
        let size = self.size.load(Ordering::Acquire);
        if size == 0 {
            return None;
        }
        let values = self.values.iter().take(size);
        let flags = self.flags.load(Ordering::Relaxed);
        Some(SentCommand {
            due_ns: self.due_ns.load(Ordering::Relaxed),
            values: values
                .map(|slot| f32::from_bits(slot.load(Ordering::Relaxed)))
                .collect(),
            is_limited: flags & LIMITED != 0,
            is_holding: flags & HOLDING != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::wire::Stamp;

    use super::*;

    #[test]
    fn the_newest_command_is_read_back() {
        let latest = LatestCommand::default();
        assert_eq!(latest.read(), None);
        let mut command = ActionSlice {
            stamp: Stamp {
                monotonic_ns: 70,
                ..Stamp::default()
            },
            chunk: 1,
            position: 0.0,
            noise: 0.0,
            flags: ActionFlags::HOLDING,
            values: &[1.5, -2.0],
        };
        latest.keep(&command);
        let mut expected = SentCommand {
            due_ns: 70,
            values: vec![1.5, -2.0],
            is_limited: false,
            is_holding: true,
        };
        assert_eq!(latest.read(), Some(expected.clone()));
        command.flags = ActionFlags::LIMITED;
        command.stamp.monotonic_ns = 80;
        latest.keep(&command);
        (expected.due_ns, expected.is_limited, expected.is_holding) = (80, true, false);
        assert_eq!(latest.read(), Some(expected));
    }
}
