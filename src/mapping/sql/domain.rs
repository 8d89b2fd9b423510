//! The domain functions: which there are, what they take, which conversion they run.
//!
//! The conversions themselves live in [`crate::mapping::values`]; here stands only how SQL calls them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;

use crate::config::CodeTable;
use crate::mapping::values::{self, Converted, Outcome, Refusal, Unit};
use crate::record::FieldType;

/// What a function takes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Text; other values are turned into text.
    Text,
    /// The same, and it may be left out.
    OptionalText,
    /// A literal that names a code table of the workspace.
    Table,
    /// A literal that names a unit of money.
    Unit,
}

impl Argument {
    /// Whether it may be left out.
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Self::OptionalText | Self::Unit)
    }
}

/// One domain function.
#[derive(Debug)]
pub(crate) struct Function {
    /// Name in SQL.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) arguments: &'static [Argument],
    /// How it is written, for messages.
    pub(crate) usage: &'static str,
    /// What it runs.
    pub(crate) run: Run,
}

/// A conversion by the shape of its arguments and result.
#[derive(Debug, Clone)]
pub(crate) enum Run {
    /// Text to text.
    Text(for<'a> fn(&'a str) -> Outcome<Cow<'a, str>>),
    /// Text to text, judged on a day: a date of birth cannot lie after it.
    OnDay(for<'a> fn(&'a str, NaiveDate) -> Outcome<Cow<'a, str>>, NaiveDate),
    /// Text and more text to text.
    Pair(for<'a> fn(&'a str, Option<&'a str>) -> Outcome<Cow<'a, str>>),
    /// Text to a day.
    Date(fn(&str) -> Outcome<NaiveDate>),
    /// Text to microseconds since the epoch.
    Timestamp(fn(&str) -> Outcome<i64>),
    /// Text and the unit of the column to 元, scaled by 10⁴.
    Amount(fn(&str, Option<Unit>) -> Outcome<i128>, Option<Unit>),
    /// Code, name or alias to code.
    Code(Option<Arc<Lookup>>),
    /// A question about a value that may be null.
    Truth(fn(Option<&str>) -> Option<bool>),
}

impl Run {
    /// Whether it can refuse or repair, and so needs a site.
    pub(crate) fn is_sited(&self) -> bool {
        !matches!(self, Self::Truth(_))
    }

    /// The type it returns.
    pub(crate) fn returns(&self) -> FieldType {
        match self {
            Self::Text(_) | Self::OnDay(..) | Self::Pair(_) | Self::Code(_) => FieldType::Text,
            Self::Date(_) => FieldType::Date,
            Self::Timestamp(_) => FieldType::Timestamp,
            Self::Amount(..) => FieldType::Decimal,
            Self::Truth(_) => FieldType::Boolean,
        }
    }
}

/// A code table turned round for looking up: every code, name and alias → its code. A text that is both a code and a
/// name means the code.
#[derive(Debug)]
pub(crate) struct Lookup {
    codes: HashMap<String, String>,
    historic: HashSet<String>,
}

impl Lookup {
    /// The lookup of a table.
    pub(crate) fn of(table: &CodeTable) -> Self {
        let names = table.names.iter().map(|(name, code)| (name.clone(), code.clone()));
        let codes = table.codes.keys().map(|code| (code.clone(), code.clone()));
        Self { codes: names.chain(codes).collect(), historic: table.historic.keys().cloned().collect() }
    }

    /// The code that a cell means; blanks around it do not count. What says "nothing there" (blank, N/A, 无) and is not
    /// in the table is null. A code that is no longer given out is kept and noted (`code_historic`): records of its
    /// time carry it rightly.
    pub(crate) fn code(&self, text: &str) -> Outcome<Cow<'_, str>> {
        let text = text.trim();
        match self.codes.get(text) {
            Some(code) => {
                let notes = if self.historic.contains(code) { vec!["code_historic"] } else { vec![] };
                Ok(Converted { value: Some(Cow::Borrowed(code)), notes })
            }
            None if values::null_token(text) => Ok(Converted { value: None, notes: vec![] }),
            None => Err(Refusal { code: "code_unknown" }),
        }
    }
}

/// The domain function of this lower-case name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    // The function that tests panic with is not for people.
    FUNCTIONS.iter().map(|f| f.name).filter(|name| !name.starts_with("panic"))
}

const TEXT: &[Argument] = &[Argument::Text];

