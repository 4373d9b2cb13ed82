//! What python3 is used for: downloading wheels with pip, unpacking them, and telling where an
//! installed PyTorch is.

use crate::Outcome;
use crate::steps;
use crate::wheels::{Download, Rule, VERSION};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const UNPACK: &str = include_str!("unpack.py");

/// The releases of CPython that PyTorch 2.11.0 has wheels for. Nothing Python is run of them, so
/// any will do.
const RELEASES: [&str; 5] = ["3.12", "3.11", "3.13", "3.10", "3.14"];

/// Whether python3 can be run.
pub(crate) fn is_there() -> bool {
    steps::works(python().args(["-c", "import zipfile"]))
}

/// Whether python3 has pip.
pub(crate) fn has_pip() -> bool {
    steps::works(python().args(["-m", "pip", "--version"]))
}

/// Downloads wheels into `folder`, which also takes pip's temporary files. Progress goes to
/// standard error.
pub(crate) fn download(download: &Download, folder: &Path) -> Outcome {
    let what = download.requirements.join(" ");
    for release in release_order(running_release().as_deref()) {
        match run_pip(download, &release, folder)? {
            Pip::Done => return Ok(()),
            Pip::NoSuchWheel => {}
            Pip::Failed => {
                return Err(format!(
                    "pip could not download {what}; its own message stands above. Check the \
                     network and free space, or a proxy (https_proxy, PIP_INDEX_URL), and run \
                     this again; or set LIBTORCH to an unpacked LibTorch {VERSION}"
                ));
            }
        }
    }
    Err(format!(
        "pip finds no wheel of {what} for this machine; it takes Linux with glibc 2.28 or newer \
         on x86_64 or aarch64. Otherwise set LIBTORCH to a LibTorch {VERSION} built for it"
    ))
}

/// Unpacks what `rules` name of the wheels in `wheels` below `folder`.
pub(crate) fn unpack(wheels: &Path, rules: &[Rule], folder: &Path) -> Outcome {
    let lines: Vec<String> = rules.iter().map(Rule::line).collect();
    let mut command = python();
    command
        .args(["-c", UNPACK])
        .arg(folder)
        .arg(lines.join("\n"));
    let entries = std::fs::read_dir(wheels)
        .map_err(|error| format!("cannot read {}: {error}", wheels.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "whl") {
            command.arg(path);
        }
    }
    steps::run("unpacking the wheels", command.stdin(Stdio::null()))
}

/// The folder of the PyTorch that python3 imports, or why there is none that the build could use.
pub(crate) fn pytorch_folder() -> Result<PathBuf, String> {
    // The bindings' build script asks the same program, and for the same module.
    let program = if std::env::var_os("VIRTUAL_ENV").is_some() {
        "python"
    } else {
        "python3"
    };
    let script =
        "import os, torch.utils.cpp_extension as e; print(os.path.dirname(e.torch.__file__))";
    let output = Command::new(program)
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr);
        let last = problem.trim().lines().last().unwrap_or("no message");
        return Err(format!(
            "`{program}` cannot import torch.utils.cpp_extension: {last}"
        ));
    }
    // Importing may print warnings before.
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.trim().lines().last().unwrap_or_default();
    Ok(PathBuf::from(last))
}

enum Pip {
    Done,
    NoSuchWheel,
    Failed,
}

