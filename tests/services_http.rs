//! Departments' services: the same records page by page in every way there is, and what goes wrong with them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use huiliu::engine::{RunOptions, RunReport};
use serde_json::{Value, json};

use super::runs::valid_code;
use super::support::{CODES, Small, line, secret};

/// A department's service: its records, and how it behaves.
#[derive(Default)]
pub struct Service {
    records: Mutex<Vec<Value>>,
    calls: AtomicU32,
    /// Answers in place of the next ones: status, `Retry-After`, body.
    instead: Mutex<Vec<(u16, Option<u32>, &'static str)>>,
    tokens: AtomicU32,
    /// After so many calls one is asked for patience.
    later: AtomicU32,
    /// Rows of a page at most, whatever is asked for; 0 for any number.
    cap: AtomicUsize,
    /// So many rows more are said than there are.
    more: AtomicUsize,
    /// Calls under way, and the most that there were.
    now: AtomicU32,
    most: AtomicU32,
}

pub type Shared = Arc<Service>;

impl Service {
    /// These are its records now.
    pub fn put(&self, records: Vec<Value>) {
        *self.records.lock().unwrap() = records;
    }
}

fn record(i: usize, name: &str, at: &str) -> Value {
    json!({ "代码": CODES[i], "名称": name, "资本": "100万元", "状态": "在营", "更新": at })
}

pub async fn serve(service: Shared) -> String {
    let routes = Router::new()
        .route("/v1/certs", any(certs))
        .route("/token", any(token))
        .route("/soap", any(soap))
        .route("/share", any(share))
        .with_state(service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

fn answer(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

async fn token(State(service): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let basic = headers.get("authorization").unwrap().to_str().unwrap();
    assert_eq!(basic, "Basic aHVpbGl1OnNlY3JldA==", "huiliu:secret");
    assert!(body.starts_with(b"grant_type=client_credentials"));
    let n = service.tokens.fetch_add(1, Ordering::SeqCst) + 1;
    answer(&json!({ "access_token": format!("token-{n}"), "expires_in": 1 }))
}

async fn certs(State(service): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query: HashMap<String, String> = pairs.into_owned().collect();
    let call = service.calls.fetch_add(1, Ordering::SeqCst) + 1;
    service.most.fetch_max(service.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    // Others are let in before this one is answered.
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
    tick.tick().await;
    tick.tick().await;
    service.now.fetch_sub(1, Ordering::SeqCst);
    if call == service.later.load(Ordering::SeqCst) {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response();
    }
    if let Some((status, after, body)) = service.instead.lock().unwrap().pop() {
        let mut answer = (StatusCode::from_u16(status).unwrap(), body).into_response();
        if let Some(after) = after {
            answer.headers_mut().insert("retry-after", after.to_string().parse().unwrap());
        }
        return answer;
    }
    let who = headers.get("authorization").and_then(|value| value.to_str().ok());
    if let Some(token) = who.and_then(|who| who.strip_prefix("Bearer "))
        && token == "token-1"
    {
        return StatusCode::UNAUTHORIZED.into_response(); // it ran out
    }
    if let Some(signature) = headers.get("x-signature") {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let signed = format!(
            "{}{}{}GET{}",
            text("x-app-id"),
            text("x-timestamp"),
            text("x-nonce"),
            uri.path_and_query().unwrap()
        );
        assert_eq!(signature.to_str().unwrap(), openssl_hmac_sm3("geheim", &signed));
    }
    let since = query.get("since").cloned().unwrap_or_default();
    let all = service.records.lock().unwrap().clone();
    let all: Vec<Value> = all.into_iter().filter(|record| record["更新"].as_str().unwrap() >= since.as_str()).collect();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let cap = service.cap.load(Ordering::SeqCst);
    let size = number("size").unwrap_or(100).min(if cap == 0 { 100 } else { cap });
    let begin = number("page").map(|page| (page - 1) * size).or(number("offset")).or(number("cursor")).unwrap_or(0);
    let items: Vec<&Value> = all.iter().skip(begin).take(size).collect();
    let end = begin + items.len();
    let next = (end < all.len()).then(|| end.to_string());
    let mut answer = answer(
        &json!({ "data": { "items": items, "next": next, "total": all.len() + service.more.load(Ordering::SeqCst) } }),
    );
    if query.contains_key("linked") && end < all.len() {
        let link = format!("</v1/certs?linked=1&size={size}&offset={end}>; rel=\"next\"");
        answer.headers_mut().insert("link", link.parse().unwrap());
    }
    answer
}

async fn soap(State(service): State<Shared>, headers: HeaderMap, body: String) -> Response {
    assert_eq!(headers["soapaction"], "urn:query");
    assert!(body.contains("<since>1970-01-01 &lt;</since>"), "{body}");
    let rows: String = service
        .records
        .lock()
        .unwrap()
        .iter()
        .map(|record| {
            let cell = |name: &str| format!("<{name}>{}</{name}>", record[name].as_str().unwrap());
            format!("<row>{}{}{}</row>", cell("代码"), cell("名称"), cell("状态"))
        })
        .collect();
    let envelope = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><result>{rows}</result></soap:Body></soap:Envelope>"
    );
    ([("content-type", "text/xml; charset=utf-8")], envelope).into_response()
}

/// 证照共享: what is asked for, encrypted to the public key whose file the caller names.
async fn share(State(service): State<Shared>, uri: Uri) -> Response {
    let records = Value::from(service.records.lock().unwrap().clone());
    let query = uri.query().unwrap_or_default().as_bytes();
    let (_, to) = url::form_urlencoded::parse(query).find(|(name, _)| name == "to").unwrap();
    let sealed = openssl_sm2(&to, &json!({ "items": records }).to_string());
    answer(&json!({ "head": { "status": 0 }, "data": { "certData": sealed } }))
}

/// In hexadecimal, as services send it.
fn openssl_sm2(public: &str, text: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let args = ["pkeyutl", "-encrypt", "-pubin", "-inkey", public];
    let mut openssl = Command::new("openssl").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let sealed = openssl.wait_with_output().unwrap().stdout;
    assert!(!sealed.is_empty(), "openssl gave nothing");
    sealed.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn openssl_hmac_sm3(key: &str, text: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let command = Command::new("openssl")
        .args(["dgst", "-sm3", "-hmac", key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut openssl = command.unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap();
    out.trim().rsplit(' ').next().unwrap().to_owned()
}

pub fn connect(small: &Small, base: &str, auth: &str, dataset: &str) {
    let text = format!(
        "version: 1
department: 行政审批服务局
source: {{ kind: http, base: \"{base}\", timeout: 5s{auth} }}
datasets:
  qy:
    key: [代码]
    updated: 更新
{dataset}
    columns: {{ 代码: text, 名称: text, 注册号: text, 资本: text, 状态: text, 更新: text }}
    drift: {{ lost_column: accept }}
"
    );
    small.write("connectors/gs.yaml", text);
}

const JSON: &str =
    "    format: { kind: json, records: data.items }\n    extract: full\n    missing: { hold_above: 60% }\n";

/// A service with five records, and a workspace that knows it.
async fn five() -> (Small, Shared, String) {
    let service = Shared::default();
    let records = (0..5).map(|i| record(i, &format!("企业{i}"), "2026-10-01 00:00:00"));
    *service.records.lock().unwrap() = records.collect();
    let base = serve(Arc::clone(&service)).await;
    (Small::new(), service, base)
}

async fn failure(small: &Small) -> String {
    match small.engine().await.run("qy", &RunOptions::default()).await {
        Err(error) => error.to_string(),
        Ok(RunReport { why, status, .. }) => format!("{status}: {}", why.unwrap_or_default()),
    }
}

#[tokio::test]
async fn pages_are_followed_in_every_way_that_services_have() {
    for (request, pages, calls) in [
        ("query: { page: \"{page}\", size: \"{size}\" }", "    pages: { by: page, size: 2 }", 4),
        ("query: { page: \"{page}\", size: \"{size}\" }", "    pages: { by: page, size: 2, last: short }", 3),
        ("query: { page: \"{page}\", size: \"{size}\" }", "    pages: { by: page, size: 2, total: data.total }", 3),
        ("query: { offset: \"{offset}\", size: \"{size}\" }", "    pages: { by: offset, size: 2 }", 4),
        ("query: { cursor: \"{cursor}\", size: \"{size}\" }", "    pages: { by: cursor, size: 2, next: data.next }", 3),
        ("query: { linked: \"1\", size: \"{size}\" }", "    pages: { by: link, size: 2 }", 3),
        ("query: { size: \"5\" }", "", 1),
    ] {
        let (small, service, base) = five().await;
        connect(&small, &base, "", &format!("    request: {{ path: v1/certs, {request} }}\n{pages}\n{JSON}"));
        assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/5/0/0/0/0", "{request}");
        assert_eq!(service.calls.load(Ordering::SeqCst), calls, "{request}");
        service.records.lock().unwrap().pop();
        assert_eq!(line(&small.run("qy").await), "succeeded 4/0/0/0/0/4/0/1", "{request}");
    }
}

/// A service that gives fewer rows than it is asked for loses none of them.
#[tokio::test]
async fn a_page_may_be_shorter_than_what_was_asked_for() {
    for (query, pages) in [
        ("page: \"{page}\"", "by: page, size: 4"),
        ("offset: \"{offset}\"", "by: offset, size: 4"),
        ("offset: \"{offset}\"", "by: offset, size: 4, at_once: 3"),
        ("offset: \"{offset}\"", "by: offset, size: 4, total: data.total"),
    ] {
        let (small, service, base) = five().await;
        service.cap.store(2, Ordering::SeqCst);
        let request = format!("    request: {{ path: v1/certs, query: {{ {query}, size: \"{{size}}\" }} }}");
        connect(&small, &base, "", &format!("{request}\n    pages: {{ {pages} }}\n{JSON}"));
        assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/5/0/0/0/0", "{pages}");
        service.more.store(1, Ordering::SeqCst);
        if pages.contains("total") {
            let why = failure(&small).await;
            assert!(why.contains("HL0344") && why.contains("6 rows, and gives 5"), "{why}");
        }
    }
}

#[tokio::test]
async fn pages_asked_for_at_the_same_time_come_in_their_order() {
    for (query, by) in [("page: \"{page}\"", "page"), ("offset: \"{offset}\"", "offset")] {
        let (small, service) = (Small::new(), Shared::default());
        let record = |i: usize| json!({ "代码": valid_code(i as u64), "名称": format!("企业{i}"), "资本": "1", "状态": "在营", "更新": "2026-10-01 00:00:00" });
        service.put((0..40).map(record).collect());
        let base = serve(Arc::clone(&service)).await;
        let dataset = format!(
            "    request: {{ path: v1/certs, query: {{ {query}, size: \"{{size}}\" }} }}\n    pages: {{ by: {by}, size: 2, \
             at_once: 4 }}\n{JSON}"
        );
        connect(&small, &base, "", &dataset);
        // In the middle the service asks for patience, of whichever page that hits.
        service.later.store(9, Ordering::SeqCst);
        let report = small.run("qy").await;
        assert_eq!(line(&report), "succeeded 40/0/0/40/0/0/0/0", "{by}");
        let mut engine = small.engine().await;
        let ids = engine.store().claimed_entities("enterprise", 0, 100).await.unwrap();
        let held = engine.store().before("enterprise", &ids).await.unwrap();
        let rows: Vec<i64> = ids.iter().map(|id| held[id].claims[0].origin.row).collect();
        assert_eq!(rows, (1..=40).collect::<Vec<_>>(), "{by}: rows are numbered in the order of pages");
        let names: Vec<String> = crate::support::enterprises(&small).await.into_values().collect();
        assert_eq!(names, (0..40).map(|i| format!("企业{i}")).collect::<Vec<_>>());
        assert!(service.most.load(Ordering::SeqCst) > 1, "{by}: never two at once");
        assert!(service.most.load(Ordering::SeqCst) <= 4, "{by}: more at once than configured");
    }
}

#[tokio::test]
async fn a_pull_by_cursor_asks_since_when_and_begins_anew_when_it_broke_off() {
    let (small, service, base) = five().await;
    let dataset = "    request: { path: v1/certs, query: { since: \"{since}\", page: \"{page}\", size: \"{size}\" } }
    pages: { by: page, size: 2 }
    format: { kind: json, records: data.items }
    extract: { cursor: 更新 }";
    connect(&small, &base, "", dataset);
    // The second page is a login page: what was taken before stays, and the place does not move.
    *service.instead.lock().unwrap() = vec![(200, None, "<html>请登录</html>")];
    assert!(failure(&small).await.contains("HL0343"));
    assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/5/0/0/0/0");
    {
        let mut records = service.records.lock().unwrap();
        records[1] = record(1, "企业新", "2026-10-02 00:00:00");
        records.push(record(5, "企业5", "2026-10-03 00:00:00"));
        // Older than what was taken: the service is not asked for it again.
        records[0] = record(0, "企业旧", "2026-09-01 00:00:00");
    }
    // The service's since includes its own instant: known rows come again and change nothing.
    assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/1/1/3/0/0");
    assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/0/0/1/0/0");
}

#[tokio::test]
async fn who_we_are_is_said_as_the_service_wants_it() {
    let request = format!("    request: {{ path: v1/certs }}\n{JSON}");
    let (small, service, base) = five().await;
    let token = format!(
        ", auth: {{ kind: oauth2, token_url: \"{base}/token\", client_id: huiliu, client_secret: {} }}",
        secret("secret")
    );
    connect(&small, &base, &token, &request);
    assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/5/0/0/0/0", "the first token has run out");
    assert_eq!(service.tokens.load(Ordering::SeqCst), 2);

    let (small, _, base) = five().await;
    connect(&small, &base, &format!(", auth: {{ kind: hmac, app_id: dsj, secret: {} }}", secret("geheim")), &request);
    assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/5/0/0/0/0");

    let (small, service, base) = five().await;
    connect(&small, &base, &format!(", auth: {{ kind: api_key, value: {} }}", secret("k")), &request);
    *service.instead.lock().unwrap() = vec![(403, None, "")];
    assert!(failure(&small).await.contains("HL0341"));
}

#[tokio::test]
async fn envelopes_of_soap_are_sent_and_read() {
    let (small, _, base) = five().await;
    let dataset = "    request:
      path: soap
      method: post
      headers: { SOAPAction: \"urn:query\" }
      content_type: text/xml; charset=utf-8
      begin: 1970-01-01 <
      body: <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><since>{since}</since></soap:Body></soap:Envelope>
    format: { kind: xml, record: Envelope/Body/result/row }
    extract: full";
    connect(&small, &base, "", dataset);
    assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/5/0/0/0/0");
}

/// The keys are openssl's, and so is the encryption.
#[tokio::test]
async fn what_a_service_encrypts_to_us_is_opened() {
    let (small, _service, base) = five().await;
    let path = |name: &str| small.path().join(name).display().to_string();
    for name in ["ours", "other"] {
        let (private, public) = (path(&format!("{name}.pem")), path(&format!("{name}.pub")));
        for args in [
            ["genpkey", "-algorithm", "SM2", "-out", &private].as_slice(),
            ["pkey", "-in", &private, "-pubout", "-out", &public].as_slice(),
        ] {
            assert!(std::process::Command::new("openssl").args(args).status().unwrap().success());
        }
    }
    let dataset = |key: &str| {
        format!(
            "    request: {{ path: share, query: {{ to: \"{}\" }} }}\n    format: {{ kind: json, records: items, unpack: [{{ member: data.certData }}, {{ sm2: \"file:{key}.pem\" }}] }}\n    extract: full\n",
            path("ours.pub")
        )
    };
    connect(&small, &base, "", &dataset("other"));
    let why = failure(&small).await;
    assert!(why.contains("HL0324") && !why.contains("BEGIN"), "{why}");
    connect(&small, &base, "", &dataset("ours"));
    let report = small.run("qy").await;
    assert_eq!((report.status, report.registers[0].counts.new), ("succeeded", 5), "{report:?}");
}

#[tokio::test]
async fn what_a_service_does_wrong_has_a_code_and_loses_nothing() {
    let paged = format!(
        "    request: {{ path: v1/certs, query: {{ page: \"{{page}}\", size: \"{{size}}\" }} }}\n    pages: {{ by: page, size: 2 }}\n{JSON}"
    );
    let (small, service, base) = five().await;
    connect(&small, &base, "", &paged);
    small.run("qy").await;
    let kept = small.engine().await.store().count("enterprise").await.unwrap();
    for (instead, code) in [
        (vec![(429, Some(600), "")], "HL0342"),
        (vec![(429, Some(0), ""); 5], "HL0342"),
        (vec![(500, None, "")], "HL0340"),
        (vec![(404, None, "")], "HL0346"),
        (vec![(200, None, "{\"data\": {\"items\": [{\"代码\": \"x\"}, {\"代")], "HL0344"),
    ] {
        *service.instead.lock().unwrap() = instead;
        let why = failure(&small).await;
        assert!(why.contains(code), "{code}: {why}");
        service.instead.lock().unwrap().clear();
        assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), kept);
    }
    // Two storms that pass.
    *service.instead.lock().unwrap() = vec![(503, Some(0), ""), (429, Some(0), "")];
    assert_eq!(line(&small.run("qy").await), "succeeded 5/0/0/0/0/5/0/0");

    // A service that does not care which page is asked for.
    connect(
        &small,
        &base,
        "",
        &paged.replace("page: \\\"{page}\\\"", "").replace("page: \"{page}\"", "seite: \"{page}\""),
    );
    let why = failure(&small).await;
    assert!(why.contains("HL0338"), "{why}");
    assert_eq!(small.engine().await.store().count("enterprise").await.unwrap(), kept);

    connect(&small, "http://127.0.0.1:1", "", &paged);
    assert!(failure(&small).await.contains("HL0340"));
}

#[tokio::test]
async fn the_daily_budget_holds_across_restarts() {
    let (small, service, base) = five().await;
    let request = "    request: { path: v1/certs, calls_per_day: 2, query: { page: \"{page}\", size: \"{size}\" } }";
    connect(&small, &base, "", &format!("{request}\n    pages: {{ by: page, size: 2 }}\n{JSON}"));
    assert!(failure(&small).await.contains("HL0345"));
    assert!(failure(&small).await.contains("HL0345"));
    assert_eq!(service.calls.load(Ordering::SeqCst), 2, "a call that is not allowed is not made");
}
