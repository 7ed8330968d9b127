//! What there is: asked for, counted, forgotten when its time has come.

use std::sync::atomic::Ordering;

use super::{Kept, LEARNT, Local, SHARDS};
use crate::policy::idempotency::{Hash, State};
use crate::store::records::durable::Order;
use crate::store::records::{Counts, Record, StoreError};

impl Local {
    /// What is known of a key.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn get(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        if let Some(live) = self.shard(hash).live.get(hash) {
            return Ok(live.record.as_deref().map(|record| Record { fence: live.fence, ..record.clone() }));
        }
        self.done(hash, (self.clock)()).await
    }

    /// Records of unknown outcome or at work, the oldest first.
    pub fn open(&self, state: State, most: usize) -> Vec<(Hash, Record)> {
        let mut found: Vec<(Hash, Record)> = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let of_state = shard.live.iter().filter(|(_, live)| live.state == state);
            let shown = of_state.filter_map(|(hash, live)| {
                let record = live.record.as_deref()?;
                Some((*hash, Record { fence: live.fence, ..record.clone() }))
            });
            found.extend(shown);
        }
        found.sort_unstable_by_key(|(hash, record)| (record.sent, *hash));
        found.truncate(most);
        found
    }

    /// How many records there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            done: match &self.kept {
                Kept::Memory(memory) => memory.len(),
                Kept::Disk(disk, ..) => disk.len(),
            },
            ..Counts::default()
        };
        for live in self.shards.iter().flat_map(|shard| {
            let shard = shard.lock();
            shard.live.values().map(|live| (live.state, live.record.as_ref().map_or(0, |r| r.sent))).collect::<Vec<_>>()
        }) {
            match live {
                (State::Reserved, _) => counts.reserved += 1,
                (State::Sent, _) => counts.sent += 1,
                (State::Done, _) => counts.done += 1,
                (State::Unknown, sent) => {
                    counts.unknown += 1;
                    counts.oldest_unknown = match counts.oldest_unknown {
                        0 => sent,
                        oldest => oldest.min(sent),
                    };
                }
            }
        }
        counts
    }

    /// Forgets what has ended: of what is done a part, of the rest what stands in one shard. To be called now and again.
    pub fn sweep(&self) {
        let now = (self.clock)();
        match &self.kept {
            Kept::Memory(memory) => drop(memory.expire(now, 10_000)),
            // On the disk a thread of its own does it.
            Kept::Disk(_, filter) => filter.sweep(now),
        }
        let at = self.swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shards[at].lock();
        let mut over = 0;
        // Under the lock to the end: what is removed is what was looked at.
        shard.live.retain(|hash, live| {
            if live.state == State::Sent && live.until < now {
                let record = live.becomes_unknown().map(|record| record.write(hash, &self.sealer));
                self.note(record.map(|record| Order::Open(*hash, record)));
            }
            let ended = live.record.as_ref().is_some_and(|record| record.expires <= now);
            let ends = ended && live.state == State::Unknown;
            if ends {
                self.note(Some(Order::Remove(*hash)));
                over += 1;
            }
            !ends
        });
        shard.left += over;
        self.live.fetch_sub(over, Ordering::Relaxed);
    }

    /// Learns which keys were there at the start, so that the database need not be asked for others. To be called once, by a
    /// thread that may wait; until it returns every key is asked for.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn learn(&self) -> Result<(), StoreError> {
        let Kept::Disk(disk, filter) = &self.kept else { return Ok(()) };
        let mut last = Hash::default();
        while !self.closed.load(Ordering::Relaxed) {
            let hashes = disk.hashes(&last, LEARNT).map_err(StoreError::because)?;
            hashes.iter().for_each(|hash| filter.put_old(hash));
            match hashes.last() {
                Some(hash) => last = *hash,
                None => {
                    filter.is_complete();
                    break;
                }
            }
        }
        Ok(())
    }
}
