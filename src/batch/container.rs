//! A proof as an ASiC-E container with CAdES (ETSI EN 319 162-1 §4.4): a zip that signature viewers and archives know.
//!
//! Decides: what is in it. Must not know: files on disk. Guarantees: every object in it is covered by the container's
//! signature, and the proof inside by the batch's own; nothing is unpacked that is longer than a proof can be.
//!
//! `mimetype` first and stored; `proof.json`, `manifest.json`, `manifest.p7s`, `record.json` (for people: named values),
//! `manifest.tsr` where the batch has a token of time;
//! `META-INF/ASiCManifest.xml` with the digest of each; `META-INF/signature.p7s`, CAdES-B-B over that manifest, by whoever
//! exports it, who need not be the batch's signer.

use std::io::{Cursor, Read, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{BatchError, ProvenRecord, RecordProof};
use crate::crypto::{DigestAlgorithm, Moment, SignedBy, Signer, Trust, verify_cades};

const MIMETYPE: &str = "application/vnd.etsi.asic-e+zip";
const MANIFEST: &str = "META-INF/ASiCManifest.xml";
const SIGNATURE: &str = "META-INF/signature.p7s";
const PROOF: &str = "proof.json";
const STAMP: &str = "manifest.tsr";
/// No object is longer.
const MOST_BYTES: u64 = 64 << 20;
/// A container has seven or eight objects.
const MOST_OBJECTS: usize = 64;

/// Writes a container around a proof that holds.
///
/// # Errors
/// [`BatchError::Crypto`] when `signer` may not sign at `at`; [`BatchError::Container`].
pub fn pack(
    proof: &RecordProof,
    proven: &ProvenRecord,
    signer: &Signer,
    at: DateTime<Utc>,
) -> Result<Vec<u8>, BatchError> {
    let (manifest, signature) = proof.manifest();
    let shown = serde_json::to_vec_pretty(&proven.record.named(&proven.fields)).map_err(|_| bad("the record"))?;
    let mut objects: Vec<(&str, &str, Vec<u8>)> = vec![
        (PROOF, "application/json", proof.to_json()?),
        ("manifest.json", "application/json", manifest.to_vec()),
        ("manifest.p7s", "application/pkcs7-signature", signature.to_vec()),
        ("record.json", "application/json", shown),
    ];
    objects.extend(proof.stamp().map(|stamp| (STAMP, "application/timestamp-reply", stamp.to_vec())));
    let algorithm = signer.suite().digest();
    let listed = listing(algorithm, &objects);
    let signed = signer.sign_cades(listed.as_bytes(), at)?;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut put = |name: &str, method, bytes: &[u8]| {
        let options =
            SimpleFileOptions::default().compression_method(method).last_modified_time(zip::DateTime::default());
        let put = zip.start_file(name, options).map(|()| zip.write_all(bytes));
        put.map_err(|_| bad("it cannot be written"))?.map_err(|_| bad("it cannot be written"))
    };
    put("mimetype", CompressionMethod::Stored, MIMETYPE.as_bytes())?;
    for (name, _, bytes) in &objects {
        put(name, CompressionMethod::Deflated, bytes)?;
    }
    put(MANIFEST, CompressionMethod::Deflated, listed.as_bytes())?;
    put(SIGNATURE, CompressionMethod::Deflated, &signed)?;
    Ok(zip.finish().map_err(|_| bad("it cannot be written"))?.into_inner())
}

/// The ASiCManifest: names, kinds and digests.
fn listing(algorithm: DigestAlgorithm, objects: &[(&str, &str, Vec<u8>)]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n\
         <asic:ASiCManifest xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\n\
         <asic:SigReference URI=\"{SIGNATURE}\" MimeType=\"application/pkcs7-signature\"/>\n"
    );
    for (name, kind, bytes) in objects {
        xml += &format!(
            "<asic:DataObjectReference URI=\"{name}\" MimeType=\"{kind}\">\
             <ds:DigestMethod Algorithm=\"{}\"/><ds:DigestValue>{}</ds:DigestValue></asic:DataObjectReference>\n",
            address(algorithm),
            BASE64_STANDARD.encode(algorithm.digest(&[bytes]))
        );
    }
    xml + "</asic:ASiCManifest>\n"
}

/// How XML names a digest algorithm; SM3, which has no address there, by its object identifier (RFC 3061).
const fn address(algorithm: DigestAlgorithm) -> &'static str {
    match algorithm {
        DigestAlgorithm::Sha256 => "http://www.w3.org/2001/04/xmlenc#sha256",
        DigestAlgorithm::Sm3 => "urn:oid:1.2.156.10197.1.401",
    }
}

