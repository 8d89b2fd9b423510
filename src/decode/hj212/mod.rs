//! Frames of pollution source monitoring: HJ/T 212-2005 and HJ 212-2017, one frame a line, one row per factor.
//!
//! Decides: what a frame is (`##`, four digits of length, the data segment, four hexadecimal digits of CRC, a line end;
//! what a recorder put before `##` is layout), and what of it is a column: `ST`, `MN`, `DataTime` … by their names;
//! `factor`, the code as it was sent; `factor_2017`, the same as a code of 2017; `-Rtd`, `-Avg`, `-Flag` …, what stands
//! after the factor's code. Frames without factors (commands, heartbeats) are dropped and counted. Must not know:
//! contracts beyond names and paths. Guarantees: a frame whose length or CRC is wrong gives no row; it is set aside whole.
//! The rows of one frame stay in one chunk, which may so become larger than asked for.

mod codes;

use super::chunk::{Chunk, RAW_KEPT};
use super::csv::without_line_end;
use super::encoding::{Charset, decide};
use super::raw::{Raw, RawLine};
use super::records::Records;
use super::{DecodeError, Header, Job, Limits, Resume, Wanted};
use crate::config::Encoding;

/// What a wanted column asks of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ask {
    /// A field of the frame or of its data part.
    Frame(String),
    /// The factor's code.
    Factor,
    /// The factor's code of 2017.
    Factor2017,
    /// What the factor has under this suffix.
    Item(String),
}

/// See the module.
pub(super) struct Hj212 {
    raw: Raw,
    charset: Charset,
    header: Header,
    wanted: Vec<Wanted>,
    asks: Vec<Ask>,
    limits: Limits,
    rows: u64,
}

/// A frame taken apart.
#[derive(Debug, Default, PartialEq)]
struct Frame<'f> {
    fields: Vec<(&'f str, &'f str)>,
    factors: Vec<(&'f str, Vec<(&'f str, &'f str)>)>,
}

impl Hj212 {
    /// Settles the encoding and goes to the first frame or the position to resume at.
    pub(super) fn open(job: Job) -> Result<Self, DecodeError> {
        let decided = decide(job.input.as_ref(), Encoding::Auto, None)?;
        let ask = |w: &Wanted| match w.path.as_deref().unwrap_or(&w.name) {
            "factor" => Ask::Factor,
            "factor_2017" => Ask::Factor2017,
            path => match path.strip_prefix('-') {
                Some(suffix) => Ask::Item(suffix.to_owned()),
                None => Ask::Frame(path.to_owned()),
            },
        };
        Ok(Self {
            raw: Raw::open(job.input.clone(), decided.mark as u64, job.resume)?,
            charset: decided.charset,
            header: Header { columns: None, kinds: Vec::new(), encoding: decided.evidence },
            asks: job.wanted.iter().map(ask).collect(),
            rows: job.rows(),
            limits: job.limits,
            wanted: job.wanted,
        })
    }

    fn take_line(&mut self, chunk: &mut Chunk, len: usize) {
        let line = self.raw.unread().get(..len).unwrap_or_default();
        let row = without_line_end(line);
        if row.trim_ascii().is_empty() || row == b"\x1A" {
            return;
        }
        let place = self.raw.place(self.rows + 1);
        let text = match self.checked(row) {
            Ok(text) => text,
            Err((code, detail)) => {
                self.rows += 1;
                return chunk.set_aside(place, row, code, detail);
            }
        };
        let frame = match apart(&text) {
            Ok(frame) => frame,
            Err((code, detail)) => {
                self.rows += 1;
                return chunk.set_aside(place, row, code, detail);
            }
        };
        if frame.factors.is_empty() {
            self.rows += 1;
            return chunk.drop_row();
        }
        for (code, items) in &frame.factors {
            self.rows += 1;
            for (column, ask) in self.asks.iter().enumerate() {
                let find = |all: &[(&str, &str)], name: &str| {
                    all.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
                };
                let cell = match ask {
                    Ask::Frame(name) => find(&frame.fields, name),
                    Ask::Factor => Some((*code).to_owned()),
                    Ask::Factor2017 => codes::of_2017(code).map(str::to_owned),
                    Ask::Item(suffix) => find(items, suffix),
                };
                chunk.cell(column, cell.as_deref());
            }
            chunk.end_row(super::RowPlace { row: self.rows, ..place }, row);
        }
    }

