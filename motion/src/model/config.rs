//! What a motion model is built of, as written in TOML and JSON.

use serde::{Deserialize, Serialize};

use crate::embedding::EmbeddingConfig;
use crate::frame::FrameConfig;
use crate::motion_vae::MotionVaeConfig;
use crate::predictor::PredictorConfig;
use crate::{Error, Result};

/// Configuration of a motion model: `[model.embedding]`, `[model.predictor]` or not, and either `[model.generation]` with
/// `[model.polishing]` or not, or `[model.motion_vae]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Tables", into = "Tables")]
pub struct ModelConfig {
    /// The embedded space.
    pub embedding: EmbeddingConfig,
    /// What tells the part of a frame that can be told; absent: the last change is all that carries
    /// on.
    pub predictor: Option<PredictorConfig>,
    /// What makes frames of it.
    pub generator: GeneratorConfig,
}

/// What makes frames.
#[derive(Debug, Clone, PartialEq)]
pub enum GeneratorConfig {
    /// Denoise steps.
    Diffusion(ModulesConfig),
    /// A variational autoencoder of the next frame.
    MotionVae(MotionVaeConfig),
}

/// The modules of a model that denoises.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulesConfig {
    /// The generation module: a denoising diffusion GAN, or without a latent an autoregressive
    /// diffusion model.
    pub generation: FrameConfig,
    /// The polishing module; absent: drafts are frames.
    pub polishing: Option<FrameConfig>,
}

/// The tables as they stand in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    embedding: EmbeddingConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predictor: Option<PredictorConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<FrameConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    polishing: Option<FrameConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    motion_vae: Option<MotionVaeConfig>,
}

impl TryFrom<Tables> for ModelConfig {
    type Error = String;

    fn try_from(tables: Tables) -> std::result::Result<Self, String> {
        let generator = match (tables.generation, tables.polishing, tables.motion_vae) {
            (Some(generation), polishing, None) => GeneratorConfig::Diffusion(ModulesConfig {
                generation,
                polishing,
            }),
            (None, None, Some(motion_vae)) => GeneratorConfig::MotionVae(motion_vae),
            (None, None, None) => {
                return Err(
                    "the table says nothing of what makes frames: add model.generation or \
                     model.motion_vae"
                        .into(),
                );
            }
            (None, Some(_), None) => {
                return Err(
                    "model.polishing works on what model.generation drafts: add that, too".into(),
                );
            }
            (generation, _, Some(_)) => {
                let other = generation.map_or("polishing", |_| "generation");
                return Err(format!(
                    "model.{other} and model.motion_vae exclude each other: remove one of them"
                ));
            }
        };
        Ok(Self {
            embedding: tables.embedding,
            predictor: tables.predictor,
            generator,
        })
    }
}

impl From<ModelConfig> for Tables {
    fn from(config: ModelConfig) -> Self {
        let (generation, polishing, motion_vae) = match config.generator {
            GeneratorConfig::Diffusion(modules) => {
                (Some(modules.generation), modules.polishing, None)
            }
            GeneratorConfig::MotionVae(motion_vae) => (None, None, Some(motion_vae)),
        };
        Self {
            embedding: config.embedding,
            predictor: config.predictor,
            generation,
            polishing,
            motion_vae,
        }
    }
}

impl ModelConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        self.embedding.check()?;
        if let Some(predictor) = &self.predictor {
            predictor
                .check()
                .map_err(|error| in_table("predictor", error))?;
        }
        match &self.generator {
            GeneratorConfig::Diffusion(modules) => modules.check(),
            GeneratorConfig::MotionVae(config) => config
                .check()
                .map_err(|error| in_table("motion_vae", error)),
        }
    }
}

impl ModulesConfig {
    fn check(&self) -> Result<()> {
        let module =
            |table, config: &FrameConfig| config.check().map_err(|error| in_table(table, error));
        module("generation", &self.generation)?;
        self.polishing
            .as_ref()
            .map_or(Ok(()), |polishing| module("polishing", polishing))
    }
}

/// An error of a part, with the table in which its keys stand.
pub(super) fn in_table(table: &'static str, error: Error) -> Error {
    match error {
        Error::Config {
            key,
            found,
            expected,
        } => Error::Config {
            key: table,
            found: format!("{key} = {found}"),
            expected,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"{ "width": 16, "layers": 2, "schedule": { "train_timesteps": 3 } }"#;

    fn read(text: &str) -> std::result::Result<ModelConfig, String> {
        let text = text.replace('M', MODULE);
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn exactly_one_generator_is_taken() {
        let refused = |text: &str, words: &[&str]| {
            let message = read(text).unwrap_err();
            for word in words {
                assert!(message.contains(word), "{message}");
            }
        };
        refused("{}", &["model.generation", "model.motion_vae"]);
        refused(r#"{ "polishing": M }"#, &["model.polishing", "add"]);
        refused(
            r#"{ "generation": M, "motion_vae": {} }"#,
            &["model.generation and model.motion_vae", "remove"],
        );
        refused(
            r#"{ "generation": M, "vae": {} }"#,
            &["unknown field `vae`"],
        );
        assert!(matches!(
            read(r#"{ "motion_vae": {} }"#).unwrap().generator,
            GeneratorConfig::MotionVae(_)
        ));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            r#"{ "generation": M }"#,
            r#"{ "generation": M, "polishing": M }"#,
            r#"{ "predictor": { "width": 32 }, "generation": M }"#,
            r#"{ "motion_vae": { "experts": 3 } }"#,
        ] {
            let config = read(text).unwrap();
            config.check().unwrap();
            let written = serde_json::to_string(&config).unwrap();
            assert_eq!(read(&written).unwrap(), config);
        }
    }
}
