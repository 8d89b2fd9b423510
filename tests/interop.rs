//! What a department can do without our program: `openssl cms -verify`, compare a digest, read the body with Python
//! fastavro and recompute every record's digest and the Merkle root. And the reverse: what OpenSSL signs, we verify.
//!
//! Needs `openssl` and `python3` with venv on the path; fails, saying so, when they are missing.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, TimeDelta, Utc};
use huiliu::batch::ranges::Entry;
use huiliu::batch::{
    BodyBuilder, Changes, Decision, FeedField, FeedSchema, Heading, HexDigest, Kind, Op, Part, Record, RowCounts,
    SealedBatch, open, read_body, seal,
};
use huiliu::clock::Clock;
use huiliu::crypto::{DigestAlgorithm, Moment, Signer, Trust, dev_ca, verify_detached};
use huiliu::outlet::{BatchFiles, Outlet as _, Spool};
use huiliu::record::{FieldType, Value};
use serde_json::{Value as Json, json};

pub const FEED: &str = "housing.enterprise";

/// A workspace's state directory with a spool of three batches under the development CA.
pub struct Fixture {
    dir: tempfile::TempDir,
    batches: Vec<SealedBatch>,
}

impl Fixture {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Clock::System.now();
        let signer = dev_ca::signer(dir.path(), now).unwrap();
        let spool = Spool::new(dir.path().join("spool"));
        let mut batches: Vec<SealedBatch> = Vec::new();
        for (seq, count) in [(1, 3_000), (2, 1), (3, 7)] {
            let previous = batches.last().map(|batch| batch.manifest_digest);
            let batch = seal(heading(seq, previous, now), body(seq, count), &signer).unwrap();
            spool.deliver(&batch).await.unwrap();
            batches.push(batch);
        }
        Self { dir, batches }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What somebody holds who loaded all of it, ascending by entity.
    pub fn held(&self) -> Vec<Entry> {
        let mut held = BTreeMap::new();
        for record in self.batches.iter().flat_map(|batch| read_body(&batch.body, DigestAlgorithm::Sha256).unwrap().1) {
            match record.op {
                Op::Upsert => drop(held.insert(record.id, Entry(record.id, record.version, HexDigest(record.digest)))),
                Op::Withdraw => drop(held.remove(&record.id)),
            }
        }
        held.into_values().collect()
    }

    fn files(&self, seq: u64) -> BatchFiles {
        BatchFiles::in_feed(&self.path("spool").join(FEED), seq)
    }

    fn trust(&self) -> Trust {
        Trust::from_pem(&fs::read(self.path("dev-ca.pem")).unwrap()).unwrap()
    }
}

fn heading(seq: u64, previous: Option<[u8; 32]>, created_at: DateTime<Utc>) -> Heading {
    Heading {
        feed: FEED.into(),
        seq,
        kind: if seq == 1 { Kind::Snapshot } else { Kind::Delta },
        part: (seq == 1).then_some(Part { n: 1, last: true }),
        notice: None,
        issuer: "青岛市电政办".into(),
        subscriber: "housing".into(),
        created_at,
        register: "enterprise".into(),
        schema_version: 1,
        previous,
        changes: Changes { after: 0, through: 9 },
        decision: Decision {
            grant: FEED.into(),
            grant_digest: HexDigest([1; 32]),
            purpose: "建设工程招投标资格审查".into(),
            basis: Some("中华人民共和国招标投标法实施条例 第三十二条".into()),
            approved: Some("青数共〔2026〕17号".into()),
            released: vec!["text".into()],
            masked: Default::default(),
            withheld: Default::default(),
            free_text: Default::default(),
            rows: RowCounts { considered: 4, released: 4, unaffected: 0, withheld: Default::default() },
        },
    }
}

fn schema() -> FeedSchema {
    let fields = FieldType::ALL.iter().map(|kind| FeedField {
        name: kind.name().to_owned(),
        title: format!("字段 {kind}"),
        kind: *kind,
    });
    FeedSchema::new(FEED, fields.collect(), DigestAlgorithm::Sha256).unwrap()
}

