//! What only a database server can do to us: other writers, lost connections, refused values, hands in the schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use huiliu::engine::{Engine, RunOptions};
use huiliu::error::Disposition;
use huiliu::store::postgres::PostgresStore;
use huiliu::store::{ChangeSet, FileStart, Operations as _, QuarantineFilter, RunStart, Store, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::runs::valid_code;
use crate::support::daemon::Daemon;
use crate::support::services::{Database, service, unique};
use crate::support::{CODES, OnPostgres, line, registers};

/// One statement after the other, as a person would type them.
async fn sql(url: &str, text: &str) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut conn).await.unwrap();
}

/// Rows of a table, with a condition or without; `None` when there is no such table.
async fn count(url: &str, from: &str) -> Option<i64> {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let sql = format!("select count(*) from {from}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.ok()
}

async fn refusal(url: &str, installation: &str) -> String {
    match PostgresStore::open(url, installation).await {
        Ok(_) => "opened".into(),
        Err(StoreError::Refused(problem)) => problem.code.to_owned(),
        Err(error) => format!("{:?}: {error}", error.disposition()),
    }
}

fn row<'a>(code: &'a str, name: &'a str) -> [&'a str; 6] {
    [code, name, "", "100万元", "在营", "2026-10-01 00:00:00"]
}

#[tokio::test]
async fn whoever_cannot_or_must_not_open_it_is_told_why() {
    let database = Database::new().await;
    let url = database.url();
    assert_eq!(refusal(&url, "one").await, "opened");
    assert_eq!(refusal(&url, "one").await, "opened", "again, and nothing changes");
    assert_eq!(refusal(&url, "other").await, "HL0404");

    let wrong = refusal(&url.replace("huiliu:huiliu@", "huiliu:wrong@"), "one").await;
    assert!(
        wrong.starts_with("Retry") && wrong.contains("HL0934") && wrong.contains("28P01") && !wrong.contains("wrong"),
        "{wrong}"
    );
    let missing = refusal(&format!("{url}_not"), "one").await;
    assert!(missing.starts_with("Retry") && missing.contains("HL0934") && missing.contains("3D000"), "{missing}");

    sql(&url, "alter table huiliu.run add column mine text").await;
    assert_eq!(refusal(&url, "one").await, "HL0403");
    sql(&url, "alter table huiliu.run drop column mine; insert into huiliu.migration values (99)").await;
    assert_eq!(refusal(&url, "one").await, "HL0401");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://huiliu:x@{}/huiliu", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let told = tokio::time::timeout(Duration::from_secs(60), refusal(&url, "one")).await.unwrap();
    assert!(told.starts_with("Retry") && told.contains("HL0934") && told.contains("never answered"), "{told}");
    silent.abort();
}

