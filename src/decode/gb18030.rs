//! GB 18030 block by block, as text.
//!
//! Decides: nothing; `encoding_rs` does. Its answers for the 23,940 pairs of bytes are kept in a table, which takes half the time,
//! for nearly all hanzi that departments send are pairs. Whatever else comes (four bytes, what is no character) goes to
//! `encoding_rs` itself, with the rest of its line: no character holds a line feed, so the table goes on behind it.
//! Guarantees: the same text as `encoding_rs` gives, however the bytes are cut into blocks.

use std::sync::LazyLock;

use encoding_rs::DecoderResult;

/// The UTF-8 bytes of every pair, lowest byte first, by [`slot`]; 0 where a pair is no character.
static PAIRS: LazyLock<Box<[u32; SLOTS]>> = LazyLock::new(pairs);
const SLOTS: usize = 1 << 15;

/// Bytes that are looked at and written at a time.
const STEP: usize = 8;

/// See the module.
pub(super) struct Gb18030 {
    library: encoding_rs::Decoder,
    /// Whether `library` is inside a line, and perhaps inside a character.
    begun: bool,
    scratch: Vec<u8>,
}

impl Gb18030 {
    pub(super) fn new() -> Self {
        Self { library: encoding_rs::GB18030.new_decoder_without_bom_handling(), begun: false, scratch: Vec::new() }
    }

    /// Appends the text of the next block; where in `text` the last U+FFFD ends that stands for bytes that are none.
    pub(super) fn decode(&mut self, block: &[u8], last: bool, text: &mut String) -> Option<usize> {
        let (mut rest, mut faulty) = (block, None);
        loop {
            if !self.begun {
                let read = self.decode_pairs(rest, text);
                rest = rest.get(read..).unwrap_or_default();
            }
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at(end);
            if line.is_empty() && !(last && self.begun) {
                return faulty;
            }
            faulty = self.decode_line(line, last && behind.is_empty(), text).or(faulty);
            self.begun = !line.ends_with(b"\n");
            rest = behind;
            if rest.is_empty() {
                return faulty;
            }
        }
    }

    /// As long as there are ASCII and known pairs; how many bytes they were.
    fn decode_pairs(&mut self, bytes: &[u8], text: &mut String) -> usize {
        let most = bytes.len() / 2 * 3 + 2 * STEP;
        if self.scratch.len() < most {
            self.scratch.resize(most, 0);
        }
        let (read, written) = translate(bytes, &mut self.scratch);
        let new = self.scratch.get(..written).unwrap_or_default();
        // Copies and checks in one pass.
        let mut checked = encoding_rs::UTF_8.new_decoder_without_bom_handling();
        text.reserve(checked.max_utf8_buffer_length_without_replacement(written).unwrap_or(most));
        let (result, _) = checked.decode_to_string_without_replacement(new, text, true);
        debug_assert_eq!(result, DecoderResult::InputEmpty, "the table holds UTF-8, and there was room");
        read
    }

    fn decode_line(&mut self, mut line: &[u8], last: bool, text: &mut String) -> Option<usize> {
        let mut faulty = None;
        loop {
            let room = self.library.max_utf8_buffer_length_without_replacement(line.len());
            text.reserve(room.unwrap_or(line.len() * 4 + 16));
            let (result, read) = self.library.decode_to_string_without_replacement(line, text, last);
            line = line.get(read..).unwrap_or_default();
            match result {
                DecoderResult::InputEmpty => return faulty,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    faulty = Some(text.len());
                }
            }
        }
    }
}

/// Writes the UTF-8 of the leading bytes that are ASCII or known pairs, but for the last few; how many were read, and how many
/// written. `out` has half as many bytes again as `bytes`, and some.
fn translate(bytes: &[u8], out: &mut [u8]) -> (usize, usize) {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let pairs = &**PAIRS;
    let (mut read, mut written) = (0, 0);
    while let Some(eight) = bytes.get(read..).and_then(<[u8]>::first_chunk::<STEP>) {
        let high = u64::from_le_bytes(*eight) & HIGH_BITS;
        let ascii = (high.trailing_zeros() / 8) as usize; // 8 where no bit is set
        if ascii > 0 {
            let Some(to) = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<STEP>) else { break };
            *to = *eight; // what follows the ASCII is written over
            (read, written) = (read + ascii, written + ascii);
            continue;
        }
        if high == HIGH_BITS && translate_four(pairs, eight, (out, written)) {
            (read, written) = (read + STEP, written + 12);
            continue;
        }
        let Some(to) = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<STEP>) else { break };
        let [first, second, ..] = *eight;
        let utf8 = pairs[slot(first, second)];
        if utf8 == 0 {
            break;
        }
        let [a, b, c, _] = utf8.to_le_bytes();
        to[..3].copy_from_slice(&[a, b, c]);
        // Only signs and letters of these rows take two bytes: where to go on for hanzi need not wait for the table.
        let short = matches!(first, 0xA1..=0xAF) && c == 0;
        (read, written) = (read + 2, written + if short { 2 } else { 3 });
    }
    (read, written)
}

