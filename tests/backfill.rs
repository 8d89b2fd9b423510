//! Backfills: what old files may say, what a dry run leaves alone, crashes, daemons, batches sent again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::serve::{same_registers, scheduled, wait_for_chunks, wait_for_sql};
use crate::support::daemon::{Daemon, huiliu};
use crate::support::{CODES, Small, enterprises, seals_as_files};

/// A taxpayer: code, name, when it was changed.
fn nsr<'a>(code: &'a str, name: &'a str, updated: &'a str) -> [&'a str; 5] {
    [code, "", name, "", updated]
}

fn qy<'a>(code: &'a str, name: &'a str, updated: &'a str) -> [&'a str; 6] {
    [code, name, "", "100万元", "在营", updated]
}

/// A verb that must end with this code; its stdout.
fn verb(small: &Small, args: &[&str], code: i32) -> String {
    let (ended, out, said) = huiliu(small.path(), args);
    assert_eq!(ended, code, "{args:?}\n{out}\n{said}");
    out
}

fn json(small: &Small, args: &[&str], code: i32) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&verb(small, &args, code)).unwrap()
}

/// The ledger of a backfill as new/changed/unchanged/superseded/retracted.
fn ledger(told: &Value) -> String {
    let line = &told["comparison"]["ledger"][0];
    let n = |name: &str| line[name].as_u64().unwrap();
    format!("{}/{}/{}/{}/{}", n("new"), n("changed"), n("unchanged"), n("superseded"), n("retracted"))
}

/// Registered names by code.
fn names(small: &Small) -> BTreeMap<String, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(enterprises(small))
}

/// Every row of every table, but for what a mere look changes.
fn dump(path: &Path) -> Vec<String> {
    use sqlx::{AssertSqlSafe, ConnectOptions, Row};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let mut conn = options.connect().await.unwrap();
        let tables: Vec<String> = sqlx::query_scalar("select name from sqlite_schema where type = 'table' order by 1")
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let mut all = Vec::new();
        for table in tables {
            let sql = format!("select json_group_array(rowid) || count(*) from (select 1 as rowid from \"{table}\")");
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap();
            all.push(format!("{table} {}", row.get::<String, _>(0)));
        }
        all
    })
}

#[test]
fn an_old_file_adds_what_is_missing_and_overrules_nothing_newer() {
    let small = Small::new();
    small.taxpayers("NSR_20260301.csv", &[nsr(CODES[0], "新名", "2026-03-01 00:00:00")]);
    verb(&small, &["run", "nsr"], 0);
    let old = |name: &str, rows: &[[&str; 5]]| {
        small.taxpayers(name, rows);
        let from = small.path().join("out/tax").join(name);
        fs::create_dir_all(small.path().join("out/tax/archive")).unwrap();
        fs::rename(from, small.path().join("out/tax/archive").join(name)).unwrap();
    };
    old(
        "NSR_20260101.csv",
        &[nsr(CODES[0], "旧名", "2026-01-01 00:00:00"), nsr(CODES[1], "老户", "2025-12-01 00:00:00")],
    );
    old("NSR_20260201.csv", &[nsr(CODES[1], "老户改名", "2026-02-01 00:00:00")]);
    let start = ["backfill", "start", "nsr", "--files", "archive/NSR_*.csv", "--why", "补历史"];
    let told = json(&small, &start, 0);
    assert_eq!((told["state"].as_str(), ledger(&told).as_str()), (Some("done"), "1/1/0/1/0"), "{told}");
    assert_eq!(
        (&told["comparison"]["before"][0]["rows"], &told["comparison"]["after"][0]["rows"]),
        (&1.into(), &2.into())
    );
    assert_eq!(names(&small), BTreeMap::from([(CODES[0].into(), "新名".into()), (CODES[1].into(), "老户改名".into())]));
    let again = json(&small, &start, 0);
    assert_eq!(ledger(&again), "0/0/1/2/0", "again changes nothing: {again}");
    assert_eq!(names(&small)[CODES[1]], "老户改名");
    let run = verb(&small, &["run", "nsr", "--json"], 0);
    assert!(run.contains("unchanged") && !run.contains("\"taken\""), "the live flow has not moved: {run}");
    assert!(!verb(&small, &["doctor"], 0).contains("HL0"));
    let list = verb(&small, &["backfill", "list"], 0);
    assert!(list.contains("补历史") && list.contains("done"), "{list}");
}

