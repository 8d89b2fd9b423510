//! Bytes of a department's file → Arrow rows of text, each with its place and its raw bytes.
//!
//! Decides: encodings, dialects, what is a row. Must not know: contracts beyond column names, mappings, databases.
//! Guarantees: no panic on any bytes, memory bounded by [`Limits`] whatever the file's size, every byte range of the
//! file either in a row, in an [`Undecodable`], or declared as header or layout; a decoder opened at a [`Resume`]
//! yields exactly the rows after it.

#[cfg(test)]
mod anything;
mod chunk;
mod csv;
mod dbf;
mod encoding;
mod eseal;
mod excel;
mod fixed;
mod gb18030;
mod hj212;
mod json;
mod members;
mod memory;
mod ndjson;
mod paths;
mod raw;
mod records;
mod repair;
mod separated;
#[cfg(test)]
mod testing;
mod unpack;
mod window;
mod xml;

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

pub use chunk::{Chunk, schema};
pub use members::Members;
pub use memory::Memory;

use crate::config::Format;
use crate::error::Disposition;
use records::Decoder;

/// A contracted column, as far as a decoder needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Source name, exactly.
    pub name: String,
    /// Path inside a record (XML `a/b`, `a/@id`, `@id`, `.`; JSON `a.b`); the name itself when `None`.
    pub path: Option<String>,
}

impl Wanted {
    /// A column found under its own name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), path: None }
    }
}

/// Opens a file: takes off what is around it, settles its encoding, reads its header, and goes to `resume` if there is one.
///
/// The rows have exactly the `wanted` columns, in that order; [`Header::columns`] tells what the file itself has, so
/// that the caller can apply its drift policy. A `resume` must come from a decoder of the same bytes, format and
/// columns. Errors: [`DecodeError::Io`] when reading fails, [`DecodeError::Broken`] when the file as a whole cannot be
/// what `format` says.
pub fn open(
    input: Arc<dyn Input>,
    format: &Format,
    wanted: &[Wanted],
    limits: Limits,
    resume: Option<Resume>,
) -> Result<Box<dyn Decode>, DecodeError> {
    match format {
        Format::Packed { layers, inner } => {
            open_format(unpack::unpack(input, layers, limits)?, inner, wanted, limits, resume)
        }
        format => open_format(unpack::recognise(input, format)?, format, wanted, limits, resume),
    }
}

/// How many rows a file has, those that cannot be decoded included and those that layout rules drop not. Errors: as
/// [`open`] and [`Decode::next`].
pub fn count(input: Arc<dyn Input>, format: &Format, limits: Limits) -> Result<u64, DecodeError> {
    let mut decoder = open(input, format, &[], limits, None)?;
    let mut rows = 0;
    while let Some(chunk) = decoder.next(8192)? {
        rows += (chunk.places.len() + chunk.undecodable.len()) as u64;
    }
    Ok(rows)
}

/// The same for bytes that nothing is around.
fn open_format(
    input: Arc<dyn Input>,
    format: &Format,
    wanted: &[Wanted],
    limits: Limits,
    resume: Option<Resume>,
) -> Result<Box<dyn Decode>, DecodeError> {
    let job = Job { input, wanted: wanted.to_vec(), limits, resume: resume.filter(|r| r.byte > 0 || r.row > 0) };
    match format {
        Format::Csv { encoding, delimiter, quote, header, skip, ragged } => {
            let dialect = csv::Dialect { delimiter: *delimiter, quote: *quote };
            let layout = csv::Layout { header: *header, skip: *skip, ragged: *ragged };
            Ok(Box::new(Decoder::new(csv::Csv::open(job, *encoding, dialect, layout)?)))
        }
        Format::Excel { sheet, header_row, repeated_header, max_cells, report } => {
            let layout = excel::Layout {
                sheet: sheet.clone(),
                header_row: (*header_row).max(1),
                repeated_header: *repeated_header,
                max_cells: limits.cells.min(*max_cells),
                report: report.clone(),
            };
            Ok(Box::new(Decoder::new(excel::Excel::open(job, layout)?)))
        }
        Format::Xml { record, each, encoding } => {
            Ok(Box::new(Decoder::new(xml::Xml::open(job, (record, each.as_deref()), *encoding)?)))
        }
        Format::Json { records } => Ok(Box::new(Decoder::new(json::Json::open(job, records.as_deref())?))),
        Format::Ndjson => Ok(Box::new(Decoder::new(ndjson::Ndjson::open(job)?))),
        Format::Separated { encoding, fields, rows, header, ragged, head, tail } => {
            let layout = separated::Layout {
                fields: fields.clone(),
                rows: rows.clone(),
                header: *header,
                ragged: *ragged,
                head: head.clone(),
                tail: tail.clone(),
            };
            Ok(Box::new(Decoder::new(separated::Separated::open(job, *encoding, layout)?)))
        }
        Format::Fixed { encoding, widths, skip, line_ends, ragged } => {
            let layout = fixed::Layout { widths: widths.clone(), skip: *skip, line_ends: *line_ends, ragged: *ragged };
            Ok(Box::new(Decoder::new(fixed::Fixed::open(job, *encoding, layout)?)))
        }
        Format::Dbf { encoding } => Ok(Box::new(Decoder::new(dbf::Dbf::open(job, *encoding)?))),
        Format::Eseal => Ok(Box::new(Decoder::new(eseal::EsealFile::open(job)?))),
        Format::Hj212 => Ok(Box::new(Decoder::new(hj212::Hj212::open(job)?))),
        Format::Packed { layers, inner } => {
            open_format(unpack::unpack(job.input, layers, limits)?, inner, wanted, limits, job.resume)
        }
    }
}

