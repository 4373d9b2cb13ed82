//! The space: bodies, colliders and the step that advances them.

use super::arbiter::{Arbiter, ContactMark, State};
use super::body::Body;
use super::broad_phase::{BroadPhase, Candidate};
use super::collision::collide;
use super::shape::{Collider, Outline, Shape};

/// Iterations of the impulse solver per step.
const ITERATIONS: usize = 10;

/// Handle of a body in its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyId(usize);

/// A gravity-free space with total damping.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    bodies: Vec<Body>,
    colliders: Vec<Collider>,
    /// Body of each collider.
    owners: Vec<usize>,
    /// Colliders of bodies that move.
    moving: Vec<usize>,
    broad_phase: BroadPhase,
    candidates: Vec<Candidate>,
    /// All contacts of this and the last few steps.
    arbiters: Vec<Arbiter>,
    /// Indices into `arbiters` of this step's contacts, in solving order.
    active: Vec<usize>,
    stamp: u64,
    previous_dt: f64,
    /// Share of the overlap to remove in a step of `previous_dt`.
    bias: f64,
}

impl Space {
    pub(crate) fn add_body(&mut self, body: Body) -> BodyId {
        self.bodies.push(body);
        BodyId(self.bodies.len() - 1)
    }

    /// Attaches a shape to a body that never moves. To be called before any `add_moving`.
    pub(crate) fn add_static(&mut self, body: BodyId, shape: &Shape) {
        let collider = self.new_collider(body, shape);
        self.broad_phase
            .insert_static(collider, self.colliders[collider].bounds);
    }

    /// Attaches a shape to a body that moves.
    pub(crate) fn add_moving(&mut self, body: BodyId, shape: &Shape) {
        let collider = self.new_collider(body, shape);
        self.moving.push(collider);
        self.broad_phase.insert_moving(
            collider,
            self.colliders[collider].bounds,
            self.bodies[body.0].velocity,
        );
    }

    pub(crate) fn body(&self, id: BodyId) -> &Body {
        &self.bodies[id.0]
    }

    pub(crate) fn body_mut(&mut self, id: BodyId) -> &mut Body {
        &mut self.bodies[id.0]
    }

    /// Forgets all contacts, as after a body was moved by hand.
    pub(crate) fn forget_contacts(&mut self) {
        self.arbiters.clear();
        self.active.clear();
    }

    /// The contacts of the latest step, in solving order.
    pub(crate) fn contacts(&self) -> impl Iterator<Item = ContactMark> {
        self.active.iter().flat_map(|&index| {
            let arbiter = &self.arbiters[index];
            let body = |collider: usize| &self.bodies[self.owners[collider]];
            arbiter.marks(body(arbiter.first), body(arbiter.second))
        })
    }

    /// Advances the space by `dt` seconds.
    pub(crate) fn step(&mut self, dt: f64) {
        self.stamp += 1;
        let previous_dt = std::mem::replace(&mut self.previous_dt, dt);
        for &index in &self.active {
            self.arbiters[index].state = State::Normal;
        }
        self.active.clear();

        for body in &mut self.bodies {
            body.integrate_position(dt);
        }
        for &collider in &self.moving {
            let transform = self.bodies[self.owners[collider]].transform();
            self.colliders[collider].refresh(transform);
        }
        self.find_contacts();
        self.forget_old_contacts();
        self.solve(dt, previous_dt);
    }

    fn new_collider(&mut self, body: BodyId, shape: &Shape) -> usize {
        let id = self.colliders.len();
        let transform = self.bodies[body.0].transform();
        self.colliders.push(Collider::new(id, shape, transform));
        self.owners.push(body.0);
        id
    }

    fn find_contacts(&mut self) {
        let mut candidates = std::mem::take(&mut self.candidates);
        {
            let (colliders, owners, bodies) = (&self.colliders, &self.owners, &self.bodies);
            self.broad_phase.find_candidates(
                |collider| {
                    (
                        colliders[collider].bounds,
                        bodies[owners[collider]].velocity,
                    )
                },
                &mut candidates,
            );
        }
        for candidate in &candidates {
            self.collide_candidate(candidate);
        }
        self.candidates = candidates;
    }

    fn collide_candidate(&mut self, candidate: &Candidate) {
        let (mut first, mut second) = (candidate.first, candidate.second);
        let (body_first, body_second) = (self.owners[first], self.owners[second]);
        if !self.colliders[first]
            .bounds
            .intersects(&self.colliders[second].bounds)
            || body_first == body_second
            || (self.bodies[body_first].has_infinite_mass()
                && self.bodies[body_second].has_infinite_mass())
        {
            return;
        }
        // Polygons come second.
        if matches!(self.colliders[first].world, Outline::Polygon(_)) {
            std::mem::swap(&mut first, &mut second);
        }
        let manifold = collide(
            &self.colliders[first],
            &self.colliders[second],
            self.broad_phase.guess(candidate),
        );
        self.broad_phase.keep_guess(candidate, manifold.guess);
        if manifold.count == 0 {
            return;
        }
        let index = self
            .arbiters
            .iter()
            .position(|arbiter| arbiter.first == first && arbiter.second == second)
            .unwrap_or_else(|| {
                self.arbiters.push(Arbiter::new(first, second));
                self.arbiters.len() - 1
            });
        self.arbiters[index].update(
            &manifold,
            &self.bodies[self.owners[first]],
            &self.bodies[self.owners[second]],
            self.stamp,
        );
        self.active.push(index);
    }

    fn forget_old_contacts(&mut self) {
        let mut index = 0;
        while index < self.arbiters.len() {
            if self.arbiters[index].age(self.stamp) {
                index += 1;
                continue;
            }
            self.arbiters.swap_remove(index);
            // An arbiter in contact is never forgotten, so only the moved one needs its entry.
            let moved = self.arbiters.len();
            for active in &mut self.active {
                if *active == moved {
                    *active = index;
                }
            }
        }
    }

    fn solve(&mut self, dt: f64, previous_dt: f64) {
        // Chipmunk's defaults, written there in single precision: the overlap that is left
        // alone, pixels, and the share of any further overlap that is left after a second.
        let slop = f64::from(0.1_f32);
        if dt != previous_dt {
            let remaining = f64::from(1.0_f32 - 0.1_f32).powf(60.0);
            self.bias = 1.0 - remaining.powf(dt);
        }
        let bias = self.bias;
        let dt_ratio = if previous_dt == 0.0 {
            0.0
        } else {
            dt / previous_dt
        };
        self.for_each_contact(|arbiter, a, b| arbiter.prepare(a, b, dt, slop, bias));
        for body in &mut self.bodies {
            body.damp_fully();
        }
        self.for_each_contact(|arbiter, a, b| arbiter.warm_start(a, b, dt_ratio));
        for _ in 0..ITERATIONS {
            self.for_each_contact(Arbiter::solve);
        }
    }

    fn for_each_contact(&mut self, act: impl Fn(&mut Arbiter, &mut Body, &mut Body)) {
        for &index in &self.active {
            let arbiter = &mut self.arbiters[index];
            let owners = [self.owners[arbiter.first], self.owners[arbiter.second]];
            // Colliders of one body never collide, so the two indices differ.
            if let Ok([a, b]) = self.bodies.get_disjoint_mut(owners) {
                act(arbiter, a, b);
            }
        }
    }
}
