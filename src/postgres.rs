//! Connections to PostgreSQL that send at once.
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
