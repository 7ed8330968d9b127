//! What an operator ends of what is stored, and what is fetched before anybody asks for it.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Uri, Version, header};
use pingora::http::RequestHeader;
use tokio::time::Instant;

use super::fetch::{Fetch, Joined, Progress};
use super::filing;
use super::fill::Why;
use super::task::{BODILESS, Order, fetch_key};
use crate::http1::Spelling;
use crate::policy::priority::Priority;
use crate::proxy::context::Context;
use crate::proxy::state::State;
use crate::proxy::{Client, Proxy};
use crate::route::caching::plain_path;
use crate::route::table::Route;
use crate::store::generations::{How, Kind, Slot};

/// What is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// `http://host/path?query`; or `/path`, with any query, of any host.
    Url(String),
    /// Every path that begins so, of any host.
    Prefix(String),
    /// All that is filed under a tag.
    Tag(String),
    /// All of a route.
    Route(String),
    /// All.
    All,
}

/// An application that is not there yet is asked again for what is to be warm.
const AGAIN: Duration = Duration::from_secs(1);
/// For so long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Proxy {
    /// Ends what is stored. Holds as soon as it returns: nothing older is served after that, and what is being fetched is
    /// not stored.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn purge(self: &Arc<Self>, what: &Purge, soft: bool) -> Result<(), String> {
        let how = if soft { How::Soft } else { How::Hard };
        let generations = self.cache.memory.generations();
        let raise = |slots: &[Slot]| generations.raise(slots, how);
        let state = self.state.load();
        match what {
            Purge::All if soft => generations.raise_all(how),
            Purge::All => {
                generations.raise_all(how);
                self.cache.memory.clear();
            }
            Purge::Tag(tag) => raise(&[generations.slot(Kind::Tag, tag.as_bytes())]),
            Purge::Route(name) => {
                if !state.table.routes.iter().any(|route| route.name == *name) {
                    return Err(format!("expected the name of a route, got {name}"));
                }
                raise(&[generations.slot(Kind::Route, name.as_bytes())]);
            }
            Purge::Prefix(prefix) => {
                if !prefix.starts_with('/') {
                    return Err(format!("expected a prefix of paths, which begins with /, got {prefix}"));
                }
                if let Some(sweep) = generations.raise_prefix(prefix.as_bytes(), how) {
                    let proxy = self.clone();
                    tokio::task::spawn_blocking(move || proxy.cache.memory.sweep(&sweep));
                }
            }
            Purge::Url(url) => raise(&self.slots_of(&state, url)?),
        }
        self.cache.metrics.invalidated("purge");
        Ok(())
    }

    fn slots_of(&self, state: &State, url: &str) -> Result<Vec<Slot>, String> {
        let expected = || format!("expected http://host/path?query, or a /path without a query, got {url}");
        let generations = self.cache.memory.generations();
        let uri: Uri = url.parse().map_err(|_| expected())?;
        match (uri.scheme_str(), uri.authority(), uri.path_and_query()) {
            (Some(scheme @ ("http" | "https")), Some(host), target) => {
                let target = target.map_or("/", |target| target.as_str());
                Ok(filing::of_url(generations, &state.table, scheme == "https", host.as_str(), target))
            }
            (None, None, Some(target)) if target.query().is_none() && url.starts_with('/') => {
                Ok(vec![generations.slot(Kind::Path, &plain_path(target.path()))])
            }
            _ => Err(expected()),
        }
    }

    /// What was configured has changed so that answers stored by the former configuration may be wrong by this one.
    pub fn forget_stored(&self) {
        self.cache.memory.generations().raise_all(How::Hard);
        self.cache.memory.clear();
        self.cache.metrics.invalidated("reload");
        self.cache.forgotten.notify_one();
    }

    /// Fetches what routes want to be warm, now and whenever it was forgotten. Ends with the process.
    pub async fn keep_warm(self: Arc<Self>) {
        loop {
            self.warm().await;
            self.cache.forgotten.notified().await;
        }
    }

    /// One after the other, without a credential.
    async fn warm(self: &Arc<Self>) {
        let state = self.state.load_full();
        let until = Instant::now() + PATIENCE;
        for route in &state.table.routes {
            let Some(caching) = &route.caching else { continue };
            for path in &caching.warm {
                while !self.lifecycle.is_leaving() && !self.warm_one(&state, route, path).await {
                    if Instant::now() >= until {
                        tracing::warn!(event = "warm_failed", route = %route.name, path = %path);
                        break;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Fetches one path. False where the application did not answer.
    async fn warm_one(self: &Arc<Self>, state: &Arc<State>, route: &Arc<Route>, path: &str) -> bool {
        let config = state.config.routes.get(route.index);
        let listener = config.and_then(|c| c.matches.listener.as_ref()).and_then(|name| state.listener(name));
        let (Some(listener), Some(caching)) = (listener.or(state.listeners.first()), &route.caching) else {
            return true;
        };
        let host = config.and_then(|c| c.matches.host.clone()).filter(|host| !host.starts_with('*'));
        let host = host.unwrap_or_else(|| route.upstream.settings.endpoints.first().cloned().unwrap_or_default());
        let Ok(mut head) = RequestHeader::build_no_case(Method::GET, path.as_bytes(), Some(4)) else { return true };
        head.set_version(Version::HTTP_11);
        if head.insert_header(header::HOST, host).is_err() {
            return true;
        }
        let client = Client::new(listener.clone(), None);
        let mut cx = Context::begin(
            state.clone(),
            &client,
            &head,
            Spelling::default(),
            self.lifecycle.request(listener.direction),
        );
        drop(cx.in_flight.take());
        cx.route = Some(route.clone());
        cx.deadline = cx.started + route.timeouts.total;
        let Some(asking) = self.asking(&cx, route, caching, &head.headers, &BODILESS, caching.mode) else {
            return true;
        };
        let (filed, tagged) = asking.filing.file(&cx, route, caching, &head.headers, &self.cache);
        let key = fetch_key(&asking, &head, None);
        let hash = self.cache.memory.key(&asking.filing.key).hash();
        let begin = || Arc::new(Fetch::new(&key, filed, Priority::Low));
        let fetch = match self.cache.fetches.join(hash, &key, |_| true, begin) {
            Joined::Waits(_) => return true,
            Joined::Leads(fetch) => fetch,
        };
        let mut progress = fetch.join(Priority::Low);
        drop(super::fetch::Leader(fetch.clone()));
        let order = Order { fetch, why: Why::Refresh, held: None, stale_on_error: false, tagged };
        self.begin(&cx, &asking, &head, order);
        let over = progress.wait_for(|progress| !matches!(progress, Progress::Running)).await;
        over.is_ok_and(|progress| !matches!(*progress, Progress::Failed(_) | Progress::Stale))
    }
}
