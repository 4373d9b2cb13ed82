//! Files of `torch.save` (PyTorch 1.6 and later): a zip archive with one pickle and one entry for
//! the numbers of every storage.
//!
//! Numbers are read when a tensor is asked for, each storage once. A tensor lies within its storage
//! and has no more numbers than it, so that all tensors together are bounded by the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use tch::{Kind, Tensor};

use super::pickle::{Pickle, PickleError, Value};
use kinestream_zarr::zip::{Archive, ZipError};

/// A pickle is some hundred bytes for every tensor.
const LARGEST_PICKLE: u64 = 1 << 26;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum TorchFileError {
    /// The archive.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// The pickle in it.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// An archive of something else.
    #[error("not written by torch.save: {0}")]
    NotTorch(String),
    /// A tensor that its storage does not have.
    #[error("tensor `{name}`: {reason}")]
    Tensor { name: String, reason: String },
    /// LibTorch refused an operation.
    #[error("LibTorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// Opens a file: what was pickled, and the numbers that it refers to.
///
/// # Errors
/// An incomplete or damaged file, or a pickle that is refused.
pub(super) fn open(path: &Path) -> Result<(Pickle, Storages<File>), TorchFileError> {
    read(File::open(path).map_err(ZipError::from)?)
}

/// Whether a file begins as those of PyTorch do, of whatever release.
///
/// # Errors
/// The file cannot be read.
pub(super) fn wrote(path: &Path) -> crate::Result<bool> {
    let io = crate::Error::io(path);
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4).read_to_end(&mut start))
        .map_err(io)?;
    Ok(start == ARCHIVE || start.starts_with(&BEFORE_ARCHIVES))
}

/// The first bytes of a zip archive.
const ARCHIVE: [u8; 4] = *b"PK\x03\x04";
/// Before its release 1.6 PyTorch wrote pickles, of protocol 2, one after the other.
const BEFORE_ARCHIVES: [u8; 2] = [0x80, 0x02];

fn read<R: Read + Seek>(mut source: R) -> Result<(Pickle, Storages<R>), TorchFileError> {
    let mut start = [0; 2];
    if source.read_exact(&mut start).is_ok() && start == BEFORE_ARCHIVES {
        return Err(TorchFileError::NotTorch(
            "a pickle without an archive, as PyTorch wrote before release 1.6; load and save it \
             with a later one"
                .into(),
        ));
    }
    let mut archive = Archive::open(source)?;
    let Some(pickle) = archive.names().find(|name| {
        name.strip_suffix("/data.pkl")
            .is_some_and(|folder| !folder.contains('/'))
    }) else {
        let what = match archive.names().next() {
            Some(first) => format!("the archive has no data.pkl, its first entry is `{first}`"),
            None => "the archive is empty".into(),
        };
        return Err(TorchFileError::NotTorch(what));
    };
    let pickle = pickle.to_owned();
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    let order = format!("{folder}byteorder");
    if archive.size(&order).is_some() && archive.read(&order, 16)? != b"little" {
        return Err(TorchFileError::NotTorch(
            "its numbers have the most significant byte first; save it on another machine".into(),
        ));
    }
    let pickle = Pickle::read(&archive.read(&pickle, LARGEST_PICKLE)?)?;
    Ok((
        pickle,
        Storages {
            archive,
            folder,
            read: HashMap::new(),
        },
    ))
}

/// The numbers of a file.
#[derive(Debug)]
pub(super) struct Storages<R> {
    archive: Archive<R>,
    folder: String,
    /// Those that were asked for, by key.
    read: HashMap<String, Tensor>,
}

impl<R: Read + Seek> Storages<R> {
    /// A tensor, which may share its memory with others of the same storage.
    ///
    /// # Errors
    /// `value` is no tensor, or its storage is missing, damaged or too small; `name` is what the
    /// error calls it.
    pub(super) fn tensor(
        &mut self,
        name: &str,
        value: Value<'_>,
    ) -> Result<Tensor, TorchFileError> {
        let wrong = |reason: String| TorchFileError::Tensor {
            name: name.into(),
            reason,
        };
        let layout = Layout::of(value).map_err(wrong)?;
        let storage = self.storage(name, &layout)?;
        Ok(storage.f_as_strided(
            layout.size.as_slice(),
            layout.stride.as_slice(),
            layout.offset,
        )?)
    }

