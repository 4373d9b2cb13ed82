//! A puppet that walks by hand-made rules: feet that step where the body is going, legs that reach
//! them, arms that swing along.

use std::f64::consts::{PI, TAU};

use kinestream_viewer::character::{Body, BodyError, BodyPoint};

/// Time between two places of the prediction, s.
pub(crate) const PREDICTION_PERIOD: f64 = 0.1;
const PREDICTED: usize = 16;
/// What it can do, m/s, m/s², rad/s.
const TOP_SPEED: f64 = 3.6;
const ACCELERATION: f64 = 5.0;
const TURNING: f64 = 6.0;
const THIGH: f64 = 0.42;
const SHIN: f64 = 0.43;

type Vector = [f64; 3];

/// Joints with their parents, then the tips of head, hands and toes.
const JOINTS: [(&str, Option<usize>); 22] = [
    ("Hips", None),
    ("Spine", Some(0)),
    ("Spine1", Some(1)),
    ("Spine2", Some(2)),
    ("Neck", Some(3)),
    ("Head", Some(4)),
    ("LeftShoulder", Some(3)),
    ("LeftArm", Some(6)),
    ("LeftForeArm", Some(7)),
    ("LeftHand", Some(8)),
    ("RightShoulder", Some(3)),
    ("RightArm", Some(10)),
    ("RightForeArm", Some(11)),
    ("RightHand", Some(12)),
    ("LeftUpLeg", Some(0)),
    ("LeftLeg", Some(14)),
    ("LeftFoot", Some(15)),
    ("LeftToe", Some(16)),
    ("RightUpLeg", Some(0)),
    ("RightLeg", Some(18)),
    ("RightFoot", Some(19)),
    ("RightToe", Some(20)),
];
const TIPS: [usize; 5] = [5, 9, 13, 17, 21];

/// What the page is told once.
pub(crate) fn body() -> Result<Body, BodyError> {
    let joint = |(name, parent): (&str, Option<usize>)| BodyPoint {
        name: Some(name.to_owned()),
        parent,
    };
    let tip = |parent| BodyPoint {
        name: None,
        parent: Some(parent),
    };
    let points = JOINTS.into_iter().map(joint).chain(TIPS.map(tip));
    Body::new(points.collect(), [16, 17, 20, 21])
}

/// A foot: where its ball is, and how it is turned and tilted.
#[derive(Clone, Copy)]
struct Foot {
    ball: Vector,
    from: Vector,
    facing: f64,
    tilt: f64,
    swings: bool,
}

pub(crate) struct Puppet {
    /// Of the root on the floor, m.
    pub(crate) place: [f64; 2],
    /// m/s.
    pub(crate) velocity: [f64; 2],
    /// rad.
    pub(crate) facing: f64,
    pub(crate) points: Vec<Vector>,
    pub(crate) contacts: [bool; 4],
    /// How far a foot in contact moved in the last frames, m per frame.
    pub(crate) sliding: f64,
    phase: f64,
    lean: [f64; 2],
    feet: [Foot; 2],
}

impl Default for Puppet {
    fn default() -> Self {
        let foot = |side: f64| Foot {
            ball: [0.1 * side, 0.02, 0.06],
            from: [0.0; 3],
            facing: 0.0,
            tilt: 0.0,
            swings: false,
        };
        let mut puppet = Self {
            place: [0.0; 2],
            velocity: [0.0; 2],
            facing: 0.0,
            points: Vec::new(),
            contacts: [true; 4],
            sliding: 0.0,
            phase: 0.0,
            lean: [0.0; 2],
            feet: [foot(1.0), foot(-1.0)],
        };
        puppet.pose();
        puppet
    }
}

impl Puppet {
    /// The same velocity within what the puppet can do.
    pub(crate) fn limited(&self, velocity: [f64; 2]) -> [f64; 2] {
        let speed = velocity[0].hypot(velocity[1]);
        if speed > TOP_SPEED {
            velocity.map(|part| part / speed * TOP_SPEED)
        } else {
            velocity
        }
    }

