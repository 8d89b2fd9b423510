//! What a mapping does to rows, and what `check` says about a bad one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Field, Schema};
use arrow::record_batch::RecordBatch;
use chrono::NaiveDate;
use proptest::prelude::*;

use super::{CompiledMapping, Mapped, MappingSource};
use crate::config::{self, At, CodeTable, Column, Dataset, MappingFile, Register};
use crate::error::{Place, Problem};
use crate::record::FieldType;

pub(super) struct World {
    pub(super) dataset: Dataset,
    pub(super) register: Register,
    pub(super) codes: BTreeMap<String, CodeTable>,
    pub(super) file: MappingFile,
}

/// A small dataset 企业 and register enterprise.
pub(super) fn world(sql: &str) -> World {
    let place = || Place::new("x.yaml", 1, 1);
    let column = |name: &str, kind, required| Column { name: name.into(), place: place(), kind, required, path: None };
    let field = |name: &str, kind, required, rule: Option<&str>| config::Field {
        name: name.into(),
        place: place(),
        title: name.into(),
        kind,
        required,
        share: config::ShareClass::Unconditional,
        level: 1,
        condition: None,
        basis: None,
        rule: rule.map(|r| At { value: r.into(), place: Place::new("mappings/registers/enterprise.yaml", 9, 11) }),
        from: vec![],
        states: None,
    };
    let dataset = Dataset {
        name: "enterprise".into(),
        place: place(),
        title: None,
        offer: config::Offer::Files {
            path: "*.csv".into(),
            format: config::Format::Ndjson,
            beside: config::Beside::default(),
        },
        key: vec![],
        updated: None,
        extract: config::Extract::Append,
        operation: None,
        missing: config::Missing { retract: false, hold_above: config::Percent(0.05) },
        columns: vec![
            column("代码", FieldType::Text, false),
            column("企业名称", FieldType::Text, true),
            column("注册资本", FieldType::Text, false),
            column("成立日期", FieldType::Text, false),
            column("ID号码", FieldType::Text, false),
            column("人数", FieldType::Integer, false),
            column("状态", FieldType::Text, false),
        ],
        drift: config::Drift {
            new_column: config::DriftPolicy::Accept,
            lost_column: config::DriftPolicy::Freeze,
            changed_type: config::DriftPolicy::Accept,
        },
    };
    let register = Register {
        name: "enterprise".into(),
        title: "企业".into(),
        steward: "市场监督管理局".into(),
        keys: vec![At { value: "uscc".into(), place: place() }],
        fields: vec![
            field("uscc", FieldType::Text, false, Some("uscc_valid(uscc)")),
            field("name", FieldType::Text, true, None),
            field("capital", FieldType::Decimal, false, Some("capital >= 0")),
            field("established_on", FieldType::Date, false, Some("established_on <= current_date")),
            field("people", FieldType::Integer, false, None),
            field("type_code", FieldType::Text, false, None),
        ],
        evidence: config::EvidenceOf::Record,
        bonds: config::Bonds::default(),
    };
    let table = CodeTable {
        file: "mappings/codes/enterprise_type.csv".into(),
        codes: BTreeMap::from([("1100".into(), "有限责任公司".into())]),
        names: BTreeMap::from([("有限责任公司".into(), "1100".into())]),
        historic: BTreeMap::new(),
    };
    let file = MappingFile { file: "mappings/m/enterprise.enterprise.sql".into(), sql: sql.into(), cases: None };
    World { dataset, register, codes: BTreeMap::from([("enterprise_type".into(), table)]), file }
}

impl World {
    pub(super) fn compile(&self) -> Result<CompiledMapping, Vec<Problem>> {
        CompiledMapping::compile(&MappingSource {
            system: "market",
            dataset: &self.dataset,
            register: &self.register,
            file: &self.file,
            codes: &self.codes,
            today: NaiveDate::from_ymd_opt(2026, 3, 1).expect("a date"),
        })
    }
}

