//! BVH files: written and read back, as found in the wild, and broken.

use std::path::Path;

use kinestream_rig::formats::bvh;
use kinestream_rig::{Clip, Joint, Pose, Skeleton};
use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use proptest::prelude::*;

/// Two joints and an end; the second with a position channel set of its own where asked for.
const PLAIN: &str = "HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Knee
  {
    OFFSET 0 -1 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 -1 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 5 0 0 0 0 90 0 0
0 5 1 0 0 90 0 0 0
";

fn parsed(text: &str) -> Clip {
    bvh::parse(text, Path::new("a.bvh")).unwrap()
}

fn refused(text: &str, words: &str) {
    let message = bvh::parse(text, Path::new("a.bvh"))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("a.bvh:") && message.contains(words),
        "{message}"
    );
}

#[test]
fn the_roots_channels_take_the_place_of_its_offset() {
    let clip = parsed(PLAIN);
    assert_eq!((clip.frame_rate, clip.frames.len()), (30.0, 2));
    let global = clip.skeleton.forward(&clip.frames[0]);
    assert!((global.positions[0] - Vector3::new(0.0, 5.0, 0.0)).norm() < 1e-12);
    assert!((global.positions[1] - Vector3::new(0.0, 4.0, 0.0)).norm() < 1e-12);
    let end = global.positions[1] + global.rotations[1] * clip.skeleton.ends()[0].1;
    assert!((end - Vector3::new(1.0, 4.0, 0.0)).norm() < 1e-9);
}

#[test]
fn channels_apply_in_their_order_each_about_the_axis_as_turned() {
    // A quarter about Z brings X to Y; a quarter about the turned X, then, brings Z to it too.
    let text = PLAIN.replace("0 5 0 0 0 0 90 0 0", "0 5 0 90 90 0 0 0 0");
    let turned = parsed(&text).frames[0].rotations[0];
    assert!((turned * Vector3::x() - Vector3::y()).norm() < 1e-9);
    assert!((turned * Vector3::y() - Vector3::z()).norm() < 1e-9);
    let other = text.replacen(
        "Zrotation Xrotation Yrotation",
        "Xrotation Zrotation Yrotation",
        1,
    );
    let turned = parsed(&other).frames[0].rotations[0];
    assert!((turned * Vector3::x() - Vector3::z()).norm() < 1e-9);
}

#[test]
fn what_is_found_in_the_wild_is_read() {
    let usual = parsed(PLAIN);
    let variants = [
        PLAIN.replace('\n', "\r\n"),
        PLAIN.replace("  ", "\t").replace("OFFSET ", "Offset\t "),
        format!("\u{feff}\n\n{PLAIN}\n\n"),
        PLAIN
            .replace("Frames: 2", "FRAMES :\t2")
            .replace("Frame Time: ", "FrameTime:"),
        PLAIN.replace("Frames: 2", "Frames 2"),
        PLAIN
            .replace("0.0333333", ".3333333e-1")
            .replace("90", "9.0E+1"),
        PLAIN
            .replace("Hips\n{", "Hips {")
            .replace("Knee\n  {", "Knee{"),
        PLAIN.replace("End Site", "End site"),
    ];
    for text in &variants {
        let clip = parsed(text);
        assert_eq!(clip.frames, usual.frames, "{text}");
        assert_eq!(clip.skeleton, usual.skeleton, "{text}");
        assert_eq!(clip.frame_rate, 30.0);
    }
    let spaced = parsed(&PLAIN.replace("Knee", "Left Knee"));
    assert_eq!(spaced.skeleton.joints()[1].name, "Left Knee");
    let nothing = parsed(&PLAIN.replace("      OFFSET 0 -1 0", "      OFFSET 0 0 0"));
    assert!(nothing.skeleton.ends().is_empty());
}

