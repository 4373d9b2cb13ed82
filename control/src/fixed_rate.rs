//! A loop at a fixed rate: when each tick is due, a thread that keeps to it, and how well it did.
//!
//! Deadlines are absolute: a late tick does not shift those after it. A tick whose whole period has passed is counted as
//! missed and left out. Between two ticks the loop itself allocates nothing, takes no lock and prints nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::{Clock, Monotonic, wake_promptly};
use crate::latencies::{Latencies, Percentiles};

/// One turn of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Periods since the loop began, from 0; missed ones are left out.
    pub index: u64,
    /// When this tick was due, nanoseconds on the loop's clock.
    pub deadline_ns: u64,
    /// When it was woken.
    pub now_ns: u64,
}

/// Which period comes next. Clock-free.
#[derive(Debug, Clone)]
pub struct Schedule {
    start_ns: u64,
    period_ns: u64,
    next: u64,
    missed: u64,
}

/// How well a loop kept its rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimingReport {
    /// Ticks per second asked for.
    pub rate_hz: f64,
    /// Ticks run.
    pub ticks: u64,
    /// Periods in which no tick ran.
    pub missed: u64,
    /// From a tick's deadline to its waking, in microseconds.
    pub lateness_us: Percentiles,
    /// From a tick's waking to its end, in microseconds.
    pub execution_us: Percentiles,
}

/// Why a loop did not start or did not end well.
#[derive(Debug, Error)]
pub enum LoopError {
    /// A rate that no period in nanoseconds expresses.
    #[error("a loop's rate is {rate_hz} Hz, expected more than 0 and at most 1000000")]
    Rate {
        /// What was asked for.
        rate_hz: f64,
    },
    /// The operating system gave no thread.
    #[error(
        "the control thread could not be started: {0}; check the limits on processes and memory"
    )]
    Thread(#[from] std::io::Error),
    /// The closure panicked.
    #[error("the control thread panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
}

/// A loop on a thread of its own, named "control". It goes on when this is dropped: end it by its flag.
#[derive(Debug)]
pub struct ControlLoop {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<TimingReport>,
}

/// Starts a thread that calls `tick` at `rate_hz` until it breaks or `stop` is set. The first tick is due one period from
/// now. A stop is seen when the thread next wakes, at most one period later; `tick` is not called again after that.
///
/// # Errors
/// A rate out of range, or no thread to be had.
pub fn spawn<F>(rate_hz: f64, stop: Arc<AtomicBool>, tick: F) -> Result<ControlLoop, LoopError>
where
    F: FnMut(Tick) -> ControlFlow<()> + Send + 'static,
{
    period_ns(rate_hz)?;
    let seen = Arc::clone(&stop);
    let run_loop = move || {
        wake_promptly();
        match run(rate_hz, &Monotonic, &seen, tick) {
            Ok(report) => report,
            Err(_) => unreachable!("the rate was checked before the thread was started"),
        }
    };
    let thread = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(run_loop)?;
    Ok(ControlLoop { stop, thread })
}

/// The same on the calling thread and any clock.
///
/// # Errors
/// A rate out of range.
pub fn run<C, F>(
    rate_hz: f64,
    clock: &C,
    stop: &AtomicBool,
    mut tick: F,
) -> Result<TimingReport, LoopError>
where
    C: Clock,
    F: FnMut(Tick) -> ControlFlow<()>,
{
    let period_ns = period_ns(rate_hz)?;
    let (mut lateness, mut execution) = (Latencies::new(), Latencies::new());
    let mut schedule = Schedule::new(clock.now_ns().saturating_add(period_ns), period_ns);
    let mut ticks = 0;
    loop {
        let (index, deadline_ns) = schedule.next(clock.now_ns());
        clock.sleep_until(deadline_ns);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let now_ns = clock.now_ns();
        let flow = tick(Tick {
            index,
            deadline_ns,
            now_ns,
        });
        lateness.record(now_ns.saturating_sub(deadline_ns));
        execution.record(clock.now_ns().saturating_sub(now_ns));
        ticks += 1;
        if flow.is_break() {
            break;
        }
    }
    Ok(TimingReport {
        rate_hz,
        ticks,
        missed: schedule.missed(),
        lateness_us: lateness.percentiles_us(),
        execution_us: execution.percentiles_us(),
    })
}

impl ControlLoop {
    /// Asks the thread to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the thread has ended, by whatever cause.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread to end by itself or after [`stop`](Self::stop), and returns its timing.
    ///
    /// # Errors
    /// The closure panicked.
    pub fn join(self) -> Result<TimingReport, LoopError> {
        self.thread.join().map_err(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            LoopError::Panicked { message }
        })
    }
}

impl Schedule {
    /// Period 0 is due at `start_ns`, each next one `period_ns` (at least 1) later.
    #[must_use]
    pub fn new(start_ns: u64, period_ns: u64) -> Self {
        Self {
            start_ns,
            period_ns: period_ns.max(1),
            next: 0,
            missed: 0,
        }
    }

