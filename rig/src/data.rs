//! Data sets of motion: clips by name, split by clip, as rows of features.
//!
//! A clip is either trained on or held out, never both, and neither are its mirror image and its
//! warped copies. Rows of all sequences stand one after the other; a frame knows its sequence, so
//! that no window crosses from one clip into another.

mod files;

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::files::find;
pub use self::files::matches;
use crate::bend::{self, Curve};
use crate::character::{ANKLE_HEIGHT, TOE_HEIGHT};
use crate::features::{self, Contacts, Layout};
use crate::foot::Feet;
use crate::metrics::{self, contacts::ContactConfig};
use crate::steering::{self, AHEAD};
use crate::trajectory::Root;
use crate::{Clip, Error, GlobalPose, Result, retarget};

/// Frames per second of all motion here.
pub const FRAME_RATE: f64 = 30.0;

/// Which clips make a data set, as written in TOML and JSON.
///
/// A pattern is a path relative to the data folder, without its ending, with `*` for any characters:
/// `cmu_bvh/35/*`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Clips to take.
    pub clips: Vec<String>,
    /// Clips to leave out of those.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Clips of those that are never trained on.
    pub held_out: Vec<String>,
    /// Whether the mirror image of every clip is there too.
    #[serde(default = "yes")]
    pub mirror: bool,
    /// Speeds at which clips are trained on, 1 among them; held-out clips have speed 1 only.
    #[serde(default = "usual_speed")]
    pub speeds: Vec<f64>,
    /// Copies of every clip that is trained on with its path bent, by the largest curvature in rad/m,
    /// 0 to 3 ([`crate::bend`]); they have speed 1.
    #[serde(default)]
    pub bends: Vec<f64>,
}

fn yes() -> bool {
    true
}

fn usual_speed() -> Vec<f64> {
    vec![1.0]
}

/// One clip, its mirror image or a copy at another speed.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Path relative to the data folder, without its ending.
    pub name: String,
    /// Whether left and right are exchanged.
    pub mirrored: bool,
    /// How fast it goes against the clip.
    pub speed: f64,
    /// Largest curvature that its path was bent by, rad/m; 0 as it was captured.
    pub bend: f64,
    /// The motion on the common skeleton, at [`FRAME_RATE`].
    pub clip: Clip,
    /// Contacts of every frame of the clip.
    pub contacts: Vec<Contacts>,
    /// Rows of this sequence in its set. The first of them describes frame 1 of the clip.
    pub rows: Range<usize>,
}

impl Sequence {
    /// Whether it goes as it was captured, or is the mirror image of that.
    pub fn is_captured(&self) -> bool {
        self.speed == 1.0 && self.bend == 0.0
    }

    /// Its name, with ` m` behind that of a mirror image.
    pub fn title(&self) -> String {
        let mark = if self.mirrored { " m" } else { "" };
        format!("{}{mark}", self.name)
    }
}

/// Sequences and the features of all their frames.
#[derive(Debug, Clone)]
pub struct MotionSet {
    /// The sequences in the order of their names.
    pub sequences: Vec<Sequence>,
    /// Where the numbers of a row stand.
    pub layout: Layout,
    /// Features `[N, F]`.
    pub rows: Vec<f32>,
    /// Root of every row `[N]`.
    pub roots: Vec<Root>,
}

/// A data set, split.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// What is trained on.
    pub train: MotionSet,
    /// What is held out.
    pub held_out: MotionSet,
}

