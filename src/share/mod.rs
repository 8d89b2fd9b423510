//! What a subscriber may have: release under a grant.
//!
//! Decides: which fields of which rows leave, and how they look. Must not know: files, databases, sockets, what was
//! sent before. Guarantees: default deny — a field leaves only if the grant names it and the catalogue allows it, even
//! if nobody ran `huiliu check`; a row leaves only if the row filter is true; a mask that cannot be computed withholds
//! the row.

mod check;
mod decision;
mod diff;
mod expiry;
mod free_text;
mod glimpse;
mod in_force;
pub mod masks;
mod release;
#[cfg(test)]
mod tests;

pub use check::check_workspace;
pub use decision::{FieldDecision, Withheld, asked_and_withheld};
pub use diff::{Comparing, Direction, FieldChange, RecordChange, Side};
pub use glimpse::glimpse;
pub use in_force::{NotInForce, in_force};
pub use release::{Release, Released, RowFound};
