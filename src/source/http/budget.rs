//! How often a service may be called in a day: counted in a file, so that a restart does not begin anew.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;
use chrono_tz::Asia::Shanghai;
use serde::{Deserialize, Serialize};

use crate::source::SourceError;

/// The calls of one dataset.
pub(super) struct Budget {
    file: PathBuf,
    name: String,
    calls: u32,
}

#[derive(Default, Serialize, Deserialize)]
struct Counted {
    day: String,
    calls: u32,
}

impl Budget {
    /// At most `calls` a civil day in Qingdao.
    pub(super) fn new(state: &Path, name: &str, calls: u32) -> Self {
        Self { file: state.join("calls").join(format!("{name}.json")), name: name.to_owned(), calls }
    }

    /// Counts one call, before it is made. Errors: [`SourceError::Budget`] when today's are used up.
    #[expect(
        clippy::disallowed_methods,
        reason = "a service counts our calls by its own day, not by the engine's clock"
    )]
    pub(super) fn spend(&self) -> Result<(), SourceError> {
        self.spend_on(&Utc::now().with_timezone(&Shanghai).date_naive().to_string())
    }

    fn spend_on(&self, day: &str) -> Result<(), SourceError> {
        let counted = fs::read(&self.file).ok().and_then(|bytes| serde_json::from_slice::<Counted>(&bytes).ok());
        let calls = counted.filter(|counted| counted.day == day).map_or(0, |counted| counted.calls);
        if calls >= self.calls {
            return Err(SourceError::Budget { what: self.name.clone(), calls: self.calls });
        }
        let failed = |error| SourceError::Unreadable { what: self.file.display().to_string(), source: error };
        let dir = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir).map_err(failed)?;
        let counted = Counted { day: day.to_owned(), calls: calls + 1 };
        let temporary = self.file.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(&counted).unwrap_or_default()).map_err(failed)?;
        fs::rename(&temporary, &self.file).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_so_many_calls_and_a_restart_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let budget = || Budget::new(dir.path(), "e-license.certs", 2);
        budget().spend_on("2026-11-21").unwrap();
        budget().spend_on("2026-11-21").unwrap();
        assert_eq!(budget().spend_on("2026-11-21").unwrap_err().code(), "HL0345");
        budget().spend_on("2026-11-22").unwrap();
    }
}
