//! The compiled routes: one field a policy, ready for the hot path.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::caching::{Caching, Invalidates, Pattern};
use super::compression::Compression;
use super::jwt::{self, JwtError, Verifier};
use super::key::Key;
use super::keyed::Keyed;
use super::limits::{self, RateLimit};
use super::matcher::{Matcher, Rule};
use super::urgency::Urgency;
use crate::config::{self, Config};
use crate::observe::metrics::{Metrics, RouteCache, RouteMetrics};
use crate::policy::mode::Mode;
use crate::policy::queue::Cap;
use crate::policy::retry::{self, NonIdempotent};
use crate::policy::switch::{Policy, Switches};
use crate::policy::timeout::OnClientClose;
use crate::policy::{breaker, fault, rate_limit};
use crate::upstream::breaker::Breaker;
use crate::upstream::{Upstream, UpstreamError};

/// Every route, and the upstreams they lead to.
pub struct Table {
    /// Finds the route of a request.
    pub matcher: Matcher,
    /// The routes, at the positions the matcher answers.
    pub routes: Vec<Arc<Route>>,
    /// The upstreams by name.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// What all rate limits of the process have counted. A reload keeps it.
    pub counts: Arc<rate_limit::Table>,
    /// Who knows whose a token is.
    pub verifiers: Vec<Arc<Verifier>>,
    /// The patterns of paths by which changes end stored answers.
    pub patterns: Vec<Pattern>,
    /// Some route caches.
    pub caches: bool,
    /// Keeps the hashes of tokens and of keys secret.
    seeds: limits::Seeds,
}

/// One route, compiled.
pub struct Route {
    /// The name in metrics and log lines.
    pub name: String,
    /// Its number: its position in the table and in the matcher.
    pub index: usize,
    /// Where it leads.
    pub upstream: Arc<Upstream>,
    /// How long each part may take.
    pub timeouts: Timeouts,
    /// The answer may go on for ever.
    pub stream: bool,
    /// Header changes on the way to the upstream.
    pub request_headers: Changes,
    /// Header changes on the way to the client.
    pub response_headers: Changes,
    /// How the path changes.
    pub rewrite: Option<config::Rewrite>,
    /// The most bytes of a body.
    pub max_body: u64,
    /// %2f and %5c may stand in a path.
    pub allow_encoded_slash: bool,
    /// The key of consistent_hash.
    pub hash_on: Option<Key>,
    /// How urgent its requests are.
    pub urgency: Urgency,
    /// Tenants: they take turns in the upstream's queue.
    pub fair_by: Option<Key>,
    max_concurrent: Option<u32>,
    cap: OnceLock<Cap>,
    /// How many requests a key may make.
    pub limits: Vec<RateLimit>,
    /// Knows whose a request's token is; only where a key asks for it.
    pub jwt: Option<Arc<Verifier>>,
    /// Its own breaker, beside the upstream's.
    pub breaker: Option<Arc<Breaker>>,
    /// Which attempts are tried again.
    pub retry: Option<retry::Settings>,
    /// Faults on purpose.
    pub fault: Option<fault::Settings>,
    /// What it caches.
    pub caching: Option<Caching>,
    /// What it counts of that.
    pub cached: Arc<RouteCache>,
    /// What its requests end of what is stored.
    pub invalidates: Option<Invalidates>,
    /// How it keeps idempotency keys.
    pub keyed: Option<Keyed>,
    /// Which of its answers are encoded.
    pub compression: Option<Compression>,
    /// What an operator switched at run time.
    pub switches: Arc<Switches>,
    /// A body of at most this length is read before a connection is taken.
    pub whole: u64,
    /// What it counts into.
    pub metrics: Arc<RouteMetrics>,
}

/// A body of known length up to this is read before a connection is taken, whatever the route says.
pub const WHOLE: u64 = 64 << 10;

/// The section `timeouts`, in the types of the hot path.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Timeouts {
    pub connect: Duration,
    pub first_byte: Duration,
    pub idle: Duration,
    pub total: Duration,
    pub stream_max: Duration,
    pub on_client_close: OnClientClose,
}

/// Header changes, parsed.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Changes {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl Changes {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Whether a header that came is replaced or taken away.
    pub fn drops(&self, name: &HeaderName) -> bool {
        self.remove.contains(name) || self.set.iter().any(|(n, _)| n == name)
    }
}

