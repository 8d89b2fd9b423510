//! Signatures and certificates: who signed these bytes, when, and does their certificate lead to a root we trust.
//!
//! Decides: which algorithms, certificates and signatures are acceptable. Must not know: batches, feeds, databases.
//! Guarantees: what is verified is the bytes as received, never a re-encoding; every refusal has its own code; signing
//! the same bytes at the same time with the same key gives the same signature (RFC 6979). Only `signer`, `key`, `keyring`,
//! `token`, `at_rest`, `dev_ca`, `dev_set` and `files` touch files, and only to load or make keys and certificates.

mod asn1;
pub mod at_rest;
mod certificate;
mod cms;
mod crl;
pub mod dev_ca;
pub mod dev_set;
mod envelope;
mod error;
mod eseal;
mod ess;
mod files;
mod issue;
mod key;
mod key_transport;
mod keyring;
mod pinned;
mod purpose;
mod request;
mod rules;
mod seal_maker;
mod signer;
mod sm2;
mod sm2_opener;
mod suite;
mod timestamp;
mod token;
mod trust;
mod verify;

pub use certificate::Certificate;
pub use cms::{SignedAttributes, SignedData, SignerId, SignerInfo};
pub use crl::Crl;
pub use envelope::{Opener, Recipient};
pub use error::CryptoError;
pub use eseal::{Bearers, ElectronicSeal, SealFault, SealForm};
pub use files::secret;
pub use key::PrivateKey;
pub use keyring::{Kept, KeyRing, RENEWAL_DAYS, from_pkcs12, purposes, renewal_urgency};
pub use pinned::{Signers, verify_pinned};
pub use purpose::Purpose;
pub use request::{distinguished_name, new_request};
pub use rules::{When, check_rules};
pub use seal_maker::{SealMaker, SealText};
pub use signer::Signer;
pub use sm2_opener::Sm2Opener;
pub use suite::{Digest, DigestAlgorithm, Suite, digest_from_hex, hex};
pub use timestamp::{
    Demands, Question, StampError, StampedBy, policy, signature_value, verify_kept_stamp, verify_stamp,
};
pub use trust::{Believed, Trust};
pub use verify::{Moment, SignedBy, lists_for, verify_cades, verify_carrying, verify_detached};

#[cfg(test)]
pub(crate) mod tests {
    //! What tests of other modules need: a CA with a signer, a moment.

    pub(crate) use super::eseal::tests::made as made_seal;
    pub(crate) use super::issue::tests::noon;
    use super::issue::tests::{authority_of, fresh, leaf, pem};
    pub(crate) use super::sm2_opener::tests::{KEY as SM2_KEY, sealed as sm2_sealed};
    use super::{Certificate, Opener, PrivateKey, Recipient, Signer, Suite, Trust, issue};

    /// A signer; somebody to encrypt to, with their key; and somebody else's key.
    pub(crate) fn encryption(suite: Suite) -> (CaAndSigner, Recipient, Opener, Opener) {
        let (root, root_key) = authority_of(suite, "encryption root");
        let owner = || {
            let key = fresh(suite);
            let request = issue::Request {
                subject: issue::common_name("住建"),
                not_before: noon(),
                not_after: noon(),
                authority: false,
                key_usage: issue::RECEIVES_DATA,
                purposes: Vec::new(),
            };
            let issuer = issue::Issuer { certificate: Some(&root), key: &root_key };
            let certificate = issue::issue(&request, &key, issuer).unwrap();
            (Recipient::new(certificate.clone()).unwrap(), Opener::new(key, certificate).unwrap())
        };
        let ((recipient, opener), (_, other)) = (owner(), owner());
        (CaAndSigner::of(suite), recipient, opener, other)
    }

    /// The authority's revocation list of this moment, DER, which revokes nothing.
    pub(crate) fn revocation_list(ca: &CaAndSigner, at: chrono::DateTime<chrono::Utc>) -> Vec<u8> {
        issue::revocation_list(&ca.root, &ca.key, (at, at + chrono::TimeDelta::hours(1)), &[]).unwrap()
    }

    /// A root, trusted, and a signer under it.
    pub(crate) struct CaAndSigner {
        root: Certificate,
        key: PrivateKey,
        pub(crate) trust: Trust,
        pub(crate) signer: Signer,
    }

    impl CaAndSigner {
        pub(crate) fn new() -> Self {
            Self::of(Suite::EcdsaP256Sha256)
        }

        pub(crate) fn of(suite: Suite) -> Self {
            let (root, key) = authority_of(suite, "root");
            let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
            let signer = leaf(&key, &root, |_| {}).signer;
            Self { root, key, trust, signer }
        }
    }
}
