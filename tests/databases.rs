//! Departments' databases: the same extracts from PostgreSQL, MariaDB and SQLite, by our own drivers and by ODBC, and what
//! goes wrong with them.

use huiliu::config::Workspace;
use huiliu::decode::Position;
use huiliu::engine::{BackfillStep, Chunking, FilesRequest, RunOptions, RunReport};
use huiliu::source::{self, Item, KeyedTable, Source};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection, SqliteConnection};

use super::support::services::{Database, service, unique};
use super::support::{CODES, Small, line, secret};

/// A department's server with a database of ours.
pub enum Office {
    Postgres(Database),
    MariaDb(String),
    Sqlite(std::path::PathBuf),
    /// One of the others, reached by ODBC.
    #[cfg(feature = "odbc")]
    Odbc(Box<Office>),
}

impl Office {
    /// One of every kind; SQLite lies in the workspace.
    pub async fn all(small: impl Fn() -> Small) -> Vec<(Small, Self)> {
        let all = Self::native(&small).await;
        #[cfg(feature = "odbc")]
        let all = {
            // Debian's driver for SQLite does not know Unicode: it is refused, see `odbc`.
            let mut by_odbc = Self::native(&small).await;
            by_odbc.retain(|(_, office)| !office.is_sqlite());
            let by_odbc = by_odbc.into_iter().map(|(small, office)| (small, Self::Odbc(Box::new(office))));
            all.into_iter().chain(by_odbc).collect()
        };
        all
    }

    async fn native(small: &impl Fn() -> Small) -> Vec<(Small, Self)> {
        let local = small();
        let file = Self::Sqlite(local.path().join("front.db"));
        vec![(small(), Self::Postgres(Database::new().await)), (small(), Self::mariadb().await), (local, file)]
    }

    /// A database of MariaDB.
    pub async fn mariadb() -> Self {
        let name = unique("t");
        let mut conn = MySqlConnection::connect(&service("MARIADB")).await.unwrap();
        conn.execute(AssertSqlSafe(format!("create database {name} character set utf8mb4"))).await.unwrap();
        Self::MariaDb(name)
    }

    /// The database itself, however it is reached.
    fn server(&self) -> &Self {
        #[cfg(feature = "odbc")]
        if let Self::Odbc(server) = self {
            return server;
        }
        self
    }

    pub async fn sql(&self, text: &str) {
        let text = AssertSqlSafe(text.to_owned());
        match self.server() {
            Self::Postgres(database) => {
                let mut conn = PgConnection::connect(&database.url()).await.unwrap();
                sqlx::raw_sql(text).execute(&mut conn).await.unwrap();
            }
            Self::MariaDb(name) => {
                let mut conn = MySqlConnection::connect(&service("MARIADB")).await.unwrap();
                conn.execute(AssertSqlSafe(format!("use {name}"))).await.unwrap();
                sqlx::raw_sql(text).execute(&mut conn).await.unwrap();
            }
            Self::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql(text).execute(&mut conn).await.unwrap();
            }
            #[cfg(feature = "odbc")]
            Self::Odbc(_) => unreachable!(),
        }
    }

    /// `source:` of a connector.
    pub fn source(&self, more: &str) -> String {
        let url = match self {
            #[cfg(feature = "odbc")]
            Self::Odbc(server) => return super::odbc::source(server, more),
            Self::Postgres(database) => database.url().replace("huiliu:huiliu@", ""),
            Self::MariaDb(name) => {
                let url = service("MARIADB").replace("huiliu:huiliu@", "");
                format!("{}/{name}", url.rsplit_once('/').unwrap().0)
            }
            Self::Sqlite(_) => return format!("{{ kind: database, url: \"sqlite:front.db\"{more} }}"),
        };
        format!("{{ kind: database, url: \"{url}\", user: huiliu, password: {}{more} }}", secret("huiliu"))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::MariaDb(_) => "mariadb",
            Self::Sqlite(_) => "sqlite",
            #[cfg(feature = "odbc")]
            Self::Odbc(server) => match **server {
                Self::Postgres(_) => "odbc postgres",
                _ => "odbc mariadb",
            },
        }
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.server(), Self::Sqlite(_))
    }
}

/// Connector `gs` over this table; `dataset` are the lines of its dataset that differ.
pub fn connect(small: &Small, source: &str, dataset: &str) {
    let text = format!(
        "version: 1
department: 市场监督管理局
source: {source}
datasets:
  qy:
    key: [代码]
    updated: 更新
{dataset}
    columns: {{ 代码: text, 名称: text, 注册号: text, 资本: text, 状态: text, 更新: text }}
"
    );
    small.write("connectors/gs.yaml", text);
}

