//! Tokens: whose they are, told by keys `jwt:CLAIM`. This is no authentication: who has no good token has no claims.
//!
//! A token is verified once. Its claims are then known by a keyed hash of 128 bits until it expires, or the keys change.

mod keys;
mod ring;

use std::hash::Hasher;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::config::{self, Config, Jwt, KeySource, Template};
use crate::policy::priority;
use keys::Keys;
pub use keys::KeysError;

/// So many tokens are known at most. One whose claims are long counts as several.
const KNOWN: u64 = 10_000;

/// A token whose claims, as far as keys use them, are no longer counts as one.
const LENGTH: u64 = 256;

/// More than any set of keys has.
const FILE: u64 = 1 << 20;

/// A section `jwt`: what the routes that have it know of tokens.
pub struct Verifier {
    settings: Jwt,
    /// The claims that keys use.
    names: Vec<String>,
    seed: [u64; 2],
    current: ArcSwap<Current>,
    /// The file as it was last read, good or bad; nothing where it could not be.
    seen: Mutex<Option<Vec<u8>>>,
}

/// The keys, and the tokens that they were good for.
struct Current {
    keys: Keys,
    known: Cache<u128, Arc<Claims>, Lengths>,
}

/// What a good token says, as far as keys use it.
pub struct Claims {
    /// By the position of their names.
    values: Box<[Option<Box<str>>]>,
    /// When it expires, in time since 1970.
    until: Duration,
}

#[derive(Clone)]
struct Lengths;

impl Weighter<u128, Arc<Claims>> for Lengths {
    fn weight(&self, _: &u128, claims: &Arc<Claims>) -> u64 {
        let bytes: usize = claims.values.iter().flatten().map(|value| value.len()).sum();
        (bytes as u64).div_ceil(LENGTH).max(1)
    }
}

/// Why a section `jwt` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// There are no keys.
    #[error("{file}: {cause}")]
    Keys {
        /// The file.
        file: String,
        /// What is wrong with it.
        cause: KeysError,
    },
    /// They cannot be read.
    #[error("{file}: {cause}")]
    File {
        /// The file.
        file: String,
        /// Why.
        cause: io::Error,
    },
}

/// The names of the claims that a route's keys use: those of its limits, of its priority, of its upstream's tenants, of its
/// cache, and of its idempotency keys.
fn used<'c>(route: &'c config::Route, config: &'c Config) -> impl Iterator<Item = String> + use<'c> {
    let only = config.upstreams.values().next().filter(|_| config.upstreams.len() == 1);
    let upstream = route.upstream.as_ref().map_or(only, |name| config.upstreams.get(name));
    let tenants = upstream.and_then(|u| u.queue.as_ref()).into_iter().flat_map(|queue| &queue.fair_by);
    let asked = match &route.priority {
        priority::Setting::Asked(asked) => Some(&asked.from),
        priority::Setting::Is(_) => None,
    };
    let owners = route.idempotency.iter().flat_map(|section| &section.owner);
    let vary_by = route.cache.iter().flat_map(|cache| &cache.vary_by);
    let parts = route.rate_limits.iter().flat_map(|limit| &limit.key).chain(tenants).chain(asked);
    let parts = parts.chain(owners).chain(vary_by).filter_map(|part| part.parse().ok());
    let tags = route.cache.iter().flat_map(|cache| &cache.tags.add);
    let tags = tags.chain(route.invalidates.iter().flat_map(|section| &section.tags));
    let tags = tags.filter_map(|tag| tag.parse::<Template>().ok());
    let in_tags = tags.flat_map(|tag| tag.keys().cloned().collect::<Vec<_>>());
    parts.chain(in_tags).filter_map(|part| match part {
        KeySource::Jwt(claim) => Some(claim),
        _ => None,
    })
}

