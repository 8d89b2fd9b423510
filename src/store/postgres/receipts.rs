//! What subscribers answered, and how far each feed's delivery is.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::super::{DeliveryView, ReceiptRow, Result};
use super::PostgresStore;
use super::connect::refused;

impl PostgresStore {
    pub(super) async fn sealed_manifest(&mut self, feed: &str, seq: i64) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("select manifest from batch where feed = (select id from feed where name = $1) and seq = $2")
            .bind(feed)
            .bind(seq)
            .fetch_optional(self.link.get().await?)
            .await
            .map_err(refused)
    }

    pub(super) async fn keep_receipt(&mut self, row: &ReceiptRow) -> Result<bool> {
        let done = sqlx::query(
            "insert into receipt (feed, seq, digest, at, recorded_at, sender, signer, held, mismatch, receipt, signature) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing",
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
        .execute(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn list_receipts(&mut self, feed: &str, limit: i64) -> Result<Vec<ReceiptRow>> {
        let rows = sqlx::query(
            "select feed, seq, digest, at, recorded_at, sender, signer, held, mismatch, receipt, signature \
             from receipt where feed = $1 order by seq desc, recorded_at desc limit $2",
        )
        .bind(feed)
        .bind(limit)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let read = |row: &PgRow| ReceiptRow {
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
            "with b as (select * from batch where feed = (select id from feed where name = $1)), \
             r as (select coalesce(max(seq), 0) as seq from receipt where feed = $1 and mismatch is null) \
             select coalesce(max(b.seq), 0), coalesce(max(b.seq) filter (where b.durable), 0), (select seq from r), \
             count(*) filter (where not b.durable), \
             coalesce(sum(b.records) filter (where not b.durable), 0)::bigint, \
             coalesce(sum(length(b.body)) filter (where not b.durable), 0)::bigint, \
             min(b.sealed_at) filter (where not b.durable), \
             coalesce(sum(b.records) filter (where b.seq > (select seq from r)), 0)::bigint, \
             min(b.sealed_at) filter (where b.seq > (select seq from r)), \
             (select count(*) from receipt where feed = $1 and mismatch is not null) from b",
        )
        .bind(feed)
        .fetch_one(self.link.get().await?)
        .await
        .map_err(refused)?;
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
