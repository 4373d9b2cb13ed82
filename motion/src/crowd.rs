//! Characters in one batch: from the last frames and what is wanted to the next frames.
//!
//! Each character has a stream of random numbers of its own, so its motion does not depend on its
//! neighbours. A frame that is not finite is never shown: the character keeps its last one, and the
//! refusal is counted.

use kinestream_diffusion::Executor;
use kinestream_diffusion::noise::NoiseStream;
use tch::{Device, Kind, Tensor};

use crate::model::{ModelInputs, MotionModel, RootGuidance};
use crate::placing::DecodedFrames;
use crate::steering::{self, steering};
use crate::trajectory::Root;
use crate::{Error, Pose, Result};

pub use crate::steering::SteeringTarget;

/// Characters up to which the fused kernels make the frames where a model has them: with more, LibTorch is
/// as fast or faster (docs/PERFORMANCE.md).
pub const MOST_FUSED: usize = 8;

/// Wishes of B characters as a model takes them.
#[derive(Debug, Default)]
struct BatchedTargets {
    /// `[B, S]`, zeros where there is none.
    steering: Vec<f32>,
    /// 1 where there is `[B]`.
    steered: Vec<f32>,
    /// `[B, 3]`
    root: Vec<f32>,
    /// `[B, 3]`
    weight: Vec<f32>,
    pulled: bool,
}

impl BatchedTargets {
    /// Takes the wishes of characters whose roots are there.
    fn take(&mut self, wishes: &[SteeringTarget], roots: &[Root]) {
        self.steering.clear();
        self.steered.clear();
        self.root.clear();
        self.weight.clear();
        self.pulled = false;
        for (wish, root) in wishes.iter().zip(roots) {
            self.steered.push(f32::from(u8::from(wish.ahead.is_some())));
            match &wish.ahead {
                Some(ahead) => self.steering.extend(steering(root, ahead)),
                None => self.steering.extend([0.0; steering::SIZE]),
            }
            let (motion, turn) = wish.motion.unwrap_or_default();
            let seen = root.inwards(motion);
            self.root
                .extend([seen.x as f32, seen.y as f32, turn as f32]);
            let (along, about) = wish.motion.map_or((0.0, 0.0), |_| wish.strength);
            self.pulled |= along > 0.0 || about > 0.0;
            self.weight
                .extend([along as f32, along as f32, about as f32]);
        }
    }

    /// For the host.
    fn wanted(&self) -> ModelInputs<'_> {
        ModelInputs {
            steering: &self.steering,
            steered: &self.steered,
            // None if nobody wants one.
            pull: self.pulled.then_some([&self.root, &self.weight]),
        }
    }
}

/// Last frames and the changes that led to them `[B, 2 E]`.
#[derive(Debug)]
enum State {
    /// Where LibTorch computes.
    Tensor(Tensor),
    /// For the fused kernels: the numbers, and room for the next and for what is drawn.
    Host {
        last: Vec<f32>,
        next: Vec<f32>,
        drawn: Vec<f32>,
    },
}

impl State {
    fn new(model: &MotionModel, state: &Tensor) -> Result<Self> {
        let [count, length] = [0, 1].map(|at| state.size()[at] as usize);
        let Some(host) = model.host.as_ref().filter(|_| count <= MOST_FUSED) else {
            return Ok(Self::Tensor(state.copy()));
        };
        let state = state.to_device(Device::Cpu).to_kind(Kind::Float);
        Ok(Self::Host {
            last: Vec::try_from(state.flatten(0, -1))?,
            next: vec![0.0; count * length],
            drawn: vec![0.0; count * host.numbers()],
        })
    }
}

/// Characters and the model that moves them.
#[derive(Debug)]
pub struct CharacterBatch {
    model: MotionModel,
    state: State,
    asked: BatchedTargets,
    roots: Vec<Root>,
    streams: Vec<NoiseStream>,
    /// The last frames, one for each character.
    told: DecodedFrames,
    refused: Vec<u64>,
    /// Factor of all random numbers: 1 as trained, 0 for the most probable motion.
    diversity: f64,
}

