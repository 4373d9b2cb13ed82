//! `kinestream bench control`: how well the command loop keeps its rate.
//!
//! The loop runs the real command path, beside a policy that computes plans, under loads, and in
//! turns with rivals. Slices of at most ten seconds alternate: two loops of one priority on one
//! processor at the same time would measure each other.

mod inference;
mod load;
mod path;
mod report;
mod rivals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use kinestream_control::{
    LoopOptions, Machine, MissPolicy, RealtimeConfig, RealtimeStatus, Timing, fixed_rate,
    latest_plan, machine, realtime,
};

use inference::Inference;
use kinestream_command_line::bench::{BenchControlArguments, BesidePolicy};
use kinestream_runtime::shutdown;
use kinestream_terminal::output;
use load::Loads;
use path::CommandPath;
use report::Report;
use rivals::Rival;

/// Turns that every loop has at least, where these are not shorter than a second.
const TURNS: u32 = 6;
/// Longest turn.
const LONGEST: Duration = Duration::from_secs(10);
/// Time between two looks at what runs.
const GLANCE: Duration = Duration::from_millis(20);

pub(crate) fn run(arguments: &BenchControlArguments) -> Result<()> {
    let conditions = Conditions::of(arguments)?;
    let stop = shutdown::flag()?;
    let mut rivals = rivals::find(&arguments.against, &conditions);
    let running = rivals.iter().filter(|rival| rival.is_there()).count();
    let all = arguments.seconds * (1 + running) as f64;
    let progress = Progress {
        bar: output::progress(all.ceil() as u64, "s"),
        done: Duration::ZERO,
        stop: Arc::clone(&stop),
    };
    let inference = match arguments.policy {
        BesidePolicy::None => None,
        wanted => Some(Inference::start(arguments, wanted, conditions.policy_cpu)?),
    };
    let loads = Loads::start(arguments.load, arguments.scratch.as_deref())?;
    let measured = measure(&conditions, inference.as_ref(), &mut rivals, progress);
    // Whatever happened, everything is ended and its own errors are told.
    let loads = loads.finish();
    let inference = inference.map(Inference::finish).transpose();
    let report = Report {
        machine: Machine::read(),
        measured: measured?,
        rivals,
        loads: loads?,
        inference: inference?,
    };
    report.print(arguments, &conditions)
}

/// What is measured, and where.
pub(crate) struct Conditions {
    options: LoopOptions,
    seconds: f64,
    cpu: usize,
    /// The policy's processor, where there are two.
    policy_cpu: Option<usize>,
}

/// What the loop did in all its slices.
struct Measured {
    timing: Timing,
    granted: RealtimeStatus,
    /// Commands that came out of the ring.
    commands: u64,
    /// Time that the host took from the loop's processor meanwhile.
    stolen: Duration,
}

impl Conditions {
    fn of(arguments: &BenchControlArguments) -> Result<Self> {
        let (rate, seconds) = (arguments.rate, arguments.seconds);
        ensure!(
            rate > 0.0 && rate <= 10_000.0,
            "--rate is {rate}, expected above 0, at most 10000"
        );
        ensure!(
            seconds > 0.0 && seconds <= 86_400.0,
            "--seconds is {seconds}, expected above 0, at most 86400"
        );
        ensure!(
            (rate * seconds) >= 1.0,
            "--seconds {seconds} at --rate {rate} is not one period; measure longer"
        );
        let cpus = realtime::in_force().cpus;
        let cpu = arguments.cpu.or(cpus.last().copied()).unwrap_or(0);
        ensure!(
            cpus.is_empty() || cpus.contains(&cpu),
            "--cpu is {cpu}, this process may use {cpus:?}"
        );
        let realtime = RealtimeConfig {
            priority: arguments.priority,
            cpu: Some(cpu),
            lock_memory: true,
            idle_latency_us: (!arguments.allow_idle).then_some(0),
            strict: arguments.strict,
        };
        realtime.check()?;
        Ok(Self {
            options: LoopOptions {
                rate_hz: rate,
                missed: MissPolicy::Skip,
                realtime,
            },
            seconds,
            cpu,
            policy_cpu: cpus.into_iter().find(|other| *other != cpu),
        })
    }

    /// Periods within a time, at least one.
    fn periods(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.options.rate_hz).round().max(1.0) as u64
    }
}

/// Slices of the loop and of every rival, in turns.
fn measure(
    conditions: &Conditions,
    inference: Option<&Inference>,
    rivals: &mut [Rival],
    mut progress: Progress,
) -> Result<Measured> {
    let total = Duration::from_secs_f64(conditions.seconds);
    let turn = (total / TURNS).clamp(Duration::from_secs(1), LONGEST);
    let mut done = Duration::ZERO;
    let mut measured = Measured {
        timing: Timing::new(conditions.options.rate_hz),
        granted: RealtimeStatus::default(),
        commands: 0,
        stolen: Duration::ZERO,
    };
    while done < total && !progress.is_stopped() {
        let slice = turn.min(total - done);
        progress.begin("kinestream");
        let before = stolen(conditions.cpu);
        loop_slice(conditions, inference, slice, &mut measured, &progress)?;
        measured.stolen += stolen(conditions.cpu).saturating_sub(before);
        progress.end(slice);
        for rival in rivals.iter_mut().filter(|rival| rival.is_there()) {
            progress.begin(rival.title());
            let before = stolen(conditions.cpu);
            rival.slice(conditions, &measured.granted, slice, &progress)?;
            rival.stolen += stolen(conditions.cpu).saturating_sub(before);
            progress.end(slice);
        }
        done += slice;
    }
    progress.bar.finish_and_clear();
    ensure!(measured.timing.ticks > 0, "stopped before the first tick");
    Ok(measured)
}

/// Time that the host took from a processor since boot; 0 where nobody says.
fn stolen(cpu: usize) -> Duration {
    machine::stolen(cpu).unwrap_or_default()
}

fn loop_slice(
    conditions: &Conditions,
    inference: Option<&Inference>,
    slice: Duration,
    measured: &mut Measured,
    progress: &Progress,
) -> Result<()> {
    let (positions, action_size) = inference.map_or((1, 1), Inference::plan_size);
    let (writer, reader) = latest_plan(positions, action_size);
    if let Some(inference) = inference {
        progress.wait(inference.publish_to(writer));
    }
    let (mut path, commands) = CommandPath::new(reader, action_size, conditions.options.rate_hz)?;
    let last = conditions.periods(slice) - 1;
    let stop = Arc::new(AtomicBool::new(false));
    let running = fixed_rate::spawn(&conditions.options, stop, move |tick| {
        path.tick(tick);
        if tick.index >= last {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    })?;
    measured.granted = running.granted().clone();
    progress.wait(|| running.is_finished());
    running.stop();
    measured.timing.merge(&running.join_timing()?);
    measured.commands += commands.finish()?;
    Ok(())
}

/// The bar, and the wish to end.
struct Progress {
    bar: ProgressBar,
    done: Duration,
    stop: Arc<AtomicBool>,
}

impl Progress {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn begin(&self, title: &str) {
        self.bar.set_message(title.to_owned());
    }

    fn end(&mut self, slice: Duration) {
        self.done += slice;
        self.bar.set_position(self.done.as_secs());
    }

    /// Waits until something has ended, or the user wants an end: then false.
    fn wait(&self, mut ended: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        while !ended() {
            if self.is_stopped() {
                return false;
            }
            std::thread::sleep(GLANCE);
            let position = self.done + begun.elapsed();
            self.bar.set_position(position.as_secs());
        }
        true
    }
}
