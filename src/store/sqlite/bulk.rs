//! Many rows in few statements.
//!
//! A statement per row costs a thread hop each, so rows go in groups of one size (prepared once and cached) and one
//! remainder.

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type};

use super::super::{Result, StoreError};
use super::unavailable;
use crate::record::{Value, decimal_text};

/// Rows in the largest statement.
const LARGEST: usize = 256;

/// Collects rows of one `insert … values` and sends them in groups.
pub(super) struct Bulk {
    head: String,
    tail: &'static str,
    columns: usize,
    args: SqliteArguments,
    rows: usize,
}

impl Bulk {
    /// `head` up to `values`, and what follows the last tuple (an upsert clause or nothing).
    pub(super) fn new(head: impl Into<String>, columns: usize, tail: &'static str) -> Self {
        Self { head: head.into(), tail, columns, args: SqliteArguments::default(), rows: 0 }
    }

    /// The next cell.
    pub(super) fn put<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> Result<()> {
        self.args.add(value).map_err(|error| StoreError::Damaged(error.to_string()))
    }

    /// The next cell, from a register value. Decimals go in as text, so that SQLite keeps every digit.
    pub(super) fn put_value(&mut self, value: Option<Value>) -> Result<()> {
        match value {
            None => self.put(None::<i64>),
            Some(Value::Text(text)) => self.put(text),
            Some(Value::Integer(n) | Value::Timestamp(n)) => self.put(n),
            Some(Value::Decimal(n)) => self.put(decimal_text(n)),
            Some(date @ Value::Date(_)) => self.put(date.to_text()),
            Some(Value::Boolean(b)) => self.put(b),
        }
    }

    /// A row is complete; sends a full group.
    pub(super) async fn row(&mut self, conn: &mut SqliteConnection) -> Result<()> {
        self.rows += 1;
        if self.rows == LARGEST {
            let args = std::mem::take(&mut self.args);
            self.rows = 0;
            self.send(conn, LARGEST, args).await?;
        }
        Ok(())
    }

    /// Sends what is left.
    pub(super) async fn finish(mut self, conn: &mut SqliteConnection) -> Result<()> {
        // A remainder is one statement of its own size: prepared afresh, not cached, once per chunk and table.
        if self.rows > 0 {
            let args = std::mem::take(&mut self.args);
            let rows = self.rows;
            self.send(conn, rows, args).await?;
        }
        Ok(())
    }

    async fn send(&self, conn: &mut SqliteConnection, rows: usize, args: SqliteArguments) -> Result<()> {
        let tuple = format!("({})", vec!["?"; self.columns].join(","));
        let sql = format!("{} values {}{}", self.head, vec![tuple; rows].join(","), self.tail);
        sqlx::query_with(AssertSqlSafe(sql), args)
            .persistent(rows == LARGEST)
            .execute(conn)
            .await
            .map_err(unavailable)?;
        Ok(())
    }
}

/// A JSON array of texts, for `json_each(?)`.
pub(super) fn json_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.into_iter().collect::<Vec<_>>()).expect("a list of strings is always JSON")
}

/// A JSON array of integers, for `json_each(?)`.
pub(super) fn json_integers(numbers: &[i64]) -> String {
    serde_json::to_string(numbers).expect("a list of integers is always JSON")
}
