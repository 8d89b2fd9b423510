//! The audit log: whoever tampers with it is found out, and an archive is verified without us.

use std::path::Path;
use std::process::Command;

use huiliu::audit::{Fault, verify_archive};
use huiliu::crypto::Trust;
use huiliu::engine::{AuditReport, own_trust};
use huiliu::store::{AuditFilter, Note};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::support::{CODES, FEED, Small, now};

/// A few runs and releases, with a checkpoint behind them.
async fn busy() -> Small {
    let small = Small::new();
    for n in 1..=4 {
        small.extract(
            &format!("QY_{n}.csv"),
            &[[CODES[0], &format!("甲{n}"), "", "100万元", "在营", "2026-10-01 00:00:00"]],
        );
        small.run("qy").await;
        small.release().await;
    }
    assert!(small.engine().await.checkpoint_audit(true).await.unwrap());
    small
}

async fn verified(small: &Small) -> AuditReport {
    let mut engine = small.engine().await;
    let trust = trust(small).await;
    engine.verify_audit(Some(&trust)).await.unwrap()
}

async fn trust(small: &Small) -> Trust {
    own_trust(small.engine().await.workspace()).unwrap().unwrap()
}

/// One statement after the other, as somebody with the database's password would type them.
async fn sql(small: &Small, text: &str) -> Result<(), sqlx::Error> {
    match small.database().await {
        None => {
            let db = small.path().join(".huiliu/huiliu.db");
            let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(db).connect().await?;
            sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut conn).await.map(|_| ())
        }
        Some(url) => {
            let mut conn = sqlx::PgConnection::connect(&url).await?;
            let text = format!("set search_path = huiliu; {text}");
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.map(|_| ())
        }
    }
}

async fn tamper(small: &Small, text: &str) {
    let open = match small.database().await {
        None => "drop trigger if exists audit_unaltered; drop trigger if exists audit_undeleted;",
        Some(_) => "alter table audit disable trigger user; alter table audit alter id drop identity if exists;",
    };
    sql(small, open).await.unwrap();
    sql(small, text).await.unwrap();
}

#[tokio::test]
async fn what_nobody_touched_holds_and_is_found_again() {
    let small = busy().await;
    let report = verified(&small).await;
    assert_eq!((&report.faults[..], report.checkpoints, report.unsealed), (&[][..], 2, 0), "one after the first run");
    assert!(report.entries >= 8 && report.signed_by.is_some(), "{report:?}");
    let mut engine = small.engine().await;
    assert!(!engine.checkpoint_audit(true).await.unwrap(), "there is nothing new");
    let filter = |action: &str, text: Option<&str>| AuditFilter {
        action: Some(action.into()),
        text: text.map(str::to_owned),
        limit: 100,
        ..AuditFilter::default()
    };
    let runs = engine.search_audit(&filter("run", Some("qy run"))).await.unwrap();
    assert!(runs.len() == 4 && runs[0].id > runs[3].id, "{runs:?}");
    assert_eq!(engine.search_audit(&filter("feed", None)).await.unwrap().len(), 4);
    assert_eq!(engine.search_audit(&filter("fee", None)).await.unwrap().len(), 0);
}

#[tokio::test]
async fn entries_can_be_neither_altered_nor_deleted() {
    let small = busy().await;
    for text in ["update audit set detail = 'x' where id = 2", "delete from audit where id = 2"] {
        let refused = sql(&small, text).await.unwrap_err().to_string();
        assert!(refused.contains("HL0822"), "{refused}");
    }
    assert_eq!(verified(&small).await.faults, []);
}

/// What was done, how, and what must be told first.
type Tampered = (&'static str, &'static str, fn(&Fault) -> bool);

#[tokio::test]
async fn whoever_can_write_into_the_database_is_found_out_all_the_same() {
    let small = busy().await;
    let last = verified(&small).await.last;
    let cases: [Tampered; 5] = [
        ("altered", "update audit set detail = 'nothing' where id = 3", |fault| *fault == Fault::Altered { id: 3 }),
        ("deleted", "delete from audit where id = 3", |fault| *fault == Fault::Missing { before: 4 }),
        (
            "swapped",
            "update audit set id = -3 where id = 3; update audit set id = 3 where id = 4; update audit set id = 4 where id = -3",
            |fault| *fault == Fault::Swapped { id: 3, with: 4 },
        ),
        (
            "slipped in",
            "update audit set id = -id where id > 3; update audit set id = 1 - id where id < 0;
             insert into audit (id, at, action, detail, previous, digest)
             select 4, at, action, detail, previous, digest from audit where id = 3",
            |fault| matches!(fault, Fault::Forked { id: 4, .. }),
        ),
        ("cut off", "delete from audit where id > 3", |fault| matches!(fault, Fault::Truncated { last: 3, .. })),
    ];
    for (what, text, expected) in cases {
        let small = busy().await;
        tamper(&small, text).await;
        let faults = verified(&small).await.faults;
        assert!(faults.first().is_some_and(expected), "{what}: {faults:?}, {last}");
    }
}

