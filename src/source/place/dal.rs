//! What OpenDAL reaches: local directories, S3, WebDAV.
//!
//! The local service would make a missing root and lists a missing directory as empty; neither happens here.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use futures::TryStreamExt;
use opendal::services::{Fs, S3, Webdav};
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::runtime::Handle as Runtime;

use super::{ANSWER, CONNECT, Entry, Look, Node, Place, SourceError, authorities};
use crate::config::Files;

/// Bytes fetched at a time from a place that is not a local file.
const FETCH: u64 = 8 << 20;

/// Whoever reads as much of a local file at a time reads past its buffer.
const SMALL: usize = 64 << 10;

/// See the module.
pub(super) struct Dal {
    shown: String,
    kind: Kind,
}

enum Kind {
    Local(PathBuf),
    Remote {
        operator: Operator,
        /// Objects are moved by copying.
        copies: bool,
    },
}

impl Dal {
    /// A directory of this machine.
    pub(super) fn local(shown: String, path: PathBuf) -> Self {
        Self { shown, kind: Kind::Local(path) }
    }

    /// `bucket/prefix` of an S3 service.
    pub(super) fn s3(workspace: &Path, files: &Files, rest: &str) -> Result<Self, SourceError> {
        let shown = super::shown(&files.root.value);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let mut service = S3::default()
            .bucket(bucket)
            .root(prefix)
            .region(files.region.as_deref().unwrap_or("us-east-1"))
            .disable_config_load()
            .disable_ec2_metadata();
        if let Some(endpoint) = &files.endpoint {
            service = service.endpoint(endpoint);
        }
        if let (Some(user), Some(password)) = (&files.user, &files.password) {
            service = service.access_key_id(user).secret_access_key(&password.0);
        } else {
            service = service.skip_signature();
        }
        let operator = Operator::new(service).map_err(|e| SourceError::of_service(&shown, &e))?;
        let operator = with_client(operator, workspace, files)?;
        Ok(Self { shown, kind: Kind::Remote { operator, copies: true } })
    }

    /// `host/path` of a WebDAV server.
    pub(super) fn webdav(workspace: &Path, files: &Files, tls: bool, rest: &str) -> Result<Self, SourceError> {
        let shown = super::shown(&files.root.value);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || host.contains('@') {
            return Err(SourceError::Address { root: shown });
        }
        let endpoint = format!("{}://{host}", if tls { "https" } else { "http" });
        let mut service = Webdav::default().endpoint(&endpoint).root(path);
        if let Some(user) = &files.user {
            service = service.username(user);
        }
        if let Some(password) = &files.password {
            service = service.password(&password.0);
        }
        let operator = Operator::new(service).map_err(|e| SourceError::of_service(&shown, &e))?;
        let operator = with_client(operator, workspace, files)?;
        Ok(Self { shown, kind: Kind::Remote { operator, copies: false } })
    }

    /// The service. A local one is asked for again at every call: a directory may come and go.
    fn operator(&self) -> Result<Operator, SourceError> {
        match &self.kind {
            Kind::Remote { operator, .. } => Ok(operator.clone()),
            Kind::Local(path) => {
                self.check_directory(path)?;
                let service = Fs::default().root(&path.to_string_lossy());
                Operator::new(service).map_err(|e| SourceError::of_service(&self.shown, &e))
            }
        }
    }

    fn check_directory(&self, path: &Path) -> Result<(), SourceError> {
        let no_root = || SourceError::NoRoot { root: self.shown.clone() };
        match std::fs::metadata(path) {
            Ok(m) if m.is_dir() => Ok(()),
            Ok(_) => Err(no_root()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(no_root()),
            Err(e) => Err(SourceError::reading(&self.shown, e)),
        }
    }

    /// What an error of the service means.
    fn failed(&self, what: &str, e: &opendal::Error) -> SourceError {
        match (&self.kind, e.kind()) {
            (Kind::Local(_), _) | (_, ErrorKind::NotFound) => SourceError::of_service(what, e),
            // The WebDAV service has no kind for 401.
            (_, kind) if kind == ErrorKind::PermissionDenied || e.to_string().contains("status: 401") => {
                SourceError::NotLetIn { root: self.shown.clone(), why: "the server refuses our user or key".to_owned() }
            }
            // Only the kind: the rest of such an error holds whole answers.
            (_, kind) => SourceError::Away { what: self.shown.clone(), why: kind.to_string() },
        }
    }

    /// The directory below the root, as configured.
    fn below(&self, directory: &str) -> String {
        match directory.trim_matches('/') {
            "" => self.shown.clone(),
            below => format!("{}/{below}", self.shown.trim_end_matches('/')),
        }
    }
}

/// The operator with a client of our own: certificates as defined, one TLS backend, no proxy of the environment.
fn with_client(operator: Operator, workspace: &Path, files: &Files) -> Result<Operator, SourceError> {
    crate::source::trust_ring();
    let wrong = |e: reqwest::Error| SourceError::Away { what: super::shown(&files.root.value), why: e.to_string() };
    let mut client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(ANSWER).no_proxy();
    if let Some(ca) = &files.ca {
        let pem = authorities(workspace, ca)?;
        client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem).map_err(wrong)?);
    }
    let transport = HttpTransporter::new(ReqwestTransport::new(client.build().map_err(wrong)?));
    Ok(operator.with_context(OperationContext::new().with_http_transport(transport)))
}

