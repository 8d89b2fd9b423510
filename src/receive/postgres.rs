//! `postgres://…`: one typed table for each register, its rows and the feed's cursor moving in one transaction.
//!
//! The table is as [`super::sqlite`] makes it, with PostgreSQL's own types: `numeric`, `date`, `timestamptz`. A batch is
//! loaded by two statements, one that upserts arrays of columns and one that deletes. The character U+0000, which
//! PostgreSQL cannot hold, becomes ␀; `_digest` stays that of the record as sent. The address's password is never
//! printed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::{Cursor, ReceiveError, Sink};
use crate::batch::{HexDigest, Op, Opened, Record};
use crate::crypto::digest_from_hex;
use crate::failpoint::Boundary;
use crate::record::{FieldType, Value};

/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lock that somebody else holds, or a statement that does not end, is an error and no endless wait.
const BOUNDS: &str = "set lock_timeout = '30s'; set statement_timeout = '10min'";

/// What stands for U+0000, which PostgreSQL has no room for in text.
pub(super) const NUL_SIGN: &str = "\u{2400}";

const TABLES: &str = "
    create table if not exists huiliu_cursor (
        feed text primary key, register text not null unique, seq bigint not null, manifest_digest text not null,
        sealed_at timestamptz not null, held bigint not null);
    create table if not exists huiliu_batch (
        feed text not null, seq bigint not null, manifest_digest text not null, primary key (feed, seq));";

/// Whether this is the register database of a data office. For a user `huiliu` its schema comes first, and what is made
/// there by anybody else makes the store refuse itself.
const IS_A_STORE: &str = "select exists (select 1 from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = 'huiliu' and c.relname = 'migration')";

/// Receivers that load at the same time take turns.
const TURN: &str = "select pg_advisory_xact_lock(7310871)";

/// A PostgreSQL database of the subscriber.
pub struct PostgresSink {
    target: String,
    options: PgConnectOptions,
    /// Away after an error, and made again.
    connection: Option<PgConnection>,
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink").field("target", &self.target).finish_non_exhaustive()
    }
}

