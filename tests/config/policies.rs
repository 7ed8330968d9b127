//! Breakers, retries and faults that make no sense: each contradiction is told at one place and names the other.

use super::{errors, load, loaded};

/// A file with this inside its upstream, and these routes or other sections.
pub(super) fn file(upstream: &str, more: &str) -> String {
    format!(
        "listeners: [{{ name: in, address: \"127.0.0.1:80\" }}]\nupstreams:\n  app:\n    \
         endpoints: [\"127.0.0.1:3000\"]\n    {upstream}\n{more}\n"
    )
}

/// A file with this inside its only route.
pub(super) fn route(inside: &str) -> String {
    file("", &format!("routes:\n  - name: pay\n    {inside}"))
}

#[track_caller]
pub(super) fn one(text: &str, expected: &str) {
    let found = errors(text);
    assert!(found.len() == 1 && found[0].contains(expected), "{text}\n{found:#?}\nexpected {expected}");
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text).warnings.iter().map(|w| w.to_string().trim_start_matches("f.yaml:").to_owned()).collect()
}

#[track_caller]
pub(super) fn warns(text: &str, expected: &str) {
    let found = warnings(text);
    assert!(found.len() == 1 && found[0].contains(expected), "{text}\n{found:#?}\nexpected {expected}");
}

#[track_caller]
pub(super) fn silent(text: &str) {
    assert_eq!(warnings(text), Vec::<String>::new(), "{text}");
}

/// What is wrong with a breaker, wherever it stands, and the key that is told.
const BREAKERS: &[(&str, &str)] = &[
    ("window: 0s", "window: expected a time such as 10s or { calls: 100 }, found 0s"),
    ("window: { calls: 0 }", "window.calls: expected a number of calls between 1 and 100000, found 0"),
    ("window: { calls: 200000 }", "window.calls: expected a number of calls between 1 and 100000, found 200000"),
    (
        "window: { calls: 19 }",
        "window: { calls: 19 } holds fewer than min_requests 20 (its default): no share of it would ever be judged",
    ),
    ("window: { calls: 9 }, min_requests: 10", "window: { calls: 9 } holds fewer than min_requests 10 (line"),
    ("min_requests: 0", "min_requests: expected more than zero, found 0"),
    ("failure_rate: 0%", "failure_rate: expected more than zero, found 0%"),
    ("failure_rate: 101%", "failure_rate: expected a ratio between 0% and 100%, found 101%"),
    ("slow_call: { over: 0s }", "slow_call.over: expected more than zero, found 0s"),
    ("slow_call: { rate: 0% }", "slow_call.rate: expected more than zero, found 0%"),
    ("open_for: 0s", "open_for: expected more than zero, found 0s"),
    ("half_open_probes: 0", "half_open_probes: expected a number from 1 to 1000, found 0"),
    ("half_open_probes: 1001", "half_open_probes: expected a number from 1 to 1000, found 1001"),
    ("slow_call: off, failures: []", "failures: empty, and slow_call is off (line"),
    (
        "failures: [connect, 404]",
        "failures[1]: expected connect, timeout, reset or a status between 500 and 599, found 404",
    ),
    ("mode: force", "mode: expected enforce, observe or force_open, found force"),
];

#[test]
fn a_breaker_that_could_not_work() {
    for (inside, expected) in BREAKERS {
        let section = format!("circuit_breaker: {{ {inside} }}");
        one(&file(&section, ""), &format!("upstreams.app.circuit_breaker.{expected}"));
        one(&route(&section), &format!("routes[0].circuit_breaker.{expected}"));
        one(&file("", &format!("defaults: {{ {section} }}")), "defaults.circuit_breaker.");
    }
    for inside in [
        "window: { calls: 20 }",
        "window: { calls: 1 }, min_requests: 1",
        "failures: []",
        "slow_call: off",
        "min_requests: 1, half_open_probes: 1000, failure_rate: 100%",
    ] {
        silent(&file(&format!("circuit_breaker: {{ {inside} }}"), ""));
    }
}

#[test]
fn a_window_of_calls_names_both_places() {
    let text = file("circuit_breaker:\n      min_requests: 50\n      window: { calls: 40 }", "");
    one(
        &text,
        "7:15: upstreams.app.circuit_breaker.window: { calls: 40 } holds fewer than min_requests 50 (line 6): no share \
         of it would ever be judged",
    );
}

