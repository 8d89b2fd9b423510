//! Rows of a table as the engine reads them: like those of a file without bytes.

use std::io;
use std::sync::PoisonError;

use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;

use super::client::Client;
use super::pages::{self, Plan};
use super::sql::{Select, cursor_text};
use super::{Mark, Marks, SourceError};
use crate::decode::{Chunk, Decode, DecodeError, Decoded, Header, Position, Resume, RowPlace, Wanted, schema};
use crate::error::Disposition;

/// Rows of a block.
const BLOCK_ROWS: usize = 1024;
/// Bytes of a block.
const BLOCK_BYTES: usize = 4 << 20;
/// Blocks read ahead.
const AHEAD: usize = 4;

/// Some rows, cell after cell.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Begin and end of each cell; a null ends before it begins.
    cells: Vec<(usize, usize)>,
    width: usize,
    /// Cells of a row, from the first, that are not of the order.
    own: usize,
    rows: usize,
    /// First of the last rows that have the same place in the order.
    group: usize,
    /// Whether what comes after its last row has another place in the order, by the server's word.
    ends_page: bool,
}

impl Block {
    pub(super) fn of((own, order): (usize, usize)) -> Self {
        let width = own + order;
        Self { width, own, cells: Vec::with_capacity(width * BLOCK_ROWS), ..Self::default() }
    }

    pub(super) fn put(&mut self, cell: Option<&[u8]>) {
        let begin = self.bytes.len();
        match cell {
            None => self.cells.push((begin + 1, begin)),
            Some(cell) => {
                self.bytes.extend_from_slice(cell);
                self.cells.push((begin, self.bytes.len()));
            }
        }
    }

    pub(super) fn end_row(&mut self) {
        self.rows += 1;
        if self.width == 0 {
            self.width = self.cells.len();
        }
        if !self.same_place(self.rows - 1) {
            self.group = self.rows - 1;
        }
    }

    /// Whether a row has the same place in the order as the one before it.
    fn same_place(&self, row: usize) -> bool {
        (1..self.rows).contains(&row) && (self.own..self.width).all(|i| self.cell(row, i) == self.cell(row - 1, i))
    }

    /// Takes all but the last rows that share a place: there may be more of them.
    pub(super) fn whole_groups(&mut self) -> Self {
        let mut rest = Self::of((self.own, self.width - self.own));
        for row in self.group..self.rows {
            (0..self.width).for_each(|i| rest.put(self.cell(row, i)));
            rest.end_row();
        }
        let (at, end) = (self.group * self.width, self.group);
        self.cells.truncate(at);
        (self.rows, self.group) = (end, 0);
        std::mem::replace(self, rest)
    }