#[test]
fn an_old_full_extract_brings_nothing_back_and_takes_nothing_away() {
    let small = Small::new();
    small.extract(
        "QY_20260301.csv",
        &[qy(CODES[0], "甲", "2026-03-01 00:00:00"), qy(CODES[1], "乙", "2026-03-01 00:00:00")],
    );
    verb(&small, &["run", "qy"], 0);
    let archived = small.path().join("archive");
    small.extract(
        "QY_20260101.csv",
        &[qy(CODES[0], "甲旧", "2026-01-01 00:00:00"), qy(CODES[2], "已注销户", "2025-01-01 00:00:00")],
    );
    fs::create_dir_all(&archived).unwrap();
    fs::rename(small.path().join("out/gs/QY_20260101.csv"), archived.join("QY_20260101.csv")).unwrap();
    let glob = archived.join("QY_*.csv");
    let told = json(&small, &["backfill", "start", "qy", "--files", glob.to_str().unwrap()], 0);
    assert_eq!(ledger(&told), "0/0/0/2/0", "{told}");
    assert_eq!(names(&small), BTreeMap::from([(CODES[0].into(), "甲".into()), (CODES[1].into(), "乙".into())]));

    // The newest extract once more, under another mapping: what it is for.
    let path = "mappings/gs/qy.enterprise.sql";
    let sql = fs::read_to_string(small.path().join(path)).unwrap();
    small.write(path, sql.replace("org_name(名称) as name", "org_name(名称 || '公司') as name"));
    let told = json(&small, &["backfill", "start", "qy", "--from", "2026-03-01", "--to", "2026-03-01"], 0);
    assert_eq!(ledger(&told), "0/2/0/0/0", "{told}");
    assert_eq!(names(&small)[CODES[0]], "甲公司");
    let told =
        json(&small, &["backfill", "start", "qy", "--from", "2026-02-01", "--to", "2026-04-01", "--by-updated"], 0);
    assert_eq!(ledger(&told), "0/0/2/0/0", "{told}");
    let told =
        json(&small, &["backfill", "start", "qy", "--from", "2026-04-01", "--to", "2026-05-01", "--by-updated"], 0);
    assert_eq!(
        (ledger(&told).as_str(), &told["comparison"]["ledger"][0]["filtered"]),
        ("0/0/0/0/0", &2.into()),
        "{told}"
    );
}

#[test]
fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let small = Small::new();
    small.extract("QY_20260301.csv", &[qy(CODES[0], "甲", "2026-03-01 00:00:00")]);
    verb(&small, &["run"], 0);
    small.taxpayers("NSR_20260301.csv", &[nsr(CODES[1], "丙", "2026-03-01 00:00:00")]);
    verb(&small, &["run", "nsr"], 0);
    small.taxpayers(
        "NSR_20260302.csv",
        &[nsr(CODES[1], "丙改", "2026-03-02 00:00:00"), nsr(CODES[2], "丁", "2026-03-02 00:00:00")],
    );
    small.taxpayers("NSR_20260303.csv", &[nsr(CODES[2], "丁", "2026-03-02 00:00:00")]);
    let db = small.path().join(".huiliu/huiliu.db");
    let before = dump(&db);
    let start =
        ["backfill", "start", "nsr", "--from", "2026-03-02", "--to", "2026-03-03", "--dry-run", "--rate", "1/s"];
    let told = json(&small, &start, 0);
    let counts = &told["registers"][0][1];
    assert_eq!((&counts["new"], &counts["changed"], &counts["unchanged"]), (&1.into(), &1.into(), &1.into()), "{told}");
    assert_eq!(
        (&told["rows"], &told["seconds"], &told["affected"][0]["feed"]),
        (&3.into(), &3.0.into(), &"housing.enterprise".into())
    );
    assert_eq!(dump(&db), before);
    let text = verb(&small, &start, 0);
    assert!(text.contains("试算") && text.contains("housing.enterprise"), "{text}");
    assert!(verb(&small, &["backfill", "list", "--json"], 0).trim() == "[]");
}

