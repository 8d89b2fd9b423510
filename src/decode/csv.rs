//! Delimited text: CSV, TSV, `|` files (RFC 4180, with the dialects that departments really send).
//!
//! Decides: where a row ends and what its cells are. A quote opens a cell only as its first character; inside, two
//! quotes are one; text after a closing quote is kept. Blank lines, and a Ctrl-Z that ends a DOS file, are layout and
//! no rows. A quote that is never closed spoils the line it stands on, not the rest of the file.
//! Must not know: contracts beyond column names. Guarantees: the rows do not depend on how the file is cut into blocks;
//! a row longer than the limit costs no more memory than the limit.
//!
//! Cells are looked for in the decoded text, never in the raw bytes: in GBK `|` and `\` are also second bytes of hanzi.

use super::chunk::Chunk;
use super::encoding::{Decided, decide};
use super::records::Records;
use super::window::{Line, Window};
use super::{DecodeError, Header, Job, Limits, Resume, Wanted, broken, repair};
use crate::config::Encoding;

/// Which bytes are special.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// Between cells.
    pub(super) delimiter: u8,
    /// Around cells.
    pub(super) quote: Option<u8>,
}

/// What surrounds the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The first row names the columns.
    pub(super) header: bool,
    /// Lines before it.
    pub(super) skip: u32,
    /// Rows may have another number of cells.
    pub(super) ragged: bool,
}

/// See the module.
pub(super) struct Csv {
    window: Window,
    header: Header,
    wanted: Vec<Wanted>,
    limits: Limits,
    dialect: Dialect,
    ragged: bool,
    /// Cells a row should have.
    width: usize,
    /// For each wanted column, its cell.
    cell_of: Vec<Option<usize>>,
    rows: u64,
    cells: Vec<Cell>,
}

/// Where a cell stands in the text of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    start: usize,
    end: usize,
    /// Has quotes inside or text after the closing quote: `start..end` is as written, quotes included.
    quoted: bool,
}

/// What a look at the text found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// A row of this many bytes of text and line feeds.
    Row { len: usize, lines: usize },
    /// The row's end is not in the text.
    More,
    /// The file ends inside quotes.
    Unclosed,
}

/// The next row in the window.
enum Next {
    End,
    Row { len: usize, lines: usize },
    Unclosed,
    TooLong,
}

impl Csv {
    /// Settles the encoding and reads the header. Errors: `HL0311` no usable header, `HL0312` a name twice.
    pub(super) fn open(job: Job, encoding: Encoding, dialect: Dialect, layout: Layout) -> Result<Self, DecodeError> {
        let decided = decide(job.input.as_ref(), encoding, None)?;
        let window = Window::open(job.input.clone(), &decided, None)?;
        Self::start(job, decided, window, (dialect, layout))
    }

    fn start(
        job: Job,
        decided: Decided,
        window: Window,
        (dialect, layout): (Dialect, Layout),
    ) -> Result<Self, DecodeError> {
        let mut csv = Self {
            window,
            header: Header { columns: None, kinds: Vec::new(), encoding: decided.evidence.clone() },
            width: job.wanted.len(),
            cell_of: (0..job.wanted.len()).map(Some).collect(),
            limits: job.limits,
            dialect,
            ragged: layout.ragged,
            rows: job.rows(),
            cells: Vec::new(),
            wanted: job.wanted,
        };
        for _ in 0..layout.skip {
            csv.window.skip_line()?;
        }
        if layout.header {
            csv.read_header()?;
        }
        if job.resume.is_some() {
            csv.window = Window::open(job.input, &decided, job.resume)?;
        }
        Ok(csv)
    }

    fn read_header(&mut self) -> Result<(), DecodeError> {
        let input = |w: &Window, message: &str| broken(w.input(), "HL0311", message);
        let (len, lines) = match self.find()? {
            Next::Row { len, lines } => (len, lines),
            Next::End => return Err(input(&self.window, "there is no header line")),
            Next::Unclosed => return Err(input(&self.window, "a quote in the header line is never closed")),
            Next::TooLong => return Err(input(&self.window, "the header line is too long to be one")),
        };
        let raw = self.window.raw_len_of_lines(len, lines);
        if let Some((_, detail)) = self.window.fault(raw) {
            return Err(input(&self.window, &format!("the header line cannot be decoded: {detail}")));
        }
        let text = self.window.text();
        let names: Vec<String> = self.cells.iter().map(|c| self.text_of(text, *c).trim().to_owned()).collect();
        if names.len() > self.limits.columns {
            let message = format!("{} columns, the limit is {}", names.len(), self.limits.columns);
            return Err(broken(self.window.input(), "HL0315", message));
        }
        refuse_duplicates(self.window.input(), &names)?;
        self.cell_of = self.wanted.iter().map(|w| names.iter().position(|n| *n == w.name)).collect();
        self.width = names.len();
        self.header.columns = Some(names);
        self.window.consume(len, raw, lines);
        Ok(())
    }

