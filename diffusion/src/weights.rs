//! Weights on disk: safetensors, written whole or not at all, read with every tensor checked.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Number format of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Four bytes a number, exact.
    Fp32,
    /// Two bytes a number.
    Fp16,
}

/// Writes named tensors to a safetensors file.
///
/// The file appears whole or not at all: it is written beside its place, flushed to the disk and
/// renamed.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let beside = path.with_extension("safetensors.part");
    let owned: Vec<(String, Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| {
            (
                name.clone(),
                tensor.to_device(tch::Device::Cpu).contiguous(),
            )
        })
        .collect();
    Tensor::write_safetensors(&owned, &beside)?;
    std::fs::File::open(&beside)
        .and_then(|file| file.sync_all())
        .map_err(io)?;
    std::fs::rename(&beside, path).map_err(io)
}

/// Reads all tensors of a safetensors file.
///
/// # Errors
/// The file is missing, or is no complete safetensors file.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
    if let Err(error) = safetensors::SafeTensors::deserialize(&bytes) {
        return Err(Error::BadWeightsFile {
            path: path.to_path_buf(),
            reason: format!("{error}, {} bytes", bytes.len()),
        });
    }
    Tensor::read_safetensors(path).map_err(|error| Error::BadWeightsFile {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}

/// Fills a network's parameters from a file, converting to the network's own number format.
///
/// Nothing is changed unless the file fits as a whole.
///
/// # Errors
/// Missing, unknown, wrong-shaped or non-finite tensors, each by name.
pub fn load(path: &Path, store: &VarStore) -> Result<()> {
    let tensors = read(path)?;
    let mut variables = store.variables();
    let owned = || path.to_path_buf();
    let names: HashSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let mut missing: Vec<_> = variables
        .iter()
        .filter(|(name, _)| !names.contains(name.as_str()))
        .collect();
    missing.sort_by_key(|(name, _)| name.as_str());
    if let Some((name, variable)) = missing.first() {
        return Err(Error::MissingTensor {
            path: owned(),
            name: (*name).clone(),
            expected: variable.size(),
        });
    }
    for (name, tensor) in &tensors {
        let Some(variable) = variables.get(name) else {
            return Err(Error::UnknownTensor {
                path: owned(),
                name: name.clone(),
            });
        };
        if tensor.size() != variable.size() {
            return Err(Error::WrongTensorShape {
                path: owned(),
                name: name.clone(),
                found: tensor.size(),
                expected: variable.size(),
            });
        }
        let count = tensor
            .to_kind(Kind::Float)
            .isfinite()
            .logical_not()
            .sum(Kind::Int64);
        let count = i64::try_from(count)?;
        if count > 0 {
            return Err(Error::NonFiniteWeights {
                path: owned(),
                name: name.clone(),
                count,
            });
        }
    }
    tch::no_grad(|| {
        for (name, tensor) in &tensors {
            if let Some(variable) = variables.get_mut(name) {
                variable.f_copy_(tensor)?;
            }
        }
        Ok(())
    })
}

/// Named parameters of a network in the given number format, sorted by name.
pub fn snapshot(store: &VarStore, precision: Precision) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<_> = store
        .variables()
        .into_iter()
        .map(|(name, tensor)| {
            let kind = match precision {
                Precision::Fp32 => Kind::Float,
                Precision::Fp16 => Kind::Half,
            };
            (name, tch::no_grad(|| tensor.detach().to_kind(kind)))
        })
        .collect();
    tensors.sort_by(|(first, _), (second, _)| first.cmp(second));
    tensors
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::Init;

    use super::*;

    fn store(size: i64) -> VarStore {
        let store = VarStore::new(Device::Cpu);
        let _ = store.root().var("a", &[size], Init::Const(1.0));
        store
    }

    fn file(tensors: &[(String, Tensor)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, tensors).unwrap();
        (folder, path)
    }

    #[test]
    fn weights_come_back_in_both_formats() {
        for precision in [Precision::Fp32, Precision::Fp16] {
            let source = store(3);
            let (_folder, path) = file(&snapshot(&source, precision));
            let target = VarStore::new(Device::Cpu);
            let a = target.root().var("a", &[3], Init::Const(0.0));
            load(&path, &target).unwrap();
            assert_eq!(Vec::<f32>::try_from(a.detach()).unwrap(), [1.0, 1.0, 1.0]);
        }
    }

    #[test]
    fn every_misfit_is_named() {
        let (_folder, path) = file(&snapshot(&store(3), Precision::Fp32));
        assert!(matches!(
            load(&path, &store(4)),
            Err(Error::WrongTensorShape { .. })
        ));
        let empty = VarStore::new(Device::Cpu);
        assert!(matches!(
            load(&path, &empty),
            Err(Error::UnknownTensor { .. })
        ));
        let more = store(3);
        let _ = more.root().var("b", &[1], Init::Const(0.0));
        let message = load(&path, &more).unwrap_err().to_string();
        assert!(message.contains("tensor `b` [1] is missing"), "{message}");
    }

    #[test]
    fn damaged_files_are_refused_and_leave_the_network_alone() {
        let (_folder, path) = file(&snapshot(&store(3), Precision::Fp32));
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 4, 8, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(
                matches!(load(&path, &store(3)), Err(Error::BadWeightsFile { .. })),
                "{length}"
            );
        }
        let nan = [(
            "a".to_owned(),
            Tensor::from_slice(&[1.0_f32, f32::NAN, 2.0]),
        )];
        write(&path, &nan).unwrap();
        let target = store(3);
        assert!(matches!(
            load(&path, &target),
            Err(Error::NonFiniteWeights { count: 1, .. })
        ));
        let values = Vec::<f32>::try_from(target.variables()["a"].detach()).unwrap();
        assert_eq!(values, [1.0, 1.0, 1.0]);
    }
}