#[test]
fn what_nobody_can_mean_is_refused_with_a_code() {
    let small = Small::new();
    small.extract("QY_20260301.csv", &[qy(CODES[0], "甲", "2026-03-01 00:00:00")]);
    for (args, code) in [
        (&["qy", "--from", "0000-01-01", "--to", "2026-01-01"][..], "HL0920"),
        (&["qy", "--from", "2026-02-01", "--to", "2026-01-01"][..], "HL0920"),
        (&["qy", "--from", "1960-01-01", "--to", "2026-01-01", "--chunk", "0d"][..], "HL0923"),
        (&["qy", "--from", "gestern"][..], "HL0923"),
        (&["qy", "--rate", "fast"][..], "HL0923"),
        (&["qy", "--window", "25:00-26:00"][..], "HL0923"),
        (&["qy", "--files", "nothing_*.csv"][..], "HL0922"),
        (&["qy", "--from", "2020-01-01", "--to", "2020-02-01"][..], "HL0922"),
        (&["qy", "--workers", "0"][..], "HL0929"),
        (&["qy", "--workers", "33"][..], "HL0929"),
        (&["--feed", "housing.enterprise", "--rebuild", "--workers", "2"][..], "HL0929"),
        (&["qz"][..], "HL0501"),
        (&["--feed", "housing.enterprise", "--since-batch", "1"][..], "HL0927"),
        (&["--feed", "housing.nothing", "--rebuild"][..], "HL0812"),
        (&["qy", "--dry-run"][..], "HL0928"),
    ] {
        let args: Vec<&str> = ["backfill", "start"].iter().chain(args).copied().collect();
        let (ended, _, said) = huiliu(small.path(), &args);
        assert!(ended == 1 && said.contains(code), "{args:?} {code}: {said}");
    }
    for verb in ["pause", "resume", "stop", "retry", "status"] {
        let (ended, _, said) = huiliu(small.path(), &["backfill", verb, "7"]);
        assert!(ended == 1 && said.contains("HL0924"), "{verb}: {said}");
    }
    let (_, text, _) = huiliu(small.path(), &["backfill", "list", "--json"]);
    assert_eq!(text.trim(), "[]", "nothing of it was kept");
}

/// 30,000 taxpayers in three archived files.
fn archive(small: &Small) {
    for day in 1..=3 {
        let mut text = String::from("识别号,登记号,名称,电话,更新\n");
        for n in 0..10_000 {
            let code = crate::runs::valid_code(day * 10_000 + n);
            text.push_str(&format!("{code},,企业{n},,2026-01-0{day} 00:00:00\n"));
        }
        small.write(&format!("out/tax/archive/NSR_2026010{day}.csv"), text);
    }
}

const START: [&str; 5] = ["backfill", "start", "nsr", "--files", "archive/*.csv"];

#[test]
fn killed_in_the_middle_it_goes_on_and_ends_like_an_undisturbed_one() {
    let undisturbed = Small::new();
    archive(&undisturbed);
    let whole: Vec<&str> = START.into_iter().chain(["--chunk", "4000"]).collect();
    let told = json(&undisturbed, &whole, 0);
    assert_eq!((told["done"].as_u64(), ledger(&told).as_str()), (Some(9), "30000/0/0/0/0"), "{told}");

    let small = Small::new();
    archive(&small);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .arg("--dir")
        .arg(small.path())
        .args(&whole)
        .args(["--rate", "8000/s"])
        .spawn()
        .unwrap();
    let db = small.path().join(".huiliu/huiliu.db");
    wait_for_sql(&db, "select count(*) from backfill_chunk where state = 'done'", 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, status, _) = huiliu(small.path(), &["backfill", "status"]);
    assert!(status.contains("running"), "{status}");
    // The lease of the dead process ends by time.
    wait_until_free(&db);
    let told = json(&small, &["backfill", "resume", "1"], 0);
    assert_eq!((told["state"].as_str(), told["done"].as_u64()), (Some("done"), Some(9)), "{told}");
    assert_eq!(ledger(&told), "30000/0/0/0/0", "no row is counted twice: {told}");
    same_registers(&undisturbed, &small);
}

/// Six archived files that contradict each other: the same taxpayers, at times that go back and forth, and some twice.
fn contradicting(small: &Small) {
    small.taxpayers("NSR_20260301.csv", &[nsr(CODES[0], "今名", "2026-03-01 00:00:00")]);
    for file in 1..=6 {
        let mut text = String::from("识别号,登记号,名称,电话,更新\n");
        for n in 0..300 {
            let code = crate::runs::valid_code(n * (1 + file % 3));
            let day = 1 + (n * 7 + file * 11) % 28;
            text.push_str(&format!("{code},,户{n}于{file},,2026-01-{day:02} 00:00:00\n"));
        }
        text.push_str("坏码,,坏户,,2026-01-01 00:00:00\n");
        small.write(&format!("out/tax/archive/NSR_2026010{file}.csv"), text);
    }
}

