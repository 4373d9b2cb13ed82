//! The windows that training draws from episodes.

use super::Episodes;
use crate::config::Alignment;

/// One training example: which rows its observations and actions come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Rows of the observation history, oldest first, To entries.
    pub observations: Vec<usize>,
    /// Rows of the actions, Tp entries.
    pub actions: Vec<usize>,
}

/// All windows over some episodes.
///
/// A window never crosses an episode's border: what would lie outside repeats the first or the last
/// row, as in the reference implementation.
#[derive(Debug, Clone)]
pub struct Windows {
    /// For each window: first and last row of its episode and the row of its newest observation.
    anchors: Vec<(usize, usize, usize)>,
    horizon: usize,
    history: usize,
    past: usize,
}

impl Windows {
    /// Windows of `horizon` actions and `history` observations.
    ///
    /// `pad_after` actions may be repetitions of the episode's last one.
    pub fn new(
        episodes: &Episodes,
        chosen: &[usize],
        horizon: usize,
        history: usize,
        alignment: Alignment,
        pad_after: usize,
    ) -> Self {
        let past = alignment.past_actions(history);
        let mut anchors = Vec::new();
        for &episode in chosen {
            let (first, end) = episodes.bounds(episode);
            // The window's last action is `newest + horizon - 1 - past`.
            let Some(last) = (end + past + pad_after).checked_sub(horizon) else {
                continue;
            };
            let last = last.min(end - 1);
            anchors.extend((first..=last).map(|newest| (first, end - 1, newest)));
        }
        Self {
            anchors,
            horizon,
            history,
            past,
        }
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Whether there is no window.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// A window by number, below [`Self::len`].
    pub fn get(&self, index: usize) -> Window {
        let (first, last, newest) = self.anchors[index];
        let row =
            |offset: usize, back: usize| (newest + offset).saturating_sub(back).clamp(first, last);
        Window {
            observations: (0..self.history)
                .map(|step| row(step, self.history - 1))
                .collect(),
            actions: (0..self.horizon).map(|step| row(step, self.past)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episodes() -> Episodes {
        Episodes {
            observations: (0..10).map(|row| row as f32).collect(),
            actions: (0..10).map(|row| row as f32).collect(),
            observation_size: 1,
            action_size: 1,
            pictures: Vec::new(),
            ends: vec![4, 10],
        }
    }

    #[test]
    fn windows_stay_inside_their_episode_and_repeat_its_ends() {
        let episodes = episodes();
        let windows = Windows::new(&episodes, &[1], 4, 2, Alignment::NewestObservation, 3);
        assert_eq!(windows.len(), 6);
        assert_eq!(
            windows.get(0),
            Window {
                observations: vec![4, 4],
                actions: vec![4, 5, 6, 7]
            }
        );
        assert_eq!(
            windows.get(5),
            Window {
                observations: vec![8, 9],
                actions: vec![9, 9, 9, 9]
            }
        );
    }

    #[test]
    fn the_reference_alignment_begins_with_the_oldest_observation() {
        let episodes = episodes();
        let windows = Windows::new(&episodes, &[0, 1], 4, 2, Alignment::OldestObservation, 0);
        // Episode 0 has rows 0..4: newest may be 0 (padded) and 1, then the horizon ends at row 3.
        assert_eq!(
            windows.get(0),
            Window {
                observations: vec![0, 0],
                actions: vec![0, 0, 1, 2]
            }
        );
        assert_eq!(
            windows.get(1),
            Window {
                observations: vec![0, 1],
                actions: vec![0, 1, 2, 3]
            }
        );
        assert_eq!(windows.get(2).actions[0], 4);
    }

    #[test]
    fn episodes_that_are_too_short_have_no_window() {
        let episodes = episodes();
        for (chosen, horizon) in [(0, 4), (1, 6)] {
            let windows = |horizon| {
                Windows::new(
                    &episodes,
                    &[chosen],
                    horizon,
                    1,
                    Alignment::NewestObservation,
                    0,
                )
            };
            assert_eq!((windows(horizon).len(), windows(horizon + 1).len()), (1, 0));
        }
    }
}
