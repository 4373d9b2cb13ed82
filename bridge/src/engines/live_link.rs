//! Unreal's Live Link as JSON over UDP, in the form that the plugin "JSONLiveLink" reads (github.com/ue4plugins, MIT).
//!
//! A datagram is one object: the subject's name, and a list of its bones in a fixed order, each with `Location` in
//! centimetres, `Rotation` as x, y, z, w and `Scale`, all against the parent and taken by Unreal as they are. `Name` and
//! `Parent` (an index, -1 for the root) are read when a subject is new; here they are sent once a second, so that a
//! receiver may come late, and left out between. Text is ASCII: the plugin takes every byte for a character.

use std::fmt::Write as _;

use nalgebra::{Quaternion, UnitQuaternion};

use super::axes::Axes;
use super::humanoid::{HumanPose, Humanoid, HumanoidError, LiveLinkConfig, Place};
use crate::skeleton::MAX_JOINT_NAME_BYTES;

/// Longest datagram, bytes: the plugin's buffer. 55 bones with names of 64 bytes stay below it.
pub const MAX_DATAGRAM_BYTES: usize = 64 * 1024;

/// Time between two datagrams with names.
const NAMES_EVERY_NS: u64 = 1_000_000_000;

/// Makes a datagram of every pose of one subject.
#[derive(Debug, Clone)]
pub struct LiveLinkEncoder {
    /// `{"subject":[`
    opening: String,
    /// The root, then the bones of the humanoid.
    bones: Vec<Bone>,
    named_ns: Option<u64>,
    text: String,
}

#[derive(Debug, Clone)]
struct Bone {
    /// `"Name":"..","Parent":..,`
    identity: String,
    /// How the bone and the one that it hangs on are turned at rest, in component space.
    rest: UnitQuaternion<f64>,
    rest_above: UnitQuaternion<f64>,
}

impl LiveLinkEncoder {
    /// For a subject, with names and rest rotations of the configuration.
    ///
    /// # Errors
    /// Names that are empty, too long or there twice; names and rest rotations of bones that are not told; rest
    /// rotations that are none.
    pub fn new(
        subject: &str,
        humanoid: &Humanoid,
        config: &LiveLinkConfig,
    ) -> Result<Self, HumanoidError> {
        let known = |table, bone| match humanoid.bones().contains(bone) {
            true => Ok(()),
            false => Err(HumanoidError::NoBone { table, bone: *bone }),
        };
        for bone in config.names.keys() {
            known("names", bone)?;
        }
        let mut rests = vec![UnitQuaternion::identity(); humanoid.bones().len()];
        for (bone, [x, y, z, w]) in &config.rest {
            known("rest", bone)?;
            let given = Quaternion::new(*w, *x, *y, *z);
            let unit = UnitQuaternion::try_new(given, 1e-6);
            let unit = unit.filter(|_| given.coords.iter().all(|part| part.is_finite()));
            let index = humanoid.bones().iter().position(|known| known == bone);
            if let Some(index) = index {
                rests[index] = unit.ok_or(HumanoidError::Rest { bone: *bone })?;
            }
        }
        let mut names = vec![config.root.as_str()];
        names.extend(
            humanoid
                .bones()
                .iter()
                .map(|bone| match config.names.get(bone) {
                    Some(name) => name.as_str(),
                    None => bone.name(),
                }),
        );
        for (index, name) in [subject].iter().chain(&names).enumerate() {
            if !(1..=MAX_JOINT_NAME_BYTES).contains(&name.len()) {
                return Err(HumanoidError::Name {
                    found: (*name).to_owned(),
                });
            }
            if index > 0 && names[..index - 1].contains(name) {
                return Err(HumanoidError::SameName {
                    name: (*name).to_owned(),
                });
            }
        }
        let root = Bone {
            identity: identity(names[0], None),
            rest: UnitQuaternion::identity(),
            rest_above: UnitQuaternion::identity(),
        };
        let bones = (0..rests.len()).map(|index| {
            let parent = humanoid.parent(index);
            Bone {
                // The root is bone 0, so all others come one later.
                identity: identity(
                    names[index + 1],
                    Some(parent.map_or(0, |parent| parent + 1)),
                ),
                rest: rests[index],
                rest_above: parent.map_or_else(UnitQuaternion::identity, |parent| rests[parent]),
            }
        });
        Ok(Self {
            opening: format!("{{{}:[", quoted(subject)),
            bones: std::iter::once(root).chain(bones).collect(),
            named_ns: None,
            text: String::new(),
        })
    }

