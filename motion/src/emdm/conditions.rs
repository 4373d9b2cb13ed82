//! What a clip is made for: its length, a label, poses that it begins and ends with, a path.
//!
//! All but the length may be absent; the network knows an absent condition from one that is zero.

use tch::{Device, Kind, Tensor};

/// Metres that count 1 in a path.
const PATH_UNIT: f64 = 4.0;
/// Numbers of a path at each patch: place, displacement since the last patch, whether there is one.
pub(crate) const PATH_SIZE: i64 = 5;

/// Conditions of B clips of at most P patches.
#[derive(Debug)]
pub struct Conditions {
    /// Patches of every clip, at least 1.
    lengths: Vec<usize>,
    /// Numbers of labels `[B]`, int64; the number of all labels for none.
    pub(crate) label: Tensor,
    /// The embedded frame before the first one and whether there is one `[B, E + 1]`.
    pub(crate) start: Tensor,
    /// The last embedded frame and whether there is one `[B, E + 1]`.
    pub(crate) end: Tensor,
    /// Places of the root `[B, P, 5]`.
    pub(crate) path: Tensor,
    /// Patches from the beginning and to the end, both int64 `[B, P]`.
    pub(crate) from_start: Tensor,
    /// See above.
    pub(crate) to_end: Tensor,
    /// 1 within the clip, 0 behind its end `[B, P, 1]`.
    pub(crate) within: Tensor,
    /// Whether all clips have the same length.
    pub(crate) even: bool,
    none: i64,
}

/// Which conditions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Label,
    Start,
    End,
    Path,
}

impl Conditions {
    /// Clips of `lengths` patches, with nothing else asked; a model of `labels` labels and `size`
    /// numbers a frame.
    pub fn new(lengths: &[usize], labels: usize, size: i64, device: Device) -> Self {
        let count = lengths.len() as i64;
        let most = lengths.iter().copied().max().unwrap_or(1);
        let each = |number: &dyn Fn(usize, usize) -> i64| {
            let numbers: Vec<i64> = lengths
                .iter()
                .flat_map(|length| (0..most).map(|patch| number(*length, patch)))
                .collect();
            Tensor::from_slice(&numbers)
                .view([count, most as i64])
                .to_device(device)
        };
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, device));
        let none = labels as i64;
        Self {
            label: Tensor::full([count], none, (Kind::Int64, device)),
            start: zeros(&[count, size + 1]),
            end: zeros(&[count, size + 1]),
            path: zeros(&[count, most as i64, PATH_SIZE]),
            from_start: each(&|_, patch| patch as i64),
            to_end: each(&|length, patch| length.saturating_sub(patch + 1) as i64),
            within: each(&|length, patch| i64::from(patch < length))
                .to_kind(Kind::Float)
                .unsqueeze(2),
            even: lengths.iter().all(|length| *length == most),
            lengths: lengths.to_vec(),
            none,
        }
    }

    /// Patches of every clip.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Patches of the longest clip P.
    pub fn most(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(1)
    }

    /// Asks for labels by their numbers `[B]`.
    #[must_use]
    pub fn labelled(mut self, labels: &[i64]) -> Self {
        self.label = Tensor::from_slice(labels).to_device(self.label.device());
        self
    }

    /// Asks that clips go on from embedded frames `[B, E]`.
    #[must_use]
    pub fn starting(mut self, frames: &Tensor) -> Self {
        self.start = with_flag(frames);
        self
    }

    /// Asks that clips end with embedded frames `[B, E]`.
    #[must_use]
    pub fn ending(mut self, frames: &Tensor) -> Self {
        self.end = with_flag(frames);
        self
    }

    /// Asks for places of the root at the end of every patch, as the root before the first frame sees
    /// them: left, ahead, metres `[B, P, 2]`.
    #[must_use]
    pub fn along(mut self, places: &Tensor) -> Self {
        let before = Tensor::cat(
            &[
                places.narrow(1, 0, 1).zeros_like(),
                places.narrow(1, 0, places.size()[1] - 1),
            ],
            1,
        );
        let flag = places.narrow(2, 0, 1).ones_like();
        self.path = Tensor::cat(&[places / PATH_UNIT, places - before, flag], 2) * &self.within;
        self
    }

    /// The same without a part, where `kept` is 0 `[B]`.
    pub(crate) fn keep(&mut self, part: Part, kept: &[bool]) {
        let device = self.label.device();
        let flags: Vec<f32> = kept.iter().map(|one| f32::from(u8::from(*one))).collect();
        let flags = Tensor::from_slice(&flags).to_device(device);
        match part {
            Part::Label => {
                let none = self.label.full_like(self.none);
                self.label = self.label.where_self(&flags.gt(0.5), &none);
            }
            Part::Start => self.start = &self.start * flags.unsqueeze(1),
            Part::End => self.end = &self.end * flags.unsqueeze(1),
            Part::Path => self.path = &self.path * flags.view([-1, 1, 1]),
        }
    }

    /// The same without one part.
    pub(crate) fn without(&self, part: Part) -> Self {
        let mut copy = self.copied();
        copy.keep(part, &vec![false; self.lengths.len()]);
        copy
    }

    /// Conditions one after the other in one batch; all have the same lengths.
    pub(crate) fn stacked(all: &[&Self]) -> Self {
        let cat = |part: fn(&Self) -> &Tensor| {
            Tensor::cat(&all.iter().map(|one| part(one)).collect::<Vec<_>>(), 0)
        };
        Self {
            lengths: all.iter().flat_map(|one| one.lengths.clone()).collect(),
            label: cat(|one| &one.label),
            start: cat(|one| &one.start),
            end: cat(|one| &one.end),
            path: cat(|one| &one.path),
            from_start: cat(|one| &one.from_start),
            to_end: cat(|one| &one.to_end),
            within: cat(|one| &one.within),
            even: all.iter().all(|one| one.even),
            none: all.first().map_or(0, |one| one.none),
        }
    }

    fn copied(&self) -> Self {
        Self::stacked(&[self])
    }
}

