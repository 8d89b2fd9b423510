//! The daemon (守护进程): the schedule at work, over a store that other daemons may share, and what it tells about itself.
//!
//! Decides: who works on what when a job is due, under which lease; what health, readiness and metrics say. Must not
//! know: how a run, a release or a backfill is done, nor which kind of store it is. Guarantees: a job runs under a lease
//! with a fencing token and on one worker at a time; told to stop, it stops at a commit boundary; definitions that do not
//! check leave the old ones in force.

mod daemon;
mod health;
pub mod holder;
mod http;
mod job;
mod metrics;
mod notify;
mod worker;

pub use daemon::Daemon;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::clock::Clock;
use crate::config::Workspace;
use crate::error::Problem;
use crate::store::{Store, StoreError};

/// Opens one more connection to the installation's store.
pub type Stores = Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Store>, StoreError>> + Send + Sync>;

/// Reads and checks the definitions as they are on disk now.
pub type Definitions = Arc<dyn Fn() -> Result<Workspace, Vec<Problem>> + Send + Sync>;

/// Asks something outside whether it is reachable, for `/readyz`.
#[derive(Clone)]
pub struct Probe {
    /// `broker`, …
    pub name: &'static str,
    /// The question; the answer is why not.
    pub ask: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// Everything that a daemon stands on.
#[derive(Clone)]
pub struct Setup {
    /// Checked definitions to begin with.
    pub workspace: Workspace,
    /// The same, read again.
    pub definitions: Definitions,
    /// The store.
    pub stores: Stores,
    /// Jobs at a time.
    pub workers: usize,
    /// Whether backfills have a worker of their own besides; else they have one of these.
    pub backfill_worker: bool,
    /// The present.
    pub clock: Clock,
    /// Where health, readiness and metrics are answered; `None` answers nowhere.
    pub listen: Option<String>,
    /// Ends as soon as nothing is due and nothing is at work.
    pub until_idle: bool,
    /// Further questions of `/readyz`.
    pub probes: Vec<Probe>,
}

/// Why a daemon could not begin, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("HL0902 cannot listen on {address}: {why}")]
    Listen {
        /// As written.
        address: String,
        /// The system's reason.
        why: String,
    },
    /// Work under way did not reach a commit boundary in time.
    #[error("HL0904 {jobs} did not stop within {seconds} s; what was committed is kept")]
    Stuck {
        /// What was at work.
        jobs: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}
