//! A virtual host of the test broker for one test, the management API in a few words, and a proxy that misbehaves.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use huiliu::outlet::rabbitmq::{Address, Link, Patience, queue_of};
use lapin::options::QueueDeclareOptions;
use reqwest::{Client, Method, Url};
use serde_json::{Value as Json, json};

use super::services::{service, unique};

/// Waits long enough for a busy machine, and not for ever.
pub const PATIENCE: Patience = Patience { connect: Duration::from_secs(10), confirm: Duration::from_secs(20) };

/// A virtual host of its own, deleted with its users when the test ends.
pub struct Vhost {
    pub name: String,
    /// Subscribers whose users are deleted too.
    pub subscribers: Vec<String>,
    /// URLs of the broker and of its management API.
    server: (String, String),
}

impl Vhost {
    /// Makes it, with two subscribers of names that no other test has.
    pub async fn new() -> Self {
        Self::on((service("RABBITMQ"), service("RABBITMQ_API"))).await
    }

    /// As [`Self::new`], at this broker with this management API.
    pub async fn on(server: (String, String)) -> Self {
        let name = unique("v");
        let subscribers = ["a", "b"].map(unique).to_vec();
        let vhost = Self { name, subscribers, server };
        let (user, all) = (Url::parse(&vhost.server.0).unwrap().username().to_owned(), ".*");
        let permission = json!({ "configure": all, "write": all, "read": all });
        vhost.ask(Method::PUT, &["vhosts", &vhost.name], json!({})).await;
        vhost.ask(Method::PUT, &["permissions", &vhost.name, &user], permission).await;
        vhost
    }

    /// Asks its broker's management API.
    pub async fn ask(&self, method: Method, path: &[&str], body: Json) -> Json {
        api_at(&self.server.1, method, path, body).await
    }

    /// Where that is.
    pub fn api(&self) -> &str {
        &self.server.1
    }

    /// `amqp://…/name` as the bus connects.
    pub fn url(&self) -> String {
        self.at(&self.server.0)
    }

    /// Another URL of the broker, in this virtual host.
    pub fn at(&self, url: &str) -> String {
        let (server, _) = url.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    /// As a subscriber connects.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        let mut url = Url::parse(&self.url()).unwrap();
        url.set_username(user).unwrap();
        url.set_password(Some(password)).unwrap();
        url.to_string()
    }

    /// As the bus, through a proxy.
    pub fn through(&self, proxy: &Proxy) -> String {
        let mut url = Url::parse(&self.url()).unwrap();
        url.set_port(Some(proxy.port)).unwrap();
        url.to_string()
    }

    /// A connection as the bus.
    pub async fn link(&self) -> Link {
        Link::open(&Address::parse(&self.url(), None).unwrap(), PATIENCE).await.unwrap()
    }

    /// Batches in a feed's queue that nobody has.
    pub async fn queued(&self, feed: &str) -> u32 {
        let channel = self.link().await.channel().await.unwrap();
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(queue_of(feed).as_str().into(), passive, Default::default()).await.unwrap();
        queue.message_count()
    }

    /// Closes every connection into this virtual host, as an administrator does; waits until the broker shows one.
    pub async fn close_connections(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        for _ in 0..100 {
            tick.tick().await;
            if self.close_shown_connections().await > 0 {
                return;
            }
        }
        panic!("no connection showed up");
    }

    /// Closes every connection that the broker shows; how many.
    pub async fn close_shown_connections(&self) -> usize {
        let all = self.ask(Method::GET, &["vhosts", &self.name, "connections"], Json::Null).await;
        let names: Vec<&str> = all.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        for name in &names {
            self.ask(Method::DELETE, &["connections", name], Json::Null).await;
        }
        names.len()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let (name, subscribers) = (self.name.clone(), std::mem::take(&mut self.subscribers));
        let at = self.server.1.clone();
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                api_at(&at, Method::DELETE, &["vhosts", &name], Json::Null).await;
                for subscriber in subscribers {
                    api_at(&at, Method::DELETE, &["users", &format!("huiliu.{subscriber}")], Json::Null).await;
                }
            });
        });
        dropping.join().ok();
    }
}

/// Asks the management API; what it does not know is null.
pub async fn api(method: Method, path: &[&str], body: Json) -> Json {
    api_at(&service("RABBITMQ_API"), method, path, body).await
}

async fn api_at(api: &str, method: Method, path: &[&str], body: Json) -> Json {
    let mut url = Url::parse(api).unwrap();
    let (user, password) = (url.username().to_owned(), url.password().unwrap().to_owned());
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    url.path_segments_mut().unwrap().pop_if_empty().push("api").extend(path);
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder().no_proxy().tls_certs_only(Vec::new()).build().unwrap();
    let request = client.request(method, url).basic_auth(user, Some(password));
    let request = if body.is_null() { request } else { request.json(&body) };
    // A broker that has just started, or has much to do, answers 500 now and then.
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut patience = 20;
    let response = loop {
        tick.tick().await;
        patience -= 1;
        let response = request.try_clone().unwrap().send().await.unwrap();
        if patience == 0 || !response.status().is_server_error() {
            break response;
        }
    };
    let status = response.status();
    assert!(status.is_success() || status.as_u16() == 404, "{status} {path:?}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default()
}

/// A connection that can be cut, held up, or told that the broker is blocked.
pub struct Proxy {
    pub port: u16,
    clients: Arc<Mutex<Vec<TcpStream>>>,
    held: Arc<AtomicBool>,
}

/// `connection.blocked` with a reason, as a frame (AMQP 0-9-1 §4.2.3).
fn blocked(reason: &str) -> Vec<u8> {
    let length = u8::try_from(reason.len()).unwrap();
    [&[1, 0, 0, 0, 0, 0, length + 5, 0, 10, 0, 60, length], reason.as_bytes(), &[0xce]].concat()
}

/// `connection.unblocked`.
const UNBLOCKED: &[u8] = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x3d\xce";

impl Proxy {
    /// To the test broker.
    pub fn new() -> Self {
        let upstream = Url::parse(&service("RABBITMQ")).unwrap();
        let upstream = format!("{}:{}", upstream.host_str().unwrap(), upstream.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (clients, held) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, hold) = (Arc::clone(&clients), Arc::clone(&held));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&upstream) else { return };
                all.lock().unwrap().push(client.try_clone().unwrap());
                let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let hold = Arc::clone(&hold);
                thread::spawn(move || pass(client, to_server, &hold));
                thread::spawn(move || pass(server, to_client, &AtomicBool::new(false)));
            }
        });
        Self { port, clients, held }
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        for client in self.clients.lock().unwrap().drain(..) {
            client.shutdown(Shutdown::Both).ok();
        }
    }

    /// From now on, what clients send is swallowed.
    pub fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Tells every client why the broker is blocked, or that it is not any more. Nothing else must be on its way to them.
    pub fn alarm(&self, why: Option<&str>) {
        let frame = why.map_or_else(|| UNBLOCKED.to_vec(), blocked);
        for mut client in self.clients.lock().unwrap().iter() {
            client.write_all(&frame).unwrap();
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, held: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || (!held.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err()) {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
}
