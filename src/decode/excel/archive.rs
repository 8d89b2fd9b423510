//! What a zipped workbook (.xlsx, .ods) claims to hold and really holds, checked before a parser loads it.
//!
//! Declared sizes are compared with limits first, which costs nothing; then every part that will be parsed is inflated
//! once without keeping it, because declared sizes can lie. An XML parser holds one tag or text at a time, so the longest stretch
//! without markup is limited too.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::read::ZipFile;

use super::Kind;
use super::sheet::{Stop, failed};

/// A part that inflates more than this is a bomb, if it is also large.
const MOST_RATIO: u64 = 400;
/// What is large.
const LARGE: u64 = 64 << 20;
/// Parts that a parser loads whole (shared strings, styles).
const MOST_LOADED: u64 = 256 << 20;
/// Entries of an archive.
const MOST_ENTRIES: usize = 65_535;
/// Uncompressed bytes allowed per allowed cell.
const BYTES_PER_CELL: u64 = 64;
/// Shortest entry of the shared strings, `<si/>`: no table can have more entries than its size allows.
const SHORTEST_STRING: u64 = 5;

/// Which workbook an archive is.
pub(super) fn kind<R: Read + Seek>(bytes: &mut R) -> Result<Kind, Stop> {
    let archive = ZipArchive::new(&mut *bytes).map_err(|_| damaged())?;
    let has = |name: &str| archive.index_for_name(name).is_some();
    let kind = if has("xl/workbook.bin") {
        Err(failed("HL0310", "this is an .xlsb workbook; save it as .xlsx"))
    } else if has("content.xml") {
        Ok(Kind::Ods)
    } else if has("[Content_Types].xml") || has("_rels/.rels") {
        Ok(Kind::Xlsx)
    } else {
        Err(failed("HL0310", "this is an archive, not a workbook"))
    };
    drop(archive);
    bytes.rewind().map_err(|_| damaged())?;
    kind
}

/// A zip file that cannot be taken apart.
pub(super) fn damaged() -> Stop {
    failed("HL0317", "the workbook is damaged or cut off")
}

fn bomb(what: &str) -> Stop {
    failed("HL0314", format!("the workbook would unpack to far more than a workbook holds ({what})"))
}

/// Checks every part against the limits. `max_cells` and `longest` (bytes without markup) come from the definition.
pub(super) fn check<R: Read + Seek>(bytes: &mut R, max_cells: u64, longest: usize) -> Result<(), Stop> {
    let mut archive = ZipArchive::new(&mut *bytes).map_err(|_| damaged())?;
    if archive.len() > MOST_ENTRIES {
        return Err(bomb("too many parts"));
    }
    let mut left = max_cells.saturating_mul(BYTES_PER_CELL).saturating_add(MOST_LOADED);
    for index in 0..archive.len() {
        let part = archive.by_index_raw(index).map_err(|_| damaged())?;
        let (size, packed) = (part.size(), part.compressed_size());
        if size > LARGE && size / packed.max(1) > MOST_RATIO {
            return Err(bomb("one part shrinks more than 400 times"));
        }
        let loaded = part.name().is_ok_and(|name| !is_streamed(&name));
        if loaded && size > MOST_LOADED {
            return Err(bomb("one table is over 256 MiB"));
        }
        left = left.checked_sub(size).ok_or_else(|| bomb("all parts together"))?;
    }
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(|e| unreadable(&e))?;
        if part.name().is_ok_and(|name| name.ends_with(".xml") || name.ends_with(".rels")) {
            inflate(part, longest)?;
        }
    }
    drop(archive);
    bytes.rewind().map_err(|_| damaged())
}

fn unreadable(e: &zip::result::ZipError) -> Stop {
    match e {
        zip::result::ZipError::UnsupportedArchive(_) | zip::result::ZipError::InvalidPassword => {
            failed("HL0321", "the workbook is protected by a password, or packed in a way that no office program uses")
        }
        _ => damaged(),
    }
}

/// Sheets, which are read cell by cell.
fn is_streamed(name: &str) -> bool {
    name.contains("worksheets/") || name == "content.xml" || name.contains("media/")
}

/// Reads a part to its end: as long as declared, with markup often enough, and with a believable string count.
fn inflate<R: Read + Seek>(mut part: ZipFile<'_, R>, longest: usize) -> Result<(), Stop> {
    let declared = part.size();
    let strings = part.name().is_ok_and(|name| name.ends_with("sharedStrings.xml"));
    let mut buffer = vec![0u8; 64 << 10];
    let (mut seen, mut since_markup) = (0u64, 0usize);
    loop {
        let read = crate::decode::encoding::fill(&mut part, &mut buffer).map_err(|_| damaged())?;
        let block = buffer.get(..read).unwrap_or_default();
        if seen == 0 && strings {
            check_string_count(block, declared)?;
        }
        seen += read as u64;
        if seen > declared {
            return Err(bomb("a part is larger than it declares"));
        }
        match (memchr::memchr(b'>', block), memchr::memrchr(b'>', block)) {
            (Some(first), Some(last)) if since_markup + first <= longest => since_markup = block.len() - last,
            (None, _) if since_markup + read <= longest => since_markup += read,
            _ => return Err(bomb("one text is larger than a row may be")),
        }
        if read < buffer.len() {
            return Ok(());
        }
    }
}

/// The table of shared strings announces how many it has, and the parser believes it.
fn check_string_count(head: &[u8], size: u64) -> Result<(), Stop> {
    const NAME: &[u8] = b"uniqueCount";
    let mut rest = head;
    while let Some(at) = memchr::memmem::find(rest, NAME) {
        rest = rest.get(at + NAME.len()..).unwrap_or_default();
        let digits = rest.iter().skip_while(|b| !b.is_ascii_digit() && **b != b'>').take_while(|b| b.is_ascii_digit());
        let count = digits.fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')));
        if count > size / SHORTEST_STRING + 1 {
            return Err(bomb("more strings announced than there is room for"));
        }
    }
    Ok(())
}
