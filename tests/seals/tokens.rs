//! Keys on a PKCS#11 token (令牌): SoftHSM, whose tokens are directories, and go away when those do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use huiliu::crypto::Suite;
use serde_json::{Value as Json, json};

use super::{FEED, Sealed, huiliu, output, text, works};
use crate::support::daemon::Daemon;
use crate::support::{CODES, FEED as FEED_FILE, Small};

/// A token of its own, labelled 数据局.
pub struct Token {
    dir: PathBuf,
    module: PathBuf,
}

/// Its label, as URIs have it.
const LABEL: &str = "%E6%95%B0%E6%8D%AE%E5%B1%80";

impl Token {
    pub fn new(dir: &Path) -> Self {
        let programs = PathBuf::from(output("deploy/dev/softhsm", &[]).trim());
        let token = Self { dir: dir.to_owned(), module: programs.join("libsofthsm2.so") };
        fs::create_dir_all(dir.join("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", dir.join("tokens").display());
        fs::write(token.conf(), conf).unwrap();
        let made = Command::new(programs.join("softhsm2-util"))
            .args(["--module", text(&token.module)])
            .args(["--init-token", "--free", "--label", "数据局", "--pin", "1234", "--so-pin", "12345678"])
            .env("SOFTHSM2_CONF", token.conf())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        token
    }

    pub fn conf(&self) -> String {
        text(&self.dir.join("softhsm2.conf")).to_owned()
    }

    pub fn uri(&self, object: &str) -> String {
        format!("pkcs11:token={LABEL}{object}?module-path={}", self.module.display())
    }

    fn with<'a>(&self, conf: &'a str, pin: &'a str) -> [(&'a str, &'a str); 2] {
        [("SOFTHSM2_CONF", conf), ("TOKEN_PIN", pin)]
    }

    /// Pulls it out, or puts it back.
    fn there(&self, there: bool) {
        let (here, away) = (self.dir.join("tokens"), self.dir.join("pulled-out"));
        let (from, to) = if there { (away, here) } else { (here, away) };
        fs::rename(from, to).unwrap();
    }
}

/// A key made on the token, certified by the development authority, and chosen.
pub fn certified(dir: &Path, token: &Token, name: &str, suite: Suite) {
    let conf = token.conf();
    let env = token.with(&conf, "1234");
    works(dir, &["key", "new", name, "--suite", suite.word(), "--token", &token.uri("")], &env);
    let path = |file: &str| text(&dir.join(file)).to_owned();
    fs::write(path("t.csr"), works(dir, &["key", "csr", name, "--subject", "C=CN, O=数据局, CN=令牌"], &env)).unwrap();
    output("openssl", &["req", "-in", &path("t.csr"), "-verify", "-noout"]);
    fs::write(path("t.ext"), "keyUsage=critical,digitalSignature\n").unwrap();
    let ca = ["-CA", &path("pki/ca.pem"), "-CAkey", &path("pki/ca.key"), "-CAcreateserial", "-days", "9"];
    let request =
        ["x509", "-req", "-in", &path("t.csr"), "-extfile", &path("t.ext"), "-out", &path(&format!("{name}.pem"))];
    output("openssl", &[&request[..], &ca[..]].concat());
    works(dir, &["key", "import", name, "--chain", &path(&format!("{name}.pem"))], &env);
}

async fn on_token(suite: Suite) -> (Sealed, Token) {
    let sealed = Sealed::new(suite).await;
    sealed.small.write("huiliu.yaml", "version: 1\ntoken_pin: env:TOKEN_PIN\n");
    let token = Token::new(&sealed.path("hsm"));
    certified(sealed.small.path(), &token, "sign-2027", suite);
    (sealed, token)
}

