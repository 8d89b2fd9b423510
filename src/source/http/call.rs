//! One call: address, body, who we are, patience, and whether the answer is one.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, LINK, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url};

use super::auth::{Identity, Signed};
use super::budget::Budget;
use crate::config::{Endpoint, Format, Http};
use crate::source::SourceError;

/// How often a service that asks for patience is called again.
const TRIES: u32 = 5;
/// The longest that a service may ask us to wait within a pull.
const LONGEST: Duration = Duration::from_secs(60);
/// Bytes of one answer.
const MOST_BYTES: usize = 64 << 20;

/// What is known when a page is asked for.
pub(super) struct Ask {
    /// Placeholders and what stands for them.
    pub(super) known: Vec<(String, String)>,
    /// The whole address, where the service gave it.
    pub(super) link: Option<String>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// `Link: <…>; rel="next"` (RFC 8288).
    pub(super) link: Option<String>,
    /// How long the call that was answered took.
    pub(super) took: Duration,
    /// Whether the service had asked for patience before.
    pub(super) refused: bool,
}

/// Calls one endpoint.
pub(super) struct Caller {
    client: Client,
    base: Url,
    endpoint: Endpoint,
    identity: tokio::sync::Mutex<Identity>,
    budget: Option<Mutex<Budget>>,
    name: String,
}

impl Caller {
    pub(super) fn new(
        http: &Http,
        endpoint: &Endpoint,
        (dir, state): (&Path, &Path),
        name: &str,
    ) -> Result<Self, SourceError> {
        let bad = |why: &str| SourceError::Service { what: name.to_owned(), why: why.to_owned() };
        let base: Url = http.base.value.parse().map_err(|_| bad("the base address does not read as a URL"))?;
        crate::source::trust_ring();
        let mut builder =
            Client::builder().timeout(http.timeout).no_proxy().redirect(reqwest::redirect::Policy::none());
        if let Some(ca) = &http.ca {
            let pem = std::fs::read(dir.join(ca)).map_err(|error| SourceError::reading(ca, error))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|_| bad("the certificates of ca do not read"))?;
            builder = builder.tls_certs_only(certificates);
        } else if base.scheme() == "http" {
            builder = builder.tls_certs_only(Vec::new());
        }
        let client = builder.build().map_err(|_| bad("no HTTP client can be made"))?;
        let budget = endpoint.calls_per_day.map(|calls| Mutex::new(Budget::new(state, name, calls)));
        let identity = tokio::sync::Mutex::new(Identity::new(http.auth.clone()));
        Ok(Self { client, base, endpoint: endpoint.clone(), identity, budget, name: name.to_owned() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks, and again where the service asks for patience.
    pub(super) async fn call(&self, ask: &Ask) -> Result<Answer, SourceError> {
        let (mut pause, mut renewed, mut refused) = (Duration::from_secs(1), false, false);
        for _ in 0..TRIES {
            if let Some(budget) = &self.budget {
                budget.lock().unwrap_or_else(PoisonError::into_inner).spend()?;
            }
            let asked = Instant::now();
            let response = self.send(ask).await?;
            let status = response.status();
            match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    if renewed || status == StatusCode::FORBIDDEN || !self.identity.lock().await.forget() {
                        return Err(SourceError::Stranger { what: self.name.clone(), status: status.as_u16() });
                    }
                    renewed = true; // a token that ran out is asked for once more
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let asked = retry_after(&response).unwrap_or(pause);
                    if asked > LONGEST {
                        return Err(SourceError::Patience { what: self.name.clone(), seconds: asked.as_secs() });
                    }
                    refused = true;
                    wait(asked).await;
                    pause = (pause * 2).min(LONGEST);
                }
                status if status.is_success() => {
                    let (bytes, link) = self.answer(response).await?;
                    return Ok(Answer { bytes, link, took: asked.elapsed(), refused });
                }
                status if status.is_server_error() => {
                    return Err(SourceError::Service {
                        what: self.name.clone(),
                        why: format!("status {}", status.as_u16()),
                    });
                }
                status => return Err(SourceError::Asked { what: self.name.clone(), status: status.as_u16() }),
            }
        }
        Err(SourceError::Patience { what: self.name.clone(), seconds: pause.as_secs() })
    }

