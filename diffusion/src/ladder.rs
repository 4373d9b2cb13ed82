//! Ladders: which training timestep each noise level of a rolling plan stands for.
//!
//! A ladder of K levels runs from 0 (clean) to K (pure noise). One network evaluation brings every
//! position down by one level. A plan of h chunks keeps chunk c at level K (c + 1) / h before an
//! observation is processed, so a new observation costs K / h evaluations: K = h means one.
//!
//! A step of a single-step solver makes several evaluations. Here each of them is a level: between
//! two of them a position lies at the solver's intermediate level, with the noise of that.

use std::ops::Range;

use crate::solver::{Solver, StagePlace};
use crate::{Error, NoiseSchedule, Result};

/// The timesteps of the levels of a rolling plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestepSchedule {
    timesteps: Vec<i64>,
    /// Evaluations of a whole step of the solver.
    stages: usize,
}

/// Which evaluation of a step is made at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Evaluations of the step before this one.
    pub index: usize,
    /// Evaluations of the step.
    pub size: usize,
}

impl TimestepSchedule {
    /// `levels` levels spread evenly over `train_timesteps` timesteps, the highest being the last
    /// timestep ("trailing" spacing): level k stands for timestep floor(N k / K) - 1.
    ///
    /// # Errors
    /// No level at all, or more levels than timesteps.
    pub fn even(levels: usize, train_timesteps: usize) -> Result<Self> {
        if levels == 0 || levels > train_timesteps {
            return Err(Error::Config {
                key: "plan.levels",
                found: levels.to_string(),
                expected: format!("1 to {train_timesteps} (schedule.train_timesteps)"),
            });
        }
        let timesteps = (0..=levels).map(|level| (train_timesteps * level / levels) as i64 - 1);
        Self::new(timesteps.collect())
    }

    /// A ladder of the given timesteps, level 0 first; -1 is clean.
    ///
    /// # Errors
    /// Fewer than two timesteps, one below -1, or one that is not above the one before.
    pub fn new(timesteps: Vec<i64>) -> Result<Self> {
        let rising = timesteps.windows(2).all(|pair| pair[0] < pair[1]);
        if timesteps.len() < 2 || timesteps[0] < -1 || !rising {
            return Err(Error::Config {
                key: "timesteps",
                found: format!("{timesteps:?}"),
                expected: "two or more, each above the one before, from -1 on".into(),
            });
        }
        Ok(Self {
            timesteps,
            stages: 1,
        })
    }

    /// The ladder with its levels laid out for a solver whose steps make several evaluations; for
    /// all others it stays as it is.
    ///
    /// The steps are counted from the clean end, where the last evaluation is a step of its own, so
    /// the first step may be one of fewer evaluations. Steps begin and end where the levels were;
    /// those between move to the timesteps that are nearest to where the solver evaluates, such as
    /// halves or thirds of the step in the logarithm of the signal-to-noise ratio for DPM-Solver.
    #[must_use]
    pub fn laid_out_for(mut self, solver: Solver, schedule: &NoiseSchedule) -> Self {
        self.stages = solver.stages();
        for level in (1..=self.levels()).rev() {
            let stage = self.stage(level);
            if stage.index == 0 {
                continue;
            }
            let below = level + stage.index - stage.size;
            let (begin, end) = (self.timesteps[level + stage.index], self.timesteps[below]);
            let nearest = match solver.stage_place(stage.index, stage.size) {
                StagePlace::LogRatio(share) => {
                    let ratio = |timestep: i64| schedule.level(timestep).log_ratio();
                    // Room is left for the evaluations that follow.
                    let room = end + (level - below) as i64..self.timesteps[level + 1];
                    nearest(ratio, [begin, end], share, room)
                }
                StagePlace::FlowTime(1.0) => Some(end),
                StagePlace::FlowTime(share) => {
                    let time = |timestep: i64| schedule.level(timestep).flow_time();
                    // Evaluations may share a place between the ends.
                    nearest(time, [begin, end], share, end + 1..begin)
                }
            };
            self.timesteps[level] = nearest.unwrap_or(self.timesteps[level]);
        }
        self
    }

    /// Which evaluation of a solver's step is made at a level above 0.
    pub fn stage(&self, level: usize) -> Stage {
        // A clean position has no logarithm of its noise: the step there has one evaluation.
        let first = if self.timesteps[0] < 0 { 2 } else { 1 };
        if level < first {
            return Stage { index: 0, size: 1 };
        }
        let lowest = first + (level - first) / self.stages * self.stages;
        let highest = (lowest + self.stages - 1).min(self.levels());
        Stage {
            index: highest - level,
            size: highest + 1 - lowest,
        }
    }

