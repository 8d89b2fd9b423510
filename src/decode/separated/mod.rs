//! Text with separators of any length, an opening and a closing record: reconciliation files of banks and treasuries.
//!
//! Decides: where rows end, what stands before the first and after the last of them. The end is tolerant: NUL, Ctrl-Z,
//! blanks and line breaks after the last row, and a row separator that is cut short (`##` of `###`, as real senders
//! write it), are layout. Blank rows, and line breaks around a row separator, are too. There is no quoting: what
//! separates, separates. Must not know: contracts beyond column names. Guarantees: what the opening or closing record
//! declares (`{rows}`, `{bytes}`) is held against the whole file before its first row is handed over, so a file that was
//! cut off gives nothing at all; a stopped file is resumed at the byte.

use super::chunk::{Chunk, RAW_KEPT};
use super::csv::refuse_duplicates;
use super::encoding::{Decided, decide};
use super::records::Records;
use super::window::Window;
use super::{DecodeError, Header, Job, Limits, Resume, Wanted, broken};
use crate::config::{Encoding, Match, Template};

/// Most characters that an opening record may have.
const LONGEST_HEAD: usize = 64 << 10;
/// Columns whose path begins so take what the opening record says.
const FROM_HEAD: &str = "head.";

/// How the file is written.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Between cells.
    pub(super) fields: String,
    /// Between rows; `None` is the end of a line.
    pub(super) rows: Option<String>,
    /// The first row names the columns.
    pub(super) header: bool,
    /// Rows may have another number of cells.
    pub(super) ragged: bool,
    /// Before the rows.
    pub(super) head: Option<Template>,
    /// After the rows.
    pub(super) tail: Option<Template>,
}

/// Where a wanted column's cell comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Cell(usize),
    Head(Option<String>),
    Nowhere,
}

/// See the module.
pub(super) struct Separated {
    window: Window,
    header: Header,
    wanted: Vec<Wanted>,
    limits: Limits,
    layout: Layout,
    origins: Vec<Origin>,
    /// Cells a row should have.
    width: usize,
    rows: u64,
    /// What the opening and closing records declare.
    declared: Declared,
    /// The closing record was seen.
    closed: bool,
}

/// What a file says of itself.
#[derive(Debug, Clone, Copy, Default)]
struct Declared {
    rows: Option<u64>,
    bytes: Option<u64>,
}

/// The next row in the window.
enum Next {
    End,
    /// `len` bytes of text, `all` with the separator.
    Row {
        start: usize,
        len: usize,
        all: usize,
    },
    TooLong,
}

impl Separated {
    /// Settles the encoding, reads the opening record and the header, and holds what is declared against the file.
    /// Errors: `HL0311` no usable opening record or header, `HL0312` a name twice, `HL0317` no closing record, `HL0322`
    /// another number of rows or bytes than declared.
    pub(super) fn open(job: Job, encoding: Encoding, layout: Layout) -> Result<Self, DecodeError> {
        let decided = decide(job.input.as_ref(), encoding, None)?;
        let resume = job.resume;
        let input = job.input.clone();
        if resume.is_none() && (layout.tail.is_some() || declares(layout.head.as_ref())) {
            let counting = Job { input: input.clone(), wanted: Vec::new(), limits: job.limits, resume: None };
            Self::start(counting, &decided, layout.clone())?.check()?;
        }
        let mut separated = Self::start(job, &decided, layout)?;
        if resume.is_some() {
            separated.window = Window::open(input, &decided, resume)?;
        }
        Ok(separated)
    }

    fn start(job: Job, decided: &Decided, layout: Layout) -> Result<Self, DecodeError> {
        let mut separated = Self {
            window: Window::open(job.input.clone(), decided, None)?,
            header: Header { columns: None, kinds: Vec::new(), encoding: decided.evidence.clone() },
            limits: job.limits,
            origins: Vec::new(),
            width: 0,
            rows: job.rows(),
            declared: Declared::default(),
            closed: false,
            layout,
            wanted: job.wanted,
        };
        let said = separated.read_head()?;
        if separated.layout.header {
            separated.read_names()?;
        }
        separated.lay_columns(&said);
        Ok(separated)
    }

    /// Reads the opening record: what it says, by name.
    fn read_head(&mut self) -> Result<Vec<(String, String)>, DecodeError> {
        let Some(head) = self.layout.head.clone() else { return Ok(Vec::new()) };
        let found = loop {
            match head.match_start(self.window.text(), self.window.ended()) {
                Match::Yes(found) => break found,
                Match::Short if self.window.text().len() <= LONGEST_HEAD && self.window.fill()? => {}
                Match::Short | Match::No => {
                    let message = format!("the file does not begin with the opening record {:?}", head.as_str());
                    return Err(broken(self.window.input(), "HL0311", message));
                }
            }
        };
        let number = |name: &str| match found.number(name) {
            Some(None) => {
                Err(broken(self.window.input(), "HL0311", format!("{name:?} of the opening record is no number")))
            }
            Some(Some(number)) => Ok(Some(number)),
            None => Ok(None),
        };
        self.declared = Declared { rows: number("rows")?, bytes: number("bytes")? };
        let (len, values) = (found.len, found.values);
        let raw = self.window.raw_len(len);
        if let Some((_, detail)) = self.window.fault(raw) {
            let message = format!("the opening record cannot be decoded: {detail}");
            return Err(broken(self.window.input(), "HL0311", message));
        }
        self.window.skip(len);
        Ok(values.into_iter().map(|(name, text)| (name.to_owned(), text.trim().to_owned())).collect())
    }

