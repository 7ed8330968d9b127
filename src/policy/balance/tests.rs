use proptest::prelude::*;

use super::*;

const WAYS: [LoadBalance; 4] =
    [LoadBalance::RoundRobin, LoadBalance::LeastRequest, LoadBalance::PeakEwma, LoadBalance::ConsistentHash];
const NOW: Duration = Duration::from_secs(1);

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("10.0.0.{i}:3000")).collect()
}

fn idle(_: usize) -> EndpointView {
    EndpointView { usable: true, in_flight: 0, share: 100 }
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn one_endpoint_is_taken_while_it_is_usable() {
    for way in WAYS {
        let balancer = Balancer::new(way, &names(1));
        assert_eq!(balancer.choose(&idle, 7, None, NOW), Some(0));
        assert_eq!(balancer.choose(&|_| EndpointView { usable: false, in_flight: 0, share: 100 }, 7, None, NOW), None);
        assert_eq!(Balancer::new(way, &names(0)).choose(&idle, 7, None, NOW), None);
    }
}

#[test]
fn round_robin_skips_who_is_out_and_stays_even() {
    let balancer = Balancer::new(LoadBalance::RoundRobin, &names(4));
    let mut counts = [0; 4];
    for _ in 0..300 {
        counts
            [balancer.choose(&|e| EndpointView { usable: e != 1, in_flight: 0, share: 100 }, 0, None, NOW).unwrap()] +=
            1;
    }
    assert_eq!(counts, [100, 0, 100, 100]);
}

#[test]
fn peak_ewma_believes_a_slow_answer_at_once_and_forgets_it_slowly() {
    let balancer = Balancer::new(LoadBalance::PeakEwma, &names(2));
    let choose = |now| balancer.choose(&idle, 0, None, now);
    let other = |now| balancer.choose(&idle, 1 << 32, None, now);
    balancer.observe(0, at(10), at(1000));
    balancer.observe(1, at(20), at(1000));
    assert_eq!((choose(at(1000)), other(at(1000))), (Some(0), Some(0)));
    balancer.observe(0, at(500), at(1001));
    assert_eq!((choose(at(1001)), other(at(1001))), (Some(1), Some(1)));
    // One fast answer does not undo it.
    balancer.observe(0, at(1), at(1002));
    assert_eq!(choose(at(1002)), Some(1));
    // A minute later it has faded, while the other is still measured.
    balancer.observe(1, at(20), at(61_000));
    assert_eq!((choose(at(61_000)), other(at(61_000))), (Some(0), Some(0)));
}

#[test]
fn peak_ewma_weighs_what_is_in_flight_and_probes_the_unknown_once() {
    let balancer = Balancer::new(LoadBalance::PeakEwma, &names(2));
    balancer.observe(0, at(10), at(1000));
    assert_eq!(balancer.choose(&idle, 0, None, at(1000)), Some(1), "never asked, idle");
    let probing = |e| EndpointView { usable: true, in_flight: e as u32, share: 100 };
    assert_eq!(balancer.choose(&probing, 0, None, at(1000)), Some(0), "being asked");
    balancer.observe(1, at(15), at(1000));
    let loaded = |e| EndpointView { usable: true, in_flight: 1 - e as u32, share: 100 };
    assert_eq!(balancer.choose(&loaded, 0, None, at(1000)), Some(1), "20 ms against 15");
}

#[test]
fn a_hash_spreads_keys_evenly_and_stays() {
    let balancer = Balancer::new(LoadBalance::ConsistentHash, &names(5));
    let mut counts = [0u32; 5];
    for i in 0..10_000u32 {
        counts[balancer.choose(&idle, 0, Some(hash_key(format!("mer_{i}").as_bytes())), NOW).unwrap()] += 1;
    }
    assert!(counts.iter().all(|c| (1800..2200).contains(c)), "{counts:?}");
    assert_eq!(hash_key(b"mer_0001"), hash_key(b"mer_0001"));
    // The order in which endpoints are listed does not matter.
    let reversed: Vec<String> = names(5).into_iter().rev().collect();
    let other = Balancer::new(LoadBalance::ConsistentHash, &reversed);
    for key in 0..100 {
        let (a, b) =
            (balancer.choose(&idle, 0, Some(key), NOW).unwrap(), other.choose(&idle, 0, Some(key), NOW).unwrap());
        assert_eq!(names(5)[a], reversed[b]);
    }
}

/// How often each of three idle endpoints is chosen in 9000 choices, where the first has this share.
fn chosen_with_share(way: LoadBalance, share: u8) -> [u32; 3] {
    let balancer = Balancer::new(way, &names(3));
    let view = |e| EndpointView { usable: true, in_flight: 0, share: if e == 0 { share } else { 100 } };
    let mut counts = [0; 3];
    for i in 0..9000u32 {
        let draw = hash_key(&i.to_le_bytes());
        counts[balancer.choose(&view, draw, None, NOW).unwrap()] += 1;
    }
    counts
}

#[test]
fn who_starts_slowly_gets_its_share_whatever_the_way() {
    for way in WAYS {
        for share in [10, 50, 100] {
            let [slow, b, c] = chosen_with_share(way, share);
            // Exactly `share` of a third by draw; in turns the others' rounds are shorter, so it is a little more.
            let fair = 3000 * u32::from(share) / 100;
            assert!(slow > fair * 8 / 10 && slow < fair * 15 / 10, "{way:?} {share}: {slow} {b} {c}");
            assert!(b.abs_diff(c) < 600, "{way:?} {share}: {slow} {b} {c}");
        }
    }
}

#[test]
fn who_starts_slowly_takes_everything_where_it_is_the_only_one() {
    for way in WAYS {
        let balancer = Balancer::new(way, &names(3));
        for draw in 0..1000 {
            let only = |e| EndpointView { usable: e == 1, in_flight: 0, share: 10 };
            assert_eq!(balancer.choose(&only, hash_key(&[draw as u8]), Some(draw), NOW), Some(1));
        }
    }
}

#[test]
fn keys_come_home_one_by_one_and_no_other_moves() {
    let balancer = Balancer::new(LoadBalance::ConsistentHash, &names(4));
    let place = |key, out: bool, share| {
        let view = |e| EndpointView { usable: !(out && e == 2), in_flight: 0, share: if e == 2 { share } else { 100 } };
        balancer.choose(&view, any_seed(key), Some(key), NOW).unwrap()
    };
    for key in (0..2000u32).map(|i| hash_key(&i.to_le_bytes())) {
        let (home, away) = (place(key, false, 100), place(key, true, 100));
        let seen: Vec<usize> = (10..=100).map(|share| place(key, false, share)).collect();
        if home != 2 {
            assert!(seen.iter().all(|e| *e == home));
            continue;
        }
        let moved = seen.iter().position(|e| *e == home).unwrap();
        assert!(seen[..moved].iter().all(|e| *e == away) && seen[moved..].iter().all(|e| *e == home), "{seen:?}");
    }
}

/// Another seed for each call with the same key: it must not matter.
fn any_seed(key: u64) -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    key.wrapping_mul(CALLS.fetch_add(1, Ordering::Relaxed))
}