/// Rows of every type, with the values that encodings get wrong.
fn rows(count: i64) -> RecordBatch {
    let texts = ["青岛海蓝科技(集团)有限公司", "", "𠮷\n\"quoted\"\u{0}"];
    let largest = 10_i128.pow(24) - 1;
    let decimals = [0, 1, -1, 127, 128, -128, -129, 32_767, -32_768, 8_388_608, -8_388_608, largest, -largest];
    let integers = [0, -1, 63, 64, -64, -65, i64::MAX, i64::MIN];
    let pick = |n: i64, of: usize| usize::try_from(n).unwrap() % of;
    let present = |n: i64| n % 5 != 4;
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..count).map(|n| present(n).then(|| texts[pick(n, texts.len())])).collect::<StringArray>()),
        Arc::new((0..count).map(|n| present(n).then(|| integers[pick(n, integers.len())])).collect::<Int64Array>()),
        Arc::new(
            (0..count)
                .map(|n| present(n).then(|| decimals[pick(n, decimals.len())]))
                .collect::<Decimal128Array>()
                .with_data_type(FieldType::Decimal.arrow()),
        ),
        Arc::new(
            (0..count).map(|n| present(n).then(|| i32::try_from(n * 7 - 10_000).unwrap())).collect::<Date32Array>(),
        ),
        Arc::new(
            (0..count)
                .map(|n| present(n).then(|| n * 86_400_000_001 - 1))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("+00:00"),
        ),
        Arc::new((0..count).map(|n| present(n).then_some(n % 2 == 0)).collect::<BooleanArray>()),
    ];
    let named = FieldType::ALL.iter().map(|kind| kind.name()).zip(columns);
    RecordBatch::try_from_iter_with_nullable(named.map(|(name, array)| (name, array, true))).unwrap()
}

fn body(seq: u64, count: i64) -> huiliu::batch::Body {
    let schema = schema();
    let ids: Vec<i64> = (1..=count).collect();
    let encoded = schema.encode_upserts(&ids, &vec![1; ids.len()], &rows(count)).unwrap();
    let mut body = BodyBuilder::new(&schema, seq);
    for row in 0..encoded.len() {
        body.push(&encoded, row).unwrap();
    }
    body.push(&schema.encode_withdrawals(&[(99, 2)]), 0).unwrap();
    body.finish()
}

/// Runs a program that must be there.
fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test needs {program} on the path: {error}"))
}

/// Runs a program that must succeed, and gives what it printed.
fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let done = run(program, arguments);
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `openssl cms -verify`, as a department would type it.
fn openssl_accepts(files: &BatchFiles, ca: &Path) -> bool {
    let arguments = ["cms", "-verify", "-binary", "-inform", "DER", "-in", text(&files.signature), "-content"];
    let more = [text(&files.manifest), "-CAfile", text(ca), "-purpose", "any", "-out", "/dev/null"];
    run("openssl", &[&arguments[..], &more[..]].concat()).status.success()
}

#[tokio::test]
async fn openssl_verifies_every_batch_and_refuses_altered_ones_and_strangers() {
    let fixture = Fixture::new().await;
    let stranger = tempfile::tempdir().unwrap();
    dev_ca::signer(stranger.path(), Clock::System.now()).unwrap();
    let ca = fixture.path("dev-ca.pem");
    for batch in &fixture.batches {
        let files = fixture.files(batch.seq);
        assert!(openssl_accepts(&files, &ca), "batch {}", batch.seq);
        assert!(!openssl_accepts(&files, &stranger.path().join("dev-ca.pem")), "batch {}", batch.seq);
        let mut altered = batch.manifest.clone();
        altered[20] ^= 1;
        fs::write(&files.manifest, altered).unwrap();
        assert!(!openssl_accepts(&files, &ca), "batch {} altered", batch.seq);
    }
}

