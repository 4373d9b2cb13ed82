//! Acclaim's pair of files: an ASF skeleton, which clips share, and an AMC motion.
//!
//! A bone starts where its parent ends and turns there. At rest all frames are those of the world;
//! with C the bone's axes and M the rotation that the motion states about them, the bone turns
//! against its parent by C M C^-1. Angles in the order X Y Z are applied about fixed axes, X first.
//! Lengths come out in metres: `length 0.45` in `:units` says that 0.45 units are an inch, as in
//! all of CMU's files. The files do not state a rate; CMU's is 120 frames per second.

mod skeleton;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use nalgebra::{Unit, UnitQuaternion, Vector3};

use super::text::{self, lines, number, shown, wrong};
use crate::{Clip, Error, Pose, Result, Skeleton};

/// Frames per second of CMU's recordings.
const FRAME_RATE: f64 = 120.0;

/// An ASF skeleton: its joints are the bones, at the places where these start.
#[derive(Debug, Clone)]
pub struct Asf {
    skeleton: Skeleton,
    /// Per joint, in their order.
    bones: Vec<Bone>,
    /// Metres per unit of length.
    unit: f64,
    /// What the place of the root in a motion is counted from, in metres.
    position: Vector3<f64>,
}

#[derive(Debug, Clone)]
struct Bone {
    name: String,
    /// From the bone's axes to the world's at rest.
    axes: UnitQuaternion<f64>,
    degrees_of_freedom: Vec<Channel>,
    /// To the bone's end, in metres.
    extent: Vector3<f64>,
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Channel {
    Translation(usize),
    Rotation(usize),
}

/// Reads a motion and the skeleton that belongs to it, in metres. For `07_05.amc` that is `07.asf`
/// beside it, or the only ASF file there is in the folder.
///
/// # Errors
/// A file that cannot be read or found, or a line that is not what it should be.
pub fn read(amc: &Path) -> Result<Clip> {
    let asf = skeleton_of(amc)?;
    let skeleton = Asf::parse(&text::read(&asf)?, &asf)?;
    skeleton.motion(&text::read(amc)?, amc)
}

/// The skeleton file of a motion.
fn skeleton_of(amc: &Path) -> Result<PathBuf> {
    let stem = amc.file_stem().unwrap_or_default().to_string_lossy();
    let folder = amc.parent().unwrap_or(Path::new("."));
    if let Some((subject, _)) = stem.rsplit_once('_') {
        let named = folder.join(format!("{subject}.asf"));
        if named.is_file() {
            return Ok(named);
        }
    }
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|error| Error::io(folder, error))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|ending| ending.eq_ignore_ascii_case("asf"))
        })
        .collect();
    match (found.len(), found.pop()) {
        (1, Some(only)) => Ok(only),
        (count, _) => Err(Error::Data {
            path: amc.to_path_buf(),
            reason: format!(
                "{count} ASF files beside it, expected one; put the skeleton of the motion there, \
                 named by its subject"
            ),
        }),
    }
}

impl Asf {
    /// Reads a skeleton; `path` is for messages.
    ///
    /// # Errors
    /// A line that is not what it should be; bones that make no tree.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        skeleton::parse(text, path)
    }

    /// The joints, in metres.
    pub fn skeleton(&self) -> &Skeleton {
        &self.skeleton
    }

    /// Reads a motion of this skeleton; `path` is for messages.
    ///
    /// # Errors
    /// A line that is not what it should be, a bone that is missing or unknown.
    pub fn motion(&self, text: &str, path: &Path) -> Result<Clip> {
        let index: HashMap<&str, usize> = (self.bones.iter().enumerate())
            .map(|(index, bone)| (bone.name.as_str(), index))
            .collect();
        let moving: usize = self
            .bones
            .iter()
            .filter(|bone| !bone.degrees_of_freedom.is_empty())
            .count();
        let rest = Pose {
            root: self.position,
            rotations: vec![UnitQuaternion::identity(); self.bones.len()],
        };
        let mut radians = 1f64.to_radians();
        let mut frames: Vec<Pose> = Vec::new();
        let mut stated = HashSet::new();
        let mut last = 1;
        // A frame is complete when the next one or the end of the file is reached.
        let complete = |stated: &HashSet<usize>, frames: usize, line: usize| {
            if frames == 0 || stated.len() >= moving {
                return Ok(());
            }
            let missing = self.bones.iter().enumerate().find(|(index, bone)| {
                !bone.degrees_of_freedom.is_empty() && !stated.contains(index)
            });
            Err(wrong(
                path,
                line,
                format!(
                    "frame {frames} ends here with {} of {moving} bones, expected `{}` too",
                    stated.len(),
                    missing.map_or("", |(_, bone)| &bone.name)
                ),
            ))
        };
        for (line, content) in lines(text) {
            if content.starts_with('#') {
                continue;
            }
            if let Some(option) = content.strip_prefix(':') {
                match option.to_ascii_uppercase().as_str() {
                    "DEGREES" => radians = 1f64.to_radians(),
                    "RADIANS" => radians = 1.0,
                    _ => {}
                }
                continue;
            }
            let mut words = content.split_whitespace();
            let first = words.next().unwrap_or("");
            if let Ok(count) = first.parse::<u64>() {
                complete(&stated, frames.len(), line)?;
                let expected = frames.len() as u64 + 1;
                if count != expected {
                    return Err(wrong(
                        path,
                        line,
                        format!("frame {count}, expected frame {expected}"),
                    ));
                }
                stated.clear();
                frames.push(rest.clone());
                continue;
            }
            last = line;
            let Some(&joint) = index.get(first) else {
                return Err(wrong(
                    path,
                    line,
                    format!(
                        "bone {} is not in the skeleton, expected one of its bones or a frame \
                         number",
                        shown(first)
                    ),
                ));
            };
            let bone = &self.bones[joint];
            let Some(pose) = frames.last_mut() else {
                return Err(wrong(
                    path,
                    line,
                    "a bone before the first frame, expected the number 1",
                ));
            };
            if !stated.insert(joint) {
                return Err(wrong(
                    path,
                    line,
                    format!("bone `{first}` twice in a frame, expected once"),
                ));
            }
            let mut values = Vec::with_capacity(6);
            for word in words {
                values.push(number(word).map_err(|what| {
                    wrong(
                        path,
                        line,
                        format!("{what}, expected a value of bone `{first}`"),
                    )
                })?);
            }
            let channels = &bone.degrees_of_freedom;
            if values.len() != channels.len() {
                return Err(wrong(
                    path,
                    line,
                    format!(
                        "{} values of bone `{first}`, expected {} as its dof in the skeleton",
                        values.len(),
                        channels.len()
                    ),
                ));
            }
            let mut turn = UnitQuaternion::identity();
            for (channel, value) in channels.iter().zip(values) {
                match *channel {
                    Channel::Rotation(axis) => turn = about(axis, value * radians) * turn,
                    Channel::Translation(axis) => pose.root[axis] += value * self.unit,
                }
            }
            pose.rotations[joint] = bone.axes * turn * bone.axes.inverse();
        }
        complete(&stated, frames.len(), last)?;
        if frames.is_empty() {
            return Err(wrong(path, last, "no frames, expected at least one"));
        }
        Ok(Clip {
            skeleton: self.skeleton.clone(),
            frame_rate: FRAME_RATE,
            frames,
        })
    }
}

fn about(axis: usize, angle: f64) -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Unit::new_unchecked(Vector3::ith(axis, 1.0)), angle)
}
