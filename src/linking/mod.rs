//! Which entity a claim is about, and what the register says about that entity.
//!
//! Decides: linking by identity keys ([`resolve()`]) and field-by-field survivorship (`survive`). Pure: takes what the
//! store remembers and what a chunk claims, returns what must change. Knows no database and no time.
//! Guarantees: the same claims give the same register rows in any order; a weaker key never overrules a stronger one.

mod absorb;
mod claim;
mod lifecycle;
mod resolve;
mod survive;

pub use absorb::{Absorbed, Before, Chunk, Departure, Effect, EntityState, Gone, Incoming, Moved, absorb};
pub use claim::{
    Claim, ClaimId, EntityId, Layout, LayoutId, Origin, SourceKey, StreamId, decode_values, encode_past, encode_values,
};
pub use lifecycle::{Lifecycle, Standing, Statement, certificate_version, remember};
pub use resolve::{Candidate, Known, Placement, Resolution, resolve};
pub use survive::{Golden, Survivorship};

/// Values in register field order; `None` is "nothing claimed".
pub type Row = Vec<Option<crate::record::Value>>;