    pub(crate) fn stands(&self) -> bool {
        self.velocity[0].hypot(self.velocity[1]) < 0.05 && self.feet.iter().all(|foot| !foot.swings)
    }

    /// Angle between where it faces and where it is to face, rad.
    pub(crate) fn heading_error(&self, velocity: [f64; 2], facing: [f64; 2]) -> f64 {
        match self.wanted(velocity, facing) {
            Some(angle) => wrapped(angle - self.facing).abs(),
            None => 0.0,
        }
    }

    /// Where it is going to be if nothing else is asked.
    pub(crate) fn prediction(&self, asked: [f64; 2]) -> Vec<[f64; 2]> {
        let (mut place, mut velocity) = (self.place, self.velocity);
        let mut places = vec![place];
        for _ in 1..PREDICTED {
            for _ in 0..6 {
                let step = PREDICTION_PERIOD / 6.0;
                velocity = towards(velocity, asked, ACCELERATION * step);
                place = [place[0] + step * velocity[0], place[1] + step * velocity[1]];
            }
            places.push(place);
        }
        places
    }

    pub(crate) fn advance(&mut self, asked: [f64; 2], facing: [f64; 2], step: f64) {
        let asked = self.limited(asked);
        let before = self.velocity;
        self.velocity = towards(before, asked, ACCELERATION * step);
        for (axis, was) in before.into_iter().enumerate() {
            self.place[axis] += step * self.velocity[axis];
            let rate = (self.velocity[axis] - was) / step;
            self.lean[axis] += (rate * 0.02 - self.lean[axis]) * (6.0 * step).min(1.0);
        }
        if let Some(angle) = self.wanted(asked, facing) {
            let turn = wrapped(angle - self.facing);
            self.facing = wrapped(self.facing + (8.0 * turn).clamp(-TURNING, TURNING) * step);
        }
        self.step_feet(step);
        let balls = [17, 21].map(|point| self.points[point]);
        self.pose();
        let slid = [0, 1]
            .into_iter()
            .filter(|side| self.contacts[2 * side + 1])
            .map(|side| distance(balls[side], self.points[[17, 21][side]]))
            .fold(0.0, f64::max);
        self.sliding += 0.05 * (slid - self.sliding);
    }

    fn wanted(&self, velocity: [f64; 2], facing: [f64; 2]) -> Option<f64> {
        let way = if facing == [0.0; 2] { velocity } else { facing };
        (way[0].hypot(way[1]) > 0.05).then(|| way[0].atan2(way[1]))
    }

    fn speed(&self) -> f64 {
        self.velocity[0].hypot(self.velocity[1])
    }

    /// Share of a stride in which a foot is in the air.
    fn swing_share(&self) -> f64 {
        (0.38 + 0.09 * self.speed()).min(0.66)
    }

    fn stride_seconds(&self) -> f64 {
        (1.25 - 0.2 * self.speed()).max(0.66)
    }

    /// Where a foot would stand at ease, `ahead` seconds from now.
    fn rest(&self, side: usize, ahead: f64) -> Vector {
        let out = [1.0, -1.0][side] * (0.1 - 0.012 * self.speed());
        let at = turned([out, 0.02, 0.06], self.facing);
        [
            self.place[0] + at[0] + ahead * self.velocity[0],
            at[1],
            self.place[1] + at[2] + ahead * self.velocity[1],
        ]
    }

