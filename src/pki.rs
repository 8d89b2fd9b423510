//! What certificates are judged by: roots and rules from the installation, revocation lists from files and addresses.
//!
//! Decides: where lists are looked for and how long a fetched one serves. Must not know: what was signed. Guarantees: a
//! server that is down stops nothing by itself: the last list that it gave is used, and whether that is fresh enough is
//! for the rules to say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{TrustFiles, Workspace};
use crate::crypto::{Crl, CryptoError, Trust, hex};

/// A list that was fetched serves this long before the server is asked again.
const ASK_AGAIN: TimeDelta = TimeDelta::hours(1);
/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a list; the largest in use have some tens of megabytes.
const MOST: usize = 256 << 20;

/// Which roots are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// Those under which we sign.
    Own,
    /// Those under which departments sign their files.
    Departments,
    /// Those under which subscribers are encrypted to.
    Subscribers,
    /// Those under which the time of batches is stamped.
    Timestamps,
}

/// The installation's belief for one purpose; `None` where it names no roots for it. Lists at addresses are taken from
/// what [`refresh`] has kept.
///
/// # Errors
/// [`CryptoError::File`], [`CryptoError::BadCertificate`], [`CryptoError::BadCrl`].
pub fn trust(workspace: &Workspace, roots: Roots) -> Result<Option<Trust>, CryptoError> {
    let files = &workspace.installation.trust;
    let file = match roots {
        Roots::Own => &files.own,
        Roots::Departments => &files.departments,
        Roots::Subscribers => &files.subscribers,
        Roots::Timestamps => &files.timestamps,
    };
    file.as_deref().map(|file| trust_of(workspace, file)).transpose()
}

/// Belief in the roots of this file, under the installation's rules and with its lists.
///
/// # Errors
/// As [`trust`].
pub fn trust_of(workspace: &Workspace, roots: &Path) -> Result<Trust, CryptoError> {
    let files = &workspace.installation.trust;
    let mut crls = Vec::new();
    for source in &files.crls {
        let path = if is_address(source) { kept(&cache(workspace), source) } else { PathBuf::from(source) };
        if path.exists() || !is_address(source) {
            crls.extend(Crl::all_from(&read(&path)?)?);
        }
    }
    let trust = Trust::from_pem(&read(roots)?)?.with_rules(files.rules).with_crls(crls);
    Ok(if files.crls.is_empty() { trust } else { trust.demanding_crls() })
}

/// The installation's revocation lists, byte for byte; those at addresses as they were fetched last.
///
/// # Errors
/// [`CryptoError::File`].
pub fn as_they_are(workspace: &Workspace) -> Result<Vec<Vec<u8>>, CryptoError> {
    let path = |source: &String| match is_address(source) {
        true => kept(&cache(workspace), source),
        false => PathBuf::from(source),
    };
    let paths = workspace.installation.trust.crls.iter().map(path);
    paths.filter(|path| path.exists()).map(|path| read(&path)).collect()
}

/// Fetches the lists at addresses that are due. What cannot be fetched is said in the log, and the last one kept.
pub async fn refresh(workspace: &Workspace, now: DateTime<Utc>) {
    let TrustFiles { crls, .. } = &workspace.installation.trust;
    let dir = cache(workspace);
    for address in crls.iter().filter(|source| is_address(source)) {
        let path = kept(&dir, address);
        if is_young(&path, now) {
            continue;
        }
        match fetch(address).await.and_then(|bytes| keep(&dir, &path, &bytes)) {
            Ok(()) => tracing::info!(address, "fetched a revocation list"),
            Err(error) => tracing::warn!(code = error.code(), address, %error, "keeping the last revocation list"),
        }
    }
}

/// Lists from files and addresses, now; for those who keep nothing.
///
/// # Errors
/// [`CryptoError::File`] when one cannot be read or fetched; [`CryptoError::BadCrl`].
pub async fn lists(sources: &[String]) -> Result<Vec<Crl>, CryptoError> {
    let mut all = Vec::new();
    for bytes in gathered(sources).await? {
        all.extend(Crl::all_from(&bytes)?);
    }
    Ok(all)
}

/// The same, byte for byte.
///
/// # Errors
/// [`CryptoError::File`].
pub async fn gathered(sources: &[String]) -> Result<Vec<Vec<u8>>, CryptoError> {
    let mut all = Vec::with_capacity(sources.len());
    for source in sources {
        all.push(if is_address(source) { fetch(source).await? } else { read(Path::new(source))? });
    }
    Ok(all)
}

fn is_address(source: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| source.starts_with(scheme))
}

fn cache(workspace: &Workspace) -> PathBuf {
    workspace.installation.state_dir.join("crls")
}

/// Where the list of an address is kept.
fn kept(dir: &Path, address: &str) -> PathBuf {
    let digest = crate::crypto::DigestAlgorithm::Sha256.digest(&[address.as_bytes()]);
    dir.join(format!("{}.crl", hex(digest.first_chunk::<16>().expect("a digest has 32 bytes"))))
}

/// Whether a kept list need not be fetched again yet.
fn is_young(path: &Path, now: DateTime<Utc>) -> bool {
    let written = std::fs::metadata(path).and_then(|facts| facts.modified());
    let young = written.is_ok_and(|at| now.signed_duration_since(DateTime::<Utc>::from(at)).abs() < ASK_AGAIN);
    let current = |crls: &Vec<Crl>| crls.iter().all(|crl| crl.next_update().is_none_or(|due| due > now));
    young && read(path).and_then(|bytes| Crl::all_from(&bytes)).is_ok_and(|crls| current(&crls))
}

/// Keeps a list that reads.
fn keep(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), CryptoError> {
    Crl::all_from(bytes)?;
    let failed = |error: std::io::Error| file("write", path.display(), &error);
    std::fs::create_dir_all(dir).map_err(failed)?;
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, path)).map_err(failed)
}

async fn fetch(address: &str) -> Result<Vec<u8>, CryptoError> {
    let failed = |error: reqwest::Error| file("fetch", address, &error.without_url());
    let client = client(PATIENCE).map_err(failed)?;
    let mut answer = client.get(address).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MOST {
            return Err(CryptoError::BadCrl { what: format!("what {address} gives is longer than any list") });
        }
    }
    Ok(bytes)
}

/// Somebody who asks servers of authorities.
pub(crate) fn client(patience: Duration) -> reqwest::Result<reqwest::Client> {
    rustls::crypto::ring::default_provider().install_default().ok(); // somebody may have been first
    reqwest::Client::builder().timeout(patience).no_proxy().build()
}

fn read(path: &Path) -> Result<Vec<u8>, CryptoError> {
    std::fs::read(path).map_err(|error| file("read", path.display(), &error))
}

fn file(act: &'static str, path: impl std::fmt::Display, why: &dyn std::error::Error) -> CryptoError {
    CryptoError::File { act, path: path.to_string(), why: why.to_string() }
}