#[tokio::test]
async fn an_archive_is_verified_with_nothing_but_itself_and_a_root() {
    let small = busy().await;
    let archive = small.path().join("archive");
    let mut engine = small.engine().await;
    assert_eq!(engine.export_audit(&archive).await.unwrap().len(), 1);
    small.run("qy").await;
    assert_eq!(engine.export_audit(&archive).await.unwrap().len(), 1);
    let trust = trust(&small).await;
    let reports = || verify_archive(&archive, &trust, now(), usize::MAX).unwrap();
    let whole = reports();
    assert!(whole.len() == 2 && whole.iter().all(|report| report.holds() && report.signed_by.is_some()), "{whole:?}");
    let entries: u64 = whole.iter().map(|report| report.entries).sum();
    assert!(verified(&small).await.entries >= entries);

    let (first, second) = (archive.join(&whole[0].name), archive.join(&whole[1].name));
    assert!(openssl(&first, "segment.json"), "a verifier that nobody here wrote accepts it");
    let path = first.join("entries.ndjson");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, before.replacen("qy run 2", "qy run 9", 1)).unwrap();
    let altered = reports();
    assert!(altered[0].why.as_deref().unwrap().starts_with("HL0826"), "{altered:?}");
    std::fs::write(&path, before).unwrap();
    std::fs::remove_dir_all(&first).unwrap();
    assert!(reports()[0].why.as_deref().unwrap().contains("does not follow"), "the first segment is missing");
    assert!(verify_archive(&second, &trust, now(), 1).unwrap()[0].holds(), "alone it stands");
}

async fn entries(small: &Small, action: &str) -> Vec<String> {
    let filter = AuditFilter { action: Some(action.into()), limit: 1000, ..AuditFilter::default() };
    let entries = small.engine().await.search_audit(&filter).await.unwrap();
    entries.iter().rev().map(|entry| format!("{} {}", entry.action, entry.detail)).collect()
}

#[tokio::test]
async fn every_pull_release_key_and_change_of_definitions_leaves_an_entry() {
    let small = busy().await;
    let pulls = entries(&small, "pull").await;
    assert!(
        pulls.len() == 4 && pulls[0].starts_with("pull gs.qy: QY_1.csv, ") && pulls[0].ends_with(": taken"),
        "{pulls:?}"
    );
    let released = entries(&small, "feed.release").await;
    assert_eq!(released.len(), 4, "{released:?}");
    assert!(
        released[0].contains("housing.enterprise/1: snapshot, 1 records to housing for 资质审查, grant "),
        "{released:?}"
    );
    assert_eq!(entries(&small, "key.use").await.len(), 4, "each engine is a process of its own");
    let before = entries(&small, "definitions").await;
    assert!(
        before.iter().any(|told| told.contains("feed/housing.enterprise: ") && told.contains(".yaml new ")),
        "{before:?}"
    );
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("资质审查", "资质复审"));
    small.release().await;
    let after = entries(&small, "definitions").await;
    let changed = &after[before.len()..];
    assert!(matches!(changed, [one] if one.contains("housing.enterprise.yaml") && one.contains(" → ")), "{changed:?}");
    assert_eq!(verified(&small).await.faults, []);
}

#[tokio::test]
async fn a_refusal_is_told_once_with_its_reason_and_its_end_too() {
    let small = busy().await;
    let feed = "pipelines/feeds/housing.enterprise.yaml";
    let twice = async || {
        small.release().await;
        small.release().await;
        entries(&small, "feed").await.into_iter().filter(|told| !told.starts_with("feed.release")).collect::<Vec<_>>()
    };
    small.write(feed, FEED.replace("until: 2027-02-28", "until: 2026-10-31"));
    let told = twice().await;
    assert!(
        matches!(&told[..], [one] if one.contains("feed.refused housing.enterprise: the grant ended on 2026-10-31")),
        "{told:?}"
    );
    small.write(feed, FEED.replace("every: 1m,", "every: 1m, quota: 1 records/day,"));
    let told = twice().await;
    assert!(told.len() == 2 && told[1].contains("feed.refused housing.enterprise: HL0610"), "{told:?}");
    small.write(feed, FEED);
    let told = twice().await;
    assert!(told.len() == 3 && told[2].starts_with("feed.allowed housing.enterprise"), "{told:?}");
    small.write("huiliu.yaml", "version: 1\nsigning: { key: none.key, chain: none.pem }\n");
    assert!(small.engine().await.release("housing.enterprise").await.is_err());
    assert!(small.engine().await.release("housing.enterprise").await.is_err());
    let told: Vec<String> = entries(&small, "feed.refused").await;
    assert!(told.len() == 3 && told[2].contains("HL0711"), "{told:?}");
}

