//! What a route does with a request, a row for each policy in the order in which the request meets them.

use std::fmt::{Display, Write};

use serde::Serialize;

use super::answers::{self, Asked};
use crate::config::{Config, Route, Upstream};
use crate::policy::breaker::{self, Window};
use crate::policy::fault;
use crate::policy::idempotency::{self, UnknownOutcome};
use crate::policy::mode::Mode;
use crate::policy::priority::Setting;
use crate::policy::queue::MaxConcurrent;
use crate::policy::rate_limit::{self, Algorithm, MissingKey};
use crate::policy::retry::{self, Methods, NonIdempotent};

/// A policy's key, and what it does in words.
type Row = (&'static str, String);

/// What a route does, and what its upstream does, which has this name; of a request that is asked about, what it means
/// for that one.
pub(super) fn rows(
    config: &Config,
    route: &Route,
    name: &str,
    upstream: &Upstream,
    asked: Option<&Asked<'_>>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(route.fault.as_ref().map(|settings| ("fault", faults(settings))));
    rows.extend(route.rate_limits.iter().map(|settings| ("rate_limits", limits(settings))));
    rows.extend(route.idempotency.as_ref().map(|settings| ("idempotency", keeps_keys(config, settings))));
    rows.extend(route.cache.as_ref().map(|_| ("cache", answers::stores(config, route, asked))));
    let own = route.circuit_breaker.as_ref().map(|b| format!("of this route: {}", breaks(b)));
    let shared = upstream.circuit_breaker.as_ref().map(|b| format!("of upstream {name}: {}", breaks(b)));
    rows.extend(own.into_iter().chain(shared).map(|text| ("circuit_breaker", text)));
    rows.extend(queues(route, upstream));
    rows.push(("load_balance", balances(upstream)));
    rows.push(("retry", route.retry.as_ref().map_or_else(|| "off".to_owned(), |r| retries(r, upstream))));
    rows.extend(route.invalidates.as_ref().map(|settings| ("invalidates", answers::ends(settings))));
    rows.push(("compression", answers::encodes(route, asked)));
    rows
}

/// The word for a value, as the configuration spells it.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "",
        Mode::Observe => "; only observes",
    }
}

fn faults(settings: &fault::Settings) -> String {
    let delay = settings.delay.map(|d| format!("held back {} for {}", d.ratio, d.time));
    let abort = settings.abort.map(|a| format!("answered {} with {}", a.ratio, a.status));
    let both: Vec<_> = delay.into_iter().chain(abort).collect();
    let when = settings.when.as_ref().map(|w| format!(", of requests with {}", w.header)).unwrap_or_default();
    both.join("; ") + &when
}

fn limits(settings: &rate_limit::Settings) -> String {
    let mut text =
        format!("{}: {} by {}, {}", settings.name, settings.limit, settings.key.join(" + "), word(&settings.algorithm));
    if settings.algorithm == Algorithm::TokenBucket {
        let _ = write!(text, " of {}", settings.burst.unwrap_or(settings.limit.count()));
    }
    match settings.overrides.len() {
        0 => {}
        1 => text.push_str(", another limit for 1 key"),
        n => {
            let _ = write!(text, ", other limits for {n} keys");
        }
    }
    text.push_str(match settings.missing_key {
        MissingKey::ClientIp => "",
        MissingKey::Skip => "; not without its key",
        MissingKey::Refuse => "; refused without its key",
    });
    text + mode(settings.mode)
}

fn keeps_keys(config: &Config, settings: &idempotency::Settings) -> String {
    let mut text = format!("keys in {}", settings.header);
    if settings.required {
        text.push_str(", required");
    }
    let _ = write!(text, ", of {}; known for {} in ", settings.owner.join(" + "), settings.ttl);
    match (settings.store, &config.stores.data_dir) {
        (idempotency::Store::Redis, _) => text.push_str("redis"),
        (idempotency::Store::Local, Some(folder)) => drop(write!(text, "{}", folder.display())),
        (idempotency::Store::Local, None) => text.push_str("memory"),
    }
    text + match &settings.unknown_outcome {
        UnknownOutcome::Refuse => "; refused where the outcome is unknown",
        UnknownOutcome::Ask(_) => "; the application is asked where the outcome is unknown",
        UnknownOutcome::Forward => "; sent again where the outcome is unknown",
    }
}