proptest! {
    #[test]
    fn never_an_unusable_one_and_always_one_if_there_is(views in prop::collection::vec((any::<bool>(), 0u32..9, 0u8..=100), 1..12), seed: u64, key: Option<u64>) {
        let view = |e: usize| EndpointView { usable: views[e].0, in_flight: views[e].1, share: views[e].2 };
        for way in WAYS {
            let chosen = Balancer::new(way, &names(views.len())).choose(&view, seed, key, NOW);
            prop_assert_eq!(chosen.is_some(), views.iter().any(|v| v.0));
            prop_assert!(chosen.is_none_or(|e| views[e].0));
        }
    }

    #[test]
    fn least_request_never_takes_the_most_loaded(loads in prop::collection::hash_set(0u32..100, 2..12), seed: u64) {
        let loads: Vec<u32> = loads.into_iter().collect();
        let chosen = Balancer::new(LoadBalance::LeastRequest, &names(loads.len()))
            .choose(&|e| EndpointView { usable: true, in_flight: loads[e], share: 100 }, seed, None, NOW).unwrap();
        prop_assert!(loads[chosen] < *loads.iter().max().unwrap());
    }

    #[test]
    fn an_endpoint_that_leaves_takes_its_own_keys_alone(n in 2usize..12, out in any::<prop::sample::Index>(), keys in prop::collection::vec(any::<u64>(), 50)) {
        let out = out.index(n);
        let balancer = Balancer::new(LoadBalance::ConsistentHash, &names(n));
        for key in keys {
            let before = balancer.choose(&idle, 0, Some(key), NOW).unwrap();
            let after = balancer.choose(&|e| EndpointView { usable: e != out, in_flight: 0, share: 100 }, 0, Some(key), NOW).unwrap();
            prop_assert!(before == after || before == out);
        }
    }

    #[test]
    fn round_robin_is_even_within_one(n in 2usize..9, usable in prop::collection::vec(any::<bool>(), 9), rounds in 1usize..60) {
        let balancer = Balancer::new(LoadBalance::RoundRobin, &names(n));
        let mut counts = vec![0; n];
        for _ in 0..rounds {
            if let Some(e) = balancer.choose(&|e| EndpointView { usable: usable[e], in_flight: 0, share: 100 }, 0, None, NOW) {
                counts[e] += 1;
            }
        }
        let shares: Vec<i32> = counts.iter().zip(&usable).filter(|(_, u)| **u).map(|(c, _)| *c).collect();
        prop_assert!(shares.iter().max().unwrap_or(&0) - shares.iter().min().unwrap_or(&0) <= 1);
    }
}
