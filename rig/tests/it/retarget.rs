//! Retargeting of motion whose result is known: the character's own, in other names, units, rest
//! poses and proportions.

use std::f64::consts::PI;

use kinestream_rig::character::{self, Bone, HIPS_HEIGHT, JOINTS, MIRROR};
use kinestream_rig::formats::{bvh, gltf};
use kinestream_rig::retarget::{self, Floor, Options};
use kinestream_rig::{Clip, Joint, Pose, Skeleton};
use nalgebra::{UnitQuaternion, Vector3};

fn about(axis: Vector3<f64>, degrees: f64) -> UnitQuaternion<f64> {
    UnitQuaternion::from_scaled_axis(axis * degrees.to_radians())
}

/// Three seconds of a walk of the character along an arc: arms hang and swing, elbows and knees
/// bend, the head looks around.
fn walk() -> Clip {
    let skeleton = character::skeleton();
    let frames = (0..91)
        .map(|frame| {
            let phase = frame as f64 / 30.0 * 2.0 * PI;
            let mut rotations = vec![UnitQuaternion::identity(); JOINTS];
            let mut set = |bone: Bone, rotation| rotations[bone.index()] = rotation;
            let heading = 1.5 * frame as f64;
            set(
                Bone::Hips,
                about(Vector3::y(), heading) * about(Vector3::x(), 5.0),
            );
            set(Bone::Spine, about(Vector3::y(), 6.0 * phase.sin()));
            set(Bone::Spine2, about(Vector3::y(), 8.0 * phase.sin()));
            set(Bone::Head, about(Vector3::y(), 40.0 * (0.5 * phase).sin()));
            for (side, arm, leg, phase) in [
                (1.0, Bone::LeftArm, Bone::LeftUpLeg, phase),
                (-1.0, Bone::RightArm, Bone::RightUpLeg, phase + PI),
            ] {
                let next = |bone: Bone, more: usize| Bone::ALL[bone.index() + more];
                let hang = about(Vector3::z(), -75.0 * side);
                set(arm, about(Vector3::x(), 25.0 * phase.sin()) * hang);
                let bend = 40.0 + 15.0 * phase.cos();
                set(next(arm, 1), about(-Vector3::y() * side, bend));
                set(leg, about(Vector3::x(), -25.0 * phase.sin() - 10.0));
                set(next(leg, 1), about(Vector3::x(), 35.0 + 25.0 * phase.cos()));
                set(next(leg, 2), about(Vector3::x(), -15.0));
                set(next(leg, 3), about(Vector3::x(), 10.0 * phase.sin()));
            }
            let along = heading.to_radians();
            Pose {
                root: Vector3::new(1.0 - along.cos(), HIPS_HEIGHT - 0.06, along.sin()),
                rotations,
            }
        })
        .collect();
    Clip {
        skeleton,
        frame_rate: 30.0,
        frames,
    }
}

/// The same motion on joints with other axes: `turns` bring the new axes to the old ones.
fn with_axes(clip: &Clip, turns: &[UnitQuaternion<f64>; JOINTS]) -> Clip {
    let joints = clip.skeleton.joints();
    let turned = joints.iter().map(|joint| Joint {
        offset: joint.parent.map_or(joint.offset, |parent| {
            turns[parent].inverse() * joint.offset
        }),
        ..joint.clone()
    });
    let ends = clip.skeleton.ends().iter();
    let ends = ends.map(|(on, offset)| (*on, turns[*on].inverse() * offset));
    let skeleton = Skeleton::new(turned.collect(), ends.collect()).unwrap();
    let frames = clip.frames.iter().map(|pose| Pose {
        root: pose.root,
        rotations: (0..JOINTS)
            .map(|index| {
                let turned = pose.rotations[index] * turns[index];
                joints[index]
                    .parent
                    .map_or(turned, |parent| turns[parent].inverse() * turned)
            })
            .collect(),
    });
    Clip {
        skeleton,
        frame_rate: clip.frame_rate,
        frames: frames.collect(),
    }
}

