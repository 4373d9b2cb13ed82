//! The first message of every recording: what was recorded, with which configuration and weights.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kinestream_control::{Clock, Monotonic};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint;
use crate::clock::stamp;
use crate::config::Config;

/// Version of the messages that only this program reads, and of this one.
pub const VERSION: u32 = 1;

/// What a recording begins with, on the topic `config`, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordingHeader {
    /// [`VERSION`] of the program that recorded.
    pub version: u32,
    /// The program and its version.
    pub program: String,
    /// The command that recorded: demo, demo motion, run, record.
    pub command: String,
    /// Nanoseconds since 1970-01-01 UTC at the beginning.
    pub created_wall_ns: u64,
    /// The same moment on the monotonic clock, which all log times are on.
    pub created_monotonic_ns: u64,
    /// The configuration, with all defaults; of a character its name and skeleton.
    pub config: serde_json::Value,
    /// Whether the configuration says the policy as it ran. Programs of before recorded what the file said, which was not all
    /// that ran.
    #[serde(default)]
    pub policy_in_force: bool,
    /// What was loaded; none where the policy ran elsewhere.
    pub checkpoint: Option<CheckpointIdentity>,
    /// Seeds given on the command line.
    pub seeds: Vec<u64>,
    /// Threads of LibTorch; none where it did not run.
    pub threads: Option<usize>,
    /// Version of LibTorch that the program was built with, if known.
    pub libtorch: Option<String>,
}

/// Which weights these were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointIdentity {
    /// The folder, as it was named.
    pub folder: PathBuf,
    /// SHA-256 of `model.safetensors`, as `sha256sum` prints it. Of a motion model, of its parts one
    /// after the other in alphabetical order (`cat embedding.safetensors generation.safetensors ...
    /// | sha256sum`), without states of training.
    pub weights_sha256: String,
    /// SHA-256 of `config.json`, which holds the plan, the network and the normalisers.
    pub config_sha256: String,
}

impl RecordingHeader {
    /// An opening of this moment, without checkpoint, seeds and threads.
    pub fn new(command: &str, config: &impl Serialize) -> Result<Self> {
        Ok(Self {
            version: VERSION,
            program: concat!("kinestream ", env!("CARGO_PKG_VERSION")).into(),
            command: command.into(),
            created_wall_ns: stamp(0, 0).wall_ns,
            created_monotonic_ns: Monotonic.now_ns(),
            config: serde_json::to_value(config).context("cannot record the configuration")?,
            policy_in_force: true,
            checkpoint: None,
            seeds: Vec::new(),
            threads: None,
            libtorch: option_env!("KINESTREAM_LIBTORCH").map(Into::into),
        })
    }

    /// Reads it back.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).context(
            "the recording's `config` message does not decode; was it recorded by another version?",
        )
    }

    /// Name of the robot or character that was recorded, if it is told.
    pub fn name(&self) -> Option<String> {
        let robot = self.config.pointer("/runtime/robot");
        let name = self.config.get("character").or(robot)?;
        name.as_str().map(str::to_owned)
    }

    /// Whether a character was recorded, which has no policy to run again.
    pub fn is_character(&self) -> bool {
        self.config.get("character").is_some()
    }

    /// The configuration, which other versions may not know.
    pub fn config(&self) -> Result<Config> {
        let mut config = self.config.clone();
        if let Some(runtime) = config.get_mut("runtime").and_then(|it| it.as_object_mut()) {
            // Recordings that do not name the executor are of a time when there was one.
            runtime
                .entry("executor")
                .or_insert_with(|| "libtorch".into());
        }
        serde_json::from_value(config).with_context(|| {
            format!(
                "the recording's configuration is that of {}, this is {}",
                self.program,
                env!("CARGO_PKG_VERSION")
            )
        })
    }
}

impl CheckpointIdentity {
    /// Reads the files of a checkpoint folder, found as [`checkpoint::locate`] finds it.
    pub fn of(named: &Path) -> Result<Self> {
        let folder = checkpoint::locate(named);
        Ok(Self {
            folder: named.to_path_buf(),
            weights_sha256: sha256(&[folder.join(kinestream_policy::checkpoint::WEIGHTS_FILE)])?,
            config_sha256: sha256(&[folder.join(kinestream_policy::checkpoint::CONFIG_FILE)])?,
        })
    }

    /// The same of a motion model.
    pub fn of_motion(named: &Path) -> Result<Self> {
        let folder = checkpoint::locate(named);
        let listed = || -> io::Result<Vec<PathBuf>> {
            let mut paths = Vec::new();
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // Not the states that training goes on from.
                if name.ends_with(".safetensors") && !name.ends_with(".training.safetensors") {
                    paths.push(path);
                }
            }
            paths.sort();
            Ok(paths)
        };
        let parts = listed().with_context(|| format!("cannot list {}", folder.display()))?;
        Ok(Self {
            folder: named.to_path_buf(),
            weights_sha256: sha256(&parts)?,
            config_sha256: sha256(&[folder.join(kinestream_motion::model::CONFIG_FILE)])?,
        })
    }
}

/// SHA-256 of files one behind the other, in hexadecimal digits.
pub fn sha256(paths: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in paths {
        let mut hash = || -> io::Result<()> {
            let mut file = File::open(path)?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    return Ok(());
                }
                hasher.update(&buffer[..count]);
            }
        };
        hash().with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
