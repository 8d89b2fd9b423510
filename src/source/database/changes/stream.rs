//! Changes of a table out of the log, in the order of their commits, as rows of the contract.
//!
//! Decides: what a change means for a key. Guarantees: a row that gets another key is one that goes and one that comes;
//! cells read as the same text as when the table is copied; a cell that the log leaves out because it did not change is
//! looked up, never guessed.

use std::path::PathBuf;

use bytes::Bytes;
use pg_walstream::{ColumnInfo, LogicalReplicationMessage as Message, LogicalReplicationParser, Lsn, TupleData};
use tokio::sync::mpsc;

use super::super::client::Client;
use super::super::rows::Block;
use super::super::sql::{Select, Statement};
use super::place::Place;
use super::scan::parsed;
use super::server::lost;
use crate::config::Database;
use crate::source::SourceError;

/// The cells of a row; `None` is null.
pub(super) type Cells = Vec<Option<Bytes>>;

/// One step in the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A row is there, with these cells.
    There(Cells),
    /// A row is gone; those cells that name it are known.
    Gone(Cells),
    /// A row of which nothing can be said any more: it is gone by now, and that follows.
    Passed,
    /// The transaction is over.
    Committed(Lsn),
}

/// How a table is followed.
pub(super) struct Following {
    pub(super) database: Database,
    pub(super) dir: PathBuf,
    pub(super) place: Place,
    /// The contract's columns, and the indexes of its key among them.
    pub(super) wanted: Vec<String>,
    pub(super) key: Vec<usize>,
    /// Looks up rows by their keys.
    pub(super) select: Select,
}

