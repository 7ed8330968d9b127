//! What is refused, what a client is told, and how an operator changes it.

use super::*;
use crate::common::eventually;

#[test]
fn the_answer_of_a_refusal() {
    let app = Origin::echo();
    let (proxy, mut client) = before(&limits(
        &app,
        &[
            "name: wide, key: [constant], limit: 100/1m, mode: enforce",
            "name: tried, key: [constant], limit: 5/1s, mode: observe",
            "name: narrow, key: [header:x-m], limit: 1/250ms, algorithm: token_bucket, burst: 1, \
             overrides: { slow: 1/30m }",
        ],
    ));
    assert_eq!(get(&mut client, "/", &[("x-m", "slow")]).status, 200);
    let answer = get(&mut client, "/", &[("x-m", "slow")]);
    assert_eq!((answer.status, answer.reason()), (429, "rate_limited"));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"wide\";q=100;w=60, \"narrow\";q=1;w=1800"));
    assert_eq!(answer.header("ratelimit"), Some("\"narrow\";r=0;t=1800"));
    assert_eq!(answer.header("retry-after"), Some("1800"));
    let problem = answer.json();
    assert_eq!((problem["type"].as_str(), problem["status"].as_u64()), (Some("urn:outboard:rate-limited"), Some(429)));
    assert_eq!(
        (problem["detail"].as_str(), problem["title"].as_str()),
        (Some("the limit narrow"), Some("too many requests"))
    );
    // Part of a second is a second to wait, and a window that is no whole second is not told.
    assert_eq!(get(&mut client, "/", &[("x-m", "a")]).status, 200);
    let answer = get(&mut client, "/", &[("x-m", "a")]);
    assert_eq!(answer.header("ratelimit-policy"), Some("\"wide\";q=100;w=60, \"narrow\";q=1"));
    assert_eq!((answer.header("ratelimit"), answer.header("retry-after")), (Some("\"narrow\";r=0;t=1"), Some("1")));
    // What is let through is the application's answer, and says nothing of limits.
    let answer = get(&mut client, "/", &[("x-m", "b")]);
    assert_eq!((answer.status, answer.header("ratelimit-policy"), answer.header("ratelimit")), (200, None, None));
    let refused = || proxy.access_lines().into_iter().find(|line| line["status"] == 429);
    eventually("an access line of a refusal", || refused().is_some());
    let line = refused().unwrap();
    assert_eq!((line["reason"].as_str(), line["upstream_sent"].as_str()), (Some("rate_limited"), Some("none")));
}

#[test]
fn refused_requests_with_a_body_keep_their_connection() {
    let app = Origin::echo();
    let (proxy, mut client) = before(&limits(&app, &["name: a, key: [constant], limit: 1/1h"]));
    assert_eq!(client.post("/", b"first").status, 200);
    for size in [1, 1000, 60_000] {
        let answer = client.post("/", &vec![b'x'; size]);
        assert_eq!((answer.status, answer.header("connection")), (429, None));
    }
    assert_eq!(proxy.metric("outboard_client_connections_total{listener=\"inbound\"}"), 1.0);
    assert_eq!(app.count(), 1);
}

#[test]
fn all_limits_must_allow_and_none_counts_what_another_refuses() {
    let app = Origin::echo();
    let (proxy, mut client) = before(&limits(
        &app,
        &[
            "name: all, key: [constant], limit: 10/1h",
            "name: bucket, key: [constant], limit: 10/1h, algorithm: token_bucket",
            "name: many, key: [constant], limit: 100000/24h",
            "name: each, key: [header:x-m], limit: 2/1h",
        ],
    ));
    // One merchant asks for far more than the limits of all, and takes two of them.
    assert_eq!(let_through(&mut client, 50, "/", &[("x-m", "greedy")]), 2);
    for merchant in ["a", "b", "c", "d"] {
        assert_eq!(let_through(&mut client, 3, "/", &[("x-m", merchant)]), 2, "{merchant}");
    }
    let refused = get(&mut client, "/", &[("x-m", "e")]);
    assert_eq!(refused.json()["detail"], "the limit all");
    for limit in ["all", "bucket", "many", "each"] {
        assert_eq!(decided(&proxy, limit, "allowed"), 10.0, "{limit}: what is let through is counted everywhere");
    }
    // The last one of d and that of e; what comes behind a limit that refuses is not asked.
    assert_eq!((decided(&proxy, "all", "refused"), decided(&proxy, "bucket", "refused")), (2.0, 0.0));
    assert_eq!((decided(&proxy, "each", "refused"), app.count()), (51.0, 10));
}

