//! Files sources: where the directory is, how we are let in, and what happens to files that were taken.

use std::time::Duration;

use super::{At, Hidden, Template};

/// A directory of files, here or on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// A directory, or a `file: sftp: ftp: ftps: s3: webdav: webdavs:` URL.
    pub root: At<String>,
    /// User, or the access key of S3.
    pub user: Option<String>,
    /// Password, or the secret key of S3.
    pub password: Option<Hidden>,
    /// Private key (SFTP): OpenSSH, PKCS#8 or PuTTY.
    pub key: Option<Hidden>,
    /// The server's own key (SFTP), as `ssh-keyscan` prints it or as `SHA256:…`; another one is refused.
    pub host_key: Option<At<String>>,
    /// CA certificates (PEM file) that the server's certificate must follow from; `None` trusts the public ones.
    pub ca: Option<String>,
    /// Address of an S3 service, `https://…`; `None` is Amazon's.
    pub endpoint: Option<String>,
    /// Region of an S3 service.
    pub region: Option<String>,
    /// What happens after.
    pub settle: Settle,
    /// PEM files of the department's own certificates, whose signatures count.
    pub certificates: Vec<At<String>>,
}

impl Files {
    /// A directory and nothing else.
    pub fn at(root: At<String>) -> Self {
        Self {
            root,
            user: None,
            password: None,
            key: None,
            host_key: None,
            ca: None,
            endpoint: None,
            region: None,
            settle: Settle::default(),
            certificates: Vec::new(),
        }
    }
}

/// When a file counts as finished, and where it goes afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// A file written less than this ago may still be written to.
    pub quiet: Duration,
    /// Directory below the root for files that were taken; `None` leaves them.
    pub archive: Option<String>,
    /// Directory below the root for files that were refused; `None` leaves them.
    pub reject: Option<String>,
}

impl Default for Settle {
    fn default() -> Self {
        Self { quiet: Duration::from_secs(2), archive: None, reject: None }
    }
}

/// What stands beside a file and is held against it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// The control file (控制文件) without which a file is not finished.
    pub control: Option<Control>,
    /// Whether a detached signature by the department (`.p7s`) must be there.
    pub signed: bool,
}

/// A control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Its name: `{name}.ok`, `{stem}.chk`.
    pub file: String,
    /// What a line of it says: `{name}|{rows}`. `None`: that it is there is enough.
    pub says: Option<Template>,
}
