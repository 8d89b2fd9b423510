//! Which character encoding a file is in, and the evidence for it.
//!
//! Decides: UTF-8 or GB 18030 (GB 18030-2022; GBK and GB 2312 are parts of it). `auto` reads from the start until the
//! question is settled: a byte order mark; or 4,096 multi-byte characters that are all valid UTF-8; or the first byte
//! that is not UTF-8; or the end. GBK text passes for UTF-8 by accident for a few characters, never for 32 in a row, so a
//! fault after 32 good ones means a damaged UTF-8 file (whose bad rows are set aside one by one) and not GB 18030.
//! Must not know: rows. Guarantees: the same file gives the same answer on every opening; memory is one small buffer.

use std::borrow::Cow;
use std::io::Read;

use super::{DecodeError, Input, broken, read_error};
use crate::config::Encoding;

/// Multi-byte characters after which a file is UTF-8 whatever follows.
const ENOUGH: u64 = 4096;
/// Multi-byte characters that do not come about by accident in GBK text.
const NO_ACCIDENT: u64 = 32;
/// The same when the file itself also says that it is UTF-8.
const LITTLE_ACCIDENT: u64 = 4;

/// A character encoding that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// UTF-8, strictly (RFC 3629).
    Utf8,
    /// GB 18030.
    Gb18030,
}

impl Charset {
    /// Name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Gb18030 => "gb18030",
        }
    }

    /// The text of `bytes`, if they are all in this encoding.
    pub(super) fn strict(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Gb18030 => encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }

    /// Code of a row with bytes that are not in this encoding.
    pub(super) fn fault_code(self) -> &'static str {
        match self {
            Self::Utf8 => "bad_utf8",
            Self::Gb18030 => "bad_gb18030",
        }
    }

    /// First thing wrong with `raw`: code and offset. NUL bytes are wrong in every encoding.
    pub(super) fn first_fault(self, raw: &[u8]) -> Option<(&'static str, usize)> {
        let bad = match self {
            Self::Utf8 => std::str::from_utf8(raw).err().map(|e| e.valid_up_to()),
            Self::Gb18030 => first_bad_gb18030(raw),
        };
        let bad = bad.map(|at| (self.fault_code(), at));
        let nul = memchr::memchr(0, raw).map(|at| ("nul_byte", at));
        [bad, nul].into_iter().flatten().min_by_key(|(_, at)| *at)
    }
}

fn first_bad_gb18030(raw: &[u8]) -> Option<usize> {
    let mut decoder = encoding_rs::GB18030.new_decoder_without_bom_handling();
    let mut scratch = [0u8; 4096];
    let mut at = 0;
    loop {
        let rest = raw.get(at..).unwrap_or_default();
        let (result, read, _) = decoder.decode_to_utf8_without_replacement(rest, &mut scratch, true);
        at += read;
        match result {
            encoding_rs::DecoderResult::InputEmpty => return None,
            encoding_rs::DecoderResult::OutputFull => {}
            encoding_rs::DecoderResult::Malformed(bad, after) => {
                return Some(at.saturating_sub(usize::from(bad) + usize::from(after)));
            }
        }
    }
}

/// An encoding and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    /// The encoding.
    pub(super) charset: Charset,
    /// Bytes of the byte order mark, to be skipped.
    pub(super) mark: usize,
    /// `gb18030 (not valid utf-8 at byte 812)`.
    pub(super) evidence: String,
}

impl Decided {
    fn new(charset: Charset, mark: usize, why: impl std::fmt::Display) -> Self {
        Self { charset, mark, evidence: format!("{} ({why})", charset.name()) }
    }
}

