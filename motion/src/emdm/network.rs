//! The network of EMDM: a transformer that tells a clean clip from a noisy one, and convolutions over
//! frames behind it.
//!
//! Tokens of the transformer are patches of embedded frames, with one before them for the pose that
//! the clip begins with and one for that it ends with. Timestep, label and latent are added to all
//! tokens. Where a patch stands is told from both ends, so that a clip knows how much is left of it.

use kinestream_diffusion::network::{seeded, timestep_table};
use tch::nn::{self, Module, VarStore};
use tch::{Device, Kind, Tensor};

use super::conditions::{Conditions, PATH_SIZE};
use super::config::ClipConfig;

/// Width of sinusoids of timesteps and places.
pub(super) const SINUSOIDS: i64 = 64;
/// Tokens before those of the patches.
const BEFORE: i64 = 2;
/// Negative slope of the layers that the latent goes through.
const WIDENING: i64 = 4;

/// Predicts clean clips.
#[derive(Debug)]
pub struct ClipNetwork {
    store: VarStore,
    input: nn::Linear,
    level: nn::Sequential,
    latent: Option<nn::Sequential>,
    label: nn::Embedding,
    start: nn::Linear,
    end: nn::Linear,
    path: nn::Linear,
    place: nn::Linear,
    layers: Vec<Layer>,
    norm: nn::LayerNorm,
    output: nn::Linear,
    refinement: Option<Refinement>,
    levels: Tensor,
    places: Tensor,
}

impl ClipNetwork {
    /// Fresh parameters, which depend on `seed` alone, for frames of `size` numbers and so many
    /// labels. The configuration has been checked.
    pub fn new(config: &ClipConfig, size: i64, labels: usize, device: Device, seed: u64) -> Self {
        let store = VarStore::new(device);
        let width = config.width;
        let token = size * config.patch as i64;
        seeded(seed, move || {
            let root = store.root();
            let linear = |name: &str, inputs: i64, outputs: i64| {
                nn::linear(&root / name, inputs, outputs, nn::LinearConfig::default())
            };
            let two = |name: &str, inputs: i64| {
                let path = &root / name;
                nn::seq()
                    .add(nn::linear(
                        &path / 0,
                        inputs,
                        width,
                        nn::LinearConfig::default(),
                    ))
                    .add_fn(Tensor::silu)
                    .add(nn::linear(
                        &path / 1,
                        width,
                        width,
                        nn::LinearConfig::default(),
                    ))
            };
            Self {
                input: linear("input", token, width),
                level: two("level", SINUSOIDS),
                latent: (config.latent > 0).then(|| two("latent", config.latent)),
                label: nn::embedding(
                    &root / "label",
                    labels as i64 + 1,
                    width,
                    nn::EmbeddingConfig::default(),
                ),
                start: linear("start", size + 1, width),
                end: linear("end", size + 1, width),
                path: linear("path", PATH_SIZE, width),
                place: linear("place", 2 * SINUSOIDS, width),
                layers: (0..config.layers)
                    .map(|layer| Layer::new(&(&root / "layers" / layer), width, config.heads))
                    .collect(),
                norm: nn::layer_norm(&root / "norm", vec![width], nn::LayerNormConfig::default()),
                output: linear("output", width, token),
                refinement: (config.refinement > 0)
                    .then(|| Refinement::new(&(&root / "refinement"), size, config.refinement)),
                levels: timestep_table(config.steps() as i64, SINUSOIDS, device),
                places: timestep_table(config.most_patches() as i64, SINUSOIDS, device),
                store,
            }
        })
    }

    /// The parameters.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// The parameters, for freezing.
    pub fn store_mut(&mut self) -> &mut VarStore {
        &mut self.store
    }

    /// Sinusoids of the timesteps `[T, 64]`.
    pub(crate) fn levels(&self) -> &Tensor {
        &self.levels
    }

