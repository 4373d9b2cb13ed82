//! CMU clips as exponential maps: text files of the human motion prediction literature, 120 frames
//! per second. Every line is a frame of 117 numbers with commas between: the place of the root,
//! then for each of 38 joints its rotation against its parent as axis times angle.
//!
//! The files hold no skeleton. Parents and offsets of the 38 joints are facts stated in
//! `utils/forward_kinematics.py` (`_some_variables_cmu`) of wei-mao-2019/LearnTrajDep (MIT), there
//! times 70; here they are in CMU's unit of 1/0.45 inch, as the root's places are. That code
//! multiplies row vectors, so its rotations are the inverses of ours. One skeleton stands for all
//! subjects. As in CMU's BVH files, bones with several children (thorax, wrists) have no length.

use std::path::Path;

use nalgebra::{UnitQuaternion, Vector3};

use super::text::{self, lines, number, wrong};
use crate::{Clip, Joint, Pose, Result, Skeleton};

/// Frames per second.
const FRAME_RATE: f64 = 120.0;

/// Metres per unit of length.
pub const UNIT: f64 = 0.0254 / 0.45;

/// Numbers per line.
const COLUMNS: usize = 3 + 3 * NODES.len();

/// Reads a file; lengths stay in its unit, [`UNIT`]. Joints have the names of CMU's ASF files.
///
/// # Errors
/// The file cannot be read, has no frames, or a line does not have 117 finite numbers.
pub fn read(path: &Path) -> Result<Clip> {
    parse(&text::read(path)?, path)
}

/// Reads a text; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Clip> {
    let skeleton = skeleton()?;
    let mut frames = Vec::new();
    let mut row = Vec::with_capacity(COLUMNS);
    for (line, content) in lines(text) {
        row.clear();
        for word in content.split(',') {
            let value = number(word.trim()).map_err(|what| {
                wrong(
                    path,
                    line,
                    format!("{what}, expected number {} of {COLUMNS}", row.len() + 1),
                )
            })?;
            row.push(value);
        }
        if row.len() != COLUMNS {
            return Err(wrong(
                path,
                line,
                format!(
                    "{} numbers, expected {COLUMNS} with commas between: 3 of the root and 3 of each of \
                     {} joints",
                    row.len(),
                    NODES.len()
                ),
            ));
        }
        let vectors: Vec<Vector3<f64>> = row
            .chunks_exact(3)
            .map(Vector3::from_column_slice)
            .collect();
        frames.push(Pose {
            root: vectors[0],
            rotations: NODES
                .iter()
                .zip(&vectors[1..])
                .filter(|((name, _, _), _)| !name.is_empty())
                .map(|(_, map)| UnitQuaternion::from_scaled_axis(-map))
                .collect(),
        });
    }
    if frames.is_empty() {
        return Err(wrong(
            path,
            1,
            "no frames, expected at least one line of numbers",
        ));
    }
    Ok(Clip {
        skeleton,
        frame_rate: FRAME_RATE,
        frames,
    })
}

/// Whether a text begins like one of these files: a first line of 117 numbers.
pub fn looks_like(text: &str) -> bool {
    lines(text).next().is_some_and(|(_, line)| {
        line.split(',').count() == COLUMNS
            && line.split(',').all(|word| number(word.trim()).is_ok())
    })
}

fn skeleton() -> Result<Skeleton> {
    let mut joints: Vec<Joint> = Vec::new();
    let mut ends = Vec::new();
    for (index, (name, parent, offset)) in NODES.iter().enumerate() {
        let parent = (index > 0)
            .then(|| {
                joints
                    .iter()
                    .position(|joint| joint.name == NODES[*parent].0)
            })
            .flatten();
        let offset = Vector3::from(*offset);
        match parent.filter(|_| name.is_empty()) {
            Some(parent) => ends.push((parent, offset)),
            None => joints.push(Joint {
                name: (*name).to_string(),
                parent,
                offset,
            }),
        }
    }
    Skeleton::new(joints, ends)
}

