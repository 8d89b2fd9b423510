//! Where a receiver's batches come from.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{Cursor, ReceiveError};
use crate::batch::Receipt;

/// One feed's batches, in the order in which they lie there.
///
/// The receiver calls `next`, decides, and then either `settle`, `set_aside` or `refuse` for what it got, before it calls
/// `next` again. What is neither settled nor refused when the inbox is dropped comes again. Implementations: a spool, which is
/// read by number, and a queue, which hands over what it has.
#[async_trait]
pub trait Inbox: Send {
    /// The next batch that may follow `cursor`; `None` when there is nothing more now. It may be one that was loaded
    /// before, and it may be anything at all: nothing of it is verified.
    async fn next(&mut self, cursor: Option<Cursor>) -> Result<Option<Parcel>, ReceiveError>;

    /// What `next` gave is loaded, now or earlier, and durable: it need not come again, and the sender may be told.
    async fn settle(&mut self, receipt: Receipt) -> Result<(), ReceiveError>;

    /// What `next` gave holds, and its number `seq` is ahead of the next one: whether it is kept, to be given again when
    /// its turn has come, while what lies behind it is looked at. Nobody keeps what lies in order of numbers anyway.
    async fn set_aside(&mut self, _seq: u64, _body: Content) -> Result<bool, ReceiveError> {
        Ok(false)
    }

    /// The lowest number that is set aside.
    fn ahead(&self) -> Option<u64> {
        None
    }

    /// What `next` gave does not hold: it stays where it is, for a person to look at. Nothing is asked after that.
    async fn refuse(&mut self) -> Result<(), ReceiveError>;
}

/// A batch as it was found.
#[derive(Debug)]
pub struct Parcel {
    /// Where, for people.
    pub place: String,
    /// The number under which it lies; `None` when only its manifest says.
    pub seq: Option<u64>,
    /// JSON, as signed.
    pub manifest: Vec<u8>,
    /// Detached CMS.
    pub signature: Vec<u8>,
    /// The body.
    pub body: Content,
}

/// A body that is read when it is known how long it may be, or that is there already.
#[derive(Debug)]
pub enum Content {
    /// In this file.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}
