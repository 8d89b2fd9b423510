//! One register's values on their way into the store and back.
//!
//! A sensitive field is a text column there; beside it, where it names something, a column with its blind index.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use super::super::{Result, StoreError};
use crate::config::{Field, Register};
use crate::crypto::at_rest::{Blind, Cipher, Closed, DataKeys};
use crate::error::Problem;
use crate::linking::{Claim, ClaimId, EntityId, Layout, Row, Statement, decode_values, encode_past, encode_values};
use crate::record::{FieldType, Value};

/// What the column with a field's blind index is called: the field's name and this.
const INDEX: &str = "_index";

/// What lies around a register.
pub(super) struct Around<'a> {
    /// Columns that the store has by now.
    pub(super) columns: HashSet<String>,
    /// Encrypted keys of all registers: register, field.
    pub(super) names: HashSet<(&'a str, &'a str)>,
    /// The store's.
    pub(super) keys: &'a DataKeys,
}

/// What is known of a register whose fields are encrypted, or some of them.
pub(super) struct RegisterAtRest {
    name: String,
    /// In the order of the register's file.
    fields: Vec<(String, FieldType)>,
    /// Encrypted fields, those that the file does not have any more too.
    cells: BTreeMap<String, (FieldType, Cipher)>,
    /// Places of encrypted fields, and what their claims are encrypted with.
    sensitive: Vec<usize>,
    claims: Cipher,
    /// Index columns behind the fields, in order.
    blind: Vec<(usize, Blind)>,
    /// The register's keys, strongest first.
    pub(super) keys: Vec<(String, Option<Cipher>)>,
}

impl RegisterAtRest {
    /// `encrypted` are the fields that the store has encrypted, or will.
    pub(super) fn new(
        register: &Register,
        encrypted: &BTreeMap<String, FieldType>,
        Around { columns, names, keys }: &Around<'_>,
    ) -> Result<Self> {
        let name = register.name.as_str();
        let cell = |(field, kind): (&String, &FieldType)| (field.clone(), (*kind, keys.cipher(&["cell", name, field])));
        let place = |field: &str| register.fields.iter().position(|f| f.name == field);
        let key = |key: &str| encrypted.contains_key(key).then(|| keys.lookup(&["key", name, key]));
        let names_something = |field: &Field| {
            register.keys.iter().any(|key| key.value == field.name)
                || register.bonds.links.iter().any(|link| link.field.value == field.name)
                || columns.contains(&index_of(&field.name))
        };
        let blind = register.fields.iter().enumerate().filter(|(_, field)| {
            encrypted.contains_key(&field.name) && field.kind == FieldType::Text && names_something(field)
        });
        let blind = blind.map(|(place, field)| {
            let (register, field) = named(register, &field.name, names);
            let blind = keys.blind(&["index", register, field]);
            blind.map(|blind| (place, blind)).ok_or_else(|| StoreError::Damaged("there is no data key".into()))
        });
        Ok(Self {
            name: name.to_owned(),
            fields: register.fields.iter().map(|field| (field.name.clone(), field.kind)).collect(),
            cells: encrypted.iter().map(cell).collect(),
            sensitive: encrypted.keys().filter_map(|field| place(field)).collect(),
            claims: keys.cipher(&["claim", name]),
            blind: blind.collect::<Result<_>>()?,
            keys: register.keys.iter().map(|listed| (listed.value.clone(), key(&listed.value))).collect(),
        })
    }

    /// The register as the store is to keep it.
    pub(super) fn kept_as(&self, register: &Register) -> Register {
        let mut kept = register.clone();
        for field in kept.fields.iter_mut().filter(|field| self.cells.contains_key(&field.name)) {
            field.kind = FieldType::Text;
        }
        for (place, _) in &self.blind {
            let mut index = kept.fields[*place].clone();
            index.name = index_of(&index.name);
            index.title += " 盲索引 blind index";
            kept.fields.push(index);
        }
        kept
    }

    /// Whether a field is encrypted.
    pub(super) fn has(&self, field: &str) -> bool {
        self.cells.contains_key(field)
    }

