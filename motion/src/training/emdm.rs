//! Training of a model of whole clips: a denoising diffusion GAN with losses on poses (EMDM), or
//! plain diffusion where the network has no latent (MDM).
//!
//! Each step draws pieces of the labelled clips, a timestep for each, and which of the conditions are
//! told, so that any of them can be left out, and weighed, when clips are made.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use tch::nn::VarStore;
use tch::{Kind, Reduction, Tensor};

use super::emdm_config::{ClipTraining, EmdmTraining};
use super::frames::normal;
use super::{Losses, Stage, read_state};
use crate::Result;
use crate::data::MotionSet;
use crate::emdm::geometry::{Bodies, path};
use crate::emdm::pieces::{Piece, Pieces};
use crate::emdm::{ClipCritic, Conditions, Emdm, Part};
use crate::learner::OptimizerState;

/// Trains the network of a model whose embedding is trained.
pub struct EmdmStage {
    model: Emdm,
    pieces: Pieces,
    learner: OptimizerState,
    critic: Option<(ClipCritic, OptimizerState)>,
    training: ClipTraining,
    seed: u64,
    step: u64,
}

/// Noisy clips of one step.
struct Noisy {
    /// One step less noisy than `sample`, both `[B, P, token]`.
    next: Tensor,
    sample: Tensor,
    /// Sinusoids of the timesteps `[B, 64]`.
    levels: Tensor,
    timesteps: Vec<i64>,
}

impl EmdmStage {
    /// Prepares the training on a labelled set.
    ///
    /// # Errors
    /// A clip without a label, or a label without a clip.
    pub fn new(model: Emdm, training: &EmdmTraining, set: &MotionSet) -> Result<Self> {
        let clips = &model.config().clips;
        let size = (clips.patch, clips.longest);
        let rows = Tensor::from_slice(&set.rows)
            .view([set.len() as i64, set.layout.size() as i64])
            .to_device(model.device());
        let frames = tch::no_grad(|| model.embedding.encode(&rows));
        let pieces = Pieces::new(frames, set, model.labels(), size)?;
        let settings = training.clips.clone();
        let descent = &settings.descent;
        let is_adversarial = clips.latent > 0;
        // Hardly any momentum of the first order, as GANs are usually trained.
        let betas = if is_adversarial {
            (0.5, 0.9)
        } else {
            (0.9, 0.99)
        };
        let learner = |store: &VarStore, average: f64| {
            OptimizerState::new(store, betas, descent.weight_decay, average)
        };
        let critic = is_adversarial.then(|| {
            let critic = ClipCritic::new(
                (settings.critic_width, settings.critic_layers),
                model.embedding.size() * clips.patch as i64,
                model.labels().len(),
                model.device(),
                training.seed.wrapping_add(7),
            );
            let learner = learner(critic.store(), descent.average);
            (critic, learner)
        });
        Ok(Self {
            learner: learner(model.network.store(), descent.average),
            critic,
            model,
            pieces,
            training: settings,
            seed: training.seed,
            step: 0,
        })
    }

