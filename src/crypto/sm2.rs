//! SM2 signatures (GB/T 32918.2, GM/T 0009) in the form that rustls-webpki plugs in.
//!
//! Decides: the encodings accepted. Must not know: certificates. Guarantees: the identity is that of GM/T 0009 §10,
//! 1234567812345678, as certificates and signatures of the country's authorities have it; signatures may be DER or raw
//! r‖s, as electronic seals have them.

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use sm2::dsa::signature::Verifier as _;
use sm2::dsa::{Signature, VerifyingKey};

/// The identity under which everybody signs who has agreed on nothing else.
pub(super) const IDENTITY: &str = "1234567812345678";

/// id-ecPublicKey with the curve of SM2.
const KEY: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, // 1.2.840.10045.2.1
    0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D, // 1.2.156.10197.1.301
]);

/// SM2 with SM3, without parameters.
pub(super) static WITH_SM3: &dyn SignatureVerificationAlgorithm =
    &Sm2WithSm3(AlgorithmIdentifier::from_slice(&[0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x83, 0x75]));

/// SM2 with SM3, with parameters NULL, as some authorities write.
pub(super) static WITH_SM3_AND_NULL: &dyn SignatureVerificationAlgorithm =
    &Sm2WithSm3(AlgorithmIdentifier::from_slice(&[
        0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x83, 0x75, 0x05, 0x00,
    ]));

/// By the AlgorithmIdentifier under which it goes in certificates.
#[derive(Debug)]
struct Sm2WithSm3(AlgorithmIdentifier);

impl SignatureVerificationAlgorithm for Sm2WithSm3 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(IDENTITY, key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).or_else(|_| Signature::from_slice(signature));
        key.verify(message, &signature.map_err(|_| InvalidSignature)?).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        KEY
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use crate::crypto::Suite;
    use crate::crypto::asn1;

    fn bytes(hex: &str) -> Vec<u8> {
        crate::crypto::digest_from_hex(&hex.to_lowercase()).unwrap().to_vec()
    }

    #[test]
    fn the_example_of_the_standard_verifies_as_der_and_raw() {
        // GM/T 0003.5-2012, A.2.
        let x = "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020";
        let y = "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13";
        let r = bytes("F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3");
        let s = bytes("B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA");
        let key = [vec![4], bytes(x), bytes(y)].concat();
        let raw = [r.clone(), s.clone()].concat();
        let der = asn1::sequence(&[&asn1::unsigned(&r), &asn1::unsigned(&s)]);
        for signature in [&raw, &der] {
            assert!(Suite::Sm2Sm3.verifies(&key, b"message digest", signature));
            assert!(!Suite::Sm2Sm3.verifies(&key, b"message digesT", signature));
        }
    }

    /// The one real signature of a government seal that we have: GB/T 38540-2020 §7, signed with raw r‖s.
    #[test]
    fn a_real_government_seal_verifies() {
        let Some(path) = crate::testing::shared("data/eseal/zibo_zhoucun_Sign_1_SignedValue.dat") else { return };
        let bytes = std::fs::read(path).unwrap();
        let mut outer = asn1::single(&bytes, der::Tag::Sequence).unwrap().inside().unwrap();
        let signed = outer.expect(der::Tag::Sequence).unwrap();
        let certificate = outer.expect(der::Tag::OctetString).unwrap().value;
        let algorithm = outer.expect(der::Tag::ObjectIdentifier).unwrap().oid().unwrap();
        let signature = outer.expect(der::Tag::BitString).unwrap().value.split_first().unwrap().1;
        let certificate = crate::crypto::Certificate::from_der(certificate).unwrap();
        assert_eq!(Suite::of_signer(crate::crypto::suite::SM3, algorithm), Ok(Suite::Sm2Sm3));
        assert_eq!((certificate.suite(), signature.len()), (Ok(Suite::Sm2Sm3), 64));
        assert!(certificate.verify(Suite::Sm2Sm3, signed.raw, signature));
        let mut altered = signed.raw.to_vec();
        *altered.last_mut().unwrap() ^= 1;
        assert!(!certificate.verify(Suite::Sm2Sm3, &altered, signature));
    }
}
