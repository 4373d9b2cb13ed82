//! Motion capture files. Readers take untrusted bytes: sizes are bounded, and every error names the
//! file, the line, what was found and what was expected. Writers replace a file atomically.

pub mod asf_amc;
pub mod bvh;
pub mod expmap;
pub mod gltf;
pub mod text;
