//! Files and folders, with errors that name them.

use crate::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes a folder below another.
pub(super) fn make_folder(folder: &Path, name: &str) -> Outcome<PathBuf> {
    let path = folder.join(name);
    fs::create_dir_all(&path).map_err(|error| cannot_write(&path, &error))?;
    Ok(path)
}

/// Writes a file.
pub(super) fn write(path: &Path, content: &[u8]) -> Outcome {
    fs::write(path, content).map_err(|error| cannot_write(path, &error))
}

/// Copies a file with its mode.
pub(super) fn copy(from: &Path, to: &Path) -> Outcome {
    fs::copy(from, to).map_err(|error| {
        let (from, to) = (from.display(), to.display());
        format!("cannot copy {from} to {to}: {error}")
    })?;
    Ok(())
}

/// Copies a folder with all that is in it.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to).map_err(|error| cannot_write(to, &error))?;
    let entries = fs::read_dir(from).map_err(|error| cannot_read(from, &error))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let target = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy_folder(&path, &target)?,
            false => copy(&path, &target)?,
        }
    }
    Ok(())
}

/// Bytes of the files in a folder and below.
pub(super) fn bytes_below(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for path in files_below(folder)? {
        bytes += fs::metadata(&path)
            .map_err(|error| cannot_read(&path, &error))?
            .len();
    }
    Ok(bytes)
}

/// The files in a folder and below, in the order of their names.
pub(super) fn files_below(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| cannot_read(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}

pub(super) fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

pub(super) fn cannot_write(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
