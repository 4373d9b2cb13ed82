//! Streams of a CUDA device: queues of work that LibTorch keeps.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;

use tch::Device;

use crate::Result;
use crate::bindings::{
    RawStream, checked, cuda_index, kinestream_stream_current, kinestream_stream_enter,
    kinestream_stream_leave, kinestream_stream_of_pool, kinestream_stream_synchronise, text,
};

/// A queue of work of a CUDA device. LibTorch has a pool of them, which are there as long as the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream(RawStream);

/// A stream as the current one of this thread and its device as the current device, until it is dropped.
///
/// Guards end in the opposite order of their beginnings.
#[must_use = "the stream is current until this is dropped"]
pub struct OnStream {
    guard: *mut c_void,
    /// What is current is the thread's affair, so the guard stays on it.
    thread: PhantomData<*const ()>,
}

impl Stream {
    /// One of LibTorch's pool.
    ///
    /// # Errors
    /// A device that is no CUDA device or is not there, or a LibTorch without CUDA.
    pub fn of_pool(device: Device) -> Result<Self> {
        let device = cuda_index(device)?;
        let mut stream = RawStream::default();
        // SAFETY: `stream` is a place for one stream, and is used only if it was filled.
        unsafe { checked(kinestream_stream_of_pool(device, &mut stream))? };
        Ok(Self(stream))
    }

    /// The one that this thread's operations on `device` go to.
    ///
    /// # Errors
    /// As [`Stream::of_pool`].
    pub fn current(device: Device) -> Result<Self> {
        let device = cuda_index(device)?;
        let mut stream = RawStream::default();
        // SAFETY: `stream` is a place for one stream, and is used only if it was filled.
        unsafe { checked(kinestream_stream_current(device, &mut stream))? };
        Ok(Self(stream))
    }

    /// Waits until everything in the queue is done.
    ///
    /// # Errors
    /// What went wrong on the device meanwhile.
    pub fn synchronise(&self) -> Result<()> {
        // SAFETY: the stream is one that LibTorch named, and those stay.
        unsafe { checked(kinestream_stream_synchronise(&self.0)) }
    }

    /// Has this thread's operations go to this stream.
    ///
    /// # Errors
    /// LibTorch's.
    pub fn enter(&self) -> Result<OnStream> {
        let mut guard = ptr::null_mut();
        // SAFETY: the stream is one that LibTorch named; `guard` is read only if it was filled.
        unsafe { checked(kinestream_stream_enter(&self.0, &mut guard))? };
        Ok(OnStream {
            guard,
            thread: PhantomData,
        })
    }

    /// As C++ knows it.
    pub(crate) fn raw(&self) -> &RawStream {
        &self.0
    }
}

impl Drop for OnStream {
    fn drop(&mut self) {
        // SAFETY: the guard came from `enter` on this thread, which it cannot leave, and ends once.
        let problem = unsafe { kinestream_stream_leave(self.guard) };
        if !problem.is_null() {
            // SAFETY: what is not null is a text of ours now. A device that is lost says so in the next operation.
            drop(unsafe { text(problem) });
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Cuda, Kind, Tensor};

    use super::*;
    use crate::{Error, has_cuda};

    #[test]
    fn the_cpu_has_none() {
        let refused = Stream::of_pool(Device::Cpu).unwrap_err();
        assert!(matches!(refused, Error::Device(Device::Cpu)));
        if has_cuda() {
            return;
        }
        let refused = Stream::current(Device::Cuda(0)).unwrap_err();
        assert!(refused.to_string().contains("no CUDA"), "{refused}");
    }

    #[test]
    fn work_goes_to_the_stream_that_was_entered() {
        if !Cuda::is_available() {
            eprintln!("skipped: there is no CUDA device");
            return;
        }
        let device = Device::Cuda(0);
        let before = Stream::current(device).unwrap();
        let stream = Stream::of_pool(device).unwrap();
        assert_ne!(stream, before);
        {
            let _on = stream.enter().unwrap();
            assert_eq!(Stream::current(device).unwrap(), stream);
            let sum = Tensor::ones([100], (Kind::Float, device)).sum(Kind::Float);
            stream.synchronise().unwrap();
            assert_eq!(f64::try_from(sum).unwrap(), 100.0);
        }
        assert_eq!(Stream::current(device).unwrap(), before);
    }
}
