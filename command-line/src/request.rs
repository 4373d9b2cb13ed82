//! `kinestream stop`, `pause`, `resume` and `home`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Requests to running robots.
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// Stop a running runtime at once (emergency stop), or leave such a stop.
    Stop(StopArguments),
    /// Bring a robot to rest until `kinestream resume`; no emergency stop.
    Pause(RequestArguments),
    /// Go on after a pause, or from home.
    Resume(RequestArguments),
    /// Lead a robot to `control.home` under its limits, and keep it there until `kinestream resume`.
    Home(RequestArguments),
}

/// Where the robots of a request are.
#[derive(Debug, Args)]
pub struct RequestArguments {
    /// Configuration file of the runtime: its session and robot say where it is.
    pub config: PathBuf,
    /// Which robot of the runtime; all of them by default.
    #[arg(long, value_name = "NAME")]
    pub robot: Option<String>,
    /// How long to go on asking, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub limit: f64,
    /// Print the runtime's answer as one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Stop a running runtime at once (emergency stop), or leave such a stop.
///
/// Commands come to rest under the configured limits and stay there. The request is repeated until the runtime has
/// confirmed it: status 0 says that the robot is stopped, 1 that nobody confirmed. Any sample on cmd/estop below the
/// robot's key stops too. A stop is left only with --rearm, and then only after a new observation and a new plan.
#[derive(Debug, Args)]
pub struct StopArguments {
    #[command(flatten)]
    pub common: RequestArguments,
    /// Leave an emergency stop or a safe stop.
    #[arg(long)]
    pub rearm: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected seconds, above 0, at most 3600".to_owned()),
    }
}
