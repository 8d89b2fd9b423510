//! The demo city against the project's own definitions: every row meets the fate its flaw deserves, and every example
//! of a mapping holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::NaiveDate;
use huiliu::clock::Clock;
use huiliu::config::{DatasetRef, Workspace, read_cases};
use huiliu::decode::{self, Limits, Memory, Wanted};
use huiliu::demo::{self, Fate, Outbox};
use huiliu::engine::{ReviewLine, RunOptions, RunReport};
use huiliu::mapping::{CompiledMapping, Mapped, MappingSource, Stage, run_cases};
use huiliu::store::ChunkCounts;
use sqlx::Connection as _;

use super::support::{Small, settle_city};

fn workspace() -> Workspace {
    let loaded = Workspace::load(Path::new("."));
    loaded.unwrap_or_else(|problems| panic!("{}", huiliu::error::render(&problems)))
}

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 21).unwrap()
}

fn compile(workspace: &Workspace, from: &DatasetRef, into: &str) -> CompiledMapping {
    let source = MappingSource::find(workspace, from, into, today()).unwrap();
    CompiledMapping::compile(&source).unwrap_or_else(|problems| panic!("{}", huiliu::error::render(&problems)))
}

/// What became of one dataset's file: rows undecodable, and what each mapping said of each chunk.
struct Fates {
    undecodable: u64,
    mapped: BTreeMap<String, Vec<Mapped>>,
}

fn pass(workspace: &Workspace, from: &DatasetRef, path: &Path) -> Fates {
    let dataset = &workspace.connectors[&from.system].datasets[&from.dataset];
    let wanted: Vec<_> =
        dataset.columns.iter().map(|c| Wanted { name: c.name.clone(), path: c.path.clone() }).collect();
    let input = Arc::new(Memory::new(from.to_string(), std::fs::read(path).unwrap()));
    let mut decoder = decode::open(input, dataset.format().unwrap(), &wanted, Limits::default(), None).unwrap();
    let mappings: BTreeMap<_, _> = workspace
        .mappings
        .keys()
        .filter(|(system, dataset, _)| (system, dataset) == (&from.system, &from.dataset))
        .map(|(_, _, into)| (into.clone(), compile(workspace, from, into)))
        .collect();
    let mut fates = Fates { undecodable: 0, mapped: BTreeMap::new() };
    while let Some(chunk) = decoder.next(1024).unwrap() {
        fates.undecodable += chunk.undecodable.len() as u64;
        for (into, mapping) in &mappings {
            fates.mapped.entry(into.clone()).or_default().push(mapping.apply(&chunk.rows));
        }
    }
    fates
}

#[test]
fn the_real_register_is_mapped_whole_from_csv_and_xls() {
    let Some(shared) = crate::testing::shared("data/registry") else { return };
    let workspace = workspace();
    for (dataset, file, rows, lower_case) in [
        ("historic_register", "qingdao_2019.csv", 13_642, 5),
        ("historic_register", "qingdao_2019.gb18030.csv", 13_642, 5),
        ("historic_register_xls", "shandong_1983.xls", 26, 0),
    ] {
        let from = DatasetRef { system: "market-regulation".to_owned(), dataset: dataset.to_owned() };
        let fates = pass(&workspace, &from, &shared.join(file));
        let mapped = &fates.mapped["enterprise"];
        let refused: Vec<_> = mapped.iter().flat_map(|m| &m.refused).collect();
        assert!(refused.is_empty(), "{file}: {refused:?}");
        assert_eq!((fates.undecodable, mapped.iter().map(|m| m.rows.len()).sum::<usize>()), (0, rows), "{file}");
        let notes = mapped.iter().flat_map(|m| &m.notes).filter(|n| n.column == "uscc" && n.code == "lower_case");
        assert_eq!(notes.count(), lower_case, "{file}");
    }
}

