//! Denoisers as TorchScript modules: any network that PyTorch traced or scripted, without its source.
//!
//! A module takes sample [B, Tp, Da], timesteps [B, Tp] int64 and condition [B, To Do] and returns [B, Tp, Da], as
//! [`crate::Denoiser::evaluate`] does. It is tried once when it is loaded; one that fails later is answered for by NaN, which a
//! planner refuses. TorchScript is a program that LibTorch runs: load it from whom you trust.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{CModule, Device, Kind, Tensor, nn};

use crate::network::architecture::check_horizon;
use crate::network::legacy::LegacyTable;
use crate::network::{Architecture, Dimensions, NetworkModule};
use crate::{Error, Result};

/// What a TorchScript denoiser is told, as written in TOML and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptConfig {
    /// Whether it takes a noise level of its own for every position; otherwise all are equal.
    pub level_per_position: bool,
}

/// An architecture that is a program, loaded from its file and not built.
macro_rules! program_architecture {
    ($(#[$doc:meta])* $name:ident, $program:ident in $file:literal, told: $told:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "LegacyTable<ScriptConfig>")]
        #[schemars(!try_from, deny_unknown_fields)]
        pub struct $name {
            /// What the program is told.
            pub script: ScriptConfig,
        }

        impl TryFrom<LegacyTable<ScriptConfig>> for $name {
            type Error = String;

            fn try_from(table: LegacyTable<ScriptConfig>) -> std::result::Result<Self, String> {
                let script = table.sizes("script", $told)?;
                Ok(Self { script })
            }
        }

        impl Architecture for $name {
            fn small(_dimensions: Dimensions) -> Option<Self> {
                None
            }

            fn check(&self, dimensions: Dimensions) -> Result<()> {
                check_horizon(dimensions.horizon)
            }

            fn build(&self, _root: &nn::Path<'_>, _: Dimensions) -> Result<Box<dyn NetworkModule>> {
                Err(Error::Config {
                    key: "network.kind",
                    found: "torch_script or aot_inductor".into(),
                    expected: "another one: those are loaded from their file, and not trained".into(),
                })
            }

            fn takes_levels_per_position(&self) -> bool {
                self.script.level_per_position
            }

            fn summary(&self) -> String {
                format!("{:?}", self.script)
            }

            fn program_file(&self) -> Option<&'static str> {
                Some($file)
            }

            fn load(
                &self,
                path: &Path,
                dimensions: Dimensions,
                device: Device,
            ) -> Result<Box<dyn NetworkModule>> {
                Ok(Box::new($program::load(path, dimensions, device)?))
            }
        }
    };
}
pub(super) use program_architecture;

program_architecture! {
    /// The architecture: whatever is in the module.
    TorchScript, Script in "model.pt", told: "what the module is told"
}

/// A loaded module.
struct Script {
    module: CModule,
    parameters: usize,
    path: PathBuf,
}

impl Script {
    /// Loads a module and tries it.
    ///
    /// # Errors
    /// A file that LibTorch does not read, or a module that does not take these sizes.
    fn load(path: &Path, sizes: Dimensions, device: Device) -> Result<Self> {
        let refuse = |reason: String| Error::Script {
            path: path.to_path_buf(),
            // LibTorch's own explanations go on for pages.
            reason: reason.lines().take(3).collect::<Vec<_>>().join(" "),
        };
        let mut module =
            CModule::load_on_device(path, device).map_err(|error| refuse(error.to_string()))?;
        module
            .f_set_eval()
            .map_err(|error| refuse(error.to_string()))?;
        let parameters = module
            .named_parameters()
            .map_err(|error| refuse(error.to_string()))?;
        let script = Self {
            module,
            parameters: parameters.iter().map(|(_, tensor)| tensor.numel()).sum(),
            path: path.to_path_buf(),
        };
        attempt(sizes, 1, device, |inputs| {
            script
                .module
                .forward_ts(inputs)
                .map_err(|error| error.to_string())
        })
        .map_err(refuse)?;
        Ok(script)
    }
}

