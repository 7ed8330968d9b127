//! Rules of `queue` of an upstream, and of what a route says to it: `priority` and `max_concurrent`.

use super::Check;
use super::upstreams::{has_param, parameter};
use crate::config::endpoint::Endpoint;
use crate::config::key::KeySource;
use crate::config::path::Path;
use crate::config::route::Route;
use crate::config::upstream::Upstream;
use crate::policy::priority::Setting;
use crate::policy::queue::{MaxConcurrent, Settings};
use crate::policy::{adaptive, breaker};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    for (name, upstream) in &config.upstreams {
        let path = Path::of("upstreams").key(name);
        let Some(settings) = &upstream.queue else { continue };
        let users = check.routes_to(name);
        times(check, settings, &path.key("queue"), &users);
        limit(check, upstream, settings, &path);
        fair_by(check, name, settings, &path.key("queue").key("fair_by"), &users);
    }
    let places = check.routes.clone();
    for (route, place) in config.routes.iter().zip(places) {
        priority(check, route, &place.key("priority"));
        cap(check, route, &place);
    }
}

fn times(check: &mut Check<'_>, settings: &Settings, path: &Path, users: &[(&Route, Path)]) {
    let (timeout, target, interval) = (path.key("timeout"), path.key("target_delay"), path.key("interval"));
    check.positive(&timeout, settings.timeout.get().is_zero());
    check.positive(&target, settings.target_delay.get().is_zero());
    check.positive(&interval, settings.interval.get().is_zero());
    if settings.target_delay >= settings.timeout && !settings.timeout.get().is_zero() {
        let message = format!(
            "{} is not less than queue.timeout {} ({}): who waits that long is gone already",
            settings.target_delay,
            settings.timeout,
            check.whence(&timeout),
        );
        check.error(&target, message);
    }
    if settings.interval < settings.target_delay && !settings.interval.get().is_zero() {
        let message = format!(
            "{} is less than queue.target_delay {} ({}): no wait of that length would be seen in it",
            settings.interval,
            settings.target_delay,
            check.whence(&target),
        );
        check.error(&interval, message);
    }
    for (route, place) in users {
        let times = place.key("timeouts");
        let total = route.timeouts.total;
        if check.is_lost(&times) || total.get().is_zero() {
            continue;
        }
        let whence = check.whence(&times.key("total"));
        if settings.timeout >= total {
            let message = format!(
                "{} is not less than timeouts.total {total} of route {} ({whence}): a request would spend its whole time \
                 waiting",
                settings.timeout, route.name,
            );
            return check.error(&timeout, message);
        }
        let (connect, first_byte) = (route.timeouts.connect, route.timeouts.first_byte);
        if !route.stream && settings.timeout.get() + connect.get() + first_byte.get() > total.get() {
            let message = format!(
                "{} plus connect {connect} plus first_byte {first_byte} is more than timeouts.total {total} of route {} \
                 ({whence}): who waited long is cut before its time",
                settings.timeout, route.name,
            );
            return check.warn(&timeout, message);
        }
    }
}

fn limit(check: &mut Check<'_>, upstream: &Upstream, settings: &Settings, path: &Path) {
    let place = path.key("queue").key("max_concurrent");
    let fixed = match settings.max_concurrent {
        MaxConcurrent::Fixed(fixed) => fixed,
        MaxConcurrent::Adaptive(bounds) => return adaptive(check, bounds, &place.key("adaptive")),
    };
    if let Some(breaker) = &upstream.circuit_breaker {
        too_few(check, breaker, &path.key("circuit_breaker"), fixed, "queue.max_concurrent", &place);
    }
    // A name may stand for many.
    let addresses = upstream.endpoints.iter().filter_map(|e| e.parse::<Endpoint>().ok());
    let many = addresses.into_iter().any(|e| e.ip().is_none() && !matches!(e, Endpoint::Unix(_)));
    let connections = path.key("pool").key("max_connections");
    let most = u64::from(upstream.pool.max_connections) * upstream.endpoints.len() as u64;
    if !many && most > 0 && u64::from(fixed) > most && !check.is_lost(&connections) {
        let message = format!(
            "{fixed} is more than the {most} that pool.max_connections ({}) allows over all endpoints: it is never reached",
            check.whence(&connections),
        );
        check.warn(&place, message);
    }
}