#[test]
fn every_example_of_a_mapping_holds() {
    let workspace = workspace();
    let nothing = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let stage =
        Stage { zone: workspace.installation.zone, clock: Clock::Frozen(crate::support::now()), read: &nothing };
    for ((system, dataset, into), file) in &workspace.mappings {
        let (path, text) = file.cases.as_ref().unwrap_or_else(|| panic!("{} has no cases", file.file));
        let (cases, problems) = read_cases(path, text);
        assert!(problems.is_empty(), "{}", huiliu::error::render(&problems));
        assert!(cases.len() >= 4, "{path} has {} cases", cases.len());
        let from = DatasetRef { system: system.clone(), dataset: dataset.clone() };
        let source = MappingSource::find(&workspace, &from, into, today()).unwrap();
        for outcome in run_cases(&source, &cases, &stage).unwrap() {
            assert!(outcome.holds(), "{path}: {}: {:?}", outcome.case, outcome.differences);
        }
    }
}

/// Two nights through files, exchange tables and services: every flaw that was put in meets its fate, nothing else is
/// refused, and what holds between entities is found as planted.
#[tokio::test]
async fn two_nights_run_to_the_end_every_flaw_meets_its_fate_and_the_doctor_agrees() {
    let small = Small::empty();
    let _services = settle_city(&small);
    for night in [0, 1] {
        let outbox = demo::write_outbox(&small.path().join("outbox"), 7, 1, night).await.unwrap();
        let mut engine = small.engine().await;
        let pipelines: Vec<_> = engine.workspace().pipelines.keys().cloned().collect();
        let mut loaded = BTreeSet::new();
        for pipeline in pipelines {
            let from = engine.workspace().pipelines[&pipeline].from.value.to_string();
            let report = engine.run(&pipeline, &RunOptions::default()).await.unwrap();
            assert_eq!(report.status, "succeeded", "{report:#?}");
            assert!(report.registers.iter().all(|register| register.balanced), "{report:#?}");
            check_fates(&from, &outbox, &report, night);
            if pipeline == "seals" {
                check_courses_of_seals(&outbox, &report, night);
            }
            loaded.insert(from);
        }
        let written: BTreeSet<_> = outbox.files.iter().map(|file| file.dataset.to_owned()).collect();
        assert!(written.is_subset(&loaded), "{:?}", written.difference(&loaded));
        assert_eq!(unread(&small).await, 0, "what was committed is marked as read in the exchange tables");
        if night == 0 {
            check_bonds(&outbox, &engine.review(None, 3).await.unwrap());
        }
        let feeds: Vec<_> = engine.workspace().feeds.keys().cloned().collect();
        for feed in feeds {
            let report = engine.release(&feed).await.unwrap();
            assert_eq!(report.status, "released", "{report:#?}");
            assert!(report.upserts > 0 && report.durable == report.upserts + report.withdrawals, "{report:#?}");
            assert!(night == 0 || report.upserts < 200, "{report:#?}");
        }
        let doctor = engine.doctor().await.unwrap();
        assert_eq!(doctor.disagreements, 0, "{:?}", doctor.findings);
        // One entity per enterprise, whatever code each department knows it by.
        let enterprises = 2_000 + 8 * u64::from(night);
        assert_eq!(engine.store().count("enterprise").await.unwrap(), enterprises);
    }
}

/// The ledger of one dataset's run against what was put in.
fn check_fates(from: &str, outbox: &Outbox, report: &RunReport, night: u32) {
    let most = |count: fn(&ChunkCounts) -> u64| report.registers.iter().map(|r| count(&r.counts)).max().unwrap_or(0);
    let found = [(Fate::Undecodable, most(|c| c.undecodable)), (Fate::Quarantined, most(|c| c.quarantined))];
    for (fate, rows) in found {
        assert_eq!(rows, outbox.rows_with(from, fate), "{fate:?}: {from}, night {night}: {report:#?}");
    }
    // Natural applicants are left out of the enterprises, and some sound rows are repaired; what has not changed is not
    // mapped again.
    let at_least = [(Fate::Filtered, most(|c| c.filtered)), (Fate::Noted, most(|c| c.notes))];
    for (fate, rows) in at_least.into_iter().filter(|_| night == 0) {
        assert!(rows >= outbox.rows_with(from, fate), "{fate:?}: {rows} in {from}, night {night}");
    }
}

