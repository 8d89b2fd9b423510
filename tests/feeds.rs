//! Feeds: what goes out, what is withdrawn, what is not sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use huiliu::batch::{Kind, Manifest, read_body};
use huiliu::crypto::DigestAlgorithm;
use huiliu::engine::RunOptions;
use huiliu::record::Value;
use huiliu::store::{NewChase, Side};

use super::support::{CODES, FEED, Small, now};

fn counts(report: &huiliu::engine::FeedReport) -> (&'static str, u64, u64, u64, u64) {
    (report.status, report.upserts, report.withdrawals, report.counts.withheld, report.counts.unaffected)
}

fn rows<'a>(statuses: &[&'a str]) -> Vec<[&'a str; 6]> {
    statuses
        .iter()
        .zip(CODES)
        .map(|(status, code)| [code, "企业", "", "100万元", status, "2026-10-01 00:00:00"])
        .collect()
}

#[tokio::test]
async fn a_feed_sends_a_snapshot_then_only_what_changed_for_it() {
    let small = Small::new();
    small.extract("QY_1.csv", &rows(&["在营", "在营", "注销", "在营", "在营"]));
    small.run("qy").await;
    let first = small.release().await;
    assert_eq!(counts(&first), ("released", 4, 0, 1, 0));
    assert_eq!((first.batches, first.durable), (2, 4), "at most three records a batch");
    assert_eq!(counts(&small.release().await), ("nothing new", 0, 0, 0, 0));

    // A row enters the filter, one leaves it, one changes only in a field this feed does not carry.
    let mut second = rows(&["在营", "注销", "在营", "在营", "在营"]);
    second[0][3] = "200万元";
    small.extract("QY_2.csv", &second);
    small.run("qy").await;
    assert_eq!(counts(&small.release().await), ("released", 1, 1, 0, 1));

    // What a receipt is compared with: only the last batch says how many records the subscriber holds now.
    let mut engine = small.engine().await;
    for (seq, held) in [(1, None), (2, None), (3, Some(4)), (4, None)] {
        assert_eq!(engine.store().holding_at("housing.enterprise", seq).await.unwrap(), held, "batch {seq}");
    }
}

#[tokio::test]
async fn a_narrowed_grant_withdraws_and_a_widened_one_sends() {
    let small = Small::new();
    small.extract("QY_1.csv", &rows(&["在营", "在营", "注销"]));
    small.run("qy").await;
    small.release().await;
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("rows: status = '在营'\n", ""));
    assert_eq!(counts(&small.release().await), ("released", 1, 0, 0, 2));
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("'在营'", "'注销'"));
    assert_eq!(counts(&small.release().await), ("released", 0, 2, 0, 1));
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("[uscc, name, status]", "[uscc, status]"));
    let narrower = small.release().await;
    assert_eq!(counts(&narrower), ("released", 2, 1, 0, 0), "fewer fields: every record again, without them");
}

#[tokio::test]
async fn a_grant_that_ends_takes_everything_back() {
    let small = Small::new();
    small.extract("QY_1.csv", &rows(&["在营", "在营"]));
    small.run("qy").await;
    small.release().await;
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("until: 2027-02-28", "until: 2026-10-31"));
    let ended = small.release().await;
    assert_eq!((ended.withdrawals, ended.upserts), (2, 0), "{ended:?}");
}

#[tokio::test]
async fn a_quota_stops_and_says_when_it_resets() {
    let small = Small::new();
    small.extract("QY_1.csv", &rows(&["在营", "在营", "在营", "在营", "在营"]));
    small.run("qy").await;
    small.write(
        "pipelines/feeds/housing.enterprise.yaml",
        FEED.replace("every: 1m,", "every: 1m, quota: 2 records/day,"),
    );
    let limited = small.release().await;
    assert_eq!((limited.status, limited.upserts), ("waiting", 2));
    let why = limited.why.unwrap();
    assert!(why.starts_with("HL0610") && why.contains("resets at 20") && why.ends_with("00:00 +08:00"), "{why}");
}

/// What a feed's batches in the spool say, newest last: entity → released values.
fn spooled(small: &Small, feed: &str) -> BTreeMap<i64, Vec<Option<Value>>> {
    let read = |body: Vec<u8>| read_body(&body, DigestAlgorithm::Sha256).unwrap().1;
    small.bodies(feed).into_iter().flat_map(read).map(|record| (record.id, record.values)).collect()
}

