//! The terms that modulate a U-Net, in two halves: of the noise levels, and of the observation.
//!
//! Activations work on each number alone, so the linear map of an activated pair (levels,
//! observation) is the sum of two: one depends on the levels alone and is kept for every pattern of
//! levels, the other on the observation alone and is kept for every observation.

use super::config::{UNetConfig, UNetKind};
use crate::arena::Arena;
use crate::isa::{Functions, LANES};
use crate::product::{Packed, Source, Window};
use crate::steps::ModulationPlace;
use crate::weights::{Weights, named};
use crate::{Activation, Result};

/// Encoders and linear maps of all residual blocks.
#[derive(Debug)]
pub(super) struct Modulator {
    kind: UNetKind,
    width: usize,
    activation: Activation,
    frequencies: Vec<f32>,
    level_encoder: [Packed; 2],
    observation_encoder: Option<[Packed; 2]>,
    blocks: Vec<Block>,
    /// Numbers of the levels' half and of the observation's half of all blocks.
    lengths: [usize; 2],
    scratch: [Vec<f32>; 2],
}

/// The linear maps of one residual block: scale, if any, and shift.
#[derive(Debug)]
struct Block {
    halvings: usize,
    maps: Vec<Map>,
}

#[derive(Debug)]
struct Map {
    level: Packed,
    observation: Packed,
    offsets: [usize; 2],
}

/// Where tensors come from and packed weights go.
pub(super) struct Packing<'a, 'w> {
    pub(super) config: &'a UNetConfig,
    pub(super) functions: Functions,
    pub(super) arena: &'a mut Arena,
    pub(super) weights: &'a Weights<'w>,
}

impl Packing<'_, '_> {
    fn linear(
        &mut self,
        name: &str,
        [outputs, inputs]: [usize; 2],
        positions: usize,
    ) -> Result<Packed> {
        let path = format!("{name}.weight");
        let weight = named(self.weights, &path, &[outputs, inputs])?;
        let bias = named(self.weights, &format!("{name}.bias"), &[outputs])?;
        let source = Source {
            name: &path,
            outputs,
            inputs,
            taps: 1,
            weight: &|output, input, _| weight[output * inputs + input],
            bias: Some(&bias),
        };
        self.pack(positions, &source)
    }

    fn pack(&mut self, positions: usize, source: &Source<'_>) -> Result<Packed> {
        let precision = self.config.precision;
        Packed::new(self.arena, &self.functions, precision, positions, source)
    }

    /// Positions that have noise levels of their own.
    fn level_positions(&self) -> usize {
        match self.config.kind {
            UNetKind::PerPosition => self.config.horizon,
            _ => 1,
        }
    }
}

impl Modulator {
    pub(super) fn new(packing: &mut Packing<'_, '_>) -> Result<Self> {
        let config = packing.config;
        let width = config.level_embedding;
        let half = width / 2;
        // In single precision, as the networks were trained.
        let step = -(10_000_f64.ln() / (half - 1) as f64) as f32;
        let frequencies = (0..half).map(|index| f64::from(index as f32 * step).exp() as f32);
        let (inputs, places) = match config.kind {
            UNetKind::StreamingDiffusionPolicy => (config.horizon * width, [3, 5]),
            _ => (width, [1, 3]),
        };
        let encoder = |index: usize| format!("diffusion_step_encoder.{}", places[index]);
        let positions = packing.level_positions();
        let level_encoder = [
            packing.linear(&encoder(0), [4 * width, inputs], positions)?,
            packing.linear(&encoder(1), [width, 4 * width], positions)?,
        ];
        let observation_encoder = if config.kind == UNetKind::PerPosition {
            let hidden = 2 * config.observation_embedding;
            let width = config.observation_embedding;
            Some([
                packing.linear("observation_encoder.0", [hidden, config.condition], 1)?,
                packing.linear("observation_encoder.2", [width, hidden], 1)?,
            ])
        } else {
            None
        };
        Ok(Self {
            kind: config.kind,
            width,
            activation: config.activation,
            frequencies: frequencies.collect(),
            level_encoder,
            observation_encoder,
            blocks: Vec::new(),
            lengths: [0, 0],
            scratch: [Vec::new(), Vec::new()],
        })
    }