/// A workspace with the small dataset, and one register like enterprise per mapping, whose `uscc` has this rule.
pub(super) fn workspace(mappings: &[&str], rule: &str) -> config::Workspace {
    let World { dataset, mut register, codes, .. } = world("");
    register.fields[0].rule = Some(At { value: rule.into(), place: Place::new("r.yaml", 9, 11) });
    let connector = config::Connector {
        system: "market".into(),
        department: "局".into(),
        contact: None,
        source: config::SourceKind::Files(config::Files::at(At {
            value: ".".into(),
            place: Place::new("c.yaml", 1, 1),
        })),
        datasets: BTreeMap::from([("enterprise".into(), dataset)]),
    };
    let names: Vec<String> = (0..mappings.len()).map(|n| format!("enterprise{n}")).collect();
    let key = |name: &String| ("market".to_owned(), "enterprise".to_owned(), name.clone());
    let file = |name: &String, sql: &str| MappingFile {
        file: format!("mappings/market/enterprise.{name}.sql"),
        sql: sql.into(),
        cases: None,
    };
    config::Workspace {
        dir: ".".into(),
        installation: config::Installation {
            retention: None,
            name: None,
            issuer: "办".into(),
            zone: chrono_tz::Asia::Shanghai,
            state_dir: ".".into(),
            store: String::new(),
            spool: ".".into(),
            signing: None,
            token_pin: None,
            key_password: None,
            at_rest: None,
            trust: config::TrustFiles::default(),
            timestamps: None,
            broker: None,
            serve: config::Serve {
                listen: String::new(),
                lease: std::time::Duration::ZERO,
                stop_within: std::time::Duration::ZERO,
                workers: 1,
            },
            log: config::LogFormat::Text,
            otlp: None,
        },
        connectors: BTreeMap::from([("market".into(), connector)]),
        registers: names.iter().map(|n| (n.clone(), Register { name: n.clone(), ..register.clone() })).collect(),
        pipelines: BTreeMap::new(),
        feeds: BTreeMap::new(),
        mappings: names.iter().zip(mappings).map(|(n, sql)| (key(n), file(n, sql))).collect(),
        codes,
        calendar: Vec::new(),
        files: BTreeMap::new(),
        texts: BTreeMap::new(),
        unset: Vec::new(),
    }
}

fn compiled(sql: &str) -> CompiledMapping {
    world(sql).compile().unwrap_or_else(|p| panic!("{}", crate::error::render(&p)))
}

/// A chunk with these columns; `None` is null.
pub(super) fn chunk(columns: &[(&str, &[Option<&str>])]) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(n, _)| Field::new(*n, DataType::Utf8, true)).collect();
    let arrays = columns.iter().map(|(_, c)| Arc::new(c.iter().copied().collect::<StringArray>()) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays.collect()).expect("columns of one length")
}

fn reasons(mapped: &Mapped) -> Vec<String> {
    let one = |row: u32, r: &super::Reason| format!("{row} {} {} line {}", r.column, r.code, r.line);
    mapped.refused.iter().flat_map(|(row, rs)| rs.iter().map(move |r| one(*row, r))).collect()
}

fn notes(mapped: &Mapped) -> Vec<String> {
    mapped.notes.iter().map(|n| format!("{} {} {}", n.row, n.column, n.code)).collect()
}

const GOOD: &str = "91350100M000100Y43";