#[tokio::test]
async fn the_servers_certificate_is_checked_when_the_address_says_so() {
    let database = Database::new().await;
    let url = database.url().replace("127.0.0.1", "localhost");
    let own = format!("{url}?sslmode=verify-full&sslrootcert={}", service("CA"));
    assert_eq!(refusal(&own, "one").await, "opened");
    let mut conn = PgConnection::connect(&own).await.unwrap();
    let encrypted: bool = sqlx::query_scalar("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(encrypted);
    let strangers = format!("{url}?sslmode=verify-full");
    assert!(refusal(&strangers, "one").await.starts_with("Retry"), "a CA that nobody named is not trusted");
}

/// With Nagle's algorithm the end of each COPY waits 40 ms for an acknowledgement.
#[tokio::test]
async fn small_messages_are_not_held_back() {
    let database = Database::new().await;
    let mut conn = huiliu::postgres::connect(&database.url().parse().unwrap()).await.unwrap();
    sqlx::raw_sql("create temp table t (n integer)").execute(&mut conn).await.unwrap();
    let began = Instant::now();
    for _ in 0..50 {
        let mut copy = conn.copy_in_raw("copy t from stdin").await.unwrap();
        copy.send("1\n".as_bytes()).await.unwrap();
        copy.finish().await.unwrap();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let rows: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&mut conn).await.unwrap();
    assert_eq!(rows, 50);
}

#[tokio::test]
async fn instances_that_start_together_make_the_tables_once() {
    let database = Database::new().await;
    let opening = (0..6).map(|_| {
        let url = database.url();
        tokio::spawn(async move { refusal(&url, "one").await })
    });
    for opened in opening.collect::<Vec<_>>() {
        assert_eq!(opened.await.unwrap(), "opened");
    }
}

#[tokio::test]
async fn a_register_that_somebody_altered_is_refused_by_name() {
    let small = OnPostgres::new();
    small.engine().await;
    let url = small.database().await.unwrap();
    sql(&url, "alter table registers.enterprise alter column capital type double precision").await;
    let refused = small.try_engine().await.err().unwrap().to_string();
    assert!(refused.contains("HL0403") && refused.contains("enterprise"), "{refused}");
}

#[tokio::test]
async fn a_reader_may_query_registers_and_nothing_else() {
    let small = OnPostgres::new();
    small.extract("QY_1.csv", &[row(CODES[0], "青岛海蓝")]);
    small.run("qy").await;
    let url = small.database().await.unwrap();
    let reader = unique("bi");
    sql(&url, &format!("create role {reader} login password 'x' in role huiliu_reader")).await;
    let mut conn = PgConnection::connect(&url.replace("huiliu:huiliu@", &format!("{reader}:x@"))).await.unwrap();
    let name: String = sqlx::query_scalar("select name from registers.enterprise where capital = 1000000")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(name, "青岛海蓝");
    let code =
        |done: Result<_, sqlx::Error>| done.err().and_then(|e| e.as_database_error()?.code().map(|c| c.into_owned()));
    for forbidden in ["select * from huiliu.claim", "delete from registers.enterprise"] {
        let done = sqlx::raw_sql(forbidden).execute(&mut conn).await;
        assert_eq!(code(done).as_deref(), Some("42501"), "{forbidden}");
    }
    conn.close().await.unwrap();
    sql(&url, &format!("drop role {reader}")).await;
}

/// A change log read by number loses what a slower transaction drew earlier, unless writers take turns.
#[tokio::test]
async fn a_slow_writer_of_the_change_log_makes_nobody_skip_anything() {
    let small = OnPostgres::new();
    small.extract("QY_1.csv", &[row(CODES[0], "甲"), row(CODES[1], "乙")]);
    small.run("qy").await;
    assert_eq!(small.release().await.upserts, 2);
    let url = small.database().await.unwrap();
    let mut slow = PgConnection::connect(&url).await.unwrap();
    // Somebody corrects an entity by hand, draws a number, and takes his time.
    let by_hand = "begin; update registers.enterprise set name = '甲手改', _version = 2 where _id = 1; \
                   insert into registers.enterprise_change (at, entity, version, kind, run) \
                   values ('2026-11-21', 1, 2, 'changed', 0)";
    sqlx::raw_sql(by_hand).execute(&mut slow).await.unwrap();
    small.extract("QY_2.csv", &[row(CODES[0], "甲"), row(CODES[1], "乙二"), row(CODES[2], "丙")]);
    let small = Arc::new(small);
    let night = tokio::spawn({
        let small = Arc::clone(&small);
        async move { small.run("qy").await }
    });
    #[expect(clippy::disallowed_methods, reason = "that something does not happen is seen by waiting")]
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!night.is_finished(), "the run waits for its numbers");
    assert_eq!(small.release().await.status, "nothing new", "and the feed does not wait");
    sqlx::raw_sql("commit").execute(&mut slow).await.unwrap();
    assert_eq!(line(&night.await.unwrap()), "succeeded 3/0/0/1/1/1/0/0");
    let released = small.release().await;
    assert_eq!((released.upserts, released.withdrawals), (3, 0), "the slow change and both fast ones");
}

/// Indexes of the tables that a first load goes into without.
async fn indexes(url: &str) -> Option<i64> {
    count(url, "pg_indexes where schemaname = 'huiliu' and tablename in ('claim', 'identity')").await
}

