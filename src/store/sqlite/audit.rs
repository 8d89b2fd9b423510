//! The audit log: asked, and its checkpoints.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::super::audit::chained;
use super::super::{AuditFilter, Note, Result};
use super::commit::{begin, finish};
use super::{SqliteStore, unavailable};
use crate::audit::{Entry, SignedCheckpoint};
use crate::crypto::DigestAlgorithm;

/// Appends entries in a transaction, each with the digest of the one before it.
pub(super) async fn append(conn: &mut SqliteConnection, algorithm: DigestAlgorithm, notes: &[Note]) -> Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let previous: Option<String> = sqlx::query_scalar("select digest from audit order by id desc limit 1")
        .fetch_optional(&mut *conn)
        .await
        .map_err(unavailable)?;
    for (note, (previous, digest)) in notes.iter().zip(chained(algorithm, previous, notes)) {
        sqlx::query("insert into audit (at, action, detail, previous, digest) values (?, ?, ?, ?, ?)")
            .bind(note.at)
            .bind(&*note.action)
            .bind(&note.detail)
            .bind(previous)
            .bind(digest)
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}

impl SqliteStore {
    pub(super) async fn append_audit(&mut self, notes: &[Note]) -> Result<()> {
        begin(&mut self.conn).await?;
        let written = append(&mut self.conn, self.audited_by, notes).await;
        finish(&mut self.conn, written).await
    }

    pub(super) async fn drop_audit(&mut self, through: i64, note: Note) -> Result<u64> {
        begin(&mut self.conn).await?;
        let mut gone = 0;
        let written = async {
            let sql = "delete from audit where id <= ?";
            gone = sqlx::query(sql).bind(through).execute(&mut self.conn).await.map_err(unavailable)?.rows_affected();
            append(&mut self.conn, self.audited_by, &[note]).await
        }
        .await;
        finish(&mut self.conn, written).await.map(|()| gone)
    }

    pub(super) async fn list_audit(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>> {
        let sql = format!(
            "select id, at, action, detail, previous, digest from audit where id > coalesce(?1, 0) \
             and (?2 is null or at >= ?2) and (?3 is null or at < ?3) \
             and (?4 is null or action = ?4 or action like ?4 || '.%') and (?5 is null or instr(detail, ?5) > 0) \
             order by id {} limit ?6",
            filter.direction()
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(filter.after)
            .bind(filter.from)
            .bind(filter.until)
            .bind(filter.action.as_deref())
            .bind(filter.text.as_deref())
            .bind(filter.limit)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let entry = |row: &sqlx::sqlite::SqliteRow| Entry {
            id: row.get(0),
            at: row.get(1),
            action: row.get(2),
            detail: row.get(3),
            previous: row.get(4),
            digest: row.get(5),
        };
        Ok(rows.iter().map(entry).collect())
    }

    pub(super) async fn audit_behind(&mut self, id: i64) -> Result<Option<(u64, i64, String)>> {
        let row = sqlx::query(
            "select (select count(*) from audit where id > ?1), id, digest from audit where id > ?1 order by id desc limit 1",
        )
        .bind(id)
        .fetch_optional(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(row.map(|row| (row.get::<i64, _>(0).unsigned_abs(), row.get(1), row.get(2))))
    }

    pub(super) async fn list_checkpoints(&mut self) -> Result<Vec<SignedCheckpoint>> {
        let rows = sqlx::query("select body, signature from audit_checkpoint order by through")
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(rows.iter().map(|row| SignedCheckpoint { body: row.get(0), signature: row.get(1) }).collect())
    }

    pub(super) async fn keep_checkpoint(
        &mut self,
        (before, through): (Option<i64>, i64),
        signed: &SignedCheckpoint,
    ) -> Result<bool> {
        let done = sqlx::query(
            "insert into audit_checkpoint (through, body, signature) \
             select ?1, ?2, ?3 where (select max(through) from audit_checkpoint) is ?4",
        )
        .bind(through)
        .bind(&signed.body)
        .bind(&signed.signature)
        .bind(before)
        .execute(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(done.rows_affected() > 0)
    }
}
