//! A copy of a table, and the changes after it, as the engine reads them.

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;
use pg_walstream::Lsn;
use tokio::sync::mpsc;

use super::super::rows::{TableRows, put_row, unreadable};
use super::super::sql::order_values;
use super::place::Place;
use super::stream::Change;
use crate::decode::{Chunk, Decode, DecodeError, Decoded, Header, Position, Resume, RowPlace, Wanted, schema};
use crate::source::SourceError;

/// The rows of a copy, with places in the log.
pub(super) struct CopyRows {
    rows: TableRows,
    place: Place,
    schema: SchemaRef,
    row: u64,
    begun: bool,
}

impl CopyRows {
    pub(super) fn of(rows: TableRows, place: Place, (wanted, row): (&[Wanted], u64)) -> Self {
        Self { rows, place, schema: schema(wanted), row, begun: false }
    }

    /// What stands at the end of these rows.
    fn placed(&mut self, after: Option<&str>) -> Result<String, SourceError> {
        let after = after.map(order_values).transpose()?;
        if let Some(copy) = &mut self.place.copy {
            copy.after = after.or_else(|| copy.after.take());
        }
        Ok(self.place.text())
    }
}

impl Decode for CopyRows {
    fn header(&self) -> &Header {
        self.rows.header()
    }

    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError> {
        // That there is nothing is said too: then it is known from where on changes count.
        let resume = Resume { row: self.row, byte: 0, line: 0 };
        let nothing = (!self.begun).then(|| Chunk::new(self.schema.clone(), 1).finish(resume));
        self.begun = true;
        let Some(mut chunk) = self.rows.next(max_rows)?.or(nothing) else { return Ok(None) };
        let cursor = self.placed(chunk.position.cursor.as_deref());
        chunk.position.cursor = Some(cursor.map_err(|error| unreadable(error, ""))?);
        Ok(Some(chunk))
    }
}

/// The changes of one pull.
pub(super) struct ChangeRows {
    pub(super) header: Header,
    pub(super) changes: mpsc::Receiver<Result<Vec<Change>, SourceError>>,
    batch: VecDeque<Change>,
    schema: SchemaRef,
    place: Place,
    end: Lsn,
    row: u64,
    table: String,
    done: bool,
}

impl ChangeRows {
    /// The changes after this place and before `end`; `row` of them were handed over before.
    pub(super) fn of(
        (header, changes): (Header, mpsc::Receiver<Result<Vec<Change>, SourceError>>),
        (place, end): (Place, Lsn),
        (wanted, row): (&[Wanted], u64),
        table: &str,
    ) -> Self {
        let (schema, table) = (schema(wanted), table.to_owned());
        Self { header, changes, batch: VecDeque::new(), schema, place, end, row, table, done: false }
    }

    /// The next change; `None` at the end.
    fn step(&mut self) -> Result<Option<&Change>, DecodeError> {
        while self.batch.is_empty() {
            match self.changes.blocking_recv() {
                None => return Ok(None),
                Some(Ok(batch)) => self.batch = batch.into(),
                Some(Err(error)) => return Err(unreadable(error, &self.table)),
            }
        }
        Ok(self.batch.front())
    }

    fn put(&mut self, change: Change, chunk: &mut Chunk, raw: &mut Vec<u8>) {
        let (cells, gone) = match change {
            Change::Committed(end) => return self.place.take_until(end),
            Change::There(cells) => (cells, false),
            Change::Gone(cells) => (cells, true),
            Change::Passed => {
                self.row += 1;
                self.place.take_change();
                return chunk.drop_row();
            }
        };
        self.row += 1;
        self.place.take_change();
        let place = RowPlace { row: self.row, line: self.row, byte: 0 };
        let cells: Vec<Option<&[u8]>> = cells.iter().map(Option::as_deref).collect();
        put_row(chunk, (&cells, gone), place, (raw, &self.schema));
    }
}

impl Decode for ChangeRows {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError> {
        if self.done {
            return Ok(None);
        }
        let mut chunk = Chunk::new(self.schema.clone(), max_rows);
        let mut raw = Vec::new();
        // A commit that follows the last row belongs to it: then the place is one between transactions.
        while let Some(change) = self.step()? {
            if chunk.is_full() && !matches!(change, Change::Committed(_)) {
                break;
            }
            if let Some(change) = self.batch.pop_front() {
                self.put(change, &mut chunk, &mut raw);
            }
        }
        if self.batch.is_empty() {
            self.done = true;
            self.place.take_until(self.end);
        }
        let resume = Resume { row: self.row, byte: 0, line: 0 };
        Ok(Some(chunk.finish(Position { resume, cursor: Some(self.place.text()) })))
    }
}
