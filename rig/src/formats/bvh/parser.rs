//! From the text of a BVH file to a clip.

use std::path::Path;

use nalgebra::{Unit, UnitQuaternion, Vector3};

use super::text::{self, number, shown, wrong};
use crate::{Clip, Error, Joint, Pose, Result, Skeleton};

/// Most joints that a file may have.
const MOST_JOINTS: usize = 1024;

/// How far position channels of a joint other than the root may stray from their mean, as a share
/// of the skeleton's extent.
const STRETCH: f64 = 0.02;

/// Reads a text; `path` is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<Clip> {
    let mut words = Words {
        lines: text::lines(text).collect::<Vec<_>>().into_iter(),
        rest: "",
        line: 1,
        path,
    };
    let mut hierarchy = Hierarchy::default();
    words.keyword("HIERARCHY")?;
    words.keyword("ROOT")?;
    hierarchy.read(&mut words)?;
    let count = words.header(&["frames"], "`Frames: COUNT`")?;
    if count < 1.0 || count.fract() != 0.0 {
        return Err(words.wrong(format!("{count} frames, expected a whole number from 1")));
    }
    let period = words.header(&["frame time", "frametime"], "`Frame Time: SECONDS`")?;
    if !(1e-5..=10.0).contains(&period) {
        return Err(words.wrong(format!(
            "a frame takes {period} s, expected 0.00001 to 10 s"
        )));
    }
    hierarchy.frames(words, count, rate(period))
}

/// Frames per second of a period that was rounded to some decimals: 0.0333333 s are 30.
fn rate(period: f64) -> f64 {
    let rate = 1.0 / period;
    let whole = rate.round();
    if (rate - whole).abs() < 1e-4 * whole {
        whole
    } else {
        rate
    }
}

#[derive(Debug, Clone, Copy)]
enum Channel {
    Position(usize),
    Rotation(usize),
}

#[derive(Default)]
struct Hierarchy {
    joints: Vec<Joint>,
    /// Lines on which the joints are named.
    named: Vec<usize>,
    ends: Vec<(usize, Vector3<f64>)>,
    /// Per joint; none until they were read.
    channels: Vec<Option<Vec<Channel>>>,
}

impl Hierarchy {
    /// From the name of the root to the word MOTION.
    fn read(&mut self, words: &mut Words<'_>) -> Result<()> {
        // A list in place of recursion, so that no file can exhaust the stack.
        let mut open = Vec::new();
        self.open(words, &mut open)?;
        let expected = "JOINT, End Site, OFFSET, CHANNELS or `}`";
        while let Some(&joint) = open.last() {
            let word = words.next(expected)?;
            match word.to_ascii_uppercase().as_str() {
                "JOINT" => self.open(words, &mut open)?,
                "END" | "ENDSITE" => self.end(words, joint, word.len() == 3)?,
                "OFFSET" => self.joints[joint].offset = words.vector()?,
                "CHANNELS" => {
                    let line = words.line;
                    let channels = words.channels()?;
                    if self.channels[joint].replace(channels).is_some() {
                        let name = &self.joints[joint].name;
                        return Err(wrong(
                            words.path,
                            line,
                            format!("joint `{name}` has CHANNELS twice, expected once"),
                        ));
                    }
                }
                "}" => {
                    open.pop();
                }
                _ => return Err(words.unexpected(word, expected)),
            }
        }
        let word = words.next("MOTION")?;
        if word.eq_ignore_ascii_case("ROOT") {
            return Err(words.wrong(
                "a second ROOT, expected MOTION: a clip has one character; split the file",
            ));
        }
        if !word.eq_ignore_ascii_case("MOTION") {
            return Err(words.unexpected(word, "MOTION"));
        }
        Ok(())
    }

    fn open(&mut self, words: &mut Words<'_>, open: &mut Vec<usize>) -> Result<()> {
        let name = words.name()?;
        if self.joints.len() == MOST_JOINTS {
            return Err(words.wrong(format!("more joints than {MOST_JOINTS}")));
        }
        if let Some(other) = self.joints.iter().position(|joint| joint.name == name) {
            return Err(words.wrong(format!(
                "joint {} was named on line {} already, expected a name of its own",
                shown(&name),
                self.named[other]
            )));
        }
        self.joints.push(Joint {
            name,
            parent: open.last().copied(),
            offset: Vector3::zeros(),
        });
        self.named.push(words.line);
        self.channels.push(None);
        open.push(self.joints.len() - 1);
        words.keyword("{")
    }

