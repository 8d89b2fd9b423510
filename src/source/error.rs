//! What can go wrong between us and a department's system.

use std::io;

use crate::decode::DecodeError;
use crate::error::{Disposition, Problem};
use crate::outlet::rabbitmq::BrokerError;

/// What becomes of a file that cannot be taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A person decides; later files wait.
    Held,
    /// It is set aside whole; later files go on.
    Refused,
}

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
    #[error(
        "HL0302 cannot reach {root}: this version knows directories and URLs of file, sftp, ftp, ftps, s3, webdav and webdavs"
    )]
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
    /// The kind of source and what its dataset offers do not fit; `huiliu check` refuses such definitions.
    #[error("HL0142 the offer of dataset {dataset} does not fit its kind of source")]
    Offer {
        /// Dataset.
        dataset: String,
    },
    /// A secret or an address that its connector refers to is not there.
    #[error("{} {}{}", .0.code, .0.message, .0.place.as_ref().map(|at| format!(" ({}:{})", at.file, at.line)).unwrap_or_default())]
    Unset(Box<Problem>),
    /// A server cannot be reached, or went away.
    #[error("HL0330 cannot reach the database: {why}")]
    Unreached {
        /// What happened.
        why: String,
    },
    /// A server does not let us in, or not at this.
    #[error("HL0331 the database does not let us: {why}")]
    Login {
        /// Its code.
        why: String,
    },
    /// A table or column is not there.
    #[error("HL0332 the table or a column is not there: {why}")]
    NotThere {
        /// Its code.
        why: String,
    },
    /// A column without which rows cannot be asked for is not there: key, cursor or read flag.
    #[error("HL0332 {table} lost the column(s) that say what is new: {columns}")]
    LostKey {
        /// Table.
        table: String,
        /// Columns.
        columns: String,
    },
    /// A statement took too long, or somebody else holds the table.
    #[error("HL0333 the database took too long: {why}")]
    Slow {
        /// Its code.
        why: String,
    },
    /// The newest cursor value is older than what was taken.
    #[error("HL0334 the cursor of {table} goes backwards: its newest value is older than what was taken")]
    Backwards {
        /// Table.
        table: String,
    },
    /// The server refused a statement.
    #[error("HL0336 the database refused a statement: {why}")]
    Refused {
        /// Its code.
        why: String,
    },
    /// The next page begins where this one began.
    #[error("HL0338 {what} gives the same page again and again")]
    Endless {
        /// Table or service.
        what: String,
    },
    /// A service cannot be reached, or failed.
    #[error("HL0340 {what} cannot be reached or failed: {why}")]
    Service {
        /// Dataset.
        what: String,
        /// What happened.
        why: String,
    },
    /// A service does not know us.
    #[error("HL0341 {what} does not let us in: status {status}")]
    Stranger {
        /// Dataset.
        what: String,
        /// HTTP status.
        status: u16,
    },
    /// A service asks for more patience than a pull has.
    #[error("HL0342 {what} asks us to wait: {seconds} s and more")]
    Patience {
        /// Dataset.
        what: String,
        /// Seconds.
        seconds: u64,
    },
    /// An answer is not in the format of the dataset: HTML instead of JSON.
    #[error("HL0343 {what} answered with something else than its format")]
    NotWhatItSays {
        /// Dataset.
        what: String,
    },
    /// An answer broke off.
    #[error("HL0344 {what} is not whole: {why}")]
    HalfPage {
        /// Dataset and page.
        what: String,
        /// Why it does not read; never a value.
        why: String,
    },
    /// Today's calls are used up.
    #[error("HL0345 today's {calls} calls of {what} are used up")]
    Budget {
        /// Dataset.
        what: String,
        /// Calls a day.
        calls: u32,
    },
    /// A service says that what we asked is wrong.
    #[error("HL0346 {what} does not accept what it is asked: status {status}")]
    Asked {
        /// Dataset.
        what: String,
        /// HTTP status.
        status: u16,
    },
    /// A department's queue cannot be reached, or broke off.
    #[error("HL0370 the queue cannot be read: {why}")]
    Inbox {
        /// What happened.
        why: String,
    },
    /// A department's queue is not there, or is not ours to read.
    #[error("HL0371 the queue is not there, or not ours to read: {why}")]
    NoInbox {
        /// The broker's reason.
        why: String,
    },
    /// A database does not let us follow a table's changes.
    #[error("HL0380 the changes of the table cannot be followed: {why}")]
    Unprepared {
        /// What is missing, or the server's code.
        why: String,
    },
    /// The log does not name changed rows by the key of the contract.
    #[error(
        "HL0381 the log of {table} does not say which row changed: its replica identity lacks the key ({columns}); its \
         owner runs: alter table … replica identity …"
    )]
    Nameless {
        /// Table.
        table: String,
        /// Columns of the contract's key.
        columns: String,
    },
    /// Changes were lost: only a new copy helps.
    #[error("HL0382 changes were lost: {why}; run with --accept to copy the table anew")]
    Lost {
        /// How.
        why: String,
    },
    /// Somebody emptied the table.
    #[error(
        "HL0383 {table} was truncated; run with --accept to copy it anew, rows that it no longer has are taken back"
    )]
    Truncated {
        /// Table.
        table: String,
    },
    /// Nobody knows which rows are younger than the lag.
    #[error("HL0339 the lag of {table} cannot be kept: its cursor is no time that we know how to write")]
    Lag {
        /// Table.
        table: String,
    },
    /// A stored cursor does not read.
    #[error("HL0337 the stored place of this dataset does not read: the kind of its source was changed")]
    Cursor,
    /// A file server shows another key than the definition's.
    #[error("HL0350 the server of {root} shows another key than host_key says; nothing was sent to it")]
    HostKey {
        /// As configured.
        root: String,
    },
    /// A file server does not let us in.
    #[error("HL0351 {root} does not let us in: {why}")]
    NotLetIn {
        /// As configured.
        root: String,
        /// What it refused.
        why: String,
    },
    /// A file server cannot be reached, or went away.
    #[error("HL0352 cannot reach {what}: {why}")]
    Away {
        /// As configured.
        what: String,
        /// What happened.
        why: String,
    },
    /// An SFTP source without a host key that reads.
    #[error("HL0353 {root} has no host_key that reads")]
    Unpinned {
        /// As configured.
        root: String,
    },
    /// The control file disagrees with its file.
    #[error("HL0354 the control file of {name} disagrees: {why}")]
    Control {
        /// File.
        name: String,
        /// Both numbers.
        why: String,
    },
    /// The signature is not there.
    #[error("HL0355 the signature of {name} is required and not there")]
    Unsigned {
        /// File.
        name: String,
    },
    /// The signature does not hold.
    #[error("HL0356 the signature of {name} is not the department's: {why}")]
    Signature {
        /// File.
        name: String,
        /// Which check failed.
        why: String,
    },
    /// This program was built without ODBC.
    #[error("HL0357 this program was built without ODBC: an address that begins with odbc: needs one that has it")]
    NoOdbc,
    /// An ODBC driver is not there, or does not load.
    #[error("HL0358 the ODBC driver cannot be used: {why}")]
    Driver {
        /// What unixODBC says.
        why: String,
    },
    /// A database whose SQL this version does not know.
    #[error("HL0359 behind the ODBC driver is a database that this version does not know: {dbms}; it knows {known}")]
    Flavour {
        /// What it calls itself.
        dbms: String,
        /// Names.
        known: String,
    },
    /// What was opened cannot be read further.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// We may not read it.
    #[error("HL0305 no permission to read {what}")]
    Denied {
        /// Directory or file.
        what: String,
    },
}