/// What every format is opened with.
struct Job {
    input: Arc<dyn Input>,
    wanted: Vec<Wanted>,
    limits: Limits,
    resume: Option<Resume>,
}

impl Job {
    /// Rows yielded before.
    fn rows(&self) -> u64 {
        self.resume.map_or(0, |r| r.row)
    }
}

/// A [`DecodeError::Broken`] about `input`.
fn broken(input: &dyn Input, code: &'static str, message: impl Into<String>) -> DecodeError {
    DecodeError::Broken { code, file: input.name().to_owned(), message: message.into() }
}

/// A [`DecodeError::Io`] about `input`.
fn read_error(input: &dyn Input, source: io::Error) -> DecodeError {
    DecodeError::Io { file: input.name().to_owned(), source }
}

/// The bytes of one file, wherever it lies. Implemented by the source; tests use a `Vec<u8>`.
pub trait Input: Send + Sync {
    /// Name for messages, as the user knows it.
    fn name(&self) -> &str;
    /// Total bytes.
    fn len(&self) -> u64;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads from byte `from` to the end.
    fn read_from(&self, from: u64) -> io::Result<Box<dyn io::Read + Send>>;
    /// A local path, if there is one; formats that need random access (Excel) use it instead of loading the bytes.
    fn local_path(&self) -> Option<&Path>;
    /// The beginning (at most [`BESIDE`] bytes) of the small file beside it that has the same name and this extension,
    /// if there is one: `city.cpg` beside `city.dbf`.
    fn beside(&self, _extension: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// Bytes that [`Input::beside`] gives at most.
pub const BESIDE: u64 = 64 << 10;

/// What a decoder may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one row (one CSV line, one XML record, one JSON object).
    pub row_bytes: usize,
    /// Cells of one row.
    pub columns: usize,
    /// Cells a workbook may declare, and uncompressed bytes are limited to a fixed ratio beyond that.
    pub cells: u64,
    /// Depth of XML and JSON.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { row_bytes: 16 << 20, columns: 4096, cells: 50_000_000, depth: 64 }
    }
}

/// What a decoder found before the first row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Column names the file itself declares; `None` for formats without a header (XML, JSON): see [`Decoded::members`].
    pub columns: Option<Vec<String>>,
    /// The source's own words for their types, one a column; none for formats without types.
    pub kinds: Vec<String>,
    /// Encoding in use and the evidence for it: `utf-8 (bom)`, `gb18030 (not valid utf-8 at byte 812)`.
    pub encoding: String,
}

/// Where a decoder can start again: after this many rows and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Resume {
    /// Data rows already yielded (decoded, undecodable or dropped).
    pub row: u64,
    /// Byte after the last of them.
    pub byte: u64,
    /// Physical line after the last of them, from 1 (0 = not started).
    pub line: u64,
}

/// The place after some rows (位点): where in the bytes, and where in the source's own order.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Rows and bytes.
    #[serde(flatten)]
    pub resume: Resume,
    /// The source's own word for the place, where it has one: the last key, cursor value or log position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl From<Resume> for Position {
    fn from(resume: Resume) -> Self {
        Self { resume, cursor: None }
    }
}

/// Where one row stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowPlace {
    /// Data row number, from 1 (the header does not count).
    pub row: u64,
    /// Physical line (or sheet row), from 1.
    pub line: u64,
    /// First byte, from 0 (0 for Excel).
    pub byte: u64,
}

