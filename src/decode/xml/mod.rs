//! XML with one record per element (XML 1.0; no DTD, no entities of its own).
//!
//! Decides: which elements are records (those at the record path, compared by local names) and where they end; what a
//! DTD does to a file: nothing, it is refused. Must not know: contracts beyond names and paths. Guarantees: only
//! one record is in memory at a time; a record that is not well-formed in itself is set aside and the next one read; a file that
//! ends early gives its whole records and then an error. The raw bytes of a record are those of the file, also in
//! GB 18030. A stopped file is resumed at the byte.
//!
//! Record ends are found by a small tokenizer ([`mod@token`]), which sees every byte once; quick-xml then reads single records.

mod fields;
mod token;

use super::chunk::{Chunk, RAW_KEPT};
use super::encoding::{Charset, decide, fill};
use super::records::Records;
use super::window::Window;
use super::{DecodeError, Header, Input, Job, Limits, Members, Resume, RowPlace, Wanted, broken, read_error};
use crate::config::Encoding;
use fields::Fields;
pub(super) use token::local_name;
use token::{Token, token};

/// See the module.
pub(super) struct Xml {
    window: Window,
    header: Header,
    wanted: Vec<Wanted>,
    limits: Limits,
    /// Local names from the root to the record.
    path: Vec<String>,
    /// Open elements outside records.
    open: Vec<String>,
    /// The element around the records has been seen, so that "no records" is an answer.
    arrived: bool,
    fields: Fields,
    rows: u64,
}

/// How the search for a record's end went.
enum Record {
    Whole(usize),
    /// Passed by; the first 64 KiB of its raw bytes.
    TooLong(Vec<u8>),
}

impl Xml {
    /// Settles the encoding. `record` is the path of the record element from the root, with `/` between local names; `each` that
    /// of its parts that have a row each.
    pub(super) fn open(
        job: Job,
        (record, each): (&str, Option<&str>),
        encoding: Encoding,
    ) -> Result<Self, DecodeError> {
        let label = declared(job.input.as_ref())?;
        let decided = decide(job.input.as_ref(), encoding, label)?;
        let path: Vec<String> = record.split('/').filter(|s| !s.is_empty()).map(|s| local_name(s).to_owned()).collect();
        let around = path.len().saturating_sub(1);
        let resumed = job.resume.is_some();
        Ok(Self {
            window: Window::open(job.input.clone(), &decided, job.resume)?,
            header: Header { columns: None, kinds: Vec::new(), encoding: decided.evidence },
            fields: Fields::new(&job.wanted, each, job.limits.depth),
            open: if resumed { path.get(..around).unwrap_or_default().to_vec() } else { Vec::new() },
            arrived: resumed || around == 0,
            path,
            rows: job.rows(),
            wanted: job.wanted,
            limits: job.limits,
        })
    }

    /// Goes to the next record's start tag; false at the end of the document.
    fn find_record(&mut self) -> Result<bool, DecodeError> {
        loop {
            if self.window.text().is_empty() {
                if self.window.fill()? {
                    continue;
                }
                return self.end_of_file();
            }
            let text = self.window.text();
            let len = match token(text) {
                Token::Text(len) | Token::Other(len) => len,
                Token::Start { name, .. } if self.is_record(name) => return Ok(true),
                Token::Start { len, name, empty } => {
                    let name = name.to_owned();
                    self.enter(name)?;
                    if empty {
                        self.open.pop();
                    }
                    len
                }
                Token::End { len, name } => {
                    if self.open.last().is_none_or(|open| open != name) {
                        return Err(self.malformed("an end tag that does not match its start tag"));
                    }
                    self.open.pop();
                    len
                }
                Token::Declaration => return Err(self.doctype()),
                Token::More => {
                    self.read_on()?;
                    continue;
                }
            };
            self.window.skip(len);
        }
    }

    fn is_record(&self, name: &str) -> bool {
        self.path.split_last().is_some_and(|(last, around)| last == name && around == self.open)
    }

    fn enter(&mut self, name: String) -> Result<(), DecodeError> {
        self.open.push(name);
        self.arrived |= self.path.split_last().is_some_and(|(_, around)| around == self.open);
        if self.open.len() > self.limits.depth {
            let message = format!("elements nest deeper than {}", self.limits.depth);
            return Err(broken(self.window.input(), "HL0320", message));
        }
        Ok(())
    }

    /// More text for a piece of markup that is not complete.
    fn read_on(&mut self) -> Result<(), DecodeError> {
        if self.window.text().len() > self.limits.row_bytes {
            let message = format!("one tag, comment or section is longer than {} bytes", self.limits.row_bytes);
            return Err(broken(self.window.input(), "HL0320", message));
        }
        if self.window.fill()? { Ok(()) } else { Err(self.cut_off()) }
    }

    fn end_of_file(&self) -> Result<bool, DecodeError> {
        if !self.open.is_empty() {
            return Err(self.cut_off());
        }
        if self.arrived {
            return Ok(false);
        }
        let message = format!("there is no element {}", self.path.join("/"));
        Err(broken(self.window.input(), "HL0319", message))
    }

