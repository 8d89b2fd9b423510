//! A register: keys that are its fields, catalogue entries that the rules demand, systems that exist.

use super::super::names::confusable;
use super::super::{Field, Register, ShareClass};
use super::{Ground, bonds, dangling, repeated};
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
    problems.extend(register.fields.iter().flat_map(|field| states(field, register)));
    problems.extend(bonds::check(register, ground));
    problems
}

/// States that may be reached are states; a date that ends one is a date.
fn states(field: &Field, register: &Register) -> Vec<Problem> {
    let Some(states) = &field.states else { return Vec::new() };
    let wrong = |message: String, place: &crate::error::Place| Problem::error("HL0160", message).at(place.clone());
    let mut problems = Vec::new();
    if field.kind != FieldType::Text || states.next.is_empty() {
        let message = format!("field \"{}\" has states, and is not a text field with at least one", field.name);
        problems.push(wrong(message, &field.place));
    }
    let known: Vec<&str> = states.next.iter().map(|(state, _)| state.value.as_str()).collect();
    let expired = states.expired.iter().flat_map(|expired| expired.from.iter().chain([&expired.to]));
    for state in states.next.iter().flat_map(|(_, next)| next).chain(expired) {
        if !known.contains(&state.value.as_str()) {
            let what = format!("\"{}\" is no state of field \"{}\"", state.value, field.name);
            problems.push(dangling("HL0160", what, state, known.iter().copied()));
        }
    }
    if let Some(issue) = states.issue.as_ref().filter(|issue| register.field(&issue.value).is_none()) {
        let what = format!("register \"{}\" has no field \"{}\"", register.name, issue.value);
        problems.push(dangling("HL0160", what, issue, register.fields.iter().map(|field| field.name.as_str())));
    }
    if let Some(expired) = &states.expired
        && register.field(&expired.after.value).is_none_or(|date| date.kind != FieldType::Date)
    {
        let message = format!("\"{}\" is not a date field of register \"{}\"", expired.after.value, register.name);
        problems.push(wrong(message, &expired.after.place));
    }
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

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    const FILE: &str = "registers/";

    #[test]
    fn keys_are_text_fields() {
        check(FILE, "keys: [uscc]", "keys: [uscc, usc]", &["HL0135 4:14"]);
        check(FILE, "keys: [uscc]", "keys: [uscc, established_on]", &["HL0135 4:14"]);
        check(FILE, "keys: [uscc]", "keys: [uscc, uscc]", &["HL0115 4:14"]);
    }

    #[test]
    fn the_catalogue_says_under_which_rule_a_field_is_not_for_everyone() {
        check(FILE, "    condition: 履行法定职责且有明确法律依据\n", "", &["HL0136 17:3"]);
        check(FILE, "    basis: 政务信息资源共享管理暂行办法\n", "", &["HL0136 17:3"]);
        check(FILE, ", basis: 信访工作条例", "", &["HL0136 24:3"]);
    }

    #[test]
    fn an_unknown_system_in_an_order_of_sources_is_a_warning() {
        let problems = check(FILE, "from: [market-regulation]", "from: [market-regulatoin]", &["HL0131 13:12 warning"]);
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean market-regulation?"));
    }

    #[test]
    fn names_of_fields_can_be_told_apart_and_used_in_sql() {
        check(FILE, "  status: {", "  Name: {", &["HL0141 5:59", "HL0115 15:3", "HL0651 9:47"]);
        check(FILE, "  secret: {", "  _op: {", &["HL0114 24:3"]);
        check(FILE, "  secret: {", "  a-b: {", &["HL0114 24:3"]);
    }
}
