//! Taking stock (盘点): what a target really holds of a feed, record by record, each digested anew from its values.
//!
//! Decides: which digest counts for a row: that of its values, as they are now. Must not know: statements. Guarantees:
//! reads only, and makes nothing; all of it is of one state of the target, that after the cursor's batch; memory is some
//! fifty bytes a record.

mod postgres;
mod sqlite;

use sqlx::AssertSqlSafe;
use tokio::task::JoinHandle;

use super::sqlite::quoted;
use super::{Cursor, ReceiveError, Target};
use crate::batch::ranges::Entry;
use crate::batch::{HexDigest, Op, RecordWriter};
use crate::crypto::{Digest, DigestAlgorithm};
use crate::record::{FieldType, Value};

/// Rows from which on several connections read at the same time.
const MANY: i64 = 20_000;
/// Connections at most.
const CONNECTIONS: usize = 4;

/// What is asked of a target.
#[derive(Debug, Clone)]
pub struct Question {
    /// Feed.
    pub feed: String,
    /// Its table.
    pub register: String,
    /// Fields of the records, in the order in which they were encoded.
    pub fields: Vec<(String, FieldType)>,
    /// How records are digested; a record digested by the other algorithm, before a change of keys, is known too.
    pub algorithm: DigestAlgorithm,
}

/// What a target holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// After which batch; `None` before the first.
    pub cursor: Option<Cursor>,
    /// Ascending by entity.
    pub records: Vec<Entry>,
}

/// The last batch of a feed that this target loaded.
///
/// # Errors
/// [`ReceiveError::Target`]; [`ReceiveError::NoRows`] for a target that keeps none.
pub async fn stands(target: &Target, feed: &str) -> Result<Option<Cursor>, ReceiveError> {
    match target {
        Target::Sqlite(file) => sqlite::stands(file, feed).await,
        Target::Postgres(url) => postgres::stands(url, feed).await,
        Target::Csv(_) | Target::Ndjson => Err(ReceiveError::NoRows),
    }
}

/// Takes stock.
///
/// # Errors
/// [`ReceiveError::Target`]; [`ReceiveError::Moved`] when a batch was loaded meanwhile; [`ReceiveError::NoRows`].
pub async fn take_stock(target: &Target, question: &Question) -> Result<Stock, ReceiveError> {
    let parts = match target {
        Target::Sqlite(file) => sqlite::take(file, question).await?,
        Target::Postgres(url) => postgres::take(url, question).await?,
        Target::Csv(_) | Target::Ndjson => return Err(ReceiveError::NoRows),
    };
    let mut parts = parts.into_iter();
    let mut stock = parts.next().unwrap_or(Stock { cursor: None, records: Vec::new() });
    for part in parts {
        if part.cursor != stock.cursor {
            return Err(ReceiveError::Moved { feed: question.feed.clone() });
        }
        stock.records.extend(part.records);
    }
    Ok(stock)
}

/// Entity numbers, both ends inclusive, so that each part has about as many of `count` rows between `first` and `last`.
fn parts(first: i64, last: i64, count: i64) -> Vec<(i64, i64)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(CONNECTIONS);
    let parts = if count < MANY { 1 } else { i64::try_from(threads).unwrap_or(1) };
    let width = (last.saturating_sub(first) / parts).max(1);
    let start = |n: i64| if n == 0 { i64::MIN } else { first.saturating_add(n * width) };
    let end = |n: i64| if n + 1 == parts { i64::MAX } else { start(n + 1) - 1 };
    (0..parts).map(|n| (start(n), end(n))).collect()
}

/// The columns asked for, in which `there` are; `cast` says how a field is read. A column that somebody dropped holds
/// nothing.
fn columns(question: &Question, there: &[String], cast: &str) -> String {
    let mut columns = String::from("\"_id\", \"_version\", \"_digest\"");
    for (name, _) in &question.fields {
        let column = if there.contains(name) { quoted(name) } else { "null".to_owned() };
        columns += &format!(", {column}{cast}");
    }
    columns
}

/// How many rows there are, and between which numbers.
fn bounds(table: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("select coalesce(min(\"_id\"), 0), coalesce(max(\"_id\"), 0), count(*) from {table}"))
}

/// What several readers found, in order.
async fn gathered(
    target: &str,
    readers: Vec<JoinHandle<Result<Stock, ReceiveError>>>,
) -> Result<Vec<Stock>, ReceiveError> {
    let mut stocks = Vec::with_capacity(readers.len());
    for reader in readers {
        let broken = |_| ReceiveError::Target { target: target.to_owned(), why: "reading was broken off".into() };
        stocks.push(reader.await.map_err(broken)??);
    }
    Ok(stocks)
}

/// Makes entries of rows.
struct Taker {
    algorithm: DigestAlgorithm,
    record: RecordWriter,
    readable: bool,
    records: Vec<Entry>,
}

impl Taker {
    fn new(algorithm: DigestAlgorithm) -> Self {
        Self { algorithm, record: RecordWriter::default(), readable: true, records: Vec::new() }
    }

    fn begin(&mut self, id: i64, version: i64) {
        self.record.begin(Op::Upsert, id, version);
        self.readable = true;
    }

    fn text(&mut self, kind: FieldType, text: Option<&str>) {
        match text {
            None => self.record.null(),
            Some(text) if kind == FieldType::Text => self.record.text(text),
            Some(text) => self.value(Value::from_text(kind, text).map(Some)),
        }
    }

    /// A value, or null; `None`: what lies there is of no such type.
    fn value(&mut self, value: Option<Option<Value>>) {
        match value {
            Some(Some(value)) => self.record.value(&value),
            Some(None) => self.record.null(),
            None => self.readable = false,
        }
    }

    /// Whether the values are those of the digest stored with them.
    fn fits(&self, stored: &[u8]) -> bool {
        let fits = |algorithm: &DigestAlgorithm| algorithm.digest(&[self.record.bytes()]) == stored;
        self.readable && DigestAlgorithm::ALL.iter().any(fits)
    }

    /// The row's digest: the stored one where the values fit it, else that of the values.
    fn end(&mut self, id: i64, version: i64, stored: &[u8]) {
        let computed = self.algorithm.digest(&[self.record.bytes()]);
        let digest = match <Digest>::try_from(stored) {
            Ok(stored) if self.readable && (computed == stored || self.fits(&stored)) => stored,
            _ if self.readable => computed,
            _ => self.algorithm.digest(&[b"huiliu.unreadable"]),
        };
        self.records.push(Entry(id, version, HexDigest(digest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for (first, last, count) in [(1, 10, 10), (1, 1_000_000, 1_000_000), (-5, i64::MAX, 50_000), (7, 7, 30_000)] {
            let parts = parts(first, last, count);
            assert_eq!((parts[0].0, parts.last().unwrap().1), (i64::MIN, i64::MAX));
            assert!(parts.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{parts:?}");
        }
    }
}
