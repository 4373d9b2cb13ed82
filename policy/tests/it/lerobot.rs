//! Parity of imported LeRobot policies with LeRobot 0.4.4 itself.
//!
//! Folders that `save_pretrained` wrote, with random weights, and what `select_action` returned for
//! recorded observations and noise; see `shared/golden/README.md` beside the checkout. Without that
//! folder the tests skip, and say so.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kinestream_diffusion::sampler::Transition;
use kinestream_diffusion::weights::{self, Precision};
use kinestream_diffusion::{Denoiser, NoiseSchedule, Sampler, Solver};
use kinestream_policy::config::ImageSize;
use kinestream_policy::import::{self, Format};
use kinestream_policy::plan::NoiseSource;
use kinestream_policy::{Checkpoint, Image, Pixels, Policy};
use tch::{Device, Kind, Tensor};

/// Of one network evaluation that is fed the recorded input.
const OUTPUT_TOLERANCE: f64 = 5e-6;
/// Of the normalised chunk.
const CHUNK_TOLERANCE: f64 = 1e-5;
/// Of an image's part of the condition.
const FEATURE_TOLERANCE: f64 = 1e-4;
/// Of actions in the task's units, of 512.
const ACTION_TOLERANCE: f64 = 5e-3;

#[test]
fn a_policy_of_states() {
    check("lerobot_state_ddim10");
}

#[test]
fn a_policy_of_images() {
    check("lerobot_image_ddim10");
}

/// DDPM draws noise at every step: tests/peers/recording.py records it, with LeRobot installed.
#[test]
fn ddpm_as_lerobot() {
    let Some(recordings) = std::env::var_os("KINESTREAM_RECORDINGS") else {
        eprintln!("skipped: KINESTREAM_RECORDINGS names no recordings of tests/peers/recording.py");
        return;
    };
    let entries = std::fs::read_dir(recordings).unwrap();
    let folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!folders.is_empty());
    for folder in folders {
        let checkpoint = import::open(&folder, Device::Cpu).unwrap().checkpoint;
        assert_eq!(checkpoint.policy().sampler.solver, Solver::DDPM);
        check_folder(&folder);
    }
}

fn check(name: &str) {
    if let Some(folder) = golden(name) {
        check_folder(&folder);
    }
}

fn check_folder(folder: &Path) {
    let name = folder.display();
    let open = || import::open(folder, Device::Cpu).unwrap();
    let imported = open();
    assert_eq!(imported.format, Format::Lerobot);
    let recorded = Recording::read(folder);
    let output = check_evaluations(&imported.checkpoint, &recorded);
    let (chunk, action) = check_sequence(imported.checkpoint, &recorded);
    println!("{name}: output {output:.1e}, chunk {chunk:.1e}, actions {action:.1e} of 512");

    // Saved in this program's own form it computes the same bits.
    let own = tempfile::tempdir().unwrap();
    let again = open().checkpoint;
    again.save(own.path(), Precision::Fp32).unwrap();
    let saved = Checkpoint::load(own.path(), Device::Cpu).unwrap();
    assert_eq!(sequence(again, &recorded), sequence(saved, &recorded));
}

/// Network evaluations on recorded samples and conditions.
fn check_evaluations(checkpoint: &Checkpoint, recorded: &Recording) -> f64 {
    let timesteps = recorded["unet.timestep"]
        .unsqueeze(1)
        .expand([-1, 16], false);
    let found = tch::no_grad(|| {
        let (sample, condition) = (&recorded["unet.sample"], &recorded["unet.global_cond"]);
        checkpoint.network().evaluate(sample, &timesteps, condition)
    });
    let distance = distance(&found, &recorded["unet.output"]);
    assert!(distance < OUTPUT_TOLERANCE, "{distance:.1e}");
    distance
}

/// Every action of the recorded episode, and the chunks that they come from.
fn check_sequence(checkpoint: Checkpoint, recorded: &Recording) -> (f64, f64) {
    let normalised = checkpoint.normalisers().action.clone();
    let found = sequence(checkpoint, recorded);
    let action = distance(
        &Tensor::from_slice2(&found).to_kind(Kind::Float),
        &recorded["action"],
    );
    assert!(action < ACTION_TOLERANCE, "{action:.1e}");
    let mut rows = found;
    rows.iter_mut().for_each(|row| normalised.normalise(row));
    let chunk = distance(
        &Tensor::from_slice2(&rows).to_kind(Kind::Float),
        &recorded["action_normalised"],
    );
    assert!(chunk < CHUNK_TOLERANCE, "{chunk:.1e}");
    (chunk, action)
}

