//! A presentation (出示): some fields of one record, verified against the root that all of them lead to.
//!
//! Decides: what of a record is shown, and what must hold. Must not know: signatures, files. Guarantees: of a field that is
//! not shown there is a commitment and nothing else; a field that the batch did not open cannot be shown.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decode::read_cell;
use super::redaction::{self, commitment, record_root};
use super::{BatchError, FeedField, FeedSchema, FieldEvidence, HexDigest, Op, Record, RecordWriter};
use crate::crypto::Digest;

/// Bytes as Base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("not Base64"))
    }
}

/// A record of which some fields are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Presented {
    entity: i64,
    version: i64,
    /// The commitment to what the batch showed.
    view: HexDigest,
    /// Every field of the register, in its order.
    fields: Vec<Part>,
}

/// One field: shown, with what opens its commitment, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    Shown { name: String, salt: HexDigest, value: Bytes },
    Hidden { name: String, commitment: HexDigest },
}

/// What a presentation shows, for which the record's own root holds.
pub(super) struct Shown {
    pub(super) record: Record,
    pub(super) fields: Vec<FeedField>,
    /// Fields that are only committed to.
    pub(super) hidden: Vec<String>,
}

impl Presented {
    /// Of a record of an opened batch: these fields and no others.
    ///
    /// # Errors
    /// [`BatchError::Unpresentable`].
    pub(super) fn of(record: &Record, schema: &FeedSchema, wanted: &[String]) -> Result<Self, BatchError> {
        let refuse = |field: &str, why| BatchError::Unpresentable { field: field.to_owned(), why };
        let first = wanted.first().map_or("", String::as_str);
        let evidence = record.evidence.as_ref();
        let evidence = evidence.ok_or_else(|| refuse(first, "the record carries no evidence of single fields"))?;
        if let Some(unknown) = wanted.iter().find(|name| !schema.committed().contains(name)) {
            return Err(refuse(unknown, "the register has no such field"));
        }
        let algorithm = schema.algorithm();
        let mut writer = RecordWriter::default();
        let mut fields = Vec::with_capacity(schema.committed().len());
        for (name, evidence) in schema.committed().iter().zip(&evidence.fields) {
            let shown = wanted.contains(name);
            let (salt, name) = match evidence {
                FieldEvidence::Opened(salt) => (salt, name.clone()),
                FieldEvidence::Closed(_) if shown => {
                    return Err(refuse(name, "the batch does not show it as the register has it"));
                }
                FieldEvidence::Closed(commitment) => {
                    fields.push(Part::Hidden { name: name.clone(), commitment: HexDigest(*commitment) });
                    continue;
                }
            };
            let place = schema.fields().iter().position(|field| field.name == name);
            let found = place.and_then(|place| Some((schema.fields().get(place)?, record.values.get(place)?)));
            let (field, value) = found.ok_or_else(|| refuse(&name, "the batch does not show it"))?;
            let cell = writer.cell(value.as_ref());
            fields.push(if shown {
                Part::Shown { salt: HexDigest(*salt), value: Bytes(cell.to_vec()), name }
            } else {
                let commitment = HexDigest(commitment(algorithm, salt, (&name, field.kind), cell));
                Part::Hidden { name, commitment }
            });
        }
        let view = HexDigest(redaction::view(algorithm, &evidence.view, &record.digest));
        Ok(Self { entity: record.id, version: record.version, view, fields })
    }

