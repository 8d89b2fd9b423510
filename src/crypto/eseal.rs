//! Electronic seals (电子印章) as files: GB/T 38540-2020 and, before it, GM/T 0031-2014.
//!
//! Decides: what is a seal of either form, and whether its maker signed it. Must not know: files, registers. Guarantees: what
//! is verified is the bytes as received. Whether a seal stands (frozen, given up) is not in it: the registry knows.

use chrono::{DateTime, Utc};
use der::Tag;
use der::asn1::ObjectIdentifier;

use super::asn1::{Element, Elements, NotDer, sequence, single};
use super::{Certificate, Digest, DigestAlgorithm, Suite};

/// SM2 with SM3 (GM/T 0006), the one algorithm of seals.
pub(super) const SM2_WITH_SM3: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.501");

/// Which standard a seal follows; they differ in the kind of times, in what names the certificates, and in what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealForm {
    /// GM/T 0031-2014: the signature is over information, certificate and algorithm.
    Gmt0031,
    /// GB/T 38540-2020: the signature is over the information.
    Gbt38540,
}

impl SealForm {
    /// The standard's number.
    pub const fn standard(self) -> &'static str {
        match self {
            Self::Gmt0031 => "GM/T 0031-2014",
            Self::Gbt38540 => "GB/T 38540-2020",
        }
    }
}

/// Why bytes are no seal to be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// Neither form.
    #[error("this is no seal of GB/T 38540 or GM/T 0031")]
    Structure,
    /// A certificate in it does not read.
    #[error("a certificate in the seal does not read")]
    Certificate,
    /// Signed by something else than SM2 with SM3.
    #[error("the seal is not signed by SM2 with SM3")]
    Algorithm,
    /// The signature is not its maker's.
    #[error("the signature of the seal's maker does not verify")]
    Signature,
}

impl From<NotDer> for SealFault {
    fn from(_: NotDer) -> Self {
        Self::Structure
    }
}

/// Whose certificates may sign with a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bearers {
    /// The certificates themselves.
    Certificates(Vec<Certificate>),
    /// Digests of them, as the seal has them.
    Digests(Vec<Vec<u8>>),
}

/// What a seal file says, signed by its maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectronicSeal {
    /// Standard.
    pub form: SealForm,
    /// Version in its header: 1 to 3 of GM/T 0031, 4 and later of GB/T 38540.
    pub version: u8,
    /// 厂商标识.
    pub vendor: String,
    /// 电子印章标识 (esID).
    pub id: String,
    /// 印章类型: 1 法定名称章, 2 财务, 6 业务专用章 …
    pub kind: u8,
    /// 印章名称.
    pub name: String,
    /// 签章者证书列表.
    pub bearers: Bearers,
    /// 制作日期.
    pub made: DateTime<Utc>,
    /// 有效起始日期.
    pub from: DateTime<Utc>,
    /// 有效终止日期.
    pub until: DateTime<Utc>,
    /// 图片类型.
    pub picture: String,
    /// SM3 of the picture.
    pub picture_digest: Digest,
    /// 制章人证书.
    pub maker: Certificate,
}

impl ElectronicSeal {
    /// Reads a seal and verifies the signature of its maker, whose certificate must still be believed by whoever asks.
    ///
    /// # Errors
    /// [`SealFault`].
    pub fn read(file: &[u8]) -> Result<Self, SealFault> {
        let mut seal = single(file, Tag::Sequence)?.inside()?;
        let information = seal.expect(Tag::Sequence)?;
        let version = version(information)?;
        let form = if version < 4 { SealForm::Gmt0031 } else { SealForm::Gbt38540 };
        let (maker, algorithm, signature) = match form {
            SealForm::Gmt0031 => {
                let mut signed = seal.expect(Tag::Sequence)?.inside()?;
                let by = by(&mut signed)?;
                signed.end()?;
                seal.end()?;
                by
            }
            SealForm::Gbt38540 => by(&mut seal)?, // a time stamp may follow
        };
        if algorithm.oid()? != SM2_WITH_SM3 {
            return Err(SealFault::Algorithm);
        }
        let message = match form {
            SealForm::Gmt0031 => sequence(&[information.raw, maker.raw, algorithm.raw]),
            SealForm::Gbt38540 => information.raw.to_vec(),
        };
        let maker = Certificate::from_der(maker.value).map_err(|_| SealFault::Certificate)?;
        if !maker.verify(Suite::Sm2Sm3, &message, signature) {
            return Err(SealFault::Signature);
        }
        Self::of(information, (form, version), maker)
    }