#[tokio::test]
async fn a_pseudonym_is_the_same_every_night_another_in_another_feed_and_never_the_value() {
    let small = Small::new();
    let masked = FEED.replace("rows: status = '在营'\n", "mask: { name: pseudonym }\n");
    small.write("pipelines/feeds/housing.enterprise.yaml", &masked);
    let other = masked.replace("subscriber: housing", "subscriber: civil");
    small.write("pipelines/feeds/civil.enterprise.yaml", other);
    small.extract("QY_1.csv", &rows(&["在营", "在营"]));
    small.run("qy").await;
    small.release().await;
    small.engine().await.release("civil.enterprise").await.unwrap();
    let first = spooled(&small, "housing.enterprise");
    let names: BTreeSet<&Value> = first.values().filter_map(|values| values[1].as_ref()).collect();
    assert_eq!(names.len(), 1, "both are called the same, so both have one pseudonym: {first:?}");
    assert!(!format!("{names:?}").contains("企业"));

    small.extract("QY_2.csv", &rows(&["注销", "注销"]));
    small.run("qy").await;
    assert_eq!(counts(&small.release().await), ("released", 2, 0, 0, 0));
    let second = spooled(&small, "housing.enterprise");
    assert!(first.iter().all(|(id, values)| values[1] == second[id][1] && values[2] != second[id][2]));
    assert!(spooled(&small, "civil.enterprise").values().all(|values| !names.contains(values[1].as_ref().unwrap())));
}

/// A second daemon with a state directory of its own, or one that was lost: nobody gets a second pseudonym unnoticed.
#[tokio::test]
async fn pseudonyms_rest_on_one_key_for_a_store() {
    let small = Small::new();
    let key = small.path().join(".huiliu/pseudonym.key");
    small.extract("QY_1.csv", &rows(&["在营", "在营"]));
    small.run("qy").await;
    small.release().await;
    let first = std::fs::read(&key).ok();
    small.write(".huiliu/pseudonym.key", [8; 32]);
    let masked = FEED.replace("rows: status = '在营'\n", "mask: { name: pseudonym }\n");
    small.write("pipelines/feeds/housing.enterprise.yaml", &masked);
    assert_eq!(small.release().await.status, "released", "the first pseudonym decides: before, {first:?}");
    small.write(".huiliu/pseudonym.key", [9; 32]);
    small.extract("QY_2.csv", &rows(&["注销", "注销"]));
    small.run("qy").await;
    let refused = small.engine().await.release("housing.enterprise").await.unwrap_err().to_string();
    assert!(refused.contains("HL0719") && refused.contains("pseudonym.key"), "{refused}");
    small.write(".huiliu/pseudonym.key", [8; 32]);
    assert_eq!(small.release().await.status, "released");
}

#[tokio::test]
async fn a_suspended_grant_sends_nothing_until_it_is_resumed_and_then_everything() {
    let small = Small::new();
    let row = |name: &'static str| [CODES[0], name, "", "100万元", "在营", "2026-10-01 00:00:00"];
    small.extract("QY_1.csv", &[row("甲")]);
    small.run("qy").await;
    assert_eq!(small.release().await.counts.released, 1);
    let mut engine = small.engine().await;
    engine.suspend_feed("housing.enterprise", (Side::Subscriber, "the steward asks"), "me").await.unwrap();
    let twice = engine.suspend_feed("housing.enterprise", (Side::Office, "again"), "me").await.unwrap_err().to_string();
    assert!(twice.contains("HL0612"), "{twice}");
    drop(engine);
    small.extract("QY_2.csv", &[row("乙")]);
    small.run("qy").await;
    let report = small.release().await;
    assert!(report.status == "waiting" && report.batches == 0, "{report:?}");
    assert!(report.why.as_ref().unwrap().starts_with("HL0611") && report.why.unwrap().contains("the steward asks"));
    small.engine().await.resume_feed("housing.enterprise", "settled", "me").await.unwrap();
    let report = small.release().await;
    assert_eq!((report.status, report.counts.released), ("released", 1));
    let filter = huiliu::store::AuditFilter { action: Some("feed".into()), limit: 9, ..Default::default() };
    let entries = small.engine().await.search_audit(&filter).await.unwrap();
    let told: Vec<&str> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(told, ["feed.release", "feed.suspend", "feed.refused", "feed.resume", "feed.release", "feed.allowed"]);
}

/// The manifests in the spool, in order.
fn manifests(small: &Small, feed: &str) -> Vec<Manifest> {
    let listed = fs::read_dir(small.path().join(".huiliu/spool").join(feed)).unwrap();
    let mut paths: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".manifest.json"));
    paths.sort();
    paths.iter().map(|path| Manifest::from_json(&fs::read(path).unwrap()).unwrap()).collect()
}

