//! One live character: what a player asks for goes in, a pose at any rate comes out.
//!
//! A model makes [`FRAME_RATE`] frames per second; [`Controller::tick`] makes those that fall due
//! while time passes, and [`Controller::pose`] is what lies between the last two. Promises, whatever
//! is asked and whatever the model makes:
//!
//! - every pose is finite, and no farther from the last than [`FrameLimits`] allow;
//! - a foot that bears does not slide, between frames neither, and no foot is below the floor;
//! - what is not finite is refused, what no motion holds is clamped, and both are counted;
//! - a stick that nobody repeats for [`ControllerOptions::patience`] is let go: the character stops;
//! - the same seed and the same calls give the same poses, bit for bit.
//!
//! Without clock, thread and network: those are the shell's.

mod control;
mod guard;
mod measures;
mod pursuit;
mod source;
#[cfg(test)]
mod tests;

use nalgebra::{Vector2, Vector3};

pub use self::control::{FARTHEST, Goal, MAX_KNOB, Taken};
pub use self::guard::FrameLimits;
pub use self::measures::{Figures, Measures};
use self::pursuit::{GoalFollower, GoalMode};
pub use self::source::FrameSource;
use crate::crowd::{CharacterBatch, SteeringTarget};
use crate::data::FRAME_RATE;
use crate::foot::between::{Placed, between};
use crate::foot::{Feet, FootLock, FootLockConfig, FootState};
use crate::rotation::wrapped;
use crate::steering::AHEAD;
use crate::stick::{JoystickInput, StickFollower, StickOptions};
use crate::trajectory::Root;
use crate::{GlobalPose, Pose, Result, Skeleton, character};

/// How a live character is steered and held within limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControllerOptions {
    /// How a stick is followed, and the largest speed of sticks and paths.
    pub stick: StickOptions,
    /// How much of its distance from a path the character makes good within a second.
    pub path_gain: f64,
    /// How much of the way to the motion along a path every estimate is drawn: displacement, turn.
    pub path_strength: (f64, f64),
    /// Factor of all random numbers when the knob stands at 1. Below 1 a steered character slides
    /// less and moves more smoothly; without steering its motion is as diverse as captured motion at
    /// 1 only.
    pub diversity: f64,
    /// Seconds after which a stick that was not repeated counts no more.
    pub patience: f64,
    /// How feet are held.
    pub foot_lock: FootLockConfig,
    /// How far a frame may be from the last.
    pub limits: FrameLimits,
}

impl Default for ControllerOptions {
    fn default() -> Self {
        Self {
            stick: StickOptions::default(),
            path_gain: 4.0,
            path_strength: (0.3, 0.3),
            diversity: 0.7,
            patience: 0.5,
            foot_lock: FootLockConfig::default(),
            limits: FrameLimits::default(),
        }
    }
}

/// How often what happened, since the controller was made; a restart changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames generated.
    pub frames: u64,
    /// Frames not shown as they were generated: not finite, or too far from the last.
    pub refused: u64,
    /// Frames whose wish was brought within what the motion holds.
    pub clamped: u64,
    /// Goals and knobs taken, as asked or clamped.
    pub taken: u64,
    /// Of these, clamped.
    pub taken_clamped: u64,
    /// Goals and knobs refused.
    pub taken_refused: u64,
}

/// A pose of the live character, and what is to be known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LivePose {
    /// Root and rotations in the world.
    pub pose: Pose,
    /// The point that is steered.
    pub root: Root,
    /// Velocity of the hips, m/s.
    pub velocity: Vector3<f64>,
    /// Turn of the root about Y, rad/s.
    pub yaw_rate: f64,
    /// Whether left heel, left toe, right heel, right toe bear.
    pub contacts: [bool; 4],
    /// Place between the two generated frames that the pose lies between, above 0 and up to 1.
    pub phase: f64,
    /// Whether more was asked for than the motion holds.
    pub clamped: bool,
    /// Whether the later frame was refused.
    pub refused: bool,
    /// Whether nothing is asked of the character.
    pub idle: bool,
    /// Whether it performs something that steering does not change.
    pub acting: bool,
}

/// One character and what it is to do.
#[derive(Debug)]
pub struct Controller<S = CharacterBatch> {
    source: S,
    options: ControllerOptions,
    skeleton: Skeleton,
    feet: Feet,
    lock: FootLock,
    follower: StickFollower,
    pursuit: GoalFollower,
    diversity: f64,
    strength: f64,
    frames: [Frame; 2],
    /// Place between the two frames, above 0 and up to 1.
    phase: f64,
    ahead: [Root; 3],
    counts: Counts,
}

/// A frame as it is shown.
#[derive(Debug, Clone, Default)]
struct Frame {
    placed: Placed,
    root: Root,
    held: [FootState; 2],
    clamped: bool,
    refused: bool,
    acting: bool,
}

