//! Training of a model of whole clips: a denoising diffusion GAN with losses on poses (EMDM), or
//! plain diffusion where the network has no latent (MDM).
//!
//! Each step draws pieces of the labelled clips, a timestep for each, and which of the conditions are
//! told, so that any of them can be left out, and weighed, when clips are made.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::weights::Precision;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Reduction, Tensor};

use super::config::{Descent, EmbeddingTraining};
use super::frames::normal;
use super::{Losses, Stage, read_state};
use crate::data::MotionSet;
use crate::emdm::geometry::{Bodies, path};
use crate::emdm::pieces::{Piece, Pieces};
use crate::emdm::{ClipCritic, Conditions, Emdm, Part};
use crate::learner::Learner;
use crate::{Error, Result};

/// Training of a model of whole clips, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmdmTraining {
    /// Seed of everything random.
    pub seed: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Number format of the exported weights.
    pub export: Precision,
    /// The embedding.
    pub embedding: EmbeddingTraining,
    /// The network that makes clips.
    pub clips: ClipTraining,
}

impl Default for EmdmTraining {
    fn default() -> Self {
        Self {
            seed: 42,
            checkpoint_every: 250,
            export: Precision::Fp32,
            embedding: EmbeddingTraining::default(),
            clips: ClipTraining::default(),
        }
    }
}

/// Training of the network that makes clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipTraining {
    /// Steps, batch, rates.
    pub descent: Descent,
    /// Weight of the distance of the clean estimate from the data, number by number.
    pub value: f64,
    /// Weight of the critic's word.
    pub adversarial: f64,
    /// Weight of the places of the joints, per metre.
    pub position: f64,
    /// Weight of their steps from frame to frame, per metre.
    pub velocity: f64,
    /// Weight of the change of these steps from frame to frame, per metre: what trembles.
    pub acceleration: f64,
    /// Weight of the steps of feet that bear, per metre.
    pub contact: f64,
    /// Weight of the place of the root after every frame, per metre.
    pub path: f64,
    /// Frames of the stretch of each clip that losses on poses are taken on.
    pub stretch: usize,
    /// How often the label is left out.
    pub label_dropped: f64,
    /// How often the pose before the clip is told.
    pub start_told: f64,
    /// How often the last pose is told.
    pub end_told: f64,
    /// How often the path is told.
    pub path_told: f64,
    /// Learning rate of the critic.
    pub critic_rate: f64,
    /// Width of the critic.
    pub critic_width: i64,
    /// Layers of the critic.
    pub critic_layers: usize,
    /// Weight of the gradient penalty on true samples (R1; Mescheder et al. 2018).
    pub penalty: f64,
    /// Steps between two such penalties, which count as many times.
    pub penalty_every: u64,
}

impl Default for ClipTraining {
    fn default() -> Self {
        Self {
            descent: Descent {
                batch: 32,
                learning_rate: 3e-4,
                weight_decay: 0.0,
                ..Descent::default()
            },
            value: 1.0,
            adversarial: 0.2,
            position: 2.0,
            velocity: 5.0,
            acceleration: 2.0,
            contact: 10.0,
            path: 0.1,
            stretch: 24,
            label_dropped: 0.1,
            start_told: 0.5,
            end_told: 0.25,
            path_told: 0.25,
            critic_rate: 2e-4,
            critic_width: 192,
            critic_layers: 3,
            penalty: 0.02,
            penalty_every: 8,
        }
    }
}

impl EmdmTraining {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        let clips = &self.clips;
        self.embedding.descent.check("training.embedding.descent")?;
        clips.descent.check("training.clips.descent")?;
        let refuse = |key, found: String, expected: &str| {
            Err(Error::Config {
                key,
                found,
                expected: expected.into(),
            })
        };
        if self.checkpoint_every == 0 {
            return refuse("training.checkpoint_every", "0".into(), "at least 1");
        }
        for (key, value) in [
            ("training.clips.value", clips.value),
            ("training.clips.adversarial", clips.adversarial),
            ("training.clips.position", clips.position),
            ("training.clips.velocity", clips.velocity),
            ("training.clips.acceleration", clips.acceleration),
            ("training.clips.contact", clips.contact),
            ("training.clips.path", clips.path),
            ("training.clips.penalty", clips.penalty),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, value.to_string(), "0 or above");
            }
        }
        for (key, value) in [
            ("training.clips.label_dropped", clips.label_dropped),
            ("training.clips.start_told", clips.start_told),
            ("training.clips.end_told", clips.end_told),
            ("training.clips.path_told", clips.path_told),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(key, value.to_string(), "0 to 1");
            }
        }
        if clips.stretch < 3 {
            return refuse(
                "training.clips.stretch",
                clips.stretch.to_string(),
                "3 or more",
            );
        }
        if !(8..=2048).contains(&clips.critic_width) || clips.critic_layers > 16 {
            return refuse(
                "training.clips.critic_width",
                format!("{} with {} layers", clips.critic_width, clips.critic_layers),
                "8 to 2048 with at most 16 layers",
            );
        }
        Ok(())
    }

    /// What the training of the embedding is told.
    pub fn of_embedding(&self) -> super::TrainingConfig {
        super::TrainingConfig {
            seed: self.seed,
            checkpoint_every: self.checkpoint_every,
            export: self.export,
            embedding: self.embedding.clone(),
            ..super::TrainingConfig::default()
        }
    }
}

/// Trains the network of a model whose embedding is trained.
pub struct EmdmStage {
    model: Emdm,
    pieces: Pieces,
    learner: Learner,
    critic: Option<(ClipCritic, Learner)>,
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
            Learner::new(store, betas, descent.weight_decay, average)
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

    fn training() -> EmdmTraining {
        EmdmTraining {
            clips: ClipTraining {
                descent: Descent {
                    steps: 60,
                    batch: 4,
                    learning_rate: 2e-3,
                    warmup_steps: 5,
                    ..Descent::default()
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

    #[test]
    fn values_out_of_range_are_named() {
        let refused = |change: fn(&mut ClipTraining), word: &str| {
            let mut training = training();
            change(&mut training.clips);
            let message = training.check().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        training().check().unwrap();
        refused(|clips| clips.velocity = f64::NAN, "training.clips.velocity");
        refused(
            |clips| clips.label_dropped = 1.5,
            "training.clips.label_dropped",
        );
        refused(|clips| clips.stretch = 1, "training.clips.stretch");
        refused(
            |clips| clips.critic_width = 0,
            "training.clips.critic_width",
        );
        refused(|clips| clips.descent.batch = 0, "training.clips.descent");
    }
}
