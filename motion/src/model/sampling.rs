//! Making a frame: random numbers, denoise steps, and the pull of a wanted root motion.

use kinestream_diffusion::noise::NoiseStream;
use tch::{Kind, Tensor};

use super::MotionModel;
use crate::frame::FrameNetwork;

/// Standard normal numbers for one frame of B characters.
#[derive(Debug)]
pub struct Draw {
    /// For the generation module `[B, steps, E]`.
    pub generation: Tensor,
    /// Latents of the generation module `[B, steps, R]`.
    pub latents: Option<Tensor>,
    /// For the polishing module `[B, steps, E]`.
    pub polishing: Option<Tensor>,
}

impl Draw {
    /// Multiplies all numbers: below 1 for motion nearer to the most probable one.
    pub fn scale(&mut self, factor: f64) {
        let _ = self.generation.g_mul_scalar_(factor);
        for numbers in [&mut self.latents, &mut self.polishing]
            .into_iter()
            .flatten()
        {
            let _ = numbers.g_mul_scalar_(factor);
        }
    }
}

/// A root motion to be drawn towards.
#[derive(Debug)]
pub struct Pull<'a> {
    /// Wanted displacement (left, ahead) and turn `[B, 3]`, in m/s, m/s and rad/s.
    pub root: &'a Tensor,
    /// How much of the way the clean estimate goes `[B, 3]`, 0 to 1.
    pub weight: &'a Tensor,
}

impl MotionModel {
    /// Random numbers for one frame of `batch` characters, from one stream.
    pub(crate) fn draw_batch(&self, batch: usize, stream: &mut NoiseStream) -> Draw {
        let count = batch as i64;
        let (embedded, latent) = (self.embedding.size(), self.generation.config().latent);
        let mut numbers = |steps: i64, size: i64| {
            let all = (count * steps * size) as usize;
            Tensor::from_slice(&stream.normals(all))
                .view([count, steps, size])
                .to_device(self.device)
        };
        let steps = self.generation.steps();
        let polish = self.polishing.as_ref().map_or(0, FrameNetwork::steps);
        Draw {
            generation: numbers(steps, embedded),
            latents: (latent > 0).then(|| numbers(steps, latent)),
            polishing: (polish > 0).then(|| numbers(polish, embedded)),
        }
    }

    /// Random numbers for one frame, one stream for each character.
    pub fn draw(&self, streams: &mut [NoiseStream]) -> Draw {
        let embedded = self.embedding.size();
        let (steps, latent) = (self.generation.steps(), self.generation.config().latent);
        let polish = self.polishing.as_ref().map_or(0, FrameNetwork::steps);
        let (first, second, third) = (steps * embedded, steps * latent, polish * embedded);
        let count = (first + second + third) as usize;
        let mut numbers = Vec::with_capacity(streams.len() * count);
        for stream in streams.iter_mut() {
            numbers.extend(stream.normals(count));
        }
        let all = Tensor::from_slice(&numbers)
            .view([-1, count as i64])
            .to_device(self.device);
        let part = |start: i64, steps: i64, size: i64| {
            all.narrow(1, start, steps * size)
                .reshape([-1, steps, size])
        };
        Draw {
            generation: part(0, steps, embedded),
            latents: (latent > 0).then(|| part(first, steps, latent)),
            polishing: (polish > 0).then(|| part(first + second, polish, embedded)),
        }
    }

    /// A draft of the innovation `[B, E]`: the generation module alone.
    pub fn draft(&self, condition: &Tensor, draw: &Draw, pull: Option<&Pull<'_>>) -> Tensor {
        let last = self.generation.steps() - 1;
        let noise = |step: i64| draw.generation.select(1, step);
        let mut sample = noise(last);
        for timestep in (0..=last).rev() {
            let latent = draw.latents.as_ref().map(|all| all.select(1, timestep));
            let clean = self
                .generation
                .predict_at(&sample, timestep, condition, latent.as_ref());
            let signal = self.generation.schedule().alpha_cumprod(timestep);
            let clean = self.drawn(clean, condition, pull, signal);
            sample = self.down(&self.generation, &clean, &sample, timestep, &noise);
        }
        sample
    }

    /// A draft brought up to the polishing module's noise and down again.
    pub fn polished(
        &self,
        draft: Tensor,
        condition: &Tensor,
        draw: &Draw,
        pull: Option<&Pull<'_>>,
    ) -> Tensor {
        let (Some(polishing), Some(numbers)) = (&self.polishing, &draw.polishing) else {
            return draft;
        };
        let last = polishing.steps() - 1;
        let alpha = polishing.schedule().alpha_cumprod(last);
        let noise = |step: i64| numbers.select(1, step);
        let mut sample = draft * alpha.sqrt() + noise(last) * (1.0 - alpha).sqrt();
        for timestep in (0..=last).rev() {
            let clean = polishing.predict_at(&sample, timestep, condition, None);
            let signal = polishing.schedule().alpha_cumprod(timestep);
            let clean = self.drawn(clean, condition, pull, signal);
            sample = self.down(polishing, &clean, &sample, timestep, &noise);
        }
        sample
    }

    /// The next states `[B, 2 E]`.
    pub fn next(
        &self,
        state: &Tensor,
        condition: &Tensor,
        draw: &Draw,
        pull: Option<&Pull<'_>>,
    ) -> Tensor {
        let draft = self.draft(condition, draw, pull);
        self.advanced(state, &self.polished(draft, condition, draw, pull))
    }

    /// One step down; the last has no noise.
    fn down(
        &self,
        network: &FrameNetwork,
        clean: &Tensor,
        sample: &Tensor,
        timestep: i64,
        noise: &dyn Fn(i64) -> Tensor,
    ) -> Tensor {
        if timestep == 0 {
            return clean.shallow_clone();
        }
        let step = network.schedule().posterior(timestep);
        clean * step.clean + sample * step.sample + noise(timestep - 1) * step.deviation
    }

    /// The clean estimate with its root motion drawn towards the one that is wanted, the more the
    /// more signal there is (AAMDM's guidance, with the gradient's length chosen so that weight 1
    /// reaches the aim).
    fn drawn(
        &self,
        clean: Tensor,
        condition: &Tensor,
        pull: Option<&Pull<'_>>,
        signal: f64,
    ) -> Tensor {
        let Some(pull) = pull else { return clean };
        let root = &self.scales.root;
        let [carry, fresh] =
            [&self.scales.carry, &self.scales.fresh].map(|all| all.narrow(0, 0, 3));
        let change =
            condition.narrow(1, self.embedding.size(), 3) * carry + clean.narrow(1, 0, 3) * &fresh;
        let now = condition.narrow(1, 0, 3) * &root.deviation
            + change * &root.change
            + (&root.mean + &root.change_mean);
        let speed = now
            .narrow(1, 0, 2)
            .square()
            .sum_dim_intlist([1].as_slice(), true, Kind::Float)
            .sqrt();
        let most = speed * &root.most_by_speed + &root.most;
        let gap = (pull.root - now).maximum(&-&most).minimum(&most);
        let moved = clean.narrow(1, 0, 3) + gap * pull.weight * signal / (&root.change * fresh);
        Tensor::cat(&[moved, clean.narrow(1, 3, clean.size()[1] - 3)], 1)
    }
}
