//! Tests of single steps, without memory.

use proptest::prelude::*;

use super::*;
use crate::{Ddim, ScheduleConfig};

fn sampler(prediction: PredictionType, solver: Solver) -> Sampler {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    Sampler::new(
        SamplerConfig {
            prediction,
            solver,
            clip_sample: None,
        },
        schedule,
    )
    .unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

/// What a perfect network would answer.
fn output(sampler: &Sampler, clean: &Tensor, noise: &Tensor, timesteps: &[i64]) -> Tensor {
    sampler.target(clean, noise, timesteps)
}

#[test]
fn steps_on_the_host_are_those_of_libtorch_bit_for_bit() {
    let mut random = crate::noise::NoiseStream::new(3);
    let mut tensor = || Tensor::from_slice(&random.normals(48)).view([2, 8, 3]);
    let moves: Vec<Transition> = (0..16)
        .map(|at| Transition {
            from: 6 * at - 1,
            to: (6 * at - 4).max(-1),
        })
        .collect();
    for prediction in [
        PredictionType::Epsilon,
        PredictionType::Sample,
        PredictionType::Velocity,
    ] {
        for solver in [Solver::DDPM, Solver::DDIM, Solver::Ddim(Ddim { eta: 0.7 })] {
            for clip_sample in [None, Some(0.8)] {
                let mut sampler = sampler(prediction, solver);
                sampler.config.clip_sample = clip_sample;
                let (sample, output, noise) = (tensor(), tensor(), tensor());
                // Not contiguous, as a network's output may be.
                let output = output.transpose(0, 1).contiguous().transpose(0, 1);
                let host = sampler.step(&sample, &output, &moves, Some(&noise));
                let torch = sampler.any_step(&sample, &output, &moves, Some(&noise), &[]);
                let guided = sampler.guided_on_both_paths(&sample, &output, &moves, &noise);
                let bits = |tensor: &Tensor| -> Vec<u32> {
                    values(tensor).into_iter().map(f32::to_bits).collect()
                };
                assert_eq!(bits(&host), bits(&torch), "{prediction:?} {solver:?}");
                let [host, torch] = guided;
                assert_eq!(bits(&host), bits(&torch), "{prediction:?} {solver:?}");
                let timesteps: Vec<i64> = moves.iter().map(|transition| transition.from).collect();
                let numbers =
                    |tensor: &Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
                let mut noised = numbers(&sample);
                sampler.add_noise_on_host(&mut noised, &numbers(&noise), &timesteps);
                let expected = sampler.add_noise(&sample, &noise, &timesteps);
                assert_eq!(noised, numbers(&expected));
            }
        }
    }
}

#[test]
fn a_perfect_prediction_is_recovered_whatever_is_predicted() {
    let clean = Tensor::from_slice(&[0.3_f32, -0.7, 0.9, 0.1]).view([1, 4, 1]);
    let noise = Tensor::from_slice(&[1.1_f32, -0.4, 0.2, -1.9]).view([1, 4, 1]);
    let timesteps = [2_i64, 30, 60, 90];
    for prediction in [
        PredictionType::Epsilon,
        PredictionType::Sample,
        PredictionType::Velocity,
    ] {
        let sampler = sampler(prediction, Solver::DDIM);
        let sample = sampler.add_noise(&clean, &noise, &timesteps);
        let out = output(&sampler, &clean, &noise, &timesteps);
        let estimate = sampler.clean_estimate(&sample, &out, &timesteps);
        let error = f64::try_from((estimate - &clean).abs().max()).unwrap();
        assert!(error < 1e-4, "{prediction:?}: {error}");
        // DDIM with a perfect prediction lands on the same noise at the lower level.
        let lower = [1_i64, 20, 60, -1];
        let moves: Vec<_> = timesteps
            .iter()
            .zip(lower)
            .map(|(&from, to)| Transition { from, to })
            .collect();
        let next = sampler.step(&sample, &out, &moves, None);
        let expected = sampler.add_noise(&clean, &noise, &lower);
        let error = f64::try_from((next - expected).abs().max()).unwrap();
        assert!(error < 1e-4, "{prediction:?}: {error}");
    }
}

#[test]
fn clipping_bounds_the_clean_estimate() {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    let config = SamplerConfig {
        prediction: PredictionType::Sample,
        solver: Solver::DDIM,
        clip_sample: Some(1.0),
    };
    let sampler = Sampler::new(config, schedule).unwrap();
    let sample = Tensor::zeros([1, 1, 2], (Kind::Float, Device::Cpu));
    let out = Tensor::from_slice(&[5.0_f32, -5.0]).view([1, 1, 2]);
    let next = sampler.step(&sample, &out, &[Transition { from: 3, to: -1 }], None);
    assert_eq!(values(&next), [1.0, -1.0]);
}

#[test]
fn the_last_ddpm_step_adds_no_noise() {
    let sampler = sampler(PredictionType::Epsilon, Solver::DDPM);
    assert!(!sampler.needs_noise(&[Transition { from: 0, to: -1 }]));
    assert!(sampler.needs_noise(&[Transition { from: 1, to: 0 }]));
}

#[test]
fn bad_settings_are_refused_by_name() {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    let config = SamplerConfig {
        prediction: PredictionType::Epsilon,
        solver: Solver::Ddim(Ddim { eta: 1.5 }),
        clip_sample: None,
    };
    let message = Sampler::new(config, schedule).unwrap_err().to_string();
    assert!(message.contains("sampler.solver.eta"), "{message}");
}

proptest! {
    #[test]
    fn positions_do_not_influence_each_other(
        from in prop::collection::vec(-1_i64..100, 6), seed in 0_u64..1000
    ) {
        for solver in [Solver::DDPM, Solver::Ddim(Ddim { eta: 0.5 })] {
            let sampler = sampler(PredictionType::Epsilon, solver);
            let mut noise = crate::noise::NoiseStream::new(seed);
            let mut random = || Tensor::from_slice(&noise.normals(12)).view([1, 6, 2]);
            let (sample, out, fresh) = (random(), random(), random());
            let moves: Vec<_> = from
                .iter()
                .map(|&from| Transition { from, to: (from - 7).max(-1) })
                .collect();
            let together = sampler.step(&sample, &out, &moves, Some(&fresh));
            for (index, transition) in moves.iter().enumerate() {
                let at = |tensor: &Tensor| tensor.narrow(1, index as i64, 1);
                let alone =
                    sampler.step(&at(&sample), &at(&out), &[*transition], Some(&at(&fresh)));
                prop_assert_eq!(values(&alone), values(&at(&together)));
                if transition.from < 0 {
                    prop_assert_eq!(values(&alone), values(&at(&sample)));
                }
            }
        }
    }
}

impl Sampler {
    /// A step that is drawn to a target, on the host and in tensors.
    fn guided_on_both_paths(
        &self,
        sample: &Tensor,
        output: &Tensor,
        moves: &[Transition],
        noise: &Tensor,
    ) -> [Tensor; 2] {
        let size = sample.size();
        let pull = Tensor::linspace(0.0, 1.2, size[0] * size[1], (Kind::Float, Device::Cpu));
        let guide = crate::TargetGuidance {
            target: sample.sin(),
            pull: pull.view([size[0], size[1], 1]),
        };
        let [mut next, output_numbers, noise_numbers] = [sample, output, noise].map(|tensor| {
            let mut numbers = vec![0.0_f32; tensor.numel()];
            tensor.copy_data(&mut numbers, tensor.numel());
            numbers
        });
        let guides: [&dyn Guidance; 1] = [&guide];
        self.step_on_host(
            &mut next,
            &output_numbers,
            moves,
            Some(&noise_numbers),
            &guides,
        );
        [
            Tensor::from_slice(&next).view_as(sample),
            self.guided_step(sample, output, moves, Some(noise), &guides),
        ]
    }
}
