//! Bad input: a clear error, and nothing lost.

use std::fs;
use std::process::{Command, Stdio};

use huiliu::engine::RunOptions;

use crate::support::{CODES, Small, line, registers};

const GOOD: [&str; 6] = [CODES[0], "甲", "", "100万元", "在营", "2026-10-01 00:00:00"];

#[tokio::test]
async fn a_header_that_lacks_a_contracted_column_holds_the_file() {
    let small = Small::new();
    small.write("out/gs/QY_1.csv", "代码,名称\n91370283706488757F,甲\n");
    let report = small.run("qy").await;
    assert_eq!((report.status, report.files[0].outcome), ("held", "held"));
    let why = report.files[0].why.as_deref().unwrap();
    assert!(why.starts_with("HL0510") && why.contains("注册号"), "{why}");
    assert_eq!(report.registers[0].counts.read, 0);
}

#[tokio::test]
async fn one_bad_file_does_not_stop_the_others() {
    let small = Small::new();
    small.write("out/gs/QY_0.csv", "代码,代码\n1,2\n");
    small.extract("QY_1.csv", &[GOOD]);
    let report = small.run("qy").await;
    assert_eq!(report.status, "failed");
    let outcomes: Vec<&str> = report.files.iter().map(|file| file.outcome).collect();
    assert_eq!(outcomes, ["failed", "taken"]);
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 1);
}

#[tokio::test]
async fn nul_bytes_and_broken_encodings_are_set_aside_row_by_row() {
    let small = Small::new();
    let mut bytes = "代码,名称,注册号,资本,状态,更新\n".as_bytes().to_vec();
    bytes.extend_from_slice(format!("{},甲,,100万元,在营,2026-10-01\n", CODES[0]).as_bytes());
    bytes.extend_from_slice(format!("{},乙\0,,100万元,在营,2026-10-01\n", CODES[1]).as_bytes());
    bytes.extend_from_slice(format!("{},丁,,100万元,在营,2026-10-01,多,余\n", CODES[3]).as_bytes());
    small.write("out/gs/QY_1.csv", bytes);
    let report = small.run("qy").await;
    let counts = &report.registers[0].counts;
    assert_eq!((counts.read, counts.undecodable, counts.new), (3, 2, 1), "{report:?}");
    let mut codes: Vec<&str> = report.registers[0].quarantined_by.iter().map(|(code, _)| code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["column_count", "nul_byte"]);
}

#[tokio::test]
async fn a_missing_directory_fails_its_pipeline_only() {
    let small = Small::new();
    fs::remove_dir_all(small.path().join("out/gs")).unwrap();
    small.taxpayers("NSR_1.csv", &[[CODES[0], "", "税务名", "", "2026-10-01 00:00:00"]]);
    let report = small.run("qy").await;
    assert_eq!(report.status, "failed");
    assert!(report.why.as_deref().unwrap().contains("HL0301"), "{report:?}");
    assert_eq!(line(&small.run("nsr").await), "succeeded 1/0/0/1/0/0/0/0");
}

#[tokio::test]
async fn a_register_file_that_would_lose_data_is_refused_with_the_sql() {
    let small = Small::new();
    small.extract("QY_1.csv", &[GOOD]);
    small.run("qy").await;
    let path = "mappings/registers/enterprise.yaml";
    let register = fs::read_to_string(small.path().join(path)).unwrap();
    let wider =
        format!("{register}  remark: {{ title: 备注, type: text, share: unconditional, level: 1, from: [gs] }}\n");
    small.write(path, &wider);
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 1, "additive changes migrate");
    small.write(
        path,
        wider.replace("capital: { title: 注册资本, type: decimal", "capital: { title: 注册资本, type: text"),
    );
    let refused = small.try_engine().await.err().unwrap().to_string();
    assert!(refused.contains("HL0402") && refused.contains("alter table"), "{refused}");
}

#[tokio::test]
async fn quarantined_rows_pass_once_the_mapping_is_mended() {
    let small = Small::new();
    let mut bad = GOOD;
    bad[3] = "一大笔钱";
    let mut good = GOOD;
    good[0] = CODES[1];
    small.extract("QY_1.csv", &[bad, good]);
    assert_eq!(line(&small.run("qy").await), "succeeded 2/0/1/1/0/0/0/0");
    let path = "mappings/gs/qy.enterprise.sql";
    let sql = fs::read_to_string(small.path().join(path)).unwrap();
    small.write(path, sql.replace("cn_amount(资本, '万元')", "or_null(cn_amount(资本, '万元'))"));
    let mut engine = small.engine().await;
    let replayed = engine.replay(Default::default()).await.unwrap();
    assert_eq!((replayed.tried, replayed.passed, replayed.refused), (1, 1, 0));
    assert_eq!(engine.store().count("enterprise").await.unwrap(), 2);
    assert_eq!(engine.replay(Default::default()).await.unwrap().tried, 0, "the quarantine is empty");
}

#[tokio::test]
async fn a_full_spool_disk_makes_the_feed_wait_and_loses_nothing() {
    let small = Small::new();
    small.extract("QY_1.csv", &[GOOD]);
    small.run("qy").await;
    // A file where the spool's directory should be: nothing can be written there.
    fs::write(small.path().join(".huiliu/spool"), "in the way").unwrap();
    let waiting = small.release().await;
    assert_eq!((waiting.status, waiting.durable), ("waiting", 0), "{waiting:?}");
    fs::remove_file(small.path().join(".huiliu/spool")).unwrap();
    let delivered = small.release().await;
    assert_eq!((delivered.durable, delivered.batches), (1, 0), "the batch sealed before goes out as it was");
}