    /// The datagram of a pose, sent at `now_ns`. `pose` is one of the humanoid that this was made for.
    pub fn encode(&mut self, pose: &HumanPose, now_ns: u64) -> &[u8] {
        let is_named = self
            .named_ns
            .is_none_or(|named_ns| now_ns.saturating_sub(named_ns) >= NAMES_EVERY_NS);
        if is_named {
            self.named_ns = Some(now_ns);
        }
        self.text.clear();
        self.text.push_str(&self.opening);
        let places = std::iter::once(&pose.root).chain(&pose.bones);
        for (index, (bone, place)) in self.bones.iter().zip(places).enumerate() {
            self.text.push_str(if index == 0 { "{" } else { ",{" });
            if is_named {
                self.text.push_str(&bone.identity);
            }
            write_place(&mut self.text, bone, place);
        }
        self.text.push_str("]}");
        self.text.as_bytes()
    }
}

fn identity(name: &str, parent: Option<usize>) -> String {
    match parent {
        Some(parent) => format!("\"Name\":{},\"Parent\":{parent},", quoted(name)),
        None => format!("\"Name\":{},\"Parent\":-1,", quoted(name)),
    }
}

/// Transform and end of a bone's object: a tenth of a micrometre and a millionth of a turn's half.
fn write_place(text: &mut String, bone: &Bone, place: &Place) {
    let back = bone.rest_above.inverse();
    let p = back * Axes::Unreal.position(&place.position);
    let q = back * Axes::Unreal.rotation(&place.rotation) * bone.rest;
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\"Location\":[{:.5},{:.5},{:.5}],\"Rotation\":[{:.6},{:.6},{:.6},{:.6}],\"Scale\":[1,1,1]}}",
        p.x, p.y, p.z, q.i, q.j, q.k, q.w
    );
}

