//! Making a frame: random numbers, denoise steps, and the pull of a wanted root motion.

use kinestream_diffusion::noise::NoiseStream;
use tch::Tensor;

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

    /// A draft of the change `[B, E]`: the generation module alone.
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

    /// The next embedded frames `[B, E]`, within what the training clips hold.
    pub fn next(
        &self,
        last: &Tensor,
        condition: &Tensor,
        draw: &Draw,
        pull: Option<&Pull<'_>>,
    ) -> Tensor {
        let draft = self.draft(condition, draw, pull);
        let next = self.changed(last, &self.polished(draft, condition, draw, pull));
        next.clamp_tensor(Some(&self.scales.lowest), Some(&self.scales.highest))
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
        let mean = self.scales.change_mean.narrow(0, 0, 3);
        let scale = self.scales.change.narrow(0, 0, 3);
        let next = condition.narrow(1, 0, 3) + clean.narrow(1, 0, 3) * &scale + mean;
        let hand_made = &self.scales.root;
        let wanted = (pull.root - hand_made.get(0)) / hand_made.get(1);
        let step = (wanted - next) * pull.weight * signal / scale;
        let moved = clean.narrow(1, 0, 3) + step;
        Tensor::cat(&[moved, clean.narrow(1, 3, clean.size()[1] - 3)], 1)
    }
}
