//! What outboard does not do, or drops. Each line of docs/limits.md names the test here that pins it.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::{Client, H2Origin, Origin, Proxy, eventually, http2, yaml};

fn proxy(app: &Origin) -> Proxy {
    Proxy::start(&yaml(app, ""))
}

/// Answers once with these bytes to every request, whatever it is.
fn answering(bytes: &'static str) -> Origin {
    Origin::answer(bytes)
}

const TRAILERS: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n4\r\ndone\r\n0\r\nx-sum: 7\r\n\r\n";

#[test]
fn trailers_of_a_request_are_dropped() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n");
    assert_eq!(client.read_response().json()["body"], 2);
    let h2 = http2::Client::connect(proxy.addr("inbound"));
    let mut stream = h2.stream(http2::Client::build("POST", "/"), false).unwrap();
    stream.send("hi", false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    assert_eq!(stream.answer().unwrap().json()["body"], 2);
    assert_eq!(origin.count(), 2);
    assert!(!String::from_utf8_lossy(&origin.raw()).to_ascii_lowercase().contains("x-sum"));
}

#[test]
fn trailers_of_an_http1_answer_are_dropped() {
    let origin = answering(TRAILERS);
    let proxy = proxy(&origin);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n");
    let all = String::from_utf8(client.read_to_end()).unwrap();
    assert!(all.ends_with("\r\n\r\n4\r\ndone\r\n0\r\n\r\n") && !all.to_ascii_lowercase().contains("x-sum"), "{all}");
    let answer = http2::Client::connect(proxy.addr("inbound")).get("/").unwrap();
    assert_eq!((answer.body.as_slice(), answer.trailers), (&b"done"[..], None));
}

#[test]
fn informational_answers_but_100_reach_http1_clients_alone() {
    let origin = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 199 Anything\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = proxy(&origin);
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    assert_eq!(answer.informational.iter().map(|a| a.status).collect::<Vec<_>>(), [102, 103, 199]);
    assert_eq!(answer.informational[1].header("link"), Some("</a>"));
    let mut old = Client::connect(proxy.addr("inbound"));
    old.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(old.read_response().informational.len(), 0, "HTTP/1.0 knows none");
    // h2's client would hand a 103 to nobody either; that none is sent is seen by the frames.
    let mut raw = common::http2_raw::Raw::connect(proxy.addr("inbound"));
    raw.headers(1, &common::http2_raw::pseudo("GET", "/"), true);
    assert_eq!(raw.outcome(1), common::http2_raw::Outcome::Answered(200));
}

#[test]
fn connect_is_refused() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.reason()), (501, "not_implemented"));
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_upgrade_to_anything_but_a_websocket_is_dropped() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let mut client = Client::connect(proxy.addr("inbound"));
    let h2c = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")];
    client.request("GET", "/", &h2c, b"");
    assert_eq!(client.read_response().status, 200, "served as HTTP/1.1");
    let received = &origin.requests()[0];
    for name in ["connection", "upgrade", "http2-settings"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    // Nor is a WebSocket asked for but by GET.
    for method in ["HEAD", "POST"] {
        client.request(method, "/", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], b"");
        assert_eq!(client.try_read_response(method).unwrap().status, 200);
        assert_eq!(origin.requests().last().unwrap().header("upgrade"), None, "{method}");
    }
}

#[test]
fn a_client_that_ends_its_side_has_left() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if head.method == "POST" {
                let _ = released.lock().unwrap().recv();
                conn.ok("charged");
            } else {
                conn.until_closed();
            }
        }
    });
    let proxy = proxy(&origin);
    let mut get = Client::connect(proxy.addr("inbound"));
    get.request("GET", "/get", &[], b"");
    eventually("in flight", || origin.count() == 1);
    get.shutdown_write();
    let line = proxy.access_line("/get");
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(499), Some("client_left")));
    // What is not safe runs to its end.
    let mut post = Client::connect(proxy.addr("inbound"));
    post.request("POST", "/post", &[], b"charge");
    eventually("in flight", || origin.count() == 2);
    post.shutdown_write();
    eventually("it is still in flight", || proxy.admin_get("/requests").json()["in_flight"] == 1);
    release.send(()).unwrap();
    let line = proxy.access_line("/post");
    assert_eq!((line["status"].as_u64(), line["client_left"].as_bool()), (Some(200), Some(true)));
}