/// Frames `[B, E]` with a 1 behind each.
fn with_flag(frames: &Tensor) -> Tensor {
    Tensor::cat(&[frames, &frames.narrow(1, 0, 1).ones_like()], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
    }

    #[test]
    fn what_is_absent_differs_from_what_is_zero() {
        let plain = Conditions::new(&[2, 3], 4, 2, Device::Cpu);
        assert_eq!(numbers(&plain.label), [4.0, 4.0]);
        assert_eq!(numbers(&plain.within), [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(numbers(&plain.to_end), [1.0, 0.0, 0.0, 2.0, 1.0, 0.0]);
        let zeros = Tensor::zeros([2, 2], (Kind::Float, Device::Cpu));
        let asked = plain.labelled(&[0, 1]).starting(&zeros);
        assert_eq!(numbers(&asked.start), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(numbers(&asked.without(Part::Label).label), [4.0, 4.0]);
        let mut some = asked.copied();
        some.keep(Part::Start, &[false, true]);
        some.keep(Part::Label, &[false, true]);
        assert_eq!(numbers(&some.start), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(numbers(&some.label), [4.0, 1.0]);
        let two = Conditions::stacked(&[&asked, &some]);
        assert_eq!(two.lengths(), [2, 3, 2, 3]);
    }

    #[test]
    fn a_path_is_told_by_places_and_displacements() {
        let places = Tensor::from_slice(&[0_f32, 4.0, 1.0, 6.0]).view([1, 2, 2]);
        let asked = Conditions::new(&[2], 1, 2, Device::Cpu).along(&places);
        assert_eq!(
            numbers(&asked.path),
            [0.0, 1.0, 0.0, 4.0, 1.0, 0.25, 1.5, 1.0, 2.0, 1.0]
        );
    }
}
