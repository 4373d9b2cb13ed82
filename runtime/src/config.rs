//! Configuration files: one TOML file for training, evaluating and running.
//!
//! Every table belongs to the crate that reads it and is documented there; unknown keys are refused
//! with the line on which they stand.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kinestream_bridge::SessionOptions;
use kinestream_bridge::node::path_from_file;
use kinestream_diffusion::network::vision::VisionConfig;
use kinestream_diffusion::sampler::SamplerConfig;
use kinestream_diffusion::{Execution, Executor, NetworkConfig, Precision, ScheduleConfig};
use kinestream_policy::PolicyConfig;
use kinestream_policy::config::{PlanConfig, TaskConfig, TrainingConfig};
use kinestream_sim::registry;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control_config::ControlConfig;
use crate::ros2::config::Ros2Config;
use crate::run_settings::{self, WrittenKeys};

/// The configuration that runs where none is named, the one that the shipped weights were trained
/// with.
pub const BUILT_IN: &str = include_str!("../../configs/pusht-state.toml");
/// The same for a policy that sees.
pub const BUILT_IN_IMAGE: &str = include_str!("../../configs/pusht-image.toml");

/// A configuration file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is observed and what is done.
    pub task: TaskConfig,
    /// How plans are laid out and refined.
    pub plan: PlanConfig,
    /// The denoiser network.
    pub network: NetworkConfig,
    /// The encoders of images; absent where nothing observed is an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision: Option<VisionConfig>,
    /// The noise schedule.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Prediction and solver.
    pub sampler: SamplerConfig,
    /// How weights are trained.
    #[serde(default)]
    pub training: TrainingConfig,
    /// What runs, and where.
    #[serde(default)]
    pub runtime: RuntimeConfig,
    /// How commands are formed.
    #[serde(default)]
    pub control: ControlConfig,
    /// How other nodes are met over zenoh.
    #[serde(default)]
    pub session: SessionOptions,
    /// Topics of ROS 2 that are read and written; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ros2: Option<Ros2Config>,
    /// Which keys the file wrote.
    #[serde(skip)]
    pub written: WrittenKeys,
}

/// What runs, and where.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// Checkpoint folder, from this file's folder, the working directory or the project.
    pub checkpoint: PathBuf,
    /// Name of the robot in all keys: `<namespace>/<robot>/...`.
    pub robot: String,
    /// Names of several robots in place of `robot`: one policy serves them all. Each has a command loop
    /// of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub robots: Vec<String>,
    /// How long after its observation a robot's plan has to be there, in milliseconds by the robot's name;
    /// a control period, or `plan.commit_ahead` of them, for those that are not named. Where several robots
    /// wait, the earliest deadline is served first; plans that come later are counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub deadlines_ms: BTreeMap<String, f64>,
    /// cpu, cuda or cuda:N.
    pub device: String,
    /// What evaluates the network: `fused`, kernels for one plan at a time on the CPU; `libtorch`, any
    /// device and any network; `graph`, LibTorch with every evaluation replayed as one CUDA graph (on the
    /// CPU without one); `auto`, on the CPU `fused` and on CUDA `graph` where they can, else `libtorch`.
    pub executor: Executor,
    /// How the fused kernels keep weights: `fp32`, `fp16`, or `int8` where the checkpoint bears it.
    pub precision: Precision,
    /// Threads of an evaluation.
    pub threads: usize,
    /// How far apart, in milliseconds by their senders' clock, an observation and the pictures that belong to it may be;
    /// absent for a control period. An observation without pictures that are near enough is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures_apart_ms: Option<f64>,
    /// Processor that the policy thread is kept on, counted from 0; absent for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<usize>,
    /// Port where Prometheus finds /metrics; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
    /// Address of this machine that the port is on. Any but a loopback one needs a token.
    pub metrics_host: IpAddr,
    /// File with the token that Prometheus sends (16 to 128 letters, digits, - and _); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_token_file: Option<PathBuf>,
    /// Port of the page that shows the robot in a browser and stops it; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_port: Option<u16>,
    /// Address of this machine that the page is on. Any but a loopback one needs a token.
    pub page_host: IpAddr,
    /// File with the token of the page (16 to 128 letters, digits, - and _); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_token_file: Option<PathBuf>,
    /// Plans wait for a congested receiver in place of being dropped: for simulators in lock step.
    pub lossless: bool,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            checkpoint: crate::shipped::SHIPPED.into(),
            robot: "pusht".into(),
            robots: Vec::new(),
            deadlines_ms: BTreeMap::new(),
            device: "cpu".into(),
            executor: Executor::default(),
            precision: Precision::default(),
            threads: 1,
            pictures_apart_ms: None,
            cpu: None,
            metrics_port: None,
            metrics_host: Ipv4Addr::LOCALHOST.into(),
            metrics_token_file: None,
            page_port: None,
            page_host: Ipv4Addr::LOCALHOST.into(),
            page_token_file: None,
            lossless: false,
        }
    }
}

