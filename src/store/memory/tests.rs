use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use proptest::prelude::*;

use super::variants::MOST_VARIANTS;
use super::*;
use crate::store::generations::{Kind, MOST_PREFIXES};
use crate::store::object::tests::{filed, object};

const MIB: u64 = 1 << 20;

fn memory(capacity: u64) -> Memory<u32> {
    Memory::new(capacity, [3, 4], Arc::new(Generations::new([1, 2])))
}

fn new(memory: &Memory<u32>, path: &str, values: &str, size: usize, life: u32) -> Arc<Object<u32>> {
    Arc::new(object(memory.generations(), path, values, &vec![b'x'; size], life))
}

/// Stores an object, however many steps that takes.
fn store(memory: &Memory<u32>, object: &Arc<Object<u32>>) -> bool {
    let mut insert = memory.insert(Arc::clone(object));
    loop {
        insert = match insert {
            Insert::Kept => return true,
            Insert::Raced | Insert::TooLarge => return false,
            Insert::More(pending) => pending.step(),
        }
    }
}

fn get(memory: &Memory<u32>, path: &str) -> Vec<u32> {
    let key = format!("https://h{path}");
    let variants = memory.get(memory.key(key.as_bytes()));
    variants.map_or(Vec::new(), |variants| variants.as_slice().iter().map(|object| object.life()).collect())
}

/// All that is counted fits what is there.
fn check(memory: &Memory<u32>) {
    let all: Vec<_> = memory.index.iter().filter_map(|(_, entry)| kept(entry)).collect();
    assert_eq!(memory.objects(), all.iter().map(|v| v.as_slice().len() as u64).sum::<u64>());
    assert_eq!(memory.bytes(), all.iter().map(Variants::weight).sum::<u64>());
    assert_eq!(memory.room.beyond(), all.iter().map(|v| memory.weights.beyond(v)).sum::<u64>());
    let ballast = memory.index.iter().map(|(_, entry)| if let Entry::Ballast(weight) = entry { weight } else { 0 });
    assert_eq!(memory.room.ballast(), ballast.sum::<u64>());
    assert!(memory.index.weight() <= memory.capacity + STEP * memory.index.num_shards() as u64);
    assert!(memory.bytes() <= memory.capacity + memory.capacity / 50, "{} bytes", memory.bytes());
}

#[test]
fn a_task_may_wait_for_room_on_any_thread() {
    fn check<T: Send>() {}
    check::<Insert<'_, u32>>();
    check::<Variants<u32>>();
}

#[test]
fn what_was_stored_last_is_found() {
    let memory = memory(8 * MIB);
    assert!(get(&memory, "/a").is_empty());
    assert!(store(&memory, &new(&memory, "/a", "", 100, 1)) && store(&memory, &new(&memory, "/b", "", 100, 2)));
    assert_eq!((get(&memory, "/a"), get(&memory, "/b")), (vec![1], vec![2]));
    assert!(store(&memory, &new(&memory, "/a", "", 100, 3)));
    assert_eq!((get(&memory, "/a"), memory.objects(), memory.evictions()), (vec![3], 2, 0));
    check(&memory);
    assert_eq!(memory.remove(memory.key(b"https://h/a")), 1);
    assert_eq!(memory.remove(memory.key(b"https://h/a")), 0);
    assert!(get(&memory, "/a").is_empty());
    check(&memory);
    memory.clear();
    assert_eq!((memory.objects(), memory.bytes(), memory.room.beyond()), (0, 0, 0));
}

#[test]
fn keys_with_one_hash_are_two_keys() {
    let memory = memory(8 * MIB);
    store(&memory, &new(&memory, "/a", "", 100, 1));
    let key = memory.key(b"https://h/a");
    assert!(memory.get(key).is_some());
    assert!(memory.get(Key { hash: key.hash, bytes: b"https://h/b" }).is_none());
    assert!(memory.get(Key { hash: key.hash, bytes: b"" }).is_none());
    let ballast = Key { hash: 0, bytes: b"" };
    memory.room.raise(|shard, weight| memory.set_ballast(shard, weight, &mut Vec::new()));
    assert!(memory.get(ballast).is_none() && memory.remove(ballast) == 0, "no key leads to the ballast");
}

