//! Sealing: body and facts → manifest → signature. A sealed batch never changes.
//!
//! Decides: what the manifest says about the body, so that a caller cannot contradict it. Must not know: stores, outlets.
//! Guarantees: deterministic; a certificate that receivers would refuse does not sign.

use chrono::{DateTime, SubsecRound as _, Utc};

use super::manifest::{
    AVRO, BodyFacts, CMS, Changes, Decision, FORMAT, HexDigest, Kind, Manifest, Notice, Part, SchemaFacts,
};
use super::{BatchError, Body, batch_id};
use crate::crypto::{Digest, Signer};

/// What the caller knows about a batch besides its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Feed.
    pub feed: String,
    /// Number, from 1.
    pub seq: u64,
    /// Why.
    pub kind: Kind,
    /// Which part, for snapshots.
    pub part: Option<Part>,
    /// Why, for corrections and recalls.
    pub notice: Option<Notice>,
    /// Who sends.
    pub issuer: String,
    /// Who receives.
    pub subscriber: String,
    /// When; also the signing time. Given, not taken, so that sealing again gives the same bytes.
    pub created_at: DateTime<Utc>,
    /// Register.
    pub register: String,
    /// Version of the records' schema, from 1.
    pub schema_version: u32,
    /// Digest of the manifest before; `None` exactly for the first.
    pub previous: Option<Digest>,
    /// Stretch of the change log.
    pub changes: Changes,
    /// The decision.
    pub decision: Decision,
}

/// A sealed batch: three parts, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    /// Feed.
    pub feed: String,
    /// Number.
    pub seq: u64,
    /// Avro object container file, or its encryption.
    pub body: Vec<u8>,
    /// JSON, as signed.
    pub manifest: Vec<u8>,
    /// CMS SignedData over `manifest`, detached.
    pub signature: Vec<u8>,
    /// Digest of `manifest`: what the next batch's `previous` is.
    pub manifest_digest: Digest,
}

impl SealedBatch {
    /// `feed/seq`.
    pub fn id(&self) -> String {
        batch_id(&self.feed, self.seq)
    }
}

