//! Run settings: the keys of a configuration that change how a trained policy is run.
//!
//! A checkpoint says what its network was trained for, a configuration how it is run. Every key that a file writes about
//! the policy takes effect, agrees with the checkpoint, or is refused; keys that are not written are the checkpoint's.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kinestream_policy::PolicyConfig;
use kinestream_policy::config::PlanMode;
use kinestream_policy::import;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::shipped::locate;

/// The tables of a configuration that are a policy's.
pub const POLICY_TABLES: [&str; 6] = ["task", "plan", "network", "vision", "schedule", "sampler"];

/// Keys that may differ from the checkpoint's; a table among them counts as a whole.
pub const RUN_SETTINGS: [&str; 14] = [
    "task.rate_hz",
    "plan.mode",
    "plan.action_steps",
    "plan.levels",
    "plan.primer",
    "plan.primer_columns",
    "plan.commit_ahead",
    "plan.inpaint",
    "plan.iterate",
    "plan.restart",
    "plan.guidance",
    "schedule.spacing",
    "sampler.solver",
    "sampler.clip_sample",
];

/// Names are only names.
const NAMES: [&str; 1] = ["task.name"];

/// The keys that a file writes, with their lines: `plan.levels`, and `plan` for the table itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenKeys {
    source: String,
    lines: BTreeMap<String, usize>,
}

impl WrittenKeys {
    /// Those of a text in TOML; none where it is none.
    pub fn of(text: &str, source: &str) -> Self {
        let mut lines = BTreeMap::new();
        if let Ok(table) = DeTable::parse(text) {
            let line = |at: usize| 1 + text.get(..at).unwrap_or_default().matches('\n').count();
            collect(table.get_ref(), "", &line, &mut lines);
        }
        Self {
            source: source.to_owned(),
            lines,
        }
    }

    /// Whether a key or table is written.
    pub fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// Where a key is written: file and line.
    pub fn place(&self, key: &str) -> String {
        match self.lines.get(key) {
            Some(line) => format!("{}, line {line}", self.source),
            None => self.source.clone(),
        }
    }

    /// The keys without a key below them that belong to a policy.
    fn of_policy(&self) -> impl Iterator<Item = &str> {
        let keys = self.lines.keys().map(String::as_str);
        keys.filter(|key| {
            let (table, rest) = key.split_once('.').unwrap_or((key, ""));
            POLICY_TABLES.contains(&table) && !rest.is_empty()
        })
    }
}

fn collect(
    table: &DeTable<'_>,
    prefix: &str,
    line: &impl Fn(usize) -> usize,
    lines: &mut BTreeMap<String, usize>,
) {
    for (name, value) in table {
        let key = match prefix {
            "" => name.get_ref().to_string(),
            prefix => format!("{prefix}.{}", name.get_ref()),
        };
        if let DeValue::Table(inner) = value.get_ref() {
            collect(inner, &key, line, lines);
        }
        lines.insert(key, line(name.span().start));
    }
}

/// What a checkpoint says of its policy, whoever wrote it.
///
/// # Errors
/// No such checkpoint, or one that cannot be read.
pub fn trained_policy(named: &Path) -> Result<PolicyConfig> {
    Ok(import::policy(&locate(named))?)
}

/// A policy as it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPolicy {
    /// The checkpoint's, with the run settings of the configuration.
    pub policy: PolicyConfig,
    /// The settings that differ from the checkpoint's, a sentence each.
    pub changes: Vec<String>,
    /// What of them deserves a warning.
    pub cautions: Vec<String>,
}

/// What is run of a policy that was trained as `trained` and is opened from `named`, where a configuration that wrote
/// `written` says `said`.
///
/// # Errors
/// Every written key that contradicts the checkpoint and is no run setting, with both values; a setting that the policy
/// cannot be run with.
pub fn run_policy(
    written: &WrittenKeys,
    said: &PolicyConfig,
    trained: &PolicyConfig,
    named: &str,
) -> Result<RunPolicy> {
    let (said_json, is) = (value(said)?, value(trained)?);
    let mut run = is.clone();
    let (mut changes, mut cautions) = (Vec::new(), Vec::new());
    for key in RUN_SETTINGS.iter().filter(|key| written.has(key)) {
        let (new, old) = (at(&said_json, key), at(&is, key));
        if new == old {
            continue;
        }
        let text = difference(key, new, old);
        match *key {
            "task.rate_hz" => cautions.push(format!(
                "{text}: motions are {:.3} times as fast as they were trained",
                said.task.rate_hz / trained.task.rate_hz
            )),
            "plan.mode" if !can_run_as(trained.plan.mode, said.plan.mode) => {
                bail!(
                    "{}: {text}; weights of a rolling plan also run as chunks, no others in another mode",
                    written.place(key)
                )
            }
            _ => changes.push(text),
        }
        put(&mut run, key, new.cloned());
    }
    let refused = refusals(written, &said_json, &is).into_iter();
    let refused: Vec<String> = refused
        .map(|(key, text)| format!("{}: {text}", written.place(&key)))
        .collect();
    if !refused.is_empty() {
        bail!(
            "{}: what {named} was trained with is not the configuration's to change; remove these keys, or train \
             again with them",
            refused.join("; ")
        );
    }
    let policy: PolicyConfig = serde_json::from_value(run)?;
    let place = || format!("{}, with {named}", written.source);
    policy.check().with_context(place)?;
    Ok(RunPolicy {
        policy,
        changes,
        cautions,
    })
}

