//! The chunk planner: plain Diffusion Policy. A whole plan is denoised from noise whenever the
//! actions of the last one are used up.
//!
//! With `plan.commit_ahead` or `plan.inpaint` a chunk takes over from the one before it, which goes
//! on being executed while it is computed. Its first d actions, the committed prefix, are those of
//! the chunk before, bit for bit: clean inputs of a network that takes a noise level for every
//! position ("training-time" conditioning, Black et al. 2025), and put in place of the clean
//! estimate in every step for one that does not. In-painting draws the actions behind them towards
//! the rest of the chunk before, the less the later they are (real-time chunking). The first chunk,
//! and one that comes when the chunk before is used up, has nothing to take over.
//!
//! With `plan.iterate` a chunk begins from the one before it, moved on, with only the last denoise
//! steps to go (real-time iteration, Duan et al. 2025), so that every observation can be answered
//! by weights that were made for whole chunks. With `plan.restart` it begins from what the chunks
//! before it were on their way down ([`super::restart`]).

use kinestream_diffusion::guidance::{gain, soft_mask};
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{Denoiser, DiffusionSampler, Guidance, Sampler, TargetGuidance};
use tch::{Device, Tensor};

use super::batch::Batch;
use super::restart::{DenoisingTrajectory, RestartCheck};
use super::{NoiseSource, Plan, PlanGuidance, Planner};
use crate::Result;
use crate::config::{IterateConfig, PlanConfig};

/// Chunked plans for a batch of independent streams.
pub struct ChunkPlanner {
    config: PlanConfig,
    descent: DiffusionSampler,
    batch: Batch,
    streams: Vec<Stream>,
    guidance: PlanGuidance,
}

struct Stream {
    random: Box<dyn NoiseSource>,
    level: usize,
    consumed: usize,
    chunk: u64,
    begun: bool,
    handover: Option<ChunkOverlap>,
    last_good: Option<LastValidPlan>,
    trail: DenoisingTrajectory,
    /// Set while it is open whether the chunk begins at the state that it is in.
    trial: Option<RestartCheck>,
}

/// The last plan that was denoised to its end, which is what is executed.
#[derive(Clone)]
struct LastValidPlan {
    actions: Vec<f32>,
    /// Actions consumed since it began.
    consumed: usize,
}

/// What a plan takes over from the one before it.
struct ChunkOverlap {
    /// Actions [Tp, Da] of the plan before, at the positions of the new one; 0 where it has none.
    actions: Vec<f32>,
    /// Positions that are known: the past and the committed prefix.
    known: usize,
    /// Soft mask of every position, Tp.
    mask: Vec<f32>,
}

impl Stream {
    fn new(seed: u64) -> Self {
        Self {
            random: Box::new(NoiseStream::new(seed)),
            level: 0,
            consumed: 0,
            chunk: 0,
            begun: false,
            handover: None,
            last_good: None,
            trail: DenoisingTrajectory::default(),
            trial: None,
        }
    }
}

impl ChunkPlanner {
    /// A planner for `streams` streams, all of them fresh.
    ///
    /// # Errors
    /// A ladder that does not fit the schedule.
    pub fn new(
        config: PlanConfig,
        sampler: Sampler,
        network: Box<dyn Denoiser>,
        device: Device,
        streams: usize,
    ) -> Result<Self> {
        let descent =
            DiffusionSampler::new(sampler, config.ladder_levels(), streams, config.horizon)?;
        Ok(Self {
            batch: Batch::new(network, device, streams),
            streams: (0..streams).map(|_| Stream::new(0)).collect(),
            config,
            descent,
            guidance: PlanGuidance::default(),
        })
    }

