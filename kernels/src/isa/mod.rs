//! Instruction sets: which there are, which this processor has, and the three functions that exist
//! for each of them.

// Calls into functions that demand an instruction set.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod finish;
mod lanes;
mod multiply;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pairs;
mod portable;
mod rows;

pub(crate) use finish::{Epilogue, Modulation, Normalise};
pub(crate) use lanes::LANES;
pub(crate) use multiply::Product;
pub(crate) use pairs::Scratch;
pub(crate) use rows::{Advance, LayerNorm};

use crate::{Error, Precision, Result};

/// The non-linearity after every normalisation and inside the encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x tanh(softplus(x)) (Misra 2020).
    Mish,
    /// x sigmoid(x).
    Silu,
}

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// x86-64 with AVX-512F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// x86-64 with AVX-512F, BW, DQ and VL.
    Avx512,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// AArch64 with NEON.
    Neon,
    /// Plain Rust, for any processor and to compare the others with.
    Portable,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Self; 5] = [
        Self::Avx512Vnni,
        Self::Avx512,
        Self::Avx2,
        Self::Neon,
        Self::Portable,
    ];

    /// The fastest that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        let found = Self::ALL.into_iter().find(|isa| isa.is_available());
        found.unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "AVX-512 with VNNI",
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Neon => "NEON",
            Self::Portable => "portable",
        }
    }

    /// The functions for it.
    ///
    /// # Errors
    /// The processor lacks it.
    pub(crate) fn functions(self) -> Result<Functions> {
        if !self.is_available() {
            return Err(Error::NoSuchIsa(self.name()));
        }
        Ok(match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => avx512::vnni::FUNCTIONS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::FUNCTIONS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::FUNCTIONS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::FUNCTIONS,
            _ => portable::FUNCTIONS,
        })
    }
}

/// The functions of an instruction set that this processor has: there is no other way to get one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Functions {
    single: unsafe fn(&Product),
    half: unsafe fn(&Product),
    byte: unsafe fn(&Product),
    byte_pairs: unsafe fn(&Product, &Scratch),
    finish: unsafe fn(&Epilogue),
    activate: unsafe fn(*mut f32, usize, Activation),
    advance: unsafe fn(&Advance),
    read: unsafe fn(*const f32, usize) -> f32,
    registers: usize,
}

impl Functions {
    /// Vectors of sums that a product keeps in registers.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }

    /// Computes a product.
    ///
    /// # Safety
    /// The pointers reach as far as the sizes say, and nobody else uses the outputs meanwhile.
    pub(crate) unsafe fn multiply(&self, product: &Product, precision: Precision) {
        let function = match precision {
            Precision::Fp32 => self.single,
            Precision::Fp16 => self.half,
            Precision::Int8 => self.byte,
        };
        // SAFETY: the processor has the instruction set; the caller promises the rest.
        unsafe { function(product) }
    }

    /// Computes a product with pairs of weights of one byte, whose inputs are rounded first.
    ///
    /// # Safety
    /// As [`Self::multiply`], and nobody else uses the scratch.
    pub(crate) unsafe fn multiply_pairs(&self, product: &Product, scratch: &Scratch) {
        // SAFETY: the processor has the instruction set; the caller promises the rest.
        unsafe { (self.byte_pairs)(product, scratch) }
    }

    /// Finishes panels.
    ///
    /// # Safety
    /// As [`Self::multiply`].
    pub(crate) unsafe fn finish(&self, job: &Epilogue) {
        // SAFETY: the processor has the instruction set; the caller promises the rest.
        unsafe { (self.finish)(job) }
    }

    /// Advances rows by a layer.
    ///
    /// # Safety
    /// As [`Self::multiply`].
    pub(crate) unsafe fn advance(&self, job: &Advance) {
        // SAFETY: the processor has the instruction set; the caller promises the rest.
        unsafe { (self.advance)(job) }
    }

    /// Sums `count` numbers, a multiple of 64, as fast as they can be read.
    ///
    /// # Safety
    /// They are there.
    pub(crate) unsafe fn read(&self, from: *const f32, count: usize) -> f32 {
        // SAFETY: the processor has the instruction set; the caller promises the rest.
        unsafe { (self.read)(from, count) }
    }

    /// Applies an activation in place; the length is a multiple of 16.
    pub(crate) fn activate(&self, values: &mut [f32], activation: Activation) {
        assert!(values.len().is_multiple_of(LANES), "{}", values.len());
        // SAFETY: the processor has the instruction set, and the slice is as long as it says.
        unsafe { (self.activate)(values.as_mut_ptr(), values.len(), activation) }
    }
}

/// Makes the functions of an instruction set from the generic ones.
macro_rules! functions {
    ($lanes:ty $(, $features:literal)?) => {
        use crate::isa::{
            Activation, Advance, Epilogue, Functions, Product, Scratch, finish, lanes, multiply, pairs, rows,
        };

        pub(in crate::isa) const FUNCTIONS: Functions = Functions {
            single,
            half,
            byte,
            byte_pairs,
            finish: finish_panels,
            activate,
            advance,
            read,
            registers: <$lanes as lanes::Lanes>::REGISTERS,
        };

        $(#[target_feature(enable = $features)])?
        unsafe fn single(product: &Product) {
            multiply::multiply::<$lanes, multiply::Single>(product);
        }

        $(#[target_feature(enable = $features)])?
        unsafe fn half(product: &Product) {
            multiply::multiply::<$lanes, multiply::Half>(product);
        }

        $(#[target_feature(enable = $features)])?
        unsafe fn byte(product: &Product) {
            multiply::multiply::<$lanes, multiply::Byte>(product);
        }

        $(#[target_feature(enable = $features)])?
        unsafe fn byte_pairs(product: &Product, scratch: &Scratch) {
            pairs::multiply::<$lanes>(product, scratch);
        }

        $(#[target_feature(enable = $features)])?
        unsafe fn finish_panels(job: &Epilogue) {
            finish::finish::<$lanes>(job);
        }

        $(#[target_feature(enable = $features)])?
        unsafe fn activate(values: *mut f32, count: usize, activation: Activation) {
            finish::activate::<$lanes>(values, count, activation);
        }

        $(#[target_feature(enable = $features)])?
        unsafe fn advance(job: &Advance) {
            rows::advance::<$lanes>(job);
        }

        $(#[target_feature(enable = $features)])?
        unsafe fn read(from: *const f32, count: usize) -> f32 {
            multiply::read::<$lanes>(from, count)
        }
    };
}
use functions;
