//! The folder that an archive holds.
//!
//! Libraries lie in `lib/kinestream`, not in `lib`: whoever unpacks into /usr/local must not have the loader give this libgomp
//! to other programs.

use super::files::{cannot_write, copy, copy_folder, make_folder, write};
use super::{build, elf, licenses};
use crate::checkout::Checkout;
use crate::libtorch::LibTorch;
use crate::{Outcome, steps};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// What is said at the top of the archive.
const README: &str = include_str!("archive.md");

/// Libraries of PyTorch's own build, whose symbol tables, a fifth of their size, nobody needs at run time. Those of others are
/// shipped as they are.
const STRIPPED: [&str; 2] = ["libtorch_cpu.so", "libc10.so"];

/// Folders of the checkout that are shipped as they are.
const SHARED: [&str; 2] = ["models", "configs"];

/// Documents of the checkout that are shipped beside the README.
const DOCUMENTS: [&str; 3] = ["LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.md"];

/// Makes the folder anew.
pub(super) fn make(
    checkout: &Checkout,
    libtorch: &LibTorch,
    programs: &Path,
    folder: &Path,
) -> Outcome {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    let bin = make_folder(folder, "bin")?;
    for program in build::PROGRAMS {
        copy(&programs.join(program), &bin.join(program))?;
    }
    let lib = make_folder(folder, "lib/kinestream")?;
    let from = libtorch.folder.join("lib");
    for name in elf::libraries(&bin.join(build::PROGRAMS[1]), &from)? {
        match STRIPPED.contains(&name.as_str()) {
            true => strip(&from.join(&name), &lib.join(&name))?,
            false => copy(&from.join(&name), &lib.join(&name))?,
        }
    }
    for name in SHARED {
        copy_folder(
            &checkout.root().join(name),
            &folder.join("share/kinestream").join(name),
        )?;
    }
    for name in DOCUMENTS {
        copy(&checkout.root().join(name), &folder.join(name))?;
    }
    write(&folder.join("README.md"), README.as_bytes())?;
    licenses::gather(checkout, libtorch, &folder.join("licenses"))?;
    describe_command_line(folder)
}

/// Completions, manual pages and the schema of configurations, as the program itself writes them.
fn describe_command_line(folder: &Path) -> Outcome {
    let program = folder.join("bin").join(build::PROGRAMS[0]);
    let says = |arguments: &[&str]| {
        let said = steps::output_of(Command::new(&program).args(arguments));
        said.ok_or_else(|| format!("{} {} failed", program.display(), arguments.join(" ")))
    };
    for (shell, place) in [
        ("bash", "share/bash-completion/completions/kinestream"),
        ("zsh", "share/zsh/site-functions/_kinestream"),
        ("fish", "share/fish/vendor_completions.d/kinestream.fish"),
    ] {
        let path = folder.join(place);
        make_folder(folder, &place[..place.rfind('/').unwrap_or(0)])?;
        write(&path, (says(&["completions", shell])? + "\n").as_bytes())?;
    }
    let manual = make_folder(folder, "share/man/man1")?;
    says(&["man", "--out", &manual.to_string_lossy()])?;
    let schema = folder.join("share/kinestream/kinestream.schema.json");
    write(&schema, (says(&["schema"])? + "\n").as_bytes())
}

fn strip(from: &Path, to: &Path) -> Outcome {
    let mut strip = Command::new("strip");
    strip.arg("--strip-unneeded").arg("-o").arg(to).arg(from);
    steps::run("strip of binutils", &mut strip)?;
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(to, mode).map_err(|error| cannot_write(to, &error))
}
