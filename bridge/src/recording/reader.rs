//! Reading recordings, whole or cut at any byte.
//!
//! The layout is MCAP's (<https://mcap.dev/spec>): magic, records of opcode, length and body, magic. Its records are read
//! here and not by the `mcap` crate, because a cut file is the ordinary case: what stands in an unfinished chunk is read as
//! far as it goes, and no length field is believed before the file's own size.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::losses;

/// Bytes of a record before its body: opcode and length.
const RECORD_HEADER: u64 = 9;

mod opcode {
    pub(super) const HEADER: u8 = 0x01;
    pub(super) const FOOTER: u8 = 0x02;
    pub(super) const CHANNEL: u8 = 0x04;
    pub(super) const MESSAGE: u8 = 0x05;
    pub(super) const CHUNK: u8 = 0x06;
    pub(super) const STATISTICS: u8 = 0x0b;
    pub(super) const METADATA: u8 = 0x0c;
    /// The last one that MCAP names.
    pub(super) const DATA_END: u8 = 0x0f;
    /// From here on programs have records of their own.
    pub(super) const PRIVATE: u8 = 0x80;
}

/// A recording on the disk.
#[derive(Debug, Clone)]
pub struct Recording {
    path: PathBuf,
    bytes: u64,
}

impl Recording {
    /// Opens a recording, however much of it there is: an empty file is a recording of which nothing has survived.
    ///
    /// # Errors
    /// [`ReadError`]: there is no such file, or what it begins with is not MCAP.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref().to_path_buf();
        let failed = |source| ReadError::Io {
            path: path.clone(),
            source,
        };
        let mut file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(ReadError::NotAFile { path });
        }
        let mut magic = Vec::new();
        file.by_ref()
            .take(mcap::MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(failed)?;
        if !mcap::MAGIC.starts_with(&magic) {
            return Err(ReadError::NotMcap { path, found: magic });
        }
        Ok(Self {
            path,
            bytes: metadata.len(),
        })
    }

    /// The path it was opened under.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The messages, in the order in which they stand in the file.
    ///
    /// # Errors
    /// [`ReadError::Io`] if the file cannot be opened again.
    pub fn messages(&self) -> Result<Messages, ReadError> {
        let file = File::open(&self.path).map_err(|source| ReadError::Io {
            path: self.path.clone(),
            source,
        })?;
        Ok(Messages::new(
            BufReader::with_capacity(1 << 16, file),
            self.bytes,
            self.path.clone(),
        ))
    }
}

/// One message of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedMessage {
    /// The topic, such as `obs/state`.
    pub topic: Arc<str>,
    /// When it was recorded, nanoseconds of the recorder's monotonic clock.
    pub log_ns: u64,
    /// When it was made, nanoseconds, as its sender said.
    pub publish_ns: u64,
    /// Number in its topic, from 1. Gaps are messages that were not recorded.
    pub sequence: u32,
    /// The message.
    pub bytes: Vec<u8>,
}

/// How a recording ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With its footer, as finished recordings do.
    Complete,
    /// Within a record, or between two: the recorder was killed, or the file has been cut.
    Cut,
    /// With bytes that are no MCAP.
    Damaged {
        /// Offset of the first of them.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
}

/// The messages of a recording, read as they are asked for. Ends where nothing more can be read; what is wrong with the
/// file ends it too and is told by [`Messages::ending`], errors are the disk's.
#[derive(Debug)]
pub struct Messages<R = BufReader<File>> {
    input: R,
    path: PathBuf,
    /// Bytes of the file.
    total: u64,
    /// Bytes taken from `input`.
    position: u64,
    /// Bytes up to the end of the last record that was read.
    read: u64,
    channels: HashMap<u16, Arc<str>>,
    pending: VecDeque<RecordedMessage>,
    unverified: u64,
    skipped_chunks: u64,
    is_ours: bool,
    recorded: Option<u64>,
    dropped: Option<u64>,
    ending: Option<Ending>,
}

impl<R: Read> Messages<R> {
    pub(super) fn new(input: R, total: u64, path: PathBuf) -> Self {
        Self {
            input,
            path,
            total,
            position: 0,
            read: 0,
            channels: HashMap::new(),
            pending: VecDeque::new(),
            unverified: 0,
            skipped_chunks: 0,
            is_ours: false,
            recorded: None,
            dropped: None,
            ending: None,
        }
    }

