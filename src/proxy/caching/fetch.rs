//! One request to the application for all who want the same thing.
//!
//! It is detached: it runs in a task of its own, and ends what it began whoever leaves. The client who began it gets the
//! answer while it comes, if it is long or is not to be stored; all others wait until it is stored.

use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Stored;
use crate::http1::AnswerHead;
use crate::observe::metrics::RefreshResult;
use crate::policy::priority::Priority;
use crate::proxy::pipe::Pipe;
use crate::refusal::Refusal;
use crate::store::generations::{Moment, Slot};

/// What came of a fetch, for those who wait for it.
#[derive(Clone)]
pub(in crate::proxy) enum Progress {
    /// It runs.
    Running,
    /// This is stored now.
    Stored(Arc<Stored>),
    /// Its answer is for who began it alone.
    NotStored,
    /// It came too late: what it shows has changed meanwhile.
    Raced,
    /// The application failed in a way for which a stale answer is to be served.
    Stale,
    /// There is no answer.
    Failed(Refusal),
}

/// What a fetch tells the client who began it.
pub(in crate::proxy) enum Told {
    /// The whole answer. `validated`: the one that was stored still holds. `kept`: it is stored. `age`: as it came.
    Whole { object: Arc<Stored>, validated: bool, kept: bool, age: Option<HeaderValue> },
    /// The head of an answer whose body follows.
    Head(Box<AnswerHead>),
    /// A stale answer is to be served; the status that the application gave.
    Stale(u16),
    /// What was stored is not what the application speaks of: ask again.
    Again,
}

/// A fetch.
pub(in crate::proxy) struct Fetch {
    /// By what others find it; empty where they shall not.
    key: Box<[u8]>,
    /// What its answer will be filed under as far as its request tells, and since when.
    pub(in crate::proxy) filed: Filed,
    pub(super) pipe: Pipe<Told>,
    progress: watch::Sender<Progress>,
    /// The most urgent of those who wait for it.
    urgency: AtomicU8,
    /// Told when that rises.
    raised: Notify,
}

/// What an answer is filed under.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Filed {
    pub(in crate::proxy) at: Moment,
    pub(in crate::proxy) slots: Vec<Slot>,
    /// The path.
    pub(in crate::proxy) place: Box<[u8]>,
    /// Where in the key they stand.
    pub(in crate::proxy) within: std::ops::Range<usize>,
}

impl Fetch {
    pub(in crate::proxy) fn new(key: &[u8], filed: Filed, priority: Priority) -> Self {
        Fetch {
            key: key.into(),
            filed,
            pipe: Pipe::default(),
            progress: watch::Sender::new(Progress::Running),
            urgency: AtomicU8::new(priority.index() as u8),
            raised: Notify::new(),
        }
    }

    /// Joins those who wait for it: it becomes as urgent as the most urgent of them.
    pub(in crate::proxy) fn join(&self, priority: Priority) -> watch::Receiver<Progress> {
        if self.urgency.fetch_min(priority.index() as u8, Ordering::AcqRel) > priority.index() as u8 {
            self.raised.notify_waiters();
        }
        self.progress.subscribe()
    }

    /// How urgent it is.
    pub(in crate::proxy) fn priority(&self) -> Priority {
        let index = usize::from(self.urgency.load(Ordering::Acquire));
        Priority::ALL.get(index).copied().unwrap_or_default()
    }

    /// Returns once it is more urgent than `than`.
    pub(in crate::proxy) async fn raised(&self, than: Priority) {
        loop {
            let raised = self.raised.notified();
            if self.priority().index() < than.index() {
                return;
            }
            raised.await;
        }
    }

    /// Tells those who wait for it; what they were told first holds.
    pub(super) fn tell_all(&self, progress: Progress) {
        self.progress.send_if_modified(|now| {
            let runs = matches!(now, Progress::Running);
            if runs {
                *now = progress;
            }
            runs
        });
    }

    /// What came of it, where nobody waited.
    pub(super) fn refreshed(&self) -> RefreshResult {
        match *self.progress.borrow() {
            Progress::Stored(_) => RefreshResult::Stored,
            Progress::NotStored | Progress::Raced => RefreshResult::NotStored,
            Progress::Running | Progress::Stale | Progress::Failed(_) => RefreshResult::Failed,
        }
    }

    /// Whether those who wait were told.
    pub(super) fn is_over(&self) -> bool {
        !matches!(*self.progress.borrow(), Progress::Running)
    }
}

/// The client who began a fetch, for as long as it is there.
pub(in crate::proxy) struct Leader(pub(in crate::proxy) Arc<Fetch>);

impl Drop for Leader {
    fn drop(&mut self) {
        self.0.pipe.leave();
    }
}

/// The fetches that run, by what they fetch.
pub(in crate::proxy) struct Fetches(Vec<Mutex<Running>>);

type Running = HashMap<Box<[u8]>, Arc<Fetch>>;

/// What one who wants something is to do.
pub(in crate::proxy) enum Joined {
    /// To fetch it.
    Leads(Arc<Fetch>),
    /// To wait for who fetches it.
    Waits(Arc<Fetch>),
}

const SHARDS: usize = 16;

impl Default for Fetches {
    fn default() -> Self {
        Fetches((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Fetches {
    fn shard(&self, hash: u64) -> &Mutex<Running> {
        &self.0[(hash >> 32) as usize % SHARDS]
    }

    /// Joins the fetch for a key, or begins one. One that `may_join` does not take, because what it brings has changed
    /// since it began, is nobody's to join any more.
    pub(in crate::proxy) fn join(
        &self,
        hash: u64,
        key: &[u8],
        may_join: impl FnOnce(&Fetch) -> bool,
        begin: impl FnOnce() -> Arc<Fetch>,
    ) -> Joined {
        let mut fetches = self.shard(hash).lock();
        match fetches.entry(key.into()) {
            Entry::Occupied(running) if may_join(running.get()) => Joined::Waits(running.get().clone()),
            Entry::Occupied(mut running) => {
                running.insert(begin());
                Joined::Leads(running.get().clone())
            }
            Entry::Vacant(free) => Joined::Leads(free.insert(begin()).clone()),
        }
    }

    /// Whether one runs for a key.
    pub(in crate::proxy) fn runs(&self, hash: u64, key: &[u8]) -> bool {
        self.shard(hash).lock().contains_key(key)
    }

    /// A fetch is over, or nobody is to join it any more.
    pub(in crate::proxy) fn remove(&self, hash: u64, fetch: &Arc<Fetch>) {
        let mut fetches = self.shard(hash).lock();
        if fetches.get(&*fetch.key).is_some_and(|running| Arc::ptr_eq(running, fetch)) {
            fetches.remove(&*fetch.key);
        }
    }
}
