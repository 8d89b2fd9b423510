//! Bodies encrypted to the subscriber: OpenSSL opens ours, we open OpenSSL's, and without the key the manifest still proves
//! what it can.

use std::fs;

use huiliu::crypto::{Certificate, Opener, Recipient, Suite};
use serde_json::{Value as Json, json};

use super::super::support::FEED as GRANT;
use super::{FEED, Sealed, huiliu, output, run, text, works};

/// A workspace whose feed is encrypted to the subscriber's certificate.
async fn encrypted(suite: Suite) -> Sealed {
    let sealed = Sealed::new(suite).await;
    let to = "delivery: { outlet: spool, encrypt_to: pki/subscriber.pem,";
    let grant = GRANT.replace("delivery: { outlet: spool,", to);
    sealed.small.write(&format!("pipelines/feeds/{FEED}.yaml"), grant);
    sealed.small.release().await;
    sealed
}

#[tokio::test]
async fn openssl_opens_what_we_encrypt_to_every_kind_of_key() {
    for suite in Suite::ALL {
        let sealed = encrypted(suite).await;
        let [manifest, _, body] = sealed.batch(1);
        let said: Json = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
        assert_eq!(said["body"]["media_type"], json!("application/cms"));
        assert!(said["body"]["encryption"]["to"].as_str().unwrap().contains("订阅方加密"), "{said}");
        let raw = fs::read(&body).unwrap();
        assert!(!raw.windows(6).any(|bytes| bytes == "青岛".as_bytes()), "{suite:?}: nothing shows");
        let (certificate, key) = (sealed.path("pki/subscriber.pem"), sealed.path("pki/subscriber.key"));
        let opened = sealed.path("opened.avro");
        let decrypt = ["cms", "-decrypt", "-binary", "-inform", "DER", "-in", text(&body), "-recip"];
        let with = [text(&certificate), "-inkey", text(&key), "-out", text(&opened)];
        output("openssl", &[&decrypt[..], &with[..]].concat());
        let opened = fs::read(&opened).unwrap();
        assert_eq!(opened.first_chunk::<4>(), Some(b"Obj\x01"), "{suite:?}: an Avro container");
        assert!(opened.windows(6).any(|bytes| bytes == "青岛".as_bytes()));
    }
}

#[tokio::test]
async fn we_open_what_openssl_encrypts() {
    for (suite, options) in [
        (Suite::RsaSha256, &["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"][..]),
        (Suite::EcdsaP256Sha256, &["ecdh_kdf_md:sha256"]),
    ] {
        let sealed = Sealed::new(suite).await;
        let (certificate, key) = (sealed.path("pki/subscriber.pem"), sealed.path("pki/subscriber.key"));
        let (plain, envelope) = (sealed.path("plain"), sealed.path("envelope"));
        fs::write(&plain, "汇流".repeat(1_000)).unwrap();
        for cipher in ["-aes-256-gcm", "-aes-256-cbc"] {
            let encrypt = ["cms", "-encrypt", "-binary", cipher, "-outform", "DER", "-in", text(&plain), "-out"];
            let keyed: Vec<&str> = options.iter().flat_map(|option| ["-keyopt", option]).collect();
            output("openssl", &[&encrypt[..], &[text(&envelope), "-recip", text(&certificate)], &keyed].concat());
            let opener = Opener::load(&key, &certificate, None).unwrap();
            let opened = opener.decrypt(&fs::read(&envelope).unwrap()).unwrap();
            assert_eq!(opened, fs::read(&plain).unwrap(), "{suite:?} {cipher}");
        }
        // What leaks by its timing is not opened: OpenSSL's default for RSA.
        if suite == Suite::RsaSha256 {
            let encrypt =
                ["cms", "-encrypt", "-binary", "-aes-256-cbc", "-outform", "DER", "-in", text(&plain), "-out"];
            output("openssl", &[&encrypt[..], &[text(&envelope), "-recip", text(&certificate)]].concat());
            let opener = Opener::load(&key, &certificate, None).unwrap();
            let refused = opener.decrypt(&fs::read(&envelope).unwrap()).unwrap_err();
            assert_eq!(refused.code(), "HL0718");
        }
    }
}

