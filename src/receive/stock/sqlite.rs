//! What a SQLite target holds.

use std::path::Path;

use futures::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::super::sqlite::{failed, quoted, read_cursor};
use super::super::{Cursor, ReceiveError};
use super::{Question, Stock, Taker, bounds, columns, gathered, parts};
use crate::record::{FieldType, Value};

async fn connect(file: &Path) -> Result<SqliteConnection, ReceiveError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).row_buffer_size(1024);
    let options = options.busy_timeout(super::super::sqlite::PATIENCE);
    options.connect().await.map_err(|error| failed(&file.display().to_string(), &error))
}

pub(super) async fn stands(file: &Path, feed: &str) -> Result<Option<Cursor>, ReceiveError> {
    read_cursor(&mut connect(file).await?, &file.display().to_string(), feed).await
}

pub(super) async fn take(file: &Path, question: &Question) -> Result<Vec<Stock>, ReceiveError> {
    let target = file.display().to_string();
    let failed = |error: sqlx::Error| failed(&target, &error);
    let mut connection = connect(file).await?;
    let there: Vec<String> = sqlx::query_scalar("select name from pragma_table_info(?)")
        .bind(&question.register)
        .fetch_all(&mut connection)
        .await
        .map_err(failed)?;
    if there.is_empty() {
        let cursor = read_cursor(&mut connection, &target, &question.feed).await?;
        return Ok(vec![Stock { cursor, records: Vec::new() }]);
    }
    let table = quoted(&question.register);
    let (first, last, count): (i64, i64, i64) =
        sqlx::query_as(bounds(&table)).fetch_one(&mut connection).await.map_err(failed)?;
    let columns = columns(question, &there, "");
    let sql = format!("select {columns} from {table} where \"_id\" between ? and ? order by \"_id\"");
    let read = |part| tokio::spawn(read(file.to_path_buf(), question.clone(), sql.clone(), part));
    gathered(&target, parts(first, last, count).into_iter().map(read).collect()).await
}

/// Rows of one part, in a transaction that sees one state.
async fn read(
    file: std::path::PathBuf,
    question: Question,
    sql: String,
    (from, to): (i64, i64),
) -> Result<Stock, ReceiveError> {
    let target = file.display().to_string();
    let mut connection = connect(&file).await?;
    let mut transaction = connection.begin().await.map_err(|error| failed(&target, &error))?;
    let cursor = read_cursor(&mut transaction, &target, &question.feed).await?;
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

fn take_row(row: &SqliteRow, fields: &[(String, FieldType)], taker: &mut Taker) -> sqlx::Result<()> {
    // Whatever a person put there; what has no number of its own cannot be asked for.
    let (id, version) = (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1).unwrap_or(-1));
    taker.begin(id, version);
    for (at, (_, kind)) in (3..).zip(fields) {
        match kind {
            FieldType::Integer => taker.value(row.try_get::<Option<i64>, _>(at).ok().map(|n| n.map(Value::Integer))),
            FieldType::Boolean => taker.value(row.try_get::<Option<bool>, _>(at).ok().map(|b| b.map(Value::Boolean))),
            kind => match row.try_get::<Option<&str>, _>(at) {
                Ok(text) => taker.text(*kind, text),
                Err(_) => taker.value(None),
            },
        }
    }
    taker.end(id, version, row.try_get::<&[u8], _>(2).unwrap_or_default());
    Ok(())
}
