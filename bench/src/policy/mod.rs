//! `kinestream bench policy`: latency from observation to action and of network evaluations by every executor, as ratios
//! within one run.

mod evaluations;
mod floor;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kinestream_control::{Latencies, Percentiles};
use kinestream_diffusion::{Execution, Executor, Precision};
use kinestream_policy::Policy;
use kinestream_sim::pusht::{self, PushT};
use serde::Serialize;
use tch::{Device, Tensor};

use self::evaluations::{Evaluated, Evaluations, Streams, Turn};
use self::floor::Floor;
use kinestream_command_line::bench::BenchPolicyArguments;
use kinestream_runtime::checkpoint;
use kinestream_runtime::sight::ObservationMode;
use kinestream_terminal::output;
use kinestream_terminal::say;

/// Rounds that are not measured: LibTorch picks kernels and allocates.
const WARM_UP: usize = 3;
/// Rounds that are measured at least.
const LEAST: usize = 10;
/// Bytes that are read to put everything else out of the caches.
const EVICTING: usize = 256 << 20;

#[derive(Debug, Serialize)]
struct PolicyReport {
    checkpoint: String,
    device: String,
    threads: usize,
    /// What evaluates the policy, and with which weights.
    executor: Executor,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Precision>,
    /// Whether caches were emptied before every evaluation.
    cold: bool,
    /// Threads that did nothing but keep processors busy.
    busy: usize,
    parameters: usize,
    observations: u64,
    evaluations_per_observation: f64,
    evaluation_ms: Percentiles,
    observation_to_action_ms: Percentiles,
    /// Median time from observation to action over the median time of as many evaluations.
    ratio_to_evaluations: f64,
    /// Median time from observation to action over the median time of one evaluation.
    ratio_to_one_evaluation: f64,
    /// The larger of: reading every weight once at the memory bandwidth measured in this run, and
    /// the network's arithmetic at the rate of a large matrix product measured in this run.
    floor_ms: f64,
    ratio_to_floor: f64,
    read_gb_per_s: f64,
    gflop_per_s: f64,
    /// One evaluation by every executor that can run here.
    evaluations: Vec<Evaluated>,
    /// Evaluations of several plans at once.
    streams: Vec<Streams>,
}

