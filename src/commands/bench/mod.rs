//! `kinestream bench`: what this machine does, as ratios within one run.

pub(crate) mod bridge;
pub(crate) mod clips;
pub(crate) mod control;
pub(crate) mod motion;
pub(crate) mod policy;
