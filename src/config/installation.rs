//! `huiliu.yaml`: this installation. Optional; absent means SQLite and spool under `.huiliu/`.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

/// This installation.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Who signs, as manifests say: `青岛市电政办`.
    pub issuer: String,
    /// Zone of schedules and civil dates; default Asia/Shanghai.
    pub zone: Tz,
    /// Directory of state, absolute; default `.huiliu` below the workspace.
    pub state_dir: PathBuf,
    /// Register database, `sqlite:` and an absolute path; default `huiliu.db` in the state directory.
    pub store: String,
    /// Spool directory, absolute; default `spool` in the state directory.
    pub spool: PathBuf,
    /// PEM of the signing key and chain; `None` is the development CA, made on first use.
    pub signing: Option<SigningFiles>,
    /// The daemon.
    pub serve: Serve,
    /// How the daemon writes its log.
    pub log: LogFormat,
    /// Where traces go, `http://…`; `None` sends none.
    pub otlp: Option<String>,
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
    /// PKCS#8 PEM.
    pub key: PathBuf,
    /// Certificate chain PEM, leaf first.
    pub chain: PathBuf,
}
