//! Entries of the audit log: which are asked for, and what is to become one.

use std::borrow::Cow;

use crate::audit::digest_of;
use crate::crypto::DigestAlgorithm;

/// What is to become an entry: when, what, and whom it concerned, why, with which result — never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When, microseconds.
    pub at: i64,
    /// What: `run`, `feed.release`.
    pub action: Cow<'static, str>,
    /// Whom and what it concerned, why, with which result.
    pub detail: String,
}

impl Note {
    /// Of an act at an instant (microseconds).
    pub fn new(at: i64, action: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { at, action: action.into(), detail: detail.into() }
    }
}

/// Previous and own digest of each of these entries, appended in this order behind the one that has `previous`.
pub(super) fn chained(algorithm: DigestAlgorithm, previous: Option<String>, notes: &[Note]) -> Vec<(String, String)> {
    let mut before = previous.unwrap_or_default();
    let chain = |note: &Note| {
        let digest = digest_of(algorithm, &before, (note.at, &note.action, &note.detail));
        (std::mem::replace(&mut before, digest.clone()), digest)
    };
    notes.iter().map(chain).collect()
}

/// Entries of the audit log, in order of numbers: forward where `after` is given, else newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only those with a higher number, oldest first.
    pub after: Option<i64>,
    /// From this instant on, microseconds.
    pub from: Option<i64>,
    /// Before this instant, microseconds.
    pub until: Option<i64>,
    /// This action, or those below it: `feed` finds `feed.release`.
    pub action: Option<String>,
    /// Whose detail has this in it.
    pub text: Option<String>,
    /// At most so many.
    pub limit: i64,
}

impl AuditFilter {
    /// The next page behind an entry.
    pub fn after(id: i64, limit: i64) -> Self {
        Self { after: Some(id), limit, ..Self::default() }
    }

    /// The direction, for SQL.
    pub(super) const fn direction(&self) -> &'static str {
        if self.after.is_some() { "asc" } else { "desc" }
    }
}