    /// Index and deadline of the period to wait for at `now_ns`: the one after the last, which may have begun already, or
    /// the running one if that has passed too.
    pub fn next(&mut self, now_ns: u64) -> (u64, u64) {
        let running = now_ns.saturating_sub(self.start_ns) / self.period_ns;
        let index = self.next.max(running);
        self.missed += index - self.next;
        self.next = index.saturating_add(1);
        let deadline_ns = self
            .start_ns
            .saturating_add(index.saturating_mul(self.period_ns));
        (index, deadline_ns)
    }

    /// Periods left out so far.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

fn period_ns(rate_hz: f64) -> Result<u64, LoopError> {
    let allowed = rate_hz > 0.0 && rate_hz <= 1e6;
    if allowed {
        Ok((1e9 / rate_hz).round() as u64)
    } else {
        Err(LoopError::Rate { rate_hz })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Moves only when slept on or pushed.
    struct VirtualClock(Cell<u64>);

    impl VirtualClock {
        fn pass(&self, ns: u64) {
            self.0.set(self.0.get() + ns);
        }
    }

    impl Clock for VirtualClock {
        fn now_ns(&self) -> u64 {
            self.0.get()
        }

        fn sleep_until(&self, deadline_ns: u64) {
            self.0.set(self.0.get().max(deadline_ns));
        }
    }

    #[test]
    fn deadlines_keep_their_phase() {
        let mut schedule = Schedule::new(1000, 100);
        let found = [0, 1000, 1150, 1199, 1299, 1320, 1777, 1778].map(|now| schedule.next(now));
        let expected = [0, 1, 2, 3, 4, 5, 7, 8].map(|index| (index, 1000 + index * 100));
        assert_eq!(found, expected);
        assert_eq!(schedule.missed(), 1);
    }

    #[test]
    fn extreme_times_are_harmless() {
        let mut schedule = Schedule::new(u64::MAX, 0);
        assert_eq!(schedule.next(0), (0, u64::MAX));
        assert_eq!(schedule.next(u64::MAX), (1, u64::MAX));
        let mut schedule = Schedule::new(0, 1);
        assert_eq!(schedule.next(u64::MAX), (u64::MAX, u64::MAX));
        schedule.next(5);
    }

    #[test]
    fn a_loop_on_time_misses_nothing() {
        let clock = VirtualClock(Cell::new(5_000_000));
        let mut deadlines = Vec::new();
        let report = run(1000.0, &clock, &AtomicBool::new(false), |tick| {
            clock.pass(250_000);
            deadlines.push(tick.deadline_ns);
            if tick.index == 99 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        let expected: Vec<u64> = (6..106).map(|ms| ms * 1_000_000).collect();
        assert_eq!(deadlines, expected);
        assert_eq!((report.ticks, report.missed), (100, 0));
        assert_eq!(report.lateness_us, Percentiles::default());
        assert_eq!(
            (report.execution_us.p50, report.execution_us.max),
            (250.0, 250.0)
        );
    }

    #[test]
    fn a_stall_is_counted_and_skipped() {
        let clock = VirtualClock(Cell::new(0));
        let mut indices = Vec::new();
        let report = run(1000.0, &clock, &AtomicBool::new(false), |tick| {
            indices.push(tick.index);
            assert!(tick.now_ns >= tick.deadline_ns);
            clock.pass(if tick.index == 2 { 4_300_000 } else { 100_000 });
            if tick.index >= 9 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        assert_eq!(indices, [0, 1, 2, 6, 7, 8, 9]);
        assert_eq!((report.ticks, report.missed), (7, 3));
        assert_eq!(report.lateness_us.max, 300.0);
        assert_eq!(report.execution_us.max, 4300.0);
    }

    #[test]
    fn a_set_flag_stops_before_the_next_tick() {
        let (clock, stop) = (VirtualClock(Cell::new(0)), AtomicBool::new(false));
        let report = run(100.0, &clock, &stop, |tick| {
            stop.store(tick.index == 3, Ordering::Relaxed);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(report.ticks, 4);
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for rate_hz in [0.0, -5.0, f64::NAN, f64::INFINITY, 2e6] {
            let tick = |_| ControlFlow::Break(());
            let error = spawn(rate_hz, Arc::default(), tick).unwrap_err();
            assert!(matches!(error, LoopError::Rate { .. }));
        }
    }

    #[test]
    fn the_thread_runs_by_its_name_until_stopped() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let running = spawn(1000.0, Arc::default(), move |tick| {
            let name = std::thread::current().name().map(str::to_owned);
            sender.send((name, tick)).unwrap();
            ControlFlow::Continue(())
        })
        .unwrap();
        for _ in 0..5 {
            let (name, tick) = receiver.recv().unwrap();
            assert_eq!(name.as_deref(), Some("control"));
            assert!(tick.now_ns >= tick.deadline_ns);
        }
        running.stop();
        let report = running.join().unwrap();
        assert!(report.ticks >= 5);
        assert_eq!(report.ticks, 5 + receiver.iter().count() as u64);
    }

    #[test]
    fn a_panic_is_reported() {
        let running = spawn(1000.0, Arc::default(), |_| panic!("out of reach")).unwrap();
        let error = running.join().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the control thread panicked: out of reach"
        );
    }
}
