//! Header fields: what is dropped, what is told, what is kept.

use crate::common::*;

fn behind(more: &str) -> (Origin, Proxy) {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, more));
    (origin, proxy)
}

/// A listener that believes the loopback addresses, and strips `x-merchant-id` from others.
fn listener(trusted: &str) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", trusted_proxies: [{trusted}], strip_from_untrusted: [x-merchant-id] }}]\n"
    )
}

fn last(origin: &Origin) -> Received {
    origin.requests().pop().unwrap()
}

#[test]
fn what_speaks_of_one_connection_ends_there() {
    let (origin, proxy) = behind("");
    let mut client = Client::connect(proxy.addr("inbound"));
    let sent = [
        ("Connection", "keep-alive, X-Nominated, Content-Type"),
        ("Connection", "x-other"),
        ("X-Nominated", "1"),
        ("X-Other", "1"),
        ("Content-Type", "a/b"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic c2VjcmV0"),
        ("TE", "trailers, deflate"),
        ("Trailer", "X-Sum"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("X-End-To-End", "stays"),
        ("Authorization", "Bearer t"),
    ];
    client.request("GET", "/", &sent, b"");
    assert_eq!(client.read_response().status, 200);
    let seen = last(&origin);
    for (name, _) in &sent[..12] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!((seen.header("x-end-to-end"), seen.header("authorization")), (Some("stays"), Some("Bearer t")));
    // What frames and routes cannot be nominated away.
    client.request("POST", "/", &[("Connection", "content-length, host")], b"body");
    assert_eq!(client.read_response().json()["body"], 4);
}

#[test]
fn the_applications_connection_fields_end_here_too() {
    let origin = Origin::answer(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Nominated\r\nX-Nominated: 1\r\nKeep-Alive: timeout=9\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-MiXed: Case\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::start(&yaml(&origin, ""));
    let one = Client::connect(proxy.addr("inbound")).get("/");
    let two = http2::Client::connect(proxy.addr("inbound")).get("/").unwrap();
    for name in ["connection", "x-nominated", "keep-alive", "upgrade", "proxy-authenticate"] {
        assert_eq!((one.header(name), two.header(name)), (None, None), "{name}");
    }
    assert_eq!(one.header_all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(two.headers.get_all("set-cookie").iter().count(), 2);
    assert!(one.headers.iter().any(|(name, _)| name == "X-MiXed"), "names keep their spelling");
    assert!(one.header("date").is_some() && two.header("date").is_some());
}

#[test]
fn crumbs_of_a_cookie_are_joined() {
    let (origin, proxy) = behind("");
    let mut head = http2::Client::build("GET", "/");
    for crumb in ["a=1", "b=2", "c=3"] {
        head.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    http2::Client::connect(proxy.addr("inbound")).stream(head, true).unwrap().answer().unwrap();
    assert_eq!(last(&origin).header_all("cookie"), ["a=1; b=2; c=3"]);
}

const FORGED: [(&str, &str); 10] = [
    ("X-Forwarded-For", "1.2.3.4"),
    ("X-Forwarded-For", "5.6.7.8"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "bank.example"),
    ("X-Forwarded-Port", "443"),
    ("Forwarded", "for=1.2.3.4;proto=https"),
    ("X-Real-IP", "1.2.3.4"),
    ("X-Forwarded-Prefix", "/x"),
    ("X-Request-Start", "t=1"),
    ("X-Merchant-Id", "m1"),
];

#[test]
fn a_stranger_cannot_say_whom_it_speaks_for() {
    let origin = Origin::echo();
    let proxy =
        Proxy::start(&format!("{}upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\n", listener("10.0.0.0/8")));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &FORGED, b"");
    assert_eq!(client.read_response().status, 200);
    let seen = last(&origin);
    assert_eq!(seen.header_all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.header_all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header_all("x-forwarded-host"), ["test.example"]);
    assert_eq!(seen.header_all("forwarded"), ["for=127.0.0.1;host=test.example;proto=http"]);
    for name in ["x-forwarded-port", "x-real-ip", "x-forwarded-prefix", "x-request-start", "x-merchant-id"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(proxy.access_line("/")["client"], "127.0.0.1");
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let origin = Origin::echo();
    let yaml =
        format!("{}upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\n", listener("127.0.0.0/8, 5.6.7.8/32"));
    let proxy = Proxy::start(&yaml);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &FORGED, b"");
    assert_eq!(client.read_response().status, 200);
    let seen = last(&origin);
    assert_eq!(seen.header_all("x-forwarded-for"), ["1.2.3.4, 5.6.7.8, 127.0.0.1"]);
    assert_eq!(seen.header_all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.header_all("x-forwarded-host"), ["bank.example"]);
    let forwarded = "for=1.2.3.4;proto=https, for=127.0.0.1;host=test.example;proto=http";
    assert_eq!(seen.header_all("forwarded"), [forwarded]);
    assert_eq!((seen.header("x-merchant-id"), seen.header("x-real-ip")), (Some("m1"), Some("1.2.3.4")));
    // The right-most address that is not trusted.
    assert_eq!(proxy.access_line("/")["client"], "1.2.3.4");
}

#[test]
fn a_stranger_takes_no_route_by_a_header_it_may_not_send() {
    for (trusted, expected) in [("10.0.0.0/8", "everyone"), ("127.0.0.0/8", "merchants")] {
        let origin = Origin::echo();
        let proxy = Proxy::start(&format!(
            "{}upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\nroutes:\n  \
             - {{ name: merchants, match: {{ headers: {{ x-merchant-id: \"*\" }} }} }}\n  - {{ name: everyone }}\n",
            listener(trusted)
        ));
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[("X-Merchant-Id", "m1")], b"");
        assert_eq!(client.read_response().status, 200);
        assert_eq!(proxy.access_line("/")["route"], expected);
    }
}

#[test]
fn a_request_id_is_kept_where_it_is_one() {
    let (origin, proxy) = behind("");
    let mut client = Client::connect(proxy.addr("inbound"));
    let long = "a".repeat(128);
    for (sent, kept) in [("abc-1.2_3:Z", true), (long.as_str(), true), ("", false), ("a b", false), ("ä", false)] {
        client.request("GET", "/", &[("X-Request-Id", sent)], b"");
        client.read_response();
        let seen = last(&origin);
        let ids = seen.header_all("x-request-id");
        assert_eq!(ids.len(), 1);
        assert_eq!(ids[0] == sent, kept, "{sent:?} became {ids:?}");
        assert!(!ids[0].is_empty());
    }
    let long = "a".repeat(129);
    client.request("GET", "/", &[("X-Request-Id", &long)], b"");
    client.read_response();
    assert_ne!(last(&origin).header("x-request-id"), Some(long.as_str()));
    // A refusal carries the id under which it is logged.
    let (_origin, proxy) = behind("routes: [{ name: one, match: { path: /one } }]");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/two", &[("X-Request-Id", "mine")], b"");
    let answer = client.read_response();
    assert_eq!((answer.header("x-request-id"), &answer.json()["request_id"]), (Some("mine"), &"mine".into()));
}

#[test]
fn a_trace_is_passed_on_or_begun() {
    let (origin, proxy) = behind("");
    let mut client = Client::connect(proxy.addr("inbound"));
    let came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client.request("GET", "/", &[("traceparent", came), ("tracestate", "v=1")], b"");
    client.read_response();
    let seen = last(&origin);
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(came), Some("v=1")));
    for broken in ["", "00-4bf9-00f0-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
        client.request("GET", "/", &[("traceparent", broken), ("tracestate", "v=1")], b"");
        client.read_response();
        let seen = last(&origin);
        let made = seen.header_all("traceparent");
        assert!(made.len() == 1 && made[0].len() == 55 && made[0] != broken, "{made:?}");
        assert_eq!(seen.header("tracestate"), None);
    }
}

#[test]
fn a_route_sets_adds_and_removes_fields() {
    let origin = Origin::answer(
        "HTTP/1.1 200 OK\r\nServer: app\r\nX-Powered-By: x\r\nCache-Control: a\r\nVary: one\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = Proxy::start(&yaml(
        &origin,
        "routes:\n  - name: all\n    headers:\n      \
         request: { set: { x-served-by: outboard, x-there: new }, add: { x-list: two }, remove: [x-internal] }\n      \
         response: { set: { cache-control: b }, add: { vary: two }, remove: [server, x-powered-by] }",
    ));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[("X-Internal", "1"), ("X-There", "old"), ("X-List", "one")], b"");
    let one = client.read_response();
    let two = http2::Client::connect(proxy.addr("inbound")).get("/").unwrap();
    let seen = origin.requests().remove(0);
    assert_eq!((seen.header("x-internal"), seen.header_all("x-there")), (None, vec!["new"]));
    assert_eq!((seen.header("x-served-by"), seen.header_all("x-list")), (Some("outboard"), vec!["one", "two"]));
    assert_eq!((one.header("server"), one.header("x-powered-by")), (None, None));
    assert_eq!((one.header_all("cache-control"), one.header_all("vary")), (vec!["b"], vec!["one", "two"]));
    assert_eq!((two.header("server"), two.header("cache-control")), (None, Some("b")));
    assert_eq!(two.headers.get_all("vary").iter().count(), 2);
}

#[test]
fn an_outbound_listener_tells_strangers_nothing_of_the_application() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: egress, address: \"127.0.0.1:0\", direction: outbound }}]\nupstreams: {{ gateway: {{ endpoints: [\"{origin}\"] }} }}\n"
    ));
    Client::connect(proxy.addr("egress")).get("/");
    let seen = last(&origin);
    for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}
