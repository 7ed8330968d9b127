//! Rules of `cache` and `stores`.

use super::{Check, headers, invalidates, keys};
use crate::config::invalidation::takes_get;
use crate::config::path::Path;
use crate::config::pattern::PathPattern;
use crate::config::route::Route;
use crate::policy::cache::{Freshness, Partition, Settings};
use crate::units::Duration;

/// How long an answer to a request with a credential may be served where the application gives none.
const CREDENTIAL_STALE: Duration = Duration::from_secs(60);

/// Errors that say something of one request, one client or one moment: nobody else should be told them.
const PERSONAL: &[u16] = &[401, 403, 407, 408, 409, 412, 416, 417, 421, 425, 426, 428, 429, 431, 511];

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let memory = Path::of("stores").key("memory");
    let places = check.routes.clone();
    if config.routes.iter().any(|route| route.cache.is_some()) {
        check.positive(&memory, config.stores.memory.bytes() == 0);
    }
    for (route, place) in config.routes.iter().zip(places) {
        let Some(settings) = &route.cache else { continue };
        if !can_store(check, route, &place) {
            continue;
        }
        let path = place.key("cache");
        freshness(check, settings, &path);
        size(check, settings, &path, &memory);
        keys::parts(check, route, &place, &path.key("vary_by"), &settings.vary_by);
        query(check, &settings.ignore_query, &path.key("ignore_query"));
        partition(check, settings, &path);
        stale(check, settings, &path);
        wait(check, route, settings, &place);
        negative(check, route, settings, &path);
        tags(check, route, settings, &place);
        warm(check, route, settings, &place);
    }
}

/// The routes to which `defaults` gave a cache that could never store anything. Who wrote it on the route itself is told so.
pub(super) fn of_no_use(check: &Check<'_>) -> Vec<usize> {
    let routes = check.config.routes.iter().zip(&check.routes).enumerate();
    let idle = routes.filter(|(_, (route, place))| {
        let given = check.is_inherited(&place.key("cache"));
        route.cache.is_some() && given && (route.stream || !takes_get(route))
    });
    idle.map(|(index, _)| index).collect()
}

/// Whether a route can store anything at all.
fn can_store(check: &mut Check<'_>, route: &Route, place: &Path) -> bool {
    let (path, methods, stream) = (place.key("cache"), place.key("match").key("methods"), place.key("stream"));
    let mut can = true;
    if !takes_get(route) && !check.is_lost(&methods) {
        can = false;
        if !check.is_inherited(&path) {
            let line = check.line(&methods);
            check.error(
                &path,
                format!(
                    "only answers to GET are stored, which route {} does not take (methods, line {line})",
                    route.name
                ),
            );
        }
    }
    if route.stream && !check.is_lost(&stream) {
        can = false;
        if !check.is_inherited(&path) {
            let whence = check.whence(&stream);
            check.error(&path, format!("an answer that may go on for ever is not stored: stream is true ({whence})"));
        }
    }
    can
}

fn freshness(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    let (freshness, ttl) = (path.key("freshness"), path.key("ttl"));
    if settings.freshness != Freshness::Override {
        return;
    }
    match settings.ttl {
        None if !check.is_lost(&ttl) => {
            check.error(
                &freshness,
                "override requires ttl: how long answers are fresh, instead of what the application says",
            );
        }
        Some(time) => check.positive(&ttl, time.get().is_zero()),
        None => {}
    }
}

fn size(check: &mut Check<'_>, settings: &Settings, path: &Path, memory: &Path) {
    let path = path.key("max_object");
    check.positive(&path, settings.max_object.bytes() == 0);
    let most = check.config.stores.memory;
    if settings.max_object > most && most.bytes() > 0 && !check.is_lost(memory) {
        let message = format!(
            "{} is more than stores.memory {most} ({}): so much is never stored",
            settings.max_object,
            check.whence(memory)
        );
        check.error(&path, message);
    }
}

fn query(check: &mut Check<'_>, names: &[String], path: &Path) {
    for (index, name) in names.iter().enumerate() {
        let path = path.index(index);
        let plain = name.strip_suffix('*').unwrap_or(name);
        let good = plain.bytes().all(|b| b.is_ascii_graphic() && !b"*&=#?".contains(&b));
        if name.is_empty() || !good {
            check.invalid(&path, "the name of a parameter of the query, or the beginning of names such as utm_*");
        } else if names[..index].contains(name) {
            check.error(&path, "the same name twice");
        } else if name == "*" {
            check.warn(&path, "the whole query is ignored: requests that differ in it alone get the same answer");
        }
    }
}

