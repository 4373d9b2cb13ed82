//! Making a frame: random numbers, denoise steps, and the pull of a wanted root motion.

use kinestream_diffusion::noise::NoiseStream;
use tch::Tensor;

use super::{Generator, Modules, MotionModel};
use crate::frame::{FrameNetwork, Sampling};

/// Standard normal numbers for one frame of B characters: what a model takes in place of chance.
#[derive(Debug)]
pub struct LatentNoise {
    /// A row for each character `[B, N]`. For modules: noise of every denoise step of the generation
    /// module, its latents, noise of every step of the polishing module. For a MotionVAE: its latent.
    numbers: Tensor,
}

impl LatentNoise {
    /// Multiplies all numbers: below 1 for motion nearer to the most probable one.
    pub fn scale(&mut self, factor: f64) {
        let _ = self.numbers.g_mul_scalar_(factor);
    }
}

/// A root motion to be drawn towards.
#[derive(Debug)]
pub struct RootGuidance<'a> {
    /// Wanted displacement (left, ahead) and turn `[B, 3]`, in m/s, m/s and rad/s.
    pub root: &'a Tensor,
    /// How much of the way the clean estimate goes `[B, 3]`, 0 to 1.
    pub weight: &'a Tensor,
}

impl MotionModel {
    /// Random numbers for one frame of `batch` characters, from one stream.
    pub(crate) fn draw_batch(&self, batch: usize, stream: &mut NoiseStream) -> LatentNoise {
        let count = self.generator.numbers();
        let numbers = stream.normals(batch * count as usize);
        self.draw_of(&numbers)
    }

    /// Random numbers for one frame, one stream for each character.
    pub fn draw(&self, streams: &mut [NoiseStream]) -> LatentNoise {
        let count = self.generator.numbers() as usize;
        let mut numbers = Vec::with_capacity(streams.len() * count);
        for stream in streams.iter_mut() {
            numbers.extend(stream.normals(count));
        }
        self.draw_of(&numbers)
    }

    /// Random numbers `[B, N]` as a model takes them.
    pub(super) fn draw_of(&self, numbers: &[f32]) -> LatentNoise {
        LatentNoise {
            numbers: Tensor::from_slice(numbers)
                .view([-1, self.generator.numbers()])
                .to_device(self.device),
        }
    }

    /// A draft of the innovation `[B, E]`: the generation module alone.
    pub(crate) fn draft(
        &self,
        modules: &Modules,
        condition: &Tensor,
        draw: &LatentNoise,
    ) -> Tensor {
        self.denoised(&modules.generation, None, condition, &draw.numbers, None)
    }

    /// What a module makes `[B, E]`: of noise, or of a draft that is brought up to its noise first.
    /// `numbers` begin with noise of every timestep, and then latents of every timestep.
    fn denoised(
        &self,
        network: &FrameNetwork,
        draft: Option<&Tensor>,
        condition: &Tensor,
        numbers: &Tensor,
        aim: Option<&RootTarget>,
    ) -> Tensor {
        let (steps, size) = (network.steps(), network.sizes().sample);
        let latents = network.config().latent;
        let noise = |timestep: i64| numbers.narrow(1, timestep * size, size);
        let latent = |timestep: i64| {
            (latents > 0).then(|| numbers.narrow(1, steps * size + timestep * latents, latents))
        };
        let steer = |clean: Tensor, signal: &Tensor| match aim {
            Some(aim) => aim.draw(clean, signal),
            None => clean,
        };
        let start = match draft {
            None => noise(steps - 1),
            Some(draft) => network.raised(draft, &noise(steps - 1)),
        };
        let sampling = Sampling {
            noise: &noise,
            latent: &latent,
            steer: &steer,
        };
        network.denoise(start, condition, &sampling)
    }

    /// The next states `[B, 2 E]`.
    pub fn next(
        &self,
        condition: &Tensor,
        draw: &LatentNoise,
        pull: Option<&RootGuidance<'_>>,
    ) -> Tensor {
        let aim = pull.map(|pull| RootTarget::new(self, condition, pull));
        let aim = aim.as_ref();
        let innovation = match &self.generator {
            Generator::Diffusion(modules) => {
                let numbers = &draw.numbers;
                let draft = self.denoised(&modules.generation, None, condition, numbers, aim);
                match &modules.polishing {
                    None => draft,
                    Some(polishing) => {
                        let count = polishing.steps() * polishing.sizes().sample;
                        let own = numbers.narrow(1, self.generator.numbers() - count, count);
                        self.denoised(polishing, Some(&draft), condition, &own, aim)
                    }
                }
            }
            Generator::MotionVae(vae) => {
                let decoded = vae.decode(&draw.numbers, condition);
                match aim {
                    Some(aim) => aim.draw(decoded, &Tensor::from(1_f32).to_device(self.device)),
                    None => decoded,
                }
            }
        };
        self.advanced(condition, &innovation)
    }
}

