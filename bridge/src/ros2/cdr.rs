//! XCDR1 in little-endian order, as ROS 2 puts messages on the wire (OMG DDS-XTypes 1.3, section 7.4.1).
//!
//! Four bytes say the encoding; numbers then stand at multiples of their size, counted from behind those bytes. A sequence
//! is its count and its elements, a string its bytes with a zero behind, counted. Bytes may be anybody's: the reader
//! promises never to panic, and never to take more memory than a small multiple of the bytes that are there.

/// CDR, little-endian, no options.
const HEADER: [u8; 4] = [0, 1, 0, 0];

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdrError {
    /// Another encoding: big-endian, parameter lists, XCDR2.
    #[error("encoding {found:02x?}; expected 00 01 (plain CDR, little-endian)")]
    Encoding {
        /// The first two bytes.
        found: [u8; 2],
    },
    /// The bytes end too early.
    #[error("{what} at byte {at}: expected {expected} bytes, found {found}")]
    Short {
        /// What was to be read.
        what: &'static str,
        /// Where.
        at: usize,
        /// Bytes that it takes at least.
        expected: usize,
        /// Bytes that are left.
        found: usize,
    },
    /// A string that is not UTF-8, or without its zero.
    #[error("{what} at byte {at}: expected UTF-8 with a zero behind it")]
    Text {
        /// What was to be read.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// Bytes behind the message.
    #[error("{found} bytes behind the message")]
    Rest {
        /// How many.
        found: usize,
    },
}

/// Writes a message.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            bytes: HEADER.to_vec(),
        }
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {
        impl Writer {
            $(
                #[doc = concat!("A number of type `", stringify!($type), "`.")]
                pub fn $name(&mut self, value: $type) {
                    self.align(size_of::<$type>());
                    self.bytes.extend(value.to_le_bytes());
                }
            )*
        }

        impl Reader<'_> {
            $(
                #[doc = concat!("A number of type `", stringify!($type), "`.")]
                ///
                /// # Errors
                /// The bytes end before it.
                pub fn $name(&mut self, what: &'static str) -> Result<$type, CdrError> {
                    self.align(size_of::<$type>());
                    let mut bytes = [0; size_of::<$type>()];
                    bytes.copy_from_slice(self.take(what, size_of::<$type>())?);
                    Ok(<$type>::from_le_bytes(bytes))
                }
            )*
        }
    };
}

numbers!(u8: u8, i32: i32, u32: u32, f64: f64);

impl Writer {
    fn align(&mut self, size: usize) {
        let past = self.bytes.len() - HEADER.len();
        self.bytes
            .resize(HEADER.len() + past.next_multiple_of(size), 0);
    }

    /// A count. What does not fit into 32 bits cannot be sent and is cut off by no one: no message here comes near.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// A string; a zero within it ends it early for readers in C, so it is left out with what follows.
    pub fn text(&mut self, text: &str) {
        let text = text.split('\0').next().unwrap_or_default();
        self.count(text.len() + 1);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// A sequence of doubles.
    pub fn doubles(&mut self, values: &[f64]) {
        self.count(values.len());
        values.iter().for_each(|value| self.f64(*value));
    }

    /// A sequence of bytes.
    pub fn octets(&mut self, values: &[u8]) {
        self.count(values.len());
        self.bytes.extend(values);
    }

    /// A sequence of anything.
    pub fn each<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.count(values.len());
        values.iter().for_each(|value| write(self, value));
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a message.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads the encoding.
    ///
    /// # Errors
    /// Another encoding, or fewer than four bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, CdrError> {
        let mut reader = Self { bytes, at: 0 };
        let header = reader.take("the encoding", HEADER.len())?;
        let found = [header[0], header[1]];
        if found != HEADER[..2] {
            return Err(CdrError::Encoding { found });
        }
        Ok(reader)
    }

