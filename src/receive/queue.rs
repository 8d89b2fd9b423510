//! A feed's queue on RabbitMQ as a receiver sees it: deliveries in order, acknowledged after they are loaded.
//!
//! Guarantees: a message leaves the queue only after its batch is durable in the target and the receipt is with the
//! broker; what does not hold goes back to where it was; every wait is bounded, except that of a receiver who listens.
//! Batches ahead of their turn are kept unacknowledged while the missing one is looked for behind them: so many, of so
//! many bytes, and no more.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use super::feed::after;
use super::inbox::{Content, Inbox, Parcel};
use super::{Cursor, ReceiveError};
use crate::batch::Receipt;
use crate::clock::Clock;
use crate::crypto::Signer;
use crate::failpoint::Boundary;
use crate::outlet::rabbitmq::{BrokerError, Link, parts, publish_receipt, queue_of, within};

/// Batches that the broker hands over ahead of their turn.
const PREFETCH: u16 = 8;
/// Most batches that are set aside while a missing one is looked for …
const MOST_AHEAD: usize = 2_000;
/// … and most bytes of their bodies.
const MOST_AHEAD_BYTES: usize = 256 << 20;
/// After so long without a delivery the broker is asked whether any is left.
const LULL: Duration = Duration::from_millis(250);

/// What a channel is closed with: success, for the protocol knows no better word.
const REFUSED: u16 = 200;

/// Who answers, and with which key.
#[derive(Debug, Clone)]
pub struct Answering {
    /// The broker's user.
    pub user: String,
    /// Signs receipts; without one they say that they are not signed.
    pub signer: Option<Arc<Signer>>,
    /// The present.
    pub clock: Clock,
}

/// One feed's queue.
pub struct QueuedFeed {
    link: Link,
    channel: Channel,
    consumer: Consumer,
    queue: String,
    answering: Answering,
    /// Came, and was not asked for yet.
    waiting: VecDeque<Delivery>,
    /// Was given away, and is neither settled nor refused.
    current: Option<Delivery>,
    /// Ahead of their turn, by number.
    aside: Vec<(u64, Delivery)>,
    /// What the broker hands over unacknowledged …
    window: usize,
    /// … of what comes after this delivery.
    window_after: u64,
}

impl fmt::Debug for QueuedFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedFeed").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl QueuedFeed {
    /// Begins to consume the queue of `feed`.
    ///
    /// # Errors
    /// [`BrokerError::Missing`] when there is no such queue, [`BrokerError::Denied`] when it is somebody else's.
    pub async fn open(link: Link, feed: &str, answering: Answering) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        let queue = queue_of(feed);
        let consumer = {
            let starting = async {
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                consume(&channel, &queue, PREFETCH).await
            };
            within(link.place(), "answer", link.patience().connect, starting).await?
        };
        let (waiting, aside, window) = (VecDeque::new(), Vec::new(), PREFETCH.into());
        Ok(Self { link, channel, consumer, queue, answering, waiting, current: None, aside, window, window_after: 0 })
    }

    /// Waits until a delivery is here, however long that takes.
    ///
    /// # Errors
    /// [`BrokerError`] when the connection or the queue is gone.
    pub async fn ready(&mut self) -> Result<(), BrokerError> {
        if self.waiting.is_empty() {
            let delivery = self.consumer.next().await;
            self.keep(delivery)?;
        }
        Ok(())
    }

    fn keep(&mut self, delivery: Option<lapin::Result<Delivery>>) -> Result<(), BrokerError> {
        match delivery {
            Some(Ok(delivery)) => {
                self.waiting.push_back(delivery);
                Ok(())
            }
            Some(Err(error)) => Err(BrokerError::of(self.link.place(), &error)),
            None => Err(BrokerError::Missing {
                place: self.link.place().to_owned(),
                why: format!("the queue {} was deleted", self.queue),
            }),
        }
    }

    /// Batches that the broker has not handed over yet.
    async fn left(&self) -> Result<u32, BrokerError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = self.channel.queue_declare(self.queue.as_str().into(), options, FieldTable::default());
        within(self.link.place(), "answer", self.link.patience().confirm, asked)
            .await
            .map(|queue| queue.message_count())
    }

    /// A delivery, or `None` when nothing came for a while and the broker says that nothing is left.
    async fn delivery(&mut self) -> Result<Option<Delivery>, BrokerError> {
        let mut waited = Duration::ZERO;
        while self.waiting.is_empty() {
            match tokio::time::timeout(LULL, self.consumer.next()).await {
                Ok(delivery) => self.keep(delivery)?,
                Err(_) if self.left().await? == 0 => break,
                Err(_) if self.is_full() => match self.wider() {
                    0 => break,
                    more => self.widen(more).await?,
                },
                Err(_) => waited += LULL,
            }
            if waited >= self.link.patience().confirm {
                let why = format!("batches wait in {}, and none comes: another receiver is active on it", self.queue);
                return Err(BrokerError::Unreachable { place: self.link.place().to_owned(), why });
            }
        }
        Ok(self.waiting.pop_front())
    }

    /// Whether the broker hands over no more because all that it may is set aside.
    fn is_full(&self) -> bool {
        let held = self.aside.iter().filter(|(_, delivery)| delivery.delivery_tag > self.window_after).count();
        held >= self.window
    }

    /// How many more may be set aside: twice as many as there are, as long as they are few and short enough.
    fn wider(&self) -> u16 {
        let held = self.aside.len().max(1);
        let bytes: usize = self.aside.iter().map(|(_, delivery)| delivery.data.len()).sum();
        let room = MOST_AHEAD_BYTES.saturating_sub(bytes) / (bytes / held).max(1);
        let more = held.min(MOST_AHEAD.saturating_sub(held)).min(room);
        u16::try_from(more).unwrap_or(u16::MAX)
    }

    /// Lets the broker hand over so many more. What is set aside stays ours: only a channel that closes gives it back.
    async fn widen(&mut self, more: u16) -> Result<(), BrokerError> {
        self.window_after = self.aside.iter().map(|(_, delivery)| delivery.delivery_tag).max().unwrap_or(0);
        self.window = more.into();
        let (channel, tag) = (self.channel.clone(), self.consumer.tag());
        let widening = async {
            channel.basic_cancel(tag, BasicCancelOptions::default()).await?;
            consume(&channel, &self.queue, more).await
        };
        let next = within(self.link.place(), "answer", self.link.patience().confirm, widening).await?;
        let mut before = std::mem::replace(&mut self.consumer, next);
        while let Some(delivery) = before.next().await {
            self.keep(Some(delivery))?;
        }
        Ok(())
    }

    async fn answer(&self, mut receipt: Receipt) -> Result<(), ReceiveError> {
        let Answering { user, signer, clock } = &self.answering;
        receipt.signed = signer.is_some();
        let id = receipt.id();
        let failed = |error| ReceiveError::Batch { batch: id.clone(), error };
        let body = receipt.to_json().map_err(failed)?;
        let signature = match signer {
            Some(signer) => Some(signer.sign_detached(&body, clock.now()).map_err(|error| failed(error.into()))?),
            None => None,
        };
        publish_receipt(&self.link, &self.channel, &id, user, (&body, signature.as_deref())).await?;
        Ok(())
    }
}

