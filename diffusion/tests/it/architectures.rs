//! Every architecture of the registry: shapes, rows of a batch, levels and conditions that count,
//! gradients, weights on disk, and the configuration as it is written.

use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::weights::{self, Precision};
use kinestream_diffusion::{Denoiser, Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

const DIMENSIONS: Dimensions = Dimensions {
    horizon: 8,
    action: 3,
    condition: 6,
    train_timesteps: 20,
};

/// A network whose parameters are all normal, since some begin at zero.
fn network(config: &NetworkConfig, seed: u64) -> Network {
    let network = Network::new(config, DIMENSIONS, Device::Cpu, seed).unwrap();
    let mut random = NoiseStream::new(seed);
    let mut variables: Vec<_> = network.store().variables().into_iter().collect();
    variables.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, variable) in &mut variables {
        let values = Tensor::from_slice(&random.normals(variable.numel())) * 0.3;
        tch::no_grad(|| variable.copy_(&values.view_as(variable)));
    }
    network
}

/// Samples, timesteps and conditions of `rows` plans.
fn inputs(rows: i64, seed: u64) -> [Tensor; 3] {
    let mut random = NoiseStream::new(seed);
    let mut normals = |shape: &[i64]| {
        let count: i64 = shape.iter().product();
        Tensor::from_slice(&random.normals(count as usize)).view(shape)
    };
    let sample = normals(&[rows, DIMENSIONS.horizon, DIMENSIONS.action]);
    let condition = normals(&[rows, DIMENSIONS.condition]);
    let timesteps = Tensor::from_slice(&[7_i64; 8]).repeat([rows, 1]);
    [sample, timesteps, condition]
}

fn evaluate(network: &Network, [sample, timesteps, condition]: &[Tensor; 3]) -> Tensor {
    tch::no_grad(|| network.evaluate(sample, timesteps, condition))
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    f64::try_from((a - b).abs().max()).unwrap()
}

#[test]
fn every_kind_is_either_built_or_loaded() {
    let built: Vec<_> = NetworkConfig::small(DIMENSIONS)
        .iter()
        .map(NetworkConfig::kind)
        .collect();
    for kind in NetworkConfig::KINDS {
        let text = format!(r#"{{"kind": "{kind}", "script": {{"level_per_position": true}}}}"#);
        let program = serde_json::from_str::<NetworkConfig>(&text).ok();
        let is_program = program.is_some_and(|config| config.program_file().is_some());
        assert!(built.contains(kind) != is_program, "{kind}");
    }
}

#[test]
fn rows_of_a_batch_do_not_influence_each_other() {
    for config in NetworkConfig::small(DIMENSIONS) {
        let network = network(&config, 3);
        let all = inputs(3, 5);
        let together = evaluate(&network, &all);
        assert_eq!(together.size(), [3, 8, 3], "{}", config.kind());
        let other = distance(&together.get(0), &together.get(1));
        assert!(other > 1e-3, "{}: {other:e}", config.kind());
        for row in 0..3 {
            let alone = evaluate(
                &network,
                &all.each_ref().map(|input| input.narrow(0, row, 1)),
            );
            let error = distance(&alone.get(0), &together.get(row));
            assert!(error < 1e-4, "{} {row}: {error:e}", config.kind());
        }
    }
}

#[test]
fn levels_and_conditions_count_as_the_architecture_says() {
    for config in NetworkConfig::small(DIMENSIONS) {
        let kind = config.kind();
        let network = network(&config, 3);
        let [sample, timesteps, condition] = inputs(1, 5);
        let change = |timesteps: &Tensor, condition: &Tensor| {
            let [expected, found] = [
                [&sample, &timesteps_of(7), &condition_of(5)].map(Tensor::shallow_clone),
                [&sample, timesteps, condition].map(Tensor::shallow_clone),
            ]
            .map(|inputs| evaluate(&network, &inputs));
            distance(&found, &expected)
        };
        assert_eq!(change(&timesteps, &condition), 0.0, "{kind}");
        assert!(change(&timesteps_of(15), &condition) > 1e-3, "{kind}");
        assert!(change(&timesteps, &(&condition + 1.0)) > 1e-3, "{kind}");
        let one_position = timesteps.copy();
        let _ = one_position.get(0).get(5).fill_(-1);
        let counts = change(&one_position, &condition) > 1e-3;
        assert_eq!(counts, network.takes_levels_per_position(), "{kind}");
    }
}

fn timesteps_of(timestep: i64) -> Tensor {
    Tensor::from_slice(&[timestep; 8]).view([1, 8])
}

fn condition_of(seed: u64) -> Tensor {
    let [_, _, condition] = inputs(1, seed);
    condition
}

#[test]
fn every_parameter_is_trained_and_a_frozen_network_predicts_the_same() {
    for config in NetworkConfig::small(DIMENSIONS) {
        let mut network = network(&config, 3);
        let all = inputs(2, 5);
        let [sample, timesteps, condition] = &all;
        let before = network.evaluate(sample, timesteps, condition);
        before.square().mean(Kind::Float).backward();
        for (name, variable) in network.store().variables() {
            let gradient = variable.grad();
            assert!(gradient.defined(), "{} {name}", config.kind());
        }
        network.freeze();
        let error = distance(&evaluate(&network, &all), &before);
        assert!(error < 1e-5, "{}: {error:e}", config.kind());
    }
}

#[test]
fn weights_on_disk_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for config in NetworkConfig::small(DIMENSIONS) {
        let network = network(&config, 3);
        let path = folder.path().join(config.kind());
        let tensors = weights::snapshot(network.store(), Precision::Fp32);
        weights::write(&path, &tensors).unwrap();
        let again = Network::new(&config, DIMENSIONS, Device::Cpu, 4).unwrap();
        weights::load(&path, again.store()).unwrap();
        let all = inputs(1, 5);
        let error = distance(&evaluate(&network, &all), &evaluate(&again, &all));
        assert_eq!(error, 0.0, "{}", config.kind());
        // The same seed makes the same network.
        let [one, two] = [8, 8].map(|seed| {
            let network = Network::new(&config, DIMENSIONS, Device::Cpu, seed).unwrap();
            weights::snapshot(network.store(), Precision::Fp32)
        });
        assert!(
            one.iter().zip(&two).all(|(a, b)| a.0 == b.0 && a.1 == b.1),
            "{}",
            config.kind()
        );
    }
}

