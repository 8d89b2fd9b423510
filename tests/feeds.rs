//! Feeds: what goes out, what is withdrawn, what is not sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use huiliu::batch::read_body;
use huiliu::crypto::DigestAlgorithm;
use huiliu::record::Value;

use super::support::{CODES, FEED, Small};

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
    assert!(limited.why.as_deref().unwrap().contains("HL0610"));
}

/// What a feed's batches in the spool say, newest last: entity → released values.
fn spooled(small: &Small, feed: &str) -> BTreeMap<i64, Vec<Option<Value>>> {
    let mut bodies: Vec<_> = fs::read_dir(small.path().join(".huiliu/spool").join(feed))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "avro"))
        .collect();
    bodies.sort();
    let read = |path| read_body(&fs::read(path).unwrap(), DigestAlgorithm::Sha256).unwrap().1;
    bodies.iter().flat_map(read).map(|record| (record.id, record.values)).collect()
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

#[tokio::test]
async fn a_suspended_grant_sends_nothing_until_it_is_resumed_and_then_everything() {
    let small = Small::new();
    let row = |name: &'static str| [CODES[0], name, "", "100万元", "在营", "2026-10-01 00:00:00"];
    small.extract("QY_1.csv", &[row("甲")]);
    small.run("qy").await;
    assert_eq!(small.release().await.counts.released, 1);
    let mut engine = small.engine().await;
    engine.suspend_feed("housing.enterprise", "the steward asks", "me").await.unwrap();
    let twice = engine.suspend_feed("housing.enterprise", "again", "me").await.unwrap_err().to_string();
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
    assert_eq!(told, ["feed.release", "feed.suspend", "feed.resume", "feed.release"]);
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
