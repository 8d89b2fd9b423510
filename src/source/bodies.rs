//! Many small bodies (pages of a service, messages of a queue) read as if they were of one file.

use std::io;
use std::sync::Arc;

use arrow::compute::concat_batches;

use crate::config::Format;
use crate::decode::{self, DecodeError, Decoded, Limits, Memory, Wanted};

/// Rows asked of one body's decoder at a time.
const PART: usize = 8192;

/// How bodies are read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) format: Format,
    pub(super) wanted: Vec<Wanted>,
}

impl Reading {
    /// All rows of one body, and how many there are of every kind. Errors: the body is not whole, and none of it counts.
    pub(super) fn of(&self, name: &str, bytes: Vec<u8>) -> Result<(Vec<Decoded>, u64), DecodeError> {
        let input = Arc::new(Memory::new(name, bytes));
        let mut decoder = decode::open(input, &self.format, &self.wanted, Limits::default(), None)?;
        let (mut parts, mut rows) = (Vec::new(), 0);
        while let Some(part) = decoder.next(PART)? {
            rows += all_rows(&part);
            parts.push(part);
        }
        Ok((parts, rows))
    }
}

/// Rows of every kind: decoded, set aside, dropped.
pub(super) fn all_rows(part: &Decoded) -> u64 {
    part.rows.num_rows() as u64 + part.undecodable.len() as u64 + part.dropped
}

/// Numbers rows on from those that came before.
pub(super) fn number_from(part: &mut Decoded, before: u64) {
    part.places.iter_mut().for_each(|place| place.row += before);
    part.undecodable.iter_mut().for_each(|bad| bad.place.row += before);
}

/// Several parts as one; `None` when there are none.
pub(super) fn joined(parts: Vec<Decoded>, name: &str) -> Result<Option<Decoded>, DecodeError> {
    let mut parts = parts.into_iter();
    let Some(mut all) = parts.next() else { return Ok(None) };
    let mut batches = vec![all.rows.clone()];
    for part in parts {
        let (rows, bytes) = (all.places.len(), all.raw.len());
        all.places.extend(part.places);
        all.raw.extend(part.raw);
        all.raw_ends.extend(part.raw_ends.into_iter().map(|end| end + bytes));
        all.notes.extend(part.notes.into_iter().map(|(row, column, code)| (row + rows, column, code)));
        all.gone.extend(part.gone.into_iter().map(|row| row + rows));
        all.undecodable.extend(part.undecodable);
        all.dropped += part.dropped;
        all.members = match (all.members.take(), part.members) {
            (Some(one), Some(other)) => Some(one.and(&other)),
            (one, other) => one.or(other),
        };
        batches.push(part.rows);
    }
    all.rows = concat_batches(&all.rows.schema(), &batches)
        .map_err(|e| DecodeError::Io { file: name.to_owned(), source: io::Error::other(e.to_string()) })?;
    Ok(Some(all))
}
