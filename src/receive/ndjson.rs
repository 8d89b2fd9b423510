//! `ndjson:-`: each record as one JSON object on a line of stdout, for a pipe into another loader.
//!
//! `{"_feed":…,"_seq":…,"_op":"upsert","_id":…,"_version":…,<fields>}`: text, dates, timestamps and decimals as strings
//! (decimals exact), integers and booleans as such, null as null. A pipe cannot promise anything, so this target is
//! at-least-once: the cursor, in a file of its own, moves after a whole batch was written and flushed; after a crash that
//! batch comes again, and `_feed`, `_seq` and `_id` tell.

use std::fmt;
use std::io::Write;
use std::path::Path;

use async_trait::async_trait;
use serde_json::{Map, Value as Json};

use super::cursor::CursorFile;
use super::{Cursor, ReceiveError, Sink};
use crate::batch::{HexDigest, Opened, Record};

/// A stream of JSON lines.
pub struct NdjsonSink {
    out: Box<dyn Write + Send>,
    cursors: CursorFile,
}

impl fmt::Debug for NdjsonSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NdjsonSink").field("cursors", &self.cursors).finish_non_exhaustive()
    }
}

impl NdjsonSink {
    /// Into `out`, with the cursors in the file `state`.
    ///
    /// # Errors
    /// [`ReceiveError::Target`], [`ReceiveError::CursorMismatch`].
    pub fn open(out: Box<dyn Write + Send>, state: &Path) -> Result<Self, ReceiveError> {
        Ok(Self { out, cursors: CursorFile::open(state)? })
    }
}

#[async_trait]
impl Sink for NdjsonSink {
    async fn cursor(&mut self, feed: &str) -> Result<Option<Cursor>, ReceiveError> {
        Ok(self.cursors.get(feed))
    }

    async fn apply(&mut self, batch: &Opened) -> Result<Option<u64>, ReceiveError> {
        let mut lines = Vec::new();
        for record in &batch.records {
            // Maps with text keys cannot fail to be written into memory.
            serde_json::to_writer(&mut lines, &line(batch, record))
                .map_err(|error| ReceiveError::Target { target: "the output".into(), why: error.to_string() })?;
            lines.push(b'\n');
        }
        let written = self.out.write_all(&lines).and_then(|()| self.out.flush());
        written.map_err(|error| ReceiveError::Target { target: "the output".into(), why: error.to_string() })?;
        let cursor = Cursor { seq: batch.manifest.seq, manifest_digest: HexDigest(batch.manifest_digest) };
        self.cursors.set(&batch.manifest.feed, cursor).map(|()| None)
    }
}

fn line(batch: &Opened, record: &Record) -> Map<String, Json> {
    let mut line = Map::new();
    line.insert("_feed".into(), batch.manifest.feed.as_str().into());
    line.insert("_seq".into(), batch.manifest.seq.into());
    line.extend(record.named(batch.schema.fields()));
    line
}
