//! A problem with a known answer, to measure solvers with: numbers drawn from a mixture of
//! Gaussians, whose best denoiser and whose probability flow are known in closed form.
//!
//! Noise at a level with signal a and deviation s turns a component N(m, d^2) into one with mean a m
//! and variance a^2 d^2 + s^2, so the mean of the clean number given the noisy one is a sum over
//! components. The probability flow (Song et al. 2021, equation 13) carries every number along so
//! that the distributions stay right, and on a line that leaves one way: a number keeps its quantile.

use tch::{Device, Kind, Tensor};

use crate::network::Dimensions;
use crate::schedule::NoiseLevel;
use crate::{Denoiser, NoiseSchedule, PredictionType};

/// One Gaussian of a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Component {
    /// Share of the numbers; the shares of a mixture sum to 1.
    pub share: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
}

/// The best denoiser of independent numbers from a mixture, in double precision.
#[derive(Debug)]
pub struct Mixture {
    components: Vec<Component>,
    schedule: NoiseSchedule,
    prediction: PredictionType,
    dimensions: Dimensions,
    /// Signal and noise of the timesteps from -1 on, [N + 1] each.
    levels: [Tensor; 2],
}

/// Halvings of the interval in which a quantile is looked for.
const HALVINGS: usize = 70;

impl Mixture {
    /// A mixture for plans of `horizon` positions with one number each.
    pub fn new(
        components: Vec<Component>,
        schedule: NoiseSchedule,
        prediction: PredictionType,
        horizon: usize,
    ) -> Self {
        let timesteps = schedule.train_timesteps() as i64;
        let column = |value: fn(NoiseLevel) -> f64| {
            let values: Vec<f64> = (-1..timesteps)
                .map(|timestep| value(schedule.level(timestep)))
                .collect();
            Tensor::from_slice(&values)
        };
        Self {
            levels: [column(|level| level.signal), column(|level| level.noise)],
            components,
            prediction,
            dimensions: Dimensions {
                horizon: horizon as i64,
                action: 1,
                condition: 1,
                train_timesteps: timesteps,
            },
            schedule,
        }
    }

    /// Two narrow peaks and a wide one, as a plan that may pass left or right.
    pub fn three_peaks(
        schedule: NoiseSchedule,
        prediction: PredictionType,
        horizon: usize,
    ) -> Self {
        let component = |share, mean, deviation| Component {
            share,
            mean,
            deviation,
        };
        let components = vec![
            component(0.4, -0.7, 0.2),
            component(0.25, 0.1, 0.4),
            component(0.35, 0.8, 0.15),
        ];
        Self::new(components, schedule, prediction, horizon)
    }

    /// Mean of the clean numbers given the noisy ones, all of one shape; `signal` and `noise`
    /// broadcast to it.
    fn posterior_mean(&self, sample: &Tensor, signal: &Tensor, noise: &Tensor) -> Tensor {
        let parts = self.components.iter().map(|component| {
            let variance = signal.square() * component.deviation.powi(2) + noise.square();
            let off = sample - signal * component.mean;
            let log_share =
                component.share.ln() - 0.5 * (off.square() / &variance + variance.log());
            let gain = signal * component.deviation.powi(2) / variance;
            (log_share, component.mean + gain * off)
        });
        let (shares, means): (Vec<_>, Vec<_>) = parts.unzip();
        let shares = Tensor::stack(&shares, 0).softmax(0, Kind::Double);
        (shares * Tensor::stack(&means, 0)).sum_dim_intlist([0].as_slice(), false, Kind::Double)
    }

    /// Share of the noisy numbers below each of `sample`.
    fn quantile(&self, sample: &Tensor, level: NoiseLevel) -> Tensor {
        let mut sum = sample.zeros_like();
        for component in &self.components {
            let deviation = (level.signal * component.deviation).hypot(level.noise);
            let off = (sample - level.signal * component.mean) / deviation;
            sum += component.share * off.special_ndtr();
        }
        sum
    }

    /// Where the probability flow carries numbers of timestep `from` by timestep `to`; in double
    /// precision, to some 1e-13 for numbers within three deviations.
    pub fn carried(&self, sample: &Tensor, from: i64, to: i64) -> Tensor {
        let quantile = self.quantile(sample, self.schedule.level(from));
        let level = self.schedule.level(to);
        let (mut low, mut high) = (sample.full_like(-32.0), sample.full_like(32.0));
        for _ in 0..HALVINGS {
            let middle = (&low + &high) / 2.0;
            let below = self.quantile(&middle, level).lt_tensor(&quantile);
            low = middle.where_self(&below, &low);
            high = high.where_self(&below, &middle);
        }
        (low + high) / 2.0
    }

    /// Evenly spread quantiles of pure noise, `count` of them within two deviations, [1, count, 1].
    pub fn spread(count: usize) -> Tensor {
        Tensor::linspace(-2.0, 2.0, count as i64, (Kind::Double, Device::Cpu)).view([1, -1, 1])
    }
}

impl Denoiser for Mixture {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, _condition: &Tensor) -> Tensor {
        let at = (timesteps + 1).flatten(0, -1);
        let [signal, noise] = self.levels.each_ref().map(|column| {
            let size = timesteps.size();
            column.index_select(0, &at).view([size[0], size[1], 1])
        });
        let clean = self.posterior_mean(sample, &signal, &noise);
        // A clean position has no noise to speak of, and must not become NaN by that.
        let epsilon = || (sample - &signal * &clean) / noise.clamp_min(1e-12);
        match self.prediction {
            PredictionType::Sample => clean,
            PredictionType::Epsilon => epsilon(),
            PredictionType::Velocity => &signal * epsilon() - &noise * clean,
            PredictionType::FlowVelocity => epsilon() - clean,
        }
    }

    fn dimensions(&self) -> Dimensions {
        self.dimensions
    }

    fn takes_levels_per_position(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleConfig;

    fn mixture() -> Mixture {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        Mixture::three_peaks(schedule, PredictionType::Epsilon, 9)
    }

    #[test]
    fn the_flow_goes_there_and_back() {
        let mixture = mixture();
        let sample = Mixture::spread(9);
        let clean = mixture.carried(&sample, 99, -1);
        let back = mixture.carried(&clean, -1, 99);
        assert!(f64::try_from((back - sample).abs().max()).unwrap() < 1e-10);
    }

    /// dy / d rho = epsilon with y = x / signal and rho = noise / signal, by Euler's method in steps
    /// that are too short to see.
    #[test]
    fn the_flow_follows_the_denoiser() {
        let mixture = mixture();
        let (from, to) = (60, 59);
        let (now, next) = (mixture.schedule.level(from), mixture.schedule.level(to));
        let count = 2000;
        let mut scaled = Mixture::spread(9) / now.signal;
        let length = next.noise_ratio() - now.noise_ratio();
        for step in 0..count {
            let ratio = now.noise_ratio() + length * (f64::from(step) + 0.5) / f64::from(count);
            let signal = Tensor::from(1.0 / ratio.hypot(1.0));
            let noise = &signal * ratio;
            let sample = &scaled * &signal;
            let clean = mixture.posterior_mean(&sample, &signal, &noise);
            scaled += (sample - &signal * clean) / noise * (length / f64::from(count));
        }
        let expected = mixture.carried(&Mixture::spread(9), from, to) / next.signal;
        let error = f64::try_from((scaled - expected).abs().max()).unwrap();
        assert!(error < 1e-5, "{error}");
    }
}
