//! Runs and re-runs: what changes, what does not, what is held.

use std::sync::Arc;

use huiliu::engine::RunOptions;

use super::support::{CODES, FEED, Small, line, registers};

fn row<'a>(code: &'a str, name: &'a str, status: &'a str, updated: &'a str) -> [&'a str; 6] {
    [code, name, "", "100万元", status, updated]
}

#[tokio::test]
async fn the_same_file_changes_nothing_and_the_next_night_only_what_changed() {
    let small = Small::new();
    let first = [
        row(CODES[0], "青岛海蓝", "在营", "2026-10-01 00:00:00"),
        row(CODES[1], "青岛恒信", "在营", "2026-10-01 00:00:00"),
        row(CODES[2], "青岛港通", "草稿", "2026-10-01 00:00:00"),
        row("91370283706488757X", "坏码", "在营", "2026-10-01 00:00:00"),
    ];
    small.extract("QY_1.csv", &first);
    assert_eq!(line(&small.run("qy").await), "succeeded 4/1/1/2/0/0/0/0");

    let again = small.run("qy").await;
    assert_eq!(again.files[0].outcome, "unchanged");
    assert_eq!(line(&again), "succeeded 0/0/0/0/0/0/0/0");

    let mut second = first;
    second[1] = row(CODES[1], "青岛恒信贸易", "在营", "2026-11-01 00:00:00");
    small.extract("QY_2.csv", &second);
    assert_eq!(line(&small.run("qy").await), "succeeded 4/1/1/0/1/1/0/0");

    let mut engine = small.engine().await;
    let entity = engine.store().entity("enterprise", CODES[1]).await.unwrap().unwrap();
    assert_eq!(entity.version, 2);
    let history = engine.store().history("enterprise", entity.id).await.unwrap();
    assert_eq!(history[0].fields[2].1.as_deref(), Some("青岛恒信"));
    let doctor = engine.doctor().await.unwrap();
    assert_eq!(doctor.disagreements, 0, "{:?}", doctor.findings);
}

#[tokio::test]
async fn a_full_extract_retracts_what_vanished_unless_too_much_did() {
    let small = Small::new();
    let rows: Vec<_> = CODES.iter().map(|code| row(code, "企业", "在营", "2026-10-01 00:00:00")).collect();
    small.extract("QY_1.csv", &rows);
    small.run("qy").await;
    small.extract("QY_2.csv", &rows[..4]);
    assert_eq!(line(&small.run("qy").await), "succeeded 4/0/0/0/0/4/0/2");
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 4);

    small.extract("QY_3.csv", &rows[..1]);
    let held = small.run("qy").await;
    assert_eq!(held.status, "held");
    assert!(held.why.as_deref().unwrap().contains("HL0502"), "{held:?}");
    assert_eq!(held.exit_code(), 3);
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 4, "nothing was retracted");

    let options = RunOptions { accept: Some("the department confirmed".into()) };
    let accepted = small.engine().await.run("qy", &options).await.unwrap();
    assert_eq!(accepted.status, "succeeded");
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 1);
}

#[tokio::test]
async fn a_row_that_comes_back_filtered_takes_its_claim_back() {
    let small = Small::new();
    small.extract("QY_1.csv", &[row(CODES[0], "甲", "在营", "2026-10-01 00:00:00")]);
    small.run("qy").await;
    small.extract("QY_2.csv", &[row(CODES[0], "甲", "草稿", "2026-10-02 00:00:00")]);
    assert_eq!(line(&small.run("qy").await), "succeeded 1/1/0/0/0/0/0/1");
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 0);
}

#[tokio::test]
async fn rows_with_one_key_in_one_extract_do_not_flap_from_night_to_night() {
    let small = Small::new();
    let twice =
        [row(CODES[0], "早", "在营", "2026-10-01 00:00:00"), row(CODES[0], "晚", "在营", "2026-10-02 00:00:00")];
    small.extract("QY_1.csv", &twice);
    assert_eq!(line(&small.run("qy").await), "succeeded 2/0/0/1/1/0/0/0");
    small.extract("QY_2.csv", &[twice[0], twice[1], row(CODES[1], "新", "在营", "2026-10-02 00:00:00")]);
    assert_eq!(line(&small.run("qy").await), "succeeded 3/0/0/1/0/2/0/0");
    let mut engine = small.engine().await;
    let entity = engine.store().entity("enterprise", CODES[0]).await.unwrap().unwrap();
    assert_eq!(entity.fields[2].1.as_deref(), Some("晚"));
    assert_eq!(entity.version, 1);
}