    fn end(&mut self, words: &mut Words<'_>, joint: usize, two_words: bool) -> Result<()> {
        if two_words {
            words.keyword("Site")?;
        }
        // Some exporters give the site a name.
        words.name_or_nothing()?;
        words.keyword("{")?;
        words.keyword("OFFSET")?;
        let offset = words.vector()?;
        words.keyword("}")?;
        if offset != Vector3::zeros() {
            self.ends.push((joint, offset));
        }
        Ok(())
    }

    /// The frames, one per line, and the clip that they make.
    fn frames(mut self, words: Words<'_>, count: f64, frame_rate: f64) -> Result<Clip> {
        let path = words.path;
        let mut last = words.line;
        if !words.rest.is_empty() {
            return Err(words.unexpected(words.rest, "nothing after the frame time"));
        }
        let channels: Vec<Vec<Channel>> = std::mem::take(&mut self.channels)
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        let columns: usize = channels.iter().map(Vec::len).sum();
        let mut rows: Vec<f64> = Vec::new();
        let mut frames = 0;
        for (line, content) in words.lines {
            if frames as f64 >= count {
                return Err(wrong(
                    path,
                    line,
                    format!("more data after {count} frames, expected the end of the file"),
                ));
            }
            let mut found = 0;
            for word in content.split_whitespace() {
                let value = number(word).map_err(|what| {
                    wrong(
                        path,
                        line,
                        format!("{what}, expected channel {} of {columns}", found + 1),
                    )
                })?;
                rows.push(value);
                found += 1;
            }
            if found != columns {
                return Err(wrong(
                    path,
                    line,
                    format!("{found} numbers, expected {columns}, one per channel"),
                ));
            }
            frames += 1;
            last = line;
        }
        if (frames as f64) < count {
            return Err(wrong(
                path,
                last,
                format!("the file ends after {frames} frames, expected {count}"),
            ));
        }
        if columns == 0 {
            return Err(wrong(path, last, "no joint has channels, expected some"));
        }
        self.settle_offsets(&channels, &rows, columns, path)?;
        let frames = rows
            .chunks_exact(columns)
            .map(|row| self.pose(&channels, row))
            .collect();
        Ok(Clip {
            skeleton: Skeleton::new(self.joints, self.ends)?,
            frame_rate,
            frames,
        })
    }

    /// Puts what position channels of joints other than the root say into the offsets.
    fn settle_offsets(
        &mut self,
        channels: &[Vec<Channel>],
        rows: &[f64],
        columns: usize,
        path: &Path,
    ) -> Result<()> {
        let count = rows.len() / columns;
        let mut column = channels[0].len();
        let mut settled = Vec::new();
        for (joint, channels) in channels.iter().enumerate().skip(1) {
            for channel in channels {
                if let Channel::Position(axis) = *channel {
                    let values = || rows[column..].iter().step_by(columns);
                    let mean = values().sum::<f64>() / count as f64;
                    let stray = values()
                        .map(|value| (value - mean).abs())
                        .fold(0.0, f64::max);
                    settled.push((joint, axis, mean, stray));
                }
                column += 1;
            }
        }
        // Channels that are zero throughout have nothing to say beside an OFFSET.
        let speaks = |joint: usize| {
            settled
                .iter()
                .any(|(on, _, mean, stray)| *on == joint && (*mean != 0.0 || *stray != 0.0))
        };
        for (joint, axis, mean, _) in settled.iter().filter(|place| speaks(place.0)) {
            self.joints[*joint].offset[*axis] = *mean;
        }
        let mut extent = 0.0_f64;
        let mut places = vec![Vector3::zeros(); self.joints.len()];
        for (index, joint) in self.joints.iter().enumerate() {
            if let Some(parent) = joint.parent {
                places[index] = places[parent] + joint.offset;
                extent = extent.max(Vector3::norm(&places[index]));
            }
        }
        for (joint, _, mean, stray) in settled {
            if stray > STRETCH * extent {
                return Err(wrong(
                    path,
                    self.named[joint],
                    format!(
                        "the position channels of joint `{}` vary by {stray} about {mean}, \
                         expected bones of fixed length; only the root may move: export without \
                         stretch",
                        self.joints[joint].name
                    ),
                ));
            }
        }
        Ok(())
    }

    fn pose(&self, channels: &[Vec<Channel>], row: &[f64]) -> Pose {
        let mut pose = Pose {
            root: self.joints[0].offset,
            rotations: Vec::with_capacity(channels.len()),
        };
        let mut values = row.iter();
        for (joint, channels) in channels.iter().enumerate() {
            let mut rotation = UnitQuaternion::identity();
            for (channel, value) in channels.iter().zip(values.by_ref()) {
                match *channel {
                    Channel::Rotation(axis) => {
                        let axis = Unit::new_unchecked(Vector3::ith(axis, 1.0));
                        rotation *= UnitQuaternion::from_axis_angle(&axis, value.to_radians());
                    }
                    Channel::Position(axis) if joint == 0 => pose.root[axis] = *value,
                    Channel::Position(_) => {}
                }
            }
            rotation.renormalize();
            pose.rotations.push(rotation);
        }
        pose
    }
}