pub(crate) fn run(arguments: &BenchPolicyArguments) -> Result<()> {
    let (device, execution) = super::execution(&arguments.execution)?;
    let Execution {
        precision, threads, ..
    } = execution;
    super::check_seconds(arguments.seconds)?;
    ensure!(
        (0.0..=10_000.0).contains(&arguments.rate),
        "--rate is {}, expected 0 to 10000",
        arguments.rate
    );
    ensure!(
        arguments
            .streams
            .iter()
            .all(|streams| (1..=4096).contains(streams)),
        "--streams is {:?}, expected 1 to 4096 each",
        arguments.streams
    );
    let folder = arguments
        .checkpoint
        .clone()
        .unwrap_or_else(|| checkpoint::SHIPPED.into());
    let bare = checkpoint::open(&folder, device)?;
    let plan = bare.policy().plan.clone();
    let levels = plan.ladder_levels() as f64 / plan.chunks() as f64;
    let mut policy = Policy::executed(checkpoint::open(&folder, device)?, device, 1, execution)?;
    let sight = ObservationMode::of(
        &pusht::SPEC,
        &policy.config().task,
        Some(policy.observation_size()),
    )
    .with_context(|| {
        format!(
            "{}: bench policy plays Push-T; `kinestream import --check` times any policy",
            folder.display()
        )
    })?;
    let executor = policy.executor();
    let graph = match executor {
        Executor::Graph => Some(checkpoint::open(&folder, device)?.into_network()),
        _ => None,
    };
    let mut evaluations = Evaluations::new(&bare, device, threads, graph)?;
    let mut world = PushT::new();
    world.reset(100_000);
    policy.reset(0, 1)?;
    let mut latency = Latencies::new();
    let busy = Busy::start(arguments.busy);
    let memory = vec![1_u64; if arguments.cold { EVICTING / 8 } else { 0 }];
    let evict = || {
        std::hint::black_box(memory.iter().fold(0_u64, |sum, x| sum.wrapping_add(*x)));
    };
    let turn = if arguments.rate > 0.0 {
        Turn::ONE
    } else {
        Turn::BURST
    };
    let begun = Instant::now();
    let (mut round, mut steps) = (0, 0_u32);
    // They take turns, so that all of them meet the same state of the machine.
    while begun.elapsed().as_secs_f64() < arguments.seconds || round < WARM_UP + LEAST {
        evaluations.round(turn, round >= WARM_UP, &evict)?;
        evaluations::settle();
        for index in 0..turn.evaluations {
            let seen = sight.see(&world);
            let images = sight.images(&seen.pictures);
            if steps > 0 {
                policy.advance(0, plan.action_steps);
            }
            evict();
            let started = Instant::now();
            policy.observe_images(0, &seen.numbers, &images)?;
            while policy.refine(&[0])? > 0 {}
            let plan = policy.plan(0)?;
            let answered = started.elapsed();
            let at = plan.current * 2;
            world.step([f64::from(plan.actions[at]), f64::from(plan.actions[at + 1])])?;
            if round >= WARM_UP && index >= turn.unmeasured {
                latency.record(answered.as_nanos() as u64);
            }
            steps += 1;
            if steps.is_multiple_of(300) {
                world.reset(100_000 + steps / 300);
            }
        }
        round += 1;
        if arguments.rate > 0.0 {
            let period = Duration::from_secs_f64(1.0 / arguments.rate);
            std::thread::sleep((period * round as u32).saturating_sub(begun.elapsed()));
        }
    }
    let streams = evaluations.streams(&arguments.streams, execution)?;
    busy.end();
    let floor = Floor::measure(&bare, device, threads)?;
    let evaluated = evaluations.report(&floor);
    let precision = (executor == Executor::Fused).then_some(precision);
    let own = evaluated
        .iter()
        .find(|one| one.executor == executor && one.precision == precision)
        .or(evaluated.first());
    let (evaluation_ms, floor_ms) = own.map_or_else(Default::default, |own| (own.ms, own.floor_ms));
    let observation_to_action_ms = latency.percentiles_ms();
    let report = PolicyReport {
        checkpoint: folder.display().to_string(),
        device: format!("{device:?}"),
        threads,
        executor,
        precision,
        cold: arguments.cold,
        busy: arguments.busy,
        parameters: bare.network().parameters(),
        observations: latency.count(),
        evaluations_per_observation: levels,
        evaluation_ms,
        observation_to_action_ms,
        ratio_to_evaluations: observation_to_action_ms.p50 / (evaluation_ms.p50 * levels),
        ratio_to_one_evaluation: observation_to_action_ms.p50 / evaluation_ms.p50,
        floor_ms,
        ratio_to_floor: evaluation_ms.p50 / floor_ms,
        read_gb_per_s: floor.read_gb_per_s,
        gflop_per_s: floor.gflop_per_s,
        evaluations: evaluated,
        streams,
    };
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

fn print(report: &PolicyReport) {
    say!(
        "{} on {}, {} threads, {}",
        report.checkpoint,
        report.device,
        report.threads,
        output::executed(report.executor, report.precision)
    );
    let row = |name: &str, times: Percentiles| {
        say!(
            "  {name:<24} p50 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3} ms",
            times.p50,
            times.p99,
            times.p999,
            times.max
        );
    };
    row("one network evaluation", report.evaluation_ms);
    row("observation to action", report.observation_to_action_ms);
    say!(
        "  evaluations per observation  {}",
        report.evaluations_per_observation
    );
    say!(
        "  ratio to one evaluation      {:.3}",
        report.ratio_to_one_evaluation
    );
    say!(
        "  floor {:.3} ms ({:.1} GB/s, {:.0} GFLOP/s measured); an evaluation takes {:.1} times that",
        report.floor_ms,
        report.read_gb_per_s,
        report.gflop_per_s,
        report.ratio_to_floor
    );
    say!("  every executor:");
    for one in &report.evaluations {
        say!(
            "    {:<8} {:<5} p50 {:.3}  p99 {:.3} ms  {:.2} of libtorch  {:.2} of its floor  error {:.1e}",
            one.executor.to_string(),
            one.precision.map_or("", |precision| precision.name()),
            one.ms.p50,
            one.ms.p99,
            one.ratio_to_libtorch,
            one.ratio_to_floor,
            one.relative_error,
        );
    }
    for one in &report.streams {
        say!(
            "    {:>5} plans at once: {} {:.3} ms, libtorch {:.3} ms; {:.0} plans/s",
            one.streams,
            one.executor,
            one.ms.p50,
            one.libtorch_ms.p50,
            one.plans_per_second,
        );
    }
}

/// Threads that keep processors busy.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Busy {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // One that spun has nothing to say.
            let _ = thread.join();
        }
    }
}

/// Waits until the device has computed a tensor.
fn wait(device: Device, tensor: &Tensor) -> Result<()> {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
    let _first = f64::try_from(tensor.get(0).get(0).get(0))?;
    Ok(())
}
