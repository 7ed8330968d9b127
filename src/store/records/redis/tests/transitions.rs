use super::*;

#[tokio::test]
async fn a_key_is_reserved_sent_and_done_and_its_answer_is_there_for_all() {
    let server = RedisServer::start();
    let (one, two, hash) = (process(&server.url(), 1), process(&server.url(), 2), hash(1));
    assert_eq!(one.get(&hash).await.unwrap(), None);
    let fence = one.take(&hash, LEASE).await;
    kept(&server, &hash);
    let record = two.meet(&hash).await;
    assert_eq!((record.state, record.fence, record.owner), (State::Reserved, fence, [1; 16]));
    assert_eq!((record.meta.as_slice(), record.sent_ms, record.overdue_in), (&b"meta"[..], 0, Duration::ZERO));
    assert!(record.lease_left > LEASE / 2 && record.lease_left <= LEASE);

    assert!(one.sent(&hash, fence, TOTAL, TTL, b"sent\0\xff").await.unwrap());
    kept(&server, &hash);
    let record = two.meet(&hash).await;
    assert_eq!((record.state, record.meta.as_slice()), (State::Sent, &b"sent\0\xff"[..]));
    assert!(record.overdue_in > TOTAL / 2 && record.overdue_in <= TOTAL && record.lease_left.is_zero());
    assert!(record.sent_ms >= record.created_ms && record.created_ms > 1_700_000_000_000);

    let answer: Vec<u8> = (0..1 << 20).map(|n: u32| (n * 7) as u8).collect();
    assert_eq!(one.done(&hash, fence, 201, &answer).await.unwrap(), Settled::Kept);
    kept(&server, &hash);
    let record = two.meet(&hash).await;
    assert_eq!((record.state, record.status, record.fence), (State::Done, 201, fence));
    assert!(record.answer == answer, "byte for byte");
    assert_eq!(one.get(&hash).await.unwrap().unwrap().state, State::Done);
    assert_eq!(server.command(&["ZCARD", OPEN]).int(), 0);
    assert_eq!(one.counts().await.unwrap(), Counts::default());
    assert!(!format!("{record:?}").contains("sent\\0"), "a client's bytes are not shown");
}

#[tokio::test]
async fn fences_rise_whatever_became_of_the_record_and_of_the_counter() {
    let server = RedisServer::start();
    let (one, two, hash) = (process(&server.url(), 1), process(&server.url(), 2), hash(1));
    let mut before = one.take(&hash, LEASE).await;
    assert!(one.release(&hash, before).await.unwrap());
    for round in 0..30 {
        // The counter is lost; or the clock steps back behind it.
        let ahead = 8_000_000_000_000_000 + before % 1_000_000;
        match round % 3 {
            1 => drop(server.command(&["DEL", FENCE])),
            2 => drop(server.command(&["SET", FENCE, &ahead.to_string()])),
            _ => {}
        }
        let fence = one.take(&hash, Duration::ZERO).await;
        assert!(fence > if round % 3 == 2 { ahead } else { before }, "{fence} after {before}, round {round}");
        if round % 3 == 1 {
            server.command(&["DEL", FENCE]);
        }
        let taken = two.take(&hash, LEASE).await;
        assert!(taken > fence, "{taken} after {fence}");
        assert!(two.release(&hash, taken).await.unwrap());
        before = taken;
        if round % 3 == 2 {
            // The clock is right again, and nothing remembers.
            server.command(&["DEL", FENCE]);
            before = 0;
        }
    }
}

