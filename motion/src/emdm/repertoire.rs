//! What a model of whole clips can be asked for: labels, and how long clips may be.

use super::labels::{LabelMatcher, Labels};
use super::pieces::Span;
use crate::data::FRAME_RATE;
use crate::performer::ActionRequest;
use crate::{Error, Result};

/// Labels with how long their motion lasts, without the networks: for whoever takes requests.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionLibrary {
    labels: Labels,
    spans: Vec<Span>,
    patch: usize,
    longest: usize,
}

impl ActionLibrary {
    /// For as many spans as labels, frames of a patch and of the longest clip.
    pub(super) fn new(labels: Labels, spans: Vec<Span>, (patch, longest): (usize, usize)) -> Self {
        Self {
            labels,
            spans,
            patch,
            longest,
        }
    }

    /// The labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How long the motion of each label lasts.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Seconds of the longest clip.
    pub fn longest(&self) -> f64 {
        self.longest as f64 / FRAME_RATE
    }

    /// What somebody asks for in words.
    ///
    /// # Errors
    /// An unknown label, naming the nearest; a length out of range.
    pub fn act(&self, text: &str, seconds: Option<f64>, seed: u64) -> Result<ActionRequest> {
        let label = self.labels.label(text)?;
        let frames = self.length(Some(label), seconds)?;
        Ok(ActionRequest {
            label,
            seconds: Some(frames as f64 / FRAME_RATE),
            seed,
        })
    }

    /// Frames of a clip of so many seconds, or of the usual length of a label: whole patches.
    ///
    /// # Errors
    /// Fewer than two patches, or more than the longest clip.
    pub fn length(&self, label: Option<usize>, seconds: Option<f64>) -> Result<usize> {
        let usual = label.and_then(|label| self.spans.get(label));
        let most = self.longest();
        let seconds = seconds.or(usual.map(|span| span.usual)).unwrap_or(most);
        let least = 2.0 * self.patch as f64 / FRAME_RATE;
        if !(seconds >= least - 1e-9 && seconds <= most + 1e-9) {
            return Err(Error::Request {
                key: "length",
                found: format!("{seconds} s"),
                expected: format!(
                    "{least:.2} to {most:.2} s; longer motion is made of several clips"
                ),
            });
        }
        let patches = (seconds * FRAME_RATE / self.patch as f64 - 1e-6).ceil() as usize;
        Ok(patches.clamp(2, self.longest / self.patch) * self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn words_become_acts_of_whole_patches() {
        let repertoire = testing::model(3).repertoire().clone();
        let act = repertoire.act("please kick", Some(0.5), 7).unwrap();
        assert_eq!((act.label, act.seed), (1, 7));
        assert!((act.seconds.unwrap() - 16.0 / FRAME_RATE).abs() < 1e-9);
        let usual = repertoire.act("kick", None, 7).unwrap();
        assert!((usual.seconds.unwrap() - repertoire.spans()[1].usual).abs() < 1e-9);
        assert!(repertoire.act("fly", None, 7).is_err());
        for wrong in [0.0, -1.0, 9.0, f64::NAN, f64::INFINITY] {
            assert!(repertoire.act("kick", Some(wrong), 7).is_err(), "{wrong}");
        }
    }
}
