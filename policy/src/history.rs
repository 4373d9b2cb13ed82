//! The last few observations, as the network's condition.

use std::collections::VecDeque;

/// The last To observations, already normalised; before there are as many, the first repeats.
#[derive(Debug, Clone)]
pub struct ObservationHistory {
    steps: usize,
    observations: VecDeque<Vec<f32>>,
}

impl ObservationHistory {
    /// An empty history of `steps` observations.
    pub fn new(steps: usize) -> Self {
        Self {
            steps,
            observations: VecDeque::with_capacity(steps + 1),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.observations.clear();
    }

    /// Whether nothing was observed yet.
    pub fn is_empty(&self) -> bool {
        self.observations.is_empty()
    }

    /// Adds the newest observation.
    pub fn push(&mut self, observation: Vec<f32>) {
        if self.observations.is_empty() {
            self.observations
                .extend(std::iter::repeat_n(observation, self.steps));
            return;
        }
        self.observations.pop_front();
        self.observations.push_back(observation);
    }

    /// All observations, oldest first, To Do numbers.
    pub fn condition(&self) -> Vec<f32> {
        self.observations.iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_observation_fills_the_history() {
        let mut history = ObservationHistory::new(3);
        assert!(history.is_empty());
        history.push(vec![1.0, 2.0]);
        assert_eq!(history.condition(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        history.push(vec![3.0, 4.0]);
        assert_eq!(history.condition(), [1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
        history.clear();
        history.push(vec![5.0, 6.0]);
        assert_eq!(history.condition(), [5.0, 6.0, 5.0, 6.0, 5.0, 6.0]);
    }
}