    /// Adds the maps of the residual block at `path`, whose positions are halved `halvings` times.
    pub(super) fn add(
        &mut self,
        packing: &mut Packing<'_, '_>,
        path: &str,
        channels: usize,
        halvings: usize,
    ) -> Result<ModulationPlace> {
        let config = packing.config;
        let positions = packing.level_positions();
        let positions = if positions == 1 {
            1
        } else {
            positions >> halvings
        };
        let parts = if config.modulation_scale { 2 } else { 1 };
        let rows = parts * channels;
        let level_width = config.level_embedding;
        let mut maps = Vec::with_capacity(parts);
        for part in 0..parts {
            let first = part * channels;
            let (level, observation) = match config.kind {
                UNetKind::PerPosition => {
                    let mut half = |which: &str, inputs: usize, positions: usize| {
                        let name = format!("{path}.{which}.weight");
                        let weight = named(packing.weights, &name, &[rows, inputs])?;
                        let bias = format!("{path}.{which}.bias");
                        let bias = named(packing.weights, &bias, &[rows])?;
                        let source = Source {
                            name: &name,
                            outputs: channels,
                            inputs,
                            taps: 1,
                            weight: &|output, input, _| weight[(first + output) * inputs + input],
                            bias: Some(&bias[first..first + channels]),
                        };
                        packing.pack(positions, &source)
                    };
                    (
                        half("level_encoder", level_width, positions)?,
                        half("observation_encoder", config.observation_embedding, 1)?,
                    )
                }
                _ => {
                    let name = format!("{path}.cond_encoder.1.weight");
                    let inputs = level_width + config.condition;
                    let weight = named(packing.weights, &name, &[rows, inputs])?;
                    let bias = format!("{path}.cond_encoder.1.bias");
                    let bias = named(packing.weights, &bias, &[rows])?;
                    let mut half = |from: usize, inputs_of_half: usize, bias| {
                        let source = Source {
                            name: &name,
                            outputs: channels,
                            inputs: inputs_of_half,
                            taps: 1,
                            weight: &|output, input, _| {
                                weight[(first + output) * inputs + from + input]
                            },
                            bias,
                        };
                        packing.pack(1, &source)
                    };
                    (
                        half(0, level_width, None)?,
                        half(
                            level_width,
                            config.condition,
                            Some(&bias[first..first + channels]),
                        )?,
                    )
                }
            };
            let panels = level.panels() * LANES;
            let offsets = self.lengths;
            self.lengths[0] += panels * positions;
            self.lengths[1] += panels;
            maps.push(Map {
                level,
                observation,
                offsets,
            });
        }
        let place = ModulationPlace {
            scale: (parts == 2).then(|| maps[0].offsets),
            shift: maps[parts - 1].offsets,
            level_positions: positions,
        };
        self.blocks.push(Block { halvings, maps });
        Ok(place)
    }

    /// Numbers of the levels' half and of the observation's half.
    pub(super) fn lengths(&self) -> [usize; 2] {
        self.lengths
    }

    /// The levels' half for a timestep of every position, -1 for clean ones: one timestep for
    /// Diffusion Policy.
    pub(super) fn levels(
        &mut self,
        functions: &Functions,
        arena: &Arena,
        timesteps: &[i64],
        terms: &mut [f32],
    ) {
        let positions = match self.kind {
            UNetKind::PerPosition => timesteps.len(),
            _ => 1,
        };
        let half = self.width / 2;
        let [input, output] = &mut self.scratch;
        // Columns [feature][position]; where there is one position a plain vector, in which the
        // sinusoids of all timesteps follow each other.
        input.clear();
        input.resize(self.width * timesteps.len(), 0.0);
        for (index, timestep) in timesteps.iter().enumerate() {
            for (feature, frequency) in self.frequencies.iter().enumerate() {
                let phase = *timestep as f32 * frequency;
                for (feature, value) in [(feature, phase.sin()), (half + feature, phase.cos())] {
                    let at = match self.kind {
                        UNetKind::PerPosition => feature * positions + index,
                        _ => index * self.width + feature,
                    };
                    input[at] = value;
                }
            }
        }
        let mut window = Window {
            start: 0,
            row: positions,
            stride: 1,
            positions,
        };
        for layer in &self.level_encoder {
            output.clear();
            output.resize(layer.panels() * positions * LANES, 0.0);
            layer.apply(functions, arena, input, &window, output);
            functions.activate(output, self.activation);
            columns(output, layer.outputs, positions, input);
        }
        let mut halvings = 0;
        let deepest = (self.blocks.iter().map(|block| block.halvings).max()).unwrap_or(0);
        loop {
            for block in self
                .blocks
                .iter()
                .filter(|block| block.halvings == halvings)
            {
                for map in &block.maps {
                    let length = map.level.panels() * window.positions * LANES;
                    let terms = &mut terms[map.offsets[0]..][..length];
                    map.level.apply(functions, arena, input, &window, terms);
                }
            }
            if halvings == deepest {
                break;
            }
            halvings += 1;
            if positions > 1 {
                average_pairs(input, &mut window);
            }
        }
    }

    /// The observation's half for a condition.
    pub(super) fn observation(
        &mut self,
        functions: &Functions,
        arena: &Arena,
        condition: &[f32],
        terms: &mut [f32],
    ) {
        let window = Window {
            start: 0,
            row: 1,
            stride: 1,
            positions: 1,
        };
        let [input, output] = &mut self.scratch;
        input.clear();
        input.extend_from_slice(condition);
        match &self.observation_encoder {
            Some(layers) => {
                for layer in layers {
                    output.clear();
                    output.resize(layer.panels() * LANES, 0.0);
                    layer.apply(functions, arena, input, &window, output);
                    functions.activate(output, self.activation);
                    columns(output, layer.outputs, 1, input);
                }
            }
            None => {
                input.resize(condition.len().next_multiple_of(LANES), 0.0);
                functions.activate(input, self.activation);
            }
        }
        for map in self.blocks.iter().flat_map(|block| &block.maps) {
            let length = map.observation.panels() * LANES;
            let terms = &mut terms[map.offsets[1]..][..length];
            map.observation
                .apply(functions, arena, input, &window, terms);
        }
    }
}

/// From [panel][position][16] to [channel][position].
fn columns(panels: &[f32], channels: usize, positions: usize, columns: &mut Vec<f32>) {
    columns.clear();
    for channel in 0..channels {
        let panel = &panels[channel / LANES * positions * LANES..][..positions * LANES];
        columns.extend(panel.iter().skip(channel % LANES).step_by(LANES));
    }
}

/// Replaces neighbouring positions by their mean, as the strided convolutions halve the plan.
fn average_pairs(columns: &mut Vec<f32>, window: &mut Window) {
    let half = window.positions / 2;
    for index in 0..columns.len() / 2 {
        columns[index] = (columns[2 * index] + columns[2 * index + 1]) / 2.0;
    }
    columns.truncate(columns.len() / 2);
    window.positions = half;
    window.row = half;
}
