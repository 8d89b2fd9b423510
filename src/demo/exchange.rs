//! The approval system's exchange tables (前置库交换表): an SQLite file that stands in for the system's Oracle.
//!
//! Decides: the tables, and that a batch is there as a whole or not at all. Guarantees: the same batches give the same
//! bytes; a batch that is written again replaces what an interrupted night left of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::file::{OutboxFile, place};

/// Every table ends as exchange tables do: batch, 增删改标志, time, and, where rows are marked as read, 交换开关.
const TABLES: &str = "
create table if not exists up_pro_accept (
    project_no text, task_name text, accept_date text, promise_date text,
    cd_batch text, cd_operation text, cd_time text);
create table if not exists up_pro_special_procedure (
    project_no text, special_name text, special_days integer, cd_batch text, cd_operation text, cd_time text);
create table if not exists up_pro_result (
    project_no text, task_name text, project_type text, applyer_type text, applyer_name text, applyer_page_code text,
    legal text, contact_mobile text, address text, result_cetr_name text, result_cetr_no text, result_date text,
    finish_time text, valid_from text, valid_to text, status text, org_name text, org_code text,
    cd_batch text, cd_operation text, cd_time text, cd_jhkg text);
";
const NAMES: [&str; 3] = ["up_pro_accept", "up_pro_special_procedure", "up_pro_result"];

/// One batch under way.
pub(super) struct Exchange {
    connection: SqliteConnection,
    path: PathBuf,
}

impl Exchange {
    /// Begins a batch, and the replay (`R`) of some of its rows.
    pub(super) async fn begin(outbox: &Path, dataset: &str, batch: &str) -> io::Result<Self> {
        let path = place(outbox, dataset, "exchange.db")?;
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(io::Error::other)?;
        connection.execute("begin immediate").await.map_err(io::Error::other)?;
        sqlx::raw_sql(TABLES).execute(&mut connection).await.map_err(io::Error::other)?;
        for table in NAMES {
            let sql = AssertSqlSafe(format!("delete from {table} where cd_batch in (?1, ?1 || 'R')"));
            sqlx::query(sql).bind(batch).execute(&mut connection).await.map_err(io::Error::other)?;
        }
        Ok(Self { connection, path })
    }

    /// Adds one row, cells in the order of the table's columns.
    pub(super) async fn put(&mut self, table: &str, cells: &[&str]) -> io::Result<()> {
        let marks = vec!["?"; cells.len()].join(", ");
        let mut query = sqlx::query(AssertSqlSafe(format!("insert into {table} values ({marks})")));
        for cell in cells {
            query = query.bind((!cell.is_empty()).then_some(*cell));
        }
        query.execute(&mut self.connection).await.map_err(io::Error::other)?;
        Ok(())
    }

    /// Ends the batch: all of its rows appear together.
    pub(super) async fn commit(mut self) -> io::Result<PathBuf> {
        self.connection.execute("commit").await.map_err(io::Error::other)?;
        self.connection.close().await.map_err(io::Error::other)?;
        Ok(self.path)
    }
}

/// What was written of one dataset; of several in one database the first has its size.
pub(super) fn delivered(dataset: &'static str, path: &Path, rows: u64, first: bool) -> io::Result<OutboxFile> {
    let bytes = if first { fs::metadata(path)?.len() } else { 0 };
    Ok(OutboxFile { dataset, path: path.to_owned(), rows, bytes })
}
