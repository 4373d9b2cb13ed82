//! Words of a text file with the line they stand on, and the errors that name it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Largest file that is read, in bytes: an hour of capture at 120 frames per second. What is made
/// of a file takes at most some ten times its size.
const MOST_BYTES: u64 = 1 << 28;

/// Reads a whole file as UTF-8 text.
pub fn read(path: &Path) -> Result<String> {
    let io = |source| Error::io(path, source);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    // Not by the length that is stated: devices and pipes state none.
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Error::Data {
            path: path.to_path_buf(),
            reason: format!("more than {MOST_BYTES} bytes, expected at most that; cut the clip"),
        });
    }
    decode(bytes, path)
}

/// Bytes as UTF-8 text.
fn decode(bytes: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..valid];
        Error::Syntax {
            path: path.to_path_buf(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            reason: format!(
                "byte {:#04x} is not UTF-8, expected a text file",
                error.as_bytes()[valid]
            ),
        }
    })
}

/// Writes a file so that it appears whole or not at all.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let beside: PathBuf = path.with_file_name(name);
    let written = std::fs::write(&beside, bytes)
        .and_then(|()| std::fs::File::open(&beside)?.sync_all())
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&beside);
        Error::io(path, source)
    })
}

/// A syntax error on a line counted from 1.
pub fn wrong(path: &Path, line: usize, reason: impl Into<String>) -> Error {
    Error::Syntax {
        path: path.to_path_buf(),
        line,
        reason: reason.into(),
    }
}

/// A word as it goes into a message: short, and without control characters.
pub fn shown(word: &str) -> String {
    let mut short: String = word.chars().take(40).flat_map(char::escape_debug).collect();
    if word.chars().nth(40).is_some() {
        short.push_str("...");
    }
    format!("`{short}`")
}

/// Largest number that is taken for a length or angle: sums and products of such stay finite.
const LARGEST: f64 = 1e12;

/// A finite number, or what was found instead.
pub fn number(word: &str) -> std::result::Result<f64, String> {
    match word.parse::<f64>() {
        Ok(number) if number.abs() <= LARGEST => Ok(number),
        Ok(number) if number.is_finite() => Err(format!("{} is beyond {LARGEST:e}", shown(word))),
        Ok(_) => Err(format!("{} is not finite", shown(word))),
        Err(_) => Err(format!("{} is no number", shown(word))),
    }
}

/// The lines of a text that say something, as (line counted from 1, trimmed content).
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}
