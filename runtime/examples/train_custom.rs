//! A policy from demonstrations of your own, trained, saved, loaded and run, without a file of anybody's format.
//!
//!     cargo run --release -p kinestream-runtime --example train_custom -- 800
//!
//! The task: a point on a table goes to a goal. The argument is the number of training steps.

use std::ops::ControlFlow;

use anyhow::Result;
use kinestream_policy::config::{PolicyConfig, TrainingConfig};
use kinestream_policy::data::Episodes;
use kinestream_policy::training::Trainer;
use kinestream_policy::{Checkpoint, Observation, Policy};
use kinestream_runtime::tch::Device;

const POLICY: &str = r#"
task = { name = "point", rate_hz = 10.0, observation = [{ array = "state" }] }
plan = { horizon = 8, observation_steps = 1, action_steps = 2, primer_columns = [0, 1] }
network = { kind = "per_position", channels = [32, 64], level_embedding = 32, observation_embedding = 32 }
sampler = { prediction = "sample", solver = { kind = "ddim", eta = 0.0 }, clip_sample = 1.0 }
schedule = { train_timesteps = 50 }
"#;

/// A step of a tenth towards the goal.
fn demonstrator([x, y, goal_x, goal_y]: [f32; 4]) -> [f32; 2] {
    let (dx, dy) = (goal_x - x, goal_y - y);
    let length = dx.hypot(dy).max(1e-6);
    let step = length.min(0.1) / length;
    [x + step * dx, y + step * dy]
}

fn main() -> Result<()> {
    let steps = std::env::args()
        .nth(1)
        .map_or(Ok(800), |text| text.parse())?;
    let place = |index: usize, prime: usize| (index * prime % 101) as f32 / 50.0 - 1.0;
    let mut episodes = Episodes {
        observations: Vec::new(),
        actions: Vec::new(),
        observation_size: 4,
        action_size: 2,
        pictures: Vec::new(),
        ends: Vec::new(),
    };
    for index in 0..60 {
        let mut state = [
            place(index, 37),
            place(index, 53),
            place(index, 71),
            place(index, 89),
        ];
        for _ in 0..20 {
            let action = demonstrator(state);
            episodes.observations.extend(state);
            episodes.actions.extend(action);
            [state[0], state[1]] = action;
        }
        episodes.ends.push(episodes.actions.len() / 2);
    }
    let policy: PolicyConfig = toml::from_str(POLICY)?;
    let training = TrainingConfig {
        steps,
        batch: 64,
        learning_rate: 1e-3,
        ..TrainingConfig::default()
    };
    let out = std::env::temp_dir().join(format!("kinestream-train-custom-{}", std::process::id()));
    let mut trainer = Trainer::new(&policy, &training, &episodes, None, None, Device::Cpu, &out)?;
    trainer.run(|_, progress| {
        if progress.step.is_multiple_of(100) {
            println!("step {}: loss {:.4}", progress.step, progress.loss);
        }
        Ok(ControlFlow::Continue(()))
    })?;

    let mut policy = Policy::new(Checkpoint::load(&out, Device::Cpu)?, Device::Cpu, 1)?;
    let mut state = [-0.8, -0.5, 0.6, 0.7];
    for _ in 0..25 {
        let actions = policy.step(&[0], &[Observation::numbers(&state)])?;
        [state[0], state[1]] = [actions[0][0], actions[0][1]];
    }
    let left = (state[0] - state[2]).hypot(state[1] - state[3]);
    println!("ended {left:.3} from the goal, which was 1.844 away");
    std::fs::remove_dir_all(out)?;
    Ok(())
}
