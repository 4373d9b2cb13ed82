//! Circles among the modules of a crate: two files that need each other are one file, or want a third.
//!
//! Words are read, not code: `crate::`, `super::` and `self::` paths outside comments, strings and unit tests. A module may name
//! what its own folder's `mod.rs` has, which is how Rust's folders are made; a circle among others is refused.

use crate::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Folders that are no crates.
const NO_CRATES: [&str; 4] = ["target", "clients", "tests", "docs"];

/// Refuses circles in any crate below `root`.
pub(crate) fn check(root: &Path) -> Outcome {
    let mut found = Vec::new();
    let mut crates = vec![root.to_path_buf()];
    for entry in list(root)? {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if entry.join("Cargo.toml").exists() && !NO_CRATES.contains(&name.as_str()) {
            crates.push(entry);
        }
    }
    for folder in crates.iter().map(|folder| folder.join("src")) {
        if !folder.exists() {
            continue;
        }
        let modules = modules(&folder)?;
        for circle in circles(&references(&modules)) {
            found.push(format!("{}: {}", folder.display(), circle.join(", ")));
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "modules need each other in a circle; move what they share to a file of its own: {}",
            found.join("; ")
        )),
    }
}

/// A module's path from the crate's root, and its text without comments, strings and unit tests.
type Modules = BTreeMap<Vec<String>, String>;

fn list(folder: &Path) -> Outcome<Vec<std::path::PathBuf>> {
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    let mut entries = std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    entries.sort();
    Ok(entries)
}

fn modules(folder: &Path) -> Outcome<Modules> {
    let mut modules = Modules::new();
    let mut folders = vec![(folder.to_path_buf(), Vec::new())];
    while let Some((folder, path)) = folders.pop() {
        for entry in list(&folder)? {
            let name = entry
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let mut own: Vec<String> = path.clone();
            if !["mod", "lib", "main"].contains(&name.as_str()) {
                own.push(name.clone());
            }
            if entry.is_dir() {
                folders.push((entry, own));
            } else if entry.extension().is_some_and(|it| it == "rs") && !name.contains("tests") {
                let text = std::fs::read_to_string(&entry)
                    .map_err(|error| format!("cannot read {}: {error}", entry.display()))?;
                modules.insert(own, bare(&text));
            }
        }
    }
    Ok(modules)
}

/// Code without comments, the contents of strings, and the unit tests at the end of a file.
fn bare(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(sign) = rest.next() {
        match sign {
            '/' if rest.peek() == Some(&'/') => {
                while rest.next().is_some_and(|next| next != '\n') {}
                out.push('\n');
            }
            '"' => {
                while let Some(next) = rest.next() {
                    match next {
                        '\\' => _ = rest.next(),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            // A quote as a character is no string.
            '\'' if rest.peek() == Some(&'"') => _ = rest.next(),
            _ => out.push(sign),
        }
    }
    out
}

/// Which modules each module names, its own ancestors left out.
fn references(modules: &Modules) -> BTreeMap<&[String], BTreeSet<&[String]>> {
    let named = |path: &[String]| {
        let lengths = (1..=path.len()).rev();
        let mut known = lengths.filter_map(|length| modules.get_key_value(&path[..length]));
        known.next().map(|(module, _)| module.as_slice())
    };
    modules
        .iter()
        .map(|(module, text)| {
            let others = paths(module, text)
                .into_iter()
                .filter_map(|path| named(&path));
            let others = others.filter(|other| !module.starts_with(other));
            (module.as_slice(), others.collect())
        })
        .collect()
}

/// All paths that begin at the crate, at this module or above it, groups taken apart.
fn paths(module: &[String], text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
    for (at, _) in text.match_indices("::") {
        let before = &text[..at];
        let start = before.rfind(|sign| !is_word(sign)).map_or(0, |it| it + 1);
        // Only where a path begins.
        if before[..start].ends_with("::") {
            continue;
        }
        let mut base = match &before[start..] {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            _ => continue,
        };
        let mut rest = &text[at + 2..];
        while let Some(above) = rest.strip_prefix("super::") {
            base.pop();
            rest = above;
        }
        leaves(&base, rest, &mut found);
    }
    found
}

/// The ends of a tree of paths such as `a::{b::c, d}`.
fn leaves(base: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut begin) = (0, 0);
        for (at, sign) in group.char_indices() {
            match sign {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    leaves(base, &group[begin..at], found);
                    begin = at + 1;
                }
                '}' if depth == 0 => {
                    leaves(base, &group[begin..at], found);
                    return;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = text.find(|sign: char| !sign.is_alphanumeric() && sign != '_');
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let mut path = base.to_vec();
    if !word.is_empty() {
        path.push(word.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(rest) => leaves(&path, rest, found),
        None => found.push(path),
    }
}

/// Modules that reach each other, in groups.
fn circles(references: &BTreeMap<&[String], BTreeSet<&[String]>>) -> Vec<Vec<String>> {
    let reach = |from: &[String]| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&[String]> = references[from].iter().copied().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(&references[module]);
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = references
        .keys()
        .map(|module| (*module, reach(module)))
        .collect();
    let groups: BTreeSet<Vec<String>> = reached
        .iter()
        .filter(|(module, seen)| seen.contains(*module))
        .map(|(module, seen)| {
            let group = seen.iter().filter(|other| reached[*other].contains(module));
            group.map(|other| other.join("::")).collect()
        })
        .collect();
    groups.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let modules: Modules = files
            .iter()
            .map(|(path, text)| (path.split("::").map(str::to_owned).collect(), bare(text)))
            .collect();
        circles(&references(&modules))
    }

    #[test]
    fn a_circle_is_found_through_groups_and_other_modules() {
        let files = [
            ("a", "use crate::{b::Thing, c};"),
            ("b", "fn f() { super::c::g() }"),
            ("c", "use crate::d::{self, e::{F, G}};"),
            ("d::e", "use super::super::a::X;"),
            ("d", ""),
        ];
        assert_eq!(found(&files), [["a", "b", "c", "d::e"]]);
        assert!(found(&files[..3]).is_empty());
    }

    #[test]
    fn this_checkout_has_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        check(&root).unwrap();
    }

    #[test]
    fn what_is_no_circle_is_none() {
        // A folder and its files, comments, strings and tests.
        let files = [
            ("a", "mod b; pub use self::b::B;"),
            (
                "a::b",
                "use super::A; // crate::c\nconst S: &str = \"crate::c::X\";",
            ),
            (
                "c",
                "use crate::a::A;\n#[cfg(test)]\nmod tests {\n use crate::d; }",
            ),
            ("d", "use crate::c; const Q: char = '\"'; "),
        ];
        assert!(found(&files).is_empty());
    }
}
