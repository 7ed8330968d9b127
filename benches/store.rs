//! What the store of answers costs: memory for a million objects, the slowest insert into a full store, and a hit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use outboard::store::{Generations, How, Insert, Kind, Memory, Object, Parts, Selector, State};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MANY: u64 = 1_000_000;

/// As large as what the proxy will say of an answer's life.
type Life = [u64; 4];

fn memory(capacity: u64) -> Memory<Life> {
    Memory::new(capacity, [1, 2], Arc::new(Generations::new([3, 4])))
}

/// 60 bytes.
fn key(n: u64) -> String {
    format!("https://api.example.com/v1/payments/pay_{n:010}?expand=al")
}

/// 200 bytes.
fn head() -> Vec<u8> {
    let fields = "Content-Type: application/json\r\nCache-Control: public, max-age=60\r\nETag: \"0123456789abcdef\"\r\n\
                  Date: Wed, 25 Nov 2026 20:00:00 GMT\r\nServer: payments\r\n";
    let mut head = fields.as_bytes().to_vec();
    let rest = 200 - head.len() - "X-Request-Id: \r\n".len();
    head.extend_from_slice(format!("X-Request-Id: {}\r\n", "f".repeat(rest)).as_bytes());
    head
}

fn object(memory: &Memory<Life>, n: u64, head: &[u8], body: &Bytes) -> Arc<Object<Life>> {
    let key = key(n);
    let generations = memory.generations();
    let names = [(Kind::Route, "payments"), (Kind::Pattern, "/v1/payments/{*rest}"), (Kind::Url, key.as_str())];
    let parts = Parts {
        key: key.as_bytes(),
        place: 8..50,
        status: 200,
        head,
        etag: Some(74..92),
        last_modified: None,
        body: body.clone(),
        selector: Selector::default(),
        slots: &names.map(|(kind, name)| generations.slot(kind, name.as_bytes())),
        filed_at: generations.now(),
        life: [n; 4],
        flags: 0,
    };
    Arc::new(Object::new(parts).unwrap())
}

fn store(memory: &Memory<Life>, object: Arc<Object<Life>>) {
    let mut insert = memory.insert(object);
    while let Insert::More(pending) = insert {
        insert = pending.step();
    }
    assert!(matches!(insert, Insert::Kept));
}

/// What this process keeps in memory, without what it shares with others.
fn resident() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// A million objects, their bodies of this size, and then as many again in a store that is full of them.
fn million(size: usize) {
    let (head, body) = (head(), Bytes::from(vec![b'x'; size]));
    assert_eq!((key(7).len(), head.len()), (60, 200));
    let payload = MANY * (60 + 200 + size as u64);
    let tell = |what: &str, memory: &Memory<Life>, grown: u64, payload: u64| {
        let ratio = |of: u64| grown as f64 / of as f64;
        println!(
            "{what}, {size} bytes: {} objects, {:.0} MB resident, {:.3} times key + head + body, {:.3} times what is counted",
            memory.objects(),
            grown as f64 / 1e6,
            ratio(payload),
            ratio(memory.bytes()),
        );
    };
    let before = resident();
    let memory = memory(MANY * (1024 + size as u64 * 2));
    for n in 0..MANY {
        store(&memory, object(&memory, n, &head, &body));
    }
    assert_eq!(memory.objects(), MANY);
    tell("a million objects", &memory, resident() - before, payload);
    let counted = memory.bytes();
    drop(memory);

    let full = self::memory(counted);
    for n in 0..3 * MANY {
        store(&full, object(&full, n, &head, &body));
    }
    let payload = full.objects() * (60 + 200 + size as u64);
    tell("a full store after two million more", &full, resident() - before, payload);
}