#[test]
fn rows_are_mapped_filtered_or_refused_and_keep_their_numbers() {
    let mapping = compiled(
        "select uscc(代码) as uscc, org_name(企业名称) as name,\n cn_amount(注册资本, '万元') as capital,\n \
         cn_date(成立日期) as established_on, 人数 as people from source where 状态 <> '注销'",
    );
    let rows = chunk(&[
        ("代码", &[Some(GOOD), Some("91350100M000100Y44"), Some(GOOD), Some(GOOD), Some("")]),
        ("企业名称", &[Some("甲（集团）"), Some("乙"), Some("丙"), Some(" "), Some("戊")]),
        ("注册资本", &[Some("500"), Some("1万元"), None, Some("1"), Some("1")]),
        ("成立日期", &[Some("2015年7月3日"), Some("2015-02-30"), None, None, Some("2027-01-01")]),
        ("人数", &[Some("12"), Some("x"), None, None, None]),
        ("状态", &[Some("存续"), Some("存续"), Some("注销"), Some("存续"), Some("存续")]),
    ]);
    let mapped = mapping.apply(&rows);
    assert_eq!(mapped.rows, [0]);
    assert_eq!(mapped.filtered, 1);
    assert_eq!(mapped.claims.column(0).as_string::<i32>().value(0), GOOD);
    assert_eq!(mapped.claims.column(1).as_string::<i32>().value(0), "甲(集团)");
    assert_eq!(mapped.claims.column(2).as_primitive::<Decimal128Type>().value(0), 5_000_000 * 10_000);
    assert_eq!(mapped.claims.column(3).as_primitive::<Date32Type>().value(0), 16_619);
    assert_eq!(
        reasons(&mapped),
        [
            "1 人数 contract_type line 0",
            "1 uscc uscc_check_digit line 1",
            "1 established_on date_impossible line 3",
            "3 企业名称 required line 0",
            "3 name required line 1",
            "4 uscc no_key line 0",
            "4 established_on rule line 0",
        ]
    );
    assert!(notes(&mapped).contains(&"0 name brackets".to_owned()), "{:?}", notes(&mapped));
}

#[test]
fn a_failure_inside_case_belongs_to_its_row() {
    let mapping = compiled(
        "select uscc(代码) as uscc, 企业名称 as name,\n\
         case when 状态 = 'd' then cn_date(成立日期) when 状态 = 'n' then null else cn_date(ID号码) end as established_on \
         from source",
    );
    let rows = chunk(&[
        ("代码", &[Some(GOOD); 4]),
        ("企业名称", &[Some("甲"); 4]),
        ("状态", &[Some("n"), Some("d"), Some("e"), Some("d")]),
        ("成立日期", &[Some("bad"), Some("2015-07-03"), Some("bad"), Some("bad")]),
        ("ID号码", &[Some("bad"), Some("bad"), Some("2016-07-03"), Some("2016-07-03")]),
    ]);
    let mapped = mapping.apply(&rows);
    assert_eq!(mapped.rows, [0, 1, 2]);
    assert_eq!(reasons(&mapped), ["3 established_on date_unreadable line 2"]);
}

#[test]
fn or_null_and_or_default_turn_failures_into_notes() {
    let mapping = compiled(
        "select uscc(代码) as uscc, 企业名称 as name, or_null(cn_date(成立日期)) as established_on,\n\
         or_default(code('enterprise_type', ID号码), '9999') as type_code from source",
    );
    let rows = chunk(&[
        ("代码", &[Some(GOOD); 3]),
        ("企业名称", &[Some("甲"); 3]),
        ("成立日期", &[Some("bad"), Some(""), Some("2015-07-03")]),
        ("ID号码", &[Some("有限责任公司"), Some("合伙"), None]),
    ]);
    let mapped = mapping.apply(&rows);
    assert_eq!(mapped.rows, [0, 1, 2]);
    let codes = mapped.claims.column_by_name("type_code").map(|c| c.as_string::<i32>().iter().collect::<Vec<_>>());
    assert_eq!(codes, Some(vec![Some("1100"), Some("9999"), None]));
    assert_eq!(notes(&mapped), ["0 established_on or_null:date_unreadable", "1 type_code or_default:code_unknown"]);
}

