//! What one decision of a rate limit costs, with one key in the table and with a million.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use outboard::policy::parts::Parts;
use outboard::policy::rate_limit::{Algorithm, Decision, KeyHasher, Limit, Table};
use outboard::units::Rate;

const MANY: u64 = 1_000_000;

fn limit(algorithm: Algorithm, count: u32, seconds: u64) -> Option<Limit> {
    let rate = Rate::new(count, outboard::units::Duration::from_secs(seconds))?;
    Some(Limit::new(algorithm, rate, None))
}

fn key(prefix: &KeyHasher, n: u64) -> u64 {
    let mut hasher = prefix.clone();
    hasher.part(&n.to_le_bytes());
    hasher.finish()
}

/// The numbers of keys in an order that no cache foresees.
fn scattered(n: &mut u64) -> u64 {
    *n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*n >> 33) % MANY
}

fn decisions(c: &mut Criterion) {
    for algorithm in [Algorithm::SlidingWindow, Algorithm::TokenBucket] {
        let (Some(wide), Some(narrow)) = (limit(algorithm, 1_000_000_000, 1), limit(algorithm, 1, 86400)) else {
            continue;
        };
        let table = Table::new([1, 2]);
        let mut prefix = table.hasher();
        prefix.part(b"payments/per-merchant");
        let mut now = Duration::from_secs(1);
        let mut tick = move || {
            now += Duration::from_micros(10);
            now
        };
        let allowed = |decision| matches!(decision, Decision::Allowed { .. });

        assert!(allowed(table.take(&wide, key(&prefix, 0), tick())));
        c.bench_function(&format!("{algorithm:?}: allow, 1 key"), |b| {
            b.iter(|| table.take(black_box(&wide), key(&prefix, black_box(0)), tick()))
        });
        table.take(&narrow, key(&prefix, 1), tick());
        assert!(!allowed(table.take(&narrow, key(&prefix, 1), tick())));
        c.bench_function(&format!("{algorithm:?}: refuse, 1 key"), |b| {
            b.iter(|| table.take(black_box(&narrow), key(&prefix, black_box(1)), tick()))
        });

        // All of them stay in the table: a day has to pass until they are over.
        let Some(daily) = limit(algorithm, 1_000_000_000, 86400) else { continue };
        for n in 0..MANY {
            table.take(&daily, key(&prefix, n), tick());
        }
        let mut n = 1;
        c.bench_function(&format!("{algorithm:?}: allow, one of {MANY} keys"), |b| {
            b.iter(|| table.take(black_box(&daily), key(&prefix, scattered(&mut n)), tick()))
        });
        // The table is filled to the brim; from then on every key takes the place of another.
        let mut n = MANY;
        for _ in 0..200_000 {
            n += 1;
            table.take(&daily, key(&prefix, n), tick());
        }
        c.bench_function(&format!("{algorithm:?}: allow, a new key in a full table"), |b| {
            b.iter(|| {
                n += 1;
                table.take(black_box(&daily), key(&prefix, n), tick())
            })
        });
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
