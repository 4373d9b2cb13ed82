//! Binary glTF 2.0 (.glb): joints as nodes, the motion as one animation, and a bone-shaped mesh on
//! every joint, so that any viewer shows it.
//!
//! glTF's world is ours: metres, Y up, a character faces +Z. Clips in another unit are to be scaled
//! first. Rotations have a sampler per joint and the place of the root has one; all are linear over
//! shared times, so a viewer that interpolates them does as [`Clip::at`] does.

#[cfg(test)]
mod tests;

use std::path::Path;

use nalgebra::{UnitQuaternion, Vector3};
use serde_json::{Value, json};

use super::text;
use crate::{Clip, Error, Result};

/// Component types of the specification, section 5.1.3.
const UNSIGNED_SHORT: u32 = 5123;
const FLOAT: u32 = 5126;

/// What views of the buffer are for, section 5.11.5.
const VERTICES: u32 = 34962;
const INDICES: u32 = 34963;

/// Half the width of a bone, as a share of its length.
const GIRTH: f64 = 0.12;

/// Length of the bone of a joint that nothing follows, as a share of its distance to its parent.
const STUB: f64 = 0.3;

/// Writes a clip in metres, atomically.
///
/// # Errors
/// A clip without frames, with numbers that are not finite, or above 4 GiB; a file that cannot be
/// written.
pub fn write(path: &Path, clip: &Clip) -> Result<()> {
    text::replace(
        path,
        &encode(clip).map_err(|reason| Error::Data {
            path: path.to_path_buf(),
            reason,
        })?,
    )
}

/// The bytes of the file, or what is wrong with the clip.
fn encode(clip: &Clip) -> std::result::Result<Vec<u8>, String> {
    if clip.frames.is_empty() {
        return Err("the clip has no frames, expected at least one".into());
    }
    let joints = clip.skeleton.joints();
    let finite = clip.frames.iter().all(|pose| {
        pose.rotations.len() == joints.len()
            && pose.root.iter().all(|value| value.is_finite())
            && pose
                .rotations
                .iter()
                .all(|rotation| rotation.coords.iter().all(|value| value.is_finite()))
    });
    if !(finite && clip.frame_rate.is_finite() && clip.frame_rate > 0.0) {
        return Err(
            "the clip has a number that is not finite or a pose with other joints than the \
                    skeleton, expected finite numbers and a rotation per joint"
                .into(),
        );
    }
    let mut buffer = Buffer::default();
    let times: Vec<f32> = (0..clip.frames.len())
        .map(|frame| (frame as f64 / clip.frame_rate) as f32)
        .collect();
    let times = buffer.floats("SCALAR", 1, &times, true, None);

    let mut nodes = Vec::with_capacity(joints.len());
    let mut meshes = Vec::with_capacity(joints.len());
    let mut channels = Vec::with_capacity(joints.len() + 1);
    let mut samplers = Vec::with_capacity(joints.len() + 1);
    let mut channel = |node: usize, what: &str, output: usize| {
        channels.push(json!({
            "sampler": samplers.len(),
            "target": { "node": node, "path": what },
        }));
        samplers.push(json!({ "input": times, "output": output, "interpolation": "LINEAR" }));
    };
    let places: Vec<f32> = clip
        .frames
        .iter()
        .flat_map(|pose| {
            pose.root
                .iter()
                .map(|value| *value as f32)
                .collect::<Vec<_>>()
        })
        .collect();
    channel(
        0,
        "translation",
        buffer.floats("VEC3", 3, &places, false, None),
    );
    for (index, joint) in joints.iter().enumerate() {
        let children: Vec<usize> = (index + 1..joints.len())
            .filter(|child| joints[*child].parent == Some(index))
            .collect();
        let offset = if index == 0 {
            clip.frames[0].root
        } else {
            joint.offset
        };
        let mut node = json!({
            "name": joint.name,
            "translation": [offset.x as f32, offset.y as f32, offset.z as f32],
            "rotation": quaternion(&clip.frames[0].rotations[index], None),
            "mesh": meshes.len(),
        });
        if !children.is_empty() {
            node["children"] = json!(children);
        }
        nodes.push(node);

        let ends = clip.skeleton.ends().iter().filter(|(on, _)| *on == index);
        let mut tips: Vec<Vector3<f64>> = children
            .iter()
            .map(|child| joints[*child].offset)
            .chain(ends.map(|(_, offset)| *offset))
            .filter(|tip| tip.norm() > 1e-6)
            .collect();
        if tips.is_empty() {
            let length = joint.offset.norm() * STUB;
            tips.push(Vector3::y() * if length > 1e-6 { length } else { 0.05 });
        }
        let (vertices, indices) = bones(&tips);
        let vertices = buffer.floats("VEC3", 3, &vertices, true, Some(VERTICES));
        let indices = buffer.indices(&indices);
        meshes.push(json!({
            "name": joint.name,
            "primitives": [{
                "attributes": { "POSITION": vertices },
                "indices": indices,
                "material": side(&joint.name),
            }],
        }));

        let mut rotations: Vec<f32> = Vec::with_capacity(4 * clip.frames.len());
        let mut before = None;
        for pose in &clip.frames {
            let now = quaternion(&pose.rotations[index], before);
            rotations.extend(now);
            before = Some(now);
        }
        channel(
            index,
            "rotation",
            buffer.floats("VEC4", 4, &rotations, false, None),
        );
    }

    let material = |name: &str, colour: [f32; 4]| {
        json!({
            "name": name,
            "doubleSided": true,
            "pbrMetallicRoughness": {
                "baseColorFactor": colour,
                "metallicFactor": 0.0,
                "roughnessFactor": 0.8,
            },
        })
    };
    let document = json!({
        "asset": {
            "version": "2.0",
            "generator": concat!("kinestream ", env!("CARGO_PKG_VERSION")),
        },
        "scene": 0,
        "scenes": [{ "nodes": [0] }],
        "nodes": nodes,
        "meshes": meshes,
        "materials": [
            material("middle", [0.75, 0.75, 0.75, 1.0]),
            material("left", [0.25, 0.5, 0.9, 1.0]),
            material("right", [0.9, 0.5, 0.2, 1.0]),
        ],
        "animations": [{ "name": "motion", "channels": channels, "samplers": samplers }],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{ "byteLength": buffer.bytes.len() }],
    });
    container(&document, buffer.bytes)
}