/// Where a pull wants the root, worked out as far as a frame's condition tells.
struct RootTarget {
    /// Wanted root motion less what carries on by itself `[B, 3]`.
    root: Tensor,
    /// What an innovation takes from that, negative `[3]`.
    taken: Tensor,
    /// Farthest that an estimate is drawn, on either side `[B, 3]`.
    bounds: [Tensor; 2],
    /// Innovation for a unit of root motion, times the weight of the pull `[B, 3]`.
    reach: Tensor,
}

impl RootTarget {
    fn new(model: &MotionModel, condition: &Tensor, pull: &RootGuidance<'_>) -> Self {
        let root = &model.scales.root;
        let last = condition.narrow(1, 0, 3) * &root.deviation + &root.middle;
        let carried = model.expected(condition).narrow(1, 0, 3) * &root.change;
        let speed = last
            .narrow(1, 0, 2)
            .norm_scalaropt_dim(2, [1].as_slice(), true);
        let most = root.most.addcmul(&speed, &root.most_by_speed);
        Self {
            root: pull.root - last - carried,
            taken: root.fresh.neg(),
            bounds: [most.neg(), most],
            reach: pull.weight / &root.fresh,
        }
    }

    /// The clean estimate `[B, E]` with its root motion drawn towards the one that is wanted, the
    /// more the more signal there is (AAMDM's guidance, with the gradient's length chosen so that
    /// weight 1 reaches the aim), and never farther than a body follows.
    fn draw(&self, clean: Tensor, signal: &Tensor) -> Tensor {
        let mut root = clean.narrow(1, 0, 3);
        let [lowest, highest] = &self.bounds;
        let gap = self
            .root
            .addcmul(&root, &self.taken)
            .clamp_tensor(Some(lowest), Some(highest));
        // Written into the estimate, which is nobody else's.
        let _ = root.addcmul_(&(&self.reach * signal), &gap);
        clean
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::model::GeneratorConfig;
    use crate::model::testing::{model, modules};
    use crate::motion_vae::MotionVaeConfig;
    use crate::steering;

    fn models() -> [MotionModel; 2] {
        let vae = MotionVaeConfig {
            latent: 4,
            width: 16,
            ..MotionVaeConfig::default()
        };
        [
            model(GeneratorConfig::Diffusion(modules())),
            model(GeneratorConfig::MotionVae(vae)),
        ]
    }

    /// Condition of `count` characters.
    fn begin(model: &MotionModel, count: i64) -> Tensor {
        let state = model.starts().repeat([count, 1]) + 0.2;
        let steering = Tensor::ones([count, steering::SIZE as i64], (Kind::Float, Device::Cpu));
        model.condition(&state, &steering, &steering.narrow(1, 0, 1))
    }

    fn streams(count: u64) -> Vec<NoiseStream> {
        (0..count).map(NoiseStream::new).collect()
    }

    fn largest(tensor: &Tensor) -> f64 {
        f64::try_from(tensor.abs().max()).unwrap()
    }

    #[test]
    fn characters_do_not_depend_on_one_another() {
        for model in models() {
            let condition = begin(&model, 3);
            let together = model.next(&condition, &model.draw(&mut streams(3)), None);
            let condition = begin(&model, 1);
            for (row, stream) in streams(3).iter_mut().enumerate() {
                let draw = model.draw(std::slice::from_mut(stream));
                let alone = model.next(&condition, &draw, None);
                let difference = together.narrow(0, row as i64, 1) - alone;
                assert!(largest(&difference) < 1e-5);
            }
        }
    }

    #[test]
    fn a_full_pull_reaches_what_is_near_and_no_farther() {
        for model in models() {
            let condition = begin(&model, 2);
            let root = |state: &Tensor| {
                let frames = model.frames(state);
                model.embedding.hand_made(&frames).narrow(1, 0, 3)
            };
            let next = |pull: Option<&RootGuidance<'_>>| {
                let draw = model.draw(&mut streams(2));
                model.next(&condition, &draw, pull)
            };
            let free = root(&next(None));
            let weight = free.ones_like();
            let pulled = |root_wanted: &Tensor| {
                root(&next(Some(&RootGuidance {
                    root: root_wanted,
                    weight: &weight,
                })))
            };
            let near = &free + 0.01;
            let signal = match &model.generator {
                Generator::Diffusion(modules) => {
                    let last = modules.polishing.as_ref().unwrap();
                    last.schedule().alpha_cumprod(0)
                }
                Generator::MotionVae(_) => 1.0,
            };
            // The last step lacks the noise that is left in its sample.
            let left = largest(&(pulled(&near) - &near));
            assert!(left <= 0.1 * (1.0 - signal) + 1e-5, "{left}");
            let far = largest(&(pulled(&(&free + 5.0)) - &free));
            assert!((0.04..2.5).contains(&far), "{far}");
        }
    }
}
