//! What may not allocate, counted; a binary of its own because it counts with its own allocator.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use allocation_counter::measure;
use outboard::policy::rate_limit::{Algorithm, Decision, Limit, Table};

fn limits() -> [Limit; 3] {
    [
        Limit::new(Algorithm::SlidingWindow, "20/1m".parse().unwrap(), None),
        Limit::new(Algorithm::SlidingWindow, "5000/1s".parse().unwrap(), None),
        Limit::new(Algorithm::TokenBucket, "20/1m".parse().unwrap(), Some(5)),
    ]
}

/// Hashes a key and asks every limit about it, as a request does.
fn ask(table: &Table, limits: &[Limit], now: Duration) -> [usize; 2] {
    let mut answers = [0; 2];
    let mut hasher = table.hasher();
    hasher.part(b"payments");
    hasher.part(b"mer_0001");
    let key = hasher.finish();
    for limit in limits {
        match table.take(limit, key, now) {
            Decision::Allowed { .. } => {
                answers[0] += 1;
                table.give_back(limit, key, now);
                table.take(limit, key, now);
            }
            Decision::Refused { .. } => answers[1] += 1,
        }
    }
    answers
}

#[test]
fn a_rate_limit_allocates_nothing_for_a_key_it_knows() {
    let (table, limits) = (Table::new([1, 2]), limits());
    ask(&table, &limits, Duration::ZERO);
    let mut answers = [0; 2];
    let counted = measure(|| {
        for n in 1..10_000 {
            let [allowed, refused] = ask(&table, &limits, Duration::from_millis(n * 7));
            answers = [answers[0] + allowed, answers[1] + refused];
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(answers[0] > 1000 && answers[1] > 1000, "both answers were given: {answers:?}");
    assert!(measure(|| drop(Table::new([1, 2]))).count_total > 0, "the counter counts");
}

#[test]
#[ignore = "a measurement of resident memory, which what else this process does would disturb"]
fn a_million_keys_are_under_a_hundred_megabytes_resident() {
    let resident = || -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let before = resident();
    let (table, limit) = (Table::new([1, 2]), limits()[0]);
    for n in 0u64..1_000_000 {
        let mut hasher = table.hasher();
        hasher.part(&n.to_le_bytes());
        table.take(&limit, hasher.finish(), Duration::from_secs(1));
    }
    let full = resident() - before;
    table.sweep(Duration::from_secs(100));
    let after = resident().saturating_sub(before);
    println!(
        "{} bytes allocated for none, {full} resident for a million keys, {after} after they are over",
        table.bytes()
    );
    assert!(full < 100_000_000, "{full}");
}
