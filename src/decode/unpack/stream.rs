//! The ways bytes are packed, as streams.

use std::io::{self, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::super::Input;
use super::entry::{Entry, Method};

/// One way.
pub(super) enum Packed {
    /// gzip, also several members in a row.
    Gzip,
    /// zlib.
    Zlib,
    /// Base64.
    Base64,
    /// A file in a zip archive.
    Entry(Entry),
}

impl Packed {
    /// What it is called in messages.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Gzip => "gzip file",
            Self::Zlib => "zlib data",
            Self::Base64 => "Base64 text",
            Self::Entry(_) => "archive",
        }
    }

    /// The name of what is inside `outer`.
    pub(super) fn name(&self, outer: &str) -> String {
        match self {
            Self::Entry(entry) => format!("{outer}!{}", entry.name),
            _ => outer.to_owned(),
        }
    }

    /// Bytes that the layer is made of.
    pub(super) fn packed(&self, outer: &dyn Input) -> u64 {
        match self {
            Self::Entry(entry) => entry.packed,
            _ => outer.len(),
        }
    }

    /// From the beginning.
    pub(super) fn open(&self, outer: &dyn Input) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(outer.read_from(0)?)),
            Self::Zlib => Box::new(ZlibDecoder::new(outer.read_from(0)?)),
            Self::Base64 => Box::new(Base64::new(outer.read_from(0)?)),
            Self::Entry(entry) => {
                let packed = outer.read_from(entry.start)?.take(entry.packed);
                match entry.method {
                    Method::Stored => Box::new(packed),
                    Method::Deflated => Box::new(DeflateDecoder::new(packed)),
                }
            }
        })
    }

    /// Looks at the next bytes of what is inside, `seen` in all; the error says what is wrong.
    pub(super) fn check(&mut self, block: &[u8], last: bool, seen: u64) -> Result<(), &'static str> {
        match self {
            Self::Entry(entry) => entry.check(block, last, seen),
            _ => Ok(()),
        }
    }
}

/// Base64 with line breaks and blanks anywhere. Characters of neither are an error.
struct Base64<R> {
    from: BufReader<R>,
    ready: io::Cursor<Vec<u8>>,
    /// Characters that are not yet a whole group of four.
    rest: Vec<u8>,
    ended: bool,
}

impl<R: Read> Base64<R> {
    fn new(from: R) -> Self {
        Self {
            from: BufReader::with_capacity(64 << 10, from),
            ready: io::Cursor::new(Vec::new()),
            rest: Vec::new(),
            ended: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        let mut block = vec![0u8; 48 << 10];
        let read = super::super::encoding::fill(&mut self.from, &mut block)?;
        self.ended = read < block.len();
        self.rest.extend(block.iter().take(read).filter(|b| !b.is_ascii_whitespace() && **b != 0));
        let whole = if self.ended { self.rest.len() } else { self.rest.len() / 4 * 4 };
        // Padding may stand only at the end; senders also leave it out there.
        let later = self.rest.split_off(whole);
        let group = std::mem::replace(&mut self.rest, later);
        let padded = group.len().next_multiple_of(4);
        let mut group = group;
        if self.ended && group.len() % 4 > 1 {
            group.resize(padded, b'=');
        }
        let bytes = STANDARD.decode(&group).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        self.ready = io::Cursor::new(bytes);
        Ok(())
    }
}

impl<R: Read> Read for Base64<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.ready.read(out)?;
            if read > 0 || out.is_empty() || self.ended {
                return Ok(read);
            }
            self.refill()?;
        }
    }
}
