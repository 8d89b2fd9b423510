//! The claims of a stream, read into memory.

use std::sync::Arc;

use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::super::recollection::{Next, PART, Packed, Recollection, departed};
use super::super::{Recalled, Result, StoreError};
use super::PostgresStore;
use super::connect::refused;
use super::schema::{begin, finish};
use crate::linking::{Known, StreamId};

/// What comes before the first row: signature, flags, length of the extension, which is empty.
const HEADER: usize = 19;

impl PostgresStore {
    /// What is known about these rows: from memory where it is kept, else from the tables.
    pub(super) async fn recall_in_turn(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        if !self.has_turn() {
            return self.recall_settled(stream, rows).await;
        }
        self.recollect(stream, rows.len()).await?;
        let (mut recalled, ask) = self.recollections.look_up(stream, rows);
        if ask.is_empty() {
            return Ok(recalled);
        }
        let asked: Vec<(Arc<str>, i64)> = ask.iter().map(|&i| rows[i].clone()).collect();
        for (i, found) in ask.into_iter().zip(self.recall_settled(stream, &asked).await?) {
            recalled[i] = found;
        }
        Ok(recalled)
    }

    async fn recall_settled(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        self.before_looking_up(rows.len()).await?;
        self.settle_sources(stream, rows).await?;
        let recalled = self.recall_claims(stream, rows).await?;
        let homes = recalled.iter().flat_map(|recalled| &recalled.claims).filter_map(|claim| claim.differs);
        if self.settle_entities(homes).await? { self.recall_claims(stream, rows).await } else { Ok(recalled) }
    }

    /// What these keys name: nothing where memory knows that nobody has them, else as the tables say.
    pub(super) async fn known_in_turn(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        if !self.has_turn() {
            return self.known_settled(register, keys).await;
        }
        if self.novelty.is_open(register) {
            self.settle().await?;
            let empty_at = without_keys(self.link.get().await?, register).await?;
            self.novelty.begin(register, empty_at);
        }
        match self.novelty.may_be_known(register, keys) {
            Some(keys) if keys.is_empty() => Ok(Known::default()),
            Some(keys) => self.known_settled(register, &keys).await,
            None => self.known_settled(register, keys).await,
        }
    }

    async fn known_settled(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        self.before_looking_up(keys.len()).await?;
        self.settle_keys(keys).await?;
        let known = self.known_keys(register, keys).await?;
        let named = known.entity_of.values().copied();
        if self.settle_entities(named).await? { self.known_keys(register, keys).await } else { Ok(known) }
    }

    /// Reads the stream into memory once so many of its rows were recalled that it is worth it; at once, when the first
    /// question is as long as those of a long file.
    async fn recollect(&mut self, stream: StreamId, rows: usize) -> Result<()> {
        if rows >= PART && self.recollections.begins(stream) {
            self.unpack(stream, rows).await?;
        }
        if self.recollections.next(stream, rows) != Next::Weigh {
            return Ok(());
        }
        let (_, claims) = of_stream(self.link.get().await?, stream).await?;
        let Some(most) = self.recollections.worth(stream, claims) else { return Ok(()) };
        self.settle().await?;
        let conn = self.link.get().await?;
        let (version, _) = of_stream(conn, stream).await?;
        let packed = packed(conn, stream).await?;
        let read = match packed.is_kept() {
            true => Some(read_packed(conn, stream, (version, packed)).await?).filter(|read| read.len() <= most),
            false => read(conn, stream, (version, most)).await?,
        };
        self.recollections.learnt(stream, read);
        Ok(())
    }

    async fn unpack(&mut self, stream: StreamId, rows: usize) -> Result<()> {
        self.settle().await?;
        let room = self.recollections.room();
        let conn = self.link.get().await?;
        let packed = packed(conn, stream).await?;
        if !packed.is_worth(rows, room) {
            return Ok(());
        }
        let (version, _) = of_stream(conn, stream).await?;
        let read = read_packed(conn, stream, (version, packed)).await?;
        if read.len() <= room {
            self.recollections.learnt(stream, Some(read));
        }
        Ok(())
    }

    /// Keeps packed what was learnt of streams that were not kept so, or in many small parts: they are written anew.
    pub(super) async fn keep_packed(&mut self) -> Result<()> {
        let mut due = Vec::new();
        for stream in self.recollections.streams() {
            let packed = packed(self.link.get().await?, stream).await?;
            let known = self.recollections.whole(stream).map_or(0, Recollection::len);
            due.extend((!packed.is_compact(known)).then_some(stream));
        }
        if due.is_empty() {
            return Ok(());
        }
        self.ids_in_turn().await?; // nobody adds to them meanwhile, and what somebody else changed is forgotten
        for stream in due {
            let Some(whole) = self.recollections.whole(stream) else { continue };
            let conn = self.link.get().await?;
            begin(conn).await?;
            let written = match super::leases::check(conn, self.fence.as_ref()).await {
                Ok(()) => write_packed(conn, stream, whole).await,
                Err(fenced) => Err(fenced),
            };
            finish(conn, written).await?;
        }
        Ok(())
    }
}

/// How much is kept packed of a stream.
async fn packed(conn: &mut PgConnection, stream: StreamId) -> Result<Packed> {
    let sql = "select count(*), coalesce(sum(octet_length(entries)), 0)::bigint from remembered where stream = $1";
    sqlx::query_as(sql).bind(stream).fetch_one(conn).await.map(Packed::of).map_err(refused)
}

