//! Pictures of cameras: raw pixels in every encoding, and JPEG.

#![no_main]

use kinestream_bridge::Image;
use kinestream_bridge::wire::{ImageEncoding, Name, Stamp};
use kinestream_policy::config::ImageSize;
use kinestream_runtime::cameras::pixels;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(name) = Name::new("camera") else {
        return;
    };
    let size = ImageSize {
        height: 16,
        width: 16,
    };
    for encoding in [
        ImageEncoding::Rgb8,
        ImageEncoding::Bgr8,
        ImageEncoding::Mono8,
        ImageEncoding::Jpeg,
    ] {
        let image = Image {
            stamp: Stamp::default(),
            name,
            width: 16,
            height: 16,
            encoding,
            data: bytes.to_vec(),
        };
        if let Ok(pixels) = pixels(image, size) {
            assert_eq!(pixels.len(), 3 * 16 * 16);
        }
    }
});