impl PostgresSink {
    /// Connects, and makes the tables that remember.
    ///
    /// # Errors
    /// [`ReceiveError::Usage`] when the address does not read or is that of an office's own store, [`ReceiveError::Target`].
    pub async fn open(url: &str) -> Result<Self, ReceiveError> {
        let (options, target) = address(url)?;
        let mut sink = Self { target, options, connection: None };
        let mut connection = sink.connect().await?;
        let is_a_store = sqlx::query_scalar(IS_A_STORE).fetch_one(&mut connection).await;
        if is_a_store.map_err(|error| sink.failed(&error))? {
            return Err(ReceiveError::Usage {
                what: format!(
                    "{} holds the registers of a data office (schema huiliu); nothing is received there",
                    sink.target
                ),
                hint: "give --to a database of its own: createdb housing, postgres://user:password@host/housing".into(),
            });
        }
        let made = async {
            let mut transaction = connection.begin().await?;
            sqlx::raw_sql(TURN).execute(&mut *transaction).await?;
            sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        made.await.map_err(|error| sink.failed(&error))?;
        sink.connection = Some(connection);
        Ok(sink)
    }

    async fn connect(&mut self) -> Result<PgConnection, ReceiveError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connecting = async {
            let mut connection = crate::postgres::connect(&self.options).await?;
            sqlx::raw_sql(BOUNDS).execute(&mut connection).await?;
            Ok(connection)
        };
        match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(|error: sqlx::Error| self.failed(&error)),
            Err(_) => Err(ReceiveError::Target {
                target: self.target.clone(),
                why: format!("no connection within {} s", PATIENCE.as_secs()),
            }),
        }
    }

    fn failed(&self, error: &sqlx::Error) -> ReceiveError {
        failed(&self.target, error)
    }

    async fn load(&self, connection: &mut PgConnection, batch: &Opened) -> Result<u64, ReceiveError> {
        let failed = |error: sqlx::Error| self.failed(&error);
        let mut transaction = connection.begin().await.map_err(failed)?;
        sqlx::raw_sql(TURN).execute(&mut *transaction).await.map_err(failed)?;
        let manifest = &batch.manifest;
        let stands = read_cursor(&mut transaction, &self.target, &manifest.feed).await?;
        if stands.map_or(0, |(cursor, _)| cursor.seq) + 1 != manifest.seq {
            let what = "another receiver moved it meanwhile".into();
            return Err(ReceiveError::CursorMismatch { target: self.target.clone(), what });
        }
        let mut table = Table { target: &self.target, name: &manifest.register, transaction: &mut transaction };
        table.prepare(batch).await?;
        let gained = table.load(batch).await?;
        let held = stands.map_or(0, |(_, held)| held) + gained;
        let digest = HexDigest(batch.manifest_digest).to_string();
        sqlx::query(
            "insert into huiliu_cursor (feed, register, seq, manifest_digest, sealed_at, held)
             values ($1, $2, $3, $4, $5::timestamptz, $6)
             on conflict (feed) do update set seq = excluded.seq, manifest_digest = excluded.manifest_digest,
                sealed_at = excluded.sealed_at, held = excluded.held",
        )
        .bind(&manifest.feed)
        .bind(&manifest.register)
        .bind(manifest.seq.cast_signed())
        .bind(&digest)
        .bind(manifest.created_at.to_rfc3339())
        .bind(held)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query("insert into huiliu_batch values ($1, $2, $3)")
            .bind(&manifest.feed)
            .bind(manifest.seq.cast_signed())
            .bind(&digest)
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
impl Sink for PostgresSink {
    async fn cursor(&mut self, feed: &str) -> Result<Option<Cursor>, ReceiveError> {
        let mut connection = self.connect().await?;
        let cursor = read_cursor(&mut connection, &self.target, feed).await?;
        self.connection = Some(connection);
        Ok(cursor.map(|(cursor, _)| cursor))
    }

    async fn loaded(&mut self, feed: &str, seq: u64) -> Result<Option<HexDigest>, ReceiveError> {
        let mut connection = self.connect().await?;
        let digest: Option<String> =
            sqlx::query_scalar("select manifest_digest from huiliu_batch where feed = $1 and seq = $2")
                .bind(feed)
                .bind(seq.cast_signed())
                .fetch_optional(&mut connection)
                .await
                .map_err(|error| self.failed(&error))?;
        self.connection = Some(connection);
        Ok(digest.as_deref().and_then(digest_from_hex).map(HexDigest))
    }

    async fn apply(&mut self, batch: &Opened) -> Result<Option<u64>, ReceiveError> {
        let mut connection = self.connect().await?;
        // Boxed: the statements' futures are large. A connection that failed is not used again.
        let held = Box::pin(self.load(&mut connection, batch)).await?;
        self.connection = Some(connection);
        Ok(Some(held))
    }
}

/// How to connect, and the name by which messages call the target: without its password.
pub(super) fn address(url: &str) -> Result<(PgConnectOptions, String), ReceiveError> {
    let options = crate::postgres::options(url).map_err(|error| ReceiveError::Usage {
        what: format!("--to cannot be used: {error}"),
        hint: "give --to postgres://user:password@host:5432/database".into(),
    })?;
    let options = options.disable_statement_logging();
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let target = format!("postgres://{}:{}/{database}", options.get_host(), options.get_port());
    Ok((options, target))
}

/// A server's message can quote values ("invalid input syntax … \"张三\""): its code, table and column do not.
pub(super) fn failed(target: &str, error: &sqlx::Error) -> ReceiveError {
    let why = match error {
        sqlx::Error::Database(refused) => {
            let code = refused.code().unwrap_or_default().into_owned();
            let data = code.starts_with("22") || code.starts_with("23");
            if data { format!("the data was refused, SQLSTATE {code}") } else { refused.message().to_owned() }
        }
        other => other.to_string(),
    };
    ReceiveError::Target { target: target.to_owned(), why }
}

/// Where a feed stands, and how many rows its table has.
pub(super) async fn read_cursor(
    connection: &mut PgConnection,
    target: &str,
    feed: &str,
) -> Result<Option<(Cursor, i64)>, ReceiveError> {
    let row = sqlx::query("select seq, manifest_digest, held from huiliu_cursor where feed = $1")
        .bind(feed)
        .fetch_optional(connection)
        .await
        .map_err(|error| failed(target, &error))?;
    let Some(row) = row else { return Ok(None) };
    let read = || -> Option<(Cursor, i64)> {
        let seq = u64::try_from(row.try_get::<i64, _>(0).ok()?).ok()?;
        let digest = digest_from_hex(&row.try_get::<String, _>(1).ok()?)?;
        Some((Cursor { seq, manifest_digest: HexDigest(digest) }, row.try_get(2).ok()?))
    };
    read().map(Some).ok_or_else(|| ReceiveError::CursorMismatch {
        target: target.to_owned(),
        what: format!("the row of {feed} in huiliu_cursor does not read"),
    })
}

/// A value as text that PostgreSQL takes.
fn storable(value: &Value) -> String {
    match value {
        Value::Text(text) if text.contains('\0') => text.replace('\0', NUL_SIGN),
        other => other.to_text(),
    }
}

/// The table of one register, within a transaction.
struct Table<'a> {
    target: &'a str,
    name: &'a str,
    transaction: &'a mut PgConnection,
}