const PHONE: &str = "13800138000";
const CITIZEN: &str = "11010519491231002X";

#[tokio::test]
async fn numbers_of_persons_in_free_text_do_not_leave_unless_the_grant_covers_them() {
    let text = format!("甲公司找{PHONE}或{CITIZEN}");
    let masked = "甲公司找***********或******************";
    let with_phone = FEED.replace("[uscc, name, status]", "[uscc, name, status, phone]");
    for (feed, name, counted) in [
        (FEED.to_owned(), Some(masked), (1, 1)),
        (FEED.replace("rows:", "free_text: withhold\nrows:"), None, (1, 1)),
        (FEED.replace("rows:", "free_text: flag\nrows:"), Some(text.as_str()), (1, 1)),
        // Whoever is granted the telephone number may read it in the name, too; nobody granted the other one.
        (with_phone, Some(&*format!("甲公司找{PHONE}或******************")), (1, 0)),
    ] {
        let small = Small::new();
        small.write("pipelines/feeds/housing.enterprise.yaml", &feed);
        small.extract("QY_1.csv", &[[CODES[0], &text, "", "100万元", "在营", "2026-10-01 00:00:00"]]);
        small.taxpayers("NSR_1.csv", &[[CODES[0], "", "", PHONE, "2026-10-01 00:00:00"]]);
        small.run("qy").await;
        small.run("nsr").await;
        assert_eq!(small.release().await.upserts, 1);
        let values = spooled(&small, "housing.enterprise").into_values().next().unwrap();
        assert_eq!(values[1], name.map(|name| Value::Text(name.to_owned())), "{feed}");
        if let Some(phone) = values.get(3) {
            assert_eq!(*phone, Some(Value::Text(PHONE.to_owned())), "what the grant is about leaves as it is");
        }
        let told = manifests(&small, "housing.enterprise").pop().unwrap().decision.free_text;
        assert_eq!((told["name"].citizen_ids, told["name"].mobiles, told.len()), (counted.0, counted.1, 1));
        let found = small.engine().await.store().found_in_text("housing.enterprise").await.unwrap();
        assert_eq!((found[0].citizen_ids.unsigned_abs(), found[0].mobiles.unsigned_abs()), counted, "{found:?}");
        assert_eq!(found[0].policy, told["name"].policy);
        assert_eq!(counts(&small.release().await), ("nothing new", 0, 0, 0, 0), "what is held is what was sent");
    }
}

#[tokio::test]
async fn a_recall_reaches_everybody_who_has_or_had_the_record_and_it_stays_inside() {
    let small = Small::new();
    let civil = FEED.replace("subscriber: housing", "subscriber: civil");
    small.write("pipelines/feeds/civil.enterprise.yaml", &civil);
    let row = |name: &'static str| [CODES[0], name, "", "100万元", "在营", "2026-10-01 00:00:00"];
    small.extract("QY_1.csv", &[row("甲")]);
    small.run("qy").await;
    let both = async || {
        let mut engine = small.engine().await;
        (engine.release("housing.enterprise").await.unwrap(), engine.release("civil.enterprise").await.unwrap())
    };
    both().await;
    small.write("pipelines/feeds/civil.enterprise.yaml", civil.replace("until: 2027-02-28", "until: 2026-10-31"));
    assert_eq!(both().await.1.withdrawals, 1, "the grant ended");

    let mut engine = small.engine().await;
    let entity = engine.store().entity("enterprise", CODES[0]).await.unwrap().unwrap().id;
    let chase = |kind, why: &str| NewChase {
        kind,
        register: "enterprise".into(),
        entity,
        why: why.into(),
        reference: "青数共〔2026〕99号".into(),
        at: now().timestamp_micros(),
    };
    let feeds = engine.demand(chase(Kind::Recall, "误登记"), "me").await.unwrap();
    assert_eq!(feeds, ["civil.enterprise", "housing.enterprise"], "who has it, and who had it");
    assert_eq!(engine.open_chases().await.unwrap().len(), 2);
    drop(engine);
    let (housing, civil) = both().await;
    assert_eq!((housing.withdrawals, civil.withdrawals), (1, 1));
    for feed in ["housing.enterprise", "civil.enterprise"] {
        let last = manifests(&small, feed).pop().unwrap();
        assert_eq!((last.kind, last.body.withdrawals), (Kind::Recall, 1));
        let notice = last.notice.unwrap();
        assert_eq!((notice.reason.as_str(), notice.reference.as_str()), ("误登记", "青数共〔2026〕99号"));
    }
    let mut engine = small.engine().await;
    assert_eq!(engine.open_chases().await.unwrap(), [], "files in a spool answer nothing: durable is settled");
    let holders = engine.store().ever_holding(entity).await.unwrap();
    assert!(holders.len() == 2 && holders.iter().all(|holder| holder.withdrawn.is_some()), "{holders:?}");
    drop(engine);

    // It stays inside, whatever changes, until somebody corrects it.
    small.extract("QY_2.csv", &[row("乙")]);
    small.run("qy").await;
    let kept = both().await.0;
    assert_eq!((kept.upserts, kept.counts.withheld), (0, 1), "{kept:?}");
    small.engine().await.demand(chase(Kind::Correction, "更正名称"), "me").await.unwrap();
    let (housing, civil) = both().await;
    assert_eq!(
        (housing.upserts, civil.upserts, civil.withdrawals),
        (1, 0, 1),
        "an ended grant gets no data, but the word"
    );
    let last = manifests(&small, "housing.enterprise").pop().unwrap();
    assert_eq!((last.kind, last.notice.unwrap().reason.as_str()), (Kind::Correction, "更正名称"));
    let values = spooled(&small, "housing.enterprise").into_values().next().unwrap();
    assert_eq!(values[1], Some(Value::Text("乙".into())));
    assert_eq!(counts(&both().await.0), ("nothing new", 0, 0, 0, 0));

    let mut engine = small.engine().await;
    let doctor = engine.doctor().await.unwrap();
    assert_eq!(doctor.disagreements, 0, "{:?}", doctor.findings);
    let nobody = NewChase { entity: 4711, ..chase(Kind::Correction, "x") };
    assert!(engine.demand(nobody, "me").await.unwrap_err().to_string().starts_with("HL0663"));
}