/// Reads what is kept packed of a stream at this version.
async fn read_packed(
    conn: &mut PgConnection,
    stream: StreamId,
    (version, packed): (i64, Packed),
) -> Result<Recollection> {
    let sql = "select gone from remembered where stream = $1 and gone is not null";
    let gone: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(stream).fetch_all(&mut *conn).await.map_err(refused)?;
    let mut all = Recollection::new(version, departed(&gone)?.iter().map(u64::cast_signed)).expecting(packed.entries());
    let sql = "select entries from remembered where stream = $1 order by id";
    let mut parts = sqlx::query(sql).bind(stream).fetch(conn);
    while let Some(part) = parts.try_next().await.map_err(refused)? {
        all.unpack(part.get(0)).ok_or_else(|| StoreError::Damaged("packed claims are cut off".into()))?;
    }
    Ok(all)
}

async fn write_packed(conn: &mut PgConnection, stream: StreamId, whole: &Recollection) -> Result<()> {
    let drop = sqlx::query("delete from remembered where stream = $1").bind(stream);
    drop.execute(&mut *conn).await.map_err(refused)?;
    for entries in whole.pack(PART) {
        let keep = sqlx::query("insert into remembered (stream, entries) values ($1, $2)").bind(stream).bind(entries);
        keep.execute(&mut *conn).await.map_err(refused)?;
    }
    Ok(())
}

/// Version of a stream, and about how many claims it has: none when it is only supposed, as a rehearsal does.
async fn of_stream(conn: &mut PgConnection, stream: StreamId) -> Result<(i64, i64)> {
    let sql = "select version, claims from stream where id = $1";
    sqlx::query_as(sql).bind(stream).fetch_optional(conn).await.map(Option::unwrap_or_default).map_err(refused)
}

/// At which version these streams are.
pub(super) async fn versions(conn: &mut PgConnection, streams: &[StreamId]) -> Result<Vec<(StreamId, i64)>> {
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "select id, version from stream where id = any($1)";
    sqlx::query_as(sql).bind(streams).fetch_all(conn).await.map_err(refused)
}

/// The sum of the versions of a register's streams, by register.
pub(super) async fn register_versions(conn: &mut PgConnection, registers: &[String]) -> Result<Vec<(String, i64)>> {
    if registers.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "select register, sum(version)::bigint from stream where register = any($1) group by register";
    sqlx::query_as(sql).bind(registers).fetch_all(conn).await.map_err(refused)
}

/// The sum of the versions of a register's streams when it has no identity key; else `None`.
pub(super) async fn without_keys(conn: &mut PgConnection, register: &str) -> Result<Option<i64>> {
    let sql = "select sum(s.version)::bigint from stream s where s.register = $1 and not exists (select 1 from identity i \
               join register_field f on f.id = i.field join register r on r.id = f.register where r.name = $1)";
    sqlx::query_scalar(sql).bind(register).fetch_one(conn).await.map_err(refused)
}

/// Reads all claims of a stream; `None` when there are more than `most`.
async fn read(
    conn: &mut PgConnection,
    stream: StreamId,
    (version, most): (i64, usize),
) -> Result<Option<Recollection>> {
    let sql = format!(
        "copy (select digest, id, occurrence, key from claim where stream = {stream} limit {}) to stdout (format binary)",
        most.saturating_add(1)
    );
    let mut all = Recollection::new(version, []);
    let mut claims = 0;
    let mut waiting: Vec<u8> = Vec::new();
    let mut skip = HEADER;
    plan_scans(conn, "on").await?;
    let mut copy = conn.copy_out_raw(&sql).await.map_err(refused)?;
    while let Some(bytes) = copy.try_next().await.map_err(refused)? {
        waiting.extend_from_slice(&bytes);
        if skip > waiting.len() {
            continue;
        }
        let mut rest = waiting.get(skip..).unwrap_or_default();
        while let Some((row, after)) = Copied::read(rest)? {
            let key = std::str::from_utf8(row.key).map_err(|error| StoreError::Damaged(error.to_string()))?;
            all.put(key, row.digest, row.id, row.occurrence);
            claims += 1;
            rest = after;
        }
        let left = rest.len();
        waiting.drain(..waiting.len() - left);
        skip = 0;
    }
    drop(copy);
    plan_scans(conn, "off").await?;
    Ok((claims <= most).then_some(all))
}

/// Whether plans may read tables from end to end; usually not.
async fn plan_scans(conn: &mut PgConnection, may: &str) -> Result<()> {
    let set = format!("set enable_seqscan = {may}");
    sqlx::query(AssertSqlSafe(set)).execute(conn).await.map(|_| ()).map_err(refused)
}

/// A claim as COPY sends it.
struct Copied<'a> {
    digest: i64,
    id: i64,
    occurrence: i64,
    key: &'a [u8],
}

impl<'a> Copied<'a> {
    /// The first row and what follows it; `None` when it is not whole, or was the last.
    fn read(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>> {
        let Some((columns, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        match i16::from_be_bytes(*columns) {
            -1 => return Ok(None),
            4 => {}
            other => return Err(StoreError::Damaged(format!("a claim came with {other} columns"))),
        }
        let whole = || {
            let (digest, rest) = bigint(rest)?;
            let (id, rest) = bigint(rest)?;
            let (occurrence, rest) = bigint(rest)?;
            let (key, rest) = cell(rest)?;
            Some((Self { digest, id, occurrence, key }, rest))
        };
        Ok(whole())
    }
}

fn cell(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)
}

fn bigint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (cell, rest) = cell(bytes)?;
    Some((i64::from_be_bytes(cell.try_into().ok()?), rest))
}
