//! Interim answers: 100 is sent by the proxy where the body is wanted, 103 passes to HTTP/1.

use crate::common::*;

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, "limits: { max_request_body: 1MiB }"));
    let mut client = Client::connect(proxy.addr("inbound"));
    let large = vec![b'x'; 200_000];
    for body in [&b"small"[..], &large] {
        let length = body.len().to_string();
        client.request("POST", "/", &[("Expect", "100-continue"), ("Content-Length", &length)], b"");
        assert_eq!(client.read_head().unwrap().status, 100);
        client.send(body);
        let answer = client.read_response();
        assert_eq!((answer.status, &answer.json()["body"]), (200, &body.len().into()));
    }
    client.request("POST", "/", &[("Expect", "100-continue"), ("Transfer-Encoding", "chunked")], b"");
    assert_eq!(client.read_head().unwrap().status, 100);
    client.send(b"3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.read_response().json()["body"], 3);
    assert!(origin.requests().iter().all(|r| r.header("expect").is_none()), "the application is not asked again");
}

#[test]
fn a_body_that_is_not_wanted_is_refused_instead_of_asked_for() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, "limits: { max_request_body: 1KiB }"));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("Expect", "100-continue"), ("Content-Length", "2000")], b"");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.reason(), answer.informational.len()), (413, "body_too_large", 0));
    assert!(client.is_closed(patience()), "its body was not read");
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_applications_own_100_is_not_the_answer() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.write("HTTP/1.1 100 Continue\r\n\r\n");
            conn.read_body(&head);
            conn.ok("after");
        }
    });
    let proxy = Proxy::start(&yaml(&origin, ""));
    let answer = Client::connect(proxy.addr("inbound")).post("/", b"body");
    assert_eq!((answer.text().as_str(), answer.informational.len()), ("after", 0));
    assert_eq!(http2::Client::connect(proxy.addr("inbound")).post("/", "body").unwrap().body, b"after");
}

#[test]
fn early_hints_reach_http1_at_once_and_nobody_else() {
    let (told, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::serve(move |conn| {
        while conn.read_head().is_some() {
            conn.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-secret\r\nX-Secret: 1\r\n\r\n");
            let _ = wait.lock().unwrap().recv_timeout(patience());
            conn.ok("late");
        }
    });
    let proxy = Proxy::start(&yaml(&origin, ""));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    let hints = client.read_head().unwrap();
    assert_eq!((hints.status, hints.header("link"), hints.header("x-secret")), (103, Some("</a.css>"), None));
    told.send(()).unwrap();
    assert_eq!(client.read_response().text(), "late");
    let mut old = Client::connect(proxy.addr("inbound"));
    told.send(()).unwrap();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.read_head().unwrap().status, 200);
    told.send(()).unwrap();
    assert_eq!(http2::Client::connect(proxy.addr("inbound")).get("/").unwrap().body, b"late");
}
