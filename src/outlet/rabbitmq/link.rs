//! A connection to the broker: made within a bounded time, and known to be blocked as soon as the broker says so.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::ConfirmSelectOptions;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;

use super::{Address, BrokerError};

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection or a channel.
    pub connect: Duration,
    /// For the answer to one message.
    pub confirm: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), confirm: Duration::from_secs(30) }
    }
}

/// An open connection. Clones share it; it closes with the last.
#[derive(Clone)]
pub struct Link {
    connection: Arc<Connection>,
    /// Why the broker takes nothing, while it does not.
    blocked: watch::Receiver<Option<String>>,
    place: Arc<str>,
    patience: Patience,
    /// Publishing channels, by feed.
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] when nobody answers in time or the certificate is not believed,
    /// [`BrokerError::Denied`].
    pub async fn open(address: &Address, patience: Patience) -> Result<Self, BrokerError> {
        let place: Arc<str> = address.place().into();
        let properties = ConnectionProperties::default().with_connection_name("huiliu".into());
        let tls = OwnedTLSConfig { identity: None, cert_chain: address.ca.clone() };
        let runtime = lapin::runtime::default_runtime().map_err(|error| BrokerError::of(&place, &error))?;
        trust_ring();
        let connecting = Connection::connect_uri_with_config(address.uri.clone(), properties, tls, runtime);
        // Boxed: a handshake is a large future.
        let connection = within(&place, "handshake", patience.connect, Box::pin(connecting)).await?;
        Ok(Self {
            blocked: watch_alarms(&connection),
            connection: Arc::new(connection),
            place,
            patience,
            channels: Arc::default(),
        })
    }

    /// Whether it still stands.
    pub fn stands(&self) -> bool {
        self.connection.status().connected()
    }

    /// The address, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How long to wait.
    pub const fn patience(&self) -> Patience {
        self.patience
    }

    /// Bytes of the largest frame, as negotiated: the broker's maximum, for we ask for no less.
    pub(super) fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// Why the broker takes nothing; changes are told.
    pub(super) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.clone()
    }

    /// A fresh channel.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        within(&self.place, "channel", self.patience.connect, self.connection.create_channel()).await
    }

    /// The channel on which this feed's batches are published, in order.
    pub(super) async fn publishing(&self, feed: &str) -> Result<Channel, BrokerError> {
        let open = self.lock().get(feed).filter(|channel| channel.status().connected()).cloned();
        if let Some(channel) = open {
            return Ok(channel);
        }
        let channel = self.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        within(&self.place, "answer", self.patience.connect, confirming).await?;
        self.lock().insert(feed.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Forgets a feed's channel: what was published on it without an answer must not arrive after what comes next.
    pub(super) fn abandon(&self, feed: &str) {
        self.lock().remove(feed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer of the broker, at most so long.
///
/// # Errors
/// [`BrokerError::Unreachable`] when it does not come, else what [`BrokerError::of`] makes of the answer.
pub async fn within<T>(
    place: &str,
    of_what: &str,
    patience: Duration,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer.map_err(|error| BrokerError::of(place, &error)),
        Err(_) => Err(BrokerError::silence(place, of_what, patience.as_secs_f64())),
    }
}

/// One task takes the connection's events (each is told only once) and keeps what they amount to. It ends with the
/// connection.
fn watch_alarms(connection: &Connection) -> watch::Receiver<Option<String>> {
    let (tell, blocked) = watch::channel(None);
    let mut events = Box::pin(connection.events_listener());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = tell.closed() => None,
            };
            match event {
                Some(Event::ConnectionBlocked(why)) => tell.send_replace(Some(why)),
                Some(Event::ConnectionUnblocked) => tell.send_replace(None),
                Some(Event::Error(_)) | None => return,
                Some(_) => continue,
            };
        }
    });
    blocked
}

/// All TLS of this process rests on `ring`. Whoever comes second finds it installed, which is as good.
pub(super) fn trust_ring() {
    let installed = rustls::crypto::ring::default_provider().install_default();
    tracing::trace!(first = installed.is_ok(), "TLS rests on ring");
}
