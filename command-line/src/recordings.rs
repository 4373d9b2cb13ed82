//! `kinestream record` and `replay`.

use std::path::PathBuf;

use clap::Args;

use super::PageArguments;

#[derive(Debug, Args)]
pub struct RecordArguments {
    /// File to write; it must not exist.
    pub out: PathBuf,
    /// Configuration file with the robot's name and session; the built-in one by default.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Address to connect to, in place of the configuration's.
    #[arg(long, value_name = "ADDRESS")]
    pub connect: Option<String>,
    /// Name of the robot or character, in place of the configuration's.
    #[arg(long)]
    pub robot: Option<String>,
    /// End after this time; Ctrl-C by default.
    #[arg(long, value_parser = parse_seconds)]
    pub seconds: Option<f64>,
    /// Print one JSON object with the totals on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Recording, also one that was cut off.
    pub file: PathBuf,
    /// How fast: 1 as recorded, 2 twice as fast; 0 or `max` as fast as possible.
    #[arg(long, default_value = "1", value_parser = parse_speed)]
    pub speed: Speed,
    /// Begin again at the end, until Ctrl-C.
    #[arg(long = "loop")]
    pub repeat: bool,
    /// Begin this many seconds after the first message.
    #[arg(long, default_value = "0", value_parser = parse_seconds)]
    pub seek: f64,
    /// Write a character's poses to this file and end: .bvh or .glb, a file per stream.
    #[arg(long, value_name = "OUT.bvh|OUT.glb",
          conflicts_with_all = ["speed", "repeat", "headless", "port", "config", "listen", "robot", "wait"])]
    pub export: Option<PathBuf>,
    /// No page.
    #[arg(long)]
    pub headless: bool,
    #[command(flatten)]
    pub page: PageArguments,
    /// Publish on zenoh under this configuration's robot and session, in place of runtime and
    /// robot. Recorded commands move whoever listens to them.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Publish on zenoh here, in place of --config, under the name that was recorded.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    pub listen: Option<String>,
    /// Name of the robot or character to publish as.
    #[arg(long)]
    pub robot: Option<String>,
    /// With --config or --listen: wait up to this many seconds until every topic has a subscriber.
    #[arg(long, default_value = "0", value_parser = parse_seconds)]
    pub wait: f64,
    /// Print one JSON object with the result on stdout.
    #[arg(long)]
    pub json: bool,
}

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// This many times as fast as it was recorded.
    Factor(f64),
    /// As fast as possible.
    Max,
}

impl Speed {
    /// The factor; none for as fast as possible.
    pub fn factor(self) -> Option<f64> {
        match self {
            Self::Factor(factor) => Some(factor),
            Self::Max => None,
        }
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
    use super::*;

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
