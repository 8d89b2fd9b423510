//! An authority of our own that can do everything wrong; real ones stamp in `tests/seals`.

use super::*;
use crate::crypto::issue::tests::{authority_of, fresh, noon, pem};
use crate::crypto::issue::{self, Issuer, Request, common_name};
use crate::crypto::{Certificate, PrivateKey, Suite, purpose};

const POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.6.9");

/// A time-stamping authority under a root.
struct Authority {
    suite: Suite,
    trust: Trust,
    certificate: Certificate,
    key: PrivateKey,
}

impl Authority {
    fn new(suite: Suite, change: impl FnOnce(&mut Request)) -> Self {
        let (root, root_key) = authority_of(suite, "root");
        let key = fresh(suite);
        let mut request = Request {
            subject: common_name("TSA"),
            not_before: noon() - TimeDelta::days(30),
            not_after: noon() + TimeDelta::days(30),
            authority: false,
            key_usage: issue::SIGNS_DATA,
            purposes: vec![purpose::STAMPING],
        };
        change(&mut request);
        let certificate = issue::issue(&request, &key, Issuer { certificate: Some(&root), key: &root_key }).unwrap();
        Self { suite, trust: Trust::from_pem(pem(&root).as_bytes()).unwrap(), certificate, key }
    }

    fn info(&self, signed: &[u8], nonce: &[u8], at: &str) -> Vec<u8> {
        let algorithm = self.suite.digest();
        let imprint = asn1::element(octet::OCTET_STRING, &[&algorithm.digest(&[signed])]);
        asn1::sequence(&[
            &asn1::unsigned(&[1]),
            &asn1::oid(POLICY),
            &asn1::sequence(&[&asn1::sequence(&[&asn1::oid(algorithm.oid())]), &imprint]),
            &asn1::unsigned(&[77]),
            &asn1::element(octet::GENERALIZED_TIME, &[at.as_bytes()]),
            nonce,
        ])
    }