#[test]
fn an_attempt_that_ends_before_it_is_slow() {
    let breaker = "circuit_breaker: { slow_call: { over: 3s } }";
    let with = |timeouts: &str| format!("routes:\n  - name: pay\n    timeouts: {{ {timeouts} }}");
    warns(
        &file(breaker, &with("first_byte: 3s")),
        "5:43: upstreams.app.circuit_breaker.slow_call.over: 3s is not less than timeouts.first_byte 3s of route pay \
         (line 8): its attempts end before they count as slow",
    );
    warns(
        &file(breaker, &with("connect: 1s, first_byte: 1s, total: 2s")),
        "3s is not less than timeouts.first_byte 1s of route pay",
    );
    silent(&file(breaker, &with("first_byte: 4s, total: 5s")));
    // The default, too, is more than what some routes give.
    warns(
        &route("circuit_breaker: {}\n    timeouts: { first_byte: 1s }"),
        "routes[0].circuit_breaker.slow_call.over: 2s is not less than timeouts.first_byte 1s of route pay",
    );
    silent(&route("circuit_breaker: { slow_call: off }\n    timeouts: { first_byte: 1s }"));
    // A route to another upstream does not matter, and each breaker says it once.
    let two = "  other: { endpoints: [\"127.0.0.1:3001\"] }\nroutes:\n  - { name: a, upstream: other, match: { path: \
               /a }, timeouts: { first_byte: 1s } }\n  - { name: b, upstream: app, match: { path: /b } }";
    silent(&file(breaker, two));
    assert_eq!(warnings(&file(breaker, &two.replace("other, match", "app, match"))).len(), 1);
    assert_eq!(warnings(&file("circuit_breaker: { mode: force_open }", "")).len(), 1, "it refuses everything");
}

#[test]
fn a_retry_that_could_not_work() {
    for (inside, expected) in [
        ("attempts: 0", "attempts: expected a number from 1 to 10, found 0"),
        ("attempts: 11", "attempts: expected a number from 1 to 10, found 11"),
        ("retry_on: []", "retry_on: expected at least one failure; retry: off, if nothing is to be tried again"),
        (
            "retry_on: [404]",
            "retry_on[0]: expected connect, reset, timeout, 429 or a status between 500 and 599, found 404",
        ),
        ("methods: all", "methods: expected safe or idempotent, found all"),
        (
            "non_idempotent: with_idempotency_key",
            "non_idempotent: expected never, unsent or upstream_deduplicates, found with_idempotency_key",
        ),
        ("backoff: { base: 2s }", "backoff.base: 2s is more than backoff.max 1s (its default)"),
        ("backoff: { max: 10ms }", "backoff.base: 25ms is more than backoff.max 10ms (line 8)"),
        ("per_attempt: 0s", "per_attempt: expected more than zero, found 0s"),
        (
            "per_attempt: 15s",
            "per_attempt: 15s is not less than timeouts.total 15s (its default): no time is left for another attempt",
        ),
        (
            "non_idempotent: upstream_deduplicates",
            "non_idempotent: upstream_deduplicates needs upstreams.app.honours_idempotency_keys: true (its default): \
             without it a request would be done twice",
        ),
    ] {
        one(&route(&format!("retry: {{ {inside} }}")), &format!("routes[0].retry.{expected}"));
    }
    for inside in ["attempts: 1", "attempts: 10", "backoff: { base: 0s }", "backoff: { base: 1s, max: 1s }"] {
        silent(&route(&format!("retry: {{ {inside} }}")));
    }
    silent(&route("retry: off"));
}

#[test]
fn only_an_upstream_that_deduplicates_is_sent_a_charge_twice() {
    let retry = "defaults: { retry: { non_idempotent: upstream_deduplicates } }\nroutes:\n  - { name: a, match: { path: \
                 /a } }\n  - { name: b, match: { path: /b } }";
    one(
        &file("honours_idempotency_keys: false", retry),
        "6:38: defaults.retry.non_idempotent: upstream_deduplicates needs upstreams.app.honours_idempotency_keys: true \
         (line 5)",
    );
    silent(&file("honours_idempotency_keys: true", retry));
    // Of two upstreams the one that the route leads to.
    let two = |of_app: bool, of_other: bool| {
        let more = format!(
            "  other: {{ endpoints: [\"127.0.0.1:3001\"], honours_idempotency_keys: {of_other} }}\nroutes:\n  - {{ name: \
             a, upstream: other, retry: {{ non_idempotent: upstream_deduplicates }} }}"
        );
        load(&file(&format!("honours_idempotency_keys: {of_app}"), &more)).is_ok()
    };
    assert!(two(false, true) && !two(true, false));
    // The file is wrong elsewhere: nothing is said of what could not be read.
    one(&file("honours_idempotency_keys: sure", retry), "honours_idempotency_keys: expected true or false");
}

