//! A live character as the wire and the page know it: control and requests in, poses and pictures
//! out. Clock-free: whoever calls says what time it is.

use kinestream_bridge::engines::steering::Steering;
use kinestream_bridge::wire::{
    Contacts, Control, ControlMode, PathPoint, PoseFlags, Request, Stamp,
};
use kinestream_bridge::{EndInfo, JointInfo, Pose, SkeletonInfo};
use kinestream_motion::Skeleton;
use kinestream_motion::controller::{Controller, Counts, FrameSource, Goal, LivePose};
use kinestream_motion::foot::Feet;
use kinestream_motion::performer::{ActionRequest, ClipPlayer, PlaybackState};
use kinestream_motion::rotation::wrapped;
use kinestream_motion::stick::{JoystickInput, Waypoint};
use kinestream_motion::trajectory::Root;
use kinestream_viewer::character::Input;
use nalgebra::Vector2;

/// Least time between two points of a path that a person draws, s.
const LEAST_STEP: f64 = 1e-3;

/// One character, and what people do with its time.
#[derive(Debug)]
pub struct Live<S = ClipPlayer> {
    controller: Controller<S>,
    seed: u32,
    /// Number of the beginning, from 1.
    stream: u32,
    /// Poses since the beginning.
    frame: u64,
    /// Seconds since the beginning, as the character lives them.
    seconds: f64,
    pace: f64,
    paused: bool,
}

/// What somebody asks for beyond control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Asked {
    /// Nothing: it has been done.
    Done,
    /// To begin again with a seed: see [`Live::restart`].
    Restart(u32),
}

impl Live {
    /// Performs something from now on.
    pub fn act(&mut self, act: ActionRequest) -> kinestream_motion::Result<()> {
        self.controller.source_mut().act(act)
    }

    /// Number of the label that it performs.
    pub fn acting(&self) -> Option<usize> {
        match self.controller.source().performing() {
            PlaybackState::Acting(label) => Some(label),
            PlaybackState::Nothing | PlaybackState::Preparing(_) => None,
        }
    }
}

impl<S: FrameSource> Live<S> {
    /// A character under a controller, from a seed.
    pub fn new(controller: Controller<S>, seed: u32) -> Self {
        Self {
            controller,
            seed,
            stream: 1,
            frame: 0,
            seconds: 0.0,
            pace: 1.0,
            paused: false,
        }
    }

    /// The same character at its beginning, in a new stream.
    pub fn restart(self, seed: u32) -> kinestream_motion::Result<Self> {
        Ok(Self {
            controller: self.controller.restart(u64::from(seed))?,
            seed,
            stream: self.stream.wrapping_add(1),
            frame: 0,
            seconds: 0.0,
            ..self
        })
    }

    /// Its controller.
    pub fn controller(&self) -> &Controller<S> {
        &self.controller
    }

    /// Asks for something that no message says: a path of any length.
    pub fn steer(&mut self, goal: Goal) {
        self.controller.steer(goal);
    }

    /// Takes a message of the wire.
    pub fn control(&mut self, control: &Control) {
        self.controller
            .set_knobs(f64::from(control.diversity), f64::from(control.strength));
        self.controller.steer(goal(control));
    }

    /// Takes a request of the wire; those that only Push-T has do nothing.
    pub fn request(&mut self, request: &Request) -> Asked {
        match request {
            Request::Reset { seed } => {
                self.paused = false;
                // The seed of a stream of noise is one of 32 bits on the page.
                return Asked::Restart(*seed as u32);
            }
            Request::Pause => self.paused = true,
            Request::Resume => self.paused = false,
            Request::Stop => {
                self.controller.let_go();
                self.controller.steer(Goal::Stick(JoystickInput::default()));
            }
            Request::MoveBlock { .. } | Request::MoveAgent { .. } | Request::ReleaseAgent => {}
        }
        Asked::Done
    }

    /// What a person did on the page, as messages of the wire; what the wire has no message for is
    /// done here.
    pub fn input(&mut self, input: Input, stamp: Stamp) -> Message {
        let request = |request| Message::Request(request);
        match input {
            Input::Stick { velocity, facing } => Message::Control(Control {
                velocity: velocity.map(|part| part as f32),
                facing: facing.map(|part| part as f32),
                ..self.blank(stamp)
            }),
            Input::Path { points, speed } => Message::Control(self.path(&points, speed, stamp)),
            Input::Knobs {
                diversity,
                strength,
            } => {
                self.controller.set_knobs(diversity, strength);
                Message::None
            }
            Input::Pace { pace } => {
                self.pace = pace;
                Message::None
            }
            // Those go to the desk that all requests go to.
            Input::Act { .. } => Message::None,
            Input::Pause => request(Request::Pause),
            Input::Resume => request(Request::Resume),
            Input::Reset { seed } => request(Request::Reset {
                seed: u64::from(seed.unwrap_or(self.seed)),
            }),
        }
    }

    /// What an engine asks for as a message of the wire, with the knobs as they are where it says
    /// nothing of them.
    pub fn steered(&self, steering: &Steering, stamp: Stamp) -> Control {
        let (diversity, strength) = self.controller.knobs();
        steering.control(stamp, (diversity as f32, strength as f32))
    }

    /// A control that asks for nothing, with the knobs as they are.
    fn blank(&self, stamp: Stamp) -> Control {
        let (diversity, strength) = self.controller.knobs();
        Control {
            stamp,
            mode: ControlMode::Stick,
            velocity: [0.0; 2],
            facing: [0.0; 2],
            diversity: diversity as f32,
            strength: strength as f32,
            points: Vec::new(),
        }
    }

