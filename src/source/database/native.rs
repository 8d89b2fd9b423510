//! Connections by drivers of our own: PostgreSQL, MySQL, MariaDB, SQLite.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::PgSslMode;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Decode, Executor as _, MySqlConnection, PgConnection,
    Row as _, SqlSafeStr as _, SqliteConnection, Statement as _, TypeInfo as _, ValueRef as _,
};
use tokio::sync::mpsc;

use super::client::{HELLO, Paged};
use super::dialect::Dialect;
use super::rows::Block;
use super::sql::{Statement, never_null};
use super::{dialect, error};
use crate::config::Database;
use crate::source::SourceError;

/// A connection, with the longest time that a statement may take.
pub(super) struct Native {
    link: Link,
    timeout: Duration,
}

enum Link {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// Does the same on whichever connection it is.
macro_rules! on {
    ($link:expr, $conn:ident => $does:expr) => {
        match $link {
            Link::Postgres($conn) => $does,
            Link::MySql($conn) => $does,
            Link::Sqlite($conn) => $does,
        }
    };
}

/// A query with its values.
macro_rules! query {
    ($statement:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($statement.sql.clone()));
        for value in &$statement.binds {
            query = query.bind(value.clone());
        }
        query
    }};
}

impl Native {
    /// Connects; a session that does not write cannot.
    pub(super) async fn connect(database: &Database, dir: &Path, writes: bool) -> Result<Self, SourceError> {
        let link = async {
            match dialect(&database.url.value) {
                Some(Dialect::Postgres) => postgres(database, dir, writes).await.map(Link::Postgres),
                Some(Dialect::MySql) => mysql(database, dir, writes).await.map(Link::MySql),
                _ => sqlite(database, dir, writes).await.map(Link::Sqlite),
            }
        };
        match tokio::time::timeout(HELLO, link).await {
            Ok(link) => Ok(Self { link: link.map_err(|e| error::of(&e, false))?, timeout: database.timeout }),
            Err(_) => Err(SourceError::Unreached { why: format!("no answer within {} s", HELLO.as_secs()) }),
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self.link {
            Link::Postgres(_) => Dialect::Postgres,
            Link::MySql(_) => Dialect::MySql,
            Link::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// As [`super::client::Client::columns`].
    pub(super) async fn columns(&mut self, sql: &str) -> Result<Vec<(String, String)>, SourceError> {
        let timeout = self.timeout;
        within(timeout, async {
            on!(&mut self.link, conn => {
                let statement = conn.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await?;
                let named = |column: &_| named(column);
                Ok(statement.columns().iter().map(named).collect())
            })
        })
        .await
    }

    /// As [`super::client::Client::never_null`].
    pub(super) async fn never_null(&mut self, from: &str) -> Result<Vec<String>, SourceError> {
        if self.dialect() != Dialect::Postgres {
            return Ok(Vec::new());
        }
        let named = self.first(&never_null(from)).await?.and_then(|row| row.into_iter().next().flatten());
        Ok(named.unwrap_or_default().lines().map(str::to_owned).collect())
    }

    /// As [`super::client::Client::first`].
    pub(super) async fn first(&mut self, statement: &Statement) -> Result<Option<Vec<Option<String>>>, SourceError> {
        let mut block = Block::default();
        let timeout = self.timeout;
        within(timeout, async {
            on!(&mut self.link, conn => {
                if let Some(row) = query!(statement).fetch_optional(conn).await? {
                    for i in 0..row.columns().len() {
                        block.put(cell(&row, i)?);
                    }
                    block.end_row();
                }
                Ok(())
            })
        })
        .await?;
        Ok((block.rows() > 0).then(|| block.texts(0)))
    }

    /// As [`super::client::Client::page`].
    pub(super) async fn page(
        &mut self,
        statement: &Statement,
        (limit, width): (u64, (usize, usize)),
        to: &mpsc::Sender<Result<Block, SourceError>>,
    ) -> Result<Paged, SourceError> {
        let timeout = self.timeout;
        let (mut block, mut rows_read, mut last) = (Block::of(width), 0u64, None);
        on!(&mut self.link, conn => {
            let mut rows = query!(statement).fetch(conn);
            loop {
                let row = within(timeout, async { rows.try_next().await }).await?;
                let Some(row) = row else { break };
                for i in 0..width.0 + width.1 {
                    block.put(cell(&row, i).map_err(|e| error::of(&e, true))?);
                }
                block.end_row();
                rows_read += 1;
                if block.is_full() {
                    last = send(block.whole_groups(), to).await.or(last);
                }
            }
        });
        let rest = if rows_read >= limit { block.whole_groups() } else { block };
        Ok(Paged { rows: rows_read, last: send(rest.ending_page(), to).await.or(last), full: rows_read >= limit })
    }

    /// As [`super::client::Client::stream`].
    pub(super) async fn stream(
        &mut self,
        statement: &Statement,
        width: usize,
        to: mpsc::Sender<Block>,
    ) -> Result<(), SourceError> {
        let timeout = self.timeout;
        let mut block = Block::of((width, 0));
        on!(&mut self.link, conn => {
            let mut rows = query!(statement).fetch(conn);
            while let Some(row) = within(timeout, async { rows.try_next().await }).await? {
                for i in 0..width {
                    block.put(cell(&row, i).map_err(|e| error::of(&e, true))?);
                }
                block.end_row();
                if block.is_full() && to.send(std::mem::replace(&mut block, Block::of((width, 0)))).await.is_err() {
                    return Ok(());
                }
            }
        });
        to.send(block).await.ok();
        Ok(())
    }

    /// Runs a statement.
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<(), SourceError> {
        let timeout = self.timeout;
        within(timeout, async { on!(&mut self.link, conn => query!(statement).execute(conn).await.map(|_| ())) }).await
    }
}

/// Sends a block; its last row. That nobody reads any more is seen where the next page is asked for.
async fn send(block: Block, to: &mpsc::Sender<Result<Block, SourceError>>) -> Option<Vec<Option<String>>> {
    let last = block.rows().checked_sub(1).map(|row| block.texts(row))?;
    to.send(Ok(block)).await.ok();
    Some(last)
}

async fn within<T>(timeout: Duration, asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, SourceError> {
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => answer.map_err(|e| error::of(&e, true)),
        Err(_) => Err(error::given_up(timeout.as_secs())),
    }
}

fn named<C: sqlx::Column>(column: &C) -> (String, String) {
    (column.name().to_owned(), column.type_info().name().to_owned())
}

/// The bytes of a cell that was asked for as text; `None` is null.
fn cell<'r, R: sqlx::Row>(row: &'r R, i: usize) -> Result<Option<&'r [u8]>, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    &'r [u8]: Decode<'r, R::Database>,
{
    let value = row.try_get_raw(i)?;
    if value.is_null() {
        return Ok(None);
    }
    <&[u8] as Decode<'r, R::Database>>::decode(value).map(Some).map_err(sqlx::Error::Decode)
}

async fn postgres(database: &Database, dir: &Path, writes: bool) -> Result<PgConnection, sqlx::Error> {
    let options = crate::postgres::options(&database.url.value);
    let options = options.map_err(|error| sqlx::Error::Configuration(error.into()))?;
    let mut options = options.application_name("huiliu").options([
        ("statement_timeout", database.timeout.as_millis().to_string()),
        ("lock_timeout", database.timeout.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", "600000".to_owned()),
        ("default_transaction_read_only", if writes { "off" } else { "on" }.to_owned()),
        ("DateStyle", "ISO".to_owned()),
    ]);
    if let Some(user) = &database.user {
        options = options.username(user);
    }
    if let Some(password) = &database.password {
        options = options.password(&password.0);
    }
    if let Some(ca) = &database.ca {
        options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(dir.join(ca));
    }
    crate::postgres::connect(&options).await
}

async fn mysql(database: &Database, dir: &Path, writes: bool) -> Result<MySqlConnection, sqlx::Error> {
    let url = database.url.value.replacen("mariadb:", "mysql:", 1);
    // The session keeps the server's own zone: its times are civil times of the department.
    let mut options = MySqlConnectOptions::from_str(&url)?.timezone(None);
    if let Some(user) = &database.user {
        options = options.username(user);
    }
    if let Some(password) = &database.password {
        options = options.password(&password.0);
    }
    if let Some(ca) = &database.ca {
        options = options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca(dir.join(ca));
    }
    let mut conn = options.connect().await?;
    let version: String = sqlx::query_scalar("select version()").fetch_one(&mut conn).await?;
    let seconds = database.timeout.as_secs().max(1);
    let limit = if version.contains("MariaDB") {
        format!("set session max_statement_time = {seconds}, lock_wait_timeout = {seconds}")
    } else {
        format!("set session max_execution_time = {}, lock_wait_timeout = {seconds}", seconds * 1000)
    };
    conn.execute(AssertSqlSafe(limit)).await?;
    if !writes {
        conn.execute("set session transaction read only").await?;
    }
    Ok(conn)
}

async fn sqlite(database: &Database, dir: &Path, writes: bool) -> Result<SqliteConnection, sqlx::Error> {
    let path = database.url.value.trim_start_matches("sqlite:").trim_start_matches("//");
    let options = SqliteConnectOptions::new()
        .filename(dir.join(path))
        .read_only(!writes)
        .create_if_missing(false)
        .busy_timeout(database.timeout);
    let mut conn = SqliteConnection::connect_with(&options).await?;
    sqlx::query("select 1 from sqlite_schema limit 1").fetch_optional(&mut conn).await?;
    Ok(conn)
}
