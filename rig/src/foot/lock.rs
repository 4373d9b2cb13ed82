//! Contact locking: the feet of a live character stay where they came down.
//!
//! A generated motion comes with probabilities that heel and toe of each foot touch the floor. While
//! a point is in contact, it is held:
//!
//! | In contact | Held | Free |
//! |---|---|---|
//! | heel | the ankle | the foot turns about it |
//! | toe | the toe | the foot rolls over it |
//! | both | both: the point that came first, and the direction of the foot | |
//! | none | nothing | the foot goes back to the generated one |
//!
//! Held means: not moved over the floor at all. Downwards a held point still follows the generated
//! one as long as that comes down, so a foot that is caught a little early sinks to the floor and
//! stays there. While it sinks with both points down, the second one moves on its arc about the
//! first.
//!
//! A foot is let go when its contacts end, when it is too far from the generated foot, or when the
//! leg would have to be longer than it is; after the latter two it is held again in its next contact,
//! or once it has come back. It starts with the velocity that it had, and a critically damped spring
//! brings it back to the generated foot (`spring.rs`). So no place jumps; what changes at once is the
//! velocity of a foot that is caught while it moves.
//!
//! The rotation of the foot in the world is kept as generated, but for what the table says and for
//! tilting it up where it would dip into the floor. The local rotation of the toes is not changed,
//! nor is anything above the hips.

mod limits;
mod support;
#[cfg(test)]
mod tests;

use nalgebra::{UnitQuaternion, Vector3};
use serde::Serialize;

pub(super) use self::limits::tilted;
use self::support::{End, Support};
use super::spring::{Landing, Spring, rate};
use super::two_bone::LegPose;
use super::{Feet, FootLockConfig, Leg};
use crate::{Pose, Result, Skeleton};

/// Fastest offset velocities taken over at a release, in m/s and rad/s: a jump of the generated
/// pose is no velocity.
const FASTEST_SHIFT: f64 = 2.0;
const FASTEST_TURN: f64 = 10.0;

/// Keeps the feet of one character where they came down. Allocates only when it is made.
#[derive(Debug, Clone)]
pub struct FootLock {
    config: FootLockConfig,
    feet: [Foot; 2],
    joints: usize,
}

/// What the lock does with a foot.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct FootState {
    /// Whether the ankle is held.
    pub heel: bool,
    /// Whether the toe is held.
    pub toe: bool,
    /// How far the ankle is from the generated one, in metres.
    pub correction: f64,
}

/// One foot and what it remembers.
#[derive(Debug, Clone)]
struct Foot {
    leg: Leg,
    /// From the root to the parent of the hip: joint and offset.
    path: Vec<(usize, Vector3<f64>)>,
    /// Offsets of hip, knee, ankle and toe in their parents' frames.
    offsets: [Vector3<f64>; 4],
    /// Heights of heel (ankle) and toe at rest over the floor.
    heights: [f64; 2],
    /// Contacts of heel and toe, with hysteresis.
    contacts: [bool; 2],
    /// Points let go during their contact, until it ends or they have come back.
    let_go: [bool; 2],
    support: Option<Support>,
    /// Of a free foot: what is left of the way back to the generated ankle.
    shift: Spring,
    lift: Landing,
    /// Likewise for the rotation of the foot, as a rotation vector in the world.
    turn: Spring,
    /// How much the soft limit of reach holds, 0 while the foot is held and 1 some time later.
    softness: f64,
    previous: Option<Now>,
}

/// A frame: where ankle and toe came to, where they were generated, and the turn of the foot
/// against the generated one.
#[derive(Debug, Clone, Copy)]
struct Now {
    ends: [Vector3<f64>; 2],
    generated: [Vector3<f64>; 2],
    turn: Vector3<f64>,
}

/// A generated leg in the world.
#[derive(Debug, Clone, Copy)]
struct Stance {
    above: UnitQuaternion<f64>,
    leg: LegPose,
    foot: UnitQuaternion<f64>,
}

impl FootLock {
    /// A lock for characters with a skeleton and its feet.
    ///
    /// # Errors
    /// A setting out of its range; legs that are none in this skeleton.
    pub fn new(skeleton: &Skeleton, feet: &Feet, config: FootLockConfig) -> Result<Self> {
        config.check()?;
        let foot = |leg: Leg| -> Result<Foot> {
            Leg::new(skeleton, [leg.hip, leg.knee, leg.ankle, leg.toe])?;
            Ok(Foot::new(
                skeleton,
                leg,
                [feet.ankle_height, feet.toe_height],
            ))
        };
        Ok(Self {
            config,
            feet: [foot(feet.legs[0])?, foot(feet.legs[1])?],
            joints: skeleton.len(),
        })
    }

