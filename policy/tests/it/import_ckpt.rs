//! Checkpoints that diffusion_policy and Streaming Diffusion Policy saved, against what their own
//! code computes with them.
//!
//! The files in `fixtures` were made, saved and run by that code, with `tests/import/make_ckpt.py`;
//! their networks are tiny and random.
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;

use kinestream_diffusion::{Denoiser, weights};
use kinestream_policy::config::{Alignment, ImageSize, PlanMode, TaskConfig};
use kinestream_policy::import::{self, Format, Imported};
use kinestream_policy::plan::NoiseSource;
use kinestream_policy::{Image, Pixels, Policy, Result};
use tch::{Device, Kind, Tensor};

/// Of actions in units of 512, as for the recorded rollouts.
const ACTION_TOLERANCE: f64 = 5e-3;

const FIXTURES: [&str; 5] = [
    "sdp_ddim",
    "dp_unet_ddpm",
    "dp_unet_ddim",
    "dp_unet_local",
    "dp_transformer",
];

#[test]
fn weights_are_the_averaged_ones_bit_for_bit() {
    for name in FIXTURES {
        let imported = open(&fixture(name)).unwrap();
        assert_eq!(imported.format, Format::DiffusionPolicy);
        assert!(imported.assumed.is_empty(), "{:?}", imported.assumed);
        assert_eq!(
            imported.ignored,
            ["state_dicts.model", "state_dicts.optimizer"]
        );
        let recorded = tensors(&fixture(name));
        let network = imported.checkpoint.network().store().variables();
        // Masks of attention follow from the configuration.
        let expected = recorded
            .keys()
            .filter(|name| name.starts_with("weights.") && !name.ends_with("mask"));
        assert_eq!(expected.count(), network.len());
        for (parameter, value) in network {
            assert_eq!(
                value,
                recorded[&format!("weights.{parameter}")],
                "{name}: {parameter}"
            );
        }
    }
}

#[test]
fn actions_are_those_of_the_code_that_saved_them() {
    for name in FIXTURES {
        check_actions(&fixture(name), &tensors(&fixture(name)));
    }
}

#[test]
fn the_configuration_is_that_of_the_run() {
    let policy = |name| open(&fixture(name)).unwrap().checkpoint;
    let streaming = policy("sdp_ddim");
    assert_eq!(streaming.policy().plan.mode, PlanMode::Released);
    assert_eq!(streaming.policy().plan.levels, Some(16));
    assert_eq!(streaming.network().dimensions().condition, 10);
    assert_eq!(streaming.policy().task.name, "pusht_lowdim");
    let normaliser = &streaming.normalisers().action;
    assert!(normaliser.minimum[0] >= 0.0 && normaliser.maximum[0] <= 512.0);
    let due_only = policy("dp_unet_ddim");
    let plan = &due_only.policy().plan;
    assert_eq!(plan.alignment, Alignment::NewestObservation);
    assert_eq!((plan.horizon, plan.action_steps), (8, 8));
}

#[test]
fn an_imported_policy_is_saved_and_loaded_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let imported = open(&fixture("sdp_ddim")).unwrap();
    let precision = weights::Precision::Fp32;
    imported.checkpoint.save(folder.path(), precision).unwrap();
    let loaded = open(folder.path()).unwrap();
    assert_eq!(loaded.format, Format::Kinestream);
    assert_eq!(loaded.checkpoint.policy(), imported.checkpoint.policy());
    assert_eq!(
        loaded.checkpoint.normalisers(),
        imported.checkpoint.normalisers()
    );
}

#[test]
fn files_that_are_cut_off_are_refused() {
    let bytes = std::fs::read(fixture("sdp_ddim")).unwrap();
    for part in 0..20 {
        let cut = &bytes[..bytes.len() * part / 20];
        let message = message(cut);
        let clear = message.contains("not a complete zip archive") || part == 0;
        assert!(clear, "{part}: {message}");
    }
}

