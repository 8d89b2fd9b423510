//! How the bytes of a dataset's files become rows, as its connector says.

use super::{Password, Template};

/// How bytes become rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Delimited text.
    Csv {
        /// Character encoding.
        encoding: Encoding,
        /// Field separator, one byte; default `,`.
        delimiter: u8,
        /// Quote byte; `None` turns quoting off.
        quote: Option<u8>,
        /// Whether the first row (after `skip`) names the columns; otherwise contract order.
        header: bool,
        /// Physical lines before the header.
        skip: u32,
        /// Rows with fewer or more cells than the header: accepted (missing are null) or undecodable.
        ragged: bool,
    },
    /// .xlsx, .xls, .ods — by content, not by name.
    Excel {
        /// Sheet name; default the first visible sheet.
        sheet: Option<String>,
        /// Row (from 1) that names the columns.
        header_row: u32,
        /// Body rows that repeat the header are dropped (counted as filtered by the decoder).
        repeated_header: bool,
        /// Cells a workbook may declare or hold.
        max_cells: u64,
        /// What else is not a row.
        report: Report,
    },
    /// One record per element at `record`.
    Xml {
        /// Path of the record element from the root, local names: `ExchangeMessage/Body/fields`.
        record: String,
        /// Path below the record, of what has a row of its own with the rest of the record beside it: a bill's details.
        each: Option<String>,
        /// `auto` follows the declaration, then BOM, UTF-8, GB18030.
        encoding: Encoding,
    },
    /// A JSON document with an array of records.
    Json {
        /// Path to the array, dot-separated; `None` when the document is the array.
        records: Option<String>,
    },
    /// One JSON object per line.
    Ndjson,
    /// Text with separators of any length, an opening and a closing record (reconciliation files).
    Separated {
        /// Character encoding.
        encoding: Encoding,
        /// Between cells: `|||`.
        fields: String,
        /// Between rows: `###`; `None` is the end of a line.
        rows: Option<String>,
        /// The first row names the columns; otherwise contract order.
        header: bool,
        /// Rows may have another number of cells.
        ragged: bool,
        /// What stands before the rows. Its `{rows}` and `{bytes}` are held against the file.
        head: Option<Template>,
        /// The record that closes the file; without it the file is cut off.
        tail: Option<Template>,
    },
    /// Columns of a fixed number of bytes, in contract order.
    Fixed {
        /// Character encoding.
        encoding: Encoding,
        /// Bytes of every column.
        widths: Vec<u32>,
        /// Lines before the first row.
        skip: u32,
        /// Rows end with a line end; otherwise one follows the other.
        line_ends: bool,
        /// Rows may end early: what is missing is null.
        ragged: bool,
    },
    /// dBASE III, IV and FoxPro tables.
    Dbf {
        /// `auto` follows the .cpg beside the file, then the language driver, then UTF-8, GB 18030.
        encoding: Encoding,
    },
    /// Frames of HJ 212, one row per factor.
    Hj212,
    /// A file with one electronic seal, one row.
    Eseal,
    /// One of the others inside archives, encodings and envelopes, from the outside in.
    Packed {
        /// What is around it.
        layers: Vec<Layer>,
        /// What is inside.
        inner: Box<Format>,
    },
}

/// What a report drawn up for people has around its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many rows, from the header row, name the columns together (merged cells).
    pub header_rows: u32,
    /// Between the parts of a name that comes from several rows.
    pub header_join: String,
    /// The row after the header holds units and is dropped.
    pub unit_row: bool,
    /// Rows whose first cell matches one of these patterns are dropped: 合计, 小计*. Blanks in the cell do not count.
    pub totals: Vec<String>,
}

impl Default for Report {
    fn default() -> Self {
        Self { header_rows: 1, header_join: "_".to_owned(), unit_row: false, totals: Vec::new() }
    }
}

/// One thing around a file's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// A zip archive; of several files in it, the one that matches the pattern.
    Zip(Option<String>),
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950).
    Zlib,
    /// Base64 (RFC 4648), line breaks allowed.
    Base64,
    /// The text of one element of an XML envelope, by its path from the root.
    Element(String),
    /// The text of one member of a JSON document, by its path, dot-separated.
    Member(String),
    /// SM2 ciphertext (国密; GB/T 32918.4), in hexadecimal or as bytes, for this private key.
    Sm2(Password),
}

impl Format {
    /// The same without what is around it.
    pub fn unpacked(&self) -> &Self {
        match self {
            Self::Packed { inner, .. } => inner.unpacked(),
            other => other,
        }
    }

    /// Whether cells have paths inside a record.
    pub fn has_paths(&self) -> bool {
        matches!(
            self.unpacked(),
            Self::Xml { .. } | Self::Json { .. } | Self::Ndjson | Self::Hj212 | Self::Eseal | Self::Separated { .. }
        )
    }
}

/// Character encoding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// BOM, then strict UTF-8, then GB18030.
    Auto,
    /// Strict UTF-8 (a BOM is allowed).
    Utf8,
    /// GB 18030 (a superset of GBK and GB 2312).
    Gb18030,
}
