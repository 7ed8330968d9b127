//! Rules of `idempotency`: what would charge twice, or give an answer to somebody else, is said.

use super::{Check, headers, keys};
use crate::config::invalidation::takes_unsafe;
use crate::config::key::KeySource;
use crate::config::path::Path;
use crate::config::route::Route;
use crate::policy::idempotency::{MissingOwner, ReplayTo, Settings, Store, UnknownOutcome};

/// What holds of records that one process has to itself. The same sentence wherever it is said.
pub const LOCAL: &str = "store: local holds only while every try of a key reaches this one process and its folder \
                         survives it: behind several replicas, or after a rolling update that replaces the pod, a retry is \
                         a second charge; store: redis is shared";

/// What holds of records that nothing encrypts. The same sentence wherever it is said.
pub const IN_CLEAR: &str = "the application's answers are kept in clear: stores.encryption_keys is empty, and who reads the \
                            store reads them";

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let places = check.routes.clone();
    let mut local = None;
    let mut any = None;
    for (route, place) in config.routes.iter().zip(places) {
        let Some(settings) = &route.idempotency else { continue };
        let path = place.key("idempotency");
        taken(check, route, &place);
        header(check, route, settings, &path);
        owner(check, route, settings, &place);
        times(check, route, settings, &place);
        unknown(check, settings, &path);
        outcomes(check, settings, &path);
        sizes(check, route, settings, &place);
        any.get_or_insert(path.clone());
        match settings.store {
            Store::Local => drop(local.get_or_insert(path)),
            Store::Redis if config.stores.redis.is_none() && !check.is_lost(&Path::of("stores")) => {
                check.error(&path.key("store"), "redis needs stores.redis: { url: ... }");
            }
            Store::Redis => {}
        }
    }
    // Of the process, so once: at the first route that it holds for.
    if let Some(path) = local {
        kept_here(check, &path);
    }
    if let Some(path) = any
        && config.stores.encryption_keys.is_empty()
        && !check.is_lost(&Path::of("stores"))
        && (config.stores.data_dir.is_some() || config.stores.redis.is_some())
    {
        check.warn(&path, IN_CLEAR);
    }
}

/// What it means that the records are this process' own.
fn kept_here(check: &mut Check<'_>, path: &Path) {
    let stores = Path::of("stores");
    check.warn(path, LOCAL);
    if check.config.stores.data_dir.is_none() && !check.is_lost(&stores) {
        check.warn(
            path,
            "the records are in memory alone (stores.data_dir is not set): when this process ends, every key is forgotten, \
             and a retry after that is a second charge",
        );
    }
    if check.config.runtime.upgrade_socket.is_some() {
        check.warn(
            &Path::of("runtime").key("upgrade_socket"),
            "run --upgrade is refused while a route has idempotency.store: local: only one process may have the records",
        );
    }
}

fn taken(check: &mut Check<'_>, route: &Route, place: &Path) {
    let (path, methods) = (place.key("idempotency"), place.key("match").key("methods"));
    if !takes_unsafe(route) && !check.is_lost(&methods) {
        let message = format!(
            "is of no use: route {} takes safe methods only ({}), and those change nothing however often they are sent",
            route.name,
            check.whence(&methods)
        );
        check.warn(&path, message);
    }
    if route.stream {
        check
            .warn(&path, "answers of a route with stream: true are not kept: later tries get 409 idempotency_not_kept");
    }
}

fn header(check: &mut Check<'_>, route: &Route, settings: &Settings, path: &Path) {
    let at = path.key("header");
    if !headers::is_name(&settings.header) {
        return check.invalid(&at, "the name of a header");
    }
    let changes = &route.headers.request;
    let is_it = |name: &&String| name.eq_ignore_ascii_case(&settings.header);
    let changed = changes.remove.iter().chain(changes.set.keys()).chain(changes.add.keys()).find(is_it);
    if changed.is_some() {
        check.warn(
            &at,
            "headers.request changes this header: the application does not get the key as the client sent it",
        );
    }
}