impl Dataset {
    /// Reads the clips of a folder; `watch` hears of every clip (its number, how many there are).
    ///
    /// # Errors
    /// A pattern that no clip matches, a clip that cannot be read or mapped, nothing left on one of
    /// the two sides.
    pub fn read(
        folder: &Path,
        config: &DataConfig,
        mut watch: impl FnMut(usize, usize),
    ) -> Result<Self> {
        for speed in &config.speeds {
            if !(0.5..=2.0).contains(speed) {
                return Err(Error::Config {
                    key: "data.speeds",
                    found: speed.to_string(),
                    expected: "0.5 to 2".into(),
                });
            }
        }
        for bend in &config.bends {
            if !(0.0..=3.0).contains(bend) {
                return Err(Error::Config {
                    key: "data.bends",
                    found: bend.to_string(),
                    expected: "0 to 3 rad/m".into(),
                });
            }
        }
        let files = find(folder)?;
        let refuse = |key: &'static str, pattern: &str| Error::Config {
            key,
            found: format!("`{pattern}`"),
            expected: format!(
                "a pattern that matches a clip in {}: {} were found there, for example `{}`",
                folder.display(),
                files.len(),
                files.first().map_or("none", |(name, _)| name)
            ),
        };
        for (key, patterns) in [
            ("data.clips", &config.clips),
            ("data.exclude", &config.exclude),
            ("data.held_out", &config.held_out),
        ] {
            for pattern in patterns {
                if !files.iter().any(|(name, _)| matches(pattern, name)) {
                    return Err(refuse(key, pattern));
                }
            }
        }
        let any = |patterns: &[String], name: &str| patterns.iter().any(|one| matches(one, name));
        let chosen: Vec<_> = files
            .iter()
            .filter(|(name, _)| any(&config.clips, name) && !any(&config.exclude, name))
            .collect();
        let (mut train, mut held_out) = (Builder::default(), Builder::default());
        for (number, (name, path)) in chosen.iter().enumerate() {
            watch(number, chosen.len());
            let found = retarget::load_with_report(path, &retarget::Options::default())?;
            for clip in sound(&found.clip, &found.glitches) {
                if any(&config.held_out, name) {
                    held_out.add(name, &clip, &[1.0], config.mirror, path)?;
                    continue;
                }
                train.add(name, &clip, &config.speeds, config.mirror, path)?;
                for bend in &config.bends {
                    // Curves that begin anywhere, evenly: the golden section does not come back.
                    let number = train.sequences.len() as f64;
                    let curve = Curve {
                        curvature: *bend,
                        period: BEND_PERIOD,
                        phase: (number * 0.618_034).fract(),
                    };
                    let bent = bend::bent(&clip, &contacts(&clip)?, &curve)?;
                    let from = train.sequences.len();
                    train.add(name, &bent, &[1.0], config.mirror, path)?;
                    for sequence in &mut train.sequences[from..] {
                        sequence.bend = *bend;
                    }
                }
            }
        }
        Ok(Self {
            train: train.finish("data.clips")?,
            held_out: held_out.finish("data.held_out")?,
        })
    }
}

impl MotionSet {
    /// A set of clips that are there already, such as those that a model made.
    ///
    /// # Errors
    /// No clip of four frames or more, or numbers that are not finite.
    pub fn of(clips: impl IntoIterator<Item = (String, Clip)>) -> Result<Self> {
        let mut builder = Builder::default();
        for (name, clip) in clips {
            builder.add(&name, &clip, &[1.0], false, Path::new(&name))?;
        }
        builder.finish("clips")
    }

    /// The sequences that go as they were captured, and their mirror images, alone.
    #[must_use]
    pub fn captured(&self) -> Self {
        let mut set = Self {
            sequences: Vec::new(),
            layout: self.layout,
            rows: Vec::new(),
            roots: Vec::new(),
        };
        let width = self.layout.size();
        for one in self.sequences.iter().filter(|one| one.is_captured()) {
            let start = set.roots.len();
            set.roots.extend(&self.roots[one.rows.clone()]);
            set.rows
                .extend(&self.rows[one.rows.start * width..one.rows.end * width]);
            set.sequences.push(Sequence {
                rows: start..set.roots.len(),
                ..one.clone()
            });
        }
        set
    }

    /// Number of rows N.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Seconds of motion, without mirror images and copies at other speeds.
    pub fn seconds(&self) -> f64 {
        let original = |one: &&Sequence| !one.mirrored && one.is_captured();
        let clips = self.sequences.iter().filter(original);
        clips.map(|one| one.clip.seconds()).sum()
    }

