//! Arrays: their description, their chunks, and numbers of them in memory.

use std::collections::BTreeMap;

use crate::blocks::copy_block;
use crate::element::NumberKind;
use crate::layout::Layout;
use crate::store::{Store, join};
use crate::{Error, MAX_FILL_RATIO, Result, v2, v3};

/// Bytes of a description, with whatever attributes stand in it.
const MAX_DESCRIPTION_BYTES: u64 = 1 << 26;

/// Shape and layout of an array, from its description.
#[derive(Debug, Clone)]
pub struct ArrayInfo {
    /// Size of every axis; the first one counts rows.
    pub shape: Vec<usize>,
    store: Store,
    name: String,
    layout: Layout,
}

/// An array in memory, converted to f32.
#[derive(Debug, Clone)]
pub struct Array {
    /// Size of every axis.
    pub shape: Vec<usize>,
    /// Values in C order.
    pub values: Vec<f32>,
}

/// Reads the description of an array; errors in words.
type ReadDescription = fn(&[u8]) -> std::result::Result<Layout, String>;

/// Which chunks are there, by their place along the first axis.
struct Present {
    chunks: BTreeMap<usize, Vec<Vec<usize>>>,
    count: usize,
    /// How many there would be.
    of: usize,
}

impl ArrayInfo {
    /// Reads the description of the array `name`, a path within `store`.
    ///
    /// # Errors
    /// No such array, or one in a form that is not supported; the reason is named.
    pub fn open(store: &Store, name: &str) -> Result<Self> {
        let formats: [(&str, ReadDescription); 2] =
            [(".zarray", v2::read), ("zarr.json", v3::read)];
        for (file, read) in formats {
            let key = join(name, file);
            if let Some(text) = store.read(&key, MAX_DESCRIPTION_BYTES)? {
                let layout =
                    read(&text).map_err(|reason| Error::data(store.place(&key), reason))?;
                return Ok(Self {
                    shape: layout.shape.clone(),
                    store: store.clone(),
                    name: name.to_owned(),
                    layout,
                });
            }
        }
        let reason = "no zarr array here (neither .zarray nor zarr.json is there); check --data and task.observation";
        Err(Error::data(store.place(name), reason))
    }

    /// Reads all values, rounded to single precision.
    ///
    /// # Errors
    /// A chunk that is truncated or of the wrong length, by file name; an array without any chunk.
    pub fn read(&self) -> Result<Array> {
        // The chunks, not the announced shape, decide how much memory is asked for.
        let mut values = Vec::new();
        let present = self.present()?;
        self.read_rows(&present, |_, rows| {
            let numbers = self.layout.kind.decoded();
            numbers.for_each(rows, |number| values.push(number.to_f32()));
            Ok(())
        })?;
        self.warn_of_missing(&present);
        Ok(Array {
            shape: self.shape.clone(),
            values,
        })
    }

    /// Reads pictures, numbers from 0 to 255, a byte each: a quarter of the memory.
    ///
    /// # Errors
    /// Those of [`ArrayInfo::read`], or a number that is no brightness, by row.
    pub fn read_bytes(&self) -> Result<Vec<u8>> {
        let width: usize = self.shape[1..].iter().product();
        let mut bytes: Vec<u8> = Vec::new();
        let present = self.present()?;
        self.read_rows(&present, |first, rows| {
            if self.layout.kind == NumberKind::U1 {
                bytes.extend_from_slice(rows);
                return Ok(());
            }
            let (mut at, mut wrong) = (0, None);
            self.layout.kind.decoded().for_each(rows, |number| {
                let value = number.to_f64();
                if wrong.is_none() && !(0.0..=255.0).contains(&value) {
                    wrong = Some((first + at / width, value));
                }
                bytes.push(value.round() as u8);
                at += 1;
            });
            match wrong {
                Some((row, value)) => Err(Error::data(
                    self.store.place(&self.name),
                    format!("row {row} holds {value}, expected brightnesses from 0 to 255"),
                )),
                None => Ok(()),
            }
        })?;
        self.warn_of_missing(&present);
        Ok(bytes)
    }

    /// Reads whole numbers from 0 on, exact, of which every chunk must be there.
    ///
    /// # Errors
    /// Those of [`ArrayInfo::read`]; a chunk that is missing; a number that is negative or not whole.
    pub fn read_indices(&self) -> Result<Vec<usize>> {
        let present = self.present()?;
        if present.count < present.of {
            let rows = self.layout.grid()[0];
            let first = (0..rows)
                .find(|row| !present.chunks.contains_key(row))
                .unwrap_or(0);
            let mut chunk = vec![0; self.shape.len()];
            chunk[0] = first;
            let reason = format!(
                "chunk {first} of {} is missing; the data set was not copied whole",
                present.of
            );
            return Err(Error::data(self.chunk_place(&chunk), reason));
        }
        let mut indices = Vec::new();
        let mut wrong = None;
        self.read_rows(&present, |_, rows| {
            self.layout
                .kind
                .decoded()
                .for_each(rows, |number| match number.to_index() {
                    Some(index) => indices.push(index),
                    None => wrong = wrong.or(Some(number)),
                });
            Ok(())
        })?;
        match wrong {
            Some(number) => {
                let reason = format!("{number} found, expected whole numbers from 0 on");
                Err(Error::data(self.store.place(&self.name), reason))
            }
            None => Ok(indices),
        }
    }

