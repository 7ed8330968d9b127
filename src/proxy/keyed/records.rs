//! Where the records of the process are, and a try that has a key to itself.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::observe::log::UpstreamSent;
use crate::observe::metrics::{KeyMetrics, KeyedEnd, RouteKeys};
use crate::policy::idempotency::{self, Claim, End, Hash, State, Terms};
use crate::refusal::{Reason, Refusal};
use crate::store::records::{About, Answer, Clock, Local, Record, Reserve, Seen, StoreError};

/// The records of the process.
pub struct Records {
    /// Its own.
    pub local: Arc<Local>,
    clock: Clock,
    waiters: Arc<Mutex<HashMap<Hash, u32>>>,
    /// Nobody outside can tell what confirms an order.
    secret: [u8; 16],
}

impl Records {
    /// Records in these stores; `clock` is theirs.
    pub fn new(local: Arc<Local>, clock: Clock) -> Self {
        let mut secret = [0; 16];
        // Without random numbers it could be guessed by who may give the order anyway.
        let _ = getrandom::fill(&mut secret);
        Records { local, clock, waiters: Arc::default(), secret }
    }

    /// A number of this process.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// How many records there are, as JSON.
    pub fn counts_json(&self) -> serde_json::Value {
        let counts = self.local.counts();
        let oldest = (counts.oldest_unknown != 0).then(|| self.seconds_since(counts.oldest_unknown).round());
        serde_json::json!({ "stores": [{
            "store": "local",
            "durable": self.local.is_durable(),
            "broken": self.local.broken().as_deref(),
            "records": {
                "reserved": counts.reserved, "sent": counts.sent, "done": counts.done, "unknown": counts.unknown,
            },
            "oldest_unknown_seconds": oldest,
        }] })
    }

    /// The store of a route; none where the configuration that the process was started with does not have it.
    pub(super) fn of(&self, store: idempotency::Store) -> Option<Store> {
        match store {
            idempotency::Store::Local => Some(Store::Local(self.local.clone())),
            idempotency::Store::Redis => None,
        }
    }

    /// Forgets what has ended. To be called now and again.
    pub fn sweep(&self) {
        self.local.sweep();
    }

    /// Shows how many records there are.
    pub fn show(&self, metrics: &KeyMetrics) {
        let counts = self.local.counts();
        let states = [
            (State::Reserved, counts.reserved),
            (State::Sent, counts.sent),
            (State::Done, counts.done),
            (State::Unknown, counts.unknown),
        ];
        for (state, count) in states {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metrics.records.with_label_values(&["local", state.as_str()]).set(count);
        }
        let oldest = counts.oldest_unknown;
        let age = if oldest == 0 { 0 } else { self.now_ms().saturating_sub(oldest) };
        metrics.oldest_unknown.set(age as f64 / 1000.0);
        metrics.store_up.with_label_values(&["local"]).set(i64::from(self.local.broken().is_none()));
    }

    /// Records in this state, the oldest first, each with the name of its store.
    ///
    /// # Errors
    /// Where they cannot be had.
    pub async fn list(&self, state: State, most: usize) -> Result<Vec<(&'static str, Hash, Record)>, StoreError> {
        let local = self.local.open(state, most).into_iter();
        Ok(local.map(|(hash, record)| ("local", hash, record)).collect())
    }

