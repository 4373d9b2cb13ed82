//! `kinestream bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kinestream_kernels::{Executor, Precision};
use serde::Serialize;

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Latency from observation to action, as a multiple of one network evaluation.
    ///
    /// Evaluations by the other executors are measured beside it.
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
    /// Every way of stopping a robot under every condition: time until the first command that stops.
    ///
    /// Starts runtimes of the shipped policy with a robot of its own, asks them to stop, and measures from the request to the
    /// first command that says so, as the robot receives it. Everything stays on this machine.
    Stop(BenchStopArguments),
}

#[derive(Debug, Args)]
pub struct BenchStopArguments {
    /// Stops of each way under each condition.
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Ways to measure, comma-separated; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub ways: Vec<StopWay>,
    /// Conditions to measure under, comma-separated; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub conditions: Vec<StopCondition>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// How a stop is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum StopWay {
    /// A sample on cmd/estop, on a session that is open.
    Sample,
    /// A query of srv/estop, on a session that is open.
    Query,
    /// `kinestream stop` with the runtime's own file, a program that starts for it.
    Command,
    /// `kinestream stop` from elsewhere: through a session that it opens.
    RemoteCommand,
    /// A message of ROS 2 on the topic that `ros2.stop` names.
    Ros2,
    /// The stop of a page, which its own session sends on.
    Page,
    /// A keeper of stops that appears.
    Keeper,
    /// Ctrl-C.
    Sigint,
    /// SIGTERM.
    Sigterm,
    /// SIGHUP, as when a terminal is closed.
    Sighup,
    /// SIGQUIT.
    Sigquit,
    /// The robot falls silent; counted from the end of the watchdog's time.
    Watchdog,
}

impl StopWay {
    /// Whether the runtime ends with it.
    pub fn ends_the_runtime(self) -> bool {
        matches!(
            self,
            Self::Sigint | Self::Sigterm | Self::Sighup | Self::Sigquit
        )
    }
}

/// What else goes on while a stop is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum StopCondition {
    /// Nothing.
    Idle,
    /// The log is a pipe that nobody reads, full to the last byte.
    LogBlocked,
    /// The recording's disk and the log's are full.
    DiskFull,
    /// Connections use up the runtime's files.
    DescriptorsGone,
    /// The policy thread stands still.
    PolicyStuck,
    /// Who asks is behind a line of 300 ms each way.
    SlowLine,
    /// Everybody meets at a router.
    Router,
    /// TLS with certificates on both sides.
    MutualTls,
    /// Three senders flood the runtime with bad observations.
    Flood,
}

#[derive(Debug, Args)]
pub struct BenchControlArguments {
    /// Commands per second.
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Seconds to measure the loop; every rival takes as long again.
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Priority under SCHED_FIFO, 1 to 99; 0 for ordinary scheduling.
    #[arg(long, default_value_t = 50)]
    pub priority: u32,
    /// Processor of the loop and of cyclictest, counted from 0; the last one by default. The policy
    /// gets another, where there is one.
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Leave the processors' idle states alone, in place of keeping them awake as cyclictest does.
    #[arg(long)]
    pub allow_idle: bool,
    /// Fail where something asked for is not granted, in place of saying so.
    #[arg(long)]
    pub strict: bool,
    /// What the policy does meanwhile.
    #[arg(long, value_enum, default_value_t = BesidePolicy::Continuous)]
    pub policy: BesidePolicy,
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Threads of LibTorch; one is pinned to its processor, more are not.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// What else the machine has to do meanwhile.
    #[arg(long, value_enum, default_value_t = Load::None)]
    pub load: Load,
    /// Folder for the disk load's file of 64 MB; the system's folder for temporary files by
    /// default, which may lie in memory.
    #[arg(long)]
    pub scratch: Option<PathBuf>,
    /// Other loops to measure in the same run, comma-separated; those that cannot run here are left
    /// out, and named.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub against: Vec<RivalName>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BesidePolicy {
    /// Inference without a pause; plans are published at the policy's rate.
    Continuous,
    /// Observations and plans at the policy's rate, as on a robot.
    Paced,
    /// No policy and no plans.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
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
pub enum RivalName {
    /// cyclictest of rt-tests, at the same priority, period and processor.
    Cyclictest,
    /// A loop on tokio's interval, as people write it.
    Tokio,
    /// A Python loop on time.sleep, as people write it.
    Python,
}

#[derive(Debug, Args)]
pub struct BenchBridgeArguments {
    /// Messages per second, comma-separated.
    #[arg(long = "rate", value_name = "HZ", value_delimiter = ',', default_values_t = [10.0, 100.0, 1000.0])]
    pub rates: Vec<f64>,
    /// Subscribers, each with a session of its own, comma-separated.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [1, 10, 100])]
    pub subscribers: Vec<usize>,
    /// What is sent, comma-separated.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Bridged::Action, Bridged::Plan, Bridged::Pose])]
    pub messages: Vec<Bridged>,
    /// Seconds of each.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bridged {
    /// The command of seven joints.
    Action,
    /// A plan of sixteen positions of seven joints.
    Plan,
    /// The pose of 22 joints.
    Pose,
}

impl Bridged {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Plan => "plan",
            Self::Pose => "pose",
        }
    }
}

#[derive(Debug, Args)]
pub struct BenchPolicyArguments {
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Turns per second; 0 for one after the other.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Numbers of plans that are evaluated at once, after the rest.
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    pub streams: Vec<usize>,
    /// Empty the caches before every evaluation, as at one evaluation per control tick.
    #[arg(long)]
    pub cold: bool,
    /// Keep so many threads busy with nothing meanwhile.
    #[arg(long, value_name = "THREADS", default_value_t = 0)]
    pub busy: usize,
    #[command(flatten)]
    pub execution: BenchExecutionArguments,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// How a benchmark evaluates a policy.
#[derive(Debug, Args)]
pub struct BenchExecutionArguments {
    /// What evaluates the policy: auto, libtorch, fused or graph.
    #[arg(long, value_name = "NAME", default_value_t = Executor::Auto)]
    pub executor: Executor,
    /// How the fused kernels keep weights: fp32, fp16 or int8.
    #[arg(long, default_value_t = Precision::Fp16)]
    pub precision: Precision,
    /// Threads of an evaluation.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

#[derive(Debug, Args)]
pub struct BenchFleetArguments {
    /// Checkpoint folder of a policy without cameras; the shipped one by default.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Numbers of robots, comma-separated.
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',', default_values_t = [1, 16, 64, 256, 512, 1024, 2048])]
    pub robots: Vec<usize>,
    /// When a plan has to be there after its observation, in milliseconds; a control period by default.
    #[arg(long, value_name = "MS")]
    pub deadline_ms: Option<f64>,
    /// Seconds to measure, shared by the numbers of robots and both orders.
    #[arg(long, default_value_t = 42.0)]
    pub seconds: f64,
    #[command(flatten)]
    pub execution: BenchExecutionArguments,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BenchMotionArguments {
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Seconds to measure, shared by the sizes of crowd.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Threads of LibTorch.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BenchClipsArguments {
    /// Checkpoint folder; the shipped one by default.
    #[arg(long, value_name = "FOLDER")]
    pub checkpoint: Option<PathBuf>,
    /// More checkpoint folders, timed in turns with the first; repeatable.
    #[arg(long, value_name = "FOLDER")]
    pub against: Vec<PathBuf>,
    /// Length of the clips, s.
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    pub seconds: f64,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
