//! What can go wrong between us and a department's system.

use std::io;

use crate::error::Disposition;

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The place is not there: a wrong path or an unmounted share.
    #[error("HL0301 there is no directory {root}")]
    NoRoot {
        /// As configured.
        root: String,
    },
    /// The address is not one this version reaches.
    #[error("HL0302 cannot reach {root}: this version knows directories and file: URLs")]
    Address {
        /// As configured.
        root: String,
    },
    /// Listing or reading failed.
    #[error("HL0303 cannot read {what}: {source}")]
    Unreadable {
        /// Directory or file.
        what: String,
        /// The outside's reason.
        source: io::Error,
    },
    /// A listed file is no longer what was listed.
    #[error("HL0304 {name} changed or vanished after it was listed")]
    Changed {
        /// File.
        name: String,
    },
    /// We may not read it.
    #[error("HL0305 no permission to read {what}")]
    Denied {
        /// Directory or file.
        what: String,
    },
}

impl SourceError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRoot { .. } => "HL0301",
            Self::Address { .. } => "HL0302",
            Self::Unreadable { .. } => "HL0303",
            Self::Changed { .. } => "HL0304",
            Self::Denied { .. } => "HL0305",
        }
    }

    /// What the engine does about it.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::NoRoot { .. } | Self::Unreadable { .. } | Self::Changed { .. } => Disposition::Retry,
            Self::Address { .. } | Self::Denied { .. } => Disposition::Halt,
        }
    }

    /// The error for a failed read of `what`.
    pub(super) fn reading(what: &str, source: io::Error) -> Self {
        let what = what.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Changed { name: what },
            io::ErrorKind::PermissionDenied => Self::Denied { what },
            _ => Self::Unreadable { what, source },
        }
    }

    /// The same for an error of OpenDAL.
    pub(super) fn of_service(what: &str, e: &opendal::Error) -> Self {
        let kind = match e.kind() {
            opendal::ErrorKind::NotFound => io::ErrorKind::NotFound,
            opendal::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        Self::reading(what, io::Error::new(kind, e.to_string()))
    }
}