/// One verifier for each section `jwt` that some key uses, for all routes that have the same. What did not change is taken
/// from `before`, with the keys that it has.
pub(super) fn compile(
    config: &Config,
    seed: [u64; 2],
    before: &[Arc<Verifier>],
) -> Result<Vec<Arc<Verifier>>, JwtError> {
    let mut sections: Vec<(&Jwt, Vec<String>)> = Vec::new();
    for route in &config.routes {
        let (Some(jwt), names) = (&route.jwt, used(route, config)) else { continue };
        let names: Vec<String> = names.collect();
        match sections.iter_mut().find(|(known, _)| *known == jwt) {
            _ if names.is_empty() => {}
            Some((_, known)) => known.extend(names),
            None => sections.push((jwt, names)),
        }
    }
    let compiled = sections.into_iter().map(|(jwt, mut names)| {
        names.sort_unstable();
        names.dedup();
        match before.iter().find(|b| b.settings == *jwt && b.names == names) {
            Some(known) => Ok(known.clone()),
            None => Verifier::new(jwt, names, seed).map(Arc::new),
        }
    });
    compiled.collect()
}

/// The verifier of a route; none where no key uses a claim.
pub(super) fn of(route: &config::Route, config: &Config, verifiers: &[Arc<Verifier>]) -> Option<Arc<Verifier>> {
    used(route, config).next()?;
    verifiers.iter().find(|v| Some(&v.settings) == route.jwt.as_ref()).cloned()
}

impl Verifier {
    fn new(settings: &Jwt, names: Vec<String>, seed: [u64; 2]) -> Result<Self, JwtError> {
        let file = || settings.jwks_file.display().to_string();
        let bytes = read(settings).map_err(|cause| JwtError::File { file: file(), cause })?;
        let keys = Keys::parse(&bytes).map_err(|cause| JwtError::Keys { file: file(), cause })?;
        let current = ArcSwap::from_pointee(Current::new(keys));
        Ok(Verifier { settings: settings.clone(), names, seed, current, seen: Mutex::new(Some(bytes)) })
    }

    /// The claims of a request's token. `now` is the time since 1970.
    pub fn claims(&self, headers: &HeaderMap, now: Duration) -> Option<Arc<Claims>> {
        let token = bearer(headers)?;
        let mut hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        hasher.write(token);
        let hash = hasher.finish128().as_u128();
        let current = self.current.load();
        if let Some(claims) = current.known.get(&hash).filter(|claims| now < claims.until) {
            return Some(claims);
        }
        let verified = current.keys.verify(token, &self.settings, now)?;
        let values = self.names.iter().map(|name| verified.claims.get(name).and_then(text)).collect();
        let claims = Arc::new(Claims { values, until: verified.expires });
        current.known.insert(hash, claims.clone());
        Some(claims)
    }

    /// One of the claims, as text.
    pub fn value<'c>(&self, claims: &'c Claims, name: &str) -> Option<&'c str> {
        let at = self.names.iter().position(|known| known == name)?;
        claims.values.get(at)?.as_deref()
    }

    /// Reads the file again if its content changed. A bad one changes nothing, and is told once.
    pub fn refresh(&self) {
        let read = read(&self.settings);
        let content = read.as_ref().ok();
        let mut seen = self.seen.lock();
        if seen.as_ref() == content {
            return;
        }
        let file = self.settings.jwks_file.display().to_string();
        let parsed = match &read {
            Ok(bytes) => Keys::parse(bytes).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        *seen = read.ok();
        match parsed {
            Ok(keys) => {
                tracing::info!(event = "jwt_keys_loaded", file, keys = keys.len());
                self.current.store(Arc::new(Current::new(keys)));
            }
            Err(cause) => tracing::warn!(event = "jwt_keys_refused", file, cause),
        }
    }
}

impl Current {
    fn new(keys: Keys) -> Self {
        Current { keys, known: Cache::with_weighter(KNOWN as usize, KNOWN, Lengths) }
    }
}

fn read(settings: &Jwt) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(&settings.jwks_file)?.take(FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The token of `Authorization: Bearer`. Two of these fields are none: which one the application reads is not known.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let field = field.as_bytes();
    let (scheme, token) = field.split_at_checked(memchr::memchr(b' ', field)?)?;
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

/// A claim as a key has it: a string, a number or a truth value. Nothing else can be told apart by its text.
fn text(claim: &Value) -> Option<Box<str>> {
    match claim {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
#[path = "../../../tests/common/jwt.rs"]
mod sign;
#[cfg(test)]
mod tests;
