//! `sqlite:FILE`: one typed table for each register, its rows and the feed's cursor moving in one transaction.
//!
//! The table has the register's name and the columns `_id` (primary key), `_version`, `_seq` (the batch that wrote the
//! row), `_digest`, and the released fields. Decimals, dates and timestamps are text in canonical form, exact and sorting
//! as written. When a feed's schema widens, columns are added; a field that is no longer released becomes null in every
//! row that is sent again. Columns are never dropped or changed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, Sqlite};

use super::{Cursor, ReceiveError, Sink};
use crate::batch::{HexDigest, Op, Opened, Record};
use crate::crypto::digest_from_hex;
use crate::failpoint::Boundary;
use crate::record::{FieldType, Value};

/// A SQLite database of the subscriber.
pub struct SqliteSink {
    target: String,
    connection: SqliteConnection,
}

impl fmt::Debug for SqliteSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSink").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Longest wait for somebody else's transaction.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const CURSOR_TABLE: &str = "create table if not exists huiliu_cursor (
    feed text primary key, register text not null unique, seq integer not null, manifest_digest text not null,
    sealed_at text not null, held integer) strict";

/// What was loaded: a batch that comes again is compared with it.
const BATCH_TABLE: &str = "create table if not exists huiliu_batch (
    feed text not null, seq integer not null, manifest_digest text not null, primary key (feed, seq))
    strict, without rowid";

impl SqliteSink {
    /// Opens the database, making it when it is missing.
    ///
    /// # Errors
    /// [`ReceiveError::Target`].
    pub async fn open(file: &Path) -> Result<Self, ReceiveError> {
        let target = file.display().to_string();
        let failed = |error: sqlx::Error| failed(&target, &error);
        let mut connection = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE)
            .connect()
            .await
            .map_err(failed)?;
        sqlx::query(CURSOR_TABLE).execute(&mut connection).await.map_err(failed)?;
        sqlx::query(BATCH_TABLE).execute(&mut connection).await.map_err(failed)?;
        // A database of an earlier version does not count its rows.
        let counts = "select count(*) from pragma_table_info('huiliu_cursor') where name = 'held'";
        if sqlx::query_scalar::<_, i64>(counts).fetch_one(&mut connection).await.map_err(failed)? == 0 {
            let widen = "alter table huiliu_cursor add column held integer";
            sqlx::query(widen).execute(&mut connection).await.map_err(failed)?;
        }
        Ok(Self { target, connection })
    }

    async fn load(&mut self, batch: &Opened) -> Result<u64, ReceiveError> {
        let target = self.target.clone();
        let failed = |error: sqlx::Error| failed(&target, &error);
        let mut transaction = self.connection.begin_with("begin immediate").await.map_err(failed)?;
        let stands = read_cursor(&mut transaction, &target, &batch.manifest.feed).await?;
        if stands.map_or(0, |cursor| cursor.seq) + 1 != batch.manifest.seq {
            return Err(ReceiveError::CursorMismatch { target, what: "another receiver moved it meanwhile".into() });
        }
        let mut table = Table { target: &target, name: &batch.manifest.register, transaction: &mut transaction };
        table.prepare(batch).await?;
        let held = table.load_and_count(batch).await?;
        sqlx::query("insert or replace into huiliu_batch values (?, ?, ?)")
            .bind(&batch.manifest.feed)
            .bind(batch.manifest.seq.cast_signed())
            .bind(HexDigest(batch.manifest_digest).to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query(
            "insert into huiliu_cursor (feed, register, seq, manifest_digest, sealed_at, held)
             values (?, ?, ?, ?, ?, ?)
             on conflict (feed) do update set seq = excluded.seq, manifest_digest = excluded.manifest_digest,
                sealed_at = excluded.sealed_at, held = excluded.held",
        )
        .bind(&batch.manifest.feed)
        .bind(&batch.manifest.register)
        .bind(batch.manifest.seq.cast_signed())
        .bind(HexDigest(batch.manifest_digest).to_string())
        .bind(batch.manifest.created_at.to_rfc3339())
        .bind(held)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        Boundary::LoadWritten.reached();
        transaction.commit().await.map_err(failed)?;
        Boundary::LoadCommitted.reached();
        Ok(held.unsigned_abs())
    }
}

