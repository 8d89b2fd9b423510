//! Verifiable redaction (可验证的脱敏): a record as commitments to all fields of its register, of which some are opened.
//!
//! Decides: the bytes of salts and commitments, and how a record's root and digest are made of them (docs/redaction.md).
//! Must not know: grants, where the key lies. Guarantees: the same key, register, entity, version and values give the same
//! root, whoever the record is for; a salt leaves only together with the value that it opens.

use std::collections::BTreeSet;
use std::fmt;

use arrow::array::{ArrayRef, new_null_array};
use arrow::record_batch::RecordBatch;
use ring::hmac;

use super::encode::{Column, EncodedRows, Encoder, Op, PRESENT, write_bytes, write_long};
use super::{BatchError, FeedSchema, merkle};
use crate::crypto::{Digest, DigestAlgorithm};
use crate::record::FieldType;

/// What keeps a value from being guessed.
pub type Salt = [u8; 32];

/// The secret of which all salts of an installation are made.
pub struct SaltKey(hmac::Key);

impl fmt::Debug for SaltKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltKey")
    }
}

impl SaltKey {
    /// Of a secret of 32 random bytes that serves other ends, too: HMAC-SHA-256(secret, "huiliu.redaction/1").
    pub fn derived(secret: &[u8]) -> Self {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"huiliu.redaction/1");
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// The salt of one field of one version of an entity; `cell` is its value as [`commitment`] covers it. It is in there so
    /// that no salt ever serves two values, not even where a version number comes twice.
    fn field(&self, register: &str, (id, version): (i64, i64), name: &str, cell: &[u8]) -> Salt {
        let mut input = Vec::with_capacity(64 + register.len() + name.len() + cell.len());
        write_bytes(&mut input, b"field");
        write_bytes(&mut input, register.as_bytes());
        write_long(&mut input, id);
        write_long(&mut input, version);
        write_bytes(&mut input, name.as_bytes());
        input.extend_from_slice(cell);
        self.salt(&input)
    }

    /// The salt of what one feed shows of a record.
    fn view(&self, feed: &str, root: &Digest, shown: &Digest) -> Salt {
        let mut input = Vec::with_capacity(80 + feed.len());
        write_bytes(&mut input, b"view");
        write_bytes(&mut input, feed.as_bytes());
        input.extend_from_slice(root);
        input.extend_from_slice(shown);
        self.salt(&input)
    }

    fn salt(&self, input: &[u8]) -> Salt {
        let mut salt = [0; 32];
        salt.copy_from_slice(hmac::sign(&self.0, input).as_ref());
        salt
    }
}

/// What a record says of one field of its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldEvidence {
    /// The value shown is the register's; this opens the commitment to it.
    Opened(Salt),
    /// The value is not shown, or not as the register has it.
    Closed(Digest),
}

/// What a record carries besides the values it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Keeps what the feed shows from being guessed by whoever sees a part of it.
    pub view: Salt,
    /// One for each field that the schema commits to, in its order.
    pub fields: Vec<FieldEvidence>,
}

impl Evidence {
    /// The commitments, those of opened fields made of what is shown: `cells` are the record's values as encoded.
    pub(super) fn commitments(&self, schema: &FeedSchema, cells: &[&[u8]]) -> Option<Vec<Digest>> {
        let all = schema.committed().iter().zip(&self.fields).map(|(name, evidence)| match evidence {
            FieldEvidence::Closed(commitment) => Some(*commitment),
            FieldEvidence::Opened(salt) => {
                let place = schema.fields().iter().position(|field| field.name == *name)?;
                let kind = schema.fields().get(place)?.kind;
                Some(commitment(schema.algorithm(), salt, (name, kind), cells.get(place)?))
            }
        });
        all.collect()
    }