#[tokio::test]
async fn openssl_accepts_the_development_certificates_for_signing() {
    let fixture = Fixture::new().await;
    let (ca, leaf) = (fixture.path("dev-ca.pem"), fixture.path("signing.pem"));
    for purpose in ["smimesign", "any"] {
        output("openssl", &["verify", "-x509_strict", "-purpose", purpose, "-CAfile", text(&ca), text(&leaf)]);
    }
    let shown = output("openssl", &["x509", "-in", text(&ca), "-noout", "-subject", "-nameopt", "utf8,sep_comma_plus"]);
    assert!(String::from_utf8(shown).unwrap().contains("not for production 开发测试"));
}

#[tokio::test]
async fn fastavro_reads_the_same_records_and_recomputes_every_digest() {
    let fixture = Fixture::new().await;
    let script = "deploy/dev/python-env";
    let python = output(script, &[concat!(env!("CARGO_TARGET_TMPDIR"), "/python-env")]);
    let python = String::from_utf8(python).unwrap();
    let reader = "tests/interop/read_batch.py";
    for batch in &fixture.batches {
        let files = fixture.files(batch.seq);
        let printed = output(python.trim(), &[reader, text(&files.body), text(&files.manifest)]);
        let theirs: Vec<Json> = serde_json::from_slice(&printed).unwrap();
        let moment = Moment::Signing { now: Clock::System.now() };
        let opened = open(&batch.manifest, &batch.signature, &batch.body, &fixture.trust(), moment).unwrap();
        let ours: Vec<Json> = opened.records.iter().map(plain).collect();
        assert_eq!(ours.len(), theirs.len(), "batch {}", batch.seq);
        for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "batch {} record {}", batch.seq, number + 1);
        }
    }
}

/// A record as `read_batch.py` prints it.
fn plain(record: &Record) -> Json {
    let op = match record.op {
        Op::Upsert => "upsert",
        Op::Withdraw => "withdraw",
    };
    let values = record.values.iter().map(|value| match value {
        None => Json::Null,
        Some(Value::Text(text)) => json!(text),
        Some(Value::Integer(n) | Value::Timestamp(n)) => json!(n),
        Some(Value::Decimal(scaled)) => json!(scaled.to_string()),
        Some(Value::Date(days)) => json!(days),
        Some(Value::Boolean(b)) => json!(b),
    });
    [json!(op), json!(record.id), json!(record.version)].into_iter().chain(values).collect()
}

#[tokio::test]
async fn what_openssl_signs_under_its_own_chain_we_verify() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let new_key = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let (root, root_key) = (path("root.pem"), path("root.key"));
    let root_subject = ["-x509", "-subj", "/O=测试/CN=Test Root", "-utf8", "-keyout", &root_key, "-out", &root];
    output("openssl", &[&new_key[..], &root_subject[..], &["-addext", "keyUsage=critical,keyCertSign"]].concat());
    let issue = |name: &str, issuer: &str, extensions: &str| {
        let (request, extension_file) = (path(&format!("{name}.csr")), path(&format!("{name}.ext")));
        let key = path(&format!("{name}.key"));
        fs::write(&extension_file, extensions).unwrap();
        let subject = format!("/CN={name}");
        output("openssl", &[&new_key[..], &["-subj", &subject, "-keyout", &key, "-out", &request]].concat());
        let (ca, ca_key) = (path(&format!("{issuer}.pem")), path(&format!("{issuer}.key")));
        let certificate = path(&format!("{name}.pem"));
        let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "2"];
        output("openssl", &[&sign[..], &["-extfile", &extension_file, "-out", &certificate]].concat());
        certificate
    };
    let between = issue("between", "root", "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n");
    let leaf = issue("leaf", "between", "keyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\n");

    let (content, signature) = (path("content"), path("signature.p7s"));
    fs::write(&content, "清单").unwrap();
    let sign = ["cms", "-sign", "-binary", "-md", "sha256", "-outform", "DER", "-in", &content, "-out", &signature];
    output("openssl", &[&sign[..], &["-signer", &leaf, "-inkey", &path("leaf.key"), "-certfile", &between]].concat());

    let trust = Trust::from_pem(&fs::read(&root).unwrap()).unwrap();
    let now = Clock::System.now();
    let verify = |bytes: &[u8], moment| verify_detached(bytes, "清单".as_bytes(), &trust, moment);
    let theirs = fs::read(&signature).unwrap();
    let by = verify(&theirs, Moment::Signing { now }).unwrap();
    assert_eq!(
        (by.subject.as_str(), by.issuer.as_str(), by.root.as_str()),
        ("CN=leaf", "CN=between", "O=测试, CN=Test Root")
    );
    let later = verify(&theirs, Moment::At(now + TimeDelta::days(3))).unwrap_err();
    assert_eq!(later.code(), "HL0704");

    // The same key and chain, signing through us, for OpenSSL.
    let chain = [fs::read(&leaf).unwrap(), fs::read(&between).unwrap(), fs::read(&root).unwrap()].concat();
    fs::write(path("chain.pem"), chain).unwrap();
    let signer = Signer::load(Path::new(&path("leaf.key")), Path::new(&path("chain.pem")), None).unwrap();
    let ours = signer.sign_detached("清单".as_bytes(), Clock::System.now()).unwrap();
    assert!(verify(&ours, Moment::Signing { now: Clock::System.now() }).is_ok());
    fs::write(&signature, ours).unwrap();
    let verify = ["cms", "-verify", "-binary", "-inform", "DER", "-in", &signature, "-content", &content];
    output("openssl", &[&verify[..], &["-CAfile", &root, "-out", "/dev/null"]].concat());
}

