//! Verifiable redaction (可验证的脱敏): what two subscribers of one register get, on every store.

use std::collections::BTreeMap;
use std::fs;

use huiliu::batch::{FieldEvidence, Record, read_body};
use huiliu::crypto::{DigestAlgorithm, hex};
use huiliu::engine::FeedReport;
use huiliu::record::Value;

use super::support::{CODES, FEED, Small};

const CIVIL: &str = "civil.enterprise";

/// An office whose register has evidence by field, with a second subscriber who gets other fields.
fn office() -> Small {
    let small = Small::new();
    let register = fs::read_to_string(small.path().join("mappings/registers/enterprise.yaml")).unwrap();
    small.write("mappings/registers/enterprise.yaml", register.replace("keys:", "evidence: field\nkeys:"));
    let other = FEED
        .replace("subscriber: housing", "subscriber: civil")
        .replace("fields: [uscc, name, status]", "fields: [status, capital, name]\nmask: { name: name }");
    small.write(&format!("pipelines/feeds/{CIVIL}.yaml"), other);
    small.write(".huiliu/pseudonym.key", [7; 32]);
    small
}

fn rows<'a>(capitals: &[&'a str]) -> Vec<[&'a str; 6]> {
    let row = |(code, capital): (&'static str, &&'a str)| [code, "企业", "", *capital, "在营", "2026-10-01 00:00:00"];
    CODES.into_iter().zip(capitals).map(row).collect()
}

async fn take(small: &Small, file: &str, capitals: &[&str]) -> [FeedReport; 2] {
    small.extract(file, &rows(capitals));
    small.run("qy").await;
    let housing = small.release().await;
    [housing, small.engine().await.release(CIVIL).await.unwrap()]
}

/// The newest record of each entity in a feed's spool, and the names of all fields that they commit to.
fn spooled(small: &Small, feed: &str) -> (BTreeMap<i64, Record>, Vec<String>) {
    let (mut all, mut names) = (BTreeMap::new(), Vec::new());
    for body in small.bodies(feed) {
        let (schema, records) = read_body(&body, DigestAlgorithm::Sha256).unwrap();
        names = schema.committed().to_vec();
        all.extend(records.into_iter().map(|record| (record.id, record)));
    }
    (all, names)
}

/// The names of the fields that a record opens.
fn opened(record: &Record, names: &[String]) -> Vec<String> {
    let parts = names.iter().zip(&record.evidence.as_ref().unwrap().fields);
    let open = parts.filter(|(_, part)| matches!(part, FieldEvidence::Opened(_)));
    open.map(|(name, _)| name.clone()).collect()
}

#[tokio::test]
async fn two_subscribers_get_the_same_record_roots_and_other_fields() {
    let small = office();
    take(&small, "QY_1.csv", &["100万元", "200万元"]).await;
    let ((ones, names), (others, _)) = (spooled(&small, "housing.enterprise"), spooled(&small, CIVIL));
    assert_eq!(names, ["uscc", "registration_no", "name", "capital", "status", "phone"]);
    assert_eq!((ones.len(), others.len()), (2, 2));
    for (id, one) in &ones {
        let other = &others[id];
        assert!(one.root.is_some() && one.root == other.root, "the root is the record's, not the subscriber's");
        assert_ne!(one.sealed, other.sealed);
        assert_eq!(opened(one, &names), ["uscc", "name", "status"]);
        assert_eq!(opened(other, &names), ["capital", "status"], "a masked value is not the one committed to");
        assert!(!other.values.contains(&Some(Value::Text("企业".into()))));
    }
    // On both stores, and from now on: docs/redaction.md.
    assert_eq!(hex(&ones[&1].root.unwrap()), "926e88d0313cc5e6d1f23339ec734d10fd35daa704a7a98a12dc098ee073f755");
}

#[tokio::test]
async fn what_changed_in_withheld_fields_only_is_not_sent() {
    let small = office();
    take(&small, "QY_1.csv", &["100万元", "200万元"]).await;
    let first = spooled(&small, "housing.enterprise").0;
    let [housing, civil] = take(&small, "QY_2.csv", &["150万元", "200万元"]).await;
    assert_eq!((housing.upserts, housing.counts.unaffected), (0, 1), "not even that something changed");
    assert_eq!((civil.upserts, civil.counts.unaffected), (1, 0));
    assert_eq!(spooled(&small, "housing.enterprise").0, first);

    // A wider grant sends everything again, under the roots of the present versions.
    small.write("pipelines/feeds/housing.enterprise.yaml", FEED.replace("[uscc, name,", "[uscc, capital, name,"));
    assert_eq!(small.release().await.upserts, 2);
    let (ones, others) = (spooled(&small, "housing.enterprise").0, spooled(&small, CIVIL).0);
    assert!(ones.iter().all(|(id, one)| one.root == others[id].root));
    let changed: Vec<bool> = first.iter().map(|(id, record)| record.root != ones[id].root).collect();
    assert_eq!(changed, [true, false]);
}

#[tokio::test]
async fn without_evidence_by_field_nothing_is_committed_to() {
    let small = Small::new();
    small.extract("QY_1.csv", &rows(&["100万元"]));
    small.run("qy").await;
    small.release().await;
    let (records, names) = spooled(&small, "housing.enterprise");
    assert!(names.is_empty() && records[&1].evidence.is_none() && records[&1].root.is_none());
    assert_eq!(records[&1].sealed, records[&1].digest);
}
