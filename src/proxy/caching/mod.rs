//! Step 4: what is stored is served, and what is not is fetched once for all who want it.
//!
//! ```text
//!  look up ── fresh ─────────────▶ serve                      (hit)
//!     │  └─── stale, may be served ▶ serve, refresh behind     (stale)
//!     ├─ somebody fetches it ─────▶ wait ─▶ serve              (coalesced)
//!     └─ nobody does ─────────────▶ fetch ─▶ keep ─▶ serve     (miss, revalidated)
//!  what proved not to be cacheable goes its own way            (bypass)
//! ```
//! `filing` says by what a request is found and what its answer is filed under; `fetch` is shared by who waits; `fill` takes
//! the answer in, `kept` stores it; `follow` is what a client does meanwhile; `task` runs a fetch.

pub(super) mod changes;
pub(super) mod fetch;
pub(super) mod filing;
pub(super) mod fill;
mod follow;
pub(super) mod kept;
pub mod purge;
pub(super) mod task;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::{HeaderMap, Method, header};
use pingora::http::RequestHeader;
use tokio::sync::Notify;

use super::context::Context;
use super::downstream::Downstream;
use super::request::Framing;
use super::serve::{self, How};
use super::{Proxy, Received};
use crate::observe::metrics::{CacheMetrics, CacheResult};
use crate::policy::cache::conditional::{self, Outcome, Validators};
use crate::policy::cache::control::RequestControl;
use crate::policy::cache::freshness::{Verdict, decide};
use crate::policy::cache::status::Forward;
use crate::policy::cache::store::Asked;
use crate::policy::cache::vary::Names;
use crate::policy::cache::{Life, Partition};
use crate::policy::mode::Mode;
use crate::policy::switch::Policy;
use crate::refusal::{Reason, Refusal};
use crate::route::caching::Caching;
use crate::route::table::Route;
use crate::store::generations::{Generations, State as Validity};
use crate::store::memory::Memory;
use crate::store::object::Object;
use crate::store::uncacheable::Uncacheable;
use crate::timer::{self, Timer};

use fetch::Fetches;
use filing::Filing;

/// A stored answer.
pub(super) type Stored = Object<Life>;

/// A mark of a stored answer: its body may be encoded.
pub(super) const COMPRESSIBLE: u16 = 1;
/// It came encoded.
pub(super) const ENCODED: u16 = 2;
/// A field of it speaks of the bytes of its body.
pub(super) const DIGESTS: u16 = 4;
/// Its Vary names Accept-Encoding.
pub(super) const VARIES: u16 = 8;
/// A client is sent another tag, even for the body as it came.
pub(super) const RETAGGED: u16 = 16;

/// For how long it is remembered that something proved not to be cacheable.
const UNCACHEABLE: Duration = Duration::from_secs(10);

/// How often a request looks again: each time something that it waited for has changed meanwhile.
const ROUNDS: usize = 16;

/// The cache of the process.
pub struct Cache {
    /// What is stored.
    pub memory: Memory<Life>,
    /// What is counted.
    pub metrics: Arc<CacheMetrics>,
    uncacheable: Uncacheable,
    fetches: Fetches,
    /// Fetches that nobody waits for.
    refreshes: Arc<AtomicUsize>,
    /// Told when all that was stored is forgotten: what is to be warm is not any more.
    forgotten: Notify,
    /// Keeps the hashes of credentials secret.
    secret: [u64; 2],
}

impl Cache {
    /// An empty one of so many bytes.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn new(bytes: u64, metrics: Arc<CacheMetrics>) -> Result<Self, getrandom::Error> {
        let pair = || Ok([getrandom::u64()?, getrandom::u64()?]);
        let generations = Arc::new(Generations::new(pair()?));
        Ok(Cache {
            memory: Memory::new(bytes, pair()?, generations),
            metrics,
            uncacheable: Uncacheable::new(UNCACHEABLE),
            fetches: Fetches::default(),
            refreshes: Arc::default(),
            forgotten: Notify::new(),
            secret: pair()?,
        })
    }
}

