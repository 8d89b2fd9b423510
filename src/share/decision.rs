//! What a grant does with each field of the register, in words for manifests and `huiliu scope explain`.

use std::fmt;

use crate::config::{Feed, Field, MaskRule, PseudonymBy, Register, ShareClass};

/// What happens to one field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldDecision {
    /// It leaves as it is.
    Released,
    /// It leaves changed: `name`, `id_number`, … or `sql`.
    Masked(String),
    /// It does not leave.
    Withheld(Withheld),
}

/// Why a field does not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// The grant does not name it.
    NotGranted,
    /// The catalogue does not share it (不予共享), whatever the grant says.
    NotShared,
    /// The catalogue shares it on a condition (有条件共享) and the grant states no legal basis.
    NoBasis,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotGranted => "not granted",
            Self::NotShared => "withheld 不予共享",
            Self::NoBasis => "conditional without basis",
        })
    }
}

impl fmt::Display for FieldDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::Masked(how) => write!(f, "masked: {how}"),
            Self::Withheld(why) => write!(f, "withheld: {why}"),
        }
    }
}

/// The decision about one field. Default deny: every way to `Released` is spelled out.
pub(super) fn decide(feed: &Feed, field: &Field) -> FieldDecision {
    if !feed.fields.iter().any(|granted| granted.value == field.name) {
        return FieldDecision::Withheld(Withheld::NotGranted);
    }
    if let Some(why) = catalogue(feed, field) {
        return FieldDecision::Withheld(why);
    }
    match feed.mask.get(&field.name) {
        None => FieldDecision::Released,
        Some(mask) => FieldDecision::Masked(mask_name(&mask.value).to_owned()),
    }
}

/// Fields that a grant names and does not get, and why.
pub fn asked_and_withheld(feed: &Feed, register: &Register) -> Vec<(String, Withheld)> {
    let asked = feed.fields.iter().filter_map(|granted| register.field(&granted.value));
    asked.filter_map(|field| Some((field.name.clone(), catalogue(feed, field)?))).collect()
}

/// Why the catalogue keeps a field from this feed, whatever the grant names.
pub(super) fn catalogue(feed: &Feed, field: &Field) -> Option<Withheld> {
    match field.share {
        ShareClass::Withheld => Some(Withheld::NotShared),
        ShareClass::Conditional if feed.basis.as_ref().is_none_or(|basis| basis.trim().is_empty()) => {
            Some(Withheld::NoBasis)
        }
        ShareClass::Conditional | ShareClass::Unconditional => None,
    }
}

/// The name under which a mask appears in manifests.
fn mask_name(mask: &MaskRule) -> &'static str {
    match mask {
        MaskRule::Name => "name",
        MaskRule::IdNumber => "id_number",
        MaskRule::Phone => "phone",
        MaskRule::Address => "address",
        MaskRule::Year => "year",
        MaskRule::Null => "null",
        MaskRule::Pseudonym(PseudonymBy::Sha256) => "pseudonym",
        MaskRule::Pseudonym(PseudonymBy::Sm3) => "pseudonym(sm3)",
        MaskRule::Sql(_) => "sql",
    }
}
