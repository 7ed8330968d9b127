//! Parts of a request, wherever a route takes a key from them.

use super::Check;
use crate::config::key::KeySource;
use crate::config::path::Path;
use crate::config::pattern::{PathPattern, Segment};
use crate::config::route::Route;

/// A list of parts at `path` of a route at `route_path`; none in the place of one that is wrong.
pub(super) fn parts(
    check: &mut Check<'_>,
    route: &Route,
    route_path: &Path,
    path: &Path,
    texts: &[String],
) -> Vec<Option<KeySource>> {
    let mut sources: Vec<Option<KeySource>> = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let path = path.index(at);
        let source = text.parse::<KeySource>();
        match &source {
            Err(error) => check.error(&path, format!("{error}, found {}", check.found(&path))),
            Ok(source) if sources.contains(&Some(source.clone())) => check.error(&path, "the same part twice"),
            Ok(source) => part(check, route, route_path, &path, source),
        }
        sources.push(source.ok());
    }
    sources
}

/// One part: a parameter or a claim that the route does not have is missing in every request.
pub(super) fn part(check: &mut Check<'_>, route: &Route, route_path: &Path, path: &Path, source: &KeySource) {
    match source {
        KeySource::Path(param) => parameter(check, route, route_path, path, param),
        KeySource::Jwt(_) if route.jwt.is_none() && !check.is_lost(&route_path.key("jwt")) => {
            let place = route_path.key("jwt");
            let message = format!(
                "requires {place}, which route {} does not have: a claim is believed of a verified token only",
                route.name
            );
            check.error(path, message);
        }
        _ => {}
    }
}

fn parameter(check: &mut Check<'_>, route: &Route, route_path: &Path, path: &Path, param: &str) {
    let pattern = route_path.key("match").key("path");
    let has = match route.matches.path.as_ref().map(|p| p.parse::<PathPattern>()) {
        // It has an error of its own.
        Some(Err(_)) => true,
        Some(Ok(pattern)) => pattern.params().any(|name| name == param),
        None => false,
    };
    if !has && !check.is_lost(&pattern) {
        let message = match &route.matches.path {
            Some(text) => format!("no such parameter in {pattern} (line {}): {text}", check.line(&pattern)),
            None => format!("no such parameter: route {} has no {pattern}", route.name),
        };
        check.error(path, message);
    }
}

/// Whether a parameter of a route's path may hold several segments.
pub(super) fn is_rest(route: &Route, param: &str) -> bool {
    let pattern = route.matches.path.as_ref().and_then(|path| path.parse::<PathPattern>().ok());
    let last = pattern.as_ref().and_then(|pattern| pattern.segments.last());
    matches!(last, Some(Segment::Rest(name)) if name == param)
}
