//! Fetches LibTorch into the user's cache.
//!
//! The folder in the cache appears whole or not at all: everything is done in a folder beside it,
//! which takes its name in one step at the end. A lock, which the system releases when its holder
//! ends in whatever way, keeps two set-ups apart.

use crate::libtorch::LibTorch;
use crate::wheels::{Distribution, Kind};
use crate::{Outcome, python, steps};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The LibTorch of this variant in the cache, fetched if it is not there.
pub(crate) fn run(distribution: &Distribution, cache: &Path) -> Outcome<LibTorch> {
    let cannot = |what: &Path, error| format!("cannot write {}: {error}", what.display());
    fs::create_dir_all(cache).map_err(|error| cannot(cache, error))?;
    let name = distribution.name();
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(|error| cannot(&lock_path, error))?;
    take(&lock).map_err(|error| cannot(&lock_path, error))?;

    remove_leftovers(cache, &name);
    let folder = cache.join(&name);
    // Another set-up may have done it while this one waited.
    if let Ok(found) = LibTorch::inspect(&distribution.libtorch_in(&folder)) {
        return Ok(found);
    }
    let partial = cache.join(format!("{name}.partial-{}", std::process::id()));
    let fetched = fetch_into(distribution, &partial, &folder);
    // Its own, and what the pip of a killed set-up may have gone on writing meanwhile.
    remove_leftovers(cache, &name);
    fetched
}

/// Removes what set-ups that were killed have left; the lock must be held.
fn remove_leftovers(cache: &Path, name: &str) {
    let prefix = format!("{name}.partial-");
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn take(lock: &File) -> std::io::Result<()> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            eprintln!("xtask: waiting for another set-up on this machine");
            lock.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn fetch_into(distribution: &Distribution, partial: &Path, folder: &Path) -> Outcome<LibTorch> {
    let started = Instant::now();
    eprintln!(
        "xtask: downloading LibTorch, {:.2} GB, once for all checkouts, into {}",
        distribution.download_bytes() as f64 / 1e9,
        folder.display()
    );
    if distribution.architecture == "aarch64" {
        eprintln!("xtask: set-up on aarch64 is written for, but untried");
    }
    let wheels = partial.join("wheels");
    fs::create_dir_all(&wheels)
        .map_err(|error| format!("cannot write {}: {error}", wheels.display()))?;
    for download in distribution.downloads() {
        python::download(&download, &wheels)?;
    }
    let tree = partial.join("tree");
    python::unpack(&wheels, &distribution.rules(), &tree)?;
    complete(distribution, &distribution.libtorch_in(&tree))?;
    put_in_place(&tree, partial, folder)?;
    let found = LibTorch::inspect(&distribution.libtorch_in(folder))
        .map_err(|problem| format!("the download makes no LibTorch: {problem}"))?;
    eprintln!(
        "xtask: LibTorch fetched in {}",
        steps::readable(started.elapsed())
    );
    Ok(found)
}

/// Adds the names that the linker looks for and, last, the version.
fn complete(distribution: &Distribution, libtorch: &Path) -> Outcome {
    let lib = libtorch.join("lib");
    let mut links = vec![("libgomp.so", "libgomp.so.1")];
    if distribution.kind == Kind::Cpu {
        links.push(("libtorch.so", "libtorch_cpu.so"));
    }
    for (link, to) in links {
        symlink(to, lib.join(link)).map_err(|error| format!("cannot make lib/{link}: {error}"))?;
    }
    let path = libtorch.join("build-version");
    File::create(&path)
        .and_then(|mut file| {
            writeln!(file, "{}", distribution.build_version())?;
            file.sync_all()
        })
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Gives the finished tree its name; what stood there was found to be no LibTorch and goes.
fn put_in_place(tree: &Path, partial: &Path, folder: &Path) -> Outcome {
    let replaced: PathBuf = partial.join("replaced");
    if folder.symlink_metadata().is_ok() {
        fs::rename(folder, &replaced)
            .map_err(|error| format!("cannot replace {}: {error}", folder.display()))?;
    }
    fs::rename(tree, folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_this_variant_alone_are_removed() {
        let cache = std::env::temp_dir().join(format!("kinestream-fetch-{}", std::process::id()));
        let _ = fs::remove_dir_all(&cache);
        for folder in ["a.partial-1/wheels", "a.partial-22", "a", "b.partial-3"] {
            fs::create_dir_all(cache.join(folder)).unwrap();
        }
        remove_leftovers(&cache, "a");
        let mut left: Vec<_> = fs::read_dir(&cache)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["a", "b.partial-3"]);
        fs::remove_dir_all(&cache).unwrap();
    }
}
