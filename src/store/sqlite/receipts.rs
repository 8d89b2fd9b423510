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
            // Every part reads what waits, or one end of an index: a feed has millions of batches after some years.
            "with f as (select (select id from feed where name = ?1) as id, coalesce((select seq from receipt \
             where feed = ?1 and mismatch is null order by seq desc limit 1), 0) as received) \
             select coalesce((select max(seq) from batch where feed = f.id), 0), \
             coalesce((select seq from batch where feed = f.id and durable = 1 order by seq desc limit 1), 0), f.received, \
             (select count(*) from batch where feed = f.id and durable = 0), \
             (select coalesce(sum(records), 0) from batch where feed = f.id and durable = 0), \
             (select coalesce(sum(length(body)), 0) from batch where feed = f.id and durable = 0), \
             (select min(sealed_at) from batch where feed = f.id and durable = 0), \
             (select coalesce(sum(records), 0) from batch where feed = f.id and seq > f.received), \
             (select min(sealed_at) from batch where feed = f.id and seq > f.received), \
             (select count(*) from receipt where feed = ?1 and mismatch is not null) from f",
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