#[tokio::test]
async fn a_recall_passes_a_suspension_of_the_office_and_nothing_else_does() {
    let (small, feed) = (Small::new(), "housing.enterprise");
    let row = |at: usize, name: &'static str| [CODES[at], name, "", "100万元", "在营", "2026-10-01 00:00:00"];
    small.extract("QY_1.csv", &[row(0, "甲"), row(1, "乙"), row(2, "丙")]);
    small.run("qy").await;
    assert_eq!(small.release().await.upserts, 3);
    let demand = async |kind, code: &str, at: i64| {
        let mut engine = small.engine().await;
        let entity = engine.store().entity("enterprise", code).await.unwrap().unwrap().id;
        let (register, why, reference) = ("enterprise".into(), "误登记".into(), "99号".into());
        let at = now().timestamp_micros() + at;
        engine.demand(NewChase { kind, register, entity, why, reference, at }, "me").await.unwrap();
        entity
    };

    // The subscriber takes nothing: the recall waits and ages.
    small.engine().await.suspend_feed(feed, (Side::Subscriber, "moving house"), "me").await.unwrap();
    let recalled = demand(Kind::Recall, CODES[0], 0).await;
    let corrected = demand(Kind::Correction, CODES[1], 1).await;
    let waits = small.release().await;
    assert_eq!((waits.status, waits.batches), ("waiting", 0));
    assert!(waits.why.unwrap().starts_with("HL0611 suspended by the subscriber since"));
    assert_eq!(small.engine().await.open_chases().await.unwrap()[0].open, 2);

    // The office suspends: the recall goes out, changes and the correction do not.
    let mut other = small.engine().await;
    other.resume_feed(feed, "moved", "me").await.unwrap();
    other.suspend_feed(feed, (Side::Office, "audit"), "me").await.unwrap();
    drop(other);
    small.extract("QY_2.csv", &[row(0, "甲"), row(1, "乙乙"), row(2, "丙丙")]);
    small.run("qy").await;
    let passed = small.release().await;
    assert_eq!((passed.status, passed.batches, passed.upserts, passed.withdrawals), ("waiting", 1, 0, 1), "{passed:?}");
    assert!(passed.why.unwrap().starts_with("HL0611 suspended by the office since"));
    let last = manifests(&small, feed).pop().unwrap();
    assert_eq!((last.kind, last.seq, last.notice.unwrap().reference.as_str()), (Kind::Recall, 2, "99号"));
    assert_eq!(small.release().await.batches, 0, "once");
    let mut engine = small.engine().await;
    let copies = engine.store().holders(recalled).await.unwrap();
    assert!(copies.is_empty() && !engine.store().holders(corrected).await.unwrap().is_empty());
    let filter = huiliu::store::AuditFilter { action: Some("feed.release".into()), limit: 1, ..Default::default() };
    let told = engine.search_audit(&filter).await.unwrap().remove(0).detail;
    assert!(told.contains("/2: recall, 1 records") && told.ends_with("though the grant is suspended"), "{told}");
    let refused = huiliu::store::AuditFilter { action: Some("feed.allowed".into()), limit: 9, ..Default::default() };
    assert_eq!(engine.search_audit(&refused).await.unwrap().len(), 0, "a recall does not lift the refusal");

    // Resumed, what waited goes out: the correction first, then the changes.
    engine.resume_feed(feed, "audited", "me").await.unwrap();
    drop(engine);
    let rest = small.release().await;
    assert_eq!((rest.status, rest.upserts, rest.withdrawals), ("released", 2, 0), "{rest:?}");
    let kinds: Vec<Kind> = manifests(&small, feed).iter().map(|manifest| manifest.kind).collect();
    assert_eq!(kinds, [Kind::Snapshot, Kind::Recall, Kind::Correction, Kind::Delta]);
    assert_eq!(small.engine().await.doctor().await.unwrap().disagreements, 0);
}

