//! Rules of `circuit_breaker`, of an upstream and of a route.

use super::Check;
use crate::config::path::Path;
use crate::config::route::Route;
use crate::policy::breaker::{Mode, Settings, Window};

/// The most probes: each of them is a request that meets an application which may still be ill.
const PROBES: std::ops::RangeInclusive<u32> = 1..=1000;

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    for (name, upstream) in &config.upstreams {
        let Some(settings) = &upstream.circuit_breaker else { continue };
        let path = Path::of("upstreams").key(name).key("circuit_breaker");
        one(check, settings, &path);
        let users = check.routes_to(name);
        ends_too_early(check, settings, &path, &users);
    }
    let places = check.routes.clone();
    for (route, place) in config.routes.iter().zip(places) {
        let Some(settings) = &route.circuit_breaker else { continue };
        let path = place.key("circuit_breaker");
        one(check, settings, &path);
        ends_too_early(check, settings, &path, &[(route, place)]);
    }
}

fn one(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    let (window, least) = (path.key("window"), path.key("min_requests"));
    check.positive(&least, settings.min_requests == 0);
    if let Window::Calls(calls) = settings.window
        && calls < settings.min_requests
    {
        let message = format!(
            "{{ calls: {calls} }} holds fewer than min_requests {} ({}): no share of it would ever be judged",
            settings.min_requests,
            check.whence(&least),
        );
        check.error(&window, message);
    }
    check.positive(&path.key("failure_rate"), settings.failure_rate.get() == 0.0);
    if let Some(slow) = &settings.slow_call {
        let path = path.key("slow_call");
        check.positive(&path.key("over"), slow.over.get().is_zero());
        check.positive(&path.key("rate"), slow.rate.get() == 0.0);
    } else if settings.failures.is_empty() {
        let message = format!(
            "empty, and slow_call is off ({}): nothing would ever open it",
            check.whence(&path.key("slow_call"))
        );
        check.error(&path.key("failures"), message);
    }
    check.positive(&path.key("open_for"), settings.open_for.get().is_zero());
    if !PROBES.contains(&settings.half_open_probes) {
        check.invalid(&path.key("half_open_probes"), "a number from 1 to 1000");
    }
    if settings.mode == Mode::ForceOpen {
        check.warn(&path.key("mode"), "every request is refused");
    }
}

/// A timeout that ends an attempt before it can count as slow leaves a hang to be seen by that timeout alone, and not at
/// all where clients leave before.
fn ends_too_early(check: &mut Check<'_>, settings: &Settings, path: &Path, users: &[(&Route, Path)]) {
    let Some(over) = settings.slow_call.map(|slow| slow.over).filter(|over| !over.get().is_zero()) else { return };
    for (route, place) in users {
        let times = [("first_byte", route.timeouts.first_byte), ("total", route.timeouts.total)];
        let Some((key, time)) = times.into_iter().find(|(_, time)| *time <= over && !time.get().is_zero()) else {
            continue;
        };
        let other = place.key("timeouts").key(key);
        if check.is_lost(&other) {
            continue;
        }
        let message = format!(
            "{over} is not less than timeouts.{key} {time} of route {} ({}): its attempts end before they count as slow",
            route.name,
            check.whence(&other),
        );
        return check.warn(&path.key("slow_call").key("over"), message);
    }
}
