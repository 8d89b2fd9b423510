//! Three nights of a small city — a first extract, a second one that lost rows and changed some, a backfill — each verb a
//! process that may be told to die, and everything that is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};

use huiliu::batch::{Record, read_body};
use huiliu::crypto::DigestAlgorithm;
use huiliu::engine::Engine;
use huiliu::store::ChunkCounts;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::runs::valid_code;
use crate::support::broker::Vhost;
use crate::support::services::{Database, service};
use crate::support::{FEED, Small, registers};

/// `SIGABRT`: how a process ends that dies at a failpoint.
const ABORTED: i32 = 6;

/// RabbitMQ between the bus and a subscriber with a PostgreSQL table.
pub struct Servers {
    vhost: Vhost,
    target: Database,
}

impl Servers {
    /// A virtual host and a database of their own.
    pub async fn new() -> Self {
        Self { vhost: Vhost::new().await, target: Database::new().await }
    }
}

/// A workspace whose verbs are processes.
pub struct Scene<'a> {
    small: &'a Small,
    servers: Option<&'a Servers>,
    store: Option<String>,
    rows: u64,
    nights: u64,
}

/// Where a process is to die: the boundary as `FAILPOINTS` names it, the verb, and how often it passes before.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    /// Boundary.
    pub at: &'static str,
    /// First word of the verb.
    pub during: &'static str,
    /// So many times it lives through it.
    pub after: u32,
}

/// Everything that counts, after the last night.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    registers: Vec<String>,
    ledger: BTreeMap<String, ChunkCounts>,
    /// Number, kind and records of every batch. Its bytes name the feed, which differs from scene to scene.
    batches: Vec<(i64, String, Vec<String>)>,
    /// The subscriber's rows.
    received: Vec<String>,
    /// Batches that the subscriber has answered.
    receipts: BTreeSet<i64>,
}

impl<'a> Scene<'a> {
    /// Over an empty workspace: so many nights, with extracts of so many rows.
    pub async fn new(small: &'a Small, servers: Option<&'a Servers>, (nights, rows): (u64, u64)) -> Self {
        let store = small.database().await;
        let mut installation = String::from("version: 1\nname: test\n");
        let mut grant = FEED.replace("records: 3", &format!("records: {}", rows / 3 + 1));
        if let (Some(servers), Some(store)) = (servers, &store) {
            let (broker, api) = (servers.vhost.url(), service("RABBITMQ_API"));
            installation.push_str(&format!("store: {store}\nbroker: {broker}\nbroker_api: {api}\n"));
            grant = grant.replace("outlet: spool", "outlet: rabbitmq").replace("housing", servers.subscriber());
            fs::remove_file(small.path().join("pipelines/feeds/housing.enterprise.yaml")).unwrap();
        }
        let scene = Self { small, servers, store, rows, nights };
        small.write("huiliu.yaml", installation);
        small.write(&format!("pipelines/feeds/{}.yaml", scene.feed()), grant);
        scene
    }

    /// Plays all nights; how often a process died.
    pub async fn play(&self, crash: Option<Crash>) -> usize {
        let mut crash = crash;
        let mut crashes = 0;
        for night in 0..self.nights {
            self.deliver(night);
            for verb in self.verbs(night) {
                let armed = crash.filter(|crash| verb[0] == crash.during);
                let ended = self.huiliu(&verb, armed);
                if ended.status.signal() == Some(ABORTED) {
                    crash = None; // it dies once
                    crashes += 1;
                    self.end_leases().await;
                    let again = if verb[0] == "backfill" { words("backfill resume 1") } else { verb };
                    good(&again, &self.huiliu(&again, None));
                } else {
                    good(&verb, &ended);
                }
            }
        }
        let doctor = words("doctor");
        good(&doctor, &self.huiliu(&doctor, None));
        crashes
    }

    /// What the departments have put out by this night.
    fn deliver(&self, night: u64) {
        let qy = |name: &str, from: u64, changed: u64| {
            let mut text = String::from("代码,名称,注册号,资本,状态,更新\n");
            for n in from..self.rows {
                let status = if n < changed { "注销" } else { "在营" };
                text.push_str(&format!("{},企业{n},,100万元,{status},2026-10-01 00:00:00\n", valid_code(n)));
            }
            self.small.write(&format!("out/gs/{name}"), text);
        };
        match night {
            0 => qy("QY_1.csv", 0, 0),
            1 => qy("QY_2.csv", self.rows / 10, self.rows / 5),
            _ => {
                let mut text = String::from("识别号,登记号,名称,电话,更新\n");
                for n in 0..self.rows {
                    let code = valid_code(self.rows / 2 + n);
                    text.push_str(&format!("{code},,纳税人{n},,2026-01-01 00:00:00\n"));
                }
                self.small.write("out/tax/archive/NSR_20260101.csv", text);
            }
        }
    }

