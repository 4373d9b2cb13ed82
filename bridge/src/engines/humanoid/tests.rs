use std::f64::consts::FRAC_PI_2;

use proptest::prelude::*;
use serde_json::json;

use super::super::testing::{self, at_rest, joint, quaternion, skeleton};
use super::*;

fn bone(name: &str) -> HumanBone {
    HumanBone::named(name).unwrap()
}

fn humanoid(config: serde_json::Value) -> Result<Humanoid, HumanoidError> {
    let config: HumanoidConfig = serde_json::from_value(config).unwrap();
    Humanoid::new(&skeleton(), &config)
}

/// Place of a bone against its parent.
fn find(humanoid: &Humanoid, pose: &HumanPose, name: &str) -> Place {
    let index = humanoid
        .bones()
        .iter()
        .position(|found| *found == bone(name));
    pose.bones[index.unwrap()]
}

/// Where bones are and how they are turned in the world, as a receiver makes it of the local ones.
fn world(humanoid: &Humanoid, pose: &HumanPose) -> Vec<Place> {
    let mut world: Vec<Place> = Vec::new();
    for (index, place) in pose.bones.iter().enumerate() {
        let above = humanoid
            .parent(index)
            .map_or(pose.root, |parent| world[parent]);
        world.push(Place {
            position: above.position + above.rotation * place.position,
            rotation: above.rotation * place.rotation,
        });
    }
    world
}

#[test]
fn by_default_every_joint_is_a_bone_and_nothing_is_turned_at_rest() {
    let humanoid = Humanoid::new(&skeleton(), &HumanoidConfig::default()).unwrap();
    assert_eq!(humanoid.bones().len(), 22);
    assert_eq!(humanoid.bones()[0], HumanBone::HIPS);
    let pose = humanoid
        .pose(&at_rest([0.0, 0.97, 0.0]), Ground::default(), 0.0)
        .unwrap();
    for (index, place) in pose.bones.iter().enumerate() {
        assert!(place.rotation.angle() < 1e-9);
        // Bones hang on the bones of the joints that their joints hang on.
        let joint = humanoid.places[index].0;
        let parent = humanoid
            .parent(index)
            .map(|parent| humanoid.places[parent].0);
        assert_eq!(parent, skeleton().joints[joint].parent);
        let offset = Vector3::from(skeleton().joints[joint].offset);
        assert!((place.position - offset).norm() < 1e-9);
    }
}

#[test]
fn the_known_pose_is_local_to_root_and_parents() {
    let testing::Known { humanoid, pose, .. } = testing::arm_raised_and_hips_turned();
    assert!((pose.root.position - Vector3::new(0.5, 0.0, 1.0)).norm() < 1e-9);
    assert!((pose.root.rotation * Vector3::z() - Vector3::x()).norm() < 1e-9);
    let hips = find(&humanoid, &pose, "Hips");
    assert!((hips.position - Vector3::new(0.0, 0.97, 0.0)).norm() < 1e-6);
    assert!((hips.rotation.angle() - 30_f64.to_radians()).abs() < 1e-6);
    let arm = find(&humanoid, &pose, "LeftUpperArm");
    assert!((arm.rotation * Vector3::x() - Vector3::y()).norm() < 1e-6);
    assert!(find(&humanoid, &pose, "Head").rotation.angle() < 1e-6);
}

#[test]
fn the_root_may_stay_at_the_origin() {
    let humanoid = humanoid(json!({"root": "origin", "scale": 2.0})).unwrap();
    let told = at_rest([0.5, 0.97, 1.0]);
    let ground = Ground {
        position: [0.5, 1.0],
        heading: 0.7,
    };
    let pose = humanoid.pose(&told, ground, 0.0).unwrap();
    assert_eq!(pose.root, Place::default());
    let hips = find(&humanoid, &pose, "Hips");
    assert!((hips.position - Vector3::new(1.0, 1.94, 2.0)).norm() < 1e-9);
}