#[test]
fn position_channels_of_other_joints_are_bones_of_fixed_length() {
    let six = PLAIN
        .replace(
            "    CHANNELS 3",
            "    CHANNELS 6 Xposition Yposition Zposition",
        )
        .replace("90 0 0\n", "0 -2 0 90 0 0\n")
        .replace("90 0 0 0\n", "90 0 -2.02 0 0 0 0\n");
    let clip = parsed(&six);
    assert!((clip.skeleton.joints()[1].offset.y + 2.01).abs() < 1e-9);
    // Zeros throughout do not speak against an OFFSET.
    let zeros = six.replace("-2.02", "0").replace("-2", "0");
    assert_eq!(parsed(&zeros).skeleton.joints()[1].offset.y, -1.0);
    refused(
        &six.replace("-2.02", "-2.4"),
        ":6: the position channels of joint `Knee` vary",
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    refused("", "the file ends here, expected HIERARCHY");
    refused("MOTION\n", ":1: `MOTION` found, expected HIERARCHY");
    refused(
        &PLAIN.replace("MOTION", "NOTION"),
        ":16: `NOTION` found, expected MOTION",
    );
    refused(&PLAIN.replace("MOTION", "ROOT B {"), ":16: a second ROOT");
    refused(
        &PLAIN.replace("Frames: 2", "Frames: 3"),
        ":20: the file ends after 2 frames, expected 3",
    );
    refused(
        &PLAIN.replace("Frames: 2", "Frames: 1"),
        ":20: more data after 1 frames",
    );
    refused(
        &PLAIN.replace("Frames: 2", "Frames: 0"),
        ":17: 0 frames, expected a whole number from 1",
    );
    refused(
        &PLAIN.replace("Frames: 2", "Frames: 1e11"),
        "ends after 2 frames",
    );
    refused(
        &PLAIN.replace("Frames: 2", "Count: 2"),
        ":17: `Count: 2` found, expected `Frames: COUNT`",
    );
    refused(&PLAIN.replace("0.0333333", "0"), ":18: a frame takes 0 s");
    refused(
        &PLAIN.replace("0 5 1 0 0", "0 5 1 0"),
        ":20: 8 numbers, expected 9",
    );
    refused(
        &PLAIN.replace("0 5 1", "0 nan 1"),
        ":20: `nan` is not finite, expected channel 2 of 9",
    );
    refused(
        &PLAIN.replace("0 5 1", "0 1e999 1"),
        ":20: `1e999` is not finite",
    );
    refused(
        &PLAIN.replace("0 5 1", "0 1e13 1"),
        ":20: `1e13` is beyond 1e12",
    );
    refused(
        &PLAIN.replace("0 5 1", "0 five 1"),
        ":20: `five` is no number",
    );
    refused(
        &PLAIN.replace("OFFSET 1 2 3", "OFFSET 1 2 inf"),
        ":4: `inf` is not finite, expected the z of an OFFSET",
    );
    refused(
        &PLAIN.replace("OFFSET 1 2 3", "OFFSET 1 2"),
        ":5: `CHANNELS` is no number, expected the z",
    );
    refused(
        &PLAIN.replace("CHANNELS 6", "CHANNELS 7"),
        ":5: 7 channels, expected 0 to 6",
    );
    refused(
        &PLAIN.replace("CHANNELS 6", "CHANNELS 5"),
        "`Yrotation` found, expected JOINT",
    );
    refused(
        &PLAIN.replace("Xposition", "Wposition"),
        ":5: `Wposition` found, expected a channel",
    );
    refused(
        &PLAIN.replace("Knee", "Hips"),
        ":6: joint `Hips` was named on line 2 already",
    );
    refused(&PLAIN.replace("JOINT Knee", "JOINT"), ":6: no name");
    refused(&PLAIN[..60], "expected");
    let deep = format!("HIERARCHY\nROOT r\n{{{}", "\nJOINT x {".repeat(3));
    refused(&deep, "joint `x` was named on line 4 already");
    let many: String = (0..100_000)
        .map(|joint| format!("\nJOINT j{joint} {{"))
        .collect();
    refused(
        &format!("HIERARCHY\nROOT r\n{{{many}"),
        ":1027: more joints than 1024",
    );
    refused(
        "HIERARCHY\nROOT r\n{\n}\nMOTION\nFrames: 1\nFrame Time: 0.1\n",
        "ends after 0 frames",
    );
}

#[test]
fn files_that_are_no_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bvh");
    std::fs::write(&path, b"HIERARCHY\nROOT \xff\n").unwrap();
    let message = bvh::read(&path).unwrap_err().to_string();
    assert!(
        message.contains("a.bvh:2: byte 0xff is not UTF-8"),
        "{message}"
    );
    let missing = bvh::read(&folder.path().join("b.bvh"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("b.bvh"), "{missing}");
}

#[test]
fn clips_that_cannot_be_written_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bvh");
    let clip = parsed(PLAIN);
    for broken in [
        Clip {
            frames: vec![],
            ..clip.clone()
        },
        Clip {
            frame_rate: f64::NAN,
            ..clip.clone()
        },
        Clip {
            frames: vec![Pose {
                root: Vector3::x() * f64::NAN,
                ..clip.frames[0].clone()
            }],
            ..clip.clone()
        },
        Clip {
            frames: vec![Pose {
                rotations: vec![],
                ..clip.frames[0].clone()
            }],
            ..clip.clone()
        },
    ] {
        bvh::write(&path, &broken).unwrap_err();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    bvh::write(&path, &clip).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    bvh::write(&folder.path().join("none/a.bvh"), &clip).unwrap_err();
}

fn number() -> impl Strategy<Value = f64> {
    -2.0..2.0
}

fn vector() -> impl Strategy<Value = Vector3<f64>> {
    [number(), number(), number()].prop_map(Vector3::from)
}

fn rotation() -> impl Strategy<Value = UnitQuaternion<f64>> {
    prop_oneof![
        8 => [number(), number(), number(), number()]
            .prop_filter("a direction", |q| q.iter().any(|value| value.abs() > 0.1))
            .prop_map(|[w, x, y, z]| UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z))),
        // Where Z and Y turn about the same axis.
        1 => number().prop_map(|z| {
            UnitQuaternion::from_axis_angle(&Vector3::z_axis(), z)
                * UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::FRAC_PI_2)
        }),
    ]
}

