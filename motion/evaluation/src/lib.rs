//! How well models of motion move: a steered character on a course and over ten minutes, whole clips,
//! and the transitions between both.
//!
//! Figures are those of the papers where they have some, each beside what captured motion reaches.

pub mod clips;
pub mod course;
pub mod long_run;
pub mod transitions;
