//! A register: keys that are its fields, catalogue entries that the rules demand, systems that exist.

use super::super::names::confusable;
use super::super::{Field, Register, ShareClass};
use super::{Ground, dangling, repeated};
use crate::error::Problem;
use crate::record::FieldType;

/// Checks one register.
pub(super) fn check(register: &Register, ground: &Ground<'_>) -> Vec<Problem> {
    let named = register.fields.iter().map(|field| (field.name.as_str(), field.place.clone()));
    let mut problems = confusable("field", named, Problem::error);
    problems.extend(repeated("key", &register.keys));
    problems.extend(keys(register));
    problems.extend(register.fields.iter().flat_map(catalogue));
    problems.extend(register.fields.iter().flat_map(|field| sources(field, ground)));
    problems
}

fn keys(register: &Register) -> Vec<Problem> {
    let of_key = |key: &super::At<String>| match register.field(&key.value) {
        None => {
            let what = format!("key \"{}\" is not a field of register \"{}\"", key.value, register.name);
            Some(dangling("HL0135", what, key, register.fields.iter().map(|field| field.name.as_str())))
        }
        Some(field) if field.kind != FieldType::Text => {
            let message = format!("key \"{}\" of register \"{}\" is of type {}", key.value, register.name, field.kind);
            Some(Problem::error("HL0135", message).at(key.place.clone()).hint("keys are text: make the field text"))
        }
        Some(_) => None,
    };
    register.keys.iter().filter_map(of_key).collect()
}

/// What the catalogue must say about a field that is not for everyone.
fn catalogue(field: &Field) -> Vec<Problem> {
    let demanded: &[(&str, bool)] = match field.share {
        ShareClass::Unconditional => &[],
        ShareClass::Conditional => &[("condition", field.condition.is_some()), ("basis", field.basis.is_some())],
        ShareClass::Withheld => &[("basis", field.basis.is_some())],
    };
    let class = if field.share == ShareClass::Conditional { "conditional" } else { "withheld" };
    let missing = demanded.iter().filter(|(_, given)| !given).map(|(key, _)| {
        let message = format!("field \"{}\" is {class}, and its {key} is missing", field.name);
        Problem::error("HL0136", message).at(field.place.clone()).detail("the catalogue must say under which rule")
    });
    missing.collect()
}

fn sources(field: &Field, ground: &Ground<'_>) -> Vec<Problem> {
    let mut problems = repeated("system", &field.from);
    for system in field.from.iter().filter(|system| !ground.workspace.connectors.contains_key(&system.value)) {
        let what = format!("field \"{}\" names system \"{}\", which no connector describes", field.name, system.value);
        let problem = dangling("HL0131", what, system, ground.workspace.connectors.keys().map(String::as_str));
        problems.push(Problem { severity: crate::error::Severity::Warning, ..problem });
    }
    problems
}