#[tokio::test]
async fn the_receiver_decrypts_and_without_the_key_the_manifest_still_proves_what_it_can() {
    let sealed = encrypted(Suite::Sm2Sm3).await;
    let (spool, target) = (sealed.path(".huiliu/spool"), sealed.path("got.db"));
    let (from, to) = (format!("spool:{}", spool.display()), format!("sqlite:{}", target.display()));
    let ca = sealed.path("pki/ca.pem");
    let receive = ["--json", "receive", "--from", &from, "--trust", text(&ca), "--to", &to];
    let (code, out, _) = huiliu(sealed.small.path(), &receive, &[]);
    assert!(code == 1 && out.contains("HL0718"), "without the key: {out}");
    let of = |name: &str| {
        let file = |extension| sealed.path(&format!("pki/{name}.{extension}"));
        format!("{},{}", file("key").display(), file("pem").display())
    };
    let wrong = of("signing");
    let (code, out, _) = huiliu(sealed.small.path(), &[&receive[..], &["--decrypt", &wrong]].concat(), &[]);
    assert!(code == 1 && out.contains("HL0718"), "with another key: {out}");
    let (wrong, right) = (of("signing"), of("subscriber"));
    let both = ["--decrypt", &wrong, "--decrypt", &right];
    let report: Json = serde_json::from_str(&works(sealed.small.path(), &[&receive[..], &both].concat(), &[])).unwrap();
    assert_eq!(report["feeds"][0]["records"], json!(3));

    let (code, shown, err) = sealed.verify(1, &[]);
    assert_eq!(code, 0, "{err}");
    assert!(shown.contains("sm4-cbc") && shown.contains("not looked at"), "{shown}");
    let (code, shown, err) = sealed.verify(1, &["--decrypt", &right]);
    assert!(code == 0 && shown.contains("each with its digest"), "{shown}{err}");
    let mixed = format!("{},{}", sealed.path("pki/signing.key").display(), sealed.path("pki/subscriber.pem").display());
    let (code, _, err) = sealed.verify(1, &["--decrypt", &mixed]);
    assert!(code == 1 && err.contains("error[HL0710]"), "{err}");
}

#[tokio::test]
async fn a_certificate_that_is_not_for_encryption_stops_the_feed() {
    let sealed = Sealed::new(Suite::Sm2Sm3).await;
    let to = "delivery: { outlet: spool, encrypt_to: pki/receipts.pem,";
    let grant = GRANT.replace("delivery: { outlet: spool,", to);
    sealed.small.write(&format!("pipelines/feeds/{FEED}.yaml"), &grant);
    let refused = sealed.small.engine().await.release(FEED).await.unwrap_err();
    assert!(refused.to_string().contains("is not for receiving encrypted data"), "{refused}");
    let certificate = Certificate::all_from_pem(&fs::read(sealed.path("pki/receipts.pem")).unwrap()).unwrap().remove(0);
    assert_eq!(Recipient::new(certificate).unwrap_err().code(), "HL0707");

    // From another authority than the one that subscribers' certificates are believed under.
    huiliu::crypto::dev_set::make(&sealed.path("other"), Suite::Sm2Sm3, super::super::support::now()).unwrap();
    sealed.small.write(
        "huiliu.yaml",
        "version: 1\nsigning: { key: pki/signing.key, chain: pki/signing.pem }\ntrust: { subscribers: other/ca.pem }\n",
    );
    sealed.small.write(&format!("pipelines/feeds/{FEED}.yaml"), grant.replace("receipts", "subscriber"));
    let refused = sealed.small.engine().await.release(FEED).await.unwrap_err();
    assert!(refused.to_string().contains("does not lead to a trusted root"), "{refused}");
}

#[tokio::test]
async fn a_field_of_level_three_demands_encryption_or_a_word() {
    let sealed = Sealed::new(Suite::Sm2Sm3).await;
    let register = "mappings/registers/enterprise.yaml";
    let sensitive = fs::read_to_string(sealed.path(register)).unwrap();
    let sensitive = sensitive.replace(
        "status: { title: 状态, type: text, share: unconditional, level: 1",
        "status: { title: 状态, type: text, share: unconditional, level: 3",
    );
    sealed.small.write(register, sensitive);
    let check = |delivery: &str| {
        let grant = GRANT.replace("delivery: { outlet: spool,", &format!("delivery: {{ outlet: spool, {delivery}"));
        sealed.small.write(&format!("pipelines/feeds/{FEED}.yaml"), grant);
        let (_, _, err) = huiliu(sealed.small.path(), &["check"], &[]);
        err.contains("error[HL0148]")
    };
    assert!(check(""));
    assert!(!check("encrypt_to: pki/subscriber.pem,"));
    assert!(!check("encrypt: off,"));
    let shown = run(env!("CARGO_BIN_EXE_huiliu"), &["explain", "HL0148"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("encrypt_to"));
}