/// The time that this thread has run: others on the machine do not count.
fn run() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Inserts into a full store, each timed: the slowest, and where most of them lie.
fn slowest() {
    let head = head();
    let small = Bytes::from(vec![b'x'; 1024]);
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    let full = memory(256 << 20);
    for n in 0..300_000 {
        store(&full, object(&full, n, &head, &small));
        // Asked for, so that all are looked at before one of them may go.
        for key in [key(n), key(n / 2), key(n / 3)] {
            black_box(full.get(full.key(key.as_bytes())));
        }
    }
    let mut times = Vec::with_capacity(500_000);
    let mut most = 0;
    let mut timed = |step: &mut dyn FnMut()| {
        let (evictions, start) = (full.evictions(), run());
        step();
        times.push(run().saturating_sub(start));
        most = most.max(full.evictions() - evictions);
    };
    for n in 0..200_000 {
        let mut next = Some(object(&full, 1_000_000 + n, &head, if n % 1000 == 0 { &large } else { &small }));
        let mut insert = None;
        timed(&mut || insert = next.take().map(|object| full.insert(object)));
        while let Some(Insert::More(pending)) = insert {
            let mut pending = Some(pending);
            insert = None;
            timed(&mut || insert = pending.take().map(|pending| pending.step()));
        }
        black_box(full.get(full.key(key(1_000_000 + n / 2).as_bytes())));
    }
    let count = times.len();
    tell("insert into a full store, 1 KB and now and then 1 MB in steps", times);
    println!(
        "most driven out at once {most}; {:.4} of the capacity in use",
        full.bytes() as f64 / full.capacity() as f64
    );
    // What a shared machine adds to anything: steps that do nothing but reckon, for about as long.
    let spin = || {
        let start = run();
        black_box((0..1000u64).fold(1, |n: u64, m| black_box(n.wrapping_mul(m | 1))));
        run().saturating_sub(start)
    };
    tell("as many steps that touch no memory", (0..count).map(|_| spin()).collect());
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let over = times.iter().filter(|time| **time > Duration::from_micros(200)).count();
    println!(
        "{what}: median {:?}, 99.9% {:?}, 99.99% {:?}, slowest {:?}; {over} of {} over 200 µs",
        at(0.5),
        at(0.999),
        at(0.9999),
        at(1.0),
        times.len(),
    );
}

/// The numbers of objects in an order that no cache foresees.
fn scattered(n: &mut u64, of: u64) -> u64 {
    *n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*n >> 33) % of
}

/// A key as [`key`] makes it, in place: what a request brings is in the processor's cache.
fn rewrite(key: &mut [u8], mut n: u64) {
    for digit in key[40..50].iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

fn hits(c: &mut Criterion) {
    let (head, body) = (head(), Bytes::from(vec![b'x'; 1024]));
    for count in [1, MANY] {
        let memory = memory(4 << 30);
        for n in 0..count {
            store(&memory, object(&memory, n, &head, &body));
        }
        let (mut key, mut n) = (key(0).into_bytes(), 1);
        let mut hit = |then: &mut dyn FnMut(&Object<Life>)| {
            rewrite(&mut key, scattered(&mut n, count));
            let variants = memory.get(memory.key(&key)).unwrap();
            let object = &variants.as_slice()[0];
            assert_eq!(memory.state(object), State::Valid);
            then(object);
        };
        c.bench_function(&format!("a hit: found and valid, of {count} objects"), |b| {
            b.iter(|| {
                hit(&mut |object| {
                    black_box((object.life(), object.hit()));
                })
            })
        });
        let mut answer = Vec::with_capacity(2048);
        c.bench_function(&format!("a hit: found, valid and copied for sending, of {count} objects"), |b| {
            b.iter(|| {
                hit(&mut |object| {
                    answer.clear();
                    answer.extend_from_slice(object.head());
                    answer.extend_from_slice(object.body());
                    black_box(answer.len());
                })
            })
        });
        let other = memory.generations().slot(Kind::Tag, b"another");
        c.bench_function(&format!("a hit after a raise of something else, of {count} objects"), |b| {
            b.iter(|| {
                memory.generations().raise(&[other], How::Hard);
                hit(&mut |object| {
                    black_box(object.life());
                })
            })
        });
    }
}

fn main() {
    // `cargo bench --bench store -- memory` does only that.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted[0] == part;
    if let Some(size) = wanted.get(1).and_then(|size| size.parse().ok()) {
        return million(size);
    }
    if is_wanted("memory") {
        for size in ["1024", "1000", "700", "2000"] {
            // In a process of its own each: what was given back to the allocator would count for the next one.
            let this = std::env::current_exe().unwrap();
            std::process::Command::new(this).args(["memory", size]).status().unwrap();
        }
    }
    if is_wanted("slowest") {
        slowest();
    }
    if is_wanted("hits") {
        let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).without_plots();
        hits(&mut criterion);
        criterion.final_summary();
    }
}