/// Seals a body under its heading.
///
/// # Errors
/// [`BatchError::Crypto`] when the signer may not sign at `created_at`; [`BatchError::Manifest`] when the heading
/// contradicts itself: a first batch with a previous one, or another without.
pub fn seal(heading: Heading, body: Body, signer: &Signer) -> Result<SealedBatch, BatchError> {
    if heading.seq == 0 || (heading.seq == 1) != heading.previous.is_none() {
        return Err(BatchError::Manifest { what: "seq counts from 1, and exactly the first has no previous".into() });
    }
    if body.algorithm != signer.suite().digest() {
        return Err(BatchError::Manifest { what: "records and signature use different digests".into() });
    }
    let facts = BodyFacts {
        media_type: if body.encryption.is_some() { CMS } else { AVRO }.into(),
        bytes: u64::try_from(body.bytes.len()).unwrap_or(u64::MAX),
        algorithm: body.algorithm,
        digest: HexDigest(body.digest),
        records: body.upserts + body.withdrawals,
        upserts: body.upserts,
        withdrawals: body.withdrawals,
        encryption: body.encryption,
    };
    let manifest = Manifest {
        format: FORMAT.into(),
        feed: heading.feed,
        seq: heading.seq,
        kind: heading.kind,
        part: heading.part,
        notice: heading.notice,
        issuer: heading.issuer,
        subscriber: heading.subscriber,
        created_at: heading.created_at.trunc_subsecs(3),
        register: heading.register,
        schema: SchemaFacts {
            fingerprint: HexDigest(body.fingerprint),
            version: heading.schema_version,
            digest: Some(HexDigest(body.schema_digest)),
        },
        body: facts,
        records_root: HexDigest(body.records_root),
        previous: heading.previous.map(HexDigest),
        changes: heading.changes,
        decision: heading.decision,
    };
    let bytes = manifest.to_json()?;
    let signature = signer.sign_detached(&bytes, manifest.created_at)?;
    Ok(SealedBatch {
        feed: manifest.feed,
        seq: manifest.seq,
        body: body.bytes,
        manifest_digest: body.algorithm.digest(&[&bytes]),
        manifest: bytes,
        signature,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::batch::body::tests::{body, body_of};
    use crate::batch::manifest::RowCounts;
    use crate::crypto::tests::{CaAndSigner, noon};
    use crate::crypto::{Suite, hex};

    pub(crate) fn heading(seq: u64, previous: Option<Digest>) -> Heading {
        Heading {
            feed: "housing.enterprise".into(),
            seq,
            kind: Kind::Delta,
            part: None,
            notice: None,
            issuer: "青岛市电政办".into(),
            subscriber: "housing".into(),
            created_at: noon(),
            register: "enterprise".into(),
            schema_version: 3,
            previous,
            changes: Changes { after: 100_312, through: 101_544 },
            decision: Decision {
                grant: "housing.enterprise".into(),
                grant_digest: HexDigest([7; 32]),
                purpose: "建设工程招投标资格审查".into(),
                basis: Some("中华人民共和国招标投标法实施条例 第三十二条".into()),
                approved: Some("青数共〔2026〕17号".into()),
                released: vec!["uscc".into(), "name".into()],
                masked: [("legal_representative".to_owned(), "name".to_owned())].into(),
                withheld: [("legal_representative_id".to_owned(), "not granted".to_owned())].into(),
                free_text: Default::default(),
                rows: RowCounts {
                    considered: 23,
                    released: 3,
                    unaffected: 8,
                    withheld: [("row filter".to_owned(), 12)].into(),
                },
            },
        }
    }

    /// A chain of `count` sealed batches of a few records each.
    pub(crate) fn chain(ca: &CaAndSigner, count: u64) -> Vec<SealedBatch> {
        let mut all: Vec<SealedBatch> = Vec::new();
        for seq in 1..=count {
            let previous = all.last().map(|batch| batch.manifest_digest);
            all.push(seal(heading(seq, previous), body_of(ca.signer.suite().digest(), 4, seq), &ca.signer).unwrap());
        }
        all
    }

    #[test]
    fn a_manifest_reads_as_the_evidence_page_shows_it() {
        let sealed = chain(&CaAndSigner::new(), 1).remove(0);
        let shown = String::from_utf8(sealed.manifest).unwrap();
        let body = crate::batch::body::tests::body(4, 1);
        let shown = shown
            .replace(&hex(&body.digest), "DIGEST")
            .replace(&hex(&body.records_root), "ROOT")
            .replace(&hex(&body.fingerprint), "FINGERPRINT")
            .replace(&hex(&body.schema_digest), "SCHEMA");
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap(), @r#"
        {
          "format": "huiliu.batch/1",
          "feed": "housing.enterprise",
          "seq": 1,
          "kind": "delta",
          "issuer": "青岛市电政办",
          "subscriber": "housing",
          "created_at": "2026-11-21T12:00:00.000Z",
          "register": "enterprise",
          "schema": {
            "fingerprint": "FINGERPRINT",
            "version": 3,
            "digest": "SCHEMA"
          },
          "body": {
            "media_type": "application/avro",
            "bytes": 1232,
            "sha256": "DIGEST",
            "records": 5,
            "upserts": 4,
            "withdrawals": 1
          },
          "records_root": "ROOT",
          "previous": null,
          "changes": {
            "after": 100312,
            "through": 101544
          },
          "decision": {
            "grant": "housing.enterprise",
            "grant_digest": "0707070707070707070707070707070707070707070707070707070707070707",
            "purpose": "建设工程招投标资格审查",
            "basis": "中华人民共和国招标投标法实施条例 第三十二条",
            "approved": "青数共〔2026〕17号",
            "released": [
              "uscc",
              "name"
            ],
            "masked": {
              "legal_representative": "name"
            },
            "withheld": {
              "legal_representative_id": "not granted"
            },
            "rows": {
              "considered": 23,
              "released": 3,
              "unaffected": 8,
              "withheld": {
                "row filter": 12
              }
            }
          }
        }
        "#);
    }

    #[test]
    fn sealing_again_gives_the_same_bytes_in_every_suite() {
        for suite in Suite::ALL {
            let ca = CaAndSigner::of(suite);
            assert_eq!(chain(&ca, 3), chain(&ca, 3), "{suite:?}");
        }
    }

    #[test]
    fn records_and_signature_are_of_one_suite() {
        let ca = CaAndSigner::of(Suite::Sm2Sm3);
        assert_eq!(seal(heading(1, None), body(1, 1), &ca.signer).unwrap_err().code(), "HL0722");
    }

    #[test]
    fn a_heading_that_contradicts_itself_is_refused() {
        let ca = CaAndSigner::new();
        for (seq, previous) in [(0, None), (1, Some([1; 32])), (2, None)] {
            assert_eq!(seal(heading(seq, previous), body(1, 1), &ca.signer).unwrap_err().code(), "HL0722");
        }
    }
}
