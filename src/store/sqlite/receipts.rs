//! What subscribers answered, and how far each feed's delivery is.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::{DeliveryView, ReceiptRow, Result};
use super::{SqliteStore, unavailable};

impl SqliteStore {
    pub(super) async fn sealed_manifest(&mut self, feed: &str, seq: i64) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("select manifest from batch where feed = (select id from feed where name = ?) and seq = ?")
            .bind(feed)
            .bind(seq)
            .fetch_optional(&mut self.conn)
            .await
            .map_err(unavailable)
    }

    pub(super) async fn keep_receipt(&mut self, row: &ReceiptRow) -> Result<bool> {
        let done = sqlx::query(
            "insert into receipt (feed, seq, digest, at, recorded_at, sender, signer, held, mismatch, receipt, signature) \
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
        )
        .bind(&row.feed)
        .bind(row.seq)
        .bind(&row.digest)
        .bind(row.at)
        .bind(row.recorded_at)
        .bind(&row.sender)
        .bind(&row.signer)
        .bind(row.held)
        .bind(&row.mismatch)
        .bind(&row.receipt)
        .bind(&row.signature)
        .execute(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn list_receipts(&mut self, feed: &str, limit: i64) -> Result<Vec<ReceiptRow>> {
        let rows = sqlx::query(
            "select feed, seq, digest, at, recorded_at, sender, signer, held, mismatch, receipt, signature \
             from receipt where feed = ? order by seq desc, recorded_at desc limit ?",
        )
        .bind(feed)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let read = |row: &SqliteRow| ReceiptRow {
            feed: row.get(0),
            seq: row.get(1),
            digest: row.get(2),
            at: row.get(3),
            recorded_at: row.get(4),
            sender: row.get(5),
            signer: row.get(6),
            held: row.get(7),
            mismatch: row.get(8),
            receipt: row.get(9),
            signature: row.get(10),
        };
        Ok(rows.iter().map(read).collect())
    }

    pub(super) async fn delivery_of(&mut self, feed: &str) -> Result<DeliveryView> {
        let row = sqlx::query(
            "with b as (select * from batch where feed = (select id from feed where name = ?1)), \
             r as (select max(seq) seq from receipt where feed = ?1 and mismatch is null) \
             select coalesce(max(b.seq), 0), coalesce(max(case when b.durable then b.seq end), 0), \
             coalesce((select seq from r), 0), \
             coalesce(sum(not b.durable), 0), coalesce(sum(case when b.durable then 0 else b.records end), 0), \
             coalesce(sum(case when b.durable then 0 else length(b.body) end), 0), \
             min(case when b.durable then null else b.sealed_at end), \
             coalesce(sum(case when b.seq > coalesce((select seq from r), 0) then b.records end), 0), \
             min(case when b.seq > coalesce((select seq from r), 0) then b.sealed_at end), \
             (select count(*) from receipt where feed = ?1 and mismatch is not null) from b",
        )
        .bind(feed)
        .fetch_one(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(DeliveryView {
            sealed: row.get(0),
            durable: row.get(1),
            received: row.get(2),
            waiting_batches: row.get(3),
            waiting_records: row.get(4),
            waiting_bytes: row.get(5),
            waiting_since: row.get(6),
            unanswered_records: row.get(7),
            unanswered_since: row.get(8),
            mismatches: row.get(9),
        })
    }
}