/// What `select_action` is: one observation in, one action out.
fn sequence(checkpoint: Checkpoint, recorded: &Recording) -> Vec<Vec<f32>> {
    let mut policy = Policy::new(checkpoint, Device::Cpu, 1).unwrap();
    policy.reset(0, 0).unwrap();
    let noise = Replay(recorded.noise(), 0);
    policy.set_noise(0, Box::new(noise)).unwrap();
    let steps = recorded["action"].size()[0];
    let size = policy.action_size();
    (0..steps)
        .map(|step| {
            if step > 0 {
                policy.advance(0, 1);
            }
            let (numbers, pixels) = recorded.observation(step);
            let images: Vec<Image<'_>> = pixels.iter().map(|pixels| image(pixels)).collect();
            policy.observe_images(0, &numbers, &images).unwrap();
            while policy.refine(&[0]).unwrap() > 0 {}
            let plan = policy.plan(0).unwrap();
            plan.actions[plan.current * size..][..size].to_vec()
        })
        .collect()
}

fn image(planes: &[f32]) -> Image<'_> {
    Image {
        size: ImageSize {
            height: 96,
            width: 96,
        },
        pixels: Pixels::Planes(planes),
    }
}

#[test]
fn features_of_images() {
    let Some(folder) = golden("lerobot_image_ddim10") else {
        return;
    };
    let checkpoint = import::open(&folder, Device::Cpu).unwrap().checkpoint;
    let recorded = Recording::read(&folder);
    let images = &recorded["obs.observation.image"];
    let features = tch::no_grad(|| {
        let pixels = checkpoint.normalisers().images[0].normalise_channels(images);
        checkpoint.vision().unwrap().encode(0, &pixels)
    });
    // Rows of the condition: state, features, twice; the first observation fills the history.
    let (width, per_chunk) = (66, 10);
    let starts = Vec::<i64>::try_from(&recorded["chunk_steps"]).unwrap();
    let mut largest = 0.0_f64;
    for (chunk, start) in starts.into_iter().enumerate() {
        let condition = recorded["unet.global_cond"].get(chunk as i64 * per_chunk);
        for (row, step) in [(start - 1).max(0), start].into_iter().enumerate() {
            let expected = condition.narrow(0, row as i64 * width + 2, 64);
            largest = largest.max(distance(&features.get(step), &expected));
        }
    }
    println!("image features: {largest:.1e}");
    assert!(largest < FEATURE_TOLERANCE, "{largest:.1e}");
}

/// DDPM with LeRobot's timesteps against the textbook's formulas in double precision (Ho et al.
/// 2020, equations 6, 7 and 15), written out here once more.
#[test]
fn ddpm_takes_the_steps_of_the_textbook() {
    let Some(folder) = golden("lerobot_state_ddim10") else {
        return;
    };
    for levels in [100, 20] {
        let copy = copy(&folder);
        rewrite(copy.path(), |text| {
            text.replace("\"DDIM\"", "\"DDPM\"").replace(
                "\"num_inference_steps\": 10",
                &format!("\"num_inference_steps\": {levels}"),
            )
        });
        let checkpoint = import::open(copy.path(), Device::Cpu).unwrap().checkpoint;
        let policy = checkpoint.policy().clone();
        assert_eq!(policy.sampler.solver, Solver::DDPM);
        let schedule = NoiseSchedule::new(&policy.schedule).unwrap();
        let ladder = schedule.ladder(levels).unwrap();
        let sampler = Sampler::new(policy.sampler, schedule.clone()).unwrap();
        let normal = |seed| {
            tch::manual_seed(seed);
            Tensor::randn([1, 16, 2], (Kind::Float, Device::Cpu))
        };
        let step = 100 / levels as i64;
        for level in (1..=levels).rev() {
            let timestep = step * (level as i64 - 1);
            let next = if level == 1 { -1 } else { timestep - step };
            assert_eq!(
                (ladder.timestep(level), ladder.timestep(level - 1)),
                (timestep, next)
            );
            let (sample, output, noise) = (normal(1), normal(2), normal(3));
            let moves = vec![
                Transition {
                    from: timestep,
                    to: next
                };
                16
            ];
            let found = sampler.step(&sample, &output, &moves, Some(&noise));

            let [sample, output, noise] =
                [sample, output, noise].map(|it| it.to_kind(Kind::Double));
            let (alpha, previous) = (
                schedule.alpha_cumprod(timestep),
                schedule.alpha_cumprod(next),
            );
            // In the precision that LeRobot has it in: it is near 1.
            let ratio = f64::from(alpha as f32 / previous as f32);
            let clean = (&sample - output * (1.0 - alpha).sqrt()) / alpha.sqrt();
            let clean = clean.clamp(-1.0, 1.0);
            let mean = clean * (previous.sqrt() * (1.0 - ratio) / (1.0 - alpha))
                + sample * (ratio.sqrt() * (1.0 - previous) / (1.0 - alpha));
            let variance = (1.0 - previous) / (1.0 - alpha) * (1.0 - ratio);
            let expected = mean + noise * variance.sqrt();
            assert!(distance(&found, &expected) < 2e-5, "{levels} {level}");
        }
    }
}

