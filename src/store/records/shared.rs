//! The records of several processes, in one Redis.
//!
//! Every step is a script there, by the server's clock ([`super::redis`]); here records become bytes and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::redis::{self, Facts, Redis, Settled};
use super::seal::Sealer;
use super::{About, Answer, Clock, Counts, Found, Record, Reserve, Seen, StoreError};
use crate::policy::idempotency::{Claim, Hash, State, Terms};

/// Records that are shared.
pub struct Shared {
    redis: Redis,
    sealer: Sealer,
    clock: Clock,
    /// Why nothing may be sent; none while it may.
    broken: Mutex<Option<Arc<str>>>,
    works: AtomicBool,
    /// It did what it was asked last.
    up: AtomicBool,
    counts: Mutex<Counts>,
}

/// What became of an answer that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Yes,
    /// It is kept, but no replica has said in time that it has it.
    Alone,
    /// The record is another's by now.
    Lost,
}

impl Shared {
    /// Does not connect.
    pub fn new(redis: Redis, sealer: Sealer, clock: Clock) -> Self {
        Shared {
            redis,
            sealer,
            clock,
            broken: Mutex::new(Some("it was not asked yet".into())),
            works: AtomicBool::new(false),
            up: AtomicBool::new(false),
            counts: Mutex::default(),
        }
    }

    /// Asks the server what it is. One that drops records for want of memory is not used. `alone`: an operator says that it is
    /// to be believed if it has no replicas any more.
    ///
    /// # Errors
    /// Where it cannot be asked, or cannot be used.
    pub async fn examine(&self, alone: bool) -> Result<Facts, StoreError> {
        let facts = self.told(self.redis.examine(alone).await)?;
        if facts.evicts() && facts.maxmemory > 0 {
            let cause: Arc<str> = format!(
                "redis drops keys when its memory is full (maxmemory-policy {}): a record that is dropped is a second charge; \
                 expected noeviction",
                facts.maxmemory_policy
            )
            .into();
            self.breaks(cause.clone());
            return Err(StoreError::Unavailable(cause));
        }
        self.works();
        Ok(facts)
    }

