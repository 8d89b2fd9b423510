//! A secret that stands in memory, and in no message.

use std::fmt;

/// A password, or a key as text. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// This one.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// For whoever opens something with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