pub const TABLE: &str = "create table qy (代码 varchar(18) primary key, 名称 varchar(100), 注册号 varchar(20), \
                     资本 varchar(20), 状态 varchar(10), 更新 timestamp(6) null)";

pub fn insert(code: &str, name: &str, at: &str) -> String {
    format!("insert into qy values ('{code}', '{name}', null, '100万元', '在营', '{at}');")
}

pub async fn names(small: &Small) -> Vec<String> {
    let mut engine = small.engine().await;
    let mut names = Vec::new();
    for entity in engine.store().find("enterprise", "name", "企业", 100).await.unwrap() {
        names.extend(entity.fields.iter().find(|(name, ..)| name == "name").and_then(|(_, value, _)| value.clone()));
    }
    names.sort();
    names
}

pub async fn failure(small: &Small) -> String {
    match small.engine().await.run("qy", &RunOptions::default()).await {
        Err(error) => error.to_string(),
        Ok(RunReport { why, status, .. }) => format!("{status}: {}", why.unwrap_or_default()),
    }
}

#[tokio::test]
async fn a_whole_table_is_compared_with_what_is_known() {
    for (small, office) in Office::all(Small::new).await {
        office.sql(TABLE).await;
        connect(
            &small,
            &office.source(""),
            "    table: qy\n    page: 2\n    extract: full\n    missing: { hold_above: 60% }",
        );
        for (i, code) in CODES.iter().enumerate() {
            office.sql(&insert(code, &format!("企业{i}"), "2026-10-01 00:00:00")).await;
        }
        office.sql(&insert("91370283706488757X", "坏码", "2026-10-01 00:00:00")).await;
        assert_eq!(line(&small.run("qy").await), "succeeded 7/0/1/6/0/0/0/0", "{}", office.name());

        office.sql(&format!("update qy set 名称 = '企业新' where 代码 = '{}'", CODES[1])).await;
        office.sql(&format!("delete from qy where 代码 = '{}'", CODES[2])).await;
        let second = small.run("qy").await;
        assert_eq!(line(&second), "succeeded 6/0/1/0/1/4/0/1", "{}", office.name());
        assert_eq!(second.files[0].name, "qy #2");
        assert_eq!(names(&small).await, ["企业0", "企业3", "企业4", "企业5", "企业新"]);
    }
}

#[tokio::test]
async fn a_cursor_takes_what_changed_and_loses_no_equal_times() {
    for (small, office) in Office::all(Small::new).await {
        office.sql(TABLE).await;
        connect(&small, &office.source(""), "    table: qy\n    page: 2\n    extract: { cursor: 更新 }");
        for (i, code) in CODES[..5].iter().enumerate() {
            office.sql(&insert(code, &format!("企业{i}"), "2026-10-01 00:00:00.25")).await;
        }
        assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/5/0/0/0/0", "{}", office.name());
        assert!(small.run("qy").await.files.is_empty(), "nothing is new");

        // The same instant as the last row taken, and a key after it.
        office.sql(&insert("9Z", "企业Z", "2026-10-01 00:00:00.25")).await;
        office
            .sql(&format!("update qy set 名称 = '企业新', 更新 = '2026-10-02 00:00:00' where 代码 = '{}'", CODES[1]))
            .await;
        assert_eq!(line(&small.run("qy").await), "succeeded 2/0/1/0/1/0/0/0", "{}", office.name());
        assert_eq!(names(&small).await, ["企业0", "企业2", "企业3", "企业4", "企业新"]);

        office.sql("update qy set 更新 = '2026-09-01 00:00:00'").await;
        let why = failure(&small).await;
        assert!(why.contains("HL0334"), "{}: {why}", office.name());
    }
}

#[tokio::test]
async fn rows_younger_than_the_lag_wait() {
    for (small, office) in Office::all(Small::new).await {
        office.sql(TABLE).await;
        connect(&small, &office.source(""), "    table: qy\n    extract: { cursor: 更新, lag: 1h }");
        office.sql(&insert(CODES[0], "企业0", "2026-10-01 00:00:00")).await;
        let now = if office.is_sqlite() { "datetime('now', 'localtime')" } else { "now()" };
        office.sql(&format!("insert into qy values ('{}', '企业1', null, '1', '在营', {now})", CODES[1])).await;
        assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/1/0/0/0/0", "{}", office.name());
        office.sql(&format!("update qy set 更新 = '2026-10-02 00:00:00' where 代码 = '{}'", CODES[1])).await;
        assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/1/0/0/0/0", "{}", office.name());
    }
}

const EXCHANGE: &str = "create table qy_exchange (row_guid varchar(36) primary key, 代码 varchar(18), 名称 varchar(100), \
                        注册号 varchar(20), 资本 varchar(20), 状态 varchar(10), 更新 varchar(30), 增删改标志 varchar(1), \
                        交换开关 int default 0)";

