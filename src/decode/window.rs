//! The part of a text file that is in memory: its raw bytes and the same as text, moving forward.
//!
//! Decides: how bytes become text block by block, and which raw bytes belong to which text. Must not know: what a row
//! is. Guarantees: text offsets map to exact byte offsets of the file in either encoding; bytes that are not in the
//! encoding become U+FFFD in the text but are never passed on silently ([`Window::fault`]); memory is what the caller
//! has not consumed yet plus two blocks.
//!
//! Raw and text positions are matched by *anchors*: ASCII bytes below 0x30 and 0x3A–0x3F are never part of a longer
//! character, neither in UTF-8 nor in GB 18030 (whose second to fourth bytes are 30–39, 40–7E and 80–FE), so the n-th anchor of the
//! text is the n-th anchor of the raw bytes.

use std::io::Read;
use std::sync::Arc;

use super::chunk::RAW_KEPT;
use super::encoding::{Charset, Decided, fill};
use super::gb18030::Gb18030;
use super::{DecodeError, Input, Resume, RowPlace, read_error};

/// Bytes read at a time: raw and text of one block stay in the second-level cache.
const BLOCK: usize = 256 << 10;
/// Most bytes that one [`Window::fill`] adds.
const MOST: usize = 4 << 20;

/// How new bytes become text.
enum Codec {
    /// UTF-8; the bytes of a character that the last block has only begun.
    Utf8(Vec<u8>),
    /// GB 18030; the decoder keeps a begun character itself.
    Gb18030(Box<Gb18030>),
}

/// Raw bytes, where they differ from the text.
struct Raw {
    bytes: Vec<u8>,
    start: usize,
}

/// See the module.
pub(super) struct Window {
    input: Arc<dyn Input>,
    reader: Box<dyn Read + Send>,
    charset: Charset,
    codec: Codec,
    scratch: Vec<u8>,
    text: String,
    start: usize,
    raw: Option<Raw>,
    /// Faults were seen before this position of `text`.
    faulty: usize,
    byte: u64,
    line: u64,
    ended: bool,
}

/// One physical line at the start of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing is left.
    End,
    /// This many bytes of text, the line feed included (the last line may have none).
    Whole(usize),
    /// Longer than allowed.
    TooLong,
}

impl Window {
    /// Opens `input` after its byte order mark, or at `resume`.
    pub(super) fn open(input: Arc<dyn Input>, decided: &Decided, resume: Option<Resume>) -> Result<Self, DecodeError> {
        Self::with_block(input, decided, resume, BLOCK)
    }

    /// The same with another block size, for tests.
    pub(super) fn with_block(
        input: Arc<dyn Input>,
        decided: &Decided,
        resume: Option<Resume>,
        block: usize,
    ) -> Result<Self, DecodeError> {
        let start = Resume { row: 0, byte: decided.mark as u64, line: 1 };
        let at = resume.filter(|r| r.byte > 0).unwrap_or(start);
        let reader = input.read_from(at.byte).map_err(|e| read_error(input.as_ref(), e))?;
        let (codec, raw) = match decided.charset {
            Charset::Utf8 => (Codec::Utf8(Vec::new()), None),
            Charset::Gb18030 => (Codec::Gb18030(Box::new(Gb18030::new())), Some(Raw { bytes: Vec::new(), start: 0 })),
        };
        Ok(Self {
            input,
            reader,
            charset: decided.charset,
            codec,
            scratch: vec![0; block.max(1)],
            text: String::new(),
            start: 0,
            raw,
            faulty: 0,
            byte: at.byte,
            line: at.line.max(1),
            ended: false,
        })
    }

    /// The file.
    pub(super) fn input(&self) -> &dyn Input {
        self.input.as_ref()
    }

    /// Unread text. Positions in it stay valid across [`Window::fill`].
    pub(super) fn text(&self) -> &str {
        self.text.get(self.start..).unwrap_or_default()
    }

    /// Whether the file has nothing beyond [`Window::text`].
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Where the unread text begins.
    pub(super) fn place(&self, row: u64) -> RowPlace {
        RowPlace { row, line: self.line, byte: self.byte }
    }

    /// The position of the unread text, after `row` rows.
    pub(super) fn resume(&self, row: u64) -> Resume {
        Resume { row, byte: self.byte, line: self.line }
    }

    /// Reads on: a block, or as much as is unread already, so that looking for a far end stays linear. False when the
    /// file had ended before.
    pub(super) fn fill(&mut self) -> Result<bool, DecodeError> {
        if self.ended {
            return Ok(false);
        }
        self.forget_consumed();
        let wanted = self.text.len().min(MOST);
        let mut added = 0;
        loop {
            let mut block = std::mem::take(&mut self.scratch);
            let read = fill(&mut self.reader, &mut block).map_err(|e| read_error(self.input.as_ref(), e))?;
            self.ended = read < block.len();
            self.add(block.get(..read).unwrap_or_default());
            self.scratch = block;
            added += read;
            if self.ended || added >= wanted {
                return Ok(true);
            }
        }
    }

