//! What is asked for, checked and cut into chunks. Reads files to count their rows; writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};

use super::cut::{Counted, Cut};
use super::{Spec, dates, refused, written};
use crate::config::{Connector, DatasetRef, Offer, SourceKind};
use crate::decode::Resume;
use crate::engine::schedule::Window;
use crate::engine::{Engine, EngineError};
use crate::error::Problem;
use crate::source::{FilesSource, Item, Range, Source as _};
use crate::store::{FileStatus, NewChunk};

/// More chunks than this are a mistake.
pub(super) const MOST_CHUNKS: usize = 100_000;
/// Batches in one chunk of a replay.
const BATCHES: i64 = 50;

/// How files are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    /// So many rows of one file.
    Rows(u64),
    /// All files of so long.
    Span(Duration),
}

/// Files to be read again.
#[derive(Debug, Clone)]
pub struct FilesRequest {
    /// The pipeline that they go through.
    pub pipeline: String,
    /// Patterns below the system's root, or absolute; empty is the dataset's own.
    pub files: Vec<String>,
    /// First day.
    pub from: Option<NaiveDate>,
    /// Last day, inclusive.
    pub to: Option<NaiveDate>,
    /// Whether the days are those of the rows' business time, and not of the files.
    pub by_updated: bool,
    /// Chunks.
    pub chunk: Chunking,
    /// Rows a second.
    pub rate: Option<u32>,
    /// Hours.
    pub window: Option<Window>,
    /// Chunks that are read at a time, from 1.
    pub workers: u32,
    /// Whether it waits for no live work.
    pub eager: bool,
}

/// A feed to be sent again.
#[derive(Debug, Clone)]
pub struct FeedRequest {
    /// Feed.
    pub feed: String,
    /// The stored batches from this number on, as they are; `None` is a new snapshot.
    pub since: Option<u64>,
    /// Records a second.
    pub rate: Option<u32>,
    /// Hours.
    pub window: Option<Window>,
    /// Whether it waits for no live work.
    pub eager: bool,
}

/// A backfill as it would be kept.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) kind: &'static str,
    pub(super) target: String,
    pub(super) spec: Spec,
    pub(super) chunks: Vec<NewChunk>,
    /// Rows or records in all.
    pub rows: u64,
    /// Files or batches in all.
    pub sources: usize,
}

impl Plan {
    /// How many chunks.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// When it may work.
    pub fn window(&self) -> Option<Window> {
        self.spec.window.as_deref()?.parse().ok()
    }
}

/// Part of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Root and pattern that it was found by.
    pub(super) root: String,
    pub(super) pattern: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) modified: Option<Duration>,
    pub(super) digest: String,
    /// Business time of rows without their own, microseconds.
    pub(super) at: i64,
    /// Whether a newer full extract has been taken.
    pub(super) outdated: bool,
    /// From here …
    pub(super) from: Resume,
    /// … up to this row; `None` is the end of the file.
    pub(super) to: Option<u64>,
    /// Of a table the range of its key; everything about files is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keys: Option<Range>,
}

impl Piece {
    /// As its source listed it.
    pub(super) fn item(&self) -> Item {
        Item {
            name: self.name.clone(),
            path: self.path.clone(),
            bytes: self.bytes,
            modified: self.modified.map(|since| SystemTime::UNIX_EPOCH + since),
            digest: self.digest.clone(),
            ..Item::default()
        }
    }
}

/// A found file, with what the plan knows of it.
struct Found {
    piece: Piece,
    day: Option<NaiveDate>,
}

impl Engine {
    /// Plans the reading of files.
    pub async fn plan_files(&mut self, request: &FilesRequest) -> Result<Plan, EngineError> {
        sane(request).map_err(refused)?;
        let pipeline = self.pipeline(&request.pipeline)?;
        let from = pipeline.from.value.clone();
        if self.is_table(&from) && request.files.is_empty() {
            return self.plan_table(request, (pipeline.name, &from)).await;
        }
        let mut found = self.find_files(request, &from).await?;
        if !request.by_updated {
            let inside =
                |day: NaiveDate| request.from.is_none_or(|from| day >= from) && request.to.is_none_or(|to| day <= to);
            let open = request.from.is_none() && request.to.is_none();
            found.retain(|file| open || file.day.is_some_and(inside));
        }
        if found.is_empty() {
            return Err(refused(nothing(request, &from)));
        }
        let sources = found.len();
        let (chunks, rows) = self.cut(request, &from, found).await?;
        let spec = self.spec_of(request, "all files");
        Ok(Plan { kind: "files", target: pipeline.name, spec, chunks, rows, sources })
    }

    /// What was asked for; `all` is what it is called when nothing was.
    pub(super) fn spec_of(&self, request: &FilesRequest, all: &str) -> Spec {
        Spec {
            rate: request.rate,
            window: request.window.map(|window| window.to_string()),
            updated: request.by_updated.then(|| self.updated_span(request)),
            asked: asked(request, all),
            workers: request.workers,
            eager: request.eager,
        }
    }

