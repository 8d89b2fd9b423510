//! Decoded rows → claims on one register: one SQL `select` per dataset and register, run on DataFusion expressions.
//!
//! Decides: what a mapping may say, what a failed conversion does, the register's rules. Must not know: files,
//! databases, other entities. Guarantees: row order and row numbers survive; every row comes out exactly once, as
//! mapped, filtered or refused; identifiers are literal; no input makes it panic.

mod apply;
mod cases;
mod check;
mod checks;
mod compile;
mod contract;
mod rules;
pub(crate) mod sql;
#[cfg(test)]
mod tests;
pub mod values;

use std::borrow::Cow;

use arrow::record_batch::RecordBatch;

pub use cases::{CaseOutcome, Difference, Got, Stage, bless, run_cases};
pub use check::check_workspace;
pub use checks::{CompiledCheck, Facts, check_holds};
pub use compile::{CompiledMapping, Lineage, MappingSource};
pub use rules::Rules;

/// Why one row was refused. A row can have several reasons; all are kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reason {
    /// Register column (mapping output), contract column, `where`, or the keys' names for `no_key`.
    pub column: String,
    /// Stable snake_case code: `uscc_check_digit`, `rule`, `required`.
    pub code: String,
    /// Line in the mapping file, from 1; 0 when it is not about the mapping.
    pub line: u32,
}

/// A repair or a lenient conversion that was made and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Row index in the input chunk.
    pub row: usize,
    /// Register column.
    pub column: String,
    /// Stable code: `lower_case`, `full_width`, `or_null:date_open_end`.
    pub code: Cow<'static, str>,
}

/// What a mapping made of a chunk.
#[derive(Debug)]
pub struct Mapped {
    /// One column per register field that the mapping sets, typed as the register says; mapped rows only, in order.
    pub claims: RecordBatch,
    /// For each mapped row, its index in the input chunk.
    pub rows: Vec<u32>,
    /// Rows refused, with all their reasons, by index in the input chunk.
    pub refused: Vec<(u32, Vec<Reason>)>,
    /// Rows the `where` clause left out.
    pub filtered: u64,
    /// Repairs.
    pub notes: Vec<Note>,
}