#[async_trait]
impl Sink for SqliteSink {
    async fn cursor(&mut self, feed: &str) -> Result<Option<Cursor>, ReceiveError> {
        read_cursor(&mut self.connection, &self.target, feed).await
    }

    async fn loaded(&mut self, feed: &str, seq: u64) -> Result<Option<HexDigest>, ReceiveError> {
        let digest: Option<String> =
            sqlx::query_scalar("select manifest_digest from huiliu_batch where feed = ? and seq = ?")
                .bind(feed)
                .bind(seq.cast_signed())
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| failed(&self.target, &error))?;
        Ok(digest.as_deref().and_then(digest_from_hex).map(HexDigest))
    }

    async fn apply(&mut self, batch: &Opened) -> Result<Option<u64>, ReceiveError> {
        // Boxed: the statements' futures are large.
        Box::pin(self.load(batch)).await.map(Some)
    }
}

pub(super) fn failed(target: &str, error: &sqlx::Error) -> ReceiveError {
    // SQLite's messages name tables and columns, never values.
    ReceiveError::Target { target: target.to_owned(), why: error.to_string() }
}

pub(super) async fn read_cursor(
    connection: &mut SqliteConnection,
    target: &str,
    feed: &str,
) -> Result<Option<Cursor>, ReceiveError> {
    let row = sqlx::query("select seq, manifest_digest from huiliu_cursor where feed = ?")
        .bind(feed)
        .fetch_optional(connection)
        .await
        .map_err(|error| failed(target, &error))?;
    let Some(row) = row else { return Ok(None) };
    let read = || -> Option<Cursor> {
        let seq = u64::try_from(row.try_get::<i64, _>(0).ok()?).ok()?;
        let digest = digest_from_hex(&row.try_get::<String, _>(1).ok()?)?;
        Some(Cursor { seq, manifest_digest: HexDigest(digest) })
    };
    read().map(Some).ok_or_else(|| ReceiveError::CursorMismatch {
        target: target.to_owned(),
        what: format!("the row of {feed} in huiliu_cursor does not read"),
    })
}

/// The table of one register, within a transaction.
struct Table<'a> {
    target: &'a str,
    name: &'a str,
    transaction: &'a mut SqliteConnection,
}

/// An SQL identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Declared types tell apart what SQLite would not; the affinity of all but integer and boolean is text.
const fn declared(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "TEXT",
        FieldType::Integer => "INTEGER",
        FieldType::Decimal => "DECIMAL_TEXT",
        FieldType::Date => "DATE_TEXT",
        FieldType::Timestamp => "TIMESTAMP_TEXT",
        FieldType::Boolean => "BOOLEAN",
    }
}