#[async_trait]
impl Place for Dal {
    async fn list(&self, directory: &str) -> Result<Vec<Entry>, SourceError> {
        let operator = self.operator()?;
        if let Kind::Local(path) = &self.kind {
            let path = path.join(directory);
            std::fs::metadata(&path).map_err(|_| SourceError::NoRoot { root: self.below(directory) })?;
        }
        let failed = |e: opendal::Error| match e.kind() {
            ErrorKind::NotFound => SourceError::NoRoot { root: self.below(directory) },
            _ => self.failed(&self.below(directory), &e),
        };
        let directory = match directory.trim_matches('/') {
            "" => "/".to_owned(),
            below => format!("{below}/"),
        };
        // A WebDAV directory that is not there is listed as empty; in S3 there are none.
        if let Kind::Remote { copies: false, .. } = &self.kind {
            operator.stat(&directory).await.map_err(failed)?;
        }
        let mut entries = operator.lister(&directory).await.map_err(failed)?;
        let mut all = Vec::new();
        while let Some(entry) = entries.try_next().await.map_err(failed)? {
            let name = entry.name().trim_end_matches('/').to_owned();
            // Some services list the directory itself.
            if !name.is_empty() && entry.path().trim_matches('/') != directory.trim_matches('/') {
                all.push(Entry { name, directory: entry.metadata().is_dir() });
            }
        }
        Ok(all)
    }

    async fn look(&self, path: &str) -> Result<Option<Look>, SourceError> {
        match self.operator()?.stat(path).await {
            Ok(m) if m.is_file() => {
                let modified = m.last_modified().map(SystemTime::from);
                let here = self.local(path).and_then(|path| std::fs::metadata(path).ok());
                Ok(Some(Look { bytes: m.content_length(), modified, node: here.map(Node::from) }))
            }
            Ok(_) => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(path, &e)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), SourceError> {
        let operator = self.operator()?;
        let failed = |e: opendal::Error| self.failed(from, &e);
        if let Kind::Remote { copies: true, .. } = &self.kind {
            operator.copy(from, to).await.map_err(failed)?;
            return operator.delete(from).await.map_err(failed);
        }
        if let Some((directory, _)) = to.rsplit_once('/') {
            operator.create_dir(&format!("{directory}/")).await.map_err(failed)?;
        }
        operator.rename(from, to).await.map_err(failed)
    }

    fn read(&self, path: &str, from: u64, end: u64) -> io::Result<Box<dyn Read + Send>> {
        match &self.kind {
            Kind::Local(root) => {
                let mut file = std::fs::File::open(root.join(path))?;
                io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
                Ok(Box::new(io::BufReader::with_capacity(SMALL, file.take(end.saturating_sub(from)))))
            }
            Kind::Remote { operator, .. } => Ok(Box::new(Ranges {
                operator: operator.clone(),
                path: path.to_owned(),
                next: from,
                end,
                buffer: io::Cursor::new(Vec::new()),
                runtime: Runtime::current(),
            })),
        }
    }

    fn local(&self, path: &str) -> Option<PathBuf> {
        match &self.kind {
            Kind::Local(root) => Some(root.join(path)),
            Kind::Remote { .. } => None,
        }
    }
}

/// Ranges of a remote file, one after the other. Read from blocking threads only.
struct Ranges {
    operator: Operator,
    path: String,
    next: u64,
    end: u64,
    buffer: io::Cursor<Vec<u8>>,
    runtime: Runtime,
}

impl Read for Ranges {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.buffer.read(out)?;
            if read > 0 || out.is_empty() || self.next >= self.end {
                return Ok(read);
            }
            let to = self.end.min(self.next + FETCH);
            let range = self.operator.read_with(&self.path).range(self.next..to);
            let bytes = self.runtime.block_on(async move { range.await }).map_err(io::Error::other)?.to_vec();
            if bytes.is_empty() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.next += bytes.len() as u64;
            self.buffer = io::Cursor::new(bytes);
        }
    }
}
