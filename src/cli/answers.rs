//! What becomes of a route's answers, in words: what is stored of them, what ends that, and how they are encoded.

use std::fmt::Write;

use http::{HeaderMap, Method, header};

use crate::config::{Config, PathPattern, Route};
use crate::policy::cache::{self, Freshness, Partition};
use crate::policy::compression::{self, Accepts, Coding};
use crate::policy::mode::Mode;

/// A request that is asked about.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
}

/// What is stored, for whom, for how long, and what ends it.
pub(super) fn stores(config: &Config, route: &Route, asked: Option<&Asked<'_>>) -> String {
    let Some(settings) = &route.cache else { return "off".to_owned() };
    if let Some(asked) = asked
        && !matches!(*asked.method, Method::GET | Method::HEAD)
    {
        return format!("nothing of {}: only GET and HEAD are looked up", asked.method);
    }
    let mut text = key(settings);
    let _ = write!(text, "; {}", fresh(settings));
    let again = settings.stale_while_revalidate.map(|time| format!("for {time} while fetched again"));
    let error = settings.stale_if_error.map(|time| format!("for {time} when that fails"));
    let stale: Vec<_> = again.into_iter().chain(error).collect();
    if !stale.is_empty() {
        let _ = write!(text, "; stale {}", stale.join(", "));
    }
    let errors: Vec<_> =
        settings.negative_ttl.iter().map(|(status, time)| format!("{} for {time}", status.get())).collect();
    if !errors.is_empty() {
        let _ = write!(text, "; {}", errors.join(", "));
    }
    let _ = write!(text, "; waits {} for the same fetch", settings.coalesce.wait);
    let tags: Vec<_> = settings
        .tags
        .add
        .iter()
        .cloned()
        .chain(settings.tags.header.as_ref().map(|h| format!("what {h} names")))
        .collect();
    if !tags.is_empty() {
        let _ = write!(text, "; filed under {}", tags.join(", "));
    }
    match config.ended_by(route).as_slice() {
        [] => text.push_str("; ended by no other route"),
        routes => {
            let _ = write!(text, "; ended by {}", routes.join(", "));
        }
    }
    if settings.mode == Mode::Observe {
        text.push_str("; only observes");
    }
    if let Some(credential) = asked.and_then(|asked| credential(config, asked.headers)) {
        let _ = match settings.partition {
            Partition::PerCredential => write!(text, "; this request: for others with the same {credential} only"),
            Partition::NeverStore => write!(text, "; this request: not stored, it has {credential}"),
            Partition::Standard => {
                write!(text, "; this request: has {credential}, stored where the application says it may be")
            }
        };
    }
    text
}

/// What tells one stored answer from another.
fn key(settings: &cache::Settings) -> String {
    let mut text = match settings.partition {
        Partition::PerCredential => "per credential".to_owned(),
        Partition::NeverStore => "without a credential only".to_owned(),
        Partition::Standard => "shared as RFC 9111 allows".to_owned(),
    };
    text.push_str(", by scheme, host, path and query");
    if !settings.sort_query {
        text.push_str(" in its order");
    }
    if !settings.ignore_query.is_empty() {
        let _ = write!(text, " without {}", settings.ignore_query.join(", "));
    }
    for part in &settings.vary_by {
        let _ = write!(text, " + {part}");
    }
    text
}

fn fresh(settings: &cache::Settings) -> String {
    match (settings.freshness, settings.ttl.filter(|ttl| !ttl.get().is_zero())) {
        (Freshness::Override, Some(ttl)) => format!("fresh for {ttl}"),
        (_, Some(ttl)) => format!("fresh as the application says, else {ttl} without a credential"),
        (_, None) => "fresh as the application says".to_owned(),
    }
}

/// The first header of a request that says who is asking.
fn credential<'c>(config: &'c Config, headers: &HeaderMap) -> Option<&'c str> {
    config.credentials.iter().map(String::as_str).find(|name| headers.contains_key(*name))
}

/// What a change ends.
pub(super) fn ends(settings: &cache::InvalidateSettings) -> String {
    let named = [("tags", &settings.tags), ("paths", &settings.paths), ("routes", &settings.routes)];
    let named = named.into_iter().filter(|(_, names)| !names.is_empty());
    let named: Vec<_> = named.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
    named.join("; ")
}

