use crate::policy::parts::Parts;
use proptest::prelude::*;

use super::*;
use crate::policy::rate_limit::Algorithm;

const NOW: Duration = Duration::from_secs(1000);

fn window(rate: &str) -> Limit {
    Limit::new(Algorithm::SlidingWindow, rate.parse().unwrap(), None)
}

fn bucket(rate: &str, burst: u32) -> Limit {
    Limit::new(Algorithm::TokenBucket, rate.parse().unwrap(), Some(burst))
}

fn key(table: &Table, name: &str, n: u64) -> u64 {
    let mut hasher = table.hasher();
    hasher.part(name.as_bytes());
    hasher.part(&n.to_le_bytes());
    hasher.finish()
}

/// A key that falls into the first shard (of limits without salt, or all with the same), to fill it with few.
fn crowded(table: &Table, name: &str, n: u64) -> u64 {
    key(table, name, n) & !((SHARDS as u64 - 1) << 40)
}

fn allowed(decision: Decision) -> bool {
    matches!(decision, Decision::Allowed { .. })
}

impl Table {
    /// Every key is found where it lies, and nothing else is.
    fn check(&self) {
        for (number, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock();
            assert_eq!(shard.index.len(), shard.entries.len());
            assert!(shard.entries.len() <= SHARD_ENTRIES);
            for (at, entry) in shard.entries.iter().enumerate() {
                assert_eq!((entry.key >> 40) as usize % SHARDS, number);
                let found = shard.index.find(entry.key, |i| shard.entries[*i as usize].key == entry.key);
                assert_eq!(found, Some(&(at as u32)));
            }
        }
    }
}

#[test]
fn keys_are_counted_apart() {
    let table = Table::new([1, 2]);
    for limit in [window("3/1m"), bucket("3/1m", 3)] {
        for n in 0..100 {
            let count = (0..5).filter(|_| allowed(table.take(&limit, key(&table, "a", n), NOW))).count();
            assert_eq!(count, 3);
        }
    }
    assert_eq!(table.len(), 200);
    table.check();
}

#[test]
fn a_limit_whose_span_changed_counts_anew_and_one_whose_count_changed_goes_on() {
    let table = Table::new([1, 2]);
    let key = key(&table, "a", 1);
    assert!(allowed(table.take(&window("1/1m"), key, NOW)));
    assert!(allowed(table.take(&window("1/2m"), key, NOW)));
    assert_eq!(table.take(&window("3/1m"), key, NOW), Decision::Allowed { remaining: 1 });
    assert_eq!(table.take(&bucket("1/1m", 3), key, NOW), Decision::Allowed { remaining: 2 });
    assert_eq!(table.take(&bucket("1/1m", 4), key, NOW), Decision::Allowed { remaining: 2 });
}

#[test]
fn what_a_later_limit_refuses_is_given_back() {
    let table = Table::new([1, 2]);
    let key = key(&table, "a", 1);
    for limit in [window("2/1m"), bucket("2/1m", 2), window("1000/1m")] {
        let Decision::Allowed { remaining } = table.take(&limit, key, NOW) else { panic!("full at first") };
        for _ in 0..10_000 {
            assert_eq!(table.take(&limit, key, NOW), Decision::Allowed { remaining: remaining - 1 });
            table.give_back(&limit, key, NOW);
        }
        table.give_back(&limit, key ^ 1, NOW);
    }
    table.check();
}

#[test]
fn a_few_keys_cost_next_to_nothing_and_a_sweep_gives_memory_back() {
    let table = Table::new([1, 2]);
    let (short, long) = (window("5/1s"), bucket("1/1h", 1));
    assert!(table.is_empty() && table.bytes() < 16 << 10, "{}", table.bytes());
    for n in 0..200_000 {
        table.take(&short, key(&table, "short", n), NOW);
    }
    let kept = key(&table, "long", 1);
    table.take(&long, kept, NOW);
    let full = table.bytes();
    table.sweep(NOW);
    assert_eq!((table.len(), table.bytes()), (200_001, full), "nothing is over yet");
    table.sweep(NOW + Duration::from_secs(2));
    table.check();
    assert_eq!(table.len(), 1);
    assert!(table.bytes() < 32 << 10, "{}", table.bytes());
    assert!(!allowed(table.take(&long, kept, NOW + Duration::from_secs(2))), "what is not over stays");
    table.sweep(NOW + Duration::from_secs(4000));
    assert!(table.is_empty());
}

