//! The machine that moves records: runs of pipelines, releases of feeds, delivery, replay, and the doctor.
//!
//! Decides: order of work, when to commit, when to hold. Must not know: formats, SQL, SQLite, Avro.
//! Guarantees: a position is committed with the rows it describes; a run that does not balance is not "succeeded".
//!
//! In five lines:
//! ```text
//! for each file the source lists:   skip it if its digest was taken
//!     decode chunk → recognise rows → map the rest → link → absorb → commit (rows, ledger, position)
//!     checks; then what a full extract no longer shows is retracted, the file is taken, the source settles it
//! for each feed:                    changes after its cursor → release under the grant → compare with holdings
//!     seal batch (with cursor, holdings, ledger) → outlet → durable
//! ```

mod arrivals;
mod audit;
mod backfill;
mod chunks;
mod deadlines;
mod doctor;
mod drift;
mod events;
mod flow;
mod holdings;
mod intake;
mod late;
mod listed;
mod open;
mod plan;
mod premises;
mod probe;
mod receipts;
mod rehearse;
mod release;
mod replay;
mod report;
mod review;
mod rows;
mod run;
pub mod schedule;
mod statement;
mod suspend;
mod take;

pub use audit::AuditReport;
pub use backfill::{BackfillStep, Chunking, Comparison, FeedRequest, FilesRequest, Plan, RegisterRows, Rehearsal};
pub use deadlines::{Clocked, State as ClockState};
pub use doctor::{DoctorReport, Finding, Outlined};
pub use drift::{Difference, Drifted};
pub use open::Open;
pub use plan::{
    Change, ContractChange, Impact, Past, PipelineChange, RegisterChange, Remapped, Remapping, ScopeChange,
};
pub use premises::{certificates, own_trust, signer, spool_dir, state_dir};
pub use probe::{ColumnProbe, Probed};
pub use receipts::{FalseReceipt, ReceiptsReport};
pub use rehearse::{Affected, RegisterRehearsal, RunRehearsal, Sample, SampleField};
pub use replay::{Corrections, ReplayReport, StillRefused};
pub use report::{FeedReport, FileReport, RegisterReport, RunReport};
pub use review::{Linked, ReviewLine};
pub use run::RunOptions;
pub use schedule::Due;
pub use statement::SignedStatement;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::config::Workspace;
use crate::error::{Disposition, Problem};
use crate::outlet::rabbitmq::RabbitMq;
use crate::store::{Store, StoreError};

