//! Hours of motion of many characters under random sticks: whether they stay well, and whether they
//! move in the end as they did at the beginning.
//!
//! The poses are those of a live character, with their feet held.
//!
//! The run goes minute by minute, and a minute depends on where the last one ended and on the seed
//! alone: random numbers, sticks, foot locks and the watch over each character's health begin anew
//! with it. So what [`LongRun::save`] keeps after any minute is enough to go on bit for bit.

mod state;
#[cfg(test)]
mod tests;

use kinestream_diffusion::noise::NoiseStream;
use nalgebra::{DMatrix, Vector2};
use serde::Serialize;
use tch::Tensor;

use crate::course::Sample;
use kinestream_motion::character::skeleton;
use kinestream_motion::crowd::{CharacterBatch, SteeringTarget};
use kinestream_motion::data::{FRAME_RATE, MotionSet};
use kinestream_motion::extractor::Extractor;
use kinestream_motion::foot::{Feet, FootLock, FootLockConfig};
use kinestream_motion::metrics::{Health, HealthConfig, HealthReport, HealthRules};
use kinestream_motion::model::MotionModel;
use kinestream_motion::stick::{JoystickInput, StickFollower, StickOptions};
use kinestream_motion::trajectory::Root;
use kinestream_motion::{Clip, Error, GlobalPose, Pose, Result, Skeleton};

/// Frames of a minute.
pub const MINUTE: usize = 60 * FRAME_RATE as usize;
/// Frames from one look at a character's health to the next.
const LOOK: usize = 3;
/// Every so many frames a window is taken for the distance, of every so many characters in turn.
const WINDOW_EVERY: usize = 10 * FRAME_RATE as usize;
const SHARE: usize = 4;
/// A stick is held for as long, seconds.
const HELD: (f64, f64) = (1.0, 6.0);
/// Fastest stick, m/s; a character is asked to move from the second on.
const FASTEST: f64 = 3.5;
const MOVES: f64 = 0.3;
/// What health counts: not finite, frozen, fallen, flying, sunk, stretched.
const COUNTS: usize = 6;

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LongRunOptions {
    /// Characters in one batch.
    pub characters: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Factor of the model's random numbers.
    pub diversity: f64,
}

/// A run, after some minutes.
#[derive(Debug)]
pub struct LongRun {
    options: LongRunOptions,
    minutes: u64,
    /// `[B, 2 E]`.
    state: Tensor,
    roots: Vec<Root>,
    /// Velocity over the ground in m/s and turn in rad/s.
    motions: Vec<(Vector2<f64>, f64)>,
    refused: u64,
    /// How often what was wrong with each character.
    wrong: Vec<[i64; COUNTS]>,
    /// Features of windows, row by row, and of each its character and minute.
    features: Vec<f64>,
    owners: Vec<(i64, i64)>,
}

/// What was wrong, over all characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Trouble {
    /// Characters that it befell.
    pub characters: usize,
    /// Times, or frames where a frame is what counts.
    pub times: i64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LongRunReport {
    /// Frames of all characters.
    pub frames: u64,
    /// Frames that were not finite and not shown.
    pub frames_refused: u64,
    /// Characters with nothing wrong.
    pub healthy: usize,
    /// Frames looked at with a number that is not finite.
    pub not_finite: Trouble,
    /// Stood still although asked to move.
    pub frozen: Trouble,
    /// Lay down.
    pub fallen: Trouble,
    /// Was in the air.
    pub flying: Trouble,
    /// Was below the floor.
    pub sunk: Trouble,
    /// Frames looked at with a bone of another length.
    pub stretched: Trouble,
    /// Fréchet distance to the held-out clips of every period of the run.
    pub fid: Vec<f64>,
    /// That of the first and the last period with its 95 % interval over characters.
    pub fid_first: f64,
    /// Interval of the first.
    pub fid_first_interval: Option<[f64; 2]>,
    /// The last.
    pub fid_last: f64,
    /// Interval of the last.
    pub fid_last_interval: Option<[f64; 2]>,
    /// The last over the first.
    pub fid_ratio: f64,
}