    fn storage(&mut self, name: &str, layout: &Layout<'_>) -> Result<&Tensor, TorchFileError> {
        let wrong = |reason: String| TorchFileError::Tensor {
            name: name.into(),
            reason,
        };
        let &Layout {
            kind, numbers, key, ..
        } = layout;
        if !self.read.contains_key(key) {
            let entry = format!("{}data/{key}", self.folder);
            let bytes = self.archive.read(&entry, u64::MAX)?;
            let expected = (numbers as usize).checked_mul(kind.elt_size_in_bytes());
            if expected != Some(bytes.len()) {
                return Err(wrong(format!(
                    "its storage has {} bytes, {numbers} numbers of type {kind:?} were announced",
                    bytes.len()
                )));
            }
            let storage = Tensor::f_from_data_size(&bytes, &[numbers], kind)?;
            self.read.insert(key.to_owned(), storage);
        }
        let storage = &self.read[key];
        if storage.kind() != kind || storage.numel() as i64 != numbers {
            return Err(wrong(format!(
                "its storage holds {} numbers of type {:?} for another tensor, {numbers} of type \
                 {kind:?} for this one",
                storage.numel(),
                storage.kind()
            )));
        }
        Ok(storage)
    }
}

/// Where a tensor lies in which storage.
struct Layout<'a> {
    key: &'a str,
    kind: Kind,
    /// Numbers of the storage.
    numbers: i64,
    offset: i64,
    size: Vec<i64>,
    stride: Vec<i64>,
}

impl<'a> Layout<'a> {
    fn of(value: Value<'a>) -> Result<Self, String> {
        let no_tensor = || format!("{} where a tensor is expected", value.describe());
        let (made_by, arguments) = value.made_by().ok_or_else(no_tensor)?;
        let mut arguments = arguments.sequence().ok_or_else(no_tensor)?;
        let mut next = || arguments.next().ok_or("too few arguments for a tensor");
        match made_by.name {
            // Of one level only: parameters of parameters are not written.
            "_rebuild_parameter" => {
                let data = next()?;
                match data.made_by() {
                    Some((inner, _)) if inner.name == "_rebuild_tensor_v2" => Self::of(data),
                    _ => Err(format!("a parameter of {}", data.describe())),
                }
            }
            "_rebuild_tensor_v2" => {
                let [storage, offset, size, stride] = [next()?, next()?, next()?, next()?];
                Self::within(storage, offset, size, stride)
            }
            _ => Err(no_tensor()),
        }
    }

    fn within(
        storage: Value<'a>,
        offset: Value<'a>,
        size: Value<'a>,
        stride: Value<'a>,
    ) -> Result<Self, String> {
        let damaged = || "its description is damaged".to_owned();
        let whole = |value: Value<'_>| value.integer().filter(|value| *value >= 0);
        let all =
            |values: Value<'_>| -> Option<Vec<i64>> { values.sequence()?.map(whole).collect() };
        let description = storage.external().and_then(Value::sequence);
        let description: Vec<_> = description.ok_or_else(damaged)?.collect();
        let [tag, class, key, _place, numbers] = description[..] else {
            return Err(damaged());
        };
        if tag.text() != Some("storage") {
            return Err(damaged());
        }
        let class = class.global().ok_or_else(damaged)?;
        let layout = Self {
            key: key.text().ok_or_else(damaged)?,
            kind: kind(class.name).ok_or_else(damaged)?,
            numbers: whole(numbers).ok_or_else(damaged)?,
            offset: whole(offset).ok_or_else(damaged)?,
            size: all(size).ok_or_else(damaged)?,
            stride: all(stride).ok_or_else(damaged)?,
        };
        if layout.fits() {
            return Ok(layout);
        }
        Err(format!(
            "shape {:?} with steps {:?} from {} does not fit its storage of {} numbers",
            layout.size, layout.stride, layout.offset, layout.numbers
        ))
    }

    /// Whether every number lies in the storage, and there are no more of them than it has.
    fn fits(&self) -> bool {
        if self.size.len() != self.stride.len() || self.size.len() > 16 {
            return false;
        }
        let count = self
            .size
            .iter()
            .try_fold(1_i64, |product, side| product.checked_mul(*side));
        if count == Some(0) {
            return true;
        }
        let last = self
            .size
            .iter()
            .zip(&self.stride)
            .try_fold(self.offset, |last, (side, stride)| {
                last.checked_add((side - 1).checked_mul(*stride)?)
            });
        count.is_some_and(|count| count <= self.numbers)
            && last.is_some_and(|last| last < self.numbers)
    }
}

