//! A small workspace on disk, and an engine over it with a frozen clock.

pub mod broker;
pub mod daemon;
pub mod proxy;
pub mod services;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::array::AsArray as _;
use chrono::{DateTime, Utc};
use huiliu::clock::Clock;
use huiliu::config::Workspace;
use huiliu::crypto::KeyRing;
use huiliu::demo::{self, Services};
use huiliu::engine::{Engine, FeedReport, RunOptions, RunReport};
use huiliu::store::at_rest::{self, AtRestStore};
use huiliu::store::postgres::PostgresStore;
use huiliu::store::sqlite::SqliteStore;
use huiliu::store::{Store, StoreError};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use self::services::Database;

/// The moment at which every test happens: 2026-11-21 16:30 in Qingdao.
pub const NOW: &str = "2026-11-21T08:30:00Z";

/// The project's own definitions in a directory of their own.
pub fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in demo::definitions() {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// The demo city's definitions in a workspace, and its services for as long as the value lives.
pub fn settle_city(small: &Small) -> Services {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (path, text) in demo::definitions_at(listener.local_addr().unwrap()) {
        small.write(path, text);
    }
    Services::start(listener, &small.path().join("outbox")).unwrap()
}

/// The seal registry (电子印章) as a drop of files, under the contract of the demo city's service.
pub fn seals_as_files(small: &Small) {
    let (_, service) = demo::definitions().iter().find(|(path, _)| *path == "connectors/e-seal.yaml").unwrap();
    let (_, columns) = service.split_once("    columns:\n").unwrap();
    let files = "version: 1\ndepartment: 大数据发展管理局\nsource: { kind: files, root: outbox/e-seal }\ndatasets:\n  seal:\n    \
                 path: YZ_*.json\n    format: { kind: json, records: data.list }\n    key: [esID]\n    updated: gxsj\n    \
                 extract: append\n    columns:\n";
    small.write("connectors/e-seal.yaml", format!("{files}{columns}"));
}

/// An engine over a workspace directory, with a frozen clock.
pub async fn engine_over(dir: &Path) -> Engine {
    let workspace = Workspace::load(dir).unwrap_or_else(|problems| panic!("{}", huiliu::error::render(&problems)));
    fs::create_dir_all(dir.join(".huiliu")).unwrap();
    let store = SqliteStore::open(&dir.join(".huiliu/huiliu.db")).await.unwrap();
    Engine::new(workspace, Box::new(store), Clock::Frozen(now())).await.unwrap()
}

/// A reference to this secret, which stands in a file.
pub fn secret(text: &str) -> String {
    static SECRETS: std::sync::LazyLock<TempDir> = std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    let path = SECRETS.path().join(text);
    fs::write(&path, text).unwrap();
    format!("\"file:{}\"", path.display())
}

/// A workspace in a directory of its own.
pub struct Small {
    dir: TempDir,
    /// Made when the first engine asks for it; `None` is SQLite.
    database: Option<OnceCell<Database>>,
    /// Whether its store is encrypted at rest, under [`MASTER`].
    at_rest: bool,
}

/// A master key.
pub const MASTER: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// Keys of nobody, for master keys that are on no token.
pub fn ring() -> KeyRing {
    KeyRing::below(Path::new("."))
}

/// A store that is encrypted at rest under a master key.
pub async fn encrypted(store: Box<dyn Store>, master: &str) -> Result<Box<dyn Store>, StoreError> {
    let master = at_rest::master(master, &ring()).unwrap();
    Ok(Box::new(AtRestStore::open(store, master.as_ref(), now().timestamp_micros()).await?))
}

/// The same, with its store encrypted at rest.
pub struct AtRest(Small);

impl AtRest {
    /// As [`Small::new`].
    pub fn new() -> Self {
        Self(Small { at_rest: true, ..Small::new() })
    }

    /// As [`Small::empty`].
    pub fn empty() -> Self {
        Self(Small { at_rest: true, ..Small::empty() })
    }
}

impl std::ops::Deref for AtRest {
    type Target = Small;

    fn deref(&self) -> &Small {
        &self.0
    }
}

/// The same, with its registers in a PostgreSQL database of its own.
pub struct OnPostgres(Small);

impl OnPostgres {
    /// As [`Small::new`].
    pub fn new() -> Self {
        Self(Small { database: Some(OnceCell::new()), ..Small::new() })
    }

    /// As [`Small::empty`].
    pub fn empty() -> Self {
        Self(Small { database: Some(OnceCell::new()), ..Small::empty() })
    }

    /// As [`Small::new`], in this database.
    pub fn on(database: Database) -> Self {
        Self(Small { database: Some(OnceCell::new_with(Some(database))), ..Small::new() })
    }
}

impl std::ops::Deref for OnPostgres {
    type Target = Small;

    fn deref(&self) -> &Small {
        &self.0
    }
}

/// Connector `gs` (工商) with one full-extract dataset, register `enterprise`, one pipeline, one feed.
const FILES: &[(&str, &str)] = &[
    (
        "connectors/gs.yaml",
        "version: 1
department: 市场监督管理局
source: { kind: files, root: out/gs }
datasets:
  qy:
    path: QY_*.csv
    format: { kind: csv, encoding: auto }
    key: [代码]
    updated: 更新
    extract: full
    missing: { retract: true, hold_above: 50% }
    columns:
      代码: { type: text, required: true }
      名称: text
      注册号: text
      资本: text
      状态: text
      更新: text
    drift: { new_column: approve, lost_column: freeze }
",
    ),
    (
        "connectors/tax.yaml",
        "version: 1
department: 税务局
source: { kind: files, root: out/tax }
datasets:
  nsr:
    path: NSR_*.csv
    format: { kind: csv, encoding: auto }
    key: [识别号, 登记号]
    updated: 更新
    extract: append
    missing: { retract: false, hold_above: 50% }
    columns:
      识别号: text
      登记号: text
      名称: text
      电话: text
      更新: text
    drift: { new_column: approve, lost_column: freeze }
",
    ),
    (
        "mappings/registers/enterprise.yaml",
        "version: 1
title: 企业基础信息库
steward: 市场监督管理局
keys: [uscc, registration_no]
fields:
  uscc: { title: 统一社会信用代码, type: text, share: unconditional, level: 1, from: [gs, tax] }
  registration_no: { title: 注册号, type: text, share: unconditional, level: 1, from: [gs, tax] }
  name: { title: 名称, type: text, share: unconditional, level: 1, from: [gs, tax] }
  capital: { title: 注册资本, type: decimal, share: unconditional, level: 1, from: [gs] }
  status: { title: 状态, type: text, share: unconditional, level: 1, from: [gs] }
  phone: { title: 电话, type: text, share: conditional, level: 2, condition: 履行职责, basis: 管理办法, from: [tax] }
",
    ),
    (
        "mappings/gs/qy.enterprise.sql",
        "select
    uscc(代码) as uscc,
    or_null(registration_no(注册号)) as registration_no,
    org_name(名称) as name,
    cn_amount(资本, '万元') as capital,
    状态 as status
from source
where 状态 <> '草稿'
",
    ),
    (
        "mappings/tax/nsr.enterprise.sql",
        "select
    or_null(uscc(识别号)) as uscc,
    or_null(registration_no(登记号)) as registration_no,
    org_name(名称) as name,
    or_null(phone(电话)) as phone
from source
",
    ),
    ("pipelines/qy.yaml", "version: 1\nfrom: gs.qy\ninto: [enterprise]\nlimit: { quarantine: 60% }\n"),
    ("pipelines/nsr.yaml", "version: 1\nfrom: tax.nsr\ninto: [enterprise]\nlimit: { quarantine: 60% }\n"),
    ("pipelines/feeds/housing.enterprise.yaml", FEED),
];

/// The feed's file as it starts.
pub const FEED: &str = "version: 1
subscriber: housing
register: enterprise
purpose: 资质审查
basis: 条例第三十二条
approved: { by: 数据资源处, on: 2026-03-01, number: 17号 }
valid: { from: 2026-03-01, until: 2027-02-28 }
fields: [uscc, name, status]
rows: status = '在营'
delivery: { outlet: spool, every: 1m, batch: { records: 3, bytes: 4MiB } }
";

/// Valid codes: `(代码, 注册号)`.
pub const CODES: [&str; 6] = [
    "91370283706488757F",
    "91370203163787952M",
    "913702027137145218",
    "92370282MA3F5YFNX6",
    "91370211MA3D28XC5X",
    "913702816143010787",
];

impl Small {
    /// With no files.
    pub fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), database: None, at_rest: false }
    }

    /// With all files as they start.
    pub fn new() -> Self {
        let small = Self::empty();
        for (path, text) in FILES {
            small.write(path, text);
        }
        for dir in ["out/gs", "out/tax"] {
            fs::create_dir_all(small.path().join(dir)).unwrap();
        }
        small
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, with a modification time long past so that it counts as settled.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
    }

    /// An extract of `gs.qy`: rows of (代码, 名称, 注册号, 资本, 状态, 更新).
    pub fn extract(&self, name: &str, rows: &[[&str; 6]]) {
        let mut text = String::from("代码,名称,注册号,资本,状态,更新\r\n");
        for row in rows {
            text.push_str(&row.join(","));
            text.push_str("\r\n");
        }
        self.write(&format!("out/gs/{name}"), text);
    }

    /// A delivery of `tax.nsr`: rows of (识别号, 登记号, 名称, 电话, 更新).
    pub fn taxpayers(&self, name: &str, rows: &[[&str; 5]]) {
        let mut text = String::from("识别号,登记号,名称,电话,更新\n");
        for row in rows {
            text.push_str(&row.join(","));
            text.push('\n');
        }
        self.write(&format!("out/tax/{name}"), text);
    }

    /// The bodies of a feed's batches in the spool, oldest first.
    pub fn bodies(&self, feed: &str) -> Vec<Vec<u8>> {
        let files = fs::read_dir(self.path().join(".huiliu/spool").join(feed)).unwrap();
        let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "avro"));
        files.sort();
        files.into_iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// A fresh engine over the workspace as it is now.
    pub async fn engine(&self) -> Engine {
        self.try_engine().await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The same at another time.
    pub async fn engine_at(&self, at: DateTime<Utc>) -> Engine {
        self.open_at(at).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// As [`Self::engine`], for stores that refuse.
    pub async fn try_engine(&self) -> Result<Engine, huiliu::engine::EngineError> {
        self.open_at(now()).await
    }

    async fn open_at(&self, at: DateTime<Utc>) -> Result<Engine, huiliu::engine::EngineError> {
        let workspace = Workspace::load(self.path()).unwrap_or_else(|problems| {
            panic!("{}", huiliu::error::render(&problems));
        });
        fs::create_dir_all(self.path().join(".huiliu")).unwrap();
        let store: Box<dyn Store> = match &self.database {
            None => Box::new(SqliteStore::open(&self.path().join(".huiliu/huiliu.db")).await.unwrap()),
            Some(database) => {
                let database = database.get_or_init(Database::new).await;
                Box::new(PostgresStore::open(&database.url(), "test").await?)
            }
        };
        let store = if self.at_rest { encrypted(store, MASTER).await? } else { store };
        Engine::new(workspace, store, Clock::Frozen(at)).await
    }

    /// Where its registers are, as `huiliu.yaml` says it; `None` is SQLite.
    pub async fn database(&self) -> Option<String> {
        Some(self.database.as_ref()?.get_or_init(Database::new).await.url())
    }

    /// Runs SQL on its database, as somebody would who has no business there; how many rows that changed.
    pub async fn sql(&self, sql: &str) -> u64 {
        use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
        let Some(database) = self.database().await else {
            let url = format!("sqlite:{}", self.path().join(".huiliu/huiliu.db").display());
            let mut conn = SqliteConnection::connect(&url).await.unwrap();
            return sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap().rows_affected();
        };
        let mut conn = PgConnection::connect(&database).await.unwrap();
        conn.execute("set search_path = huiliu").await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap().rows_affected()
    }

    /// One pass of a pipeline.
    pub async fn run(&self, pipeline: &str) -> RunReport {
        self.engine().await.run(pipeline, &RunOptions::default()).await.unwrap()
    }

    /// One pass of the feed.
    pub async fn release(&self) -> FeedReport {
        self.engine().await.release("housing.enterprise").await.unwrap()
    }
}

/// [`NOW`] as an instant.
pub fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

/// One register line of a report as `read/filtered/quarantined/new/changed/unchanged/superseded/retracted`.
pub fn line(report: &RunReport) -> String {
    let c = &report.registers[0].counts;
    assert!(report.registers[0].balanced, "{report:?}");
    format!(
        "{} {}/{}/{}/{}/{}/{}/{}/{}",
        report.status, c.read, c.filtered, c.quarantined, c.new, c.changed, c.unchanged, c.superseded, c.retracted
    )
}

/// Everything that every register holds, in id order: rows and versions, keys, claims and what they were read from,
/// without the runs that wrote them.
pub async fn registers(engine: &mut Engine) -> Vec<String> {
    let names: Vec<String> = engine.workspace().registers.keys().cloned().collect();
    let mut all = Vec::new();
    for register in names {
        let mut after = 0;
        loop {
            let page = engine.store().claimed_entities(&register, after, 2_048).await.unwrap();
            let Some(&last) = page.last() else { break };
            after = last;
            let held = engine.store().before(&register, &page).await.unwrap();
            for id in page {
                let entity = &held[&id];
                let said =
                    entity.claims.iter().map(|c| (c.id, &c.key, c.occurrence, c.updated, &c.values, c.origin.row));
                let said: Vec<_> = said.collect();
                all.push(format!("{register} {id} {:?} {:?} {said:?}", entity.row, entity.keys));
            }
        }
    }
    all
}

/// Names of the register `enterprise` by code.
pub async fn enterprises(small: &Small) -> BTreeMap<String, String> {
    let page =
        small.engine().await.store().entities_after("enterprise", &["uscc", "name"], 0, 1_000_000).await.unwrap();
    let column = |n: usize| page.rows.column(n).as_string::<i32>().iter().map(|cell| cell.unwrap_or("").to_owned());
    column(0).zip(column(1)).collect()
}