/// An SQL identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As the catalogue writes types.
const fn declared(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "text",
        FieldType::Integer => "bigint",
        FieldType::Decimal => "numeric",
        FieldType::Date => "date",
        FieldType::Timestamp => "timestamp with time zone",
        FieldType::Boolean => "boolean",
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
        let (columns, table) = (self.columns().await?, quoted(self.name));
        let fields = batch.schema.fields().iter();
        if columns.is_empty() {
            let fields: String =
                fields.map(|field| format!(", {} {}", quoted(&field.name), declared(field.kind))).collect();
            let sql = format!(
                "create table {table} (\"_id\" bigint primary key, \"_version\" bigint not null, \
                 \"_seq\" bigint not null, \"_digest\" bytea not null{fields})"
            );
            return self.execute(sql).await;
        }
        self.check_owner(&batch.manifest.feed).await?;
        for field in fields {
            match columns.get(&field.name) {
                None => {
                    let column = quoted(&field.name);
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

    /// Columns and their types; none when there is no such table.
    async fn columns(&mut self) -> Result<BTreeMap<String, String>, ReceiveError> {
        let rows = sqlx::query(
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
             where attrelid = to_regclass($1) and attnum > 0 and not attisdropped",
        )
        .bind(quoted(self.name))
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
        let owner: Option<String> = sqlx::query_scalar("select feed from huiliu_cursor where register = $1")
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

    /// Rows gained by loading: those of the batch's entities that are there after it, less those before.
    async fn load(&mut self, batch: &Opened) -> Result<i64, ReceiveError> {
        // What a batch says of an entity last is what it says.
        let last: HashMap<i64, &Record> = batch.records.iter().map(|record| (record.id, record)).collect();
        let ids: Vec<i64> = last.keys().copied().collect();
        let before = self.present(&ids).await?;
        let (upserts, withdrawals): (Vec<&Record>, Vec<&Record>) =
            last.into_values().partition(|record| record.op == Op::Upsert);
        if !withdrawals.is_empty() {
            let sql = format!("delete from {} where \"_id\" = any($1)", quoted(self.name));
            let gone: Vec<i64> = withdrawals.iter().map(|record| record.id).collect();
            let done = sqlx::query(AssertSqlSafe(sql)).bind(gone).execute(&mut *self.transaction).await;
            done.map_err(|error| self.failed(&error))?;
        }
        if !upserts.is_empty() {
            self.upsert(batch, &upserts).await?;
        }
        Ok(self.present(&ids).await? - before)
    }

    async fn present(&mut self, ids: &[i64]) -> Result<i64, ReceiveError> {
        let sql = format!("select count(*) from {} where \"_id\" = any($1)", quoted(self.name));
        let counted = sqlx::query_scalar(AssertSqlSafe(sql)).bind(ids).fetch_one(&mut *self.transaction).await;
        counted.map_err(|error| self.failed(&error))
    }

    /// Replaces whole rows: a field that is no longer released becomes null.
    async fn upsert(&mut self, batch: &Opened, records: &[&Record]) -> Result<(), ReceiveError> {
        let columns: Vec<String> = self.columns().await?.into_keys().filter(|name| !name.starts_with('_')).collect();
        let fields = batch.schema.fields();
        let (mut names, mut values, mut arrays) = (String::new(), String::new(), String::new());
        let mut sets = String::new();
        for (at, field) in fields.iter().enumerate() {
            names += &format!(", {}", quoted(&field.name));
            values += &format!(", c{at}::{}", declared(field.kind));
            arrays += &format!(", ${}::text[]", at + 5);
        }
        for column in &columns {
            let column = quoted(column);
            // What is not inserted is null in `excluded`.
            sets += &format!(", {column} = excluded.{column}");
        }
        let aliases: String = (0..fields.len()).map(|at| format!(", c{at}")).collect();
        let sql = format!(
            "insert into {} as t (\"_id\", \"_version\", \"_seq\", \"_digest\"{names}) \
             select i, v, $2::bigint, d{values} from unnest($1::bigint[], $3::bigint[], $4::bytea[]{arrays}) \
             as u (i, v, d{aliases}) \
             on conflict (\"_id\") do update set \"_version\" = excluded.\"_version\", \
             \"_seq\" = excluded.\"_seq\", \"_digest\" = excluded.\"_digest\"{sets}",
            quoted(self.name)
        );
        let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
        let versions: Vec<i64> = records.iter().map(|record| record.version).collect();
        let digests: Vec<&[u8]> = records.iter().map(|record| record.digest.as_slice()).collect();
        let seq = batch.manifest.seq.cast_signed();
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(seq).bind(versions).bind(digests);
        for at in 0..fields.len() {
            let text = |record: &&Record| record.values.get(at).and_then(Option::as_ref).map(storable);
            query = query.bind(records.iter().map(text).collect::<Vec<_>>());
        }
        query.execute(&mut *self.transaction).await.map(|_| ()).map_err(|error| self.failed(&error))
    }
}