/// What became of a request that was looked up.
pub(super) enum Looked {
    /// It was answered.
    Answered,
    /// It is sent on by itself.
    SendOn,
}

/// A request as the cache sees it.
pub(in crate::proxy) struct Asking<'r> {
    pub(super) route: &'r Arc<Route>,
    pub(super) caching: &'r Caching,
    filing: Filing,
    pub(super) control: RequestControl,
    pub(super) asked: Asked,
    pub(super) observes: bool,
}

impl Proxy {
    /// Looks a request up, and answers it if that can be done without sending it on by itself.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        cx: &mut Context,
        route: &Arc<Route>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        request: &Received,
    ) -> Result<Looked, Refusal> {
        let Some(caching) = &route.caching else { return Ok(Looked::SendOn) };
        let Some(mode) = route.switches.get(Policy::Cache, timer::uptime).over(caching.mode) else {
            return Ok(Looked::SendOn);
        };
        if !matches!(cx.method, Method::GET | Method::HEAD) {
            return Ok(Looked::SendOn);
        }
        let Some(asking) = self.asking(cx, route, caching, &down.request().headers, request, mode) else {
            route.cached.count(CacheResult::Bypass);
            return Ok(Looked::SendOn);
        };
        for _ in 0..ROUNDS {
            let now = timer::unix_now().as_secs();
            let found = self.found(&asking, &down.request().headers);
            let why = match &found {
                Found::None => Forward::UriMiss,
                Found::Others(_) => Forward::VaryMiss,
                Found::Object(..) => Forward::Stale,
            };
            let (held, like) = match found {
                Found::Object(object, life) if !asking.observes => {
                    match conditional::evaluate(&down.request().headers, &validators(&object)) {
                        Outcome::Forward => return Ok(self.sends_on(route, CacheResult::Bypass)),
                        Outcome::Full | Outcome::NotModified => {}
                    }
                    let verdict = decide(&life, &asking.control, now);
                    let result = match verdict {
                        Verdict::Fresh => Some(CacheResult::Hit),
                        Verdict::Stale | Verdict::StaleWhileRevalidate => Some(CacheResult::Stale),
                        Verdict::Revalidate => None,
                    };
                    if let Some(result) = result {
                        if verdict == Verdict::StaleWhileRevalidate {
                            self.refresh(cx, &asking, down.request(), &object);
                        }
                        route.cached.count(result);
                        let how = How::Hit { left: life.left(now) };
                        serve::object(self, cx, route, down, timer, &object, (&how, now)).await?;
                        return Ok(Looked::Answered);
                    }
                    (Some((object.clone(), life)), Some(object))
                }
                Found::Object(object, life) => (Some((object.clone(), life)), Some(object)),
                Found::Others(object) => (None, Some(object)),
                Found::None => (None, None),
            };
            if asking.control.only_if_cached && !asking.observes {
                return Err(Reason::OnlyIfCached.into());
            }
            let headers = &down.request().headers;
            let alone = (cx.method == Method::HEAD && held.is_none())
                || headers.contains_key(header::RANGE)
                || headers.contains_key(header::IF_MATCH)
                || headers.contains_key(header::IF_UNMODIFIED_SINCE);
            let hash = self.cache.memory.key(&asking.filing.key).hash();
            let uncacheable = held.is_none() && self.cache.uncacheable.has(hash, timer::uptime());
            if alone || uncacheable {
                let result = if uncacheable { CacheResult::Bypass } else { CacheResult::Miss };
                return Ok(self.sends_on(route, result));
            }
            match self.fetch(cx, &asking, down, timer, (held, like), why).await? {
                follow::Followed::Answered => return Ok(Looked::Answered),
                follow::Followed::SendOn => return Ok(self.sends_on(route, CacheResult::Bypass)),
                follow::Followed::Again => {}
            }
        }
        Ok(self.sends_on(route, CacheResult::Bypass))
    }

    fn sends_on(&self, route: &Route, result: CacheResult) -> Looked {
        route.cached.count(result);
        Looked::SendOn
    }

    /// The request as the cache sees it; none where it is no part of the cache.
    fn asking<'r>(
        &self,
        cx: &Context,
        route: &'r Arc<Route>,
        caching: &'r Caching,
        headers: &HeaderMap,
        request: &Received,
        mode: Mode,
    ) -> Option<Asking<'r>> {
        let bodiless = matches!(request.framing, Framing::None);
        if !bodiless || request.websocket || filing::is_disguised(headers) {
            return None;
        }
        let control = RequestControl::of(headers);
        if control.no_store {
            return None;
        }
        let filing = Filing::of(cx, route, caching, headers, self.cache.secret);
        if filing.credential && caching.rules.partition == Partition::NeverStore {
            return None;
        }
        let asked = Asked {
            get: true,
            no_store: control.no_store,
            credential: filing.credential,
            authorization: headers.contains_key(header::AUTHORIZATION),
        };
        Some(Asking { route, caching, filing, control, asked, observes: mode == Mode::Observe })
    }

    /// Whether something else is stored by now than what was found.
    fn is_outdated(&self, asking: &Asking<'_>, headers: &HeaderMap, held: Option<&(Arc<Stored>, Life)>) -> bool {
        match self.found(asking, headers) {
            Found::Object(object, _) => held.is_none_or(|(held, _)| !held.is_same(&object)),
            Found::None | Found::Others(_) => false,
        }
    }

    /// Ends a fetch before it began.
    fn call_off(&self, hash: u64, fetch: &Arc<fetch::Fetch>) {
        self.cache.fetches.remove(hash, fetch);
        fetch.tell_all(fetch::Progress::Raced);
    }

    /// What is stored for a request.
    fn found(&self, asking: &Asking<'_>, headers: &HeaderMap) -> Found {
        let memory = &self.cache.memory;
        let Some(variants) = memory.get(memory.key(&asking.filing.key)) else { return Found::None };
        let Some(object) = variants.find(|object| selects(object, headers)) else {
            return variants.as_slice().first().map_or(Found::None, |object| Found::Others(object.clone()));
        };
        let mut life = object.life();
        match memory.state(object) {
            Validity::Valid => {}
            Validity::Soft => life.expire(timer::unix_now().as_secs()),
            Validity::Gone => {
                memory.remove_variant(object);
                return Found::None;
            }
        }
        Found::Object(object.clone(), life)
    }
}

