//! The engine's tests once more, with the registers in PostgreSQL: the embedded default means the same.

/// The same words, other stores.
mod support {
    pub use crate::support::{CODES, FEED, OnPostgres as Small, line, now, registers, seals_as_files};
}

#[path = "audit.rs"]
mod audit;
#[path = "drift.rs"]
mod drift;
#[path = "feeds.rs"]
mod feeds;
#[path = "redaction.rs"]
mod redaction;
#[path = "registers.rs"]
mod registers;
#[path = "runs.rs"]
mod runs;

use std::collections::BTreeMap;

use huiliu::clock::Clock;
use huiliu::demo;
use huiliu::engine::{Engine, RunOptions};
use huiliu::store::postgres::PostgresStore;
use huiliu::store::sqlite::SqliteStore;
use huiliu::store::{QuarantineFilter, QuarantineView, Store};

use crate::support::services::Database;
use crate::support::{Small, encrypted, now, registers, settle_city};

/// Two nights of the demo's city on both stores: registers, history, ledger, quarantine and batches are the same bytes.
#[tokio::test]
async fn two_nights_of_the_city_are_the_same_on_both_stores() {
    let ((_, one), (_, other)) = (city(None, None).await, city(Some(&Database::new().await), None).await);
    same(&one, &other);
    assert!(one["batches"].len() >= 8 && one["registers"].len() > 5_000);
}

/// What two nights left behind is the same.
pub fn same(one: &Left, other: &Left) {
    for (name, told) in one {
        assert_eq!(told.len(), other[name].len(), "{name}");
        for (a, b) in told.iter().zip(&other[name]) {
            assert!(a == b, "{name} differ:\n{a:.600}\n{b:.600}");
        }
    }
}

/// What two nights left behind, by kind.
pub type Left = BTreeMap<&'static str, Vec<String>>;

/// Two nights of the city, in a database or on SQLite, encrypted at rest under a master key or in plain.
pub async fn city(database: Option<&Database>, master: Option<&str>) -> (crate::support::Small, Left) {
    let small = Small::empty();
    let _services = settle_city(&small);
    small.write(".huiliu/pseudonym.key", [7; 32]);
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut engine = None;
    for night in [0, 1] {
        demo::write_outbox(&small.path().join("outbox"), 7, 1, night).await.unwrap();
        drop(engine.take());
        let workspace = huiliu::config::Workspace::load(small.path()).unwrap();
        std::fs::create_dir_all(small.path().join(".huiliu")).unwrap();
        let store: Box<dyn Store> = match database {
            None => Box::new(SqliteStore::open(&small.path().join(".huiliu/huiliu.db")).await.unwrap()),
            Some(database) => Box::new(PostgresStore::open(&database.url(), "test").await.unwrap()),
        };
        let store = match master {
            None => store,
            Some(master) => encrypted(store, master).await.unwrap(),
        };
        let engine = engine.insert(Engine::new(workspace, store, Clock::Frozen(now())).await.unwrap());
        let pipelines: Vec<_> = engine.workspace().pipelines.keys().cloned().collect();
        for pipeline in pipelines {
            let mut report = engine.run(&pipeline, &RunOptions::default()).await.unwrap();
            report.seconds = 0.0;
            told.entry("runs").or_default().push(format!("{report:?}"));
        }
        let feeds: Vec<_> = engine.workspace().feeds.keys().cloned().collect();
        for feed in feeds {
            let mut report = engine.release(&feed).await.unwrap();
            report.seconds = 0.0;
            told.entry("releases").or_default().push(format!("{report:?}"));
        }
    }
    let mut engine = engine.unwrap();
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
    told.insert("registers", registers(&mut engine).await);
    let review = engine.review(None, 5).await.unwrap();
    told.insert("review", review.iter().map(|line| serde_json::to_string(line).unwrap()).collect());
    let ledger = engine.store().ledger(None).await.unwrap();
    told.insert("ledger", ledger.iter().map(|line| serde_json::to_string(line).unwrap()).collect());
    let filter = QuarantineFilter { with_content: true, limit: 1_000_000, ..QuarantineFilter::default() };
    let aside = engine.store().quarantine(&filter).await.unwrap();
    // By what a bad row is recognised differs from key to key.
    let aside = aside.into_iter().map(|row| QuarantineView { digest: 0, ..row });
    told.insert("quarantine", aside.map(|row| format!("{row:?}")).collect());
    told.insert("batches", spooled(&small));
    drop(engine);
    (small, told)
}

