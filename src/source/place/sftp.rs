//! SFTP, over an SSH of our own (russh): no `ssh` program, no files of its user.
//!
//! OpenDAL's SFTP service drives the `ssh` program: it knows no passwords, reads known hosts from the process's home
//! directory and cannot be told one key to believe. Here the server's key is part of the definition and any other is
//! refused before a password is sent. Reads are asked for ahead, as `sftp` does.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use russh::cipher;
use russh::client::{self, AuthResult, Handle};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, decode_secret_key};
use russh_sftp::client::SftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::StatusCode;
use tokio::io::AsyncSeekExt;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Mutex;

use super::remote::Remote;
use super::{ANSWER, CONNECT, Entry, Look, Place, Server, SourceError, too_long};
use crate::config::{Files, Hidden};

/// Bytes the server may send before it hears from us.
const WINDOW: u32 = 32 << 20;
/// Of what every server has, the fastest first: processors have instructions for AES.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];
/// Reads asked for ahead.
const AHEAD: usize = 64;

/// The key that a server must show.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pinned {
    Key(Box<PublicKey>),
    /// `SHA256:…`
    Fingerprint(String),
}

/// See the module.
pub(super) struct Sftp {
    server: Server,
    shown: String,
    user: String,
    password: Option<Hidden>,
    key: Option<Hidden>,
    pinned: Pinned,
    open: Mutex<Option<Arc<Session>>>,
}

/// An open connection.
struct Session {
    sftp: SftpSession,
    /// Ends with it.
    _ssh: Handle<Knows>,
}

/// Knows the server's key.
struct Knows {
    pinned: Pinned,
}

impl client::Handler for Knows {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let key = key.public_key();
        Ok(match &self.pinned {
            Pinned::Key(pinned) => pinned.key_data() == key.key_data(),
            Pinned::Fingerprint(pinned) => key.fingerprint(HashAlg::Sha256).to_string() == *pinned,
        })
    }
}

impl Sftp {
    /// A server that is not reached yet. Errors: [`SourceError::Unpinned`] without a key that reads.
    pub(super) fn new(files: &Files, server: Server) -> Result<Self, SourceError> {
        let shown = super::shown(&files.root.value);
        let unpinned = || SourceError::Unpinned { root: shown.clone() };
        let pinned = files.host_key.as_ref().and_then(|key| pinned(&key.value)).ok_or_else(unpinned)?;
        Ok(Self {
            server,
            user: files.user.clone().unwrap_or_default(),
            password: files.password.clone(),
            key: files.key.clone(),
            pinned,
            open: Mutex::new(None),
            shown,
        })
    }

    /// The open connection, or a new one.
    async fn session(&self) -> Result<Arc<Session>, SourceError> {
        let mut open = self.open.lock().await;
        if let Some(session) = open.as_ref().filter(|session| !session._ssh.is_closed()) {
            return Ok(Arc::clone(session));
        }
        let session = tokio::time::timeout(CONNECT, self.connect()).await.map_err(|_| too_long(&self.shown))??;
        let session = Arc::new(session);
        *open = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn connect(&self) -> Result<Session, SourceError> {
        let config = client::Config {
            window_size: WINDOW,
            maximum_packet_size: 65_535,
            nodelay: true,
            keepalive_interval: Some(CONNECT),
            inactivity_timeout: Some(ANSWER * 5),
            preferred: russh::Preferred { cipher: Cow::Borrowed(CIPHERS), ..russh::Preferred::DEFAULT },
            ..client::Config::default()
        };
        let knows = Knows { pinned: self.pinned.clone() };
        let address = (self.server.host.as_str(), self.server.port);
        let mut ssh = client::connect(Arc::new(config), address, knows).await.map_err(|e| self.refused(&e))?;
        self.log_in(&mut ssh).await?;
        let channel = ssh.channel_open_session().await.map_err(|e| self.refused(&e))?;
        channel.request_subsystem(true, "sftp").await.map_err(|e| self.refused(&e))?;
        let config = russh_sftp::client::Config {
            max_concurrent_reads: AHEAD,
            request_timeout_secs: ANSWER.as_secs(),
            ..russh_sftp::client::Config::default()
        };
        let sftp = SftpSession::new_with_config(channel.into_stream(), config).await;
        Ok(Session { sftp: sftp.map_err(|e| self.failed(&self.shown, &e))?, _ssh: ssh })
    }

    async fn log_in(&self, ssh: &mut Handle<Knows>) -> Result<(), SourceError> {
        let denied = |why: &str| SourceError::NotLetIn { root: self.shown.clone(), why: why.to_owned() };
        let mut result = None;
        if let Some(key) = &self.key {
            let key =
                decode_secret_key(&key.0, None).map_err(|_| denied("the key does not read, or has a password"))?;
            let hash = ssh.best_supported_rsa_hash().await.map_err(|e| self.refused(&e))?.flatten();
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash.or(Some(HashAlg::Sha256)));
            result = Some(ssh.authenticate_publickey(&self.user, key).await.map_err(|e| self.refused(&e))?);
        }
        if let (Some(password), false) = (&self.password, result.as_ref().is_some_and(AuthResult::success)) {
            let answer = ssh.authenticate_password(&self.user, &password.0).await;
            result = Some(answer.map_err(|e| self.refused(&e))?);
        }
        match result {
            Some(AuthResult::Success) => Ok(()),
            Some(AuthResult::Failure { .. }) => Err(denied("the server refuses our user and key or password")),
            None => Err(denied("the definition gives neither key nor password")),
        }
    }

