//! Batches: encoding of released records, the manifest that describes them, sealing and opening.
//!
//! Decides: what a batch is, byte for byte, and what must hold before one is believed. Must not know: files, brokers,
//! databases, where records come from. Guarantees: the same records, manifest facts and key give the same bytes; opening
//! what was sealed gives the same records; any altered byte is refused, each kind of damage with its own code; no
//! outside bytes make it panic.
//!
//! A body is an Avro object container file, which may be encrypted to the subscriber (CMS). Each record is `_op`, `_id`, `_version`, the released fields, and last
//! `_digest`: the digest of the Avro encoding of everything before it. Anyone can recompute it with an Avro library by
//! encoding the record under the schema without its last field. Registers whose evidence is by field (可验证的脱敏) have
//! `_evidence` before it, and `_digest` is made of commitments to all fields: `redaction`.

mod body;
pub mod container;
mod decode;
mod encode;
mod error;
mod manifest;
mod merkle;
mod open;
pub mod pages;
mod presentation;
mod proof;
pub mod ranges;
mod receipt;
mod redaction;
mod schema;
mod seal;
mod statement;

pub use body::{Body, BodyBuilder};
pub use decode::{Record, read_body, read_record_alone};
pub use encode::{EncodedRows, Op, RecordWriter};
pub use error::BatchError;
pub use manifest::{
    AVRO, BodyFacts, CMS, Changes, Decision, Encryption, FORMAT, FoundInText, HexDigest, Kind, Manifest, Notice, Part,
    RowCounts, SchemaFacts, batch_id,
};
pub use merkle::{prove, root, verify_proof};
pub use open::{Opened, OpenedManifest, Reader, open, open_manifest};
pub use proof::{PRESENTATION_FORMAT, PROOF_FORMAT, ProvenRecord, RecordProof};
pub use receipt::{Applied, Effect, RECEIPT_FORMAT, Receipt};
pub use redaction::{Committing, Evidence, FieldEvidence, Salt, SaltKey, commitment, record_root};
pub use schema::{FeedField, FeedSchema};
pub use seal::{Heading, SealedBatch, seal};
pub use statement::{STATEMENT_FORMAT, Standing, Statement};

#[cfg(test)]
pub(crate) mod tests {
    //! What tests of other modules need.

    pub(crate) use super::seal::tests::{chain, heading};
}
