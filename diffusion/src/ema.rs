//! Exponential moving average of parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Decay of the average as a function of the training step: 1 - (1 + step / `inverse_gamma`)^-`power`, at most
/// `max_decay` (the schedule of Diffusion Policy's trainer, after Crowson).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmaConfig {
    /// Steps until the average begins to be long.
    pub inverse_gamma: f64,
    /// Exponent of the warm-up.
    pub power: f64,
    /// Largest decay, below 1.
    pub max_decay: f64,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self {
            inverse_gamma: 1.0,
            power: 0.75,
            max_decay: 0.9999,
        }
    }
}

impl EmaConfig {
    /// Decay at a training step (0 for the first).
    pub fn decay(&self, step: u64) -> f64 {
        (1.0 - (1.0 + step as f64 / self.inverse_gamma).powf(-self.power))
            .clamp(0.0, self.max_decay)
    }

    /// Moves `average` towards `parameters` in place: average = decay average + (1 - decay) parameters.
    pub fn update(&self, average: &mut Tensor, parameters: &Tensor, step: u64) {
        let _ = average.lerp_(parameters, 1.0 - self.decay(step));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_rises_from_zero_to_its_bound() {
        let ema = EmaConfig::default();
        assert_eq!(ema.decay(0), 0.0);
        assert!((ema.decay(999) - (1.0 - 1000_f64.powf(-0.75))).abs() < 1e-12);
        assert_eq!(ema.decay(u64::MAX), 0.9999);
    }

    #[test]
    fn the_first_update_copies() {
        let parameters = Tensor::from_slice(&[1.0_f32, -2.0]);
        let mut average = Tensor::from_slice(&[9.0_f32, 9.0]);
        EmaConfig::default().update(&mut average, &parameters, 0);
        assert_eq!(Vec::<f32>::try_from(average).unwrap(), [1.0, -2.0]);
    }
}
