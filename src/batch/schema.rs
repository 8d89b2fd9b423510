//! The Avro schema of a feed's records.
//!
//! Decides: how register types are carried (Avro 1.11: string, long, decimal(24,4) in bytes, date, timestamp-micros,
//! boolean; every released field nullable), how evidence of single fields is, and which names can be. Must not know: rows. Guarantees: the same feed and
//! fields give the same schema text, and reading that text back gives the same schema.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, RecordField, RecordSchema};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use serde_json::{Value as Json, json};

use super::BatchError;
use crate::crypto::{Digest, DigestAlgorithm};
use crate::record::{DECIMAL_PRECISION, DECIMAL_SCALE, FieldType};

/// One released field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedField {
    /// Register field name; ASCII, legal in Avro.
    pub name: String,
    /// 名称, carried as the field's `doc`; may be empty.
    pub title: String,
    /// Type.
    pub kind: FieldType,
}

/// The schema of a feed's records: `_op`, `_id`, `_version`, the released fields, for some registers `_evidence`, `_digest`.
///
/// Two schemas are equal when their texts are. The fingerprint is coarser, because Avro's canonical form drops logical
/// types and docs: compare schemas, not fingerprints, to decide whether the version goes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSchema {
    fields: Vec<FeedField>,
    /// Fields of the register that each record commits to; empty where records are digested whole.
    committed: Vec<String>,
    json: String,
    fingerprint: Digest,
    algorithm: DigestAlgorithm,
}

impl FeedSchema {
    /// The schema of `feed` with these fields, in this order; records are digested with `algorithm`.
    ///
    /// # Errors
    /// [`BatchError::Name`] when a name is not legal in Avro, is one of ours, or comes twice.
    pub fn new(feed: &str, fields: Vec<FeedField>, algorithm: DigestAlgorithm) -> Result<Self, BatchError> {
        Self::committing(feed, fields, Vec::new(), algorithm)
    }

    /// The same, of records that commit to each of these fields (可验证的脱敏), all that the register has, in its order.
    ///
    /// # Errors
    /// [`BatchError::Name`], also when a field is released that is none of the register's.
    pub fn committing(
        feed: &str,
        fields: Vec<FeedField>,
        committed: Vec<String>,
        algorithm: DigestAlgorithm,
    ) -> Result<Self, BatchError> {
        let record: String = feed.chars().map(|c| if matches!(c, '.' | '-') { '_' } else { c }).collect();
        check_name("feed", &record).map_err(|why| BatchError::Name { kind: "feed", name: feed.to_owned(), why })?;
        for (position, field) in fields.iter().enumerate() {
            let refuse = |why| Err(BatchError::Name { kind: "field", name: field.name.clone(), why });
            if let Err(why) = check_name("field", &field.name) {
                return refuse(why);
            }
            if fields.iter().take(position).any(|other| other.name == field.name) {
                return refuse("it is there twice");
            }
            if !committed.is_empty() && !committed.contains(&field.name) {
                return refuse("the register does not have it");
            }
        }
        for (position, name) in committed.iter().enumerate() {
            let twice = committed.iter().take(position).any(|other| other == name);
            if let Err(why) = if twice { Err("it is there twice") } else { check_name("field", name) } {
                return Err(BatchError::Name { kind: "field", name: name.clone(), why });
            }
        }
        let json = schema_json(&record, &fields, &committed).to_string();
        Ok(Self { fingerprint: fingerprint(&record, &fields, &committed), fields, committed, json, algorithm })
    }

