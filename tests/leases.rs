//! What every store must hold about leases and fences. Functions over `&mut dyn Store`, two connections to one store.

use std::time::Duration;

use huiliu::store::postgres::PostgresStore;
use huiliu::store::sqlite::SqliteStore;
use huiliu::store::{
    BackfillState, ChangeSet, ChunkEnd, ChunkState, FileEnd, FileStart, FileStatus, LONGEST_LEASE, Lease, NewBackfill,
    NewChunk, RunStart, Store, StoreError,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::support::services::Database;

const TTL: Duration = Duration::from_secs(10);
/// A lease that has ended by the time anybody looks.
const AT_ONCE: Duration = Duration::ZERO;

async fn sqlite() -> (tempfile::TempDir, Box<dyn Store>, Box<dyn Store>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huiliu.db");
    let one = SqliteStore::open(&path).await.unwrap();
    let two = SqliteStore::open(&path).await.unwrap();
    (dir, Box::new(one), Box::new(two))
}

async fn take(store: &mut dyn Store, holder: &str, ttl: Duration) -> Option<Lease> {
    store.acquire_lease("pipeline/qy", holder, ttl).await.unwrap()
}

/// A lease has one holder at a time, ends by time or by release, and its token only ever grows.
pub async fn tokens_grow_with_every_new_holder(one: &mut dyn Store, two: &mut dyn Store) {
    let a = take(one, "a", TTL).await.unwrap();
    assert_eq!(take(two, "b", TTL).await, None, "it is held");
    assert_eq!(take(one, "a", AT_ONCE).await.unwrap().token, a.token, "the same holder keeps its token");
    let b = take(two, "b", AT_ONCE).await.unwrap();
    assert!(b.token > a.token, "it had ended");
    assert!(!one.renew_lease(&a, TTL).await.unwrap(), "somebody else has it");
    assert!(two.renew_lease(&b, TTL).await.unwrap(), "it had ended, and nobody took it");
    assert_eq!(take(one, "a", TTL).await, None);
    one.release_lease(&a).await.unwrap();
    assert_eq!(one.leases().await.unwrap().len(), 1, "an old holder gives nothing back");
    two.release_lease(&b).await.unwrap();
    assert_eq!(one.leases().await.unwrap(), []);
    assert!(!two.renew_lease(&b, TTL).await.unwrap(), "it was given back");
    let apart = one.now().await.unwrap() - huiliu::clock::Clock::System.now().timestamp_micros();
    assert!(apart.abs() < 5_000_000, "its clock is that of this machine: {apart}");
    let again = take(one, "a", AT_ONCE).await.unwrap();
    assert!(again.token > b.token, "the token goes on over a release");
    let late = take(one, "a", TTL).await.unwrap();
    assert!(late.token > again.token, "a holder that comes back after the end is a new one");
    let shown = two.leases().await.unwrap();
    assert_eq!((shown[0].holder.as_str(), shown[0].token), ("a", late.token));
    let left = shown[0].until - huiliu::clock::Clock::System.now().timestamp_micros();
    assert!((0..=TTL.as_micros() as i64).contains(&left), "it ends by the store's clock: {left}");
}

/// A lease of a time to come, from before somebody set the clock back, keeps nobody out until then.
pub async fn a_lease_from_the_future_counts_as_ended(store: &mut dyn Store, ahead: impl AsyncFnOnce()) {
    let long = store.acquire_lease("pipeline/future", "a", Duration::from_secs(86_400)).await.unwrap().unwrap();
    let shown = store.leases().await.unwrap().into_iter().find(|lease| lease.name == long.name).unwrap();
    let left = shown.until - huiliu::clock::Clock::System.now().timestamp_micros();
    assert!(left <= LONGEST_LEASE.as_micros() as i64 + 1_000_000, "nobody gets more: {left}");
    assert_eq!(store.acquire_lease(&long.name, "b", TTL).await.unwrap(), None, "and so much counts");
    ahead().await;
    let b = store.acquire_lease(&long.name, "b", TTL).await.unwrap().unwrap();
    assert!(b.token > long.token && !store.renew_lease(&long, TTL).await.unwrap());
}

/// As a clock leaves it that was two hours ahead.
const AHEAD: &str = "until = until + 7200000000 where name = 'pipeline/future'";

/// Of many that ask at the same time one gets it.
pub async fn of_two_that_ask_together_one_gets_it(one: &mut dyn Store, two: &mut dyn Store) {
    for n in 0..20 {
        let name = format!("feed/{n}");
        let (a, b) = tokio::join!(one.acquire_lease(&name, "a", TTL), two.acquire_lease(&name, "b", TTL));
        assert_eq!(a.unwrap().is_some() as u8 + b.unwrap().is_some() as u8, 1, "{name}");
    }
}

/// Once somebody else has the lease, nothing that stands under it is written.
pub async fn a_fenced_holder_writes_nothing(one: &mut dyn Store, two: &mut dyn Store) {
    let start = |pipeline: &str| RunStart { pipeline: pipeline.into(), kind: "run", at: 1, definitions: String::new() };
    let file =
        || FileStart { dataset: "gs.qy".into(), name: "f".into(), digest: "d".into(), bytes: 1, at: 1, again: false };
    let a = take(one, "a", TTL).await.unwrap();
    one.set_fence(Some(a.clone())).await.unwrap();
    let run = one.begin_run(start("qy")).await.unwrap();
    let taken = one.begin_file(file()).await.unwrap();
    let change = || ChangeSet { run, file: Some(taken.id), at: 2, position: None, parts: Vec::new() };
    one.commit(change()).await.unwrap();
    assert_eq!(one.file("gs.qy", "d").await.unwrap().unwrap().chunks, 1);

    assert!(one.renew_lease(&a, AT_ONCE).await.unwrap());
    take(two, "b", TTL).await.unwrap();
    let fenced = |refused: Result<(), StoreError>, what: &str| {
        assert!(matches!(refused, Err(StoreError::Fenced(_))), "{what}: {refused:?}");
    };
    fenced(one.begin_run(start("qy")).await.map(drop), "begin_run");
    fenced(one.begin_file(file()).await.map(drop), "begin_file");
    fenced(one.end_file(taken.id, FileEnd::taken(None, None)).await, "end_file");
    let committed = one.commit(change()).await;
    // A commit may be told by the next call that waits for it.
    let told = if committed.is_ok() { one.streams().await.map(drop) } else { committed };
    fenced(told, "commit");
    let feed = one.feed("housing.enterprise").await.unwrap();
    let seal = huiliu::store::SealSet {
        stamp: false,
        feed: "housing.enterprise".into(),
        state: huiliu::store::FeedState { cursor: 99, ..feed.clone() },
        batch: None,
        upserts: Vec::new(),
        withdrawals: Vec::new(),
        counts: Default::default(),
        at: 3,
        chased: Vec::new(),
        found: Vec::new(),
        notes: Vec::new(),
    };
    fenced(one.seal(seal).await, "seal");
    assert_eq!(one.feed("housing.enterprise").await.unwrap(), feed);
    let state = one.file("gs.qy", "d").await.unwrap().unwrap();
    assert_eq!((state.chunks, state.status), (1, FileStatus::Taking), "nothing was written");
    assert_eq!(one.runs(None, 9).await.unwrap().len(), 1);

    one.set_fence(None).await.unwrap();
    one.end_file(taken.id, FileEnd::taken(None, None)).await.unwrap();
    assert_eq!(two.file("gs.qy", "d").await.unwrap().unwrap().status, FileStatus::Taken);
}

/// A plan is there as a whole; states change only from where they may; chunks end one by one.
pub async fn a_backfill_is_kept_and_worked_off_by_anybody(one: &mut dyn Store, two: &mut dyn Store) {
    let chunk = |n: u64| NewChunk { label: format!("{n}"), spec: "[]".into(), rows: n };
    let new = NewBackfill {
        kind: "files",
        target: "qy".into(),
        spec: "{}".into(),
        why: None,
        at: 1,
        chunks: (1..=3).map(chunk).collect(),
    };
    let id = one.add_backfill(new).await.unwrap();
    use BackfillState::{Done, Paused, Pending, Running};
    assert!(two.move_backfill(id, &[Pending], (Running, None, 2), None).await.unwrap());
    assert!(!one.move_backfill(id, &[Pending], (Paused, None, 3), None).await.unwrap(), "it runs");
    two.note_backfill(id, Some(7), "[1]").await.unwrap();
    one.note_backfill(id, Some(8), "[2]").await.unwrap();
    let end = |state, why: Option<&str>| ChunkEnd { state, why: why.map(str::to_owned), at: 4 };
    two.end_chunk(id, 1, end(ChunkState::Done, None)).await.unwrap();
    two.end_chunk(id, 2, end(ChunkState::Failed, Some("HL0304"))).await.unwrap();
    let pending = one.backfill_chunks(id, Some(ChunkState::Pending), 9).await.unwrap();
    assert_eq!(pending.iter().map(|chunk| chunk.n).collect::<Vec<_>>(), [3]);
    let view = one.backfills(Some(id)).await.unwrap().remove(0);
    assert_eq!((view.pending, view.done, view.failed, view.rows, view.rows_done), (1, 1, 1, 6, 1));
    assert_eq!((view.run, view.before.as_deref(), view.started), (Some(7), Some("[1]"), Some(2)), "noted once");
    assert_eq!(one.retry_chunks(id).await.unwrap(), 1);
    assert!(two.move_backfill(id, &[Running], (Done, None, 9), None).await.unwrap());
    let view = one.backfills(None).await.unwrap().remove(0);
    assert_eq!((view.state, view.ended, view.pending), (Done, Some(9), 2));
    assert!(one.backfills(Some(id + 1)).await.unwrap().is_empty());
}

/// What waits for a feed and for people, batches as they were sealed, and a feed that starts over.
pub async fn what_waits_is_told(engine: &mut huiliu::engine::Engine) {
    const FEED: &str = "housing.enterprise";
    let lag = engine.store().feed_lag(FEED, "enterprise").await.unwrap();
    assert_eq!((lag.records, lag.bytes, lag.since), (0, 0, None), "nothing was ever read");
    engine.run("qy", &Default::default()).await.unwrap();
    let lag = engine.store().feed_lag(FEED, "enterprise").await.unwrap();
    let at = crate::support::now().timestamp_micros();
    assert_eq!((lag.records, lag.bytes, lag.since), (4, 0, Some(at)));
    let backlog = engine.store().quarantine_backlog().await.unwrap();
    assert_eq!((backlog.len(), backlog[0].dataset.as_str(), backlog[0].open, backlog[0].oldest), (1, "gs.qy", 1, at));
    let newest = engine.store().newest_file("gs.qy").await.unwrap().unwrap();
    assert_eq!((newest.0.len(), newest.1), (64, at));

    engine.release(FEED).await.unwrap();
    let lag = engine.store().feed_lag(FEED, "enterprise").await.unwrap();
    assert_eq!((lag.records, lag.since), (0, None), "all of it is durable");
    let batches = engine.store().batches_from(FEED, 1, 9).await.unwrap();
    assert_eq!(batches.iter().map(|batch| (batch.seq, batch.records)).collect::<Vec<_>>(), [(1, 3), (2, 1)]);
    assert!(batches.iter().all(|batch| !batch.body.is_empty() && !batch.manifest.is_empty()));
    assert_eq!(engine.store().batches_from(FEED, 2, 9).await.unwrap(), batches[1..]);
    assert_eq!(engine.store().drop_bodies(at).await.unwrap(), 0, "they were sealed then, not before");
    assert_eq!(engine.store().drop_bodies(at + 1).await.unwrap(), 2);
    let dropped = engine.store().batches_from(FEED, 1, 9).await.unwrap();
    assert!(dropped.iter().all(|batch| batch.body.is_empty() && !batch.signature.is_empty()));

    engine.store().reopen_feed(FEED).await.unwrap();
    let again = engine.release(FEED).await.unwrap();
    assert_eq!((again.upserts, again.withdrawals, again.batches), (4, 0, 2), "everything once more");
    assert_eq!(engine.store().feed(FEED).await.unwrap().seq, 4, "numbers go on");
    assert_eq!(engine.release(FEED).await.unwrap().status, "nothing new");
}

#[tokio::test]
async fn sqlite_tells_what_waits() {
    let small = crate::support::Small::new();
    let mut rows: Vec<[&str; 6]> = crate::support::CODES[..4]
        .iter()
        .map(|code| [*code, "企业", "", "100万元", "在营", "2026-10-01 00:00:00"])
        .collect();
    rows.push(["9137", "坏码", "", "100万元", "在营", "2026-10-01 00:00:00"]);
    small.extract("QY_1.csv", &rows);
    what_waits_is_told(&mut small.engine().await).await;
}

#[tokio::test]
async fn sqlite_holds_leases() {
    let (dir, mut one, mut two) = sqlite().await;
    tokens_grow_with_every_new_holder(&mut *one, &mut *two).await;
    of_two_that_ask_together_one_gets_it(&mut *one, &mut *two).await;
    let path = dir.path().join("huiliu.db");
    let ahead = async || {
        let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
        let sql = format!("update lease set {AHEAD}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    };
    a_lease_from_the_future_counts_as_ended(&mut *one, ahead).await;
}

#[tokio::test]
async fn sqlite_fences() {
    let (_dir, mut one, mut two) = sqlite().await;
    a_fenced_holder_writes_nothing(&mut *one, &mut *two).await;
}

#[tokio::test]
async fn sqlite_keeps_backfills() {
    let (_dir, mut one, mut two) = sqlite().await;
    a_backfill_is_kept_and_worked_off_by_anybody(&mut *one, &mut *two).await;
}

async fn postgres() -> (Database, Box<dyn Store>, Box<dyn Store>) {
    let database = Database::new().await;
    let one = PostgresStore::open(&database.url(), "test").await.unwrap();
    let two = PostgresStore::open(&database.url(), "test").await.unwrap();
    (database, Box::new(one), Box::new(two))
}

#[tokio::test]
async fn postgres_holds_leases() {
    let (database, mut one, mut two) = postgres().await;
    tokens_grow_with_every_new_holder(&mut *one, &mut *two).await;
    of_two_that_ask_together_one_gets_it(&mut *one, &mut *two).await;
    let ahead = async || {
        let mut connection = PgConnection::connect(&database.url()).await.unwrap();
        let sql = format!("update huiliu.lease set {AHEAD}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    };
    a_lease_from_the_future_counts_as_ended(&mut *one, ahead).await;
}

#[tokio::test]
async fn postgres_fences() {
    let (_database, mut one, mut two) = postgres().await;
    a_fenced_holder_writes_nothing(&mut *one, &mut *two).await;
}

#[tokio::test]
async fn postgres_keeps_backfills() {
    let (_database, mut one, mut two) = postgres().await;
    a_backfill_is_kept_and_worked_off_by_anybody(&mut *one, &mut *two).await;
}
