//! Compiles the C++ part against the LibTorch that torch-sys found; CUDA graphs only where that LibTorch has CUDA and the
//! headers of CUDA's runtime are found.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    for name in [
        "DEP_TCH_LIBTORCH_LIB",
        "LIBTORCH_INCLUDE",
        "LIBTORCH_CXX11_ABI",
        "CUDA_HOME",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=cpp");
    // Told by the build script of torch-sys.
    let Some(libraries) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        return;
    };
    let folder = match env::var_os("LIBTORCH_INCLUDE") {
        Some(named) => PathBuf::from(named),
        None => libraries.join(".."),
    };
    let headers = folder.join("include");
    // As torch-sys has it: LibTorch's functions take strings.
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .pic(true)
        // LibTorch's headers have warnings of their own.
        .warnings(false)
        .include(&headers)
        .include(headers.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .file("cpp/shim.cpp")
        .file("cpp/graph.cpp");
    let cuda_headers = has_cuda(&libraries).then(|| cuda_headers(&libraries));
    match &cuda_headers {
        Some(Some(headers)) => {
            build.include(headers).define("KINESTREAM_CUDA", None);
        }
        Some(None) => println!(
            "cargo:warning=this LibTorch has CUDA, but the headers of CUDA's runtime are not found (cuda_runtime_api.h, \
             crt/host_defines.h): CUDA graphs are left out. Set CUDA_HOME to a CUDA 13 toolkit, or remove LibTorch from the \
             cache and run `cargo xtask setup --cuda` again"
        ),
        None => {}
    }
    build.compile("kinestream_torch_shim");
    if matches!(cuda_headers, Some(Some(_))) {
        println!("cargo:rustc-link-search=native={}", libraries.display());
        println!("cargo:rustc-link-lib=dylib=c10_cuda");
    }
    // For this package's own tests.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libraries.display());
}

fn has_cuda(libraries: &Path) -> bool {
    ["libtorch_cuda.so", "libc10_cuda.so"]
        .iter()
        .all(|library| libraries.join(library).exists())
}

/// The folder with the headers of CUDA's runtime: where a person says, where set-up puts them, where a toolkit has them.
fn cuda_headers(libraries: &Path) -> Option<PathBuf> {
    let named = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("include"));
    let beside = libraries
        .canonicalize()
        .ok()
        .map(|libraries| libraries.join("../../nvidia/cu13/include"));
    let installed = Some(PathBuf::from("/usr/local/cuda/include"));
    [named, beside, installed]
        .into_iter()
        .flatten()
        .find(|folder| {
            ["cuda.h", "cuda_runtime_api.h", "crt/host_defines.h"]
                .iter()
                .all(|header| folder.join(header).is_file())
        })
}
