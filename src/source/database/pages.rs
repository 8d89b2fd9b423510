//! Page after page of a select, sent ahead of who reads them.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::client::Client;
use super::rows::Block;
use super::sql::{End, Select};
use crate::config::Rate;
use crate::source::SourceError;

/// What of a select is read.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Values of the order after which it begins.
    pub(super) after: Option<Vec<Option<String>>>,
    /// Where it ends.
    pub(super) end: End,
    /// Rows of a page.
    pub(super) page: u64,
    /// Whether one page is all.
    pub(super) once: bool,
    /// Rows a second at most.
    pub(super) rate: Option<Rate>,
    /// What is read, for messages.
    pub(super) table: String,
}

/// Reads to the end, or to the first error.
pub(super) async fn read(
    mut client: Client,
    select: Select,
    mut plan: Plan,
    to: mpsc::Sender<Result<Block, SourceError>>,
) {
    let (cells, _) = select.width();
    let started = Instant::now();
    let mut read = 0u64;
    let exact = select.is_exact();
    loop {
        // Where the server may take two texts for one place, it is asked for the page's last one: rows of it stay together.
        let border = match exact {
            true => None,
            false => match client.first(&select.border(plan.after.as_deref(), &plan.end, plan.page)).await {
                Ok(None) => return,
                Ok(border) => border,
                Err(error) => return send(error, &to).await,
            },
        };
        let page = match &border {
            Some(last) => select.page(plan.after.as_deref(), &End::At(last.clone()), None),
            None => select.page(plan.after.as_deref(), &plan.end, Some(plan.page)),
        };
        let limit = if exact { plan.page } else { u64::MAX };
        let paged = match client.page(&page, (limit, select.width()), &to).await {
            Ok(page) => page,
            Err(error) => return send(error, &to).await,
        };
        read += paged.rows;
        // A page that is full before its last row is gone on with: its server had said that cells are shorter.
        let through = plan.once && paged.rows >= plan.page && paged.last.is_some();
        if !(paged.full || border.is_some()) || to.is_closed() || through {
            tracing::debug!(table = %plan.table, rows = read, "read to the end");
            return;
        }
        let last = paged.last.map(|last| last.get(cells..).unwrap_or_default().to_vec());
        match border.filter(|_| !paged.full).or(last) {
            Some(place) => {
                if plan.after.as_ref() == Some(&place) {
                    return send(SourceError::Endless { what: plan.table }, &to).await;
                }
                plan.after = Some(place);
            }
            // All rows of the page have one key: there are more of them than a page holds.
            None => plan.page *= 2,
        }
        if let Some(rate) = plan.rate {
            pace(rate, started, read).await;
        }
    }
}

async fn send(error: SourceError, to: &mpsc::Sender<Result<Block, SourceError>>) {
    to.send(Err(error)).await.ok();
}

/// Waits so that no more rows a second are asked for than may be.
#[expect(clippy::disallowed_methods, reason = "a rate is kept by waiting")]
async fn pace(rate: Rate, started: Instant, rows: u64) {
    let due = Duration::from_secs_f64(rows as f64 / f64::from(rate.0));
    if let Some(early) = due.checked_sub(started.elapsed()) {
        tokio::time::sleep(early).await;
    }
}
