//! Whether a character is still well after hours: no broken numbers, not frozen, not fallen, not in
//! the air, not below the floor, bones as long as they were.
//!
//! [`Health`] watches one character in constant memory (a position per joint), so that a thousand
//! can be watched for an hour each. A state counts as trouble only when it lasts: a hop is no
//! flight, a pause no freezing.

use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

use crate::foot::Feet;
use crate::{Error, GlobalPose, Result, Skeleton};

/// From when on something is trouble.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Height of the floor, in metres.
    pub floor: f64,
    /// Frozen: no joint has left a ball of this radius in metres...
    pub frozen_distance: f64,
    /// ...for this long, in seconds, all the while it was asked to move.
    pub frozen_seconds: f64,
    /// Fallen: the hips are lower than this share of their height at rest, or the head is below
    /// them...
    pub fallen_share: f64,
    /// ...for this long, in seconds.
    pub fallen_seconds: f64,
    /// Flying: the lowest point of the feet is higher than this over its height at rest, in
    /// metres...
    pub flying_height: f64,
    /// ...for this long, in seconds.
    pub flying_seconds: f64,
    /// Sunk: a joint is deeper than this below the floor, in metres...
    pub sunk_depth: f64,
    /// ...for this long, in seconds.
    pub sunk_seconds: f64,
    /// Stretched: a bone differs from its length by more than this share, in any frame.
    pub stretch: f64,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            floor: 0.0,
            frozen_distance: 0.01,
            frozen_seconds: 2.0,
            fallen_share: 0.5,
            fallen_seconds: 1.0,
            flying_height: 0.15,
            flying_seconds: 1.0,
            sunk_depth: 0.1,
            sunk_seconds: 0.5,
            stretch: 0.01,
        }
    }
}

/// What all characters of one skeleton are measured by.
#[derive(Debug, Clone)]
pub struct HealthRules {
    config: HealthConfig,
    head: Option<usize>,
    hips_height: f64,
    feet: [(usize, f64); 4],
    /// Joint, parent, length.
    bones: Vec<(usize, usize, f64)>,
    joints: usize,
}

/// Something that may be wrong with a character for a while.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HealthIssue {
    /// How often it lasted long enough to count.
    pub times: u64,
    /// Time in it altogether, in seconds, of the times that count.
    pub seconds: f64,
    /// When it first counted, in seconds from the start.
    pub first: Option<f64>,
    /// How long it has lasted now.
    #[serde(skip)]
    lasts: f64,
}

/// What was wrong with a character, or with several.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HealthReport {
    /// Characters.
    pub characters: u64,
    /// Characters with nothing wrong.
    pub healthy: u64,
    /// Frames.
    pub frames: u64,
    /// Frames with a number that is not finite; nothing else is looked at in them.
    pub not_finite: u64,
    /// Stood still although asked to move.
    pub frozen: HealthIssue,
    /// Lay down.
    pub fallen: HealthIssue,
    /// Was in the air.
    pub flying: HealthIssue,
    /// Was below the floor.
    pub sunk: HealthIssue,
    /// Frames with a bone of another length.
    pub stretched: u64,
    /// Largest difference of a bone from its length, as a share of it.
    pub worst_stretch: f64,
}

/// Watches one character.
#[derive(Debug, Clone)]
pub struct Health {
    report: HealthReport,
    now: f64,
    /// Where the joints were when the character last counted as moving.
    anchor: Vec<Vector3<f64>>,
}

impl HealthRules {
    /// Rules for a skeleton: its root is the hips, the offset of the root their height at rest. The
    /// joint `Head`, where there is one, is the head.
    ///
    /// # Errors
    /// A limit that is not finite, or hips that are not over the floor at rest.
    pub fn new(skeleton: &Skeleton, feet: &Feet, config: HealthConfig) -> Result<Self> {
        let limits = [
            ("health.frozen_distance", config.frozen_distance),
            ("health.frozen_seconds", config.frozen_seconds),
            ("health.fallen_share", config.fallen_share),
            ("health.fallen_seconds", config.fallen_seconds),
            ("health.flying_height", config.flying_height),
            ("health.flying_seconds", config.flying_seconds),
            ("health.sunk_depth", config.sunk_depth),
            ("health.sunk_seconds", config.sunk_seconds),
            ("health.stretch", config.stretch),
        ];
        for (key, value) in limits {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::Config {
                    key,
                    found: value.to_string(),
                    expected: "a finite number of at least 0".into(),
                });
            }
        }
        let joints = skeleton.joints();
        let hips_height = joints[0].offset.y;
        if !(hips_height > 0.0 && config.floor.is_finite()) {
            return Err(Error::Skeleton(format!(
                "the root is {hips_height} m over the floor at rest: expected its offset to be the height of the hips"
            )));
        }
        let bones = joints.iter().enumerate().filter_map(|(joint, bone)| {
            let length = bone.offset.norm();
            bone.parent
                .filter(|_| length > 1e-6)
                .map(|parent| (joint, parent, length))
        });
        let points = feet.joints().into_iter().zip(feet.rest_heights());
        let mut feet = [(0, 0.0); 4];
        feet.iter_mut()
            .zip(points)
            .for_each(|(foot, point)| *foot = point);
        Ok(Self {
            config,
            head: skeleton.index("Head"),
            hips_height,
            feet,
            bones: bones.collect(),
            joints: joints.len(),
        })
    }
}

