//! The subscriber's side: batches from a spool or a queue, verified, loaded in order, exactly once in effect.
//!
//! Decides: what a receiver accepts next and where it stops. Must not know: registers, grants, the engine; it needs
//! nothing but a CA certificate. Guarantees: a batch is loaded only if everything about it holds and it follows the one
//! before; the cursor moves with the records it describes; holes, forks and damage stop the feed before them, each with
//! its own code, and other feeds go on.
//!
//! Records say themselves what to do (upsert, withdraw), so a batch's kind changes nothing here: a snapshot is upserts.

mod csv;
mod cursor;
mod error;
mod feed;
mod follow;
mod inbox;
mod ndjson;
mod postgres;
mod proof;
mod queue;
mod record;
mod sink;
mod spool;
mod sqlite;
mod statement;
mod stock;

pub use csv::CsvSink;
pub use cursor::Cursor;
pub use error::ReceiveError;
pub use feed::{Demand, Received, receive_feed};
pub use follow::Following;
pub use inbox::{Content, Inbox, Parcel};
pub use ndjson::NdjsonSink;
pub use postgres::PostgresSink;
pub use proof::{Judging, Link, Proof, Proven, Timestamp, prove_all};
pub use queue::{Answering, QueuedFeed};
pub use record::{RecordProven, proven_record, record_proof, verify_proof_file};
pub use sink::{Sink, Target};
pub use spool::{Spool, SpooledFeed};
pub use sqlite::SqliteSink;
pub use statement::{Compared, Divergence, Diverging, Reconciled, Unresolved, comparable, compare, open_statement};
pub use stock::{Question, Stock, stands, take_stock};

#[cfg(test)]
mod tests;