#[test]
fn what_is_wrong_is_said_once_with_file_and_remedy() {
    let Some(folder) = golden("lerobot_state_ddim10") else {
        return;
    };
    let before = "policy_preprocessor.json";
    let statistics = "policy_preprocessor_step_3_normalizer_processor.safetensors";
    let says = |change: &dyn Fn(&Path), parts: &[&str]| {
        let copy = copy(&folder);
        change(copy.path());
        let Err(error) = import::open(copy.path(), Device::Cpu) else {
            panic!("{parts:?} expected");
        };
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
    };
    let remove = |name: &'static str| move |at: &Path| std::fs::remove_file(at.join(name)).unwrap();
    says(
        &remove("model.safetensors"),
        &["model.safetensors is missing"],
    );
    says(
        &remove(before),
        &["policy_preprocessor.json is missing", "copy both"],
    );
    says(&remove(statistics), &[statistics]);
    says(
        &|at| {
            remove(before)(at);
            remove("policy_postprocessor.json")(at);
        },
        &["no statistics of normalisation"],
    );
    says(
        &|at| {
            let text = std::fs::read_to_string(at.join(before)).unwrap();
            let text = text.replace("to_batch_processor", "tokenizer_processor");
            std::fs::write(at.join(before), text).unwrap();
        },
        &[before, "step 1, `tokenizer_processor`, is not supported"],
    );
    // Outside of the folder nothing is read.
    says(
        &|at| {
            let text = std::fs::read_to_string(at.join(before)).unwrap();
            let text = text.replace("policy_preprocessor_step", "../policy_preprocessor_step");
            std::fs::write(at.join(before), text).unwrap();
        },
        &[before, "`state_file` names no file of the folder"],
    );
    says(
        &|at| {
            let path = at.join("model.safetensors");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        },
        &["model.safetensors", "not a complete safetensors file"],
    );
    says(
        &|at| {
            change_tensors(&at.join("model.safetensors"), |name, tensor| match name {
                "diffusion.unet.final_conv.1.bias" | "diffusion.unet.final_conv.1.weight" => None,
                "diffusion.unet.mid_modules.0.conv1.block.0.bias" => Some(tensor.narrow(0, 0, 5)),
                "diffusion.unet.mid_modules.1.conv1.block.0.bias" => {
                    Some(tensor.to_kind(Kind::Int))
                }
                _ => Some(tensor),
            });
        },
        &[
            "`diffusion.unet.final_conv.1.bias` [2] is missing",
            "`diffusion.unet.final_conv.1.weight` [2, 32, 1] is missing",
            "`diffusion.unet.mid_modules.0.conv1.block.0.bias` has shape [5], the network expects [128]",
            "`diffusion.unet.mid_modules.1.conv1.block.0.bias` has type Int",
        ],
    );
    says(
        &|at| {
            change_tensors(&at.join(statistics), |name, tensor| {
                (!name.starts_with("observation.state.m")).then_some(tensor)
            });
        },
        &["`observation.state.min` is missing, `observation.state.max` is missing"],
    );
    says(
        &|at| {
            rewrite(at, |text| {
                text.replace("\"horizon\": 16", "\"horizon\": 14")
            })
        },
        &["config.json", "horizon 14 does not fit"],
    );
}

#[test]
fn images_of_another_size_are_refused_by_name() {
    let Some(folder) = golden("lerobot_image_ddim10") else {
        return;
    };
    let checkpoint = import::open(&folder, Device::Cpu).unwrap().checkpoint;
    let mut policy = Policy::new(checkpoint, Device::Cpu, 1).unwrap();
    let cameras: Vec<_> = policy.cameras().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(cameras, ["image"]);
    let error = policy.observe(0, &[0.0, 0.0]).unwrap_err().to_string();
    assert!(
        error.contains("0 images") && error.contains("image"),
        "{error}"
    );
    let pixels = vec![0; 3 * 48 * 64];
    let small = Image {
        size: ImageSize {
            height: 48,
            width: 64,
        },
        pixels: Pixels::Bytes(&pixels),
    };
    let error = policy.observe_images(0, &[0.0, 0.0], &[small]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("`image` is 48 x 64") && error.contains("96 x 96"),
        "{error}"
    );
}

