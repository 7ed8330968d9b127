//! Which route, which target, which Host.

use crate::common::*;

#[test]
fn what_no_route_takes_is_refused_with_what_would_be_taken() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(
        &origin,
        "routes:\n  - { name: pay, match: { path: /pay, methods: [POST, PUT] } }\n  - { name: read, match: { path: /read, methods: [GET] } }",
    ));
    let mut client = Client::connect(proxy.addr("inbound"));
    let answer = client.get("/other");
    assert_eq!((answer.status, answer.reason()), (404, "no_route"));
    let answer = client.get("/pay");
    assert_eq!((answer.status, answer.reason()), (405, "method_not_allowed"));
    let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["POST", "PUT"]);
    client.request("HEAD", "/read", &[], b"");
    assert_eq!(client.try_read_response("HEAD").unwrap().status, 200, "GET includes HEAD");
    assert_eq!(origin.count(), 1);
    assert_eq!(proxy.metric("outboard_refusals_total{reason=\"no_route\",route=\"-\"}"), 1.0);
}

#[test]
fn a_path_that_another_would_read_differently_goes_nowhere() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(
        &origin,
        "routes:\n  - { name: ids, match: { path: \"/ids/{*rest}\" }, allow_encoded_slash: true }\n  - { name: rest }",
    ));
    let bad =
        ["/a/../b", "/a/./b", "/a/%2e%2e/b", "/a/..", "/a%2fb", "/a%5Cb", "/a%00", "/ids/a%2f../b", "/ids/%2e%2e/b"];
    for path in bad {
        let answer = Client::connect(proxy.addr("inbound")).get(path);
        assert_eq!((answer.status, answer.reason()), (400, "bad_request"), "{path}");
        let answer = http2::Client::connect(proxy.addr("inbound")).get(path).unwrap();
        assert_eq!(answer.status, 400, "{path}");
    }
    assert_eq!(origin.count(), 0);
    let mut client = Client::connect(proxy.addr("inbound"));
    for path in ["/ids/a%2Fb", "/a//b", "/a;v=1/b?x=../%2f", "/%41?", "/a%20b"] {
        assert_eq!(client.get(path).json()["target"], path, "as it was received");
    }
    client.request("OPTIONS", "*", &[], b"");
    assert_eq!(client.read_response().json()["target"], "*");
    client.send("GET http://test.example/abs?q HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(client.read_response().json()["target"], "/abs?q");
    client.send("GET http://test.example HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(client.read_response().json()["target"], "/");
}

#[test]
fn a_target_is_rewritten_as_its_route_says() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(
        &origin,
        r#"routes:
  - { name: strip, match: { path: "/payments/{*rest}" }, rewrite: { strip_prefix: /payments } }
  - { name: exact, match: { path: /payments }, rewrite: { strip_prefix: /payments } }
  - { name: add, match: { path: "/add/{*rest}" }, rewrite: { add_prefix: /v2 } }
  - { name: both, match: { path: "/both/{*rest}" }, rewrite: { strip_prefix: /both, add_prefix: /api/v1 } }
  - { name: whole, match: { path: "/whole/{*rest}" }, rewrite: { path: /one } }
  - { name: off, match: { path: "/off/{*rest}" }, rewrite: off }
"#,
    ));
    let mut client = Client::connect(proxy.addr("inbound"));
    for (asked, expected) in [
        ("/payments/a/b?c=%2f", "/a/b?c=%2f"),
        ("/payments?x", "/?x"),
        ("/add/a?x=1", "/v2/add/a?x=1"),
        ("/both/a%20b", "/api/v1/a%20b"),
        ("/whole/x?y=z", "/one?y=z"),
        ("/off/a", "/off/a"),
    ] {
        assert_eq!(client.get(asked).json()["target"], expected, "{asked}");
        assert_eq!(http2::Client::connect(proxy.addr("inbound")).get(asked).unwrap().json()["target"], expected);
    }
    let line = proxy.access_line("/payments/a/b");
    assert_eq!(line["route"], "strip", "logged as it was received");
}

#[test]
fn the_application_is_sent_the_host_it_expects() {
    for (setting, endpoint_is_expected) in [("preserve", false), ("endpoint", true), ("app.internal", false)] {
        let (one, two) = (Origin::echo(), H2Origin::echo());
        let proxy = Proxy::start(&format!(
            "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\nupstreams:\n  \
             one: {{ endpoints: [\"{one}\"], host: {setting} }}\n  \
             two: {{ endpoints: [\"{two}\"], protocol: h2c, host: {setting} }}\nroutes:\n  \
             - {{ name: one, match: {{ path: /one }}, upstream: one }}\n  \
             - {{ name: two, match: {{ path: /two }}, upstream: two }}\n"
        ));
        let expected = |endpoint: String| match setting {
            _ if endpoint_is_expected => endpoint,
            "preserve" => "test.example".to_owned(),
            name => name.to_owned(),
        };
        let h2 = http2::Client::connect(proxy.addr("inbound"));
        let mut client = Client::connect(proxy.addr("inbound"));
        for _ in 0..2 {
            assert_eq!((client.get("/one").status, client.get("/two").status), (200, 200));
            assert_eq!((h2.get("/one").unwrap().status, h2.get("/two").unwrap().status), (200, 200));
        }
        for request in one.requests() {
            assert_eq!(request.header_all("host"), [expected(one.to_string())], "{setting}");
        }
        for request in two.requests() {
            assert_eq!(request.authority, expected(two.to_string()), "{setting}");
            assert!(!request.headers.contains_key("host"), "{setting}: {request:?}");
        }
    }
}
