//! The programs of a package: a release build that knows no folder of the machine that it was made on.

use crate::checkout::Checkout;
use crate::{Outcome, steps};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The programs, which belong side by side.
pub(super) const PROGRAMS: [&str; 2] = ["kinestream", "kinestream-engine"];

/// The cargo profile that they are built with, and the name of its folder.
const PROFILE: &str = "dist";

/// Builds the programs and returns their folder.
pub(super) fn run(checkout: &Checkout) -> Outcome<PathBuf> {
    // Crates are looked for where cargo has unpacked them.
    steps::run(
        "cargo fetch",
        checkout.cargo().args(["fetch", "--locked", "--quiet"]),
    )?;
    let folders = Folders::find(checkout);
    let mut build = checkout.cargo();
    build
        .args(["build", "--locked", "--profile", PROFILE])
        .args(["--package", "kinestream", "--bins"])
        .env("KINESTREAM_RELOCATABLE", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", folders.rust_flags())
        .env_remove("RUSTFLAGS");
    for name in ["CFLAGS", "CXXFLAGS"] {
        build.env(name, folders.compiler_flags(name));
    }
    steps::run("cargo build --profile dist", &mut build)?;
    let programs = checkout.target().join(PROFILE);
    for program in PROGRAMS {
        let path = programs.join(program);
        let content = fs::read(&path)
            .map_err(|error| format!("cannot read what was built, {}: {error}", path.display()))?;
        if let Some(folder) = folders.found_in(&content) {
            return Err(format!(
                "{program} names {folder}, a folder of this machine: extend Folders in \
                 xtask/src/package/build.rs by what put it there"
            ));
        }
    }
    Ok(programs)
}

/// Folders of this machine that compilers would write into programs, each with what is written in its place. Later ones lie
/// within earlier ones, and go before them.
struct Folders(Vec<(String, String)>);

impl Folders {
    fn find(checkout: &Checkout) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let cargo_home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".cargo")));
        let mut found = Vec::new();
        let mut add = |folder: &Path, name: &str| {
            let named = folder.to_string_lossy().into_owned();
            // A folder such as `/` stands in every path.
            if folder.is_absolute() && folder.parent().is_some() {
                found.push((named, name.to_owned()));
            }
        };
        if let Some(home) = &home {
            add(home, "home");
        }
        if let Some(cargo_home) = &cargo_home {
            add(cargo_home, "cargo");
            let registries = fs::read_dir(cargo_home.join("registry/src"));
            let mut registries: Vec<PathBuf> = registries
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            registries.sort();
            for registry in registries {
                add(&registry, "crates");
            }
        }
        add(checkout.target(), "target");
        add(checkout.root(), ".");
        Self(found)
    }

    /// For rustc, in the notation of CARGO_ENCODED_RUSTFLAGS, after flags that are already set.
    fn rust_flags(&self) -> OsString {
        let mut flags: Vec<String> = match std::env::var("CARGO_ENCODED_RUSTFLAGS") {
            Ok(encoded) => encoded.split('\x1f').map(str::to_owned).collect(),
            Err(_) => std::env::var("RUSTFLAGS")
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        };
        flags.extend(
            self.0
                .iter()
                .map(|(folder, name)| format!("--remap-path-prefix={folder}={name}")),
        );
        flags.retain(|flag| !flag.is_empty());
        flags.join("\x1f").into()
    }

    /// For the C++ compiler, after flags that are already set.
    fn compiler_flags(&self, variable: &str) -> String {
        let mut flags = vec![std::env::var(variable).unwrap_or_default()];
        flags.extend(
            self.0
                .iter()
                .map(|(folder, name)| format!("-ffile-prefix-map={folder}={name}")),
        );
        flags.join(" ").trim().to_owned()
    }

    /// The first of the folders that stands in a program.
    fn found_in(&self, program: &[u8]) -> Option<&str> {
        let mut folders = self.0.iter().rev().map(|(folder, _)| folder.as_str());
        folders.find(|folder| {
            let inside = format!("{folder}/");
            contains(program, inside.as_bytes())
        })
    }
}

/// Whether `part` stands in `whole`.
fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> Folders {
        let pair = |folder: &str, name: &str| (folder.to_owned(), name.to_owned());
        Folders(vec![
            pair("/home/ada", "home"),
            pair("/home/ada/src/kinestream", "."),
        ])
    }

    #[test]
    fn a_program_that_names_a_folder_of_its_builder_is_found_out() {
        let found = |text: &str| folders().found_in(text.as_bytes()).map(str::to_owned);
        assert_eq!(
            found("\0/home/ada/src/kinestream/src/main.rs\0").as_deref(),
            Some("/home/ada/src/kinestream")
        );
        assert_eq!(found("at /home/ada/.cargo/x").as_deref(), Some("/home/ada"));
        assert_eq!(found("/home/adam/x and ./src/main.rs"), None);
    }

    #[test]
    fn every_folder_is_written_otherwise_by_both_compilers() {
        let rust = folders().rust_flags().into_string().unwrap();
        let parts: Vec<&str> = rust.split('\x1f').collect();
        assert!(
            parts.contains(&"--remap-path-prefix=/home/ada=home"),
            "{rust}"
        );
        let compiler = folders().compiler_flags("NO_SUCH_VARIABLE_HERE");
        assert_eq!(
            compiler,
            "-ffile-prefix-map=/home/ada=home -ffile-prefix-map=/home/ada/src/kinestream=."
        );
    }
}
