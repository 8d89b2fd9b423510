//! What a PostgreSQL target holds.

use futures::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::super::postgres::{NUL_SIGN, address, failed, quoted, read_cursor};
use super::super::{Cursor, ReceiveError};
use super::{Question, Stock, Taker, bounds, columns, gathered, parts};
use crate::record::FieldType;

/// Dates, instants and numbers as text have one form each.
const FORMS: &str = "set datestyle = 'ISO, YMD'; set timezone = 'UTC'; set extra_float_digits = 1; \
                     set default_transaction_read_only = on; set default_transaction_isolation = 'repeatable read'";

async fn connect(options: &PgConnectOptions, target: &str) -> Result<PgConnection, ReceiveError> {
    let connecting = async {
        let mut connection = crate::postgres::connect(options).await?;
        sqlx::raw_sql(FORMS).execute(&mut connection).await?;
        Ok(connection)
    };
    connecting.await.map_err(|error: sqlx::Error| failed(target, &error))
}

pub(super) async fn stands(url: &str, feed: &str) -> Result<Option<Cursor>, ReceiveError> {
    let (options, target) = address(url)?;
    let found = read_cursor(&mut connect(&options, &target).await?, &target, feed).await?;
    Ok(found.map(|(cursor, _)| cursor))
}

pub(super) async fn take(url: &str, question: &Question) -> Result<Vec<Stock>, ReceiveError> {
    let (options, target) = address(url)?;
    let failed = |error: sqlx::Error| failed(&target, &error);
    let mut connection = connect(&options, &target).await?;
    let table = quoted(&question.register);
    let there: Vec<String> = sqlx::query_scalar(
        "select attname::text from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped",
    )
    .bind(&table)
    .fetch_all(&mut connection)
    .await
    .map_err(failed)?;
    if there.is_empty() {
        let cursor = read_cursor(&mut connection, &target, &question.feed).await?;
        return Ok(vec![Stock { cursor: cursor.map(|(cursor, _)| cursor), records: Vec::new() }]);
    }
    let (first, last, count): (i64, i64, i64) =
        sqlx::query_as(bounds(&table)).fetch_one(&mut connection).await.map_err(failed)?;
    let columns = columns(question, &there, "::text");
    let sql = format!("select {columns} from {table} where \"_id\" between $1 and $2 order by \"_id\"");
    let read = |part| tokio::spawn(read(options.clone(), target.clone(), question.clone(), (sql.clone(), part)));
    gathered(&target, parts(first, last, count).into_iter().map(read).collect()).await
}

/// Rows of one part, in a transaction that sees one state.
async fn read(
    options: PgConnectOptions,
    target: String,
    question: Question,
    (sql, (from, to)): (String, (i64, i64)),
) -> Result<Stock, ReceiveError> {
    let mut connection = connect(&options, &target).await?;
    let mut transaction = connection.begin().await.map_err(|error| failed(&target, &error))?;
    let cursor = read_cursor(&mut transaction, &target, &question.feed).await?.map(|(cursor, _)| cursor);
    let mut taker = Taker::new(question.algorithm);
    let scanned = async {
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(from).bind(to).fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await? {
            take_row(&row, &question.fields, &mut taker)?;
        }
        Ok(())
    };
    scanned.await.map_err(|error: sqlx::Error| failed(&target, &error))?;
    Ok(Stock { cursor, records: taker.records })
}

fn take_row(row: &PgRow, fields: &[(String, FieldType)], taker: &mut Taker) -> sqlx::Result<()> {
    let (id, version): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let stored: Option<&[u8]> = row.try_get(2)?;
    let stored = stored.unwrap_or_default();
    encode(row, fields, taker, (id, version), false)?;
    let sign = |at: usize| row.try_get::<Option<&str>, _>(at).is_ok_and(|t| t.is_some_and(|t| t.contains(NUL_SIGN)));
    if (3..3 + fields.len()).any(sign) && !taker.fits(stored) {
        // The sign stands for U+0000, which PostgreSQL has no room for.
        encode(row, fields, taker, (id, version), true)?;
    }
    taker.end(id, version, stored);
    Ok(())
}

fn encode(
    row: &PgRow,
    fields: &[(String, FieldType)],
    taker: &mut Taker,
    (id, version): (i64, i64),
    restore: bool,
) -> sqlx::Result<()> {
    taker.begin(id, version);
    for (at, (_, kind)) in (3..).zip(fields) {
        let text: Option<&str> = row.try_get(at)?;
        match (kind, text) {
            (FieldType::Timestamp, Some(text)) => taker.text(*kind, Some(&instant(text))),
            (FieldType::Text, Some(text)) if restore => taker.text(*kind, Some(&text.replace(NUL_SIGN, "\0"))),
            (kind, text) => taker.text(*kind, text),
        }
    }
    Ok(())
}

/// `2026-10-01 02:30:00.5+00` as RFC 3339 writes it; what is no such thing stays as it is.
fn instant(text: &str) -> String {
    match text.strip_suffix("+00") {
        Some(plain) => format!("{}Z", plain.replacen(' ', "T", 1)),
        None => text.to_owned(),
    }
}