    /// Which chunks are there.
    ///
    /// # Errors
    /// None, or hardly any.
    fn present(&self) -> Result<Present> {
        let layout = &self.layout;
        let of: usize = layout.grid().iter().product();
        let mut chunks: BTreeMap<usize, Vec<Vec<usize>>> = BTreeMap::new();
        let mut count = 0_usize;
        for key in self.store.keys(&self.name, self.shape.len() + 1)? {
            if let Some(chunk) = layout.chunk(&key) {
                chunks.entry(chunk[0]).or_default().push(chunk);
                count += 1;
            }
        }
        let fill = layout.fill();
        let place = || self.store.place(&self.name);
        if of > 0 && count == 0 {
            let reason = format!(
                "none of its {of} chunks is there; nothing of it was copied: copy it again. (If it is {fill} everywhere, zarr has \
                 left its chunks out: it tells nothing, leave it out of the configuration)"
            );
            return Err(Error::data(place(), reason));
        }
        if of > count.saturating_mul(MAX_FILL_RATIO) {
            let reason = format!(
                "only {count} of its {of} chunks are there; the data set was not copied whole"
            );
            return Err(Error::data(place(), reason));
        }
        Ok(Present { chunks, count, of })
    }

    /// Says in the log what is missing: a copy that broke off looks like chunks that zarr left out.
    fn warn_of_missing(&self, present: &Present) {
        let Present { chunks, count, of } = present;
        let missing = of - count;
        if missing == 0 {
            return;
        }
        let (rows, layout) = (self.shape[0], &self.layout);
        let fill = layout.fill();
        let last = chunks
            .last_key_value()
            .map_or(0, |(row, _)| (row + 1) * layout.chunks[0]);
        let tail = if last < rows {
            format!(", all from row {last} to the end at row {rows} among them")
        } else {
            String::new()
        };
        tracing::warn!(
            "{}: {missing} of {of} chunks are not there{tail}; they count as {fill}, the fill value, as zarr leaves such chunks \
             out. If these numbers were others, copy the data set again",
            self.store.place(&self.name).display(),
        );
    }

    /// Hands out the numbers in whole rows, with the number of the first row, as [`element::NumberKind::decoded`] says.
    fn read_rows(
        &self,
        present: &Present,
        mut take: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let Layout {
            shape,
            chunks,
            kind,
            ..
        } = &self.layout;
        let width: usize = shape[1..].iter().product();
        let fill = kind.decoded().bytes(self.layout.fill());
        let rows_of = |row: usize| {
            let first = row * chunks[0];
            (first, chunks[0].min(shape[0] - first))
        };
        let grid = self.layout.grid();
        let mut next = 0;
        let rows_missing =
            |from: usize, to: usize, take: &mut dyn FnMut(usize, &[u8]) -> Result<()>| {
                for row in from..to {
                    let (first, rows) = rows_of(row);
                    take(first, &fill.repeat(rows * width))?;
                }
                Ok::<_, Error>(())
            };
        for (row, there) in &present.chunks {
            let mut slab = Vec::new();
            let (first, rows) = rows_of(*row);
            let slab_shape = [&[rows], &shape[1..]].concat();
            for chunk in there {
                let block = self.read_chunk(chunk)?;
                if slab.is_empty() {
                    // Not before a chunk has been decoded: its size is no mere announcement then.
                    rows_missing(next, *row, &mut take)?;
                    slab = fill.repeat(rows * width);
                }
                let origin: Vec<usize> = chunk
                    .iter()
                    .zip(chunks)
                    .map(|(at, size)| at * size)
                    .collect();
                let origin = [&[0], &origin[1..]].concat();
                copy_block(
                    &mut slab,
                    &slab_shape,
                    &block,
                    (chunks, &origin),
                    kind.size(),
                );
            }
            take(first, &slab)?;
            next = row + 1;
        }
        rows_missing(next, grid[0], &mut take)
    }

    /// The numbers of a chunk that is there.
    fn read_chunk(&self, chunk: &[usize]) -> Result<Vec<u8>> {
        let Layout {
            chunks,
            kind,
            chain,
            ..
        } = &self.layout;
        let key = join(&self.name, &self.layout.key(chunk));
        let damaged = |reason: String| Error::data(self.store.place(&key), reason);
        let most = chain.max_encoded_bytes(chunks.iter().product(), *kind);
        let bytes = self.store.read(&key, most as u64)?;
        let bytes = bytes.ok_or_else(|| damaged("it was removed while it was read".into()))?;
        chain.decode(bytes, chunks, *kind).map_err(damaged)
    }

    fn chunk_place(&self, chunk: &[usize]) -> std::path::PathBuf {
        self.store.place(&join(&self.name, &self.layout.key(chunk)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod grid_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
