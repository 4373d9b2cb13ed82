//! Seeded Gaussian noise, equal on every device and for every batch composition.
//!
//! Noise is drawn on the host from ChaCha12, one stream for each plan: a plan's numbers depend on
//! its seed alone, not on its neighbours in the batch nor on LibTorch's global generator.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of independent standard normal and uniform numbers.
#[derive(Debug, Clone)]
pub struct NoiseStream {
    generator: ChaCha12Rng,
    spare: Option<f32>,
}

impl NoiseStream {
    /// A stream that depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self {
            generator: ChaCha12Rng::seed_from_u64(seed),
            spare: None,
        }
    }

    /// A stream for one purpose (`stream`) under a common seed; different purposes never overlap.
    pub fn with_stream(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha12Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self {
            generator,
            spare: None,
        }
    }

    /// The next standard normal number (Box-Muller).
    pub fn normal(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // 1 - u lies in (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some((radius * sine) as f32);
        (radius * cosine) as f32
    }

    /// Fills a slice with standard normal numbers.
    pub fn fill_normal(&mut self, values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value = self.normal());
    }

    /// A vector of standard normal numbers.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// A uniform number in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A uniform integer in 0..bound, without bias worth noting (multiply-shift on 64 bits).
    ///
    /// Returns 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.generator.next_u64()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_and_streams_differ() {
        let mut first = NoiseStream::with_stream(7, 1);
        let mut second = NoiseStream::with_stream(7, 1);
        let mut other = NoiseStream::with_stream(7, 2);
        let numbers = first.normals(33);
        assert_eq!(numbers, second.normals(33));
        assert_ne!(numbers, other.normals(33));
    }

    #[test]
    fn moments_are_those_of_a_standard_normal() {
        let numbers = NoiseStream::new(1).normals(200_000);
        let mean = numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / 200_000.0;
        let variance = numbers.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / 200_000.0;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn integers_cover_their_range() {
        let mut stream = NoiseStream::new(3);
        let mut seen = [0_usize; 5];
        (0..5000).for_each(|_| seen[stream.below(5)] += 1);
        assert!(
            seen.iter().all(|count| (900..1100).contains(count)),
            "{seen:?}"
        );
    }
}
