//! Observations that can hardly be in the units of the training data: far outside its range, or a hundredth of it.
//!
//! No clock, and nothing is refused: it is something to be said, once a stream. A robot that rests is nothing odd, nor is a
//! gripper at the end of its way, nor a number that hardly moved in training.

use std::fmt;
use std::ops::Range;

use crate::{Normaliser, PolicyConfig};

/// So many trained ranges beyond the range is far outside, if it is so many times as far from it as the array's numbers are large.
const FAR: (f64, f64) = (10.0, 2.0);
/// Share of the largest trained number up to which one is small: a hundredth of a range from -1 to 1.
const SMALL: f64 = 0.02;
/// Share that one of the small ones must have reached where 0 lies within the range: at rest at 0 all are smaller.
const AT_REST: f64 = 0.002;
/// Observations that must all be small.
const OBSERVATIONS: u32 = 10;
/// A range that is smaller than this share of the numbers in it counts as constant, and one smaller than this.
const CONSTANT: (f64, f64) = (1e-3, 1e-4);
/// Deviations from the mean up to which a number is within the trained range, where only those are known.
const DEVIATIONS: f64 = 3.0;

/// What is odd about an array of the observation.
#[derive(Debug, Clone, PartialEq)]
pub enum Oddity {
    /// A number far outside its trained range.
    Far {
        /// The array.
        array: String,
        /// Which of its numbers that are observed, from 0.
        number: usize,
        /// What it is.
        value: f64,
        /// Its trained range.
        trained: [f64; 2],
    },
    /// All numbers stay near 0, within a hundredth of what they were in training.
    Small {
        /// The array.
        array: String,
        /// The largest one in the first observations.
        largest: f64,
        /// The trained range of the number that has the widest.
        trained: [f64; 2],
    },
}

impl fmt::Display for Oddity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ask = "are its units those of the training data?";
        match self {
            Self::Far {
                array,
                number,
                value,
                trained: [low, high],
            } => {
                let times = beyond(*value, *low, *high) / (high - low);
                write!(
                    out,
                    "{array}: number {number} is {value}, {times:.0} times its trained range of {low} to {high} outside it: {ask}"
                )
            }
            Self::Small {
                array,
                largest,
                trained: [low, high],
            } => write!(
                out,
                "{array} stays within 1 % of its trained range: the largest of its numbers in {OBSERVATIONS} observations is \
                 {largest:.4}, in training they went from {low} to {high}: {ask}"
            ),
        }
    }
}

/// Watches the observations of one robot.
#[derive(Debug, Clone)]
pub struct OddityWatch {
    arrays: Vec<Array>,
    seen: u32,
    has_told_far: bool,
}

#[derive(Debug, Clone)]
struct Array {
    name: String,
    /// Where its numbers begin in an observation.
    start: usize,
    numbers: Vec<Trained>,
    /// The largest number of all of training.
    largest: f64,
    /// Whether all that count have been small in this stream.
    is_small: bool,
    /// The largest of them, and its share of what it was in training.
    seen: (f64, f64),
}

/// The trained range of a number that was not constant.
#[derive(Debug, Clone)]
struct Trained {
    column: usize,
    low: f64,
    high: f64,
}

/// Where 0 lies to a trained range.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Zero {
    Within,
    AtAnEnd,
    Outside,
}

impl Trained {
    fn of(normaliser: &Normaliser, index: usize, column: usize) -> Option<Self> {
        let limits = normaliser
            .minimum
            .get(index)
            .zip(normaliser.maximum.get(index));
        let (low, high) = match limits {
            Some((low, high)) => (f64::from(*low), f64::from(*high)),
            // Nobody has said what it was in training.
            None if normaliser.centre.is_empty() => return None,
            None => {
                let scale = f64::from(normaliser.scale[index]);
                let centre = f64::from(normaliser.centre[index]);
                let mean = centre - f64::from(normaliser.offset[index]) / scale;
                let reach = (DEVIATIONS / scale).abs();
                (mean - reach, mean + reach)
            }
        };
        let trained = Self { column, low, high };
        let least = CONSTANT.1.max(CONSTANT.0 * trained.largest());
        (high - low >= least).then_some(trained)
    }

