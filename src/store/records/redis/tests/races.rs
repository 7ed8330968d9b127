use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_a_key_exactly_one_has_it() {
    let server = RedisServer::start();
    let stores: Vec<_> = (1..=3).map(|number| Arc::new(process(&server.url(), number))).collect();
    for round in 0..300 {
        let hash = hash(round);
        let mut tries = JoinSet::new();
        for store in stores.iter().cycle().take(9) {
            let store = store.clone();
            tries.spawn(async move { store.reserve(&hash, LEASE, TTL, b"").await.unwrap() });
        }
        let won = tries.join_all().await.into_iter().filter(|it| matches!(it, Reserve::Mine { .. })).count();
        assert_eq!(won, 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_taken_over_while_it_sends_has_sent_or_has_lost_and_never_both_send() {
    let server = RedisServer::start();
    let (one, two) = (Arc::new(process(&server.url(), 1)), Arc::new(process(&server.url(), 2)));
    let (mut first, mut second) = (0, 0);
    for round in 0..400 {
        let hash = hash(round);
        let fence = one.take(&hash, Duration::ZERO).await;
        let sender = {
            let one = one.clone();
            tokio::spawn(async move { one.sent(&hash, fence, TOTAL, TTL, b"one").await.unwrap() })
        };
        let other = {
            let two = two.clone();
            tokio::spawn(async move {
                match two.reserve(&hash, LEASE, TTL, b"").await.unwrap() {
                    Reserve::Mine { fence } => two.sent(&hash, fence, TOTAL, TTL, b"two").await.unwrap(),
                    Reserve::Held(record) => {
                        assert_eq!(record.state, State::Sent);
                        false
                    }
                }
            })
        };
        let (one_sent, two_sent) = (sender.await.unwrap(), other.await.unwrap());
        assert!(one_sent != two_sent, "round {round}: {one_sent} {two_sent}");
        first += u32::from(one_sent);
        second += u32::from(two_sent);
    }
    assert!(first > 0 && second > 0, "a race: {first} to {second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_take_over_exactly_one_sends() {
    let server = RedisServer::start();
    let stores: Vec<_> = (1..=3).map(|number| Arc::new(process(&server.url(), number))).collect();
    for round in 0..200 {
        let hash = hash(round);
        let mut tries = JoinSet::new();
        for store in stores.iter().cycle().take(6) {
            let store = store.clone();
            tries.spawn(async move {
                // The lease is over at once: all may have it, one after the other.
                match store.reserve(&hash, Duration::ZERO, TTL, b"").await.unwrap() {
                    Reserve::Mine { fence } => store.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap(),
                    Reserve::Held(_) => false,
                }
            });
        }
        let sent = tries.join_all().await.into_iter().filter(|sent| *sent).count();
        assert_eq!(sent, 1, "round {round}");
        let record = stores[0].meet(&hash).await;
        assert_eq!(record.state, State::Sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_races_the_operator_and_one_of_them_stands() {
    let server = RedisServer::start();
    let (one, two) = (Arc::new(process(&server.url(), 1)), Arc::new(process(&server.url(), 2)));
    for round in 0..200 {
        let hash = hash(round);
        let fence = one.send(&hash, TOTAL).await;
        assert!(one.unknown(&hash, fence).await.unwrap());
        let owner = {
            let one = one.clone();
            tokio::spawn(async move { one.done(&hash, fence, 201, b"charged").await.unwrap() })
        };
        let free = two.resolve_not_charged(&hash, fence).await.unwrap();
        let settled = owner.await.unwrap();
        assert_eq!(settled == Settled::Lost, free, "round {round}");
        assert_eq!(one.get(&hash).await.unwrap().is_none(), free);
    }
}
