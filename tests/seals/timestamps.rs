//! Time stamps (时间戳) by `openssl ts` and BouncyCastle: tokens for what was sealed, and what happens when none comes.

use std::fs;
use std::path::PathBuf;

use chrono::TimeDelta;
use huiliu::clock::Clock;
use huiliu::crypto::Suite;
use serde_json::{Value as Json, json};

use super::authority::{Tsa, Way, openssl_verifies};
use super::revocation::Authority;
use super::{FEED, Sealed, huiliu, output, text, works};
use crate::support::FEED as FEED_FILE;
use crate::support::daemon::{Daemon, metric};

/// Sealed by a key of this suite, and stamped by this authority.
async fn stamped_by(suite: Suite, tsa_suite: Suite, more: &str) -> (Sealed, Tsa) {
    let sealed = Sealed::new(suite).await;
    let tsa = Tsa::start(&sealed.path("tsa"), tsa_suite);
    configure(&sealed, &tsa, more);
    (sealed, tsa)
}

fn configure(sealed: &Sealed, tsa: &Tsa, more: &str) {
    let yaml = format!("version: 1\nsigning: {{ key: pki/signing.key, chain: pki/signing.pem }}\n{}", tsa.yaml(more));
    sealed.small.write("huiliu.yaml", yaml);
}

fn token(sealed: &Sealed, seq: u64) -> PathBuf {
    sealed.path(&format!(".huiliu/spool/{FEED}/{seq:012}.tsr"))
}

/// The exit code of `feed release`, and what it said about time stamps.
fn release(sealed: &Sealed) -> (i32, Option<String>) {
    let (code, _, err) = huiliu(sealed.small.path(), &["feed", "release"], &[]);
    let told = err.lines().find_map(|line| line.split_once("waits for a time stamp: "));
    (code, told.map(|(_, why)| why.to_owned()))
}

fn waiting(sealed: &Sealed) -> u64 {
    let shown = works(sealed.small.path(), &["--json", "feed", "timestamps"], &[]);
    serde_json::from_str::<Json>(&shown).unwrap()[0]["waiting"].as_u64().unwrap()
}

