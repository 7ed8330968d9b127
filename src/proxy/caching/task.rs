//! A fetch at work, in a task of its own.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Method;
use pingora::http::RequestHeader;
use tokio::time::Instant;

use super::fetch::{Fetch, Joined, Leader};
use super::fill::{Fill, Why};
use super::{Asking, Stored, fetch_head, filing};
use crate::observe::metrics::RefreshResult;
use crate::policy::priority::Priority;
use crate::proxy::attempt::ask;
use crate::proxy::context::Context;
use crate::proxy::downstream::Downstream;
use crate::proxy::request::Framing;
use crate::proxy::{Proxy, Received, caught};
use crate::timer::Timer;

/// The most fetches that nobody waits for at a time: they are no reason to keep anybody waiting.
const MOST_REFRESHES: usize = 16;

/// One of the fetches that nobody waits for.
struct Refresh(Arc<AtomicUsize>);

impl Drop for Refresh {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a fetch begins with.
pub(in crate::proxy) struct Order {
    pub(in crate::proxy) fetch: Arc<Fetch>,
    pub(in crate::proxy) why: Why,
    /// What is stored, to be validated or compared with.
    pub(in crate::proxy) held: Option<Arc<Stored>>,
    /// It may be served where the application fails.
    pub(in crate::proxy) stale_on_error: bool,
    /// The request can be filed under all its tags.
    pub(in crate::proxy) tagged: bool,
}

impl Proxy {
    /// Begins a fetch. It ends what it began, whoever leaves.
    pub(in crate::proxy) fn begin(
        self: &Arc<Self>,
        cx: &Context,
        asking: &Asking<'_>,
        received: &RequestHeader,
        order: Order,
    ) {
        let fill = self.fill(cx, asking, received, order);
        tokio::spawn(run(self.clone(), cx.detached(), fill));
    }

    fn fill(self: &Arc<Self>, cx: &Context, asking: &Asking<'_>, received: &RequestHeader, order: Order) -> Box<Fill> {
        let head = cx.method == Method::HEAD;
        let asks = order.held.as_deref().filter(|_| order.why != Why::Compare && !head);
        let (request, validates) = fetch_head(received, asking.route, asks);
        let key = asking.filing.key.clone();
        let hash = self.cache.memory.key(&key).hash();
        Box::new(Fill::new(self, asking, order, request, (key, hash), (validates, head)))
    }

    /// Fetches a stored answer anew behind the one who is served it. Where there is no room for one more such fetch, the
    /// next hit tries again.
    pub(in crate::proxy) fn refresh(
        self: &Arc<Self>,
        cx: &Context,
        asking: &Asking<'_>,
        received: &RequestHeader,
        held: &Arc<Stored>,
    ) {
        let hash = self.cache.memory.key(&asking.filing.key).hash();
        let fetch_key = fetch_key(asking, received, Some(held));
        if self.lifecycle.is_leaving() || self.cache.fetches.runs(hash, &fetch_key) {
            return;
        }
        let Some(refresh) = self.one_more_refresh() else {
            return self.cache.metrics.refreshed(RefreshResult::Dropped);
        };
        let (filed, tagged) = asking.filing.file(cx, asking.route, asking.caching, &received.headers, &self.cache);
        let begin = || Arc::new(Fetch::new(&fetch_key, filed, Priority::Low));
        let Joined::Leads(fetch) = self.cache.fetches.join(hash, &fetch_key, |_| true, begin) else { return };
        // Another refresh ended between the look and this.
        if self.is_outdated(asking, &received.headers, Some(&(held.clone(), held.life()))) {
            return self.call_off(hash, &fetch);
        }
        let mut cx = cx.detached();
        // What is stored is an answer to GET, and it has the time of a request of its own.
        cx.method = Method::GET;
        cx.deadline = Instant::now() + asking.route.timeouts.total;
        let order =
            Order { fetch: fetch.clone(), why: Why::Refresh, held: Some(held.clone()), stale_on_error: true, tagged };
        let mut fill = self.fill(&cx, asking, received, order);
        fill.request.set_method(Method::GET);
        let proxy = self.clone();
        tokio::spawn(async move {
            let _refresh = refresh;
            // Nobody reads what it tells.
            drop(Leader(fetch.clone()));
            run(proxy.clone(), cx, fill).await;
            proxy.cache.metrics.refreshed(fetch.refreshed());
        });
    }

    fn one_more_refresh(&self) -> Option<Refresh> {
        let refreshes = &self.cache.refreshes;
        let counted =
            refreshes.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < MOST_REFRESHES).then_some(n + 1));
        counted.ok().map(|_| Refresh(refreshes.clone()))
    }
}

/// By what a fetch is found: by the key, and by what the request says in the fields that the answers are known to vary by.
pub(super) fn fetch_key(asking: &Asking<'_>, received: &RequestHeader, held: Option<&Arc<Stored>>) -> Vec<u8> {
    let mut key = asking.filing.key.clone();
    let names = held.map(|held| held.selector().names).filter(|names| !names.is_empty());
    if let Some(names) = names {
        let names = crate::policy::cache::vary::Names::of_joined(names);
        key.extend_from_slice(&filing::selecting(asking.route, names).selecting(&received.headers));
    }
    key
}

/// The request of a fetch: it has no body, and nobody waits to be told to send one.
pub(in crate::proxy) const BODILESS: Received =
    Received { framing: Framing::None, expects: false, websocket: false, whole: 0 };

async fn run(proxy: Arc<Proxy>, mut cx: Context, fill: Box<Fill>) {
    let route = fill.route.clone();
    let mut timer = Timer::default();
    let mut down = Downstream::fill(fill);
    let result = caught(pin!(ask(&proxy, &mut cx, &route, &mut down, &mut timer, &BODILESS, Bytes::new()))).await;
    cx.leave_place();
    let trail = cx.trail();
    if let Some(fill) = down.into_fill() {
        fill.finish(result, trail).await;
    }
}
