//! Connections to PostgreSQL that send at once, to addresses of which every word is understood.
//!
//! sqlx ignores parameters that it does not know, and logs them with their values: a password under a misspelled name is
//! then in the log, and with `sslmod=verify-full` nothing is verified. So addresses are looked through before it sees them.
//!
//! sqlx 0.9.0 leaves Nagle's algorithm on (launchbadge/sqlx#4335): of two small messages in a row, as the end of every
//! COPY is, the kernel holds the second back until the server acknowledges the first, which it delays by 40 ms. A chunk
//! is half a dozen COPYs. sqlx takes no socket of ours, so its connection goes through a Unix socket to a task that
//! passes the bytes on. A release of sqlx that sets `TCP_NODELAY` makes this module one line.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::net::{TcpStream, UnixListener};

/// Bytes on their way to the server, and from it.
const BUFFERS: (usize, usize) = (256 << 10, 64 << 10);

/// Parameters of an address that sqlx knows, beside `options[NAME]`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl-mode",
    "ssl-root-cert",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// What is wrong with an address. Without any value: it may be a password in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing of it can be told.
    #[error("the address does not read as a URL")]
    Url,
    /// A name that is none.
    #[error("the address has a parameter {key:?} that is not known{}", .nearest.map(|name| format!(", did you mean {name}?")).unwrap_or_default())]
    Parameter {
        /// As written; … when it does not look like a name.
        key: String,
        /// What was meant, perhaps.
        nearest: Option<&'static str>,
    },
    /// A value that is none of those that are possible.
    #[error("the address has a value of {key} that is not known")]
    Value {
        /// Of which parameter.
        key: String,
    },
    /// The server would take the user's name for it.
    #[error("the address names no database: postgres://USER:PASSWORD@HOST:5432/DATABASE")]
    NoDatabase,
}

/// How to connect to this address.
///
/// # Errors
/// [`AddressError`], but for a missing database, which is not everybody's.
pub fn options(url: &str) -> Result<PgConnectOptions, AddressError> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if matches!(key, "sslmode" | "ssl-mode") && !SSL_MODES.contains(&value.to_ascii_lowercase().as_str()) {
            return Err(AddressError::Value { key: key.to_owned() });
        }
        let setting = key.starts_with("options[") && key.ends_with(']');
        if !setting && !PARAMETERS.contains(&key) {
            let nearest = crate::error::nearest(key, PARAMETERS.iter().copied());
            let named = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) && key.len() <= 40;
            return Err(AddressError::Parameter { key: if named { key } else { "…" }.to_owned(), nearest });
        }
    }
    url.parse().map_err(|_| AddressError::Url)
}

/// The same, where the database must be named.
///
/// # Errors
/// [`AddressError`].
pub fn options_of_database(url: &str) -> Result<PgConnectOptions, AddressError> {
    let options = options(url)?;
    let named = options.get_database().is_some_and(|name| !name.is_empty());
    if named { Ok(options) } else { Err(AddressError::NoDatabase) }
}

/// A new connection. Errors: as [`sqlx::ConnectOptions::connect`].
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let host = options.get_host();
    if options.get_socket().is_some() || host.starts_with('/') {
        return options.connect().await;
    }
    let mut server = TcpStream::connect((host.trim_matches(['[', ']']), options.get_port())).await?;
    server.set_nodelay(true)?;
    let Ok(door) = Door::open(options.get_port()) else {
        return options.connect().await; // no room for a socket: slower, not wrong
    };
    let through = options.clone().socket(&door.dir);
    let relay = tokio::spawn(async move {
        let Ok((mut client, _)) = door.listener.accept().await else { return };
        drop(door);
        // Either end closes, or breaks off: the other is closed, and learns it as it would from a socket of its own.
        let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFERS.0, BUFFERS.1).await;
    });
    let connected = through.connect().await;
    if connected.is_err() {
        relay.abort();
    }
    connected
}

/// A Unix socket for one connection, in a directory that only this user enters; gone when dropped.
struct Door {
    dir: PathBuf,
    listener: UnixListener,
}

impl Door {
    #[expect(clippy::disallowed_methods, reason = "a socket's path must be short; nothing is written there")]
    fn open(port: u16) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("huiliu-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        match UnixListener::bind(dir.join(format!(".s.PGSQL.{port}"))) {
            Ok(listener) => Ok(Self { dir, listener }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&dir);
                Err(error)
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_an_address_is_understood_and_no_value_told() {
        let check = |url: &str, said: Option<&str>| {
            let told = options_of_database(url).err().map(|error| error.to_string());
            assert_eq!(told.as_deref(), said, "{url}");
        };
        check("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem", None);
        check("postgres://u:p@h/d?host=/run&options[statement_timeout]=5s&application_name=x", None);
        let meant = "the address has a parameter \"passwrod\" that is not known, did you mean password?";
        check("postgres://u@h/d?passwrod=Sekret77", Some(meant));
        let meant = "the address has a parameter \"sslmod\" that is not known, did you mean sslmode?";
        check("postgres://u@h/d?sslmod=verify-full", Some(meant));
        check("postgres://u:1?Sekret@h/d", Some("the address has a parameter \"…\" that is not known"));
        check("postgres://u@h/d?sslmode=Sekret77", Some("the address has a value of sslmode that is not known"));
        check("postgres://u:p@h:port/d", Some("the address does not read as a URL"));
        let none = "the address names no database: postgres://USER:PASSWORD@HOST:5432/DATABASE";
        check("postgres://u:p@h", Some(none));
        check("postgres://u:p@h/", Some(none));
        check("postgres://u:p@h?dbname=d", None);
    }
}
