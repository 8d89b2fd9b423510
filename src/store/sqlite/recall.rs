//! The claims of a stream, read into memory while a file is taken whose rows mostly stand.
//!
//! Nobody else writes meanwhile: whoever runs anything holds the workspace's lock.

use std::sync::Arc;

use sqlx::SqliteConnection;

use super::super::recollection::{Next, PART, Packed, Recollection, departed};
use super::super::{Recalled, Result, StoreError};
use super::commit::{begin, finish};
use super::{SqliteStore, unavailable};
use crate::linking::{ClaimId, Known, StreamId};

/// Claims that one text tells of.
const PAGE: i64 = 16_384;
/// Claims that are kept in mind.
const MOST: usize = 2_000_000;
/// Packed parts that are read in one go.
const PARTS: i64 = 16;

impl SqliteStore {
    /// What is known about these rows: from memory where it is kept, else from the tables.
    pub(super) async fn recall_or_remember(
        &mut self,
        stream: StreamId,
        rows: &[(Arc<str>, i64)],
    ) -> Result<Vec<Recalled>> {
        if self.recollections.begins(stream) {
            self.unpack(stream, rows.len()).await?;
        }
        let (mut recalled, ask) = self.recollections.look_up(stream, rows);
        if ask.is_empty() {
            return Ok(recalled);
        }
        let asked: Vec<(Arc<str>, i64)> = ask.iter().map(|&i| rows[i].clone()).collect();
        let found = self.recall_settled(stream, &asked).await?;
        let known = found.iter().filter(|recalled| !recalled.claims.is_empty()).count();
        for (i, found) in ask.into_iter().zip(found) {
            recalled[i] = found;
        }
        if known * 2 > rows.len() {
            self.recollect(stream, rows.len()).await?;
        }
        Ok(recalled)
    }

    async fn recall_settled(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        self.settle_sources(stream, rows).await?;
        let recalled = self.recall_claims(stream, rows).await?;
        let homes = recalled.iter().flat_map(|recalled| &recalled.claims).filter_map(|claim| claim.differs);
        if self.settle_entities(homes).await? { self.recall_claims(stream, rows).await } else { Ok(recalled) }
    }

    /// Nothing is known from memory any more.
    pub(super) fn forget(&mut self) {
        self.recollections.forget();
        self.novelty.forget();
    }

