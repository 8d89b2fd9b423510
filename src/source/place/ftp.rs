//! FTP (RFC 959, 3659) and FTPS (RFC 4217, explicit), over suppaftp with the one TLS backend.
//!
//! OpenDAL's FTP service brings another TLS backend. A connection can carry one file at a time, so each file that is
//! read has its own; the rest share one. Transfers are passive, to the address the control connection goes to: servers
//! behind a firewall name one that nobody reaches. A server that knows neither SIZE nor MLSD is not for us.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use suppaftp::list::ListParser;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::tokio_rustls::TlsConnector;
use suppaftp::types::FileType;
use suppaftp::{FtpError, Status};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Mutex;

use super::remote::Remote;
use super::{ANSWER, CONNECT, Entry, Look, Place, Server, SourceError, authorities, too_long};
use crate::config::{Files, Hidden};

/// See the module.
pub(super) struct Ftp {
    server: Server,
    shown: String,
    user: String,
    password: Hidden,
    tls: Option<Arc<rustls::ClientConfig>>,
    open: Mutex<Option<AsyncRustlsFtpStream>>,
}

impl Ftp {
    /// A server that is not reached yet. Without a user we are `anonymous`.
    pub(super) fn new(workspace: &Path, files: &Files, tls: bool, server: Server) -> Result<Self, SourceError> {
        let tls = if tls { Some(Arc::new(trusting(workspace, files.ca.as_deref())?)) } else { None };
        Ok(Self {
            server,
            shown: super::shown(&files.root.value),
            user: files.user.clone().unwrap_or_else(|| "anonymous".to_owned()),
            password: files.password.clone().unwrap_or_else(|| Hidden("anonymous@".to_owned())),
            tls,
            open: Mutex::new(None),
        })
    }

    async fn connect(&self) -> Result<AsyncRustlsFtpStream, SourceError> {
        let connecting = async {
            let address = (self.server.host.as_str(), self.server.port);
            let mut ftp = AsyncRustlsFtpStream::connect(address).await?;
            if let Some(tls) = &self.tls {
                let connector = AsyncRustlsConnector::from(TlsConnector::from(Arc::clone(tls)));
                ftp = ftp.into_secure(connector, &self.server.host).await?;
            }
            ftp.set_passive_nat_workaround(true);
            ftp.login(&self.user, &self.password.0).await?;
            ftp.transfer_type(FileType::Binary).await?;
            // Names are UTF-8 where the server can; one that cannot says so.
            let _ = ftp.opts("UTF8", Some("ON")).await;
            Ok(ftp)
        };
        let done = tokio::time::timeout(CONNECT, connecting).await.map_err(|_| too_long(&self.shown))?;
        done.map_err(|e| self.failed(&self.shown, &e))
    }

    /// Asks the shared connection; a connection that failed is not used again.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut AsyncRustlsFtpStream) -> Result<T, FtpError> + Send,
    ) -> Result<Result<T, FtpError>, SourceError> {
        let mut open = self.open.lock().await;
        let mut ftp = match open.take() {
            Some(ftp) => ftp,
            None => self.connect().await?,
        };
        let answer = tokio::time::timeout(ANSWER, question(&mut ftp)).await.map_err(|_| too_long(&self.shown))?;
        if matches!(&answer, Ok(_) | Err(FtpError::UnexpectedResponse(_))) {
            *open = Some(ftp);
        }
        Ok(answer)
    }

    fn failed(&self, what: &str, e: &FtpError) -> SourceError {
        match e {
            FtpError::UnexpectedResponse(answer) if answer.status == Status::NotLoggedIn => {
                let why = "the server refuses our user and password".to_owned();
                SourceError::NotLetIn { root: self.shown.clone(), why }
            }
            FtpError::UnexpectedResponse(_) => SourceError::reading(what, to_io(e)),
            other => SourceError::Away { what: self.shown.clone(), why: other.to_string() },
        }
    }
}

/// A TLS client that believes the authorities of a file, or the public ones.
fn trusting(workspace: &Path, ca: Option<&str>) -> Result<rustls::ClientConfig, SourceError> {
    let bad = |e: &dyn std::fmt::Display| SourceError::reading("ca", io::Error::other(e.to_string()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| bad(&e))?;
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        Some(file) => {
            let pem = authorities(workspace, file)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn to_io(e: &FtpError) -> io::Error {
    let kind = match e {
        FtpError::UnexpectedResponse(answer) if answer.status == Status::FileUnavailable => io::ErrorKind::NotFound,
        FtpError::UnexpectedResponse(_) => io::ErrorKind::Other,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, e.to_string())
}

#[async_trait]
impl Place for Ftp {
    async fn list(&self, directory: &str) -> Result<Vec<Entry>, SourceError> {
        let path = self.server.path(directory);
        let lines = self.ask(async move |ftp| ftp.mlsd(Some(&path)).await).await?;
        // Servers say 550, 501 or 553 of a directory that is not there.
        let gone = [Status::FileUnavailable, Status::BadArguments, Status::BadFilename];
        let lines = lines.map_err(|e| match &e {
            FtpError::UnexpectedResponse(answer) if gone.contains(&answer.status) => {
                SourceError::NoRoot { root: format!("{}/{directory}", self.shown) }
            }
            _ => self.failed(&self.shown, &e),
        })?;
        let entry = |line: &String| {
            let kind = line.to_ascii_lowercase();
            if kind.contains("type=cdir") || kind.contains("type=pdir") {
                return None;
            }
            let file = ListParser::parse_mlsd(line).ok()?;
            Some(Entry { name: file.name().to_owned(), directory: file.is_directory() })
        };
        Ok(lines.iter().filter_map(entry).collect())
    }

    async fn look(&self, path: &str) -> Result<Option<Look>, SourceError> {
        let on_server = self.server.path(path);
        let found = self
            .ask(async move |ftp| {
                let bytes = ftp.size(&on_server).await?;
                Ok((bytes, ftp.mdtm(&on_server).await.ok()))
            })
            .await?;
        match found {
            Ok((bytes, modified)) => {
                let modified = modified.map(|at| SystemTime::from(at.and_utc()));
                Ok(Some(Look { bytes: bytes as u64, modified, node: None }))
            }
            Err(e) if to_io(&e).kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(path, &e)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), SourceError> {
        let mut made = String::new();
        for name in to.split('/').take(to.split('/').count() - 1) {
            made = format!("{made}/{name}");
            let directory = self.server.path(&made);
            // It may be there; if it cannot be made, the move says so.
            let _ = self.ask(async move |ftp| ftp.mkdir(&directory).await).await?;
        }
        let (old, new) = (self.server.path(from), self.server.path(to));
        let done = self.ask(async move |ftp| ftp.rename(&old, &new).await).await?;
        done.map_err(|e| self.failed(from, &e))
    }

    fn read(&self, path: &str, from: u64, end: u64) -> io::Result<Box<dyn Read + Send>> {
        let runtime = Runtime::current();
        let path = self.server.path(path);
        let (stream, control) = runtime.block_on(async {
            let mut ftp = self.connect().await.map_err(io::Error::other)?;
            ftp.resume_transfer(usize::try_from(from).map_err(io::Error::other)?).await.map_err(|e| to_io(&e))?;
            let stream = ftp.retr_as_stream(&path).await.map_err(|e| to_io(&e))?;
            Ok::<_, io::Error>((stream, ftp))
        })?;
        Ok(Remote::reading(stream, control, end.saturating_sub(from), runtime))
    }
}
