//! The commands on motion models; each begins where the command of the same name finds that a
//! configuration is one of a motion model.

pub(crate) mod eval;
mod reuse;
pub(crate) mod train;
