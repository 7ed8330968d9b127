//! Rules of `invalidates`, and of routes that store what nothing ends.

use super::{Check, keys};
use crate::config::invalidation::{files_under, takes_get, takes_unsafe};
use crate::config::key::KeySource;
use crate::config::path::Path;
use crate::config::pattern::PathPattern;
use crate::config::route::Route;
use crate::config::template::{PathTemplate, Template};
use crate::policy::cache::{Freshness, InvalidateSettings, Settings};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let places = check.routes.clone();
    for (route, place) in config.routes.iter().zip(&places) {
        let Some(section) = &route.invalidates else { continue };
        let path = place.key("invalidates");
        if section.tags.is_empty() && section.paths.is_empty() && section.routes.is_empty() {
            check.error(&path, "expected tags, paths or routes");
        }
        if !takes_unsafe(route) && !check.is_inherited(&path) && !check.is_lost(&place.key("match")) {
            let message = format!(
                "does nothing: every method of route {} is safe ({}), and those change nothing",
                route.name,
                check.whence(&place.key("match").key("methods")),
            );
            check.warn(&path, message);
        }
        tags(check, route, section, place);
        paths(check, route, section, place);
        routes(check, section, &path.key("routes"), &places);
    }
    for (route, place) in config.routes.iter().zip(&places) {
        if let Some(cache) = route.cache.as_ref().filter(|_| takes_get(route)) {
            unended(check, route, cache, place);
        }
    }
}

fn tags(check: &mut Check<'_>, route: &Route, section: &InvalidateSettings, place: &Path) {
    let config = check.config;
    for (index, text) in section.tags.iter().enumerate() {
        let path = place.key("invalidates").key("tags").index(index);
        let Some(tag) = template(check, route, place, &path, text) else { continue };
        let filed = config.routes.iter().any(|stored| files_under(&tag, stored));
        if !filed && !check.lacks_items(&Path::of("routes")) && !lost_tags(check) {
            check.warn(&path, "no route files its answers under such a tag (cache.tags): this ends nothing");
        }
    }
}

/// Whether what a route files its answers under could not be read.
fn lost_tags(check: &Check<'_>) -> bool {
    let places = check.routes.iter().chain([&Path::of("defaults")]).cloned().collect::<Vec<_>>();
    places.iter().any(|place| check.is_lost(&place.key("cache").key("tags")))
}

/// A template that is right; what is wrong with it is told.
pub(super) fn template(
    check: &mut Check<'_>,
    route: &Route,
    route_path: &Path,
    path: &Path,
    text: &str,
) -> Option<Template> {
    match text.parse::<Template>() {
        Ok(template) => {
            template.keys().for_each(|key| keys::part(check, route, route_path, path, key));
            Some(template)
        }
        Err(error) => {
            check.error(path, format!("{error}, found {}", check.found(path)));
            None
        }
    }
}

fn paths(check: &mut Check<'_>, route: &Route, section: &InvalidateSettings, place: &Path) {
    for (index, text) in section.paths.iter().enumerate() {
        let path = place.key("invalidates").key("paths").index(index);
        let pattern = match text.parse::<PathTemplate>() {
            Ok(pattern) => pattern,
            Err(error) => {
                check.error(&path, format!("{error}, found {}", check.found(&path)));
                continue;
            }
        };
        for key in pattern.keys() {
            keys::part(check, route, place, &path, key);
            if let KeySource::Path(param) = key
                && keys::is_rest(route, param)
            {
                let message = format!(
                    "{{path:{param}}} is the rest of a path and may hold several segments: expected a parameter of one"
                );
                check.error(&path, message);
            }
        }
    }
}

fn routes(check: &mut Check<'_>, section: &InvalidateSettings, path: &Path, places: &[Path]) {
    let config = check.config;
    for (index, name) in section.routes.iter().enumerate() {
        let path = path.index(index);
        let Some(at) = config.routes.iter().position(|route| route.name == *name) else {
            let stored = config.routes.iter().filter(|route| route.cache.is_some());
            let known: Vec<&str> = stored.map(|route| route.name.as_str()).collect();
            if !check.lacks_items(&Path::of("routes")) {
                check.unknown(&path, "route with a cache", name, &known);
            }
            continue;
        };
        let cache = places[at].key("cache");
        if config.routes[at].cache.is_none() && !check.is_lost(&cache) {
            let line = check.line(&places[at]);
            check.error(&path, format!("route {name} (line {line}) has no cache: there is nothing to end"));
        }
    }
}

/// A route that stores what requests of another change, and nobody says so. Who files under tags has thought of it.
fn unended(check: &mut Check<'_>, stored: &Route, cache: &Settings, place: &Path) {
    let config = check.config;
    let tagged = cache.tags.header.is_some() || !cache.tags.add.is_empty();
    if tagged || !config.ended_by(stored).is_empty() || !check.lost.is_empty() {
        return;
    }
    let Some((upstream, _)) = check.upstream_of(stored) else { return };
    // An unsafe request ends what is stored under its own URL: a route with the same path needs no word of it.
    let shape =
        |route: &Route| route.matches.path.as_ref().map(|p| p.parse::<PathPattern>().map_or(p.clone(), |p| p.shape()));
    let others = check.routes_to(upstream);
    let changes = others.iter().find(|(route, _)| takes_unsafe(route) && shape(route) != shape(stored));
    let Some((changes, there)) = changes else { return };
    let kept = match (cache.freshness, cache.ttl.filter(|ttl| !ttl.get().is_zero())) {
        (Freshness::Override, Some(ttl)) => format!("for {ttl}"),
        (_, Some(ttl)) => format!("for as long as the application says, else for {ttl}"),
        (_, None) => "for as long as the application says".to_owned(),
    };
    let message = format!(
        "GET {} is stored {kept} and no route invalidates it: a change by route {} (line {}) is not seen before; say so there, \
         invalidates: {{ routes: [{}] }}",
        stored.matches.path.as_deref().unwrap_or("of every path"),
        changes.name,
        check.line(there),
        stored.name,
    );
    check.warn(&place.key("cache"), message);
}
