//! A folder for models of whole clips: `clips.toml` with its labels beside the made-up clips of
//! [`super::motion`].

use super::child::kinestream;
use super::motion;

/// Tiny networks and few steps.
pub(crate) const CONFIG: &str = r#"
[data]
labels = "labels.toml"
held_out = ["made/slow"]

[model.embedding]
latent = 6
width = 16

[model.clips]
patch = 4
longest = 60
width = 16
layers = 2
heads = 2
latent = 4
schedule = { beta_schedule = "squaredcos_cap_v2", train_timesteps = 4 }

[training]
checkpoint_every = 2

[training.embedding.descent]
steps = 6
batch = 8

[training.clips]
stretch = 8
critic_width = 16
critic_layers = 1
descent = { steps = 6, batch = 4 }

[recogniser.network]
width = 16
features = 4

[recogniser.descent]
steps = 6
batch = 4
"#;

/// What the clips show.
const LABELS: &str = r#"
[[label]]
name = "walk"
words = ["stroll"]
clips = ["made/usual", "made/slow"]

[[label]]
name = "run"
whole = true
clips = ["made/fast"]
"#;

/// A folder with configuration, labels and clips, and a model of steered motion in `out`.
pub(crate) fn project() -> tempfile::TempDir {
    with_labels(motion::trained())
}

/// The same without the model of steered motion.
pub(crate) fn untrained() -> tempfile::TempDir {
    with_labels(motion::project())
}

fn with_labels(folder: tempfile::TempDir) -> tempfile::TempDir {
    std::fs::write(folder.path().join("clips.toml"), CONFIG).unwrap();
    std::fs::write(folder.path().join("labels.toml"), LABELS).unwrap();
    folder
}

/// Trains the model of whole clips into `clips`.
pub(crate) fn train(folder: &tempfile::TempDir) {
    let train = [
        "train",
        "clips.toml",
        "--data",
        "data",
        "--threads",
        "1",
        "--out",
        "clips",
    ];
    kinestream(folder.path(), &train).succeeds();
}