#[rustfmt::skip]
static FUNCTIONS: &[Function] = &[
    text("uscc", "uscc(text)", values::uscc),
    text("org_code", "org_code(text)", values::org_code),
    text("registration_no", "registration_no(text)", values::registration_no),
    Function {
        name: "citizen_id", arguments: TEXT, usage: "citizen_id(text)", run: Run::OnDay(values::citizen_id, NaiveDate::MAX),
    },
    text("person_name", "person_name(text)", values::person_name),
    text("org_name", "org_name(text)", values::org_name),
    text("clean_text", "clean_text(text)", values::clean_text),
    text("phone", "phone(text)", values::phone),
    text("cert_id", "cert_id(text)", values::cert_id),
    text("cn_period", "cn_period(text)", period),
    text("cn_currency", "cn_currency(text)", currency),
    Function { name: "cn_date", arguments: TEXT, usage: "cn_date(text)", run: Run::Date(values::cn_date) },
    Function { name: "cn_timestamp", arguments: TEXT, usage: "cn_timestamp(text)", run: Run::Timestamp(timestamp) },
    Function {
        name: "cn_amount", arguments: &[Argument::Text, Argument::Unit], usage: "cn_amount(text, '万元')",
        run: Run::Amount(amount, None),
    },
    Function {
        name: "region", arguments: &[Argument::Text, Argument::OptionalText], usage: "region(authority, address)",
        run: Run::Pair(values::region),
    },
    Function {
        name: "code", arguments: &[Argument::Table, Argument::Text], usage: "code('table', text)", run: Run::Code(None),
    },
    truth("uscc_valid", "uscc_valid(text)", |text| text.map(values::uscc_valid)),
    truth("org_code_valid", "org_code_valid(text)", |text| text.map(values::org_code_valid)),
    truth("cert_id_valid", "cert_id_valid(text)", |text| text.map(values::cert_id_valid)),
    truth("null_token", "null_token(text)", |text| Some(text.is_none_or(values::null_token))),
    #[cfg(test)]
    text("panic_on_x", "panic_on_x(text)", panic_on_x),
];

const fn text(name: &'static str, usage: &'static str, run: for<'a> fn(&'a str) -> Outcome<Cow<'a, str>>) -> Function {
    Function { name, arguments: TEXT, usage, run: Run::Text(run) }
}

const fn truth(name: &'static str, usage: &'static str, run: fn(Option<&str>) -> Option<bool>) -> Function {
    Function { name, arguments: TEXT, usage, run: Run::Truth(run) }
}

/// A function that breaks down on one value, as no real one should.
#[cfg(test)]
fn panic_on_x(text: &str) -> Outcome<Cow<'_, str>> {
    assert!(text != "x", "odd input");
    Ok(Converted { value: Some(Cow::Borrowed(text)), notes: vec![] })
}
/// An amount in the currency of the column, 元 unless the unit says otherwise.
fn amount(text: &str, unit: Option<Unit>) -> Outcome<i128> {
    let expected = unit.map_or("CNY", |u| u.currency);
    let Converted { value, notes } = values::cn_amount_in(text, unit)?;
    match value {
        Some(amount) if amount.currency != expected => Err(Refusal { code: "amount_foreign_currency" }),
        value => Ok(Converted { value: value.map(|a| a.scaled), notes }),
    }
}

/// The ISO 4217 code of an amount's currency; a bare number is in 元.
fn currency(text: &str) -> Outcome<Cow<'_, str>> {
    let yuan = Unit { power: 0, currency: "CNY" };
    let Converted { value, notes } = values::cn_amount_in(text, Some(yuan))?;
    Ok(Converted { value: value.map(|a| Cow::Borrowed(a.currency)), notes })
}

fn period(text: &str) -> Outcome<Cow<'_, str>> {
    let Converted { value, notes } = values::cn_period(text)?;
    Ok(Converted { value: value.map(Cow::Owned), notes })
}

fn timestamp(text: &str) -> Outcome<i64> {
    let Converted { value, notes } = values::cn_timestamp(text)?;
    Ok(Converted { value: value.map(|at| at.timestamp_micros()), notes })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_code_is_found_by_code_name_or_alias_and_nothing_is_null() {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let table = CodeTable {
            file: String::new(),
            codes: pairs(&[("0", "其他"), ("1", "在营"), ("2", "注销")]),
            names: pairs(&[("在营", "1"), ("开业", "1"), ("注销", "2"), ("2", "1")]),
            historic: BTreeMap::from([("2".to_owned(), None)]),
        };
        let lookup = Lookup::of(&table);
        let check = |text: &str, expected: Result<Option<&str>, &str>| {
            let found = lookup.code(text).map(|c| c.value).map_err(|r| r.code);
            assert_eq!(found.as_ref().map(|c| c.as_deref()).map_err(|c| *c), expected, "{text:?}");
        };
        check(" 开业 ", Ok(Some("1")));
        check("2", Ok(Some("2"))); // a code before a name
        check("0", Ok(Some("0"))); // in the table, so it is a value
        check("N/A", Ok(None));
        check("", Ok(None));
        check("吊销", Err("code_unknown"));
        let notes = |text: &str| lookup.code(text).map(|c| c.notes).unwrap_or_default();
        assert_eq!((notes("注销"), notes("开业")), (vec!["code_historic"], vec![]));
    }
}
