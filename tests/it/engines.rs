//! `demo motion` and game engines end to end: the built program sends VMC and Live Link to sockets of
//! these tests, an engine steers over the WebSocket, and a recording becomes BVH and glTF.
//!
//! The model is one of a few training steps. What is asserted are counts and contents, never speed:
//! all that a run sends fits into the sockets' buffers, so nothing depends on who is scheduled when.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;

use crate::support::child::{Finished, Running, kinestream};
use crate::support::engine::Engine;
use crate::support::{json_object, motion};
use kinestream_bridge::recording::Recording;
use kinestream_bridge::wire::Decode;
use kinestream_bridge::{Pose, SkeletonInfo};
use kinestream_motion::character::JOINTS;
use kinestream_motion::formats::bvh;
use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use rosc::{OscPacket, OscType, decoder};
use serde_json::Value;
use tungstenite::Message;

/// Poses per second, and of a run of half a second.
const RATE: u64 = 60;
const POSES: u64 = 30;

/// A receiver on a free port.
fn receiver() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

/// All that has arrived.
fn drained(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length) = socket.recv(&mut buffer) {
        datagrams.push(buffer[..length].to_vec());
    }
    datagrams
}

/// Half a second of the course in real time.
fn short_course(folder: &Path, more: &[&str]) -> Finished {
    let base = [
        "demo",
        "motion",
        "--headless",
        "--checkpoint",
        "out",
        "--seconds",
        "0.5",
        "--seed",
        "5",
        "--json",
    ];
    kinestream(folder, &[&base, more].concat())
}

/// The poses of a run of [`POSES`] periods.
fn poses_of(report: &Value) -> u64 {
    let count = |key: &str| report[key].as_u64().unwrap();
    let poses = count("poses_published");
    // A period that is missed is left out.
    assert!(poses > 0 && poses + count("missed") >= POSES, "{report}");
    poses
}

fn messages(datagrams: &[Vec<u8>]) -> Vec<(String, Vec<OscType>)> {
    let mut messages = Vec::new();
    for datagram in datagrams {
        assert!(datagram.len() < 1400);
        let (rest, packet) = decoder::decode_udp(datagram).unwrap();
        assert!(rest.is_empty());
        let OscPacket::Bundle(bundle) = packet else {
            panic!("expected a bundle")
        };
        for packet in bundle.content {
            let OscPacket::Message(message) = packet else {
                panic!("expected a message")
            };
            messages.push((message.addr, message.args));
        }
    }
    messages
}

fn floats(arguments: &[OscType]) -> Vec<f64> {
    let floats = arguments.iter().filter_map(|value| value.clone().float());
    floats.map(f64::from).collect()
}

fn recorded_poses(file: &Path) -> (SkeletonInfo, Vec<Pose>) {
    let (mut skeleton, mut poses) = (None, Vec::new());
    for message in Recording::open(file).unwrap().messages().unwrap() {
        let message = message.unwrap();
        match &*message.topic {
            "pose" => poses.push(Pose::decode(&message.bytes).unwrap()),
            "info/skeleton" => {
                let value = serde_json::from_slice(&message.bytes).unwrap();
                skeleton = Some(SkeletonInfo::from_value(value).unwrap());
            }
            _ => {}
        }
    }
    (skeleton.unwrap(), poses)
}