/// Every batch of the spool: its body, and its manifest without what signing puts into it.
fn spooled(small: &Small) -> Vec<String> {
    let mut all = Vec::new();
    let mut dirs: Vec<_> =
        std::fs::read_dir(small.path().join(".huiliu/spool")).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    for dir in dirs {
        let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.ends_with(".p7s") {
                all.push(format!("{name} {}", String::from_utf8_lossy(&std::fs::read(&file).unwrap())));
            }
        }
    }
    all
}

/// The program itself, as an installation runs it: definitions, `huiliu.yaml`, two passes, doctor.
#[tokio::test]
async fn the_program_keeps_its_registers_where_the_installation_says() {
    let (small, database) = (crate::support::Small::new(), Database::new().await);
    small.write("huiliu.yaml", format!("version: 1\nname: test\nstore: {}\n", database.url()));
    small.extract("QY_1.csv", &[["91370283706488757F", "青岛海蓝", "", "100万元", "在营", "2026-10-01 00:00:00"]]);
    let huiliu = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_huiliu"));
        let out = command.arg("--dir").arg(small.path()).args(args).env("NO_COLOR", "1").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout) + &text(out.stderr))
    };
    for args in [&["check"][..], &["run"], &["run"], &["doctor"], &["status"]] {
        let (code, out) = huiliu(args);
        assert!(code == 0, "{args:?}: {out}");
        assert!(!out.contains("huiliu:huiliu@"), "no password: {out}");
    }
    let (_, found) = huiliu(&["register", "get", "enterprise", "91370283706488757F"]);
    assert!(found.contains("青岛海蓝"), "{found}");
    assert!(!small.path().join(".huiliu/huiliu.db").exists());

    // Nobody receives into it: what the receiver makes would be taken for somebody's alteration.
    let at = |path: &str| small.path().join(path).display().to_string();
    let (trust, from) = (at(".huiliu/dev-ca.pem"), format!("spool:{}", at(".huiliu/spool")));
    let receive = |to: &str| huiliu(&["receive", "--from", &from, "--trust", &trust, "--to", to]);
    let (code, out) = receive(&database.url());
    assert!(code == 1 && out.contains("HL0747") && out.contains("createdb"), "{out}");
    assert_eq!(huiliu(&["status"]).0, 0, "the store is as it was");
    let own = Database::new().await;
    assert_eq!(receive(&own.url()).0, 0);

    // An address of which a word is not understood is not used, and its values are told nowhere.
    let (code, out) = receive(&format!("{}?sslmod=verify-full", own.url()));
    assert!(code == 1 && out.contains("HL0747") && out.contains("did you mean sslmode?"), "{out}");
    for (wrong, said) in [("/x?passwrod=Sekret77", "did you mean password?"), ("?sslmode=disable", "names no database")]
    {
        let (server, _) = database.url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        small.write("huiliu.yaml", format!("version: 1\nname: test\nstore: {server}{wrong}\n"));
        for args in [&["check"][..], &["status"], &["run"]] {
            let (code, out) = huiliu(args);
            assert!(code == 1 && out.contains("HL0109") && out.contains(said), "{args:?}: {out}");
            assert!(!out.contains("Sekret77") && !out.contains("huiliu:huiliu"), "{out}");
        }
    }
}