    /// The model with its averaged weights.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(mut self) -> Result<Emdm> {
        self.learner.average_into(self.model.network.store())?;
        self.model.freeze();
        Ok(self.model)
    }

    fn conditions(
        &self,
        pieces: &[Piece],
        frames: &Tensor,
        random: &mut NoiseStream,
    ) -> Conditions {
        let patch = self.model.config().clips.patch;
        let lengths: Vec<usize> = pieces.iter().map(|one| one.rows.len() / patch).collect();
        let labels: Vec<i64> = pieces.iter().map(|piece| piece.label as i64).collect();
        let hand_made = self.model.embedding.hand_made(frames);
        let places = path(&hand_made);
        let last: Vec<i64> = (0..places.size()[1] / patch as i64)
            .map(|number| (number + 1) * patch as i64 - 1)
            .collect();
        let last = Tensor::from_slice(&last).to_device(places.device());
        let mut conditions = Conditions::new(
            &lengths,
            self.model.labels().len(),
            self.model.embedding.size(),
            self.model.device(),
        )
        .labelled(&labels)
        .starting(&self.pieces.before(pieces))
        .ending(&self.pieces.last(pieces))
        .along(&places.index_select(1, &last));
        let training = &self.training;
        for (part, share) in [
            (Part::Label, 1.0 - training.label_dropped),
            (Part::Start, training.start_told),
            (Part::End, training.end_told),
            (Part::Path, training.path_told),
        ] {
            let kept: Vec<bool> = pieces.iter().map(|_| random.uniform() < share).collect();
            conditions.keep(part, &kept);
        }
        conditions
    }

    fn noisy(&self, clean: &Tensor, random: &mut NoiseStream) -> Noisy {
        let (size, device) = (clean.size(), clean.device());
        let schedule = self.model.schedule();
        let count = schedule.train_timesteps();
        // The noisier of two: what a clip shows is settled where there is much noise.
        let timesteps: Vec<i64> = (0..size[0])
            .map(|_| random.below(count).max(random.below(count)) as i64)
            .collect();
        let column = |value: &dyn Fn(i64) -> f64| {
            let values: Vec<f32> = timesteps.iter().map(|one| value(*one) as f32).collect();
            Tensor::from_slice(&values)
                .view([-1, 1, 1])
                .to_device(device)
        };
        let before = |timestep: i64| schedule.alpha_cumprod(timestep - 1);
        let next = clean * column(&|timestep| before(timestep).sqrt())
            + normal(random, &size, device) * column(&|timestep| (1.0 - before(timestep)).sqrt());
        let kept = column(&|timestep| (1.0 - schedule.beta(timestep)).sqrt());
        let added = column(&|timestep| schedule.beta(timestep).sqrt());
        let rows = Tensor::from_slice(&timesteps).to_device(device);
        Noisy {
            sample: &next * kept + normal(random, &size, device) * added,
            next,
            levels: self.model.network.levels().index_select(0, &rows),
            timesteps,
        }
    }

    /// What the posterior makes of clean estimates.
    fn successor(&self, clean: &Tensor, noisy: &Noisy, random: &mut NoiseStream) -> Tensor {
        let (size, device) = (clean.size(), clean.device());
        let posterior = |part: fn(kinestream_diffusion::schedule::Posterior) -> f64| {
            let values: Vec<f32> = noisy
                .timesteps
                .iter()
                .map(|timestep| part(self.model.schedule().posterior(*timestep)) as f32)
                .collect();
            Tensor::from_slice(&values)
                .view([-1, 1, 1])
                .to_device(device)
        };
        clean * posterior(|one| one.clean)
            + &noisy.sample * posterior(|one| one.sample)
            + normal(random, &size, device) * posterior(|one| one.deviation)
    }

    /// One step of the critic; what it says of the generator's.
    fn judge(
        &mut self,
        made: &Tensor,
        noisy: &Noisy,
        conditions: &Conditions,
        rate: f64,
    ) -> Option<[Tensor; 2]> {
        let training = &self.training;
        let penalised = self.step.is_multiple_of(training.penalty_every.max(1));
        let (critic, learner) = self.critic.as_mut()?;
        let next = noisy.next.detach().set_requires_grad(penalised);
        let score = |next: &Tensor| critic.score(next, &noisy.sample, &noisy.levels, conditions);
        let (truth, untruth) = (score(&next), score(&made.detach()));
        let judged = (-&truth).softplus().mean(Kind::Float) + untruth.softplus().mean(Kind::Float);
        let loss = if penalised {
            let gradients = Tensor::run_backward(&[truth.sum(Kind::Float)], &[&next], true, true);
            let length = gradients[0]
                .square()
                .sum_dim_intlist([1, 2].as_slice(), false, Kind::Float)
                .mean(Kind::Float);
            &judged + length * (0.5 * training.penalty * training.penalty_every as f64)
        } else {
            judged.shallow_clone()
        };
        let rate = rate * training.critic_rate / training.descent.learning_rate;
        learner.descend(&loss, rate, training.descent.gradient_norm);
        let word = (-critic.score(made, &noisy.sample, &noisy.levels, conditions))
            .softplus()
            .mean(Kind::Float);
        Some([word, judged.detach()])
    }

    /// How far a clean estimate is from the truth, in poses: places, steps, changes of steps, steps of
    /// feet that bear, path. On a stretch of each clip, all of them within it.
    fn poses(
        &self,
        made: &Tensor,
        truth: &Tensor,
        pieces: &[Piece],
        random: &mut NoiseStream,
    ) -> [Tensor; 5] {
        let shortest = pieces.iter().map(|one| one.rows.len()).min();
        let length = self.training.stretch.min(shortest.unwrap_or_default());
        let starts: Vec<i64> = pieces
            .iter()
            .map(|piece| random.below(piece.rows.len() - length + 1) as i64)
            .collect();
        let stretch = |frames: &Tensor| {
            let rows: Vec<Tensor> = starts
                .iter()
                .enumerate()
                .map(|(row, start)| {
                    frames
                        .select(0, row as i64)
                        .narrow(0, *start, length as i64)
                })
                .collect();
            Tensor::stack(&rows, 0)
        };
        let embedding = &self.model.embedding;
        let own = Bodies::of(embedding, &stretch(made));
        let other = tch::no_grad(|| Bodies::of(embedding, &stretch(truth)));
        let off = |one: &Tensor, other: &Tensor| (one - other).abs().mean(Kind::Float);
        let changes = |steps: &Tensor| {
            let count = steps.size()[1] - 1;
            steps.narrow(1, 1, count) - steps.narrow(1, 0, count)
        };
        let bears = other
            .contacts
            .narrow(1, 1, length as i64 - 1)
            .clamp(0.0, 1.0)
            .round()
            .unsqueeze(3);
        let slides = (own.feet() * &bears).abs().mean(Kind::Float);
        let places = |frames: &Tensor| path(&embedding.hand_made(frames));
        let within: Vec<Tensor> = pieces
            .iter()
            .enumerate()
            .map(|(row, piece)| {
                let (row, count) = (row as i64, piece.rows.len() as i64);
                let cut = |frames: &Tensor| frames.narrow(0, row, 1).narrow(1, 0, count);
                off(&places(&cut(made)), &places(&cut(truth)))
            })
            .collect();
        [
            off(&own.positions, &other.positions),
            off(&own.steps, &other.steps),
            off(&changes(&own.steps), &changes(&other.steps)),
            slides,
            Tensor::stack(&within, 0).mean(Kind::Float),
        ]
    }

    fn lesson(&mut self, step: u64) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed ^ 0x656d_646d, step);
        let training = self.training.clone();
        let rate = training.descent.rate(step);
        let pieces = self.pieces.draw(training.descent.batch, &mut random);
        let frames = self.pieces.frames(&pieces);
        let clips = &self.model.config().clips;
        let (patch, latents) = (clips.patch as i64, clips.latent);
        let token = self.model.embedding.size() * patch;
        let clean = frames.view([pieces.len() as i64, -1, token]);
        let conditions = self.conditions(&pieces, &frames, &mut random);
        let noisy = self.noisy(&clean, &mut random);
        let size = [pieces.len() as i64, latents];
        let device = self.model.device();
        let latent = (latents > 0).then(|| normal(&mut random, &size, device));
        let estimate =
            self.model
                .network
                .predict(&noisy.sample, &noisy.levels, &conditions, latent.as_ref())
                * &conditions.within;

        let made = self.successor(&estimate, &noisy, &mut random) * &conditions.within;
        let judged = self.judge(&made, &noisy, &conditions, rate);
        let count = conditions.within.sum(Kind::Float) * token;
        let value = estimate.smooth_l1_loss(&clean, Reduction::Sum, 1.0) / count;
        let own = self.model.frames(&estimate);
        let needs_poses = training.position
            + training.velocity
            + training.acceleration
            + training.contact
            + training.path;
        let poses = (needs_poses > 0.0).then(|| self.poses(&own, &frames, &pieces, &mut random));
        let mut loss = &value * training.value;
        if let Some([word, _]) = &judged {
            loss += word * training.adversarial;
        }
        if let Some([position, velocity, acceleration, contact, path]) = &poses {
            loss = loss
                + position * training.position
                + velocity * training.velocity
                + acceleration * training.acceleration
                + contact * training.contact
                + path * training.path;
        }
        let mut losses = Losses::new(step, &loss)?;
        losses.push("value", &value)?;
        if let Some([word, judged]) = &judged {
            losses.push("adversarial", word)?;
            losses.push("critic", judged)?;
        }
        if let Some(poses) = &poses {
            let names = ["position", "velocity", "acceleration", "contact", "path"];
            for (name, part) in names.iter().zip(poses) {
                losses.push(name, part)?;
            }
        }
        self.learner
            .descend(&loss, rate, training.descent.gradient_norm);
        Ok(losses)
    }
}

