//! Acclaim's ASF and AMC files: known geometry, and what is wrong with broken ones.

use std::path::Path;

use kinestream_rig::formats::asf_amc::{self, Asf};
use nalgebra::Vector3;
use proptest::prelude::*;

/// A root, a bone of ten units down, whose axes are turned by 90 degrees about z, and one more.
const SKELETON: &str = "# a comment
:version 1.10
:units
  mass 1.0
  length 0.5
  angle deg
:documentation
  :-free text is a section of its own
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name thigh
    direction 0 -1 0
    length 10
    axis 0 0 90 XYZ
    dof rx
    limits (-160.0 20.0)
  end
  begin
    id 2
    name shin
    direction 0 -1 0
    length 5
    axis 0 0 0 XYZ
    dof rx rz
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
:hierarchy
  begin
    root thigh
    thigh shin
  end
";

const MOTION: &str = "#!OML:ASF
:FULLY-SPECIFIED
:DEGREES
1
root 1 2 3 0 0 0
thigh 0
shin 0 0
2
root 1 2 3 0 90 0
thigh 90
shin 90 90
";

/// An inch in units of 0.5 to the inch.
const UNIT: f64 = 0.0254 / 0.5;

fn skeleton(text: &str) -> Asf {
    Asf::parse(text, Path::new("a.asf")).unwrap()
}

fn close(found: Vector3<f64>, expected: [f64; 3]) {
    let expected = Vector3::from(expected) * UNIT;
    assert!(
        (found - expected).norm() < 1e-9,
        "{found} in place of {expected}"
    );
}

#[test]
fn bones_turn_about_their_own_axes() {
    let clip = skeleton(SKELETON)
        .motion(MOTION, Path::new("a.amc"))
        .unwrap();
    assert_eq!((clip.frame_rate, clip.frames.len()), (120.0, 2));
    let names: Vec<&str> = clip
        .skeleton
        .joints()
        .iter()
        .map(|joint| joint.name.as_str())
        .collect();
    assert_eq!(names, ["root", "thigh", "shin"]);
    let end = clip.skeleton.ends()[0];
    assert_eq!(end.0, 2);
    let tip = |frame: usize| {
        let global = clip.skeleton.forward(&clip.frames[frame]);
        (
            global.clone(),
            global.positions[2] + global.rotations[2] * end.1,
        )
    };
    let (rest, foot) = tip(0);
    close(rest.positions[0], [1.0, 2.0, 3.0]);
    close(rest.positions[2], [1.0, -8.0, 3.0]);
    close(foot, [1.0, -13.0, 3.0]);
    // The thigh's x axis is the world's y axis, along the bone: it turns about itself by 90
    // degrees, as the root does about the same axis. The shin turns about x, then about the fixed
    // z, both of which have been turned twice by 90 degrees about y: to -x and -z.
    let (turned, foot) = tip(1);
    close(turned.positions[2], [1.0, -8.0, 3.0]);
    close(foot, [1.0, -8.0, 8.0]);
    let radians = MOTION
        .replace("DEGREES", "RADIANS")
        .replace("90", "1.5707963267948966");
    let other = skeleton(SKELETON)
        .motion(&radians, Path::new("a.amc"))
        .unwrap();
    for (one, other) in clip.frames.iter().zip(&other.frames) {
        for (one, other) in one.rotations.iter().zip(&other.rotations) {
            assert!(one.angle_to(other) < 1e-9);
        }
    }
}

#[test]
fn the_skeleton_of_a_motion_is_found_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let amc = folder.path().join("07_05.amc");
    std::fs::write(&amc, MOTION).unwrap();
    let message = asf_amc::read(&amc).unwrap_err().to_string();
    assert!(message.contains("0 ASF files beside it"), "{message}");
    std::fs::write(folder.path().join("other.asf"), SKELETON).unwrap();
    assert_eq!(asf_amc::read(&amc).unwrap().skeleton.len(), 3);
    std::fs::write(folder.path().join("07.asf"), "nonsense").unwrap();
    let message = asf_amc::read(&amc).unwrap_err().to_string();
    assert!(message.contains("07.asf"), "{message}");
}

