//! Who we are to a service: API keys, basic, OAuth 2 client credentials (RFC 6749 §4.4), request signatures by HMAC.

use chrono::Utc;
use hmac::Hmac;
use reqwest::{Client, RequestBuilder};
use sha2::Sha256;
use sm3::Sm3;

use crate::config::{Auth, Hidden, HmacDigest};
use crate::source::SourceError;

/// A way to say who we are, with the token it has got.
pub(super) struct Identity {
    auth: Auth,
    token: Option<Hidden>,
}

/// What a signature is made over.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) body: &'a str,
}

#[derive(serde::Deserialize)]
struct Granted {
    access_token: String,
}

impl Identity {
    pub(super) const fn new(auth: Auth) -> Self {
        Self { auth, token: None }
    }

    /// A request that says who we are.
    pub(super) async fn on(
        &mut self,
        request: RequestBuilder,
        client: &Client,
        signed: Signed<'_>,
    ) -> Result<RequestBuilder, SourceError> {
        Ok(match &self.auth {
            Auth::None => request,
            Auth::ApiKey { header, value } => request.header(header, &value.0),
            Auth::Basic { user, password } => request.basic_auth(user, Some(&password.0)),
            Auth::OAuth2 { .. } => {
                let token = self.token(client).await?;
                request.bearer_auth(token)
            }
            Auth::Hmac { app_id, secret, digest, template } => {
                let (timestamp, nonce) = (now(), nonce()?);
                let text = template
                    .replace("{app_id}", app_id)
                    .replace("{timestamp}", &timestamp)
                    .replace("{nonce}", &nonce)
                    .replace("{method}", signed.method)
                    .replace("{target}", signed.target)
                    .replace("{body}", signed.body);
                let signature = signature(*digest, secret, text.as_bytes());
                request
                    .header("X-App-Id", app_id)
                    .header("X-Timestamp", timestamp)
                    .header("X-Nonce", nonce)
                    .header("X-Signature", signature)
            }
        })
    }

    /// The service no longer knows us: whether saying it again may help.
    pub(super) fn forget(&mut self) -> bool {
        self.token = None;
        matches!(self.auth, Auth::OAuth2 { .. })
    }

    async fn token(&mut self, client: &Client) -> Result<String, SourceError> {
        if let Some(token) = &self.token {
            return Ok(token.0.clone());
        }
        let Auth::OAuth2 { token_url, client_id, client_secret, scope } = &self.auth else { return Ok(String::new()) };
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(scope.as_deref().map(|scope| ("scope", scope)));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = client.post(token_url).basic_auth(client_id, Some(&client_secret.0));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.map_err(|error| super::call::unreached("the token service", &error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(SourceError::Stranger { what: "the token service".to_owned(), status: status.as_u16() });
        }
        let granted: Granted =
            answer.json().await.map_err(|_| SourceError::NotWhatItSays { what: "the token service".to_owned() })?;
        self.token = Some(Hidden(granted.access_token.clone()));
        Ok(granted.access_token)
    }
}

#[expect(clippy::disallowed_methods, reason = "a service compares it with its own clock")]
fn now() -> String {
    Utc::now().timestamp_millis().to_string()
}

fn nonce() -> Result<String, SourceError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| SourceError::Unreached { why: error.to_string() })?;
    Ok(hex(&bytes))
}

fn signature(digest: HmacDigest, secret: &Hidden, text: &[u8]) -> String {
    let key = secret.0.as_bytes();
    match digest {
        HmacDigest::Sha256 => mac::<Hmac<Sha256>>(key, text),
        HmacDigest::Sm3 => mac::<Hmac<Sm3>>(key, text),
    }
}

fn mac<M: hmac::Mac + hmac::KeyInit>(key: &[u8], text: &[u8]) -> String {
    let Ok(mut mac) = <M as hmac::KeyInit>::new_from_slice(key) else { return String::new() };
    mac.update(text);
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_openssl() {
        // openssl dgst -sha256 -hmac key, and openssl dgst -sm3 -hmac key, of the 43 bytes of the fox (RFC 4231's style).
        let fox = b"The quick brown fox jumps over the lazy dog";
        let key = Hidden("key".to_owned());
        assert_eq!(
            signature(HmacDigest::Sha256, &key, fox),
            "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
        );
        assert_eq!(signature(HmacDigest::Sm3, &key, fox), SM3_OF_THE_FOX);
    }

    const SM3_OF_THE_FOX: &str = "bd4a34077888162b210645b8ebf74b9af357303789357a27c7fc457244ebd398";
}
