//! A file that is already in memory: examples of mapping cases, tests, small answers of services.

use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use super::Input;

/// Bytes with a name.
#[derive(Debug, Clone)]
pub struct Memory {
    name: String,
    bytes: Arc<[u8]>,
    /// Small files beside it, by extension.
    beside: Vec<(String, Vec<u8>)>,
}

impl Memory {
    /// The file `name` with these bytes.
    pub fn new(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { name: name.into(), bytes: bytes.into(), beside: Vec::new() }
    }

    /// The same with a small file of this extension beside it.
    #[must_use]
    pub fn with(mut self, extension: &str, bytes: Vec<u8>) -> Self {
        self.beside.push((extension.to_owned(), bytes));
        self
    }
}

impl Input for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_from(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut cursor = Cursor::new(Arc::clone(&self.bytes));
        cursor.set_position(from);
        Ok(Box::new(cursor))
    }

    fn local_path(&self) -> Option<&Path> {
        None
    }

    fn beside(&self, extension: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.beside.iter().find(|(own, _)| own == extension).map(|(_, bytes)| bytes.clone()))
    }
}
