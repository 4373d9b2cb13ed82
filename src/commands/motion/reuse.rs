//! Embedding and feature space taken from a model that is trained already, so that models can be
//! compared on the very same ones.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kinestream_diffusion::weights::{self, Precision};
use kinestream_motion::data::MotionSet;
use kinestream_motion::embedding::{Embedding, Statistics};
use kinestream_motion::extractor::Extractor;
use kinestream_motion::model::MotionModel;
use kinestream_motion::training::begun_parts;
use tch::{Device, Tensor};

use crate::motion::{EXTRACTOR, MotionConfig};

/// Largest difference of a mean or deviation that counts as the same clips, in deviations: what
/// another machine rounds otherwise.
const SAME: f32 = 1e-3;

/// What a run takes from the folder of `--embedding-from`.
pub(super) struct Reuse<'a> {
    from: &'a Path,
    out: &'a Path,
    embedding: Embedding,
}

impl<'a> Reuse<'a> {
    /// Opens the folder and compares its configuration. A run either takes its embedding from a
    /// folder or has one of its own, from its first call to its last.
    pub(super) fn open(
        from: Option<&'a Path>,
        out: &'a Path,
        config: &MotionConfig,
        device: Device,
    ) -> Result<Option<Self>> {
        let parts = begun_parts(out)?;
        let trained = parts.iter().any(|part| part == "embedding");
        // What is trained before or beside an embedding says nothing of where that is from.
        let begun = parts
            .iter()
            .any(|part| part != "extractor" && part != "embedding");
        let Some(from) = from else {
            ensure!(
                trained || !begun,
                "{} was begun with --embedding-from; name the same folder again",
                out.display()
            );
            return Ok(None);
        };
        ensure!(
            !trained,
            "{} has trained an embedding of its own; leave --embedding-from out, or name another \
             --out",
            out.display()
        );
        let named = || format!("--embedding-from {}", from.display());
        let embedding = MotionModel::load(from, device)
            .with_context(named)?
            .embedding;
        same_table(
            "model.embedding",
            from,
            embedding.config(),
            &config.model.embedding,
        )?;
        if let Some(table) = &config.extractor {
            let folder = from.join(EXTRACTOR);
            let found = Extractor::load(&folder, device).with_context(named)?;
            same_table("extractor.network", &folder, found.config(), &table.network)?;
        }
        Ok(Some(Self {
            from,
            out,
            embedding,
        }))
    }

    /// Copies the feature space into the run.
    pub(super) fn copy_extractor(&self) -> Result<()> {
        let (from, to) = (self.from.join(EXTRACTOR), self.out.join(EXTRACTOR));
        std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        for file in files(&from)? {
            let name = file.file_name().unwrap_or_default();
            std::fs::copy(&file, to.join(name))
                .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
        }
        Ok(())
    }

    /// The embedding, which is copied into the run at its first call and must be the same later.
    pub(super) fn embedding(self, export: Precision, set: &MotionSet) -> Result<Embedding> {
        check_clips(&self.embedding, set)
            .with_context(|| format!("--embedding-from {}", self.from.display()))?;
        let copy = weights::snapshot(self.embedding.store(), export);
        let path = self.out.join("embedding.safetensors");
        if !path.exists() {
            weights::write(&path, &copy)?;
        }
        ensure!(
            same(&weights::read(&path)?, &copy),
            "{} is not the embedding of {}; name the folder that the run was begun with, or another \
             --out",
            path.display(),
            self.from.display()
        );
        Ok(self.embedding)
    }
}

fn same_table<T: PartialEq + Debug>(name: &str, from: &Path, there: &T, here: &T) -> Result<()> {
    ensure!(
        there == here,
        "[{name}] is not what {} was trained with: {there:?} there, {here:?} here; make them the \
         same",
        from.display()
    );
    Ok(())
}

/// Whether an embedding was trained on these clips: it knows their means and deviations.
fn check_clips(embedding: &Embedding, set: &MotionSet) -> Result<()> {
    let rows = Tensor::from_slice(&set.rows).view([set.len() as i64, set.layout.size() as i64]);
    let here = Statistics::of(&rows, set.layout, embedding.config().latent)?;
    let there = embedding.statistics();
    let differ = |(first, second): (&Vec<f32>, &Vec<f32>)| {
        let pairs = first.iter().zip(second).zip(&there.deviation);
        pairs
            .map(|((first, second), deviation)| (first - second).abs() / deviation)
            .fold(0.0, f32::max)
    };
    let most = differ((&here.mean, &there.mean)).max(differ((&here.deviation, &there.deviation)));
    ensure!(
        most <= SAME,
        "its embedding was trained on other clips: means or deviations differ by up to {most:.3} \
         deviations; use the same [data] and the same capture"
    );
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .filter(|path| path.as_ref().map_or(true, |path| path.is_file()))
            .collect()
    };
    read().with_context(|| format!("cannot read {}", folder.display()))
}

fn same(first: &[(String, Tensor)], second: &[(String, Tensor)]) -> bool {
    let find = |name: &str| second.iter().find(|(other, _)| other == name);
    first.len() == second.len()
        && first
            .iter()
            .all(|(name, tensor)| find(name).is_some_and(|(_, other)| tensor == other))
}

#[cfg(test)]
mod tests {
    use kinestream_motion::training::state_file;

    use super::*;
    use crate::commands::motion::train::refuse_to_begin_anew;

    #[test]
    fn a_run_on_another_embedding_goes_on_with_it_only_whatever_part_it_was_in() {
        let config = MotionConfig::read(Path::new("configs/motion-aamdm.toml")).unwrap();
        let open = |out: &Path| Reuse::open(None, out, &config, Device::Cpu).map(|_| ());
        for part in [
            "predictor",
            "generation",
            "polishing",
            "motion_vae",
            "settling",
            "a new one",
        ] {
            let out = tempfile::tempdir().unwrap();
            open(out.path()).unwrap();
            refuse_to_begin_anew(out.path(), false).unwrap();
            std::fs::write(state_file(out.path(), part), "").unwrap();
            let message = open(out.path()).unwrap_err().to_string();
            assert!(
                message.contains("begun with --embedding-from"),
                "{part}: {message}"
            );
            let message = refuse_to_begin_anew(out.path(), false)
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(part) && message.contains("--resume"),
                "{message}"
            );
            refuse_to_begin_anew(out.path(), true).unwrap();
        }
        let out = tempfile::tempdir().unwrap();
        for part in ["extractor", "embedding", "generation"] {
            std::fs::write(state_file(out.path(), part), "").unwrap();
            open(out.path()).unwrap();
        }
    }
}
