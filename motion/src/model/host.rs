//! A frame on the host: what [`super::sampling`] does, on slices, with the fused kernels as networks.
//!
//! A vector operation on the hundred numbers of a character costs LibTorch a microsecond or more, and a
//! frame has some two hundred of them. Both ways make the same frames up to the order of summation (a
//! test holds them together); here a character's are the same to the bit whoever stands beside it.

mod rows;

use kinestream_diffusion::executor::FusedMlp;
use kinestream_diffusion::{Execution, Executor, Mlp};
use tch::Tensor;

use self::rows::{LatentNoise, Rows};
use super::changes::Scales;
use super::{Generator, MotionModel};
use crate::embedding::DecoderScales;
use crate::features::Layout;
use crate::frame::FrameNetwork;
use crate::placing::DecodedFrames;
use crate::{Error, Result};

/// What is wanted of B characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelInputs<'a> {
    /// In its own units `[B, S]`, zeros where there is none.
    pub(crate) steering: &'a [f32],
    /// 1 where there is `[B]`.
    pub(crate) steered: &'a [f32],
    /// The root motion to be drawn towards, and how much of the way `[B, 3]`; none if nobody wants one.
    pub(crate) pull: Option<[&'a [f32]; 2]>,
}

/// A model of denoising modules, ready to make frames of few characters.
#[derive(Debug)]
pub(crate) struct HostModel {
    predictor: Option<FusedMlp>,
    modules: Vec<Module>,
    decoder: FusedMlp,
    scales: HostScales,
    decoder_scales: DecoderScales,
    /// Numbers of an embedded frame E.
    size: usize,
    /// Standard normal numbers that a frame of a character takes.
    numbers: usize,
    rows: Rows,
}

/// A denoising module.
#[derive(Debug)]
struct Module {
    network: FusedMlp,
    steps: Vec<Step>,
    /// Factors of a draft and of noise at the last timestep.
    last: [f32; 2],
    /// Timesteps of the schedule, each of which has noise of its own.
    timesteps: usize,
    latent: usize,
    /// Where its random numbers begin among those of a character.
    numbers: usize,
}

#[derive(Debug)]
struct Step {
    timestep: usize,
    level: Vec<f32>,
    signal: f32,
    down: Option<Down>,
}

/// next = `clean` x0 + `sample` x + `deviation` noise.
#[derive(Debug)]
struct Down {
    timestep: usize,
    clean: f32,
    sample: f32,
    deviation: f32,
}

/// [`Scales`] on the host.
#[derive(Debug)]
struct HostScales {
    change: Vec<f32>,
    change_mean: Vec<f32>,
    carry: Vec<f32>,
    fresh_change: Vec<f32>,
    steering_mean: Vec<f32>,
    steering_deviation: Vec<f32>,
    lowest: Vec<f32>,
    highest: Vec<f32>,
    root_deviation: Vec<f32>,
    root_middle: Vec<f32>,
    root_change: Vec<f32>,
    root_fresh: Vec<f32>,
    root_most: Vec<f32>,
    root_most_by_speed: Vec<f32>,
}

impl HostModel {
    /// Packs a frozen model's weights; none where LibTorch is to make the frames.
    ///
    /// # Errors
    /// The fused kernels were asked for, and do not know the model or do not run on its device; weights of
    /// one byte that change what a network tells too much.
    pub(super) fn new(model: &MotionModel, execution: &Execution) -> Result<Option<Self>> {
        let Some(modules) = known(model) else {
            if execution.executor == Executor::Fused {
                return Err(Error::Config {
                    key: "executor",
                    found: "fused".into(),
                    expected: "auto or libtorch: the kernels know models that denoise, without \
                               frequencies"
                        .into(),
                });
            }
            return Ok(None);
        };
        let predictor = model.predictor.as_ref().map(|predictor| predictor.mlp());
        let networks: Vec<&Mlp> = (predictor.into_iter())
            .chain(modules.iter().map(|module| module.mlp()))
            .chain([model.embedding.decoder()])
            .collect();
        let Some(packed) = execution.perceptrons(&networks, model.device)? else {
            return Ok(None);
        };
        let mut packed = packed.into_iter();
        let mut next = || {
            packed.next().ok_or_else(|| {
                Error::Weights("fewer networks were packed than the model has".into())
            })
        };
        let predictor = match predictor {
            Some(_) => Some(next()?),
            None => None,
        };
        let mut numbers = 0;
        let mut built = Vec::with_capacity(modules.len());
        for module in modules {
            let module = Module::new(module, next()?, numbers)?;
            let size = model.embedding.size() as usize;
            numbers += module.timesteps * (size + module.latent);
            built.push(module);
        }
        Ok(Some(Self {
            predictor,
            modules: built,
            decoder: next()?,
            scales: HostScales::new(&model.scales)?,
            decoder_scales: model.embedding.decoder_scales(),
            size: model.embedding.size() as usize,
            numbers,
            rows: Rows::default(),
        }))
    }

    /// Standard normal numbers that a frame of a character takes, as many as LibTorch takes.
    pub(crate) fn numbers(&self) -> usize {
        self.numbers
    }