#[test]
fn the_date_of_an_http2_answer_is_ours() {
    let origin = answering("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n");
    let proxy = proxy(&origin);
    let http1 = Client::connect(proxy.addr("inbound")).get("/");
    assert_eq!(http1.header_all("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    let answer = http2::Client::connect(proxy.addr("inbound")).get("/").unwrap();
    assert!(!answer.header("date").unwrap().contains("1970"));
}

#[test]
fn no_via_and_no_server_is_added() {
    let origin = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let proxy = proxy(&origin);
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    assert_eq!((answer.header("via"), answer.header("server")), (None, None));
    assert_eq!(origin.requests()[0].header("via"), None);
}

#[test]
fn a_websocket_is_asked_for_over_http1_alone() {
    let origin = H2Origin::echo();
    let h2c = format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{}\"], protocol: h2c }} }}\n",
        origin.address()
    );
    let proxy = Proxy::start(&h2c);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], b"");
    assert_eq!(client.read_response().status, 200, "an upstream of HTTP/2 sees a plain GET");
    // RFC 8441 is not announced: a client is not allowed to send :protocol.
    let mut head = http::Request::builder().method("CONNECT").uri("http://test.example/chat").body(()).unwrap();
    head.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let h2 = http2::Client::connect(proxy.addr("inbound"));
    let refused = match h2.stream(head, false) {
        Ok(stream) => stream.answer().map_or(true, |answer| answer.status >= 400),
        Err(_) => true,
    };
    assert!(refused);
    assert_eq!(origin.count(), 1);
}

#[test]
fn at_most_a_hundred_fields_and_a_target_of_8_kib() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let with_fields = |count: usize| {
        let fields: String = (1..count).map(|i| format!("x-{i}: 1\r\n")).collect();
        let mut client = Client::connect(proxy.addr("inbound"));
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let answer = client.read_response();
        (answer.status, answer.reason().to_owned())
    };
    assert_eq!(with_fields(100).0, 200);
    assert_eq!(with_fields(101), (431, "header_too_large".to_owned()));
    let with_target = |length: usize| {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", &format!("/{}", "a".repeat(length - 1)), &[], b"");
        let answer = client.read_response();
        (answer.status, answer.reason().to_owned())
    };
    assert_eq!(with_target(8192).0, 200);
    assert_eq!(with_target(8193), (414, "uri_too_long".to_owned()));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request(&"A".repeat(33), "/", &[], b"");
    assert_eq!(client.read_response().status, 400);
}

#[test]
fn expect_is_known_as_100_continue_alone_and_answered_by_us() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 100, "before the application was asked");
    assert_eq!(origin.count(), 0);
    client.send("hi");
    assert_eq!(client.read_response().status, 200);
    assert_eq!(origin.requests()[0].header("expect"), None);
    let mut other = Client::connect(proxy.addr("inbound"));
    other.request("POST", "/", &[("Expect", "200-ok")], b"hi");
    assert_eq!(other.read_response().status, 400);
}

#[test]
fn only_a_safe_request_on_a_stale_connection_is_sent_again() {
    // Answers the first request of a connection, then closes it in the face of the second.
    let origin = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.ok("once");
        }
        if let Some(head) = conn.read_head() {
            conn.read_body(&head);
        }
    });
    let proxy = proxy(&origin);
    let mut client = Client::connect(proxy.addr("inbound"));
    assert_eq!(client.get("/first").status, 200);
    assert_eq!(client.get("/again").status, 200);
    assert_eq!(origin.count_of("/again"), 2);
    let answer = client.post("/charge", b"x");
    assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"));
    assert_eq!(origin.count_of("/charge"), 1);
}

#[test]
fn a_http10_client_gets_an_answer_without_chunks() {
    let origin = answering(TRAILERS);
    let proxy = proxy(&origin);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    let all = String::from_utf8(client.read_to_end()).unwrap();
    assert!(all.ends_with("\r\n\r\ndone") && all.contains("Connection: close"), "{all}");
    assert!(client.is_closed(Duration::from_secs(2)));
}

#[test]
fn the_head_of_an_answer_has_256_fields_and_256_kib_at_most() {
    let head = |fields: usize, bytes: usize| {
        let fields: String = (0..fields - 2).map(|n| format!("X-{n}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}X-Long: {}\r\n\r\n", "x".repeat(bytes))
    };
    for (fields, bytes, status, reason) in [
        (256, 0, 200, None),
        (257, 0, 502, Some("upstream_reset")),
        (2, 250 << 10, 200, None),
        (2, 300 << 10, 502, Some("upstream_reset")),
    ] {
        let origin = Origin::answer(head(fields, bytes));
        let proxy = proxy(&origin);
        let mut client = Client::connect(proxy.addr("inbound"));
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(client.read_to_end()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields} fields, {bytes} bytes");
        assert!(reason.is_none_or(|reason| answer.contains(reason)), "{fields} fields, {bytes} bytes");
    }
}

/// Every test that docs/limits.md names is there.
#[test]
fn the_document_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/limits.md")).unwrap();
    let mut named = 0;
    for row in document.lines().filter(|l| l.starts_with("| ") && l.contains("::")) {
        let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        for name in cell.split('`').filter(|part| part.contains("::")) {
            let (file, test) = name.rsplit_once("::").unwrap();
            let file = root.join("tests").join(file.replace("::", "/")).with_extension("rs");
            let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert!(text.contains(&format!("fn {test}()")), "{name} of docs/limits.md is no test");
            named += 1;
        }
    }
    assert!(named > 15, "only {named} tests are named");
}