/// Into what answers are encoded and how hard, and why this one is not.
pub(super) fn encodes(route: &Route, asked: Option<&Asked<'_>>) -> String {
    let Some(settings) = &route.compression else { return "off".to_owned() };
    if let Some(why) = asked.and_then(|asked| skipped(settings, asked)) {
        return format!("not for this request: {why}");
    }
    let accepted = |coding: &&Coding| asked.is_none_or(|asked| accepts(asked.headers, **coding));
    let codings: Vec<_> = settings.encodings.iter().filter(accepted).collect();
    let codings: Vec<_> = codings.iter().map(|c| format!("{} {}", c.as_str(), settings.levels.get(**c))).collect();
    let mut text = format!("{}, from {} on", codings.join(", "), settings.min_size);
    let _ = match settings.types.len() {
        0..=3 => write!(text, ", of {}", settings.types.join(", ")),
        many => write!(text, ", of {many} media types"),
    };
    if settings.adaptive {
        text.push_str("; lower levels while the CPU is short");
    }
    if !settings.exclude_paths.is_empty() {
        let _ = write!(text, "; not {}", settings.exclude_paths.join(", "));
    }
    if settings.breach_guard {
        text.push_str("; not with cookies");
    }
    text
}

/// Why an answer to this request is sent as it is, as far as the request tells.
fn skipped(settings: &compression::Settings, asked: &Asked<'_>) -> Option<String> {
    let excludes = |text: &&String| text.parse().is_ok_and(|pattern: PathPattern| pattern.takes(asked.path));
    if *asked.method == Method::HEAD {
        Some("HEAD has no body".to_owned())
    } else if let Some(pattern) = settings.exclude_paths.iter().find(excludes) {
        Some(format!("exclude_paths has {pattern}"))
    } else if settings.breach_guard && asked.headers.contains_key(header::COOKIE) {
        Some("it has a Cookie (breach_guard)".to_owned())
    } else if !asked.headers.contains_key(header::ACCEPT_ENCODING) {
        Some("it has no Accept-Encoding".to_owned())
    } else if !settings.encodings.iter().any(|coding| accepts(asked.headers, *coding)) {
        let codings: Vec<_> = settings.encodings.iter().map(|coding| coding.as_str()).collect();
        Some(format!("its Accept-Encoding takes none of {}", codings.join(", ")))
    } else {
        None
    }
}