/// The layout before 0.4, made from the recorded one: statistics inside the model.
#[test]
fn statistics_inside_the_model_give_the_same_actions() {
    let Some(folder) = golden("lerobot_state_ddim10") else {
        return;
    };
    let copy = copy(&folder);
    let at = copy.path();
    let statistics = "policy_preprocessor_step_3_normalizer_processor.safetensors";
    let path = at.join("model.safetensors");
    let mut tensors: Vec<(String, Tensor)> = weights::read(&path)
        .unwrap()
        .into_iter()
        // As a compiled model is saved.
        .map(|(name, tensor)| (name.replace("unet.", "unet._orig_mod."), tensor))
        .collect();
    for (name, tensor) in weights::read(&at.join(statistics)).unwrap() {
        let (feature, statistic) = name.rsplit_once('.').unwrap();
        let prefix = if feature == "action" {
            "unnormalize_outputs"
        } else {
            "normalize_inputs"
        };
        let feature = feature.replace('.', "_");
        tensors.push((format!("{prefix}.buffer_{feature}.{statistic}"), tensor));
    }
    weights::write(&path, &tensors).unwrap();
    for name in [
        "policy_preprocessor.json",
        "policy_postprocessor.json",
        statistics,
    ] {
        std::fs::remove_file(at.join(name)).unwrap();
    }
    let recorded = Recording::read(&folder);
    let open = |at: &Path| import::open(at, Device::Cpu).unwrap().checkpoint;
    assert_eq!(
        sequence(open(at), &recorded),
        sequence(open(&folder), &recorded)
    );
}

/// Recorded numbers, one after the other.
struct Replay(Vec<f32>, usize);

impl NoiseSource for Replay {
    fn draw(&mut self, count: usize) -> Vec<f32> {
        // The chunk behind the last recorded one is begun and never asked for.
        let end = (self.1 + count).min(self.0.len());
        let mut drawn = self.0[self.1..end].to_vec();
        drawn.resize(count, 0.0);
        self.1 = end;
        drawn
    }
}

/// The tensors of `golden_io.safetensors`.
struct Recording(HashMap<String, Tensor>);

impl Recording {
    fn read(folder: &Path) -> Self {
        let tensors = weights::read(&folder.join("golden_io.safetensors")).unwrap();
        Self(tensors.into_iter().collect())
    }

    /// All random numbers in the order that they are drawn: of every chunk what it begins from, and what
    /// its denoise steps add.
    fn noise(&self) -> Vec<f32> {
        let begun = &self["initial_noise"];
        let added = self.0.get("step_noise");
        (0..begun.size()[0])
            .flat_map(|chunk| {
                let steps = added.map_or_else(Vec::new, |added| values(&added.get(chunk)));
                [values(&begun.get(chunk)), steps].concat()
            })
            .collect()
    }

    /// Numbers and images of a step.
    fn observation(&self, step: i64) -> (Vec<f32>, Vec<Vec<f32>>) {
        let of = |name: &str| {
            let rows = self.0.get(&format!("obs.observation.{name}"))?;
            Some(values(&rows.get(step)))
        };
        let numbers = [of("state"), of("environment_state")];
        let numbers = numbers.into_iter().flatten().flatten().collect();
        (numbers, of("image").into_iter().collect())
    }
}

impl std::ops::Index<&str> for Recording {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        &self.0[name]
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    f64::try_from((found - expected).abs().max()).unwrap()
}

/// A writable copy of a golden folder.
fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    copy
}

fn rewrite(folder: &Path, change: impl FnOnce(String) -> String) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed);
    std::fs::write(path, changed).unwrap();
}

fn change_tensors(path: &Path, change: impl Fn(&str, Tensor) -> Option<Tensor>) {
    let tensors: Vec<_> = weights::read(path)
        .unwrap()
        .into_iter()
        .filter_map(|(name, tensor)| change(&name, tensor).map(|tensor| (name, tensor)))
        .collect();
    weights::write(path, &tensors).unwrap();
}

fn golden(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden/lerobot");
    let folder = folder.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}
