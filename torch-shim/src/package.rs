//! AOTInductor packages (`.pt2`): networks that PyTorch compiled ahead of time.
//!
//! A package holds a shared library, which is loaded into this program and runs with all its rights: load it from whom you trust.

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Once;

use tch::{Device, Tensor};

use crate::bindings::{
    checked, cuda_index, kinestream_outputs_free, kinestream_outputs_take,
    kinestream_package_describe, kinestream_package_free, kinestream_package_load,
    kinestream_package_run, text,
};
use crate::{Error, Result};

/// A loaded package.
pub struct Package {
    handle: *mut c_void,
    device: Device,
    inputs: usize,
    constants: usize,
    path: PathBuf,
}

// SAFETY: any thread may run and free a package, one at a time; it is not `Sync`.
unsafe impl Send for Package {}

impl Package {
    /// Loads a package for a device.
    ///
    /// # Errors
    /// A file that is no package, one for another kind of device, or a library in it that cannot be loaded.
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let refuse = |reason: String| Error::Package {
            path: path.to_path_buf(),
            reason,
        };
        let (index, expected) = match device {
            Device::Cpu => (-1, "cpu"),
            device => (cuda_index(device)?, "cuda"),
        };
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| refuse("a path with a zero in it".into()))?;
        have_inputs_checked();
        let mut handle = ptr::null_mut();
        // SAFETY: the name ends with a zero and lives as long as the call; `handle` is used only if it was filled.
        let loaded = unsafe { checked(kinestream_package_load(name.as_ptr(), index, &mut handle)) };
        loaded.map_err(|error| refuse(error.to_string()))?;
        let mut package = Self {
            handle,
            device,
            inputs: 0,
            constants: 0,
            path: path.to_path_buf(),
        };
        let mut found = ptr::null_mut();
        // SAFETY: the handle is of a loaded package; `found` is read only if it was filled, and then a text of ours.
        let found = unsafe {
            checked(kinestream_package_describe(
                package.handle,
                &mut found,
                &mut package.inputs,
                &mut package.constants,
            ))
            .map(|()| text(found))
        };
        let found = found.map_err(|error| refuse(error.to_string()))?;
        // On another kind of device its code would take the addresses of the tensors for its own.
        match found == expected {
            true => Ok(package),
            false => Err(refuse(format!(
                "compiled for device {found}, expected {expected}"
            ))),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Numbers in its constants: its parameters, but for some that PyTorch compiles into the code.
    pub fn constants(&self) -> usize {
        self.constants
    }

    /// Runs it.
    ///
    /// # Errors
    /// Inputs on another device, or of another number, kind or shape than it was compiled for.
    pub fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        if inputs.len() != self.inputs {
            return Err(Error::Torch(format!(
                "{} inputs, expected {}",
                inputs.len(),
                self.inputs
            )));
        }
        if let Some(other) = inputs.iter().find(|input| input.device() != self.device) {
            return Err(Error::Torch(format!(
                "an input on {:?}, expected {:?}",
                other.device(),
                self.device
            )));
        }
        let inputs: Vec<_> = inputs.iter().map(|input| input.as_ptr()).collect();
        let (mut outputs, mut count) = (ptr::null_mut(), 0);
        // SAFETY: the handle is of a loaded package, which nobody else runs meanwhile; the inputs live as long as the call; both
        // places are used only if they were filled.
        unsafe {
            checked(kinestream_package_run(
                self.handle,
                inputs.as_ptr(),
                inputs.len(),
                &mut outputs,
                &mut count,
            ))?;
        }
        let taken = (0..count)
            .map(|index| {
                let mut tensor = ptr::null_mut();
                // SAFETY: `outputs` is what was given for `count` tensors; a place that was filled holds a tensor of ours.
                unsafe {
                    checked(kinestream_outputs_take(outputs, index, &mut tensor))?;
                    Ok(Tensor::from_ptr(tensor))
                }
            })
            .collect();
        // SAFETY: it was given above and goes once; the tensors taken are their own.
        unsafe { kinestream_outputs_free(outputs) };
        taken
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        // SAFETY: the handle came from `load` and goes once.
        unsafe { kinestream_package_free(self.handle) }
    }
}

/// Has packages check what they are given. They look for this when they are first run; without it a tensor that is smaller than
/// what was compiled for is read beyond its end.
fn have_inputs_checked() {
    const SWITCH: &str = "AOTI_RUNTIME_CHECK_INPUTS";
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: Rust's own readers of the environment are kept out meanwhile. C code that reads it in another thread at this
        // very moment is not; that can happen once in a process, when its first package is loaded, and running a package
        // unchecked would be the worse risk.
        unsafe { std::env::set_var(SWITCH, "1") };
    });
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// The package that tests/peers/package.py makes, and inputs and output of three plans; none on other machines than it was
    /// compiled for.
    fn fixture() -> Option<(PathBuf, [Tensor; 4])> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            eprintln!("skipped: the package is compiled for Linux on x86-64");
            return None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/package");
        let tensors = Tensor::read_safetensors(folder.join("expected.safetensors")).unwrap();
        let named = |name: &str| {
            let found = tensors.iter().find(|(tensor, _)| tensor == name);
            found.unwrap().1.shallow_clone()
        };
        let tensors = ["sample", "timesteps", "condition", "output"].map(named);
        Some((folder.join("model.pt2"), tensors))
    }

    #[test]
    fn it_answers_what_pytorch_answers() {
        let Some((path, [sample, timesteps, condition, output])) = fixture() else {
            return;
        };
        let package = Package::load(&path, Device::Cpu).unwrap();
        assert_eq!(package.path(), path);
        // Two numbers to 16, one to 16, six to 16, 16 to two. The last bias of two is compiled into the code.
        assert_eq!(package.constants(), 3 * 16 + 2 * 16 + 7 * 16 + 16 * 2);
        for rows in [1, 3, 2] {
            let of = |tensor: &Tensor| tensor.narrow(0, 0, rows);
            let inputs = [of(&sample), of(&timesteps), of(&condition)];
            let found = package.run(&inputs.each_ref()).unwrap();
            assert_eq!(found.len(), 1);
            assert!(found[0].allclose(&of(&output), 1e-5, 1e-6, false), "{rows}");
        }
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let Some((path, [sample, timesteps, condition, _])) = fixture() else {
            return;
        };
        let package = Package::load(&path, Device::Cpu).unwrap();
        let refusal = |inputs: &[&Tensor]| package.run(inputs).unwrap_err().to_string();
        let found = refusal(&[&sample, &timesteps]);
        assert!(found.contains("2 inputs, expected 3"), "{found}");
        let narrow = condition.narrow(1, 0, 5).contiguous();
        refusal(&[&sample, &timesteps, &narrow]);
        let other = timesteps.to_kind(Kind::Float);
        refusal(&[&sample, &other, &condition]);
        let short = sample.narrow(1, 0, 4).contiguous();
        refusal(&[&short, &timesteps, &condition]);
        // And it goes on afterwards.
        assert!(package.run(&[&sample, &timesteps, &condition]).is_ok());
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.pt2");
        let refusal = || Package::load(&path, Device::Cpu).err().unwrap().to_string();
        let found = refusal();
        assert!(found.contains("broken.pt2"), "{found}");
        std::fs::write(&path, b"PK\x03\x04 no package").unwrap();
        let found = refusal();
        assert!(
            found.contains("broken.pt2") && found.len() < 2000,
            "{found}"
        );
        if !crate::has_cuda() {
            let refused = Package::load(&path, Device::Cuda(0)).err().unwrap();
            assert!(matches!(refused, Error::NoCuda));
        }
    }
}
