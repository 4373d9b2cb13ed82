//! Time of a crowd's frame by LibTorch and by the fused kernels, in turns within one run.
//!
//!     cargo run --release -p kinestream-motion --example frame -- models/motion-aamdm 1 16 64
//!
//! What it prints are medians and 99th percentiles in milliseconds: the crowd alone, without steering,
//! feet and poses, which `kinestream bench motion` adds.

use std::path::Path;
use std::time::Instant;

use kinestream_diffusion::{Execution, Executor, Precision};
use kinestream_motion::crowd::{CharacterBatch, SteeringTarget};
use kinestream_motion::model::MotionModel;
use kinestream_motion::trajectory::Root;
use nalgebra::Vector2;
use tch::Device;

/// Turns, and how long each is.
const TURNS: usize = 8;
const TURN_MS: u128 = 250;
/// Frames before the first that counts.
const WARM_UP: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tch::set_num_threads(1);
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .unwrap_or_else(|| "models/motion-aamdm".into());
    let mut sizes: Vec<usize> = arguments
        .map(|size| size.parse())
        .collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1, 16];
    }
    for size in sizes {
        let mut contenders = Vec::new();
        for (name, executor, precision) in [
            ("libtorch", Executor::LibTorch, Precision::Fp32),
            ("fp32", Executor::Fused, Precision::Fp32),
            ("fp16", Executor::Fused, Precision::Fp16),
            ("int8", Executor::Fused, Precision::Int8),
        ] {
            let mut model = MotionModel::load(Path::new(&folder), Device::Cpu)?;
            let execution = Execution {
                executor,
                precision,
                threads: 1,
            };
            if let Err(error) = model.execute_by(&execution) {
                println!("{size:>5} {name:>9}  {error}");
                continue;
            }
            let first = model.starts().narrow(0, 0, 1).repeat([size as i64, 1]);
            let seeds: Vec<u64> = (0..size as u64).collect();
            let mut crowd = CharacterBatch::new(model, &first, &seeds)?;
            for _ in 0..WARM_UP {
                crowd.advance(&wishes(&crowd))?;
            }
            contenders.push((name, crowd, Vec::new()));
        }
        for _ in 0..TURNS {
            for (_, crowd, times) in &mut contenders {
                let begun = Instant::now();
                while begun.elapsed().as_millis() < TURN_MS {
                    let wishes = wishes(crowd);
                    let started = Instant::now();
                    crowd.advance(&wishes)?;
                    times.push(started.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        for (name, crowd, times) in &mut contenders {
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize];
            println!(
                "{size:>5} {name:>9} {:>9}  least {:.4}, p50 {:.4}, p99 {:.4} ms, {} frames",
                crowd.executor().to_string(),
                at(0.0),
                at(0.5),
                at(0.99),
                times.len()
            );
        }
    }
    Ok(())
}

/// Everyone is to walk in a circle.
fn wishes(crowd: &CharacterBatch) -> Vec<SteeringTarget> {
    let wish = |character: usize| {
        let root = crowd.root(character);
        let ahead = [0.33, 0.67, 1.0].map(|seconds: f64| Root {
            position: root.position + root.outwards(Vector2::new(0.1 * seconds, 1.3 * seconds)),
            heading: root.heading + 0.3 * seconds,
        });
        SteeringTarget {
            ahead: Some(ahead),
            motion: Some((root.outwards(Vector2::new(0.0, 1.3)), 0.3)),
            strength: (0.3, 0.3),
        }
    };
    (0..crowd.len()).map(wish).collect()
}
