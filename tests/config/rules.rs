//! Files whose values are right and that yet make no sense.

use super::{errors, load, loaded};

/// A file of a listener line, an upstream line and more.
fn file(listeners: &str, upstreams: &str, more: &str) -> String {
    format!("listeners: [{listeners}]\nupstreams: {{ {upstreams} }}\n{more}\n")
}

const IN: &str = "{ name: in, address: \"127.0.0.1:80\" }";
const APP: &str = "app: { endpoints: [\"127.0.0.1:3000\"] }";
const TWO: &str = "{ name: in, address: \"127.0.0.1:80\", direction: inbound }, \
                   { name: out, address: \"127.0.0.1:81\", direction: outbound }";

fn one(text: &str, expected: &str) {
    let found = errors(text);
    assert!(found.len() == 1 && found[0].contains(expected), "{text}\n{found:#?}\nexpected {expected}");
}

#[test]
fn listeners() {
    for (listeners, expected) in [
        (
            "{ name: in, address: nowhere }",
            "1:34: listeners[0].address: expected host:port, [ipv6]:port or unix:/path, found nowhere",
        ),
        ("{ name: any, address: \"a:80\" }", "listeners[0].name: any means every listener"),
        ("{ name: \"a b\", address: \"a:80\" }", "listeners[0].name: expected a name of at most 64 letters"),
        ("{ name: in, address: \"0.0.0.0:9901\" }", "is taken by admin.address"),
        (
            "{ name: in, address: \"a:80\", protocols: [h2] }",
            "protocols[0]: expected http1 or h2c, as the listener has no tls, found h2",
        ),
        (
            "{ name: in, address: \"a:80\", protocols: [h2c], tls: { cert_file: a, key_file: b } }",
            "protocols[0]: expected http1 or h2, as the listener has tls, found h2c",
        ),
        ("{ name: in, address: \"a:80\", protocols: [h2c, h2c] }", "the same protocol twice"),
        (
            "{ name: in, address: \"a:80\", strip_from_untrusted: [\"a b\"] }",
            "expected the name of a header, found \"a b\"",
        ),
        ("{ name: in, address: \"a:80\", proxy_protocol: required }", "every connection is closed"),
    ] {
        one(&file(listeners, APP, ""), expected);
    }
    let routes = "routes: [{ name: r, match: { listener: any } }]";
    for (second, expected) in [
        ("{ name: b, address: \"127.0.0.1:81\" }", "listeners[1].direction: required where there are several"),
        ("{ name: in, address: \"127.0.0.1:81\", direction: outbound }", "the same name as the listener on line 1"),
        ("{ name: b, address: \"0.0.0.0:80\", direction: outbound }", "is taken by listener in"),
    ] {
        let first = "{ name: in, address: \"127.0.0.1:80\", direction: inbound }";
        one(&file(&format!("{first}, {second}"), APP, routes), expected);
    }
}

