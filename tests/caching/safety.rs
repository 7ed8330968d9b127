//! Whose answer is it: credentials, cookies, card numbers, and requests that might ask for something else.

use std::io::Write;

use super::*;

const MINUTE: &str = "Cache-Control: max-age=60\r\n";
const CARD: &str = "4111111111111111";

/// Says who asks, and how many asked before.
fn whoami(fields: &'static str) -> Origin {
    scripted(move |head, number| {
        let who: Vec<&str> =
            ["authorization", "cookie", "x-api-key", "x-token"].iter().flat_map(|name| head.header_all(name)).collect();
        Some(answer(200, fields, &format!("{} {number}", who.join(","))))
    })
}

#[test]
fn each_credential_has_its_own_answers() {
    let origin = whoami(MINUTE);
    let proxy = start(&origin, "");
    let who: [&[(&str, &str)]; 9] = [
        &[],
        &[("Authorization", "Bearer a")],
        &[("Authorization", "Bearer b")],
        &[("Cookie", "Bearer a")],
        &[("X-Api-Key", "Bearer a")],
        &[("Authorization", "Bearer a"), ("Cookie", "s=1")],
        &[("Authorization", "Bearer a"), ("X-Api-Key", "s=1")],
        &[("Cookie", "a=1"), ("Cookie", "b=2")],
        &[("Cookie", "a=1; b=2")],
    ];
    for round in 0..2 {
        for (number, headers) in who.iter().enumerate() {
            let answer = ask(&proxy, "/", headers);
            assert!(answer.text().ends_with(&format!(" {number}")), "{round}: {headers:?} got {}", answer.text());
        }
    }
    assert_eq!((origin.count(), results(&proxy, "hit")), (9, 9.0));
}

#[test]
fn what_answers_a_credential_is_not_stored_where_that_is_said() {
    let origin = whoami(MINUTE);
    let proxy = start(&origin, "partition: never_store");
    for number in 0..3 {
        assert_eq!(ask(&proxy, "/", &[("X-Api-Key", "k")]).text(), format!("k {number}"));
    }
    assert_eq!(results(&proxy, "bypass"), 3.0);
    assert_eq!((ask(&proxy, "/", &[]).text(), ask(&proxy, "/", &[]).text()), (" 3".into(), " 3".into()));
    assert_eq!(ask(&proxy, "/", &[("Cookie", "c")]).text(), "c 4", "nor served what is stored");
}

#[test]
fn the_standard_shares_what_the_application_calls_public_alone() {
    for (fields, shared) in [
        ("Cache-Control: max-age=60\r\n", false),
        ("Cache-Control: max-age=60, public\r\n", true),
        ("Cache-Control: s-maxage=60\r\n", true),
        ("Cache-Control: max-age=60, must-revalidate\r\n", true),
    ] {
        let origin = whoami(fields);
        let proxy = start(&origin, "partition: standard");
        assert_eq!(ask(&proxy, "/", &[("Authorization", "a")]).text(), "a 0");
        let other = ask(&proxy, "/", &[("Authorization", "b")]).text();
        assert_eq!(other, if shared { "a 0" } else { "b 1" }, "{fields}");
    }
}

#[test]
fn a_credential_of_another_name_is_one_where_it_is_listed() {
    let origin = whoami(MINUTE);
    let text = format!("credentials: [x-token]\n{}", "routes: [{ name: all, cache: { ttl: 1m } }]");
    let proxy = Proxy::start(&yaml(&origin, &text));
    assert_eq!(ask(&proxy, "/", &[("X-Token", "a")]).text(), "a 0");
    assert_eq!(ask(&proxy, "/", &[("X-Token", "b")]).text(), "b 1");
    assert_eq!(ask(&proxy, "/", &[("X-Token", "a")]).text(), "a 0");
}

