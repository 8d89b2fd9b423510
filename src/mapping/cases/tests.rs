//! Examples that hold, that do not, and what blessing makes of them.

use super::super::tests::{World, world};
use super::*;
use crate::config::read_cases;

const SQL: &str = "select uscc(代码) as uscc, org_name(企业名称) as name, cn_amount(注册资本, '万元') as capital,\n\
                   cn_date(成立日期) as established_on from source where 状态 <> '注销' or 状态 is null";

fn run(text: &str) -> (World, Vec<Case>, Vec<CaseOutcome>) {
    let mut world = world(SQL);
    let format = crate::config::Format::Csv {
        encoding: crate::config::Encoding::Auto,
        delimiter: b',',
        quote: Some(b'"'),
        header: true,
        skip: 0,
        ragged: false,
    };
    world.dataset.offer =
        crate::config::Offer::Files { path: "a.csv".into(), format, beside: crate::config::Beside::default() };
    let (cases, problems) = read_cases("x.cases.yaml", text);
    assert!(problems.is_empty(), "{}", crate::error::render(&problems));
    let csv = "代码,企业名称,成立日期\n91350100M000100Y43,甲,2015-07-03\nbad\n91350100M000100Y44,乙,\n";
    let stage = Stage {
        zone: chrono_tz::Asia::Shanghai,
        clock: Clock::Frozen("2026-03-01T00:00:00Z".parse().expect("an instant")),
        read: &|path| if path == "a.csv" { Ok(csv.into()) } else { Err(io::ErrorKind::NotFound.into()) },
    };
    let outcomes = {
        let source = MappingSource {
            system: "market",
            dataset: &world.dataset,
            register: &world.register,
            file: &world.file,
            codes: &world.codes,
            today: NaiveDate::default(),
        };
        run_cases(&source, &cases, &stage).unwrap_or_else(|p| panic!("{}", crate::error::render(&p)))
    };
    (world, cases, outcomes)
}

fn check(case: &str, expected: &[&str]) {
    let (_, _, outcomes) = run(case);
    let found: Vec<String> = outcomes
        .iter()
        .flat_map(|o| &o.differences)
        .map(|d| format!("{}:{} {}", d.place.line, d.place.column, d.message))
        .collect();
    assert_eq!(found, expected, "{case}");
}

const GIVEN: &str = "- case: a\n  given:\n    - { 代码: 91350100m000100y43, 企业名称: 甲（集团）, 注册资本: 500, 成立日期: 2026-03-01 }\n";

#[test]
fn an_example_is_partial_unless_it_says_exact() {
    let with = |rest: &str| format!("{GIVEN}{rest}");
    check(&with("  expect: [ { name: 甲(集团), capital: 5000000.00 } ]\n"), &[]);
    check(
        &with("  exact: true\n  expect: [ { name: 甲(集团), capital: 5000000, uscc: 91350100M000100Y43 } ]\n"),
        &["1:9 row 1: established_on is 2026-03-01, not expected"],
    );
    check(
        &with("  expect: [ { name: 乙, capital: null } ]\n"),
        &["4:15 row 1: name is 甲(集团), expected 乙", "4:24 row 1: capital is 5000000, expected null"],
    );
    check(&with("  expect: []\n"), &["1:9 1 rows came out, 0 were expected"]);
    check(&with(""), &["1:9 the example asserts nothing: say expect: or quarantine:"]);
    check(&with("  expect: [ { people: 3 } ]\n"), &["4:15 row 1: the mapping does not set people"]);
    check(
        &with("  quarantine: [ { row: 1, code: uscc_check_digit } ]\n"),
        &["4:24 row 1 should be refused for uscc_check_digit; it was not refused"],
    );
}

#[test]
fn an_example_may_freeze_the_day() {
    let expect = "  expect: [ { name: 甲(集团) } ]\n";
    check(&format!("{GIVEN}{expect}"), &[]);
    check(
        &format!("{GIVEN}  clock: 2026-02-27T00:00:00Z\n{expect}"),
        &["1:9 0 rows came out, 1 were expected", "1:9 row 1 was refused for established_on rule, not expected"],
    );
}

#[test]
fn raw_bytes_go_through_the_decoder() {
    let refused =
        "  quarantine:\n    - { row: 2, code: column_count }\n    - { row: 3, column: uscc, code: uscc_check_digit }\n";
    check(&format!("- case: f\n  given_file: a.csv\n  expect: [ {{ name: 甲 }} ]\n{refused}"), &[]);
    check(&format!("- case: f\n  given_file: b.csv\n{refused}"), &["2:15 b.csv cannot be read: entity not found"]);
}

#[test]
fn blessing_rewrites_what_differs_and_keeps_the_rest() {
    let text = format!(
        "# examples\n{GIVEN}  expect:          # to be seen\n    - {{ name: 乙, capital: 1 }}\n  exact: false\n\n\
         # the next one\n- case: b\n  given: [ {{ 代码: bad, 企业名称: 乙 }} ]\n  expect: [ {{ name: 丁 }} ]\n\n\
         - case: c\n  given: [ {{ 企业名称: 丙, 状态: 注销 }} ]\n  expect: []\n"
    );
    let (_, cases, outcomes) = run(&text);
    assert_eq!(outcomes.iter().map(CaseOutcome::holds).collect::<Vec<_>>(), [false, false, true]);
    let blessed = bless(&text, &cases, &outcomes).expect("written as blocks");
    insta::assert_snapshot!(blessed, @r##"
    # examples
    - case: a
      given:
        - { 代码: 91350100m000100y43, 企业名称: 甲（集团）, 注册资本: 500, 成立日期: 2026-03-01 }
      exact: false
      expect:
        - { name: 甲(集团), capital: 5000000 }

    # the next one
    - case: b
      given: [ { 代码: bad, 企业名称: 乙 } ]
      expect: []
      quarantine:
        - { row: 1, column: uscc, code: uscc_length }

    - case: c
      given: [ { 企业名称: 丙, 状态: 注销 } ]
      expect: []
    "##);
    let (_, _, again) = run(&blessed);
    assert!(again.iter().all(CaseOutcome::holds), "{again:?}");
}

#[test]
fn blessed_values_read_back() {
    for text in
        ["甲(集团)", "007", "null", "", " a", "a: b", "a\"b\\", "[x]", "- x", "2015-07-03", "1,5", "a\u{1}b", "#x"]
    {
        let yaml = format!("{GIVEN}  expect: [ {{ name: {} }} ]\n", super::bless::scalar(text));
        let (cases, problems) = read_cases("x.cases.yaml", &yaml);
        assert!(problems.is_empty(), "{yaml}");
        let value = cases[0].expect.as_ref().and_then(|rows| rows[0][0].value.clone());
        assert_eq!(value.as_deref(), Some(text), "{yaml}");
    }
}
