//! Which wheels make up LibTorch, and which of their files are needed.
//!
//! The one wheel of PyTorch that PyPI offers per architecture is built for CUDA, and its CPU
//! library asks for two small CUDA libraries; with those it runs on machines without a GPU.

use std::path::{Path, PathBuf};

/// The version of PyTorch that tch 0.24.0 is bound to.
pub(crate) const VERSION: &str = "2.11.0";

/// Whether LibTorch comes with the CUDA libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For the CPU alone.
    Cpu,
    /// With CUDA 13.0.
    Cuda,
}

/// One variant of LibTorch for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// With or without CUDA.
    pub kind: Kind,
    /// The architecture as Rust names it.
    pub architecture: &'static str,
}

/// One call of pip.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Download {
    /// What to fetch, in pip's notation.
    pub requirements: &'static [&'static str],
    /// Whether what those need is fetched too.
    pub with_dependencies: bool,
}

/// Files of a wheel that are kept: those below `prefix` that fit `pattern` go below `into`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    prefix: &'static str,
    pattern: &'static str,
    into: &'static str,
    except: &'static [&'static str],
}

/// Of PyTorch's own libraries: what only Python needs.
const PYTHON_LIBRARIES: &[&str] = &["libtorch_python.so", "libshm.so"];

/// As above, and what only CUDA needs; libtorch.so and libtorch_global_deps.so ask for CUDA.
const PYTHON_AND_CUDA_LIBRARIES: &[&str] = &[
    "libtorch_python.so",
    "libshm.so",
    "libtorch.so",
    "libtorch_global_deps.so",
    "libtorch_cuda*.so",
    "libtorch_nvshmem.so",
    "libc10_cuda.so",
    "libcaffe2_nvrtc.so",
];

/// The releases of PyTorch's NVIDIA libraries, as the metadata of its 2.11.0 wheel pins them; and `crt`, headers that those of
/// the runtime (`cudart`) ask for, which torch-shim is compiled with.
const CUDA_REQUIREMENTS: &[&str] = &[
    "cuda-toolkit[crt,cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc]==13.0.2",
    "nvidia-cudnn-cu13==9.19.0.56",
    "nvidia-cusparselt-cu13==0.8.0",
    "nvidia-nccl-cu13==2.28.9",
    "nvidia-nvshmem-cu13==3.4.5",
];

impl Distribution {
    /// The variant for the machine that this runs on.
    pub(crate) fn for_this_machine(kind: Kind) -> Result<Self, String> {
        Self::for_architecture(kind, std::env::consts::ARCH)
    }

    fn for_architecture(kind: Kind, architecture: &str) -> Result<Self, String> {
        let architecture = match architecture {
            "x86_64" => "x86_64",
            "aarch64" => "aarch64",
            other => {
                return Err(format!(
                    "there is no ready LibTorch for {other}, only for x86_64 and aarch64: \
                     build PyTorch {VERSION} and set LIBTORCH to its folder"
                ));
            }
        };
        Ok(Self { kind, architecture })
    }

    /// The folder's name in the cache.
    pub(crate) fn name(&self) -> String {
        let variant = match self.kind {
            Kind::Cpu => "cpu",
            Kind::Cuda => "cu130",
        };
        format!("libtorch-{VERSION}-{variant}-{}", self.architecture)
    }

    /// What the file `build-version` says.
    pub(crate) fn build_version(&self) -> String {
        match self.kind {
            Kind::Cpu => format!("{VERSION}+cpu"),
            Kind::Cuda => format!("{VERSION}+cu130"),
        }
    }

    /// Where `include` and `lib` are below the folder in the cache. The CUDA libraries are found
    /// from PyTorch's by relative paths, so there the wheels' own layout is kept.
    pub(crate) fn libtorch_in(&self, folder: &Path) -> PathBuf {
        match self.kind {
            Kind::Cpu => folder.to_path_buf(),
            Kind::Cuda => folder.join("torch"),
        }
    }

