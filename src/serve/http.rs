//! `/healthz`, `/readyz`, `/metrics`. No values, no names of persons: who can reach the address may read them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::health::Pulse;
use super::metrics::Metrics;
use super::{Probe, ServeError, Setup, Stores};
use crate::clock::Clock;
use crate::config::Workspace;
use crate::store::{Store, StoreError};

/// What was read from the store answers so long, microseconds.
const FRESH: i64 = 5_000_000;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the daemon and those who ask about it share.
pub(super) struct Shared {
    pub(super) metrics: Metrics,
    pub(super) pulse: Arc<Pulse>,
    pub(super) holder: String,
    /// Whether the definitions on disk did not check when they were last read.
    pub(super) stale: AtomicBool,
    clock: Clock,
    stores: Stores,
    probes: Vec<Probe>,
    workspace: RwLock<Arc<Workspace>>,
    reader: Mutex<Reader>,
}

/// A connection for questions, opened on the first.
#[derive(Default)]
struct Reader {
    store: Option<Box<dyn Store>>,
    looked: Option<i64>,
}

impl Shared {
    pub(super) fn new(setup: &Setup, pulse: Arc<Pulse>, holder: String) -> Self {
        Self {
            metrics: Metrics::new(),
            pulse,
            holder,
            stale: AtomicBool::new(false),
            clock: setup.clock,
            stores: Arc::clone(&setup.stores),
            probes: setup.probes.clone(),
            workspace: RwLock::new(Arc::new(setup.workspace.clone())),
            reader: Mutex::default(),
        }
    }

    /// The definitions in force.
    pub(super) fn workspace(&self) -> Arc<Workspace> {
        Arc::clone(&self.workspace.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other definitions are in force.
    pub(super) fn redefine(&self, workspace: Arc<Workspace>) {
        *self.workspace.write().unwrap_or_else(PoisonError::into_inner) = workspace;
    }

    /// Whether the store answers.
    async fn reaches_store(&self) -> Result<(), String> {
        let mut reader = self.reader.lock().await;
        let asked = async {
            let store = self.connection(&mut reader).await?;
            store.leases().await
        };
        let asked = timeout(PATIENCE, asked).await;
        match asked {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => tracing::warn!(%error, "the store does not answer"),
            Err(_) => tracing::warn!("the store does not answer in time"),
        }
        reader.store = None;
        Err("the store does not answer".to_owned())
    }

    async fn connection<'a>(&self, reader: &'a mut Reader) -> Result<&'a mut dyn Store, StoreError> {
        let store = match reader.store.take() {
            Some(store) => store,
            None => (self.stores)().await?,
        };
        Ok(&mut **reader.store.insert(store))
    }

    /// Reads the state of everything, unless that was done a moment ago.
    async fn look(&self) {
        let now = self.clock.now().timestamp_micros();
        let mut reader = self.reader.lock().await;
        if reader.looked.is_some_and(|looked| (0..FRESH).contains(&(now - looked))) {
            return;
        }
        let workspace = self.workspace();
        let looked = async {
            let store = self.connection(&mut reader).await?;
            self.metrics.look(store, &workspace, (now, &self.holder)).await
        };
        if let Err(error) = looked.await {
            tracing::warn!(%error, "metrics about state could not be read from the store");
            reader.store = None;
            return;
        }
        reader.looked = Some(now);
    }
}

/// Listens; the address that was taken, where the port was left open.
pub(super) async fn bind(address: &str) -> Result<TcpListener, ServeError> {
    let refused = |error: std::io::Error| ServeError::Listen { address: address.to_owned(), why: error.to_string() };
    TcpListener::bind(address).await.map_err(refused)
}

/// Answers until `over`.
pub(super) async fn answer(
    listener: TcpListener,
    shared: Arc<Shared>,
    over: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared);
    axum::serve(listener, router).with_graceful_shutdown(over).await
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let stuck = shared.pulse.stuck(shared.clock.now().timestamp_micros());
    told(stuck.is_empty(), &json!({ "healthy": stuck.is_empty(), "stuck": stuck }))
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let definitions = shared.workspace().digest();
    let stale = shared.stale.load(Ordering::Relaxed);
    let mut checks = vec![
        check("store", shared.reaches_store().await),
        // What is in force has compiled; what is on disk may not have.
        json!({ "name": "definitions", "ok": true, "stale": stale }),
    ];
    for probe in &shared.probes {
        let asked = timeout(PATIENCE, (probe.ask)()).await;
        checks.push(check(probe.name, asked.unwrap_or_else(|_| Err("no answer in time".to_owned()))));
    }
    let ready = checks.iter().all(|check| check["ok"] == json!(true));
    told(ready, &json!({ "ready": ready, "definitions": definitions, "checks": checks }))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.look().await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text()).into_response()
}

fn check(name: &str, asked: Result<(), String>) -> Value {
    match asked {
        Ok(()) => json!({ "name": name, "ok": true }),
        Err(why) => json!({ "name": name, "ok": false, "why": why }),
    }
}

fn told(well: bool, body: &Value) -> Response {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
