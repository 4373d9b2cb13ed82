//! The Push-T scene: its geometry, its bodies and their placement.
//!
//! Measures of the environment of real-stanford/diffusion_policy: a table of 512 by 512 pixels,
//! walls 5 pixels from its edges, a disc (the agent) that is moved by velocity, and the T.

use super::physics::{Body, BodyId, ContactMark, Shape, Space, Transform, Vector};

/// Side of the table, pixels.
pub const TABLE_SIZE: f64 = 512.0;
/// Radius of the agent's disc, pixels.
pub const AGENT_RADIUS: f64 = 15.0;
/// Where the T belongs: x, y of its origin in pixels, angle in radians.
pub const GOAL_POSE: [f64; 3] = [256.0, 256.0, std::f64::consts::FRAC_PI_4];

/// The T's corners in its own coordinates, bar first; its origin is the middle of the bar's
/// outer edge, and the stem points along y.
pub const T_RECTANGLES: [[[f64; 2]; 4]; 2] = [
    [[-60.0, 0.0], [60.0, 0.0], [60.0, 30.0], [-60.0, 30.0]],
    [[-15.0, 30.0], [15.0, 30.0], [15.0, 120.0], [-15.0, 120.0]],
];

pub(super) const WALL_LOW: f64 = 5.0;
pub(super) const WALL_HIGH: f64 = 506.0;
pub(super) const WALL_RADIUS: f64 = 2.0;

const T_MASS: f64 = 1.0;
/// Twice the bar's moment of inertia about the T's origin: the reference computes the stem's
/// moment from the bar's corners, and scores are only comparable with that kept.
const T_MOMENT: f64 = 3000.0;
/// Mean of the two rectangles' centres, not weighted by their areas.
const T_CENTER_OF_GRAVITY: Vector = Vector::new(0.0, 45.0);

/// The bodies of one environment.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    space: Space,
    agent: BodyId,
    block: BodyId,
}

impl Scene {
    /// The scene as the reference sets it up, before a state is set.
    pub(super) fn new() -> Self {
        let mut space = Space::default();
        let table = space.add_body(Body::fixed());
        for [a, b] in walls() {
            let radius = WALL_RADIUS;
            space.add_static(table, &Shape::Segment { a, b, radius });
        }

        let agent = space.add_body(Body::kinematic());
        space
            .body_mut(agent)
            .set_position(Vector::new(256.0, 400.0));
        space.add_moving(
            agent,
            &Shape::Circle {
                radius: AGENT_RADIUS,
            },
        );

        let block = space.add_body(Body::dynamic(T_MASS, T_MOMENT, T_CENTER_OF_GRAVITY));
        space
            .body_mut(block)
            .set_position(Vector::new(256.0, 300.0));
        for rectangle in T_RECTANGLES {
            let corners = rectangle.map(|[x, y]| Vector::new(x, y));
            space.add_moving(block, &Shape::Quadrilateral { corners });
        }
        Self {
            space,
            agent,
            block,
        }
    }

    pub(super) fn agent(&self) -> &Body {
        self.space.body(self.agent)
    }

    pub(super) fn agent_mut(&mut self) -> &mut Body {
        self.space.body_mut(self.agent)
    }

    pub(super) fn block(&self) -> &Body {
        self.space.body(self.block)
    }

    pub(super) fn block_mut(&mut self) -> &mut Body {
        self.space.body_mut(self.block)
    }

    pub(super) fn forget_contacts(&mut self) {
        self.space.forget_contacts();
    }

    /// The contacts of the latest step, in the order in which they were solved.
    pub(super) fn contacts(&self) -> impl Iterator<Item = ContactMark> {
        self.space.contacts()
    }

    pub(super) fn step(&mut self, dt: f64) {
        self.space.step(dt);
    }

    /// The T's rectangles in table coordinates.
    pub(super) fn block_rectangles(&self) -> [[Vector; 4]; 2] {
        rectangles_at(self.block().transform())
    }
}

/// The ends of the four walls' centre lines, in the reference's order.
pub(super) fn walls() -> [[Vector; 2]; 4] {
    let (low, high) = (WALL_LOW, WALL_HIGH);
    let corner = Vector::new;
    [
        [corner(low, high), corner(low, low)],
        [corner(low, low), corner(high, low)],
        [corner(high, low), corner(high, high)],
        [corner(low, high), corner(high, high)],
    ]
}

/// The goal's rectangles in table coordinates.
pub(super) fn goal_rectangles() -> [[Vector; 4]; 2] {
    let [x, y, angle] = GOAL_POSE;
    rectangles_at(&Transform::new(Vector::new(x, y), angle, Vector::ZERO))
}

/// The T's rectangles placed by `transform`.
pub(super) fn rectangles_at(transform: &Transform) -> [[Vector; 4]; 2] {
    T_RECTANGLES.map(|corners| corners.map(|[x, y]| transform.point(Vector::new(x, y))))
}
