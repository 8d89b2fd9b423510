//! A department's log: copied and followed without a gap, and what goes wrong with it.

use std::process::Command;
use std::sync::LazyLock;

use huiliu::config::Workspace;
use huiliu::engine::{Probed, RunOptions, RunReport};
use huiliu::source::{self, Before};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::sync::{RwLock, RwLockReadGuard};

use super::support::daemon::{Daemon, huiliu};
use super::support::services::Database;
use super::support::{CODES, Small, line, secret};

/// Held to read by tests that have a slot, to write by the one that makes the server throw its log away.
static LOG: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);

/// A department's database with a table `qy`, and a connector that follows it.
pub struct Office {
    small: Small,
    database: Database,
    _log: Option<RwLockReadGuard<'static, ()>>,
}

const TABLE: &str = "create table qy (代码 varchar(18) primary key, 名称 varchar(100), 注册号 varchar(20), \
                     资本 varchar(20), 状态 text, 更新 timestamp(6))";

impl Office {
    async fn new() -> Self {
        let log = LOG.read().await;
        Self { _log: Some(log), ..Self::alone().await }
    }

    async fn alone() -> Self {
        let office = Self { small: Small::new(), database: Database::new().await, _log: None };
        office.sql(TABLE).await;
        office.connect("");
        office
    }

    /// With its workspace apart.
    pub async fn with_workspace() -> (Self, Small) {
        let mut office = Self::new().await;
        let small = std::mem::replace(&mut office.small, Small::empty());
        (office, small)
    }