/// Why a configuration that passed every check cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A certificate or an endpoint.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The matcher refuses the routes.
    #[error("routes: {0}")]
    Routes(String),
    /// A limit that is none.
    #[error("routes.{route}.rate_limits.{name}: expected a key, and overrides with as many parts")]
    Limit {
        /// In which route.
        route: String,
        /// Which.
        name: String,
    },
    /// The keys of tokens.
    #[error("jwks_file: {0}")]
    Jwt(#[from] JwtError),
    /// The system gives no random numbers.
    #[error("cannot draw a random number: {0}")]
    Random(#[from] getrandom::Error),
    /// A header that is none.
    #[error("routes.{route}.headers: {name}: expected a header name and value")]
    Header {
        /// In which route.
        route: String,
        /// Which.
        name: String,
    },
}

impl Table {
    /// Compiles a configuration. An upstream whose section did not change is taken from `before`, with its connections.
    ///
    /// # Errors
    /// When a file that it names cannot be read.
    pub fn compile(config: &Config, metrics: &Metrics, before: Option<&Table>) -> Result<Self, CompileError> {
        let mut upstreams = BTreeMap::new();
        for (name, settings) in &config.upstreams {
            let known = before.and_then(|t| t.upstreams.get(name)).filter(|u| u.settings == *settings);
            let upstream = match known {
                Some(known) => known.clone(),
                None => {
                    let replaced = before.and_then(|t| t.upstreams.get(name)).map(AsRef::as_ref);
                    Arc::new(Upstream::new(name, settings, metrics, replaced)?)
                }
            };
            upstreams.insert(name.clone(), upstream);
        }
        let seeds = match before {
            Some(before) => before.seeds,
            None => limits::Seeds::draw()?,
        };
        let counts = before.map(|t| t.counts.clone());
        let counts = counts.unwrap_or_else(|| Arc::new(rate_limit::Table::new(seeds.keys)));
        let verifiers = jwt::compile(config, seeds.tokens, before.map_or(&[], |t| &t.verifiers))?;
        let mut routes = Vec::with_capacity(config.routes.len());
        for (index, route) in config.routes.iter().enumerate() {
            let known = before.and_then(|t| t.routes.iter().find(|r| r.name == route.name));
            let mut compiled = Route::compile(index, route, config, &upstreams, metrics, known.map(AsRef::as_ref))?;
            compiled.limits = limits::compile(route, &counts, &compiled.metrics)?;
            compiled.jwt = jwt::of(route, config, &verifiers);
            routes.push(Arc::new(compiled));
        }
        let rules: Vec<Rule> = config.routes.iter().map(|r| rule(r, config)).collect();
        let matcher = Matcher::new(&rules).map_err(|errors| {
            CompileError::Routes(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let mut patterns: Vec<Pattern> = Vec::new();
        let paths = routes.iter().filter_map(|route| route.invalidates.as_ref()).flat_map(|i| &i.paths);
        for path in paths {
            if patterns.iter().all(|known| known.name != path.pattern.name) {
                patterns.push(path.pattern.clone());
            }
        }
        let caches = routes.iter().any(|route| route.caching.is_some());
        Ok(Table { matcher, routes, upstreams, counts, verifiers, patterns, caches, seeds })
    }

    /// Takes over what lives longer than a table: the queues and the caps in them. To be called once requests go by this
    /// table; before that the former one holds.
    pub fn apply(&self) {
        self.upstreams.values().for_each(|upstream| upstream.apply_queue());
        for route in &self.routes {
            route.cap.get_or_init(|| route.upstream.cap(&route.name, route.max_concurrent));
        }
    }
}

/// What the matcher is given of a route.
pub fn rule(route: &config::Route, config: &Config) -> Rule {
    let m = &route.matches;
    let named = m.listener.as_ref().filter(|l| *l != "any");
    // A listener that needs a restart to be there matches nothing until then; it must not match everything. Each such
    // route has a number of its own, past the last.
    let absent = || config.listeners.len() + config.routes.iter().position(|r| r.name == route.name).unwrap_or(0);
    Rule {
        name: route.name.clone(),
        listener: named.map(|name| config.listeners.iter().position(|l| l.name == *name).unwrap_or_else(absent)),
        host: m.host.clone(),
        path: m.path.clone(),
        methods: m.methods.clone(),
        headers: m.headers.clone().into_iter().collect(),
        query: m.query.clone().into_iter().collect(),
    }
}

impl Route {
    /// Compiles a route. What it knows is taken from the one of the same name `before`.
    fn compile(
        index: usize,
        route: &config::Route,
        config: &Config,
        upstreams: &BTreeMap<String, Arc<Upstream>>,
        metrics: &Metrics,
        before: Option<&Route>,
    ) -> Result<Self, CompileError> {
        let only = || upstreams.values().next().filter(|_| upstreams.len() == 1);
        let named = route.upstream.as_ref().and_then(|name| upstreams.get(name));
        let upstream = match &route.upstream {
            Some(_) => named,
            None => only(),
        };
        let upstream = upstream.ok_or_else(|| CompileError::Routes(format!("{}: no such upstream", route.name)))?;
        let t = &route.timeouts;
        let scope = || metrics.breaker(&format!("route:{}", route.name));
        let breaker = route.circuit_breaker.as_ref();
        let breaker = Breaker::compile(breaker, before.and_then(|b| b.breaker.as_ref()), scope, None);
        // Only what may be sent twice is worth holding for it.
        let resent = route.retry.as_ref().filter(|r| r.non_idempotent == NonIdempotent::UpstreamDeduplicates);
        Ok(Route {
            name: route.name.clone(),
            index,
            urgency: Urgency::compile(&route.priority),
            fair_by: upstream.settings.queue.as_ref().and_then(|queue| Key::parse_all(&queue.fair_by)),
            max_concurrent: route.max_concurrent,
            cap: OnceLock::new(),
            limits: Vec::new(),
            jwt: None,
            breaker,
            fault: route.fault.clone(),
            caching: route.cache.as_ref().map(|settings| Caching::compile(settings, config)),
            cached: metrics.route_cache(&route.name),
            invalidates: route.invalidates.as_ref().map(Invalidates::compile),
            keyed: route.idempotency.as_ref().and_then(|settings| {
                let total = t.total.get();
                let names = (route.name.as_str(), upstream.name.as_str());
                Keyed::compile(settings, config, names, total, metrics.route_keys(&route.name))
            }),
            compression: route.compression.as_ref().map(Compression::compile),
            switches: before.map(|b| b.switches.clone()).unwrap_or_default(),
            whole: resent.map_or(WHOLE, |r| r.max_body.bytes().max(WHOLE)),
            retry: route.retry.clone(),
            upstream: upstream.clone(),
            timeouts: Timeouts {
                connect: t.connect.get(),
                first_byte: t.first_byte.get(),
                idle: t.idle.get(),
                total: t.total.get(),
                stream_max: t.stream_max.get(),
                on_client_close: t.on_client_close,
            },
            stream: route.stream,
            request_headers: changes(&route.name, &route.headers.request)?,
            response_headers: changes(&route.name, &route.headers.response)?,
            rewrite: route.rewrite.clone(),
            max_body: route.max_request_body.unwrap_or(config.limits.max_request_body).bytes(),
            allow_encoded_slash: route.allow_encoded_slash,
            hash_on: Key::parse_all(&upstream.settings.hash_on),
            metrics: metrics.route(&route.name),
        })
    }

    /// Its cap inside the upstream's queue.
    pub fn cap(&self) -> Cap {
        self.cap.get().copied().unwrap_or(Cap::NONE)
    }

    /// The mode that a policy is configured in; none where the route does not have it. Of several limits or breakers one that
    /// enforces decides.
    pub fn configured(&self, policy: Policy) -> Option<Mode> {
        let mut breakers = [&self.breaker, &self.upstream.breaker].into_iter().flatten().peekable();
        let enforces = match policy {
            Policy::RateLimits => {
                self.limits.first()?;
                self.limits.iter().any(|limit| limit.mode == Mode::Enforce)
            }
            Policy::Queue => return self.upstream.queue_mode(self.cap()),
            Policy::CircuitBreaker => {
                breakers.peek()?;
                breakers.any(|b| b.settings.mode != breaker::Mode::Observe)
            }
            Policy::Retry => return self.retry.as_ref().map(|_| Mode::Enforce),
            Policy::Fault => return self.fault.as_ref().map(|_| Mode::Enforce),
            Policy::Cache => return self.caching.as_ref().map(|caching| caching.mode),
            Policy::Compression => return self.compression.as_ref().map(|_| Mode::Enforce),
        };
        Some(if enforces { Mode::Enforce } else { Mode::Observe })
    }

    /// The path and query that the upstream is asked for, where they differ from the ones received.
    pub fn rewritten(&self, path: &str, query: Option<&str>) -> Option<String> {
        let rewrite = self.rewrite.as_ref()?;
        let mut target = match &rewrite.path {
            Some(whole) => whole.clone(),
            None => {
                let rest = rewrite.strip_prefix.as_deref().and_then(|prefix| stripped(path, prefix)).unwrap_or(path);
                let mut target = rewrite.add_prefix.trim_end_matches('/').to_owned();
                if !rest.starts_with('/') {
                    target.push('/');
                }
                target.push_str(rest);
                target
            }
        };
        if let Some(query) = query {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(query);
        }
        Some(target)
    }
}

/// What stands behind a prefix that ends at a segment's border.
fn stripped<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn changes(route: &str, changes: &config::HeaderChanges) -> Result<Changes, CompileError> {
    let failed = |name: &str| CompileError::Header { route: route.to_owned(), name: name.to_owned() };
    let pairs = |from: &BTreeMap<String, String>| {
        let parse = |(name, value): (&String, &String)| {
            let parsed = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
            parsed.ok_or_else(|| failed(name))
        };
        from.iter().map(parse).collect::<Result<Vec<_>, _>>()
    };
    Ok(Changes {
        remove: changes.remove.iter().map(|n| n.parse().map_err(|_| failed(n))).collect::<Result<_, _>>()?,
        set: pairs(&changes.set)?,
        add: pairs(&changes.add)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_stripped_at_a_segments_border() {
        assert_eq!(stripped("/payments/v1", "/payments"), Some("/v1"));
        assert_eq!(stripped("/payments", "/payments/"), Some(""));
        assert_eq!(stripped("/paymentsx/v1", "/payments"), None);
    }
}
