//! Administration through the real binary: who may ask, what is shown, what is not.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use common::{Client, Origin, Proxy, Response, eventually, yaml};

/// Sends a raw request head to an address.
fn ask(addr: std::net::SocketAddr, head: &str) -> Response {
    let mut client = Client::connect(addr);
    client.send(format!("{head}Connection: close\r\n\r\n"));
    client.read_response()
}

fn get(proxy: &Proxy, path: &str, headers: &str) -> Response {
    ask(proxy.admin(), &format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}", proxy.admin()))
}

const GUARDED: [&str; 6] = ["/config", "/routes", "/requests", "/upstreams", "/breakers", "/policies"];
const OPEN: [&str; 4] = ["/livez", "/readyz", "/metrics", "/dashboard"];

#[test]
fn everything_but_probes_and_the_empty_dashboard_needs_the_token() {
    let proxy = Proxy::start(&yaml(Origin::echo(), ""));
    for path in OPEN {
        assert_eq!(get(&proxy, path, "").status, 200, "{path}");
    }
    let right = format!("Authorization: Bearer {}\r\n", proxy.token());
    let almost = format!("Authorization: Bearer {}x\r\n", proxy.token());
    for path in GUARDED {
        assert_eq!(get(&proxy, path, &right).status, 200, "{path}");
        for wrong in ["", "Authorization: Bearer\r\n", "Authorization: Basic Og==\r\n", &almost] {
            let answer = get(&proxy, path, wrong);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path} {wrong}");
        }
    }
    for path in ["/drain", "/reload", "/log-level", "/breakers/upstream:app/open", "/policies/default/retry/off"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n", proxy.admin());
        assert_eq!(ask(proxy.admin(), &head).status, 401, "{path}");
        assert_eq!(get(&proxy, path, &right).status, 405, "{path}");
    }
    assert_eq!(get(&proxy, "/nothing", &right).status, 404);
    // What was refused is a line too.
    eventually("five lines", || proxy.events("admin").iter().filter(|l| l["result"] == "refused").count() == 5);
    assert_eq!(proxy.admin_get("/readyz").status, 200, "nothing of it was done");
}

#[test]
fn a_page_in_a_browser_is_refused_token_or_not() {
    let proxy = Proxy::start(&yaml(Origin::echo(), ""));
    let token = format!("Authorization: Bearer {}\r\n", proxy.token());
    let port = proxy.admin().port();
    let origin = format!("{token}Origin: http://127.0.0.1:{port}\r\n");
    assert_eq!(get(&proxy, "/config", &origin).status, 403);
    assert_eq!(get(&proxy, "/metrics", &origin).status, 403);
    let with_host = |host: &str| ask(proxy.admin(), &format!("GET /config HTTP/1.1\r\nHost: {host}\r\n{token}")).status;
    assert_eq!(with_host(&format!("localhost:{port}")), 200);
    assert_eq!(with_host(&format!("127.0.0.1:{port}")), 200);
    // By a name of the page's choice that resolves to loopback.
    assert_eq!(with_host(&format!("evil.example:{port}")), 403);
    assert_eq!(with_host("127.0.0.1"), 403);
}

#[test]
fn the_token_is_left_where_only_the_owner_finds_it() {
    use std::os::unix::fs::PermissionsExt;
    let proxy = Proxy::start(&yaml(Origin::echo(), ""));
    let file = proxy.dir().join("outboard").join(format!("admin-{}.token", proxy.admin().port()));
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), proxy.token());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let lines: Vec<_> = proxy.raw_output().lines().filter(|l| l.contains(proxy.token())).map(str::to_owned).collect();
    assert!(lines.len() == 1 && lines[0].contains("/dashboard#token="), "printed once: {lines:?}");
}

#[test]
fn a_token_file_is_used_and_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "a-token-of-somebody-else\n").unwrap();
    let admin = format!("admin: {{ address: \"127.0.0.1:0\", token_file: \"{}\" }}", file.display());
    let proxy = Proxy::start(&yaml(Origin::echo(), &admin));
    assert_eq!(get(&proxy, "/config", "Authorization: Bearer a-token-of-somebody-else\r\n").status, 200);
    assert!(!proxy.raw_output().contains("a-token-of-somebody-else"));
}

