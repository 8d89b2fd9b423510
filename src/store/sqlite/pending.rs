//! A commit under way on its own connection, while the next chunk is worked out.
//!
//! Decides: what may be read meanwhile. A question whose answer the commit could change waits for it; so does every
//! other call of the store, and the first of them learns how it ended. At most one commit is under way.

use std::sync::Arc;

use sqlx::{ConnectOptions, SqliteConnection};

use super::super::pending::{Pending, Touched};
use super::super::{ChangeSet, Result, StoreError};
use super::commit::write;
use super::{SqliteStore, unavailable};
use crate::linking::{ClaimId, EntityId, StreamId};

impl SqliteStore {
    /// Hands a chunk to the writing connection. What goes wrong there is told by the next call.
    pub(super) async fn begin_commit(&mut self, change: ChangeSet) -> Result<()> {
        self.settle().await?;
        let tables = change.parts.iter().map(|part| self.table(&part.register).cloned()).collect::<Result<Vec<_>>>()?;
        self.recollections.commit(&change);
        self.novelty.commit(&change);
        let (touched, nameless) = (Touched::by(&change), Touched::nameless(&change));
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.open_writer().await?,
        };
        let fence = self.fence.clone();
        let task = tokio::spawn(async move {
            let done = write(&mut writer, (tables, fence), change).await;
            (writer, done)
        });
        self.pending = Some(Pending { task, touched });
        if nameless { self.settle().await } else { Ok(()) }
    }

    /// Few statements are kept prepared, for the largest take half a MiB each and name their run.
    async fn open_writer(&self) -> Result<SqliteConnection> {
        let options = self.options.clone().statement_cache_capacity(24);
        let options = options.pragma("cache_size", "-49152").pragma("wal_autocheckpoint", "0");
        options.connect().await.map_err(unavailable)
    }

    /// Waits for the commit under way, if there is one, and says how it ended.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let (writer, done) = pending.task.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let writer = self.writer.insert(writer);
        if done.is_ok() {
            self.checkpointer.committed(writer).await?;
        } else {
            self.forget();
        }
        done
    }

    /// Waits if the commit under way touches the claims of one of these source keys.
    pub(super) async fn settle_sources(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<()> {
        let touches = |touched: &Touched| rows.iter().any(|(key, _)| touched.source(stream, key));
        self.settle_if(touches).await
    }

    /// Waits if the commit under way touches one of these identity keys.
    pub(super) async fn settle_keys(&mut self, keys: &[(usize, Arc<str>)]) -> Result<()> {
        self.settle_if(|touched| keys.iter().any(|(_, key)| touched.key(key))).await
    }

    /// Waits if the commit under way touches one of these entities.
    pub(super) async fn settle_entities(&mut self, entities: impl IntoIterator<Item = EntityId>) -> Result<bool> {
        let touches = |touched: &Touched| entities.into_iter().any(|entity| touched.entity(entity));
        let was_under_way = self.pending.is_some();
        self.settle_if(touches).await?;
        Ok(was_under_way && self.pending.is_none())
    }

    async fn settle_if(&mut self, touches: impl FnOnce(&Touched) -> bool) -> Result<()> {
        match &self.pending {
            Some(pending) if touches(&pending.touched) => self.settle().await,
            _ => Ok(()),
        }
    }

    /// The free ids after the commit under way.
    pub(super) fn pending_ids(&self) -> Option<(ClaimId, EntityId)> {
        self.pending.as_ref().and_then(|pending| pending.touched.next_ids)
    }
}
