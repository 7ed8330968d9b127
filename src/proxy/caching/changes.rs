//! What a request that may change something ends: raised when it is sent, when its answer comes, and at its end.
//!
//! Raised when it is sent, because the application may have made the change before anybody hears of it; again with its
//! answer and at its end, because what was fetched meanwhile may show the state before. Whoever begins to ask after the
//! answer can get nothing older.

use std::sync::Arc;

use http::HeaderMap;

use super::filing;
use crate::observe::metrics::CacheMetrics;
use crate::policy::cache::invalidate;
use crate::proxy::Proxy;
use crate::proxy::context::Context;
use crate::route::caching::plain_path;
use crate::route::table::Route;
use crate::store::generations::{How, Kind, Slot};

/// What a request that may change something ends.
pub(in crate::proxy) struct Change {
    proxy: Arc<Proxy>,
    metrics: Arc<CacheMetrics>,
    /// What its route says that it ends.
    named: Vec<Slot>,
    /// Its own URL.
    own: Vec<Slot>,
    state: State,
    /// It was tried before, and of that try nobody knows what it did: what this one answers is not all of it.
    tried: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The application has nothing of it.
    Unsent,
    /// It may be at work.
    Sent,
    /// It answered that it changed something, or may have.
    Answered,
    /// It answered that it did not.
    Refused,
}

impl Proxy {
    /// What a request ends; none where it changes nothing, or nothing is stored at all.
    pub(in crate::proxy) fn change(
        self: &Arc<Self>,
        cx: &Context,
        route: &Route,
        headers: &HeaderMap,
    ) -> Option<Change> {
        if !cx.state.table.caches || !invalidate::is_unsafe(&cx.method) {
            return None;
        }
        let generations = self.cache.memory.generations();
        let mut own = filing::own_url(cx, &cx.state, headers, generations);
        own.push(generations.slot(Kind::Path, &plain_path(cx.uri.path())));
        let named = route.invalidates.as_ref().map(|_| self.named(cx, route, headers)).unwrap_or_default();
        let metrics = self.metrics.cache.clone();
        Some(Change { proxy: self.clone(), metrics, named, own, state: State::Unsent, tried: false })
    }

    /// What the route's section names.
    fn named(&self, cx: &Context, route: &Route, headers: &HeaderMap) -> Vec<Slot> {
        let Some(invalidates) = &route.invalidates else { return Vec::new() };
        let generations = self.cache.memory.generations();
        let mut slots = Vec::new();
        let of_route = |name: &str| generations.slot(Kind::Route, name.as_bytes());
        cx.with_source(route, headers, |source| {
            for tag in &invalidates.tags {
                match crate::route::template::render(tag, source) {
                    Some(tag) => slots.push(generations.slot(Kind::Tag, &tag)),
                    // Which of them is meant is not known: all that are filed under tags end.
                    None => {
                        let tagged = cx.state.table.routes.iter();
                        let tagged = tagged.filter(|r| r.caching.as_ref().is_some_and(|c| c.has_tags()));
                        slots.extend(tagged.map(|r| of_route(&r.name)));
                    }
                }
            }
            for paths in &invalidates.paths {
                slots.push(match paths.one(source) {
                    Some(path) => generations.slot(Kind::Path, &path),
                    None => generations.slot(Kind::Pattern, paths.pattern.name.as_bytes()),
                });
            }
        });
        slots.extend(invalidates.routes.iter().map(|name| of_route(name)));
        slots
    }
}

impl Change {
    /// The first byte is about to be sent.
    pub(in crate::proxy) fn sent(&mut self) {
        self.tried |= self.state != State::Unsent;
        self.state = State::Sent;
        self.raise(&self.named);
    }

    /// The head of the answer came. To be told before the client has any of it.
    pub(in crate::proxy) fn answered(&mut self, cx: (&Context, &HeaderMap), status: u16, answer: &HeaderMap) {
        // A refusal changed nothing; of a request that took too long nobody knows. What is refused because the try before
        // it was carried out was changed all the same.
        if (400..500).contains(&status) && status != 408 && !self.tried {
            self.state = State::Refused;
            return;
        }
        self.state = State::Answered;
        self.raise(&self.named);
        let succeeded = (200..400).contains(&status);
        if succeeded || self.tried {
            self.raise(&self.own);
        }
        if succeeded {
            let (cx, headers) = cx;
            let target = filing::target(cx, headers);
            let generations = self.proxy.cache.memory.generations();
            for path in invalidate::paths(&target, status, answer) {
                let slots = filing::of_url(generations, &cx.state.table, target.secure, target.host, &path);
                self.raise(&slots);
            }
            self.metrics.invalidated("change");
        }
    }

    /// A part of the answer came, or its end: it may be done only now. To be told before the client has any of it.
    pub(in crate::proxy) fn goes_on(&self) {
        if self.state == State::Answered {
            self.raise(&self.named);
        }
    }

    /// It is over. To be told before the client hears of it.
    pub(in crate::proxy) fn ended(&mut self) {
        match self.state {
            State::Unsent | State::Refused => {}
            State::Answered => self.raise(&self.named),
            // There is no answer: whether it was done nobody knows.
            State::Sent => {
                self.raise(&self.named);
                self.raise(&self.own);
                self.metrics.invalidated("change");
            }
        }
        self.state = State::Refused;
    }

    fn raise(&self, slots: &[Slot]) {
        if !slots.is_empty() {
            self.proxy.cache.memory.generations().raise(slots, How::Hard);
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.ended();
    }
}