    fn of(information: Element<'_>, (form, version): (SealForm, u8), maker: Certificate) -> Result<Self, SealFault> {
        let mut parts = information.inside()?;
        let mut header = parts.expect(Tag::Sequence)?.inside()?;
        header.any()?;
        header.any()?;
        let vendor = text(header.any()?)?;
        let id = text(parts.expect(Tag::Ia5String)?)?;
        let mut property = parts.expect(Tag::Sequence)?.inside()?;
        let kind = property.any()?.small()?;
        let name = text(property.any()?)?;
        let listed = match form {
            SealForm::Gmt0031 => 1,
            SealForm::Gbt38540 => property.any()?.small()?,
        };
        let bearers = bearers(listed, property.expect(Tag::Sequence)?)?;
        let mut time = || property.any().and_then(|element| element.time());
        let (made, from, until) = (time()?, time()?, time()?);
        let mut picture = parts.expect(Tag::Sequence)?.inside()?;
        let picture_kind = text(picture.any()?)?;
        let pixels = picture.expect(Tag::OctetString)?.value;
        let picture_digest = DigestAlgorithm::Sm3.digest(&[pixels]);
        Ok(Self {
            form,
            version,
            vendor,
            id,
            kind,
            name,
            bearers,
            made,
            from,
            until,
            picture: picture_kind,
            picture_digest,
            maker,
        })
    }
}

/// The version in the header, whose mark is `ES`.
fn version(information: Element<'_>) -> Result<u8, SealFault> {
    let mut header = information.inside()?.expect(Tag::Sequence)?.inside()?;
    if header.any()?.value != b"ES" {
        return Err(SealFault::Structure);
    }
    Ok(header.any()?.small()?)
}

/// The maker's certificate, the algorithm, the signature.
fn by<'a>(parts: &mut Elements<'a>) -> Result<(Element<'a>, Element<'a>, &'a [u8]), SealFault> {
    let maker = parts.expect(Tag::OctetString)?;
    let algorithm = parts.expect(Tag::ObjectIdentifier)?;
    match parts.expect(Tag::BitString)?.value {
        [0, signature @ ..] => Ok((maker, algorithm, signature)),
        _ => Err(SealFault::Structure),
    }
}

fn bearers(listed: u8, list: Element<'_>) -> Result<Bearers, SealFault> {
    let mut elements = list.inside()?;
    let (mut certificates, mut digests) = (Vec::new(), Vec::new());
    while !elements.is_empty() {
        match listed {
            1 => {
                let certificate = elements.expect(Tag::OctetString)?.value;
                certificates.push(Certificate::from_der(certificate).map_err(|_| SealFault::Certificate)?);
            }
            2 => {
                let mut digest = elements.expect(Tag::Sequence)?.inside()?;
                digest.any()?; // what kind of digest
                digests.push(digest.expect(Tag::OctetString)?.value.to_vec());
            }
            _ => return Err(SealFault::Structure),
        }
    }
    Ok(if listed == 1 { Bearers::Certificates(certificates) } else { Bearers::Digests(digests) })
}

