//! Encryption at rest (落盘加密): what the database holds, what it takes to read it, and that nothing else changes.

/// The engine's tests once more, over a store that is encrypted.
mod support {
    pub use crate::support::{AtRest as Small, CODES, FEED, line, now, registers, seals_as_files};
}

#[path = "feeds.rs"]
mod feeds;
#[path = "registers.rs"]
mod registers;
#[path = "runs.rs"]
mod runs;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use futures::TryStreamExt as _;
use huiliu::clock::Clock;
use huiliu::config::Workspace;
use huiliu::engine::{Engine, EngineError};
use huiliu::record::Value;
use huiliu::store::sqlite::SqliteStore;
use huiliu::store::{QuarantineFilter, Store, StoreError, at_rest};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::on_postgres::{city, same};
use crate::support::daemon::huiliu;
use crate::support::services::Database;
use crate::support::{AtRest, CODES, MASTER, Small, encrypted, now, ring};

/// Another master key.
const OTHER: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";

/// Two nights of the demo's city, on both stores, encrypted: registers, history, ledger, quarantine and batches are what
/// they are without it, and whoever has the database has no citizen ID, no number of level 3 and no row set aside.
#[tokio::test]
async fn a_dump_of_the_city_shows_no_citizen_id_and_everything_else_is_as_without() {
    let (plain, expected) = city(None, None).await;
    let secrets = Secrets::of(plain.path()).await;
    let shown = secrets.shown_in(&file_bytes(&plain));
    assert!(shown.len() > 5_000, "the search finds what is there: {}", shown.len());
    let (small, told) = city(None, Some(MASTER)).await;
    same(&expected, &told);
    assert_eq!(secrets.shown_in(&file_bytes(&small)), [""; 0]);
    let database = Database::new().await;
    let (_, told) = city(Some(&database), Some(MASTER)).await;
    same(&expected, &told);
    assert_eq!(secrets.shown_in(&dump(&database).await), [""; 0]);
}

/// What nobody may find in a database.
struct Secrets(HashSet<Vec<u8>>);

impl Secrets {
    /// Texts of level 3 and 4 from 11 bytes on that no field below says too, citizen IDs also in their form of 15 digits,
    /// and rows set aside.
    async fn of(dir: &Path) -> Self {
        let store = SqliteStore::open(&dir.join(".huiliu/huiliu.db")).await.unwrap();
        let mut engine =
            Engine::new(Workspace::load(dir).unwrap(), Box::new(store), Clock::Frozen(now())).await.unwrap();
        let (mut secret, mut open): (HashSet<String>, HashSet<String>) = (HashSet::new(), HashSet::new());
        for register in engine.workspace().registers.clone().into_values() {
            let mut after = 0;
            loop {
                let page = engine.store().claimed_entities(&register.name, after, 2_048).await.unwrap();
                let Some(&last) = page.last() else { break };
                after = last;
                for before in engine.store().before(&register.name, &page).await.unwrap().into_values() {
                    let rows =
                        before.claims.into_iter().map(|claim| claim.values).chain(before.row.map(|(row, _)| row));
                    for (field, value) in rows.flat_map(|row| register.fields.iter().zip(row)) {
                        let Some(Value::Text(text)) = value else { continue };
                        let _ = if field.is_sensitive() { secret.insert(text) } else { open.insert(text) };
                    }
                }
            }
        }
        let ids: HashSet<Vec<u8>> =
            secret.iter().filter(|text| is_citizen_id(text)).map(|id| id.clone().into()).collect();
        assert!(ids.len() > 3_000, "{}", ids.len());
        let open = open.into_iter().collect::<Vec<_>>().join("\n").into_bytes();
        assert_eq!(Self(ids.clone()).shown_in(&open), [""; 0], "a citizen ID stands in a field below level 3");
        let mut all: HashSet<Vec<u8>> = secret.into_iter().filter(|text| text.len() >= 11).map(Into::into).collect();
        for told in Self(all.clone()).shown_in(&open) {
            all.remove(told.as_bytes());
        }
        all.extend(ids.iter().map(|id| [&id[..6], &id[8..17]].concat()));
        let filter = QuarantineFilter { with_content: true, limit: 1_000_000, ..QuarantineFilter::default() };
        let aside = engine.store().quarantine(&filter).await.unwrap();
        assert!(aside.len() > 100, "{}", aside.len());
        all.extend(aside.into_iter().map(|row| row.raw).filter(|raw| raw.len() >= 24));
        Self(all)
    }

