//! Chunks read and mapped ahead, each on a thread of its own, for one committer that takes them in their order.
//!
//! Decides: nothing about rows. Guarantees: what is handed over is what the committer would have read itself, so that with
//! any number of workers registers and ledger come out as with one; a bounded number of rows is ahead; a reader that is
//! let go of ends at its next rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::cut::next_rows;
use super::files::{Work, begins_at};
use super::plan::Piece;
use super::span::Inside;
use crate::decode::{Decode, Position};
use crate::engine::flow::{Flow, Lane, Reading};
use crate::engine::intake::{Laid, Prepared};
use crate::engine::{Engine, EngineError};
use crate::failpoint::Boundary;
use crate::source::{FilesSource, KeyedTable, Range, Source as _};

/// Commits' worth of rows that one chunk may be ahead.
const AHEAD: usize = 4;

/// Some rows of a piece, ready to be taken.
pub(super) struct Rows {
    /// The place after them.
    pub(super) at: Position,
    /// How many were read, also those that are not asked for.
    pub(super) read: u64,
    pub(super) prepared: Prepared,
}

/// What a reader says of a piece.
enum Word {
    /// It reads this piece of the chunk from this row on.
    Begins(usize, u64),
    Rows(Box<Rows>),
    Ends,
}

/// A chunk that is being read.
pub(super) struct Reader {
    words: mpsc::Receiver<Result<Word, EngineError>>,
}

/// What comes next.
pub(super) enum Next {
    Rows(Box<Rows>),
    /// The piece is through.
    Ends,
    /// It does not stand where the committer stands, or broke off: read again from there.
    Lost,
}

/// Where a piece is.
pub(super) enum Whence {
    Files(Box<FilesSource>),
    Table(Box<KeyedTable>, Range),
}

impl Whence {
    /// A decoder at this place of a file, if the file is still what was planned, or of a range of a table.
    pub(super) async fn open(&self, piece: &Piece, at: &Position) -> Result<Box<dyn Decode>, EngineError> {
        Ok(match self {
            Self::Files(source) => source.open(&piece.item(), Some(at)).await?,
            Self::Table(table, range) => table.open(range, at).await?,
        })
    }
}

/// A piece to be read from a place.
struct Errand {
    n: usize,
    whence: Result<Whence, EngineError>,
    piece: Piece,
    at: Position,
}

/// What every reader of a backfill shares.
#[derive(Clone)]
struct Manner {
    reading: Reading,
    lanes: Arc<Vec<Lane>>,
    inside: Inside,
    map_ahead: Arc<AtomicBool>,
    rows: Arc<AtomicUsize>,
}

impl Reader {
    /// Whether it begins this piece at this row now.
    pub(super) async fn begins(&mut self, n: usize, row: u64) -> Result<bool, EngineError> {
        match self.words.recv().await.transpose()? {
            Some(Word::Begins(piece, at)) => Ok((piece, at) == (n, row)),
            _ => Ok(false),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Next, EngineError> {
        Ok(match self.words.recv().await.transpose()? {
            Some(Word::Rows(rows)) => Next::Rows(rows),
            Some(Word::Ends) => Next::Ends,
            Some(Word::Begins(..)) | None => Next::Lost,
        })
    }
}

impl Engine {
    /// Begins to read the pieces of a chunk from the `first` on, each from where the store says that it is; a piece whose
    /// rows before it are not in yet is read from its own beginning, for they will be in when it is taken.
    pub(super) async fn read_ahead(
        &mut self,
        work: &Work,
        (pieces, first): (&[Piece], usize),
    ) -> Result<Reader, EngineError> {
        let mut errands = Vec::new();
        for (n, piece) in pieces.iter().enumerate().skip(first) {
            let known = self.store.file(&work.dataset(), &piece.digest).await?;
            let reached = known.and_then(|file| file.position);
            if let Some(at) = begins_at(piece, reached.as_ref()).unwrap_or(Some(piece.from.into())) {
                let whence = self.whence(&work.flow, piece);
                errands.push(Errand { n, whence, piece: piece.clone(), at });
            }
        }
        let manner = Manner {
            reading: work.flow.reading(),
            lanes: Arc::clone(&work.flow.lanes),
            inside: work.inside,
            map_ahead: Arc::clone(&work.map_ahead),
            rows: work.courtesy.rows(),
        };
        let (sender, words) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            for errand in errands {
                match errand.go(&manner, &sender).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => return drop(sender.send(Err(error)).await),
                }
            }
        });
        Ok(Reader { words })
    }

    /// Where a piece comes from.
    pub(super) fn whence(&self, flow: &Flow, piece: &Piece) -> Result<Whence, EngineError> {
        if let Some(range) = &piece.keys {
            return Ok(Whence::Table(Box::new(self.keyed(&flow.from)?), range.clone()));
        }
        let connector = &self.workspace.connectors[&flow.from.system];
        let source = FilesSource::at(&self.workspace, connector, (&piece.root, &piece.pattern), &flow.dataset)?;
        Ok(Whence::Files(Box::new(source)))
    }
}

type Words = mpsc::Sender<Result<Word, EngineError>>;

impl Errand {
    /// Reads the piece. False, and nothing more is said, when nobody listens any more or the reader had a fault.
    async fn go(self, manner: &Manner, words: &Words) -> Result<bool, EngineError> {
        let decoder = self.whence?.open(&self.piece, &self.at).await?;
        if words.send(Ok(Word::Begins(self.n, self.at.resume.row))).await.is_err() {
            return Ok(false);
        }
        let (manner, sender, end, at) = (manner.clone(), words.clone(), self.piece.to.unwrap_or(u64::MAX), self.at);
        let reading = tokio::task::spawn_blocking(move || manner.read(decoder, (at, end), &sender));
        reading.await.unwrap_or(Ok(false))
    }
}

impl Manner {
    fn read(
        &self,
        mut decoder: Box<dyn Decode>,
        (mut at, end): (Position, u64),
        words: &Words,
    ) -> Result<bool, EngineError> {
        while at.resume.row < end {
            let rows = next_rows(end, at.resume.row).min(self.rows.load(Ordering::Relaxed));
            let Some(decoded) = decoder.next(rows)? else { break };
            Boundary::ReadAhead.reached();
            at = decoded.position.clone();
            let read = decoded.rows.num_rows() as u64;
            let mut prepared = self.reading.of(self.inside.keep(decoded)?)?;
            if self.map_ahead.load(Ordering::Relaxed) {
                let lay = |lane: &Lane| Laid::by(lane, &prepared.decoded.rows);
                prepared.mapped = Some(self.lanes.iter().map(lay).collect());
            }
            if words.blocking_send(Ok(Word::Rows(Box::new(Rows { at: at.clone(), read, prepared })))).is_err() {
                return Ok(false);
            }
        }
        Ok(words.blocking_send(Ok(Word::Ends)).is_ok())
    }
}