    /// The bytes of it in a record, from the branch of its union on.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(PRESENT);
        out.extend_from_slice(&self.view);
        for field in &self.fields {
            match field {
                FieldEvidence::Opened(salt) => {
                    out.push(OPENED);
                    out.extend_from_slice(salt);
                }
                FieldEvidence::Closed(commitment) => {
                    out.push(CLOSED);
                    out.extend_from_slice(commitment);
                }
            }
        }
    }
}

/// Branch 0 of `[salt, commitment]`.
pub(super) const OPENED: u8 = 0;
/// Branch 1 of `[salt, commitment]`.
pub(super) const CLOSED: u8 = 2;

/// The commitment to a field: H("huiliu.field/1" ‖ salt ‖ name ‖ type ‖ value). Name and type are Avro strings, the value is
/// the Avro encoding of `["null", T]`.
pub fn commitment(algorithm: DigestAlgorithm, salt: &Salt, (name, kind): (&str, FieldType), cell: &[u8]) -> Digest {
    let mut named = Vec::with_capacity(name.len() + 16);
    write_bytes(&mut named, name.as_bytes());
    write_bytes(&mut named, kind.name().as_bytes());
    algorithm.digest(&[b"huiliu.field/1", salt, &named, cell])
}

/// The root of a record: the tree of `merkle` over H("huiliu.record/1" ‖ entity ‖ version) and the commitments, in the
/// register's order.
pub fn record_root(algorithm: DigestAlgorithm, (id, version): (i64, i64), commitments: &[Digest]) -> Digest {
    let mut named = Vec::with_capacity(20);
    write_long(&mut named, id);
    write_long(&mut named, version);
    let head = algorithm.digest(&[b"huiliu.record/1", &named]);
    let leaves: Vec<Digest> = std::iter::once(head).chain(commitments.iter().copied()).collect();
    merkle::root(algorithm, &leaves)
}

/// The commitment to what a feed shows of a record, of which `shown` is the digest.
pub(super) fn view(algorithm: DigestAlgorithm, salt: &Salt, shown: &Digest) -> Digest {
    algorithm.digest(&[b"huiliu.view/1", salt, shown])
}

/// A record's `_digest`: its root, which is the same for everybody, and what this feed shows.
pub(super) fn sealed(algorithm: DigestAlgorithm, root: &Digest, view: &Digest) -> Digest {
    algorithm.digest(&[b"huiliu.digest/1", root, view])
}

/// What is needed to commit to the records of a feed.
#[derive(Debug)]
pub struct Committing {
    key: SaltKey,
    feed: String,
    register: String,
    /// Fields of the register, in its order, and where a feed shows them as they are.
    fields: Vec<(String, FieldType, Option<usize>)>,
}

impl Committing {
    /// For a feed of a register with these fields, under a schema that commits to them; `plain` are those that the grant
    /// releases as they are. A masked field is never opened, whatever its mask leaves of it.
    pub fn new(
        key: SaltKey,
        (feed, register): (&str, &str),
        fields: &[(String, FieldType)],
        (schema, plain): (&FeedSchema, &BTreeSet<&str>),
    ) -> Self {
        let shown = |name: &str, kind: FieldType| {
            let place = schema.fields().iter().position(|field| field.name == name && field.kind == kind);
            place.filter(|_| plain.contains(name))
        };
        let fields = fields.iter().map(|(name, kind)| (name.clone(), *kind, shown(name, *kind)));
        Self { key, feed: feed.to_owned(), register: register.to_owned(), fields: fields.collect() }
    }
}

