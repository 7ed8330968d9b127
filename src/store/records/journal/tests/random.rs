//! Random steps, failures and restarts, in random order.

use proptest::prelude::*;

use super::*;

/// What happens to a journal.
#[derive(Debug, Clone)]
enum Event {
    Append(u8),
    /// So much of it is written.
    FailWrite(u8, u16),
    FailSync(u8),
    Turn,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0u8..9).prop_map(Event::Append),
        1 => (0u8..9, 0u16..9_000).prop_map(|(n, bytes)| Event::FailWrite(n, bytes)),
        1 => (0u8..9).prop_map(Event::FailSync),
        2 => Just(Event::Turn),
        2 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: a restart finds what was told to be durable since the last renewal, in its
    /// order, and nothing of what failed once anything was told after it.
    #[test]
    fn a_restart_finds_what_was_told_and_no_more(events in proptest::collection::vec(event(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let [mut current, mut spare] = opened(dir.path()).map(|part| part.segment);
        // Of the generation before, of this one; and what failed and was not forgotten yet.
        let (mut before, mut told, mut failed) = (vec![], vec![], None);
        for event in events.into_iter().chain([Event::Restart]) {
            let fails = matches!(event, Event::FailWrite(..) | Event::FailSync(_));
            match event {
                Event::FailWrite(_, bytes) => current.faults.fail_write(bytes.into()),
                Event::FailSync(_) => current.faults.fail_syncs(1),
                _ => {}
            }
            match event {
                Event::Append(n) | Event::FailWrite(n, _) | Event::FailSync(n) => {
                    let n = u64::from(n);
                    // It may be the forgetting of another one that fails.
                    prop_assert_eq!(append(&mut current, n).is_err(), fails);
                    failed = fails.then(|| failed.unwrap_or(n));
                    told.extend((!fails).then_some(n));
                }
                Event::Turn => {
                    current.forget_failed().unwrap();
                    failed = None;
                    if spare.generation() < current.generation() {
                        // What is in it is in the database.
                        spare.renew().unwrap();
                    }
                    spare.follows(current.batches());
                    std::mem::swap(&mut current, &mut spare);
                    before = std::mem::take(&mut told);
                }
                Event::Restart => {
                    drop((current, spare));
                    let [older, newer] = opened(dir.path());
                    let mut found = numbers(&older.orders);
                    found.extend(numbers(&newer.orders));
                    let all: Vec<u64> = before.iter().chain(&told).copied().collect();
                    let with: Vec<u64> = all.iter().copied().chain(failed).collect();
                    prop_assert!(found == all || found == with, "{found:?} of {all:?} and {failed:?}");
                    [current, spare] = [older, newer].map(|part| part.segment);
                    current.renew().unwrap();
                    spare.renew().unwrap();
                    (before, told, failed) = (vec![], vec![], None);
                }
            }
        }
    }
}