#[test]
fn answers_that_vary_stand_beside_each_other() {
    let memory = memory(8 * MIB);
    for (values, life) in [("de", 1), ("fr", 2), ("de", 3)] {
        store(&memory, &new(&memory, "/a", values, 100, life));
    }
    assert_eq!(get(&memory, "/a"), [3, 2], "the newest first, and one for each selection");
    let variants = memory.get(memory.key(b"https://h/a")).unwrap();
    assert_eq!(variants.find(|o| o.selector().values == b"fr").unwrap().life(), 2);
    assert!(variants.find(|o| o.selector().values == b"es").is_none());
    assert!(memory.remove_variant(variants.find(|o| o.life() == 3).unwrap()));
    assert!(!memory.remove_variant(variants.find(|o| o.life() == 3).unwrap()));
    assert_eq!(get(&memory, "/a"), [2]);
    store(&memory, &new(&memory, "/a", "", 100, 4));
    assert_eq!(get(&memory, "/a"), [4], "the newest answer varies by nothing");
    store(&memory, &new(&memory, "/a", "de", 100, 5));
    assert_eq!(get(&memory, "/a"), [5], "and now it does");
    check(&memory);
}

#[test]
fn the_oldest_of_seventeen_goes() {
    let memory = memory(8 * MIB);
    for n in 0..=MOST_VARIANTS as u32 {
        store(&memory, &new(&memory, "/a", &n.to_string(), 1000, n));
    }
    assert_eq!(get(&memory, "/a"), (1..=MOST_VARIANTS as u32).rev().collect::<Vec<_>>());
    assert_eq!((memory.objects(), memory.evictions()), (MOST_VARIANTS as u64, 0));
    check(&memory);
}

#[test]
fn what_was_invalidated_meanwhile_is_not_stored() {
    let memory = memory(8 * MIB);
    let generations = memory.generations();
    let raise = |name: &[u8]| generations.raise(&[generations.slot(Kind::Path, name)], How::Hard);
    let fetch = new(&memory, "/a", "de", 100, 1);
    raise(b"/a");
    assert!(matches!(memory.insert(fetch), Insert::Raced));
    let large = new(&memory, "/a", "de", 500_000, 2);
    let Insert::More(pending) = memory.insert(large) else { panic!("that much needs room") };
    raise(b"/a");
    let mut insert = pending.step();
    while let Insert::More(pending) = insert {
        insert = pending.step();
    }
    assert!(matches!(insert, Insert::Raced), "while it waited for room");
    assert!(get(&memory, "/a").is_empty());

    store(&memory, &new(&memory, "/a", "de", 100, 3));
    raise(b"/a");
    store(&memory, &new(&memory, "/a", "fr", 100, 4));
    assert_eq!(get(&memory, "/a"), [4], "what is gone is not carried on");
    check(&memory);
}

