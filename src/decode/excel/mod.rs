//! Workbooks: .xlsx, .xls and .ods, told apart by content.
//!
//! Decides: which sheet and which row names the columns, what text a typed cell is, which rows are layout (blank rows, rows
//! before the header, repeated headers). Must not know: contracts beyond column names. Guarantees: what a workbook
//! claims to hold is checked before anything is loaded; .xlsx and .ods are streamed cell by cell; .xls, whose format
//! does not allow it, is limited to [`xls::MOST_CELLS`]; a parser that panics on a hostile file takes only this file with it.
//!
//! The parsers borrow from themselves, so each workbook is read on a thread of its own, which hands blocks of rows
//! through a bounded channel and stops when the decoder is dropped. A stopped workbook is resumed by reading it again and
//! passing over the rows already taken.

mod archive;
mod compound;
mod names;
mod ods;
mod sheet;
mod value;
mod xls;
mod xlsx;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::chunk::Chunk;
use super::csv::refuse_duplicates;
use super::records::Records;
use super::{DecodeError, Header, Input, Job, Limits, Resume, RowPlace, Wanted, broken, read_error};
use crate::config::{Report, matches};
use names::Names;
use sheet::{Block, Emitter, Message, Stop};

/// Bytes of a workbook that has no local file and must be held in memory.
const MOST_IN_MEMORY: u64 = 256 << 20;
/// Blocks of rows that may wait between the two threads.
const WAITING: usize = 4;

/// Where the rows are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Sheet by name; the first visible one when `None`.
    pub(super) sheet: Option<String>,
    /// Row that names the columns, from 1.
    pub(super) header_row: u32,
    /// Drop body rows that repeat the header.
    pub(super) repeated_header: bool,
    /// Most cells a workbook may declare or hold.
    pub(super) max_cells: u64,
    /// Headers of several rows, units, totals.
    pub(super) report: Report,
}

/// What a workbook is read from.
pub(super) trait Bytes: Read + Seek + Send {}
impl<T: Read + Seek + Send> Bytes for T {}

/// The kinds of workbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Xlsx,
    Xls,
    Ods,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Xlsx => "xlsx",
            Self::Xls => "xls",
            Self::Ods => "ods",
        }
    }
}

/// See the module.
pub(super) struct Excel {
    input: Arc<dyn Input>,
    rows_from: Receiver<Message>,
    block: Block,
    header: Header,
    wanted: Vec<Wanted>,
    limits: Limits,
    repeated_header: bool,
    report: Report,
    names: Names,
    /// The present row is to be given again.
    again: bool,
    /// The sheet row that holds units.
    units: Option<u64>,
    /// For each wanted column, its sheet column.
    column_of: Vec<Option<usize>>,
    rows: u64,
    skip: u64,
    line: u64,
    ended: bool,
}

impl Excel {
    /// Checks the workbook, starts reading it, and finds the header. Errors: `HL0310` no workbook, `HL0311` no header,
    /// `HL0312` a name twice, `HL0314` and `HL0315` too much, `HL0316` no such sheet, `HL0317` damaged,
    /// `HL0321` protected by a password.
    pub(super) fn open(job: Job, layout: Layout) -> Result<Self, DecodeError> {
        let bytes = bytes_of(job.input.as_ref())?;
        let (kind, bytes) = kind_of(job.input.as_ref(), bytes)?;
        let (send, rows_from) = sync_channel(WAITING);
        let emitter = Emitter::new(send, layout.max_cells, job.limits.row_bytes);
        let (sheet, limits, max_cells) = (layout.sheet.clone(), job.limits, layout.max_cells);
        std::thread::Builder::new()
            .name(format!("huiliu-{}", kind.name()))
            .spawn(move || read(kind, bytes, Ask { sheet, limits, max_cells }, emitter))
            .map_err(|e| read_error(job.input.as_ref(), e))?;
        let mut excel = Self {
            rows_from,
            block: Block::default(),
            header: Header { columns: None, kinds: Vec::new(), encoding: format!("{} (by content)", kind.name()) },
            limits: job.limits,
            repeated_header: layout.repeated_header,
            report: layout.report,
            names: Names::default(),
            again: false,
            units: None,
            column_of: Vec::new(),
            rows: 0,
            skip: job.rows(),
            line: 0,
            ended: false,
            input: job.input,
            wanted: job.wanted,
        };
        excel.read_header(u64::from(layout.header_row))?;
        Ok(excel)
    }

