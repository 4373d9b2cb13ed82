//! Messages against bytes that `rosbags` wrote (`bridge/golden/ros2/make.py`), which shares no code with this.

use std::fmt::Debug;

use proptest::prelude::*;

use super::messages::*;

/// A message decodes from the golden bytes and encodes to them; its hash is the one that `rosbags` works out.
fn agrees<M: Message + PartialEq + Debug>(golden: &[u8], message: M) {
    // rosbags adds nothing behind a message.
    assert_eq!(M::decode(golden).unwrap(), message, "{}", M::NAME);
    assert_eq!(message.encode(), golden, "{}", M::NAME);
    let line = format!("{} {}", M::NAME, M::HASH);
    let hashes = include_str!("../../golden/ros2/hashes.txt");
    assert!(hashes.lines().any(|found| found == line), "{line}");
    // Cut anywhere, it is no message; never a panic.
    for end in 0..golden.len() {
        assert!(
            M::decode(&golden[..end]).is_err(),
            "{} cut at {end}",
            M::NAME
        );
    }
}

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../../golden/ros2/", $name, ".cdr"))
    };
}

fn header(frame: &str) -> Header {
    Header {
        stamp: Time::from_nanoseconds(1_700_000_000_123_456_789),
        frame_id: frame.into(),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const TURN: Quaternion = [0.0, 0.6, 0.0, 0.8];

#[test]
fn numbers_and_text() {
    let data = "grüß dich".to_owned();
    agrees(golden!("std_msgs-String"), Text { data });
    let dimension = |label: &str, size, stride| Dimension {
        label: label.into(),
        size,
        stride,
    };
    agrees(
        golden!("std_msgs-Float64MultiArray"),
        Float64MultiArray {
            dimensions: vec![dimension("row", 2, 6), dimension("column", 3, 3)],
            data_offset: 0,
            data: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.5],
        },
    );
}

#[test]
fn joints() {
    agrees(
        golden!("sensor_msgs-JointState"),
        JointState {
            header: header("base"),
            name: names(&["one", "", "elbow"]),
            position: vec![0.1, -0.2, 0.3],
            velocity: vec![],
            effort: vec![9.0],
        },
    );
    let point = |positions: [f64; 2], velocities: &[f64], time_from_start| JointTrajectoryPoint {
        positions: positions.into(),
        velocities: velocities.into(),
        time_from_start,
        ..JointTrajectoryPoint::default()
    };
    agrees(
        golden!("trajectory_msgs-JointTrajectory"),
        JointTrajectory {
            header: header(""),
            joint_names: names(&["a", "bcd"]),
            points: vec![
                point([1.0, 2.0], &[], (0, 100_000_000)),
                point([3.0, 4.0], &[5.0, 6.0], (-1, 5)),
            ],
        },
    );
}

#[test]
fn places() {
    agrees(
        golden!("geometry_msgs-Twist"),
        Twist {
            linear: [1.5, 0.0, -1.0],
            angular: [0.0, 0.25, 0.0],
        },
    );
    agrees(
        golden!("geometry_msgs-PoseStamped"),
        PoseStamped {
            header: header("world"),
            position: [1.0, -2.0, 0.5],
            orientation: TURN,
        },
    );
    let transform = TransformStamped {
        header: header("map"),
        child_frame_id: "hips".into(),
        translation: [1.0, 2.0, 3.0],
        rotation: TURN,
    };
    agrees(
        golden!("tf2_msgs-TFMessage"),
        TfMessage {
            transforms: vec![transform.clone(), transform],
        },
    );
}

#[test]
fn images() {
    agrees(
        golden!("sensor_msgs-Image"),
        Image {
            header: header("camera"),
            height: 2,
            width: 3,
            encoding: "rgb8".into(),
            is_bigendian: 0,
            step: 9,
            data: (0..18).collect(),
        },
    );
    agrees(
        golden!("sensor_msgs-CompressedImage"),
        CompressedImage {
            header: header("camera"),
            format: "jpeg".into(),
            data: vec![255, 216, 255],
        },
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), plain in any::<bool>()) {
        if plain && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&[0, 1, 0, 0]);
        }
        let _ = Text::decode(&bytes);
        let _ = Float64MultiArray::decode(&bytes);
        let _ = JointState::decode(&bytes);
        let _ = JointTrajectory::decode(&bytes);
        let _ = Twist::decode(&bytes);
        let _ = PoseStamped::decode(&bytes);
        let _ = TfMessage::decode(&bytes);
        let _ = Image::decode(&bytes);
        let _ = CompressedImage::decode(&bytes);
    }
}
