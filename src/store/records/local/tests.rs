//! Transitions of a record, each as it is allowed and as it is not; in memory, on a clock of the test's own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{About, Answer, Counts, Seen};
use super::*;

const TERMS: Terms =
    Terms { lease: Duration::from_secs(30), ttl: Duration::from_secs(86_400), within: Duration::from_secs(20) };
const K: Hash = [1; 16];
const CLAIM: Claim = Claim { fingerprint: [1; 16], credential: [2; 16] };

struct Stage {
    local: Local,
    now: Arc<AtomicU64>,
}

impl Stage {
    fn new(most: u64) -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = now.clone();
        Stage { local: Local::in_memory(most, 1 << 20, Arc::new(move || clock.load(Ordering::SeqCst))), now }
    }

    fn pass(&self, time: Duration) {
        self.now.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    async fn mine(&self) -> u64 {
        match self.local.reserve(&K, CLAIM, &TERMS).await.unwrap() {
            Reserve::Mine(fence) => fence,
            Reserve::Found(found) => panic!("{:?}", found.state),
        }
    }

    async fn state(&self) -> Option<State> {
        match self.local.reserve(&K, CLAIM, &TERMS).await.unwrap() {
            Reserve::Mine(fence) => {
                self.local.release(&K, fence);
                None
            }
            Reserve::Found(found) => Some(found.state),
        }
    }

    /// The fence under which the record is held now.
    fn fence(&self) -> u64 {
        self.local.shard(&K).live.get(&K).map_or(0, |live| live.fence)
    }

    async fn resolve(&self, outcome: Option<(u16, Option<Answer>)>) -> Result<bool, StoreError> {
        self.local.resolve(&K, self.fence(), outcome).await
    }

    fn retake(&self) -> Option<u64> {
        self.local.retake(&K, self.fence(), CLAIM, &TERMS)
    }

    async fn sent(&self) -> u64 {
        let fence = self.mine().await;
        assert_eq!(self.local.sent(&K, fence, &TERMS, about()).await, Ok(true));
        fence
    }
}

fn about() -> About {
    About { route: "pay".into(), request: "r".into(), owner: [0; 8], endpoint: "e".into() }
}

fn answer() -> Option<Answer> {
    Some(Answer { head: Bytes::from_static(b"A: b\r\n"), body: Bytes::from_static(b"{}") })
}

#[tokio::test]
async fn the_way_of_a_record_from_reserved_to_done_and_to_its_end() {
    let stage = Stage::new(10);
    let fence = stage.mine().await;
    assert_eq!(stage.state().await, Some(State::Reserved));
    assert_eq!(stage.local.sent(&K, fence, &TERMS, about()).await, Ok(true));
    assert_eq!(stage.local.sent(&K, fence, &TERMS, about()).await, Ok(true), "an attempt after the first");
    assert_eq!(stage.state().await, Some(State::Sent));
    assert_eq!(stage.local.finish(&K, fence, 201, answer()).await, Ok(true));
    let Reserve::Found(found) = stage.local.reserve(&K, CLAIM, &TERMS).await.unwrap() else { panic!("free") };
    let record = found.record.unwrap();
    assert_eq!((found.state, record.status, record.answer, found.claim), (State::Done, 201, answer(), CLAIM));
    let done = Counts { done: 1, ..Counts::default() };
    assert_eq!(stage.local.counts(), done);
    stage.pass(Duration::from_secs(86_399));
    assert_eq!(stage.state().await, Some(State::Done));
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.state().await, None);
    stage.local.sweep();
    assert_eq!(stage.local.counts(), Counts::default());
}

#[tokio::test]
async fn what_was_not_sent_is_released_or_taken_over_and_its_owner_may_send_nothing() {
    let stage = Stage::new(10);
    let first = stage.mine().await;
    stage.local.release(&K, first);
    let second = stage.mine().await;
    stage.pass(Duration::from_secs(30));
    assert_eq!(stage.state().await, Some(State::Reserved), "the lease is not over yet");
    stage.pass(Duration::from_millis(1));
    let third = stage.mine().await;
    assert!(first < second && second < third);
    for overtaken in [first, second] {
        assert_eq!(stage.local.sent(&K, overtaken, &TERMS, about()).await, Ok(false));
        stage.local.release(&K, overtaken);
        stage.local.unknown(&K, overtaken, 0, Seen::All);
        assert_eq!(stage.local.finish(&K, overtaken, 200, None).await, Ok(false));
    }
    assert_eq!(stage.local.sent(&K, third, &TERMS, about()).await, Ok(true));
}

#[tokio::test]
async fn what_was_sent_is_never_free_by_itself_before_its_end() {
    let stage = Stage::new(10);
    let fence = stage.sent().await;
    stage.local.release(&K, fence);
    assert_eq!(stage.state().await, Some(State::Sent), "only what was not sent is released");
    stage.pass(Duration::from_secs(20));
    assert_eq!(stage.state().await, Some(State::Sent));
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.state().await, Some(State::Unknown), "its owner should have ended");
    for _ in 0..100 {
        stage.local.sweep();
        stage.pass(Duration::from_secs(860));
        assert_eq!(stage.state().await, Some(State::Unknown));
    }
    stage.pass(Duration::from_secs(1_000));
    (0..SHARDS).for_each(|_| stage.local.sweep());
    assert_eq!((stage.state().await, stage.local.counts()), (None, Counts::default()));
}