#[test]
fn upstreams() {
    for (inside, expected) in [
        ("endpoints: []", "upstreams.app.endpoints: expected at least one endpoint"),
        ("endpoints: [app]", "endpoints[0]: expected host:port, [ipv6]:port or unix:/path, found app"),
        ("endpoints: [\"app:0\"]", "expected a port from 1 to 65535"),
        ("endpoints: [\"app:1\", \"app:1\"]", "endpoints[1]: the same endpoint twice"),
        (
            "endpoints: [\"app:1\"], protocol: h2",
            "protocol: expected http1 or h2c, as the upstream has no tls, found h2",
        ),
        ("endpoints: [\"app:1\"], protocol: auto", "as the upstream has no tls, found auto"),
        ("endpoints: [\"app:1\"], protocol: h2c, tls: {}", "as the upstream has tls, found h2c"),
        ("endpoints: [\"unix:/a\"], tls: {}", "tls.server_name: required with a unix socket"),
        ("endpoints: [\"unix:/a\"], host: endpoint", "host: expected preserve or a name"),
        ("endpoints: [\"app:1\"], host: \"a b\"", "host: expected preserve, endpoint or a name"),
        ("endpoints: [\"app:1\"], tls: { cert_file: a }", "tls.key_file: required beside cert_file"),
        ("endpoints: [\"app:1\"], tls: { key_file: a }", "tls.cert_file: required beside key_file"),
        ("endpoints: [\"app:1\"], tls: { server_name: \"a/b\" }", "expected a host name or an IP address"),
        (
            "endpoints: [\"app:1\"], load_balance: consistent_hash",
            "hash_on: required with load_balance: consistent_hash",
        ),
        ("endpoints: [\"app:1\"], hash_on: [client_ip]", "hash_on: is only for load_balance: consistent_hash"),
        (
            "endpoints: [\"app:1\"], load_balance: consistent_hash, hash_on: [\"jwt:sub\"]",
            "hash_on[0]: expected client_ip, header:NAME, query:NAME, cookie:NAME, path:PARAM or constant, found \"jwt:sub\"",
        ),
        ("endpoints: [\"app:1\"], dns_refresh: 0s", "dns_refresh: expected more than zero, found 0s"),
        ("endpoints: [\"app:1\"], pool: { max_streams: 0 }", "pool.max_streams: expected more than zero, found 0"),
    ] {
        one(&file(IN, &format!("app: {{ {inside} }}"), ""), expected);
    }
    let health = "upstreams.app.health_check.";
    for (inside, place, expected) in [
        ("path: healthz", "path", "expected a path that starts with /, found healthz"),
        ("path: \"/a b\"", "path", "expected a path that starts with /, found \"/a b\""),
        ("path: \"/a#b\"", "path", "expected a path that starts with /"),
        ("path: /, interval: 0s", "interval", "expected more than zero, found 0s"),
        ("path: /, timeout: 0s", "timeout", "expected more than zero, found 0s"),
        ("path: /, unhealthy_after: 0", "unhealthy_after", "expected more than zero, found 0"),
        ("path: /, healthy_after: 0", "healthy_after", "expected more than zero, found 0"),
        ("path: /, expect_status: []", "expect_status", "expected at least one status"),
        ("path: /, interval: 500ms", "timeout", "1s is more than health_check.interval 500ms (line 2)"),
        ("path: /, timeout: 6s", "timeout", "6s is more than health_check.interval 5s (line 2)"),
    ] {
        let text = file(IN, &format!("app: {{ endpoints: [\"a:1\"], health_check: {{ {inside} }} }}"), "");
        one(&text, &format!("{health}{place}: {expected}"));
    }
    for (inside, expected) in [
        ("consecutive_failures: 0", "consecutive_failures: expected more than zero, found 0"),
        ("eject_for: 0s", "eject_for: expected more than zero, found 0s"),
        ("max_ejected: 0%", "max_ejected: expected more than zero, found 0%"),
    ] {
        let text = file(IN, &format!("app: {{ endpoints: [\"a:1\"], outlier_detection: {{ {inside} }} }}"), "");
        one(&text, &format!("upstreams.app.outlier_detection.{expected}"));
    }
    one(&file(IN, "\"a b\": { endpoints: [\"a:1\"] }", ""), "2:14: upstreams.a b: expected a name of at most 64");
    one(&file(IN, "", ""), "upstreams: expected at least one upstream");
}

