//! The reading side of a run: decoding (and, while most rows are new, mapping) on its own thread, a few chunks ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::flow::Flow;
use super::rows::{Identified, identify};
use crate::decode::{Decode, DecodeError, Decoded};
use crate::mapping::Mapped;

/// Rows in one chunk: the unit of pull and commit.
pub(super) const CHUNK_ROWS: usize = 8192;
/// Chunks decoded ahead of the commit.
const AHEAD: usize = 2;

/// A decoded chunk.
pub(super) struct Prepared {
    pub(super) decoded: Decoded,
    pub(super) named: Identified,
    /// One per lane, when the chunk was mapped ahead.
    pub(super) mapped: Option<Vec<Mapped>>,
}

/// Chunks of one file, in order.
pub(super) struct Intake {
    chunks: mpsc::Receiver<Result<Prepared, DecodeError>>,
    map_ahead: Arc<AtomicBool>,
}

impl Intake {
    /// Starts decoding. `map_ahead`: whether most rows are expected to be new or changed.
    pub(super) fn start(mut decoder: Box<dyn Decode>, flow: &Flow, map_ahead: bool) -> Self {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let map_ahead = Arc::new(AtomicBool::new(map_ahead));
        let ahead = Arc::clone(&map_ahead);
        let (lanes, key) = (Arc::clone(&flow.lanes), flow.key.clone());
        tokio::task::spawn_blocking(move || {
            loop {
                let prepared = match decoder.next(CHUNK_ROWS) {
                    Ok(None) => break,
                    Err(error) => Err(error),
                    Ok(Some(decoded)) => {
                        let named = identify(&decoded.rows, &key);
                        let mapped = ahead
                            .load(Ordering::Relaxed)
                            .then(|| lanes.iter().map(|lane| lane.mapping.apply(&decoded.rows)).collect());
                        Ok(Prepared { decoded, named, mapped })
                    }
                };
                let failed = prepared.is_err();
                if sender.blocking_send(prepared).is_err() || failed {
                    break;
                }
            }
        });
        Self { chunks, map_ahead }
    }

    /// The next chunk; `None` at the end of the file.
    pub(super) async fn next(&mut self) -> Option<Result<Prepared, DecodeError>> {
        self.chunks.recv().await
    }

    /// Tells the reading side what share of the last chunk needed mapping.
    pub(super) fn needed_mapping(&self, needed: usize, of: usize) {
        self.map_ahead.store(needed * 4 > of, Ordering::Relaxed);
    }
}
