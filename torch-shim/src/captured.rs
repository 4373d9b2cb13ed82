//! Work on tensors that stay where they are, recorded once and done again and again.

#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use tch::Device;

use crate::bindings::{
    checked, cuda_index, kinestream_graph_begin, kinestream_graph_end, kinestream_graph_free,
    kinestream_graph_replay,
};
use crate::{Error, InferenceMode, Result, Stream};

/// What is captured: it owns whatever it touches.
type Work = Box<dyn FnMut() -> Result<()> + Send>;

/// Work that was captured.
///
/// On a CUDA device it is one CUDA graph, on a stream and with memory of its own: a replay is one launch and one wait, and
/// calls none of the work's code. So the work does the same operations on the same tensors every time: inputs are written into
/// those tensors beforehand, outputs read from them afterwards, and nothing in it waits for the device.
///
/// On the CPU a replay does the work again: other ways, same bits.
pub struct Captured {
    /// Goes before the work, whose tensors it reads and writes.
    graph: Option<Graph>,
    work: Work,
}

impl Captured {
    /// Does the work `warm_up` times, so that everything is allocated, chosen and compiled, and captures it.
    ///
    /// # Errors
    /// The work's; that it panicked; that it did what no graph can hold, for example waited for the device; no such device.
    pub fn new(
        device: Device,
        warm_up: usize,
        work: impl FnMut() -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let mut work: Work = Box::new(work);
        let graph = match device {
            Device::Cpu => {
                for _ in 0..warm_up {
                    done(&mut work)?;
                }
                None
            }
            device => Some(Graph::capture(device, warm_up, &mut work)?),
        };
        Ok(Self { graph, work })
    }

    /// Does the work and waits until it is done.
    ///
    /// # Errors
    /// The device's; on the CPU the work's.
    pub fn replay(&mut self) -> Result<()> {
        match &mut self.graph {
            Some(graph) => graph.replay(),
            None => done(&mut self.work),
        }
    }

    /// Whether this is a graph on a device.
    pub fn is_graph(&self) -> bool {
        self.graph.is_some()
    }
}

/// Does the work once, in inference mode. The bindings panic where LibTorch throws: here that is an error like others.
fn done(work: &mut Work) -> Result<()> {
    let _mode = InferenceMode::enter()?;
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Work(told(&*panic))))
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    Error::first_lines(text.unwrap_or("the work panicked"))
}

/// A CUDA graph and the stream that it runs on.
struct Graph {
    handle: *mut c_void,
    stream: Stream,
}

// SAFETY: LibTorch lets any thread replay and free a graph, one at a time; it is not `Sync`.
unsafe impl Send for Graph {}

impl Graph {
    fn capture(device: Device, warm_up: usize, work: &mut Work) -> Result<Self> {
        let index = cuda_index(device)?;
        // What was queued before, for example weights on their way, comes first.
        Stream::current(device)?.synchronise()?;
        let stream = Stream::of_pool(device)?;
        let _on = stream.enter()?;
        for _ in 0..warm_up {
            done(work)?;
        }
        stream.synchronise()?;
        let mut handle = ptr::null_mut();
        // SAFETY: `handle` is a place for one pointer, and is used only if it was filled.
        unsafe { checked(kinestream_graph_begin(index, &mut handle))? };
        let mut graph = Self { handle, stream };
        let done = done(work);
        let ended = graph.end();
        // What the work said is nearer to the cause than what the capture says of it.
        done.and(ended)?;
        Ok(graph)
    }

    fn end(&mut self) -> Result<()> {
        // SAFETY: the handle is of a graph whose capture has begun on this thread's current stream.
        unsafe { checked(kinestream_graph_end(self.handle)) }
    }

    fn replay(&mut self) -> Result<()> {
        // SAFETY: the handle is of a captured graph. The memory that it touches is there: what the work allocated is the graph's
        // own, and everything else belongs to the work, which is kept beside the graph and dropped after it.
        unsafe { checked(kinestream_graph_replay(self.handle, self.stream.raw())) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the handle came from `kinestream_graph_begin` and goes once. No replay is under way: each waits for its end.
        unsafe { kinestream_graph_free(self.handle) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Cuda, Kind, Tensor};

    use super::*;
    use crate::Staging;

    /// output = input * weight + 1, on a device.
    fn affine(device: Device) -> (Staging, Staging, Captured) {
        let input = Staging::new(&[4], Kind::Float, device).unwrap();
        let output = Staging::new(&[4], Kind::Float, device).unwrap();
        let weight = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, -1.0]).to_device(device);
        let (mut from, mut to) = (input.shared(), output.shared());
        let captured = Captured::new(device, 3, move || {
            from.upload()?;
            to.download(&(from.tensor() * &weight + 1.0))
        });
        (input, output, captured.unwrap())
    }

    fn is_right_again_and_again(device: Device) {
        let (mut input, output, mut captured) = affine(device);
        for offset in 0..5 {
            let numbers = [0.0, 1.0, 2.0, 3.0].map(|number| number + offset as f32);
            input.write(&numbers).unwrap();
            captured.replay().unwrap();
            let mut found = [0.0_f32; 4];
            output.read(&mut found).unwrap();
            let [a, b, c, d] = numbers;
            assert_eq!(found, [a + 1.0, 2.0 * b + 1.0, 3.0 * c + 1.0, 1.0 - d]);
        }
    }

    #[test]
    fn a_replay_reads_what_was_written_since() {
        is_right_again_and_again(Device::Cpu);
        let (_, _, captured) = affine(Device::Cpu);
        assert!(!captured.is_graph());
    }

    #[test]
    fn a_graph_does_the_same() {
        if !Cuda::is_available() {
            eprintln!("skipped: there is no CUDA device");
            return;
        }
        is_right_again_and_again(Device::Cuda(0));
        let (_, _, captured) = affine(Device::Cuda(0));
        assert!(captured.is_graph());
    }

    #[test]
    fn a_capture_that_fails_leaves_the_device_usable() {
        if !Cuda::is_available() {
            eprintln!("skipped: there is no CUDA device");
            return;
        }
        let device = Device::Cuda(0);
        let tensor = Tensor::ones([4], (Kind::Float, device));
        // It waits for the device.
        let refused = Captured::new(device, 1, move || {
            let sum = f64::try_from(tensor.sum(Kind::Float))?;
            assert_eq!(sum, 4.0);
            Ok(())
        });
        assert!(refused.is_err());
        is_right_again_and_again(device);
    }

    #[test]
    fn what_goes_wrong_in_the_work_is_an_error() {
        let refusal = |work: fn() -> Result<()>| {
            let refused = Captured::new(Device::Cpu, 1, work);
            refused.err().unwrap().to_string()
        };
        let found = refusal(|| Err(Error::NoCuda));
        assert!(found.contains("no CUDA"), "{found}");
        let found = refusal(|| {
            let (two, three) = (Tensor::from_slice(&[1, 2]), Tensor::from_slice(&[1, 2, 3]));
            let _ = two + three;
            Ok(())
        });
        assert!(found.contains("size of tensor"), "{found}");
        if !crate::has_cuda() {
            let refused = Captured::new(Device::Cuda(0), 1, || Ok(())).err().unwrap();
            assert!(matches!(refused, Error::NoCuda));
        }
    }
}