    /// A response with a token over this TSTInfo, whose signer says to have this certificate.
    fn granted(&self, info: &[u8], said: &Certificate) -> Vec<u8> {
        let digest = |bytes: &[u8]| self.suite.digest().digest(&[bytes]);
        let one = |oid, value: Vec<u8>| asn1::sequence(&[&asn1::oid(oid), &asn1::element(octet::SET, &[&value])]);
        let digest_id = asn1::sequence(&[&asn1::oid(self.suite.digest().oid())]);
        let hash = asn1::element(octet::OCTET_STRING, &[&digest(said.der())]);
        let id =
            if self.suite == Suite::Sm2Sm3 { asn1::sequence(&[&digest_id, &hash]) } else { asn1::sequence(&[&hash]) };
        let attributes = asn1::set_of(
            octet::SET,
            vec![
                one(ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3"), asn1::oid(TST_INFO)),
                one(
                    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4"),
                    asn1::element(octet::OCTET_STRING, &[&digest(info)]),
                ),
                one(ess::SECOND, asn1::sequence(&[&asn1::sequence(&[&id])])),
            ],
        );
        let signer = asn1::sequence(&[
            &asn1::unsigned(&[1]),
            &self.certificate.issuer_and_serial(),
            &digest_id,
            &asn1::retagged(octet::CONTEXT_0, &attributes),
            &self.suite.signature_algorithm(),
            &asn1::element(octet::OCTET_STRING, &[&self.key.sign(&attributes).unwrap()]),
        ]);
        let content = asn1::element(octet::CONTEXT_0, &[&asn1::element(octet::OCTET_STRING, &[info])]);
        let signed = asn1::sequence(&[
            &asn1::unsigned(&[3]),
            &asn1::element(octet::SET, &[&digest_id]),
            &asn1::sequence(&[&asn1::oid(TST_INFO), &content]),
            &asn1::element(octet::CONTEXT_0, &[self.certificate.der()]),
            &asn1::element(octet::SET, &[&signer]),
        ]);
        let kind = asn1::oid(ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2"));
        let token = asn1::sequence(&[&kind, &asn1::element(octet::CONTEXT_0, &[&signed])]);
        asn1::sequence(&[&asn1::sequence(&[&asn1::unsigned(&[0])]), &token])
    }

    fn stamp(&self, signed: &[u8], nonce: &[u8], at: &str) -> Vec<u8> {
        self.granted(&self.info(signed, nonce, at), &self.certificate)
    }
}

fn question() -> Question {
    Question::about(b"signature", DigestAlgorithm::Sha256, Some(POLICY)).unwrap()
}

#[test]
fn a_token_of_every_suite_proves_its_time() {
    for suite in Suite::ALL {
        let tsa = Authority::new(suite, |_| {});
        let question = question();
        let demands = Demands { question: Some(&question), policy: Some(POLICY) };
        for at in ["20261121120000Z", "20261121115959.125Z"] {
            let response = tsa.stamp(b"signature", &question.nonce, at);
            let by = verify_stamp(&response, b"signature", demands, &tsa.trust, noon()).unwrap();
            assert_eq!((by.subject.as_str(), by.root.as_str(), by.suite), ("CN=TSA", "CN=root", suite.name()));
            assert_eq!((by.serial.as_str(), by.policy), ("4d", POLICY.to_string()));
            assert!(noon() - by.at < TimeDelta::seconds(1), "{}", by.at);
        }
    }
}

#[test]
fn each_flaw_of_a_token_has_its_own_code() {
    let code = |tsa: &Authority, response: &[u8], question: Option<&Question>, policy| {
        let demands = Demands { question, policy };
        verify_stamp(response, b"signature", demands, &tsa.trust, noon()).map(|by| by.serial).map_err(|e| e.code())
    };
    let ours = question();
    let (asked, any) = (Some(&ours), None);
    let tsa = Authority::new(Suite::EcdsaP256Sha256, |_| {});
    let at = "20261121120000Z";
    let good = tsa.stamp(b"signature", &ours.nonce, at);
    assert_eq!(code(&tsa, &good, asked, any), Ok("4d".into()));
    assert_eq!(code(&tsa, &good, None, any), Ok("4d".into()), "kept, the question forgotten");
    assert_eq!(code(&tsa, &good, Some(&question()), any), Err("HL0774"), "another question's nonce");
    assert_eq!(code(&tsa, &tsa.stamp(b"signature", &[], at), asked, any), Err("HL0774"), "no nonce");
    assert_eq!(code(&tsa, &tsa.stamp(b"signaturE", &ours.nonce, at), asked, any), Err("HL0775"));
    assert_eq!(code(&tsa, &good, asked, policy("1.2.3")), Err("HL0776"));
    for (at, asked, expect) in [
        ("20261121120600Z", asked, Err("HL0777")),
        ("20261121120600Z", None, Err("HL0777")),
        ("20261121115400Z", asked, Err("HL0777")),
        ("20261121115400Z", None, Ok("4d".to_owned())),
        ("20261121120400Z", asked, Ok("4d".to_owned())),
        ("202611211204Z", asked, Err("HL0772")),
    ] {
        assert_eq!(code(&tsa, &tsa.stamp(b"signature", &ours.nonce, at), asked, any), expect, "{at}");
    }
    // Its certificate.
    let info = tsa.info(b"signature", &ours.nonce, at);
    let twin = Authority::new(Suite::EcdsaP256Sha256, |_| {});
    assert_eq!(code(&tsa, &tsa.granted(&info, &twin.certificate), asked, any), Err("HL0703"), "signed for another");
    assert_eq!(code(&twin, &good, asked, any), Err("HL0706"), "another root");
    let with = |change: &dyn Fn(&mut Request)| {
        let tsa = Authority::new(Suite::EcdsaP256Sha256, change);
        let response = tsa.stamp(b"signature", &ours.nonce, at);
        code(&tsa, &response, asked, any)
    };
    let mail = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4");
    assert_eq!(with(&|request| request.purposes = vec![]), Err("HL0707"), "no extended key usage");
    assert_eq!(with(&|request| request.purposes = vec![mail]), Err("HL0707"), "for mail");
    assert_eq!(with(&|request| request.purposes = vec![purpose::STAMPING, mail]), Err("HL0707"), "for mail as well");
    assert_eq!(with(&|request| request.not_after = noon() - TimeDelta::seconds(1)), Err("HL0704"));
    assert_eq!(with(&|request| request.not_before = noon() + TimeDelta::seconds(1)), Err("HL0705"));
}

#[test]
fn what_is_no_token_is_told_apart_from_a_refusal() {
    let tsa = Authority::new(Suite::EcdsaP256Sha256, |_| {});
    let told = |response: &[u8]| {
        let found = verify_stamp(response, b"signature", Demands::default(), &tsa.trust, noon()).unwrap_err();
        format!("{} {found}", found.code())
    };
    let unreadable = "HL0772 the answer is not a time stamp: it is not a time-stamp response in DER";
    for response in [&b"<html><body>502 Bad Gateway</body></html>"[..], b"", b"\x30\x80", &tsa.certificate.der()[..40]]
    {
        assert_eq!(told(response), unreadable);
    }
    let status = |parts: &[&[u8]]| asn1::sequence(&[&asn1::sequence(parts)]);
    assert!(told(&status(&[&asn1::unsigned(&[0])])).contains("grants a token and holds none"));
    let words = asn1::sequence(&[&asn1::element(octet::UTF8_STRING, &["今天不行\u{7}".as_bytes()])]);
    let failure = asn1::element(octet::BIT_STRING, &[&[0, 0x80, 0x01]]);
    let refused = told(&status(&[&asn1::unsigned(&[2]), &words, &failure]));
    assert_eq!(refused, "HL0773 the time-stamping authority refuses, status 2: 今天不行, badAlg, unacceptedPolicy");
    assert!(told(&status(&[&asn1::unsigned(&[3])])).ends_with("status 3: no reason given"));
    // A signature over something else than a time.
    let (_, detached) = {
        let ca = crate::crypto::tests::CaAndSigner::new();
        (ca.trust, ca.signer.sign_detached(b"signature", noon()).unwrap())
    };
    assert!(told(&asn1::sequence(&[&asn1::sequence(&[&asn1::unsigned(&[0])]), &detached])).contains("not about time"));
}

#[test]
fn no_flipped_bit_of_a_token_goes_unnoticed() {
    let tsa = Authority::new(Suite::EcdsaP256Sha256, |_| {});
    let ours = question();
    let good = tsa.stamp(b"signature", &ours.nonce, "20261121120000Z");
    let demands = Demands { question: Some(&ours), policy: Some(POLICY) };
    let expect = verify_stamp(&good, b"signature", demands, &tsa.trust, noon()).unwrap();
    for at in 0..good.len() {
        let mut altered = good.clone();
        altered[at] ^= 1 << (at % 8);
        if let Ok(by) = verify_stamp(&altered, b"signature", demands, &tsa.trust, noon()) {
            // Status 0 and 1 both grant; nothing that is reported may differ.
            assert_eq!(by, expect, "byte {at}");
            assert_eq!(at, 8, "the status is the one byte that may");
        }
    }
}

#[test]
fn what_is_stamped_is_the_value_of_the_signature() {
    for suite in Suite::ALL {
        let ca = crate::crypto::tests::CaAndSigner::of(suite);
        let signature = ca.signer.sign_detached(b"manifest", noon()).unwrap();
        let (value, algorithm) = signature_value(&signature).unwrap();
        assert_eq!(algorithm, suite.digest());
        assert!(signature.windows(value.len()).any(|window| window == value));
    }
}
