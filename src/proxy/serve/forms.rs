//! The encoded forms of what is stored: made once, by one request for all that want the same, and kept with it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::caching::Stored;
use super::super::coding::WHOLE;
use super::super::downstream::encode;
use super::Proxy;
use crate::policy::compression::Coding;
use crate::route::table::Route;

/// Stored bodies that are being encoded: where they are in memory, and into what.
#[derive(Default)]
pub(in crate::proxy) struct Turns(Mutex<HashMap<(usize, Coding), Shared>>);

/// The form, once it is made.
type Shared = Arc<tokio::sync::Mutex<Option<Bytes>>>;

/// One that encodes a body, or waits for who does. It holds the body, so that another does not come to its place.
struct Turn<'t> {
    turns: &'t Turns,
    key: (usize, Coding),
    form: Shared,
    body: Bytes,
}

impl Turns {
    fn of(&self, body: Bytes, coding: Coding) -> Turn<'_> {
        let key = (body.as_ptr().addr(), coding);
        let form = self.0.lock().entry(key).or_default().clone();
        Turn { turns: self, key, form, body }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock();
        // This one's and the map's own: nobody else waits.
        if Arc::strong_count(&self.form) == 2 {
            turns.remove(&self.key);
        }
    }
}

/// How often a form is put with what is stored: each time another one was, at that moment.
const ROUNDS: usize = 4;

/// The body of a stored answer in a coding; none where that does not make it shorter.
pub(super) async fn form(proxy: &Arc<Proxy>, route: &Route, object: &Arc<Stored>, coding: Coding) -> Option<Bytes> {
    let known = |object: &Stored| object.form(coding.index()).cloned();
    if let Some(form) = known(object) {
        return Some(form).filter(|form| !form.is_empty());
    }
    let compression = route.compression.as_ref()?;
    let turn = proxy.codings.turns.of(object.shared_body(), coding);
    let mut made = turn.form.lock().await;
    // Another may have made it meanwhile, or just before this one came.
    let there = made.clone().or_else(|| stored(proxy, object).as_deref().and_then(known));
    if let Some(form) = there {
        return Some(form).filter(|form| !form.is_empty());
    }
    let (level, metrics) = (compression.level(coding, &proxy.codings.effort), proxy.codings.of(coding));
    let body = turn.body.clone();
    let length = body.len();
    let encoded = if length <= WHOLE {
        encode(coding, level, &body, &metrics)
    } else {
        // It would keep the other requests of this thread waiting.
        tokio::task::spawn_blocking(move || encode(coding, level, &body, &metrics)).await.ok().flatten()
    };
    // An empty one says that encoding does not make it shorter.
    let form = encoded.filter(|encoded| encoded.len() < length).unwrap_or_default();
    *made = Some(form.clone());
    drop(made);
    keep(proxy, object, coding, &form).await;
    Some(form).filter(|form| !form.is_empty())
}

/// Puts a form with what is stored.
async fn keep(proxy: &Proxy, object: &Stored, coding: Coding, form: &Bytes) {
    let memory = &proxy.cache.memory;
    for _ in 0..ROUNDS {
        let Some(now) = stored(proxy, object) else { return };
        let with_form = Arc::new(now.with_form(coding.index(), form.clone()));
        // In steps, so that one large body does not keep the other requests waiting.
        while memory.make_room(&now, &with_form) {
            tokio::task::yield_now().await;
        }
        if memory.replace(&now, &with_form) {
            return;
        }
    }
}

/// The object as it is stored now, with the forms that it has by now; none where it is not stored any more.
fn stored(proxy: &Proxy, object: &Stored) -> Option<Arc<Stored>> {
    let memory = &proxy.cache.memory;
    let body = object.shared_body();
    memory.get(memory.key(object.key()))?.find(|other| other.shared_body().as_ptr() == body.as_ptr()).cloned()
}