#[test]
fn all_that_does_not_fit_is_listed() {
    let renamed = |from: &str, to: &str| message(&patched("sdp_ddim", from, to));
    let found = renamed("model.final_conv.1.", "model.final_conv.7.");
    for expected in [
        "`model.final_conv.1.bias` [2] is missing",
        "`model.final_conv.1.weight` [2, 8, 1] is missing",
        "`model.final_conv.7.bias` is unknown",
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let found = renamed("normalizer.params_dict.obs.", "normalizer.params_dict.abs.");
    for expected in ["obs.scale` [5] is missing", "obs.offset` [5] is missing"] {
        assert!(found.contains(expected), "{found}");
    }
    // Without the key its default counts, and all modulations have half the outputs.
    let found = renamed("cond_predict_scale", "cond_predict_scali");
    let expected = "`model.down_modules.0.0.cond_encoder.1.weight` has shape [16, 14], the network \
                    expects [8, 14]";
    assert!(found.contains(expected), "{found}");
    let found = renamed("TEDiUnetLowdimPolicy", "TEDiUnetLowdimPolice");
    assert!(
        found.contains("expected DiffusionUnetLowdimPolicy or"),
        "{found}"
    );
    let found = renamed("ema_model", "emu_model");
    assert!(found.contains("expected `ema_model` in it"), "{found}");
    let found = renamed("torch\nFloatStorage", "torch\nShortStorage");
    assert!(
        found.contains("numbers of type Int16 were announced"),
        "{found}"
    );
}

/// The recorded rollouts of `shared/golden/sdp_dp`, from checkpoints of those weights.
#[test]
#[ignore = "writes 190 MB with torch, dill, omegaconf and safetensors of tests/import/requirements.txt; \
            KINESTREAM_PYTHON names the Python that has them"]
fn recorded_rollouts_come_out_of_checkpoints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let recordings = root.join("../shared/golden/sdp_dp");
    assert!(recordings.is_dir(), "{} is not there", recordings.display());
    let python = std::env::var_os("KINESTREAM_PYTHON").unwrap_or("python3".into());
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(python)
        .arg(root.join("tests/import/make_ckpt.py"))
        .arg("golden")
        .args([recordings.as_path(), folder.path()])
        .status();
    assert!(made.unwrap().success());
    let mut count = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let recorded = recordings.join(format!("sdp_rollout_{name}.safetensors"));
        check_actions(&path, &tensors(&recorded));
        count += 1;
    }
    assert_eq!(count, 4);
}

/// Policies with cameras: `tests/import/make_ckpt.py images` makes and runs them, with robomimic and
/// torchvision installed; their encoders have 45 MB each.
#[test]
fn pictures_as_diffusion_policy() {
    let Some(folder) = std::env::var_os("KINESTREAM_CHECKPOINTS") else {
        eprintln!("skipped: KINESTREAM_CHECKPOINTS names no folder of make_ckpt.py images");
        return;
    };
    let paths = std::fs::read_dir(folder).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    let paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "ckpt"))
        .collect();
    assert!(!paths.is_empty());
    for path in paths {
        let imported = open(&path).unwrap();
        assert!(imported.checkpoint.vision().is_some());
        check_actions(&path, &tensors(&path));
    }
}

/// Runs a policy with the recorded random numbers and compares the actions of every call.
fn check_actions(path: &Path, recorded: &HashMap<String, Tensor>) {
    let checkpoint = open(path).unwrap().checkpoint;
    let seen = Seen::of(&checkpoint.policy().task, recorded);
    let steps = checkpoint.policy().plan.observation_steps as i64;
    let action_steps = checkpoint.policy().plan.action_steps;
    let mut policy = Policy::new(checkpoint, Device::Cpu, 1).unwrap();
    policy.reset(0, 0).unwrap();
    policy
        .set_noise(0, Box::new(Recorded::new(recorded)))
        .unwrap();
    let observe = |policy: &mut Policy, at| seen.show(policy, at);
    (0..steps - 1).for_each(|at| observe(&mut policy, at));
    let mut worst = 0.0_f64;
    for call in 0..recorded["action"].size()[0] {
        if call > 0 {
            policy.advance(0, action_steps);
        }
        observe(&mut policy, call + steps - 1);
        while policy.refine(&[0]).unwrap() > 0 {}
        let plan = policy.plan(0).unwrap();
        let size = policy.action_size();
        let due = &plan.actions[plan.current * size..][..action_steps * size];
        let difference = distance(due, &values(&recorded["action"].get(call)));
        assert!(
            difference <= ACTION_TOLERANCE,
            "{}: actions of call {call} differ by {difference:e}",
            path.display()
        );
        worst = worst.max(difference);
    }
    println!(
        "{}: {} evaluations, actions {worst:.1e} of 512",
        path.file_name().unwrap().display(),
        policy.evaluations()
    );
}

