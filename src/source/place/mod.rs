//! Directories of files, wherever they are: one trait, one file per way of reaching them.
//!
//! Decides: how a root's address is read. Must not know: patterns, formats, what was taken. Guarantees: a place that
//! cannot be reached is an error, never an empty directory; what is read is streamed, whatever its size; nothing retries.

mod dal;
mod ftp;
mod remote;
mod sftp;

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::config::Files;

/// Connecting takes at most this long.
const CONNECT: Duration = Duration::from_secs(20);
/// An answer takes at most this long.
const ANSWER: Duration = Duration::from_secs(60);

/// What one look at a file showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Bytes.
    pub(super) bytes: u64,
    /// When it was last written, if the place knows.
    pub(super) modified: Option<SystemTime>,
    /// Its state in the file system, if it lies on this machine.
    pub(super) node: Option<Node>,
}

/// What of a file's state nobody can set: its number, and when anything of it changed last, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    number: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl From<std::fs::Metadata> for Node {
    fn from(of: std::fs::Metadata) -> Self {
        Self { number: of.ino(), seconds: of.ctime(), nanoseconds: of.ctime_nsec() }
    }
}

impl Look {
    /// Whether it is the file that was listed with this size and time.
    pub(super) fn is_of(&self, bytes: u64, modified: Option<SystemTime>) -> bool {
        (self.bytes, self.modified) == (bytes, modified)
    }

    /// How long ago it was written; a time in the future counts as now.
    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        self.modified.map(|m| now.duration_since(m).unwrap_or_default())
    }
}

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name, without the directory.
    pub(super) name: String,
    /// Whether it is a directory.
    pub(super) directory: bool,
}

/// A directory of files. Paths are below its root, separated by `/`; the root itself is empty.
#[async_trait]
pub(super) trait Place: Send + Sync {
    /// What is in a directory; [`SourceError::NoRoot`] when it is not there.
    async fn list(&self, directory: &str) -> Result<Vec<Entry>, SourceError>;
    /// A look at a file; `None` when it is not there or no file.
    async fn look(&self, path: &str) -> Result<Option<Look>, SourceError>;
    /// Moves a file, making the directory it goes to.
    async fn rename(&self, from: &str, to: &str) -> Result<(), SourceError>;
    /// The bytes of a file from `from` to `end`. Called and read on threads that may block.
    fn read(&self, path: &str, from: u64, end: u64) -> io::Result<Box<dyn Read + Send>>;
    /// Where a file lies on this machine, if it does.
    fn local(&self, _path: &str) -> Option<PathBuf> {
        None
    }
}

/// The place of a root. Nothing is reached yet. Errors: [`SourceError::Address`].
pub(super) fn open(workspace: &Path, files: &Files) -> Result<Arc<dyn Place>, SourceError> {
    let root = files.root.value.as_str();
    let unknown = || SourceError::Address { root: shown(root) };
    let Some((scheme, rest)) = root.split_once("://").filter(|(scheme, _)| !scheme.contains('/')) else {
        let path = root.strip_prefix("file:").unwrap_or(root);
        return Ok(Arc::new(dal::Dal::local(shown(root), workspace.join(path))));
    };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(unknown());
            }
            Ok(Arc::new(dal::Dal::local(shown(root), PathBuf::from(path))))
        }
        "s3" => Ok(Arc::new(dal::Dal::s3(workspace, files, rest)?)),
        "webdav" | "webdavs" => Ok(Arc::new(dal::Dal::webdav(workspace, files, scheme == "webdavs", rest)?)),
        "sftp" => Ok(Arc::new(sftp::Sftp::new(files, address(rest, 22).ok_or_else(unknown)?)?)),
        "ftp" | "ftps" => {
            let server = address(rest, 21).ok_or_else(unknown)?;
            Ok(Arc::new(ftp::Ftp::new(workspace, files, scheme == "ftps", server)?))
        }
        _ => Err(unknown()),
    }
}

/// Host, port and directory of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// Without the slash at its end: `/out`, empty for where the server puts us.
    pub(super) directory: String,
}

impl Server {
    /// A path below the root as the server knows it.
    fn path(&self, below: &str) -> String {
        let below = below.trim_matches('/');
        match (self.directory.as_str(), below) {
            ("", "") => ".".to_owned(),
            ("", below) => below.to_owned(),
            (directory, "") => directory.to_owned(),
            (directory, below) => format!("{directory}/{below}"),
        }
    }
}

/// `host:2222/out`. User and password do not belong into an address: it is shown in messages.
fn address(rest: &str, port: u16) -> Option<Server> {
    let (host, directory) = rest.split_once('/').map_or((rest, ""), |(host, below)| (host, below));
    if host.contains('@') {
        return None;
    }
    let (host, port) = match host.rsplit_once(':') {
        Some((host, written)) if !host.contains(':') || host.ends_with(']') => (host, written.parse().ok()?),
        _ => (host, port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let directory = directory.trim_matches('/');
    let directory = if directory.is_empty() { String::new() } else { format!("/{directory}") };
    (!host.is_empty()).then(|| Server { host: host.to_owned(), port, directory })
}

/// An address without what may be secret in it.
fn shown(root: &str) -> String {
    match root.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{}", path.map_or_else(String::new, |path| format!("/{path}")))
        }
        None => root.to_owned(),
    }
}

/// The certificates of a PEM file.
fn authorities(workspace: &Path, file: &str) -> Result<Vec<u8>, SourceError> {
    std::fs::read(workspace.join(file)).map_err(|e| SourceError::reading(file, e))
}

/// The error of a thing that took too long.
fn too_long(what: &str) -> SourceError {
    SourceError::Away { what: what.to_owned(), why: "no answer in time".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_a_port_and_a_directory() {
        let check = |rest: &str, expect: Option<(&str, u16, &str)>| {
            let got = address(rest, 22);
            let got = got.as_ref().map(|s| (s.host.as_str(), s.port, s.directory.as_str()));
            assert_eq!(got, expect, "{rest}");
        };
        check("exchange.example/out", Some(("exchange.example", 22, "/out")));
        check("exchange.example:2222/out/gs/", Some(("exchange.example", 2222, "/out/gs")));
        check("10.0.0.1", Some(("10.0.0.1", 22, "")));
        check("[::1]:2222/out", Some(("::1", 2222, "/out")));
        check("user:secret@host/out", None);
        check("host:x/out", None);
        check("/out", None);
        assert_eq!(shown("sftp://user:secret@host/out"), "sftp://host/out");
    }
}
