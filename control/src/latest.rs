//! The newest plan from the policy thread to the control thread; neither ever waits.
//!
//! A triple buffer: the writer fills a slot of its own and swaps it with the middle one, the reader swaps the middle one
//! with its own if it is fresh. One atomic exchange on either side, always, so both are wait-free, and a stalled or
//! stopped peer changes nothing for the other. Slots are made of atomics and reused for ever: nothing is locked, and
//! nothing is allocated or freed after [`latest_plan`]. Loom has checked that no order of events tears a plan or brings back
//! an older one.

use self::sync::{Arc, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::timeline::{Plan, PlanError, PlanHeader};

/// The standard library's, or loom's, which tries out every order of events (`tests/loom_latest.rs`).
mod sync {
    #[cfg(loom)]
    pub(super) use loom::sync::{Arc, atomic::*};
    #[cfg(not(loom))]
    pub(super) use std::sync::{Arc, atomic::*};
}

/// A hand-off for plans of at most `positions` actions of `action_size` numbers. Holds no plan at first.
#[must_use]
pub fn latest_plan(positions: usize, action_size: usize) -> (PlanWriter, PlanReader) {
    let capacity = positions.saturating_mul(action_size);
    let shared = Arc::new(Shared {
        slots: std::array::from_fn(|_| Slot::new(capacity, action_size)),
        middle: AtomicU8::new(1),
    });
    let writer = PlanWriter {
        shared: Arc::clone(&shared),
        own: 0,
        positions,
        action_size,
        published: 0,
    };
    let plan = Plan::with_capacity(capacity, action_size);
    (
        writer,
        PlanReader {
            shared,
            own: 2,
            plan,
            present: false,
            received: 0,
        },
    )
}

/// The policy thread's end.
#[derive(Debug)]
pub struct PlanWriter {
    shared: Arc<Shared>,
    own: u8,
    positions: usize,
    action_size: usize,
    published: u64,
}

/// The control thread's end.
#[derive(Debug)]
pub struct PlanReader {
    shared: Arc<Shared>,
    own: u8,
    plan: Plan,
    present: bool,
    received: u64,
}

impl PlanWriter {
    /// Makes `plan` the latest; one that was not read yet is overwritten.
    ///
    /// # Errors
    /// A plan of another action size or longer than the hand-off was made for. The one published before stays.
    pub fn publish(&mut self, plan: &Plan) -> Result<(), PlanError> {
        let (found, expected) = (plan.header().action_size, self.action_size);
        if found != expected {
            return Err(PlanError::ActionSize { expected, found });
        }
        let (found, capacity) = (plan.positions(), self.positions);
        if found > capacity {
            return Err(PlanError::TooLong { capacity, found });
        }
        self.shared.slot(self.own).store(plan);
        self.own = self.shared.exchange(self.own | FRESH);
        self.published += 1;
        Ok(())
    }

    /// Takes the plan back: the reader finds none until the next is published.
    pub fn withdraw(&mut self) {
        self.shared
            .slot(self.own)
            .numbers
            .store(0, Ordering::Relaxed);
        self.own = self.shared.exchange(self.own | FRESH);
    }

    /// How many plans were published.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }
}

impl PlanReader {
    /// The latest plan, none before the first and after a withdrawal. Copies it once, when it is new.
    pub fn latest(&mut self) -> Option<&Plan> {
        if self.shared.middle.load(Ordering::Relaxed) & FRESH != 0 {
            self.own = self.shared.exchange(self.own);
            self.present = self.shared.slot(self.own).load(&mut self.plan);
            self.received += u64::from(self.present);
        }
        self.present.then_some(&self.plan)
    }

    /// How many plans arrived; the published ones beyond these were overwritten before they were read.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }
}

/// Set in `middle` when the slot there has not been read.
const FRESH: u8 = 4;

#[derive(Debug)]
struct Shared {
    slots: [Slot; 3],
    /// Which slot belongs to neither end, and [`FRESH`]. The three indices (this, the writer's, the reader's) are always a
    /// permutation of 0, 1, 2, because an end gives one away whenever it takes one.
    middle: AtomicU8,
}

impl Shared {
    fn slot(&self, own: u8) -> &Slot {
        &self.slots[usize::from(own)]
    }

    /// Gives a slot away and takes the middle one. Release publishes what was written to the one, acquire makes visible
    /// what was written to the other, so the slots themselves need no ordering.
    fn exchange(&self, own: u8) -> u8 {
        self.middle.swap(own, Ordering::AcqRel) & !FRESH
    }
}

/// A plan in atomics: the memory may be shared without a lock, though by protocol only one end touches it at a time.
#[derive(Debug)]
struct Slot {
    stream: AtomicU32,
    chunk: AtomicU64,
    observation_sequence: AtomicU64,
    start_ns: AtomicU64,
    period_ns: AtomicU64,
    action_size: AtomicUsize,
    committed: AtomicUsize,
    /// How many of `actions` are in use; 0 stands for no plan.
    numbers: AtomicUsize,
    /// Bits of f32.
    actions: Box<[AtomicU32]>,
    /// How many of `measured` are in use: all or none.
    measured_numbers: AtomicUsize,
    /// Bits of f32.
    measured: Box<[AtomicU32]>,
}

impl Slot {
    fn new(capacity: usize, action_size: usize) -> Self {
        let floats = |count: usize| (0..count).map(|_| AtomicU32::new(0)).collect();
        Self {
            stream: AtomicU32::new(0),
            chunk: AtomicU64::new(0),
            observation_sequence: AtomicU64::new(0),
            start_ns: AtomicU64::new(0),
            period_ns: AtomicU64::new(0),
            action_size: AtomicUsize::new(0),
            committed: AtomicUsize::new(0),
            numbers: AtomicUsize::new(0),
            actions: floats(capacity),
            measured_numbers: AtomicUsize::new(0),
            measured: floats(action_size),
        }
    }

    fn store(&self, plan: &Plan) {
        let (header, actions) = (plan.header(), plan.actions());
        let measured = plan.measured().unwrap_or_default();
        self.stream.store(header.stream, Ordering::Relaxed);
        self.chunk.store(header.chunk, Ordering::Relaxed);
        self.observation_sequence
            .store(header.observation_sequence, Ordering::Relaxed);
        self.start_ns.store(header.start_ns, Ordering::Relaxed);
        self.period_ns.store(header.period_ns, Ordering::Relaxed);
        self.action_size
            .store(header.action_size, Ordering::Relaxed);
        self.committed.store(header.committed, Ordering::Relaxed);
        self.numbers.store(actions.len(), Ordering::Relaxed);
        self.measured_numbers
            .store(measured.len(), Ordering::Relaxed);
        let slots = self.actions.iter().zip(actions);
        for (slot, value) in slots.chain(self.measured.iter().zip(measured)) {
            slot.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Copies the plan out; false, and nothing copied, if there is none.
    fn load(&self, plan: &mut Plan) -> bool {
        let numbers = self.numbers.load(Ordering::Relaxed);
        if numbers == 0 {
            return false;
        }
        let header = PlanHeader {
            stream: self.stream.load(Ordering::Relaxed),
            chunk: self.chunk.load(Ordering::Relaxed),
            observation_sequence: self.observation_sequence.load(Ordering::Relaxed),
            start_ns: self.start_ns.load(Ordering::Relaxed),
            period_ns: self.period_ns.load(Ordering::Relaxed),
            action_size: self.action_size.load(Ordering::Relaxed),
            committed: self.committed.load(Ordering::Relaxed),
        };
        let measured = self.measured_numbers.load(Ordering::Relaxed);
        plan.refill(
            header,
            read(&self.actions, numbers),
            read(&self.measured, measured),
        );
        true
    }
}

fn read(slots: &[AtomicU32], numbers: usize) -> impl Iterator<Item = f32> {
    let slots = slots.iter().take(numbers);
    slots.map(|bits| f32::from_bits(bits.load(Ordering::Relaxed)))
}

// Loom's atomics exist in its models only.
#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    /// A plan whose every field tells its chunk, with a length that varies.
    fn plan(chunk: u64) -> Plan {
        let positions = 1 + chunk as usize % 16;
        let header = PlanHeader {
            stream: chunk as u32,
            chunk,
            observation_sequence: chunk * 3,
            start_ns: chunk * 7,
            period_ns: chunk + 1,
            action_size: 2,
            committed: positions,
        };
        let plan = Plan::new(header, vec![chunk as f32; positions * 2]).unwrap();
        if chunk.is_multiple_of(3) {
            plan
        } else {
            plan.with_measured(vec![chunk as f32; 2]).unwrap()
        }
    }

    #[test]
    fn the_latest_wins_and_stays() {
        let (mut writer, mut reader) = latest_plan(16, 2);
        assert_eq!(reader.latest(), None);
        for chunk in 1..=5 {
            writer.publish(&plan(chunk)).unwrap();
        }
        assert_eq!(reader.latest(), Some(&plan(5)));
        assert_eq!(reader.latest(), Some(&plan(5)));
        writer.publish(&plan(6)).unwrap();
        assert_eq!(reader.latest(), Some(&plan(6)));
        assert_eq!((writer.published(), reader.received()), (6, 2));
    }

    #[test]
    fn a_withdrawn_plan_is_gone() {
        let (mut writer, mut reader) = latest_plan(16, 2);
        writer.publish(&plan(1)).unwrap();
        assert!(reader.latest().is_some());
        writer.withdraw();
        assert_eq!(reader.latest(), None);
        writer.publish(&plan(2)).unwrap();
        assert_eq!(reader.latest(), Some(&plan(2)));
    }

    #[test]
    fn plans_that_do_not_fit_are_refused_and_the_last_stays() {
        let (mut writer, mut reader) = latest_plan(4, 2);
        writer.publish(&plan(1)).unwrap();
        let error = writer.publish(&plan(5)).unwrap_err();
        assert_eq!(
            error,
            PlanError::TooLong {
                capacity: 4,
                found: 6
            }
        );
        assert_eq!(reader.latest(), Some(&plan(1)));
        let (mut writer, _) = latest_plan(4, 3);
        let error = writer.publish(&plan(1)).unwrap_err();
        assert_eq!(
            error,
            PlanError::ActionSize {
                expected: 3,
                found: 2
            }
        );
    }

    #[test]
    fn reading_never_moves_the_buffer() {
        let (mut writer, mut reader) = latest_plan(16, 2);
        writer.publish(&plan(15)).unwrap();
        let at = reader.latest().unwrap().actions().as_ptr();
        for chunk in 16..64 {
            writer.publish(&plan(chunk)).unwrap();
            assert_eq!(reader.latest().unwrap().actions().as_ptr(), at);
        }
    }

    #[test]
    fn across_threads_plans_arrive_whole_and_in_order() {
        const PLANS: u64 = 50_000;
        let (mut writer, mut reader) = latest_plan(16, 2);
        let sender = std::thread::spawn(move || {
            for chunk in 1..=PLANS {
                writer.publish(&plan(chunk)).unwrap();
            }
            writer.published()
        });
        let mut newest = 0;
        while newest < PLANS {
            let Some(found) = reader.latest() else {
                continue;
            };
            let chunk = found.header().chunk;
            assert!(chunk >= newest, "{chunk} after {newest}");
            assert_eq!(found, &plan(chunk));
            newest = chunk;
        }
        assert_eq!(sender.join().unwrap(), PLANS);
        assert!((1..=PLANS).contains(&reader.received()));
    }

    #[test]
    fn an_end_outlives_the_other() {
        let (mut writer, mut reader) = latest_plan(16, 2);
        writer.publish(&plan(1)).unwrap();
        drop(writer);
        assert_eq!(reader.latest(), Some(&plan(1)));
        let (mut writer, reader) = latest_plan(16, 2);
        drop(reader);
        (1..10).for_each(|chunk| writer.publish(&plan(chunk)).unwrap());
    }
}
