//! JPEG files of cameras: decoded if they are whole, in colour, and of one size.
//!
//! A decoder for people makes the best of half a file and fills the rest with grey. A policy would act on that, so here a
//! file is gone through first ([`check_whole`]): all its blocks must be there, up to the mark at its end.

use std::array;

use kinestream_policy::config::ImageSize;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Red, green and blue of every pixel.
pub(super) fn decode(file: &[u8], size: ImageSize) -> Result<Vec<u8>, String> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    let broken = |error: &dyn std::fmt::Debug| format!("not a JPEG file ({error:?})");
    // Nothing is decoded that is not of the policy's size.
    decoder.decode_headers().map_err(|error| broken(&error))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    super::check_size(width, height, size)?;
    if decoder.info().is_some_and(|info| info.components == 1) {
        return Err(super::GREY.to_owned());
    }
    check_whole(file).map_err(|flaw| format!("a damaged JPEG file: {flaw}"))?;
    decoder.decode().map_err(|error| broken(&error))
}

const CUT: &str = "it ends too early";
const CORRUPT: &str = "its data is no picture";

/// Goes through a file from the first byte to the mark of its end, and through every block of a sequential one.
fn check_whole(file: &[u8]) -> Result<(), &'static str> {
    let mut frame = Frame::default();
    let mut at = 2;
    loop {
        let marker = next_marker(file, &mut at)?;
        match marker {
            0xd9 => return frame.check_complete(),
            // These stand alone.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let segment = segment(file, at)?;
        at += segment.len() + 2;
        match marker {
            0xc0..=0xc2 => frame.begin(marker, segment)?,
            0xc4 => frame.take_tables(segment)?,
            0xdd => {
                let interval = segment.get(..2).ok_or(CORRUPT)?;
                frame.restart = u32::from(interval[0]) << 8 | u32::from(interval[1]);
            }
            0xda => {
                frame.scan(segment, &file[at..])?;
                at += entropy_bytes(&file[at..]);
            }
            _ => {}
        }
    }
}

/// The next marker's second byte; `at` is then behind it. Bytes between segments are skipped, as decoders do.
fn next_marker(file: &[u8], at: &mut usize) -> Result<u8, &'static str> {
    let rest = file.get(*at..).ok_or(CUT)?;
    let found = rest
        .windows(2)
        .position(|pair| pair[0] == 0xff && pair[1] != 0 && pair[1] != 0xff);
    let found = found.ok_or(CUT)?;
    *at += found + 2;
    Ok(file[*at - 1])
}

/// What a segment holds behind its length.
fn segment(file: &[u8], at: usize) -> Result<&[u8], &'static str> {
    let length = file.get(at..at + 2).ok_or(CUT)?;
    let length = usize::from(length[0]) << 8 | usize::from(length[1]);
    if length < 2 {
        return Err(CORRUPT);
    }
    file.get(at + 2..at + length).ok_or(CUT)
}

/// Bytes of a scan's entropy-coded data: up to the first marker that ends it.
fn entropy_bytes(data: &[u8]) -> usize {
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    data.windows(2).position(ends).unwrap_or(data.len())
}

#[derive(Debug, Clone, Copy, Default)]
struct Component {
    id: u8,
    horizontal: u32,
    vertical: u32,
    /// Whether a sequential scan held it.
    is_seen: bool,
}

/// What the segments said so far.
#[derive(Debug, Default)]
struct Frame {
    is_progressive: bool,
    width: u32,
    height: u32,
    components: Vec<Component>,
    /// Of a progressive file: bits still to come of every coefficient of every component; more than any file has at first.
    missing_bits: Vec<[u8; 64]>,
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: u32,
}

