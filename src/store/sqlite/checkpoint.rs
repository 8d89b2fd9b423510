//! The write-ahead log goes into the database file beside the work, on a connection of its own.
//!
//! Left to itself, SQLite does this inside a commit, which waits. Beside it, the log never starts over while commits
//! follow each other closely; so when it has grown long, one commit waits until all of it is in the file.

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
        Self { options, commits: 0, task: None }
    }

    /// A commit is done: begins a checkpoint now and then, if the last one has ended.
    pub(super) async fn committed(&mut self, writer: &mut SqliteConnection) -> Result<()> {
        self.commits += 1;
        if self.commits < COMMITS || self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        self.commits = 0;
        let conn = match self.task.take() {
            None => self.options.connect().await.map_err(unavailable)?,
            Some(task) => match task.await {
                Ok(Ok((conn, pages))) => {
                    if pages > LONG {
                        sqlx::query("pragma wal_checkpoint(restart)").execute(writer).await.map_err(unavailable)?;
                    }
                    conn
                }
                // The log stays as it is; the next attempt has a connection of its own.
                Ok(Err(_)) | Err(_) => return Ok(()),
            },
        };
        self.task = Some(tokio::spawn(checkpoint(conn)));
        Ok(())
    }

    /// Nobody writes any more: all of the log goes into the file, which is then whole by itself.
    pub(super) async fn finish(&mut self, conn: &mut SqliteConnection) -> Result<()> {
        if let Some(task) = self.task.take() {
            drop(task.await);
        }
        // Somebody who reads meanwhile may keep it from emptying the log; the next one does.
        sqlx::query("pragma wal_checkpoint(truncate)").execute(conn).await.map_err(unavailable)?;
        Ok(())
    }
}

async fn checkpoint(mut conn: SqliteConnection) -> Result<(SqliteConnection, i64)> {
    let row = sqlx::query("pragma wal_checkpoint(passive)").fetch_one(&mut conn).await.map_err(unavailable)?;
    let pages = row.get::<i64, _>(1);
    Ok((conn, pages))
}
