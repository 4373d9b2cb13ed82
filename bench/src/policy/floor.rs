//! What the machine must spend on an evaluation: reading weights and multiplying, at rates measured here and now.

use std::time::Instant;

use anyhow::Result;
use kinestream_policy::Checkpoint;
use tch::{Device, Kind, Tensor};

use super::wait;

/// Rates of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor {
    pub(super) read_gb_per_s: f64,
    pub(super) gflop_per_s: f64,
    operations: f64,
}

impl Floor {
    /// Measures the rates, for a checkpoint's network.
    pub(super) fn measure(checkpoint: &Checkpoint, device: Device, threads: usize) -> Result<Self> {
        Ok(Self {
            read_gb_per_s: read_bandwidth(threads),
            gflop_per_s: matrix_rate(device)?,
            operations: 2.0 * multiplications(checkpoint)?,
        })
    }

    /// Milliseconds of one evaluation that reads so many bytes of weights: the larger of reading them once and the arithmetic.
    pub(super) fn milliseconds(&self, weight_bytes: usize) -> f64 {
        let reading = weight_bytes as f64 / self.read_gb_per_s / 1e6;
        reading.max(self.operations / self.gflop_per_s / 1e6)
    }
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
fn multiplications(checkpoint: &Checkpoint) -> Result<f64> {
    let horizon = checkpoint.policy().plan.horizon as f64;
    let sizes = checkpoint.policy().network.unet_config();
    let stages = sizes.map_or(0, |sizes| sizes.channels.len());
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