impl Frame {
    fn begin(&mut self, marker: u8, segment: &[u8]) -> Result<(), &'static str> {
        let [_, h1, h0, w1, w0, count, ref rest @ ..] = *segment else {
            return Err(CORRUPT);
        };
        self.is_progressive = marker == 0xc2;
        self.height = u32::from(h1) << 8 | u32::from(h0);
        self.width = u32::from(w1) << 8 | u32::from(w0);
        let described = rest.chunks_exact(3).take(usize::from(count));
        self.components = described
            .map(|it| Component {
                id: it[0],
                horizontal: u32::from(it[1] >> 4),
                vertical: u32::from(it[1] & 15),
                is_seen: false,
            })
            .collect();
        let is_sampled =
            |it: &Component| (1..=4).contains(&it.horizontal) && (1..=4).contains(&it.vertical);
        if self.components.len() != usize::from(count) || !self.components.iter().all(is_sampled) {
            return Err(CORRUPT);
        }
        self.missing_bits = vec![[u8::MAX; 64]; self.components.len()];
        Ok(())
    }

    fn take_tables(&mut self, mut segment: &[u8]) -> Result<(), &'static str> {
        while let [place, rest @ ..] = segment {
            let (table, used) = Huffman::read(rest).ok_or(CORRUPT)?;
            let tables = match place >> 4 {
                0 => &mut self.dc,
                _ => &mut self.ac,
            };
            *tables.get_mut(usize::from(place & 15)).ok_or(CORRUPT)? = Some(table);
            segment = &rest[used..];
        }
        Ok(())
    }

    /// Takes note of a scan, and goes through its blocks where they are sequential.
    fn scan(&mut self, header: &[u8], data: &[u8]) -> Result<(), &'static str> {
        let [count, rest @ ..] = header else {
            return Err(CORRUPT);
        };
        let count = usize::from(*count);
        let (chosen, rest) = rest.split_at_checked(2 * count).ok_or(CORRUPT)?;
        let [first, last, approximation, ..] = *rest else {
            return Err(CORRUPT);
        };
        let mut scanned = Vec::with_capacity(count);
        for choice in chosen.chunks_exact(2) {
            let of = |it: &Component| it.id == choice[0];
            let index = self.components.iter().position(of).ok_or(CORRUPT)?;
            scanned.push((
                index,
                usize::from(choice[1] >> 4),
                usize::from(choice[1] & 15),
            ));
        }
        if self.is_progressive {
            let band = usize::from(first)..=usize::from(last.min(63));
            for (index, ..) in scanned {
                let bits = self.missing_bits[index]
                    .get_mut(band.clone())
                    .ok_or(CORRUPT)?;
                bits.fill(approximation & 15);
            }
            return Ok(());
        }
        for &(index, ..) in &scanned {
            self.components[index].is_seen = true;
        }
        self.go_through(&scanned, data)
    }

    fn go_through(
        &self,
        scanned: &[(usize, usize, usize)],
        data: &[u8],
    ) -> Result<(), &'static str> {
        let (mut blocks, mut units) = (Vec::new(), 0);
        let most = |of: fn(&Component) -> u32| self.components.iter().map(of).max().unwrap_or(1);
        let (across, down) = (most(|it| it.horizontal), most(|it| it.vertical));
        for &(index, dc, ac) in scanned {
            let (Some(Some(dc)), Some(Some(ac))) = (self.dc.get(dc), self.ac.get(ac)) else {
                // A frame of Motion JPEG leaves its tables to the decoder, which says what it makes of it.
                return Ok(());
            };
            let Component {
                horizontal,
                vertical,
                ..
            } = self.components[index];
            if scanned.len() == 1 {
                let columns = (self.width * horizontal).div_ceil(8 * across);
                let rows = (self.height * vertical).div_ceil(8 * down);
                (blocks, units) = (vec![(dc, ac)], columns * rows);
            } else {
                let size = (horizontal * vertical) as usize;
                blocks.extend(std::iter::repeat_n((dc, ac), size));
                units = self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down);
            }
        }
        let mut bits = Bits::new(data);
        for unit in 0..units {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                bits.restart()?;
            }
            for (dc, ac) in &blocks {
                bits.go_through_block(dc, ac)?;
            }
        }
        Ok(())
    }

    /// Whether every block of every component came.
    fn check_complete(&self) -> Result<(), &'static str> {
        let is_complete = match self.is_progressive {
            true => self.missing_bits.iter().flatten().all(|bits| *bits == 0),
            false => self.components.iter().all(|it| it.is_seen),
        };
        if is_complete && !self.components.is_empty() {
            Ok(())
        } else {
            Err(CUT)
        }
    }
}

