//! Messages of characters: poses and controls, field by field and where they are refused.

use super::tests::{encoded, golden};
use super::*;

#[test]
fn golden_pose_is_read_field_by_field() {
    let bytes = golden("pose");
    let pose = Pose::view(&bytes).unwrap();
    assert_eq!(
        (pose.frame, pose.frame_ns, pose.period_ns),
        (1801, 123_456_800_000, 16_666_667)
    );
    assert_eq!(pose.joints(), 2);
    assert_eq!(pose.contacts, Contacts::LEFT_HEEL.with(Contacts::LEFT_TOE));
    assert!(pose.flags.contains(PoseFlags::CLAMPED) && !pose.flags.contains(PoseFlags::HELD));
    assert_eq!(pose.phase.to_bits(), 0.5_f32.to_bits());
    assert_eq!(pose.root_position, [1234.5, 0.9375, -8.25]);
    assert_eq!(pose.root_velocity, [0.5, 0.0, 1.25]);
    assert_eq!(pose.yaw_rate.to_bits(), (-0.75_f32).to_bits());
    assert_eq!(
        pose.rotations.to_vec(),
        [[0.5, -0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 1.0]]
    );
}

#[test]
fn golden_controls_are_read_field_by_field() {
    let bytes = golden("control_stick");
    let control = Control::view(&bytes).unwrap();
    assert_eq!(control.mode, ControlMode::Stick);
    assert_eq!((control.velocity, control.facing), ([0.5, 1.5], [0.0, 1.0]));
    assert_eq!((control.diversity, control.strength), (1.0, 0.75));
    assert!(control.points.is_empty());

    let bytes = golden("control_path");
    let control = Control::view(&bytes).unwrap();
    assert_eq!(control.mode, ControlMode::Path);
    let point = |time_s, x, z, facing| PathPoint {
        time_s,
        x,
        z,
        facing,
    };
    let points = [
        point(0.5, 1.0, 2.0, None),
        point(1.25, 1.5, 3.0, Some(0.25)),
    ];
    assert_eq!(control.points.to_vec(), points);
    assert_eq!(control.points.get(1), Some(points[1]));
    assert_eq!(control.points.get(2), None);
}

#[test]
fn slices_and_views_encode_to_the_same_bytes() {
    let (bytes, mut buffer) = (golden("pose"), Vec::new());
    let pose = Pose::decode(&bytes).unwrap();
    let slice = PoseSlice {
        stamp: pose.stamp,
        frame: pose.frame,
        frame_ns: pose.frame_ns,
        period_ns: pose.period_ns,
        contacts: pose.contacts,
        flags: pose.flags,
        phase: pose.phase,
        root_position: pose.root_position,
        root_velocity: pose.root_velocity,
        yaw_rate: pose.yaw_rate,
        rotations: &pose.rotations,
    };
    slice.encode_into(&mut buffer).unwrap();
    assert_eq!(buffer, bytes);
    Pose::view(&bytes)
        .unwrap()
        .encode_into(&mut buffer)
        .unwrap();
    assert_eq!(buffer, bytes);

    let bytes = golden("control_path");
    let control = Control::decode(&bytes).unwrap();
    let slice = ControlSlice {
        stamp: control.stamp,
        mode: control.mode,
        velocity: control.velocity,
        facing: control.facing,
        diversity: control.diversity,
        strength: control.strength,
        points: &control.points,
    };
    slice.encode_into(&mut buffer).unwrap();
    assert_eq!(buffer, bytes);
    Control::view(&bytes)
        .unwrap()
        .encode_into(&mut buffer)
        .unwrap();
    assert_eq!(buffer, bytes);
}

