//! A look ahead in the log: what one pull will be, before any row of it is read.
//!
//! Decides: where a pull ends. Guarantees: a pull is made of whole transactions, its rows have one set of columns unless
//! they change within one transaction, and a truncation stands alone.

use pg_walstream::{LogicalReplicationMessage as Message, LogicalReplicationParser, Lsn};
use tokio::sync::mpsc;

use super::super::client::Client;
use super::super::rows::Block;
use super::super::sql::Statement;
use super::place::Place;
use super::server::lost;
use crate::source::SourceError;

/// What lies ahead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Changes of the table.
    pub(super) changes: u64,
    /// Whether the table was truncated; then that is all.
    pub(super) truncated: bool,
    /// Everything before this belongs to it; `None` when nothing at all lies ahead.
    pub(super) end: Option<Lsn>,
    /// When the first of the changes was committed, microseconds since 2000-01-01 UTC.
    pub(super) oldest: Option<i64>,
    /// The sets of columns that rows have.
    shapes: Vec<Vec<String>>,
}

impl Found {
    /// The columns to compare with a contract: of those contracted such as all rows have, of others such as any has.
    pub(super) fn columns(&self, contract: &[String]) -> Option<Vec<String>> {
        let first = self.shapes.first()?;
        let has = |shape: &Vec<String>, name: &String| shape.contains(name);
        let everywhere = |name: &&String| self.shapes.iter().all(|shape| has(shape, name)) || !contract.contains(name);
        let mut columns: Vec<String> = first.iter().filter(everywhere).cloned().collect();
        for name in self.shapes.iter().flatten().filter(|name| !contract.contains(name)) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        Some(columns)
    }
}

/// Reads what `peek` gives (briefly) after this place.
pub(super) async fn scan(client: &mut Client, peek: &Statement, place: &Place) -> Result<Found, SourceError> {
    let (sender, mut blocks) = mpsc::channel::<Block>(1);
    let mut scan = Scan::of(place);
    let reading = async {
        while let Some(block) = blocks.recv().await {
            for row in 0..block.rows() {
                scan.take(block.cell(row, 0).unwrap_or_default())?;
            }
        }
        Ok(scan.found)
    };
    let (sent, found) = tokio::join!(client.stream(peek, 1, sender), reading);
    sent.map_err(lost)?;
    found
}

/// A scan under way.
struct Scan<'a> {
    place: &'a Place,
    parser: LogicalReplicationParser,
    /// Columns as the log last described them.
    columns: Vec<String>,
    transaction: Transaction,
    /// Whether the pull ends before what comes.
    closed: bool,
    found: Found,
}

/// What one transaction did to the table.
#[derive(Default)]
struct Transaction {
    known: bool,
    at: i64,
    changes: u64,
    truncated: bool,
    shapes: Vec<Vec<String>>,
}

impl<'a> Scan<'a> {
    fn of(place: &'a Place) -> Self {
        Self {
            place,
            parser: LogicalReplicationParser::with_protocol_version(1),
            columns: Vec::new(),
            transaction: Transaction::default(),
            closed: false,
            found: Found::default(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        if matches!(bytes.first(), Some(b'I' | b'U' | b'D')) {
            let transaction = &mut self.transaction;
            transaction.changes += 1;
            if transaction.shapes.last() != Some(&self.columns) {
                transaction.shapes.push(self.columns.clone());
            }
            return Ok(());
        }
        match parsed(&mut self.parser, bytes)? {
            Message::Begin { final_lsn, timestamp, xid } => {
                let known = self.place.has(Lsn(final_lsn), xid);
                self.transaction = Transaction { known, at: timestamp, ..Transaction::default() };
            }
            Message::Relation { columns, .. } => {
                self.columns = columns.iter().map(|column| column.name.to_string()).collect();
            }
            Message::Truncate { relation_ids, .. } => {
                self.transaction.truncated |= relation_ids.contains(&self.place.table);
            }
            Message::Commit { end_lsn, .. } => self.commit(Lsn(end_lsn)),
            _ => {}
        }
        Ok(())
    }

    fn commit(&mut self, end: Lsn) {
        let transaction = std::mem::take(&mut self.transaction);
        if self.closed {
            return;
        }
        let (found, done) =
            (&mut self.found, transaction.known || (transaction.changes == 0 && !transaction.truncated));
        if done {
            found.end = Some(end);
            return;
        }
        let other = !found.shapes.is_empty() && found.shapes != transaction.shapes;
        self.closed = transaction.truncated || other;
        if found.changes > 0 && self.closed {
            return;
        }
        found.oldest = found.oldest.or(Some(transaction.at));
        found.truncated = transaction.truncated;
        found.changes += transaction.changes;
        found.shapes = transaction.shapes;
        found.end = Some(end);
    }
}

/// A message of the log. Errors: it is none of those that we asked for.
pub(super) fn parsed(parser: &mut LogicalReplicationParser, bytes: &[u8]) -> Result<Message, SourceError> {
    let message = parser.parse_wal_message(bytes).map_err(|_| {
        let kind = bytes.first().copied().unwrap_or_default();
        SourceError::Unprepared { why: format!("a message of its log does not read (kind {kind})") }
    });
    Ok(message?.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(shapes: &[&[&str]]) -> Found {
        let shape = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Found { shapes: shapes.iter().map(shape).collect(), ..Found::default() }
    }

    #[test]
    fn columns_that_come_or_go_within_a_transaction_are_seen() {
        let contract = ["id".to_owned(), "name".to_owned()];
        assert_eq!(found(&[]).columns(&contract), None);
        assert_eq!(found(&[&["id", "name"]]).columns(&contract).unwrap(), ["id", "name"]);
        assert_eq!(found(&[&["id", "name"], &["id", "extra"]]).columns(&contract).unwrap(), ["id", "extra"]);
    }
}
