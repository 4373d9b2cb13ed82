//! A character among robots: its joints as transforms, its root as a pose, twists and goals as steering.
//!
//! ROS's axes are X ahead, Y left, Z up (REP 103); every rotation and offset is told in them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kinestream_bridge::engines::axes::Axes;
use kinestream_bridge::node::{Channel, Publisher, Subscription};
use kinestream_bridge::ros2::messages::{
    Header, PoseStamped, TfMessage, Time, TransformStamped, Twist,
};
use kinestream_bridge::ros2::{Pace, Qos, Ros2Node, Ros2Publisher, Ros2Subscription};
use kinestream_bridge::wire::{ControlMode, PathPoint};
use kinestream_bridge::{Control, Node, Pose, SkeletonInfo, keys};
use kinestream_control::{Clock, Monotonic};
use nalgebra::{Quaternion, UnitQuaternion, Vector3};

use super::config::CharacterConfig;
use super::steering::{Stick, TwistSteering};
use super::{Counters, complain, lock, period_ns};
use crate::clock::{stamp, wall_ns};

/// How long the character may take to say which joints it has, at each attempt.
const ANSWER: Duration = Duration::from_millis(200);
/// Sticks per second while a twist counts.
const STICK_PERIOD_NS: u64 = 50_000_000;
/// Shortest time to a goal, seconds.
const AT_ONCE: f64 = 0.1;

/// Subscriptions of both worlds.
pub(super) struct CharacterSide {
    theirs: Vec<Ros2Subscription>,
    _poses: Subscription,
    node: Arc<Node>,
    shared: Arc<Shared>,
}

struct Shared {
    frame: String,
    prefix: String,
    speed: f64,
    skeleton: OnceLock<SkeletonInfo>,
    outlets: Mutex<Outlets>,
    steering: Mutex<Steering>,
    counters: Arc<Counters>,
}

struct Outlets {
    transforms: Option<Ros2Publisher<TfMessage>>,
    pose: Option<Ros2Publisher<PoseStamped>>,
    pace: Pace,
}

struct Steering {
    twists: TwistSteering,
    sticks: Pace,
    /// Of the newest pose: x, z in metres.
    place: Option<[f64; 2]>,
    controls: Publisher,
    sequence: u64,
}

impl CharacterSide {
    pub(super) fn start(
        node: &Arc<Node>,
        ros: &Ros2Node,
        config: &CharacterConfig,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let CharacterConfig {
            frame,
            transforms,
            pose,
            twist,
            goal,
            speed,
            timeout_s,
            rate_hz,
        } = config;
        ensure!(
            [transforms, pose, twist, goal]
                .iter()
                .any(|topic| topic.is_some()),
            "names no topic; expected transforms, pose, twist or goal"
        );
        for (key, value, most) in [("speed", *speed, 10.0), ("timeout_s", *timeout_s, 60.0)] {
            ensure!(
                value > 0.0 && value <= most,
                "{key} is {value}, expected above 0 and at most {most}"
            );
        }
        let qos = Qos::default();
        let outlets = Outlets {
            transforms: declared(ros, "transforms", transforms)?,
            pose: declared(ros, "pose", pose)?,
            pace: Pace::new(period_ns(*rate_hz, "rate_hz")?),
        };
        let shared = Arc::new(Shared {
            frame: frame.clone(),
            prefix: node
                .keys()
                .prefix()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned(),
            speed: *speed,
            skeleton: OnceLock::new(),
            outlets: Mutex::new(outlets),
            steering: Mutex::new(Steering {
                twists: TwistSteering::new((timeout_s * 1e9) as u64),
                sticks: Pace::new(STICK_PERIOD_NS),
                place: None,
                controls: node.publisher(Channel::Control)?,
                sequence: 0,
            }),
            counters: Arc::clone(counters),
        });
        let mut theirs = Vec::new();
        if let Some(topic) = twist {
            let (shared, name) = (Arc::clone(&shared), topic.clone());
            let take = move |twist: Twist| {
                if !lock(&shared.steering)
                    .twists
                    .take(twist, Monotonic.now_ns())
                {
                    let refused = &shared.counters.refused;
                    complain(refused, &name, &"expected finite velocities");
                }
            };
            theirs.push(ros.subscribe(topic, qos, take).context("twist")?);
        }
        if let Some(topic) = goal {
            let (shared, name) = (Arc::clone(&shared), topic.clone());
            let take = move |goal: PoseStamped| {
                if let Err(error) = shared.go(&goal) {
                    complain(&shared.counters.refused, &name, &format!("{error:#}"));
                }
            };
            theirs.push(ros.subscribe(topic, qos, take).context("goal")?);
        }
        let telling = Arc::clone(&shared);
        let poses = node.subscribe::<Pose, _>(&node.keys().pose(), move |pose| {
            let rotations: Vec<_> = pose.rotations.to_vec();
            telling.told(&Figure {
                root: Vector3::from(pose.root_position),
                rotations: rotations.iter().map(rotation).collect(),
            });
        })?;
        Ok(Self {
            theirs,
            _poses: poses,
            node: Arc::clone(node),
            shared,
        })
    }

