//! From any motion capture file to the character: one skeleton, metres, one frame rate, soles on
//! the floor y = 0.
//!
//! Rest poses and bone axes differ between sources, so rotations cannot be copied.
//!
//! * Trunk, collars, hands and feet are bound: a constant rotation between the frames of the two
//!   skeletons is found from the source's rest pose, and then they turn as the source's joints do,
//!   head and pelvis included. Spine and neck are swung from there to point where the source's do.
//! * Arms and legs go by places: both halves point where the source's point, and the axis about
//!   which elbow or knee bends stands across the plane in which the limb bends. The twist of a
//!   straight limb is not what was captured (in CMU's clips it is noise, up to half a turn from
//!   frame to frame): knees then point where the toes point, elbows as just before and after.
//! * Lengths are scaled by the ratio of the legs, the hip joints' middle is kept, and two-bone
//!   inverse kinematics puts the ankles exactly on the scaled ankles of the source, so that a foot
//!   that stood still stands still.

mod axes;
mod binding;
mod capture;
mod fit;
mod floor;
mod learned;
mod mapping;

use std::ops::Range;
use std::path::Path;

pub use floor::Floor;
pub use mapping::Mapping;

use crate::character::{self, LEG_LENGTH};
use crate::formats::{asf_amc, bvh, expmap, text};
use crate::skeleton::GlobalPose;
use crate::{Clip, Error, Result};
use binding::Binding;
use fit::Fit;

/// Units that files are written in, in metres: metre, centimetre, CMU's (1/0.45 inch), inch,
/// millimetre. Legs of 0.7 to 1.1 m have different lengths in all of them.
const UNITS: [f64; 5] = [1.0, 0.01, 0.0254 / 0.45, 0.0254, 0.001];

/// Lengths of thigh and shin together that are taken for a person's, in metres.
const LEGS: std::ops::RangeInclusive<f64> = 0.7..=1.1;

/// Most frames of a result: four days at 30 frames per second.
const MOST_FRAMES: f64 = 1e7;

/// How a file is brought onto the character.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Metres per unit of length of the source. None: the one of metre, centimetre, CMU's 56.44 mm,
    /// inch and millimetre in which thigh and shin together are 0.7 to 1.1 m long.
    pub unit: Option<f64>,
    /// Frames per second of the result, 1 to 1000.
    pub frame_rate: f64,
    /// Keeps first frames from which the pose jumps, which exporters add as a T-pose.
    pub keep_first_frames: bool,
    /// What becomes the floor y = 0.
    pub floor: Floor,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            unit: None,
            frame_rate: 30.0,
            keep_first_frames: false,
            floor: Floor::default(),
        }
    }
}

/// A clip of the character, and how it came about.
#[derive(Debug, Clone)]
pub struct Retargeted {
    /// The clip.
    pub clip: Clip,
    /// The source with its lengths times `scale`, in our world and above our floor, at the same
    /// frames: what the clip is to be compared with.
    pub source: Vec<GlobalPose>,
    /// Which joint of the source stands for which of the character.
    pub mapping: Mapping,
    /// Metres per unit of length of the source.
    pub unit: f64,
    /// Lengths of the character per length of the source, both in metres.
    pub scale: f64,
    /// Height in metres of the floor that was found under every frame; it was lowered by that.
    pub floor: Vec<f64>,
    /// How many frames were left out at the start.
    pub dropped: usize,
    /// Frames of the clip around which a joint of the source jumps: there the capture is broken.
    pub glitches: Vec<Range<usize>>,
}

/// Reads a motion capture file of any known format onto the character. [`load_with_report`] also
/// says how it went, and where the capture is broken.
///
/// # Errors
/// A file that cannot be read or is none of the known formats; a skeleton whose joints, rest pose
/// or size are not understood; options out of range.
pub fn load(path: &Path, options: &Options) -> Result<Clip> {
    load_with_report(path, options).map(|retargeted| retargeted.clip)
}

/// [`read`] and [`retarget`].
///
/// # Errors
/// As [`load`].
pub fn load_with_report(path: &Path, options: &Options) -> Result<Retargeted> {
    retarget(&read(path)?, options).map_err(|error| in_file(path, error))
}