    /// A column of the store that is no field.
    pub(super) fn is_index(&self, column: &str) -> bool {
        let of = |(name, _): &(String, FieldType)| column.strip_suffix(INDEX) == Some(name);
        self.has(column.strip_suffix(INDEX).unwrap_or_default()) && self.fields.iter().any(of)
    }

    /// The type of an encrypted field.
    pub(super) fn kind(&self, field: &str) -> Option<FieldType> {
        self.cells.get(field).map(|(kind, _)| *kind)
    }

    /// What a key's value looks like in the store.
    pub(super) fn close_key(&self, kind: usize, value: &Arc<str>) -> Arc<str> {
        match self.keys.get(kind) {
            Some((_, Some(cipher))) => cipher.encrypt_text(&[], value).into(),
            _ => Arc::clone(value),
        }
    }

    /// Undoes [`Self::close_key`].
    pub(super) fn open_key(&self, kind: usize, stored: &Arc<str>) -> Result<Arc<str>> {
        match self.keys.get(kind) {
            Some((name, Some(cipher))) => {
                let opened = cipher.decrypt_text(&[], stored);
                opened.map(Into::into).map_err(|why| closed(format_args!("a key {}.{name}", self.name), why))
            }
            _ => Ok(Arc::clone(stored)),
        }
    }

    /// A register row, before it is written.
    pub(super) fn close_row(&self, entity: EntityId, version: i64, row: &mut Row) {
        let text = |place: usize| row.get(place).and_then(Option::as_ref).map(Value::to_text);
        let indexes = self.blind.iter().map(|(place, blind)| text(*place).map(|text| Value::Text(blind.of(&text))));
        let indexes: Vec<Option<Value>> = indexes.collect();
        for &place in &self.sensitive {
            let Some(Some(value)) = row.get_mut(place) else { continue };
            let Some((_, cipher)) = self.fields.get(place).and_then(|(name, _)| self.cells.get(name)) else { continue };
            *value = Value::Text(cipher.encrypt_text(&here(entity, version), &value.to_text()));
        }
        row.resize(self.fields.len(), None);
        row.extend(indexes);
    }

    /// Undoes [`Self::close_row`].
    pub(super) fn open_row(&self, entity: EntityId, version: i64, row: &mut Row) -> Result<()> {
        row.truncate(self.fields.len());
        for &place in &self.sensitive {
            let (Some(cell), Some((name, _))) = (row.get_mut(place), self.fields.get(place)) else { continue };
            let Some(stored) = cell.take() else { continue };
            *cell = Some(self.open_value((entity, version), name, &stored.to_text())?);
        }
        Ok(())
    }

    /// One value of an encrypted field.
    pub(super) fn open_value(&self, at: (EntityId, i64), field: &str, stored: &str) -> Result<Value> {
        let text = self.open_text(at, field, stored)?;
        let kind = self.kind(field).unwrap_or(FieldType::Text);
        Value::from_text(kind, &text)
            .ok_or_else(|| StoreError::Damaged(format!("register column {field}: not a {kind}")))
    }

    /// One value of an encrypted field, as text.
    pub(super) fn open_text(&self, (entity, version): (EntityId, i64), field: &str, stored: &str) -> Result<String> {
        let Some((_, cipher)) = self.cells.get(field) else { return Ok(stored.to_owned()) };
        cipher
            .decrypt_text(&here(entity, version), stored)
            .map_err(|why| closed(format_args!("field {field} of entity {entity} in register {}", self.name), why))
    }

    /// The packed values of a claim: everything sensitive becomes one text in the place of the first sensitive field.
    pub(super) fn close_claim(&self, layout: &Layout, (id, run): (ClaimId, i64), packed: &[u8]) -> Result<Vec<u8>> {
        let mut hidden = layout.fields.iter().filter(|field| self.sensitive.contains(field));
        let Some(&first) = hidden.next() else { return Ok(packed.to_vec()) };
        let (mut row, past) = decode_values(layout, self.fields.len(), packed)
            .ok_or_else(|| StoreError::Damaged("a claim to be written does not unpack".into()))?;
        let (secret, past): (Vec<Statement>, Vec<Statement>) =
            past.into_iter().partition(|said| self.sensitive.contains(&said.field));
        let mut text = Packed::default();
        for &place in &self.sensitive {
            if let (Some(value), Some((name, _))) = (row.get_mut(place).and_then(Option::take), self.fields.get(place))
            {
                text.put(name);
                text.put(&value.to_text());
            }
        }
        text.put("");
        for said in &secret {
            text.put(&self.fields[said.field].0);
            text.put(&said.at.to_string());
            text.put(&said.state);
        }
        row[first] = Some(Value::Text(self.claims.encrypt_text(&here(id, run), &text.0)));
        let mut packed = encode_values(layout, &row);
        encode_past(layout, &past, &mut packed);
        Ok(packed)
    }

