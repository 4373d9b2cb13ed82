//! What `kinestream eval` says of motion models.

use anyhow::Result;
use kinestream_motion::course::COURSE;
use kinestream_motion::metrics::Estimate;
use kinestream_motion::toy::Learned;
use kinestream_motion_evaluation::course::{
    Done, Evaluation, EvaluationOptions, Nearest, Reference,
};
use serde::{Serialize, Serializer};

use kinestream_terminal::say;

/// The result; distances are those of sets of different sizes, and so comparable between models
/// that were measured with the same options only.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) checkpoint: String,
    seed: u64,
    characters: usize,
    seconds: f64,
    runs: usize,
    fid: f64,
    fid_interval: Option<[f64; 2]>,
    fid_train_heldout: f64,
    fid_train_heldout_interval: Option<[f64; 2]>,
    diversity: f64,
    diversity_interval: Option<[f64; 2]>,
    diversity_ground_truth: f64,
    diversity_ground_truth_interval: Option<[f64; 2]>,
    /// On the course after the foot lock, against held-out motion of the same speeds.
    foot_sliding_ratio: f64,
    foot_sliding_ratio_interval: Option<[f64; 2]>,
    jerk_ratio: f64,
    jerk_ratio_interval: Option<[f64; 2]>,
    /// The same against all of the held-out motion.
    foot_sliding_ratio_overall: f64,
    jerk_ratio_overall: f64,
    /// Share of the course's frames with a speed that held-out motion has.
    speeds_covered: f64,
    foot_sliding_ratio_without_ik: f64,
    jerk_ratio_without_ik: f64,
    /// Motion without steering, after the foot lock.
    free_foot_sliding_ratio: f64,
    free_jerk_ratio: f64,
    path_rmse_m: f64,
    heading_error_deg: f64,
    turn_180_settle_s: Option<f64>,
    turn_180_foot_sliding_ratio: f64,
    turn_180_jerk_ratio: f64,
    frames_refused: u64,
    legs: Vec<LegReport>,
    #[serde(flatten, serialize_with = "toy")]
    pub(super) toy: Option<Learned>,
}

/// A leg of the course, and the captured motion that comes nearest to it.
#[derive(Debug, Serialize)]
struct LegReport {
    leg: &'static str,
    #[serde(flatten)]
    done: Done,
    nearest_clip: Nearest,
}

#[derive(Serialize)]
struct Toy {
    modes_found: usize,
    mode_mass_error: f64,
    modes_outside: f64,
}

fn toy<S: Serializer>(learned: &Option<Learned>, serializer: S) -> Result<S::Ok, S::Error> {
    let toy = learned.as_ref().map(|learned| Toy {
        modes_found: learned.polished.modes_found,
        mode_mass_error: learned.polished.mode_mass_error,
        modes_outside: learned.polished.outside,
    });
    toy.serialize(serializer)
}

/// Models side by side.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) threads: usize,
    /// By model, for one character and for a thousand.
    pub(super) frames_per_second: Vec<Vec<f64>>,
    pub(super) models: Vec<Report>,
}

impl Report {
    pub(super) fn new(
        checkpoint: String,
        options: &EvaluationOptions,
        reference: &Reference,
        found: &Evaluation,
    ) -> Result<Self> {
        let interval = |estimate: &Estimate| estimate.interval;
        let figures = &reference.figures;
        let legs = COURSE.iter().zip(&found.legs).zip(&figures.nearest);
        Ok(Self {
            checkpoint,
            seed: options.seed,
            characters: options.characters,
            seconds: options.seconds,
            runs: options.runs,
            fid: found.free.distance.value,
            fid_interval: interval(&found.free.distance),
            fid_train_heldout: figures.train.distance.value,
            fid_train_heldout_interval: interval(&figures.train.distance),
            diversity: found.diversity.value,
            diversity_interval: interval(&found.diversity),
            diversity_ground_truth: figures.diversity.value,
            diversity_ground_truth_interval: interval(&figures.diversity),
            foot_sliding_ratio: found.locked.foot_sliding.matched.value,
            foot_sliding_ratio_interval: interval(&found.locked.foot_sliding.matched),
            jerk_ratio: found.locked.jerk.matched.value,
            jerk_ratio_interval: interval(&found.locked.jerk.matched),
            foot_sliding_ratio_overall: found.locked.foot_sliding.overall,
            jerk_ratio_overall: found.locked.jerk.overall,
            speeds_covered: found.locked.foot_sliding.covered,
            foot_sliding_ratio_without_ik: found.unlocked.foot_sliding.matched.value,
            jerk_ratio_without_ik: found.unlocked.jerk.matched.value,
            free_foot_sliding_ratio: found.free_locked.foot_sliding.matched.value,
            free_jerk_ratio: found.free_locked.jerk.matched.value,
            path_rmse_m: found.course.path_rmse_m,
            heading_error_deg: found.course.heading_error_deg,
            turn_180_settle_s: found.turn_180_settle_s,
            turn_180_foot_sliding_ratio: found.turn_180.foot_sliding.matched.value,
            turn_180_jerk_ratio: found.turn_180.jerk.matched.value,
            frames_refused: found.refused,
            legs: legs
                .map(|((leg, done), nearest)| LegReport {
                    leg: leg.name,
                    done: done.clone(),
                    nearest_clip: nearest.clone(),
                })
                .collect(),
            toy: None,
        })
    }

