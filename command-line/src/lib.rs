//! The command line: names, help and defaults.
//!
//! It knows neither LibTorch nor what the commands do, so that the front program answers `--help` and wrong usage at once. What
//! LibTorch's crates alone know, such as the names of solvers, is text here; the engine adds what may be written.

// A comment on a type or a field of these is a text of `--help`.
#![allow(missing_docs)]

pub mod bench;
mod demo;
mod demonstrate;
#[cfg(test)]
mod documented_commands;
mod eval;
mod product;
mod recordings;
pub mod request;
mod shell;
mod train;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::demo::{DemoArguments, DemoPolicy, DemoTask, EngineArguments, PageArguments};
pub use self::demonstrate::DemonstrateArguments;
pub use self::eval::{ChunkTransition, EvalArguments, Seeds};
pub use self::product::{is_clips, is_motion, parse};
pub use self::recordings::{RecordArguments, ReplayArguments, Speed};
pub use self::shell::{CompletionsArguments, ManualArguments};
pub use self::train::{GenerateArguments, TrainArguments};
use bench::Bench;
use request::RequestCommand;

/// Runs diffusion policies as real-time controllers, without Python.
///
/// A policy keeps a rolling plan whose first action is clean and whose later ones are still noisy,
/// so that a new observation costs as little as one network evaluation. Plans and commands go out
/// over zenoh at fixed rates; a bundled simulator shows and scores them.
#[derive(Debug, Parser)]
#[command(name = "kinestream", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Say more on stderr (-v progress of parts, -vv everything); RUST_LOG is honoured too.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

const EXAMPLES: &str = "Examples:
  kinestream demo                             watch a policy push the T in your browser
  kinestream demo --headless --episodes 3 --json
  kinestream demo motion                      steer a character in your browser
  kinestream train configs/pusht-state.toml --data pusht_cchi_v7_replay.zarr --out runs/pusht
  kinestream eval configs/pusht-state.toml --checkpoint runs/pusht --seeds 100000..100049
  kinestream demonstrate configs/two-ways.toml --out two-ways.zarr
  kinestream run configs/pusht-state.toml     the runtime as a zenoh node
  kinestream record today.mcap                what its nodes say, until Ctrl-C
  kinestream replay today.mcap --speed 2

Exit status: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runtime, simulator and viewer page in one process.
    Demo(DemoArguments),
    /// The runtime as a node: observations in, plans and commands out, over zenoh.
    Run(RunArguments),
    /// The simulator as a node of its own, over zenoh.
    Sim(SimArguments),
    /// Topics of ROS 2 beside a robot or character that runs elsewhere, without a ROS installation.
    Ros2(Ros2Arguments),
    /// Watch a running runtime: rates, lateness, missed periods, limits, nodes.
    ///
    /// It only looks: no key of it stops, resets or changes anything. q, Esc or Ctrl-C ends it.
    Top(TopArguments),
    #[command(flatten)]
    Request(RequestCommand),
    /// Run the engines again on a recording and compare every plan and command, bit for bit.
    Resim(ResimArguments),
    /// Record demonstrations by the script of a bundled environment, as a data set to train on.
    Demonstrate(DemonstrateArguments),
    /// Train a policy from demonstrations.
    Train(TrainArguments),
    /// Make motion from a label and write it to a file: BVH, binary glTF or a recording.
    Generate(GenerateArguments),
    /// Score a policy in its environment, Push-T under the published protocol, or a motion model against held-out clips.
    Eval(EvalArguments),
    /// Measure what this machine does.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Record what a robot's nodes say over zenoh into an MCAP file.
    Record(RecordArguments),
    /// Play a recording into the viewer page, the simulator's physics and zenoh.
    Replay(ReplayArguments),
    /// Show what a checkpoint folder or a recording holds.
    Inspect(InspectArguments),
    /// Turn a policy of LeRobot, or a .ckpt file of Diffusion Policy or SDP, into a checkpoint folder with a configuration,
    /// without Python.
    Import(ImportArguments),
    /// Check this machine and the built-in parts, and say what to do about what is missing.
    Doctor(DoctorArguments),
    /// Print a script that lets a shell complete commands and options.
    Completions(CompletionsArguments),
    /// Print the JSON schema of configurations of policies, by which an editor completes and checks them.
    ///
    /// With `#:schema kinestream.schema.json` in the first line of a configuration, Taplo and the editors that use it find the
    /// file that this was written to.
    Schema,
    /// Print the manual page, or write one for every command.
    Man(ManualArguments),
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Configuration file, or a checkpoint folder, which runs as `kinestream import` would set it up.
    pub config: PathBuf,
    /// Checkpoint folder; `runtime.checkpoint` by default.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Record everything to this MCAP file, for `kinestream replay` and `resim`.
    #[arg(long, value_name = "OUT.mcap")]
    pub record: Option<PathBuf>,
    /// Show the robot on a page at this port of 127.0.0.1, with buttons to stop it, in place of `runtime.page_port`.
    #[arg(long, value_name = "PORT")]
    pub page: Option<u16>,
    /// Print the whole configuration with all defaults, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// Run the engines again on a recording and compare every plan and command, bit for bit.