impl<S: FrameSource> Controller<S> {
    /// A character at the origin, standing, before its first frame.
    ///
    /// # Errors
    /// An option out of its range, or a source that cannot begin.
    pub fn new(source: S, seed: u64, options: ControllerOptions) -> Result<Self> {
        options.limits.check()?;
        let skeleton = character::skeleton();
        let feet = Feet::at_rest(&skeleton)?;
        let lock = FootLock::new(&skeleton, &feet, options.foot_lock)?;
        let controller = Self {
            source: source.restart(seed)?,
            follower: StickFollower::new(options.stick),
            options,
            skeleton,
            feet,
            lock,
            pursuit: GoalFollower::default(),
            diversity: 1.0,
            strength: 1.0,
            frames: Default::default(),
            phase: 1.0,
            ahead: [Root::default(); 3],
            counts: Counts::default(),
        };
        Ok(controller.stood_up())
    }

    /// The same character at its beginning, with another seed. Knobs and counts stay, goals do not.
    ///
    /// # Errors
    /// As [`Controller::new`].
    pub fn restart(self, seed: u64) -> Result<Self> {
        let mut controller = Self {
            source: self.source.restart(seed)?,
            follower: StickFollower::new(self.options.stick),
            pursuit: GoalFollower::default(),
            phase: 1.0,
            ..self
        };
        controller.lock.reset();
        Ok(controller.stood_up())
    }

    /// Takes the first frame.
    fn stood_up(mut self) -> Self {
        let root = self.source.root();
        let mut pose = self.source.pose();
        let held = self.lock.apply(&mut pose, &self.source.contacts(), 0.0);
        let frame = Frame {
            placed: Placed::new(&self.skeleton, pose),
            root,
            held,
            ..Frame::default()
        };
        self.frames = [frame.clone(), frame];
        self.ahead = [root; 3];
        self
    }

    /// Takes what the character is to do from now on.
    pub fn steer(&mut self, goal: Goal) -> Taken {
        let fastest = self.options.stick.fastest;
        let checked = match goal {
            Goal::Stick(stick) => control::stick(stick, fastest)
                .map(|(stick, clamped)| (GoalMode::Stick(stick), clamped)),
            Goal::Path(points) => control::path(points, &self.frames[1].root, fastest)
                .map(|(path, clamped)| (GoalMode::Path(path), clamped)),
        };
        let Some((goal, clamped)) = checked else {
            self.counts.taken_refused += 1;
            return Taken::Refused;
        };
        if let (GoalMode::Path(_), GoalMode::Stick(_)) = (&self.pursuit.goal, &goal) {
            // The spring goes on with the motion that the character has.
            let (velocity, turn) = self.root_motion();
            self.follower.go_on(velocity, turn);
        }
        self.pursuit = GoalFollower {
            goal,
            age: 0,
            clamped,
        };
        self.count(clamped)
    }

    /// Sets how freely the motion varies, 0 (the likeliest) to [`MAX_KNOB`], 1 as tuned; and how
    /// strongly control bends it, 0 (not at all) to [`MAX_KNOB`], 1 as tuned.
    pub fn set_knobs(&mut self, diversity: f64, strength: f64) -> Taken {
        let (Some(diversity), Some(strength)) = (control::knob(diversity), control::knob(strength))
        else {
            self.counts.taken_refused += 1;
            return Taken::Refused;
        };
        (self.diversity, self.strength) = (diversity.0, strength.0);
        self.count(diversity.1 || strength.1)
    }

    fn count(&mut self, clamped: bool) -> Taken {
        self.counts.taken += 1;
        self.counts.taken_clamped += u64::from(clamped);
        if clamped {
            Taken::Clamped
        } else {
            Taken::AsAsked
        }
    }