#[test]
fn an_odd_row_that_panics_or_divides_by_zero_costs_only_itself() {
    let mapping = compiled(
        "select uscc(代码) as uscc, panic_on_x(企业名称) as name, cast(注册资本 as bigint) / 人数 as people from source",
    );
    let rows = chunk(&[
        ("代码", &[Some(GOOD); 5]),
        ("企业名称", &[Some("甲"), Some("x"), Some("丙"), Some("丁"), Some("戊")]),
        ("注册资本", &[Some("8"), Some("8"), Some("8"), Some("many"), Some("9")]),
        ("人数", &[Some("2"), Some("2"), Some("0"), Some("2"), Some("3")]),
    ]);
    let mapped = mapping.apply(&rows);
    assert_eq!(mapped.rows, [0, 4]);
    assert_eq!(
        reasons(&mapped),
        ["1 name mapping_panic line 1", "2 people sql_error line 1", "3 people sql_error line 1"]
    );
}

#[test]
fn numbers_that_overflow_refuse_their_row_and_do_not_wrap_around() {
    let mapping = compiled("select uscc(代码) as uscc, 企业名称 as name, 人数 * 2 + 1 as people from source");
    let rows = chunk(&[
        ("代码", &[Some(GOOD); 3]),
        ("企业名称", &[Some("甲"); 3]),
        ("人数", &[Some("4"), Some("9223372036854775807"), Some("9223372036854775808")]),
    ]);
    let mapped = mapping.apply(&rows);
    assert_eq!(mapped.rows, [0]);
    assert_eq!(reasons(&mapped), ["1 people sql_error line 1", "2 人数 contract_type line 0"]);
}

#[test]
fn a_condition_looks_right_only_where_the_left_leaves_it_open() {
    let mapping = compiled(
        "select uscc(代码) as uscc, 企业名称 as name from source where 状态 = 'd' and cn_date(成立日期) > '2010-01-01'",
    );
    let one = |state: Option<&str>, date: &str| {
        let rows = chunk(&[
            ("代码", &[Some(GOOD)]),
            ("企业名称", &[Some("甲")]),
            ("状态", &[state]),
            ("成立日期", &[Some(date)]),
        ]);
        let mapped = mapping.apply(&rows);
        (mapped.rows.len(), mapped.filtered, reasons(&mapped).join(""))
    };
    assert_eq!(one(Some("d"), "2015-01-01"), (1, 0, String::new()));
    assert_eq!(one(Some("d"), "2005-01-01"), (0, 1, String::new()));
    assert_eq!(one(Some("e"), "bad"), (0, 1, String::new()));
    assert_eq!(one(Some("d"), "bad"), (0, 0, "0 where date_unreadable line 1".to_owned()));
    assert_eq!(one(None, "bad"), (0, 0, "0 where date_unreadable line 1".to_owned()));
}

