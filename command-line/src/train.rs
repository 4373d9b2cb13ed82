//! `kinestream train` and `generate`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = super::product::AFTER_HELP)]
pub struct TrainArguments {
    /// Configuration file.
    pub config: PathBuf,
    /// Demonstrations: a zarr replay buffer, a folder or a .zarr.zip; for a motion model a folder of motion capture.
    #[arg(long)]
    pub data: PathBuf,
    /// Folder for checkpoints; made if missing.
    #[arg(long)]
    pub out: PathBuf,
    /// Continue from the state in --out, with the same bits as if never interrupted.
    #[arg(long)]
    pub resume: bool,
    /// Optimiser steps in all, in place of `training.steps`.
    #[arg(long)]
    pub steps: Option<u64>,
    /// Checkpoint folder whose embedding and feature space are used and not
    /// trained again; their configuration and clips must be the same.
    #[arg(long, value_name = "FOLDER", help_heading = super::product::CHARACTERS)]
    pub embedding_from: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Threads of LibTorch; all cores by default.
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kinestream generate --list
  kinestream generate --action jump --seconds 4 --seed 7 --out jump.bvh
  kinestream generate --action walk --action \"turn left\" --action run --out way.glb
  kinestream generate --action walk --seconds 6 --path \"0,2@2 1,4@4 3,5@6\" --out path.mcap
  kinestream generate --action dance --seconds 60 --out dance.glb")]
pub struct GenerateArguments {
    /// What to do, in a word or in several; repeated, one after the other.
    #[arg(long, value_name = "TEXT", required_unless_present = "list")]
    pub action: Vec<String>,
    /// Say which actions the model knows, with how long they last, and end.
    #[arg(long, conflicts_with_all = ["action", "out"])]
    pub list: bool,
    /// Seconds of an action; for several actions once for all, or once for each. By default as long as
    /// the action usually lasts.
    #[arg(long, value_name = "S")]
    pub seconds: Vec<f64>,
    /// Seed of everything random; equal seeds give equal motion.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Denoise steps of a clip, as many as the model was trained with at most: fewer are faster.
    #[arg(long, value_name = "COUNT")]
    pub steps: Option<usize>,
    /// How much the action counts: 1 as trained, more for clearer and less varied motion; by default
    /// what the model says.
    #[arg(long, value_name = "WEIGHT")]
    pub guidance: Option<f64>,
    /// Denoise steps at which --guidance counts, the first ones; 0 for all; by default what the model says.
    #[arg(long, value_name = "STEPS")]
    pub guided_steps: Option<usize>,
    /// Motion file (BVH, ASF/AMC, any skeleton) whose last pose the motion goes on from.
    #[arg(long, value_name = "FILE")]
    pub start: Option<PathBuf>,
    /// Motion file whose first pose the motion ends with.
    #[arg(long, value_name = "FILE")]
    pub end: Option<PathBuf>,
    /// Places to be at, as \"X,Z@SECONDS X,Z@SECONDS\", metres; one action only.
    #[arg(long, value_name = "PLACES", allow_hyphen_values = true)]
    pub path: Option<String>,
    /// File to write: its ending says whether BVH (.bvh), binary glTF (.glb) or a recording (.mcap).
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    pub out: Option<PathBuf>,
    /// Leave feet as the model puts them, without locking those that bear.
    #[arg(long)]
    pub raw: bool,
    /// Checkpoint folder; the shipped one by default.
    #[arg(long, value_name = "FOLDER")]
    pub checkpoint: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Threads of LibTorch; all cores by default.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
