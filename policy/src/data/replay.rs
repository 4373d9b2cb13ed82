//! Episodes of demonstrations.

use std::path::{Path, PathBuf};

use kinestream_diffusion::noise::NoiseStream;

use super::{Array, ArrayInfo, DatasetFormat, EPISODE_ENDS, Store};
use crate::config::{ImageSize, ObservationPart, TaskConfig};
use crate::{Error, Result};

/// Observations and actions of all episodes, in memory.
#[derive(Debug, Clone)]
pub struct Episodes {
    /// Observations, row by row, `observation_size` numbers each.
    pub observations: Vec<f32>,
    /// Actions, row by row, `action_size` numbers each.
    pub actions: Vec<f32>,
    /// Numbers per observation, Do.
    pub observation_size: usize,
    /// Numbers per action, Da.
    pub action_size: usize,
    /// What every camera saw, in the order of `task.observation`.
    pub pictures: Vec<Pictures>,
    /// Row after the last one of every episode, rising.
    pub ends: Vec<usize>,
}

/// What one camera saw, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pictures {
    /// Of every picture.
    pub size: ImageSize,
    /// Red, green and blue, 0 to 255: [rows, H, W, 3].
    pub bytes: Vec<u8>,
}

/// How a mirror acts on square pictures: rows and columns are exchanged, then reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureMirror {
    /// Rows and columns are exchanged.
    pub transpose: bool,
    /// The rows are reversed.
    pub flip_rows: bool,
    /// The columns are reversed.
    pub flip_columns: bool,
}

/// An affine map of row vectors: x' = x `matrix` + `offset`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AffineMap {
    /// Square, row by row.
    pub matrix: Vec<f32>,
    /// Summands.
    pub offset: Vec<f32>,
}

impl AffineMap {
    /// All of `rows`, one after the other, mapped.
    pub(crate) fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let size = self.offset.len();
        let mapped = |row: &[f32], column: usize| -> f32 {
            let products = row.iter().enumerate();
            let products = products.map(|(at, value)| value * self.matrix[at * size + column]);
            products.sum::<f32>() + self.offset[column]
        };
        rows.chunks_exact(size.max(1))
            .flat_map(|row| (0..size).map(move |column| mapped(row, column)))
            .collect()
    }
}

/// A symmetry of a task: maps under which a demonstration remains a demonstration.
#[derive(Debug, Clone)]
pub struct Symmetry {
    /// Of the numbers of an observation.
    pub observation: AffineMap,
    /// Of an action.
    pub action: AffineMap,
    /// Of what image encoders are trained to tell (`training.vision.targets`).
    pub targets: AffineMap,
    /// Of pictures.
    pub pictures: PictureMirror,
}

impl Episodes {
    /// Reads the arrays that a task names from a replay buffer (`data/*` and `meta/episode_ends`).
    ///
    /// # Errors
    /// Missing or damaged arrays, unequal lengths, columns that do not exist, episode ends that do
    /// not rise to the number of rows, numbers that are not finite.
    pub fn read(store: &Path, task: &TaskConfig) -> Result<Self> {
        if let Some(format) = DatasetFormat::detect(store) {
            return Err(Error::data(store, format.to_string()));
        }
        let store = &Store::open(store)?;
        let ends = ArrayInfo::open(store, EPISODE_ENDS)?.read_indices()?;
        let rows = ends.last().copied().unwrap_or(0);
        if rows == 0 || ends[0] == 0 || ends.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::data(
                store.place(EPISODE_ENDS),
                "episode ends must rise and begin above 0",
            ));
        }
        let mut pictures = Vec::new();
        let mut numbers = Vec::new();
        for part in &task.observation {
            match part.image {
                Some(size) => pictures.push(read_pictures(store, part, size, rows)?),
                None => numbers.push(part),
            }
        }
        let (observations, observation_size) =
            read_columns(store, ("task.observation", &numbers), rows)?;
        let actions = read_array(store, &task.action, rows)?;
        Ok(Self {
            observations,
            observation_size,
            action_size: actions.shape[1..].iter().product(),
            actions: actions.values,
            pictures,
            ends,
        })
    }

    /// Reads the columns of more arrays of the replay buffer that these episodes came from: their
    /// numbers, row by row. `key` of the configuration names them.
    ///
    /// # Errors
    /// As [`Episodes::read`].
    pub fn read_more(
        &self,
        store: &Path,
        key: &str,
        parts: &[ObservationPart],
    ) -> Result<Vec<f32>> {
        let parts: Vec<&ObservationPart> = parts.iter().collect();
        let rows = self.ends.last().copied().unwrap_or(0);
        Ok(read_columns(&Store::open(store)?, (key, &parts), rows)?.0)
    }

    /// Number of episodes.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no episode.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// First row and row after the last of an episode.
    pub fn bounds(&self, episode: usize) -> (usize, usize) {
        let first = if episode == 0 {
            0
        } else {
            self.ends[episode - 1]
        };
        (first, self.ends[episode])
    }

    /// Splits episode numbers into training and validation, chosen by `seed`.
    ///
    /// A share above 0 holds at least one episode out, unless there is only one; at most `most`
    /// episodes train.
    pub fn split(
        &self,
        validation: f64,
        most: Option<usize>,
        seed: u64,
    ) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        let mut random = NoiseStream::with_stream(seed, u64::MAX);
        for index in (1..order.len()).rev() {
            order.swap(index, random.below(index + 1));
        }
        let held_out = if validation > 0.0 && self.len() > 1 {
            ((self.len() as f64 * validation).round() as usize).clamp(1, self.len() - 1)
        } else {
            0
        };
        let mut training = order.split_off(held_out);
        training.truncate(most.unwrap_or(usize::MAX));
        training.sort_unstable();
        order.sort_unstable();
        (training, order)
    }
}

