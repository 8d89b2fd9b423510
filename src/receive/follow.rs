//! Listening to queues: loads what comes, connects again when the broker goes away, stops at what does not hold.

use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;

use super::feed::Receiver;
use super::inbox::Inbox as _;
use super::queue::{Answering, QueuedFeed};
use super::{ReceiveError, Received, Sink};
use crate::batch::Reader;
use crate::error::Problem;
use crate::outlet::rabbitmq::{Address, BrokerError, Link, Patience};

/// Shortest and longest time before a broker that went away is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Feeds to listen to.
pub struct Following<'a> {
    /// The broker.
    pub address: &'a Address,
    /// How long to wait for it.
    pub patience: Patience,
    /// Feeds.
    pub feeds: &'a [String],
    /// Whom to believe, and keys.
    pub reader: &'a Arc<Reader>,
    /// How to answer.
    pub answering: &'a Answering,
}

impl Following<'_> {
    /// Loads what comes until `stop` is over, or one feed gets what does not hold. Tells `progress` after every batch.
    pub async fn follow(
        &self,
        sink: &mut dyn Sink,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(&Received),
    ) -> Vec<Received> {
        let fresh = |feed: &String| Receiver::new(feed, self.reader, self.answering.clock);
        let mut receivers: Vec<Receiver> = self.feeds.iter().map(fresh).collect();
        let mut stop = Box::pin(stop);
        let mut pause = BACK_OFF.0;
        loop {
            let before = loaded(&receivers);
            let outcome = tokio::select! {
                () = &mut stop => break,
                outcome = self.listen(&mut receivers, sink, &mut progress) => outcome,
            };
            let Err((at, error)) = outcome else { break };
            let ReceiveError::Broker(broker) = &error else {
                stopped(&mut receivers, at, &error);
                break;
            };
            if !broker.passes() {
                stopped(&mut receivers, at, &error);
                break;
            }
            if loaded(&receivers) > before {
                pause = BACK_OFF.0;
            }
            tracing::warn!(code = broker.code(), why = %broker, seconds = pause.as_secs(), "the broker is away; trying again");
            // Waiting for the stop, but not longer than the pause, is the pause.
            if tokio::time::timeout(pause, &mut stop).await.is_ok() {
                break;
            }
            pause = BACK_OFF.1.min(pause * 2);
        }
        receivers.into_iter().map(|receiver| receiver.received).collect()
    }

    /// One connection, until something goes wrong with it or with a batch; says with which feed.
    async fn listen(
        &self,
        receivers: &mut [Receiver],
        sink: &mut dyn Sink,
        progress: &mut impl FnMut(&Received),
    ) -> Result<(), (usize, ReceiveError)> {
        let broker = |at: usize| move |error: BrokerError| (at, ReceiveError::from(error));
        let link = Link::open(self.address, self.patience).await.map_err(broker(0))?;
        let mut queues = Vec::with_capacity(self.feeds.len());
        for (at, feed) in self.feeds.iter().enumerate() {
            queues.push(QueuedFeed::open(link.clone(), feed, self.answering.clone()).await.map_err(broker(at))?);
        }
        while !queues.is_empty() {
            let (ready, at, _) = select_all(queues.iter_mut().map(|queue| Box::pin(queue.ready()))).await;
            ready.map_err(broker(at))?;
            let (Some(receiver), Some(queue)) = (receivers.get_mut(at), queues.get_mut(at)) else { continue };
            // Nobody may come any more for those that were set aside.
            while receiver.step(queue, sink).await.map_err(|error| (at, error))? {
                progress(&receiver.received);
                if queue.ahead().is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn stopped(receivers: &mut [Receiver], at: usize, error: &ReceiveError) {
    if let Some(receiver) = receivers.get_mut(at) {
        receiver.received.stopped = Some(Problem::from(error));
    }
}

fn loaded(receivers: &[Receiver]) -> u64 {
    receivers.iter().map(|receiver| receiver.received.batches + receiver.received.again).sum()
}