#[tokio::test]
async fn what_nobody_takes_is_not_sealed_and_comes_once_as_it_is_then() {
    let (small, feed) = (Small::new(), "housing.enterprise");
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("records: 3", "records: 1"));
    let change = async |n: u32, names: &[&'static str]| {
        let row =
            |(nth, name): (usize, &&'static str)| [CODES[nth], *name, "", "100万元", "在营", "2026-10-01 00:00:00"];
        let rows: Vec<_> = names.iter().enumerate().map(row).collect();
        small.extract(&format!("QY_{n}.csv"), &rows);
        small.run("qy").await;
        small.release().await
    };
    change(1, &["甲"]).await;
    let spool = small.path().join(".huiliu/spool").join(feed);
    let away = spool.with_extension("away");
    fs::rename(&spool, &away).unwrap();
    fs::write(&spool, "").unwrap();
    let lag = async || small.engine().await.store().feed_lag(feed, "enterprise").await.unwrap();
    let sealed = change(2, &["乙"]).await;
    assert_eq!((sealed.status, sealed.batches), ("waiting", 1), "{sealed:?}");
    let one = lag().await;
    assert!(one.records == 1 && one.bytes > 0, "{one:?}");
    for (n, name) in [(3, "丙"), (4, "丁")] {
        let waits = change(n, &[name]).await;
        assert_eq!((waits.status, waits.batches, waits.counts.considered), ("waiting", 0, 0), "{waits:?}");
    }
    let three = lag().await;
    assert_eq!((three.records, three.bytes, three.since), (3, 3 * one.bytes, one.since), "{three:?}");

    fs::remove_file(&spool).unwrap();
    fs::rename(&away, &spool).unwrap();
    let rest = small.release().await;
    assert_eq!((rest.batches, rest.durable, rest.counts.released), (1, 2, 1), "{rest:?}");
    assert_eq!(
        spooled(&small, feed).values().map(|row| row[1].clone()).collect::<Vec<_>>(),
        [Some(Value::Text("丁".into()))]
    );

    // A long comparison ends where the outlet ends it, and goes on there.
    fs::rename(&spool, &away).unwrap();
    fs::write(&spool, "").unwrap();
    let names: Vec<&'static str> = vec!["戊"; CODES.len()];
    let broken = change(5, &names).await;
    assert!(broken.status == "waiting" && broken.batches < 4, "{broken:?} of {} records, one a batch", CODES.len());
    fs::remove_file(&spool).unwrap();
    fs::rename(&away, &spool).unwrap();
    small.release().await;
    assert_eq!(spooled(&small, feed).len(), CODES.len());
    assert_eq!(small.engine().await.doctor().await.unwrap().disagreements, 0);
}