/// Some rows, in file order.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// One Utf8 column per wanted column, in wanted order; null where the file has no such column or no cell.
    /// Cells are as written (untrimmed), except private-use characters with a known repair, which are repaired.
    pub rows: RecordBatch,
    /// One per row.
    pub places: Vec<RowPlace>,
    /// Raw bytes of all rows, one after the other (Excel: cells as a JSON array).
    pub raw: Vec<u8>,
    /// End of each row's bytes in `raw`.
    pub raw_ends: Vec<usize>,
    /// Repairs made while decoding, by row index in this chunk: `(row index, column name, note code)`.
    pub notes: Vec<(usize, String, &'static str)>,
    /// Rows that could not be decoded, among and after these rows.
    pub undecodable: Vec<Undecodable>,
    /// Rows dropped by declared layout rules (repeated headers).
    pub dropped: u64,
    /// Rows (indexes, ascending) that the source says are gone (删除): they take their claim back and make none.
    pub gone: Vec<usize>,
    /// What its records have together, of formats without a header; only the first chunk of a decoder says so.
    pub members: Option<Members>,
    /// Where to resume after this chunk.
    pub position: Position,
}

impl Decoded {
    /// The first `rows` with all that could not be decoded, and the others.
    pub fn split_at(mut self, rows: usize) -> (Self, Self) {
        let at = self.raw_ends.get(rows.wrapping_sub(1)).copied().unwrap_or(0);
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for (row, column, code) in self.notes {
            if row < rows { early.push((row, column, code)) } else { late.push((row - rows, column, code)) }
        }
        let rest = Self {
            rows: self.rows.slice(rows, self.rows.num_rows() - rows),
            places: self.places.split_off(rows),
            raw: self.raw.split_off(at),
            raw_ends: self.raw_ends.split_off(rows).into_iter().map(|end| end - at).collect(),
            notes: late,
            undecodable: Vec::new(),
            dropped: 0,
            members: None,
            gone: self.gone.iter().filter(|&&row| row >= rows).map(|row| row - rows).collect(),
            position: self.position.clone(),
        };
        self.gone.retain(|&row| row < rows);
        (Self { rows: self.rows.slice(0, rows), notes: early, ..self }, rest)
    }

    /// Only these rows (indexes, ascending); what could not be decoded stays.
    pub fn keep(self, kept: &[usize]) -> Result<Self, arrow::error::ArrowError> {
        let indexes = arrow::array::UInt32Array::from_iter_values(kept.iter().map(|&i| i as u32));
        let rows = arrow::compute::take_record_batch(&self.rows, &indexes)?;
        let (mut raw, mut raw_ends) = (Vec::new(), Vec::with_capacity(kept.len()));
        for &i in kept {
            raw.extend_from_slice(self.raw_row(i));
            raw_ends.push(raw.len());
        }
        let places = kept.iter().map(|&i| self.places[i]).collect();
        let moved = |i: usize| kept.binary_search(&i).ok();
        let notes = self.notes.into_iter().filter_map(|(i, column, code)| Some((moved(i)?, column, code))).collect();
        let gone = self.gone.into_iter().filter_map(moved).collect();
        Ok(Self { rows, places, raw, raw_ends, notes, gone, ..self })
    }

    /// Raw bytes of row `i` of this chunk.
    pub fn raw_row(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.raw_ends[i - 1] };
        &self.raw[start..self.raw_ends[i]]
    }
}

/// A row that is not a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Where.
    pub place: RowPlace,
    /// Raw bytes, at most 64 KiB of them.
    pub raw: Vec<u8>,
    /// Stable code: `column_count`, `bad_utf8`, `bad_gb18030`, `nul_byte`, `row_too_long`, `bad_json`, …
    pub code: &'static str,
    /// What exactly, without cell values: `13 cells, the header has 10`.
    pub detail: String,
}

/// Yields rows of one file.
pub trait Decode: Send {
    /// What the file says before its first row. Cheap, repeatable.
    fn header(&self) -> &Header;
    /// At most `max_rows` further rows; `None` at the end of the file.
    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError>;
}

/// The whole file cannot be read further. What was yielded before stands.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Reading failed; trying again may help.
    #[error("HL0303 cannot read {file}: {source}")]
    Io {
        /// File.
        file: String,
        /// Cause.
        source: io::Error,
    },
    /// The file is not what its format says, or asks for too much.
    #[error("{code} {file}: {message}")]
    Broken {
        /// `HL03xx`.
        code: &'static str,
        /// File.
        file: String,
        /// What, and where; never a cell value.
        message: String,
    },
}

impl DecodeError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "HL0303",
            Self::Broken { code, .. } => code,
        }
    }

    /// What the engine does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } => Disposition::Retry,
            Self::Broken { .. } => Disposition::Halt,
        }
    }
}