#[test]
fn vmc_receivers_get_a_whole_humanoid_at_sixty_poses_a_second() {
    let project = motion::trained();
    let receivers = [receiver(), receiver()];
    let record = ["--record", "told.mcap"];
    let to: Vec<&str> = receivers
        .iter()
        .flat_map(|(_, address)| ["--vmc", address])
        .chain(record)
        .collect();
    let report = json_object(&short_course(project.path(), &to).succeeds().stdout);
    let poses = poses_of(&report);
    assert_eq!(report["engines"]["datagrams_refused"], 0);
    let (_, told) = recorded_poses(&project.path().join("told.mcap"));
    assert_eq!(told.len() as u64, poses);
    for (socket, _) in &receivers {
        let datagrams = drained(socket);
        assert_eq!(datagrams.len() as u64, 2 * poses);
        let messages = messages(&datagrams);
        assert_eq!(messages.len() as u64, (3 + JOINTS as u64) * poses);
        let mut last = 0;
        for (frame, told) in messages.chunks_exact(3 + JOINTS).zip(&told) {
            let [(ok, state), (t, time), (root, place), bones @ ..] = frame else {
                panic!("too few messages")
            };
            assert_eq!(
                (&**ok, &**t, &**root),
                ("/VMC/Ext/OK", "/VMC/Ext/T", "/VMC/Ext/Root/Pos")
            );
            assert_eq!(state[0], OscType::Int(1));
            // Sixty times a second, whole periods missed apart.
            let period = floats(time)[0] * RATE as f64;
            assert!((period - period.round()).abs() < 1e-3, "{period}");
            assert!(period.round() as u64 > last, "{period} after {last}");
            last = period.round() as u64;
            let names: BTreeSet<String> = bones
                .iter()
                .map(|(address, arguments)| {
                    assert_eq!(address, "/VMC/Ext/Bone/Pos");
                    arguments[0].clone().string().unwrap()
                })
                .collect();
            assert_eq!(names.len(), JOINTS);
            for name in ["Hips", "UpperChest", "Head", "LeftUpperArm", "RightToes"] {
                assert!(names.contains(name), "{name}");
            }
            for arguments in bones.iter().map(|(_, arguments)| arguments).chain([place]) {
                let numbers = floats(arguments);
                let length = numbers[3..].iter().map(|part| part * part).sum::<f64>();
                assert!(numbers.len() == 7 && (length - 1.0).abs() < 1e-4);
            }
            // Root and hips together are the pose that was recorded, with X mirrored.
            let placed = |numbers: &[f64]| {
                let [x, y, z, i, j, k, w] = numbers else {
                    panic!("seven numbers")
                };
                let turn = UnitQuaternion::from_quaternion(Quaternion::new(*w, *i, *j, *k));
                (Vector3::new(*x, *y, *z), turn)
            };
            let (root, turn) = placed(&floats(place));
            let (hips, hips_turn) = placed(&floats(&bones[0].1));
            let [x, y, z] = told.root_position;
            assert!((root + turn * hips - Vector3::new(-x, y, z)).norm() < 1e-4);
            let [i, j, k, w] = told.rotations[0].map(f64::from);
            let expected = UnitQuaternion::from_quaternion(Quaternion::new(w, i, -j, -k));
            assert!((turn * hips_turn).angle_to(&expected) < 1e-3);
            assert_eq!(root.y, 0.0);
        }
        assert!(last >= POSES, "the last at {last}");
    }
}

#[test]
fn live_link_and_a_mapping_of_ones_own() {
    let project = motion::trained();
    std::fs::write(
        project.path().join("rig.toml"),
        "root = \"origin\"\n[joints]\nHips = \"Hips\"\nHead = \"Head\"\n[live_link]\nroot = \"root\"\n\
         names = { Hips = \"pelvis\" }\n",
    )
    .unwrap();
    let (socket, address) = receiver();
    let to = [
        "--live-link",
        &address,
        "--humanoid",
        "rig.toml",
        "--name",
        "hero",
    ];
    let report = json_object(&short_course(project.path(), &to).succeeds().stdout);
    let poses = poses_of(&report);
    assert_eq!(report["engines"]["live_link_datagrams"], poses);
    let datagrams = drained(&socket);
    assert_eq!(datagrams.len() as u64, poses);
    let bones: Vec<Vec<Value>> = datagrams
        .iter()
        .map(|datagram| {
            let value: Value = serde_json::from_slice(datagram).unwrap();
            serde_json::from_value(value["hero"].clone()).unwrap()
        })
        .collect();
    let identity = |bone: &Value| (bone["Name"].clone(), bone["Parent"].clone());
    let first: Vec<_> = bones[0].iter().map(identity).collect();
    assert_eq!(
        first,
        [
            ("root".into(), (-1).into()),
            ("pelvis".into(), 0.into()),
            ("Head".into(), 1.into())
        ]
    );
    for bones in &bones {
        assert_eq!(bones.len(), 3);
        assert_eq!(bones[0]["Location"], serde_json::json!([0.0, 0.0, 0.0]));
        // Centimetres, Z up.
        let height = bones[1]["Location"][2].as_f64().unwrap();
        assert!((20.0..200.0).contains(&height), "{height}");
        assert_eq!(bones[2]["Rotation"].as_array().unwrap().len(), 4);
    }
    let named = bones.iter().filter(|bones| bones[0]["Name"].is_string());
    assert!(named.count() < bones.len());
}

