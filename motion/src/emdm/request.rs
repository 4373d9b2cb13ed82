//! What somebody asks of a model of whole clips, and the motion that comes of it.

use nalgebra::Vector2;
use tch::{Kind, Tensor};

use super::Emdm;
use super::conditions::Conditions;
use super::sampling::{Denoising, Guidance};
use crate::character::HIPS_HEIGHT;
use crate::data::{FRAME_RATE, contacts};
use crate::features;
use crate::placing::DecodedFrames;
use crate::synthesis::Take;
use crate::trajectory::Root;
use crate::{Clip, Error, Result, character};

/// Metres by which a joint of a pose may come out elsewhere than it is asked for: farther, and the
/// pose is like none that the model has seen.
const FARTHEST_JOINT: f64 = 0.25;
/// Range of the height of the hips over the floor.
const HIPS: std::ops::Range<f64> = 0.05..2.0;
/// Fastest that a path may ask for, m/s.
const FASTEST: f64 = 8.0;

/// A clip that is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Number of the label; none for any motion.
    pub label: Option<usize>,
    /// Length in seconds; none for the usual one of the label.
    pub seconds: Option<f64>,
    /// Seed of everything random.
    pub seed: u64,
    /// What the clip goes on from.
    pub start: Option<BoundaryPose>,
    /// The pose that it ends with, as [`Emdm::pose`] makes it.
    pub end: Option<BoundaryPose>,
    /// Places of the root with their times in seconds after the beginning, in the world.
    pub path: Vec<(f64, Vector2<f64>)>,
}

/// A frame that something goes on from: the embedded frame and where its root is.
#[derive(Debug)]
pub struct BoundaryPose {
    frame: Tensor,
    root: Root,
}

impl Clone for BoundaryPose {
    fn clone(&self) -> Self {
        Self {
            frame: self.frame.copy(),
            root: self.root,
        }
    }
}

impl BoundaryPose {
    /// Where the root is.
    pub fn root(&self) -> Root {
        self.root
    }
}

impl Emdm {
    /// The last frame of a clip of the character, to go on from. A clip of a single frame stands still.
    ///
    /// # Errors
    /// Another skeleton, no frame, a number that is not finite, or a pose like none that the model
    /// knows.
    pub fn pose(&self, clip: &Clip) -> Result<BoundaryPose> {
        character::check(&clip.skeleton)?;
        let mut clip = clip.clone();
        let refuse = |found: String, expected: &str| {
            Err(Error::Request {
                key: "pose",
                found,
                expected: expected.into(),
            })
        };
        let Some(last) = clip.frames.last().cloned() else {
            return refuse("without a frame".into(), "one frame or more");
        };
        while clip.frames.len() < 3 {
            clip.frames.push(last.clone());
        }
        let height = last.root.y;
        if !HIPS.contains(&height) {
            return refuse(
                format!("with its hips {height:.2} m above the floor"),
                &format!(
                    "{} to {} m (standing: {HIPS_HEIGHT} m); is the file in metres, with Y up?",
                    HIPS.start, HIPS.end
                ),
            );
        }
        let found = features::extract(&clip, &contacts(&clip)?)?;
        let width = found.layout.size();
        let row = &found.rows[found.rows.len() - width..];
        let row = Tensor::from_slice(row)
            .view([1, -1])
            .to_device(self.device());
        let _guard = tch::no_grad_guard();
        let frame = self.embedding.encode(&row);
        let joints = (found.layout.joints() as i64 - 1) * 3;
        let wanted = row.narrow(1, found.layout.positions() as i64, joints);
        let made = self.embedding.decode(&frame).positions;
        let made = made.narrow(1, 1, joints / 3).reshape([1, -1]);
        let off = (wanted - made)
            .view([-1, 3])
            .square()
            .sum_dim_intlist([-1].as_slice(), false, Kind::Double)
            .sqrt()
            .max();
        let off = f64::try_from(off)?;
        if off.is_nan() || off > FARTHEST_JOINT {
            return refuse(
                format!("unlike any motion that the model knows: a joint would be {off:.2} m off"),
                &format!("at most {FARTHEST_JOINT} m"),
            );
        }
        let root = found.roots.last().copied().unwrap_or_default();
        Ok(BoundaryPose { frame, root })
    }

