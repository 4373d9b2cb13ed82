//! Inference mode: operations keep no account of what autograd may want later.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;

use crate::Result;
use crate::bindings::{checked, kinestream_inference_enter, kinestream_inference_leave};

/// Inference mode on this thread, until it is dropped; gradients are off too.
///
/// Tensors made meanwhile can never take part in autograd, nor be changed in place once it is over: let only numbers out.
/// Guards end in the opposite order of their beginnings.
#[must_use = "inference mode ends when this is dropped"]
pub struct InferenceMode {
    guard: *mut c_void,
    /// The mode is the thread's, so the guard stays on it.
    thread: PhantomData<*const ()>,
}

impl InferenceMode {
    /// Begins it.
    ///
    /// # Errors
    /// LibTorch's.
    pub fn enter() -> Result<Self> {
        let mut guard = ptr::null_mut();
        // SAFETY: `guard` is a place for one pointer, and is read only if it was filled.
        unsafe { checked(kinestream_inference_enter(&mut guard))? };
        Ok(Self {
            guard,
            thread: PhantomData,
        })
    }
}

impl Drop for InferenceMode {
    fn drop(&mut self) {
        // SAFETY: the guard came from `enter` on this thread, which it cannot leave, and ends once.
        unsafe { kinestream_inference_leave(self.guard) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn it_lasts_as_long_as_its_guard() {
        let weight = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        {
            let _mode = InferenceMode::enter().unwrap();
            let product = &weight * 2.0;
            assert!(!product.requires_grad() && product.is_inference());
            {
                let _nested = InferenceMode::enter().unwrap();
            }
            assert!((&weight * 2.0).is_inference());
        }
        let product = &weight * 2.0;
        assert!(product.requires_grad() && !product.is_inference());
    }
}