fn run_pip(download: &Download, release: &str, folder: &Path) -> Outcome<Pip> {
    let mut pip = python();
    // No cache of pip's own: it would hold the same half gigabyte once more, and older releases
    // of pip read it into memory as a whole.
    pip.args(["-m", "pip", "download", "--no-cache-dir", "--no-input"])
        .args(["--disable-pip-version-check", "--only-binary=:all:"])
        .args(["--python-version", release])
        .arg("--dest")
        .arg(folder);
    if !download.with_dependencies {
        pip.arg("--no-deps");
    }
    pip.args(download.requirements)
        .env("TMPDIR", folder)
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .stderr(Stdio::piped());
    let cannot = |error| format!("cannot run python3 -m pip: {error}");
    let mut child = pip.spawn().map_err(cannot)?;
    let mut offered = true;
    let mut network = true;
    if let Some(messages) = child.stderr.take() {
        for line in BufReader::new(messages).split(b'\n') {
            let line = line.map_err(cannot)?;
            let text = String::from_utf8_lossy(&line);
            offered &= !text.contains("No matching distribution found");
            network &= !text.contains("Retrying (");
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
    let status = child.wait().map_err(cannot)?;
    Ok(if status.success() {
        Pip::Done
    } else if !offered && network {
        Pip::NoSuchWheel
    } else {
        Pip::Failed
    })
}

/// The releases to ask for: the one that runs first, if there are wheels for it.
fn release_order(running: Option<&str>) -> Vec<String> {
    let (mut order, others): (Vec<&str>, Vec<&str>) = RELEASES
        .iter()
        .partition(|&&release| Some(release) == running);
    order.extend(others);
    order.into_iter().map(str::to_owned).collect()
}

fn running_release() -> Option<String> {
    let script = "import sys; print('%d.%d' % sys.version_info[:2])";
    steps::output_of(python().args(["-c", script]))
}

fn python() -> Command {
    Command::new("python3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_release_is_asked_for_first() {
        assert_eq!(release_order(Some("3.13"))[0], "3.13");
        for running in [None, Some("3.9"), Some("3.13")] {
            let mut order = release_order(running);
            order.sort();
            assert_eq!(order, ["3.10", "3.11", "3.12", "3.13", "3.14"]);
        }
    }

    #[test]
    fn only_what_the_rules_name_is_unpacked() {
        use crate::wheels::{Distribution, Kind};
        if !is_there() {
            eprintln!("skipped: there is no python3");
            return;
        }
        let scratch =
            std::env::temp_dir().join(format!("kinestream-unpack-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).unwrap();
        let make = "import sys, zipfile\n\
                    with zipfile.ZipFile(sys.argv[1], 'w') as wheel:\n\
                    \x20   for name in sys.argv[2:]: wheel.writestr(name, name)\n";
        let whole = [
            "torch/include/torch/csrc/api/include/torch/torch.h",
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libgomp.so.1",
            "torch/lib/libtorch_cuda.so",
            "torch/lib/libtorch_python.so",
            "torch/_C.so",
            "nvidia/cu13/lib/libcudart.so.13",
            "nvidia/cu13/lib/libcupti.so.13",
            "nvidia/cu13/lib/libcudart_static.a",
            "nvidia/cu13/include/crt/host_defines.h",
            "torch-2.11.0.dist-info/licenses/LICENSE",
            "nvidia_cuda_cupti-13.0.85.dist-info/licenses/License.txt",
        ];
        let unpacked = |names: &[&str], kind, folder: &str| {
            let wheels = scratch.join(format!("{folder}-wheels"));
            std::fs::create_dir_all(&wheels).unwrap();
            let wheel = wheels.join("some.whl");
            let made = python().args(["-c", make]).arg(wheel).args(names).status();
            assert!(made.unwrap().success());
            let rules = Distribution::for_this_machine(kind).unwrap().rules();
            let folder = scratch.join(folder);
            unpack(&wheels, &rules, &folder).map(|()| folder)
        };
        let cpu = unpacked(&whole, Kind::Cpu, "cpu").unwrap();
        for kept in [
            "libtorch_cpu.so",
            "libgomp.so.1",
            "libcudart.so.13",
            "libcupti.so.13",
        ] {
            assert!(cpu.join("lib").join(kept).exists(), "{kept}");
        }
        assert_eq!(std::fs::read_dir(cpu.join("lib")).unwrap().count(), 4);
        assert!(
            cpu.join("include/torch/csrc/api/include/torch/torch.h")
                .exists()
        );
        for kept in [
            "torch/2.11.0.dist-info/licenses/LICENSE",
            "cuda/cupti-13.0.85.dist-info/licenses/License.txt",
        ] {
            assert!(cpu.join("licenses").join(kept).exists(), "{kept}");
        }
        let cuda = unpacked(&whole, Kind::Cuda, "cuda").unwrap();
        assert!(cuda.join("torch/lib/libtorch_cuda.so").exists());
        assert!(cuda.join("nvidia/cu13/lib/libcudart.so.13").exists());
        assert!(!cuda.join("torch/lib/libtorch_python.so").exists());
        let header = "nvidia/cu13/include/crt/host_defines.h";
        assert!(cuda.join(header).exists());
        assert!(unpacked(&whole[..7], Kind::Cpu, "incomplete").is_err());
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