#[tokio::test]
async fn an_owner_who_comes_late_may_say_how_it_was_unless_somebody_else_did() {
    let stage = Stage::new(10);
    let fence = stage.sent().await;
    stage.pass(Duration::from_secs(21));
    assert_eq!(stage.state().await, Some(State::Unknown));
    assert_eq!(stage.local.finish(&K, fence, 201, answer()).await, Ok(true));
    assert_eq!(stage.state().await, Some(State::Done));

    let stage = Stage::new(10);
    let fence = stage.sent().await;
    stage.local.unknown(&K, fence, 0, Seen::Head);
    assert_eq!(stage.local.open(State::Unknown, 9)[0].1.seen, Seen::Head);
    assert_eq!(stage.resolve(None).await, Ok(true));
    assert_eq!(stage.local.finish(&K, fence, 201, answer()).await, Ok(false));
    assert_eq!(stage.state().await, None);
}

#[tokio::test]
async fn a_person_resolves_what_is_unknown_and_nothing_else() {
    let stage = Stage::new(10);
    assert_eq!(stage.resolve(None).await, Ok(false));
    let fence = stage.mine().await;
    assert_eq!(stage.resolve(None).await, Ok(false));
    stage.local.sent(&K, fence, &TERMS, about()).await.unwrap();
    assert_eq!(stage.resolve(None).await, Ok(false));
    stage.local.unknown(&K, fence, 0, Seen::All);
    assert_eq!(stage.local.counts().unknown, 1);
    assert_eq!(stage.resolve(Some((201, answer()))).await, Ok(true));
    assert_eq!(stage.resolve(None).await, Ok(false), "it is done");
    assert_eq!(stage.local.get(&K).await.unwrap().unwrap().answer, answer());
}

#[tokio::test]
async fn what_is_taken_anew_and_not_sent_is_unknown_again() {
    let stage = Stage::new(10);
    let fence = stage.sent().await;
    assert_eq!(stage.retake(), None);
    stage.local.unknown(&K, fence, 0, Seen::All);
    let again = stage.retake().unwrap();
    assert_eq!(stage.state().await, Some(State::Reserved));
    assert_eq!(stage.retake(), None, "by one alone");
    stage.local.release(&K, again);
    assert_eq!(stage.state().await, Some(State::Unknown));
    let again = stage.retake().unwrap();
    assert_eq!(stage.local.sent(&K, again, &TERMS, about()).await, Ok(true));
    assert_eq!(stage.local.forget(&K, again).await, Ok(()));
    assert_eq!(stage.state().await, None);
}

#[tokio::test]
async fn what_was_seen_of_an_earlier_record_says_nothing_of_a_later_one() {
    let stage = Stage::new(10);
    let fence = stage.sent().await;
    stage.local.unknown(&K, fence, 0, Seen::All);
    let seen = stage.local.open(State::Unknown, 1)[0].1.fence;
    // Another try asked too, was quicker, and sent it anew: of that nobody knows either.
    let again = stage.local.retake(&K, seen, CLAIM, &TERMS).unwrap();
    assert_eq!(stage.local.sent(&K, again, &TERMS, about()).await, Ok(true));
    stage.local.unknown(&K, again, 0, Seen::All);
    assert_eq!(stage.local.retake(&K, seen, CLAIM, &TERMS), None);
    assert_eq!(stage.local.resolve(&K, seen, None).await, Ok(false));
    assert_eq!(stage.local.resolve(&K, seen, Some((200, None))).await, Ok(false));
    assert_eq!(stage.state().await, Some(State::Unknown));
}

#[tokio::test]
async fn what_is_sent_anew_is_the_new_tries_record_and_one_that_never_sends_leaves_the_old() {
    let stage = Stage::new(10);
    let fence = stage.sent().await;
    stage.local.unknown(&K, fence, 0, Seen::All);
    let other = Claim { credential: [9; 16], ..CLAIM };
    let again = stage.local.retake(&K, fence, other, &TERMS).unwrap();
    stage.pass(Duration::from_secs(31));
    // Its lease is over: the key is not anybody's, the outcome is as unknown as before.
    assert_eq!(stage.state().await, Some(State::Unknown));
    assert_eq!(stage.local.sent(&K, again, &TERMS, about()).await, Ok(false));
    let Reserve::Found(found) = stage.local.reserve(&K, CLAIM, &TERMS).await.unwrap() else { panic!("free") };
    assert_eq!(found.claim, CLAIM);
    let again = stage.local.retake(&K, stage.fence(), other, &TERMS).unwrap();
    assert_eq!(stage.local.sent(&K, again, &TERMS, about()).await, Ok(true));
    assert_eq!(stage.local.finish(&K, again, 201, answer()).await, Ok(true));
    assert_eq!(stage.local.get(&K).await.unwrap().unwrap().claim, other);
}

