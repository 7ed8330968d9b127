//! How often what is asked for is in the store: the same requests to our store, to a model of an exact LRU, and to Varnish.
//!
//! `cargo bench --bench zipf` draws 100,000 keys, the k-th in proportion to 1/k, from a fixed seed; every store has room
//! for 10,000 objects of one size. Varnish runs where `varnishd` is installed, and is given the memory in which it holds
//! that many: how much that is, is found out first. `-- models` leaves Varnish out, `-- models 60000` has bodies of that
//! size instead of 1,024 bytes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod varnish;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use outboard::store::{Generations, Insert, Memory, Object, Parts, Selector};

const KEYS: usize = 100_000;
const ROOM: usize = 10_000;
const REQUESTS: usize = 1_000_000;
const SEED: u64 = 20_261_125;

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }
}

/// The keys that are asked for, one after the other. The most frequent is 0.
fn trace(seed: u64) -> Vec<u32> {
    let upto: Vec<f64> = (1..=KEYS)
        .scan(0.0, |sum, k| {
            *sum += 1.0 / k as f64;
            Some(*sum)
        })
        .collect();
    let all = upto[KEYS - 1];
    let mut random = Random(seed);
    let mut draw = || (random.next() >> 11) as f64 / (1u64 << 53) as f64 * all;
    (0..REQUESTS)
        .map(|_| {
            let at = draw();
            upto.partition_point(|sum| *sum <= at).min(KEYS - 1) as u32
        })
        .collect()
}

/// The share of hits, of all requests and of the second half, when the store is full.
struct Ratio {
    all: f64,
    second_half: f64,
}

impl Ratio {
    fn of(hits: &[bool]) -> Ratio {
        let share = |hits: &[bool]| hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64;
        Ratio { all: share(hits), second_half: share(&hits[hits.len() / 2..]) }
    }

    fn print(&self, who: &str, held: usize) {
        println!(
            "{who}: {:.4} of all requests, {:.4} of the second half; {held} objects at the end",
            self.all, self.second_half
        );
    }
}

fn ours(trace: &[u32], seed: u64, body: usize) -> (Ratio, usize) {
    let generations = Arc::new(Generations::new([seed, 2]));
    let body = Bytes::from(vec![b'x'; body]);
    let object = |key: u32| {
        let key = format!("http://h/{key:06}");
        Arc::new(
            Object::new(Parts {
                key: key.as_bytes(),
                place: 7..key.len(),
                status: 200,
                head: b"Content-Type: application/json\r\nCache-Control: max-age=86400\r\n",
                etag: None,
                last_modified: None,
                body: body.clone(),
                selector: Selector::default(),
                slots: &[],
                filed_at: generations.now(),
                life: (),
                flags: 0,
            })
            .unwrap(),
        )
    };
    let memory = Memory::new(ROOM as u64 * object(0).weight(), [seed, 4], Arc::clone(&generations));
    let mut ask = |key: &u32| {
        let text = format!("http://h/{key:06}");
        let hit = memory.get(memory.key(text.as_bytes())).is_some();
        if !hit {
            let mut insert = memory.insert(object(*key));
            while let Insert::More(pending) = insert {
                insert = pending.step();
            }
            assert!(matches!(insert, Insert::Kept));
        }
        hit
    };
    let hits: Vec<bool> = trace.iter().map(&mut ask).collect();
    (Ratio::of(&hits), memory.objects() as usize)
}

/// The model: what was asked for the longest time ago goes.
fn lru(trace: &[u32]) -> (Ratio, usize) {
    let (mut asked, mut order) = (HashMap::new(), BTreeMap::new());
    let mut ask = |(now, key): (usize, &u32)| {
        let before = asked.insert(*key, now);
        if let Some(before) = before {
            order.remove(&before);
        } else if order.len() == ROOM {
            let (_, oldest) = order.pop_first().unwrap();
            asked.remove(&oldest);
        }
        order.insert(now, *key);
        before.is_some()
    };
    let hits: Vec<bool> = trace.iter().enumerate().map(&mut ask).collect();
    (Ratio::of(&hits), order.len())
}

/// What is the best that can be known beforehand: the most frequent keys, for ever.
fn best(trace: &[u32]) -> Ratio {
    Ratio::of(&trace.iter().map(|key| (*key as usize) < ROOM).collect::<Vec<_>>())
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let body = wanted.get(1).map_or(1024, |size| size.parse().unwrap());
    let trace = trace(SEED);
    println!("{REQUESTS} requests for {KEYS} keys, Zipf(1.0), seed {SEED}; room for {ROOM} objects");
    best(&trace).print("the most frequent keys, held for ever", ROOM);
    for seed in 1..=3 {
        let (ratio, held) = ours(&trace, seed, body);
        ratio.print(&format!("outboard, hash seed {seed}"), held);
    }
    let (ratio, held) = lru(&trace);
    ratio.print("an exact LRU", held);
    if wanted.first().is_some_and(|wanted| wanted == "models") {
        return;
    }
    match varnish::run(&trace, ROOM) {
        Ok((hits, held)) => Ratio::of(&hits).print("Varnish", held),
        Err(error) => println!("Varnish was not asked: {error}"),
    }
}
