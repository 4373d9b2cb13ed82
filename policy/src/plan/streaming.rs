//! The streaming planner: a rolling plan whose first action is clean and whose later ones are
//! still noisy (Streaming Diffusion Policy, Høeg et al. 2024), on a coherent ladder of levels.
//!
//! Chunk c of h waits at level K (c + 1) / h. A new observation brings every position down by
//! K / h levels, one network evaluation each, whereupon chunk 0 is clean and is executed. Rolling
//! drops what was consumed and appends pure noise. With h = K an observation costs one evaluation.
//!
//! With a committed prefix of d actions (`plan.commit_ahead`) the chunks lie behind it. The prefix
//! is clean, is an input of the network, and keeps its bits until it is consumed: those are the
//! actions that are executed while the answer is computed. An answer makes the Ta actions behind it
//! clean, at the same K / h evaluations. The first plan has nothing to take over, since nothing
//! is executed before it; there the prefix is denoised with the first chunk, and d + Ta actions are
//! clean at once.
//!
//! What the released code does otherwise, and this does not: past positions are really noised to
//! the level that the network is told; a level always stands for the timestep that the training
//! used; the number of evaluations is known on the host, so no device is asked; `reset` resets; the
//! plan rolls by what was consumed, not by what was computed.

use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{Denoiser, DiffusionSampler, Guidance, Sampler};
use tch::Device;

use super::batch::Batch;
use super::{NoiseSource, Plan, PlanGuidance, Planner};
use crate::config::{PlanConfig, PlanInit};
use crate::{Error, Result};

/// Rolling plans for a batch of independent streams.
pub struct StreamingPlanner {
    config: PlanConfig,
    descent: DiffusionSampler,
    batch: Batch,
    streams: Vec<Stream>,
    guidance: PlanGuidance,
}

struct Stream {
    random: Box<dyn NoiseSource>,
    /// Level of every position; 0 is clean.
    levels: Vec<usize>,
    phase: Phase,
    chunk: u64,
    last_good: Option<LastValidPlan>,
}

/// A plan without NaN, to go back to.
#[derive(Clone)]
struct LastValidPlan {
    actions: Vec<f32>,
    levels: Vec<usize>,
    phase: Phase,
    /// Actions consumed since.
    consumed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for its first observation.
    Fresh,
    /// Denoises a whole plan from noise before it begins to roll.
    Priming,
    /// Rolls.
    Rolling,
}

impl StreamingPlanner {
    /// A planner for `streams` streams, all of them fresh.
    ///
    /// # Errors
    /// A network that takes only one noise level for all positions, or a ladder that does not fit.
    pub fn new(
        config: PlanConfig,
        sampler: Sampler,
        network: Box<dyn Denoiser>,
        device: Device,
        streams: usize,
    ) -> Result<Self> {
        if !network.takes_levels_per_position() && config.chunks() > 1 {
            return Err(Error::Config {
                key: "plan.mode",
                found: "streaming with a network that takes one noise level for all positions"
                    .into(),
                expected: "chunk, or network.kind per_position or streaming_diffusion_policy"
                    .into(),
            });
        }
        let descent =
            DiffusionSampler::new(sampler, config.ladder_levels(), streams, config.horizon)?;
        let stream = || Stream {
            random: Box::new(NoiseStream::new(0)),
            levels: vec![descent.ladder().levels(); config.horizon],
            phase: Phase::Fresh,
            chunk: 0,
            last_good: None,
        };
        Ok(Self {
            streams: (0..streams).map(|_| stream()).collect(),
            batch: Batch::new(network, device, streams),
            config,
            descent,
            guidance: PlanGuidance::default(),
        })
    }

    /// Level of every position of a stream; 0 is clean.
    pub fn levels(&self, stream: usize) -> &[usize] {
        &self.streams[stream].levels
    }

    /// Level at which the chunk of a position waits for the next observation.
    fn resting_level(&self, position: usize) -> usize {
        self.descent
            .ladder()
            .resting_level(self.config.chunk_of(position), self.config.chunks())
    }

