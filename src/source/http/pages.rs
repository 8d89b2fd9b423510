//! From page to page: by number, offset, the service's own cursor, or its links.
//!
//! Guarantees: pages are handed over in their order, however many are asked for at the same time. A service may give fewer
//! rows than it is asked for: pages by number or offset end with an empty one, or with the total that the service says.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::call::{Answer, Ask, Caller};
use super::pace::Pace;
use crate::config::{Endpoint, Format, PageBy, Pages};
use crate::source::SourceError;

/// Pages of one pull; a service that gives more is not believed.
const MOST_PAGES: u64 = 1_000_000;

/// One page, and how its reader says how many rows it had.
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    pub(super) number: u64,
    /// Who reads the page tells how many rows were in it: there may be none after them.
    pub(super) rows: tokio::sync::oneshot::Sender<u64>,
}

/// A walk through all pages.
pub(super) struct Walk {
    endpoint: Endpoint,
    since: Option<String>,
    cursor: Option<String>,
    link: Option<String>,
    number: u64,
    rows: u64,
    /// Rows that the pages under way are taken to have.
    step: u64,
    /// By the service's own word.
    total: Option<u64>,
    last: Option<blake3::Hash>,
    pace: Pace,
    /// Pages that were asked for, in their order.
    flight: VecDeque<Flight>,
}

