//! `kinestream bench motion`: time of a frame, and frames per second of crowds, by every executor in turn.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use kinestream_control::{Latencies, Percentiles};
use kinestream_diffusion::{Execution, Executor, Precision};
use kinestream_motion::character;
use kinestream_motion::crowd::{CharacterBatch, SteeringTarget};
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::foot::{Feet, FootLock, FootLockConfig};
use kinestream_motion::model::MotionModel;
use kinestream_motion::stick::{JoystickInput, StickFollower, StickOptions};
use nalgebra::Vector2;
use serde::Serialize;
use tch::Device;

use kinestream_command_line::bench::BenchMotionArguments;
use kinestream_runtime::{checkpoint, device};
use kinestream_terminal::output;
use kinestream_terminal::say;

/// Frames that are not measured, or as many as fit into the time: LibTorch picks kernels and
/// allocates.
const WARM_UP: usize = 50;
const MOST_WARM_UP: Duration = Duration::from_secs(5);
/// Frames that are measured however long they take.
const LEAST: u32 = 5;
/// Sizes of the crowds.
const CROWDS: [usize; 4] = [1, 16, 256, 1000];
/// Turns that the executors take with each crowd, so that all of them meet the same state of the machine.
const TURNS: usize = 8;

#[derive(Debug, Serialize)]
struct MotionReport {
    checkpoint: String,
    device: String,
    threads: usize,
    /// What makes the frames of few characters where nothing else is said, and with which weights.
    executor: Executor,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Precision>,
    parameters: usize,
    /// Numbers read from memory for one frame: every weight of a module once for each of its steps.
    weights_per_frame: usize,
    /// One character: steering, denoise steps with guidance, decoding, forward kinematics, foot lock.
    frame_ms: Percentiles,
    /// The 99th percentile over the median.
    p99_over_p50: f64,
    /// By size of the crowd, characters times frames.
    frames_per_second: serde_json::Map<String, serde_json::Value>,
    /// The same by every executor that can run here.
    executors: Vec<Executed>,
}

/// What one executor made of it.
#[derive(Debug, Serialize)]
struct Executed {
    executor: Executor,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Precision>,
    frame_ms: Percentiles,
    /// Median of a frame over LibTorch's.
    ratio_to_libtorch: f64,
    /// Sizes of the crowd that the executor makes the frames of; the others are LibTorch's in its place.
    frames_per_second: serde_json::Map<String, serde_json::Value>,
}

/// An executor, and how it did.
struct Contender {
    execution: Execution,
    single: Latencies,
    rates: serde_json::Map<String, serde_json::Value>,
}

pub(crate) fn run(arguments: &BenchMotionArguments) -> Result<()> {
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(Some(arguments.threads))?;
    super::check_seconds(arguments.seconds)?;
    let folder = checkpoint::locate(
        arguments
            .checkpoint
            .as_deref()
            .unwrap_or(checkpoint::SHIPPED_MOTION.as_ref()),
    );
    let usual = Execution::auto(threads);
    let mut model = MotionModel::load(&folder, device)?;
    let executor = model.execute_by(&usual)?;
    let precision = (executor == Executor::Fused).then_some(usual.precision);
    let (parameters, weights_per_frame) = (model.parameters(), model.weights_per_frame());
    drop(model);
    let mut contenders = contenders(&folder, device)?;
    for size in CROWDS {
        measure(&mut contenders, &folder, device, (size, arguments.seconds))?;
    }
    let libtorch = contenders[0].single.percentiles_ms().p50;
    let executors: Vec<Executed> = (contenders.into_iter())
        .map(|contender| {
            let frame_ms = contender.single.percentiles_ms();
            Executed {
                executor: contender.execution.executor,
                precision: contender.precision(),
                frame_ms,
                ratio_to_libtorch: frame_ms.p50 / libtorch,
                frames_per_second: contender.rates,
            }
        })
        .collect();
    let of = |executor, precision| {
        let is = |one: &&Executed| one.executor == executor && one.precision == precision;
        executors.iter().find(is)
    };
    let own = of(executor, precision).unwrap_or(&executors[0]);
    let mut frames_per_second = serde_json::Map::new();
    for size in CROWDS.map(|size| size.to_string()) {
        let rate = own.frames_per_second.get(&size);
        let rate = rate.or(executors[0].frames_per_second.get(&size));
        frames_per_second.extend(rate.map(|rate| (size, rate.clone())));
    }
    let frame_ms = own.frame_ms;
    let report = MotionReport {
        checkpoint: folder.display().to_string(),
        device: name(device),
        threads,
        executor,
        precision,
        parameters,
        weights_per_frame,
        p99_over_p50: frame_ms.p99 / frame_ms.p50,
        frame_ms,
        frames_per_second,
        executors,
    };
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

/// LibTorch, and the fused kernels in every precision that they know the model in.
fn contenders(folder: &Path, device: Device) -> Result<Vec<Contender>> {
    let mut all = vec![Contender::new(Execution::LIBTORCH)];
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
        let execution = Execution {
            executor: Executor::Fused,
            precision,
            threads: 1,
        };
        let mut model = MotionModel::load(folder, device)?;
        match model.execute_by(&execution) {
            Ok(_) => all.push(Contender::new(execution)),
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    Ok(all)
}

/// Times crowds of one size in turns.
fn measure(
    contenders: &mut [Contender],
    folder: &Path,
    device: Device,
    (size, seconds): (usize, f64),
) -> Result<()> {
    let share = seconds / (CROWDS.len() * TURNS * contenders.len()) as f64;
    let mut groups = Vec::with_capacity(contenders.len());
    for contender in contenders {
        let mut model = MotionModel::load(folder, device)?;
        model.execute_by(&contender.execution)?;
        let group = prepared(model, size)?;
        // Larger crowds are LibTorch's whoever was asked for: they are not measured twice.
        if group.crowd.executor() == contender.execution.executor {
            groups.push((contender, group, Vec::with_capacity(TURNS)));
        }
    }
    for _ in 0..TURNS {
        for (contender, group, rates) in &mut groups {
            rates.push(group.timed(share, |nanoseconds| {
                if size == 1 {
                    contender.single.record(nanoseconds);
                }
            })?);
        }
    }
    for (contender, _, rates) in &mut groups {
        let rate = rates.iter().sum::<f64>() / TURNS as f64;
        contender.rates.insert(size.to_string(), rate.into());
    }
    Ok(())
}

impl Contender {
    fn new(execution: Execution) -> Self {
        Self {
            execution,
            single: Latencies::new(),
            rates: serde_json::Map::new(),
        }
    }

    fn precision(&self) -> Option<Precision> {
        (self.execution.executor == Executor::Fused).then_some(self.execution.precision)
    }
}

fn print(report: &MotionReport) {
    say!(
        "{} on {}, {} threads, {} parameters, {}",
        report.checkpoint,
        report.device,
        report.threads,
        report.parameters,
        output::executed(report.executor, report.precision)
    );
    for executed in &report.executors {
        let Percentiles {
            p50,
            p99,
            p999,
            max,
        } = &executed.frame_ms;
        say!(
            "  {:<9} {:<5} one frame  p50 {p50:.3} ms, p99 {p99:.3}, p99.9 {p999:.3}, max {max:.3}, {:.2} of LibTorch",
            executed.executor.to_string(),
            executed
                .precision
                .map_or_else(String::new, |precision| precision.to_string()),
            executed.ratio_to_libtorch,
        );
        for size in CROWDS {
            let rate = executed.frames_per_second.get(&size.to_string());
            if let Some(rate) = rate.and_then(serde_json::Value::as_f64) {
                say!("  {size:>5} characters  {rate:.0} frames per second");
            }
        }
    }
}

fn name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}"),
    }
}

