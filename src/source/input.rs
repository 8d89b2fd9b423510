//! The bytes of one listed file, as decoders read them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use opendal::Operator;
use tokio::runtime::Handle;

use crate::decode::Input;

/// Bytes fetched at a time from a place that is not a local file.
const FETCH: u64 = 4 << 20;

/// One file below a files source.
pub(super) struct FileInput {
    pub(super) operator: Operator,
    pub(super) path: String,
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Where it lies on this machine, if it does.
    pub(super) local: Option<PathBuf>,
    pub(super) runtime: Handle,
}

impl Input for FileInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_from(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        if let Some(path) = &self.local {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            return Ok(Box::new(BufReader::with_capacity(1 << 20, file.take(self.bytes.saturating_sub(from)))));
        }
        let fetched = Fetched {
            operator: self.operator.clone(),
            path: self.path.clone(),
            next: from,
            end: self.bytes,
            buffer: io::Cursor::new(Vec::new()),
            runtime: self.runtime.clone(),
        };
        Ok(Box::new(fetched))
    }

    fn local_path(&self) -> Option<&Path> {
        self.local.as_deref()
    }
}

/// Ranges of a remote file, one after the other. Read from blocking threads only.
struct Fetched {
    operator: Operator,
    path: String,
    next: u64,
    end: u64,
    buffer: io::Cursor<Vec<u8>>,
    runtime: Handle,
}

impl Read for Fetched {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.buffer.read(out)?;
            if read > 0 || out.is_empty() || self.next >= self.end {
                return Ok(read);
            }
            let to = self.end.min(self.next + FETCH);
            let range = self.operator.read_with(&self.path).range(self.next..to);
            let bytes = self.runtime.block_on(async move { range.await }).map_err(io::Error::other)?.to_vec();
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.next += bytes.len() as u64;
            self.buffer = io::Cursor::new(bytes);
        }
    }
}
