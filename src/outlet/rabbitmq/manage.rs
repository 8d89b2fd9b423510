//! The management API: makes what a [`Topology`] says, and tells how full a feed's queue is.
//!
//! Guarantees: everything is put, never deleted; the same again changes nothing; what is there with other arguments is
//! refused with the broker's reason.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use reqwest::{Certificate, Client, Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::topology::Topology;
use super::{Address, BrokerError, dead_queue_of, queue_of};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How full a feed's queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Batches that nobody has.
    pub ready: u64,
    /// Batches that a receiver has and has not acknowledged.
    pub unacknowledged: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Receivers.
    pub consumers: u64,
    /// Batches that were rejected for good.
    pub dead: u64,
}

/// A broker's management API.
#[derive(Clone)]
pub struct Manager {
    client: Client,
    base: Url,
    user: String,
    password: String,
    vhost: String,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// What the API says of a queue. Fields are missing until the broker has counted.
#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    messages_ready: u64,
    #[serde(default)]
    messages_unacknowledged: u64,
    #[serde(default)]
    message_bytes: u64,
    #[serde(default)]
    consumers: u64,
}

impl Manager {
    /// The API at `api`, or the usual one of the broker's host; user and password are the broker's unless `api` has its
    /// own.
    ///
    /// # Errors
    /// [`BrokerError::Address`].
    pub fn new(address: &Address, api: Option<&str>) -> Result<Self, BrokerError> {
        let bad = |what: &str| BrokerError::Address { what: what.to_owned() };
        let usual = address.usual_api();
        let mut base: Url =
            api.unwrap_or(&usual).parse().map_err(|_| bad("the management API's does not read as a URL"))?;
        let own = !base.username().is_empty();
        let user = if own { decoded(base.username()) } else { address.user().to_owned() };
        let password = if own { decoded(base.password().unwrap_or_default()) } else { address.password().to_owned() };
        // What is printed later must not have them.
        base.set_username("")
            .and_then(|()| base.set_password(None))
            .map_err(|()| bad("the management API has no host"))?;
        super::link::trust_ring();
        let builder = Client::builder().timeout(PATIENCE).no_proxy();
        let builder = match &address.ca {
            Some(pem) => {
                let certificates = Certificate::from_pem_bundle(pem.as_bytes());
                builder.tls_certs_only(certificates.map_err(|_| bad("the certificates of broker_ca do not read"))?)
            }
            // A container without public authorities must not matter where there is no TLS.
            None if base.scheme() == "http" => builder.tls_certs_only(Vec::new()),
            None => builder,
        };
        let client = builder.build().map_err(|error| bad(&format!("no HTTP client can be made: {error}")))?;
        Ok(Self { client, base, user, password, vhost: address.vhost().to_owned() })
    }

    /// Its address, for people.
    pub fn place(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Makes everything that is not there yet; tells what is there now, kind and name.
    ///
    /// # Errors
    /// [`BrokerError::Management`] at the first thing that is refused.
    pub async fn apply(&self, topology: &Topology) -> Result<Vec<(&'static str, String)>, BrokerError> {
        self.check_users(topology).await?;
        let mut done = self.limit(topology).await?;
        for item in topology.items() {
            self.put(&item.path, &item.body, item.kind, &item.name).await?;
            done.push((item.kind, item.name));
        }
        for (exchange, queue, key) in topology.bindings() {
            let path = ["bindings", &self.vhost, "e", exchange, "q", &queue].map(str::to_owned);
            let binding = json!({ "routing_key": key, "arguments": {} });
            let (status, answer) = self.ask(Method::POST, &path, Some(&binding)).await?;
            self.accepted(status, answer, "binding", &queue)?;
        }
        for (user, permission) in topology.permissions() {
            if let Some(body) = topology.user(&user) {
                self.put(&["users".to_owned(), user.clone()], &body, "user", &user).await?;
            }
            let path = ["permissions".to_owned(), self.vhost.clone(), user.clone()];
            self.put(&path, &permission, "permissions of", &user).await?;
            done.push(("user", user));
        }
        Ok(done)
    }

    /// Limits: those that are there stay, but for what is asked for.
    async fn limit(&self, topology: &Topology) -> Result<Vec<(&'static str, String)>, BrokerError> {
        let (mut done, mut of_all) = (Vec::new(), None);
        for policy in topology.policies() {
            let path = ["policies", &self.vhost, &policy.name].map(str::to_owned);
            let (status, there) = self.ask(Method::GET, &path, None).await?;
            let there = match status {
                StatusCode::NOT_FOUND => None,
                _ => self.accepted(status, there, "policy", &policy.name)?.get("definition").cloned(),
            };
            if there.is_none() || !policy.asked.is_empty() {
                self.put(&path, &policy.body(there.as_ref().or(of_all.as_ref())), "policy", &policy.name).await?;
            }
            of_all = of_all.or(there);
            done.push(("policy", policy.name));
        }
        Ok(done)
    }

    /// Which of these users the broker has. They are the same in all virtual hosts.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn users(&self, of: &[String]) -> Result<BTreeSet<String>, BrokerError> {
        let mut there = BTreeSet::new();
        for user in of {
            if self.has_user(user).await? {
                there.insert(user.clone());
            }
        }
        Ok(there)
    }