    /// Begins clips for requests, all in one batch.
    ///
    /// # Errors
    /// A length out of range, an unknown label, a path that is too fast, not finite or not in time.
    pub fn begin(
        &self,
        requests: &[Request],
        guidance: Guidance,
        evaluations: usize,
    ) -> Result<Denoising> {
        let patch = self.config().clips.patch;
        let lengths = requests
            .iter()
            .map(|request| {
                let length = self.repertoire().length(request.label, request.seconds)?;
                Ok(length / patch)
            })
            .collect::<Result<Vec<usize>>>()?;
        let (labels, size, device) = (self.labels().len(), self.embedding.size(), self.device());
        let mut conditions = Conditions::new(&lengths, labels, size, device);
        let mut numbers = Vec::with_capacity(requests.len());
        for request in requests {
            let label = request.label.unwrap_or(labels);
            if label > labels {
                return Err(Error::Request {
                    key: "label",
                    found: label.to_string(),
                    expected: format!("0 to {}", labels - 1),
                });
            }
            numbers.push(label as i64);
        }
        conditions = conditions.labelled(&numbers);
        let frames = |which: &dyn Fn(&Request) -> Option<&BoundaryPose>| {
            let rows: Vec<Tensor> = requests
                .iter()
                .map(|request| match which(request) {
                    Some(following) => following.frame.shallow_clone(),
                    None => Tensor::zeros([1, size], (Kind::Float, device)),
                })
                .collect();
            let there: Vec<bool> = requests.iter().map(|one| which(one).is_some()).collect();
            (Tensor::cat(&rows, 0), there)
        };
        let (starts, there) = frames(&|request| request.start.as_ref());
        conditions = conditions.starting(&starts);
        conditions.keep(super::Part::Start, &there);
        let (ends, there) = frames(&|request| request.end.as_ref());
        conditions = conditions.ending(&ends);
        conditions.keep(super::Part::End, &there);
        let most = conditions.most();
        let mut places = Vec::with_capacity(requests.len() * most * 2);
        for (request, length) in requests.iter().zip(&lengths) {
            let root = request.start.as_ref().map(BoundaryPose::root);
            let seconds = patch as f64 / FRAME_RATE;
            let path = Path::new(
                &request.path,
                root.unwrap_or_default(),
                *length as f64 * seconds,
            )?;
            for number in 1..=most {
                let place = path.at(number as f64 * seconds);
                places.extend([place.x as f32, place.y as f32]);
            }
        }
        let places = Tensor::from_slice(&places)
            .view([requests.len() as i64, most as i64, 2])
            .to_device(device);
        let there: Vec<bool> = requests.iter().map(|one| !one.path.is_empty()).collect();
        conditions = conditions.along(&places);
        conditions.keep(super::Part::Path, &there);
        let seeds: Vec<u64> = requests.iter().map(|request| request.seed).collect();
        Ok(self.denoising(conditions, guidance, &seeds, evaluations))
    }

    /// Takes one denoise step.
    pub fn advance(&self, denoising: &mut Denoising) {
        denoising.advance(&self.network);
    }

    /// The motion of clips whose denoise steps are all taken: for each request frames that follow what
    /// it goes on from.
    ///
    /// # Errors
    /// LibTorch refused, or a clip that is not finite.
    pub fn finish(&self, denoising: Denoising, requests: &[Request]) -> Result<Vec<Take>> {
        let (patches, conditions) = denoising.finish();
        let frames = self.frames(&patches);
        let most = frames.size()[1] as usize;
        let told = DecodedFrames::of(&self.embedding, &frames.flatten(0, 1))?;
        let finite = bool::try_from(frames.isfinite().all())?;
        if !finite {
            return Err(Error::Request {
                key: "clip",
                found: "not finite".into(),
                expected: "numbers; the weights are damaged".into(),
            });
        }
        let patch = self.config().clips.patch;
        Ok(requests
            .iter()
            .zip(conditions.lengths())
            .enumerate()
            .map(|(number, (request, length))| {
                let root = request.start.as_ref().map(BoundaryPose::root);
                let first = number * most;
                told.take(first..first + length * patch, root.unwrap_or_default())
            })
            .collect())
    }

    /// Makes clips for requests, from beginning to end.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::finish`].
    pub fn generate(
        &self,
        requests: &[Request],
        guidance: Guidance,
        evaluations: usize,
    ) -> Result<Vec<Take>> {
        let mut denoising = self.begin(requests, guidance, evaluations)?;
        while !denoising.is_done() {
            self.advance(&mut denoising);
        }
        self.finish(denoising, requests)
    }
}

/// Places in time, as a root sees them.
struct Path {
    points: Vec<(f64, Vector2<f64>)>,
}

impl Path {
    fn new(points: &[(f64, Vector2<f64>)], root: Root, seconds: f64) -> Result<Self> {
        let refuse = |found: String, expected: &str| {
            Err(Error::Request {
                key: "path",
                found,
                expected: expected.into(),
            })
        };
        let mut seen = vec![(0.0, Vector2::zeros())];
        for (time, place) in points {
            let (before, from) = seen[seen.len() - 1];
            if !time.is_finite() || !place.iter().all(|number| number.is_finite()) {
                return refuse("a number that is not finite".into(), "finite numbers");
            }
            if *time < before || *time > seconds + 1e-6 {
                return refuse(
                    format!("a point at {time} s"),
                    &format!("times in order, 0 to {seconds:.2} s, the length of the clip"),
                );
            }
            let place = root.inwards(place - root.position);
            let distance = (place - from).norm();
            let allowed = FASTEST * (time - before);
            if distance > allowed + 0.1 {
                return refuse(
                    format!("{distance:.1} m within {:.2} s", time - before),
                    &format!("at most {FASTEST} m/s"),
                );
            }
            seen.push((*time, place));
        }
        Ok(Self { points: seen })
    }

