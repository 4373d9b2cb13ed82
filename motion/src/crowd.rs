//! Characters in one batch: from the last frames and what is wanted to the next frames.
//!
//! Each character has a stream of random numbers of its own, so its motion does not depend on its
//! neighbours. A frame that is not finite is never shown: the character keeps its last one, and the
//! refusal is counted.

use kinestream_diffusion::noise::NoiseStream;
use nalgebra::Vector2;
use tch::{Device, Kind, Tensor};

use crate::model::{MotionModel, Pull};
use crate::placing::Told;
use crate::steering::{self, steering};
use crate::trajectory::Root;
use crate::{Error, Pose, Result};

/// What is wanted of a character for its next frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Where the root should be [`steering::AHEAD`] of now, in the world; none for free motion.
    pub ahead: Option<[Root; 3]>,
    /// Motion of the root towards the next frame: displacement in the world in m/s, turn in rad/s.
    pub motion: Option<(Vector2<f64>, f64)>,
    /// How much of the way to that motion every clean estimate is drawn, 0 to 1: displacement, turn.
    pub strength: (f64, f64),
}

/// Wishes of B characters as a model takes them.
struct Asked {
    /// `[B, S]`, zeros where there is none.
    steering: Tensor,
    /// 1 where there is `[B, 1]`.
    steered: Tensor,
    root: Tensor,
    weight: Tensor,
    pulled: bool,
}

impl Asked {
    /// Wishes of characters whose roots are there.
    fn of(wishes: &[Wish], roots: &[Root], device: Device) -> Self {
        let count = wishes.len();
        let mut numbers = Vec::with_capacity(count * steering::SIZE);
        let mut steered = Vec::with_capacity(count);
        let mut motions = Vec::with_capacity(3 * count);
        let mut weights = Vec::with_capacity(3 * count);
        let mut pulled = false;
        for (wish, root) in wishes.iter().zip(roots) {
            steered.push(f32::from(u8::from(wish.ahead.is_some())));
            match &wish.ahead {
                Some(ahead) => numbers.extend(steering(root, ahead)),
                None => numbers.extend([0.0; steering::SIZE]),
            }
            let (motion, turn) = wish.motion.unwrap_or_default();
            let seen = root.inwards(motion);
            motions.extend([seen.x as f32, seen.y as f32, turn as f32]);
            let (along, about) = wish.motion.map_or((0.0, 0.0), |_| wish.strength);
            pulled |= along > 0.0 || about > 0.0;
            weights.extend([along as f32, along as f32, about as f32]);
        }
        let tensor = |numbers: &[f32], columns: i64| {
            Tensor::from_slice(numbers)
                .view([-1, columns])
                .to_device(device)
        };
        Self {
            steering: tensor(&numbers, steering::SIZE as i64),
            steered: tensor(&steered, 1),
            root: tensor(&motions, 3),
            weight: tensor(&weights, 3),
            pulled,
        }
    }

    /// The root motion that is wanted; none if nobody wants one.
    fn pull(&self) -> Option<Pull<'_>> {
        self.pulled.then_some(Pull {
            root: &self.root,
            weight: &self.weight,
        })
    }
}

/// Characters and the model that moves them.
#[derive(Debug)]
pub struct Crowd {
    model: MotionModel,
    /// Last frames and the changes that led to them `[B, 2 E]`.
    state: Tensor,
    roots: Vec<Root>,
    streams: Vec<NoiseStream>,
    /// The last frames, one for each character.
    told: Told,
    refused: Vec<u64>,
    /// Factor of all random numbers: 1 as trained, 0 for the most probable motion.
    diversity: f64,
}

impl Crowd {
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
            state: first.copy(),
            told: Told::default(),
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
        self.state = state.copy();
        self.roots.fill(root);
        self.decode()
    }

    /// Frames refused so far.
    pub fn refused(&self, character: usize) -> u64 {
        self.refused[character]
    }

    /// Last frames and the changes that led to them `[B, 2 E]`.
    pub fn state(&self) -> Tensor {
        self.state.copy()
    }

    /// Embedded last frames `[B, E]`.
    pub fn embedded(&self) -> Tensor {
        self.model.frames(&self.state)
    }

    /// Makes the next frame of every character; `wishes` has one entry for each.
    ///
    /// # Errors
    /// Too few wishes, or LibTorch refused.
    pub fn advance(&mut self, wishes: &[Wish]) -> Result<()> {
        if wishes.len() != self.len() {
            return Err(Error::Skeleton(format!(
                "{} wishes for {} characters",
                wishes.len(),
                self.len()
            )));
        }
        let device = self.model.device();
        let asked = Asked::of(wishes, &self.roots, device);
        let next = tch::no_grad(|| {
            let condition = self
                .model
                .condition(&self.state, &asked.steering, &asked.steered);
            let mut draw = self.model.draw(&mut self.streams);
            if self.diversity != 1.0 {
                draw.scale(self.diversity);
            }
            self.model.next(&condition, &draw, asked.pull().as_ref())
        });
        // One look at the device for all: a sum is finite if its numbers are.
        let sums = next.sum_dim_intlist([1].as_slice(), false, Kind::Float);
        let sound: Vec<bool> = Vec::<f32>::try_from(sums)?
            .iter()
            .map(|sum| sum.is_finite())
            .collect();
        self.state = if sound.iter().all(|sound| *sound) {
            next
        } else {
            let mask = Tensor::from_slice(&sound).view([-1, 1]).to_device(device);
            next.where_self(&mask, &self.state)
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

    fn decode(&mut self) -> Result<()> {
        self.told = Told::of(&self.model.embedding, &self.embedded())?;
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