#[tokio::test]
async fn what_was_sealed_before_a_suspension_leaves_only_before_a_recall() {
    let (small, feed) = (Small::new(), "housing.enterprise");
    let row = |name: &'static str| [CODES[0], name, "", "100万元", "在营", "2026-10-01 00:00:00"];
    small.extract("QY_1.csv", &[row("甲")]);
    small.run("qy").await;
    small.release().await;
    // The spool is away: a file lies where the feed's directory was.
    let spool = small.path().join(".huiliu/spool").join(feed);
    let (away, back) = (spool.with_extension("away"), spool.clone());
    fs::rename(&spool, &away).unwrap();
    fs::write(&spool, "").unwrap();
    small.extract("QY_2.csv", &[row("乙")]);
    small.run("qy").await;
    let sealed = small.release().await;
    assert_eq!((sealed.status, sealed.batches, sealed.durable), ("waiting", 1, 0), "{sealed:?}");
    let mut engine = small.engine().await;
    engine.suspend_feed(feed, (Side::Office, "audit"), "me").await.unwrap();
    drop(engine);
    fs::remove_file(&back).unwrap();
    fs::rename(&away, &back).unwrap();
    assert_eq!(small.release().await.durable, 0, "suspended: not even what is sealed");
    let mut engine = small.engine().await;
    let entity = engine.store().entity("enterprise", CODES[0]).await.unwrap().unwrap().id;
    let (register, why, reference) = ("enterprise".into(), "误登记".into(), "99号".into());
    let at = now().timestamp_micros();
    let recall = NewChase { kind: Kind::Recall, register, entity, why, reference, at };
    engine.demand(recall, "me").await.unwrap();
    drop(engine);
    assert_eq!(small.release().await.durable, 2, "batches are chained: the one before it first");
    let kinds: Vec<Kind> = manifests(&small, feed).iter().map(|manifest| manifest.kind).collect();
    assert_eq!(kinds, [Kind::Snapshot, Kind::Delta, Kind::Recall]);
}

#[tokio::test]
async fn a_licence_expires_for_its_subscribers_on_its_day_without_anybody_saying_so() {
    let small = Small::new();
    let register = fs::read_to_string(small.path().join("mappings/registers/enterprise.yaml")).unwrap();
    let states =
        "states: { 在营: [注销, 过期], 注销: [], 过期: [在营] }, expired: { from: [在营], to: 过期, after: ends_on }";
    let status = "status: { title: 状态, type: text, share: unconditional, level: 1, from: [gs]";
    let register = register.replace(status, &format!("{status}, {states}"))
        + "  ends_on: { title: 有效期止, type: date, share: unconditional, level: 1, from: [gs] }\n";
    small.write("mappings/registers/enterprise.yaml", register);
    let mapping = fs::read_to_string(small.path().join("mappings/gs/qy.enterprise.sql")).unwrap();
    small.write(
        "mappings/gs/qy.enterprise.sql",
        mapping.replace("cn_amount(资本, '万元') as capital", "cn_date(资本) as ends_on"),
    );
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("rows: status = '在营'\n", ""));
    small.extract(
        "QY_1.csv",
        &[
            [CODES[0], "甲", "", "2026-12-01", "在营", "2026-10-01 00:00:00"],
            [CODES[1], "乙", "", "2026-12-01", "注销", "2026-10-01 00:00:00"],
            [CODES[2], "丙", "", "2030-12-31", "在营", "2026-10-01 00:00:00"],
        ],
    );
    assert_eq!(small.run("qy").await.status, "succeeded");
    let on = async |day: &str| {
        let at = format!("{day}T04:00:00Z").parse().unwrap();
        small.engine_at(at).await.release("housing.enterprise").await.unwrap()
    };
    assert_eq!(on("2026-12-01").await.upserts, 3, "its last day counts");
    assert_eq!(counts(&on("2026-12-01").await), ("nothing new", 0, 0, 0, 0));
    let next = on("2026-12-02").await;
    assert_eq!((next.upserts, next.counts.unaffected), (1, 2), "{next:?}");
    let states: Vec<_> = spooled(&small, "housing.enterprise").into_values().map(|values| values[2].clone()).collect();
    let text = |state: &str| Some(Value::Text(state.into()));
    assert_eq!(states, [text("过期"), text("注销"), text("在营")]);
    assert_eq!(on("2026-12-03").await.upserts, 0);
    let mut engine = small.engine().await;
    let stored = engine.store().entity("enterprise", CODES[0]).await.unwrap().unwrap();
    assert!(stored.fields.iter().any(|(field, value, _)| field == "status" && value.as_deref() == Some("在营")));
}