    fn begin(&mut self, stream: usize) {
        let action = self.batch.action();
        let handover = self.handover(stream);
        self.streams[stream].trial = None;
        let begun = match (self.config.iterate, self.config.restart) {
            (Some(IterateConfig { steps }), _) => self.rest(stream).map(|rows| (rows, steps)),
            (None, Some(restart)) => self.restarted(stream, restart.steps),
            (None, None) => None,
        };
        let (mut rows, level) = begun.unwrap_or_else(|| self.noise(stream));
        if let Some(handover) = &handover {
            let clean = self.clean_positions(handover) * action;
            rows[..clean].copy_from_slice(&handover.actions[..clean]);
        }
        self.batch.set_plan(stream, &rows);
        self.descent.forget(stream);
        let state = &mut self.streams[stream];
        state.level = level;
        state.consumed = 0;
        state.begun = true;
        state.handover = handover;
    }

    /// A plan of noise, and the level that it is at.
    fn noise(&mut self, stream: usize) -> (Vec<f32>, usize) {
        let numbers = self.config.horizon * self.batch.action();
        let noise = self.streams[stream].random.draw(numbers);
        (noise, self.descent.ladder().levels())
    }

    /// A state of the chunks before with at least `steps` to go, which is on trial; none where there
    /// is none, or nothing is left of the last plan.
    fn restarted(&mut self, stream: usize, steps: usize) -> Option<(Vec<f32>, usize)> {
        let Some(reference) = self.rest(stream) else {
            self.streams[stream].trail.clear();
            return None;
        };
        let Stream {
            trail,
            trial,
            random,
            last_good,
            ..
        } = &mut self.streams[stream];
        let consumed = last_good.as_ref().map_or(0, |good| good.consumed);
        let last = &reference[reference.len() - self.batch.action()..];
        let (ladder, schedule) = (self.descent.ladder(), self.descent.schedule());
        let noised = |level: usize, clean: f32, noise: f32| {
            let level = schedule.level(ladder.timestep(level));
            level.signal as f32 * clean + level.noise as f32 * noise
        };
        trail.move_on(consumed, last, random.as_mut(), noised);
        let (level, state) = trail.from(steps)?;
        *trial = Some(RestartCheck::against(reference));
        Some((state.clone(), level))
    }

    /// What takes the place of a state that was refused: one with twice as many steps to go, or noise.
    fn noisier(&mut self, stream: usize, level: usize) -> (Vec<f32>, usize) {
        let found = self.streams[stream].trail.from(2 * level);
        match found.map(|(level, state)| (state.clone(), level)) {
            Some(found) => found,
            None => {
                self.streams[stream].trial = None;
                self.noise(stream)
            }
        }
    }

    /// The last plan without what was executed of it, its last action repeated; none where nothing
    /// is left of it.
    fn rest(&self, stream: usize) -> Option<Vec<f32>> {
        let LastValidPlan { actions, consumed } = self.streams[stream].last_good.as_ref()?;
        let action = self.batch.action();
        let mut rows = actions.get(consumed * action..)?.to_vec();
        let last = actions.get(actions.len() - action..)?;
        if rows.is_empty() {
            return None;
        }
        while rows.len() < actions.len() {
            rows.extend_from_slice(last);
        }
        Some(rows)
    }

    fn handover(&self, stream: usize) -> Option<ChunkOverlap> {
        if self.config.commit_ahead == 0 && self.config.inpaint.is_none() {
            return None;
        }
        let LastValidPlan { actions, consumed } = self.streams[stream].last_good.as_ref()?;
        let (horizon, past) = (self.config.horizon, self.config.past());
        let overlap = (horizon - past).saturating_sub(*consumed);
        if overlap == 0 {
            return None;
        }
        let committed = self.config.commit_ahead.min(overlap);
        let mut mask = vec![1.0; past];
        mask.extend(soft_mask(horizon - past, committed, overlap));
        let mut rows = actions[consumed * self.batch.action()..].to_vec();
        rows.resize(actions.len(), 0.0);
        Some(ChunkOverlap {
            actions: rows,
            known: past + committed,
            mask,
        })
    }

    /// Positions that a plan begins with as clean inputs of the network.
    fn clean_positions(&self, handover: &ChunkOverlap) -> usize {
        if self.batch.takes_levels_per_position() {
            handover.known
        } else {
            0
        }
    }

