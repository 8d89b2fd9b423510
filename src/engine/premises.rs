//! This installation's own places: where state lies, who signs, where batches go.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::EngineError;
use super::rows::hex;
use crate::batch::SaltKey;
use crate::config::{DeliveryEncryption, Feed, OutletKind, Password, SigningFiles, SigningKey, Workspace};
use crate::crypto::{
    Certificate, CryptoError, DigestAlgorithm, KeyRing, Purpose, Recipient, Signer, Suite, Trust, When, check_rules,
    dev_ca,
};
use crate::error::Problem;
use crate::outlet::rabbitmq::{Address, Patience, RabbitMq};
use crate::outlet::{Outlet, Spool};
use crate::pki::{self, Roots};
use crate::store::{Store, StoreError};

/// The directory of state, as a path that can be opened.
pub fn state_dir(workspace: &Workspace) -> PathBuf {
    workspace.installation.state_dir.clone()
}

/// The spool, as a path that can be opened.
pub fn spool_dir(workspace: &Workspace) -> PathBuf {
    workspace.installation.spool.clone()
}

/// The installation's key: that of `signing:`, the one chosen with `huiliu key rotate`, or the development CA's, made on
/// first use and labelled as such.
pub fn signer(workspace: &Workspace, now: DateTime<Utc>) -> Result<Signer, CryptoError> {
    let password = workspace.installation.key_password.as_ref().map(Password::reveal);
    let ring = KeyRing::below(&state_dir(workspace)).with_pin(workspace.installation.token_pin.clone());
    match &workspace.installation.signing {
        Some(SigningFiles { key: SigningKey::File(key), chain }) => return Signer::load(key, chain, password),
        Some(SigningFiles { key: SigningKey::Token(uri), chain }) => {
            return Signer::new(ring.on_token(uri)?, Certificate::load_all(chain)?);
        }
        None => {}
    }
    match ring.signer(password)? {
        Some(signer) => Ok(signer),
        None => dev_ca::signer(&state_dir(workspace), now),
    }
}

/// Under which roots this installation's own signatures are believed: those that it names, else its development CA.
/// `None` where neither is there.
///
/// # Errors
/// As [`crate::pki::trust`].
pub fn own_trust(workspace: &Workspace) -> Result<Option<Trust>, CryptoError> {
    let named = crate::pki::trust(workspace, Roots::Own)?;
    match (named, own_root(workspace)) {
        (Some(trust), _) => Ok(Some(trust)),
        (None, Some(root)) if root.exists() => crate::pki::trust_of(workspace, &root).map(Some),
        (None, _) => Ok(None),
    }
}

fn own_root(workspace: &Workspace) -> Option<PathBuf> {
    let named = workspace.installation.trust.own.clone();
    named.or_else(|| {
        workspace.installation.signing.is_none().then(|| dev_ca::DevCaFiles::below(&state_dir(workspace)).root)
    })
}

/// What an archive carries along: the signer's chain with its root, PEM, and revocation lists as they are.
pub(super) fn for_the_archive(workspace: &Workspace, signer: &Signer) -> Result<(String, Vec<Vec<u8>>), CryptoError> {
    let mut pem = signer.certificate().to_pem()?;
    for between in signer.between() {
        pem += &between.to_pem()?;
    }
    if let Some(root) = own_root(workspace).filter(|root| root.exists()) {
        for certificate in Certificate::load_all(&root)? {
            pem += &certificate.to_pem()?;
        }
    }
    Ok((pem, crate::pki::as_they_are(workspace)?))
}

/// The certificates that this installation rests on, with what each is for: its own, and those that feeds are encrypted
/// to. Read, never made.
pub fn certificates(workspace: &Workspace) -> Vec<(String, Result<Certificate, CryptoError>)> {
    let mut all: Vec<_> = own_certificate(workspace).map(|own| ("signing".to_owned(), own)).into_iter().collect();
    for feed in workspace.feeds.values() {
        if let DeliveryEncryption::To(file) = &feed.delivery.encryption {
            all.push((format!("encrypting {}", feed.name), first_of(&workspace.dir.join(&file.value))));
        }
    }
    all
}

/// The certificate that signs, as far as there is one already.
fn own_certificate(workspace: &Workspace) -> Option<Result<Certificate, CryptoError>> {
    if let Some(files) = &workspace.installation.signing {
        return Some(first_of(&files.chain));
    }
    let ring = KeyRing::below(&state_dir(workspace));
    match ring.current().and_then(|name| name.map(|name| ring.chain(&name)).transpose()) {
        Err(error) => Some(Err(error)),
        Ok(Some(chain)) => chain.into_iter().next().map(Ok),
        Ok(None) => {
            Some(dev_ca::signing_certificate(&state_dir(workspace))).filter(|path| path.exists()).map(|p| first_of(&p))
        }
    }
}

/// How this installation digests what it writes: as its key's suite does.
pub(super) fn digests(workspace: &Workspace) -> DigestAlgorithm {
    let suite = own_certificate(workspace).and_then(|own| own.ok()?.suite().ok());
    suite.map_or(DigestAlgorithm::Sha256, Suite::digest)
}

fn first_of(path: &Path) -> Result<Certificate, CryptoError> {
    Ok(Certificate::load_all(path)?.swap_remove(0))
}

/// Who signs this feed's batches now, and to whom they are encrypted; asked whether receivers would accept either. What
/// is in doubt and allowed all the same is said in the log.
pub(super) async fn seals(
    workspace: &Workspace,
    feed: &Feed,
    now: DateTime<Utc>,
) -> Result<(Signer, Option<Recipient>), CryptoError> {
    pki::refresh(workspace, now).await;
    let signer = signer(workspace, now)?;
    let mut doubts = check_signer(workspace, &signer, now)?;
    let recipient = recipient(workspace, feed, now)?.map(|(recipient, more)| {
        doubts.extend(more);
        recipient
    });
    for doubt in doubts {
        tracing::error!(code = doubt.code(), feed = feed.name, why = %doubt, "a certificate counts though its revocation is in doubt");
    }
    Ok((signer, recipient))
}

