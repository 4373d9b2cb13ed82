//! Tests of the public face, one program.

#![allow(clippy::unwrap_used)]

mod formats_asf;
mod formats_bvh;
mod retarget;
mod retarget_data;
