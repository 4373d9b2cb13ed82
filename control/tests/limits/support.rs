//! Random numbers, references and limits, and the check of what the limiter promises. Seeds are fixed in the tests.

use kinestream_control::{LimitFlags, Limiter, LimitsConfig, Orientations, PerJoint};

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn log_between(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }
}

/// The limits of one joint; none where infinite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) velocity: f64,
    pub(crate) acceleration: f64,
    pub(crate) jerk: f64,
}

impl Bounds {
    pub(crate) const NONE: Self = Self {
        lower: f64::NEG_INFINITY,
        upper: f64::INFINITY,
        velocity: f64::INFINITY,
        acceleration: f64::INFINITY,
        jerk: f64::INFINITY,
    };

    /// Limits of a random order, in random proportion, often with a box.
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut bounds = Self::NONE;
        let order = random.below(8);
        if order > 0 {
            bounds.velocity = random.log_between(1e-2, 1e2);
        }
        if order > 1 {
            bounds.acceleration = bounds.velocity * random.log_between(0.1, 100.0);
        }
        if order > 2 {
            bounds.jerk = bounds.acceleration * random.log_between(0.1, 100.0);
        }
        if random.below(4) > 0 {
            bounds.lower = -random.log_between(1e-2, 1e2);
            bounds.upper = random.log_between(1e-2, 1e2);
        }
        if random.below(4) == 0 {
            // Far from 0, where rounding is coarser.
            let centre = random.between(-1e3, 1e3);
            bounds.lower += centre;
            bounds.upper += centre;
        }
        bounds
    }

    /// Limits of all derivatives and of the position, around 0.
    pub(crate) fn full(random: &mut Random) -> Self {
        let mut bounds = Self::random(random);
        while bounds.jerk.is_infinite()
            || bounds.lower >= 0.0
            || bounds.upper <= 0.0
            || bounds.upper.is_infinite()
        {
            bounds = Self::random(random);
        }
        bounds
    }

    pub(crate) fn config(&self) -> LimitsConfig {
        let limit = |value: f64| value.is_finite().then_some(PerJoint::All(value));
        LimitsConfig {
            lower: limit(self.lower),
            upper: limit(self.upper),
            velocity: limit(self.velocity),
            acceleration: limit(self.acceleration),
            jerk: limit(self.jerk),
            angular_velocity: None,
        }
    }

    pub(crate) fn limiter(&self, period_ns: u64) -> Limiter {
        Limiter::new(&self.config(), &Orientations::none(1), period_ns).unwrap()
    }
}

/// The promise, checked command by command for one joint.
pub(crate) struct Checker {
    bounds: Bounds,
    period_s: f64,
    samples: [f64; 4],
    /// Largest shares of the limits that were used: velocity, acceleration, jerk.
    pub(crate) used: [f64; 3],
}

impl Checker {
    pub(crate) fn new(bounds: Bounds, period_ns: u64, start: f64) -> Self {
        Self {
            bounds,
            period_s: period_ns as f64 * 1e-9,
            samples: [start; 4],
            used: [0.0; 3],
        }
    }

    pub(crate) fn differences(&self) -> [f64; 3] {
        let ([a, b, c, d], t) = (self.samples, self.period_s);
        let velocities = [(b - a) / t, (c - b) / t, (d - c) / t];
        let accelerations = [
            (velocities[1] - velocities[0]) / t,
            (velocities[2] - velocities[1]) / t,
        ];
        let jerk = (accelerations[1] - accelerations[0]) / t;
        [velocities[2], accelerations[1], jerk]
    }

    pub(crate) fn check(&mut self, command: f64) -> Result<(), String> {
        let Bounds { lower, upper, .. } = self.bounds;
        self.samples.rotate_left(1);
        self.samples[3] = command;
        if !command.is_finite() || !(lower..=upper).contains(&command) {
            return Err(format!("{command} is not within {lower}..={upper}"));
        }
        let limits = [
            self.bounds.velocity,
            self.bounds.acceleration,
            self.bounds.jerk,
        ];
        let largest = self.samples.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        for (order, (found, limit)) in (1..).zip(self.differences().into_iter().zip(limits)) {
            let room = 2.0_f64.powi(order + 2) * f64::EPSILON * largest;
            let allowed = limit * (1.0 + 1e-9) + room / self.period_s.powi(order);
            let kept = found.abs() <= allowed || limit.is_infinite();
            if !kept {
                return Err(format!(
                    "difference {order} is {found:e}, limit {limit:e}, excess {:e}, samples {:?}",
                    found.abs() / limit - 1.0,
                    self.samples
                ));
            }
            let used = &mut self.used[order as usize - 1];
            *used = used.max(found.abs() / limit);
        }
        Ok(())
    }
}