    async fn send(&self, ask: &Ask) -> Result<Response, SourceError> {
        let url = self.address(ask)?;
        let body = self
            .endpoint
            .body
            .as_deref()
            .map(|body| filled(body, &ask.known, escaped_for(&self.endpoint.content_type)));
        let method = if self.endpoint.post { Method::POST } else { Method::GET };
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = self.client.request(method.clone(), url);
        for (name, value) in &self.endpoint.headers {
            request = request.header(name, filled(value, &ask.known, str::to_owned));
        }
        if let Some(body) = &body {
            request = request.header(CONTENT_TYPE, &self.endpoint.content_type).body(body.clone());
        }
        let body = body.unwrap_or_default();
        let signed = Signed { method: method.as_str(), target: &target, body: &body };
        let request = self.identity.lock().await.on(request, &self.client, signed).await?;
        request.send().await.map_err(|error| unreached(&self.name, &error))
    }

    fn address(&self, ask: &Ask) -> Result<Url, SourceError> {
        let bad = |why: &str| SourceError::Service { what: self.name.clone(), why: why.to_owned() };
        if let Some(link) = &ask.link {
            let url = self.base.join(link).map_err(|_| bad("its link to the next page does not read"))?;
            // A link must not lead our key to somebody else.
            if url.origin() != self.base.origin() {
                return Err(bad("its link to the next page leads to another host"));
            }
            return Ok(url);
        }
        let mut url = self.base.clone();
        let path = filled(&self.endpoint.path, &ask.known, str::to_owned);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/').filter(|part| !part.is_empty()));
        }
        if !self.endpoint.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.endpoint.query {
                pairs.append_pair(name, &filled(value, &ask.known, str::to_owned));
            }
        }
        Ok(url)
    }

    async fn answer(&self, mut response: Response) -> Result<(Vec<u8>, Option<String>), SourceError> {
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let link = next_link(&response);
        let mut bytes = Vec::new();
        let half = |error: reqwest::Error| SourceError::HalfPage { what: self.name.clone(), why: chain(error) };
        while let Some(part) = response.chunk().await.map_err(half)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > MOST_BYTES {
                let why = format!("one page has more than {} MiB", MOST_BYTES >> 20);
                return Err(SourceError::Service { what: self.name.clone(), why });
            }
        }
        let begins =
            bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf));
        let wrong = match &self.endpoint.format {
            Format::Json { .. } | Format::Ndjson => kind.contains("html") || begins == Some(b'<'),
            Format::Xml { .. } => kind.contains("html") || begins != Some(b'<'),
            _ => false,
        };
        if wrong { Err(self.not_what_it_says()) } else { Ok((bytes, link)) }
    }

    /// The answer is not in the format of the dataset.
    pub(super) fn not_what_it_says(&self) -> SourceError {
        SourceError::NotWhatItSays { what: self.name.clone() }
    }
}

/// The error of a call that had no answer.
pub(super) fn unreached(what: &str, error: &reqwest::Error) -> SourceError {
    let why = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        cause.to_string()
    };
    SourceError::Service { what: what.to_owned(), why }
}

fn chain(error: reqwest::Error) -> String {
    let mut text = error.without_url().to_string();
    text.truncate(text.floor_char_boundary(200));
    text
}

/// `{name}` in a template stands for what is known.
fn filled(template: &str, known: &[(String, String)], written: impl Fn(&str) -> String) -> String {
    known.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &written(value)))
}

/// How a value is written inside a body of this type.
fn escaped_for(content_type: &str) -> fn(&str) -> String {
    if content_type.contains("xml") {
        |value| html_escape::encode_text(value).into_owned()
    } else if content_type.contains("json") {
        |value| {
            let quoted = serde_json::Value::from(value).to_string();
            quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
        }
    } else {
        str::to_owned
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn next_link(response: &Response) -> Option<String> {
    let links = response.headers().get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| {
        let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = rest.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
        next.then(|| url.to_owned())
    })
}

#[expect(clippy::disallowed_methods, reason = "the service asked for it")]
async fn wait(span: Duration) {
    tokio::time::sleep(span).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_stands_in_templates_as_their_type_wants_it() {
        let known = [("since".to_owned(), "<\"2026\">".to_owned())];
        let body = |kind: &str, template: &str| filled(template, &known, escaped_for(kind));
        assert_eq!(body("text/xml; charset=utf-8", "<a>{since}</a>{other}"), "<a>&lt;\"2026\"&gt;</a>{other}");
        assert_eq!(body("application/json", "{\"a\":\"{since}\"}"), r#"{"a":"<\"2026\">"}"#);
    }
}
