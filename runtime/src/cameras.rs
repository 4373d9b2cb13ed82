//! The cameras of a policy: pictures of the wire as the policy takes them, and which of them belong to an observation.

use kinestream_bridge::Image;
use kinestream_bridge::wire::{ImageEncoding, Stamp};
use kinestream_policy::Policy;
use kinestream_policy::config::ImageSize;
use kinestream_policy::frames::CameraSync;
use kinestream_policy::image::{Image as View, Pixels};

mod jpeg;

/// Why a grey picture is not taken, though its pixels could be written three times: the policy was trained on colours, and
/// what it does without them nobody has tried.
const GREY: &str =
    "a grey picture, the policy sees in colour; send rgb8, bgr8 or a JPEG file in colour";

/// Pictures of one robot's cameras, newest ones only.
pub struct Cameras {
    sizes: Vec<(String, ImageSize)>,
    frames: CameraSync<Vec<u8>>,
}

impl Cameras {
    /// The cameras that a policy observes. A picture may be `apart_ms` away from its observation, or a control period where
    /// nothing else is said.
    pub fn of(policy: &Policy, apart_ms: Option<f64>) -> Self {
        let sizes: Vec<(String, ImageSize)> = policy
            .cameras()
            .map(|(name, size)| (name.to_owned(), size))
            .collect();
        let apart_ms = apart_ms.unwrap_or(1e3 / policy.config().task.rate_hz);
        let names = sizes.iter().map(|(name, _)| name.as_str());
        Self {
            frames: CameraSync::new(names, (apart_ms * 1e6) as u64),
            sizes,
        }
    }

    /// Their names, as in the keys `obs/<name>`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sizes.iter().map(|(name, _)| name.as_str())
    }

    /// Takes a picture of the camera at `index`.
    ///
    /// # Errors
    /// Another size than the policy expects, or a file that is none.
    pub fn take(&mut self, index: usize, image: Image) -> Result<(), String> {
        let (name, size) = &self.sizes[index];
        let Stamp {
            stream,
            monotonic_ns,
            ..
        } = image.stamp;
        let pixels = pixels(image, *size).map_err(|reason| format!("camera {name}: {reason}"))?;
        self.frames.take(index, stream, monotonic_ns, pixels);
        Ok(())
    }

    /// Whether no later picture of the camera at `index` can belong to an observation.
    pub fn reaches(&self, index: usize, stamp: &Stamp) -> bool {
        self.frames.reaches(index, stamp.stream, stamp.monotonic_ns)
    }

    /// The pictures that belong to an observation, one of every camera.
    ///
    /// # Errors
    /// The camera that has none near enough.
    pub fn at(&self, stamp: &Stamp) -> Result<Vec<View<'_>>, String> {
        let pictures = self.frames.at(stamp.stream, stamp.monotonic_ns)?;
        Ok(pictures
            .into_iter()
            .zip(&self.sizes)
            .map(|(pixels, (_, size))| View {
                size: *size,
                pixels: Pixels::Bytes(pixels),
            })
            .collect())
    }
}

/// Red, green and blue of every pixel of a picture, which must be of one size.
///
/// # Errors
/// Another size, fewer colors, or bytes that are no whole picture; the text says which.
pub fn pixels(image: Image, size: ImageSize) -> Result<Vec<u8>, String> {
    // A file says its size itself; a message that says one as well is to say the same.
    if image.encoding != ImageEncoding::Jpeg || (image.width, image.height) != (0, 0) {
        check_size(image.width as usize, image.height as usize, size)?;
    }
    match image.encoding {
        ImageEncoding::Rgb8 => Ok(image.data),
        ImageEncoding::Bgr8 => {
            let colours = image.data.chunks_exact(3);
            Ok(colours.flat_map(|bgr| [bgr[2], bgr[1], bgr[0]]).collect())
        }
        ImageEncoding::Mono8 => Err(GREY.to_owned()),
        ImageEncoding::Jpeg => jpeg::decode(&image.data, size),
    }
}

fn check_size(width: usize, height: usize, size: ImageSize) -> Result<(), String> {
    match (width, height) == (size.width, size.height) {
        true => Ok(()),
        false => Err(format!(
            "a picture of {height} x {width} pixels (height x width), the policy expects {} x {}",
            size.height, size.width
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kinestream_bridge::wire::Name;

    use super::*;

    const SIZE: ImageSize = ImageSize {
        height: 16,
        width: 24,
    };
    /// 24 x 16 pixels: the left half red, the right half blue.
    const FILE: &[u8] = include_bytes!("../../tests/data/halves.jpg");

    fn image(encoding: ImageEncoding, data: &[u8]) -> Image {
        let (width, height) = match encoding {
            ImageEncoding::Jpeg => (0, 0),
            _ => (SIZE.width as u32, SIZE.height as u32),
        };
        Image {
            stamp: Stamp::default(),
            name: Name::new("top").unwrap(),
            width,
            height,
            encoding,
            data: data.to_vec(),
        }
    }

    #[test]
    fn every_encoding_with_colours_becomes_red_green_and_blue() {
        let count = SIZE.width * SIZE.height;
        let rgb = pixels(image(ImageEncoding::Rgb8, &[1, 2, 3].repeat(count)), SIZE).unwrap();
        assert_eq!(rgb[..3], [1, 2, 3]);
        let bgr = pixels(image(ImageEncoding::Bgr8, &[3, 2, 1].repeat(count)), SIZE).unwrap();
        assert_eq!(bgr, rgb);
        let grey = pixels(image(ImageEncoding::Mono8, &vec![7; count]), SIZE).unwrap_err();
        assert!(grey.contains("grey") && grey.contains("rgb8"), "{grey}");
        let file = pixels(image(ImageEncoding::Jpeg, FILE), SIZE).unwrap();
        assert_eq!(file.len(), 3 * count);
        let near = |at: usize, colour: [u8; 3]| {
            let found = &file[3 * at..3 * at + 3];
            let apart = found
                .iter()
                .zip(colour)
                .map(|(one, other)| one.abs_diff(other));
            assert!(apart.max().unwrap() < 12, "{found:?} at {at}");
        };
        near(0, [254, 0, 0]);
        near(count - 1, [0, 0, 254]);
    }

    #[test]
    fn other_sizes_and_broken_files_are_told() {
        let other = ImageSize {
            height: 96,
            width: 96,
        };
        for (encoding, data) in [
            (ImageEncoding::Mono8, &vec![7; SIZE.width * SIZE.height][..]),
            (ImageEncoding::Jpeg, FILE),
        ] {
            let told = pixels(image(encoding, data), other).unwrap_err();
            assert!(
                told.contains("16 x 24") && told.contains("96 x 96"),
                "{told}"
            );
        }
        let small = ImageSize {
            height: 8,
            width: 8,
        };
        let told = pixels(image(ImageEncoding::Jpeg, FILE), small).unwrap_err();
        assert!(told.contains("16 x 24"), "{told}");
        for length in 0..FILE.len() {
            let cut = pixels(image(ImageEncoding::Jpeg, &FILE[..length]), SIZE);
            assert!(cut.is_err(), "{length}");
        }
        let mut lying = image(ImageEncoding::Jpeg, FILE);
        (lying.width, lying.height) = (640, 480);
        let told = pixels(lying, SIZE).unwrap_err();
        assert!(told.contains("480 x 640"), "{told}");
        let told = pixels(image(ImageEncoding::Jpeg, b"GIF89a"), SIZE).unwrap_err();
        assert!(told.contains("not a JPEG"), "{told}");
    }
}
