//! Where log lines and traces go. Neither ever carries a cell value.

use std::io::{self, IsTerminal as _};
use std::thread;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter};

use crate::config::{Installation, LogFormat};
use crate::error::Problem;

/// Log lines on stderr: warnings on a terminal, which has progress bars, more elsewhere. `HUILIU_LOG` says otherwise, and
/// `HUILIU_LOG_FORMAT=json` makes each a JSON object.
pub fn begin() {
    let usual = if io::stderr().is_terminal() { "warn" } else { "info" };
    tracing_subscriber::registry().with(lines(usual, format(LogFormat::Text))).init();
}

/// The daemon's log, and its traces when the installation sends them.
///
/// # Errors
/// HL0905 when the address of traces is none.
pub(super) fn begin_daemon(installation: &Installation) -> Result<Traces, Problem> {
    let provider = installation.otlp.as_deref().map(provider).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("huiliu"));
        let layer = layer.with_location(false).with_threads(false).with_target(false);
        layer.with_filter(filter::filter_fn(|metadata| metadata.target().starts_with("huiliu")))
    });
    tracing_subscriber::registry().with(lines("info", format(installation.log))).with(spans).init();
    Ok(Traces(provider))
}

/// Traces on their way.
pub(super) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what is left.
    pub(super) async fn finish(self) {
        let Some(provider) = self.0 else { return };
        match tokio::task::spawn_blocking(move || provider.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not sent"),
            Err(error) => tracing::warn!(%error, "the last traces were not sent"),
        }
    }
}

/// What the environment says, else the installation.
fn format(installation: LogFormat) -> LogFormat {
    match std::env::var("HUILIU_LOG_FORMAT").as_deref() {
        Ok("json") => LogFormat::Json,
        Ok("text") => LogFormat::Text,
        _ => installation,
    }
}

/// What the broker's client library logs is told again, with a code, where it is handled.
fn lines(usual: &str, format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let filter = EnvFilter::try_from_env("HUILIU_LOG").unwrap_or_else(|_| EnvFilter::new(format!("{usual},lapin=off")));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
    }
}

/// Spans in batches by OTLP over HTTP.
fn provider(address: &str) -> Result<SdkTracerProvider, Problem> {
    let refused = |why: String| {
        let problem = Problem::error("HL0905", "traces cannot be sent where otlp: says").detail(why);
        problem.hint("write otlp: http://HOST:4318")
    };
    if !(address.starts_with("http://") || address.starts_with("https://")) {
        return Err(refused("it is no http:// or https:// address".into()));
    }
    let base = address.trim_end_matches('/');
    let endpoint = if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") };
    rustls::crypto::ring::default_provider().install_default().ok(); // somebody may have been first
    // The exporter's client blocks, and must not be made on a thread that serves tasks.
    let making = thread::spawn(move || SpanExporter::builder().with_http().with_endpoint(endpoint).build());
    let made = making.join().map_err(|_| refused("the exporter did not start".into()))?;
    let exporter = made.map_err(|error| refused(error.to_string()))?;
    let resource = Resource::builder().with_service_name("huiliu").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