/// References of random kinds, one after the other.
pub(crate) struct References {
    /// About how large they are.
    pub(crate) size: f64,
    /// About where they lie.
    pub(crate) centre: f64,
    random: Random,
    kind: u64,
    left: u64,
    from: f64,
    rate: f64,
    phase: f64,
    seconds: f64,
}

impl References {
    pub(crate) fn new(seed: u64, size: f64) -> Self {
        Self {
            random: Random(seed),
            kind: 0,
            left: 0,
            size,
            centre: 0.0,
            from: 0.0,
            rate: 0.0,
            phase: 0.0,
            seconds: 0.0,
        }
    }

    /// The next one and its velocity; none where the joint is to brake.
    pub(crate) fn next(&mut self, period_s: f64) -> Option<(f64, f64)> {
        let random = &mut self.random;
        if self.left == 0 {
            self.left = 1 + random.below(400);
            self.kind = random.below(12);
            self.from = random.between(-self.size, self.size);
            self.rate = random.between(-1.0, 1.0) * self.size * random.log_between(1e-2, 1e2);
            self.phase = random.between(0.0, 6.0);
            self.seconds = 0.0;
        }
        self.left -= 1;
        self.seconds += period_s;
        let t = self.seconds;
        let sine = || {
            let omega = 2.0 * self.rate / self.size;
            let x = omega * t + self.phase;
            (self.size * x.sin(), self.size * omega * x.cos())
        };
        let (position, velocity) = match self.kind {
            0 => (self.from, 0.0),
            1 | 2 => (self.from + self.rate * t, self.rate),
            3 | 4 => sine(),
            5 => (random.between(-self.size, self.size), 0.0),
            6 => (
                random.between(-self.size, self.size),
                random.between(-9.0, 9.0) * self.size,
            ),
            7 => {
                // A command every tenth of a second, held.
                let hold = (t * 10.0).floor();
                ((hold * self.phase + self.from).sin() * self.size, 0.0)
            }
            8 => return None,
            9 => {
                let odd = [
                    f64::NAN,
                    f64::INFINITY,
                    f64::MAX,
                    f64::MIN,
                    1e30,
                    -1e30,
                    0.0,
                    self.from,
                ];
                (odd[random.below(8) as usize], odd[random.below(8) as usize])
            }
            10 => {
                let (position, velocity) = sine();
                (
                    position + 1e-3 * random.between(-self.size, self.size),
                    velocity,
                )
            }
            _ => (
                self.from + 1e-6 * random.between(-1.0, 1.0) * self.size,
                0.0,
            ),
        };
        Some((position + self.centre, velocity))
    }
}

/// A limiter of one joint with random limits and period that has started, and references for it.
pub(crate) struct Scene {
    pub(crate) bounds: Bounds,
    pub(crate) period_ns: u64,
    pub(crate) limiter: Limiter,
    pub(crate) checker: Checker,
    pub(crate) references: References,
}

impl Scene {
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let bounds = Bounds::random(&mut random);
        let period_ns = random.log_between(1e6, 1e8) as u64;
        let (centre, size) = if bounds.upper.is_finite() {
            (
                (bounds.lower + bounds.upper) / 2.0,
                0.7 * (bounds.upper - bounds.lower),
            )
        } else {
            (0.0, random.log_between(1e-2, 1e3))
        };
        let start = random.between(centre - size, centre + size);
        let start = start.clamp(bounds.lower, bounds.upper);
        let mut limiter = bounds.limiter(period_ns);
        limiter.start(&[start]).unwrap();
        Self {
            bounds,
            period_ns,
            limiter,
            checker: Checker::new(bounds, period_ns, start),
            references: References {
                centre,
                ..References::new(random.next(), size)
            },
        }
    }

    pub(crate) fn period_s(&self) -> f64 {
        self.period_ns as f64 * 1e-9
    }
}

/// Steps a limiter of one number and returns its command.
pub(crate) fn step(limiter: &mut Limiter, reference: Option<(f64, f64)>) -> (f64, LimitFlags) {
    let mut out = [f64::NAN];
    let interventions = match reference {
        Some((position, velocity)) => limiter.follow(&[position], &[velocity], &mut out),
        None => {
            limiter.brake(&mut out);
            LimitFlags::NONE
        }
    };
    (out[0], interventions)
}
