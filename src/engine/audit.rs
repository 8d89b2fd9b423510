//! The audit log at work: checkpoints as it grows, a walk along all of it, segments for the archive.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta};
use serde::Serialize;

use super::{Engine, EngineError, premises};
use crate::audit::{self, AuditError, Checkpoint, Entry, Exported, Fault, SignedCheckpoint, Walk};
use crate::crypto::{DigestAlgorithm, Trust};
use crate::error::Problem;
use crate::store::{AuditFilter, Note};

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

/// Years that entries are kept (电子印章管理办法 §19), in months.
const RETENTION: chrono::Months = chrono::Months::new(20 * 12);

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
        let ends: Arc<HashSet<i64>> = Arc::new(read.iter().map(|(said, _)| said.last).collect());
        let mut page = self.store.audit_entries(&AuditFilter::after(0, PAGE)).await?;
        let mut walk = begins(&page, &read);
        let first = walk.end().0;
        while let Some(last) = page.last().map(|entry| entry.id) {
            // While one page is walked along the next is read.
            let ends = Arc::clone(&ends);
            let walking = tokio::task::spawn_blocking(move || {
                for entry in &page {
                    walk.step(entry, ends.contains(&entry.id));
                }
                walk
            });
            page = self.store.audit_entries(&AuditFilter::after(last, PAGE)).await?;
            walk = walking.await.map_err(|error| EngineError::Internal(error.to_string()))?;
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
            if said.last > first {
                walk.compare(said);
            }
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
            let now = self.agreed_time().await?;
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

    /// Lets go of entries before a day, as far as they are older than the rules ask, an archive that holds has them, and a
    /// checkpoint ends there. Returns how many went.
    pub async fn prune_audit(&mut self, before: NaiveDate, archive: &Path, by: &str) -> Result<u64, EngineError> {
        let floor = self.today().checked_sub_months(RETENTION).unwrap_or_default();
        if before > floor {
            let problem = Problem::error(
                "HL0660",
                format!("entries of the audit log stay for twenty years: until {floor} they may go"),
            );
            return Err(EngineError::Definitions(vec![
                problem.detail(format!("asked to let go of what is before {before}")),
            ]));
        }
        let zone = self.workspace.installation.zone;
        let end = before.and_time(chrono::NaiveTime::MIN).and_local_timezone(zone).earliest();
        let end = end.map_or(0, |end| end.timestamp_micros());
        let Some((through, entries)) = self.last_checkpoint_before(end).await? else { return Ok(0) };
        let trust = premises::own_trust(&self.workspace)?;
        let kept = match &trust {
            Some(trust) => audit::verify_archive(archive, trust, self.clock.now(), usize::MAX).map_err(refused)?,
            None => Vec::new(),
        };
        let reaches = audit::newest(archive).map_err(refused)?.map_or(0, |(segment, _)| segment.last);
        if kept.is_empty() || !kept.iter().all(audit::SegmentReport::holds) || reaches < through {
            let why = format!("{}: no archive that holds has the entries up to {through}", archive.display());
            let problem = Problem::error("HL0661", why)
                .hint("`huiliu audit export --to` first; `huiliu audit verify` says what does not hold");
            return Err(EngineError::Definitions(vec![problem]));
        }
        let told = format!("the first {entries} entries, through {through}, before {before}, by {by}");
        let note = Note::new(self.now(), "audit.prune", told);
        Ok(self.store.prune_audit(through, note).await?)
    }

    /// Number of the last entry, and entries, of the newest checkpoint whose entries are all from before an instant.
    async fn last_checkpoint_before(&mut self, end: i64) -> Result<Option<(i64, u64)>, EngineError> {
        let first = self.store.audit_entries(&AuditFilter { limit: 1, ..AuditFilter::after(0, 1) }).await?;
        let first = first.first().map_or(i64::MAX, |entry| entry.id);
        let younger = AuditFilter { from: Some(end), ..AuditFilter::after(0, 1) };
        let young = self.store.audit_entries(&younger).await?.first().map_or(i64::MAX, |entry| entry.id);
        let mut read = self.store.audit_checkpoints().await?.into_iter().filter_map(|signed| signed.read());
        let fitting = read.rfind(|said| (first..young).contains(&said.last));
        Ok(fitting.map(|said| (said.last, said.entries)))
    }

    /// The digest of what somebody looked up (查询标识摘要): the same for the same key, under a secret of this installation, so
    /// that the log can answer "who asked for this one?" and nobody reads the key from it.
    pub fn key_digest(&self, key: &str) -> Result<String, EngineError> {
        let state = premises::state_dir(&self.workspace);
        if !state.exists() {
            if !self.workspace.installation.store.starts_with("postgres") {
                return Ok("-".to_owned()); // nothing was ever run here, and nothing is kept of this question either
            }
            std::fs::create_dir_all(&state).map_err(|error| EngineError::Internal(error.to_string()))?;
        }
        let secret = premises::pseudonym_key(&self.workspace, "audit")?;
        Ok(crate::share::masks::pseudonym(DigestAlgorithm::Sha256, &secret, key))
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

/// Where the walk begins: at the beginning of the log, or, where old entries were let go of, behind the checkpoint that saw the
/// last of them.
fn begins(page: &[Entry], checkpoints: &[(Checkpoint, SignedCheckpoint)]) -> Walk {
    let before = page.first().filter(|first| !first.previous.is_empty());
    let seen = before.and_then(|first| checkpoints.iter().find(|(said, _)| said.digest == first.previous));
    seen.map_or_else(Walk::new, |(said, _)| Walk::after(said.entries, said.last, &said.digest))
}

fn refused(error: AuditError) -> EngineError {
    match error {
        AuditError::Crypto(error) => error.into(),
        other => EngineError::Definitions(vec![crate::error::Problem::error(other.code(), other.to_string())]),
    }
}