fn huiliu(small: &Small, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huiliu"));
    command.arg("--dir").arg(small.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn two_processes_on_one_workspace_do_not_meet() {
    let small = Small::new();
    slow(&small, 3_000);
    let mut first = huiliu(&small, &["run", "qy", "--no-release"]).spawn().unwrap();
    wait_for_chunk(&small, 1);
    let second = huiliu(&small, &["run", "nsr"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("HL0810"), "{second:?}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[tokio::test]
async fn a_killed_run_goes_on_and_ends_like_an_undisturbed_one() {
    let undisturbed = Small::new();
    slow(&undisturbed, 0);
    undisturbed.run("qy").await;
    let killed = Small::new();
    slow(&killed, 9_000);
    for chunks in [1, 2] {
        let mut child = huiliu(&killed, &["run", "qy", "--no-release"]).spawn().unwrap();
        wait_for_chunk(&killed, chunks);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    slow_pipeline(&killed, 0);
    let report = killed.engine().await.run("qy", &RunOptions::default()).await.unwrap();
    assert_eq!(report.status, "succeeded", "{report:?}");
    let (mut whole, mut resumed) = (undisturbed.engine().await, killed.engine().await);
    assert_eq!(registers(&mut whole).await, registers(&mut resumed).await);
    assert_eq!(killed.engine().await.doctor().await.unwrap().disagreements, 0);
}

/// 30,000 rows, and a pipeline that reads so many of them a second (0 is as fast as it goes).
fn slow(small: &Small, rate: u32) {
    let mut text = String::from("代码,名称,注册号,资本,状态,更新\n");
    for n in 0..30_000 {
        text.push_str(&format!("{},企业{n},,100万元,在营,2026-10-01 00:00:00\n", crate::runs::valid_code(n)));
    }
    small.write("out/gs/QY_1.csv", text);
    slow_pipeline(small, rate);
}

fn slow_pipeline(small: &Small, rate: u32) {
    let limit = if rate == 0 { "60%".to_owned() } else { format!("60%, rate: {rate} rows/s") };
    small.write(
        "pipelines/qy.yaml",
        format!("version: 1\nfrom: gs.qy\ninto: [enterprise]\nlimit: {{ quarantine: {limit} }}\n"),
    );
}

/// Waits until the store has committed so many chunks of the file.
fn wait_for_chunk(small: &Small, chunks: i64) {
    let path = small.path().join(".huiliu/huiliu.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wait = async move {
        use sqlx::ConnectOptions;
        let committed = || async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).read_only(true);
            let mut conn = options.connect().await.ok()?;
            let found: Option<i64> =
                sqlx::query_scalar("select max(chunks) from file").fetch_one(&mut conn).await.ok()?;
            found
        };
        let mut interval = tokio::time::interval(std::time::Duration::from_millis(20));
        for _ in 0..3_000 {
            interval.tick().await;
            if committed().await.is_some_and(|done| done >= chunks) {
                return;
            }
        }
        panic!("no chunk was committed within a minute");
    };
    std::thread::spawn(move || runtime.block_on(wait)).join().unwrap();
}

/// `/proc` takes no directory from anybody, root included.
#[test]
fn a_state_directory_that_cannot_be_written_is_said_before_anything_is_taken() {
    let small = Small::new();
    small.write("huiliu.yaml", "version: 1\nissuer: 市\nstate_dir: /proc/huiliu\n");
    small.extract("QY_1.csv", &[GOOD]);
    let run = huiliu(&small, &["run", "qy"]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1));
    assert!(said.contains("HL0811") && said.contains("/proc/huiliu") && said.contains("Hint"), "{said}");
    assert!(small.path().join("out/gs/QY_1.csv").exists());
}

/// Whatever keeps a workspace from its database: said with a code, and without the password.
#[tokio::test]
async fn a_store_that_cannot_or_must_not_be_used_is_said() {
    let database = crate::support::services::Database::new().await;
    let url = database.url();
    let refused = |store: &str, code: &str| {
        let small = Small::new();
        small.write("huiliu.yaml", format!("version: 1\nname: other\nstore: {store}\n"));
        let ended = huiliu(&small, &["run"]).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && said.contains(code) && !said.contains("geheim"), "{store}: {said}");
    };
    huiliu::store::postgres::PostgresStore::open(&url, "one").await.unwrap();
    refused(&url, "HL0404"); // two workspaces on one database
    refused(&url.replace("huiliu:huiliu@", "huiliu:geheim@"), "HL0811");
    refused(&format!("{url}_not"), "HL0811");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(&format!("postgres://huiliu:geheim@{closed}/huiliu"), "HL0811");
    refused("mongo://huiliu:geheim@127.0.0.1/huiliu", "HL0109");
}

#[tokio::test]
async fn an_embedded_store_that_somebody_altered_or_a_newer_program_wrote_is_said() {
    use sqlx::ConnectOptions as _;
    for (sql, code) in [
        ("pragma user_version = 99", "HL0401"),
        ("alter table run rename column kind to sort", "HL0935"),
        ("alter table enterprise drop column capital", "HL0935"),
    ] {
        let small = Small::new();
        small.extract("QY_1.csv", &[GOOD]);
        small.run("qy").await;
        let file = small.path().join(".huiliu/huiliu.db");
        let mut store = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut store).await.unwrap();
        drop(store);
        small.extract("QY_2.csv", &[[GOOD[0], "改了名", GOOD[2], GOOD[3], GOOD[4], GOOD[5]]]);
        let ended = huiliu(&small, &["run"]).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && said.contains(code), "{sql}: {said}");
    }
}