    /// The clean clips `[B, P, patch E]`: from noisy ones, the sinusoids of their timesteps
    /// `[B, 64]`, the conditions and, for a generator, its latent `[B, R]`.
    pub(crate) fn predict(
        &self,
        sample: &Tensor,
        levels: &Tensor,
        conditions: &Conditions,
        latent: Option<&Tensor>,
    ) -> Tensor {
        let mut shared = self.level.forward(levels) + self.label.forward(&conditions.label);
        if let (Some(layers), Some(latent)) = (&self.latent, latent) {
            shared += layers.forward(latent);
        }
        let shared = shared.unsqueeze(1);
        let at = |places: &Tensor| {
            let size = places.size();
            self.places
                .index_select(0, &places.flatten(0, -1))
                .view([size[0], size[1], SINUSOIDS])
        };
        let places = Tensor::cat(&[at(&conditions.from_start), at(&conditions.to_end)], 2);
        let patches = self.input.forward(sample)
            + self.place.forward(&places)
            + self.path.forward(&conditions.path);
        let start = self.start.forward(&conditions.start).unsqueeze(1);
        let end = self.end.forward(&conditions.end).unsqueeze(1);
        let mut state = Tensor::cat(&[start, end, patches], 1) + shared;
        let mask = (!conditions.even).then(|| mask(conditions));
        for layer in &self.layers {
            state = layer.forward(&state, mask.as_ref());
        }
        let count = sample.size()[1];
        let clean = self
            .output
            .forward(&self.norm.forward(&state.narrow(1, BEFORE, count)));
        match &self.refinement {
            Some(refinement) => refinement.forward(&clean, sample, levels, conditions),
            None => clean,
        }
    }
}

/// Convolutions over frames, on what the transformer makes and the noisy clip beside it.
#[derive(Debug)]
struct Refinement {
    input: nn::Conv1D,
    level: nn::Linear,
    middle: nn::Conv1D,
    output: nn::Conv1D,
    size: i64,
}

impl Refinement {
    fn new(path: &nn::Path<'_>, size: i64, width: i64) -> Self {
        let convolution = |name: &str, inputs, outputs, dilation: i64| {
            let config = nn::ConvConfig {
                padding: 2 * dilation,
                dilation,
                ..nn::ConvConfig::default()
            };
            nn::conv1d(path / name, inputs, outputs, 5, config)
        };
        let output = {
            let config = nn::ConvConfig {
                padding: 2,
                ws_init: nn::Init::Const(0.0),
                ..nn::ConvConfig::default()
            };
            nn::conv1d(path / "output", width, size, 5, config)
        };
        Self {
            input: convolution("input", 2 * size, width, 1),
            level: nn::linear(
                path / "level",
                SINUSOIDS,
                width,
                nn::LinearConfig::default(),
            ),
            middle: convolution("middle", width, width, 2),
            output,
            size,
        }
    }

    /// Clean clips `[B, P, patch E]` without what sets their frames apart.
    fn forward(
        &self,
        clean: &Tensor,
        sample: &Tensor,
        levels: &Tensor,
        conditions: &Conditions,
    ) -> Tensor {
        let shape = clean.size();
        let frames = |patches: &Tensor| patches.reshape([shape[0], -1, self.size]);
        let (made, noisy) = (frames(clean), frames(sample));
        let within = (!conditions.even).then(|| {
            let patch = shape[2] / self.size;
            conditions.within.repeat_interleave_self_int(patch, 1, None)
        });
        let mut input = Tensor::cat(&[&made, &noisy], 2);
        if let Some(within) = &within {
            input *= within;
        }
        // Channels before frames, as convolutions want it.
        let within = within.map(|within| within.transpose(1, 2));
        let cut = |state: Tensor| match &within {
            Some(within) => state * within,
            None => state,
        };
        let level = self.level.forward(levels).unsqueeze(2);
        let state = cut((self.input.forward(&input.transpose(1, 2)) + level).silu());
        let state = cut((&state + self.middle.forward(&state)).silu());
        let change = self.output.forward(&state).transpose(1, 2);
        (made + change).reshape(shape.as_slice())
    }
}

/// Which tokens are looked at `[B, 1, 1, 2 + P]`.
fn mask(conditions: &Conditions) -> Tensor {
    let within = conditions.within.squeeze_dim(2);
    let before = Tensor::ones([within.size()[0], BEFORE], (Kind::Float, within.device()));
    Tensor::cat(&[before, within], 1)
        .gt(0.5)
        .unsqueeze(1)
        .unsqueeze(1)
}

/// One layer: attention, then two linear maps, each on the normalised state and added to it.
#[derive(Debug)]
struct Layer {
    first_norm: nn::LayerNorm,
    question: nn::Linear,
    answer: nn::Linear,
    second_norm: nn::LayerNorm,
    widen: nn::Linear,
    narrow: nn::Linear,
    heads: i64,
}

