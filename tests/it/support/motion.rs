//! A folder for motion models: `motion.toml`, three made-up clips in `data` and, after training,
//! `out`.

use kinestream_motion::character::{self, Bone, HIPS_HEIGHT};
use kinestream_motion::formats::bvh;
use kinestream_motion::{Clip, Pose};
use nalgebra::{UnitQuaternion, Vector3};

use super::child::kinestream;

/// Tiny networks and few steps: what is learned is nothing, what is written is everything.
pub(crate) const CONFIG: &str = r#"
[data]
clips = ["made/*"]
held_out = ["made/slow"]

[model.embedding]
latent = 6
width = 16

[model.predictor]
width = 16
layers = 2

[model.generation]
width = 16
layers = 2
latent = 4
schedule = { train_timesteps = 3 }

[model.polishing]
width = 16
layers = 2
schedule = { beta_schedule = "linear", train_timesteps = 2, beta_start = 0.1, beta_end = 0.2 }

[training]
checkpoint_every = 2

[training.embedding.descent]
steps = 6
batch = 8

[training.predictor]
descent = { steps = 6, batch = 8 }
rollout = { frames = 3, first_steps = 1, grow_steps = 2 }

[training.generation.descent]
steps = 6
batch = 8

[training.polishing.descent]
steps = 6
batch = 8

[training.settling]
descent = { steps = 6, batch = 4 }
rollout = { frames = 4, grow_steps = 3 }

[extractor.network]
width = 16
features = 4

[extractor.descent]
steps = 6
batch = 8
"#;

/// A figure that swings its legs and moves ahead.
fn walk(speed: f64) -> Clip {
    let skeleton = character::skeleton();
    let frames = (0..75)
        .map(|frame| {
            let phase = 0.2 * speed * f64::from(frame);
            let mut rotations = vec![UnitQuaternion::identity(); skeleton.len()];
            let about = |angle: f64| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), angle);
            rotations[Bone::LeftUpLeg.index()] = about(0.4 * phase.sin());
            rotations[Bone::RightUpLeg.index()] = about(-0.4 * phase.sin());
            rotations[Bone::LeftLeg.index()] = about(0.3 + 0.3 * phase.cos());
            rotations[Bone::RightLeg.index()] = about(0.3 - 0.3 * phase.cos());
            Pose {
                root: Vector3::new(0.0, HIPS_HEIGHT, 0.03 * speed * f64::from(frame)),
                rotations,
            }
        })
        .collect();
    Clip {
        skeleton,
        frame_rate: 30.0,
        frames,
    }
}

/// A folder with a configuration and three clips.
pub(crate) fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("data/made");
    std::fs::create_dir_all(&made).unwrap();
    for (name, speed) in [("slow", 0.7), ("usual", 1.0), ("fast", 1.6)] {
        bvh::write(&made.join(name).with_extension("bvh"), &walk(speed)).unwrap();
    }
    std::fs::write(folder.path().join("motion.toml"), CONFIG).unwrap();
    folder
}

/// The same with a trained model in `out`.
pub(crate) fn trained() -> tempfile::TempDir {
    let folder = project();
    let train = [
        "train",
        "motion.toml",
        "--data",
        "data",
        "--threads",
        "1",
        "--out",
        "out",
    ];
    kinestream(folder.path(), &train).succeeds();
    folder
}