    /// Reads a schema that a body carries.
    ///
    /// # Errors
    /// [`BatchError::Body`] when it is not Avro or not of the form [`FeedSchema::new`] makes.
    pub fn from_json(json: &str, algorithm: DigestAlgorithm) -> Result<Self, BatchError> {
        let bad = |what: &str| BatchError::Body { what: what.to_owned() };
        let parsed = Schema::parse_str(json).map_err(|_| bad("its schema is not an Avro schema"))?;
        let Schema::Record(record) = &parsed else { return Err(bad("its schema is not a record")) };
        let unknown = || bad("its records are not those of a feed");
        let (fields, evidenced) = released_fields(record).ok_or_else(unknown)?;
        let committed = if evidenced { committed_fields(json, &fields).ok_or_else(unknown)? } else { Vec::new() };
        let fingerprint = fingerprint(record.name.name(), &fields, &committed);
        Ok(Self { fingerprint, fields, committed, json: json.to_owned(), algorithm })
    }

    /// The fields that each record commits to, in order; empty where records are digested whole.
    pub fn committed(&self) -> &[String] {
        &self.committed
    }

    /// Released fields, in record order.
    pub fn fields(&self) -> &[FeedField] {
        &self.fields
    }

    /// No rows, with the columns that [`FeedSchema::encode_upserts`] expects.
    pub fn empty_rows(&self) -> RecordBatch {
        let fields: Vec<Field> = self.fields.iter().map(|f| Field::new(&f.name, f.kind.arrow(), true)).collect();
        RecordBatch::new_empty(Arc::new(ArrowSchema::new(fields)))
    }

    /// The Avro schema text, as bodies carry it.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// SHA-256 over the schema's parsing canonical form (Avro specification).
    pub const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// How records are digested.
    pub const fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }
}

/// Avro names: a letter or underscore, then letters, digits, underscores, all ASCII. A leading underscore is ours.
fn check_name(kind: &str, name: &str) -> Result<(), &'static str> {
    let mut characters = name.chars();
    match characters.next() {
        None => return Err("it is empty"),
        Some('_') if kind == "field" => return Err("names with a leading underscore belong to the batch itself"),
        Some(first) if !(first.is_ascii_alphabetic() || first == '_') => {
            return Err("it must begin with an ASCII letter");
        }
        Some(_) => {}
    }
    if characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(())
    } else {
        Err("it may hold only ASCII letters, digits and underscores")
    }
}

/// The evidence of a record: a salt for each field that is shown as the register has it, a commitment for each other.
fn evidence_json(committed: &[String]) -> Json {
    let view = json!({ "name": "_view", "type": { "type": "fixed", "name": "salt", "size": 32 } });
    let fields = committed.iter().enumerate().map(|(n, name)| {
        let commitment = match n {
            0 => json!({ "type": "fixed", "name": "commitment", "size": 32 }),
            _ => json!("commitment"),
        };
        json!({ "name": name, "type": ["salt", commitment] })
    });
    let fields: Vec<Json> = std::iter::once(view).chain(fields).collect();
    let kind = json!({ "type": "record", "name": "evidence", "fields": fields });
    json!({ "name": "_evidence", "type": ["null", kind], "default": null })
}

/// The fields that a schema's `_evidence` names, when it has exactly the form that we write.
fn committed_fields(json: &str, fields: &[FeedField]) -> Option<Vec<String>> {
    let parsed: Json = serde_json::from_str(json).ok()?;
    let all = parsed.get("fields")?.as_array()?;
    let evidence = all.iter().find(|field| field.get("name").is_some_and(|name| name == "_evidence"))?;
    let named = evidence.pointer("/type/1/fields")?.as_array()?;
    let names = named.iter().skip(1).map(|field| field.get("name")?.as_str().map(ToOwned::to_owned));
    let names: Vec<String> = names.collect::<Option<_>>()?;
    let known = names.iter().all(|name| check_name("field", name).is_ok())
        && fields.iter().all(|field| names.contains(&field.name));
    (!names.is_empty() && known && *evidence == evidence_json(&names)).then_some(names)
}