/// Reads a motion capture file of any known format, in its own skeleton and unit.
///
/// # Errors
/// A file that cannot be read or is none of the known formats.
pub fn read(path: &Path) -> Result<Clip> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("bvh") => bvh::read(path),
        Some("amc") => asf_amc::read(path),
        Some("asf") => Err(unknown(
            path,
            "an ASF file is a skeleton without motion; name its AMC file",
        )),
        _ => {
            let text = text::read(path)?;
            let start = text.trim_start_matches('\u{feff}').trim_start();
            if start
                .get(..9)
                .is_some_and(|word| word.eq_ignore_ascii_case("hierarchy"))
            {
                bvh::parse(&text, path)
            } else if expmap::looks_like(&text) {
                expmap::parse(&text, path)
            } else {
                Err(unknown(
                    path,
                    "neither ending nor content say what it is, expected .bvh, .amc beside its \
                     .asf, or lines of 117 numbers (CMU exponential maps)",
                ))
            }
        }
    }
}

fn unknown(path: &Path, reason: &str) -> Error {
    Error::Data {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

/// An error about a skeleton or option, with the file it came from.
fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Skeleton(reason) | Error::Clip(reason) => Error::Data {
            path: path.to_path_buf(),
            reason,
        },
        other => other,
    }
}

/// Puts a clip of any known skeleton onto the character.
///
/// # Errors
/// As [`load`].
pub fn retarget(source: &Clip, options: &Options) -> Result<Retargeted> {
    if !(1.0..=1000.0).contains(&options.frame_rate) {
        return Err(Error::Config {
            key: "frame_rate",
            found: options.frame_rate.to_string(),
            expected: "1 to 1000".into(),
        });
    }
    let mapping = Mapping::detect(&source.skeleton)?;
    let binding = Binding::new(source, &mapping)?;
    let unit = unit(binding.leg, options)?;
    let fit = Fit {
        scale: LEG_LENGTH / binding.leg,
        mapping,
        binding,
    };
    let mut source = source.clone();
    let dropped = if options.keep_first_frames {
        0
    } else {
        capture::rest_frames(&source)
    };
    source.frames.drain(..dropped);
    let count = source.seconds() * options.frame_rate;
    if count > MOST_FRAMES {
        return Err(Error::Config {
            key: "frame_rate",
            found: format!("{} for {:.0} s", options.frame_rate, source.seconds()),
            expected: format!("at most {MOST_FRAMES} frames"),
        });
    }
    let glitches = capture::glitches(&source, &fit, options.frame_rate);
    let source = source.resampled(options.frame_rate);
    let mut places: Vec<GlobalPose> = source
        .frames
        .iter()
        .map(|pose| source.skeleton.forward(pose))
        .collect();
    let frames = if fit.is_character(&source.skeleton) {
        source.scaled(fit.scale).frames
    } else {
        let elbows: Vec<_> = places.iter().map(|global| fit.elbows(global)).collect();
        let elbows = fit::followed(&elbows, options.frame_rate);
        let poses = places.iter().zip(elbows);
        poses
            .map(|(global, elbows)| fit.pose(global, elbows))
            .collect()
    };
    for position in places.iter_mut().flat_map(|global| &mut global.positions) {
        *position = fit.binding.world * *position * fit.scale;
    }
    let mut clip = Clip {
        skeleton: character::skeleton(),
        frame_rate: options.frame_rate,
        frames,
    };
    let floor = floor::heights(&clip, options.floor);
    for ((pose, global), floor) in clip.frames.iter_mut().zip(&mut places).zip(&floor) {
        pose.root.y -= floor;
        for position in &mut global.positions {
            position.y -= floor;
        }
    }
    Ok(Retargeted {
        clip,
        source: places,
        unit,
        scale: fit.scale / unit,
        mapping: fit.mapping,
        floor,
        dropped,
        glitches,
    })
}

/// Metres per unit of a source with legs of this length.
fn unit(leg: f64, options: &Options) -> Result<f64> {
    if let Some(unit) = options.unit {
        if unit.is_finite() && unit > 0.0 {
            return Ok(unit);
        }
        return Err(Error::Config {
            key: "unit",
            found: unit.to_string(),
            expected: "metres per unit of the source, above 0".into(),
        });
    }
    UNITS
        .into_iter()
        .find(|unit| LEGS.contains(&(leg * unit)))
        .ok_or_else(|| {
            Error::Skeleton(format!(
                "its legs are {leg:.3} units long, which is no adult's leg in metres, centimetres, \
                 CMU units, inches or millimetres; state the unit"
            ))
        })
}

/// The mirror image of a clip of the character: left and right exchanged, x to -x.
pub fn mirrored(clip: &Clip) -> Clip {
    Clip {
        skeleton: clip.skeleton.clone(),
        frame_rate: clip.frame_rate,
        frames: clip.frames.iter().map(fit::mirrored).collect(),
    }
}
