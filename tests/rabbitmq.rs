//! Feeds through a real RabbitMQ, each test in a virtual host of its own: the whole way to the subscriber's table, and
//! everything that can go wrong on it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use huiliu::batch::SealedBatch;
use huiliu::clock::Clock;
use huiliu::crypto::{Suite, Trust, dev_ca, dev_set};
use huiliu::engine::{Engine, FeedReport};
use huiliu::outlet::rabbitmq::{Address, Link, Patience, RabbitMq, publish_receipt};
use huiliu::outlet::{Delivered, Outlet as _};
use huiliu::receive::{Answering, Following, QueuedFeed, Target, receive_feed};
use lapin::options::ConfirmSelectOptions;
use reqwest::Method;
use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::support::broker::{PATIENCE, Proxy, Vhost, api};
use crate::support::services::{Database, service};
use crate::support::{CODES, Small, now};

/// A workspace with two feeds to RabbitMQ, one for each subscriber of a virtual host.
struct City {
    small: Small,
    vhost: Vhost,
}

const ROWS: &str = "rows: status = '在营'\n";

fn grant(subscriber: &str, rows: &str) -> String {
    format!(
        "version: 1
subscriber: {subscriber}
register: enterprise
purpose: 资质审查
basis: 条例第三十二条
approved: {{ by: 数据资源处, on: 2026-03-01, number: 17号 }}
valid: {{ from: 2026-03-01 }}
fields: [uscc, name, capital, status]
{rows}delivery: {{ outlet: rabbitmq, every: 1m, batch: {{ records: 1, bytes: 4MiB }} }}
"
    )
}

impl City {
    /// Five enterprises taken in; nothing released, nothing provisioned.
    async fn new() -> Self {
        let vhost = Vhost::new().await;
        let small = Small::new();
        fs::remove_file(small.path().join("pipelines/feeds/housing.enterprise.yaml")).unwrap();
        let city = Self { small, vhost };
        city.broker(&city.vhost.url());
        city.grant(0, ROWS);
        city.grant(1, &format!("rows: uscc = '{}'\n", CODES[0]));
        city.extract("QY_1.csv", &["在营"; 5]);
        city.small.run("qy").await;
        city
    }

    /// The same, with queues and users.
    async fn provisioned() -> Self {
        let city = Self::new().await;
        city.provision(&[]);
        city
    }

    fn broker(&self, url: &str) {
        let api = service("RABBITMQ_API");
        self.small.write("huiliu.yaml", format!("version: 1\nbroker: {url}\nbroker_api: {api}\n"));
    }

    fn grant(&self, which: usize, rows: &str) {
        let file = format!("pipelines/feeds/{}.yaml", self.feed(which));
        self.small.write(&file, grant(&self.vhost.subscribers[which], rows));
    }

    fn extract(&self, file: &str, statuses: &[&str]) {
        let row = |(status, code)| [code, "青岛红瓦贸易有限公司", "", "100万元", status, "2026-10-01 00:00:00"];
        let rows: Vec<[&str; 6]> = statuses.iter().copied().zip(CODES).map(row).collect();
        self.small.extract(file, &rows);
    }

    fn feed(&self, which: usize) -> String {
        format!("{}.enterprise", self.vhost.subscribers[which])
    }

    fn user(&self, which: usize) -> String {
        format!("huiliu.{}", self.vhost.subscribers[which])
    }

    /// A subscriber's address, with the password that provisioning made.
    fn from(&self, which: usize) -> String {
        let user = self.user(which);
        let file = self.path(&format!("passwords/{user}.password"));
        self.vhost.url_of(&user, fs::read_to_string(file).unwrap().trim())
    }

    fn path(&self, name: &str) -> String {
        self.small.path().join(name).display().to_string()
    }

