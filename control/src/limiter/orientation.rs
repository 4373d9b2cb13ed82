//! One orientation: turned no faster than its limit. It may stop at once.

use crate::quaternion::Quaternion;
use crate::rotation::{MOST, OrientationColumns};

/// How far numbers may be from those that are nearest to the last command to count as they stand.
const NEAR: f64 = 1e-6;
/// Room for rounding in comparisons of angles, relative.
const ROOM: f64 = 1e-10;

/// An orientation on its way.
#[derive(Debug, Clone)]
pub(crate) struct OrientationLimiter {
    columns: OrientationColumns,
    /// Greatest angle per period, in rad.
    step: f64,
    at: Quaternion,
    /// What was commanded: `at`, as given where that is near to the last command.
    numbers: [f64; MOST],
}

impl OrientationLimiter {
    pub(crate) fn new(columns: OrientationColumns, step: f64) -> Self {
        Self {
            columns,
            step,
            at: Quaternion::IDENTITY,
            numbers: columns.numbers(Quaternion::IDENTITY, |_| 0.0),
        }
    }

    pub(crate) fn columns(&self) -> OrientationColumns {
        self.columns
    }

    /// Whether an action, which must be long enough, says an orientation.
    pub(crate) fn accepts(&self, action: &[f64]) -> bool {
        self.read(action).is_some()
    }

    /// Whether a period leads to an action's orientation; true where it says none.
    pub(crate) fn is_near(&self, action: &[f64]) -> bool {
        self.read(action)
            .is_none_or(|to| self.at.angle_to(to) <= self.step)
    }

    /// Whether it has a greatest angular velocity.
    pub(crate) fn has_speed(&self) -> bool {
        self.step.is_finite()
    }

    pub(crate) fn start(&mut self, action: &[f64]) {
        if let Some(at) = self.read(action) {
            // By the numbers that it was measured in.
            self.numbers = self.columns.numbers(at, |column| action[column]);
            self.at = at;
            self.place(at, action);
        }
    }

    /// One period on; returns by what angle it stays behind the reference, in rad.
    pub(crate) fn follow(&mut self, action: &[f64]) -> f64 {
        let Some(reference) = self.read(action) else {
            return 0.0;
        };
        let angle = self.at.angle_to(reference);
        if angle <= self.step * (1.0 + ROOM) {
            self.place(reference, action);
            0.0
        } else {
            let turned = self.at.slerp(reference, self.step / angle).at;
            self.numbers = self.nearest(turned);
            self.at = turned;
            angle - self.step
        }
    }

    pub(crate) fn write(&self, out: &mut [f64]) {
        for (&column, &number) in self.columns.columns().iter().zip(&self.numbers) {
            super::write(out, column, number);
        }
    }

    /// The reference as it stands, if its numbers are those nearest to the last command's.
    fn place(&mut self, at: Quaternion, action: &[f64]) {
        let near = self.nearest(at);
        let columns = self.columns.columns();
        let is_exact = columns
            .iter()
            .zip(near)
            .all(|(&column, number)| (action[column] - number).abs() <= NEAR);
        self.numbers = near;
        if is_exact {
            for (number, &column) in self.numbers.iter_mut().zip(columns) {
                *number = action[column];
            }
        }
        self.at = at.on_the_side_of(self.at);
    }

    /// The numbers of an orientation that are nearest to the last command's.
    fn nearest(&self, at: Quaternion) -> [f64; MOST] {
        let columns = self.columns.columns();
        self.columns.numbers(at, |column| {
            let place = columns.iter().position(|&own| own == column);
            place.map_or(0.0, |place| self.numbers[place])
        })
    }

    fn read(&self, action: &[f64]) -> Option<Quaternion> {
        self.columns.read(|column| action[column])
    }
}