    /// The steering of every row: the way that its sequence takes from there `[N, 12]`.
    pub fn steering(&self) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(self.len() * steering::SIZE);
        for sequence in &self.sequences {
            let roots = &self.roots[sequence.rows.clone()];
            for (frame, root) in roots.iter().enumerate() {
                let ahead = AHEAD.map(|seconds| steering::ahead(roots, frame, seconds, FRAME_RATE));
                numbers.extend(steering::steering(root, &ahead));
            }
        }
        numbers
    }

    /// First rows of all windows of `length` rows that stay within their sequence.
    pub fn windows(&self, length: usize) -> Vec<usize> {
        self.sequences
            .iter()
            .flat_map(|sequence| {
                let rows = &sequence.rows;
                rows.start..(rows.end + 1).saturating_sub(length).max(rows.start)
            })
            .collect()
    }
}

/// Metres after which the curve of a bent copy comes again.
const BEND_PERIOD: f64 = 5.0;
/// Least frames of a piece of a clip between two places where its capture is broken.
const LEAST_FRAMES: usize = 30;

/// A clip without the frames around which its capture is broken: whole, or the pieces between.
fn sound(clip: &Clip, glitches: &[Range<usize>]) -> Vec<Clip> {
    if glitches.is_empty() {
        return vec![clip.clone()];
    }
    let ends = glitches.iter().map(|glitch| glitch.start);
    let ends = ends.chain([clip.frames.len()]);
    let starts = [0].into_iter().chain(glitches.iter().map(|one| one.end));
    starts
        .zip(ends)
        .filter(|(start, end)| start + LEAST_FRAMES <= *end)
        .map(|(start, end)| Clip {
            frames: clip.frames[start..end].to_vec(),
            ..clip.clone()
        })
        .collect()
}

#[derive(Default)]
struct Builder {
    sequences: Vec<Sequence>,
    layout: Option<Layout>,
    rows: Vec<f32>,
    roots: Vec<Root>,
}

impl Builder {
    fn add(
        &mut self,
        name: &str,
        clip: &Clip,
        speeds: &[f64],
        mirror: bool,
        path: &Path,
    ) -> Result<()> {
        for &speed in speeds {
            let mut played = clip.clone();
            if speed != 1.0 {
                played.frame_rate = FRAME_RATE * speed;
                played = played.resampled(FRAME_RATE);
            }
            // A clip of a few frames has no motion to learn from.
            if played.frames.len() < 4 {
                continue;
            }
            let images = [
                Some(played.clone()),
                mirror.then(|| retarget::mirrored(&played)),
            ];
            for (mirrored, clip) in images.into_iter().enumerate() {
                let Some(clip) = clip else { continue };
                let contacts = contacts(&clip)?;
                let features =
                    features::extract(&clip, &contacts).map_err(|error| Error::Data {
                        path: path.to_path_buf(),
                        reason: error.to_string(),
                    })?;
                let start = self.roots.len();
                self.layout = Some(features.layout);
                self.rows.extend(features.rows);
                self.roots.extend(features.roots);
                self.sequences.push(Sequence {
                    name: name.to_owned(),
                    mirrored: mirrored == 1,
                    speed,
                    bend: 0.0,
                    clip,
                    contacts,
                    rows: start..self.roots.len(),
                });
            }
        }
        Ok(())
    }

    fn finish(self, key: &'static str) -> Result<MotionSet> {
        let Some(layout) = self.layout else {
            return Err(Error::Config {
                key,
                found: "no clip is left".into(),
                expected: "at least one clip of four frames or more".into(),
            });
        };
        Ok(MotionSet {
            sequences: self.sequences,
            layout,
            rows: self.rows,
            roots: self.roots,
        })
    }
}

/// Contacts of every frame of a clip of the character that stands on the floor y = 0.
///
/// # Errors
/// Another skeleton.
pub fn contacts(clip: &Clip) -> Result<Vec<Contacts>> {
    let feet = Feet {
        ankle_height: ANKLE_HEIGHT,
        toe_height: TOE_HEIGHT,
        ..Feet::at_rest(&clip.skeleton)?
    };
    let mut global = GlobalPose::default();
    let points: Vec<_> = clip
        .frames
        .iter()
        .map(|pose| {
            clip.skeleton.forward_into(pose, &mut global);
            feet.positions(&global)
        })
        .collect();
    metrics::contacts::contacts(
        &points,
        feet.rest_heights(),
        0.0,
        clip.frame_rate,
        &ContactConfig::default(),
    )
}