    fn provision(&self, args: &[&str]) {
        let passwords = self.path("passwords");
        let (code, out, err) =
            huiliu(self.small.path(), &[&["feed", "provision", "--password-dir", &passwords], args].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
    }

    async fn release(&self, which: usize) -> FeedReport {
        self.small.engine().await.release(&self.feed(which)).await.unwrap()
    }

    /// What `huiliu receive` says of one feed, and its exit code.
    fn receive(&self, from: &str, which: usize, to: &str) -> (i32, Json) {
        let (trust, feed) = (self.path(".huiliu/dev-ca.pem"), self.feed(which));
        let args = ["--json", "receive", "--from", from, "--feed", &feed, "--trust", &trust, "--to", to];
        let (code, out, err) = huiliu(self.small.path(), &args);
        let json: Json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        (code, if json["feeds"].is_array() { json["feeds"][0].clone() } else { json })
    }

    fn sqlite(&self) -> String {
        format!("sqlite:{}", self.path("out.db"))
    }

    async fn waiting(&self, which: usize) -> Vec<SealedBatch> {
        let feed = self.feed(which);
        let rows = self.small.engine().await.store().undelivered(&feed, 16).await.unwrap();
        let sealed = |row: huiliu::store::BatchRow| SealedBatch {
            feed: feed.clone(),
            seq: row.seq.unsigned_abs(),
            manifest_digest: huiliu::crypto::digest_from_hex(&row.manifest_digest).unwrap(),
            body: row.body,
            manifest: row.manifest,
            signature: row.signature,
        };
        rows.into_iter().map(sealed).collect()
    }
}

fn huiliu(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .env("HUILIU_LOG", "error")
        .arg("--dir")
        .arg(dir)
        .args(args)
        .output()
        .unwrap();
    let Output { status, stdout, stderr } = command;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn counts(received: &Json) -> (i64, i64, i64) {
    let n = |key: &str| received[key].as_i64().unwrap_or_else(|| panic!("{received}"));
    (n("batches"), n("again"), n("through"))
}

fn waits(report: &FeedReport, code: &str) {
    assert_eq!(report.status, "waiting", "{report:?}");
    assert!(report.why.as_deref().unwrap().starts_with(code), "{report:?}");
}

fn broker(url: &str, patience: Patience) -> RabbitMq {
    RabbitMq::new(Address::parse(url, None), patience)
}

/// The subscriber's table, as text.
async fn sqlite_rows(city: &City) -> Vec<String> {
    let mut connection = SqliteConnection::connect(&city.sqlite()).await.unwrap();
    let sql = "select uscc || '|' || capital || '|' || status from enterprise order by uscc";
    sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test]
async fn the_whole_way_to_a_sqlite_table_and_a_receipt_back() {
    let city = City::provisioned().await;
    assert_eq!(city.release(0).await.durable, 5);
    let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!((code, counts(&received)), (0, (5, 0, 5)), "{received}");
    assert_eq!(sqlite_rows(&city).await.len(), 5);

    city.extract("QY_2.csv", &["在营", "注销", "在营", "在营", "在营"]);
    city.small.run("qy").await;
    assert_eq!(city.release(0).await.durable, 1);
    let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!((code, counts(&received)), (0, (1, 0, 6)), "{received}");
    assert_eq!(received["withdrawals"], 1);
    let rows = sqlite_rows(&city).await;
    assert_eq!((rows.len(), rows[1].as_str()), (4, "91370211MA3D28XC5X|1000000|在营"));

    let mut engine = city.small.engine().await;
    let report = engine.read_receipts().await.unwrap();
    assert_eq!((report.read, report.recorded, report.mismatches.len()), (6, 6, 0), "{report:?}");
    let receipts = engine.store().receipts(&city.feed(0), 9).await.unwrap();
    assert_eq!((receipts[0].seq, receipts[0].held, receipts[0].sender.as_deref()), (6, Some(4), Some(&*city.user(0))));
    assert_eq!(engine.read_receipts().await.unwrap().read, 0, "each is read once");
    drop(engine);

    let (_, out, err) = huiliu(city.small.path(), &["--json", "feed", "status"]);
    let status: Json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let line = status.as_array().unwrap().iter().find(|line| line["feed"] == city.feed(0)).unwrap().clone();
    assert_eq!((&line["sealed"], &line["durable"], &line["received"]), (&json!(6), &json!(6), &json!(6)), "{line}");
    assert_eq!((&line["waiting_records"], &line["mismatches"]), (&json!(0), &json!(0)));
    assert!(line["queue"]["ready"].is_u64(), "the management API answers: {line} {err}");
}

#[tokio::test]
async fn the_whole_way_to_a_postgresql_table_with_its_own_types() {
    let city = City::provisioned().await;
    let database = Database::new().await;
    city.release(0).await;
    let (code, received) = city.receive(&city.from(0), 0, &database.url());
    assert_eq!((code, counts(&received)), (0, (5, 0, 5)), "{received}");
    city.extract("QY_2.csv", &["在营", "注销", "在营", "在营", "在营"]);
    city.small.run("qy").await;
    city.release(0).await;
    let (code, received) = city.receive(&city.from(0), 0, &database.url());
    assert_eq!((code, counts(&received)), (0, (1, 0, 6)), "{received}");

    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let row = sqlx::query(
        "select count(*), sum(capital)::text, pg_typeof(min(capital))::text, \
         (select held from huiliu_cursor), (select count(*) from huiliu_batch) from enterprise",
    );
    let row = row.fetch_one(&mut connection).await.unwrap();
    let found: (i64, String, String, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
    assert_eq!(found, (4, "4000000".into(), "numeric".into(), 4, 6));
    // A column that is no longer granted becomes null, one of another type is refused.
    sqlx::query("alter table enterprise alter column status type varchar(9)").execute(&mut connection).await.unwrap();
    city.extract("QY_3.csv", &["在营", "注销", "注销", "在营", "在营"]);
    city.small.run("qy").await;
    city.release(0).await;
    let (code, received) = city.receive(&city.from(0), 0, &database.url());
    assert_eq!((code, received["stopped"]["code"].as_str()), (1, Some("HL0746")), "{received}");
    assert_eq!(city.vhost.queued(&city.feed(0)).await, 1, "it stays in the queue");
    let (code, received) = city.receive("amqp://nobody:wrong@127.0.0.1:1/x", 0, "postgres://u:p@127.0.0.1:1/d");
    assert_eq!((code, received[0]["code"].as_str()), (1, Some("HL0744")), "{received}");
    assert!(!received.to_string().contains("u:p"));
}

#[tokio::test]
async fn what_has_no_queue_waits_and_after_a_crash_the_same_bytes_are_applied_once() {
    let city = City::new().await;
    let report = city.release(0).await;
    waits(&report, "HL0732");
    let sealed = city.waiting(0).await.len();
    assert!(report.durable == 0 && (1..5).contains(&sealed), "{sealed} of 5: what follows waits in the change log");
    waits(&city.release(0).await, "HL0732");
    assert_eq!(city.waiting(0).await.len(), sealed, "the very same");
    city.provision(&[]);
    city.provision(&[]); // again is harmless

    // Confirmed by the broker, and then the process dies before it says so to the store.
    let lost = city.waiting(0).await.remove(0);
    let outlet = broker(&city.vhost.url(), PATIENCE).outlet();
    assert_eq!(outlet.deliver(&lost).await, Ok(Delivered::Durable));
    let report = city.release(0).await;
    assert_eq!((report.durable, city.waiting(0).await.len()), (5, 0), "{report:?}");
    assert_eq!(city.vhost.queued(&city.feed(0)).await, 6);
    let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!((code, counts(&received)), (0, (5, 1, 5)), "{received}");
    assert_eq!((sqlite_rows(&city).await.len(), city.vhost.queued(&city.feed(0)).await), (5, 0));
    let report = city.small.engine().await.read_receipts().await.unwrap();
    assert_eq!((report.read, report.mismatches.len()), (6, 0), "{report:?}");
}

/// Batches are lost, later ones wait, and the lost ones are sent again: behind those that wait.
#[tokio::test]
async fn a_hole_is_filled_by_what_lies_further_back_in_the_queue() {
    let city = City::provisioned().await;
    city.release(0).await;
    let contents = ["queues", &city.vhost.name, &huiliu::outlet::rabbitmq::queue_of(&city.feed(0)), "contents"];
    api(Method::DELETE, &contents, Json::Null).await;
    // More than a receiver is handed at first.
    for (n, [most, last]) in [["注销", "注销"], ["在营", "注销"], ["注销", "在营"]].into_iter().enumerate()
    {
        city.extract(&format!("QY_{}.csv", n + 2), &[most, most, most, most, last]);
        city.small.run("qy").await;
        city.release(0).await;
    }
    let lost = city.vhost.queued(&city.feed(0)).await;
    assert!(lost > 10, "{lost}");
    for _ in 0..2 {
        let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
        let stopped = &received["stopped"];
        assert_eq!((code, stopped["code"].as_str()), (1, Some("HL0740")), "{received}");
        assert!(
            stopped["message"].as_str().unwrap().contains("batch 1 is missing; the next one there is 6"),
            "{stopped}"
        );
        assert_eq!(city.vhost.queued(&city.feed(0)).await, lost, "all of it is put back");
    }
    let (code, out, err) =
        huiliu(city.small.path(), &["backfill", "start", "--feed", &city.feed(0), "--since-batch", "1"]);
    assert_eq!(code, 0, "{out}{err}");
    let all = i64::from(lost) + 5;
    assert_eq!(i64::from(city.vhost.queued(&city.feed(0)).await), i64::from(lost) + all);
    let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!((code, counts(&received)), (0, (all, i64::from(lost), all)), "{received}");
    assert_eq!((sqlite_rows(&city).await.len(), city.vhost.queued(&city.feed(0)).await), (1, 0));
    let report = city.small.engine().await.read_receipts().await.unwrap();
    assert_eq!(report.mismatches.len(), 0, "{report:?}");
}

/// One who listens takes them in order, too, and ends at a hole when nothing more is there.
#[tokio::test]
async fn who_listens_looks_behind_a_hole_and_no_further_than_there_is() {
    let city = City::new().await;
    waits(&city.release(0).await, "HL0732");
    let sealed = city.waiting(0).await;
    city.provision(&[]);
    let outlet = broker(&city.vhost.url(), PATIENCE).outlet();
    for i in [1, 0, 1] {
        assert_eq!(outlet.deliver(&sealed[i]).await, Ok(Delivered::Durable));
    }
    let feeds = [city.feed(0)];
    let trust = Arc::new(Trust::from_pem(&fs::read(city.path(".huiliu/dev-ca.pem")).unwrap()).unwrap().into());
    let address = Address::parse(&city.vhost.url(), None).unwrap();
    let answering = Answering { user: address.user().to_owned(), signer: None, clock: Clock::System };
    let following =
        Following { address: &address, patience: PATIENCE, feeds: &feeds, reader: &trust, answering: &answering };
    let listen = async |to: String, enough: u64| {
        let mut sink = Target::parse(&to).unwrap().open(None).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut stop = Some(stop);
        let told = |received: &huiliu::receive::Received| {
            if received.batches + received.again == enough {
                stop.take().unwrap().send(()).unwrap();
            }
        };
        let listening = following.follow(sink.as_mut(), async { drop(stopped.await) }, told);
        tokio::time::timeout(Duration::from_secs(60), Box::pin(listening)).await.unwrap().remove(0)
    };
    let received = listen(city.sqlite(), 3).await;
    assert_eq!((received.through, received.batches, received.again), (Some(2), 2, 1), "{received:?}");
    assert_eq!(outlet.deliver(&sealed[1]).await, Ok(Delivered::Durable));
    let fresh = listen(format!("sqlite:{}", city.path("fresh.db")), 9).await;
    assert_eq!((fresh.through, fresh.stopped.map(|stopped| stopped.code)), (None, Some("HL0740")));
    assert_eq!(city.vhost.queued(&city.feed(0)).await, 1);
}

#[tokio::test]
async fn a_full_queue_delays_only_its_own_feed_and_loses_nothing() {
    let city = City::new().await;
    city.provision(&["--max-batches", "2"]);
    let full = city.release(0).await;
    waits(&full, "HL0733");
    assert!((2..5).contains(&full.durable), "{full:?}");
    let other = city.release(1).await;
    assert_eq!((other.status, other.durable), ("released", 1), "{other:?}");
    let mut received = 0;
    for _ in 0..5 {
        let (code, report) = city.receive(&city.from(0), 0, &city.sqlite());
        assert_eq!((code, &report["again"]), (0, &json!(0)), "{report}");
        received += report["batches"].as_i64().unwrap();
        city.release(0).await;
    }
    assert_eq!((received, city.waiting(0).await.len(), sqlite_rows(&city).await.len()), (5, 0, 5));
    city.provision(&["--max-batches", "100"]); // limits can be changed, queues stay
}

#[tokio::test]
async fn everything_that_refuses_has_its_code() {
    let city = City::provisioned().await;
    let short = Patience { connect: Duration::from_millis(800), confirm: Duration::from_secs(5) };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let never = format!("amqp://u:p@{}/v", silent.local_addr().unwrap());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let code = async |url: &str, ca: Option<&str>, patience| {
        let address = Address::parse(url, ca.map(Path::new)).unwrap();
        let outcome = tokio::time::timeout(Duration::from_secs(30), Link::open(&address, patience)).await.unwrap();
        outcome.map(drop).map_err(|error| error.code())
    };
    let nowhere = city.vhost.url().replace(&city.vhost.name, "no-such-vhost");
    assert_eq!(code(&city.vhost.url_of("huiliu", "wrong"), None, PATIENCE).await, Err("HL0735"));
    assert_eq!(code(&nowhere, None, PATIENCE).await, Err("HL0735"));
    assert_eq!(code(&never, None, short).await, Err("HL0737"), "accepts, and never answers");
    assert_eq!(code(&format!("amqp://u:p@{closed}/v"), None, PATIENCE).await, Err("HL0737"));

    let tls = city.vhost.at(&service("RABBITMQ_TLS"));
    let (own, wrong) = (service("CA"), city.path(".huiliu/dev-ca.pem"));
    dev_ca::signer(&city.small.path().join(".huiliu"), now()).unwrap();
    assert_eq!(code(&tls, Some(&own), PATIENCE).await, Ok(()));
    assert_eq!(code(&tls, Some(&wrong), PATIENCE).await, Err("HL0737"), "an authority that did not sign it");
    assert_eq!(code(&tls, None, PATIENCE).await, Err("HL0737"));

    city.broker(&city.vhost.url_of("huiliu", "wrong"));
    let report = city.release(0).await;
    waits(&report, "HL0735");
    assert!(!report.why.unwrap().contains("wrong"), "no password in messages");
    city.broker(&city.vhost.url());
    assert_eq!(city.release(0).await.durable, 5, "nothing was lost");
    let (code, received) = city.receive(&city.vhost.url(), 1, &city.sqlite());
    assert_eq!((code, &received["batches"]), (0, &json!(0)));
}

#[tokio::test]
async fn a_department_reads_its_own_queue_only_and_publishes_no_batches() {
    let city = City::provisioned().await;
    city.release(0).await;
    let (code, received) = city.receive(&city.from(1), 0, &city.sqlite());
    assert_eq!((code, received["stopped"]["code"].as_str()), (1, Some("HL0735")), "{received}");
    city.grant(1, ROWS);
    city.release(1).await;
    let batch = SealedBatch { feed: city.feed(1), ..forged(&city).await };
    let error = broker(&city.from(0), PATIENCE).outlet().deliver(&batch).await.unwrap_err();
    assert_eq!(error.code(), "HL0735", "{error}");
    let nobodys = city.vhost.url().replace(&city.vhost.name, "%2f");
    let (code, received) = city.receive(&nobodys, 0, &city.sqlite());
    assert_eq!((code, received["stopped"]["code"].as_str()), (1, Some("HL0732")), "no such queue there: {received}");
}

/// Some batch of feed 0 with an altered body.
async fn forged(city: &City) -> SealedBatch {
    city.small.write("huiliu.yaml", "version: 1\nbroker: amqp://127.0.0.1:1/x\n");
    city.extract("QY_9.csv", &["在营", "在营", "在营", "在营", "注销"]);
    city.small.run("qy").await;
    waits(&city.release(0).await, "HL0737");
    city.broker(&city.vhost.url());
    let mut batch = city.waiting(0).await.remove(0);
    let middle = batch.body.len() / 2;
    batch.body[middle] ^= 1;
    batch
}

#[tokio::test]
async fn a_poisoned_batch_stops_the_receiver_and_stays_in_the_queue() {
    let city = City::provisioned().await;
    city.release(0).await;
    let poison = forged(&city).await;
    let outlet = broker(&city.vhost.url(), PATIENCE).outlet();
    assert_eq!(outlet.deliver(&poison).await, Ok(Delivered::Durable));
    for batches in [5, 0] {
        let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
        assert_eq!((code, received["stopped"]["code"].as_str()), (1, Some("HL0723")), "{received}");
        assert_eq!((received["batches"].as_i64(), city.vhost.queued(&city.feed(0)).await), (Some(batches), 1));
    }
    assert_eq!(sqlite_rows(&city).await.len(), 5);
    // A batch after a hole is as bad.
    let hole = City::provisioned().await;
    hole.broker("amqp://127.0.0.1:1/x");
    waits(&hole.release(0).await, "HL0737");
    hole.broker(&hole.vhost.url());
    let first = hole.waiting(0).await.remove(0);
    hole.release(0).await;
    purge_one(&hole, &first).await;
    for time in ["the first time", "and again: their order has not changed"] {
        let (code, received) = hole.receive(&hole.from(0), 0, &hole.sqlite());
        assert_eq!((code, received["stopped"]["code"].as_str()), (1, Some("HL0740")), "{received}");
        let said = received["stopped"]["message"].as_str().unwrap();
        assert!(said.ends_with("batch 1 is missing; the next one there is 2"), "{time}: {said}");
        assert_eq!(hole.vhost.queued(&hole.feed(0)).await, 4);
    }
}

/// Takes the first message out of the queue, as somebody with a console would.
async fn purge_one(city: &City, expected: &SealedBatch) {
    let channel = city.vhost.link().await.channel().await.unwrap();
    let queue = huiliu::outlet::rabbitmq::queue_of(&city.feed(0));
    channel.basic_qos(1, Default::default()).await.unwrap();
    let consumer = channel.basic_consume(queue.as_str().into(), "".into(), Default::default(), Default::default());
    let first = consumer.await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(first.data, expected.body);
    first.acker.ack(Default::default()).await.unwrap();
    channel.close(200, "done".into()).await.unwrap();
}

#[tokio::test]
async fn a_false_receipt_is_noticed_kept_and_moves_nothing() {
    let city = City::provisioned().await;
    city.release(0).await;
    let (code, _) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!(code, 0);
    let mut engine = city.small.engine().await;
    assert_eq!(engine.read_receipts().await.unwrap().recorded, 5);
    let honest: Json = {
        let kept = engine.store().receipts(&city.feed(0), 1).await.unwrap().remove(0);
        serde_json::from_slice(&kept.receipt).unwrap()
    };
    let edited = |key: &str, value: Json| {
        let mut receipt = honest.clone();
        receipt[key] = value;
        receipt.to_string()
    };
    let (own, other) = (city.from(0), city.from(1));
    let lies = [
        (&other, honest.to_string().replace("2026", "2025"), "sent it, not"),
        (&own, edited("manifest_sha256", json!("0".repeat(64))), "manifest"),
        (&own, edited("body_sha256", json!("0".repeat(64))), "body"),
        (&own, edited("applied", json!({ "records": 2, "upserts": 2, "withdrawals": 0 })), "counts"),
        (&own, edited("held", json!(7)), "holds 7 rows, by our record 5"),
        (&own, edited("seq", json!(99)), "no such batch"),
        (&own, edited("signed", json!(true)), "says that it is signed"),
        (&own, "{\"feed\":\"".to_owned(), "the receipt, line 1"),
    ];
    for (url, receipt, why) in lies {
        publish(url, receipt.as_bytes()).await;
        let report = engine.read_receipts().await.unwrap();
        let told = &report.mismatches[0].why;
        assert!(report.mismatches.len() == 1 && told.contains(why), "{why}: {report:?}");
    }
    let delivery = engine.store().delivery(&city.feed(0)).await.unwrap();
    assert_eq!((delivery.received, delivery.mismatches), (5, 7), "the eighth names no feed");
    assert_eq!(engine.verify_audit(None).await.unwrap().faults, []);
    drop(engine);
    publish(&own, edited("seq", json!(98)).as_bytes()).await;
    let (code, _, err) = huiliu(city.small.path(), &["feed", "receipts", "--once"]);
    assert_eq!(code, 3);
    assert!(err.contains("HL0750") && err.contains(&city.user(0)), "{err}");
}

async fn publish(url: &str, receipt: &[u8]) {
    let address = Address::parse(url, None).unwrap();
    let link = Link::open(&address, PATIENCE).await.unwrap();
    let channel = link.channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    publish_receipt(&link, &channel, "x/1", address.user(), (receipt, None)).await.unwrap();
}

#[tokio::test]
async fn a_signed_receipt_is_verified_and_an_unsigned_one_refused_when_signatures_are_asked_for() {
    let city = City::provisioned().await;
    city.release(0).await;
    let own = city.small.path().join("subscriber");
    dev_ca::signer(&own, Clock::System.now()).unwrap();
    let files = dev_ca::DevCaFiles::below(&own);
    let config = fs::read_to_string(city.path("huiliu.yaml")).unwrap();
    city.small.write("huiliu.yaml", format!("{config}receipt_ca: {}\n", files.root.display()));
    let (trust, feed, to) = (city.path(".huiliu/dev-ca.pem"), city.feed(0), city.sqlite());
    let sign = format!("{},{}", own.join("signing.key").display(), own.join("signing.pem").display());
    let from = city.from(0);
    let args = ["receive", "--from", &from, "--feed", &feed, "--trust", &trust, "--to", &to, "--sign", &sign];
    let (code, out, err) = huiliu(city.small.path(), &args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    // The subscriber's certificate is of today, and so must the clock be.
    let (code, out, err) = huiliu(city.small.path(), &["--json", "feed", "receipts", "--once"]);
    let report: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["recorded"]), (0, &json!(5)), "{out}{err}");
    let mut engine = city.small.engine().await;
    let kept = engine.store().receipts(&feed, 1).await.unwrap().remove(0);
    assert!(kept.signer.is_some() && kept.signature.is_some(), "{:?}", kept.signer);
    let mut unsigned: Json = serde_json::from_slice(&kept.receipt).unwrap();
    unsigned["signed"] = json!(false);
    publish(&city.from(0), unsigned.to_string().as_bytes()).await;
    let report = engine.read_receipts().await.unwrap();
    assert_eq!(report.mismatches[0].why, "it is not signed");
}

/// The subscriber's key never leaves its token (令牌), and the receipt is as good.
#[tokio::test]
async fn a_receipt_signed_on_a_token_is_verified() {
    use crate::seals::tokens::{Token, certified};
    let city = City::provisioned().await;
    city.release(0).await;
    let dir = city.small.path();
    dev_set::make(&dir.join("pki"), Suite::EcdsaP256Sha256, Clock::System.now()).unwrap();
    let config = fs::read_to_string(city.path("huiliu.yaml")).unwrap();
    let token = Token::new(&dir.join("hsm"));
    city.small.write("huiliu.yaml", format!("{config}token_pin: env:TOKEN_PIN\n"));
    certified(dir, &token, "receipts", Suite::EcdsaP256Sha256);
    city.small.write("huiliu.yaml", format!("{config}receipt_ca: {}\n", city.path("pki/ca.pem")));
    let (trust, feed, to, from) = (city.path(".huiliu/dev-ca.pem"), city.feed(0), city.sqlite(), city.from(0));
    let sign = format!("{},{}", token.uri(";object=receipts"), city.path("receipts.pem"));
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .args(["receive", "--from", &from, "--feed", &feed, "--trust", &trust, "--to", &to, "--sign", &sign])
        .env("SOFTHSM2_CONF", token.conf())
        .env("HUILIU_TOKEN_PIN", "1234")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (code, out, err) = huiliu(dir, &["--json", "feed", "receipts", "--once"]);
    let report: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["recorded"]), (0, &json!(5)), "{out}{err}");
    let kept = city.small.engine().await.store().receipts(&feed, 1).await.unwrap().remove(0);
    assert_eq!(kept.signer.as_deref(), Some("C=CN, O=数据局, CN=令牌"));
}