/// Robots of one runtime at most: each has two threads of its own.
const MOST_ROBOTS: usize = 64;

impl RuntimeConfig {
    /// How the network is evaluated.
    pub fn execution(&self) -> Execution {
        Execution {
            executor: self.executor,
            precision: self.precision,
            threads: self.threads,
        }
    }

    /// The names of all robots, at least one.
    pub fn names(&self) -> &[String] {
        match self.robots.is_empty() {
            true => std::slice::from_ref(&self.robot),
            false => &self.robots,
        }
    }

    /// One robot: the one asked for, or the only one there is. Errors name `source`.
    pub fn one(&self, asked: Option<&str>, source: &Path) -> Result<String> {
        match (asked, self.names()) {
            (Some(asked), _) => Ok(asked.to_owned()),
            (None, [only]) => Ok(only.clone()),
            (None, names) => bail!(
                "{}: runtime.robots names {}; say which with --robot",
                source.display(),
                names.join(", ")
            ),
        }
    }

    fn check(&self, source: &Path) -> Result<()> {
        let mut names = self.robots.clone();
        names.sort();
        names.dedup();
        ensure!(
            names.len() == self.robots.len() && names.len() <= MOST_ROBOTS,
            "{}: runtime.robots has {} names, expected at most {MOST_ROBOTS}, each once",
            source.display(),
            self.robots.len()
        );
        for (robot, deadline_ms) in &self.deadlines_ms {
            ensure!(
                self.names().contains(robot),
                "{}: runtime.deadlines_ms names `{robot}`, expected one of {}",
                source.display(),
                self.names().join(", ")
            );
            ensure!(
                *deadline_ms > 0.0 && *deadline_ms <= 60_000.0,
                "{}: runtime.deadlines_ms.{robot} is {deadline_ms}, expected above 0, at most 60000",
                source.display()
            );
        }
        let apart_ms = self.pictures_apart_ms.unwrap_or(0.0);
        ensure!(
            (0.0..=60_000.0).contains(&apart_ms),
            "{}: runtime.pictures_apart_ms is {apart_ms}, expected 0 to 60000",
            source.display()
        );
        Ok(())
    }
}

/// Reads a TOML text; errors name `source` and the line.
pub fn parse_toml<T: DeserializeOwned>(text: &str, source: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().replace('\n', ", ");
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = 1 + before.matches('\n').count() + lines_to_key(&text[before.len()..], &message);
        anyhow!("{source}, line {line}: {message}{}", suggestion(&message))
    })
}