impl Health {
    /// A character that begins.
    pub fn new(rules: &HealthRules) -> Self {
        Self {
            report: HealthReport {
                characters: 1,
                ..HealthReport::default()
            },
            now: 0.0,
            anchor: Vec::with_capacity(rules.joints),
        }
    }

    /// The next frame, `seconds` after the last: where the joints are, and whether the character was
    /// asked to move.
    pub fn push(&mut self, rules: &HealthRules, global: &GlobalPose, moves: bool, seconds: f64) {
        let config = &rules.config;
        let report = &mut self.report;
        report.frames += 1;
        self.now += seconds;
        let places = &global.positions;
        let finite = places
            .iter()
            .all(|place| place.iter().all(|value| value.is_finite()))
            && global
                .rotations
                .iter()
                .all(|turn| turn.coords.iter().all(|value| value.is_finite()));
        if !finite || places.len() != rules.joints {
            report.not_finite += 1;
            return;
        }
        let stays = self.anchor.len() == places.len()
            && self
                .anchor
                .iter()
                .zip(places)
                .all(|(before, now)| (now - before).norm() <= config.frozen_distance);
        if !(stays && moves) {
            self.anchor.clone_from(places);
        }
        let hips = places[0].y;
        let fallen = hips - config.floor < config.fallen_share * rules.hips_height
            || rules.head.is_some_and(|head| places[head].y < hips);
        let lowest_foot = rules
            .feet
            .iter()
            .map(|(joint, rest)| places[*joint].y - config.floor - rest)
            .fold(f64::INFINITY, f64::min);
        let lowest = places
            .iter()
            .map(|place| place.y)
            .fold(f64::INFINITY, f64::min);

        let now = self.now;
        report
            .frozen
            .step(stays && moves, seconds, config.frozen_seconds, now);
        report
            .fallen
            .step(fallen, seconds, config.fallen_seconds, now);
        let flies = lowest_foot > config.flying_height;
        report
            .flying
            .step(flies, seconds, config.flying_seconds, now);
        let sunk = lowest < config.floor - config.sunk_depth;
        report.sunk.step(sunk, seconds, config.sunk_seconds, now);

        let stretch = rules
            .bones
            .iter()
            .map(|(joint, parent, length)| {
                ((places[*joint] - places[*parent]).norm() / length - 1.0).abs()
            })
            .fold(0.0, f64::max);
        report.worst_stretch = report.worst_stretch.max(stretch);
        report.stretched += u64::from(stretch > config.stretch);
    }

    /// What was wrong so far.
    pub fn report(&self) -> HealthReport {
        let mut report = self.report;
        report.healthy = u64::from(report.is_healthy());
        report
    }
}

impl HealthIssue {
    /// One frame in which it holds or not.
    fn step(&mut self, holds: bool, seconds: f64, least: f64, now: f64) {
        if !holds {
            self.lasts = 0.0;
            return;
        }
        let before = self.lasts;
        self.lasts += seconds;
        if self.lasts < least {
            return;
        }
        if before < least || before == 0.0 {
            self.times += 1;
            self.first.get_or_insert(now);
            // The time that it took to count counts too.
            self.seconds += before;
        }
        self.seconds += seconds;
    }

