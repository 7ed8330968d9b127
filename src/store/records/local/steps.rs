//! The steps of a record. Each is made under its fence, and is on the disk when it returns where others act upon it.

use std::sync::atomic::Ordering;

use super::{Kept, Live, Local};
use crate::policy::idempotency::{Claim, Hash, State, Terms};
use crate::store::records::durable::Order;
use crate::store::records::{About, Answer, Record, Seen, StoreError};

impl Local {
    /// The first byte is about to be sent: written down before it is. False: another try has taken the key over, and nothing
    /// may be sent.
    ///
    /// # Errors
    /// Where it cannot be written down: nothing may be sent, and the key is free.
    pub async fn sent(&self, hash: &Hash, fence: u64, terms: &Terms, about: About) -> Result<bool, StoreError> {
        let (written, before) = {
            let mut shard = self.shard(hash);
            let Some(live) = shard.live.get_mut(hash).filter(|live| live.fence == fence) else { return Ok(false) };
            if live.state != State::Reserved {
                return Ok(live.state == State::Sent);
            }
            let now = (self.clock)();
            let overdue = now + terms.within.as_millis() as u64;
            let record = Record {
                state: State::Sent,
                fence,
                claim: live.claim,
                created: live.record.as_ref().map_or(now, |before| before.created),
                sent: now,
                overdue,
                expires: now + terms.ttl.as_millis() as u64,
                about,
                status: 0,
                seen: Seen::Untold,
                answer: None,
            };
            let bytes = record.write(hash, &self.sealer);
            // From here on nobody takes it over, whatever the disk says.
            (live.state, live.until) = (State::Sent, overdue);
            (bytes, live.record.replace(record.into()))
        };
        match self.write(Order::Open(*hash, written)).await {
            Ok(()) => Ok(true),
            Err(cause) => {
                match before {
                    None => self.leave(hash, fence),
                    // It was taken anew, and is what it was before.
                    Some(before) => {
                        if let Some(live) = self.shard(hash).live.get_mut(hash).filter(|live| live.fence == fence) {
                            live.record = Some(before);
                            live.becomes_unknown();
                        }
                    }
                }
                Err(cause)
            }
        }
    }

    /// It is over: its answer is kept for later tries, or, without one, that it was carried out with this status. False:
    /// the key is another's by now.
    ///
    /// # Errors
    /// Where it cannot be written down: later tries are told that its outcome is not known.
    pub async fn finish(
        &self,
        hash: &Hash,
        fence: u64,
        status: u16,
        answer: Option<Answer>,
    ) -> Result<bool, StoreError> {
        let (expires, bytes) = {
            let mut shard = self.shard(hash);
            let Some(live) = shard.live.get_mut(hash).filter(|live| live.fence == fence) else { return Ok(false) };
            let Some(record) = &mut live.record else { return Ok(false) };
            // However long the disk takes: nobody says meanwhile that its outcome is unknown, which would be written behind it.
            (live.state, live.until) = (State::Sent, u64::MAX);
            let done = Record { state: State::Done, status, answer, ..(**record).clone() };
            (record.expires, done.write(hash, &self.sealer))
        };
        if let Kept::Disk(disk, filter) = &self.kept {
            filter.put(hash, expires, disk.len());
        }
        match self.write(Order::Done(*hash, expires, bytes)).await {
            Ok(()) => {
                self.leave(hash, fence);
                Ok(true)
            }
            Err(cause) => {
                self.unknown(hash, fence, status, Seen::All);
                Err(cause)
            }
        }
    }

    /// It is over, and nobody knows how. What is on the disk says the same once the process has ended, so nobody waits for
    /// it.
    pub fn unknown(&self, hash: &Hash, fence: u64, status: u16, seen: Seen) {
        let mut shard = self.shard(hash);
        let is_it = |live: &&mut Live| live.fence == fence && matches!(live.state, State::Sent | State::Unknown);
        if let Some(live) = shard.live.get_mut(hash).filter(is_it) {
            if let Some(record) = &mut live.record {
                (record.status, record.seen) = (status, seen);
            }
            let record = live.becomes_unknown().map(|record| record.write(hash, &self.sealer));
            self.note(record.map(|record| Order::Open(*hash, record)));
        }
    }

    /// Nothing was sent: the key is free again, or as it was before it was taken anew.
    pub fn release(&self, hash: &Hash, fence: u64) {
        let mut shard = self.shard(hash);
        let Some(live) = shard.live.get_mut(hash) else { return };
        if live.fence != fence || live.state != State::Reserved {
            return;
        }
        if live.record.is_some() {
            live.becomes_unknown();
            return;
        }
        drop(shard);
        self.leave(hash, fence);
    }

    /// It was sent, and the application has not carried it out: the key is free.
    ///
    /// # Errors
    /// Where that cannot be written down.
    pub async fn forget(&self, hash: &Hash, fence: u64) -> Result<(), StoreError> {
        {
            let mut shard = self.shard(hash);
            let is_sent = |live: &&mut Live| live.fence == fence && live.state == State::Sent;
            let Some(live) = shard.live.get_mut(hash).filter(is_sent) else { return Ok(()) };
            live.until = u64::MAX;
        }
        let done = self.write(Order::Remove(*hash)).await;
        match done {
            Ok(()) => self.leave(hash, fence),
            Err(_) => self.unknown(hash, fence, 0, Seen::Untold),
        }
        done
    }

    /// Takes a key whose outcome is unknown, to send it again for this claim. What is on the disk of it stays until then.
    /// `seen`: the fence of the record that was looked at; none where it is another one by now.
    pub fn retake(&self, hash: &Hash, seen: u64, claim: Claim, terms: &Terms) -> Option<u64> {
        let mut shard = self.shard(hash);
        let is_it = |live: &&mut Live| live.state == State::Unknown && live.fence == seen;
        let live = shard.live.get_mut(hash).filter(is_it)?;
        live.claim = claim;
        live.fence = self.fences.fetch_add(1, Ordering::Relaxed);
        (live.state, live.until) = (State::Reserved, (self.clock)() + terms.lease.as_millis() as u64);
        Some(live.fence)
    }

    /// A person, or the application, says how an unknown outcome was: it was carried out (status and answer), or not (none).
    /// `seen`: the fence of the record that was looked at. False: it is another one by now, or not unknown any more.
    ///
    /// # Errors
    /// Where it cannot be written down: it stays unknown.
    pub async fn resolve(
        &self,
        hash: &Hash,
        seen: u64,
        outcome: Option<(u16, Option<Answer>)>,
    ) -> Result<bool, StoreError> {
        let fence = {
            let mut shard = self.shard(hash);
            let is_it = |live: &&mut Live| live.state == State::Unknown && live.fence == seen;
            let Some(live) = shard.live.get_mut(hash).filter(is_it) else { return Ok(false) };
            live.fence = self.fences.fetch_add(1, Ordering::Relaxed);
            // Whoever comes meanwhile waits for what is said of it.
            (live.state, live.until) = (State::Sent, u64::MAX);
            live.fence
        };
        match outcome {
            Some((status, answer)) => self.finish(hash, fence, status, answer).await,
            None => self.forget(hash, fence).await.map(|()| true),
        }
    }
}