impl Stage for EmdmStage {
    fn name(&self) -> &'static str {
        "clips"
    }

    fn steps(&self) -> u64 {
        self.training.descent.steps
    }

    fn done(&self) -> u64 {
        self.step
    }

    fn advance(&mut self) -> Result<Losses> {
        let losses = self.lesson(self.step)?;
        self.step += 1;
        Ok(losses)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = self.learner.state("generator");
        if let Some((_, learner)) = &self.critic {
            state.extend(learner.state("critic"));
        }
        state
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        let refuse = |reason| super::refuse(path, reason);
        self.learner.restore("generator", &state).map_err(refuse)?;
        if let Some((_, learner)) = &mut self.critic {
            learner.restore("critic", &state).map_err(refuse)?;
        }
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emdm::testing;
    use crate::training::OptimizerConfig;

    fn training() -> EmdmTraining {
        EmdmTraining {
            clips: ClipTraining {
                descent: OptimizerConfig {
                    steps: 60,
                    batch: 4,
                    learning_rate: 2e-3,
                    warmup_steps: 5,
                    ..OptimizerConfig::default()
                },
                stretch: 8,
                critic_width: 16,
                critic_layers: 1,
                penalty_every: 2,
                ..ClipTraining::default()
            },
            ..EmdmTraining::default()
        }
    }

    fn stage(latent: i64) -> EmdmStage {
        EmdmStage::new(testing::model(latent), &training(), &testing::set()).unwrap()
    }

    #[test]
    fn the_loss_falls_with_a_critic_and_without() {
        for latent in [3, 0] {
            let mut stage = stage(latent);
            let losses: Vec<Losses> = (0..60).map(|_| stage.advance().unwrap()).collect();
            let has = |name: &str| losses[0].parts.iter().any(|(found, _)| *found == name);
            assert_eq!(has("critic"), latent > 0);
            let mean = |losses: &[Losses]| {
                losses.iter().map(|loss| loss.parts[0].1).sum::<f64>() / losses.len() as f64
            };
            let (early, late) = (mean(&losses[..10]), mean(&losses[50..]));
            assert!(late < 0.8 * early, "latent {latent}: {early} to {late}");
        }
    }

    #[test]
    fn a_state_continues_where_it_was_left() {
        let mut whole = stage(3);
        let expected: Vec<_> = (0..6).map(|_| whole.advance().unwrap().parts).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut first = stage(3);
        for parts in &expected[..3] {
            assert_eq!(first.advance().unwrap().parts, *parts);
        }
        super::super::save(&first, folder.path()).unwrap();
        let mut second = stage(3);
        second
            .restore(&super::super::state_file(folder.path(), "clips"))
            .unwrap();
        for parts in &expected[3..] {
            assert_eq!(second.advance().unwrap().parts, *parts);
        }
    }
}