/// Lines from where an error is placed to the key that its message names: of a table with a `kind` serde knows the beginning
/// alone.
fn lines_to_key(text: &str, message: &str) -> usize {
    let key = match message.strip_prefix("unknown field `") {
        Some(rest) => rest.split('`').next(),
        None => message.split(": ").next(),
    };
    let is_key = |line: &str| {
        let rest = key.and_then(|key| line.trim_start().strip_prefix(key));
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(is_key).unwrap_or(0)
}

/// The known name that is most like an unknown key or kind, if one is like it at all: what serde says
/// of such a one ends with the names that it knows, each in backticks.
fn suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let (true, Some(found)) = (message.starts_with("unknown "), names.next()) else {
        return String::new();
    };
    let known = registry::nearest(found, names);
    known.map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

impl Config {
    /// Reads a file. Paths in it are from its own folder, if they are there, or from the working directory. Without
    /// `[network]` whatever it does not say of the policy is what its checkpoint says.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, None)
    }

    /// The same with another checkpoint than the file's.
    pub fn read_with(path: &Path, checkpoint: Option<&Path>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut config = Self::parse_with(&text, &path.display().to_string(), |named| {
            let named = checkpoint.map_or_else(|| path_from_file(folder, named), Path::to_path_buf);
            run_settings::trained_policy(&named)
        })?;
        let runtime = &mut config.runtime;
        runtime.check(path)?;
        runtime.checkpoint = checkpoint.map_or_else(
            || path_from_file(folder, &runtime.checkpoint),
            Path::to_path_buf,
        );
        for named in [
            &mut runtime.metrics_token_file,
            &mut runtime.page_token_file,
        ] {
            *named = named.as_deref().map(|named| path_from_file(folder, named));
        }
        config.session = config.session.from_file_in(folder);
        Ok(config)
    }

    /// Reads a text; errors name `source` and the line.
    pub fn parse(text: &str, source: &str) -> Result<Self> {
        Self::parse_with(text, source, run_settings::trained_policy)
    }

    /// Reads a text that says nothing of the network as one that is about `policy`.
    pub fn parse_about(text: &str, source: &str, policy: &PolicyConfig) -> Result<Self> {
        Self::parse_with(text, source, |_| Ok(policy.clone()))
    }

    fn parse_with(
        text: &str,
        source: &str,
        policy_of: impl FnOnce(&Path) -> Result<PolicyConfig>,
    ) -> Result<Self> {
        let written = WrittenKeys::of(text, source);
        let mut config: Self = if written.has("network") || !written.has("runtime.checkpoint") {
            parse_toml(text, source)?
        } else {
            let table: toml::Table = parse_toml(text, source)?;
            let named = table["runtime"]["checkpoint"].as_str().unwrap_or_default();
            let policy = policy_of(Path::new(named)).with_context(|| {
                format!(
                    "{source}: without [network] the policy is what runtime.checkpoint says, and {named} cannot be read"
                )
            })?;
            let whole = run_settings::completed(table, &policy)?;
            serde_path_to_error::deserialize(whole).map_err(|error| {
                let path = error.path().to_string();
                let message = error.into_inner().to_string().trim().replace('\n', ", ");
                let hint = suggestion(&message);
                anyhow!("{}: {message}{hint}", written.place(&path))
            })?
        };
        config.written = written;
        Ok(config)
    }

    /// Refuses a configuration that is for running alone.
    ///
    /// # Errors
    /// It has no `[network]`, which a training needs.
    pub fn check_trainable(&self, source: &Path) -> Result<()> {
        ensure!(
            self.written.has("network"),
            "{}: there is no [network]: this configuration runs a checkpoint; a training needs [task], [plan], [network] \
             and [sampler] whole, such as configs/pusht-state.toml has them",
            source.display()
        );
        Ok(())
    }

    /// The same configuration with the policy as it runs, from its checkpoint and its run settings.
    ///
    /// # Errors
    /// A key that contradicts the checkpoint.
    pub fn in_force(mut self) -> Result<Self> {
        let named = &self.runtime.checkpoint;
        let trained = run_settings::trained_policy(named)?;
        let run = run_settings::run_policy(
            &self.written,
            &self.policy(),
            &trained,
            &named.display().to_string(),
        )?;
        self.set_policy(run.policy);
        Ok(self)
    }

    /// Takes what is said of a policy from elsewhere.
    pub fn set_policy(&mut self, policy: PolicyConfig) {
        let PolicyConfig {
            task,
            plan,
            network,
            vision,
            schedule,
            sampler,
        } = policy;
        (self.task, self.plan, self.network) = (task, plan, network);
        (self.vision, self.schedule, self.sampler) = (vision, schedule, sampler);
    }

    /// Refuses a session that could meet nobody; errors name `source`.
    pub fn check_session(&self, source: &Path) -> Result<()> {
        ensure!(
            self.session.multicast == Some(true)
                || !self.session.listen.is_empty()
                || !self.session.connect.is_empty()
                || self.session.config_file.is_some(),
            "{}: [session] names no way to meet other nodes; add for example listen = \
             [\"tcp/127.0.0.1:7447\"]",
            source.display()
        );
        Ok(())
    }

    /// How others reach the runtime of this configuration: as clients of its session, wherever that is. Errors name `source`.
    pub fn session_towards_runtime(&self, source: &Path) -> Result<SessionOptions> {
        self.check_session(source)?;
        Ok(self.session.client())
    }

    /// The part that a checkpoint carries.
    pub fn policy(&self) -> PolicyConfig {
        PolicyConfig {
            task: self.task.clone(),
            plan: self.plan.clone(),
            network: self.network.clone(),
            vision: self.vision.clone(),
            schedule: self.schedule.clone(),
            sampler: self.sampler.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with a line in place of another.
    fn refusal(line: &str, other: &str) -> String {
        assert!(BUILT_IN.contains(line), "{line}");
        let text = BUILT_IN.replacen(line, other, 1);
        Config::parse(&text, "run.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_name_is_told_with_all_names_and_the_nearest() {
        for (line, other, known, nearest) in [
            (
                "kind = \"per_position\"",
                "kind = \"per-positon\"",
                "transformer",
                "per_position",
            ),
            (
                "kind = \"ddim\"",
                "kind = \"uni-pc\"",
                "dpm_solver",
                "unipc",
            ),
            ("horizon = ", "horizn = ", "action_steps", "horizon"),
        ] {
            let message = refusal(line, other);
            assert!(message.contains(&format!("`{known}`")), "{message}");
            let hint = format!("; did you mean `{nearest}`?");
            assert!(message.ends_with(&hint), "{message}");
        }
        let guidance = "[[plan.guidance]]\nkind = \"keep-out-circles\"\n[network]";
        let message = refusal("[network]", guidance);
        assert!(
            message.ends_with("did you mean `keep_out_circle`?"),
            "{message}"
        );
        // What is like nothing gets the list alone.
        let message = refusal("kind = \"ddim\"", "kind = \"zzz\"");
        assert!(!message.contains("did you mean"), "{message}");
    }
}