fn adaptive(check: &mut Check<'_>, bounds: adaptive::Settings, path: &Path) {
    let (initial, min, max) = (path.key("initial"), path.key("min"), path.key("max"));
    check.positive(&min, bounds.min == 0);
    if bounds.min > bounds.max {
        let message = format!("{} is more than adaptive.max {} ({})", bounds.min, bounds.max, check.whence(&max));
        return check.error(&min, message);
    }
    if bounds.initial < bounds.min {
        let message = format!("{} is less than adaptive.min {} ({})", bounds.initial, bounds.min, check.whence(&min));
        check.error(&initial, message);
    } else if bounds.initial > bounds.max {
        let message = format!("{} is more than adaptive.max {} ({})", bounds.initial, bounds.max, check.whence(&max));
        check.error(&initial, message);
    }
}

/// An application that hangs takes as many requests as it may have and no more: fewer than the breaker needs to judge.
fn too_few(check: &mut Check<'_>, breaker: &breaker::Settings, path: &Path, most: u32, named: &str, other: &Path) {
    if most >= breaker.min_requests || check.is_lost(other) {
        return;
    }
    let message = format!(
        "{} is more than {named} {most} ({}): when the application hangs, so many are not under way at once, and the \
         breaker opens late",
        breaker.min_requests,
        check.whence(other),
    );
    check.warn(&path.key("min_requests"), message);
}

fn fair_by(check: &mut Check<'_>, name: &str, settings: &Settings, path: &Path, users: &[(&Route, Path)]) {
    for (index, text) in settings.fair_by.iter().enumerate() {
        let path = path.index(index);
        match text.parse() {
            Ok(KeySource::Path(param)) => parameter(check, name, &path, &param, "share one turn"),
            Ok(KeySource::Jwt(_)) => {
                if let Some((route, _)) = users.iter().find(|(route, _)| route.jwt.is_none()) {
                    let message = format!("route {} has no jwt: nobody verified what its tokens claim", route.name);
                    check.error(&path, message);
                }
            }
            Ok(_) => {}
            Err(_) => check
                .invalid(&path, "client_ip, header:NAME, query:NAME, cookie:NAME, path:PARAM, jwt:CLAIM or constant"),
        }
    }
}

fn priority(check: &mut Check<'_>, route: &Route, path: &Path) {
    let queued = check.upstream_of(route).is_none_or(|(_, upstream)| upstream.queue.is_some());
    if check.is_written(path) && !check.is_inherited(path) && !queued && route.max_concurrent.is_none() {
        check.warn(path, "does nothing: the upstream has no queue, and the route no max_concurrent");
    }
    let Setting::Asked(asked) = &route.priority else { return };
    let from = path.key("from");
    match asked.from.parse() {
        Ok(KeySource::Header(_) | KeySource::Query(_) | KeySource::Cookie(_)) => {}
        Ok(KeySource::Path(param)) => {
            if !has_param(route, &param) {
                check.error(&from, format!("the path of route {} has no {{{param}}}", route.name));
            }
        }
        Ok(KeySource::ClientIp | KeySource::Jwt(_) | KeySource::Constant) | Err(_) => {
            check.invalid(&from, "header:NAME, query:NAME, cookie:NAME or path:PARAM");
        }
    }
    if asked.default < asked.max {
        let message = format!(
            "{} is above priority.max {} ({}): strangers get more where they ask for nothing",
            asked.default.as_str(),
            asked.max.as_str(),
            check.whence(&path.key("max")),
        );
        check.warn(&path.key("default"), message);
    }
}

fn cap(check: &mut Check<'_>, route: &Route, place: &Path) {
    let (Some(cap), path) = (route.max_concurrent, place.key("max_concurrent")) else { return };
    check.positive(&path, cap == 0);
    if let Some(breaker) = route.circuit_breaker.as_ref().filter(|_| cap > 0) {
        too_few(check, breaker, &place.key("circuit_breaker"), cap, "max_concurrent", &path);
    }
    let Some((name, upstream)) = check.upstream_of(route) else { return };
    let other = Path::of("upstreams").key(name).key("queue").key("max_concurrent");
    let (most, other) = match upstream.queue.as_ref().map(|queue| queue.max_concurrent) {
        Some(MaxConcurrent::Fixed(fixed)) => (fixed, other),
        Some(MaxConcurrent::Adaptive(bounds)) => (bounds.max, other.key("adaptive").key("max")),
        None => return,
    };
    if cap > most && !check.is_lost(&other) {
        let message = format!(
            "{cap} is more than upstreams.{name}.queue.max_concurrent {most} ({}): it is never reached",
            check.whence(&other)
        );
        check.warn(&path, message);
    }
}
