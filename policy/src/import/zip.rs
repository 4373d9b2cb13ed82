//! Zip archives whose entries are stored uncompressed, which is how `torch.save` writes them.
//!
//! Reads the central directory only, and an entry when it is asked for. Nothing is ever inflated:
//! a compressed or encrypted entry is refused, every entry lies within the file and apart from all
//! others, so that all of them together are no larger than the file. Checksums are verified.
//!
//! Layout after PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5, with the 64-bit extension.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

const END: u32 = 0x0605_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;
const END_64: u32 = 0x0606_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

const END_SIZE: usize = 22;
const LOCATOR_SIZE: usize = 20;
const END_64_SIZE: usize = 56;
const CENTRAL_SIZE: usize = 46;
const LOCAL_SIZE: usize = 30;

/// A checkpoint has three entries and one for every tensor.
const MOST_ENTRIES: u64 = 1 << 18;
const LARGEST_DIRECTORY: u64 = 1 << 26;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum ZipError {
    /// The operating system could not read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No directory at the end.
    #[error("not a complete zip archive, {length} bytes: its directory is not at its end")]
    NoDirectory { length: u64 },
    /// A directory that does not fit the file.
    #[error("damaged zip archive: {0}")]
    Damaged(String),
    /// Something that a stored archive does not have.
    #[error("entry `{name}` is {found}; only archives stored without compression are read")]
    NotStored { name: String, found: &'static str },
    /// An archive of absurd size.
    #[error("{found} {what} announced, at most {limit} are read")]
    TooLarge {
        what: &'static str,
        found: u64,
        limit: u64,
    },
    /// An entry that is not there.
    #[error("entry `{0}` is missing")]
    Missing(String),
}

/// An archive, its directory read.
#[derive(Debug)]
pub(super) struct Archive<R> {
    source: R,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    header: u64,
    size: u64,
    checksum: u32,
    /// Where what follows begins: another entry's header, or the directory.
    end: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory.
    ///
    /// # Errors
    /// An incomplete or damaged archive, or one with compressed entries.
    pub(super) fn open(mut source: R) -> Result<Self, ZipError> {
        let length = source.seek(SeekFrom::End(0))?;
        let directory = Directory::find(&mut source, length)?;
        let bytes = read_at(&mut source, directory.offset, directory.size)?;
        let mut entries = BTreeMap::new();
        let mut rest = &bytes[..];
        for _ in 0..directory.count {
            let (name, entry, after) = central_entry(rest, directory.offset)?;
            rest = after;
            if entries.insert(name.clone(), entry).is_some() {
                return Err(ZipError::Damaged(format!("two entries `{name}`")));
            }
        }
        let mut order: Vec<_> = entries.iter_mut().collect();
        order.sort_by_key(|(_, entry)| entry.header);
        let mut next = directory.offset;
        for (name, entry) in order.into_iter().rev() {
            entry.end = next;
            next = entry.header;
            let needed = (LOCAL_SIZE + name.len()) as u64 + entry.size;
            if entry.end - entry.header < needed {
                return Err(ZipError::Damaged(format!(
                    "entry `{name}` of {} bytes does not fit between bytes {} and {}",
                    entry.size, entry.header, entry.end
                )));
            }
        }
        Ok(Self { source, entries })
    }

    /// Names of all entries, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Bytes of an entry, as the directory says.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.size)
    }

    /// Reads an entry of at most `limit` bytes.
    ///
    /// # Errors
    /// It is missing, larger, or damaged.
    pub(super) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ZipError> {
        let Some(entry) = self.entries.get(name).copied() else {
            return Err(ZipError::Missing(name.into()));
        };
        if entry.size > limit {
            return Err(ZipError::TooLarge {
                what: "bytes in one entry",
                found: entry.size,
                limit,
            });
        }
        let header = read_at(&mut self.source, entry.header, LOCAL_SIZE as u64)?;
        if u32_at(&header, 0) != Some(LOCAL) {
            return Err(ZipError::Damaged(format!(
                "no entry at byte {}, where `{name}` should be",
                entry.header
            )));
        }
        let names = [26, 28].map(|at| u64::from(u16_at(&header, at).unwrap_or(0)));
        let start = entry.header + LOCAL_SIZE as u64 + names[0] + names[1];
        if start + entry.size > entry.end {
            return Err(ZipError::Damaged(format!(
                "entry `{name}` reaches into the next"
            )));
        }
        let bytes = read_at(&mut self.source, start, entry.size)?;
        // PyTorch can be told to leave checksums out, and then writes 0.
        if entry.checksum != 0 && crc32fast::hash(&bytes) != entry.checksum {
            return Err(ZipError::Damaged(format!(
                "the checksum of entry `{name}` does not match; copy the file again"
            )));
        }
        Ok(bytes)
    }
}