    /// What is known of a key, and in which store.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn find(&self, hash: &Hash) -> Result<Option<(&'static str, Record)>, StoreError> {
        Ok(self.local.get(hash)?.map(|record| ("local", record)))
    }

    /// A person says how an unknown outcome was: carried out, with this answer, or not (none). False: it is not unknown.
    ///
    /// # Errors
    /// Where it cannot be written down.
    pub async fn resolve(
        &self,
        store: &str,
        hash: &Hash,
        outcome: Option<(u16, Option<Answer>)>,
    ) -> Result<bool, StoreError> {
        let store = if store == "redis" { idempotency::Store::Redis } else { idempotency::Store::Local };
        match self.of(store) {
            Some(store) => store.resolve(hash, outcome).await,
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
}

impl Store {
    pub(super) async fn reserve(
        &self,
        hash: &Hash,
        claim: Claim,
        terms: &Terms,
        _about: &About,
    ) -> Result<Reserve, StoreError> {
        match self {
            Store::Local(local) => local.reserve(hash, claim, terms),
        }
    }

    pub(super) async fn retake(&self, hash: &Hash, terms: &Terms) -> Result<Option<u64>, StoreError> {
        match self {
            Store::Local(local) => Ok(local.retake(hash, terms)),
        }
    }

    pub(super) async fn resolve(
        &self,
        hash: &Hash,
        outcome: Option<(u16, Option<Answer>)>,
    ) -> Result<bool, StoreError> {
        match self {
            Store::Local(local) => local.resolve(hash, outcome).await,
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

/// A try that has its key to itself. Dropped before its end, the key is free where nothing was sent, and its outcome is
/// unknown where it was.
pub(in crate::proxy) struct Reservation {
    store: Store,
    hash: Hash,
    fence: u64,
    terms: Terms,
    about: About,
    sent: bool,
    over: bool,
}

impl Reservation {
    pub(super) fn new(store: Store, hash: Hash, fence: u64, terms: Terms, about: About) -> Self {
        Reservation { store, hash, fence, terms, about, sent: false, over: false }
    }

    /// Whether its request was sent, or may have been.
    pub(in crate::proxy) fn is_sent(&self) -> bool {
        self.sent
    }

    /// The first byte is about to be sent: written down before it is.
    ///
    /// # Errors
    /// Where nothing may be sent: another try has the key by now, it cannot be written down, or no time is left.
    pub(in crate::proxy) async fn send(
        &mut self,
        endpoint: &str,
        deadline: Instant,
        metrics: &RouteKeys,
    ) -> Result<(), Refusal> {
        if self.sent {
            return Ok(());
        }
        let begun = Instant::now();
        self.about.endpoint = endpoint.into();
        let sent = match &self.store {
            Store::Local(local) => local.sent(&self.hash, self.fence, &self.terms, self.about.clone()).await,
        };
        metrics.sent_after(begun.elapsed().as_secs_f64());
        match sent {
            Ok(true) => self.sent = true,
            Ok(false) => {
                self.over = true;
                return Err(Refusal::new(Reason::IdempotencyInFlight, "it waited for longer than its lease"));
            }
            Err(cause) => {
                self.over = true;
                return Err(refusal(Some(&cause)));
            }
        }
        // A disk may take its time. Whoever waits for the answer has been told that there is none.
        if Instant::now() >= deadline {
            return Err(Refusal::new(Reason::IdempotencyStore, "they took too long to write"));
        }
        Ok(())
    }

    /// Nothing was sent, or nothing was carried out: the key is free.
    pub(super) async fn release(mut self) {
        self.over = true;
        match &self.store {
            Store::Local(local) if !self.sent => local.release(&self.hash, self.fence),
            Store::Local(local) => {
                let done = local.forget(&self.hash, self.fence).await;
                self.failed(done.err().as_ref(), "released");
            }
        }
    }

    /// It was carried out: `answer` is what later tries get, or none where that is not kept. Tells what became of it.
    pub(super) async fn done(&mut self, status: u16, answer: Option<Answer>, metrics: &RouteKeys) -> KeyedEnd {
        self.over = true;
        let begun = Instant::now();
        let kept = if answer.is_some() { KeyedEnd::Kept } else { KeyedEnd::NotKept };
        let done = match &self.store {
            Store::Local(local) => local.finish(&self.hash, self.fence, status, answer).await,
        };
        metrics.kept_after(begun.elapsed().as_secs_f64());
        match done {
            Ok(true) => kept,
            Ok(false) => KeyedEnd::Unknown,
            Err(cause) => {
                self.failed(Some(&cause), kept.as_str());
                KeyedEnd::Unknown
            }
        }
    }

    /// Nobody knows how it ended: it may have been answered with this status, and have had so much of the request.
    pub(super) fn unknown(mut self, status: u16, sent: UpstreamSent) {
        let seen = match sent {
            UpstreamSent::None => Seen::Untold,
            UpstreamSent::Head => Seen::Head,
            UpstreamSent::Body => Seen::Body,
            UpstreamSent::All => Seen::All,
        };
        self.ends_unknown(status, seen);
    }

    fn ends_unknown(&mut self, status: u16, seen: Seen) {
        self.over = true;
        match &self.store {
            Store::Local(local) => local.unknown(&self.hash, self.fence, status, seen),
        }
    }

    /// What a person can find it by.
    pub(super) fn name(&self) -> String {
        hex(&self.hash)
    }

    fn failed(&self, cause: Option<&StoreError>, step: &str) {
        if let Some(cause) = cause {
            let (hash, request) = (self.name(), &self.about.request);
            tracing::error!(event = "idempotency_store", step, hash, request_id = %request, cause = %cause);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self.over {
            true => {}
            false if self.sent => self.ends_unknown(0, Seen::Untold),
            false => match &self.store {
                Store::Local(local) => local.release(&self.hash, self.fence),
            },
        }
    }
}

/// A hash as people read it.
pub fn hex(hash: &Hash) -> String {
    use std::fmt::Write;
    hash.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash of what [`hex`] wrote.
pub fn unhex(text: &str) -> Option<Hash> {
    let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = digits.then(|| u128::from_str_radix(text, 16).ok())??;
    Some(number.to_be_bytes())
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