fn renamed(clip: &Clip, name: impl Fn(Bone) -> String) -> Clip {
    let joints = clip
        .skeleton
        .joints()
        .iter()
        .zip(Bone::ALL)
        .map(|(joint, bone)| Joint {
            name: name(bone),
            ..joint.clone()
        });
    Clip {
        skeleton: Skeleton::new(joints.collect(), clip.skeleton.ends().to_vec()).unwrap(),
        ..clip.clone()
    }
}

fn mixamo(clip: &Clip) -> Clip {
    renamed(clip, |bone| match bone {
        Bone::LeftToe | Bone::RightToe => format!("mixamorig:{}Base", bone.name()),
        _ => format!("mixamorig:{}", bone.name()),
    })
}

fn as_it_stands() -> Options {
    Options {
        floor: Floor::Source,
        ..Options::default()
    }
}

/// Largest distance of a joint in metres, and largest turn of one in degrees.
fn differences(one: &Clip, other: &Clip) -> (f64, f64) {
    assert_eq!(one.frames.len(), other.frames.len());
    let (mut away, mut turned) = (0.0, 0.0);
    for (one_pose, other_pose) in one.frames.iter().zip(&other.frames) {
        let (a, b) = (
            one.skeleton.forward(one_pose),
            other.skeleton.forward(other_pose),
        );
        for joint in 0..JOINTS {
            away = f64::max(away, (a.positions[joint] - b.positions[joint]).norm());
            turned = f64::max(turned, a.rotations[joint].angle_to(&b.rotations[joint]));
        }
    }
    (away, turned.to_degrees())
}

fn retargeted(clip: &Clip) -> Clip {
    retarget::retarget(clip, &as_it_stands()).unwrap().clip
}

#[test]
fn the_characters_own_motion_stays_as_it_is_in_any_unit() {
    let walk = walk();
    let result = retarget::retarget(&walk.scaled(100.0), &as_it_stands()).unwrap();
    let (away, turned) = differences(&walk, &result.clip);
    assert!(away < 1e-9 && turned < 1e-5, "{away} m, {turned} degrees");
    assert_eq!((result.unit, result.mapping.family()), (0.01, "kinestream"));
    assert!((result.scale - 1.0).abs() < 1e-9);
}

#[test]
fn other_names_and_units_make_no_difference() {
    let walk = walk();
    let (away, turned) = differences(&walk, &retargeted(&mixamo(&walk).scaled(100.0)));
    // Elbows and knees turn with the plane in which they bend, a little of it is shared.
    assert!(away < 0.002 && turned < 4.0, "{away} m, {turned} degrees");
}

#[test]
fn other_rest_poses_make_little_difference() {
    let walk = mixamo(&walk());
    // Arms that hang at rest, and bones whose axes are anything.
    let mut turns = [UnitQuaternion::identity(); JOINTS];
    for bone in Bone::ALL {
        let name = bone.name();
        if name.ends_with("Arm") || name.ends_with("Hand") {
            let side = if name.starts_with("Left") { -1.0 } else { 1.0 };
            turns[bone.index()] = about(Vector3::z(), 90.0 * side).inverse();
        }
    }
    let (away, turned) = differences(&retargeted(&walk), &retargeted(&with_axes(&walk, &turns)));
    assert!(away < 1e-6 && turned < 1e-3, "{away} m, {turned} degrees");

    for bone in Bone::ALL {
        let step = bone.index() as f64;
        turns[bone.index()] = about(
            Vector3::new(1.0, step.sin(), 0.3 * step).normalize(),
            35.0 * step + 60.0,
        );
    }
    let (away, turned) = differences(&retargeted(&walk), &retargeted(&with_axes(&walk, &turns)));
    assert!(away < 0.06 && turned < 25.0, "{away} m, {turned} degrees");
}