fn breaks(settings: &breaker::Settings) -> String {
    if settings.mode == breaker::Mode::ForceOpen {
        return "forced open, refuses everything".to_owned();
    }
    let mut text = format!("opens at {} failed", settings.failure_rate);
    if let Some(slow) = &settings.slow_call {
        let _ = write!(text, " or {} slower than {}", slow.rate, slow.over);
    }
    let _ = match settings.window {
        Window::Time(time) => write!(text, ", of at least {} calls in {time}", settings.min_requests),
        Window::Calls(calls) => write!(text, ", of at least {} of the last {calls} calls", settings.min_requests),
    };
    let _ = write!(text, "; tries again after {}", settings.open_for);
    if settings.mode == breaker::Mode::Observe {
        text.push_str(mode(Mode::Observe));
    }
    text
}

/// The queue with what the route says to it; a cap alone is one as well.
fn queues(route: &Route, upstream: &Upstream) -> Option<Row> {
    let priority = match &route.priority {
        Setting::Is(priority) => format!("priority {}", priority.as_str()),
        Setting::Asked(asked) => format!(
            "priority from {}, else {}, strangers at most {}",
            asked.from,
            asked.default.as_str(),
            asked.max.as_str()
        ),
    };
    let cap = route.max_concurrent.map(|cap| format!("at most {cap} of this route at once"));
    let Some(settings) = &upstream.queue else { return cap.map(|cap| ("queue", format!("{cap}; {priority}"))) };
    let mut text = match settings.max_concurrent {
        MaxConcurrent::Fixed(limit) => format!("{limit} at once"),
        MaxConcurrent::Adaptive(a) => format!("{} to {} at once as the application answers best", a.min, a.max),
    };
    let _ = write!(text, ", {} wait for at most {}; {priority}", settings.max_queued, settings.timeout);
    if !settings.fair_by.is_empty() {
        let _ = write!(text, ", fair by {}", settings.fair_by.join(" + "));
    }
    if let Some(cap) = cap {
        let _ = write!(text, "; {cap}");
    }
    Some(("queue", text + mode(settings.mode)))
}

fn balances(upstream: &Upstream) -> String {
    let mut text = word(&upstream.load_balance);
    if !upstream.hash_on.is_empty() {
        let _ = write!(text, " on {}", upstream.hash_on.join(" + "));
    }
    let _ = match upstream.endpoints.as_slice() {
        [only] => write!(text, ", {only}"),
        several => write!(text, ", {} endpoints", several.len()),
    };
    if let Some(health) = &upstream.health_check {
        let _ = write!(text, "; GET {} every {}, out after {}", health.path, health.interval, health.unhealthy_after);
    }
    if let Some(outlier) = &upstream.outlier_detection {
        let _ = write!(text, "; {} failures in a row: out for {}", outlier.consecutive_failures, outlier.eject_for);
    }
    text
}