    /// Asks which joints the character has, until it is known.
    pub(super) fn tend(&self) -> Result<()> {
        if self.shared.skeleton.get().is_none()
            && lock(&self.shared.outlets).transforms.is_some()
            && let Some(answer) = self.node.ask(keys::SKELETON, ANSWER)?
        {
            let skeleton = SkeletonInfo::from_value(answer).context("the character's skeleton")?;
            tracing::info!("ros2: the character has {} joints", skeleton.joints.len());
            // Another thread cannot have been faster: only this one sets it.
            let _ = self.shared.skeleton.set(skeleton);
        }
        Ok(())
    }

    pub(super) fn subscriptions(&self) -> &[Ros2Subscription] {
        &self.theirs
    }
}

fn declared<M: kinestream_bridge::ros2::Message>(
    ros: &Ros2Node,
    key: &'static str,
    topic: &Option<String>,
) -> Result<Option<Ros2Publisher<M>>> {
    let declare = |topic: &String| ros.publisher(topic, Qos::default()).context(key);
    topic.as_ref().map(declare).transpose()
}

/// A pose in kinestream's axes.
struct Figure {
    root: Vector3<f64>,
    rotations: Vec<UnitQuaternion<f64>>,
}

impl Shared {
    /// A pose of the character has arrived.
    fn told(&self, figure: &Figure) {
        let now_ns = Monotonic.now_ns();
        self.steer(figure, now_ns);
        let outlets = &mut *lock(&self.outlets);
        let wanted = outlets
            .transforms
            .as_ref()
            .is_some_and(Ros2Publisher::is_wanted)
            || outlets.pose.as_ref().is_some_and(Ros2Publisher::is_wanted);
        if !wanted || !outlets.pace.take(now_ns) {
            return;
        }
        let wall_ns = wall_ns();
        let header = Header {
            stamp: Time::from_nanoseconds(wall_ns),
            frame_id: self.frame.clone(),
        };
        let mut sent = 0;
        if let Some(publisher) = &mut outlets.pose {
            let pose = PoseStamped {
                header: header.clone(),
                position: place(&figure.root),
                orientation: turn(&figure.rotations[0]),
            };
            sent += self.count("pose", publisher.publish(&pose, wall_ns));
        }
        if let (Some(publisher), Some(skeleton)) = (&mut outlets.transforms, self.skeleton.get()) {
            let message = transforms(figure, skeleton, &self.prefix, &header);
            sent += self.count("transforms", publisher.publish(&message, wall_ns));
        }
        self.counters.sent.fetch_add(sent, Ordering::Relaxed);
    }

    fn count(&self, key: &str, sent: Result<bool, kinestream_bridge::ros2::Ros2Error>) -> u64 {
        match sent {
            Ok(sent) => u64::from(sent),
            Err(error) => {
                complain(&self.counters.refused, key, &error);
                0
            }
        }
    }

    fn steer(&self, figure: &Figure, now_ns: u64) {
        let steering = &mut *lock(&self.steering);
        steering.place = Some([figure.root.x, figure.root.z]);
        if !steering.sticks.take(now_ns) {
            return;
        }
        let ahead = figure.rotations[0] * Vector3::z();
        let heading = ahead.x.atan2(ahead.z);
        if let Some(Stick { velocity, facing }) = steering.twists.step(heading, now_ns) {
            let control = Control {
                velocity,
                facing,
                ..blank(ControlMode::Stick)
            };
            if let Err(error) = steering.send(control) {
                complain(&self.counters.refused, "twist", &format!("{error:#}"));
            }
        }
    }

