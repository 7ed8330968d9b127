//! Card numbers and credentials that are sent to the proxy, in whatever shape and wherever, never stand in what it writes:
//! not at level trace, not of heads that are malformed, not of applications that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::sync::Mutex;
use std::time::Duration;

use common::http2_raw::{Raw, pseudo};
use common::{Client, Origin, Proxy, Signal, eventually, http2};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What is sent, and may not be seen again.
#[derive(Debug, Clone)]
struct Secrets {
    card: String,
    /// The card as people write it: in groups.
    grouped: String,
    token: String,
    password: String,
}

/// 12 to 19 digits with a right Luhn sum.
fn card() -> impl Strategy<Value = String> {
    (11..=18usize, any::<u64>(), 3..=6u8).prop_map(|(digits, seed, first)| {
        let mut card: Vec<u8> = vec![first];
        let mut state = seed;
        while card.len() < digits {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            card.push((state >> 60) as u8 % 10);
        }
        let sum: u32 = card.iter().rev().enumerate().map(|(i, d)| doubled(*d, i % 2 == 0)).sum();
        card.push(((10 - sum % 10) % 10) as u8);
        card.iter().map(|d| char::from(b'0' + d)).collect()
    })
}

fn doubled(digit: u8, double: bool) -> u32 {
    match u32::from(digit) * if double { 2 } else { 1 } {
        n if n > 9 => n - 9,
        n => n,
    }
}

fn secrets() -> impl Strategy<Value = Secrets> {
    // Letters that no word of ours has, so that nothing is found by accident.
    let word = |n: usize| proptest::string::string_regex(&format!("[QXZJ][A-Za-z0-9_.~+/-]{{{n}}}[QXZJ]")).unwrap();
    (card(), 0..2usize, word(20), word(12)).prop_map(|(card, separator, token, password)| {
        let groups: Vec<&str> = card.as_bytes().chunks(4).map(|g| std::str::from_utf8(g).unwrap()).collect();
        Secrets { grouped: groups.join(["-", "%20"][separator]), card, token, password }
    })
}

