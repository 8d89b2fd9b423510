//! The reading side of a run, a few chunks ahead: one thread decodes, another names the rows and, while most of them are
//! new, maps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use arrow::record_batch::RecordBatch;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::EngineError;
use super::flow::{Flow, Lane};
use super::rows::{Identified, register_rows};
use crate::decode::{Decode, Decoded};
use crate::linking::{Row, encode_values};
use crate::mapping::{Note, Reason};

/// Rows in one chunk: the unit of pull and commit.
pub(super) const CHUNK_ROWS: usize = 8192;
/// Chunks that are ready before they are asked for.
const AHEAD: usize = 1;

/// A decoded chunk.
pub(super) struct Prepared {
    pub(super) decoded: Decoded,
    pub(super) named: Identified,
    /// One per lane, when the chunk was mapped ahead.
    pub(super) mapped: Option<Vec<Laid>>,
}

impl Prepared {
    /// The same rows, to be mapped when they are taken.
    pub(super) fn unmapped(&self) -> Self {
        Self { decoded: self.decoded.clone(), named: self.named.clone(), mapped: None }
    }

    /// Its first and its second half; itself alone when it has but one row.
    pub(super) fn halves(self) -> (Self, Option<Self>) {
        let rows = self.decoded.rows.num_rows();
        if rows < 2 {
            return (self, None);
        }
        let (first, second) = self.decoded.split_at(rows / 2);
        let (a, b) = self.named.split_at(rows / 2);
        let half = |decoded, named| Self { decoded, named, mapped: None };
        (half(first, a), Some(half(second, b)))
    }
}

/// A chunk mapped for one register.
pub(super) struct Laid {
    /// In row order.
    pub(super) rows: Vec<LaidRow>,
    /// Rows refused, with all their reasons.
    pub(super) refused: Vec<(u32, Vec<Reason>)>,
    /// Repairs.
    pub(super) notes: Vec<Note>,
}

/// A row as the register has it.
pub(super) struct LaidRow {
    /// Its index in the chunk.
    pub(super) at: u32,
    /// Values in register field order.
    pub(super) values: Row,
    /// The same, packed for the claim.
    pub(super) packed: Vec<u8>,
    /// Its identity keys, strongest first.
    pub(super) keys: Vec<Option<Arc<str>>>,
}

impl Laid {
    /// Maps rows and lays them out as the register does.
    pub(super) fn by(lane: &Lane, rows: &RecordBatch) -> Self {
        let mapped = lane.mapping.apply(rows);
        let values = register_rows(&mapped, &lane.fields, lane.width);
        let lay = |(at, values): (u32, Row)| LaidRow {
            at,
            packed: encode_values(&lane.layout, &values),
            keys: lane.keys_of(&values),
            values,
        };
        let rows = mapped.rows.into_iter().zip(values).map(lay).collect();
        Self { rows, refused: mapped.refused, notes: mapped.notes }
    }
}

/// Chunks of one file, in order.
pub(super) struct Intake {
    chunks: mpsc::Receiver<Result<Prepared, EngineError>>,
    map_ahead: Arc<AtomicBool>,
}

impl Intake {
    /// Starts reading. `map_ahead`: whether most rows are expected to be new or changed.
    pub(super) fn start(mut decoder: Box<dyn Decode>, flow: &Flow, map_ahead: bool) -> Self {
        let (decoded_to, decoded) = sync_channel(0);
        tokio::task::spawn_blocking(move || {
            while let Some(chunk) = decoder.next(CHUNK_ROWS).transpose() {
                let failed = chunk.is_err();
                if decoded_to.send(chunk).is_err() || failed {
                    break;
                }
            }
        });
        let (prepared_to, chunks) = mpsc::channel(AHEAD);
        let map_ahead = Arc::new(AtomicBool::new(map_ahead));
        let ahead = Arc::clone(&map_ahead);
        let (lanes, reading) = (Arc::clone(&flow.lanes), flow.reading());
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            while let Ok(chunk) = decoded.recv() {
                // Mapped rows are the largest thing here: they are made when there is room for them, not before.
                let Ok(room) = runtime.block_on(prepared_to.reserve()) else { break };
                let prepared = chunk.map_err(EngineError::from).and_then(|decoded| {
                    let mut prepared = reading.of(decoded)?;
                    if ahead.load(Ordering::Relaxed) {
                        let rows = &prepared.decoded.rows;
                        prepared.mapped = Some(lanes.iter().map(|lane| Laid::by(lane, rows)).collect());
                    }
                    Ok(prepared)
                });
                let failed = prepared.is_err();
                room.send(prepared);
                if failed {
                    break;
                }
            }
        });
        Self { chunks, map_ahead }
    }

    /// The next chunk; `None` at the end of the file.
    pub(super) async fn next(&mut self) -> Option<Result<Prepared, EngineError>> {
        self.chunks.recv().await
    }

    /// Tells the reading side what share of the last chunk needed mapping.
    pub(super) fn needed_mapping(&self, needed: usize, of: usize) {
        self.map_ahead.store(needed * 4 > of, Ordering::Relaxed);
    }
}
