//! A grant: it names what exists, gives no more than the catalogue allows, says why, and masks what can be masked.

use super::super::names::is_valid;
use super::super::read::feed::MASKS;
use super::super::register::SENSITIVE;
use super::super::shape::Naming;
use super::super::yaml::Mark;
use super::super::{At, DeliveryEncryption, Feed, Field, MaskRule, OutletKind, Register, ShareClass};
use super::{Ground, dangling, repeated};
use crate::error::{Place, Problem, nearest};
use crate::record::FieldType;

/// Checks one feed.
pub(super) fn check(feed: &Feed, ground: &Ground<'_>) -> Vec<Problem> {
    let mut problems = repeated("field", &feed.fields);
    problems.extend(file_name(feed));
    problems.extend(validity(feed, ground));
    problems.extend(broker(feed, ground));
    if feed.fields.is_empty() && ground.trusts(&feed.file) {
        let problem = Problem::error("HL0138", format!("feed \"{}\" grants no field", feed.name));
        problems.push(problem.at(start(feed)));
    }
    problems.extend(feed.mask.iter().flat_map(|(field, mask)| mask_without_field(feed, field, mask)));
    match ground.workspace.registers.get(&feed.register.value) {
        Some(register) => problems.extend(against(feed, register, ground.trusts_register(&register.name))),
        None if feed.register.value.is_empty() => {} // reported as missing
        None => {
            let what =
                format!("feed \"{}\" is about register \"{}\", which does not exist", feed.name, feed.register.value);
            let registers = ground.workspace.registers.keys().map(String::as_str);
            problems.push(dangling("HL0650", what, &feed.register, registers));
        }
    }
    problems
}

fn start(feed: &Feed) -> Place {
    Mark::START.place(&feed.file)
}

/// The file is called `<subscriber>.<register>.yaml`, because its name is what queues, directories and people use.
fn file_name(feed: &Feed) -> Option<Problem> {
    let expected = format!("{}.{}", feed.subscriber, feed.register.value);
    let absent = feed.subscriber.is_empty() || feed.register.value.is_empty();
    if !absent && !is_valid(Naming::Plain, &feed.subscriber) {
        let problem = Problem::error("HL0114", "this cannot be the name of a subscriber").at(start(feed));
        return Some(problem.detail("expected letters, digits, - and _").hint("the title may say it as people do"));
    }
    if absent || feed.name == expected {
        return None;
    }
    let problem = Problem::error("HL0117", format!("this file is called {}, its content says {expected}", feed.name));
    Some(
        problem
            .at(feed.register.place.clone())
            .hint(format!("rename the file to {expected}.yaml, or correct the content")),
    )
}

fn validity(feed: &Feed, ground: &Ground<'_>) -> Option<Problem> {
    let until = feed.valid.until?;
    if !ground.trusts(&feed.file) {
        None
    } else if until < feed.valid.from {
        let message =
            format!("the grant of feed \"{}\" ends on {until}, before it begins on {}", feed.name, feed.valid.from);
        Some(Problem::error("HL0658", message).at(start(feed)))
    } else if until < ground.today {
        let problem = Problem::warning("HL0659", format!("the grant of feed \"{}\" ended on {until}", feed.name));
        Some(problem.at(start(feed)).hint("everything delivered is withdrawn; renew the grant, or remove the feed"))
    } else {
        None
    }
}

/// A feed to RabbitMQ needs one.
fn broker(feed: &Feed, ground: &Ground<'_>) -> Option<Problem> {
    let outlet = &feed.delivery.outlet;
    if outlet.value != OutletKind::Rabbitmq || ground.workspace.installation.broker.is_some() {
        return None;
    }
    if !ground.trusts("huiliu.yaml") {
        return None; // what it says about the broker may be what is wrong with it
    }
    let problem =
        Problem::error("HL0145", format!("feed \"{}\" goes to RabbitMQ, and no broker is configured", feed.name));
    let hint =
        "write broker: env:HUILIU_BROKER in huiliu.yaml, with amqps://user:password@host:5671/vhost in the environment";
    Some(problem.at(outlet.place.clone()).hint(hint))
}

fn mask_without_field(feed: &Feed, field: &str, mask: &At<MaskRule>) -> Option<Problem> {
    if feed.fields.iter().any(|granted| granted.value == field) {
        return None;
    }
    let what = format!("feed \"{}\" masks field \"{field}\", which it does not grant", feed.name);
    let given = At { value: field.to_owned(), place: mask.place.clone() };
    Some(dangling("HL0654", what, &given, feed.fields.iter().map(|field| field.value.as_str())))
}