impl FeedSchema {
    /// As [`FeedSchema::encode_upserts`], with the evidence of each record. `register` holds the register's rows, found by
    /// name; `kept[n]` is the one of which row `n` of `rows` was made. A column that is missing there is null.
    ///
    /// # Errors
    /// [`BatchError::Rows`] when columns or lengths differ from that.
    pub fn encode_committed(
        &self,
        (ids, versions): (&[i64], &[i64]),
        rows: &RecordBatch,
        committing: &Committing,
        (register, kept): (&RecordBatch, &[u32]),
    ) -> Result<EncodedRows, BatchError> {
        self.check_lengths(ids, versions, rows)?;
        let bad = |what: &str| BatchError::Rows { what: what.to_owned() };
        let committed = committing.fields.iter().map(|(name, ..)| name);
        if kept.len() != ids.len() || !committed.eq(self.committed()) {
            return Err(bad("the schema commits to other fields, or rows are missing"));
        }
        if kept.iter().any(|row| *row as usize >= register.num_rows()) {
            return Err(bad("there is no such row of the register"));
        }
        let arrays: Vec<ArrayRef> =
            committing.fields.iter().map(|(name, kind, _)| held(register, name, *kind)).collect();
        let mut originals = Vec::with_capacity(arrays.len());
        for ((name, kind, _), array) in committing.fields.iter().zip(&arrays) {
            originals.push(Column::checked((name, *kind), array)?);
        }
        let columns = self.columns(rows)?;
        let size = 240 + 33 * originals.len();
        let mut out = Encoder::new(self, Op::Upsert, ids.len(), size);
        let (mut ends, mut cell) = (Vec::with_capacity(columns.len()), Vec::new());
        for (row, ((id, version), from)) in ids.iter().zip(versions).zip(kept).enumerate() {
            out.begin(*id, *version);
            ends.clear();
            for column in &columns {
                let start = out.written().len();
                column.write(row, out.bytes());
                ends.push(start..out.written().len());
            }
            let shown = out.shown();
            let (mut commitments, mut fields) = (Vec::new(), Vec::with_capacity(originals.len()));
            for ((name, kind, place), original) in committing.fields.iter().zip(&originals) {
                cell.clear();
                original.write(*from as usize, &mut cell);
                let salt = committing.key.field(&committing.register, (*id, *version), name, &cell);
                let closed = commitment(self.algorithm(), &salt, (name, *kind), &cell);
                let range = place.and_then(|place| ends.get(place).cloned());
                let same = range.and_then(|range| out.written().get(range)).is_some_and(|shown| shown == cell);
                fields.push(if same { FieldEvidence::Opened(salt) } else { FieldEvidence::Closed(closed) });
                commitments.push(closed);
            }
            let root = record_root(self.algorithm(), (*id, *version), &commitments);
            let evidence = Evidence { view: committing.key.view(&committing.feed, &root, &shown), fields };
            evidence.write(out.bytes());
            let view = view(self.algorithm(), &evidence.view, &shown);
            out.close(shown, sealed(self.algorithm(), &root, &view));
        }
        Ok(out.finish())
    }
}

/// A column of the register; nulls where it is not there.
fn held(register: &RecordBatch, name: &str, kind: FieldType) -> ArrayRef {
    let found = register.column_by_name(name).cloned();
    found.unwrap_or_else(|| new_null_array(&kind.arrow(), register.num_rows()))
}

#[cfg(test)]
pub(crate) mod tests {
    use apache_avro::types::Value as Avro;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::body::tests::rows;
    use crate::batch::{Body, BodyBuilder, FeedField, Record, read_body};
    use crate::crypto::hex;

    const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;
    const SECRET: [u8; 32] = [7; 32];

    fn fields() -> Vec<(String, FieldType)> {
        FieldType::ALL.iter().map(|kind| (format!("a_{kind}"), *kind)).collect()
    }

