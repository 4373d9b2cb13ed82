//! A folder as a user has it: `tiny.toml`, `demonstrations.zarr` and, after training, `out`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use kinestream_sim::pusht::PushT;
use serde_json::json;
use tempfile::TempDir;

use super::child::{Finished, kinestream};

/// Name of the configuration.
pub(crate) const CONFIG: &str = "tiny.toml";
/// Name of the data set.
pub(crate) const DATA: &str = "demonstrations.zarr";
/// Name of the folder that training writes.
pub(crate) const OUT: &str = "out";
/// Optimiser steps that the configuration asks for.
pub(crate) const STEPS: u64 = 12;

const EPISODES: usize = 6;
const EPISODE_ROWS: usize = 60;
/// Demonstrated steps.
pub(crate) const ROWS: usize = EPISODES * EPISODE_ROWS;
/// Rows per chunk file; the last of the four is a partial one.
const CHUNK_ROWS: usize = 100;

/// A small network, its schedule and its sampler.
pub(crate) const NETWORK: &str = r#"[network]
kind = "per_position"
channels = [16, 32]
kernel_size = 3
groups = 8
level_embedding = 16
observation_embedding = 16

[schedule]
beta_schedule = "squaredcos_cap_v2"
train_timesteps = 100

[sampler]
prediction = "sample"
solver = { kind = "ddim", eta = 0.0 }
clip_sample = 1.0
"#;

const TINY: &str = r#"# A network that trains in a second and plays badly.
[task]
name = "pusht"
rate_hz = 10.0
observation = [{ array = "keypoint" }, { array = "state", columns = [0, 1] }]
action = "action"

[plan]
mode = "streaming"
horizon = 8
observation_steps = 2
action_steps = 1
levels = 8
alignment = "newest_observation"
primer = "constant"
primer_columns = [18, 19]

NETWORK
[training]
seed = 42
steps = 12
batch = 8
learning_rate = 1e-3
warmup_steps = 4
validation = 0.1
pad_after = 7
mirror = true
checkpoint_every = 4
evaluate_every = 0

[training.noise]
constant = 0.25
independent = 0.25
chunkwise = 0.25
ladder = 0.25

[runtime]
checkpoint = "out"
robot = "pusht"

[control]
rate_hz = 100.0
interpolation = "linear"

[session]
namespace = "test"
listen = ["tcp/127.0.0.1:PORT"]
"#;

/// A project in a folder that is removed at the end of the test.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// Configuration and data set.
    pub(crate) fn new() -> Self {
        let project = Self {
            folder: TempDir::new().unwrap(),
        };
        let port = free_port();
        std::fs::write(
            project.path(CONFIG),
            TINY.replace("PORT", &port.to_string())
                .replace("NETWORK\n", &format!("{NETWORK}\n")),
        )
        .unwrap();
        project.record();
        project
    }

    /// Configuration, data set and a trained checkpoint.
    pub(crate) fn trained() -> Self {
        let project = Self::new();
        project.train(OUT, &[]).succeeds();
        project
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program in the folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        kinestream(self.folder(), arguments)
    }

    /// Trains on one thread into a folder.
    pub(crate) fn train(&self, out: &str, more: &[&str]) -> Finished {
        self.run(&[&train_arguments(out), more].concat())
    }

    /// Writes a variant of the configuration with a text replaced; returns its name.
    pub(crate) fn variant(&self, name: &'static str, from: &str, to: &str) -> &'static str {
        let text = std::fs::read_to_string(self.path(CONFIG)).unwrap();
        assert!(text.contains(from), "the configuration has no `{from}`");
        std::fs::write(self.path(name), text.replace(from, to)).unwrap();
        name
    }

    /// Copies the trained checkpoint; returns the folder of the copy.
    pub(crate) fn copy_checkpoint(&self, name: &str) -> PathBuf {
        let copy = self.path(name);
        std::fs::create_dir(&copy).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(self.path(OUT).join(file), copy.join(file)).unwrap();
        }
        copy
    }

    /// Writes an array of the data set, replacing the last one of that name.
    pub(crate) fn write_floats(&self, name: &str, row: &[usize], values: &[f32]) {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let width: usize = row.iter().product();
        let shape = [&[values.len() / width], row].concat();
        write_array(
            &self.path(DATA).join("data").join(name),
            "<f4",
            &shape,
            &bytes,
        );
    }

    /// Writes the episodes' ends.
    pub(crate) fn write_ends(&self, ends: &[i64]) {
        let bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        write_array(
            &self.path(DATA).join("meta/episode_ends"),
            "<i8",
            &[ends.len()],
            &bytes,
        );
    }

    /// Records episodes in which the agent circles around the T and pushes it.
    fn record(&self) {
        let (mut keypoints, mut states, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = PushT::new();
        for episode in 0..EPISODES {
            world.reset(episode as u32);
            for step in 0..EPISODE_ROWS {
                let state = world.state();
                let ([x, y], [block_x, block_y]) = (state.agent_position, state.block_position);
                let angle = 0.12 * step as f64 + episode as f64;
                let target = [block_x + 70.0 * angle.cos(), block_y + 70.0 * angle.sin()];
                keypoints.extend(world.observation()[..18].iter().map(|value| *value as f32));
                states
                    .extend([x, y, block_x, block_y, state.block_angle].map(|value| value as f32));
                actions.extend(target.map(|value| value as f32));
                world.step(target).unwrap();
            }
        }
        self.write_floats("keypoint", &[9, 2], &keypoints);
        self.write_floats("state", &[5], &states);
        self.write_floats("action", &[2], &actions);
        let ends: Vec<i64> = (1..=EPISODES)
            .map(|count| (count * EPISODE_ROWS) as i64)
            .collect();
        self.write_ends(&ends);
    }
}

/// Arguments that train on one thread into a folder.
pub(crate) fn train_arguments(out: &str) -> [&str; 8] {
    [
        "train",
        CONFIG,
        "--data",
        DATA,
        "--out",
        out,
        "--threads",
        "1",
    ]
}

/// A TCP port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Writes an uncompressed zarr v2 array, chunked along its first axis.
fn write_array(folder: &Path, kind: &str, shape: &[usize], bytes: &[u8]) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
    std::fs::create_dir_all(folder).unwrap();
    let chunks = [&[CHUNK_ROWS], &shape[1..]].concat();
    let description = json!({
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": kind,
        "compressor": null,
        "fill_value": 0,
        "filters": null,
        "order": "C",
    });
    std::fs::write(folder.join(".zarray"), description.to_string()).unwrap();
    let chunk_bytes = (bytes.len() / shape[0].max(1) * CHUNK_ROWS).max(1);
    for (index, part) in bytes.chunks(chunk_bytes).enumerate() {
        // Chunk files are of full size; what lies beyond the array counts for nothing.
        let mut chunk = part.to_vec();
        chunk.resize(chunk_bytes, 0);
        std::fs::write(
            folder.join(format!("{index}{}", ".0".repeat(shape.len() - 1))),
            chunk,
        )
        .unwrap();
    }
}
