//! Which files of a folder are clips, and the patterns that name them.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Endings of files that hold clips.
const ENDINGS: [&str; 3] = ["bvh", "amc", "txt"];

/// All clips below a folder, by name in order.
pub(super) fn find(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).map_err(|error| Error::io(&next, error))? {
            let path = entry.map_err(|error| Error::io(&next, error))?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if path.is_dir() {
                folders.push(path);
            } else if ending.is_some_and(|ending| ENDINGS.contains(&ending))
                && let Ok(inside) = path.strip_prefix(folder)
                && inside.components().count() > 1
            {
                let name = inside.with_extension("").display().to_string();
                found.push((name.replace('\\', "/"), path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name matches a pattern in which `*` stands for any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(place) = rest.find(part) else {
            return false;
        };
        rest = &rest[place + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, name, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/*", "a/bc", true),
            ("*", "anything/at all", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*_B*Walk*", "x_B1_StandToWalk", true),
            ("*_B*Walk", "x_B1_StandToWalk", true),
            ("*_B*Walk", "x_B1_WalkToStand", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
