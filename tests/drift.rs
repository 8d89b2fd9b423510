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

/// The connector with `format` in place of CSV, and this `drift`; `columns` replaces single lines of the contract.
fn as_records(small: &Small, (ext, format): (&str, &str), drift: &str, columns: &[(&str, &str)]) {
    let mut connector = std::fs::read_to_string(small.path().join("connectors/gs.yaml")).unwrap();
    connector = connector
        .replace("QY_*.csv", &format!("QY_*.{ext}"))
        .replace("{ kind: csv, encoding: auto }", format)
        .replace("{ new_column: approve, lost_column: freeze }", drift);
    for (from, to) in columns {
        connector = connector.replace(from, to);
    }
    small.write("connectors/gs.yaml", connector);
}

fn record(name: &str, status: &str) -> String {
    format!(
        "{{\"代码\":\"{}\",\"{name}\":\"甲\",\"注册号\":null,\"资本\":\"100万元\",\"{status}\":\"在营\",\"更新\":\"2026-10-01 00:00:00\"}}\n",
        CODES[0]
    )
}

#[tokio::test]
async fn what_records_have_together_is_held_against_the_contract() {
    let small = Small::new();
    as_records(&small, ("ndjson", "{ kind: ndjson }"), "{ new_column: approve, lost_column: freeze }", &[]);
    let sparse = format!("{{\"代码\":\"{}\",\"更新\":\"2026-10-01 00:00:00\"}}\n", CODES[1]);
    small.write("out/gs/QY_1.ndjson", format!("{sparse}{}", record("名称", "状态")));
    assert_eq!(run(&small).await, ("taken".into(), String::new()), "one record may lack what another has");
    assert_eq!(small.engine().await.drifted("gs.qy").await.unwrap().state, "fits");

    small.write("out/gs/QY_2.ndjson", record("NAME", "状态"));
    let rehearsed = small.engine().await.rehearse_run("qy", false).await;
    let (outcome, why) = run(&small).await;
    assert!(outcome == "held" && why.contains("HL0510") && why.contains("名称"), "{outcome} {why}");
    assert!(format!("{rehearsed:?}").contains("HL0510"), "{rehearsed:?}");
    let drifted = small.engine().await.drifted("gs.qy").await.unwrap();
    assert_eq!((drifted.difference.lost, drifted.difference.new), (vec!["名称".into()], vec!["NAME".to_owned()]));
    std::fs::remove_file(small.path().join("out/gs/QY_2.ndjson")).unwrap();

    let wider = record("名称", "状态").replace("}\n", ",\"行业\":{\"门类\":\"C\"},\"370202199001011234\":1}\n");
    small.write("out/gs/QY_3.ndjson", wider);
    let (outcome, why) = run(&small).await;
    assert!(outcome == "held" && why.contains("HL0511") && why.contains("(a number), 行业"), "{outcome} {why}");
    small.engine().await.approve_drift("gs.qy", "not mapped", "me").await.unwrap();
    assert_eq!(run(&small).await.0, "taken");
    small.write("out/gs/QY_4.ndjson", record("名称", "状态").replace("甲", "乙"));
    assert_eq!(run(&small).await.0, "taken", "a member that nobody contracted may be absent");
    assert_eq!(small.engine().await.drifted("gs.qy").await.unwrap().state, "approved");
    small.write("out/gs/QY_5.ndjson", record("名称", "状态").replace("代码", "CODE"));
    let (outcome, why) = run(&small).await;
    assert!(outcome == "held" && why.contains("HL0513") && why.contains("代码"), "{outcome} {why}");
    std::fs::remove_file(small.path().join("out/gs/QY_5.ndjson")).unwrap();
    small.write("out/gs/QY_6.ndjson", "\n");
    assert_eq!(small.engine().await.drifted("gs.qy").await.unwrap().state, "stops", "until something better comes");
}

#[tokio::test]
async fn members_inside_others_count_where_the_contract_goes_inside() {
    let xml = |inside: &str, beside: &str| {
        format!(
            "<rows><row id=\"{}\"><name>甲</name><reg xsi:nil=\"true\"/><money><sum>100万元</sum>{inside}</money>\
             <state>在营</state><at>2026-10-01 00:00:00</at>{beside}</row></rows>",
            CODES[0]
        )
    };
    let paths = [
        ("代码: { type: text, required: true }", "代码: { type: text, required: true, path: \"@id\" }"),
        ("名称: text", "名称: { type: text, path: name }"),
        ("注册号: text", "注册号: { type: text, path: reg }"),
        ("资本: text", "资本: { type: text, path: money/sum }"),
        ("状态: text", "状态: { type: text, path: state }"),
        ("更新: text", "更新: { type: text, path: at }"),
    ];
    let small = Small::new();
    let format = ("xml", "{ kind: xml, record: rows/row }");
    as_records(&small, format, "{ new_column: approve, lost_column: freeze }", &paths);
    small.write("out/gs/QY_1.xml", xml("", ""));
    assert_eq!(run(&small).await, ("taken".into(), String::new()));
    small.write("out/gs/QY_2.xml", xml("<unit>元</unit>", "<more a=\"1\"><deep/></more>"));
    let (outcome, why) = run(&small).await;
    assert!(outcome == "held" && why.contains("HL0511") && why.contains("money/unit, more"), "{outcome} {why}");
    assert!(!why.contains("deep") && !why.contains("@a"), "{why}");
}

#[tokio::test]
async fn a_file_without_its_header_shows_nobodys_data() {
    let small = Small::new();
    let connector = std::fs::read_to_string(small.path().join("connectors/gs.yaml")).unwrap();
    small.write("connectors/gs.yaml", connector.replace("lost_column: freeze", "lost_column: accept"));
    extract(&small, 1, HEAD, "");
    assert_eq!(run(&small).await.0, "taken");
    small.write("out/gs/QY_2.csv", "370202199001011234,张三,13800000000,,在营,2026-10-02 00:00:00\n");
    let options = RunOptions { accept: Some("they promised".into()) };
    let report = small.engine().await.run("qy", &options).await.unwrap();
    let why = report.files.last().unwrap().why.clone().unwrap();
    assert!(why.contains("HL0518") && why.contains("6 column(s)"), "{why}");
    let mut engine = small.engine().await;
    let probed = format!("{:?}", engine.probe(Some("gs")).await.unwrap());
    assert!(probed.contains("HL0518") && !probed.contains("张三") && !why.contains("张三"), "{probed} {why}");
    assert_eq!(engine.drifted("gs.qy").await.unwrap().versions.len(), 1, "nothing of it is kept");
    drop(engine);
    small.write("out/gs/QY_2.csv", format!("{HEAD},138-0000-0000,ok\n{},甲,,,在营,,,\n", CODES[0]));
    let (_, why) = run(&small).await;
    assert!(why.contains("HL0511") && why.contains("column 7, ok") && !why.contains("0000"), "{why}");
}
