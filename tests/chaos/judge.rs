//! Whether everything is as it must be: registers as the generator says, ledgers balanced, every subscriber's table what
//! its grant allows, numbers without holes, nothing applied twice.

use arrow::array::{Array as _, AsArray as _};
use huiliu::engine::Engine;
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use super::generator::Line;
use crate::support::Small;

/// A subscriber: feed, table, and what its grant lets it have.
pub struct Subscriber {
    /// Feed.
    pub feed: String,
    /// `postgres://…` or `sqlite:…`.
    pub target: String,
    /// Only open enterprises.
    pub open_only: bool,
}

impl Subscriber {
    /// Whether its batches come through a queue.
    pub fn has_a_queue(&self) -> bool {
        self.target.starts_with("postgres")
    }
}

type Verdict = Result<(), String>;

/// Everything but what takes long.
pub async fn judge(small: &Small, expected: &[Line], subscribers: &[Subscriber]) -> Verdict {
    for subscriber in subscribers {
        table(subscriber, expected).await?;
    }
    let mut engine = small.engine().await;
    register(&mut engine, expected).await?;
    ledger(&mut engine).await?;
    for subscriber in subscribers {
        let sealed = sealed(&mut engine, &subscriber.feed).await?;
        loaded(subscriber, sealed).await?;
    }
    Ok(())
}

async fn table(subscriber: &Subscriber, expected: &[Line]) -> Verdict {
    let Subscriber { feed, target, open_only } = subscriber;
    let allowed = expected.iter().filter(|(_, _, status, _)| !open_only || status.as_deref() == Some("在营"));
    let mut allowed: Vec<String> = allowed.map(|(code, name, ..)| format!("{code} {name}")).collect();
    allowed.sort();
    let held = lines(target).await.map_err(|error| format!("{feed}: {error}"))?;
    same(feed, &allowed, &held)
}

/// What a subscriber has, in order.
async fn lines(target: &str) -> sqlx::Result<Vec<String>> {
    let sql = "select uscc || ' ' || name from enterprise";
    let mut lines: Vec<String> = if target.starts_with("sqlite:") {
        sqlx::query_scalar(sql).fetch_all(&mut SqliteConnection::connect(target).await?).await?
    } else {
        sqlx::query_scalar(sql).fetch_all(&mut PgConnection::connect(target).await?).await?
    };
    lines.sort();
    Ok(lines)
}

async fn register(engine: &mut Engine, expected: &[Line]) -> Verdict {
    let fields = ["uscc", "name", "status", "phone"];
    let page = engine.store().entities_after("enterprise", &fields, 0, 1_000_000).await.unwrap();
    let columns: Vec<_> = page.rows.columns().iter().map(|column| column.as_string::<i32>().clone()).collect();
    let cell = |n: usize, row: usize| columns[n].is_valid(row).then(|| columns[n].value(row).to_owned());
    let line =
        |row: usize| (cell(0, row).unwrap_or_default(), cell(1, row).unwrap_or_default(), cell(2, row), cell(3, row));
    let mut found: Vec<Line> = (0..page.rows.num_rows()).map(line).collect();
    found.sort();
    same("the register", expected, &found)
}

async fn ledger(engine: &mut Engine) -> Verdict {
    let lines = engine.store().ledger(None).await.unwrap();
    let wrong = lines.iter().find(|line| !line.counts.balanced());
    wrong.map_or(Ok(()), |line| Err(format!("the ledger does not balance: {line:?}")))?;
    let runs = engine.store().runs(None, 1_000_000).await.unwrap();
    let wrong = runs.iter().find(|run| ["held", "unbalanced"].contains(&run.status.as_str()));
    wrong.map_or(Ok(()), |run| Err(format!("a run is {}: {:?}", run.status, run.why)))
}

/// How many batches were sealed: numbered without holes, and all delivered.
async fn sealed(engine: &mut Engine, feed: &str) -> Result<i64, String> {
    let numbers: Vec<i64> = {
        let batches = engine.store().batches_from(feed, 1, 1_000_000).await.unwrap();
        batches.iter().map(|batch| batch.seq).collect()
    };
    let last = i64::try_from(numbers.len()).unwrap();
    if !numbers.iter().copied().eq(1..=last) {
        return Err(format!("{feed}: the numbers of its batches have holes"));
    }
    let waiting = engine.store().undelivered(feed, 16).await.unwrap().len();
    if waiting == 0 { Ok(last) } else { Err(format!("{feed}: {waiting} batches wait")) }
}

/// The subscriber has loaded each of them, once: its count of rows, kept by addition, is that of its table.
async fn loaded(subscriber: &Subscriber, sealed: i64) -> Verdict {
    let sql = "select (select count(*) from huiliu_batch), (select max(seq) from huiliu_batch), \
               (select seq from huiliu_cursor), (select held from huiliu_cursor), (select count(*) from enterprise)";
    let counted = counted(&subscriber.target, sql).await.map_err(|error| error.to_string())?;
    let [batches, last, cursor, held, rows] = counted;
    let right = [batches, last, cursor] == [sealed; 3] && held == rows;
    let said = format!("{batches} batches, last {last}, cursor {cursor} of {sealed}; held {held} of {rows}");
    if right { Ok(()) } else { Err(format!("{}: {said}", subscriber.feed)) }
}

async fn counted(target: &str, sql: &'static str) -> sqlx::Result<[i64; 5]> {
    let columns = [0, 1, 2, 3, 4];
    if target.starts_with("sqlite:") {
        let row = sqlx::query(sql).fetch_one(&mut SqliteConnection::connect(target).await?).await?;
        return Ok(columns.map(|n| row.get::<Option<i64>, _>(n).unwrap_or(-1)));
    }
    let row = sqlx::query(sql).fetch_one(&mut PgConnection::connect(target).await?).await?;
    Ok(columns.map(|n| row.get::<Option<i64>, _>(n).unwrap_or(-1)))
}

/// Every batch that went through a queue was answered, and as it was sent.
pub async fn answered(small: &Small, subscribers: &[Subscriber]) -> Verdict {
    let mut engine = small.engine().await;
    for subscriber in subscribers.iter().filter(|subscriber| subscriber.has_a_queue()) {
        let feed = &subscriber.feed;
        let sealed = sealed(&mut engine, feed).await?;
        let receipts = engine.store().receipts(feed, 1_000_000).await.unwrap();
        if let Some(wrong) = receipts.iter().find(|receipt| receipt.mismatch.is_some()) {
            return Err(format!("{feed}: the receipt of batch {} differs: {:?}", wrong.seq, wrong.mismatch));
        }
        let mut answered: Vec<i64> = receipts.iter().map(|receipt| receipt.seq).collect();
        answered.sort();
        answered.dedup();
        if !answered.iter().copied().eq(1..=sealed) {
            return Err(format!("{feed}: {} of {sealed} batches were answered", answered.len()));
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &[T], found: &[T]) -> Verdict {
    let missing: Vec<&T> = expected.iter().filter(|line| !found.contains(line)).collect();
    let odd: Vec<&T> = found.iter().filter(|line| !expected.contains(line)).collect();
    if expected == found {
        return Ok(());
    }
    let (first, other) = (missing.first(), odd.first());
    Err(format!("{what}: {} missing, first {first:?}; {} too much, first {other:?}", missing.len(), odd.len()))
}