#[test]
fn the_probes_listener_answers_three_paths_and_nothing_else() {
    let admin = "admin: { address: \"127.0.0.1:0\", probes: \"127.0.0.1:0\" }";
    let proxy = Proxy::start(&yaml(Origin::echo(), admin));
    let probes = proxy.events("started")[0]["probes"].as_str().unwrap().parse().unwrap();
    let token = format!("Authorization: Bearer {}\r\n", proxy.token());
    // A kubelet comes by the pod's address, whatever Host that makes.
    let ask_probes =
        |method: &str, path: &str| ask(probes, &format!("{method} {path} HTTP/1.1\r\nHost: 10.1.2.3\r\n{token}"));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask_probes("GET", path).status, 200, "{path}");
        assert_eq!(ask_probes("POST", path).status, 405, "{path}");
    }
    for path in GUARDED.into_iter().chain(["/dashboard", "/drain", "/reload", "/"]) {
        assert_eq!(ask_probes("GET", path).status, 404, "{path}");
        assert_eq!(ask_probes("POST", path).status, 404, "{path}");
    }
}

#[test]
fn the_configuration_is_shown_with_its_secrets_masked() {
    let more = "defaults: { headers: { request: { set: { authorization: Bearer-hunter2, x-api-key: hunter3, x-plain: seen } } } }";
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, more));
    let shown = proxy.admin_get("/config");
    assert_eq!(shown.header("content-type"), Some("application/yaml"));
    let text = shown.text();
    assert!(text.contains("x-plain: seen") && text.contains("authorization: '***'"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
    // What is sent is the value.
    let sent = Client::connect(proxy.addr("inbound")).get("/").text();
    assert!(sent.contains("Bearer-hunter2"), "{sent}");
    eventually("nothing is in flight", || proxy.admin_get("/routes").json()["routes"][0]["in_flight"] == 0);
    assert_eq!(proxy.admin_get("/routes").json()["routes"][0]["name"], "default");
}

#[test]
fn requests_in_flight_are_shown_oldest_first_without_their_query() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = gate.clone();
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            let _open = held.1.wait_while(held.0.lock().unwrap(), |open| !*open).unwrap();
            conn.echo(&head, 0);
        }
    });
    let proxy = Proxy::start(&yaml(&origin, ""));
    let mut clients = Vec::new();
    for i in 0..3 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", &format!("/v1/{i}?card=4111111111111111"), &[("X-Request-Id", &format!("req-{i}"))], b"");
        eventually("it arrives", || origin.count() == i + 1);
        clients.push(client);
    }
    let shown = proxy.admin_get("/requests");
    assert!(!shown.text().contains("4111"), "{}", shown.text());
    let shown = shown.json();
    assert_eq!(shown["in_flight"], 3);
    let oldest = shown["oldest"].as_array().unwrap();
    let of = |key: &str| oldest.iter().map(|e| e[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(of("request_id"), ["req-0", "req-1", "req-2"]);
    assert_eq!(of("path"), ["/v1/0", "/v1/1", "/v1/2"]);
    let upstream = &proxy.admin_get("/upstreams").json()["upstreams"][0];
    assert_eq!((upstream["name"].as_str(), upstream["endpoints"][0]["in_flight"].as_u64()), (Some("app"), Some(3)));
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    clients.iter_mut().for_each(|c| assert_eq!(c.read_response().status, 200));
    eventually("none is left", || proxy.admin_get("/requests").json()["in_flight"] == 0);
}

#[test]
fn the_level_moves_while_the_process_runs() {
    let proxy = Proxy::start(&yaml("127.0.0.1:1", ""));
    Client::connect(proxy.addr("inbound")).get("/");
    assert!(proxy.events("connect_failed").is_empty());
    assert_eq!(proxy.admin_post("/log-level", "{\"level\":\"debug\"}").status, 200);
    Client::connect(proxy.addr("inbound")).get("/");
    eventually("a debug line", || !proxy.events("connect_failed").is_empty());
    assert_eq!(proxy.admin_post("/log-level", "{\"level\":\"loud\"}").status, 400);
    let lines = proxy.events("admin");
    assert!(
        lines.iter().any(|l| l["action"] == "log-level" && l["order"] == "debug" && l["result"] == "ok"),
        "{lines:?}"
    );
}

#[test]
fn health_exits_by_readiness() {
    let proxy = Proxy::start(&yaml(Origin::echo(), "drain: { delay: 5s }"));
    let health = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.args(["health", "--admin", &proxy.admin().to_string()]).args(args).output().unwrap()
    };
    assert!(health(&[]).status.success());
    proxy.admin_post("/drain", "");
    let output = health(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/readyz says 503"), "{output:?}");
    assert!(health(&["--live"]).status.success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    let output = command.args(["health", "--admin", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot connect to the admin address 127.0.0.1:1"));
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, ""));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.get("/");
    client.post("/", b"x");
    Client::connect(proxy.addr("inbound")).send("nonsense\r\n\r\n");
    eventually("a refusal is counted", || proxy.metric_sum("outboard_refusals_total") == 1.0);
    let page = proxy.metrics();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("promtool is not installed: the metrics were not checked by it");
        return;
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