/// Settles the encoding of `input`.
///
/// `label` is what the file says of itself (an XML declaration); labels lie, so it decides only where the bytes do
/// not. Errors: `HL0313` for UTF-16 and for a mark that contradicts the definition, `HL0310` for a file that is no text.
pub(super) fn decide(input: &dyn Input, declared: Encoding, label: Option<Charset>) -> Result<Decided, DecodeError> {
    let mut reader = input.read_from(0).map_err(|e| read_error(input, e))?;
    let mut buffer = vec![0u8; 64 << 10];
    let first = fill(&mut reader, &mut buffer).map_err(|e| read_error(input, e))?;
    let head = buffer.get(..first).unwrap_or_default();
    refuse_what_is_not_text(input, head)?;
    if let Some(found) = by_mark(head) {
        return contradiction(input, declared, found);
    }
    match declared {
        Encoding::Utf8 => return Ok(Decided::new(Charset::Utf8, 0, "declared")),
        Encoding::Gb18030 => return Ok(Decided::new(Charset::Gb18030, 0, "declared")),
        Encoding::Auto => {}
    }
    let mut scan = Scan::default();
    let mut have = first;
    while have > 0 && !scan.settled() {
        scan.feed(buffer.get(..have).unwrap_or_default());
        have = fill(&mut reader, &mut buffer).map_err(|e| read_error(input, e))?;
    }
    scan.end();
    Ok(scan.verdict(label))
}

/// Settles the encoding of texts that are parts of a file that is not text as a whole. What they are valid in decides,
/// as in [`decide`].
pub(super) fn decide_texts<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Decided {
    let mut scan = Scan::default();
    for text in texts {
        scan.feed(text);
        scan.feed(b"\n"); // a character does not go on in the next text
        if scan.settled() {
            break;
        }
    }
    scan.end();
    scan.verdict(None)
}

/// Reads until `buffer` is full or the end; how many bytes.
pub(super) fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

fn refuse_what_is_not_text(input: &dyn Input, head: &[u8]) -> Result<(), DecodeError> {
    const WORKBOOK: &str = "this is a workbook or an archive, not text";
    const UTF16: &str = "the file is UTF-16; it must be UTF-8 or GB 18030";
    match head {
        [b'P', b'K', 3, 4, ..] | [0xD0, 0xCF, 0x11, 0xE0, ..] => Err(broken(input, "HL0310", WORKBOOK)),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Err(broken(input, "HL0313", UTF16)),
        _ => Ok(()),
    }
}

fn by_mark(head: &[u8]) -> Option<Decided> {
    match head {
        [0xEF, 0xBB, 0xBF, ..] => Some(Decided::new(Charset::Utf8, 3, "bom")),
        [0x84, 0x31, 0x95, 0x33, ..] => Some(Decided::new(Charset::Gb18030, 4, "bom")),
        _ => None,
    }
}

fn contradiction(input: &dyn Input, declared: Encoding, found: Decided) -> Result<Decided, DecodeError> {
    let agrees = match declared {
        Encoding::Auto => true,
        Encoding::Utf8 => found.charset == Charset::Utf8,
        Encoding::Gb18030 => found.charset == Charset::Gb18030,
    };
    if agrees {
        return Ok(found);
    }
    let message =
        format!("the file begins with a {} byte order mark, its definition says otherwise", found.charset.name());
    Err(broken(input, "HL0313", message))
}

/// Streaming UTF-8 check that counts multi-byte characters up to the first fault.
#[derive(Default)]
struct Scan {
    pending: Vec<u8>,
    multibyte: u64,
    bytes: u64,
    fault: Option<u64>,
}

impl Scan {
    fn settled(&self) -> bool {
        self.fault.is_some() || self.multibyte >= ENOUGH
    }

    fn feed(&mut self, block: &[u8]) {
        if self.pending.is_empty() {
            return self.check(block, false);
        }
        // A character split between two blocks: put it together with what follows.
        let mut joined = std::mem::take(&mut self.pending);
        joined.extend_from_slice(block);
        self.check(&joined, false);
    }

    fn end(&mut self) {
        let rest = std::mem::take(&mut self.pending);
        if self.fault.is_none() {
            self.check(&rest, true);
        }
    }

    fn check(&mut self, bytes: &[u8], last: bool) {
        let (good, stop) = match std::str::from_utf8(bytes) {
            Ok(_) => (bytes.len(), None),
            Err(e) => (e.valid_up_to(), Some(e.error_len().is_some() || last)),
        };
        let (valid, rest) = bytes.split_at(good);
        self.multibyte += valid.iter().filter(|b| **b >= 0xC0).count() as u64;
        self.bytes += good as u64;
        match stop {
            Some(true) => self.fault = Some(self.bytes),
            Some(false) => self.pending = rest.to_vec(),
            None => {}
        }
    }