    /// What it shows under its batch's schema, with the digest to which all of it leads.
    ///
    /// # Errors
    /// [`BatchError::Proof`] when its fields are not those of the schema, or a value does not read.
    pub(super) fn read(&self, schema: &FeedSchema) -> Result<Shown, BatchError> {
        let bad = |what: &str| BatchError::Proof { what: what.to_owned() };
        let algorithm = schema.algorithm();
        let (mut values, mut fields, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        let mut commitments: Vec<Digest> = Vec::with_capacity(self.fields.len());
        for part in &self.fields {
            match part {
                Part::Hidden { name, commitment } => {
                    hidden.push(name.clone());
                    commitments.push(commitment.0);
                }
                Part::Shown { name, salt, value: Bytes(cell) } => {
                    let field = schema.fields().iter().find(|field| field.name == *name);
                    let field = field.ok_or_else(|| bad("it shows a field that the batch does not"))?;
                    values.push(read_cell(cell, field.kind).ok_or_else(|| bad("a value"))?);
                    commitments.push(commitment(algorithm, &salt.0, (name, field.kind), cell));
                    fields.push(field.clone());
                }
            }
        }
        if !self.fields.iter().map(Part::name).eq(schema.committed()) {
            return Err(bad("its fields are not those of the register"));
        }
        let (id, version) = (self.entity, self.version);
        let root = record_root(algorithm, (id, version), &commitments);
        let sealed = redaction::sealed(algorithm, &root, &self.view.0);
        let record =
            Record { op: Op::Upsert, id, version, values, digest: sealed, evidence: None, root: Some(root), sealed };
        Ok(Shown { record, fields, hidden })
    }
}

impl Part {
    const fn name(&self) -> &String {
        match self {
            Self::Shown { name, .. } | Self::Hidden { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::redaction::tests::{all_salts, body_showing};
    use crate::batch::seal::tests::heading;
    use crate::batch::{Opened, RecordProof, SealedBatch, open, seal};
    use crate::crypto::tests::{CaAndSigner, noon};
    use crate::crypto::{Moment, Suite, hex};

    use super::*;

    const NOW: fn() -> Moment = || Moment::Signing { now: noon() };
    const SHOWN: &[&str] = &["a_text", "a_integer", "a_date", "a_boolean"];

    fn batch(ca: &CaAndSigner) -> (SealedBatch, Opened) {
        let feed = ("housing.enterprise", SHOWN, &["a_boolean"][..]);
        let batch = seal(heading(1, None), body_showing(feed, ca.signer.suite().digest(), 5), &ca.signer).unwrap();
        let opened = open(&batch.manifest, &batch.signature, &batch.body, &ca.trust, NOW()).unwrap();
        (batch, opened)
    }

    fn presented(of: &(SealedBatch, Opened), entity: i64, fields: &[&str]) -> Result<RecordProof, BatchError> {
        let fields: Vec<String> = fields.iter().map(|name| (*name).to_owned()).collect();
        RecordProof::of((&of.0.manifest, &of.0.signature), &of.1, (entity, Some(&fields)), vec![])
    }

    #[test]
    fn some_fields_are_shown_and_lead_to_the_same_signed_root() {
        for suite in Suite::ALL {
            let ca = CaAndSigner::of(suite);
            let made = batch(&ca);
            let whole = RecordProof::of((&made.0.manifest, &made.0.signature), &made.1, (2, None), vec![]).unwrap();
            let whole = RecordProof::from_json(&whole.to_json().unwrap()).unwrap().verify(&ca.trust, NOW()).unwrap();
            assert_eq!(whole.hidden, ["a_decimal", "a_timestamp", "a_boolean"], "withheld, and masked");
            for fields in [&["a_text"][..], &["a_date", "a_text"], &["a_text", "a_integer", "a_date"], &[]] {
                let file = presented(&made, 2, fields).unwrap().to_json().unwrap();
                let proven = RecordProof::from_json(&file).unwrap().verify(&ca.trust, NOW()).unwrap();
                assert_eq!((proven.record.root, proven.record.sealed), (whole.record.root, whole.record.sealed));
                let shown: Vec<&str> = proven.fields.iter().map(|field| field.name.as_str()).collect();
                let mut asked = fields.to_vec();
                asked.sort_by_key(|name| made.1.schema.committed().iter().position(|field| field == name));
                assert_eq!((shown, proven.hidden.len()), (asked, 6 - fields.len()), "{suite:?}");
                for (field, value) in proven.fields.iter().zip(&proven.record.values) {
                    let place = whole.fields.iter().position(|known| known == field).unwrap();
                    assert_eq!(*value, whole.record.values[place]);
                }
            }
        }
    }

    #[test]
    fn what_the_batch_does_not_open_cannot_be_shown() {
        let ca = CaAndSigner::new();
        let made = batch(&ca);
        let code = |entity, fields: &[&str]| presented(&made, entity, fields).map(|_| ()).map_err(|e| e.code());
        assert_eq!(code(2, &["a_text"]), Ok(()));
        assert_eq!(code(2, &["a_text", "a_decimal"]), Err("HL0766"), "withheld");
        assert_eq!(code(2, &["a_boolean"]), Err("HL0766"), "masked");
        assert_eq!(code(2, &["nothing"]), Err("HL0766"));
        assert_eq!(code(900_000, &["a_text"]), Err("HL0766"), "a withdrawal");
        assert_eq!(code(77, &["a_text"]), Err("HL0760"));
    }

    #[test]
    fn nothing_of_what_is_not_shown_is_in_the_file() {
        let ca = CaAndSigner::new();
        let made = batch(&ca);
        let file = presented(&made, 2, &["a_text"]).unwrap().to_json().unwrap();
        let text = String::from_utf8(file).unwrap();
        let manifest = String::from_utf8(made.0.manifest.clone()).unwrap();
        let there = |bytes: &[u8; 32]| text.contains(&hex(bytes)) || text.contains(&BASE64_STANDARD.encode(bytes));
        let of_entity = &all_salts(SHOWN, 5)[6..12];
        let found: Vec<bool> = of_entity.iter().map(|(_, salt)| there(salt)).collect();
        assert_eq!(found, [true, false, false, false, false, false], "only the salt of a_text");
        assert!(all_salts(SHOWN, 5).iter().all(|(_, salt)| !manifest.contains(&hex(salt))));
        let record = &made.1.records[1];
        assert!(!there(&record.evidence.as_ref().unwrap().view), "with it the shown values could be guessed");
        assert!(!there(&record.digest));
    }

    #[test]
    fn lies_of_a_presentation_are_refused() {
        let ca = CaAndSigner::new();
        let made = batch(&ca);
        let honest = presented(&made, 2, &["a_text", "a_integer"]).unwrap();
        let text = String::from_utf8(honest.to_json().unwrap()).unwrap();
        let code = |text: &str| {
            let read = RecordProof::from_json(text.as_bytes()).and_then(|proof| proof.verify(&ca.trust, NOW()));
            read.map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!(code(&text), Ok(()));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let parts = &json["presented"]["fields"];
        let quoted = |n: usize, key: &str| parts[n][key].to_string();
        assert_eq!(code(&text.replace("\"version\":3", "\"version\":4")), Err("HL0763"));
        assert_eq!(code(&text.replace("\"entity\":2", "\"entity\":1")), Err("HL0763"));
        let (one, other) = (quoted(0, "salt"), quoted(1, "salt"));
        let swapped = text.replace(&one, "\"-\"").replace(&other, &one).replace("\"-\"", &other);
        assert_eq!(code(&swapped), Err("HL0763"), "swapped salts");
        assert_eq!(code(&text.replace(&quoted(2, "commitment"), &quoted(3, "commitment"))), Err("HL0763"));
        let last = format!(",{{\"name\":{},\"commitment\":{}}}", quoted(5, "name"), quoted(5, "commitment"));
        assert!(text.contains(&last));
        let left_out = text.replace(&last, "");
        assert_eq!(code(&left_out), Err("HL0762"), "a missing commitment");
        let value = quoted(1, "value");
        let altered = format!("\"{}\"", BASE64_STANDARD.encode([2, 0x54]));
        assert_eq!(code(&text.replace(&value, &altered)), Err("HL0763"), "another value");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let read = RecordProof::from_json(&bytes).and_then(|proof| proof.verify(&ca.trust, NOW()));
            assert!(read.is_err(), "byte {at}");
        }
    }
}
