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
}

impl Memory {
    /// The file `name` with these bytes.
    pub fn new(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
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
}
