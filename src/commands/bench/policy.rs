//! `kinestream bench policy`: latency from observation to action, as ratios within one run.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinestream_control::{Latencies, Percentiles};
use kinestream_diffusion::Denoiser;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_policy::Policy;
use kinestream_sim::pusht::PushT;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::cli::BenchPolicyArguments;
use crate::output::say;
use crate::{checkpoint, device, output};

/// Rounds that are not measured: LibTorch picks kernels and allocates.
const WARM_UP: usize = 50;

#[derive(Debug, Serialize)]
struct PolicyReport {
    checkpoint: String,
    device: String,
    threads: usize,
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
}

pub(crate) fn run(arguments: &BenchPolicyArguments) -> Result<()> {
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(Some(arguments.threads))?;
    ensure!(
        arguments.seconds > 0.0 && arguments.seconds <= 3600.0,
        "--seconds is {}, expected above 0, at most 3600",
        arguments.seconds
    );
    ensure!(
        (0.0..=10_000.0).contains(&arguments.rate),
        "--rate is {}, expected 0 to 10000",
        arguments.rate
    );
    let folder = arguments
        .checkpoint
        .clone()
        .unwrap_or_else(|| checkpoint::SHIPPED.into());
    let bare = checkpoint::open(&folder, device)?;
    let parameters = bare.network().parameters();
    let sizes = bare.network().dimensions();
    let levels = bare.policy().plan.ladder_levels() as f64 / bare.policy().plan.chunks() as f64;
    let plan = bare.policy().plan.clone();
    let mut random = NoiseStream::new(1);
    let mut tensor = |shape: [i64; 3]| {
        let numbers = random.normals(shape.iter().product::<i64>() as usize);
        Tensor::from_slice(&numbers).view(shape).to_device(device)
    };
    let sample = tensor([1, sizes.horizon, sizes.action]);
    let condition = tensor([1, 1, sizes.condition]).view([1, sizes.condition]);
    let timesteps: Vec<i64> = (0..sizes.horizon)
        .map(|at| (sizes.train_timesteps * (at + 1) / sizes.horizon - 1).max(0))
        .collect();
    let timesteps = Tensor::from_slice(&timesteps)
        .view([1, -1])
        .to_device(device);
    let mut policy = Policy::new(checkpoint::open(&folder, device)?, device, 1)?;
    let mut world = PushT::new();
    world.reset(100_000);
    policy.reset(0, 1)?;
    let (mut evaluation, mut latency) = (Latencies::new(), Latencies::new());
    let begun = Instant::now();
    let mut round = 0;
    // Evaluations and observations alternate, so that both meet the same state of the machine.
    while begun.elapsed().as_secs_f64() < arguments.seconds || round < WARM_UP + 100 {
        let started = Instant::now();
        let output = tch::no_grad(|| bare.network().evaluate(&sample, &timesteps, &condition));
        wait(device, &output)?;
        let evaluated = started.elapsed();
        let observation: Vec<f32> = world
            .observation()
            .iter()
            .map(|value| *value as f32)
            .collect();
        if round > 0 {
            policy.advance(0, plan.action_steps);
        }
        let started = Instant::now();
        policy.observe(0, &observation)?;
        while policy.refine(&[0])? > 0 {}
        let plan = policy.plan(0)?;
        let answered = started.elapsed();
        let at = plan.current * 2;
        world.step([f64::from(plan.actions[at]), f64::from(plan.actions[at + 1])])?;
        if round >= WARM_UP {
            evaluation.record(evaluated.as_nanos() as u64);
            latency.record(answered.as_nanos() as u64);
        }
        round += 1;
        if round % 300 == 0 {
            world.reset(100_000 + round as u32 / 300);
        }
        if arguments.rate > 0.0 {
            let period = Duration::from_secs_f64(1.0 / arguments.rate);
            std::thread::sleep((period * round as u32).saturating_sub(begun.elapsed()));
        }
    }
    let evaluation_ms = evaluation.percentiles_ms();
    let observation_to_action_ms = latency.percentiles_ms();
    let read_gb_per_s = read_bandwidth(threads);
    let gflop_per_s = matrix_rate(device)?;
    let bytes = parameters as f64 * 4.0;
    let operations = 2.0 * multiplications(&bare)?;
    let floor_ms = (bytes / read_gb_per_s / 1e6).max(operations / gflop_per_s / 1e6);
    let report = PolicyReport {
        checkpoint: folder.display().to_string(),
        device: format!("{device:?}"),
        threads,
        parameters,
        observations: latency.count(),
        evaluations_per_observation: levels,
        evaluation_ms,
        observation_to_action_ms,
        ratio_to_evaluations: observation_to_action_ms.p50 / (evaluation_ms.p50 * levels),
        ratio_to_one_evaluation: observation_to_action_ms.p50 / evaluation_ms.p50,
        floor_ms,
        ratio_to_floor: evaluation_ms.p50 / floor_ms,
        read_gb_per_s,
        gflop_per_s,
    };
    if arguments.json {
        return output::json(&report);
    }
    say!(
        "{} on {}, {} threads",
        report.checkpoint,
        report.device,
        report.threads
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
    row("one network evaluation", evaluation_ms);
    row("observation to action", observation_to_action_ms);
    say!("  evaluations per observation  {levels}");
    say!(
        "  ratio to one evaluation      {:.3}",
        report.ratio_to_one_evaluation
    );
    say!(
        "  floor {:.3} ms ({:.1} GB/s, {:.0} GFLOP/s measured); an evaluation takes {:.1} times that",
        floor_ms,
        read_gb_per_s,
        gflop_per_s,
        report.ratio_to_floor
    );
    Ok(())
}

/// Waits until the device has computed a tensor.
fn wait(device: Device, tensor: &Tensor) -> Result<()> {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
    let _first = f64::try_from(tensor.get(0).get(0).get(0))?;
    Ok(())
}

/// Bandwidth of reading memory far larger than any cache, in GB/s: the best of five passes.
fn read_bandwidth(threads: usize) -> f64 {
    const BYTES: usize = 512 << 20;
    let memory = vec![1_u64; BYTES / 8];
    let pass = || {
        let started = Instant::now();
        let total: u64 = std::thread::scope(|scope| {
            let parts: Vec<_> = memory
                .chunks(memory.len().div_ceil(threads))
                .map(|part| scope.spawn(|| part.iter().fold(0_u64, |sum, x| sum.wrapping_add(*x))))
                .collect();
            parts
                .into_iter()
                .filter_map(|part| part.join().ok())
                .fold(0, u64::wrapping_add)
        });
        std::hint::black_box(total);
        BYTES as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    (0..5).map(|_| pass()).fold(0.0, f64::max)
}

/// Rate of a large matrix product in GFLOP/s: the best of three.
fn matrix_rate(device: Device) -> Result<f64> {
    const SIZE: i64 = 1024;
    let matrix = Tensor::ones([1, SIZE, SIZE], (Kind::Float, device));
    let mut best = 0.0_f64;
    for _ in 0..4 {
        let started = Instant::now();
        let product = matrix.bmm(&matrix);
        wait(device, &product)?;
        let operations = 2.0 * (SIZE as f64).powi(3);
        best = best.max(operations / started.elapsed().as_secs_f64() / 1e9);
    }
    Ok(best)
}

/// Multiplications of one evaluation's convolutions: each kernel once per output position.
fn multiplications(checkpoint: &kinestream_policy::Checkpoint) -> Result<f64> {
    let horizon = checkpoint.policy().plan.horizon as f64;
    let stages = checkpoint.policy().network.channels.len();
    let total = checkpoint
        .network()
        .store()
        .variables()
        .iter()
        .filter(|(_, tensor)| tensor.dim() == 3)
        .map(|(name, tensor)| {
            let stage = |prefix: &str| -> Option<usize> {
                name.strip_prefix(prefix)?.split('.').next()?.parse().ok()
            };
            let halvings = match (stage("down_modules."), stage("up_modules.")) {
                (Some(stage), _) => stage,
                (_, Some(stage)) => stages - 1 - stage,
                _ if name.starts_with("mid_modules.") => stages - 1,
                _ => 0,
            };
            tensor.numel() as f64 * horizon / f64::from(1 << halvings)
        })
        .sum();
    Ok(total)
}