    /// Text of one cell.
    fn text_of<'t>(&self, row: &'t str, cell: Cell) -> std::borrow::Cow<'t, str> {
        let text = row.get(cell.start..cell.end).unwrap_or_default();
        match self.dialect.quote.filter(|_| cell.quoted) {
            Some(quote) => unquote(text, char::from(quote)).into(),
            None => text.into(),
        }
    }

    /// Finds the next row and its cells, passing over layout lines.
    fn find(&mut self) -> Result<Next, DecodeError> {
        loop {
            let text = self.window.text();
            let found = split(text.as_bytes(), self.window.ended(), self.dialect, &mut self.cells);
            match found {
                Found::Row { len, .. } if is_layout(text.as_bytes().get(..len), self.window.ended()) => {
                    self.window.skip(len);
                }
                Found::Row { len, .. } if len > self.limits.row_bytes => return self.too_long(),
                Found::Row { len, lines } => return Ok(Next::Row { len, lines }),
                Found::More if text.len() > self.limits.row_bytes => return self.too_long(),
                Found::More if self.window.ended() => return Ok(Next::End),
                Found::More => {
                    self.window.fill()?;
                }
                Found::Unclosed if text.len() > self.limits.row_bytes => return self.too_long(),
                Found::Unclosed => return Ok(Next::Unclosed),
            }
        }
    }

    /// Which it is: one line too long, or a quote that swallowed many lines.
    fn too_long(&mut self) -> Result<Next, DecodeError> {
        match self.window.line(self.limits.row_bytes)? {
            Line::TooLong => Ok(Next::TooLong),
            Line::Whole(_) | Line::End => Ok(Next::Unclosed),
        }
    }

    fn take_row(&mut self, chunk: &mut Chunk, len: usize, lines: usize) {
        let place = self.window.place(self.rows);
        let raw_len = self.window.raw_len_of_lines(len, lines);
        let raw = without_line_end(self.window.raw(raw_len));
        if let Some((code, detail)) = self.window.fault(raw_len) {
            chunk.set_aside(place, raw, code, detail);
        } else if self.cells.len() != self.width && !self.ragged {
            let whose = if self.header.columns.is_some() { "the header" } else { "the contract" };
            let detail = format!("{} cells, {whose} has {}", self.cells.len(), self.width);
            chunk.set_aside(place, raw, "column_count", detail);
        } else {
            let row = self.window.text().get(..len).unwrap_or_default();
            let may_need_repair = repair::may_need(row); // one look at the row spares one at every cell
            for (column, at) in self.cell_of.iter().enumerate() {
                let text = at.and_then(|i| self.cells.get(i)).map(|cell| self.text_of(row, *cell));
                if may_need_repair {
                    chunk.cell(column, text.as_deref());
                } else {
                    chunk.plain_cell(column, text.as_deref());
                }
            }
            chunk.end_row(place, raw);
        }
        self.window.consume(len, raw_len, lines);
    }

    fn set_line_aside(&mut self, chunk: &mut Chunk, code: &'static str, detail: &str) -> Result<(), DecodeError> {
        let place = self.window.place(self.rows);
        let raw = self.window.skip_line()?;
        chunk.set_aside(place, without_line_end(&raw), code, detail.to_owned());
        Ok(())
    }
}

impl Records for Csv {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        let next = self.find()?;
        if matches!(next, Next::End) {
            return Ok(false);
        }
        self.rows += 1;
        match next {
            Next::End => {}
            Next::Row { len, lines } => self.take_row(chunk, len, lines),
            Next::Unclosed => self.set_line_aside(chunk, "unclosed_quote", "a quote is opened and never closed")?,
            Next::TooLong => {
                let detail = format!("longer than {} bytes", self.limits.row_bytes);
                self.set_line_aside(chunk, "row_too_long", &detail)?;
            }
        }
        Ok(true)
    }

    fn resume(&self) -> Resume {
        self.window.resume(self.rows)
    }
}

/// `HL0312` when a name stands twice. Unnamed columns may.
pub(super) fn refuse_duplicates(input: &dyn super::Input, names: &[String]) -> Result<(), DecodeError> {
    let mut seen = std::collections::HashMap::new();
    for (at, name) in (1..).zip(names).filter(|(_, name)| !name.is_empty()) {
        if let Some(before) = seen.insert(name.as_str(), at) {
            // Not the name: without its header a file has a person's data here.
            let message = format!("columns {before} and {at} of the header have the same name");
            return Err(broken(input, "HL0312", message));
        }
    }
    Ok(())
}