/// Name (none of points that do not turn), parent and offset of the 38 nodes.
const NODES: [(&str, usize, [f64; 3]); 38] = [
    ("root", 0, [0.0, 0.0, 0.0]),
    ("lhipjoint", 0, [0.0, 0.0, 0.0]),
    ("lfemur", 1, [1.65674, -1.80282, 0.62477]),
    ("ltibia", 2, [2.59720, -7.13576, 0.0]),
    ("lfoot", 3, [2.49236, -6.84770, 0.0]),
    ("ltoes", 4, [0.19704, -0.54136, 2.14581]),
    ("", 5, [0.0, 0.0, 1.11249]),
    ("rhipjoint", 0, [0.0, 0.0, 0.0]),
    ("rfemur", 7, [-1.61070, -1.80282, 0.62476]),
    ("rtibia", 8, [-2.59502, -7.12977, 0.0]),
    ("rfoot", 9, [-2.46780, -6.78024, 0.0]),
    ("rtoes", 10, [-0.23024, -0.63258, 2.13368]),
    ("", 11, [0.0, 0.0, 1.11569]),
    ("lowerback", 0, [0.0, 0.0, 0.0]),
    ("upperback", 13, [0.01961, 2.05450, -0.14112]),
    ("thorax", 14, [0.01021, 2.06436, -0.05921]),
    ("lowerneck", 15, [0.0, 0.0, 0.0]),
    ("upperneck", 16, [0.00713, 1.56711, 0.14968]),
    ("head", 17, [0.03429, 1.56041, -0.10006]),
    ("", 18, [0.01305, 1.62560, -0.05265]),
    ("lclavicle", 15, [0.0, 0.0, 0.0]),
    ("lhumerus", 20, [3.54205, 0.90436, -0.17364]),
    ("lradius", 21, [4.86513, 0.0, 0.0]),
    ("lwrist", 22, [3.35554, 0.0, 0.0]),
    ("lhand", 23, [0.0, 0.0, 0.0]),
    ("lfingers", 24, [0.66117, 0.0, 0.0]),
    ("", 25, [0.53306, 0.0, 0.0]),
    ("lthumb", 23, [0.0, 0.0, 0.0]),
    ("", 27, [0.54120, 0.0, 0.54120]),
    ("rclavicle", 15, [0.0, 0.0, 0.0]),
    ("rhumerus", 29, [-3.49802, 0.75994, -0.32616]),
    ("rradius", 30, [-5.02649, 0.0, 0.0]),
    ("rwrist", 31, [-3.36431, 0.0, 0.0]),
    ("rhand", 32, [0.0, 0.0, 0.0]),
    ("rfingers", 33, [-0.73041, 0.0, 0.0]),
    ("", 34, [-0.58887, 0.0, 0.0]),
    ("rthumb", 32, [0.0, 0.0, 0.0]),
    ("", 36, [-0.59786, 0.0, 0.59786]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[(usize, f64)]) -> String {
        let mut row = vec!["0".to_string(); COLUMNS];
        for (column, value) in values {
            row[*column] = value.to_string();
        }
        row.join(",") + "\r\n"
    }

    #[test]
    fn a_frame_turns_the_joints_it_names() {
        // The thigh of the left leg, node 2, by a quarter about x: forwards or back.
        let quarter = std::f64::consts::FRAC_PI_2;
        let text = line(&[(1, 17.0), (3 + 6, quarter)]) + "\n" + &line(&[]);
        assert!(looks_like(&text));
        let clip = parse(&text, Path::new("walk.txt")).unwrap();
        assert_eq!((clip.frames.len(), clip.skeleton.len()), (2, 31));
        let global = clip.skeleton.forward(&clip.frames[0]);
        let at = |name: &str| global.positions[clip.skeleton.index(name).unwrap()];
        assert_eq!(at("root").y, 17.0);
        let thigh = at("ltibia") - at("lfemur");
        assert!(
            thigh.y.abs() < 1e-9 && (thigh.z - 7.13576).abs() < 1e-9,
            "{thigh}"
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let refused = |text: &str, words: &str| {
            let message = parse(text, Path::new("walk.txt")).unwrap_err().to_string();
            assert!(
                message.starts_with("walk.txt:") && message.contains(words),
                "{message}"
            );
        };
        refused("", "no frames");
        refused("1,2,3", ":1: 3 numbers, expected 117");
        refused(
            &(line(&[]) + &line(&[(4, f64::NAN)])),
            ":2: `NaN` is not finite, expected number 5",
        );
        refused(
            &line(&[]).replacen(",0", ",x", 1),
            "`x` is no number, expected number 2",
        );
    }
}
