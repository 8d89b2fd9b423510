//! What a broker must hold: exchanges, one quorum queue and one dead-letter queue for each feed, receipts, and one user
//! for each subscriber who can do nothing but read its own queues and answer.
//!
//! Pure. Decides: names, arguments, permissions. Must not know: how a broker is told. What protects batches from being
//! lost stands in the queues' arguments, which nobody can change later; how much a queue may hold stands in a policy,
//! which may be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{BATCHES, DEAD, RECEIPTS, dead_queue_of, queue_of};

/// The policy with the limits.
const POLICY: &str = "huiliu.limits";

/// How much a feed's queue holds before it refuses more, as asked for: what is not named stays as it is, or is usual.
/// Refused batches wait in the store, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Batches.
    pub messages: Option<u64>,
    /// Bytes of their bodies.
    pub bytes: Option<u64>,
}

impl Limits {
    /// Where nobody has asked for anything.
    pub const USUAL: Self = Self { messages: Some(10_000), bytes: Some(8 << 30) };

    /// Whether nothing is asked for.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Written over a policy's definition.
    fn over(self, definition: &mut serde_json::Map<String, Value>) {
        let asked = [("max-length", self.messages), ("max-length-bytes", self.bytes)];
        definition.extend(asked.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))));
    }
}

/// A policy with limits: that of all feeds' queues, or of one feed's, which goes before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub name: String,
    pattern: String,
    priority: u8,
    pub asked: Limits,
}

impl Policy {
    /// With what is asked for, over the definition that is there.
    pub(super) fn body(&self, there: Option<&Value>) -> Value {
        let mut definition = serde_json::Map::new();
        Limits::USUAL.over(&mut definition);
        if let Some(Value::Object(there)) = there {
            definition.clone_from(there);
        }
        self.asked.over(&mut definition);
        json!({ "pattern": self.pattern, "apply-to": "queues", "priority": self.priority, "definition": definition })
    }
}

/// A password for a broker user, with the salt under which definitions show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// As the subscriber types it.
    pub text: String,
    /// Random.
    pub salt: [u8; 4],
}

/// The user of a subscriber. The prefix keeps a subscriber's name from being that of somebody else's account.
pub fn user_of(subscriber: &str) -> String {
    format!("huiliu.{subscriber}")
}

/// What a broker must hold.
pub struct Topology {
    /// Virtual host.
    pub vhost: String,
    /// Feeds whose queues are to be there.
    pub feeds: BTreeSet<String>,
    /// Every feed of these subscribers, by subscriber: what their users may read.
    pub subscribers: BTreeMap<String, BTreeSet<String>>,
    /// Limits that are asked for …
    pub limits: Limits,
    /// … for these feeds only, each with a policy of its own; else for all.
    pub limits_of_these: bool,
    /// Passwords by user; a user without one keeps what it has.
    pub passwords: BTreeMap<String, Password>,
}

/// One thing to be there: where the management API has it, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// `exchange`, `queue`, …
    pub kind: &'static str,
    pub name: String,
    /// Path below `/api`.
    pub path: Vec<String>,
    pub body: Value,
}

impl Topology {
    /// Policies, that of all feeds first.
    pub(super) fn policies(&self) -> Vec<Policy> {
        let of_these = self.limits_of_these && !self.limits.is_empty();
        let asked = if of_these { Limits::default() } else { self.limits };
        let all = Policy { name: POLICY.into(), pattern: "^huiliu\\.feed\\.".into(), priority: 0, asked };
        let own = |feed: &String| Policy {
            name: format!("{POLICY}.{feed}"),
            pattern: format!("^{}$", escaped(&queue_of(feed))),
            priority: 1,
            asked: self.limits,
        };
        let these = self.feeds.iter().filter(|_| of_these).map(own);
        std::iter::once(all).chain(these).collect()
    }

    /// Exchanges and queues, in the order in which they can be made.
    pub(super) fn items(&self) -> Vec<Item> {
        let mut items = Vec::from([BATCHES, DEAD, RECEIPTS].map(|name| self.exchange(name)));
        items.push(self.queue(RECEIPTS, json!({ "x-queue-type": "quorum", "x-overflow": "reject-publish" })));
        for feed in &self.feeds {
            items.push(self.queue(&dead_queue_of(feed), json!({ "x-queue-type": "quorum" })));
            items.push(self.queue(&queue_of(feed), self.feed_arguments(feed)));
        }
        items
    }