#[tokio::test]
async fn a_lease_that_is_over_is_taken_over_and_its_loser_does_nothing_more() {
    let server = RedisServer::start();
    let (one, two, hash) = (process(&server.url(), 1), process(&server.url(), 2), hash(1));
    let lost = one.take(&hash, SHORT).await;
    assert_eq!(two.meet(&hash).await.state, State::Reserved);
    tokio::time::sleep(SHORT).await;
    kept(&server, &hash);
    let fence = two.take(&hash, LEASE).await;
    kept(&server, &hash);
    assert!(fence > lost);
    assert!(!one.sent(&hash, lost, TOTAL, TTL, b"").await.unwrap());
    assert_eq!(one.done(&hash, lost, 200, b"").await.unwrap(), Settled::Lost);
    assert!(!one.unknown(&hash, lost).await.unwrap());
    assert!(!one.release(&hash, lost).await.unwrap());
    assert!(!one.resolve_not_charged(&hash, lost).await.unwrap());
    let record = one.get(&hash).await.unwrap().unwrap();
    assert_eq!((record.state, record.fence, record.owner), (State::Reserved, fence, [2; 16]));
    assert!(two.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    assert!(!one.release(&hash, lost).await.unwrap());
}

#[tokio::test]
async fn a_lease_that_is_over_and_was_not_taken_over_may_be_sent() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    let fence = one.take(&hash, Duration::ZERO).await;
    tokio::time::sleep(SHORT).await;
    assert!(one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    kept(&server, &hash);
}

#[tokio::test]
async fn a_lease_that_is_over_frees_nothing_that_was_sent() {
    let server = RedisServer::start();
    let (one, two) = (process(&server.url(), 1), process(&server.url(), 2));
    let states = [State::Sent, State::Unknown, State::Unknown, State::Done, State::Done];
    for (number, state) in states.into_iter().enumerate() {
        let hash = hash(number as u16);
        let fence = one.take(&hash, Duration::ZERO).await;
        // Number 2 is overdue before anybody asks.
        let overdue = if number == 2 { Duration::ZERO } else { TOTAL };
        assert!(one.sent(&hash, fence, overdue, TTL, b"").await.unwrap());
        match number {
            1 => assert!(one.unknown(&hash, fence).await.unwrap()),
            3 => assert_eq!(one.done(&hash, fence, 200, b"").await.unwrap(), Settled::Kept),
            4 => {
                assert!(one.unknown(&hash, fence).await.unwrap());
                assert!(one.resolve_done(&hash, fence, 200, b"").await.unwrap());
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let record = two.meet(&hash).await;
        assert_eq!((record.state, record.fence), (state, fence), "{number}");
        kept(&server, &hash);
    }
}

#[tokio::test]
async fn what_is_sent_has_its_whole_ttl_from_then_on() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    // What is left of the first ttl would end before what follows.
    let Reserve::Mine { fence } = one.reserve(&hash, SHORT, LEASE, b"").await.unwrap() else { panic!("it was free") };
    assert!(one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    kept(&server, &hash);
    assert_eq!(one.done(&hash, fence, 200, b"").await.unwrap(), Settled::Kept);
    kept(&server, &hash);
}

#[tokio::test]
async fn a_sent_one_that_is_overdue_is_unknown_and_never_free() {
    let server = RedisServer::start();
    let (one, two, hash) = (process(&server.url(), 1), process(&server.url(), 2), hash(1));
    let fence = one.send(&hash, SHORT).await;
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(one.get(&hash).await.unwrap().unwrap().state, State::Unknown, "seen before it is written");
    assert_eq!(server.command(&["HGET", &key(&hash), "state"]).text(), "sent");
    for _ in 0..3 {
        assert_eq!(two.meet(&hash).await.state, State::Unknown);
    }
    assert_eq!(server.command(&["HGET", &key(&hash), "state"]).text(), "unknown");
    kept(&server, &hash);
    assert!(!one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap(), "nothing is written twice");
    assert!(!one.release(&hash, fence).await.unwrap());
    assert!(one.unknown(&hash, fence).await.unwrap());
    assert_eq!(one.done(&hash, fence, 200, b"late").await.unwrap(), Settled::Kept, "but its own outcome");
    assert_eq!(two.meet(&hash).await.answer, b"late");
    kept(&server, &hash);
}

#[tokio::test]
async fn an_overdue_one_is_not_released_though_nobody_wrote_that_it_is_overdue() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    let fence = one.send(&hash, SHORT).await;
    tokio::time::sleep(SHORT * 2).await;
    assert!(!one.release(&hash, fence).await.unwrap());
    assert_eq!(one.meet(&hash).await.state, State::Unknown);
    let hash = super::hash(2);
    let fence = one.send(&hash, SHORT).await;
    tokio::time::sleep(SHORT * 2).await;
    assert!(!one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap(), "nor sent once more");
}

#[tokio::test]
async fn a_step_taken_once_more_by_its_owner_says_the_same_and_by_another_nothing() {
    let server = RedisServer::start();
    let (one, two, hash) = (process(&server.url(), 1), process(&server.url(), 2), hash(1));
    let fence = one.send(&hash, TOTAL).await;
    assert!(one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    assert!(!two.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap(), "the fence alone is not enough");
    assert_eq!(two.done(&hash, fence, 500, b"two").await.unwrap(), Settled::Lost);
    assert!(!two.release(&hash, fence).await.unwrap());
    assert!(!one.sent(&hash, fence + 1, TOTAL, TTL, b"").await.unwrap());
    assert_eq!(one.done(&hash, fence, 200, b"one").await.unwrap(), Settled::Kept);
    assert_eq!(one.done(&hash, fence, 500, b"other").await.unwrap(), Settled::Kept);
    let record = two.meet(&hash).await;
    assert_eq!((record.status, record.answer.as_slice()), (200, &b"one"[..]), "the first answer stays");
    assert!(!one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    assert!(!one.unknown(&hash, fence).await.unwrap());
    assert!(!one.release(&hash, fence).await.unwrap());
}

#[tokio::test]
async fn what_was_not_sent_is_not_done() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    assert!(!one.sent(&hash, 1, TOTAL, TTL, b"").await.unwrap());
    assert_eq!(one.done(&hash, 1, 200, b"").await.unwrap(), Settled::Lost);
    let fence = one.take(&hash, LEASE).await;
    assert_eq!(one.done(&hash, fence, 200, b"").await.unwrap(), Settled::Lost);
    assert!(!one.unknown(&hash, fence).await.unwrap());
    assert_eq!(one.meet(&hash).await.state, State::Reserved);
}

#[tokio::test]
async fn what_is_released_is_free() {
    let server = RedisServer::start();
    let (one, two, hash) = (process(&server.url(), 1), process(&server.url(), 2), hash(1));
    let fence = one.take(&hash, LEASE).await;
    assert!(one.release(&hash, fence).await.unwrap());
    assert!(one.release(&hash, fence).await.unwrap(), "once more");
    let fence = two.send(&hash, TOTAL).await;
    assert_eq!(two.counts().await.unwrap().sent, 1);
    assert!(two.release(&hash, fence).await.unwrap());
    assert_eq!(server.command(&["ZCARD", OPEN]).int(), 0);
    assert_eq!(two.counts().await.unwrap().sent, 0);
    assert_eq!(server.command(&["EXISTS", &key(&hash)]).int(), 0);
    one.take(&hash, LEASE).await;
}

#[tokio::test]
async fn an_operator_resolves_what_is_unknown_and_nothing_else() {
    let server = RedisServer::start();
    let (one, two) = (process(&server.url(), 1), process(&server.url(), 2));
    let (a, b, c) = (hash(1), hash(2), hash(3));
    let fence = one.send(&a, TOTAL).await;
    assert!(!two.resolve_done(&a, fence, 200, b"").await.unwrap(), "it is on its way");
    assert!(!two.resolve_not_charged(&a, fence).await.unwrap());
    assert!(one.unknown(&a, fence).await.unwrap());
    kept(&server, &a);
    assert!(!two.resolve_not_charged(&a, fence + 1).await.unwrap(), "another fence");
    assert!(two.resolve_done(&a, fence, 201, b"found").await.unwrap());
    kept(&server, &a);
    assert!(two.resolve_done(&a, fence, 201, b"found").await.unwrap(), "once more");
    assert!(!two.resolve_not_charged(&a, fence).await.unwrap());
    let record = one.meet(&a).await;
    assert_eq!((record.state, record.status, record.answer.as_slice()), (State::Done, 201, &b"found"[..]));
    assert_eq!(one.done(&a, fence, 500, b"late").await.unwrap(), Settled::Lost, "the operator's word stays");
    assert_eq!(one.meet(&a).await.status, 201);

    // Overdue, and nobody wrote it down.
    let fence = one.send(&b, SHORT).await;
    tokio::time::sleep(SHORT * 2).await;
    assert!(two.resolve_not_charged(&b, fence).await.unwrap());
    assert!(!two.resolve_not_charged(&b, fence).await.unwrap());
    let again = two.take(&b, LEASE).await;
    assert!(!one.sent(&b, fence, TOTAL, TTL, b"").await.unwrap());
    assert_eq!(one.done(&b, fence, 200, b"").await.unwrap(), Settled::Lost);
    assert!(again > fence);
    assert!(!two.resolve_done(&c, 1, 200, b"").await.unwrap(), "there is none");
    assert_eq!(server.command(&["ZCARD", OPEN]).int(), 0);
    assert_eq!(one.counts().await.unwrap(), Counts::default());
}

#[tokio::test]
async fn what_is_open_is_listed_from_the_oldest_and_what_is_gone_leaves_the_list() {
    let server = RedisServer::start();
    let one = process(&server.url(), 1);
    let total = PAGE as u16 * 2 + 10;
    let mut fences = Vec::new();
    for number in 0..total {
        fences.push(one.send(&hash(number), TOTAL).await);
        // The index has milliseconds.
        if number < 5 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    for number in [1, 3, total - 1] {
        assert!(one.unknown(&hash(number), fences[number as usize]).await.unwrap());
    }
    let counts = one.counts().await.unwrap();
    assert_eq!((counts.sent, counts.unknown, counts.more), (u64::from(total) - 3, 3, false));
    let age = one.get(&hash(1)).await.unwrap().unwrap().sent_ago;
    let oldest = counts.oldest_unknown.unwrap();
    assert!(oldest <= age && age - oldest < Duration::from_secs(5), "{oldest:?} {age:?}");
    let open = one.open(4).await.unwrap();
    assert_eq!(open.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), [hash(0), hash(1), hash(2), hash(3)]);
    assert_eq!(open[1].1.state, State::Unknown);
    assert_eq!(open[0].1.meta, b"sent");
    assert_eq!(one.open(10_000).await.unwrap().len(), total as usize);
    let unknown: Vec<_> = one.unknowns(10).await.unwrap().into_iter().map(|(hash, _)| hash).collect();
    assert_eq!(unknown, [hash(1), hash(3), hash(total - 1)]);
    assert_eq!(one.unknowns(2).await.unwrap().len(), 2);

    // Expired or evicted: nothing told the index. Nearly a page of them, and some of the next.
    for number in 0..PAGE as u16 + 5 {
        server.command(&["DEL", &key(&hash(number))]);
    }
    assert_eq!(one.unknowns(10).await.unwrap().len(), 1);
    let counts = one.counts().await.unwrap();
    assert_eq!((counts.sent, counts.unknown), (u64::from(total) - PAGE as u64 - 6, 1));
    assert_eq!(server.command(&["ZCARD", OPEN]).int(), i64::from(total) - PAGE as i64 - 5);
}

#[tokio::test]
async fn a_record_of_another_format_is_refused_and_left_alone() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    let fence = one.send(&hash, SHORT).await;
    server.command(&["HSET", &key(&hash), "v", "2"]);
    tokio::time::sleep(SHORT * 2).await;
    let before = server.command(&["HGETALL", &key(&hash)]);
    let errors = [
        one.reserve(&hash, LEASE, TTL, b"").await.unwrap_err(),
        one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap_err(),
        one.done(&hash, fence, 200, b"").await.unwrap_err(),
        one.unknown(&hash, fence).await.unwrap_err(),
        one.release(&hash, fence).await.unwrap_err(),
        one.resolve_not_charged(&hash, fence).await.unwrap_err(),
        one.get(&hash).await.unwrap_err(),
        one.counts().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error, Error::Format { found: "2".to_owned(), known: "1" });
        assert!(error.to_string().contains("format 2, this process reads format 1"));
    }
    assert_eq!(server.command(&["HGETALL", &key(&hash)]), before);
    // What is no record of ours.
    server.command(&["DEL", &key(&hash)]);
    server.command(&["HSET", &key(&hash), "colour", "red"]);
    assert!(matches!(one.reserve(&hash, LEASE, TTL, b"").await, Err(Error::Format { .. })));
    server.command(&["DEL", &key(&hash)]);
    server.command(&["SET", &key(&hash), "text"]);
    assert!(matches!(one.reserve(&hash, LEASE, TTL, b"").await, Err(Error::Refused { .. })));
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_in_full() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    let fence = one.take(&hash, LEASE).await;
    server.command(&["SCRIPT", "FLUSH"]);
    assert!(one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(one.done(&hash, fence, 200, b"").await.unwrap(), Settled::Kept);
}

#[tokio::test]
async fn times_that_would_free_a_key_are_refused() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    for (lease, ttl) in [(LEASE, Duration::ZERO), (LEASE, SHORT), (LEASE, Duration::MAX)] {
        assert!(matches!(one.reserve(&hash, lease, ttl, b"").await, Err(Error::Invalid(_))));
    }
    let fence = one.take(&hash, LEASE).await;
    for (overdue, ttl) in [(TOTAL, Duration::ZERO), (TOTAL, SHORT), (Duration::MAX, Duration::MAX)] {
        assert!(matches!(one.sent(&hash, fence, overdue, ttl, b"").await, Err(Error::Invalid(_))));
    }
    assert_eq!(one.meet(&hash).await.state, State::Reserved);
    // What is shorter than a millisecond is rounded up.
    assert!(one.sent(&hash, fence, Duration::ZERO, Duration::from_nanos(1), b"").await.unwrap());
}