    /// The data segment of a line that is a whole, undamaged frame; else code and detail.
    fn checked(&self, line: &[u8]) -> Result<String, (&'static str, String)> {
        if let Some((code, at)) = self.charset.first_fault(line) {
            return Err((code, format!("byte {at} of the line is not valid {}", self.charset.name())));
        }
        let start = memchr::memmem::find(line, b"##").ok_or(("bad_frame", "there is no ## in the line".to_owned()))?;
        let frame = line.get(start..).unwrap_or_default().trim_ascii_end();
        let digits = frame.get(2..6).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse::<usize>().ok());
        let declared = digits.ok_or(("bad_frame", "the length is not four digits".to_owned()))?;
        let segment_and_crc = frame.get(6..).unwrap_or_default();
        let present = segment_and_crc.len().saturating_sub(4);
        if present != declared {
            return Err(("bad_length", format!("{declared} bytes declared, {present} present")));
        }
        let (segment, crc) = segment_and_crc.split_at(declared);
        let computed = format!("{:04X}", crc_of(segment));
        if !crc.eq_ignore_ascii_case(computed.as_bytes()) {
            return Err(("bad_crc", format!("the CRC is not that of the {declared} bytes it stands after")));
        }
        let text =
            self.charset.strict(segment).ok_or(("bad_frame", "the data segment is cut in a character".to_owned()))?;
        Ok(text.into_owned())
    }
}

/// Fields and factors of a data segment: `QN=…;ST=32;CP=&&DataTime=…;011-Rtd=231.0,011-Flag=N&&`.
fn apart(segment: &str) -> Result<Frame<'_>, (&'static str, String)> {
    let bad = |what: &str| ("bad_frame", what.to_owned());
    let (head, data) = segment.split_once("CP=&&").ok_or_else(|| bad("there is no CP=&& in the data segment"))?;
    let data = data.strip_suffix("&&").ok_or_else(|| bad("the data part does not end with &&"))?;
    let mut frame = Frame::default();
    for pair in head.split(';').filter(|pair| !pair.is_empty()) {
        frame.fields.push(pair.split_once('=').ok_or_else(|| bad("a field of the head has no ="))?);
    }
    for pair in data.split([';', ',']).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| bad("an item of the data part has no ="))?;
        match name.split_once('-') {
            None => frame.fields.push((name, value)),
            Some((code, suffix)) => match frame.factors.iter_mut().find(|(own, _)| *own == code) {
                Some((_, items)) => items.push((suffix, value)),
                None => frame.factors.push((code, vec![(suffix, value)])),
            },
        }
    }
    Ok(frame)
}

/// The CRC of HJ 212 (appendix A): not that of Modbus, whose first step takes the byte into the low half of the register.
fn crc_of(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold((crc >> 8) ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

impl Records for Hj212 {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        match self.raw.line(self.limits.row_bytes)? {
            RawLine::End => return Ok(false),
            RawLine::Whole(len) => {
                self.take_line(chunk, len);
                let lines = u64::from(self.raw.unread().get(..len).is_some_and(|l| l.ends_with(b"\n")));
                self.raw.consume(len, lines);
            }
            RawLine::TooLong => {
                self.rows += 1;
                let place = self.raw.place(self.rows);
                let raw = self.raw.skip_line(RAW_KEPT)?;
                let detail = format!("longer than {} bytes", self.limits.row_bytes);
                chunk.set_aside(place, without_line_end(&raw), "row_too_long", detail);
            }
        }
        Ok(true)
    }

    fn resume(&self) -> Resume {
        self.raw.resume(self.rows)
    }
}

#[cfg(test)]
mod tests;
