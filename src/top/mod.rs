//! The parts of `kinestream top`: what is known, and how it looks on a screen and as plain text.

pub(crate) mod histogram;
pub(crate) mod screen;
pub(crate) mod text;
pub(crate) mod watch;
pub(crate) mod words;

#[cfg(test)]
mod screen_tests;
#[cfg(test)]
pub(crate) mod testing;