    /// A path through points at a speed, from where the character is.
    fn path(&self, points: &[[f64; 2]], speed: f64, stamp: Stamp) -> Control {
        if points.is_empty() || speed <= 0.0 {
            return self.blank(stamp);
        }
        let mut place = self.controller.root().position;
        let mut seconds = 0.0;
        let points = points
            .iter()
            .map(|[x, z]| {
                let next = Vector2::new(*x, *z);
                seconds += ((next - place).norm() / speed).max(LEAST_STEP);
                // A step that single precision does not tell from the last one is no step.
                seconds = seconds.max(f64::from((seconds as f32).next_up()));
                place = next;
                PathPoint {
                    time_s: seconds as f32,
                    x: *x as f32,
                    z: *z as f32,
                    facing: None,
                }
            })
            .collect();
        Control {
            mode: ControlMode::Path,
            points,
            ..self.blank(stamp)
        }
    }

    /// Lets time pass, seconds of the clock; returns the generated frames.
    pub fn tick(&mut self, seconds: f64) -> kinestream_motion::Result<usize> {
        if self.paused {
            return Ok(0);
        }
        self.frame += 1;
        let passed = seconds * self.pace;
        self.seconds += passed;
        self.controller.tick(passed)
    }

    /// The pose of this moment.
    pub fn pose(&self) -> LivePose {
        self.controller.pose()
    }

    /// The pose as a message, due at `frame_ns` of the sender's clock.
    pub fn message(&self, pose: &LivePose, stamp: Stamp, due: Due) -> Pose {
        let stamp = Stamp {
            stream: self.stream,
            ..stamp
        };
        message(pose, stamp, self.frame, due)
    }

    /// The seed that it began from.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Number of its stream; a new one with every beginning.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Number of the newest frame.
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// Time since it began, in seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// How fast its time passes, 1 as ours.
    pub fn pace(&self) -> f64 {
        self.pace
    }

    /// Whether its time stands still.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What was asked of it.
    pub fn counts(&self) -> Counts {
        self.controller.counts()
    }
}

/// A pose as a message: the `frame`th of its stream.
pub fn message(pose: &LivePose, stamp: Stamp, frame: u64, due: Due) -> Pose {
    let root = &pose.pose.root;
    let flag = |set: bool, flag: PoseFlags| if set { flag.0 } else { 0 };
    let [left_heel, left_toe, right_heel, right_toe] = pose.contacts;
    let bears = |set: bool, point: Contacts| if set { point.0 } else { 0 };
    Pose {
        stamp,
        frame,
        frame_ns: due.frame_ns,
        period_ns: due.period_ns,
        contacts: Contacts(
            bears(left_heel, Contacts::LEFT_HEEL)
                | bears(left_toe, Contacts::LEFT_TOE)
                | bears(right_heel, Contacts::RIGHT_HEEL)
                | bears(right_toe, Contacts::RIGHT_TOE),
        ),
        flags: PoseFlags(
            flag(pose.clamped, PoseFlags::CLAMPED)
                | flag(pose.refused, PoseFlags::HELD)
                | flag(pose.idle, PoseFlags::IDLE)
                | flag(pose.acting, PoseFlags::ACTING),
        ),
        phase: pose.phase as f32,
        root_position: [root.x, root.y, root.z],
        root_velocity: [pose.velocity.x, pose.velocity.y, pose.velocity.z].map(|part| part as f32),
        yaw_rate: pose.yaw_rate as f32,
        rotations: pose
            .pose
            .rotations
            .iter()
            .map(|rotation| {
                let [x, y, z, w] = rotation.coords.into();
                [x as f32, y as f32, z as f32, w as f32]
            })
            .collect(),
    }
}

/// When a pose is due, and how long it counts.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Time of the frame before, in nanoseconds.
    pub frame_ns: u64,
    /// Time from frame to frame, in nanoseconds.
    pub period_ns: u64,
}

/// What a person's input says on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Nothing: it has been done.
    None,
    /// Control.
    Control(Control),
    /// A request.
    Request(Request),
}

/// The goal that a message names.
fn goal(control: &Control) -> Goal {
    let place = |[x, z]: [f32; 2]| Vector2::new(f64::from(x), f64::from(z));
    match control.mode {
        ControlMode::Stick => {
            let facing = place(control.facing);
            Goal::Stick(JoystickInput {
                velocity: place(control.velocity),
                facing: (facing != Vector2::zeros()).then(|| facing.x.atan2(facing.y)),
            })
        }
        ControlMode::Path => Goal::Path(
            control
                .points
                .iter()
                .map(|point| Waypoint {
                    seconds: f64::from(point.time_s),
                    position: place([point.x, point.z]),
                    facing: point.facing.map(f64::from),
                })
                .collect(),
        ),
    }
}

/// The skeleton of the poses, as `info/skeleton` tells it.
pub fn skeleton_info(skeleton: &Skeleton, feet: &Feet) -> SkeletonInfo {
    let offset = |offset: &nalgebra::Vector3<f64>| [offset.x, offset.y, offset.z];
    SkeletonInfo {
        joints: skeleton
            .joints()
            .iter()
            .map(|joint| JointInfo {
                name: joint.name.clone(),
                parent: joint.parent,
                offset: offset(&joint.offset),
            })
            .collect(),
        ends: skeleton
            .ends()
            .iter()
            .map(|(joint, place)| EndInfo {
                joint: *joint,
                offset: offset(place),
            })
            .collect(),
        contacts: Some(feet.joints()),
    }
}

/// The angle between where a character faces and where it is to face, degrees; 0 where that is left
/// to it.
pub fn heading_error_deg(root: &Root, asked: Option<f64>) -> f64 {
    asked.map_or(0.0, |asked| {
        wrapped(asked - root.heading).abs().to_degrees()
    })
}