    fn verbs(&self, night: u64) -> Vec<Vec<String>> {
        let mut verbs = Vec::new();
        if night == 0 && self.servers.is_some() {
            let passwords = self.path("passwords");
            verbs.push([words("feed provision --password-dir"), vec![passwords]].concat());
        }
        if night == 2 {
            let chunk = format!("{}", self.rows / 2 + 1);
            verbs.push([words("backfill start nsr --files archive/*.csv --chunk"), vec![chunk]].concat());
        }
        verbs.push(words("run"));
        verbs.push(self.receive());
        if self.servers.is_some() {
            verbs.push(words("feed receipts --once"));
        }
        verbs
    }

    fn receive(&self) -> Vec<String> {
        let (from, to) = match self.servers {
            None => (format!("spool:{}", self.path(".huiliu/spool")), format!("sqlite:{}", self.path("out.db"))),
            Some(servers) => (servers.vhost.url(), servers.target.url()),
        };
        let (feed, trust) = (self.feed(), self.path(".huiliu/dev-ca.pem"));
        ["receive", "--feed", &feed, "--trust", &trust, "--from", &from, "--to", &to].map(str::to_owned).to_vec()
    }

    fn huiliu(&self, verb: &[String], crash: Option<Crash>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huiliu"));
        command.env("HUILIU_LOG", "error").arg("--dir").arg(self.small.path()).args(verb);
        if let Some(Crash { at, after, .. }) = crash {
            let lives = if after == 0 { String::new() } else { format!("{after}*off->") };
            command.env("FAILPOINTS", format!("{at}={lives}return"));
        }
        command.output().unwrap()
    }

    /// The leases of the dead end at once, and not after half a minute.
    async fn end_leases(&self) {
        let sql = "update lease set until = 0";
        match &self.store {
            None => {
                let path = self.path(".huiliu/huiliu.db");
                let mut connection = SqliteConnection::connect(&path).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
            }
            Some(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query("update huiliu.lease set until = 0").execute(&mut connection).await.unwrap();
            }
        }
    }

    /// What is there now.
    pub async fn told(&self) -> Told {
        let mut engine = self.small.engine().await;
        let mut told = Told { registers: registers(&mut engine).await, ..Told::default() };
        for line in engine.store().ledger(None).await.unwrap() {
            assert!(line.counts.balanced(), "{line:?}");
            told.ledger.entry(line.pipeline).or_default().add(&line.counts);
        }
        self.tell_batches(&mut engine, &mut told).await;
        told.received = self.received().await;
        told
    }

    async fn tell_batches(&self, engine: &mut Engine, told: &mut Told) {
        let feed = self.feed();
        assert!(engine.store().undelivered(&feed, 1).await.unwrap().is_empty(), "something waits");
        for batch in engine.store().batches_from(&feed, 1, 1_000).await.unwrap() {
            let (_, records) = read_body(&batch.body, DigestAlgorithm::Sha256).unwrap();
            let said =
                |record: &Record| format!("{} {:?} {:?} {:?}", record.id, record.op, record.version, record.values);
            told.batches.push((batch.seq, batch.kind, records.iter().map(said).collect()));
            if self.servers.is_none() {
                let file = self.path(&format!(".huiliu/spool/{feed}/{:012}.avro", batch.seq));
                assert!(fs::read(file).unwrap() == batch.body, "batch {} in the spool is another one", batch.seq);
            }
        }
        for receipt in engine.store().receipts(&feed, 1_000).await.unwrap() {
            assert_eq!(receipt.mismatch, None, "batch {}", receipt.seq);
            told.receipts.insert(receipt.seq);
        }
    }

    async fn received(&self) -> Vec<String> {
        let sql = "select uscc || '|' || name || '|' || status from enterprise order by uscc";
        match self.servers {
            None => {
                let mut connection = SqliteConnection::connect(&self.path("out.db")).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
            Some(servers) => {
                let mut connection = PgConnection::connect(&servers.target.url()).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
        }
    }

    fn feed(&self) -> String {
        let subscriber = self.servers.map_or("housing", Servers::subscriber);
        format!("{subscriber}.enterprise")
    }

    fn path(&self, name: &str) -> String {
        self.small.path().join(name).display().to_string()
    }
}

impl Servers {
    fn subscriber(&self) -> &str {
        &self.vhost.subscribers[0]
    }
}

impl Told {
    /// Says which part differs, not all of both.
    pub fn must_equal(&self, other: &Self, what: &str) {
        assert!(!self.registers.is_empty() && !self.received.is_empty() && self.batches.len() > 2, "{what}");
        let pairs = self.registers.iter().zip(&other.registers);
        let differs = pairs.filter(|(a, b)| a != b).map(|(a, b)| format!("{a}\n{b}")).next();
        assert_eq!(differs, None, "{what}: registers differ");
        assert_eq!(self.registers.len(), other.registers.len(), "{what}: registers differ");
        assert_eq!(self.ledger, other.ledger, "{what}");
        let differs = self.batches.iter().zip(&other.batches).find(|(a, b)| a != b);
        assert_eq!((differs, self.batches.len()), (None, other.batches.len()), "{what}");
        assert!(self.received == other.received, "{what}: the subscriber's tables differ");
        assert_eq!(self.receipts, other.receipts, "{what}");
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn good(verb: &[String], ended: &Output) {
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{verb:?} {:?}\n{}{said}", ended.status, String::from_utf8_lossy(&ended.stdout));
}
