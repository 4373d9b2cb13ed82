//! For build scripts: has a package's programs and tests find LibTorch without `LD_LIBRARY_PATH`, and link its CUDA library
//! where there is one. No symbol of that library is named, since it registers itself when it is loaded, so the linker would
//! leave it out.

use std::path::Path;

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
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // Told by the build script of torch-sys.
    let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    let link = |argument: &str| match targets {
        Targets::All => println!("cargo:rustc-link-arg={argument}"),
        Targets::Program(name) => {
            println!("cargo:rustc-link-arg-bin={name}={argument}");
            println!("cargo:rustc-link-arg-tests={argument}");
        }
    };
    // A LibTorch that is shipped with the program goes before the one that it was built with.
    link("-Wl,-rpath,$ORIGIN/../lib/kinestream");
    link(&format!("-Wl,-rpath,{folder}"));
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
