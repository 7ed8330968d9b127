//! Queues, priorities and caps that make no sense.

use super::policies::{file, one, route, silent, warns};

/// A file with this queue, and these routes or other sections.
fn queue(inside: &str, more: &str) -> String {
    file(&format!("queue: {{ {inside} }}"), more)
}

#[test]
fn a_queue_that_could_not_work() {
    for (inside, expected) in [
        ("max_queued: 5", "max_concurrent: required, but missing"),
        ("max_concurrent: 0", "max_concurrent: expected a number from 1 up, or a section with `adaptive`, found 0"),
        (
            "max_concurrent: many",
            "max_concurrent: expected a number from 1 up, or a section with `adaptive`, found many",
        ),
        ("max_concurrent: 8, timeout: 0s", "timeout: expected more than zero, found 0s"),
        ("max_concurrent: 8, target_delay: 0s", "target_delay: expected more than zero, found 0s"),
        ("max_concurrent: 8, interval: 0s", "interval: expected more than zero, found 0s"),
        (
            "max_concurrent: 8, target_delay: 300ms, timeout: 300ms",
            "target_delay: 300ms is not less than queue.timeout 300ms (line 5): who waits that long is gone already",
        ),
        ("max_concurrent: 8, timeout: 40ms", "target_delay: 50ms is not less than queue.timeout 40ms (line 5)"),
        (
            "max_concurrent: 8, interval: 40ms",
            "interval: 40ms is less than queue.target_delay 50ms (its default): no wait of that length would be seen in it",
        ),
        ("max_concurrent: 8, mode: off", "mode: expected enforce or observe, found off"),
        ("max_concurrent: 8, fair_by: [ip]", "fair_by[0]: expected client_ip, header:NAME, query:NAME, cookie:NAME"),
        (
            "max_concurrent: 8, fair_by: [client_ip, \"jwt:sub\"]",
            "fair_by[1]: route default has no jwt: nobody verified what its tokens claim",
        ),
        (
            "max_concurrent: { adaptive: { initial: 4 } }",
            "max_concurrent.adaptive.initial: 4 is less than adaptive.min 8 (its default)",
        ),
        (
            "max_concurrent: { adaptive: { initial: 600 } }",
            "max_concurrent.adaptive.initial: 600 is more than adaptive.max 512 (its default)",
        ),
        (
            "max_concurrent: { adaptive: { min: 30, max: 20, initial: 20 } }",
            "max_concurrent.adaptive.min: 30 is more than adaptive.max 20 (line 5)",
        ),
        ("max_concurrent: { adaptive: { min: 0 } }", "max_concurrent.adaptive.min: expected more than zero, found 0"),
        (
            "max_concurrent: 8, timeout: 15s",
            "timeout: 15s is not less than timeouts.total 15s of route default (its default): a request would spend its \
             whole time waiting",
        ),
    ] {
        one(&queue(inside, ""), &format!("upstreams.app.queue.{expected}"));
    }
    for inside in [
        "max_concurrent: 1, max_queued: 0",
        "max_concurrent: { adaptive: {} }",
        "max_concurrent: { adaptive: { min: 32, initial: 32, max: 32 } }",
        "max_concurrent: 8, target_delay: 500ms, interval: 500ms",
        "max_concurrent: 8, fair_by: [client_ip, \"header:x-merchant-id\", constant]",
    ] {
        silent(&queue(inside, ""));
    }
}

#[test]
fn a_wait_must_fit_into_the_whole() {
    let with = |timeouts: &str| format!("routes:\n  - name: pay\n    timeouts: {{ {timeouts} }}");
    let short = "connect: 100ms, first_byte: 500ms, total: 1s";
    one(
        &queue("max_concurrent: 8", &with(short)),
        "5:12: upstreams.app.queue.timeout: 1s is not less than timeouts.total 1s of route pay (line 8)",
    );
    warns(
        &queue("max_concurrent: 8, timeout: 600ms", &with(short)),
        "upstreams.app.queue.timeout: 600ms plus connect 100ms plus first_byte 500ms is more than timeouts.total 1s of \
         route pay (line 8)",
    );
    silent(&queue("max_concurrent: 8, timeout: 400ms", &with(short)));
    // A route to another upstream waits elsewhere.
    let other = "  other: { endpoints: [\"127.0.0.1:3001\"] }\nroutes:\n  - { name: pay, upstream: other, timeouts: { \
                 connect: 100ms, first_byte: 500ms, total: 1s } }";
    silent(&queue("max_concurrent: 8", other));
}

