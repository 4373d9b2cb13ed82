//! One orientation: turned no faster than its limit. It may stop at once.

use crate::quaternion::Quaternion;

/// How far a quaternion's length may be from 1 to count as it stands.
const LENGTH: f64 = 1e-6;
/// Room for rounding in comparisons of angles, relative.
const ROOM: f64 = 1e-10;

/// An orientation on its way.
#[derive(Debug, Clone)]
pub(crate) struct OrientationLimiter {
    columns: [usize; 4],
    /// Greatest angle per period, in rad.
    step: f64,
    at: Quaternion,
    /// What was commanded: `at`, as given where it was given with length 1.
    numbers: [f64; 4],
}

impl OrientationLimiter {
    pub(crate) fn new(columns: [usize; 4], step: f64) -> Self {
        Self {
            columns,
            step,
            at: Quaternion::IDENTITY,
            numbers: Quaternion::IDENTITY.numbers(),
        }
    }

    pub(crate) fn columns(&self) -> [usize; 4] {
        self.columns
    }

    /// Whether an action, which must be long enough, says an orientation.
    pub(crate) fn accepts(&self, action: &[f64]) -> bool {
        Quaternion::new(self.read(action)).is_some()
    }

    /// Whether a period leads to an action's orientation; true where it says none.
    pub(crate) fn is_near(&self, action: &[f64]) -> bool {
        Quaternion::new(self.read(action)).is_none_or(|to| self.at.angle_to(to) <= self.step)
    }

    /// Whether it has a greatest angular velocity.
    pub(crate) fn has_speed(&self) -> bool {
        self.step.is_finite()
    }

    pub(crate) fn start(&mut self, action: &[f64]) {
        let numbers = self.read(action);
        if let Some(at) = Quaternion::new(numbers) {
            self.at = at;
            self.place(at, numbers);
        }
    }

    /// One period on; returns by what angle it stays behind the reference, in rad.
    pub(crate) fn follow(&mut self, action: &[f64]) -> f64 {
        let numbers = self.read(action);
        let Some(reference) = Quaternion::new(numbers) else {
            return 0.0;
        };
        let angle = self.at.angle_to(reference);
        if angle <= self.step * (1.0 + ROOM) {
            self.place(reference, numbers);
            0.0
        } else {
            self.at = self.at.slerp(reference, self.step / angle).at;
            self.numbers = self.at.numbers();
            angle - self.step
        }
    }

    pub(crate) fn write(&self, out: &mut [f64]) {
        for (&column, &number) in self.columns.iter().zip(&self.numbers) {
            super::write(out, column, number);
        }
    }

    /// The reference as it stands if its length is 1 and its sign that of the last one.
    fn place(&mut self, at: Quaternion, numbers: [f64; 4]) {
        let near = at.on_the_side_of(self.at);
        let exact = near == at && at.is_near(numbers, LENGTH);
        self.numbers = if exact { numbers } else { near.numbers() };
        self.at = near;
    }

    fn read(&self, action: &[f64]) -> [f64; 4] {
        self.columns.map(|column| action[column])
    }
}
