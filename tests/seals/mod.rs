//! Seals of every suite, looked at by programs that nobody here wrote: OpenSSL, BouncyCastle, Python's gmssl. And keys as
//! people make, request, import and change them.
//!
//! Needs `openssl`, `java` and `python3` with venv on the path; fails, saying so, when they are missing.

mod authority;
mod encryption;
mod revocation;
mod timestamps;
pub mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use huiliu::crypto::{Suite, dev_set};
use serde_json::{Value as Json, json};

use super::support::{CODES, Small, now};

pub const FEED: &str = "housing.enterprise";

/// Runs a program that must be there.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test needs {program} on the path: {error}"))
}

/// Runs a program that must succeed, and gives what it printed.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let done = run(program, arguments);
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Runs our binary over a workspace: exit code, stdout, stderr.
pub fn huiliu(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huiliu"));
    let done = command.arg("--dir").arg(dir).args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// As [`huiliu`], which must succeed.
pub fn works(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let (code, out, err) = huiliu(dir, arguments, environment);
    assert_eq!(code, 0, "huiliu {arguments:?}: {out}{err}");
    out
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A workspace with three records to send, whose key is of this suite, under a development authority.
pub struct Sealed {
    pub small: Small,
}

impl Sealed {
    pub async fn new(suite: Suite) -> Self {
        let small = Small::new();
        let files = dev_set::make(&small.path().join("pki"), suite, now()).unwrap();
        assert!(files.iter().any(|file| file.ends_with("signing.key")));
        small.write("huiliu.yaml", "version: 1\nsigning: { key: pki/signing.key, chain: pki/signing.pem }\n");
        let sealed = Self { small };
        sealed.take(1, &["在营", "在营", "在营"]);
        sealed.small.run("qy").await;
        sealed
    }

    /// The next extract: enterprises in these states.
    pub fn take(&self, n: u32, states: &[&str]) {
        let row = |(state, code)| [code, "青岛海蓝科技有限公司", "", "100万元", state, "2026-10-01 00:00:00"];
        let rows: Vec<[&str; 6]> = states.iter().copied().zip(CODES).map(row).collect();
        self.small.extract(&format!("QY_{n}.csv"), &rows);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.small.path().join(name)
    }

    /// Manifest, signature and body of a batch in the spool.
    pub fn batch(&self, seq: u64) -> [PathBuf; 3] {
        let file = |extension| self.path(&format!(".huiliu/spool/{FEED}/{seq:012}.{extension}"));
        ["manifest.json", "p7s", "avro"].map(file)
    }

    pub fn verify(&self, seq: u64, more: &[&str]) -> (i32, String, String) {
        let [manifest, ..] = self.batch(seq);
        let ca = self.path("pki/ca.pem");
        huiliu(self.small.path(), &[&["verify", "--trust", text(&ca), text(&manifest)], more].concat(), &[])
    }
}

/// BouncyCastle's word on a signature: the digest and signature algorithms, or that it refuses.
fn bouncycastle(signature: &Path, manifest: &Path, ca: &Path) -> Option<String> {
    let class_path = output("deploy/dev/bouncycastle", &[]);
    let files = [signature, manifest, ca].map(text);
    let done = run("java", &[&["-cp", class_path.trim(), "tests/interop/Verify.java"], &files[..]].concat());
    done.status.success().then(|| String::from_utf8(done.stdout).unwrap().lines().last().unwrap().to_owned())
}

#[tokio::test]
async fn batches_of_every_suite_are_accepted_by_our_receiver_and_by_bouncycastle() {
    for (suite, digest, algorithms) in [
        (Suite::EcdsaP256Sha256, "sha256", "2.16.840.1.101.3.4.2.1 1.2.840.10045.4.3.2"),
        (Suite::RsaSha256, "sha256", "2.16.840.1.101.3.4.2.1 1.2.840.113549.1.1.11"),
        (Suite::Sm2Sm3, "sm3", "1.2.156.10197.1.401 1.2.156.10197.1.501"),
    ] {
        let sealed = Sealed::new(suite).await;
        sealed.small.release().await;
        let [manifest, signature, body] = sealed.batch(1);
        let said: Json = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
        let printed = output("openssl", &["dgst", &format!("-{digest}"), text(&body)]);
        assert_eq!(said["body"][digest], json!(printed.trim().rsplit(' ').next().unwrap()), "{suite:?}");
        let (code, shown, err) = sealed.verify(1, &[]);
        assert_eq!(code, 0, "{err}");
        assert!(shown.contains(&format!("bytes, {digest} ")) && shown.contains(suite.name()), "{shown}");

        let ca = sealed.path("pki/ca.pem");
        let (spool, target) = (sealed.path(".huiliu/spool"), sealed.path("got.db"));
        let (from, to) = (format!("spool:{}", spool.display()), format!("sqlite:{}", target.display()));
        let receive = ["--json", "receive", "--from", &from, "--trust", text(&ca), "--to", &to];
        let report: Json = serde_json::from_str(&works(sealed.small.path(), &receive, &[])).unwrap();
        assert_eq!(report["feeds"][0]["records"], json!(3), "{suite:?}");

        assert_eq!(bouncycastle(&signature, &manifest, &ca).as_deref(), Some(algorithms));
        let altered = sealed.path("altered.json");
        fs::write(&altered, [fs::read(&manifest).unwrap(), vec![b'\n']].concat()).unwrap();
        assert_eq!(bouncycastle(&signature, &altered, &ca), None, "{suite:?}: an altered manifest");
    }
}

#[tokio::test]
async fn openssl_verifies_p256_and_rsa_and_heeds_the_revocation_list() {
    for suite in [Suite::EcdsaP256Sha256, Suite::RsaSha256] {
        let sealed = Sealed::new(suite).await;
        sealed.small.release().await;
        let [manifest, signature, _] = sealed.batch(1);
        let (ca, crl) = (sealed.path("pki/ca.pem"), sealed.path("pki/ca.crl"));
        let both = sealed.path("ca-and-crl.pem");
        fs::write(&both, [fs::read(&ca).unwrap(), fs::read(&crl).unwrap()].concat()).unwrap();
        let verify = ["cms", "-verify", "-binary", "-inform", "DER", "-in", text(&signature), "-content"];
        let with = [text(&manifest), "-CAfile", text(&both), "-crl_check_all", "-purpose", "any", "-out", "/dev/null"];
        output("openssl", &[&verify[..], &with[..]].concat());
        let shown = output("openssl", &["crl", "-in", text(&crl), "-noout", "-text", "-CAfile", text(&ca)]);
        assert!(shown.contains("No Revoked Certificates."), "{shown}");
    }
}

#[tokio::test]
async fn every_altered_bit_of_manifest_and_body_is_refused_in_the_national_suite() {
    use huiliu::batch::open_manifest;
    use huiliu::crypto::{Moment, Trust};
    let sealed = Sealed::new(Suite::Sm2Sm3).await;
    sealed.small.release().await;
    let [manifest, signature, body] = sealed.batch(1).map(|path| fs::read(path).unwrap());
    let trust = Trust::from_pem(&fs::read(sealed.path("pki/ca.pem")).unwrap()).unwrap();
    let moment = Moment::Signing { now: now() };
    let opened = open_manifest(&manifest, &signature, &trust, moment).unwrap();
    opened.check_body(&body).unwrap();
    let flips = |bytes: &[u8]| (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, 1_u8 << bit)));
    for (at, mask) in flips(&manifest) {
        let mut altered = manifest.clone();
        altered[at] ^= mask;
        let found = open_manifest(&altered, &signature, &trust, moment);
        assert_eq!(found.unwrap_err().code(), "HL0703", "manifest, byte {at}");
    }
    for (at, mask) in flips(&body) {
        let mut altered = body.clone();
        altered[at] ^= mask;
        assert_eq!(opened.check_body(&altered).unwrap_err().code(), "HL0723", "body, byte {at}");
    }
}

