//! Where the records of the process are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::observe::metrics::{KeyMetrics, KeyedEnd};
use crate::policy::idempotency::{self, Claim, End, Hash, State, Terms};
use crate::refusal::{Reason, Refusal};
use crate::store::records::{About, Answer, Clock, Counts, Local, Record, Reserve, Shared, StoreError};

/// The records of the process.
pub struct Records {
    /// Its own.
    pub local: Arc<Local>,
    /// Those that it shares with others.
    pub shared: Option<Arc<Shared>>,
    clock: Clock,
    waiters: Arc<Mutex<HashMap<Hash, u32>>>,
    /// Bytes of answers that could not be written down yet.
    pub(super) late: AtomicUsize,
    /// Nobody outside can tell what confirms an order.
    secret: [u8; 16],
}

impl Records {
    /// Records in these stores; `clock` is theirs.
    pub fn new(local: Arc<Local>, shared: Option<Arc<Shared>>, clock: Clock) -> Self {
        let mut secret = [0; 16];
        // Without random numbers it could be guessed by who may give the order anyway.
        let _ = getrandom::fill(&mut secret);
        Records { local, shared, clock, waiters: Arc::default(), late: AtomicUsize::default(), secret }
    }

    /// A number of this process.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// How many records there are, as JSON.
    pub fn counts_json(&self) -> Value {
        let of = |store: &str, counts: &Counts, durable: Option<bool>, broken: Option<Arc<str>>| {
            let oldest = (counts.oldest_unknown != 0).then(|| self.seconds_since(counts.oldest_unknown).round());
            let mut shown = json!({
                "store": store,
                "broken": broken.as_deref(),
                "records": { "sent": counts.sent, "unknown": counts.unknown },
                "oldest_unknown_seconds": oldest,
            });
            // What others have reserved, and how many are done, a shared store does not tell.
            if let Some(durable) = durable {
                shown["durable"] = durable.into();
                shown["records"]["reserved"] = counts.reserved.into();
                shown["records"]["done"] = counts.done.into();
            }
            shown
        };
        let local = of("local", &self.local.counts(), Some(self.local.is_durable()), self.local.broken());
        let shared = self.shared.as_ref().map(|shared| of("redis", &shared.counts(), None, shared.broken()));
        let stores: Vec<Value> = [Some(local), shared].into_iter().flatten().collect();
        json!({ "stores": stores })
    }

    /// The store of a route; none where the configuration that the process was started with does not have it.
    pub(super) fn of(&self, store: idempotency::Store) -> Option<Store> {
        match store {
            idempotency::Store::Local => Some(Store::Local(self.local.clone())),
            idempotency::Store::Redis => self.shared.clone().map(Store::Redis),
        }
    }

    /// Forgets what has ended. To be called now and again.
    pub fn sweep(&self) {
        self.local.sweep();
    }

    /// Shows how many records there are.
    pub fn show(&self, metrics: &KeyMetrics) {
        let local = self.local.counts();
        show(metrics, "local", &local, self.local.broken().is_none());
        let mut oldest = local.oldest_unknown;
        if let Some(shared) = &self.shared {
            let counts = shared.counts();
            show(metrics, "redis", &counts, shared.is_up());
            oldest = [oldest, counts.oldest_unknown].into_iter().filter(|at| *at != 0).min().unwrap_or(0);
        }
        let age = if oldest == 0 { 0.0 } else { self.seconds_since(oldest) };
        metrics.oldest_unknown.set(age);
    }

    /// Records in this state, the oldest first, each with the name of its store.
    ///
    /// # Errors
    /// Where they cannot be had.
    pub async fn list(&self, state: State, most: usize) -> Result<Vec<(&'static str, Hash, Record)>, StoreError> {
        let local = self.local.open(state, most).into_iter();
        let mut found: Vec<_> = local.map(|(hash, record)| ("local", hash, record)).collect();
        if let Some(shared) = &self.shared {
            found.extend(shared.open(state, most).await?.into_iter().map(|(hash, record)| ("redis", hash, record)));
            found.sort_unstable_by_key(|(_, hash, record)| (record.sent, *hash));
            found.truncate(most);
        }
        Ok(found)
    }

