//! Acclaim's pair of files: an ASF skeleton, which clips share, and an AMC motion.
//!
//! A bone starts where its parent ends and turns there. At rest all frames are those of the world;
//! with C the bone's axes and M the rotation that the motion states about them, the bone turns
//! against its parent by C M C^-1. Angles in the order X Y Z are applied about fixed axes, X first.
//! Lengths come out in metres: `length 0.45` in `:units` says that 0.45 units are an inch, as in
//! all of CMU's files. The files do not state a rate; CMU's is 120 frames per second.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use nalgebra::{Unit, UnitQuaternion, Vector3};

use super::text::{self, lines, number, shown, wrong};
use crate::{Clip, Error, Joint, Pose, Result, Skeleton};

/// Frames per second of CMU's recordings.
const FRAME_RATE: f64 = 120.0;

/// Most bones that a file may have.
const MOST_BONES: usize = 1024;

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
        let mut reading = Reading {
            path,
            section: String::new(),
            radians: 1f64.to_radians(),
            unit: 0.0254,
            root: Bone {
                name: "root".into(),
                axes: UnitQuaternion::identity(),
                degrees_of_freedom: Vec::new(),
                extent: Vector3::zeros(),
                line: 1,
            },
            position: Vector3::zeros(),
            bones: Vec::new(),
            open: None,
            parents: HashMap::new(),
        };
        let mut last = 1;
        for (line, content) in lines(text) {
            last = line;
            let content = content.split('#').next().unwrap_or("").trim();
            let words: Vec<&str> = content.split_whitespace().collect();
            if !words.is_empty() {
                reading.line(line, &words)?;
            }
        }
        reading.finish(last)
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
                        "bone {} is not in the skeleton, expected one of its bones or a frame number",
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

/// A skeleton that is being read.
struct Reading<'a> {
    path: &'a Path,
    section: String,
    /// Radians per unit of angle.
    radians: f64,
    /// Metres per unit of length.
    unit: f64,
    root: Bone,
    position: Vector3<f64>,
    bones: Vec<Bone>,
    /// A bone whose `end` was not reached yet, with its direction and length.
    open: Option<(Bone, Vector3<f64>, f64)>,
    /// Parents of bones by their names, with the line that says so.
    parents: HashMap<String, (String, usize)>,
}

