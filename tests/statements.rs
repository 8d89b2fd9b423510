//! Statements (对账单), from the office that signs them to the subscriber who compares: run as a person runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::support::services::Database;
use crate::support::{CODES, FEED as GRANT, Small};

const FEED: &str = "housing.enterprise";

fn huiliu(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_huiliu")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// An office with six enterprises released in two batches, and a place for its subscriber.
struct Both {
    small: Small,
}

impl Both {
    async fn new() -> Self {
        let small = Small::new();
        small.write(&format!("pipelines/feeds/{FEED}.yaml"), GRANT.replace(", until: 2027-02-28", ""));
        let rows = CODES.map(|code| [code, "青岛海蓝科技有限公司", "", "100", "在营", "2026-11-01 08:00:00"]);
        small.extract("QY_1.csv", &rows);
        small.run("qy").await;
        small.release().await;
        Self { small }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.small.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn spool(&self) -> String {
        format!("spool:{}", self.text(".huiliu/spool"))
    }

    /// The office's side: `huiliu statement housing.enterprise …`.
    fn states(&self, more: &[&str]) -> (i32, String, String) {
        huiliu(&[&["--dir", &self.text(""), "statement", FEED], more].concat())
    }

    fn receives(&self, to: &str) {
        let (code, _, err) =
            huiliu(&["receive", "--from", &self.spool(), "--trust", &self.text(".huiliu/dev-ca.pem"), "--to", to]);
        assert_eq!(code, 0, "{err}");
    }

    /// The subscriber's side: `huiliu --json receive statement …`.
    fn checks(&self, more: &[&str]) -> (i32, Json) {
        let trust = self.text(".huiliu/dev-ca.pem");
        let (code, out, err) = huiliu(&[&["--json", "receive", "statement", "--trust", &trust], more].concat());
        (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
    }
}

/// What the first statement of an answer says differs: missing, extra, altered.
fn differs(answer: &Json) -> [&Json; 3] {
    ["missing", "extra", "altered"].map(|what| &answer["statements"][0][what])
}

async fn execute(target: &str, sql: &[&str]) {
    for sql in sql {
        let sql = sqlx::AssertSqlSafe((*sql).to_owned());
        if target.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(target).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = PgConnection::connect(target).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_subscriber_finds_what_is_missing_extra_and_altered() {
    let (both, database) = (Both::new().await, Database::new().await);
    let (code, out, err) = both.states(&[]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("housing.enterprise/2 应持有 6 条 records"), "{out}");
    for target in [format!("sqlite:{}", both.text("theirs.db")), database.url()] {
        let from = both.spool();
        let check = ["--check", "--from", &from, "--to", &target];
        both.receives(&target);
        let (code, answer) = both.checks(&check);
        assert_eq!((code, &answer["statements"][0]["complete"]), (0, &json!(true)), "{answer}");
        assert!(answer["statements"][0]["bytes"].as_u64().unwrap() < 10_000);
        if let Some(file) = target.strip_prefix("sqlite:") {
            let statement = both.text(".huiliu/spool/housing.enterprise/000000000002.statement.json");
            let done = Command::new("python3").args(["tests/interop/read_statement.py", &statement, file]).output();
            let done = done.expect("this test needs python3");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let root = answer["statements"][0]["root"].as_str().unwrap();
            assert_eq!(String::from_utf8(done.stdout).unwrap().trim(), root);
        }
        assert_eq!(answer["statements"][0]["bytes_read"].as_u64().map(|bytes| bytes < 500), Some(true), "the index");

        execute(
            &target,
            &[
                "update enterprise set name = '青岛红瓦贸易有限公司' where _id = 2",
                "delete from enterprise where _id = 4",
                "insert into enterprise (_id, _version, _seq, _digest, uscc) select 99, 1, 1, _digest, uscc from enterprise where _id = 1",
            ],
        )
        .await;
        let (code, answer) = both.checks(&check);
        assert_eq!((code, differs(&answer)), (3, [&json!(1); 3]), "{answer}");
        let records = &answer["statements"][0]["differences"];
        assert_eq!(records.as_array().map(Vec::len), Some(3));
        let of = |what: &str| records.as_array().unwrap().iter().find(|r| r["what"] == what).unwrap()["entity"].clone();
        assert_eq!((of("altered"), of("missing"), of("extra")), (json!(2), json!(4), json!(99)));

        // Somebody who also forges the digest beside the values is found too; and who puts the values back is not.
        execute(&target, &["update enterprise set name = '青岛海蓝科技有限公司' where _id = 2"]).await;
        assert_eq!(differs(&both.checks(&check).1), [&json!(1), &json!(1), &json!(0)]);
        execute(
            &target,
            &[
                "update enterprise set _digest = (select _digest from enterprise where _id = 1) where _id = 3",
                "update enterprise set name = 'x' where _id = 3",
            ],
        )
        .await;
        assert_eq!(differs(&both.checks(&check).1), [&json!(1), &json!(1), &json!(1)]);
    }
}

#[tokio::test]
async fn without_the_file_of_ranges_the_office_answers_for_the_ranges_that_differ() {
    let both = Both::new().await;
    let (statement, target) = (both.text("statement.json"), format!("sqlite:{}", both.text("theirs.db")));
    assert_eq!(both.states(&["--brief", "--out", &statement]).0, 0);
    assert!(!both.path("statement.ranges").exists());
    both.receives(&target);
    execute(&target, &["update enterprise set status = '注销' where _id = 5"]).await;
    let check = ["--check", "--statement", &statement, "--to", &target];
    let (code, answer) = both.checks(&check);
    assert_eq!((code, &answer["statements"][0]["unresolved"][0]["bits"]), (3, &json!(6)), "{answer}");
    let trust = both.text(".huiliu/dev-ca.pem");
    let (code, out, _) = huiliu(&[&["receive", "statement", "--trust", &trust], &check[..]].concat());
    assert!(
        code == 3 && out.contains("huiliu statement housing.enterprise --as-of 2 --ranges 0/6 --out FILE"),
        "{out}"
    );
    let answered = both.text("answer.ranges");
    assert_eq!(both.states(&["--as-of", "2", "--ranges", "0/6", "--out", &answered]).0, 0);
    let (code, answer) = both.checks(&[&check[..], &["--ranges", &answered]].concat());
    assert_eq!((code, differs(&answer)), (3, [&json!(0), &json!(0), &json!(1)]), "{answer}");
    assert_eq!(answer["statements"][0]["differences"][0]["entity"], 5);
}

#[tokio::test]
async fn a_statement_can_be_made_as_of_an_earlier_batch_and_fits_that_batch_only() {
    let both = Both::new().await;
    let target = format!("sqlite:{}", both.text("early.db"));
    let early = both.path("early");
    fs::create_dir_all(early.join(FEED)).unwrap();
    for name in ["000000000001.avro", "000000000001.p7s", "000000000001.manifest.json"] {
        fs::copy(both.path(".huiliu/spool").join(FEED).join(name), early.join(FEED).join(name)).unwrap();
    }
    let from = format!("spool:{}", early.display());
    let trust = both.text(".huiliu/dev-ca.pem");
    assert_eq!(huiliu(&["receive", "--from", &from, "--trust", &trust, "--to", &target]).0, 0);

    let statement = both.text("early.json");
    let check = ["--check", "--statement", &statement, "--to", &target];
    assert_eq!(both.states(&["--out", &statement]).0, 0);
    let (code, answer) = both.checks(&check);
    assert_eq!((code, &answer["problems"][0]["code"]), (1, &json!("HL0754")), "the newest is of batch 2: {answer}");
    assert_eq!(both.states(&["--as-of", "1", "--out", &statement]).0, 0);
    let (code, answer) = both.checks(&check);
    assert_eq!((code, &answer["statements"][0]["held"]), (0, &json!(3)), "{answer}");
    let (code, _, err) = both.states(&["--as-of", "9"]);
    assert!(code == 1 && err.contains("HL0753"), "{err}");

    // An altered one, one of a stranger, and a target without rows.
    let honest = fs::read(&statement).unwrap();
    fs::write(&statement, String::from_utf8(honest).unwrap().replace("\"records\":3", "\"records\":2")).unwrap();
    assert_eq!(both.checks(&check).1["problems"][0]["code"], "HL0703");
    assert_eq!(both.states(&["--as-of", "1", "--out", &statement]).0, 0);
    let csv = format!("csv:{}", both.text("csv"));
    assert_eq!(both.checks(&["--check", "--statement", &statement, "--to", &csv]).1["problems"][0]["code"], "HL0755");
    let (code, answer) = both.checks(&["--statement", &statement]);
    assert_eq!((code, &answer["statements"][0]["complete"]), (0, &Json::Null), "genuine, and nothing compared");
}

#[tokio::test]
async fn nothing_is_stated_while_it_cannot_be_said() {
    let both = Both::new().await;
    let file = format!("pipelines/feeds/{FEED}.yaml");
    let refused = || {
        let (code, _, err) = both.states(&[]);
        (code, err.contains("HL0752"))
    };
    assert_eq!(both.states(&[]).0, 0);
    both.small.engine().await.store().reopen_feed(FEED).await.unwrap();
    assert_eq!(refused(), (1, true), "everything is to be sent again");
    both.small.release().await;
    assert_eq!(both.states(&[]).0, 0);
    let grant = fs::read_to_string(both.path(&file)).unwrap();
    both.small.write(&file, grant.replace("fields: [uscc, name, status]", "fields: [uscc, name]"));
    assert_eq!(refused(), (1, true), "the grant was narrowed, and nothing released under it");
    both.small.release().await;
    let target = format!("sqlite:{}", both.text("theirs.db"));
    both.receives(&target);
    let from = both.spool();
    assert_eq!(both.states(&[]).0, 0);
    assert_eq!(both.checks(&["--check", "--from", &from, "--to", &target]).0, 0, "columns that are no longer released");
    assert!(Path::new(&both.path(".huiliu/spool")).join(FEED).join("000000000006.statement.json").exists());
}
