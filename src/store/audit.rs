//! Which entries of the audit log are asked for.

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