/// Every way in: each is a connection's worth of bytes.
fn heads(s: &Secrets) -> Vec<String> {
    let Secrets { card, grouped, token, password } = s;
    let end = "Host: test.example\r\n\r\n";
    let query = password.replace(['+', '/'], "x");
    let good = |target: &str, lines: &str| format!("GET {target} HTTP/1.1\r\n{lines}{end}");
    vec![
        // Good ones, to an application that answers and to those that do not.
        good(&format!("/pay/{card}?card={card}&x={grouped}&token={query}&api_key={query}"), ""),
        good(&format!("/pay/{grouped}"), &format!("X-Merchant-Id: {card}\r\nX-Note: card {grouped} of {card}\r\n")),
        good("/pay", &format!("Authorization: Bearer {token}\r\nCookie: session={password}; id={token}\r\n")),
        good(
            "/pay",
            &format!("Idempotency-Key: {token}\r\nX-Api-Key: {password}\r\nProxy-Authorization: Basic {token}\r\n"),
        ),
        good(&format!("/dead/{card}?password={query}"), &format!("Authorization: Bearer {token}\r\n")),
        good(&format!("/garbage/{card}?cvv={query}"), &format!("X-Api-Key: {token}\r\n")),
        good(&format!("/reset/{grouped}?pan={card}"), &format!("Cookie: {token}\r\n")),
        good(&format!("/silent/{card}?secret={query}"), &format!("Authorization: Basic {token}\r\n")),
        good("/pay", &format!("X-Request-Id: {card}\r\nTraceparent: 00-{card}-1-01\r\n")),
        good("/pay", &format!("X-Forwarded-For: {card}\r\nForwarded: for=\"{card}\"\r\n")),
        // Malformed ones.
        format!("GET /pay/{card} {grouped} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n{end}"),
        format!("{card} /pay HTTP/1.1\r\nCookie: a={password}\r\n{end}"),
        format!("GET /pay HTTP/{card}\r\nX-Api-Key: {token}\r\n{end}"),
        format!("GET /pay HTTP/1.1\r\nAuthorization : Bearer {token}\r\n{end}"),
        format!("GET /pay HTTP/1.1\r\nAuthorization: Bearer\r\n {token}\r\n{end}"),
        format!("GET /pay HTTP/1.1\r\nHost: {card}\r\nHost: {token}\r\nCookie: {password}\r\n\r\n"),
        format!("GET /pay HTTP/1.1\r\nHost: {card}.example\r\nIdempotency-Key: {token}\r\n\r\n"),
        format!("GET http://{card}/pay?token={query} HTTP/1.1\r\nX-Api-Key: {password}\r\n{end}"),
        format!("GET /pay/../{card}?token={query} HTTP/1.1\r\nX-Api-Key: {password}\r\n{end}"),
        format!("GET /pay/%zz/{card}?card={card} HTTP/1.1\r\nAuthorization: {token}\r\n{end}"),
        format!("GET /pay HTTP/1.1\r\nX-Api-Key: {token}\0\r\nCookie: {password}\r\n{end}"),
        format!("POST /pay HTTP/1.1\r\nContent-Length: {card}{card}\r\nAuthorization: Bearer {token}\r\n{end}"),
        format!("POST /pay HTTP/1.1\r\nTransfer-Encoding: {card}\r\nAuthorization: Bearer {token}\r\n{end}"),
        format!("POST /pay HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Api-Key: {token}\r\n{end}{card}\r\n{card}"),
        format!(
            "POST /pay HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{end}3\r\nabc\r\n0\r\nCookie {token}: {card}\r\n\r\n"
        ),
        format!(
            "POST /pay HTTP/1.1\r\nContent-Length: 100\r\nX-Api-Key: {token}\r\n{end}card={card}&password={password}"
        ),
        format!("GET /nowhere/{card}?api_key={query} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n{end}"),
        format!("CONNECT {card}:443 HTTP/1.1\r\nProxy-Authorization: Basic {token}\r\n{end}"),
        format!("\r\n\r\n{card} {token}\r\n\r\n"),
    ]
}

fn drive(proxy: &Proxy, s: &Secrets) {
    let heads = heads(s);
    std::thread::scope(|scope| {
        for half in heads.chunks(8) {
            scope.spawn(move || {
                for bytes in half {
                    let mut client = Client::connect(proxy.addr("inbound"));
                    let _ = client.try_send(bytes);
                    // A client that leaves would keep a failing application from failing.
                    if bytes.contains("Content-Length: 100\r\n") {
                        client.shutdown_write();
                    }
                    let _ = client.try_read_response("GET");
                }
            });
        }
        scope.spawn(move || drive_http2(proxy, s));
    });
}

fn drive_http2(proxy: &Proxy, s: &Secrets) {
    let client = http2::Client::connect(proxy.addr("inbound"));
    for path in ["/pay", "/dead", "/garbage", "/reset"] {
        let mut head = http2::Client::build("GET", &format!("{path}/{}?card={}", s.card, s.grouped));
        for (name, value) in [("authorization", &s.token), ("cookie", &s.password), ("x-merchant-id", &s.card)] {
            head.headers_mut().insert(name, value.parse().unwrap());
        }
        let _ = client.stream(head, true).unwrap().answer();
    }
    let lines: [(&[u8], String); 4] = [
        (b"x-api-key", format!("{}\r\nCookie: {}", s.token, s.password)),
        (b"connection", s.card.clone()),
        (b"host", s.card.clone()),
        (b"content-length", s.card.repeat(2)),
    ];
    for (name, value) in &lines {
        let mut raw = Raw::connect(proxy.addr("inbound"));
        let mut fields: Vec<(&[u8], &[u8])> = pseudo("GET", "/pay").to_vec();
        fields.push((b"authorization", s.token.as_bytes()));
        fields.push((name, value.as_bytes()));
        raw.headers(1, &fields, true);
        raw.outcome(1);
    }
}