    /// Level of every position of a stream; 0 is clean.
    fn levels(&self, stream: usize) -> Vec<usize> {
        let state = &self.streams[stream];
        let clean = state
            .handover
            .as_ref()
            .map_or(0, |handover| self.clean_positions(handover));
        let mut levels = vec![state.level; self.config.horizon];
        levels[..clean].fill(0);
        levels
    }

    /// How the next step of `due` is drawn to the chunks before, if any of them is.
    fn handover_guidance(&self, due: &[usize]) -> Option<TargetGuidance> {
        let (horizon, action) = (self.config.horizon, self.batch.action());
        // A prefix of clean inputs takes no guidance.
        if self.config.inpaint.is_none() && self.batch.takes_levels_per_position() {
            return None;
        }
        let states = || due.iter().map(|stream| &self.streams[*stream]);
        if states().all(|state| state.handover.is_none()) {
            return None;
        }
        let (mut target, mut pull) = (Vec::new(), Vec::new());
        for state in states() {
            let Some(handover) = &state.handover else {
                target.resize(target.len() + horizon * action, 0.0);
                pull.resize(pull.len() + horizon, 0.0);
                continue;
            };
            let timestep = self.descent.ladder().timestep(state.level);
            let alpha = self.descent.schedule().alpha_cumprod(timestep);
            let gain = self
                .config
                .inpaint
                .map_or(0.0, |inpaint| gain(alpha, inpaint.guidance) as f32);
            target.extend(&handover.actions);
            pull.extend(handover.mask.iter().enumerate().map(|(position, weight)| {
                if position < handover.known {
                    1.0
                } else {
                    gain * weight
                }
            }));
        }
        let rows = due.len() as i64;
        let shaped = |values: &[f32]| Tensor::from_slice(values).view([rows, horizon as i64, -1]);
        Some(TargetGuidance {
            target: shaped(&target),
            pull: shaped(&pull),
        })
    }
}

impl ChunkPlanner {
    /// Ends the trials of `due` whose clean estimates, [B, Tp, Da], go on as the plans before; which
    /// do not.
    fn judge(&mut self, due: &[usize], estimates: &Tensor) -> Result<Vec<usize>> {
        let (action, past) = (self.batch.action(), self.config.past());
        let numbers = (past + self.config.action_steps) * action;
        let within = self
            .config
            .restart
            .map_or(f64::INFINITY, |restart| restart.within);
        let mut refused = Vec::new();
        for (row, stream) in due.iter().enumerate() {
            let Some(trial) = &self.streams[*stream].trial else {
                continue;
            };
            let estimate = Vec::<f32>::try_from(estimates.get(row as i64).flatten(0, -1))?;
            // NaN is no surprise to be looked into, but a plan to be refused.
            if trial.distance(&estimate, numbers) > within {
                refused.push(*stream);
            } else {
                self.streams[*stream].trial = None;
            }
        }
        Ok(refused)
    }
}

impl Planner for ChunkPlanner {
    fn streams(&self) -> usize {
        self.streams.len()
    }

    fn reset(&mut self, stream: usize, seed: u64) {
        self.batch.forget(stream);
        self.streams[stream] = Stream::new(seed);
    }

    fn set_noise(&mut self, stream: usize, source: Box<dyn NoiseSource>) {
        self.streams[stream].random = source;
    }

    fn set_guidance(&mut self, guidance: PlanGuidance) {
        self.guidance = guidance;
    }

    fn observe(&mut self, stream: usize, condition: &[f32], _anchor: &[f32]) {
        self.batch.observe(stream, condition);
        if !self.streams[stream].begun {
            self.begin(stream);
        }
    }

    fn owed(&self, stream: usize) -> usize {
        self.streams[stream].level
    }