/// A chunk is committed while the next one is worked out: what one says of the other must not be missed.
#[tokio::test]
async fn neighbouring_chunks_that_speak_of_the_same_rows_end_as_if_taken_one_by_one() {
    const DISTINCT: u64 = 6_000; // so that every chunk of 8,192 rows meets keys of the one before it
    let small = Small::new();
    let codes: Vec<String> = (0..DISTINCT).map(valid_code).collect();
    let told =
        |turn: usize| codes.iter().map(move |code| row(code, ["旧名", "新名", "又新"][turn], "在营", DAYS[turn]));
    small.extract("QY_1.csv", &(0..3).flat_map(told).collect::<Vec<_>>());
    // 2,192 rows say what a later row of the same chunk overrules.
    assert_eq!(line(&small.run("qy").await), "succeeded 18000/0/0/6000/9808/0/2192/0");
    let mut engine = small.engine().await;
    for code in [0, 2_191, 2_192, 4_383, 5_999].map(|n: usize| &codes[n]) {
        let entity = engine.store().entity("enterprise", code).await.unwrap().unwrap();
        assert_eq!(entity.fields[2].1.as_deref(), Some("又新"), "{code}");
        assert_eq!(engine.store().claims("enterprise", entity.id).await.unwrap().len(), 3);
    }
    assert_eq!(engine.store().count("enterprise").await.unwrap(), DISTINCT);
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);

    // The next night's extract says it in another order and once less.
    small.extract("QY_2.csv", &[2, 0].into_iter().flat_map(told).collect::<Vec<_>>());
    let next = small.run("qy").await;
    assert_eq!(line(&next), "succeeded 12000/0/0/0/0/12000/0/6000");
}

/// What is packed beside the claims of a stream is compared with, night by night: it must say what the claims say.
#[tokio::test]
async fn a_night_compared_with_what_was_packed_ends_as_one_compared_with_the_claims() {
    let (packed, asked) = (Small::new(), Small::new());
    let mut state = 7_u64;
    let mut chance = |of: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % of
    };
    let codes: Vec<String> = (0..400).map(valid_code).collect();
    let mut names: Vec<Option<u64>> = vec![Some(0); 300];
    names.resize(codes.len(), None);
    for night in 1..=6_u64 {
        for name in &mut names {
            match (chance(20), &name) {
                (0, Some(_)) => *name = None,
                (1, Some(_)) => *name = Some(night),
                (2 | 3, None) => *name = Some(night),
                _ => {}
            }
        }
        let said: Vec<(&String, String)> =
            codes.iter().zip(&names).filter_map(|(code, name)| Some((code, format!("企业{}", (*name)?)))).collect();
        let mut rows: Vec<[&str; 6]> = said.iter().map(|(code, name)| row(code, name, "在营", DAYS[0])).collect();
        rows.extend(said.iter().take(3).map(|(code, _)| row(code, "又一行", "在营", DAYS[1])));
        let options = RunOptions { accept: Some("test".into()) };
        let mut lines = Vec::new();
        for small in [&packed, &asked] {
            small.extract(&format!("QY_{night}.csv"), &rows);
            lines.push(line(&small.engine().await.run("qy", &options).await.unwrap()));
        }
        assert_eq!(lines[0], lines[1], "night {night}");
        assert_ne!(packed_parts(&packed, false).await, 0, "night {night}");
        let kept = packed_parts(&asked, true).await;
        assert!(night == 1 || kept > 0, "night {night}: read once, a stream is packed again");
    }
    assert_eq!(registers(&mut packed.engine().await).await, registers(&mut asked.engine().await).await);
    assert_eq!(packed.engine().await.doctor().await.unwrap().disagreements, 0);
}

/// How many parts are packed; then, if told so, none.
async fn packed_parts(small: &Small, forget: bool) -> i64 {
    use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
    let (count, drop) = ("select count(*) from remembered", "delete from remembered");
    let Some(database) = small.database().await else {
        let url = format!("sqlite://{}", small.path().join(".huiliu/huiliu.db").display());
        let mut conn = SqliteConnection::connect(&url).await.unwrap();
        let parts = sqlx::query_scalar(count).fetch_one(&mut conn).await.unwrap();
        if forget {
            conn.execute(drop).await.unwrap();
        }
        return parts;
    };
    let mut conn = PgConnection::connect(&database).await.unwrap();
    conn.execute("set search_path = huiliu").await.unwrap();
    let parts = sqlx::query_scalar(count).fetch_one(&mut conn).await.unwrap();
    if forget {
        conn.execute(drop).await.unwrap();
    }
    parts
}

