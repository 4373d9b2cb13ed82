//! Cameras of ROS 2 as those of a policy: their pictures go out as the robot's own, on `obs/<camera>`.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use kinestream_bridge::node::{Channel, Publisher};
use kinestream_bridge::ros2::messages::{CompressedImage, Image, Time};
use kinestream_bridge::ros2::{Ros2Node, Ros2Subscription};
use kinestream_bridge::wire::{ImageEncoding, ImageSlice, Name};
use kinestream_bridge::{Node, wire};

use super::config::{CameraConfig, CameraMessage};
use super::{Counters, Sizes, complain, lock};
use crate::clock::stamp;

/// Subscribes to the topics of all cameras.
pub(super) fn listen(
    node: &Node,
    ros: &Ros2Node,
    cameras: &[CameraConfig],
    sizes: &Sizes,
    counters: &Arc<Counters>,
) -> Result<Vec<Ros2Subscription>> {
    if let Some(expected) = &sizes.cameras {
        for name in expected {
            ensure!(
                cameras.iter().any(|camera| camera.name == *name),
                "cameras: the policy observes {}, expected a topic for it, found none",
                name
            );
        }
        for camera in cameras {
            ensure!(
                expected.contains(&camera.name),
                "cameras: {} is none of the policy's, which are {expected:?}",
                camera.name
            );
        }
    }
    cameras
        .iter()
        .map(|camera| {
            let topic = camera.topic.as_str();
            let outlet = Outlet::open(node, camera, counters).with_context(|| topic.to_owned())?;
            Ok(match camera.message {
                CameraMessage::Image => {
                    ros.subscribe::<Image, _>(topic, camera.qos.qos(), move |image| {
                        outlet.pass(image.header.stamp, &pixels(image));
                    })
                }
                CameraMessage::CompressedImage => {
                    ros.subscribe::<CompressedImage, _>(topic, camera.qos.qos(), move |image| {
                        outlet.pass(image.header.stamp, &file(image));
                    })
                }
            }?)
        })
        .collect()
}

/// A picture without stamp and name, or why it cannot be taken.
type Picture = Result<(u32, u32, ImageEncoding, Vec<u8>), String>;

struct Outlet {
    publisher: Mutex<(Publisher, u64)>,
    name: Name,
    topic: String,
    counters: Arc<Counters>,
}

impl Outlet {
    fn open(node: &Node, camera: &CameraConfig, counters: &Arc<Counters>) -> Result<Self> {
        Ok(Self {
            publisher: Mutex::new((node.publisher(Channel::Image(&camera.name))?, 0)),
            name: Name::new(&camera.name)?,
            topic: camera.topic.clone(),
            counters: Arc::clone(counters),
        })
    }

    fn pass(&self, taken: Time, picture: &Picture) {
        let (width, height, encoding, data) = match picture {
            Ok(picture) => picture,
            Err(reason) => return complain(&self.counters.refused, &self.topic, reason),
        };
        let (publisher, sequence) = &mut *lock(&self.publisher);
        *sequence += 1;
        // Stream 0: a camera knows of no episodes. Its time is that of its arrival, on the clock of the observations.
        let mut stamp: wire::Stamp = stamp(*sequence, 0);
        if taken.nanoseconds() != 0 {
            stamp.wall_ns = taken.nanoseconds();
        }
        let image = ImageSlice {
            stamp,
            name: self.name,
            width: *width,
            height: *height,
            encoding: *encoding,
            data,
        };
        if let Err(error) = publisher.publish(&image) {
            complain(&self.counters.refused, &self.topic, &error);
        }
    }
}

/// The pixels of an image without gaps between rows and without what is beside its colours.
fn pixels(image: Image) -> Picture {
    let (encoding, bytes, kept) = match image.encoding.as_str() {
        "rgb8" | "8UC3" => (ImageEncoding::Rgb8, 3, 3),
        "bgr8" => (ImageEncoding::Bgr8, 3, 3),
        "rgba8" => (ImageEncoding::Rgb8, 4, 3),
        "bgra8" => (ImageEncoding::Bgr8, 4, 3),
        "mono8" | "8UC1" => (ImageEncoding::Mono8, 1, 1),
        other => {
            return Err(format!(
                "encoding {other}, expected rgb8, bgr8, rgba8, bgra8 or mono8"
            ));
        }
    };
    let (row, step) = (image.width as usize * bytes, image.step as usize);
    if step < row || step.checked_mul(image.height as usize) != Some(image.data.len()) {
        return Err(format!(
            "{} bytes of {} x {} pixels (height x width) in rows of {step} bytes, expected rows of at least {row}",
            image.data.len(),
            image.height,
            image.width
        ));
    }
    let data = match (step == row, bytes == kept) {
        (true, true) => image.data,
        _ => image
            .data
            .chunks_exact(step.max(1))
            .flat_map(|line| line[..row].chunks_exact(bytes))
            .flat_map(|pixel| &pixel[..kept])
            .copied()
            .collect(),
    };
    Ok((image.width, image.height, encoding, data))
}

/// The file of a compressed image.
fn file(image: CompressedImage) -> Picture {
    // `jpeg`, or as image_transport writes it: `bgr8; jpeg compressed bgr8`.
    let format = image.format.to_ascii_lowercase();
    if !format.contains("jpeg") && !format.contains("jpg") {
        return Err(format!("format {}, expected jpeg", image.format));
    }
    Ok((0, 0, ImageEncoding::Jpeg, image.data))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn image(encoding: &str, step: u32, data: &[u8]) -> Image {
        Image {
            height: 2,
            width: 2,
            encoding: encoding.to_owned(),
            step,
            data: data.to_vec(),
            ..Image::default()
        }
    }

    #[test]
    fn gaps_and_transparency_are_left_out() {
        let (width, height, encoding, data) =
            pixels(image("mono8", 3, &[1, 2, 9, 3, 4, 9])).unwrap();
        assert_eq!((width, height, encoding), (2, 2, ImageEncoding::Mono8));
        assert_eq!(data, [1, 2, 3, 4]);
        let four = [1, 2, 3, 0, 4, 5, 6, 0];
        let (_, _, encoding, data) = pixels(image("bgra8", 8, &four.repeat(2))).unwrap();
        assert_eq!(encoding, ImageEncoding::Bgr8);
        assert_eq!(data, [1, 2, 3, 4, 5, 6].repeat(2));
    }

    #[test]
    fn what_cannot_be_taken_says_why() {
        let told = pixels(image("32FC1", 8, &[0; 16])).unwrap_err();
        assert!(told.contains("32FC1") && told.contains("rgb8"), "{told}");
        let told = pixels(image("rgb8", 6, &[0; 11])).unwrap_err();
        assert!(told.contains("11 bytes"), "{told}");
        assert!(pixels(image("rgb8", 5, &[0; 10])).is_err());
        let png = CompressedImage {
            format: "png".to_owned(),
            ..CompressedImage::default()
        };
        assert!(file(png).unwrap_err().contains("expected jpeg"));
    }
}