/// Fields of a high level travel encrypted, unless somebody decided otherwise and wrote it down.
fn encrypted(feed: &Feed, register: &Register) -> Option<Problem> {
    if feed.delivery.encryption != DeliveryEncryption::Unsaid {
        return None;
    }
    // A mask takes away what the level is for, and what is withheld must not go at all.
    let sensitive = |granted: &&At<String>| {
        let field = register.field(&granted.value).filter(|field| field.share != ShareClass::Withheld);
        !feed.mask.contains_key(&granted.value) && field.is_some_and(Field::is_sensitive)
    };
    let granted = feed.fields.iter().find(sensitive)?;
    let what =
        format!("feed \"{}\" carries \"{}\" of level {SENSITIVE} or above unencrypted", feed.name, granted.value);
    let hint =
        "write encrypt_to: certs/SUBSCRIBER.pem under delivery, or encrypt: off where the way is protected otherwise";
    Some(Problem::error("HL0148", what).at(granted.place.clone()).hint(hint))
}

fn against(feed: &Feed, register: &Register, trusted: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    if trusted {
        problems.extend(encrypted(feed, register));
    }
    for granted in &feed.fields {
        let mask = feed.mask.get(&granted.value);
        match register.field(&granted.value) {
            Some(field) if trusted => {
                problems.extend(allowed(feed, granted, field));
                problems.extend(mask.and_then(|mask| fits(register, field, mask)));
                problems.extend(exposed(granted, field, mask));
            }
            Some(_) => {}
            None => {
                let what = format!("\"{}\" is not a field of register \"{}\"", granted.value, register.name);
                problems.push(dangling(
                    "HL0651",
                    what,
                    granted,
                    register.fields.iter().map(|field| field.name.as_str()),
                ));
            }
        }
    }
    problems
}

/// Default deny: what the catalogue withholds is not granted, and what it conditions needs a basis.
fn allowed(feed: &Feed, granted: &At<String>, field: &Field) -> Option<Problem> {
    let problem = match field.share {
        ShareClass::Unconditional => return None,
        ShareClass::Conditional if feed.basis.is_some() => return None,
        ShareClass::Conditional => {
            let message =
                format!("field \"{}\" is conditional, and feed \"{}\" names no legal basis", field.name, feed.name);
            let problem = Problem::error("HL0653", message).hint("write basis: with law and article");
            match &field.condition {
                Some(condition) => problem.detail(format!("its condition is {condition}")),
                None => problem,
            }
        }
        ShareClass::Withheld => {
            let message =
                format!("field \"{}\" is withheld from sharing, feed \"{}\" cannot grant it", field.name, feed.name);
            let problem = Problem::error("HL0652", message).hint("leave it out, or have the catalogue changed first");
            match &field.basis {
                Some(basis) => problem.detail(format!("withheld under {basis}")),
                None => problem,
            }
        }
    };
    Some(problem.at(granted.place.clone()))
}

/// Whether a mask exists and can work on a field of this type.
fn fits(register: &Register, field: &Field, mask: &At<MaskRule>) -> Option<Problem> {
    let (name, types): (&str, &[FieldType]) = match &mask.value {
        MaskRule::Name => ("name", &[FieldType::Text]),
        MaskRule::IdNumber => ("id_number", &[FieldType::Text]),
        MaskRule::Phone => ("phone", &[FieldType::Text]),
        MaskRule::Address => ("address", &[FieldType::Text]),
        MaskRule::Pseudonym(_) => ("pseudonym", &[FieldType::Text]),
        MaskRule::Year => ("year", &[FieldType::Date, FieldType::Timestamp]),
        MaskRule::Null => return None,
        MaskRule::Sql(sql) => return unknown_mask(register, sql, &mask.place),
    };
    if types.contains(&field.kind) {
        return None;
    }
    let message = format!("mask {name} does not fit field \"{}\", which is of type {}", field.name, field.kind);
    let types: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
    let problem = Problem::error("HL0656", message).at(mask.place.clone());
    Some(problem.detail(format!("it is for {}", types.join(" and "))))
}

/// A lone word that is neither a mask nor a field is a misspelt mask, not SQL.
fn unknown_mask(register: &Register, sql: &str, place: &Place) -> Option<Problem> {
    if let Some(algorithm) = sql.strip_prefix("pseudonym(") {
        let message = format!("there is no pseudonym by \"{}\"", algorithm.trim_end_matches(')'));
        let problem = Problem::error("HL0655", message).at(place.clone());
        return Some(problem.hint("write pseudonym, which is by SHA-256, or pseudonym(sm3)"));
    }
    if !is_valid(Naming::Identifier, sql) || register.field(sql).is_some() {
        return None;
    }
    let problem = Problem::error("HL0655", format!("there is no mask \"{sql}\"")).at(place.clone());
    let detail = format!("masks are {}, or an SQL expression over the register's fields", MASKS.join(", "));
    Some(match nearest(sql, MASKS) {
        Some(near) => problem.detail(detail).hint(format!("did you mean {near}?")),
        None => problem.detail(detail),
    })
}

