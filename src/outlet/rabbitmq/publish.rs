//! Publishing: one connection for all feeds of this process, one channel for each, one batch in flight on it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::Mutex;

use super::{Address, BATCHES, BrokerError, Link, Patience, message};
use crate::batch::SealedBatch;
use crate::outlet::{Delivered, Outlet, OutletError};

/// Shortest and longest time between two attempts to connect.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The broker, as all feeds of a process share it. Clones share one connection, made when it is first needed.
#[derive(Clone)]
pub struct RabbitMq {
    address: Arc<Result<Address, BrokerError>>,
    patience: Patience,
    state: Arc<Mutex<State>>,
}

/// Where the connection stands.
#[derive(Default)]
struct State {
    link: Option<Link>,
    /// The last failure to connect, and until when nobody tries again: one dead broker must cost one wait, not one for
    /// every feed.
    failed: Option<(BrokerError, Instant)>,
    attempts: u32,
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RabbitMq {
    /// At this address; nothing is connected yet. An address that does not read is told when it is first used.
    pub fn new(address: Result<Address, BrokerError>, patience: Patience) -> Self {
        Self { address: Arc::new(address), patience, state: Arc::default() }
    }

    /// A broker that nobody has configured: everything waits.
    pub fn unconfigured() -> Self {
        Self::new(Err(BrokerError::Address { what: "none is configured".into() }), Patience::default())
    }

    /// An outlet over the shared connection.
    pub fn outlet(&self) -> RabbitMqOutlet {
        RabbitMqOutlet { broker: self.clone() }
    }

    /// The address.
    ///
    /// # Errors
    /// [`BrokerError::Address`].
    pub fn address(&self) -> Result<&Address, BrokerError> {
        self.address.as_ref().as_ref().map_err(Clone::clone)
    }

    /// The connection: the one that stands, or a new one.
    ///
    /// # Errors
    /// [`BrokerError`]; after a failure the same error until it is time to try again.
    pub async fn link(&self) -> Result<Link, BrokerError> {
        let address = self.address()?;
        let mut state = self.state.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| link.stands()) {
            return Ok(link.clone());
        }
        if let Some((error, until)) = &state.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match Link::open(address, self.patience).await {
            Ok(link) => {
                *state = State { link: Some(link.clone()), failed: None, attempts: 0 };
                Ok(link)
            }
            Err(error) => {
                state.fail(&error);
                Err(error)
            }
        }
    }

    /// After silence: is it this feed's queue that does not answer, or the broker? A broker that does not open a channel
    /// either is given up, so that the other feeds need not find out one by one.
    async fn examine(&self, link: &Link, error: &BrokerError) {
        if matches!(error, BrokerError::Unreachable { .. }) && link.stands() && link.channel().await.is_err() {
            self.state.lock().await.fail(error);
        }
    }
}

impl State {
    /// No connection, and no attempt for a while: longer after every failure.
    fn fail(&mut self, error: &BrokerError) {
        let pause = BACK_OFF.1.min(BACK_OFF.0 * 2_u32.saturating_pow(self.attempts.min(16)));
        let failed = Some((error.clone(), Instant::now() + pause));
        *self = Self { link: None, failed, attempts: self.attempts + 1 };
    }
}

/// Batches of any feed into [`BATCHES`].
#[derive(Debug, Clone)]
pub struct RabbitMqOutlet {
    broker: RabbitMq,
}

#[async_trait]
impl Outlet for RabbitMqOutlet {
    /// [`Delivered::Durable`] when the broker has confirmed the message and not returned it.
    async fn deliver(&self, batch: &SealedBatch) -> Result<Delivered, OutletError> {
        let link = self.broker.link().await.map_err(|error| refused(batch, error))?;
        let place = || link.place().to_owned();
        if let Some(why) = link.blocked().borrow().clone() {
            return Err(OutletError::Blocked { batch: batch.id(), place: place(), why });
        }
        let (bytes, allowed) = message::room(batch, link.frame_max());
        if bytes > allowed {
            return Err(OutletError::TooLarge { batch: batch.id(), place: place(), bytes, allowed });
        }
        let answer = match publish(&link, batch).await {
            Ok(answer) => answer,
            Err(error) => {
                link.abandon(&batch.feed);
                self.broker.examine(&link, &error).await;
                return Err(refused(batch, error));
            }
        };
        match answer {
            Confirmation::Ack(None) => Ok(Delivered::Durable),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                Err(OutletError::Unroutable { batch: batch.id(), place: place(), why: returned.reply_text.to_string() })
            }
            Confirmation::Nack(None) => Err(OutletError::Full { batch: batch.id(), place: place() }),
            // Confirms are asked for when the channel is made.
            Confirmation::NotRequested => Err(OutletError::Unavailable {
                batch: batch.id(),
                place: place(),
                why: "the channel does not confirm".into(),
            }),
        }
    }
}

/// Publishes and waits for the answer, the broker's alarm, or the end of patience.
async fn publish(link: &Link, batch: &SealedBatch) -> Result<Confirmation, BrokerError> {
    let mut blocked = link.blocked();
    let alarm = async {
        let why = blocked.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            None => std::future::pending().await, // the connection is gone, and its error is on the way
        }
    };
    tokio::select! {
        answer = published(link, batch) => answer,
        why = alarm => Err(BrokerError::Blocked { place: link.place().to_owned(), why }),
    }
}

async fn published(link: &Link, batch: &SealedBatch) -> Result<Confirmation, BrokerError> {
    let channel: Channel = link.publishing(&batch.feed).await?;
    let properties = message::properties(batch)?;
    let (exchange, key) = (message::short(BATCHES)?, message::short(&batch.feed)?);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let answer = async { channel.basic_publish(exchange, key, options, &batch.body, properties).await?.await };
    super::link::within(link.place(), "confirmation", link.patience().confirm, answer).await
}

fn refused(batch: &SealedBatch, error: BrokerError) -> OutletError {
    let batch = batch.id();
    match error {
        BrokerError::Missing { place, why } => OutletError::Unroutable { batch, place, why },
        BrokerError::Blocked { place, why } => OutletError::Blocked { batch, place, why },
        BrokerError::Denied { place, why } => OutletError::Denied { batch, place, why },
        BrokerError::Unreachable { place, why } | BrokerError::Management { place, why } => {
            OutletError::Unreachable { batch, place, why }
        }
        BrokerError::Address { what } => {
            OutletError::Unreachable { batch, place: "the configured broker".into(), why: what }
        }
    }
}
