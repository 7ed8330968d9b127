//! A key lets an unsafe request be sent again only where the application gets that key.

use super::*;

const DEDUPLICATES: &str = "retry: { non_idempotent: upstream_deduplicates }";
const HONOURS: &str = "honours_idempotency_keys: true";

/// How often the application sees a POST with these fields whose first connection breaks.
fn times(upstream: &str, route: &str, fields: &[(&str, &str)]) -> usize {
    let origin = scripted(|conn, _, number| number > 0 && conn.ok("charged"));
    let proxy = before(&[origin.to_string()], upstream, route);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/charge", fields, b"body");
    let answer = client.read_response();
    let expected = if origin.count() == 2 { (200, "") } else { (502, "upstream_reset") };
    assert_eq!((answer.status, answer.reason()), expected);
    origin.count()
}

#[test]
fn a_key_that_the_application_gets_and_honours_allows_a_second_try() {
    let key = ("Idempotency-Key", "k1");
    assert_eq!(times(HONOURS, DEDUPLICATES, &[key]), 2);
    assert_eq!(times(HONOURS, DEDUPLICATES, &[]), 1, "no key");
    assert_eq!(times(HONOURS, "retry: {}", &[key]), 1, "not asked for");
    assert_eq!(times(HONOURS, "retry: { methods: idempotent }", &[key]), 1);
}

#[test]
fn a_key_that_ends_here_allows_nothing() {
    let key = ("Idempotency-Key", "k1");
    assert_eq!(times(HONOURS, DEDUPLICATES, &[key, ("Connection", "Idempotency-Key")]), 1, "hop-by-hop");
    for changes in [
        "remove: [idempotency-key]",
        "set: { idempotency-key: ours }",
        "set: { Idempotency-Key: ours }",
        "add: { idempotency-key: ours }",
    ] {
        let route = format!("{DEDUPLICATES}, headers: {{ request: {{ {changes} }} }}");
        assert_eq!(times(HONOURS, &route, &[key]), 1, "{changes}");
    }
}

#[test]
fn a_key_that_is_none_allows_nothing() {
    assert_eq!(times(HONOURS, DEDUPLICATES, &[("Idempotency-Key", "")]), 1, "empty");
    assert_eq!(times(HONOURS, DEDUPLICATES, &[("Idempotency-Key", " \t ")]), 1, "blank");
    let two = [("Idempotency-Key", "k1"), ("Idempotency-Key", "k2")];
    assert_eq!(times(HONOURS, DEDUPLICATES, &two), 1, "which of them counts is not known");
}
