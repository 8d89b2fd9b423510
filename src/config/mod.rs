//! The definition files: YAML, SQL and CSV read strictly into checked types.
//!
//! Decides: what a data office may write, and every problem with it, all at once, with file, line and column.
//! Must not know: databases, sockets, the engine. Guarantees: a [`Workspace`] that loads holds only checked values;
//! raw YAML shapes never leave this module.

mod calendar;
mod check;
mod codes;
mod conform;
mod connector;
mod digest;
mod feed;
mod files;
mod format;
mod installation;
mod load;
mod names;
mod password;
mod pattern;
mod pipeline;
mod read;
mod register;
#[cfg(test)]
mod sample;
mod scalar;
mod schema;
mod secret;
mod shape;
mod template;
mod token_uri;
mod units;
mod view;
mod workspace;
mod yaml;

pub use calendar::PublishedYear;
pub use connector::{
    Auth, Cdc, Column, Connector, Database, Dataset, Drift, DriftPolicy, Endpoint, Extract, Hidden, HmacDigest, Http,
    Inbox, Missing, Offer, Operation, PageBy, Pages, ReadFlag, Relation, SourceKind, Table,
};
pub use feed::{
    Approval, BatchLimit, Delivery, DeliveryEncryption, Feed, FreeText, MaskRule, OutletKind, PseudonymBy, Validity,
};
pub use files::{Beside, Control, Files, Settle};
pub use format::{Encoding, Format, Layer, Report};
pub use installation::{
    AtRest, Broker, Installation, LogFormat, Rules, Serve, SigningFiles, SigningKey, Stale, Timestamps, TrustFiles,
};
pub use password::Password;
pub use pattern::{Pattern, matches};
pub use pipeline::{Check, LagLimit, Limits, MissedRun, Pipeline};
pub use read::cases::{Case, Cell, Given, Refused};
pub use register::{
    Bonds, Counted, Deadline, EvidenceOf, Expired, Field, Link, Register, ShareClass, Single, States, Totals, Until,
};
pub use schema::{KINDS, schema};
pub use template::{Match, Template};
pub use token_uri::TokenUri;
pub use units::{ByteSize, Malformed, Percent, Quota, Rate};
pub use workspace::{CodeTable, DatasetRef, MappingFile, Workspace, load_and_check, read_cases};

use crate::error::Place;

/// A checked value and the place it was written, so that later checks can point at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}