/// Recorded observations: numbers, and the pictures of every camera.
struct Seen {
    numbers: Tensor,
    pictures: Vec<(ImageSize, Tensor)>,
}

impl Seen {
    fn of(task: &TaskConfig, recorded: &HashMap<String, Tensor>) -> Self {
        let (mut numbers, mut pictures) = (Vec::new(), Vec::new());
        // One vector.
        numbers.extend(recorded.get("obs").map(Tensor::shallow_clone));
        for part in &task.observation {
            let key = match part.array.as_str() {
                "img" => "image",
                "state" => "agent_pos",
                key => key,
            };
            let rows = recorded
                .get(&format!("obs.{key}"))
                .map(Tensor::shallow_clone);
            match part.image {
                Some(size) => pictures.extend(rows.map(|planes| (size, planes))),
                None => numbers.extend(rows),
            }
        }
        Self {
            numbers: Tensor::cat(&numbers, 1),
            pictures,
        }
    }

    fn show(&self, policy: &mut Policy, at: i64) {
        let planes: Vec<_> = self
            .pictures
            .iter()
            .map(|(_, all)| values(&all.get(at)))
            .collect();
        let images: Vec<_> = std::iter::zip(&self.pictures, &planes)
            .map(|((size, _), planes)| Image {
                size: *size,
                pixels: Pixels::Planes(planes),
            })
            .collect();
        let numbers = values(&self.numbers.get(at));
        policy.observe_images(0, &numbers, &images).unwrap();
    }
}

/// The recorded random numbers, draw by draw.
struct Recorded(VecDeque<Vec<f32>>);

impl Recorded {
    fn new(recorded: &HashMap<String, Tensor>) -> Self {
        let draws = (0..).map_while(|at| recorded.get(&format!("noise.{at:04}")));
        Self(draws.map(values).collect())
    }
}

impl NoiseSource for Recorded {
    fn draw(&mut self, count: usize) -> Vec<f32> {
        let draw = self.0.pop_front().expect("one draw more than was recorded");
        assert_eq!(draw.len(), count, "size of a draw");
        draw
    }
}

fn open(path: &Path) -> Result<Imported> {
    import::open(path, Device::Cpu)
}

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    folder.join(format!("{name}.ckpt"))
}

/// What was recorded beside a checkpoint.
fn tensors(path: &Path) -> HashMap<String, Tensor> {
    let recorded = weights::read(&path.with_extension("safetensors"));
    recorded.unwrap().into_iter().collect()
}

/// The error of a file with these bytes, without its path.
fn message(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.ckpt");
    std::fs::write(&path, bytes).unwrap();
    match import::open(&path, Device::Cpu) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

/// A fixture with some text replaced by as much other text.
fn patched(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(fixture(name)).unwrap();
    let places = |bytes: &[u8], text: &[u8]| -> Vec<usize> {
        let windows = bytes.windows(text.len()).enumerate();
        windows
            .filter(|(_, window)| *window == text)
            .map(|(at, _)| at)
            .collect()
    };
    let found = places(&bytes, from.as_bytes());
    assert!(!found.is_empty(), "{from}");
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    // The checksum in the directory: 0 says that there is none.
    let names = places(&bytes, b"archive/data.pkl");
    let checksum = names[names.len() - 1] - 46 + 16;
    bytes[checksum..checksum + 4].fill(0);
    bytes
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max)
}
