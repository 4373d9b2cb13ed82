//! Ladders: which training timestep each noise level of a rolling plan stands for.
//!
//! A ladder of K levels runs from 0 (clean) to K (pure noise). One network evaluation brings every
//! position down by one level. A plan of h chunks keeps chunk c at level K (c + 1) / h before an
//! observation is processed, so a new observation costs K / h evaluations: K = h means one.

use crate::{Error, Result};

/// The timesteps of the levels of a rolling plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    timesteps: Vec<i64>,
}

impl Ladder {
    /// `levels` levels spread evenly over `train_timesteps` timesteps, the highest being the last
    /// timestep ("trailing" spacing): level k stands for timestep floor(N k / K) - 1.
    ///
    /// # Errors
    /// No level at all, or more levels than timesteps.
    pub fn even(levels: usize, train_timesteps: usize) -> Result<Self> {
        if levels == 0 || levels > train_timesteps {
            return Err(Error::Config {
                key: "stream.levels",
                found: levels.to_string(),
                expected: format!("1 to {train_timesteps} (schedule.train_timesteps)"),
            });
        }
        let timesteps = (0..=levels)
            .map(|level| (train_timesteps * level / levels) as i64 - 1)
            .collect();
        Ok(Self { timesteps })
    }

    /// As [`Ladder::even`], the lowest level being the first timestep ("leading" spacing of the
    /// `diffusers` schedulers, which LeRobot's checkpoints are run with): level k stands for timestep
    /// floor(N / K) (k - 1). The highest level is not quite pure noise there.
    ///
    /// # Errors
    /// As [`Ladder::even`].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_per_timestep_is_the_schedule_itself() {
        let ladder = Ladder::even(100, 100).unwrap();
        assert!((0..=100).all(|level| ladder.timestep(level) == level as i64 - 1));
    }

    #[test]
    fn sixteen_levels_span_clean_to_pure_noise() {
        let ladder = Ladder::even(16, 100).unwrap();
        assert_eq!((ladder.timestep(0), ladder.timestep(16)), (-1, 99));
        assert!((1..=16).all(|level| ladder.timestep(level) > ladder.timestep(level - 1)));
    }

    #[test]
    fn resting_levels_of_the_released_defaults() {
        let ladder = Ladder::even(100, 100).unwrap();
        let levels: Vec<_> = (0..3).map(|chunk| ladder.resting_level(chunk, 3)).collect();
        assert_eq!(levels, [33, 66, 100]);
    }

    #[test]
    fn leading_levels_begin_at_the_first_timestep() {
        let ladder = Ladder::leading(10, 100).unwrap();
        let timesteps: Vec<_> = (0..=10).map(|level| ladder.timestep(level)).collect();
        assert_eq!(timesteps, [-1, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(
            Ladder::leading(100, 100).unwrap(),
            Ladder::even(100, 100).unwrap()
        );
        // Steps that do not divide the schedule leave its end out.
        assert_eq!(Ladder::leading(7, 100).unwrap().timestep(7), 84);
    }

    #[test]
    fn too_many_levels_are_refused() {
        assert!(Ladder::even(0, 100).is_err());
        assert!(Ladder::even(101, 100).is_err());
    }
}
