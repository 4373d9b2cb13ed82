//! A policy: checkpoint, observation histories and planner behind one face, in the task's units.

use kinestream_diffusion::Denoiser;
use tch::Device;

use crate::checkpoint::{Checkpoint, Normalisers};
use crate::history::ObservationHistory;
use crate::plan::{self, Plan, Planner};
use crate::{Error, PolicyConfig, Result};

/// A policy that controls any number of independent streams.
pub struct Policy {
    config: PolicyConfig,
    normalisers: Normalisers,
    planner: Box<dyn Planner>,
    histories: Vec<ObservationHistory>,
    /// Actions of the current plan that [`Policy::step`] has handed out, by stream.
    executed: Vec<usize>,
    evaluations: u64,
}

impl Policy {
    /// A policy from a checkpoint, on the device that its weights are on.
    ///
    /// # Errors
    /// A plan configuration that does not fit the network.
    pub fn new(checkpoint: Checkpoint, device: Device, streams: usize) -> Result<Self> {
        let (config, normalisers, network) = checkpoint.into_parts();
        let sizes = network.dimensions();
        let observation = sizes.condition as usize / config.plan.observation_steps;
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
        let planner = plan::planner(&config, Box::new(network), device, streams)?;
        let history = ObservationHistory::new(config.plan.observation_steps);
        Ok(Self {
            config,
            normalisers,
            planner,
            histories: vec![history; streams],
            executed: vec![0; streams],
            evaluations: 0,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// Numbers per observation, Do.
    pub fn observation_size(&self) -> usize {
        self.normalisers.observation.size()
    }

    /// Numbers per action, Da.
    pub fn action_size(&self) -> usize {
        self.normalisers.action.size()
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
        self.executed[stream] = 0;
        Ok(())
    }

    /// Takes in an observation [Do] in the task's units.
    ///
    /// # Errors
    /// A wrong number of values, or one that is NaN or infinite: the observation is refused and
    /// everything stays as it was.
    pub fn observe(&mut self, stream: usize, observation: &[f32]) -> Result<()> {
        self.check(stream)?;
        let expected = self.observation_size();
        if observation.len() != expected {
            return Err(Error::ObservationSize {
                found: observation.len(),
                expected,
            });
        }
        if let Some(index) = observation.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFiniteObservation {
                index,
                value: observation[index],
            });
        }
        let actions = self.action_size();
        let mut anchor: Vec<f32> = match &self.config.plan.primer_columns {
            Some(columns) => columns.iter().map(|column| observation[*column]).collect(),
            None => (0..actions)
                .map(|at| observation.get(at).copied().unwrap_or(0.0))
                .collect(),
        };
        self.normalisers.action.normalise(&mut anchor);
        let mut row = observation.to_vec();
        self.normalisers.observation.normalise(&mut row);
        self.histories[stream].push(row);
        self.planner
            .observe(stream, &self.histories[stream].condition(), &anchor);
        Ok(())
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

    /// Rolls a stream's plan by the actions consumed since the last roll.
    pub fn advance(&mut self, stream: usize, consumed: usize) {
        self.planner.advance(stream, consumed);
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
            .for_each(|row| self.normalisers.action.restore(row));
        Ok(plan)
    }

    /// Lock-step control: observations in, one clean action per stream out. A new plan is made
    /// when Ta actions of the last one have been handed out.
    ///
    /// # Errors
    /// Any of the above.
    pub fn step(&mut self, streams: &[usize], observations: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        let (past, steps) = (self.config.plan.past(), self.config.plan.action_steps);
        for (&stream, observation) in streams.iter().zip(observations) {
            self.check(stream)?;
            if self.executed[stream] == steps {
                self.advance(stream, steps);
                self.executed[stream] = 0;
            }
            self.observe(stream, observation)?;
        }
        while self.refine(streams)? > 0 {}
        let size = self.action_size();
        streams
            .iter()
            .map(|&stream| {
                let plan = self.plan(stream)?;
                let at = (past + self.executed[stream]) * size;
                self.executed[stream] += 1;
                Ok(plan.actions[at..at + size].to_vec())
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