/// Whether these bytes begin as a zip does.
pub fn is_container(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Verifies a container: who signed it, and the proof in it, which is not verified yet.
///
/// # Errors
/// [`BatchError::Container`], [`BatchError::Crypto`]; those of [`RecordProof::from_json`].
pub fn open(bytes: &[u8], trust: &Trust, moment: Moment) -> Result<(SignedBy, RecordProof), BatchError> {
    let objects = unpack(bytes)?;
    let object = |name: &str| objects.iter().find(|(own, _)| own == name).map(|(_, bytes)| bytes.as_slice());
    let needed = |name: &str| object(name).ok_or_else(|| bad(&format!("it has no {name}")));
    let (listed, signature) = (needed(MANIFEST)?, needed(SIGNATURE)?);
    let signed = verify_cades(signature, listed, trust, moment)?;
    let references = references(listed)?;
    for (name, algorithm, digest) in &references {
        if algorithm.digest(&[needed(name)?]).as_slice() != digest.as_slice() {
            return Err(bad(&format!("{name} is not the one signed")));
        }
    }
    let listed = |name: &str| references.iter().any(|(listed, ..)| listed == name);
    if let Some((name, _)) = objects.iter().skip(1).find(|(name, _)| !name.starts_with("META-INF/") && !listed(name)) {
        return Err(bad(&format!("{name} is not covered by the signature")));
    }
    let proof = RecordProof::from_json(object(PROOF).filter(|_| listed(PROOF)).ok_or_else(|| bad("it has no proof"))?)?;
    let (manifest, batch_signature) = proof.manifest();
    let same = [("manifest.json", Some(manifest)), ("manifest.p7s", Some(batch_signature)), (STAMP, proof.stamp())];
    for (name, inside) in same {
        if object(name).is_some_and(|bytes| Some(bytes) != inside) {
            return Err(bad(&format!("{name} is not the one of the proof")));
        }
    }
    Ok((signed, proof))
}

fn unpack(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, BatchError> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| bad("it is not a zip"))?;
    if zip.len() > MOST_OBJECTS {
        return Err(bad("it has too many objects"));
    }
    let mut objects: Vec<(String, Vec<u8>)> = Vec::with_capacity(zip.len());
    for at in 0..zip.len() {
        let entry = zip.by_index(at).map_err(|_| bad("an object cannot be read"))?;
        let name = entry.name().map_err(|_| bad("an object has no name"))?.into_owned();
        let stored = entry.compression() == CompressionMethod::Stored;
        if objects.iter().any(|(other, _)| *other == name) {
            return Err(bad("two objects have one name"));
        }
        let mut content = Vec::new();
        let read = entry.take(MOST_BYTES + 1).read_to_end(&mut content);
        if !read.is_ok_and(|read| u64::try_from(read).is_ok_and(|read| read <= MOST_BYTES)) {
            return Err(bad("an object cannot be read, or is too long"));
        }
        if at == 0 && (name != "mimetype" || !stored || content != MIMETYPE.as_bytes()) {
            return Err(bad("its first object is not the mimetype of ASiC-E"));
        }
        objects.push((name, content));
    }
    Ok(objects)
}

/// Name, algorithm and digest of every object that an ASiCManifest lists.
fn references(xml: &[u8]) -> Result<Vec<(String, DigestAlgorithm, Vec<u8>)>, BatchError> {
    let malformed = || bad("its ASiCManifest cannot be read");
    let mut reader = quick_xml::Reader::from_reader(xml);
    let (mut all, mut name, mut algorithm, mut value) = (Vec::new(), None, None, None);
    let attribute = |tag: &quick_xml::events::BytesStart<'_>, key: &str| {
        let found = tag.try_get_attribute(key).ok().flatten()?;
        found.normalized_value(XmlVersion::Explicit1_0).ok().map(std::borrow::Cow::into_owned)
    };
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Eof => return Ok(all),
            Event::DocType(_) => return Err(malformed()),
            Event::Start(tag) | Event::Empty(tag) => match tag.local_name().as_ref() {
                "DataObjectReference" => name = attribute(&tag, "URI"),
                "DigestMethod" => {
                    let named = attribute(&tag, "Algorithm");
                    algorithm = DigestAlgorithm::ALL.into_iter().find(|one| named.as_deref() == Some(address(*one)));
                }
                "DigestValue" => value = Some(String::new()),
                _ => {}
            },
            Event::Text(text) => {
                if let Some(value) = &mut value {
                    value.push_str(text.xml10_content().trim());
                }
            }
            Event::End(tag) if tag.local_name().as_ref() == "DataObjectReference" => {
                let digest = value.take().and_then(|text| BASE64_STANDARD.decode(text).ok());
                match (name.take(), algorithm.take(), digest) {
                    (Some(name), Some(algorithm), Some(digest)) => all.push((name, algorithm, digest)),
                    _ => return Err(malformed()),
                }
            }
            _ => {}
        }
    }
}