/// What is stored for a request.
enum Found {
    /// Nothing.
    None,
    /// Answers to requests that say something else; the newest of them.
    Others(Arc<Stored>),
    /// This. Its life may be shorter than it was when it was stored.
    Object(Arc<Stored>, Life),
}

/// Whether a stored answer is one for a request that says this: in the fields that the answer varies by, it says the same.
fn selects(object: &Stored, headers: &HeaderMap) -> bool {
    let selector = object.selector();
    selector.is_empty() || Names::of_joined(selector.names).matches(selector.values, headers)
}

/// What conditions are held against.
pub(super) fn validators(object: &Stored) -> Validators<'_> {
    Validators {
        status: object.status(),
        etag: object.etag(),
        last_modified: object.last_modified(),
        date: object.life().stored_at(),
    }
}

/// The request as the application gets it for a fetch: without conditions and ranges, which are ours to judge, and with
/// our own condition where `held` can be validated.
pub(super) fn fetch_head(received: &RequestHeader, route: &Route, held: Option<&Stored>) -> (Box<RequestHeader>, bool) {
    let mut head = Box::new(received.clone());
    for name in [
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
    ] {
        head.remove_header(&name);
    }
    if route.compression.is_some() {
        head.remove_header(&header::ACCEPT_ENCODING);
    }
    let mut validates = false;
    let mut ask = |name, value: Option<&[u8]>| {
        if let Some(value) = value.and_then(|value| http::HeaderValue::from_bytes(value).ok()) {
            validates |= head.insert_header(name, value).is_ok();
        }
    };
    if let Some(held) = held {
        ask(header::IF_NONE_MATCH, held.etag());
        ask(header::IF_MODIFIED_SINCE, held.last_modified());
    }
    (head, validates)
}
