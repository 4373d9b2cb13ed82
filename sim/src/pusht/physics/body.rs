//! Rigid bodies and their placement in the plane.

use super::vector::Vector;

/// Rotation and translation from body to world coordinates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transform {
    /// Image of the body's x axis.
    x_axis: Vector,
    /// Image of the body's y axis.
    y_axis: Vector,
    /// Image of the body's origin.
    origin: Vector,
}

impl Transform {
    /// Turns by `angle` about `pivot` (body coordinates), which lands on `position`.
    pub(crate) fn new(position: Vector, angle: f64, pivot: Vector) -> Self {
        let rotation = Vector::from_angle(angle);
        Self {
            x_axis: rotation,
            y_axis: Vector::new(-rotation.y, rotation.x),
            origin: Vector::new(
                position.x - (pivot.x * rotation.x - pivot.y * rotation.y),
                position.y - (pivot.x * rotation.y + pivot.y * rotation.x),
            ),
        }
    }

    pub(crate) fn point(&self, point: Vector) -> Vector {
        Vector::new(
            self.x_axis.x * point.x + self.y_axis.x * point.y + self.origin.x,
            self.x_axis.y * point.x + self.y_axis.y * point.y + self.origin.y,
        )
    }

    pub(super) fn direction(&self, direction: Vector) -> Vector {
        Vector::new(
            self.x_axis.x * direction.x + self.y_axis.x * direction.y,
            self.x_axis.y * direction.x + self.y_axis.y * direction.y,
        )
    }

    pub(crate) fn origin(&self) -> Vector {
        self.origin
    }
}

/// What moves a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Motion {
    /// Nothing.
    Static,
    /// Its velocity, which only the caller changes.
    Kinematic,
    /// Contacts.
    Dynamic,
}

/// A rigid body. Only dynamic ones have finite mass; the others' inverses are zero.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    motion: Motion,
    pub(super) inverse_mass: f64,
    pub(super) inverse_moment: f64,
    /// Centre of gravity, body coordinates.
    center_of_gravity: Vector,
    /// Centre of gravity, world coordinates.
    pub(super) center: Vector,
    /// Velocity of the centre of gravity, pixels per second.
    pub(crate) velocity: Vector,
    angle: f64,
    /// Radians per second.
    pub(crate) angular_velocity: f64,
    /// Pseudo-velocity of one step that undoes overlap without adding momentum.
    pub(super) bias_velocity: Vector,
    pub(super) bias_angular_velocity: f64,
    transform: Transform,
}

impl Body {
    /// A body that stays at the origin.
    pub(crate) fn fixed() -> Self {
        Self {
            motion: Motion::Static,
            inverse_mass: 0.0,
            inverse_moment: 0.0,
            center_of_gravity: Vector::ZERO,
            center: Vector::ZERO,
            velocity: Vector::ZERO,
            angle: 0.0,
            angular_velocity: 0.0,
            bias_velocity: Vector::ZERO,
            bias_angular_velocity: 0.0,
            transform: Transform::new(Vector::ZERO, 0.0, Vector::ZERO),
        }
    }

    /// A body, first at the origin, that moves at the velocity it is given.
    pub(crate) fn kinematic() -> Self {
        Self {
            motion: Motion::Kinematic,
            ..Self::fixed()
        }
    }

    /// A body, first at the origin, that contacts move.
    pub(crate) fn dynamic(mass: f64, moment: f64, center_of_gravity: Vector) -> Self {
        Self {
            motion: Motion::Dynamic,
            inverse_mass: 1.0 / mass,
            inverse_moment: 1.0 / moment,
            center_of_gravity,
            ..Self::fixed()
        }
    }

    /// True where contacts do not move the body.
    pub(super) fn has_infinite_mass(&self) -> bool {
        self.motion != Motion::Dynamic
    }

    /// World coordinates of the body's origin (not of its centre of gravity).
    pub(crate) fn position(&self) -> Vector {
        self.transform.origin()
    }

    /// Radians, not wrapped.
    pub(crate) fn angle(&self) -> f64 {
        self.angle
    }

    pub(crate) fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Moves the origin to `position` under the present angle.
    pub(crate) fn set_position(&mut self, position: Vector) {
        self.center = self.transform.direction(self.center_of_gravity) + position;
        self.refresh_transform();
    }

    /// Turns the body about its centre of gravity, which moves the origin.
    pub(crate) fn set_angle(&mut self, angle: f64) {
        self.angle = angle;
        self.refresh_transform();
    }

    /// Takes all velocity away.
    pub(crate) fn stop(&mut self) {
        self.velocity = Vector::ZERO;
        self.angular_velocity = 0.0;
        self.bias_velocity = Vector::ZERO;
        self.bias_angular_velocity = 0.0;
    }

    /// Advances the placement by `dt` seconds and uses up the bias velocities.
    pub(super) fn integrate_position(&mut self, dt: f64) {
        if self.motion == Motion::Static {
            return;
        }
        self.center = self.center + (self.velocity + self.bias_velocity) * dt;
        self.angle += (self.angular_velocity + self.bias_angular_velocity) * dt;
        self.refresh_transform();
        self.bias_velocity = Vector::ZERO;
        self.bias_angular_velocity = 0.0;
    }

    /// Total damping: a dynamic body keeps no velocity from one step to the next.
    pub(super) fn damp_fully(&mut self) {
        if !self.has_infinite_mass() {
            self.velocity = Vector::ZERO;
            self.angular_velocity = 0.0;
        }
    }

    /// Velocity of the point at `offset` from the centre of gravity.
    pub(super) fn velocity_at(&self, offset: Vector) -> Vector {
        self.velocity + offset.perpendicular() * self.angular_velocity
    }

    /// Bias velocity of the point at `offset` from the centre of gravity.
    pub(super) fn bias_velocity_at(&self, offset: Vector) -> Vector {
        self.bias_velocity + offset.perpendicular() * self.bias_angular_velocity
    }

    /// Velocity change along `direction` per unit of impulse at `offset`.
    pub(super) fn compliance(&self, offset: Vector, direction: Vector) -> f64 {
        let lever = offset.cross(direction);
        self.inverse_mass + self.inverse_moment * lever * lever
    }

    pub(super) fn apply_impulse(&mut self, impulse: Vector, offset: Vector) {
        self.velocity = self.velocity + impulse * self.inverse_mass;
        self.angular_velocity += self.inverse_moment * offset.cross(impulse);
    }

    pub(super) fn apply_bias_impulse(&mut self, impulse: Vector, offset: Vector) {
        self.bias_velocity = self.bias_velocity + impulse * self.inverse_mass;
        self.bias_angular_velocity += self.inverse_moment * offset.cross(impulse);
    }

    fn refresh_transform(&mut self) {
        self.transform = Transform::new(self.center, self.angle, self.center_of_gravity);
    }
}
