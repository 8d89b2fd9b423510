//! What a person asks for, read from the arguments.

use std::time::Duration;

use chrono::NaiveDate;

use crate::engine::schedule::Window;
use crate::engine::{Chunking, Engine, EngineError, FeedRequest, FilesRequest, Plan};
use crate::error::Problem;

/// Plan a backfill and begin it: of a pipeline's files or table, or of a feed's batches
#[derive(Debug, clap::Args)]
pub struct Start {
    /// The pipeline whose files, or table, are read again
    #[arg(required_unless_present = "feed", conflicts_with = "feed")]
    pub pipeline: Option<String>,
    /// Files by pattern, below the system's root or absolute; the dataset's own pattern when absent
    #[arg(long, value_name = "GLOB", num_args = 1.., conflicts_with = "feed")]
    pub files: Vec<String>,
    /// First day: of the files, by the date in their names, else by when they were written
    #[arg(long, value_name = "DAY", conflicts_with = "feed")]
    pub from: Option<String>,
    /// Last day, inclusive
    #[arg(long, value_name = "DAY", conflicts_with = "feed")]
    pub to: Option<String>,
    /// The days are those of the rows, by the dataset's `updated` column
    #[arg(long, conflicts_with = "feed")]
    pub by_updated: bool,
    /// The feed that is sent again
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,
    /// The stored batches from this number on, byte for byte
    #[arg(long, value_name = "N", requires = "feed", conflicts_with = "rebuild", required_unless_present_any = ["pipeline", "rebuild"])]
    pub since_batch: Option<u64>,
    /// A whole new snapshot
    #[arg(long, requires = "feed")]
    pub rebuild: bool,
    /// Rows in one chunk (of a table, by ranges of its key), or days: 100000, 1d
    #[arg(long, value_name = "SIZE", default_value = "100000")]
    pub chunk: String,
    /// Rows or records a second: 5000/s
    #[arg(long, value_name = "RATE")]
    pub rate: Option<String>,
    /// Hours in which it may work: 22:00-06:00
    #[arg(long, value_name = "HOURS")]
    pub window: Option<String>,
    /// Chunks of files read and mapped at a time; they are committed in their order, so nothing else depends on it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: u32,
    /// Go on beside live work, instead of waiting for it between commits
    #[arg(long)]
    pub eager: bool,
    /// Say what would happen, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Why; goes into the audit log
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}

/// More would only hold rows in memory: one commits.
const MOST_WORKERS: u32 = 32;

/// A request that reads.
pub(super) enum Asked {
    Files(FilesRequest),
    Feed(FeedRequest),
}

impl Start {
    /// The request, or the problem with how it is written.
    pub(super) fn asked(&self) -> Result<Asked, Problem> {
        if !(1..=MOST_WORKERS).contains(&self.workers) || (self.feed.is_some() && self.workers > 1) {
            let problem = Problem::error("HL0929", format!("--workers {} is not possible here", self.workers));
            let detail = format!("files are read by 1 to {MOST_WORKERS}; the batches of a feed have an order");
            return Err(problem.detail(detail).hint("leave it out, or give the number of processors to spare"));
        }
        let rate = self.rate.as_deref().map(rate).transpose()?;
        let window = self.window.as_deref().map(window).transpose()?;
        if let Some(feed) = &self.feed {
            return Ok(Asked::Feed(FeedRequest {
                feed: feed.clone(),
                since: self.since_batch,
                rate,
                window,
                eager: self.eager,
            }));
        }
        Ok(Asked::Files(FilesRequest {
            pipeline: self.pipeline.clone().unwrap_or_default(),
            files: self.files.clone(),
            from: self.from.as_deref().map(day).transpose()?,
            to: self.to.as_deref().map(day).transpose()?,
            by_updated: self.by_updated,
            chunk: chunk(&self.chunk)?,
            rate,
            window,
            workers: self.workers,
            eager: self.eager,
        }))
    }
}

impl Asked {
    /// Checked and cut into chunks.
    pub(super) async fn plan(&self, engine: &mut Engine) -> Result<Plan, EngineError> {
        match self {
            Self::Files(request) => engine.plan_files(request).await,
            Self::Feed(request) => engine.plan_feed(request).await,
        }
    }
}

fn malformed(option: &str, text: &str, expected: &str) -> Problem {
    Problem::error("HL0923", format!("{option} {text} does not read")).hint(format!("write {expected}"))
}

fn day(text: &str) -> Result<NaiveDate, Problem> {
    let read = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    read.ok_or_else(|| malformed("the day", text, "a day such as 2026-01-31"))
}

fn rate(text: &str) -> Result<u32, Problem> {
    let number = text.trim().strip_suffix("/s").unwrap_or(text).trim();
    let number = number.strip_suffix("rows").or(number.strip_suffix("records")).unwrap_or(number).trim();
    number.parse().ok().filter(|n| *n > 0).ok_or_else(|| malformed("--rate", text, "a rate such as 5000/s"))
}

fn window(text: &str) -> Result<Window, Problem> {
    text.parse().map_err(|()| malformed("--window", text, "hours such as 22:00-06:00"))
}

fn chunk(text: &str) -> Result<Chunking, Problem> {
    let wrong = || malformed("--chunk", text, "rows such as 100000, or days such as 1d");
    let positive = |digits: &str| digits.parse::<u64>().ok().filter(|n| *n > 0);
    match text.strip_suffix('d') {
        Some(days) => {
            let days = positive(days).filter(|days| *days <= 3660).ok_or_else(wrong)?;
            Ok(Chunking::Span(Duration::from_secs(days * 86_400)))
        }
        None => positive(text).map(Chunking::Rows).ok_or_else(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rates_and_days_read_as_people_write_them() {
        assert_eq!(chunk("1d").ok(), Some(Chunking::Span(Duration::from_secs(86_400))));
        assert_eq!(chunk("100000").ok(), Some(Chunking::Rows(100_000)));
        for text in ["5000/s", "5000", "5000 rows/s"] {
            assert_eq!(rate(text).ok(), Some(5000), "{text}");
        }
        for wrong in ["0d", "0", "1h", "99999d", "", "-5"] {
            assert_eq!(chunk(wrong).err().map(|problem| problem.code), Some("HL0923"), "{wrong}");
        }
        assert!(rate("0/s").is_err() && rate("fast").is_err());
        assert!(day("2026-1-1").is_err() && day("2026-02-30").is_err() && day("2026-01-31").is_ok());
    }
}
