//! Many rows in few statements.
//!
//! A statement costs a thread hop, so rows go in groups of one size (prepared once and cached) and one remainder.
//! Groups are made apart from the connection, so that one thread packs cells while SQLite works off earlier groups.

use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type};
use tokio::sync::mpsc;

use super::super::{Result, StoreError};
use super::unavailable;
use crate::record::{DECIMAL_SCALE, Value, decimal_text};

/// Rows in the largest statement: between two statements SQLite waits until another thread has had its turn.
const LARGEST: usize = 512;
/// Arguments in the largest statement; SQLite takes 32,766.
const MOST_ARGUMENTS: usize = 32_000;
/// Statements made ahead of SQLite: enough to keep it busy, few enough to cost little memory.
const AHEAD: usize = 2;

/// One statement with its arguments.
pub(super) struct Statement {
    sql: Arc<str>,
    args: SqliteArguments,
    cached: bool,
}

impl Statement {
    /// A statement that is prepared once.
    pub(super) fn new(sql: impl Into<Arc<str>>) -> Self {
        Self { sql: sql.into(), args: SqliteArguments::default(), cached: true }
    }

    /// With the next argument.
    pub(super) fn bind<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(mut self, value: T) -> Result<Self> {
        put(&mut self.args, value)?;
        Ok(self)
    }
}

/// Takes statements in the order in which they shall run.
#[derive(Clone)]
pub(super) struct Script(mpsc::Sender<Statement>);

impl Script {
    /// The next statement. Waits while SQLite has enough to do; once it refused one, the others are dropped: what
    /// went wrong is known where they run.
    pub(super) fn say(&self, statement: Statement) {
        self.0.blocking_send(statement).ok();
    }
}

/// Runs the statements that `write` makes on another thread; stops at the first that fails.
pub(super) async fn run(
    conn: &mut SqliteConnection,
    write: impl FnOnce(&Script) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (sender, mut statements) = mpsc::channel(AHEAD);
    let written = tokio::task::spawn_blocking(move || write(&Script(sender)));
    let mut done = Ok(());
    while let Some(Statement { sql, args, cached }) = statements.recv().await {
        let query = sqlx::query_with(AssertSqlSafe(sql), args).persistent(cached);
        if let Err(error) = query.execute(&mut *conn).await {
            done = Err(unavailable(error));
            break;
        }
    }
    drop(statements);
    let written = written.await.map_err(|error| StoreError::Damaged(error.to_string()))?;
    done.and(written)
}

/// Collects rows of one `insert … values` and sends them in groups.
pub(super) struct Bulk<'a> {
    script: &'a Script,
    head: String,
    tuple: String,
    tail: &'static str,
    args: SqliteArguments,
    rows: usize,
    largest: usize,
    full: Option<Arc<str>>,
}

impl<'a> Bulk<'a> {
    /// `head` up to `values`, one tuple (`?` is a cell; numbers that all rows share are written out), and what follows
    /// the last tuple (an upsert clause or nothing).
    pub(super) fn new(
        script: &'a Script,
        head: impl Into<String>,
        tuple: impl Into<String>,
        tail: &'static str,
    ) -> Self {
        let tuple = tuple.into();
        let cells = tuple.matches('?').count().max(1);
        Self {
            script,
            head: head.into(),
            largest: LARGEST.min(MOST_ARGUMENTS / cells),
            tuple,
            tail,
            args: SqliteArguments::default(),
            rows: 0,
            full: None,
        }
    }

    /// The next cell.
    pub(super) fn put<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> Result<()> {
        put(&mut self.args, value)
    }

    /// The next cell, from a register value. Decimals go in as integers or text, so that SQLite keeps every digit.
    pub(super) fn put_value(&mut self, value: Option<Value>) -> Result<()> {
        match value {
            None => self.put(None::<i64>),
            Some(Value::Text(text)) => self.put(text),
            Some(Value::Integer(n) | Value::Timestamp(n)) => self.put(n),
            Some(Value::Decimal(n)) => match whole(n) {
                Some(n) => self.put(n),
                None => self.put(decimal_text(n)),
            },
            Some(date @ Value::Date(_)) => self.put(date.to_text()),
            Some(Value::Boolean(b)) => self.put(b),
        }
    }

    /// A row is complete; sends a full group.
    pub(super) fn row(&mut self) {
        self.rows += 1;
        if self.rows == self.largest {
            let sql = self.full.take().unwrap_or_else(|| self.sql().into());
            self.full = Some(Arc::clone(&sql));
            self.send(sql, true);
        }
    }

    /// Sends what is left: one statement of its own size, prepared afresh and not cached.
    pub(super) fn finish(mut self) {
        if self.rows > 0 {
            let sql = self.sql().into();
            self.send(sql, false);
        }
    }

    fn send(&mut self, sql: Arc<str>, cached: bool) {
        let args = std::mem::take(&mut self.args);
        self.rows = 0;
        self.script.say(Statement { sql, args, cached });
    }

    fn sql(&self) -> String {
        let tuples = vec![self.tuple.as_str(); self.rows].join(",");
        format!("{} values {tuples}{}", self.head, self.tail)
    }
}

/// Adds the next argument.
pub(super) fn put<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(args: &mut SqliteArguments, value: T) -> Result<()> {
    args.add(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// A scaled decimal that is a whole number SQLite can hold.
fn whole(scaled: i128) -> Option<i64> {
    let unit = 10_i128.pow(DECIMAL_SCALE.unsigned_abs().into());
    (scaled % unit == 0).then(|| i64::try_from(scaled / unit).ok()).flatten()
}

/// A JSON array of texts, for `json_each(?)`.
pub(super) fn json_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.into_iter().collect::<Vec<_>>()).expect("a list of strings is always JSON")
}

/// A JSON array of integers, for `json_each(?)`.
pub(super) fn json_integers(numbers: &[i64]) -> String {
    serde_json::to_string(numbers).expect("a list of integers is always JSON")
}
