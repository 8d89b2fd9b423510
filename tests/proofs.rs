//! Proofs of single records (单条凭证): made from a batch, verified with nothing but a root, and looked at by OpenSSL and
//! Python as containers.
//!
//! Needs `openssl` and `python3` on the path; fails, saying so, when they are missing.

use std::fs;
use std::path::{Path, PathBuf};

use huiliu::clock::Clock;
use huiliu::crypto::{Suite, dev_set};
use serde_json::{Value as Json, json};

use crate::seals::{FEED, huiliu, output, run, text, works};
use crate::support::{CODES, FEED as GRANT, Small};

/// An office with a key of this suite and one batch of three records.
struct Office {
    small: Small,
}

impl Office {
    async fn new(suite: Suite) -> Self {
        Self::of(suite, "keys:").await
    }

    /// Whose register says this where its keys are.
    async fn of(suite: Suite, keys: &str) -> Self {
        let small = Small::new();
        let register = fs::read_to_string(small.path().join("mappings/registers/enterprise.yaml")).unwrap();
        small.write("mappings/registers/enterprise.yaml", register.replace("keys:", keys));
        dev_set::make(&small.path().join("pki"), suite, Clock::System.now()).unwrap();
        small.write("huiliu.yaml", "version: 1\nsigning: { key: pki/signing.key, chain: pki/signing.pem }\n");
        small.write(&format!("pipelines/feeds/{FEED}.yaml"), GRANT.replace(", until: 2027-02-28", ""));
        let row = |code: &&'static str| [*code, "青岛海蓝科技有限公司", "", "100", "在营", "2026-11-01 08:00:00"];
        small.extract("QY_1.csv", &CODES.iter().take(3).map(row).collect::<Vec<_>>());
        small.run("qy").await;
        let office = Self { small };
        works(office.small.path(), &["feed", "release", FEED], &[]);
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.small.path().join(name)
    }

    fn manifest(&self) -> PathBuf {
        self.path(&format!(".huiliu/spool/{FEED}/000000000001.manifest.json"))
    }

    fn export(&self, to: &Path, more: &[&str]) -> (i32, String, String) {
        let (ca, manifest) = (self.path("pki/ca.pem"), self.manifest());
        let base = ["proof", "export", "--trust", text(&ca), "--out", text(to), text(&manifest)];
        huiliu(self.small.path(), &[&base[..], more].concat(), &[])
    }
}

/// `huiliu --json verify` of one file in a directory where nothing else is.
fn verified(dir: &Path, ca: &Path, more: &[&str]) -> (i32, Json) {
    let (code, out, err) = huiliu(dir, &[&["--json", "verify", "--trust", text(ca)], more].concat(), &[]);
    let answers: Json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    (code, answers[0].clone())
}

#[tokio::test]
async fn a_record_is_proven_with_nothing_but_its_proof_and_a_root() {
    for suite in [Suite::EcdsaP256Sha256, Suite::Sm2Sm3] {
        let office = Office::new(suite).await;
        let (ca, crl) = (office.path("pki/ca.pem"), office.path("pki/ca.crl"));
        let (code, answer) = verified(office.small.path(), &ca, &["--record", "2", text(&office.manifest())]);
        assert_eq!((code, &answer["proven"]["record"]["uscc"]), (0, &json!(CODES[1])), "{answer}");
        let (code, answer) = verified(office.small.path(), &ca, &["--record", "9", text(&office.manifest())]);
        assert_eq!((code, &answer["problem"]["code"]), (1, &json!("HL0760")));

        let elsewhere = tempfile::tempdir().unwrap();
        let (proof, root) = (elsewhere.path().join("2.proof.json"), elsewhere.path().join("root.pem"));
        let (code, _, err) = office.export(&proof, &["--record", "2", "--crl", text(&crl)]);
        assert_eq!(code, 0, "{err}");
        fs::copy(&ca, &root).unwrap();
        drop(office);
        let (code, answer) = verified(elsewhere.path(), &root, &[text(&proof)]);
        let proven = &answer["proven"];
        assert_eq!(
            (code, &proven["record"]["uscc"], &proven["position"]),
            (0, &json!(CODES[1]), &json!(2)),
            "{answer}"
        );
        assert_eq!((&proven["steps"], &proven["signed"]["suite"]), (&json!(2), &json!(suite.name())));
        assert!(proven["revocation_as_of"].is_string(), "{answer}");
        let (code, shown, _) = huiliu(elsewhere.path(), &["verify", "--trust", text(&root), text(&proof)], &[]);
        assert!(code == 0 && shown.contains("青岛海蓝科技有限公司") && shown.contains("2 of 3"), "{shown}");

        let stranger = tempfile::tempdir().unwrap();
        dev_set::make(stranger.path(), suite, Clock::System.now()).unwrap();
        let other = stranger.path().join("ca.pem");
        assert_eq!(verified(elsewhere.path(), &other, &[text(&proof)]).0, 1, "another root");
        let honest = fs::read_to_string(&proof).unwrap();
        for altered in [honest.replace("\"position\":1", "\"position\":0"), honest.trim_end().to_owned(), "{}".into()] {
            fs::write(&proof, altered).unwrap();
            let (code, answer) = verified(elsewhere.path(), &root, &[text(&proof)]);
            let found = answer["problem"]["code"].as_str().unwrap().to_owned();
            assert!(code == 1 && ["HL0762", "HL0763"].contains(&&*found), "{found}");
        }
    }
}

