//! `kinestream replay --export`: the poses of a recording as BVH or binary glTF, a file per stream.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kinestream_bridge::recording::{Recording, Survey};
use kinestream_bridge::wire::{Decode, Pose as WirePose};
use kinestream_motion::formats::{bvh, gltf};
use kinestream_motion::{Clip, Pose};
use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use serde::Serialize;

use super::zenoh::recorded_skeleton;
use kinestream_runtime::character::shown::SkeletonView;
use kinestream_runtime::recording::topic;
use kinestream_terminal::{output, say};

/// Longest stretch without a pose that is filled by what lies between, s. A longer one is a pause, and is left out.
const MOST_FILLED_S: f64 = 0.5;

/// What was written.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a Path,
    exported: Vec<Exported>,
    /// Messages on the topic of poses that were none, or of another skeleton.
    malformed: u64,
}

/// One file.
#[derive(Debug, Serialize)]
struct Exported {
    path: PathBuf,
    /// Stream of the recording.
    stream: u32,
    frames: usize,
    frame_rate_hz: f64,
    duration_s: f64,
    /// Frames that were interpolated where no pose was recorded.
    filled: usize,
    /// Pauses that were left out.
    pauses: usize,
}

/// How a clip is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Bvh,
    Glb,
}

/// Writes the poses after the first `seek_s` seconds. Files that exist are replaced.
pub(super) fn run(
    recording: &Recording,
    survey: &Survey,
    file: &Path,
    out: &Path,
    seek_s: f64,
    json: bool,
) -> Result<()> {
    let format = Format::of(out)?;
    let name = file.display();
    ensure!(
        survey.topics.contains_key(topic::POSE),
        "{name}: --export is for recordings of characters, and this one has no `{}`",
        topic::POSE
    );
    let skeleton = recorded_skeleton(recording, survey)?.with_context(|| {
        format!(
            "{name}: the recording has poses but no `{}`, so nobody knows their joints; record again while the \
             character answers",
            topic::SKELETON
        )
    })?;
    let figure = SkeletonView::new(&skeleton)?;
    let from_ns = survey
        .first_log_ns
        .unwrap_or_default()
        .saturating_add((seek_s * 1e9) as u64);
    let mut takes: Vec<Take> = Vec::new();
    let mut malformed = 0;
    for message in recording.messages()? {
        let message = message?;
        if *message.topic != *topic::POSE || message.log_ns < from_ns {
            continue;
        }
        match WirePose::decode(&message.bytes) {
            Ok(pose) if pose.rotations.len() == figure.joints() => match takes.last_mut() {
                Some(take) if take.stream == pose.stamp.stream => take.push(&pose),
                _ => takes.push(Take::begin(&pose)),
            },
            _ => malformed += 1,
        }
    }
    ensure!(
        !takes.is_empty(),
        "{name}: no pose after {seek_s} s; there is nothing to export"
    );
    let several = takes.len() > 1;
    let mut exported = Vec::with_capacity(takes.len());
    for (index, take) in takes.into_iter().enumerate() {
        let path = match several {
            true => numbered(out, index + 1),
            false => out.to_path_buf(),
        };
        let clip = Clip {
            skeleton: figure.skeleton().clone(),
            frame_rate: take.frame_rate,
            frames: take.frames,
        };
        match format {
            Format::Bvh => bvh::write(&path, &clip)?,
            Format::Glb => gltf::write(&path, &clip)?,
        }
        exported.push(Exported {
            path,
            stream: take.stream,
            frames: clip.frames.len(),
            frame_rate_hz: clip.frame_rate,
            duration_s: clip.seconds(),
            filled: take.filled,
            pauses: take.pauses,
        });
    }
    let report = Report {
        file,
        exported,
        malformed,
    };
    if json {
        return output::json(&report);
    }
    for file in &report.exported {
        say!(
            "{}: stream {}, {} frames at {:.0} a second, {:.2} s; {} filled in, {} pauses left out",
            file.path.display(),
            file.stream,
            file.frames,
            file.frame_rate_hz,
            file.duration_s,
            file.filled,
            file.pauses
        );
    }
    Ok(())
}