/// Characters that walk in circles under stick control, with their feet held.
pub struct Group {
    crowd: CharacterBatch,
    followers: Vec<StickFollower>,
    locks: Vec<FootLock>,
    frame: u64,
}

/// A crowd that has made its first frames.
pub fn prepared(model: MotionModel, size: usize) -> Result<Group> {
    let mut group = Group::new(model, size)?;
    let begun = Instant::now();
    for _ in 0..WARM_UP {
        group.frame()?;
        if begun.elapsed() > MOST_WARM_UP {
            break;
        }
    }
    Ok(group)
}

/// Frames per second of a crowd, characters times frames, over some seconds.
pub fn frames_per_second(group: &mut Group, seconds: f64) -> Result<f64> {
    group.timed(seconds, |_| {})
}

impl Group {
    fn new(model: MotionModel, size: usize) -> Result<Self> {
        let first = model.starts().narrow(0, 0, 1).repeat([size as i64, 1]);
        let seeds: Vec<u64> = (0..size as u64).collect();
        let skeleton = character::skeleton();
        let feet = Feet::at_rest(&skeleton)?;
        let lock = FootLock::new(&skeleton, &feet, FootLockConfig::default())?;
        Ok(Self {
            locks: vec![lock; size],
            crowd: CharacterBatch::new(model, &first, &seeds)?,
            followers: vec![StickFollower::new(StickOptions::default()); size],
            frame: 0,
        })
    }

    fn frame(&mut self) -> Result<()> {
        let angle = 0.02 * self.frame as f64;
        let stick = JoystickInput {
            velocity: Vector2::new(angle.sin(), angle.cos()) * 1.3,
            facing: None,
        };
        let wishes: Vec<SteeringTarget> = self
            .followers
            .iter_mut()
            .enumerate()
            .map(|(character, follower)| {
                follower.want(stick);
                follower.wish(&self.crowd.root(character))
            })
            .collect();
        self.crowd.advance(&wishes)?;
        for (character, lock) in self.locks.iter_mut().enumerate() {
            let mut pose = self.crowd.pose(character);
            lock.apply(&mut pose, &self.crowd.contacts(character), 1.0 / FRAME_RATE);
            std::hint::black_box(&pose);
        }
        self.frame += 1;
        Ok(())
    }

    /// Makes frames for some seconds; `watch` hears how many nanoseconds each took. Returns
    /// characters times frames per second.
    fn timed(&mut self, seconds: f64, mut watch: impl FnMut(u64)) -> Result<f64> {
        let share = Duration::from_secs_f64(seconds);
        let begun = Instant::now();
        let mut frames = 0_u32;
        while begun.elapsed() < share || frames < LEAST {
            let started = Instant::now();
            self.frame()?;
            watch(started.elapsed().as_nanos() as u64);
            frames += 1;
        }
        Ok(self.locks.len() as f64 * f64::from(frames) / begun.elapsed().as_secs_f64())
    }
}
