//! A loop at a fixed rate, on a thread of its own.
//!
//! Deadlines follow a [`Schedule`]: a late tick does not shift those after it. Between two ticks the loop itself allocates nothing, takes no lock
//! and prints nothing: one system call, the sleep, and then the time, which is all that stands between the wake-up and the
//! tick.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use thiserror::Error;

use crate::allocations::{is_counting, thread_allocations};
use crate::clock::{Clock, Monotonic};
use crate::realtime::{self, RealtimeConfig, RealtimeError, RealtimeStatus};
use crate::schedule::{MissPolicy, Schedule};
use crate::timing::{Timing, TimingReport};
use crate::timing_gauge::TimingGauge;

/// One turn of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Periods since the loop began, from 0; those left out are counted too.
    pub index: u64,
    /// When this tick was due, nanoseconds on the loop's clock.
    pub deadline_ns: u64,
    /// When it was woken. Later than the deadline by more than a period if it catches up.
    pub now_ns: u64,
    /// Periods left out immediately before this one. Under [`MissPolicy::Fault`] more than 0 is a fault, which whoever
    /// ticks has to act on.
    pub missed: u64,
}

/// How a loop runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoopOptions {
    /// Ticks per second, above 0, at most 1,000,000.
    pub rate_hz: f64,
    /// What happens to missed periods.
    pub missed: MissPolicy,
    /// What the thread asks of the operating system.
    pub realtime: RealtimeConfig,
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
    /// The operating system did not grant what the thread has to have.
    #[error(transparent)]
    Realtime(#[from] RealtimeError),
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
    granted: RealtimeStatus,
    gauge: Arc<TimingGauge>,
    thread: JoinHandle<Result<Timing, LoopError>>,
}

/// Starts a thread that calls `tick` at a fixed rate until it breaks or `stop` is set. Returns when the thread has what it
/// asked for of the operating system, or what it was given of that; its first tick is due one period later. A stop is seen
/// when the thread next wakes, at most one period later; `tick` is not called again after that.
///
/// # Errors
/// A rate or priority out of range, no thread to be had, or, with `strict`, something that was not granted.
pub fn spawn<F>(
    options: &LoopOptions,
    stop: Arc<AtomicBool>,
    tick: F,
) -> Result<ControlLoop, LoopError>
where
    F: FnMut(Tick) -> ControlFlow<()> + Send + 'static,
{
    period_ns(options.rate_hz)?;
    let gauge = Arc::new(TimingGauge::default());
    let (options, seen, recorded) = (*options, Arc::clone(&stop), Arc::clone(&gauge));
    let (report, reported) = mpsc::sync_channel(1);
    let run_loop = move || {
        // Held until the loop has ended.
        let held = realtime::apply(&options.realtime)?;
        // Nobody listens any more only if the caller is gone, and with it the loop's purpose; the flag ends it.
        let _ = report.send(held.granted().clone());
        drop(report);
        run(&options, &Monotonic, &recorded, &seen, tick)
    };
    let thread = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(run_loop)?;
    match reported.recv() {
        Ok(granted) => Ok(ControlLoop {
            stop,
            granted,
            gauge,
            thread,
        }),
        // The thread ended without a word: it holds the reason.
        Err(mpsc::RecvError) => match finish(thread) {
            Err(error) => Err(error),
            Ok(_) => unreachable!("a loop that ran has reported"),
        },
    }
}

/// The same on the calling thread and any clock, without asking the operating system for anything.
///
/// # Errors
/// A rate out of range.
pub fn run<C, F>(
    options: &LoopOptions,
    clock: &C,
    gauge: &TimingGauge,
    stop: &AtomicBool,
    mut tick: F,
) -> Result<Timing, LoopError>
where
    C: Clock,
    F: FnMut(Tick) -> ControlFlow<()>,
{
    let period_ns = period_ns(options.rate_hz)?;
    let mut timing = Timing::new(options.rate_hz);
    let counting = is_counting();
    let allocations = thread_allocations();
    let mut now_ns = clock.now_ns();
    let start_ns = now_ns.saturating_add(period_ns);
    let mut schedule = Schedule::new(start_ns, period_ns).on_miss(options.missed);
    loop {
        let (index, deadline_ns) = schedule.next(now_ns);
        let missed = schedule.missed() - timing.missed;
        timing.missed += missed;
        let woken_ns = clock.sleep_until(deadline_ns);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let flow = tick(Tick {
            index,
            deadline_ns,
            now_ns: woken_ns,
            missed,
        });
        now_ns = clock.now_ns();
        let lateness_ns = woken_ns.saturating_sub(deadline_ns);
        let execution_ns = now_ns.saturating_sub(woken_ns);
        timing.lateness.record(lateness_ns);
        timing.execution.record(execution_ns);
        timing.ticks += 1;
        gauge.record(lateness_ns, execution_ns, missed);
        if flow.is_break() {
            break;
        }
    }
    timing.allocations = counting.then(|| thread_allocations().wrapping_sub(allocations));
    Ok(timing)
}