    fn forget_consumed(&mut self) {
        self.text.drain(..self.start);
        self.faulty = self.faulty.saturating_sub(self.start);
        self.start = 0;
        if let Some(raw) = &mut self.raw {
            raw.bytes.drain(..raw.start);
            raw.start = 0;
        }
    }

    fn add(&mut self, block: &[u8]) {
        let before = self.text.len();
        let last = self.ended;
        match &mut self.codec {
            Codec::Utf8(begun) if begun.is_empty() => {
                let whole = if last { block.len() } else { block.len() - begun_character(block) };
                let (now, later) = block.split_at(whole);
                begun.extend_from_slice(later);
                self.add_utf8(now);
            }
            Codec::Utf8(begun) => {
                let mut joined = std::mem::take(begun);
                joined.extend_from_slice(block);
                let whole = if last { joined.len() } else { joined.len() - begun_character(&joined) };
                let later = joined.split_off(whole);
                begun.extend_from_slice(&later);
                self.add_utf8(&joined);
            }
            Codec::Gb18030(decoder) => {
                if let Some(raw) = &mut self.raw {
                    raw.bytes.extend_from_slice(block);
                }
                if let Some(faulty) = decoder.decode(block, last, &mut self.text) {
                    self.faulty = faulty;
                }
            }
        }
        let new = self.text.as_bytes().get(before..).unwrap_or_default();
        if let Some(at) = memchr::memrchr(0, new) {
            self.faulty = self.faulty.max(before + at + 1);
        }
    }

