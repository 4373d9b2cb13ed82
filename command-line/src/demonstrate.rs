//! `kinestream demonstrate`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct DemonstrateArguments {
    /// Configuration file; `task.name` says where.
    pub config: PathBuf,
    /// Episodes to record.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub episodes: u32,
    /// Seed of the first episode; each following one takes the next. Policies are tested on 100000 and up.
    #[arg(long, default_value_t = 0)]
    pub seed: u32,
    /// Folder to write, a zarr v2 replay buffer; must not exist.
    #[arg(long, value_name = "DATA.zarr")]
    pub out: PathBuf,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