    /// What an error of the connection means.
    fn refused(&self, e: &russh::Error) -> SourceError {
        match e {
            russh::Error::UnknownKey | russh::Error::WrongServerSig => {
                SourceError::HostKey { root: self.shown.clone() }
            }
            other => SourceError::Away { what: self.shown.clone(), why: other.to_string() },
        }
    }

    /// What an error of a request means.
    fn failed(&self, what: &str, e: &SftpError) -> SourceError {
        SourceError::reading(what, to_io(e))
    }

    async fn make_directories(&self, session: &Session, path: &str) -> Result<(), SourceError> {
        let Some((directory, _)) = path.rsplit_once('/') else { return Ok(()) };
        let mut made = String::new();
        for name in directory.split('/').filter(|name| !name.is_empty()) {
            made = if made.is_empty() { name.to_owned() } else { format!("{made}/{name}") };
            let at = self.server.path(&made);
            if session.sftp.metadata(at.clone()).await.is_err() {
                session.sftp.create_dir(at).await.map_err(|e| self.failed(&made, &e))?;
            }
        }
        Ok(())
    }
}

/// A line of known_hosts, of a `.pub` file, or a fingerprint.
fn pinned(text: &str) -> Option<Pinned> {
    let text = text.trim();
    if text.starts_with("SHA256:") && text.len() > 40 {
        return Some(Pinned::Fingerprint(text.to_owned()));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let key = words.windows(2).find_map(|pair| PublicKey::from_openssh(&pair.join(" ")).ok())?;
    Some(Pinned::Key(Box::new(key)))
}

fn to_io(e: &SftpError) -> io::Error {
    let kind = match e {
        SftpError::Status(status) => match status.status_code {
            StatusCode::NoSuchFile => io::ErrorKind::NotFound,
            StatusCode::PermissionDenied => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        },
        SftpError::Timeout => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, e.to_string())
}

#[async_trait]
impl Place for Sftp {
    async fn list(&self, directory: &str) -> Result<Vec<Entry>, SourceError> {
        let session = self.session().await?;
        let entries = session.sftp.read_dir(self.server.path(directory)).await.map_err(|e| match to_io(&e).kind() {
            io::ErrorKind::NotFound => SourceError::NoRoot { root: format!("{}/{directory}", self.shown) },
            _ => self.failed(&self.shown, &e),
        })?;
        let entry =
            |e: russh_sftp::client::fs::DirEntry| Entry { name: e.file_name(), directory: e.file_type().is_dir() };
        Ok(entries.map(entry).collect())
    }

    async fn look(&self, path: &str) -> Result<Option<Look>, SourceError> {
        let session = self.session().await?;
        match session.sftp.metadata(self.server.path(path)).await {
            Ok(m) if m.is_dir() => Ok(None),
            Ok(m) => {
                let modified = m.mtime.map(|at| UNIX_EPOCH + std::time::Duration::from_secs(at.into()));
                Ok(Some(Look {
                    bytes: m.size.unwrap_or(0),
                    modified: modified.filter(|at| *at > SystemTime::UNIX_EPOCH),
                    node: None,
                }))
            }
            Err(e) if to_io(&e).kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(path, &e)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), SourceError> {
        let session = self.session().await?;
        self.make_directories(&session, to).await?;
        let done = session.sftp.rename(self.server.path(from), self.server.path(to)).await;
        done.map_err(|e| self.failed(from, &e))
    }

    fn read(&self, path: &str, from: u64, end: u64) -> io::Result<Box<dyn Read + Send>> {
        let runtime = Runtime::current();
        let path = self.server.path(path);
        let (file, session) = runtime.block_on(async {
            let session = self.session().await.map_err(io::Error::other)?;
            let mut file = session.sftp.open(path).await.map_err(|e| to_io(&e))?;
            if from > 0 {
                file.seek(io::SeekFrom::Start(from)).await?;
            }
            Ok::<_, io::Error>((file, session))
        })?;
        Ok(Remote::reading(file, session, end.saturating_sub(from), runtime))
    }

    fn local(&self, _path: &str) -> Option<PathBuf> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_is_written_as_ssh_writes_it() {
        const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let line = format!("ssh-ed25519 {KEY}");
        let key = pinned(&line);
        assert!(matches!(key, Some(Pinned::Key(_))));
        assert_eq!(pinned(&format!("[exchange.example]:2222 {line}")), key);
        assert_eq!(pinned(&format!("{line} root@exchange")), key);
        assert!(matches!(pinned("SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ"), Some(Pinned::Fingerprint(_))));
        for text in ["", "SHA256:", "ssh-ed25519 AAAA", "exchange.example"] {
            assert_eq!(pinned(text), None, "{text}");
        }
    }
}
