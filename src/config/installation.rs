//! `huiliu.yaml`: this installation. Optional; absent means SQLite and spool under `.huiliu/`.

use std::fmt;
use std::path::PathBuf;

use chrono_tz::Tz;

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
    /// PEM of the signing key and chain; `None` is the development CA, made on first use.
    pub signing: Option<SigningFiles>,
    /// RabbitMQ (消息队列), for feeds that go there.
    pub broker: Option<Broker>,
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

/// Where the installation's signing key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningFiles {
    /// PKCS#8 PEM.
    pub key: PathBuf,
    /// Certificate chain PEM, leaf first.
    pub chain: PathBuf,
}
