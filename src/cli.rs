//! The command line: names, help and defaults.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use kinestream_diffusion::{Executor, Precision, Solver};
use serde::Serialize;

/// Runs diffusion policies as real-time controllers, without Python.
///
/// A policy keeps a rolling plan whose first action is clean and whose later ones are still noisy,
/// so that a new observation costs as little as one network evaluation. Plans and commands go out
/// over zenoh at fixed rates; a bundled simulator shows and scores them.
#[derive(Debug, Parser)]
#[command(name = "kinestream", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more on stderr (-v progress of parts, -vv everything); RUST_LOG is honoured too.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

const EXAMPLES: &str = "Examples:
  kinestream demo                             watch a policy push the T in your browser
  kinestream demo --headless --episodes 3 --json
  kinestream demo motion                      steer a character in your browser
  kinestream train configs/pusht-state.toml --data pusht_cchi_v7_replay.zarr --out runs/pusht
  kinestream eval configs/pusht-state.toml --checkpoint runs/pusht --seeds 100000..100049
  kinestream run configs/pusht-state.toml     the runtime as a zenoh node
  kinestream record today.mcap                what its nodes say, until Ctrl-C
  kinestream replay today.mcap --speed 2

Exit status: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
    /// Stop a running runtime at once (emergency stop), or leave such a stop.
    Stop(StopArguments),
    /// Run the engines again on a recording and compare every plan and command, bit for bit.
    Resim(ResimArguments),
    /// Train a policy from demonstrations.
    Train(TrainArguments),
    /// Make motion from a label and write it to a file: BVH, binary glTF or a recording.
    Generate(GenerateArguments),
    /// Score a policy on Push-T under the published protocol, or a motion model against held-out clips.
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
    /// Turn a LeRobot policy into a checkpoint folder with a configuration, without Python.
    Import(ImportArguments),
    /// Check this machine and the built-in parts, and say what to do about what is missing.
    Doctor(DoctorArguments),
}

/// Where the page is, and for whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageArguments {
    /// Port of the page.
    #[arg(long, default_value_t = 8740)]
    pub(crate) port: u16,
    /// Address of this machine that the page is on. Any but a loopback one is reached by others: the
    /// page then wants a token, which is part of the address that is printed.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) host: IpAddr,
    /// File with the token, 16 to 128 letters, digits, - and _; a new one every time by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// What to show.
    #[arg(value_enum, default_value_t = DemoTask::Pusht)]
    pub(crate) task: DemoTask,
    /// No page. pusht: run the episodes in real time, print the result and end. motion: perform the
    /// scripted course as fast as frames can be made, in real time with --listen or an engine.
    #[arg(long)]
    pub(crate) headless: bool,
    /// End after this many episodes, for motion runs of the course; 0 for no end, headless motion 1.
    #[arg(long, default_value_t = 0)]
    pub(crate) episodes: u64,
    /// Seed of the first episode; each following one takes the next.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) seed: u32,
    #[command(flatten)]
    pub(crate) page: PageArguments,
    /// pusht: what the policy sees: the keypoints of the T, or the table's picture.
    #[arg(long, value_enum, default_value_t = DemoPolicy::State)]
    pub(crate) policy: DemoPolicy,
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Record everything to this MCAP file, for `kinestream replay` and `resim`.
    #[arg(long, value_name = "OUT.mcap")]
    pub(crate) record: Option<PathBuf>,
    /// End after this many seconds, whatever the episode.
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<f64>,
    /// motion: where other programs reach the character over zenoh; tcp/127.0.0.1:7447 by default,
    /// with --headless nowhere.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    pub(crate) engines: EngineArguments,
    /// motion: checkpoint folder of a model of whole clips, so that the character can be asked to
    /// perform; the shipped one by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) clips: Option<PathBuf>,
    /// motion: poses per second, 30 to 240; the model makes 30, the others lie between.
    #[arg(long, value_name = "HZ", default_value_t = 60)]
    pub(crate) rate: u32,
    /// motion: name of the character in all keys, `kinestream/<name>/pose`.
    #[arg(long, default_value = "character")]
    pub(crate) name: String,
    /// motion: what makes the frames: auto, libtorch or fused.
    #[arg(long, value_name = "NAME", default_value_t = Executor::Auto)]
    pub(crate) executor: Executor,
    /// motion: how the fused kernels keep weights: fp32, fp16 or int8.
    #[arg(long, default_value_t = Precision::Fp16)]
    pub(crate) precision: Precision,
    /// Print one JSON object with the result on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Game engines that are told of a character's poses: docs/ENGINES.md.
