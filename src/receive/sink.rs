//! Where a receiver loads records into.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{CsvSink, Cursor, NdjsonSink, PostgresSink, ReceiveError, SqliteSink};
use crate::batch::{HexDigest, Opened};

/// A target that loads verified batches.
///
/// [`receive_feed`](super::receive_feed) calls `cursor` once and then `apply` with each next batch in order.
#[async_trait]
pub trait Sink: Send {
    /// The last batch of this feed that was loaded, if any.
    async fn cursor(&mut self, feed: &str) -> Result<Option<Cursor>, ReceiveError>;

    /// The manifest's digest of a batch that was loaded; `None` when it was not, or this target does not remember.
    async fn loaded(&mut self, feed: &str, seq: u64) -> Result<Option<HexDigest>, ReceiveError> {
        let cursor = self.cursor(feed).await?;
        Ok(cursor.filter(|cursor| cursor.seq == seq).map(|cursor| cursor.manifest_digest))
    }

    /// Loads one batch and moves the feed's cursor to it; tells how many rows the subscriber holds now, where it knows.
    /// An error means that the cursor did not move; the same batch may come again, and loading it twice has the effect
    /// of once.
    async fn apply(&mut self, batch: &Opened) -> Result<Option<u64>, ReceiveError>;
}

/// A target as a user writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `sqlite:FILE`: one typed table for each register.
    Sqlite(PathBuf),
    /// `postgres://…`: one typed table for each register.
    Postgres(String),
    /// `csv:DIR`: one file for each batch.
    Csv(PathBuf),
    /// `ndjson:-`: records on stdout.
    Ndjson,
}

impl Target {
    /// Reads `sqlite:FILE`, `csv:DIR` or `ndjson:-`.
    ///
    /// # Errors
    /// [`ReceiveError::Usage`].
    pub fn parse(text: &str) -> Result<Self, ReceiveError> {
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") && rest.len() > 2 => {
                Ok(Self::Postgres(text.to_owned()))
            }
            Some(("csv", dir)) if !dir.is_empty() => Ok(Self::Csv(dir.into())),
            Some(("ndjson", "-")) => Ok(Self::Ndjson),
            _ => Err(ReceiveError::Usage {
                // The address of a database holds a password: only its kind is repeated.
                what: format!("cannot receive into {}", text.split(':').next().unwrap_or_default()),
                hint: "give --to sqlite:FILE, postgres://user:password@host/database, csv:DIR or ndjson:-".into(),
            }),
        }
    }

    /// Opens it. `state` is where a target that cannot remember its cursor (`ndjson:-`) keeps it.
    ///
    /// # Errors
    /// [`ReceiveError::Target`], [`ReceiveError::CursorMismatch`].
    pub async fn open(&self, state: Option<&Path>) -> Result<Box<dyn Sink>, ReceiveError> {
        Ok(match self {
            Self::Sqlite(file) => Box::new(SqliteSink::open(file).await?),
            Self::Postgres(url) => Box::new(PostgresSink::open(url).await?),
            Self::Csv(dir) => Box::new(CsvSink::open(dir)?),
            Self::Ndjson => {
                let state = state.unwrap_or(Path::new("ndjson.cursor.json"));
                Box::new(NdjsonSink::open(Box::new(std::io::stdout()), state)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_written() {
        assert_eq!(Target::parse("sqlite:a/b.db").unwrap(), Target::Sqlite("a/b.db".into()));
        assert_eq!(Target::parse("csv:out").unwrap(), Target::Csv("out".into()));
        assert_eq!(Target::parse("postgres://u@h/d").unwrap(), Target::Postgres("postgres://u@h/d".into()));
        assert_eq!(Target::parse("ndjson:-").unwrap(), Target::Ndjson);
        for bad in ["", "sqlite:", "csv", "ndjson:file", "postgres://", "postgres:x"] {
            assert_eq!(Target::parse(bad).unwrap_err().code(), "HL0747", "{bad}");
        }
    }
}
