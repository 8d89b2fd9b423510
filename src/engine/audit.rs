//! The audit log at work: checkpoints as it grows, a walk along all of it, segments for the archive.

use std::collections::HashSet;
use std::path::Path;

use chrono::{DateTime, TimeDelta};
use serde::Serialize;

use super::{Engine, EngineError, premises};
use crate::audit::{self, AuditError, Checkpoint, Entry, Exported, Fault, SignedCheckpoint, Walk};
use crate::crypto::Trust;
use crate::store::AuditFilter;

/// Entries read at a time.
const PAGE: i64 = 10_000;
/// Entries in one segment.
const SEGMENT: usize = 200_000;
/// A checkpoint is due after so many entries …
const MOST_ENTRIES: u64 = 1_000;
/// … or so long after the last one, if there is any entry.
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// How often it is looked whether one is due.
const LOOKING: TimeDelta = TimeDelta::minutes(1);

/// What a walk along the log found.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// Entries.
    pub entries: u64,
    /// Number of the last one; 0 is none.
    pub last: i64,
    /// Checkpoints that were compared.
    pub checkpoints: u64,
    /// Entries behind the last checkpoint: only the chain speaks for them.
    pub unsealed: u64,
    /// Who signed the last checkpoint; `None` when there is none, or nobody to believe.
    pub signed_by: Option<String>,
    /// Where it is not what it was.
    pub faults: Vec<Fault>,
}

impl Engine {
    /// Signs how the log stands, if that is due, or there is anything new and `now` is wanted. Says whether it was.
    pub async fn checkpoint_audit(&mut self, now: bool) -> Result<bool, EngineError> {
        let at = self.agreed_time().await?;
        let last = self.store.audit_checkpoints().await?.pop();
        let stands = last.as_ref().and_then(SignedCheckpoint::read);
        let from = stands.as_ref().map_or(0, |stands| stands.last);
        let Some((more, end, digest)) = self.store.audit_since(from).await? else { return Ok(false) };
        let age = stands.as_ref().and_then(|stands| DateTime::parse_from_rfc3339(&stands.at).ok());
        let due = more >= MOST_ENTRIES || age.is_none_or(|made| at.signed_duration_since(made) >= LONGEST);
        if !(due || now) {
            return Ok(false);
        }
        let entries = stands.as_ref().map_or(0, |stands| stands.entries) + more;
        let issuer = &self.workspace.installation.issuer;
        let previous = last.as_ref().map(SignedCheckpoint::digest);
        let checkpoint = Checkpoint::new(issuer, (entries, end, &digest), previous, at);
        let signed = checkpoint.sign(&premises::signer(&self.workspace, at)?, at)?;
        Ok(self.store.add_audit_checkpoint((stands.map(|stands| stands.last), end), &signed).await?)
    }

    /// Walks along the whole log, and compares it with every checkpoint. `trust`: whose checkpoints are believed.
    pub async fn verify_audit(&mut self, trust: Option<&Trust>) -> Result<AuditReport, EngineError> {
        let checkpoints = self.store.audit_checkpoints().await?;
        let read: Vec<(Checkpoint, SignedCheckpoint)> =
            checkpoints.into_iter().filter_map(|signed| Some((signed.read()?, signed))).collect();
        let ends: HashSet<i64> = read.iter().map(|(said, _)| said.last).collect();
        let mut walk = Walk::new();
        loop {
            let page = self.store.audit_entries(&AuditFilter::after(walk.end().0, PAGE)).await?;
            if page.is_empty() {
                break;
            }
            for entry in &page {
                walk.step(entry, ends.contains(&entry.id));
            }
        }
        let (mut signed_by, mut previous) = (None, None);
        let now = self.clock.now();
        for (said, signed) in &read {
            if said.previous != previous {
                walk.doubt(said, "HL0824 it does not follow the checkpoint before it");
            }
            previous = Some(signed.digest());
            match trust.map(|trust| signed.signed_by(trust, now)) {
                Some(Err(error)) => walk.doubt(said, format!("{} {error}", error.code())),
                Some(Ok(by)) => signed_by = Some(by.subject),
                None => {}
            }
            walk.compare(said);
        }
        let sealed = read.last().map_or(0, |(said, _)| said.entries);
        Ok(AuditReport {
            entries: walk.entries(),
            last: walk.end().0,
            checkpoints: read.len() as u64,
            unsealed: walk.entries().saturating_sub(sealed),
            signed_by,
            faults: walk.faults().to_vec(),
        })
    }