#[test]
fn a_pose_that_is_none_is_refused_on_either_side() {
    let good = Pose::decode(&golden("pose")).unwrap();
    let refused = |change: fn(&mut Pose)| {
        let (mut pose, mut bytes) = (good.clone(), vec![1]);
        change(&mut pose);
        let error = pose.encode_into(&mut bytes).unwrap_err().to_string();
        assert!(bytes.is_empty());
        error
    };
    assert_eq!(
        refused(|pose| pose.rotations.clear()),
        "joints: expected at least 1, found 0"
    );
    assert_eq!(
        refused(|pose| pose.rotations = vec![[0.0, 0.0, 0.0, 1.0]; MAX_JOINTS + 1]),
        "joints: expected at most 1024, found 1025"
    );
    assert_eq!(
        refused(|pose| pose.period_ns = 0),
        "period_ns: expected at least 1, found 0"
    );
    assert_eq!(
        refused(|pose| pose.phase = 1.5),
        "phase: expected 0 to 1, found 1.5"
    );
    assert_eq!(
        refused(|pose| pose.phase = f32::NAN),
        "phase: expected 0 to 1, found NaN"
    );
    assert_eq!(
        refused(|pose| pose.root_position[1] = f64::INFINITY),
        "root_position[1]: expected a finite number, found NaN or infinity"
    );
    assert_eq!(
        refused(|pose| pose.root_velocity[2] = f32::NAN),
        "root_velocity[2]: expected a finite number, found NaN or infinity"
    );
    assert_eq!(
        refused(|pose| pose.yaw_rate = f32::INFINITY),
        "yaw_rate: expected a finite number, found inf"
    );
    assert_eq!(
        refused(|pose| pose.rotations[1][3] = f32::NAN),
        "rotations[1]: expected a finite number, found NaN or infinity"
    );
    assert_eq!(
        refused(|pose| pose.rotations[1] = [0.0, 0.0, 0.0, 1.5]),
        "rotations[1]: expected a quaternion of unit length (within 0.001), found length 1.5"
    );
    assert!(refused(|pose| pose.rotations[0] = [0.0; 4]).ends_with("found length 0"));

    // The same on the other side: rotation 1's w is the message's last number, the phase stands at 76.
    let with = |at: usize, number: f32| {
        let mut bytes = golden("pose");
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        Pose::decode(&bytes)
    };
    let last = golden("pose").len() - 4;
    for bad in [f32::NAN, f32::NEG_INFINITY, 1.0011, 0.9989] {
        assert!(
            matches!(with(last, bad), Err(DecodeError::Content(_))),
            "{bad}"
        );
    }
    for good in [1.0009, 0.9991, -1.0] {
        assert!(with(last, good).is_ok(), "{good}");
    }
    assert!(with(76, -0.5).is_err());
}

#[test]
fn a_control_that_is_none_is_refused_on_either_side() {
    let good = Control::decode(&golden("control_path")).unwrap();
    let refused = |change: fn(&mut Control)| {
        let (mut control, mut bytes) = (good.clone(), vec![1]);
        change(&mut control);
        let error = control.encode_into(&mut bytes).unwrap_err().to_string();
        assert!(bytes.is_empty());
        error
    };
    assert_eq!(
        refused(|control| control.points.clear()),
        "points: expected at least 1, found 0"
    );
    assert_eq!(
        refused(|control| control.points = vec![PathPoint::default(); MAX_POINTS + 1]),
        "points: expected at most 256, found 257"
    );
    assert_eq!(
        refused(|control| control.mode = ControlMode::Stick),
        "points: expected at most 0, found 2"
    );
    assert_eq!(
        refused(|control| control.velocity[1] = f32::NAN),
        "velocity[1]: expected a finite number, found NaN or infinity"
    );
    assert_eq!(
        refused(|control| control.facing[0] = f32::INFINITY),
        "facing[0]: expected a finite number, found NaN or infinity"
    );
    assert_eq!(
        refused(|control| control.diversity = -0.5),
        "diversity: expected a finite number of at least 0, found -0.5"
    );
    assert_eq!(
        refused(|control| control.strength = f32::NAN),
        "strength: expected a finite number of at least 0, found NaN"
    );
    assert_eq!(
        refused(|control| control.points[1].x = f32::NAN),
        "points[1]: expected a finite number, found NaN or infinity"
    );
    assert_eq!(
        refused(|control| control.points[0].facing = Some(f32::INFINITY)),
        "points[0]: expected a finite number, found NaN or infinity"
    );
    let rising = "time_s: expected times of at least 0 that rise from point to point";
    assert_eq!(
        refused(|control| control.points[1].time_s = 0.5),
        format!("{rising}, found 0.5")
    );
    assert_eq!(
        refused(|control| control.points[0].time_s = -1.0),
        format!("{rising}, found -1")
    );

    let with = |at: usize, number: f32| {
        let mut bytes = golden("control_path");
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        Control::decode(&bytes)
    };
    // Velocity, facing, knobs, the first point's time and place: finite, all of them.
    for at in (44..68).step_by(4).chain([72, 76, 80]) {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(
                matches!(with(at, bad), Err(DecodeError::Content(_))),
                "{at} {bad}"
            );
        }
    }
    // The first point's direction may be NaN, which means none, in whatever bits.
    let none = with(84, f32::from_bits(0xffc1_2345)).unwrap();
    assert_eq!(none.points[0].facing, None);
    assert_eq!(encoded(&Message::Control(none)), golden("control_path"));
    assert!(with(84, f32::INFINITY).is_err());

    let mut bytes = golden("control_path");
    bytes[40] = 2;
    let unknown = DecodeError::UnknownCode {
        field: "mode",
        found: 2,
    };
    assert_eq!(Control::decode(&bytes), Err(unknown));
    let mut bytes = golden("control_path");
    bytes[68..72].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        Control::decode(&bytes),
        Err(DecodeError::Content(ContentError::TooLarge {
            field: "points",
            ..
        }))
    ));
}
