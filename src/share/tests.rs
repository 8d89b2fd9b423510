//! What leaves under a grant, and what never does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Date32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;
use crate::config::{
    At, BatchLimit, ByteSize, Delivery, Feed, Field, FreeText, MaskRule, OutletKind, PseudonymBy, Register, ShareClass,
    Validity,
};
use crate::error::{Place, Problem};
use crate::record::FieldType;

fn at<T>(value: T) -> At<T> {
    At { value, place: Place::new("pipelines/feeds/housing.enterprise.yaml", 10, 7) }
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn register() -> Register {
    let field = |name: &str, kind, share| Field {
        name: name.into(),
        place: Place::new("r.yaml", 1, 1),
        title: name.into(),
        kind,
        required: false,
        share,
        level: 1,
        condition: None,
        basis: None,
        rule: None,
        from: vec![],
        states: None,
    };
    Register {
        name: "enterprise".into(),
        title: "企业".into(),
        steward: "局".into(),
        keys: vec![at("uscc".into())],
        fields: vec![
            field("uscc", FieldType::Text, ShareClass::Unconditional),
            field("representative", FieldType::Text, ShareClass::Unconditional),
            field("region_code", FieldType::Text, ShareClass::Unconditional),
            field("established_on", FieldType::Date, ShareClass::Unconditional),
            field("people", FieldType::Integer, ShareClass::Conditional),
            field("secret", FieldType::Text, ShareClass::Withheld),
        ],
        evidence: crate::config::EvidenceOf::Record,
        bonds: crate::config::Bonds::default(),
    }
}

fn feed(fields: &[&str], rows: Option<&str>, mask: &[(&str, MaskRule)]) -> Feed {
    Feed {
        name: "housing.enterprise".into(),
        file: "pipelines/feeds/housing.enterprise.yaml".into(),
        subscriber: "housing".into(),
        title: None,
        register: at("enterprise".into()),
        purpose: "审查".into(),
        basis: None,
        approved: None,
        valid: Validity { from: day("2026-03-01"), until: Some(day("2027-02-28")) },
        fields: fields.iter().map(|f| at((*f).into())).collect(),
        rows: rows.map(|r| at(r.into())),
        free_text: FreeText::Mask,
        mask: mask.iter().map(|(name, rule)| ((*name).into(), at(rule.clone()))).collect(),
        delivery: Delivery {
            encryption: crate::config::DeliveryEncryption::Unsaid,
            outlet: at(OutletKind::Spool),
            every: Duration::from_secs(60),
            batch: BatchLimit { records: 5000, bytes: ByteSize(4 << 20) },
            quota: None,
        },
    }
}

fn compile(feed: &Feed) -> Result<Release, Vec<Problem>> {
    Release::compile(feed, &register(), &BTreeMap::new(), day("2026-06-01"))
}

fn rows() -> RecordBatch {
    let text = |cells: &[Option<&str>]| Arc::new(cells.iter().copied().collect::<StringArray>()) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("uscc", text(&[Some("A"), Some("B"), Some("C"), Some("D")])),
        ("representative", text(&[Some("张三"), Some("李小四"), None, Some("王五")])),
        ("region_code", text(&[Some("370202"), Some("110101"), Some("370203"), None])),
        ("established_on", Arc::new(Date32Array::from(vec![Some(16_619), None, Some(0), Some(1)]))),
        ("people", Arc::new(Int64Array::from(vec![Some(2), Some(3), Some(0), None]))),
        ("secret", text(&[Some("s"); 4])),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).expect("equal lengths")
}

fn column(released: &Released, name: &str) -> Vec<Option<String>> {
    let column = released.rows.column_by_name(name).unwrap_or_else(|| panic!("{name} left"));
    column.as_string::<i32>().iter().map(|cell| cell.map(str::to_owned)).collect()
}