#[test]
fn a_source_with_z_up_stands_upright() {
    let walk = mixamo(&walk());
    let up = about(Vector3::x(), 90.0);
    let joints = walk.skeleton.joints().iter().map(|joint| Joint {
        offset: up * joint.offset,
        ..joint.clone()
    });
    let lying = Clip {
        skeleton: Skeleton::new(joints.collect(), vec![]).unwrap(),
        frame_rate: walk.frame_rate,
        frames: (walk.frames.iter())
            .map(|pose| Pose {
                root: up * pose.root,
                rotations: pose
                    .rotations
                    .iter()
                    .map(|turn| up * turn * up.inverse())
                    .collect(),
            })
            .collect(),
    };
    let (away, turned) = differences(&retargeted(&walk), &retargeted(&lying));
    assert!(away < 1e-6 && turned < 1e-3, "{away} m, {turned} degrees");
}

#[test]
fn ankles_follow_whatever_the_proportions_are() {
    let walk = mixamo(&walk());
    let joints = walk.skeleton.joints().iter().map(|joint| {
        let factor = match joint.name.as_str() {
            name if name.contains("Spine") => 0.8,
            name if name.ends_with("UpLeg") => 1.3,
            name if name.ends_with("Leg") => 1.15,
            name if name.ends_with("Foot") => 0.9,
            name if name.contains("Arm") => 0.7,
            _ => 1.0,
        };
        Joint {
            offset: joint.offset * factor,
            ..joint.clone()
        }
    });
    let other = Clip {
        skeleton: Skeleton::new(joints.collect(), walk.skeleton.ends().to_vec()).unwrap(),
        ..walk.clone()
    };
    let result = retarget::retarget(&other, &Options::default()).unwrap();
    for (pose, source) in result.clip.frames.iter().zip(&result.source) {
        let global = result.clip.skeleton.forward(pose);
        for ankle in [Bone::LeftFoot, Bone::RightFoot] {
            let joint = result.mapping.joint(ankle).unwrap();
            let away = (global.positions[ankle.index()] - source.positions[joint]).norm();
            assert!(away < 1e-9, "{} is {away} m away", ankle.name());
        }
    }
}

#[test]
fn the_soles_stand_on_the_floor() {
    let mut standing = walk();
    let rest = standing.skeleton.joints()[0].offset;
    for (frame, pose) in standing.frames.iter_mut().enumerate() {
        // The floor falls by 4 cm over the clip.
        let floor = 0.3 - 0.04 * frame as f64 / 90.0;
        *pose = Pose {
            root: rest + Vector3::y() * floor,
            rotations: vec![UnitQuaternion::identity(); JOINTS],
        };
    }
    for (floor, most) in [
        (Floor::Followed, 0.005),
        (Floor::Level, 0.0201),
        (Floor::Source, 0.3001),
    ] {
        let options = Options {
            floor,
            ..Options::default()
        };
        let clip = retarget::retarget(&standing, &options).unwrap().clip;
        let highest = clip
            .frames
            .iter()
            .map(|pose| (pose.root.y - HIPS_HEIGHT).abs());
        let highest = highest.fold(0.0, f64::max);
        assert!(
            highest < most && highest > most / 100.0,
            "{floor:?}: {highest}"
        );
    }
}

#[test]
fn an_added_rest_pose_is_dropped_and_a_broken_capture_is_found() {
    let mut clip = mixamo(&walk());
    let whole = retarget::retarget(&clip, &as_it_stands()).unwrap();
    assert_eq!((whole.dropped, whole.glitches.len()), (0, 0));
    // The knee turns over for three frames.
    let knee = Bone::LeftUpLeg.index();
    for pose in &mut clip.frames[40..43] {
        pose.rotations[knee] *= about(Vector3::x(), 120.0);
    }
    for _ in 0..2 {
        clip.frames.insert(
            0,
            Pose {
                root: Vector3::zeros(),
                rotations: vec![UnitQuaternion::identity(); JOINTS],
            },
        );
    }
    let result = retarget::retarget(&clip, &as_it_stands()).unwrap();
    assert_eq!((result.dropped, result.clip.frames.len()), (2, 91));
    let [glitch] = &result.glitches[..] else {
        panic!("{:?}", result.glitches)
    };
    assert!(
        glitch.contains(&39) && glitch.contains(&44) && glitch.len() < 15,
        "{glitch:?}"
    );
    let options = Options {
        keep_first_frames: true,
        ..Options::default()
    };
    assert_eq!(
        retarget::retarget(&clip, &options)
            .unwrap()
            .clip
            .frames
            .len(),
        93
    );
}