#[test]
fn a_limit_that_observes_refuses_nothing_and_says_what_it_would() {
    let app = Origin::echo();
    let (proxy, mut client) = before(&limits(
        &app,
        &["name: tried, key: [constant], limit: 2/1h, mode: observe", "name: real, key: [constant], limit: 5/1h"],
    ));
    assert_eq!(let_through(&mut client, 9, "/", &[]), 5);
    let count = |limit: &str| ["allowed", "observed", "refused"].map(|decision| decided(&proxy, limit, decision));
    assert_eq!(count("tried"), [2.0, 7.0, 0.0]);
    assert_eq!(count("real"), [5.0, 0.0, 4.0]);
    // Those that the other limit refused were not let through by mere observing.
    assert_eq!(proxy.metric("outboard_observed_refusals_total{reason=\"rate_limited\",route=\"r\"}"), 3.0);
}

#[test]
fn a_reload_keeps_what_was_counted() {
    let app = Origin::echo();
    let with = |limit: &str, more: &str| {
        limits(
            &app,
            &[&format!("name: m, key: [header:x-m], limit: {limit}"), "name: b, key: [constant], limit: 50/1h"],
        ) + more
    };
    let (proxy, mut client) = before(&with("4/1h", ""));
    assert_eq!(let_through(&mut client, 6, "/", &[("x-m", "a")]), 4);
    let reload = |text: &str| {
        proxy.write_config(text);
        assert_eq!(proxy.admin_post("/reload", "").status, 200);
    };
    reload(&with("4/1h", "defaults: { timeouts: { idle: 9s } }\n"));
    assert_eq!(let_through(&mut client, 6, "/", &[("x-m", "a")]), 0, "another setting of the route changed");
    reload(&with("6/1h", ""));
    assert_eq!(let_through(&mut client, 6, "/", &[("x-m", "a")]), 2, "two more are allowed than were");
    reload(&with("1/1h", ""));
    assert_eq!(let_through(&mut client, 3, "/", &[("x-m", "a")]), 0);
    assert_eq!(let_through(&mut client, 3, "/", &[("x-m", "b")]), 1);
    reload(&limits(&app, &["name: b, key: [constant], limit: 50/1h"]));
    assert_eq!(let_through(&mut client, 60, "/", &[]), 50 - 7, "the other limit went on");
}

#[test]
fn an_operator_switches_the_limits_of_a_route() {
    let app = Origin::echo();
    let (proxy, mut client) = before(&limits(
        &app,
        &["name: a, key: [constant], limit: 1/1h", "name: b, key: [constant], limit: 3/1h, mode: observe"],
    ));
    let state = || proxy.metric("outboard_policy_state{policy=\"rate_limits\",route=\"r\"}");
    let switch = |word: &str, json: &str| {
        let answer = proxy.admin_post(&format!("/policies/r/rate_limits/{word}"), json);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    assert_eq!((let_through(&mut client, 2, "/", &[]), state()), (1, 2.0));
    switch("off", "");
    assert_eq!((let_through(&mut client, 4, "/", &[]), state()), (4, 0.0));
    assert_eq!(decided(&proxy, "b", "allowed"), 1.0, "nothing is asked");
    switch("observe", "");
    assert_eq!((let_through(&mut client, 4, "/", &[]), state()), (4, 1.0));
    assert_eq!(["allowed", "observed"].map(|d| decided(&proxy, "b", d)), [3.0, 2.0]);
    assert_eq!(["allowed", "observed"].map(|d| decided(&proxy, "a", d)), [1.0, 4.0]);
    switch("reset", "");
    assert_eq!((let_through(&mut client, 2, "/", &[]), state()), (0, 2.0));
    switch("off", "{\"for\": \"400ms\"}");
    assert_eq!(let_through(&mut client, 1, "/", &[]), 1);
    eventually("the switch ends by itself", || get(&mut client, "/", &[]).status == 429);
    assert_eq!(state(), 2.0);
}

#[test]
fn on_enforces_what_only_observes() {
    let app = Origin::echo();
    let (proxy, mut client) = before(&limits(&app, &["name: b, key: [constant], limit: 1/1h, mode: observe"]));
    assert_eq!(let_through(&mut client, 3, "/", &[]), 3);
    assert_eq!(proxy.metric("outboard_policy_state{policy=\"rate_limits\",route=\"r\"}"), 1.0);
    assert_eq!(proxy.admin_post("/policies/r/rate_limits/on", "").status, 200);
    let answer = get(&mut client, "/", &[]);
    assert_eq!((answer.status, answer.header("ratelimit-policy")), (429, Some("\"b\";q=1;w=3600")));
}

#[test]
fn a_plain_proxy_limits_nothing() {
    let app = Origin::echo();
    let text = limits(&app, &["name: a, key: [constant], limit: 1/1h"]);
    let proxy = Proxy::with_env(&text, &[("OUTBOARD_BYPASS", "1")]);
    let mut client = Client::connect(proxy.addr("inbound"));
    assert_eq!(let_through(&mut client, 5, "/", &[]), 5);
}
