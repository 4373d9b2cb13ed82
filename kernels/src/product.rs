//! Packed products: weights rounded and rearranged once, in the order in which they are read.

// Hands checked slices to the instruction sets.
#![allow(unsafe_code)]

use crate::arena::{Arena, Span};
use crate::isa::{self, Functions, LANES, Scratch};
use crate::precision::to_half;
use crate::{Error, Precision, Result};

/// Weights before packing.
pub(crate) struct Source<'a> {
    /// Name of the tensor, for errors.
    pub(crate) name: &'a str,
    /// Output channels.
    pub(crate) outputs: usize,
    /// Input channels.
    pub(crate) inputs: usize,
    /// Width of the convolution; 1 for a linear layer.
    pub(crate) taps: usize,
    /// Weight of an output, an input and a tap.
    pub(crate) weight: &'a dyn Fn(usize, usize, usize) -> f32,
    /// One number per output; none for zeros.
    pub(crate) bias: Option<&'a [f32]>,
}

/// A linear layer, or a convolution over positions, with packed weights.
#[derive(Debug)]
pub(crate) struct Packed {
    weights: Span,
    precision: Precision,
    /// Whether two inputs are multiplied at a time, in whole numbers.
    in_pairs: bool,
    /// Padded to whole panels; empty where nothing is scaled.
    scale: Vec<f32>,
    /// Padded to whole panels.
    bias: Vec<f32>,
    pub(crate) outputs: usize,
    inputs: usize,
    taps: usize,
    /// Panels in a block.
    pub(crate) width: usize,
}

/// Where a product reads its input, and how many positions it makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Where the first tap of the first position reads channel 0.
    pub(crate) start: usize,
    /// Numbers from one channel to the next.
    pub(crate) row: usize,
    /// Input positions from one output position to the next.
    pub(crate) stride: usize,
    /// Output positions.
    pub(crate) positions: usize,
}

impl Packed {
    /// Packs weights for an instruction set and for this many positions. Those of one byte are
    /// multiplied in whole numbers where there are several positions: one position takes as long as its
    /// weights need to come.
    ///
    /// # Errors
    /// No memory, or a weight beyond the precision's range.
    pub(crate) fn new(
        arena: &mut Arena,
        functions: &Functions,
        precision: Precision,
        positions: usize,
        source: &Source<'_>,
    ) -> Result<Self> {
        let Source {
            outputs,
            inputs,
            taps,
            weight,
            ..
        } = *source;
        let panels = outputs.div_ceil(LANES);
        let mut width = 4;
        while width > 1
            && (width * positions > functions.registers().max(width)
                || !panels.is_multiple_of(width))
        {
            width /= 2;
        }
        let mut bias = vec![0.0; panels * LANES];
        if let Some(values) = source.bias {
            bias[..outputs].copy_from_slice(values);
        }
        let mut scale = Vec::new();
        if precision == Precision::Int8 {
            scale.resize(panels * LANES, 0.0);
            for (output, scale) in scale[..outputs].iter_mut().enumerate() {
                let weights = (0..inputs)
                    .flat_map(|input| (0..taps).map(move |tap| weight(output, input, tap).abs()));
                *scale = weights.fold(0.0, f32::max) / 127.0;
            }
        }
        let bytes = precision.bytes();
        let in_pairs = precision == Precision::Int8 && positions > 1;
        let together = if in_pairs { 2 } else { 1 };
        let groups = inputs.div_ceil(together);
        let (span, packed) = arena.take(panels * LANES * groups * together * taps * bytes)?;
        let lanes = width * LANES;
        for (index, vector) in packed
            .chunks_exact_mut(lanes * together * bytes)
            .enumerate()
        {
            let (block, at) = (index / (groups * taps), index % (groups * taps));
            let (group, tap) = (at / taps, at % taps);
            let outputs = block * lanes..outputs.min((block + 1) * lanes);
            let inputs = group * together..inputs.min((group + 1) * together);
            let places = vector.chunks_exact_mut(together * bytes);
            let both = outputs.zip(places).flat_map(|(output, places)| {
                let places = places.chunks_exact_mut(bytes);
                inputs
                    .clone()
                    .zip(places)
                    .map(move |(input, place)| (output, input, place))
            });
            for (output, input, place) in both {
                let value = weight(output, input, tap);
                let refused = || Error::OutOfRange {
                    name: source.name.into(),
                    value,
                    precision: precision.name(),
                };
                if !value.is_finite() {
                    return Err(refused());
                }
                match precision {
                    Precision::Fp32 => place.copy_from_slice(&value.to_ne_bytes()),
                    Precision::Fp16 => {
                        let half = to_half(value);
                        if half & 0x7c00 == 0x7c00 {
                            return Err(refused());
                        }
                        place.copy_from_slice(&half.to_ne_bytes());
                    }
                    Precision::Int8 => {
                        // A channel of zeros has scale 0.
                        let steps = value / scale[output].max(f32::MIN_POSITIVE);
                        place[0] = steps.round().clamp(-127.0, 127.0) as i8 as u8;
                    }
                }
            }
        }
        Ok(Self {
            weights: span,
            precision,
            in_pairs,
            scale,
            bias,
            outputs,
            inputs,
            taps,
            width,
        })
    }

