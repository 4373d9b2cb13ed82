//! EMDM: whole clips for a label, from noise in at most ten denoise steps.
//!
//! A conditional denoising diffusion GAN over clips (Zhou et al., "EMDM: Efficient Motion Diffusion
//! Model for Fast and High-Quality Motion Generation", 2023): a transformer tells the clean clip from
//! a noisy one, its condition and a random latent; the posterior leads to the next, less noisy clip;
//! a critic judges pairs of both in training, beside losses on poses. Here the frames are embedded
//! ones (see [`crate::embedding`]), so that a clip and a steered character share skeleton, features
//! and decoder. Without a latent the same network is trained by plain diffusion, as MDM is (Tevet et
//! al. 2022), for comparison.

mod conditions;
mod config;
mod critic;
pub(crate) mod geometry;
pub mod labels;
mod network;
pub mod pieces;
mod repertoire;
mod request;
mod sampling;
mod stitching;
#[doc(hidden)]
pub mod testing;

use std::path::Path;

use kinestream_diffusion::NoiseSchedule;
use kinestream_diffusion::weights::{self, Precision};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Tensor};

pub use conditions::Conditions;
pub(crate) use conditions::Part;
pub use config::{ClipConfig, EmdmConfig};
pub(crate) use critic::ClipCritic;
pub use labels::{Label, LabelMatcher, Labels};
pub use network::ClipNetwork;
pub use pieces::{Span, spans};
pub use repertoire::ActionLibrary;
pub use request::{BoundaryPose, Request};
pub use sampling::{Denoising, Guidance};
pub use stitching::{HALF_LIFE, ending};

use crate::embedding::{Embedding, Statistics};
use crate::features::Layout;
use crate::model::copy_store;
use crate::{Error, Result, character};

/// File of the configuration in a checkpoint folder.
const CONFIG_FILE: &str = "config.json";
/// Version of the layout of that file.
const FORMAT: u32 = 1;
/// What kind of checkpoint it is.
const KIND: &str = "clips";

/// Everything that makes clips.
#[derive(Debug)]
pub struct Emdm {
    /// The space of the frames.
    pub embedding: Embedding,
    /// What makes clips in it.
    pub network: ClipNetwork,
    config: EmdmConfig,
    repertoire: ActionLibrary,
    schedule: NoiseSchedule,
    device: Device,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    kind: String,
    model: EmdmConfig,
    statistics: Statistics,
    labels: Labels,
    spans: Vec<Span>,
}