/// Registers with ids, the ledger, and what became of every chunk.
async fn with_workers(small: &Small, more: &[&str]) -> (Vec<String>, Value, Vec<String>) {
    if let Some(database) = small.database().await {
        small.write("huiliu.yaml", format!("version: 1\nname: test\nstore: {database}\n"));
    }
    contradicting(small);
    verb(small, &["run", "nsr"], 0);
    let start: Vec<&str> = START.into_iter().chain(["--chunk", "70"]).chain(more.iter().copied()).collect();
    let told = json(small, &start, 0);
    assert_eq!((&told["state"], &told["done"]), (&"done".into(), &30.into()), "{told}");
    let chunks = told["chunks"].as_array().unwrap().iter().map(|c| format!("{} {}", c["label"], c["rows"])).collect();
    let registers = crate::support::registers(&mut small.engine().await).await;
    (registers, told["comparison"]["ledger"][0].clone(), chunks)
}

#[tokio::test]
async fn many_workers_come_to_the_same_as_one() {
    let (one, on_postgres) = (Small::new(), crate::support::OnPostgres::new());
    let one = with_workers(&one, &[]).await;
    assert!(one.1["superseded"].as_u64() > Some(100) && one.1["changed"].as_u64() > Some(100), "{}", one.1);
    for workers in ["2", "5"] {
        assert!(with_workers(&Small::new(), &["--workers", workers]).await == one, "{workers}");
    }
    let many = with_workers(&on_postgres, &["--workers", "4"]).await;
    assert_eq!((&many.1, &many.2), (&one.1, &one.2));
    assert!(many.0 == one.0, "registers differ");
}

#[test]
fn workers_share_a_rate_and_wait_resume_and_die_together() {
    let undisturbed = Small::new();
    archive(&undisturbed);
    let whole: Vec<&str> = START.into_iter().chain(["--chunk", "2000"]).collect();
    json(&undisturbed, &whole, 0);

    let small = Small::new();
    archive(&small);
    let db = small.path().join(".huiliu/huiliu.db");
    let begin = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"));
        command.arg("--dir").arg(small.path()).args(args).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let started = std::time::Instant::now();
    let paced: Vec<&str> = whole.iter().copied().chain(["--workers", "4", "--rate", "4000/s"]).collect();
    let child = begin(&paced);
    wait_for_sql(&db, "select count(*) from backfill_chunk where state = 'done'", 2);
    let elapsed = started.elapsed().as_secs_f64();
    assert!(elapsed > 0.9, "4,000 rows in {elapsed} s at 4,000 a second for all four");
    verb(&small, &["backfill", "pause", "1"], 0);
    let ended = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&ended.stderr).contains("paused"), "{ended:?}");
    let told = json(&small, &["backfill", "status", "1"], 3);
    assert!(told["state"] == "paused" && told["done"].as_u64() < Some(8), "{told}");

    // Power is cut while they go on, and once more one of them has a fault of its own.
    let done = told["done"].as_i64().unwrap();
    let mut child = begin(&["backfill", "resume", "1"]);
    wait_for_sql(&db, "select count(*) from backfill_chunk where state = 'done'", done + 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_free(&db);
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .env("FAILPOINTS", "read-ahead=2*off->1*panic")
        .arg("--dir")
        .arg(small.path())
        .args(["backfill", "resume", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("internal fault at"), "{said}");
    let told = json(&small, &["backfill", "status", "1"], 0);
    assert_eq!((&told["state"], &told["done"]), (&"done".into(), &15.into()), "{told}");
    assert_eq!(ledger(&told), "30000/0/0/0/0", "no row is counted twice: {told}");
    same_registers(&undisturbed, &small);
}

/// Ends every lease, as half a minute would.
fn wait_until_free(db: &Path) {
    change(db, "update lease set until = 0");
}

fn change(db: &Path, sql: &str) {
    use sqlx::ConnectOptions;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(db).connect().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    });
}