impl Table<'_> {
    fn failed(&self, error: &sqlx::Error) -> ReceiveError {
        failed(self.target, error)
    }

    async fn execute(&mut self, sql: String) -> Result<(), ReceiveError> {
        // Names are quoted identifiers; values are always bound.
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut *self.transaction).await;
        done.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Makes the table, or adds the columns it lacks.
    async fn prepare(&mut self, batch: &Opened) -> Result<(), ReceiveError> {
        let columns = self.columns().await?;
        if columns.is_empty() {
            let fields: String = batch
                .schema
                .fields()
                .iter()
                .map(|field| format!(", {} {}", quoted(&field.name), declared(field.kind)))
                .collect();
            return self
                .execute(format!(
                    "create table {} (\"_id\" INTEGER PRIMARY KEY, \"_version\" INTEGER NOT NULL, \
                     \"_seq\" INTEGER NOT NULL, \"_digest\" BLOB NOT NULL{fields})",
                    quoted(self.name)
                ))
                .await;
        }
        self.check_owner(&batch.manifest.feed).await?;
        for field in batch.schema.fields() {
            match columns.get(&field.name) {
                None => {
                    let (table, column) = (quoted(self.name), quoted(&field.name));
                    self.execute(format!("alter table {table} add column {column} {}", declared(field.kind))).await?;
                }
                Some(kind) if kind == declared(field.kind) => {}
                Some(kind) => {
                    return Err(ReceiveError::Table {
                        table: self.name.to_owned(),
                        what: format!("column {} is {kind}, the feed has {}", field.name, declared(field.kind)),
                    });
                }
            }
        }
        Ok(())
    }

    /// Columns and their declared types; none when there is no such table.
    async fn columns(&mut self) -> Result<BTreeMap<String, String>, ReceiveError> {
        let rows = sqlx::query("select name, type from pragma_table_info(?)")
            .bind(self.name)
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(|error| self.failed(&error))?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<sqlx::Result<_>>()
            .map_err(|error| self.failed(&error))
    }

    /// A table that is there must be this feed's.
    async fn check_owner(&mut self, feed: &str) -> Result<(), ReceiveError> {
        let owner: Option<String> = sqlx::query_scalar("select feed from huiliu_cursor where register = ?")
            .bind(self.name)
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(|error| self.failed(&error))?;
        let what = match owner {
            Some(owner) if owner == feed => return Ok(()),
            Some(owner) => format!("its table {} is filled by the feed {owner}", self.name),
            None => format!("it has a table {} that was not made by receiving", self.name),
        };
        Err(ReceiveError::CursorMismatch { target: self.target.to_owned(), what })
    }

    /// Loads, and says how many rows the table has then: as many as before, and those gained among the batch's own.
    async fn load_and_count(&mut self, batch: &Opened) -> Result<i64, ReceiveError> {
        let counted: Option<Option<i64>> = sqlx::query_scalar("select held from huiliu_cursor where feed = ?")
            .bind(&batch.manifest.feed)
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(|error| self.failed(&error))?;
        let table = quoted(self.name);
        let held = match counted {
            Some(Some(held)) => held,
            Some(None) | None => self.scalar(format!("select count(*) from {table}"), "").await?,
        };
        let ids: Vec<i64> = batch.records.iter().map(|record| record.id).collect();
        let ids = serde_json::to_string(&ids).unwrap_or_default();
        let present = format!("select count(*) from {table} where \"_id\" in (select value from json_each(?))");
        let before = self.scalar(present.clone(), &ids).await?;
        self.load(batch).await?;
        Ok(held + self.scalar(present, &ids).await? - before)
    }

    async fn scalar(&mut self, sql: String, ids: &str) -> Result<i64, ReceiveError> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let query = if ids.is_empty() { query } else { query.bind(ids) };
        query.fetch_one(&mut *self.transaction).await.map_err(|error| self.failed(&error))
    }

    async fn load(&mut self, batch: &Opened) -> Result<(), ReceiveError> {
        let table = quoted(self.name);
        let names: String = batch.schema.fields().iter().map(|field| format!(", {}", quoted(&field.name))).collect();
        let marks = ", ?".repeat(batch.schema.fields().len());
        let upsert: Arc<str> = format!(
            "insert or replace into {table} (\"_id\", \"_version\", \"_seq\", \"_digest\"{names}) \
             values (?, ?, ?, ?{marks})"
        )
        .into();
        let withdraw: Arc<str> = format!("delete from {table} where \"_id\" = ?").into();
        for record in &batch.records {
            let done = match record.op {
                Op::Upsert => bound(&upsert, record, batch.manifest.seq).execute(&mut *self.transaction).await,
                Op::Withdraw => {
                    let query = sqlx::query(AssertSqlSafe(Arc::clone(&withdraw))).bind(record.id);
                    query.execute(&mut *self.transaction).await
                }
            };
            done.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }
}

fn bound<'a>(upsert: &Arc<str>, record: &'a Record, seq: u64) -> Query<'a, Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(Arc::clone(upsert)))
        .bind(record.id)
        .bind(record.version)
        .bind(seq.cast_signed())
        .bind(record.digest.as_slice());
    record.values.iter().fold(query, |query, value| match value {
        None => query.bind(None::<&str>),
        Some(Value::Text(text)) => query.bind(text.as_str()),
        Some(Value::Integer(n)) => query.bind(*n),
        Some(Value::Boolean(b)) => query.bind(*b),
        Some(other @ (Value::Decimal(_) | Value::Date(_) | Value::Timestamp(_))) => query.bind(other.to_text()),
    })
}