    fn read_names(&mut self) -> Result<(), DecodeError> {
        let Next::Row { start, len, all } = self.find()? else {
            return Err(broken(self.window.input(), "HL0311", "there is no header row"));
        };
        let raw = self.window.raw_len(start + len);
        if let Some((_, detail)) = self.window.fault(raw) {
            return Err(broken(self.window.input(), "HL0311", format!("the header row cannot be decoded: {detail}")));
        }
        let row = self.window.text().get(start..start + len).unwrap_or_default();
        let names: Vec<String> = row.split(self.layout.fields.as_str()).map(|name| name.trim().to_owned()).collect();
        if names.len() > self.limits.columns {
            let message = format!("{} columns, the limit is {}", names.len(), self.limits.columns);
            return Err(broken(self.window.input(), "HL0315", message));
        }
        refuse_duplicates(self.window.input(), &names)?;
        self.header.columns = Some(names);
        self.window.skip(all);
        Ok(())
    }

    /// Says for each wanted column where its cell is: in the opening record, under its name, or at its place in the
    /// contract.
    fn lay_columns(&mut self, said: &[(String, String)]) {
        let of_head = |w: &Wanted| {
            let name = w.path.as_deref()?.strip_prefix(FROM_HEAD)?;
            Some(Origin::Head(said.iter().find(|(own, _)| own == name).map(|(_, text)| text.clone())))
        };
        let mut next = 0;
        self.origins = self
            .wanted
            .iter()
            .map(|w| match (of_head(w), &self.header.columns) {
                (Some(origin), _) => origin,
                (None, Some(names)) => {
                    names.iter().position(|name| *name == w.name).map_or(Origin::Nowhere, Origin::Cell)
                }
                (None, None) => {
                    next += 1;
                    Origin::Cell(next - 1)
                }
            })
            .collect();
        if let Some(names) = &mut self.header.columns {
            self.width = names.len();
            // What the opening record gives is in the file as much as what the header names.
            let from_head = self.wanted.iter().zip(&self.origins).filter(|(_, o)| matches!(o, Origin::Head(Some(_))));
            names.extend(from_head.map(|(w, _)| w.name.clone()));
        } else {
            self.width = next;
        }
    }

    /// Reads to the end and compares.
    fn check(mut self) -> Result<(), DecodeError> {
        let from = self.window.place(0).byte;
        let mut rows = 0u64;
        loop {
            match self.find()? {
                Next::End => break,
                Next::Row { start, len, all } => {
                    if !self.is_tail(start, len)? {
                        rows += 1;
                    }
                    self.window.skip(all);
                }
                Next::TooLong => {
                    rows += 1;
                    self.skip_row()?;
                }
            }
        }
        let input = self.window.input();
        if self.layout.tail.is_some() && !self.closed {
            let message = format!("the file holds {rows} rows and ends without its closing record: it is cut off");
            return Err(broken(input, "HL0317", message));
        }
        if let Some(declared) = self.declared.rows.filter(|declared| *declared != rows) {
            let message = format!("the file declares {declared} rows and holds {rows}");
            return Err(broken(input, "HL0322", message));
        }
        let bytes = input.len().saturating_sub(from);
        if let Some(declared) = self.declared.bytes.filter(|declared| *declared != bytes) {
            let message = format!("the file declares {declared} bytes after its opening record and holds {bytes}");
            return Err(broken(input, "HL0322", message));
        }
        Ok(())
    }

    /// Whether this row is the closing record; what it declares is noted.
    fn is_tail(&mut self, start: usize, len: usize) -> Result<bool, DecodeError> {
        let Some(tail) = &self.layout.tail else { return Ok(false) };
        let row = self.window.text().get(start..start + len).unwrap_or_default();
        let Some(found) = tail.match_all(row.trim_end()) else { return Ok(false) };
        match found.number("rows") {
            Some(None) => return Ok(false),
            Some(Some(rows)) => self.declared.rows = Some(rows),
            None => {}
        }
        self.closed = true;
        Ok(true)
    }

