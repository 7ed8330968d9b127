//! The sections `cache` and `invalidates` of a route, compiled.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use super::key::{self, Source};
use super::template;
use crate::config::template::{PathTemplate, Template};
use crate::config::{Config, KeySource, PathPattern};
use crate::policy::cache::key::Query;
use crate::policy::cache::{Freshness, InvalidateSettings, Partition, Rules, Settings};
use crate::policy::mode::Mode;

/// What a route caches, and how.
pub struct Caching {
    /// How long, and for whom.
    pub rules: Rules,
    /// Longer bodies are not stored.
    pub max_object: usize,
    /// How queries count.
    pub query: Query,
    /// How long a request waits for another one's fetch.
    pub wait: Duration,
    /// Whether stored answers are served.
    pub mode: Mode,
    /// Paths that are fetched at start.
    pub warm: Vec<String>,
    vary_by: Vec<KeySource>,
    tags: Vec<Template>,
    tags_header: Option<HeaderName>,
    credentials: Vec<HeaderName>,
}

impl Caching {
    /// Compiles a section that passed its checks.
    pub fn compile(settings: &Settings, config: &Config) -> Self {
        let time = |time: Option<crate::units::Duration>| time.map_or(Duration::ZERO, |time| time.get());
        let negative = settings.negative_ttl.iter().map(|(status, ttl)| (status.get(), ttl.get()));
        Caching {
            rules: Rules {
                replace: settings.freshness == Freshness::Override,
                ttl: time(settings.ttl),
                stale_while_revalidate: time(settings.stale_while_revalidate),
                stale_if_error: time(settings.stale_if_error),
                negative_ttl: negative.collect(),
                partition: settings.partition,
            },
            max_object: settings.max_object.as_usize(),
            query: Query::new(&settings.ignore_query, settings.sort_query),
            wait: settings.coalesce.wait.get(),
            mode: settings.mode,
            warm: settings.warm.clone(),
            vary_by: settings.vary_by.iter().filter_map(|part| part.parse().ok()).collect(),
            tags: settings.tags.add.iter().filter_map(|tag| tag.parse().ok()).collect(),
            tags_header: settings.tags.header.as_ref().and_then(|name| name.parse().ok()),
            credentials: credentials(config),
        }
    }

    /// Whether a request says who is asking.
    pub fn has_credential(&self, headers: &HeaderMap) -> bool {
        self.credentials.iter().any(|name| headers.contains_key(name))
    }

    /// A hash of who is asking, keyed with a secret of this process, of a request that says so; none where answers to all of
    /// them are the same.
    pub fn credential(&self, headers: &HeaderMap, secret: [u64; 2]) -> Option<[u8; 16]> {
        if self.rules.partition != Partition::PerCredential {
            return None;
        }
        let mut hasher = SipHasher13::new_with_keys(secret[0], secret[1]);
        for name in &self.credentials {
            for value in headers.get_all(name) {
                hasher.write_usize(value.len());
                hasher.write(value.as_bytes());
            }
            hasher.write_u8(0xff);
        }
        Some(hasher.finish128().as_bytes())
    }

    /// What `vary_by` names, in its order.
    pub fn vary_by(&self, source: &Source<'_>) -> Vec<Option<Vec<u8>>> {
        self.vary_by.iter().map(|part| part_of_key(part, source)).collect()
    }

    /// The tags of an answer by its request; none where the request lacks a part of one: nobody could name the answer.
    pub fn tags(&self, source: &Source<'_>) -> Option<Vec<Vec<u8>>> {
        self.tags.iter().map(|tag| template::render(tag, source)).collect()
    }

    /// Whether answers are filed under tags at all.
    pub fn has_tags(&self) -> bool {
        self.tags_header.is_some() || !self.tags.is_empty()
    }

    /// The tags that an answer itself names.
    pub fn named_tags<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
        let lines = self.tags_header.as_ref().map(|name| headers.get_all(name)).into_iter().flatten();
        let tags = lines.flat_map(|line| line.as_bytes().split(|b| matches!(b, b' ' | b',' | b'\t')));
        tags.filter(|tag| !tag.is_empty())
    }
}

/// The fields that say who is asking. Authorization is one of them whatever the configuration lists: HTTP says so.
fn credentials(config: &Config) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = config.credentials.iter().filter_map(|name| name.parse().ok()).collect();
    if !names.contains(&http::header::AUTHORIZATION) {
        names.push(http::header::AUTHORIZATION);
    }
    names
}

/// A part of a request as it stands in the key, with every line and every value that it has there.
fn part_of_key(part: &KeySource, source: &Source<'_>) -> Option<Vec<u8>> {
    match part {
        KeySource::Header(name) => {
            let mut lines = source.headers.get_all(name).iter();
            let mut value = lines.next()?.as_bytes().to_vec();
            for line in lines {
                value.push(b'\n');
                value.extend_from_slice(line.as_bytes());
            }
            Some(value)
        }
        KeySource::ClientIp => source.client.map(|ip| key::octets(ip).to_vec()),
        KeySource::Constant => None,
        // Cookies stand in the key by their credential, or by all their lines.
        KeySource::Cookie(_) => {
            let lines: Vec<&[u8]> =
                source.headers.get_all(http::header::COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
            source.text(part)?;
            Some(lines.join(&b'\n'))
        }
        _ => source.text(part).map(|text| text.as_bytes().to_vec()),
    }
}

/// What the requests of a route that change something end.
pub struct Invalidates {
    /// Names of tags.
    pub tags: Vec<Template>,
    /// Paths.
    pub paths: Vec<Paths>,
    /// Whole routes.
    pub routes: Vec<String>,
}

/// Paths whose answers end.
pub struct Paths {
    template: PathTemplate,
    /// What stands for it where more than one path is meant.
    pub pattern: Pattern,
}

/// A pattern of paths, with the name under which answers are filed.
#[derive(Clone)]
pub struct Pattern {
    /// Its name: two patterns that are spelled alike are one.
    pub name: String,
    pattern: PathPattern,
}

impl Invalidates {
    /// Compiles a section that passed its checks.
    pub fn compile(settings: &InvalidateSettings) -> Self {
        let paths = settings.paths.iter().filter_map(|path| path.parse::<PathTemplate>().ok());
        Invalidates {
            tags: settings.tags.iter().filter_map(|tag| tag.parse().ok()).collect(),
            paths: paths
                .map(|template| {
                    let pattern = template.pattern();
                    Paths { pattern: Pattern { name: template.to_string(), pattern }, template }
                })
                .collect(),
            routes: settings.routes.clone(),
        }
    }
}

impl Paths {
    /// The one path that a request means, unescaped; none where it means all of the pattern.
    pub fn one(&self, source: &Source<'_>) -> Option<Vec<u8>> {
        template::path(&self.template, source)
    }
}

impl Pattern {
    /// Whether an unescaped path is one of these.
    pub fn takes(&self, path: &str) -> bool {
        self.pattern.takes(path)
    }
}

/// A path as answers are filed under it: unescaped, since applications take two ways to write a path for one.
pub fn plain_path(path: &str) -> Vec<u8> {
    percent_decode_str(path).collect()
}