/// Writes four pairs if they are four hanzi, each of three bytes: then none waits for the one before.
#[inline]
fn translate_four(pairs: &[u32; SLOTS], eight: &[u8; STEP], (out, written): (&mut [u8], usize)) -> bool {
    const LEAST_OF_THREE_BYTES: u32 = 0x1_0000;
    let [a, b, c, d, e, f, g, h] = *eight;
    let four = [pairs[slot(a, b)], pairs[slot(c, d)], pairs[slot(e, f)], pairs[slot(g, h)]];
    let Some(to) = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<13>) else { return false };
    // What of each is no character is written over by the next.
    to[..4].copy_from_slice(&four[0].to_le_bytes());
    to[3..7].copy_from_slice(&four[1].to_le_bytes());
    to[6..10].copy_from_slice(&four[2].to_le_bytes());
    to[9..].copy_from_slice(&four[3].to_le_bytes());
    four.into_iter().all(|utf8| utf8 >= LEAST_OF_THREE_BYTES)
}

/// Where a pair stands in the table.
fn slot(first: u8, second: u8) -> usize {
    usize::from(first & 0x7F) << 8 | usize::from(second)
}

fn pairs() -> Box<[u32; SLOTS]> {
    let mut table = Box::new([0; SLOTS]);
    for (first, second) in (0x81..=0xFE).flat_map(|first| (0x40..=0xFE).map(move |second| (first, second))) {
        let pair = [first, second];
        let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(&pair);
        table[slot(first, second)] = match text.as_deref().map(str::as_bytes) {
            Some([a, b]) if *a >= 0x80 => u32::from_le_bytes([*a, *b, 0, 0]),
            Some([a, b, c]) if *a >= 0x80 => u32::from_le_bytes([*a, *b, *c, 0]),
            _ => 0,
        };
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_blocks(bytes: &[u8], size: usize) -> (String, Option<usize>) {
        let (mut decoder, mut text, mut faulty) = (Gb18030::new(), String::new(), None);
        let blocks = bytes.chunks(size).count();
        for (i, block) in bytes.chunks(size).enumerate() {
            faulty = decoder.decode(block, i + 1 == blocks, &mut text).or(faulty);
        }
        (text, faulty)
    }

    #[test]
    fn every_pair_of_bytes_reads_as_the_library_reads_it() {
        for (first, second) in (0..=u8::MAX).flat_map(|first| (0..=u8::MAX).map(move |second| (first, second))) {
            let bytes = [b'a', first, second, b'\n', 0xC7, 0xE0, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h'];
            let (expected, _) = encoding_rs::GB18030.decode_without_bom_handling(&bytes);
            assert_eq!(in_blocks(&bytes, bytes.len()).0, expected, "{first:02x} {second:02x}");
        }
    }

    #[test]
    fn a_fault_is_told_by_where_its_mark_ends() {
        assert_eq!(in_blocks(b"ab\xFFc\n\xC7\xE0", 3), ("ab\u{FFFD}c\n青".to_owned(), Some(5)));
        assert_eq!(in_blocks(b"ab\xC7", 3), ("ab\u{FFFD}".to_owned(), Some(5)), "cut off");
        assert_eq!(in_blocks(b"ab\xC7\xE0", 3), ("ab青".to_owned(), None), "parted by a block's end");
        assert_eq!(in_blocks(b"", 3), (String::new(), None));
    }

    proptest! {
        #[test]
        fn blocks_do_not_matter(
            parts in prop::collection::vec(
                prop_oneof![
                    "[a-z0-9|,]{0,12}".prop_map(String::into_bytes),
                    "[一-龥（）·é€αЖ\u{e863}\u{3400}-\u{34ff}\u{20000}-\u{20020}]{1,12}"
                        .prop_map(|text| encoding_rs::GB18030.encode(&text).0.into_owned()),
                    Just(b"\r\n".to_vec()),
                    prop::collection::vec(any::<u8>(), 1..4),
                ],
                0..40,
            ),
            size in 1_usize..60,
        ) {
            let bytes = parts.concat();
            let (expected, _) = encoding_rs::GB18030.decode_without_bom_handling(&bytes);
            prop_assert_eq!(in_blocks(&bytes, size).0, expected);
        }
    }
}