fn exposed(granted: &At<String>, field: &Field, mask: Option<&At<MaskRule>>) -> Option<Problem> {
    if !field.is_sensitive() || field.kind != FieldType::Text || mask.is_some() {
        return None;
    }
    let message = format!("field \"{}\" is of level {} and leaves unmasked", field.name, field.level);
    let problem = Problem::warning("HL0657", message).at(granted.place.clone());
    Some(problem.hint(format!("mask it ({}), or accept this warning knowingly", MASKS.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    const FILE: &str = "feeds/";
    const FIELDS: &str = "fields: [uscc, name, legal_representative_id, status]";

    #[test]
    fn a_grant_gives_no_more_than_the_catalogue_allows() {
        let problems = check(
            FILE,
            FIELDS,
            "fields: [uscc, legal_representative_id, secret]",
            &["HL0652 9:41", "HL0657 9:41 warning"],
        );
        assert_eq!(problems[0].detail.as_deref(), Some("withheld under 信访工作条例"));
        let basis = "basis: 中华人民共和国招标投标法实施条例 第三十二条\n";
        let problems = check(FILE, basis, "", &["HL0653 8:22"]);
        assert_eq!(problems[0].detail.as_deref(), Some("its condition is 履行法定职责且有明确法律依据"));
    }

    #[test]
    fn a_grant_names_what_exists_once() {
        let problems = check(FILE, FIELDS, "fields: [uscc, legal_representative_id, nmae]", &["HL0651 9:41"]);
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean name?"));
        check(FILE, FIELDS, "fields: [uscc, legal_representative_id, uscc]", &["HL0115 9:41"]);
        check(FILE, "register: enterprise", "register: enterprises", &["HL0117 3:11", "HL0650 3:11"]);
        check(FILE, FIELDS, "fields: []", &["HL0138 1:1", "HL0654 12:28"]);
    }

    #[test]
    fn the_file_name_agrees_with_the_content() {
        check(FILE, "subscriber: housing ", "subscriber: tax ", &["HL0117 3:11"]);
        check(FILE, "subscriber: housing ", "subscriber: 住建 局 ", &["HL0114 1:1"]);
    }

    #[test]
    fn masks_exist_and_fit_their_field() {
        const MASK: &str = "legal_representative_id: id_number";
        for (to, expect) in [
            ("legal_representative_id: null", &[][..]),
            ("legal_representative_id: pseudonym", &[]),
            ("legal_representative_id: left(legal_representative_id, 4) || '****'", &[]),
            ("legal_representative_id: region", &["HL0655 12:28"]),
            ("legal_representative_id: name", &[]),
            ("legal_representative_id: status", &[]),
            ("legal_representative_id: id_numbr", &["HL0655 12:28"]),
            ("legal_representative_id: pseudonym(sm3)", &[]),
            ("legal_representative_id: pseudonym(sha256)", &[]),
            ("legal_representative_id: pseudonym(md5)", &["HL0655 12:28"]),
            ("legal_representative_id: year", &["HL0656 12:28"]),
            ("legal_representative_id: [name]", &["HL0108 12:28"]),
            ("established_on: year", &["HL0148 9:22", "HL0657 9:22 warning", "HL0654 12:19"]),
        ] {
            check(FILE, MASK, to, expect);
        }
        check(
            FILE,
            "status]\nrows: status = 'active'\nmask:\n",
            "established_on]\nmask:\n  established_on: year\n",
            &[],
        );
        check(
            FILE,
            "status]\nrows: status = 'active'\nmask:\n",
            "established_on]\nmask:\n  established_on: name\n",
            &["HL0656 11:19"],
        );
    }

    #[test]
    fn a_sensitive_text_that_leaves_unmasked_is_warned_about() {
        check(FILE, "mask:\n  legal_representative_id: id_number\n", "", &["HL0148 9:22", "HL0657 9:22 warning"]);
    }

    #[test]
    fn validity_is_a_span_of_days_that_has_not_passed() {
        check(FILE, "until: 2027-02-28", "until: 2026-02-28", &["HL0658 1:1"]);
        check(FILE, "until: 2027-02-28", "until: 2026-09-30", &["HL0659 1:1 warning"]);
        check(FILE, "until: 2027-02-28", "until: 2026-10-01", &[]);
        check(FILE, ", until: 2027-02-28", "", &[]);
    }
}