#[tokio::test]
async fn who_waits_is_told_of_every_end() {
    for end in 0..4 {
        let stage = Stage::new(10);
        let fence = if end == 0 { stage.mine().await } else { stage.sent().await };
        let Reserve::Found(mut found) = stage.local.reserve(&K, CLAIM, &TERMS).await.unwrap() else { panic!("free") };
        let changed = found.changed.as_mut().unwrap();
        assert!(!changed.has_changed().unwrap());
        match end {
            0 => stage.local.release(&K, fence),
            1 => drop(stage.local.finish(&K, fence, 200, None).await),
            2 => stage.local.unknown(&K, fence, 0, Seen::All),
            _ => drop(stage.local.forget(&K, fence).await),
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), changed.changed()).await.expect("told");
    }
}

#[tokio::test]
async fn where_there_is_no_room_new_keys_are_refused_and_live_ones_stay() {
    let stage = Stage::new(2);
    let fence = stage.sent().await;
    stage.local.finish(&K, fence, 201, answer()).await.unwrap();
    assert!(matches!(stage.local.reserve(&[2; 16], CLAIM, &TERMS).await, Ok(Reserve::Mine(_))));
    assert!(matches!(stage.local.reserve(&[3; 16], CLAIM, &TERMS).await, Err(StoreError::Full(2))));
    assert_eq!(stage.state().await, Some(State::Done));

    let stage = Stage::new(1_000);
    let fence = stage.sent().await;
    let long = Answer { head: Bytes::new(), body: vec![0; 1 << 20].into() };
    stage.local.finish(&K, fence, 201, Some(long)).await.unwrap();
    let refused = stage.local.reserve(&[3; 16], CLAIM, &TERMS).await.err().unwrap().to_string();
    assert!(refused.contains("stores.data_dir"), "{refused}");
}

/// A step of somebody.
#[derive(Debug, Clone, Copy)]
enum Step {
    Reserve,
    Send(usize),
    Finish(usize),
    Unknown(usize),
    Release(usize),
    Forget(usize),
    Resolve(bool),
    Retake,
    Pass(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Reserve),
        3 => (0usize..4).prop_map(Step::Send),
        2 => (0usize..4).prop_map(Step::Finish),
        1 => (0usize..4).prop_map(Step::Unknown),
        1 => (0usize..4).prop_map(Step::Release),
        1 => (0usize..4).prop_map(Step::Forget),
        1 => any::<bool>().prop_map(Step::Resolve),
        1 => Just(Step::Retake),
        2 => (0u64..40_000).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    /// Whoever takes whatever steps in whatever order: between a send and the next, somebody who may say so has said that
    /// the first was not carried out. That is: no key is sent twice.
    #[test]
    fn no_order_of_steps_sends_a_key_twice(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stage = Stage::new(10);
        let mut tries: Vec<u64> = Vec::new();
        // The fence under which it was sent last, with nothing said of it since.
        let mut charged: Option<u64> = None;
        for step in steps {
            let nth = |n: usize| tries.iter().rev().nth(n).copied();
            match step {
                Step::Reserve => {
                    if let Ok(Reserve::Mine(fence)) = runtime.block_on(stage.local.reserve(&K, CLAIM, &TERMS)) {
                        prop_assert!(charged.is_none(), "free although it was sent");
                        tries.push(fence);
                    }
                }
                Step::Retake => {
                    if let Some(fence) = stage.retake() {
                        // The application was asked, and said that it was not carried out.
                        charged = None;
                        tries.push(fence);
                    }
                }
                Step::Send(n) => {
                    let Some(fence) = nth(n) else { continue };
                    if runtime.block_on(stage.local.sent(&K, fence, &TERMS, about())) == Ok(true) {
                        prop_assert!(charged.is_none_or(|last| last == fence), "sent twice");
                        charged = Some(fence);
                    }
                }
                Step::Finish(n) => {
                    let Some(fence) = nth(n) else { continue };
                    let _ = runtime.block_on(stage.local.finish(&K, fence, 201, answer()));
                }
                Step::Unknown(n) => if let Some(fence) = nth(n) { stage.local.unknown(&K, fence, 0, Seen::All) },
                Step::Release(n) => if let Some(fence) = nth(n) { stage.local.release(&K, fence) },
                Step::Forget(n) => {
                    let Some(fence) = nth(n) else { continue };
                    let sent = stage.local.open(State::Sent, 1).len() == 1;
                    runtime.block_on(stage.local.forget(&K, fence)).unwrap();
                    if sent && stage.local.open(State::Sent, 1).is_empty() {
                        charged = None;
                    }
                }
                Step::Resolve(done) => {
                    let outcome = done.then(|| (201, answer()));
                    if runtime.block_on(stage.resolve(outcome)) == Ok(true) && !done {
                        charged = None;
                    }
                }
                // All of them together stay below the ttl.
                Step::Pass(ms) => stage.pass(Duration::from_millis(ms)),
                Step::Sweep => stage.local.sweep(),
            }
            let counts = stage.local.counts();
            prop_assert!(counts.reserved + counts.sent + counts.unknown + counts.done <= 1);
        }
    }
}
