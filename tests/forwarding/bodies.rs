//! Clients and applications of each protocol; answers of each framing.

use crate::common::*;

/// Answers GET and POST, and tells the body's length.
fn story(conn: &mut Conn) {
    while let Some(head) = conn.read_head() {
        let body = conn.read_body(&head);
        conn.ok(format!("{} {} {}", head.method, head.target, body.len()));
    }
}

fn asked_by_every_client(upstream: &str) {
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\nupstreams: {{ app: {upstream} }}\n"
    ));
    let addr = proxy.addr("inbound");
    let large = vec![b'x'; 300_000];
    let expected = |method: &str, length: usize| format!("{method} /a?b=c {length}");

    let mut client = Client::connect(addr);
    for _ in 0..2 {
        assert!(client.get("/a?b=c").text().contains("/a?b=c"));
        assert_eq!(client.post("/a?b=c", b"small").text(), expected("POST", 5));
        assert_eq!(client.post("/a?b=c", &large).text(), expected("POST", 300_000));
    }
    client.request("POST", "/a?b=c", &[("Transfer-Encoding", "chunked")], b"");
    client.send(b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nX-Trailer: dropped\r\n\r\n");
    assert_eq!(client.read_response().text(), expected("POST", 6));
    client.request("POST", "/a?b=c", &[("Content-Length", "0")], b"");
    assert_eq!(client.read_response().text(), expected("POST", 0));

    let mut old = Client::connect(addr);
    old.send(b"POST /a?b=c HTTP/1.0\r\nContent-Length: 5\r\n\r\nsmall");
    let answer = old.read_response();
    assert_eq!(answer.text(), expected("POST", 5));
    assert_eq!(answer.header("connection"), Some("close"), "HTTP/1.0 ends unless it asked to stay");
    assert!(old.is_closed(patience()));
    let mut old = Client::connect(addr);
    for _ in 0..2 {
        old.send(b"GET /a?b=c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = old.read_response();
        assert_eq!((answer.text(), answer.header("connection")), (expected("GET", 0), Some("keep-alive")));
    }

    let client = http2::Client::connect(addr);
    for _ in 0..2 {
        assert_eq!(client.get("/a?b=c").unwrap().body, expected("GET", 0).as_bytes());
        assert_eq!(client.post("/a?b=c", "small").unwrap().body, expected("POST", 5).as_bytes());
        assert_eq!(client.post("/a?b=c", large.clone()).unwrap().body, expected("POST", 300_000).as_bytes());
    }
    proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", 0.0);
}

#[test]
fn every_client_reaches_an_application_of_http1() {
    let origin = Origin::serve(story);
    asked_by_every_client(&format!("{{ endpoints: [\"{origin}\"] }}"));
    let all = origin.requests();
    for request in &all {
        let line = String::from_utf8_lossy(&request.raw).lines().next().unwrap().to_owned();
        assert_eq!(line, format!("{} /a?b=c HTTP/1.1", request.method));
        assert_eq!(request.header_all("host").len(), 1);
    }
}

#[test]
fn every_client_reaches_an_application_behind_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let _origin = Origin::unix(&path, story);
    asked_by_every_client(&format!("{{ endpoints: [\"unix:{}\"] }}", path.display()));
}

#[test]
fn every_client_reaches_an_application_of_h2c() {
    let origin = H2Origin::serve(|request, mut respond| async move {
        let (head, mut body) = request.into_parts();
        let length = http2_origin::read(&mut body).await.len();
        let text = format!("{} {} {length}", head.method, head.uri.path_and_query().unwrap());
        let answer = http::Response::builder().header("content-length", text.len()).body(()).unwrap();
        let mut send = respond.send_response(answer, false).unwrap();
        let _ = send.send_data(text.into(), true);
    });
    asked_by_every_client(&format!("{{ endpoints: [\"{origin}\"], protocol: h2c }}"));
    assert_eq!(origin.connections(), 1, "all share one connection");
    for request in origin.requests() {
        let connection = ["connection", "transfer-encoding", "upgrade", "keep-alive"];
        assert!(connection.iter().all(|name| !request.headers.contains_key(*name)), "{request:?}");
    }
}

