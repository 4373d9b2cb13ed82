//! Zip archives: checkpoints, whose entries `torch.save` stores uncompressed, and zarr stores, which may be deflated.
//!
//! Reads the central directory only, and an entry when it is asked for. Every entry lies within the file and apart from
//! all others. [`Archive::open`] refuses compressed entries, so that all of them together are no larger than the file;
//! [`Archive::open_with`] inflates them, up to the size that was asked for. Checksums are verified.

mod directory;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Bound;

use self::directory::{
    Directory, Entry, LOCAL, LOCAL_SIZE, central_entry, read_at, u16_at, u32_at,
};

/// A checkpoint has three entries and one for every tensor.
const CHECKPOINT_LIMITS: Limits = Limits {
    entries: 1 << 18,
    directory_bytes: 1 << 26,
};

/// What an archive may announce.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of its directory.
    pub directory_bytes: u64,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// The operating system could not read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No directory at the end.
    #[error("not a complete zip archive, {length} bytes: its directory is not at its end")]
    NoDirectory {
        /// Bytes of the file.
        length: u64,
    },
    /// A directory that does not fit the file.
    #[error("damaged zip archive: {0}")]
    Damaged(String),
    /// Something that a stored archive does not have.
    #[error("entry `{name}` is {found}; only archives stored without compression are read")]
    NotStored {
        /// The entry.
        name: String,
        /// How it is packed.
        found: &'static str,
    },
    /// A way of packing that is not read at all.
    #[error("entry `{name}` is {found}; pack it again, stored or deflated: zip -0 -r")]
    Method {
        /// The entry.
        name: String,
        /// How it is packed.
        found: &'static str,
    },
    /// An archive of absurd size.
    #[error("{found} {what} announced, at most {limit} are read")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// What is announced.
        found: u64,
        /// What is read at most.
        limit: u64,
    },
    /// An entry that is not there.
    #[error("entry `{0}` is missing")]
    Missing(String),
}

/// An archive, its directory read.
#[derive(Debug)]
pub struct Archive<R> {
    source: R,
    entries: BTreeMap<String, Entry>,
}

impl<R> Archive<R> {
    /// Names of all entries, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Names of the entries from `first` on, sorted.
    pub fn names_from<'a>(&'a self, first: &str) -> impl Iterator<Item = &'a str> + use<'a, R> {
        let names = self
            .entries
            .range::<str, _>((Bound::Included(first), Bound::Unbounded));
        names.map(|(name, _)| name.as_str())
    }

    /// Bytes of an entry, as the directory says.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.size)
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory of a checkpoint.
    ///
    /// # Errors
    /// An incomplete or damaged archive, one with compressed entries, or with two of a name.
    pub fn open(source: R) -> Result<Self, ZipError> {
        let (archive, replaced) = Self::read_directory(source, CHECKPOINT_LIMITS)?;
        if let Some(name) = replaced {
            return Err(ZipError::Damaged(format!("two entries `{name}`")));
        }
        match archive.entries.iter().find(|(_, entry)| entry.deflated) {
            Some((name, _)) => Err(ZipError::NotStored {
                name: name.clone(),
                found: "compressed",
            }),
            None => Ok(archive),
        }
    }

    /// Reads the directory of an archive that may be deflated. Of two entries of a name the later one counts: zarr
    /// appends what it writes anew.
    ///
    /// # Errors
    /// An incomplete or damaged archive, or one that was packed otherwise.
    pub fn open_with(source: R, limits: Limits) -> Result<Self, ZipError> {
        Ok(Self::read_directory(source, limits)?.0)
    }

    /// Reads the directory, and the name of an entry that another one replaced.
    fn read_directory(mut source: R, limits: Limits) -> Result<(Self, Option<String>), ZipError> {
        let length = source.seek(SeekFrom::End(0))?;
        let directory = Directory::find(&mut source, length, limits)?;
        let bytes = read_at(&mut source, directory.offset, directory.size)?;
        let mut all = Vec::new();
        let mut rest = &bytes[..];
        for _ in 0..directory.count {
            let (name, entry, after) = central_entry(rest, directory.offset)?;
            rest = after;
            all.push((name, entry));
        }
        let mut order: Vec<_> = all.iter_mut().collect();
        order.sort_by_key(|(_, entry)| entry.header);
        let mut next = directory.offset;
        for (name, entry) in order.into_iter().rev() {
            entry.end = next;
            next = entry.header;
            let needed = (LOCAL_SIZE + name.len()) as u64 + entry.packed;
            if entry.end - entry.header < needed {
                return Err(ZipError::Damaged(format!(
                    "entry `{name}` of {} bytes does not fit between bytes {} and {}",
                    entry.packed, entry.header, entry.end
                )));
            }
        }
        let (mut entries, mut replaced) = (BTreeMap::new(), None);
        for (name, entry) in all {
            if entries.insert(name.clone(), entry).is_some() {
                replaced = Some(name);
            }
        }
        Ok((Self { source, entries }, replaced))
    }

    /// Reads an entry of at most `limit` bytes.
    ///
    /// # Errors
    /// It is missing, larger, or damaged.
    pub fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ZipError> {
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
        if start + entry.packed > entry.end {
            return Err(ZipError::Damaged(format!(
                "entry `{name}` reaches into the next"
            )));
        }
        let mut bytes = read_at(&mut self.source, start, entry.packed)?;
        if entry.deflated {
            bytes = inflate(&bytes, entry.size, name)?;
        }
        // PyTorch can be told to leave checksums out, and then writes 0.
        if entry.checksum != 0 && crc32fast::hash(&bytes) != entry.checksum {
            return Err(ZipError::Damaged(format!(
                "the checksum of entry `{name}` does not match; copy the file again"
            )));
        }
        Ok(bytes)
    }
}