    /// Entries that match, newest first unless the filter goes forward.
    pub async fn search_audit(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>, EngineError> {
        Ok(self.store.audit_entries(filter).await?)
    }

    /// Writes what an archive does not have yet into it, in segments, up to a checkpoint made now.
    pub async fn export_audit(&mut self, dir: &Path) -> Result<Vec<Exported>, EngineError> {
        self.checkpoint_audit(true).await?;
        let checkpoints: Vec<(i64, SignedCheckpoint)> = self
            .store
            .audit_checkpoints()
            .await?
            .into_iter()
            .filter_map(|signed| Some((signed.read()?.last, signed)))
            .collect();
        let through = checkpoints.last().map_or(0, |(last, _)| *last);
        let mut newest = audit::newest(dir).map_err(refused)?;
        let mut written = Vec::new();
        loop {
            let after = newest.as_ref().map_or((0, 0, String::new()), |(segment, _)| {
                (segment.after.0 + segment.entries, segment.last, segment.digest.clone())
            });
            let entries = self.entries_between(after.1, through).await?;
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { break };
            let within: Vec<SignedCheckpoint> = checkpoints
                .iter()
                .filter(|(end, _)| (first.id..=last.id).contains(end))
                .map(|(_, signed)| signed.clone())
                .collect();
            let now = self.clock.now();
            let signer = premises::signer(&self.workspace, now)?;
            let (certificates, crls) = premises::for_the_archive(&self.workspace, &signer)?;
            let previous = newest.take().map(|(_, digest)| digest);
            let of = (self.workspace.installation.issuer.as_str(), after, previous);
            let made = audit::export(dir, of, (&entries, &within), (&signer, &certificates, &crls), now);
            written.extend(made.map_err(refused)?);
            newest = audit::newest(dir).map_err(refused)?;
        }
        if let Some(last) = written.last() {
            let detail = format!("{} segments through entry {}", written.len(), last.segment.last);
            let at = self.now();
            self.store.audit(at, "audit.export", &detail).await?;
        }
        Ok(written)
    }

    async fn entries_between(&mut self, after: i64, through: i64) -> Result<Vec<Entry>, EngineError> {
        let mut entries: Vec<Entry> = Vec::new();
        while entries.len() < SEGMENT {
            let from = entries.last().map_or(after, |entry| entry.id);
            let page = self.store.audit_entries(&AuditFilter::after(from, PAGE)).await?;
            let whole = page.len() as i64 == PAGE;
            entries.extend(page.into_iter().filter(|entry| entry.id <= through));
            if !whole || entries.last().is_some_and(|entry| entry.id >= through) {
                break;
            }
        }
        Ok(entries)
    }

    /// After a run or a release: a checkpoint if one is due. What keeps it from being made stops nothing else.
    pub(super) async fn checkpoint_if_due(&mut self) {
        let now = self.clock.now();
        if self.looked_at_audit.is_some_and(|last| now.signed_duration_since(last) < LOOKING) {
            return;
        }
        self.looked_at_audit = Some(now);
        if let Err(error) = self.checkpoint_audit(false).await {
            tracing::warn!(%error, "the audit log could not be given a checkpoint; the next run tries again");
        }
    }
}

fn refused(error: AuditError) -> EngineError {
    match error {
        AuditError::Crypto(error) => error.into(),
        other => EngineError::Definitions(vec![crate::error::Problem::error(other.code(), other.to_string())]),
    }
}
