//! The way down a ladder: every evaluation takes every position from its level to the one below,
//! each at its own, with what the solver remembers of that position.
//!
//! A rolling plan keeps its positions at different levels, and a position goes through its
//! evaluations one by one, while it moves along the plan. What the network said of it on the levels
//! above moves with it, so a multistep solver finds the same history in a rolling plan as in a
//! chunk that is denoised at one level. Positions that begin anew, with fresh noise, begin without
//! history and at first order.
//!
//! The coefficients of all levels, for every length of history, are computed once per ladder, in
//! double precision, and stay on the device: a step picks its rows.

use tch::{Device, Kind, Tensor};

use crate::guidance::Guidance;
use crate::sampler::{Transition, table};
use crate::solver::{OutputForm, StepCoefficients, step};
use crate::{NoiseSchedule, Result, Sampler, TimestepSchedule};

/// Takes steps down a ladder for a number of independent streams, each a plan of T positions.
#[derive(Debug)]
pub struct DiffusionSampler {
    sampler: Sampler,
    ladder: TimestepSchedule,
    steps: Option<Steps>,
    memory: Memory,
}

/// Coefficients of all levels and lengths of history.
#[derive(Debug)]
struct Steps {
    rows: Vec<StepCoefficients>,
    conversions: Vec<[f64; CONVERSION]>,
    /// [(K + 1) (H + 1), COLUMNS], in the kind and on the device of the samples seen last.
    table: Option<Tensor>,
}

/// The outputs that positions have seen.
#[derive(Debug)]
struct Memory {
    horizon: usize,
    /// Outputs that are kept of a position, H.
    outputs: usize,
    /// [H, S, T, D], the newest first, zeros where there is none; from the first step on.
    past: Option<Tensor>,
    /// How many of them a position has, S T.
    depths: Vec<usize>,
}

/// Columns of the conversion of sample and output: x0, epsilon, and what a change of x0 takes
/// from epsilon.
const CONVERSION: usize = 5;
/// Columns of a step: the conversion, sample, clean, noise, and four outputs.
const COLUMNS: usize = CONVERSION + 7;

impl DiffusionSampler {
    /// The way down `levels` levels that are spaced as the sampler's schedule says and
    /// laid out for its solver, for `streams` plans of `horizon` positions.
    ///
    /// # Errors
    /// No level at all, or more levels than timesteps.
    pub fn new(sampler: Sampler, levels: usize, streams: usize, horizon: usize) -> Result<Self> {
        let ladder = sampler.ladder(levels)?;
        Ok(Self::on(sampler, ladder, streams, horizon))
    }

    /// The way down a given ladder, which is laid out for the sampler's solver.
    pub fn on(sampler: Sampler, ladder: TimestepSchedule, streams: usize, horizon: usize) -> Self {
        let solver = sampler.config().solver;
        let ladder = ladder.laid_out_for(solver, sampler.schedule());
        let steps = (!solver.is_memoryless()).then(|| Steps::new(&sampler, &ladder));
        Self {
            memory: Memory {
                horizon,
                outputs: solver.history(),
                past: None,
                depths: vec![0; streams * horizon],
            },
            sampler,
            ladder,
            steps,
        }
    }

    /// The sampler.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The schedule that the steps follow.
    pub fn schedule(&self) -> &NoiseSchedule {
        self.sampler.schedule()
    }

    /// The ladder, laid out for the solver.
    pub fn ladder(&self) -> &TimestepSchedule {
        &self.ladder
    }

    /// Timesteps of levels, which is what the network is told.
    pub fn timesteps(&self, levels: &[usize]) -> Vec<i64> {
        levels
            .iter()
            .map(|level| self.ladder.timestep(*level))
            .collect()
    }

    /// Whether a step from any of these levels adds fresh noise.
    pub fn needs_noise(&self, levels: &[usize]) -> bool {
        match &self.steps {
            Some(steps) => levels
                .iter()
                .any(|level| steps.rows[level * (self.memory.outputs + 1)].deviation > 0.0),
            None => self.sampler.needs_noise(&self.transitions(levels)),
        }
    }

