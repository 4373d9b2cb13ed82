//! From named tensors to the steps of a U-Net.

use super::config::UNetConfig;
use super::modulation::{Modulator, Packing};
use crate::Result;
use crate::arena::Arena;
use crate::isa::{Functions, LANES};
use crate::product::{Packed, Source, Window};
use crate::shared::Shared;
use crate::steps::{Columns, ModulationPlace, Norm, Placed, Program, Step};
use crate::weights::{Weights, named};

/// A U-Net, ready to be run.
pub(super) struct Built {
    pub(super) program: Program,
    pub(super) modulator: Modulator,
    /// Where the sample goes.
    pub(super) sample: Columns,
}

/// An activation between steps.
#[derive(Debug, Clone, Copy)]
struct Plane {
    columns: Columns,
    /// Its panels, where one step makes all of it.
    panels: Option<usize>,
    channels: usize,
    positions: usize,
}

struct Builder<'a, 'w> {
    packing: Packing<'a, 'w>,
    modulator: Modulator,
    steps: Vec<Step>,
    /// Numbers of the workspace that are given away.
    used: usize,
    /// Zeros at either end of every channel's positions.
    padding: usize,
}

/// Builds a U-Net from tensors with the names of the published implementations.
pub(super) fn build(
    config: &UNetConfig,
    functions: Functions,
    weights: &Weights<'_>,
) -> Result<Built> {
    let mut arena = Arena::default();
    let mut packing = Packing {
        config,
        functions,
        arena: &mut arena,
        weights,
    };
    let modulator = Modulator::new(&mut packing)?;
    let mut builder = Builder {
        packing,
        modulator,
        steps: Vec::new(),
        used: 0,
        padding: (config.kernel_size / 2).max(1),
    };
    let sample = builder.columns(config.action, config.horizon);
    builder.network(sample)?;
    let widest = builder.steps.iter().map(Step::panel_count).max();
    let padded = widest.unwrap_or(0) * LANES;
    let statistics = [builder.take(padded), builder.take(padded)];
    let scratch = builder.steps.iter().map(Step::scratch).max();
    let scratch = scratch.unwrap_or(0).next_multiple_of(LANES);
    let scratch = [builder.take(config.threads * scratch), scratch];
    let Builder {
        modulator,
        mut steps,
        used,
        ..
    } = builder;
    steps.iter_mut().for_each(|step| step.share(config.threads));
    let program = Program {
        steps,
        arena,
        functions,
        activation: config.activation,
        workspace: Shared::new(used),
        statistics,
        scratch,
        workers: config.threads,
    };
    program.check();
    Ok(Built {
        program,
        modulator,
        sample: sample.columns,
    })
}

impl Builder<'_, '_> {
    fn network(&mut self, sample: Plane) -> Result<()> {
        let config = self.packing.config;
        let channels = &config.channels;
        let deepest = channels.len() - 1;
        // Inputs of the way up: what comes from below, then the skip connection.
        let joints: Vec<Plane> = (0..=deepest)
            .map(|stage| self.columns(2 * channels[stage], config.horizon >> stage))
            .collect();
        let half = |stage: usize, second: bool| {
            let joint = joints[stage].columns;
            let skipped = if second {
                channels[stage] * joint.row
            } else {
                0
            };
            Columns {
                start: joint.start + skipped,
                row: joint.row,
            }
        };
        let mut hidden = sample;
        for (stage, &outputs) in channels.iter().enumerate() {
            let path = format!("down_modules.{stage}");
            hidden = self.residual(&format!("{path}.0"), hidden, outputs, stage, None)?;
            let skip = (stage > 0).then(|| half(stage, true));
            hidden = self.residual(&format!("{path}.1"), hidden, outputs, stage, skip)?;
            if stage < deepest {
                hidden = self.halve(&format!("{path}.2"), hidden)?;
            }
        }
        hidden = self.residual("mid_modules.0", hidden, channels[deepest], deepest, None)?;
        let up = (deepest > 0).then(|| half(deepest, false));
        hidden = self.residual("mid_modules.1", hidden, channels[deepest], deepest, up)?;
        for (index, stage) in (1..=deepest).rev().enumerate() {
            let path = format!("up_modules.{index}");
            let outputs = channels[stage - 1];
            hidden = self.residual(&format!("{path}.0"), joints[stage], outputs, stage, None)?;
            hidden = self.residual(&format!("{path}.1"), hidden, outputs, stage, None)?;
            let up = (stage > 1).then(|| half(stage - 1, false));
            hidden = self.double(&format!("{path}.2"), hidden, up)?;
        }
        hidden = self.convolution_block("final_conv.0", hidden, channels[0], None, None)?;
        if let Some(step) = self.steps.last_mut() {
            step.name = Some("final_conv.0".into());
        }
        let panels = self.panels(config.action, config.horizon);
        let product = self.convolution(
            "final_conv.1",
            hidden,
            config.action,
            1,
            (1, hidden.positions),
            panels,
        )?;
        self.push(None, vec![product], config.action, hidden.positions, None);
        Ok(())
    }

