//! The package as a Python wheel, for those who install with pip: the same files, in the places of an environment.

use super::files::{cannot_write, files_below};
use super::{Release, build, elf};
use crate::{Outcome, steps};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A wheel is a zip with checksums, which Python's standard library writes.
const PACK: &str = include_str!("wheel.py");

/// Packs the folder and returns the wheel beside it.
pub(super) fn pack(folder: &Path, release: &Release) -> Outcome<PathBuf> {
    let mut files: Vec<PathBuf> = build::PROGRAMS
        .iter()
        .map(|program| folder.join("bin").join(program))
        .collect();
    files.extend(files_below(&folder.join("lib"))?);
    let tag = tag(elf::glibc_floor(&files)?, &release.target);
    let beside = folder.parent().unwrap_or(Path::new("."));
    let wheel = beside.join(format!("kinestream-{}-{tag}.whl", release.version));
    let partial = wheel.with_extension("whl.partial");
    let mut pack = Command::new("python3");
    pack.args(["-c", PACK])
        .args([folder, &partial])
        .args([&release.version, &tag, &release.epoch.to_string()])
        .stdin(Stdio::null());
    steps::run("packing the wheel with python3", &mut pack)?;
    fs::rename(&partial, &wheel).map_err(|error| cannot_write(&wheel, &error))?;
    Ok(wheel)
}

/// What pip compares with the machine: the oldest glibc that the files run with, and the architecture.
fn tag((major, minor): (u32, u32), target: &str) -> String {
    let architecture = target.split('-').next().unwrap_or(target);
    format!("py3-none-manylinux_{major}_{minor}_{architecture}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_made_of_glibc_and_architecture() {
        assert_eq!(
            tag((2, 34), "x86_64-unknown-linux-gnu"),
            "py3-none-manylinux_2_34_x86_64"
        );
    }
}
