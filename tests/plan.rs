//! What an edit would do, told before it is merged: over both stores, and through the binary.

use std::path::Path;
use std::process::Command;

use huiliu::clock::Clock;
use huiliu::config::Workspace;
use huiliu::engine::{Change, Chunking, Engine, FilesRequest, Impact, Past};
use huiliu::store::Store;
use huiliu::store::postgres::PostgresStore;
use huiliu::store::sqlite::SqliteStore;

use crate::support::{CODES, OnPostgres, Small, now};

/// A grant that does not end, so that these tests hold on any day.
const GRANT: &str = "version: 1
subscriber: housing
register: enterprise
purpose: 资质审查
basis: 条例第三十二条
approved: { by: 数据资源处, on: 2026-03-01, number: 17号 }
valid: { from: 2026-03-01 }
fields: [uscc, name, status]
rows: status = '在营'
delivery: { outlet: spool, every: 1m, batch: { records: 3, bytes: 4MiB } }
";
const FEED: &str = "pipelines/feeds/housing.enterprise.yaml";

/// Three enterprises, two of them in business and one of these with a telephone; taken and released.
async fn released(small: &Small) {
    small.write(FEED, GRANT);
    let row = |i: usize, name, status| [CODES[i], name, "", "100", status, "2026-11-02 08:00:00"];
    small.extract(
        "QY_1.csv",
        &[
            row(1, "青岛红瓦贸易有限公司", "在营"),
            row(2, "青岛绿树餐饮有限公司", "在营"),
            row(3, "青岛黄海渔业有限公司", "注销"),
        ],
    );
    small.taxpayers("NSR_1.csv", &[[CODES[1], "", "红瓦贸易公司", "13800000000", "2026-11-03 08:00:00"]]);
    for pipeline in ["qy", "nsr"] {
        small.run(pipeline).await;
    }
    small.release().await;
}

/// An engine for questions over the workspace as it is now.
async fn asking(small: &Small) -> Engine {
    let workspace = Workspace::load(small.path()).unwrap();
    let store: Box<dyn Store> = match small.database().await {
        None => Box::new(SqliteStore::open(&small.path().join(".huiliu/huiliu.db")).await.unwrap()),
        Some(url) => Box::new(PostgresStore::open(&url, "test").await.unwrap()),
    };
    Engine::for_questions(workspace, store, Clock::Frozen(now())).await.unwrap()
}

async fn impact(small: &Small) -> Impact {
    let mut engine = asking(small).await;
    let past = engine.past().await.unwrap();
    engine.impact(&past).await.unwrap()
}

