//! A feed's queue on RabbitMQ as a receiver sees it: deliveries in order, acknowledged after they are loaded.
//!
//! Guarantees: a message leaves the queue only after its batch is durable in the target and the receipt is with the
//! broker; what does not hold goes back to where it was; every wait is bounded, except that of a receiver who listens.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use super::inbox::{Content, Inbox, Parcel};
use super::{Cursor, ReceiveError};
use crate::batch::Receipt;
use crate::clock::Clock;
use crate::crypto::Signer;
use crate::failpoint::Boundary;
use crate::outlet::rabbitmq::{BrokerError, Link, parts, publish_receipt, queue_of, within};

/// Batches that the broker hands over ahead of their turn.
const PREFETCH: u16 = 8;
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
                channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
                let options = BasicConsumeOptions::default();
                channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await
            };
            within(link.place(), "answer", link.patience().connect, starting).await?
        };
        Ok(Self { link, channel, consumer, queue, answering, waiting: VecDeque::new(), current: None })
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
                Err(_) => waited += LULL,
            }
            if waited >= self.link.patience().confirm {
                let why = format!("batches wait in {}, and none comes: another receiver is active on it", self.queue);
                return Err(BrokerError::Unreachable { place: self.link.place().to_owned(), why });
            }
        }
        Ok(self.waiting.pop_front())
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

#[async_trait]
impl Inbox for QueuedFeed {
    async fn next(&mut self, _: Option<Cursor>) -> Result<Option<Parcel>, ReceiveError> {
        let Some(mut delivery) = self.delivery().await? else { return Ok(None) };
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

    async fn refuse(&mut self) -> Result<(), ReceiveError> {
        // Rejecting this one message would put it behind those that were handed over after it. A channel that closes
        // gives all of them back, in their order.
        self.current = None;
        self.waiting.clear();
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
