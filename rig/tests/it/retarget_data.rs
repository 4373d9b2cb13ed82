//! Every motion capture file there is, retargeted: that all load, and how well they fit. Skips
//! without the files; `KINESTREAM_MOCAP` says where they are, else `runs/mocap` of the workspace.
//! With `--nocapture` the figures are printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinestream_rig::character::{ANKLE_HEIGHT, Bone, TOE_HEIGHT};
use kinestream_rig::retarget::{self, Options, Retargeted};
use kinestream_rig::skeleton::GlobalPose;
use nalgebra::Vector3;

const ENDINGS: [&str; 3] = ["bvh", "amc", "txt"];

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("KINESTREAM_MOCAP").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../runs/mocap"),
        PathBuf::from,
    );
    folder.is_dir().then_some(folder)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.ends_with("licenses") {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            found.push(path);
        }
    }
    found.sort();
}

#[derive(Default)]
struct Figures {
    files: usize,
    frames: usize,
    /// Number of files by how many first frames were left out, and frames in glitches by file.
    dropped: BTreeMap<usize, usize>,
    glitches: Vec<(String, usize)>,
    /// Distances in cm from the scaled source, by joint.
    errors: BTreeMap<&'static str, Vec<f64>>,
    /// Turns of joints between frames in degrees, and the largest of each joint with its place.
    turns: Vec<f64>,
    largest: BTreeMap<&'static str, (f64, String)>,
    soles: Vec<f64>,
    toes: Vec<f64>,
    floors: Vec<f64>,
    /// Of the source, of the character.
    sliding: [Vec<f64>; 2],
    /// Angles in degrees between the plane of a bent limb and its hinge: elbows, knees.
    hinges: [Vec<f64>; 2],
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted
        .get((last * share) as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn spread(values: &[f64], shares: &[f64]) -> String {
    let shown = |share: &f64| format!("p{} {:.2}", 100.0 * share, percentile(values, *share));
    shares.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// How far the toes slide per frame in cm, weighted with 2 - 2^(h / 2.5 cm) of their height.
fn sliding(poses: &[GlobalPose], toes: [usize; 2], floor: f64, out: &mut Vec<f64>) {
    for pair in poses.windows(2) {
        for toe in toes {
            let step = pair[1].positions[toe] - pair[0].positions[toe];
            let height = (pair[1].positions[toe].y - floor).max(0.0);
            let weight = (2.0 - 2f64.powf(height / 0.025)).max(0.0);
            out.push(100.0 * weight * step.x.hypot(step.z));
        }
    }
}

fn look_at(path: &Path, result: &Retargeted, figures: &mut Figures) {
    let name = path.file_stem().unwrap().to_string_lossy().to_string();
    figures.files += 1;
    figures.frames += result.clip.frames.len();
    *figures.dropped.entry(result.dropped).or_default() += 1;
    let glitches: usize = result.glitches.iter().map(ExactSizeIterator::len).sum();
    if glitches > 0 {
        figures.glitches.push((name.clone(), glitches));
    }
    figures
        .floors
        .extend(result.floor.iter().map(|height| 100.0 * height));
    let poses: Vec<GlobalPose> = (result.clip.frames.iter())
        .map(|pose| result.clip.skeleton.forward(pose))
        .collect();
    let limbs = [
        (
            [Bone::LeftArm, Bone::LeftForeArm, Bone::LeftHand],
            -Vector3::y(),
        ),
        (
            [Bone::RightArm, Bone::RightForeArm, Bone::RightHand],
            Vector3::y(),
        ),
        (
            [Bone::LeftUpLeg, Bone::LeftLeg, Bone::LeftFoot],
            Vector3::x(),
        ),
        (
            [Bone::RightUpLeg, Bone::RightLeg, Bone::RightFoot],
            Vector3::x(),
        ),
    ];
    for (pose, source) in poses.iter().zip(&result.source) {
        let at = |bone: Bone| pose.positions[bone.index()];
        for bone in Bone::ALL {
            if let Some(joint) = result.mapping.joint(bone) {
                let error = (at(bone) - source.positions[joint]).norm();
                figures
                    .errors
                    .entry(bone.name())
                    .or_default()
                    .push(100.0 * error);
            }
        }
        let toes = [Bone::LeftToe, Bone::RightToe].map(|bone| 100.0 * (at(bone).y - TOE_HEIGHT));
        let ankles =
            [Bone::LeftFoot, Bone::RightFoot].map(|bone| 100.0 * (at(bone).y - ANKLE_HEIGHT));
        figures.toes.extend(toes);
        let lowest = toes.into_iter().chain(ankles).fold(f64::INFINITY, f64::min);
        figures.soles.push(lowest);
        for (which, ([upper, middle, lower], hinge)) in limbs.into_iter().enumerate() {
            let (first, second) = (at(middle) - at(upper), at(lower) - at(middle));
            let axis = first.normalize().cross(&second.normalize());
            // From 30 degrees on a limb has a plane.
            if axis.norm() > 0.5 {
                let angle = axis.angle(&(pose.rotations[upper.index()] * hinge));
                figures.hinges[which / 2].push(angle.to_degrees());
            }
        }
    }
    let broken = |frame: usize| result.glitches.iter().any(|range| range.contains(&frame));
    for (frame, pair) in result.clip.frames.windows(2).enumerate() {
        if broken(frame) || broken(frame + 1) {
            continue;
        }
        for bone in Bone::ALL {
            let [from, to] = [&pair[0], &pair[1]].map(|pose| pose.rotations[bone.index()]);
            let turn = from.angle_to(&to).to_degrees();
            figures.turns.push(turn);
            let largest = figures.largest.entry(bone.name()).or_default();
            if turn > largest.0 {
                *largest = (turn, format!("{name}, frame {frame}"));
            }
        }
    }
    let toes = [Bone::LeftToe, Bone::RightToe];
    let floor = |poses: &[GlobalPose], toes: [usize; 2]| {
        let lower = |pose: &GlobalPose| toes.map(|toe| pose.positions[toe].y);
        let heights: Vec<f64> = poses.iter().map(lower).map(|[l, r]| l.min(r)).collect();
        percentile(&heights, 0.1)
    };
    let ours = toes.map(Bone::index);
    sliding(&poses, ours, floor(&poses, ours), &mut figures.sliding[1]);
    if let [Some(left), Some(right)] = toes.map(|toe| result.mapping.joint(toe)) {
        let (source, toes) = (&result.source, [left, right]);
        sliding(source, toes, floor(source, toes), &mut figures.sliding[0]);
    }
}

fn print(group: &str, figures: &Figures) {
    let f = figures;
    eprintln!("{group}: {} files, {} frames", f.files, f.frames);
    eprintln!("  files by frames dropped at the start: {:?}", f.dropped);
    eprintln!("  frames in glitches of the source: {:?}", f.glitches);
    let all: Vec<f64> = f.errors.values().flatten().copied().collect();
    eprintln!(
        "  distance cm, all joints: mean {:.2}, p99 {:.2}",
        mean(&all),
        percentile(&all, 0.99)
    );
    for (bone, errors) in &f.errors {
        let spread = spread(errors, &[0.5, 0.99, 1.0]);
        eprintln!("    {bone:14} mean {:5.2}, {spread}", mean(errors));
    }
    eprintln!(
        "  turn per frame in degrees: {}",
        spread(&f.turns, &[0.5, 0.99, 0.999, 1.0])
    );
    for (bone, (turn, place)) in &f.largest {
        eprintln!("    {bone:14} at most {turn:5.1} ({place})");
    }
    eprintln!(
        "  lowest sole cm: {}",
        spread(&f.soles, &[0.01, 0.05, 0.25, 0.5, 0.75, 0.95])
    );
    eprintln!(
        "  toes cm: {}",
        spread(&f.toes, &[0.01, 0.05, 0.25, 0.5, 0.75, 0.95])
    );
    eprintln!(
        "  floors cm: {}",
        spread(&f.floors, &[0.0, 0.05, 0.5, 0.95, 1.0])
    );
    let [source, character] = [mean(&f.sliding[0]), mean(&f.sliding[1])];
    eprintln!("  sliding cm per frame: source {source:.3}, character {character:.3}");
    eprintln!(
        "  elbows off their plane, degrees: {}",
        spread(&f.hinges[0], &[0.5, 0.9])
    );
    eprintln!(
        "  knees off their plane, degrees: {}",
        spread(&f.hinges[1], &[0.5, 0.9])
    );
}

fn check(group: &str, figures: &Figures) {
    let f = figures;
    // What the proportions allow: source and character differ most in their spines.
    let all: Vec<f64> = f.errors.values().flatten().copied().collect();
    assert!(mean(&all) < 9.0 && percentile(&all, 0.99) < 25.0, "{group}");
    // Ankles are where the source's are, but for legs that are stretched.
    for ankle in ["LeftFoot", "RightFoot"] {
        let errors = &f.errors[ankle];
        assert!(
            mean(errors) < 0.02 && percentile(errors, 1.0) < 1.5,
            "{group}"
        );
    }
    assert!(percentile(&f.turns, 0.999) < 30.0, "{group}");
    for (bone, (turn, place)) in &f.largest {
        // Hands, feet and toes follow what was captured, which is at times broken.
        let loose = ["Hand", "Foot", "Toe"]
            .iter()
            .any(|end| bone.ends_with(end));
        assert!(
            *turn < if loose { 150.0 } else { 60.0 },
            "{bone}: {turn} ({place})"
        );
    }
    // On uneven ground there is no one floor.
    if group != "cmu_asfamc" {
        let of_soles = |share| percentile(&f.soles, share);
        assert!(
            of_soles(0.05) > -2.5 && of_soles(0.5).abs() < 0.2,
            "{group}"
        );
    }
    let [source, character] = [mean(&f.sliding[0]), mean(&f.sliding[1])];
    assert!(character < 1.15 * source, "{group}");
    assert!(
        percentile(&f.hinges[0], 0.9) < 6.0 && percentile(&f.hinges[1], 0.9) < 0.1,
        "{group}"
    );
}

#[test]
fn all_motion_capture_files_fit_the_character() {
    let Some(folder) = folder() else {
        eprintln!("skipped: no motion capture files, see KINESTREAM_MOCAP");
        return;
    };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    let mut groups: BTreeMap<String, Figures> = BTreeMap::new();
    for path in &paths {
        let group = path.strip_prefix(&folder).unwrap().iter().next().unwrap();
        let figures = groups
            .entry(group.to_string_lossy().to_string())
            .or_default();
        let result = retarget::load_with_report(path, &Options::default())
            .unwrap_or_else(|error| panic!("{error}"));
        look_at(path, &result, figures);
    }
    for (group, figures) in &groups {
        print(group, figures);
    }
    for (group, figures) in &groups {
        check(group, figures);
    }
}