    /// Forgets everything, as after a jump of the character to another place.
    pub fn reset(&mut self) {
        self.feet.iter_mut().for_each(Foot::reset);
    }

    /// Corrects the legs of the next pose, `seconds` after the last one. `contacts` are the
    /// probabilities of contact, 0 to 1: left heel, left toe, right heel, right toe.
    ///
    /// A leg that is not finite, or a pose of another number of joints, is left as it is.
    pub fn apply(&mut self, pose: &mut Pose, contacts: &[f64; 4], seconds: f64) -> [FootState; 2] {
        if pose.rotations.len() != self.joints {
            self.reset();
            return [FootState::default(); 2];
        }
        let config = &self.config;
        let seconds = if seconds.is_finite() {
            seconds.max(0.0)
        } else {
            0.0
        };
        let [left, right] = &mut self.feet;
        [
            left.apply(pose, [contacts[0], contacts[1]], seconds, config),
            right.apply(pose, [contacts[2], contacts[3]], seconds, config),
        ]
    }
}

impl Foot {
    fn new(skeleton: &Skeleton, leg: Leg, heights: [f64; 2]) -> Self {
        let joints = skeleton.joints();
        let mut path = Vec::new();
        let mut above = joints[leg.hip].parent;
        while let Some(joint) = above {
            path.push((joint, joints[joint].offset));
            above = joints[joint].parent;
        }
        path.reverse();
        Self {
            leg,
            path,
            offsets: [leg.hip, leg.knee, leg.ankle, leg.toe].map(|joint| joints[joint].offset),
            heights,
            contacts: [false; 2],
            let_go: [false; 2],
            support: None,
            shift: Spring::default(),
            lift: Landing::default(),
            turn: Spring::default(),
            softness: 1.0,
            previous: None,
        }
    }

    fn reset(&mut self) {
        self.contacts = [false; 2];
        self.let_go = [false; 2];
        self.support = None;
        self.shift = Spring::default();
        self.lift = Landing::default();
        self.turn = Spring::default();
        self.softness = 1.0;
        self.previous = None;
    }

    fn apply(
        &mut self,
        pose: &mut Pose,
        contacts: [f64; 2],
        seconds: f64,
        config: &FootLockConfig,
    ) -> FootState {
        let generated = self.stance(pose);
        if !generated.is_finite() {
            self.reset();
            return FootState::default();
        }
        self.step(&generated, seconds, config);
        let (wanted, foot) = self.target(&generated);
        let (wanted, foot) = self.over_floor(wanted, foot, config);
        let ankle = self.within_reach(&generated.leg, wanted, config);
        let stretched = self.support.is_some() && ankle != wanted;

        let now = Now {
            ends: [ankle, ankle + foot * self.offsets[3]],
            generated: generated.ends(&self.offsets[3]),
            turn: (foot * generated.foot.inverse()).scaled_axis(),
        };
        self.follow(&now, contacts, stretched, seconds, config);

        let correction = (ankle - generated.leg.ankle).norm();
        if correction > 1e-9 || foot.angle_to(&generated.foot) > 1e-9 {
            let (thigh, shin) = generated.leg.reach_for(&ankle);
            pose.rotations[self.leg.hip] = generated.above.inverse() * thigh;
            pose.rotations[self.leg.knee] = thigh.inverse() * shin;
            pose.rotations[self.leg.ankle] = shin.inverse() * foot;
        }
        FootState {
            heel: self.holds(End::Heel),
            toe: self.holds(End::Toe),
            correction,
        }
    }

    /// Forward kinematics of the leg alone.
    fn stance(&self, pose: &Pose) -> Stance {
        let mut above = UnitQuaternion::identity();
        let mut place = pose.root;
        for (index, (joint, offset)) in self.path.iter().enumerate() {
            // The root's place is the pose's: its offset does not count.
            if index > 0 {
                place += above * offset;
            }
            above *= pose.rotations[*joint];
        }
        let [hip, knee, ankle, _] = self.offsets;
        let thigh = above * pose.rotations[self.leg.hip];
        let shin = thigh * pose.rotations[self.leg.knee];
        let hip = place + above * hip;
        let knee = hip + thigh * knee;
        Stance {
            above,
            leg: LegPose {
                hip,
                knee,
                ankle: knee + shin * ankle,
                thigh,
                shin,
            },
            foot: shin * pose.rotations[self.leg.ankle],
        }
    }

