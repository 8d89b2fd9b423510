//! Receiving from a spool: what loads, what stops, what repeats.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::*;
use crate::batch::tests::{chain, heading};
use crate::batch::{BodyBuilder, Effect, FeedField, FeedSchema, Heading, Reader, Receipt, SealedBatch, seal};
use crate::clock::Clock;
use crate::crypto::tests::{CaAndSigner, noon};
use crate::crypto::{Digest, DigestAlgorithm};
use crate::outlet::{self, BatchFiles, Outlet as _};
use crate::record::FieldType;

const FEED: &str = "housing.enterprise";

/// A spool, a CA and targets, all in one temporary directory.
struct City {
    dir: tempfile::TempDir,
    ca: CaAndSigner,
    reader: Arc<Reader>,
}

impl City {
    async fn new(batches: u64) -> Self {
        let ca = CaAndSigner::new();
        let reader = Arc::new(Reader::from(ca.trust.clone()));
        let city = Self { dir: tempfile::tempdir().unwrap(), ca, reader };
        fs::create_dir(city.path("spool")).unwrap();
        for batch in chain(&city.ca, batches) {
            city.deliver(&batch).await;
        }
        city
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn files(&self, seq: u64) -> BatchFiles {
        BatchFiles::in_feed(&self.path("spool").join(FEED), seq)
    }

    async fn deliver(&self, batch: &SealedBatch) {
        outlet::Spool::new(self.path("spool")).deliver(batch).await.unwrap();
    }

    async fn receive(&self, sink: &mut dyn Sink) -> Received {
        self.receive_of(FEED, sink).await
    }

    async fn receive_of(&self, feed: &str, sink: &mut dyn Sink) -> Received {
        let spool = Spool::parse(&format!("spool:{}", self.path("spool").display())).unwrap();
        receive_feed(&mut spool.feed(feed), feed, &self.reader, sink, Clock::Frozen(noon())).await
    }

    async fn sqlite(&self) -> SqliteSink {
        SqliteSink::open(&self.path("out.db")).await.unwrap()
    }

    async fn load(&self) -> (u64, Option<&'static str>) {
        ended(&self.receive(&mut self.sqlite().await).await)
    }
}

/// Batches loaded now, and the code it stopped with.
fn ended(received: &Received) -> (u64, Option<&'static str>) {
    (received.batches, received.stopped.as_ref().map(|problem| problem.code))
}

async fn dump(file: &Path) -> Vec<String> {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let rows = sqlx::query("select * from enterprise order by _id").fetch_all(&mut connection).await.unwrap();
    let cell = |row: &sqlx::sqlite::SqliteRow, at| match row.try_get_unchecked::<Option<String>, _>(at) {
        Ok(Some(text)) => text,
        Ok(None) => "-".to_owned(),
        Err(_) => "?".to_owned(),
    };
    // The digest, the fourth column, is bytes.
    rows.iter()
        .map(|row| (0..row.len()).filter(|at| *at != 3).map(|at| cell(row, at)).collect::<Vec<_>>().join("|"))
        .collect()
}

#[tokio::test]
async fn everything_loads_once_and_again_changes_nothing() {
    let city = City::new(3).await;
    let received = city.receive(&mut city.sqlite().await).await;
    assert_eq!((received.batches, received.records, received.upserts, received.withdrawals), (3, 15, 12, 3));
    assert_eq!((received.through, received.stopped), (Some(3), None));
    let loaded = dump(&city.path("out.db")).await;
    insta::assert_snapshot!(loaded.join("\n"), @"
    1|1|3|-|-1|-6.5536|-|-|-
    2|1|3|企业 1|0|-|1968-02-02|1970-01-01T00:00:01.000001Z|0
    3|1|3|企业 2|-|0|1968-02-03|1970-01-01T00:00:02.000002Z|1
    4|1|3|-|2|3.2768|-|-|-
    ");
    assert_eq!(city.load().await, (0, None));
    assert_eq!(dump(&city.path("out.db")).await, loaded);
}

#[tokio::test]
async fn what_comes_later_is_loaded_after_the_cursor() {
    let city = City::new(2).await;
    assert_eq!(city.load().await, (2, None));
    let third = chain(&city.ca, 3).remove(2);
    city.deliver(&third).await;
    assert_eq!(city.load().await, (1, None));
    // A subscriber may clear away what was loaded.
    fs::remove_file(city.files(3).manifest).unwrap();
    assert_eq!(city.load().await, (0, None));
}

#[tokio::test]
async fn a_hole_stops_before_it() {
    let city = City::new(4).await;
    let moved = city.path("kept.json");
    fs::rename(city.files(3).manifest, &moved).unwrap();
    assert_eq!(city.load().await, (2, Some("HL0740")));
    fs::rename(&moved, city.files(3).manifest).unwrap();
    assert_eq!(city.load().await, (2, None));
    fs::remove_file(city.files(1).manifest).unwrap();
    let fresh = &mut SqliteSink::open(&city.path("fresh.db")).await.unwrap();
    assert_eq!(ended(&city.receive(fresh).await), (0, Some("HL0740")), "a receiver starts with the first");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn damage_stops_before_it_and_each_has_its_code() {
    type Damage = fn(&BatchFiles);
    let cases: [(&str, Damage, &str); 8] = [
        ("manifest altered", |files| flip(&files.manifest), "HL0703"),
        ("body altered", |files| flip(&files.body), "HL0723"),
        ("body cut", |files| fs::write(&files.body, b"Obj").unwrap(), "HL0723"),
        ("body longer", |files| fs::write(&files.body, vec![0; 9_999]).unwrap(), "HL0723"),
        ("signature far too long", |files| fs::write(&files.signature, vec![0; (1 << 20) + 1]).unwrap(), "HL0742"),
        ("signature cut", |files| fs::write(&files.signature, b"0").unwrap(), "HL0701"),
        ("body missing", |files| fs::remove_file(&files.body).unwrap(), "HL0742"),
        ("signature missing", |files| fs::remove_file(&files.signature).unwrap(), "HL0742"),
    ];
    for (name, damage, code) in cases {
        let city = City::new(3).await;
        damage(&city.files(2));
        assert_eq!(city.load().await, (1, Some(code)), "{name}");
        assert!(dump(&city.path("out.db")).await.iter().all(|row| row.split('|').nth(2) == Some("1")), "{name}");
    }
}

#[tokio::test]
async fn a_stranger_and_a_moved_batch_are_refused() {
    let mut city = City::new(2).await;
    city.reader = Arc::new(CaAndSigner::new().trust.into());
    assert_eq!(city.load().await, (0, Some("HL0706")));

    let city = City::new(3).await;
    let (from, to) = (city.files(3), city.files(2));
    for (from, to) in [(from.body, to.body), (from.signature, to.signature), (from.manifest, to.manifest)] {
        fs::rename(from, to).unwrap();
    }
    assert_eq!(city.load().await, (1, Some("HL0743")));
}

#[tokio::test]
async fn a_batch_for_another_department_is_not_loaded() {
    let city = City::new(1).await;
    assert_eq!(city.load().await, (1, None));
    let first = chain(&city.ca, 1).remove(0).manifest_digest;
    let stray = Heading { subscriber: "tax".into(), ..heading(2, Some(first)) };
    city.deliver(&seal(stray, BodyBuilder::new(&schema(&[]), 2).finish(), &city.ca.signer).unwrap()).await;
    assert_eq!(city.load().await, (0, Some("HL0664")));
}

#[tokio::test]
async fn a_fork_stops_whether_it_shows_before_or_after_the_cursor() {
    let city = City::new(1).await;
    assert_eq!(city.load().await, (1, None));
    let other = Heading { subscriber: "other".into(), ..heading(1, None) };
    let other = seal(other, BodyBuilder::new(&schema(&[]), 1).finish(), &city.ca.signer).unwrap();
    let second =
        seal(heading(2, Some(other.manifest_digest)), BodyBuilder::new(&schema(&[]), 2).finish(), &city.ca.signer);
    city.deliver(&second.unwrap()).await;
    assert_eq!(city.load().await, (0, Some("HL0741")), "the next follows another history");
    fs::remove_dir_all(city.path("spool").join(FEED)).unwrap();
    city.deliver(&other).await;
    assert_eq!(city.load().await, (0, Some("HL0741")), "the loaded one is now another");
}

fn schema(fields: &[(&str, FieldType)]) -> FeedSchema {
    let fields =
        fields.iter().map(|(name, kind)| FeedField { name: (*name).to_owned(), title: String::new(), kind: *kind });
    FeedSchema::new(FEED, fields.collect(), DigestAlgorithm::Sha256).unwrap()
}

/// A batch with one upsert of entity 1: text columns hold `seq`, integers too.
fn one(city: &City, heading: Heading, fields: &[(&str, FieldType)]) -> SealedBatch {
    let schema = schema(fields);
    let seq = heading.seq;
    let columns = fields.iter().map(|(name, kind)| {
        let array: ArrayRef = match kind {
            FieldType::Integer => Arc::new(Int64Array::from(vec![seq.cast_signed()])),
            _ => Arc::new(StringArray::from(vec![format!("v{seq}")])),
        };
        (*name, array)
    });
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut body = BodyBuilder::new(&schema, seq);
    body.push(&schema.encode_upserts(&[1], &[seq.cast_signed()], &rows).unwrap(), 0).unwrap();
    seal(heading, body.finish(), &city.ca.signer).unwrap()
}

#[tokio::test]
async fn tables_widen_by_themselves_and_never_change_a_type() {
    use FieldType::{Integer, Text};
    let city = City::new(0).await;
    let mut previous: Option<Digest> = None;
    let shapes: [&[(&str, FieldType)]; 4] =
        [&[("name", Text)], &[("name", Text), ("capital", Integer)], &[("capital", Integer)], &[("capital", Text)]];
    for (seq, shape) in (1..).zip(shapes) {
        let batch = one(&city, heading(seq, previous), shape);
        previous = Some(batch.manifest_digest);
        city.deliver(&batch).await;
    }
    assert_eq!(city.load().await, (3, Some("HL0746")));
    assert_eq!(dump(&city.path("out.db")).await, ["1|3|3|-|3"], "a field no longer released is null");
}

#[tokio::test]
async fn one_table_belongs_to_one_feed() {
    let city = City::new(1).await;
    assert_eq!(city.load().await, (1, None));
    let heading = Heading { feed: "tax.enterprise".into(), subscriber: "tax".into(), ..heading(1, None) };
    let other = one(&city, heading, &[("name", FieldType::Text)]);
    city.deliver(&other).await;
    let received = city.receive_of("tax.enterprise", &mut city.sqlite().await).await;
    assert_eq!(ended(&received), (0, Some("HL0745")));

    let mut connection =
        SqliteConnection::connect(&format!("sqlite:{}?mode=rwc", city.path("own.db").display())).await.unwrap();
    sqlx::query("create table enterprise (x)").execute(&mut connection).await.unwrap();
    let mut sink = SqliteSink::open(&city.path("own.db")).await.unwrap();
    assert_eq!(ended(&city.receive(&mut sink).await), (0, Some("HL0745")), "somebody's own table");
}

#[tokio::test]
async fn csv_files_are_whole_and_repeatable() {
    let city = City::new(2).await;
    let file = city.path("csv").join(FEED).join("000000000001.csv");
    assert_eq!(ended(&city.receive(&mut CsvSink::open(&city.path("csv")).unwrap()).await), (2, None));
    let text = fs::read_to_string(&file).unwrap();
    insta::assert_snapshot!(text, @"
    _op,_id,_version,a_text,a_integer,a_decimal,a_date,a_timestamp,a_boolean
    upsert,1,1,,-1,-6.5536,,,
    upsert,2,1,企业 1,0,,1968-02-02,1970-01-01T00:00:01.000001Z,false
    upsert,3,1,企业 2,,0,1968-02-03,1970-01-01T00:00:02.000002Z,true
    upsert,4,1,,2,3.2768,,,
    withdraw,900000,7,,,,,,
    ");
    assert_eq!(ended(&city.receive(&mut CsvSink::open(&city.path("csv")).unwrap()).await), (0, None));
    // As after a crash between the file and the cursor.
    fs::remove_file(city.path("csv/cursor.json")).unwrap();
    assert_eq!(ended(&city.receive(&mut CsvSink::open(&city.path("csv")).unwrap()).await), (2, None));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

/// Output that can be looked at, and that can break.
#[derive(Clone, Default)]
struct Pipe {
    text: Arc<Mutex<Vec<u8>>>,
    broken: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.broken {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        self.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn json_lines_move_the_cursor_only_when_they_were_written() {
    let city = City::new(1).await;
    let state = city.path("state.json");
    let broken = Pipe { broken: true, ..Pipe::default() };
    let mut sink = NdjsonSink::open(Box::new(broken), &state).unwrap();
    assert_eq!(ended(&city.receive(&mut sink).await), (0, Some("HL0744")));
    drop(sink);
    let pipe = Pipe::default();
    let mut sink = NdjsonSink::open(Box::new(pipe.clone()), &state).unwrap();
    assert_eq!(ended(&city.receive(&mut sink).await), (1, None));
    assert_eq!(ended(&city.receive(&mut sink).await), (0, None));
    let text = String::from_utf8(pipe.text.lock().unwrap().clone()).unwrap();
    insta::assert_snapshot!(text.lines().skip(3).collect::<Vec<_>>().join("\n"), @r#"
    {"_feed":"housing.enterprise","_seq":1,"_op":"upsert","_id":4,"_version":1,"a_text":null,"a_integer":2,"a_decimal":"3.2768","a_date":null,"a_timestamp":null,"a_boolean":null}
    {"_feed":"housing.enterprise","_seq":1,"_op":"withdraw","_id":900000,"_version":7,"a_text":null,"a_integer":null,"a_decimal":null,"a_date":null,"a_timestamp":null,"a_boolean":null}
    "#);
}

#[tokio::test]
async fn proofs_say_what_was_checked() {
    let city = City::new(4).await;
    let judging = Judging::new(None, noon(), None);
    let link = |seqs: &[u64]| -> Vec<Result<Link, &'static str>> {
        let files: Vec<PathBuf> = seqs.iter().map(|seq| city.files(*seq).manifest).collect();
        prove_all(&files, &city.reader, &judging)
            .into_iter()
            .map(|proof| match (proof.proven, proof.problem) {
                (Some(proven), None) => Ok(proven.link),
                (_, problem) => Err(problem.unwrap().code),
            })
            .collect()
    };
    assert_eq!(link(&[1, 2, 4]), [Ok(Link::First), Ok(Link::Follows), Ok(Link::NotGiven)]);
    fs::write(city.files(2).body, b"").unwrap();
    assert_eq!(link(&[2, 3]), [Err("HL0723"), Ok(Link::NotGiven)]);
    let other = one(&city, heading(3, Some([9; 32])), &[("name", FieldType::Text)]);
    outlet::Spool::new(city.path("elsewhere")).deliver(&other).await.unwrap();
    let elsewhere = BatchFiles::in_feed(&city.path("elsewhere").join(FEED), 3).manifest;
    let both = prove_all(&[city.files(3).manifest, elsewhere, city.path("x.json")], &city.reader, &judging);
    let codes: Vec<_> = both.iter().map(|proof| proof.problem.as_ref().map(|problem| problem.code)).collect();
    assert_eq!(codes, [Some("HL0741"), Some("HL0741"), Some("HL0747")]);
}

/// Batches handed over in any order, as a queue hands them over again after a crash.
struct Handed {
    parcels: std::collections::VecDeque<Parcel>,
    receipts: Vec<Receipt>,
    refused: u32,
}

impl Handed {
    fn of<'a>(batches: impl IntoIterator<Item = &'a SealedBatch>) -> Self {
        let parcel = |batch: &SealedBatch| Parcel {
            place: "hand".into(),
            seq: None,
            manifest: batch.manifest.clone(),
            signature: batch.signature.clone(),
            body: Content::Bytes(batch.body.clone()),
        };
        Self { parcels: batches.into_iter().map(parcel).collect(), receipts: Vec::new(), refused: 0 }
    }
}

#[async_trait::async_trait]
impl Inbox for Handed {
    async fn next(&mut self, _: Option<Cursor>) -> Result<Option<Parcel>, ReceiveError> {
        Ok(self.parcels.pop_front())
    }

    async fn settle(&mut self, receipt: Receipt) -> Result<(), ReceiveError> {
        self.receipts.push(receipt);
        Ok(())
    }

    async fn refuse(&mut self) -> Result<(), ReceiveError> {
        self.refused += 1;
        Ok(())
    }
}

async fn take(city: &City, sink: &mut dyn Sink, batches: &[&SealedBatch]) -> (Received, Handed) {
    let mut handed = Handed::of(batches.iter().copied());
    let received = receive_feed(&mut handed, FEED, &city.reader, sink, Clock::Frozen(noon())).await;
    (received, handed)
}

#[tokio::test]
async fn what_comes_again_is_compared_answered_and_has_no_effect() {
    let city = City::new(0).await;
    let [one, two, three] = chain(&city.ca, 3).try_into().unwrap();
    let mut sink = city.sqlite().await;
    let (received, handed) = take(&city, &mut sink, &[&one, &two, &one, &two, &three]).await;
    assert_eq!((received.batches, received.again, received.stopped), (3, 2, None));
    let answers: Vec<_> = handed.receipts.iter().map(|r| (r.seq, r.effect, r.held)).collect();
    use Effect::{AlreadyLoaded, Applied};
    assert_eq!(
        answers,
        [
            (1, Applied, Some(4)),
            (2, Applied, Some(4)),
            (1, AlreadyLoaded, None),
            (2, AlreadyLoaded, None),
            (3, Applied, Some(4))
        ]
    );
    assert!(
        handed.receipts.iter().all(|r| r.manifest_digest.0 == [&one, &two, &three][r.seq as usize - 1].manifest_digest)
    );

    let other = seal(
        Heading { subscriber: "other".into(), ..heading(1, None) },
        BodyBuilder::new(&schema(&[]), 1).finish(),
        &city.ca.signer,
    );
    let mut altered = two.clone();
    altered.body[9] ^= 1;
    let stranger = chain(&CaAndSigner::new(), 3).remove(2);
    for (batch, code) in [(&other.unwrap(), "HL0741"), (&altered, "HL0723"), (&stranger, "HL0706")] {
        let (received, handed) = take(&city, &mut sink, &[batch]).await;
        assert_eq!((ended(&received), handed.refused, handed.receipts.len()), ((0, Some(code)), 1, 0));
    }
    let mut fresh = SqliteSink::open(&city.path("fresh.db")).await.unwrap();
    let (received, handed) = take(&city, &mut fresh, &[&two]).await;
    assert_eq!((ended(&received), handed.refused), ((0, Some("HL0740")), 1), "a hole");
}

#[tokio::test]
async fn a_database_of_an_earlier_version_counts_its_rows_once() {
    let city = City::new(0).await;
    let [one, two] = chain(&city.ca, 2).try_into().unwrap();
    take(&city, &mut city.sqlite().await, &[&one]).await;
    let url = format!("sqlite:{}", city.path("out.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    for sql in ["alter table huiliu_cursor drop column held", "drop table huiliu_batch"] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let (received, handed) = take(&city, &mut city.sqlite().await, &[&one, &two]).await;
    assert_eq!((received.batches, received.again, received.stopped), (1, 1, None));
    assert_eq!(handed.receipts[1].held, Some(4));
}
