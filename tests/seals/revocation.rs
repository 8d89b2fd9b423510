//! Revocation lists made by OpenSSL's own authority, read from files and over HTTP; and the installation's rules.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use huiliu::clock::Clock;
use huiliu::crypto::Suite;

use super::{FEED, Sealed, huiliu, output, text};

/// An authority of OpenSSL's `ca` that issued one signing certificate: `root.pem`, `leaf.key`, `leaf.pem`.
pub struct Authority<'a> {
    dir: &'a Path,
}

const CONFIG: &str = "[ca]
default_ca = here
[here]
dir = DIR
database = $dir/index.txt
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir
certificate = $dir/root.pem
private_key = $dir/root.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
[any]
commonName = supplied
";

impl<'a> Authority<'a> {
    pub fn new(dir: &'a Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let this = Self { dir };
        fs::write(this.path("ca.cnf"), CONFIG.replace("DIR", text(dir))).unwrap();
        fs::write(this.path("index.txt"), "").unwrap();
        fs::write(this.path("serial"), "1000\n").unwrap();
        fs::write(this.path("crlnumber"), "01\n").unwrap();
        fs::write(this.path("leaf.ext"), "keyUsage=critical,digitalSignature\n").unwrap();
        let new_key = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let root = ["-x509", "-subj", "/CN=Root", "-keyout", &this.path("root.key"), "-out", &this.path("root.pem")];
        output("openssl", &[&new_key[..], &root, &["-addext", "keyUsage=critical,keyCertSign,cRLSign"]].concat());
        let leaf = ["-subj", "/CN=leaf", "-keyout", &this.path("leaf.key"), "-out", &this.path("leaf.csr")];
        output("openssl", &[&new_key[..], &leaf].concat());
        this.ca(&[
            "-in",
            &this.path("leaf.csr"),
            "-extfile",
            &this.path("leaf.ext"),
            "-out",
            &this.path("leaf.pem"),
            "-notext",
        ]);
        this
    }

    pub fn path(&self, name: &str) -> String {
        text(&self.dir.join(name)).to_owned()
    }

    fn ca(&self, arguments: &[&str]) {
        output("openssl", &[&["ca", "-batch", "-config", &self.path("ca.cnf")], arguments].concat());
    }

    /// Revokes the leaf for this reason, in a minute from now: a moment that no signature of the test shares.
    pub fn revoke(&self, reason: &str) {
        let index = fs::read_to_string(self.path("index.txt")).unwrap();
        let fields: Vec<&str> = index.trim_end().split('\t').collect();
        let at = (Clock::System.now() + TimeDelta::minutes(1)).format("%y%m%d%H%M%SZ").to_string();
        let revoked = format!("{at},{reason}");
        let line = ["R", fields[1], &revoked, fields[3], fields[4], fields[5]].join("\t");
        fs::write(self.path("index.txt"), line + "\n").unwrap();
    }

    /// The list as it is now, good for some days.
    pub fn list(&self, name: &str, days: &str) -> String {
        let path = self.path(name);
        self.ca(&["-gencrl", "-crldays", days, "-out", &path]);
        path
    }
}

/// Signed by our program now, with the key that OpenSSL's authority certified.
async fn signed_now(sealed: &Sealed) {
    let yaml = "version: 1\nsigning: { key: ca/leaf.key, chain: ca/leaf.pem }\n";
    sealed.small.write("huiliu.yaml", yaml);
    let (code, out, err) = huiliu(sealed.small.path(), &["feed", "release"], &[]);
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test]
async fn a_list_of_openssl_revokes_from_its_date_on() {
    let sealed = Sealed::new(Suite::EcdsaP256Sha256).await;
    let dir = sealed.path("ca");
    let authority = Authority::new(&dir);
    signed_now(&sealed).await;
    let [manifest, ..] = sealed.batch(1);
    let verify = |more: &[&str]| {
        let base = ["verify", "--trust", &authority.path("root.pem"), text(&manifest)];
        let (code, _, err) = huiliu(sealed.small.path(), &[&base[..], more].concat(), &[]);
        let said = err.split_once("error[").map(|(_, rest)| rest.chars().take(6).collect::<String>());
        (code, said.unwrap_or_default())
    };
    let good = (0, String::new());
    let refused = |code: &str| (1, code.to_owned());
    assert_eq!(verify(&[]), good, "nobody asks about revocation");
    let clean = authority.list("clean.crl", "30");
    assert_eq!(verify(&["--crl", &clean]), good);
    let later = (Clock::System.now() + TimeDelta::days(31)).to_rfc3339();
    assert_eq!(verify(&["--crl", &clean, "--at", &later]).0, 1);

    // Revoked after it signed: what it signed before counts, unless its key was stolen.
    authority.revoke("superseded");
    let revoked = authority.list("revoked.crl", "30");
    assert_eq!(verify(&["--crl", &revoked]), good);
    let afterwards = (Clock::System.now() + TimeDelta::minutes(5)).to_rfc3339();
    assert_eq!(verify(&["--crl", &revoked, "--at", &afterwards]), refused("HL0712"));
    authority.revoke("keyCompromise");
    let stolen = authority.list("stolen.crl", "30");
    assert_eq!(verify(&["--crl", &stolen]), refused("HL0712"));

    // Another issuer's list, a stale one, no list at all.
    let other = sealed.path("pki/ca.crl");
    assert_eq!(verify(&["--crl", text(&other)]), refused("HL0713"));
    assert_eq!(verify(&["--crl", text(&other), "--stale-crl", "alarm"]), good);
    assert_eq!(verify(&["--crl", text(&manifest)]), refused("HL0713"));
    assert_eq!(verify(&["--national-only"]), refused("HL0715"));

    // Our own side does not sign with it either.
    let yaml = format!(
        "version: 1\nsigning: {{ key: ca/leaf.key, chain: ca/leaf.pem }}\ntrust: {{ own: ca/root.pem, crls: [ca/{}] }}\n",
        "stolen.crl"
    );
    sealed.small.write("huiliu.yaml", yaml);
    let (code, out, err) = huiliu(sealed.small.path(), &["feed", "release"], &[]);
    assert!(code != 0 && (out.clone() + &err).contains("HL0712"), "{out}{err}");
}