    /// Lets time pass, in seconds, and makes the frames that fall due; returns how many. Of a time
    /// that is negative, not finite or above a second, a second passes at most.
    ///
    /// # Errors
    /// The model refused.
    pub fn tick(&mut self, seconds: f64) -> Result<usize> {
        let passed = if seconds.is_finite() {
            seconds.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self.phase += passed * FRAME_RATE;
        let mut made = 0;
        // A rate that divides the frames' own ends on a frame, not a rounding error behind it.
        while self.phase > 1.0 + 1e-9 {
            self.phase -= 1.0;
            self.make_frame()?;
            made += 1;
        }
        Ok(made)
    }

    fn make_frame(&mut self) -> Result<()> {
        let (wish, clamped) = self.wish();
        let refused_before = self.source.refused();
        let diversity = self.diversity * self.options.diversity;
        self.source.advance(&wish, diversity)?;
        let limits = &self.options.limits;
        let last = &self.frames[1];
        let (root, root_limited) = limits.root(&last.root, &self.source.root());
        if root_limited {
            self.source.place(root);
        }
        let (mut pose, limited) = limits.pose(&last.placed.pose, self.source.pose());
        let contacts = self.source.contacts();
        let held = self.lock.apply(&mut pose, &contacts, 1.0 / FRAME_RATE);
        if self.source.is_at_seam() {
            // After the feet: a leg that is bent anew turns, too.
            limits.calm(&last.placed.pose, &mut pose, &self.skeleton);
        }
        let refused = root_limited || limited || self.source.refused() > refused_before;
        self.frames.swap(0, 1);
        self.frames[1] = Frame {
            placed: Placed::new(&self.skeleton, pose),
            root,
            held,
            clamped,
            refused,
            acting: self.source.is_acting(),
        };
        self.pursuit.age += 1;
        self.counts.frames += 1;
        self.counts.refused += u64::from(refused);
        self.counts.clamped += u64::from(clamped);
        Ok(())
    }

    /// What is wanted for the next frame; and whether more was asked.
    fn wish(&mut self) -> (SteeringTarget, bool) {
        let root = self.source.root();
        let fastest = self.options.stick.fastest;
        let scaled = |(along, about): (f64, f64), strength: f64| {
            ((along * strength).min(1.0), (about * strength).min(1.0))
        };
        let (wish, clamped) = match &self.pursuit.goal {
            GoalMode::Stick(_) => {
                let strength = scaled(self.options.stick.strength, self.strength);
                self.follower.options_mut().strength = strength;
                let stick = self.pursuit.stick(self.options.patience);
                self.follower.want(stick.unwrap_or_default());
                let (wish, _) = control::within_reach(self.follower.wish(&root), &root, fastest);
                (wish, false)
            }
            GoalMode::Path(path) => {
                let strength = scaled(self.options.path_strength, self.strength);
                let gain = self.options.path_gain;
                let wish = path.wish(self.pursuit.seconds(), &root, gain, strength);
                control::within_reach(wish, &root, fastest)
            }
        };
        let clamped = clamped || self.pursuit.clamped && !self.is_idle();
        if let Some(ahead) = wish.ahead {
            self.ahead = ahead;
        }
        (wish, clamped)
    }

    /// Velocity and turn of the root over the last frame, m/s and rad/s.
    fn root_motion(&self) -> (Vector2<f64>, f64) {
        let [before, now] = &self.frames;
        (
            (now.root.position - before.root.position) * FRAME_RATE,
            wrapped(now.root.heading - before.root.heading) * FRAME_RATE,
        )
    }

    /// The pose of this moment.
    pub fn pose(&self) -> LivePose {
        let [before, now] = &self.frames;
        let turn = wrapped(now.root.heading - before.root.heading);
        let (velocity, yaw_rate) = (
            (now.placed.pose.root - before.placed.pose.root) * FRAME_RATE,
            turn * FRAME_RATE,
        );
        // What held a foot from the earlier frame on holds it up to the later one.
        let [left, right] = before.held;
        LivePose {
            pose: between(
                &self.skeleton,
                &self.feet,
                [&before.placed, &now.placed],
                &before.held,
                self.phase,
            ),
            root: Root {
                position: before.root.position.lerp(&now.root.position, self.phase),
                heading: wrapped(before.root.heading + self.phase * turn),
            },
            velocity,
            yaw_rate,
            contacts: [left.heel, left.toe, right.heel, right.toe],
            phase: self.phase.min(1.0),
            clamped: now.clamped,
            refused: now.refused,
            idle: self.is_idle() && !now.acting,
            acting: now.acting,
        }
    }

    /// Whether nothing is asked of the character: it stands, or comes to a stop.
    pub fn is_idle(&self) -> bool {
        self.pursuit.is_idle(self.options.patience)
    }

    /// The stick that counts; none on a path.
    pub fn stick(&self) -> Option<JoystickInput> {
        self.pursuit.stick(self.options.patience)
    }

    /// Places of the path that are still to come, the next first; none without a path.
    pub fn path_left(&self) -> Vec<Vector2<f64>> {
        self.pursuit.path_left()
    }

    /// Where the path wants the root to be at the last frame; none without a path.
    pub fn path_root(&self) -> Option<Root> {
        self.pursuit.path_root()
    }

    /// The heading that is asked for at the last frame; none if that is left to the motion.
    pub fn asked_heading(&self) -> Option<f64> {
        self.pursuit.asked_heading(self.options.patience)
    }

    /// The velocity that is asked for at the last frame, x and z, m/s.
    pub fn asked_velocity(&self) -> Vector2<f64> {
        self.pursuit.asked_velocity(self.options.patience)
    }

    /// Where the newest frame puts every joint.
    pub fn places(&self) -> &GlobalPose {
        &self.frames[1].placed.global
    }

    /// The root at the newest frame.
    pub fn root(&self) -> Root {
        self.frames[1].root
    }

    /// Where the root is wanted [`AHEAD`] of the last frame.
    pub fn ahead(&self) -> &[Root; AHEAD.len()] {
        &self.ahead
    }

    /// Diversity and strength.
    pub fn knobs(&self) -> (f64, f64) {
        (self.diversity, self.strength)
    }

    /// The skeleton of the poses.
    pub fn skeleton(&self) -> &Skeleton {
        &self.skeleton
    }

    /// The feet of the skeleton.
    pub fn feet(&self) -> &Feet {
        &self.feet
    }

    /// Where the frames come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Ends what the source performs that steering does not change.
    pub fn let_go(&mut self) {
        self.source.let_go();
    }

    /// Where the frames come from, to be asked for what no goal says.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// How often what happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
