//! The archive: the same bytes from the same folder, whoever packs it and when.
//!
//! It is a .tar.gz, since tar and gzip are all that the smallest Debian has; xz and zstd would have to be installed first.

use super::Release;
use super::files::cannot_write;
use crate::{Outcome, steps};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Packs the folder and returns the archive beside it.
pub(super) fn pack(folder: &Path, release: &Release) -> Outcome<PathBuf> {
    let beside = folder.parent().unwrap_or(Path::new("."));
    let archive = beside.join(format!("{}.tar.gz", release.name()));
    let partial = beside.join(format!("{}.tar.gz.partial", release.name()));
    let file = File::create(&partial).map_err(|error| cannot_write(&partial, &error))?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=gnu", "--sort=name"])
        .arg(format!("--mtime=@{}", release.epoch))
        .args(["--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u+rwX,go+rX,go-w", "--directory"])
        .arg(beside)
        .arg(release.name())
        .stdout(Stdio::piped());
    let mut packing = tar
        .spawn()
        .map_err(|error| format!("cannot start `tar`: {error}"))?;
    let mut gzip = Command::new("gzip");
    // Without name and time.
    gzip.args(["--no-name", "-6"]).stdout(file);
    if let Some(output) = packing.stdout.take() {
        gzip.stdin(output);
    }
    let compressed = steps::run("gzip", &mut gzip);
    // Holds the reading end of the pipe.
    drop(gzip);
    let status = packing
        .wait()
        .map_err(|error| format!("cannot wait for `tar`: {error}"))?;
    compressed?;
    if !status.success() {
        return Err(format!("tar failed ({status})"));
    }
    fs::rename(&partial, &archive).map_err(|error| cannot_write(&archive, &error))?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_same_bytes_whenever_it_is_packed() {
        let scratch =
            std::env::temp_dir().join(format!("kinestream-archive-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        let release = Release {
            version: "1.2.3".into(),
            target: "some-target".into(),
            epoch: 1_700_000_000,
        };
        let packed = |place: &str, names: &[&str]| {
            let folder = scratch.join(place).join(release.name());
            for name in names {
                fs::create_dir_all(folder.join(name)).unwrap();
                fs::write(folder.join(name).join("file"), name).unwrap();
            }
            fs::read(pack(&folder, &release).unwrap()).unwrap()
        };
        assert_eq!(
            packed("first", &["a", "b", "c"]),
            packed("second", &["c", "a", "b"])
        );
        fs::remove_dir_all(&scratch).unwrap();
    }
}