/// Update times of three extracts.
const DAYS: [&str; 3] = ["2026-10-01 00:00:00", "2026-10-02 00:00:00", "2026-10-03 00:00:00"];

#[tokio::test]
async fn sources_win_by_their_order_and_a_lost_winner_gives_way() {
    let small = Small::new();
    small.extract("QY_1.csv", &[row(CODES[0], "工商名", "在营", "2026-01-01 00:00:00")]);
    small.taxpayers("NSR_1.csv", &[[CODES[0], "", "税务名", "13800000000", "2026-10-01 00:00:00"]]);
    small.run("qy").await;
    assert_eq!(line(&small.run("nsr").await), "succeeded 1/0/0/0/1/0/0/0");
    let mut engine = small.engine().await;
    let entity = engine.store().entity("enterprise", CODES[0]).await.unwrap().unwrap();
    assert_eq!(entity.fields[2].1.as_deref(), Some("工商名"), "the listed source wins although older");
    assert_eq!(entity.fields[5].1.as_deref(), Some("13800000000"));
    assert_ne!(entity.fields[2].2, entity.fields[5].2, "each cell knows its own claim");

    small.extract("QY_2.csv", &[row(CODES[1], "别家", "在营", "2026-11-01 00:00:00")]);
    let options = RunOptions { accept: Some("test".into()) };
    engine.run("qy", &options).await.unwrap();
    let entity = engine.store().entity("enterprise", CODES[0]).await.unwrap().unwrap();
    assert_eq!(entity.fields[2].1.as_deref(), Some("税务名"));
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
}

#[tokio::test]
async fn two_keys_that_point_at_two_entities_merge_them_and_leave_a_tombstone() {
    let small = Small::new();
    small.taxpayers(
        "NSR_1.csv",
        &[
            [CODES[0], "", "甲", "", "2026-10-01 00:00:00"],
            ["", "110108000000016", "甲旧", "13800000000", "2026-10-01 00:00:00"],
        ],
    );
    small.run("nsr").await;
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 2);
    small.extract("QY_1.csv", &[[CODES[0], "甲公司", "110108000000016", "100万元", "在营", "2026-11-01 00:00:00"]]);
    small.run("qy").await;
    let mut engine = small.engine().await;
    assert_eq!(engine.store().count("enterprise").await.unwrap(), 1);
    let merged = engine.store().entity("enterprise", "#2").await.unwrap().unwrap();
    assert_eq!((merged.id, merged.merged_from), (1, Some(2)));
    assert_eq!(merged.fields[5].1.as_deref(), Some("13800000000"), "the merged entity's claims came along");
    assert_eq!(engine.doctor().await.unwrap().disagreements, 0);
}

#[tokio::test]
async fn a_run_that_was_stopped_goes_on_in_the_middle_of_the_file() {
    let many: Vec<String> = (0..30_000).map(|i| format!("企业{i}")).collect();
    let code = |i: usize| valid_code(i as u64);
    let codes: Vec<String> = (0..30_000).map(code).collect();
    let rows: Vec<[&str; 6]> =
        many.iter().zip(&codes).map(|(name, code)| row(code, name, "在营", "2026-10-01 00:00:00")).collect();
    let undisturbed = Small::new();
    undisturbed.extract("QY_1.csv", &rows);
    undisturbed.run("qy").await;

    let stopped = Small::new();
    stopped.extract("QY_1.csv", &rows);
    let mut engine = stopped.engine().await;
    let after = StopAfter { rows: std::sync::atomic::AtomicU64::new(0), stop: engine.stop_flag() };
    engine = engine.with_progress(std::sync::Arc::new(after));
    let report = engine.run("qy", &RunOptions::default()).await.unwrap();
    assert_eq!(report.status, "failed");
    assert!(report.why.as_deref().unwrap().contains("HL0505"));
    drop(engine);
    let read = report.registers[0].counts.read;
    assert!(read > 0 && read < 30_000, "{read}");
    stopped.write("pipelines/qy.yaml", checked("whole: rows > 29999 and mapped > 29999"));
    let rest = stopped.run("qy").await;
    assert_eq!(rest.status, "succeeded", "checks count the whole file: {rest:?}");
    assert_eq!(rest.registers[0].counts.read, 30_000 - read, "it does not start over");
    let (mut whole, mut resumed) = (undisturbed.engine().await, stopped.engine().await);
    assert_eq!(registers(&mut whole).await, registers(&mut resumed).await);
    let last = resumed.store().last_taken_rows("qy", "enterprise").await.unwrap();
    assert_eq!(last, Some((30_000, 30_000)), "and so does what the next night is compared with");
}

