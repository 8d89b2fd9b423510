//! What is around a file's rows: archives, encodings, envelopes, taken off from the outside in.
//!
//! Decides: which file of an archive is meant, and what is too much. Where the definition says nothing, gzip and zip are
//! recognised by their first bytes. Must not know: formats, rows. Guarantees: nothing is unpacked to disk and no layer is
//! in memory as a whole (but the text of an envelope's element, or one encrypted to us, up to [`MOST_TEXT`]); every layer is read to its end
//! once before the first row is handed over, so that a file that is damaged, cut off, or a bomb is refused whole and its
//! length is known; resuming reads the layers again from their beginning and passes over what was taken.

mod entry;
mod sealed;
mod stream;

use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::{Array, AsArray};

use super::{DecodeError, Input, Limits, Memory, Wanted, broken, read_error};
use crate::config::{Encoding, Format, Layer};
use entry::Entry;
use stream::Packed;

/// A layer that unpacks more than this many times its size is a bomb, if it is also large.
const MOST_RATIO: u64 = 400;
/// What is large.
const LARGE: u64 = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Bytes that any layer may unpack to.
const MOST: u64 = 64 << 30;
/// Bytes of the text of an envelope's element.
const MOST_TEXT: usize = 64 << 20;

/// What is inside `layers`. Errors: `HL0310` not what a layer says, `HL0314` a bomb, `HL0317` damaged, `HL0319` no such
/// element, `HL0321` protected by a password, `HL0323` not exactly one such file, `HL0324` encrypted to another key.
pub(super) fn unpack(input: Arc<dyn Input>, layers: &[Layer], limits: Limits) -> Result<Arc<dyn Input>, DecodeError> {
    layers.iter().try_fold(input, |outer, layer| match layer {
        Layer::Zip(pattern) => weighed(Packed::Entry(Entry::find(&outer, pattern.as_deref())?), outer),
        Layer::Gzip => expect(&outer, &[&[0x1F, 0x8B]], "gzip").and_then(|()| weighed(Packed::Gzip, outer)),
        Layer::Zlib => weighed(Packed::Zlib, outer),
        Layer::Base64 => weighed(Packed::Base64, outer),
        Layer::Element(path) => element(outer, path, limits),
        Layer::Member(path) => sealed::member(&outer, path),
        Layer::Sm2(key) => sealed::opened(&outer, key.reveal()),
    })
}

/// What is inside an archive that the definition does not mention; the file itself when it is none.
pub(super) fn recognise(input: Arc<dyn Input>, format: &Format) -> Result<Arc<dyn Input>, DecodeError> {
    let head = head(&input)?;
    match head.as_slice() {
        [0x1F, 0x8B, 8, ..] => weighed(Packed::Gzip, input),
        // A workbook is a zip archive itself; what is no archive at all, the format refuses.
        [b'P', b'K', 3, 4, ..] if !matches!(format, Format::Excel { .. }) => match Entry::of_plain_archive(&input)? {
            Some(entry) => weighed(Packed::Entry(entry), input),
            None => Ok(input),
        },
        _ => Ok(input),
    }
}

fn head(input: &Arc<dyn Input>) -> Result<Vec<u8>, DecodeError> {
    let mut head = Vec::new();
    let failed = |e| read_error(input.as_ref(), e);
    input.read_from(0).map_err(failed)?.take(4).read_to_end(&mut head).map_err(failed)?;
    Ok(head)
}

fn expect(input: &Arc<dyn Input>, marks: &[&[u8]], what: &str) -> Result<(), DecodeError> {
    let head = head(input)?;
    if marks.iter().any(|mark| head.starts_with(mark)) {
        return Ok(());
    }
    Err(broken(input.as_ref(), "HL0310", format!("this is not {what}, as its definition says")))
}

/// Reads a layer to its end without keeping it.
fn weighed(how: Packed, outer: Arc<dyn Input>) -> Result<Arc<dyn Input>, DecodeError> {
    let mut layer = Unpacked { name: how.name(outer.name()), outer, how, len: 0 };
    let packed = layer.how.packed(layer.outer.as_ref());
    let mut stream = layer.read_from(0).map_err(|e| layer.failed(e))?;
    let mut buffer = vec![0u8; 256 << 10];
    let mut seen = 0u64;
    loop {
        let read = super::encoding::fill(stream.as_mut(), &mut buffer).map_err(|e| layer.failed(e))?;
        seen += read as u64;
        if seen > MOST || (seen > LARGE && seen / packed.max(1) > MOST_RATIO) {
            let message =
                format!("{packed} bytes would unpack to far more than a file holds ({seen} bytes and counting)");
            return Err(broken(&layer, "HL0314", message));
        }
        layer
            .how
            .check(buffer.get(..read).unwrap_or_default(), read < buffer.len(), seen)
            .map_err(|why| broken(&layer, "HL0317", why))?;
        if read < buffer.len() {
            break;
        }
    }
    layer.len = seen;
    Ok(Arc::new(layer))
}

/// One layer taken off.
struct Unpacked {
    outer: Arc<dyn Input>,
    how: Packed,
    name: String,
    len: u64,
}

impl Unpacked {
    /// A failed read is the outside's, or the layer's own.
    fn failed(&self, e: io::Error) -> DecodeError {
        match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                broken(self, "HL0317", format!("the {} is damaged or cut off", self.how.what()))
            }
            _ => read_error(self, e),
        }
    }
}

impl Input for Unpacked {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_from(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut stream = self.how.open(self.outer.as_ref())?;
        io::copy(&mut stream.by_ref().take(from), &mut io::sink())?;
        Ok(stream)
    }

    fn local_path(&self) -> Option<&std::path::Path> {
        None
    }

    fn beside(&self, extension: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.how {
            Packed::Entry(entry) => entry.beside(&self.outer, extension),
            _ => self.outer.beside(extension),
        }
    }
}

/// The text of the one element at `path`.
fn element(outer: Arc<dyn Input>, path: &str, limits: Limits) -> Result<Arc<dyn Input>, DecodeError> {
    let format = Format::Xml { record: path.to_owned(), each: None, encoding: Encoding::Auto };
    let wanted = [Wanted { name: "text".to_owned(), path: Some(".".to_owned()) }];
    let limits = Limits { row_bytes: MOST_TEXT, ..limits };
    let name = format!("{}!{path}", outer.name());
    let mut decoder = super::open_format(outer.clone(), &format, &wanted, limits, None)?;
    let mut text: Option<Vec<u8>> = None;
    while let Some(chunk) = decoder.next(2)? {
        if let Some(bad) = chunk.undecodable.first() {
            return Err(broken(outer.as_ref(), "HL0317", format!("element {path} cannot be read: {}", bad.detail)));
        }
        let cells = chunk.rows.column(0).as_string::<i32>();
        for i in 0..cells.len() {
            let cell = if cells.is_null(i) { "" } else { cells.value(i) };
            if text.replace(cell.as_bytes().to_vec()).is_some() {
                return Err(broken(outer.as_ref(), "HL0323", format!("there is more than one element {path}")));
            }
        }
    }
    match text {
        Some(text) => Ok(Arc::new(Memory::new(name, text))),
        None => Err(broken(outer.as_ref(), "HL0319", format!("there is no element {path}"))),
    }
}

#[cfg(test)]
pub(super) mod tests;
