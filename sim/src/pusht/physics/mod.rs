//! Rigid-body physics of the Push-T scene: the part of Chipmunk 7.0.3 that the scene needs.
//!
//! Promise: the same IEEE 754 operations in the same order as Chipmunk compiled for x86-64
//! without fused multiply-add, so that a trajectory equals the one of pymunk 6.2.1 bit for bit
//! where both call the same C library for sine and cosine. Contact dynamics amplify rounding,
//! hence expressions here must not be rearranged, not even to simplify them.
//!
//! Algorithm: semi-implicit Euler, bounding-volume tree (broad phase), GJK and EPA (narrow
//! phase), sequential impulses with warm starting and a separate position correction through
//! bias velocities (E. Catto, "Iterative Dynamics with Temporal Coherence", 2005).

mod arbiter;
mod body;
mod bounds;
mod broad_phase;
mod closest;
mod collision;
mod shape;
mod space;
mod vector;

pub(super) use arbiter::ContactMark;
pub(super) use body::{Body, Transform};
pub(super) use shape::Shape;
pub(super) use space::{BodyId, Space};
pub(super) use vector::Vector;