    fn refine(&mut self, streams: &[usize]) -> Result<usize> {
        let due = self.owing(streams);
        if due.is_empty() {
            return Ok(0);
        }
        let horizon = self.config.horizon;
        let levels: Vec<usize> = due.iter().flat_map(|stream| self.levels(*stream)).collect();
        let numbers = horizon * self.batch.action();
        let noise = self.descent.needs_noise(&levels).then(|| {
            due.iter()
                .flat_map(|stream| self.streams[*stream].random.draw(numbers))
                .collect::<Vec<f32>>()
        });
        let handover = self.handover_guidance(&due);
        let descent = &self.descent;
        let configured = self
            .guidance
            .of_step(horizon, || super::deviations(descent, &levels));
        // What is configured has the last word.
        let guidances: Vec<&dyn Guidance> = (handover.iter().map(|one| one as &dyn Guidance))
            .chain(configured.iter().map(|one| one as &dyn Guidance))
            .collect();
        if self.config.restart.is_some() {
            let top = self.descent.ladder().levels();
            for stream in &due {
                // Noise is no state to begin at, and NaN even less.
                let level = self.streams[*stream].level;
                if let (true, Ok(state)) = (level < top, self.batch.read(*stream)) {
                    self.streams[*stream].trail.remember(level, state);
                }
            }
        }
        let on_trial = due
            .iter()
            .any(|stream| self.streams[*stream].trial.is_some());
        let timesteps = self.descent.timesteps(&levels);
        let descent = &mut self.descent;
        let mut estimates = None;
        let shape = [due.len() as i64, horizon as i64, -1];
        self.batch.step(&due, &timesteps, |sample, output| {
            estimates = on_trial.then(|| {
                let [sample, output] =
                    [&*sample, output].map(|rows| Tensor::from_slice(rows).view(shape));
                descent
                    .sampler()
                    .clean_estimate(&sample, &output, &timesteps)
            });
            descent.step_on_host(&due, sample, output, &levels, noise.as_deref(), &guidances);
        })?;
        let refused = match estimates {
            Some(estimates) => self.judge(&due, &estimates)?,
            None => Vec::new(),
        };
        for stream in &due {
            if refused.contains(stream) {
                let (rows, level) = self.noisier(*stream, self.streams[*stream].level);
                self.batch.set_plan(*stream, &rows);
                self.descent.forget(*stream);
                self.streams[*stream].level = level;
            } else {
                self.streams[*stream].level -= 1;
            }
        }
        Ok(due.len())
    }

    fn advance(&mut self, stream: usize, consumed: usize) {
        let state = &mut self.streams[stream];
        if consumed == 0 {
            return;
        }
        if let Some(good) = &mut state.last_good {
            good.consumed = (good.consumed + consumed).min(self.config.horizon);
        }
        state.consumed = (state.consumed + consumed).min(self.config.horizon);
        if state.begun && state.consumed >= self.config.action_steps {
            state.chunk += 1;
            self.begin(stream);
        }
    }

    fn plan(&mut self, stream: usize) -> Result<Plan> {
        let actions = match self.batch.read(stream) {
            Ok(actions) => actions,
            Err(error) => {
                // The next observation begins a new plan.
                let state = &mut self.streams[stream];
                state.begun = false;
                state.handover = None;
                state.trial = None;
                state.trail.clear();
                if let Some(good) = &state.last_good {
                    state.level = 0;
                    state.consumed = good.consumed;
                    self.batch.set_plan(stream, &good.actions);
                }
                return Err(error);
            }
        };
        let horizon = self.config.horizon;
        let levels = self.levels(stream);
        let state = &mut self.streams[stream];
        if state.level == 0 {
            state.last_good = Some(LastValidPlan {
                actions: actions.clone(),
                consumed: state.consumed,
            });
        }
        let current = (self.config.past() + state.consumed).min(horizon - 1);
        Ok(Plan {
            chunk: state.chunk,
            actions,
            noise: super::deviations(&self.descent, &levels),
            committed: levels[current..]
                .iter()
                .take_while(|level| **level == 0)
                .count(),
            levels: levels.iter().map(|level| *level as u32).collect(),
            current,
        })
    }
}
