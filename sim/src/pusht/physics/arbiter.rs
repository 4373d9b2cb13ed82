//! A persistent contact between two colliders, and its impulses.
//!
//! Contacts here have neither friction nor elasticity: the environment sets friction on its
//! bodies, where it has no effect, and leaves its shapes at zero.

use super::body::Body;
use super::collision::{MAX_CONTACTS, Manifold};
use super::vector::{Vector, maximum, minimum};

/// Steps for which an arbiter outlives its last contact.
const PERSISTENCE: u64 = 3;

/// Where an arbiter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In contact since this step: no impulse to start from.
    First,
    /// In contact since an earlier step.
    Normal,
    /// Not in contact, remembered for a few steps.
    Cached,
}

/// A contact point for drawing, world coordinates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContactMark {
    /// On the first body's surface.
    pub(crate) a: Vector,
    /// On the second body's surface.
    pub(crate) b: Vector,
    /// From the first body to the second, unit length.
    pub(crate) normal: Vector,
}

/// The contact of one pair of colliders across steps.
#[derive(Clone, Debug)]
pub(super) struct Arbiter {
    pub(super) first: usize,
    pub(super) second: usize,
    normal: Vector,
    contacts: [Contact; MAX_CONTACTS],
    count: usize,
    pub(super) stamp: u64,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, Default)]
struct Contact {
    /// From the first body's centre of gravity.
    offset_a: Vector,
    /// From the second body's centre of gravity.
    offset_b: Vector,
    normal_mass: f64,
    normal_impulse: f64,
    bias_impulse: f64,
    bias: f64,
    identity: u64,
}

impl Arbiter {
    /// An arbiter of colliders `first` and `second` that has no contact yet.
    pub(super) fn new(first: usize, second: usize) -> Self {
        Self {
            first,
            second,
            normal: Vector::ZERO,
            contacts: [Contact::default(); MAX_CONTACTS],
            count: 0,
            stamp: 0,
            state: State::First,
        }
    }

    /// Takes over this step's contact points, which inherit the impulses of the previous ones.
    pub(super) fn update(&mut self, manifold: &Manifold, a: &Body, b: &Body, stamp: u64) {
        let previous = self.contacts;
        for (contact, point) in self
            .contacts
            .iter_mut()
            .zip(&manifold.points[..manifold.count])
        {
            *contact = Contact {
                offset_a: point.a - a.center,
                offset_b: point.b - b.center,
                identity: point.identity,
                ..Contact::default()
            };
            for old in &previous[..self.count] {
                if old.identity == contact.identity {
                    contact.normal_impulse = old.normal_impulse;
                }
            }
        }
        self.count = manifold.count;
        self.normal = manifold.normal;
        self.stamp = stamp;
        if self.state == State::Cached {
            self.state = State::First;
        }
    }

    /// The contact points, for drawing.
    pub(super) fn marks(&self, a: &Body, b: &Body) -> impl Iterator<Item = ContactMark> {
        let (center_a, center_b, normal) = (a.center, b.center, self.normal);
        self.contacts[..self.count]
            .iter()
            .map(move |contact| ContactMark {
                a: center_a + contact.offset_a,
                b: center_b + contact.offset_b,
                normal,
            })
    }

    /// Ages the arbiter; false once it is to be forgotten.
    pub(super) fn age(&mut self, stamp: u64) -> bool {
        let steps = stamp - self.stamp;
        if steps >= 1 {
            self.state = State::Cached;
        }
        steps < PERSISTENCE
    }

    /// Effective mass and the bias velocity that closes all but `slop` of the overlap.
    pub(super) fn prepare(&mut self, a: &Body, b: &Body, dt: f64, slop: f64, bias: f64) {
        let normal = self.normal;
        let delta = b.center - a.center;
        for contact in &mut self.contacts[..self.count] {
            let (ra, rb) = (contact.offset_a, contact.offset_b);
            contact.normal_mass = 1.0 / (a.compliance(ra, normal) + b.compliance(rb, normal));
            let distance = (rb - ra + delta).dot(normal);
            contact.bias = -bias * minimum(0.0, distance + slop) / dt;
            contact.bias_impulse = 0.0;
        }
    }

    /// Starts the solver from the previous step's impulses, scaled by `dt_ratio`.
    pub(super) fn warm_start(&self, a: &mut Body, b: &mut Body, dt_ratio: f64) {
        if self.state == State::First {
            return;
        }
        for contact in &self.contacts[..self.count] {
            let impulse = self.normal * contact.normal_impulse;
            apply_impulses(a, b, contact, impulse * dt_ratio);
        }
    }

    /// One iteration of the sequential impulse solver.
    pub(super) fn solve(&mut self, a: &mut Body, b: &mut Body) {
        let normal = self.normal;
        for contact in &mut self.contacts[..self.count] {
            let (ra, rb) = (contact.offset_a, contact.offset_b);
            let bias_velocity = (b.bias_velocity_at(rb) - a.bias_velocity_at(ra)).dot(normal);
            let velocity = (b.velocity_at(rb) - a.velocity_at(ra)).dot(normal);

            let old_bias = contact.bias_impulse;
            let bias = (contact.bias - bias_velocity) * contact.normal_mass;
            contact.bias_impulse = maximum(old_bias + bias, 0.0);

            let old_normal = contact.normal_impulse;
            let push = -velocity * contact.normal_mass;
            contact.normal_impulse = maximum(old_normal + push, 0.0);

            let bias_impulse = normal * (contact.bias_impulse - old_bias);
            a.apply_bias_impulse(-bias_impulse, ra);
            b.apply_bias_impulse(bias_impulse, rb);
            let impulse = normal * (contact.normal_impulse - old_normal);
            apply_impulses(a, b, contact, impulse);
        }
    }
}

fn apply_impulses(a: &mut Body, b: &mut Body, contact: &Contact, impulse: Vector) {
    a.apply_impulse(-impulse, contact.offset_a);
    b.apply_impulse(impulse, contact.offset_b);
}