    /// Which queue gets what: exchange, queue, routing key.
    pub(super) fn bindings(&self) -> Vec<(&'static str, String, String)> {
        let of_feeds = self
            .feeds
            .iter()
            .flat_map(|feed| [(BATCHES, queue_of(feed), feed.clone()), (DEAD, dead_queue_of(feed), feed.clone())]);
        [(RECEIPTS, RECEIPTS.to_owned(), "#".to_owned())].into_iter().chain(of_feeds).collect()
    }

    /// Permissions by user.
    pub(super) fn permissions(&self) -> Vec<(String, Value)> {
        self.subscribers
            .iter()
            .map(|(subscriber, feeds)| {
                let queues: Vec<String> = feeds.iter().map(|feed| escaped(&queue_of(feed))).collect();
                let permission = json!({
                    "configure": "^$",
                    "write": format!("^{}$", escaped(RECEIPTS)),
                    "read": format!("^({})$", queues.join("|")),
                });
                (user_of(subscriber), permission)
            })
            .collect()
    }

    /// Users whose password is known, as the management API and definitions write them.
    pub(super) fn user(&self, name: &str) -> Option<Value> {
        let Password { text, salt } = self.passwords.get(name)?;
        let digest = Sha256::new().chain_update(salt).chain_update(text.as_bytes()).finalize();
        let hash = base64(&[salt.as_slice(), digest.as_slice()].concat());
        Some(json!({
            "password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "",
        }))
    }

    /// The users, by name.
    pub fn users(&self) -> Vec<String> {
        self.subscribers.keys().map(|subscriber| user_of(subscriber)).collect()
    }

    /// A definitions file, for `rabbitmqctl import_definitions` or the console.
    pub fn definitions(&self) -> Value {
        let named = |kind: &str| -> Vec<Value> {
            let items = self.items().into_iter().filter(|item| item.kind == kind);
            items.map(|item| with(item.body, &[("name", &item.name), ("vhost", &self.vhost)])).collect()
        };
        let policies = self.policies();
        let policies =
            policies.iter().map(|policy| with(policy.body(None), &[("name", &policy.name), ("vhost", &self.vhost)]));
        let bindings = self.bindings();
        let bindings = bindings.iter().map(|(exchange, queue, key)| {
            json!({
                "source": exchange, "vhost": self.vhost, "destination": queue, "destination_type": "queue",
                "routing_key": key, "arguments": {},
            })
        });
        let users = self.users();
        let users = users.iter().filter_map(|name| Some(with(self.user(name)?, &[("name", name)])));
        let permissions = self.permissions();
        let permissions = permissions
            .iter()
            .map(|(user, permission)| with(permission.clone(), &[("user", user), ("vhost", &self.vhost)]));
        json!({
            "vhosts": [{ "name": self.vhost }],
            "users": users.collect::<Vec<_>>(),
            "permissions": permissions.collect::<Vec<_>>(),
            "policies": policies.collect::<Vec<_>>(),
            "exchanges": named("exchange"),
            "queues": named("queue"),
            "bindings": bindings.collect::<Vec<_>>(),
        })
    }

    fn exchange(&self, name: &str) -> Item {
        let body =
            json!({ "type": "topic", "durable": true, "auto_delete": false, "internal": false, "arguments": {} });
        self.item("exchange", "exchanges", name, body)
    }

    fn queue(&self, name: &str, arguments: Value) -> Item {
        self.item("queue", "queues", name, json!({ "durable": true, "auto_delete": false, "arguments": arguments }))
    }

    /// A refused message comes back to us instead of pushing an older one out; one receiver at a time, so that order
    /// holds; what a receiver rejects for good is kept.
    fn feed_arguments(&self, feed: &str) -> Value {
        json!({
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-single-active-consumer": true,
            "x-dead-letter-exchange": DEAD,
            "x-dead-letter-routing-key": feed,
            "x-dead-letter-strategy": "at-least-once",
        })
    }

    fn item(&self, kind: &'static str, collection: &str, name: &str, body: Value) -> Item {
        let path = [collection, &self.vhost, name].map(str::to_owned).to_vec();
        Item { kind, name: name.to_owned(), path, body }
    }
}