    fn add(&mut self, other: &Self) {
        self.times += other.times;
        self.seconds += other.seconds;
        self.first = match (self.first, other.first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

impl HealthReport {
    /// Whether nothing was wrong.
    pub fn is_healthy(&self) -> bool {
        let troubles = [self.frozen, self.fallen, self.flying, self.sunk];
        self.not_finite == 0
            && self.stretched == 0
            && troubles.iter().all(|trouble| trouble.times == 0)
    }

    /// Takes in the report of other characters.
    pub fn add(&mut self, other: &Self) {
        self.characters += other.characters;
        self.healthy += other.healthy;
        self.frames += other.frames;
        self.not_finite += other.not_finite;
        self.frozen.add(&other.frozen);
        self.fallen.add(&other.fallen);
        self.flying.add(&other.flying);
        self.sunk.add(&other.sunk);
        self.stretched += other.stretched;
        self.worst_stretch = self.worst_stretch.max(other.worst_stretch);
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::UnitQuaternion;

    use super::*;
    use crate::Pose;
    use crate::foot::tests::legs;

    fn rules() -> (Skeleton, HealthRules) {
        let skeleton = legs();
        let feet = Feet::at_rest(&skeleton).unwrap();
        let rules = HealthRules::new(&skeleton, &feet, HealthConfig::default()).unwrap();
        (skeleton, rules)
    }

    /// A minute of a character whose root is somewhere, asked to move or not.
    fn watch(root: impl Fn(f64) -> Vector3<f64>, moves: bool) -> HealthReport {
        let (skeleton, rules) = rules();
        let mut health = Health::new(&rules);
        for frame in 0..1800 {
            let pose = Pose {
                root: root(f64::from(frame) / 30.0),
                rotations: vec![UnitQuaternion::identity(); skeleton.len()],
            };
            health.push(&rules, &skeleton.forward(&pose), moves, 1.0 / 30.0);
        }
        health.report()
    }

    #[test]
    fn a_character_that_walks_is_healthy() {
        let report = watch(|t| Vector3::new(0.0, 0.95, t), true);
        assert!(report.is_healthy(), "{report:?}");
        assert_eq!((report.healthy, report.frames), (1, 1800));
        assert!(report.worst_stretch < 1e-9);
    }

    #[test]
    fn standing_is_freezing_only_if_asked_to_move() {
        let stands = |_| Vector3::new(0.0, 0.95, 0.0);
        assert!(watch(stands, false).is_healthy());
        let report = watch(stands, true);
        assert_eq!(report.frozen.times, 1);
        // The first frame has nothing to compare with.
        assert!(
            (report.frozen.seconds - 1799.0 / 30.0).abs() < 1e-6,
            "{report:?}"
        );
        assert!(
            (report.frozen.first.unwrap() - 61.0 / 30.0).abs() < 1e-6,
            "{report:?}"
        );
        // Swaying by more than the ball is not, and creeping leaves it in the end.
        assert!(watch(|t| Vector3::new(0.02 * (3.0 * t).sin(), 0.95, 0.0), true).is_healthy());
        assert!(watch(|t| Vector3::new(0.0, 0.95, 0.006 * t), true).is_healthy());
        assert!(
            watch(|t| Vector3::new(0.0, 0.95, 0.004 * t), true)
                .frozen
                .times
                > 20
        );
    }

    #[test]
    fn flight_fall_and_floor_count_when_they_last() {
        let hop = |t: f64| Vector3::new(0.0, 0.95 + if t % 5.0 < 0.6 { 0.4 } else { 0.0 }, t);
        assert!(watch(hop, true).is_healthy());
        let flies = watch(
            |t| Vector3::new(0.0, if t > 30.0 { 2.0 } else { 0.95 }, t),
            true,
        );
        assert_eq!(flies.flying.times, 1);
        assert!((flies.flying.seconds - 30.0).abs() < 0.1, "{flies:?}");
        let falls = watch(
            |t| Vector3::new(0.0, if t > 20.0 { 0.3 } else { 0.95 }, t),
            true,
        );
        assert_eq!((falls.fallen.times, falls.sunk.times), (1, 1));
        assert!(
            (falls.fallen.first.unwrap() - 21.0).abs() < 0.1,
            "{falls:?}"
        );
    }

    #[test]
    fn broken_numbers_and_bones_are_counted() {
        let (skeleton, rules) = rules();
        let mut health = Health::new(&rules);
        let pose = Pose {
            root: Vector3::new(0.0, 0.95, 0.0),
            rotations: vec![UnitQuaternion::identity(); skeleton.len()],
        };
        let good = skeleton.forward(&pose);
        let mut broken = good.clone();
        broken.positions[2].x = f64::INFINITY;
        let mut long = good.clone();
        long.positions[4] += Vector3::new(0.0, 0.0, 0.02);
        for global in [&good, &broken, &long, &GlobalPose::default()] {
            health.push(&rules, global, false, 1.0 / 30.0);
        }
        let report = health.report();
        assert_eq!(
            (report.frames, report.not_finite, report.stretched),
            (4, 2, 1)
        );
        assert!((report.worst_stretch - 0.12).abs() < 0.02, "{report:?}");
        assert!(!report.is_healthy());
    }

    #[test]
    fn reports_add_up() {
        let mut all = HealthReport::default();
        all.add(&watch(|t| Vector3::new(0.0, 0.95, t), true));
        all.add(&watch(|_| Vector3::new(0.0, 0.95, 0.0), true));
        assert_eq!((all.characters, all.healthy, all.frozen.times), (2, 1, 1));
        assert!(!all.is_healthy());
    }

    #[test]
    fn rules_need_a_height_and_limits() {
        let (skeleton, _) = rules();
        let feet = Feet::at_rest(&skeleton).unwrap();
        let config = HealthConfig {
            flying_height: f64::NAN,
            ..HealthConfig::default()
        };
        let message = HealthRules::new(&skeleton, &feet, config)
            .unwrap_err()
            .to_string();
        assert!(message.contains("health.flying_height is NaN"), "{message}");
    }
}