#[tokio::test]
async fn an_alarm_at_the_broker_is_told_at_once_and_delivery_goes_on_after_it() {
    let city = City::provisioned().await;
    let proxy = Proxy::new();
    city.broker(&city.vhost.through(&proxy));
    let mut engine = city.small.engine().await;
    assert_eq!(engine.release(&city.feed(0)).await.unwrap().durable, 5);
    let extracts = [["在营", "注销", "在营", "在营", "在营"], ["在营", "注销", "注销", "在营", "在营"]];
    for (n, why) in ["low on disk", "low on memory"].into_iter().enumerate() {
        proxy.alarm(Some(why));
        city.extract(&format!("QY_{}.csv", n + 2), &extracts[n]);
        city.small.run("qy").await;
        let blocked = eventually(&mut engine, &city.feed(0), |report| report.status == "waiting").await;
        waits(&blocked, "HL0734");
        assert!(blocked.why.unwrap().contains(why));
        proxy.alarm(None);
        let open = eventually(&mut engine, &city.feed(0), |report| report.durable > 0).await;
        assert_eq!(open.durable, 1, "{open:?}");
    }
    let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!((code, counts(&received).0), (0, 7), "{received}");
}

/// Releases until it comes out as expected; panics when that takes too long.
async fn eventually(engine: &mut Engine, feed: &str, expected: impl Fn(&FeedReport) -> bool) -> FeedReport {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..200 {
        tick.tick().await;
        let report = engine.release(feed).await.unwrap();
        if expected(&report) {
            return report;
        }
    }
    panic!("{feed} did not come to that");
}