fn connect_exchange(small: &Small, office: &Office) {
    let text = format!(
        "version: 1
department: 市场监督管理局
source: {}
datasets:
  qy:
    table: qy_exchange
    key: [代码]
    updated: 更新
    extract: log
    operation: {{ column: 增删改标志 }}
    read_flag: {{ column: 交换开关 }}
    columns: {{ 代码: text, 名称: text, 注册号: text, 资本: text, 状态: text, 更新: text, 增删改标志: text }}
    drift: {{ new_column: ignore }}
",
        office.source("")
    );
    small.write("connectors/gs.yaml", text);
}

fn event(n: u32, code: &str, name: &str, at: &str, flag: &str) -> String {
    format!(
        "insert into qy_exchange values ('{n}', '{code}', '{name}', null, '1', '在营', '2026-10-0{at} 00:00:00', '{flag}', 0);"
    )
}

#[tokio::test]
async fn an_exchange_table_is_taken_in_business_order_and_marked() {
    for (small, office) in Office::all(Small::new).await {
        office.sql(EXCHANGE).await;
        connect_exchange(&small, &office);
        // D before I of an older time, an update that overtakes its insert, a flag that nobody knows.
        for sql in [
            event(1, CODES[0], "企业0", "3", "D"),
            event(2, CODES[0], "企业0", "1", "I"),
            event(3, CODES[1], "企业1新", "2", "2"),
            event(4, CODES[1], "企业1", "1", "1"),
            event(5, CODES[2], "企业2", "1", "I"),
            event(6, CODES[3], "企业3", "1", "X"),
        ] {
            office.sql(&sql).await;
        }
        let first = small.run("qy").await;
        assert_eq!(first.registers[0].counts.undecodable, 1, "{}", office.name());
        assert_eq!(first.registers[0].quarantined_by, [("unknown_operation".to_owned(), 1)]);
        assert_eq!(line(&first), "succeeded 6/1/0/2/0/0/2/0", "{}", office.name());
        assert_eq!(first.registers[0].notes_by, [("source:gone_unknown".to_owned(), 1)]);
        assert_eq!(names(&small).await, ["企业1新", "企业2"]);
        assert!(small.run("qy").await.files.is_empty(), "all rows are marked as read: {}", office.name());

        // A replayed batch: the old insert of what is gone, and of what was changed since; then a real deletion.
        for sql in [
            event(7, CODES[0], "企业0", "1", "I"),
            event(8, CODES[1], "企业1", "1", "I"),
            event(9, CODES[2], "企业2", "4", "3"),
        ] {
            office.sql(&sql).await;
        }
        assert_eq!(line(&small.run("qy").await), "succeeded 3/1/0/0/0/0/2/1", "{}", office.name());
        assert_eq!(names(&small).await, ["企业1新"]);

        office.sql(&event(10, CODES[0], "企业0又来", "5", "I")).await;
        assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/1/0/0/0/0", "{}", office.name());
        let mut engine = small.engine().await;
        assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
    }
}