    /// Those that are in there.
    fn shown_in(&self, bytes: &[u8]) -> Vec<String> {
        const BEGIN: usize = 11;
        let mut by_begin: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
        let mut begins = vec![false; 1 << 24];
        let three = |bytes: &[u8]| usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        for secret in &self.0 {
            by_begin.entry(&secret[..BEGIN]).or_default().push(secret);
            begins[three(secret)] = true;
        }
        let mut shown = HashSet::new();
        for (at, begin) in bytes.windows(BEGIN).enumerate().filter(|(_, begin)| begins[three(begin)]) {
            for secret in by_begin.get(begin).into_iter().flatten() {
                if bytes[at..].starts_with(secret) {
                    shown.insert(String::from_utf8_lossy(secret).into_owned());
                }
            }
        }
        shown.into_iter().collect()
    }
}

fn is_citizen_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    let century = |bytes: &[u8]| matches!(&bytes[6..8], b"19" | b"20");
    bytes.len() == 18 && bytes[..17].iter().all(u8::is_ascii_digit) && century(bytes)
}

/// The database file as it lies there, with what is still in its log.
fn file_bytes(small: &Small) -> Vec<u8> {
    let read = |name: &str| fs::read(small.path().join(".huiliu").join(name)).unwrap_or_default();
    [read("huiliu.db"), read("huiliu.db-wal")].concat()
}

/// Every table of both schemas, as COPY writes it in binary.
async fn dump(database: &Database) -> Vec<u8> {
    let mut conn = PgConnection::connect(&database.url()).await.unwrap();
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select table_schema::text, table_name::text from information_schema.tables \
         where table_schema in ('huiliu', 'registers') and table_type = 'BASE TABLE'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(tables.len() > 30, "{}", tables.len());
    let mut bytes = Vec::new();
    for (schema, table) in tables {
        let sql = format!("copy (select * from \"{schema}\".\"{table}\") to stdout (format binary)");
        let mut copy = conn.copy_out_raw(&sql).await.unwrap();
        while let Some(part) = copy.try_next().await.unwrap() {
            bytes.extend_from_slice(&part);
        }
    }
    bytes
}

/// Two enterprises with a number and a telephone of level 3, two rows set aside, two batches.
async fn two(small: &Small) {
    let register = "mappings/registers/enterprise.yaml";
    let text = fs::read_to_string(small.path().join(register)).unwrap();
    let number = "registration_no: { title: 注册号, type: text, share: unconditional, level: ";
    let text = text.replace("level: 2", "level: 3").replace(&format!("{number}1"), &format!("{number}3"));
    small.write(register, text);
    let row = |code, name, number| [code, name, number, "100万元", "在营", "2026-11-01 00:00:00"];
    let bad = |code| [code, "错", "", "100万元", "在营", "2026-11-01 00:00:00"];
    small.extract(
        "QY_1.csv",
        &[row(CODES[0], "甲", NUMBERS[0]), row(CODES[1], "乙", NUMBERS[1]), bad("91370283706488757A"), bad("坏")],
    );
    let told = |code, phone| [code, "", "名", phone, "2026-11-02 00:00:00"];
    small.taxpayers("NSR_1.csv", &[told(CODES[0], PHONES[0]), told(CODES[1], PHONES[1])]);
    for pipeline in ["qy", "nsr"] {
        small.run(pipeline).await;
    }
    small.release().await;
}