/// A table of Huffman codes.
#[derive(Debug)]
struct Huffman {
    /// By the next eight bits: length of the code and its symbol; length 0 for longer codes.
    short: Box<[(u8, u8); 256]>,
    /// By length: the first code that is longer, aligned to 16 bits, and what to add to a code to find its symbol.
    limits: [u32; 17],
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// The table at the beginning of these bytes, and how many it takes.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let counts = bytes.get(..16)?;
        let total: usize = counts.iter().map(|it| usize::from(*it)).sum();
        let symbols = bytes.get(16..16 + total)?.to_vec();
        let mut short = Box::new([(0, 0); 256]);
        let (mut limits, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut index) = (0_u32, 0_usize);
        for length in 1..=16_usize {
            offsets[length] = index as i32 - code as i32;
            for _ in 0..counts[length - 1] {
                if code >= 1 << length {
                    return None;
                }
                if length <= 8 {
                    let from = (code as usize) << (8 - length);
                    short[from..from + (1 << (8 - length))].fill((length as u8, symbols[index]));
                }
                code += 1;
                index += 1;
            }
            limits[length] = code << (16 - length);
            code <<= 1;
        }
        let table = Self {
            short,
            limits,
            offsets,
            symbols,
        };
        Some((table, 16 + total))
    }

    /// Length of the code that these 16 bits begin with, and its symbol.
    fn look_up(&self, bits: u32) -> Option<(u32, u8)> {
        let (length, symbol) = self.short[(bits >> 8) as usize];
        if length > 0 {
            return Some((u32::from(length), symbol));
        }
        let length = (9..=16_usize).find(|&length| bits < self.limits[length])?;
        let index = (bits >> (16 - length)) as i32 + self.offsets[length];
        let symbol = self.symbols.get(usize::try_from(index).ok()?)?;
        Some((length as u32, *symbol))
    }
}

