//! Real registers that nobody here wrote, when they are beside the checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use huiliu::engine::{RunOptions, RunReport};
use sqlx::{ConnectOptions, Row};

use crate::support::project;
use crate::testing::shared;

async fn load(file: &str, as_name: &str, pipeline: &str) -> Option<(tempfile::TempDir, RunReport)> {
    let source = shared("data/registry")?.join(file);
    let dir = project();
    let target = dir.path().join("outbox/market-regulation").join(as_name);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::copy(source, &target).unwrap();
    let mut engine = crate::support::engine_over(dir.path()).await;
    let report = engine.run(pipeline, &RunOptions { accept: Some("real data".into()) }).await.unwrap();
    Some((dir, report))
}

async fn rows(dir: &Path) -> Vec<String> {
    let path = dir.join(".huiliu/huiliu.db");
    let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let columns: Vec<String> =
        sqlx::query("select name from pragma_table_info('enterprise') where name not in ('_since', '_run')")
            .fetch_all(&mut conn)
            .await
            .unwrap()
            .iter()
            .map(|row| format!("coalesce(\"{}\", '∅')", row.get::<String, _>(0)))
            .collect();
    let sql = format!("select {} as line from enterprise order by _id", columns.join(" || '|' || "));
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn qingdao_in_utf8_and_in_gb18030_make_the_same_register() {
    let Some((utf8, report)) = load("qingdao_2019.csv", "register_2019.csv", "historic-register").await else {
        eprintln!("the shared data is not beside this checkout");
        return;
    };
    let (gb, _) = load("qingdao_2019.gb18030.csv", "register_2019.csv", "historic-register").await.unwrap();
    let counts = &report.registers[0].counts;
    assert_eq!(counts.read, 13_642);
    let by_code: BTreeMap<&str, u64> =
        report.registers[0].quarantined_by.iter().map(|(code, n)| (code.as_str(), *n)).collect();
    assert!(by_code.keys().all(|code| !code.starts_with("uscc:")), "{by_code:?}");
    let lower = report.registers[0].notes_by.iter().find(|(code, _)| code == "uscc:lower_case").map(|(_, n)| *n);
    assert_eq!(lower, Some(5));
    let (a, b) = (rows(utf8.path()).await, rows(gb.path()).await);
    assert_eq!(a.len() as u64, counts.new);
    assert!(a == b, "the registers differ");
    assert_eq!(counts.quarantined, 0, "{by_code:?}");
    assert_eq!(a.len(), 13_642);
}

#[tokio::test]
async fn a_legacy_workbook_loads() {
    let Some((dir, report)) = load("shandong_1983.xls", "register_1983.xls", "historic-register-xls").await else {
        eprintln!("the shared data is not beside this checkout");
        return;
    };
    assert!(report.registers[0].counts.mapped > 0, "{report:?}");
    assert_eq!(rows(dir.path()).await.len() as u64, report.registers[0].counts.new);
}

/// Our calendar, written from the notices, against what NateScarlet/holiday-cn collected from them.
#[test]
fn the_working_days_are_those_that_others_collected() {
    use chrono::Datelike as _;
    let workspace = huiliu::config::Workspace::load(Path::new(".")).unwrap();
    let calendar = workspace.working_days();
    for published in &workspace.calendar {
        let year = published.year.value;
        let Some(path) = shared(&format!("data/calendar/holiday-cn/{year}.json")) else { return };
        let told: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let days = told["days"].as_array().unwrap();
        let special = |day: chrono::NaiveDate| {
            days.iter().find(|one| one["date"] == day.to_string()).map(|one| one["isOffDay"] == false)
        };
        let first = chrono::NaiveDate::from_ymd_opt(i32::try_from(year).unwrap(), 1, 1).unwrap();
        for day in first.iter_days().take_while(|day| day.year() == first.year()) {
            let works = special(day).unwrap_or(day.weekday().num_days_from_monday() < 5);
            assert_eq!(calendar.works(day), Ok(works), "{day}");
        }
        assert!(!days.is_empty());
    }
    assert!(workspace.calendar.len() > 2);
}