/// A JSON string in ASCII.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ b' '..=b'~') if !matches!(byte, b'"' | b'\\') => {
                quoted.push(char::from(byte));
            }
            _ => {
                let _ = write!(quoted, "\\u{unit:04x}");
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nalgebra::Vector3;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::bone::HumanBone;
    use super::super::testing::{self, Known};
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn encoder(known: &Known, config: &LiveLinkConfig) -> LiveLinkEncoder {
        LiveLinkEncoder::new("hero", &known.humanoid, config).unwrap()
    }

    /// The bones of the one subject.
    fn read(datagram: &[u8]) -> Vec<Value> {
        assert!(datagram.is_ascii() && datagram.len() < MAX_DATAGRAM_BYTES);
        let value: Value = serde_json::from_slice(datagram).unwrap();
        let subjects = value.as_object().unwrap();
        assert_eq!(subjects.len(), 1);
        subjects["hero"].as_array().unwrap().clone()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        let numbers = value.as_array().unwrap().iter();
        numbers.map(|number| number.as_f64().unwrap()).collect()
    }

    #[track_caller]
    fn close(found: &Value, expected: &[f64]) {
        let found = numbers(found);
        assert_eq!(found.len(), expected.len());
        let far = found
            .iter()
            .zip(expected)
            .any(|(one, other)| (one - other).abs() > 2e-6);
        assert!(!far, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn a_known_pose_is_read_as_unreal_has_it() {
        let known = testing::arm_raised_and_hips_turned();
        let mut encoder = encoder(&known, &LiveLinkConfig::default());
        let bones = read(encoder.encode(&known.pose, 5));
        assert_eq!(bones.len(), 23);
        let find = |name: &str| bones.iter().find(|bone| bone["Name"] == name).unwrap();
        let half = std::f64::consts::FRAC_1_SQRT_2;
        // A step ahead (+X) and to the left (-Y), in centimetres; a quarter turn to the left is a negative yaw.
        let root = find("Root");
        assert_eq!(root["Parent"], -1);
        close(&root["Location"], &[100., -50., 0.]);
        close(&root["Rotation"], &[0., 0., -half, half]);
        close(&root["Scale"], &[1., 1., 1.]);
        let (sin, cos) = 15_f64.to_radians().sin_cos();
        let hips = find("Hips");
        assert_eq!(hips["Parent"], 0);
        close(&hips["Location"], &[0., 0., 97.]);
        close(&hips["Rotation"], &[0., 0., -sin, cos]);
        // The left arm, at -Y, raised to +Z: a turn about X.
        let arm = find("LeftUpperArm");
        let shoulder = arm["Parent"].as_u64().unwrap() as usize;
        assert_eq!(bones[shoulder]["Name"], "LeftShoulder");
        close(&arm["Location"], &[0., -13., 0.]);
        let raised = numbers(&arm["Rotation"]);
        let raised = UnitQuaternion::from_quaternion(Quaternion::new(
            raised[3], raised[0], raised[1], raised[2],
        ));
        assert!((raised * -Vector3::y() - Vector3::z()).norm() < 1e-5);
    }

    #[test]
    fn names_come_once_a_second() {
        let known = testing::arm_raised_and_hips_turned();
        let mut encoder = encoder(&known, &LiveLinkConfig::default());
        let mut named = Vec::new();
        for frame in 0..181 {
            let datagram = encoder
                .encode(&known.pose, 7 + frame * SECOND / 60)
                .to_vec();
            let bones = read(&datagram);
            assert!(bones.iter().all(|bone| bone["Scale"].is_array()));
            let has_names = bones.iter().filter(|bone| bone["Name"].is_string()).count();
            let has_parents = bones.iter().filter(|bone| bone["Parent"].is_i64()).count();
            assert!(has_names == has_parents && [0, 23].contains(&has_names));
            if has_names > 0 {
                named.push(frame);
            } else {
                assert!(datagram.len() < 2_500, "{}", datagram.len());
            }
        }
        assert_eq!(named, [0, 60, 120, 180]);
    }

    /// With rest rotations the bones of the rig end where those of the T-pose figure do.
    #[test]
    fn a_rig_with_turned_frames_takes_the_same_pose() {
        let known = testing::arm_raised_and_hips_turned();
        let rest = |axis: [f64; 3]| {
            let turn = UnitQuaternion::from_scaled_axis(Vector3::from(axis));
            [turn.i, turn.j, turn.k, turn.w].map(|part| 3.0 * part)
        };
        let bone = |name: &str| HumanBone::named(name).unwrap();
        let config = LiveLinkConfig {
            root: "root".into(),
            names: BTreeMap::from([(bone("LeftUpperArm"), "upperarm_l".into())]),
            rest: BTreeMap::from([
                (bone("Chest"), rest([0.3, 1.2, -0.4])),
                (bone("LeftUpperArm"), rest([-1.0, 0.2, 0.9])),
                (bone("LeftLowerArm"), rest([0.1, 0.1, 2.0])),
            ]),
        };
        // Places and rotations in component space.
        let world = |config: &LiveLinkConfig| {
            let bones = read(encoder(&known, config).encode(&known.pose, 0));
            let mut world: Vec<(Vector3<f64>, UnitQuaternion<f64>)> = Vec::new();
            for bone in &bones {
                let (p, q) = (numbers(&bone["Location"]), numbers(&bone["Rotation"]));
                let p = Vector3::new(p[0], p[1], p[2]);
                let q = UnitQuaternion::from_quaternion(Quaternion::new(q[3], q[0], q[1], q[2]));
                let parent = bone["Parent"].as_i64().unwrap();
                world.push(match usize::try_from(parent) {
                    Err(_) => (p, q),
                    Ok(parent) => {
                        let (place, turn) = world[parent];
                        (place + turn * p, turn * q)
                    }
                });
            }
            (bones, world)
        };
        let (_, plain) = world(&LiveLinkConfig::default());
        let (bones, rigged) = world(&config);
        assert_eq!(bones[0]["Name"], "root");
        assert!(bones.iter().any(|bone| bone["Name"] == "upperarm_l"));
        for (index, ((place, turn), (found, turned))) in plain.iter().zip(&rigged).enumerate() {
            assert!((place - found).norm() < 2e-3, "{index}");
            let rest = known.humanoid.bones().get(index.wrapping_sub(1));
            let expected = rest
                .and_then(|bone| config.rest.get(bone))
                .map_or(*turn, |rest| {
                    let [x, y, z, w] = *rest;
                    turn * UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z))
                });
            assert!(expected.angle_to(turned) < 1e-4, "{index}");
        }
    }

    #[test]
    fn what_unreal_could_not_use_is_refused() {
        let known = testing::arm_raised_and_hips_turned();
        let refused = |subject: &str, config: Value, words: &str| {
            let config: LiveLinkConfig = serde_json::from_value(config).unwrap();
            let error = LiveLinkEncoder::new(subject, &known.humanoid, &config).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        };
        let nothing = || serde_json::json!({});
        refused("", nothing(), "1 to 64 bytes");
        refused(&"x".repeat(65), nothing(), "1 to 64 bytes");
        refused("a", serde_json::json!({"root": "Hips"}), "\"Hips\"");
        refused(
            "a",
            serde_json::json!({"names": {"Head": "Neck"}}),
            "\"Neck\"",
        );
        refused(
            "a",
            serde_json::json!({"names": {"Jaw": "jaw"}}),
            "live_link.names.Jaw",
        );
        refused(
            "a",
            serde_json::json!({"rest": {"Jaw": [0, 0, 0, 1]}}),
            "live_link.rest.Jaw",
        );
        refused(
            "a",
            serde_json::json!({"rest": {"Head": [0, 0, 0, 0]}}),
            "live_link.rest.Head",
        );
        let mut config = LiveLinkConfig::default();
        config
            .rest
            .insert(HumanBone::HIPS, [f64::NAN, 0.0, 0.0, 1.0]);
        assert!(LiveLinkEncoder::new("a", &known.humanoid, &config).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_name_arrives_and_the_longest_fit(name in "\\PC{1,16}", long in "[\u{80}-\u{7ff}]{32}") {
            let known = testing::arm_raised_and_hips_turned();
            let names = known.humanoid.bones().iter().enumerate().map(|(index, bone)| {
                let tail: String = long.chars().skip(1).collect();
                let first = char::from_u32(0x100 + index as u32).unwrap();
                (*bone, format!("{first}{tail}"))
            });
            let config = LiveLinkConfig { names: names.collect(), ..LiveLinkConfig::default() };
            let mut encoder = LiveLinkEncoder::new(&name, &known.humanoid, &config).unwrap();
            let datagram = encoder.encode(&known.pose, 0);
            // 56 bones in place of 23 stay below the limit too.
            prop_assert!(datagram.is_ascii() && datagram.len() * 56 / 23 < MAX_DATAGRAM_BYTES);
            let value: Value = serde_json::from_slice(datagram).unwrap();
            prop_assert!(value[&name][5]["Name"].as_str().unwrap().chars().count() == 32);
        }
    }
}