    /// Two convolution blocks with a modulation between them and a shortcut around them.
    fn residual(
        &mut self,
        path: &str,
        input: Plane,
        outputs: usize,
        halvings: usize,
        target: Option<Columns>,
    ) -> Result<Plane> {
        let place = (self.modulator).add(&mut self.packing, path, outputs, halvings)?;
        let first = format!("{path}.blocks.0");
        let hidden = self.convolution_block(&first, input, outputs, Some(place), None)?;
        let second = format!("{path}.blocks.1");
        let output = self.convolution_block(&second, hidden, outputs, None, target)?;
        let residual = match input.panels {
            Some(panels) if input.channels == outputs => panels,
            _ => {
                let panels = self.panels(outputs, input.positions);
                let name = format!("{path}.residual_conv");
                let window = (1, input.positions);
                let shortcut = self.convolution(&name, input, outputs, 1, window, panels)?;
                if let Some(step) = self.steps.last_mut() {
                    step.products.push(shortcut);
                }
                panels
            }
        };
        if let Some(step) = self.steps.last_mut() {
            step.residual = Some(residual);
            step.name = Some(path.into());
        }
        Ok(output)
    }

    /// Convolution, normalisation, activation, modulation.
    fn convolution_block(
        &mut self,
        path: &str,
        input: Plane,
        outputs: usize,
        modulation: Option<ModulationPlace>,
        target: Option<Columns>,
    ) -> Result<Plane> {
        let output = self.plane(outputs, input.positions, target);
        let kernel = self.packing.config.kernel_size;
        let name = format!("{path}.block.0");
        let panels = output.panels.unwrap_or(0);
        let window = (1, input.positions);
        let product = self.convolution(&name, input, outputs, kernel, window, panels)?;
        let vector = |which: &str| -> Result<Vec<f32>> {
            let name = format!("{path}.block.1.{which}");
            let mut values = named(self.packing.weights, &name, &[outputs])?.into_owned();
            values.resize(outputs.next_multiple_of(LANES), 0.0);
            Ok(values)
        };
        let norm = Norm {
            group: outputs / self.packing.config.groups,
            gamma: vector("weight")?,
            beta: vector("bias")?,
            modulation,
        };
        self.push(
            Some(output.columns),
            vec![product],
            outputs,
            input.positions,
            Some(norm),
        );
        Ok(output)
    }

    /// A convolution with stride 2.
    fn halve(&mut self, path: &str, input: Plane) -> Result<Plane> {
        let output = self.plane(input.channels, input.positions / 2, None);
        let panels = output.panels.unwrap_or(0);
        let name = format!("{path}.conv");
        let window = (2, output.positions);
        let product = self.convolution(&name, input, input.channels, 3, window, panels)?;
        self.push(
            Some(output.columns),
            vec![product],
            input.channels,
            output.positions,
            None,
        );
        self.name(path);
        Ok(output)
    }

