//! Re-derives what is stored from what it was derived from, and compares.
//!
//! Register rows from claims, identity keys from claims, holdings from batches, feed chains from batches, ledgers from their
//! equations. Reads only; a finding is a bug or a damaged disk, never a matter of taste.

mod feeds;
mod registers;

use serde::Serialize;

use super::{Engine, EngineError};

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
    /// Holdings (持有) compared, of all feeds.
    pub holdings: u64,
    /// Feeds whose holdings were all worked out anew from their batches.
    pub feeds_in_full: u64,
    /// The others: their holdings were compared with what manifests and registers say.
    pub feeds_in_outline: Vec<Outlined>,
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

/// A feed whose holdings cannot all be worked out anew.
#[derive(Debug, Clone, Serialize)]
pub struct Outlined {
    /// Feed.
    pub feed: String,
    /// The first batch whose records cannot be read.
    pub batch: u64,
    /// Why they cannot.
    pub why: &'static str,
}

/// Something stored that is not what it was derived from.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// `register_row`, `identity`, `orphan_claim`, `batch_chain`, `holding`, `holding_count`, `ledger`, `audit_chain`.
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
}
