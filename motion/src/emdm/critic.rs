//! The critic of EMDM: it tells true successors of noisy clips from made ones.

use kinestream_diffusion::network::seeded;
use tch::nn::{self, Module, VarStore};
use tch::{Device, Kind, Tensor};

use super::conditions::Conditions;
use super::network::SINUSOIDS;

/// Tells true successors of noisy clips from made ones. It does not normalise: a critic that does
/// cannot tell how far off a sample is, and the generator that follows it loses modes.
#[derive(Debug)]
pub(crate) struct ClipCritic {
    store: VarStore,
    input: nn::Linear,
    level: nn::Linear,
    label: nn::Embedding,
    blocks: Vec<nn::Conv1D>,
    output: nn::Sequential,
}

impl ClipCritic {
    /// Fresh parameters, which depend on `seed` alone.
    pub(crate) fn new(
        (width, layers): (i64, usize),
        token: i64,
        labels: usize,
        device: Device,
        seed: u64,
    ) -> Self {
        let store = VarStore::new(device);
        seeded(seed, move || {
            let root = store.root();
            let linear = |path: nn::Path<'_>, inputs, outputs| {
                nn::linear(path, inputs, outputs, nn::LinearConfig::default())
            };
            let block = |index: usize| {
                let config = nn::ConvConfig {
                    padding: 1,
                    ..nn::ConvConfig::default()
                };
                nn::conv1d(&root / "blocks" / index, width, width, 3, config)
            };
            Self {
                input: linear(&root / "input", 2 * token, width),
                level: linear(&root / "level", SINUSOIDS, width),
                label: nn::embedding(
                    &root / "label",
                    labels as i64 + 1,
                    width,
                    nn::EmbeddingConfig::default(),
                ),
                blocks: (0..layers).map(block).collect(),
                output: nn::seq()
                    .add(linear(&root / "output" / 0, width, width))
                    .add_fn(Tensor::silu)
                    .add(linear(&root / "output" / 1, width, 1)),
                store,
            }
        })
    }

    /// The parameters.
    pub(crate) fn store(&self) -> &VarStore {
        &self.store
    }

    /// Scores `[B, 1]`, positive for true: `next` has one step less noise than `sample`, both
    /// `[B, P, patch E]`.
    pub(crate) fn score(
        &self,
        next: &Tensor,
        sample: &Tensor,
        levels: &Tensor,
        conditions: &Conditions,
    ) -> Tensor {
        let within = &conditions.within;
        let shared = self.level.forward(levels) + self.label.forward(&conditions.label);
        let tokens = self.input.forward(&Tensor::cat(&[next, sample], 2)) + shared.unsqueeze(1);
        // Channels before patches, as convolutions want it.
        let within = within.transpose(1, 2);
        let mut state = tokens.silu().transpose(1, 2) * &within;
        for block in &self.blocks {
            state = (&state + block.forward(&state).silu()) * &within;
        }
        let count = within.sum_dim_intlist([2].as_slice(), false, Kind::Float);
        let mean = state.sum_dim_intlist([2].as_slice(), false, Kind::Float) / count;
        self.output.forward(&mean)
    }
}
