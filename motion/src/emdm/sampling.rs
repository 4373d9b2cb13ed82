//! From noise to clips, in as many denoise steps as are asked for.

use kinestream_diffusion::NoiseSchedule;
use kinestream_diffusion::noise::NoiseStream;
use tch::{Device, Kind, Tensor};

use super::conditions::{Conditions, Part};
use super::config::ClipConfig;
use super::network::ClipNetwork;
use crate::plan::{DenoiseStep, plan};

/// How much each condition counts: 1 as trained, above it more than that, 0 not at all. A condition
/// whose weight is not 1 costs one more row of every evaluation (classifier-free guidance, Ho and
/// Salimans 2022, with a weight for each condition).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    /// Of the label.
    pub label: f64,
    /// Of the pose before the clip.
    pub start: f64,
    /// Of the pose that it ends with.
    pub end: f64,
    /// Of the path.
    pub path: f64,
    /// Denoise steps that are guided, the first ones; 0 for all.
    pub steps: usize,
}

impl Default for Guidance {
    fn default() -> Self {
        Self {
            label: 1.0,
            start: 1.0,
            end: 1.0,
            path: 1.0,
            steps: 0,
        }
    }
}

impl Guidance {
    /// The conditions that do not count as trained, with what they count more.
    fn parts(self) -> Vec<(Part, f64)> {
        [
            (Part::Label, self.label),
            (Part::Start, self.start),
            (Part::End, self.end),
            (Part::Path, self.path),
        ]
        .into_iter()
        .filter(|(_, weight)| *weight != 1.0)
        .map(|(part, weight)| (part, weight - 1.0))
        .collect()
    }
}

/// Clips on their way from noise: one denoise step at a time, so that whoever has other work to do
/// meanwhile can do it in between.
#[derive(Debug)]
pub struct Denoising {
    conditions: Conditions,
    guided: Option<Guided>,
    plan: Vec<DenoiseStep>,
    done: usize,
    sample: Tensor,
    streams: Vec<NoiseStream>,
    sizes: Sizes,
}

/// The conditions with all their reductions in one batch.
#[derive(Debug)]
struct Guided {
    /// Steps that are guided, the first ones.
    steps: usize,
    stacked: Conditions,
    weights: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    token: i64,
    latent: i64,
    device: Device,
}

impl Denoising {
    /// Prepares clips for conditions, with a stream of random numbers for each: what a clip becomes
    /// does not depend on its neighbours. `evaluations` of the denoise steps are taken; 0, and what is
    /// more than all, for all.
    pub(crate) fn new(
        network: &ClipNetwork,
        schedule: &NoiseSchedule,
        config: &ClipConfig,
        size: i64,
        conditions: Conditions,
        guidance: Guidance,
        (seeds, evaluations): (&[u64], usize),
    ) -> Self {
        let all = config.steps();
        let evaluations = if evaluations == 0 { all } else { evaluations };
        let plan = plan(schedule, network.levels(), evaluations.min(all));
        let parts = guidance.parts();
        let guided = (!parts.is_empty()).then(|| {
            let reduced: Vec<Conditions> = parts
                .iter()
                .map(|(part, _)| conditions.without(*part))
                .collect();
            let every: Vec<&Conditions> = std::iter::once(&conditions).chain(&reduced).collect();
            Guided {
                steps: match guidance.steps {
                    0 => usize::MAX,
                    steps => steps,
                },
                stacked: Conditions::stacked(&every),
                weights: parts.iter().map(|(_, weight)| *weight).collect(),
            }
        });
        let sizes = Sizes {
            token: size * config.patch as i64,
            latent: config.latent,
            device: network.levels().device(),
        };
        let mut streams: Vec<NoiseStream> =
            seeds.iter().map(|seed| NoiseStream::new(*seed)).collect();
        let sample = sizes.noise(&mut streams, &conditions);
        Self {
            sample,
            conditions,
            guided,
            plan,
            done: 0,
            streams,
            sizes,
        }
    }

    /// Denoise steps in all.
    pub fn steps(&self) -> usize {
        self.plan.len()
    }

    /// Whether all are done.
    pub fn is_done(&self) -> bool {
        self.done == self.plan.len()
    }

