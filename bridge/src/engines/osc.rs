//! Open Sound Control 1.0, as much of it as a sender of bundles needs: strings, 32-bit integers and floats.
//!
//! A bundle is `#bundle`, a time tag of eight bytes, and messages with their length in front. All is big-endian, strings
//! end with a zero and are padded to four bytes. Source: the OSC 1.0 specification (opensoundcontrol.stanford.edu).

/// The time tag that means: at once.
const IMMEDIATELY: u64 = 1;

/// An argument of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument<'a> {
    /// `i`
    Int(i32),
    /// `f`
    Float(f32),
    /// `s`; what follows a zero byte is left out.
    Text(&'a str),
}

/// Writes messages into bundles of bounded length.
#[derive(Debug, Clone, Default)]
pub(super) struct Bundles {
    /// Finished ones and the open one, the last.
    bundles: Vec<Vec<u8>>,
    /// How many of these are in use; the others wait for their next use.
    used: usize,
    message: Vec<u8>,
}

impl Bundles {
    /// Begins afresh.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Adds a message to the open bundle, or to a new one if it would grow beyond `most` bytes.
    pub(super) fn push(&mut self, address: &str, arguments: &[Argument<'_>], most: usize) {
        self.message.clear();
        write_text(&mut self.message, address);
        let tags = arguments.iter().map(|argument| match argument {
            Argument::Int(_) => 'i',
            Argument::Float(_) => 'f',
            Argument::Text(_) => 's',
        });
        let tags: String = std::iter::once(',').chain(tags).collect();
        write_text(&mut self.message, &tags);
        for argument in arguments {
            match argument {
                Argument::Int(value) => self.message.extend_from_slice(&value.to_be_bytes()),
                Argument::Float(value) => self.message.extend_from_slice(&value.to_be_bytes()),
                Argument::Text(text) => write_text(&mut self.message, text),
            }
        }
        let length = 4 + self.message.len();
        if self.used == 0 || self.bundles[self.used - 1].len() + length > most {
            self.open();
        }
        let bundle = &mut self.bundles[self.used - 1];
        bundle.extend_from_slice(&(self.message.len() as u32).to_be_bytes());
        bundle.extend_from_slice(&self.message);
    }

    /// The bundles so far.
    pub(super) fn finished(&self) -> &[Vec<u8>] {
        &self.bundles[..self.used]
    }

    fn open(&mut self) {
        if self.used == self.bundles.len() {
            self.bundles.push(Vec::new());
        }
        let bundle = &mut self.bundles[self.used];
        bundle.clear();
        write_text(bundle, "#bundle");
        bundle.extend_from_slice(&IMMEDIATELY.to_be_bytes());
        self.used += 1;
    }
}

/// A string with its end and padding. `out` is at a multiple of four.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let plain = text.split('\0').next().unwrap_or_default();
    out.extend_from_slice(plain.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rosc::{OscPacket, OscType, decoder};

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let mut bundles = Bundles::default();
        // The example of the specification, /oscillator/4/frequency 440.0, in a bundle.
        bundles.push("/oscillator/4/frequency", &[Argument::Float(440.0)], 1400);
        let expected = [
            b"#bundle\0".as_slice(),
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 32],
            b"/oscillator/4/frequency\0,f\0\0",
            &[0x43, 0xdc, 0, 0],
        ];
        assert_eq!(bundles.finished(), [expected.concat()]);
        bundles.clear();
        assert!(bundles.finished().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_independent_reader_reads_what_is_written(
            messages in prop::collection::vec(
                ("/[a-zA-Z/]{0,30}", "[^\0]{0,40}", any::<i32>(), -1e30f32..1e30), 1..40,
            ),
            most in 150..500usize,
        ) {
            let mut bundles = Bundles::default();
            bundles.push("/left/over", &[], most);
            bundles.clear();
            for (address, text, int, float) in &messages {
                let arguments = [Argument::Text(text), Argument::Int(*int), Argument::Float(*float)];
                bundles.push(address, &arguments, most);
            }
            let mut read = Vec::new();
            for bundle in bundles.finished() {
                let (rest, packet) = decoder::decode_udp(bundle).unwrap();
                prop_assert!(rest.is_empty());
                let OscPacket::Bundle(found) = packet else { panic!("no bundle") };
                // Longer only where a single message is.
                prop_assert!(bundle.len() <= most || found.content.len() == 1);
                prop_assert_eq!((found.timetag.seconds, found.timetag.fractional), (0, 1));
                for packet in found.content {
                    let OscPacket::Message(message) = packet else { panic!("no message") };
                    read.push((message.addr, message.args));
                }
            }
            let expected: Vec<_> = messages
                .iter()
                .map(|(address, text, int, float)| (
                    address.clone(),
                    vec![OscType::String(text.clone()), OscType::Int(*int), OscType::Float(*float)],
                ))
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
