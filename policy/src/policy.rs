//! A policy: checkpoint, observation histories and planner behind one face, in the task's units.

use kinestream_diffusion::{Denoiser, Execution, Executor};
use tch::Device;

use crate::checkpoint::Checkpoint;
use crate::config::ImageSize;
use crate::history::ObservationHistory;
use crate::image::Image;
use crate::observer::ObservationEncoder;
use crate::oddity::OddityWatch;
use crate::plan::{self, NoiseSource, Plan, Planner};
use crate::{Error, Normaliser, PolicyConfig, Result};

/// An observation of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Numbers `[Do]` in the task's units.
    pub numbers: &'a [f32],
    /// One image of each of [`Policy::cameras`].
    pub images: &'a [Image<'a>],
}

impl<'a> Observation<'a> {
    /// One without images.
    pub fn numbers(numbers: &'a [f32]) -> Self {
        let images = &[];
        Self { numbers, images }
    }
}

/// A policy that controls any number of independent streams.
pub struct Policy {
    config: PolicyConfig,
    observer: ObservationEncoder,
    actions: Normaliser,
    planner: Box<dyn Planner>,
    histories: Vec<ObservationHistory>,
    /// Actions consumed since the plan was last rolled, by stream; below Ta.
    consumed: Vec<usize>,
    /// Whether [`Policy::step`] has handed out an action since the reset, by stream.
    handed_out: Vec<bool>,
    evaluations: u64,
    executor: Executor,
}

impl Policy {
    /// A policy from a checkpoint, on the device that its weights are on, evaluated by LibTorch.
    ///
    /// # Errors
    /// A plan configuration that does not fit the network.
    pub fn new(checkpoint: Checkpoint, device: Device, streams: usize) -> Result<Self> {
        Self::executed(checkpoint, device, streams, Execution::LIBTORCH)
    }

    /// A policy from a checkpoint, whose network is evaluated as `execution` says.
    ///
    /// # Errors
    /// As [`Policy::new`], and those of [`Execution::denoiser`].
    pub fn executed(
        checkpoint: Checkpoint,
        device: Device,
        streams: usize,
        execution: Execution,
    ) -> Result<Self> {
        let (config, normalisers, network, vision) = checkpoint.into_parts();
        let sizes = network.dimensions();
        let observation = normalisers.observation.size();
        if let Some(columns) = &config.plan.primer_columns
            && (columns.len() != sizes.action as usize
                || columns.iter().any(|column| *column >= observation))
        {
            return Err(Error::Config {
                key: "plan.primer_columns",
                found: format!("{columns:?}"),
                expected: format!("{} numbers below {observation}", sizes.action),
            });
        }
        let observer = ObservationEncoder::new(&config, &normalisers, vision, device);
        let (network, executor) = execution.denoiser(network, device)?;
        let planner = plan::planner(&config, &normalisers.action, network, device, streams)?;
        let history = ObservationHistory::new(config.plan.observation_steps, config.period_ns());
        Ok(Self {
            config,
            observer,
            actions: normalisers.action,
            planner,
            histories: vec![history; streams],
            consumed: vec![0; streams],
            handed_out: vec![false; streams],
            evaluations: 0,
            executor,
        })
    }

    /// What evaluates the network: LibTorch or the fused kernels.
    pub fn executor(&self) -> Executor {
        self.executor
    }

    /// The configuration.
    pub fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// Numbers per observation, Do, its images left out.
    pub fn observation_size(&self) -> usize {
        self.observer.size()
    }

    /// Name and size of the image of every camera, in the order in which they are observed.
    pub fn cameras(&self) -> impl Iterator<Item = (&str, ImageSize)> {
        self.observer.cameras()
    }

    /// A watch over what a robot observes, for units that are not those of the training data.
    pub fn oddities(&self) -> OddityWatch {
        OddityWatch::new(&self.config, self.observer.numbers())
    }

    /// Numbers per action, Da.
    pub fn action_size(&self) -> usize {
        self.actions.size()
    }

    /// Number of streams.
    pub fn streams(&self) -> usize {
        self.histories.len()
    }

    /// Network evaluations so far, counted once per stream and evaluation.
    pub fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// Begins a stream anew; its randomness depends on `seed` alone.
    ///
    /// # Errors
    /// No such stream.
    pub fn reset(&mut self, stream: usize, seed: u64) -> Result<()> {
        self.check(stream)?;
        self.planner.reset(stream, seed);
        self.histories[stream].clear();
        self.consumed[stream] = 0;
        self.handed_out[stream] = false;
        Ok(())
    }

    /// Replaces a stream's random numbers until its next reset, for playing back recorded ones.
    ///
    /// # Errors
    /// No such stream.
    pub fn set_noise(&mut self, stream: usize, source: Box<dyn NoiseSource>) -> Result<()> {
        self.check(stream)?;
        self.planner.set_noise(stream, source);
        Ok(())
    }

    /// Takes in an observation `[Do]` in the task's units, of a policy without cameras.
    ///
    /// # Errors
    /// As [`Policy::observe_images`].
    pub fn observe(&mut self, stream: usize, observation: &[f32]) -> Result<()> {
        self.observe_images(stream, observation, &[])
    }