fn owner(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let path = place.key("idempotency");
    let at = path.key("owner");
    if settings.owner.is_empty() {
        check.error(
            &at,
            "expected whose keys these are, such as [header:x-merchant-id]; [constant] if all are one client's",
        );
    }
    let parts = keys::parts(check, route, place, &at, &settings.owner);
    let changes = |part: &KeySource| match part {
        KeySource::Header(name) => ["authorization", "cookie"].contains(&name.as_str()),
        KeySource::Cookie(_) => true,
        _ => false,
    };
    let parts: Vec<KeySource> = parts.into_iter().flatten().collect();
    if parts.iter().any(changes) {
        check.warn(
            &at,
            "changes when a token or a session is renewed: a retry with the new one is another owner's, and a second charge",
        );
    }
    let proven = |part: &KeySource| matches!(part, KeySource::Jwt(_) | KeySource::ClientIp | KeySource::Constant);
    if settings.replay_to == ReplayTo::Owner && !parts.iter().any(proven) {
        check.warn(
            &path.key("replay_to"),
            "whoever knows a key and can write the owner's header gets the answer: it is given before the application sees \
             the request; jwt:CLAIM is proven",
        );
    }
    if settings.missing_owner == MissingOwner::Credential && check.config.credentials.is_empty() {
        check.error(&path.key("missing_owner"), "credential needs credentials: no header says who is asking");
    }
}

fn times(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let path = place.key("idempotency");
    check.positive(&path.key("ttl"), settings.ttl.get().is_zero());
    check.positive(&path.key("lease"), settings.lease.get().is_zero());
    let total = place.key("timeouts").key("total");
    let within = settings.terms(route.timeouts.total.get()).within;
    if settings.ttl.get() <= within && !check.is_lost(&total) && !settings.ttl.get().is_zero() {
        let message = format!(
            "{} is not more than timeouts.total {} ({}) and 5s: a key would be forgotten while its request is at work",
            settings.ttl,
            route.timeouts.total,
            check.whence(&total),
        );
        check.error(&path.key("ttl"), message);
    }
    if settings.lease > settings.ttl && !settings.ttl.get().is_zero() {
        let (ttl, whence) = (settings.ttl, check.whence(&path.key("ttl")));
        check.error(&path.key("lease"), format!("{} is more than ttl {ttl} ({whence})", settings.lease));
    }
    let wait = path.key("in_flight").key("wait");
    if settings.in_flight.wait > route.timeouts.total && !check.is_lost(&total) && check.is_written(&wait) {
        let message = format!(
            "{} is more than timeouts.total {} ({}), which ends the wait before",
            settings.in_flight.wait,
            route.timeouts.total,
            check.whence(&total),
        );
        check.warn(&wait, message);
    }
}

fn unknown(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    let path = path.key("unknown_outcome");
    match &settings.unknown_outcome {
        UnknownOutcome::Refuse => {}
        UnknownOutcome::Forward => {
            check.warn(&path, "forward sends again what may have been carried out: a second charge, unless the application knows keys");
        }
        UnknownOutcome::Ask(ask) => {
            let ask_path = path.key("ask");
            let at = ask_path.key("path");
            if !ask.path.starts_with('/') || ask.path.contains(|c: char| c.is_whitespace() || c == '#') {
                check.invalid(&at, "a path from its / on, such as /v1/payments?idempotency_key={key}");
            } else if !ask.path.contains("{key}") {
                check.error(&at, "expected {key} in it: without the key the application cannot know what is asked");
            }
            for (name, status) in [("found", ask.found), ("not_found", ask.not_found)] {
                if !(200..600).contains(&status) {
                    check.invalid(&ask_path.key(name), "a status from 200 to 599");
                }
            }
            if ask.found == ask.not_found {
                check.error(&ask_path.key("not_found"), "the same status as found: the answer would say nothing");
            }
        }
    }
}

fn outcomes(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    let path = path.key("outcomes");
    let both = [("released", &settings.outcomes.released), ("unknown", &settings.outcomes.unknown)];
    for (name, statuses) in both {
        for (index, status) in statuses.iter().enumerate() {
            if !(400..600).contains(status) {
                check.invalid(&path.key(name).index(index), "a status from 400 to 599");
            }
        }
    }
    for (index, status) in settings.outcomes.released.iter().enumerate() {
        let at = path.key("released").index(index);
        if settings.outcomes.unknown.contains(status) {
            check.error(&at, format!("{status} stands in unknown as well"));
        } else if *status >= 500 {
            check.warn(
                &at,
                format!(
                    "after a {status} nobody knows whether the request was carried out: a retry may be a second charge"
                ),
            );
        }
    }
}

fn sizes(check: &mut Check<'_>, route: &Route, settings: &Settings, place: &Path) {
    let path = place.key("idempotency");
    check.positive(&path.key("max_request"), settings.max_request.bytes() == 0);
    check.positive(&path.key("max_response"), settings.max_response.bytes() == 0);
    let at = path.key("max_request");
    let most = route.max_request_body.unwrap_or(check.config.limits.max_request_body);
    if settings.max_request > most && check.is_written(&at) && !check.is_inherited(&at) {
        check.warn(&at, format!("{} is more than max_request_body {most}, which holds too", settings.max_request));
    }
}