/// A long file into an empty store goes without indexes. Who comes after a crash finds none, and makes them before anything
/// else; who only reads gets the right answers without.
#[tokio::test]
async fn a_first_load_goes_without_indexes_until_it_ends_or_somebody_else_writes() {
    let (small, undisturbed) = (OnPostgres::new(), OnPostgres::new());
    let codes: Vec<String> = (0..12_000).map(valid_code).collect();
    let mut rows: Vec<_> = codes.iter().map(|code| row(code, "企业")).collect();
    rows[11_000] = row(&codes[3], "改名的企业");
    for small in [&small, &undisturbed] {
        small.extract("QY_1.csv", &rows);
    }
    drop(small.engine().await);
    let url = small.database().await.unwrap();
    small.write("huiliu.yaml", format!("version: 1\nname: test\nstore: {url}\n"));
    assert_eq!(indexes(&url).await, Some(4));
    let huiliu = |args: &[&str], failpoints: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"));
        command.arg("--dir").arg(small.path()).args(args).env("FAILPOINTS", failpoints);
        command.output().unwrap()
    };
    let died = huiliu(&["run", "qy"], "chunk-committed=return");
    assert!(!died.status.success());
    let told = String::from_utf8_lossy(&died.stderr);
    assert_eq!((indexes(&url).await, count(&url, "huiliu.claim").await), (Some(0), Some(8_192)), "{told}");
    let got = huiliu(&["register", "get", "enterprise", &codes[3]], "");
    assert!(String::from_utf8_lossy(&got.stdout).contains("企业"), "{}", String::from_utf8_lossy(&got.stderr));
    let examined = huiliu(&["doctor"], "");
    let told = String::from_utf8_lossy(&examined.stderr);
    assert!(examined.status.success() && told.contains("first load not ended"), "{told}");
    assert_eq!(indexes(&url).await, Some(0), "who reads makes none");

    assert_eq!(small.run("qy").await.status, "succeeded");
    assert_eq!(undisturbed.run("qy").await.status, "succeeded");
    let other = undisturbed.database().await.unwrap();
    assert_eq!((indexes(&url).await, indexes(&other).await), (Some(4), Some(4)));
    let (mut engine, mut same) = (small.engine().await, undisturbed.engine().await);
    assert_eq!(said(&mut engine).await, said(&mut same).await);
    assert_eq!(count(&url, "registers.enterprise where name = '改名的企业'").await, Some(1));
    for engine in [&mut engine, &mut same] {
        let doctor = engine.doctor().await.unwrap();
        assert_eq!((doctor.disagreements, doctor.lacks_indexes), (0, false));
    }
    for (table, columns) in [("claim", "entity, id"), ("identity", "field, value")] {
        let key = format!(
            "pg_constraint where conrelid = 'huiliu.{table}'::regclass and contype = 'p' and \
             pg_get_constraintdef(oid) = 'PRIMARY KEY ({columns})'"
        );
        assert_eq!(count(&url, &key).await, Some(1), "{table}");
    }
}

/// Two processes run two pipelines into one register at once; it ends as if one had run after the other.
#[tokio::test]
async fn two_writers_take_turns() {
    let (together, apart) = (Arc::new(OnPostgres::new()), OnPostgres::new());
    let codes: Vec<String> = (0..12_000).map(valid_code).collect();
    for small in [&*together, &apart] {
        let gs: Vec<_> = codes.iter().map(|code| row(code, "工商名")).collect();
        small.extract("QY_1.csv", &gs);
        let tax: Vec<_> = codes
            .iter()
            .rev()
            .map(|code| [code.as_str(), "", "税务名", "13800000000", "2026-10-01 00:00:00"])
            .collect();
        small.taxpayers("NSR_1.csv", &tax);
    }
    apart.run("qy").await;
    apart.run("nsr").await;
    drop(together.engine().await);
    let runs = ["qy", "nsr"].map(|pipeline| {
        let small = Arc::clone(&together);
        tokio::spawn(async move { small.run(pipeline).await })
    });
    for run in runs {
        let report = run.await.unwrap();
        assert_eq!(report.status, "succeeded", "{report:?}");
    }
    let mut engine = together.engine().await;
    let doctor = engine.doctor().await.unwrap();
    assert_eq!(doctor.disagreements, 0, "{:?}", doctor.findings);
    // Ids and versions depend on who came first; what is said of each code does not.
    let (a, b) = (said(&mut engine).await, said(&mut apart.engine().await).await);
    assert_eq!(a.len(), 12_000);
    for (one, other) in a.iter().zip(&b) {
        assert_eq!(one, other);
    }
}

/// A source may take its very first rows while another one's run is under way: that run must know who wins.
#[tokio::test]
async fn a_source_that_begins_while_another_is_read_leads_its_fields() {
    for known in [true, false] {
        let small = Arc::new(slow_taxpayers());
        let qy = std::fs::read(small.path().join("pipelines/qy.yaml")).unwrap();
        if !known {
            std::fs::remove_file(small.path().join("pipelines/qy.yaml")).unwrap();
        }
        let mut engine = small.engine().await;
        let slow = tokio::spawn(async move { engine.run("nsr", &RunOptions::default()).await.unwrap() });
        let url = small.database().await.unwrap();
        while count(&url, "huiliu.file where chunks > 0").await != Some(1) {}
        small.write("pipelines/qy.yaml", qy);
        assert_eq!(small.run("qy").await.status, "succeeded");
        let report = slow.await.unwrap();
        if known {
            assert_eq!(report.status, "succeeded", "{report:?}");
        } else {
            assert!(report.status == "failed" && report.why.as_ref().unwrap().contains("HL0507"), "{report:?}");
            assert_eq!(small.run("nsr").await.status, "succeeded");
        }
        let doctor = small.engine().await.doctor().await.unwrap();
        assert_eq!(doctor.disagreements, 0, "{:?}", doctor.findings);
        assert_eq!(count(&url, "registers.enterprise where capital is not null and name = '工商名'").await, Some(10));
    }
}

