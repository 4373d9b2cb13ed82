use std::path::Path;

use kinestream_diffusion::Precision;
use kinestream_diffusion::network::seeded;
use kinestream_diffusion::noise::NoiseStream;
use tch::Device;

use super::*;
use crate::model::testing::{model, modules};
use crate::model::{GeneratorConfig, ModulesConfig, RootGuidance};
use crate::motion_vae::MotionVaeConfig;
use crate::steering;

const FP32: Execution = Execution {
    executor: Executor::Fused,
    precision: Precision::Fp32,
    threads: 1,
};

/// An untrained model whose networks say something.
fn talkative(modules: ModulesConfig) -> MotionModel {
    let model = model(GeneratorConfig::Diffusion(modules));
    seeded(9, || {
        for (_, store) in model.stores() {
            for (_, mut variable) in store.variables() {
                let _ = tch::no_grad(|| variable.uniform_(-0.3, 0.3));
            }
        }
    });
    model
}

fn shipped() -> MotionModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/motion-aamdm");
    MotionModel::load(&folder, Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

/// Steering of characters that are to walk ahead, none quite as the other.
fn walking(random: &mut NoiseStream, count: usize) -> Vec<f32> {
    let places = (0..count).flat_map(|_| [1.0_f32, 2.0, 3.0]);
    places
        .flat_map(|third| [0.05 * third, 0.43 * third, 0.03 * third, 1.0])
        .map(|number| number + 0.05 * random.normal())
        .collect()
}

/// Largest difference of frames, and of the changes that led to them, over some frames of some
/// characters, each from LibTorch's frame before.
fn differences(mut model: MotionModel, count: usize, frames: usize, is_pulled: bool) -> [f32; 2] {
    assert_eq!(model.execute_by(&FP32).unwrap(), Executor::Fused);
    let mut host = model.host.take().unwrap();
    let mut random = NoiseStream::new(5);
    let size = host.size;
    assert_eq!(host.numbers() as i64, model.generator.numbers());
    let mut state = model.starts().narrow(0, 0, 1).repeat([count as i64, 1]);
    let mut worst = [0.0_f32; 2];
    for _ in 0..frames {
        let rows = |numbers: &[f32]| Tensor::from_slice(numbers).view([count as i64, -1]);
        let wanted = walking(&mut random, count);
        let steered: Vec<f32> = (0..count).map(|row| (row % 2) as f32).collect();
        let root: Vec<f32> = (0..count)
            .flat_map(|_| [0.1, 1.2, 0.2].map(|along| along + 0.2 * random.normal()))
            .collect();
        let weight: Vec<f32> = (0..3 * count).map(|_| random.uniform() as f32).collect();
        let drawn = random.normals(count * host.numbers());
        let mut found = vec![f32::NAN; count * 2 * size];
        let told = ModelInputs {
            steering: &wanted,
            steered: &steered,
            pull: is_pulled.then_some([&root, &weight]),
        };
        host.next(&numbers(&state), told, &drawn, &mut found);
        let condition = model.condition(&state, &rows(&wanted), &rows(&steered));
        let (root, weight) = (rows(&root), rows(&weight));
        let pull = is_pulled.then_some(RootGuidance {
            root: &root,
            weight: &weight,
        });
        let expected = model.next(&condition, &model.draw_of(&drawn), pull.as_ref());
        for (at, (found, expected)) in found.iter().zip(numbers(&expected)).enumerate() {
            let part = usize::from(at % (2 * size) >= size);
            worst[part] = worst[part].max((found - expected).abs());
        }
        state = expected;
        let mut told = DecodedFrames::default();
        host.decode(&numbers(&state), &mut told);
        let expected = DecodedFrames::of(&model.embedding, &model.frames(&state)).unwrap();
        for (found, expected) in [
            (&told.hand_made, &expected.hand_made),
            (&told.six, &expected.six),
        ] {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }
    worst
}

#[test]
fn frames_are_those_of_libtorch() {
    let whole = modules();
    let bare = ModulesConfig {
        polishing: None,
        ..modules()
    };
    for modules in [whole, bare] {
        for count in [1, 5] {
            for is_pulled in [false, true] {
                let model = talkative(modules.clone());
                let [frame, change] = differences(model, count, 20, is_pulled);
                assert!(frame < 1e-5 && change < 1e-4, "{frame:e} {change:e}");
            }
        }
    }
}

/// A pull of any strength asks for innovations of many deviations, which the modules were never shown and
/// which they answer with steep slopes: rounding counts for more there.
#[test]
fn the_shipped_character_moves_as_with_libtorch() {
    for (is_pulled, tolerance) in [(false, 1e-5), (true, 5e-5)] {
        for count in [1, 3] {
            let [frame, change] = differences(shipped(), count, 60, is_pulled);
            println!("{count} {is_pulled}: frames {frame:.1e}, changes {change:.1e}");
            assert!(frame < tolerance && change < 2e-4, "{frame:e} {change:e}");
        }
    }
}

/// Weights that were stored in 16 bits lose nothing in 16 bits; in 8 they lose too much.
#[test]
fn sixteen_bits_hold_the_shipped_weights() {
    let frame = |precision| {
        let mut model = shipped();
        let execution = Execution { precision, ..FP32 };
        model.execute_by(&execution).unwrap();
        let state = numbers(&model.starts().narrow(0, 0, 1));
        let host = model.host.as_mut().unwrap();
        let drawn = NoiseStream::new(1).normals(host.numbers());
        let told = ModelInputs {
            steering: &[0.5; steering::SIZE],
            steered: &[1.0],
            pull: None,
        };
        let mut next = vec![0.0; state.len()];
        host.next(&state, told, &drawn, &mut next);
        let mut told = DecodedFrames::default();
        host.decode(&next, &mut told);
        (next, told.six)
    };
    assert_eq!(frame(Precision::Fp32), frame(Precision::Fp16));
    let execution = Execution {
        precision: Precision::Int8,
        ..FP32
    };
    let message = shipped().execute_by(&execution).unwrap_err().to_string();
    assert!(message.contains("write fp16"), "{message}");
}

#[test]
fn a_model_that_the_kernels_do_not_know_stays_with_libtorch() {
    let vae = MotionVaeConfig {
        latent: 4,
        width: 16,
        ..MotionVaeConfig::default()
    };
    let mut model = model(GeneratorConfig::MotionVae(vae));
    let found = model.execute_by(&Execution::auto(1)).unwrap();
    assert_eq!(found, Executor::LibTorch);
    let message = model.execute_by(&FP32).unwrap_err().to_string();
    assert!(message.contains("auto or libtorch"), "{message}");
    let mut model = shipped();
    let found = model.execute_by(&Execution::LIBTORCH).unwrap();
    assert_eq!(found, Executor::LibTorch);
}
