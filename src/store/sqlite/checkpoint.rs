//! The write-ahead log goes into the database file beside the work, on a connection of its own.
//!
//! Left to itself, SQLite does this inside a commit, which waits. Beside it, the log never starts over while commits
//! follow each other closely; so when it has grown long, one commit waits until the rest of it is in the file. Nothing
//! here waits for somebody who reads: what a reader holds up is done the next time.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row, SqliteConnection};
use tokio::task::JoinHandle;

use super::super::Result;
use super::unavailable;

/// Commits between two checkpoints.
const COMMITS: u32 = 4;
/// Pages of a log that is long.
const LONG: i64 = 32_768;

/// Moves committed pages into the database file.
pub(super) struct Checkpointer {
    options: SqliteConnectOptions,
    commits: u32,
    /// The checkpoint under way or done; it gives the connection back, and the pages that the log had.
    task: Option<JoinHandle<Result<(SqliteConnection, i64)>>>,
}

impl Checkpointer {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        let options = options.busy_timeout(Duration::ZERO).pragma("cache_size", "-1024");
        Self { options, commits: 0, task: None }
    }

    /// A commit is done: begins a checkpoint now and then, if the last one has ended.
    pub(super) async fn committed(&mut self, writer: &mut SqliteConnection) -> Result<()> {
        self.commits += 1;
        if self.commits < COMMITS || self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        let (conn, pages) = self.connection().await?;
        if pages > LONG {
            checkpoint(writer, "passive").await?;
        }
        self.commits = 0;
        self.task = Some(tokio::spawn(beside(conn)));
        Ok(())
    }

    /// Nobody writes any more: all of the log goes into the file, which is then whole by itself.
    pub(super) async fn finish(&mut self) -> Result<()> {
        if self.task.is_none() && self.commits == 0 {
            return Ok(());
        }
        let (mut conn, _) = self.connection().await?;
        checkpoint(&mut conn, "truncate").await?;
        self.commits = 0;
        Ok(())
    }

    /// The connection, once the checkpoint under way has ended, and the pages that the log had then. One that failed
    /// leaves the log as it is, for the next.
    async fn connection(&mut self) -> Result<(SqliteConnection, i64)> {
        if let Some(task) = self.task.take()
            && let Ok(Ok(done)) = task.await
        {
            return Ok(done);
        }
        Ok((self.options.connect().await.map_err(unavailable)?, 0))
    }
}

async fn beside(mut conn: SqliteConnection) -> Result<(SqliteConnection, i64)> {
    let pages = checkpoint(&mut conn, "passive").await?;
    Ok((conn, pages))
}

/// Returns the pages that the log had.
async fn checkpoint(conn: &mut SqliteConnection, how: &'static str) -> Result<i64> {
    let sql = sqlx::AssertSqlSafe(format!("pragma wal_checkpoint({how})"));
    let row = sqlx::query(sql).fetch_one(conn).await.map_err(unavailable)?;
    Ok(row.get(1))
}