#[tokio::test]
async fn the_subscriber_needs_this_binary_and_a_certificate_only() {
    let fixture = Fixture::new().await;
    let binary = env!("CARGO_BIN_EXE_huiliu");
    let (ca, spool) = (fixture.path("dev-ca.pem"), format!("spool:{}", fixture.path("spool").display()));
    let manifests: Vec<PathBuf> = (1..=3).map(|seq| fixture.files(seq).manifest).collect();
    let manifests: Vec<&str> = manifests.iter().map(|path| text(path)).collect();
    let proofs = output(binary, &[&["--json", "verify", "--trust", text(&ca)][..], &manifests[..]].concat());
    let proofs: Vec<Json> = serde_json::from_slice(&proofs).unwrap();
    let links: Vec<&Json> = proofs.iter().map(|proof| &proof["proven"]["link"]).collect();
    assert_eq!(links, ["first", "follows", "follows"]);

    let shown = output(binary, &["verify", "--trust", text(&ca), manifests[0], manifests[2]]);
    let shown = String::from_utf8(shown).unwrap();
    for line in [
        "housing.enterprise/1  proven",
        "  records    3001: 3000 upserts, 1 withdrawals, each with its digest",
        "  chain      the feed's first batch",
        "  chain      batch 2 was not given: not checked",
        "  purpose    建设工程招投标资格审查",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\nis not in\n{shown}");
    }

    let target = format!("sqlite:{}", fixture.path("out.db").display());
    let receive = ["--json", "receive", "--from", &spool, "--trust", text(&ca), "--to", &target];
    let report: Json = serde_json::from_slice(&output(binary, &receive)).unwrap();
    assert_eq!(report["feeds"][0]["records"], json!(3_011));
    let again: Json = serde_json::from_slice(&output(binary, &receive)).unwrap();
    assert_eq!((&again["feeds"][0]["records"], &again["feeds"][0]["through"]), (&json!(0), &json!(3)));

    let state = fixture.path("state.json");
    let stream = ["receive", "--from", &spool, "--trust", text(&ca), "--to", "ndjson:-", "--state", text(&state)];
    let lines = String::from_utf8(output(binary, &stream)).unwrap();
    assert_eq!(lines.lines().count(), 3_011);

    fs::write(fixture.files(2).body, b"").unwrap();
    let target = format!("csv:{}", fixture.path("csv").display());
    let stopped = run(binary, &["receive", "--from", &spool, "--trust", text(&ca), "--to", &target]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("error[HL0723]"));
    assert!(fixture.path("csv").join(FEED).join("000000000001.csv").exists());
    assert!(!fixture.path("csv").join(FEED).join("000000000002.csv").exists());
}