/// What a configuration writes otherwise than the checkpoint, key by key.
///
/// # Errors
/// A value that JSON does not hold.
pub fn differences(
    written: &WrittenKeys,
    said: &PolicyConfig,
    trained: &PolicyConfig,
) -> Result<Vec<String>> {
    let (said, is) = (value(said)?, value(trained)?);
    let settings = RUN_SETTINGS.iter().filter(|key| written.has(key));
    let differ = settings.filter(|key| at(&said, key) != at(&is, key));
    let text = |key: &&str| difference(key, at(&said, key), at(&is, key));
    let mut all: Vec<String> = differ.map(text).collect();
    all.extend(
        refusals(written, &said, &is)
            .into_iter()
            .map(|(_, text)| text),
    );
    Ok(all)
}

fn can_run_as(trained: PlanMode, run: PlanMode) -> bool {
    trained == run || (trained, run) == (PlanMode::Streaming, PlanMode::Chunk)
}

/// Written keys of the policy that differ and are no run settings, each with what differs.
fn refusals(written: &WrittenKeys, said: &Value, is: &Value) -> Vec<(String, String)> {
    let is_setting = |key: &str| {
        RUN_SETTINGS.iter().any(|setting| {
            let rest = key.strip_prefix(setting);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let mut refused = Vec::new();
    for key in written.of_policy() {
        if NAMES.contains(&key) || is_setting(key) {
            continue;
        }
        let (new, old) = (at(said, key), at(is, key));
        // Tables are compared by what is written of them.
        if new == old || matches!(new, Some(Value::Object(_))) {
            continue;
        }
        refused.push((key.to_owned(), difference(key, new, old)));
    }
    // A key by a name of before stands under another name in what was read of it.
    for table in ["network", "vision"] {
        let is_renamed = |key: &&str| {
            key.strip_prefix(table)
                .is_some_and(|rest| rest.starts_with('.'))
                && at(said, key).is_none()
        };
        if written.of_policy().any(|key| is_renamed(&key)) && at(said, table) != at(is, table) {
            let text = difference(&format!("[{table}]"), at(said, table), at(is, table));
            refused.push((table.to_owned(), text));
        }
    }
    refused
}

fn value(policy: &PolicyConfig) -> Result<Value> {
    serde_json::to_value(policy).context("cannot compare configurations")
}

fn at<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    parts.try_fold(value, |value, part| value.get(part))
}

/// Sets a key, or removes it; its tables are made.
fn put(value: &mut Value, key: &str, new: Option<Value>) {
    let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut inner = value;
    for part in tables.split('.').filter(|part| !part.is_empty()) {
        let Value::Object(map) = inner else { return };
        inner = map
            .entry(part)
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    if let Value::Object(map) = inner {
        match new {
            Some(new) => drop(map.insert(name.to_owned(), new)),
            None => drop(map.remove(name)),
        }
    }
}

/// How a key differs, in a sentence.
fn difference(key: &str, said: Option<&Value>, is: Option<&Value>) -> String {
    let [said, is] =
        [said, is].map(|value| value.map_or_else(|| "absent".to_owned(), ToString::to_string));
    format!("{key} is {said}, the checkpoint's {is}")
}

/// The tables of a policy, with those of a file in place of the same keys: what a file without a `[network]` says.
///
/// # Errors
/// A policy that TOML does not hold.
pub fn completed(table: toml::Table, policy: &PolicyConfig) -> Result<toml::Table> {
    let mut whole = toml::Table::try_from(policy)
        .context("cannot complete the configuration from its checkpoint")?;
    overlay(&mut whole, table, "");
    Ok(whole)
}

/// Tables whose keys depend on each other are replaced as a whole.
fn overlay(whole: &mut toml::Table, table: toml::Table, prefix: &str) {
    for (name, value) in table {
        let key = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        let is_whole = key == "vision" || RUN_SETTINGS.contains(&key.as_str());
        match (whole.get_mut(&name), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) if !is_whole => {
                overlay(inner, value, &key);
            }
            (_, value) => drop(whole.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BUILT_IN, Config};

    fn built_in() -> Config {
        Config::parse(BUILT_IN, "the built-in configuration").unwrap()
    }

    /// What is run of the shipped policy, with a text in place of another in its configuration.
    fn changed(line: &str, other: &str) -> Result<RunPolicy> {
        assert!(BUILT_IN.contains(line), "{line}");
        let text = BUILT_IN.replacen(line, other, 1);
        let config = Config::parse(&text, "run.toml")?;
        let trained = built_in().policy();
        run_policy(&config.written, &config.policy(), &trained, "models/a")
    }

    #[test]
    fn settings_take_effect_and_everything_else_is_the_checkpoints() {
        let same = changed("levels = 4", "levels = 4").unwrap();
        assert_eq!(same.policy, built_in().policy());
        assert_eq!((same.changes.len(), same.cautions.len()), (0, 0));
        let run = changed("levels = 4", "levels = 8").unwrap();
        assert_eq!(run.policy.plan.levels, Some(8));
        assert_eq!(run.changes, ["plan.levels is 8, the checkpoint's 4"]);
        let run = changed("{ kind = \"ddim\", eta = 0.0 }", "{ kind = \"ddpm\" }").unwrap();
        assert_eq!(run.policy.sampler.solver.kind(), "ddpm");
        let run = changed("rate_hz = 10.0", "rate_hz = 20.0").unwrap();
        assert_eq!(run.policy.task.rate_hz, 20.0);
        assert!(
            run.cautions[0].contains("2.000 times as fast"),
            "{:?}",
            run.cautions
        );
        let run = changed("mode = \"streaming\"", "mode = \"chunk\"").unwrap();
        assert_eq!(run.policy.plan.mode, PlanMode::Chunk);
        // What is not written is the checkpoint's.
        let run = changed("primer_columns = [18, 19]\n", "").unwrap();
        assert_eq!(run.policy.plan.primer_columns, Some(vec![18, 19]));
        let run = changed("name = \"pusht\"", "name = \"another\"").unwrap();
        assert_eq!(run.policy, built_in().policy());
    }

    #[test]
    fn what_was_trained_otherwise_is_refused_with_line_and_both_values() {
        for (line, other, expected) in [
            (
                "horizon = 16",
                "horizon = 32",
                "run.toml, line 18: plan.horizon is 32, the checkpoint's 16",
            ),
            (
                "channels = [64, 128, 256]",
                "channels = [64, 128]",
                "network.channels is [64,128], the checkpoint's [64,128,256]",
            ),
            (
                "prediction = \"sample\"",
                "prediction = \"epsilon\"",
                "sampler.prediction is \"epsilon\"",
            ),
            (
                "train_timesteps = 100",
                "train_timesteps = 50",
                "schedule.train_timesteps is 50",
            ),
            (
                "columns = [0, 1] },",
                "columns = [0, 1, 2] },",
                "task.observation is",
            ),
            (
                "mode = \"streaming\"",
                "mode = \"released\"",
                "weights of a rolling plan also run as chunks",
            ),
            (
                "levels = 4",
                "levels = 400",
                "plan.levels is 400, expected 4",
            ),
        ] {
            let error = format!("{:#}", changed(line, other).unwrap_err());
            assert!(error.contains(expected), "no `{expected}` in {error}");
        }
    }

    #[test]
    fn every_key_of_a_plan_is_a_setting_or_trained() {
        let trained = ["horizon", "observation_steps", "alignment"];
        let mut plan = built_in().plan;
        // A new field does not compile until it is decided which it is.
        let kinestream_policy::config::PlanConfig {
            mode: _,
            horizon: _,
            observation_steps: _,
            action_steps: _,
            levels: _,
            alignment: _,
            primer: _,
            primer_columns: _,
            commit_ahead: _,
            inpaint: _,
            iterate: _,
            restart: _,
            guidance: _,
        } = &plan;
        plan.commit_ahead = 1;
        plan.inpaint = Some(kinestream_policy::config::InpaintConfig::default());
        plan.iterate = Some(kinestream_policy::config::IterateConfig { steps: 1 });
        let json = serde_json::to_value(&plan).unwrap();
        for key in json.as_object().unwrap().keys() {
            let is_setting = RUN_SETTINGS.contains(&format!("plan.{key}").as_str());
            assert!(is_setting != trained.contains(&key.as_str()), "{key}");
        }
    }

    #[test]
    fn a_file_without_a_network_is_completed_from_its_checkpoint() {
        let text = "[plan]\nlevels = 8\n[sampler]\nsolver = { kind = \"ddpm\" }\n[runtime]\nrobot = \"arm\"\n";
        let table: toml::Table = text.parse().unwrap();
        let trained = built_in().policy();
        let whole = completed(table, &trained).unwrap();
        let config: Config = whole.try_into().unwrap();
        let mut expected = trained;
        expected.plan.levels = Some(8);
        expected.sampler.solver = kinestream_diffusion::Solver::DDPM;
        assert_eq!(config.policy(), expected);
        assert_eq!(config.runtime.robot, "arm");
    }
}
