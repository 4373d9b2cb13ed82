//! AdamW on one flat vector of parameters, with state that can be saved and restored exactly.
//!
//! LibTorch's own optimisers do not hand out their moments through `tch`; with all parameters in
//! one vector the update is a dozen passes over memory, whatever the number of layers.

use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::weights;

/// AdamW (Loshchilov and Hutter 2019) with decoupled weight decay.
#[derive(Debug)]
pub struct AdamW {
    variables: Vec<Tensor>,
    /// All parameters; the network's variables are views into it.
    pub parameters: Tensor,
    /// First moments.
    pub first: Tensor,
    /// Second moments.
    pub second: Tensor,
    betas: (f64, f64),
    weight_decay: f64,
}

const EPSILON: f64 = 1e-8;

impl AdamW {
    /// Moves a network's parameters into one flat vector and prepares zero moments.
    pub fn new(store: &VarStore, betas: (f64, f64), weight_decay: f64) -> Self {
        let mut variables = in_order(store);
        let parameters = tch::no_grad(|| flatten(&variables));
        let mut offset = 0;
        for variable in &mut variables {
            let count = variable.numel() as i64;
            let view = parameters.narrow(0, offset, count).view_(variable.size());
            tch::no_grad(|| variable.set_data(&view));
            offset += count;
        }
        let (first, second) = (parameters.zeros_like(), parameters.zeros_like());
        Self {
            variables,
            parameters,
            first,
            second,
            betas,
            weight_decay,
        }
    }

    /// Parameters and moments, under names that begin with `prefix`.
    pub fn state(&self, prefix: &str) -> [(String, Tensor); 3] {
        let parts = [
            ("parameters", &self.parameters),
            ("first", &self.first),
            ("second", &self.second),
        ];
        parts.map(|(name, tensor)| (format!("{prefix}{name}"), tensor.copy()))
    }

    /// Restores [`Self::state`].
    ///
    /// # Errors
    /// As [`weights::restore`].
    pub fn restore(&mut self, prefix: &str, state: &[(String, Tensor)]) -> Result<(), String> {
        for (name, target) in [
            ("parameters", &mut self.parameters),
            ("first", &mut self.first),
            ("second", &mut self.second),
        ] {
            weights::restore(&format!("{prefix}{name}"), state, target)?;
        }
        Ok(())
    }

    /// Forgets all gradients.
    pub fn zero_gradients(&mut self) {
        self.variables.iter_mut().for_each(Tensor::zero_grad);
    }

    /// Takes step number `step` (from 0). Gradients longer than `gradient_norm` are scaled down to
    /// it unless it is 0.
    pub fn step(&mut self, step: u64, learning_rate: f64, gradient_norm: f64) {
        tch::no_grad(|| {
            let gradients: Vec<Tensor> = self.variables.iter().map(Tensor::grad).collect();
            let mut gradient = flatten(&gradients);
            if gradient_norm > 0.0 {
                let factor = (gradient.norm().reciprocal() * gradient_norm).clamp_max(1.0);
                gradient *= factor;
            }
            let (beta1, beta2) = self.betas;
            let _ = self.first.lerp_(&gradient, 1.0 - beta1);
            self.second *= beta2;
            let _ = self
                .second
                .addcmul_(&gradient, &(&gradient * (1.0 - beta2)));
            let count = (step + 1) as f64;
            let (correction1, correction2) = (1.0 - beta1.powf(count), 1.0 - beta2.powf(count));
            let denominator = self.second.sqrt() / correction2.sqrt() + EPSILON;
            self.parameters *= 1.0 - learning_rate * self.weight_decay;
            self.parameters -= (&self.first * (learning_rate / correction1)) / denominator;
        });
    }
}

/// Copies a flat vector, such as [`AdamW::parameters`] or its average, into a network of the same build.
///
/// # Errors
/// LibTorch's.
pub fn unflatten(flat: &Tensor, store: &VarStore) -> Result<(), tch::TchError> {
    let mut offset = 0;
    tch::no_grad(|| {
        for mut variable in in_order(store) {
            let count = variable.numel() as i64;
            let values = flat.narrow(0, offset, count).view_(variable.size());
            variable.f_copy_(&values)?;
            offset += count;
        }
        Ok(())
    })
}

/// A network's variables in the order of a flat vector, which is that of their names.
fn in_order(store: &VarStore) -> Vec<Tensor> {
    let mut named: Vec<_> = store.variables().into_iter().collect();
    named.sort_by(|(first, _), (second, _)| first.cmp(second));
    named.into_iter().map(|(_, variable)| variable).collect()
}

fn flatten(tensors: &[Tensor]) -> Tensor {
    let flat: Vec<Tensor> = tensors
        .iter()
        .map(|tensor| tensor.detach().flatten(0, -1).to_kind(Kind::Float))
        .collect();
    Tensor::cat(&flat, 0)
}

/// Learning rate at a step: linear warm-up, then half a cosine down to 0 at `steps`.
pub fn cosine_with_warmup(step: u64, steps: u64, warmup: u64, peak: f64) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    peak * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::Init;

    use super::*;

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_gradient() {
        let store = VarStore::new(Device::Cpu);
        let x = store.root().var("x", &[2], Init::Const(1.0));
        let mut optimiser = AdamW::new(&store, (0.95, 0.999), 0.0);
        let target = Tensor::from_slice(&[3.0_f32, -3.0]);
        optimiser.zero_gradients();
        (&x - target).square().sum(Kind::Float).backward();
        optimiser.step(0, 0.1, 0.0);
        let values = Vec::<f32>::try_from(x.detach()).unwrap();
        assert!(
            (values[0] - 1.1).abs() < 1e-6 && (values[1] - 0.9).abs() < 1e-6,
            "{values:?}"
        );
    }

    #[test]
    fn it_finds_a_minimum() {
        let store = VarStore::new(Device::Cpu);
        let x = store.root().var("x", &[3], Init::Const(0.0));
        let mut optimiser = AdamW::new(&store, (0.9, 0.999), 0.0);
        for step in 0..500 {
            optimiser.zero_gradients();
            (&x - 2.0).square().sum(Kind::Float).backward();
            optimiser.step(step, cosine_with_warmup(step, 500, 10, 0.1), 1.0);
        }
        assert!(f64::try_from((x - 2.0).abs().max()).unwrap() < 1e-2);
    }

    #[test]
    fn the_rate_warms_up_and_falls_to_zero() {
        assert_eq!(cosine_with_warmup(0, 100, 10, 1.0), 0.1);
        assert_eq!(cosine_with_warmup(9, 100, 10, 1.0), 1.0);
        assert!((cosine_with_warmup(55, 100, 10, 1.0) - 0.5).abs() < 1e-12);
        assert!(cosine_with_warmup(100, 100, 10, 1.0) < 1e-12);
    }
}
