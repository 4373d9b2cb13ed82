//! Which numbers of an action are orientations, and the path of an orientation through a plan.
//!
//! An orientation is four, three or six numbers of the action ([`OrientationColumns`]). Between two positions it turns about
//! one axis at constant angular velocity by the shorter way (slerp), by whatever numbers the two are said. A position whose
//! numbers say no orientation, a quaternion of nearly zeros, is passed over: the path stays at the one before it or, where
//! the plan has none before, at the first after it.

use thiserror::Error;

use crate::curve::{Interpolation, period_s};
use crate::quaternion::{Quaternion, Turn};
use crate::rotation::OrientationColumns;
use crate::timeline::{Plan, PlanPhase};

/// The orientations in an action of a known size; checked when made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orientations {
    groups: Box<[OrientationColumns]>,
    action_size: usize,
}

/// Why orientations were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrientationError {
    /// A column that an action does not have.
    #[error(
        "control.orientations[{group}] names column {column}, but an action has {action_size} numbers: expected columns \
         below {action_size}"
    )]
    Range {
        /// The orientation.
        group: usize,
        /// What it names.
        column: usize,
        /// Numbers per action, Da.
        action_size: usize,
    },
    /// A column in two places.
    #[error(
        "control.orientations[{group}] names column {column}, which is in control.orientations[{first}] already: expected \
         columns that no other number has"
    )]
    Twice {
        /// The orientation.
        group: usize,
        /// What it names.
        column: usize,
        /// Where the column stands first.
        first: usize,
    },
}

impl Orientations {
    /// Checks the columns of each orientation in actions of `action_size` numbers.
    ///
    /// # Errors
    /// A column beyond the action, or named twice; the message names the key `control.orientations`.
    pub fn new(
        groups: &[OrientationColumns],
        action_size: usize,
    ) -> Result<Self, OrientationError> {
        let mut seen = vec![None; action_size];
        for (group, column) in groups.iter().enumerate().flat_map(|(group, orientation)| {
            let columns = orientation.columns().iter();
            columns.map(move |&column| (group, column))
        }) {
            match seen.get_mut(column) {
                None => {
                    return Err(OrientationError::Range {
                        group,
                        column,
                        action_size,
                    });
                }
                Some(&mut Some(first)) => {
                    return Err(OrientationError::Twice {
                        group,
                        column,
                        first,
                    });
                }
                Some(free) => *free = Some(group),
            }
        }
        Ok(Self {
            groups: groups.into(),
            action_size,
        })
    }

    /// An action of `action_size` numbers without orientations.
    #[must_use]
    pub fn none(action_size: usize) -> Self {
        Self {
            groups: Box::default(),
            action_size,
        }
    }

    /// The columns of each orientation.
    #[must_use]
    pub fn groups(&self) -> &[OrientationColumns] {
        &self.groups
    }

    /// Numbers per action, Da.
    #[must_use]
    pub fn action_size(&self) -> usize {
        self.action_size
    }

    /// Whether a column belongs to an orientation.
    #[must_use]
    pub fn contains(&self, column: usize) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| group.columns().contains(&column))
    }

    /// Numbers of the action that belong to no orientation.
    #[must_use]
    pub fn joints(&self) -> usize {
        let turned: usize = self.groups.iter().map(|group| group.columns().len()).sum();
        self.action_size - turned
    }
}

/// The path of one orientation of a plan; rates are per second.
#[derive(Clone, Copy)]
pub(crate) struct OrientationCurve<'a> {
    plan: &'a Plan,
    columns: OrientationColumns,
    interpolation: Interpolation,
}

impl<'a> OrientationCurve<'a> {
    /// `columns` must be below the plan's action size.
    pub(crate) fn new(
        plan: &'a Plan,
        columns: OrientationColumns,
        interpolation: Interpolation,
    ) -> Self {
        Self {
            plan,
            columns,
            interpolation,
        }
    }

    /// The path at `now_ns`; none where no committed position says an orientation.
    pub(crate) fn at(self, now_ns: u64) -> Option<Turn> {
        let (position, fraction) = match self.plan.place(now_ns) {
            PlanPhase::Before => return self.knot(0).map(Turn::at_rest),
            PlanPhase::In { position, fraction } => (position, fraction),
        };
        let from = self.knot(position)?;
        if self.interpolation == Interpolation::Hold || position >= self.last() {
            return Some(Turn::at_rest(from));
        }
        let turn = from.slerp(self.knot(position + 1)?, fraction);
        Some(turn.times(1.0 / period_s(self.plan)))
    }