#[test]
fn joints_that_are_no_bones_turn_those_behind_them() {
    // No upper chest, as many models have none.
    let joints = json!({"Hips": "Hips", "Spine": "Spine", "Chest": "Spine1", "Neck": "Neck"});
    let humanoid = humanoid(json!({ "joints": joints })).unwrap();
    let parents: Vec<_> = (0..4).map(|index| humanoid.parent(index)).collect();
    assert_eq!(parents, [None, Some(0), Some(1), Some(2)]);
    let mut told = at_rest([0.0, 0.97, 0.0]);
    let about_x = |angle| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), angle);
    told.rotations[joint("Spine2")] = quaternion(about_x(0.4));
    told.rotations[joint("Neck")] = quaternion(about_x(0.2));
    let pose = humanoid.pose(&told, Ground::default(), 0.0).unwrap();
    let neck = find(&humanoid, &pose, "Neck");
    assert!(neck.rotation.angle_to(&about_x(0.6)) < 1e-6);
    let expected = Vector3::new(0.0, 0.12, 0.0) + about_x(0.4) * Vector3::new(0.0, 0.19, 0.0);
    assert!((neck.position - expected).norm() < 1e-6);
}

#[test]
fn mappings_that_cannot_be_are_refused() {
    let refused = |config: serde_json::Value, words: &[&str]| {
        let error = humanoid(config).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "no {word} in {error}");
        }
    };
    refused(json!({"joints": {"Spine": "Spine"}}), &["Hips"]);
    refused(
        json!({"joints": {"Hips": "Pelvis"}}),
        &["joints.Hips", "Pelvis", "Hips, Spine, Spine1"],
    );
    refused(
        json!({"joints": {"Hips": "Hips", "Spine": "Hips"}}),
        &["Hips and Spine"],
    );
    refused(json!({"scale": 0.0}), &["scale", "found 0"]);
    refused(json!({"scale": -1.0}), &["scale"]);
    for (config, word) in [
        (json!({"joints": {"Hip": "Hips"}}), "HumanBodyBones"),
        (json!({"root": "floor"}), "ground"),
        (json!({"bones": {}}), "joints"),
    ] {
        let error = serde_json::from_value::<HumanoidConfig>(config).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let humanoid = humanoid(json!({})).unwrap();
    let mut told = at_rest([0.0; 3]);
    told.rotations.pop();
    let error = humanoid.pose(&told, Ground::default(), 0.0).unwrap_err();
    assert!(error.to_string().contains("expected 22"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the pose, the root and the choice of bones: a receiver puts every bone where the character's joint is.
    #[test]
    fn a_receiver_finds_the_joints(
        turns in prop::collection::vec(prop::array::uniform3(-2.0..2.0), 22),
        place in prop::array::uniform3(-5.0..5.0),
        heading in -FRAC_PI_2..FRAC_PI_2,
        left_out in prop::collection::btree_set(1..22usize, 0..10),
        origin in any::<bool>(),
    ) {
        let mut config = HumanoidConfig::default();
        let names: Vec<HumanBone> = config.joints.keys().copied().collect();
        for index in left_out {
            config.joints.remove(&names[index]);
        }
        if origin {
            config.root = RootPlace::Origin;
        }
        let humanoid = Humanoid::new(&skeleton(), &config).unwrap();
        let mut told = at_rest(place);
        for (rotation, turn) in told.rotations.iter_mut().zip(turns) {
            *rotation = quaternion(UnitQuaternion::from_scaled_axis(Vector3::from(turn)));
        }
        let ground = Ground { position: [place[0], place[2]], heading };
        let pose = humanoid.pose(&told, ground, 0.0).unwrap();
        let joints = humanoid.world(&told);
        for (index, found) in world(&humanoid, &pose).iter().enumerate() {
            let joint = &joints[humanoid.places[index].0];
            prop_assert!((found.position - joint.position).norm() < 1e-9);
            prop_assert!(found.rotation.angle_to(&joint.rotation) < 1e-6);
        }
    }
}
