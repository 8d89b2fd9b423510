//! An inbox (收件队列): a department publishes records or small files to a queue of its own.
//!
//! Decides: how many messages are one item, what becomes of one that does not read. Must not know: what rows mean.
//! Guarantees: a message leaves the queue only after its rows are committed; one that does not read goes to quarantine as
//! a whole and leaves it too, so that it does not go round in circles; what was not settled comes again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use url::Url;

use super::bodies::{Reading, all_rows, joined, number_from};
use super::{Before, Item, Listing, Source, SourceError};
use crate::config::{Dataset, Format, Inbox};
use crate::decode::{Chunk, Decode, DecodeError, Decoded, Header, Position, Resume, RowPlace, schema};
use crate::outlet::rabbitmq::{Address, BrokerError, Link, Patience, within};

/// Messages of one item: they stay unacknowledged until their rows are committed.
const MESSAGES: u32 = 4096;
/// After so long without a message the broker is asked whether any is left.
const LULL: Duration = Duration::from_millis(250);

/// The open item: its channel, and the tag of the last message that was read.
type Held = Arc<Mutex<Option<(Channel, u64)>>>;

/// One queue.
pub(super) struct InboxSource {
    inbox: Inbox,
    queue: String,
    format: Format,
    dataset: Dataset,
    dir: std::path::PathBuf,
    held: Held,
}

impl InboxSource {
    pub(super) fn new(
        dir: &std::path::Path,
        inbox: &Inbox,
        (queue, format): (&str, &Format),
        dataset: &Dataset,
    ) -> Self {
        Self {
            inbox: inbox.clone(),
            queue: queue.to_owned(),
            format: format.clone(),
            dataset: dataset.clone(),
            dir: dir.to_owned(),
            held: Arc::default(),
        }
    }

    async fn link(&self) -> Result<Link, SourceError> {
        let bad = || SourceError::Inbox { why: "the url does not read".to_owned() };
        let mut url: Url = self.inbox.url.value.parse().map_err(|_| bad())?;
        if let Some(user) = &self.inbox.user {
            url.set_username(user).map_err(|()| bad())?;
        }
        if let Some(password) = &self.inbox.password {
            url.set_password(Some(&password.0)).map_err(|()| bad())?;
        }
        let ca = self.inbox.ca.as_ref().map(|ca| self.dir.join(ca));
        let address = Address::parse(url.as_str(), ca.as_deref())?;
        Ok(Link::open(&address, Patience::default()).await?)
    }

    async fn waiting(link: &Link, channel: &Channel, queue: &str) -> Result<u32, BrokerError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(queue.into(), options, FieldTable::default());
        within(link.place(), "answer", link.patience().connect, asked).await.map(|queue| queue.message_count())
    }
}

#[async_trait]
impl Source for InboxSource {
    async fn list(&mut self, before: Option<&Before>) -> Result<Listing, SourceError> {
        // What an earlier item left unsettled goes back before messages are counted.
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
        let link = self.link().await?;
        let channel = link.channel().await?;
        let count = Self::waiting(&link, &channel, &self.queue).await?;
        let mut number = before.and_then(|before| before.name.rsplit_once('#')?.1.parse::<u64>().ok()).unwrap_or(0);
        let mut digest = before.map_or_else(String::new, |before| before.digest.clone());
        let mut items = Vec::new();
        for _ in 0..count.div_ceil(MESSAGES) {
            number += 1;
            digest = blake3::hash(format!("{}\n{digest}", self.queue).as_bytes()).to_hex().to_string();
            items.push(Item { name: format!("{} #{number}", self.queue), digest: digest.clone(), ..Item::default() });
        }
        Ok(Listing { items, ..Listing::default() })
    }

