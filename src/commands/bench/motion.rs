//! `kinestream bench motion`: time of a frame, and frames per second of crowds.

use std::time::{Duration, Instant};

use anyhow::Result;
use kinestream_control::{Latencies, Percentiles};
use kinestream_motion::character;
use kinestream_motion::crowd::{Crowd, Wish};
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::foot::{Feet, FootLock, FootLockConfig};
use kinestream_motion::model::MotionModel;
use kinestream_motion::stick::{Stick, StickFollower, StickOptions};
use nalgebra::Vector2;
use serde::Serialize;
use tch::Device;

use crate::cli::BenchMotionArguments;
use crate::output::say;
use crate::{checkpoint, device, output};

/// Frames that are not measured, or as many as fit into the time: LibTorch picks kernels and
/// allocates.
const WARM_UP: usize = 50;
const MOST_WARM_UP: Duration = Duration::from_secs(5);
/// Frames that are measured however long they take.
const LEAST: u32 = 5;
/// Sizes of the crowds.
const CROWDS: [usize; 4] = [1, 16, 256, 1000];

#[derive(Debug, Serialize)]
struct MotionReport {
    checkpoint: String,
    device: String,
    threads: usize,
    parameters: usize,
    /// Numbers read from memory for one frame: every weight of a module once for each of its steps.
    weights_per_frame: usize,
    /// One character: steering, denoise steps with guidance, decoding, forward kinematics, foot lock.
    frame_ms: Percentiles,
    /// The 99th percentile over the median.
    p99_over_p50: f64,
    /// By size of the crowd, characters times frames.
    frames_per_second: serde_json::Map<String, serde_json::Value>,
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
    let mut frames_per_second = serde_json::Map::new();
    let mut single = Latencies::new();
    let (mut parameters, mut weights) = (0, 0);
    for size in CROWDS {
        let model = MotionModel::load(&folder, device)?;
        (parameters, weights) = (model.parameters(), model.weights_per_frame());
        let mut group = prepared(model, size)?;
        let share = arguments.seconds / CROWDS.len() as f64;
        let rate = group.timed(share, |nanoseconds| {
            if size == 1 {
                single.record(nanoseconds);
            }
        })?;
        frames_per_second.insert(size.to_string(), rate.into());
    }
    let frame_ms = single.percentiles_ms();
    let report = MotionReport {
        checkpoint: folder.display().to_string(),
        device: name(device),
        threads,
        parameters,
        weights_per_frame: weights,
        p99_over_p50: frame_ms.p99 / frame_ms.p50,
        frame_ms,
        frames_per_second,
    };
    if arguments.json {
        return output::json(&report);
    }
    let Percentiles {
        p50,
        p99,
        p999,
        max,
    } = &report.frame_ms;
    say!(
        "{} on {}, {threads} threads, {parameters} parameters",
        report.checkpoint,
        report.device
    );
    say!("  one frame   p50 {p50:.3} ms, p99 {p99:.3}, p99.9 {p999:.3}, max {max:.3}");
    for (size, rate) in &report.frames_per_second {
        say!(
            "  {size:>5} characters  {:.0} frames per second",
            rate.as_f64().unwrap_or(0.0)
        );
    }
    Ok(())
}

fn name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}"),
    }
}

/// Characters that walk in circles under stick control, with their feet held.
pub(crate) struct Group {
    crowd: Crowd,
    followers: Vec<StickFollower>,
    locks: Vec<FootLock>,
    frame: u64,
}

/// A crowd that has made its first frames.
pub(crate) fn prepared(model: MotionModel, size: usize) -> Result<Group> {
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
pub(crate) fn frames_per_second(group: &mut Group, seconds: f64) -> Result<f64> {
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
            crowd: Crowd::new(model, &first, &seeds)?,
            followers: vec![StickFollower::new(StickOptions::default()); size],
            frame: 0,
        })
    }

    fn frame(&mut self) -> Result<()> {
        let angle = 0.02 * self.frame as f64;
        let stick = Stick {
            velocity: Vector2::new(angle.sin(), angle.cos()) * 1.3,
            facing: None,
        };
        let wishes: Vec<Wish> = self
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