/// Inflates to `size` bytes; what is announced beyond that which is there is never allocated.
fn inflate(packed: &[u8], size: u64, name: &str) -> Result<Vec<u8>, ZipError> {
    let mut bytes = Vec::new();
    let inflated = flate2::read::DeflateDecoder::new(packed)
        .take(size.saturating_add(1))
        .read_to_end(&mut bytes);
    if inflated.is_err() || bytes.len() as u64 != size {
        return Err(ZipError::Damaged(format!(
            "entry `{name}` does not inflate to the {size} bytes that it announces"
        )));
    }
    Ok(bytes)
}

/// The bytes of an archive of stored entries, of less than 4 GB in all.
pub fn write(entries: &[(&str, &[u8])]) -> Vec<u8> {
    use self::directory::{CENTRAL, END};

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

    use super::directory::{CENTRAL, CENTRAL_SIZE};
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

    /// An archive of one deflated entry, that announces `size` bytes.
    fn deflated(bytes: &[u8], size: u32) -> Vec<u8> {
        use std::io::Write;

        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        let packed = encoder.finish().unwrap();
        let mut archive = write(&[("a", &packed)]);
        let signature = CENTRAL.to_le_bytes();
        let at = archive
            .windows(4)
            .position(|four| four == signature)
            .unwrap();
        archive[at + 10] = 8;
        archive[at + 16..][..4].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        archive[at + 24..][..4].copy_from_slice(&size.to_le_bytes());
        archive
    }

    #[test]
    fn deflated_entries_are_inflated_to_their_size_and_in_checkpoints_refused() {
        let bytes = [7; 5000];
        let read = |size: u32, limit: u64| {
            let archive =
                Archive::open_with(Cursor::new(deflated(&bytes, size)), CHECKPOINT_LIMITS);
            archive
                .unwrap()
                .read("a", limit)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(5000, 5000).unwrap(), bytes);
        assert!(
            read(5000, 4999)
                .unwrap_err()
                .contains("5000 bytes in one entry")
        );
        for size in [0, 4999, 5001, u32::MAX - 1] {
            let error = read(size, u64::MAX).unwrap_err();
            assert!(error.contains("does not inflate"), "{error}");
        }
        let refused = Archive::open(Cursor::new(deflated(&bytes, 5000))).unwrap_err();
        assert!(refused.to_string().contains("is compressed"), "{refused}");
    }

    #[test]
    fn of_two_entries_of_a_name_the_later_one_counts_but_not_in_checkpoints() {
        let twice = write(&[("a", b"old"), ("a", b"new")]);
        let mut archive = Archive::open_with(Cursor::new(&twice), CHECKPOINT_LIMITS).unwrap();
        assert_eq!(archive.read("a", 3).unwrap(), b"new");
        let refused = Archive::open(Cursor::new(&twice)).unwrap_err();
        assert!(refused.to_string().contains("two entries `a`"), "{refused}");
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