    fn read_header(&mut self, header_row: u64) -> Result<(), DecodeError> {
        loop {
            if !self.next_row()? {
                return Err(broken(self.input.as_ref(), "HL0311", "the sheet has no rows"));
            }
            if self.block.number() >= header_row {
                break;
            }
        }
        if self.block.number() != header_row {
            let message = format!("row {header_row} should name the columns, but it is blank");
            return Err(broken(self.input.as_ref(), "HL0311", message));
        }
        let last = header_row + u64::from(self.report.header_rows.max(1)) - 1;
        let mut rows = vec![self.cells()];
        while rows.len() as u64 <= last - header_row && self.next_row()? {
            if self.block.number() > last {
                self.again = true;
                break;
            }
            rows.push(self.cells());
        }
        self.names = Names::of(rows, &self.report.header_join);
        let names = self.names.names();
        if names.len() > self.limits.columns {
            let message = format!("{} columns, the limit is {}", names.len(), self.limits.columns);
            return Err(broken(self.input.as_ref(), "HL0315", message));
        }
        refuse_duplicates(self.input.as_ref(), &names)?;
        self.column_of = self.wanted.iter().map(|w| self.names.column(&w.name)).collect();
        self.units = self.report.unit_row.then_some(last + 1);
        self.header.columns = Some(names);
        self.line = last;
        Ok(())
    }

    /// Cells of the present row that are not blank, trimmed.
    fn cells(&self) -> Vec<(usize, String)> {
        let cells = self.block.cells().map(|(column, text)| (column, text.trim().to_owned()));
        cells.filter(|(_, text)| !text.is_empty()).collect()
    }

    /// Goes to the next row of the sheet that is not blank.
    fn next_row(&mut self) -> Result<bool, DecodeError> {
        if std::mem::take(&mut self.again) {
            return Ok(true);
        }
        while !self.block.advance() {
            if self.ended {
                return Ok(false);
            }
            match self.rows_from.recv() {
                Ok(Message::Rows(block)) => self.block = block,
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed { code, message }) => return Err(broken(self.input.as_ref(), code, message)),
                Err(_) => {
                    let message = format!("the workbook is damaged somewhere after row {}", self.line);
                    return Err(broken(self.input.as_ref(), "HL0317", message));
                }
            }
        }
        Ok(true)
    }

    /// Whether the present row is no row of data: the header once more, units, a total.
    fn is_layout(&self) -> bool {
        self.units == Some(self.block.number())
            || (self.repeated_header && self.names.repeated_by(self.block.cells()))
            || self.is_total()
    }

    fn is_total(&self) -> bool {
        if self.report.totals.is_empty() {
            return false;
        }
        let first = self.block.cells().map(|(_, text)| text).find(|text| !text.trim().is_empty()).unwrap_or_default();
        let first: String = first.chars().filter(|c| !c.is_whitespace()).collect();
        self.report.totals.iter().any(|pattern| matches(pattern, &first))
    }

    fn take_row(&mut self, chunk: &mut Chunk) {
        let place = RowPlace { row: self.rows, line: self.block.number(), byte: 0 };
        let cells: Vec<Option<&str>> = self.block.by_column();
        let mut raw = Vec::new();
        // Writing text into memory cannot fail; were it to, the raw form would be cut short and nothing else.
        let _ = serde_json::to_writer(&mut raw, &cells);
        if self.block.is_too_long() {
            let detail = format!("longer than {} bytes", self.limits.row_bytes);
            chunk.set_aside(place, &raw, "row_too_long", detail);
        } else if cells.len() > self.limits.columns {
            let detail = format!("{} cells, the limit is {}", cells.len(), self.limits.columns);
            chunk.set_aside(place, &raw, "column_count", detail);
        } else if cells.iter().flatten().any(|c| c.contains('\0')) {
            chunk.set_aside(place, &raw, "nul_byte", "a cell contains NUL".to_owned());
        } else {
            for (column, at) in self.column_of.iter().enumerate() {
                chunk.cell(column, at.and_then(|i| cells.get(i).copied().flatten()));
            }
            chunk.end_row(place, &raw);
        }
    }
}