/// The answer that each client gets to an application's bytes.
fn answered(bytes: &'static [u8], method: &str) -> (Response, http2::Answer) {
    let origin = Origin::serve(move |conn| {
        if let Some(head) = conn.read_head() {
            conn.read_body(&head);
            conn.write(bytes);
        }
    });
    let proxy = Proxy::start(&yaml(&origin, ""));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request(method, "/", &[], b"");
    let one = client.try_read_response(method).unwrap();
    // The connection is still good: nothing more of this answer comes.
    client.request(method, "/", &[], b"");
    assert_eq!(client.try_read_response(method).unwrap().status, one.status);
    let head = http2::Client::build(method, "/");
    let two = http2::Client::connect(proxy.addr("inbound")).stream(head, true).unwrap().answer().unwrap();
    (one, two)
}

#[test]
fn an_answer_that_ends_with_its_connection_becomes_chunked() {
    let (one, two) = answered(b"HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\nuntil the end", "GET");
    assert_eq!(one.header("transfer-encoding"), Some("chunked"));
    assert_eq!((one.text().as_str(), one.phrase.as_str()), ("until the end", "Fine"));
    assert_eq!(two.body, b"until the end");
    let (one, _) = answered(b"HTTP/1.0 200 OK\r\n\r\nold", "GET");
    assert_eq!((one.text().as_str(), one.version.as_str()), ("old", "HTTP/1.1"));
}

#[test]
fn a_chunked_answer_stays_chunked_and_its_trailers_are_dropped() {
    let (one, two) = answered(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n",
        "GET",
    );
    assert_eq!(one.text(), "abcde");
    assert_eq!(one.header("trailer"), None);
    assert_eq!((two.body.as_slice(), two.trailers), (&b"abcde"[..], None));
}

#[test]
fn http10_gets_no_chunks() {
    let origin = Origin::answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let proxy = Proxy::start(&yaml(&origin, ""));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.read_response();
    assert_eq!((answer.text().as_str(), answer.header("transfer-encoding")), ("abc", None));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn answers_without_a_body_have_none() {
    let (one, two) = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", "HEAD");
    assert_eq!(one.header("content-length"), Some("1234"));
    assert_eq!((two.header("content-length"), two.body.len()), (Some("1234"), 0));
    let (one, two) = answered(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "GET");
    assert_eq!((one.status, one.header("content-length"), one.header("transfer-encoding")), (204, None, None));
    assert_eq!((two.status, two.header("content-length")), (204, None));
    let (one, two) = answered(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"a\"\r\n\r\n", "GET");
    assert_eq!((one.status, one.header("etag")), (304, Some("\"a\"")));
    assert_eq!((two.status, two.header("etag"), two.body.len()), (304, Some("\"a\""), 0));
}

#[test]
fn an_answer_that_could_be_read_in_two_ways_is_not_passed_on_so() {
    let (one, _) = answered(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        "GET",
    );
    assert_eq!((one.text().as_str(), one.header("content-length")), ("abcd", None));
    let (one, two) = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "GET");
    assert_eq!((one.status, one.reason()), (502, "upstream_reset"));
    assert_eq!((two.status, two.reason()), (502, "upstream_reset"));
}

#[test]
fn a_truncated_answer_is_broken_off_for_the_client_too() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let origin = Origin::serve(move |conn| {
            if conn.read_head().is_some() {
                conn.write(answer);
            }
        });
        let proxy = Proxy::start(&yaml(&origin, ""));
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/cut", &[], b"");
        assert!(client.try_read_response("GET").is_err(), "{answer}");
        assert!(http2::Client::connect(proxy.addr("inbound")).get("/cut").is_err(), "{answer}");
        let line = proxy.access_line("/cut");
        assert_eq!((&line["status"], &line["reason"]), (&200.into(), &"upstream_reset".into()), "{line}");
    }
}

#[test]
fn trailers_pass_from_http2_to_http2() {
    let origin = H2Origin::serve(|_, mut respond| async move {
        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
        let _ = send.send_data("body".into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let _ = send.send_trailers(trailers);
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], protocol: h2c }} }}\n"
    ));
    let mut head = http2::Client::build("GET", "/");
    head.headers_mut().insert("te", "trailers".parse().unwrap());
    let client = http2::Client::connect(proxy.addr("inbound"));
    let answer = client.stream(head, true).unwrap().answer().unwrap();
    assert_eq!(
        (answer.body.as_slice(), &answer.trailers.unwrap()["grpc-status"]),
        (&b"body"[..], &"0".parse().unwrap())
    );
    assert_eq!(origin.requests()[0].headers["te"], "trailers");
    // An HTTP/1 client gets the body without them.
    assert_eq!(Client::connect(proxy.addr("inbound")).get("/").text(), "body");
    assert!(!origin.requests()[1].headers.contains_key("te"));
}
