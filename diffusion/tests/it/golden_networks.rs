//! Parity of the U-Nets and of the noise schedule with the published Python implementations.
//!
//! Inputs, outputs and the output of every module were recorded from the unmodified reference code
//! with random weights; see `shared/golden/README.md` beside the checkout. Without that folder the
//! tests skip, and say so.
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use kinestream_diffusion::network::{Dimensions, UNetConfig, UNetKind};
use kinestream_diffusion::{
    Denoiser, Network, NetworkConfig, NoiseSchedule, ScheduleConfig, weights,
};
use tch::{Device, Kind, Tensor};

/// Largest difference of an output, whose numbers reach 1.4.
const TOLERANCE: f64 = 5e-6;
/// Largest difference inside the network, as a share of a module's largest number.
const MODULE_TOLERANCE: f64 = 5e-6;

#[test]
fn diffusion_policy_unet_matches_the_reference() {
    check("dp_unet_small", UNetKind::DiffusionPolicy, 7);
}

#[test]
fn streaming_diffusion_policy_unet_matches_the_reference() {
    check("sdp_unet_small", UNetKind::StreamingDiffusionPolicy, 6);
}

#[test]
fn noise_schedule_matches_the_reference_bit_for_bit() {
    let Some(folder) = golden() else { return };
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    let ours: Vec<f32> = (0..100).map(|t| schedule.alpha_cumprod(t) as f32).collect();
    for name in [
        "ddim16_T16_Ta5",
        "ddpm100_T16_Ta5_zerovar",
        "ddpm100_T16_Ta5",
        "ddpm100_T16_Ta1",
    ] {
        let recorded = read(&folder.join(format!("sdp_rollout_{name}.safetensors")));
        let recorded = Vec::<f32>::try_from(&recorded["alphas_cumprod"]).unwrap();
        let worst = ours
            .iter()
            .zip(&recorded)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        println!("{name}: alphas_cumprod within {worst:e}");
        assert_eq!(ours, recorded, "{name}");
    }
}

/// Runs every recorded case of a network and compares its output and all its modules' outputs.
fn check(name: &str, kind: UNetKind, cases: usize) {
    let Some(folder) = golden() else { return };
    let path = folder.join(format!("{name}.safetensors"));
    let network = load(&path, kind);
    let recorded = read(&folder.join(format!("{name}_io.safetensors")));
    let mut names: Vec<&str> = recorded
        .keys()
        .filter_map(|key| key.strip_suffix(".sample"))
        .collect();
    names.sort_unstable();
    assert_eq!(names.len(), cases, "{names:?}");
    let mut worst = 0.0_f64;
    for case in names {
        let input = |part: &str| &recorded[&format!("{case}.{part}")];
        let (sample, timestep) = (input("sample"), input("timestep"));
        // Diffusion Policy records one timestep for the whole plan, the network takes one each.
        let timesteps = match kind {
            UNetKind::DiffusionPolicy => timestep
                .unsqueeze(1)
                .expand([-1, sample.size()[1]], false)
                .contiguous(),
            _ => timestep.shallow_clone(),
        };
        let mut seen = HashSet::new();
        let mut worst_module = (0.0_f64, String::new());
        let output = tch::no_grad(|| {
            network.unet().unwrap().forward_observed(
                sample,
                &timesteps,
                input("global_cond"),
                &mut |at, found| {
                    let key = format!("{case}.act.{at}");
                    let expected = recorded
                        .get(&key)
                        .unwrap_or_else(|| panic!("{key} was not recorded"));
                    let largest = f64::try_from(expected.abs().max()).unwrap();
                    let difference = distance(found, expected) / largest;
                    assert!(
                        difference <= MODULE_TOLERANCE,
                        "{key} differs by {difference:e}"
                    );
                    if difference > worst_module.0 {
                        worst_module = (difference, at.to_owned());
                    }
                    seen.insert(key);
                },
            )
        });
        let prefix = format!("{case}.act.");
        let unseen: Vec<_> = recorded
            .keys()
            .filter(|key| key.starts_with(&prefix) && !seen.contains(*key))
            .collect();
        assert!(unseen.is_empty(), "modules never shown: {unseen:?}");
        let single = distance(&output, input("output"));
        let double = distance(&output, input("output_f64"));
        println!(
            "{name} {case}: output {single:.1e} (of float64 {double:.1e}), {} modules, worst {:.1e} \
             in {}",
            seen.len(),
            worst_module.0,
            worst_module.1
        );
        assert!(single <= TOLERANCE, "{case}: output differs by {single:e}");
        assert!(
            double <= TOLERANCE,
            "{case}: output differs from float64 by {double:e}"
        );
        // The plain evaluation is the same computation.
        let plain = tch::no_grad(|| network.evaluate(sample, &timesteps, input("global_cond")));
        assert_eq!(distance(&plain, &output), 0.0, "{case}");
        worst = worst.max(single);
    }
    println!("{name}: every output within {worst:.1e}");
}

/// The network that a file's metadata describes, with the file's weights.
fn load(path: &Path, kind: UNetKind) -> Network {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let number = |key: &str| metadata[key].parse::<i64>().unwrap();
    let config = NetworkConfig::unet(
        kind,
        UNetConfig {
            channels: serde_json::from_str(&metadata["down_dims"]).unwrap(),
            level_embedding: number("diffusion_step_embed_dim"),
            observation_embedding: 256,
            kernel_size: number("kernel_size"),
            groups: number("n_groups"),
            activation: Default::default(),
            modulation_scale: metadata["cond_predict_scale"] == "True",
            ..UNetConfig::default()
        },
    );
    let dimensions = Dimensions {
        horizon: number("horizon"),
        action: 2,
        condition: 40,
        train_timesteps: 100,
    };
    let mut network = Network::new(&config, dimensions, Device::Cpu, 0).unwrap();
    weights::load(path, network.store()).unwrap();
    network.freeze();
    network
}

fn read(path: &Path) -> HashMap<String, Tensor> {
    weights::read(path).unwrap().into_iter().collect()
}

fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let difference = found.to_kind(Kind::Double) - expected.to_kind(Kind::Double);
    f64::try_from(difference.abs().max()).unwrap()
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