    /// Whether the position due at `now_ns` says an orientation.
    pub(crate) fn is_said(self, now_ns: u64) -> bool {
        let position = match self.plan.place(now_ns) {
            PlanPhase::Before => 0,
            PlanPhase::In { position, .. } => position.min(self.last()),
        };
        self.said(position).is_some()
    }

    /// The orientation at a committed position; beyond the last, that one.
    pub(crate) fn knot(self, position: usize) -> Option<Quaternion> {
        let position = position.min(self.last());
        let before = (0..=position)
            .rev()
            .find_map(|position| self.said(position));
        before.or_else(|| (position + 1..=self.last()).find_map(|position| self.said(position)))
    }

    pub(crate) fn interpolation(self) -> Interpolation {
        self.interpolation
    }

    fn last(self) -> usize {
        self.plan.header().committed - 1
    }

    fn said(self, position: usize) -> Option<Quaternion> {
        let row = position * self.plan.header().action_size;
        let actions = self.plan.actions();
        self.columns.read(|column| f64::from(actions[row + column]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::PlanHeader;

    #[test]
    fn columns_are_checked() {
        let orientations =
            Orientations::new(&[[3, 4, 5, 6].into(), [10, 9, 8, 7].into()], 11).unwrap();
        assert!(orientations.contains(10) && !orientations.contains(2));
        assert_eq!(orientations.action_size(), 11);
        let error =
            Orientations::new(&[[3, 4, 5, 6].into(), [7, 8, 9, 10].into()], 10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "control.orientations[1] names column 10, but an action has 10 numbers: expected columns below 10"
        );
        for (groups, group, column, first) in [
            (&[[0, 1, 2, 3].into(), [4, 5, 3, 6].into()][..], 1, 3, 0),
            (&[[0, 1, 1, 3].into()][..], 0, 1, 0),
            (
                &[
                    OrientationColumns::RotationVector([0, 1, 2]),
                    OrientationColumns::SixD([3, 4, 5, 6, 7, 2]),
                ][..],
                1,
                2,
                0,
            ),
        ] {
            let expected = OrientationError::Twice {
                group,
                column,
                first,
            };
            assert_eq!(Orientations::new(groups, 8).unwrap_err(), expected);
        }
        assert!(Orientations::none(0).groups().is_empty());
    }

    #[test]
    fn positions_that_say_no_orientation_are_passed_over() {
        let (half, none) = ([1.0, 0.0, 0.0, 0.0], [0.0; 4]);
        let actions = [none, half, none, [0.0, 0.0, 0.0, -2.0], none].concat();
        let header = PlanHeader {
            stream: 0,
            chunk: 0,
            observation_sequence: 0,
            start_ns: 1000,
            period_ns: 100,
            action_size: 4,
            committed: 5,
        };
        let plan = Plan::new(header, actions).unwrap();
        let curve = OrientationCurve::new(&plan, [0, 1, 2, 3].into(), Interpolation::Linear);
        let angle = |now| {
            let turn = curve.at(now).unwrap();
            turn.at.angle_to(Quaternion::IDENTITY) / std::f64::consts::PI
        };
        let times = [0, 1000, 1050, 1100, 1200, 1250, 1300, 1350, 9000];
        let expected = [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0];
        for (now, expected) in times.into_iter().zip(expected) {
            assert!(
                (angle(now) - expected).abs() < 1e-9,
                "{} at {now}",
                angle(now)
            );
        }
        let said = [999, 1000, 1100, 1299, 1300, 9000].map(|now| curve.is_said(now));
        assert_eq!(said, [false, false, true, false, true, false]);
        let header = PlanHeader {
            committed: 1,
            ..header
        };
        let nothing = Plan::new(header, none.to_vec()).unwrap();
        let curve = OrientationCurve::new(&nothing, [0, 1, 2, 3].into(), Interpolation::Linear);
        assert_eq!(curve.at(1000), None);
    }
}