/// Taxpayers that take some seconds to read; the last of them are in the first extract of the registration too.
fn slow_taxpayers() -> OnPostgres {
    let small = OnPostgres::new();
    let codes: Vec<String> = (0..20_000).map(valid_code).collect();
    let taxpayer = |code| [code, "", "税务名", "13800000000", "2026-10-01 00:00:00"];
    small.taxpayers("NSR_1.csv", &codes.iter().map(|code| taxpayer(code.as_str())).collect::<Vec<_>>());
    small.extract("QY_1.csv", &codes[19_990..].iter().map(|code| row(code, "工商名")).collect::<Vec<_>>());
    let pipeline = "version: 1\nfrom: tax.nsr\ninto: [enterprise]\nlimit: { rate: 4000 rows/s }\n";
    small.write("pipelines/nsr.yaml", pipeline);
    small
}

/// The rows of the register without their ids and versions, sorted.
async fn said(engine: &mut Engine) -> Vec<String> {
    let page = engine.store().claimed_entities("enterprise", 0, 1_000_000).await.unwrap();
    let held = engine.store().before("enterprise", &page).await.unwrap();
    let mut rows: Vec<String> = held.values().map(|entity| format!("{:?}", entity.row.as_ref().unwrap().0)).collect();
    rows.sort();
    rows
}