impl NetworkModule for Script {
    fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        let inputs = [sample, timesteps, condition];
        answered(self.module.forward_ts(&inputs), sample)
    }

    fn parameters(&self) -> Option<usize> {
        Some(self.parameters)
    }

    fn program(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// What a program of unknown kind returned for a sample, or NaN where that cannot be its prediction.
pub(super) fn answered<E>(output: std::result::Result<Tensor, E>, sample: &Tensor) -> Tensor {
    match output {
        Ok(output) if output.size() == sample.size() => output.to_kind(sample.kind()),
        _ => sample.full_like(f64::NAN),
    }
}

/// Evaluates `rows` plans of zeros with a program of unknown kind, and says what it did not take or return.
pub(super) fn attempt(
    sizes: Dimensions,
    rows: i64,
    device: Device,
    run: impl FnOnce(&[Tensor; 3]) -> std::result::Result<Tensor, String>,
) -> std::result::Result<(), String> {
    let zeros = |shape: &[i64], kind: Kind| Tensor::zeros(shape, (kind, device));
    let shape = [rows, sizes.horizon, sizes.action];
    let inputs = [
        zeros(&shape, Kind::Float),
        zeros(&shape[..2], Kind::Int64),
        zeros(&[rows, sizes.condition], Kind::Float),
    ];
    let output = tch::no_grad(|| run(&inputs)).map_err(|error| {
        format!(
            "it does not take sample {shape:?}, timesteps {:?} and condition [{rows}, {}]: {error}",
            &shape[..2],
            sizes.condition
        )
    })?;
    if output.size() != shape || output.kind() != Kind::Float {
        return Err(format!(
            "it returns {:?} of {:?}, expected {shape:?} of Float",
            output.size(),
            output.kind()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Captured;
    use crate::network::{NetworkConfig, UNetConfig, UNetKind};
    use crate::{Denoiser, Network};

    const SIZES: Dimensions = Dimensions {
        horizon: 8,
        action: 2,
        condition: 6,
        train_timesteps: 100,
    };

    fn config(level_per_position: bool) -> NetworkConfig {
        TorchScript {
            script: ScriptConfig { level_per_position },
        }
        .into()
    }

    /// A U-Net and the TorchScript that tracing it gave.
    fn traced(folder: &Path) -> (Network, PathBuf) {
        let config = NetworkConfig::unet(
            UNetKind::PerPosition,
            UNetConfig {
                channels: vec![8, 16],
                level_embedding: 8,
                observation_embedding: 8,
                ..UNetConfig::default()
            },
        );
        let mut network = Network::new(&config, SIZES, Device::Cpu, 1).unwrap();
        network.freeze();
        let inputs = inputs(1);
        let mut run = |inputs: &[Tensor]| {
            let [sample, timesteps, condition] = inputs else {
                unreachable!()
            };
            vec![network.evaluate(sample, timesteps, condition)]
        };
        let module = tch::no_grad(|| {
            CModule::create_by_tracing("Denoiser", "forward", &inputs, &mut run).unwrap()
        });
        let path = folder.join("model.pt");
        module.save(&path).unwrap();
        (network, path)
    }

    fn inputs(rows: i64) -> [Tensor; 3] {
        let range = |shape: &[i64], kind| {
            let count: i64 = shape.iter().product();
            Tensor::linspace(-0.5, 0.5, count, (kind, Device::Cpu)).view(shape)
        };
        [
            range(&[rows, SIZES.horizon, SIZES.action], Kind::Float),
            Tensor::from_slice(&[0_i64, 5, 17, 33, 50, 66, 80, 99]).repeat([rows, 1]),
            range(&[rows, SIZES.condition], Kind::Float),
        ]
    }

    #[test]
    fn a_traced_network_computes_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (network, path) = traced(folder.path());
        let scripted = Network::load_program(&config(true), SIZES, &path, Device::Cpu).unwrap();
        assert!(scripted.takes_levels_per_position());
        let [sample, timesteps, condition] = inputs(1);
        let of =
            |network: &Network| tch::no_grad(|| network.evaluate(&sample, &timesteps, &condition));
        assert!(of(&scripted).allclose(&of(&network), 1e-6, 1e-6, false));
        let whole = Network::load_program(&config(false), SIZES, &path, Device::Cpu).unwrap();
        assert!(!whole.takes_levels_per_position());
        // What a module cannot take when it runs is NaN.
        let narrow = Tensor::zeros([1, 5], (Kind::Float, Device::Cpu));
        let output = scripted.evaluate(&sample, &timesteps, &narrow);
        assert!(output.size() == sample.size() && output.isnan().all().int64_value(&[]) == 1);
    }

    #[test]
    fn a_module_is_captured_like_other_networks() {
        let folder = tempfile::tempdir().unwrap();
        let (network, path) = traced(folder.path());
        let scripted = Network::load_program(&config(true), SIZES, &path, Device::Cpu).unwrap();
        let captured = Captured::new(scripted, Device::Cpu).unwrap();
        let [sample, timesteps, condition] = inputs(1);
        let numbers = |tensor: &Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
        let levels = Vec::<i64>::try_from(timesteps.flatten(0, -1)).unwrap();
        let (plan, observed) = (numbers(&sample), numbers(&condition));
        let mut found = vec![0.0; plan.len()];
        assert!(captured.evaluate_on_host(&plan, &levels, &observed, &mut found));
        let expected = tch::no_grad(|| network.evaluate(&sample, &timesteps, &condition));
        let found = Tensor::from_slice(&found).view_as(&expected);
        assert!(found.allclose(&expected, 1e-6, 1e-6, false));
    }

    #[test]
    fn modules_that_do_not_fit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (_, path) = traced(folder.path());
        let refusal = |path: &Path, sizes: Dimensions| {
            let refused = Network::load_program(&config(true), sizes, path, Device::Cpu);
            refused.err().unwrap().to_string()
        };
        let wide = Dimensions {
            condition: 7,
            ..SIZES
        };
        let message = refusal(&path, wide);
        assert!(
            message.contains("model.pt") && message.contains("condition [1, 7]"),
            "{message}"
        );
        let broken = folder.path().join("broken.pt");
        std::fs::write(&broken, b"PK\x03\x04 not TorchScript").unwrap();
        let message = refusal(&broken, SIZES);
        assert!(
            message.contains("broken.pt") && message.contains("torch.jit"),
            "{message}"
        );
        assert!(message.len() < 2000, "{message}");
    }
}
