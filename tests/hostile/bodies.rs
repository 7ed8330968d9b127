//! Malformed bodies of HTTP/1, and requests to switch to another protocol.

use std::collections::BTreeMap;

use super::{Pair, SOON, is_refusal};
use crate::common::eventually;

/// A chunked body is handed on while it comes: the application may see its head, and what of it was good, but never an
/// end, so that it cannot act on it; and nothing of what follows.
#[test]
fn malformed_chunks_never_make_a_whole_request() {
    let pair = Pair::new("");
    let bodies = [
        "zz\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
        "\r\n",
        ";x\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\r\r\n0\r\n\r\n",
        "3\rX\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\0b\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "8000000000000000\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n-0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\nZ: z\r\n\r\n",
        "3\r\nabc\r\n0\r\n folded\r\n\r\n",
        "3\r\nabc\r\n0\r\nX\r\n\r\n",
        "3\r\nabc\r\n0\r\n\n",
        "3\r\nabc\r\n0\r\nX: \0\r\n\r\n",
    ];
    let mut wrong = Vec::new();
    // Beside the head, and when the application has the head already.
    for (body, later) in bodies.iter().flat_map(|b| [(b, false), (b, true)]) {
        let seen = pair.origin.count();
        let mut client = pair.client();
        client.send("POST /chunked HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n");
        if later {
            eventually("the head is with the application", || pair.origin.count() > seen);
        }
        let _ = client.try_send(format!("{body}GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n"));
        let answer = client.try_read_response("POST");
        let closed = client.is_closed(SOON);
        let refused = answer.as_ref().is_ok_and(|a| a.status == 400 && a.reason() == "bad_request");
        if !refused || !closed {
            let status = answer.map(|a| a.status).map_err(|e| e.kind());
            wrong.push(format!("{body:?}: {status:?}, closed: {closed}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} bodies:\n{}", wrong.len(), 2 * bodies.len(), wrong.join("\n"));
    // The application learns that each has broken off.
    eventually("the application has no connection left", || pair.origin.open() == 0);
    assert_eq!(pair.origin.whole(), 0, "{:?}", pair.origin.requests());
    assert!(!String::from_utf8_lossy(&pair.origin.raw()).contains("smuggled"));
    // Those that came together with their head never had a route.
    eventually("each is counted", || {
        pair.proxy.metric_sum("outboard_refusals_total{reason=\"bad_request\"") == 2.0 * bodies.len() as f64
    });
    // Whose fault it was is clear.
    let attempts = pair.proxy.metric_sum("outboard_attempts_total");
    pair.proxy.await_metric("outboard_attempts_total{outcome=\"neutral\",upstream=\"app\"}", attempts);
}

/// A body that ends early is no request: neither whole in memory nor handed on.
#[test]
fn half_a_body_is_never_a_whole_request() {
    let pair = Pair::new("");
    for head in [
        "Content-Length: 10\r\n\r\nabc",
        "Content-Length: 100000\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ] {
        let mut client = pair.client();
        client.send(format!("POST /half HTTP/1.1\r\nHost: test.example\r\n{head}"));
        client.shutdown_write();
        assert!(client.is_closed(SOON), "{head:?}");
    }
    pair.proxy.await_metric("outboard_refusals_total{reason=\"client_left\",route=\"default\"}", 3.0);
    eventually("the application has no connection left", || pair.origin.open() == 0);
    assert_eq!(pair.origin.whole(), 0, "{:?}", pair.origin.requests());
    let raw = String::from_utf8_lossy(&pair.origin.raw()).into_owned();
    // What has a known length and is short was never sent at all.
    assert!(!raw.contains("Content-Length: 10\r\n"), "{raw}");
}

/// A request to switch to anything but a WebSocket is a request like any other: the application hears nothing of it, so
/// that no client speaks past the proxy.
#[test]
fn an_upgrade_to_anything_else_is_not_passed_on() {
    let pair = Pair::new("");
    let asks = [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Upgrade: websocket\r\n\r\n",
    ];
    for ask in asks {
        let mut client = pair.client();
        client.send(format!("GET /upgrade HTTP/1.1\r\nHost: test.example\r\n{ask}"));
        assert_eq!(client.read_response().status, 200, "{ask:?}");
        let seen = pair.origin.requests().pop().unwrap();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(seen.header(name), None, "{ask:?}");
        }
        // The connection goes on as HTTP/1.
        assert_eq!(client.get("/after").status, 200, "{ask:?}");
    }
}

/// The fields that a client names in Connection are its own; what frames or routes the message is not taken away by it.
#[test]
fn a_client_cannot_take_the_framing_away() {
    let pair = Pair::new("");
    let mut client = pair.client();
    client.send(
        "POST /named HTTP/1.1\r\nHost: test.example\r\nContent-Length: 3\r\n\
         Connection: content-length, host, x-gone\r\nX-Gone: 1\r\n\r\nabc",
    );
    assert_eq!(client.read_response().status, 200);
    let seen = pair.origin.requests().pop().unwrap();
    assert_eq!((seen.header("host"), seen.body.len(), seen.header("x-gone")), (Some("test.example"), 3, None));
}

/// A body above the limit is 413: at once where its length is told, when it is passed where not.
#[test]
fn a_body_over_the_limit() {
    let pair = Pair::new("limits: { max_request_body: 1KiB }");
    let mut told = pair.client();
    told.send("POST /large HTTP/1.1\r\nHost: test.example\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n");
    let response = told.read_response();
    is_refusal("told", &response, 413, "body_too_large");
    assert!(response.informational.is_empty(), "nobody is asked to send what is refused");
    assert!(told.is_closed(SOON));
    let mut untold = pair.client();
    untold.send("POST /large HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n");
    untold.send([b'x'; 0x401]);
    is_refusal("untold", &untold.read_response(), 413, "body_too_large");
    assert!(untold.is_closed(SOON));
    let happened = BTreeMap::from([("body_too_large", 2)]);
    for (reason, times) in happened {
        let series = format!("outboard_refusals_total{{reason=\"{reason}\",route=\"default\"}}");
        pair.proxy.await_metric(&series, f64::from(times));
    }
    eventually("the application has no connection left", || pair.origin.open() == 0);
    assert_eq!(pair.origin.whole(), 0, "{:?}", pair.origin.requests());
}
