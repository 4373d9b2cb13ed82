//! Poses as JSON for a plain WebSocket: what a client is told first, and then of every pose.
//!
//! All is in the axes and the unit that the client asked for. Readers skip fields that they do not know.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::axes::Axes;
use super::bone::HumanBone;
use super::humanoid::{HumanPose, Humanoid, Place};
use crate::wire::{Contacts, Pose, PoseFlags};

/// What a client is told before the first pose.
#[derive(Debug, Clone, Serialize)]
pub struct Introduction<'a> {
    /// Name of the character.
    pub character: &'a str,
    /// The axes of all that follows.
    pub axes: Axes,
    /// Unit of all lengths.
    pub units_per_metre: f64,
    /// Poses per second.
    pub rate_hz: f64,
    /// The bones, parents before their children.
    pub bones: Vec<BoneInfo>,
    /// What the character can be asked to perform, by name ([`crate::act`]).
    pub actions: Vec<String>,
}

/// A bone and what it hangs on.
#[derive(Debug, Clone, Serialize)]
pub struct BoneInfo {
    name: HumanBone,
    parent: Option<HumanBone>,
}

impl<'a> Introduction<'a> {
    /// Of a humanoid.
    #[must_use]
    pub fn new(character: &'a str, humanoid: &Humanoid, axes: Axes, rate_hz: f64) -> Self {
        let bones = humanoid.bones();
        let info = |index: usize| BoneInfo {
            name: bones[index],
            parent: humanoid.parent(index).map(|parent| bones[parent]),
        };
        Self {
            character,
            axes,
            units_per_metre: axes.units_per_metre(),
            rate_hz,
            bones: (0..bones.len()).map(info).collect(),
            actions: Vec::new(),
        }
    }

    /// The same with what the character can perform.
    #[must_use]
    pub fn with_actions(mut self, actions: Vec<String>) -> Self {
        self.actions = actions;
        self
    }

    /// As JSON: `{"introduction": {...}}`.
    ///
    /// # Errors
    /// Those of serde_json; none are known for this type.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Told<'a> {
            introduction: &'a Introduction<'a>,
        }
        serde_json::to_string(&Told { introduction: self })
    }
}

/// A pose as JSON; `pose` is that of the humanoid, `told` the message of the wire that it was made of.
///
/// # Errors
/// Those of serde_json; none are known for this type.
pub fn pose_json(
    humanoid: &Humanoid,
    pose: &HumanPose,
    told: &Pose,
    axes: Axes,
) -> Result<String, serde_json::Error> {
    let bears = |point: Contacts| told.contacts.0 & point.0 != 0;
    serde_json::to_string(&Told {
        time: pose.seconds,
        frame: told.frame,
        stream: told.stamp.stream,
        root: PlaceJson::new(&pose.root, axes),
        joints: Joints {
            bones: humanoid.bones(),
            places: &pose.bones,
            axes,
        },
        contacts: ContactsJson {
            left_heel: bears(Contacts::LEFT_HEEL),
            left_toe: bears(Contacts::LEFT_TOE),
            right_heel: bears(Contacts::RIGHT_HEEL),
            right_toe: bears(Contacts::RIGHT_TOE),
        },
        clamped: told.flags.0 & PoseFlags::CLAMPED.0 != 0,
        idle: told.flags.0 & PoseFlags::IDLE.0 != 0,
        acting: told.flags.0 & PoseFlags::ACTING.0 != 0,
    })
}

#[derive(Serialize)]
struct Told<'a> {
    time: f64,
    frame: u64,
    stream: u32,
    root: PlaceJson<f64>,
    joints: Joints<'a>,
    contacts: ContactsJson,
    clamped: bool,
    idle: bool,
    acting: bool,
}

#[derive(Serialize)]
struct ContactsJson {
    left_heel: bool,
    left_toe: bool,
    right_heel: bool,
    right_toe: bool,
}

/// The root in double precision, since it goes far; bones in single.
#[derive(Serialize)]
struct PlaceJson<T> {
    position: [T; 3],
    rotation: [f32; 4],
}

impl PlaceJson<f64> {
    fn new(place: &Place, axes: Axes) -> Self {
        let rotation = axes.rotation(&place.rotation);
        Self {
            position: axes.position(&place.position).into(),
            rotation: [rotation.i, rotation.j, rotation.k, rotation.w].map(|part| part as f32),
        }
    }
}

struct Joints<'a> {
    bones: &'a [HumanBone],
    places: &'a [Place],
    axes: Axes,
}

impl Serialize for Joints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.bones.len()))?;
        for (bone, place) in self.bones.iter().zip(self.places) {
            let PlaceJson { position, rotation } = PlaceJson::new(place, self.axes);
            let position = position.map(|part| part as f32);
            map.serialize_entry(bone.name(), &PlaceJson { position, rotation })?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{self, Known};
    use super::*;

    #[track_caller]
    fn close(found: &Value, expected: &[f64]) {
        let found: Vec<f64> = serde_json::from_value(found.clone()).unwrap();
        assert_eq!(found.len(), expected.len());
        let far = found
            .iter()
            .zip(expected)
            .any(|(one, other)| (one - other).abs() > 1e-5);
        assert!(!far, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn a_known_pose_is_told_in_the_axes_asked_for() {
        let Known {
            humanoid,
            pose,
            told,
        } = testing::arm_raised_and_hips_turned();
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let expected = [
            // Root's place and rotation, and where the left arm hangs on its shoulder.
            (
                Axes::Gltf,
                [0.5, 0., 1.],
                [0., half, 0., half],
                [0.13, 0., 0.],
            ),
            (
                Axes::Unity,
                [-0.5, 0., 1.],
                [0., -half, 0., half],
                [-0.13, 0., 0.],
            ),
            (
                Axes::Unreal,
                [100., -50., 0.],
                [0., 0., -half, half],
                [0., -13., 0.],
            ),
            (
                Axes::Blender,
                [0.5, -1., 0.],
                [0., 0., half, half],
                [0.13, 0., 0.],
            ),
        ];
        for (axes, place, turn, arm) in expected {
            let text = pose_json(&humanoid, &pose, &told, axes).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            close(&value["root"]["position"], &place);
            close(&value["root"]["rotation"], &turn);
            close(&value["joints"]["LeftUpperArm"]["position"], &arm);
            assert_eq!(value["joints"].as_object().unwrap().len(), 22);
            assert_eq!(
                (&value["time"], &value["frame"]),
                (&json!(1.25), &json!(75))
            );
            assert_eq!(value["contacts"]["left_toe"], true);
            assert_eq!(value["contacts"]["right_heel"], false);
            assert_eq!(
                (&value["clamped"], &value["idle"]),
                (&json!(false), &json!(true))
            );
            // Parents before their children.
            assert!(text.find("\"Hips\"") < text.find("\"Spine\""));
            assert!(text.len() < 4_096, "{}", text.len());
        }
    }

    #[test]
    fn a_client_is_told_what_to_expect() {
        let Known { humanoid, .. } = testing::arm_raised_and_hips_turned();
        let text = Introduction::new("hero", &humanoid, Axes::Unreal, 60.0).to_json();
        let value: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let told = &value["introduction"];
        assert_eq!(told["character"], "hero");
        assert_eq!(
            (&told["axes"], &told["units_per_metre"]),
            (&json!("unreal"), &json!(100.0))
        );
        let bones = told["bones"].as_array().unwrap();
        assert_eq!(bones.len(), 22);
        assert_eq!(bones[0], json!({"name": "Hips", "parent": null}));
        assert_eq!(bones[1], json!({"name": "Spine", "parent": "Hips"}));
    }
}