const NUMBERS: [&str; 2] = ["370283228030577", "370203018006612"];
const PHONES: [&str; 2] = ["13800000001", "13900000002"];

async fn text(small: &Small, sql: &str) -> String {
    let url = format!("sqlite:{}", small.path().join(".huiliu/huiliu.db").display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap()
}

#[tokio::test]
async fn sensitive_values_are_found_and_shown_and_stored_as_nothing_that_says_them() {
    let small = AtRest::new();
    two(&small).await;
    let mut engine = small.engine().await;
    let store = engine.store();
    let by_key = store.entity("enterprise", NUMBERS[0]).await.unwrap().unwrap();
    let fields: Vec<Option<&str>> = by_key.fields.iter().map(|(_, value, _)| value.as_deref()).collect();
    assert_eq!(fields[..2], [Some(CODES[0]), Some(NUMBERS[0])]);
    assert_eq!(fields.last(), Some(&Some(PHONES[0])), "and no column that is no field: {fields:?}");
    for (field, asked) in [("phone", "0000001"), ("registration_no", NUMBERS[0]), ("registration_no", "228030")] {
        let found = store.find("enterprise", field, asked, 10).await.unwrap();
        assert_eq!(found.iter().map(|view| view.id).collect::<Vec<_>>(), [by_key.id], "{field}");
    }
    let said = store.claims("enterprise", by_key.id).await.unwrap();
    assert!(said.iter().any(|claim| claim.fields.contains(&("phone".into(), PHONES[0].into()))));
    let bytes = file_bytes(&small);
    for secret in NUMBERS.iter().chain(&PHONES).chain(&["91370283706488757A"]) {
        let there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!there, "{secret}");
    }
    assert!(bytes.windows(18).any(|window| window == CODES[0].as_bytes()), "a public code stays readable");
    assert!(text(&small, "select phone from enterprise limit 1").await.starts_with("hl1:"));
    let indexed = "select count(distinct length(registration_no_index)) || ' ' || max(length(registration_no_index)) from enterprise";
    assert_eq!(text(&small, indexed).await, "1 22");
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
}

/// Whoever writes into the database is found out: each line alters something, and names what is asked then.
#[tokio::test]
async fn what_was_altered_or_moved_in_the_database_does_not_open() {
    let swapped = |table: &str, column: &str, id: &str| {
        format!(
            "update {table} set {column} = (select o.{column} from {table} o where o.{id} <> {table}.{id} \
             and o.{column} is not null and typeof(o.{column}) = typeof({table}.{column}) order by o.{id} limit 1) \
             where {column} is not null"
        )
    };
    let cases = [
        (swapped("enterprise", "phone", "_id"), "entity"),
        ("update enterprise set phone = substr(phone, 1, 20) || case substr(phone, 21, 1) when 'A' then 'B' else 'A' end \
          || substr(phone, 22)".to_owned(), "entity"),
        (format!("update enterprise set phone = '{}'", PHONES[1]), "entity"),
        ("update enterprise set registration_no = phone".to_owned(), "before"),
        ("update claim set vals = (select o.vals from claim o where o.stream = claim.stream and o.id <> claim.id)".to_owned(), "before"),
        ("update identity set value = replace(value, 'hl1:', 'hl1:A') where value like 'hl1:%'".to_owned(), "before"),
        (swapped("quarantine", "raw", "id"), "quarantine"),
        (swapped("quarantine", "cells", "id"), "quarantine"),
        ("update batch set body = zeroblob(200)".to_owned(), "batches"),
    ];
    let small = AtRest::new();
    two(&small).await;
    small.sql("pragma wal_checkpoint(truncate)").await;
    let file = small.path().join(".huiliu/huiliu.db");
    let kept = fs::read(&file).unwrap();
    for (alter, ask) in cases {
        fs::write(&file, &kept).unwrap();
        for beside in ["db-wal", "db-shm"] {
            fs::remove_file(file.with_extension(beside)).ok();
        }
        assert_eq!(asked(&mut small.engine().await, ask).await, None, "before: {alter}");
        assert!(small.sql(&alter).await > 0, "{alter}");
        let told = asked(&mut small.engine().await, ask).await;
        assert!(told.as_deref() == Some("HL0411") || told.as_deref() == Some("HL0413"), "{alter}: {told:?}");
    }
}