    fn largest(&self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    fn zero(&self) -> Zero {
        let margin = 0.1 * (self.high - self.low);
        if self.low <= -margin && self.high >= margin {
            Zero::Within
        } else if self.low >= margin || self.high <= -margin {
            Zero::Outside
        } else {
            Zero::AtAnEnd
        }
    }

    fn is_far(&self, value: f64, largest: f64) -> bool {
        let beyond = beyond(value, self.low, self.high);
        beyond > FAR.0 * (self.high - self.low) && beyond > FAR.1 * largest
    }
}

/// How far a value lies outside a range.
fn beyond(value: f64, low: f64, high: f64) -> f64 {
    (low - value).max(value - high).max(0.0)
}

impl OddityWatch {
    /// A watch over observations that are normalised by `normaliser`. What its training data was like is asked of the limits
    /// that it keeps, or else of mean and deviation; where there are none of these, nothing is odd.
    pub fn new(config: &PolicyConfig, normaliser: &Normaliser) -> Self {
        let array = |(name, range): (String, Range<usize>)| {
            let numbers: Vec<Trained> = range
                .clone()
                .enumerate()
                .filter_map(|(column, index)| Trained::of(normaliser, index, column))
                .collect();
            Array {
                name,
                start: range.start,
                largest: numbers.iter().map(Trained::largest).fold(0.0, f64::max),
                numbers,
                is_small: true,
                seen: (0.0, 0.0),
            }
        };
        Self {
            arrays: arrays(config, normaliser.size())
                .into_iter()
                .map(array)
                .collect(),
            seen: 0,
            has_told_far: false,
        }
    }

    /// Begins anew, with a stream.
    pub fn reset(&mut self) {
        self.seen = 0;
        self.has_told_far = false;
        for array in &mut self.arrays {
            array.is_small = true;
            array.seen = (0.0, 0.0);
        }
    }

    /// Looks at an observation `[Do]`; says what is odd once a stream, a thing of each kind.
    pub fn look(&mut self, observation: &[f32]) -> Vec<Oddity> {
        let mut found = Vec::new();
        if !self.has_told_far
            && let Some(far) = self.arrays.iter().find_map(|array| array.far(observation))
        {
            self.has_told_far = true;
            found.push(far);
        }
        if self.seen < OBSERVATIONS {
            self.seen += 1;
            self.arrays
                .iter_mut()
                .for_each(|array| array.measure(observation));
            if self.seen == OBSERVATIONS {
                found.extend(self.arrays.iter().find_map(Array::small));
            }
        }
        found
    }
}

impl Array {
    fn far(&self, observation: &[f32]) -> Option<Oddity> {
        self.numbers.iter().find_map(|trained| {
            let value = f64::from(*observation.get(self.start + trained.column)?);
            trained.is_far(value, self.largest).then(|| Oddity::Far {
                array: self.name.clone(),
                number: trained.column,
                value,
                trained: [trained.low, trained.high],
            })
        })
    }

    fn measure(&mut self, observation: &[f32]) {
        for trained in &self.numbers {
            let value = observation.get(self.start + trained.column);
            let value = value.map_or(0.0, |value| f64::from(value.abs()));
            let share = value / trained.largest();
            self.is_small &= share <= SMALL;
            self.seen = (self.seen.0.max(value), self.seen.1.max(share));
        }
    }