    /// The next states of B characters `[B, 2 E]` from their last ones, of random numbers `[B, N]`.
    pub(crate) fn next(
        &mut self,
        state: &[f32],
        wanted: ModelInputs<'_>,
        numbers: &[f32],
        next: &mut [f32],
    ) {
        let size = self.size;
        let Self { rows, scales, .. } = self;
        rows.tell(state, wanted, scales, size);
        rows.expect(state, self.predictor.as_mut(), scales, size);
        let is_predicted = self.predictor.is_some();
        let aims = wanted.pull.is_some();
        if let Some(pull) = wanted.pull {
            rows.aim(state, pull, scales, size);
        }
        for (index, module) in self.modules.iter_mut().enumerate() {
            let draw = LatentNoise {
                numbers,
                length: self.numbers,
                first: module.numbers,
            };
            let count = state.len() / (2 * size);
            rows.begin(module, index == 0, draw, (count, size));
            rows.denoise(module, is_predicted, aims, draw, (count, size));
        }
        rows.advance(state, scales, size, next);
    }

    /// Decodes the frames of states `[B, 2 E]`.
    pub(crate) fn decode(&mut self, state: &[f32], told: &mut DecodedFrames) {
        let Self {
            decoder,
            decoder_scales: scales,
            rows,
            ..
        } = self;
        let count = Layout::HAND_MADE;
        told.hand_made.clear();
        rows.input.clear();
        for row in state.chunks_exact(2 * self.size) {
            let (hand_made, learned) = row[..self.size].split_at(count);
            let own = hand_made.iter().zip(&scales.hand_made[0]);
            let own = own.zip(&scales.hand_made[1]);
            (told.hand_made).extend(own.map(|((x, deviation), mean)| x * deviation + mean));
            rows.input.extend_from_slice(hand_made);
            let own = learned.iter().zip(&scales.latent[0]).zip(&scales.latent[1]);
            (rows.input).extend(own.map(|((x, deviation), mean)| x * deviation + mean));
        }
        let outputs = decoder.sizes()[1];
        rows.decoded
            .resize(rows.input.len() / self.size * outputs, 0.0);
        decoder.evaluate(&rows.input, &mut rows.decoded);
        told.six.clear();
        for row in rows.decoded.chunks_exact(outputs) {
            let own = row.iter().zip(&scales.rotations[0]);
            let own = own.zip(&scales.rotations[1]);
            (told.six).extend(own.map(|((x, deviation), mean)| x * deviation + mean));
        }
    }
}

/// The modules of a model that can be run here.
fn known(model: &MotionModel) -> Option<Vec<&FrameNetwork>> {
    let Generator::Diffusion(modules) = &model.generator else {
        return None;
    };
    let modules: Vec<&FrameNetwork> = modules.all().collect();
    let is_plain = |module: &&FrameNetwork| module.config().frequencies == 0;
    let has_no_latent = |module: &&FrameNetwork| module.config().latent == 0;
    (modules.iter().all(is_plain) && modules.iter().skip(1).all(has_no_latent)).then_some(modules)
}

impl Module {
    fn new(network: &FrameNetwork, packed: FusedMlp, numbers: usize) -> Result<Self> {
        let steps = network.plan().iter().map(|step| {
            let down = match &step.down {
                None => None,
                Some(down) => Some(Down {
                    timestep: down.timestep as usize,
                    clean: single(&down.clean)?,
                    sample: single(&down.sample)?,
                    deviation: single(&down.deviation)?,
                }),
            };
            Ok(Step {
                timestep: step.timestep as usize,
                level: several(&step.level)?,
                signal: single(&step.signal)?,
                down,
            })
        });
        let [signal, deviation] = network.last();
        Ok(Self {
            network: packed,
            steps: steps.collect::<Result<_>>()?,
            last: [single(signal)?, single(deviation)?],
            timesteps: network.steps() as usize,
            latent: network.config().latent as usize,
            numbers,
        })
    }
}

impl HostScales {
    fn new(scales: &Scales) -> Result<Self> {
        let root = &scales.root;
        Ok(Self {
            change: several(&scales.change)?,
            change_mean: several(&scales.change_mean)?,
            carry: several(&scales.carry)?,
            fresh_change: several(&scales.fresh_change)?,
            steering_mean: several(&scales.steering_mean)?,
            steering_deviation: several(&scales.steering_deviation)?,
            lowest: several(&scales.lowest)?,
            highest: several(&scales.highest)?,
            root_deviation: several(&root.deviation)?,
            root_middle: several(&root.middle)?,
            root_change: several(&root.change)?,
            root_fresh: several(&root.fresh)?,
            root_most: several(&root.most)?,
            root_most_by_speed: several(&root.most_by_speed)?,
        })
    }
}

fn single(tensor: &Tensor) -> Result<f32> {
    Ok(f64::try_from(tensor)? as f32)
}

fn several(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::try_from(tensor.flatten(0, -1))?)
}

#[cfg(test)]
mod tests;