///
/// Takes recordings that `run --record` and `demo --record` made. Status 1 if anything differs, with
/// the place of the first difference. Equal bits are promised on the machine that recorded.
#[derive(Debug, Args)]
pub struct ResimArguments {
    /// The recording.
    pub file: PathBuf,
    /// Checkpoint folder; the recorded one by default. Its weights must be the recorded ones.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SimArguments {
    /// Configuration file.
    pub config: PathBuf,
    /// Which robot of the runtime to be; needed where `runtime.robots` names several.
    #[arg(long, value_name = "NAME")]
    pub robot: Option<String>,
    /// End after this many episodes; 0 for no end.
    #[arg(long, default_value_t = 0)]
    pub episodes: u64,
    /// Seed of the first episode; each following one takes the next.
    #[arg(long, default_value_t = 100_000)]
    pub seed: u32,
    /// Print one JSON object with the scores on stdout at the end.
    #[arg(long)]
    pub json: bool,
}

/// Topics of ROS 2 beside a robot or character that runs elsewhere, without a ROS installation.
///
/// The file names the robot or character, the session and the topics:
///
///   robot = "character"
///   [session]
///   connect = ["tcp/127.0.0.1:7447"]       # kinestream demo motion, or rmw_zenohd
///   [ros2.character]
///   transforms = "/tf"
///   twist = "/cmd_vel"
///
/// `kinestream run` does the same by itself where its configuration has `[ros2]`. All keys: docs/ROS2.md.
// The example is TOML, shown verbatim: its tables are no links.
#[allow(rustdoc::broken_intra_doc_links)]
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Ros2Arguments {
    /// The file.
    pub file: PathBuf,
    /// End after this many seconds.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Print one JSON object with what went where at the end.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct TopArguments {
    /// Configuration file of the runtime: says robot, namespace and where it listens.
    pub config: Option<PathBuf>,
    /// Address to connect to, in place of the configuration's; tcp/127.0.0.1:7447 without either.
    #[arg(long, value_name = "ADDRESS")]
    pub connect: Option<String>,
    /// Name of the robot, in place of the configuration's; pusht without either.
    #[arg(long)]
    pub robot: Option<String>,
    /// Print one snapshot as plain text and end; so it does as well where stdout is no terminal.
    #[arg(long)]
    pub once: bool,
    /// Print one snapshot as one JSON object and end.
    #[arg(long)]
    pub json: bool,
    /// Seconds that a snapshot waits for the runtime.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    pub wait: f64,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Folder that LeRobot's `save_pretrained` wrote (config.json, model.safetensors, ...).
    pub source: PathBuf,
    /// Folder to write: config.json, model.safetensors and run.toml.
    #[arg(required_unless_present = "check")]
    pub destination: Option<PathBuf>,
    /// Dry run: feed synthetic observations, print latency and ranges of actions, write nothing.
    #[arg(long)]
    pub check: bool,
    /// Actions per second that the policy was trained for, which LeRobot does not keep with it.
    #[arg(long, value_name = "HZ")]
    pub rate: Option<f64>,
    /// Demonstrations that the policy was trained on, a zarr replay buffer: the limits of run.toml are then their own
    /// speeds. Without them, nobody knows how fast the actions were.
    #[arg(
        long,
        value_name = "PATH",
        requires = "destination",
        conflicts_with = "check"
    )]
    pub data: Option<PathBuf>,
    /// Threads of LibTorch in the dry run.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    #[command(flatten)]
    pub reading: ReadingArguments,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// How files of other programs are read.
#[derive(Debug, Args)]
pub struct ReadingArguments {
    /// Pass over a key of LeRobot's config.json that is not known, where running does not need it; may be repeated.
    #[arg(long = "ignore-key", value_name = "KEY")]
    pub ignored_keys: Vec<String>,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// Checkpoint folder, LeRobot's included, or recording.
    pub path: PathBuf,
    #[command(flatten)]
    pub reading: ReadingArguments,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Configuration file: says what its session leaves open to others.
    pub config: Option<PathBuf>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
