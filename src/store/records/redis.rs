//! Records of idempotency keys in Redis, shared by every process that asks the same server.
//!
//! A record is a hash. Every transition is a script, so that it happens whole and by the server's clock, and each may be
//! repeated: who has a record is told by its fence and its owner, and a script that finds its work done says so once
//! more. A record expires a ttl after it was reserved or sent, and never by its lease.
//!
//! What the server forgets, nobody knows. It forgets what it had not written to disk when it was killed, what a failover
//! to a replica had not brought there, what it evicted, and what its clock, stepped forward, let expire.
//! [`Redis::examine`] says which of these can happen. Where there are replicas, nothing is sent before one of them has
//! the record; which of several is promoted is not ours to say.

mod dial;
mod error;
mod facts;
mod link;
mod open;
mod record;
mod scripts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use error::Error;
pub use facts::Facts;
pub use open::Counts;
pub use record::{Record, State};

use crate::policy::idempotency::hex;
use dial::Dial;
use link::{Call, Link, Reply};
use record::answer;
use scripts::{FENCE, FORMAT, OPEN, PREFIX};

/// How long an operation may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_millis(250);

/// The longest ttl: what is longer is a mistake, and expiry is a number that must not overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Tells calls of one process apart, whichever [`Redis`] they are made of.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Where the server is.
#[derive(Clone)]
pub struct Options {
    /// `redis://user:password@host:port/db`, `rediss://…` or `redis+unix:///path`.
    pub url: String,
    /// The certificates that a `rediss://` server is verified by, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The most that an operation may take.
    pub timeout: Duration,
}

impl Options {
    /// A server by its URL, with 250 ms for an operation.
    pub fn new(url: impl Into<String>) -> Self {
        Options { url: url.into(), ca_file: None, timeout: TIMEOUT }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { url: _, ca_file, timeout } = self;
        f.debug_struct("Options").field("ca_file", ca_file).field("timeout", timeout).finish_non_exhaustive()
    }
}

/// What became of an attempt to have a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserve {
    /// It is ours, under this number.
    Mine {
        /// What every further step has to show.
        fence: u64,
    },
    /// It is another's, or it is finished.
    Held(Record),
}

/// What became of an answer that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is kept.
    Kept,
    /// It is kept, and no replica has said in time that it has it too: after a failover it may be unknown.
    NotReplicated,
    /// It is not: the record is gone, is another's, or was resolved by an operator.
    Lost,
}

/// The records in one Redis.
pub struct Redis {
    link: Link,
    owner: String,
    replicas: AtomicU8,
}