    /// Takes the positions of `streams` down by one level; what is clean stays.
    ///
    /// `sample` and `output` (the network's) are [B, T, D] with a row for each of `streams`, whose
    /// numbers are all different; `levels` has B T entries, row by row; `noise`, standard normal
    /// [B, T, D], is needed where [`Self::needs_noise`] says so and counts as zero when absent;
    /// `guidances` change the clean estimate as in [`Sampler::guided_step`]. Returns the next sample.
    pub fn step(
        &mut self,
        streams: &[usize],
        sample: &Tensor,
        output: &Tensor,
        levels: &[usize],
        noise: Option<&Tensor>,
        guidances: &[&dyn Guidance],
    ) -> Tensor {
        let transitions = self.transitions(levels);
        let Some(steps) = &mut self.steps else {
            let sampler = &self.sampler;
            return match guidances.is_empty() {
                true => sampler.step(sample, output, &transitions, noise),
                false => sampler.guided_step(sample, output, &transitions, noise, guidances),
            };
        };
        let depths = self.memory.outputs + 1;
        let rows: Vec<i64> = levels
            .iter()
            .zip(self.memory.depths_of(streams))
            .map(|(level, depth)| (level * depths + depth) as i64)
            .collect();
        let size = sample.size();
        let rows = Tensor::from_slice(&rows).to_device_(sample.device(), Kind::Int64, true, false);
        let chosen =
            steps
                .on_device(sample)
                .index_select(0, &rows)
                .view([size[0], size[1], COLUMNS as i64]);
        let column = |index: usize| chosen.narrow(2, index as i64, 1);

        let implied = sample * column(0) + output * column(1);
        let free = self.sampler.clipped(implied.shallow_clone());
        let clean = self.sampler.guided(&free, guidances);
        let epsilon = || {
            let epsilon = sample * column(2) + output * column(3);
            match self.sampler.config().clip_sample.is_some() || !guidances.is_empty() {
                true => epsilon - (&clean - &implied) * column(4),
                false => epsilon,
            }
        };
        let newest = match self.sampler.config().solver.form() {
            OutputForm::Clean => clean.shallow_clone(),
            OutputForm::Noise => epsilon(),
            OutputForm::Flow => epsilon() - &clean,
        };
        let mut next = sample * column(CONVERSION) + &clean * column(CONVERSION + 1);
        if let Some(noise) = noise {
            next += noise * column(CONVERSION + 2);
        }
        if self.memory.outputs > 0 {
            next += &newest * column(CONVERSION + 3);
            let past = self.memory.select(streams, &newest);
            for index in 0..self.memory.outputs {
                next += past.get(index as i64) * column(CONVERSION + 4 + index);
            }
            self.memory.remember(streams, &newest, &past, levels);
        }
        next
    }

    /// [`Self::step`] of plans on the host, in place: B rows of T positions each, one after the other.
    /// Without a solver that remembers LibTorch has no part in it.
    pub fn step_on_host(
        &mut self,
        streams: &[usize],
        sample: &mut [f32],
        output: &[f32],
        levels: &[usize],
        noise: Option<&[f32]>,
        guidances: &[&dyn Guidance],
    ) {
        if self.steps.is_none() {
            let transitions = self.transitions(levels);
            self.sampler
                .step_on_host(sample, output, &transitions, noise, guidances);
            return;
        }
        let shape = [streams.len() as i64, self.memory.horizon as i64, -1];
        let tensor = |values: &[f32]| Tensor::from_slice(values).view(shape);
        let noise = noise.map(tensor);
        let (before, output) = (tensor(sample), tensor(output));
        let next = self.step(streams, &before, &output, levels, noise.as_ref(), guidances);
        let count = sample.len();
        next.copy_data(sample, count);
    }

    /// Forgets everything of a stream: its plan was replaced.
    pub fn forget(&mut self, stream: usize) {
        let all: Vec<usize> = (0..self.memory.horizon).collect();
        self.forget_positions(stream, &all);
    }

    /// Forgets what some positions of a stream have seen: they were noised anew.
    pub fn forget_positions(&mut self, stream: usize, positions: &[usize]) {
        for position in positions {
            self.memory.depths[stream * self.memory.horizon + position] = 0;
            if let Some(past) = &self.memory.past {
                let position = past.select(1, stream as i64).select(1, *position as i64);
                // Whatever was there, NaN too.
                let _ = position.shallow_clone().zero_();
            }
        }
    }

    /// Rolls a stream: `kept` positions from `dropped` on become the first; the others are new.
    pub fn roll(&mut self, stream: usize, dropped: usize, kept: usize) {
        let memory = &mut self.memory;
        let own = stream * memory.horizon;
        memory
            .depths
            .copy_within(own + dropped..own + dropped + kept, own);
        if let Some(past) = &memory.past {
            let past = past.select(1, stream as i64);
            let moved = past.narrow(1, dropped as i64, kept as i64).copy();
            past.narrow(1, 0, kept as i64).copy_(&moved);
        }
        let new: Vec<usize> = (kept..memory.horizon).collect();
        self.forget_positions(stream, &new);
    }

