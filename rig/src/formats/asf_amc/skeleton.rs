//! From the text of an ASF file to a skeleton.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use nalgebra::{UnitQuaternion, Vector3};

use super::text::{lines, number, shown, wrong};
use super::{Asf, Bone, Channel, about};
use crate::{Joint, Result, Skeleton};

/// Most bones that a file may have.
const MOST_BONES: usize = 1024;

/// Reads a skeleton; `path` is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<Asf> {
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
            "orientation" => {
                let turned = self.vector(line, words.get(1..4))? != Vector3::zeros();
                let reason = "an orientation of the root, expected 0 0 0";
                return if turned {
                    Err(wrong(self.path, line, reason))
                } else {
                    Ok(())
                };
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
                        "a bone that is displaced, expected rx, ry, rz only: bones have a fixed \
                         length",
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
                let root = name == "root" && name == parent;
                if !(root || known.contains(name)) {
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
        // Parents before children: those whose parent has its place, one parent after the other.
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