impl LongRun {
    /// Characters that stand at the origin.
    ///
    /// # Errors
    /// No character.
    pub fn new(model: &MotionModel, options: LongRunOptions) -> Result<Self> {
        if options.characters == 0 {
            return Err(Error::Config {
                key: "characters",
                found: "0".into(),
                expected: "at least 1".into(),
            });
        }
        let count = options.characters;
        Ok(Self {
            options,
            minutes: 0,
            state: model.starts().narrow(0, 0, 1).repeat([count as i64, 1]),
            roots: vec![Root::default(); count],
            motions: vec![(Vector2::zeros(), 0.0); count],
            refused: 0,
            wrong: vec![[0; COUNTS]; count],
            features: Vec::new(),
            owners: Vec::new(),
        })
    }

    /// Minutes done.
    pub fn minutes(&self) -> u64 {
        self.minutes
    }

    /// Moves all characters for a minute, and gives the model back; `watch` hears of every frame.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn minute(
        &mut self,
        model: MotionModel,
        extractor: &Extractor,
        mut watch: impl FnMut(usize),
    ) -> Result<MotionModel> {
        let count = self.options.characters;
        let stream = |character: usize, purpose: u64| {
            let minute = 2 * self.minutes + purpose;
            NoiseStream::with_stream(self.options.seed + character as u64, minute)
        };
        let seeds: Vec<u64> = (0..count)
            .map(|character| (stream(character, 0).uniform() * (1_u64 << 53) as f64) as u64)
            .collect();
        let mut players: Vec<Player> = (0..count)
            .map(|character| Player::new(stream(character, 1), self.motions[character]))
            .collect();
        let mut crowd = CharacterBatch::new(model, &self.state, &seeds)?;
        crowd.set_diversity(self.options.diversity);
        for (character, root) in self.roots.iter().enumerate() {
            crowd.place(character, *root);
        }
        let skeleton = skeleton();
        let feet = Feet::at_rest(&skeleton)?;
        let rules = HealthRules::new(&skeleton, &feet, HealthConfig::default())?;
        let mut health = vec![Health::new(&rules); count];
        let lock = FootLock::new(&skeleton, &feet, FootLockConfig::default())?;
        let mut locks = vec![lock; count];
        let mut poses = vec![Pose::default(); count];
        let mut global = GlobalPose::default();
        let mut windows: Vec<(usize, Vec<Pose>)> = Vec::new();
        let length = extractor.config().window + 1;
        let mut before = self.roots.clone();
        for frame in 0..MINUTE {
            before.clone_from(&self.roots);
            let wishes: Vec<SteeringTarget> = players
                .iter_mut()
                .zip(&self.roots)
                .map(|(player, root)| player.wish(root))
                .collect();
            crowd.advance(&wishes)?;
            for (character, root) in self.roots.iter_mut().enumerate() {
                *root = crowd.root(character);
            }
            for (character, (pose, lock)) in poses.iter_mut().zip(&mut locks).enumerate() {
                *pose = crowd.pose(character);
                lock.apply(pose, &crowd.contacts(character), 1.0 / FRAME_RATE);
            }
            if frame % LOOK == 0 {
                for (character, health) in health.iter_mut().enumerate() {
                    skeleton.forward_into(&poses[character], &mut global);
                    let seconds = LOOK as f64 / FRAME_RATE;
                    health.push(&rules, &global, players[character].moves, seconds);
                }
            }
            let frames = self.minutes as usize * MINUTE + frame;
            let (turn, within) = (frames / WINDOW_EVERY, frames % WINDOW_EVERY);
            if within < length {
                if within == 0 {
                    let chosen = (turn % SHARE..count).step_by(SHARE);
                    windows = chosen.map(|character| (character, Vec::new())).collect();
                }
                for (character, window) in &mut windows {
                    window.push(poses[*character].clone());
                }
                if within + 1 == length && !windows.is_empty() {
                    self.take(extractor, &skeleton, &windows)?;
                }
            }
            watch(frame);
        }
        for (character, health) in health.iter().enumerate() {
            let counts = counts(&health.report());
            for (sum, count) in self.wrong[character].iter_mut().zip(counts) {
                *sum += count;
            }
            self.refused += crowd.refused(character);
            let (now, last) = (&self.roots[character], &before[character]);
            self.motions[character] = (
                (now.position - last.position) * FRAME_RATE,
                kinestream_motion::rotation::wrapped(now.heading - last.heading) * FRAME_RATE,
            );
        }
        self.state = crowd.state();
        self.minutes += 1;
        Ok(crowd.into_model())
    }

    /// Reduces windows to features.
    fn take(
        &mut self,
        extractor: &Extractor,
        skeleton: &Skeleton,
        windows: &[(usize, Vec<Pose>)],
    ) -> Result<()> {
        let clips = windows.iter().map(|(character, poses)| {
            let clip = Clip {
                skeleton: skeleton.clone(),
                frame_rate: FRAME_RATE,
                frames: poses.clone(),
            };
            (character.to_string(), clip)
        });
        let sample = Sample::of(extractor, &MotionSet::of(clips)?)?;
        let found = sample.features();
        self.features.extend(found.values.transpose().iter());
        for clip in found.clips.unwrap_or_default() {
            let character = windows[*clip].0 as i64;
            self.owners.push((character, self.minutes as i64));
        }
        Ok(())
    }

    /// What was found, with distances of periods of so many minutes to held-out clips.
    ///
    /// # Errors
    /// Less than a period.
    pub fn report(&self, held_out: &Sample, period: u64) -> Result<LongRunReport> {
        let width = self.features.len() / self.owners.len().max(1);
        let of = |first: u64| -> Result<kinestream_motion::metrics::Frechet> {
            let rows: Vec<usize> = (0..self.owners.len())
                .filter(|row| (first..first + period).contains(&(self.owners[*row].1 as u64)))
                .collect();
            let values = DMatrix::from_fn(rows.len(), width, |row, column| {
                self.features[rows[row] * width + column]
            });
            let owners = rows.iter().map(|row| self.owners[*row].0 as usize);
            Sample::new(values, owners.collect()).distance(held_out)
        };
        let periods = self.minutes / period.max(1);
        let found = (0..periods)
            .map(|number| of(number * period))
            .collect::<Result<Vec<_>>>()?;
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            return Err(Error::Metric {
                metric: "long run",
                reason: format!(
                    "{} minutes, expected at least a period of {period}",
                    self.minutes
                ),
            });
        };
        let trouble = |index: usize| Trouble {
            characters: self.wrong.iter().filter(|wrong| wrong[index] > 0).count(),
            times: self.wrong.iter().map(|wrong| wrong[index]).sum(),
        };
        let sound = |wrong: &&[i64; COUNTS]| wrong.iter().all(|count| *count == 0);
        Ok(LongRunReport {
            frames: self.minutes * (MINUTE * self.options.characters) as u64,
            frames_refused: self.refused,
            healthy: self.wrong.iter().filter(sound).count(),
            not_finite: trouble(0),
            frozen: trouble(1),
            fallen: trouble(2),
            flying: trouble(3),
            sunk: trouble(4),
            stretched: trouble(5),
            fid: found.iter().map(|one| one.distance.value).collect(),
            fid_first: first.distance.value,
            fid_first_interval: first.distance.interval,
            fid_last: last.distance.value,
            fid_last_interval: last.distance.interval,
            fid_ratio: last.distance.value / first.distance.value,
        })
    }
}