    /// The last one of a page.
    pub(super) const fn ending_page(mut self) -> Self {
        self.ends_page = true;
        self
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    pub(super) const fn is_full(&self) -> bool {
        self.rows >= BLOCK_ROWS || self.bytes.len() >= BLOCK_BYTES
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> Option<&[u8]> {
        let (begin, end) = *self.cells.get(row * self.width + column)?;
        self.bytes.get(begin..end)
    }

    /// A row's cells as texts, those that are none with replacement characters: for positions, which are compared.
    pub(super) fn texts(&self, row: usize) -> Vec<Option<String>> {
        (0..self.width).map(|i| self.cell(row, i).map(|cell| String::from_utf8_lossy(cell).into_owned())).collect()
    }
}

/// Puts a row into a chunk, as one that is `gone` or there; one that does not hold UTF-8 is set aside. `raw` is room.
pub(super) fn put_row(
    chunk: &mut Chunk,
    (cells, gone): (&[Option<&[u8]>], bool),
    place: RowPlace,
    (raw, schema): (&mut Vec<u8>, &SchemaRef),
) {
    let texts = cells.iter().enumerate().map(|(i, cell)| cell.map(std::str::from_utf8).transpose().map_err(|_| i));
    let texts: Result<Vec<Option<&str>>, usize> = texts.collect();
    raw.clear();
    match texts {
        Ok(texts) => {
            serde_json::to_writer(&mut *raw, &texts).ok();
            texts.iter().enumerate().for_each(|(i, text)| chunk.cell(i, *text));
            if gone {
                chunk.gone();
            }
            chunk.end_row(place, raw);
        }
        Err(i) => {
            cells.iter().for_each(|cell| raw.extend([cell.unwrap_or_default(), b"\x1f"].concat()));
            let column = schema.field(i).name();
            chunk.set_aside(place, raw, "bad_utf8", format!("column {column} does not hold UTF-8"));
        }
    }
}

/// What reading rows fails with when their source fails.
pub(super) fn unreadable(error: SourceError, table: &str) -> DecodeError {
    let file = table.to_owned();
    match error.disposition() {
        Disposition::Retry => DecodeError::Io { file, source: io::Error::other(error.to_string()) },
        _ => DecodeError::Broken { code: error.code(), file, message: error.to_string() },
    }
}

/// The rows of one pull.
pub(super) struct TableRows {
    header: Header,
    blocks: mpsc::Receiver<Result<Block, SourceError>>,
    block: Block,
    /// Next row of `block`.
    next: usize,
    schema: SchemaRef,
    width: (usize, usize),
    /// Whether rows have one place in the order only if their places are the same texts.
    exact: bool,
    position: Position,
    taken: Option<Marks>,
    table: String,
    done: bool,
}

impl TableRows {
    /// Starts reading. `taken` collects what names the rows that were read.
    pub(super) fn start(
        client: Client,
        select: Select,
        plan: Plan,
        (wanted, row, taken): (Vec<Wanted>, u64, Option<Marks>),
    ) -> Self {
        let (sender, blocks) = mpsc::channel(AHEAD);
        let header =
            Header { columns: Some(select.columns()), kinds: select.kinds(), encoding: "utf-8 (database)".to_owned() };
        let cursor = plan.after.as_deref().map(cursor_text);
        let (width, exact, table) = (select.width(), select.is_exact(), plan.table.clone());
        tokio::spawn(pages::read(client, select, plan, sender));
        Self {
            header,
            blocks,
            block: Block::default(),
            next: 0,
            schema: schema(&wanted),
            width,
            exact,
            position: Position { resume: Resume { row, byte: 0, line: 0 }, cursor },
            taken,
            table,
            done: false,
        }
    }

    /// Puts the next row into the chunk.
    fn step(&mut self, chunk: &mut Chunk, raw: &mut Vec<u8>) {
        let row = self.next;
        self.next += 1;
        self.position.resume.row += 1;
        let n = self.position.resume.row;
        let place = RowPlace { row: n, line: n, byte: 0 };
        let cells: Vec<Option<&[u8]>> = (0..self.width.0).map(|i| self.block.cell(row, i)).collect();
        put_row(chunk, (&cells, false), place, (raw, &self.schema));
    }

    fn order_of(&self, row: usize) -> Mark {
        self.block.texts(row).split_off(self.width.0)
    }

    /// Whether the next row may have the place of the one before it: no position can stand between them.
    fn is_within_place(&self) -> bool {
        if self.exact {
            return self.block.same_place(self.next);
        }
        self.next > 0 && (self.next < self.block.rows() || !self.block.ends_page)
    }

    /// The next block; false at the end.
    fn refill(&mut self) -> Result<bool, DecodeError> {
        match self.blocks.blocking_recv() {
            None => Ok(false),
            Some(Ok(block)) => {
                (self.block, self.next) = (block, 0);
                Ok(true)
            }
            Some(Err(error)) => Err(unreadable(error, &self.table)),
        }
    }
}

impl Decode for TableRows {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError> {
        if self.done {
            return Ok(None);
        }
        let mut chunk = Chunk::new(self.schema.clone(), max_rows);
        let (mut raw, mut any) = (Vec::new(), false);
        while !chunk.is_full() || self.is_within_place() {
            if self.next >= self.block.rows() && !self.refill()? {
                self.done = true;
                break;
            }
            any = true;
            if let Some(taken) = &self.taken {
                let mark = self.order_of(self.next);
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
            }
            self.step(&mut chunk, &mut raw);
        }
        if !any {
            return Ok(None);
        }
        self.position.cursor = Some(cursor_text(&self.order_of(self.next - 1)));
        Ok(Some(chunk.finish(self.position.clone())))
    }
}
