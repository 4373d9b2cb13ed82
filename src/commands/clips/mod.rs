//! The commands on models of whole clips.

pub(crate) mod eval;
pub(crate) mod generate;
pub(crate) mod train;
