//! Where a store lies: in a folder, or in a zip archive as zarr's `ZipStore` writes it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::zip::{Archive, Limits, ZipError};
use crate::{EPISODE_ENDS, Error, Result};

/// Entries and bytes of directory of an archive with a file for every picture.
const ZIP_LIMITS: Limits = Limits {
    entries: 1 << 23,
    directory_bytes: 1 << 30,
};
/// The files that say that there is an array, of both formats.
const DESCRIPTIONS: [&str; 2] = [".zarray", "zarr.json"];

/// A zarr store, opened: files by their keys, which are paths with `/`.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    archive: Option<Arc<ZipArchive>>,
}

#[derive(Debug)]
struct ZipArchive {
    archive: Mutex<Archive<File>>,
    /// The folder within the archive that the store lies in, with `/` at its end; empty for none.
    root: String,
}

impl Store {
    /// Opens the folder, or the zip archive, at `path`.
    ///
    /// # Errors
    /// Neither is there, or an archive that is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::data(
                path,
                "no such folder or file; --data names a zarr replay buffer, a folder or a .zarr.zip",
            ),
            _ => Error::io(path)(error),
        })?;
        let mut store = Self {
            path: path.to_path_buf(),
            archive: None,
        };
        if metadata.is_dir() {
            return Ok(store);
        }
        let mut start = Vec::new();
        let mut file = File::open(path).map_err(Error::io(path))?;
        file.by_ref()
            .take(2)
            .read_to_end(&mut start)
            .map_err(Error::io(path))?;
        if start != b"PK" {
            return Err(Error::data(
                path,
                "neither a folder nor a zip archive; --data names a zarr replay buffer, a folder or a .zarr.zip",
            ));
        }
        let archive =
            Archive::open_with(file, ZIP_LIMITS).map_err(|error| store.zip_error("", error))?;
        let root = zip_root(&archive);
        store.archive = Some(Arc::new(ZipArchive {
            archive: Mutex::new(archive),
            root,
        }));
        Ok(store)
    }

    /// Where a key is, for messages.
    pub fn place(&self, key: &str) -> PathBuf {
        match &self.archive {
            Some(zip) => self.path.join(format!("{}{key}", zip.root)),
            None => self.path.join(key),
        }
    }

    /// The bytes under a key; none where there is no such file. `limit`: more bytes are damage.
    ///
    /// # Errors
    /// What the operating system or the archive says.
    pub(super) fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(zip) = &self.archive else {
            let path = self.path.join(key);
            return match File::open(&path) {
                Ok(file) => read_file(&path, file, limit).map(Some),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                // A part of the path is a file.
                Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(None),
                Err(error) => Err(Error::io(path)(error)),
            };
        };
        let name = format!("{}{key}", zip.root);
        let mut archive = zip.archive.lock().unwrap_or_else(PoisonError::into_inner);
        match archive.read(&name, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ZipError::Missing(_)) => Ok(None),
            Err(error) => Err(self.zip_error(key, error)),
        }
    }

    /// The files below `folder`, relative to it, `depth` folders deep at most.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn keys(&self, folder: &str, depth: usize) -> Result<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        if let Some(zip) = &self.archive {
            let prefix = join(&format!("{}{folder}", zip.root), "");
            let archive = zip.archive.lock().unwrap_or_else(PoisonError::into_inner);
            let names = archive.names_from(&prefix);
            let below = names.map_while(|name| name.strip_prefix(&prefix));
            keys.extend(below.filter(|it| !it.is_empty()).map(str::to_owned));
            return Ok(keys);
        }
        let mut folders = vec![(self.path.join(folder), String::new(), depth)];
        while let Some((path, prefix, depth)) = folders.pop() {
            for entry in std::fs::read_dir(&path).map_err(Error::io(&path))? {
                let entry = entry.map_err(Error::io(&path))?;
                // Keys are digits, dots and slashes: another name is no key.
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let key = format!("{prefix}{name}");
                let kind = entry.file_type().map_err(Error::io(&path))?;
                if kind.is_dir() || kind.is_symlink() && entry.path().is_dir() {
                    if depth > 0 {
                        folders.push((entry.path(), format!("{key}/"), depth - 1));
                    }
                } else {
                    keys.insert(key);
                }
            }
        }
        Ok(keys)
    }

    fn zip_error(&self, key: &str, error: ZipError) -> Error {
        match error {
            ZipError::Io(source) => Error::io(&self.path)(source),
            other => Error::data(self.place(key), other.to_string()),
        }
    }
}

/// A key below a folder.
pub(super) fn join(folder: &str, key: &str) -> String {
    if folder.is_empty() {
        key.to_owned()
    } else {
        format!("{folder}/{key}")
    }
}

fn read_file(path: &Path, file: File, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Error::io(path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::data(
            path,
            format!(
                "more than {limit} bytes, expected at most so many; damaged, or of another array"
            ),
        ));
    }
    Ok(bytes)
}

/// The folder within an archive that holds `meta/episode_ends`: whoever packs a folder often packs its name too.
fn zip_root<R>(archive: &Archive<R>) -> String {
    let ends = DESCRIPTIONS.map(|file| format!("{EPISODE_ENDS}/{file}"));
    let root = |name: &str| {
        let root = ends.iter().find_map(|end| name.strip_suffix(end))?;
        (root.is_empty() || root.ends_with('/')).then(|| root.to_owned())
    };
    archive
        .names()
        .filter_map(root)
        .min_by_key(String::len)
        .unwrap_or_default()
}
