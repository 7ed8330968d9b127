//! Rules of a route's `rate_limits` and `jwt`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Check, NAME, is_name, keys};
use crate::config::key::{KeySource, key_parts};
use crate::config::path::Path;
use crate::config::route::Route;
use crate::config::tree::Node;
use crate::policy::rate_limit::{Algorithm, Settings};

/// The rules of one route.
pub(super) fn check(check: &mut Check<'_>, route: &Route, path: &Path) {
    if let Some(jwt) = &route.jwt {
        let path = path.key("jwt");
        for (key, text) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
            if text.as_ref().is_some_and(String::is_empty) {
                check.invalid(&path.key(key), "a text that is not empty; left out: any");
            }
        }
    }
    let section = path.key("rate_limits");
    // What was taken out of the list has a place in the file, but none in what was read.
    let items = check.tree.towards(&section).0.items().iter().enumerate();
    let places: Vec<Path> = items.filter(|(_, item)| !item.hole).map(|(at, _): (_, &Node)| section.index(at)).collect();
    for (at, (limit, place)) in route.rate_limits.iter().zip(&places).enumerate() {
        if !is_name(&limit.name) {
            check.invalid(&place.key("name"), NAME);
        }
        if let Some(first) = route.rate_limits[..at].iter().position(|other| other.name == limit.name) {
            let line = check.line(&places[first].key("name"));
            check.error(&place.key("name"), format!("the same name as the limit on line {line}"));
        }
        burst(check, limit, place);
        let sources = sources(check, route, limit, path, place);
        overrides(check, limit, &sources, place);
    }
}

fn burst(check: &mut Check<'_>, limit: &Settings, place: &Path) {
    let Some(burst) = limit.burst else { return };
    let path = place.key("burst");
    check.positive(&path, burst == 0);
    if limit.algorithm != Algorithm::TokenBucket {
        check.warn(&path, "is only for algorithm: token_bucket; a sliding window takes no notice of it");
    }
}

/// The parts of the key; none in the place of one that is wrong.
fn sources(
    check: &mut Check<'_>,
    route: &Route,
    limit: &Settings,
    route_path: &Path,
    place: &Path,
) -> Vec<Option<KeySource>> {
    let path = place.key("key");
    if limit.key.is_empty() {
        check.error(&path, "expected at least one part, such as client_ip; constant is one count for all requests");
    }
    keys::parts(check, route, route_path, &path, &limit.key)
}

fn overrides(check: &mut Check<'_>, limit: &Settings, sources: &[Option<KeySource>], place: &Path) {
    // What is wrong with the key is told there.
    let Some(sources) = sources.iter().cloned().collect::<Option<Vec<_>>>().filter(|s| !s.is_empty()) else { return };
    let names = limit.key.join(",");
    let mut seen: BTreeMap<Vec<String>, &String> = BTreeMap::new();
    for text in limit.overrides.keys() {
        let path = place.key("overrides").key(text);
        let Some(parts) = key_parts(text, sources.len()) else {
            let expected = match sources.len() {
                1 => format!("a value of {names}"),
                n => format!("{n} parts joined by a comma, as the key has them: {names}"),
            };
            check.invalid_key(&path, &expected);
            continue;
        };
        let mut key = Vec::with_capacity(parts.len());
        for (part, source) in parts.iter().zip(&sources) {
            key.push(match (source, part.parse::<IpAddr>()) {
                (KeySource::ClientIp, Ok(ip)) => ip.to_canonical().to_string(),
                (KeySource::ClientIp, Err(_)) => {
                    check.invalid_key(&path, "an address as the value of client_ip");
                    break;
                }
                // Whatever stands there, it is the same for all.
                (KeySource::Constant, _) => String::new(),
                _ => (*part).to_owned(),
            });
        }
        if key.len() == sources.len()
            && let Some(first) = seen.insert(key, text)
        {
            check.error(&path, format!("the same key as {first}"));
        }
    }
}