#[tokio::test]
async fn keys_on_a_token_sign_batches_and_checkpoints() {
    for suite in [Suite::EcdsaP256Sha256, Suite::RsaSha256] {
        let (sealed, token) = on_token(suite).await;
        let (dir, conf) = (sealed.small.path(), token.conf());
        let env = token.with(&conf, "1234");
        let kept = fs::read_to_string(sealed.path(".huiliu/keys/sign-2027.key")).unwrap();
        assert_eq!(kept.trim(), token.uri(";object=sign-2027"), "its name, and nothing of the key or the PIN");
        works(dir, &["key", "rotate", "sign-2027"], &env);
        let listed: Json = serde_json::from_str(&works(dir, &["--json", "key", "list"], &env)).unwrap();
        assert_eq!((&listed[0]["signs"], &listed[0]["token"]), (&json!(true), &json!(kept.trim())));
        assert!(works(dir, &["key", "list"], &env).contains("在令牌中 on a token"));
        assert!(works(dir, &["key", "show"], &env).contains("O=数据局"));

        works(dir, &["feed", "release"], &env);
        let [manifest, signature, _] = sealed.batch(1);
        let ca = sealed.path("pki/ca.pem");
        let verify = ["cms", "-verify", "-binary", "-inform", "DER", "-in", text(&signature), "-content"];
        let with = [text(&manifest), "-CAfile", text(&ca), "-purpose", "any", "-out", "/dev/null"];
        output("openssl", &[&verify[..], &with[..]].concat());
        let (code, shown, err) = sealed.verify(1, &[]);
        assert!(code == 0 && shown.contains(suite.name()), "{shown}{err}");
        works(dir, &["audit", "export", "--to", text(&sealed.path("archive"))], &env);
        let audited = works(dir, &["audit", "verify", "--trust", text(&ca)], &env);
        assert!(audited.contains("CN=令牌"), "a checkpoint signed by the token: {audited}");

        // Named in huiliu.yaml, and taken in under another name: the same key.
        let uri = token.uri(";object=sign-2027");
        let yaml =
            format!("version: 1\ntoken_pin: env:TOKEN_PIN\nsigning: {{ key: \"{uri}\", chain: sign-2027.pem }}\n");
        sealed.small.write("huiliu.yaml", yaml);
        sealed.take(2, &["注销", "在营", "在营"]);
        works(dir, &["run", "qy"], &env);
        let (code, _, err) = sealed.verify(2, &[]);
        assert_eq!(code, 0, "{err}");
        let chain = sealed.path("sign-2027.pem");
        works(dir, &["key", "import", "again", "--token", &uri, "--chain", text(&chain)], &env);
        let other = sealed.path("pki/department.pem");
        let (code, _, err) = huiliu(dir, &["key", "import", "x", "--token", &uri, "--chain", text(&other)], &env);
        assert!(code == 1 && err.contains("error[HL0710]"), "another key's certificate: {err}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_token_has_a_code_each() {
    let sealed = Sealed::new(Suite::EcdsaP256Sha256).await;
    sealed.small.write("huiliu.yaml", "version: 1\ntoken_pin: env:TOKEN_PIN\n");
    let token = Token::new(&sealed.path("hsm"));
    let (dir, conf) = (sealed.small.path(), token.conf());
    let env = token.with(&conf, "1234");
    certified(sealed.small.path(), &token, "sign-2027", Suite::EcdsaP256Sha256);
    let chain = text(&sealed.path("sign-2027.pem")).to_owned();
    let import = |uri: &str| {
        let (code, _, err) = huiliu(dir, &["key", "import", "x", "--token", uri, "--chain", &chain], &env);
        (code, err)
    };
    for (uri, code) in [
        (token.uri(";object=nothing"), "HL0784"),
        (token.uri("").replace("libsofthsm2.so", "nothing.so"), "HL0781"),
        (format!("pkcs11:token=other;object=k?module-path={}", token.module.display()), "HL0782"),
    ] {
        let (exit, err) = import(&uri);
        assert!(exit == 1 && err.contains(&format!("error[{code}]")), "{uri}: {err}");
    }
    let (exit, err) = import("pkcs11:token=a");
    assert!(exit == 2 && err.contains("module-path"), "{err}");
    let new = |name: &str, suite: &str, uri: &str| {
        huiliu(dir, &["key", "new", name, "--suite", suite, "--token", uri], &env).2
    };
    let err = new("sm2", "sm2", &token.uri(""));
    assert!(err.contains("error[HL0785]") && err.contains("SKF (GM/T 0016)"), "{err}");
    let err = new("second", "p256", &token.uri(";object=sign-2027"));
    assert!(err.contains("error[HL0784]") && err.contains("already"), "never over a key: {err}");
    sealed.small.write("huiliu.yaml", "version: 1\nsigning: { key: \"pkcs11:token=a\", chain: pki/signing.pem }\n");
    let (exit, _, err) = huiliu(dir, &["check"], &env);
    assert!(exit == 1 && err.contains("error[HL0780]"), "{err}");
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_a_right_one_still_opens() {
    let (sealed, token) = on_token(Suite::EcdsaP256Sha256).await;
    let (dir, conf) = (sealed.small.path(), token.conf());
    works(dir, &["key", "rotate", "sign-2027"], &token.with(&conf, "1234"));
    let release = |pin: &str| {
        let (code, out, err) = huiliu(dir, &["feed", "release"], &token.with(&conf, pin));
        (code, out + &err)
    };
    let (code, told) = release("9999");
    assert!(code == 1 && told.contains("HL0783") && told.contains("it is wrong"), "{told}");
    for _ in 0..3 {
        let (code, told) = release("9999");
        assert!(
            code == 1 && told.contains("HL0783") && told.contains("refused before and is not tried again"),
            "{told}"
        );
    }
    let (code, told) = release("8888");
    assert!(code == 1 && told.contains("it is wrong"), "another one is tried: {told}");
    assert!(!told.contains("8888"));
    // The daemon neither: many rounds, one refusal that is not even a try.
    sealed.small.write(&format!("pipelines/feeds/{FEED}.yaml"), FEED_FILE.replace("every: 1m", "every: 1s"));
    let daemon = Daemon::with(dir, &[], &token.with(&conf, "9999"));
    daemon.wait_until("a refusal", |line| line["why"].as_str().is_some_and(|why| why.contains("is not tried again")));
    assert!(!daemon.log().contains("it is wrong"), "{}", daemon.log());
    daemon.stop();
    let (code, told) = release("1234");
    assert_eq!(code, 0, "{told}");
    // Whoever keeps nothing leaves a token alone that was shown a wrong one since.
    release("7777");
    let uri = token.uri(";object=sign-2027");
    let sign = format!("{uri},{}", text(&sealed.path("sign-2027.pem")));
    let to = format!("sqlite:{}", sealed.path("got.db").display());
    let from = ["receive", "--from", "amqp://u:p@127.0.0.1:9/v", "--feed", FEED, "--to", &to, "--sign", &sign];
    let trust = sealed.path("pki/ca.pem");
    let arguments = [&from[..], &["--trust", text(&trust), "--token-pin", "1234"]].concat();
    let (code, _, err) = huiliu(dir, &arguments, &token.with(&conf, "1234"));
    assert!(code == 1 && err.contains("error[HL0783]") && err.contains("log in by hand first"), "{err}");
    works(dir, &["key", "csr", "sign-2027", "--subject", "CN=x"], &token.with(&conf, "1234"));
    let (_, _, err) = huiliu(dir, &arguments, &token.with(&conf, "1234"));
    assert!(!err.contains("HL0783"), "after a right one it opens; the broker is another matter: {err}");
}

/// Pulled out between two batches of one pass, and put back: nothing is lost, nothing is half, and nobody restarts anything.
#[tokio::test]
async fn a_token_that_vanishes_in_the_middle_and_returns_holds_up_and_loses_nothing() {
    let (sealed, token) = on_token(Suite::EcdsaP256Sha256).await;
    let (dir, conf) = (sealed.small.path(), token.conf());
    works(dir, &["key", "rotate", "sign-2027"], &token.with(&conf, "1234"));
    let one_a_batch = FEED_FILE.replace("every: 1m", "every: 1h").replace("records: 3", "records: 1");
    sealed.small.write(&format!("pipelines/feeds/{FEED}.yaml"), one_a_batch);
    sealed.small.write(
        "pipelines/qy.yaml",
        "version: 1\nfrom: gs.qy\ninto: [enterprise]\nschedule: '* * * * * *'\nlimit: { quarantine: 60% }\n",
    );
    // A change in a field that the feed does not carry: it looks, and sends all three for the first time.
    let row = |code| [code, "青岛海蓝科技有限公司", "", "200万元", "在营", "2026-10-02 00:00:00"];
    sealed.small.extract("QY_2.csv", &[row(CODES[0]), row(CODES[1]), row(CODES[2])]);
    // The first batch is sealed, and eight seconds pass.
    let mut env = token.with(&conf, "1234").to_vec();
    env.push(("FAILPOINTS", "batch-sealed=1*sleep(8000)"));
    let daemon = Daemon::with(dir, &[], &env);
    let until = Instant::now() + Duration::from_secs(60);
    while !released(dir) {
        assert!(Instant::now() < until, "{}", daemon.log());
        daemon.ask("/healthz");
    }
    token.there(false);
    let waits = daemon.wait_until("it waits", |line| line["why"].as_str().is_some_and(|why| why.starts_with("HL0782")));
    assert_eq!(waits["level"], "WARN");
    let [second, ..] = sealed.batch(2);
    assert!(!second.exists(), "nothing is sealed without a key");
    token.there(true);
    let back = Instant::now();
    daemon.ask_until("/healthz", |_, _| sealed.batch(3)[0].exists());
    assert!(back.elapsed() < Duration::from_secs(30), "{:?}", back.elapsed());
    daemon.stop();
    let manifests: Vec<PathBuf> = (1..=3).map(|seq| sealed.batch(seq)[0].clone()).collect();
    let ca = sealed.path("pki/ca.pem");
    let files: Vec<&str> = manifests.iter().map(|path| text(path)).collect();
    let proofs = works(dir, &[&["--json", "verify", "--trust", text(&ca)], &files[..]].concat(), &[]);
    let proofs: Json = serde_json::from_str(&proofs).unwrap();
    let links: Vec<&Json> = (0..3).map(|n| &proofs[n]["proven"]["link"]).collect();
    assert_eq!(links, [&json!("first"), &json!("follows"), &json!("follows")]);
    let said = works(dir, &["--json", "doctor"], &token.with(&conf, "1234"));
    assert!(said.contains("\"disagreements\": 0"), "{said}");
}

/// Whether the first batch is sealed.
fn released(dir: &Path) -> bool {
    huiliu(dir, &["--json", "feed", "list"], &[("TOKEN_PIN", "1234")]).1.contains("\"seq\": 1")
}

/// The master key of a store (落盘加密), made on the token: data keys are wrapped and opened there, and pass from it and to it.
#[tokio::test]
async fn a_master_key_on_a_token_opens_the_store() {
    let small = Small::new();
    let token = Token::new(&small.path().join("hsm"));
    let (dir, conf) = (small.path(), token.conf());
    let env = token.with(&conf, "1234");
    let told = |args: &[&str]| {
        let (code, out, err) = huiliu(dir, args, &env);
        (code, out + &err)
    };
    let names = |key: &str| format!("version: 1\ntoken_pin: env:TOKEN_PIN\nat_rest: {{ master_key: {key} }}\n");
    let (one, other) = (token.uri(";object=master"), token.uri(";object=other"));
    small.write("huiliu.yaml", "version: 1\ntoken_pin: env:TOKEN_PIN\n");
    for uri in [&one, &other] {
        works(dir, &["key", "rest", "new", uri], &env);
    }
    let (code, again) = told(&["key", "rest", "new", &one]);
    assert!(code == 1 && again.contains("HL0784"), "never over a key: {again}");

    small.write("huiliu.yaml", names(&format!("\"{one}\"")));
    small.extract("QY_1.csv", &[[CODES[0], "甲", "", "100万元", "在营", "2026-10-01 00:00:00"]]);
    works(dir, &["run", "qy"], &env);
    let found = |expect: i32| {
        let (code, out) = told(&["register", "get", "enterprise", CODES[0]]);
        assert_eq!(code, expect, "{out}");
        out
    };
    assert!(found(0).contains('甲'));
    small.write("huiliu.yaml", names(&format!("\"{other}\"")));
    assert!(found(1).contains("HL0407"), "another key of the same token opens nothing");
    small.write("huiliu.yaml", names(&format!("\"{one}\"")));
    token.there(false);
    assert!(found(1).contains("HL0782"), "a token that is away is no wrong key");
    token.there(true);
    works(dir, &["key", "rest", "new", "file.key"], &env);
    works(dir, &["key", "rest", "rotate", "--to", "file.key"], &env);
    assert!(found(1).contains("HL0407"));
    small.write("huiliu.yaml", names("file:file.key"));
    works(dir, &["key", "rest", "rotate", "--to", &other], &env);
    small.write("huiliu.yaml", names(&format!("\"{other}\"")));
    assert!(found(0).contains('甲'));
    let shown: Json = serde_json::from_str(&works(dir, &["--json", "key", "rest", "show"], &env)).unwrap();
    assert_eq!(shown["master"].as_str().map(str::len), Some(16), "{shown}");
}
