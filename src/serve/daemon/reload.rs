//! SIGHUP: the definitions on disk, if they check and the store takes their registers; else the old ones stay.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::notify;
use super::Daemon;
use crate::config::Workspace;
use crate::error::Problem;
use crate::store::StoreError;

impl Daemon {
    /// Reads the definitions again.
    pub(super) async fn reload(&mut self) {
        notify::reloading();
        let checked = self.checked().await;
        self.shared.stale.store(checked.is_err(), Ordering::Relaxed);
        match checked {
            Ok(workspace) => self.put_in_force(workspace),
            Err(problems) => {
                for problem in &problems {
                    let place = problem.place.as_ref().map(|at| format!("{}:{}:{}", at.file, at.line, at.column));
                    tracing::error!(code = problem.code, place, "{}", problem.message);
                }
                tracing::error!(
                    code = "HL0901",
                    problems = problems.len(),
                    digest = self.shared.workspace().digest(),
                    "the definitions on disk do not check; the old ones stay in force"
                );
            }
        }
        notify::ready();
    }

    async fn checked(&mut self) -> Result<Workspace, Vec<Problem>> {
        let definitions = Arc::clone(&self.setup.definitions);
        let internal = |why: String| vec![Problem::error("HL0599", why)];
        let read = tokio::task::spawn_blocking(move || definitions()).await;
        let workspace = read.map_err(|error| internal(error.to_string()))??;
        let registers: Vec<_> = workspace.registers.values().collect();
        match self.store.prepare(&registers).await {
            Ok(()) => Ok(workspace),
            Err(StoreError::Refused(problem)) => Err(vec![*problem]),
            Err(error) => Err(internal(error.to_string())),
        }
    }

    /// `huiliu.yaml` itself counts at the next start: who signs, where the store is and where we listen do not change
    /// under work.
    fn put_in_force(&mut self, mut workspace: Workspace) {
        let old = self.shared.workspace();
        if workspace.files.get("huiliu.yaml") != old.files.get("huiliu.yaml") {
            tracing::warn!("huiliu.yaml has changed: it takes effect when the daemon starts again");
        }
        workspace.installation = old.installation.clone();
        let now = self.setup.clock.now();
        self.schedule.redefine(&workspace, now);
        self.shared.metrics.defined(&workspace);
        tracing::info!(digest = workspace.digest(), "new definitions are in force");
        self.shared.redefine(Arc::new(workspace));
    }
}