/// Everything that is told, on both stores.
async fn tells_what_edits_do(small: &Small) {
    released(small).await;
    let nothing = impact(small).await;
    assert!(nothing.is_nothing() && !nothing.needs_a_person(), "{nothing:?}");

    // A wider grant: one more field, and rows that were filtered.
    small.write(
        FEED,
        GRANT.replace("name, status]", "name, status, phone]").replace("status = '在营'", "status <> '草稿'"),
    );
    let wider = impact(small).await;
    assert!(wider.needs_a_person() && wider.pipelines.is_empty() && wider.registers.is_empty(), "{wider:?}");
    let [feed] = &wider.feeds[..] else { panic!("{wider:?}") };
    let records = feed.records.unwrap();
    assert_eq!((records.considered, records.before, records.after), (3, 2, 3));
    // The one that enters, and the one whose telephone now shows.
    assert_eq!((records.entering, records.leaving, records.exposed, records.withdrawn), (1, 0, 2, 0));
    assert_eq!((feed.fields.len(), feed.fields[0].field.as_str(), feed.fields[0].exposed), (1, "phone", 1));
    assert!(feed.schema_changes && feed.change == Change::Changed);

    // A narrower one: a mask and fewer rows. The register is the same, and so is the schema.
    small.write(FEED, format!("{}mask: {{ name: name }}\n", GRANT.replace("status = '在营'", "name like '%贸易%'")));
    let narrower = impact(small).await;
    assert!(!narrower.needs_a_person() && !narrower.is_nothing(), "{narrower:?}");
    let records = narrower.feeds[0].records.unwrap();
    assert_eq!((records.entering, records.leaving, records.exposed, records.withdrawn), (0, 1, 0, 2));
    small.write(FEED, GRANT);

    // Another mapping: its claims are by the older one, and an append dataset does not bring them again by itself.
    let sql = std::fs::read_to_string(small.path().join("mappings/tax/nsr.enterprise.sql")).unwrap();
    small.write("mappings/tax/nsr.enterprise.sql", sql.replace("org_name(名称)", "trim(名称)"));
    let mapped = impact(small).await;
    let [pipeline] = &mapped.pipelines[..] else { panic!("{mapped:?}") };
    assert_eq!(
        (pipeline.pipeline.as_str(), pipeline.because.as_slice()),
        ("nsr", &["mappings/tax/nsr.enterprise.sql".to_owned()][..])
    );
    let again = &pipeline.remapping[0];
    assert_eq!((again.claims, again.by_run.len(), again.by_run[0].run, again.by_next_extract), (1, 1, 2, false));
    assert!(again.by_run[0].mapping.as_ref().is_some_and(|older| *older != again.mapping));
    assert!(!mapped.needs_a_person() && mapped.feeds.is_empty(), "{mapped:?}");
}

#[tokio::test]
async fn what_edits_do_is_told_before_they_are_merged() {
    tells_what_edits_do(&Small::new()).await;
}

#[tokio::test]
async fn what_edits_do_is_told_on_postgres_too() {
    tells_what_edits_do(&OnPostgres::new()).await;
}

/// What would break is told with the SQL, and nothing is done.
async fn tells_what_breaks(small: &Small) {
    released(small).await;
    let path = "mappings/registers/enterprise.yaml";
    let register = std::fs::read_to_string(small.path().join(path)).unwrap();
    let phone = register.lines().find(|line| line.contains("phone:")).unwrap();
    small.write(path, register.replace(phone, &phone.replace("phone", "fax")));
    let sql = std::fs::read_to_string(small.path().join("mappings/tax/nsr.enterprise.sql")).unwrap();
    small.write("mappings/tax/nsr.enterprise.sql", sql.replace("as phone", "as fax"));
    let connector = std::fs::read_to_string(small.path().join("connectors/gs.yaml")).unwrap();
    small.write("connectors/gs.yaml", connector.replace("名称: text", "名称: { type: text, required: true }"));
    let told = impact(small).await;
    assert!(told.needs_a_person());
    let refused = told.registers[0].refused.as_ref().unwrap();
    assert_eq!(refused.code, "HL0402");
    assert!(refused.detail.as_ref().unwrap().contains("drop column \"phone\""), "{refused}");
    assert_eq!(told.registers[0].added, ["fax"]);
    let qy = told.pipelines.iter().find(|pipeline| pipeline.pipeline == "qy").unwrap();
    assert_eq!(
        qy.contract.iter().map(|c| (c.column.as_str(), c.change, c.breaking)).collect::<Vec<_>>(),
        [("名称", "required", true)]
    );
    assert!(small.try_engine().await.is_err(), "asking did not make the store take it");
}

#[tokio::test]
async fn what_breaks_is_told_with_the_sql_for_it() {
    tells_what_breaks(&Small::new()).await;
}

#[tokio::test]
async fn what_breaks_is_told_on_postgres_too() {
    tells_what_breaks(&OnPostgres::new()).await;
}

