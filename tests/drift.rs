//! Sources that change: every shape is kept, and a person's word decides where the contract asks for one.

use huiliu::engine::RunOptions;
use sqlx::ConnectOptions as _;

use super::support::{CODES, Small};

const HEAD: &str = "代码,名称,注册号,资本,状态,更新";

fn extract(small: &Small, n: usize, head: &str, rest: &str) {
    let text = format!("{head}\n{},甲{n},,100万元,在营,2026-10-0{n} 00:00:00{rest}\n", CODES[0]);
    small.write(&format!("out/gs/QY_{n}.csv"), text);
}

/// How the last file fared: outcome and code.
async fn run(small: &Small) -> (String, String) {
    let report = small.run("qy").await;
    let last = report.files.last().unwrap();
    (last.outcome.to_owned(), last.why.clone().unwrap_or_default())
}

#[tokio::test]
async fn a_new_column_waits_until_a_person_approves_of_it() {
    let small = Small::new();
    extract(&small, 1, HEAD, "");
    assert_eq!(run(&small).await, ("taken".into(), String::new()));
    let mut engine = small.engine().await;
    assert_eq!(engine.drifts().await.unwrap()[0].state, "fits");
    let refused = engine.approve_drift("gs.qy", "just so", "me").await.unwrap_err().to_string();
    assert!(refused.contains("HL0515"), "{refused}");
    let refused = engine.approve_drift("gs.qx", "just so", "me").await.unwrap_err().to_string();
    assert!(refused.contains("HL0515") && refused.contains("gs.qx"), "{refused}");
    drop(engine);

    let wider = format!("{HEAD},行业");
    extract(&small, 2, &wider, ",制造业");
    let (outcome, why) = run(&small).await;
    assert!(outcome == "held" && why.contains("HL0511") && why.contains("行业 (since 2026-11-21)"), "{why}");
    let mut engine = small.engine().await;
    let drifted = engine.drifted("gs.qy").await.unwrap();
    assert_eq!((drifted.state, drifted.versions.len()), ("waits", 2));
    assert_eq!((drifted.versions[0].used, drifted.versions[1].used), (false, true));
    let drifted = engine.approve_drift("gs.qy", "industry is not mapped", "me").await.unwrap();
    assert_eq!((drifted.state, drifted.versions[0].why.as_deref()), ("approved", Some("industry is not mapped")));
    drop(engine);
    assert_eq!(run(&small).await.0, "taken");

    extract(&small, 3, &format!("{HEAD},行业,规模"), ",制造业,大");
    assert_eq!(run(&small).await.0, "held", "what was approved is that shape, not every later one");
    std::fs::remove_file(small.path().join("out/gs/QY_3.csv")).unwrap();
    extract(&small, 4, &wider, ",服务业");
    assert_eq!(run(&small).await.0, "taken", "a shape that comes back is still approved");
    let drifted = small.engine().await.drifted("gs.qy").await.unwrap();
    assert_eq!((drifted.state, drifted.versions.len()), ("approved", 4));
    let audit = small.engine().await.verify_audit(None).await.unwrap();
    assert!(audit.entries > 0 && audit.faults.is_empty(), "{audit:?}");
}

#[tokio::test]
async fn a_lost_key_stops_whatever_anybody_says() {
    let small = Small::new();
    let connector = std::fs::read_to_string(small.path().join("connectors/gs.yaml")).unwrap();
    small.write("connectors/gs.yaml", connector.replace("lost_column: freeze", "lost_column: accept"));
    extract(&small, 1, HEAD, "");
    assert_eq!(run(&small).await.0, "taken");
    small.write("out/gs/QY_2.csv", "代码2,名称,注册号,资本,状态,更新\nx,甲,,100万元,在营,2026-10-02 00:00:00\n");
    let (outcome, why) = run(&small).await;
    assert!(outcome == "held" && why.contains("HL0513 ") && why.contains("代码"), "{why}");
    let options = RunOptions { accept: Some("they promised".into()) };
    let report = small.engine().await.run("qy", &options).await.unwrap();
    assert!(report.files.last().unwrap().why.as_ref().unwrap().contains("HL0513"), "{report:?}");
    let mut engine = small.engine().await;
    assert_eq!(engine.drifted("gs.qy").await.unwrap().state, "stops");
    let refused = engine.approve_drift("gs.qy", "they promised", "me").await.unwrap_err().to_string();
    assert!(refused.contains("HL0516"), "{refused}");
    drop(engine);
    std::fs::remove_file(small.path().join("out/gs/QY_2.csv")).unwrap();
    small.write(
        "out/gs/QY_3.csv",
        format!("代码,名称,注册号,资本,更新\n{},乙,,100万元,2026-10-03 00:00:00\n", CODES[0]),
    );
    assert_eq!(run(&small).await.0, "taken", "another column is lost, as the contract accepts");
    assert_eq!(small.engine().await.drifted("gs.qy").await.unwrap().state, "accepted");
}

#[tokio::test]
async fn a_column_that_changed_its_type_waits_if_the_contract_says_so() {
    let small = Small::new();
    let connector = std::fs::read_to_string(small.path().join("connectors/gs.yaml")).unwrap();
    let connector = connector
        .replace("{ kind: files, root: out/gs }", "{ kind: database, url: \"sqlite:office.db\" }")
        .replace("    path: QY_*.csv\n    format: { kind: csv, encoding: auto }\n", "    table: qy\n")
        .replace("lost_column: freeze }", "lost_column: freeze, changed_type: approve }");
    small.write("connectors/gs.yaml", connector);
    let office = small.path().join("office.db");
    let sql = |text: String| {
        let office = office.clone();
        async move {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(office).create_if_missing(true);
            let mut conn = options.connect().await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
        }
    };
    let table = |kind: &str, name: &str| {
        format!(
            "drop table if exists qy; create table qy (代码 text, 名称 text, 注册号 text, 资本 {kind}, 状态 text, 更新 text);
             insert into qy values ('{}', '{name}', null, '100', '在营', '2026-10-01 00:00:00')",
            CODES[0]
        )
    };
    sql(table("text", "甲")).await;
    assert_eq!(run(&small).await.0, "taken");
    sql(table("integer", "乙")).await;
    let (outcome, why) = run(&small).await;
    assert!(outcome == "held" && why.contains("HL0514") && why.contains("资本"), "{outcome} {why}");
    small.engine().await.approve_drift("gs.qy", "whole yuan", "me").await.unwrap();
    assert_eq!(run(&small).await.0, "taken");
    sql(table("integer", "丙")).await;
    assert_eq!(run(&small).await.0, "taken", "what was taken is the new usual");
}
