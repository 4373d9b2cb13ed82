//! Making a frame: random numbers, denoise steps, and the pull of a wanted root motion.

use kinestream_diffusion::noise::NoiseStream;
use tch::{Kind, Tensor};

use super::{Generator, Modules, MotionModel};
use crate::frame::FrameNetwork;

/// Standard normal numbers for one frame of B characters: what a model takes in place of chance.
#[derive(Debug)]
pub struct Draw {
    /// A row for each character `[B, N]`. For modules: noise of every denoise step of the generation
    /// module, its latents, noise of every step of the polishing module. For a MotionVAE: its latent.
    numbers: Tensor,
}

impl Draw {
    /// Multiplies all numbers: below 1 for motion nearer to the most probable one.
    pub fn scale(&mut self, factor: f64) {
        let _ = self.numbers.g_mul_scalar_(factor);
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
        let count = self.generator.numbers();
        let numbers = stream.normals(batch * count as usize);
        self.draw_of(&numbers)
    }

    /// Random numbers for one frame, one stream for each character.
    pub fn draw(&self, streams: &mut [NoiseStream]) -> Draw {
        let count = self.generator.numbers() as usize;
        let mut numbers = Vec::with_capacity(streams.len() * count);
        for stream in streams.iter_mut() {
            numbers.extend(stream.normals(count));
        }
        self.draw_of(&numbers)
    }

    fn draw_of(&self, numbers: &[f32]) -> Draw {
        Draw {
            numbers: Tensor::from_slice(numbers)
                .view([-1, self.generator.numbers()])
                .to_device(self.device),
        }
    }

    /// A draft of the innovation `[B, E]`: the generation module alone.
    pub fn draft(
        &self,
        modules: &Modules,
        condition: &Tensor,
        draw: &Draw,
        pull: Option<&Pull<'_>>,
    ) -> Tensor {
        let network = &modules.generation;
        let (last, size) = (network.steps() - 1, network.sizes().sample);
        let noise = |step: i64| draw.numbers.narrow(1, step * size, size);
        let latents = network.config().latent;
        let latent = |step: i64| {
            let first = (last + 1) * size + step * latents;
            (latents > 0).then(|| draw.numbers.narrow(1, first, latents))
        };
        let mut sample = noise(last);
        for timestep in (0..=last).rev() {
            let latent = latent(timestep);
            let clean = network.predict_at(&sample, timestep, condition, latent.as_ref());
            let signal = network.schedule().alpha_cumprod(timestep);
            let clean = self.drawn(clean, condition, pull, signal);
            sample = self.down(network, &clean, &sample, timestep, &noise);
        }
        sample
    }

    /// A draft brought up to the polishing module's noise and down again.
    pub fn polished(
        &self,
        modules: &Modules,
        draft: Tensor,
        condition: &Tensor,
        draw: &Draw,
        pull: Option<&Pull<'_>>,
    ) -> Tensor {
        let Some(network) = &modules.polishing else {
            return draft;
        };
        let (last, size) = (network.steps() - 1, network.sizes().sample);
        let first = self.generator.numbers() - network.steps() * size;
        let noise = |step: i64| draw.numbers.narrow(1, first + step * size, size);
        let alpha = network.schedule().alpha_cumprod(last);
        let mut sample = draft * alpha.sqrt() + noise(last) * (1.0 - alpha).sqrt();
        for timestep in (0..=last).rev() {
            let clean = network.predict_at(&sample, timestep, condition, None);
            let signal = network.schedule().alpha_cumprod(timestep);
            let clean = self.drawn(clean, condition, pull, signal);
            sample = self.down(network, &clean, &sample, timestep, &noise);
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
        let innovation = match &self.generator {
            Generator::Diffusion(modules) => {
                let draft = self.draft(modules, condition, draw, pull);
                self.polished(modules, draft, condition, draw, pull)
            }
            Generator::MotionVae(vae) => {
                let decoded = vae.decode(&draw.numbers, condition);
                self.drawn(decoded, condition, pull, 1.0)
            }
        };
        self.advanced(state, &innovation)
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