/// Microseconds of a day in the year 2000.
const LONG_AGO: i64 = 946_684_800_000_000;

#[tokio::test]
async fn entries_stay_for_twenty_years_and_then_only_what_an_archive_has_may_go() {
    let small = Small::new();
    let archive = small.path().join("archive");
    let mut engine = small.engine().await;
    let old: Vec<Note> = (0..5).map(|n| Note::new(LONG_AGO + n, "run", format!("old {n}"))).collect();
    engine.store().audit_all(&old).await.unwrap();
    assert!(engine.checkpoint_audit(true).await.unwrap());
    drop(engine);
    small.extract("QY_1.csv", &[[CODES[0], "甲", "", "100万元", "在营", "2026-10-01 00:00:00"]]);
    small.run("qy").await;
    let mut engine = small.engine().await;
    let day = |text: &str| text.parse().unwrap();
    let young = engine.prune_audit(day("2010-01-01"), &archive, "me").await.unwrap_err().to_string();
    assert!(young.starts_with("HL0660"), "{young}");
    let unarchived = engine.prune_audit(day("2005-01-01"), &archive, "me").await.unwrap_err().to_string();
    assert!(unarchived.starts_with("HL0661") || unarchived.starts_with("HL0823"), "{unarchived}");
    engine.export_audit(&archive).await.unwrap();
    assert_eq!(engine.prune_audit(day("1999-01-01"), &archive, "me").await.unwrap(), 0, "nothing is that old");
    let before = engine.verify_audit(None).await.unwrap();
    assert_eq!(engine.prune_audit(day("2005-01-01"), &archive, "me").await.unwrap(), 5);
    let after = verified(&small).await;
    assert_eq!(after.faults, [], "what is left begins behind a checkpoint");
    assert_eq!(after.entries, before.entries + 1, "counted from the beginning, and one says what went");
    let mut engine = small.engine().await;
    assert_eq!(engine.prune_audit(day("2005-01-01"), &archive, "me").await.unwrap(), 0);
    assert_eq!(engine.export_audit(&archive).await.unwrap().len(), 1, "the archive goes on");
    assert!(verify_archive(&archive, &trust(&small).await, now(), usize::MAX).unwrap().iter().all(|s| s.holds()));
    // The database does not leave it to the program.
    let refused = sql(&small, "delete from audit where id = 6").await.unwrap_err().to_string();
    assert!(refused.contains("HL0822"), "{refused}");
}

/// Appends lines until it is killed; returns how many it said are durable.
async fn killed_while_appending(small: &Small) -> u64 {
    use std::io::{BufRead as _, BufReader, Write as _};
    if let Some(url) = small.database().await {
        small.write("huiliu.yaml", format!("version: 1\nname: test\nstore: {url}\n"));
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_huiliu"))
        .args(["audit", "append", "--dir"])
        .arg(small.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writer = std::thread::spawn(move || {
        let line = |n: u64| format!("{{\"action\":\"console.sign_in\",\"detail\":\"number {n}\"}}\n");
        (0_u64..).map(line).take_while(|line| input.write_all(line.as_bytes()).is_ok()).count()
    });
    let mut durable = 0;
    for line in BufReader::new(output).lines().take(4) {
        durable = line.unwrap().parse().unwrap();
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(writer.join().unwrap() > 0);
    durable
}

#[tokio::test]
async fn what_was_answered_is_there_after_kill_9_in_its_order() {
    let small = Small::new();
    drop(small.engine().await);
    let durable = killed_while_appending(&small).await;
    assert!(durable > 0);
    let mut engine = small.engine().await;
    let filter = AuditFilter { action: Some("other".into()), ..AuditFilter::after(0, 1_000_000) };
    let kept = engine.search_audit(&filter).await.unwrap();
    assert!(kept.len() as u64 >= durable, "{} of {durable}", kept.len());
    let in_order = |(n, entry): (usize, &huiliu::audit::Entry)| entry.detail.starts_with(&format!("number {n}, by "));
    assert!(kept.iter().enumerate().all(in_order), "in their order, without a gap");
    assert_eq!(engine.verify_audit(None).await.unwrap().faults, []);
}

/// Whether `openssl cms -verify` accepts the segment's manifest.
fn openssl(segment: &Path, manifest: &str) -> bool {
    let root = segment.join("certificates.pem");
    let status = Command::new("openssl")
        .args(["cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-no_check_time", "-in"])
        .arg(segment.join("segment.p7s"))
        .arg("-content")
        .arg(segment.join(manifest))
        .arg("-CAfile")
        .arg(root)
        .args(["-out", "/dev/null"])
        .output()
        .unwrap();
    status.status.success()
}