    pub(super) fn print(&self) {
        let Self {
            checkpoint,
            characters,
            seconds,
            runs,
            ..
        } = self;
        say!("{checkpoint}: {characters} characters of {seconds} s, {runs} runs of the course");
        say!(
            "  Fréchet distance to held-out clips  {:.1}, {:.2} times that of the training clips",
            self.fid,
            self.fid / self.fid_train_heldout
        );
        say!(
            "  diversity                           {:.2}, of the held-out clips {:.2}",
            self.diversity,
            self.diversity_ground_truth
        );
        say!("  over held-out motion of like speed  foot sliding, jerk");
        for (name, sliding, jerk) in [
            ("course", self.foot_sliding_ratio, self.jerk_ratio),
            (
                "course without the foot lock",
                self.foot_sliding_ratio_without_ik,
                self.jerk_ratio_without_ik,
            ),
            (
                "without steering",
                self.free_foot_sliding_ratio,
                self.free_jerk_ratio,
            ),
            (
                "half turn at a run",
                self.turn_180_foot_sliding_ratio,
                self.turn_180_jerk_ratio,
            ),
        ] {
            say!("    {name:32}  {sliding:.2}, {jerk:.2}");
        }
        say!(
            "  off the course                      {:.3} m, {:.1} degrees",
            self.path_rmse_m,
            self.heading_error_deg
        );
        match self.turn_180_settle_s {
            Some(seconds) => {
                say!("  half turn at a run                  settled in {seconds:.2} s")
            }
            None => say!("  half turn at a run                  not settled within 3 s"),
        }
        say!(
            "  frames refused                      {}",
            self.frames_refused
        );
        if let Some(learned) = &self.toy {
            say!(
                "  toy distribution                    {} of 9 modes, mass error {:.3}",
                learned.polished.modes_found,
                learned.polished.mode_mass_error
            );
        }
        say!("  leg by leg, and the captured motion whose path is nearest:");
        say!(
            "    {:26}{:>7}{:>7}{:>8}{:>7}{:>6}   {}",
            "",
            "path m",
            "turn",
            "settles",
            "slides",
            "jerk",
            "clip"
        );
        for leg in &self.legs {
            row(leg.leg, &leg.done, "");
            if let (Some(clip), Some(done)) = (&leg.nearest_clip.clip, &leg.nearest_clip.done) {
                let place = format!("{clip} at {:.1} s", leg.nearest_clip.from_s);
                row("", done, &place);
            }
        }
    }
}

fn row(name: &str, done: &Done, clip: &str) {
    let settled = done
        .settled_s
        .map_or("-".into(), |seconds| format!("{seconds:.2} s"));
    say!(
        "    {name:26}{:7.3}{:6.1}°{settled:>8}{:7.2}{:6.0}   {clip}",
        done.path_rmse_m,
        done.heading_error_deg,
        done.foot_sliding,
        done.jerk
    );
}

impl Comparison {
    /// A table in Markdown.
    pub(super) fn print(&self) {
        say!(
            "| model | FID | FID over train | DIV | sliding | without IK | jerk | path RMSE | heading | \
             frames/s, 1 | frames/s, 1000 |"
        );
        say!("|---|---|---|---|---|---|---|---|---|---|---|");
        for (report, speeds) in self.models.iter().zip(&self.frames_per_second) {
            let name = std::path::Path::new(&report.checkpoint)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            say!(
                "| {name} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} cm | {:.1}° | {:.0} | {:.0} |",
                report.fid,
                report.fid / report.fid_train_heldout,
                report.diversity,
                report.foot_sliding_ratio,
                report.foot_sliding_ratio_without_ik,
                report.jerk_ratio,
                100.0 * report.path_rmse_m,
                report.heading_error_deg,
                speeds[0],
                speeds[1]
            );
        }
        if let Some(first) = self.models.first() {
            say!(
                "| training clips, held-out clips | {:.1} | 1 | {:.2} | 1 | 1 | 1 | | | | |",
                first.fid_train_heldout,
                first.diversity_ground_truth
            );
        }
    }
}
