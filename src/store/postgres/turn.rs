//! Whose turn it is to write registers, and the commit under way.
//!
//! A chunk is worked out from what the registers say, so from its first question to its commit nobody else may change
//! them. One advisory lock per database keeps that order between all processes; decoding and mapping go on beside it.
//! The turn passes on between two chunks when somebody waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgConnection;

use super::super::pending::{Pending, Touched};
use super::super::{ChangeSet, RegisterPart, Result, StoreError};
use super::commit::{Ground, write};
use super::connect::{refused, within};
use super::pack::Packed;
use super::schema::{Month, months};
use super::{PostgresStore, recall, schema};
use crate::linking::{ClaimId, EntityId, StreamId};

/// The lock's number.
const TURN: &str = "7412";

/// What the store knows about its turn.
#[derive(Default)]
pub(super) struct Turn {
    held: bool,
    /// Somebody waits, as the last commit saw it.
    wanted: Arc<AtomicBool>,
    /// The file whose chunks are being committed, and how many of them are, as far as the last commit told.
    file: Option<(i64, Arc<Mutex<Option<i64>>>)>,
}

impl Turn {
    /// How many chunks of this file were committed, to be told by every commit.
    fn chunks_of(&mut self, file: i64) -> Arc<Mutex<Option<i64>>> {
        let of_file = self.file.take().filter(|(of, _)| *of == file);
        let (_, chunks) = self.file.insert(of_file.unwrap_or_else(|| (file, Arc::default())));
        Arc::clone(chunks)
    }
}

impl PostgresStore {
    /// The free ids, with the turn to use them.
    pub(super) async fn ids_in_turn(&mut self) -> Result<(ClaimId, EntityId)> {
        if self.turn.wanted.swap(false, Ordering::Relaxed) {
            self.settle().await?;
            self.pass_turn().await?;
        }
        if let Some(next) = self.pending.as_ref().and_then(|pending| pending.touched.next_ids) {
            self.first_load.notice(next);
            return Ok(next);
        }
        let held = self.turn.held && self.writer.is_open();
        let mut first_load = self.first_load;
        let (kept, filled) = (self.recollections.streams(), self.novelty.registers());
        let done = within(async {
            let conn = self.writer.get().await?;
            let mut versions = None;
            if !held {
                lock(conn).await?;
                versions =
                    Some((recall::versions(conn, &kept).await?, recall::register_versions(conn, &filled).await?));
                first_load.found(conn).await?;
            }
            Ok((counters(conn).await?, versions))
        })
        .await;
        self.first_load = first_load;
        let done = done.map(|(next, versions)| {
            if let Some((streams, registers)) = versions {
                self.recollections.compare(&streams);
                self.novelty.compare(&registers);
            }
            self.first_load.notice(next);
            next
        });
        self.turn.held = done.is_ok();
        if done.is_err() {
            self.writer.lose();
        }
        done
    }

    /// Whether nobody else may write.
    pub(super) const fn has_turn(&self) -> bool {
        self.turn.held
    }

