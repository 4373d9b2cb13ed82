//! Parity of the fused U-Nets with the published Python implementations, module by module, on every
//! instruction set that this processor has.
//!
//! Inputs and outputs were recorded from the unmodified reference code with random weights; see
//! `shared/golden/README.md` beside the checkout. Without that folder the tests skip, and say so.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use kinestream_kernels::{Activation, Isa, NamedTensor, Precision, UNet, UNetConfig, UNetKind};
use safetensors::{Dtype, SafeTensors};

/// Largest difference of an output, whose numbers reach 1.4.
const TOLERANCE: f32 = 5e-6;
/// Largest difference inside the network, as a share of a module's largest number.
const MODULE_TOLERANCE: f32 = 5e-6;

#[test]
fn diffusion_policy_unet_matches_the_reference() {
    check("dp_unet_small", UNetKind::DiffusionPolicy, 7);
}

#[test]
fn streaming_diffusion_policy_unet_matches_the_reference() {
    check("sdp_unet_small", UNetKind::StreamingDiffusionPolicy, 6);
}

#[test]
fn fewer_bytes_a_weight_stay_close() {
    let Some(folder) = golden() else { return };
    let weights = File::read(&folder.join("dp_unet_small.safetensors"));
    let recorded = File::read(&folder.join("dp_unet_small_io.safetensors"));
    for (precision, tolerance) in [(Precision::Fp16, 2e-3), (Precision::Int8, 0.1)] {
        let config = UNetConfig {
            precision,
            ..weights.config(UNetKind::DiffusionPolicy, 16)
        };
        let mut network = weights.network(&config);
        let mut worst = 0.0_f32;
        for case in ["b1_t0", "b1_t1", "b1_t37", "b1_t99"] {
            let output = recorded.evaluate(&mut network, case, 0, &mut |_, _, _| {});
            let expected = recorded.floats(&format!("{case}.output"));
            worst = worst.max(distance(&output, &expected));
        }
        println!("{}: within {worst:.1e}", precision.name());
        assert!(worst < tolerance, "{precision:?}: {worst:e}");
    }
}

/// Runs every recorded case of a network and compares its output and all its modules' outputs.
fn check(name: &str, kind: UNetKind, cases: usize) {
    let Some(folder) = golden() else { return };
    let weights = File::read(&folder.join(format!("{name}.safetensors")));
    let recorded = File::read(&folder.join(format!("{name}_io.safetensors")));
    let mut names: Vec<&str> = recorded
        .tensors
        .keys()
        .filter_map(|key| key.strip_suffix(".sample"))
        .collect();
    names.sort_unstable();
    assert_eq!(names.len(), cases, "{names:?}");
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let mut worst = [0.0_f32; 2];
        for case in &names {
            let [batch, horizon, _] = recorded.tensors[&format!("{case}.sample")].0[..] else {
                panic!("{case}: a sample is [B, T, D]")
            };
            let config = UNetConfig {
                isa,
                ..weights.config(kind, horizon)
            };
            let mut network = weights.network(&config);
            let mut seen = HashSet::new();
            for row in 0..batch {
                let mut worst_module = 0.0_f32;
                let mut compare = |at: &str, channels: usize, found: &[f32]| {
                    let key = format!("{case}.act.{at}");
                    let expected = recorded.floats(&key);
                    assert_eq!(recorded.tensors[&key].0[1], channels, "{key}");
                    let expected = &expected[row * found.len()..][..found.len()];
                    let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                    let difference = distance(found, expected) / largest;
                    assert!(
                        difference <= MODULE_TOLERANCE,
                        "{isa:?} {key} differs by {difference:e}"
                    );
                    worst_module = worst_module.max(difference);
                    seen.insert(key);
                };
                let output = recorded.evaluate(&mut network, case, row, &mut compare);
                worst[1] = worst[1].max(worst_module);
                for which in ["output", "output_f64"] {
                    let expected = recorded.floats(&format!("{case}.{which}"));
                    let expected = &expected[row * output.len()..][..output.len()];
                    let difference = distance(&output, expected);
                    assert!(
                        difference <= TOLERANCE,
                        "{isa:?} {case}: {which} differs by {difference:e}"
                    );
                    worst[0] = worst[0].max(difference);
                }
            }
            // The encoder of the levels is folded into tables; the last stage down has nothing to
            // halve, and the reference shows its input again.
            let missed: Vec<_> = recorded
                .tensors
                .keys()
                .filter(|key| key.starts_with(&format!("{case}.act.")) && !seen.contains(*key))
                .filter(|key| !key.ends_with("diffusion_step_encoder"))
                .filter(|key| !key.ends_with("down_modules.2.2"))
                .collect();
            assert!(missed.is_empty(), "modules never shown: {missed:?}");
        }
        println!(
            "{name} on {}: outputs within {:.1e}, modules within {:.1e} of their largest number",
            isa.name(),
            worst[0],
            worst[1]
        );
    }
}