#[test]
fn a_million_keys_stay_under_eighty_megabytes() {
    let table = Table::new([1, 2]);
    let limit = window("100/1m");
    for n in 0..1_000_000 {
        table.take(&limit, key(&table, "a", n), NOW);
    }
    assert_eq!(table.len(), 1_000_000);
    assert!(table.bytes() < 80_000_000, "{}", table.bytes());
    // And some more: the table is full, and grows no more.
    for n in 1_000_000..1_200_000 {
        table.take(&limit, key(&table, "a", n), NOW);
    }
    assert_eq!(table.len(), SHARDS * SHARD_ENTRIES);
    assert!(table.bytes() < 80_000_000, "{}", table.bytes());
    table.check();
}

#[test]
fn a_busy_key_survives_a_million_that_are_invented() {
    let table = Table::new([1, 2]);
    let limit = window("100/1m");
    let busy: Vec<u64> = (0..100).map(|n| crowded(&table, "busy", n)).collect();
    for key in &busy {
        assert_eq!((0..30).filter(|_| allowed(table.take(&limit, *key, NOW))).count(), 30);
    }
    for n in 0..1_000_000 {
        table.take(&limit, crowded(&table, "invented", n), NOW);
    }
    for key in &busy {
        assert_eq!(table.take(&limit, *key, NOW), Decision::Allowed { remaining: 69 });
    }
}

#[test]
fn who_is_refused_elsewhere_does_not_look_busy() {
    let table = Table::new([1, 2]);
    let (mine, once) = (window("100/1m"), window("1/1m"));
    let busy = crowded(&table, "busy", 1);
    (0..50).for_each(|_| assert!(allowed(table.take(&mine, busy, NOW))));
    // Each of these would be at its limit; another limit refuses it, so it is given back.
    for n in 0..1_000_000 {
        let key = crowded(&table, "invented", n);
        table.take(&once, key, NOW);
        table.give_back(&once, key, NOW);
    }
    assert_eq!(table.take(&mine, busy, NOW), Decision::Allowed { remaining: 49 });
}

#[test]
fn what_is_over_makes_place_first() {
    let table = Table::new([1, 2]);
    let (short, long) = (window("1/1s"), window("1000/1h"));
    for n in 0..15_000 {
        table.take(&short, crowded(&table, "short", n), NOW);
    }
    let later = NOW + Duration::from_secs(60);
    for n in 0..6_000 {
        table.take(&long, crowded(&table, "long", n), later);
    }
    // Those at their limit are over by now: they went, and the keys that were hardly used stayed.
    let kept = (0..6_000).filter(|n| {
        let Decision::Allowed { remaining } = table.take(&long, crowded(&table, "long", *n), later) else {
            return false;
        };
        remaining == 998
    });
    assert!(kept.count() > 5_990);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Keys that come and go at random while sweeps run: every key is found, and none counts for another.
    #[test]
    fn the_index_and_the_entries_agree(steps in prop::collection::vec((0u64..4000, 0u64..400), 1..4000)) {
        let table = Table::new([3, 4]);
        let (short, long) = (window("2/1s"), bucket("1/2s", 1));
        let mut now = NOW;
        for (n, wait) in steps {
            let limit = if n % 3 == 0 { &long } else { &short };
            table.take(limit, key(&table, "a", n), now);
            now += Duration::from_millis(wait / 20);
            if wait == 7 {
                table.sweep(now);
                table.check();
            }
        }
        table.check();
        table.sweep(now + Duration::from_secs(10));
        prop_assert!(table.is_empty());
    }
}
