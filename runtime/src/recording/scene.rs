//! What a character's recording shows: its pose, what it was asked, and how it did, as the page wants
//! them.

use anyhow::Result;
use kinestream_bridge::SkeletonInfo;
use kinestream_bridge::wire::{
    Command, Contacts, Control, ControlMode, Decode, Pose, PoseFlags, Request, Status,
};
use kinestream_viewer::character::{
    Body, Control as ShownControl, Frame, Latency, Mode, Motion, Rates, RunState,
};
use nalgebra::{Quaternion, UnitQuaternion, Vector3};

use crate::character::shown::SkeletonView;

/// Follows a character's messages.
pub struct Scene {
    figure: SkeletonView,
    frame: Frame,
    /// Stream of the poses shown, and when its first was due.
    begun: Option<(u32, u64)>,
    poses: u64,
    frames: u64,
    /// Poses of another skeleton.
    foreign: u64,
}

impl Scene {
    /// An empty scene for a skeleton.
    pub fn new(skeleton: &SkeletonInfo) -> Result<Self> {
        Ok(Self {
            figure: SkeletonView::new(skeleton)?,
            frame: Frame {
                pace: 1.0,
                ..Frame::default()
            },
            begun: None,
            poses: 0,
            frames: 0,
            foreign: 0,
        })
    }

    /// What the page is told once.
    pub fn body(&self) -> Result<Body> {
        self.figure.body()
    }

    /// Forgets everything but the skeleton.
    pub fn restart(&mut self) {
        self.frame = Frame {
            pace: 1.0,
            ..Frame::default()
        };
        (self.begun, self.poses, self.frames, self.foreign) = (None, 0, 0, 0);
    }

    /// Takes a message of the wire; what does not decode, or is not shown, changes nothing.
    pub fn wire(&mut self, topic: &str, bytes: &[u8]) {
        match topic {
            super::topic::POSE => {
                if let Ok(pose) = Pose::decode(bytes) {
                    self.pose(&pose);
                }
            }
            super::topic::CONTROL => {
                if let Ok(control) = Control::decode(bytes) {
                    self.control(&control);
                }
            }
            super::topic::STATUS => {
                if let Ok(status) = Status::decode(bytes) {
                    let milliseconds = |known: Option<f64>| known.map_or(0.0, |us| us / 1e3);
                    self.frames = status.plans;
                    self.frame.latency = Latency {
                        last_ms: milliseconds(status.latency_p50_us),
                        p50_ms: milliseconds(status.latency_p50_us),
                        p99_ms: milliseconds(status.latency_p99_us),
                    };
                }
            }
            _ if topic.starts_with("cmd/") => {
                if let Ok(command) = Command::decode(bytes)
                    && let Request::Reset { seed } = command.request
                {
                    self.frame.seed = seed as u32;
                }
            }
            _ => {}
        }
    }

    /// Generated frames, as far as is known, and poses so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.frames, self.poses)
    }

    /// The picture of this moment; rates are of generated frames and poses.
    pub fn frame(&self, (generated, published): (f64, f64)) -> Frame {
        Frame {
            rates: Rates {
                generated_per_second: generated,
                published_per_second: published,
            },
            fault: (self.foreign > 0).then(|| {
                format!(
                    "{} poses have not the {} joints of the recorded skeleton",
                    self.foreign,
                    self.figure.joints()
                )
            }),
            ..self.frame.clone()
        }
    }

    fn pose(&mut self, pose: &Pose) {
        if pose.rotations.len() != self.figure.joints() {
            self.foreign += 1;
            return;
        }
        self.poses += 1;
        let begun_ns = match self.begun {
            Some((stream, begun_ns)) if stream == pose.stamp.stream => begun_ns,
            _ => {
                self.begun = Some((pose.stamp.stream, pose.frame_ns));
                pose.frame_ns
            }
        };
        let rotations = pose.rotations.iter().map(|rotation| {
            let [x, y, z, w] = rotation.map(f64::from);
            UnitQuaternion::new_normalize(Quaternion::new(w, x, y, z))
        });
        let place = kinestream_motion::Pose {
            root: Vector3::from(pose.root_position),
            rotations: rotations.collect(),
        };
        let ahead = place.rotations[0] * Vector3::z();
        let bears = |point: Contacts| pose.contacts.0 & point.0 != 0;
        let is = |flag: PoseFlags| pose.flags.0 & flag.0 != 0;
        let [x, _, z] = pose.root_velocity.map(f64::from);
        let frame = &mut self.frame;
        frame.points = self.figure.points(&place);
        frame.facing = ahead.x.atan2(ahead.z);
        frame.frame = pose.frame;
        frame.time = pose.frame_ns.saturating_sub(begun_ns) as f64 / 1e9;
        frame.contacts = [
            bears(Contacts::LEFT_HEEL),
            bears(Contacts::LEFT_TOE),
            bears(Contacts::RIGHT_HEEL),
            bears(Contacts::RIGHT_TOE),
        ];
        frame.control.clamped = is(PoseFlags::CLAMPED);
        frame.motion = Motion {
            speed: x.hypot(z),
            clamped: frame.motion.clamped + u64::from(is(PoseFlags::CLAMPED)),
            refused: frame.motion.refused + u64::from(is(PoseFlags::HELD)),
            ..frame.motion
        };
        frame.state = if is(PoseFlags::IDLE) {
            RunState::Idle
        } else {
            RunState::Running
        };
    }

    fn control(&mut self, control: &Control) {
        let frame = &mut self.frame;
        frame.control = ShownControl {
            mode: match control.mode {
                ControlMode::Stick => Mode::Stick,
                ControlMode::Path => Mode::Path,
            },
            velocity: control.velocity.map(f64::from),
            facing: control.facing.map(f64::from),
            diversity: f64::from(control.diversity),
            strength: f64::from(control.strength),
            clamped: frame.control.clamped,
        };
        frame.path = control
            .points
            .iter()
            .map(|point| [f64::from(point.x), f64::from(point.z)])
            .collect();
    }
}