fn partition(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    let (partition, credentials) = (path.key("partition"), Path::of("credentials"));
    match settings.partition {
        Partition::Standard => check.warn(
            &partition,
            "answers to requests with a credential are given to everybody where the application says public, s-maxage or \
             must-revalidate (RFC 9111, 3.5): nothing else keeps one customer's from another's",
        ),
        Partition::PerCredential if check.config.credentials.is_empty() && !check.is_lost(&credentials) => {
            let message = format!(
                "no header says who is asking (credentials is empty, {}): every answer is given to everybody",
                check.whence(&credentials)
            );
            check.warn(if check.is_written(&partition) { &partition } else { path }, message);
        }
        Partition::PerCredential | Partition::NeverStore => {}
    }
}

fn stale(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    for (key, time) in
        [("stale_while_revalidate", settings.stale_while_revalidate), ("stale_if_error", settings.stale_if_error)]
    {
        if time.is_some_and(|time| time.get().is_zero()) {
            check.invalid(&path.key(key), "more than zero, or off");
        }
    }
    let Some(time) = settings.stale_if_error.filter(|time| *time > CREDENTIAL_STALE) else { return };
    if settings.partition != Partition::NeverStore {
        let message = format!(
            "{time} holds for requests without a credential; those with one are served stale for {CREDENTIAL_STALE} at most, as \
             the application is not there to say whether the credential still lives"
        );
        check.warn(&path.key("stale_if_error"), message);
    }
}

fn wait(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let (path, total) = (place.key("cache").key("coalesce").key("wait"), place.key("timeouts").key("total"));
    let wait = settings.coalesce.wait;
    check.positive(&path, wait.get().is_zero());
    if check.is_written(&path) && wait >= route.timeouts.total && !check.is_lost(&total) {
        let message = format!(
            "{wait} is not less than timeouts.total {} ({}): who waits that long is answered with 504",
            route.timeouts.total,
            check.whence(&total),
        );
        check.warn(&path, message);
    }
}

/// A POST creates what a GET found missing: the 404 must end with it.
fn negative(check: &mut Check<'_>, route: &Route, settings: &Settings, path: &Path) {
    let path = path.key("negative_ttl");
    for (status, time) in &settings.negative_ttl {
        let status = status.get();
        let place = path.key(&status.to_string());
        if PERSONAL.contains(&status) {
            check.invalid_key(&place, "an error that is the same for whoever asks, such as 404, 405, 410 or 501");
        }
        check.positive(&place, time.get().is_zero());
    }
    let tagged = settings.tags.header.is_some() || !settings.tags.add.is_empty();
    if !settings.negative_ttl.is_empty() && !tagged && check.config.ended_by(route).is_empty() && check.lost.is_empty()
    {
        let message = format!(
            "needs cache.tags, or a route that invalidates {}: what was not there is created by a request that nothing \
             connects with this answer",
            route.name
        );
        check.error(&path, message);
    }
}

fn tags(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let path = place.key("cache").key("tags");
    if settings.tags.header.as_ref().is_some_and(|name| !headers::is_name(name)) {
        check.invalid(&path.key("header"), "the name of a header");
    }
    for (index, text) in settings.tags.add.iter().enumerate() {
        let path = path.key("add").index(index);
        if settings.tags.add[..index].contains(text) {
            check.error(&path, "the same tag twice");
        } else if invalidates::template(check, route, place, &path, text).is_some()
            && text.contains(char::is_whitespace)
        {
            check.invalid(&path, "a tag without spaces");
        }
    }
}

fn warm(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let own = place.key("match").key("path");
    let pattern = route.matches.path.as_ref().map(|path| path.parse::<PathPattern>());
    for (index, target) in settings.warm.iter().enumerate() {
        let path = place.key("cache").key("warm").index(index);
        let (asked, query) = target.split_once('?').unwrap_or((target, ""));
        if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            check.invalid(&path, "a path that starts with /, of visible ASCII; a query may follow");
        } else if settings.warm[..index].contains(target) {
            check.error(&path, "the same path twice");
        } else if let Some(Ok(pattern)) = &pattern
            && !pattern.takes(asked)
        {
            let message =
                format!("route {} does not take it: its path is {pattern} ({})", route.name, check.whence(&own));
            check.error(&path, message);
        } else if let Some((name, _)) = lacking(route, query) {
            let message = format!(
                "route {} does not take it: it lacks the parameter {name} of match.query ({})",
                route.name,
                check.whence(&place.key("match").key("query")),
            );
            check.error(&path, message);
        }
    }
    let conditions = place.key("match").key("headers");
    if !settings.warm.is_empty() && !route.matches.headers.is_empty() {
        let message = format!(
            "route {} takes requests with certain headers only ({}), and what is fetched at start has none",
            route.name,
            check.whence(&conditions)
        );
        check.error(&place.key("cache").key("warm"), message);
    }
}

/// A parameter that the route asks for and that this query does not have.
fn lacking<'r>(route: &'r Route, query: &str) -> Option<(&'r String, &'r String)> {
    let has = |name: &str, value: &str| {
        query.split('&').any(|pair| {
            let (n, v) = pair.split_once('=').unwrap_or((pair, ""));
            n == name && (value == "*" || v == value)
        })
    };
    route.matches.query.iter().find(|(name, value)| !has(name, value))
}