    fn step_feet(&mut self, step: f64) {
        let astray = (0..2).any(|side| {
            let foot = &self.feet[side];
            foot.swings
                || distance(foot.ball, self.rest(side, 0.0)) > 0.07
                || wrapped(foot.facing - self.facing).abs() > 0.3
        });
        if self.speed() > 0.05 || astray {
            self.phase = (self.phase + step / self.stride_seconds()).fract();
        }
        let (share, stride) = (self.swing_share(), self.stride_seconds());
        for side in 0..2 {
            let phase = (self.phase + 0.5 * side as f64).fract();
            let moving = self.speed() > 0.05 || astray;
            if phase < share && moving {
                let gone = phase / share;
                let stance = (1.0 - share) * stride;
                let target = self.rest(side, (1.0 - gone) * share * stride + 0.5 * stance);
                let (facing, speed) = (self.facing, self.speed());
                let foot = &mut self.feet[side];
                if !foot.swings {
                    (foot.swings, foot.from) = (true, foot.ball);
                }
                let eased = gone * gone * (3.0 - 2.0 * gone);
                let lift = (0.05 + 0.05 * speed) * (PI * gone).sin();
                foot.ball = [0, 1, 2].map(|k| foot.from[k] + eased * (target[k] - foot.from[k]));
                foot.ball[1] = 0.02 + lift;
                foot.facing += wrapped(facing - foot.facing) * (12.0 * step).min(1.0);
                let low = -0.3 * ((gone - 0.6) / 0.4).clamp(0.0, 1.0);
                let high = (0.5 + 0.25 * speed) * (1.0 - gone / 0.6).clamp(0.0, 1.0);
                foot.tilt += (high + low - foot.tilt) * (16.0 * step).min(1.0);
            } else {
                let late = ((phase - 0.72) / 0.28).clamp(0.0, 1.0);
                let pushes = if self.speed() > 0.05 {
                    (0.5 + 0.2 * self.speed()) * late
                } else {
                    0.0
                };
                let foot = &mut self.feet[side];
                foot.swings = false;
                foot.ball[1] = 0.02;
                foot.tilt += (pushes - foot.tilt) * (18.0 * step).min(1.0);
            }
        }
        for (side, foot) in self.feet.iter().enumerate() {
            self.contacts[2 * side] = !foot.swings && foot.tilt.abs() < 0.12;
            self.contacts[2 * side + 1] = !foot.swings;
        }
    }

    /// Places all points.
    fn pose(&mut self) {
        let speed = self.speed();
        let wave = TAU * self.phase;
        let going = (speed / 0.4).min(1.0);
        let run = ((speed - 1.6) / 1.4).clamp(0.0, 1.0);
        let bob = going * (0.016 + 0.02 * run) * (2.0 * wave - 0.9).cos();
        let height = 0.955 - 0.012 * speed + bob;
        let local_lean = turned([self.lean[0], 0.0, self.lean[1]], -self.facing);
        let pitch = 0.03 + 0.045 * speed + local_lean[2];
        let roll = local_lean[0];
        let twist = going * (0.09 + 0.05 * run) * (wave - 0.4).cos();

        let root = [self.place[0], height, self.place[1]];
        let world = |at: Vector| add(root, turned(at, self.facing));
        // Pelvis and chest turn against each other; the trunk leans.
        let pelvis = |at: Vector| turned(at, twist);
        let lean = |at: Vector| [at[0] + roll * at[1], at[1], at[2] + pitch * at[1]];
        let chest = |at: Vector, up: f64| {
            let [x, y, z] = turned([at[0], 0.0, at[2]], -1.3 * twist);
            lean([x, y + up + at[1], z])
        };
        let mut points = vec![[0.0; 3]; JOINTS.len() + TIPS.len()];
        points[0] = root;
        points[1] = world(lean([0.0, 0.09, -0.01]));
        points[2] = world(lean([0.0, 0.21, -0.01]));
        points[3] = world(chest([0.0, 0.0, -0.01], 0.33));
        points[4] = world(chest([0.0, 0.19, -0.01], 0.33));
        points[5] = world(chest([0.0, 0.28, 0.01], 0.33));
        points[22] = world(chest([0.0, 0.45, 0.01], 0.33));

        for side in 0..2 {
            let sign = [1.0, -1.0][side];
            let arm = [6, 10][side];
            let swing = -sign * going * (0.42 + 0.3 * run) * (wave - 0.4).cos() + 0.06;
            let bend = 0.28 + 0.2 * going + 0.9 * run + 0.25 * swing.max(0.0);
            let shoulder = [0.18 * sign, 0.13, -0.01];
            let upper = [0.12 * sign, -swing.cos(), swing.sin()];
            let upper = scaled(upper, 0.285 / length(upper));
            let fore = [
                -0.04 * sign - 0.1 * sign * run,
                -(swing + bend).cos(),
                (swing + bend).sin(),
            ];
            let fore = scaled(fore, 0.265 / length(fore));
            let elbow = add(shoulder, upper);
            let wrist = add(elbow, fore);
            points[arm] = world(chest([0.05 * sign, 0.13, -0.01], 0.33));
            points[arm + 1] = world(chest(shoulder, 0.33));
            points[arm + 2] = world(chest(elbow, 0.33));
            points[arm + 3] = world(chest(wrist, 0.33));
            points[23 + side] = world(chest(add(wrist, scaled(fore, 0.17 / 0.265)), 0.33));

            let leg = [14, 18][side];
            let foot = self.feet[side];
            let tilted = |[x, y, z]: Vector| {
                let (sin, cos) = foot.tilt.sin_cos();
                turned([x, y * cos - z * sin, y * sin + z * cos], foot.facing)
            };
            let hip = world(pelvis([0.09 * sign, -0.04, 0.0]));
            let ankle = add(foot.ball, tilted([0.0, 0.06, -0.12]));
            let (knee, ankle) = reach(hip, ankle, turned([0.08 * sign, 0.0, 1.0], self.facing));
            let ball = add(ankle, tilted([0.0, -0.06, 0.12]));
            points[leg] = hip;
            points[leg + 1] = knee;
            points[leg + 2] = ankle;
            points[leg + 3] = ball;
            let toes = 0.06 * foot.tilt.clamp(-1.0, 0.0).sin();
            points[25 + side] = add(ball, turned([0.0, -toes, 0.06], foot.facing));
        }
        self.points = points;
    }
}