fn retries(settings: &retry::Settings, upstream: &Upstream) -> String {
    let causes: Vec<_> = settings.retry_on.iter().map(|cause| cause.get()).collect();
    let plural = if settings.attempts == 1 { "" } else { "s" };
    let mut text = format!("{} attempt{plural} on {}", settings.attempts, list(&causes));
    if let Some(bound) = settings.per_attempt {
        let _ = write!(text, ", each {bound} but the last");
    }
    let unsafe_ones = match settings.methods {
        Methods::Safe => "unsafe requests",
        Methods::Idempotent => "unsafe requests other than PUT and DELETE",
    };
    let when = match settings.non_idempotent {
        NonIdempotent::Never => "never",
        NonIdempotent::Unsent => "only if unsent",
        NonIdempotent::UpstreamDeduplicates => "only if unsent or with an idempotency key",
    };
    let budget = upstream.retry_budget;
    let _ = write!(
        text,
        "; {unsafe_ones} {when}; backoff {} to {}; budget {} and {} a second",
        settings.backoff.base, settings.backoff.max, budget.ratio, budget.min_per_second
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    /// The rows of the only route of a file with this inside its upstream and its route.
    fn shown(upstream: &str, route: &str) -> Vec<String> {
        let text = format!(
            "listeners: [{{ name: in, address: \"127.0.0.1:80\" }}]\nupstreams:\n  app:\n    endpoints: \
             [\"127.0.0.1:3000\"]\n    {upstream}\nroutes:\n  - name: pay\n    {route}\n"
        );
        let config = load(&text, "f", &|_| None).unwrap_or_else(|e| panic!("{e}"));
        let rows = rows(&config, &config.routes[0], "app", &config.upstreams["app"], None);
        rows.iter().map(|(key, text)| format!("{key}: {text}")).collect()
    }

    const COMPRESSION: &str = "compression: zstd 3, br 4, gzip 6, from 1KiB on, of 6 media types; lower levels while the CPU is \
                               short; not with cookies";

    #[test]
    fn what_is_on_by_itself() {
        assert_eq!(
            shown("", ""),
            [
                "load_balance: least_request, 127.0.0.1:3000",
                "retry: 2 attempts on connect, reset; unsafe requests only if unsent; backoff 25ms to 1s; budget 20% and 3 \
                 a second",
                COMPRESSION,
            ]
        );
        assert_eq!(shown("", "retry: off\n    compression: off")[1..], ["retry: off", "compression: off"]);
    }

    #[test]
    fn everything_in_the_order_of_a_requests_way() {
        let upstream = "queue: { max_concurrent: 64, fair_by: [\"header:x-merchant-id\"], mode: observe }
    circuit_breaker: { mode: observe }
    load_balance: consistent_hash
    hash_on: [\"header:x-merchant-id\"]
    honours_idempotency_keys: true
    health_check: { path: /healthz }
    outlier_detection: {}";
        let route = "priority: critical
    max_concurrent: 32
    fault: { abort: { ratio: 1% }, delay: { for: 200ms, ratio: 5% }, when: { header: x-fault } }
    rate_limits:
      - { name: per-merchant, key: [\"header:x-merchant-id\"], limit: 100/1m, overrides: { mer_1: 1/1s } }
      - { name: all, key: [client_ip, constant], limit: 9/1s, algorithm: token_bucket, burst: 3, missing_key: refuse }
    circuit_breaker: { window: { calls: 50 }, slow_call: off, open_for: 5s }
    retry: { attempts: 3, retry_on: [connect, 503], methods: idempotent, non_idempotent: upstream_deduplicates }
    cache: { freshness: override, ttl: 1m }
    invalidates: { routes: [pay] }";
        assert_eq!(
            shown(upstream, route),
            [
                "fault: held back 5% for 200ms; answered 1% with 503, of requests with x-fault",
                "rate_limits: per-merchant: 100/1m by header:x-merchant-id, sliding_window, another limit for 1 key",
                "rate_limits: all: 9/1s by client_ip + constant, token_bucket of 3; refused without its key",
                "cache: per credential, by scheme, host, path and query; fresh for 1m; waits 2s for the same fetch; ended by pay",
                "circuit_breaker: of this route: opens at 50% failed, of at least 20 of the last 50 calls; tries again after 5s",
                "circuit_breaker: of upstream app: opens at 50% failed or 80% slower than 2s, of at least 20 calls in 10s; \
                 tries again after 30s; only observes",
                "queue: 64 at once, 1000 wait for at most 1s; priority critical, fair by header:x-merchant-id; at most 32 of \
                 this route at once; only observes",
                "load_balance: consistent_hash on header:x-merchant-id, 127.0.0.1:3000; GET /healthz every 5s, out after 3; \
                 5 failures in a row: out for 30s",
                "retry: 3 attempts on connect, 503; unsafe requests other than PUT and DELETE only if unsent or with an \
                 idempotency key; backoff 25ms to 1s; budget 20% and 3 a second",
                "invalidates: routes pay",
                COMPRESSION,
            ]
        );
    }

    #[test]
    fn what_differs_in_a_word() {
        let adaptive =
            shown("queue: { max_concurrent: { adaptive: {} } }", "priority: { from: \"query:p\", max: high }");
        assert_eq!(
            adaptive[0],
            "queue: 8 to 512 at once as the application answers best, 1000 wait for at most 1s; priority from query:p, else \
             normal, strangers at most high"
        );
        assert_eq!(shown("", "max_concurrent: 4")[0], "queue: at most 4 of this route at once; priority normal");
        let forced = shown("circuit_breaker: { mode: force_open }", "");
        assert_eq!(forced[0], "circuit_breaker: of upstream app: forced open, refuses everything");
        let never = shown("", "retry: { attempts: 1, non_idempotent: never }");
        assert!(never[1].starts_with("retry: 1 attempt on connect, reset; unsafe requests never;"), "{never:?}");
        let bound = shown("", "match: { methods: [GET] }\n    retry: { per_attempt: 2s }");
        assert!(bound[1].contains("on connect, reset, each 2s but the last;"), "{bound:?}");
    }
}