#[tokio::test]
async fn a_cut_connection_is_made_again_and_a_broker_that_falls_silent_does_not_hang() {
    let city = City::provisioned().await;
    let proxy = Proxy::new();
    let shared = broker(
        &city.vhost.through(&proxy),
        Patience { connect: Duration::from_secs(2), confirm: Duration::from_secs(2) },
    );
    let mut engine = city.small.engine().await.with_broker(Some(shared));
    assert_eq!(engine.release(&city.feed(0)).await.unwrap().durable, 5);
    proxy.cut();
    eventually(&mut engine, &city.feed(1), |report| report.durable == 1).await;
    proxy.hold();
    city.extract("QY_2.csv", &["注销", "注销", "在营", "在营", "在营"]);
    city.small.run("qy").await;
    waits(&engine.release(&city.feed(0)).await.unwrap(), "HL0737");
    let other = engine.release(&city.feed(1)).await.unwrap();
    waits(&other, "HL0737");
    assert!(other.seconds < 1.5, "the next feed need not find out by itself: {other:?}");
    city.small.engine().await.release(&city.feed(0)).await.unwrap();
    let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!((code, counts(&received)), (0, (7, 0, 7)), "{received}");
}

#[tokio::test]
async fn who_listens_gets_what_comes_also_after_the_connection_was_closed() {
    let city = City::provisioned().await;
    city.release(0).await;
    let feeds = [city.feed(0), city.feed(1)];
    let pem = fs::read(city.path(".huiliu/dev-ca.pem")).unwrap();
    let trust = Arc::new(Trust::from_pem(&pem).unwrap().into());
    let address = Address::parse(&city.vhost.url(), None).unwrap();
    let answering = Answering { user: address.user().to_owned(), signer: None, clock: Clock::System };
    let following =
        Following { address: &address, patience: PATIENCE, feeds: &feeds, reader: &trust, answering: &answering };
    // Each register has one table, so the second feed has a database of its own kind: files.
    let mut sink = Target::parse(&format!("csv:{}", city.path("csv"))).unwrap().open(None).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listening = following.follow(sink.as_mut(), async { drop(stopped.await) }, move |received| {
        tell.send((received.feed.clone(), received.through)).unwrap()
    });
    let acting = async {
        while told.recv().await.unwrap() != (feeds[0].clone(), Some(5)) {}
        city.vhost.close_connections().await;
        city.release(1).await;
        while told.recv().await.unwrap() != (feeds[1].clone(), Some(1)) {}
        stop.send(()).unwrap();
    };
    let both = async { tokio::join!(listening, acting).0 };
    let all = tokio::time::timeout(Duration::from_secs(60), Box::pin(both)).await.unwrap();
    assert!(all.iter().all(|received| received.stopped.is_none()), "{all:?}");
    assert_eq!(all.iter().map(|received| received.batches).collect::<Vec<_>>(), [5, 1]);
    assert_eq!(city.vhost.queued(&feeds[0]).await, 0);
}