/// A key is made, requested, certified by OpenSSL's own authority, chosen; the next follows without a gap.
#[tokio::test]
async fn a_key_is_made_requested_certified_and_follows_another_without_a_gap() {
    let sealed = Sealed::new(Suite::Sm2Sm3).await;
    let dir = sealed.small.path();
    sealed.small.write("huiliu.yaml", "version: 1\nkey_password: env:KEY_PASSWORD\n");
    let secret: [(&str, &str); 1] = [("KEY_PASSWORD", "口令")];
    works(dir, &["key", "new", "sign-2026", "--suite", "p256"], &secret);
    let request = works(dir, &["key", "csr", "sign-2026", "--subject", "C=CN, O=青岛市电政办, CN=签名"], &secret);
    let path = |name: &str| sealed.path(name).to_str().unwrap().to_owned();
    fs::write(path("a.csr"), request).unwrap();
    output("openssl", &["req", "-in", &path("a.csr"), "-verify", "-noout"]);
    fs::write(path("a.ext"), "keyUsage=critical,digitalSignature\n").unwrap();
    dev_set::make(&sealed.path("p256"), Suite::EcdsaP256Sha256, now()).unwrap();
    let ca = ["-CA", &path("p256/ca.pem"), "-CAkey", &path("p256/ca.key"), "-CAcreateserial", "-days", "9"];
    let sign = ["x509", "-req", "-in", &path("a.csr"), "-extfile", &path("a.ext"), "-out", &path("a.pem")];
    output("openssl", &[&sign[..], &ca[..]].concat());
    // OpenSSL's certificate begins now, the tests' clock stands a day before.
    let (code, _, refused) = huiliu(dir, &["key", "rotate", "sign-2026"], &secret);
    assert!(code == 1 && refused.contains("error[HL0710]"), "no certificate yet: {refused}");
    works(dir, &["key", "import", "sign-2026", "--chain", &path("a.pem")], &secret);
    works(dir, &["key", "rotate", "sign-2026"], &secret);
    let listed: Json = serde_json::from_str(&works(dir, &["--json", "key", "list"], &secret)).unwrap();
    assert_eq!((&listed[0]["signs"], &listed[0]["encrypted"]), (&json!(true), &json!(true)));
    assert_eq!(listed[0]["certificate"]["subject"], json!("C=CN, O=青岛市电政办, CN=签名"));
    works(dir, &["feed", "release"], &secret);

    // The successor: SM2, out of a PKCS#12 file's place, straight from the authority's files.
    let (key, chain) = (path("pki/signing.key"), path("pki/signing.pem"));
    works(dir, &["key", "import", "sign-2027", "--key", &key, "--chain", &chain], &secret);
    works(dir, &["key", "rotate", "sign-2027"], &secret);
    sealed.take(2, &["注销", "在营", "在营"]);
    works(dir, &["run", "qy"], &secret);
    let both = path("both.pem");
    let roots = [fs::read(path("p256/ca.pem")).unwrap(), fs::read(path("pki/ca.pem")).unwrap()].concat();
    fs::write(&both, roots).unwrap();
    let [first, ..] = sealed.batch(1);
    let [second, ..] = sealed.batch(2);
    let proofs = works(dir, &["--json", "verify", "--trust", &both, text(&first), text(&second)], &[]);
    let proofs: Json = serde_json::from_str(&proofs).unwrap();
    let told = |n: usize| [&proofs[n]["proven"]["signed"]["suite"], &proofs[n]["proven"]["link"]];
    assert_eq!(told(0), [&json!("ecdsa-p256-sha256"), &json!("first")]);
    assert_eq!(told(1), [&json!("sm2-sm3"), &json!("follows")]);
    let log = works(dir, &["--json", "doctor"], &secret);
    assert!(log.contains("\"disagreements\": 0"), "{log}");
}