/// Whether a client that sends this gets a body in a coding, if that is the only one there is.
fn accepts(headers: &HeaderMap, coding: Coding) -> bool {
    Accepts::of(headers).choose(&[coding]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn config(route: &str) -> Config {
        let text = format!(
            "listeners: [{{ name: in, address: \"127.0.0.1:80\" }}]\nupstreams: {{ app: {{ endpoints: [\"127.0.0.1:3000\"] }} }}\n\
             routes:\n  - name: list\n    match: {{ path: /p, methods: [GET] }}\n    {route}\n  - name: pay\n    \
             match: {{ path: /p, methods: [POST] }}\n    \
             invalidates: {{ routes: [list], paths: [/p], tags: [\"p:{{header:x-m}}\"] }}\n"
        );
        load(&text, "f", &|_| None).unwrap_or_else(|e| panic!("{e}"))
    }

    fn asked(route: &str, method: &str, fields: &[(&'static str, &str)]) -> (String, String) {
        let config = config(&format!("cache: {{}}\n    {route}"));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let method = method.parse().unwrap();
        let asked = Asked { method: &method, path: "/p", headers: &headers };
        (stores(&config, &config.routes[0], Some(&asked)), encodes(&config.routes[0], Some(&asked)))
    }

    #[test]
    fn what_is_stored_for_whom_and_how_long() {
        let shown = |inside: &str| {
            let config = config(&format!("cache: {{ {inside} }}"));
            stores(&config, &config.routes[0], None)
        };
        assert_eq!(
            shown(""),
            "per credential, by scheme, host, path and query; fresh as the application says; waits 2s for the same fetch; \
             ended by pay"
        );
        assert_eq!(
            shown(
                "ttl: 2m, vary_by: [\"header:x-m\"], ignore_query: [\"utm_*\", _], stale_while_revalidate: 30s, \
                 stale_if_error: 1m, negative_ttl: { 404: 5s }, tags: { header: surrogate-key, add: [\"p:{header:x-m}\"] }, \
                 mode: observe"
            ),
            "per credential, by scheme, host, path and query without utm_*, _ + header:x-m; fresh as the application says, \
             else 2m without a credential; stale for 30s while fetched again, for 1m when that fails; 404 for 5s; waits 2s \
             for the same fetch; filed under p:{header:x-m}, what surrogate-key names; ended by pay; only observes"
        );
        let other = shown("freshness: override, ttl: 5m, partition: never_store, sort_query: false");
        assert!(
            other.starts_with("without a credential only, by scheme, host, path and query in its order; fresh for 5m;"),
            "{other}"
        );
        assert!(shown("partition: standard").starts_with("shared as RFC 9111 allows, by"));
        let config = config("cache: {}");
        assert_eq!(stores(&config, &config.routes[1], None), "off");
        let section = config.routes[1].invalidates.as_ref().unwrap();
        assert_eq!(ends(section), "tags p:{header:x-m}; paths /p; routes list");
    }

    #[test]
    fn what_a_request_means_for_the_cache() {
        assert_eq!(asked("", "POST", &[]).0, "nothing of POST: only GET and HEAD are looked up");
        let with = |partition: &str| {
            let config = config(&format!("cache: {{ partition: {partition} }}"));
            let headers = HeaderMap::from_iter([(header::COOKIE, "a=b".parse().unwrap())]);
            let asked = Asked { method: &Method::GET, path: "/p", headers: &headers };
            stores(&config, &config.routes[0], Some(&asked))
        };
        assert!(with("per_credential").ends_with("; this request: for others with the same cookie only"));
        assert!(with("never_store").ends_with("; this request: not stored, it has cookie"));
        assert!(with("standard").ends_with("; this request: has cookie, stored where the application says it may be"));
        assert!(asked("", "GET", &[("accept", "a")]).0.ends_with("; ended by pay"));
    }

    #[test]
    fn how_answers_are_encoded_and_why_one_is_not() {
        let all = [("accept-encoding", "gzip, br, zstd")];
        let config =
            config("cache: {}\n    compression: { types: [\"text/*\"], exclude_paths: [/health], adaptive: false }");
        assert_eq!(
            encodes(&config.routes[0], None),
            "zstd 3, br 4, gzip 6, from 1KiB on, of text/*; not /health; not with cookies"
        );
        assert_eq!(encodes(&config.routes[1], None).matches("lower levels while the CPU is short").count(), 1);
        assert!(asked("", "GET", &all).1.starts_with("zstd 3, br 4, gzip 6, from"));
        for (route, method, fields, expected) in [
            ("", "HEAD", &all[..], "not for this request: HEAD has no body"),
            ("", "GET", &[], "not for this request: it has no Accept-Encoding"),
            ("", "GET", &[all[0], ("cookie", "a=b")], "not for this request: it has a Cookie (breach_guard)"),
            (
                "compression: { exclude_paths: [\"/{*all}\"] }",
                "GET",
                &all,
                "not for this request: exclude_paths has /{*all}",
            ),
            (
                "compression: { encodings: [br, zstd] }",
                "GET",
                &[("accept-encoding", "gzip, br;q=0")],
                "not for this request: its Accept-Encoding takes none of br, zstd",
            ),
            ("compression: off", "GET", &all, "off"),
        ] {
            assert_eq!(asked(route, method, fields).1, expected);
        }
        for (accept, expected) in [
            ("gzip", "gzip 6, from"),
            ("br;q=0.5, *", "zstd 3, br 4, gzip 6, from"),
            ("*;q=0, GZIP; q=0.1", "gzip 6, from"),
        ] {
            let shown = asked("", "GET", &[("accept-encoding", accept)]).1;
            assert!(shown.starts_with(expected), "{accept}: {shown}");
        }
    }
}