#[test]
fn an_object_is_replaced_only_while_it_is_there() {
    let memory = memory(8 * MIB);
    let first = new(&memory, "/a", "de", 10_000, 1);
    let other = new(&memory, "/a", "fr", 100, 2);
    assert!(store(&memory, &first) && store(&memory, &other));
    let encoded = Arc::new(first.with_form(0, Bytes::from(vec![0; 2000])));
    assert!(memory.replace(&first, &encoded));
    assert!(!memory.replace(&first, &encoded), "it is gone");
    assert_eq!((get(&memory, "/a"), memory.objects()), (vec![2, 1], 2));
    let found = memory.get(memory.key(b"https://h/a")).unwrap();
    assert!(found.find(|o| o.form(0).is_some()).is_some());
    check(&memory);

    let generations = memory.generations();
    generations.raise(&[generations.slot(Kind::Path, b"/other")], How::Hard);
    let refreshed = new(&memory, "/a", "de", 10_000, 3);
    generations.raise(&[generations.slot(Kind::Route, b"all")], How::Soft);
    assert!(!memory.replace(&encoded, &refreshed), "it raced");
    assert!(memory.replace(&encoded, &Arc::new(encoded.with_form(1, Bytes::new()))), "stale, but the same answer");
    let [refreshed, again] = [4, 5].map(|life| new(&memory, "/a", "fr", 100, life));
    assert!(memory.replace(&other, &refreshed) && memory.replace(&refreshed, &again));
    assert_eq!(get(&memory, "/a"), [5, 1]);
    assert!(!memory.replace(&again, &new(&memory, "/b", "fr", 100, 6)), "another key");
    assert!(!memory.replace(&again, &new(&memory, "/a", "fr", 3_000_000, 6)), "too large");
    check(&memory);
    let encoded = Arc::new(again.with_form(0, Bytes::new()));
    assert!(memory.replace(&again, &encoded) && memory.remove_variant(&again), "in whatever coding it is there");
    assert_eq!(get(&memory, "/a"), [1]);
    memory.remove(memory.key(b"https://h/a"));
    assert!(!memory.replace(&again, &new(&memory, "/a", "fr", 100, 7)));
    assert_eq!(memory.objects(), 0);
    check(&memory);
}

#[test]
fn a_full_store_drives_out_a_few_at_a_time() {
    let memory = memory(16 * MIB);
    let mut stored = 0;
    // Small ones, then some that weigh as much as a whole entry, then large ones.
    for size in [1, 1, 1, 200, 5000, 1000, 50_000, 1 << 20, 1, (2 << 20) - 1000, 300, 1 << 20] {
        for n in 0..20 * MIB / (size as u64 + 400) {
            stored += 1;
            let object = new(&memory, &format!("/{size}/{n}"), "", size, stored);
            let (mut before, mut most) = (memory.evictions(), 0);
            let mut count = || {
                let now = memory.evictions();
                most = most.max(now - before);
                before = now;
            };
            let mut insert = memory.insert(object);
            count();
            while let Insert::More(pending) = insert {
                insert = pending.step();
                count();
                assert!(memory.bytes() <= memory.capacity + memory.capacity / 50, "{} bytes", memory.bytes());
            }
            assert!(matches!(insert, Insert::Kept));
            assert!(most <= 64, "{most} at once, for one of {size} bytes");
        }
        check(&memory);
        assert!(memory.bytes() > memory.capacity * 4 / 5, "{} bytes of {size}", memory.bytes());
    }
    assert!(memory.evictions() > 10_000);
}

#[test]
fn room_that_large_objects_took_comes_back_to_small_ones() {
    let memory = memory(16 * MIB);
    for n in 0..14 {
        assert!(store(&memory, &new(&memory, &format!("/{n}"), "", 1 << 20, n)));
    }
    assert!(memory.room.ballast() > 12 * MIB);
    for n in 0..14 {
        memory.remove(memory.key(format!("https://h/{n}").as_bytes()));
    }
    assert_eq!(memory.room.beyond(), 0);
    for n in 0..20_000 {
        store(&memory, &new(&memory, &format!("/s/{n}"), "", 1000, n));
    }
    assert!(memory.room.ballast() <= memory.capacity / 64, "{}", memory.room.ballast());
    assert!(memory.bytes() > memory.capacity * 9 / 10);
    check(&memory);
}

#[test]
fn what_is_too_large_or_no_longer_wanted_takes_no_room() {
    let memory = memory(8 * MIB);
    assert!(matches!(memory.insert(new(&memory, "/a", "", 2 << 20, 1)), Insert::TooLarge));
    let Insert::More(pending) = memory.insert(new(&memory, "/a", "", 1_000_000, 1)) else { panic!("it needs room") };
    assert!(memory.room.beyond() > 900_000 && memory.trim());
    drop(pending);
    assert_eq!(memory.room.beyond(), 0);
    assert!(!memory.trim());
    check(&memory);
}