#[derive(Debug, Args)]
pub(crate) struct EngineArguments {
    /// motion: send poses to this VMC receiver over UDP, usually on port 39539; may be repeated.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port)]
    pub(crate) vmc: Vec<String>,
    /// motion: send poses to Unreal's JSON Live Link here over UDP; may be repeated.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port)]
    pub(crate) live_link: Vec<String>,
    /// motion: let engines connect to a WebSocket here, for poses and steering; 127.0.0.1:8750
    /// without an address.
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, value_parser = parse_host_port,
          default_missing_value = "127.0.0.1:8750")]
    pub(crate) websocket: Option<String>,
    /// motion: TOML file that says which joint is which bone of a humanoid; one is built in.
    #[arg(long, value_name = "FILE")]
    pub(crate) humanoid: Option<PathBuf>,
}

impl EngineArguments {
    /// Whether any of them was given.
    pub(crate) fn is_given(&self) -> bool {
        let sends = !(self.vmc.is_empty() && self.live_link.is_empty());
        sends || self.websocket.is_some() || self.humanoid.is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoPolicy {
    /// Nine keypoints of the T and the agent: configs/pusht-state.toml.
    State,
    /// A picture of 96 x 96 pixels and the agent: configs/pusht-image.toml.
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoTask {
    /// A disc pushes a T onto its goal.
    Pusht,
    /// A character walks, runs and turns under your control.
    Motion,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Configuration file, or a checkpoint folder, which runs as `kinestream import` would set it up.
    pub(crate) config: PathBuf,
    /// Checkpoint folder; `runtime.checkpoint` by default.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Record everything to this MCAP file, for `kinestream replay` and `resim`.
    #[arg(long, value_name = "OUT.mcap")]
    pub(crate) record: Option<PathBuf>,
    /// Print the whole configuration with all defaults, and end.
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Run the engines again on a recording and compare every plan and command, bit for bit.
///
/// Takes recordings that `run --record` and `demo --record` made. Status 1 if anything differs, with
/// the place of the first difference. Equal bits are promised on the machine that recorded.
#[derive(Debug, Args)]
pub(crate) struct ResimArguments {
    /// The recording.
    pub(crate) file: PathBuf,
    /// Checkpoint folder; the recorded one by default. Its weights must be the recorded ones.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Stop a running runtime at once (emergency stop), or leave such a stop.
///
/// Commands come to rest under the configured limits and stay there. Any sample on
/// cmd/estop below the robot's key does the same. A stop is left only with --rearm, and then only
/// after a new observation and a new plan.
#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// Configuration file of the runtime: its session and robot say where it is.
    pub(crate) config: PathBuf,
    /// Which robot of the runtime; all of them by default.
    #[arg(long, value_name = "NAME")]
    pub(crate) robot: Option<String>,
    /// Leave an emergency stop or a safe stop.
    #[arg(long)]
    pub(crate) rearm: bool,
    /// Print the runtime's answer as one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SimArguments {
    /// Configuration file.
    pub(crate) config: PathBuf,
    /// Which robot of the runtime to be; needed where `runtime.robots` names several.
    #[arg(long, value_name = "NAME")]
    pub(crate) robot: Option<String>,
    /// End after this many episodes; 0 for no end.
    #[arg(long, default_value_t = 0)]
    pub(crate) episodes: u64,
    /// Seed of the first episode; each following one takes the next.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) seed: u32,
    /// Print one JSON object with the scores on stdout at the end.
    #[arg(long)]
    pub(crate) json: bool,
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
pub(crate) struct Ros2Arguments {
    /// The file.
    pub(crate) file: PathBuf,
    /// End after this many seconds.
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<f64>,
    /// Print one JSON object with what went where at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    /// Configuration file of the runtime: says robot, namespace and where it listens.
    pub(crate) config: Option<PathBuf>,
    /// Address to connect to, in place of the configuration's; tcp/127.0.0.1:7447 without either.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) connect: Option<String>,
    /// Name of the robot, in place of the configuration's; pusht without either.
    #[arg(long)]
    pub(crate) robot: Option<String>,
    /// Print one snapshot as plain text and end; so it does as well where stdout is no terminal.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print one snapshot as one JSON object and end.
    #[arg(long)]
    pub(crate) json: bool,
    /// Seconds that a snapshot waits for the runtime.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    pub(crate) wait: f64,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// Configuration file.
    pub(crate) config: PathBuf,
    /// Demonstrations: a zarr v2 replay buffer; for a motion model a folder of motion capture.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Folder for checkpoints; made if missing.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Continue from the state in --out, with the same bits as if never interrupted.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Optimiser steps in all, in place of `training.steps`.
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Checkpoint folder of a motion model whose embedding and feature space are used and not
    /// trained again; its configuration and clips must be the same.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) embedding_from: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Threads of LibTorch; all cores by default.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kinestream generate --list
  kinestream generate --action jump --seconds 4 --seed 7 --out jump.bvh
  kinestream generate --action walk --action \"turn left\" --action run --out way.glb
  kinestream generate --action walk --seconds 6 --path \"0,2@2 1,4@4 3,5@6\" --out path.mcap
  kinestream generate --action dance --seconds 60 --out dance.glb")]
pub(crate) struct GenerateArguments {
    /// What to do, in a word or in several; repeated, one after the other.
    #[arg(long, value_name = "TEXT", required_unless_present = "list")]
    pub(crate) action: Vec<String>,
    /// Say which actions the model knows, with how long they last, and end.
    #[arg(long, conflicts_with_all = ["action", "out"])]
    pub(crate) list: bool,
    /// Seconds of an action; for several actions once for all, or once for each. By default as long as
    /// the action usually lasts.
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Vec<f64>,
    /// Seed of everything random; equal seeds give equal motion.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Denoise steps of a clip, as many as the model was trained with at most: fewer are faster.
    #[arg(long, value_name = "COUNT")]
    pub(crate) steps: Option<usize>,
    /// How much the action counts: 1 as trained, more for clearer and less varied motion; by default
    /// what the model says.
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) guidance: Option<f64>,
    /// Denoise steps at which --guidance counts, the first ones; 0 for all; by default what the model says.
    #[arg(long, value_name = "STEPS")]
    pub(crate) guided_steps: Option<usize>,
    /// Motion file (BVH, ASF/AMC, any skeleton) whose last pose the motion goes on from.
    #[arg(long, value_name = "FILE")]
    pub(crate) start: Option<PathBuf>,
    /// Motion file whose first pose the motion ends with.
    #[arg(long, value_name = "FILE")]
    pub(crate) end: Option<PathBuf>,
    /// Places to be at, as \"X,Z@SECONDS X,Z@SECONDS\", metres; one action only.
    #[arg(long, value_name = "PLACES", allow_hyphen_values = true)]
    pub(crate) path: Option<String>,
    /// File to write: its ending says whether BVH (.bvh), binary glTF (.glb) or a recording (.mcap).
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    pub(crate) out: Option<PathBuf>,
    /// Leave feet as the model puts them, without locking those that bear.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Checkpoint folder; the shipped one by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Threads of LibTorch; all cores by default.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    /// Configuration file.
    pub(crate) config: PathBuf,
    /// Folder of the motion capture that a motion model is judged against; without it the reference
    /// that was written beside the extractor is used.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// motion: keep what judging needs of the motion capture beside the extractor.
    #[arg(long, requires = "data")]
    pub(crate) write_reference: bool,
    /// More checkpoint folders, to be judged alike and put side by side in a table; repeatable. Those
    /// of a policy count as training runs, whose mean and its interval are told.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) against: Vec<PathBuf>,
    /// motion: move many characters for hours under random sticks; watches their health and compares
    /// the last ten minutes with the first.
    #[arg(long, conflicts_with_all = ["against", "pictures"])]
    pub(crate) long_run: bool,
    /// motion: characters of the long run, in one batch.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1000,
        requires = "long_run"
    )]
    pub(crate) characters: usize,
    /// motion: hours of the long run, whole minutes of each character's own time.
    #[arg(long, default_value_t = 1.0, requires = "long_run")]
    pub(crate) hours: f64,
    /// motion: file that the long run is kept in after every minute, and goes on from; in the working
    /// directory long-run.safetensors by default.
    #[arg(long, value_name = "FILE", requires = "long_run")]
    pub(crate) state: Option<PathBuf>,
    /// motion: factor of the random numbers on the course, 0 to 2; by default as in `demo motion`.
    #[arg(long, value_name = "FACTOR")]
    pub(crate) diversity: Option<f64>,
    /// motion: how much of the way to the root motion that the course asks for every estimate is
    /// drawn, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    pub(crate) strength: Option<f64>,
    /// motion: how much of its distance from the course a character is to make good within a second.
    #[arg(long, value_name = "SHARE")]
    pub(crate) gain: Option<f64>,
    /// Write pictures as SVG to this folder. motion: strips of poses, and the trajectory on the course;
    /// Push-T: scores of --curve.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) pictures: Option<PathBuf>,
    /// motion: leave out the toy distribution of the paper, which is learned anew to count its modes.
    #[arg(long)]
    pub(crate) skip_toy: bool,
    /// clips: runs, each of which draws held-out clips and makes as many.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) runs: usize,
    /// clips: clips of a run.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) clips: usize,
    /// clips: weight of the label, 1 as trained; by default what each model says.
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) guidance: Option<f64>,
    /// clips: denoise steps at which --guidance counts, the first ones; 0 for all; by default what each
    /// model says.
    #[arg(long, value_name = "STEPS")]
    pub(crate) guided_steps: Option<usize>,
    /// clips: ask a character that walks about for so many clips, and look at the seams in place of the
    /// clips; it is steered by the shipped motion model.
    #[arg(
        long,
        value_name = "REQUESTS",
        num_args = 0..=1,
        default_missing_value = "200",
        conflicts_with_all = ["curve", "against"]
    )]
    pub(crate) transitions: Option<usize>,
    /// Push-T: score against network evaluations per action, for every way of running; about an hour
    /// for a checkpoint and 500 seeds. clips: at 1, 2 and 5 denoise steps, too.
    #[arg(long, conflicts_with_all = ["steps", "chunk", "action_steps", "iterate", "restart", "delay_curve"])]
    pub(crate) curve: bool,
    /// Checkpoint folder; `runtime.checkpoint` by default.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Seeds A..B, both included.
    #[arg(long, default_value = "100000..100049", value_parser = parse_seeds)]
    pub(crate) seeds: Seeds,
    /// Network evaluations per action, in place of what the checkpoint was made for; clips: denoise
    /// steps.
    #[arg(long)]
    pub(crate) steps: Option<f64>,
    /// Actions executed per plan, Ta, in place of what the checkpoint was made for.
    #[arg(long)]
    pub(crate) action_steps: Option<usize>,
    /// Plain Diffusion Policy: denoise whole chunks of 8 actions, with 100 evaluations a chunk or
    /// --steps.
    #[arg(long)]
    pub(crate) chunk: bool,
    /// Solver, in place of what the checkpoint was made for; docs/SOLVERS.md says which and when.
    #[arg(long, value_parser = solvers())]
    pub(crate) solver: Option<Solver>,
    /// Milliseconds from an observation to its plan, whole control periods; the actions of the plan
    /// before it go on meanwhile.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    pub(crate) delay_ms: f64,
    /// How a late chunk joins the one that is executed, with --chunk.
    #[arg(long, value_enum, requires = "chunk")]
    pub(crate) join: Option<Join>,
    /// Actions that a plan takes over unchanged (plan.commit_ahead); with --delay-ms as many as it
    /// comes late.
    #[arg(long, value_name = "ACTIONS")]
    pub(crate) commit_ahead: Option<usize>,
    /// Chunks go on from the one before them, with this many denoise steps each (plan.iterate), with
    /// --chunk; best with --action-steps 1.
    #[arg(long, value_name = "STEPS", requires = "chunk")]
    pub(crate) iterate: Option<usize>,
    /// Chunks begin from what the ones before them were so many denoise steps from their end, or
    /// earlier where the observation is a surprise (plan.restart), with --chunk.
    #[arg(
        long,
        value_name = "STEPS",
        requires = "chunk",
        conflicts_with = "iterate"
    )]
    pub(crate) restart: Option<usize>,
    /// What is no surprise yet, with --restart (plan.restart.within).
    #[arg(
        long,
        value_name = "DISTANCE",
        default_value_t = 0.1,
        requires = "restart"
    )]
    pub(crate) within: f64,
    /// Score every way to live with delay at 0, 100, 200 and 400 ms; --steps are the evaluations of
    /// a chunk here, 10 unless given.
    #[arg(long, conflicts_with_all = ["delay_ms", "chunk", "join", "commit_ahead", "iterate", "restart"])]
    pub(crate) delay_curve: bool,
    /// Episodes in one batch, of a thread where they divide them.
    #[arg(long, default_value_t = 50)]
    pub(crate) batch: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// What evaluates the policy (auto, libtorch, fused or graph) or the character (auto, libtorch or
    /// fused); `runtime.executor` by default.
    #[arg(long, value_name = "NAME")]
    pub(crate) executor: Option<Executor>,
    /// How the fused kernels keep weights: fp32, fp16 or int8; `runtime.precision` by default.
    #[arg(long)]
    pub(crate) precision: Option<Precision>,
    /// Threads; all cores by default. A policy's episodes are divided among them, or a large policy's
    /// evaluations.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The solvers by their names.
