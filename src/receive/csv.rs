//! `csv:DIR`: `<DIR>/<feed>/<seq, 12 digits>.csv`, one file for each batch, in order; the cursor is `<DIR>/cursor.json`.
//!
//! A file has a header `_op,_id,_version,<fields>` and a line for each record, UTF-8, RFC 4180 quoting, LF. Null is an
//! empty cell, empty text is `""`. Whoever loads the files applies them in order of their names: `upsert` replaces the
//! row of that `_id`, `withdraw` deletes it. Written whole and synced before the cursor moves; a batch that comes again
//! after a crash writes the same file again.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::cursor::{CursorFile, replace_file};
use super::{Cursor, ReceiveError, Sink};
use crate::batch::{HexDigest, Op, Opened};
use crate::record::Value;

/// A directory of CSV files.
#[derive(Debug)]
pub struct CsvSink {
    dir: PathBuf,
    cursors: CursorFile,
}

impl CsvSink {
    /// Into this directory, which is made when it is missing.
    ///
    /// # Errors
    /// [`ReceiveError::Target`], [`ReceiveError::CursorMismatch`].
    pub fn open(dir: &Path) -> Result<Self, ReceiveError> {
        fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
        Ok(Self { dir: dir.to_path_buf(), cursors: CursorFile::open(&dir.join("cursor.json"))? })
    }
}

#[async_trait]
impl Sink for CsvSink {
    async fn cursor(&mut self, feed: &str) -> Result<Option<Cursor>, ReceiveError> {
        Ok(self.cursors.get(feed))
    }

    async fn apply(&mut self, batch: &Opened) -> Result<Option<u64>, ReceiveError> {
        let (feed, seq) = (&batch.manifest.feed, batch.manifest.seq);
        let dir = self.dir.join(feed);
        fs::create_dir_all(&dir).map_err(|error| failed(&dir, &error))?;
        let path = dir.join(format!("{seq:012}.csv"));
        replace_file(&path, text(batch).as_bytes()).map_err(|error| failed(&path, &error))?;
        self.cursors.set(feed, Cursor { seq, manifest_digest: HexDigest(batch.manifest_digest) })?;
        Ok(None)
    }
}

fn failed(path: &Path, error: &std::io::Error) -> ReceiveError {
    ReceiveError::Target { target: path.display().to_string(), why: error.to_string() }
}

fn text(batch: &Opened) -> String {
    let mut out = String::from("_op,_id,_version");
    for field in batch.schema.fields() {
        out.push(',');
        out.push_str(&field.name);
    }
    out.push('\n');
    for record in &batch.records {
        let op = match record.op {
            Op::Upsert => "upsert",
            Op::Withdraw => "withdraw",
        };
        out.push_str(&format!("{op},{},{}", record.id, record.version));
        for value in &record.values {
            out.push(',');
            if let Some(value) = value {
                push_cell(&mut out, value);
            }
        }
        out.push('\n');
    }
    out
}

fn push_cell(out: &mut String, value: &Value) {
    let text = value.to_text();
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_when_they_must_be() {
        for (text, expect) in [
            ("海蓝", "海蓝"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("a\nb", "\"a\nb\""),
        ] {
            let mut out = String::new();
            push_cell(&mut out, &Value::Text(text.into()));
            assert_eq!(out, expect);
        }
    }
}
