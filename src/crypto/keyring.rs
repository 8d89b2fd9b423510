//! The keys that an installation keeps: `<name>.key` with its chain `<name>.pem`, and which of them signs now.
//!
//! Decides: what is a name, what may become the signing key. Must not know: what is signed. Guarantees: keys are
//! readable by their owner only; a file appears whole or not at all, and never over another key; the change from one
//! signing key to the next is one rename, so that every reader finds either, with its own certificate.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use super::at_rest::Wrapper;
use super::files::{failed, write_whole};
use super::signer::belongs;
use super::token::{RefusedPins, TokenKey, TokenMaster};
use super::{Certificate, CryptoError, PrivateKey, Purpose, Signer, Suite};
use crate::config::{Password, TokenUri};

/// The file that names the signing key.
const CURRENT: &str = "current";

/// Keys in a directory.
#[derive(Debug, Clone)]
pub struct KeyRing {
    dir: PathBuf,
    /// Of tokens.
    pin: Option<Password>,
}

/// One kept key, as far as it can be told without its password.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its name here.
    pub name: String,
    /// Whether it signs now.
    pub current: bool,
    /// Whether a password is needed.
    pub encrypted: bool,
    /// Where it is, when it is on a token.
    pub token: Option<String>,
    /// Its certificate and those between it and the root; none while it is only requested.
    pub chain: Vec<Certificate>,
}

