//! The functions of `cpp/`, and how their errors come over. Nothing here is public.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};

use tch::Device;
use torch_sys::C_tensor;

use crate::{Error, Result};

/// A stream as C++ knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct RawStream {
    pub(crate) id: i64,
    pub(crate) device: i64,
}

// What may fail returns null, or a text of which the caller becomes the owner.
unsafe extern "C" {
    pub(crate) fn kinestream_text_free(text: *mut c_char);
    pub(crate) fn kinestream_inference_enter(guard: *mut *mut c_void) -> *mut c_char;
    pub(crate) fn kinestream_inference_leave(guard: *mut c_void);
    fn kinestream_cuda_linked() -> bool;
    pub(crate) fn kinestream_stream_of_pool(device: i64, stream: *mut RawStream) -> *mut c_char;
    pub(crate) fn kinestream_stream_current(device: i64, stream: *mut RawStream) -> *mut c_char;
    pub(crate) fn kinestream_stream_synchronise(stream: *const RawStream) -> *mut c_char;
    pub(crate) fn kinestream_stream_enter(
        stream: *const RawStream,
        guard: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn kinestream_stream_leave(guard: *mut c_void) -> *mut c_char;
    pub(crate) fn kinestream_copy(to: *mut C_tensor, from: *const C_tensor) -> *mut c_char;
    pub(crate) fn kinestream_graph_begin(device: i64, graph: *mut *mut c_void) -> *mut c_char;
    pub(crate) fn kinestream_graph_end(graph: *mut c_void) -> *mut c_char;
    pub(crate) fn kinestream_graph_replay(
        graph: *mut c_void,
        stream: *const RawStream,
    ) -> *mut c_char;
    pub(crate) fn kinestream_graph_free(graph: *mut c_void);
    pub(crate) fn kinestream_package_load(
        path: *const c_char,
        cuda_device: i64,
        package: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn kinestream_package_describe(
        package: *mut c_void,
        device: *mut *mut c_char,
        inputs: *mut usize,
        constants: *mut usize,
    ) -> *mut c_char;
    pub(crate) fn kinestream_package_run(
        package: *mut c_void,
        inputs: *const *const C_tensor,
        inputs_count: usize,
        outputs: *mut *mut c_void,
        count: *mut usize,
    ) -> *mut c_char;
    pub(crate) fn kinestream_outputs_take(
        outputs: *mut c_void,
        index: usize,
        tensor: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn kinestream_outputs_free(outputs: *mut c_void);
    pub(crate) fn kinestream_package_free(package: *mut c_void);
}

/// Takes over a text from C++.
///
/// # Safety
/// `text` is one that a function of `cpp/` gave, and nobody else's.
pub(crate) unsafe fn text(text: *mut c_char) -> String {
    // SAFETY: those functions give texts that end with a zero; it is read before it is freed, once.
    unsafe {
        let words = CStr::from_ptr(text).to_string_lossy().into_owned();
        kinestream_text_free(text);
        words
    }
}

/// What a function of `cpp/` returned.
///
/// # Safety
/// `problem` is what such a function has just returned.
pub(crate) unsafe fn checked(problem: *mut c_char) -> Result<()> {
    if problem.is_null() {
        return Ok(());
    }
    // SAFETY: what is not null is a text, whose owner the caller became.
    let words = unsafe { text(problem) };
    Err(Error::Torch(Error::first_lines(&words)))
}

/// Whether LibTorch has CUDA, be there a device or not.
pub(crate) fn cuda_is_linked() -> bool {
    // SAFETY: it takes nothing and only looks into a table.
    unsafe { kinestream_cuda_linked() }
}

/// The number of a CUDA device.
pub(crate) fn cuda_index(device: Device) -> Result<i64> {
    match device {
        Device::Cuda(_) if !cuda_is_linked() => Err(Error::NoCuda),
        Device::Cuda(index) => Ok(index as i64),
        other => Err(Error::Device(other)),
    }
}