    fn verdict(self, label: Option<Charset>) -> Decided {
        let characters = self.multibyte;
        let no_accident = if label == Some(Charset::Utf8) { LITTLE_ACCIDENT } else { NO_ACCIDENT };
        match self.fault {
            None if characters == 0 => Decided::new(label.unwrap_or(Charset::Utf8), 0, "ascii only"),
            None if label == Some(Charset::Gb18030) && characters < NO_ACCIDENT => {
                Decided::new(Charset::Gb18030, 0, "declared by the file")
            }
            None => Decided::new(Charset::Utf8, 0, format_args!("{characters} multi-byte characters, none invalid")),
            Some(at) if characters >= no_accident => Decided::new(
                Charset::Utf8,
                0,
                format_args!("{characters} multi-byte characters before an invalid one at byte {at}"),
            ),
            Some(at) => Decided::new(Charset::Gb18030, 0, format_args!("not valid utf-8 at byte {at}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Memory;

    fn gbk(text: &str) -> Vec<u8> {
        encoding_rs::GB18030.encode(text).0.into_owned()
    }

    fn check(bytes: &[u8], declared: Encoding, expect: &str) {
        let input = Memory::new("a.csv", bytes.to_vec());
        let got = match decide(&input, declared, None) {
            Ok(decided) => decided.evidence,
            Err(e) => e.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn auto_follows_the_mark_then_utf8_then_gb18030() {
        check(b"\xEF\xBB\xBFa,b", Encoding::Auto, "utf-8 (bom)");
        check(b"a,b\n1,2\n", Encoding::Auto, "utf-8 (ascii only)");
        check("企业名称\n青岛\n".as_bytes(), Encoding::Auto, "utf-8 (6 multi-byte characters, none invalid)");
        check(&gbk("id,企业名称\n1,青岛\n"), Encoding::Auto, "gb18030 (not valid utf-8 at byte 3)");
        check(b"\x84\x31\x95\x33a", Encoding::Auto, "gb18030 (bom)");
        check(b"", Encoding::Auto, "utf-8 (ascii only)");
    }

    #[test]
    fn a_damaged_utf8_file_is_still_utf8() {
        let mut bytes = "青岛市市北区西吴路一百八十九号".repeat(3).into_bytes();
        bytes.extend_from_slice(b"\xFF\n");
        check(&bytes, Encoding::Auto, "utf-8 (45 multi-byte characters before an invalid one at byte 135)");
    }

    #[test]
    fn a_character_across_two_blocks_is_no_fault() {
        for pad in (64 << 10) - 4..=(64 << 10) {
            let mut bytes = vec![b'a'; pad];
            bytes.extend_from_slice("青岛".as_bytes());
            check(&bytes, Encoding::Auto, "utf-8 (2 multi-byte characters, none invalid)");
        }
    }

    #[test]
    fn a_declared_encoding_is_taken_unless_the_mark_contradicts_it() {
        check(&gbk("青岛"), Encoding::Utf8, "utf-8 (declared)");
        check(&gbk("青岛"), Encoding::Gb18030, "gb18030 (declared)");
        check(b"\xEF\xBB\xBFa", Encoding::Utf8, "utf-8 (bom)");
        let message = "HL0313 a.csv: the file begins with a utf-8 byte order mark, its definition says otherwise";
        check(b"\xEF\xBB\xBFa", Encoding::Gb18030, message);
        check(b"\xFF\xFEa\0", Encoding::Auto, "HL0313 a.csv: the file is UTF-16; it must be UTF-8 or GB 18030");
        check(b"PK\x03\x04...", Encoding::Auto, "HL0310 a.csv: this is a workbook or an archive, not text");
    }

    #[test]
    fn the_first_fault_has_its_place() {
        assert_eq!(Charset::Utf8.first_fault(b"ab\xFFc\0"), Some(("bad_utf8", 2)));
        assert_eq!(Charset::Utf8.first_fault(b"a\0b\xFF"), Some(("nul_byte", 1)));
        assert_eq!(Charset::Gb18030.first_fault(&gbk("青岛")), None);
        let mut bytes = gbk(&"青岛".repeat(3000));
        bytes.push(0xFF);
        assert_eq!(Charset::Gb18030.first_fault(&bytes), Some(("bad_gb18030", 12000)));
        assert_eq!(Charset::Gb18030.first_fault(b"a\x81\n"), Some(("bad_gb18030", 1)));
    }
}