#[tokio::test]
async fn a_pkcs12_file_is_taken_in_with_its_own_password_only() {
    let small = Small::new();
    let path = |name: &str| small.path().join(name).to_str().unwrap().to_owned();
    for suite in Suite::ALL {
        let word = suite.word();
        dev_set::make(&small.path().join(word), suite, now()).unwrap();
        let (key, chain, ca) = (
            path(&format!("{word}/signing.key")),
            path(&format!("{word}/signing.pem")),
            path(&format!("{word}/ca.pem")),
        );
        for (name, old) in [("new", None), ("old", Some(["-certpbe", "PBE-SHA1-3DES"]))] {
            let file = path(&format!("{word}-{name}.p12"));
            let export =
                ["pkcs12", "-export", "-inkey", &key, "-in", &chain, "-certfile", &ca, "-passout", "pass:right"];
            let pbe: Vec<&str> =
                old.into_iter().flatten().chain(old.map(|_| "-keypbe")).chain(old.map(|_| "PBE-SHA1-3DES")).collect();
            output("openssl", &[&export[..], &pbe, &["-out", &file]].concat());
            let import = |password| {
                let name = format!("{word}-{name}");
                huiliu(
                    small.path(),
                    &["key", "import", &name, "--pkcs12", &file],
                    &[("HUILIU_IMPORT_PASSWORD", password)],
                )
            };
            let (code, _, err) = import("wrong");
            assert!(code == 1 && err.contains("error[HL0717]"), "{err}");
            let (code, out, err) = import("right");
            assert!(code == 0 && out.contains("not for production"), "{out}{err}");
            let (code, _, err) = import("right");
            assert!(code == 1 && err.contains("error[HL0710]"), "never over a key: {err}");
        }
    }
    let (code, _, err) = huiliu(small.path(), &["key", "import", "x", "--pkcs12", &path("huiliu.yaml")], &[]);
    assert!(code == 1, "{err}");
}

