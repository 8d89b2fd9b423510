//! What stops a receiver, each with its own code.

use crate::batch::BatchError;
use crate::crypto::StampError;
use crate::error::Problem;
use crate::outlet::rabbitmq::BrokerError;

/// Why a feed stopped. Nothing of the batch it stopped at was loaded.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The batch itself: signature, manifest, body.
    #[error("{batch}: {error}")]
    Batch {
        /// `feed/seq`, or the file.
        batch: String,
        /// What.
        error: BatchError,
    },
    /// The token of time (时间戳) beside it.
    #[error("{batch}: {error}")]
    Stamp {
        /// The file.
        batch: String,
        /// What.
        error: StampError,
    },
    /// A number is missing.
    #[error("{feed}: batch {expected} is missing; the next one there is {found}")]
    Hole {
        /// Feed.
        feed: String,
        /// What should come.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The history is not the one that was loaded.
    #[error("{batch} does not belong to the history that was loaded: {what}")]
    Fork {
        /// `feed/seq`.
        batch: String,
        /// How it shows.
        what: &'static str,
    },
    /// A file of the batch is not there or cannot be read.
    #[error("{batch} is incomplete: cannot read {file}: {why}")]
    Incomplete {
        /// `feed/seq`.
        batch: String,
        /// Which file.
        file: String,
        /// The system's reason.
        why: String,
    },
    /// The manifest is another batch's.
    #[error("{place} holds the batch {batch}")]
    Misplaced {
        /// Where it was found.
        place: String,
        /// What it is by its manifest.
        batch: String,
    },
    /// It was sealed for another department than the one that its feed is for.
    #[error("{batch} was sealed for {subscriber}, not for whom its feed is named after")]
    Addressed {
        /// `feed/seq`.
        batch: String,
        /// For whom, by its manifest.
        subscriber: String,
    },
    /// The target refused.
    #[error("cannot write to {target}: {why}")]
    Target {
        /// Which.
        target: String,
        /// The system's reason, without values.
        why: String,
    },
    /// The cursor is unreadable or belongs to something else.
    #[error("the cursor of {target} does not fit: {what}")]
    CursorMismatch {
        /// Which target.
        target: String,
        /// What.
        what: String,
    },
    /// The target's table is of another shape.
    #[error("the table {table} does not fit the feed: {what}")]
    Table {
        /// Table.
        table: String,
        /// What.
        what: String,
    },
    /// A batch was loaded while the target was compared.
    #[error("{feed}: a batch was loaded while its records were read")]
    Moved {
        /// Feed.
        feed: String,
    },
    /// The target holds what came after another batch than the statement's.
    #[error("{feed}: the statement is as of batch {said}, the target stands at {}", standing(*.found))]
    Elsewhere {
        /// Feed.
        feed: String,
        /// The statement's batch.
        said: u64,
        /// The target's; 0 is none.
        found: u64,
    },
    /// A target that keeps no rows cannot be compared.
    #[error("this target keeps no rows that could be compared")]
    NoRows,
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Wrong arguments.
    #[error("{what}")]
    Usage {
        /// What.
        what: String,
        /// What is possible.
        hint: String,
    },
}

impl ReceiveError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Batch { error, .. } => error.code(),
            Self::Stamp { error, .. } => error.code(),
            Self::Hole { .. } => "HL0740",
            Self::Fork { .. } => "HL0741",
            Self::Incomplete { .. } => "HL0742",
            Self::Misplaced { .. } => "HL0743",
            Self::Addressed { .. } => "HL0664",
            Self::Target { .. } => "HL0744",
            Self::CursorMismatch { .. } => "HL0745",
            Self::Table { .. } => "HL0746",
            Self::Moved { .. } | Self::Elsewhere { .. } => "HL0754",
            Self::NoRows => "HL0755",
            Self::Broker(error) => error.code(),
            Self::Usage { .. } => "HL0747",
        }
    }
}

fn standing(found: u64) -> String {
    if found == 0 { "no batch yet".into() } else { format!("batch {found}") }
}

impl From<&ReceiveError> for Problem {
    fn from(error: &ReceiveError) -> Self {
        let problem = Problem::error(error.code(), error.to_string());
        match error {
            ReceiveError::Usage { hint, .. } => problem.hint(hint.clone()),
            ReceiveError::Moved { .. } => {
                problem.hint("stop `huiliu receive` for the time of the comparison, or try again")
            }
            ReceiveError::Elsewhere { said, found, .. } if found < said => {
                problem.hint("load what is there with `huiliu receive`, then compare")
            }
            ReceiveError::Elsewhere { feed, found, .. } => {
                problem.hint(format!("ask the issuing office for `huiliu statement {feed} --as-of {found}`"))
            }
            ReceiveError::NoRows => problem.hint("give --to sqlite:FILE or postgres://user:password@host/database"),
            _ => problem,
        }
    }
}