#[test]
fn what_is_wrong_with_a_skeleton_is_named_with_its_line() {
    let refused = |text: &str, words: &str| {
        let message = Asf::parse(text, Path::new("a.asf"))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("a.asf:") && message.contains(words),
            "{message}"
        );
    };
    let with = |old: &str, new: &str| {
        assert!(SKELETON.contains(old));
        SKELETON.replace(old, new)
    };
    refused("", "no order of the root");
    refused(
        &with("length 0.5", "length 0"),
        ":5: length 0, expected units per inch",
    );
    refused(
        &with("angle deg", "angle turns"),
        ":6: angle `turns`, expected deg or rad",
    );
    refused(
        &with("orientation 0 0 0", "orientation 0 90 0"),
        ":13: an orientation of the root",
    );
    refused(&with("length 10", "length ten"), ":19: `ten` is no number");
    refused(
        &with("direction 0 -1 0", "direction 0 -1"),
        ":18: the line ends, expected three",
    );
    refused(
        &with("0 0 90 XYZ", "0 0 90 XWZ"),
        ":20: order `XWZ` of axis",
    );
    refused(
        &with("dof rx\n", "dof rx l\n"),
        ":21: degree of freedom `l`",
    );
    refused(
        &with("dof rx\n", "dof tx\n"),
        ":21: a bone that is displaced",
    );
    refused(&with("name shin", "name thigh"), ":33: bone `thigh` twice");
    refused(
        &with("    thigh shin", "    thigh foot"),
        "bone `foot` in the hierarchy",
    );
    refused(
        &with("    root thigh", ""),
        "`thigh` is not connected to the root",
    );
    refused(
        &with("    root thigh", "    shin thigh"),
        "is not connected to the root",
    );
    refused(
        &with("    thigh shin", "    root thigh"),
        "has the parent `root` already",
    );
    refused(
        &SKELETON[..SKELETON.find("limits").unwrap()],
        "the file ends in bone `thigh`",
    );
}

#[test]
fn what_is_wrong_with_a_motion_is_named_with_its_line() {
    let asf = skeleton(SKELETON);
    let refused = |text: &str, words: &str| {
        let message = asf
            .motion(text, Path::new("a.amc"))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("a.amc:") && message.contains(words),
            "{message}"
        );
    };
    let with = |old: &str, new: &str| {
        assert!(MOTION.contains(old));
        MOTION.replacen(old, new, 1)
    };
    refused("", "no frames");
    refused(
        &with("1\nroot", "root"),
        ":4: a bone before the first frame",
    );
    refused(
        &with("shin 0 0\n", ""),
        ":7: frame 1 ends here with 2 of 3 bones, expected `shin` too",
    );
    refused(&MOTION.replace("shin 90 90\n", ""), "frame 2 ends here");
    refused(
        &with("shin 0 0", "shin 0"),
        ":7: 1 values of bone `shin`, expected 2",
    );
    refused(&with("shin 0 0", "shin 0 nan"), ":7: `nan` is not finite");
    refused(
        &with("shin 0 0", "foot 0 0"),
        ":7: bone `foot` is not in the skeleton",
    );
    refused(
        &with("shin 0 0", "thigh 0"),
        ":7: bone `thigh` twice in a frame",
    );
    refused(&with("\n2\n", "\n3\n"), ":8: frame 3, expected frame 2");
}

proptest! {
    #[test]
    fn broken_files_are_errors(
        of_skeleton in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<char>(),
        cut in any::<bool>(),
    ) {
        let whole = if of_skeleton { SKELETON } else { MOTION };
        let at = at.index(whole.len());
        let text = if cut {
            whole[..at].to_string()
        } else {
            format!("{}{byte}{}", &whole[..at], &whole[at + 1..])
        };
        // Never a panic; what is read fits together.
        let (skeleton, motion) = if of_skeleton { (&*text, MOTION) } else { (SKELETON, &*text) };
        if let Ok(asf) = Asf::parse(skeleton, Path::new("a.asf"))
            && let Ok(clip) = asf.motion(motion, Path::new("a.amc"))
        {
            for pose in &clip.frames {
                let global = clip.skeleton.forward(pose);
                prop_assert!(global.positions.iter().all(|place| place.iter().all(|value| value.is_finite())));
            }
        }
    }
}
