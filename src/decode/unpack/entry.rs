//! Files in zip archives (APPNOTE.TXT 6.3.10): found by the central directory, inflated from their place.
//!
//! Names are UTF-8, or GBK where an old Chinese program wrote them without saying so.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use zip::CompressionMethod;
use zip::ZipArchive;
use zip::result::ZipError;

use super::super::encoding::Charset;
use super::super::{BESIDE, DecodeError, Input, broken, read_error};
use crate::config::matches;

/// Bytes read at a time while the directory is looked for.
const BLOCK: usize = 64 << 10;

/// A file in an archive.
pub(super) struct Entry {
    /// Its name in the archive.
    pub(super) name: String,
    /// Where its bytes begin.
    pub(super) start: u64,
    /// How many there are.
    pub(super) packed: u64,
    /// How they are packed.
    pub(super) method: Method,
    size: u64,
    crc: u32,
    computed: crc32fast::Hasher,
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

trait Bytes: Read + Seek + Send {}
impl<T: Read + Seek + Send> Bytes for T {}

impl Entry {
    /// The one file of an archive that matches `pattern`, or the one file there is.
    pub(super) fn find(input: &Arc<dyn Input>, pattern: Option<&str>) -> Result<Self, DecodeError> {
        let mut archive = archive(input)?.map_err(|e| refused(input, &e))?;
        let names = names(&mut archive);
        let matching = |name: &str| match pattern {
            Some(pattern) => matches(pattern, name) || name.rsplit('/').next().is_some_and(|n| matches(pattern, n)),
            None => true,
        };
        let found: Vec<&(usize, String)> = names.iter().filter(|(_, name)| matching(name)).collect();
        match found.as_slice() {
            [(index, name)] => Self::at(input, &mut archive, *index, name),
            several => {
                let which = pattern.map_or_else(String::new, |pattern| format!(" that match {pattern:?}"));
                let message = format!("the archive holds {} files{which}, it should be one", several.len());
                Err(broken(input.as_ref(), "HL0323", message))
            }
        }
    }

    /// The one file of an archive that is not a workbook; `None` for what is no archive or a workbook.
    pub(super) fn of_plain_archive(input: &Arc<dyn Input>) -> Result<Option<Self>, DecodeError> {
        let Ok(mut archive) = archive(input)? else { return Ok(None) };
        let names = names(&mut archive);
        if names.iter().any(|(_, name)| matches!(name.as_str(), "[Content_Types].xml" | "_rels/.rels" | "content.xml"))
        {
            return Ok(None);
        }
        Self::find(input, None).map(Some)
    }

    fn at(
        input: &Arc<dyn Input>,
        archive: &mut ZipArchive<Box<dyn Bytes>>,
        index: usize,
        name: &str,
    ) -> Result<Self, DecodeError> {
        let file = archive.by_index_raw(index).map_err(|e| refused(input, &e))?;
        let refuse = |code, message: &str| Err(broken(input.as_ref(), code, message));
        if file.encrypted() {
            return refuse("HL0321", "the archive is protected by a password");
        }
        let method = match file.compression() {
            CompressionMethod::Stored => Method::Stored,
            CompressionMethod::Deflated => Method::Deflated,
            _ => return refuse("HL0310", "the archive is packed in another way than store or deflate"),
        };
        let Some(start) = file.data_start() else { return refuse("HL0317", "the archive is damaged or cut off") };
        Ok(Self {
            name: name.to_owned(),
            start,
            packed: file.compressed_size(),
            method,
            size: file.size(),
            crc: file.crc32(),
            computed: crc32fast::Hasher::new(),
        })
    }

    /// Looks at the next bytes; at the end, length and checksum must be those of the directory.
    pub(super) fn check(&mut self, block: &[u8], last: bool, seen: u64) -> Result<(), &'static str> {
        self.computed.update(block);
        if seen > self.size {
            return Err("a file in the archive is longer than the archive says");
        }
        if last && (seen != self.size || self.computed.clone().finalize() != self.crc) {
            return Err("a file in the archive is damaged: its length or checksum is not what the archive says");
        }
        Ok(())
    }

    /// The small file in the same archive with this one's name and another extension.
    pub(super) fn beside(&self, input: &Arc<dyn Input>, extension: &str) -> io::Result<Option<Vec<u8>>> {
        let mut archive = ZipArchive::new(bytes(input)?).map_err(io::Error::other)?;
        let stem = self.name.rsplit_once('.').map_or(self.name.as_str(), |(stem, _)| stem);
        let wanted = format!("{stem}.{extension}");
        let found = names(&mut archive).into_iter().find(|(_, name)| name.eq_ignore_ascii_case(&wanted));
        let Some((index, _)) = found else { return Ok(None) };
        let file = archive.by_index(index).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        file.take(BESIDE).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// The archive, or why it is none; reading may fail too.
fn archive(input: &Arc<dyn Input>) -> Result<Result<ZipArchive<Box<dyn Bytes>>, ZipError>, DecodeError> {
    let opened = ZipArchive::new(bytes(input).map_err(|e| read_error(input.as_ref(), e))?);
    match opened {
        Err(ZipError::Io(e)) if e.kind() != io::ErrorKind::UnexpectedEof && e.kind() != io::ErrorKind::InvalidInput => {
            Err(read_error(input.as_ref(), e))
        }
        opened => Ok(opened),
    }
}

fn bytes(input: &Arc<dyn Input>) -> io::Result<Box<dyn Bytes>> {
    Ok(match input.local_path() {
        Some(path) => Box::new(BufReader::new(File::open(path)?)),
        None => Box::new(Anywhere { input: Arc::clone(input), at: 0, block: Vec::new(), block_at: 0 }),
    })
}

fn refused(input: &Arc<dyn Input>, e: &ZipError) -> DecodeError {
    match e {
        ZipError::InvalidPassword => broken(input.as_ref(), "HL0321", "the archive is protected by a password"),
        _ => broken(input.as_ref(), "HL0317", "this is no zip archive, or it is damaged or cut off"),
    }
}

/// Index and name of every file; what programs put beside them does not count.
fn names(archive: &mut ZipArchive<Box<dyn Bytes>>) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for index in 0..archive.len() {
        let Ok(file) = archive.by_index_raw(index) else { continue };
        let raw = file.name_raw();
        let name = Charset::Utf8.strict(raw).or_else(|| Charset::Gb18030.strict(raw));
        let name = name.unwrap_or_else(|| String::from_utf8_lossy(raw)).replace('\\', "/");
        if file.is_file() && !name.starts_with("__MACOSX/") && !name.ends_with("/.DS_Store") {
            all.push((index, name));
        }
    }
    all
}

/// Reads an input at any place, a block at a time.
struct Anywhere {
    input: Arc<dyn Input>,
    at: u64,
    block: Vec<u8>,
    block_at: u64,
}

impl Read for Anywhere {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let within = self.at.checked_sub(self.block_at).and_then(|i| usize::try_from(i).ok());
        if within.is_none_or(|i| i >= self.block.len()) {
            self.block.clear();
            self.block_at = self.at;
            if self.at < self.input.len() {
                self.input.read_from(self.at)?.take(BLOCK as u64).read_to_end(&mut self.block)?;
            }
        }
        let from = usize::try_from(self.at - self.block_at).unwrap_or(usize::MAX);
        let mut rest = self.block.get(from..).unwrap_or_default();
        let read = rest.read(out)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Anywhere {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.input.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
