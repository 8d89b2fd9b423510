//! Where the plug can be pulled: every boundary between "not yet" and "for good", by name.
//!
//! Decides: nothing. Must not know: what is written there. Guarantees: a build without the feature `failpoints` of the
//! crate `fail` (every build but that of tests) has none of them; in one that has, the process dies at once, without
//! unwinding, when `FAILPOINTS` says so: `FAILPOINTS='chunk-written=1*off->return'` dies the second time.

/// A moment in the order of work at which a crash must change nothing that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Rows, ledger and position of a chunk are written, and not committed.
    ChunkWritten,
    /// They are committed; nobody was told.
    ChunkCommitted,
    /// What a full extract no longer shows is taken back; the file is not marked as taken.
    Retracted,
    /// A file's end is written, and not committed.
    FileEnding,
    /// It is committed; the source was not told.
    FileEnded,
    /// A sealed batch is written with cursor and holdings, and not committed.
    BatchSealing,
    /// It is committed.
    BatchSealed,
    /// A batch is about to be handed to the outlet, the first time or again.
    BatchLeaving,
    /// The outlet has confirmed a batch; the store does not know.
    BatchConfirmed,
    /// The store knows that a batch is durable.
    BatchDurable,
    /// A receiver has written a batch and its cursor, and not committed them.
    LoadWritten,
    /// They are committed; no receipt was sent.
    LoadCommitted,
    /// The broker has the receipt; the batch is not acknowledged.
    ReceiptSent,
    /// The batch is acknowledged.
    LoadAcknowledged,
    /// A receipt is kept; the broker would hand it over again.
    ReceiptKept,
    /// A backfill's reader has some rows; nothing of them is written.
    ReadAhead,
    /// All rows of a backfill's chunk are in; it is not marked as done.
    BackfillWorked,
    /// It is marked as done.
    BackfillDone,
}

impl Boundary {
    /// All of them, in the order in which a record meets them.
    pub const ALL: [Self; 18] = [
        Self::ChunkWritten,
        Self::ChunkCommitted,
        Self::Retracted,
        Self::FileEnding,
        Self::FileEnded,
        Self::BatchSealing,
        Self::BatchSealed,
        Self::BatchLeaving,
        Self::BatchConfirmed,
        Self::BatchDurable,
        Self::LoadWritten,
        Self::LoadCommitted,
        Self::ReceiptSent,
        Self::LoadAcknowledged,
        Self::ReceiptKept,
        Self::ReadAhead,
        Self::BackfillWorked,
        Self::BackfillDone,
    ];

    /// As `FAILPOINTS` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChunkWritten => "chunk-written",
            Self::ChunkCommitted => "chunk-committed",
            Self::Retracted => "retracted",
            Self::FileEnding => "file-ending",
            Self::FileEnded => "file-ended",
            Self::BatchSealing => "batch-sealing",
            Self::BatchSealed => "batch-sealed",
            Self::BatchLeaving => "batch-leaving",
            Self::BatchConfirmed => "batch-confirmed",
            Self::BatchDurable => "batch-durable",
            Self::LoadWritten => "load-written",
            Self::LoadCommitted => "load-committed",
            Self::ReceiptSent => "receipt-sent",
            Self::LoadAcknowledged => "load-acknowledged",
            Self::ReceiptKept => "receipt-kept",
            Self::ReadAhead => "read-ahead",
            Self::BackfillWorked => "backfill-worked",
            Self::BackfillDone => "backfill-done",
        }
    }

    /// The process is here. It dies when `FAILPOINTS` says so, in a build that has failpoints.
    pub fn reached(self) {
        let _name = self.name();
        fail::fail_point!(_name, |_| std::process::abort());
    }
}

/// By how much this machine's clock is wrong, as a test wants it: seconds, in the file that `HUILIU_CLOCK_OFF` names, read
/// every time, so that it jumps while the process runs. Nothing, and nothing read, in a build without failpoints.
pub fn clock_is_off_by() -> chrono::TimeDelta {
    let told = fail::has_failpoints().then(|| std::env::var_os("HUILIU_CLOCK_OFF")).flatten();
    let seconds = told.and_then(|file| std::fs::read_to_string(file).ok()).and_then(|text| text.trim().parse().ok());
    chrono::TimeDelta::try_seconds(seconds.unwrap_or(0)).unwrap_or_default()
}

/// Reads `FAILPOINTS`, as long as what is returned lives; `None`, and nothing read, in a build without failpoints.
pub fn armed() -> Option<fail::FailScenario<'static>> {
    fail::has_failpoints().then(fail::FailScenario::setup)
}
