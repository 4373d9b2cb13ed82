//! `kinestream eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kinestream_kernels::{Executor, Precision};

use super::product::{
    CHARACTERS, CHARACTERS_AND_CLIPS, CLIPS, POLICIES, POLICIES_AND_CHARACTERS, POLICIES_AND_CLIPS,
};

#[derive(Debug, Args)]
#[command(after_help = super::product::AFTER_HELP)]
pub struct EvalArguments {
    /// Configuration file.
    pub config: PathBuf,
    /// Folder of the motion capture to judge against; without it a character is judged by the reference that was written
    /// beside the extractor.
    #[arg(long, help_heading = CHARACTERS_AND_CLIPS)]
    pub data: Option<PathBuf>,
    /// Keep what judging needs of the motion capture beside the extractor.
    #[arg(long, requires = "data", help_heading = CHARACTERS)]
    pub write_reference: bool,
    /// More checkpoint folders, to be judged alike and put side by side in a table; repeatable. Those
    /// of a policy count as training runs, whose mean and its interval are told.
    #[arg(long, value_name = "FOLDER")]
    pub against: Vec<PathBuf>,
    /// Move many characters for hours under random sticks; watches their health and compares
    /// the last ten minutes with the first.
    #[arg(long, conflicts_with_all = ["against", "pictures"], help_heading = CHARACTERS)]
    pub long_run: bool,
    /// Characters of the long run, in one batch.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1000,
        requires = "long_run", help_heading = CHARACTERS)]
    pub characters: usize,
    /// Hours of the long run, whole minutes of each character's own time.
    #[arg(long, default_value_t = 1.0, requires = "long_run", help_heading = CHARACTERS)]
    pub hours: f64,
    /// File that the long run is kept in after every minute, and goes on from; in the working
    /// directory long-run.safetensors by default.
    #[arg(long, value_name = "FILE", requires = "long_run", help_heading = CHARACTERS)]
    pub state: Option<PathBuf>,
    /// Factor of the random numbers on the course, 0 to 2; by default as in `demo motion`.
    #[arg(long, value_name = "FACTOR", help_heading = CHARACTERS)]
    pub diversity: Option<f64>,
    /// How much of the way to the root motion that the course asks for every estimate is
    /// drawn, 0 to 1.
    #[arg(long, value_name = "SHARE", help_heading = CHARACTERS)]
    pub strength: Option<f64>,
    /// How much of its distance from the course a character is to make good within a second.
    #[arg(long, value_name = "SHARE", help_heading = CHARACTERS)]
    pub gain: Option<f64>,
    /// Write pictures as SVG to this folder: a character's strips of poses and its trajectory on the course, a policy's
    /// scores of --curve.
    #[arg(long, value_name = "FOLDER", help_heading = POLICIES_AND_CHARACTERS)]
    pub pictures: Option<PathBuf>,
    /// Leave out the toy distribution of the paper, which is learned anew to count its modes.
    #[arg(long, help_heading = CHARACTERS)]
    pub skip_toy: bool,
    /// Runs, each of which draws held-out clips and makes as many.
    #[arg(long, value_name = "COUNT", default_value_t = 20, help_heading = CLIPS)]
    pub runs: usize,
    /// Clips of a run.
    #[arg(long, value_name = "COUNT", default_value_t = 100, help_heading = CLIPS)]
    pub clips: usize,
    /// Weight of the label, 1 as trained; by default what each model says.
    #[arg(long, value_name = "WEIGHT", help_heading = CLIPS)]
    pub guidance: Option<f64>,
    /// Denoise steps at which --guidance counts, the first ones; 0 for all; by default what each
    /// model says.
    #[arg(long, value_name = "STEPS", help_heading = CLIPS)]
    pub guided_steps: Option<usize>,
    /// Ask a character that walks about for so many clips, and look at the seams in place of the
    /// clips; it is steered by the shipped motion model.
    #[arg(
        long,
        value_name = "REQUESTS",
        num_args = 0..=1,
        default_missing_value = "200",
        conflicts_with_all = ["curve", "against", "runs", "clips", "steps", "guidance", "guided_steps"], help_heading = CLIPS)]
    pub transitions: Option<usize>,
    /// A policy: score against network evaluations per action, for every way of running; about an hour for a checkpoint
    /// and 500 seeds. Whole clips: at 1, 2 and 5 denoise steps, too.
    #[arg(long, conflicts_with_all = ["steps", "chunk", "action_steps", "iterate", "restart", "delay_curve", "delay_ms", "commit_ahead"], help_heading = POLICIES_AND_CLIPS)]
    pub curve: bool,
    /// Checkpoint folder; `runtime.checkpoint` by default.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Seeds A..B, both included.
    #[arg(long, default_value = "100000..100049", value_parser = parse_seeds, help_heading = POLICIES)]
    pub seeds: Seeds,
    /// A policy begins every episode from the state of this seed, and --seeds vary its noise alone: shows which of several
    /// right ways it takes from one state.
    #[arg(long, value_name = "SEED", help_heading = POLICIES)]
    pub start: Option<u32>,
    /// Network evaluations per action (whole clips: denoise steps), in place of what the checkpoint was made for.
    #[arg(long, help_heading = POLICIES_AND_CLIPS)]
    pub steps: Option<f64>,
    /// Actions executed per plan, Ta, in place of what the checkpoint was made for.
    #[arg(long, help_heading = POLICIES)]
    pub action_steps: Option<usize>,
    /// Plain Diffusion Policy: denoise whole chunks of 8 actions, with 100 evaluations a chunk or
    /// --steps.
    #[arg(long, help_heading = POLICIES)]
    pub chunk: bool,
    /// Solver, in place of what the checkpoint was made for; docs/SOLVERS.md says which and when.
    #[arg(long, value_name = "NAME", help_heading = POLICIES)]
    pub solver: Option<String>,
    /// Milliseconds from an observation to its plan, whole control periods; the actions of the plan
    /// before it go on meanwhile.
    #[arg(long, value_name = "MS", default_value_t = 0.0, help_heading = POLICIES)]
    pub delay_ms: f64,
    /// How a late chunk joins the one that is executed, with --chunk.
    #[arg(long, value_enum, requires = "chunk", help_heading = POLICIES)]
    pub join: Option<ChunkTransition>,
    /// Actions that a plan takes over unchanged (plan.commit_ahead); with --delay-ms as many as it
    /// comes late.
    #[arg(long, value_name = "ACTIONS", help_heading = POLICIES)]
    pub commit_ahead: Option<usize>,
    /// Chunks go on from the one before them, with this many denoise steps each (plan.iterate), with
    /// --chunk; best with --action-steps 1.
    #[arg(long, value_name = "STEPS", requires = "chunk", help_heading = POLICIES)]
    pub iterate: Option<usize>,
    /// Chunks begin from what the ones before them were so many denoise steps from their end, or
    /// earlier where the observation is a surprise (plan.restart), with --chunk.
    #[arg(
        long,
        value_name = "STEPS",
        requires = "chunk",
        conflicts_with = "iterate", help_heading = POLICIES)]
    pub restart: Option<usize>,
    /// What is no surprise yet, with --restart (plan.restart.within).
    #[arg(
        long,
        value_name = "DISTANCE",
        default_value_t = 0.1,
        requires = "restart", help_heading = POLICIES)]
    pub within: f64,
    /// Score every way to live with delay at 0, 100, 200 and 400 ms; --steps are the evaluations of
    /// a chunk here, 10 unless given.
    #[arg(long, conflicts_with_all = ["delay_ms", "chunk", "join", "commit_ahead", "iterate", "restart", "against", "pictures"], help_heading = POLICIES)]
    pub delay_curve: bool,
    /// Episodes in one batch, of a thread where they divide them.
    #[arg(long, default_value_t = 50, help_heading = POLICIES)]
    pub batch: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// What evaluates the policy (auto, libtorch, fused or graph) or the character (auto, libtorch or
    /// fused); `runtime.executor` by default.
    #[arg(long, value_name = "NAME", help_heading = POLICIES_AND_CHARACTERS)]
    pub executor: Option<Executor>,
    /// How the fused kernels keep weights: fp32, fp16 or int8; `runtime.precision` by default.
    #[arg(long, help_heading = POLICIES_AND_CHARACTERS)]
    pub precision: Option<Precision>,
    /// Threads; all cores by default. A policy's episodes are divided among them, or a large policy's
    /// evaluations.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// How a late chunk joins the one that is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkTransition {
    /// From its first action, as if it had been there at once (naive chunking).
    Restart,
    /// From the action that is due; those consumed meanwhile are dropped.
    Skip,
    /// As skip, denoised towards the rest of the chunk before (real-time chunking).
    Inpaint,
    /// As skip, with the actions consumed meanwhile as clean inputs of the network.
    Prefix,
}

/// A range of seeds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    pub first: u32,
    pub last: u32,
}

impl Seeds {
    pub fn to_vec(self) -> Vec<u32> {
        (self.first..=self.last).collect()
    }
}

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let wrong = || format!("`{text}` is no range of seeds; write for example 100000..100049");
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (first, last.trim_start_matches('=')),
        None => (text, text),
    };
    let number = |part: &str| part.trim().parse::<u32>().map_err(|_| wrong());
    let seeds = Seeds {
        first: number(first)?,
        last: number(last)?,
    };
    if seeds.first > seeds.last {
        return Err(format!("seeds {text} run backwards"));
    }
    if seeds.last - seeds.first >= 100_000 {
        return Err(format!("{text} are more than 100000 seeds"));
    }
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_include_both_ends() {
        assert_eq!(parse_seeds("3..5").unwrap().to_vec(), [3, 4, 5]);
        assert_eq!(parse_seeds("7").unwrap().to_vec(), [7]);
        for wrong in ["5..3", "a..b", "", "1..", "0..4000000000"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }
}