#[tokio::test]
async fn a_holder_shows_three_fields_and_they_verify_against_the_signed_root() {
    for suite in [Suite::EcdsaP256Sha256, Suite::Sm2Sm3] {
        let office = Office::of(suite, "evidence: field\nkeys:").await;
        let (ca, elsewhere) = (office.path("pki/ca.pem"), tempfile::tempdir().unwrap());
        let (code, whole) = verified(office.small.path(), &ca, &["--record", "2", text(&office.manifest())]);
        assert_eq!((code, &whole["proven"]["hidden"]), (0, &json!(["registration_no", "capital", "phone"])), "{whole}");
        assert_eq!(verified(office.small.path(), &ca, &[text(&office.manifest())]).0, 0);
        if suite == Suite::EcdsaP256Sha256 {
            let python = output("deploy/dev/python-env", &[concat!(env!("CARGO_TARGET_TMPDIR"), "/python-env")]);
            let body = office.path(&format!(".huiliu/spool/{FEED}/000000000001.avro"));
            let manifest = office.manifest();
            let read = ["tests/interop/read_batch.py", text(&body), text(&manifest)];
            assert!(output(python.trim(), &read).contains(CODES[1]), "fastavro recomputes root and fingerprint");
        }

        let (file, root) = (elsewhere.path().join("2.json"), elsewhere.path().join("root.pem"));
        for refused in ["uscc,capital", "nothing"] {
            let (code, _, err) = office.export(&file, &["--record", "2", "--fields", refused]);
            assert!(code != 0 && err.contains("HL0766") && !file.exists(), "{refused}: {err}");
        }
        let (code, _, err) = office.export(&file, &["--record", "2", "--fields", "status,uscc"]);
        assert_eq!(code, 0, "{err}");
        fs::copy(&ca, &root).unwrap();
        let (from, theirs) = (format!("spool:{}", text(&office.path(".huiliu/spool"))), office.path("theirs.db"));
        let to = format!("sqlite:{}", text(&theirs));
        works(office.small.path(), &["receive", "--from", &from, "--trust", text(&ca), "--to", &to], &[]);
        works(office.small.path(), &["statement", FEED], &[]);
        let check = ["receive", "statement", "--trust", text(&ca), "--check", "--from", &from, "--to", &to];
        works(office.small.path(), &check, &[]);
        drop(office);

        let (code, answer) = verified(elsewhere.path(), &root, &[text(&file)]);
        let proven = &answer["proven"];
        assert_eq!((code, &proven["record"]["uscc"]), (0, &json!(CODES[1])), "{answer}");
        assert_eq!(proven["record"]["name"], Json::Null, "not shown");
        assert_eq!(proven["hidden"], json!(["registration_no", "name", "capital", "phone"]));
        for same in ["record_root", "digest", "position", "manifest_digest"] {
            assert_eq!(proven[same], whole["proven"][same], "{same}");
        }
        let shown = fs::read_to_string(&file).unwrap();
        fs::write(&file, shown.replace("\"name\":\"uscc\",\"salt\":\"", "\"name\":\"uscc\",\"salt\":\"0")).unwrap();
        assert_eq!(verified(elsewhere.path(), &root, &[text(&file)]).0, 1);
    }
}

#[tokio::test]
async fn a_record_without_evidence_by_field_is_shown_whole_or_not_at_all() {
    let office = Office::new(Suite::EcdsaP256Sha256).await;
    let (code, _, err) = office.export(&office.path("2.json"), &["--record", "2", "--fields", "uscc"]);
    assert!(code != 0 && err.contains("HL0766"), "{err}");
}

