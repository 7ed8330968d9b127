//! Which routes' requests end what another route has stored.

use super::pattern::PathPattern;
use super::route::Route;
use super::template::{PathTemplate, Template};
use crate::policy::cache::InvalidateSettings;

/// Whether what a route stores can be ended by this section of another. What cannot be parsed ends nothing.
pub(crate) fn reaches(invalidates: &InvalidateSettings, stored: &Route) -> bool {
    invalidates.routes.contains(&stored.name)
        || invalidates.paths.iter().any(|path| path.parse().is_ok_and(|path| paths_meet(&path, stored)))
        || invalidates.tags.iter().any(|tag| tag.parse().is_ok_and(|tag| files_under(&tag, stored)))
}

/// Whether a route can have stored something under these paths.
fn paths_meet(path: &PathTemplate, stored: &Route) -> bool {
    let own = stored.matches.path.as_ref().map(|own| own.parse::<PathPattern>());
    stored.cache.is_some() && own.is_none_or(|own| own.is_ok_and(|own| own.meets(&path.pattern())))
}

/// Whether a route may file answers under such a tag. What the application names in its header is not known.
pub(crate) fn files_under(tag: &Template, stored: &Route) -> bool {
    let Some(cache) = &stored.cache else { return false };
    let own = cache.tags.add.iter().filter_map(|own| own.parse::<Template>().ok());
    cache.tags.header.is_some() || own.into_iter().any(|own| own.meets(tag))
}

/// Whether a route takes requests that change something.
pub(crate) fn takes_unsafe(route: &Route) -> bool {
    let methods = &route.matches.methods;
    methods.is_empty() || methods.iter().any(|m| m.parse().is_ok_and(|m: http::Method| !m.is_safe()))
}

/// Whether a route takes GET, the only method whose answers are stored.
pub(crate) fn takes_get(route: &Route) -> bool {
    let methods = &route.matches.methods;
    methods.is_empty() || methods.iter().any(|m| m == "GET")
}

impl super::Config {
    /// The names of the routes whose requests end what this one has stored, as far as the file tells.
    pub fn ended_by(&self, stored: &Route) -> Vec<&str> {
        let ends = |route: &&Route| {
            takes_unsafe(route) && route.invalidates.as_ref().is_some_and(|section| reaches(section, stored))
        };
        self.routes.iter().filter(ends).map(|route| route.name.as_str()).collect()
    }
}
