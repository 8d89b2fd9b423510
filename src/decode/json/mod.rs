//! A JSON document with an array of records (RFC 8259).
//!
//! Decides: where the array is (`data.list`, or the document itself) and where each record in it ends. Must not know:
//! contracts beyond names and paths. Guarantees: only one record is in memory at a time, whatever the document's size;
//! a record that is not valid JSON within itself is set aside and the next one read; a document that ends early gives
//! its whole records and then an error. A stopped document is resumed at the byte.

mod fields;
mod scan;

pub(super) use fields::{Fields, fields_of};

use super::chunk::Chunk;
use super::encoding::decide;
use super::records::Records;
use super::window::Window;
use super::{DecodeError, Header, Job, Limits, Members, Resume, Wanted, broken};
use crate::config::Encoding;
use scan::Value;

/// See the module.
pub(super) struct Json {
    window: Window,
    header: Header,
    wanted: Vec<Wanted>,
    limits: Limits,
    fields: Fields,
    /// Objects around the array.
    around: usize,
    rows: u64,
    /// A record has been read since the array began, so a comma comes next.
    begun: bool,
    ended: bool,
}

impl Json {
    /// Finds the array `records` (dot-separated names; the document when `None`). Errors: `HL0319` it is not there,
    /// `HL0317` the document breaks before it.
    pub(super) fn open(job: Job, records: Option<&str>) -> Result<Self, DecodeError> {
        let decided = decide(job.input.as_ref(), Encoding::Auto, None)?;
        let path: Vec<&str> = records.map(|p| p.split('.').collect()).unwrap_or_default();
        let mut json = Self {
            window: Window::open(job.input.clone(), &decided, job.resume)?,
            header: Header { columns: None, kinds: Vec::new(), encoding: decided.evidence },
            fields: fields_of(&job.wanted, job.limits.depth),
            around: path.len(),
            rows: job.rows(),
            begun: job.resume.is_some(),
            ended: false,
            wanted: job.wanted,
            limits: job.limits,
        };
        if job.resume.is_none() {
            json.go_to(&path)?;
        }
        Ok(json)
    }

    fn go_to(&mut self, path: &[&str]) -> Result<(), DecodeError> {
        for name in path {
            self.expect(b'{', name)?;
            self.go_to_name(name)?;
        }
        let whole = path.last().copied().unwrap_or("the document");
        self.expect(b'[', whole)
    }

    fn expect(&mut self, bracket: u8, name: &str) -> Result<(), DecodeError> {
        match self.peek()? {
            Some(b) if b == bracket => {
                self.window.skip(1);
                Ok(())
            }
            Some(_) if bracket == b'[' => Err(self.not_there(&format!("{name} is not an array"))),
            Some(_) => Err(self.not_there(&format!("what should contain {name} is not an object"))),
            None => Err(self.cut_off()),
        }
    }

    /// Goes behind `"name":` in the object that has just begun.
    fn go_to_name(&mut self, name: &str) -> Result<(), DecodeError> {
        loop {
            match self.peek()? {
                Some(b'"') => {}
                Some(b',') => {
                    self.window.skip(1);
                    continue;
                }
                Some(b'}') => return Err(self.not_there(&format!("there is no {name}"))),
                Some(_) => return Err(self.malformed("a name in quotes was expected")),
                None => return Err(self.cut_off()),
            }
            let len = self.value_len()?.ok_or_else(|| self.malformed("a name is too long to be one"))?;
            let key = self.window.text().get(..len).unwrap_or_default();
            let here = serde_json::from_str::<String>(key).is_ok_and(|k| k == name);
            self.window.skip(len);
            match self.peek()? {
                Some(b':') => self.window.skip(1),
                Some(_) => return Err(self.malformed("a colon was expected after a name")),
                None => return Err(self.cut_off()),
            }
            self.peek()?;
            if here {
                return Ok(());
            }
            self.skip_value()?;
        }
    }

