//! Rules of `routes`, each with `defaults` merged into it.

use super::{Check, NAME, headers, is_name, limits, same};
use crate::config::path::Path;
use crate::config::pattern::{PathPattern, is_host_pattern};
use crate::config::route::{Match, Rewrite, Route};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let routes = Path::of("routes");
    if config.routes.is_empty() {
        check.error(&routes, "expected at least one route; left out, one takes everything");
    }
    let places = check.routes.clone();
    // Only what was not in the file can stand where the file begins.
    let made = check.mark(&routes) == check.tree.mark;
    if made && (config.upstreams.len() > 1 || config.listeners.len() > 1) {
        check.error(&routes, "required where there are several listeners or upstreams");
    }
    for (at, (route, path)) in config.routes.iter().zip(&places).enumerate() {
        if !is_name(&route.name) {
            check.invalid(&path.key("name"), NAME);
        }
        if let Some(first) = config.routes[..at].iter().position(|other| other.name == route.name) {
            let line = check.line(&places[first].key("name"));
            check.error(&path.key("name"), format!("the same name as the route on line {line}"));
        }
        if !made {
            references(check, route, path);
        }
        matches(check, &route.matches, &path.key("match"));
        if let Some(rewrite) = &route.rewrite {
            rewritten(check, rewrite, &path.key("rewrite"));
        }
        times(check, route, &path.key("timeouts"));
        limits::check(check, route, path);
        let path = path.key("headers");
        headers::changes(check, &path.key("request"), &route.headers.request);
        headers::changes(check, &path.key("response"), &route.headers.response);
    }
    same::check(check, &places);
}

fn references(check: &mut Check<'_>, route: &Route, path: &Path) {
    let config = check.config;
    let known: Vec<&str> = config.upstreams.keys().map(String::as_str).collect();
    let place = path.key("upstream");
    match route.upstream.as_deref() {
        None if known.len() > 1 => {
            check.error(&place, format!("required where there are several upstreams: {}", known.join(", ")));
        }
        Some(name) if !known.contains(&name) && !check.lacks_items(&Path::of("upstreams")) => {
            check.unknown(&place, "upstream", name, &known)
        }
        _ => {}
    }
    let known: Vec<&str> = config.listeners.iter().map(|l| l.name.as_str()).collect();
    let place = path.key("match").key("listener");
    match route.matches.listener.as_deref() {
        None if known.len() > 1 => {
            let message =
                format!("required where there are several listeners: {}, or any on purpose", known.join(", "));
            check.error(&place, message);
        }
        Some(name) if name != "any" && !known.contains(&name) && !check.lacks_items(&Path::of("listeners")) => {
            check.unknown(&place, "listener", name, &known);
        }
        _ => {}
    }
}

fn matches(check: &mut Check<'_>, matches: &Match, path: &Path) {
    if matches.host.as_deref().is_some_and(|host| !is_host_pattern(host)) {
        check.invalid(&path.key("host"), "a host name without a port, or *.example.com");
    }
    if let Some(Err(error)) = matches.path.as_ref().map(|p| p.parse::<PathPattern>()) {
        let place = path.key("path");
        check.error(&place, format!("{error}, found {}", check.found(&place)));
    }
    for (index, method) in matches.methods.iter().enumerate() {
        let place = path.key("methods").index(index);
        let upper = method.to_ascii_uppercase();
        match http::Method::from_bytes(method.as_bytes()) {
            Err(_) => check.invalid(&place, "a method such as GET"),
            // Methods are case-sensitive: `get` would match nothing that anybody sends.
            Ok(_) if upper != *method => check.invalid(&place, &format!("{upper}, as methods are written in capitals")),
            Ok(_) if matches.methods[..index].contains(method) => check.error(&place, "the same method twice"),
            Ok(_) => {}
        }
    }
    let place = path.key("headers");
    for name in matches.headers.keys().filter(|name| !headers::is_name(name)) {
        check.invalid_key(&place.key(name), "the name of a header");
    }
    headers::unlike(check, &place, matches.headers.keys());
}

fn rewritten(check: &mut Check<'_>, rewrite: &Rewrite, path: &Path) {
    let add = Some(&rewrite.add_prefix).filter(|add| !add.is_empty());
    for (key, text) in
        [("strip_prefix", rewrite.strip_prefix.as_ref()), ("add_prefix", add), ("path", rewrite.path.as_ref())]
    {
        let good = |t: &String| t.starts_with('/') && t.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
        if text.is_some_and(|t| !good(t)) {
            check.invalid(&path.key(key), "a path that starts with /, of visible ASCII without ? and #");
        }
    }
    if rewrite.path.is_some() && (rewrite.strip_prefix.is_some() || add.is_some()) {
        check.error(&path.key("path"), "replaces the whole path: strip_prefix and add_prefix are of no use beside it");
    }
}

fn times(check: &mut Check<'_>, route: &Route, path: &Path) {
    let times = &route.timeouts;
    for (key, time) in [
        ("connect", times.connect),
        ("first_byte", times.first_byte),
        ("idle", times.idle),
        ("total", times.total),
        ("stream_max", times.stream_max),
    ] {
        check.positive(&path.key(key), time.get().is_zero());
    }
    let needed = times.connect.get() + times.first_byte.get();
    // Of a stream only the head is waited for, and nothing of it has a total.
    if route.stream || times.total.get().is_zero() || needed <= times.total.get() {
        return;
    }
    let (total, first_byte) = (path.key("total"), path.key("first_byte"));
    if check.is_lost(&first_byte) || check.is_lost(&path.key("connect")) {
        return;
    }
    let message = format!(
        "{} is less than connect {} plus first_byte {} (line {}): a request is cut before its time",
        times.total,
        times.connect,
        times.first_byte,
        check.line(&first_byte),
    );
    // Where the route set only the other, that is where the error stands.
    let written = |p: &Path| check.tree.towards(p).0.mark != check.tree.towards(path).0.mark;
    let place = if written(&total) || !written(&first_byte) { total } else { first_byte };
    check.error(&place, message);
}
