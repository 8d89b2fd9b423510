//! The first load: into a store that has no claim yet, a long file goes without indexes; they are made when it has ended.
//!
//! Decides: whether the tables of claims and of identity keys have their indexes. To make an index of what is there costs a
//! third of growing it row by row (PostgreSQL 15 documentation, 14.4.3 "Remove Indexes"), and what the rows of a first load
//! need to know of each other is in memory. Must not know: what is written. Guarantees: nobody looks much up without an
//! index. A note says that they are away, in the same transaction that takes them away; whoever gets the turn to write and
//! did not write that note itself makes them first, be it after a crash. Readers get right answers meanwhile, by reading
//! the tables from end to end. Who may not alter the tables, or finds them in use, loads as ever.

use sqlx::PgConnection;

use super::super::{ChangeSet, Result, StoreError};
use super::PostgresStore;
use super::connect::{refused, within};
use super::schema::{begin, finish, run};
use crate::linking::{ClaimId, EntityId};

/// Claims in the first chunk of a file that is long enough.
const LONG: usize = 4096;
/// How often the tables may be read from end to end for want of an index.
const SCANS: usize = 16;

const TAKE_AWAY: &str = "
set local lock_timeout = '1s';
alter table claim drop constraint claim_pkey;
drop index claim_key;
alter table identity drop constraint identity_pkey;
drop index identity_entity;
insert into meta (name, value) values ('without_indexes', 'claim identity');";

const MAKE: &str = "
select set_config('maintenance_work_mem', greatest(setting::bigint, 262144) || 'kB', true) from pg_settings
    where name = 'maintenance_work_mem';
create unique index claim_pkey on claim (entity, id);
create unique index claim_key on claim (stream, key, occurrence);
create unique index identity_pkey on identity (field, value);
create index identity_entity on identity (entity);
alter table claim add constraint claim_pkey primary key using index claim_pkey;
alter table identity add constraint identity_pkey primary key using index identity_pkey;
delete from meta where name = 'without_indexes';";

/// Where a store stands with its first load.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstLoad {
    /// It was long ago.
    #[default]
    Past,
    /// Nobody has written a claim yet.
    Ahead,
    /// It is under way, without indexes; the tables were read from end to end so often.
    Bare(usize),
}

impl FirstLoad {
    /// What the free ids say.
    pub(super) fn notice(&mut self, (claim, _): (ClaimId, EntityId)) {
        match *self {
            Self::Past if claim == 1 => *self = Self::Ahead,
            Self::Ahead if claim != 1 => *self = Self::Past,
            _ => {}
        }
    }

    /// The turn to write is ours: what somebody else has done meanwhile, or left undone, is taken note of.
    pub(super) async fn found(&mut self, conn: &mut PgConnection) -> Result<()> {
        match (is_bare(conn).await?, *self) {
            (true, Self::Past | Self::Ahead) => make(conn).await?,
            (false, Self::Bare(_)) => *self = Self::Past,
            (true, Self::Bare(_)) | (false, _) => {}
        }
        Ok(())
    }

    fn begins(self, change: &ChangeSet) -> bool {
        let claims = change.parts.iter().map(|part| part.claims.len()).sum::<usize>();
        self == Self::Ahead && change.file.is_some() && claims >= LONG
    }

    /// Whether so many readings more can be borne.
    fn bears(&mut self, scans: usize) -> bool {
        let Self::Bare(before) = self else { return true };
        *before += scans;
        *before <= SCANS
    }
}

impl PostgresStore {
    /// Takes the indexes away if this change begins a first load. The turn is ours, and nothing under way.
    pub(super) async fn begin_first_load(&mut self, change: &ChangeSet) -> Result<()> {
        if !self.first_load.begins(change) {
            return Ok(());
        }
        let away = within(take_away(self.writer.get().await?)).await;
        if away.is_err() {
            self.writer.lose();
        }
        self.first_load = if away? { FirstLoad::Bare(0) } else { FirstLoad::Past };
        Ok(())
    }

    /// Whether anybody's first load has taken the indexes away.
    pub(super) async fn is_in_first_load(&mut self) -> Result<bool> {
        is_bare(self.link.get().await?).await
    }

    /// So many keys are about to be looked up in the tables of claims or identity keys.
    pub(super) async fn before_looking_up(&mut self, keys: usize) -> Result<()> {
        if self.first_load.bears(keys) { Ok(()) } else { self.end_first_load().await }
    }

    /// Makes the indexes if this store took them away.
    pub(super) async fn end_first_load(&mut self) -> Result<()> {
        if !matches!(self.first_load, FirstLoad::Bare(_)) {
            return Ok(());
        }
        self.settle().await?;
        self.ids_in_turn().await?; // somebody else may have made them since we last had it
        if matches!(self.first_load, FirstLoad::Bare(_)) {
            let done = within(make(self.writer.get().await?)).await;
            if done.is_err() {
                self.writer.lose();
            }
            done?;
            self.first_load = FirstLoad::Past;
        }
        Ok(())
    }
}

/// Whether the indexes are away.
async fn is_bare(conn: &mut PgConnection) -> Result<bool> {
    let sql = "select exists (select 1 from meta where name = 'without_indexes')";
    sqlx::query_scalar(sql).fetch_one(conn).await.map_err(refused)
}

/// Whether it could be done.
async fn take_away(conn: &mut PgConnection) -> Result<bool> {
    begin(conn).await?;
    let away = run(conn, TAKE_AWAY).await.is_ok();
    let end = if away { "commit" } else { "rollback" };
    sqlx::query(end).execute(conn).await.map_err(refused)?;
    Ok(away)
}

/// Makes the indexes. The turn is ours.
async fn make(conn: &mut PgConnection) -> Result<()> {
    begin(conn).await?;
    let done = run(conn, MAKE).await.map_err(|error| match error {
        StoreError::Data { place, .. } => StoreError::Damaged(format!("{place} has twice what can be there but once")),
        other => other,
    });
    finish(conn, done).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_has_claims_is_past_its_first_load() {
        let mut first = FirstLoad::default();
        first.notice((1, 1));
        assert_eq!(first, FirstLoad::Ahead);
        first.notice((2, 2));
        assert_eq!(first, FirstLoad::Past);
        let mut bare = FirstLoad::Bare(0);
        bare.notice((2, 2));
        assert_eq!(bare, FirstLoad::Bare(0));
    }

    #[test]
    fn a_few_readings_are_borne() {
        assert!(FirstLoad::Past.bears(1_000_000));
        let mut bare = FirstLoad::Bare(0);
        assert!(bare.bears(SCANS - 1));
        assert!(bare.bears(1));
        assert!(!bare.bears(1));
    }
}