impl Layer {
    fn new(path: &nn::Path<'_>, width: i64, heads: i64) -> Self {
        let linear = |name: &str, inputs, outputs| {
            nn::linear(path / name, inputs, outputs, nn::LinearConfig::default())
        };
        let norm =
            |name: &str| nn::layer_norm(path / name, vec![width], nn::LayerNormConfig::default());
        Self {
            first_norm: norm("first_norm"),
            question: linear("question", width, 3 * width),
            answer: linear("answer", width, width),
            second_norm: norm("second_norm"),
            widen: linear("widen", width, WIDENING * width),
            narrow: linear("narrow", WIDENING * width, width),
            heads,
        }
    }

    fn forward(&self, state: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let (count, tokens, width) = state.size3().unwrap_or_default();
        let asked = self
            .question
            .forward(&self.first_norm.forward(state))
            .view([count, tokens, 3, self.heads, width / self.heads])
            .permute([2, 0, 3, 1, 4]);
        let seen = Tensor::scaled_dot_product_attention(
            &asked.select(0, 0),
            &asked.select(0, 1),
            &asked.select(0, 2),
            mask,
            0.0,
            false,
            None,
            false,
        );
        let seen = seen.transpose(1, 2).reshape([count, tokens, width]);
        let state = state + self.answer.forward(&seen);
        let wide = self
            .widen
            .forward(&self.second_norm.forward(&state))
            .gelu("none");
        &state + self.narrow.forward(&wide)
    }
}

#[cfg(test)]
mod tests {
    use super::super::critic::ClipCritic;
    use super::*;

    fn config() -> ClipConfig {
        ClipConfig {
            patch: 2,
            longest: 16,
            width: 16,
            layers: 2,
            heads: 2,
            refinement: 8,
            latent: 3,
            ..ClipConfig::default()
        }
    }

    fn largest(tensor: &Tensor) -> f64 {
        f64::try_from(tensor.abs().max()).unwrap()
    }

    #[test]
    fn a_clip_does_not_see_what_is_behind_its_end() {
        let _guard = tch::no_grad_guard();
        let network = ClipNetwork::new(&config(), 5, 4, Device::Cpu, 1);
        let critic = ClipCritic::new((16, 2), 10, 4, Device::Cpu, 1);
        let sample = Tensor::randn([2, 6, 10], (Kind::Float, Device::Cpu));
        let latent = Tensor::randn([2, 3], (Kind::Float, Device::Cpu));
        let levels = network.levels().narrow(0, 3, 2);
        let uneven = Conditions::new(&[4, 6], 4, 5, Device::Cpu).labelled(&[1, 2]);
        let made = network.predict(&sample, &levels, &uneven, Some(&latent));
        assert_eq!(made.size(), [2, 6, 10]);
        let alone = Conditions::new(&[4], 4, 5, Device::Cpu).labelled(&[1]);
        let short = sample.narrow(0, 0, 1).narrow(1, 0, 4);
        let again = network.predict(
            &short,
            &levels.narrow(0, 0, 1),
            &alone,
            Some(&latent.narrow(0, 0, 1)),
        );
        assert!(largest(&(again - made.narrow(0, 0, 1).narrow(1, 0, 4))) < 1e-5);
        let scores = critic.score(&sample, &sample, &levels, &uneven);
        let score = critic.score(&short, &short, &levels.narrow(0, 0, 1), &alone);
        assert!(largest(&(scores.narrow(0, 0, 1) - score)) < 1e-5);
    }

    #[test]
    fn every_condition_changes_what_is_made() {
        let _guard = tch::no_grad_guard();
        let network = ClipNetwork::new(&config(), 5, 4, Device::Cpu, 1);
        let sample = Tensor::randn([1, 6, 10], (Kind::Float, Device::Cpu));
        let levels = network.levels().narrow(0, 0, 1);
        let plain = || Conditions::new(&[6], 4, 5, Device::Cpu);
        let made = |conditions: &Conditions| network.predict(&sample, &levels, conditions, None);
        let before = made(&plain());
        let frame = Tensor::zeros([1, 5], (Kind::Float, Device::Cpu));
        let places = Tensor::zeros([1, 6, 2], (Kind::Float, Device::Cpu));
        for asked in [
            plain().labelled(&[2]),
            plain().starting(&frame),
            plain().ending(&frame),
            plain().along(&places),
        ] {
            assert!(largest(&(made(&asked) - &before)) > 1e-4);
        }
    }
}