/// Where the central directory is.
struct Directory {
    offset: u64,
    size: u64,
    count: u64,
}

impl Directory {
    fn find<R: Read + Seek>(source: &mut R, length: u64) -> Result<Self, ZipError> {
        let missing = || ZipError::NoDirectory { length };
        // The end record comes last, before a comment of up to 65535 bytes.
        let window = length.min((END_SIZE + usize::from(u16::MAX)) as u64);
        let start = length - window;
        let tail = read_at(source, start, window)?;
        let at = (0..tail.len().saturating_sub(END_SIZE - 1))
            .rev()
            .find(|&at| {
                u32_at(&tail, at) == Some(END)
                    && u16_at(&tail, at + 20).map(usize::from) == Some(tail.len() - at - END_SIZE)
            })
            .ok_or_else(missing)?;
        let narrow = |at| u32_at(&tail, at).map(u64::from).ok_or_else(missing);
        let mut found = Self {
            count: u16_at(&tail, at + 10).map(u64::from).ok_or_else(missing)?,
            size: narrow(at + 12)?,
            offset: narrow(at + 16)?,
        };
        let mut end = start + at as u64;
        if let Some(locator) = at.checked_sub(LOCATOR_SIZE)
            && u32_at(&tail, locator) == Some(END_64_LOCATOR)
        {
            let place = u64_at(&tail, locator + 8).ok_or_else(missing)?;
            let record = read_at(source, place, END_64_SIZE as u64)?;
            if u32_at(&record, 0) != Some(END_64) {
                return Err(missing());
            }
            let wide = |at| u64_at(&record, at).ok_or_else(missing);
            (found.count, found.size, found.offset) = (wide(32)?, wide(40)?, wide(48)?);
            end = place;
        }
        for (what, found, limit) in [
            ("entries", found.count, MOST_ENTRIES),
            ("bytes of directory", found.size, LARGEST_DIRECTORY),
        ] {
            if found > limit {
                return Err(ZipError::TooLarge { what, found, limit });
            }
        }
        if found
            .offset
            .checked_add(found.size)
            .is_none_or(|to| to > end)
        {
            return Err(ZipError::Damaged(format!(
                "its directory of {} bytes at byte {} does not fit the file",
                found.size, found.offset
            )));
        }
        Ok(found)
    }
}

/// One entry of the central directory, and what follows it.
fn central_entry(bytes: &[u8], directory: u64) -> Result<(String, Entry, &[u8]), ZipError> {
    let damaged = || ZipError::Damaged("its directory breaks off".into());
    let short = |at| u16_at(bytes, at).ok_or_else(damaged);
    let word = |at| u32_at(bytes, at).ok_or_else(damaged);
    if word(0)? != CENTRAL {
        return Err(damaged());
    }
    let (flags, method, checksum) = (short(8)?, short(10)?, word(16)?);
    let (packed, size, header) = (word(20)?, word(24)?, word(42)?);
    let [name, extra, comment] = [short(28)?, short(30)?, short(32)?].map(usize::from);
    let extra_at = CENTRAL_SIZE + name;
    let name = bytes.get(CENTRAL_SIZE..extra_at).ok_or_else(damaged)?;
    let name = String::from_utf8_lossy(name).into_owned();
    let extra_end = extra_at + extra;
    let extra = bytes.get(extra_at..extra_end).ok_or_else(damaged)?;
    let after = bytes.get(extra_end + comment..).ok_or_else(damaged)?;
    if flags & 1 != 0 || method != 0 {
        let found = if flags & 1 != 0 {
            "encrypted"
        } else {
            "compressed"
        };
        return Err(ZipError::NotStored { name, found });
    }
    // Values that do not fit 32 bits follow in this order.
    let mut wide = wide_values(extra);
    let mut widen = |value: u32| {
        if value == u32::MAX {
            wide.next().ok_or_else(damaged)
        } else {
            Ok(u64::from(value))
        }
    };
    let (size, packed, header) = (widen(size)?, widen(packed)?, widen(header)?);
    if size != packed || size > directory || header > directory {
        return Err(ZipError::Damaged(format!(
            "entry `{name}` announces {size} bytes, stored as {packed} at byte {header}, before a \
             directory at byte {directory}"
        )));
    }
    let entry = Entry {
        header,
        size,
        checksum,
        end: directory,
    };
    Ok((name, entry, after))
}

