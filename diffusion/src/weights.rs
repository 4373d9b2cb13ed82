//! Weights on disk: safetensors, written whole or not at all, read with every tensor checked.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::error::TensorProblem;
use crate::{Error, Result};

/// Number format of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Four bytes a number, exact.
    Fp32,
    /// Two bytes a number.
    Fp16,
}

/// One of the tensors of a file.
///
/// # Errors
/// In words: it is missing.
pub fn find<'a>(
    name: &str,
    tensors: &'a [(String, Tensor)],
) -> std::result::Result<&'a Tensor, String> {
    let found = tensors.iter().find(|(found, _)| found == name);
    found
        .map(|(_, tensor)| tensor)
        .ok_or_else(|| format!("`{name}` is missing; the file is damaged"))
}

/// Copies one of the tensors of a file to where it came from.
///
/// # Errors
/// In words: it is missing, or has another shape.
pub fn restore(
    name: &str,
    tensors: &[(String, Tensor)],
    target: &mut Tensor,
) -> std::result::Result<(), String> {
    let tensor = find(name, tensors)?;
    if tensor.size() != target.size() {
        return Err(format!(
            "`{name}` has {:?} numbers, the configured network {:?}",
            tensor.size(),
            target.size()
        ));
    }
    tch::no_grad(|| target.f_copy_(tensor)).map_err(|error| error.to_string())?;
    Ok(())
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
    let bad = |reason: String| Error::BadWeightsFile {
        path: path.to_path_buf(),
        reason,
    };
    if let Some(reason) = placeholder(&bytes).filter(|_| !bytes.is_empty()) {
        return Err(bad(reason.to_owned()));
    }
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|error| {
        bad(format!(
            "not a complete safetensors file ({error}, {} bytes); copy or train it again",
            bytes.len()
        ))
    })?;
    for (name, tensor) in file.iter() {
        if !READ_TYPES.contains(&tensor.dtype()) {
            return Err(bad(format!(
                "tensor `{name}` is kept as {}, expected {}; convert it to bfloat16 or float32 and save it again",
                tensor.dtype(),
                READ_TYPES.map(|kind| kind.to_string()).join(", ")
            )));
        }
    }
    Tensor::read_safetensors(path).map_err(|error| {
        bad(format!(
            "LibTorch cannot take it ({error}); copy or train it again"
        ))
    })
}

/// The number types of tensors that are read; integers and booleans are of what is no weight.
const READ_TYPES: [Dtype; 10] = [
    Dtype::F32,
    Dtype::F16,
    Dtype::BF16,
    Dtype::F64,
    Dtype::I64,
    Dtype::I32,
    Dtype::I16,
    Dtype::I8,
    Dtype::U8,
    Dtype::BOOL,
];

/// What stands in place of a large file's content, and what to do; none where it may be the file itself.
pub fn placeholder(bytes: &[u8]) -> Option<&'static str> {
    const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
    if bytes.is_empty() {
        return Some("the file is empty, not a complete one; download or copy it again");
    }
    bytes.starts_with(POINTER).then_some(
        "this is a Git LFS pointer, not the file: run `git lfs pull` in its folder, or download the folder again",
    )
}

/// In what the floating-point numbers of tensors are kept, such as `fp16`; of several the commonest first.
pub fn number_types(tensors: &[(String, Tensor)]) -> Vec<&'static str> {
    let name = |kind| match kind {
        Kind::Double => Some("fp64"),
        Kind::Float => Some("fp32"),
        Kind::Half => Some("fp16"),
        Kind::BFloat16 => Some("bf16"),
        _ => None,
    };
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    for (_, tensor) in tensors {
        let Some(name) = name(tensor.kind()) else {
            continue;
        };
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += tensor.numel(),
            None => counts.push((name, tensor.numel())),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().map(|(name, _)| name).collect()
}

/// Fills a network's parameters from a file, converting to the network's own number format.
///
/// Nothing is changed unless the file fits as a whole.
///
/// # Errors
/// Missing, unknown, wrong-shaped and wrong-typed tensors, all of them by name; or one that is not
/// finite.
pub fn load(path: &Path, store: &VarStore) -> Result<()> {
    assign(path, &read(path)?, &[("", store)], &str::to_owned)
}

