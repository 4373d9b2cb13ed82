//! Work that competes with the loop: busy processors and a busy disk, at ordinary priority.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use kinestream_command_line::bench::Load;

/// What is written between two syncs.
const BLOCK: usize = 1 << 20;
/// Blocks of the file; then writing begins again at its start.
const BLOCKS: u64 = 64;

/// Running loads.
pub(super) struct Loads {
    busy: Vec<JoinHandle<()>>,
    disk: Option<JoinHandle<Result<u64>>>,
    folder: Option<PathBuf>,
    stop: Arc<AtomicBool>,
}

/// What they did.
#[derive(Debug, Serialize)]
pub(super) struct LoadReport {
    /// Threads that never slept.
    pub(super) busy_threads: usize,
    /// Megabytes written, each of them synced.
    pub(super) disk_megabytes: u64,
    /// Where they were written.
    pub(super) disk_folder: Option<PathBuf>,
}

impl Loads {
    /// Starts what is asked for.
    pub(super) fn start(load: Load, scratch: Option<&Path>) -> Result<Self> {
        let mut loads = Self {
            busy: Vec::new(),
            disk: None,
            folder: None,
            stop: Arc::new(AtomicBool::new(false)),
        };
        if matches!(load, Load::Disk | Load::All) {
            let folder = scratch.map_or_else(std::env::temp_dir, Path::to_path_buf);
            let file = unnamed_file(&folder)?;
            let stop = Arc::clone(&loads.stop);
            loads.disk = Some(start("disk load", move || write(file, &stop))?);
            loads.folder = Some(folder);
        }
        if matches!(load, Load::Cpu | Load::All) {
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..cpus {
                let stop = Arc::clone(&loads.stop);
                loads.busy.push(start("busy", move || spin(&stop))?);
            }
        }
        Ok(loads)
    }

    /// Ends them.
    pub(super) fn finish(mut self) -> Result<LoadReport> {
        self.stop.store(true, Ordering::Relaxed);
        let busy_threads = self.busy.len();
        for thread in self.busy.drain(..) {
            if thread.join().is_err() {
                bail!("a busy thread panicked");
            }
        }
        let disk_megabytes = match self.disk.take().map(JoinHandle::join) {
            None => 0,
            Some(Ok(megabytes)) => megabytes.context("the disk load")?,
            Some(Err(_)) => bail!("the disk load's thread panicked"),
        };
        Ok(LoadReport {
            busy_threads,
            disk_megabytes,
            disk_folder: self.folder.take(),
        })
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .with_context(|| format!("cannot start the thread `{name}`"))
}

fn spin(stop: &AtomicBool) {
    let mut number = 1_u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005) + 1);
        }
    }
}

/// A file that is gone as soon as it is closed, however this program ends.
fn unnamed_file(folder: &Path) -> Result<File> {
    let path = folder.join(format!("kinestream-bench-{}", std::process::id()));
    let file = File::create_new(&path)
        .with_context(|| format!("cannot write {}; name another --scratch", path.display()))?;
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(file)
}

/// Writes and syncs until told to stop; returns the megabytes written.
fn write(mut file: File, stop: &AtomicBool) -> Result<u64> {
    let mut block = vec![0_u8; BLOCK];
    let mut megabytes = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        // Never the same twice: some file systems notice.
        block[..8].copy_from_slice(&megabytes.to_le_bytes());
        file.seek(SeekFrom::Start(megabytes % BLOCKS * BLOCK as u64))?;
        file.write_all(&block)?;
        file.sync_data()?;
        megabytes += 1;
    }
    Ok(megabytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_run_until_they_are_ended() {
        let folder = tempfile::tempdir().unwrap();
        let loads = Loads::start(Load::All, Some(folder.path())).unwrap();
        let report = loads.finish().unwrap();
        assert!(report.busy_threads > 0);
        assert_eq!(report.disk_folder.as_deref(), Some(folder.path()));
        // Nothing is left behind.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let idle = Loads::start(Load::None, None).unwrap().finish().unwrap();
        assert_eq!((idle.busy_threads, idle.disk_folder), (0, None));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let error = Loads::start(Load::Disk, Some(Path::new("/no/such/folder"))).err();
        let text = format!("{:#}", error.unwrap());
        assert!(
            text.contains("/no/such/folder") && text.contains("--scratch"),
            "{text}"
        );
    }
}
