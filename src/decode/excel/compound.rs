//! The container of .xls files (MS-CFB), as far as needed to see that it is sound.
//!
//! The workbook parser follows sector chains without looking for circles. Here every chain it would follow is walked first
//! with a limit, so that it cannot run for ever or without bound.

use std::borrow::Cow;

/// Where a chain ends (MS-CFB §2.1).
const END_OF_CHAIN: u32 = 0xFFFF_FFFE;
/// Sector numbers from here on have other meanings.
const SPECIAL: u32 = 0xFFFF_FFFA;
/// Streams below this size lie in the small sectors.
const SMALL: u64 = 4096;

/// A container whose chains all end.
pub(super) struct Compound<'f> {
    sectors: Sectors<'f>,
    fat: Vec<u32>,
    small: Vec<u8>,
    small_fat: Vec<u32>,
    directory: Vec<Entry>,
}

struct Entry {
    name: String,
    start: u32,
    len: u64,
}

#[derive(Clone, Copy)]
struct Sectors<'f> {
    bytes: &'f [u8],
    size: usize,
}

impl<'f> Sectors<'f> {
    fn get(self, id: u32) -> Option<&'f [u8]> {
        let start = (id as usize).checked_mul(self.size)?;
        let end = start.saturating_add(self.size).min(self.bytes.len());
        self.bytes.get(start..end).filter(|s| !s.is_empty())
    }

    /// The bytes of a chain, at most `len`; `None` when it leaves the file or never ends.
    fn chain(self, start: u32, fat: &[u32], len: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut id = start;
        for _ in 0..=fat.len() {
            if id == END_OF_CHAIN {
                break;
            }
            bytes.extend_from_slice(self.get(id)?);
            if bytes.len() as u64 >= len {
                break;
            }
            id = *fat.get(id as usize)?;
        }
        let done = id == END_OF_CHAIN || bytes.len() as u64 >= len;
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        done.then_some(bytes)
    }
}

impl<'f> Compound<'f> {
    /// Reads the tables; `None` when they are damaged.
    pub(super) fn open(file: &'f [u8]) -> Option<Self> {
        let size = match u16_at(file, 30)? {
            9 => 512,
            12 => 4096,
            _ => return None,
        };
        let sectors = Sectors { bytes: file.get(size..)?, size };
        let fat = fat(file, sectors)?;
        let directory = sectors.chain(u32_at(file, 48)?, &fat, u64::MAX)?;
        let directory: Vec<Entry> = directory.chunks_exact(128).filter_map(|e| entry(e, size)).collect();
        let root = directory.first()?;
        let small_count = u32_at(file, 64)?;
        let (small, small_fat) = if small_count > 0 {
            let table = sectors.chain(u32_at(file, 60)?, &fat, u64::from(small_count) * size as u64)?;
            (sectors.chain(root.start, &fat, root.len)?, numbers(&table))
        } else {
            (Vec::new(), Vec::new())
        };
        Some(Self { sectors, fat, small, small_fat, directory })
    }

    /// Whether there is a stream or storage of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.directory.iter().find(|e| e.name.eq_ignore_ascii_case(name))
    }

    /// The bytes of a stream; `None` when its chain is damaged.
    pub(super) fn stream(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let entry = self.find(name)?;
        let bytes = if entry.len < SMALL {
            Sectors { bytes: &self.small, size: 64 }.chain(entry.start, &self.small_fat, entry.len)?
        } else {
            self.sectors.chain(entry.start, &self.fat, entry.len)?
        };
        Some(bytes.into())
    }
}

/// The table of chains, from the 109 sectors the header lists and the chain of further lists.
fn fat(file: &[u8], sectors: Sectors<'_>) -> Option<Vec<u32>> {
    let mut lists = numbers(file.get(76..512)?);
    let mut next = u32_at(file, 68)?;
    let limit = sectors.bytes.len() / sectors.size + 1;
    for _ in 0..=limit {
        if next >= SPECIAL {
            break;
        }
        lists.extend(numbers(sectors.get(next)?));
        next = lists.pop()?;
    }
    let mut table = Vec::new();
    for id in lists.into_iter().filter(|id| *id < SPECIAL) {
        table.extend(numbers(sectors.get(id)?));
        if table.len() > (limit + 1) * sectors.size {
            return None;
        }
    }
    (next >= SPECIAL).then_some(table)
}

fn entry(bytes: &[u8], sector: usize) -> Option<Entry> {
    let units: Vec<u16> =
        bytes.get(..64)?.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]])).take_while(|u| *u != 0).collect();
    let low = u64::from(u32_at(bytes, 120)?);
    let high = if sector == 512 { 0 } else { u64::from(u32_at(bytes, 124)?) };
    Some(Entry { name: String::from_utf16_lossy(&units), start: u32_at(bytes, 116)?, len: low | high << 32 })
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]])).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