/// The code of what is refused.
async fn asked(engine: &mut Engine, ask: &str) -> Option<String> {
    let store = engine.store();
    let done = match ask {
        "entity" => store.entity("enterprise", CODES[0]).await.map(|found| assert!(found.is_some())),
        "before" => {
            let all = store.claimed_entities("enterprise", 0, 10).await.unwrap();
            store.before("enterprise", &all).await.map(|found| assert_eq!(found.len(), 2))
        }
        "quarantine" => {
            let filter = QuarantineFilter { with_content: true, limit: 10, ..QuarantineFilter::default() };
            store.quarantine(&filter).await.map(|found| assert_eq!(found.len(), 2))
        }
        "batches" => store
            .batches_from("housing.enterprise", 1, 10)
            .await
            .map(|found| assert!(found[0].body.starts_with(b"Obj"))),
        other => panic!("{other}"),
    };
    done.err().map(|error| code(&error).to_owned())
}

fn code(error: &StoreError) -> &str {
    match error {
        StoreError::Refused(problem) => problem.code,
        other => panic!("{other}"),
    }
}

async fn bare(small: &Small) -> Box<dyn Store> {
    Box::new(SqliteStore::open(&small.path().join(".huiliu/huiliu.db")).await.unwrap())
}

#[tokio::test]
async fn only_the_right_master_key_opens_a_store_and_only_one_that_was_begun_with_one() {
    let small = AtRest::new();
    two(&small).await;
    let refused = |opened: Result<Box<dyn Store>, StoreError>| code(&opened.err().unwrap()).to_owned();
    assert_eq!(refused(encrypted(bare(&small).await, OTHER).await), "HL0407");
    assert_eq!(refused(at_rest::plain(bare(&small).await).await), "HL0409");
    let plain = Small::new();
    two(&plain).await;
    assert_eq!(refused(encrypted(bare(&plain).await, MASTER).await), "HL0408");
    for (key, told) in [("pkcs11:token=huiliu", "HL0406"), ("", "HL0406"), ("short", "HL0406")] {
        assert_eq!(at_rest::master(key, &ring()).err().map(|problem| problem.code), Some(told), "{key}");
    }
    // A level that moves over the line would leave old values as they are.
    let register = "mappings/registers/enterprise.yaml";
    let raised = fs::read_to_string(small.path().join(register)).unwrap().replace("level: 3", "level: 2");
    small.write(register, raised);
    match small.try_engine().await.err() {
        Some(EngineError::Store(error)) => assert_eq!(code(&error), "HL0412"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_change_and_what_is_stored_stays_readable() {
    let small = AtRest::new();
    two(&small).await;
    let (old, new) = (at_rest::master(MASTER, &ring()).unwrap(), at_rest::master(OTHER, &ring()).unwrap());
    let at = now().timestamp_micros();
    let before = text(&small, "select phone from enterprise limit 1").await;
    at_rest::rotate(bare(&small).await.as_mut(), (old.as_ref(), new.as_ref()), at + 1).await.unwrap();
    assert_eq!(code(&encrypted(bare(&small).await, MASTER).await.err().unwrap()), "HL0407");
    assert_eq!(text(&small, "select phone from enterprise limit 1").await, before, "nothing was written anew");
    assert_eq!(at_rest::renew(bare(&small).await.as_mut(), new.as_ref(), at + 2).await.unwrap(), 2);
    // New values go under the new key, old ones still open, what is looked up is found.
    small.taxpayers("NSR_2.csv", &[[CODES[0], "", "名", "13700000003", "2026-11-03 00:00:00"]]);
    let workspace = Workspace::load(small.path()).unwrap();
    let store = encrypted(bare(&small).await, OTHER).await.unwrap();
    let mut engine = Engine::new(workspace, store, Clock::Frozen(now())).await.unwrap();
    engine.run("nsr", &huiliu::engine::RunOptions::default()).await.unwrap();
    for (number, phone) in [(NUMBERS[0], "13700000003"), (NUMBERS[1], PHONES[1])] {
        let found = engine.store().entity("enterprise", number).await.unwrap().unwrap();
        assert_eq!(found.fields.last().unwrap().1.as_deref(), Some(phone));
    }
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
    drop(engine);
    let generations = "select count(distinct substr(phone, 1, 6)) || '' from enterprise";
    assert_eq!(text(&small, generations).await, "2");
    let keys = at_rest::data_keys(bare(&small).await.as_mut()).await.unwrap();
    assert_eq!(keys.iter().map(|key| (key.generation, key.made - at)).collect::<Vec<_>>(), [(1, 0), (2, 2)]);
    assert!(keys.iter().all(|key| key.master == new.id()));
    // A data key that is lost takes what was written under it along, and says so.
    small.sql("delete from at_rest where name = 'key.2'").await;
    let store = encrypted(bare(&small).await, OTHER).await.unwrap();
    let mut engine = Engine::new(Workspace::load(small.path()).unwrap(), store, Clock::Frozen(now())).await.unwrap();
    assert_eq!(asked(&mut engine, "entity").await.as_deref(), Some("HL0413"));
}

#[tokio::test]
async fn the_program_makes_changes_and_shows_the_keys() {
    let small = Small::new();
    let done = |args: &[&str], code: i32| {
        let (exit, out, err) = huiliu(small.path(), args);
        assert_eq!(exit, code, "{args:?}: {out}{err}");
        out + &err
    };
    assert!(done(&["check"], 0).contains("at rest: off"));
    assert!(done(&["key", "rest", "show"], 1).contains("HL0414"));
    done(&["key", "rest", "new", "one.key"], 0);
    assert!(done(&["key", "rest", "new", "one.key"], 1).contains("it exists"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(small.path().join("one.key")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    small.write("huiliu.yaml", "version: 1\nat_rest: { master_key: file:one.key }\n");
    assert!(done(&["check"], 0).contains("at rest: on"));
    small.extract("QY_1.csv", &[[CODES[0], "甲", "", "100万元", "在营", "2026-10-01 00:00:00"]]);
    done(&["run"], 0);
    assert!(done(&["status"], 0).contains("at rest: on"));
    done(&["key", "rest", "new", "two.key"], 0);
    done(&["key", "rest", "rotate", "--to", "two.key"], 0);
    assert!(done(&["register", "get", "enterprise", CODES[0]], 1).contains("HL0407"), "the old key opens nothing");
    small.write("huiliu.yaml", "version: 1\nat_rest: { master_key: file:two.key }\n");
    done(&["key", "rest", "renew"], 0);
    assert!(done(&["register", "get", "enterprise", CODES[0]], 0).contains('甲'));
    let shown: serde_json::Value =
        serde_json::from_str(&huiliu(small.path(), &["--json", "key", "rest", "show"]).1).unwrap();
    assert_eq!(shown["data_keys"].as_array().map(Vec::len), Some(2), "{shown}");
    assert!(done(&["doctor"], 0).contains("at rest: on"));
    assert!(done(&["audit", "search"], 0).contains("key.rest.rotate"));
    fs::remove_file(small.path().join("two.key")).unwrap();
    assert!(done(&["status"], 1).contains("HL0119"), "the key is gone");
    small.write("huiliu.yaml", "version: 1\n");
    assert!(done(&["status"], 1).contains("HL0409"));
}
