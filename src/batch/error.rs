//! What can be wrong with a batch, each with its own code.

use crate::crypto::CryptoError;
use crate::error::{Disposition, Problem};

/// Why a batch was not made, or not believed. Names fields and counts, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Signature, certificate or key.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A feed or field name that Avro cannot carry.
    #[error("{kind} {name} cannot be carried in a batch: {why}")]
    Name {
        /// feed or field.
        kind: &'static str,
        /// The name.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Rows given for encoding are not what the schema says.
    #[error("rows do not fit the feed's schema: {what}")]
    Rows {
        /// What differs.
        what: String,
    },
    /// The manifest is not JSON of the form we know.
    #[error("the manifest is not readable: {what}")]
    Manifest {
        /// What.
        what: String,
    },
    /// The body's bytes are not those the manifest describes.
    #[error("the body is not the one the manifest describes: {what}")]
    BodyDigest {
        /// Length or digest.
        what: &'static str,
    },
    /// The body cannot be read as an Avro object container file of our form.
    #[error("the body is not readable: {what}")]
    Body {
        /// What, without values.
        what: String,
    },
    /// The body's schema is not the one the manifest names.
    #[error("the body's schema is not the one the manifest names")]
    Schema,
    /// Records, upserts or withdrawals differ in number.
    #[error("the manifest says {said} {what}, the body has {found}")]
    Count {
        /// records, upserts or withdrawals.
        what: &'static str,
        /// By the manifest.
        said: u64,
        /// In the body.
        found: u64,
    },
    /// A record's digest is not that of its bytes.
    #[error("record {record} of the body does not match its digest")]
    RecordDigest {
        /// Position, from 1.
        record: usize,
    },
    /// What a record shows and commits to is not what its digest covers.
    #[error("what record {record} of the body shows and commits to does not lead to its digest")]
    Commitments {
        /// Position, from 1.
        record: usize,
    },
    /// A field cannot be presented: the batch does not show it as the register has it.
    #[error("field {field} cannot be presented: {why}")]
    Unpresentable {
        /// The field.
        field: String,
        /// Why.
        why: &'static str,
    },
    /// The Merkle root over the records differs.
    #[error("the records do not add up to the manifest's records_root")]
    RecordsRoot,
    /// There is no such record in the batch.
    #[error("entity {entity} has no record in this batch")]
    NoRecord {
        /// The entity.
        entity: i64,
    },
    /// A batch that was sealed before manifests named the digest of their schema's text.
    #[error("the manifest does not name the digest of its schema: a record cannot be shown without the others")]
    Unprovable,
    /// A proof of one record does not read.
    #[error("the proof is not readable: {what}")]
    Proof {
        /// What, without values.
        what: String,
    },
    /// The record is not one of the batch's.
    #[error("the record does not lead to the manifest's records_root")]
    NotInBatch,
    /// An ASiC-E container (ETSI EN 319 162-1) is not what its signature covers.
    #[error("the container is not believed: {what}")]
    Container {
        /// What.
        what: String,
    },
    /// A statement, or the file of ranges beside it, does not read or contradicts itself.
    #[error("the statement is not believed: {what}")]
    Statement {
        /// What, without values.
        what: String,
    },
}

impl BatchError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Crypto(error) => error.code(),
            Self::Name { .. } => "HL0720",
            Self::Rows { .. } => "HL0721",
            Self::Manifest { .. } => "HL0722",
            Self::BodyDigest { .. } => "HL0723",
            Self::Count { .. } => "HL0724",
            Self::RecordDigest { .. } => "HL0725",
            Self::RecordsRoot => "HL0726",
            Self::Body { .. } => "HL0727",
            Self::Schema => "HL0728",
            Self::Statement { .. } => "HL0751",
            Self::NoRecord { .. } => "HL0760",
            Self::Unprovable => "HL0761",
            Self::Proof { .. } => "HL0762",
            Self::NotInBatch => "HL0763",
            Self::Container { .. } => "HL0764",
            Self::Commitments { .. } => "HL0765",
            Self::Unpresentable { .. } => "HL0766",
        }
    }

    /// What the engine does.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Crypto(error) => error.disposition(),
            Self::Name { .. }
            | Self::Rows { .. }
            | Self::Manifest { .. }
            | Self::BodyDigest { .. }
            | Self::Body { .. }
            | Self::Schema
            | Self::Count { .. }
            | Self::RecordDigest { .. }
            | Self::Commitments { .. }
            | Self::Unpresentable { .. }
            | Self::RecordsRoot
            | Self::NoRecord { .. }
            | Self::Unprovable
            | Self::Proof { .. }
            | Self::NotInBatch
            | Self::Container { .. }
            | Self::Statement { .. } => Disposition::Halt,
        }
    }
}

impl From<&BatchError> for Problem {
    fn from(error: &BatchError) -> Self {
        Problem::error(error.code(), error.to_string())
    }
}