fn schema_json(record: &str, fields: &[FeedField], committed: &[String]) -> Json {
    let mut all = vec![
        json!({ "name": "_op", "type": { "type": "enum", "name": "op", "symbols": ["upsert", "withdraw"] } }),
        json!({ "name": "_id", "type": "long" }),
        json!({ "name": "_version", "type": "long" }),
    ];
    all.extend(fields.iter().map(|field| {
        let kind = match field.kind {
            FieldType::Text => json!("string"),
            FieldType::Integer => json!("long"),
            FieldType::Decimal => json!({
                "type": "bytes", "logicalType": "decimal", "precision": DECIMAL_PRECISION, "scale": DECIMAL_SCALE
            }),
            FieldType::Date => json!({ "type": "int", "logicalType": "date" }),
            FieldType::Timestamp => json!({ "type": "long", "logicalType": "timestamp-micros" }),
            FieldType::Boolean => json!("boolean"),
        };
        let mut definition = json!({ "name": field.name, "type": ["null", kind], "default": null });
        if !field.title.is_empty() {
            definition["doc"] = json!(field.title);
        }
        definition
    }));
    if !committed.is_empty() {
        all.push(evidence_json(committed));
    }
    all.push(json!({ "name": "_digest", "type": { "type": "fixed", "name": "digest", "size": 32 } }));
    json!({ "type": "record", "name": record, "namespace": "huiliu", "fields": all })
}

/// SHA-256 over the parsing canonical form, written out because apache-avro 0.22 keeps precision, scale and bare
/// `{"type":"int"}` in it, against the specification. Names hold nothing that would need escaping.
fn fingerprint(record: &str, fields: &[FeedField], committed: &[String]) -> Digest {
    let mut canonical = format!(
        "{{\"name\":\"huiliu.{record}\",\"type\":\"record\",\"fields\":[\
         {{\"name\":\"_op\",\"type\":{{\"name\":\"huiliu.op\",\"type\":\"enum\",\"symbols\":[\"upsert\",\"withdraw\"]}}}},\
         {{\"name\":\"_id\",\"type\":\"long\"}},{{\"name\":\"_version\",\"type\":\"long\"}},"
    );
    for field in fields {
        let kind = match field.kind {
            FieldType::Text => "string",
            FieldType::Integer | FieldType::Timestamp => "long",
            FieldType::Decimal => "bytes",
            FieldType::Date => "int",
            FieldType::Boolean => "boolean",
        };
        canonical.push_str(&format!("{{\"name\":\"{}\",\"type\":[\"null\",\"{kind}\"]}},", field.name));
    }
    if !committed.is_empty() {
        canonical.push_str(
            "{\"name\":\"_evidence\",\"type\":[\"null\",{\"name\":\"huiliu.evidence\",\"type\":\"record\",\"fields\":[\
             {\"name\":\"_view\",\"type\":{\"name\":\"huiliu.salt\",\"type\":\"fixed\",\"size\":32}}",
        );
        for (n, name) in committed.iter().enumerate() {
            let commitment = match n {
                0 => "{\"name\":\"huiliu.commitment\",\"type\":\"fixed\",\"size\":32}",
                _ => "\"huiliu.commitment\"",
            };
            canonical.push_str(&format!(",{{\"name\":\"{name}\",\"type\":[\"huiliu.salt\",{commitment}]}}"));
        }
        canonical.push_str("]}]},");
    }
    canonical.push_str("{\"name\":\"_digest\",\"type\":{\"name\":\"huiliu.digest\",\"type\":\"fixed\",\"size\":32}}]}");
    DigestAlgorithm::Sha256.digest(&[canonical.as_bytes()])
}

