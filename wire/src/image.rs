//! Image: one picture of a camera that a policy observes, as pixels or as a JPEG file.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::header::{HEADER_BYTES, Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode, Name};

/// Bytes between the header and the picture.
const FIXED_BYTES: usize = 48;
/// Most bytes that a picture may have: three colours of 2560 x 1440 and more.
pub const MAX_IMAGE_BYTES: usize = 16 << 20;
/// Most rows, and most columns.
pub const MAX_IMAGE_SIDE: u32 = 16_384;

/// One picture; `D` is `Vec<u8>` or `&[u8]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image<D = Vec<u8>> {
    /// Sequence, times, stream. `monotonic_ns` is when the picture was taken, on the clock of the robot's observations.
    pub stamp: Stamp,
    /// Which camera, as in the key `obs/<name>`.
    pub name: Name,
    /// Columns; 0 with rows 0 where a JPEG file says it.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// What the bytes are.
    pub encoding: ImageEncoding,
    /// The picture, row by row from the top left without gaps, or the file; at most [`MAX_IMAGE_BYTES`].
    #[serde(bound(serialize = "D: AsRef<[u8]>", deserialize = "D: From<Vec<u8>>"))]
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub data: D,
}

/// An image decoded in place, or about to be encoded from a slice.
pub type ImageSlice<'a> = Image<&'a [u8]>;

/// What the bytes of a picture are, by its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum ImageEncoding {
    /// Three bytes a pixel: red, green, blue.
    Rgb8 = 1,
    /// Three bytes a pixel: blue, green, red, as OpenCV has them.
    Bgr8 = 2,
    /// One byte a pixel.
    Mono8 = 3,
    /// A JPEG file.
    Jpeg = 4,
}

impl ImageEncoding {
    const ALL: [Self; 4] = [Self::Rgb8, Self::Bgr8, Self::Mono8, Self::Jpeg];

    /// Bytes of a pixel; none where the picture is compressed.
    #[must_use]
    pub fn pixel_bytes(self) -> Option<usize> {
        match self {
            Self::Rgb8 | Self::Bgr8 => Some(3),
            Self::Mono8 => Some(1),
            Self::Jpeg => None,
        }
    }
}

impl<D: AsRef<[u8]>> Image<D> {
    fn check(&self) -> Result<(), ContentError> {
        let length = self.data.as_ref().len();
        let out_of_range = |field, expected, found: usize| ContentError::OutOfRange {
            field,
            expected,
            found: found as f64,
        };
        if length > MAX_IMAGE_BYTES {
            return Err(ContentError::TooLarge {
                field: "data",
                limit: MAX_IMAGE_BYTES as u64,
                found: length as u64,
            });
        }
        let is_unsaid = self.encoding == ImageEncoding::Jpeg && self.width == 0 && self.height == 0;
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if !is_unsaid && !(1..=MAX_IMAGE_SIDE).contains(&side) {
                return Err(out_of_range(field, "1 to 16384", side as usize));
            }
        }
        match self.encoding.pixel_bytes() {
            Some(bytes) if length != self.width as usize * self.height as usize * bytes => {
                Err(out_of_range(
                    "data",
                    "as many bytes as width, height and encoding say",
                    length,
                ))
            }
            None if length == 0 => Err(out_of_range("data", "at least 1 byte", 0)),
            _ => Ok(()),
        }
    }
}

impl<D: AsRef<[u8]>> Encode for Image<D> {
    const KIND: Kind = Kind::Image;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        self.check()?;
        let data = self.data.as_ref();
        Header::start(out, Self::KIND, &self.stamp, FIXED_BYTES + data.len());
        for number in [
            self.width,
            self.height,
            self.encoding as u32,
            data.len() as u32,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.name.padded());
        out.extend_from_slice(data);
        Ok(())
    }
}

impl Decode for Image {
    const KIND: Kind = Kind::Image;
    type View<'a> = ImageSlice<'a>;

    fn view(bytes: &[u8]) -> Result<ImageSlice<'_>, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let (width, height) = (reader.u32()?, reader.u32()?);
        let (code, length) = (reader.u32()?, reader.u32()? as usize);
        let encoding = ImageEncoding::ALL
            .into_iter()
            .find(|encoding| *encoding as u32 == code)
            .ok_or(DecodeError::UnknownCode {
                field: "encoding",
                found: code,
            })?;
        let name = Name::from_padded(reader.array()?)?;
        let data = reader.take(length)?;
        reader.finish()?;
        let image = Image {
            stamp,
            name,
            width,
            height,
            encoding,
            data,
        };
        image.check()?;
        Ok(image)
    }

    fn from_view(view: &ImageSlice<'_>) -> Self {
        Self {
            stamp: view.stamp,
            name: view.name,
            width: view.width,
            height: view.height,
            encoding: view.encoding,
            data: view.data.to_vec(),
        }
    }
}

/// The JSON mirror has the bytes as two hexadecimal digits each.
fn to_hex<S: Serializer>(data: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    let digits = data.as_ref().iter().flat_map(|byte| {
        [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0'))
    });
    serializer.serialize_str(&digits.collect::<String>())
}

fn from_hex<'de, D: Deserializer<'de>, B: From<Vec<u8>>>(deserializer: D) -> Result<B, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    let expected = || D::Error::custom("expected two hexadecimal digits for each byte");
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|letter| letter.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits
        .filter(|digits| digits.len() % 2 == 0)
        .ok_or_else(expected)?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    Ok(bytes.into())
}

const _: () = assert!(HEADER_BYTES + FIXED_BYTES == 88);
