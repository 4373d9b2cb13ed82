//! What `kinestream demo motion` says at its end.

use std::time::Instant;

use kinestream_control::Percentiles;
use kinestream_motion::controller::{Counts, Figures};
use serde::Serialize;

use kinestream_runtime::character::Statistics;
use kinestream_runtime::character::acts::ActCounts;
use kinestream_runtime::engines::EngineCounts;
use kinestream_terminal::say;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    task: &'static str,
    checkpoint: String,
    seeds: Vec<u32>,
    /// Runs of the course; 0 where a person steered.
    runs: usize,
    path_rmse_m: Option<f64>,
    heading_error_deg: Option<f64>,
    turn_180_settle_s: Option<f64>,
    foot_sliding: Option<FootSliding>,
    jerk: Option<Jerk>,
    /// Share of the frames in which each point bears.
    contacts: Contacts,
    frames: u64,
    frames_refused: u64,
    frames_clamped: u64,
    controls: Controls,
    poses_published: u64,
    /// What game engines got and said.
    engines: EngineCounts,
    /// What it was asked to perform.
    acts: ActCounts,
    /// From the moment at which a frame was due to its pose.
    latency_ms: Percentiles,
    missed: u64,
    wall_s: f64,
}

/// How far feet slide that are on the ground; as `kinestream eval` measures it.
#[derive(Debug, Serialize)]
struct FootSliding {
    weighted_cm_per_frame: f64,
    ratio: f64,
}

/// Jerk of all joints, m/s³.
#[derive(Debug, Serialize)]
struct Jerk {
    mean: f64,
    p99: f64,
}

#[derive(Debug, Serialize)]
struct Contacts {
    left_heel: f64,
    left_toe: f64,
    right_heel: f64,
    right_toe: f64,
}

/// What was asked of the character.
#[derive(Debug, Serialize)]
struct Controls {
    /// Messages over zenoh that decoded.
    received: u64,
    /// Of these, given up because a newer one was there at the next pose.
    superseded: u64,
    /// Messages over zenoh that did not decode.
    malformed: u64,
    /// Goals and knobs taken, from zenoh and page.
    taken: u64,
    /// Of these, brought within what the motion holds.
    clamped: u64,
    /// Goals and knobs refused.
    refused: u64,
}

/// What a demo did.
pub(super) struct Done {
    pub(super) seeds: Vec<u32>,
    pub(super) runs: usize,
    pub(super) figures: Figures,
    pub(super) statistics: Statistics,
    pub(super) turn_180_settle_s: Option<f64>,
}

impl Done {
    /// As it is printed.
    pub(super) fn report(&self, checkpoint: &str, begun: Instant) -> Report {
        let Statistics {
            counts,
            poses,
            controls,
            superseded,
            malformed,
            missed,
            latency_ms,
            engines,
            acts,
            ..
        } = self.statistics;
        let Counts {
            frames,
            refused,
            clamped,
            taken,
            taken_clamped,
            taken_refused,
        } = counts;
        let figures = &self.figures;
        let [left_heel, left_toe, right_heel, right_toe] = figures.contacts;
        Report {
            task: "motion",
            checkpoint: checkpoint.to_owned(),
            seeds: self.seeds.clone(),
            runs: self.runs,
            path_rmse_m: figures.path_rmse_m,
            heading_error_deg: figures.heading_error_deg,
            turn_180_settle_s: self.turn_180_settle_s,
            foot_sliding: figures.sliding.map(|sliding| FootSliding {
                weighted_cm_per_frame: sliding.weighted_cm_per_frame,
                ratio: sliding.ratio,
            }),
            jerk: figures.jerk.map(|jerk| Jerk {
                mean: jerk.mean,
                p99: jerk.p99,
            }),
            contacts: Contacts {
                left_heel,
                left_toe,
                right_heel,
                right_toe,
            },
            frames,
            frames_refused: refused,
            frames_clamped: clamped,
            controls: Controls {
                received: controls,
                superseded,
                malformed,
                taken,
                clamped: taken_clamped,
                refused: taken_refused,
            },
            poses_published: poses,
            engines,
            acts,
            latency_ms,
            missed,
            wall_s: begun.elapsed().as_secs_f64(),
        }
    }
}

/// For people.
pub(super) fn print(report: &Report) {
    if let (Some(metres), Some(degrees)) = (report.path_rmse_m, report.heading_error_deg) {
        say!(
            "{} runs of the course: {metres:.3} m and {degrees:.1} degrees off it",
            report.runs
        );
        match report.turn_180_settle_s {
            Some(seconds) => say!("half turn at a run settled in {seconds:.2} s"),
            None => say!("half turn at a run not settled within {} s", super::AFTER),
        }
    }
    if let (Some(sliding), Some(jerk)) = (&report.foot_sliding, &report.jerk) {
        say!(
            "feet slide {:.3} cm per frame, jerk {:.0} m/s³",
            sliding.weighted_cm_per_frame,
            jerk.mean
        );
    }
    say!(
        "{} frames, {} refused, {} with clamped control; {} poses, {} periods missed; frame due to \
         pose p50 {:.2} ms, p99 {:.2} ms",
        report.frames,
        report.frames_refused,
        report.frames_clamped,
        report.poses_published,
        report.missed,
        report.latency_ms.p50,
        report.latency_ms.p99
    );
}
