//! What commands print: lines and JSON on stdout, progress on stderr, pictures of curves, and the screen of `kinestream top`.

pub mod output;
pub mod plot;
pub mod top;