    /// Takes one step.
    pub(crate) fn advance(&mut self, network: &ClipNetwork) {
        let Some(step) = self.plan.get(self.done) else {
            return;
        };
        let _guard = tch::no_grad_guard();
        let count = self.sample.size()[0];
        let latent = (self.sizes.latent > 0).then(|| {
            let numbers: Vec<f32> = self
                .streams
                .iter_mut()
                .flat_map(|stream| stream.normals(self.sizes.latent as usize))
                .collect();
            Tensor::from_slice(&numbers)
                .view([count, -1])
                .to_device(self.sizes.device)
        });
        let guided = self.guided.as_ref();
        let clean = match guided.filter(|guided| self.done < guided.steps) {
            None => {
                let levels = step.level.expand([count, -1], false);
                network.predict(&self.sample, &levels, &self.conditions, latent.as_ref())
            }
            Some(guided) => {
                let times = 1 + guided.weights.len() as i64;
                let levels = step.level.expand([times * count, -1], false);
                let latent = latent.map(|latent| latent.repeat([times, 1]));
                let sample = self.sample.repeat([times, 1, 1]);
                let all = network.predict(&sample, &levels, &guided.stacked, latent.as_ref());
                let full = all.narrow(0, 0, count);
                let mut sum = full.copy();
                for (index, weight) in guided.weights.iter().enumerate() {
                    let without = all.narrow(0, (index as i64 + 1) * count, count);
                    sum += (&full - without) * *weight;
                }
                sum
            }
        };
        self.sample = match &step.down {
            None => clean,
            Some(down) => {
                let noise = self.sizes.noise(&mut self.streams, &self.conditions);
                (clean * &down.clean)
                    .addcmul(&self.sample, &down.sample)
                    .addcmul(&noise, &down.deviation)
            }
        };
        self.done += 1;
    }

    /// The clips `[B, P, patch E]`, and the conditions they were made for.
    pub(crate) fn finish(self) -> (Tensor, Conditions) {
        (self.sample, self.conditions)
    }
}

impl Sizes {
    /// Standard normal numbers `[B, P, token]`, of every clip as many as it has patches.
    fn noise(&self, streams: &mut [NoiseStream], conditions: &Conditions) -> Tensor {
        let most = conditions.most();
        let token = self.token as usize;
        let mut numbers = vec![0.0_f32; streams.len() * most * token];
        for ((row, stream), length) in numbers
            .chunks_exact_mut(most * token)
            .zip(streams)
            .zip(conditions.lengths())
        {
            stream.fill_normal(&mut row[..length * token]);
        }
        Tensor::from_slice(&numbers)
            .view([-1, most as i64, self.token])
            .to_device_(self.device, Kind::Float, false, false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn conditions(lengths: &[usize], labels: &[i64]) -> Conditions {
        Conditions::new(lengths, 2, 26, Device::Cpu).labelled(labels)
    }

    fn largest(tensor: &Tensor) -> f64 {
        f64::try_from(tensor.abs().max()).unwrap()
    }

    #[test]
    fn a_clip_depends_on_its_seed_and_not_on_its_neighbours() {
        let model = testing::model(3);
        let usual = Guidance::default();
        let both = model.sample(conditions(&[6, 9], &[0, 1]), usual, &[5, 6], 0);
        let alone = model.sample(conditions(&[6], &[0]), usual, &[5], 0);
        let other = model.sample(conditions(&[6], &[0]), usual, &[7], 0);
        let first = both.narrow(0, 0, 1).narrow(1, 0, 24);
        assert!(largest(&(&first - &alone)) < 1e-4);
        assert!(largest(&(&first - &other)) > 1e-2);
    }

    #[test]
    fn guidance_draws_away_from_what_is_made_without_the_condition() {
        let model = testing::model(3);
        let made = |label: f64| {
            let guidance = Guidance {
                label,
                ..Guidance::default()
            };
            model.sample(conditions(&[5], &[1]), guidance, &[1], 1)
        };
        let without = model.sample(
            Conditions::new(&[5], 2, 26, Device::Cpu),
            Guidance::default(),
            &[1],
            1,
        );
        // One step from noise is linear in the estimates.
        assert!(largest(&(made(0.0) - &without)) < 1e-5);
        let expected = &without + (made(1.0) - &without) * 3.0;
        assert!(largest(&(made(3.0) - expected)) < 1e-4);
    }

    #[test]
    fn guidance_of_the_first_steps_costs_and_counts_in_them_alone() {
        let model = testing::model(3);
        let made = |label: f64, steps: usize, evaluations: usize| {
            let guidance = Guidance {
                label,
                steps,
                ..Guidance::default()
            };
            model.sample(conditions(&[5], &[1]), guidance, &[1], evaluations)
        };
        let apart = |one: Tensor, other: Tensor| largest(&(one - other));
        assert!(apart(made(3.0, 1, 1), made(3.0, 0, 1)) < 1e-6);
        assert!(apart(made(3.0, 4, 4), made(3.0, 0, 4)) < 1e-6);
        assert!(apart(made(3.0, 1, 4), made(3.0, 0, 4)) > 1e-4);
        assert!(apart(made(3.0, 1, 4), made(1.0, 0, 4)) > 1e-4);
    }

    #[test]
    fn as_many_steps_are_taken_as_are_asked_for() {
        let model = testing::model(0);
        for (asked, expected) in [(0, 10), (1, 1), (4, 4), (99, 10)] {
            let denoising =
                model.denoising(conditions(&[3], &[0]), Guidance::default(), &[1], asked);
            assert_eq!(denoising.steps(), expected);
        }
    }
}
