//! What the decoders' tests share.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray};

use super::{Decode, DecodeError, Decoded, Input, Limits, Memory, Resume, Wanted, open};
use crate::config::Format;

/// A file of the shared test data as an input that has a local path.
pub(super) fn shared_input(path: &str) -> Option<Arc<dyn Input>> {
    let path = crate::testing::shared(path)?;
    Some(Arc::new(Local { name: path.to_string_lossy().into_owned(), path }))
}

struct Local {
    name: String,
    path: PathBuf,
}

impl Input for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        std::fs::metadata(&self.path).unwrap().len()
    }

    fn read_from(&self, from: u64) -> std::io::Result<Box<dyn std::io::Read + Send>> {
        use std::io::Seek;
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(std::io::SeekFrom::Start(from))?;
        Ok(Box::new(file))
    }

    fn local_path(&self) -> Option<&std::path::Path> {
        Some(&self.path)
    }

    fn beside(&self, extension: &str) -> std::io::Result<Option<Vec<u8>>> {
        Ok(std::fs::read(self.path.with_extension(extension)).ok())
    }
}

/// A file in memory.
pub(super) fn memory(bytes: impl AsRef<[u8]>) -> Arc<dyn Input> {
    Arc::new(Memory::new("a", bytes.as_ref().to_vec()))
}

/// GB 18030 bytes of `text`.
pub(super) fn gbk(text: &str) -> Vec<u8> {
    encoding_rs::GB18030.encode(text).0.into_owned()
}

/// Wanted columns; `name=path` gives a path.
pub(super) fn wanted(names: &[&str]) -> Vec<Wanted> {
    let one = |n: &&str| match n.split_once('=') {
        Some((name, path)) => Wanted { name: name.into(), path: Some(path.into()) },
        None => Wanted::named(*n),
    };
    names.iter().map(one).collect()
}

/// Everything a decoder gave, flat.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct All {
    /// Cells; `␀` for null.
    pub(super) rows: Vec<Vec<String>>,
    /// `row:line:byte` of every row.
    pub(super) places: Vec<String>,
    /// Raw bytes of every row.
    pub(super) raw: Vec<Vec<u8>>,
    /// `row:line:byte code detail` of every row set aside.
    pub(super) aside: Vec<String>,
    /// Raw bytes of every row set aside.
    pub(super) aside_raw: Vec<Vec<u8>>,
    /// Dropped rows.
    pub(super) dropped: u64,
    /// Notes, as `row column code`, rows counted over all chunks.
    pub(super) notes: Vec<String>,
    /// Code and text of the error at the end, if any.
    pub(super) error: Option<String>,
}

impl All {
    /// Adds one chunk.
    pub(super) fn add(&mut self, chunk: &Decoded) {
        let before = self.rows.len();
        for i in 0..chunk.rows.num_rows() {
            let cell = |c: &Arc<dyn Array>| {
                let c = c.as_string::<i32>();
                if c.is_null(i) { "␀".to_owned() } else { c.value(i).to_owned() }
            };
            self.rows.push(chunk.rows.columns().iter().map(cell).collect());
            self.raw.push(chunk.raw_row(i).to_vec());
        }
        let place = |p: &super::RowPlace| format!("{}:{}:{}", p.row, p.line, p.byte);
        self.places.extend(chunk.places.iter().map(place));
        for u in &chunk.undecodable {
            self.aside.push(format!("{} {} {}", place(&u.place), u.code, u.detail));
            self.aside_raw.push(u.raw.clone());
        }
        self.dropped += chunk.dropped;
        self.notes.extend(chunk.notes.iter().map(|(row, column, code)| format!("{} {column} {code}", before + row)));
    }

    /// The rows as lines, cells joined with `|`.
    pub(super) fn lines(&self) -> Vec<String> {
        self.rows.iter().map(|r| r.join("|")).collect()
    }
}

/// Reads a decoder to its end, `max_rows` at a time.
pub(super) fn drain(decoder: &mut dyn Decode, max_rows: usize) -> All {
    let mut all = All::default();
    loop {
        match decoder.next(max_rows) {
            Ok(Some(chunk)) => all.add(&chunk),
            Ok(None) => return all,
            Err(e) => {
                all.error = Some(error_text(&e));
                return all;
            }
        }
    }
}

/// `HL0317 message`.
pub(super) fn error_text(e: &DecodeError) -> String {
    match e {
        DecodeError::Io { source, .. } => format!("io {source}"),
        DecodeError::Broken { code, message, .. } => format!("{code} {message}"),
    }
}

/// Opens and reads everything; an error on opening is the error.
pub(super) fn read(input: &Arc<dyn Input>, format: &Format, names: &[&str], limits: Limits) -> All {
    match open(input.clone(), format, &wanted(names), limits, None) {
        Ok(mut decoder) => drain(decoder.as_mut(), 7),
        Err(e) => All { error: Some(error_text(&e)), ..All::default() },
    }
}

/// Stops after every row and resumes with a new decoder: what comes out must be what came out in one go.
pub(super) fn resume_everywhere(input: &Arc<dyn Input>, format: &Format, names: &[&str], limits: Limits) {
    let whole = read(input, format, names, limits);
    let mut pieces = All::default();
    let mut resume: Option<Resume> = None;
    loop {
        let mut decoder = open(input.clone(), format, &wanted(names), limits, resume).unwrap();
        match decoder.next(1) {
            Ok(Some(chunk)) => {
                pieces.add(&chunk);
                resume = Some(chunk.position.resume);
            }
            Ok(None) => break,
            Err(e) => {
                pieces.error = Some(error_text(&e));
                break;
            }
        }
    }
    assert_eq!(pieces, whole);
}
