//! `kinestream demo`, and what its pages and game engines have in common with other commands.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kinestream_kernels::{Executor, Precision};

/// Where the page is, and for whom.
#[derive(Debug, Clone, Args)]
pub struct PageArguments {
    /// Port of the page.
    #[arg(long, default_value_t = 8740)]
    pub port: u16,
    /// Address of this machine that the page is on. Any but a loopback one is reached by others: the
    /// page then wants a token, which is part of the address that is printed.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// File with the token, 16 to 128 letters, digits, - and _; a new one every time by default. Engines
    /// send it to a --websocket that others reach.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DemoArguments {
    /// What to show.
    #[arg(value_enum, default_value_t = DemoTask::Pusht)]
    pub task: DemoTask,
    /// No page. pusht: run the episodes in real time, print the result and end. motion: perform the
    /// scripted course as fast as frames can be made, in real time with --listen or an engine.
    #[arg(long)]
    pub headless: bool,
    /// End after this many episodes, for motion runs of the course; 0 for no end, headless motion 1.
    #[arg(long, default_value_t = 0)]
    pub episodes: u64,
    /// Seed of the first episode; each following one takes the next.
    #[arg(long, default_value_t = 100_000)]
    pub seed: u32,
    #[command(flatten)]
    pub page: PageArguments,
    /// pusht: what the policy sees: the keypoints of the T, or the table's picture.
    #[arg(long, value_enum, default_value_t = DemoPolicy::State)]
    pub policy: DemoPolicy,
    /// Checkpoint folder; the shipped one by default.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Record everything to this MCAP file, for `kinestream replay` and `resim`.
    #[arg(long, value_name = "OUT.mcap")]
    pub record: Option<PathBuf>,
    /// End after this many seconds, whatever the episode.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// motion: where other programs reach the character over zenoh; tcp/127.0.0.1:7447 by default,
    /// with --headless nowhere.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    #[command(flatten)]
    pub engines: EngineArguments,
    /// motion: checkpoint folder of a model of whole clips, so that the character can be asked to
    /// perform; the shipped one by default.
    #[arg(long, value_name = "FOLDER")]
    pub clips: Option<PathBuf>,
    /// motion: poses per second, 30 to 240; the model makes 30, the others lie between.
    #[arg(long, value_name = "HZ", default_value_t = 60)]
    pub rate: u32,
    /// motion: name of the character in all keys, `kinestream/<name>/pose`.
    #[arg(long, default_value = "character")]
    pub name: String,
    /// motion: what makes the frames: auto, libtorch or fused.
    #[arg(long, value_name = "NAME", default_value_t = Executor::Auto)]
    pub executor: Executor,
    /// motion: how the fused kernels keep weights: fp32, fp16 or int8.
    #[arg(long, default_value_t = Precision::Fp16)]
    pub precision: Precision,
    /// Print one JSON object with the result on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Game engines that are told of a character's poses: docs/ENGINES.md.
#[derive(Debug, Args)]
pub struct EngineArguments {
    /// motion: send poses to this VMC receiver over UDP, usually on port 39539; may be repeated.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port)]
    pub vmc: Vec<String>,
    /// motion: send poses to Unreal's JSON Live Link here over UDP; may be repeated.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port)]
    pub live_link: Vec<String>,
    /// motion: let engines connect to a WebSocket here, for poses and steering; 127.0.0.1:8750
    /// without an address. Any address but a loopback one is reached by others, and wants the token that is
    /// part of the address that is printed.
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, value_parser = parse_host_port,
          default_missing_value = "127.0.0.1:8750")]
    pub websocket: Option<String>,
    /// motion: TOML file that says which joint is which bone of a humanoid; one is built in.
    #[arg(long, value_name = "FILE")]
    pub humanoid: Option<PathBuf>,
}

impl EngineArguments {
    /// Whether any of them was given.
    pub fn is_given(&self) -> bool {
        let sends = !(self.vmc.is_empty() && self.live_link.is_empty());
        sends || self.websocket.is_some() || self.humanoid.is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoPolicy {
    /// Nine keypoints of the T and the agent: configs/pusht-state.toml.
    State,
    /// A picture of 96 x 96 pixels and the agent: configs/pusht-image.toml.
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoTask {
    /// A disc pushes a T onto its goal.
    Pusht,
    /// A character walks, runs and turns under your control.
    Motion,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