    /// A body of `count` upserts and a withdrawal for a feed that shows these fields, of which `masked` are not opened.
    pub(crate) fn body_showing(
        (feed, shown, masked): (&str, &[&str], &[&str]),
        algorithm: DigestAlgorithm,
        count: i64,
    ) -> Body {
        let field = |name: &&str| FeedField {
            name: (*name).to_owned(),
            title: String::new(),
            kind: fields().iter().find(|(known, _)| known == name).unwrap().1,
        };
        let names = fields().into_iter().map(|(name, _)| name).collect();
        let schema = FeedSchema::committing(feed, shown.iter().map(field).collect(), names, algorithm).unwrap();
        let plain = shown.iter().copied().filter(|name| !masked.contains(name)).collect();
        let committing = Committing::new(SaltKey::derived(&SECRET), (feed, "enterprise"), &fields(), (&schema, &plain));
        let register = rows(count);
        let places: Vec<usize> = shown.iter().map(|name| register.schema().index_of(name).unwrap()).collect();
        let (ids, kept): (Vec<i64>, Vec<u32>) = (1..=count).zip(0..).unzip();
        let versions = vec![3; ids.len()];
        let shown = register.project(&places).unwrap();
        let encoded = schema.encode_committed((&ids, &versions), &shown, &committing, (&register, &kept)).unwrap();
        assert_eq!(schema.digests(&ids, &versions, &shown).unwrap(), encoded.digests(), "what a holding remembers");
        let mut builder = BodyBuilder::new(&schema, 1);
        (0..encoded.len()).for_each(|row| builder.push(&encoded, row).unwrap());
        builder.push(&schema.encode_withdrawals(&[(900_000, 7)]), 0).unwrap();
        builder.finish()
    }

    const ONE: (&str, &[&str], &[&str]) = ("housing.enterprise", &["a_text", "a_integer", "a_date"], &[]);
    const OTHER: (&str, &[&str], &[&str]) = ("civil.enterprise", &["a_boolean", "a_text"], &["a_text"]);

    fn read(body: &Body) -> Vec<Record> {
        read_body(&body.bytes, body.algorithm).unwrap().1
    }

    fn salts(record: &Record) -> Vec<Salt> {
        let fields = record.evidence.iter().flat_map(|evidence| &evidence.fields);
        let salt = |field: &FieldEvidence| if let FieldEvidence::Opened(salt) = field { Some(*salt) } else { None };
        fields.filter_map(salt).collect()
    }

    /// Every salt that belongs to these rows, by the key, and whether the feed opens it.
    pub(crate) fn all_salts(shown: &[&str], count: i64) -> Vec<(bool, Salt)> {
        let register = rows(count);
        let mut all = Vec::new();
        for (row, id) in (1..=count).enumerate() {
            for (name, kind) in fields() {
                let array = held(&register, &name, kind);
                let mut cell = Vec::new();
                Column::checked((&name, kind), &array).unwrap().write(row, &mut cell);
                let salt = SaltKey::derived(&SECRET).field("enterprise", (id, 3), &name, &cell);
                all.push((shown.contains(&name.as_str()), salt));
            }
        }
        all
    }

    #[test]
    fn the_bytes_are_those_of_the_page() {
        let mut cell = vec![PRESENT];
        write_bytes(&mut cell, "企业".as_bytes());
        let name = commitment(SHA256, &[1; 32], ("name", FieldType::Text), &cell);
        assert_eq!(hex(&name), "52d88023c2779bce442ffdff6a8b02014e4d9acc8bca6ecfffdb923f57757a7b");
        let capital = commitment(SHA256, &[1; 32], ("capital", FieldType::Decimal), &[0]);
        let root = record_root(SHA256, (812, 3), &[name, capital]);
        assert_eq!(hex(&root), "2722c7a1d0f9943146dc2d2193909779de8438b6395517e07ca64d4882a94424");
        let digest = sealed(SHA256, &root, &view(SHA256, &[1; 32], &[2; 32]));
        assert_eq!(hex(&digest), "df5a09ce1d4d37cbf8ae0d31af3cfa9d54d852d328bb291437777496fe3eac90");
        let salt = SaltKey::derived(&SECRET).field("enterprise", (812, 3), "name", &cell);
        assert_eq!(hex(&salt), "72cdf100589a19036583a342c1d68d1d782fc6e2aeb3d76e52fdb74eaacd881f");
    }

