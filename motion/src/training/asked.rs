//! Training under sticks: what no clip answers.
//!
//! A clip shows what people did, not what they would do if a stick told them otherwise at this
//! moment. Here characters leave frames of the clips under random sticks, steered and pulled as they
//! are when they are live. There is no truth to compare with; a critic tells their motion from that
//! of the clips, as an adversarial motion prior does (Peng et al. 2021), and feet that bear are told
//! not to slide. The critic sees poses, their changes and how feet move over the floor, but not how
//! the root moves: that is what the stick asks for, and the clips need not have it.

use kinestream_diffusion::Mlp;
use kinestream_diffusion::network::seeded;
use kinestream_diffusion::noise::NoiseStream;
use nalgebra::Vector2;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::config::Rollout;
use super::feet;
use super::frames::Frames;
use crate::Result;
use crate::crowd::{Asked, Wish};
use crate::data::FRAME_RATE;
use crate::features::Layout;
use crate::learner::Learner;
use crate::model::MotionModel;
use crate::stick::{Stick, StickFollower, StickOptions};
use crate::trajectory::Root;

/// Training under sticks, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskedTraining {
    /// Characters per step.
    pub characters: usize,
    /// Fastest stick, m/s.
    pub fastest: f64,
    /// Weight of the critic's word.
    pub adversarial: f64,
    /// Weight of the sliding of feet that bear, in centimetres per frame.
    pub sliding: f64,
    /// Learning rate of the critic.
    pub critic_rate: f64,
    /// Width of the critic.
    pub critic_width: i64,
    /// Layers of the critic.
    pub critic_layers: usize,
    /// Weight of the gradient penalty on true samples (R1; Mescheder et al. 2018).
    pub penalty: f64,
}

impl Default for AskedTraining {
    fn default() -> Self {
        Self {
            characters: 64,
            fastest: 3.5,
            adversarial: 0.03,
            sliding: 0.02,
            critic_rate: 2e-4,
            critic_width: 256,
            critic_layers: 3,
            penalty: 0.5,
        }
    }
}

/// Frames after the stick's word that the critic does not see yet.
const UNSEEN: usize = 2;
/// Half-lives of the spring between stick and steering, seconds: velocity, heading.
const HALF_LIVES: [(f64, f64); 2] = [(0.2, 0.5), (0.15, 0.45)];
/// Numbers of how both feet move over the floor.
const FEET: i64 = 4;
/// Unit of these, metres per frame.
const STEP: f64 = 0.05;

/// The critic, and how it learns.
#[derive(Debug)]
pub(super) struct Watched {
    critic: Mlp,
    pub(super) learner: Learner,
    training: AskedTraining,
}

impl Watched {
    pub(super) fn new(model: &MotionModel, training: &AskedTraining, seed: u64) -> Self {
        let store = VarStore::new(model.device());
        // Pose, its change and the change before.
        let inputs = 3 * (model.embedding.size() - 3) + FEET;
        let critic = seeded(seed, || {
            let (width, layers) = (training.critic_width, training.critic_layers);
            Mlp::plain(&store.root(), inputs, 1, width, layers)
        });
        Self {
            learner: Learner::new(&store, (0.5, 0.9), 0.0, 0.999),
            critic,
            training: training.clone(),
        }
    }

    /// What a rollout of some frames costs, part by part; teaches the critic on the way.
    ///
    /// # Errors
    /// LibTorch refused.
    pub(super) fn cost(
        &mut self,
        model: &MotionModel,
        frames: &Frames,
        rollout: &Rollout,
        length: usize,
        random: &mut NoiseStream,
    ) -> Result<Cost> {
        let count = self.training.characters;
        let length = length.max(UNSEEN + 2);
        let windows = frames.draw(model, rollout, length, count, random);
        let mut state = windows.state.shallow_clone();
        let mut players = players(model, &state, self.training.fastest, random)?;
        let mut roots = vec![Root::default(); count];
        let (mut made, mut truth, mut slides) = (Vec::new(), Vec::new(), Vec::new());
        for frame in 1..=length {
            let wishes: Vec<Wish> = players
                .iter_mut()
                .zip(&roots)
                .map(|(player, root)| player.wish(root))
                .collect();
            let asked = Asked::of(&wishes, &roots, model.device());
            let condition = model.condition(&state, &asked.steering, &asked.steered);
            let draw = model.draw_batch(count, random);
            let next = model.next(&condition, &draw, asked.pull().as_ref());
            advance(model, &next, &mut roots)?;
            if frame > UNSEEN {
                made.push(seen(model, &state, &next));
                truth.push(seen(
                    model,
                    &windows.truth(model, frame - 1),
                    &windows.truth(model, frame),
                ));
                slides.push(sliding(model, &state, &next));
            }
            state = next;
        }
        let (made, truth) = (Tensor::cat(&made, 0), Tensor::cat(&truth, 0));
        let critic = self.teach(&made.detach(), &truth.detach());
        let adversarial = (-self.critic.forward(&made)).softplus().mean(Kind::Float);
        let sliding = Tensor::stack(&slides, 0).mean(Kind::Float);
        Ok(Cost {
            loss: &adversarial * self.training.adversarial + &sliding * self.training.sliding,
            adversarial: adversarial.detach(),
            sliding: sliding.detach(),
            critic,
        })
    }

