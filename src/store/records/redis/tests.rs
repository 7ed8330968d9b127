//! Against real redis-servers, which the tests start.

#[path = "../../../../tests/common/redis.rs"]
mod server;

mod outages;
mod races;
mod replication;
mod transitions;

use super::open::PAGE;
use super::*;
use server::{Cable, RedisServer};

const LEASE: Duration = Duration::from_secs(30);
const TOTAL: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(40);

/// A process with this number.
fn process(url: &str, number: u8) -> Redis {
    // Patient, as the machine may be busy; a test that is about time says its own.
    Redis::new(Options { timeout: Duration::from_secs(5), ..Options::new(url) }, [number; 16]).unwrap()
}

fn hash(number: u16) -> [u8; 16] {
    let mut hash = [0xab; 16];
    hash[14..].copy_from_slice(&number.to_be_bytes());
    hash
}

fn key(hash: &[u8; 16]) -> String {
    format!("{PREFIX}{}", hex(hash))
}

impl Redis {
    /// Takes a key that is free.
    #[track_caller]
    fn take(&self, hash: &[u8; 16], lease: Duration) -> impl Future<Output = u64> {
        let at = std::panic::Location::caller();
        async move {
            match self.reserve(hash, lease, TTL, b"meta").await.unwrap() {
                Reserve::Mine { fence } => fence,
                Reserve::Held(record) => panic!("{at}: held: {record:?}"),
            }
        }
    }

    /// Asks for a key that is not free.
    #[track_caller]
    fn meet(&self, hash: &[u8; 16]) -> impl Future<Output = Record> {
        let at = std::panic::Location::caller();
        async move {
            match self.reserve(hash, LEASE, TTL, b"another").await.unwrap() {
                Reserve::Held(record) => record,
                Reserve::Mine { .. } => panic!("{at}: it was free"),
            }
        }
    }

    /// Takes a key and sends.
    async fn send(&self, hash: &[u8; 16], overdue: Duration) -> u64 {
        let fence = self.take(hash, LEASE).await;
        assert!(self.sent(hash, fence, overdue, TTL, b"sent").await.unwrap());
        fence
    }
}

/// The key expires by its ttl: not sooner, and not never.
#[track_caller]
fn kept(server: &RedisServer, hash: &[u8; 16]) {
    let left = server.command(&["PTTL", &key(hash)]).int();
    assert!((TTL.as_millis() as i64 - 20_000..=TTL.as_millis() as i64).contains(&left), "{left} ms are left");
}