    /// As [`TimestepSchedule::even`], the lowest level being the first timestep ("leading" spacing of the
    /// `diffusers` schedulers, which LeRobot's checkpoints are run with): level k stands for timestep
    /// floor(N / K) (k - 1). The highest level is not quite pure noise there.
    ///
    /// # Errors
    /// As [`TimestepSchedule::even`].
    pub fn leading(levels: usize, train_timesteps: usize) -> Result<Self> {
        let mut ladder = Self::even(levels, train_timesteps)?;
        let step = (train_timesteps / levels) as i64;
        for (level, timestep) in ladder.timesteps.iter_mut().enumerate().skip(1) {
            *timestep = step * (level as i64 - 1);
        }
        Ok(ladder)
    }

    /// Number of levels K above clean.
    pub fn levels(&self) -> usize {
        self.timesteps.len() - 1
    }

    /// Training timestep of a level; -1 for level 0. Levels above K count as K.
    pub fn timestep(&self, level: usize) -> i64 {
        self.timesteps[level.min(self.levels())]
    }

    /// Level at which chunk `chunk` of `chunks` waits for the next observation.
    pub fn resting_level(&self, chunk: usize, chunks: usize) -> usize {
        self.levels() * (chunk + 1) / chunks
    }
}

/// The timestep of `room` at which `value` is nearest to a share of the way between two timesteps.
fn nearest(
    value: impl Fn(i64) -> f64,
    [begin, end]: [i64; 2],
    share: f64,
    room: Range<i64>,
) -> Option<i64> {
    let aim = value(begin) + share * (value(end) - value(begin));
    let distance = |timestep: i64| (value(timestep) - aim).abs();
    let room = room.filter(|_| aim.is_finite());
    room.min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleConfig;

    #[test]
    fn one_level_per_timestep_is_the_schedule_itself() {
        let ladder = TimestepSchedule::even(100, 100).unwrap();
        assert!((0..=100).all(|level| ladder.timestep(level) == level as i64 - 1));
    }

    #[test]
    fn sixteen_levels_span_clean_to_pure_noise() {
        let ladder = TimestepSchedule::even(16, 100).unwrap();
        assert_eq!((ladder.timestep(0), ladder.timestep(16)), (-1, 99));
        assert!((1..=16).all(|level| ladder.timestep(level) > ladder.timestep(level - 1)));
    }

    #[test]
    fn resting_levels_of_the_released_defaults() {
        let ladder = TimestepSchedule::even(100, 100).unwrap();
        let levels: Vec<_> = (0..3).map(|chunk| ladder.resting_level(chunk, 3)).collect();
        assert_eq!(levels, [33, 66, 100]);
    }

    #[test]
    fn steps_of_several_evaluations_end_where_the_levels_were() {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        let even = TimestepSchedule::even(12, 100).unwrap();
        for (name, solver) in Solver::named_solvers() {
            let ladder = even.clone().laid_out_for(solver, &schedule);
            let mut steps = 0;
            for level in 1..=12 {
                let stage = ladder.stage(level);
                assert!(stage.index < stage.size && stage.size <= solver.stages());
                assert!(
                    ladder.timestep(level) >= ladder.timestep(level - 1),
                    "{name}"
                );
                if stage.index == 0 {
                    steps += 1;
                    assert_eq!(ladder.timestep(level), even.timestep(level), "{name}");
                }
            }
            // The evaluation to clean, and the others in whole steps or one that is shorter.
            assert_eq!(steps, 1 + 11_usize.div_ceil(solver.stages()), "{name}");
        }
        let heun = even.laid_out_for(Solver::named("heun").unwrap(), &schedule);
        assert_eq!(heun.timestep(2), heun.timestep(1));
        assert_eq!(heun.stage(12), Stage { index: 0, size: 1 });
    }

    #[test]
    fn as_many_levels_as_timesteps_leave_room_for_every_evaluation() {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        let ladder = TimestepSchedule::even(100, 100).unwrap();
        for name in ["dpm-2s", "dpm-3s"] {
            let solver = Solver::named(name).unwrap();
            assert_eq!(
                ladder.clone().laid_out_for(solver, &schedule).timesteps,
                ladder.timesteps
            );
        }
    }

    #[test]
    fn timesteps_that_do_not_rise_are_refused() {
        for timesteps in [vec![], vec![-1], vec![-2, 3], vec![4, 4]] {
            assert!(TimestepSchedule::new(timesteps).is_err());
        }
    }

    #[test]
    fn leading_levels_begin_at_the_first_timestep() {
        let ladder = TimestepSchedule::leading(10, 100).unwrap();
        let timesteps: Vec<_> = (0..=10).map(|level| ladder.timestep(level)).collect();
        assert_eq!(timesteps, [-1, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(
            TimestepSchedule::leading(100, 100).unwrap(),
            TimestepSchedule::even(100, 100).unwrap()
        );
        // Steps that do not divide the schedule leave its end out.
        assert_eq!(TimestepSchedule::leading(7, 100).unwrap().timestep(7), 84);
    }

    #[test]
    fn too_many_levels_are_refused() {
        assert!(TimestepSchedule::even(0, 100).is_err());
        assert!(TimestepSchedule::even(101, 100).is_err());
    }
}
