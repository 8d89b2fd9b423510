//! A TCP proxy that cuts connections after so many bytes, or lets them through in small pieces.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// See the module.
pub struct Proxy {
    address: String,
    /// Bytes that may yet come from the server.
    left: Arc<AtomicI64>,
    /// Bytes passed on at a time.
    piece: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of a server.
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self::at(listener.local_addr().unwrap().to_string());
        proxy.lead(listener, server.to_owned());
        proxy
    }

    /// In front of a server that names further ports to its clients, as FTP does, encrypted or not: the same ports at
    /// another address of this machine, one of those that the certificate of `deploy/dev/services` names.
    pub async fn before_ports(server: &str, further: RangeInclusive<u16>) -> Self {
        let (host, port) = server.split_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        'address: for n in 2..=17 {
            let own = format!("127.0.0.{n}");
            let mut listeners = Vec::new();
            for port in std::iter::once(port).chain(further.clone()) {
                let Ok(listener) = TcpListener::bind((own.as_str(), port)).await else { continue 'address };
                listeners.push((listener, format!("{host}:{port}")));
            }
            let proxy = Self::at(format!("{own}:{port}"));
            listeners.into_iter().for_each(|(listener, server)| proxy.lead(listener, server));
            return proxy;
        }
        panic!("other proxies have all addresses");
    }

    fn at(address: String) -> Self {
        Self { address, left: Arc::new(AtomicI64::new(i64::MAX)), piece: Arc::new(AtomicUsize::new(64 << 10)) }
    }

    /// Whoever comes there is led to the server, until the test ends.
    fn lead(&self, listener: TcpListener, server: String) {
        let (left, piece) = (Arc::clone(&self.left), Arc::clone(&self.piece));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(upstream) = TcpStream::connect(&server).await else { continue };
                tokio::spawn(pass(client, upstream, Arc::clone(&left), Arc::clone(&piece)));
            }
        });
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Cuts every connection once so many bytes came from the server, all of them together.
    pub fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// Cuts no more.
    pub fn open(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
    }

    /// Cuts no more, and passes on little at a time.
    pub fn trickle(&self) {
        self.open();
        self.piece.store(1460, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, server: TcpStream, left: Arc<AtomicI64>, piece: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async move { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let down = async move {
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let most = piece.load(Ordering::SeqCst).min(buffer.len());
            let read = from_server.read(&mut buffer[..most]).await?;
            if read == 0 || left.fetch_sub(read as i64, Ordering::SeqCst) < read as i64 {
                return Ok::<(), std::io::Error>(());
            }
            to_client.write_all(&buffer[..read]).await?;
            tokio::task::yield_now().await;
        }
    };
    // Whichever ends first ends both.
    tokio::select! { _ = up => {}, _ = down => {} }
}
