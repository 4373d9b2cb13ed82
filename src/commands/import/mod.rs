//! `kinestream import`: a foreign checkpoint becomes a checkpoint folder with a configuration.

mod configuration;
mod dry_run;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kinestream_diffusion::weights::Precision;
use kinestream_policy::cautions;
use kinestream_policy::data::Episodes;
use kinestream_policy::import::{Format, ImportOptions, Imported};
use serde::Serialize;
use tch::Device;

use kinestream_command_line::ImportArguments;
use kinestream_runtime::checkpoint;
use kinestream_runtime::config::Config;
use kinestream_terminal::{output, say};

use configuration::DemonstratedActions;
use dry_run::DryRun;

/// File of the configuration in the folder that is written.
pub(crate) const RUN_FILE: &str = "run.toml";

#[derive(Debug, Serialize)]
struct Report {
    source: String,
    format: Format,
    parameters: usize,
    rate_hz: f64,
    /// What the source does not say, and what was taken in its place.
    assumed: Vec<String>,
    /// What the source says and running does not need.
    ignored: Vec<String>,
    /// What deserves a warning.
    cautions: Vec<String>,
    /// In what the weights are kept, the commonest first; they are widened exactly.
    weights: Vec<&'static str>,
    /// The folder that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// What a dry run showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<DryRun>,
}

pub(crate) fn run(arguments: &ImportArguments) -> Result<()> {
    let source = &arguments.source;
    let options = ImportOptions {
        ignored_keys: arguments.reading.ignored_keys.clone(),
    };
    let mut imported = checkpoint::open_with(source, Device::Cpu, &options)?;
    if imported.format == Format::Kinestream {
        bail!(
            "{} is a checkpoint of kinestream already: run it, or copy it",
            source.display()
        );
    }
    if let Some(rate_hz) = arguments.rate {
        imported.checkpoint.policy_mut().task.rate_hz = rate_hz;
        imported.checkpoint.policy().check().context("--rate")?;
        imported
            .assumed
            .retain(|text| !text.starts_with("actions per second"));
    }
    let mut report = Report {
        source: source.display().to_string(),
        format: imported.format,
        parameters: imported.checkpoint.parameters(),
        rate_hz: imported.checkpoint.policy().task.rate_hz,
        assumed: imported.assumed.clone(),
        ignored: imported.ignored.clone(),
        cautions: cautions(
            imported.checkpoint.policy(),
            imported.checkpoint.normalisers(),
        ),
        weights: imported.checkpoint.number_types().to_vec(),
        destination: None,
        check: None,
    };
    match &arguments.destination {
        Some(folder) if !arguments.check => {
            let data = arguments.data.as_deref();
            let demonstrations = data.map(|data| demonstrated(data, &imported)).transpose()?;
            write(folder, &imported, demonstrations.as_ref())?;
            let guesses = configuration::guesses(&imported.checkpoint, demonstrations.as_ref());
            report.assumed.extend(guesses);
            report.destination = Some(folder.display().to_string());
        }
        _ => {
            let reopen = || Ok(checkpoint::open_with(source, Device::Cpu, &options)?.checkpoint);
            let check = dry_run::run(imported.checkpoint, reopen, arguments.threads)?;
            report.check = Some(check);
        }
    }
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

/// The configuration that a checkpoint folder runs with where none is named.
pub(crate) fn config(folder: &Path) -> Result<Config> {
    let imported = checkpoint::open_any(folder, Device::Cpu)?;
    let guesses = configuration::guesses(&imported.checkpoint, None);
    for text in imported.assumed.iter().chain(&guesses) {
        tracing::warn!("{}: assumed {text}", folder.display());
    }
    let text = configuration::text(folder, &imported.checkpoint, None)?;
    let mut config = Config::parse_about(
        &text,
        &folder.display().to_string(),
        imported.checkpoint.policy(),
    )?;
    config.runtime.checkpoint = folder.to_path_buf();
    Ok(config)
}

/// What the demonstrations tell of the actions.
fn demonstrated(data: &Path, imported: &Imported) -> Result<DemonstratedActions> {
    let policy = imported.checkpoint.policy();
    let episodes = Episodes::read_actions(data, &policy.task).context("--data")?;
    let (found, expected) = (
        episodes.action_size,
        imported.checkpoint.normalisers().action.size(),
    );
    ensure!(
        found == expected,
        "--data: the actions of {} have {found} numbers, those of the policy {expected}; name the data that the policy was \
         trained on",
        data.display(),
    );
    Ok(DemonstratedActions {
        speeds: episodes.action_speeds(policy.task.rate_hz, configuration::SPEED_QUANTILE),
        two_valued: episodes.two_valued_actions(),
    })
}

fn write(
    folder: &Path,
    imported: &Imported,
    demonstrations: Option<&DemonstratedActions>,
) -> Result<()> {
    let empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !folder.exists(),
    };
    ensure!(
        empty,
        "{} is there already and not an empty folder; name another one",
        folder.display()
    );
    let text = configuration::text(folder, &imported.checkpoint, demonstrations)?;
    imported.checkpoint.save(folder, Precision::Fp32)?;
    let path = folder.join(RUN_FILE);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn print(report: &Report) {
    say!(
        "{}: {:?} policy, {} parameters, {} actions per second",
        report.source,
        report.format,
        report.parameters,
        report.rate_hz
    );
    say!("  {:<11} kept as {}", "weights", report.weights.join(", "));
    for (what, texts) in [
        ("assumed", &report.assumed),
        ("left out", &report.ignored),
        ("caution", &report.cautions),
    ] {
        for text in texts {
            say!("  {what:<11} {text}");
        }
    }
    if let Some(check) = &report.check {
        check.print();
    }
    if let Some(folder) = &report.destination {
        say!("  wrote       {folder}");
        say!("  next        kinestream run {folder}/{RUN_FILE}");
    }
}
