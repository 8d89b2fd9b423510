//! What all decoders share: collecting rows into chunks, and stopping for good at the first error.
//!
//! Guarantees: rows read before an error are handed over before it; a failed or finished decoder stays so.

use std::io;

use arrow::datatypes::SchemaRef;

use super::chunk::{self, Chunk, Room};
use super::{Decode, DecodeError, Decoded, Header, Members, Resume, Wanted};

/// One format: finds the next row and puts it into a chunk.
pub(super) trait Records: Send {
    /// What the file said before its first row.
    fn header(&self) -> &Header;
    /// The columns to fill.
    fn wanted(&self) -> &[Wanted];
    /// Adds one row (decoded, set aside or dropped) to `chunk`; false when there is none left.
    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError>;
    /// The position after the rows added so far.
    fn resume(&self) -> Resume;
    /// What the records so far have together; asked once, after the first chunk.
    fn members(&mut self) -> Option<Members> {
        None
    }
}

/// [`Decode`] for any [`Records`].
pub(super) struct Decoder<R> {
    records: R,
    schema: SchemaRef,
    /// What the last chunk held.
    room: Room,
    state: State,
}

enum State {
    Reading,
    Ended,
    Failed(DecodeError),
}

impl<R: Records> Decoder<R> {
    /// A decoder at its first row.
    pub(super) fn new(records: R) -> Self {
        let schema = chunk::schema(records.wanted());
        Self { records, schema, room: Room::default(), state: State::Reading }
    }

    fn collect(&mut self, max_rows: usize) -> Decoded {
        let mut chunk = Chunk::with_room(self.schema.clone(), max_rows, &self.room);
        let mut resume = self.records.resume();
        while matches!(self.state, State::Reading) && !chunk.is_full() {
            match self.records.step(&mut chunk) {
                Ok(true) => resume = self.records.resume(),
                Ok(false) => self.state = State::Ended,
                Err(e) => self.state = State::Failed(e),
            }
        }
        let mut chunk = chunk.finish(resume);
        chunk.members = self.records.members();
        self.room = Room::like(&chunk);
        chunk
    }
}

impl<R: Records> Decode for Decoder<R> {
    fn header(&self) -> &Header {
        self.records.header()
    }

    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError> {
        let chunk = self.collect(max_rows);
        if !chunk.places.is_empty() || !chunk.undecodable.is_empty() || chunk.dropped > 0 {
            return Ok(Some(chunk));
        }
        match &self.state {
            State::Failed(e) => Err(again(e)),
            State::Reading | State::Ended => Ok(None),
        }
    }
}

/// The same error once more: an I/O error cannot be cloned, its kind and text can.
fn again(error: &DecodeError) -> DecodeError {
    match error {
        DecodeError::Io { file, source } => {
            DecodeError::Io { file: file.clone(), source: io::Error::new(source.kind(), source.to_string()) }
        }
        DecodeError::Broken { code, file, message } => {
            DecodeError::Broken { code, file: file.clone(), message: message.clone() }
        }
    }
}
