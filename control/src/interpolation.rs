//! The interpolation of every number of an action.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::curve::Interpolation;
use crate::orientation::Orientations;

/// How commands are formed, as configured: the same for all numbers of an action, or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected `hold`, `linear` or `cubic`, or a list with one of them for each number of the action"
)]
pub enum InterpolationConfig {
    /// The same for all.
    All(Interpolation),
    /// One for each number of the action; the numbers of an orientation have the same.
    Each(Vec<Interpolation>),
}

impl Default for InterpolationConfig {
    fn default() -> Self {
        Interpolation::default().into()
    }
}

impl From<Interpolation> for InterpolationConfig {
    fn from(all: Interpolation) -> Self {
        Self::All(all)
    }
}

/// A configured interpolation that does not fit an action.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InterpolationError {
    /// A list of another length than an action has.
    #[error(
        "control.interpolation has {found} names, expected one name or {expected}, one for each number of the action"
    )]
    Length {
        /// Numbers of an action, Da.
        expected: usize,
        /// Names given.
        found: usize,
    },
    /// An orientation whose numbers are to move differently.
    #[error(
        "control.interpolation differs for the columns {columns:?}, which are one orientation (control.orientations): \
         expected the same for all of them"
    )]
    Orientation {
        /// The orientation's columns.
        columns: Vec<usize>,
    },
}

/// The interpolation of every number of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpolations(Box<[Interpolation]>);

impl Interpolations {
    /// The same for all of `action_size` numbers.
    #[must_use]
    pub fn all(interpolation: Interpolation, action_size: usize) -> Self {
        Self(vec![interpolation; action_size].into())
    }

    /// Those of a configuration, for actions with these orientations.
    ///
    /// # Errors
    /// A list of another length, or an orientation whose numbers are to move differently.
    pub fn new(
        config: &InterpolationConfig,
        orientations: &Orientations,
    ) -> Result<Self, InterpolationError> {
        let expected = orientations.action_size();
        let each = match config {
            InterpolationConfig::All(all) => return Ok(Self::all(*all, expected)),
            InterpolationConfig::Each(each) => each,
        };
        if each.len() != expected {
            return Err(InterpolationError::Length {
                expected,
                found: each.len(),
            });
        }
        for group in orientations.groups() {
            let columns = group.columns();
            if columns
                .iter()
                .any(|&column| each[column] != each[columns[0]])
            {
                return Err(InterpolationError::Orientation {
                    columns: columns.to_vec(),
                });
            }
        }
        Ok(Self(each.as_slice().into()))
    }

    /// Of one number of the action.
    #[must_use]
    pub fn of(&self, column: usize) -> Interpolation {
        self.0[column]
    }

    /// Of every number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Interpolation> {
        self.0.iter().copied()
    }
}