/// Knee of a leg from hip to ankle that bends `forward`, and the ankle, drawn in if out of reach.
fn reach(hip: Vector, ankle: Vector, forward: Vector) -> (Vector, Vector) {
    let span = subtract(ankle, hip);
    let long = length(span).clamp(0.3, 0.995 * (THIGH + SHIN));
    let along = scaled(span, 1.0 / length(span));
    let ankle = add(hip, scaled(along, long));
    let cos = (THIGH * THIGH + long * long - SHIN * SHIN) / (2.0 * THIGH * long);
    let off = (1.0 - cos * cos).max(0.0).sqrt();
    let dot: f64 = forward.iter().zip(along).map(|(a, b)| a * b).sum();
    let bend = subtract(forward, scaled(along, dot));
    let bend = scaled(bend, 1.0 / length(bend));
    let knee = add(
        hip,
        add(scaled(along, THIGH * cos), scaled(bend, THIGH * off)),
    );
    (knee, ankle)
}

fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn subtract(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn scaled(a: Vector, by: f64) -> Vector {
    a.map(|part| part * by)
}

fn length(a: Vector) -> f64 {
    a.iter().map(|part| part * part).sum::<f64>().sqrt()
}

fn distance(a: Vector, b: Vector) -> f64 {
    length(subtract(a, b))
}

/// Turned about Y: at a quarter turn +Z becomes +X.
fn turned([x, y, z]: Vector, angle: f64) -> Vector {
    let (sin, cos) = angle.sin_cos();
    [x * cos + z * sin, y, z * cos - x * sin]
}

fn towards(from: [f64; 2], to: [f64; 2], most: f64) -> [f64; 2] {
    let change = [to[0] - from[0], to[1] - from[1]];
    let size = change[0].hypot(change[1]);
    if size <= most {
        return to;
    }
    [
        from[0] + change[0] / size * most,
        from[1] + change[1] / size * most,
    ]
}

/// The same angle in [-pi, pi).
fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}