/// A batch that is to be stamped is noted with it; tokens come one by one, in any order, once each.
#[tokio::test]
async fn what_is_to_be_stamped_is_on_record_until_its_token_is_handed_on() {
    use huiliu::store::{StampRow, Unstamped};
    let small = Small::new();
    small.extract("QY_1.csv", &rows(&["在营", "在营", "在营", "在营"]));
    small.run("qy").await;
    let yaml =
        "version: 1\ntimestamps: { url: \"http://127.0.0.1:9/tsa\", within: 2h }\ntrust: { timestamps: no.pem }\n";
    small.write("huiliu.yaml", yaml);
    let report = small.release().await;
    assert_eq!((report.batches, report.durable, report.stamped), (2, 4, 0), "delivered all the same");
    assert!(report.unstamped.unwrap().starts_with("HL0711"), "the roots are not there");
    let mut engine = small.engine().await;
    let asked = engine.workspace().installation.timestamps.clone();
    let (store, feed) = (engine.store(), "housing.enterprise");
    let due = store.stamps_due(feed, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| (due.seq, due.token.is_some())).collect::<Vec<_>>(), [(1, false), (2, false)]);
    assert_eq!(store.stamps_due(feed, 1).await.unwrap(), due[..1]);
    let sealed_at = super::support::now().timestamp_micros();
    let waiting = store.unstamped(feed).await.unwrap();
    assert_eq!(waiting, Unstamped { batches: 2, since: Some(sealed_at) });
    let hour = 3_600_000_000;
    assert_eq!([1, 2, 3].map(|n| waiting.late(asked.as_ref(), sealed_at + n * hour)), [false, false, true]);
    assert!(!waiting.late(None, sealed_at + 3 * hour), "nobody stamps here");

    let row = |seq, token: &[u8]| StampRow {
        seq,
        token: token.to_vec(),
        at: sealed_at + 5,
        authority: "CN=时间戳".into(),
        recorded_at: sealed_at + 7,
    };
    assert!(store.keep_stamp(feed, &row(2, b"two")).await.unwrap());
    assert!(!store.keep_stamp(feed, &row(2, b"other")).await.unwrap(), "once");
    assert!(!store.keep_stamp(feed, &row(3, b"three")).await.unwrap(), "no such batch");
    let due = store.stamps_due(feed, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.token.as_deref()).collect::<Vec<_>>(), [None, Some(&b"two"[..])]);
    store.stamp_handed_on(feed, 2).await.unwrap();
    assert_eq!(store.stamps_due(feed, 10).await.unwrap().len(), 1);
    assert_eq!(store.unstamped(feed).await.unwrap().batches, 1);
    assert!(store.keep_stamp(feed, &row(1, b"one")).await.unwrap());
    assert_eq!(store.unstamped(feed).await.unwrap(), Unstamped::default());
    assert_eq!(store.stamps(feed, 0, 10).await.unwrap(), [row(1, b"one"), row(2, b"two")]);
    assert_eq!(store.stamps(feed, 1, 10).await.unwrap(), [row(2, b"two")]);
    assert_eq!(store.stamps("other", 0, 10).await.unwrap(), []);

    // What was sealed while nobody stamped wants no token.
    small.write("huiliu.yaml", "version: 1\n");
    small.extract("QY_2.csv", &rows(&["注销", "在营", "在营", "在营"]));
    small.run("qy").await;
    assert_eq!(small.release().await.batches, 1);
    assert_eq!(small.engine().await.store().unstamped(feed).await.unwrap(), Unstamped::default());
}

/// Batches are sealed while a statement is worked out: it sums up what was held after one of them, and fits that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_of_one_moment_while_batches_are_sealed() {
    const NAME: &str = "housing.enterprise";
    let small = Arc::new(Small::new());
    let night = |small: &Small, n: u64| {
        let name = format!("企业{n}");
        let codes: Vec<String> = (n..40 + n).map(crate::runs::valid_code).collect();
        let rows: Vec<_> = codes.iter().map(|code| [code, name.as_str(), "", "100", "在营", ""]).collect();
        small.extract(&format!("QY_{n}.csv"), &rows);
    };
    night(&small, 0);
    small.run("qy").await;
    small.release().await;
    let writing = Arc::clone(&small);
    let writer = tokio::spawn(async move {
        for n in 1..5 {
            night(&writing, n);
            writing.run("qy").await;
            writing.release().await;
        }
    });
    let mut stated = BTreeMap::new();
    while !writer.is_finished() {
        let statement = small.engine().await.statement(NAME, None).await.unwrap().statement;
        stated.insert(statement.as_of, (statement.records, statement.root));
    }
    writer.await.unwrap();
    assert!(!stated.is_empty());
    for (seq, said) in stated {
        let again = small.engine().await.statement(NAME, Some(seq)).await.unwrap().statement;
        assert_eq!((again.as_of, (again.records, again.root)), (seq, said));
    }
}

