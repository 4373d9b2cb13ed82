//! For build scripts: has a package's programs and tests find LibTorch without `LD_LIBRARY_PATH`, and link its CUDA library
//! where there is one. No symbol of that library is named, since it registers itself when it is loaded, so the linker would
//! leave it out.
//!
//! A program looks in `../lib/kinestream`, counted from itself, then where it was built with LibTorch. The second place is
//! counted from the program as well if LibTorch and the build folder lie in one checkout, so that this may be moved. With the
//! environment variable `KINESTREAM_RELOCATABLE` it is left out: what is packaged knows no folder of its builder.

use std::path::{Path, PathBuf};

/// Leaves the build tree's LibTorch out of what a program knows.
const RELOCATABLE: &str = "KINESTREAM_RELOCATABLE";

/// Which of a package's targets are linked with LibTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets<'a> {
    /// All.
    All,
    /// The program of this name, and the tests.
    Program(&'a str),
}

/// Prints what cargo needs to know; to be called from `main` of a build script of a package that depends on `tch`.
pub fn link(targets: Targets<'_>) {
    for name in ["DEP_TCH_LIBTORCH_LIB", RELOCATABLE] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    // Told by the build script of torch-sys.
    let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    let link_program = |argument: &str| match targets {
        Targets::All => println!("cargo:rustc-link-arg={argument}"),
        Targets::Program(name) => println!("cargo:rustc-link-arg-bin={name}={argument}"),
    };
    let link = |argument: &str| {
        link_program(argument);
        if targets != Targets::All {
            println!("cargo:rustc-link-arg-tests={argument}");
        }
    };
    // A LibTorch that is shipped with the program goes before the one that it was built with.
    link("-Wl,-rpath,$ORIGIN/../lib/kinestream");
    let here = format!("-Wl,-rpath,{folder}");
    match targets {
        Targets::All => link(&here),
        Targets::Program(_) => {
            println!("cargo:rustc-link-arg-tests={here}");
            if std::env::var_os(RELOCATABLE).is_none() {
                match from_program(Path::new(&folder)) {
                    Some(path) => {
                        link_program(&format!("-Wl,-rpath,$ORIGIN/{path}"));
                        // The program's unit tests lie in `deps`, one folder deeper.
                        link_program(&format!("-Wl,-rpath,$ORIGIN/../{path}"));
                    }
                    None => link_program(&here),
                }
            }
        }
    }
    // Recordings name the version that computed them.
    if let Ok(version) = std::fs::read_to_string(Path::new(&folder).join("../build-version")) {
        println!("cargo:rustc-env=KINESTREAM_LIBTORCH={}", version.trim());
    }
    if Path::new(&folder).join("libtorch_cuda.so").exists() {
        link(&format!("-L{folder}"));
        for argument in ["--push-state,--no-as-needed", "-ltorch_cuda", "--pop-state"] {
            link(&format!("-Wl,{argument}"));
        }
    }
}

/// The way from the folder of programs to LibTorch's libraries, if the build folder lies in the folder that holds LibTorch's.
fn from_program(libraries: &Path) -> Option<String> {
    // <profile>/build/<package>/out
    let out = PathBuf::from(std::env::var_os("OUT_DIR")?);
    let programs = out.canonicalize().ok()?.ancestors().nth(3)?.to_path_buf();
    // LibTorch's folder is usually a link, which is not followed.
    let libtorch = libraries.parent()?;
    let checkout = libtorch.parent()?.canonicalize().ok()?;
    relative(&programs, &checkout, libtorch.file_name()?.to_str()?)
}

fn relative(programs: &Path, checkout: &Path, libtorch: &str) -> Option<String> {
    let depth = programs.strip_prefix(checkout).ok()?.components().count();
    // The root of the file system holds everything, and is no checkout.
    (depth > 0 && checkout.parent().is_some())
        .then(|| format!("{}{libtorch}/lib", "../".repeat(depth)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_is_found_from_the_program_within_a_checkout_alone() {
        let found = |programs: &str, checkout: &str| {
            relative(Path::new(programs), Path::new(checkout), ".libtorch")
        };
        let usual = found("/src/kinestream/target/release", "/src/kinestream");
        assert_eq!(usual.as_deref(), Some("../../.libtorch/lib"));
        assert_eq!(found("/scratch/target/release", "/src/kinestream"), None);
        assert_eq!(found("/target/release", "/"), None);
    }
}