    /// Lets time pass for everything that decays.
    fn step(&mut self, generated: &Stance, seconds: f64, config: &FootLockConfig) {
        let release = rate(config.release_seconds);
        self.turn.step(release, seconds);
        let lowest = self.lowest(config);
        let heights = generated.ends(&self.offsets[3]).map(|end| end.y);
        match &mut self.support {
            Some(support) => {
                let (pivot, other) = (support.pivot as usize, support.pivot.other() as usize);
                support.height.step(heights[pivot], lowest[pivot]);
                if let Some((_, height)) = &mut support.flat {
                    height.step(heights[other], lowest[other]);
                }
                self.softness = 0.0;
            }
            None => {
                self.shift.step(release, seconds);
                self.lift.step(rate(config.lift_seconds), seconds);
                self.softness = (self.softness + seconds / config.release_seconds).min(1.0);
            }
        }
    }

    /// Where ankle and foot should be, limits aside.
    fn target(&self, generated: &Stance) -> (Vector3<f64>, UnitQuaternion<f64>) {
        let free = UnitQuaternion::from_scaled_axis(self.turn.offset) * generated.foot;
        let Some(support) = &self.support else {
            let shift = self.shift.offset + Vector3::y() * self.lift.offset;
            return (generated.leg.ankle + shift, free);
        };
        let point = support.point();
        let foot = match &support.flat {
            None => free,
            Some((heading, other)) => {
                let rise = match support.pivot {
                    End::Heel => other.height - point.y,
                    End::Toe => point.y - other.height,
                };
                tilted(free, self.offsets[3], heading, rise)
            }
        };
        match support.pivot {
            End::Heel => (point, foot),
            End::Toe => (point - foot * self.offsets[3], foot),
        }
    }

    /// Decides what holds the foot from the next frame on, and remembers this one.
    fn follow(
        &mut self,
        now: &Now,
        contacts: [f64; 2],
        stretched: bool,
        seconds: f64,
        config: &FootLockConfig,
    ) {
        let mut wanted = [false; 2];
        for end in [End::Heel, End::Toe] {
            let index = end as usize;
            let away = (now.ends[index] - now.generated[index]).norm();
            let limit = if self.contacts[index] {
                config.contact_end
            } else {
                config.contact_begin
            };
            self.contacts[index] = contacts[index] > limit;
            if !self.contacts[index] || away < config.release_distance / 4.0 {
                self.let_go[index] = false;
            }
            if self.holds(end) && (stretched || away > config.release_distance) {
                self.let_go[index] = true;
            }
            let height = now.ends[index].y - config.floor - self.heights[index];
            let low = self.holds(end) || height < config.lock_height;
            wanted[index] = self.contacts[index] && !self.let_go[index] && low;
        }
        if wanted != [self.holds(End::Heel), self.holds(End::Toe)] {
            let before = self.previous.as_ref().unwrap_or(now);
            let velocity = |now: Vector3<f64>, before: Vector3<f64>| {
                if seconds > 0.0 {
                    (now - before) / seconds
                } else {
                    Vector3::zeros()
                }
            };
            let support = self.next_support(wanted, now, config);
            if support.is_none() {
                let mut shift = now.shift();
                let mut speed = velocity(shift, before.shift());
                self.lift = Landing::new(shift.y, speed.y);
                (shift.y, speed.y) = (0.0, 0.0);
                self.shift = Spring::new(shift, speed, FASTEST_SHIFT);
            }
            self.turn = Spring::new(now.turn, velocity(now.turn, before.turn), FASTEST_TURN);
            self.support = support;
        }
        self.previous = Some(*now);
    }
}

impl Now {
    /// From the generated ankle to where it was brought.
    fn shift(&self) -> Vector3<f64> {
        self.ends[0] - self.generated[0]
    }
}

impl Stance {
    /// Ankle and toe.
    fn ends(&self, toe: &Vector3<f64>) -> [Vector3<f64>; 2] {
        [self.leg.ankle, self.leg.ankle + self.foot * toe]
    }

    fn is_finite(&self) -> bool {
        let ankle = self.leg.ankle + self.foot * Vector3::z();
        ankle.iter().all(|value| value.is_finite())
    }
}
