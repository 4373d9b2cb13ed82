//! A generated motion as a recording: the poses that a character would have sent.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use kinestream_control::{Clock, Monotonic};
use kinestream_motion::character::skeleton;
use kinestream_motion::controller::LivePose;
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::foot::Feet;
use kinestream_motion::rotation::wrapped;
use kinestream_motion::synthesis::Take;
use nalgebra::Vector3;
use serde_json::json;

use crate::character::live::{Due, message, skeleton_info};
use crate::clock::stamp;
use crate::recording::{CheckpointIdentity, RecordSink, RecordingHeader, topic};

/// Messages that may wait for the file.
const WAITING: u64 = 512;
/// Time between two looks at how many do.
const GLANCE: Duration = Duration::from_millis(1);

/// Writes a take to a file that must not exist, as made by a checkpoint from a seed.
pub fn write(out: &Path, take: &Take, checkpoint: &Path, seed: u64) -> Result<()> {
    let skeleton = skeleton();
    let info = skeleton_info(&skeleton, &Feet::at_rest(&skeleton)?).to_value()?;
    let described = json!({ "character": "character", "skeleton": info });
    let opening = RecordingHeader {
        checkpoint: Some(CheckpointIdentity::of_motion(checkpoint)?),
        seeds: vec![seed],
        ..RecordingHeader::new("generate", &described)?
    };
    let tap = RecordSink::create(out, &opening)?;
    let begun_ns = Monotonic.now_ns();
    tap.json(topic::SKELETON, begun_ns, &info);
    let period_ns = (1e9 / FRAME_RATE) as u64;
    for (frame, pose) in poses(take).enumerate() {
        let due = Due {
            frame_ns: begun_ns + frame as u64 * period_ns,
            period_ns,
        };
        let number = frame as u64 + 1;
        let told = message(&pose, stamp(number, 1), number, due);
        tap.wire(topic::POSE, due.frame_ns, &told);
        // The recorder never waits, whoever has no deadline does.
        while tap.status().is_some_and(|status| {
            status.fault.is_none() && status.messages + status.dropped + WAITING < number
        }) {
            std::thread::sleep(GLANCE);
        }
    }
    if let Some(totals) = tap.finish() {
        let fault = totals.fault.unwrap_or_default();
        ensure!(
            totals.dropped == 0 && fault.is_empty(),
            "{}: {} poses were not written {fault}",
            out.display(),
            totals.dropped
        );
    }
    Ok(())
}

/// The frames of a take as poses of a live character.
fn poses(take: &Take) -> impl Iterator<Item = LivePose> + '_ {
    (0..take.poses.len()).map(|frame| {
        let before = frame.saturating_sub(1);
        let (root, last) = (take.roots[frame], take.roots[before]);
        let velocity: Vector3<f64> =
            (take.poses[frame].root - take.poses[before].root) * FRAME_RATE;
        LivePose {
            pose: take.poses[frame].clone(),
            root,
            velocity,
            yaw_rate: wrapped(root.heading - last.heading) * FRAME_RATE,
            contacts: take.contacts[frame].map(|contact| contact > 0.5),
            phase: 1.0,
            clamped: false,
            refused: false,
            idle: false,
            acting: true,
        }
    })
}