    /// Panels of 16 outputs, the last one padded.
    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Multiplications of one position.
    pub(crate) fn multiplications(&self) -> usize {
        self.outputs * self.inputs * self.taps
    }

    /// Bytes of packed weights.
    pub(crate) fn bytes(&self) -> usize {
        self.panels() * LANES * self.inputs * self.taps * self.precision.bytes()
    }

    /// Numbers of the scratch that a product needs.
    pub(crate) fn scratch(&self, window: &Window) -> usize {
        match self.in_pairs {
            true => Scratch::length(self.inputs, window.positions, window.stride, self.taps),
            false => 0,
        }
    }

    /// One past the last number of the input that is read.
    pub(crate) fn reach(&self, window: &Window) -> usize {
        window.start
            + (self.inputs - 1) * window.row
            + (window.positions - 1) * window.stride
            + self.taps
    }

    /// From an input [channel][position] to an output [panel][position][16].
    pub(crate) fn apply(
        &self,
        functions: &Functions,
        arena: &Arena,
        input: &[f32],
        window: &Window,
        output: &mut [f32],
    ) {
        assert!(self.reach(window) <= input.len());
        assert!(self.panels() * window.positions * LANES <= output.len());
        let panel = window.positions * LANES;
        let mut scratch = vec![0; self.scratch(window)];
        // SAFETY: both slices reach as far as the product does, and the output is borrowed mutably.
        unsafe {
            self.run(
                functions,
                arena,
                input.as_ptr(),
                window,
                (0, self.panels()),
                Output {
                    start: output.as_mut_ptr(),
                    panel,
                    step: LANES,
                    scratch: Scratch(scratch.as_mut_ptr()),
                },
            );
        }
    }

    /// From `rows` rows of inputs, one behind the other, to as many rows of whole panels of outputs. A
    /// row's numbers depend on that row alone: it takes weights that are not multiplied in pairs, whose
    /// inputs are rounded by one scale for all.
    pub(crate) fn apply_rows(
        &self,
        functions: &Functions,
        arena: &Arena,
        (input, stride): (&[f32], usize),
        rows: usize,
        output: &mut [f32],
    ) {
        let window = Window {
            start: 0,
            row: 1,
            stride,
            positions: rows,
        };
        let length = self.panels() * LANES;
        assert!(!self.in_pairs && self.taps == 1);
        assert!(self.reach(&window) <= input.len());
        assert!(rows * length <= output.len());
        // SAFETY: both slices reach as far as the product does, and the output is borrowed mutably.
        unsafe {
            self.run(
                functions,
                arena,
                input.as_ptr(),
                &window,
                (0, self.panels()),
                Output {
                    start: output.as_mut_ptr(),
                    panel: LANES,
                    step: length,
                    scratch: Scratch(std::ptr::null_mut()),
                },
            );
        }
    }

    /// Computes a range of panels, whole blocks.
    ///
    /// # Safety
    /// `input` has [`Self::reach`] numbers that nobody writes meanwhile; nobody else uses the range's
    /// panels of the output, which are there, nor its scratch, which has [`Self::scratch`] numbers.
    pub(crate) unsafe fn run(
        &self,
        functions: &Functions,
        arena: &Arena,
        input: *const f32,
        window: &Window,
        panels: (usize, usize),
        output: Output,
    ) {
        debug_assert!(panels.0.is_multiple_of(self.width) && panels.1.is_multiple_of(self.width));
        let product = isa::Product {
            weights: arena.bytes(self.weights).as_ptr(),
            scale: if self.scale.is_empty() {
                std::ptr::null()
            } else {
                self.scale.as_ptr()
            },
            bias: self.bias.as_ptr(),
            // SAFETY: the start lies within the input.
            input: unsafe { input.add(window.start) },
            row: window.row,
            inputs: self.inputs,
            taps: self.taps,
            stride: window.stride,
            positions: window.positions,
            blocks: (panels.0 / self.width, panels.1 / self.width),
            width: self.width,
            output: output.start,
            panel: output.panel,
            step: output.step,
        };
        // SAFETY: weights, scale and bias have one place for every output of whole panels; the
        // caller promises the rest.
        unsafe {
            match self.in_pairs {
                true => functions.multiply_pairs(&product, &output.scratch),
                false => functions.multiply(&product, self.precision),
            }
        }
    }
}