    /// Whether small numbers say anything: at the end of its range one is often small, and a single one may be at rest.
    fn small(&self) -> Option<Oddity> {
        let zeros = |zero: Zero| self.numbers.iter().filter(|it| it.zero() == zero).count();
        let is_said =
            zeros(Zero::Outside) > 0 || (zeros(Zero::Within) > 1 && self.seen.1 >= AT_REST);
        let widest = self
            .numbers
            .iter()
            .max_by(|one, other| (one.high - one.low).total_cmp(&(other.high - other.low)))?;
        (self.is_small && is_said).then(|| Oddity::Small {
            array: self.name.clone(),
            largest: self.seen.0,
            trained: [widest.low, widest.high],
        })
    }
}

/// The arrays of an observation of `size` numbers, and where in it they are.
fn arrays(config: &PolicyConfig, size: usize) -> Vec<(String, Range<usize>)> {
    let parts = config.task.observation.iter();
    let parts: Vec<_> = parts.filter(|part| part.image.is_none()).collect();
    let known = |columns: &Option<Vec<usize>>| columns.as_ref().map(Vec::len);
    let counted: usize = parts.iter().filter_map(|part| known(&part.columns)).sum();
    let open = parts.iter().filter(|part| part.columns.is_none()).count();
    if open > 1 || counted > size || (open == 0 && counted != size) {
        let names: Vec<&str> = parts.iter().map(|part| part.array.as_str()).collect();
        return vec![(names.join(", "), 0..size)];
    }
    let mut start = 0;
    let mut arrays = Vec::new();
    for part in parts {
        let end = start + known(&part.columns).unwrap_or(size - counted);
        arrays.push((part.array.clone(), start..end));
        start = end;
    }
    arrays
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(ranges: &[[f32; 2]]) -> OddityWatch {
        let text = r#"{ "name": "test", "observation": [{ "array": "observation.state" }] }"#;
        let numbers = ranges.len();
        let normaliser = Normaliser {
            minimum: ranges.iter().map(|range| range[0]).collect(),
            maximum: ranges.iter().map(|range| range[1]).collect(),
            ..Normaliser::identity(numbers)
        };
        let mut config: PolicyConfig =
            serde_json::from_str(include_str!("../../models/pusht-state/config.json"))
                .map(|value: serde_json::Value| value["policy"].clone())
                .and_then(serde_json::from_value)
                .unwrap();
        config.task = serde_json::from_str(text).unwrap();
        OddityWatch::new(&config, &normaliser)
    }

    fn said(watch: &mut OddityWatch, observation: impl Fn(u32) -> Vec<f32>) -> Vec<String> {
        watch.reset();
        let found = (0..60).flat_map(|at| watch.look(&observation(at)));
        found.map(|oddity| oddity.to_string()).collect()
    }

    #[test]
    fn other_units_are_told_once() {
        let mut arm = watch(&[[-180.0, 180.0], [-90.0, 90.0], [5.0, 5.0]]);
        let radians = said(&mut arm, |_| vec![1.57, -0.78, 5.0]);
        assert_eq!(radians.len(), 1, "{radians:?}");
        for word in ["observation.state", "within 1 %", "1.57", "-180 to 180"] {
            assert!(radians[0].contains(word), "{radians:?}");
        }
        let thousandths = said(&mut arm, |_| vec![90_000.0, -45_000.0, 5.0]);
        assert_eq!(thousandths.len(), 1, "{thousandths:?}");
        for word in ["number 0 is 90000", "250 times", "-180 to 180"] {
            assert!(thousandths[0].contains(word), "{thousandths:?}");
        }
        let mut arm = watch(&[[-3.1, 3.1], [0.2, 2.4], [-1.5, 1.5]]);
        let degrees = said(&mut arm, |_| vec![10.0, 80.0, -30.0]);
        assert!(
            degrees.len() == 1 && degrees[0].contains("number 1 is 80"),
            "{degrees:?}"
        );
        assert_eq!(said(&mut arm, |_| vec![1e30, 1.0, 0.0]).len(), 1);
        // Metres for millimetres.
        let mut hand = watch(&[[200.0, 600.0], [-300.0, 300.0]]);
        assert_eq!(said(&mut hand, |_| vec![0.4, 0.1]).len(), 1);
    }

    #[test]
    fn two_kinds_are_both_told_and_anew_in_every_stream() {
        let mut arm = watch(&[[-180.0, 180.0], [-90.0, 90.0]]);
        let both = |at: u32| vec![if at == 20 { 1e6 } else { 1.5 }, 0.5];
        for _ in 0..3 {
            assert_eq!(said(&mut arm, both).len(), 2);
        }
    }

    #[test]
    fn what_is_usual_is_not_told() {
        let nothing: [String; 0] = [];
        let mut arm = watch(&[[-180.0, 180.0], [-90.0, 90.0], [5.0, 5.0]]);
        // At rest at 0, with an encoder's noise; in the middle; a constant number that is another.
        let rest = |at: u32| vec![0.05 * (at as f32).sin(), 0.02, 5.0];
        assert_eq!(said(&mut arm, rest), nothing);
        assert_eq!(said(&mut arm, |_| vec![0.0; 3]), nothing);
        assert_eq!(said(&mut arm, |_| vec![45.0, 0.3, 500.0]), nothing);
        assert_eq!(said(&mut arm, |_| vec![-400.0, 200.0, 5.0]), nothing);
        // Begins at rest and moves.
        let moves = |at: u32| vec![at as f32, 0.5, 5.0];
        assert_eq!(said(&mut arm, moves), nothing);
        // A gripper that is closed, a hand that is open; a joint that hardly moved in training.
        assert_eq!(said(&mut watch(&[[0.0, 1.0]]), |_| vec![0.004]), nothing);
        let mut hand = watch(&[[0.0, 1.6], [-0.01, 1.6], [0.0, 1.2]]);
        assert_eq!(said(&mut hand, |_| vec![0.004, 0.0, 0.002]), nothing);
        let mut narrow = watch(&[[-3.1, 3.1], [1.57, 1.58], [-0.001, 0.001]]);
        assert_eq!(said(&mut narrow, |_| vec![0.5, 1.9, 0.2]), nothing);
        // Nobody knows what training was like.
        let mut unknown = watch(&[]);
        assert_eq!(said(&mut unknown, |_| vec![1e9; 4]), nothing);
    }

    #[test]
    fn means_and_deviations_stand_for_limits() {
        let normaliser = Normaliser {
            scale: vec![1.0 / 60.0],
            offset: vec![0.0],
            centre: vec![10.0],
            ..Normaliser::identity(1)
        };
        let trained = Trained::of(&normaliser, 0, 0).unwrap();
        assert!((trained.low + 170.0).abs() < 1e-3 && (trained.high - 190.0).abs() < 1e-3);
        assert!(Trained::of(&Normaliser::identity(1), 0, 0).is_none());
    }
}