    async fn open(&self, _item: &Item, _at: Option<&Position>) -> Result<Box<dyn Decode>, SourceError> {
        let link = self.link().await?;
        let channel = link.channel().await?;
        let starting = async {
            channel.basic_qos(u16::try_from(MESSAGES).unwrap_or(u16::MAX), BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            channel.basic_consume(self.queue.as_str().into(), "".into(), options, FieldTable::default()).await
        };
        let consumer = within(link.place(), "answer", link.patience().connect, starting).await?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((channel.clone(), 0));
        let (sender, messages) = mpsc::channel(64);
        tokio::spawn(consume((link, channel, consumer), self.queue.clone(), sender));
        let reading = Reading { format: self.format.clone(), wanted: super::wanted(&self.dataset) };
        Ok(Box::new(Messages {
            header: Header { columns: None, kinds: Vec::new(), encoding: "as the message says".to_owned() },
            messages,
            reading,
            held: Arc::clone(&self.held),
            queue: self.queue.clone(),
            message: 0,
            row: 0,
            done: false,
        }))
    }

    async fn settle(&mut self, _item: &Item) -> Result<(), SourceError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((channel, last)) = held.filter(|(_, last)| *last > 0) {
            let failed = |error: lapin::Error| SourceError::from(BrokerError::of(&self.queue, &error));
            channel.basic_ack(last, BasicAckOptions { multiple: true }).await.map_err(failed)?;
            // Closing waits until the broker has the acknowledgement, and gives back what was not read.
            channel.close(200, "settled".into()).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// Hands over messages until the queue is empty or the item is full.
async fn consume(
    (link, channel, mut consumer): (Link, Channel, Consumer),
    queue: String,
    to: mpsc::Sender<Result<Delivery, SourceError>>,
) {
    for _ in 0..MESSAGES {
        let delivery = loop {
            match tokio::time::timeout(LULL, consumer.next()).await {
                Ok(delivery) => break delivery,
                Err(_) => match InboxSource::waiting(&link, &channel, &queue).await {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) => return drop(to.send(Err(error.into())).await),
                },
            }
        };
        let told = match delivery {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(error)) => Err(BrokerError::of(link.place(), &error).into()),
            None => Err(SourceError::Inbox { why: format!("the queue {queue} was deleted") }),
        };
        let failed = told.is_err();
        if to.send(told).await.is_err() || failed {
            return;
        }
    }
}

/// The rows of the messages of one item.
struct Messages {
    header: Header,
    messages: mpsc::Receiver<Result<Delivery, SourceError>>,
    reading: Reading,
    held: Held,
    queue: String,
    message: u64,
    row: u64,
    done: bool,
}

impl Messages {
    /// What one message holds; what does not read as a whole is set aside as a whole.
    fn take(&mut self, delivery: Delivery, parts: &mut Vec<Decoded>) {
        self.message += 1;
        let name = format!("{} message {}", self.queue, self.message);
        let mut read = match self.reading.of(&name, delivery.data.clone()) {
            Ok((parts, _)) => parts,
            Err(error) => vec![self.poison(&delivery.data, error.code())],
        };
        for part in &mut read {
            number_from(part, self.row);
            self.row += all_rows(part);
        }
        parts.extend(read);
        if let Some((_, last)) = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            *last = delivery.delivery_tag;
        }
    }

    fn poison(&self, bytes: &[u8], code: &str) -> Decoded {
        let mut chunk = Chunk::new(schema(&self.reading.wanted), 1);
        let place = RowPlace { row: 1, line: self.message, byte: 0 };
        chunk.set_aside(place, bytes, "poison_message", format!("{code}: the message does not read"));
        chunk.finish(Resume::default())
    }
}

impl Decode for Messages {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError> {
        let (mut parts, before) = (Vec::new(), self.row);
        while !self.done && self.row - before < max_rows as u64 {
            match self.messages.blocking_recv() {
                None => self.done = true,
                Some(Ok(delivery)) => self.take(delivery, &mut parts),
                Some(Err(error)) => {
                    let source = io::Error::other(error.to_string());
                    return Err(DecodeError::Io { file: self.queue.clone(), source });
                }
            }
        }
        let all = joined(parts, &self.queue)?;
        let resume = Resume { row: self.row, byte: 0, line: self.message };
        Ok(all.map(|all| Decoded { position: resume.into(), ..all }))
    }
}
