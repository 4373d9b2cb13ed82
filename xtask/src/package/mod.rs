//! `cargo xtask package`: what a user needs to run kinestream, in one file: programs, LibTorch's libraries, shipped weights,
//! configurations, licenses, completions and manual pages. Nothing of it depends on where it is unpacked.

mod archive;
mod build;
mod check;
mod elf;
mod files;
mod licenses;
mod tree;
mod wheel;

use self::files::{bytes_below, cannot_read, cannot_write};
use crate::checkout::Checkout;
use crate::libtorch::LibTorch;
use crate::wheels::Kind;
use crate::{Outcome, setup, steps};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    /// Folder for the files; `target/package` by default.
    pub out: Option<PathBuf>,
    /// A Python wheel too.
    pub wheel: bool,
    /// Try what was made in an empty root.
    pub check: bool,
}

/// What names and dates of the files are made of.
struct Release {
    /// As in Cargo.toml.
    version: String,
    /// The target as Rust names it.
    target: String,
    /// Seconds since 1970 that every file of an archive gets: those of the commit, or of SOURCE_DATE_EPOCH.
    epoch: u64,
}

impl Release {
    fn of(checkout: &Checkout) -> Outcome<Self> {
        let rustc = steps::output_of(Command::new("rustc").arg("-vV")).unwrap_or_default();
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
        let commit = || {
            let mut git = Command::new("git");
            git.current_dir(checkout.root());
            steps::output_of(git.args(["log", "-1", "--format=%ct"]))
        };
        let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().or_else(commit);
        let epoch = epoch.and_then(|text| text.trim().parse().ok());
        Ok(Self {
            // The whole workspace has one.
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: host
                .ok_or("`rustc -vV` does not tell the host")?
                .to_owned(),
            epoch: epoch.ok_or(
                "the time of the commit is unknown: run this in a git checkout, or set SOURCE_DATE_EPOCH to seconds since 1970",
            )?,
        })
    }

    /// Name of the archive without its ending, and of the folder in it.
    fn name(&self) -> String {
        format!("kinestream-{}-{}", self.version, self.target)
    }
}

/// Makes the archive and whatever else was asked for.
pub(crate) fn run(checkout: &Checkout, package: &Package) -> Outcome {
    // What is missing for the check is told before ten minutes of building.
    let root = package.check.then(check::Root::prepare).transpose()?;
    setup::run(checkout, None)?;
    let libtorch = LibTorch::inspect(&checkout.libtorch_link())?;
    if libtorch.kind == Kind::Cuda {
        return Err(
            "a package holds LibTorch for the CPU, and .libtorch leads to one with CUDA: run cargo xtask setup --cpu first"
                .into(),
        );
    }
    let release = Release::of(checkout)?;
    let out = package
        .out
        .clone()
        .unwrap_or_else(|| checkout.target().join("package"));
    fs::create_dir_all(&out).map_err(|error| cannot_write(&out, &error))?;
    let programs = build::run(checkout)?;
    let folder = out.join(release.name());
    tree::make(checkout, &libtorch, &programs, &folder)?;
    let archive = archive::pack(&folder, &release)?;
    made(&archive, &folder)?;
    if package.wheel {
        made(&wheel::pack(&folder, &release)?, &folder)?;
    }
    match root {
        Some(root) => root.check(&archive),
        None => Ok(()),
    }
}

/// Says what was made, and how large it is.
fn made(file: &Path, folder: &Path) -> Outcome {
    let size = fs::metadata(file).map_err(|error| cannot_read(file, &error))?;
    eprintln!(
        "package: {}, {:.0} MB, unpacked {:.0} MB",
        file.display(),
        size.len() as f64 / 1e6,
        bytes_below(folder)? as f64 / 1e6
    );
    Ok(())
}
