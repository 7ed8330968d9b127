//! What a request is filed under: its key, and the names by which changes end its answer.

use http::{HeaderMap, HeaderName, header};

use super::Cache;
use super::fetch::Filed;
use crate::policy::cache::key::{self, Parts};
use crate::policy::cache::vary::Names;
use crate::proxy::context::Context;
use crate::proxy::state::State;
use crate::route::caching::{Caching, plain_path};
use crate::route::table::{Route, Table};
use crate::store::generations::{Generations, Kind, Slot};

/// What a request is found by.
pub(super) struct Filing {
    /// The primary key.
    pub(super) key: Vec<u8>,
    /// Where in it the name of the URL stands.
    url: std::ops::Range<usize>,
    place: std::ops::Range<usize>,
    /// It says who is asking.
    pub(super) credential: bool,
}

/// Fields by which some applications are told another method or another target than the one that is asked for. A request
/// with one of them is no part of the cache: nobody else would get an answer to what it asks.
const OTHER_TARGET: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];

/// Fields in which a trusted proxy tells the address that the client used.
const ADDRESS: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
];

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether a request might ask for something else than its target says.
pub(super) fn is_disguised(headers: &HeaderMap) -> bool {
    // One pass over the few names that came is cheaper than a look-up of each of ours.
    headers.keys().any(|name| name.as_str().starts_with("x-") && OTHER_TARGET.contains(&name.as_str()))
}

impl Filing {
    /// Files a request.
    pub(super) fn of(cx: &Context, route: &Route, caching: &Caching, headers: &HeaderMap, secret: [u64; 2]) -> Filing {
        let has_credential = caching.has_credential(headers);
        let credential = if has_credential { caching.credential(headers, secret) } else { None };
        let mut vary_by = cx.with_source(route, headers, |source| caching.vary_by(source));
        // What a trusted proxy says of the address that the client used stands in many an answer.
        if headers.keys().any(|name| name.as_str().starts_with("x-forwarded-")) {
            for (index, name) in ADDRESS.iter().enumerate() {
                if let Some(value) = headers.get(name) {
                    vary_by.push(Some([&[index as u8], value.as_bytes()].concat()));
                }
            }
        }
        let vary_by: Vec<Option<&[u8]>> = vary_by.iter().map(Option::as_deref).collect();
        let mut key = Vec::with_capacity(128);
        let written = key::write(
            &Parts {
                route: &route.name,
                secure: is_secure(cx, headers),
                host: host(cx),
                path: cx.uri.path(),
                query: cx.uri.query(),
                vary_by: &vary_by,
                credential: credential.as_ref(),
            },
            &caching.query,
            &mut key,
        );
        Filing { key, url: written.url, place: written.place, credential: has_credential }
    }

    /// What a fetch is filed under, from now on. `false`: the request lacks a part of a tag.
    pub(super) fn file(
        &self,
        cx: &Context,
        route: &Route,
        caching: &Caching,
        headers: &HeaderMap,
        cache: &Cache,
    ) -> (Filed, bool) {
        let generations = cache.memory.generations();
        // Before anything else: what is raised from now on is seen.
        let at = generations.now();
        let path = plain_path(cx.uri.path());
        let mut slots = vec![
            generations.slot(Kind::Route, route.name.as_bytes()),
            generations.slot(Kind::Url, &self.key[self.url.clone()]),
            generations.slot(Kind::Path, &path),
        ];
        let text = String::from_utf8_lossy(&path);
        let patterns = cx.state.table.patterns.iter().filter(|pattern| pattern.takes(&text));
        slots.extend(patterns.map(|pattern| generations.slot(Kind::Pattern, pattern.name.as_bytes())));
        let tags = cx.with_source(route, headers, |source| caching.tags(source));
        let tagged = tags.is_some();
        slots.extend(tags.into_iter().flatten().map(|tag| generations.slot(Kind::Tag, &tag)));
        (Filed { at, slots, place: self.key[self.place.clone()].into(), within: self.place.clone() }, tagged)
    }
}

fn host(cx: &Context) -> &str {
    cx.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("")
}

/// Whether the client came over TLS, as far as the application is told.
fn is_secure(cx: &Context, headers: &HeaderMap) -> bool {
    match headers.get(FORWARDED_PROTO) {
        Some(proto) => proto.as_bytes().trim_ascii().eq_ignore_ascii_case(b"https"),
        None => cx.listener.tls,
    }
}

/// The fields by which a route's answers are told apart. Where the route encodes them itself, the application is asked for
/// answers that are not encoded.
pub(super) fn selecting(route: &Route, names: Names) -> Names {
    if route.compression.is_some() { names.without(&header::ACCEPT_ENCODING) } else { names }
}

/// The slots of a URL on every route that may have stored it: a change, or a purge, does not know which.
pub(super) fn of_url(
    generations: &Generations,
    table: &Table,
    secure: bool,
    host: &str,
    path_and_query: &str,
) -> Vec<Slot> {
    let (path, query) = path_and_query.split_once('?').map_or((path_and_query, None), |(p, q)| (p, Some(q)));
    let caching = table.routes.iter().filter_map(|route| Some((route, route.caching.as_ref()?)));
    let mut key = Vec::new();
    let slots = caching.map(|(route, caching)| {
        key.clear();
        let parts = Parts { route: &route.name, secure, host, path, query, vary_by: &[], credential: None };
        let url = key::write(&parts, &caching.query, &mut key).url;
        generations.slot(Kind::Url, &key[url])
    });
    slots.collect()
}

/// The URL that a request was for, as changes end it.
pub(super) fn own_url(cx: &Context, state: &State, headers: &HeaderMap, generations: &Generations) -> Vec<Slot> {
    let target = cx.uri.path_and_query().map_or("/", |target| target.as_str());
    of_url(generations, &state.table, is_secure(cx, headers), host(cx), target)
}

/// The target of a request, for what its answer says of other URLs.
pub(super) fn target<'a>(cx: &'a Context, headers: &HeaderMap) -> crate::policy::cache::invalidate::Target<'a> {
    crate::policy::cache::invalidate::Target {
        secure: is_secure(cx, headers),
        host: host(cx),
        path_and_query: cx.uri.path_and_query().map_or("/", |target| target.as_str()),
    }
}