/// The installation's key, for signing what is no batch; asked whether receivers would accept it.
pub(super) async fn believed_signer(workspace: &Workspace, now: DateTime<Utc>) -> Result<Signer, CryptoError> {
    pki::refresh(workspace, now).await;
    let signer = signer(workspace, now)?;
    for doubt in check_signer(workspace, &signer, now)? {
        tracing::error!(code = doubt.code(), why = %doubt, "our certificate counts though its revocation is in doubt");
    }
    Ok(signer)
}

/// Whether receivers who believe our authorities would accept this key now; asked before anything is signed. Says what is
/// in doubt.
fn check_signer(workspace: &Workspace, signer: &Signer, now: DateTime<Utc>) -> Result<Vec<CryptoError>, CryptoError> {
    let Some(trust) = pki::trust(workspace, Roots::Own)? else {
        // Without authorities of our own there are still rules.
        check_rules(&workspace.installation.trust.rules, signer.certificate())?;
        return Ok(Vec::new());
    };
    let when = When::said(now, now);
    Ok(trust.check(signer.certificate(), signer.between(), Purpose::SignData, when)?.warnings)
}

/// To whom this feed's bodies are encrypted; `None` when they are not. The first certificate of the file is the
/// subscriber's, any others stand between it and its authority. Says what is in doubt.
fn recipient(
    workspace: &Workspace,
    feed: &Feed,
    now: DateTime<Utc>,
) -> Result<Option<(Recipient, Vec<CryptoError>)>, CryptoError> {
    let DeliveryEncryption::To(file) = &feed.delivery.encryption else { return Ok(None) };
    let mut chain = Certificate::load_all(&workspace.dir.join(&file.value))?;
    let recipient = Recipient::new(chain.remove(0))?;
    let certificate = recipient.certificate();
    certificate.check_validity(now)?;
    let warnings = match pki::trust(workspace, Roots::Subscribers)? {
        Some(trust) => trust.check(certificate, &chain, Purpose::ReceiveData, When::said(now, now))?.warnings,
        None => {
            check_rules(&workspace.installation.trust.rules, certificate)?;
            Vec::new()
        }
    };
    Ok(Some((recipient, warnings)))
}

/// The secret of one feed's pseudonyms: the same in every run, and another for every feed, so that two subscribers
/// cannot join what they hold. It rests on `pseudonym.key` in the state directory, made on first use; who loses that
/// file gives everybody new pseudonyms, so it belongs in the backup.
pub(super) fn pseudonym_key(workspace: &Workspace, feed: &str) -> Result<Vec<u8>, CryptoError> {
    let secret = crate::crypto::secret(&state_dir(workspace).join("pseudonym.key"))?;
    Ok([secret.as_slice(), feed.as_bytes()].concat())
}

/// What the store notes of `pseudonym.key`: a digest for nothing else, from which nobody gets the secret back.
const FINGERPRINT: &str = "huiliu pseudonym key\0";

/// As [`pseudonym_key`], for a release. Whoever made the first pseudonym over this store noted a fingerprint of the key: a
/// daemon with another state directory and another key would give the same person a second pseudonym.
pub(super) async fn agreed_pseudonym_key(
    workspace: &Workspace,
    feed: &str,
    store: &mut dyn Store,
) -> Result<Vec<u8>, EngineError> {
    let path = state_dir(workspace).join("pseudonym.key");
    let digest = Sha256::new().chain_update(FINGERPRINT).chain_update(crate::crypto::secret(&path)?).finalize();
    let own = hex(&digest);
    if store.noted_once("pseudonym_key", &own).await? != own {
        let what = format!("{} is not the key that made the pseudonyms of this store", path.display());
        let problem = Problem::error("HL0719", what);
        let hint = "copy pseudonym.key from the state directory of the daemon that sent them, or from the backup";
        return Err(StoreError::Refused(Box::new(problem.hint(hint))).into());
    }
    Ok(pseudonym_key(workspace, feed)?)
}

/// The secret of which the salts of records are made (可验证的脱敏); it rests on `pseudonym.key`, too. Who has that file can
/// guess at values that were withheld; who loses it gives later batches other salts, and nothing that was sent stops being
/// provable.
pub(super) fn salt_key(workspace: &Workspace) -> Result<SaltKey, CryptoError> {
    Ok(SaltKey::derived(&crate::crypto::secret(&state_dir(workspace).join("pseudonym.key"))?))
}

/// The installation's broker, not connected yet; `None` when none is configured.
pub(super) fn broker(workspace: &Workspace) -> Option<RabbitMq> {
    let configured = workspace.installation.broker.as_ref()?;
    let address = Address::parse(&configured.url, configured.ca.as_deref());
    Some(RabbitMq::new(address, Patience::default()))
}

/// Where this feed's batches go. All feeds share the broker's one connection.
pub(super) fn outlet(workspace: &Workspace, feed: &Feed, broker: Option<&RabbitMq>) -> Box<dyn Outlet> {
    match (feed.delivery.outlet.value, broker) {
        (OutletKind::Spool, _) => Box::new(Spool::new(spool_dir(workspace))),
        (OutletKind::Rabbitmq, Some(broker)) => Box::new(broker.outlet()),
        // The check of definitions refuses this (HL0145); batches then wait, and say why.
        (OutletKind::Rabbitmq, None) => Box::new(RabbitMq::unconfigured().outlet()),
    }
}
