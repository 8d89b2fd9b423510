//! RabbitMQ (消息队列): batches out through one exchange, one queue for each feed, receipts back through another.
//!
//! Decides: how a batch looks as a message, how queues and users are called, when a message counts as durable. Must not
//! know: what is in a batch, when to try again. Guarantees: a batch is durable only when the broker confirmed it *and*
//! did not return it; batches of one feed are published one after the other on one channel, so that no later one can be
//! in the queue before an earlier one; every wait is bounded and ends in an error with a code.
//!
//! A message: body = the batch's body; headers `manifest` and `signature`; `message_id` = `feed/seq`; persistent;
//! routing key = the feed's name. AMQP cannot split headers, so they must fit one frame ([`SPARE`] is left for the rest).

mod address;
mod error;
mod link;
mod manage;
mod message;
mod publish;
mod receipts;
mod topology;

pub use address::Address;
pub use error::BrokerError;
pub use link::{Link, Patience, within};
pub use manage::{Depth, Manager};
pub use message::{Parts, parts};
pub use publish::{RabbitMq, RabbitMqOutlet};
pub use receipts::{Answer, Answers, publish_receipt};
pub use topology::{Limits, Password, Topology, user_of};

/// The exchange that takes batches; routing key is the feed's name.
pub const BATCHES: &str = "huiliu.batches";
/// The exchange for what receivers reject for good.
pub const DEAD: &str = "huiliu.dead";
/// The exchange and the queue of receipts (回执).
pub const RECEIPTS: &str = "huiliu.receipts";
/// Bytes of a frame that are not manifest or signature, at most.
pub const SPARE: usize = 1024;

/// The queue of a feed.
pub fn queue_of(feed: &str) -> String {
    format!("huiliu.feed.{feed}")
}

/// The queue for what was rejected of a feed.
pub fn dead_queue_of(feed: &str) -> String {
    format!("huiliu.dead.{feed}")
}
