//! Denoisers as AOTInductor packages: any network that PyTorch exported and compiled, without its source.
//!
//! A package takes and returns what a TorchScript module does ([`super::torch_script`]). It is tried when it is loaded; what fails
//! later is answered by NaN, which a planner refuses. One that was compiled for a single plan evaluates several one after the
//! other. A package is a shared library, which runs with all rights of this program: load it from whom you trust.

use std::path::Path;

use kinestream_torch_shim as shim;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor, nn};

use super::torch_script::{ScriptConfig, answered, attempt, program_architecture};
use crate::network::architecture::check_horizon;
use crate::network::legacy::LegacyTable;
use crate::network::{Architecture, Dimensions, NetworkModule};
use crate::{Error, Result};

program_architecture! {
    /// The architecture: whatever was compiled into the package.
    AotInductor, Package in "model.pt2", told: "what the package is told"
}

/// A loaded package.
struct Package {
    package: shim::Package,
    /// Whether several plans go in at once.
    takes_batches: bool,
}

impl Package {
    /// Loads a package and tries it.
    ///
    /// # Errors
    /// A file that is no package for this device, or one that does not take these sizes.
    fn load(path: &Path, sizes: Dimensions, device: Device) -> Result<Self> {
        let refuse = |reason: String| Error::Package {
            path: path.to_path_buf(),
            reason,
        };
        let package = shim::Package::load(path, device).map_err(|error| match error {
            shim::Error::Package { reason, .. } => refuse(reason),
            error => refuse(error.to_string()),
        })?;
        let run = |inputs: &[Tensor; 3]| evaluated(&package, inputs.each_ref());
        attempt(sizes, 1, device, run).map_err(refuse)?;
        let takes_batches = attempt(sizes, 2, device, run).is_ok();
        Ok(Self {
            package,
            takes_batches,
        })
    }
}

impl NetworkModule for Package {
    fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        let inputs = [sample, timesteps, condition].map(Tensor::contiguous);
        let rows = sample.size()[0];
        let output = if rows == 1 || self.takes_batches {
            evaluated(&self.package, inputs.each_ref())
        } else {
            let row = |row| inputs.each_ref().map(|input| input.narrow(0, row, 1));
            (0..rows)
                .map(|index| evaluated(&self.package, row(index).each_ref()))
                .collect::<std::result::Result<Vec<_>, _>>()
                .map(|rows| Tensor::cat(&rows, 0))
        };
        answered(output, sample)
    }

    fn parameters(&self) -> Option<usize> {
        Some(self.package.constants())
    }

    fn program(&self) -> Option<&Path> {
        Some(self.package.path())
    }
}

/// The one tensor that a package answers with.
fn evaluated(package: &shim::Package, inputs: [&Tensor; 3]) -> std::result::Result<Tensor, String> {
    let mut outputs = package.run(&inputs).map_err(|error| error.to_string())?;
    match outputs.len() {
        1 => Ok(outputs.remove(0)),
        count => Err(format!("it returns {count} tensors, expected 1")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tch::Kind;

    use super::*;
    use crate::network::{NetworkConfig, ScriptConfig};
    use crate::{Denoiser, Execution, Executor, Network};

    const SIZES: Dimensions = Dimensions {
        horizon: 8,
        action: 2,
        condition: 6,
        train_timesteps: 100,
    };

    fn config() -> NetworkConfig {
        let script = ScriptConfig {
            level_per_position: true,
        };
        AotInductor { script }.into()
    }

    /// The package of torch-shim's tests, and inputs and output of three plans.
    fn fixture() -> Option<(PathBuf, [Tensor; 4])> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            eprintln!("skipped: the package is compiled for Linux on x86-64");
            return None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../torch-shim/tests/package");
        let tensors = Tensor::read_safetensors(folder.join("expected.safetensors")).unwrap();
        let named = |name: &str| {
            let found = tensors.iter().find(|(tensor, _)| tensor == name);
            found.unwrap().1.shallow_clone()
        };
        let tensors = ["sample", "timesteps", "condition", "output"].map(named);
        Some((folder.join("model.pt2"), tensors))
    }

    #[test]
    fn a_package_is_a_network_like_others() {
        let Some((path, [sample, timesteps, condition, output])) = fixture() else {
            return;
        };
        let load = || Network::load_program(&config(), SIZES, &path, Device::Cpu).unwrap();
        let network = load();
        assert!(network.takes_levels_per_position() && network.parameters() == 224);
        assert_eq!(network.program(), Some(path.as_path()));
        for rows in [3, 1, 2] {
            let of = |tensor: &Tensor| tensor.narrow(0, 0, rows);
            let found = network.evaluate(&of(&sample), &of(&timesteps), &of(&condition));
            assert!(found.allclose(&of(&output), 1e-5, 1e-6, false), "{rows}");
        }
        // What it cannot take when it runs is NaN.
        let narrow = Tensor::zeros([3, 5], (Kind::Float, Device::Cpu));
        let found = network.evaluate(&sample, &timesteps, &narrow);
        assert!(found.size() == sample.size() && found.isnan().all().int64_value(&[]) == 1);
        // And it is captured like others.
        let execution = Execution {
            executor: Executor::Graph,
            ..Execution::LIBTORCH
        };
        let (graph, executor) = execution.denoiser(load(), Device::Cpu).unwrap();
        assert_eq!(executor, Executor::Graph);
        let numbers = |tensor: &Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
        let levels = Vec::<i64>::try_from(timesteps.flatten(0, -1)).unwrap();
        let mut found = vec![0.0; 48];
        assert!(graph.evaluate_on_host(
            &numbers(&sample),
            &levels,
            &numbers(&condition),
            &mut found
        ));
        let expected = network.evaluate(&sample, &timesteps, &condition);
        assert_eq!(found, numbers(&expected));
    }

    #[test]
    fn packages_that_do_not_fit_are_refused() {
        let Some((path, _)) = fixture() else {
            return;
        };
        let refusal = |sizes: Dimensions, path: &Path| {
            let refused = Network::load_program(&config(), sizes, path, Device::Cpu);
            refused.err().unwrap().to_string()
        };
        let wide = Dimensions {
            condition: 7,
            ..SIZES
        };
        let found = refusal(wide, &path);
        assert!(
            found.contains("model.pt2") && found.contains("condition [1, 7]"),
            "{found}"
        );
        let long = Dimensions {
            horizon: 16,
            ..SIZES
        };
        let found = refusal(long, &path);
        assert!(found.contains("sample [1, 16, 2]"), "{found}");
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("broken.pt2");
        std::fs::write(&broken, b"PK\x03\x04 no package").unwrap();
        let found = refusal(SIZES, &broken);
        assert!(
            found.contains("broken.pt2") && found.contains("aoti_compile_and_package"),
            "{found}"
        );
        assert!(found.len() < 2000, "{found}");
        // Not without being told what it is told, nor as something to train.
        let untold = serde_json::from_str::<NetworkConfig>(r#"{"kind": "aot_inductor"}"#);
        assert!(untold.unwrap_err().to_string().contains("network.script"));
        assert!(Network::new(&config(), SIZES, Device::Cpu, 1).is_err());
    }
}
