//! Whether a character jumps where clips begin and end: requests at random moments of a character that
//! walks about under random sticks, and how far its pose moves from frame to frame at every seam,
//! beside how far captured people's do.

use kinestream_diffusion::noise::NoiseStream;
use nalgebra::Vector2;
use serde::Serialize;

use kinestream_motion::controller::{Controller, ControllerOptions, Goal};
use kinestream_motion::crowd::CharacterBatch;
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::emdm::Emdm;
use kinestream_motion::metrics::statistics::quantile;
use kinestream_motion::model::MotionModel;
use kinestream_motion::performer::{ActionRequest, ClipPlayer, PlaybackState};
use kinestream_motion::stick::JoystickInput;
use kinestream_motion::{Clip, Error, GlobalPose, Pose, Result, Skeleton, character};

/// Frames from a seam on that count as at it.
const AT_SEAM: usize = 3;
/// Share of captured frame differences that a limit lies above.
const SHARE: f64 = 0.999;
/// Fastest stick, m/s.
const FASTEST: f64 = 3.0;
/// Frames that a stick is held, and those between the end of a clip and the next request, at most.
const HELD: usize = 45;
const PAUSE: usize = 90;
/// Frames before the first request, and most frames that one may take.
const SETTLING: usize = 60;
const PATIENCE: usize = 600;

/// How the character is asked.
#[derive(Debug, Clone, Serialize)]
pub struct TransitionOptions {
    /// Requests.
    pub requests: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for TransitionOptions {
    fn default() -> Self {
        Self {
            requests: 200,
            seed: 0,
        }
    }
}

/// How far one pose is from the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Root mean square over joints of their way as the hips see it, metres.
    pub body_m: f64,
    /// Mean over joints of their turn against their parents, radians.
    pub turn_rad: f64,
    /// Way of the hips, metres.
    pub hips_m: f64,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Transitions {
    /// Requests made, each of which was performed.
    pub requests: usize,
    /// Frames at seams, and in all.
    pub seam_frames: usize,
    /// See above.
    pub frames: usize,
    /// 99.9th percentile of captured frame differences.
    pub limit: Difference,
    /// Largest difference at a seam.
    pub largest: Difference,
    /// 99.9th percentile of all frames.
    pub all: Difference,
    /// Frames at seams that go beyond a limit.
    pub jumps: usize,
    /// Which ones.
    pub jumps_at: Vec<Jump>,
}

/// A frame at a seam that goes beyond a limit.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Jump {
    /// Number of the request, from 0.
    pub request: usize,
    /// Its label, by number.
    pub label: usize,
    /// Whether the clip began, or else ended.
    pub begins: bool,
    /// Frames since.
    pub frame: usize,
    /// How far the pose went.
    pub difference: Difference,
}

/// Measures differences from pose to pose.
struct Gauge {
    skeleton: Skeleton,
    last: Option<(Pose, GlobalPose)>,
}

impl Gauge {
    fn push(&mut self, pose: &Pose) -> Option<Difference> {
        let now = self.skeleton.forward(pose);
        let found = self.last.as_ref().map(|(before, places)| Difference {
            body_m: places.way(&now),
            turn_rad: before.turn(pose),
            hips_m: (pose.root - before.root).norm(),
        });
        self.last = Some((pose.clone(), now));
        found
    }
}