#[test]
fn rows_pass_the_filter_and_fields_their_masks() {
    let masks = [("representative", MaskRule::Name), ("established_on", MaskRule::Year)];
    let feed = feed(&["established_on", "uscc", "representative"], Some("region_code like '3702%'"), &masks);
    let release = compile(&feed).expect("compiles");
    let released = release.apply(&rows());
    assert_eq!(released.kept, [0, 2]);
    assert_eq!(released.withheld_by_filter, [1, 3]);
    assert_eq!(released.withheld_by_error, [0; 0]);
    assert_eq!(column(&released, "representative"), [Some("张*".to_owned()), None]);
    assert_eq!(column(&released, "established_on"), [Some("2015".to_owned()), Some("1970".to_owned())]);
    let types = [("established_on", FieldType::Text), ("uscc", FieldType::Text), ("representative", FieldType::Text)];
    assert_eq!(release.fields().collect::<Vec<_>>(), types);
}

#[test]
fn what_the_catalogue_does_not_allow_stays_inside_whatever_the_grant_says() {
    let mut feed = feed(&["uscc", "secret", "people"], None, &[("secret", MaskRule::Name)]);
    let said = |feed: &Feed| {
        let release = compile(feed).expect("compiles");
        let names: Vec<String> = release.fields().map(|(name, _)| name.to_owned()).collect();
        let decisions = release.decisions().iter().map(|(name, d)| format!("{name} {d}")).collect::<Vec<_>>();
        (names.join(","), decisions.join("; "))
    };
    let (left, decisions) = said(&feed);
    assert_eq!(left, "uscc");
    assert_eq!(
        decisions,
        "uscc released; representative withheld: not granted; region_code withheld: not granted; established_on \
         withheld: not granted; people withheld: conditional without basis; secret withheld: withheld 不予共享"
    );
    feed.basis = Some("法 第三十二条".into());
    assert_eq!(said(&feed).0, "uscc,people");
}

#[test]
fn a_row_whose_filter_or_mask_cannot_be_computed_stays_inside() {
    let mut by_filter = feed(&["uscc"], Some("10 / people > 1"), &[]);
    by_filter.basis = Some("法".into());
    let released = compile(&by_filter).expect("compiles").apply(&rows());
    assert_eq!(
        (released.kept, released.withheld_by_error, released.withheld_by_filter),
        (vec![0, 1], vec![2], vec![3])
    );
    let mask = MaskRule::Sql("cast(representative as bigint)".into());
    let by_mask = feed(&["uscc", "representative"], None, &[("representative", mask)]);
    let released = compile(&by_mask).expect("compiles").apply(&rows());
    assert_eq!((released.kept, released.withheld_by_error), (vec![2], vec![0, 1, 3]));
    assert_eq!(released.rows.num_rows(), 1);
}

#[test]
fn pseudonyms_need_a_key_and_are_null_without_one() {
    let feed = feed(&["uscc"], None, &[("uscc", MaskRule::Pseudonym(PseudonymBy::Sha256))]);
    let without = compile(&feed).expect("compiles").apply(&rows());
    assert_eq!(column(&without, "uscc"), [None, None, None, None]);
    let with = |key: &[u8]| column(&compile(&feed).expect("compiles").with_pseudonym_key(key).apply(&rows()), "uscc");
    assert_eq!(with(b"0123456789abcdef"), with(b"0123456789abcdef"));
    assert_ne!(with(b"0123456789abcdef"), with(b"another key 1234"));

    let by_sm3 = self::feed(&["uscc"], None, &[("uscc", MaskRule::Pseudonym(PseudonymBy::Sm3))]);
    let release = compile(&by_sm3).expect("compiles").with_pseudonym_key(b"0123456789abcdef");
    let masked = FieldDecision::Masked("pseudonym(sm3)".into());
    assert!(release.decisions().contains(&("uscc".into(), masked)), "{:?}", release.decisions());
    let sm3 = column(&release.apply(&rows()), "uscc");
    assert!(sm3[0].as_ref().is_some_and(|text| text.len() == 32) && sm3 != with(b"0123456789abcdef"), "{sm3:?}");
}