    /// Finds the next row that is not blank.
    fn find(&mut self) -> Result<Next, DecodeError> {
        let mut from = 0;
        loop {
            let text = self.window.text();
            let separator = self.layout.rows.as_deref().unwrap_or("\n");
            let rest = text.as_bytes().get(from..).unwrap_or_default();
            let found = memchr::memmem::find(rest, separator.as_bytes()).map(|i| from + i);
            let (row, all) = match found {
                Some(end) => (text.get(..end).unwrap_or_default(), end + separator.len()),
                None if text.len() > self.limits.row_bytes => return Ok(Next::TooLong),
                None if !self.window.ended() => {
                    // A separator may be split between two blocks.
                    from = text.floor_char_boundary((text.len() + 1).saturating_sub(separator.len()));
                    self.window.fill()?;
                    continue;
                }
                None => (without_end(text, separator), text.len()),
            };
            let trimmed = row.trim_start_matches(['\r', '\n']);
            let start = row.len() - trimmed.len();
            let len = trimmed.trim_end_matches(['\r', '\n']).len();
            if trimmed.get(..len).is_none_or(|row| row.trim().is_empty()) {
                if text.is_empty() {
                    return Ok(Next::End);
                }
                let last = found.is_none();
                self.window.skip(all);
                if last {
                    return Ok(Next::End);
                }
                from = 0;
                continue;
            }
            if len > self.limits.row_bytes {
                return Ok(Next::TooLong);
            }
            return Ok(Next::Row { start, len, all });
        }
    }

    /// Passes over a row however long it is; the first 64 KiB of its raw bytes.
    fn skip_row(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut kept = Vec::new();
        loop {
            let text = self.window.text();
            let separator = self.layout.rows.as_deref().unwrap_or("\n");
            let found = memchr::memmem::find(text.as_bytes(), separator.as_bytes());
            let len = match found {
                Some(end) => end + separator.len(),
                None if self.window.ended() => text.len(),
                None => text.floor_char_boundary((text.len() + 1).saturating_sub(separator.len())),
            };
            let raw = self.window.raw_len(len);
            let room = RAW_KEPT.saturating_sub(kept.len());
            kept.extend_from_slice(self.window.raw(raw.min(room)));
            self.window.skip(len);
            if found.is_some() || !self.window.fill()? {
                return Ok(kept);
            }
        }
    }

    fn take_row(&mut self, chunk: &mut Chunk, start: usize, len: usize) {
        self.window.skip(start);
        let place = self.window.place(self.rows);
        let raw_len = self.window.raw_len(len);
        let raw = self.window.raw(raw_len);
        if let Some((code, detail)) = self.window.fault(raw_len) {
            return chunk.set_aside(place, raw, code, detail);
        }
        let row = self.window.text().get(..len).unwrap_or_default();
        let cells: Vec<&str> = row.split(self.layout.fields.as_str()).collect();
        // A separator after the last cell is as good as none.
        let extra = cells.len() == self.width + 1 && cells.last().is_some_and(|last| last.trim().is_empty());
        if cells.len() != self.width && !extra && !self.layout.ragged {
            let whose = if self.layout.header { "the header" } else { "the contract" };
            let detail = format!("{} cells, {whose} has {}", cells.len(), self.width);
            return chunk.set_aside(place, raw, "column_count", detail);
        }
        for (column, origin) in self.origins.iter().enumerate() {
            let cell = match origin {
                Origin::Cell(at) => cells.get(*at).copied(),
                Origin::Head(said) => said.as_deref(),
                Origin::Nowhere => None,
            };
            chunk.cell(column, cell);
        }
        chunk.end_row(place, raw);
    }
}

/// Whether a record declares how much there is.
fn declares(record: Option<&Template>) -> bool {
    record.is_some_and(|r| r.names().any(|name| matches!(name, "rows" | "bytes")))
}

/// The last row without what may stand at the end of a file.
fn without_end<'t>(text: &'t str, separator: &str) -> &'t str {
    let text = text.trim_end_matches(['\0', '\x1A', '\r', '\n']);
    let cut = (1..separator.len()).rev().filter_map(|len| separator.get(..len));
    cut.filter(|part| !part.trim().is_empty()).find_map(|part| text.strip_suffix(part)).unwrap_or(text)
}

impl Records for Separated {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        loop {
            match self.find()? {
                Next::End => return Ok(false),
                Next::Row { start, len, all } => {
                    if self.is_tail(start, len)? {
                        self.window.skip(all);
                        continue;
                    }
                    self.rows += 1;
                    self.take_row(chunk, start, len);
                    self.window.skip(all - start);
                }
                Next::TooLong => {
                    self.rows += 1;
                    let place = self.window.place(self.rows);
                    let raw = self.skip_row()?;
                    let detail = format!("longer than {} bytes", self.limits.row_bytes);
                    chunk.set_aside(place, &raw, "row_too_long", detail);
                }
            }
            return Ok(true);
        }
    }

    fn resume(&self) -> Resume {
        self.window.resume(self.rows)
    }
}

#[cfg(test)]
mod tests;