impl ControlLoop {
    /// What the operating system gave the thread.
    #[must_use]
    pub fn granted(&self) -> &RealtimeStatus {
        &self.granted
    }

    /// Where the loop's timing can be read while it runs, by any thread.
    #[must_use]
    pub fn gauge(&self) -> Arc<TimingGauge> {
        Arc::clone(&self.gauge)
    }

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
        Ok(self.join_timing()?.report())
    }

    /// As [`join`](Self::join), with the histograms.
    ///
    /// # Errors
    /// The closure panicked.
    pub fn join_timing(self) -> Result<Timing, LoopError> {
        finish(self.thread)
    }
}

fn finish(thread: JoinHandle<Result<Timing, LoopError>>) -> Result<Timing, LoopError> {
    thread.join().unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(LoopError::Panicked { message })
    })
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
    use crate::latencies::Percentiles;
    use crate::schedule::CATCH_UP_NS;

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

        fn sleep_until(&self, deadline_ns: u64) -> u64 {
            self.0.set(self.0.get().max(deadline_ns));
            self.0.get()
        }
    }

    fn options(rate_hz: f64, missed: MissPolicy) -> LoopOptions {
        LoopOptions {
            rate_hz,
            missed,
            realtime: RealtimeConfig::nothing(),
        }
    }

    fn skip(rate_hz: f64) -> LoopOptions {
        options(rate_hz, MissPolicy::Skip)
    }

    /// Indices and missed counts of a loop at 1 kHz in which tick 2 takes `stall_ns` and all others 0.1 ms, up to `last`.
    fn stalled(missed: MissPolicy, stall_ns: u64, last: u64) -> (Vec<(u64, u64)>, TimingReport) {
        let (clock, gauge) = (VirtualClock(Cell::new(0)), TimingGauge::default());
        let mut ticks = Vec::new();
        let stop = AtomicBool::new(false);
        let timing = run(&options(1000.0, missed), &clock, &gauge, &stop, |tick| {
            ticks.push((tick.index, tick.missed));
            assert_eq!(tick.deadline_ns, 1_000_000 * (tick.index + 1));
            assert!(tick.now_ns >= tick.deadline_ns);
            clock.pass(if tick.index == 2 { stall_ns } else { 100_000 });
            if tick.index >= last {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        let report = timing.report();
        let seen = gauge.snapshot();
        assert_eq!((seen.ticks, seen.missed), (report.ticks, report.missed));
        assert_eq!(seen.lateness.percentiles_us.max, report.lateness_us.max);
        assert_eq!(seen.execution.percentiles_us.max, report.execution_us.max);
        (ticks, report)
    }

    #[test]
    fn a_loop_on_time_misses_nothing() {
        let clock = VirtualClock(Cell::new(5_000_000));
        let mut deadlines = Vec::new();
        let (gauge, stop) = (TimingGauge::default(), AtomicBool::new(false));
        let timing = run(&skip(1000.0), &clock, &gauge, &stop, |tick| {
            clock.pass(250_000);
            deadlines.push(tick.deadline_ns);
            if tick.index == 99 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        let report = timing.report();
        let expected: Vec<u64> = (6..106).map(|ms| ms * 1_000_000).collect();
        assert_eq!(deadlines, expected);
        assert_eq!((report.ticks, report.missed), (100, 0));
        assert_eq!(report.allocations, None);
        assert_eq!(report.lateness_us, Percentiles::default());
        assert_eq!(
            (report.execution_us.p50, report.execution_us.max),
            (250.0, 250.0)
        );
    }

    #[test]
    fn a_stall_is_counted_and_skipped() {
        let (ticks, report) = stalled(MissPolicy::Skip, 4_300_000, 9);
        let expected = [(0, 0), (1, 0), (2, 0), (6, 3), (7, 0), (8, 0), (9, 0)];
        assert_eq!(ticks, expected);
        assert_eq!((report.ticks, report.missed), (7, 3));
        assert_eq!(report.lateness_us.max, 300.0);
        assert_eq!(report.execution_us.max, 4300.0);
    }

    #[test]
    fn a_fault_is_what_skipping_reports() {
        let stall = |policy| stalled(policy, 4_300_000, 9);
        assert_eq!(stall(MissPolicy::Fault), stall(MissPolicy::Skip));
    }

    #[test]
    fn a_stall_is_caught_up() {
        let (ticks, report) = stalled(MissPolicy::CatchUp, 4_300_000, 9);
        let expected: Vec<_> = (0..=9).map(|index| (index, 0)).collect();
        assert_eq!(ticks, expected);
        assert_eq!((report.ticks, report.missed), (10, 0));
        // Tick 3 was due 3.3 ms ago; each one after it gains 0.9 ms.
        assert_eq!(report.lateness_us.max, 3300.0);
    }

    #[test]
    fn at_most_100_ms_are_caught_up() {
        let (ticks, report) = stalled(MissPolicy::CatchUp, 1_000_300_000, 1100);
        // After tick 2 period 1002 is running: those from 902 on are caught up.
        assert_eq!(ticks[2..5], [(2, 0), (902, 899), (903, 0)]);
        assert_eq!((report.ticks, report.missed), (202, 899));
        assert_eq!(report.lateness_us.max, 100_300.0);
    }

    #[test]
    fn ticks_longer_than_a_period_never_lag_by_more_than_the_bound() {
        let clock = VirtualClock(Cell::new(0));
        let (gauge, stop) = (TimingGauge::default(), AtomicBool::new(false));
        let options = options(1000.0, MissPolicy::CatchUp);
        let timing = run(&options, &clock, &gauge, &stop, |tick| {
            assert!(tick.now_ns - tick.deadline_ns <= CATCH_UP_NS + 1_000_000);
            clock.pass(1_500_000);
            if tick.index >= 2000 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        assert_eq!(timing.ticks + timing.missed, 2001);
        assert!(timing.missed > 500);
    }

    #[test]
    fn a_set_flag_stops_before_the_next_tick() {
        let (clock, stop) = (VirtualClock(Cell::new(0)), AtomicBool::new(false));
        let gauge = TimingGauge::default();
        let timing = run(&skip(100.0), &clock, &gauge, &stop, |tick| {
            stop.store(tick.index == 3, Ordering::Relaxed);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(timing.ticks, 4);
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for rate_hz in [0.0, -5.0, f64::NAN, f64::INFINITY, 2e6] {
            let tick = |_| ControlFlow::Break(());
            let error = spawn(&skip(rate_hz), Arc::default(), tick).unwrap_err();
            assert!(matches!(error, LoopError::Rate { .. }));
        }
    }

    #[test]
    fn the_thread_runs_by_its_name_until_stopped() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let running = spawn(&skip(1000.0), Arc::default(), move |tick| {
            let name = std::thread::current().name().map(str::to_owned);
            sender.send((name, tick)).unwrap();
            ControlFlow::Continue(())
        })
        .unwrap();
        let gauge = running.gauge();
        for _ in 0..5 {
            let (name, tick) = receiver.recv().unwrap();
            assert_eq!(name.as_deref(), Some("control"));
            assert!(tick.now_ns >= tick.deadline_ns);
        }
        running.stop();
        let report = running.join().unwrap();
        assert!(report.ticks >= 5);
        assert_eq!(report.ticks, 5 + receiver.iter().count() as u64);
        assert_eq!(gauge.snapshot().ticks, report.ticks);
    }

    #[test]
    fn the_thread_reports_what_it_was_given() {
        let mut options = skip(1000.0);
        let running = spawn(&options, Arc::default(), |_| ControlFlow::Break(())).unwrap();
        assert_eq!(running.granted().refused, Vec::<String>::new());
        assert_eq!(running.granted().priority, 0);
        running.join().unwrap();
        options.realtime.cpu = Some(1_000_000);
        let running = spawn(&options, Arc::default(), |_| ControlFlow::Break(())).unwrap();
        assert_eq!(running.granted().refused.len(), 1);
        running.join().unwrap();
        options.realtime.strict = true;
        let error = spawn(&options, Arc::default(), |_| unreachable!()).unwrap_err();
        assert!(matches!(
            error,
            LoopError::Realtime(RealtimeError::Refused { .. })
        ));
    }

    #[test]
    fn a_panic_is_reported() {
        let running = spawn(&skip(1000.0), Arc::default(), |_| panic!("out of reach")).unwrap();
        let error = running.join().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the control thread panicked: out of reach"
        );
    }
}