#[test]
fn a_mask_cannot_carry_another_field_out() {
    let check = |sql: &str, expected: &[&str]| {
        let masks = [("representative", MaskRule::Sql(sql.into())), ("region_code", MaskRule::Address)];
        let problems = compile(&feed(&["uscc", "representative", "region_code"], None, &masks)).err();
        let codes: Vec<&str> = problems.unwrap_or_default().iter().map(|p| p.code).collect();
        assert_eq!(codes, expected, "{sql}");
    };
    check("left(representative, 1) || '*'", &[]);
    check("concat(representative, uscc)", &[]);
    check("secret", &["HL0620"]);
    check("concat(uscc, region_code)", &["HL0620"]);
    check("cast(people as varchar)", &["HL0620"]);
    check("case when region_code = '37' then representative else left(representative, 1) end", &[]);
    check("case when established_on is null then null else uscc end", &[]);
    check("case when uscc = 'x' then cast(established_on as varchar) end", &["HL0620"]);
    check("case region_code when '37' then region_code else uscc end", &["HL0620"]);
    check("case when secret = 's' then 'a' else 'b' end", &["HL0620"]);
    check("case when people > 3 then 'a' else 'b' end", &["HL0620"]);
    check("nobody", &["HL0214"]);
    check("cn_date(representative)", &["HL0216"]);
    check("or_null(cn_date(representative))", &[]);
}

#[test]
fn a_bad_row_filter_is_reported_where_it_stands() {
    let problems = compile(&feed(&["uscc"], Some("uscc = 'x' and region = '3702'"), &[])).expect_err("no such field");
    insta::assert_snapshot!(crate::error::render(&problems), @r#"
    error[HL0214]: column "region" of the row filter of feed "housing.enterprise" is not in register "enterprise"
      --> pipelines/feeds/housing.enterprise.yaml:10:22
      Detail: register "enterprise" has uscc, representative, region_code, established_on, people, secret
    "#);
}

#[test]
fn a_grant_counts_from_its_first_to_its_last_day() {
    let feed = feed(&["uscc"], None, &[]);
    assert_eq!(in_force(&feed, day("2026-02-28")), Err(NotInForce::NotYet(day("2026-03-01"))));
    assert_eq!(in_force(&feed, day("2026-03-01")), Ok(()));
    assert_eq!(in_force(&feed, day("2027-02-28")), Ok(()));
    assert_eq!(in_force(&feed, day("2027-03-01")), Err(NotInForce::Expired(day("2027-02-28"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a grant names, whatever it masks: only named fields that the catalogue allows leave.
    #[test]
    fn a_release_never_contains_a_field_outside_its_grant(
        granted in prop::collection::vec(0..6_usize, 0..8), masked in prop::collection::vec((0..6_usize, 0..4_usize), 0..4),
        basis in any::<bool>(), filter in prop::option::of(0..3_usize),
    ) {
        let names = ["uscc", "representative", "region_code", "established_on", "people", "secret"];
        let rules = [MaskRule::Name, MaskRule::Null, MaskRule::Pseudonym(PseudonymBy::Sha256), MaskRule::Year];
        let filters = ["uscc <> 'A'", "secret = 's'", "people > 0"];
        let fields: Vec<&str> = granted.iter().map(|f| names[*f]).collect();
        let masks: Vec<_> = masked.iter().map(|(f, m)| (names[*f], rules[*m].clone())).collect();
        let mut feed = feed(&fields, filter.map(|f| filters[f]), &masks);
        feed.basis = basis.then(|| "法".to_owned());
        let released = compile(&feed).expect("compiles").apply(&rows());
        for field in released.rows.schema().fields() {
            prop_assert!(fields.contains(&field.name().as_str()), "{} was not granted", field.name());
            prop_assert!(field.name() != "secret", "withheld by the catalogue");
            prop_assert!(field.name() != "people" || basis, "no basis");
        }
        prop_assert_eq!(released.rows.num_rows(), released.kept.len());
        let all = released.kept.len() + released.withheld_by_filter.len() + released.withheld_by_error.len();
        prop_assert_eq!(all, 4);
        if let Some(masked) = released.rows.column_by_name("representative").filter(|_| feed.mask.contains_key("representative")) {
            prop_assert!(masked.as_string::<i32>().iter().flatten().all(|name| name != "李小四"));
        }
    }
}