fn planted(outbox: &Outbox, dataset: &str, kind: &str) -> u64 {
    outbox.defects.iter().filter(|(d, _)| d.dataset == dataset && d.kind == kind).map(|(_, rows)| *rows).sum()
}

fn check_courses_of_seals(outbox: &Outbox, report: &RunReport, night: u32) {
    let notes = &report.registers[0].notes_by;
    let noted = |code: &str| notes.iter().filter(|(known, _)| known == code).map(|(_, n)| *n).sum::<u64>();
    let planted = |kind: &str| planted(outbox, "e-seal.seal", kind);
    assert_eq!(noted("business_time:late_record"), planted("late_record"), "night {night}");
    assert_eq!(noted("status_code:state_refused"), planted("resurrected"), "night {night}");
    assert!(night == 0 || planted("resurrected") > 0);
}

/// What was planted to dangle, to be one too many, not to add up or to be late is found, and nothing else of its kind.
fn check_bonds(outbox: &Outbox, lines: &[ReviewLine]) {
    let broken = |name: &str| lines.iter().find(|line| line.name == name).unwrap().broken;
    let planted = |dataset: &str, kind: &str| planted(outbox, dataset, kind);
    let lost = planted("tax.levy", "lost_detail") + planted("tax-local.levy", "lost_detail");
    let lost = lost + planted("finance.nontax", "lost_detail");
    assert_eq!(broken("bill"), lost, "{lines:#?}");
    assert_eq!(broken("legal_name"), planted("e-seal.seal", "second_seal"), "{lines:#?}");
    assert_eq!(broken("filing"), planted("e-seal.seal", "late_filing"), "{lines:#?}");
    assert_eq!(broken("successor"), planted("e-seal.seal", "lost_successor"), "{lines:#?}");
    // Each detail of a payer that is registered nowhere has a payer of its own.
    let payers = planted("tax.levy", "unregistered_payer") + planted("tax-local.levy", "unregistered_payer");
    assert_eq!(broken("payer"), payers, "{lines:#?}");
    // A case whose result was set aside has, as far as we know, not been decided.
    let unknown = [Fate::Undecodable, Fate::Quarantined].map(|fate| outbox.rows_with("approval.permit", fate));
    let late = planted("approval.acceptance", "decided_late") + unknown.iter().sum::<u64>();
    assert_eq!(broken("decision"), late, "{lines:#?}");
}

/// Rows of the approval system's exchange table that are still to be taken.
async fn unread(small: &Small) -> i64 {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(small.path().join("outbox/approval/exchange.db"));
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let query = sqlx::query_scalar("select count(*) from up_pro_result where cd_jhkg <> '1'");
    query.fetch_one(&mut connection).await.unwrap()
}

/// Without its services the city's definitions still check, and a run says what it did not reach.
#[tokio::test]
async fn a_city_whose_services_are_gone_says_so_and_loads_the_rest() {
    let small = Small::empty();
    drop(settle_city(&small));
    demo::write_outbox(&small.path().join("outbox"), 7, 1, 0).await.unwrap();
    let mut engine = small.engine().await;
    for pipeline in ["certificates", "seals", "real-estate-titles", "land-grants"] {
        let report = engine.run(pipeline, &RunOptions::default()).await.unwrap();
        let why = report.why.unwrap_or_default();
        assert!(report.status == "failed" && why.contains("HL0340"), "{pipeline}: {why}");
    }
    assert_eq!(engine.run("permits", &RunOptions::default()).await.unwrap().status, "succeeded");
}