impl CharacterBatch {
    /// Characters at the origin with given first states `[B, 2 E]` (see [`MotionModel::starts`]) and
    /// seeds.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn new(model: MotionModel, first: &Tensor, seeds: &[u64]) -> Result<Self> {
        let mut crowd = Self {
            roots: vec![Root::default(); seeds.len()],
            streams: seeds.iter().map(|seed| NoiseStream::new(*seed)).collect(),
            refused: vec![0; seeds.len()],
            state: State::new(&model, first)?,
            asked: BatchedTargets::default(),
            told: DecodedFrames::default(),
            model,
            diversity: 1.0,
        };
        crowd.decode()?;
        Ok(crowd)
    }

    /// The model.
    pub fn model(&self) -> &MotionModel {
        &self.model
    }

    /// The model, for another crowd.
    pub fn into_model(self) -> MotionModel {
        self.model
    }

    /// Number of characters B.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Sets the factor of all random numbers, 0 to 2.
    pub fn set_diversity(&mut self, diversity: f64) {
        self.diversity = diversity.clamp(0.0, 2.0);
    }

    /// Where a character is and which way it faces.
    pub fn root(&self, character: usize) -> Root {
        self.roots[character]
    }

    /// Puts a character elsewhere.
    pub fn place(&mut self, character: usize, root: Root) {
        self.roots[character] = root;
    }

    /// Goes on from another state `[B, 2 E]` (see [`MotionModel::state`]), every character at a root.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn resume(&mut self, state: &Tensor, root: Root) -> Result<()> {
        self.state = State::new(&self.model, state)?;
        self.roots.fill(root);
        self.decode()
    }

    /// Frames refused so far.
    pub fn refused(&self, character: usize) -> u64 {
        self.refused[character]
    }

    /// Last frames and the changes that led to them `[B, 2 E]`.
    pub fn state(&self) -> Tensor {
        match &self.state {
            State::Tensor(state) => state.copy(),
            State::Host { last, .. } => {
                Tensor::from_slice(last).view([self.roots.len() as i64, -1])
            }
        }
    }

    /// Embedded last frames `[B, E]`.
    pub fn embedded(&self) -> Tensor {
        self.model.frames(&self.state())
    }

    /// What makes the frames.
    pub fn executor(&self) -> Executor {
        match &self.state {
            State::Tensor(_) => Executor::LibTorch,
            State::Host { .. } => Executor::Fused,
        }
    }

    /// Makes the next frame of every character; `wishes` has one entry for each.
    ///
    /// # Errors
    /// Too few wishes, or LibTorch refused.
    pub fn advance(&mut self, wishes: &[SteeringTarget]) -> Result<()> {
        if wishes.len() != self.len() {
            return Err(Error::Request {
                key: "number of wishes",
                found: wishes.len().to_string(),
                expected: format!("{}, one for each character", self.len()),
            });
        }
        self.asked.take(wishes, &self.roots);
        let sound = match &self.state {
            State::Tensor(state) => {
                let (next, sound) = self.next(&state.shallow_clone())?;
                self.state = State::Tensor(next);
                sound
            }
            State::Host { .. } => self.next_on_host(),
        };
        self.decode()?;
        for (character, sound) in sound.iter().enumerate() {
            if !sound {
                self.refused[character] += 1;
                continue;
            }
            self.told.step(character, &mut self.roots[character]);
        }
        Ok(())
    }

    /// The next states, and whose are finite; the others stay as they are.
    fn next(&mut self, state: &Tensor) -> Result<(Tensor, Vec<bool>)> {
        let device = self.model.device();
        let asked = &self.asked;
        let tensor = |numbers: &[f32], columns: i64| {
            Tensor::from_slice(numbers)
                .view([-1, columns])
                .to_device(device)
        };
        let [root, weight] = [&asked.root, &asked.weight].map(|numbers| tensor(numbers, 3));
        let pull = asked.pulled.then_some(RootGuidance {
            root: &root,
            weight: &weight,
        });
        let next = tch::no_grad(|| {
            let steering = tensor(&asked.steering, steering::SIZE as i64);
            let condition = (self.model).condition(state, &steering, &tensor(&asked.steered, 1));
            let mut draw = self.model.draw(&mut self.streams);
            if self.diversity != 1.0 {
                draw.scale(self.diversity);
            }
            self.model.next(&condition, &draw, pull.as_ref())
        });
        // One look at the device for all: a sum is finite if its numbers are.
        let sums = next.sum_dim_intlist([1].as_slice(), false, Kind::Float);
        let sound: Vec<bool> = Vec::<f32>::try_from(sums)?
            .iter()
            .map(|sum| sum.is_finite())
            .collect();
        if sound.iter().all(|sound| *sound) {
            return Ok((next, sound));
        }
        let mask = Tensor::from_slice(&sound).view([-1, 1]).to_device(device);
        Ok((next.where_self(&mask, state), sound))
    }

    /// As [`Self::next`], with the fused kernels, in place.
    fn next_on_host(&mut self) -> Vec<bool> {
        let (State::Host { last, next, drawn }, Some(host)) =
            (&mut self.state, &mut self.model.host)
        else {
            return vec![false; self.roots.len()];
        };
        for (stream, drawn) in (self.streams.iter_mut()).zip(drawn.chunks_exact_mut(host.numbers()))
        {
            stream.fill_normal(drawn);
        }
        if self.diversity != 1.0 {
            let factor = self.diversity as f32;
            drawn.iter_mut().for_each(|number| *number *= factor);
        }
        host.next(last, self.asked.wanted(), drawn, next);
        let length = last.len() / self.roots.len().max(1);
        let rows = last.chunks_exact_mut(length).zip(next.chunks_exact(length));
        rows.map(|(last, next)| {
            let sound = next.iter().all(|number| number.is_finite());
            if sound {
                last.copy_from_slice(next);
            }
            sound
        })
        .collect()
    }

    fn decode(&mut self) -> Result<()> {
        if let (State::Host { last, .. }, Some(host)) = (&self.state, &mut self.model.host) {
            host.decode(last, &mut self.told);
            return Ok(());
        }
        self.told = DecodedFrames::of(&self.model.embedding, &self.embedded())?;
        Ok(())
    }

    /// Contact of left heel, left toe, right heel, right toe, 0 to 1.
    pub fn contacts(&self, character: usize) -> [f64; 4] {
        self.told.contacts(character)
    }

    /// The pose of a character in the world.
    pub fn pose(&self, character: usize) -> Pose {
        self.told.pose(character, &self.roots[character])
    }
}

#[cfg(test)]
mod tests;
