//! The requests in flight, for GET /requests.
//!
//! Each request that is not answered at once takes a place in one of a few short lists: one lock that nobody else holds,
//! twice a request.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use http::{Method, Uri};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::context::Context;
use super::state::ListenerPolicy;
use crate::observe::trace::RequestId;

const SHARDS: usize = 16;

/// The requests in flight.
#[derive(Default)]
pub struct Requests([Mutex<Shard>; SHARDS]);

#[derive(Default)]
struct Shard {
    places: Vec<Option<Entry>>,
    free: Vec<usize>,
}

/// What is shown of a request: nothing of its headers, its query or its body.
pub(super) struct Entry {
    started: Instant,
    id: RequestId,
    method: Method,
    uri: Uri,
    listener: Arc<ListenerPolicy>,
}

/// A request that is listed until this is dropped.
pub(super) struct Listed<'r> {
    shard: &'r Mutex<Shard>,
    place: usize,
}

impl Entry {
    pub(super) fn new(cx: &Context) -> Self {
        Entry {
            started: cx.started,
            id: cx.id.clone(),
            method: cx.method.clone(),
            uri: cx.uri.clone(),
            listener: cx.listener.clone(),
        }
    }
}

impl Requests {
    /// Goes a request's way, and lists it from the first time that it has to wait.
    pub(super) async fn listed<T>(
        &self,
        entry: Entry,
        mut way: Pin<&mut impl Future<Output = T>>,
    ) -> (T, Option<Listed<'_>>) {
        let (mut entry, mut listed) = (Some(entry), None);
        let ended = poll_fn(|cx| {
            let ended = way.as_mut().poll(cx);
            if ended.is_pending()
                && let Some(entry) = entry.take()
            {
                listed = Some(self.list(entry));
            }
            ended
        });
        (ended.await, listed)
    }

    fn list(&self, entry: Entry) -> Listed<'_> {
        let shard = &self.0[fastrand::usize(..SHARDS)];
        let mut places = shard.lock();
        let place = match places.free.pop() {
            Some(place) => {
                places.places[place] = Some(entry);
                place
            }
            None => {
                places.places.push(Some(entry));
                places.places.len() - 1
            }
        };
        drop(places);
        Listed { shard, place }
    }

    /// The requests in flight, oldest first, at most `most`.
    pub fn show(&self, most: usize) -> Value {
        let mut all: Vec<(Instant, Value)> = Vec::new();
        for shard in &self.0 {
            let shard = shard.lock();
            all.extend(shard.places.iter().flatten().map(|e| {
                let shown = json!({
                    "request_id": &*e.id,
                    "age_ms": e.started.elapsed().as_millis() as u64,
                    "listener": e.listener.name,
                    "method": e.method.as_str(),
                    "path": e.uri.path(),
                });
                (e.started, shown)
            }));
        }
        all.sort_by_key(|(started, _)| *started);
        let total = all.len();
        let oldest: Vec<Value> = all.into_iter().take(most).map(|(_, shown)| shown).collect();
        json!({ "in_flight": total, "oldest": oldest })
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut shard = self.shard.lock();
        shard.places[self.place] = None;
        shard.free.push(self.place);
    }
}
