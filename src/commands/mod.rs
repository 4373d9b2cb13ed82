//! The commands, one file each.

pub(crate) mod clips;
mod delay_curve;
pub(crate) mod demo;
pub(crate) mod demonstrate;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod motion;
mod page;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod resim;
pub(crate) mod ros2;
pub(crate) mod run;
pub(crate) mod schema;
mod scoring;
pub(crate) mod sim;
mod steps_curve;
pub(crate) mod top;
pub(crate) mod train;
mod variant;