/// Sends the changes that `peek` gives.
pub(super) async fn follow(
    mut client: Client,
    peek: Statement,
    following: Following,
    to: mpsc::Sender<Result<Vec<Change>, SourceError>>,
) {
    let (sender, mut blocks) = mpsc::channel::<Block>(1);
    let mut translation = Translation::of(following);
    let reading = async {
        while let Some(block) = blocks.recv().await {
            for row in 0..block.rows() {
                translation.take(block.cell(row, 0).unwrap_or_default()).await?;
            }
            // A block is bounded in rows and bytes, and so is what it becomes.
            if to.send(Ok(std::mem::take(&mut translation.out))).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let (sent, read): (_, Result<(), SourceError>) = tokio::join!(client.stream(&peek, 1, sender), reading);
    if let Err(error) = read.and(sent.map_err(lost)) {
        to.send(Err(error)).await.ok();
    }
}

/// Where a contracted column stands in the log's rows, and how its text there becomes that of a select.
#[derive(Debug, Clone, Copy)]
struct Column {
    at: Option<usize>,
    text: Text,
}

/// How the log's text of a cell becomes the text that a cast gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Same,
    /// `t` and `f` are `true` and `false`.
    Boolean,
    /// Blanks that fill `char(n)` go.
    Filled,
    /// Addresses say their mask.
    Address,
}

struct Translation {
    following: Following,
    parser: LogicalReplicationParser,
    columns: Vec<Column>,
    /// Whether the transaction was taken before.
    known: bool,
    /// Changes of the first transaction that were taken before.
    taken: u64,
    /// For cells that the log leaves out.
    other: Option<Client>,
    out: Vec<Change>,
}

impl Translation {
    fn of(following: Following) -> Self {
        Self {
            taken: following.place.changes,
            columns: Vec::new(),
            following,
            parser: LogicalReplicationParser::with_protocol_version(1),
            known: false,
            other: None,
            out: Vec::new(),
        }
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        match parsed(&mut self.parser, bytes)? {
            Message::Begin { final_lsn, xid, .. } => self.known = self.following.place.has(Lsn(final_lsn), xid),
            Message::Relation { columns, .. } => self.columns = self.layout(&columns),
            Message::Commit { end_lsn, .. } if !self.known => self.out.push(Change::Committed(Lsn(end_lsn))),
            _ if self.known => {}
            Message::Insert { tuple, .. } => self.put(Change::There(self.cells(&tuple))),
            Message::Delete { old_tuple, .. } => self.put(Change::Gone(self.cells(&old_tuple))),
            Message::Update { old_tuple, new_tuple, key_type, .. } => {
                self.update(old_tuple.as_ref(), &new_tuple, key_type == Some('O')).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, change: Change) {
        if self.taken > 0 {
            self.taken -= 1;
        } else {
            self.out.push(change);
        }
    }

    async fn update(&mut self, old: Option<&TupleData>, new: &TupleData, whole: bool) -> Result<(), SourceError> {
        let before = old.map(|old| self.cells(old));
        let mut cells = self.cells(new);
        let mut left_out = Vec::new();
        for (i, column) in self.columns.iter().enumerate() {
            if !column.at.and_then(|at| new.get_column(at)).is_some_and(pg_walstream::ColumnData::is_unchanged) {
                continue;
            }
            match &before {
                Some(before) if whole || self.following.key.contains(&i) => cells[i].clone_from(&before[i]),
                _ => left_out.push(i),
            }
        }
        let key = |cells: &Cells| self.following.key.iter().map(|&i| cells[i].clone()).collect::<Vec<_>>();
        if let Some(before) = before.filter(|before| key(before) != key(&cells)) {
            self.put(Change::Gone(before));
        }
        let there = left_out.is_empty() || self.taken > 0 || self.look_up(&mut cells, &left_out).await?;
        self.put(if there { Change::There(cells) } else { Change::Passed });
        Ok(())
    }

    /// Fills in cells from the table as it is now; false when the row is no longer there.
    async fn look_up(&mut self, cells: &mut Cells, left_out: &[usize]) -> Result<bool, SourceError> {
        let text = |cell: &Option<Bytes>| cell.as_ref().map(|cell| String::from_utf8_lossy(cell).into_owned());
        let key: Vec<Option<String>> = self.following.key.iter().map(|&i| text(&cells[i])).collect();
        let statement = self.following.select.row(&key);
        let client = match &mut self.other {
            Some(client) => client,
            none => none.insert(Client::connect(&self.following.database, &self.following.dir, false).await?),
        };
        let Some(row) = client.first(&statement).await? else { return Ok(false) };
        for &i in left_out {
            cells[i] = row.get(i).cloned().flatten().map(Bytes::from);
        }
        Ok(true)
    }

    fn cells(&self, tuple: &TupleData) -> Cells {
        let cell = |column: &Column| {
            let cell = tuple.get_column(column.at?).filter(|cell| cell.is_text())?;
            Some(column.text.of(cell.raw_bytes()))
        };
        self.columns.iter().map(cell).collect()
    }

    fn layout(&self, columns: &[ColumnInfo]) -> Vec<Column> {
        let place = |name: &String| {
            let at = columns.iter().position(|column| *column.name == **name);
            let oid = at.and_then(|at| columns.get(at)).map_or(0, |column| column.type_id);
            Column { at, text: Text::of_type(oid, self.following.select.kind(name)) }
        };
        self.following.wanted.iter().map(place).collect()
    }
}

impl Text {
    /// For a type, or what a domain is over.
    fn of_type(oid: u32, kind: &str) -> Self {
        match (oid, kind) {
            (16, _) | (_, "BOOL") => Self::Boolean,
            (1042, _) | (_, "CHAR") => Self::Filled,
            (869, _) | (_, "INET") => Self::Address,
            _ => Self::Same,
        }
    }

    fn of(self, cell: Bytes) -> Bytes {
        match (self, &*cell) {
            (Self::Boolean, b"t") => Bytes::from_static(b"true"),
            (Self::Boolean, b"f") => Bytes::from_static(b"false"),
            (Self::Filled, text) => {
                cell.slice(..text.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1))
            }
            (Self::Address, text) if !text.contains(&b'/') => {
                let mask: &[u8] = if text.contains(&b':') { b"/128" } else { b"/32" };
                [text, mask].concat().into()
            }
            _ => cell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_the_log_read_as_those_of_a_select() {
        for (oid, kind, log, select) in [
            (16, "BOOL", "t", "true"),
            (99_999, "BOOL", "f", "false"),
            (1042, "CHAR", "ab   ", "ab"),
            (1042, "CHAR", "   ", ""),
            (25, "TEXT", "ab   ", "ab   "),
            (869, "INET", "10.0.0.1", "10.0.0.1/32"),
            (869, "INET", "::1", "::1/128"),
            (869, "INET", "10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(Text::of_type(oid, kind).of(Bytes::from(log)), Bytes::from(select), "{log}");
        }
    }
}
