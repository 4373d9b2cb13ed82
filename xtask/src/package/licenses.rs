//! The licenses of what a package holds: those that came with LibTorch's wheels, and those of the crates in the programs.

use super::files::{cannot_read, cannot_write, copy_folder};
use crate::checkout::Checkout;
use crate::libtorch::LibTorch;
use crate::{Outcome, steps};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Beginnings of the names of license files, in capitals.
const LICENSE_FILES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// Writes them into `folder`.
pub(super) fn gather(checkout: &Checkout, libtorch: &LibTorch, folder: &Path) -> Outcome {
    let kept = libtorch.folder.join("licenses");
    if !kept.is_dir() {
        let place = fs::canonicalize(&libtorch.folder).unwrap_or(libtorch.folder.clone());
        return Err(format!(
            "{0} has no folder `licenses`, without which its libraries may not be passed on: one of the cache was fetched before \
             licenses were kept, so remove {0} and run `cargo xtask setup`; into one of your own put the licenses of its parts",
            place.display()
        ));
    }
    copy_folder(&kept, &folder.join("libtorch"))?;
    let path = folder.join("crates.txt");
    fs::write(&path, of_crates(checkout)?).map_err(|error| cannot_write(&path, &error))
}

/// One text with every license of every crate, equal ones once.
fn of_crates(checkout: &Checkout) -> Outcome<String> {
    let mut tree = checkout.cargo();
    tree.args(["tree", "--locked", "--package", "kinestream"])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--format", "{p}|{l}"]);
    let tree = steps::output_of(&mut tree).ok_or("`cargo tree` failed")?;
    let sources = crate_sources()?;
    // Texts with the crates that they are of.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut summary = Vec::new();
    for (name, version, license) in crates(&tree) {
        let package = format!("{name}-{version}");
        summary.push(format!("{package}: {license}"));
        let Some(source) = sources
            .iter()
            .map(|it| it.join(&package))
            .find(|it| it.is_dir())
        else {
            return Err(format!(
                "the source of {package} is not in cargo's registry folder, so its license cannot be read"
            ));
        };
        for text in license_texts(&source)? {
            texts.entry(text).or_default().push(package.clone());
        }
    }
    let mut whole = format!(
        "Crates in kinestream's programs, with the licenses that they may be used under. Where there is a choice, kinestream \
         takes MIT or Apache-2.0.\n\n{}\n",
        summary.join("\n")
    );
    let mut groups: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, of)| (of, text)).collect();
    groups.sort();
    for (of, text) in groups {
        let line = "=".repeat(80);
        whole += &format!(
            "\n{line}\n{}\n{line}\n\n{}\n",
            of.join(", "),
            text.trim_end()
        );
    }
    Ok(whole)
}

/// Name, version and license of the crates from a registry, from lines such as `clap v4.6.9|MIT OR Apache-2.0`; those of the
/// workspace have their path in addition and are left out.
fn crates(tree: &str) -> Vec<(&str, &str, &str)> {
    let mut crates: Vec<(&str, &str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let (package, license) = line.split_once('|')?;
            let (name, version) = package.split_once(" v")?;
            // Crates that stand twice are marked.
            let license = license.trim_end_matches("(*)").trim();
            (!version.contains(' ')).then_some((name, version, license))
        })
        .collect();
    crates.sort_unstable();
    crates.dedup();
    crates
}

/// The folders that cargo unpacks crates into.
fn crate_sources() -> Outcome<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME").map(PathBuf::from);
            Some(home?.join(".cargo"))
        });
    let folder = home
        .ok_or("neither CARGO_HOME nor HOME is set")?
        .join("registry/src");
    let entries = fs::read_dir(&folder).map_err(|error| cannot_read(&folder, &error))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn license_texts(source: &Path) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(source).map_err(|error| cannot_read(source, &error))?;
    let mut texts = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.path().is_file() && LICENSE_FILES.iter().any(|known| name.starts_with(known)) {
            let bytes =
                fs::read(entry.path()).map_err(|error| cannot_read(&entry.path(), &error))?;
            texts.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_registries_are_told_from_those_of_the_workspace() {
        let tree = "kinestream v0.1.0 (/src/kinestream)|MIT OR Apache-2.0\n\
                    clap v4.6.9|MIT OR Apache-2.0\n\
                    anyhow v1.0.1|MIT OR Apache-2.0\n\
                    clap v4.6.9|MIT OR Apache-2.0 (*)\n\
                    ring v0.17.9|\n\n";
        let found = crates(tree);
        assert_eq!(
            found,
            [
                ("anyhow", "1.0.1", "MIT OR Apache-2.0"),
                ("clap", "4.6.9", "MIT OR Apache-2.0"),
                ("ring", "0.17.9", ""),
            ]
        );
    }
}
