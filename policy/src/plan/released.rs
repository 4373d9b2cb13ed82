//! Streaming exactly as the released SDP code does it, quirks included, for its checkpoints.
//!
//! Only for weights that were trained and evaluated with that code. Its quirks, which the golden
//! rollouts contain: past positions keep their clean values while they are labelled with the next
//! chunk's level; with DDIM and fewer levels than training timesteps a level is used as a timestep
//! and the step goes down by N / K timesteps while the level goes down by one; the plan always rolls
//! by Ta; noise is drawn for the past positions and thrown away.

use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::sampler::{Solver, Transition};
use kinestream_diffusion::{Ddim, Denoiser, Guidance, Sampler};
use tch::Device;

use super::batch::Batch;
use super::{NoiseSource, Plan, PlanGuidance, Planner};
use crate::config::{PlanConfig, PlanInit};
use crate::{Error, Result};

/// Rolling plans in the manner of the released code.
pub struct ReleasedPlanner {
    config: PlanConfig,
    sampler: Sampler,
    batch: Batch,
    streams: Vec<Stream>,
    guidance: PlanGuidance,
}

struct Stream {
    random: Box<dyn NoiseSource>,
    /// Level of every position as that code counts: K - 1 is pure noise, -1 is clean.
    levels: Vec<i64>,
    begun: bool,
    /// Whether a whole plan is denoised before it begins to roll.
    priming: bool,
    chunk: u64,
    last_good: Option<(Vec<f32>, Vec<i64>)>,
}

impl ReleasedPlanner {
    /// A planner for `streams` streams, all of them fresh.
    ///
    /// # Errors
    /// A solver other than DDPM and DDIM: there are no others to reproduce.
    pub fn new(
        config: PlanConfig,
        sampler: Sampler,
        network: Box<dyn Denoiser>,
        device: Device,
        streams: usize,
    ) -> Result<Self> {
        let solver = sampler.config().solver;
        if !solver.is_memoryless() {
            return Err(Error::Config {
                key: "sampler.solver",
                found: format!("{solver:?} with plan.mode released"),
                expected: "ddpm or ddim; plan.mode streaming and chunk take every solver".into(),
            });
        }
        let stream = || Stream {
            random: Box::new(NoiseStream::new(0)),
            levels: Vec::new(),
            begun: false,
            priming: false,
            chunk: 0,
            last_good: None,
        };
        Ok(Self {
            streams: (0..streams).map(|_| stream()).collect(),
            batch: Batch::new(network, device, streams),
            config,
            sampler,
            guidance: PlanGuidance::default(),
        })
    }

    /// Levels of a stream's positions, K - 1 (pure noise) down to -1 (clean).
    pub fn levels(&self, stream: usize) -> &[i64] {
        &self.streams[stream].levels
    }

    fn count(&self) -> i64 {
        self.config.ladder_levels() as i64
    }

    /// Levels with which a plan begins to roll.
    fn ladder(&self) -> Vec<i64> {
        let chunks = self.config.chunks() as i64;
        let chunk = |position| self.config.chunk_of(position) as i64 + 1;
        (0..self.config.horizon)
            .map(|position| self.count() * chunk(position) / chunks - 1)
            .collect()
    }

    /// `condition` begins with the oldest observation, whose first Da numbers that code repeats for the constant primer,
    /// whatever they are.
    fn begin(&mut self, stream: usize, condition: &[f32]) {
        let (horizon, action) = (self.config.horizon, self.batch.action());
        let noise = self.streams[stream].random.draw(horizon * action);
        self.streams[stream].begun = true;
        let mut plan = match self.config.primer {
            PlanInit::Zero => vec![0.0; noise.len()],
            PlanInit::Constant => {
                let numbers = condition.iter().take(action);
                let mut row: Vec<f32> = numbers.copied().collect();
                row.resize(action, 0.0);
                row.repeat(horizon)
            }
            PlanInit::Denoise => {
                self.batch.set_plan(stream, &noise);
                self.streams[stream].levels = vec![self.count() - 1; horizon];
                self.streams[stream].priming = true;
                return;
            }
        };
        let levels = self.ladder();
        self.sampler.add_noise_on_host(&mut plan, &noise, &levels);
        self.batch.set_plan(stream, &plan);
        self.streams[stream].levels = levels;
    }

    /// Puts noise back on every chunk but the first of a plan that was denoised whole. That code labels the first one with
    /// its level all the same, so that the first action costs K and K / h evaluations.
    fn finish_priming(&mut self, stream: usize) {
        let count = self.config.horizon * self.batch.action();
        let noise = self.streams[stream].random.draw(count);
        let levels = self.ladder();
        let mut held = levels.clone();
        for (position, level) in held.iter_mut().enumerate() {
            if self.config.chunk_of(position) == 0 {
                *level = -1;
            }
        }
        let mut plan = self.batch.plan(stream).to_vec();
        self.sampler.add_noise_on_host(&mut plan, &noise, &held);
        self.batch.set_plan(stream, &plan);
        self.streams[stream].levels = levels;
        self.streams[stream].priming = false;
    }

