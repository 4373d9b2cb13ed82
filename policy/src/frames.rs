//! Which pictures belong to an observation: the nearest in time of every camera, none older than a bound.
//!
//! No clock: all times are the senders' own, on one clock. Of pictures that are equally near, the older one counts, and
//! pictures of another stream than the observation's do not, so that nothing is seen of an episode that has ended.

use std::collections::VecDeque;

/// Pictures that are kept of each camera.
const KEPT: usize = 8;

/// The newest pictures of some cameras; `P` is what a picture is.
#[derive(Debug, Clone)]
pub struct CameraSync<P> {
    cameras: Vec<Camera<P>>,
    most_apart_ns: u64,
}

#[derive(Debug, Clone)]
struct Camera<P> {
    name: String,
    frames: VecDeque<Frame<P>>,
}

#[derive(Debug, Clone)]
struct Frame<P> {
    stream: u32,
    time_ns: u64,
    picture: P,
}

impl<P> Frame<P> {
    fn is_of(&self, stream: u32) -> bool {
        self.stream == stream || self.stream == 0
    }
}

impl<P> CameraSync<P> {
    /// No pictures yet. A picture and an observation that are more than `most_apart_ns` nanoseconds apart do not belong
    /// together.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, most_apart_ns: u64) -> Self {
        let camera = |name: &str| Camera {
            name: name.to_owned(),
            frames: VecDeque::with_capacity(KEPT),
        };
        Self {
            cameras: names.into_iter().map(camera).collect(),
            most_apart_ns,
        }
    }

    /// Whether there is no camera.
    pub fn is_empty(&self) -> bool {
        self.cameras.is_empty()
    }

    /// Takes a picture of the camera at `index`. `stream` 0 is a camera that knows of no streams.
    pub fn take(&mut self, index: usize, stream: u32, time_ns: u64, picture: P) {
        let frames = &mut self.cameras[index].frames;
        if frames.len() == KEPT {
            frames.pop_front();
        }
        frames.push_back(Frame {
            stream,
            time_ns,
            picture,
        });
    }

    /// Whether the camera at `index` has a picture from an observation's time or just after it, so that no later one is nearer.
    pub fn reaches(&self, index: usize, stream: u32, time_ns: u64) -> bool {
        self.cameras[index].frames.iter().any(|frame| {
            let later = frame.time_ns.checked_sub(time_ns);
            frame.is_of(stream) && later.is_some_and(|later| later <= self.most_apart_ns)
        })
    }

    /// The picture of every camera that belongs to an observation of `stream` at `time_ns`.
    ///
    /// # Errors
    /// Which camera has none, and how far its nearest one is.
    pub fn at(&self, stream: u32, time_ns: u64) -> Result<Vec<&P>, String> {
        self.cameras
            .iter()
            .map(|camera| {
                let apart = |frame: &Frame<P>| frame.time_ns.abs_diff(time_ns);
                let nearest = camera
                    .frames
                    .iter()
                    .filter(|frame| frame.is_of(stream))
                    .min_by_key(|frame| (apart(frame), frame.time_ns));
                let bound_ms = self.most_apart_ns as f64 / 1e6;
                match nearest {
                    None => Err(format!(
                        "camera {}: no picture of this stream yet",
                        camera.name
                    )),
                    // The distance itself would make every refusal another text.
                    Some(frame) if apart(frame) > self.most_apart_ns => Err(format!(
                        "camera {}: its nearest picture is more than {bound_ms} ms from the observation",
                        camera.name
                    )),
                    Some(frame) => Ok(&frame.picture),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> CameraSync<u64> {
        CameraSync::new(["top", "wrist"], 50)
    }

    #[test]
    fn the_nearest_picture_of_every_camera_counts() {
        let mut frames = frames();
        for time in [100, 200, 300] {
            frames.take(0, 1, time, time);
            frames.take(1, 0, time + 20, time + 20);
        }
        assert_eq!(frames.at(1, 210).unwrap(), [&200, &220]);
        assert_eq!(frames.at(1, 300).unwrap(), [&300, &320]);
        // Equally near: the older one.
        assert_eq!(frames.at(1, 250).unwrap(), [&200, &220]);
    }

    #[test]
    fn a_camera_reaches_an_observation_with_a_picture_just_after_it() {
        let mut frames = frames();
        frames.take(0, 1, 100, 0);
        assert!(frames.reaches(0, 1, 100) && frames.reaches(0, 1, 50));
        assert!(!frames.reaches(0, 1, 101) && !frames.reaches(0, 1, 49));
        assert!(!frames.reaches(0, 2, 100) && !frames.reaches(1, 1, 100));
    }

    #[test]
    fn old_missing_and_foreign_pictures_are_told() {
        let mut frames = frames();
        frames.take(0, 1, 100, 0);
        assert!(frames.at(1, 100).unwrap_err().contains("wrist"));
        frames.take(1, 1, 100, 0);
        assert!(frames.at(1, 150).is_ok());
        let old = frames.at(1, 151).unwrap_err();
        assert!(old.contains("top") && old.contains("0.00005 ms"), "{old}");
        assert!(frames.at(2, 100).unwrap_err().contains("no picture"));
    }

    proptest! {
        #[test]
        fn what_is_found_is_within_the_bound(times in prop::collection::vec(0..1000_u64, 1..30), at in 0..1000_u64) {
            let mut frames = CameraSync::new(["one"], 50);
            for time in &times {
                frames.take(0, 0, *time, *time);
            }
            let kept = &times[times.len().saturating_sub(KEPT)..];
            let nearest = kept.iter().map(|time| time.abs_diff(at)).min().unwrap();
            match frames.at(3, at) {
                Ok(found) => prop_assert_eq!(found[0].abs_diff(at), nearest),
                Err(_) => prop_assert!(nearest > 50),
            }
        }
    }
}
