//! An outlet that fails by script, for tests and drills: each delivery takes the next line of the script.
//!
//! Guarantees: when the script is over it does what the outlet inside does.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{Delivered, Outlet, OutletError};
use crate::batch::SealedBatch;

/// What goes wrong with one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: delivered.
    None,
    /// Refused before anything was written.
    Reject,
    /// Written, but the answer is lost: the sender sees an error.
    FailAfterWrite,
    /// Written, but not yet durable.
    AcceptOnly,
    /// Waits for [`Scripted::release`], then delivers.
    Hold,
}

/// An outlet with a script of faults around another.
pub struct Scripted<O> {
    inner: O,
    script: Mutex<VecDeque<Fault>>,
    released: Semaphore,
}

impl<O: Outlet> Scripted<O> {
    /// Around `inner`.
    pub fn new(inner: O, script: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, script: Mutex::new(script.into_iter().collect()), released: Semaphore::new(0) }
    }

    /// Lets one held delivery go on, now or when it comes.
    pub fn release(&self) {
        self.released.add_permits(1);
    }

    fn next(&self) -> Fault {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Fault::None)
    }
}

#[async_trait]
impl<O: Outlet> Outlet for Scripted<O> {
    async fn deliver(&self, batch: &SealedBatch) -> Result<Delivered, OutletError> {
        let failed = |why: &str| {
            Err(OutletError::Unavailable { batch: batch.id(), place: "scripted outlet".into(), why: why.into() })
        };
        match self.next() {
            Fault::None => self.inner.deliver(batch).await,
            Fault::Reject => failed("rejected by script"),
            Fault::FailAfterWrite => {
                self.inner.deliver(batch).await?;
                failed("the answer was lost by script")
            }
            Fault::AcceptOnly => self.inner.deliver(batch).await.map(|_| Delivered::Accepted),
            Fault::Hold => match self.released.acquire().await {
                Ok(permit) => {
                    permit.forget();
                    self.inner.deliver(batch).await
                }
                Err(_) => failed("never released"),
            },
        }
    }

    async fn stamp(&self, batch: (&str, u64), token: &[u8]) -> Result<(), OutletError> {
        self.inner.stamp(batch, token).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::chain;
    use crate::crypto::tests::CaAndSigner;
    use crate::outlet::Spool;

    #[tokio::test]
    async fn faults_come_in_order_and_end_well() {
        let dir = tempfile::tempdir().unwrap();
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        let script = [Fault::Reject, Fault::FailAfterWrite, Fault::AcceptOnly, Fault::Hold];
        let outlet = Scripted::new(Spool::new(dir.path()), script);
        let written = || dir.path().join("housing.enterprise").exists();
        assert!(outlet.deliver(&batch).await.is_err());
        assert!(!written());
        assert!(outlet.deliver(&batch).await.is_err());
        assert!(written());
        assert_eq!(outlet.deliver(&batch).await, Ok(Delivered::Accepted));
        let (held, ()) = tokio::join!(outlet.deliver(&batch), async { outlet.release() });
        assert_eq!(held, Ok(Delivered::Durable));
        assert_eq!(outlet.deliver(&batch).await, Ok(Delivered::Durable));
    }
}