#[tokio::test]
async fn headers_that_no_frame_holds_are_refused_and_long_ones_pass() {
    let city = City::provisioned().await;
    let long = grant(&city.vhost.subscribers[0], ROWS).replace("资质审查", &"资质审查".repeat(3_000));
    city.small.write(&format!("pipelines/feeds/{}.yaml", city.feed(0)), long);
    city.broker(&format!("{}?frame_max=8192", city.vhost.url()));
    waits(&city.release(0).await, "HL0736");
    city.broker(&city.vhost.url());
    assert_eq!(city.release(0).await.durable, 5, "36 kB of purpose fit the usual frame");
    let (code, received) = city.receive(&city.from(0), 0, &city.sqlite());
    assert_eq!((code, counts(&received)), (0, (5, 0, 5)), "{received}");
}

#[tokio::test]
async fn imported_definitions_are_what_provisioning_makes() {
    let city = City::provisioned().await;
    let passwords = city.path("passwords");
    let (code, out, err) = huiliu(city.small.path(), &["feed", "provision", "--print", "--password-dir", &passwords]);
    assert_eq!((code, err.as_str()), (0, ""));
    let other = Vhost::new().await;
    let printed: Json = serde_json::from_str(&out.replace(&city.vhost.name, &other.name)).unwrap();
    api(Method::POST, &["definitions"], printed).await;
    for kind in ["queues", "exchanges", "bindings", "policies"] {
        let there = async |vhost: &Vhost| {
            let all = api(Method::GET, &["definitions", &vhost.name], Json::Null).await;
            let mut all: Vec<String> =
                all[kind].as_array().unwrap().iter().map(|one| one.to_string().replace(&vhost.name, "")).collect();
            all.sort();
            all
        };
        let made = there(&city.vhost).await;
        assert!(!made.is_empty());
        assert_eq!(there(&other).await, made, "{kind}");
    }
    // The imported hash is that of the password in the file, and the user reads the imported queue.
    let from = other.at(&city.from(0));
    dev_ca::signer(&city.small.path().join(".huiliu"), now()).unwrap();
    let (code, received) = city.receive(&from, 0, &city.sqlite());
    assert_eq!((code, &received["batches"]), (0, &json!(0)), "{received}");
}