    /// Undoes [`Self::close_claim`] on a claim that the store unpacked.
    pub(super) fn open_claim(&self, claim: &mut Claim) -> Result<()> {
        claim.values.truncate(self.fields.len());
        let stored = self.sensitive.iter().find_map(|&place| claim.values.get_mut(place).and_then(Option::take));
        let Some(Value::Text(stored)) = stored else { return Ok(()) };
        let broken = |why| closed(format_args!("claim {} about register {}", claim.id, self.name), why);
        let text = self.claims.decrypt_text(&here(claim.id, claim.origin.run), &stored).map_err(broken)?;
        let misread = || StoreError::Damaged(format!("claim {} does not unpack", claim.id));
        let place = |name: &str| self.fields.iter().position(|(field, _)| field == name);
        let mut parts = Parts(&text);
        loop {
            let name = parts.next().ok_or_else(misread)?;
            if name.is_empty() {
                break;
            }
            let value = parts.next().ok_or_else(misread)?;
            // A field that the register's file no longer has is passed over.
            let Some(place) = place(name) else { continue };
            let kind = self.fields[place].1;
            claim.values[place] = Some(Value::from_text(kind, value).ok_or_else(misread)?);
        }
        while let Some(name) = parts.next() {
            let at = parts.next().and_then(|at| at.parse().ok()).ok_or_else(misread)?;
            let state: Arc<str> = parts.next().ok_or_else(misread)?.into();
            if let Some(field) = place(name) {
                claim.past.push(Statement { at, field, state });
            }
        }
        claim.past.sort();
        Ok(())
    }

    /// (field, canonical text) of what a claim says.
    pub(super) fn said(&self, claim: &Claim) -> Vec<(String, String)> {
        let said = self.fields.iter().zip(&claim.values);
        said.filter_map(|((name, _), value)| Some((name.clone(), value.as_ref()?.to_text()))).collect()
    }
}

/// Texts one after the other, each with its length.
#[derive(Default)]
struct Packed(String);

impl Packed {
    fn put(&mut self, text: &str) {
        self.0.push_str(&text.len().to_string());
        self.0.push(':');
        self.0.push_str(text);
    }
}

struct Parts<'a>(&'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_once(':')?;
        let (text, rest) = rest.split_at_checked(length.parse().ok()?)?;
        self.0 = rest;
        Some(text)
    }
}

/// The column with a field's blind index.
fn index_of(field: &str) -> String {
    format!("{field}{INDEX}")
}

/// What a field names: the encrypted key that it leads to, so that the indexes of both can be joined; or itself.
fn named<'a>(register: &'a Register, field: &'a str, names: &HashSet<(&str, &str)>) -> (&'a str, &'a str) {
    let link = register.bonds.links.iter().find(|link| link.field.value == field);
    link.and_then(|link| link.targets().find(|target| names.contains(target))).unwrap_or((&register.name, field))
}

/// Where a value stands: an entity and its version, or a claim and the run that wrote it.
pub(super) fn here(number: i64, state: i64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&number.to_be_bytes());
    place[8..].copy_from_slice(&state.to_be_bytes());
    place
}

/// What a person is told about a value that does not open.
pub(super) fn closed(what: impl Display, why: Closed) -> StoreError {
    let problem = match why {
        Closed::Altered => Problem::error("HL0411", format!("{what} does not open"))
            .detail(why.to_string())
            .hint("somebody wrote into the database: restore the row from a backup, and look who could"),
        Closed::Generation(_) => {
            Problem::error("HL0413", format!("{what} is of another data key")).detail(why.to_string()).hint(
                "start this process again if the data key was renewed meanwhile; else restore the keys from a backup",
            )
        }
    };
    StoreError::Refused(Box::new(problem))
}