    fn prime(&mut self, stream: usize, anchor: &[f32]) {
        let (horizon, top) = (self.config.horizon, self.descent.ladder().levels());
        self.descent.forget(stream);
        let noise = self.streams[stream]
            .random
            .draw(horizon * self.batch.action());
        let mut plan = match self.config.primer {
            PlanInit::Denoise => {
                self.batch.set_plan(stream, &noise);
                self.streams[stream].levels = vec![top; horizon];
                self.streams[stream].phase = Phase::Priming;
                return;
            }
            PlanInit::Zero => vec![0.0; noise.len()],
            PlanInit::Constant => anchor.repeat(horizon),
        };
        let levels: Vec<usize> = (0..horizon)
            .map(|position| self.resting_level(position))
            .collect();
        self.noise(&mut plan, &noise, &levels);
        self.batch.set_plan(stream, &plan);
        self.streams[stream].levels = levels;
        self.streams[stream].phase = Phase::Rolling;
    }

    /// Ends the denoising primer: every chunk but the first goes back up to where a chunk waits
    /// after the one before it was executed.
    fn finish_priming(&mut self, stream: usize) {
        let (horizon, past) = (self.config.horizon, self.config.past());
        let levels: Vec<usize> = (0..horizon)
            .map(|position| match self.config.chunk_of(position) {
                0 => 0,
                chunk => self
                    .descent
                    .ladder()
                    .resting_level(chunk - 1, self.config.chunks()),
            })
            .collect();
        self.descent.forget(stream);
        debug_assert!(levels[..past].iter().all(|level| *level == 0));
        let noise = self.streams[stream]
            .random
            .draw(horizon * self.batch.action());
        let mut plan = self.batch.plan(stream).to_vec();
        self.noise(&mut plan, &noise, &levels);
        self.batch.set_plan(stream, &plan);
        self.streams[stream].levels = levels;
        self.streams[stream].phase = Phase::Rolling;
    }

    /// Puts the last good plan back, rolled by what was consumed since. Without one the stream is
    /// primed anew by its next observation.
    fn fall_back(&mut self, stream: usize) {
        self.descent.forget(stream);
        let state = &mut self.streams[stream];
        let Some(good) = state.last_good.take() else {
            state.levels = vec![self.descent.ladder().levels(); self.config.horizon];
            state.phase = Phase::Fresh;
            self.batch.forget(stream);
            return;
        };
        state.levels.clone_from(&good.levels);
        state.phase = good.phase;
        self.batch.set_plan(stream, &good.actions);
        self.advance(stream, good.consumed);
        self.streams[stream].last_good = Some(good);
    }

    /// Noises a clean plan to the levels of its positions.
    fn noise(&self, plan: &mut [f32], noise: &[f32], levels: &[usize]) {
        let timesteps = self.descent.timesteps(levels);
        let sampler = self.descent.sampler();
        sampler.add_noise_on_host(plan, noise, &timesteps);
    }

    fn due(&self) -> std::ops::Range<usize> {
        let last = self.config.first_open() + self.config.action_steps;
        self.config.past()..last.min(self.config.horizon)
    }
}

impl Planner for StreamingPlanner {
    fn streams(&self) -> usize {
        self.streams.len()
    }

    fn reset(&mut self, stream: usize, seed: u64) {
        self.batch.forget(stream);
        self.streams[stream] = Stream {
            random: Box::new(NoiseStream::new(seed)),
            levels: vec![self.descent.ladder().levels(); self.config.horizon],
            phase: Phase::Fresh,
            chunk: 0,
            last_good: None,
        };
    }

    fn set_noise(&mut self, stream: usize, source: Box<dyn NoiseSource>) {
        self.streams[stream].random = source;
    }

    fn set_guidance(&mut self, guidance: PlanGuidance) {
        self.guidance = guidance;
    }

    fn observe(&mut self, stream: usize, condition: &[f32], anchor: &[f32]) {
        self.batch.observe(stream, condition);
        if self.streams[stream].phase == Phase::Fresh {
            self.prime(stream, anchor);
        }
    }

    fn owed(&self, stream: usize) -> usize {
        self.streams[stream].levels[self.due()]
            .iter()
            .copied()
            .max()
            .unwrap_or(0)
    }