/// Everything that a source gives from a position on, and the position after each part of `rows` rows.
pub async fn read(source: &dyn Source, item: &Item, at: Option<&Position>, rows: usize) -> Vec<(Vec<u8>, Position)> {
    let mut decoder = source.open(item, at).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        while let Some(decoded) = decoder.next(rows).unwrap() {
            all.push((decoded.raw.clone(), decoded.position.clone()));
        }
        all
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_pull_goes_on_from_every_position_also_among_nulls_and_equal_values() {
    for (small, office) in Office::all(Small::new).await {
        let id = match office.server() {
            Office::MariaDb(_) => "bigint unsigned",
            Office::Postgres(_) => "numeric(20)",
            _ => "text", // it has no exact numbers of 20 digits
        };
        office.sql(&format!("create table t (a varchar(5), id {id}, 名称 varchar(20))")).await;
        for (i, a) in ["'x'", "null", "'x'", "'y'", "null", "'x'", "'z'"].iter().enumerate() {
            // 20 digits: a double would take some of them for equal.
            let id = format!("1234567890123456789{}", i % 5);
            office.sql(&format!("insert into t values ({a}, '{id}', '第{i}')")).await;
        }
        let connector = format!(
            "version: 1\ndepartment: 局\nsource: {}\ndatasets:\n  t:\n    table: t\n    page: 2\n    key: [a, id]\n    \
             extract: full\n    columns: {{ a: text, id: text, 名称: text }}\n",
            office.source("")
        );
        small.write("connectors/x.yaml", connector);
        let workspace = Workspace::load(small.path()).unwrap();
        let connector = &workspace.connectors["x"];
        let mut source = source::open(&workspace, connector, &connector.datasets["t"]).unwrap();
        let item = source.list(None).await.unwrap().items.remove(0);
        let whole: Vec<u8> = read(&*source, &item, None, 100).await.into_iter().flat_map(|(raw, _)| raw).collect();
        let parts = read(&*source, &item, None, 1).await;
        assert_eq!(parts.len(), 4, "rows of a page go together, and of one key: {}", office.name());
        let mut before = Vec::new();
        for (raw, position) in parts {
            before.extend(raw);
            let rest = read(&*source, &item, Some(&position), 3).await;
            let all: Vec<u8> = before.iter().copied().chain(rest.into_iter().flat_map(|(raw, _)| raw)).collect();
            assert_eq!(String::from_utf8(all).unwrap(), String::from_utf8(whole.clone()).unwrap(), "{}", office.name());
        }
    }
}

#[tokio::test]
async fn what_a_server_refuses_has_a_code() {
    for (small, office) in Office::all(Small::new).await {
        office.sql(TABLE).await;
        office.sql(&insert(CODES[0], "企业0", "2026-10-01 00:00:00")).await;
        let full = "    table: qy\n    extract: full";
        connect(&small, &office.source(""), "    table: qy2\n    extract: full");
        assert!(failure(&small).await.contains("HL0332"), "{}", office.name());
        connect(&small, &office.source(""), full);
        office.sql("alter table qy drop column 资本").await;
        assert!(failure(&small).await.contains("HL0510"), "{}", office.name());
        office.sql("alter table qy rename column 代码 to 代码2").await;
        assert!(failure(&small).await.contains("HL0332"), "{}", office.name());
        if !office.is_sqlite() {
            connect(&small, &office.source("").replace(&secret("huiliu"), &secret("wrong")), full);
            let why = failure(&small).await;
            assert!(why.contains("HL0331") && !why.contains("wrong"), "{}: {why}", office.name());
        }
    }
    let small = Small::new();
    connect(&small, "{ kind: database, url: \"postgres://127.0.0.1:1/x\" }", "    table: qy\n    extract: full");
    assert!(failure(&small).await.contains("HL0330"));
    connect(&small, "{ kind: database, url: \"sqlite:nowhere.db\" }", "    table: qy\n    extract: full");
    assert!(failure(&small).await.contains("HL0330"));
    assert!(!small.path().join("nowhere.db").exists(), "nothing is made in somebody else's place");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let small = Small::new();
    let url = format!("{{ kind: database, url: \"mysql://127.0.0.1:{port}/x\" }}");
    connect(&small, &url, "    table: qy\n    extract: full");
    let why = failure(&small).await;
    assert!(why.contains("HL0330") && why.contains("no answer"), "{why}");
    silent.abort();
}

#[tokio::test]
async fn a_table_that_somebody_else_holds_is_tried_again_later() {
    let small = Small::new();
    let database = Database::new().await;
    let office = Office::Postgres(database);
    office.sql(TABLE).await;
    office.sql(&insert(CODES[0], "企业0", "2026-10-01 00:00:00")).await;
    connect(&small, &office.source(", timeout: 1s"), "    table: qy\n    extract: full");
    let Office::Postgres(database) = &office else { unreachable!() };
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let mut held = other.begin().await.unwrap();
    held.execute("lock table qy in access exclusive mode").await.unwrap();
    let why = failure(&small).await;
    assert!(why.starts_with("failed: HL0333"), "{why}");
    held.rollback().await.unwrap();
    assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/1/0/0/0/0");
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_go_to_quarantine_with_their_place() {
    let small = Small::new();
    let office = Office::Sqlite(small.path().join("front.db"));
    office.sql(TABLE).await;
    office.sql(&insert(CODES[0], "企业0", "2026-10-01 00:00:00")).await;
    office
        .sql(&format!("insert into qy values ('{}', cast(x'C7E0B5BA' as text), null, '1', '在营', null)", CODES[1]))
        .await;
    connect(&small, &office.source(""), "    table: qy\n    extract: full");
    let report = small.run("qy").await;
    assert_eq!(report.registers[0].quarantined_by, [("bad_utf8".to_owned(), 1)]);
    assert_eq!((report.registers[0].counts.undecodable, report.registers[0].counts.new), (1, 1));
}

#[tokio::test]
async fn an_order_that_leads_nowhere_is_not_followed_for_ever() {
    let small = Small::new();
    let office = Office::Sqlite(small.path().join("front.db"));
    // SQLite's text of this number is a smaller one: the same row comes after it.
    office.sql("create table qy (代码 datetime, 名称 text, 注册号 text, 资本 text, 状态 text, 更新 text)").await;
    for code in ["0.30000000000000004", "0.5", "0.7"] {
        office.sql(&format!("insert into qy values ({code}, '企业', null, '1', '在营', null)")).await;
    }
    connect(&small, &office.source(""), "    table: qy\n    page: 1\n    extract: full");
    let why = failure(&small).await;
    assert!(why.contains("HL0338"), "{why}");
}

#[tokio::test]
async fn a_probe_compares_a_system_with_its_contract_and_takes_nothing() {
    let small = Small::new();
    let office = Office::Sqlite(small.path().join("front.db"));
    office.sql(TABLE).await;
    office.sql(&insert(CODES[0], "企业0", "2026-10-01 00:00:00")).await;
    let dataset = "    table: qy\n    extract: full\n    drift: { new_column: ignore, lost_column: accept }";
    connect(&small, &office.source(""), dataset);
    let probed = small.engine().await.probe(Some("gs")).await.unwrap();
    assert_eq!((probed.len(), probed[0].outcome, probed[0].rows), (1, "reached", 1), "{probed:?}");
    assert_eq!(probed[0].columns[0].shape.as_deref(), Some("99999999999999999A"), "of 91370283706488757F");
    office.sql("alter table qy drop column 注册号").await;
    office.sql("alter table qy add column 曾用名 text").await;
    let probed = small.engine().await.probe(None).await.unwrap();
    let gs = probed.iter().find(|one| one.dataset == "gs.qy").unwrap();
    assert_eq!(
        (gs.outcome, &gs.lost[..], &gs.new[..]),
        ("differs", &["注册号".to_owned()][..], &["曾用名".to_owned()][..])
    );
    assert!(!format!("{probed:?}").contains("企业0"), "no value is shown");
    assert_eq!(small.run("qy").await.registers[0].counts.new, 1, "nothing was taken by looking");
    office.sql("drop table qy").await;
    let probed = small.engine().await.probe(Some("gs")).await.unwrap();
    assert!(probed[0].outcome == "failed" && probed[0].why.as_deref().unwrap().contains("HL0332"), "{probed:?}");
    let error = small.engine().await.probe(Some("gsj")).await.unwrap_err();
    assert!(error.to_string().contains("HL0501"), "{error}");
}

#[tokio::test]
async fn a_table_that_lost_its_rows_is_held_and_read_anew_once_they_are_back() {
    let small = Small::new();
    let office = Office::Sqlite(small.path().join("front.db"));
    office.sql(TABLE).await;
    connect(&small, &office.source(""), "    table: qy\n    extract: full");
    let fill: String = CODES.iter().map(|code| insert(code, "企业", "2026-10-01 00:00:00")).collect();
    office.sql(&fill).await;
    small.run("qy").await;
    office.sql("delete from qy").await;
    assert!(failure(&small).await.starts_with("held: "));
    office.sql(&fill).await;
    assert_eq!(line(&small.run("qy").await), "succeeded 6/0/0/0/0/6/0/0");
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 6);
}

/// What is asked for when a table is read again in chunks of so many rows.
fn again(rows: u64) -> FilesRequest {
    FilesRequest {
        pipeline: "qy".into(),
        files: Vec::new(),
        from: None,
        to: None,
        by_updated: false,
        chunk: Chunking::Rows(rows),
        rate: None,
        window: None,
        workers: 1,
        eager: false,
    }
}

#[tokio::test]
async fn a_table_is_read_again_in_ranges_of_its_key_and_goes_on_after_a_crash() {
    for (small, office) in Office::all(Small::new).await {
        office.sql(TABLE).await;
        connect(&small, &office.source(""), "    table: qy\n    page: 2\n    extract: { cursor: 更新 }");
        office.sql(&insert(CODES[0], "企业0", "2026-10-02 00:00:00")).await;
        assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/1/0/0/0/0", "{}", office.name());
        // Rows with times before the cursor: a live run never sees them.
        for (i, code) in CODES.iter().enumerate().skip(1) {
            office.sql(&insert(code, &format!("企业{i}"), "2026-09-01 00:00:00")).await;
        }
        assert!(small.run("qy").await.files.is_empty());

        let mut engine = small.engine().await;
        let plan = engine.plan_files(&again(2)).await.unwrap();
        assert_eq!((plan.chunks(), plan.rows), (3, 6), "{}", office.name());
        let rehearsal = engine.rehearse(&plan).await.unwrap();
        assert_eq!((rehearsal.registers[0].1.new, rehearsal.registers[0].1.unchanged), (5, 1), "{}", office.name());
        let id = engine.keep_backfill(plan, Some("迟到的行".into())).await.unwrap();
        assert!(matches!(engine.backfill_step(id).await.unwrap(), BackfillStep::Chunk { rows: 2, .. }));
        drop(engine);
        let mut engine = small.engine().await;
        // A row that comes meanwhile, behind the last key, is in the last chunk.
        office.sql(&insert("99", "坏码", "2026-09-01 00:00:00")).await;
        let mut chunks = 0;
        while let BackfillStep::Chunk { .. } = engine.backfill_step(id).await.unwrap() {
            chunks += 1;
        }
        let backfill = engine.backfill(id).await.unwrap();
        let ledger = engine.compare_backfill(&backfill).await.unwrap().ledger;
        let counts = &ledger[0].counts;
        assert_eq!((chunks, counts.read, counts.new, counts.quarantined), (2, 7, 5, 1), "{}", office.name());
        drop(engine);
        assert_eq!(names(&small).await.len(), 6, "{}", office.name());
        assert!(small.run("qy").await.files.is_empty(), "the live position stayed where it was");
    }
}

#[tokio::test]
async fn ranges_of_a_key_of_several_columns_hold_every_row_once() {
    for (small, office) in Office::all(Small::new).await {
        office.sql("create table t (a varchar(5), b int, 名称 varchar(20))").await;
        for i in 0..23 {
            office.sql(&format!("insert into t values ('{}', {}, '第{i}')", ["x", "y", "z"][i % 3], i % 5)).await;
        }
        let connector = format!(
            "version: 1\ndepartment: 局\nsource: {}\ndatasets:\n  t:\n    table: t\n    page: 3\n    key: [a, b]\n    \
             extract: full\n    columns: {{ a: text, b: text, 名称: text }}\n",
            office.source("")
        );
        small.write("connectors/x.yaml", connector);
        let workspace = Workspace::load(small.path()).unwrap();
        let connector = &workspace.connectors["x"];
        let table = KeyedTable::new(small.path(), connector, &connector.datasets["t"]).unwrap();
        let ranges = table.cut(4, 100).await.unwrap();
        let planned: u64 = ranges.iter().map(|range| range.rows).sum();
        assert!(ranges.len() >= 4 && planned == 23, "{}: {ranges:?}", office.name());
        let mut rows = Vec::new();
        for range in &ranges {
            let mut decoder = table.open(range, &Position::default()).await.unwrap();
            let part = tokio::task::spawn_blocking(move || {
                let mut rows = Vec::new();
                while let Some(chunk) = decoder.next(100).unwrap() {
                    rows.extend(
                        (0..chunk.rows.num_rows()).map(|i| String::from_utf8(chunk.raw_row(i).to_vec()).unwrap()),
                    );
                }
                rows
            });
            let part = part.await.unwrap();
            assert_eq!(part.len() as u64, range.rows, "{}", office.name());
            rows.extend(part);
        }
        let mut once = rows.clone();
        once.sort();
        once.dedup();
        assert_eq!((rows.len(), once.len()), (23, 23), "{}", office.name());
    }
}

#[tokio::test]
async fn numbers_are_read_in_their_own_order_and_not_in_that_of_their_texts() {
    for (small, office) in Office::all(Small::new).await {
        office.sql("create table t (id int primary key, 名称 varchar(20))").await;
        for i in 0..25 {
            office.sql(&format!("insert into t values ({i}, '第{i}')")).await;
        }
        let connector = format!(
            "version: 1\ndepartment: 局\nsource: {}\ndatasets:\n  t:\n    table: t\n    page: 3\n    key: [id]\n    \
             extract: full\n    columns: {{ id: text, 名称: text }}\n",
            office.source("")
        );
        small.write("connectors/x.yaml", connector);
        let workspace = Workspace::load(small.path()).unwrap();
        let connector = &workspace.connectors["x"];
        let mut source = source::open(&workspace, connector, &connector.datasets["t"]).unwrap();
        let item = source.list(None).await.unwrap().items.remove(0);
        let all: Vec<u8> = read(&*source, &item, None, 100).await.into_iter().flat_map(|(raw, _)| raw).collect();
        let expect: String = (0..25).map(|i| format!("[\"{i}\",\"第{i}\"]")).collect();
        assert_eq!(String::from_utf8(all).unwrap(), expect, "{}", office.name());
        let table = KeyedTable::new(small.path(), connector, &connector.datasets["t"]).unwrap();
        let rows: Vec<u64> = table.cut(10, 100).await.unwrap().iter().map(|range| range.rows).collect();
        assert_eq!(rows, [10, 10, 5], "{}", office.name());
    }
}

#[tokio::test]
async fn what_has_no_rows_no_days_or_no_past_is_not_cut() {
    let small = Small::new();
    let office = Office::Sqlite(small.path().join("front.db"));
    office.sql(TABLE).await;
    let refused = |request: FilesRequest| {
        let small = &small;
        async move { small.engine().await.plan_files(&request).await.unwrap_err().to_string() }
    };
    connect(&small, &office.source(""), "    table: qy\n    extract: full");
    assert!(refused(again(2)).await.starts_with("HL0922"), "there is nothing in it");
    let days = Chunking::Span(std::time::Duration::from_secs(86_400));
    assert!(refused(FilesRequest { chunk: days, ..again(2) }).await.starts_with("HL0384"));
    let from = "2026-01-01".parse().ok();
    assert!(refused(FilesRequest { from, ..again(2) }).await.starts_with("HL0384"));
    let flag = "    table: qy\n    extract: log\n    operation: { column: 状态 }\n    read_flag: { column: 注册号 }";
    connect(&small, &office.source(""), flag);
    assert!(refused(again(2)).await.starts_with("HL0385"));
}

#[cfg(not(feature = "odbc"))]
#[tokio::test]
async fn a_build_without_odbc_says_so() {
    let small = Small::new();
    connect(&small, "{ kind: database, url: \"odbc:DSN=front\" }", "    table: qy\n    extract: full");
    assert!(failure(&small).await.contains("HL0357"));
}

/// A dataset `t` of `k`, `v`, `w` of a table or query, in pages of seven rows.
fn offer(small: &Small, office: &Office, relation: &str, more: &str) {
    let connector = format!(
        "version: 1\ndepartment: 局\nsource: {}\ndatasets:\n  t:\n    {relation}\n    page: 7\n    {more}\n    columns: {{ k: \
         text, v: text, w: text }}\n",
        office.source("")
    );
    small.write("connectors/x.yaml", connector);
}

/// Every row of the dataset as JSON, read without and with going on from each position.
async fn rows_of(small: &Small) -> Vec<String> {
    let workspace = Workspace::load(small.path()).unwrap();
    let connector = &workspace.connectors["x"];
    let mut source = source::open(&workspace, connector, &connector.datasets["t"]).unwrap();
    let item = source.list(None).await.unwrap().items.remove(0);
    let sorted = |parts: Vec<(Vec<u8>, Position)>| {
        let raw: Vec<u8> = parts.into_iter().flat_map(|(raw, _)| raw).collect();
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut rows: Vec<String> = text.replace("][", "]\n[").lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    let (mut at, mut parts) = (None, Vec::new());
    loop {
        let next = read(&*source, &item, at.as_ref(), 5).await;
        let Some(first) = next.into_iter().next() else { break };
        at = Some(first.1.clone());
        parts.push(first);
    }
    let whole = sorted(read(&*source, &item, None, 5).await);
    assert_eq!(sorted(parts), whole);
    whole
}

/// What a server orders, takes for equal and compares otherwise than texts are compared here.
#[tokio::test]
async fn no_row_is_lost_at_a_page_border_however_a_server_orders() {
    let series = |sqlite: bool, from: usize| match sqlite {
        true => format!(
            "(with recursive s(i) as (select {from} union all select i + 1 from s where i < 39) select i from s)"
        ),
        false => format!(
            "(with recursive s as (select {from} as i union all select i + 1 from s where i < 39) select i from s)"
        ),
    };
    for (small, office) in Office::all(Small::new).await {
        let (is_maria, is_sqlite) = (matches!(office.server(), Office::MariaDb(_)), office.is_sqlite());
        let series = series(is_sqlite, 0);
        let text = if is_maria { "char" } else { "text" };
        office.sql(&format!("create table n (k int primary key, v varchar(20), w varchar(20)); insert into n select i, cast(i as {text}), 'x' from {series} q")).await;
        offer(&small, &office, "query: select k + 0 as k, v, w from n", "key: [k]\n    extract: full");
        assert_eq!(rows_of(&small).await.len(), 40, "{}: a computed key", office.name());

        // Two spellings of one key, by the server's collation.
        let kind = match office.server() {
            Office::MariaDb(_) => "varchar(20)",
            Office::Postgres(_) => {
                office
                    .sql("create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
                    .await;
                "varchar(20) collate blind"
            }
            _ => "varchar(20) collate nocase",
        };
        let code = |last: &str| match is_maria {
            true => format!("concat('91', i, '{last}')"),
            false => format!("'91' || i || '{last}'"),
        };
        office.sql(&format!("create table c (k {kind}, v varchar(20), w varchar(20)); insert into c select {}, 'a', 'x' from {series} q; insert into c select {}, 'b', 'x' from {series} q", code("X"), code("x"))).await;
        offer(&small, &office, "table: c", "key: [k]\n    extract: full");
        assert_eq!(rows_of(&small).await.len(), 80, "{}: keys that differ in case", office.name());
    }
}

/// Types whose values are no texts, or have an order of their own.
#[tokio::test]
async fn words_bits_and_bytes_are_keys_like_others() {
    let (small, office) = (Small::new(), Office::mariadb().await);
    office.sql("create table e (v enum('正常','注销','吊销') not null, k int not null, w set('a','b','c'), primary key (v, k)); insert into e select 1 + (seq % 3), seq, 1 + (seq % 7) from seq_1_to_40").await;
    offer(&small, &office, "table: e", "key: [v, k]\n    extract: full");
    assert_eq!(rows_of(&small).await.len(), 40, "an enum");
    offer(&small, &office, "table: e", "key: [w, k]\n    extract: full");
    assert_eq!(rows_of(&small).await.len(), 40, "a set");
    office.sql("create table b (k binary(4) primary key, v bit(20), w blob); insert into b select unhex(lpad(hex(seq + 4294901760), 8, '0')), seq, unhex('c7e0b5ba') from seq_1_to_40").await;
    offer(&small, &office, "table: b", "key: [k]\n    extract: full");
    assert!(rows_of(&small).await.is_empty());
    let workspace = Workspace::load(small.path()).unwrap();
    let connector = &workspace.connectors["x"];
    let mut source = source::open(&workspace, connector, &connector.datasets["t"]).unwrap();
    let item = source.list(None).await.unwrap().items.remove(0);
    let mut decoder = source.open(&item, None).await.unwrap();
    let decoded = tokio::task::spawn_blocking(move || decoder.next(100).unwrap().unwrap()).await.unwrap();
    assert_eq!(decoded.undecodable.len(), 40, "bytes that are no text are set aside, as they are");
    assert!(decoded.undecodable[0].raw.starts_with(b"\xff\xff\x00\x01\x1f"), "{:?}", decoded.undecodable[0]);
    office.sql("alter table b drop column w, add column w varchar(3)").await;
    offer(&small, &office, "query: select v as k, v, w from b", "key: [k]\n    extract: full");
    let rows = rows_of(&small).await;
    assert!(rows.len() == 40 && rows.contains(&r#"["33","33",null]"#.to_owned()), "{rows:?}");

    let (small, office) = (Small::new(), Office::Postgres(Database::new().await));
    office.sql("create type state as enum ('正常', '注销', '吊销'); create table e (v state, k bytea, w money, primary key (v, k)); insert into e select ('{正常,注销,吊销}'::state[])[1 + i % 3], decode(lpad(to_hex(i), 4, '0'), 'hex'), i from generate_series(1, 40) i").await;
    offer(&small, &office, "table: e", "key: [v, k]\n    extract: full");
    assert_eq!(rows_of(&small).await.len(), 40, "an enum of PostgreSQL");
}

/// A lag counts for times however a department writes them.
#[tokio::test]
async fn a_lag_is_kept_for_times_in_texts_and_numbers() {
    for (small, office) in Office::all(Small::new).await {
        let ago = |minutes: u32| match office.server() {
            Office::MariaDb(_) => [
                format!("date_format(now() - interval {minutes} minute, '%Y%m%d%H%i%s')"),
                format!("unix_timestamp() - {minutes} * 60"),
            ],
            Office::Postgres(_) => [
                format!("to_char(localtimestamp - interval '{minutes} minutes', 'YYYYMMDDHH24MISS')"),
                format!("extract(epoch from now())::bigint - {minutes} * 60"),
            ],
            _ => [
                format!("strftime('%Y%m%d%H%M%S', 'now', 'localtime', '-{minutes} minutes')"),
                format!("strftime('%s', 'now') - {minutes} * 60"),
            ],
        };
        for (n, kind) in ["varchar(20)", "bigint"].iter().enumerate() {
            office.sql(&format!("create table l{n} (k varchar(3), v varchar(3), w {kind}); insert into l{n} select '1', 'x', {}; insert into l{n} select '2', 'x', {}", ago(30)[n], ago(1)[n])).await;
            offer(&small, &office, &format!("table: l{n}"), "key: [k]\n    extract: { cursor: w, lag: 10m }");
            if n == 1 && office.name().starts_with("odbc") {
                continue; // nobody tells the seconds since 1970 of every database
            }
            let rows = rows_of(&small).await;
            assert!(rows.len() == 1 && rows[0].starts_with(r#"["1""#), "{} {kind}: {rows:?}", office.name());
        }
        office.sql("update l0 set w = 'v17'").await;
        offer(&small, &office, "table: l0", "key: [k]\n    extract: { cursor: w, lag: 10m }");
        let workspace = Workspace::load(small.path()).unwrap();
        let connector = &workspace.connectors["x"];
        let mut source = source::open(&workspace, connector, &connector.datasets["t"]).unwrap();
        assert_eq!(source.list(None).await.unwrap_err().code(), "HL0339", "{}", office.name());
    }
}
