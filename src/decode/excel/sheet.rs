//! Rows of a sheet on their way from the thread that reads the workbook to the decoder.

use std::sync::mpsc::SyncSender;

/// Text after which a block is handed over.
const BLOCK_TEXT: usize = 256 << 10;
/// Rows after which a block is handed over.
const BLOCK_ROWS: usize = 2048;

/// Why reading stopped before the sheet's end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The decoder was dropped.
    NobodyListens,
    /// The workbook cannot be read.
    Failed {
        /// `HL03xx`.
        code: &'static str,
        /// What, never a cell value.
        message: String,
    },
}

/// A [`Stop::Failed`].
pub(super) fn failed(code: &'static str, message: impl Into<String>) -> Stop {
    Stop::Failed { code, message: message.into() }
}

/// What the decoder receives.
pub(super) enum Message {
    /// More rows.
    Rows(Block),
    /// The sheet has ended.
    End,
    /// The sheet cannot be read further.
    Failed {
        /// `HL03xx`.
        code: &'static str,
        /// What.
        message: String,
    },
}

/// Some rows, none of them blank, and which of them is the present one.
#[derive(Default)]
pub(super) struct Block {
    text: String,
    /// Sheet column (from 0) and end in `text`.
    cells: Vec<(usize, usize)>,
    rows: Vec<Row>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Row {
    number: u64,
    cells_end: usize,
    too_long: bool,
}

impl Block {
    /// Goes to the next row, if there is one.
    pub(super) fn advance(&mut self) -> bool {
        self.next = (self.next + 1).min(self.rows.len() + 1);
        self.next <= self.rows.len()
    }

    fn row(&self) -> Option<Row> {
        self.rows.get(self.next.checked_sub(1)?).copied()
    }

    /// Sheet row of the present row, from 1.
    pub(super) fn number(&self) -> u64 {
        self.row().map_or(0, |r| r.number)
    }

    /// Whether cells of the present row were left out because it is longer than a row may be.
    pub(super) fn is_too_long(&self) -> bool {
        self.row().is_some_and(|r| r.too_long)
    }

    /// Cells of the present row that are not empty: sheet column (from 0) and text.
    pub(super) fn cells(&self) -> impl Iterator<Item = (usize, &str)> {
        let first = self.next.checked_sub(2).and_then(|i| self.rows.get(i)).map_or(0, |r| r.cells_end);
        let end = self.row().map_or(first, |r| r.cells_end);
        (first..end).filter_map(|i| {
            let start = i.checked_sub(1).and_then(|b| self.cells.get(b)).map_or(0, |(_, end)| *end);
            let (column, end) = self.cells.get(i)?;
            Some((*column, self.text.get(start..*end)?))
        })
    }

    /// The present row from column A to its last cell.
    pub(super) fn by_column(&self) -> Vec<Option<&str>> {
        let width = self.cells().map(|(column, _)| column + 1).max().unwrap_or(0);
        let mut row = vec![None; width];
        for (column, text) in self.cells() {
            if let Some(cell) = row.get_mut(column) {
                *cell = Some(text);
            }
        }
        row
    }
}

/// Collects cells into rows and rows into blocks.
pub(super) struct Emitter {
    to: SyncSender<Message>,
    block: Block,
    /// Sheet row being collected, and where it began.
    row: Option<u64>,
    /// The highest sheet row so far; no sheet goes back.
    last: u64,
    row_text: usize,
    row_cells: usize,
    too_long: bool,
    cells_left: u64,
    row_bytes: usize,
}

/// Columns a sheet can have (Excel's XFD).
pub(super) const COLUMNS: usize = 16_384;

impl Emitter {
    /// An emitter for at most `max_cells` cells in rows of at most `row_bytes` bytes of text.
    pub(super) fn new(to: SyncSender<Message>, max_cells: u64, row_bytes: usize) -> Self {
        Self {
            to,
            block: Block::default(),
            row: None,
            last: 0,
            row_text: 0,
            row_cells: 0,
            too_long: false,
            cells_left: max_cells,
            row_bytes,
        }
    }

    /// The next cell, in row order: sheet row from 1, column from 0. Empty text is no cell.
    pub(super) fn cell(&mut self, row: u64, column: usize, text: &str) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        if self.row != Some(row) {
            self.end_row()?;
            if row <= self.last {
                return Err(failed("HL0317", format!("the sheet is damaged: row {row} comes after row {}", self.last)));
            }
            self.row = Some(row);
            self.last = row;
        }
        self.cells_left = self
            .cells_left
            .checked_sub(1)
            .ok_or_else(|| failed("HL0315", format!("the sheet holds more cells than allowed, at row {row}")))?;
        if column >= COLUMNS || self.block.text.len() - self.row_text + text.len() > self.row_bytes {
            self.too_long = true;
            return Ok(());
        }
        self.block.text.push_str(text);
        self.block.cells.push((column, self.block.text.len()));
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Stop> {
        let Some(number) = self.row.take() else { return Ok(()) };
        let text = self.block.text.get(self.row_text..).unwrap_or_default();
        let too_long = std::mem::take(&mut self.too_long);
        if text.trim().is_empty() && !too_long {
            self.block.text.truncate(self.row_text);
            self.block.cells.truncate(self.row_cells);
            return Ok(());
        }
        self.block.rows.push(Row { number, cells_end: self.block.cells.len(), too_long });
        self.row_text = self.block.text.len();
        self.row_cells = self.block.cells.len();
        if self.row_text >= BLOCK_TEXT || self.block.rows.len() >= BLOCK_ROWS {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Stop> {
        let block = std::mem::take(&mut self.block);
        (self.row_text, self.row_cells) = (0, 0);
        self.to.send(Message::Rows(block)).map_err(|_| Stop::NobodyListens)
    }

    /// The last word: what is left, then how it ended.
    pub(super) fn end(mut self, done: Result<(), Stop>) {
        // A failed send means that nobody listens any more, which is not an error at this point.
        let _ = match done.and_then(|()| self.end_row()) {
            Ok(()) => self.send().map(|()| self.to.send(Message::End)),
            Err(Stop::Failed { code, message }) => {
                self.send().map(|()| self.to.send(Message::Failed { code, message }))
            }
            Err(Stop::NobodyListens) => Ok(Ok(())),
        };
    }
}