/// Applications that fail: one repeats what it was sent where an answer should be, one breaks off, one never answers.
struct Failing {
    garbage: Origin,
    reset: Origin,
    silent: Origin,
}

impl Failing {
    fn new() -> Failing {
        let garbage = Origin::serve(|conn| {
            if let Some(head) = conn.read_head() {
                let said = String::from_utf8_lossy(&head.raw).replace("HTTP/1.1", "HTP");
                conn.write(format!("HTTP/1.1 abc {said}"));
            }
        });
        let reset = Origin::serve(|conn| {
            if let Some(head) = conn.read_head() {
                conn.write(format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\nContent-Le", head.target));
            }
        });
        let silent = Origin::serve(|conn| while conn.read_head().is_some() {});
        Failing { garbage, reset, silent }
    }

    fn yaml(&self, app: &Origin) -> String {
        let route = |name: &str| {
            format!("  - {{ name: {name}, match: {{ path: \"/{name}/{{*rest}}\" }}, upstream: {name} }}\n")
        };
        format!(
            "logging: {{ level: trace, access: {{ request_headers: [authorization, cookie, x-merchant-id, x-note, \
             x-api-key, idempotency-key, proxy-authorization, x-forwarded-for] }} }}\n\
             drain: {{ delay: 0s }}\n\
             listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
             defaults: {{ timeouts: {{ connect: 50ms, first_byte: 100ms, total: 300ms }} }}\n\
             upstreams:\n  pay: {{ endpoints: [\"{app}\"] }}\n  dead: {{ endpoints: [\"127.0.0.1:1\"] }}\n  \
             garbage: {{ endpoints: [\"{}\"] }}\n  reset: {{ endpoints: [\"{}\"] }}\n  silent: {{ endpoints: [\"{}\"] }}\n\
             routes:\n  - {{ name: exact, match: {{ path: /pay }}, upstream: pay }}\n{}{}{}{}{}",
            self.garbage,
            self.reset,
            self.silent,
            route("pay"),
            route("dead"),
            route("garbage"),
            route("reset"),
            route("silent"),
        )
    }
}

#[test]
fn nothing_secret_reaches_the_output() {
    let (app, failing) = (Origin::echo(), Failing::new());
    let proxy = Proxy::start(&failing.yaml(&app));
    let sent = Mutex::new(Vec::new());
    let mut runner = TestRunner::new(Config { cases: 32, failure_persistence: None, ..Config::default() });
    runner
        .run(&secrets(), |secrets| {
            drive(&proxy, &secrets);
            sent.lock().unwrap().push(secrets);
            Ok(())
        })
        .unwrap();
    let sent = sent.into_inner().unwrap();
    let requests = sent.len() * (heads(&sent[0]).len() + 4);
    eventually("every request has its line", || proxy.access_lines().len() >= requests);
    proxy.signal(Signal::TERM);
    proxy.wait(Duration::from_secs(10));

    let output = proxy.raw_output();
    assert_eq!(output.matches("\"event\":\"panic\"").count(), 0);
    for secrets in &sent {
        let plain = secrets.grouped.replace("%20", " ");
        for secret in [&secrets.card, &secrets.grouped, &plain, &secrets.token, &secrets.password] {
            if let Some(line) = output.lines().find(|line| line.contains(secret.as_str())) {
                panic!("{secret} of {secrets:?} stands in {line}");
            }
        }
    }
    // They did pass this way: the first six digits are left of each card.
    assert!(sent.iter().all(|s| output.contains(&s.card[..6])));
    assert!(app.count() > sent.len());
    // And each kind of failure was met.
    for reason in ["upstream_connect", "upstream_reset", "upstream_timeout", "bad_request", "no_route", "client_left"] {
        assert!(output.contains(&format!("\"reason\":\"{reason}\"")), "{reason}");
    }
}
