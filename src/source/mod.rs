//! Where records come from: one trait, one room per kind of system.
//!
//! Decides: what there is to take and how it is reached. Must not know: mappings, what becomes of rows, retries — those
//! are the engine's. Guarantees: what is listed is complete (nobody is still writing it), and an item's digest names
//! what [`Source::open`] will give: the same digest, the same rows.

mod amqp;
mod beside;
mod bodies;
mod copies;
mod database;
mod digests;
mod error;
mod files;
mod http;
mod input;
mod place;

pub use database::{KeyedTable, Range};
pub use error::{Fate, SourceError};
pub use files::FilesSource;

use std::time::SystemTime;

use async_trait::async_trait;

use crate::config::{Connector, Dataset, Offer, SourceKind, Workspace};
use crate::decode::{Decode, Position, Wanted};

/// One thing that can be taken as a whole: a file, or what a database or service has since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// Name as the department knows it; items are taken in the order of their names.
    pub name: String,
    /// Path below the source's root; empty for what is no file.
    pub path: String,
    /// Bytes; 0 where nobody knows before reading.
    pub bytes: u64,
    /// When it was last written, if the source knows.
    pub modified: Option<SystemTime>,
    /// Of a file BLAKE3 of the content, lower-case hex: the same content under another name is the same item. Of a pull
    /// a name that no other pull of the dataset has.
    pub digest: String,
    /// Of a pull: the cursor after which it begins; `None` begins at the beginning.
    pub since: Option<String>,
    /// Of a pull: the cursor at which it ends, where it must end somewhere.
    pub until: Option<String>,
    /// Of a pull of events: it is everything there is, and what it does not show is gone.
    pub whole: bool,
}

/// What a source has now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Complete items, by name.
    pub items: Vec<Item>,
    /// Names of items that somebody is still writing; they are left alone.
    pub still_writing: Vec<String>,
    /// Whether there is more to list once these are settled.
    pub more: bool,
}

/// How far we are behind a system (滞后).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Lag {
    /// Bytes of its log that were not taken yet, those of other tables included.
    pub bytes: u64,
    /// Seconds since the oldest change that was not taken; 0 when there is none.
    pub seconds: u64,
}

/// What was taken of a dataset last, for sources that go on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// Whether it is over, taken or held; what broke off is gone on with.
    pub over: bool,
    /// Whether it waits for a person.
    pub held: bool,
    /// The newest cursor that rows were committed with.
    pub cursor: Option<String>,
}

/// A department's system, as far as a run needs it.
///
/// The engine calls [`Source::list`] once a run (again when there is [`Listing::more`]), then for each item that it has not taken before [`Source::open`], and
/// [`Source::settle`] only when every row of the item is committed. A crash between commit and settle repeats the settle
/// on the next run, so it must be idempotent.
#[async_trait]
pub trait Source: Send + Sync {
    /// What there is to take, given what was taken last.
    async fn list(&mut self, before: Option<&Before>) -> Result<Listing, SourceError>;
    /// The rows of an item after this position; [`SourceError::Changed`] when they are no longer those that were listed.
    async fn open(&self, item: &Item, at: Option<&Position>) -> Result<Box<dyn Decode>, SourceError>;
    /// A person said that the next items are to be taken although what stands beside them disagrees.
    fn accept(&mut self) {}
    /// Nobody means to take anything: from now on nothing is made, moved or marked at the source.
    fn only_look(&mut self) {}
    /// How far we were behind when [`Source::list`] looked; `None` where nobody knows.
    fn lag(&self) -> Option<Lag> {
        None
    }
    /// The item is taken: acknowledge it, where the source wants to know.
    async fn settle(&mut self, item: &Item) -> Result<(), SourceError>;
    /// The item was refused as a whole: put it aside, where the source has a place for such. Idempotent, too.
    async fn refuse(&mut self, _item: &Item) -> Result<(), SourceError> {
        Ok(())
    }
}

/// The source of a dataset; relative roots are below the workspace's directory.
pub fn open(workspace: &Workspace, connector: &Connector, dataset: &Dataset) -> Result<Box<dyn Source>, SourceError> {
    known(workspace, connector)?;
    let dir = &workspace.dir;
    match (&connector.source, &dataset.offer) {
        (SourceKind::Files(files), Offer::Files { path, .. }) => {
            let installation = &workspace.installation;
            let known = installation.state_dir.join("digests");
            let known = known.join(format!("{}.{}.json", connector.system, dataset.name));
            let mut source = FilesSource::new(workspace, files, path, dataset)?.remembering(known);
            if installation.at_rest.is_none() {
                source = source.copying(installation.state_dir.clone());
            }
            Ok(Box::new(source))
        }
        (SourceKind::Database(database), Offer::Table(table)) => {
            Ok(Box::new(database::DatabaseSource::new(dir, database, table, dataset)))
        }
        (SourceKind::Http(http), Offer::Endpoint(endpoint)) => {
            let places = (dir.as_path(), workspace.installation.state_dir.as_path());
            Ok(Box::new(http::HttpSource::new(places, &connector.system, (http, endpoint), dataset)))
        }
        (SourceKind::Amqp(inbox), Offer::Queue { queue, format }) => {
            Ok(Box::new(amqp::InboxSource::new(dir, inbox, (queue, format), dataset)))
        }
        (SourceKind::Cdc(cdc), Offer::Changes(table)) => {
            Ok(Box::new(database::ChangesSource::new(dir, (&connector.system, cdc), table, dataset)))
        }
        (
            SourceKind::Files(_)
            | SourceKind::Database(_)
            | SourceKind::Http(_)
            | SourceKind::Amqp(_)
            | SourceKind::Cdc(_),
            _,
        ) => Err(SourceError::Offer { dataset: dataset.name.clone() }),
    }
}

/// Whether everything that a connector refers to is there. Error: [`SourceError::Unset`].
pub fn known(workspace: &Workspace, connector: &Connector) -> Result<(), SourceError> {
    let unset = workspace.unset_in(&format!("connectors/{}.yaml", connector.system));
    unset.map_or(Ok(()), |problem| Err(SourceError::Unset(Box::new(problem))))
}

/// One TLS provider for all of the program; later calls change nothing.
fn trust_ring() {
    rustls::crypto::ring::default_provider().install_default().ok();
}

/// What is asked of a decoder for this dataset.
pub fn wanted(dataset: &Dataset) -> Vec<Wanted> {
    dataset.columns.iter().map(|column| Wanted { name: column.name.clone(), path: column.path.clone() }).collect()
}