    /// The place at a time; behind the last point it stays there.
    fn at(&self, time: f64) -> Vector2<f64> {
        let after = self.points.partition_point(|(point, _)| *point < time);
        let (end, to) = self.points[after.min(self.points.len() - 1)];
        let (begin, from) = self.points[after.saturating_sub(1)];
        if end <= begin {
            return to;
        }
        from.lerp(&to, ((time - begin) / (end - begin)).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn refused(request: Request, words: &[&str]) {
        let model = testing::model(3);
        let message = model
            .begin(&[request], Guidance::default(), 0)
            .unwrap_err()
            .to_string();
        for word in words {
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_what_could() {
        let request = Request {
            label: Some(0),
            seconds: Some(1.0),
            ..Request::default()
        };
        let with = |change: &dyn Fn(&mut Request)| {
            let mut changed = request.clone();
            change(&mut changed);
            changed
        };
        refused(
            with(&|one| one.seconds = Some(9.0)),
            &["9 s", "0.27 to 1.33 s"],
        );
        refused(with(&|one| one.seconds = Some(f64::NAN)), &["NaN"]);
        refused(with(&|one| one.label = Some(7)), &["label is 7", "0 to 1"]);
        let to = |points: &[(f64, [f64; 2])]| -> Vec<(f64, Vector2<f64>)> {
            points
                .iter()
                .map(|(time, place)| (*time, Vector2::from(*place)))
                .collect()
        };
        let path = |points: &[(f64, [f64; 2])]| with(&|one| one.path = to(points));
        refused(
            path(&[(0.5, [0.0, 20.0])]),
            &["20.0 m within 0.50 s", "8 m/s"],
        );
        refused(path(&[(0.5, [0.0, f64::NAN])]), &["not finite"]);
        refused(
            path(&[(0.5, [0.0, 1.0]), (0.2, [0.0, 1.0])]),
            &["at 0.2 s", "in order"],
        );
        refused(path(&[(5.0, [0.0, 1.0])]), &["at 5 s", "1.07 s"]);
    }

    #[test]
    fn poses_of_no_body_are_refused() {
        let model = testing::model(3);
        let standing = testing::swinging(1, 0.0, 0.0);
        let mut flying = standing.clone();
        flying.frames[0].root.y = 97.0;
        let message = model.pose(&flying).unwrap_err().to_string();
        assert!(message.contains("97.00 m above the floor"), "{message}");
        let mut empty = standing.clone();
        empty.frames.clear();
        assert!(model.pose(&empty).is_err());
        let mut broken = standing;
        broken.frames[0].root.x = f64::NAN;
        assert!(model.pose(&broken).is_err());
    }

    #[test]
    fn clips_have_the_length_asked_for_and_begin_where_they_should() {
        let model = testing::model(3);
        let requests = [0.5, 1.2].map(|seconds| Request {
            label: Some(0),
            seconds: Some(seconds),
            ..Request::default()
        });
        let takes = model.generate(&requests, Guidance::default(), 2).unwrap();
        assert_eq!([takes[0].poses.len(), takes[1].poses.len()], [16, 36]);
        let path = Path::new(&[(1.0, Vector2::new(0.0, 2.0))], Root::default(), 2.0).unwrap();
        assert_eq!(path.at(0.5), Vector2::new(0.0, 1.0));
        assert_eq!(path.at(1.5), Vector2::new(0.0, 2.0));
    }

    #[test]
    fn clips_one_after_the_other_go_on_without_a_jump() {
        let model = testing::model(3);
        let request = Request {
            label: Some(0),
            seconds: Some(1.0),
            ..Request::default()
        };
        // Untrained, poses are none that could be gone on from: blending alone is looked at.
        let [one, two] = [1, 2].map(|seed| {
            let request = Request {
                seed,
                ..request.clone()
            };
            let request = std::slice::from_ref(&request);
            model
                .generate(request, Guidance::default(), 0)
                .unwrap()
                .remove(0)
        });
        let count = one.poses.len();
        let apart = (two.poses[0].root - one.poses[count - 1].root).norm();
        let own = (two.poses[1].root - two.poses[0].root).norm();
        let mut whole = one;
        super::super::stitching::append(&mut whole, two);
        let poses = &whole.poses;
        let step = |at: usize| (poses[at].root - poses[at - 1].root).norm();
        // Between the steps of both, and a ninth of what they are apart: that much dies away in a frame.
        assert!(step(count) < step(count - 1) + own + 0.12 * (apart + own));
        assert_eq!(poses.len(), 2 * count);
    }
}