/// A blank line, or the Ctrl-Z at the very end of a DOS file.
fn is_layout(row: Option<&[u8]>, ended: bool) -> bool {
    match row {
        Some(b"\n" | b"\r\n" | b"\r" | b"") => true,
        Some(b"\x1A") => ended,
        _ => false,
    }
}

/// Without the LF or CR LF at its end.
pub(super) fn without_line_end(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.strip_suffix(b"\r").unwrap_or(raw)
}

/// Splits the first row of `text` into cells.
fn split(text: &[u8], ended: bool, dialect: Dialect, cells: &mut Vec<Cell>) -> Found {
    cells.clear();
    let (end, len) = match memchr::memchr(b'\n', text) {
        Some(i) => (i, i + 1),
        None if ended && !text.is_empty() => (text.len(), text.len()),
        None => return Found::More,
    };
    let line = text.get(..end).unwrap_or_default();
    if let Some(quote) = dialect.quote
        && memchr::memchr(quote, line).is_some()
    {
        return split_quoted(text, ended, (dialect.delimiter, quote), cells);
    }
    let end = line.strip_suffix(b"\r").unwrap_or(line).len();
    let mut start = 0;
    for at in memchr::memchr_iter(dialect.delimiter, line).take_while(|at| *at < end) {
        cells.push(Cell { start, end: at, quoted: false });
        start = at + 1;
    }
    cells.push(Cell { start, end, quoted: false });
    Found::Row { len, lines: len - line.len() }
}

/// The same where quotes occur.
fn split_quoted(text: &[u8], ended: bool, (delimiter, quote): (u8, u8), cells: &mut Vec<Cell>) -> Found {
    let mut at = 0;
    loop {
        let start = at;
        let (cell, stop) = if text.get(start) == Some(&quote) {
            let (close, doubled) = match closing_quote(text, start + 1, quote) {
                Some(found) => found,
                None if ended => return Found::Unclosed,
                None => return Found::More,
            };
            let stop = cell_end(text, close + 1, delimiter);
            if stop.is_none() && !ended {
                return Found::More;
            }
            let stop = stop.unwrap_or(text.len());
            let tail = text.get(close + 1..stop).unwrap_or_default();
            let line_end = text.get(stop) != Some(&delimiter) && tail == b"\r";
            if doubled || !(tail.is_empty() || line_end) {
                (Cell { start, end: stop, quoted: true }, stop)
            } else {
                (Cell { start: start + 1, end: close, quoted: false }, stop)
            }
        } else {
            match cell_end(text, start, delimiter) {
                Some(stop) => (Cell { start, end: stop, quoted: false }, stop),
                None if ended => (Cell { start, end: text.len(), quoted: false }, text.len()),
                None => return Found::More,
            }
        };
        cells.push(cell);
        if text.get(stop) == Some(&delimiter) {
            at = stop + 1;
            continue;
        }
        let len = (stop + 1).min(text.len());
        trim_carriage_return(text, stop, cells);
        let row = text.get(..len).unwrap_or_default();
        return Found::Row { len, lines: memchr::memchr_iter(b'\n', row).count() };
    }
}

/// Position of the quote that closes the cell, and whether doubled quotes came before it.
fn closing_quote(text: &[u8], from: usize, quote: u8) -> Option<(usize, bool)> {
    let mut at = from;
    let mut doubled = false;
    loop {
        let close = at + memchr::memchr(quote, text.get(at..)?)?;
        if text.get(close + 1) != Some(&quote) {
            return Some((close, doubled));
        }
        doubled = true;
        at = close + 2;
    }
}

/// Position of the delimiter or line feed that ends a cell.
fn cell_end(text: &[u8], from: usize, delimiter: u8) -> Option<usize> {
    memchr::memchr2(delimiter, b'\n', text.get(from..)?).map(|i| from + i)
}

/// The last cell of a line that ends with CR LF does not end with CR.
fn trim_carriage_return(text: &[u8], stop: usize, cells: &mut [Cell]) {
    if let Some(last) = cells.last_mut()
        && last.end == stop
        && last.end > last.start
        && text.get(last.end - 1) == Some(&b'\r')
    {
        last.end -= 1;
    }
}

/// A cell as written → its text: without the quotes around it, two quotes inside as one, and what follows the closing
/// quote kept.
fn unquote(cell: &str, quote: char) -> String {
    let mut out = String::with_capacity(cell.len());
    let mut chars = cell.strip_prefix(quote).unwrap_or(cell).chars().peekable();
    while let Some(c) = chars.next() {
        if c != quote {
            out.push(c);
        } else if chars.next_if_eq(&quote).is_some() {
            out.push(quote);
        } else {
            out.extend(chars);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests;