impl KeyRing {
    /// `keys` below a state directory.
    pub fn below(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("keys"), pin: None }
    }

    /// With the PIN of tokens.
    #[must_use]
    pub fn with_pin(self, pin: Option<Password>) -> Self {
        Self { pin, ..self }
    }

    /// A key that is on a token already.
    ///
    /// # Errors
    /// [`CryptoError::TokenModule`], [`CryptoError::TokenAway`], [`CryptoError::Pin`], [`CryptoError::TokenObject`],
    /// [`CryptoError::Mechanism`].
    pub fn on_token(&self, uri: &TokenUri) -> Result<PrivateKey, CryptoError> {
        Ok(TokenKey::open(uri.clone(), self.pin.as_ref(), self.refused_pins())?.into())
    }

    /// Makes a key on a token.
    ///
    /// # Errors
    /// As [`KeyRing::on_token`]; [`CryptoError::Mechanism`] for SM2.
    pub fn make_on_token(&self, uri: TokenUri, suite: Suite) -> Result<PrivateKey, CryptoError> {
        Ok(TokenKey::make(uri, suite, self.pin.as_ref(), self.refused_pins())?.into())
    }

    /// A master key that is on a token already.
    ///
    /// # Errors
    /// As [`KeyRing::on_token`].
    pub fn master_on_token(&self, uri: TokenUri) -> Result<Box<dyn Wrapper>, CryptoError> {
        Ok(Box::new(TokenMaster::open(uri, self.pin.as_ref(), self.refused_pins())?))
    }

    /// Makes a master key on a token.
    ///
    /// # Errors
    /// As [`KeyRing::on_token`].
    pub fn make_master_on_token(&self, uri: TokenUri) -> Result<Box<dyn Wrapper>, CryptoError> {
        Ok(Box::new(TokenMaster::make(uri, self.pin.as_ref(), self.refused_pins())?))
    }

    fn refused_pins(&self) -> RefusedPins {
        RefusedPins::kept(self.dir.join("refused-pins"))
    }

    /// Every key, by name.
    ///
    /// # Errors
    /// [`CryptoError::File`], [`CryptoError::BadCertificate`].
    pub fn list(&self) -> Result<Vec<Kept>, CryptoError> {
        let current = self.current()?;
        self.names()?
            .into_iter()
            .map(|name| {
                let pem = self.read_key(&name)?;
                Ok(Kept {
                    current: current.as_deref() == Some(name.as_str()),
                    encrypted: pem.contains("BEGIN ENCRYPTED PRIVATE KEY"),
                    token: TokenUri::is_meant_by(&pem).then(|| pem.trim().to_owned()),
                    chain: self.chain(&name)?,
                    name,
                })
            })
            .collect()
    }

    /// A key by its name.
    ///
    /// # Errors
    /// [`CryptoError::File`] when there is none; as [`PrivateKey::from_pem`].
    pub fn key(&self, name: &str, password: Option<&str>) -> Result<PrivateKey, CryptoError> {
        let text = self.read_key(name)?;
        if TokenUri::is_meant_by(&text) {
            return self.on_token(&TokenUri::parse(&text).map_err(|what| CryptoError::TokenUri { what })?);
        }
        PrivateKey::from_pem(&text, password)
    }

    /// Keeps a key under a new name, encrypted under the password when there is one, with its chain if it has one yet.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the name is taken or none, or the chain is another key's; [`CryptoError::File`].
    pub fn keep(
        &self,
        name: &str,
        key: &PrivateKey,
        chain: &[Certificate],
        password: Option<&str>,
    ) -> Result<PathBuf, CryptoError> {
        self.check_free(name)?;
        let path = self.path(name, "key");
        if !chain.is_empty() {
            belongs(key, chain)?;
        }
        fs::create_dir_all(&self.dir).map_err(failed("create", &self.dir))?;
        // Chain last: whoever finds one finds its key too.
        write_whole(&path, key.to_pem(password)?.as_bytes(), 0o600)?;
        if !chain.is_empty() {
            self.write_chain(name, chain)?;
        }
        Ok(path)
    }

    /// Whether a new key may have this name.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the name is taken or none.
    pub fn check_free(&self, name: &str) -> Result<(), CryptoError> {
        check_name(name)?;
        if self.path(name, "key").exists() {
            return Err(CryptoError::BadKey { what: format!("there is a key {name} already; nothing was changed") });
        }
        Ok(())
    }

    /// Gives a kept key the chain that was issued for it, in place of any it had.
    ///
    /// # Errors
    /// As [`KeyRing::key`]; [`CryptoError::BadKey`], [`CryptoError::OtherKind`] when the chain is another key's.
    pub fn attach(&self, name: &str, chain: &[Certificate], password: Option<&str>) -> Result<(), CryptoError> {
        belongs(&self.key(name, password)?, chain)?;
        self.write_chain(name, chain)
    }

    /// Which key signs; `None` when none was chosen.
    ///
    /// # Errors
    /// [`CryptoError::File`].
    pub fn current(&self) -> Result<Option<String>, CryptoError> {
        let path = self.dir.join(CURRENT);
        if !path.exists() {
            return Ok(None);
        }
        let name = fs::read_to_string(&path).map_err(failed("read", &path))?;
        Ok(Some(name.trim().to_owned()))
    }

    /// Makes this the key that signs. What earlier keys signed stays verifiable: every signature carries its certificate.
    /// Gives the name of the key that signed before.
    ///
    /// # Errors
    /// As [`KeyRing::key`]; those of [`Signer::check`] when its certificate would not be accepted at `now`.
    pub fn rotate(
        &self,
        name: &str,
        password: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, CryptoError> {
        self.open(name, password)?.check(now)?;
        let before = self.current()?;
        write_whole(&self.dir.join(CURRENT), format!("{name}\n").as_bytes(), 0o644)?;
        Ok(before)
    }

    /// The key that signs; `None` when none was chosen.
    ///
    /// # Errors
    /// As [`KeyRing::key`].
    pub fn signer(&self, password: Option<&str>) -> Result<Option<Signer>, CryptoError> {
        self.current()?.map(|name| self.open(&name, password)).transpose()
    }

    /// The chain of a key; empty while there is none.
    ///
    /// # Errors
    /// [`CryptoError::File`], [`CryptoError::BadCertificate`].
    pub fn chain(&self, name: &str) -> Result<Vec<Certificate>, CryptoError> {
        let path = self.path(name, "pem");
        if !path.exists() {
            return Ok(Vec::new());
        }
        Certificate::load_all(&path)
    }

    fn open(&self, name: &str, password: Option<&str>) -> Result<Signer, CryptoError> {
        Signer::new(self.key(name, password)?, self.chain(name)?)
    }

    fn read_key(&self, name: &str) -> Result<Zeroizing<String>, CryptoError> {
        check_name(name)?;
        let path = self.path(name, "key");
        if !path.exists() {
            let names = self.names()?;
            let there = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
            return Err(CryptoError::BadKey { what: format!("there is no key {name}; kept are: {there}") });
        }
        Ok(Zeroizing::new(fs::read_to_string(&path).map_err(failed("read", &path))?))
    }

    fn names(&self) -> Result<Vec<String>, CryptoError> {
        let mut names = Vec::new();
        if !self.dir.exists() {
            return Ok(names);
        }
        for entry in fs::read_dir(&self.dir).map_err(failed("read", &self.dir))? {
            let path = entry.map_err(failed("read", &self.dir))?.path();
            if path.extension().is_some_and(|ext| ext == "key") {
                names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }

    fn write_chain(&self, name: &str, chain: &[Certificate]) -> Result<(), CryptoError> {
        let pem = chain.iter().map(Certificate::to_pem).collect::<Result<String, _>>()?;
        write_whole(&self.path(name, "pem"), pem.as_bytes(), 0o644)
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{name}.{extension}"))
    }
}

/// Names are parts of file names everywhere: small Latin letters, digits, `-`.
fn check_name(name: &str) -> Result<(), CryptoError> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if !name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.bytes().all(fits) {
        return Ok(());
    }
    Err(CryptoError::BadKey { what: "names of keys are small Latin letters, digits and -: sign-2026".into() })
}

/// A key with its chain out of a PKCS#12 file (RFC 7292).
///
/// # Errors
/// [`CryptoError::Password`] when the password is wrong; [`CryptoError::BadKey`] when the file is not one, holds no key
/// with its certificate, or is encrypted by algorithms we do not have.
pub fn from_pkcs12(bytes: &[u8], password: &str) -> Result<(PrivateKey, Vec<Certificate>), CryptoError> {
    use p12_keystore::error::Error as P12;
    let bad = |what: String| CryptoError::BadKey { what };
    let store = p12_keystore::KeyStore::from_pkcs12(bytes, password).map_err(|error| match error {
        P12::MacError(_) | P12::UnpadError => CryptoError::Password { what: "the PKCS#12 file has another" },
        other => bad(format!("the PKCS#12 file: {other}")),
    })?;
    let (_, found) =
        store.private_key_chain().ok_or_else(|| bad("the PKCS#12 file holds no key with its certificate".into()))?;
    let key = PrivateKey::from_pkcs8(found.key())?;
    let chain = found
        .chain()
        .iter()
        .map(|certificate| Certificate::from_der(certificate.as_der()))
        .collect::<Result<Vec<_>, _>>()?;
    belongs(&key, &chain)?;
    Ok((key, chain))
}

/// Days before its end at which a certificate's renewal is asked for, the first the mildest.
pub const RENEWAL_DAYS: [i64; 3] = [60, 30, 10];

/// How many of [`RENEWAL_DAYS`] have been passed: 0 is well, 3 is urgent or over.
pub fn renewal_urgency(certificate: &Certificate, now: DateTime<Utc>) -> usize {
    let left = certificate.not_after().signed_duration_since(now);
    RENEWAL_DAYS.iter().filter(|days| left <= chrono::TimeDelta::days(**days)).count()
}

/// What this certificate is for, by its own word.
pub fn purposes(certificate: &Certificate) -> Vec<Purpose> {
    let all = [Purpose::SignData, Purpose::ReceiveData, Purpose::StampTime, Purpose::CallUs];
    all.into_iter().filter(|purpose| certificate.check_use(*purpose).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chrono::TimeDelta;

    use super::*;
    use crate::crypto::Suite;
    use crate::crypto::issue::tests::{authority_of, fresh, noon};
    use crate::crypto::issue::{self, Issuer, Request, common_name};

    /// A key of this suite with a chain under a new authority.
    fn issued(suite: Suite, key_usage: u8) -> (PrivateKey, Vec<Certificate>) {
        let (root, root_key) = authority_of(suite, "root");
        let key = fresh(suite);
        let request = Request {
            subject: common_name("ours"),
            not_before: noon() - TimeDelta::days(1),
            not_after: noon() + TimeDelta::days(90),
            authority: false,
            key_usage,
            purposes: Vec::new(),
        };
        let issuer = Issuer { certificate: Some(&root), key: &root_key };
        let certificate = issue::issue(&request, &key, issuer).unwrap();
        (key, vec![certificate])
    }

    #[test]
    fn one_key_follows_another_without_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::below(dir.path());
        assert!(ring.list().unwrap().is_empty() && ring.signer(None).unwrap().is_none());
        let (first, chain) = issued(Suite::EcdsaP256Sha256, issue::SIGNS_DATA);
        let path = ring.keep("sign-2026", &first, &chain, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ring.rotate("sign-2026", None, noon()).unwrap(), None);

        // The next one is made, certified and only then chosen.
        let (second, chain) = issued(Suite::Sm2Sm3, issue::SIGNS_DATA);
        ring.keep("sign-2027", &second, &[], Some("secret")).unwrap();
        assert_eq!(ring.rotate("sign-2027", Some("secret"), noon()).unwrap_err().code(), "HL0710", "no certificate");
        ring.attach("sign-2027", &chain, Some("secret")).unwrap();
        assert_eq!(ring.signer(None).unwrap().unwrap().suite(), Suite::EcdsaP256Sha256);
        assert_eq!(ring.rotate("sign-2027", Some("secret"), noon()).unwrap(), Some("sign-2026".to_owned()));
        assert_eq!(ring.signer(Some("secret")).unwrap().unwrap().suite(), Suite::Sm2Sm3);
        assert_eq!(ring.signer(None).unwrap_err().code(), "HL0717");
        let listed: Vec<_> =
            ring.list().unwrap().into_iter().map(|kept| (kept.name, kept.current, kept.encrypted)).collect();
        assert_eq!(listed, [("sign-2026".to_owned(), false, false), ("sign-2027".to_owned(), true, true)]);
    }

    #[test]
    fn what_would_not_be_accepted_does_not_become_the_signing_key() {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::below(dir.path());
        let (key, chain) = issued(Suite::Sm2Sm3, issue::RECEIVES_DATA);
        ring.keep("opens", &key, &chain, None).unwrap();
        assert_eq!(ring.rotate("opens", None, noon()).unwrap_err().code(), "HL0707");
        let (key, chain) = issued(Suite::Sm2Sm3, issue::SIGNS_DATA);
        ring.keep("signs", &key, &chain, None).unwrap();
        assert_eq!(ring.rotate("signs", None, noon() + TimeDelta::days(91)).unwrap_err().code(), "HL0704");
        assert_eq!(ring.current().unwrap(), None);
        assert_eq!(ring.keep("signs", &key, &chain, None).unwrap_err().code(), "HL0710", "a key is never replaced");
        for name in ["", "../x", "签名", "A", "-x"] {
            assert_eq!(ring.keep(name, &key, &chain, None).unwrap_err().code(), "HL0710", "{name}");
        }
        assert!(ring.key("absent", None).unwrap_err().to_string().contains("kept are: opens, signs"));
    }

    #[test]
    fn a_key_of_one_kind_does_not_fit_the_certificate_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::below(dir.path());
        let (_, rsa_chain) = issued(Suite::RsaSha256, issue::SIGNS_DATA);
        let (sm2, _) = issued(Suite::Sm2Sm3, issue::SIGNS_DATA);
        let refused = ring.keep("mixed", &sm2, &rsa_chain, None).unwrap_err();
        assert_eq!(
            (refused.code(), refused.to_string()),
            ("HL0716", "the key is sm2, its certificate is for rsa".into())
        );
        let (other, chain) = (fresh(Suite::Sm2Sm3), issued(Suite::Sm2Sm3, issue::SIGNS_DATA).1);
        assert_eq!(ring.keep("strange", &other, &chain, None).unwrap_err().code(), "HL0710");
    }

    #[test]
    fn renewal_becomes_urgent_at_sixty_thirty_and_ten_days() {
        let (_, chain) = issued(Suite::Sm2Sm3, issue::SIGNS_DATA);
        let left = |days: i64| renewal_urgency(&chain[0], noon() + TimeDelta::days(90 - days));
        assert_eq!([90, 61, 60, 31, 30, 11, 10, 0, -1].map(left), [0, 0, 1, 1, 2, 2, 3, 3, 3]);
    }
}
