//! Two routes that take the same requests: which one would win is nobody's intention.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::config::path::Path;
use crate::config::pattern::PathPattern;
use crate::config::route::Match;

/// Everything a request is matched by, in one form for all ways to write it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Dimensions {
    listener: Option<String>,
    host: Option<String>,
    path: Option<String>,
    methods: BTreeSet<String>,
    headers: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
}

pub(super) fn check(check: &mut Check<'_>, places: &[Path]) {
    let config = check.config;
    let mut seen = BTreeMap::new();
    for (route, place) in config.routes.iter().zip(places) {
        let place = place.key("match");
        if check.is_lost(&place) {
            continue;
        }
        let known = dimensions(&route.matches, config.listeners.len() == 1);
        match seen.get(&known) {
            None => drop(seen.insert(known, (&route.name, place))),
            Some((name, first)) => {
                let message = format!("the same requests as route {name} (line {})", check.line(first));
                check.error(&place, message);
            }
        }
    }
}

fn dimensions(m: &Match, one_listener: bool) -> Dimensions {
    let mut methods: BTreeSet<String> = m.methods.iter().cloned().collect();
    if methods.contains("GET") {
        methods.remove("HEAD");
    }
    Dimensions {
        listener: m.listener.clone().filter(|l| l != "any" && !one_listener),
        host: m.host.as_ref().map(|h| h.to_ascii_lowercase()),
        path: m.path.as_ref().map(|p| p.parse::<PathPattern>().map_or(p.clone(), |p| p.shape())),
        methods,
        headers: m.headers.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect(),
        query: m.query.clone(),
    }
}