    /// Looks for the end of the record at the start of the window, reading on as needed.
    fn record_end(&mut self) -> Result<Record, DecodeError> {
        let mut at = 0;
        let mut depth = 0usize;
        let mut passed: Option<Vec<u8>> = None;
        loop {
            let rest = self.window.text().get(at..).unwrap_or_default();
            let (len, change) = match token(if rest.is_empty() { "<" } else { rest }) {
                Token::Text(len) | Token::Other(len) => (len, 0),
                Token::Start { len, empty, .. } => (len, i8::from(!empty)),
                Token::End { len, .. } => (len, -1),
                Token::Declaration => return Err(self.doctype()),
                Token::More => {
                    // What was looked at of a record that is too long need not be kept.
                    at -= self.pass_by(&mut passed, at);
                    if self.window.text().len() - at > self.limits.row_bytes {
                        self.read_on()?;
                    } else if !self.window.fill()? {
                        return Err(self.cut_off());
                    }
                    continue;
                }
            };
            at += len;
            depth = depth.saturating_add_signed(isize::from(change));
            if depth == 0 {
                break;
            }
        }
        if passed.is_none() && at <= self.limits.row_bytes {
            return Ok(Record::Whole(at));
        }
        let mut raw = passed.unwrap_or_default();
        self.pass(&mut raw, at);
        Ok(Record::TooLong(raw))
    }

    /// Consumes `at` bytes if the record is known to be too long; how many were consumed.
    fn pass_by(&mut self, passed: &mut Option<Vec<u8>>, at: usize) -> usize {
        if passed.is_none() && at <= self.limits.row_bytes {
            return 0;
        }
        self.pass(passed.get_or_insert_default(), at);
        at
    }

    fn pass(&mut self, kept: &mut Vec<u8>, len: usize) {
        let raw = self.window.raw_len(len);
        let room = RAW_KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(self.window.raw(raw.min(room)));
        self.window.skip(len);
    }

    fn take_record(&mut self, chunk: &mut Chunk, len: usize) {
        let place = self.window.place(self.rows);
        let raw_len = self.window.raw_len(len);
        let raw = self.window.raw(raw_len);
        let text = self.window.text().get(..len).unwrap_or_default();
        let refused = match self.window.fault(raw_len) {
            Some(fault) => Some(fault),
            None => self.fields.read(text).err(),
        };
        match refused {
            Some((code, detail)) => chunk.set_aside(place, raw, code, detail),
            None => {
                let ends: Vec<usize> = self.fields.parts().flat_map(|part| [part.start, part.end]).collect();
                let ends = self.window.raw_lens(&ends);
                for (nth, row) in self.fields.rows().enumerate() {
                    for (column, cell) in row.enumerate() {
                        chunk.cell(column, cell);
                    }
                    let part = ends.get(nth * 2).zip(ends.get(nth * 2 + 1));
                    let raw = part.map_or(raw, |(from, to)| raw.get(*from..*to).unwrap_or_default());
                    chunk.end_row(RowPlace { row: place.row + nth as u64, ..place }, raw);
                }
                self.rows += self.fields.parts().len().saturating_sub(1) as u64;
            }
        }
        self.window.skip(len);
    }

    fn doctype(&self) -> DecodeError {
        let line = self.window.place(0).line;
        broken(self.window.input(), "HL0318", format!("line {line}: a document type declaration, which is refused"))
    }

    fn cut_off(&self) -> DecodeError {
        let inside = self.open.last().map_or("the document", String::as_str);
        let line = self.window.place(0).line;
        let message = format!("the file ends before {inside} does; the last whole record ends on line {line}");
        broken(self.window.input(), "HL0317", message)
    }

    fn malformed(&self, what: &str) -> DecodeError {
        let line = self.window.place(0).line;
        broken(self.window.input(), "HL0317", format!("line {line}: {what}"))
    }
}

impl Records for Xml {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        if !self.find_record()? {
            return Ok(false);
        }
        let place = self.window.place(self.rows + 1);
        let record = self.record_end()?;
        self.rows += 1;
        match record {
            Record::Whole(len) => self.take_record(chunk, len),
            Record::TooLong(raw) => {
                let detail = format!("longer than {} bytes", self.limits.row_bytes);
                chunk.set_aside(place, &raw, "row_too_long", detail);
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

/// What the XML declaration says of the encoding. Error: `HL0313` for one that is neither UTF-8 nor GB 18030.
fn declared(input: &dyn Input) -> Result<Option<Charset>, DecodeError> {
    let mut head = vec![0; 1024];
    let mut reader = input.read_from(0).map_err(|e| read_error(input, e))?;
    let len = fill(&mut reader, &mut head).map_err(|e| read_error(input, e))?;
    head.truncate(len);
    let text = String::from_utf8_lossy(&head);
    let Some((declaration, _)) =
        text.trim_start_matches('\u{FEFF}').strip_prefix("<?xml").and_then(|d| d.split_once("?>"))
    else {
        return Ok(None);
    };
    let Some(label) = pseudo_attribute(declaration, "encoding") else { return Ok(None) };
    match encoding_rs::Encoding::for_label(label.as_bytes()) {
        Some(e) if e == encoding_rs::UTF_8 => Ok(Some(Charset::Utf8)),
        Some(e) if e == encoding_rs::GBK || e == encoding_rs::GB18030 => Ok(Some(Charset::Gb18030)),
        None if matches!(label.to_ascii_lowercase().as_str(), "cp936" | "ms936" | "windows-936") => {
            Ok(Some(Charset::Gb18030))
        }
        _ => Err(broken(input, "HL0313", format!("the declared encoding {label:?} is neither UTF-8 nor GB 18030"))),
    }
}

fn pseudo_attribute<'t>(declaration: &'t str, name: &str) -> Option<&'t str> {
    let (_, after) = declaration.split_once(name)?;
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.strip_prefix(quote)?.split(quote).next()
}

#[cfg(test)]
mod tests;
