//! Where records come from: one trait, one file per kind of system.
//!
//! Decides: what there is to take and how its bytes are reached. Must not know: decoding, mappings, what was taken
//! before, retries — those are the engine's. Guarantees: what is listed is complete (nobody is still writing it), and
//! its content digest is that of the bytes that [`Source::open`] will give.

mod error;
mod files;
mod input;

pub use error::SourceError;
pub use files::FilesSource;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::config::{Connector, Dataset, SourceKind};
use crate::decode::Input;

/// One thing that can be taken as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Name as the department knows it; items are taken in the order of their names.
    pub name: String,
    /// Path below the source's root.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// When it was last written, if the source knows.
    pub modified: Option<SystemTime>,
    /// BLAKE3 of the content, lower-case hex: the same content under another name is the same item.
    pub digest: String,
}

/// What a source has now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Complete items, by name.
    pub items: Vec<Item>,
    /// Names of items that somebody is still writing; they are left alone.
    pub still_writing: Vec<String>,
}

/// A department's system, as far as a run needs it.
///
/// The engine calls [`Source::list`] once a run, then for each item that it has not taken before [`Source::open`], and
/// [`Source::settle`] only when every row of the item is committed. A crash between commit and settle repeats the settle
/// on the next run, so it must be idempotent.
#[async_trait]
pub trait Source: Send + Sync {
    /// What there is to take.
    async fn list(&mut self) -> Result<Listing, SourceError>;
    /// The bytes of an item; [`SourceError::Changed`] when they are no longer those that were listed.
    async fn open(&self, item: &Item) -> Result<Arc<dyn Input>, SourceError>;
    /// The item is taken: acknowledge it, where the source wants to know.
    async fn settle(&mut self, item: &Item) -> Result<(), SourceError>;
}

/// The source of a dataset; relative roots are below the workspace `dir`.
pub fn open(dir: &Path, connector: &Connector, dataset: &Dataset) -> Result<Box<dyn Source>, SourceError> {
    match &connector.source {
        SourceKind::Files { root } => Ok(Box::new(FilesSource::new(dir, &root.value, &dataset.path)?)),
    }
}