impl Records for Excel {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        loop {
            if !self.next_row()? {
                return Ok(false);
            }
            self.rows += 1;
            self.line = self.block.number();
            if self.rows > self.skip {
                break;
            }
        }
        if self.is_layout() {
            chunk.drop_row()
        } else {
            self.take_row(chunk)
        }
        Ok(true)
    }

    fn resume(&self) -> Resume {
        match self.rows {
            0 => Resume { row: self.skip, byte: 0, line: self.line },
            rows => Resume { row: rows, byte: 0, line: self.line + 1 },
        }
    }
}

/// What to read.
struct Ask {
    sheet: Option<String>,
    limits: Limits,
    max_cells: u64,
}

/// Reads the whole sheet into `emitter`. Runs on its own thread.
fn read(kind: Kind, bytes: Box<dyn Bytes>, ask: Ask, mut emitter: Emitter) {
    let done = match kind {
        Kind::Xlsx => xlsx::read(bytes, &ask, &mut emitter),
        Kind::Xls => xls::read(bytes, &ask, &mut emitter),
        Kind::Ods => ods::read(bytes, &ask, &mut emitter),
    };
    emitter.end(done);
}

fn bytes_of(input: &dyn Input) -> Result<Box<dyn Bytes>, DecodeError> {
    let failed = |e| read_error(input, e);
    if let Some(path) = input.local_path() {
        return Ok(Box::new(BufReader::new(File::open(path).map_err(failed)?)));
    }
    if input.len() > MOST_IN_MEMORY {
        let message =
            format!("{} bytes, the limit for a workbook that is not on a local disk is {MOST_IN_MEMORY}", input.len());
        return Err(broken(input, "HL0314", message));
    }
    let mut bytes = Vec::new();
    input.read_from(0).map_err(failed)?.take(MOST_IN_MEMORY).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Box::new(Cursor::new(bytes)))
}

fn kind_of(input: &dyn Input, mut bytes: Box<dyn Bytes>) -> Result<(Kind, Box<dyn Bytes>), DecodeError> {
    let mut head = [0u8; 8];
    let have = super::encoding::fill(&mut bytes, &mut head).map_err(|e| read_error(input, e))?;
    bytes.seek(SeekFrom::Start(0)).map_err(|e| read_error(input, e))?;
    match head.get(..have).unwrap_or_default() {
        [] => Err(broken(input, "HL0310", "the file is empty")),
        [b'P', b'K', ..] => {
            let kind = archive::kind(&mut bytes).map_err(|stop| stopped(input, stop))?;
            Ok((kind, bytes))
        }
        [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1] => Ok((Kind::Xls, bytes)),
        [b'<', ..] | [0xEF, 0xBB, 0xBF, b'<', ..] => {
            Err(broken(input, "HL0310", "this is HTML or XML, whatever its name says, not a workbook"))
        }
        _ => Err(broken(input, "HL0310", "this is not a workbook (.xlsx, .xls, .ods)")),
    }
}

fn stopped(input: &dyn Input, stop: Stop) -> DecodeError {
    match stop {
        Stop::Failed { code, message } => broken(input, code, message),
        Stop::NobodyListens => broken(input, "HL0317", "the workbook was not read to its end"),
    }
}

#[cfg(test)]
mod tests;