#[tokio::test]
async fn tokens_of_openssl_and_of_bouncycastle_prove_the_time_of_batches() {
    for suite in Suite::ALL {
        let (sealed, tsa) = stamped_by(suite, suite, ", patience: 60s").await;
        let before = Clock::System.now();
        assert_eq!(release(&sealed), (0, None), "{suite:?}");
        let [manifest, signature, _] = sealed.batch(1);
        let (kept, ca) = (token(&sealed, 1), tsa.ca());
        if suite != Suite::Sm2Sm3 {
            assert!(openssl_verifies(&signature, &kept, &ca), "{suite:?}");
        }
        let (code, shown, err) = sealed.verify(1, &["--tsa", text(&ca)]);
        assert!(code == 0 && shown.contains("timestamp") && shown.contains("serial 4d, policy 1.2."), "{shown}{err}");
        let roots = sealed.path("pki/ca.pem");
        let proof = ["--json", "verify", "--trust", text(&roots), text(&manifest)];
        let told = |more: &[&str]| -> Json {
            serde_json::from_str(&works(sealed.small.path(), &[&proof[..], more].concat(), &[])).unwrap()
        };
        let proven = &told(&["--tsa", text(&ca)])[0]["proven"]["timestamp"];
        assert_eq!((&proven["state"], &proven["suite"]), (&json!("proven"), &json!(suite.name())));
        let at = proven["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert!(at >= before - TimeDelta::seconds(2) && at <= Clock::System.now() + TimeDelta::seconds(2), "{at}");
        assert_eq!(told(&[])[0]["proven"]["timestamp"], json!({ "state": "not_checked" }));

        // What is kept is what lies in the spool, and goes into the archive.
        let archive = sealed.path("archive");
        works(sealed.small.path(), &["feed", "timestamps", "--into", text(&archive)], &[]);
        let exported = archive.join(FEED).join("000000000001.tsr");
        assert_eq!(fs::read(&exported).unwrap(), fs::read(&kept).unwrap());
        assert_eq!(waiting(&sealed), 0);

        // Another batch's token, another authority, an altered one; then none.
        let (code, _, err) = sealed.verify(1, &["--tsa", text(&roots)]);
        assert!(code == 1 && err.contains("error[HL0706]"), "{err}");
        let good = fs::read(&kept).unwrap();
        let mut altered = good.clone();
        *altered.last_mut().unwrap() ^= 1;
        fs::write(&kept, altered).unwrap();
        let (code, _, err) = sealed.verify(1, &["--tsa", text(&ca)]);
        assert!(code == 1 && err.contains("error[HL0703]"), "{err}");
        fs::remove_file(&kept).unwrap();
        let (code, shown, _) = sealed.verify(1, &["--tsa", text(&ca)]);
        assert!(code == 0 && shown.contains("none: the time is the signer's word"), "{shown}");
        sealed.take(2, &["注销", "在营", "在营"]);
        sealed.small.run("qy").await;
        assert_eq!(release(&sealed), (0, None));
        fs::copy(token(&sealed, 2), &kept).unwrap();
        let (code, _, err) = sealed.verify(1, &["--tsa", text(&ca)]);
        assert!(code == 1 && err.contains("error[HL0775]"), "{err}");
    }
}

#[tokio::test]
async fn a_proof_carries_the_token_of_its_batch_and_its_time_is_proven() {
    let (sealed, tsa) = stamped_by(Suite::EcdsaP256Sha256, Suite::EcdsaP256Sha256, ", patience: 60s").await;
    let before = Clock::System.now();
    assert_eq!(release(&sealed), (0, None));
    let [manifest, ..] = sealed.batch(1);
    let (dir, roots, ca) = (sealed.small.path(), sealed.path("pki/ca.pem"), tsa.ca());
    let keys = ["key", "pem"].map(|kind| text(&sealed.path(&format!("pki/department.{kind}"))).to_owned()).join(",");
    let export = |to: &str, more: &[&str]| {
        let file = sealed.path(to);
        let what = ["proof", "export", "--trust", text(&roots), "--record", "1", "--out", text(&file), text(&manifest)];
        huiliu(dir, &[&what[..], more].concat(), &[])
    };
    let verify = |file: &str, more: &[&str]| -> (i32, Json) {
        let file = sealed.path(file);
        let what = ["--json", "verify", "--trust", text(&roots), text(&file)];
        let (code, out, err) = huiliu(dir, &[&what[..], more].concat(), &[]);
        let all: Json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        (code, all[0].clone())
    };
    let asice = ["--format", "asice", "--sign", &keys];
    for (file, form) in [("1.proof.json", &[][..]), ("1.asice", &asice)] {
        let (code, _, err) = export(file, &[form, &["--tsa", text(&ca)]].concat());
        assert_eq!(code, 0, "{err}");
        let (code, answer) = verify(file, &["--tsa", text(&ca)]);
        let proven = &answer["proven"]["timestamp"];
        assert_eq!((code, &proven["state"]), (0, &json!("proven")), "{answer}");
        let at = proven["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert!(at >= before - TimeDelta::seconds(2) && at <= Clock::System.now() + TimeDelta::seconds(2), "{at}");
        assert_eq!(verify(file, &[]).1["proven"]["timestamp"], json!({ "state": "not_checked" }));
        let (code, answer) = verify(file, &["--tsa", text(&roots)]);
        assert_eq!((code, &answer["problem"]["code"]), (1, &json!("HL0706")), "another authority: {answer}");
    }
    let shown =
        works(dir, &["verify", "--trust", text(&roots), "--tsa", text(&ca), text(&sealed.path("1.asice"))], &[]);
    assert!(shown.contains("timestamp") && shown.contains("已证明"), "{shown}");
    let boxed = sealed.path("box");
    output("python3", &["-m", "zipfile", "-e", text(&sealed.path("1.asice")), text(&boxed)]);
    assert!(openssl_verifies(&boxed.join("manifest.p7s"), &boxed.join("manifest.tsr"), &ca), "as it lies in the box");

    // Another batch's token goes along unasked and is found out; asked, it does not go along.
    sealed.take(2, &["注销", "在营", "在营"]);
    sealed.small.run("qy").await;
    assert_eq!(release(&sealed), (0, None));
    fs::copy(token(&sealed, 2), token(&sealed, 1)).unwrap();
    let (code, _, err) = export("other.json", &["--tsa", text(&ca)]);
    assert!(code == 1 && err.contains("error[HL0775]"), "{err}");
    assert_eq!(export("other.json", &[]).0, 0);
    let (code, answer) = verify("other.json", &["--tsa", text(&ca)]);
    assert_eq!((code, &answer["problem"]["code"]), (1, &json!("HL0775")), "{answer}");
    fs::remove_file(token(&sealed, 1)).unwrap();
    assert_eq!(export("none.json", &["--tsa", text(&ca)]).0, 0);
    assert_eq!(verify("none.json", &["--tsa", text(&ca)]).1["proven"]["timestamp"], json!({ "state": "none" }));
}

#[tokio::test]
async fn false_and_missing_tokens_are_refused_and_hold_up_no_batch() {
    let (sealed, tsa) = stamped_by(Suite::EcdsaP256Sha256, Suite::RsaSha256, ", patience: 2s").await;
    for (way, code) in [
        (Way::Unavailable, "HL0771"),
        (Way::Silent, "HL0771"),
        (Way::Html, "HL0772"),
        (Way::Refuses, "HL0773"),
        (Way::OtherNonce, "HL0774"),
        (Way::OtherImprint, "HL0775"),
        (Way::Altered, "HL0703"),
        (Way::NotForStamping, "HL0707"),
    ] {
        tsa.behave(way);
        let (exit, told) = release(&sealed);
        let told = told.unwrap_or_default();
        assert!(exit == 0 && told.starts_with(code), "{way:?}: {told}");
        assert!(!told.contains("/tsa"), "an address may hold a password: {told}");
        let [manifest, ..] = sealed.batch(1);
        assert!(manifest.exists() && !token(&sealed, 1).exists() && waiting(&sealed) == 1, "{way:?}");
    }
    tsa.behave(Way::Honest);
    configure(&sealed, &tsa, ", policy: \"1.2.3.4.2\"");
    let (_, told) = release(&sealed);
    assert!(told.is_some_and(|told| told.starts_with("HL0773")), "OpenSSL does not stamp under another policy");
    configure(&sealed, &tsa, ", policy: \"1.2.3.4.1\"");
    sealed.take(2, &["注销", "在营", "在营"]);
    sealed.small.run("qy").await;
    assert_eq!(release(&sealed), (0, None), "what waited and what is new");
    for seq in [1, 2] {
        let [_, signature, _] = sealed.batch(seq);
        assert!(openssl_verifies(&signature, &token(&sealed, seq), &tsa.ca()), "batch {seq}");
    }
    let log = works(sealed.small.path(), &["--json", "audit", "search", "--action", "feed.stamp"], &[]);
    assert!(log.contains("2 tokens of time"), "{log}");
}

/// A token proves that the signature was there before its certificate was revoked, even for a stolen key.
#[tokio::test]
async fn a_signer_is_judged_at_the_time_of_the_token() {
    let sealed = Sealed::new(Suite::EcdsaP256Sha256).await;
    let tsa = Tsa::start(&sealed.path("tsa"), Suite::EcdsaP256Sha256);
    let dir = sealed.path("ca");
    let authority = Authority::new(&dir);
    let yaml = format!("version: 1\nsigning: {{ key: ca/leaf.key, chain: ca/leaf.pem }}\n{}", tsa.yaml(""));
    sealed.small.write("huiliu.yaml", yaml);
    assert_eq!(release(&sealed), (0, None));
    authority.revoke("keyCompromise");
    let stolen = authority.list("stolen.crl", "30");
    let [manifest, ..] = sealed.batch(1);
    let (root, tsa_crl) = (authority.path("root.pem"), sealed.path("tsa/ca.crl"));
    let verify = |more: &[&str]| {
        let base = ["verify", "--trust", &root, "--crl", &stolen, "--crl", text(&tsa_crl), text(&manifest)];
        let (code, _, err) = huiliu(sealed.small.path(), &[&base[..], more].concat(), &[]);
        (code, err)
    };
    let (code, err) = verify(&[]);
    assert!(code == 1 && err.contains("error[HL0712]"), "its own word does not count: {err}");
    let (code, err) = verify(&["--tsa", text(&tsa.ca())]);
    assert_eq!(code, 0, "{err}");
    // Nobody's list about the time-stamping authority: it is demanded like everybody's.
    let tsa_root = tsa.ca();
    let base = ["verify", "--trust", &root, "--crl", &stolen, text(&manifest), "--tsa", text(&tsa_root)];
    let (code, _, err) = huiliu(sealed.small.path(), &base, &[]);
    assert!(code == 1 && err.contains("error[HL0713]"), "{err}");
}

#[tokio::test]
async fn the_daemon_asks_again_until_the_authority_is_back_and_alarms_meanwhile() {
    let (sealed, tsa) = stamped_by(Suite::EcdsaP256Sha256, Suite::EcdsaP256Sha256, ", within: 1s").await;
    // The feed itself looks once an hour: tokens do not wait for it.
    sealed.small.write(&format!("pipelines/feeds/{FEED}.yaml"), FEED_FILE.replace("every: 1m", "every: 1h"));
    tsa.behave(Way::Unavailable);
    assert!(release(&sealed).1.is_some_and(|told| told.starts_with("HL0771")), "sealed while it is away");
    let daemon = Daemon::start(sealed.small.path());
    daemon.wait_until("the alarm", |line| line["code"] == "HL0778" && line["level"] == "ERROR");
    let series = format!("huiliu_feed_unstamped_batches{{feed=\"{FEED}\"}}");
    let told = daemon.ask_until("/metrics", |_, told| metric(told, &series) == Some(1.0));
    let age = metric(&told, &format!("huiliu_feed_unstamped_seconds{{feed=\"{FEED}\"}}"));
    assert!(
        age.is_some_and(|age| age > 1.0) && metric(&told, "huiliu_timestamps_within_seconds{}") == Some(1.0),
        "{told}"
    );
    let (_, status, _) = huiliu(sealed.small.path(), &["status"], &[]);
    assert!(status.contains("时间戳逾期 HL0778 1 batches wait"), "{status}");
    tsa.behave(Way::Honest);
    daemon.ask_until("/metrics", |_, told| metric(told, &series) == Some(0.0));
    assert!(openssl_verifies(&sealed.batch(1)[1], &token(&sealed, 1), &tsa.ca()));
    daemon.stop();
}

/// The directory is not there, or full: the token is kept, and handed on later.
#[tokio::test]
async fn a_token_that_could_not_be_laid_beside_its_batch_is_handed_on_later() {
    let (sealed, _tsa) = stamped_by(Suite::EcdsaP256Sha256, Suite::EcdsaP256Sha256, "").await;
    let blocked = token(&sealed, 1).with_extension("tsr.tmp");
    fs::create_dir_all(&blocked).unwrap();
    let (code, told) = release(&sealed);
    assert!(code == 0 && told.is_some_and(|told| told.starts_with("HL0730")));
    assert!(!token(&sealed, 1).exists() && waiting(&sealed) == 0, "it is kept");
    fs::remove_dir(&blocked).unwrap();
    assert_eq!(release(&sealed), (0, None));
    assert!(token(&sealed, 1).exists());
}