/// Serves one file until the process ends, and counts who asked.
fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/ca.crl", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let Ok(1..) = stream.read(&mut request) else { continue };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
            stream.write_all(&[head.as_bytes(), &bytes].concat()).ok();
        }
    });
    address
}

#[tokio::test]
async fn a_list_is_fetched_and_the_last_one_serves_while_its_server_is_away() {
    let sealed = Sealed::new(Suite::Sm2Sm3).await;
    let address = serve(fs::read(sealed.path("pki/ca.crl")).unwrap());
    let yaml = |crl: &str, more: &str| {
        let signing = "signing: { key: pki/signing.key, chain: pki/signing.pem }";
        let trust = format!("trust: {{ own: pki/ca.pem, crls: [\"{crl}\"], algorithms: national{more} }}");
        sealed.small.write("huiliu.yaml", format!("version: 1\n{signing}\n{trust}\n"));
    };
    yaml(&address, "");
    assert_eq!(sealed.small.release().await.status, "released");
    assert_eq!(fs::read_dir(sealed.path(".huiliu/crls")).unwrap().count(), 1);
    let (code, _, err) = sealed.verify(1, &["--crl", &address, "--national-only"]);
    assert_eq!(code, 0, "{err}");

    // A server that never answered: refused, or an alarm, as the installation says.
    let nobody = "http://127.0.0.1:9/ca.crl";
    sealed.take(2, &["注销", "在营", "在营"]);
    sealed.small.run("qy").await;
    yaml(nobody, "");
    let refused = sealed.small.engine().await.release(FEED).await.unwrap_err();
    assert!(refused.to_string().contains("revocation list: there is none of"), "{refused}");
    yaml(nobody, ", stale_crl: alarm");
    assert_eq!(sealed.small.release().await.status, "released");
}

#[tokio::test]
async fn an_installation_that_demands_the_national_suite_signs_with_nothing_else() {
    let sealed = Sealed::new(Suite::RsaSha256).await;
    let yaml =
        "version: 1\nsigning: { key: pki/signing.key, chain: pki/signing.pem }\ntrust: { algorithms: national }\n";
    sealed.small.write("huiliu.yaml", yaml);
    let refused = sealed.small.engine().await.release(FEED).await.unwrap_err();
    assert!(refused.to_string().contains("only SM2 with SM3"), "{refused}");
    let longer = "version: 1\nsigning: { key: pki/signing.key, chain: pki/signing.pem }\ntrust: { rsa_bits: 4096 }\n";
    sealed.small.write("huiliu.yaml", longer);
    let refused = sealed.small.engine().await.release(FEED).await.unwrap_err();
    assert!(refused.to_string().contains("4096 are the least"), "{refused}");
}

#[tokio::test]
async fn status_warns_of_certificates_that_end() {
    let sealed = Sealed::new(Suite::Sm2Sm3).await;
    let told = |days: i64| {
        let made: DateTime<Utc> = Clock::System.now() - TimeDelta::days(2 * 365 - days) - TimeDelta::hours(1);
        let dir = sealed.path(&format!("ends{days}"));
        huiliu::crypto::dev_set::make(&dir, Suite::Sm2Sm3, made).unwrap();
        let yaml = format!("version: 1\nsigning: {{ key: ends{days}/signing.key, chain: ends{days}/signing.pem }}\n");
        sealed.small.write("huiliu.yaml", yaml);
        let (code, out, err) = huiliu(sealed.small.path(), &["status"], &[]);
        assert_eq!(code, 0, "{err}");
        out.lines().find(|line| line.contains("证书到期")).map(str::to_owned)
    };
    assert_eq!(told(100), None);
    for days in [59, 29, 9] {
        let line = told(days).unwrap();
        assert!(line.contains("certificate for signing") && line.contains("days, until"), "{line}");
    }
}