/// What is known of replicas: nothing yet.
const UNASKED: u8 = 0;
/// There are none.
const ALONE: u8 = 1;
/// There are some.
const REPLICATED: u8 = 2;

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.link.address()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Does not connect. `owner` is random and stands for this process.
    pub fn new(options: Options, owner: [u8; 16]) -> Result<Redis, Error> {
        let dial = Dial::new(&options.url, options.ca_file.as_deref())?;
        if options.timeout < Duration::from_millis(5) {
            return Err(Error::Invalid("a timeout of at least 5ms"));
        }
        let link = Link::new(dial, options.timeout);
        Ok(Redis { link, owner: hex(&owner), replicas: AtomicU8::new(UNASKED) })
    }

    /// What the server is. An error where it cannot be used at all: a replica, a cluster.
    ///
    /// From now on a replica has to confirm what is sent, if there is one. That there is none any more is believed by an
    /// operator's word alone (`alone`): a master that is cut off from its replicas says so too.
    pub async fn examine(&self, alone: bool) -> Result<Facts, Error> {
        let info = self.link.ask(&redis::cmd("INFO")).await?;
        let info: String = redis::from_redis_value(info).map_err(|_| Error::Unexpected("expected text of INFO"))?;
        let mut facts = facts::facts(&info)?;
        self.notice(facts.replicas, alone);
        facts.aof_fsync = self.setting("appendfsync").await;
        facts.snapshots = self.setting("save").await;
        Ok(facts)
    }

    /// Looks whether there are replicas by now: one that was away when the server was examined is asked from now on.
    pub async fn look_for_replicas(&self) -> Result<(), Error> {
        let info = self.link.ask(redis::cmd("INFO").arg("replication")).await?;
        let info: String = redis::from_redis_value(info).map_err(|_| Error::Unexpected("expected text of INFO"))?;
        self.notice(facts::replicas(&info)?, false);
        Ok(())
    }

    fn notice(&self, replicas: u64, alone: bool) {
        match replicas {
            0 if alone => self.replicas.store(ALONE, Relaxed),
            0 => drop(self.replicas.compare_exchange(UNASKED, ALONE, Relaxed, Relaxed)),
            _ => self.replicas.store(REPLICATED, Relaxed),
        }
    }

    /// Whether one of its replicas has to confirm what is sent.
    pub fn is_replicated(&self) -> bool {
        self.replicas.load(Relaxed) == REPLICATED
    }

    /// A setting of the server; servers that others run do not tell.
    async fn setting(&self, name: &str) -> Option<String> {
        facts::setting(self.link.ask(redis::cmd("CONFIG").arg("GET").arg(name)).await.ok()?)
    }

    /// Takes the key, unless it is taken: absent, or reserved and its lease over.
    pub async fn reserve(
        &self,
        hash: &[u8; 16],
        lease: Duration,
        ttl: Duration,
        meta: &[u8],
    ) -> Result<Reserve, Error> {
        let (lease, ttl) = (within(lease, ttl)?, expiry(ttl)?);
        let call = CALLS.fetch_add(1, Relaxed).to_string();
        let args: [&[u8]; 5] = [self.owner.as_bytes(), call.as_bytes(), lease.as_bytes(), ttl.as_bytes(), meta];
        let reply = self.run(&scripts::RESERVE, hash, &args, None).await?;
        match answer(&reply.value)? {
            (b"mine", [fence]) => Ok(Reserve::Mine { fence: record::number(fence)? }),
            (b"held", rest) => Ok(Reserve::Held(record::held(rest)?)),
            _ => Err(Error::Unexpected("an answer that reserve does not give")),
        }
    }

    /// Reserved to sent. Only after `true` may anything be written to the application; `false` says that the record is
    /// another's. After an error nothing may be written either, and this fence may not be tried again, only released:
    /// what failed may yet be carried out, in whatever order.
    ///
    /// Where there are replicas one of them has to have it, else it is an error, and what was sent is released, or will
    /// be unknown where that fails too. That may take a fifth more than the time of an operation.
    pub async fn sent(
        &self,
        hash: &[u8; 16],
        fence: u64,
        overdue: Duration,
        ttl: Duration,
        meta: &[u8],
    ) -> Result<bool, Error> {
        let (overdue, ttl, number) = (within(overdue, ttl)?, expiry(ttl)?, fence.to_string());
        let args: [&[u8]; 5] = [self.owner.as_bytes(), number.as_bytes(), overdue.as_bytes(), ttl.as_bytes(), meta];
        let wait = self.replicated().await?.then(|| self.wait());
        let reply = self.run(&scripts::SENT, hash, &args, wait).await?;
        if !ok_or_lost(&reply)? {
            return Ok(false);
        }
        let unconfirmed = match reply.replicas {
            None | Some(Ok(1..)) => return Ok(true),
            Some(Ok(_)) => Error::NotReplicated,
            Some(Err(error)) => error,
        };
        let args: [&[u8]; 2] = [self.owner.as_bytes(), number.as_bytes()];
        // Its result is the record's: gone, or unknown before long.
        let _ = self.run_within(self.link.timeout() / 5, &scripts::RELEASE, hash, &args, None).await;
        Err(unconfirmed)
    }

    /// Sent to done; or unknown to done, where its own attempt came late. Done once more by the same attempt, the first
    /// answer stays.
    pub async fn done(&self, hash: &[u8; 16], fence: u64, status: u16, answer: &[u8]) -> Result<Settled, Error> {
        let (fence, status) = (fence.to_string(), status.to_string());
        let args: [&[u8]; 4] = [self.owner.as_bytes(), fence.as_bytes(), status.as_bytes(), answer];
        // Where it is not known whether there are replicas, the answer is kept all the same.
        let wait = self.replicated().await.unwrap_or(true).then(|| self.wait());
        let reply = self.run(&scripts::DONE, hash, &args, wait).await?;
        Ok(match (ok_or_lost(&reply)?, reply.replicas) {
            (false, _) => Settled::Lost,
            (true, None | Some(Ok(1..))) => Settled::Kept,
            (true, Some(_)) => Settled::NotReplicated,
        })
    }

    /// Sent to unknown: nobody waits for its answer any more. False where it is not sent under this fence; a record that
    /// is unknown already is.
    pub async fn unknown(&self, hash: &[u8; 16], fence: u64) -> Result<bool, Error> {
        let fence = fence.to_string();
        ok_or_lost(&self.run(&scripts::UNKNOWN, hash, &[fence.as_bytes()], None).await?)
    }

    /// Reserved or sent to gone: the application definitely did nothing. True where the record does not stand in the way
    /// any more, so also where there is none; false where it is another's, done or unknown, overdue ones included.
    pub async fn release(&self, hash: &[u8; 16], fence: u64) -> Result<bool, Error> {
        let fence = fence.to_string();
        let args: [&[u8]; 2] = [self.owner.as_bytes(), fence.as_bytes()];
        ok_or_lost(&self.run(&scripts::RELEASE, hash, &args, None).await?)
    }

    /// The record of a key.
    pub async fn get(&self, hash: &[u8; 16]) -> Result<Option<Record>, Error> {
        let reply = self.run(&scripts::GET, hash, &[], None).await?;
        match answer(&reply.value)? {
            (b"none", _) => Ok(None),
            (b"held", rest) => record::held(rest).map(Some),
            _ => Err(Error::Unexpected("an answer that get does not give")),
        }
    }

    /// Unknown to done, by an operator's word. False where there is no unknown record of this fence.
    pub async fn resolve_done(&self, hash: &[u8; 16], fence: u64, status: u16, answer: &[u8]) -> Result<bool, Error> {
        self.resolve(hash, fence, b"done", status, answer).await
    }

    /// Unknown to gone, by an operator's word: the next try is forwarded. False where there is no unknown record of this
    /// fence, as after a first call whose answer was lost.
    pub async fn resolve_not_charged(&self, hash: &[u8; 16], fence: u64) -> Result<bool, Error> {
        self.resolve(hash, fence, b"not_charged", 0, b"").await
    }

    async fn resolve(
        &self,
        hash: &[u8; 16],
        fence: u64,
        word: &[u8],
        status: u16,
        answer: &[u8],
    ) -> Result<bool, Error> {
        let (fence, status) = (fence.to_string(), status.to_string());
        let args: [&[u8]; 4] = [fence.as_bytes(), word, status.as_bytes(), answer];
        ok_or_lost(&self.run(&scripts::RESOLVE, hash, &args, None).await?)
    }

    /// Whether a replica has to confirm. Asked of the server where nobody has asked yet: not to know is no reason not
    /// to wait.
    async fn replicated(&self) -> Result<bool, Error> {
        if self.replicas.load(Relaxed) == UNASKED {
            self.examine(false).await?;
        }
        Ok(self.replicas.load(Relaxed) == REPLICATED)
    }

    /// How long a replica may take: so long that what comes of it is still heard in time. Redis looks after those who
    /// wait every 100 ms only.
    fn wait(&self) -> Duration {
        self.link.timeout() / 2
    }

    async fn run(
        &self,
        script: &scripts::Transition,
        hash: &[u8; 16],
        args: &[&[u8]],
        wait: Option<Duration>,
    ) -> Result<Reply, Error> {
        self.run_within(self.link.timeout(), script, hash, args, wait).await
    }

    async fn run_within(
        &self,
        limit: Duration,
        script: &scripts::Transition,
        hash: &[u8; 16],
        args: &[&[u8]],
        wait: Option<Duration>,
    ) -> Result<Reply, Error> {
        let hash = hex(hash);
        let key = format!("{PREFIX}{hash}");
        let args: Vec<&[u8]> = [FORMAT.as_bytes(), hash.as_bytes()].iter().chain(args).copied().collect();
        self.link.run_within(limit, &Call { script, keys: &[&key, OPEN, FENCE], args: &args, wait }).await
    }
}

fn ok_or_lost(reply: &Reply) -> Result<bool, Error> {
    match answer(&reply.value)? {
        (b"ok", _) => Ok(true),
        (b"lost", _) => Ok(false),
        _ => Err(Error::Unexpected("an answer that is neither ok nor lost")),
    }
}

/// Milliseconds, rounded up: none of them is worth a record that goes too early.
fn millis(time: Duration) -> String {
    time.as_nanos().div_ceil(1_000_000).to_string()
}

/// A ttl. Zero would delete what was just written.
fn expiry(ttl: Duration) -> Result<String, Error> {
    if ttl.is_zero() || ttl > LONGEST {
        return Err(Error::Invalid("a ttl of more than 0 and at most 10 years"));
    }
    Ok(millis(ttl))
}

/// A time that must be over before the record is gone.
fn within(time: Duration, ttl: Duration) -> Result<String, Error> {
    if time > ttl {
        Err(Error::Invalid("a ttl no shorter than the lease and the time a sent one has"))
    } else {
        Ok(millis(time))
    }
}
