//! The families as an operator meets them.

use std::io::Write;
use std::process::{Command, Stdio};

use http::{Method, StatusCode};

use super::*;
use crate::refusal::Reason;

fn touch_everything(metrics: &Metrics) {
    let route = metrics.route("create-payment");
    let guard = route.begin();
    for method in [Method::GET, Method::POST, Method::from_bytes(b"BREW").unwrap()] {
        for status in [101, 200, 304, 404, 502] {
            route.finish((&method).into(), StatusCode::from_u16(status).unwrap(), 0.012);
        }
    }
    for reason in Reason::ALL {
        route.refused(reason);
        metrics.unrouted().refused(reason);
    }
    for outcome in RetryOutcome::ALL {
        route.retried(outcome);
    }
    route.observed(Reason::RateLimited);
    route.decision("per-merchant", "allowed").inc();
    route.fault("abort");
    route.set_policy_state("retry", 2);
    drop(guard);
    let breaker = metrics.breaker("upstream:app");
    breaker.set_state(2);
    breaker.changed("open");
    let queue = metrics.queue("app", &["critical", "low"]);
    queue.waited(0, 0.001);
    queue.show([1, 0], 64, 3);
    let upstream = metrics.upstream("app");
    for outcome in AttemptOutcome::ALL {
        upstream.attempt(outcome);
    }
    upstream.answered_after(0.003);
    upstream.sent(true);
    upstream.resolved(ResultLabel::Failed);
    upstream.set_tls_unverified(true);
    let listener = metrics.listener("inbound");
    drop(listener.accepted());
    for cause in [
        ConnectionRefused::Limit,
        ConnectionRefused::Tls,
        ConnectionRefused::ProxyProtocol,
        ConnectionRefused::Timeout,
        ConnectionRefused::Draining,
    ] {
        listener.refused(cause);
    }
    metrics.process.set_drain_state(DrainState::Ready);
    metrics.process.set_shutdown_duration(0.5);
    metrics.process.reloaded(ResultLabel::Ok, 1_700_000_000.0);
}

#[test]
fn promtool_has_nothing_to_say() {
    let metrics = Metrics::new().unwrap();
    touch_everything(&metrics);
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        eprintln!("skipped: promtool is not installed");
        return;
    };
    promtool.stdin.take().unwrap().write_all(metrics.render().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_process_itself_is_measured() {
    let metrics = Metrics::new().unwrap();
    metrics.process.loaded(1_700_000_000.0);
    let text = metrics.render();
    for family in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_start_time_seconds",
        "process_threads",
        "outboard_build_info{version=",
        "outboard_config_last_reload_timestamp_seconds 1700000000",
    ] {
        assert!(text.contains(&format!("\n{family}")), "{family} is missing in {text}");
    }
}

#[test]
fn a_reload_keeps_the_counters_of_a_name() {
    let metrics = Metrics::new().unwrap();
    metrics.route("a").finish(MethodLabel::Get, StatusCode::OK, 0.1);
    metrics.route("a").finish(MethodLabel::Get, StatusCode::NO_CONTENT, 0.1);
    let text = metrics.render();
    assert!(text.contains("outboard_requests_total{method=\"GET\",route=\"a\",status=\"2xx\"} 2\n"), "{text}");
    assert!(text.contains("outboard_request_duration_seconds_count{route=\"a\"} 2\n"), "{text}");
    assert!(!text.contains("POST"), "a series that was never counted does not show");
}

#[test]
fn an_unknown_method_and_a_strange_status_have_a_label() {
    let metrics = Metrics::new().unwrap();
    let brew = Method::from_bytes(b"BREW").unwrap();
    metrics.unrouted().finish((&brew).into(), StatusCode::from_u16(999).unwrap(), 0.1);
    assert!(metrics.render().contains("outboard_requests_total{method=\"other\",route=\"-\",status=\"5xx\"} 1\n"));
}

#[test]
fn guards_give_back_what_they_took() {
    let metrics = Metrics::new().unwrap();
    let (route, listener) = (metrics.route("a"), metrics.listener("in"));
    let (request, connection) = (route.begin(), listener.accepted());
    assert_eq!((route.in_flight(), listener.open()), (1, 1));
    drop((request, connection));
    assert_eq!((route.in_flight(), listener.open()), (0, 0));
}

#[test]
fn a_name_of_the_configuration_cannot_break_the_format() {
    let metrics = Metrics::new().unwrap();
    metrics.route("a\"b\\c\nd").finish(MethodLabel::Put, StatusCode::OK, 0.1);
    assert!(metrics.render().contains(r#"route="a\"b\\c\nd""#));
}

/// `cargo test --release -- --ignored cost` prints what a request pays.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn the_cost_of_finish() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route("a");
    let rounds = 2_000_000u32;
    let start = std::time::Instant::now();
    for i in 0..rounds {
        let _in_flight = route.begin();
        route.finish(MethodLabel::Post, StatusCode::CREATED, f64::from(std::hint::black_box(i % 64)) / 100.0);
    }
    println!("begin, finish and drop: {} ns", start.elapsed().as_nanos() / u128::from(rounds));
}