#[tokio::test]
async fn provisioning_says_what_it_lacks() {
    let city = City::new().await;
    let (code, out, err) = huiliu(city.small.path(), &["feed", "provision", "--print"]);
    assert!(code == 0 && err.contains("left out, for want of --password-dir"), "{err}");
    assert!(!out.contains("password_hash"));
    let (code, _, err) = huiliu(city.small.path(), &["feed", "provision"]);
    assert!(code == 1 && err.contains("HL0738") && err.contains("--password-dir"), "{err}");
    city.provision(&[&city.feed(0)]);
    let (code, _, err) = huiliu(city.small.path(), &["feed", "provision", &city.feed(0)]);
    assert_eq!((code, err.as_str()), (0, ""), "a user that is there keeps its password");
    assert_eq!(city.release(0).await.durable, 5);
    waits(&city.release(1).await, "HL0732");

    let elsewhere = grant(&city.vhost.subscribers[1], ROWS).replace("rabbitmq", "spool");
    city.small.write(&format!("pipelines/feeds/{}.yaml", city.feed(1)), elsewhere);
    let (code, _, err) = huiliu(city.small.path(), &["feed", "provision", &city.feed(1)]);
    assert!(code == 1 && err.contains("HL0739"), "{err}");
}

/// Another directory, or none of the files: who reads goes on reading, until somebody asks for new passwords.
#[tokio::test]
async fn a_user_that_is_there_keeps_its_password_unless_it_is_reset() {
    let city = City::provisioned().await;
    let (from, other) = (city.from(0), city.path("other"));
    let again = |args: &[&str]| {
        let args = [&["feed", "provision", "--password-dir", &other], args].concat();
        let (code, out, err) = huiliu(city.small.path(), &args);
        assert_eq!(code, 0, "{out}{err}");
        err
    };
    let said = again(&[]);
    assert!(said.contains(&city.user(0)) && said.contains("--reset-passwords"), "{said}");
    assert!(!Path::new(&other).exists(), "nothing that the broker does not know");
    assert_eq!(city.receive(&from, 0, &city.sqlite()).0, 0);
    assert_eq!(again(&[&city.feed(0), "--reset-passwords"]), "");
    let refused = city.receive(&from, 0, &city.sqlite());
    assert!(refused.0 == 1 && refused.1.to_string().contains("HL0735"), "{refused:?}");
    let text = fs::read_to_string(format!("{other}/{}.password", city.user(0))).unwrap();
    assert_eq!(city.receive(&city.vhost.url_of(&city.user(0), text.trim()), 0, &city.sqlite()).0, 0);
    assert_eq!(city.receive(&city.from(1), 1, &city.sqlite()).0, 0, "the other subscriber's stays");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
}

