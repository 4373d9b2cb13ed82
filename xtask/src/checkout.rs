//! Where things are: the checkout's root, its build folder, and the cargo that was started.

use crate::Outcome;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout that `cargo xtask` was started in.
#[derive(Debug)]
pub(crate) struct Checkout {
    root: PathBuf,
    /// `target`, or `target/<triple>` where cargo was told a triple.
    target: PathBuf,
}

impl Checkout {
    /// Finds the checkout from what `cargo run` tells this program.
    pub(crate) fn find() -> Outcome<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .parent()
            .ok_or_else(|| format!("{} is not inside a checkout", package.display()))?
            .to_path_buf();
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot tell where this program is: {error}"))?;
        let target = program
            .parent()
            .and_then(Path::parent)
            .ok_or_else(|| format!("{} is not in a build folder", program.display()))?
            .to_path_buf();
        Ok(Self { root, target })
    }

    /// The folder with the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that cargo builds in.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The link through which the build reaches LibTorch; .cargo/config.toml names it.
    pub(crate) fn libtorch_link(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// Whether the bindings of LibTorch have been built here before.
    pub(crate) fn has_build(&self) -> bool {
        ["debug", "release"].iter().any(|profile| {
            std::fs::read_dir(self.target.join(profile).join("build")).is_ok_and(|entries| {
                entries.flatten().any(|entry| {
                    entry
                        .file_name()
                        .as_encoded_bytes()
                        .starts_with(b"torch-sys-")
                        && entry.path().join("output").exists()
                })
            })
        })
    }

    /// The cargo that started this program, in the checkout's root, and without the variables that
    /// cargo sets for this package alone.
    pub(crate) fn cargo(&self) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(program);
        cargo.current_dir(&self.root);
        remove_package_variables(&mut cargo);
        cargo
    }
}

/// Removes `CARGO_MANIFEST_DIR`, `CARGO_PKG_*` and their like, which describe xtask, from what a
/// child process inherits.
pub(crate) fn remove_package_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"CARGO_PKG_") || bytes.starts_with(b"CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}
