//! Names of endpoints, and endpoints that cannot be reached.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{before, load};
use crate::common::*;

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_name_is_looked_up() {
    let origin = Origin::echo();
    let proxy = before(&[format!("localhost:{}", origin.address().port())], "", "");
    load(&proxy, 2, 20, b"body");
    assert!(proxy.metric("outboard_upstream_endpoints{upstream=\"app\"}") >= 1.0);
    assert_eq!(proxy.metric("outboard_upstream_resolves_total{result=\"failed\",upstream=\"app\"}"), 0.0);
}

#[test]
fn a_name_that_does_not_resolve_keeps_nobody_from_starting() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\nupstreams:\n  \
         app: {{ endpoints: [\"no-such-name.invalid:80\"], dns_refresh: 200ms }}\n  \
         both: {{ endpoints: [\"no-such-name.invalid:80\", \"{origin}\"] }}\nroutes:\n  \
         - {{ name: app, match: {{ path: /app }}, upstream: app }}\n  \
         - {{ name: both, match: {{ path: /both }}, upstream: both }}\n"
    ));
    let mut client = Client::connect(proxy.addr("inbound"));
    let answer = client.get("/app");
    assert_eq!((answer.status, answer.reason()), (502, "upstream_connect"));
    assert!(!answer.text().contains("no-such-name"), "{}", answer.text());
    assert_eq!(client.get("/both").status, 200, "one endpoint is enough");
    eventually("it is looked up again", || {
        proxy.metric("outboard_upstream_resolves_total{result=\"failed\",upstream=\"app\"}") >= 2.0
    });
    assert_eq!(proxy.metric("outboard_upstream_endpoints{upstream=\"app\"}"), 0.0);
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let origin = Origin::echo();
    for balance in ["round_robin", "least_request", "peak_ewma"] {
        let proxy = before(&[nobody(), origin.to_string()], &format!(", load_balance: {balance}"), "");
        load(&proxy, 4, 25, b"body");
        proxy.await_metric("outboard_attempts_total{outcome=\"ok\",upstream=\"app\"}", 100.0);
        assert!(proxy.metric("outboard_attempts_total{outcome=\"connect\",upstream=\"app\"}") > 0.0, "{balance}");
        proxy.await_metric("outboard_upstream_connections{state=\"active\",upstream=\"app\"}", 0.0);
    }
    let proxy = before(&[nobody(), nobody()], "", "defaults: { retry: off }");
    let answer = Client::connect(proxy.addr("inbound")).post("/", b"body");
    assert_eq!((answer.status, answer.reason()), (502, "upstream_connect"));
    let line = proxy.access_line("/");
    assert_eq!((&line["upstream_sent"], &line["attempts"]), (&"none".into(), &2.into()));
    proxy.await_metric("outboard_attempts_total{outcome=\"connect\",upstream=\"app\"}", 2.0);
}

#[test]
fn an_endpoint_that_never_accepts_is_passed_over_in_time() {
    // A listener whose queue is full: what comes now is neither accepted nor refused.
    let hole = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    hole.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    hole.listen(0).unwrap();
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    let full: Vec<_> =
        (0..3).map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    assert!(full.iter().any(Result::is_err), "the queue is full");
    let origin = Origin::echo();
    let more = "defaults: { timeouts: { connect: 300ms } }";
    let proxy = before(&[address.to_string(), origin.to_string()], ", load_balance: round_robin", more);
    let mut slow = 0;
    for _ in 0..4 {
        let started = Instant::now();
        assert_eq!(Client::connect(proxy.addr("inbound")).post("/", b"body").status, 200);
        slow += usize::from(started.elapsed() > Duration::from_millis(280));
        assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
    }
    assert!(slow > 0, "the hole was tried");
    // Alone it is given up exactly then.
    let more = "defaults: { retry: off, timeouts: { connect: 300ms } }";
    let proxy = before(&[address.to_string()], "", more);
    let started = Instant::now();
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    let took = started.elapsed();
    assert_eq!((answer.status, answer.reason()), (502, "upstream_connect"));
    assert!(took > Duration::from_millis(299) && took < Duration::from_millis(360), "{took:?}");
}