    /// A transposed convolution of width 4 with stride 2: even and odd outputs are convolutions of
    /// width 2 each, with every other weight, the later input first.
    fn double(&mut self, path: &str, input: Plane, target: Option<Columns>) -> Result<Plane> {
        let channels = input.channels;
        let output = self.plane(channels, 2 * input.positions, target);
        let name = format!("{path}.conv.weight");
        let weights = self.packing.weights;
        let weight = named(weights, &name, &[channels, channels, 4])?;
        let bias = named(weights, &format!("{path}.conv.bias"), &[channels])?;
        let mut products = Vec::with_capacity(2);
        for (phase, taps) in [[3, 1], [2, 0]].into_iter().enumerate() {
            let source = Source {
                name: &name,
                outputs: channels,
                inputs: channels,
                taps: 2,
                weight: &|output, input, tap| weight[(input * channels + output) * 4 + taps[tap]],
                bias: Some(&bias),
            };
            let packed = self.pack(input.positions, &source)?;
            products.push(Placed {
                packed,
                window: Window {
                    // An even output looks at the input before it, an odd one at the one behind.
                    start: input.columns.start - 1 + phase,
                    row: input.columns.row,
                    stride: 1,
                    positions: input.positions,
                },
                panels: output.panels.unwrap_or(0),
                phase: (phase, 2),
            });
        }
        self.push(
            Some(output.columns),
            products,
            channels,
            output.positions,
            None,
        );
        self.name(path);
        Ok(output)
    }

    /// A convolution of `input` with the given width, (stride, output positions), and panels.
    fn convolution(
        &mut self,
        path: &str,
        input: Plane,
        outputs: usize,
        taps: usize,
        (stride, positions): (usize, usize),
        panels: usize,
    ) -> Result<Placed> {
        let inputs = input.channels;
        let name = format!("{path}.weight");
        let weight = named(self.packing.weights, &name, &[outputs, inputs, taps])?;
        let bias = named(self.packing.weights, &format!("{path}.bias"), &[outputs])?;
        let source = Source {
            name: &name,
            outputs,
            inputs,
            taps,
            weight: &|output, input, tap| weight[(output * inputs + input) * taps + tap],
            bias: Some(&bias),
        };
        Ok(Placed {
            packed: self.pack(positions, &source)?,
            window: Window {
                start: input.columns.start - taps / 2,
                row: input.columns.row,
                stride,
                positions,
            },
            panels,
            phase: (0, 1),
        })
    }

    fn pack(&mut self, positions: usize, source: &Source<'_>) -> Result<Packed> {
        let Packing {
            config,
            functions,
            arena,
            ..
        } = &mut self.packing;
        Packed::new(arena, functions, config.precision, positions, source)
    }

    fn push(
        &mut self,
        columns: Option<Columns>,
        products: Vec<Placed>,
        channels: usize,
        positions: usize,
        norm: Option<Norm>,
    ) {
        self.steps.push(Step {
            name: None,
            panels: products[0].panels,
            products,
            channels,
            positions,
            norm,
            residual: None,
            columns,
            parts: Vec::new(),
        });
    }

    /// Names the last step.
    fn name(&mut self, path: &str) {
        if let Some(step) = self.steps.last_mut() {
            step.name = Some(path.into());
        }
    }

    /// Room for an activation; its columns are `target` if there is one.
    fn plane(&mut self, channels: usize, positions: usize, target: Option<Columns>) -> Plane {
        let columns = match target {
            Some(columns) => columns,
            None => self.columns(channels, positions).columns,
        };
        Plane {
            columns,
            panels: Some(self.panels(channels, positions)),
            channels,
            positions,
        }
    }

    /// Room for columns, with zeros at either end of every channel.
    fn columns(&mut self, channels: usize, positions: usize) -> Plane {
        let row = positions + 2 * self.padding;
        let start = self.take(channels * row) + self.padding;
        Plane {
            columns: Columns { start, row },
            panels: None,
            channels,
            positions,
        }
    }

    /// Room for panels.
    fn panels(&mut self, channels: usize, positions: usize) -> usize {
        self.take(channels.next_multiple_of(LANES) * positions)
    }

    fn take(&mut self, length: usize) -> usize {
        let start = self.used;
        self.used += length.next_multiple_of(LANES);
        start
    }
}
