//! Rows while they are being collected: columns, places, raw bytes, notes, and the rows that are none.
//!
//! Decides: when a chunk is full, and what is noted about a cell. Must not know: formats. Guarantees: one cell per
//! wanted column and row, `raw_ends` and `places` as long as the rows, memory within [`CHUNK_BYTES`] and one row.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Decoded, Position, RowPlace, Undecodable, Wanted, repair};

/// Raw and decoded bytes after which a chunk is full, whatever its rows.
const CHUNK_BYTES: usize = 32 << 20;
/// Raw bytes kept of a row that could not be decoded.
pub(super) const RAW_KEPT: usize = 64 << 10;

/// Rows of one call, growing.
pub struct Chunk {
    schema: SchemaRef,
    columns: Vec<StringBuilder>,
    places: Vec<RowPlace>,
    raw: Vec<u8>,
    raw_ends: Vec<usize>,
    notes: Vec<(usize, String, &'static str)>,
    undecodable: Vec<Undecodable>,
    dropped: u64,
    gone: Vec<usize>,
    bytes: usize,
    max_rows: usize,
}

/// Room for as much as another chunk held, and a little more: chunks of one file are alike, and what need not grow is not
/// copied.
#[derive(Debug, Default)]
pub(super) struct Room {
    rows: usize,
    raw: usize,
    /// Bytes of each column.
    columns: Vec<usize>,
}

impl Room {
    /// As for this chunk.
    pub(super) fn like(chunk: &Decoded) -> Self {
        let more = |bytes: usize| bytes + bytes / 16;
        let columns = chunk.rows.columns().iter().map(|column| column.as_string::<i32>().value_data().len());
        Self { rows: chunk.places.len(), raw: more(chunk.raw.len()), columns: columns.map(more).collect() }
    }
}

/// The Arrow schema of wanted columns: nullable Utf8, in wanted order.
pub fn schema(wanted: &[Wanted]) -> SchemaRef {
    let field = |w: &Wanted| Field::new(&w.name, DataType::Utf8, true);
    Arc::new(Schema::new(wanted.iter().map(field).collect::<Vec<_>>()))
}

impl Chunk {
    /// An empty chunk that is full at `max_rows` rows of any kind.
    pub fn new(schema: SchemaRef, max_rows: usize) -> Self {
        Self::with_room(schema, max_rows, &Room::default())
    }

    /// The same with room for what is likely to come.
    pub(super) fn with_room(schema: SchemaRef, max_rows: usize, room: &Room) -> Self {
        let rows = room.rows.min(max_rows);
        let bytes = |column: usize| room.columns.get(column).copied().unwrap_or_default();
        let columns = (0..schema.fields().len()).map(|i| StringBuilder::with_capacity(rows, bytes(i))).collect();
        Self {
            schema,
            columns,
            places: Vec::with_capacity(rows),
            raw: Vec::with_capacity(room.raw),
            raw_ends: Vec::with_capacity(rows),
            notes: Vec::new(),
            undecodable: Vec::new(),
            dropped: 0,
            gone: Vec::new(),
            bytes: 0,
            max_rows: max_rows.max(1),
        }
    }

    /// The next cell of wanted column `column`. Every column gets exactly one per row before [`Chunk::end_row`].
    pub fn cell(&mut self, column: usize, text: Option<&str>) {
        let Some(text) = text.filter(|text| repair::may_need(text)) else {
            self.plain_cell(column, text);
            return;
        };
        let (repaired, notes) = repair::repair(text);
        let row = self.places.len();
        if let Some(field) = self.schema.fields().get(column) {
            self.notes.extend(notes.map(|code| (row, field.name().clone(), code)));
        }
        self.plain_cell(column, Some(&repaired));
    }

    /// As [`Chunk::cell`], of a text without private-use characters.
    pub(super) fn plain_cell(&mut self, column: usize, text: Option<&str>) {
        let Some(builder) = self.columns.get_mut(column) else { return };
        self.bytes += text.map_or(0, str::len);
        builder.append_option(text);
    }

    /// Completes a row.
    pub fn end_row(&mut self, place: RowPlace, raw: &[u8]) {
        self.bytes += raw.len();
        self.raw.extend_from_slice(raw);
        self.raw_ends.push(self.raw.len());
        self.places.push(place);
    }

    /// Sets a row aside. `raw` is cut to 64 KiB.
    pub fn set_aside(&mut self, place: RowPlace, raw: &[u8], code: &'static str, detail: String) {
        let raw = raw.get(..RAW_KEPT).unwrap_or(raw).to_vec();
        self.bytes += raw.len();
        self.undecodable.push(Undecodable { place, raw, code, detail });
    }

    /// Says that the row about to be completed is gone at the source.
    pub fn gone(&mut self) {
        self.gone.push(self.places.len());
    }

    /// Counts a row dropped by a layout rule.
    pub fn drop_row(&mut self) {
        self.dropped += 1;
    }

    /// Rows of all kinds so far.
    fn rows(&self) -> u64 {
        self.places.len() as u64 + self.undecodable.len() as u64 + self.dropped
    }

    /// Whether it should be handed over before another row is added.
    pub fn is_full(&self) -> bool {
        self.rows() >= self.max_rows as u64 || self.bytes >= CHUNK_BYTES
    }

    /// The finished chunk.
    pub fn finish(mut self, position: impl Into<Position>) -> Decoded {
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.places.len()));
        let rows = RecordBatch::try_new_with_options(self.schema, columns, &options)
            .expect("every column got one cell per completed row");
        Decoded {
            rows,
            places: self.places,
            raw: self.raw,
            raw_ends: self.raw_ends,
            notes: self.notes,
            undecodable: self.undecodable,
            dropped: self.dropped,
            gone: self.gone,
            members: None,
            position: position.into(),
        }
    }
}