/// The 64-bit values of the extra field of that kind.
fn wide_values(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut values = Vec::new();
    while let (Some(kind), Some(size)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let end = (4 + usize::from(size)).min(extra.len());
        if kind == 1 {
            let chunks = extra[4..end].chunks_exact(8);
            values.extend(chunks.filter_map(|value| u64_at(value, 0)));
        }
        extra = &extra[end..];
    }
    values.into_iter()
}

fn read_at<R: Read + Seek>(source: &mut R, at: u64, size: u64) -> Result<Vec<u8>, ZipError> {
    source.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    // Grows with what is there, not with what is announced.
    source.take(size).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < size {
        let end = at.saturating_add(size);
        return Err(ZipError::Damaged(format!("it ends before byte {end}")));
    }
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    bytes.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// An archive of stored entries, for tests.
#[cfg(test)]
pub(super) fn write(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let mut common = Vec::new();
        common.extend([0, 0, 0, 0, 0, 0, 0, 0]); // flags, stored, time, date
        common.extend(crc32fast::hash(bytes).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]); // no extra field
        directory.extend(CENTRAL.to_le_bytes());
        directory.extend([20, 0, 20, 0]);
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend(LOCAL.to_le_bytes());
        file.extend([20, 0]);
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(*bytes);
    }
    let offset = file.len() as u32;
    file.extend(&directory);
    file.extend(END.to_le_bytes());
    file.extend([0; 4]);
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(offset.to_le_bytes());
    file.extend([0, 0]);
    file
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn archive() -> Vec<u8> {
        write(&[("a/version", b"3\n"), ("a/data/0", &[7; 100])])
    }

    #[test]
    fn entries_come_back() {
        let mut archive = Archive::open(Cursor::new(archive())).unwrap();
        assert_eq!(
            archive.names().collect::<Vec<_>>(),
            ["a/data/0", "a/version"]
        );
        assert_eq!(archive.size("a/data/0"), Some(100));
        assert_eq!(archive.read("a/data/0", 100).unwrap(), [7; 100]);
        let error = archive.read("a/data/0", 99).unwrap_err().to_string();
        assert!(error.contains("100 bytes in one entry"), "{error}");
        let error = archive.read("a/data/1", 99).unwrap_err().to_string();
        assert!(error.contains("`a/data/1` is missing"), "{error}");
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = archive();
        for length in 0..whole.len() {
            assert!(
                Archive::open(Cursor::new(&whole[..length])).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn compressed_and_damaged_entries_are_refused() {
        let at = |bytes: &[u8], signature: u32| {
            let signature = signature.to_le_bytes();
            bytes.windows(4).position(|four| four == signature).unwrap()
        };
        let refused = |change: fn(&mut [u8])| {
            let mut bytes = archive();
            let directory = at(&bytes, CENTRAL);
            change(&mut bytes[directory..]);
            let opened = Archive::open(Cursor::new(bytes));
            match opened.and_then(|mut archive| archive.read("a/version", 10)) {
                Ok(_) => panic!("not refused"),
                Err(error) => error.to_string(),
            }
        };
        assert!(refused(|entry| entry[10] = 8).contains("is compressed"));
        assert!(refused(|entry| entry[8] = 1).contains("is encrypted"));
        assert!(refused(|entry| entry[16] ^= 1).contains("checksum"));
        // One that announces more than it has, in both sizes, reaches into the next.
        let error = refused(|entry| (entry[20], entry[24]) = (100, 100));
        assert!(error.contains("does not fit between"), "{error}");
        // Two entries over the same bytes.
        let error = refused(|entry| {
            let second = CENTRAL_SIZE + "a/version".len();
            entry[second + 42] = 0;
        });
        assert!(error.contains("does not fit between"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_damage_never_panics(place in 0_usize..10_000, value: u8, cut in 0_usize..10_000) {
            let mut bytes = archive();
            let length = bytes.len();
            bytes[place % length] = value;
            bytes.truncate(length - cut % 3);
            if let Ok(mut archive) = Archive::open(Cursor::new(bytes)) {
                let names: Vec<_> = archive.names().map(str::to_owned).collect();
                for name in names {
                    let read = archive.read(&name, u64::MAX);
                    prop_assert!(read.is_err() || read.unwrap().len() <= length);
                }
            }
        }
    }
}
