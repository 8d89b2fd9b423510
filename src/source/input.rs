//! The bytes of one listed file, as decoders read them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::copies;
use super::place::Place;
use crate::decode::{BESIDE, Input};

/// One file below a files source.
pub(super) struct FileInput {
    pub(super) place: Arc<dyn Place>,
    pub(super) path: String,
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Where it lies on this machine, if it does.
    pub(super) local: Option<PathBuf>,
    /// The same bytes, fetched before.
    pub(super) copy: Option<Arc<File>>,
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
        if let Some(copy) = &self.copy {
            return Ok(copies::reading(Arc::clone(copy), from, self.bytes));
        }
        let _entered = self.runtime.enter();
        self.place.read(&self.path, from, self.bytes)
    }

    fn local_path(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    fn beside(&self, extension: &str) -> io::Result<Option<Vec<u8>>> {
        let _entered = self.runtime.enter();
        let (directory, name) = self.path.rsplit_once('/').map_or(("", self.path.as_str()), |(d, n)| (d, n));
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let wanted = format!("{stem}.{extension}");
        let entries = self.runtime.block_on(self.place.list(directory)).map_err(io::Error::other)?;
        let Some(entry) = entries.iter().find(|e| !e.directory && e.name.eq_ignore_ascii_case(&wanted)) else {
            return Ok(None);
        };
        let path = if directory.is_empty() { entry.name.clone() } else { format!("{directory}/{}", entry.name) };
        let look = self.runtime.block_on(self.place.look(&path)).map_err(io::Error::other)?;
        let Some(look) = look else { return Ok(None) };
        let mut bytes = Vec::new();
        self.place.read(&path, 0, look.bytes.min(BESIDE))?.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