    fn transitions(&self, levels: &[usize]) -> Vec<Transition> {
        levels
            .iter()
            .map(|level| Transition {
                from: self.ladder.timestep(*level),
                to: self.ladder.timestep(level.saturating_sub(1)),
            })
            .collect()
    }
}

impl Steps {
    fn new(sampler: &Sampler, ladder: &TimestepSchedule) -> Self {
        let (solver, schedule) = (sampler.config().solver, sampler.schedule());
        let levels = 0..=ladder.levels();
        let rows = levels
            .clone()
            .flat_map(|level| (0..=solver.history()).map(move |depth| (level, depth)))
            .map(|(level, depth)| step::coefficients(solver, ladder, schedule, level, depth));
        let conversions = levels.map(|level| {
            if level == 0 {
                return [1.0, 0.0, 0.0, 0.0, 0.0];
            }
            let level = schedule.level(ladder.timestep(level));
            let conversion = sampler.config().prediction.conversion(level);
            [
                conversion.sample_in_x0,
                conversion.output_in_x0,
                conversion.sample_in_epsilon,
                conversion.output_in_epsilon,
                level.signal / level.noise,
            ]
        });
        Self {
            rows: rows.collect(),
            conversions: conversions.collect(),
            table: None,
        }
    }

    fn on_device(&mut self, like: &Tensor) -> &Tensor {
        let fits = |known: &Tensor| {
            known.device() == like.device()
                && (known.kind() == Kind::Double) == (like.kind() == Kind::Double)
        };
        if self.table.as_ref().is_some_and(|known| !fits(known)) {
            self.table = None;
        }
        let depths = self.rows.len() / self.conversions.len();
        self.table.get_or_insert_with(|| {
            let values: Vec<f64> = self
                .rows
                .iter()
                .enumerate()
                .flat_map(|(index, row)| {
                    let step = [row.sample, row.clean, row.deviation];
                    let conversion = self.conversions[index / depths];
                    conversion.into_iter().chain(step).chain(row.outputs)
                })
                .collect();
            table(&values, like).view([-1, COLUMNS as i64])
        })
    }
}

impl Memory {
    fn depths_of(&self, streams: &[usize]) -> impl Iterator<Item = usize> {
        streams
            .iter()
            .flat_map(|stream| &self.depths[stream * self.horizon..(stream + 1) * self.horizon])
            .copied()
    }

    /// What `streams` have seen, [H, B, T, D].
    fn select(&mut self, streams: &[usize], like: &Tensor) -> Tensor {
        let all = self.depths.len() / self.horizon;
        let past = self.past.get_or_insert_with(|| {
            let width = like.size()[2];
            let size = [self.outputs as i64, all as i64, self.horizon as i64, width];
            Tensor::zeros(size, (like.kind(), like.device()))
        });
        match everyone(streams, all) {
            true => past.shallow_clone(),
            false => past.index_select(1, &index(streams, past.device())),
        }
    }

    fn remember(&mut self, streams: &[usize], newest: &Tensor, past: &Tensor, levels: &[usize]) {
        let kept = past.narrow(0, 0, self.outputs as i64 - 1);
        let seen = Tensor::cat(&[&newest.unsqueeze(0), &kept], 0);
        let all = self.depths.len() / self.horizon;
        match &mut self.past {
            Some(own) if !everyone(streams, all) => {
                let _ = own.index_copy_(1, &index(streams, seen.device()), &seen);
            }
            own => *own = Some(seen),
        }
        for (row, stream) in streams.iter().enumerate() {
            for position in 0..self.horizon {
                let depth = &mut self.depths[stream * self.horizon + position];
                // A position that is clean, or has just become so, goes no further.
                *depth = match levels[row * self.horizon + position] {
                    0 | 1 => 0,
                    _ => (*depth + 1).min(self.outputs),
                };
            }
        }
    }
}

fn everyone(streams: &[usize], all: usize) -> bool {
    streams.len() == all && streams.iter().enumerate().all(|(at, stream)| at == *stream)
}

fn index(streams: &[usize], device: Device) -> Tensor {
    let index: Vec<i64> = streams.iter().map(|stream| *stream as i64).collect();
    Tensor::from_slice(&index).to_device(device)
}
