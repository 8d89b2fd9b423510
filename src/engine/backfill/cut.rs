//! Rows of files cut into chunks: by number within a file, or by the days that files are of.

use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};

use super::plan::{Chunking, Piece};
use crate::config::DatasetRef;
use crate::decode::Resume;
use crate::engine::intake::CHUNK_ROWS;
use crate::engine::{Engine, EngineError};
use crate::source::{FilesSource, Source as _};

/// Some rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// From here …
    pub(super) from: Resume,
    /// … to there.
    pub(super) to: Resume,
    /// Whether it is the file's last part.
    pub(super) last: bool,
}

/// Chunks in the making: label, rows, pieces.
pub(super) struct Cut {
    chunking: Chunking,
    first: Option<NaiveDate>,
    chunks: Vec<(String, u64, Vec<Piece>)>,
    span: Option<i64>,
}

impl Cut {
    pub(super) fn new(chunking: Chunking, first: Option<NaiveDate>) -> Self {
        Self { chunking, first, chunks: Vec::new(), span: None }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// A file; files come by day.
    pub(super) fn put(&mut self, file: &Piece, day: Option<NaiveDate>, counted: Vec<Counted>) {
        for part in counted {
            let to = (!part.last).then_some(part.to.row);
            let piece = Piece { from: part.from, to, ..file.clone() };
            let rows = part.to.row - part.from.row;
            match self.chunking {
                Chunking::Rows(_) => {
                    let label = format!("{} · {}–{}", file.name, part.from.row + 1, part.to.row);
                    self.chunks.push((label, rows, vec![piece]));
                }
                Chunking::Span(span) => self.put_day(piece, rows, (day, span)),
            }
        }
    }

    fn put_day(&mut self, piece: Piece, rows: u64, (day, span): (Option<NaiveDate>, Duration)) {
        let seconds = i64::try_from(span.as_secs().max(1)).unwrap_or(i64::MAX);
        let since = |day: NaiveDate| day.signed_duration_since(self.first.unwrap_or(day)).num_seconds();
        let slot = day.map_or(-1, |day| since(day).div_euclid(seconds));
        if self.span == Some(slot)
            && let Some((_, all, pieces)) = self.chunks.last_mut()
        {
            *all += rows;
            return pieces.push(piece);
        }
        self.span = Some(slot);
        let begins = self.first.filter(|_| slot >= 0).map(|first| first + TimeDelta::seconds(slot * seconds));
        let label = begins.map_or_else(|| "no date".to_owned(), |day| format!("from {day}"));
        self.chunks.push((label, rows, vec![piece]));
    }

    pub(super) fn finish(self) -> Vec<(String, u64, Vec<Piece>)> {
        self.chunks
    }
}

impl Engine {
    /// Reads a file to its end and says where its parts of so many rows begin and end. A file without rows has one
    /// part without rows.
    pub(super) async fn count_rows(
        &mut self,
        from: &DatasetRef,
        piece: &Piece,
        rows: u64,
    ) -> Result<Vec<Counted>, EngineError> {
        let connector = self.workspace.connectors.get(&from.system);
        let both = connector.and_then(|c| Some((c, c.datasets.get(&from.dataset)?)));
        let (connector, dataset) = both.ok_or_else(|| EngineError::Internal(format!("{from} is not defined")))?;
        let source = FilesSource::at(&self.workspace, connector, (&piece.root, &piece.pattern), dataset)?;
        let mut decoder = source.open(&piece.item(), None).await?;
        let counting = tokio::task::spawn_blocking(move || {
            let (mut parts, mut from, mut at) = (Vec::new(), Resume::default(), Resume::default());
            while let Some(decoded) = decoder.next(next_rows(from.row.saturating_add(rows), at.row))? {
                at = decoded.position.resume;
                if at.row - from.row >= rows {
                    parts.push(Counted { from, to: at, last: false });
                    from = at;
                }
            }
            match parts.last_mut() {
                Some(last) if at == from => last.last = true,
                _ => parts.push(Counted { from, to: at, last: true }),
            }
            Ok(parts)
        });
        counting.await.map_err(|error| EngineError::Internal(error.to_string()))?
    }
}

/// Rows to ask for next, so that a part ends where it should.
pub(super) fn next_rows(end: u64, at: u64) -> usize {
    usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).clamp(1, CHUNK_ROWS)
}