fn solvers() -> impl TypedValueParser<Value = Solver> {
    let names = Solver::NAMED.map(|(name, _)| name);
    PossibleValuesParser::new(names).try_map(|name| {
        Solver::named(&name).ok_or_else(|| format!("there is no solver named {name}"))
    })
}

/// How a late chunk joins the one that is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Join {
    /// From its first action, as if it had been there at once (naive chunking).
    Restart,
    /// From the action that is due; those consumed meanwhile are dropped.
    Skip,
    /// As skip, denoised towards the rest of the chunk before (real-time chunking).
    Inpaint,
    /// As skip, with the actions consumed meanwhile as clean inputs of the network.
    Prefix,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Latency from observation to action, as a multiple of one network evaluation.
    Policy(BenchPolicyArguments),
    /// Throughput against latency of one policy that serves many robots.
    ///
    /// Robots observe at the policy's rate and want their plans by a deadline. Served by deadlines, as
    /// `kinestream run` does, and all that wait in one batch, in turns. Latencies count from the moment
    /// at which an observation was due.
    Fleet(BenchFleetArguments),
    /// Time of a character's frame, and frames per second of crowds of 1, 16, 256 and 1000.
    Motion(BenchMotionArguments),
    /// Time of whole clips, by batch, threads and denoise steps.
    Clips(BenchClipsArguments),
    /// One-way latency of actions, plans and poses over zenoh on loopback, beside bare zenoh.
    Bridge(BenchBridgeArguments),
    /// Timing of the command loop: lateness, execution time, missed periods, allocations.
    ///
    /// Runs the command path at a fixed rate, with a policy computing plans on another processor.
    /// Lateness is the time from a tick's deadline to its waking. Loads and rivals are started and
    /// ended by this command; slices of at most ten seconds alternate between the loop and the
    /// rivals, so that all of them meet the same state of the machine.
    Control(BenchControlArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BenchControlArguments {
    /// Commands per second.
    #[arg(long, default_value_t = 500.0)]
    pub(crate) rate: f64,
    /// Seconds to measure the loop; every rival takes as long again.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) seconds: f64,
    /// Priority under SCHED_FIFO, 1 to 99; 0 for ordinary scheduling.
    #[arg(long, default_value_t = 50)]
    pub(crate) priority: u32,
    /// Processor of the loop and of cyclictest, counted from 0; the last one by default. The policy
    /// gets another, where there is one.
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// Leave the processors' idle states alone, in place of keeping them awake as cyclictest does.
    #[arg(long)]
    pub(crate) allow_idle: bool,
    /// Fail where something asked for is not granted, in place of saying so.
    #[arg(long)]
    pub(crate) strict: bool,
    /// What the policy does meanwhile.
    #[arg(long, value_enum, default_value_t = BesidePolicy::Continuous)]
    pub(crate) policy: BesidePolicy,
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Threads of LibTorch; one is pinned to its processor, more are not.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// What else the machine has to do meanwhile.
    #[arg(long, value_enum, default_value_t = Load::None)]
    pub(crate) load: Load,
    /// Folder for the disk load's file of 64 MB; the system's folder for temporary files by
    /// default, which may lie in memory.
    #[arg(long)]
    pub(crate) scratch: Option<PathBuf>,
    /// Other loops to measure in the same run, comma-separated; those that cannot run here are left
    /// out, and named.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) against: Vec<RivalName>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BesidePolicy {
    /// Inference without a pause; plans are published at the policy's rate.
    Continuous,
    /// Observations and plans at the policy's rate, as on a robot.
    Paced,
    /// No policy and no plans.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Load {
    /// Nothing.
    None,
    /// A busy thread for every processor.
    Cpu,
    /// Writing and syncing a file.
    Disk,
    /// Both.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RivalName {
    /// cyclictest of rt-tests, at the same priority, period and processor.
    Cyclictest,
    /// A loop on tokio's interval, as people write it.
    Tokio,
    /// A Python loop on time.sleep, as people write it.
    Python,
}

#[derive(Debug, Args)]
pub(crate) struct BenchBridgeArguments {
    /// Messages per second, comma-separated.
    #[arg(long = "rate", value_name = "HZ", value_delimiter = ',', default_values_t = [10.0, 100.0, 1000.0])]
    pub(crate) rates: Vec<f64>,
    /// Subscribers, each with a session of its own, comma-separated.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [1, 10, 100])]
    pub(crate) subscribers: Vec<usize>,
    /// What is sent, comma-separated.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Bridged::Action, Bridged::Plan, Bridged::Pose])]
    pub(crate) messages: Vec<Bridged>,
    /// Seconds of each.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bridged {
    /// The command of seven joints.
    Action,
    /// A plan of sixteen positions of seven joints.
    Plan,
    /// The pose of 22 joints.
    Pose,
}

impl Bridged {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Plan => "plan",
            Self::Pose => "pose",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct BenchPolicyArguments {
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Turns per second; 0 for one after the other.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Numbers of plans that are evaluated at once, after the rest.
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    pub(crate) streams: Vec<usize>,
    /// Empty the caches before every evaluation, as at one evaluation per control tick.
    #[arg(long)]
    pub(crate) cold: bool,
    /// Keep so many threads busy with nothing meanwhile.
    #[arg(long, value_name = "THREADS", default_value_t = 0)]
    pub(crate) busy: usize,
    #[command(flatten)]
    pub(crate) execution: BenchExecutionArguments,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a benchmark evaluates a policy.
#[derive(Debug, Args)]
pub(crate) struct BenchExecutionArguments {
    /// What evaluates the policy: auto, libtorch, fused or graph.
    #[arg(long, value_name = "NAME", default_value_t = Executor::Auto)]
    pub(crate) executor: Executor,
    /// How the fused kernels keep weights: fp32, fp16 or int8.
    #[arg(long, default_value_t = Precision::Fp16)]
    pub(crate) precision: Precision,
    /// Threads of an evaluation.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
}

#[derive(Debug, Args)]
pub(crate) struct BenchFleetArguments {
    /// Checkpoint folder of a policy without cameras; the shipped one by default.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Numbers of robots, comma-separated.
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',', default_values_t = [1, 16, 64, 256, 512, 1024, 2048])]
    pub(crate) robots: Vec<usize>,
    /// When a plan has to be there after its observation, in milliseconds; a control period by default.
    #[arg(long, value_name = "MS")]
    pub(crate) deadline_ms: Option<f64>,
    /// Seconds to measure, shared by the numbers of robots and both orders.
    #[arg(long, default_value_t = 42.0)]
    pub(crate) seconds: f64,
    #[command(flatten)]
    pub(crate) execution: BenchExecutionArguments,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchMotionArguments {
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Seconds to measure, shared by the sizes of crowd.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) seconds: f64,
    /// Threads of LibTorch.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchClipsArguments {
    /// Checkpoint folder; the shipped one by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// More checkpoint folders, timed in turns with the first; repeatable.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) against: Vec<PathBuf>,
    /// Length of the clips, s.
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    pub(crate) seconds: f64,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    /// File to write; it must not exist.
    pub(crate) out: PathBuf,
    /// Configuration file with the robot's name and session; the built-in one by default.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Address to connect to, in place of the configuration's.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) connect: Option<String>,
    /// Name of the robot or character, in place of the configuration's.
    #[arg(long)]
    pub(crate) robot: Option<String>,
    /// End after this time; Ctrl-C by default.
    #[arg(long, value_parser = parse_seconds)]
    pub(crate) seconds: Option<f64>,
    /// Print one JSON object with the totals on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// Recording, also one that was cut off.
    pub(crate) file: PathBuf,
    /// How fast: 1 as recorded, 2 twice as fast; 0 or `max` as fast as possible.
    #[arg(long, default_value = "1", value_parser = parse_speed)]
    pub(crate) speed: Speed,
    /// Begin again at the end, until Ctrl-C.
    #[arg(long = "loop")]
    pub(crate) repeat: bool,
    /// Begin this many seconds after the first message.
    #[arg(long, default_value = "0", value_parser = parse_seconds)]
    pub(crate) seek: f64,
    /// Write a character's poses to this file and end: .bvh or .glb, a file per stream.
    #[arg(long, value_name = "OUT.bvh|OUT.glb",
          conflicts_with_all = ["speed", "repeat", "headless", "port", "config", "listen", "robot", "wait"])]
    pub(crate) export: Option<PathBuf>,
    /// No page.
    #[arg(long)]
    pub(crate) headless: bool,
    #[command(flatten)]
    pub(crate) page: PageArguments,
    /// Publish on zenoh under this configuration's robot and session, in place of runtime and
    /// robot. Recorded commands move whoever listens to them.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Publish on zenoh here, in place of --config, under the name that was recorded.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    pub(crate) listen: Option<String>,
    /// Name of the robot or character to publish as.
    #[arg(long)]
    pub(crate) robot: Option<String>,
    /// With --config or --listen: wait up to this many seconds until every topic has a subscriber.
    #[arg(long, default_value = "0", value_parser = parse_seconds)]
    pub(crate) wait: f64,
    /// Print one JSON object with the result on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// This many times as fast as it was recorded.
    Factor(f64),
    /// As fast as possible.
    Max,
}

