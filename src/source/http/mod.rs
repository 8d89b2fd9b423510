//! A department's service over HTTP: REST with JSON, SOAP and other XML.
//!
//! Decides: which pages there are, who we are there, how often we may call. Must not know: what rows mean. Guarantees: a
//! pull that did not reach its last page begins anew the next time — a service promises nothing about its pages in
//! between; every call is counted against the daily budget before it is made; no answer is taken for what it is not.

mod auth;
mod budget;
mod call;
mod pace;
mod pages;
mod rows;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::mpsc;

use self::call::Caller;
use self::pages::Walk;
use self::rows::PagedRows;
use super::bodies::Reading;
use super::{Before, Item, Listing, Source, SourceError};
use crate::config::{Dataset, Endpoint, Extract, Http};
use crate::decode::{Decode, Position};

/// Pages asked for ahead of who reads them.
const AHEAD: usize = 1;

/// One endpoint of a service.
pub(super) struct HttpSource {
    dir: PathBuf,
    state: PathBuf,
    http: Http,
    endpoint: Endpoint,
    dataset: Dataset,
    /// `system.dataset`, for budget and messages.
    name: String,
}

impl HttpSource {
    /// Relative paths are below `dir`; `state` keeps the count of calls.
    pub(super) fn new(
        (dir, state): (&Path, &Path),
        system: &str,
        (http, endpoint): (&Http, &Endpoint),
        dataset: &Dataset,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            state: state.to_owned(),
            http: http.clone(),
            endpoint: endpoint.clone(),
            dataset: dataset.clone(),
            name: format!("{system}.{}", dataset.name),
        }
    }

    fn cursor_column(&self) -> Option<usize> {
        let Extract::Cursor { column, .. } = &self.dataset.extract else { return None };
        self.dataset.columns.iter().position(|contracted| contracted.name == column.value)
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn list(&mut self, before: Option<&Before>) -> Result<Listing, SourceError> {
        let number = before.and_then(|before| before.name.rsplit_once('#')?.1.parse::<u64>().ok()).unwrap_or(0) + 1;
        let last = before.map_or("", |before| before.digest.as_str());
        let item = Item {
            name: format!("{} #{number}", self.dataset.name),
            digest: blake3::hash(format!("{}\n{last}", self.name).as_bytes()).to_hex().to_string(),
            since: before.and_then(|before| before.cursor.clone()),
            ..Item::default()
        };
        Ok(Listing { items: vec![item], ..Listing::default() })
    }

    async fn open(&self, item: &Item, _at: Option<&Position>) -> Result<Box<dyn Decode>, SourceError> {
        let caller = Caller::new(&self.http, &self.endpoint, (&self.dir, &self.state), &self.name)?;
        let (sender, pages) = mpsc::channel(AHEAD);
        let walk = Walk::new(self.endpoint.clone(), item.since.clone());
        tokio::spawn(walk.go(caller, sender));
        let reading = Reading { format: self.endpoint.format.clone(), wanted: super::wanted(&self.dataset) };
        Ok(Box::new(PagedRows::new(pages, reading, (self.cursor_column(), item.since.clone()), self.name.clone())))
    }

    async fn settle(&mut self, _item: &Item) -> Result<(), SourceError> {
        Ok(())
    }
}