/// The pipeline `qy` with a check.
fn checked(check: &str) -> String {
    format!("version: 1\nfrom: gs.qy\ninto: [enterprise]\ncheck:\n  {check}\nlimit: {{ quarantine: 60% }}\n")
}

fn accepted() -> RunOptions {
    RunOptions { accept: Some("the department confirmed".into()) }
}

fn outcomes(report: &huiliu::engine::RunReport) -> Vec<String> {
    report.files.iter().map(|file| format!("{} {}", file.name, file.outcome)).collect()
}

/// Whose row it was that could not be read nobody knows: what is not there may be it.
#[tokio::test]
async fn a_row_that_cannot_be_read_takes_nothing_back() {
    let small = Small::new();
    let rows: Vec<_> = CODES.iter().map(|code| row(code, "企业", "在营", "2026-10-01 00:00:00")).collect();
    small.extract("QY_1.csv", &rows);
    small.run("qy").await;
    let ragged = |name: &str, from: usize| {
        let mut text = format!("代码,名称,注册号,资本,状态,更新\n{},企,业,,100万元,在营,2026-10-01\n", CODES[0]);
        text.extend(rows[from..].iter().map(|row| row.join(",") + "\n"));
        small.write(&format!("out/gs/{name}"), text);
    };
    ragged("QY_2.csv", 1);
    let kept = small.run("qy").await;
    assert_eq!(line(&kept), "succeeded 6/0/0/0/0/5/0/0");
    assert_eq!((kept.registers[0].counts.undecodable, &*kept.registers[0].notes_by[0].0), (1, "missing:kept"));
    assert!(kept.why.as_deref().unwrap().contains("HL0519"), "{kept:?}");
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 6);

    ragged("QY_3.csv", 2);
    let known = small.engine().await.run("qy", &accepted()).await.unwrap();
    assert_eq!(line(&known), "succeeded 5/0/0/0/0/4/0/2", "a person knows better");

    // A row that a person has set aside for good is nobody's.
    ragged("QY_4.csv", 3);
    assert_eq!(line(&small.run("qy").await), "succeeded 4/0/0/0/0/3/0/0");
    let mut engine = small.engine().await;
    let open = huiliu::store::QuarantineFilter { status: Some("open".into()), limit: 9, ..Default::default() };
    let ids: Vec<i64> = engine.store().quarantine(&open).await.unwrap().iter().map(|entry| entry.id).collect();
    engine.store().set_quarantine(&ids, "dismissed", "a remark", None).await.unwrap();
    drop(engine);
    ragged("QY_5.csv", 4);
    assert_eq!(line(&small.run("qy").await), "succeeded 3/0/0/0/0/2/0/2");
}

/// Of whole extracts the newest stands, also when its bytes are those of an older one.
#[tokio::test]
async fn a_whole_extract_with_the_bytes_of_an_older_one_is_taken() {
    let small = Small::new();
    let rows: Vec<_> = CODES.iter().map(|code| row(code, "企业", "在营", "2026-10-01 00:00:00")).collect();
    let count = async || small.engine().await.store().count("enterprise").await.unwrap();
    small.extract("QY_1.csv", &rows[..4]);
    small.extract("QY_2.csv", &rows[..4]);
    assert_eq!(outcomes(&small.run("qy").await), ["QY_1.csv taken", "QY_2.csv unchanged"]);
    small.extract("QY_3.csv", &rows[1..4]);
    small.run("qy").await;
    assert_eq!(count().await, 3);
    small.extract("QY_4.csv", &rows[..4]);
    let would = small.engine().await.rehearse_run("qy", false).await.unwrap();
    assert_eq!(would.files.last().unwrap().outcome, "would be taken");
    let again = small.run("qy").await;
    assert_eq!(outcomes(&again)[3], "QY_4.csv taken");
    assert_eq!((line(&again).as_str(), count().await), ("succeeded 4/0/0/1/0/3/0/0", 4));
    // What lies there is not taken night after night.
    let rest = small.run("qy").await;
    assert!(rest.files.len() == 4 && rest.files.iter().all(|file| file.outcome == "unchanged"), "{rest:?}");
    // One name that is written over each night.
    small.extract("QY_4.csv", &rows[1..4]);
    assert_eq!(outcomes(&small.run("qy").await)[3], "QY_4.csv taken");
    assert_eq!(count().await, 3);
}