    /// Whether a register has no identity key at all.
    pub(super) async fn is_without_keys(&mut self, register: &str) -> Result<bool> {
        let kinds = self.table(register)?.key_ids.clone();
        for field in kinds {
            let found: Option<i64> = sqlx::query_scalar("select 1 from identity where field = ? limit 1")
                .bind(field)
                .fetch_optional(&mut self.conn)
                .await
                .map_err(unavailable)?;
            if found.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn known_settled(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        self.settle_keys(keys).await?;
        let known = self.known_keys(register, keys).await?;
        let named = known.entity_of.values().copied();
        if self.settle_entities(named).await? { self.known_keys(register, keys).await } else { Ok(known) }
    }

    /// Reads the stream into memory from what was kept beside its claims, if there is such and it is worth it.
    async fn unpack(&mut self, stream: StreamId, rows: usize) -> Result<()> {
        self.settle().await?;
        let packed = self.packed(stream).await?;
        if !packed.is_worth(rows, MOST) {
            return Ok(());
        }
        let gone: Vec<Vec<u8>> =
            sqlx::query_scalar("select gone from remembered where stream = ? and gone is not null")
                .bind(stream)
                .fetch_all(&mut self.conn)
                .await
                .map_err(unavailable)?;
        let gone = departed(&gone)?;
        let mut read = Recollection::new(0, gone.iter().map(u64::cast_signed)).expecting(packed.entries());
        let mut after = 0;
        loop {
            let sql = "select id, entries from remembered where stream = ? and id > ? order by id limit ?";
            let page: Vec<(i64, Vec<u8>)> = sqlx::query_as(sql)
                .bind(stream)
                .bind(after)
                .bind(PARTS)
                .fetch_all(&mut self.conn)
                .await
                .map_err(unavailable)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (_, entries) in &page {
                read.unpack(entries).ok_or_else(|| StoreError::Damaged("packed claims are cut off".into()))?;
            }
        }
        if read.len() <= MOST {
            self.recollections.learnt(stream, Some(read));
        }
        Ok(())
    }

    /// How much is kept packed of a stream.
    async fn packed(&mut self, stream: StreamId) -> Result<Packed> {
        let sql = "select count(*), coalesce(sum(length(entries)), 0) from remembered where stream = ?";
        let kept = sqlx::query_as(sql).bind(stream).fetch_one(&mut self.conn).await.map_err(unavailable)?;
        Ok(Packed::of(kept))
    }

    /// Keeps packed what was learnt of streams that were not kept so, or in many small parts: they are written anew.
    pub(super) async fn keep_packed(&mut self) -> Result<()> {
        for stream in self.recollections.streams() {
            let packed = self.packed(stream).await?;
            let Some(whole) = self.recollections.whole(stream) else { continue };
            if packed.is_compact(whole.len()) {
                continue;
            }
            let parts: Vec<Vec<u8>> = whole.pack(PART).collect();
            begin(&mut self.conn).await?;
            let written = write_packed(&mut self.conn, stream, parts).await;
            finish(&mut self.conn, written).await?;
        }
        Ok(())
    }

    /// Reads the stream into memory once so many of its rows were recalled that it is worth it.
    async fn recollect(&mut self, stream: StreamId, rows: usize) -> Result<()> {
        if self.recollections.next(stream, rows) != Next::Weigh {
            return Ok(());
        }
        self.settle().await?;
        let claims = self.stream_claims(stream).await?;
        let Some(most) = self.recollections.worth(stream, claims) else { return Ok(()) };
        let read = self.read_stream(stream, (claims, most.min(MOST))).await?;
        self.recollections.learnt(stream, read);
        Ok(())
    }

    pub(super) async fn stream_claims(&mut self, stream: StreamId) -> Result<i64> {
        sqlx::query_scalar("select count(*) from claim where stream = ?")
            .bind(stream)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)
    }

    /// Reads all claims of a stream; `None` when there are more than `most`, or when they are so small a part of the table
    /// that reading it from end to end is not worth it. One text tells of many claims, for a row of an answer costs a
    /// thread hop.
    async fn read_stream(&mut self, stream: StreamId, (claims, most): (i64, usize)) -> Result<Option<Recollection>> {
        const WORTH: i64 = 8;
        let all: i64 = sqlx::query_scalar("select coalesce(max(id), 0) from claim")
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
        if usize::try_from(claims).unwrap_or(usize::MAX) > most || claims < all / WORTH {
            return Ok(None);
        }
        let sql = "select max(id), group_concat(id || ' ' || occurrence || ' ' || digest || ' ' || \
                   length(cast(key as blob)) || ' ' || key, '') from (select id, occurrence, digest, key from claim not indexed \
                   where stream = ? and id > ? order by id limit ?)";
        let mut read = Recollection::new(0, []);
        let mut after: ClaimId = 0;
        loop {
            let page: (Option<ClaimId>, Option<String>) = sqlx::query_as(sql)
                .bind(stream)
                .bind(after)
                .bind(PAGE)
                .fetch_one(&mut self.conn)
                .await
                .map_err(unavailable)?;
            let (Some(last), Some(told)) = page else { return Ok(Some(read)) };
            take_in(&mut read, &told).ok_or_else(|| StoreError::Damaged("a claim's numbers do not read".into()))?;
            after = last;
        }
    }
}

async fn write_packed(conn: &mut SqliteConnection, stream: StreamId, parts: Vec<Vec<u8>>) -> Result<()> {
    sqlx::query("delete from remembered where stream = ?")
        .bind(stream)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    for entries in parts {
        sqlx::query("insert into remembered (stream, entries) values (?, ?)")
            .bind(stream)
            .bind(entries)
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}

/// Reads `id occurrence digest length key`, one claim after the other.
fn take_in(read: &mut Recollection, mut told: &str) -> Option<()> {
    while !told.is_empty() {
        let mut number = || -> Option<i64> {
            let (number, rest) = told.split_once(' ')?;
            told = rest;
            number.parse().ok()
        };
        let (id, occurrence, digest, length) = (number()?, number()?, number()?, number()?);
        let (key, rest) = told.split_at_checked(usize::try_from(length).ok()?)?;
        read.put(key, digest, id, occurrence);
        told = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_by_their_length() {
        let mut read = Recollection::new(0, []);
        assert_eq!(take_in(&mut read, "1 0 -7 3 a 12 0 9 6 甲乙3 1 8 0 "), Some(()));
        assert_eq!(take_in(&mut read, "4 0 5 9 甲"), None);
    }
}
