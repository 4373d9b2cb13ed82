//! Tables that a configuration takes from another file, so that models which share their data and
//! their embedding say both once.
//!
//!     [base]
//!     file = "motion-aamdm.toml"           # from the folder of this file
//!     take = ["data", "model.embedding"]
//!
//! Nothing but what `take` names is taken. What stands in both is merged table by table; of other
//! values, lists included, this file's hold. A base may have a base of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use toml::{Table, Value};

use super::read_text;
use kinestream_runtime::config;

/// The table `[base]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    /// The other file, from the folder of this one.
    file: PathBuf,
    /// Tables to take from it, with dots for tables within tables.
    take: Vec<String>,
}

/// Reads a file with what it takes from others; `base` itself is gone.
///
/// # Errors
/// Files that cannot be read or are no TOML, bases that lead back to themselves, and tables that
/// are not there.
pub(super) fn read(path: &Path) -> Result<Table> {
    read_below(path, &mut Vec::new())
}

/// `above` are the files on the way here.
fn read_below(path: &Path, above: &mut Vec<PathBuf>) -> Result<Table> {
    let text = read_text(path)?;
    let place = path
        .canonicalize()
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    if above.contains(&place) {
        let way: Vec<String> = above
            .iter()
            .chain([&place])
            .map(|file| file.display().to_string())
            .collect();
        bail!(
            "base.file leads back to the same file: {}; name one that does not build on this one",
            way.join(" -> ")
        );
    }
    let mut own: Table = config::parse_toml(&text, &path.display().to_string())?;
    let Some(base) = own.remove("base") else {
        return Ok(own);
    };
    let base = Base::deserialize(base).map_err(|error| {
        anyhow!(
            "{}: [base]: {}; expected file = \"other.toml\" and take = [\"data\", ...]",
            path.display(),
            error.to_string().trim_end().replace('\n', ", ")
        )
    })?;
    let file = path.parent().unwrap_or(Path::new("")).join(&base.file);
    above.push(place);
    let other =
        read_below(&file, above).with_context(|| format!("base.file of {}", path.display()))?;
    above.pop();
    ensure!(
        !base.take.is_empty(),
        "{}: base.take is empty; name what to take from {}: {}",
        path.display(),
        file.display(),
        names(&other)
    );
    for name in &base.take {
        let taken = find(&other, name).with_context(|| {
            format!(
                "{}: base.take: no `{name}` in {}; it has {}",
                path.display(),
                file.display(),
                names(&other)
            )
        })?;
        merge(&mut own, nested(name, taken.clone()));
    }
    Ok(own)
}

/// What stands at a dotted name.
fn find<'a>(table: &'a Table, name: &str) -> Option<&'a Value> {
    match name.split_once('.') {
        None => table.get(name),
        Some((first, rest)) => find(table.get(first)?.as_table()?, rest),
    }
}

/// A value under a dotted name.
fn nested(name: &str, value: Value) -> Table {
    let (first, value) = match name.split_once('.') {
        None => (name, value),
        Some((first, rest)) => (first, Value::Table(nested(rest, value))),
    };
    Table::from_iter([(first.to_owned(), value)])
}

/// Adds what is missing.
fn merge(own: &mut Table, other: Table) {
    for (key, value) in other {
        match (own.get_mut(&key), value) {
            (Some(Value::Table(own)), Value::Table(other)) => merge(own, other),
            (Some(_), _) => {}
            (None, value) => {
                own.insert(key, value);
            }
        }
    }
}

/// Names of the tables, and of the tables in them.
fn names(table: &Table) -> String {
    let mut all = Vec::new();
    for (key, value) in table {
        all.push(key.clone());
        let inner = value.as_table().into_iter().flatten();
        all.extend(
            inner
                .filter(|(_, value)| value.is_table())
                .map(|(inner, _)| format!("{key}.{inner}")),
        );
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        [data]
        clips = ["a", "b"]
        [model.embedding]
        latent = 6
        width = 16
        [model.generation]
        width = 8
    "#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn refused(files: &[(&str, &str)], words: &[&str]) {
        let folder = folder(files);
        let message = format!("{:#}", read(&folder.path().join(files[0].0)).unwrap_err());
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }

    #[test]
    fn named_tables_are_taken_and_own_values_hold() {
        let other = r#"
            [base]
            file = "whole.toml"
            take = ["data", "model.embedding"]
            [data]
            clips = ["c"]
            [model.embedding]
            width = 32
            [model.motion_vae]
        "#;
        let third = "[base]\nfile = \"other.toml\"\ntake = [\"data\", \"model\"]";
        let folder = folder(&[
            ("whole.toml", WHOLE),
            ("other.toml", other),
            ("third.toml", third),
        ]);
        let expected: Table = r#"
            [data]
            clips = ["c"]
            [model.embedding]
            latent = 6
            width = 32
            [model.motion_vae]
        "#
        .parse()
        .unwrap();
        assert_eq!(read(&folder.path().join("other.toml")).unwrap(), expected);
        assert_eq!(read(&folder.path().join("third.toml")).unwrap(), expected);
    }

    #[test]
    fn wrong_bases_are_refused_with_names() {
        let taking = |file: &str, take: &str| format!("[base]\nfile = \"{file}\"\ntake = {take}");
        let data = r#"["data"]"#;
        refused(
            &[
                ("a.toml", &taking("b.toml", data)),
                ("b.toml", &taking("a.toml", data)),
            ],
            &["leads back", "a.toml -> ", "b.toml -> "],
        );
        refused(
            &[("a.toml", &taking("a.toml", data))],
            &["leads back", "a.toml"],
        );
        refused(
            &[("a.toml", &taking("none.toml", data))],
            &["base.file of", "a.toml", "cannot read", "none.toml"],
        );
        refused(
            &[
                ("a.toml", &taking("b.toml", r#"["model.embeding"]"#)),
                ("b.toml", WHOLE),
            ],
            &[
                "a.toml",
                "no `model.embeding` in",
                "b.toml",
                "model.embedding",
            ],
        );
        refused(
            &[("a.toml", &taking("b.toml", "[]")), ("b.toml", WHOLE)],
            &["base.take is empty", "data, model, model.embedding"],
        );
        refused(
            &[("a.toml", "[base]\nfiles = \"b.toml\"")],
            &["a.toml", "[base]", "files", "take"],
        );
        refused(
            &[("a.toml", &taking("b.toml", data)), ("b.toml", "[data")],
            &["base.file of", "b.toml", "line 1"],
        );
    }
}