#[test]
fn every_problem_of_a_mapping_is_reported_with_its_place() {
    let check = |sql: &str, expected: &[(&str, u32, u32)]| {
        let problems = world(sql).compile().err().unwrap_or_default();
        let mut found: Vec<_> = problems
            .iter()
            .map(|p| (p.code, p.place.as_ref().map_or(0, |p| p.line), p.place.as_ref().map_or(0, |p| p.column)))
            .collect();
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{sql}\n{}", crate::error::render(&problems));
    };
    let with = |extra: &str| format!("select uscc(代码) as uscc, 企业名称 as name,\n  {extra} from source");
    check(&with("人数 as people"), &[]);
    check(&with("人口 as people"), &[("HL0214", 2, 3)]);
    check(&with("cn_dat(成立日期) as established_on, id号码 as type_code"), &[("HL0204", 2, 3), ("HL0214", 2, 35)]);
    check(&with("人数"), &[("HL0205", 2, 3)]);
    check(&with("人数 as peopel"), &[("HL0206", 2, 9)]);
    check(&with("人数 as people, 人数 as people"), &[("HL0207", 2, 23)]);
    check(&with("*"), &[("HL0208", 2, 3)]);
    check(&with("cn_date(成立日期, '年') as established_on"), &[("HL0209", 2, 3)]);
    check(&with("cn_amount(注册资本, '斤') as capital"), &[("HL0209", 2, 19)]);
    check(&with("code('enterprise_typ', 状态) as type_code"), &[("HL0210", 2, 8)]);
    check(&with("cn_date(成立日期) as capital"), &[("HL0211", 2, 3)]);
    check(&with("成立日期 as established_on, 人数 as type_code"), &[("HL0211", 2, 3), ("HL0211", 2, 27)]);
    check(&with("人数 + 企业名称 like 3 as people"), &[("HL0212", 2, 3)]);
    check(&with("or_null(状态) as type_code"), &[("HL0215", 2, 3)]);
    check(&with("sum(人数) as people"), &[("HL0202", 2, 3)]);
    check(&with("(select 1) as people"), &[("HL0202", 2, 4)]);
    check(&with("try_cast(状态 as bigint) as people"), &[("HL0202", 2, 12)]);
    check("select uscc(代码) as uscc from source", &[("HL0218", 1, 1)]);
    check("select 企业名称 as name from source", &[("HL0219", 1, 1)]);
    check("select uscc(代码) as uscc 企业名称 from source", &[("HL0201", 1, 25)]);
    check(
        "select distinct uscc(代码) as uscc, 企业名称 as name from source order by 代码 limit 3",
        &[("HL0202", 1, 1), ("HL0202", 1, 69), ("HL0202", 1, 78)],
    );
    check("select uscc(代码) as uscc, 企业名称 as name from source join t on true", &[("HL0202", 1, 56)]);
    check("select uscc(代码) as uscc, 企业名称 as name from 企业", &[("HL0202", 1, 44)]);
    check("delete from source", &[("HL0202", 1, 1)]);
    check("select uscc(代码) as uscc, 企业名称 as name from source where 状态", &[("HL0217", 1, 57)]);
}

