//! A time-stamping authority for tests: `openssl ts` or BouncyCastle behind a small HTTP server, honest or not.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use huiliu::clock::Clock;
use huiliu::crypto::{Suite, dev_set};

use super::{output, run, text};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Honest,
    /// It answers 200, with a page.
    Html,
    /// It takes the question and says nothing.
    Silent,
    /// It answers 503.
    Unavailable,
    /// It takes no SHA-256.
    Refuses,
    /// A good token with another nonce: of an earlier question.
    OtherNonce,
    /// A good token, with our nonce, of something else.
    OtherImprint,
    /// The last bit of the signature is another.
    Altered,
    /// Signed by a certificate of the same authority that is not for stamping.
    NotForStamping,
}

/// Answers on a port of its own until the process ends.
pub struct Tsa {
    pub url: String,
    dir: PathBuf,
    way: Arc<Mutex<Way>>,
}

const CONFIG: &str = "[tsa]
default_tsa = here
[here]
serial = DIR/tsa.serial
crypto_device = builtin
signer_cert = DIR/tsa.pem
certs = DIR/ca.pem
signer_key = DIR/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = DIGESTS
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = HASH
";

impl Tsa {
    /// With a key of this suite, its files below `dir`. Of P-256 its tokens name the signer by SHA-1, as older ones do.
    pub fn start(dir: &Path, suite: Suite) -> Self {
        dev_set::make(dir, suite, Clock::System.now()).unwrap();
        let hash = if suite == Suite::EcdsaP256Sha256 { "sha1" } else { "sha256" };
        for (name, digests) in [("tsa.cnf", "sha256"), ("refuses.cnf", "sha512")] {
            let config = CONFIG.replace("DIR", text(dir)).replace("DIGESTS", digests).replace("HASH", hash);
            fs::write(dir.join(name), config).unwrap();
        }
        fs::write(dir.join("tsa.serial"), "4c\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tsa", listener.local_addr().unwrap());
        let way = Arc::new(Mutex::new(Way::Honest));
        let serving = (dir.to_owned(), Arc::clone(&way));
        std::thread::spawn(move || {
            let mut ignored = Vec::new();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let way = *serving.1.lock().unwrap();
                let Some(question) = question(&stream) else { continue };
                if way == Way::Silent {
                    ignored.push(stream);
                    continue;
                }
                let (status, body) = match way {
                    Way::Unavailable => ("503 Service Unavailable", b"<html>busy</html>".to_vec()),
                    Way::Html => ("200 OK", b"<!DOCTYPE html><html><body>login</body></html>".to_vec()),
                    _ => ("200 OK", answer(&serving.0, suite, way, question)),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all(&[head.as_bytes(), &body].concat()).ok();
            }
        });
        Self { url, dir: dir.to_owned(), way }
    }

    pub fn behave(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    /// The authority's root.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The lines of `huiliu.yaml` that name it.
    pub fn yaml(&self, more: &str) -> String {
        format!("timestamps: {{ url: \"{}\"{more} }}\ntrust: {{ timestamps: \"{}\" }}\n", self.url, self.ca().display())
    }
}

/// The body of a request that says that it is a question about time.
fn question(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut typed) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        typed |= line == "content-type: application/timestamp-query";
        length = line.strip_prefix("content-length: ").map_or(length, |n| n.parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    typed.then_some(body)
}

fn answer(dir: &Path, suite: Suite, way: Way, mut question: Vec<u8>) -> Vec<u8> {
    // A TimeStampReq of ours ends in the nonce and a BOOLEAN of three bytes; its one OCTET STRING of 32 is the imprint.
    let nonce = question.len() - 4;
    let imprint = question.windows(2).position(|window| window == [0x04, 32]).unwrap() + 2;
    match way {
        Way::OtherNonce => question[nonce] ^= 1,
        Way::OtherImprint => question[imprint] ^= 1,
        _ => {}
    }
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (query, reply) = (path("query.tsq"), path("reply.tsr"));
    fs::write(&query, question).unwrap();
    if suite == Suite::Sm2Sm3 {
        let class_path = output("deploy/dev/bouncycastle", &[]);
        let (key, certificate) = (path("tsa.key"), path("tsa.pem"));
        let files = [&key, &certificate, &query, &reply].map(String::as_str);
        output("java", &[&["-cp", class_path.trim(), "tests/interop/Stamp.java"], &files[..]].concat());
        return fs::read(&reply).unwrap();
    }
    let config = path(if way == Way::Refuses { "refuses.cnf" } else { "tsa.cnf" });
    output("openssl", &["ts", "-reply", "-config", &config, "-queryfile", &query, "-out", &reply]);
    let mut bytes = fs::read(&reply).unwrap();
    match way {
        Way::Altered => *bytes.last_mut().unwrap() ^= 1,
        Way::NotForStamping => return not_for_stamping(&path),
        _ => {}
    }
    bytes
}

/// The TSTInfo of the reply, signed with `openssl cms` by a certificate for signing data: `openssl ts` itself refuses to.
fn not_for_stamping(path: &dyn Fn(&str) -> String) -> Vec<u8> {
    output("openssl", &["ts", "-reply", "-in", &path("reply.tsr"), "-token_out", "-out", &path("token")]);
    let read = ["cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", &path("token")];
    output("openssl", &[&read[..], &["-out", &path("info")]].concat());
    let sign = ["cms", "-sign", "-cades", "-binary", "-nodetach", "-nosmimecap", "-outform", "DER", "-md", "sha256"];
    let what = ["-econtent_type", "1.2.840.113549.1.9.16.1.4", "-in", &path("info"), "-out", &path("other")];
    let by = ["-signer", &path("signing.pem"), "-inkey", &path("signing.key")];
    output("openssl", &[&sign[..], &what, &by].concat());
    let token = fs::read(path("other")).unwrap();
    let length = u16::try_from(token.len() + 5).unwrap().to_be_bytes();
    [&[0x30, 0x82, length[0], length[1], 0x30, 3, 2, 1, 0][..], &token].concat()
}

/// OpenSSL's word on a token over the signature in this file, as `docs/verifying-batches.md` has it.
pub fn openssl_verifies(signature: &Path, token: &Path, ca: &Path) -> bool {
    let parsed = output("openssl", &["asn1parse", "-inform", "DER", "-in", text(signature)]);
    let last = parsed.lines().last().unwrap();
    let length: usize = last.split(" l=").nth(1).unwrap().trim().split(' ').next().unwrap().parse().unwrap();
    let whole = fs::read(signature).unwrap();
    let value = signature.with_extension("value");
    fs::write(&value, &whole[whole.len() - length..]).unwrap();
    let verify = ["ts", "-verify", "-data", text(&value), "-in", text(token), "-CAfile", text(ca)];
    let done = run("openssl", &verify);
    fs::remove_file(value).unwrap();
    done.status.success()
}