/// Begins to consume; the broker hands over `prefetch` messages that are not acknowledged.
async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await
}

#[async_trait]
impl Inbox for QueuedFeed {
    async fn next(&mut self, cursor: Option<Cursor>) -> Result<Option<Parcel>, ReceiveError> {
        let due = self.aside.iter().position(|(seq, _)| *seq <= after(cursor));
        let found = match due {
            Some(at) => Some(self.aside.remove(at).1),
            None => self.delivery().await?,
        };
        let Some(mut delivery) = found else { return Ok(None) };
        let body = std::mem::take(&mut delivery.data);
        let id = delivery.properties.message_id().as_ref().map_or("without a number", |id| id.as_str()).to_owned();
        let found = parts(&delivery.properties);
        self.current = Some(delivery);
        let place = format!("{} in {}", id, self.queue);
        let Some(parts) = found else {
            self.refuse().await?;
            let why = "the message has no manifest and signature".into();
            return Err(ReceiveError::Incomplete { batch: place, file: "its headers".into(), why });
        };
        let (manifest, signature) = (parts.manifest, parts.signature);
        Ok(Some(Parcel { place, seq: None, manifest, signature, body: Content::Bytes(body) }))
    }

    async fn settle(&mut self, receipt: Receipt) -> Result<(), ReceiveError> {
        self.answer(receipt).await?;
        Boundary::ReceiptSent.reached();
        if let Some(delivery) = self.current.take() {
            let acknowledged = delivery.acker.ack(BasicAckOptions::default());
            within(self.link.place(), "answer", self.link.patience().confirm, acknowledged).await?;
        }
        Boundary::LoadAcknowledged.reached();
        Ok(())
    }

    async fn set_aside(&mut self, seq: u64, body: Content) -> Result<bool, ReceiveError> {
        let (Some(mut delivery), Content::Bytes(body)) = (self.current.take(), body) else { return Ok(false) };
        delivery.data = body;
        self.aside.push((seq, delivery));
        Ok(true)
    }

    fn ahead(&self) -> Option<u64> {
        self.aside.iter().map(|(seq, _)| *seq).min()
    }

    async fn refuse(&mut self) -> Result<(), ReceiveError> {
        // Rejecting this one message would put it behind those that were handed over after it. A channel that closes
        // gives all of them back, in their order.
        self.current = None;
        self.waiting.clear();
        self.aside.clear();
        within(
            self.link.place(),
            "answer",
            self.link.patience().confirm,
            self.channel.close(REFUSED, "refused".into()),
        )
        .await?;
        Ok(())
    }
}
