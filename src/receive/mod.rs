//! The subscriber's side: batches from a spool, verified, loaded in order, exactly once in effect.
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
mod inbox;
mod ndjson;
mod proof;
mod sink;
mod sqlite;

pub use csv::CsvSink;
pub use cursor::Cursor;
pub use error::ReceiveError;
pub use feed::{Received, receive_feed};
pub use inbox::Inbox;
pub use ndjson::NdjsonSink;
pub use proof::{Link, Proof, Proven, moment, prove_all};
pub use sink::{Sink, Target};
pub use sqlite::SqliteSink;

#[cfg(test)]
mod tests;
