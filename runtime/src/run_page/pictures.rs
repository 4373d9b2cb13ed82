//! The last picture of each of a robot's cameras, made small, at most four times a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kinestream_bridge::node::Subscription;
use kinestream_bridge::wire::Decode as _;
use kinestream_bridge::{Image, Node};
use kinestream_control::{Clock, Monotonic};
use kinestream_policy::Policy;
use kinestream_policy::config::ImageSize;
use kinestream_viewer::robot::Picture;

use crate::cameras;

/// Time between two pictures that are taken; the others are left out where they arrive.
const EVERY_NS: u64 = 240_000_000;
/// A camera without news is told of again after this time, with its last picture for pages that have opened since.
const AGAIN_NS: u64 = 1_000_000_000;
/// Largest side of a picture on the page, pixels.
const MAX_SIDE: usize = 192;

/// All cameras of a robot.
pub(super) struct Pictures(Vec<Camera>);

struct Camera {
    size: ImageSize,
    /// The newest picture that was taken and not looked at, with the time of its arrival.
    waiting: Arc<Mutex<Option<(Image, u64)>>>,
    /// What is shown: none before the first picture.
    shown: Option<Picture>,
    arrived_ns: u64,
    told_ns: u64,
    _subscription: Subscription,
}

impl Pictures {
    /// Listens to the cameras that a policy observes, beside the policy thread.
    ///
    /// # Errors
    /// zenoh refused a subscription.
    pub(super) fn of(node: &Node, policy: &Policy) -> Result<Self> {
        let cameras = policy.cameras().map(|(name, size)| {
            let waiting = Arc::new(Mutex::new(None));
            let (shared, taken_ns) = (Arc::clone(&waiting), AtomicU64::new(0));
            let key = node.keys().observation(name)?;
            let subscription = node.subscribe::<Image, _>(&key, move |view| {
                let now_ns = Monotonic.now_ns();
                if now_ns.saturating_sub(taken_ns.load(Ordering::Relaxed)) < EVERY_NS {
                    return;
                }
                taken_ns.store(now_ns, Ordering::Relaxed);
                *lock(&shared) = Some((Image::from_view(&view), now_ns));
            })?;
            Ok(Camera {
                size,
                waiting,
                shown: None,
                arrived_ns: 0,
                told_ns: 0,
                _subscription: subscription,
            })
        });
        cameras.collect::<Result<Vec<_>>>().map(Self)
    }

    /// What is to be shown anew.
    pub(super) fn news(&mut self, now_ns: u64) -> Vec<Picture> {
        let cameras = self.0.iter_mut().enumerate();
        let news = cameras.filter_map(|(index, camera)| {
            let picture = camera.news(now_ns)?;
            Some(Picture {
                camera: index,
                ..picture
            })
        });
        news.collect()
    }
}

impl Camera {
    fn news(&mut self, now_ns: u64) -> Option<Picture> {
        let waiting = lock(&self.waiting).take();
        let is_due = now_ns.saturating_sub(self.told_ns) >= AGAIN_NS;
        if let Some((image, arrived_ns)) = waiting {
            self.arrived_ns = arrived_ns;
            self.shown = Some(picture(image, self.size));
        } else if !is_due {
            return None;
        }
        self.told_ns = now_ns;
        let age_s = now_ns.saturating_sub(self.arrived_ns) as f64 / 1e9;
        Some(Picture {
            age_s,
            ..self.shown.clone()?
        })
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A picture as the page takes it, or why it is none.
fn picture(image: Image, size: ImageSize) -> Picture {
    match cameras::pixels(image, size) {
        Ok(rgb) => {
            let (width, height, small) = reduced(&rgb, size);
            Picture {
                width,
                height,
                rgb: STANDARD.encode(small),
                ..Picture::default()
            }
        }
        Err(fault) => Picture {
            fault: Some(fault),
            ..Picture::default()
        },
    }
}

/// Width, height and pixels of a picture of at most [`MAX_SIDE`] pixels a side: each is the mean of a square.
fn reduced(rgb: &[u8], size: ImageSize) -> (usize, usize, Vec<u8>) {
    let step = size.width.max(size.height).div_ceil(MAX_SIDE).max(1);
    let (width, height) = (size.width.div_ceil(step), size.height.div_ceil(step));
    let mut small = Vec::with_capacity(3 * width * height);
    for top in (0..size.height).step_by(step) {
        for left in (0..size.width).step_by(step) {
            let rows = top..(top + step).min(size.height);
            let columns = left..(left + step).min(size.width);
            let count = (rows.len() * columns.len()) as u32;
            for color in 0..3 {
                let sum: u32 = rows
                    .clone()
                    .flat_map(|row| columns.clone().map(move |column| row * size.width + column))
                    .filter_map(|pixel| rgb.get(3 * pixel + color))
                    .map(|value| u32::from(*value))
                    .sum();
                small.push((sum / count) as u8);
            }
        }
    }
    (width, height, small)
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::wire::{ImageEncoding, Name, Stamp};

    use super::*;

    #[test]
    fn pictures_are_reduced_to_means_of_squares() {
        let size = ImageSize {
            height: 2,
            width: 3,
        };
        let rgb: Vec<u8> = (0..18).collect();
        assert_eq!(reduced(&rgb, size), (3, 2, rgb.clone()));
        let size = ImageSize {
            height: 2,
            width: 2 * MAX_SIDE,
        };
        let rgb = [[10, 20, 30], [30, 40, 50]].concat().repeat(2 * MAX_SIDE);
        let (width, height, small) = reduced(&rgb, size);
        assert_eq!((width, height), (MAX_SIDE, 1));
        assert_eq!(small, [20, 30, 40].repeat(MAX_SIDE));
    }

    #[test]
    fn a_picture_that_cannot_be_shown_says_why() {
        let image = Image {
            stamp: Stamp::default(),
            name: Name::new("top").unwrap(),
            width: 4,
            height: 4,
            encoding: ImageEncoding::Rgb8,
            data: vec![0; 48],
        };
        let size = |side| ImageSize {
            height: side,
            width: side,
        };
        assert_eq!(
            picture(image.clone(), size(4)).rgb,
            STANDARD.encode([0; 48])
        );
        let fault = picture(image, size(8)).fault.unwrap();
        assert!(
            fault.contains("4 x 4") && fault.contains("8 x 8"),
            "{fault}"
        );
    }
}