#[test]
fn arms_do_not_flip_while_they_pass_through_straight() {
    let mut clip = mixamo(&walk());
    let (arm, elbow) = (Bone::RightArm.index(), Bone::RightForeArm.index());
    for (frame, pose) in clip.frames.iter_mut().enumerate() {
        // The upper arm turns about itself while the elbow is straight.
        let bend = (30.0 - frame as f64).abs().min(25.0);
        let twist = if frame < 30 { 0.0 } else { 170.0 };
        pose.rotations[arm] = about(Vector3::z(), 70.0) * about(Vector3::x(), twist);
        pose.rotations[elbow] = about(Vector3::y(), bend);
    }
    let clip = retargeted(&clip);
    for pair in clip.frames.windows(2) {
        for joint in 0..JOINTS {
            let turn = pair[0].rotations[joint].angle_to(&pair[1].rotations[joint]);
            assert!(turn < 0.6, "{} turns by {turn}", Bone::ALL[joint].name());
        }
    }
}

#[test]
fn the_mirror_image_exchanges_the_sides() {
    let walk = walk();
    let image = retarget::mirrored(&walk);
    for (pose, mirrored) in walk.frames.iter().zip(&image.frames) {
        let (here, there) = (
            walk.skeleton.forward(pose),
            image.skeleton.forward(mirrored),
        );
        for (place, other) in here.positions.iter().zip(MIRROR) {
            let expected = place.component_mul(&Vector3::new(-1.0, 1.0, 1.0));
            assert!((there.positions[other] - expected).norm() < 1e-9);
        }
    }
    let (away, turned) = differences(&walk, &retarget::mirrored(&image));
    assert!(away < 1e-9 && turned < 1e-5);
}

#[test]
fn files_are_told_by_ending_and_content() {
    let folder = tempfile::tempdir().unwrap();
    let walk = walk();
    let path = folder.path().join("walk.bvh");
    bvh::write(&path, &walk).unwrap();
    let loaded = retarget::load(&path, &as_it_stands()).unwrap();
    let (away, turned) = differences(&walk, &loaded);
    assert!(away < 1e-4 && turned < 1e-3, "{away} m, {turned} degrees");
    let hidden = folder.path().join("walk.dat");
    std::fs::copy(&path, &hidden).unwrap();
    assert_eq!(
        retarget::load(&hidden, &as_it_stands()).unwrap().frames,
        loaded.frames
    );
    gltf::write(&folder.path().join("walk.glb"), &loaded).unwrap();

    let refused = |name: &str, content: &str, options: &Options, words: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let message = retarget::load(&path, options)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(message.contains(words), "{message}");
    };
    refused(
        "a.dat",
        "hello",
        &Options::default(),
        "a.dat: neither ending nor content",
    );
    refused(
        "a.amc",
        "",
        &Options::default(),
        "0 ASF files beside it, expected",
    );
    refused("a.asf", "", &Options::default(), "skeleton without motion");
    let text = std::fs::read_to_string(&path).unwrap();
    let unnamed = text.replace("LeftLeg", "Knee");
    refused(
        "b.bvh",
        &unnamed,
        &Options::default(),
        "b.bvh: no known naming of joints fits",
    );
    refused(
        "b.bvh",
        &unnamed,
        &Options::default(),
        "LeftLeg (`leftleg`)",
    );
    let rate = Options {
        frame_rate: 0.0,
        ..Options::default()
    };
    refused("c.bvh", &text, &rate, "frame_rate is 0, expected 1 to 1000");
    bvh::write(&path, &walk.scaled(5.0)).unwrap();
    let large = std::fs::read_to_string(&path).unwrap();
    refused(
        "d.bvh",
        &large,
        &Options::default(),
        "legs are 4.250 units long",
    );
    let options = Options {
        unit: Some(0.2),
        ..as_it_stands()
    };
    assert!(differences(&walk, &retarget::load(&path, &options).unwrap()).0 < 1e-4);
}
