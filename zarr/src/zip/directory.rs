//! The central directory of a zip archive, its entries, and the numbers in both.
//!
//! Layout after PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5, with the 64-bit extension.

use std::io::{Read, Seek, SeekFrom};

use super::{Limits, ZipError};

pub(super) const END: u32 = 0x0605_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;
const END_64: u32 = 0x0606_4b50;
pub(super) const CENTRAL: u32 = 0x0201_4b50;
pub(super) const LOCAL: u32 = 0x0403_4b50;

const END_SIZE: usize = 22;
const LOCATOR_SIZE: usize = 20;
const END_64_SIZE: usize = 56;
pub(super) const CENTRAL_SIZE: usize = 46;
pub(super) const LOCAL_SIZE: usize = 30;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) header: u64,
    /// Bytes in the file.
    pub(super) packed: u64,
    /// Bytes when read.
    pub(super) size: u64,
    pub(super) deflated: bool,
    pub(super) checksum: u32,
    /// Where what follows begins: another entry's header, or the directory.
    pub(super) end: u64,
}

/// Where the central directory is.
pub(super) struct Directory {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) count: u64,
}

impl Directory {
    /// Finds it at the end of a file of `length` bytes.
    pub(super) fn find<R: Read + Seek>(
        source: &mut R,
        length: u64,
        limits: Limits,
    ) -> Result<Self, ZipError> {
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
            ("entries", found.count, limits.entries),
            ("bytes of directory", found.size, limits.directory_bytes),
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
pub(super) fn central_entry(
    bytes: &[u8],
    directory: u64,
) -> Result<(String, Entry, &[u8]), ZipError> {
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
    if flags & 1 != 0 {
        let found = "encrypted";
        return Err(ZipError::Method { name, found });
    }
    if method != STORED && method != DEFLATED {
        let found = "compressed in another way than deflate";
        return Err(ZipError::Method { name, found });
    }
    let deflated = method == DEFLATED;
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
    if (!deflated && size != packed) || packed > directory || header > directory {
        return Err(ZipError::Damaged(format!(
            "entry `{name}` announces {size} bytes, stored as {packed} at byte {header}, before a \
             directory at byte {directory}"
        )));
    }
    let entry = Entry {
        header,
        packed,
        size,
        deflated,
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

pub(super) fn read_at<R: Read + Seek>(
    source: &mut R,
    at: u64,
    size: u64,
) -> Result<Vec<u8>, ZipError> {
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

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    bytes.try_into().ok().map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}