/// The number type of a class of storages.
fn kind(class: &str) -> Option<Kind> {
    Some(match class {
        "FloatStorage" => Kind::Float,
        "DoubleStorage" => Kind::Double,
        "HalfStorage" => Kind::Half,
        "BFloat16Storage" => Kind::BFloat16,
        "LongStorage" => Kind::Int64,
        "IntStorage" => Kind::Int,
        "ShortStorage" => Kind::Int16,
        "CharStorage" => Kind::Int8,
        "ByteStorage" => Kind::Uint8,
        "BoolStorage" => Kind::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use kinestream_zarr::zip;

    /// A pickle of one tensor of `class`, with `numbers` in its storage `0`.
    fn pickled(class: &str, numbers: u8, offset: u8, size: [u8; 2], stride: [u8; 2]) -> Vec<u8> {
        let mut pickle =
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
                .to_vec();
        pickle.extend(class.as_bytes());
        pickle.extend(b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK");
        pickle.push(numbers);
        pickle.extend([b't', b'Q', b'K', offset]);
        pickle.extend([b'K', size[0], b'K', size[1], 0x86]);
        pickle.extend([b'K', stride[0], b'K', stride[1], 0x86]);
        pickle.extend(b"\x89NtR.");
        pickle
    }

    fn load(pickle: &[u8], storage: &[u8]) -> Result<Tensor, String> {
        let file = zip::write(&[
            ("archive/data.pkl", pickle),
            ("archive/byteorder", b"little"),
            ("archive/data/0", storage),
        ]);
        let (pickle, mut storages) = read(Cursor::new(file)).map_err(|error| error.to_string())?;
        let tensor = storages.tensor("w", pickle.root());
        tensor.map_err(|error| error.to_string())
    }

    fn floats(count: u8) -> Vec<u8> {
        (0..count)
            .flat_map(|value| f32::from(value).to_le_bytes())
            .collect()
    }

    #[test]
    fn tensors_are_views_of_their_storages() {
        let contiguous = pickled("FloatStorage", 6, 0, [2, 3], [3, 1]);
        let tensor = load(&contiguous, &floats(6)).unwrap();
        assert_eq!(tensor.size(), [2, 3]);
        let values = |tensor: &Tensor| {
            Vec::<f64>::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
        };
        assert_eq!(values(&tensor), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let transposed = pickled("FloatStorage", 6, 1, [2, 2], [1, 2]);
        assert_eq!(
            values(&load(&transposed, &floats(6)).unwrap()),
            [1.0, 3.0, 2.0, 4.0]
        );
        let whole = pickled("LongStorage", 2, 0, [1, 2], [2, 1]);
        let tensor = load(&whole, &[7_i64, -7].map(i64::to_le_bytes).concat()).unwrap();
        assert_eq!(
            (tensor.kind(), values(&tensor)),
            (Kind::Int64, vec![7.0, -7.0])
        );
        let empty = pickled("FloatStorage", 0, 0, [0, 3], [3, 1]);
        assert_eq!(load(&empty, &[]).unwrap().numel(), 0);
    }

    #[test]
    fn tensors_beyond_their_storage_are_refused() {
        for (numbers, offset, size, stride) in [
            (6, 1, [2, 3], [3, 1]),
            (6, 0, [2, 4], [3, 1]),
            (6, 0, [255, 255], [255, 255]),
            // More numbers than there are, by steps of 0.
            (6, 0, [255, 255], [0, 0]),
        ] {
            let pickle = pickled("FloatStorage", numbers, offset, size, stride);
            let message = load(&pickle, &floats(6)).unwrap_err();
            assert!(message.contains("does not fit its storage"), "{message}");
        }
        let message = load(&pickled("FloatStorage", 6, 0, [2, 3], [3, 1]), &floats(5)).unwrap_err();
        assert!(
            message.contains("has 20 bytes, 6 numbers of type Float"),
            "{message}"
        );
        let message = load(b"\x80\x02K\x05.", &[]).unwrap_err();
        assert!(
            message.contains("an integer where a tensor is expected"),
            "{message}"
        );
    }

    #[test]
    fn other_files_are_told_apart() {
        let message = |bytes: &[u8]| read(Cursor::new(bytes)).unwrap_err().to_string();
        assert!(message(b"").contains("not a complete zip archive"));
        assert!(message(b"\x80\x02\x8a\x0al\xfc").contains("before release 1.6"));
        let other = zip::write(&[("word/document.xml", b"<a/>")]);
        assert!(
            message(&other).contains("no data.pkl"),
            "{}",
            message(&other)
        );
        let big = zip::write(&[("a/data.pkl", b"\x80\x02N."), ("a/byteorder", b"big")]);
        assert!(message(&big).contains("most significant byte first"));
    }
}