/// What is added (增量) and was taken once is never taken twice, whatever came between.
#[tokio::test]
async fn an_addition_with_known_bytes_is_not_taken_again() {
    let small = Small::new();
    let of = |name: &'static str| [["", "3702002000001", name, "", "2026-10-01 00:00:00"]];
    small.taxpayers("NSR_1.csv", &of("甲"));
    small.taxpayers("NSR_2.csv", &of("乙"));
    small.taxpayers("NSR_3.csv", &of("甲"));
    let report = small.run("nsr").await;
    assert_eq!(outcomes(&report), ["NSR_1.csv taken", "NSR_2.csv taken", "NSR_3.csv unchanged"]);
}

/// What a person accepted is what the next night is compared with.
#[tokio::test]
async fn the_night_after_an_accepted_one_is_compared_with_it() {
    let small = Small::new();
    small.write("pipelines/qy.yaml", checked("drop_guard: rows >= 0.8 * last.rows"));
    let rows: Vec<_> = CODES.iter().map(|code| row(code, "企业", "在营", "2026-10-01 00:00:00")).collect();
    small.extract("QY_1.csv", &rows);
    small.run("qy").await;
    small.extract("QY_2.csv", &rows[..3]);
    for _ in 0..2 {
        let held = small.run("qy").await;
        assert!(held.status == "held" && held.why.as_deref().unwrap().contains("HL0503"), "{held:?}");
    }
    let report = small.engine().await.run("qy", &accepted()).await.unwrap();
    assert_eq!(line(&report), "succeeded 0/0/0/0/0/0/0/3");
    small.extract("QY_3.csv", &[rows[0], rows[1], row(CODES[2], "改名", "在营", "2026-10-02 00:00:00")]);
    assert_eq!(line(&small.run("qy").await), "succeeded 3/0/0/0/1/2/0/0");
}

/// A run that is held for bad rows stays held until somebody does something about them.
#[tokio::test]
async fn bad_rows_hold_every_run_until_they_are_replayed() {
    let small = Small::new();
    let bad = |code: &'static str| row(code, "企业", "在营", "2026-10-01 00:00:00");
    small.write("pipelines/qy.yaml", "version: 1\nfrom: gs.qy\ninto: [enterprise]\nlimit: { quarantine: 40% }\n");
    small.extract("QY_1.csv", &[bad("1"), bad("2"), bad(CODES[0])]);
    for _ in 0..2 {
        let held = small.run("qy").await;
        assert!(held.status == "held" && held.why.as_deref().unwrap().contains("HL0512 2 of 3"), "{held:?}");
    }
    let lax = "select 代码 as uscc, org_name(名称) as name from source\n";
    small.write("mappings/gs/qy.enterprise.sql", lax);
    let filter = huiliu::store::QuarantineFilter::default();
    assert_eq!(small.engine().await.replay(filter).await.unwrap().passed, 2);
    assert_eq!(small.run("qy").await.status, "succeeded");
}

/// A newer whole extract takes the place of one that is held; an addition waits for its turn.
#[tokio::test]
async fn a_newer_whole_extract_supersedes_a_held_one() {
    let small = Small::new();
    let rows: Vec<_> = CODES.iter().map(|code| row(code, "企业", "在营", "2026-10-01 00:00:00")).collect();
    small.extract("QY_1.csv", &rows);
    small.run("qy").await;
    small.extract("QY_2.csv", &rows[..1]);
    assert_eq!(small.run("qy").await.status, "held");
    // A newer one that is held as well supersedes nothing.
    small.extract("QY_3.csv", &rows[1..2]);
    let both = small.run("qy").await;
    assert_eq!((both.status, &outcomes(&both)[1..]), ("held", &["QY_3.csv held".into(), "QY_2.csv held".into()][..]));
    small.extract("QY_4.csv", &rows[..5]);
    let report = small.run("qy").await;
    let expect = ["QY_1.csv unchanged", "QY_2.csv superseded", "QY_3.csv superseded", "QY_4.csv taken"];
    assert_eq!((report.status, outcomes(&report).as_slice()), ("succeeded", &expect.map(str::to_owned)[..]));
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 5);
    let after = small.run("qy").await;
    assert_eq!((after.status, after.exit_code()), ("succeeded", 0));
    assert_eq!(outcomes(&after)[1], "QY_2.csv superseded", "never applied");
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), 5);

    let of = |name: &'static str| [["", "3702002000001", name, "", "2026-10-01 00:00:00"]];
    small.write("pipelines/nsr.yaml", "version: 1\nfrom: tax.nsr\ninto: [enterprise]\ncheck:\n  two: rows > 1\n");
    small.taxpayers("NSR_1.csv", &of("甲"));
    small.taxpayers("NSR_2.csv", &of("乙"));
    assert_eq!(outcomes(&small.run("nsr").await), ["NSR_1.csv held"]);
}

