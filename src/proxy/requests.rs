//! The requests in flight, for GET /requests.
//!
//! Each request takes a place in one of a few short lists: one lock that nobody else holds, twice a request.

use std::sync::Arc;

use http::{Method, Uri};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::context::Context;
use super::state::ListenerPolicy;

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
struct Entry {
    started: Instant,
    id: Arc<str>,
    method: Method,
    uri: Uri,
    listener: Arc<ListenerPolicy>,
}

/// A request that is listed until this is dropped.
pub(super) struct Listed<'r> {
    shard: &'r Mutex<Shard>,
    place: usize,
}

impl Requests {
    pub(super) fn list(&self, cx: &Context) -> Listed<'_> {
        let entry = Entry {
            started: cx.started,
            id: cx.id.clone(),
            method: cx.method.clone(),
            uri: cx.uri.clone(),
            listener: cx.listener.clone(),
        };
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
