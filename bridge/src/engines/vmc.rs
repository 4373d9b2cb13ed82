//! The Virtual Motion Capture protocol: OSC bundles over UDP that receivers in Unity, Unreal, Godot and Blender read.
//!
//! kinestream is a "performer", receivers ("marionettes") listen on port [`PORT`] unless told otherwise. A pose is
//! `/VMC/Ext/OK` (loaded, calibrated), `/VMC/Ext/T` (seconds), `/VMC/Ext/Root/Pos`, then `/VMC/Ext/Bone/Pos` for every
//! bone, local to its parent, all in Unity's axes. Source: the specification at protocol.vmc.info (MIT), versions 2.0
//! and, for the state of calibration, 2.5.

use super::axes::Axes;
use super::humanoid::{HumanPose, Humanoid, Place};
use super::osc::{Argument, Bundles};

/// Where receivers usually listen.
pub const PORT: u16 = 39_539;

/// Longest datagram, bytes: it fits an Ethernet frame of 1 500 with room for tunnels, so that no router cuts it up.
pub const MAX_DATAGRAM_BYTES: usize = 1_400;

/// A loaded model, calibrated, in the usual mode.
const AVAILABLE: [Argument<'_>; 3] = [Argument::Int(1), Argument::Int(3), Argument::Int(0)];

/// Makes datagrams of poses.
#[derive(Debug, Clone, Default)]
pub struct VmcEncoder {
    bundles: Bundles,
}

impl VmcEncoder {
    /// The datagrams of a pose, in order; each is a bundle and stands for itself. `pose` is one of `humanoid`.
    pub fn encode(&mut self, humanoid: &Humanoid, pose: &HumanPose) -> &[Vec<u8>] {
        self.bundles.clear();
        let mut push = |address, arguments: &[Argument<'_>]| {
            self.bundles.push(address, arguments, MAX_DATAGRAM_BYTES);
        };
        push("/VMC/Ext/OK", &AVAILABLE);
        push("/VMC/Ext/T", &[Argument::Float(pose.seconds as f32)]);
        push("/VMC/Ext/Root/Pos", &placed("root", &pose.root));
        for (bone, place) in humanoid.bones().iter().zip(&pose.bones) {
            push("/VMC/Ext/Bone/Pos", &placed(bone.name(), place));
        }
        self.bundles.finished()
    }
}

/// A name, a place and a rotation x, y, z, w.
fn placed<'a>(name: &'a str, place: &Place) -> [Argument<'a>; 8] {
    let p = Axes::Unity.position(&place.position);
    let q = Axes::Unity.rotation(&place.rotation);
    let [p_x, p_y, p_z, q_x, q_y, q_z, q_w] =
        [p.x, p.y, p.z, q.i, q.j, q.k, q.w].map(|value| Argument::Float(value as f32));
    [Argument::Text(name), p_x, p_y, p_z, q_x, q_y, q_z, q_w]
}

#[cfg(test)]
mod tests {
    use rosc::{OscPacket, OscType, decoder};

    use super::super::testing::{self, Known};
    use super::*;

    /// Address and arguments of every message, in order.
    fn read(datagrams: &[Vec<u8>]) -> Vec<(String, Vec<OscType>)> {
        let mut messages = Vec::new();
        for datagram in datagrams {
            assert!(datagram.len() < MAX_DATAGRAM_BYTES, "{}", datagram.len());
            let (rest, packet) = decoder::decode_udp(datagram).unwrap();
            assert!(rest.is_empty());
            let OscPacket::Bundle(bundle) = packet else {
                panic!("no bundle")
            };
            for packet in bundle.content {
                let OscPacket::Message(message) = packet else {
                    panic!("no message")
                };
                messages.push((message.addr, message.args));
            }
        }
        messages
    }

    fn numbers(arguments: &[OscType]) -> Vec<f32> {
        let numbers = arguments[1..].iter();
        numbers
            .map(|value| value.clone().float().unwrap())
            .collect()
    }

    #[track_caller]
    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let far = found
            .iter()
            .zip(expected)
            .any(|(one, other)| (one - other).abs() > 1e-6);
        assert!(!far, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn a_known_pose_is_read_as_unity_has_it() {
        let Known { humanoid, pose, .. } = testing::arm_raised_and_hips_turned();
        let mut encoder = VmcEncoder::default();
        encoder.encode(&humanoid, &HumanPose::default());
        let datagrams = encoder.encode(&humanoid, &pose);
        assert_eq!(datagrams.len(), 2);
        let messages = read(datagrams);
        assert_eq!(messages.len(), 3 + 22);
        let ok = [1, 3, 0].map(OscType::Int).to_vec();
        assert_eq!(messages[0], ("/VMC/Ext/OK".into(), ok));
        let time = vec![OscType::Float(1.25)];
        assert_eq!(messages[1], ("/VMC/Ext/T".into(), time));
        assert_eq!(messages[2].0, "/VMC/Ext/Root/Pos");
        assert_eq!(messages[2].1[0], OscType::String("root".into()));
        // A step ahead (+Z) and to the left (-X in Unity), and a quarter turn to the left.
        let half = std::f32::consts::FRAC_1_SQRT_2;
        close(
            &numbers(&messages[2].1),
            &[-0.5, 0., 1., 0., -half, 0., half],
        );
        let bone = |name: &str| {
            let name = OscType::String(name.into());
            let found = messages.iter().find(|(_, arguments)| arguments[0] == name);
            let (address, arguments) = found.unwrap();
            assert_eq!(address, "/VMC/Ext/Bone/Pos");
            numbers(arguments)
        };
        // The hips above the root, turned by 30 degrees more to the left.
        let (sin, cos) = (15_f32.to_radians().sin(), 15_f32.to_radians().cos());
        close(&bone("Hips"), &[0., 0.97, 0., 0., -sin, 0., cos]);
        // The left arm, at -X in Unity, raised to the sky: a turn about Z by -90 degrees.
        close(&bone("LeftUpperArm"), &[-0.13, 0., 0., 0., 0., -half, half]);
        close(&bone("RightUpperArm"), &[0.13, 0., 0., 0., 0., 0., 1.]);
        close(&bone("LeftToes"), &[0., -0.06, 0.12, 0., 0., 0., 1.]);
    }
}
