//! NumPy's legacy random stream, which the environment's resets are drawn from.
//!
//! `RandomState(seed)`: MT19937 (M. Matsumoto and T. Nishimura, 1998), integers by rejection
//! under a bit mask, normal numbers by the polar method (G. Marsaglia).

const STATE_SIZE: usize = 624;
const SHIFT: usize = 397;

/// The stream of `numpy.random.RandomState(seed)`.
#[derive(Clone, Debug)]
pub(super) struct RandomState {
    state: [u32; STATE_SIZE],
    position: usize,
}

impl RandomState {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [0; STATE_SIZE];
        let mut value = seed;
        for (i, slot) in state.iter_mut().enumerate() {
            *slot = value;
            value = 1_812_433_253_u32
                .wrapping_mul(value ^ (value >> 30))
                .wrapping_add(i as u32 + 1);
        }
        Self {
            state,
            position: STATE_SIZE,
        }
    }

    /// Uniform integer in `low..high`.
    pub(super) fn integer(&mut self, low: u32, high: u32) -> u32 {
        let range = high.saturating_sub(low).saturating_sub(1);
        if range == 0 {
            return low;
        }
        let mask = u32::MAX >> range.leading_zeros();
        loop {
            let value = self.next_u32() & mask;
            if value <= range {
                return low + value;
            }
        }
    }

    /// Standard normal number: the first of a polar pair, as after seeding. Its twin is not
    /// kept because a reset draws one only.
    pub(super) fn normal(&mut self) -> f64 {
        loop {
            let x1 = 2.0 * self.unit() - 1.0;
            let x2 = 2.0 * self.unit() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                return (-2.0 * r2.ln() / r2).sqrt() * x2;
            }
        }
    }

    /// Uniform number in `[0, 1)` with 53 random bits.
    fn unit(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    fn next_u32(&mut self) -> u32 {
        if self.position == STATE_SIZE {
            self.refill();
        }
        let mut value = self.state[self.position];
        self.position += 1;
        value ^= value >> 11;
        value ^= (value << 7) & 0x9d2c_5680;
        value ^= (value << 15) & 0xefc6_0000;
        value ^ (value >> 18)
    }

    fn refill(&mut self) {
        for i in 0..STATE_SIZE {
            let next = self.state[(i + 1) % STATE_SIZE];
            let mixed = (self.state[i] & 0x8000_0000) | (next & 0x7fff_ffff);
            let mut value = self.state[(i + SHIFT) % STATE_SIZE] ^ (mixed >> 1);
            if mixed & 1 == 1 {
                value ^= 0x9908_b0df;
            }
            self.state[i] = value;
        }
        self.position = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_stream_equals_numpy() {
        let mut random = RandomState::new(100_000);
        let expected = [
            1_235_064_505,
            4_034_894_410,
            2_182_909_370,
            1_871_316_715,
            2_139_069_915,
            1_758_633_902,
        ];
        for value in expected {
            assert_eq!(random.next_u32(), value);
        }
    }

    #[test]
    fn draws_of_a_reset_equal_numpy() {
        let mut random = RandomState::new(100_000);
        assert_eq!(random.integer(50, 450), 235);
        assert_eq!(random.integer(50, 450), 124);
        assert_eq!(random.integer(100, 400), 335);
        assert_eq!(random.integer(100, 400), 128);
        assert_eq!(random.normal(), 0.355_976_326_626_735_95);
    }

    #[test]
    fn empty_and_single_ranges_yield_their_start() {
        let mut random = RandomState::new(0);
        assert_eq!(random.integer(7, 8), 7);
        assert_eq!(random.integer(7, 7), 7);
    }
}
