//! Finding and opening checkpoints.

use std::path::Path;

use anyhow::{Context, Result};
use kinestream_diffusion::Denoiser;
use kinestream_policy::import::{self, Format, Imported};
use kinestream_policy::{Checkpoint, PolicyConfig};
use serde_json::Value;
use tch::Device;

use crate::config::Config;

pub use crate::shipped::{SHIPPED, SHIPPED_CLIPS, SHIPPED_MOTION, locate};

/// What a checkpoint's own file is called.
const FILE: &str = kinestream_policy::checkpoint::CONFIG_FILE;

/// Opens a checkpoint, whoever wrote it.
pub fn open(named: &Path, device: Device) -> Result<Checkpoint> {
    let Imported {
        checkpoint,
        assumed,
        ignored,
        ..
    } = open_any(named, device)?;
    for text in &assumed {
        tracing::warn!("{}: assumed {text}", named.display());
    }
    for text in &ignored {
        tracing::debug!("{}: left out {text}", named.display());
    }
    Ok(checkpoint)
}

/// Opens a checkpoint with what there is to say about it.
pub fn open_any(named: &Path, device: Device) -> Result<Imported> {
    let path = locate(named);
    tracing::debug!("checkpoint {}", path.display());
    Ok(import::open(&path, device)?)
}

/// Opens a checkpoint to be run, its plan as the configuration says that it is run
/// ([`run_as`](kinestream_policy::config::PlanConfig::run_as)), and at its rate where a foreign checkpoint has none. Whatever else differs has no effect: [`ineffective`] names it.
pub fn open_to_run(named: &Path, config: &Config, device: Device) -> Result<Checkpoint> {
    let Imported {
        mut checkpoint,
        format,
        ignored,
        ..
    } = open_any(named, device)?;
    for text in &ignored {
        tracing::debug!("{}: left out {text}", named.display());
    }
    if format != Format::Kinestream {
        checkpoint.policy_mut().task.rate_hz = config.task.rate_hz;
    }
    let plan = &mut checkpoint.policy_mut().plan;
    *plan = plan.run_as(&config.plan);
    let action = checkpoint.network().dimensions().action as usize;
    let place = || format!("[plan] of the configuration, with {}", named.display());
    let policy = checkpoint.policy();
    policy.check().with_context(place)?;
    policy.plan.check_guidance(action).with_context(place)?;
    Ok(checkpoint)
}

/// What a configuration says in vain about the policy that was opened from `named`, in a sentence; none where they agree.
pub fn ineffective(config: &Config, loaded: &Checkpoint, named: &Path) -> Result<Option<String>> {
    let text = without_effect(&config.policy(), loaded.policy())?;
    Ok(text.map(|text| {
        format!(
            "{text}: a policy's own {FILE} says what it is; change it in {}",
            named.join(FILE).display()
        )
    }))
}

/// What a configuration says about the policy otherwise than its checkpoint, key by key; none where they agree. Names are
/// only names.
fn without_effect(said: &PolicyConfig, is: &PolicyConfig) -> Result<Option<String>> {
    let [said, is] = [said, is].map(serde_json::to_value);
    let mut found = Vec::new();
    compare("", &said?, &is?, &mut found);
    found.retain(|(key, _)| key != "task.name");
    let texts: Vec<String> = found
        .into_iter()
        .map(|(key, values)| format!("{key} is {values}"))
        .collect();
    Ok((!texts.is_empty()).then(|| {
        format!(
            "the configuration has no effect where the checkpoint differs: {}",
            texts.join("; ")
        )
    }))
}

/// Adds what differs between a table and another, but for what is not said.
fn compare(key: &str, said: &Value, is: &Value, found: &mut Vec<(String, String)>) {
    match (said, is) {
        (Value::Object(said), Value::Object(is)) => {
            for (name, value) in said {
                let key = match key {
                    "" => name.clone(),
                    key => format!("{key}.{name}"),
                };
                compare(&key, value, is.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Null, _) => {}
        _ if said == is => {}
        _ => found.push((key.to_owned(), format!("{said}, there {is}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_effect_is_named() {
        let config = Config::parse(crate::config::BUILT_IN, "the built-in configuration").unwrap();
        let shipped = open(Path::new(SHIPPED), Device::Cpu).unwrap();
        assert_eq!(
            without_effect(&config.policy(), shipped.policy()).unwrap(),
            None
        );
        let mut changed = config.policy();
        changed.task.name = "another".into();
        changed.plan.levels = Some(5);
        changed.task.rate_hz = 20.0;
        let told = without_effect(&changed, shipped.policy()).unwrap().unwrap();
        for part in [
            "plan.levels is 5, there 4",
            "task.rate_hz is 20.0, there 10.0",
        ] {
            assert!(told.contains(part), "no `{part}` in {told}");
        }
        assert!(!told.contains("another"), "{told}");
    }

    #[test]
    fn where_the_robot_is_counts_as_configured() {
        let mut config =
            Config::parse(crate::config::BUILT_IN, "the built-in configuration").unwrap();
        config.plan.primer_columns = Some(vec![0, 1]);
        let opened = open_to_run(Path::new(SHIPPED), &config, Device::Cpu).unwrap();
        assert_eq!(opened.policy().plan.primer_columns, Some(vec![0, 1]));
        config.plan.primer_columns = None;
        let opened = open_to_run(Path::new(SHIPPED), &config, Device::Cpu).unwrap();
        assert_eq!(opened.policy().plan.primer_columns, Some(vec![18, 19]));
    }
}