/// The released fields, and whether there is evidence behind them.
fn released_fields(record: &RecordSchema) -> Option<(Vec<FeedField>, bool)> {
    let [op, id, version, released @ .., digest] = record.fields.as_slice() else { return None };
    let ours = |name: &Name| name.namespace() == Some("huiliu");
    let op_fits = match &op.schema {
        Schema::Enum(kinds) => {
            let named = ours(&kinds.name) && kinds.name.name() == "op";
            op.name == "_op" && named && kinds.symbols == ["upsert", "withdraw"]
        }
        _ => false,
    };
    let long = |field: &RecordField, name: &str| field.name == name && matches!(field.schema, Schema::Long);
    let digest_fits = match &digest.schema {
        Schema::Fixed(fixed) => {
            let named = ours(&fixed.name) && fixed.name.name() == "digest";
            digest.name == "_digest" && named && fixed.size == 32
        }
        _ => false,
    };
    if !(ours(&record.name) && op_fits && long(id, "_id") && long(version, "_version") && digest_fits) {
        return None;
    }
    let (released, evidenced) = match released {
        [released @ .., last] if last.name == "_evidence" => (released, true),
        all => (all, false),
    };
    let fields: Option<Vec<FeedField>> = released.iter().map(released_field).collect();
    Some((fields?, evidenced))
}

fn released_field(field: &RecordField) -> Option<FeedField> {
    check_name("field", &field.name).ok()?;
    let Schema::Union(union) = &field.schema else { return None };
    let [Schema::Null, kind] = union.variants() else { return None };
    let kind = match kind {
        Schema::String => FieldType::Text,
        Schema::Long => FieldType::Integer,
        Schema::Decimal(decimal)
            if decimal.precision == usize::from(DECIMAL_PRECISION)
                && i8::try_from(decimal.scale) == Ok(DECIMAL_SCALE)
                && matches!(decimal.inner, InnerDecimalSchema::Bytes) =>
        {
            FieldType::Decimal
        }
        Schema::Date => FieldType::Date,
        Schema::TimestampMicros => FieldType::Timestamp,
        Schema::Boolean => FieldType::Boolean,
        _ => return None,
    };
    Some(FeedField { name: field.name.clone(), title: field.doc.clone().unwrap_or_default(), kind })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn every_type() -> FeedSchema {
        every_type_by(DigestAlgorithm::Sha256)
    }

    pub(crate) fn every_type_by(algorithm: DigestAlgorithm) -> FeedSchema {
        let fields = FieldType::ALL.iter().map(|kind| FeedField {
            name: format!("a_{kind}"),
            title: format!("字段 {kind}"),
            kind: *kind,
        });
        FeedSchema::new("housing.enterprise", fields.collect(), algorithm).unwrap()
    }

    #[test]
    fn a_schema_reads_back_from_its_text() {
        let schema = every_type();
        assert_eq!(FeedSchema::from_json(schema.json(), DigestAlgorithm::Sha256), Ok(schema));
    }

    #[test]
    fn names_that_avro_cannot_carry_are_refused() {
        let code = |feed: &str, names: &[&str]| {
            let fields = names.iter().map(|name| FeedField {
                name: (*name).to_owned(),
                title: String::new(),
                kind: FieldType::Text,
            });
            FeedSchema::new(feed, fields.collect(), DigestAlgorithm::Sha256).map(|_| ()).map_err(|e| e.code())
        };
        assert_eq!(code("social-security.insured", &["uscc"]), Ok(()));
        for (feed, names) in [
            ("住建.enterprise", &["uscc"][..]),
            ("", &["uscc"]),
            ("a.b", &["名称"]),
            ("a.b", &["_id"]),
            ("a.b", &["1st"]),
            ("a.b", &["a-b"]),
            ("a.b", &["x", "x"]),
        ] {
            assert_eq!(code(feed, names), Err("HL0720"), "{feed} {names:?}");
        }
    }

    #[test]
    fn schemas_that_are_not_a_feeds_are_refused() {
        let good = every_type().json().to_owned();
        for bad in [
            "{}".to_owned(),
            "\"string\"".to_owned(),
            good.replace("_version", "version"),
            good.replace("\"size\":32", "\"size\":20"),
            good.replace("\"scale\":4", "\"scale\":2"),
            good.replace("[\"null\",\"string\"]", "\"string\""),
        ] {
            let found = FeedSchema::from_json(&bad, DigestAlgorithm::Sha256).map_err(|e| e.code());
            assert_eq!(found.unwrap_err(), "HL0727", "{bad}");
        }
    }
}