    fn add_utf8(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(_) => {
                // From the first fault on, text and raw bytes differ.
                let unread = self.text.as_bytes().get(self.start..).unwrap_or_default();
                if self.raw.is_none() {
                    self.raw = Some(Raw { bytes: unread.to_vec(), start: 0 });
                }
                self.text.push_str(&String::from_utf8_lossy(bytes));
                self.faulty = self.text.len();
            }
        }
        if let Some(raw) = &mut self.raw {
            raw.bytes.extend_from_slice(bytes);
        }
    }

    /// How many raw bytes the first `text` bytes of unread text are.
    pub(super) fn raw_len(&self, text: usize) -> usize {
        let Some(raw) = &self.raw else { return text };
        let unread = raw.bytes.get(raw.start..).unwrap_or_default();
        let prefix = self.text().get(..text).unwrap_or_else(|| self.text());
        if prefix.len() == self.text().len() && self.ended {
            return unread.len();
        }
        let anchors = prefix.bytes().filter(|b| is_anchor(*b)).count();
        let after_anchor = prefix.bytes().rposition(is_anchor).map_or(0, |i| i + 1);
        let rest = prefix.get(after_anchor..).unwrap_or_default().chars().count();
        let from = after_nth_anchor(unread, anchors);
        (0..rest).fold(from, |at, _| at + self.step(unread.get(at..).unwrap_or_default())).min(unread.len())
    }

    /// The same for several ends in ascending order, in one pass.
    pub(super) fn raw_lens(&self, ends: &[usize]) -> Vec<usize> {
        let Some(raw) = &self.raw else { return ends.to_vec() };
        let unread = raw.bytes.get(raw.start..).unwrap_or_default();
        let rest = |at: usize| unread.get(at..).unwrap_or_default();
        let mut chars = self.text().char_indices().peekable();
        let mut at = 0;
        let mut lens = Vec::with_capacity(ends.len());
        for end in ends {
            while let Some((_, c)) = chars.next_if(|(start, _)| start < end) {
                at += match u8::try_from(c).is_ok_and(is_anchor) {
                    true => after_nth_anchor(rest(at), 1),
                    false => self.step(rest(at)),
                };
            }
            lens.push(at.min(unread.len()));
        }
        lens
    }

    /// The same for text of whole lines: `lines` line feeds, or the end of the file.
    pub(super) fn raw_len_of_lines(&self, text: usize, lines: usize) -> usize {
        let Some(raw) = &self.raw else { return text };
        let unread = raw.bytes.get(raw.start..).unwrap_or_default();
        if text == self.text.len() - self.start && self.ended {
            return unread.len();
        }
        memchr::memchr_iter(b'\n', unread).nth(lines.saturating_sub(1)).map_or(unread.len(), |i| i + 1)
    }

    /// Raw bytes of the first character of `bytes`.
    fn step(&self, bytes: &[u8]) -> usize {
        match (self.charset, bytes) {
            (_, []) => 0,
            (_, [0..=0x7F, ..]) => 1,
            (Charset::Gb18030, [0x81..=0xFE, 0x30..=0x39, 0x81..=0xFE, 0x30..=0x39, ..]) => 4,
            (Charset::Gb18030, [0x81..=0xFE, 0x40..=0x7E | 0x80..=0xFE, ..]) => 2,
            (Charset::Gb18030, _) => 1,
            (Charset::Utf8, _) => match bytes.utf8_chunks().next() {
                Some(c) if c.valid().is_empty() => c.invalid().len().max(1),
                Some(c) => c.valid().chars().next().map_or(1, char::len_utf8),
                None => 1,
            },
        }
    }

    /// The first `raw` unread raw bytes.
    pub(super) fn raw(&self, raw: usize) -> &[u8] {
        let unread = match &self.raw {
            Some(r) => r.bytes.get(r.start..),
            None => self.text.as_bytes().get(self.start..),
        };
        unread.and_then(|u| u.get(..raw)).unwrap_or_default()
    }

    /// What is wrong with the first `raw` unread raw bytes, if anything: code and what to say about it.
    pub(super) fn fault(&self, raw: usize) -> Option<(&'static str, String)> {
        if self.start >= self.faulty {
            return None;
        }
        let (code, at) = self.charset.first_fault(self.raw(raw))?;
        let byte = self.byte + at as u64;
        Some(match code {
            "nul_byte" => (code, format!("byte {byte} of the file is NUL")),
            _ => (code, format!("byte {byte} of the file is not valid {}", self.charset.name())),
        })
    }

    /// Moves on by `text` bytes of text, which are `raw` raw bytes with `lines` line feeds.
    pub(super) fn consume(&mut self, text: usize, raw: usize, lines: usize) {
        self.start = (self.start + text).min(self.text.len());
        if let Some(r) = &mut self.raw {
            r.start = (r.start + raw).min(r.bytes.len());
        }
        self.byte += raw as u64;
        self.line += lines as u64;
    }

    /// Moves on by `text` bytes of text, counting everything itself.
    pub(super) fn skip(&mut self, text: usize) {
        let lines = self.text().as_bytes().get(..text).map_or(0, |t| memchr::memchr_iter(b'\n', t).count());
        let raw = self.raw_len(text);
        self.consume(text, raw, lines);
    }

    /// Looks for the end of the present line, reading on as needed, at most `limit` bytes.
    pub(super) fn line(&mut self, limit: usize) -> Result<Line, DecodeError> {
        let mut from = 0;
        loop {
            let text = self.text().as_bytes();
            match memchr::memchr(b'\n', text.get(from..).unwrap_or_default()) {
                Some(i) if from + i > limit => return Ok(Line::TooLong),
                Some(i) => return Ok(Line::Whole(from + i + 1)),
                None if text.len() > limit => return Ok(Line::TooLong),
                None if self.ended && text.is_empty() => return Ok(Line::End),
                None if self.ended => return Ok(Line::Whole(text.len())),
                None => from = text.len(),
            }
            self.fill()?;
        }
    }

    /// Moves to the start of the next line however far it is; the first 64 KiB of raw bytes of what was passed.
    pub(super) fn skip_line(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut kept = Vec::new();
        loop {
            let text = self.text().as_bytes();
            let (len, lines) = match memchr::memchr(b'\n', text) {
                Some(i) => (i + 1, 1),
                None => (text.len(), 0),
            };
            let raw = if lines == 1 { self.raw_len_of_lines(len, 1) } else { self.raw_unread() };
            let room = RAW_KEPT.saturating_sub(kept.len());
            kept.extend_from_slice(self.raw(raw.min(room)));
            self.consume(len, raw, lines);
            if lines == 1 || !self.fill()? {
                return Ok(kept);
            }
        }
    }

    /// Moves past everything unread, which may end inside a character of the raw bytes.
    fn raw_unread(&self) -> usize {
        match &self.raw {
            Some(r) => r.bytes.len() - r.start,
            None => self.text.len() - self.start,
        }
    }
}

/// Whether `b` is a character of its own in the text *and* in the raw bytes.
fn is_anchor(b: u8) -> bool {
    b < 0x30 || (0x3A..=0x3F).contains(&b)
}

/// Position after the `n`-th anchor.
fn after_nth_anchor(raw: &[u8], n: usize) -> usize {
    if n == 0 {
        return 0;
    }
    let mut left = n;
    let mut at = 0;
    for block in raw.chunks(64) {
        let here = block.iter().filter(|b| is_anchor(**b)).count();
        if here >= left {
            let within = block.iter().enumerate().filter(|(_, b)| is_anchor(**b)).nth(left - 1);
            return within.map_or(at, |(i, _)| at + i + 1);
        }
        left -= here;
        at += block.len();
    }
    raw.len()
}

/// Bytes at the end of `bytes` that begin a UTF-8 character and do not finish it.
fn begun_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes.get(bytes.len() - back).copied().unwrap_or(0);
        let needs = match byte {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if needs > back { back } else { 0 };
    }
    0
}
