//! Labelled pieces of clips to train on, and how long the motion of each label lasts.

use std::ops::Range;

use kinestream_diffusion::noise::NoiseStream;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::labels::Labels;
use crate::data::{FRAME_RATE, MotionSet};
use crate::{Error, Result};

/// Least frames of a piece of a motion that goes on and on.
const LEAST: usize = 30;
/// Least share of a clip that shows something which happens once.
const LEAST_SHARE: f64 = 0.7;

/// How long the motion of a label lasts in the clips, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Of the shortest piece.
    pub least: f64,
    /// Of the usual one.
    pub usual: f64,
    /// Of the longest piece.
    pub most: f64,
}

/// A sequence whose label is known.
#[derive(Debug, Clone)]
struct Source {
    rows: Range<usize>,
    label: usize,
    whole: bool,
}

/// A piece: rows of the set, a whole number of patches of them; the row before it is there too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Rows of the set.
    pub rows: Range<usize>,
    /// Number of its label.
    pub label: usize,
}

/// All labelled frames of a set, each as some numbers.
#[derive(Debug)]
pub struct Pieces {
    frames: Tensor,
    sources: Vec<Source>,
    /// Sources of every label, and how probable the label is, summed up.
    labels: Vec<(f64, Vec<usize>)>,
    patch: usize,
    longest: usize,
}

impl Pieces {
    /// Labels the sequences of a set, of whose rows `frames` `[N, E]` are made; those that are too
    /// short are left out.
    ///
    /// # Errors
    /// A sequence without a label, or none that is long enough.
    pub fn new(
        frames: Tensor,
        set: &MotionSet,
        labels: &Labels,
        (patch, longest): (usize, usize),
    ) -> Result<Self> {
        let sources = sources(set, labels, patch)?;
        let mut total = 0.0;
        let mut of_labels = Vec::new();
        for number in 0..labels.len() {
            let own: Vec<usize> = (0..sources.len())
                .filter(|source| sources[*source].label == number)
                .collect();
            // Rare labels come more often than in the data, but not as often as common ones: the few
            // clips that they have would be learnt by heart.
            let frames: usize = own.iter().map(|source| sources[*source].rows.len()).sum();
            total += (frames as f64).sqrt();
            of_labels.push((total, own));
        }
        if sources.is_empty() {
            return Err(Error::Config {
                key: "data.labels",
                found: "no clip that is long enough".into(),
                expected: format!("more than {} frames", 2 * patch),
            });
        }
        Ok(Self {
            frames,
            sources,
            labels: of_labels,
            patch,
            longest,
        })
    }

    /// Pieces at random, all of about the same length: of four times as many the quarter that stands
    /// together by length, so that little of a batch is padding.
    pub fn draw(&self, count: usize, random: &mut NoiseStream) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = (0..4 * count).map(|_| self.piece(random)).collect();
        pieces.sort_by_key(|piece| piece.rows.len());
        let quarter = random.below(4);
        pieces
            .drain(quarter * count..(quarter + 1) * count)
            .collect()
    }

    /// Pieces at random.
    pub fn some(&self, count: usize, random: &mut NoiseStream) -> Vec<Piece> {
        (0..count).map(|_| self.piece(random)).collect()
    }

    /// A piece of a label that the set shows; of any, if it does not.
    pub fn of(&self, label: usize, random: &mut NoiseStream) -> Piece {
        match self.labels.get(label) {
            Some((_, own)) if !own.is_empty() => {
                self.cut(&self.sources[own[random.below(own.len())]], random)
            }
            _ => self.piece(random),
        }
    }

    /// Labels that the set shows, by their numbers.
    pub fn labels(&self) -> Vec<usize> {
        let all = self.labels.iter().enumerate();
        all.filter(|(_, (_, own))| !own.is_empty())
            .map(|(label, _)| label)
            .collect()
    }

    fn piece(&self, random: &mut NoiseStream) -> Piece {
        let total = self.labels.last().map_or(0.0, |(sum, _)| *sum);
        let at = random.uniform() * total;
        let label = self.labels.partition_point(|(sum, _)| *sum <= at);
        let (_, own) = &self.labels[label.min(self.labels.len() - 1)];
        let source = &self.sources[own[random.below(own.len())]];
        self.cut(source, random)
    }

    fn cut(&self, source: &Source, random: &mut NoiseStream) -> Piece {
        // The row before the piece is the pose that it begins from.
        let (from, available) = (source.rows.start + 1, source.rows.len() - 1);
        let most = available.min(self.longest);
        let least = if source.whole {
            (LEAST_SHARE * most as f64) as usize
        } else {
            LEAST.min(most)
        };
        let length = least + random.below(most - least + 1);
        let length = (length / self.patch).max(1) * self.patch;
        let room = available - length;
        let start = if source.whole {
            // What happens once happens somewhere about the middle.
            room / 4 + random.below(room / 2 + 1)
        } else {
            random.below(room + 1)
        };
        let start = from + start;
        Piece {
            rows: start..start + length,
            label: source.label,
        }
    }

    /// Frames of pieces `[B, most, E]`, zeros behind their ends.
    pub fn frames(&self, pieces: &[Piece]) -> Tensor {
        let most = pieces.iter().map(|piece| piece.rows.len()).max();
        let most = most.unwrap_or_default();
        let size = self.frames.size()[1];
        let frames: Vec<Tensor> = pieces
            .iter()
            .map(|piece| {
                let rows = &piece.rows;
                let frames = self.frames.narrow(0, rows.start as i64, rows.len() as i64);
                let lacks = (most - rows.len()) as i64;
                if lacks == 0 {
                    frames
                } else {
                    let rest = Tensor::zeros([lacks, size], (frames.kind(), frames.device()));
                    Tensor::cat(&[frames, rest], 0)
                }
            })
            .collect();
        Tensor::stack(&frames, 0)
    }

    /// The frames before pieces `[B, E]`.
    pub(crate) fn before(&self, pieces: &[Piece]) -> Tensor {
        self.rows(pieces, |piece| piece.rows.start - 1)
    }

    /// The last frames of pieces `[B, E]`.
    pub(crate) fn last(&self, pieces: &[Piece]) -> Tensor {
        self.rows(pieces, |piece| piece.rows.end - 1)
    }

    fn rows(&self, pieces: &[Piece], row: fn(&Piece) -> usize) -> Tensor {
        let rows: Vec<i64> = pieces.iter().map(|piece| row(piece) as i64).collect();
        let rows = Tensor::from_slice(&rows).to_device(self.frames.device());
        self.frames.index_select(0, &rows)
    }
}