#[test]
fn tenants_by_a_claim_need_a_token_on_every_route() {
    let jwt = "jwt: { jwks_file: /keys/jwks.json }";
    let routes = |second: &str| {
        format!(
            "routes:\n  - {{ name: a, match: {{ path: /a }}, {jwt} }}\n  - {{ name: b, match: {{ path: /b }}{second} }}"
        )
    };
    let fair = "max_concurrent: 8, fair_by: [\"jwt:merchant\"]";
    silent(&queue(fair, &routes(&format!(", {jwt}"))));
    one(&queue(fair, &routes("")), "upstreams.app.queue.fair_by[0]: route b has no jwt");
    warns(
        &queue(
            "max_concurrent: 8, fair_by: [\"path:merchant\"]",
            "routes: [{ name: a, match: { path: \"/{other}\" } }]",
        ),
        "fair_by[0]: the path of route a has no {merchant}: all its requests share one turn",
    );
}

#[test]
fn a_priority_that_could_not_work() {
    for (inside, expected) in [
        ("priority: urgent", "priority: expected critical, high, normal or low, found urgent"),
        ("priority: { max: high }", "priority.from: required, but missing"),
        (
            "priority: { from: client_ip }",
            "priority.from: expected header:NAME, query:NAME, cookie:NAME or path:PARAM, found client_ip",
        ),
        (
            "priority: { from: \"jwt:sub\" }",
            "priority.from: expected header:NAME, query:NAME, cookie:NAME or path:PARAM",
        ),
        ("priority: { from: \"path:p\" }", "priority.from: the path of route pay has no {p}"),
        ("max_concurrent: 0", "max_concurrent: expected more than zero, found 0"),
    ] {
        one(
            &queue("max_concurrent: 8", &format!("routes:\n  - name: pay\n    {inside}")),
            &format!("routes[0].{expected}"),
        );
    }
    let asked = |inside: &str| {
        let inside = format!("routes: [{{ name: pay, priority: {{ from: \"header:x-priority\"{inside} }} }}]");
        queue("max_concurrent: 8", &inside)
    };
    silent(&asked(""));
    silent(&asked(", default: low, max: high"));
    warns(
        &asked(", default: high"),
        "routes[0].priority.default: high is above priority.max normal (its default): strangers get more where they ask \
         for nothing",
    );
    // Where nobody waits nobody goes first.
    warns(&route("priority: critical"), "routes[0].priority: does nothing: the upstream has no queue");
    silent(&route("priority: critical\n    max_concurrent: 4"));
    silent(&file("", "defaults: { priority: low }"));
}

#[test]
fn numbers_that_are_never_reached() {
    let routes = |cap: u32| format!("routes:\n  - name: pay\n    max_concurrent: {cap}");
    warns(
        &queue("max_concurrent: 8", &routes(9)),
        "8:21: routes[0].max_concurrent: 9 is more than upstreams.app.queue.max_concurrent 8 (line 5): it is never reached",
    );
    silent(&queue("max_concurrent: 8", &routes(8)));
    warns(&queue("max_concurrent: { adaptive: { max: 40 } }", &routes(41)), "queue.max_concurrent 40 (line 5)");
    silent(&route("max_concurrent: 1000"));

    let breaker =
        |queue: &str| format!("queue: {{ max_concurrent: {queue} }}\n    circuit_breaker: {{ min_requests: 20 }}");
    warns(
        &file(&breaker("19"), ""),
        "6:38: upstreams.app.circuit_breaker.min_requests: 20 is more than queue.max_concurrent 19 (line 5): when the \
         application hangs, so many are not under way at once, and the breaker opens late",
    );
    silent(&file(&breaker("20"), ""));
    warns(
        &route("max_concurrent: 5\n    circuit_breaker: {}"),
        "routes[0].circuit_breaker.min_requests: 20 is more than max_concurrent 5 (line 8)",
    );

    warns(
        &file("queue: { max_concurrent: 65 }\n    pool: { max_connections: 64 }", ""),
        "upstreams.app.queue.max_concurrent: 65 is more than the 64 that pool.max_connections (line 6) allows",
    );
    silent(&file("queue: { max_concurrent: 64 }\n    pool: { max_connections: 64 }", ""));
}