    #[test]
    fn subscribers_with_different_fields_get_the_same_roots() {
        for algorithm in DigestAlgorithm::ALL {
            let (one, other) = (body_showing(ONE, algorithm, 9), body_showing(OTHER, algorithm, 9));
            assert_eq!(body_showing(ONE, algorithm, 9), one, "made again, it is the same bytes");
            let (ones, others) = (read(&one), read(&other));
            assert_eq!((ones.len(), others.len()), (10, 10));
            for (a, b) in ones.iter().zip(&others).take(9) {
                assert!(a.root.is_some() && a.root == b.root);
                assert!(a.sealed != b.sealed && a.sealed != a.digest);
                assert_eq!((salts(a).len(), salts(b).len()), (3, 1), "a masked field is not opened");
            }
            let roots: BTreeSet<_> = ones.iter().filter_map(|record| record.root).collect();
            assert_eq!(roots.len(), 9);
            let withdrawn = &ones[9];
            assert_eq!((withdrawn.op, withdrawn.root, withdrawn.sealed), (Op::Withdraw, None, withdrawn.digest));
        }
    }

    #[test]
    fn avro_libraries_read_it_and_the_schema_reads_back() {
        let body = body_showing(ONE, SHA256, 4);
        let (schema, ours) = read_body(&body.bytes, SHA256).unwrap();
        assert_eq!(FeedSchema::from_json(schema.json(), SHA256).as_ref(), Ok(&schema));
        let theirs: Vec<Avro> = apache_avro::Reader::new(&body.bytes[..]).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(ours.len(), theirs.len());
        let Avro::Record(fields) = &theirs[1] else { panic!("not a record") };
        let (name, Avro::Union(1, evidence)) = &fields[6] else { panic!("{:?}", fields[6]) };
        let Avro::Record(parts) = &**evidence else { panic!("{evidence:?}") };
        assert_eq!((name.as_str(), parts.len()), ("_evidence", 7));
        let Avro::Union(0, salt) = &parts[1].1 else { panic!("{parts:?}") };
        assert_eq!(**salt, Avro::Fixed(32, salts(&ours[1])[0].to_vec()));
        for (good, bad) in [
            ("_view", "view"),
            ("\"salt\",\"size\":32", "\"salt\",\"size\":31"),
            ("[\"salt\",\"commitment\"]", "[\"commitment\",\"salt\"]"),
            ("_evidence", "_more"),
        ] {
            let altered = schema.json().replace(good, bad);
            assert!(altered != schema.json(), "{good}: {altered}");
            assert_eq!(FeedSchema::from_json(&altered, SHA256).unwrap_err().code(), "HL0727", "{bad}");
        }
    }

    /// Where these bytes are in a body.
    fn place(bytes: &[u8], wanted: &[u8]) -> usize {
        bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
    }

    #[test]
    fn what_was_altered_swapped_or_left_out_is_refused() {
        let body = body_showing(ONE, SHA256, 5);
        let records = read(&body);
        let (first, second) = (salts(&records[1]), salts(&records[2]));
        let closed = records[1].evidence.as_ref().unwrap().fields.iter().find_map(|field| match field {
            FieldEvidence::Closed(commitment) => Some(*commitment),
            FieldEvidence::Opened(_) => None,
        });
        let swapped = |a: &Salt, b: &Salt| {
            let mut bytes = body.bytes.clone();
            let (at, other) = (place(&bytes, a), place(&bytes, b));
            bytes[at..at + 32].copy_from_slice(b);
            bytes[other..other + 32].copy_from_slice(a);
            bytes
        };
        let flipped = |wanted: &[u8]| {
            let mut bytes = body.bytes.clone();
            let at = place(&bytes, wanted);
            bytes[at + wanted.len() - 1] ^= 1;
            bytes
        };
        let refused = |bytes: &[u8]| read_body(bytes, SHA256).unwrap_err();
        let view = records[1].evidence.as_ref().unwrap().view;
        for (what, bytes) in [
            ("salts of two fields", swapped(&first[0], &first[1])),
            ("salts of two records", swapped(&first[0], &second[0])),
            ("a value", flipped("企业 1".as_bytes())),
            ("a salt", flipped(&first[0])),
            ("a commitment", flipped(&closed.unwrap())),
            ("the salt of the view", flipped(&view)),
        ] {
            assert_eq!(refused(&bytes), BatchError::Commitments { record: 2 }, "{what}");
        }
        let at = place(&body.bytes, &closed.unwrap());
        let without = [&body.bytes[..at - 1], &body.bytes[at + 32..]].concat();
        assert_eq!(refused(&without).code(), "HL0727", "a commitment is missing");
        let mut opened = body.bytes.clone();
        opened[at - 1] = OPENED;
        assert_eq!(refused(&opened).code(), "HL0727", "a salt for what is not shown");
        let schema = read_body(&body.bytes, SHA256).unwrap().0;
        assert_eq!(schema.encode_upserts(&[], &[], &schema.empty_rows()).unwrap_err().code(), "HL0721");
    }