/// What a container must be for a program that knows ASiC-E and not us.
const LOOK: &str = "
import base64, hashlib, sys, zipfile
import xml.etree.ElementTree as xml
box = zipfile.ZipFile(sys.argv[1])
assert box.testzip() is None
first = box.infolist()[0]
assert (first.filename, first.compress_type, first.extra) == ('mimetype', zipfile.ZIP_STORED, b''), first
assert box.read('mimetype') == b'application/vnd.etsi.asic-e+zip'
space = {'asic': 'http://uri.etsi.org/02918/v1.2.1#', 'ds': 'http://www.w3.org/2000/09/xmldsig#'}
manifest = xml.fromstring(box.read('META-INF/ASiCManifest.xml'))
assert manifest.find('asic:SigReference', space).get('URI') == 'META-INF/signature.p7s'
listed = manifest.findall('asic:DataObjectReference', space)
for one in listed:
    assert one.find('ds:DigestMethod', space).get('Algorithm') == 'http://www.w3.org/2001/04/xmlenc#sha256'
    said = base64.b64decode(one.find('ds:DigestValue', space).text)
    assert hashlib.sha256(box.read(one.get('URI'))).digest() == said, one.get('URI')
inside = {name for name in box.namelist() if name != 'mimetype' and not name.startswith('META-INF/')}
assert inside == {one.get('URI') for one in listed} and len(listed) == 4, inside
box.extractall(sys.argv[2])
";

/// The objects of a container in their order, as they lie in a directory now, as a container.
const PACK: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[3], 'w') as new:
    for name in zipfile.ZipFile(sys.argv[1]).namelist():
        new.write(sys.argv[2] + '/' + name, name)
";

#[tokio::test]
async fn python_and_openssl_accept_the_container() {
    let office = Office::new(Suite::EcdsaP256Sha256).await;
    let (container, box_) = (office.path("2.asice"), office.path("box"));
    let keys = format!("{},{}", text(&office.path("pki/department.key")), text(&office.path("pki/department.pem")));
    let asked = ["--record", "2", "--format", "asice"];
    let (code, _, err) = office.export(&container, &asked);
    assert!(code == 2 && err.contains("--sign"), "a container needs somebody to sign it: {err}");
    let (code, _, err) = office.export(&container, &[&asked[..], &["--sign", &keys]].concat());
    assert_eq!(code, 0, "{err}");

    output("python3", &["-c", LOOK, text(&container), text(&box_)]);
    let ca = office.path("pki/ca.pem");
    let accepts = |signature: &str, content: &str, more: &[&str]| {
        let (signature, content) = (box_.join(signature), box_.join(content));
        let verify =
            ["cms", "-verify", "-binary", "-inform", "DER", "-in", text(&signature), "-content", text(&content)];
        let with = ["-CAfile", text(&ca), "-purpose", "any", "-out", "/dev/null"];
        run("openssl", &[&verify[..], &with[..], more].concat()).status.success()
    };
    assert!(accepts("META-INF/signature.p7s", "META-INF/ASiCManifest.xml", &["-cades"]), "CAdES");
    assert!(accepts("manifest.p7s", "manifest.json", &[]), "the batch's own");
    assert!(!accepts("manifest.p7s", "manifest.json", &["-cades"]), "which is plain CMS: the check above can fail");
    assert!(!accepts("META-INF/signature.p7s", "manifest.json", &[]));

    let (code, answer) = verified(office.small.path(), &ca, &[text(&container)]);
    assert_eq!((code, &answer["proven"]["record"]["uscc"]), (0, &json!(CODES[1])), "{answer}");
    assert!(answer["proven"]["container"]["subject"].as_str().unwrap().contains("部门签名"), "{answer}");
    // OpenSSL signs the same listing: as CAdES it holds, without the signer's certificate among what is signed it does not.
    let (key, chain) = (office.path("pki/department.key"), office.path("pki/department.pem"));
    let signature = box_.join("META-INF/signature.p7s");
    let again = office.path("again.asice");
    for (cades, expected) in [(&["-cades"][..], None), (&[], Some("HL0779"))] {
        let listing = box_.join("META-INF/ASiCManifest.xml");
        let sign = ["cms", "-sign", "-binary", "-outform", "DER", "-md", "sha256", "-in", text(&listing)];
        let by = ["-signer", text(&chain), "-inkey", text(&key), "-out", text(&signature)];
        output("openssl", &[&sign[..], &by, cades].concat());
        output("python3", &["-c", PACK, text(&container), text(&box_), text(&again)]);
        let (code, answer) = verified(office.small.path(), &ca, &[text(&again)]);
        assert_eq!((code, answer["problem"]["code"].as_str()), (i32::from(expected.is_some()), expected), "{answer}");
    }
    let mut bytes = fs::read(&container).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&container, bytes).unwrap();
    assert_eq!(verified(office.small.path(), &ca, &[text(&container)]).0, 1);
}