    fn roll(&mut self, stream: usize) {
        let (horizon, past) = (self.config.horizon, self.config.past());
        let steps = self.config.action_steps;
        let fresh = steps + (horizon - past) % steps;
        let kept = horizon - fresh;
        let action = self.batch.action();
        let top = self.count() - 1;
        let state = &mut self.streams[stream];
        let noise = state.random.draw(fresh * action);
        let _thrown_away = state.random.draw(past * action);
        let mut levels = state.levels[steps..steps + kept].to_vec();
        levels.resize(horizon, top);
        let due = levels[past];
        levels[..past].fill(due);
        state.levels = levels;
        state.chunk += 1;
        let kept = &self.batch.plan(stream)[steps * action..(steps + kept) * action];
        let plan = [kept, &noise].concat();
        self.batch.set_plan(stream, &plan);
    }
}

impl Planner for ReleasedPlanner {
    fn streams(&self) -> usize {
        self.streams.len()
    }

    fn reset(&mut self, stream: usize, seed: u64) {
        self.batch.forget(stream);
        self.streams[stream] = Stream {
            random: Box::new(NoiseStream::new(seed)),
            levels: Vec::new(),
            begun: false,
            priming: false,
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

    fn observe(&mut self, stream: usize, condition: &[f32], _anchor: &[f32]) {
        self.batch.observe(stream, condition);
        if !self.streams[stream].begun {
            self.begin(stream, condition);
        }
    }

    fn owed(&self, stream: usize) -> usize {
        let last = self.config.past() + self.config.action_steps - 1;
        self.streams[stream]
            .levels
            .get(last)
            .map_or(0, |level| (level + 1).max(0) as usize)
    }

    fn refine(&mut self, streams: &[usize]) -> Result<usize> {
        let due = self.owing(streams);
        if due.is_empty() {
            return Ok(0);
        }
        let stride = match self.sampler.config().solver {
            Solver::Ddpm(_) => 1,
            _ => self.sampler.schedule().train_timesteps() as i64 / self.count(),
        };
        let moves: Vec<Transition> = due
            .iter()
            .flat_map(|stream| &self.streams[*stream].levels)
            .map(|&level| Transition {
                from: level,
                to: (level - stride).max(-1),
            })
            .collect();
        let numbers = self.config.horizon * self.batch.action();
        let draws = match self.sampler.config().solver {
            Solver::Ddpm(_) => true,
            Solver::Ddim(Ddim { eta }) => eta > 0.0,
            _ => false,
        };
        let noise = draws.then(|| {
            due.iter()
                .flat_map(|stream| self.streams[*stream].random.draw(numbers))
                .collect::<Vec<f32>>()
        });
        let timesteps: Vec<i64> = moves.iter().map(|transition| transition.from).collect();
        let sampler = &self.sampler;
        let schedule = sampler.schedule();
        let deviations = || {
            let deviation = |timestep: &i64| schedule.noise_deviation(*timestep) as f32;
            timesteps.iter().map(deviation).collect()
        };
        let configured = self.guidance.of_step(self.config.horizon, deviations);
        let guidances: Vec<&dyn Guidance> =
            configured.iter().map(|one| one as &dyn Guidance).collect();
        self.batch.step(&due, &timesteps, |sample, output| {
            sampler.step_on_host(sample, output, &moves, noise.as_deref(), &guidances);
        })?;
        for stream in &due {
            for level in &mut self.streams[*stream].levels {
                *level = (*level - 1).max(-1);
            }
        }
        for stream in &due {
            let state = &self.streams[*stream];
            if state.priming && state.levels.iter().all(|level| *level < 0) {
                self.finish_priming(*stream);
            }
        }
        Ok(due.len())
    }

    fn advance(&mut self, stream: usize, consumed: usize) {
        // That code rolls by Ta, whatever was consumed.
        if consumed > 0 && self.streams[stream].begun {
            self.roll(stream);
        }
    }

    fn plan(&mut self, stream: usize) -> Result<Plan> {
        let actions = match self.batch.read(stream) {
            Ok(actions) => actions,
            Err(error) => {
                if let Some((actions, levels)) = self.streams[stream].last_good.clone() {
                    self.batch.set_plan(stream, &actions);
                    self.streams[stream].levels = levels;
                    self.streams[stream].priming = false;
                } else {
                    self.streams[stream].begun = false;
                }
                return Err(error);
            }
        };
        let current = self.config.past();
        let state = &mut self.streams[stream];
        state.last_good = Some((actions.clone(), state.levels.clone()));
        let schedule = self.sampler.schedule();
        Ok(Plan {
            chunk: state.chunk,
            noise: state
                .levels
                .iter()
                .map(|level| schedule.noise_deviation(*level) as f32)
                .collect(),
            committed: state.levels[current..]
                .iter()
                .take_while(|level| **level < 0)
                .count(),
            levels: state
                .levels
                .iter()
                .map(|level| (level + 1).max(0) as u32)
                .collect(),
            actions,
            current,
        })
    }
}
