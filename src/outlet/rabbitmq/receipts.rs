//! Receipts (回执) as messages: written by receivers, read by us.

use std::fmt;

use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, ByteArray, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use super::link::within;
use super::message::{bytes, short};
use super::{BrokerError, Link, RECEIPTS};
use crate::batch::RECEIPT_FORMAT;

const SIGNATURE: &str = "signature";

/// One answer of a subscriber, as it came.
pub struct Answer {
    /// JSON; anything, until it is read.
    pub body: Vec<u8>,
    /// Detached CMS over the body.
    pub signature: Option<Vec<u8>>,
    /// Who published it; the broker lets nobody say another name than their own.
    pub user: Option<String>,
    message: BasicGetMessage,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("user", &self.user).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// The queue of receipts.
pub struct Answers {
    channel: Channel,
    link: Link,
}

impl Answers {
    /// Opens it.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn open(link: Link) -> Result<Self, BrokerError> {
        Ok(Self { channel: link.channel().await?, link })
    }

    /// The next one; `None` when there is none now. It stays in the queue until it is settled.
    ///
    /// # Errors
    /// [`BrokerError`]; [`BrokerError::Missing`] when there is no such queue.
    pub async fn next(&self) -> Result<Option<Answer>, BrokerError> {
        let get = self.channel.basic_get(short(RECEIPTS)?, BasicGetOptions { no_ack: false });
        let got = within(self.link.place(), "answer", self.link.patience().confirm, get).await?;
        Ok(got.map(|mut message| Answer {
            body: std::mem::take(&mut message.delivery.data),
            signature: message.properties.headers().as_ref().and_then(|headers| bytes(headers, SIGNATURE)),
            user: message.properties.user_id().as_ref().map(ShortString::to_string),
            message,
        }))
    }

    /// It is kept: the queue may forget it.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn settle(&self, answer: Answer) -> Result<(), BrokerError> {
        let ack = answer.message.delivery.acker.ack(BasicAckOptions::default());
        within(self.link.place(), "answer", self.link.patience().confirm, ack).await.map(|_| ())
    }
}

/// Publishes a receipt of batch `id` on a channel that confirms, and waits until the broker has it.
///
/// # Errors
/// [`BrokerError`]; [`BrokerError::Missing`] when there is no queue for it, [`BrokerError::Denied`] when the user may not
/// write receipts.
pub async fn publish_receipt(
    link: &Link,
    channel: &Channel,
    id: &str,
    user: &str,
    (body, signature): (&[u8], Option<&[u8]>),
) -> Result<(), BrokerError> {
    let mut headers = FieldTable::default();
    if let Some(signature) = signature {
        headers.insert(SIGNATURE.into(), AMQPValue::ByteArray(ByteArray::from(signature.to_vec())));
    }
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(short(id)?)
        .with_type(RECEIPT_FORMAT.into())
        .with_user_id(short(user)?)
        .with_headers(headers);
    let (exchange, key) = (short(RECEIPTS)?, short(id)?);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let answer = async { channel.basic_publish(exchange, key, options, body, properties).await?.await };
    let place = link.place().to_owned();
    match within(&place, "confirmation", link.patience().confirm, answer).await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            Err(BrokerError::Missing { place, why: format!("no queue takes receipts: {}", returned.reply_text) })
        }
        Confirmation::Nack(None) | Confirmation::NotRequested => {
            Err(BrokerError::Unreachable { place, why: "the receipt was not taken".into() })
        }
    }
}
