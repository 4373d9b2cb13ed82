//! Has this package's programs and tests find LibTorch without LD_LIBRARY_PATH, and link its CUDA
//! library where there is one: nothing names a symbol of that library, which registers itself when
//! it is loaded, so the linker would leave it out.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // Told by the build script of torch-sys.
    let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    let has_front = std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "kinestream");
    let link = |argument: &str| {
        if has_front {
            // The front is not linked with LibTorch, and stays so.
            println!("cargo:rustc-link-arg-bin=kinestream-engine={argument}");
            println!("cargo:rustc-link-arg-tests={argument}");
        } else {
            println!("cargo:rustc-link-arg={argument}");
        }
    };
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