fn bad(what: &str) -> BatchError {
    BatchError::Container { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::proof::tests::proof;
    use crate::crypto::Suite;
    use crate::crypto::tests::{CaAndSigner, noon};

    const NOW: fn() -> Moment = || Moment::Signing { now: noon() };

    fn packed(ca: &CaAndSigner) -> Vec<u8> {
        let proof = proof(ca, vec![]);
        pack(&proof, &proof.verify(&ca.trust, NOW()).unwrap(), &ca.signer, noon()).unwrap()
    }

    fn verify(bytes: &[u8], trust: &Trust, moment: Moment) -> Result<(SignedBy, ProvenRecord), BatchError> {
        let (signed, proof) = open(bytes, trust, moment)?;
        Ok((signed, proof.verify(trust, moment)?))
    }

    #[test]
    fn a_token_beside_the_proof_is_the_proofs_own() {
        let ca = CaAndSigner::new();
        let proof = proof(&ca, vec![]).with_stamp(Some(b"a token".to_vec()));
        assert_eq!(RecordProof::from_json(&proof.to_json().unwrap()).unwrap(), proof);
        let proven = proof.verify(&ca.trust, NOW()).unwrap();
        let bytes = pack(&proof, &proven, &ca.signer, noon()).unwrap();
        assert_eq!(open(&bytes, &ca.trust, NOW()).unwrap().1.stamp(), Some(&b"a token"[..]));
        let objects = unpack(&bytes).unwrap();
        assert_eq!(objects.iter().find(|(name, _)| name == STAMP).unwrap().1, b"a token");
        // Without, though the listing has one; and another, which whoever signs the listing again could put there.
        let without = rezipped(&bytes, |objects| objects.retain(|(name, _)| name != STAMP));
        assert_eq!(open(&without, &ca.trust, NOW()).unwrap_err().code(), "HL0764");
        let other = rezipped(&bytes, |objects| {
            objects.iter_mut().find(|(name, _)| name == STAMP).unwrap().1 = b"another".to_vec();
            let kinds = objects.iter().filter(|(name, _)| name != "mimetype" && !name.starts_with("META-INF/"));
            let kinds: Vec<_> = kinds.map(|(name, bytes)| (name.as_str(), "", bytes.clone())).collect();
            let listed = listing(DigestAlgorithm::Sha256, &kinds).into_bytes();
            let signed = ca.signer.sign_cades(&listed, noon()).unwrap();
            for (name, bytes) in [(MANIFEST, listed), (SIGNATURE, signed)] {
                objects.iter_mut().find(|(own, _)| own == name).unwrap().1 = bytes;
            }
        });
        let refused = open(&other, &ca.trust, NOW()).unwrap_err();
        assert_eq!(refused, bad("manifest.tsr is not the one of the proof"));
    }

    type Objects = Vec<(String, Vec<u8>)>;

    /// The same objects in a new zip, some of them replaced, dropped or added.
    fn rezipped(bytes: &[u8], change: impl Fn(&mut Objects)) -> Vec<u8> {
        let mut objects = unpack(bytes).unwrap();
        change(&mut objects);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in objects {
            let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            zip.start_file(name, stored).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_container_begins_as_the_standard_says_and_holds_in_every_suite() {
        for suite in Suite::ALL {
            let ca = CaAndSigner::of(suite);
            let bytes = packed(&ca);
            // ETSI EN 319 162-1 annex A.1: the media type can be read at a fixed place.
            assert_eq!(bytes.get(30..38), Some(&b"mimetype"[..]));
            assert_eq!(bytes.get(38..38 + MIMETYPE.len()), Some(MIMETYPE.as_bytes()), "no extra field before it");
            let (signed, proven) = verify(&bytes, &ca.trust, NOW()).unwrap();
            assert_eq!((signed.suite, proven.record.id), (suite.name(), 3));
            assert_eq!(packed(&ca), bytes, "the same again");
        }
    }

    /// With plain CMS over the same listing, the certificate beside it could be exchanged for another with the same key.
    #[test]
    fn a_container_whose_signature_names_no_certificate_is_refused() {
        let ca = CaAndSigner::new();
        let plain = rezipped(&packed(&ca), |objects| {
            let listed = objects.iter().find(|(name, _)| name == MANIFEST).unwrap().1.clone();
            objects.last_mut().unwrap().1 = ca.signer.sign_detached(&listed, noon()).unwrap();
        });
        assert_eq!(verify(&plain, &ca.trust, NOW()).unwrap_err().code(), "HL0779");
    }

    #[test]
    fn whatever_is_replaced_dropped_or_added_is_seen() {
        let ca = CaAndSigner::new();
        let bytes = packed(&ca);
        let code = |change: &dyn Fn(&mut Objects)| {
            verify(&rezipped(&bytes, change), &ca.trust, NOW()).map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!(code(&|_| {}), Ok(()));
        for at in 0..7 {
            let flipped = code(&|objects| objects[at].1[20] ^= 1);
            assert!(matches!(flipped, Err("HL0764" | "HL0703" | "HL0701")), "object {at}: {flipped:?}");
            assert!(code(&|objects| drop(objects.remove(at))).is_err(), "object {at} removed");
        }
        assert_eq!(code(&|objects| objects.push(("more.txt".into(), b"more".to_vec()))), Err("HL0764"));
        assert_eq!(code(&|objects| objects.swap(0, 1)), Err("HL0764"), "mimetype first");
        assert_eq!(verify(b"PK\x03\x04", &ca.trust, NOW()).unwrap_err().code(), "HL0764");
    }
}
