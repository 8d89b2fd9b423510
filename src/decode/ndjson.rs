//! One JSON object per line (NDJSON, JSON Lines).
//!
//! Decides: a line is a row; blank lines are layout. A line that is no JSON object is set aside and the next one read.
//! Guarantees: as for CSV, bounded memory and exact places; a stopped file is resumed at the byte.

use super::chunk::Chunk;
use super::csv::without_line_end;
use super::encoding::decide;
use super::json::{Fields, fields_of};
use super::records::Records;
use super::window::{Line, Window};
use super::{DecodeError, Header, Job, Limits, Members, Resume, Wanted};
use crate::config::Encoding;

/// See the module.
pub(super) struct Ndjson {
    window: Window,
    header: Header,
    wanted: Vec<Wanted>,
    limits: Limits,
    fields: Fields,
    rows: u64,
}

impl Ndjson {
    /// Settles the encoding and goes to the first line or the position to resume at.
    pub(super) fn open(job: Job) -> Result<Self, DecodeError> {
        let decided = decide(job.input.as_ref(), Encoding::Auto, None)?;
        Ok(Self {
            window: Window::open(job.input.clone(), &decided, job.resume)?,
            header: Header { columns: None, kinds: Vec::new(), encoding: decided.evidence },
            fields: fields_of(&job.wanted, job.limits.depth),
            rows: job.rows(),
            wanted: job.wanted,
            limits: job.limits,
        })
    }

    fn take_line(&mut self, chunk: &mut Chunk, len: usize) {
        let raw_len = self.window.raw_len_of_lines(len, 1);
        let line = self.window.text().get(..len).unwrap_or_default();
        let lines = usize::from(line.ends_with('\n'));
        if !line.trim().is_empty() {
            self.rows += 1;
            let place = self.window.place(self.rows);
            let raw = without_line_end(self.window.raw(raw_len));
            match self.window.fault(raw_len) {
                Some((code, detail)) => chunk.set_aside(place, raw, code, detail),
                None => self.fields.take(line.trim(), chunk, place, raw),
            }
        }
        self.window.consume(len, raw_len, lines);
    }
}

impl Records for Ndjson {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        match self.window.line(self.limits.row_bytes)? {
            Line::End => return Ok(false),
            Line::Whole(len) => self.take_line(chunk, len),
            Line::TooLong => {
                self.rows += 1;
                let place = self.window.place(self.rows);
                let raw = self.window.skip_line()?;
                let detail = format!("longer than {} bytes", self.limits.row_bytes);
                chunk.set_aside(place, without_line_end(&raw), "row_too_long", detail);
            }
        }
        Ok(true)
    }

    fn resume(&self) -> Resume {
        self.window.resume(self.rows)
    }

    fn members(&mut self) -> Option<Members> {
        self.fields.members()
    }
}

#[cfg(test)]
mod tests;