#[test]
fn a_daemon_does_it_beside_the_live_flow_and_listens_between_chunks() {
    let small = scheduled();
    archive(&small);
    small.extract("QY_1.csv", &[qy(CODES[0], "甲", "2026-03-01 00:00:00")]);
    let daemon = Daemon::start(small.path());
    daemon.wait_for_done("pipeline/qy", 1);
    let slow: Vec<&str> = START.into_iter().chain(["--chunk", "2000", "--rate", "4000/s"]).collect();
    let said = json(&small, &slow, 0);
    assert_eq!((said["state"].as_str(), said["pending"].as_u64()), (Some("pending"), Some(15)), "{said}");
    wait_for_chunks(&small, 1);
    let before = daemon.log().matches(r#""job":"pipeline/qy""#).count();
    daemon.wait_for_done("pipeline/qy", before + 3);
    let running = json(&small, &["backfill", "status"], 3);
    assert!(running["done"].as_u64() < Some(15), "the live flow did not wait for its end: {running}");

    json(&small, &["backfill", "pause", "1"], 0);
    let paused = json(&small, &["backfill", "status", "1"], 3);
    assert_eq!(paused["state"], "paused");
    let told =
        daemon.ask_until("/metrics", |_, text| text.contains(r#"huiliu_backfill_chunks{backfill="1",state="done"}"#));
    assert!(told.contains(r#"huiliu_backfill_chunks{backfill="1",state="pending"}"#), "{told}");
    json(&small, &["backfill", "resume", "1"], 0);
    let (code, text, said) = huiliu(small.path(), &["backfill", "status", "1", "--watch", "--json"]);
    assert_eq!(code, 0, "{text}{said}{}", daemon.log());
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((told["state"].as_str(), ledger(&told).as_str()), (Some("done"), "30000/0/0/0/0"), "{told}");
    let (code, _, said) = huiliu(small.path(), &["backfill", "pause", "1"]);
    assert!(code == 1 && said.contains("HL0924"), "{said}");
    daemon.stop();
}

#[test]
fn after_a_crash_a_daemon_goes_on_at_once_however_long_its_lease_was() {
    let small = scheduled();
    archive(&small);
    small.write("huiliu.yaml", "version: 1\nissuer: 市\nserve: { lease: 10m, stop_within: 20s }\n");
    let daemon = Daemon::start(small.path());
    let slow: Vec<&str> = START.into_iter().chain(["--chunk", "2000", "--rate", "4000/s"]).collect();
    json(&small, &slow, 0);
    wait_for_chunks(&small, 1);
    daemon.signal("KILL");
    assert!(!daemon.end().0.success());
    let done = json(&small, &["backfill", "status", "1"], 3)["done"].as_i64().unwrap();
    assert!(done < 15, "{done}");
    let again = Daemon::start(small.path());
    wait_for_sql(
        &small.path().join(".huiliu/huiliu.db"),
        "select count(*) from backfill_chunk where state = 'done'",
        done + 1,
    );
    assert!(again.log().contains("its holder died here"), "{}", again.log());
    again.stop();
}

/// Whoever is at work by this lease does not end.
#[test]
fn it_waits_for_live_work_but_not_for_ever_and_not_when_it_is_eager() {
    let took = |holder: &str, more: &[&str]| {
        let small = Small::new();
        archive(&small);
        verb(&small, &["run", "nsr"], 0);
        let sql = format!("insert into lease (name, holder, token, until) values ('feed/x', '{holder}', 1, 1 << 61)");
        change(&small.path().join(".huiliu/huiliu.db"), &sql);
        let begun = std::time::Instant::now();
        let start = ["backfill", "start", "nsr", "--files", "archive/NSR_20260101.csv"];
        let told = json(&small, &[&start, more].concat(), 0);
        assert_eq!(ledger(&told), "10000/0/0/0/0", "{told}");
        begun.elapsed().as_secs_f64()
    };
    let (beside, eager, among) = (took("a:1:x", &[]), took("a:1:x", &["--eager"]), took("a:1:x#backfill", &[]));
    assert!(beside >= 9.0, "10,000 rows, 1,024 a commit, a second before each: {beside} s");
    assert!(eager < 7.0 && among < 7.0, "eager {eager} s, beside another backfill {among} s");
}

#[test]
fn a_chunk_that_fails_is_told_and_tried_again() {
    let small = Small::new();
    small.taxpayers("NSR_20260101.csv", &[nsr(CODES[0], "甲", "2026-01-01 00:00:00")]);
    small.taxpayers("NSR_20260102.csv", &[nsr(CODES[1], "乙", "2026-01-02 00:00:00")]);
    let lost = small.path().join("out/tax/NSR_20260101.csv");
    let kept = fs::read(&lost).unwrap();
    let paused: Vec<&str> = vec!["backfill", "start", "nsr", "--window", &hours_that_are_closed()]
        .into_iter()
        .map(|text| Box::leak(text.to_owned().into_boxed_str()) as &str)
        .collect();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .arg("--dir")
        .arg(small.path())
        .args(&paused)
        .spawn()
        .unwrap();
    let db = small.path().join(".huiliu/huiliu.db");
    wait_for_sql(&db, "select count(*) from lease where holder <> ''", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_free(&db);
    open_the_window(&db);
    fs::remove_file(&lost).unwrap();
    let told = json(&small, &["backfill", "resume", "1"], 1);
    assert_eq!(
        (told["state"].as_str(), told["failed"].as_u64(), told["done"].as_u64()),
        (Some("failed"), Some(1), Some(1))
    );
    assert!(told["chunks"][0]["why"].as_str().unwrap().contains("HL0304"), "{told}");
    small.write("out/tax/NSR_20260101.csv", kept);
    let told = json(&small, &["backfill", "retry", "1"], 0);
    assert_eq!((told["state"].as_str(), ledger(&told).as_str()), (Some("done"), "2/0/0/0/0"), "{told}");
}

/// Retrying is about failed chunks: what a person made wait, or ended, waits for that person.
#[test]
fn a_retry_takes_failed_chunks_and_wakes_nothing_that_waits() {
    let small = Small::new();
    small.taxpayers("NSR_20260101.csv", &[nsr(CODES[0], "甲", "2026-01-01 00:00:00")]);
    let closed = hours_that_are_closed();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .arg("--dir")
        .arg(small.path())
        .args(["backfill", "start", "nsr", "--window", &closed])
        .spawn()
        .unwrap();
    let db = small.path().join(".huiliu/huiliu.db");
    wait_for_sql(&db, "select count(*) from lease where holder <> ''", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_free(&db);
    open_the_window(&db);
    for state in ["paused", "stopped", "pending"] {
        change(&db, &format!("update backfill set state = '{state}'"));
        let (ended, _, said) = huiliu(small.path(), &["backfill", "retry", "1"]);
        assert!(ended == 1 && said.contains("HL0924") && said.contains("no chunk of backfill 1 failed"), "{said}");
        assert_eq!(json(&small, &["backfill", "list"], 0)[0]["state"], state);
    }
    change(&db, "update backfill set state = 'paused'");
    change(&db, "update backfill_chunk set state = 'failed'");
    let (_, _, said) = huiliu(small.path(), &["backfill", "retry", "1"]);
    assert!(said.contains("stays paused"), "{said}");
    let listed = json(&small, &["backfill", "list"], 0);
    assert_eq!((&listed[0]["state"], &listed[0]["pending"]), (&"paused".into(), &1.into()));
    assert_eq!(json(&small, &["backfill", "resume", "1"], 0)["state"], "done");
    let (ended, _, _) = huiliu(small.path(), &["backfill", "retry", "1"]);
    assert_eq!(ended, 1, "done is done");
}

#[test]
fn chunks_of_one_file_go_in_order_and_wait_for_one_that_failed() {
    let small = Small::new();
    let rows: Vec<String> = (0..300).map(crate::runs::valid_code).collect();
    let again = rows.iter().chain(&rows[..50]); // a key's second row is another claim, whichever chunk it is in
    let rows: Vec<_> = again.map(|code| nsr(code, "甲", "2026-01-01 00:00:00")).collect();
    small.taxpayers("NSR_20260101.csv", &rows);
    let closed = hours_that_are_closed();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .arg("--dir")
        .arg(small.path())
        .args(["backfill", "start", "nsr", "--chunk", "100", "--window", &closed])
        .spawn()
        .unwrap();
    let db = small.path().join(".huiliu/huiliu.db");
    wait_for_sql(&db, "select count(*) from lease where holder <> ''", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_free(&db);
    open_the_window(&db);
    change(&db, "update backfill_chunk set state = 'failed' where n = 2");

    let told = json(&small, &["backfill", "resume", "1"], 1);
    assert_eq!((told["done"].as_u64(), told["failed"].as_u64()), (Some(1), Some(3)), "{told}");
    assert!(told["chunks"][2]["why"].as_str().unwrap().contains("HL0932"), "{told}");
    let told = json(&small, &["backfill", "retry", "1"], 0);
    assert_eq!((told["state"].as_str(), told["done"].as_u64()), (Some("done"), Some(4)), "{told}");
    assert!(ledger(&told).starts_with("300/"), "{}", ledger(&told));
    wait_for_sql(&db, "select count(*) from claim", 350);
}

/// An hour that is half a day away.
fn hours_that_are_closed() -> String {
    let hour = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 3600 + 8 + 12;
    format!("{:02}:00-{:02}:30", hour % 24, hour % 24)
}

fn open_the_window(db: &Path) {
    change(db, "update backfill set spec = json_remove(spec, '$.window')");
}

#[test]
fn batches_go_out_again_byte_for_byte_and_a_new_snapshot_brings_everything() {
    let small = Small::new();
    let rows: Vec<_> = CODES.iter().map(|code| qy(code, "企业", "2026-03-01 00:00:00")).collect();
    small.extract("QY_1.csv", &rows);
    verb(&small, &["run"], 0);
    let spool = small.path().join(".huiliu/spool/housing.enterprise");
    let read = || -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap());
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
    };
    let sent = read();
    assert_eq!(sent.len(), 6, "two batches of three records");
    fs::remove_dir_all(&spool).unwrap();
    let told = json(&small, &["backfill", "start", "--feed", "housing.enterprise", "--since-batch", "1"], 0);
    assert_eq!(
        (told["kind"].as_str(), told["state"].as_str(), told["rows_done"].as_u64()),
        (Some("replay"), Some("done"), Some(6))
    );
    assert_eq!(read(), sent, "the very same bytes");
    let since =
        json(&small, &["backfill", "start", "--feed", "housing.enterprise", "--since-batch", "2", "--dry-run"], 0);
    assert_eq!((&since["rows"], &since["affected"][0]["records"]), (&3.into(), &3.into()), "{since}");

    let told = json(&small, &["backfill", "start", "--feed", "housing.enterprise", "--rebuild"], 0);
    assert_eq!((told["kind"].as_str(), told["state"].as_str()), (Some("rebuild"), Some("done")), "{told}");
    let all = read();
    assert_eq!(all.len(), 12, "two more batches: {:?}", all.keys());
    let manifest: Value = serde_json::from_slice(&all["000000000003.manifest.json"]).unwrap();
    assert_eq!((&manifest["kind"], &manifest["body"]["upserts"]), (&"snapshot".into(), &3.into()), "{manifest}");
    assert!(manifest["previous"].is_string(), "the chain goes on");
    let trust = small.path().join(".huiliu/dev-ca.pem");
    let from = format!("spool:{}", small.path().join(".huiliu/spool").display());
    let to = format!("sqlite:{}", small.path().join("received.db").display());
    verb(&small, &["receive", "--from", &from, "--trust", trust.to_str().unwrap(), "--to", &to], 0);
    assert!(verb(&small, &["feed", "release", "--json"], 0).contains("\"released\": 0"));
}

#[test]
fn an_old_file_tells_a_status_what_came_before() {
    let small = Small::empty();
    for (path, text) in huiliu::demo::definitions() {
        small.write(path, text);
    }
    seals_as_files(&small);
    let seal = |path: &str, state: &str, at: &str| {
        let row = format!(r#"{{"data":{{"list":[{{"esID":"1","yzmc":"{state}章","zt":"{state}","gxsj":"{at}"}}]}}}}"#);
        small.write(&format!("outbox/e-seal/{path}"), row);
    };
    seal("YZ_2.json", "有效", "2026-10-04 08:00:00");
    verb(&small, &["run", "seals"], 0);
    seal("archive/YZ_1.json", "注销", "2026-10-03 08:00:00");
    let told = json(&small, &["backfill", "start", "seals", "--files", "archive/YZ_*.json", "--why", "补历史"], 0);
    assert_eq!(ledger(&told), "0/1/0/0/0", "{told}");
    let seal = json(&small, &["register", "get", "seal", "1"], 0);
    assert_eq!((&seal["fields"]["status_code"], &seal["fields"]["name"]), (&"3".into(), &"有效章".into()), "{seal}");
}