    /// What is known of a key, and in which store.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn find(&self, hash: &Hash) -> Result<Option<(&'static str, Record)>, StoreError> {
        if let Some(record) = self.local.get(hash).await? {
            return Ok(Some(("local", record)));
        }
        match &self.shared {
            Some(shared) => Ok(shared.get(hash).await?.map(|record| ("redis", record))),
            None => Ok(None),
        }
    }

    /// A person says how an unknown outcome was: carried out, with this answer, or not (none). False: the record is not the
    /// one that he was shown, or not unknown any more.
    ///
    /// # Errors
    /// Where it cannot be written down.
    pub async fn resolve(
        &self,
        store: &str,
        hash: &Hash,
        record: &Record,
        outcome: Option<(u16, Option<Answer>)>,
    ) -> Result<bool, StoreError> {
        let store = if store == "redis" { idempotency::Store::Redis } else { idempotency::Store::Local };
        match self.of(store) {
            Some(store) => store.resolve(hash, record, outcome).await,
            None => Ok(false),
        }
    }

    /// How many seconds ago a time of a record was.
    pub fn seconds_since(&self, ms: u64) -> f64 {
        self.now_ms().saturating_sub(ms) as f64 / 1000.0
    }

    /// Writes what waits to be written; nothing more can be sent.
    pub fn close(&self) {
        self.local.close();
    }

    /// The time of the records.
    pub(super) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// One more that waits for a key; none where there are `most` already.
    pub(super) fn waits(&self, hash: &Hash, most: u32) -> Option<Waits> {
        let mut waiters = self.waiters.lock();
        let waiting = waiters.entry(*hash).or_default();
        if *waiting >= most {
            if *waiting == 0 {
                waiters.remove(hash);
            }
            return None;
        }
        *waiting += 1;
        Some(Waits { waiters: self.waiters.clone(), hash: *hash })
    }
}

fn show(metrics: &KeyMetrics, store: &str, counts: &Counts, up: bool) {
    let mut states = vec![(State::Sent, counts.sent), (State::Unknown, counts.unknown)];
    if store == "local" {
        states.extend([(State::Reserved, counts.reserved), (State::Done, counts.done)]);
    }
    for (state, count) in states {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        metrics.records.with_label_values(&[store, state.as_str()]).set(count);
    }
    metrics.store_up.with_label_values(&[store]).set(i64::from(up));
}

/// One that waits for a key.
pub(super) struct Waits {
    waiters: Arc<Mutex<HashMap<Hash, u32>>>,
    hash: Hash,
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut waiters = self.waiters.lock();
        if let Some(waiting) = waiters.get_mut(&self.hash) {
            *waiting -= 1;
            if *waiting == 0 {
                waiters.remove(&self.hash);
            }
        }
    }
}

/// Where the records of a route are.
#[derive(Clone)]
pub(super) enum Store {
    Local(Arc<Local>),
    Redis(Arc<Shared>),
}

impl Store {
    pub(super) async fn reserve(
        &self,
        hash: &Hash,
        claim: Claim,
        terms: &Terms,
        about: &About,
    ) -> Result<Reserve, StoreError> {
        match self {
            Store::Local(local) => local.reserve(hash, claim, terms).await,
            Store::Redis(shared) => shared.reserve(hash, claim, terms, about).await,
        }
    }

    /// Takes a key of this record, whose outcome is unknown, to send it again: under this fence, or it has to be looked at
    /// and taken like any other.
    pub(super) async fn retake(
        &self,
        hash: &Hash,
        record: &Record,
        claim: Claim,
        terms: &Terms,
    ) -> Result<Option<u64>, StoreError> {
        match self {
            Store::Local(local) => Ok(local.retake(hash, record.fence, claim, terms)),
            Store::Redis(shared) => shared.resolve(hash, record, None).await.map(|_| None),
        }
    }

    pub(super) async fn resolve(
        &self,
        hash: &Hash,
        record: &Record,
        outcome: Option<(u16, Option<Answer>)>,
    ) -> Result<bool, StoreError> {
        match self {
            Store::Local(local) => local.resolve(hash, record.fence, outcome).await,
            Store::Redis(shared) => shared.resolve(hash, record, outcome).await,
        }
    }
}

/// The refusal where the records cannot be had.
pub(super) fn refusal(cause: Option<&StoreError>) -> Refusal {
    if let Some(StoreError::Unavailable(cause)) = cause {
        tracing::debug!(event = "idempotency_store", cause = %cause);
    }
    // What exactly is wrong with them is for the log.
    let detail = match cause {
        Some(StoreError::Full(_)) => "there are as many keys as there may be",
        Some(StoreError::Unavailable(_)) => "they cannot be written",
        None => "the store of this route needs a restart",
    };
    Refusal::new(Reason::IdempotencyStore, detail)
}

/// What becomes of a record, as it is counted.
pub(super) fn counted(end: End) -> KeyedEnd {
    match end {
        End::Kept => KeyedEnd::Kept,
        End::NotKept => KeyedEnd::NotKept,
        End::Released => KeyedEnd::Released,
        End::Unknown => KeyedEnd::Unknown,
    }
}
