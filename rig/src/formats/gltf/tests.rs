use super::*;
use crate::{Pose, character};

/// A second of the character turning about itself while it moves ahead.
fn turning() -> Clip {
    let skeleton = character::skeleton();
    let frames = (0..31)
        .map(|frame| Pose {
            root: Vector3::new(0.0, character::HIPS_HEIGHT, 0.05 * frame as f64),
            rotations: (0..skeleton.len())
                .map(|joint| {
                    let turn = if joint % 3 == 0 {
                        0.25 * frame as f64
                    } else {
                        0.1
                    };
                    UnitQuaternion::from_axis_angle(&Vector3::y_axis(), turn)
                })
                .collect(),
        })
        .collect();
    Clip {
        skeleton,
        frame_rate: 30.0,
        frames,
    }
}

/// Chunks of a file, checked for their lengths.
fn opened(bytes: &[u8]) -> (Value, Vec<u8>) {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(&bytes[..4], b"glTF");
    assert_eq!((word(4), word(8)), (2, bytes.len()));
    let json = word(12);
    assert_eq!(&bytes[16..20], b"JSON");
    let binary = 20 + json + 8;
    assert_eq!(&bytes[binary - 4..binary], b"BIN\0");
    assert_eq!(binary + word(binary - 8), bytes.len());
    let document = serde_json::from_slice(&bytes[20..20 + json]).unwrap();
    (document, bytes[binary..].to_vec())
}

fn floats(document: &Value, binary: &[u8], accessor: &Value) -> Vec<f32> {
    let accessor = &document["accessors"][accessor.as_u64().unwrap() as usize];
    let view = &document["bufferViews"][accessor["bufferView"].as_u64().unwrap() as usize];
    let at = |key: &str| view[key].as_u64().unwrap() as usize;
    assert_eq!(at("byteOffset") % 4, 0);
    binary[at("byteOffset")..][..at("byteLength")]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
fn what_is_written_is_the_clip() {
    let clip = turning();
    let (document, binary) = opened(&encode(&clip).unwrap());
    let nodes = document["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), clip.skeleton.len());
    for (index, joint) in clip.skeleton.joints().iter().enumerate() {
        assert_eq!(nodes[index]["name"], joint.name);
        if let Some(parent) = joint.parent {
            let children = nodes[parent]["children"].as_array().unwrap();
            assert!(children.contains(&json!(index)));
            let translation = nodes[index]["translation"].as_array().unwrap();
            let x = translation[0].as_f64().unwrap();
            assert!((x - joint.offset.x).abs() < 1e-6);
        }
    }
    let animation = &document["animations"][0];
    let channels = animation["channels"].as_array().unwrap();
    assert_eq!(channels.len(), clip.skeleton.len() + 1);
    for channel in channels {
        let sampler = &animation["samplers"][channel["sampler"].as_u64().unwrap() as usize];
        let times = floats(&document, &binary, &sampler["input"]);
        assert_eq!(times.len(), 31);
        assert!((times[30] - 1.0).abs() < 1e-6);
        let values = floats(&document, &binary, &sampler["output"]);
        let node = channel["target"]["node"].as_u64().unwrap() as usize;
        if channel["target"]["path"] == "translation" {
            assert_eq!((node, values.len()), (0, 3 * 31));
            assert!((values[3 * 30 + 2] - 1.5).abs() < 1e-6);
            continue;
        }
        for (frame, q) in values.chunks_exact(4).enumerate() {
            let [x, y, z, w] = [q[0], q[1], q[2], q[3]].map(f64::from);
            let read = UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(w, x, y, z));
            assert!(read.angle_to(&clip.frames[frame].rotations[node]) < 1e-3);
            if frame > 0 {
                let last = &values[4 * frame - 4..4 * frame];
                assert!(last.iter().zip(q).map(|(a, b)| a * b).sum::<f32>() > 0.0);
            }
        }
    }
}

#[test]
fn bones_are_closed_and_face_outwards() {
    let (vertices, indices) = bones(&[Vector3::new(0.1, 0.4, -0.2), Vector3::x()]);
    let corner = |index: u16| {
        let at = 3 * index as usize;
        Vector3::new(vertices[at], vertices[at + 1], vertices[at + 2])
    };
    assert_eq!(indices.len(), 2 * 8 * 3);
    for (bone, faces) in indices.chunks_exact(24).enumerate() {
        let centre = (corner(6 * bone as u16) + corner(6 * bone as u16 + 5)) * 0.2;
        for face in faces.chunks_exact(3) {
            let [a, b, c] = [corner(face[0]), corner(face[1]), corner(face[2])];
            assert!((b - a).cross(&(c - a)).dot(&(a - centre)) > 0.0);
        }
    }
}

#[test]
fn clips_without_a_picture_are_refused() {
    let mut clip = turning();
    clip.frames[3].root.x = f64::NAN;
    assert!(encode(&clip).unwrap_err().contains("finite"));
    clip.frames.clear();
    assert!(encode(&clip).unwrap_err().contains("no frames"));
}
