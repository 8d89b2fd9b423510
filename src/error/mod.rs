//! What can go wrong, said so that a person can act on it.
//!
//! Two kinds of bad news live here. A [`Problem`] is about a definition file or a command and is shown to a person:
//! stable code, file, line, column, detail, hint. A [`Disposition`] is what the engine does about an error while
//! records flow: retry, quarantine or halt. Neither ever carries a cell value.

mod pages;
mod problem;

pub use pages::{PAGES, Page, page};
pub use problem::{Place, Problem, Severity, nearest, render};

/// What the engine does about an error. Every error of the flow answers with one of these, matched exhaustively.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The outside world failed for now: hold the position, back off, try again.
    Retry,
    /// This row is bad and no repetition will mend it: set it aside and go on.
    Quarantine,
    /// This dataset or feed cannot go on without a person: hold it, say so, leave the others alone.
    Halt,
}