/// What a subscriber holds by our record against what the batches say, where their records can be read and where not.
#[tokio::test]
async fn the_doctor_works_holdings_out_anew() {
    let small = Small::new();
    let statuses = ["在营", "在营", "注销", "在营", "在营"];
    small.extract("QY_1.csv", &rows(&statuses));
    small.run("qy").await;
    small.release().await;
    small.extract("QY_2.csv", &rows(&["在营", "注销", "注销", "在营", "在营"]));
    small.run("qy").await;
    small.release().await;
    let findings = async || {
        let doctor = small.engine().await.doctor().await.unwrap();
        let found: Vec<_> = doctor.findings.iter().map(|f| (f.kind, f.number, f.what.as_str())).collect();
        (doctor.holdings, doctor.feeds_in_full, doctor.feeds_in_outline.len(), format!("{found:?}"))
    };
    assert_eq!(findings().await, (3, 1, 0, "[]".into()));

    // Everything is to be sent again: digests are not known, and nothing is wrong; nor half-way, nor after it.
    small.engine().await.store().reopen_feed("housing.enterprise").await.unwrap();
    assert_eq!(findings().await, (3, 1, 0, "[]".into()));
    let stated = small.engine().await.statement("housing.enterprise", None).await.unwrap_err();
    assert!(stated.to_string().contains("HL0752"), "{stated}");
    small.release().await;
    assert_eq!(findings().await, (3, 1, 0, "[]".into()));

    small.sql("update holding set version = 7 where entity = 1").await;
    assert_eq!(findings().await.3, r#"[("holding", 1, "differs from what was sent in version")]"#);
    small.sql("update holding set entity = 3 where entity = 1").await;
    let moved = r#"[("holding", 3, "it is held by our record, but no batch left it there"), ("holding", 1, "a batch left it there, but by our record it is not held")]"#;
    assert_eq!(findings().await.3, moved);

    // Without the records: what manifests and the register say.
    small.sql("update holding set entity = 1 where entity = 3").await;
    small.sql("update batch set body = null").await;
    fs::remove_dir_all(small.path().join(".huiliu/spool/housing.enterprise")).unwrap();
    assert_eq!(findings().await, (3, 0, 1, "[]".into()), "what is not sent twice is not known");
    small.sql("update holding set entity = 4711 where entity = 1").await;
    let unknown = findings().await.3;
    assert!(unknown.starts_with(r#"[("holding", 4711, "it is held by our record, but the register"#), "{unknown}");
    small.sql("delete from holding where entity = 4711").await;
    let fewer = findings().await.3;
    assert!(fewer.starts_with(r#"[("holding_count", 4, "fewer records"#), "{fewer}");
}

/// What a held run has changed goes to nobody before a person decides; what is taken back by right is.
#[tokio::test]
async fn what_a_held_run_changed_waits_inside() {
    let small = Small::new();
    let row = |code, name| [code, name, "", "100万元", "在营", "2026-10-01 00:00:00"];
    let all: Vec<_> = CODES[..4].iter().map(|code| row(*code, "企业")).collect();
    small.extract("QY_1.csv", &all);
    small.engine().await.run("qy", &RunOptions::default()).await.unwrap();
    assert_eq!(small.release().await.upserts, 4);
    // Held, and nothing in the register differs: nobody waits.
    small.extract("QY_2.csv", &all[..1]);
    assert_eq!(small.run("qy").await.status, "held");
    assert_eq!(small.release().await.status, "nothing new");
    let renamed = [CODES[0], "改名", "", "100万元", "在营", "2026-10-02 00:00:00"];
    small.extract("QY_2.csv", &[renamed]);
    assert_eq!(small.run("qy").await.status, "held");
    let waits = small.release().await;
    assert_eq!((waits.status, waits.batches), ("waiting", 0));
    let why = waits.why.unwrap();
    assert!(why.starts_with("HL0613") && why.contains("QY_2.csv") && why.contains("HL0502"), "{why}");
    let shown = small.engine().await.store().feed("housing.enterprise").await.unwrap().refused;
    assert_eq!(shown, Some(why));
    // A newer extract supersedes it; what is then so goes out.
    small.extract("QY_3.csv", &all[1..]);
    assert_eq!(small.run("qy").await.status, "succeeded");
    let goes = small.release().await;
    assert_eq!((goes.status, goes.upserts, goes.withdrawals), ("released", 0, 1));
    assert_eq!(small.engine().await.store().feed("housing.enterprise").await.unwrap().refused, None);

    // Accepted, or withdrawn by its department and then accepted, it keeps nobody waiting either.
    small.extract("QY_4.csv", &[renamed]);
    assert_eq!(small.run("qy").await.status, "held");
    assert_eq!(small.release().await.status, "waiting");
    std::fs::remove_file(small.path().join("out/gs/QY_4.csv")).unwrap();
    let accept = RunOptions { accept: Some("they took it back".into()) };
    small.engine().await.run("qy", &accept).await.unwrap();
    assert_eq!(small.release().await.upserts, 1);
}
