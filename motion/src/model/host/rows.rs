//! What lies between the networks of a frame, row by row: the arithmetic of [`super::super::sampling`] on
//! slices.

use kinestream_diffusion::executor::FusedMlp;

use super::{HostScales, ModelInputs, Module};
use crate::steering;

/// What lies between two networks; kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// What every character is told `[B, 2 E + S + 1]`.
    told: Vec<f32>,
    /// The change that is to be expected `[B, E]`.
    expected: Vec<f32>,
    aims: Vec<RootTarget>,
    /// What a network sees.
    pub(super) input: Vec<f32>,
    sample: Vec<f32>,
    clean: Vec<f32>,
    pub(super) decoded: Vec<f32>,
}

/// Where a pull wants the root, worked out as far as a frame's condition tells.
#[derive(Debug, Clone, Copy, Default)]
struct RootTarget {
    /// Wanted root motion less what carries on by itself.
    root: [f32; 3],
    /// What an innovation takes from that, negative.
    taken: [f32; 3],
    /// Farthest that an estimate is drawn.
    most: [f32; 3],
    /// Innovation for a unit of root motion, times the weight of the pull.
    reach: [f32; 3],
}

/// The random numbers of all characters, and where a module's begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct LatentNoise<'a> {
    pub(super) numbers: &'a [f32],
    /// Of one character.
    pub(super) length: usize,
    pub(super) first: usize,
}

impl LatentNoise<'_> {
    /// `count` numbers of a character, from a place among the module's on.
    fn of(&self, character: usize, from: usize, count: usize) -> &[f32] {
        &self.numbers[character * self.length + self.first + from..][..count]
    }
}

impl Rows {
    /// What every character is told `[B, 2 E + S + 1]`.
    pub(super) fn tell(
        &mut self,
        state: &[f32],
        wanted: ModelInputs<'_>,
        scales: &HostScales,
        size: usize,
    ) {
        self.told.clear();
        for ((state, steering), steered) in state
            .chunks_exact(2 * size)
            .zip(wanted.steering.chunks_exact(steering::SIZE))
            .zip(wanted.steered)
        {
            self.told.extend_from_slice(state);
            let units = steering.iter().zip(&scales.steering_mean);
            let units = units.zip(&scales.steering_deviation);
            (self.told)
                .extend(units.map(|((x, mean), deviation)| (x - mean) / deviation * steered));
            self.told.push(*steered);
        }
    }

    /// The change that is to be expected of every character `[B, E]`.
    pub(super) fn expect(
        &mut self,
        state: &[f32],
        predictor: Option<&mut FusedMlp>,
        scales: &HostScales,
        size: usize,
    ) {
        let states = state.chunks_exact(2 * size);
        self.expected.clear();
        self.expected.resize(states.len() * size, 0.0);
        if let Some(predictor) = predictor {
            predictor.evaluate(&self.told, &mut self.expected);
        }
        for (expected, state) in self.expected.chunks_exact_mut(size).zip(states) {
            for ((expected, change), carry) in
                expected.iter_mut().zip(&state[size..]).zip(&scales.carry)
            {
                *expected += change * carry;
            }
        }
    }

    /// Where the characters' roots are wanted.
    pub(super) fn aim(
        &mut self,
        state: &[f32],
        pull: [&[f32]; 2],
        scales: &HostScales,
        size: usize,
    ) {
        let [wanted, weights] = pull;
        self.aims.clear();
        for (row, state) in state.chunks_exact(2 * size).enumerate() {
            let last: [f32; 3] = std::array::from_fn(|at| {
                state[at] * scales.root_deviation[at] + scales.root_middle[at]
            });
            let speed = (last[0] * last[0] + last[1] * last[1]).sqrt();
            let carried = |at: usize| self.expected[row * size + at] * scales.root_change[at];
            self.aims.push(RootTarget {
                root: std::array::from_fn(|at| wanted[3 * row + at] - last[at] - carried(at)),
                taken: std::array::from_fn(|at| -scales.root_fresh[at]),
                most: std::array::from_fn(|at| {
                    scales.root_most[at] + speed * scales.root_most_by_speed[at]
                }),
                reach: std::array::from_fn(|at| weights[3 * row + at] / scales.root_fresh[at]),
            });
        }
    }