#[test]
fn a_small_store_holds_something_and_one_of_nothing_nothing() {
    let small = memory(64 << 10);
    for n in 0..1000 {
        store(&small, &new(&small, &format!("/{n}"), "", 1000, n));
    }
    assert!(small.objects() > 20);
    check(&small);
    let nothing = memory(0);
    assert!(!store(&nothing, &new(&nothing, "/a", "", 10, 1)));
    assert_eq!((nothing.objects(), nothing.bytes()), (0, 0));
}

#[test]
fn a_sweep_drops_what_it_reaches_and_softens_what_it_is_to_soften() {
    let memory = memory(8 * MIB);
    let all = ["/0/a", "/0/b", "/1/a", "/200/a", "/x"];
    let held: Vec<_> = all.iter().map(|path| new(&memory, path, "de", 100, 1)).collect();
    held.iter().for_each(|object| assert!(store(&memory, object)));
    store(&memory, &new(&memory, "/1/a", "fr", 100, 2));
    let raise = |n: usize| {
        let how = if n < 100 { How::Hard } else { How::Soft };
        memory.generations().raise_prefix(format!("h/{n}/").as_bytes(), how)
    };
    let sweep = (0..=MOST_PREFIXES).find_map(raise).unwrap();
    store(&memory, &new(&memory, "/0/b", "de", 100, 3));
    assert_eq!(memory.sweep(&sweep), 4);
    let left = all.map(|path| get(&memory, path));
    assert_eq!(left, [vec![], vec![3], vec![], vec![1], vec![1]]);
    let states: Vec<_> = held.iter().map(|object| memory.state(object)).collect();
    assert_eq!(states, [State::Gone, State::Valid, State::Gone, State::Soft, State::Valid]);
    check(&memory);
}

#[derive(Debug, Clone)]
enum Step {
    Insert { key: u8, values: u8, size: usize },
    Get(u8),
    Remove(u8),
    Form(u8, u8),
    Raise(u8),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0usize..3000, 2 => 8000usize..40_000, 1 => 100_000usize..250_000];
    prop_oneof![
        20 => (0u8..80, 0u8..4, size).prop_map(|(key, values, size)| Step::Insert { key, values, size }),
        20 => (0u8..80).prop_map(Step::Get),
        2 => (0u8..80).prop_map(Step::Remove),
        4 => (0u8..80, 0u8..4).prop_map(|(key, values)| Step::Form(key, values)),
        2 => (0u8..80).prop_map(Step::Raise),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    /// What is found is what was stored last under that key and selection, or nothing.
    #[test]
    fn never_another_answer(steps in prop::collection::vec(step(), 1..300)) {
        let memory = memory(MIB * 3 / 2);
        let mut last: HashMap<(u8, u8), Arc<Object<u32>>> = HashMap::new();
        for (count, step) in (1u32..).zip(steps) {
            let (path, key) = (|key: u8| format!("/{key}"), |key: u8| format!("https://h/{key}"));
            match step {
                Step::Insert { key, values, size } => {
                    let object = new(&memory, &path(key), &format!("v{values}"), size, count);
                    prop_assert!(store(&memory, &object));
                    last.insert((key, values), object);
                }
                Step::Get(at) => {
                    let found = memory.get(memory.key(key(at).as_bytes()));
                    for object in found.iter().flat_map(Variants::as_slice) {
                        let values = object.selector().values[1] - b'0';
                        let expected = last.get(&(at, values)).map(|object| object.life());
                        if memory.state(object) != State::Gone {
                            prop_assert_eq!(Some(object.life()), expected);
                        }
                        let key = key(at);
                        prop_assert_eq!(object.key(), key.as_bytes());
                    }
                }
                Step::Remove(at) => {
                    memory.remove(memory.key(key(at).as_bytes()));
                    last.retain(|(key, _), _| *key != at);
                }
                Step::Form(key, values) => if let Some(old) = last.get_mut(&(key, values)) {
                    let new = Arc::new(old.with_form(0, Bytes::from(vec![0; 500])));
                    if memory.replace(old, &new) {
                        *old = new;
                    }
                },
                Step::Raise(at) => {
                    let generations = memory.generations();
                    generations.raise(&[generations.slot(Kind::Path, path(at).as_bytes())], How::Hard);
                    last.retain(|(key, _), _| *key != at);
                }
                Step::Clear => {
                    memory.clear();
                    last.clear();
                }
            }
        }
        check(&memory);
    }
}