    /// Before anything is made: a user without a known password must be there already.
    async fn check_users(&self, topology: &Topology) -> Result<(), BrokerError> {
        for user in topology.users() {
            if !topology.passwords.contains_key(&user) && !self.has_user(&user).await? {
                return Err(self.refused(format!("user {user} is new and has no password: give --password-dir DIR")));
            }
        }
        Ok(())
    }

    /// How full the queue of a feed is; `None` when there is none.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn depth(&self, feed: &str) -> Result<Option<Depth>, BrokerError> {
        let Some(queue) = self.counted(&queue_of(feed)).await? else { return Ok(None) };
        let dead = self.counted(&dead_queue_of(feed)).await?;
        Ok(Some(Depth {
            ready: queue.messages_ready,
            unacknowledged: queue.messages_unacknowledged,
            bytes: queue.message_bytes,
            consumers: queue.consumers,
            dead: dead.map_or(0, |dead| dead.messages_ready + dead.messages_unacknowledged),
        }))
    }

    async fn counted(&self, queue: &str) -> Result<Option<Counted>, BrokerError> {
        let path = ["queues".to_owned(), self.vhost.clone(), queue.to_owned()];
        let (status, body) = self.ask(Method::GET, &path, None).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => {
                let body = self.accepted(status, body, "queue", queue)?;
                let counted = serde_json::from_value(body);
                counted.map(Some).map_err(|_| self.refused(format!("what it says of queue {queue} does not read")))
            }
        }
    }

    async fn has_user(&self, user: &str) -> Result<bool, BrokerError> {
        let (status, body) = self.ask(Method::GET, &["users".to_owned(), user.to_owned()], None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.accepted(status, body, "user", user).map(|_| true)
    }

    async fn put(&self, path: &[String], body: &Value, kind: &str, name: &str) -> Result<(), BrokerError> {
        let (status, answer) = self.ask(Method::PUT, path, Some(body)).await?;
        self.accepted(status, answer, kind, name).map(|_| ())
    }

    async fn ask(
        &self,
        method: Method,
        path: &[String],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), BrokerError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        let mut request = self.client.request(method, url).basic_auth(&self.user, Some(&self.password));
        if let Some(body) = body {
            request = request.json(body);
        }
        // Without its URL, which stands in the place already.
        let unreachable =
            |error: reqwest::Error| BrokerError::Unreachable { place: self.place(), why: chain(&error.without_url()) };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    fn accepted(&self, status: StatusCode, body: Value, kind: &str, name: &str) -> Result<Value, BrokerError> {
        if status.is_success() {
            return Ok(body);
        }
        let reason = body.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            let why = format!("{reason} (the user needs the tag administrator to make users)");
            return Err(BrokerError::Denied { place: self.place(), why });
        }
        Err(self.refused(format!("{kind} {name}: {} {reason}", status.as_u16())))
    }

    fn refused(&self, why: String) -> BrokerError {
        BrokerError::Management { place: self.place(), why }
    }
}

/// An error with its causes, which the outermost hides.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// `%2F` and its like, as URLs write what a password may contain.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit =
            |at: usize| tail.get(at).and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high * 16 + low);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_the_brokers_unless_it_is_named() {
        let address = Address::parse("amqp://bus:b%2Fus@h/v", None).unwrap();
        let usual = Manager::new(&address, None).unwrap();
        assert_eq!(
            (usual.place().as_str(), usual.user.as_str(), usual.password.as_str()),
            ("http://h:15672", "bus", "b/us")
        );
        let own = Manager::new(&address, Some("https://admin:top%2Fsecret@m:1/mq/")).unwrap();
        assert_eq!(
            (own.place().as_str(), own.user.as_str(), own.password.as_str()),
            ("https://m:1/mq", "admin", "top/secret")
        );
        assert!(!format!("{own:?}").contains("secret"));
        assert_eq!(decoded("100%25%zz%e6%b1%87%"), "100%%zz汇%");
    }
}
