//! The listeners over real sockets, in front of a process that only takes notes.

mod log;
mod orders;
mod purge;

use std::path::Path;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::client::{Client, ClientError};
use super::token::{RuntimeDirs, Token, own_token};
use super::*;
use crate::config::Level;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Fake {
    calls: Mutex<Vec<String>>,
    ready: Mutex<Result<(), String>>,
    reload: Mutex<Result<Value, Vec<String>>>,
    drained: watch::Sender<bool>,
}

#[async_trait::async_trait]
impl Control for Fake {
    fn live(&self) -> bool {
        true
    }
    fn ready(&self) -> Result<(), String> {
        self.ready.lock().clone()
    }
    fn metrics(&self) -> String {
        "outboard_drain_state 1\n".into()
    }
    fn config(&self) -> String {
        "admin: {}\n".into()
    }
    fn routes(&self) -> Value {
        json!([{ "name": "default" }])
    }
    fn requests(&self) -> Value {
        json!([])
    }
    fn upstreams(&self) -> Value {
        json!({ "app": {} })
    }
    fn breakers(&self) -> Value {
        json!({ "breakers": [] })
    }
    fn tell_breaker(&self, scope: &str, word: &str) -> Result<Value, Refused> {
        self.calls.lock().push(format!("breaker {scope} {word}"));
        if scope == "upstream:app" { Ok(json!({ "state": word })) } else { Err(Refused::Unknown("no such".into())) }
    }
    fn policies(&self) -> Value {
        json!({ "switched": [] })
    }
    fn switch(&self, route: &str, policy: &str, word: &str, time: Option<Duration>) -> Result<Value, Refused> {
        self.calls.lock().push(format!("policy {route} {policy} {word} {time:?}"));
        if word == "observe" { Err(Refused::Impossible("cannot".into())) } else { Ok(json!({ "switch": word })) }
    }
    fn cache(&self) -> Value {
        json!({ "bytes": 1, "capacity": 2, "objects": 3, "evictions": 4 })
    }
    fn purge(&self, order: &PurgeOrder) -> Result<Value, Refused> {
        self.calls.lock().push(format!("purge {order}"));
        if order.what == Purge::Route("none".into()) {
            Err(Refused::Unknown("no such".into()))
        } else {
            Ok(order.done())
        }
    }
    async fn idempotency(&self, query: Option<&str>) -> Result<Value, Refused> {
        Ok(json!({ "query": query }))
    }
    async fn resolve(&self, hash: &str, order: &ResolveOrder) -> Result<Value, Refused> {
        self.calls.lock().push(format!("resolve {hash} {}", order.outcome.as_str()));
        if hash == "00" { Err(Refused::Unknown("no such".into())) } else { Ok(json!({ "confirm": "c" })) }
    }
    fn drain(&self, exit: bool) {
        self.calls.lock().push(format!("drain exit={exit}"));
    }
    fn drained(&self) -> watch::Receiver<bool> {
        self.drained.subscribe()
    }
    async fn reload(&self) -> Result<Value, Vec<String>> {
        self.calls.lock().push("reload".into());
        self.reload.lock().clone()
    }
    fn set_level(&self, level: Level) {
        self.calls.lock().push(format!("level {level:?}"));
    }
}

struct Running {
    control: Arc<Fake>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

fn token() -> Token {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    own_token(0, Some(Path::new(&path)), &RuntimeDirs::new([])).unwrap()
}

async fn start(probes: bool) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let control = Arc::new(Fake {
        calls: Mutex::default(),
        ready: Mutex::new(Ok(())),
        reload: Mutex::new(Ok(json!({ "changed": [] }))),
        drained: watch::Sender::new(false),
    });
    let surface =
        if probes { Surface::Probes } else { Surface::Full { address: "admin.test:1".into(), token: token() } };
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_with(listener, surface, control.clone(), Duration::from_millis(300)));
    Running { control, address, _tasks: tasks }
}

impl Running {
    fn client(&self, token: Option<&str>) -> Client {
        Client::new(&self.address.to_string(), token.map(String::from), Duration::from_secs(20))
    }

    fn calls(&self) -> Vec<String> {
        self.control.calls.lock().clone()
    }

    /// Sends what no client would, and reads until the other side closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(20), read).await.expect("the connection is closed");
        String::from_utf8(answer).unwrap()
    }

    /// A request with these header lines.
    async fn with(&self, line: &str, headers: &str) -> String {
        self.raw(&format!("{line} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n")).await
    }
}

