//! `mappings/<system>/<dataset>.<register>.cases.yaml`: examples of a mapping, run by `huiliu test`.

use chrono::{DateTime, Utc};

use super::super::shape::{Key, Kind, Naming, Shape};
use super::super::view::View;
use super::super::{At, scalar};
use super::{flag, number};

/// One example of a mapping: rows in, rows or refusals out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it shows, in words.
    pub name: At<String>,
    /// What comes in.
    pub given: Given,
    /// Rows that come out, in order; `None` asserts nothing about them.
    pub expect: Option<Vec<Vec<Cell>>>,
    /// Rows that are refused.
    pub quarantine: Vec<Refused>,
    /// Whether `expect` names every field of its rows, and nothing else comes out.
    pub exact: bool,
    /// The present during this case; the system clock when absent.
    pub clock: Option<DateTime<Utc>>,
}

/// What comes into a [`Case`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Decoded rows; columns that are not named are null.
    Rows(Vec<Vec<Cell>>),
    /// Raw bytes through the real decoder: a path relative to the cases file.
    File(At<String>),
}

/// One named value of a [`Case`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Contract column (given) or register field (expect).
    pub name: At<String>,
    /// Text; an expected value in the canonical text of its type. `None` is null.
    pub value: Option<String>,
}

/// One expected refusal of a [`Case`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Row of the given rows, from 1.
    pub row: At<u64>,
    /// Column of the reason; any when absent.
    pub column: Option<At<String>>,
    /// Code of the reason: `uscc_check_digit`.
    pub code: String,
}

/// The table of a whole file.
pub(in crate::config) const CASES: Kind = Kind::List(&Kind::Map(&CASE));

const CASE: Shape = Shape {
    title: "用例 case",
    about: "One example of a mapping: rows in, rows or refusals out.",
    keys: &[
        Key::required("case", "说明 case", Kind::Text, "What it shows, in words."),
        Key::optional("given", "输入 given", ROWS, "Rows as the decoder yields them, columns by their source names."),
        Key::optional("given_file", "输入文件 given_file", Kind::Text, "Raw bytes, decoded as the connector says."),
        Key::optional("expect", "期望 expect", ROWS, "Rows that come out, fields by their register names."),
        Key::optional(
            "quarantine",
            "问题数据 quarantine",
            Kind::List(&Kind::Map(&REFUSED)),
            "Rows that are refused, and why.",
        ),
        Key::optional("exact", "完全一致 exact", Kind::Boolean, "Whether expect names everything.").or("false"),
        Key::optional("clock", "时钟 clock", Kind::Instant, "The present during this case."),
    ],
};

const ROWS: Kind = Kind::List(&Kind::Each(Naming::Foreign, &Kind::Cell));

const REFUSED: Shape = Shape {
    title: "拒收 refusal",
    about: "One row that is refused.",
    keys: &[
        Key::required("row", "行 row", Kind::Integer(1, 1_000_000), "Row of the given rows, from 1."),
        Key::optional("column", "字段 column", Kind::Text, "Column of the reason."),
        Key::required("code", "原因 code", Kind::Text, "Code of the reason: uscc_check_digit."),
    ],
};

/// Reads all cases of a file.
pub(in crate::config) fn read(view: View<'_>) -> Vec<Case> {
    view.items().into_iter().map(case).collect()
}

fn case(view: View<'_>) -> Case {
    let (expect, file) = (view.get("expect"), view.get("given_file"));
    Case {
        name: view.get("case").text_at(),
        given: match file.maybe_at() {
            Some(path) => Given::File(path),
            None => Given::Rows(rows(view.get("given"))),
        },
        expect: expect.is_written().then(|| rows(expect)),
        quarantine: view.get("quarantine").items().into_iter().map(refused).collect(),
        exact: flag(view.get("exact")),
        clock: view.get("clock").parsed(scalar::instant).map(|at| at.to_utc()),
    }
}

fn rows(view: View<'_>) -> Vec<Vec<Cell>> {
    let cells = |row: View<'_>| row.each().into_iter().map(|(name, cell)| Cell { name, value: cell.maybe() }).collect();
    view.items().into_iter().map(cells).collect()
}

fn refused(view: View<'_>) -> Refused {
    let row = view.get("row");
    Refused {
        row: At { value: number(row), place: row.place() },
        column: view.get("column").maybe_at(),
        code: view.get("code").text(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{read_cases, sample};
    use super::*;

    #[test]
    fn cases_keep_text_as_written_and_nothing_as_nothing() {
        let (file, text) = sample::FILES.iter().find(|(path, _)| path.ends_with(".cases.yaml")).expect("cases");
        let (cases, problems) = read_cases(file, text);
        assert_eq!(problems, []);
        let Given::Rows(rows) = &cases[0].given else { panic!("rows") };
        assert_eq!(rows[0][1].value.as_deref(), Some("500万元人民币"));
        let expect = cases[0].expect.as_ref().expect("rows");
        let values: Vec<Option<&str>> = expect[0].iter().map(|cell| cell.value.as_deref()).collect();
        assert_eq!(values, [Some("青岛海蓝科技(集团)有限公司"), Some("2015-07-03"), None]);
        assert!(matches!(&cases[1].given, Given::File(path) if path.value == "cases/bad_uscc.gbk.csv"));
        assert_eq!(cases[1].quarantine[0].code, "uscc_check_digit");
        assert_eq!(cases[1].clock.map(|at| at.to_rfc3339()).as_deref(), Some("2026-03-01T00:00:00+00:00"));
        assert!(cases[1].exact && cases[1].expect.is_none());
    }

    #[test]
    fn a_file_of_cases_is_a_list() {
        assert_eq!(sample::summary(&read_cases("x.cases.yaml", "case: x\n").1), ["HL0108 1:1"]);
        assert_eq!(sample::summary(&read_cases("x.cases.yaml", "- given: []\n").1), ["HL0107 1:3"]);
    }
}
