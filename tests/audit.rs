//! The audit log: whoever tampers with it is found out, and an archive is verified without us.

use std::path::Path;
use std::process::Command;

use huiliu::audit::{Fault, verify_archive};
use huiliu::crypto::Trust;
use huiliu::engine::{AuditReport, own_trust};
use huiliu::store::AuditFilter;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::support::{CODES, Small, now};

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