impl Format {
    fn of(out: &Path) -> Result<Self> {
        match out.extension().and_then(|extension| extension.to_str()) {
            Some("bvh") => Ok(Self::Bvh),
            Some("glb") => Ok(Self::Glb),
            _ => bail!(
                "--export {}: expected a name that ends with .bvh or .glb",
                out.display()
            ),
        }
    }
}

/// `walk.bvh` as `walk-2.bvh`.
fn numbered(out: &Path, number: usize) -> PathBuf {
    let part =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (part(out.file_stem()), part(out.extension()));
    out.with_file_name(format!("{stem}-{number}.{extension}"))
}

/// Poses of one stream at a fixed rate.
struct Take {
    stream: u32,
    frame_rate: f64,
    frames: Vec<Pose>,
    last_ns: u64,
    filled: usize,
    pauses: usize,
}

impl Take {
    fn begin(first: &WirePose) -> Self {
        Self {
            stream: first.stamp.stream,
            frame_rate: 1e9 / first.period_ns as f64,
            frames: vec![pose(first)],
            last_ns: first.frame_ns,
            filled: 0,
            pauses: 0,
        }
    }

    fn push(&mut self, next: &WirePose) {
        let passed = next.frame_ns.saturating_sub(self.last_ns) as f64 / 1e9;
        self.last_ns = next.frame_ns;
        let periods = (passed * self.frame_rate).round() as usize;
        let next = pose(next);
        if passed > MOST_FILLED_S {
            self.pauses += 1;
        } else if let Some(last) = self.frames.last().cloned() {
            for missing in 1..periods {
                let share = missing as f64 / periods as f64;
                self.frames.push(last.blended(&next, share));
                self.filled += 1;
            }
        }
        self.frames.push(next);
    }
}

/// A pose of the wire.
fn pose(told: &WirePose) -> Pose {
    Pose {
        root: Vector3::from(told.root_position),
        rotations: told
            .rotations
            .iter()
            .map(|rotation| {
                let [x, y, z, w] = rotation.map(f64::from);
                UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::wire::{Contacts, PoseFlags};

    use super::*;

    fn told(frame_ns: u64, x: f64) -> WirePose {
        WirePose {
            stamp: Default::default(),
            frame: 1,
            frame_ns,
            period_ns: 10_000_000,
            contacts: Contacts::NONE,
            flags: PoseFlags::NONE,
            phase: 1.0,
            root_position: [x, 0.9, 0.0],
            root_velocity: [0.0; 3],
            yaw_rate: 0.0,
            rotations: vec![[0.0, 0.0, 0.0, 1.0]],
        }
    }

    #[test]
    fn missed_periods_are_filled_and_pauses_left_out() {
        let mut take = Take::begin(&told(5_000_000, 0.0));
        take.push(&told(15_100_000, 1.0));
        // Three periods in one step.
        take.push(&told(45_000_000, 4.0));
        // Ten seconds held still.
        take.push(&told(10_045_000_000, 4.5));
        assert_eq!(take.frame_rate, 100.0);
        assert_eq!((take.filled, take.pauses), (2, 1));
        let places: Vec<f64> = take.frames.iter().map(|pose| pose.root.x).collect();
        let far = places
            .iter()
            .zip([0.0, 1.0, 2.0, 3.0, 4.0, 4.5])
            .any(|(one, other)| (one - other).abs() > 1e-9);
        assert!(!far && places.len() == 6, "{places:?}");
    }

    #[test]
    fn the_ending_says_the_format() {
        assert_eq!(Format::of(Path::new("a/b.bvh")).unwrap(), Format::Bvh);
        assert_eq!(Format::of(Path::new("b.glb")).unwrap(), Format::Glb);
        for wrong in ["a.fbx", "bvh", ""] {
            assert!(Format::of(Path::new(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(
            numbered(Path::new("a/b.c.glb"), 2),
            Path::new("a/b.c-2.glb")
        );
    }
}
