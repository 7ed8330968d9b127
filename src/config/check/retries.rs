//! Rules of `retry` of a route and `retry_budget` of an upstream.

use super::Check;
use crate::config::invalidation::takes_unsafe;
use crate::config::path::Path;
use crate::config::route::Route;
use crate::policy::retry::{NonIdempotent, Settings};

/// More attempts than this are a storm, not a remedy.
const ATTEMPTS: std::ops::RangeInclusive<u32> = 1..=10;

/// Bodies up to this are at hand anyway.
const AT_HAND: u64 = 64 << 10;

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    for (name, upstream) in &config.upstreams {
        let budget = upstream.retry_budget;
        if budget.ratio.get() == 0.0 && budget.min_per_second == 0 {
            let path = Path::of("upstreams").key(name).key("retry_budget");
            check.warn(&path, "allows no retry at all; retry: off on the routes says so plainly");
        }
    }
    let places = check.routes.clone();
    for (route, place) in config.routes.iter().zip(places) {
        let Some(settings) = &route.retry else { continue };
        let path = place.key("retry");
        attempts(check, settings, &path);
        per_attempt(check, route, settings, &place);
        deduplicates(check, route, settings, &path);
        bodies(check, route, settings, &place);
    }
}

fn attempts(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    if !ATTEMPTS.contains(&settings.attempts) {
        check.invalid(&path.key("attempts"), "a number from 1 to 10");
    }
    if settings.retry_on.is_empty() {
        check
            .error(&path.key("retry_on"), "expected at least one failure; retry: off, if nothing is to be tried again");
    }
    let (base, max) = (path.key("backoff").key("base"), path.key("backoff").key("max"));
    if settings.backoff.base > settings.backoff.max {
        let message = format!(
            "{} is more than backoff.max {} ({})",
            settings.backoff.base,
            settings.backoff.max,
            check.whence(&max)
        );
        check.error(&base, message);
    }
}

fn per_attempt(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let Some(bound) = settings.per_attempt else { return };
    let (path, times) = (place.key("retry").key("per_attempt"), place.key("timeouts"));
    check.positive(&path, bound.get().is_zero());
    let (total, first_byte) = (times.key("total"), times.key("first_byte"));
    if bound >= route.timeouts.total && !check.is_lost(&total) {
        let message = format!(
            "{bound} is not less than timeouts.total {} ({}): no time is left for another attempt",
            route.timeouts.total,
            check.whence(&total),
        );
        return check.error(&path, message);
    }
    if settings.attempts == 1 {
        let message = format!("bounds nothing: the last attempt has no bound, and attempts is 1 ({})", {
            check.whence(&place.key("retry").key("attempts"))
        });
        return check.warn(&path, message);
    }
    if bound < route.timeouts.first_byte && takes_unsafe(route) && !check.is_lost(&first_byte) {
        let message = format!(
            "{bound} is less than timeouts.first_byte {} ({}), and route {} takes methods that are not safe: those are \
             never bounded by it once they were sent",
            route.timeouts.first_byte,
            check.whence(&first_byte),
            route.name,
        );
        check.warn(&path, message);
    }
}

fn deduplicates(check: &mut Check<'_>, route: &Route, settings: &Settings, path: &Path) {
    if settings.non_idempotent != NonIdempotent::UpstreamDeduplicates {
        return;
    }
    let Some((name, upstream)) = check.upstream_of(route) else { return };
    let other = Path::of("upstreams").key(name).key("honours_idempotency_keys");
    if upstream.honours_idempotency_keys || check.is_lost(&other) {
        return;
    }
    let message = format!(
        "upstream_deduplicates needs upstreams.{name}.honours_idempotency_keys: true ({}): without it a request would be \
         done twice",
        check.whence(&other),
    );
    check.error(&path.key("non_idempotent"), message);
}

/// What `max_body` says and what cannot be.
fn bodies(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let path = place.key("retry").key("max_body");
    if !check.is_written(&path) {
        return;
    }
    let max_body = settings.max_body;
    if max_body.bytes() > AT_HAND && settings.non_idempotent != NonIdempotent::UpstreamDeduplicates {
        let message = format!(
            "{max_body} is more than 64KiB: longer bodies are kept only with non_idempotent: upstream_deduplicates ({})",
            check.whence(&place.key("retry").key("non_idempotent")),
        );
        return check.warn(&path, message);
    }
    let (own, limits) = (place.key("max_request_body"), Path::of("limits").key("max_request_body"));
    // A route that lowers its bodies below what all others may send again has said nothing that contradicts itself.
    let lowered = check.is_inherited(&path) && check.is_written(&own) && !check.is_inherited(&own);
    let (most, named, other) = match route.max_request_body {
        Some(most) => (most, "max_request_body", own),
        None => (check.config.limits.max_request_body, "limits.max_request_body", limits),
    };
    if max_body > most && !lowered && !check.is_lost(&other) {
        let message = format!("{max_body} is more than {named} {most} ({}): no body is so long", check.whence(&other));
        check.warn(&path, message);
    }
}