#[tokio::test]
async fn limits_stay_until_somebody_asks_for_others_and_a_feed_may_have_its_own() {
    let city = City::provisioned().await;
    let definition = async |policy: &str| {
        let told = api(Method::GET, &["policies", &city.vhost.name, policy], Json::Null).await;
        (told["definition"]["max-length"].clone(), told["definition"]["max-length-bytes"].clone())
    };
    let own = format!("huiliu.limits.{}", city.feed(0));
    city.provision(&["--max-batches", "7"]);
    city.provision(&[]);
    assert_eq!(definition("huiliu.limits").await, (json!(7), json!(8_u64 << 30)));
    city.provision(&[&city.feed(0), "--max-bytes", "1GiB"]);
    city.provision(&[&city.feed(0)]);
    city.provision(&["--max-batches", "9"]);
    assert_eq!(definition(&own).await, (json!(7), json!(1 << 30)));
    assert_eq!(definition("huiliu.limits").await, (json!(9), json!(8_u64 << 30)));
    for none in ["--max-batches", "--max-bytes"] {
        let (code, _, err) = huiliu(city.small.path(), &["feed", "provision", none, "0"]);
        assert!(code == 2 && err.contains(none), "{err}");
    }
}

#[tokio::test]
async fn what_somebody_rejects_for_good_is_kept_with_the_dead_letters() {
    let city = City::provisioned().await;
    city.release(1).await;
    let channel = city.vhost.link().await.channel().await.unwrap();
    let queue = huiliu::outlet::rabbitmq::queue_of(&city.feed(1));
    let mut consumer =
        channel.basic_consume(queue.as_str().into(), "".into(), Default::default(), Default::default()).await.unwrap();
    let delivery = consumer.next().await.unwrap().unwrap();
    let sent = delivery.data.clone();
    delivery.acker.reject(Default::default()).await.unwrap();
    let dead = huiliu::outlet::rabbitmq::dead_queue_of(&city.feed(1));
    let mut consumer =
        channel.basic_consume(dead.as_str().into(), "".into(), Default::default(), Default::default()).await.unwrap();
    let kept = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(kept.data, sent);
    assert!(huiliu::outlet::rabbitmq::parts(&kept.properties).is_some(), "with manifest and signature");
}

