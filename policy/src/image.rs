//! Images as a policy observes them.

use tch::{Device, Kind, Tensor};

use crate::config::ImageSize;

/// A colour image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Image<'a> {
    /// Rows and columns.
    pub size: ImageSize,
    /// Its pixels.
    pub pixels: Pixels<'a>,
}

/// Pixels of a colour image, red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pixels<'a> {
    /// 0 to 255, `[H, W, 3]`, as cameras send them.
    Bytes(&'a [u8]),
    /// 0 to 1, `[3, H, W]`, as data sets hold them.
    Planes(&'a [f32]),
}

impl Image<'_> {
    /// Why this cannot be an image of `expected` size; none if it can.
    pub(crate) fn misfit(&self, expected: ImageSize) -> Option<String> {
        let ImageSize { height, width } = self.size;
        if self.size != expected {
            let ImageSize {
                height: high,
                width: wide,
            } = expected;
            return Some(format!(
                "is {height} x {width} pixels (height x width), the policy expects {high} x {wide}"
            ));
        }
        let (found, unit) = match self.pixels {
            Pixels::Bytes(bytes) => (bytes.len(), "bytes"),
            Pixels::Planes(values) => (values.len(), "numbers"),
        };
        let numbers = 3 * height * width;
        if found != numbers {
            return Some(format!("has {found} {unit}, expected {numbers}"));
        }
        match self.pixels {
            Pixels::Planes(values) if values.iter().any(|value| !value.is_finite()) => {
                Some("holds a number that is NaN or infinite".into())
            }
            _ => None,
        }
    }

    /// The image as [1, 3, H, W], 0 to 1. Its pixels must be as many as its size says.
    pub(crate) fn tensor(&self, device: Device) -> Tensor {
        let [height, width] = [self.size.height, self.size.width].map(|side| side as i64);
        match self.pixels {
            Pixels::Bytes(bytes) => {
                let bytes = Tensor::from_slice(bytes).view([1, height, width, 3]);
                planes(&bytes.to_device(device)).contiguous()
            }
            Pixels::Planes(values) => Tensor::from_slice(values)
                .to_device(device)
                .view([1, 3, height, width]),
        }
    }
}

/// From bytes [B, H, W, 3] to 0 to 1, [B, 3, H, W].
pub(crate) fn planes(bytes: &Tensor) -> Tensor {
    bytes.permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: ImageSize = ImageSize {
        height: 1,
        width: 2,
    };

    #[test]
    fn bytes_and_planes_of_one_image_are_equal() {
        let bytes = [255, 0, 51, 0, 255, 102];
        let planes = [1.0, 0.0, 0.0, 1.0, 0.2, 0.4];
        let tensor = |pixels| Image { size: SIZE, pixels }.tensor(Device::Cpu);
        let (first, second) = (
            tensor(Pixels::Bytes(&bytes)),
            tensor(Pixels::Planes(&planes)),
        );
        assert_eq!(first.size(), [1, 3, 1, 2]);
        assert!(first.allclose(&second, 1e-6, 1e-7, false));
    }

    #[test]
    fn misfits_say_what_was_found_and_expected() {
        let image = |pixels| Image { size: SIZE, pixels };
        let square = ImageSize {
            height: 96,
            width: 96,
        };
        let bytes = Pixels::Bytes(&[0; 6]);
        assert_eq!(image(bytes).misfit(SIZE), None);
        let found = image(bytes).misfit(square).unwrap();
        assert!(
            found.contains("1 x 2") && found.contains("96 x 96"),
            "{found}"
        );
        let found = image(Pixels::Bytes(&[0; 5])).misfit(SIZE).unwrap();
        assert!(found.contains("5 bytes, expected 6"), "{found}");
        let found = image(Pixels::Planes(&[f32::NAN; 6])).misfit(SIZE).unwrap();
        assert!(found.contains("NaN"), "{found}");
    }
}