#[tokio::test]
async fn a_pipeline_is_told_of_an_edit_until_it_has_run_itself() {
    let small = Small::new();
    released(&small).await;
    let path = "mappings/registers/enterprise.yaml";
    let register = std::fs::read_to_string(small.path().join(path)).unwrap();
    small.write(path, register.replace("title: 电话", "title: 联系电话"));
    let names = |told: &Impact| told.pipelines.iter().map(|p| p.pipeline.clone()).collect::<Vec<_>>();
    assert_eq!(names(&impact(&small).await), ["nsr", "qy"]);
    small.run("qy").await;
    let told = impact(&small).await;
    let because: Vec<_> = told.pipelines.iter().map(|p| (p.pipeline.as_str(), p.because.len())).collect();
    // The extract of `qy` was taken before: its rows are still the older mapping's.
    assert_eq!(because, [("nsr", 1), ("qy", 0)]);
}

/// Every table of the store and what is in it, but for its pages on disk.
fn dump(dir: &Path) -> String {
    let out = Command::new("python3")
        .args(["-c", "import sqlite3, sys; print('\\n'.join(sqlite3.connect(sys.argv[1]).iterdump()))"])
        .arg(dir.join(".huiliu/huiliu.db"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn huiliu(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_huiliu")).arg("--dir").arg(dir).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[tokio::test]
async fn the_commands_say_it_with_exit_codes_and_write_nothing() {
    let small = Small::new();
    released(&small).await;
    let before = dump(small.path());
    assert_eq!(huiliu(small.path(), &["plan"]), (0, String::new(), "nothing would change 没有变更\n".to_owned()));
    let path = "mappings/registers/enterprise.yaml";
    let register = std::fs::read_to_string(small.path().join(path)).unwrap();
    small.write(
        path,
        format!("{register}  fax: {{ title: 传真, type: text, share: unconditional, level: 1, from: [tax] }}\n"),
    );
    small.write(FEED, GRANT.replace("name, status]", "name, status, capital, fax]"));
    let (code, out, err) = huiliu(small.path(), &["scope", "diff"]);
    assert_eq!((code, err.as_str()), (3, ""));
    for said in [
        "订阅 feed housing.enterprise · housing ← enterprise ~ 变更 changed",
        "记录 records: 2 → 2 of 3, +0 −0",
        "新增提供 newly exposed: 2 records · 收回 withdrawn: 0 records",
        "its schema changes",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    let (code, out, err) = huiliu(small.path(), &["plan", "--json"]);
    assert_eq!((code, err.as_str()), (3, ""), "{out}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["registers"][0]["added"][0], "fax", "{told}");
    assert_eq!(told["feeds"][0]["fields"][0]["exposed"], 2, "{told}");
    assert!(huiliu(small.path(), &["plan"]).1.contains("需人工确认"));
    assert_eq!(dump(small.path()), before);
}

#[tokio::test]
async fn two_directories_or_revisions_are_held_against_each_other() {
    let (old, small) = (Small::new(), Small::new());
    released(&small).await;
    old.write(FEED, GRANT.replace("name, status]", "name]"));
    let against = |what: &str| huiliu(small.path(), &["scope", "diff", "--against", what]);
    let (code, out, _) = against(old.path().to_str().unwrap());
    assert_eq!(code, 3);
    assert!(out.contains("✗ 新增提供 exposed") && out.contains("newly exposed: 2 records"), "{out}");
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        assert!(
            Command::new("git")
                .arg("-C")
                .arg(small.path())
                .args(identity)
                .args(args)
                .output()
                .unwrap()
                .status
                .success()
        );
    };
    git(&["init", "-q"]);
    git(&["add", "connectors", "mappings", "pipelines"]);
    git(&["commit", "-qm", "as it was"]);
    assert_eq!(against("HEAD").0, 0);
    small.write(FEED, GRANT.replace("name, status]", "name]"));
    let (code, out, _) = against("HEAD");
    assert_eq!(code, 3, "its schema changes");
    assert!(out.contains("收回 withdrawn: 2 records"), "{out}");
    let (code, _, err) = against("no-such-thing");
    assert!(code == 1 && err.contains("HL0931"), "{err}");
}

#[test]
fn definitions_out_of_texts_are_those_out_of_files() {
    let small = Small::new();
    let workspace = Workspace::load(small.path()).unwrap();
    let again = workspace.with_texts(&workspace.texts);
    assert_eq!(again.files, workspace.files);
    assert_eq!(format!("{:?}", again.pipelines), format!("{:?}", workspace.pipelines));
    assert_eq!(format!("{:?}", again.registers), format!("{:?}", workspace.registers));
    drop(Past::of(&again));
}

/// What a run would do: the same as it then does, and nothing written before.
async fn rehearses_runs(small: &Small) {
    released(small).await;
    let row = |i: usize, name, status| [CODES[i], name, "", "100", status, "2026-11-12 08:00:00"];
    let bad = ["91370283706488757A", "青岛海蓝科技有限公司", "", "500", "在营", "2026-11-12 08:00:00"];
    // 1 as it was, 2 out of business, 3 gone, 4 new, one refused.
    let rows = [
        row(1, "青岛红瓦贸易有限公司", "在营"),
        row(2, "青岛绿树餐饮有限公司", "注销"),
        row(4, "青岛新海有限公司", "在营"),
        bad,
    ];
    small.extract("QY_2.csv", &rows);
    let mut engine = asking(small).await;
    let told = engine.rehearse_run("qy", true).await.unwrap();
    assert_eq!(told.why, None);
    assert_eq!(told.files.iter().map(|f| f.outcome).collect::<Vec<_>>(), ["unchanged", "would be taken"]);
    let [register] = &told.registers[..] else { panic!("{told:?}") };
    assert_eq!(register.quarantined_by, [("uscc:uscc_check_digit".to_owned(), 1)]);
    assert!(told.needs_a_person());
    // The one that goes out of business is held; the one that is gone was never released.
    assert_eq!(told.affected.iter().map(|feed| feed.records).collect::<Vec<_>>(), [1]);
    let kinds: Vec<_> = register.samples.iter().map(|sample| sample.change).collect();
    assert_eq!(kinds, ["added", "changed", "removed"], "{:?}", register.samples);
    let changed = &register.samples[1].fields[0];
    assert_eq!(
        (changed.field.as_str(), changed.before.as_deref(), changed.after.as_deref()),
        ("status", Some("在营"), Some("注销"))
    );
    let shown = format!("{:?}", register.samples);
    assert!(!shown.contains("新海") && !shown.contains(CODES[4]), "{shown}");
    drop(engine);
    let run = small.run("qy").await;
    assert_eq!(format!("{:?}", run.registers[0].counts), format!("{:?}", register.counts), "the run did what was told");
}

#[tokio::test]
async fn a_rehearsed_run_says_what_the_run_then_does() {
    rehearses_runs(&Small::new()).await;
}

#[tokio::test]
async fn a_rehearsed_run_on_postgres_says_the_same() {
    rehearses_runs(&OnPostgres::new()).await;
}

/// A register of which the store has never heard, beside the one that the pipeline filled.
const SHOP: &str = "version: 1
title: 店铺
steward: 市场监督管理局
keys: [uscc]
fields:
  uscc: { title: 统一社会信用代码, type: text, share: unconditional, level: 1, from: [gs] }
  name: { title: 名称, type: text, share: unconditional, level: 1, from: [gs] }
";

/// A pipeline that never ran, and one that was given another register since: `run` and `backfill`.
async fn rehearses_what_is_new(small: &Small) {
    let row = |i: usize| [CODES[i], "青岛红瓦贸易有限公司", "", "100", "在营", "2026-11-02 08:00:00"];
    small.extract("QY_20261102.csv", &[row(1), row(2)]);
    let first = small.engine().await.rehearse_run("qy", true).await.unwrap();
    assert_eq!((first.why, first.registers[0].counts.new), (None, 2));
    small.run("qy").await;
    small.write("mappings/registers/shop.yaml", SHOP);
    small.write("mappings/gs/qy.shop.sql", "select uscc(代码) as uscc, org_name(名称) as name from source\n");
    small.write("pipelines/qy.yaml", "version: 1\nfrom: gs.qy\ninto: [enterprise, shop]\n");
    let mut engine = asking(small).await;
    let past = engine.past().await.unwrap();
    let planned =
        engine.impact(&past).await.unwrap().pipelines.into_iter().find(|change| change.pipeline == "qy").unwrap();
    assert_eq!((planned.begins, planned.by_next_extract), (vec!["shop".to_owned()], true), "that it fills it only now");
    let request = FilesRequest {
        pipeline: "qy".into(),
        files: Vec::new(),
        from: None,
        to: None,
        by_updated: false,
        chunk: Chunking::Rows(1000),
        rate: None,
        window: None,
        workers: 1,
        eager: false,
    };
    let plan = engine.plan_files(&request).await.unwrap();
    let told = engine.rehearse(&plan).await.unwrap();
    let counts = |i: usize| (told.registers[i].0.as_str(), told.registers[i].1.new, told.registers[i].1.unchanged);
    assert_eq!((counts(0), counts(1)), (("enterprise", 0, 2), ("shop", 2, 0)));
    let (_, out, err) = huiliu(small.path(), &["plan"]);
    assert!(small.database().await.is_some() || out.contains("begins to fill shop: "), "{out}{err}");
}

#[tokio::test]
async fn what_is_new_to_the_store_is_rehearsed() {
    rehearses_what_is_new(&Small::new()).await;
}

#[tokio::test]
async fn what_is_new_to_a_store_on_postgres_is_rehearsed() {
    rehearses_what_is_new(&OnPostgres::new()).await;
}

#[tokio::test]
async fn a_dry_run_writes_nothing_even_where_everything_is_new() {
    let small = Small::new();
    released(&small).await;
    let before = dump(small.path());
    // A field, a mapping and a layout that the store has not seen.
    let path = "mappings/registers/enterprise.yaml";
    let register = std::fs::read_to_string(small.path().join(path)).unwrap();
    small.write(
        path,
        format!("{register}  fax: {{ title: 传真, type: text, share: unconditional, level: 1, from: [tax] }}\n"),
    );
    let sql = std::fs::read_to_string(small.path().join("mappings/tax/nsr.enterprise.sql")).unwrap();
    small.write("mappings/tax/nsr.enterprise.sql", sql.replace("as phone", "as phone,\n    电话 as fax"));
    small.taxpayers("NSR_2.csv", &[[CODES[1], "", "红瓦贸易公司", "13900000000", "2026-11-13 08:00:00"]]);
    let (code, out, err) = huiliu(small.path(), &["run", "--dry-run", "--diff", "nsr"]);
    assert_eq!((code, err.as_str()), (0, "nothing was written 未写入任何数据\n"), "{out}");
    assert!(out.contains("~ 变更 changed enterprise #1") && out.contains("phone: *** → ***"), "{out}");
    assert!(out.contains("fax: — → 1*********0") && !out.contains("13900000000"), "{out}");
    assert_eq!(dump(small.path()), before);
    let (code, _, err) = huiliu(small.path(), &["run", "--diff"]);
    assert!(code == 2 && err.contains("--dry-run"), "{err}");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_held() {
    let small = Small::new();
    released(&small).await;
    small.extract("QY_2.csv", &[[CODES[1], "青岛红瓦贸易有限公司", "", "100", "在营", "2026-11-12 08:00:00"]]);
    let told = asking(&small).await.rehearse_run("qy", false).await.unwrap();
    assert!(told.why.as_ref().is_some_and(|why| why.contains("HL0502")), "{told:?}");
    assert!(told.needs_a_person());
}
