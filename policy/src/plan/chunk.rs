//! The chunk planner: plain Diffusion Policy. A whole plan is denoised from noise whenever the
//! actions of the last one are used up.

use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::sampler::Transition;
use kinestream_diffusion::{Denoiser, Ladder, Sampler};
use tch::Device;

use super::batch::Batch;
use super::{NoiseSource, Plan, Planner};
use crate::Result;
use crate::config::PlanConfig;

/// Chunked plans for a batch of independent streams.
pub struct ChunkPlanner {
    config: PlanConfig,
    sampler: Sampler,
    ladder: Ladder,
    batch: Batch,
    streams: Vec<Stream>,
}

struct Stream {
    random: NoiseStream,
    level: usize,
    consumed: usize,
    chunk: u64,
    begun: bool,
    last_good: Option<Vec<f32>>,
}

impl Stream {
    fn new(seed: u64) -> Self {
        Self {
            random: NoiseStream::new(seed),
            level: 0,
            consumed: 0,
            chunk: 0,
            begun: false,
            last_good: None,
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
        let ladder = Ladder::even(config.ladder_levels(), sampler.schedule().train_timesteps())?;
        Ok(Self {
            batch: Batch::new(network, device, streams),
            streams: (0..streams).map(|_| Stream::new(0)).collect(),
            config,
            sampler,
            ladder,
        })
    }

    fn begin(&mut self, stream: usize) {
        let noise = self.streams[stream]
            .random
            .draw(self.config.horizon * self.batch.action());
        let rows = self.batch.rows(&noise);
        self.batch.set_buffer(stream, &rows);
        let state = &mut self.streams[stream];
        state.level = self.ladder.levels();
        state.consumed = 0;
        state.begun = true;
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
        let moves: Vec<Transition> = due
            .iter()
            .flat_map(|stream| {
                let level = self.streams[*stream].level;
                let step = Transition {
                    from: self.ladder.timestep(level),
                    to: self.ladder.timestep(level - 1),
                };
                std::iter::repeat_n(step, horizon)
            })
            .collect();
        let numbers = horizon * self.batch.action();
        let noise = self.sampler.needs_noise(&moves).then(|| {
            due.iter()
                .flat_map(|stream| self.streams[*stream].random.draw(numbers))
                .collect::<Vec<f32>>()
        });
        self.batch
            .step(&due, &self.sampler, &moves, noise.as_deref())?;
        due.iter()
            .for_each(|stream| self.streams[*stream].level -= 1);
        Ok(due.len())
    }

    fn advance(&mut self, stream: usize, consumed: usize) {
        let state = &mut self.streams[stream];
        if !state.begun || consumed == 0 {
            return;
        }
        state.consumed += consumed;
        if state.consumed >= self.config.action_steps {
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
                if let Some(actions) = state.last_good.clone() {
                    state.level = 0;
                    state.consumed = self.config.action_steps;
                    let rows = self.batch.rows(&actions);
                    self.batch.set_buffer(stream, &rows);
                }
                return Err(error);
            }
        };
        let horizon = self.config.horizon;
        let state = &mut self.streams[stream];
        if state.level == 0 {
            state.last_good = Some(actions.clone());
        }
        let noise = self
            .sampler
            .schedule()
            .noise_deviation(self.ladder.timestep(state.level));
        let current = (self.config.past() + state.consumed).min(horizon - 1);
        Ok(Plan {
            chunk: state.chunk,
            actions,
            noise: vec![noise as f32; horizon],
            levels: vec![state.level as u32; horizon],
            current,
            committed: if state.level == 0 {
                horizon - current
            } else {
                0
            },
        })
    }
}