/// Entropy-coded data, bit by bit.
#[derive(Debug)]
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next `held` bits, in its lowest places.
    buffer: u64,
    held: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            buffer: 0,
            held: 0,
        }
    }

    /// Reads up to the next marker, as far as there is room.
    fn fill(&mut self) {
        while self.held <= 56 {
            let next: [Option<&u8>; 2] = array::from_fn(|more| self.data.get(self.at + more));
            let byte = match next {
                [Some(0xff), Some(0)] => {
                    self.at += 1;
                    0xff
                }
                [Some(0xff), _] | [None, _] => return,
                [Some(byte), _] => *byte,
            };
            self.at += 1;
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.held += 8;
        }
    }

    /// The next 16 bits, with ones where there are no more: no code consists of ones alone.
    fn peek(&mut self) -> u32 {
        if self.held < 16 {
            self.fill();
        }
        let bits = match self.held {
            16.. => self.buffer >> (self.held - 16),
            held => !(!self.buffer << (16 - held)) & mask(16),
        };
        (bits & mask(16)) as u32
    }

    fn skip(&mut self, count: u32) -> Result<(), &'static str> {
        if self.held < count {
            self.fill();
        }
        self.held = self.held.checked_sub(count).ok_or(CUT)?;
        Ok(())
    }

    fn symbol(&mut self, table: &Huffman) -> Result<u8, &'static str> {
        let bits = self.peek();
        let Some((length, symbol)) = table.look_up(bits) else {
            // No code is as long as what is left: either none is left, or it is no code.
            return Err(if self.held < 16 { CUT } else { CORRUPT });
        };
        self.skip(length)?;
        Ok(symbol)
    }

    fn go_through_block(&mut self, dc: &Huffman, ac: &Huffman) -> Result<(), &'static str> {
        let size = self.symbol(dc)?;
        self.skip(u32::from(size.min(16)))?;
        let mut place = 1;
        while place < 64 {
            let symbol = self.symbol(ac)?;
            let (zeros, size) = (symbol >> 4, symbol & 15);
            match (zeros, size) {
                (0..15, 0) => return Ok(()),
                _ => place += u32::from(zeros) + 1,
            }
            self.skip(u32::from(size))?;
        }
        match place {
            64 => Ok(()),
            _ => Err(CORRUPT),
        }
    }

    /// Goes on behind the next restart marker.
    fn restart(&mut self) -> Result<(), &'static str> {
        self.held = 0;
        loop {
            let found = self.data.get(self.at..self.at + 2).ok_or(CUT)?;
            match found {
                [0xff, 0xd0..=0xd7] => {
                    self.at += 2;
                    return Ok(());
                }
                [0xff, 0 | 0xff] => self.at += 1,
                [0xff, _] => return Err(CUT),
                _ => self.at += 1,
            }
        }
    }
}

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SIZE: ImageSize = ImageSize {
        height: 48,
        width: 64,
    };
    /// The same picture of 64 x 48 pixels: sampled 4:2:0 and 4:4:4, progressive, with restart markers.
    const FILES: [&[u8]; 4] = [
        include_bytes!("../../../tests/data/colour.jpg"),
        include_bytes!("../../../tests/data/colour-444.jpg"),
        include_bytes!("../../../tests/data/colour-progressive.jpg"),
        include_bytes!("../../../tests/data/colour-restart.jpg"),
    ];

    #[test]
    fn whole_files_are_taken() {
        let pictures = FILES.map(|file| decode(file, SIZE).unwrap());
        for picture in &pictures {
            assert_eq!(picture.len(), 3 * SIZE.width * SIZE.height);
        }
        assert_eq!(pictures[0], pictures[2]);
        assert_eq!(pictures[0], pictures[3]);
        // Some cameras fill up their buffers.
        let padded = [FILES[0], &[0; 100]].concat();
        assert_eq!(decode(&padded, SIZE).unwrap(), pictures[0]);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        for file in FILES {
            for length in 0..file.len() {
                assert!(decode(&file[..length], SIZE).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_cut_file_is_refused_though_its_end_was_mended() {
        for file in FILES {
            let begin = file
                .windows(2)
                .position(|pair| pair == [0xff, 0xda])
                .unwrap()
                + 16;
            let (mut taken, mut tried) = (0, 0);
            for length in (begin..file.len() - 3).rev() {
                let mended = [&file[..length], &[0xff, 0xd9]].concat();
                tried += 1;
                taken += usize::from(decode(&mended, SIZE).is_ok());
            }
            // The last byte of a file may be half padding, and of the last scan of a progressive one it is the decoder alone
            // that knows how much there should be.
            let last_scan = file
                .windows(2)
                .rposition(|pair| pair == [0xff, 0xda])
                .unwrap();
            let spared = match file == FILES[2] {
                true => file.len() - last_scan,
                false => 1,
            };
            assert!(
                taken <= spared && tried > 500,
                "{taken} of {tried}, {spared}"
            );
        }
    }

    #[test]
    fn a_file_that_lost_its_middle_is_refused() {
        for file in [FILES[0], FILES[1], FILES[3]] {
            let (half, gap) = (file.len() * 2 / 3, 300);
            let lost = [&file[..half], &file[half + gap..]].concat();
            assert!(decode(&lost, SIZE).is_err());
        }
    }

    #[test]
    fn noise_and_damage_never_panic() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        for file in FILES {
            for _ in 0..2000 {
                let mut damaged = file.to_vec();
                for _ in 0..1 + random() % 4 {
                    let at = random() % damaged.len();
                    damaged[at] = random() as u8;
                }
                let _ = check_whole(&damaged);
                let _ = decode(&damaged, SIZE);
            }
        }
        for _ in 0..2000 {
            let noise: Vec<u8> = (0..random() % 200).map(|_| random() as u8).collect();
            let _ = check_whole(&[&[0xff, 0xd8, 0xff], &*noise].concat());
        }
    }

    #[test]
    fn grey_is_refused_by_name() {
        let grey = include_bytes!("../../../tests/data/grey.jpg");
        let told = decode(grey, SIZE).unwrap_err();
        assert!(told.contains("grey") && told.contains("colour"), "{told}");
    }
}
