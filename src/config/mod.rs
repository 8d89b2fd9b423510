//! The definition files: YAML, SQL and CSV read strictly into checked types.
//!
//! Decides: what a data office may write, and every problem with it, all at once, with file, line and column.
//! Must not know: databases, sockets, the engine. Guarantees: a [`Workspace`] that loads holds only checked values;
//! raw YAML shapes never leave this module.

mod connector;
mod feed;
mod installation;
mod pipeline;
mod register;
mod units;
mod workspace;

pub use connector::{Column, Connector, Dataset, Drift, DriftPolicy, Encoding, Extract, Format, Missing, SourceKind};
pub use feed::{Approval, BatchLimit, Delivery, Feed, MaskRule, OutletKind, Validity};
pub use installation::Installation;
pub use pipeline::{Check, Limits, Pipeline};
pub use register::{Field, Register, ShareClass};
pub use units::{ByteSize, Percent, Quota, Rate};
pub use workspace::{CodeTable, DatasetRef, MappingFile, Workspace};

use crate::error::Place;

/// A checked value and the place it was written, so that later checks can point at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}