    /// Takes in an observation, one action after the one before: numbers `[Do]` in the task's units
    /// and one image of each of [`Policy::cameras`].
    ///
    /// # Errors
    /// A wrong number of values or images, an image of another size, or a number that is NaN or
    /// infinite: the observation is refused and everything stays as it was.
    pub fn observe_images(
        &mut self,
        stream: usize,
        observation: &[f32],
        images: &[Image<'_>],
    ) -> Result<()> {
        self.take(stream, observation, images, None)
    }

    /// As [`Policy::observe_images`], of an observation that was made at `time_ns` of its sender's
    /// clock. However often observations come, the network sees those one action apart.
    ///
    /// # Errors
    /// As [`Policy::observe_images`].
    pub fn observe_at(
        &mut self,
        stream: usize,
        time_ns: u64,
        observation: &[f32],
        images: &[Image<'_>],
    ) -> Result<()> {
        self.take(stream, observation, images, Some(time_ns))
    }

    fn take(
        &mut self,
        stream: usize,
        observation: &[f32],
        images: &[Image<'_>],
        time_ns: Option<u64>,
    ) -> Result<()> {
        self.check(stream)?;
        self.check_observation(observation, images)?;
        let actions = self.action_size();
        let mut anchor: Vec<f32> = match &self.config.plan.primer_columns {
            Some(columns) => columns.iter().map(|column| observation[*column]).collect(),
            None => (0..actions)
                .map(|at| observation.get(at).copied().unwrap_or(0.0))
                .collect(),
        };
        self.actions.normalise(&mut anchor);
        let row = self.observer.row(observation, images)?;
        match time_ns {
            Some(time_ns) => self.histories[stream].push_at(time_ns, row),
            None => self.histories[stream].push(row),
        }
        self.planner
            .observe(stream, &self.histories[stream].condition(), &anchor);
        Ok(())
    }

    /// Whether [`Policy::observe_images`] would take these numbers and images.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_observation(&self, observation: &[f32], images: &[Image<'_>]) -> Result<()> {
        self.observer.check(observation, images)
    }

    /// Network evaluations that are still needed until the next actions are clean.
    pub fn owed(&self, stream: usize) -> usize {
        self.planner.owed(stream)
    }

    /// One network evaluation for those of `streams` that owe one; returns for how many.
    ///
    /// # Errors
    /// A stream without an observation.
    pub fn refine(&mut self, streams: &[usize]) -> Result<usize> {
        let count = self.planner.refine(streams)?;
        self.evaluations += count as u64;
        Ok(count)
    }

    /// Counts actions consumed since the last call. When Ta or more have come together the plan
    /// rolls by them, and network evaluations are owed; until then it goes on as it is.
    pub fn advance(&mut self, stream: usize, consumed: usize) {
        let consumed = self.consumed[stream].saturating_add(consumed);
        if consumed < self.config.plan.action_steps {
            self.consumed[stream] = consumed;
        } else {
            self.planner.advance(stream, consumed);
            self.consumed[stream] = 0;
        }
    }

    /// A stream's plan in the task's units.
    ///
    /// # Errors
    /// The network returned NaN or infinity; the last good plan is back in place then.
    pub fn plan(&mut self, stream: usize) -> Result<Plan> {
        let mut plan = self.planner.plan(stream)?;
        let size = self.action_size();
        plan.actions
            .chunks_exact_mut(size)
            .for_each(|row| self.actions.restore(row));
        let consumed = self.consumed[stream];
        plan.current = (plan.current + consumed).min(self.config.plan.horizon - 1);
        plan.committed = plan.committed.saturating_sub(consumed);
        Ok(plan)
    }

    /// Asynchronous control: the plans that answer the newest observations of `streams`, of whose
    /// last plans `consumed` actions were consumed since the last answer.
    ///
    /// A plan's `current` position is the action due at its observation. Those that pass until the
    /// plan is there are to be dropped; with `plan.commit_ahead` that many of them are the ones
    /// that are executed meanwhile, bit for bit. Observations between two answers go to
    /// [`Policy::observe`] alone. Before the first plan nothing is consumed, however long it takes.
    ///
    /// # Errors
    /// A stream without an observation, or NaN or infinity from the network.
    pub fn answer(&mut self, streams: &[usize], consumed: &[usize]) -> Result<Vec<Plan>> {
        for (&stream, &consumed) in streams.iter().zip(consumed) {
            self.check(stream)?;
            self.advance(stream, consumed);
        }
        while self.refine(streams)? > 0 {}
        streams.iter().map(|stream| self.plan(*stream)).collect()
    }

    /// Lock-step control: observations in, one clean action per stream out. Every call counts as
    /// one action consumed, so a new plan is made at every Ta-th.
    ///
    /// # Errors
    /// Any of the above.
    pub fn step(
        &mut self,
        streams: &[usize],
        observations: &[Observation<'_>],
    ) -> Result<Vec<Vec<f32>>> {
        for (&stream, observation) in streams.iter().zip(observations) {
            self.check(stream)?;
            if self.handed_out[stream] {
                self.advance(stream, 1);
            }
            self.observe_images(stream, observation.numbers, observation.images)?;
        }
        while self.refine(streams)? > 0 {}
        let size = self.action_size();
        streams
            .iter()
            .map(|&stream| {
                let plan = self.plan(stream)?;
                self.handed_out[stream] = true;
                Ok(plan.actions[plan.current * size..][..size].to_vec())
            })
            .collect()
    }

    fn check(&self, stream: usize) -> Result<()> {
        if stream < self.streams() {
            Ok(())
        } else {
            Err(Error::NoSuchStream {
                stream,
                streams: self.streams(),
            })
        }
    }
}
