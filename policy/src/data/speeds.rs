//! How fast the actions of demonstrations move.

use std::path::Path;

use super::Episodes;
use crate::Result;
use crate::config::TaskConfig;

impl Episodes {
    /// Reads the actions of a replay buffer alone, without observations.
    ///
    /// # Errors
    /// As [`Episodes::read`].
    pub fn read_actions(store: &Path, task: &TaskConfig) -> Result<Self> {
        let task = TaskConfig {
            observation: Vec::new(),
            ..task.clone()
        };
        Self::read(store, &task)
    }

    /// Speed of every number of the actions, per second at `rate_hz` actions a second: that which the share `quantile`, 0 to
    /// 1, of all changes from one action to the next do not pass. Changes from one episode to the next do not count.
    ///
    /// 0 where there are no two actions in a row.
    pub fn action_speeds(&self, rate_hz: f64, quantile: f64) -> Vec<f64> {
        (0..self.action_size)
            .map(|number| {
                let mut changes = self.changes(number);
                changes.sort_by(f64::total_cmp);
                let last = changes.len().saturating_sub(1);
                let index = (quantile.clamp(0.0, 1.0) * last as f64).ceil() as usize;
                changes.get(index).map_or(0.0, |change| change * rate_hz)
            })
            .collect()
    }

    /// Which numbers of the actions have two values and no others, as a gripper's that is open or closed.
    pub fn two_valued_actions(&self) -> Vec<bool> {
        (0..self.action_size)
            .map(|number| {
                let mut values = Vec::with_capacity(3);
                for row in self.actions.chunks_exact(self.action_size) {
                    if !values.contains(&row[number]) {
                        values.push(row[number]);
                    }
                    if values.len() > 2 {
                        return false;
                    }
                }
                values.len() == 2
            })
            .collect()
    }

    /// Distances between consecutive actions in one number, within episodes.
    fn changes(&self, number: usize) -> Vec<f64> {
        let value = |row: usize| f64::from(self.actions[row * self.action_size + number]);
        (0..self.len())
            .flat_map(|episode| {
                let (first, end) = self.bounds(episode);
                (first + 1..end).map(move |row| (value(row) - value(row - 1)).abs())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episodes(actions: Vec<f32>, ends: Vec<usize>) -> Episodes {
        Episodes {
            observations: Vec::new(),
            observation_size: 0,
            action_size: 2,
            actions,
            pictures: Vec::new(),
            ends,
        }
    }

    #[test]
    fn speeds_count_within_episodes_and_per_second() {
        // 1 and 3 units a period, a leap of 100 between the episodes.
        let rows = vec![
            0.0, 0.0, 1.0, -3.0, 2.0, -6.0, 100.0, 100.0, 101.0, 97.0, 102.0, 94.0,
        ];
        let both = episodes(rows.clone(), vec![3, 6]);
        assert_eq!(both.action_speeds(10.0, 1.0), [10.0, 30.0]);
        let one = episodes(rows, vec![6]);
        assert_eq!(one.action_speeds(10.0, 1.0), [980.0, 1060.0]);
        assert_eq!(one.action_speeds(10.0, 0.5), [10.0, 30.0]);
        assert_eq!(one.two_valued_actions(), [false, false]);
        let gripper = episodes(vec![0.0, 5.0, 0.1, -1.0, 0.2, 5.0, 0.3, -1.0], vec![4]);
        assert_eq!(gripper.two_valued_actions(), [false, true]);
        assert_eq!(
            episodes(vec![1.0, 2.0], vec![1]).action_speeds(10.0, 1.0),
            [0.0; 2]
        );
    }
}
