//! `huiliu.yaml`: this installation. Optional; absent means SQLite and spool under `.huiliu/`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use super::{Password, TokenUri};

/// This installation.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Who signs, as manifests say: `青岛市电政办`.
    pub issuer: String,
    /// Tells this installation from others that might use the same servers; made up and kept in the state directory when
    /// absent. Several daemons of one installation say the same.
    pub name: Option<String>,
    /// Zone of schedules and civil dates; default Asia/Shanghai.
    pub zone: Tz,
    /// Directory of state, absolute; default `.huiliu` below the workspace.
    pub state_dir: PathBuf,
    /// Register database: `postgres://…`, or `sqlite:` and an absolute path; default `huiliu.db` in the state directory.
    pub store: String,
    /// Spool directory, absolute; default `spool` in the state directory.
    pub spool: PathBuf,
    /// PEM of the signing key and chain; `None` is the key chosen with `huiliu key rotate`, or else the development CA,
    /// made on first use.
    pub signing: Option<SigningFiles>,
    /// Of PKCS#11 tokens.
    pub token_pin: Option<Password>,
    /// Of encrypted private keys.
    pub key_password: Option<Password>,
    /// How sensitive values are encrypted in the store; `None` stores them in plain.
    pub at_rest: Option<AtRest>,
    /// Whose certificates are believed for what, and under which rules.
    pub trust: TrustFiles,
    /// Who stamps the time of batches (时间戳); `None` stamps none.
    pub timestamps: Option<Timestamps>,
    /// RabbitMQ (消息队列), for feeds that go there.
    pub broker: Option<Broker>,
    /// The daemon.
    pub serve: Serve,
    /// How long history and change logs are kept, where the store keeps them by month; `None` is for ever.
    pub retention: Option<Duration>,
    /// How the daemon writes its log.
    pub log: LogFormat,
    /// Where traces go, `http://…`; `None` sends none.
    pub otlp: Option<String>,
}

/// Where RabbitMQ is.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// `amqps://user:password@host:port/vhost`, or `amqp://` without TLS.
    pub url: String,
    /// PEM of certificate authorities to believe beside the public ones.
    pub ca: Option<PathBuf>,
    /// Management API, `http(s)://[user:password@]host:port`; `None` is that of the broker's host.
    pub api: Option<String>,
    /// PEM of certificate authorities under which subscribers sign receipts (回执); `None` records signatures unverified.
    pub receipt_ca: Option<PathBuf>,
}

impl fmt::Debug for Broker {
    /// Without the addresses, which hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("ca", &self.ca).finish_non_exhaustive()
    }
}

/// The time-stamping authority (时间戳机构, RFC 3161) and what is asked of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Timestamps {
    /// `https://…`; may hold user and password.
    pub url: String,
    /// How long a batch may be without its token before the feed alarms; default one day.
    pub within: Duration,
    /// How long one answer may take; default 10 s.
    pub patience: Duration,
    /// Object identifier of the policy that tokens must be under; `None` takes the authority's own.
    pub policy: Option<String>,
}

impl fmt::Debug for Timestamps {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timestamps").field("within", &self.within).finish_non_exhaustive()
    }
}

/// How `huiliu serve` works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Address of health, readiness and metrics; default 127.0.0.1:7070.
    pub listen: String,
    /// How long after a daemon's death others take over its work; default 15 s.
    pub lease: Duration,
    /// How long work under way may take to reach a commit boundary when the daemon is told to stop; default 30 s.
    pub stop_within: Duration,
    /// Jobs at a time on a store that takes several writers; default 2. SQLite takes one.
    pub workers: u64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Where the installation's signing key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningFiles {
    /// The key.
    pub key: SigningKey,
    /// Certificate chain PEM, leaf first.
    pub chain: PathBuf,
}

/// Encryption of what is stored (落盘加密).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtRest {
    /// The master key (主密钥) that wraps the store's data keys: 32 bytes in base64.
    pub master_key: Password,
}

/// Where a signing key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// PKCS#8 PEM.
    File(PathBuf),
    /// On a PKCS#11 token (令牌).
    Token(TokenUri),
}

/// Roots by purpose, revocation lists and rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustFiles {
    /// PEM of the authorities under which we sign; `None` signs with whatever the key has.
    pub own: Option<PathBuf>,
    /// PEM of the authorities under which departments sign their files, besides being named by their connector.
    pub departments: Option<PathBuf>,
    /// PEM of the authorities under which subscribers are encrypted to.
    pub subscribers: Option<PathBuf>,
    /// PEM of the authorities under which time is stamped.
    pub timestamps: Option<PathBuf>,
    /// Revocation lists: absolute paths and `http(s)://…`.
    pub crls: Vec<String>,
    /// Demands on all certificates.
    pub rules: Rules,
}

/// What an installation demands of certificates beyond a valid path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Only SM2 with SM3 (国密).
    pub national_only: bool,
    /// Bits that an RSA key must have; never below 2048.
    pub rsa_bits: u64,
    /// About a stale or missing revocation list, where lists are demanded.
    pub stale: Stale,
    /// How old a revocation list may be, whatever it says itself.
    pub crl_max_age: Option<Duration>,
}

/// What is done about a certificate whose revocation cannot be told: its issuer's list is stale or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// It is refused.
    Refuse,
    /// It is accepted, and somebody is told.
    Alarm,
}

impl Default for Rules {
    fn default() -> Self {
        Self { national_only: false, rsa_bits: 2048, stale: Stale::Refuse, crl_max_age: None }
    }
}
