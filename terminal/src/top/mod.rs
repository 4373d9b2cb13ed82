//! The parts of `kinestream top`: what is known, and how it looks on a screen and as plain text.

pub mod histogram;
pub mod screen;
pub mod text;
pub mod watch;
pub mod words;

#[cfg(test)]
mod screen_tests;
#[cfg(test)]
pub mod testing;