    /// Counts the records that are at work, or of unknown outcome, and looks whether there are replicas by now.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub async fn count(&self) -> Result<(), StoreError> {
        self.told(self.redis.look_for_replicas().await)?;
        let counted = self.told(self.redis.counts().await)?;
        let now = (self.clock)();
        *self.counts.lock() = Counts {
            sent: counted.sent,
            unknown: counted.unknown,
            oldest_unknown: counted.oldest_unknown.map_or(0, |ago| now.saturating_sub(ago.as_millis() as u64)),
            ..Counts::default()
        };
        Ok(())
    }

    /// What was counted last.
    pub fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// Why nothing may be sent; none while it may.
    pub fn broken(&self) -> Option<Arc<str>> {
        if self.works.load(Ordering::Acquire) { None } else { self.broken.lock().clone() }
    }

    /// Whether a replica has to confirm what is sent.
    pub fn is_replicated(&self) -> bool {
        self.redis.is_replicated()
    }

    /// Whether it did what it was asked last, and may be used.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed) && self.works.load(Ordering::Relaxed)
    }

    fn works(&self) {
        if !self.works.swap(true, Ordering::AcqRel) {
            *self.broken.lock() = None;
        }
    }

    fn breaks(&self, cause: Arc<str>) {
        *self.broken.lock() = Some(cause);
        self.works.store(false, Ordering::Release);
    }

    /// Takes a note of whether the server did what it was asked.
    fn told<T>(&self, result: Result<T, redis::Error>) -> Result<T, StoreError> {
        self.up.store(result.is_ok(), Ordering::Relaxed);
        result.map_err(StoreError::because)
    }

    /// Takes a key, or tells what is known of it.
    ///
    /// # Errors
    /// Where that is not certain.
    pub async fn reserve(
        &self,
        hash: &Hash,
        claim: Claim,
        terms: &Terms,
        about: &About,
    ) -> Result<Reserve, StoreError> {
        // Only who was asked what it is is used: one that drops records is none.
        if let Some(cause) = self.broken() {
            return Err(StoreError::Unavailable(cause));
        }
        let meta = self.meta(hash, claim, about.clone());
        match self.told(self.redis.reserve(hash, terms.lease, terms.ttl, &meta).await)? {
            redis::Reserve::Mine { fence } => Ok(Reserve::Mine(fence)),
            redis::Reserve::Held(held) => {
                let record = self.record(hash, &held)?;
                Ok(Reserve::Found(Box::new(Found {
                    state: record.state,
                    claim: record.claim,
                    record: (record.state != State::Reserved).then_some(record),
                    changed: None,
                })))
            }
        }
    }

    /// The first byte is about to be sent. False: another try has taken the key over.
    ///
    /// # Errors
    /// Where that is not certain: nothing may be sent, and the key is to be released.
    pub async fn sent(
        &self,
        hash: &Hash,
        fence: u64,
        claim: Claim,
        terms: &Terms,
        about: About,
    ) -> Result<bool, StoreError> {
        let meta = self.meta(hash, claim, about);
        self.told(self.redis.sent(hash, fence, terms.within, terms.ttl, &meta).await)
    }

    /// It was carried out: this is what later tries get.
    ///
    /// # Errors
    /// Where it is not certain that it is kept.
    pub async fn finish(
        &self,
        hash: &Hash,
        fence: u64,
        claim: Claim,
        about: About,
        (status, answer): (u16, Option<Answer>),
    ) -> Result<Kept, StoreError> {
        let bytes = self.answer(hash, claim, about, status, answer);
        Ok(match self.told(self.redis.done(hash, fence, status, &bytes).await)? {
            Settled::Kept => Kept::Yes,
            Settled::NotReplicated => Kept::Alone,
            Settled::Lost => Kept::Lost,
        })
    }

    /// Nobody knows how it ended. Where that cannot be said, its time tells it.
    ///
    /// # Errors
    /// Where that is not certain.
    pub async fn unknown(&self, hash: &Hash, fence: u64) -> Result<bool, StoreError> {
        self.told(self.redis.unknown(hash, fence).await)
    }

    /// Nothing was sent, or nothing was carried out: the key is free.
    ///
    /// # Errors
    /// Where that is not certain.
    pub async fn release(&self, hash: &Hash, fence: u64) -> Result<bool, StoreError> {
        self.told(self.redis.release(hash, fence).await)
    }

    /// A person, or the application, says how an unknown outcome was, of the record that was looked at. False: it is another
    /// one by now, or not unknown any more.
    ///
    /// # Errors
    /// Where that is not certain.
    pub async fn resolve(
        &self,
        hash: &Hash,
        record: &Record,
        outcome: Option<(u16, Option<Answer>)>,
    ) -> Result<bool, StoreError> {
        let resolved = match outcome {
            None => self.redis.resolve_not_charged(hash, record.fence).await,
            Some((status, answer)) => {
                let bytes = self.answer(hash, record.claim, record.about.clone(), status, answer);
                self.redis.resolve_done(hash, record.fence, status, &bytes).await
            }
        };
        self.told(resolved)
    }

    /// What is known of a key.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn get(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        let held = self.told(self.redis.get(hash).await)?;
        held.map(|held| self.record(hash, &held)).transpose()
    }

    /// Records in this state, the oldest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn open(&self, state: State, most: usize) -> Result<Vec<(Hash, Record)>, StoreError> {
        let found = match state {
            State::Unknown => self.redis.unknowns(most).await,
            _ => self.redis.open(most).await,
        };
        let records = self.told(found)?.into_iter().map(|(hash, held)| Ok((hash, self.record(&hash, &held)?)));
        let records: Result<Vec<_>, StoreError> = records.collect();
        Ok(records?.into_iter().filter(|(_, record)| record.state == state).collect())
    }

    /// What stands beside a record before it is done.
    fn meta(&self, hash: &Hash, claim: Claim, about: About) -> Vec<u8> {
        bare(State::Reserved, claim, about, 0, None).write(hash, &self.sealer)
    }

    fn answer(&self, hash: &Hash, claim: Claim, about: About, status: u16, answer: Option<Answer>) -> Vec<u8> {
        bare(State::Done, claim, about, status, answer).write(hash, &self.sealer)
    }

    fn record(&self, hash: &Hash, held: &redis::Record) -> Result<Record, StoreError> {
        let state = match held.state {
            redis::State::Reserved => State::Reserved,
            redis::State::Sent => State::Sent,
            redis::State::Done => State::Done,
            redis::State::Unknown => State::Unknown,
        };
        let bytes = if state == State::Done { &held.answer } else { &held.meta };
        let record = Record::read(hash, bytes, &self.sealer).map_err(StoreError::because)?;
        // By our clock: the server's may stand elsewhere.
        let ago = |time: std::time::Duration| (self.clock)().saturating_sub(time.as_millis() as u64);
        Ok(Record { state, fence: held.fence, created: ago(held.age), sent: ago(held.sent_ago), ..record })
    }
}

/// A record as it is written there: its times are the server's.
fn bare(state: State, claim: Claim, about: About, status: u16, answer: Option<Answer>) -> Record {
    Record {
        state,
        fence: 0,
        claim,
        created: 0,
        sent: 0,
        overdue: 0,
        expires: 0,
        about,
        status,
        seen: Seen::Untold,
        answer,
    }
}