    /// The next byte that is not white space, which is then the first of the window.
    fn peek(&mut self) -> Result<Option<u8>, DecodeError> {
        loop {
            let text = self.window.text().as_bytes();
            let blank = text.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
            if blank > 0 {
                self.window.skip(blank);
            }
            if let Some(b) = self.window.text().as_bytes().first() {
                return Ok(Some(*b));
            }
            if !self.window.fill()? {
                return Ok(None);
            }
        }
    }

    /// Length of the value at the start of the window; `None` when it is longer than a row may be.
    fn value_len(&mut self) -> Result<Option<usize>, DecodeError> {
        let mut value = Value::default();
        let mut seen = 0;
        loop {
            let text = self.window.text().as_bytes();
            if let Some(n) = value.feed(text.get(seen..).unwrap_or_default(), self.window.ended()) {
                return Ok(Some(seen + n).filter(|n| *n <= self.limits.row_bytes));
            }
            seen = text.len();
            if seen > self.limits.row_bytes {
                return Ok(None);
            }
            if !self.window.fill()? {
                return Err(self.cut_off());
            }
        }
    }

    /// Passes the value at the start of the window, however long; the first 64 KiB of its raw bytes.
    fn skip_value(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut value = Value::default();
        let mut kept = Vec::new();
        loop {
            let text = self.window.text();
            let end = value.feed(text.as_bytes(), self.window.ended());
            let len = end.unwrap_or(text.len());
            let raw = self.window.raw_len(len);
            let room = super::chunk::RAW_KEPT.saturating_sub(kept.len());
            kept.extend_from_slice(self.window.raw(raw.min(room)));
            self.window.skip(len);
            if end.is_some() {
                return Ok(kept);
            }
            if !self.window.fill()? {
                return Err(self.cut_off());
            }
        }
    }

    /// After the array: whatever else the objects around it hold, up to their ends and the end of the file.
    fn finish(&mut self) -> Result<(), DecodeError> {
        let mut around = Value::inside(self.around);
        while !around.is_closed() {
            let text = self.window.text().as_bytes();
            let len = around.feed(text, false).unwrap_or(text.len());
            self.window.skip(len);
            if !around.is_closed() && !self.window.fill()? {
                return Err(self.cut_off());
            }
        }
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.malformed("something follows the end of the document")),
        }
    }

    fn take_record(&mut self, chunk: &mut Chunk) -> Result<(), DecodeError> {
        let place = self.window.place(self.rows + 1);
        match self.value_len()? {
            Some(len) => {
                let raw_len = self.window.raw_len(len);
                let raw = self.window.raw(raw_len);
                match self.window.fault(raw_len) {
                    Some((code, detail)) => chunk.set_aside(place, raw, code, detail),
                    None => self.fields.take(self.window.text().get(..len).unwrap_or_default(), chunk, place, raw),
                }
                self.window.skip(len);
            }
            None => {
                let raw = self.skip_value()?;
                let detail = format!("longer than {} bytes", self.limits.row_bytes);
                chunk.set_aside(place, &raw, "row_too_long", detail);
            }
        }
        self.rows += 1;
        self.begun = true;
        Ok(())
    }

    fn not_there(&self, what: &str) -> DecodeError {
        broken(self.window.input(), "HL0319", format!("the array of records was not found: {what}"))
    }

    fn cut_off(&self) -> DecodeError {
        let place = self.window.place(0);
        let message = format!("the document ends at byte {} in the middle of a value", place.byte);
        broken(self.window.input(), "HL0317", message)
    }

    fn malformed(&self, what: &str) -> DecodeError {
        let place = self.window.place(0);
        broken(self.window.input(), "HL0317", format!("line {}, byte {}: {what}", place.line, place.byte))
    }
}

impl Records for Json {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        if self.ended {
            return Ok(false);
        }
        if self.begun && self.peek()? == Some(b',') {
            self.window.skip(1);
        } else if self.begun && !matches!(self.peek()?, Some(b']') | None) {
            return Err(self.malformed("a comma or the array's end was expected"));
        }
        match self.peek()? {
            None => Err(self.cut_off()),
            Some(b']') => {
                self.window.skip(1);
                self.ended = true;
                self.finish()?;
                Ok(false)
            }
            Some(_) => self.take_record(chunk).map(|()| true),
        }
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