#[test]
fn what_is_for_one_alone_is_not_stored() {
    for (fields, why) in [
        ("Cache-Control: max-age=60\r\nSet-Cookie: s=1\r\n", "set_cookie"),
        ("Cache-Control: max-age=60, private\r\n", "private"),
        ("Cache-Control: max-age=60\r\nCache-Control: PRIVATE\r\n", "private"),
        ("Cache-Control: max-age=60, no-store\r\n", "no_store"),
    ] {
        for section in ["", "freshness: override, ttl: 1m"] {
            let origin = numbered(fields);
            let proxy = start(&origin, section);
            assert_eq!((ask(&proxy, "/", &[]).text(), ask(&proxy, "/", &[]).text()), ("0".into(), "1".into()));
            assert!(proxy.metric(&series("stores", why)) >= 1.0, "{fields}{section}\n{}", proxy.metrics());
            assert_eq!(proxy.metric("outboard_cache_objects"), 0.0);
        }
    }
}

#[test]
fn a_field_that_is_private_reaches_who_asked_alone() {
    let origin = numbered("Cache-Control: max-age=60, private=\"x-secret\"\r\nX-Secret: mine\r\n");
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/", &[]).header("x-secret"), Some("mine"));
    await_stores(&proxy, "stored", 1.0);
    let again = ask(&proxy, "/", &[]);
    assert_eq!((again.text().as_str(), again.header("x-secret")), ("0", None));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// An application that always answers these bytes.
fn always(bytes: Vec<u8>) -> Origin {
    Origin::answer(bytes)
}

fn with_body(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{MINUTE}{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn a_card_number_is_handed_on_and_never_stored() {
    let body = format!("{{\"pan\": \"{CARD}\"}}");
    let long = format!("{}{body}", "x".repeat(100_000));
    let chunked = format!(
        "HTTP/1.1 200 OK\r\n{MINUTE}Transfer-Encoding: chunked\r\n\r\n8\r\n41111111\r\n8\r\n11111111\r\n1\r\n.\r\n0\r\n\r\n"
    );
    // Its reader sees more than four times what may be stored.
    let far = gzip(&format!("{}{body}", " ".repeat(6 << 20)));
    let encoded = "Content-Encoding: gzip\r\n";
    for (case, bytes) in [
        ("plain", with_body("", body.as_bytes())),
        ("in groups", with_body("", b"card 4111 1111 1111 1111.")),
        ("streamed", with_body("", long.as_bytes())),
        ("across chunks", chunked.into_bytes()),
        ("in a field", with_body(&format!("X-Card: {CARD}\r\n"), b"hello")),
        ("encoded", with_body(encoded, &gzip(&body))),
        ("encoded, far behind", with_body(encoded, &far)),
    ] {
        let origin = always(bytes);
        let proxy = Proxy::start(&yaml(&origin, "routes: [{ name: all, compression: off, cache: {} }]"));
        for _ in 0..2 {
            let answer = ask(&proxy, "/", &[("Accept-Encoding", "gzip")]);
            assert_eq!(answer.status, 200, "{case}");
            proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
        }
        assert_eq!(origin.count(), 2, "{case}");
        assert_eq!(proxy.metric("outboard_cache_objects"), 0.0, "{case}");
        if case != "encoded, far behind" {
            assert_eq!(proxy.metric(&series("stores", "card_number")), 1.0, "{case}");
        }
    }
}

#[test]
fn a_304_cannot_bring_a_card_number_in() {
    let origin = scripted(|head, _| match head.header("if-none-match") {
        Some(_) => Some(format!("HTTP/1.1 304 Not Modified\r\n{MINUTE}ETag: \"e\"\r\nX-Card: {CARD}\r\n\r\n")),
        None => Some(answer(200, "Cache-Control: max-age=60\r\nETag: \"e\"\r\n", "body")),
    });
    let proxy = start(&origin, "");
    ask(&proxy, "/", &[]);
    expire(&proxy);
    assert_eq!(ask(&proxy, "/", &[]).text(), "body");
    let again = ask(&proxy, "/", &[]);
    assert!(!status(&again).contains("hit") || again.header("x-card").is_none(), "{again:?}");
}

#[test]
fn times_and_long_numbers_are_no_card_numbers() {
    // The first one passes Luhn's check.
    for text in ["1700000000004", "{\"at\":1700000000004,\"n\":12345678901}", "41111111111111111111111"] {
        let origin = always(minute(text).into_bytes());
        let proxy = start(&origin, "");
        ask(&proxy, "/", &[]);
        ask(&proxy, "/", &[]);
        assert_eq!((origin.count(), results(&proxy, "hit")), (1, 1.0), "{text}");
    }
}

#[test]
fn who_might_ask_for_something_else_is_no_part_of_it() {
    let origin = numbered(MINUTE);
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/", &[]).text(), "0");
    let names = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"];
    for (number, name) in names.iter().enumerate() {
        assert_eq!(ask(&proxy, "/", &[(name, "DELETE")]).text(), (number + 1).to_string(), "{name} is not served");
        assert_eq!(ask(&proxy, "/", &[]).text(), "0", "{name} is not stored");
    }
    assert_eq!(results(&proxy, "bypass"), names.len() as f64);
}

#[test]
fn routes_told_apart_by_a_header_do_not_share() {
    let origin = numbered(MINUTE);
    let routes = "routes:\n  - { name: new, match: { path: /a, headers: { x-version: \"2\" } }, cache: {} }\n  \
                  - { name: all, cache: {} }\n";
    let proxy = Proxy::start(&yaml(&origin, routes));
    assert_eq!(ask(&proxy, "/a", &[]).text(), "0");
    assert_eq!(ask(&proxy, "/a", &[("X-Version", "2")]).text(), "1");
    assert_eq!(ask(&proxy, "/a", &[]).text(), "0");
    assert_eq!(ask(&proxy, "/a", &[("X-Version", "2")]).text(), "1");
    // A purge of the URL ends both.
    purge(&proxy, "{\"url\": \"http://test.example/a\"}");
    assert_eq!(ask(&proxy, "/a", &[]).text(), "2");
    assert_eq!(ask(&proxy, "/a", &[("X-Version", "2")]).text(), "3");
}

#[test]
fn what_a_trusted_proxy_says_of_the_address_is_part_of_the_key() {
    let origin = numbered(MINUTE);
    let listener = |trusted: &str| {
        format!(
            "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", trusted_proxies: [{trusted}] }}]\n\
             upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\nroutes: [{{ name: all, cache: {{}} }}]\n"
        )
    };
    let proxy = Proxy::start(&listener("127.0.0.0/8"));
    let said: [&[(&str, &str)]; 4] = [
        &[],
        &[("X-Forwarded-Host", "one.example")],
        &[("X-Forwarded-Host", "two.example")],
        &[("X-Forwarded-Proto", "https")],
    ];
    for _ in 0..2 {
        for (number, headers) in said.iter().enumerate() {
            assert_eq!(ask(&proxy, "/", headers).text(), number.to_string(), "{headers:?}");
        }
    }
    // Of others it is removed, and so makes no difference.
    let proxy = Proxy::start(&listener(""));
    let first = ask(&proxy, "/", &[]).text();
    for headers in said {
        assert_eq!(ask(&proxy, "/", headers).text(), first, "{headers:?}");
    }
}

#[test]
fn an_answer_that_is_validated_by_one_who_lacks_a_tag_is_not_kept_without_it() {
    let origin = scripted(|head, number| match head.header("if-none-match") {
        Some(_) => Some(format!("HTTP/1.1 304 Not Modified\r\n{MINUTE}ETag: \"e\"\r\n\r\n")),
        None => Some(answer(200, "Cache-Control: max-age=60\r\nETag: \"e\"\r\n", &number.to_string())),
    });
    let proxy = start(&origin, "tags: { add: [\"m:{header:x-merchant}\"] }");
    assert_eq!(ask(&proxy, "/", &[("X-Merchant", "1")]).text(), "0");
    expire(&proxy);
    assert_eq!(ask(&proxy, "/", &[]).text(), "0", "the application said that it holds");
    purge(&proxy, "{\"tag\": \"m:1\"}");
    let after = ask(&proxy, "/", &[("X-Merchant", "1")]);
    assert!(!status(&after).contains("hit"), "{after:?}");
}