/// An object with these texts first.
fn with(value: Value, texts: &[(&str, &str)]) -> Value {
    let mut all = serde_json::Map::new();
    all.extend(texts.iter().map(|(key, text)| ((*key).to_owned(), Value::from(*text))));
    if let Value::Object(rest) = value {
        all.extend(rest);
    }
    Value::Object(all)
}

/// A name as a regular expression that matches it and nothing else.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '-' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = usize::try_from((bits >> (18 - 6 * digit)) & 63).unwrap_or(0);
            out.push(if digit <= group.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let feeds = BTreeSet::from(["housing.enterprise".to_owned()]);
        let all = BTreeSet::from(["housing.enterprise".to_owned(), "housing.person".to_owned()]);
        Topology {
            vhost: "city".into(),
            feeds,
            subscribers: BTreeMap::from([("housing".to_owned(), all)]),
            limits: Limits { messages: Some(5), bytes: None },
            limits_of_these: false,
            passwords: BTreeMap::from([(
                "huiliu.housing".to_owned(),
                Password { text: "test12".into(), salt: [0x90, 0x8d, 0xc6, 0x0a] },
            )]),
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    /// The example of RabbitMQ's documentation on password hashes.
    #[test]
    fn a_password_is_hashed_as_rabbitmq_does() {
        let user = topology().user("huiliu.housing").unwrap();
        assert_eq!(user["password_hash"], "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }

    #[test]
    fn a_subscriber_reads_its_own_queues_and_writes_receipts() {
        insta::assert_snapshot!(topology().permissions()[0].1.to_string(), @r#"{"configure":"^$","write":"^huiliu\\.receipts$","read":"^(huiliu\\.feed\\.housing\\.enterprise|huiliu\\.feed\\.housing\\.person)$"}"#);
    }

    #[test]
    fn limits_of_one_feed_stand_beside_those_of_all_and_go_before_them() {
        let told = |topology: &Topology| -> Vec<String> {
            let told = |policy: &Policy| format!("{} {}", policy.name, policy.body(None)["definition"]);
            topology.policies().iter().map(told).collect()
        };
        let usual = r#"{"max-length":10000,"max-length-bytes":8589934592}"#;
        let asked = r#"{"max-length":5,"max-length-bytes":8589934592}"#;
        assert_eq!(told(&topology()), [format!("huiliu.limits {asked}")]);
        let these = Topology { limits_of_these: true, ..topology() };
        let own = format!("huiliu.limits.housing.enterprise {asked}");
        assert_eq!(told(&these), [format!("huiliu.limits {usual}"), own]);
        let there = json!({ "max-length": 7, "max-length-bytes": 8, "delivery-limit": -1 });
        let body = these.policies()[1].body(Some(&there));
        assert_eq!(body["definition"], json!({ "max-length": 5, "max-length-bytes": 8, "delivery-limit": -1 }));
        assert_eq!((&body["pattern"], &body["priority"]), (&json!(r"^huiliu\.feed\.housing\.enterprise$"), &json!(1)));
        let nothing = Topology { limits: Limits::default(), ..these };
        assert_eq!(told(&nothing), [format!("huiliu.limits {usual}")]);
    }

    #[test]
    fn definitions_name_everything_with_its_virtual_host() {
        let definitions = topology().definitions();
        let names = |kind: &str| -> Vec<String> {
            let all = definitions[kind].as_array().unwrap();
            all.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(names("exchanges"), ["huiliu.batches", "huiliu.dead", "huiliu.receipts"]);
        assert_eq!(
            names("queues"),
            ["huiliu.receipts", "huiliu.dead.housing.enterprise", "huiliu.feed.housing.enterprise"]
        );
        assert_eq!(names("policies"), ["huiliu.limits"]);
        assert_eq!(names("users"), ["huiliu.housing"]);
        assert_eq!(definitions["bindings"].as_array().unwrap().len(), 3);
        assert_eq!(definitions["queues"][2]["arguments"]["x-overflow"], "reject-publish");
        assert_eq!(definitions["queues"][2]["vhost"], "city");
        assert!(!definitions.to_string().contains("test12"));
    }
}