/// Where a product writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Panel 0, position 0.
    pub(crate) start: *mut f32,
    /// Numbers from one panel to the next.
    pub(crate) panel: usize,
    /// Numbers from one position to the next.
    pub(crate) step: usize,
    /// Where the input is rounded to.
    pub(crate) scratch: Scratch,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    /// Numbers between -1 and 1 without a pattern.
    fn number(index: usize) -> f32 {
        let mixed = (index as u32 + 1).wrapping_mul(2_654_435_761);
        (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A product of numbers without a pattern: the input, and the output.
    fn product(isa: Isa, precision: Precision, sizes: [usize; 5]) -> (Vec<f32>, Vec<f32>) {
        let [outputs, inputs, taps, positions, stride] = sizes;
        let functions = isa.functions().unwrap();
        let mut arena = Arena::default();
        let weight = |o: usize, i: usize, t: usize| number((o * inputs + i) * taps + t);
        let bias: Vec<f32> = (0..outputs).map(|o| number(o + 77)).collect();
        let source = Source {
            name: "test",
            outputs,
            inputs,
            taps,
            weight: &weight,
            bias: Some(&bias),
        };
        let packed = Packed::new(&mut arena, &functions, precision, positions, &source).unwrap();
        let row = (positions - 1) * stride + taps + 3;
        let input: Vec<f32> = (0..inputs * row).map(|at| number(at + 1000)).collect();
        let window = Window {
            start: 1,
            row,
            stride,
            positions,
        };
        let mut output = vec![f32::NAN; packed.panels() * positions * LANES];
        packed.apply(&functions, &arena, &input, &window, &mut output);
        (input, output)
    }

    /// Largest difference from a product in double precision.
    fn worst(isa: Isa, precision: Precision, sizes: [usize; 5]) -> f64 {
        let [outputs, inputs, taps, positions, stride] = sizes;
        let (input, output) = product(isa, precision, sizes);
        let row = input.len() / inputs;
        let weight = |o: usize, i: usize, t: usize| number((o * inputs + i) * taps + t);
        let mut worst = 0.0_f64;
        for o in 0..outputs {
            for p in 0..positions {
                let mut sum = f64::from(number(o + 77));
                for i in 0..inputs {
                    for t in 0..taps {
                        let x = input[1 + i * row + p * stride + t];
                        sum += f64::from(weight(o, i, t)) * f64::from(x);
                    }
                }
                let found = output[(o / LANES * positions + p) * LANES + o % LANES];
                worst = worst.max((f64::from(found) - sum).abs());
            }
        }
        worst
    }

    #[test]
    fn every_instruction_set_multiplies() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for sizes in [
                [64, 24, 5, 16, 1],
                [64, 24, 3, 4, 2],
                [128, 16, 1, 1, 1],
                [40, 7, 3, 8, 2],
                [2, 64, 1, 16, 1],
                [48, 5, 2, 21, 1],
                [32, 9, 3, 2, 2],
                [33, 3, 5, 31, 1],
            ] {
                let error = worst(isa, Precision::Fp32, sizes);
                assert!(error < 5e-6, "{isa:?} {sizes:?}: {error:e}");
                let error = worst(isa, Precision::Fp16, sizes);
                assert!(error < 2e-2, "{isa:?} {sizes:?} fp16: {error:e}");
                let error = worst(isa, Precision::Int8, sizes);
                assert!(error < 8e-2, "{isa:?} {sizes:?} int8: {error:e}");
            }
        }
    }

    /// Sums of rounded numbers are exact, also where one of 32 bits does not hold all of them.
    #[test]
    fn instruction_sets_agree_on_whole_numbers() {
        for sizes in [[33, 301, 5, 8, 1], [48, 700, 1, 3, 1], [64, 31, 3, 4, 2]] {
            let (_, expected) = product(Isa::Portable, Precision::Int8, sizes);
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                let (_, found) = product(isa, Precision::Int8, sizes);
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (found - expected).abs();
                    assert!(
                        error < 2e-6 * (1.0 + expected.abs()),
                        "{isa:?} {sizes:?}: {error:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn instruction_sets_agree_on_rounded_weights() {
        // The differences above are the rounding of weights; here weights are whole numbers of
        // 1/127, which int8 holds exactly where the largest of a channel is 1.
        let functions = Isa::detect().functions().unwrap();
        let mut arena = Arena::default();
        let weight = |o: usize, i: usize, _: usize| ((o + i) % 128) as f32;
        let source = Source {
            name: "test",
            outputs: 16,
            inputs: 128,
            taps: 1,
            weight: &weight,
            bias: None,
        };
        let packed = Packed::new(&mut arena, &functions, Precision::Int8, 1, &source).unwrap();
        let input = vec![1.0; 128];
        let mut output = [0.0; 16];
        let window = Window {
            start: 0,
            row: 1,
            stride: 1,
            positions: 1,
        };
        packed.apply(&functions, &arena, &input, &window, &mut output);
        assert_eq!(output, [8128.0; 16]);
    }

    #[test]
    fn what_a_precision_cannot_hold_is_refused() {
        let functions = Isa::Portable.functions().unwrap();
        for (value, precision) in [
            (1e6, Precision::Fp16),
            (f32::NAN, Precision::Fp32),
            (f32::INFINITY, Precision::Int8),
        ] {
            let source = Source {
                name: "the.tensor",
                outputs: 1,
                inputs: 1,
                taps: 1,
                weight: &|_, _, _| value,
                bias: None,
            };
            let packed = Packed::new(&mut Arena::default(), &functions, precision, 1, &source);
            let message = packed.unwrap_err().to_string();
            assert!(message.contains("`the.tensor`"), "{message}");
        }
    }
}
