//! The city's services (接口), answered by the demo itself on this machine: 电子证照 over REST with signed requests, 电子印章
//! over REST with a key, 国土房管 over SOAP in GBK.
//!
//! Decides: who may ask, how answers are cut into pages. Must not know: what rows mean, nor who asks. Guarantees: answers
//! on the address it was given only, as long as the value lives; a row is in an answer when it was put out after `since`,
//! in the order in which rows were put out; memory holds one mark a page, not the rows.

mod shelf;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use encoding_rs::GB18030;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sm3::Sm3;
use tokio::task::JoinHandle;

use self::shelf::{Page, Shelf};

/// The address that the embedded definitions name.
pub const SERVICES: &str = "127.0.0.1:37202";
/// What the e-license service and its connector share (`connectors/demo-only.key`). No secret: everybody reads it.
const SHARED: &[u8] = b"demo-only";
/// The key of the e-seal service. No secret either.
const KEY: &str = "demo-only";

/// The services while they answer.
#[derive(Debug)]
pub struct Services {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What every endpoint has.
struct Shelves {
    certificates: Shelf,
    seals: Shelf,
    titles: Shelf,
    land: Shelf,
}

impl Services {
    /// Answers on `listener` with what [`super::write_outbox`] put below `outbox`, from now on.
    ///
    /// # Errors
    /// When the listener cannot be used. Panics outside a Tokio runtime.
    pub fn start(listener: TcpListener, outbox: &Path) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let shelves = Arc::new(Shelves {
            certificates: Shelf::new(outbox.join("e-license"), "ZZML_"),
            seals: Shelf::new(outbox.join("e-seal"), "YZ_"),
            titles: Shelf::new(outbox.join("real-estate"), "BDCQ_"),
            land: Shelf::new(outbox.join("real-estate"), "TDGY_"),
        });
        let routes = Router::new()
            .route("/e-license/queryCatalogue", post(catalogue))
            .route("/e-seal/seals", get(seals))
            .route("/real-estate/services/BdcService", post(soap))
            .with_state(shelves);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the demo's services ended");
            }
        });
        Ok(Self { address, task })
    }

    /// Where they answer.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is asked of the certificate directory.
#[derive(serde::Deserialize)]
struct Query {
    data: Asked,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    since: String,
    page_no: usize,
    page_size: usize,
}

/// 电子证照目录: numbered pages of JSON; every request is signed (HMAC with SM3).
async fn catalogue(State(shelves): State<Arc<Shelves>>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    if !is_signed(&headers, uri.path(), &body) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(Query { data }) = serde_json::from_str::<Query>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let page = shelves.certificates.page(data.since, (data.page_no.saturating_sub(1), data.page_size)).await;
    answer(page, |page| {
        let head = format!(
            "{{\"head\":{{\"status\":0,\"message\":\"成功\"}},\"data\":{{\"total\":{},\"list\":[\n",
            page.total
        );
        json([head.as_bytes(), &page.rows.join(&b",\n"[..]), b"\n]}}\n"].concat())
    })
}

/// Whether the signature is that of these very headers, path and body.
fn is_signed(headers: &HeaderMap, target: &str, body: &str) -> bool {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(mut mac) = Hmac::<Sm3>::new_from_slice(SHARED) else { return false };
    for part in [said("x-app-id"), said("x-timestamp"), said("x-nonce"), "POST", target, body] {
        mac.update(part.as_bytes());
    }
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    signature == said("x-signature")
}

/// 电子印章登记: pages by offset, for who has the key.
async fn seals(State(shelves): State<Arc<Shelves>>, uri: Uri, headers: HeaderMap) -> Response {
    if headers.get("x-api-key").is_none_or(|key| key != KEY) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (mut since, mut offset, mut limit) = (String::new(), Some(0), Some(100));
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "since" => since = value.into_owned(),
            "offset" => offset = value.parse::<usize>().ok(),
            "limit" => limit = value.parse().ok(),
            _ => {}
        }
    }
    let (Some(offset), Some(limit)) = (offset, limit) else { return StatusCode::BAD_REQUEST.into_response() };
    if limit == 0 || !offset.is_multiple_of(limit) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let page = shelves.seals.page(since, (offset / limit, limit)).await;
    answer(page, |page| {
        json([&b"{\"code\":0,\"data\":{\"list\":[\n"[..], &page.rows.join(&b",\n"[..]), b"\n]}}\n"].concat())
    })
}

/// 不动产登记簿 and 土地出让结果: SOAP, told apart by the action.
async fn soap(State(shelves): State<Arc<Shelves>>, headers: HeaderMap, body: String) -> Response {
    let action = headers.get("soapaction").and_then(|action| action.to_str().ok()).unwrap_or_default();
    let (shelf, operation) = match action.trim_matches('"') {
        "urn:bdc:queryTitles" => (&shelves.titles, "queryTitles"),
        "urn:bdc:queryLand" => (&shelves.land, "queryLand"),
        _ => return StatusCode::BAD_REQUEST.into_response(),
    };
    let said = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.trim().to_owned())
    };
    let number = |name: &str| said(name)?.parse::<usize>().ok();
    let (Some(since), Some(page), Some(size)) = (said("since"), number("pageNo"), number("pageSize")) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    answer(shelf.page(since, (page.saturating_sub(1), size)).await, |page| {
        let open = format!(
            "<?xml version=\"1.0\" encoding=\"GBK\"?>\n\
             <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:bdc=\"urn:bdc\">\n\
             <soapenv:Body><bdc:{operation}Response><bdc:result><code>0</code><message>查询成功</message><list>\n"
        );
        let close = format!("\n</list></bdc:result></bdc:{operation}Response></soapenv:Body></soapenv:Envelope>\n");
        let body = [&GB18030.encode(&open).0[..], &page.rows.join(&b'\n'), close.as_bytes()].concat();
        ([("content-type", "text/xml; charset=GBK")], body).into_response()
    })
}

fn json(body: Vec<u8>) -> Response {
    ([("content-type", "application/json; charset=utf-8")], body).into_response()
}

fn answer(page: io::Result<Page>, written: impl FnOnce(Page) -> Response) -> Response {
    match page {
        Ok(page) => written(page),
        Err(error) => {
            tracing::error!(%error, "a shelf of the demo's services does not read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