/// How long the motion of each label lasts in a set.
///
/// # Errors
/// A sequence without a label.
pub fn spans(set: &MotionSet, labels: &Labels, patch: usize, longest: usize) -> Result<Vec<Span>> {
    let sources = sources(set, labels, patch)?;
    let seconds = |frames: usize| (frames / patch * patch) as f64 / FRAME_RATE;
    Ok((0..labels.len())
        .map(|label| {
            let own = sources.iter().filter(|source| source.label == label);
            let mut lengths: Vec<usize> = own
                .map(|source| (source.rows.len() - 1).min(longest))
                .collect();
            lengths.sort_unstable();
            let most = lengths.last().copied().unwrap_or(longest);
            let usual = lengths.get(lengths.len() / 2).copied().unwrap_or(longest);
            let least = if labels.all()[label].whole {
                let first = lengths.first().copied().unwrap_or(LEAST);
                (LEAST_SHARE * first as f64) as usize
            } else {
                LEAST.min(most)
            };
            Span {
                least: seconds(least.max(patch)),
                usual: seconds(usual.max(patch)),
                most: seconds(most.max(patch)),
            }
        })
        .collect())
}

/// The sequences that are long enough, with their labels.
fn sources(set: &MotionSet, labels: &Labels, patch: usize) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for sequence in &set.sequences {
        let label = labels.of(sequence).ok_or_else(|| Error::Config {
            key: "data.labels",
            found: format!("no label for the clip `{}`", sequence.name),
            expected: "a pattern of a label that matches it".into(),
        })?;
        if sequence.rows.len() > 2 * patch {
            sources.push(Source {
                rows: sequence.rows.clone(),
                label,
                whole: labels.all()[label].whole,
            });
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::{Device, Kind};

    use super::super::testing;
    use super::*;

    fn pieces(patch: usize, longest: usize) -> Pieces {
        let set = testing::set();
        let frames = Tensor::arange(set.len() as i64, (Kind::Float, Device::Cpu)).view([-1, 1]);
        Pieces::new(frames, &set, &testing::labels(), (patch, longest)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

        #[test]
        fn pieces_are_whole_patches_within_their_clip(
            seed in any::<u64>(), patch in 1..8_usize, patches in 2..30_usize,
        ) {
            let set = testing::set();
            let longest = patch * patches;
            let pieces = pieces(patch, longest);
            let mut random = NoiseStream::new(seed);
            for piece in pieces.draw(8, &mut random) {
                let sequence = &set.sequences[piece.label];
                prop_assert!(piece.rows.len() % patch == 0 && !piece.rows.is_empty());
                prop_assert!(piece.rows.len() <= longest);
                // The row before is there, too.
                prop_assert!(piece.rows.start > sequence.rows.start);
                prop_assert!(piece.rows.end <= sequence.rows.end);
            }
        }
    }

    #[test]
    fn frames_of_pieces_stand_at_their_beginning() {
        let pieces = pieces(4, 40);
        let chosen = [
            Piece {
                rows: 5..9,
                label: 0,
            },
            Piece {
                rows: 20..28,
                label: 0,
            },
        ];
        let numbers = |tensor: Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
        let expected = [
            5.0, 6.0, 7.0, 8.0, 0.0, 0.0, 0.0, 0.0, 20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0,
        ];
        assert_eq!(numbers(pieces.frames(&chosen)), expected);
        assert_eq!(numbers(pieces.before(&chosen)), [4.0, 19.0]);
        assert_eq!(numbers(pieces.last(&chosen)), [8.0, 27.0]);
    }

    #[test]
    fn spans_are_those_of_the_clips() {
        let spans = spans(&testing::set(), &testing::labels(), 4, 40).unwrap();
        assert!((spans[0].most - 40.0 / FRAME_RATE).abs() < 1e-9);
        assert!((spans[1].most - 36.0 / FRAME_RATE).abs() < 1e-9);
        assert!(
            spans
                .iter()
                .all(|span| span.least <= span.usual && span.usual <= span.most)
        );
    }

    #[test]
    fn a_clip_without_a_label_is_named() {
        let set = MotionSet::of([("b/other".to_owned(), testing::swinging(40, 0.1, 0.0))]).unwrap();
        let message = spans(&set, &testing::labels(), 4, 40)
            .unwrap_err()
            .to_string();
        assert!(message.contains("b/other"), "{message}");
    }
}
