//! The way to a server, with a gate that stands open, holds up what passes, breaks it off, or lets nobody in.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use reqwest::Url;

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Nothing passes in either direction, and nothing is lost.
    Stalled,
    /// Connections break, and new ones too.
    Refused,
}

struct Inner {
    way: Mutex<Way>,
    turned: Condvar,
    clients: Mutex<Vec<TcpStream>>,
}

/// A TCP proxy in front of one server, for one process.
pub struct Gate {
    port: u16,
    inner: Arc<Inner>,
}

impl Gate {
    /// To the server of this URL.
    pub fn to(url: &str) -> Self {
        let url = Url::parse(url).unwrap();
        let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Inner { way: Mutex::new(Way::Open), turned: Condvar::new(), clients: Mutex::new(Vec::new()) };
        let inner = Arc::new(inner);
        let own = Arc::clone(&inner);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if *own.way.lock().unwrap() != Way::Refused
                    && let Ok(server) = TcpStream::connect(&upstream)
                {
                    own.join(client, server);
                }
            }
        });
        Self { port, inner }
    }

    /// The same URL, through the gate.
    pub fn through(&self, url: &str) -> String {
        let mut url = Url::parse(url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.to_string()
    }

    /// Turns it.
    pub fn turn(&self, way: Way) {
        *self.inner.way.lock().unwrap() = way;
        self.inner.turned.notify_all();
        if way == Way::Refused {
            self.cut();
        }
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        for client in self.inner.clients.lock().unwrap().drain(..) {
            client.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.turn(Way::Refused);
    }
}

impl Inner {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        self.clients.lock().unwrap().push(client.try_clone().unwrap());
        for (from, to) in [(client, to_server), (server, to_client)] {
            let own = Arc::clone(self);
            thread::spawn(move || own.pass(from, to));
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read) = from.read(&mut buffer) {
            let way = self.way.lock().unwrap();
            drop(self.turned.wait_while(way, |way| *way == Way::Stalled).unwrap());
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    }
}
