//! A run on disk.

use std::path::Path;

use kinestream_diffusion::weights;
use nalgebra::Vector2;
use tch::{Kind, Tensor};

use super::{COUNTS, LongRun, LongRunOptions};
use kinestream_motion::trajectory::Root;
use kinestream_motion::{Error, Result};

impl LongRun {
    /// Writes the run, whole or not at all. `model` tells the model apart from others.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path, model: &str) -> Result<()> {
        let places: Vec<f64> = self
            .roots
            .iter()
            .zip(&self.motions)
            .flat_map(|(root, (velocity, turn))| {
                let (place, heading) = (root.position, root.heading);
                [place.x, place.y, heading, velocity.x, velocity.y, *turn]
            })
            .collect();
        let LongRunOptions {
            characters,
            seed,
            diversity,
        } = self.options;
        let numbers = [self.minutes, self.refused, seed, diversity.to_bits()];
        let rows = characters as i64;
        let owners: Vec<i64> = self
            .owners
            .iter()
            .flat_map(|(one, at)| [*one, *at])
            .collect();
        let letters: Vec<i64> = model.bytes().map(i64::from).collect();
        let tensors = [
            ("state", self.state.to_kind(Kind::Float)),
            ("places", Tensor::from_slice(&places).view([rows, -1])),
            (
                "wrong",
                Tensor::from_slice(&self.wrong.concat()).view([rows, -1]),
            ),
            (
                "numbers",
                Tensor::from_slice(&numbers.map(u64::cast_signed)),
            ),
            ("features", Tensor::from_slice(&self.features)),
            ("owners", Tensor::from_slice(&owners)),
            ("model", Tensor::from_slice(&letters)),
        ];
        let named = tensors.map(|(name, tensor)| (name.to_owned(), tensor));
        Ok(weights::write(path, &named)?)
    }

    /// Goes on from a file.
    ///
    /// # Errors
    /// A file that is damaged, or of another run: says in what.
    pub fn restore(&mut self, path: &Path, model: &str) -> Result<()> {
        let refuse = |reason: String| Error::Resume {
            path: path.to_path_buf(),
            reason,
        };
        let tensors = weights::read(path)?;
        let find = |name: &str| weights::find(name, &tensors).map_err(&refuse);
        let integers = |name: &str| -> Result<Vec<i64>> {
            Ok(Vec::try_from(
                find(name)?.to_kind(Kind::Int64).flatten(0, -1),
            )?)
        };
        let LongRunOptions {
            characters,
            seed,
            diversity,
        } = self.options;
        let letters: Vec<u8> = integers("model")?.iter().map(|one| *one as u8).collect();
        let numbers: Vec<u64> = integers("numbers")?
            .into_iter()
            .map(i64::cast_unsigned)
            .collect();
        let state = find("state")?;
        let (places, wrong, owners) = (find("places")?, integers("wrong")?, integers("owners")?);
        let found = String::from_utf8_lossy(&letters).into_owned();
        let same = [
            ("model", found, model.to_owned()),
            (
                "number of characters",
                state.size().first().copied().unwrap_or(0).to_string(),
                characters.to_string(),
            ),
            (
                "seed",
                numbers.get(2).copied().unwrap_or(0).to_string(),
                seed.to_string(),
            ),
            (
                "diversity",
                f64::from_bits(numbers.get(3).copied().unwrap_or(0)).to_string(),
                diversity.to_string(),
            ),
        ];
        for (what, found, expected) in same {
            if found != expected {
                return Err(refuse(format!(
                    "it is of a run with {what} {found}, this one has {expected}; name another \
                     file, or remove it"
                )));
            }
        }
        if state.size() != self.state.size()
            || places.size() != [characters as i64, 6]
            || wrong.len() != characters * COUNTS
        {
            return Err(refuse("sizes do not fit; the file is damaged".into()));
        }
        let places: Vec<f64> = Vec::try_from(places.to_kind(Kind::Double).flatten(0, -1))?;
        for (character, row) in places.chunks_exact(6).enumerate() {
            self.roots[character] = Root {
                position: Vector2::new(row[0], row[1]),
                heading: row[2],
            };
            self.motions[character] = (Vector2::new(row[3], row[4]), row[5]);
        }
        for (counts, row) in self.wrong.iter_mut().zip(wrong.chunks_exact(COUNTS)) {
            counts.copy_from_slice(row);
        }
        self.state = state.to_device(self.state.device());
        (self.minutes, self.refused) = (numbers[0], numbers[1]);
        self.features = Vec::try_from(find("features")?.to_kind(Kind::Double))?;
        self.owners = owners.chunks_exact(2).map(|two| (two[0], two[1])).collect();
        Ok(())
    }
}
