//! Where a broker is: `amqps://user:password@host:port/vhost`.
//!
//! Guarantees: what is printed of an address has neither user nor password.

use std::fmt;
use std::path::Path;

use lapin::uri::{AMQPScheme, AMQPUri};

use super::BrokerError;

/// Seconds between signs of life; a broker that shows none for two of them is gone.
const HEARTBEAT: u16 = 10;

/// A broker's address, and whom to believe that it is the broker.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) uri: AMQPUri,
    /// PEM of certificate authorities, believed beside the public ones.
    pub(super) ca: Option<String>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.place()).finish()
    }
}

impl Address {
    /// Reads an address; `ca` is a PEM file.
    ///
    /// # Errors
    /// [`BrokerError::Address`] when it does not read as one, or the file cannot be read. The address is not repeated.
    pub fn parse(url: &str, ca: Option<&Path>) -> Result<Self, BrokerError> {
        let malformed = |what: String| BrokerError::Address { what };
        let mut uri: AMQPUri = url.parse().map_err(|_| malformed("it does not read as a URL".into()))?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let ca = match ca {
            None => None,
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    malformed(format!("its certificate file {} cannot be read: {error}", file.display()))
                })?;
                if !text.contains("BEGIN CERTIFICATE") {
                    return Err(malformed(format!("there is no certificate in {}", file.display())));
                }
                Some(text)
            }
        };
        Ok(Self { uri, ca })
    }

    /// `amqps://host:port/vhost`, for people.
    pub fn place(&self) -> String {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        let vhost = if vhost == "/" { "" } else { vhost };
        format!("{scheme}://{}:{}/{vhost}", authority.host, authority.port)
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// The user who connects.
    pub fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(super) fn password(&self) -> &str {
        &self.uri.authority.userinfo.password
    }

    /// The management API on the broker's host: RabbitMQ's usual ports.
    pub(super) fn usual_api(&self) -> String {
        let host = &self.uri.authority.host;
        match self.uri.scheme {
            AMQPScheme::AMQP => format!("http://{host}:15672"),
            AMQPScheme::AMQPS => format!("https://{host}:15671"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        let address = Address::parse("amqps://bus:top%2Fsecret@mq.example/city", None).unwrap();
        assert_eq!(address.place(), "amqps://mq.example:5671/city");
        assert_eq!((address.user(), address.password(), address.vhost()), ("bus", "top/secret", "city"));
        assert!(!format!("{address:?}").contains("secret"));
        assert_eq!(address.usual_api(), "https://mq.example:15671");
        let plain = Address::parse("amqp://localhost", None).unwrap();
        assert_eq!((plain.place().as_str(), plain.vhost()), ("amqp://localhost:5672/", "/"));
        assert_eq!(plain.usual_api(), "http://localhost:15672");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for bad in ["", "top-secret", "http://top-secret@h", "amqp://:top-secret:@@"] {
            let error = Address::parse(bad, None).unwrap_err();
            assert!(!error.to_string().contains("top-secret"), "{error}");
        }
        assert!(Address::parse("amqps://h", Some("no/such.pem".as_ref())).is_err());
    }
}
