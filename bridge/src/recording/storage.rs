//! Where a recording's bytes go: a file, or in tests something that fails on request.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file that grows at its end.
pub(super) trait Storage: Write + Send {
    /// Returns when everything written is on the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `length` bytes, if it is longer; the next byte is written there.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Refuses a file that is not the one of `length` bytes any more that was written: it was removed, or changed.
    fn verify(&self, length: u64) -> io::Result<()>;
}

impl Storage for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.metadata()?.len() > length {
            self.set_len(length)?;
        }
        self.seek(SeekFrom::Start(length)).map(|_| ())
    }

    fn verify(&self, length: u64) -> io::Result<()> {
        let metadata = self.metadata()?;
        if metadata.nlink() == 0 {
            return Err(io::Error::other(
                "the file was removed while it was written",
            ));
        }
        // A device has no length.
        if metadata.is_file() && metadata.len() != length {
            return Err(io::Error::other(format!(
                "another program changed the file: expected {length} bytes, found {}",
                metadata.len()
            )));
        }
        Ok(())
    }
}

/// What the MCAP writer has finished and the storage has not got yet. Writing to memory cannot fail, so that the MCAP
/// writer never stands half-way in a record; the recorder moves whole chunks on.
#[derive(Debug, Clone, Default)]
pub(super) struct Staging {
    inner: Arc<Mutex<Staged>>,
}

#[derive(Debug, Default)]
struct Staged {
    bytes: Vec<u8>,
    /// Bytes that have been taken before.
    taken: u64,
}

impl Staging {
    /// Hands the staged bytes over and forgets them, keeping their memory.
    pub(super) fn take_with<T>(&self, use_bytes: impl FnOnce(&[u8]) -> T) -> T {
        let mut staged = self.lock();
        let result = use_bytes(&staged.bytes);
        staged.taken += staged.bytes.len() as u64;
        staged.bytes.clear();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Staged> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Staging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Staging {
    /// Tells the position; a writer that only appends asks for nothing else.
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        match position {
            SeekFrom::Current(0) => {
                let staged = self.lock();
                Ok(staged.taken + staged.bytes.len() as u64)
            }
            _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }
}
