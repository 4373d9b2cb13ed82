//! The one-dimensional conditional U-Nets of Diffusion Policy and its relatives, at batch 1.

mod build;
mod config;
mod modulation;

pub use config::{UNetConfig, UNetKind};

use crate::cache::Cache;
use crate::isa::LANES;
use crate::steps::{Columns, Program, Step, Terms};
use crate::weights::Weights;
use crate::workers::Workers;
use crate::{Precision, Result};

/// Patterns of noise levels whose terms are kept: those of a ladder with a hundred levels, and the
/// beginning of a plan.
const PATTERNS: usize = 128;
/// Observations whose terms are kept: as many plans may take turns.
const OBSERVATIONS: usize = 8;

/// Is shown what a module made: its name, its channels, and numbers `[C T]`, channel by channel.
pub type Observer<'a> = dyn FnMut(&str, usize, &[f32]) + 'a;

/// A U-Net with packed weights.
pub struct UNet {
    config: UNetConfig,
    program: Program,
    modulator: modulation::Modulator,
    sample: Columns,
    levels: Cache<i64>,
    observations: Cache<f32>,
    workers: Workers,
}

impl UNet {
    /// Packs weights whose names are those of the published implementations.
    ///
    /// # Errors
    /// A configuration that cannot be run, a tensor that is missing, of another shape or beyond the
    /// precision's range, an instruction set that is not there, or no memory.
    pub fn new(config: &UNetConfig, weights: &Weights<'_>) -> Result<Self> {
        config.check()?;
        let functions = config.isa.functions()?;
        let build::Built {
            program,
            modulator,
            sample,
        } = build::build(config, functions, weights)?;
        let [levels, observations] = modulator.lengths();
        Ok(Self {
            levels: Cache::new(PATTERNS, levels),
            observations: Cache::new(OBSERVATIONS, observations),
            workers: Workers::new(config.threads)?,
            config: config.clone(),
            program,
            modulator,
            sample,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// One evaluation: from a sample `[Tp Da]`, row by row, the timestep of every position `[Tp]`,
    /// -1 for clean ones, and a condition `[To Do]` to a prediction `[Tp Da]`.
    ///
    /// Diffusion Policy's network has one noise level; it takes that of the first position.
    ///
    /// # Panics
    /// A slice of another length than the configuration says.
    pub fn evaluate(
        &mut self,
        sample: &[f32],
        timesteps: &[i64],
        condition: &[f32],
        output: &mut [f32],
    ) {
        self.run(sample, timesteps, condition, output, None);
    }

    /// As [`Self::evaluate`], on the caller's thread, showing what every module made to
    /// `observe`.
    pub fn evaluate_observed(
        &mut self,
        sample: &[f32],
        timesteps: &[i64],
        condition: &[f32],
        output: &mut [f32],
        observe: &mut Observer<'_>,
    ) {
        self.run(sample, timesteps, condition, output, Some(observe));
    }

    /// Multiplications of an evaluation whose terms are known: every weight of the convolutions once
    /// per position.
    #[must_use]
    pub fn multiplications(&self) -> usize {
        self.products()
            .map(|product| product.packed.multiplications() * product.window.positions)
            .sum()
    }

    /// Bytes of weights that such an evaluation reads.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.products().map(|product| product.packed.bytes()).sum()
    }

    /// Bytes of all packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.program.arena.used()
    }

    /// Number format of the weights.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.config.precision
    }

    fn products(&self) -> impl Iterator<Item = &crate::steps::Placed> {
        self.program.steps.iter().flat_map(|step| &step.products)
    }

    // Steps are run with a workspace that several threads share.
    #[allow(unsafe_code)]
    fn run(
        &mut self,
        sample: &[f32],
        timesteps: &[i64],
        condition: &[f32],
        output: &mut [f32],
        mut observe: Option<&mut Observer<'_>>,
    ) {
        let UNetConfig {
            kind,
            horizon,
            action,
            ..
        } = self.config;
        assert_eq!(sample.len(), horizon * action, "sample");
        assert_eq!(timesteps.len(), horizon, "timesteps");
        assert_eq!(condition.len(), self.config.condition, "condition");
        assert_eq!(output.len(), horizon * action, "output");
        let program = &self.program;
        let (functions, arena) = (&program.functions, &program.arena);
        let modulator = &mut self.modulator;
        self.workers.begin();
        let distinct = match kind {
            UNetKind::DiffusionPolicy => 1,
            _ => horizon,
        };
        let key = &timesteps[..distinct];
        let levels = self.levels.find_or(key, |terms| {
            modulator.levels(functions, arena, key, terms);
        });
        let observation = self.observations.find_or(condition, |terms| {
            modulator.observation(functions, arena, condition, terms);
        });
        let terms = Terms {
            levels: self.levels.value(levels),
            observation: self.observations.value(observation),
        };
        // SAFETY: no step is running, and the network is borrowed mutably.
        let workspace = unsafe { program.workspace.all() };
        for (position, row) in sample.chunks_exact(action).enumerate() {
            for (channel, value) in row.iter().enumerate() {
                workspace[self.sample.start + channel * self.sample.row + position] = *value;
            }
        }
        for step in &program.steps {
            if observe.is_none() && self.workers.are_ready() {
                self.workers.share(&|part| {
                    // SAFETY: sharing ends when all parts are done, so steps do not overlap.
                    unsafe { program.run(step, (step.parts[part], part), terms) }
                });
            } else {
                // SAFETY: no other thread runs a step.
                unsafe { program.run(step, ((0, step.panel_count()), 0), terms) }
            }
            if let (Some(observe), Some(name)) = (&mut observe, &step.name) {
                // SAFETY: no step is running.
                let columns = columns(step, unsafe { program.workspace.all() });
                observe(name, step.channels, &columns);
            }
        }
        self.workers.end();
        let Some(last) = program.steps.last() else {
            return;
        };
        // SAFETY: no step is running.
        let workspace = unsafe { program.workspace.all() };
        let panels = &workspace[last.panels..];
        for (position, row) in output.chunks_exact_mut(action).enumerate() {
            for (channel, value) in row.iter_mut().enumerate() {
                let panel = channel / LANES * horizon + position;
                *value = panels[panel * LANES + channel % LANES];
            }
        }
    }
}

/// The output of a step, channel by channel.
fn columns(step: &Step, workspace: &[f32]) -> Vec<f32> {
    let at = |channel: usize, position: usize| {
        let panel = channel / LANES * step.positions + position;
        workspace[step.panels + panel * LANES + channel % LANES]
    };
    let positions = step.positions;
    (0..step.channels)
        .flat_map(|channel| (0..positions).map(move |position| (channel, position)))
        .map(|(channel, position)| at(channel, position))
        .collect()
}
