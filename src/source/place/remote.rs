//! A file of a server, read as it comes.

use std::io::{self, Read};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::Handle as Runtime;

use super::ANSWER;

/// Bytes handed over at a time.
const BLOCK: usize = 1 << 20;

/// Ends where the listed file ended; ending before is an error.
pub(super) struct Remote<F, C> {
    file: Option<F>,
    /// Open as long as the file is read.
    _connection: C,
    left: u64,
    runtime: Runtime,
}

impl<F: AsyncRead + Unpin + Send + 'static, C: Send + 'static> Remote<F, C> {
    /// So many bytes of a file, from where it stands, for a thread that may block.
    pub(super) fn reading(file: F, connection: C, bytes: u64, runtime: Runtime) -> Box<dyn Read + Send> {
        let remote = Self { file: Some(file), _connection: connection, left: bytes, runtime };
        Box::new(io::BufReader::with_capacity(BLOCK, remote))
    }
}

impl<F: AsyncRead + Unpin, C> Read for Remote<F, C> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(out) = out.get_mut(..most).filter(|out| !out.is_empty()) else { return Ok(0) };
        let Some(file) = &mut self.file else { return Ok(0) };
        let read = self.runtime.block_on(async {
            let answer = tokio::time::timeout(ANSWER, file.read(out)).await;
            answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })?;
        if read == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

impl<F, C> Drop for Remote<F, C> {
    fn drop(&mut self) {
        // Closing may say so to the server, which needs a runtime, wherever this is dropped.
        let _entered = self.runtime.enter();
        self.file = None;
    }
}