impl Speed {
    /// The factor; none for as fast as possible.
    pub(crate) fn factor(self) -> Option<f64> {
        match self {
            Self::Factor(factor) => Some(factor),
            Self::Max => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// Folder that LeRobot's `save_pretrained` wrote (config.json, model.safetensors, ...).
    pub(crate) source: PathBuf,
    /// Folder to write: config.json, model.safetensors and run.toml.
    #[arg(required_unless_present = "check")]
    pub(crate) destination: Option<PathBuf>,
    /// Dry run: feed synthetic observations, print latency and ranges of actions, write nothing.
    #[arg(long)]
    pub(crate) check: bool,
    /// Actions per second that the policy was trained for, which LeRobot does not keep with it.
    #[arg(long, value_name = "HZ")]
    pub(crate) rate: Option<f64>,
    /// Threads of LibTorch in the dry run.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Checkpoint folder, LeRobot's included, or recording.
    pub(crate) path: PathBuf,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A range of seeds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Seeds {
    pub(crate) fn to_vec(self) -> Vec<u32> {
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

fn parse_host_port(text: &str) -> Result<String, String> {
    let is_one = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_whole = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && is_whole && port.parse::<u16>().is_ok()
    });
    match is_one {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no HOST:PORT; write for example 127.0.0.1:39539 or [::1]:39539"
        )),
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .filter(|seconds| (0.0..=1e9).contains(seconds))
        .ok_or_else(|| format!("`{text}` is no number of seconds; write for example 2.5"))
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Speed::Max),
        Ok(0.0) => Ok(Speed::Max),
        Ok(factor) if (1e-3..=1e6).contains(&factor) => Ok(Speed::Factor(factor)),
        _ => Err(format!(
            "`{text}` is no speed; write a factor from 0.001 to 1000000, or max"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seeds_include_both_ends() {
        assert_eq!(parse_seeds("3..5").unwrap().to_vec(), [3, 4, 5]);
        assert_eq!(parse_seeds("7").unwrap().to_vec(), [7]);
        for wrong in ["5..3", "a..b", "", "1..", "0..4000000000"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for right in [
            "127.0.0.1:39539",
            "localhost:1",
            "[::1]:39540",
            "studio.local:0",
        ] {
            assert_eq!(parse_host_port(right).as_deref(), Ok(right));
        }
        for wrong in [
            "",
            "39539",
            ":39539",
            "127.0.0.1",
            "a:b",
            "a:65536",
            "::1:39539",
            "motion",
        ] {
            assert!(parse_host_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn speeds_are_factors_or_none() {
        assert_eq!(parse_speed("0.5"), Ok(Speed::Factor(0.5)));
        for fastest in ["0", "max", "0.0"] {
            assert_eq!(parse_speed(fastest), Ok(Speed::Max), "{fastest}");
        }
        for wrong in ["-1", "nan", "inf", "fast", "", "1e-9"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
        for wrong in ["-1", "nan", "inf", "soon"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
