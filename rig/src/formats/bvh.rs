//! Biovision hierarchies (BVH): one skeleton, and one line of channel values per frame.
//!
//! Rotations are applied in the order of the channels, each about the axis as those before it left
//! it. Position channels of the root are absolute and take the place of its OFFSET: exporters that
//! write an OFFSET beside them (ACCAD) repeat the place of the first frame there, and adding both
//! would lift the character to twice its height. Position channels of other joints take the place
//! of their OFFSET too, unless they are all zero. A skeleton has bones of fixed length, so values
//! that change must stay within 2 % of the skeleton's extent, and their mean is used.
//!
//! Tolerated, because it is found: any white space and line ends, any case of keywords, channels in
//! any order and number, `Frames :` and `FrameTime:`, names with spaces, braces on the line of the
//! name. An End Site at zero says nothing and is left out.

mod parser;

use std::fmt::Write as _;
use std::path::Path;

use nalgebra::{UnitQuaternion, Vector3};

use super::text;
use crate::{Clip, Error, Result};

/// Reads a file; lengths stay in its unit.
///
/// # Errors
/// The file cannot be read, or a line is not what it should be.
pub fn read(path: &Path) -> Result<Clip> {
    parse(&text::read(path)?, path)
}

/// Reads a text; `path` is for messages.
///
/// # Errors
/// A line that is not what it should be.
pub fn parse(text: &str, path: &Path) -> Result<Clip> {
    parser::parse(text, path)
}

/// Writes a clip in its own unit, atomically: rotation channels Z X Y, for the root absolute
/// positions before them and an OFFSET of zero. Joints come depth first, white space in their names
/// becomes `_`, and numbers have six decimals.
///
/// # Errors
/// A clip without frames, with numbers that are not finite or with names that become equal; a file
/// that cannot be written.
pub fn write(path: &Path, clip: &Clip) -> Result<()> {
    text::replace(path, print(path, clip)?.as_bytes())
}

/// What [`write`] writes; `path` is for messages.
fn print(path: &Path, clip: &Clip) -> Result<String> {
    let refused = |reason: String| Error::Data {
        path: path.to_path_buf(),
        reason,
    };
    if clip.frames.is_empty() {
        return Err(refused(
            "the clip has no frames, expected at least one".into(),
        ));
    }
    if !(1e-1..=1e5).contains(&clip.frame_rate) {
        return Err(refused(format!(
            "{} frames per second, expected 0.1 to 100000",
            clip.frame_rate
        )));
    }
    let joints = clip.skeleton.joints();
    let name = |joint: usize| {
        let words: Vec<&str> = joints[joint].name.split_whitespace().collect();
        words.join("_").replace(['{', '}'], "_")
    };
    let mut names: Vec<String> = (0..joints.len()).map(name).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(refused(format!(
            "two joints would be named `{}` in a BVH file; rename one",
            pair[0]
        )));
    }
    let mut output = String::from("HIERARCHY\n");
    let mut order = Vec::with_capacity(joints.len());
    // What is still to be written: a joint with its depth, or the closing brace of one.
    let mut open = vec![(0, 0, false)];
    while let Some((joint, depth, close)) = open.pop() {
        let indent = "\t".repeat(depth);
        if close {
            let _ = writeln!(output, "{indent}}}");
            continue;
        }
        order.push(joint);
        let (kind, offset, channels) = match joints[joint].parent {
            None => (
                "ROOT",
                Vector3::zeros(),
                "6 Xposition Yposition Zposition Zrotation Xrotation Yrotation",
            ),
            Some(_) => (
                "JOINT",
                joints[joint].offset,
                "3 Zrotation Xrotation Yrotation",
            ),
        };
        let _ = write!(
            output,
            "{indent}{kind} {}\n{indent}{{\n{indent}\tOFFSET {}\n{indent}\tCHANNELS {channels}\n",
            name(joint),
            vector(&offset),
        );
        let children =
            |parent| (1..joints.len()).filter(move |child| joints[*child].parent == Some(parent));
        let mut ends: Vec<Vector3<f64>> = (clip.skeleton.ends().iter())
            .filter(|(on, _)| *on == joint)
            .map(|(_, offset)| *offset)
            .collect();
        // Other readers expect every branch to finish with an End Site.
        if ends.is_empty() && children(joint).next().is_none() {
            ends.push(Vector3::zeros());
        }
        for end in ends {
            let _ = write!(
                output,
                "{indent}\tEnd Site\n{indent}\t{{\n{indent}\t\tOFFSET {}\n{indent}\t}}\n",
                vector(&end)
            );
        }
        open.push((joint, depth, true));
        let first = open.len();
        open.extend(children(joint).map(|child| (child, depth + 1, false)));
        open[first..].reverse();
    }
    let _ = write!(
        output,
        "MOTION\nFrames: {}\nFrame Time: {:.9}\n",
        clip.frames.len(),
        1.0 / clip.frame_rate
    );
    for (index, pose) in clip.frames.iter().enumerate() {
        let finite = pose.root.iter().all(|value| value.is_finite())
            && pose
                .rotations
                .iter()
                .all(|rotation| rotation.coords.iter().all(|value| value.is_finite()));
        if !finite || pose.rotations.len() != joints.len() {
            return Err(refused(format!(
                "frame {index} has {} rotations or a number that is not finite, expected {} and \
                 finite numbers",
                pose.rotations.len(),
                joints.len()
            )));
        }
        output.push_str(&vector(&pose.root));
        for joint in &order {
            let [z, x, y] = zxy(&pose.rotations[*joint]);
            let _ = write!(output, " {}", vector(&Vector3::new(z, x, y)));
        }
        output.push('\n');
    }
    Ok(output)
}

fn vector(vector: &Vector3<f64>) -> String {
    format!("{:.6} {:.6} {:.6}", vector.x, vector.y, vector.z)
}

/// Angles in degrees about Z, X and Y with rotation = Z * X * Y.
fn zxy(rotation: &UnitQuaternion<f64>) -> [f64; 3] {
    let m = rotation.to_rotation_matrix();
    let m = m.matrix();
    let x = m[(2, 1)].clamp(-1.0, 1.0).asin();
    let (z, y) = if m[(2, 1)].abs() < 1.0 - 1e-12 {
        ((-m[(0, 1)]).atan2(m[(1, 1)]), (-m[(2, 0)]).atan2(m[(2, 2)]))
    } else {
        // Z and Y turn about the same axis: all of it is put into Z.
        (m[(1, 0)].atan2(m[(0, 0)]), 0.0)
    };
    [z.to_degrees(), x.to_degrees(), y.to_degrees()]
}
