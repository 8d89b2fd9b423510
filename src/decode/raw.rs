//! The part of a file of bytes (not text as a whole) that is in memory, moving forward: fixed width, DBF, HJ 212.
//!
//! Decides: nothing. Must not know: what a row is. Guarantees: memory is what the caller has not consumed plus a block.

use std::io::Read;
use std::sync::Arc;

use super::encoding::fill;
use super::{DecodeError, Input, Resume, RowPlace, read_error};

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// See the module.
pub(super) struct Raw {
    input: Arc<dyn Input>,
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    byte: u64,
    line: u64,
    ended: bool,
}

/// One physical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RawLine {
    /// Nothing is left.
    End,
    /// This many bytes, the line feed included (the last line may have none).
    Whole(usize),
    /// Longer than allowed.
    TooLong,
}

impl Raw {
    /// Reads from `start`, or from where `resume` says.
    pub(super) fn open(input: Arc<dyn Input>, start: u64, resume: Option<Resume>) -> Result<Self, DecodeError> {
        let at = resume.filter(|r| r.byte > 0).unwrap_or(Resume { row: 0, byte: start, line: 1 });
        let reader = input.read_from(at.byte).map_err(|e| read_error(input.as_ref(), e))?;
        Ok(Self { input, reader, buffer: Vec::new(), start: 0, byte: at.byte, line: at.line.max(1), ended: false })
    }

    /// The file.
    pub(super) fn input(&self) -> &dyn Input {
        self.input.as_ref()
    }

    /// Unread bytes in memory.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Whether the file has nothing beyond [`Raw::unread`].
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Where the unread bytes begin.
    pub(super) fn place(&self, row: u64) -> RowPlace {
        RowPlace { row, line: self.line, byte: self.byte }
    }

    /// The position of the unread bytes, after `row` rows.
    pub(super) fn resume(&self, row: u64) -> Resume {
        Resume { row, byte: self.byte, line: self.line }
    }

    /// Reads one more block; false when the file had ended before.
    pub(super) fn fill(&mut self) -> Result<bool, DecodeError> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + BLOCK, 0);
        let room = self.buffer.get_mut(before..).unwrap_or_default();
        let read = fill(&mut self.reader, room).map_err(|e| read_error(self.input.as_ref(), e))?;
        self.buffer.truncate(before + read);
        self.ended = read < BLOCK;
        Ok(true)
    }

    /// Sees to it that `len` bytes are unread, if the file has so many.
    pub(super) fn need(&mut self, len: usize) -> Result<bool, DecodeError> {
        while self.unread().len() < len {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The present line, of at most `limit` bytes.
    pub(super) fn line(&mut self, limit: usize) -> Result<RawLine, DecodeError> {
        let mut from = 0;
        loop {
            let unread = self.unread();
            match memchr::memchr(b'\n', unread.get(from..).unwrap_or_default()) {
                Some(i) if from + i > limit => return Ok(RawLine::TooLong),
                Some(i) => return Ok(RawLine::Whole(from + i + 1)),
                None if unread.len() > limit => return Ok(RawLine::TooLong),
                None if self.ended && unread.is_empty() => return Ok(RawLine::End),
                None if self.ended => return Ok(RawLine::Whole(unread.len())),
                None => from = unread.len(),
            }
            self.fill()?;
        }
    }

    /// Moves on by `len` bytes with `lines` line ends.
    pub(super) fn consume(&mut self, len: usize, lines: u64) {
        let len = len.min(self.unread().len());
        self.start += len;
        self.byte += len as u64;
        self.line += lines;
    }

    /// Moves to the start of the next line however far it is; the first `keep` bytes of what was passed.
    pub(super) fn skip_line(&mut self, keep: usize) -> Result<Vec<u8>, DecodeError> {
        let mut kept = Vec::new();
        loop {
            let unread = self.unread();
            let (len, lines) = match memchr::memchr(b'\n', unread) {
                Some(i) => (i + 1, 1),
                None => (unread.len(), 0),
            };
            let room = keep.saturating_sub(kept.len());
            kept.extend_from_slice(unread.get(..len.min(room)).unwrap_or_default());
            self.consume(len, lines);
            if lines == 1 || !self.fill()? {
                return Ok(kept);
            }
        }
    }
}