/// A safetensors file: shapes, and numbers as fp32.
struct File {
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
    metadata: HashMap<String, String>,
}

impl File {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let numbers = |tensor: &safetensors::tensor::TensorView<'_>| -> Vec<f64> {
            let data = tensor.data();
            match tensor.dtype() {
                Dtype::F32 => (data.chunks_exact(4))
                    .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
                    .collect(),
                Dtype::F64 => (data.chunks_exact(8))
                    .map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()))
                    .collect(),
                Dtype::I64 => (data.chunks_exact(8))
                    .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f64)
                    .collect(),
                other => panic!("{other:?}"),
            }
        };
        Self {
            tensors: (tensors.iter())
                .map(|(name, tensor)| {
                    (name.to_owned(), (tensor.shape().to_vec(), numbers(&tensor)))
                })
                .collect(),
            metadata: header.metadata().clone().unwrap_or_default(),
        }
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let (_, values) = (self.tensors.get(name)).unwrap_or_else(|| panic!("{name} is missing"));
        values.iter().map(|value| *value as f32).collect()
    }

    fn config(&self, kind: UNetKind, horizon: usize) -> UNetConfig {
        let number = |key: &str| self.metadata[key].parse().unwrap();
        UNetConfig {
            kind,
            channels: serde_json::from_str(&self.metadata["down_dims"]).unwrap(),
            level_embedding: number("diffusion_step_embed_dim"),
            observation_embedding: 0,
            kernel_size: number("kernel_size"),
            groups: number("n_groups"),
            activation: Activation::Mish,
            modulation_scale: self.metadata["cond_predict_scale"] == "True",
            horizon,
            action: 2,
            condition: 40,
            precision: Precision::Fp32,
            threads: 1,
            isa: Isa::detect(),
        }
    }

    fn network(&self, config: &UNetConfig) -> UNet {
        UNet::new(config, &|name| {
            let (shape, _) = self.tensors.get(name)?;
            Some(NamedTensor {
                shape: shape.clone(),
                values: Cow::Owned(self.floats(name)),
            })
        })
        .unwrap()
    }

    /// One row of a recorded case.
    fn evaluate(
        &self,
        network: &mut UNet,
        case: &str,
        row: usize,
        observe: &mut dyn FnMut(&str, usize, &[f32]),
    ) -> Vec<f32> {
        let input = |part: &str, length: usize| -> Vec<f32> {
            self.floats(&format!("{case}.{part}"))[row * length..][..length].to_vec()
        };
        let (horizon, action) = (network.config().horizon, network.config().action);
        let sample = input("sample", horizon * action);
        let timesteps: Vec<i64> = match network.config().kind {
            UNetKind::DiffusionPolicy => vec![input("timestep", 1)[0] as i64; horizon],
            _ => (input("timestep", horizon).iter())
                .map(|timestep| *timestep as i64)
                .collect(),
        };
        let condition = input("global_cond", network.config().condition);
        let mut output = vec![0.0; horizon * action];
        network.evaluate_observed(&sample, &timesteps, &condition, &mut output, observe);
        let mut again = vec![0.0; horizon * action];
        network.evaluate(&sample, &timesteps, &condition, &mut again);
        assert_eq!(output, again, "{case}");
        output
    }
}

fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

/// The folder of the recordings, if it is there.
fn golden() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden/sdp_dp");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}
