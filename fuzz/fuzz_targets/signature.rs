//! What departments and authorities send as evidence: signature files, certificates, revocation lists.
#![no_main]

use huiliu_fuzz::crypto::{Certificate, Crl, SignedData};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(signed) = SignedData::parse(data) {
        let certificates: Vec<_> = signed.certificates.iter().flat_map(|der| Certificate::from_der(der)).collect();
        for signer in &signed.signers {
            let attributes = signer.attributes.as_ref().map(|attributes| attributes.signed_bytes());
            assert!(attributes.is_none_or(|bytes| bytes.first() == Some(&0x31)), "attributes are signed as a SET");
            for certificate in certificates.iter().filter(|certificate| signer.id.names(certificate)) {
                let _ = (certificate.serial(), certificate.subject());
            }
        }
    }
    if let Ok(certificate) = Certificate::from_der(data) {
        assert_eq!(certificate.der(), data);
        let again = certificate.to_pem().and_then(|pem| Certificate::all_from_pem(pem.as_bytes()));
        assert_eq!(again.ok(), Some(vec![certificate]));
    }
    let _ = Certificate::all_from_pem(data);
    let _ = Crl::all_from(data);
});