/// The words of a text; braces are words of their own.
struct Words<'a> {
    lines: std::vec::IntoIter<(usize, &'a str)>,
    /// What is left of the current line, trimmed.
    rest: &'a str,
    line: usize,
    path: &'a Path,
}

impl<'a> Words<'a> {
    /// Goes on to a line with words; false at the end of the text.
    fn fill(&mut self) -> bool {
        while self.rest.is_empty() {
            let Some((line, content)) = self.lines.next() else {
                return false;
            };
            (self.line, self.rest) = (line, content);
        }
        true
    }

    fn next(&mut self, expected: &str) -> Result<&'a str> {
        if !self.fill() {
            return Err(self.wrong(format!("the file ends here, expected {expected}")));
        }
        let end = match self
            .rest
            .find(|c: char| c.is_whitespace() || c == '{' || c == '}')
        {
            Some(0) => 1,
            Some(end) => end,
            None => self.rest.len(),
        };
        Ok(self.take(end))
    }

    fn take(&mut self, end: usize) -> &'a str {
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word.trim_end()
    }

    fn keyword(&mut self, expected: &str) -> Result<()> {
        let word = self.next(expected)?;
        if word.eq_ignore_ascii_case(expected) {
            Ok(())
        } else {
            Err(self.unexpected(word, expected))
        }
    }

    /// The rest of the line up to a brace.
    fn name_or_nothing(&mut self) -> Result<&'a str> {
        let end = self.rest.find(['{', '}']).unwrap_or(self.rest.len());
        Ok(self.take(end))
    }

    fn name(&mut self) -> Result<String> {
        let name = self.name_or_nothing()?;
        if name.is_empty() {
            return Err(self.wrong("no name, expected the name of a joint on this line"));
        }
        if name.len() > 256 {
            return Err(self.wrong(format!(
                "a name of {} bytes, expected at most 256",
                name.len()
            )));
        }
        Ok(name.to_string())
    }

    fn number(&mut self, expected: &str) -> Result<f64> {
        let word = self.next(expected)?;
        number(word).map_err(|what| self.wrong(format!("{what}, expected {expected}")))
    }

    fn vector(&mut self) -> Result<Vector3<f64>> {
        Ok(Vector3::new(
            self.number("the x of an OFFSET")?,
            self.number("the y of an OFFSET")?,
            self.number("the z of an OFFSET")?,
        ))
    }

    fn channels(&mut self) -> Result<Vec<Channel>> {
        let count = self.number("the number of channels")?;
        if !(0.0..=6.0).contains(&count) || count.fract() != 0.0 {
            return Err(self.wrong(format!("{count} channels, expected 0 to 6")));
        }
        let expected = "a channel such as Xposition or Zrotation";
        (0..count as usize)
            .map(|_| {
                let word = self.next(expected)?;
                let axis = match word.as_bytes().first() {
                    Some(b'X' | b'x') => 0,
                    Some(b'Y' | b'y') => 1,
                    Some(b'Z' | b'z') => 2,
                    _ => return Err(self.unexpected(word, expected)),
                };
                match word[1..].to_ascii_lowercase().as_str() {
                    "position" => Ok(Channel::Position(axis)),
                    "rotation" => Ok(Channel::Rotation(axis)),
                    _ => Err(self.unexpected(word, expected)),
                }
            })
            .collect()
    }

    /// A line such as `Frames: 120`, with any spaces; its key is one of `keys`, in lower case.
    fn header(&mut self, keys: &[&str], expected: &str) -> Result<f64> {
        if !self.fill() {
            return Err(self.wrong(format!("the file ends here, expected {expected}")));
        }
        let content = std::mem::take(&mut self.rest);
        let (key, value) = content
            .split_once(':')
            .or_else(|| content.rsplit_once(char::is_whitespace))
            .unwrap_or((content, ""));
        let key: Vec<String> = key
            .split_whitespace()
            .map(str::to_ascii_lowercase)
            .collect();
        if !keys.contains(&key.join(" ").as_str()) {
            return Err(self.unexpected(content, expected));
        }
        number(value.trim()).map_err(|what| self.wrong(format!("{what}, expected {expected}")))
    }

    fn unexpected(&self, word: &str, expected: &str) -> Error {
        self.wrong(format!("{} found, expected {expected}", shown(word)))
    }

    fn wrong(&self, reason: impl Into<String>) -> Error {
        wrong(self.path, self.line, reason)
    }
}