    /// How the recording ends, once all messages have been read.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Bytes of the file, and those of them that have been understood so far.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.total, self.read)
    }

    /// Messages read so far from a chunk whose end is missing, so that its checksum could not be compared.
    #[must_use]
    pub fn unverified(&self) -> u64 {
        self.unverified
    }

    /// Chunks left out so far because their checksum was wrong.
    #[must_use]
    pub fn skipped_chunks(&self) -> u64 {
        self.skipped_chunks
    }

    /// Whether this program's recorder began the file: it numbers the messages of a topic from 1.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Messages that the file was written with, once the record at its end that says it has been read.
    #[must_use]
    pub fn recorded(&self) -> Option<u64> {
        self.recorded
    }

    /// Messages that the recorder had no room for, once the record at the end that says it has been read.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        self.dropped
    }

    /// Reads the next record at the file's own level.
    fn record(&mut self) -> io::Result<()> {
        if self.position == 0 {
            return self.magic();
        }
        let at = self.position;
        let header = self.take(RECORD_HEADER)?;
        let Some((&[code, ref length @ ..], _)) = header.split_first_chunk::<9>() else {
            self.ending = Some(Ending::Cut);
            return Ok(());
        };
        let length = u64::from_le_bytes(*length);
        if code == 0 || (code > opcode::DATA_END && code < opcode::PRIVATE) {
            return self.damaged(at, format!("{code:#04x} is no kind of record"));
        }
        let wanted = matches!(
            code,
            opcode::HEADER
                | opcode::CHANNEL
                | opcode::MESSAGE
                | opcode::CHUNK
                | opcode::STATISTICS
                | opcode::METADATA
                | opcode::FOOTER
        );
        let body = if wanted {
            self.take(length)?
        } else {
            let left = self.skip(length)?;
            if left > 0 {
                self.ending = Some(Ending::Cut);
                return Ok(());
            }
            Vec::new()
        };
        let whole = !wanted || body.len() as u64 == length;
        let understood = match code {
            opcode::CHUNK => self.chunk(&body, whole),
            _ if !whole => Ok(()),
            // It stands behind the magic and nowhere else.
            opcode::HEADER if at != mcap::MAGIC.len() as u64 => {
                Err("another recording begins here".to_owned())
            }
            opcode::HEADER => {
                self.is_ours = Fields(&body).text() == Some(super::PROFILE.as_bytes());
                Ok(())
            }
            opcode::STATISTICS => {
                self.recorded = Fields(&body).u64();
                Ok(())
            }
            opcode::METADATA => {
                self.dropped = losses::dropped(&body).or(self.dropped);
                Ok(())
            }
            opcode::CHANNEL => self.channel(&body),
            opcode::MESSAGE => {
                self.unverified += 1;
                self.message(&body)
            }
            opcode::FOOTER => return self.end(),
            _ => Ok(()),
        };
        if let Err(reason) = understood {
            return self.damaged(at, reason);
        }
        if whole {
            self.read = self.position;
        } else {
            self.ending = Some(Ending::Cut);
        }
        Ok(())
    }

    fn magic(&mut self) -> io::Result<()> {
        let magic = self.take(mcap::MAGIC.len() as u64)?;
        if magic.len() < mcap::MAGIC.len() {
            self.ending = Some(Ending::Cut);
        } else if magic != mcap::MAGIC {
            return self.damaged(0, "no MCAP magic".to_owned());
        } else {
            self.read = self.position;
        }
        Ok(())
    }

    /// After the footer.
    fn end(&mut self) -> io::Result<()> {
        let at = self.position;
        let magic = self.take(mcap::MAGIC.len() as u64)?;
        self.ending = Some(if magic == mcap::MAGIC {
            self.read = self.position;
            Ending::Complete
        } else if mcap::MAGIC.starts_with(&magic) {
            Ending::Cut
        } else {
            Ending::Damaged {
                at,
                reason: "no MCAP magic behind the footer".to_owned(),
            }
        });
        Ok(())
    }

    /// The records of a chunk, of which the end may be missing.
    fn chunk(&mut self, body: &[u8], whole: bool) -> Result<(), String> {
        let mut fields = Fields(body);
        let header = (|| {
            let _times = (fields.u64()?, fields.u64()?);
            let _uncompressed_size = fields.u64()?;
            Some((fields.u32()?, fields.text()?, fields.u64()?))
        })();
        let Some((checksum, compression, size)) = header else {
            return if whole {
                Err("a chunk is shorter than its header".to_owned())
            } else {
                Ok(())
            };
        };
        if !compression.is_empty() {
            return Err(format!(
                "a chunk is compressed with {}, which this program cannot read; convert the file with `mcap decompress`",
                String::from_utf8_lossy(compression)
            ));
        }
        let records = fields.0;
        if whole {
            if records.len() as u64 != size {
                return Err(format!(
                    "a chunk holds {} bytes and says {size}",
                    records.len()
                ));
            }
            // Zero stands for "not computed".
            if checksum != 0 && crc32fast::hash(records) != checksum {
                self.skipped_chunks += 1;
                // Topics are named once, in the chunk in which they begin: without its names, later chunks would be lost.
                let _ = self.records(records, |_, _| Ok(()));
                return Ok(());
            }
        }
        let before = self.pending.len();
        let understood = self.records(records, Self::message);
        if !whole || checksum == 0 {
            self.unverified += (self.pending.len() - before) as u64;
        }
        // Behind the cut of an unfinished chunk there may be anything.
        if whole { understood } else { Ok(()) }
    }

    /// Takes in the channels of a chunk, and its messages with `take_message`.
    fn records(
        &mut self,
        mut records: &[u8],
        take_message: fn(&mut Self, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        while let Some((&[code, ref length @ ..], rest)) = records.split_first_chunk::<9>() {
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let Some((body, rest)) = rest.split_at_checked(length) else {
                break;
            };
            match code {
                opcode::CHANNEL => self.channel(body)?,
                opcode::MESSAGE => take_message(self, body)?,
                0 => return Err("0 is no kind of record".to_owned()),
                _ => {}
            }
            records = rest;
        }
        Ok(())
    }

    fn channel(&mut self, body: &[u8]) -> Result<(), String> {
        let mut fields = Fields(body);
        let channel = (|| {
            let (id, _schema) = (fields.u16()?, fields.u16()?);
            Some((id, std::str::from_utf8(fields.text()?).ok()?))
        })();
        let Some((id, topic)) = channel else {
            return Err("a channel without a readable topic".to_owned());
        };
        self.channels.insert(id, topic.into());
        Ok(())
    }

    fn message(&mut self, body: &[u8]) -> Result<(), String> {
        let mut fields = Fields(body);
        let header = (|| Some((fields.u16()?, fields.u32()?, fields.u64()?, fields.u64()?)))();
        let Some((id, sequence, log_ns, publish_ns)) = header else {
            return Err("a message is shorter than its header".to_owned());
        };
        let Some(topic) = self.channels.get(&id) else {
            return Err(format!("a message of channel {id}, which nothing names"));
        };
        self.pending.push_back(RecordedMessage {
            topic: Arc::clone(topic),
            log_ns,
            publish_ns,
            sequence,
            bytes: fields.0.to_vec(),
        });
        Ok(())
    }

    fn damaged(&mut self, at: u64, reason: String) -> io::Result<()> {
        self.ending = Some(Ending::Damaged { at, reason });
        Ok(())
    }

    /// The next `count` bytes, or as many as there are. Memory grows with the file, never with a length field alone.
    fn take(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let count = count.min(self.total - self.position);
        let mut bytes = Vec::with_capacity(count as usize);
        self.input.by_ref().take(count).read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        Ok(bytes)
    }

    /// Passes over `count` bytes; returns how many of them are missing.
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let there = count.min(self.total - self.position);
        let passed = io::copy(&mut self.input.by_ref().take(there), &mut io::sink())?;
        self.position += passed;
        Ok(count - passed)
    }
}

impl<R: Read> Iterator for Messages<R> {
    type Item = Result<RecordedMessage, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Some(Ok(message));
            }
            if self.ending.is_some() {
                return None;
            }
            if let Err(source) = self.record() {
                self.ending = Some(Ending::Damaged {
                    at: self.position,
                    reason: source.to_string(),
                });
                return Some(Err(ReadError::Io {
                    path: self.path.clone(),
                    source,
                }));
            }
        }
    }
}

/// The fields of a record, one after the other; none where the bytes end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*value)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file, or the disk refuses.
    #[error("cannot read the recording {}: {source}", path.display())]
    Io {
        /// The path given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, a device or a pipe.
    #[error("{}: expected a recording, found something that is no regular file", path.display())]
    NotAFile {
        /// The path given.
        path: PathBuf,
    },
    /// Some other file.
    #[error(
        "{}: expected a recording in MCAP, which begins with {:02x?}, found {found:02x?}; `kinestream record` writes one",
        path.display(),
        mcap::MAGIC
    )]
    NotMcap {
        /// The path given.
        path: PathBuf,
        /// The first bytes.
        found: Vec<u8>,
    },
}