#[test]
fn threads_lose_no_variant() {
    let memory = memory(64 * MIB);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let memory = &memory;
            scope.spawn(move || {
                for n in 0..500 {
                    for values in [thread * 4, thread * 4 + 1, thread * 4 + 2, thread * 4 + 3] {
                        store(memory, &new(memory, &format!("/{n}"), &values.to_string(), 100, values));
                    }
                }
            });
        }
    });
    for n in 0..500 {
        let mut found = get(&memory, &format!("/{n}"));
        found.sort_unstable();
        assert_eq!(found, (0..16).collect::<Vec<_>>(), "{n}");
    }
    check(&memory);
}

/// Every kind of change at once in a store that is too small, and raises among them: what is found belongs to its key, and
/// is not older than the raise that the reader knew of.
#[test]
fn threads_find_what_belongs_to_their_key_and_nothing_old() {
    const KEYS: u32 = 400;
    let memory = memory(2 * MIB);
    let rows: Vec<_> = (0..KEYS).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (memory, rows, stop) = (&memory, &rows, &stop);
            scope.spawn(move || {
                let mut random = thread + 1;
                while !stop.load(SeqCst) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let n = (random >> 33) as u32 % KEYS;
                    let (row, told) = &rows[n as usize];
                    let least = told.load(SeqCst);
                    let (path, text) = (format!("/{n}"), format!("https://h/{n}"));
                    let key = memory.key(text.as_bytes());
                    let found = memory.get(key).and_then(|variants| variants.find(|_| true).cloned());
                    let fetched = || {
                        let at = memory.generations().now();
                        let read = row.load(SeqCst) as u32;
                        let size = if random & 0xf000 == 0 { 100_000 } else { 1000 };
                        Arc::new(filed(memory.generations(), at, &path, "", &vec![b'x'; size], read))
                    };
                    match found {
                        Some(object) if memory.state(&object) == State::Valid => {
                            assert_eq!(object.key(), key.bytes);
                            assert!(u64::from(object.life()) >= least, "{} is older than {least}", object.life());
                            match random >> 28 & 15 {
                                0 => drop(memory.remove_variant(&object)),
                                1 => drop(memory.replace(&object, &Arc::new(object.with_form(0, Bytes::new())))),
                                2 => drop(memory.replace(&object, &fetched())),
                                _ => {}
                            }
                        }
                        _ => drop(store(memory, &fetched())),
                    }
                }
            });
        }
        let generations = memory.generations();
        for version in 1..=3000u64 {
            for n in (version as usize % 7..KEYS as usize).step_by(7) {
                rows[n].0.store(version, SeqCst);
                let (prefix, path) = (format!("h/{n}"), format!("/{n}"));
                // Most by name, some by a prefix, so that lists fill and are swept.
                if n % 3 == 0 && version % 8 == 0 {
                    if let Some(sweep) = generations.raise_prefix(prefix.as_bytes(), How::Hard) {
                        rows[n].1.store(version, SeqCst);
                        memory.sweep(&sweep);
                    }
                } else {
                    generations.raise(&[generations.slot(Kind::Path, path.as_bytes())], How::Hard);
                }
                rows[n].1.store(version, SeqCst);
            }
        }
        stop.store(true, SeqCst);
    });
    check(&memory);
    assert!(memory.evictions() > 0);
}
