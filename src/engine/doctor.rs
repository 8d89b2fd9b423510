//! Re-derives what is stored from what it was derived from, and compares.
//!
//! Register rows from claims, identity keys from claims, feed chains from batches, ledgers from their equations. Reads
//! only; a finding is a bug or a damaged disk, never a matter of taste.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rows::hex;
use super::{Engine, EngineError};
use crate::linking::{EntityId, Survivorship};
use crate::record::Value;
use crate::store::BatchLink;
use serde::Serialize;

/// Entities compared at a time.
const PAGE: i64 = 2048;
/// Findings printed per kind; the rest are counted.
const SHOWN: usize = 20;

/// What the doctor looked at and found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DoctorReport {
    /// Entities re-derived.
    pub entities: u64,
    /// Claims they were derived from.
    pub claims: u64,
    /// Batches whose chain was walked.
    pub batches: u64,
    /// Ledger lines checked.
    pub ledger_lines: u64,
    /// Audit entries whose chain was walked.
    pub audit_entries: u64,
    /// Whether a first load (首次装载) is under way or broke off, and lookups wait for its indexes: nothing is wrong.
    pub lacks_indexes: bool,
    /// What does not agree, at most 20 of a kind.
    pub findings: Vec<Finding>,
    /// How many do not agree.
    pub disagreements: u64,
}

/// Something stored that is not what it was derived from.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// `register_row`, `identity`, `orphan_claim`, `batch_chain`, `ledger`, `audit_chain`.
    pub kind: &'static str,
    /// Register, feed or run.
    pub subject: String,
    /// Entity, batch number or run.
    pub number: i64,
    /// What disagrees: field or link names, never values.
    pub what: String,
}

impl DoctorReport {
    fn found(&mut self, finding: Finding) {
        self.disagreements += 1;
        if self.findings.iter().filter(|f| f.kind == finding.kind).count() < SHOWN {
            self.findings.push(finding);
        }
    }
}

impl Engine {
    /// Examines the whole store, as it is at one moment: others may write meanwhile.
    pub async fn doctor(&mut self) -> Result<DoctorReport, EngineError> {
        self.store.hold_still().await?;
        let report = self.examine().await;
        let ended = self.store.move_on().await;
        let report = report?;
        ended?;
        Ok(report)
    }

    async fn examine(&mut self) -> Result<DoctorReport, EngineError> {
        let mut report = DoctorReport { lacks_indexes: self.store.lacks_indexes().await?, ..DoctorReport::default() };
        let names: Vec<String> = self.workspace.registers.keys().cloned().collect();
        for name in names {
            self.examine_register(&name, &mut report).await?;
        }
        self.examine_feeds(&mut report).await?;
        for line in self.store.ledger(None).await? {
            report.ledger_lines += 1;
            if !line.counts.balanced() {
                let what = "the equations do not hold".to_owned();
                report.found(Finding { kind: "ledger", subject: line.register, number: line.run, what });
            }
        }
        let audit = self.verify_audit(None).await?;
        report.audit_entries = audit.entries;
        for fault in audit.faults {
            let (number, what) = (fault.number(), fault.to_string());
            report.found(Finding { kind: "audit_chain", subject: "audit".into(), number, what });
        }
        Ok(report)
    }

    async fn examine_register(&mut self, name: &str, report: &mut DoctorReport) -> Result<(), EngineError> {
        let register = self.workspace.registers[name].clone();
        let streams = self.store.streams().await?;
        let own = streams
            .into_iter()
            .filter(|(_, (_, _, into))| into == name)
            .map(|(id, (system, dataset, _))| (id, (system, dataset)))
            .collect();
        let survivorship = Survivorship::new(&register, own);
        let keys: Vec<usize> = register
            .keys
            .iter()
            .filter_map(|key| register.fields.iter().position(|field| field.name == key.value))
            .collect();
        let mut after: EntityId = 0;
        loop {
            let page = self.store.claimed_entities(name, after, PAGE).await?;
            let Some(&last) = page.last() else { return Ok(()) };
            after = last;
            let before = self.store.before(name, &page).await?;
            for entity in page {
                let Some(state) = before.get(&entity) else { continue };
                report.entities += 1;
                report.claims += state.claims.len() as u64;
                let mut found = |kind, what: String| {
                    report.found(Finding { kind, subject: name.to_owned(), number: entity, what });
                };
                let Some((row, _)) = &state.row else {
                    found("orphan_claim", "claims point at an entity that has no row".into());
                    continue;
                };
                if state.claims.is_empty() {
                    found("register_row", "no claim supports this row".into());
                    continue;
                }
                let golden = survivorship.merge(&state.claims);
                let differing: Vec<&str> = register
                    .fields
                    .iter()
                    .zip(row.iter().zip(&golden.row))
                    .filter(|(_, (stored, derived))| stored != derived)
                    .map(|(field, _)| field.name.as_str())
                    .collect();
                if !differing.is_empty() {
                    found("register_row", format!("differs from its claims in {}", differing.join(", ")));
                }
                let claimed: BTreeSet<(usize, Arc<str>)> = state
                    .claims
                    .iter()
                    .flat_map(|claim| keys.iter().enumerate().map(move |(kind, &field)| (kind, &claim.values[field])))
                    .filter_map(|(kind, value)| match value {
                        Some(Value::Text(text)) => Some((kind, Arc::from(text.as_str()))),
                        _ => None,
                    })
                    .collect();
                if state.keys.iter().any(|key| !claimed.contains(key)) {
                    found("identity", "a key points at it that no claim makes".into());
                }
            }
        }
    }

    async fn examine_feeds(&mut self, report: &mut DoctorReport) -> Result<(), EngineError> {
        let feeds: Vec<String> = self.store.feeds().await?.into_iter().map(|feed| feed.feed).collect();
        for feed in feeds {
            let mut previous: Option<String> = None;
            let mut expected = 1;
            for BatchLink { seq, manifest } in self.store.batch_links(&feed).await? {
                report.batches += 1;
                let mut found = |what: &str| {
                    report.found(Finding {
                        kind: "batch_chain",
                        subject: feed.clone(),
                        number: seq,
                        what: what.into(),
                    });
                };
                if seq != expected {
                    found("a number is missing before it");
                }
                let read = crate::batch::Manifest::from_json(&manifest);
                match &read {
                    Err(_) => found("its manifest does not read"),
                    Ok(read) if read.previous.map(|digest| digest.to_string()) != previous => {
                        found("it does not name the manifest before it");
                    }
                    Ok(_) => {}
                }
                previous = read.ok().map(|read| hex(&read.body.algorithm.digest(&[&manifest])));
                expected = seq + 1;
            }
        }
        Ok(())
    }
}