#[test]
fn routes() {
    for (inside, expected) in [
        ("upstream: ap", "routes[0].upstream: no such upstream: ap; did you mean app?"),
        ("upstream: other", "no such upstream: other; known: app"),
        ("match: { listener: inn }", "routes[0].match.listener: no such listener: inn; did you mean in?"),
        (
            "match: { host: \"a:80\" }",
            "match.host: expected a host name without a port, or *.example.com, found \"a:80\"",
        ),
        ("match: { path: a }", "match.path: expected a path that starts with /, found a"),
        ("match: { path: \"/{*a}/b\" }", "expected {*rest} at the end only, found \"/{*a}/b\""),
        ("match: { path: \"/{a}/{a}\" }", "expected each parameter once"),
        ("match: { path: /a/../b }", "expected no . or .. segment"),
        ("match: { path: \"/a?b=c\" }", "a query is matched by match.query"),
        ("match: { methods: [get] }", "methods[0]: expected GET, as methods are written in capitals, found get"),
        ("match: { methods: [\"G T\"] }", "methods[0]: expected a method such as GET"),
        ("match: { methods: [GET, GET] }", "the same method twice"),
        (
            "match: { headers: { \"a b\": c } }",
            "4:36: routes[0].match.headers.a b: expected the name of a header, found a b",
        ),
        ("rewrite: { strip_prefix: a }", "rewrite.strip_prefix: expected a path that starts with /"),
        ("rewrite: { add_prefix: a }", "rewrite.add_prefix: expected a path that starts with /"),
        ("rewrite: { path: /a, strip_prefix: /b }", "rewrite.path: replaces the whole path"),
        ("headers: { request: { set: { host: a } } }", "use upstreams.*.host"),
        ("headers: { request: { remove: [Content-Length] } }", "content-length belongs to the connection"),
        ("headers: { response: { add: { x-a: \"a\\nb\" } } }", "response.add.x-a: expected the value of a header"),
        ("headers: { response: { set: { x-a: a, X-A: b } } }", "the same header twice, in another case"),
        ("timeouts: { idle: 0s }", "timeouts.idle: expected more than zero, found 0s"),
        ("timeouts: { first_byte: 15s }", "timeouts.first_byte: 15s is less than connect 1s plus first_byte 15s"),
        ("timeouts: { total: 5s }", "timeouts.total: 5s is less than connect 1s plus first_byte 10s"),
    ] {
        one(&file(IN, APP, &format!("routes:\n  - {{ name: r, {inside} }}")), expected);
    }
    one(&file(IN, APP, "routes: []"), "routes: expected at least one route");
    one(
        &file(IN, APP, "routes:\n  - name: r\n  - { name: r, match: { path: / } }"),
        "the same name as the route on line 4",
    );
}

#[test]
fn what_several_listeners_or_upstreams_require() {
    let both = format!("{APP}, b: {{ endpoints: [\"a:1\"] }}");
    one(&file(IN, &both, ""), "routes: required where there are several listeners or upstreams");
    one(&file(TWO, APP, ""), "routes: required where there are several listeners or upstreams");
    one(
        &file(IN, &both, "routes: [{ name: r }]"),
        "routes[0].upstream: required where there are several upstreams: app, b",
    );
    one(
        &file(TWO, APP, "routes: [{ name: r }]"),
        "routes[0].match.listener: required where there are several listeners: in, out, or any on purpose",
    );
    assert!(load(&file(TWO, APP, "routes: [{ name: r, match: { listener: any } }]")).is_ok());
    let config = loaded(&file(IN, &both, "defaults: { upstream: b }\nroutes: [{ name: r }]")).config;
    assert_eq!(config.routes[0].upstream.as_deref(), Some("b"));
}

#[test]
fn two_routes_that_take_the_same() {
    for (a, b, same) in [
        ("", "", true),
        ("path: /a", "path: /a", true),
        ("path: /a", "path: /a/", false),
        ("path: \"/{a}\"", "path: \"/{b}\"", true),
        ("path: \"/{a}\"", "path: \"/{*a}\"", false),
        ("host: A.com", "host: a.com", true),
        ("methods: [GET, HEAD]", "methods: [GET]", true),
        ("methods: [GET, POST]", "methods: [POST, GET]", true),
        ("methods: [GET]", "methods: [POST]", false),
        ("headers: { X-A: b }", "headers: { x-a: b }", true),
        ("query: { a: b }", "query: { a: c }", false),
        ("listener: in", "listener: any", true),
    ] {
        let text = file(
            IN,
            APP,
            &format!("routes:\n  - {{ name: r, match: {{ {a} }} }}\n  - {{ name: s, match: {{ {b} }} }}"),
        );
        if same {
            one(&text, "routes[1].match: the same requests as route r (line 4)");
        } else {
            assert!(load(&text).is_ok(), "{text}");
        }
    }
    let listeners = "routes: [{ name: r, match: { listener: in } }, { name: s, match: { listener: any } }]";
    assert!(load(&file(TWO, APP, listeners)).is_ok());
}