impl From<BrokerError> for SourceError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Unreachable { why, .. } | BrokerError::Blocked { why, .. } => Self::Inbox { why },
            BrokerError::Denied { why, .. } | BrokerError::Missing { why, .. } => Self::NoInbox { why },
            BrokerError::Address { what: why } | BrokerError::Management { why, .. } => Self::NoInbox { why },
        }
    }
}

impl SourceError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRoot { .. } => "HL0301",
            Self::Address { .. } => "HL0302",
            Self::Unreadable { .. } => "HL0303",
            Self::Changed { .. } => "HL0304",
            Self::Denied { .. } => "HL0305",
            Self::Offer { .. } => "HL0142",
            Self::Unset(problem) => problem.code,
            Self::Unreached { .. } => "HL0330",
            Self::Login { .. } => "HL0331",
            Self::NotThere { .. } | Self::LostKey { .. } => "HL0332",
            Self::Slow { .. } => "HL0333",
            Self::Backwards { .. } => "HL0334",
            Self::Lag { .. } => "HL0339",
            Self::Refused { .. } => "HL0336",
            Self::Service { .. } => "HL0340",
            Self::Stranger { .. } => "HL0341",
            Self::Patience { .. } => "HL0342",
            Self::NotWhatItSays { .. } => "HL0343",
            Self::HalfPage { .. } => "HL0344",
            Self::Budget { .. } => "HL0345",
            Self::Asked { .. } => "HL0346",
            Self::Inbox { .. } => "HL0370",
            Self::NoInbox { .. } => "HL0371",
            Self::Unprepared { .. } => "HL0380",
            Self::Nameless { .. } => "HL0381",
            Self::Lost { .. } => "HL0382",
            Self::Truncated { .. } => "HL0383",
            Self::Cursor => "HL0337",
            Self::HostKey { .. } => "HL0350",
            Self::NotLetIn { .. } => "HL0351",
            Self::Away { .. } => "HL0352",
            Self::Unpinned { .. } => "HL0353",
            Self::Control { .. } => "HL0354",
            Self::Unsigned { .. } => "HL0355",
            Self::Signature { .. } => "HL0356",
            Self::Endless { .. } => "HL0338",
            Self::NoOdbc => "HL0357",
            Self::Driver { .. } => "HL0358",
            Self::Flavour { .. } => "HL0359",
            Self::Decode(error) => error.code(),
        }
    }

    /// What the engine does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoRoot { .. } | Self::Unreadable { .. } | Self::Changed { .. } => Disposition::Retry,
            Self::Unreached { .. } | Self::Slow { .. } | Self::Refused { .. } => Disposition::Retry,
            Self::Away { .. } => Disposition::Retry,
            Self::HostKey { .. } | Self::NotLetIn { .. } | Self::Unpinned { .. } => Disposition::Halt,
            Self::Control { .. } | Self::Unsigned { .. } | Self::Signature { .. } => Disposition::Halt,
            Self::Service { .. } | Self::Patience { .. } | Self::NotWhatItSays { .. } => Disposition::Retry,
            Self::HalfPage { .. } | Self::Budget { .. } => Disposition::Retry,
            Self::Inbox { .. } => Disposition::Retry,
            Self::Stranger { .. } | Self::Asked { .. } | Self::NoInbox { .. } => Disposition::Halt,
            Self::Login { .. } | Self::NotThere { .. } | Self::LostKey { .. } => Disposition::Halt,
            Self::Backwards { .. } | Self::Lag { .. } | Self::Cursor | Self::Endless { .. } => Disposition::Halt,
            Self::Unprepared { .. } | Self::Nameless { .. } | Self::Lost { .. } => Disposition::Halt,
            Self::Truncated { .. } => Disposition::Halt,
            Self::NoOdbc | Self::Driver { .. } | Self::Flavour { .. } | Self::Unset(_) => Disposition::Halt,
            Self::Address { .. } | Self::Denied { .. } | Self::Offer { .. } => Disposition::Halt,
            Self::Decode(error) => error.disposition(),
        }
    }

    /// Whether this is about one file only, and what becomes of it; `None` concerns the whole source.
    pub const fn fate(&self) -> Option<Fate> {
        match self {
            Self::Control { .. } | Self::Truncated { .. } => Some(Fate::Held),
            Self::Unsigned { .. } | Self::Signature { .. } => Some(Fate::Refused),
            _ => None,
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
        // Only the kind: the rest of such an error holds addresses with keys in them.
        Self::reading(what, io::Error::new(kind, e.kind().to_string()))
    }
}