#[test]
fn a_rule_that_does_not_compile_is_reported_in_the_register() {
    let mut world = world("select uscc(代码) as uscc, 企业名称 as name from source");
    world.register.fields[0].rule = Some(At { value: "usc_valid(uscc)".into(), place: Place::new("r.yaml", 12, 11) });
    let problems = world.compile().expect_err("the rule is wrong");
    insta::assert_snapshot!(crate::error::render(&problems), @r#"
    error[HL0204]: function "usc_valid" of the rule of "enterprise.uscc" does not exist
      --> r.yaml:12:11
      Detail: domain functions are uscc, org_code, registration_no, citizen_id, person_name, org_name, clean_text, phone, cert_id, cn_period, cn_currency, cn_date, cn_timestamp, cn_amount, region, code, uscc_valid, org_code_valid, cert_id_valid, null_token
      Hint: did you mean uscc_valid?
    "#);
}

#[test]
fn lineage_names_line_expression_and_columns() {
    let mapping = compiled("select\n  uscc(代码) as uscc,\n  concat(企业名称, 状态) as name\nfrom source");
    let lines: Vec<_> =
        mapping.lineage().iter().map(|l| format!("{} {} {} {:?}", l.field, l.line, l.expression, l.columns)).collect();
    assert_eq!(lines, [r#"uscc 2 uscc(代码) ["代码"]"#, r#"name 3 concat(企业名称, 状态) ["企业名称", "状态"]"#]);
}

#[test]
fn the_deepest_expression_that_is_parsed_can_also_be_planned_and_run() {
    let chain = vec!["状态 = 'a'"; 33].join(" or ");
    let nested = format!("{}企业名称{}", "concat('a', ".repeat(40), ")".repeat(40));
    let mapping = compiled(&format!("select uscc(代码) as uscc, {nested} as name from source where {chain}"));
    let rows = chunk(&[("代码", &[Some(GOOD)]), ("企业名称", &[Some("甲")]), ("状态", &[Some("a")])]);
    assert_eq!(mapping.apply(&rows).rows, [0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Chunk borders change nothing: not what is mapped, not what is refused and why, not what is noted.
    #[test]
    fn splitting_a_chunk_anywhere_gives_the_same_output(
        cells in prop::collection::vec((0..5_usize, 0..4_usize, 0..6_usize, 0..5_usize, 0..4_usize), 1..40),
        cuts in prop::collection::vec(0..40_usize, 0..5),
    ) {
        let mapping = compiled(
            "select uscc(代码) as uscc, panic_on_x(企业名称) as name, or_null(cn_date(成立日期)) as established_on,\n\
             case when 状态 = 'a' then cast(注册资本 as decimal(24, 4)) else cn_amount(注册资本, '万元') end as capital,\n\
             100 / 人数 as people, coalesce(or_default(code('enterprise_type', 状态), '0'), clean_text(ID号码)) as type_code\n\
             from source where 状态 <> 'f' and (人数 is null or cn_date(成立日期) <> '2001-01-01')",
        );
        let pick = |options: &'static [Option<&'static str>], at: usize| options[at];
        let column = |f: &dyn Fn(&Picks) -> Option<&'static str>| cells.iter().map(f).collect::<Vec<_>>();
        let rows = chunk(&[
            ("代码", &column(&|c| pick(&[Some(GOOD), Some("91350100m000100y43"), Some("bad"), None, Some("")], c.0))),
            ("企业名称", &column(&|c| pick(&[Some("甲"), Some("x"), None, Some("（丁）")], c.1))),
            ("成立日期", &column(&|c| pick(&[Some("2001-01-01"), Some("bad"), None, Some("2015年7月3日"), Some("长期"), Some("")], c.2))),
            ("注册资本", &column(&|c| pick(&[Some("1"), Some("500万"), Some("x"), None, Some("-3")], c.3))),
            ("人数", &column(&|c| pick(&[Some("0"), Some("3"), Some("many"), None], c.4))),
            ("状态", &column(&|c| pick(&[Some("a"), Some("f"), None, Some("有限责任公司"), Some("b")], (c.0 + c.3) % 5))),
            ("ID号码", &column(&|c| pick(&[Some("ＡＢ"), Some("y"), None, Some(" ")], c.1))),
        ]);
        let whole = told(&mapping.apply(&rows), 0);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(cells.len())).chain([0, cells.len()]).collect();
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|w| (w[0], told(&mapping.apply(&rows.slice(w[0], w[1] - w[0])), w[0])));
        let mut together = Told::default();
        for (_, part) in parts {
            together.filtered += part.filtered;
            together.lines.extend(part.lines);
        }
        together.lines.sort();
        prop_assert_eq!(&together, &whole);
        let seen: std::collections::BTreeSet<usize> = whole.rows(&["mapped", "refused"]);
        prop_assert_eq!(seen.len() as u64 + whole.filtered, cells.len() as u64, "every row comes out exactly once");
    }
}

/// Which of some cells a row has.
type Picks = (usize, usize, usize, usize, usize);

/// Everything a chunk came to, comparable across splits.
#[derive(Debug, Default, PartialEq)]
struct Told {
    filtered: u64,
    lines: Vec<(usize, String)>,
}

impl Told {
    fn rows(&self, kinds: &[&str]) -> std::collections::BTreeSet<usize> {
        self.lines.iter().filter(|(_, l)| kinds.iter().any(|k| l.starts_with(k))).map(|(row, _)| *row).collect()
    }
}

fn told(mapped: &Mapped, first: usize) -> Told {
    let mut lines = Vec::new();
    for (at, row) in mapped.rows.iter().enumerate() {
        lines.push((first + *row as usize, format!("mapped {:?}", mapped.claims.slice(at, 1).columns())));
    }
    for (row, reasons) in &mapped.refused {
        lines.push((first + *row as usize, format!("refused {reasons:?}")));
    }
    for note in &mapped.notes {
        lines.push((first + note.row, format!("noted {} {}", note.column, note.code)));
    }
    lines.sort();
    Told { filtered: mapped.filtered, lines }
}
