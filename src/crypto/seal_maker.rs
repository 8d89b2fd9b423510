//! Making electronic seals (制章) of both standards: for the demo's city and for tests. Real seals are made by licensed makers.
//!
//! Decides: what goes into a seal file (GB/T 38540-2020 §6, GM/T 0031-2014 §5). Guarantees: the same words, names and times
//! give the same bytes; [`super::ElectronicSeal::read`] and other readers accept them. Must not know: files.

use chrono::{DateTime, Utc};

use super::asn1::{self, element, octet, sequence};
use super::eseal::SM2_WITH_SM3;
use super::issue::{self, ISSUES, Issuer, Request, SIGNS_DATA, common_name};
use super::{Certificate, CryptoError, DigestAlgorithm, PrivateKey, SealForm};

const IA5_STRING: u8 = 0x16;

/// What a seal will say.
#[derive(Debug)]
pub struct SealText<'a> {
    /// 电子印章标识.
    pub id: &'a str,
    /// 印章类型.
    pub kind: u8,
    /// 印章名称.
    pub name: &'a str,
    /// Whose certificate may sign with it: by itself in GM/T 0031, by its digest in GB/T 38540.
    pub bearer: &'a Certificate,
    /// 制作日期, 有效起始日期, 有效终止日期.
    pub times: [DateTime<Utc>; 3],
    /// 印章图像, PNG.
    pub picture: &'a [u8],
}

/// An office that makes seals, and the authority above it: both of keys that everybody knows.
#[derive(Debug)]
pub struct SealMaker {
    vendor: String,
    words: String,
    valid: (DateTime<Utc>, DateTime<Utc>),
    authority: (Certificate, PrivateKey),
    maker: (Certificate, PrivateKey),
}

impl SealMaker {
    /// Of this vendor mark, under these words, its certificates good for that long.
    ///
    /// # Errors
    /// [`CryptoError`].
    pub fn of_words(vendor: &str, words: &str, valid: (DateTime<Utc>, DateTime<Utc>)) -> Result<Self, CryptoError> {
        let key = PrivateKey::of_words(&format!("{words}: authority"))?;
        let root = Request { authority: true, key_usage: ISSUES, ..request("示例电子认证", valid) };
        let root = issue::numbered(&root, &key, (Issuer { certificate: None, key: &key }, &[1]))?;
        let own = PrivateKey::of_words(&format!("{words}: maker"))?;
        let issuer = Issuer { certificate: Some(&root), key: &key };
        let maker = issue::numbered(&request("示例制章单位", valid), &own, (issuer, &[2]))?;
        Ok(Self { vendor: vendor.into(), words: words.into(), valid, authority: (root, key), maker: (maker, own) })
    }

    /// 签章者证书: the certificate of a unit that will sign with a seal; nobody keeps its key.
    ///
    /// # Errors
    /// [`CryptoError`].
    pub fn bearer(&self, unit: &str, serial: &[u8]) -> Result<Certificate, CryptoError> {
        let key = PrivateKey::of_words(&format!("{}: bearer {serial:?}", self.words))?;
        let issuer = Issuer { certificate: Some(&self.authority.0), key: &self.authority.1 };
        issue::numbered(&request(unit, self.valid), &key, (issuer, serial))
    }

    /// The seal, DER.
    ///
    /// # Errors
    /// [`CryptoError`].
    pub fn make(&self, form: SealForm, seal: &SealText<'_>) -> Result<Vec<u8>, CryptoError> {
        let (maker, key) = &self.maker;
        let information = self.information(form, seal);
        let by = [element(octet::OCTET_STRING, &[maker.der()]), asn1::oid(SM2_WITH_SM3)].concat();
        Ok(match form {
            SealForm::Gmt0031 => {
                let signature = asn1::bits(&key.sign(&sequence(&[&information, &by]))?);
                sequence(&[&information, &sequence(&[&by, &signature])])
            }
            SealForm::Gbt38540 => {
                let signature = asn1::bits(&key.sign(&information)?);
                sequence(&[&information, &by, &signature])
            }
        })
    }

    fn information(&self, form: SealForm, seal: &SealText<'_>) -> Vec<u8> {
        let version = if form == SealForm::Gmt0031 { 1 } else { 4 };
        let header = sequence(&[&word("ES"), &asn1::unsigned(&[version]), &word(&self.vendor)]);
        let name = element(octet::UTF8_STRING, &[seal.name.as_bytes()]);
        let bearers = match form {
            SealForm::Gmt0031 => vec![sequence(&[&element(octet::OCTET_STRING, &[seal.bearer.der()])])],
            SealForm::Gbt38540 => {
                let digest = DigestAlgorithm::Sm3.digest(&[seal.bearer.der()]);
                let digest = [element(octet::PRINTABLE_STRING, &[b"SM3"]), element(octet::OCTET_STRING, &[&digest])];
                vec![asn1::unsigned(&[2]), sequence(&[&sequence(&[&digest.concat()])])]
            }
        };
        let times = seal.times.map(|at| match form {
            SealForm::Gmt0031 => element(octet::UTC_TIME, &[at.format("%y%m%d%H%M%SZ").to_string().as_bytes()]),
            SealForm::Gbt38540 => {
                element(octet::GENERALIZED_TIME, &[at.format("%Y%m%d%H%M%SZ").to_string().as_bytes()])
            }
        });
        let property = sequence(&[&asn1::unsigned(&[seal.kind]), &name, &bearers.concat(), &times.concat()]);
        let picture = sequence(&[&word("PNG"), &element(octet::OCTET_STRING, &[seal.picture])]);
        sequence(&[&header, &word(seal.id), &property, &picture])
    }
}

fn word(text: &str) -> Vec<u8> {
    element(IA5_STRING, &[text.as_bytes()])
}

fn request(name: &str, (not_before, not_after): (DateTime<Utc>, DateTime<Utc>)) -> Request {
    let purposes = Vec::new();
    Request { subject: common_name(name), not_before, not_after, authority: false, key_usage: SIGNS_DATA, purposes }
}