#[tokio::test]
async fn a_second_receiver_takes_over_in_order_when_the_first_is_gone() {
    let city = City::provisioned().await;
    city.release(0).await;
    let (link, feed) = (city.vhost.link().await, city.feed(0));
    let answering = Answering { user: "huiliu".into(), signer: None, clock: Clock::System };
    let mut first = QueuedFeed::open(link.clone(), &feed, answering.clone()).await.unwrap();
    first.ready().await.unwrap();
    let mut second = QueuedFeed::open(link, &feed, answering).await.unwrap();
    let trust = Arc::new(Trust::from_pem(&fs::read(city.path(".huiliu/dev-ca.pem")).unwrap()).unwrap().into());
    let mut sink = Target::parse(&city.sqlite()).unwrap().open(None).await.unwrap();
    let idle = receive_feed(&mut second, &feed, &trust, sink.as_mut(), Clock::System).await;
    assert_eq!((idle.batches, idle.stopped), (0, None), "the first has them all");
    drop(first);
    tokio::time::timeout(Duration::from_secs(20), second.ready()).await.unwrap().unwrap();
    let all = receive_feed(&mut second, &feed, &trust, sink.as_mut(), Clock::System).await;
    assert_eq!((all.batches, all.again, all.stopped), (5, 0, None));
}