#[tokio::test]
async fn every_endpoint_answers() {
    let running = start(false).await;
    let (nobody, operator) = (running.client(None), running.client(Some(TOKEN)));
    for (path, open, kind) in [
        ("/livez", true, "live"),
        ("/readyz", true, "ready"),
        ("/readyz?verbose", true, "ready"),
        ("/metrics", true, "outboard_drain_state 1"),
        ("/dashboard", true, "<title>outboard</title>"),
        ("/config", false, "admin: {}"),
        ("/routes", false, "\"default\""),
        ("/requests", false, "[]"),
        ("/upstreams", false, "\"app\""),
        ("/breakers", false, "breakers"),
        ("/policies", false, "switched"),
        ("/cache", false, "capacity"),
    ] {
        let answer = operator.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains(kind), "{path}");
        let answer = nobody.get(path).await.unwrap();
        assert_eq!(answer.status, if open { 200 } else { 401 }, "{path}");
        let answer = operator.post(path, &json!({})).await.unwrap();
        assert_eq!(answer.status, 405, "{path}");
    }
    assert_eq!(operator.get("/nothing").await.unwrap().status, 404);
    assert_eq!(operator.get("/livez/").await.unwrap().status, 404);
    assert!(running.calls().is_empty());
}

#[tokio::test]
async fn why_it_is_not_ready_is_told_who_asks_for_it() {
    let running = start(false).await;
    *running.control.ready.lock() = Err("leaving".into());
    let client = running.client(None);
    let answer = client.get("/readyz").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()), (503, json!({ "status": "not ready" })));
    let answer = client.get("/readyz?verbose=1").await.unwrap();
    assert_eq!(answer.json()["reason"], "leaving");
}

#[tokio::test]
async fn nothing_is_done_without_the_token() {
    let running = start(false).await;
    for token in [None, Some("0123456789abcdef0123456789abcdeX"), Some("")] {
        let client = running.client(token);
        for (path, body) in [
            ("/drain", json!({})),
            ("/reload", json!({})),
            ("/log-level", json!({ "level": "off" })),
            ("/breakers/upstream:app/open", json!({})),
            ("/policies/pay/retry/off", json!({})),
            ("/cache/purge", json!({ "all": true })),
        ] {
            let answer = client.post(path, &body).await.unwrap();
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.json()["type"], "urn:outboard:admin:unauthorized");
        }
    }
    let answer = running.with("POST /drain", &format!("host: {}\r\ncontent-length: 0\r\n", running.address)).await;
    assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
    assert!(running.calls().is_empty());
}

#[tokio::test]
async fn a_drain_is_begun_and_can_be_waited_for() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    let answer = client.post("/drain", &json!({})).await.unwrap();
    assert_eq!(answer.json(), json!({ "state": "draining", "exit": false }));
    let waiting = client.clone();
    let wait = tokio::spawn(async move { waiting.post("/drain", &json!({ "wait": true, "exit": true })).await });
    // Nobody has to be told twice: the second call stands in the notes before the drain is said to be done.
    tokio::time::timeout(Duration::from_secs(20), async {
        while running.calls().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(!wait.is_finished());
    running.control.drained.send_replace(true);
    assert_eq!(wait.await.unwrap().unwrap().json(), json!({ "state": "drained", "exit": true }));
    assert_eq!(running.calls(), ["drain exit=false", "drain exit=true"]);
    let bare = format!("host: {}\r\nauthorization: Bearer {TOKEN}\r\n", running.address);
    assert!(running.with("POST /drain", &bare).await.starts_with("HTTP/1.1 200"), "no body is no order beyond it");
}

#[tokio::test]
async fn a_reload_tells_what_changed_or_every_error() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    let answer = client.post("/reload", &json!({})).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "changed": [] })));
    *running.control.reload.lock() = Err(vec!["outboard.yaml:3:1: expected a size".into(), "another".into()]);
    let answer = client.post("/reload", &json!({})).await.unwrap();
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_level_is_moved_by_a_word() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    let answer = client.post("/log-level", &json!({ "level": "debug" })).await.unwrap();
    assert_eq!(answer.json(), json!({ "level": "debug" }));
    for bad in [json!({}), json!({ "level": "loud" }), json!({ "level": "debug", "for": "1h" }), json!([])] {
        assert_eq!(client.post("/log-level", &bad).await.unwrap().status, 400, "{bad}");
    }
    assert_eq!(client.post("/drain", &json!({ "weit": true })).await.unwrap().status, 400);
    assert_eq!(running.calls(), ["level Debug"]);
}