/// Which material a joint has: 0 in the middle, 1 left, 2 right.
fn side(name: &str) -> usize {
    let name = name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase();
    match () {
        () if name.starts_with("left") || name.starts_with("l_") => 1,
        () if name.starts_with("right") || name.starts_with("r_") => 2,
        () => 0,
    }
}

/// Components x, y, z, w, in the half of the sphere where the one before lies.
fn quaternion(rotation: &UnitQuaternion<f64>, before: Option<[f32; 4]>) -> [f32; 4] {
    let q = [rotation.i, rotation.j, rotation.k, rotation.w].map(|value| value as f32);
    let flipped =
        before.is_some_and(|before| before.iter().zip(&q).map(|(a, b)| a * b).sum::<f32>() < 0.0);
    if flipped { q.map(|value| -value) } else { q }
}

/// Octahedra from the origin to the tips, thickest at a fifth of their length: corners, and three
/// indices per face, seen from outside counter-clockwise.
fn bones(tips: &[Vector3<f64>]) -> (Vec<f32>, Vec<u16>) {
    let (mut vertices, mut indices) = (Vec::new(), Vec::new());
    for tip in tips {
        let first = (vertices.len() / 3) as u16;
        let least = Vector3::ith(tip.iamin(), 1.0);
        let side = tip.cross(&least).normalize() * (tip.norm() * GIRTH);
        let front = tip.normalize().cross(&side);
        let middle = tip * 0.2;
        let corners = [
            Vector3::zeros(),
            middle + side,
            middle + front,
            middle - side,
            middle - front,
            *tip,
        ];
        vertices.extend(
            corners
                .iter()
                .flat_map(|corner| [corner.x as f32, corner.y as f32, corner.z as f32]),
        );
        for [a, b] in [[1, 2], [2, 3], [3, 4], [4, 1]] {
            indices.extend([0, b, a, 5, a, b].map(|corner: u16| first + corner));
        }
    }
    (vertices, indices)
}

/// The binary part, and what describes it.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl Buffer {
    /// Appends numbers; answers with the index of their accessor.
    fn floats(
        &mut self,
        kind: &str,
        width: usize,
        values: &[f32],
        bounds: bool,
        target: Option<u32>,
    ) -> usize {
        let start = self.bytes.len();
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let mut accessor = json!({
            "bufferView": self.views.len(),
            "componentType": FLOAT,
            "count": values.len() / width,
            "type": kind,
        });
        if bounds {
            let bound = |fold: fn(f32, f32) -> f32, from: f32| -> Vec<f32> {
                (0..width)
                    .map(|column| {
                        values
                            .iter()
                            .skip(column)
                            .step_by(width)
                            .copied()
                            .fold(from, fold)
                    })
                    .collect()
            };
            accessor["min"] = json!(bound(f32::min, f32::INFINITY));
            accessor["max"] = json!(bound(f32::max, f32::NEG_INFINITY));
        }
        self.finish(start, accessor, target)
    }

    fn indices(&mut self, values: &[u16]) -> usize {
        let start = self.bytes.len();
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let accessor = json!({
            "bufferView": self.views.len(),
            "componentType": UNSIGNED_SHORT,
            "count": values.len(),
            "type": "SCALAR",
        });
        self.finish(start, accessor, Some(INDICES))
    }

    fn finish(&mut self, start: usize, accessor: Value, target: Option<u32>) -> usize {
        let mut view = json!({
            "buffer": 0,
            "byteOffset": start,
            "byteLength": self.bytes.len() - start,
        });
        if let Some(target) = target {
            view["target"] = json!(target);
        }
        self.views.push(view);
        self.accessors.push(accessor);
        // Every accessor starts at a multiple of four bytes.
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.accessors.len() - 1
    }
}

/// Header and two chunks: JSON padded with spaces, binary padded with zeros (section 4 of the
/// specification).
fn container(document: &Value, binary: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
    let mut json = document.to_string().into_bytes();
    json.resize(json.len().next_multiple_of(4), b' ');
    let total = 12 + 8 + json.len() + 8 + binary.len();
    let word = |value: usize| {
        u32::try_from(value)
            .map(u32::to_le_bytes)
            .map_err(|_| format!("{total} bytes, expected less than 4 GiB; cut the clip"))
    };
    let mut bytes = Vec::with_capacity(total);
    bytes.extend(b"glTF");
    bytes.extend(2u32.to_le_bytes());
    bytes.extend(word(total)?);
    bytes.extend(word(json.len())?);
    bytes.extend(b"JSON");
    bytes.extend(json);
    bytes.extend(word(binary.len())?);
    bytes.extend(b"BIN\0");
    bytes.extend(binary);
    Ok(bytes)
}
