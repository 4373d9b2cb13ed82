//! Noise levels of training windows: the four regimes of Streaming Diffusion Policy, and the levels
//! of the ladder that is run.

use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{Sampler, TimestepSchedule};

use crate::Result;
use crate::config::{NoiseMix, PlanConfig};

/// Draws training timesteps for the positions of a plan.
#[derive(Debug, Clone)]
pub struct LevelSampler {
    shares: [f64; 5],
    train_timesteps: usize,
    horizon: usize,
    chunks: usize,
    chunk_of: Vec<usize>,
    ladder: TimestepSchedule,
}

impl LevelSampler {
    /// A sampler for a mix of regimes over the positions of a plan that `sampler` denoises.
    ///
    /// # Errors
    /// More levels than the schedule has timesteps.
    pub fn new(mix: &NoiseMix, plan: &PlanConfig, sampler: &Sampler) -> Result<Self> {
        Ok(Self {
            shares: mix.shares(),
            train_timesteps: sampler.schedule().train_timesteps(),
            horizon: plan.horizon,
            chunks: plan.chunks(),
            chunk_of: (0..plan.horizon)
                .map(|position| plan.chunk_of(position))
                .collect(),
            ladder: sampler.ladder(plan.ladder_levels())?,
        })
    }

    /// Appends the timesteps (0..N) of one window's positions, Tp of them.
    pub fn draw(&self, random: &mut NoiseStream, timesteps: &mut Vec<i64>) {
        let steps = self.train_timesteps;
        match self.regime(random) {
            Regime::Constant => {
                let level = random.below(steps) as i64;
                timesteps.extend(std::iter::repeat_n(level, self.horizon));
            }
            Regime::Linear => {
                let span = (self.horizon - 1).max(1);
                timesteps.extend(
                    (0..self.horizon).map(|position| (position * (steps - 1) / span) as i64),
                );
            }
            Regime::Independent => {
                timesteps.extend((0..self.horizon).map(|_| random.below(steps) as i64));
            }
            Regime::Chunkwise => {
                let phase = random.below((steps / self.chunks).max(1));
                timesteps.extend(self.chunk_of.iter().map(|chunk| {
                    ((steps * (chunk + 1) / self.chunks) as i64 - 1 - phase as i64).max(0)
                }));
            }
            Regime::Ladder => {
                let phase = random.below((self.ladder.levels() / self.chunks).max(1));
                timesteps.extend(self.chunk_of.iter().map(|chunk| {
                    let resting = self.ladder.resting_level(*chunk, self.chunks);
                    self.ladder.timestep(resting.saturating_sub(phase).max(1))
                }));
            }
        }
    }

    fn regime(&self, random: &mut NoiseStream) -> Regime {
        let mut left = random.uniform() * self.shares.iter().sum::<f64>();
        let regimes = [
            Regime::Constant,
            Regime::Linear,
            Regime::Independent,
            Regime::Chunkwise,
            Regime::Ladder,
        ];
        for (regime, share) in regimes.iter().zip(self.shares) {
            if left < share {
                return *regime;
            }
            left -= share;
        }
        // Rounding can leave a remainder behind; it belongs to the last regime in use.
        let last = self
            .shares
            .iter()
            .rposition(|share| *share > 0.0)
            .unwrap_or(0);
        regimes[last]
    }
}

#[derive(Debug, Clone, Copy)]
enum Regime {
    Constant,
    Linear,
    Independent,
    Chunkwise,
    Ladder,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kinestream_diffusion::sampler::{PredictionType, SamplerConfig, Solver};
    use kinestream_diffusion::schedule::TimestepSpacing;
    use kinestream_diffusion::{DiffusionSampler, NoiseSchedule, ScheduleConfig};

    use kinestream_diffusion::solver::families::heun::Heun;

    use super::*;
    use crate::config::{Alignment, PlanInit, PlanMode};

    fn plan(mode: PlanMode, levels: usize) -> PlanConfig {
        PlanConfig {
            mode,
            horizon: 16,
            observation_steps: 2,
            action_steps: 5,
            levels: Some(levels),
            alignment: Alignment::OldestObservation,
            primer: PlanInit::Zero,
            primer_columns: None,
            commit_ahead: 0,
            inpaint: None,
            iterate: None,
            restart: None,
            guidance: Vec::new(),
        }
    }

    const HEUN: Solver = Solver::Heun(Heun {});