/// A call under way; it ends when nobody waits for it any more.
struct Flight(JoinHandle<Result<Answer, SourceError>>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Walk {
    pub(super) fn new(endpoint: Endpoint, since: Option<String>) -> Self {
        let most = endpoint.pages.as_ref().map_or(1, |pages| match pages.by {
            PageBy::Page | PageBy::Offset => pages.at_once,
            PageBy::Cursor | PageBy::Link => 1, // a page says where the next one is
        });
        let (pace, flight) = (Pace::new(most), VecDeque::new());
        let step = endpoint.pages.as_ref().map_or(0, |pages| u64::from(pages.size));
        let (cursor, link, total, last) = (None, None, None, None);
        Self { endpoint, since, cursor, link, number: 0, rows: 0, step, total, last, pace, flight }
    }

    /// Sends page after page, then nothing, or the error that ends it.
    pub(super) async fn go(mut self, caller: Caller, to: mpsc::Sender<Result<Page, SourceError>>) {
        let caller = Arc::new(caller);
        loop {
            match self.step(&caller, &to).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    to.send(Err(error)).await.ok();
                    return;
                }
            }
        }
    }

    /// One page; whether there may be another.
    async fn step(
        &mut self,
        caller: &Arc<Caller>,
        to: &mpsc::Sender<Result<Page, SourceError>>,
    ) -> Result<bool, SourceError> {
        let answer = self.answer(caller).await?;
        self.number += 1;
        let digest = blake3::hash(&answer.bytes);
        if self.last.replace(digest) == Some(digest) && self.rows > 0 && self.number > 1 || self.number > MOST_PAGES {
            return Err(SourceError::Endless { what: caller.name().to_owned() });
        }
        let more = self.more(&answer, caller)?;
        self.count_of(&answer, caller)?;
        let (rows, told) = tokio::sync::oneshot::channel();
        if to.send(Ok(Page { bytes: answer.bytes, number: self.number, rows })).await.is_err() {
            return Ok(false); // nobody reads any more
        }
        let Some(Pages { by, size, short_is_last, .. }) = self.endpoint.pages else { return Ok(false) };
        if matches!(by, PageBy::Cursor | PageBy::Link) {
            return Ok(more);
        }
        // Whether the page was the last one is known when its rows are counted; what was asked for beyond it is dropped.
        let Ok(found) = told.await else { return Ok(false) };
        self.rows += found;
        if by == PageBy::Offset && found > 0 && found != self.step {
            self.flight.clear(); // they were asked for at the wrong places
            self.step = found;
        }
        match self.total {
            Some(total) if found == 0 && self.rows < total => {
                let why = format!("it says that there are {total} rows, and gives {}", self.rows);
                Err(SourceError::HalfPage { what: caller.name().to_owned(), why })
            }
            Some(total) => Ok(self.rows < total),
            None => Ok(found > 0 && !(short_is_last && found < u64::from(size))),
        }
    }

    /// The service's own word for how many rows there are, where it is asked for: the newest stands.
    fn count_of(&mut self, answer: &Answer, caller: &Caller) -> Result<(), SourceError> {
        let Some(path) = self.endpoint.pages.as_ref().and_then(|pages| pages.total.as_deref()) else { return Ok(()) };
        let body: Value = serde_json::from_slice(&answer.bytes).map_err(|_| caller.not_what_it_says())?;
        let said = word(&body, path).and_then(|text| text.trim().parse().ok());
        self.total = said.or(self.total);
        if self.total.is_none() { Err(caller.not_what_it_says()) } else { Ok(()) }
    }

    /// The answer for the next page, with others asked for meanwhile.
    async fn answer(&mut self, caller: &Arc<Caller>) -> Result<Answer, SourceError> {
        while self.flight.len() < self.pace.at_once() {
            let (ask, caller) = (self.ask(), Arc::clone(caller));
            self.flight.push_back(Flight(tokio::spawn(async move { caller.call(&ask).await })));
        }
        let broke = || SourceError::Service { what: caller.name().to_owned(), why: "the call broke off".to_owned() };
        let Some(mut next) = self.flight.pop_front() else { return Err(broke()) };
        let answer = (&mut next.0).await.map_err(|_| broke())??;
        self.pace.answered(answer.took, answer.refused);
        Ok(answer)
    }

    /// What is asked for the page after those that are under way.
    fn ask(&self) -> Ask {
        let pages = self.endpoint.pages.as_ref();
        let size = pages.map_or(0, |pages| u64::from(pages.size));
        let first = pages.map_or(1, |pages| u64::from(pages.first));
        let under_way = self.flight.len() as u64;
        let since = self.since.clone().unwrap_or_else(|| self.endpoint.begin.clone());
        let known = [
            ("since", since),
            ("page", (first + self.number + under_way).to_string()),
            ("offset", (first + self.rows + under_way * self.step).saturating_sub(1).to_string()),
            ("size", size.to_string()),
            ("cursor", self.cursor.clone().unwrap_or_default()),
        ];
        Ask { known: known.map(|(name, value)| (name.to_owned(), value)).into(), link: self.link.clone() }
    }

    /// Follows the service's own word for what comes next, where it has one.
    fn more(&mut self, answer: &Answer, caller: &Caller) -> Result<bool, SourceError> {
        let Some(pages) = &self.endpoint.pages else { return Ok(false) };
        let next = match (&pages.by, &pages.next) {
            (PageBy::Page | PageBy::Offset, _) => return Ok(true),
            (PageBy::Link, None) => answer.link.clone(),
            (PageBy::Cursor | PageBy::Link, path) => {
                if !matches!(self.endpoint.format, Format::Json { .. }) {
                    return Ok(false);
                }
                let body: Value = serde_json::from_slice(&answer.bytes).map_err(|_| caller.not_what_it_says())?;
                word(&body, path.as_deref().unwrap_or("next"))
            }
        };
        let Some(next) = next else { return Ok(false) };
        let before = if pages.by == PageBy::Link { &mut self.link } else { &mut self.cursor };
        if before.as_ref() == Some(&next) {
            return Err(SourceError::Endless { what: caller.name().to_owned() });
        }
        *before = Some(next);
        Ok(true)
    }
}

/// The text or number at `a.b.c`; nothing, null and blank are none.
fn word(body: &Value, path: &str) -> Option<String> {
    let found = path.split('.').try_fold(body, |at, name| at.get(name))?;
    match found {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_is_found_or_not() {
        let body = serde_json::json!({ "data": { "next": "abc", "blank": " ", "none": null, "n": 7 } });
        let found = |path: &str| word(&body, path);
        assert_eq!(found("data.next").as_deref(), Some("abc"));
        assert_eq!(found("data.n").as_deref(), Some("7"));
        assert_eq!((found("data.blank"), found("data.none"), found("no.where")), (None, None, None));
    }
}