    fn updated_span(&self, request: &FilesRequest) -> (i64, i64) {
        let zone = self.workspace.installation.zone;
        let to = request.to.map(|to| to + TimeDelta::days(1));
        let micros = |day: NaiveDate| dates::midnight(day, zone);
        (request.from.map_or(i64::MIN, micros), to.map_or(i64::MAX, micros))
    }

    /// Every file of every pattern once, by day and name.
    async fn find_files(&mut self, request: &FilesRequest, from: &DatasetRef) -> Result<Vec<Found>, EngineError> {
        let connector = self.workspace.connectors.get(&from.system).cloned();
        let connector = connector.ok_or_else(|| EngineError::Internal(format!("{from} has no connector")))?;
        let dataset = connector.datasets.get(&from.dataset).cloned();
        let dataset = dataset.ok_or_else(|| EngineError::Internal(format!("{from} is not defined")))?;
        let own: Vec<String> = match &dataset.offer {
            Offer::Files { path, .. } => vec![path.clone()],
            Offer::Table(_) | Offer::Changes(_) | Offer::Endpoint(_) | Offer::Queue { .. } => Vec::new(),
        };
        let patterns = if request.files.is_empty() { &own[..] } else { &request.files[..] };
        let newest = self.store.newest_file(&from.to_string()).await?;
        let full = dataset.extract == crate::config::Extract::Full && dataset.missing.retract;
        let zone = self.workspace.installation.zone;
        let mut all: BTreeMap<PathBuf, Found> = BTreeMap::new();
        for pattern in patterns {
            let (root, pattern) = place(&connector, pattern)?;
            let mut source = FilesSource::at(&self.workspace, &connector, (&root, &pattern), &dataset)?;
            for item in source.list(None).await?.items {
                let day = dates::day(&item, zone);
                let live = self.store.file(&from.to_string(), &item.digest).await?;
                let live = live.filter(|file| file.status == FileStatus::Taken);
                let at = live.map(|file| file.at).or_else(|| day.map(|day| dates::midnight(day, zone))).unwrap_or(0);
                let newer = newest.as_ref().is_some_and(|(digest, newest)| *digest != item.digest && *newest > at);
                let piece = Piece {
                    root: root.clone(),
                    pattern: pattern.clone(),
                    name: item.name,
                    bytes: item.bytes,
                    modified: item.modified.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()),
                    digest: item.digest,
                    at,
                    outdated: full && newer,
                    from: Resume::default(),
                    to: None,
                    path: item.path,
                    keys: None,
                };
                all.insert(Path::new(&piece.root).join(&piece.path), Found { piece, day });
            }
        }
        let mut all: Vec<Found> = all.into_values().collect();
        all.sort_by(|a, b| (a.day, &a.piece.name).cmp(&(b.day, &b.piece.name)));
        Ok(all)
    }

    /// Counts the rows of every file, and cuts.
    async fn cut(
        &mut self,
        request: &FilesRequest,
        from: &DatasetRef,
        found: Vec<Found>,
    ) -> Result<(Vec<NewChunk>, u64), EngineError> {
        let first = found.iter().filter_map(|file| file.day).min();
        let mut cut = Cut::new(request.chunk, request.from.or(first));
        for file in found {
            self.check_stop()?;
            let rows = match request.chunk {
                Chunking::Rows(rows) => rows,
                Chunking::Span(_) => u64::MAX,
            };
            let counted: Vec<Counted> = self.count_rows(from, &file.piece, rows).await?;
            cut.put(&file.piece, file.day, counted);
            if cut.len() > MOST_CHUNKS {
                return Err(refused(too_many(cut.len())));
            }
        }
        kept(cut.finish())
    }

    /// Plans the sending of a feed.
    pub async fn plan_feed(&mut self, request: &FeedRequest) -> Result<Plan, EngineError> {
        let Some(feed) = self.workspace.feeds.get(&request.feed) else {
            let names = self.workspace.feeds.keys().map(String::as_str);
            let problem = Problem::error("HL0812", format!("there is no feed \"{}\"", request.feed));
            return Err(refused(problem.did_you_mean(&request.feed, names)));
        };
        let register = feed.register.value.clone();
        let spec = |asked: String| Spec {
            rate: request.rate,
            window: request.window.map(|window| window.to_string()),
            updated: None,
            asked,
            workers: 1,
            eager: request.eager,
        };
        let Some(since) = request.since else {
            let rows = self.store.count(&register).await?;
            let chunk = |label: &str, spec: &str, rows| NewChunk { label: label.into(), spec: spec.into(), rows };
            return Ok(Plan {
                kind: "rebuild",
                target: request.feed.clone(),
                spec: spec("a new snapshot".into()),
                chunks: vec![chunk("begin a new snapshot", "\"open\"", 0), chunk("send it", "\"send\"", rows)],
                rows,
                sources: 1,
            });
        };
        let batches = self.replayable(&request.feed, since).await?;
        let rows = batches.iter().map(|(_, records)| records).sum();
        let chunks = batches.chunks(BATCHES as usize).filter_map(|some| {
            let ((first, _), (last, _)) = (some.first()?, some.last()?);
            let rows = some.iter().map(|(_, records)| records).sum();
            Some(NewChunk { label: format!("batches {first}–{last}"), spec: format!("[{first},{last}]"), rows })
        });
        Ok(Plan {
            kind: "replay",
            target: request.feed.clone(),
            spec: spec(format!("batches from {since} on")),
            chunks: chunks.collect(),
            rows,
            sources: batches.len(),
        })
    }
}