    fn denoiser(spacing: TimestepSpacing, solver: Solver) -> Sampler {
        let config = SamplerConfig {
            prediction: PredictionType::Epsilon,
            solver,
            clip_sample: None,
        };
        let schedule = ScheduleConfig {
            spacing,
            ..ScheduleConfig::default()
        };
        Sampler::new(config, NoiseSchedule::new(&schedule).unwrap()).unwrap()
    }

    fn sampler(mix: NoiseMix, levels: usize) -> LevelSampler {
        let denoiser = denoiser(TimestepSpacing::Trailing, Solver::DDPM);
        LevelSampler::new(&mix, &plan(PlanMode::Streaming, levels), &denoiser).unwrap()
    }

    const NONE: NoiseMix = NoiseMix {
        constant: 0.0,
        linear: 0.0,
        independent: 0.0,
        chunkwise: 0.0,
        ladder: 0.0,
    };

    fn draws(mix: NoiseMix, levels: usize) -> Vec<Vec<i64>> {
        let sampler = sampler(mix, levels);
        let mut random = NoiseStream::new(1);
        (0..400)
            .map(|_| {
                let mut timesteps = Vec::new();
                sampler.draw(&mut random, &mut timesteps);
                assert_eq!(timesteps.len(), 16);
                assert!(timesteps.iter().all(|level| (0..100).contains(level)));
                timesteps
            })
            .collect()
    }

    #[test]
    fn constant_levels_are_equal_and_cover_all() {
        let draws = draws(
            NoiseMix {
                constant: 1.0,
                ..NONE
            },
            100,
        );
        assert!(
            draws
                .iter()
                .all(|levels| levels.iter().all(|level| *level == levels[0]))
        );
        assert!(draws.iter().any(|levels| levels[0] < 5) && draws.iter().any(|l| l[0] > 94));
    }

    #[test]
    fn linear_levels_span_the_schedule() {
        let draws = draws(
            NoiseMix {
                linear: 1.0,
                ..NONE
            },
            100,
        );
        assert!(
            draws
                .iter()
                .all(|levels| levels[0] == 0 && levels[15] == 99)
        );
    }

    #[test]
    fn chunkwise_levels_are_the_released_formula() {
        for levels in draws(
            NoiseMix {
                chunkwise: 1.0,
                ..NONE
            },
            100,
        ) {
            let phase = 32 - levels[0];
            assert!((0..33).contains(&phase));
            assert_eq!(
                (levels[5], levels[6], levels[11]),
                (32 - phase, 65 - phase, 99 - phase)
            );
        }
    }

    /// Every timestep that is run is trained, and no other: of a whole chunk all levels in turn, of a rolling plan those
    /// that each chunk passes.
    #[test]
    fn ladder_levels_are_those_that_are_run() {
        let mix = NoiseMix {
            ladder: 1.0,
            ..NONE
        };
        let cases = [
            (PlanMode::Streaming, TimestepSpacing::Trailing, Solver::DDPM),
            (PlanMode::Streaming, TimestepSpacing::Trailing, HEUN),
            (PlanMode::Chunk, TimestepSpacing::Trailing, Solver::DDPM),
            (PlanMode::Chunk, TimestepSpacing::Leading, Solver::DDPM),
            (PlanMode::Chunk, TimestepSpacing::Leading, HEUN),
        ];
        for (mode, spacing, solver) in cases {
            let (plan, denoiser) = (plan(mode, 6), denoiser(spacing, solver));
            let descent = DiffusionSampler::new(denoiser.clone(), 6, 1, 16).unwrap();
            let run: BTreeSet<i64> = (1..=6).map(|k| descent.ladder().timestep(k)).collect();
            let sampler = LevelSampler::new(&mix, &plan, &denoiser).unwrap();
            let mut random = NoiseStream::new(1);
            let mut trained = Vec::new();
            for _ in 0..400 {
                sampler.draw(&mut random, &mut trained);
            }
            let trained: BTreeSet<i64> = trained.into_iter().collect();
            assert_eq!(trained, run, "{mode:?} {spacing:?} {solver:?}");
        }
    }

    #[test]
    fn independent_levels_differ_within_a_window() {
        let draws = draws(
            NoiseMix {
                independent: 1.0,
                ..NONE
            },
            100,
        );
        assert!(
            draws
                .iter()
                .all(|levels| levels.iter().any(|level| *level != levels[0]))
        );
    }
}