#[test]
fn a_retry_that_does_less_than_it_says() {
    let bound = "retry: { per_attempt: 2s }";
    warns(
        &route(bound),
        "8:27: routes[0].retry.per_attempt: 2s is less than timeouts.first_byte 10s (its default), and route pay takes \
         methods that are not safe: those are never bounded by it once they were sent",
    );
    warns(&route(&format!("match: {{ methods: [GET, POST] }}\n    {bound}")), "route pay takes methods");
    silent(&route(&format!("match: {{ methods: [GET, OPTIONS] }}\n    {bound}")));
    silent(&route(&format!("timeouts: {{ first_byte: 2s }}\n    {bound}")));
    warns(
        &route("retry: { per_attempt: 2s, attempts: 1 }"),
        "per_attempt: bounds nothing: the last attempt has no bound",
    );

    warns(
        &route("retry: { max_body: 32KiB }\n    max_request_body: 16KiB"),
        "retry.max_body: 32KiB is more than max_request_body 16KiB (line 9): no body is so long",
    );
    warns(
        &file("", "limits: { max_request_body: 1KiB }\ndefaults: { retry: { max_body: 2KiB } }"),
        "defaults.retry.max_body: 2KiB is more than limits.max_request_body 1KiB (line 6)",
    );
    warns(
        &route("retry: { max_body: 1MiB }"),
        "max_body: 1MiB is more than 64KiB: longer bodies are kept only with non_idempotent: upstream_deduplicates",
    );
    let dedup = "honours_idempotency_keys: true";
    let routes = "routes: [{ name: pay, retry: { max_body: 1MiB, non_idempotent: upstream_deduplicates } }]";
    silent(&file(dedup, routes));
    // What was not said contradicts nothing, nor what only one route lowers.
    silent(&route("max_request_body: 16KiB"));
    silent(&file("", "defaults: { retry: { max_body: 32KiB } }\nroutes: [{ name: a, max_request_body: 1KiB }]"));

    warns(&file("retry_budget: { ratio: 0%, min_per_second: 0 }", ""), "upstreams.app.retry_budget: allows no retry");
    silent(&file("retry_budget: { ratio: 0% }", ""));
    one(&file("retry_budget: { ratio: 120% }", ""), "retry_budget.ratio: expected a ratio between 0% and 100%");
    one(&file("retry_budget: off", ""), "retry_budget: expected a section, found off");
}

#[test]
fn a_fault_that_is_none() {
    for (inside, expected) in [
        ("{}", "fault: expected abort, delay or both"),
        ("{ when: { header: x-fault } }", "fault: expected abort, delay or both"),
        ("{ abort: { status: 200, ratio: 1% } }", "abort.status: expected a status between 400 and 599, found 200"),
        ("{ abort: { ratio: 101% } }", "abort.ratio: expected a ratio between 0% and 100%, found 101%"),
        ("{ abort: { status: 503 } }", "abort.ratio: required, but missing"),
        ("{ delay: { ratio: 1% } }", "delay.for: required, but missing"),
        ("{ delay: { for: 0s, ratio: 1% } }", "delay.for: expected more than zero, found 0s"),
        (
            "{ abort: { ratio: 1% }, when: { header: \"a b\" } }",
            "when.header: expected the name of a header, found \"a b\"",
        ),
    ] {
        one(&route(&format!("fault: {inside}")), expected);
    }
    warns(
        &route("fault: { delay: { for: 20s, ratio: 1% } }"),
        "8:28: routes[0].fault.delay.for: 20s is not less than timeouts.total 15s (its default): whoever is held back is \
         answered with 504",
    );
    silent(&route("fault: { delay: { for: 14s, ratio: 100% }, abort: { status: 429, ratio: 0% } }"));
    silent(&route("fault: off"));
}

#[test]
fn what_is_on_by_default_is_written_as_off_where_it_is_off() {
    let first = loaded(&route("retry: off")).config;
    assert!(first.routes[0].retry.is_none() && first.defaults.retry.is_some());
    let text = serde_yaml::to_string(&first).unwrap();
    assert!(load(&text).unwrap().routes[0].retry.is_none(), "{text}");
}
