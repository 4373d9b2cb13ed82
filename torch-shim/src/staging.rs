//! Staging buffers: places on the host that a device's copies begin or end in without the host waiting for them.

#![allow(unsafe_code)]

use tch::{Device, Kind, Tensor};

use crate::bindings::{checked, kinestream_copy};
use crate::{Error, Result};

/// Numbers that a buffer may hold.
pub trait Element: Copy + tch::kind::Element {}

impl Element for f32 {}
impl Element for i64 {}

/// A buffer on the host and a tensor on the device: numbers are written here and uploaded, or downloaded and read here.
///
/// For a CUDA device the host's memory is pinned, so that copies can be queued and captured. On the CPU both are one tensor,
/// and an upload does nothing.
///
/// Copies are only queued: whoever uploads waits for the stream before writing again, and whoever downloads before reading.
pub struct Staging {
    host: Tensor,
    device: Tensor,
}

impl Staging {
    /// Zeros.
    ///
    /// # Errors
    /// No memory, or no such device.
    pub fn new(shape: &[i64], kind: Kind, device: Device) -> Result<Self> {
        let host = Tensor::f_zeros(shape, (kind, Device::Cpu))?;
        if device == Device::Cpu {
            let device = host.shallow_clone();
            return Ok(Self { host, device });
        }
        Ok(Self {
            host: host.f_pin_memory(device)?,
            device: Tensor::f_zeros(shape, (kind, device))?,
        })
    }

    /// The tensor on the device: it stays where it is.
    pub fn tensor(&self) -> &Tensor {
        &self.device
    }

    /// The same buffer once more, for work that is captured. As with tensors, one thread at a time has all of them.
    pub fn shared(&self) -> Self {
        Self {
            host: self.host.shallow_clone(),
            device: self.device.shallow_clone(),
        }
    }

    /// Writes the host's side.
    ///
    /// # Errors
    /// Numbers of another kind or count.
    pub fn write<T: Element>(&mut self, numbers: &[T]) -> Result<()> {
        self.check::<T>(numbers.len())?;
        let to = self.host.data_ptr().cast::<T>();
        // SAFETY: the tensor is contiguous, on the host, of this kind and as long; the caller's slice is no part of it, since
        // nobody is given one.
        unsafe { to.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len()) };
        Ok(())
    }

    /// Reads the host's side.
    ///
    /// # Errors
    /// Numbers of another kind or count.
    pub fn read<T: Element>(&self, numbers: &mut [T]) -> Result<()> {
        self.check::<T>(numbers.len())?;
        let from = self.host.data_ptr().cast::<T>();
        // SAFETY: as in `write`.
        unsafe { from.copy_to_nonoverlapping(numbers.as_mut_ptr(), numbers.len()) };
        Ok(())
    }

    /// Queues the copy from the host to the device.
    ///
    /// # Errors
    /// LibTorch's.
    pub fn upload(&mut self) -> Result<()> {
        copy(&mut self.device, &self.host)
    }

    /// Queues the copy of a tensor on the device, of this shape and kind, to the host's side.
    ///
    /// # Errors
    /// Another shape or kind, or LibTorch's.
    pub fn download(&mut self, from: &Tensor) -> Result<()> {
        if from.size() != self.host.size() || from.kind() != self.host.kind() {
            return Err(Error::Shape {
                found: from.size(),
                found_kind: from.kind(),
                expected: self.host.size(),
                expected_kind: self.host.kind(),
            });
        }
        copy(&mut self.host, from)
    }

    fn check<T: Element>(&self, found: usize) -> Result<()> {
        let expected = self.host.numel();
        if found == expected && T::KIND == self.host.kind() {
            return Ok(());
        }
        Err(Error::Size {
            found,
            found_kind: std::any::type_name::<T>(),
            expected,
            expected_kind: self.host.kind(),
        })
    }
}

/// Copies without waiting.
fn copy(to: &mut Tensor, from: &Tensor) -> Result<()> {
    if to.data_ptr() == from.data_ptr() {
        return Ok(());
    }
    // SAFETY: both are tensors that live as long as the call. A copy that is queued longer than its tensors keeps their memory:
    // LibTorch's allocators give nothing out again that a stream still uses.
    unsafe { checked(kinestream_copy(to.as_mut_ptr(), from.as_ptr())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        let mut buffer = Staging::new(&[2, 3], Kind::Float, Device::Cpu).unwrap();
        let numbers = [1.0_f32, -2.0, 3.5, f32::NAN, f32::INFINITY, 0.0];
        buffer.write(&numbers).unwrap();
        buffer.upload().unwrap();
        assert_eq!(buffer.tensor().size(), [2, 3]);
        let mut found = [0.0_f32; 6];
        buffer.download(&buffer.tensor().copy()).unwrap();
        buffer.read(&mut found).unwrap();
        assert_eq!(found.map(f32::to_bits), numbers.map(f32::to_bits));
        buffer.download(&(buffer.tensor() * 2.0)).unwrap();
        buffer.read(&mut found).unwrap();
        assert_eq!(found[1], -4.0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut buffer = Staging::new(&[4], Kind::Int64, Device::Cpu).unwrap();
        buffer.write(&[1_i64, 2, 3, 4]).unwrap();
        let refused = buffer.write(&[1_i64, 2, 3]).unwrap_err().to_string();
        assert!(
            refused.contains("3 numbers of i64, expected 4"),
            "{refused}"
        );
        assert!(buffer.write(&[0.0_f32; 4]).is_err());
        assert!(buffer.read(&mut [0.0_f32; 4]).is_err());
        let other = Tensor::zeros([5], (Kind::Int64, Device::Cpu));
        let refused = buffer.download(&other).unwrap_err().to_string();
        assert!(refused.contains("[5]"), "{refused}");
        let same = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        assert!(buffer.download(&same).is_err());
    }
}