    /// Lets others write. The commit under way must have ended.
    pub(super) async fn pass_turn(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.turn.held) {
            return Ok(());
        }
        let done = within(async {
            let unlock = format!("select pg_advisory_unlock({TURN})");
            sqlx::query(sqlx::AssertSqlSafe(unlock)).execute(self.writer.get().await?).await.map_err(refused)
        })
        .await;
        if done.is_err() {
            self.writer.lose(); // and with it the lock
        }
        Ok(())
    }

    /// Hands a chunk to the writing connection. What goes wrong there is told by the next call.
    pub(super) async fn begin_commit(&mut self, change: ChangeSet) -> Result<()> {
        let pack = |part: &RegisterPart| {
            let table = self.table(&part.register)?.clone();
            let packed = Packed::of(&change, part, &table);
            Ok((table, packed))
        };
        let tables = change.parts.iter().map(pack).collect::<Result<Vec<_>>>()?;
        let (touched, nameless) = (Touched::by(&change), Touched::nameless(&change));
        self.settle().await?;
        if !self.turn.held && !change.parts.is_empty() {
            return Err(StoreError::Unavailable("the turn to write was lost; the chunk is worked out again".into()));
        }
        self.begin_first_load(&change).await?;
        let months = self.missing_months(&change);
        let mut writer = self.writer.take().await?;
        let (wanted, fence) = (Arc::clone(&self.turn.wanted), self.fence.clone());
        let chunks = change.file.map(|file| self.turn.chunks_of(file));
        let change = Arc::new(change);
        let said = Arc::clone(&change);
        let task = tokio::spawn(async move {
            let done = within(async {
                let before = chunks.as_ref().and_then(|chunks| *chunks.lock().unwrap_or_else(PoisonError::into_inner));
                let ground = Ground { months: &months, fence: fence.as_ref(), chunks: before };
                let now = write(&mut writer, tables, ground, &change).await?;
                if let Some(chunks) = chunks {
                    *chunks.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                }
                wanted.store(somebody_waits(&mut writer).await?, Ordering::Relaxed);
                Ok(())
            })
            .await;
            (writer, done)
        });
        self.pending = Some(Pending { task, touched });
        // Taken note of while the server is at it, and before anybody asks; a commit that fails is forgotten with all else.
        self.recollections.commit(&said);
        self.novelty.commit(&said);
        if nameless { self.settle().await } else { Ok(()) }
    }

    /// Months whose partitions this store has not made sure of yet.
    fn missing_months(&mut self, change: &ChangeSet) -> Vec<Month> {
        let of = |part: &super::super::RegisterPart| months(&part.register, &[change.at]);
        let all: Vec<Month> = change.parts.iter().flat_map(of).collect();
        all.into_iter().filter(|month| self.months.insert(month.clone())).collect()
    }

    /// Waits for the commit under way, if there is one, and says how it ended.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let ended = pending.task.await.map_err(|error| StoreError::Unavailable(error.to_string()));
        if !matches!(&ended, Ok((_, Ok(())))) {
            self.forget();
            self.months.clear(); // partitions that it made went with it
        }
        match ended {
            Ok((writer, done @ (Ok(()) | Err(StoreError::Data { .. } | StoreError::Fenced(_))))) => {
                self.writer.put(writer);
                done
            }
            Ok((_, Err(error))) | Err(error) => {
                // Nobody knows what that connection is doing: the server ends it, and its transaction with it.
                self.writer.lose();
                self.turn.held = false;
                Err(error)
            }
        }
    }

    /// Lets go of old months of every register; see [`schema::drop_before`].
    pub(super) async fn let_go(&mut self, before: i64) -> Result<Vec<String>> {
        let mut registers: Vec<&String> = self.registers.keys().collect();
        registers.sort();
        let (conn, mut gone) = (self.link.get().await?, Vec::new());
        for register in registers {
            gone.extend(schema::drop_before(conn, register, before).await?);
        }
        Ok(gone)
    }

    /// Waits if the commit under way touches the claims of one of these source keys.
    pub(super) async fn settle_sources(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<()> {
        self.settle_if(|touched| rows.iter().any(|(key, _)| touched.source(stream, key))).await
    }

    /// Waits if the commit under way touches one of these identity keys.
    pub(super) async fn settle_keys(&mut self, keys: &[(usize, Arc<str>)]) -> Result<()> {
        self.settle_if(|touched| keys.iter().any(|(_, key)| touched.key(key))).await
    }

    /// Waits if the commit under way touches one of these entities; says whether none is under way any more.
    pub(super) async fn settle_entities(&mut self, entities: impl IntoIterator<Item = EntityId>) -> Result<bool> {
        let was_under_way = self.pending.is_some();
        self.settle_if(|touched| entities.into_iter().any(|entity| touched.entity(entity))).await?;
        Ok(was_under_way && self.pending.is_none())
    }

    async fn settle_if(&mut self, touches: impl FnOnce(&Touched) -> bool) -> Result<()> {
        match &self.pending {
            Some(pending) if touches(&pending.touched) => self.settle().await,
            _ => Ok(()),
        }
    }
}

async fn lock(conn: &mut PgConnection) -> Result<()> {
    let lock = format!("select pg_advisory_lock({TURN})");
    sqlx::query(sqlx::AssertSqlSafe(lock)).execute(conn).await.map(|_| ()).map_err(refused)
}

async fn somebody_waits(conn: &mut PgConnection) -> Result<bool> {
    let sql = format!(
        "select exists (select 1 from pg_locks where locktype = 'advisory' and classid = 0 and objid = {TURN} \
         and database = (select oid from pg_database where datname = current_database()) and not granted)"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(conn).await.map_err(refused)
}

async fn counters(conn: &mut PgConnection) -> Result<(ClaimId, EntityId)> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select name, next from counter").fetch_all(conn).await.map_err(refused)?;
    let next = |name: &str| {
        let found = rows.iter().find(|(counter, _)| counter == name).map(|(_, next)| *next);
        found.ok_or_else(|| StoreError::Damaged(format!("counter {name} is missing")))
    };
    Ok((next("claim")?, next("entity")?))
}
