//! What makes a folder a LibTorch that kinestream can be built with.

use crate::wheels::{Kind, VERSION};
use std::path::{Path, PathBuf};

/// An unpacked LibTorch of the right version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LibTorch {
    /// The folder that holds `include` and `lib`.
    pub folder: PathBuf,
    /// Whether it brings the CUDA libraries.
    pub kind: Kind,
}

impl LibTorch {
    /// Looks at `folder`; the error says what is missing from it or wrong with it.
    pub(crate) fn inspect(folder: &Path) -> Result<Self, String> {
        if !folder.is_dir() {
            return Err("there is no such folder".into());
        }
        let library = |name: &str| folder.join("lib").join(name).is_file();
        if !library("libtorch_cpu.so") && !library("libtorch.so") {
            return Err("lib/libtorch_cpu.so is missing".into());
        }
        let header = "include/torch/csrc/api/include/torch/torch.h";
        if !folder.join(header).is_file() {
            return Err(format!("{header} is missing"));
        }
        // The bindings' own build script knows this way out too.
        if std::env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_none() {
            check_version(folder)?;
        }
        let kind = if library("libtorch_cuda.so") {
            Kind::Cuda
        } else {
            Kind::Cpu
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            kind,
        })
    }
}

/// LibTorch says its version in `build-version`, PyTorch's Python package in `version.py`.
fn check_version(folder: &Path) -> Result<(), String> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let found = match read("build-version") {
        Some(text) => text.trim().to_owned(),
        None => read("version.py")
            .and_then(|text| version_in_python(&text))
            .ok_or("the file build-version is missing")?,
    };
    let release = found.split('+').next().unwrap_or_default();
    if release == VERSION {
        Ok(())
    } else {
        Err(format!("its version is {found:?}, {VERSION} is needed"))
    }
}

/// The string that `__version__` is set to in PyTorch's version.py.
fn version_in_python(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    let (_, value) = line.split_once('=')?;
    Some(value.trim().trim_matches(['\'', '"']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Names and contents.
    type Files<'a> = &'a [(&'a str, &'a str)];

    /// A folder that is removed at the end of its test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn with(name: &str, files: Files) -> Self {
            let folder = std::env::temp_dir()
                .join(format!("kinestream-libtorch-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            for (file, content) in files {
                let path = folder.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            Self(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const LIBRARY: (&str, &str) = ("lib/libtorch_cpu.so", "");
    const HEADER: (&str, &str) = ("include/torch/csrc/api/include/torch/torch.h", "");

    #[test]
    fn a_whole_folder_of_the_right_version_is_accepted() {
        let cpu = Scratch::with("cpu", &[LIBRARY, HEADER, ("build-version", "2.11.0+cpu\n")]);
        assert_eq!(LibTorch::inspect(&cpu.0).unwrap().kind, Kind::Cpu);
        let cuda = ("lib/libtorch_cuda.so", "");
        let version = ("version.py", "x = 1\n__version__ = '2.11.0+cu130'\n");
        let cuda = Scratch::with("cuda", &[LIBRARY, HEADER, cuda, version]);
        assert_eq!(LibTorch::inspect(&cuda.0).unwrap().kind, Kind::Cuda);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let cases: [(&str, Files, &str); 5] = [
            ("empty", &[], "libtorch_cpu.so"),
            ("header", &[LIBRARY], "torch.h"),
            ("version", &[LIBRARY, HEADER], "build-version"),
            (
                "old",
                &[LIBRARY, HEADER, ("build-version", "2.10.1")],
                "2.10.1",
            ),
            (
                "near",
                &[LIBRARY, HEADER, ("build-version", "2.11.01+cpu")],
                "2.11.01",
            ),
        ];
        for (name, files, named) in cases {
            let folder = Scratch::with(name, files);
            let problem = LibTorch::inspect(&folder.0).unwrap_err();
            assert!(problem.contains(named), "{name}: {problem}");
        }
        let absent = std::env::temp_dir().join("kinestream-libtorch-absent");
        assert!(LibTorch::inspect(&absent).is_err());
    }
}
