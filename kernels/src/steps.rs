//! A network as a list of steps, each a product and what follows it, and the running of them.
//!
//! The steps of a network come one after the other; the panels of a step can be shared by several
//! threads. Every number is computed in the same way however they are shared.

// Shares buffers between threads.
#![allow(unsafe_code)]

use crate::arena::Arena;
use crate::isa::{Activation, Epilogue, Functions, LANES, Modulation, Normalise, Scratch};
use crate::product::{Output, Packed, Window};
use crate::shared::Shared;

/// A product within a step.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) packed: Packed,
    pub(crate) window: Window,
    /// Panels that it writes, in the workspace.
    pub(crate) panels: usize,
    /// The first of its positions among those of the panels, and the distance to the next: (0, 1)
    /// but for the halves of a transposed convolution.
    pub(crate) phase: (usize, usize),
}

/// Normalisation within a step.
#[derive(Debug)]
pub(crate) struct Norm {
    /// Channels of a group.
    pub(crate) group: usize,
    /// Padded to whole panels.
    pub(crate) gamma: Vec<f32>,
    /// Padded to whole panels.
    pub(crate) beta: Vec<f32>,
    /// Place of the modulation's halves, if there is one.
    pub(crate) modulation: Option<ModulationPlace>,
}

/// Where a modulation's halves lie among the terms of the levels and of the observation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModulationPlace {
    /// Scale: offsets in both; none where nothing is scaled.
    pub(crate) scale: Option<[usize; 2]>,
    /// Shift: offsets in both.
    pub(crate) shift: [usize; 2],
    /// Positions of the levels' half.
    pub(crate) level_positions: usize,
}

/// Where columns lie in the workspace: [channel][position].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// Position 0 of channel 0.
    pub(crate) start: usize,
    /// Numbers from one channel to the next.
    pub(crate) row: usize,
}

/// A product, or several that write one array of panels, and what follows.
#[derive(Debug)]
pub(crate) struct Step {
    /// Name of the module whose output the step makes, for observers.
    pub(crate) name: Option<String>,
    pub(crate) products: Vec<Placed>,
    pub(crate) channels: usize,
    pub(crate) positions: usize,
    /// The step's output as panels, in the workspace.
    pub(crate) panels: usize,
    pub(crate) norm: Option<Norm>,
    /// Panels that are added, in the workspace.
    pub(crate) residual: Option<usize>,
    /// The step's output as columns.
    pub(crate) columns: Option<Columns>,
    /// Ranges of panels by worker, where they are shared.
    pub(crate) parts: Vec<(usize, usize)>,
}

/// The steps with all that they work on.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) arena: Arena,
    pub(crate) functions: Functions,
    pub(crate) activation: Activation,
    pub(crate) workspace: Shared,
    /// Means and gains of the channels of the widest step, padded to whole panels.
    pub(crate) statistics: [usize; 2],
    /// Where the products' scratches begin, one after the other by worker, and how long one is.
    pub(crate) scratch: [usize; 2],
    /// Workers that may run at a time.
    pub(crate) workers: usize,
}

/// Terms of the modulations for one evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) levels: &'a [f32],
    pub(crate) observation: &'a [f32],
}