/// Connections die under a run again and again; runs after them end where an undisturbed one does.
#[tokio::test]
async fn connections_that_are_cut_cost_time_and_nothing_else() {
    let (undisturbed, cut) = (OnPostgres::new(), Arc::new(OnPostgres::new()));
    let codes: Vec<String> = (0..30_000).map(valid_code).collect();
    let rows: Vec<_> = codes.iter().map(|code| row(code, "企业")).collect();
    undisturbed.extract("QY_1.csv", &rows);
    undisturbed.run("qy").await;
    cut.extract("QY_1.csv", &rows);
    drop(cut.engine().await);
    let url = cut.database().await.unwrap();
    let (name, stop) = (url.rsplit('/').next().unwrap().to_owned(), Arc::new(AtomicBool::new(false)));
    let cutting = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut conn = PgConnection::connect(&service("POSTGRES")).await.unwrap();
            let (mut cuts, mut pause) = (0, Duration::from_millis(400));
            while !stop.load(Ordering::Relaxed) {
                #[expect(clippy::disallowed_methods, reason = "whoever disturbs, disturbs from time to time")]
                tokio::time::sleep(pause).await;
                pause += pause / 3; // every moment of a run, and an end however slow the machine is
                let killed: i64 = sqlx::query_scalar(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1",
                )
                .bind(&name)
                .fetch_one(&mut conn)
                .await
                .unwrap();
                cuts += killed;
            }
            cuts
        }
    });
    let mut passes = 0;
    loop {
        passes += 1;
        assert!(passes < 200, "no progress");
        let Ok(mut engine) = cut.try_engine().await else { continue };
        match engine.run("qy", &RunOptions::default()).await {
            Ok(report) if report.status == "succeeded" => break,
            Ok(report) => assert_eq!(report.status, "failed", "{report:?}"),
            Err(error) => assert_eq!(error.disposition(), Disposition::Retry, "{error}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(cutting.await.unwrap() > 0 && passes > 1, "something was cut");
    let mut engine = cut.engine().await;
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
    assert!(registers(&mut engine).await == registers(&mut undisturbed.engine().await).await);
}

/// The daemon lets go of months that are older than `retention` says, and writes down what went.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_lets_go_of_old_months() {
    let small = OnPostgres::new();
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    small.run("qy").await;
    small.release().await;
    let url = small.database().await.unwrap();
    let months = "create table registers.enterprise_history_2024_01 partition of registers.enterprise_history \
                  for values from ('2024-01-01') to ('2024-02-01')";
    sql(&url, months).await;
    small.write("huiliu.yaml", format!("version: 1\nname: test\nissuer: 市\nstore: {url}\n"));
    let daemon = Daemon::start(small.path());
    daemon.ask_until("/readyz", |status, _| status == 200);
    daemon.stop();
    assert_eq!(count(&url, "registers.enterprise_history_2024_01").await, Some(0), "without retention all is kept");

    small.write("huiliu.yaml", format!("version: 1\nname: test\nissuer: 市\nstore: {url}\nretention: 365d\n"));
    let daemon = Daemon::start(small.path());
    let told = daemon.wait_for("let go of old months of history and change logs");
    assert_eq!(told["tables"], "enterprise_history_2024_01");
    daemon.stop();
    assert_eq!(count(&url, "registers.enterprise_history_2024_01").await, None);
    assert_eq!(count(&url, "huiliu.audit where action = 'retention'").await, Some(1));
    assert_eq!(count(&url, "registers.enterprise_change").await, Some(1), "this month stays");
}

/// A value that the database refuses costs its row, not the file.
#[tokio::test]
async fn a_value_that_the_database_refuses_is_set_aside_with_its_row() {
    let small = OnPostgres::new();
    let codes: Vec<String> = (0..8_300).map(valid_code).collect();
    let mut rows: Vec<_> = codes.iter().map(|code| row(code, "企业")).collect();
    drop(small.engine().await);
    let url = small.database().await.unwrap();
    sql(&url, "alter table registers.enterprise add constraint short check (length(name) < 9)").await;
    for bad in [0, 8_191, 8_192] {
        rows[bad][1] = "这个名称比约束所允许的要长";
    }
    small.extract("QY_1.csv", &rows);
    let report = small.run("qy").await;
    assert_eq!(line(&report), "succeeded 8300/0/3/8297/0/0/0/0", "{report:?}");
    let mut engine = small.engine().await;
    let filter = QuarantineFilter { limit: 100, ..QuarantineFilter::default() };
    let aside = engine.store().quarantine(&filter).await.unwrap();
    let told: Vec<_> = aside.iter().map(|bad| (bad.row, bad.reasons[0].code.as_str())).collect();
    assert_eq!(told, [(1, "store_23514"), (8_192, "store_23514"), (8_193, "store_23514")]);
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
    assert_eq!(line(&small.run("qy").await), "succeeded 0/0/0/0/0/0/0/0", "the file is taken");
}

/// Chunks do not wait for the disk; a power cut takes the last of them together with the file's position. Whoever comes
/// back to such a server starts again from that position, and writes nothing behind the gap.
#[tokio::test]
async fn a_server_that_lost_its_last_chunks_is_noticed() {
    let small = OnPostgres::new();
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    small.run("qy").await;
    let url = small.database().await.unwrap();
    let mut store = PostgresStore::open(&url, "test").await.unwrap();
    let start = RunStart { pipeline: "qy".into(), kind: "run", at: 1, definitions: String::new() };
    let run = store.begin_run(start).await.unwrap();
    let file =
        FileStart { dataset: "gs.qy".into(), name: "f".into(), digest: "d".into(), bytes: 1, at: 1, again: false };
    let file = store.begin_file(file).await.unwrap();
    let change = || ChangeSet { run, file: Some(file.id), at: 2, position: None, parts: Vec::new() };
    for _ in 0..2 {
        store.commit(change()).await.unwrap();
        store.rest().await.unwrap();
    }
    sql(&url, "update huiliu.file set chunks = 1 where digest = 'd'").await;
    store.commit(change()).await.unwrap();
    let told = store.rest().await;
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    let known = store.file("gs.qy", "d").await.unwrap().unwrap();
    assert_eq!(known.chunks, 1, "nothing was written");
}

#[tokio::test]
async fn old_months_go_when_every_feed_has_read_them() {
    let small = OnPostgres::new();
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    small.run("qy").await;
    let url = small.database().await.unwrap();
    let months = "create table registers.enterprise_change_2024_01 partition of registers.enterprise_change \
                  for values from ('2024-01-01') to ('2024-02-01'); \
                  create table registers.enterprise_history_2024_01 partition of registers.enterprise_history \
                  for values from ('2024-01-01') to ('2024-02-01'); \
                  insert into registers.enterprise_change (at, entity, version, kind, run) values ('2024-01-05', 1, 1, 'new', 1)";
    sql(&url, months).await;
    let mut store = PostgresStore::open(&url, "test").await.unwrap();
    let workspace = huiliu::config::Workspace::load(small.path()).unwrap();
    store.prepare(&workspace.registers.values().collect::<Vec<_>>()).await.unwrap();
    let year = 1_735_689_600_000_000; // 2025-01-01
    small.engine().await.store().feed("housing.enterprise").await.unwrap();
    assert_eq!(store.retain_since(year).await.unwrap(), ["enterprise_history_2024_01"], "the feed has not read it");
    small.release().await;
    assert_eq!(store.retain_since(year).await.unwrap(), ["enterprise_change_2024_01"]);
    assert_eq!(small.engine().await.doctor().await.unwrap().disagreements, 0);
}