#[test]
fn an_engine_watches_and_steers_over_the_websocket() {
    let project = motion::trained();
    let arguments = [
        "demo",
        "motion",
        "--checkpoint",
        "out",
        "--port",
        "0",
        "--json",
        "--listen",
        "tcp/127.0.0.1:0",
        "--websocket",
        "127.0.0.1:0",
        "--record",
        "steered.mcap",
    ];
    let mut running = Running::start(project.path(), &arguments);
    let said = running.wait_for("Ctrl-C ends it");
    let address = said.split("engines on ").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    let mut unity = Engine::connect(&format!("{address}?axes=unity"));
    let told = unity.json();
    let bones = told["introduction"]["bones"].as_array().unwrap();
    assert_eq!(bones.len(), JOINTS, "{told}");
    let idle = unity.until("that idles", |pose| pose["idle"] == true);
    assert_eq!(idle["joints"].as_object().unwrap().len(), JOINTS);

    let mut plain = Engine::connect(&format!("{address}?format=binary"));
    let skeleton = SkeletonInfo::from_value(plain.json()).unwrap();
    assert_eq!(skeleton.joints.len(), JOINTS);
    let Message::Binary(bytes) = plain.0.read().unwrap() else {
        panic!("expected a binary message")
    };
    assert_eq!(Pose::decode(&bytes).unwrap().rotations.len(), JOINTS);
    drop(plain);

    // A stick counts while it is repeated, then it is let go, as one over zenoh.
    unity.say(r#"{"velocity": [0.5, 1.0], "facing": [1, 0]}"#);
    unity.until("that moves", |pose| pose["idle"] == false);
    unity.until("that idles again", |pose| pose["idle"] == true);
    unity.say(r#"{"velocity": [3e38, 0]}"#);
    unity.until("that is clamped", |pose| pose["clamped"] == true);
    for wrong in ["", r#"{"velocity": [1e39, 0]}"#, r#"{"speed": 1}"#] {
        unity.say(wrong);
        unity.until("that refuses", |answer| answer["error"].is_string());
    }
    let begun = unity.until("with a number", |pose| pose["frame"].is_u64());
    let later = unity.until("later", |pose| {
        pose["frame"].as_u64() > begun["frame"].as_u64()
    });
    assert!(later["time"].as_f64() > begun["time"].as_f64());

    running.interrupt();
    let report = json_object(&running.finish().succeeds().stdout);
    let engines = &report["engines"];
    assert_eq!(
        (&engines["steering"], &engines["steering_refused"]),
        (&2.into(), &3.into())
    );
    assert_eq!(engines["websocket_clients"], 2);
    assert!(
        report["controls"]["clamped"].as_u64().unwrap() >= 1,
        "{report}"
    );
    // What an engine asks is recorded as everything else: in kinestream's axes.
    let file = project.path().join("steered.mcap");
    let control = Recording::open(&file)
        .unwrap()
        .messages()
        .unwrap()
        .map(Result::unwrap)
        .find(|message| &*message.topic == "control")
        .unwrap();
    let control = kinestream_bridge::Control::decode(&control.bytes).unwrap();
    assert_eq!(
        (control.velocity, control.facing),
        ([-0.5, 1.0], [-1.0, 0.0])
    );
}

#[test]
fn recordings_become_files_that_other_programs_read() {
    let project = motion::trained();
    let course = [
        "demo",
        "motion",
        "--headless",
        "--checkpoint",
        "out",
        "--seconds",
        "2",
        "--episodes",
        "2",
        "--record",
        "course.mcap",
    ];
    kinestream(project.path(), &course).succeeds();
    let export = |more: &[&str]| {
        let arguments = [&["replay", "course.mcap", "--json", "--export"], more].concat();
        json_object(&kinestream(project.path(), &arguments).succeeds().stdout)
    };
    let report = export(&["walk.bvh"]);
    let files = report["exported"].as_array().unwrap();
    assert_eq!(files.len(), 2, "{report}");
    let (skeleton, poses) = recorded_poses(&project.path().join("course.mcap"));
    let streams: BTreeSet<u32> = poses.iter().map(|pose| pose.stamp.stream).collect();
    for ((number, stream), file) in (1..).zip(streams).zip(files) {
        let of_stream: Vec<&Pose> = poses
            .iter()
            .filter(|pose| pose.stamp.stream == stream)
            .collect();
        assert_eq!(of_stream.len() as u64, 2 * RATE);
        assert_eq!(
            (&file["stream"], &file["frames"]),
            (&stream.into(), &(2 * RATE).into())
        );
        assert_eq!((&file["filled"], &file["pauses"]), (&0.into(), &0.into()));
        let path = project.path().join(format!("walk-{number}.bvh"));
        let clip = bvh::read(&path).unwrap();
        assert!((clip.frame_rate - RATE as f64).abs() < 1e-2);
        assert_eq!(clip.frames.len(), of_stream.len());
        for (frame, told) in clip.frames.iter().zip(&of_stream) {
            assert!((frame.root - Vector3::from(told.root_position)).norm() < 1e-5);
            // Joints come in another order in the file.
            for (joint, turn) in clip.skeleton.joints().iter().zip(&frame.rotations) {
                let is_it = |info: &&kinestream_bridge::JointInfo| info.name == joint.name;
                let at = skeleton
                    .joints
                    .iter()
                    .position(|info| is_it(&info))
                    .unwrap();
                let [i, j, k, w] = told.rotations[at].map(f64::from);
                let expected = UnitQuaternion::from_quaternion(Quaternion::new(w, i, j, k));
                assert!(turn.angle_to(&expected) < 1e-3, "{}", joint.name);
            }
        }
    }
    let report = export(&["walk.glb", "--seek", "1"]);
    let bytes = std::fs::read(project.path().join("walk-1.glb")).unwrap();
    assert_eq!(&bytes[..4], b"glTF");
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let document: Value = serde_json::from_slice(&bytes[20..20 + length]).unwrap();
    let channels = document["animations"][0]["channels"].as_array().unwrap();
    assert_eq!(channels.len(), JOINTS + 1);
    let frames = report["exported"][0]["frames"].as_u64().unwrap();
    assert!((RATE - 2..=RATE + 2).contains(&frames), "{report}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let project = motion::trained();
    let run = |arguments: &[&str]| kinestream(project.path(), arguments);
    let wrong = |more: &[&str]| short_course(project.path(), more);
    wrong(&["--vmc", "127.0.0.1"]).reports_wrong_usage(&["--vmc", "127.0.0.1:39539"]);
    wrong(&["--live-link", "nowhere"]).reports_wrong_usage(&["--live-link", "HOST:PORT"]);
    wrong(&["--vmc", "nowhere.invalid:39539"]).fails(&["--vmc nowhere.invalid:39539", "HOST:PORT"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    wrong(&["--websocket", &address]).fails(&["--websocket", &address, "in use"]);
    wrong(&["--humanoid", "absent.toml"]).fails(&["--humanoid", "--vmc"]);
    let vmc = ["--vmc", "127.0.0.1:9", "--humanoid"];
    wrong(&[&vmc[..], &["absent.toml"]].concat()).fails(&["--humanoid", "absent.toml"]);
    for (text, words) in [
        ("[joints]\nHips = \"Pelvis\"\n", ["rig.toml", "Pelvis"]),
        (
            "[joints]\nHip = \"Hips\"\n",
            ["rig.toml, line 2", "HumanBodyBones"],
        ),
        (
            "[live_link.names]\nJaw = \"jaw\"\n",
            ["rig.toml", "names.Jaw"],
        ),
    ] {
        std::fs::write(project.path().join("rig.toml"), text).unwrap();
        wrong(&[&vmc[..], &["rig.toml"]].concat()).fails(&words);
    }
    run(&["demo", "pusht", "--vmc", "127.0.0.1:9"]).fails(&["--vmc", "demo motion"]);

    short_course(project.path(), &["--record", "short.mcap"]).succeeds();
    let export = |out: &str| run(&["replay", "short.mcap", "--export", out]);
    export("walk.fbx").fails(&["walk.fbx", ".bvh or .glb"]);
    export("absent/walk.bvh").fails(&["absent/walk.bvh"]);
    run(&["replay", "short.mcap", "--export", "a.bvh", "--headless"])
        .reports_wrong_usage(&["--export", "--headless"]);
}