impl Step {
    /// Panels of 16 channels.
    pub(crate) fn panel_count(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Shares the panels among `workers` as evenly as blocks and groups allow.
    pub(crate) fn share(&mut self, workers: usize) {
        let panels = self.panel_count();
        let group = self.norm.as_ref().map_or(1, |norm| norm.group);
        let may_end = |panel: usize| {
            panel == panels
                || (panel * LANES).is_multiple_of(group)
                    && (self.products.iter())
                        .all(|product| panel.is_multiple_of(product.packed.width))
        };
        let ends: Vec<usize> = (0..=panels).filter(|panel| may_end(*panel)).collect();
        let mut first = 0;
        self.parts = (1..=workers)
            .map(|worker| {
                let wished = panels * worker / workers;
                let nearest = ends.iter().filter(|end| **end >= first);
                let end = nearest.min_by_key(|end| end.abs_diff(wished));
                let end = end.copied().unwrap_or(panels);
                let part = (first, end);
                first = end;
                part
            })
            .collect();
    }

    /// Numbers of the longest scratch that its products need.
    pub(crate) fn scratch(&self) -> usize {
        let products = self.products.iter();
        let lengths = products.map(|product| product.packed.scratch(&product.window));
        lengths.max().unwrap_or(0)
    }

    /// One past the last number of the workspace that the step touches.
    pub(crate) fn reach(&self) -> usize {
        let panels = self.panel_count() * self.positions * LANES;
        let products = self.products.iter().flat_map(|product| {
            let written = product.phase.0 + product.window.positions * product.phase.1;
            assert!(written < self.positions + product.phase.1);
            assert_eq!(product.packed.panels(), self.panel_count());
            [
                product.packed.reach(&product.window),
                product.panels + panels,
            ]
        });
        let columns = self.columns.map_or(0, |columns| {
            columns.start + (self.channels - 1) * columns.row + self.positions
        });
        let residual = self.residual.map_or(0, |residual| residual + panels);
        let reach = products.chain([columns, residual, self.panels + panels]);
        reach.fold(0, usize::max)
    }
}

impl Program {
    /// Checks that no step reaches beyond the workspace, which running relies on.
    pub(crate) fn check(&self) {
        let length = self.workspace.len();
        let [scratches, scratch] = self.scratch;
        assert!(scratches + self.workers * scratch <= length);
        for step in &self.steps {
            assert!(step.reach() <= length);
            let padded = step.panel_count() * LANES;
            assert!(step.scratch() <= scratch);
            assert!(self.statistics.iter().all(|at| at + padded <= length));
            if let Some(norm) = &step.norm {
                assert!(norm.gamma.len() == padded && norm.beta.len() == padded);
            }
        }
    }

    /// Runs one range of a step's panels as one of the workers.
    ///
    /// # Safety
    /// The steps before are done, no other thread runs a step but for other ranges of this one as other
    /// workers, and the range is one of [`Step::parts`] or all panels.
    pub(crate) unsafe fn run(
        &self,
        step: &Step,
        (range, worker): ((usize, usize), usize),
        terms: Terms<'_>,
    ) {
        if range.0 == range.1 {
            return;
        }
        assert!(worker < self.workers);
        let [scratches, scratch] = self.scratch;
        let scratch = match scratch {
            0 => std::ptr::null_mut(),
            _ => self.workspace.pointer(scratches + worker * scratch).cast(),
        };
        for product in &step.products {
            let output = Output {
                start: self
                    .workspace
                    .pointer(product.panels + product.phase.0 * LANES),
                panel: step.positions * LANES,
                step: product.phase.1 * LANES,
                scratch: Scratch(scratch),
            };
            // SAFETY: `check` has seen that all of it lies within the workspace. Inputs are the
            // outputs of earlier steps, and no other range has these panels.
            unsafe {
                product.packed.run(
                    &self.functions,
                    &self.arena,
                    self.workspace.pointer(0),
                    &product.window,
                    range,
                    output,
                );
            }
        }
        let normalise = step.norm.as_ref().map(|norm| Normalise {
            group: norm.group,
            gamma: norm.gamma.as_ptr(),
            beta: norm.beta.as_ptr(),
            means: self.workspace.pointer(self.statistics[0]),
            gains: self.workspace.pointer(self.statistics[1]),
            activation: self.activation,
            modulation: norm.modulation.map(|place| place.modulation(step, terms)),
        });
        let finish = Epilogue {
            panels: self.workspace.pointer(step.panels),
            positions: step.positions,
            range,
            channels: step.channels,
            normalise,
            residual: step.residual.map_or(std::ptr::null(), |residual| {
                self.workspace.pointer(residual).cast_const()
            }),
            columns: step.columns.map_or(std::ptr::null_mut(), |columns| {
                self.workspace.pointer(columns.start)
            }),
            row: step.columns.map_or(0, |columns| columns.row),
        };
        // SAFETY: as above; columns of other ranges are other rows, and statistics are by channel.
        unsafe { self.functions.finish(&finish) }
    }
}

impl ModulationPlace {
    /// Pointers to the halves.
    fn modulation(self, step: &Step, terms: Terms<'_>) -> Modulation {
        let padded = step.panel_count() * LANES;
        let halves = |[level, observation]: [usize; 2]| {
            let level = &terms.levels[level..][..padded * self.level_positions];
            let observation = &terms.observation[observation..][..padded];
            (level.as_ptr(), observation.as_ptr())
        };
        let none = (std::ptr::null(), std::ptr::null());
        let (level_scale, observation_scale) = self.scale.map_or(none, halves);
        let (level_shift, observation_shift) = halves(self.shift);
        Modulation {
            level_scale,
            level_shift,
            level_positions: self.level_positions,
            observation_scale,
            observation_shift,
        }
    }
}