/// Somebody with a stick.
struct Player {
    random: NoiseStream,
    follower: StickFollower,
    left: usize,
    moves: bool,
}

impl Player {
    fn new(random: NoiseStream, (velocity, turn): (Vector2<f64>, f64)) -> Self {
        let mut follower = StickFollower::new(StickOptions::default());
        follower.go_on(velocity, turn);
        Self {
            random,
            follower,
            left: 0,
            moves: false,
        }
    }

    fn wish(&mut self, root: &Root) -> SteeringTarget {
        if self.left == 0 {
            let held = HELD.0 + (HELD.1 - HELD.0) * self.random.uniform();
            self.left = (held * FRAME_RATE) as usize;
            let (kind, share) = (self.random.uniform(), self.random.uniform());
            let direction = std::f64::consts::TAU * self.random.uniform();
            // One in six stops, one in twelve steps aside with its facing kept.
            let (speed, facing) = if kind < 1.0 / 6.0 {
                (0.0, None)
            } else if kind < 1.0 / 4.0 {
                (0.3 + 0.6 * share, Some(root.heading))
            } else {
                (FASTEST * share, None)
            };
            self.follower.want(JoystickInput {
                velocity: Vector2::new(direction.sin(), direction.cos()) * speed,
                facing,
            });
            self.moves = speed >= MOVES;
        }
        self.left -= 1;
        self.follower.wish(root)
    }
}

fn counts(report: &HealthReport) -> [i64; COUNTS] {
    [
        report.not_finite,
        report.frozen.times,
        report.fallen.times,
        report.flying.times,
        report.sunk.times,
        report.stretched,
    ]
    .map(u64::cast_signed)
}