    fn teach(&mut self, made: &Tensor, truth: &Tensor) -> Tensor {
        let truth = truth.detach().set_requires_grad(true);
        let word = self.critic.forward(&truth);
        let judged = (-&word).softplus().mean(Kind::Float)
            + self.critic.forward(made).softplus().mean(Kind::Float);
        let gradients = Tensor::run_backward(&[word.sum(Kind::Float)], &[&truth], true, true);
        let length = gradients[0]
            .square()
            .sum_dim_intlist([-1].as_slice(), false, Kind::Float)
            .mean(Kind::Float);
        let loss = &judged + length * (0.5 * self.training.penalty);
        self.learner.descend(&loss, self.training.critic_rate, 0.0);
        judged.detach()
    }
}

/// What a rollout under sticks costs.
pub(super) struct Cost {
    pub(super) loss: Tensor,
    pub(super) adversarial: Tensor,
    pub(super) sliding: Tensor,
    pub(super) critic: Tensor,
}

/// Somebody with a stick at every state `[B, 2 E]`.
fn players(
    model: &MotionModel,
    state: &Tensor,
    fastest: f64,
    random: &mut NoiseStream,
) -> Result<Vec<StickFollower>> {
    let motions = root_motions(model, state)?;
    let mut between = |(low, high): (f64, f64)| low + (high - low) * random.uniform();
    let player = |[left, ahead, turn]: [f64; 3]| {
        let mut follower = StickFollower::new(StickOptions {
            velocity_half_life: between(HALF_LIVES[0]),
            heading_half_life: between(HALF_LIVES[1]),
            ..StickOptions::default()
        });
        follower.go_on(Vector2::new(left, ahead), turn);
        let speed = if between((0.0, 1.0)) < 1.0 / 6.0 {
            0.0
        } else {
            between((0.0, fastest))
        };
        // Mostly ahead: a stick turns more often by a little than about.
        let direction = std::f64::consts::PI * between((-1.0, 1.0)) * between((0.0, 1.0)).sqrt();
        follower.want(Stick {
            velocity: Vector2::new(direction.sin(), direction.cos()) * speed,
            facing: None,
        });
        follower
    };
    Ok(motions.into_iter().map(player).collect())
}

/// Motion of the root, left, ahead and turn, of every state `[B, 2 E]`.
fn root_motions(model: &MotionModel, state: &Tensor) -> Result<Vec<[f64; 3]>> {
    let moved = tch::no_grad(|| {
        let hand_made = model.embedding.hand_made(&model.frames(state));
        hand_made.narrow(1, Layout::ROOT as i64, 3)
    });
    let numbers: Vec<f64> = Vec::try_from(moved.to_kind(Kind::Double).flatten(0, -1))?;
    Ok(numbers
        .chunks_exact(3)
        .map(|row| [row[0], row[1], row[2]])
        .collect())
}

fn advance(model: &MotionModel, state: &Tensor, roots: &mut [Root]) -> Result<()> {
    for (root, [left, ahead, turn]) in roots.iter_mut().zip(root_motions(model, state)?) {
        root.position += root.outwards(Vector2::new(left, ahead)) / FRAME_RATE;
        root.heading += turn / FRAME_RATE;
    }
    Ok(())
}

/// What the critic sees of a state `[B, 2 E]` that follows another.
fn seen(model: &MotionModel, before: &Tensor, now: &Tensor) -> Tensor {
    let size = model.embedding.size();
    let pose = |state: &Tensor, from: i64| state.narrow(1, from + 3, size - 3);
    let feet = feet::steps(model, before, now) / STEP;
    Tensor::cat(
        &[pose(now, 0), pose(now, size), pose(before, size), feet],
        1,
    )
}

/// How far ankles move over the floor whose feet bear, centimetres per frame.
fn sliding(model: &MotionModel, before: &Tensor, now: &Tensor) -> Tensor {
    let contacts = feet::contacts(&model.embedding.hand_made(&model.frames(now)))
        .detach()
        .squeeze_dim(2);
    let steps = feet::steps(model, before, now).view([-1, 2, 2]) * 100.0;
    let way = (steps
        .square()
        .sum_dim_intlist([2].as_slice(), false, Kind::Float)
        + 1e-4)
        .sqrt();
    (way * contacts).mean(Kind::Float)
}