impl Emdm {
    /// A model with fresh parameters. `spans` says how long the motion of each label lasts.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(
        config: &EmdmConfig,
        statistics: Statistics,
        labels: Labels,
        spans: Vec<Span>,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        labels.check()?;
        let skeleton = character::skeleton();
        let embedding = Embedding::new(&config.embedding, &skeleton, statistics, device, seed)?;
        Ok(Self {
            network: ClipNetwork::new(
                &config.clips,
                embedding.size(),
                labels.len(),
                device,
                seed.wrapping_add(1),
            ),
            schedule: NoiseSchedule::new(&config.clips.schedule)?,
            repertoire: ActionLibrary::new(
                labels,
                spans,
                (config.clips.patch, config.clips.longest),
            ),
            config: config.clone(),
            embedding,
            device,
        })
    }

    /// Where the model computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The configuration.
    pub fn config(&self) -> &EmdmConfig {
        &self.config
    }

    /// What it can be asked for.
    pub fn repertoire(&self) -> &ActionLibrary {
        &self.repertoire
    }

    /// The labels that it knows.
    pub fn labels(&self) -> &Labels {
        self.repertoire.labels()
    }

    /// Guidance as the configuration has it: only the label counts other than as trained.
    pub fn guidance(&self) -> Guidance {
        Guidance {
            label: self.config.clips.guidance,
            steps: self.config.clips.guided_steps,
            ..Guidance::default()
        }
    }

    /// The schedule; its timesteps are the denoise steps.
    pub fn schedule(&self) -> &NoiseSchedule {
        &self.schedule
    }

    /// Number of parameters of both parts.
    pub fn parameters(&self) -> usize {
        let stores = self.stores();
        let counts = stores
            .iter()
            .map(|(_, store)| store.variables().values().map(Tensor::numel).sum::<usize>());
        counts.sum()
    }

    /// Switches gradients off.
    pub fn freeze(&mut self) {
        self.embedding.store_mut().freeze();
        self.network.store_mut().freeze();
    }

    /// Prepares clips for conditions, one seed for each.
    pub fn denoising(
        &self,
        conditions: Conditions,
        guidance: Guidance,
        seeds: &[u64],
        evaluations: usize,
    ) -> Denoising {
        Denoising::new(
            &self.network,
            &self.schedule,
            &self.config.clips,
            self.embedding.size(),
            conditions,
            guidance,
            (seeds, evaluations),
        )
    }

    /// Takes over the parameters of an embedding of the same build; they are not trained any more.
    ///
    /// # Errors
    /// A parameter that is missing or has another shape.
    pub fn take_embedding(&mut self, embedding: &Embedding) -> Result<()> {
        copy_store(embedding.store(), self.embedding.store())?;
        self.embedding.store_mut().freeze();
        Ok(())
    }

    /// Embedded frames `[B, P patch, E]` of clips, from conditions to the last denoise step.
    pub fn sample(
        &self,
        conditions: Conditions,
        guidance: Guidance,
        seeds: &[u64],
        evaluations: usize,
    ) -> Tensor {
        let mut denoising = self.denoising(conditions, guidance, seeds, evaluations);
        while !denoising.is_done() {
            denoising.advance(&self.network);
        }
        self.frames(&denoising.finish().0)
    }

    /// Patches `[B, P, patch E]` as frames `[B, P patch, E]`.
    pub(crate) fn frames(&self, patches: &Tensor) -> Tensor {
        patches.view([patches.size()[0], -1, self.embedding.size()])
    }

    /// Writes a checkpoint folder; each file appears whole or not at all.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        for (name, store) in self.stores() {
            weights::write(&folder.join(name), &weights::snapshot(store, precision))?;
        }
        let path = folder.join(CONFIG_FILE);
        let description = Description {
            format: FORMAT,
            kind: KIND.into(),
            model: self.config.clone(),
            statistics: self.embedding.statistics().clone(),
            labels: self.labels().clone(),
            spans: self.repertoire.spans().to_vec(),
        };
        let text = serde_json::to_string_pretty(&description).map_err(|error| Error::Data {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let beside = path.with_extension("json.part");
        std::fs::write(&beside, text + "\n").map_err(|error| Error::io(&beside, error))?;
        std::fs::rename(&beside, &path).map_err(|error| Error::io(&path, error))
    }

    /// Reads a checkpoint folder.
    ///
    /// # Errors
    /// Missing files, unknown or wrong keys, weights that do not fit; each names the file.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        let refuse = |reason: String| Error::Data {
            path: path.clone(),
            reason,
        };
        let found: Description =
            serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        if found.format != FORMAT || found.kind != KIND {
            return Err(refuse(format!(
                "kind `{}`, format {} found; this reads kind `{KIND}`, format {FORMAT}",
                found.kind, found.format
            )));
        }
        found.model.embedding.check()?;
        let layout = Layout::new(character::JOINTS);
        let latent = found.model.embedding.latent;
        found.statistics.check(layout, latent, &path)?;
        if found.spans.len() != found.labels.len() {
            return Err(refuse(format!(
                "{} spans for {} labels",
                found.spans.len(),
                found.labels.len()
            )));
        }
        let mut loaded = Self::new(
            &found.model,
            found.statistics,
            found.labels,
            found.spans,
            device,
            0,
        )?;
        for (name, store) in loaded.stores() {
            weights::load(&folder.join(name), store)?;
        }
        loaded.freeze();
        Ok(loaded)
    }

    /// Whether a folder holds a checkpoint of such a model.
    pub fn is_there(folder: &Path) -> bool {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        std::fs::read_to_string(folder.join(CONFIG_FILE))
            .ok()
            .and_then(|text| serde_json::from_str::<Kind>(&text).ok())
            .is_some_and(|found| found.kind == KIND)
    }

    /// File name and parameters of both parts.
    fn stores(&self) -> [(&'static str, &VarStore); 2] {
        [
            ("embedding.safetensors", self.embedding.store()),
            ("clips.safetensors", self.network.store()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let model = testing::model(3);
        model.save(folder.path(), Precision::Fp32).unwrap();
        assert!(Emdm::is_there(folder.path()));
        let again = Emdm::load(folder.path(), Device::Cpu).unwrap();
        assert_eq!(again.repertoire(), model.repertoire());
        let clips = [&model, &again].map(|model| {
            let request = Request {
                label: Some(1),
                seed: 3,
                ..Request::default()
            };
            model
                .generate(&[request], Guidance::default(), 0)
                .unwrap()
                .remove(0)
                .poses
        });
        assert_eq!(clips[0], clips[1]);
    }

    #[test]
    fn folders_of_something_else_are_refused_by_file_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!Emdm::is_there(folder.path()));
        let model = testing::model(3);
        model.save(folder.path(), Precision::Fp32).unwrap();
        let path = folder.path().join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, word) in [
            ("\"clips\"", "\"motion\"", "kind `motion`"),
            ("\"format\": 1", "\"format\": 7", "format 7"),
            ("\"spans\": [", "\"spams\": [", "spams"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let message = Emdm::load(folder.path(), Device::Cpu).unwrap_err();
            let message = message.to_string();
            assert!(
                message.contains("config.json") && message.contains(word),
                "{message}"
            );
        }
    }
}