fn clips() -> impl Strategy<Value = Clip> {
    (1usize..9, 1usize..4, 10u32..240).prop_flat_map(|(joints, frames, rate)| {
        let joint = (any::<prop::sample::Index>(), vector());
        let pose = (vector(), prop::collection::vec(rotation(), joints));
        (
            prop::collection::vec(joint, joints),
            prop::collection::vec((any::<prop::sample::Index>(), vector()), 0..3),
            prop::collection::vec(pose, frames),
        )
            .prop_map(move |(tree, ends, poses)| {
                let tree = tree
                    .into_iter()
                    .enumerate()
                    .map(|(index, (parent, offset))| Joint {
                        name: format!("joint{index}"),
                        parent: (index > 0).then(|| parent.index(index)),
                        offset,
                    });
                let ends = ends
                    .into_iter()
                    .map(|(on, offset)| (on.index(joints), offset));
                Clip {
                    skeleton: Skeleton::new(tree.collect(), ends.collect()).unwrap(),
                    frame_rate: f64::from(rate),
                    frames: (poses.into_iter())
                        .map(|(root, rotations)| Pose { root, rotations })
                        .collect(),
                }
            })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(clip in clips()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bvh");
        bvh::write(&path, &clip).unwrap();
        let read = bvh::read(&path).unwrap();
        prop_assert_eq!(read.frames.len(), clip.frames.len());
        prop_assert_eq!(read.frame_rate, clip.frame_rate);
        prop_assert_eq!(read.skeleton.ends().len(), clip.skeleton.ends().len());
        for (before, after) in clip.frames.iter().zip(&read.frames) {
            let before = clip.skeleton.forward(before);
            let after = read.skeleton.forward(after);
            for (index, joint) in clip.skeleton.joints().iter().enumerate() {
                let other = read.skeleton.index(&joint.name).unwrap();
                let away = (before.positions[index] - after.positions[other]).norm();
                prop_assert!(away < 1e-4, "{} is {away} away", joint.name);
                let turned = before.rotations[index].angle_to(&after.rotations[other]);
                prop_assert!(turned < 1e-5, "{} is turned by {turned}", joint.name);
            }
        }
    }

    #[test]
    fn broken_files_are_errors(
        at in any::<prop::sample::Index>(),
        byte in any::<char>(),
        cut in any::<bool>(),
    ) {
        let at = at.index(PLAIN.len());
        let text = if cut {
            PLAIN[..at].to_string()
        } else {
            format!("{}{byte}{}", &PLAIN[..at], &PLAIN[at + 1..])
        };
        // Never a panic; what is read is finite.
        if let Ok(clip) = bvh::parse(&text, Path::new("a.bvh")) {
            for pose in &clip.frames {
                let global = clip.skeleton.forward(pose);
                prop_assert!(global.positions.iter().all(|place| place.iter().all(|value| value.is_finite())));
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(HIERARCHY|ROOT|JOINT|End Site|OFFSET|CHANNELS|MOTION|[{}\n 0-9.a-e-]){0,60}") {
        let _ = bvh::parse(&text, Path::new("a.bvh"));
    }
}
