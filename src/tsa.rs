//! Asking a time-stamping authority (时间戳机构) over HTTP (RFC 3161 §3.4).
//!
//! Decides: how long is waited, and how much is read. Must not know: batches, stores, when to try again. Guarantees: what
//! is given back was verified; an address, which may hold a password, is in no error.

use reqwest::header::CONTENT_TYPE;

use crate::clock::Clock;
use crate::config::Timestamps;
use crate::crypto::{Demands, Question, StampError, StampedBy, Trust, policy, signature_value, verify_stamp};
use crate::pki;

/// Bytes of an answer; tokens with a chain of certificates have some thousands.
const MOST: usize = 1 << 20;

/// An authority that can be asked.
#[derive(Debug)]
pub struct Authority {
    asked: Timestamps,
    place: String,
    client: reqwest::Client,
    trust: Trust,
    clock: Clock,
}

impl Authority {
    /// As the installation names it, believed under these roots.
    ///
    /// # Errors
    /// [`StampError::Unreachable`] when the address is none.
    pub fn new(asked: &Timestamps, trust: Trust, clock: Clock) -> Result<Self, StampError> {
        let url = url::Url::parse(&asked.url).ok();
        let port = url.as_ref().and_then(url::Url::port).map(|port| format!(":{port}")).unwrap_or_default();
        let host = url.as_ref().and_then(url::Url::host_str).unwrap_or("without an address");
        let place = format!("{host}{port}");
        let client = pki::client(asked.patience).map_err(|error| unreachable(&place, error))?;
        Ok(Self { asked: asked.clone(), place, client, trust, clock })
    }

    /// A token for this detached signature, as it came, and what it proves.
    ///
    /// # Errors
    /// [`StampError`].
    pub async fn stamp(&self, signature: &[u8]) -> Result<(Vec<u8>, StampedBy), StampError> {
        let (value, algorithm) = signature_value(signature)?;
        let policy = self.asked.policy.as_deref().and_then(policy);
        let question = Question::about(&value, algorithm, policy)?;
        let response = self.ask(&question).await?;
        let demands = Demands { question: Some(&question), policy };
        let by = verify_stamp(&response, &value, demands, &self.trust, self.clock.now())?;
        for doubt in &by.warnings {
            tracing::error!(doubt, "a time stamp counts though its authority's revocation is in doubt");
        }
        Ok((response, by))
    }

    async fn ask(&self, question: &Question) -> Result<Vec<u8>, StampError> {
        let failed = |error: reqwest::Error| unreachable(&self.place, error);
        let asked = self
            .client
            .post(&self.asked.url)
            .header(CONTENT_TYPE, "application/timestamp-query")
            .body(question.der.clone());
        let mut answer = asked.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST {
                return Err(StampError::Unreadable { what: "it is longer than any token".into() });
            }
        }
        Ok(bytes)
    }
}

fn unreachable(place: &str, error: reqwest::Error) -> StampError {
    let why = match error.status() {
        Some(status) => format!("HTTP {status}"),
        None if error.is_timeout() => "no answer in time".to_owned(),
        None if error.is_builder() => "its address cannot be read".to_owned(),
        None => innermost(&error.without_url()),
    };
    StampError::Unreachable { place: place.to_owned(), why }
}

/// The system's reason: `Connection refused`, rather than that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}