#[tokio::test]
async fn a_page_of_someone_else_gets_nothing() {
    let running = start(false).await;
    let (port, bearer) = (running.address.port(), format!("authorization: Bearer {TOKEN}\r\n"));
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "admin.test:1".into()] {
        let answer = running.with("GET /config", &format!("host: {host}\r\n{bearer}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        for origin in ["null", "https://evil.example", &format!("http://localhost:{port}")] {
            let answer = running.with("GET /metrics", &format!("host: {host}\r\norigin: {origin}\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{origin}: {answer}");
        }
    }
    let own = format!("host: 127.0.0.1:{port}\r\n");
    for headers in [
        format!("host: evil.example:{port}\r\n"),
        format!("host: localhost:{}\r\n", port ^ 1),
        "host: localhost\r\n".into(),
        "host: 127.0.0.1.evil.example\r\n".into(),
        format!("{own}host: evil.example:{port}\r\n"),
        String::new(),
    ] {
        for path in ["/livez", "/metrics", "/config", "/dashboard"] {
            let answer = running.with(&format!("GET {path}"), &format!("{headers}{bearer}")).await;
            assert!(answer.starts_with("HTTP/1.1 40"), "{path} {headers}: {answer}");
            assert!(answer.contains("403 Forbidden") || answer.contains("400 Bad"), "{path} {headers}: {answer}");
        }
    }
    let answer = running.with(&format!("GET http://evil.example:{port}/config"), &format!("{own}{bearer}")).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let running = start(false).await;
    let own = format!("host: {}\r\nauthorization: Bearer {TOKEN}\r\n", running.address);
    for (line, allow) in [
        ("DELETE /livez", "allow: GET, HEAD"),
        ("POST /metrics", "allow: GET, HEAD"),
        ("OPTIONS /config", "allow: GET, HEAD"),
        ("GET /drain", "allow: POST"),
        ("HEAD /reload", "allow: POST"),
    ] {
        let answer = running.with(line, &own).await;
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.to_lowercase().contains(&allow.to_lowercase()),
            "{answer}"
        );
    }
    let head = running.with("HEAD /metrics", &own).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(running.calls().is_empty());
}

#[tokio::test]
async fn a_big_body_is_not_read() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    let answer = client.post("/drain", &json!({ "x": "y".repeat(17 << 10) })).await.unwrap();
    assert_eq!(answer.status, 413);
    let own = format!("host: {}\r\nauthorization: Bearer {TOKEN}\r\n", running.address);
    let chunked = format!("transfer-encoding: chunked\r\n\r\n8000\r\n{}\r\n0\r\n", "z".repeat(0x8000));
    let answer = running.with("POST /drain", &format!("{own}{chunked}")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(running.calls().is_empty());
}

#[tokio::test]
async fn the_probes_listener_knows_three_paths_and_no_host() {
    let running = start(true).await;
    let client = running.client(Some(TOKEN));
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = running.with(&format!("GET {path}"), "host: 10.9.8.7:9902\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(running.with(&format!("GET {path}"), "").await.starts_with("HTTP/1.1 200"), "{path}");
    }
    for path in ["/config", "/routes", "/requests", "/upstreams", "/cache", "/dashboard", "/drain", "/cache/purge", "/"]
    {
        assert_eq!(client.get(path).await.unwrap().status, 404, "{path}");
        assert_eq!(client.post(path, &json!({})).await.unwrap().status, 404, "{path}");
    }
    for path in ["/reload", "/log-level"] {
        assert_eq!(client.post(path, &json!({ "level": "off" })).await.unwrap().status, 404, "{path}");
    }
    assert!(running.calls().is_empty());
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let running = start(false).await;
    for half in ["", "GET /livez HTTP/1.1\r\nhost: loc"] {
        // `raw` fails unless the other side closes.
        let answer = running.raw(half).await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let running = start(false).await;
    let answer = running.with("GET /livez", &format!("x: {}\r\n", "y".repeat(64 << 10))).await;
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn the_dashboard_runs_its_own_script_and_loads_nothing() {
    let running = start(false).await;
    let own = format!("host: {}\r\n", running.address);
    let (one, two) = (running.with("GET /dashboard", &own).await, running.with("GET /dashboard", &own).await);
    let nonce = |page: &str| page.split_once("script-src 'nonce-").unwrap().1[..32].to_owned();
    assert_ne!(nonce(&one), nonce(&two));
    assert!(one.contains("default-src 'none'") && one.contains("frame-ancestors 'none'"));
    assert_eq!(one.matches(&format!("nonce=\"{}\"", nonce(&one))).count(), 2);
    assert!(!one.contains("{nonce}"));
    let page = one.split_once("\r\n\r\n").unwrap().1;
    for outside in ["https://", "src=", "href=", "innerHTML", "style=\"", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn the_client_says_whom_it_could_not_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent = Client::new(&address, None, Duration::from_millis(50)).get("/livez").await;
    assert!(matches!(silent, Err(ClientError::Timeout(..))), "{silent:?}");
    drop(listener);
    let client = Client::new(&address.replace("127.0.0.1", "0.0.0.0"), None, Duration::from_secs(20));
    let error = client.get("/livez").await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to the admin address {address}"));
}