/// Asks a character for clips and looks at the seams. `truth` are captured clips; `watch` hears of
/// every request done.
///
/// # Errors
/// No captured frame, LibTorch refused, or a request that never began.
pub fn transitions(
    model: MotionModel,
    clips: Emdm,
    truth: &[&Clip],
    options: &TransitionOptions,
    mut watch: impl FnMut(usize),
) -> Result<Transitions> {
    let limit = captured(truth)?;
    let labels = clips.labels().len();
    let starts = model.starts().narrow(0, 0, 1);
    let crowd = CharacterBatch::new(model, &starts, &[options.seed])?;
    let performer = ClipPlayer::new(crowd, Some(clips), 0);
    let mut controller = Controller::new(performer, options.seed, ControllerOptions::default())?;
    let mut random = NoiseStream::with_stream(options.seed, 0x7472_616e);
    let mut gauge = Gauge {
        skeleton: character::skeleton(),
        last: None,
    };
    let (mut all, mut seams) = (Vec::new(), Vec::new());
    let (mut done, mut waiting, mut since) = (0, SETTLING, 0);
    let (mut was_acting, mut at_seam) = (false, usize::MAX);
    let mut label = 0;
    let mut stick = JoystickInput::default();
    while done < options.requests {
        if all.len() % HELD == 0 {
            let (angle, speed) = (
                std::f64::consts::TAU * random.uniform(),
                FASTEST * random.uniform(),
            );
            stick = JoystickInput {
                velocity: Vector2::new(angle.sin(), angle.cos()) * speed,
                facing: None,
            };
        }
        controller.steer(Goal::Stick(stick));
        let performing = controller.source().performing();
        if performing == PlaybackState::Nothing {
            since = 0;
            waiting = waiting.saturating_sub(1);
            if waiting == 0 {
                label = random.below(labels);
                controller.source_mut().act(ActionRequest {
                    label,
                    seconds: None,
                    seed: random.below(usize::MAX) as u64,
                })?;
            }
        }
        controller.tick(1.0 / FRAME_RATE)?;
        since += 1;
        if since > PATIENCE {
            return Err(Error::Metric {
                metric: "transitions",
                reason: format!("request {done} was not over after {PATIENCE} frames"),
            });
        }
        let acting = controller.pose().acting;
        if acting != was_acting {
            at_seam = 0;
            if !acting {
                done += 1;
                waiting = 1 + random.below(PAUSE);
                watch(done);
            }
        }
        was_acting = acting;
        if let Some(difference) = gauge.push(&controller.pose().pose) {
            all.push(difference);
            if at_seam < AT_SEAM {
                seams.push(Jump {
                    request: done - usize::from(!acting),
                    label,
                    begins: acting,
                    frame: at_seam,
                    difference,
                });
            }
        }
        at_seam = at_seam.saturating_add(1);
    }
    let beyond = |jump: &&Jump| {
        let one = jump.difference;
        one.body_m > limit.body_m || one.turn_rad > limit.turn_rad || one.hips_m > limit.hips_m
    };
    let jumps_at: Vec<Jump> = seams.iter().filter(beyond).copied().collect();
    let differences: Vec<Difference> = seams.iter().map(|seam| seam.difference).collect();
    Ok(Transitions {
        requests: done,
        seam_frames: seams.len(),
        frames: all.len(),
        jumps: jumps_at.len(),
        jumps_at,
        largest: at(&differences, 1.0),
        all: at(&all, SHARE),
        limit,
    })
}

/// The limit that captured motion sets.
fn captured(clips: &[&Clip]) -> Result<Difference> {
    let mut found = Vec::new();
    for clip in clips {
        let mut gauge = Gauge {
            skeleton: clip.skeleton.clone(),
            last: None,
        };
        found.extend(clip.frames.iter().filter_map(|pose| gauge.push(pose)));
    }
    if found.is_empty() {
        return Err(Error::Metric {
            metric: "transitions",
            reason: "no captured frame, expected clips of two frames or more".into(),
        });
    }
    Ok(at(&found, SHARE))
}

/// A quantile of each part.
fn at(differences: &[Difference], share: f64) -> Difference {
    let of = |part: fn(&Difference) -> f64| {
        let mut values: Vec<f64> = differences.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, share)
    };
    Difference {
        body_m: of(|one| one.body_m),
        turn_rad: of(|one| one.turn_rad),
        hips_m: of(|one| one.hips_m),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinestream_motion::{emdm, model};

    #[test]
    fn every_request_is_performed_and_looked_at_twice() {
        let truth = emdm::testing::swinging(60, 0.2, 0.05);
        let options = TransitionOptions {
            requests: 3,
            seed: 1,
        };
        let run = || {
            let models = (model::testing::tiny(), emdm::testing::model(3));
            transitions(models.0, models.1, &[&truth], &options, |_| {}).unwrap()
        };
        let found = run();
        assert_eq!((found.requests, found.seam_frames), (3, 6 * AT_SEAM - 2));
        assert!((found.limit.hips_m - 0.05).abs() < 1e-6);
        assert!(found.largest.body_m.is_finite() && found.frames > 100);
        assert_eq!(
            serde_json::to_string(&found).unwrap(),
            serde_json::to_string(&run()).unwrap()
        );
    }
}