#[test]
fn the_drain_must_outlast_the_slowest_request() {
    let text = file(IN, APP, "drain:\n  timeout: 25s\nroutes:\n  - { name: slow, timeouts: { total: 25s } }");
    one(
        &text,
        "4:12: drain.timeout: 25s is less than drain.delay 5s plus timeouts.total 25s of route slow (line 6): a request \
         accepted late is cut; raise it, or set drain.allow_cut: true",
    );
    let allowed = loaded(&text.replace("timeout: 25s\n", "timeout: 25s\n  allow_cut: true\n"));
    assert_eq!(allowed.warnings.len(), 1);
    assert!(load(&text.replace("timeout: 25s\n", "timeout: 30s\n")).is_ok());
    assert!(load(&text.replace("name: slow", "name: slow, stream: true")).is_ok());
}

#[test]
fn what_is_allowed_but_dangerous() {
    let text = file(
        "{ name: in, address: \"127.0.0.1:80\", proxy_protocol: optional }",
        "app: { endpoints: [\"127.0.0.1:80\"], tls: { insecure_skip_verify: true }, load_balance: consistent_hash, \
         hash_on: [\"path:id\"] }",
        "admin: { address: \"0.0.0.0:9901\" }\nredaction: { card_numbers: false }",
    );
    let warnings: Vec<String> = loaded(&text).warnings.iter().map(ToString::to_string).collect();
    for expected in [
        "listeners[0].proxy_protocol: is believed from trusted_proxies only",
        "upstreams.app.endpoints[0]: is our own listener in",
        "tls.insecure_skip_verify: anyone can answer",
        "hash_on[0]: the path of route default has no {id}",
        "admin.address: administration can be reached from other machines",
        "redaction.card_numbers: card numbers are written to the log",
    ] {
        assert!(warnings.iter().any(|w| w.contains(expected)), "{expected}\n{warnings:#?}");
    }
    assert_eq!(warnings.len(), 6);
}

#[test]
fn what_takes_endpoints_out_makes_no_sense_with_one() {
    let warned = |endpoints: &str| {
        let both = "health_check: { path: / }, outlier_detection: {}";
        let text = file(IN, &format!("app: {{ endpoints: [{endpoints}], {both} }}"), "");
        loaded(&text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for alone in ["\"127.0.0.1:3000\"", "\"[::1]:3000\"", "\"unix:/run/app.sock\""] {
        let warnings = warned(alone);
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        for (warning, key) in warnings.iter().zip(["health_check", "outlier_detection"]) {
            assert!(warning.contains(&format!("upstreams.app.{key}: takes nobody out")), "{warning}");
        }
    }
    // A name may stand for many.
    assert_eq!(warned("\"app.internal:3000\""), Vec::<String>::new());
    assert_eq!(warned("\"127.0.0.1:3000\", \"127.0.0.1:3001\""), Vec::<String>::new());
}

#[test]
fn nothing_is_said_about_what_could_not_be_read() {
    // The listener, the upstream and the match are lost: what refers to them, or would equal, is not an error as well.
    let text = "
listeners: [{ name: in, address: \"127.0.0.1:80\", tls: { cert_file: 1, kye: [] } }]
upstreams: { app: { endpoints: 5 }, b: { endpoints: [\"a:1\"] } }
routes:
  - { name: r, upstream: app, match: { listener: in, path: [] } }
  - { name: s, upstream: b, match: { listener: in, path: {} } }
";
    assert_eq!(errors(text).len(), 4 + 1, "{:#?}", errors(text));
}
