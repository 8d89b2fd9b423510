//! The outbox as a whole.

use std::collections::BTreeMap;
use std::fs;

use super::*;

fn bytes_of(outbox: &Outbox) -> BTreeMap<String, Vec<u8>> {
    let read = |file: &OutboxFile| {
        (
            file.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            fs::read(&file.path).expect("written"),
        )
    };
    outbox.files.iter().map(read).collect()
}

fn text_of(outbox: &Outbox, dataset: &str) -> String {
    let file = outbox.files.iter().find(|f| f.dataset == dataset).expect("every dataset has a file");
    let bytes = fs::read(&file.path).expect("written");
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (text, _, bad) = encoding_rs::GB18030.decode(error.as_bytes());
            assert!(!bad, "{dataset} is GB 18030");
            text.into_owned()
        }
    }
}

#[tokio::test]
async fn the_same_seed_scale_and_night_give_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().expect("temp"), tempfile::tempdir().expect("temp"));
    for night in [0, 1] {
        let first = write_outbox(one.path(), 7, 1, night).await.expect("writes");
        let second = write_outbox(two.path(), 7, 1, night).await.expect("writes");
        assert_eq!(first.defects, second.defects);
        assert_eq!(bytes_of(&first), bytes_of(&second));
    }
}

#[tokio::test]
async fn rows_are_as_many_as_said() {
    let dir = tempfile::tempdir().expect("temp");
    let outbox = write_outbox(dir.path(), 7, 1, 0).await.expect("writes");
    let rows: BTreeMap<_, _> = outbox.files.iter().map(|f| (f.dataset, f.rows)).collect();
    let lines = |dataset: &str| text_of(&outbox, dataset).lines().count() as u64;
    assert_eq!(rows["market-regulation.enterprise"], lines("market-regulation.enterprise") - 1);
    assert_eq!(rows["market-regulation.enterprise"], 2_000 + 4);
    assert_eq!(rows["market-regulation.legal_representative"], 2_000);
    assert_eq!(rows["social-security.insured"], 3_000 + 6);
    assert_eq!(rows["e-license.certificate"], lines("e-license.certificate"));
    assert_eq!(rows["approval.permit"], 800 + 4 * 3, "what is withdrawn, replayed or replaced is there twice");
    assert!((1_400..1_500).contains(&rows["e-license.certificate"]), "{rows:?}");
    assert_eq!(rows["tax.taxpayer"], text_of(&outbox, "tax.taxpayer").matches("<NSR>").count() as u64);
    assert_eq!(rows["science.high_tech"], 60 + 1);
}

#[tokio::test]
async fn every_planned_flaw_occurs_on_the_first_night() {
    let dir = tempfile::tempdir().expect("temp");
    for seed in [1, 7] {
        let outbox = write_outbox(dir.path(), seed, 1, 0).await.expect("writes");
        let count = |dataset: &str, kind: &str| {
            outbox.defects.iter().filter(|(d, _)| d.dataset == dataset && d.kind == kind).map(|(_, n)| *n).sum::<u64>()
        };
        for kind in ["bad_check_digit", "lower_case", "full_width", "impossible_date", "ragged_row", "unknown_code"] {
            assert_eq!(count("market-regulation.enterprise", kind), 4, "{kind}");
        }
        assert_eq!(count("social-security.insured", "fifteen_digits"), 12);
        assert_eq!(outbox.defects.len(), 164, "{:#?}", outbox.defects);
    }
}

#[tokio::test]
async fn a_night_later_full_extracts_are_nearly_the_same_and_appends_are_small() {
    let dir = tempfile::tempdir().expect("temp");
    let before = write_outbox(dir.path(), 7, 1, 0).await.expect("writes");
    let after = write_outbox(dir.path(), 7, 1, 1).await.expect("writes");
    for dataset in ["market-regulation.enterprise", "tax.taxpayer", "social-security.insured"] {
        let (old, new) = (text_of(&before, dataset), text_of(&after, dataset));
        let old: std::collections::HashSet<_> = old.lines().collect();
        let fresh = new.lines().filter(|line| !old.contains(line)).count();
        let total = new.lines().count();
        assert!(fresh > 0 && fresh * 20 < total, "{dataset}: {fresh} of {total} lines are new");
    }
    for dataset in ["approval.permit", "e-license.certificate"] {
        let rows = |outbox: &Outbox| outbox.files.iter().find(|f| f.dataset == dataset).map_or(0, |f| f.rows);
        assert!(rows(&after) > 0 && rows(&after) * 10 < rows(&before), "{dataset}");
    }
    assert!(after.rows_with("market-regulation.enterprise", Fate::Quarantined) > 0);
}

#[tokio::test]
async fn codes_agree_across_systems() {
    let dir = tempfile::tempdir().expect("temp");
    let outbox = write_outbox(dir.path(), 7, 1, 0).await.expect("writes");
    let registered = text_of(&outbox, "market-regulation.enterprise");
    let registered: std::collections::HashSet<_> = registered.lines().filter_map(|l| l.split(',').next()).collect();
    let employers = text_of(&outbox, "social-security.employer");
    let codes: Vec<_> = employers.lines().skip(1).filter_map(|l| l.split('|').nth(2)).collect();
    let known = codes.iter().filter(|code| registered.contains(*code)).count();
    assert!(known * 100 > codes.len() * 97, "{known} of {} employers are registered", codes.len());
}

#[tokio::test]
async fn the_workbook_reads_back_with_its_header_on_row_three() {
    use calamine::{Data, Reader, Xlsx, open_workbook};
    let dir = tempfile::tempdir().expect("temp");
    let outbox = write_outbox(dir.path(), 7, 1, 0).await.expect("writes");
    let file = outbox.files.iter().find(|f| f.dataset == "science.high_tech").expect("there");
    let mut workbook: Xlsx<_> = open_workbook(&file.path).expect("opens");
    let range = workbook.worksheet_range("高企名单").expect("has the sheet");
    assert_eq!(range.get_value((2, 1)), Some(&Data::String("企业名称".to_owned())));
    let numbers = range.rows().skip(3).filter(|row| matches!(row[4], Data::Float(_))).count();
    assert!(numbers > 0, "some dates are serial numbers");
}