/// Fills the parameters of several networks from the tensors of one file, as [`load`] does for one.
///
/// The parameters of each network have its prefix before their names; `name_in_file` says what such
/// a name is called in the file `path`, which is what errors call it.
///
/// # Errors
/// As [`load`].
pub fn assign(
    path: &Path,
    tensors: &[(String, Tensor)],
    networks: &[(&str, &VarStore)],
    name_in_file: &dyn Fn(&str) -> String,
) -> Result<()> {
    let mut found: HashMap<&str, &Tensor> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut variables: Vec<(String, Tensor)> = networks
        .iter()
        .flat_map(|(prefix, store)| {
            let named = move |(name, variable): (String, Tensor)| {
                (name_in_file(&format!("{prefix}{name}")), variable)
            };
            store.variables().into_iter().map(named)
        })
        .collect();
    variables.sort_by(|(first, _), (second, _)| first.cmp(second));
    let (mut pairs, mut misfits, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for (name, variable) in variables {
        match found.remove(name.as_str()) {
            None => missing.push(TensorProblem::Missing {
                name,
                expected: variable.size(),
            }),
            Some(tensor) if tensor.size() != variable.size() => {
                misfits.push(TensorProblem::Shape {
                    found: tensor.size(),
                    expected: variable.size(),
                    name,
                })
            }
            Some(tensor) if !tensor.is_floating_point() => misfits.push(TensorProblem::Kind {
                found: format!("{:?}", tensor.kind()),
                name,
            }),
            Some(tensor) => pairs.push((name, variable, tensor)),
        }
    }
    let mut unknown: Vec<&str> = found.into_keys().collect();
    unknown.sort_unstable();
    let unknown = unknown
        .into_iter()
        .map(|name| TensorProblem::Unknown { name: name.into() });
    let problems: Vec<_> = missing.into_iter().chain(misfits).chain(unknown).collect();
    if !problems.is_empty() {
        return Err(Error::Misfit {
            path: path.to_path_buf(),
            problems,
        });
    }
    for (name, _, tensor) in &pairs {
        let finite = tensor.to_kind(Kind::Float).isfinite();
        let count = i64::try_from(finite.logical_not().sum(Kind::Int64))?;
        if count > 0 {
            return Err(Error::NonFiniteWeights {
                path: path.to_path_buf(),
                name: name.clone(),
                count,
            });
        }
    }
    tch::no_grad(|| {
        for (_, mut variable, tensor) in pairs {
            variable.f_copy_(tensor)?;
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
        let message = |tensors: &[(String, Tensor)], store: &VarStore| {
            let (_folder, path) = file(tensors);
            load(&path, store).unwrap_err().to_string()
        };
        let three = snapshot(&store(3), Precision::Fp32);
        let found = message(&three, &store(4));
        assert!(
            found.contains("tensor `a` has shape [3], the network expects [4]"),
            "{found}"
        );
        let found = message(&three, &VarStore::new(Device::Cpu));
        assert!(found.contains("tensor `a` is unknown"), "{found}");
        let more = store(3);
        let _ = more.root().var("b", &[1], Init::Const(0.0));
        let _ = more.root().var("c", &[2], Init::Const(0.0));
        let found = message(&three, &more);
        assert!(
            found.contains("tensor `b` [1] is missing, tensor `c` [2] is missing"),
            "{found}"
        );
        let integers = [("a".to_owned(), Tensor::from_slice(&[1_i64, 2, 3]))];
        let found = message(&integers, &store(3));
        assert!(found.contains("tensor `a` has type Int64"), "{found}");
    }

    #[test]
    fn several_networks_take_one_file_under_its_own_names() {
        let (first, second) = (store(2), store(3));
        let tensors = [
            ("x.a".to_owned(), Tensor::from_slice(&[5.0_f32, 6.0])),
            ("y.a".to_owned(), Tensor::from_slice(&[7.0_f32, 8.0, 9.0])),
        ];
        let networks = [("one.", &first), ("two.", &second)];
        let names = |name: &str| name.replace("one", "x").replace("two", "y");
        let path = Path::new("there");
        assign(path, &tensors, &networks, &names).unwrap();
        let values =
            |store: &VarStore| Vec::<f32>::try_from(store.variables()["a"].detach()).unwrap();
        assert_eq!(
            (values(&first), values(&second)),
            (vec![5.0, 6.0], vec![7.0, 8.0, 9.0])
        );
        let message = assign(path, &tensors[..1], &networks, &names).unwrap_err();
        assert!(
            message.to_string().contains("`y.a` [3] is missing"),
            "{message}"
        );
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