    /// What a module begins with: noise or, behind the first, the draft brought up to its noise.
    pub(super) fn begin(
        &mut self,
        module: &Module,
        is_first: bool,
        draw: LatentNoise<'_>,
        (count, size): (usize, usize),
    ) {
        self.sample.resize(count * size, 0.0);
        let [signal, deviation] = module.last;
        for (character, sample) in self.sample.chunks_exact_mut(size).enumerate() {
            let noise = draw.of(character, (module.timesteps - 1) * size, size);
            if is_first {
                sample.copy_from_slice(noise);
                continue;
            }
            for (sample, noise) in sample.iter_mut().zip(noise) {
                *sample = *sample * signal + noise * deviation;
            }
        }
    }

    /// Takes the samples `[B, E]` down all steps of a module.
    pub(super) fn denoise(
        &mut self,
        module: &mut Module,
        is_predicted: bool,
        aims: bool,
        draw: LatentNoise<'_>,
        (count, size): (usize, usize),
    ) {
        let told = self.told.len() / count;
        let [inputs, _] = module.network.sizes();
        let condition = told + if is_predicted { size } else { 0 };
        self.input.resize(count * inputs, 0.0);
        self.clean.resize(count * size, 0.0);
        for (character, input) in self.input.chunks_exact_mut(inputs).enumerate() {
            let seen = &mut input[size..][..condition];
            seen[..told].copy_from_slice(&self.told[character * told..][..told]);
            if is_predicted {
                let expected = &self.expected[character * size..][..size];
                seen[told..].copy_from_slice(expected);
            }
        }
        for step in &module.steps {
            for (character, input) in self.input.chunks_exact_mut(inputs).enumerate() {
                input[..size].copy_from_slice(&self.sample[character * size..][..size]);
                let (level, latent) = input[size + condition..].split_at_mut(step.level.len());
                level.copy_from_slice(&step.level);
                let from = module.timesteps * size + step.timestep * module.latent;
                latent.copy_from_slice(draw.of(character, from, module.latent));
            }
            module.network.evaluate(&self.input, &mut self.clean);
            if aims {
                for (clean, aim) in self.clean.chunks_exact_mut(size).zip(&self.aims) {
                    aim.draw(clean, step.signal);
                }
            }
            let Some(down) = &step.down else {
                self.sample.copy_from_slice(&self.clean);
                continue;
            };
            let rows = (self.sample.chunks_exact_mut(size)).zip(self.clean.chunks_exact(size));
            for (character, (sample, clean)) in rows.enumerate() {
                let noise = draw.of(character, down.timestep * size, size);
                for ((sample, clean), noise) in sample.iter_mut().zip(clean).zip(noise) {
                    *sample = clean * down.clean + *sample * down.sample + noise * down.deviation;
                }
            }
        }
    }

    /// The states that the innovations lead to.
    pub(super) fn advance(
        &self,
        state: &[f32],
        scales: &HostScales,
        size: usize,
        next: &mut [f32],
    ) {
        let rows = (state.chunks_exact(2 * size)).zip(next.chunks_exact_mut(2 * size));
        for (character, (state, next)) in rows.enumerate() {
            let expected = &self.expected[character * size..][..size];
            let innovation = &self.sample[character * size..][..size];
            let (frame, change) = next.split_at_mut(size);
            for at in 0..size {
                let drifted = state[at] + scales.change_mean[at];
                let moved = drifted
                    + expected[at] * scales.change[at]
                    + innovation[at] * scales.fresh_change[at];
                frame[at] = within(moved, scales.lowest[at], scales.highest[at]);
                change[at] = (frame[at] - drifted) / scales.change[at];
            }
        }
    }
}

impl RootTarget {
    /// Draws a clean estimate towards the aim, the more the more signal there is.
    fn draw(&self, clean: &mut [f32], signal: f32) {
        for (at, clean) in clean[..3].iter_mut().enumerate() {
            let gap = self.root[at] + *clean * self.taken[at];
            let gap = within(gap, -self.most[at], self.most[at]);
            *clean += self.reach[at] * signal * gap;
        }
    }
}

/// The number nearest to `value` between two others; NaN stays NaN, so that it is seen.
fn within(value: f32, lowest: f32, highest: f32) -> f32 {
    let value = if value < lowest { lowest } else { value };
    if value > highest { highest } else { value }
}