#[tokio::test]
async fn an_sm2_key_in_an_rsa_place_is_refused() {
    let small = Small::new();
    let path = |name: &str| small.path().join(name).to_str().unwrap().to_owned();
    for suite in [Suite::Sm2Sm3, Suite::RsaSha256] {
        dev_set::make(&small.path().join(suite.word()), suite, now()).unwrap();
    }
    let mixed = ["key", "import", "mixed", "--key", &path("sm2/signing.key"), "--chain", &path("rsa/signing.pem")];
    let (code, _, err) = huiliu(small.path(), &mixed, &[]);
    assert!(code == 1 && err.contains("error[HL0716]: the key is sm2, its certificate is for rsa"), "{err}");
    small.write("huiliu.yaml", "version: 1\nsigning: { key: sm2/signing.key, chain: rsa/signing.pem }\n");
    small.extract("QY_1.csv", &[[CODES[0], "企业", "", "100万元", "在营", "2026-10-01 00:00:00"]]);
    small.run("qy").await;
    let refused = small.engine().await.release(FEED).await.unwrap_err();
    assert!(refused.to_string().contains("the key is sm2"), "{refused}");
}

/// The value of our signature, by Python's gmssl: public key, signed attributes and r‖s are cut out with OpenSSL's parser.
#[tokio::test]
async fn gmssl_verifies_the_value_of_an_sm2_signature() {
    let sealed = Sealed::new(Suite::Sm2Sm3).await;
    sealed.small.release().await;
    let [manifest, signature, _] = sealed.batch(1);
    let python = output(
        "deploy/dev/python-env",
        &[concat!(env!("CARGO_TARGET_TMPDIR"), "/python-gm"), "gmssl==3.2.2", "asn1crypto==1.5.1"],
    );
    let said = output(python.trim(), &["tests/interop/verify_sm2.py", text(&signature), text(&manifest)]);
    assert_eq!(said, "signature holds\n");
    let altered = sealed.path("altered.json");
    fs::write(&altered, b"{}").unwrap();
    let refused = run(python.trim(), &["tests/interop/verify_sm2.py", text(&signature), text(&altered)]);
    assert!(!refused.status.success());
}