fn text(element: Element<'_>) -> Result<String, SealFault> {
    match element.tag {
        Tag::Utf8String | Tag::Ia5String | Tag::PrintableString => {
            std::str::from_utf8(element.value).map(str::to_owned).map_err(|_| SealFault::Structure)
        }
        _ => Err(SealFault::Structure),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::issue::tests::noon;
    use super::super::seal_maker::{SealMaker, SealText};
    use super::*;

    /// A seal of ours, whose bearers are named by digest where the standard has that.
    pub(crate) fn made(form: SealForm) -> Vec<u8> {
        let times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z"];
        let times = times.map(|time| time.parse().unwrap());
        let maker = SealMaker::of_words("HUILIU", "a test's", (times[0], times[2])).unwrap();
        let bearer = maker.bearer("用章单位", &[7]).unwrap();
        let (id, name, picture) = ("37020000000001", "青岛示例单位", b"pixels");
        maker.make(form, &SealText { id, kind: 1, name, bearer: &bearer, times, picture }).unwrap()
    }

    #[test]
    fn a_seal_says_what_was_put_into_it() {
        for form in [SealForm::Gmt0031, SealForm::Gbt38540] {
            let seal = ElectronicSeal::read(&made(form)).unwrap();
            assert_eq!((seal.form, seal.id.as_str(), seal.kind), (form, "37020000000001", 1));
            assert_eq!((seal.name.as_str(), seal.picture.as_str()), ("青岛示例单位", "PNG"));
            assert!(seal.from < noon() && noon() < seal.until);
            assert_eq!(matches!(seal.bearers, Bearers::Digests(_)), form == SealForm::Gbt38540);
        }
    }

    /// Whatever bit of a seal is another, it is refused.
    #[test]
    fn a_bit_that_is_another_is_refused() {
        let file = made(SealForm::Gbt38540);
        let genuine = ElectronicSeal::read(&file).unwrap();
        for at in (0..file.len()).step_by(7) {
            let mut altered = file.clone();
            altered[at] ^= 1;
            // The maker's certificate is not under the maker's signature here, but under its issuer's.
            let other =
                ElectronicSeal::read(&altered).map(|read| ElectronicSeal { maker: genuine.maker.clone(), ..read });
            assert!(other.is_err() || other.as_ref() == Ok(&genuine), "byte {at}");
        }
    }

    fn shared(name: &str) -> Option<Vec<u8>> {
        crate::testing::shared(&format!("eseal/{name}")).map(|path| std::fs::read(path).expect("a file that is there"))
    }

    #[test]
    fn real_seals_of_both_standards_read_and_verify() {
        let files = ["UserV1.esl", "UserV4.esl", "UserV5.esl", "zibo_zhoucun_Sign_1_Seal.esl"];
        let seals: Vec<ElectronicSeal> = files
            .iter()
            .filter_map(|name| shared(name))
            .map(|file| ElectronicSeal::read(&file).expect("a seal"))
            .collect();
        let [first, fourth, fifth, government] = seals.as_slice() else { return }; // no shared data here
        assert_eq!([first, fourth, fifth].map(|seal| seal.version), [1, 4, 5]);
        assert_eq!([first, fourth].map(|seal| seal.form), [SealForm::Gmt0031, SealForm::Gbt38540]);
        assert_eq!((government.id.as_str(), government.kind), ("37030000001721", 6));
        assert_eq!(government.name, "淄博市周村区自然资源局(不动产登记专用章)");
        assert_eq!(government.vendor, "SHANDONG.TONGZHIWEIYE");
        assert_eq!(government.until.to_rfc3339(), "2021-05-25T16:00:00+00:00");
        let Bearers::Certificates(bearers) = &government.bearers else { panic!("certificates") };
        assert_eq!(bearers.len(), 1);
    }

    /// Whatever bit of a seal is another, it is refused or was never signed: in the maker's certificate behind its key, say.
    #[test]
    fn a_seal_that_was_altered_is_refused() {
        let Some(file) = shared("zibo_zhoucun_Sign_1_Seal.esl") else { return };
        let genuine = ElectronicSeal::read(&file).expect("a seal");
        for at in (0..file.len()).step_by(61).chain(40..140) {
            let mut altered = file.clone();
            altered[at] ^= 1;
            if let Ok(read) = ElectronicSeal::read(&altered) {
                let unsigned = ElectronicSeal { maker: genuine.maker.clone(), ..read };
                assert_eq!(unsigned, genuine, "byte {at}");
            }
        }
        assert_eq!(ElectronicSeal::read(&file[..file.len() - 1]), Err(SealFault::Structure));
        assert_eq!(ElectronicSeal::read(b"0\x00"), Err(SealFault::Structure));
    }
}
