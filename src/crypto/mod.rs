//! Signatures and certificates: who signed these bytes, when, and does their certificate lead to a root we trust.
//!
//! Decides: which algorithms, certificates and signatures are acceptable. Must not know: batches, feeds, databases.
//! Guarantees: what is verified is the bytes as received, never a re-encoding; every refusal has its own code; signing
//! the same bytes at the same time with the same key gives the same signature (RFC 6979). Only `signer`, `dev_ca` and
//! `files` touch files, and only to load or make keys.

mod asn1;
mod certificate;
mod cms;
pub mod dev_ca;
mod error;
mod files;
mod issue;
mod pinned;
mod signer;
mod suite;
mod trust;
mod verify;

pub use certificate::Certificate;
pub use cms::{SignedAttributes, SignedData, SignerId, SignerInfo};
pub use error::CryptoError;
pub use files::secret;
pub use pinned::verify_pinned;
pub use signer::Signer;
pub use suite::{Digest, DigestAlgorithm, Suite, digest_from_hex, hex};
pub use trust::Trust;
pub use verify::{Moment, SignedBy, verify_detached};

#[cfg(test)]
pub(crate) mod tests {
    //! What tests of other modules need: a CA with a signer, a moment.

    pub(crate) use super::issue::tests::noon;
    use super::issue::tests::{authority, leaf, pem};
    use super::{Signer, Trust};

    /// A root, trusted, and a signer under it.
    pub(crate) struct CaAndSigner {
        pub(crate) trust: Trust,
        pub(crate) signer: Signer,
    }

    impl CaAndSigner {
        pub(crate) fn new() -> Self {
            let (root, key) = authority("root");
            let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
            Self { trust, signer: leaf(&key, &root, |_| {}).signer }
        }
    }
}