/// What stops a run or a feed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The definitions do not compile.
    #[error("{}", first_of(.0))]
    Definitions(Vec<Problem>),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source said no.
    #[error(transparent)]
    Source(crate::source::SourceError),
    /// A file cannot be read further.
    #[error(transparent)]
    Decode(#[from] crate::decode::DecodeError),
    /// Signing or trust failed.
    #[error("{code} {0}", code = .0.code())]
    Crypto(#[from] crate::crypto::CryptoError),
    /// A batch could not be built.
    #[error("{code} {0}", code = .0.code())]
    Batch(#[from] crate::batch::BatchError),
    /// The broker said no.
    #[error("{code} {0}", code = .0.code())]
    Broker(#[from] crate::outlet::rabbitmq::BrokerError),
    /// The outlet said no.
    #[error(transparent)]
    Outlet(#[from] crate::outlet::OutletError),
    /// A chunk's counts do not add up; nothing of it was kept.
    #[error("HL0504 the ledger of {register} does not balance; no position was moved")]
    Unbalanced {
        /// Register.
        register: String,
    },
    /// What is signed or dated with a wrong clock is wrong for good.
    #[error("HL0936 this machine's clock is {seconds} s away from the store's; nothing is read or signed under it")]
    ClockOff {
        /// Ahead; behind when negative.
        seconds: i64,
    },
    /// A person asked to stop.
    #[error("HL0505 stopped; the next run goes on from the last committed chunk")]
    Stopped,
    /// Somebody with newer definitions brought a source that this run cannot rank.
    #[error("HL0507 a source that this run does not know began to fill {register}; the next run goes on with it")]
    NewSource {
        /// Register.
        register: String,
    },
    /// Something that cannot be, was.
    #[error("HL0599 internal: {0}")]
    Internal(String),
}

impl From<crate::source::SourceError> for EngineError {
    fn from(error: crate::source::SourceError) -> Self {
        match error {
            crate::source::SourceError::Decode(error) => Self::Decode(error),
            error => Self::Source(error),
        }
    }
}

/// The first problem in one line, and how many more there are.
fn first_of(problems: &[Problem]) -> String {
    let first = problems.first().map_or_else(String::new, |problem| format!("{} {}", problem.code, problem.message));
    match problems.len() {
        0 | 1 => first,
        all => format!("{first} (and {} more)", all - 1),
    }
}

impl EngineError {
    /// Whether only a PKCS#11 token that signs is away.
    pub(crate) fn misses_a_token(&self) -> bool {
        use crate::batch::BatchError;
        use crate::crypto::CryptoError;
        let (Self::Crypto(error) | Self::Batch(BatchError::Crypto(error))) = self else { return false };
        matches!(error, CryptoError::TokenAway { .. })
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Store(error) => error.disposition(),
            Self::Source(error) => error.disposition(),
            Self::Decode(error) => error.disposition(),
            Self::Outlet(error) => error.disposition(),
            Self::Broker(error) if error.passes() => Disposition::Retry,
            Self::Broker(_) => Disposition::Halt,
            Self::Crypto(_) | Self::Batch(_) if self.misses_a_token() => Disposition::Retry,
            Self::Definitions(_) | Self::Crypto(_) | Self::Batch(_) | Self::Unbalanced { .. } | Self::Internal(_) => {
                Disposition::Halt
            }
            Self::Stopped | Self::ClockOff { .. } | Self::NewSource { .. } => Disposition::Retry,
        }
    }
}

/// How far a clock may be from the store's. Receivers believe signatures of five minutes ahead and no more.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(2);

/// The present by this clock, if the store's agrees. A frozen clock means another day on purpose.
///
/// # Errors
/// HL0936, and those of the store.
pub async fn agreed_time(store: &mut dyn Store, clock: Clock) -> Result<DateTime<Utc>, EngineError> {
    let now = clock.now();
    if clock == Clock::System {
        let apart = TimeDelta::microseconds(now.timestamp_micros().saturating_sub(store.now().await?));
        if apart.abs() > CLOCKS_DIFFER {
            return Err(EngineError::ClockOff { seconds: apart.num_seconds() });
        }
    }
    Ok(now)
}

/// What an engine tells while it works; the command line draws bars from it.
pub trait Progress: Send + Sync {
    /// A file begins: pipeline, file, bytes.
    fn file(&self, pipeline: &str, file: &str, bytes: u64);
    /// Rows committed since the last call, and the byte after the last of them.
    fn rows(&self, rows: u64, byte: u64);
    /// A feed sealed and delivered so many more records.
    fn records(&self, feed: &str, records: u64);
    /// The current file or feed is finished.
    fn done(&self);
}

/// Tells nobody.
#[derive(Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn file(&self, _: &str, _: &str, _: u64) {}
    fn rows(&self, _: u64, _: u64) {}
    fn records(&self, _: &str, _: u64) {}
    fn done(&self) {}
}

/// One installation at work.
pub struct Engine {
    workspace: Workspace,
    store: Box<dyn Store>,
    clock: Clock,
    progress: Arc<dyn Progress>,
    stop: Arc<AtomicBool>,
    broker: Option<RabbitMq>,
    /// When it was last looked whether the audit log needs a checkpoint.
    looked_at_audit: Option<DateTime<Utc>>,
    /// How long the time-stamping authority is left alone.
    stamp_rest: release::StampRest,
    /// Keys that have signed for feeds, as the audit log was told.
    keys_used: HashSet<String>,
    /// When a backfill last met live work.
    met_live_work: Option<Instant>,
    /// Why feeds may not release, as this process last kept it.
    refusals: HashMap<String, Option<String>>,
}

impl Engine {
    /// Over a checked workspace and an open store; makes or widens the registers' tables.
    pub async fn new(workspace: Workspace, mut store: Box<dyn Store>, clock: Clock) -> Result<Self, EngineError> {
        let registers: Vec<_> = workspace.registers.values().collect();
        store.prepare(&registers).await?;
        store.audit_by(premises::digests(&workspace));
        let broker = premises::broker(&workspace);
        Ok(Self::over(workspace, store, clock, broker))
    }

    /// Over a checked workspace and an open store, to ask what would happen: registers' tables stay as they are.
    pub async fn for_questions(
        workspace: Workspace,
        mut store: Box<dyn Store>,
        clock: Clock,
    ) -> Result<Self, EngineError> {
        let registers: Vec<_> = workspace.registers.values().collect();
        store.survey(&registers).await?;
        store.audit_by(premises::digests(&workspace));
        Ok(Self::over(workspace, store, clock, None))
    }

    fn over(workspace: Workspace, store: Box<dyn Store>, clock: Clock, broker: Option<RabbitMq>) -> Self {
        Self {
            workspace,
            store,
            clock,
            progress: Arc::new(Quiet),
            stop: Arc::new(AtomicBool::new(false)),
            broker,
            looked_at_audit: None,
            stamp_rest: release::StampRest::default(),
            keys_used: HashSet::new(),
            met_live_work: None,
            refusals: HashMap::new(),
        }
    }

    /// With a broker that other engines of this process use too, so that all share its one connection.
    #[must_use]
    pub fn with_broker(mut self, broker: Option<RabbitMq>) -> Self {
        self.broker = broker;
        self
    }

    /// The broker (消息队列), to be shared; `None` when none is configured.
    pub fn broker(&self) -> Option<RabbitMq> {
        self.broker.clone()
    }

    /// With somebody to tell.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// With somebody else's stop flag.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Set to stop at the next commit boundary.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Other definitions from now on; the old ones stay when the store does not take the new registers.
    pub async fn redefine(&mut self, workspace: Workspace) -> Result<(), EngineError> {
        let registers: Vec<_> = workspace.registers.values().collect();
        self.store.prepare(&registers).await?;
        self.workspace = workspace;
        Ok(())
    }

    /// The definitions.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The store, for questions.
    pub fn store(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    async fn agreed_time(&mut self) -> Result<DateTime<Utc>, EngineError> {
        agreed_time(&mut *self.store, self.clock).await
    }

    /// The civil day in the installation's zone.
    fn today(&self) -> chrono::NaiveDate {
        self.clock.today(self.workspace.installation.zone)
    }

    fn check_stop(&self) -> Result<(), EngineError> {
        if self.stop.load(Ordering::Relaxed) { Err(EngineError::Stopped) } else { Ok(()) }
    }
}
