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
//! Held means: not moved over the floor at all. The height of a point that was caught a little over
//! or under its height at rest comes to it within `settle_seconds`; in that time the second point
//! of a foot moves by as much as the foot tilts (1.4 mm for 2 cm on a foot of 15 cm), then neither.
//! A foot that is let go starts with the velocity it had, and a critically damped spring brings it
//! back to the generated foot (`spring.rs`); so nothing jumps in place, and only catching a
//! foot that moves changes its velocity at once (see `landing_seconds`). It is let go when
//! its contacts end, when it is too far from the generated foot, or when the leg would have to be
//! longer than it is. After the latter two it is held again once it has come back with a bent knee,
//! or in its next contact.
//!
//! The rotation of the foot in the world is kept as generated, but for what the table says and for
//! tilting it up where it would dip into the floor. The local rotation of the toes is not changed.

mod limits;
mod support;
#[cfg(test)]
mod tests;

use nalgebra::{UnitQuaternion, Vector3};
use serde::Serialize;

use self::limits::tilted;
use self::support::{End, Support};
use super::spring::{Spring, rate};
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
    /// Likewise for the rotation of the foot, as a rotation vector in the world.
    turn: Spring,
    /// How much the soft limit of reach holds, 0 while the foot is held and 1 some time later.
    softness: f64,
    previous: Option<Previous>,
}

/// The last frame: where the points came to, and how far that was from the generated foot.
#[derive(Debug, Clone, Copy)]
struct Previous {
    ends: [Vector3<f64>; 2],
    shift: Vector3<f64>,
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
        let seconds = if seconds.is_finite() {
            seconds.max(0.0)
        } else {
            0.0
        };
        self.step(seconds, config);
        let (ankle, foot) = self.target(&generated);
        let (ankle, foot) = self.over_floor(ankle, foot, config);
        let (ankle, stretched) = self.within_reach(&generated.leg, ankle, config);

        let ends = [ankle, ankle + foot * self.offsets[3]];
        self.follow(&generated, ends, foot, contacts, stretched, seconds, config);

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
    fn step(&mut self, seconds: f64, config: &FootLockConfig) {
        let release = rate(config.release_seconds);
        self.turn.step(release, seconds);
        match &mut self.support {
            Some(support) => {
                let settle = rate(config.settle_seconds);
                support.height.step(settle, seconds);
                if let Some((_, height)) = &mut support.flat {
                    height.step(settle, seconds);
                }
                if config.landing_seconds > 0.0 {
                    support.glide.step(rate(config.landing_seconds), seconds);
                }
                self.softness = 0.0;
            }
            None => {
                self.shift.step(release, seconds);
                self.softness = (self.softness + seconds / config.release_seconds).min(1.0);
            }
        }
    }

    /// Where ankle and foot should be, limits aside.
    fn target(&self, generated: &Stance) -> (Vector3<f64>, UnitQuaternion<f64>) {
        let free = UnitQuaternion::from_scaled_axis(self.turn.offset) * generated.foot;
        let Some(support) = &self.support else {
            return (generated.leg.ankle + self.shift.offset, free);
        };
        let point = support.point();
        let foot = match &support.flat {
            None => free,
            Some((heading, height)) => {
                let other = support.pivot.other();
                let floor = support.place.y - self.heights[support.pivot as usize];
                let over = floor + self.heights[other as usize] + height.offset - point.y;
                let rise = if other == End::Toe { over } else { -over };
                tilted(free, self.offsets[3], heading, rise)
            }
        };
        match support.pivot {
            End::Heel => (point, foot),
            End::Toe => (point - foot * self.offsets[3], foot),
        }
    }

    /// Decides what holds the foot from the next frame on, and remembers this one.
    #[allow(clippy::too_many_arguments)]
    fn follow(
        &mut self,
        generated: &Stance,
        ends: [Vector3<f64>; 2],
        foot: UnitQuaternion<f64>,
        contacts: [f64; 2],
        stretched: bool,
        seconds: f64,
        config: &FootLockConfig,
    ) {
        let generated_ends = [
            generated.leg.ankle,
            generated.leg.ankle + generated.foot * self.offsets[3],
        ];
        let shift = ends[0] - generated_ends[0];
        let turn = (foot * generated.foot.inverse()).scaled_axis();
        let velocity =
            |now: Vector3<f64>, before: fn(&Previous) -> Vector3<f64>| match &self.previous {
                Some(previous) if seconds > 0.0 => (now - before(previous)) / seconds,
                _ => Vector3::zeros(),
            };
        let speeds = [
            velocity(ends[0], |previous| previous.ends[0]),
            velocity(ends[1], |previous| previous.ends[1]),
        ];
        let shift_spring = Spring::new(shift, velocity(shift, |last| last.shift), FASTEST_SHIFT);
        let turn_spring = Spring::new(turn, velocity(turn, |last| last.turn), FASTEST_TURN);

        let mut wanted = [false; 2];
        for end in [End::Heel, End::Toe] {
            let index = end as usize;
            let away = (ends[index] - generated_ends[index]).norm();
            let limit = if self.contacts[index] {
                config.contact_end
            } else {
                config.contact_begin
            };
            self.contacts[index] = contacts[index] > limit;
            let back = away < config.release_distance / 4.0
                && !self.is_straight(&generated.leg, ends[0], config);
            if !self.contacts[index] || back {
                self.let_go[index] = false;
            }
            if self.holds(end) && (stretched || away > config.release_distance) {
                self.let_go[index] = true;
            }
            let low = ends[index].y - config.floor - self.heights[index] < config.lock_height;
            wanted[index] = self.contacts[index] && !self.let_go[index] && (self.holds(end) || low);
        }

        if wanted != [self.holds(End::Heel), self.holds(End::Toe)] {
            let support = self.next_support(wanted, ends, speeds, config);
            if support.is_none() {
                self.shift = shift_spring;
            }
            self.turn = turn_spring;
            self.support = support;
        }
        self.previous = Some(Previous { ends, shift, turn });
    }
}

impl Stance {
    fn is_finite(&self) -> bool {
        let ankle = self.leg.ankle + self.foot * Vector3::z();
        ankle.iter().all(|value| value.is_finite())
    }
}