    fn refine(&mut self, streams: &[usize]) -> Result<usize> {
        let due = self.owing(streams);
        if due.is_empty() {
            return Ok(0);
        }
        let levels: Vec<usize> = due
            .iter()
            .flat_map(|stream| &self.streams[*stream].levels)
            .copied()
            .collect();
        let numbers = self.config.horizon * self.batch.action();
        let noise = self.descent.needs_noise(&levels).then(|| {
            due.iter()
                .flat_map(|stream| self.streams[*stream].random.draw(numbers))
                .collect::<Vec<f32>>()
        });
        let descent = &mut self.descent;
        let timesteps = descent.timesteps(&levels);
        let deviations = || super::deviations(descent, &levels);
        let configured = self.guidance.of_step(self.config.horizon, deviations);
        let guidances: Vec<&dyn Guidance> =
            configured.iter().map(|one| one as &dyn Guidance).collect();
        self.batch.step(&due, &timesteps, |sample, output| {
            descent.step_on_host(&due, sample, output, &levels, noise.as_deref(), &guidances);
        })?;
        for stream in &due {
            let state = &mut self.streams[*stream];
            state
                .levels
                .iter_mut()
                .for_each(|level| *level = level.saturating_sub(1));
            if state.phase == Phase::Priming && state.levels[0] == 0 {
                self.finish_priming(*stream);
            }
        }
        Ok(due.len())
    }

    fn advance(&mut self, stream: usize, consumed: usize) {
        if consumed == 0 || self.streams[stream].phase != Phase::Rolling {
            return;
        }
        let (horizon, past) = (self.config.horizon, self.config.past());
        // An incomplete last chunk is drawn anew, so that its noise fits its place.
        let tail = (horizon - self.config.first_open()) % self.config.action_steps;
        let fresh = (consumed + tail).min(horizon);
        let dropped = consumed.min(horizon);
        let kept = horizon - fresh.max(dropped);
        let appended = horizon - kept;
        let action = self.batch.action();
        let state = &mut self.streams[stream];
        let noise = state.random.draw((appended + past) * action);
        state.chunk += 1;
        if let Some(good) = &mut state.last_good {
            good.consumed = good.consumed.saturating_add(consumed);
        }
        let mut levels = state.levels[dropped..dropped + kept].to_vec();
        levels.resize(horizon, self.descent.ladder().levels());
        self.descent.roll(stream, dropped, kept);
        let (appended_noise, past_noise) = noise.split_at(appended * action);
        let kept = &self.batch.plan(stream)[dropped * action..(dropped + kept) * action];
        let mut plan = [kept, appended_noise].concat();
        if past > 0 {
            // Executed positions go back up to the level of the chunk that is due next, or of the
            // first noisy position where more than a chunk was consumed. Before a committed prefix
            // they stay clean, as it is.
            let level = levels[..=past]
                .iter()
                .copied()
                .find(|level| *level > 0)
                .unwrap_or(0);
            let mut noise = vec![0.0; horizon * action];
            noise[..past * action].copy_from_slice(past_noise);
            let targets: Vec<usize> = (0..horizon)
                .map(|at| {
                    if at < past && levels[at] == 0 {
                        level
                    } else {
                        0
                    }
                })
                .collect();
            self.noise(&mut plan, &noise, &targets);
            for (at, target) in targets.iter().enumerate().take(past) {
                if *target > 0 {
                    levels[at] = *target;
                    self.descent.forget_positions(stream, &[at]);
                }
            }
        }
        self.batch.set_plan(stream, &plan);
        self.streams[stream].levels = levels;
    }

    fn plan(&mut self, stream: usize) -> Result<Plan> {
        let actions = match self.batch.read(stream) {
            Ok(actions) => actions,
            Err(error) => {
                self.fall_back(stream);
                return Err(error);
            }
        };
        let current = self.config.past();
        let state = &mut self.streams[stream];
        state.last_good = Some(LastValidPlan {
            actions: actions.clone(),
            levels: state.levels.clone(),
            phase: state.phase,
            consumed: 0,
        });
        Ok(Plan {
            chunk: state.chunk,
            noise: super::deviations(&self.descent, &state.levels),
            committed: state.levels[current..]
                .iter()
                .take_while(|level| **level == 0)
                .count(),
            levels: state.levels.iter().map(|level| *level as u32).collect(),
            actions,
            current,
        })
    }
}

#[cfg(test)]
#[path = "streaming_tests.rs"]
mod tests;