/// Chunks as they are stored, and all their rows.
pub(super) fn kept(chunks: Vec<(String, u64, Vec<Piece>)>) -> Result<(Vec<NewChunk>, u64), EngineError> {
    let rows = chunks.iter().map(|(_, rows, _)| rows).sum();
    let kept = chunks.into_iter().map(|(label, rows, pieces)| {
        let spec = written(&pieces)?;
        Ok(NewChunk { label, spec, rows })
    });
    Ok((kept.collect::<Result<_, EngineError>>()?, rows))
}

/// Root and pattern of files: below the system's root, or anywhere.
fn place(connector: &Connector, pattern: &str) -> Result<(String, String), EngineError> {
    if Path::new(pattern).is_absolute() {
        let (root, name) = pattern.rsplit_once('/').unwrap_or(("/", pattern));
        return Ok((if root.is_empty() { "/".to_owned() } else { root.to_owned() }, name.to_owned()));
    }
    match &connector.source {
        SourceKind::Files(files) => Ok((files.root.value.clone(), pattern.to_owned())),
        _ => Err(refused(Problem::error("HL0925", format!("system \"{}\" does not deliver files", connector.system)))),
    }
}

/// Refuses what nobody can mean.
fn sane(request: &FilesRequest) -> Result<(), Problem> {
    for day in [request.from, request.to].into_iter().flatten() {
        if !dates::is_sane(day) {
            let problem = Problem::error("HL0920", format!("{day} is no day that records can be of"));
            return Err(problem.hint("write days as 2026-01-31"));
        }
    }
    let (Some(from), Some(to)) = (request.from, request.to) else { return Ok(()) };
    if from > to {
        return Err(Problem::error("HL0920", format!("from {from} is after to {to}")).hint("exchange them"));
    }
    if let Chunking::Span(span) = request.chunk {
        let all = (to - from + TimeDelta::days(1)).to_std().unwrap_or_default().as_secs();
        let chunks = usize::try_from(all / span.as_secs().max(1)).unwrap_or(usize::MAX);
        if chunks > MOST_CHUNKS {
            return Err(too_many(chunks));
        }
    }
    Ok(())
}

pub(super) fn too_many(chunks: usize) -> Problem {
    Problem::error("HL0921", format!("this would be {chunks} chunks or more, and {MOST_CHUNKS} are the most"))
        .hint("make chunks larger with --chunk, or the range smaller")
}

fn nothing(request: &FilesRequest, from: &DatasetRef) -> Problem {
    let patterns = if request.files.is_empty() { "its own pattern".to_owned() } else { request.files.join(", ") };
    let days = match (request.from, request.to) {
        (None, None) => String::new(),
        (from, to) => format!(
            ", of days from {} to {}",
            from.map_or_else(|| "the first".into(), |day| day.to_string()),
            to.map_or_else(|| "the last".into(), |day| day.to_string())
        ),
    };
    Problem::error("HL0922", format!("there is no file of {from} to read again"))
        .detail(format!("looked for {patterns}{days}"))
        .hint("files that were moved away are named with --files, below the system's root or absolute")
}

fn asked(request: &FilesRequest, all: &str) -> String {
    let mut words = Vec::new();
    if !request.files.is_empty() {
        words.push(format!("files {}", request.files.join(", ")));
    }
    if let Some(from) = request.from {
        words.push(format!("from {from}"));
    }
    if let Some(to) = request.to {
        words.push(format!("to {to}"));
    }
    if request.by_updated {
        words.push("by business time".to_owned());
    }
    if words.is_empty() { all.to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_requests_are_refused_before_anything_is_read() {
        let day = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap();
        let check = |from: &str, to: &str, chunk: Chunking, code: Option<&str>| {
            let request = FilesRequest {
                pipeline: "qy".into(),
                files: Vec::new(),
                from: Some(day(from)),
                to: Some(day(to)),
                by_updated: false,
                chunk,
                rate: None,
                window: None,
                workers: 1,
                eager: false,
            };
            assert_eq!(sane(&request).err().map(|problem| problem.code), code, "{from} {to}");
        };
        let day_by_day = Chunking::Span(Duration::from_secs(86_400));
        check("2026-01-01", "2026-12-31", day_by_day, None);
        check("0000-01-01", "2026-12-31", day_by_day, Some("HL0920"));
        check("2026-02-01", "2026-01-01", day_by_day, Some("HL0920"));
        check("1990-01-01", "2026-01-01", Chunking::Span(Duration::from_secs(60)), Some("HL0921"));
        check("1990-01-01", "2026-01-01", Chunking::Rows(1), None);
    }
}