#[test]
fn configurations_are_read_as_they_are_written() {
    for config in NetworkConfig::small(DIMENSIONS) {
        let text = serde_json::to_string(&config).unwrap();
        let read: NetworkConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(read, config);
        let unknown = text.replacen('{', r#"{"wdith": 3, "#, 1);
        let refusal = serde_json::from_str::<NetworkConfig>(&unknown).unwrap_err();
        assert!(refusal.to_string().contains("wdith"), "{refusal}");
    }
    let refusal = serde_json::from_str::<NetworkConfig>(r#"{"kind": "gru"}"#).unwrap_err();
    let message = refusal.to_string();
    for kind in NetworkConfig::KINDS {
        assert!(message.contains(kind), "{message}");
    }
}

/// Checkpoints of before November 2026 have the sizes of a U-Net whatever their kind.
#[test]
fn tables_of_older_versions_are_read() {
    let remains = r#""level_embedding": 16, "observation_embedding": 16, "activation": "mish",
        "modulation_scale": true"#;
    let old = format!(
        r#"{{"kind": "transformer", "channels": [], "kernel_size": 1, "groups": 1, {remains},
            "transformer": {{"observation_steps": 2, "width": 16}}}}"#
    );
    let config: NetworkConfig = serde_json::from_str(&old).unwrap();
    assert_eq!(config.kind(), "transformer");
    config.check(DIMENSIONS).unwrap();
    let old = format!(
        r#"{{"kind": "torch_script", "channels": [256, 512, 1024], "kernel_size": 5, "groups": 8,
            {remains}, "script": {{"level_per_position": false}}}}"#
    );
    let config: NetworkConfig = serde_json::from_str(&old).unwrap();
    assert_eq!(config.program_file(), Some("model.pt"));
    // Sizes of a U-Net never had an effect there, whatever they were.
    let other = old
        .replace("[256, 512, 1024]", "[64, 128]")
        .replace("mish", "silu");
    assert_eq!(
        serde_json::from_str::<NetworkConfig>(&other).unwrap(),
        config
    );
    // A table of the other kind is refused by its key.
    let crossed = old.replace("\"script\"", "\"transformer\"");
    let refusal = serde_json::from_str::<NetworkConfig>(&crossed).unwrap_err();
    assert!(
        refusal.to_string().contains("network.transformer"),
        "{refusal}"
    );
}