impl Reading<'_> {
    fn line(&mut self, line: usize, words: &[&str]) -> Result<()> {
        if let Some(section) = words[0].strip_prefix(':') {
            if let Some((bone, ..)) = &self.open {
                return Err(wrong(
                    self.path,
                    line,
                    format!(
                        "section `:{section}` inside bone `{}`, expected end",
                        bone.name
                    ),
                ));
            }
            self.section = section.to_ascii_lowercase();
            return Ok(());
        }
        match self.section.as_str() {
            "units" => self.units(line, words),
            "root" => self.root(line, words),
            "bonedata" => self.bone(line, words),
            "hierarchy" => self.hierarchy(line, words),
            _ => Ok(()),
        }
    }

    fn units(&mut self, line: usize, words: &[&str]) -> Result<()> {
        match words {
            ["length", length] => {
                let length = self.number(line, length)?;
                if !(1e-6..=1e6).contains(&length) {
                    return Err(wrong(
                        self.path,
                        line,
                        format!("length {length}, expected units per inch, 0.000001 to 1000000"),
                    ));
                }
                self.unit = 0.0254 / length;
            }
            ["angle", angle] => {
                self.radians = match angle.to_ascii_lowercase().as_str() {
                    "deg" | "degrees" => 1f64.to_radians(),
                    "rad" | "radians" => 1.0,
                    _ => {
                        return Err(wrong(
                            self.path,
                            line,
                            format!("angle {}, expected deg or rad", shown(angle)),
                        ));
                    }
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn root(&mut self, line: usize, words: &[&str]) -> Result<()> {
        match words[0] {
            "order" => {
                self.root.degrees_of_freedom = self.channels(line, &words[1..])?;
                self.root.line = line;
            }
            "position" => self.position = self.vector(line, words.get(1..4))?,
            // Exporters disagree on what it turns; no file of CMU's uses it.
            "orientation" if self.vector(line, words.get(1..4))? != Vector3::zeros() => {
                return Err(wrong(
                    self.path,
                    line,
                    "an orientation of the root, expected 0 0 0",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn bone(&mut self, line: usize, words: &[&str]) -> Result<()> {
        match (words[0], &mut self.open) {
            ("begin", None) => {
                if self.bones.len() == MOST_BONES {
                    return Err(wrong(
                        self.path,
                        line,
                        format!("more bones than {MOST_BONES}"),
                    ));
                }
                let bone = Bone {
                    name: String::new(),
                    axes: UnitQuaternion::identity(),
                    degrees_of_freedom: Vec::new(),
                    extent: Vector3::zeros(),
                    line,
                };
                self.open = Some((bone, Vector3::zeros(), 0.0));
            }
            ("begin", Some(_)) => {
                return Err(wrong(self.path, line, "begin inside a bone, expected end"));
            }
            (_, None) => {
                return Err(wrong(
                    self.path,
                    line,
                    format!("{} found, expected begin", shown(words[0])),
                ));
            }
            ("end", Some((bone, direction, length))) => {
                bone.extent = *direction * *length;
                if bone.name.is_empty() {
                    return Err(wrong(
                        self.path,
                        line,
                        "a bone without name, expected `name NAME` in it",
                    ));
                }
                if bone.name == "root" || self.bones.iter().any(|other| other.name == bone.name) {
                    return Err(wrong(
                        self.path,
                        line,
                        format!("bone `{}` twice, expected once", bone.name),
                    ));
                }
                let bone = bone.clone();
                self.bones.push(bone);
                self.open = None;
            }
            ("name", Some((bone, ..))) => {
                bone.name = words
                    .get(1)
                    .map_or(String::new(), |name| (*name).to_string());
                bone.line = line;
            }
            ("direction", Some(_)) => {
                let read = self.vector(line, words.get(1..4))?;
                if let Some((_, direction, _)) = &mut self.open {
                    *direction = read;
                }
            }
            ("length", Some(_)) => {
                let read = self.number(line, words.get(1).unwrap_or(&""))?;
                if let Some((_, _, length)) = &mut self.open {
                    *length = read;
                }
            }
            ("axis", Some(_)) => {
                let angles = self.vector(line, words.get(1..4))? * self.radians;
                let order = words.get(4).unwrap_or(&"XYZ");
                let mut axes = UnitQuaternion::identity();
                for letter in order.chars() {
                    let axis = match letter.to_ascii_uppercase() {
                        'X' => 0,
                        'Y' => 1,
                        'Z' => 2,
                        _ => {
                            return Err(wrong(
                                self.path,
                                line,
                                format!("order {} of axis, expected letters X, Y, Z", shown(order)),
                            ));
                        }
                    };
                    axes = about(axis, angles[axis]) * axes;
                }
                if let Some((bone, ..)) = &mut self.open {
                    bone.axes = axes;
                }
            }
            ("dof", Some(_)) => {
                let channels = self.channels(line, &words[1..])?;
                if channels
                    .iter()
                    .any(|channel| matches!(channel, Channel::Translation(_)))
                {
                    return Err(wrong(
                        self.path,
                        line,
                        "a bone that is displaced, expected rx, ry, rz only: bones have a fixed length",
                    ));
                }
                if let Some((bone, ..)) = &mut self.open {
                    bone.degrees_of_freedom = channels;
                }
            }
            // Numbers, limits of angles, and what else exporters add.
            _ => {}
        }
        Ok(())
    }

    fn hierarchy(&mut self, line: usize, words: &[&str]) -> Result<()> {
        if words.len() < 2 {
            return Ok(());
        }
        for child in &words[1..] {
            let parent = (words[0].to_string(), line);
            if let Some((first, _)) = self.parents.insert((*child).to_string(), parent) {
                return Err(wrong(
                    self.path,
                    line,
                    format!(
                        "bone {} has the parent {} already, expected one",
                        shown(child),
                        shown(&first)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn finish(mut self, last: usize) -> Result<Asf> {
        if let Some((bone, ..)) = &self.open {
            return Err(wrong(
                self.path,
                last,
                format!("the file ends in bone `{}`, expected end", bone.name),
            ));
        }
        if self.root.degrees_of_freedom.is_empty() {
            return Err(wrong(
                self.path,
                last,
                "no order of the root, expected one such as TX TY TZ RX RY RZ",
            ));
        }
        let known: HashSet<&str> = self.bones.iter().map(|bone| bone.name.as_str()).collect();
        for (child, (parent, line)) in &self.parents {
            for name in [child.as_str(), parent.as_str()] {
                let is_root = name == "root" && name == parent;
                if !known.contains(name) && !is_root {
                    return Err(wrong(
                        self.path,
                        *line,
                        format!(
                            "bone {} in the hierarchy, expected one of :bonedata",
                            shown(name)
                        ),
                    ));
                }
            }
        }
        // Parents before children, in the order of the file: repeatedly those whose parent is placed.
        let mut waiting = std::mem::take(&mut self.bones);
        let mut placed = vec![self.root.clone()];
        let mut joints = vec![Joint {
            name: "root".into(),
            parent: None,
            offset: Vector3::zeros(),
        }];
        let mut at = 0;
        while at < placed.len() {
            let parent = placed[at].clone();
            let of_parent = |bone: &Bone| {
                self.parents
                    .get(&bone.name)
                    .is_some_and(|(name, _)| *name == parent.name)
            };
            let (children, others) = waiting.into_iter().partition(of_parent);
            waiting = others;
            let children: Vec<Bone> = children;
            for mut child in children {
                child.extent *= self.unit;
                joints.push(Joint {
                    name: child.name.clone(),
                    parent: Some(at),
                    offset: parent.extent,
                });
                placed.push(child);
            }
            at += 1;
        }
        if let Some(bone) = waiting.first() {
            return Err(wrong(
                self.path,
                bone.line,
                format!(
                    "bone `{}` is not connected to the root, expected a tree",
                    bone.name
                ),
            ));
        }
        let ends = placed
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(index, bone)| {
                bone.extent != Vector3::zeros()
                    && joints.iter().all(|joint| joint.parent != Some(*index))
            })
            .map(|(index, bone)| (index, bone.extent))
            .collect();
        Ok(Asf {
            skeleton: Skeleton::new(joints, ends)?,
            bones: placed,
            unit: self.unit,
            position: self.position * self.unit,
        })
    }

    fn number(&self, line: usize, word: &str) -> Result<f64> {
        number(word).map_err(|what| wrong(self.path, line, format!("{what}, expected a number")))
    }

    fn vector(&self, line: usize, words: Option<&[&str]>) -> Result<Vector3<f64>> {
        let words =
            words.ok_or_else(|| wrong(self.path, line, "the line ends, expected three numbers"))?;
        Ok(Vector3::new(
            self.number(line, words[0])?,
            self.number(line, words[1])?,
            self.number(line, words[2])?,
        ))
    }

    fn channels(&self, line: usize, words: &[&str]) -> Result<Vec<Channel>> {
        let known = |word: &&str| match word.to_ascii_lowercase().as_str() {
            "tx" => Ok(Channel::Translation(0)),
            "ty" => Ok(Channel::Translation(1)),
            "tz" => Ok(Channel::Translation(2)),
            "rx" => Ok(Channel::Rotation(0)),
            "ry" => Ok(Channel::Rotation(1)),
            "rz" => Ok(Channel::Rotation(2)),
            _ => Err(wrong(
                self.path,
                line,
                format!(
                    "degree of freedom {}, expected tx, ty, tz, rx, ry or rz",
                    shown(word)
                ),
            )),
        };
        words.iter().map(known).collect()
    }
}