    /// The calls of pip. Small wheels go first: what is wrong with the network shows early.
    pub(crate) fn downloads(&self) -> Vec<Download> {
        let torch = Download {
            requirements: &["torch==2.11.0"],
            with_dependencies: false,
        };
        let others = match self.kind {
            Kind::Cpu => Download {
                requirements: &["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"],
                with_dependencies: false,
            },
            Kind::Cuda => Download {
                requirements: CUDA_REQUIREMENTS,
                with_dependencies: true,
            },
        };
        vec![others, torch]
    }

    /// The files that are kept of the wheels.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let rule = |prefix, pattern, into, except| Rule {
            prefix,
            pattern,
            into,
            except,
        };
        match self.kind {
            Kind::Cpu => vec![
                rule("torch/include/", "*", "include", &[]),
                rule("torch/lib/", "lib*.so*", "lib", PYTHON_AND_CUDA_LIBRARIES),
                rule("nvidia/cu13/lib/", "libcudart.so.*", "lib", &[]),
                rule("nvidia/cu13/lib/", "libcupti.so.*", "lib", &[]),
                // Whoever passes the libraries on has to pass these on as well.
                rule("torch-", "*/licenses/*", "licenses/torch", &[]),
                rule("nvidia_cuda_", "*/licenses/*", "licenses/cuda", &[]),
            ],
            Kind::Cuda => vec![
                rule("torch/include/", "*", "torch/include", &[]),
                rule("torch/lib/", "lib*.so*", "torch/lib", PYTHON_LIBRARIES),
                rule("nvidia/", "*/lib/*.so*", "nvidia", &[]),
                rule("nvidia/cu13/include/", "*", "nvidia/cu13/include", &[]),
            ],
        }
    }

    /// Bytes to download, as measured on x86-64.
    pub(crate) fn download_bytes(&self) -> u64 {
        match self.kind {
            Kind::Cpu => 544_000_000,
            Kind::Cuda => 2_513_000_000,
        }
    }

    /// Bytes that the folder in the cache takes, as measured on x86-64.
    pub(crate) fn unpacked_bytes(&self) -> u64 {
        match self.kind {
            Kind::Cpu => 530_000_000,
            Kind::Cuda => 3_840_000_000,
        }
    }
}

impl Rule {
    /// The rule as a line for unpack.py.
    pub(crate) fn line(&self) -> String {
        let except = self.except.join(",");
        format!("{}|{}|{}|{except}", self.prefix, self.pattern, self.into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_chooses_the_folder() {
        let name = |kind, architecture| {
            Distribution::for_architecture(kind, architecture).map(|found| found.name())
        };
        assert_eq!(
            name(Kind::Cpu, "x86_64").unwrap(),
            "libtorch-2.11.0-cpu-x86_64"
        );
        assert_eq!(
            name(Kind::Cuda, "aarch64").unwrap(),
            "libtorch-2.11.0-cu130-aarch64"
        );
        assert!(name(Kind::Cpu, "riscv64").unwrap_err().contains("LIBTORCH"));
    }

    #[test]
    fn both_variants_pin_the_version_that_the_bindings_need() {
        for kind in [Kind::Cpu, Kind::Cuda] {
            let distribution = Distribution::for_architecture(kind, "x86_64").unwrap();
            let downloads = distribution.downloads();
            let torch = downloads.last().unwrap();
            assert_eq!(torch.requirements, [format!("torch=={VERSION}")]);
            assert!(
                !torch.with_dependencies,
                "PyTorch's Python side is not needed"
            );
            assert!(distribution.build_version().starts_with(VERSION));
        }
    }

    #[test]
    fn rules_are_lines_of_four_fields() {
        for kind in [Kind::Cpu, Kind::Cuda] {
            let distribution = Distribution::for_architecture(kind, "x86_64").unwrap();
            for rule in distribution.rules() {
                assert_eq!(rule.line().split('|').count(), 4, "{}", rule.line());
            }
        }
    }
}