    /// Sends the character to a place.
    fn go(&self, goal: &PoseStamped) -> Result<()> {
        let found = &goal.header.frame_id;
        ensure!(
            found.is_empty() || *found == self.frame,
            "expected a goal in frame {:?}, found {found:?}",
            self.frame
        );
        let [ahead, left, _] = goal.position;
        let [x, y, z, w] = goal.orientation;
        ensure!(
            [ahead, left, x, y, z, w]
                .iter()
                .all(|number| number.is_finite()),
            "expected finite numbers"
        );
        let steering = &mut *lock(&self.steering);
        let [from_x, from_z] = steering
            .place
            .context("the character has not shown itself yet")?;
        // ROS's X is our Z, its Y our X; a yaw is the same angle in both.
        let (to_x, to_z) = (left, ahead);
        let distance = (to_x - from_x).hypot(to_z - from_z);
        let yaw = (2.0 * (w * z + x * y)).atan2(1.0 - 2.0 * (y * y + z * z));
        steering.send(Control {
            points: vec![PathPoint {
                time_s: (distance / self.speed).max(AT_ONCE) as f32,
                x: to_x as f32,
                z: to_z as f32,
                facing: Some(yaw as f32),
            }],
            ..blank(ControlMode::Path)
        })
    }
}

impl Steering {
    fn send(&mut self, control: Control) -> Result<()> {
        self.sequence += 1;
        let stamp = stamp(self.sequence, 0);
        self.controls.publish(&Control { stamp, ..control })?;
        Ok(())
    }
}

fn blank(mode: ControlMode) -> Control {
    Control {
        stamp: kinestream_bridge::Stamp::default(),
        mode,
        velocity: [0.0; 2],
        facing: [0.0; 2],
        diversity: 1.0,
        strength: 1.0,
        points: Vec::new(),
    }
}

/// The transforms of all joints, every frame named after the character and the joint.
fn transforms(
    figure: &Figure,
    skeleton: &SkeletonInfo,
    prefix: &str,
    header: &Header,
) -> TfMessage {
    let name = |joint: usize| format!("{prefix}/{}", skeleton.joints[joint].name);
    let joints = skeleton.joints.iter().zip(&figure.rotations).enumerate();
    let transforms = joints.map(|(index, (joint, rotation))| {
        let (frame_id, offset) = match joint.parent {
            Some(parent) => (name(parent), Vector3::from(joint.offset)),
            None => (header.frame_id.clone(), figure.root),
        };
        TransformStamped {
            header: Header {
                frame_id,
                ..header.clone()
            },
            child_frame_id: name(index),
            translation: place(&offset),
            rotation: turn(rotation),
        }
    });
    TfMessage {
        transforms: transforms.collect(),
    }
}

fn rotation(rotation: &[f32; 4]) -> UnitQuaternion<f64> {
    let [x, y, z, w] = rotation.map(f64::from);
    UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z))
}

fn place(ours: &Vector3<f64>) -> [f64; 3] {
    Axes::Ros.position(ours).into()
}

fn turn(ours: &UnitQuaternion<f64>) -> [f64; 4] {
    Axes::Ros.rotation(ours).coords.into()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use kinestream_bridge::JointInfo;

    use super::*;

    #[test]
    fn joints_stand_where_they_stand_when_transforms_are_put_together() {
        let joint = |name: &str, parent, offset| JointInfo {
            name: name.into(),
            parent,
            offset,
        };
        let skeleton = SkeletonInfo {
            joints: vec![
                joint("Hips", None, [0.0; 3]),
                joint("Head", Some(0), [0.0, 0.6, 0.1]),
            ],
            ends: Vec::new(),
            contacts: None,
        };
        // At x 1, z 2, 0.9 m up, turned to its left by a quarter: it faces +X, which is ROS's left.
        let figure = Figure {
            root: Vector3::new(1.0, 0.9, 2.0),
            rotations: vec![
                UnitQuaternion::from_axis_angle(&Vector3::y_axis(), FRAC_PI_2),
                UnitQuaternion::identity(),
            ],
        };
        let header = Header {
            frame_id: "map".into(),
            ..Header::default()
        };
        let message = transforms(&figure, &skeleton, "hero", &header);
        let [hips, head] = &message.transforms[..] else {
            panic!("{message:?}");
        };
        assert_eq!(
            (hips.header.frame_id.as_str(), hips.child_frame_id.as_str()),
            ("map", "hero/Hips")
        );
        assert_eq!(
            (head.header.frame_id.as_str(), head.child_frame_id.as_str()),
            ("hero/Hips", "hero/Head")
        );
        let [x, y, z, w] = hips.rotation;
        let hips_turn = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
        let there = Vector3::from(hips.translation) + hips_turn * Vector3::from(head.translation);
        // In our world the head is at x 1.1, y 1.5, z 2.
        assert!(
            (there - Vector3::new(2.0, 1.1, 1.5)).norm() < 1e-9,
            "{there}"
        );
    }
}
