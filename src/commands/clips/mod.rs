//! The commands on models of whole clips.

pub(crate) mod eval;
pub(crate) mod generate;
mod recorded;
pub(crate) mod train;