/// An array with one row for every step of the episodes, all of it finite.
fn read_array(store: &Store, name: &str, rows: usize) -> Result<Array> {
    let (info, path) = open_array(store, name, rows)?;
    let array = info.read()?;
    if let Some(at) = array.values.iter().position(|value| !value.is_finite()) {
        let row = at / (array.values.len() / rows);
        return Err(Error::data(path, format!("row {row} is not finite")));
    }
    Ok(array)
}

/// An array with one row for every step of the episodes, and where it is.
fn open_array(store: &Store, name: &str, rows: usize) -> Result<(ArrayInfo, PathBuf)> {
    let name = format!("data/{name}");
    let path = store.place(&name);
    let info = ArrayInfo::open(store, &name)?;
    if info.shape[0] == rows {
        return Ok((info, path));
    }
    let reason = format!("{} rows, but the episodes end at row {rows}", info.shape[0]);
    Err(Error::data(path, reason))
}

/// The named columns of arrays, row by row, and how many a row has.
fn read_columns(
    store: &Store,
    (key, wanted): (&str, &[&ObservationPart]),
    rows: usize,
) -> Result<(Vec<f32>, usize)> {
    let mut parts = Vec::new();
    for part in wanted {
        let array = read_array(store, &part.array, rows)?;
        let width: usize = array.shape[1..].iter().product();
        let columns = part.columns.clone().unwrap_or_else(|| (0..width).collect());
        if let Some(column) = columns.iter().find(|column| **column >= width) {
            return Err(Error::data(
                store.place(&format!("data/{}", part.array)),
                format!("{key} names column {column}, there are {width}"),
            ));
        }
        parts.push((array, width, columns));
    }
    let size = parts.iter().map(|(_, _, columns)| columns.len()).sum();
    let mut values = Vec::with_capacity(rows * size);
    for row in 0..rows {
        for (array, width, columns) in &parts {
            let row = &array.values[row * width..][..*width];
            values.extend(columns.iter().map(|column| row[*column]));
        }
    }
    Ok((values, size))
}

fn read_pictures(
    store: &Store,
    part: &ObservationPart,
    size: ImageSize,
    rows: usize,
) -> Result<Pictures> {
    let (info, path) = open_array(store, &part.array, rows)?;
    let ImageSize { height, width } = size;
    if info.shape[1..] != [height, width, 3] {
        let found = &info.shape[1..];
        let reason = format!(
            "its rows are {found:?}, task.observation says pictures of [{height}, {width}, 3]"
        );
        return Err(Error::data(path, reason));
    }
    Ok(Pictures {
        size,
        bytes: info.read_bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episodes() -> Episodes {
        Episodes {
            observations: (0..10).map(|row| row as f32).collect(),
            actions: (0..10).map(|row| row as f32).collect(),
            observation_size: 1,
            action_size: 1,
            pictures: Vec::new(),
            ends: vec![4, 10],
        }
    }

    #[test]
    fn a_single_episode_is_trained_on() {
        let mut episodes = episodes();
        episodes.ends = vec![10];
        assert_eq!(episodes.split(0.02, None, 42), (vec![0], vec![]));
    }

    #[test]
    fn splits_are_disjoint_repeatable_and_bounded() {
        let mut episodes = episodes();
        episodes.ends = (1..=50).collect();
        let (training, validation) = episodes.split(0.02, Some(20), 42);
        assert_eq!((training.len(), validation.len()), (20, 1));
        assert!(!training.contains(&validation[0]));
        assert_eq!((training, validation), episodes.split(0.02, Some(20), 42));
    }
}
