use tokio::time::Instant;

use super::*;

/// A master and its replica, both in sync.
fn pair() -> (RedisServer, RedisServer) {
    let master = RedisServer::start();
    let replica = master.replica(&[]);
    (master, replica)
}

fn hasty(url: &str, number: u8) -> Redis {
    Redis::new(Options { timeout: Duration::from_millis(500), ..Options::new(url) }, [number; 16]).unwrap()
}

#[tokio::test]
async fn what_was_sent_is_on_the_replica_and_outlives_the_master() {
    let (master, replica) = pair();
    let cable = Cable::to(&master);
    let (one, two) = (process(&cable.url(), 1), process(&cable.url(), 2));
    assert_eq!(one.examine(true).await.unwrap().replicas, 1);
    let mut fences = Vec::new();
    for number in 0..50 {
        fences.push(one.send(&hash(number), TOTAL).await);
        assert_eq!(replica.command(&["HGET", &key(&hash(number)), "state"]).text(), "sent", "before it is said");
        if number % 2 == 0 {
            let settled = one.done(&hash(number), fences[number as usize], 201, b"answer").await.unwrap();
            assert_eq!(settled, Settled::Kept);
            assert_eq!(replica.command(&["HGET", &key(&hash(number)), "state"]).text(), "done");
        }
    }
    master.kill();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    cable.plug_into(&replica);
    for number in 0..50 {
        let record = two.meet(&hash(number)).await;
        assert_eq!(record.state, if number % 2 == 0 { State::Done } else { State::Sent });
        kept(&replica, &hash(number));
    }
    let late = one.done(&hash(1), fences[1], 200, b"late").await.unwrap();
    assert_eq!(late, Settled::NotReplicated, "it is kept, and the new master is alone");
    assert_eq!(two.meet(&hash(1)).await.answer, b"late");
    // Asked once more, it is known to be alone, and keys are sent again.
    assert!(matches!(
        one.sent(&hash(70), one.take(&hash(70), LEASE).await, TOTAL, TTL, b"").await,
        Err(Error::NotReplicated)
    ));
    assert_eq!(one.examine(true).await.unwrap().replicas, 0);
    one.send(&hash(71), TOTAL).await;
}

#[tokio::test]
async fn what_no_replica_confirms_is_not_sent() {
    let (master, replica) = pair();
    let (one, two, hash) = (hasty(&master.url(), 1), process(&master.url(), 2), hash(1));
    // Not examined by us: it asks by itself.
    let other = super::hash(2);
    let other_fence = one.send(&other, TOTAL).await;
    let fence = one.take(&hash, LEASE).await;
    replica.pause();
    let began = Instant::now();
    assert_eq!(one.sent(&hash, fence, TOTAL, TTL, b"").await, Err(Error::NotReplicated));
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    assert_eq!(two.get(&hash).await.unwrap(), None, "nothing was sent, so it was released");
    // Written once more, it is waited for once more: a write of another connection does not count.
    assert_eq!(one.sent(&other, other_fence, TOTAL, TTL, b"").await, Err(Error::NotReplicated));
    replica.resume();
    one.send(&hash, TOTAL).await;
}

#[tokio::test]
async fn an_answer_that_no_replica_confirms_is_kept_and_that_is_said() {
    let (master, replica) = pair();
    let (one, hash) = (hasty(&master.url(), 1), hash(1));
    let fence = one.send(&hash, TOTAL).await;
    replica.pause();
    for _ in 0..2 {
        assert_eq!(one.done(&hash, fence, 201, b"answer").await.unwrap(), Settled::NotReplicated);
    }
    assert_eq!(one.meet(&hash).await.answer, b"answer");
    replica.resume();
    assert_eq!(one.done(&hash, fence, 201, b"answer").await.unwrap(), Settled::Kept, "once more, and now it is there");
    assert_eq!(replica.command(&["HGET", &key(&hash), "answer"]).text(), "answer");
}

#[tokio::test]
async fn a_replica_that_does_not_answer_holds_up_no_other_operation() {
    let (master, replica) = pair();
    let one = std::sync::Arc::new(process(&master.url(), 1));
    one.examine(true).await.unwrap();
    let fence = one.take(&hash(1), LEASE).await;
    replica.pause();
    let waiting = {
        let one = one.clone();
        tokio::spawn(async move { one.sent(&hash(1), fence, TOTAL, TTL, b"").await })
    };
    while one.get(&hash(1)).await.unwrap().is_some_and(|record| record.state == State::Reserved) {}
    let began = Instant::now();
    for number in 2..20 {
        one.take(&hash(number), LEASE).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2) && !waiting.is_finished());
    assert_eq!(waiting.await.unwrap(), Err(Error::NotReplicated));
    assert_eq!(one.get(&hash(1)).await.unwrap(), None);
    replica.resume();
}

#[tokio::test]
async fn a_replica_is_refused_by_name() {
    let (master, replica) = pair();
    let one = process(&replica.url(), 1);
    assert_eq!(one.examine(true).await, Err(Error::Replica));
    assert_eq!(one.reserve(&hash(1), LEASE, TTL, b"").await, Err(Error::Replica));
    let fence = process(&master.url(), 2).take(&hash(1), LEASE).await;
    assert_eq!(one.sent(&hash(1), fence, TOTAL, TTL, b"").await, Err(Error::Replica));
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left() {
    let (master, replica) = pair();
    let cable = Cable::to(&master);
    let (one, hash) = (process(&cable.url(), 1), hash(1));
    let fence = one.send(&hash, TOTAL).await;
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    master.command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    cable.plug_into(&replica);
    assert_eq!(one.done(&hash, fence, 200, b"").await, Err(Error::Replica), "the connection it had");
    // The next goes where the name points now.
    let settled = one.done(&hash, fence, 200, b"answer").await.unwrap();
    assert!(matches!(settled, Settled::Kept | Settled::NotReplicated), "{settled:?}");
    assert_eq!(one.meet(&hash).await.answer, b"answer");
}

#[tokio::test]
async fn two_masters_that_gave_out_the_same_fence_do_not_both_let_their_attempt_send() {
    let (master, replica) = pair();
    let (one, two, hash) = (process(&master.url(), 1), process(&replica.url(), 2), hash(1));
    // What is reserved waits for no replica: cut off, the replica does not learn of it.
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    let fence = one.take(&hash, LEASE).await;
    // The worst case: the same number on the other side.
    replica.command(&["SET", FENCE, &(fence - 1).to_string()]);
    let other = two.take(&hash, LEASE).await;
    replica.command(&["HSET", &key(&hash), "fence", &fence.to_string()]);
    assert!(other > fence, "the clock sees to it");
    let one = process(&replica.url(), 1);
    assert!(!one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    assert!(two.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
}