    fn align(&mut self, size: usize) {
        self.at = HEADER.len() + (self.at - HEADER.len()).next_multiple_of(size);
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn take(&mut self, what: &'static str, count: usize) -> Result<&'a [u8], CdrError> {
        let (at, found) = (self.at, self.left());
        if found < count {
            return Err(CdrError::Short {
                what,
                at,
                expected: count,
                found,
            });
        }
        self.at += count;
        Ok(&self.bytes[at..at + count])
    }

    /// A count of elements, of which each takes at least so many bytes: no more than the bytes that are left could hold.
    ///
    /// # Errors
    /// A count that they could not.
    pub fn count(&mut self, what: &'static str, least: usize) -> Result<usize, CdrError> {
        let count = self.u32(what)? as usize;
        let (expected, found) = (count.saturating_mul(least.max(1)), self.left());
        if expected > found {
            return Err(CdrError::Short {
                what,
                at: self.at,
                expected,
                found,
            });
        }
        Ok(count)
    }

    /// A string.
    ///
    /// # Errors
    /// The bytes end before it, or it is none.
    pub fn text(&mut self, what: &'static str) -> Result<String, CdrError> {
        let count = self.count(what, 1)?;
        let at = self.at;
        let wrong = CdrError::Text { what, at };
        // Some writers count nothing for an empty string.
        if count == 0 {
            return Ok(String::new());
        }
        match self.take(what, count)?.split_last() {
            Some((0, text)) if !text.contains(&0) => match std::str::from_utf8(text) {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => Err(wrong),
            },
            _ => Err(wrong),
        }
    }

    /// A sequence of doubles.
    ///
    /// # Errors
    /// The bytes end before it.
    pub fn doubles(&mut self, what: &'static str) -> Result<Vec<f64>, CdrError> {
        self.each(what, 8, |reader| reader.f64(what))
    }

    /// A sequence of bytes.
    ///
    /// # Errors
    /// The bytes end before it.
    pub fn octets(&mut self, what: &'static str) -> Result<Vec<u8>, CdrError> {
        let count = self.count(what, 1)?;
        Ok(self.take(what, count)?.to_vec())
    }

    /// A sequence of anything, of which an element takes at least so many bytes.
    ///
    /// # Errors
    /// The first element's that cannot be read.
    pub fn each<T>(
        &mut self,
        what: &'static str,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, CdrError>,
    ) -> Result<Vec<T>, CdrError> {
        let count = self.count(what, least)?;
        (0..count).map(|_| read(self)).collect()
    }

    /// That nothing is left but the zeros that some writers add to a multiple of four bytes.
    ///
    /// # Errors
    /// More than that.
    pub fn finish(self) -> Result<(), CdrError> {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        if rest.len() > 3 || rest.iter().any(|byte| *byte != 0) {
            return Err(CdrError::Rest { found: rest.len() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_stand_at_multiples_of_their_size() {
        let mut writer = Writer::default();
        writer.u8(7);
        writer.f64(1.0);
        writer.u8(9);
        writer.u32(2);
        let bytes = writer.finish();
        assert_eq!(bytes.len(), 4 + 8 + 8 + 4 + 4);
        let mut reader = Reader::new(&bytes).unwrap();
        assert_eq!(reader.u8("a"), Ok(7));
        assert_eq!(reader.f64("b"), Ok(1.0));
        assert_eq!(reader.u8("c"), Ok(9));
        assert_eq!(reader.u32("d"), Ok(2));
        reader.finish().unwrap();
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(
            Reader::new(&[0, 0, 0, 0]).unwrap_err(),
            CdrError::Encoding { found: [0, 0] }
        );
        assert!(
            Reader::new(&[0, 1])
                .unwrap_err()
                .to_string()
                .contains("expected 4 bytes, found 2")
        );
        // A count of four milliards in eight bytes.
        let huge = [0, 1, 0, 0, 255, 255, 255, 255, 1, 2, 3, 4];
        assert!(Reader::new(&huge).unwrap().doubles("position").is_err());
        assert!(Reader::new(&huge).unwrap().text("name").is_err());
        let no_zero = [0, 1, 0, 0, 1, 0, 0, 0, b'a'];
        assert!(
            Reader::new(&no_zero)
                .unwrap()
                .text("name")
                .unwrap_err()
                .to_string()
                .contains("name at byte 8")
        );
        assert_eq!(
            Reader::new(&[0, 1, 0, 0, 1]).unwrap().finish(),
            Err(CdrError::Rest { found: 1 })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn what_is_written_is_read(text in "[^\0]{0,20}", numbers in any::<Vec<f64>>(), octets in any::<Vec<u8>>(), small in any::<u8>()) {
            let mut writer = Writer::default();
            writer.u8(small);
            writer.text(&text);
            writer.octets(&octets);
            writer.doubles(&numbers);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes).unwrap();
            prop_assert_eq!(reader.u8("small").unwrap(), small);
            prop_assert_eq!(reader.text("text").unwrap(), text);
            prop_assert_eq!(reader.octets("octets").unwrap(), octets);
            let found = reader.doubles("numbers").unwrap();
            prop_assert!(found.iter().zip(&numbers).all(|(one, other)| one.to_bits() == other.to_bits()));
            prop_assert_eq!(found.len(), numbers.len());
            reader.finish().unwrap();
        }
    }
}