    /// Writes the connector, with these keys beside the usual ones of the source.
    fn connect(&self, more: &str) {
        let url = self.database.url().replace("huiliu:huiliu@", "");
        // A slot's name is the server's, not the database's: the tests share a server.
        let text = format!(
            "version: 1
department: 市场监督管理局
source: {{ kind: cdc, url: \"{url}\", slot: {}{more} }}
datasets:
  qy:
    table: qy
    page: 3
    key: [代码]
    updated: 更新
    extract: log
    missing: {{ hold_above: 50% }}
    columns: {{ 代码: text, 名称: text, 注册号: text, 资本: text, 状态: text, 更新: text }}
",
            self.prefix(),
        );
        let text = if more.contains("user:") {
            text
        } else {
            text.replace("kind: cdc,", &format!("kind: cdc, user: huiliu, password: {},", secret("huiliu")))
        };
        self.small.write("connectors/gs.yaml", text);
    }

    fn prefix(&self) -> String {
        self.database.url().rsplit_once('/').unwrap().1.to_owned()
    }

    fn slot(&self) -> String {
        format!("{}_gs_qy", self.prefix())
    }

    async fn conn(&self) -> PgConnection {
        PgConnection::connect(&self.database.url()).await.unwrap()
    }

    pub async fn sql(&self, text: &str) {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut self.conn().await).await.unwrap();
    }

    async fn insert(&self, i: usize, name: &str) {
        self.sql(&insert(i, name)).await;
    }

    async fn one(&self, sql: &str) -> String {
        let row = self.conn().await.fetch_one(AssertSqlSafe(sql.to_owned())).await.unwrap();
        row.get::<Option<String>, _>(0).unwrap_or_default()
    }

    /// What the slot has of the server's log: `confirmed_flush_lsn`, `restart_lsn`.
    async fn kept(&self, place: &str) -> String {
        self.one(&format!("select {place}::text from pg_replication_slots where slot_name = '{}'", self.slot())).await
    }

    /// Runs, and finds no row; that the log of others is let go of is nothing new.
    async fn nothing(&self) -> bool {
        let report = self.small.run("qy").await;
        report.status == "succeeded" && report.files.iter().all(|file| file.rows == 0)
    }

    async fn run(&self) -> String {
        line(&self.small.run("qy").await)
    }

    /// What a run says that did not succeed.
    async fn failure(&self) -> String {
        match self.small.engine().await.run("qy", &RunOptions::default()).await {
            Err(error) => error.to_string(),
            Ok(RunReport { why, status, .. }) => format!("{status}: {}", why.unwrap_or_default()),
        }
    }

    async fn accept(&self) -> String {
        let options = RunOptions { accept: Some("looked at it".to_owned()) };
        line(&self.small.engine().await.run("qy", &options).await.unwrap())
    }

    async fn probe(&self) -> Probed {
        self.small.engine().await.probe(Some("gs")).await.unwrap().remove(0)
    }

    /// Names in the register.
    async fn names(&self) -> Vec<String> {
        let mut engine = self.small.engine().await;
        let mut names = Vec::new();
        for entity in engine.store().find("enterprise", "name", "企业", 100).await.unwrap() {
            names
                .extend(entity.fields.iter().find(|(name, ..)| name == "name").and_then(|(_, value, _)| value.clone()));
        }
        names.sort();
        names
    }
}

fn insert(i: usize, name: &str) -> String {
    format!("insert into qy values ('{}', '{name}', null, '100万元', '在营', '2026-10-01 00:00:00');", CODES[i])
}

#[tokio::test]
async fn a_table_is_copied_once_and_then_followed() {
    let office = Office::new().await;
    for i in 0..5 {
        office.insert(i, &format!("企业{i}")).await;
    }
    assert_eq!(office.run().await, "succeeded 5/0/0/5/0/0/0/0");
    assert!(office.nothing().await, "nothing is new");

    // Older business times than those that were copied: the order of commits decides, not they.
    office
        .sql(&format!(
            "begin; {} update qy set 名称 = '企业一', 更新 = '2020-01-01' where 代码 = '{}'; \
             delete from qy where 代码 = '{}'; commit; update qy set 名称 = '企业壹', 更新 = '2019-01-01' where 代码 = '{}';",
            insert(5, "企业5"), CODES[1], CODES[2], CODES[1]
        ))
        .await;
    assert_eq!(office.run().await, "succeeded 4/1/0/1/1/0/1/1");
    assert_eq!(office.names().await, ["企业0", "企业3", "企业4", "企业5", "企业壹"]);

    // Gone and back between two pulls, with an older time.
    office.sql(&format!("delete from qy where 代码 = '{}'", CODES[0])).await;
    office.sql(&insert(0, "企业零").replace("2026", "2018")).await;
    office.small.run("qy").await;
    assert_eq!(office.names().await, ["企业3", "企业4", "企业5", "企业壹", "企业零"]);
    assert_eq!(office.small.engine().await.doctor().await.unwrap().disagreements, 0);
    assert!(office.nothing().await);
}

#[tokio::test]
async fn a_row_that_gets_another_key_is_one_that_goes_and_one_that_comes() {
    let office = Office::new().await;
    office.insert(0, "企业0").await;
    office.run().await;
    office.sql(&format!("update qy set 代码 = '{}', 名称 = '企业换' where 代码 = '{}'", CODES[1], CODES[0])).await;
    assert_eq!(office.run().await, "succeeded 2/1/0/1/0/0/0/1");
    assert_eq!(office.names().await, ["企业换"]);
    office.sql("alter table qy replica identity full").await;
    office.sql(&format!("update qy set 代码 = '{}' where 代码 = '{}'", CODES[2], CODES[1])).await;
    assert_eq!(office.run().await, "succeeded 2/1/0/1/0/0/0/1");
    office.sql("delete from qy").await;
    assert_eq!(office.run().await, "succeeded 1/1/0/0/0/0/0/1");
    assert!(office.names().await.is_empty());
}

#[tokio::test]
async fn an_empty_table_is_followed_too() {
    let office = Office::new().await;
    assert_eq!(office.run().await, "succeeded 0/0/0/0/0/0/0/0");
    assert!(office.nothing().await, "it was copied, empty as it was");
    office.insert(0, "企业0").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
}

#[tokio::test]
async fn a_transaction_that_is_open_while_the_table_is_copied_is_taken_once() {
    let office = Office::new().await;
    office.insert(0, "企业0").await;
    // The slot is there, and the copy was not committed: as if the process had gone away in between.
    office.sql(&format!("create publication {0} for table qy", office.slot())).await;
    office.one(&format!("select pg_create_logical_replication_slot('{}', 'pgoutput')::text", office.slot())).await;
    office.insert(1, "企业1").await; // in the copy, and in the log after the slot
    let mut open = office.conn().await;
    let mut transaction = open.begin().await.unwrap();
    transaction.execute(AssertSqlSafe(insert(2, "企业2"))).await.unwrap();
    let report = office.small.run("qy").await;
    assert_eq!(line(&report), "succeeded 2/0/0/2/0/0/0/0", "{report:?}");
    assert_eq!(report.files[0].rows, 2, "nothing but the copy: what the log has is in it");
    transaction.commit().await.unwrap();
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
    assert_eq!(office.names().await, ["企业0", "企业1", "企业2"]);
}

/// A run that dies at this boundary.
fn dies(office: &Office, boundary: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huiliu"));
    let out = command.arg("--dir").arg(office.small.path()).args(["run", "qy"]).env("FAILPOINTS", boundary).output();
    let out = out.unwrap();
    assert!(out.status.code().is_none(), "{boundary}: {}", String::from_utf8_lossy(&out.stderr));
}

#[tokio::test]
async fn a_process_that_dies_anywhere_loses_no_change_and_takes_none_twice() {
    let office = Office::new().await;
    office.small.engine().await;
    for i in 0..5 {
        office.insert(i, &format!("企业{i}")).await;
    }
    for boundary in ["chunk-written=return", "chunk-committed=return", "file-ending=return", "file-ended=return"] {
        dies(&office, boundary);
    }
    assert!(office.nothing().await, "the copy was whole before the last of them died");
    let mut days = 1..;
    for boundary in ["chunk-written", "chunk-committed", "file-ending", "file-ended"] {
        let (was, day) = (office.kept("confirmed_flush_lsn").await, days.next().unwrap());
        office.sql(&format!("update qy set 名称 = '企业{day}日' where 代码 = '{}'", CODES[day])).await;
        dies(&office, &format!("{boundary}=return"));
        assert_eq!(office.kept("confirmed_flush_lsn").await, was, "{boundary}: nobody told the server");
        let report = office.small.run("qy").await;
        let changed = if boundary == "chunk-written" { 1 } else { 0 };
        assert_eq!(report.registers[0].counts.changed, changed, "{boundary}: {report:?}");
        assert_eq!(report.registers[0].counts.read, changed, "{boundary}: {report:?}");
        assert_ne!(office.kept("confirmed_flush_lsn").await, was, "{boundary}");
    }
    assert_eq!(office.names().await, ["企业0", "企业1日", "企业2日", "企业3日", "企业4日"]);
    assert_eq!(office.small.engine().await.doctor().await.unwrap().disagreements, 0);
}

/// Takes any text as a code.
fn loosely(small: &Small) {
    let mapping = "select 代码 as uscc, 名称 as name, 状态 as status from source\n";
    small.write("mappings/gs/qy.enterprise.sql", mapping);
}

#[tokio::test]
async fn one_transaction_of_many_rows_goes_on_in_its_middle() {
    let office = Office::new().await;
    loosely(&office.small);
    office.run().await;
    let row = "lpad(n::text, 18, '0'), '企业' || n, null, '1', '在营', now()";
    office
        .sql(&format!(
            "begin; insert into qy select {row} from generate_series(1, 10000) n; \
                         update qy set 代码 = 'Z' || substr(代码, 2) where 代码 > lpad('9000', 18, '0'); commit; \
                         insert into qy select {row} from generate_series(20001, 20003) n"
        ))
        .await;
    // 10,000 rows, 1,000 of which go and come under another key, then 3: two chunks.
    dies(&office, "chunk-committed=return");
    let report = office.small.run("qy").await;
    assert_eq!(report.status, "succeeded");
    assert!((1..12_003).contains(&report.registers[0].counts.read), "it went on where it was: {report:?}");
    let mut engine = office.small.engine().await;
    assert_eq!(engine.store().count("enterprise").await.unwrap(), 10_003);
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
    let total: i64 = engine.store().runs(Some("qy"), 10).await.unwrap().iter().map(|run| run.read).sum();
    assert_eq!(total, 12_003, "no row was read twice");
}

#[tokio::test]
async fn a_copy_that_broke_off_goes_on_and_the_log_tells_the_rest() {
    let office = Office::new().await;
    loosely(&office.small);
    office.small.engine().await;
    let row = "lpad(n::text, 18, '0'), '企业' || n, null, '1', '在营', now()";
    office.sql(&format!("insert into qy select {row} from generate_series(1, 20000) n")).await;
    office.connect(", rate: 1000000 rows/s");
    let text = std::fs::read_to_string(office.small.path().join("connectors/gs.yaml")).unwrap();
    office.small.write("connectors/gs.yaml", text.replace("page: 3", "page: 5000"));
    dies(&office, "chunk-committed=return");
    // Copied already, and not yet; each gone, changed or new.
    let key = |n: u32| format!("'{n:018}'");
    office.sql(&format!(
        "delete from qy where 代码 in ({}, {}); update qy set 名称 = '企业甲' where 代码 = {}; \
         update qy set 名称 = '企业乙' where 代码 = {}; insert into qy values ('0', '企业丙', null, '1', '在营', now()), \
         ('9', '企业丁', null, '1', '在营', now())",
        key(1), key(19_999), key(2), key(19_998)
    )).await;
    let report = office.small.run("qy").await;
    assert_eq!(report.status, "succeeded", "{report:?}");
    assert!(report.files.len() == 2 && report.files[0].rows < 20_000, "the copy and the log: {report:?}");
    let mut engine = office.small.engine().await;
    assert_eq!(engine.store().count("enterprise").await.unwrap(), 20_000);
    for (name, there) in [("企业甲", 1), ("企业乙", 1), ("企业丙", 1), ("企业丁", 1), ("企业19999", 0)] {
        let found = engine.store().find("enterprise", "name", name, 100).await.unwrap();
        assert_eq!(found.len(), there, "{name}");
    }
}

#[tokio::test]
async fn a_truncated_table_is_held_until_a_person_has_looked() {
    let office = Office::new().await;
    for i in 0..3 {
        office.insert(i, &format!("企业{i}")).await;
    }
    office.run().await;
    office.sql(&format!("{} truncate qy; {} {}", insert(3, "企业3"), insert(0, "企业0"), insert(4, "企业4"))).await;
    let why = office.failure().await;
    assert!(why.starts_with("held: qy #2: HL0383") || why.starts_with("held: qy #3: HL0383"), "{why}");
    assert_eq!(office.names().await, ["企业0", "企业1", "企业2"], "one transaction: nothing of it is taken");
    assert!(office.failure().await.contains("HL0383"), "and it stays so");
    let probed = office.probe().await;
    assert!(probed.why.as_deref().unwrap().contains("HL0383"), "{probed:?}");

    assert_eq!(office.accept().await, "succeeded 2/0/0/1/0/1/0/2", "as the table is now");
    assert_eq!(office.names().await, ["企业0", "企业4"]);
    office.insert(5, "企业5").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0", "and followed again");
}

#[tokio::test]
async fn what_comes_before_a_truncation_is_taken() {
    let office = Office::new().await;
    office.run().await;
    office.insert(0, "企业0").await;
    office.sql("truncate qy").await;
    office.insert(1, "企业1").await;
    assert!(office.failure().await.contains("HL0383"));
    assert_eq!(office.names().await, ["企业0"]);
}

#[tokio::test]
async fn columns_that_come_and_go_are_judged_by_the_contract_where_they_do() {
    let office = Office::new().await;
    office.run().await;
    office.insert(0, "企业0").await;
    office.sql("alter table qy add column 曾用名 text").await;
    office.sql(&format!("insert into qy (代码, 名称, 状态) values ('{}', '企业1', '在营')", CODES[1])).await;
    let why = office.failure().await;
    assert!(why.contains("HL0511") && why.contains("曾用名"), "{why}");
    assert_eq!(office.names().await, ["企业0"], "what came before is taken");
    let edit = |drift: &str| {
        let text = std::fs::read_to_string(office.small.path().join("connectors/gs.yaml")).unwrap();
        office
            .small
            .write("connectors/gs.yaml", text.replace("    missing:", &format!("    drift: {drift}\n    missing:")));
    };
    edit("{ new_column: accept }");
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
    // Within one transaction.
    office
        .sql(&format!(
            "begin; insert into qy (代码, 名称, 状态) values ('{}', '企业2', '在营'); alter table qy drop column 资本; \
                         insert into qy (代码, 名称, 状态) values ('{}', '企业3', '在营'); commit",
            CODES[2], CODES[3]
        ))
        .await;
    let why = office.failure().await;
    assert!(why.contains("HL0510") && why.contains("资本"), "{why}");
    assert_eq!(office.accept().await, "succeeded 2/0/0/2/0/0/0/0");
    assert_eq!(office.names().await, ["企业0", "企业1", "企业2", "企业3"]);
}

#[tokio::test]
async fn a_quiet_table_lets_go_of_the_log() {
    let office = Office::new().await;
    office.insert(0, "企业0").await;
    office.sql("create table noise (n int)").await;
    office.run().await;
    for _ in 0..2 {
        for _ in 0..2 {
            office.sql("insert into noise values (1)").await;
            office.sql("select pg_switch_wal()").await;
        }
        office.sql("checkpoint").await;
        let report = office.small.run("qy").await;
        assert!(!report.files.is_empty() && report.files.iter().all(|file| file.rows == 0), "{report:?}");
    }
    let behind = office
        .one(&format!(
            "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint::text from pg_replication_slots \
             where slot_name = '{}'",
            office.slot()
        ))
        .await;
    assert!(behind.parse::<u64>().unwrap() < 48 << 20, "{behind}");
    office.insert(1, "企业1").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
}

#[tokio::test]
async fn a_gap_in_the_log_is_answered_by_a_person() {
    let office = Office::new().await;
    for i in 0..4 {
        office.insert(i, &format!("企业{i}")).await;
    }
    office.run().await;
    office.sql(&format!("select pg_drop_replication_slot('{}')", office.slot())).await;
    office
        .sql(&format!(
            "delete from qy where 代码 = '{}'; update qy set 名称 = '企业一' where 代码 = '{}'",
            CODES[0], CODES[1]
        ))
        .await;
    assert!(office.failure().await.contains("HL0382"));
    let slots = "select count(*)::text from pg_replication_slots where database = current_database()";
    assert_eq!(office.one(slots).await, "0", "nothing is made before somebody says so");
    assert_eq!(office.accept().await, "succeeded 3/0/0/0/1/2/0/1", "copied anew, and what is gone is taken back");
    assert_eq!(office.names().await, ["企业2", "企业3", "企业一"]);

    // Somebody else reads from our slot.
    office.insert(4, "企业4").await;
    office.sql(&format!("select pg_replication_slot_advance('{}', pg_current_wal_lsn())", office.slot())).await;
    let why = office.failure().await;
    assert!(why.contains("HL0382") && why.contains("somebody else"), "{why}");
    assert_eq!(office.accept().await, "succeeded 4/0/0/1/0/3/0/0");

    // The table is another one under the same name.
    office
        .sql(
            "create table new (like qy including all); insert into new select * from qy; drop table qy; \
             alter table new rename to qy",
        )
        .await;
    assert!(office.failure().await.contains("HL0382"));
    assert_eq!(office.accept().await, "succeeded 4/0/0/0/0/4/0/0");
    office.sql(&format!("drop publication {}", office.slot())).await;
    assert!(office.failure().await.contains("HL0382"));
    assert_eq!(office.accept().await, "succeeded 4/0/0/0/0/4/0/0");
    office.insert(5, "企业5").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
}

#[tokio::test]
async fn a_log_that_the_server_threw_away_is_a_gap() {
    let _alone = LOG.write().await;
    let office = Office::alone().await;
    office.insert(0, "企业0").await;
    office.run().await;
    office.sql("alter system set max_slot_wal_keep_size = '1MB'").await;
    office.sql("select pg_reload_conf()").await;
    for i in 1..4 {
        office.insert(i, &format!("企业{i}")).await;
        office.sql("select pg_switch_wal()").await;
    }
    office.sql("checkpoint").await;
    office.sql("alter system reset max_slot_wal_keep_size").await;
    office.sql("select pg_reload_conf()").await;
    assert_eq!(office.kept("wal_status").await, "lost");
    assert!(office.failure().await.contains("HL0382"));
    assert_eq!(office.accept().await, "succeeded 4/0/0/3/0/1/0/0");
    office.insert(4, "企业4").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let office = Office::new().await;
    office.insert(0, "企业0").await;
    let role = format!("{}_reader", office.prefix());
    office.sql(&format!("create role {role} login password 'reader'; grant select on qy to {role}")).await;
    office.connect(&format!(", user: {role}, password: {}", secret("reader")));
    let why = office.failure().await;
    let sql = format!("create publication \"{}\" for table \"public\".\"qy\"", office.slot());
    assert!(why.contains("HL0380") && why.contains(&sql), "its owner must publish it: {why}");
    office.sql(&sql).await;
    let why = office.failure().await;
    assert!(why.contains("HL0380") && why.contains("42501"), "it may not replicate: {why}");
    office.sql(&format!("alter role {role} replication")).await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
    office.insert(1, "企业1").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
    office.connect(&format!(", user: nobody, password: {}", secret("reader")));
    assert!(office.failure().await.contains("HL0331"));
    // A publication of the department's that leaves out deletions tells too little.
    office.connect(", publication: theirs");
    office.sql("create publication theirs for table qy with (publish = 'insert, update')").await;
    assert!(office.failure().await.contains("HL0382"), "it is not the one that was followed");
    office.sql(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_table_whose_rows_the_log_cannot_name_is_not_published() {
    let office = Office::new().await;
    office.sql("alter table qy drop constraint qy_pkey").await;
    office.insert(0, "企业0").await;
    let why = office.failure().await;
    assert!(why.contains("HL0381") && why.contains("代码"), "{why}");
    assert_eq!(office.one("select count(*)::text from pg_publication").await, "0");
    office.sql("update qy set 名称 = '企业零'").await; // its owner still can
    office.sql("alter table qy replica identity full").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
    office.sql("create view v as select * from qy").await;
    let text = std::fs::read_to_string(office.small.path().join("connectors/gs.yaml")).unwrap();
    office.small.write("connectors/gs.yaml", text.replace("table: qy", "table: v"));
    assert!(office.failure().await.contains("HL0380"));
    office.small.write("connectors/gs.yaml", text.replace("table: qy", "table: qy2"));
    assert!(office.failure().await.contains("HL0332"));
}

#[tokio::test]
async fn a_probe_says_how_far_behind_we_are_and_makes_nothing() {
    let office = Office::new().await;
    office.insert(0, "企业0").await;
    let probed = office.probe().await;
    assert_eq!((probed.outcome, probed.rows, probed.lag), ("reached", 1, None), "{probed:?}");
    let made = "select (select count(*) from pg_publication)::text || (select count(*) from pg_replication_slots \
                where database = current_database())::text";
    assert_eq!(office.one(made).await, "00");
    office.run().await;
    let probed = office.probe().await;
    assert_eq!((probed.rows, probed.lag.unwrap().seconds), (0, 0), "{probed:?}");
    let before = office.kept("confirmed_flush_lsn").await;
    office.sql(&format!("insert into qy values ('{}', '企业1', null, '1', '在营', now())", CODES[1])).await;
    office.sql("select pg_sleep(1.1)").await;
    let probed = office.probe().await;
    let lag = probed.lag.unwrap();
    assert!(probed.outcome == "reached" && probed.rows == 1 && lag.bytes > 0 && lag.seconds >= 1, "{probed:?}");
    assert_eq!(office.kept("confirmed_flush_lsn").await, before);
    let rehearsed = office.small.engine().await.rehearse_run("qy", false).await.unwrap();
    assert_eq!(rehearsed.registers[0].counts.new, 1, "{rehearsed:?}");
    assert_eq!(office.kept("confirmed_flush_lsn").await, before, "a rehearsal moves nothing either");
    let report = office.small.run("qy").await;
    assert_eq!(line(&report), "succeeded 1/0/0/1/0/0/0/0");
    // What the run found when it began is kept: every process over the store can tell it.
    let found = report.lag.unwrap();
    assert!(found.bytes >= lag.bytes && found.seconds >= lag.seconds, "{report:?}");
    let last = office.small.engine().await.store().runs(Some("qy"), 1).await.unwrap().remove(0);
    assert_eq!(last.lag, Some(found));
    let (code, status, _) = huiliu(office.small.path(), &["status"]);
    assert!(code == 0 && status.contains("变更滞后") && status.contains("bytes of log"), "{status}");
    assert!(!status.contains("HL0391"), "nobody limits it: {status}");
    let pipeline = std::fs::read_to_string(office.small.path().join("pipelines/qy.yaml")).unwrap();
    for (limit, beyond) in [("{ time: 1d, bytes: 1024GiB }", false), ("{ time: 1d, bytes: 1B }", true)] {
        office.small.write("pipelines/qy.yaml", format!("{pipeline}lag: {limit}\n"));
        let (code, status, _) = huiliu(office.small.path(), &["status"]);
        assert!(code == 0 && status.contains("HL0391 beyond its limit") == beyond, "{limit}: {status}");
    }
    let daemon = Daemon::with(office.small.path(), &[], &[]);
    let told = daemon.ask_until("/metrics", |_, text| text.contains("huiliu_source_lag_bytes{pipeline=\"qy\"}"));
    assert!(told.contains("huiliu_source_lag_seconds{pipeline=\"qy\"}"), "{told}");
    assert!(told.contains("huiliu_source_lag_limit_seconds{pipeline=\"qy\"} 86400"), "{told}");
    assert!(told.contains("huiliu_source_lag_limit_bytes{pipeline=\"qy\"} 1\n"), "{told}");
    daemon.wait_until("HL0391", |line| line["code"] == "HL0391" && line["pipeline"] == "qy");
}

/// Everything that one pull gives, as JSON arrays, and what was taken afterwards.
async fn pull(small: &Small, before: Option<Before>) -> (Vec<String>, Option<Before>) {
    let workspace = Workspace::load(small.path()).unwrap();
    let connector = &workspace.connectors["gs"];
    let mut source = source::open(&workspace, connector, &connector.datasets["qy"]).unwrap();
    let item = source.list(before.as_ref()).await.unwrap().items.remove(0);
    let mut decoder = source.open(&item, None).await.unwrap();
    let (name, digest) = (item.name.clone(), item.digest.clone());
    let read = tokio::task::spawn_blocking(move || {
        let (mut rows, mut cursor) = (Vec::new(), None);
        while let Some(decoded) = decoder.next(100).unwrap() {
            let raw = |i| String::from_utf8(decoded.raw_row(i).to_vec()).unwrap();
            rows.extend((0..decoded.places.len()).map(raw));
            cursor = decoded.position.cursor;
        }
        (rows, Some(Before { name, digest, over: true, held: false, cursor }))
    });
    let (rows, before) = read.await.unwrap();
    source.settle(&item).await.unwrap();
    (rows, before)
}

#[tokio::test]
async fn cells_of_the_log_are_the_text_that_a_copy_has() {
    let office = Office::new().await;
    let columns = "id int primary key, yes boolean, filled char(8), amount numeric(30, 10), at timestamptz, day date, \
                   address inet, net cidr, numbers int[], json jsonb, bytes bytea, real double precision, own flag, big text";
    office
        .sql(&format!(
            "drop table qy; create domain flag as boolean; create table qy ({columns}); \
                         alter table qy alter column big set storage external"
        ))
        .await;
    let names = "id, yes, filled, amount, at, day, address, net, numbers, json, bytes, real, own, big";
    let contract: Vec<String> = names.split(", ").map(|name| format!("{name}: text")).collect();
    let text = std::fs::read_to_string(office.small.path().join("connectors/gs.yaml")).unwrap();
    let text = text.replace("    updated: 更新\n", "").replace("key: [代码]", "key: [id]");
    let (head, _) = text.split_once("    columns:").unwrap();
    office.small.write("connectors/gs.yaml", format!("{head}    columns: {{ {} }}\n", contract.join(", ")));
    office.small.write("mappings/gs/qy.enterprise.sql", "select id as uscc from source\n");
    let row = "true, 'ab', 12345678901234567890.5, '2026-10-01 08:00:00.25+08', '2026-10-01', '10.0.0.1', '10.0.0.0/8', \
               '{1,2}', '{\"a\": \"汉\"}', '\\x00ff', 0.1, false";
    office.sql(&format!("insert into qy values (1, {row}, repeat('长', 4000))")).await;
    let (copied, before) = pull(&office.small, None).await;
    assert_eq!(copied.len(), 1);
    office.sql(&format!("insert into qy values (2, {row}, repeat('长', 4000))")).await;
    // The large cell is not in the log of these: it is looked up.
    office.sql("update qy set yes = true where id = 1").await;
    office.sql("update qy set id = 3 where id = 1").await;
    let (told, before) = pull(&office.small, before).await;
    let as_first = |row: &str| format!("[\"1\"{}", row.split_once(',').map(|(_, rest)| format!(",{rest}")).unwrap());
    assert_eq!(as_first(&told[0]), copied[0]);
    // The second change came too late to look at: the row has another key by now.
    assert_eq!(told.len(), 3, "{}", told.len());
    assert!(told[1].starts_with("[\"1\",null,null"), "what goes is only its key");
    assert_eq!(as_first(&told[2]), copied[0]);
    office
        .sql(
            "alter table qy replica identity full; update qy set yes = false where id = 3; delete from qy where id = 3",
        )
        .await;
    let (told, _) = pull(&office.small, before).await;
    let [changed, gone] = told.as_slice() else { panic!("{}", told.len()) };
    assert_eq!(as_first(changed), copied[0].replacen("true", "false", 1), "the old row has the large cell");
    assert_eq!(gone, changed);
}

#[tokio::test]
async fn a_partitioned_table_is_one_table() {
    let office = Office::new().await;
    office.sql("drop table qy").await;
    office
        .sql(&format!(
            "{} partition by list (代码); create table qy_0 partition of qy for values in ('{}'); \
                         create table qy_1 partition of qy default",
            TABLE, CODES[0]
        ))
        .await;
    office.insert(0, "企业0").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
    office.insert(1, "企业1").await;
    office.sql(&format!("update qy set 名称 = '企业零' where 代码 = '{}'", CODES[0])).await;
    assert_eq!(office.run().await, "succeeded 2/0/0/1/1/0/0/0");
}

#[tokio::test]
async fn a_copy_that_is_held_is_made_once_more() {
    let office = Office::new().await;
    for digit in ['A', 'B', 'C'] {
        let bad = CODES[0].replace('F', &digit.to_string());
        office.sql(&insert(0, "坏码").replace(CODES[0], &bad)).await;
    }
    assert!(office.failure().await.contains("HL0512"));
    office.sql("delete from qy").await;
    office.sql(&format!("{} {}", insert(0, "企业0"), insert(1, "企业1"))).await;
    // Two rows are copied; then the log tells of three that went and of the two that came.
    assert_eq!(office.run().await, "succeeded 7/3/0/2/0/2/0/0");
    assert_eq!(office.names().await, ["企业0", "企业1"]);
    office.insert(2, "企业2").await;
    assert_eq!(office.run().await, "succeeded 1/0/0/1/0/0/0/0");
}
