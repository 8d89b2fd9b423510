//! What a register says beyond single fields: fields that exist and have the right type, keys that exist elsewhere.

use super::super::{At, Counted, Link, Register, Until};
use super::{Ground, dangling};
use crate::clock::Term;
use crate::error::Problem;
use crate::record::FieldType;

/// Checks versions, links, uniqueness and totals.
pub(super) fn check(register: &Register, ground: &Ground<'_>) -> Vec<Problem> {
    let bonds = &register.bonds;
    let text = |name| field(register, name, FieldType::Text);
    let any = |name: &At<String>| match register.field(&name.value) {
        Some(_) => None,
        None => Some(unknown(register, name)),
    };
    let decimal = |name| field(register, name, FieldType::Decimal);
    let mut problems: Vec<Problem> = bonds.versions.iter().filter_map(text).collect();
    for link in &bonds.links {
        problems.extend(text(&link.field));
        problems.extend(targets(link, ground));
    }
    for single in &bonds.single {
        problems.extend(single.by.iter().filter_map(any));
        problems.extend(single.among.iter().filter_map(|(name, _)| text(name)));
        if single.by.is_empty() {
            problems.push(empty("by", &single.name));
        }
        problems
            .extend(single.among.iter().filter(|(_, values)| values.is_empty()).map(|(name, _)| empty("among", name)));
    }
    for totals in &bonds.totals {
        problems.extend(totals.by.iter().filter_map(any));
        problems.extend([&totals.total, &totals.detail].into_iter().filter_map(decimal));
        if totals.by.is_empty() {
            problems.push(empty("by", &totals.name));
        }
    }
    for deadline in &bonds.deadlines {
        let timestamp = |name| field(register, name, FieldType::Timestamp);
        problems.extend(match &deadline.until {
            Until::Field(due) => timestamp(due),
            Until::Counted(Counted { from, .. }) => {
                timestamp(from).filter(|_| field(register, from, FieldType::Date).is_some())
            }
        });
        if let Until::Counted(term) = &deadline.until {
            problems.extend(excluded(register, term));
        }
        problems.extend(timestamp(&deadline.done));
    }
    problems
}

/// What a term excludes are days, so it must be one of days.
fn excluded(register: &Register, term: &Counted) -> Option<Problem> {
    let excluding = term.excluding.as_ref()?;
    if matches!(term.within.value, Term::Hours(_)) {
        let message = "a term of hours excludes no days";
        let hint = "say `within` in days or working days";
        return Some(Problem::error("HL0161", message).at(excluding.place.clone()).hint(hint));
    }
    field(register, excluding, FieldType::Integer)
}

fn unknown(register: &Register, name: &At<String>) -> Problem {
    let what = format!("register \"{}\" has no field \"{}\"", register.name, name.value);
    dangling("HL0161", what, name, register.fields.iter().map(|field| field.name.as_str()))
}

fn empty(what: &str, name: &At<String>) -> Problem {
    Problem::error("HL0161", format!("`{what}` of \"{}\" is empty", name.value)).at(name.place.clone())
}

fn field(register: &Register, name: &At<String>, kind: FieldType) -> Option<Problem> {
    match register.field(&name.value) {
        None => Some(unknown(register, name)),
        Some(field) if field.kind == kind => None,
        Some(field) => {
            let message = format!("field \"{}\" is of type {}, and must be {kind} here", name.value, field.kind);
            Some(Problem::error("HL0161", message).at(name.place.clone()))
        }
    }
}

/// `register.key`, both of which exist.
fn targets(link: &Link, ground: &Ground<'_>) -> Vec<Problem> {
    let of = |to: &At<String>| {
        let registers = &ground.workspace.registers;
        let (register, key) = to.value.split_once('.').unwrap_or((&to.value, ""));
        match registers.get(register) {
            None => {
                let what =
                    format!("link \"{}\" leads to register \"{register}\", which does not exist", link.name.value);
                let given = At { value: register.to_owned(), place: to.place.clone() };
                Some(dangling("HL0161", what, &given, registers.keys().map(String::as_str)))
            }
            Some(target) if target.keys.iter().any(|name| name.value == key) || !ground.trusts_register(register) => {
                None
            }
            Some(target) => {
                let what = format!("link \"{}\" leads to \"{}\", which is not register.key", link.name.value, to.value);
                let given = At { value: key.to_owned(), place: to.place.clone() };
                Some(dangling("HL0161", what, &given, target.keys.iter().map(|name| name.value.as_str())))
            }
        }
    };
    link.to.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    const FILE: &str = "registers/";
    const STEWARD: &str = "steward: 市场监督管理局\n";

    fn with(lines: &str, codes: &[&str]) {
        check(FILE, STEWARD, &format!("{STEWARD}{lines}\n"), codes);
    }

    #[test]
    fn links_lead_to_keys_of_registers() {
        with("links: { a: { title: t, field: name, to: [enterprise.uscc] } }", &[]);
        with("links: { a: { title: t, field: nam, to: [enterprise.uscc] } }", &["HL0161 4:32"]);
        with("links: { a: { title: t, field: established_on, to: [enterprise.uscc] } }", &["HL0161 4:32"]);
        with(
            "links: { a: { title: t, field: name, to: [enterprise.name, person.uscc, uscc] } }",
            &["HL0161 4:43", "HL0161 4:60", "HL0161 4:73"],
        );
    }

    #[test]
    fn what_is_single_or_adds_up_has_fields_of_the_right_type() {
        with("single: { a: { title: t, by: [name], among: { status: ['1'] } } }", &[]);
        with("single: { a: { title: t, by: [], among: { stat: ['1'] } } }", &["HL0161 4:11", "HL0161 4:43"]);
        with("totals: { a: { title: t, by: [name], total: status, detail: x } }", &["HL0161 4:45", "HL0161 4:61"]);
        with("versions: uscd", &["HL0161 4:11"]);
        with("deadlines: { a: { title: t, due: name, done: x } }", &["HL0161 4:34", "HL0161 4:46"]);
        let term = |term: &str, codes: &[&str]| {
            with(&format!("deadlines: {{ a: {{ title: t, due: {term}, done: x }} }}"), codes)
        };
        term("{ from: established_on, within: 5 working days }", &["HL0161 4:90"]);
        term("{ from: name, within: 24h }", &["HL0161 4:42", "HL0161 4:69"]);
        term("{ from: established_on, within: soon }", &["HL0111 4:66", "HL0161 4:80"]);
        term("{ from: established_on, within: 5d, excluding: name }", &["HL0161 4:81", "HL0161 4:95"]);
        term("{ from: established_on, within: 24h, excluding: days }", &["HL0161 4:82", "HL0161 4:96"]);
    }

    #[test]
    fn states_follow_states() {
        let status = "status: { title: 状态, type: text, share: unconditional, level: 1 }";
        let given = |states: &str, codes: &[&str]| {
            check(
                FILE,
                status,
                &format!("status: {{ title: s, type: text, share: unconditional, level: 1, {states} }}"),
                codes,
            );
        };
        given("states: { '1': ['2'], '2': [] }", &[]);
        given("states: { '1': ['3'], '2': [] }", &["HL0160 15:83"]);
        given(
            "expired: { from: ['1'], to: '2', after: established_on }",
            &["HL0160 15:3", "HL0160 15:85", "HL0160 15:95"],
        );
        given("states: { '1': [] }, expired: { from: ['1'], to: '1', after: name }", &["HL0160 15:128"]);
    }
}