    #[test]
    fn salts_of_what_is_not_shown_stay_inside() {
        let body = body_showing(ONE, SHA256, 30);
        let mut closed = 0;
        for (shown, salt) in all_salts(ONE.1, 30) {
            let there = body.bytes.windows(32).any(|window| window == salt);
            assert_eq!(there, shown, "salts of opened fields are there: the search can find them");
            closed += usize::from(!shown);
        }
        assert_eq!(closed, 90);
        let masked = body_showing(OTHER, SHA256, 30);
        for (_, salt) in all_salts(&[], 30).iter().step_by(6) {
            assert!(!masked.bytes.windows(32).any(|window| window == salt), "a_text is masked");
        }
    }

    proptest! {
        /// Who guesses the value, and all else but the salt, has nothing to compare it with.
        #[test]
        fn a_right_guess_without_the_salt_confirms_nothing(
            value in any::<String>(), other in any::<String>(), salt in any::<[u8; 32]>(), guess in any::<[u8; 32]>(),
        ) {
            prop_assume!(salt != guess);
            let cell = |value: &str| {
                let mut cell = vec![PRESENT];
                write_bytes(&mut cell, value.as_bytes());
                cell
            };
            for algorithm in DigestAlgorithm::ALL {
                let of = |salt: &Salt, value: &str| commitment(algorithm, salt, ("name", FieldType::Text), &cell(value));
                let sent = of(&salt, &value);
                prop_assert_eq!(of(&salt, &value), sent, "with the salt it is confirmed");
                prop_assert_ne!(of(&guess, &value), sent);
                prop_assert_ne!(of(&[0; 32], &value), sent);
                prop_assert_ne!(algorithm.digest(&[&cell(&value)]), sent);
                prop_assert_ne!(algorithm.digest(&[value.as_bytes()]), sent);
                prop_assert_eq!(of(&salt, &other) == sent, other == value, "it binds the value");
                prop_assert_ne!(commitment(algorithm, &salt, ("names", FieldType::Text), &cell(&value)), sent);
            }
        }

        /// The same value has another commitment in every entity, version, field and register, and under every key.
        #[test]
        fn equal_values_are_not_seen_to_be_equal(
            value in any::<Vec<u8>>(), at in any::<(i64, i64)>(), other in any::<(i64, i64)>(), secret in any::<[u8; 32]>(),
        ) {
            prop_assume!(at != other && secret != SECRET);
            let (key, foreign) = (SaltKey::derived(&SECRET), SaltKey::derived(&secret));
            let salt = key.field("enterprise", at, "name", &value);
            prop_assert_eq!(key.field("enterprise", at, "name", &value), salt);
            prop_assert_ne!(key.field("enterprise", other, "name", &value), salt);
            prop_assert_ne!(key.field("enterprise", at, "title", &value), salt);
            prop_assert_ne!(key.field("person", at, "name", &value), salt);
            prop_assert_ne!(foreign.field("enterprise", at, "name", &value), salt);
        }
    }
}