struct StopAfter {
    rows: std::sync::atomic::AtomicU64,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl huiliu::engine::Progress for StopAfter {
    fn file(&self, _: &str, _: &str, _: u64) {}
    fn rows(&self, rows: u64, _: u64) {
        use std::sync::atomic::Ordering;
        if self.rows.fetch_add(rows, Ordering::Relaxed) + rows >= 8192 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn records(&self, _: &str, _: u64) {}
    fn done(&self) {}
}

/// A fictional code with a right check digit.
pub fn valid_code(n: u64) -> String {
    const SET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let digits = format!("{:08}", 10_000_000 + n);
    let weights = [3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits.bytes().zip(weights).map(|(d, w)| u32::from(d - b'0') * w).sum();
    let check = match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        digit => char::from_digit(digit, 10).unwrap(),
    };
    let body = format!("91370202{digits}{check}");
    let mut weight = 1;
    let mut total = 0;
    for c in body.bytes() {
        total += SET.iter().position(|s| *s == c).unwrap() as u32 * weight;
        weight = weight * 3 % 31;
    }
    format!("{body}{}", SET[((31 - total % 31) % 31) as usize] as char)
}

/// Others write while the doctor examines; what it compares is of one moment all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_sees_one_moment_while_others_write() {
    let small = Arc::new(Small::new());
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("records: 3", "records: 400"));
    drop(small.engine().await);
    let writing = Arc::clone(&small);
    let writer = tokio::spawn(async move {
        for night in 0..8_u64 {
            let name = format!("企业{night}");
            let codes: Vec<String> = (0..1_500).map(|n| valid_code(n + night * 10)).collect();
            let rows: Vec<_> = codes.iter().map(|code| row(code, &name, "在营", "")).collect();
            writing.extract(&format!("QY_{night}.csv"), &rows);
            assert_eq!(writing.run("qy").await.status, "succeeded");
            writing.release().await;
            if night % 3 == 2 {
                writing.engine().await.store().reopen_feed("housing.enterprise").await.unwrap();
            }
        }
    });
    let (mut examined, mut held) = (0, 0);
    while !writer.is_finished() {
        let doctor = small.engine().await.doctor().await.unwrap();
        assert_eq!(doctor.disagreements, 0, "{:?}", doctor.findings);
        assert_eq!(doctor.feeds_in_outline.len(), 0, "{:?}", doctor.feeds_in_outline);
        examined += doctor.entities;
        held += doctor.holdings;
    }
    writer.await.unwrap();
    assert!(examined > 0 && held > 0);
}

/// A key that a claim makes must name its entity, and one that names it must be made by a claim.
#[tokio::test]
async fn the_doctor_looks_for_keys_in_both_directions() {
    let small = Small::new();
    let enterprise = |code| row(code, "企业", "在营", DAYS[0]);
    small.extract("QY_1.csv", &[enterprise(CODES[0]), enterprise(CODES[1])]);
    small.run("qy").await;
    assert_eq!(small.engine().await.doctor().await.unwrap().disagreements, 0);
    small.sql("delete from identity where entity = 1").await;
    small.sql("update identity set entity = 1 where entity = 2").await;
    let doctor = small.engine().await.doctor().await.unwrap();
    let found: Vec<_> = doctor.findings.iter().map(|f| (f.kind, f.number, f.what.as_str())).collect();
    let (lacks, foreign) = ("a key that a claim makes does not point at it", "a key points at it that no claim makes");
    assert_eq!(found, [("identity", 1, foreign), ("identity", 1, lacks), ("identity", 2, lacks)]);
}
