use tokio::time::Instant;

use super::*;

const QUICK: Duration = Duration::from_millis(250);

fn quick(url: &str, number: u8) -> Redis {
    Redis::new(Options { timeout: QUICK, ..Options::new(url) }, [number; 16]).unwrap()
}

#[tokio::test]
async fn killed_and_started_again_it_has_all_that_it_acknowledged_where_it_syncs() {
    let server = RedisServer::durable();
    let (one, two) = (process(&server.url(), 1), process(&server.url(), 2));
    let (reserved, sent, unknown, done) = (hash(1), hash(2), hash(3), hash(4));
    let fence = one.take(&reserved, LEASE).await;
    let sent_fence = one.send(&sent, TOTAL).await;
    let unknown_fence = one.send(&unknown, TOTAL).await;
    assert!(one.unknown(&unknown, unknown_fence).await.unwrap());
    let done_fence = one.send(&done, TOTAL).await;
    assert_eq!(one.done(&done, done_fence, 201, b"answer").await.unwrap(), Settled::Kept);
    assert!(one.examine(true).await.unwrap().durable());

    server.restart();
    assert_eq!(two.meet(&done).await.answer, b"answer");
    assert_eq!(two.meet(&sent).await.state, State::Sent);
    assert_eq!(two.meet(&unknown).await.state, State::Unknown);
    // Both reconnect by themselves, and the attempt goes on where it was.
    assert!(one.sent(&reserved, fence, TOTAL, TTL, b"").await.unwrap());
    assert_eq!(one.done(&sent, sent_fence, 200, b"").await.unwrap(), Settled::Kept);
    for hash in [reserved, sent, unknown, done] {
        kept(&server, &hash);
    }
    assert_eq!(two.counts().await.unwrap().unknown, 1);
}

#[tokio::test]
async fn killed_without_a_log_it_has_lost_all_and_an_attempt_under_way_loses_too() {
    let server = RedisServer::start();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    let facts = one.examine(true).await.unwrap();
    assert!(!facts.durable() && !facts.aof && facts.snapshots.as_deref() == Some(""), "and says so: {facts:?}");
    let fence = one.take(&hash, LEASE).await;
    server.restart();
    assert_eq!(one.get(&hash).await.unwrap(), None, "this is what is lost");
    assert!(!one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap(), "what was not sent is not sent");
    assert!(one.take(&hash, LEASE).await > fence, "though the counter is lost too");
}

#[tokio::test]
async fn who_is_not_there_is_an_error_at_once_and_comes_back() {
    let server = RedisServer::durable();
    let (one, hash) = (process(&server.url(), 1), hash(1));
    let fence = one.take(&hash, LEASE).await;
    server.kill();
    let began = Instant::now();
    for number in 0..5 {
        let error = one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap_err();
        // The first may still have a connection, and not know what became of what it asked there.
        assert!(matches!(error, Error::Connect { .. }) || number == 0 && matches!(error, Error::Lost(_)), "{error:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    server.restart();
    assert!(one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_the_timeout_and_no_answer_comes_to_another() {
    let server = RedisServer::start();
    let one = std::sync::Arc::new(quick(&server.url(), 1));
    for number in 0..40 {
        let meta = number.to_string();
        one.reserve(&hash(number), LEASE, TTL, meta.as_bytes()).await.unwrap();
    }
    for round in 0..3 {
        server.pause();
        let began = Instant::now();
        let mut asks = tokio::task::JoinSet::new();
        for number in 0..100 {
            let one = one.clone();
            asks.spawn(async move { one.get(&hash(number % 40)).await });
        }
        for result in asks.join_all().await {
            assert_eq!(result, Err(Error::Timeout(QUICK)));
        }
        assert!(began.elapsed() < QUICK * 4, "round {round}: {:?}", began.elapsed());
        server.resume();
        let mut asks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let one = one.clone();
            asks.spawn(async move { (number, one.get(&hash(number)).await) });
        }
        for (number, record) in asks.join_all().await {
            assert_eq!(record.unwrap().unwrap().meta, number.to_string().as_bytes(), "its own answer");
        }
    }
}

#[tokio::test]
async fn who_gives_up_on_sending_leaves_a_key_that_is_not_free() {
    let server = RedisServer::start();
    let (one, two, hash) = (quick(&server.url(), 1), process(&server.url(), 2), hash(1));
    let fence = one.take(&hash, LEASE).await;
    one.examine(true).await.unwrap();
    server.pause();
    // On a connection that is open: the server carries it out when it wakes up.
    assert_eq!(one.sent(&hash, fence, SHORT, TTL, b"").await, Err(Error::Timeout(QUICK)));
    server.resume();
    let began = Instant::now();
    while two.meet(&hash).await.state == State::Reserved {
        assert!(began.elapsed() < Duration::from_secs(5), "it was never carried out");
    }
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(two.meet(&hash).await.state, State::Unknown);
    kept(&server, &hash);
}

#[tokio::test]
async fn nothing_is_queued_in_a_server_that_hangs() {
    let server = RedisServer::start();
    let (one, two) = (quick(&server.url(), 1), process(&server.url(), 2));
    server.pause();
    // New connections: accepted by the kernel, and asked nothing before they answered.
    for number in 0..3 {
        assert_eq!(one.reserve(&hash(number), LEASE, TTL, b"").await, Err(Error::Timeout(QUICK)));
    }
    server.resume();
    for number in 0..3 {
        two.take(&hash(number), LEASE).await;
    }
    // Connections that were open: after the first that fails the others are not trusted any more.
    let free = [hash(10), hash(11), hash(12), hash(13)];
    let _ = tokio::join!(one.get(&free[0]), one.get(&free[1]), one.get(&free[2]), one.get(&free[3]));
    server.pause();
    for hash in free {
        assert_eq!(one.reserve(&hash, LEASE, TTL, b"").await, Err(Error::Timeout(QUICK)));
    }
    server.resume();
    for hash in &free[1..] {
        two.take(hash, LEASE).await;
    }
}

#[tokio::test]
async fn a_server_that_sleeps_costs_the_timeout() {
    let server = std::sync::Arc::new(RedisServer::start());
    let (one, hash) = (quick(&server.url(), 1), hash(1));
    one.take(&hash, LEASE).await;
    let sleeper = {
        let server = server.clone();
        std::thread::spawn(move || server.command(&["DEBUG", "SLEEP", "1"]))
    };
    let began = Instant::now();
    let error = loop {
        // Until it sleeps.
        match one.get(&hash).await {
            Ok(_) if began.elapsed() < Duration::from_secs(5) => {}
            result => break result,
        }
    };
    assert_eq!(error, Err(Error::Timeout(QUICK)));
    sleeper.join().unwrap();
    assert_eq!(one.meet(&hash).await.state, State::Reserved);
}

#[tokio::test]
async fn a_slow_way_is_borne_within_the_timeout_and_not_beyond() {
    let server = RedisServer::start();
    let cable = Cable::to(&server);
    let (one, hash) = (process(&cable.url(), 1), hash(1));
    cable.delay(Duration::from_millis(100));
    let fence = one.send(&hash, TOTAL).await;
    let hasty = quick(&cable.url(), 2);
    cable.delay(QUICK * 2);
    let began = Instant::now();
    assert_eq!(hasty.get(&hash).await, Err(Error::Timeout(QUICK)));
    assert!(began.elapsed() < QUICK * 2);
    assert_eq!(one.done(&hash, fence, 200, b"").await.unwrap(), Settled::Kept);
}

#[tokio::test]
async fn an_answer_that_was_lost_on_the_way_does_not_lose_the_key() {
    let server = RedisServer::start();
    let cable = Cable::to(&server);
    let (one, hash) = (process(&cable.url(), 1), hash(1));
    // So that there is a connection, and it is known that there are no replicas.
    one.examine(true).await.unwrap();
    cable.lose_answer_to("EVALSHA");
    let fence = one.take(&hash, LEASE).await;
    assert_eq!(cable.lost(), 1, "NOSCRIPT was lost");
    assert!(one.release(&hash, fence).await.unwrap());
    cable.lose_answer_to("EVALSHA");
    let fence = one.take(&hash, LEASE).await;
    assert_eq!(cable.lost(), 2, "it had it, and was told the second time");
    cable.lose_answer_to("EVAL");
    assert!(one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap());
    cable.lose_answer_to("EVAL");
    assert_eq!(one.done(&hash, fence, 200, b"first").await.unwrap(), Settled::Kept);
    assert_eq!(cable.lost(), 4);
    assert_eq!(one.meet(&hash).await.answer, b"first");
}

#[tokio::test]
async fn an_answer_that_is_lost_on_a_new_connection_is_an_error_and_is_not_asked_again() {
    let server = RedisServer::start();
    let cable = Cable::to(&server);
    let (one, other, hash) = (process(&cable.url(), 1), process(&server.url(), 2), hash(1));
    cable.lose_answer_to("EVAL");
    assert!(matches!(one.reserve(&hash, LEASE, TTL, b"").await, Err(Error::Lost(_))));
    cable.lose_answer_to("ECHO");
    let error = process(&cable.url(), 3).get(&hash).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(other.get(&hash).await.is_ok());
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_answer_along() {
    let server = RedisServer::start();
    let cable = Cable::to(&server);
    let one = process(&cable.url(), 1);
    for number in 0..4 {
        let meta = number.to_string();
        one.reserve(&hash(number), LEASE, TTL, meta.as_bytes()).await.unwrap();
    }
    cable.delay(Duration::from_millis(50));
    for _ in 0..5 {
        let cut = tokio::time::timeout(Duration::from_millis(20), one.get(&hash(0))).await;
        assert!(cut.is_err());
        for number in 1..4 {
            assert_eq!(one.get(&hash(number)).await.unwrap().unwrap().meta, number.to_string().as_bytes());
        }
    }
}

#[tokio::test]
async fn a_server_that_is_full_is_an_error_and_frees_nothing() {
    let server = RedisServer::start();
    let (one, two) = (process(&server.url(), 1), process(&server.url(), 2));
    let (reserved, sent, new) = (hash(1), hash(2), hash(3));
    let fence = one.take(&reserved, LEASE).await;
    let sent_fence = one.send(&sent, TOTAL).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let is_full = |error: Error| matches!(&error, Error::Refused { code, .. } if code == "OOM");
    assert!(is_full(one.reserve(&new, LEASE, TTL, b"").await.unwrap_err()));
    assert!(is_full(one.sent(&reserved, fence, TOTAL, TTL, b"").await.unwrap_err()));
    assert!(is_full(one.done(&sent, sent_fence, 200, b"answer").await.unwrap_err()));
    assert_eq!(two.meet(&sent).await.state, State::Sent);
    assert_eq!(two.meet(&reserved).await.state, State::Reserved);
    assert!(one.release(&reserved, fence).await.unwrap(), "what makes room is possible");
    let facts = one.examine(true).await.unwrap();
    assert_eq!((facts.maxmemory, facts.evicts()), (1, false));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(one.done(&sent, sent_fence, 200, b"answer").await.unwrap(), Settled::Kept);
    one.take(&new, LEASE).await;
}

#[tokio::test]
async fn a_server_that_cannot_write_its_disk_is_an_error() {
    let server = RedisServer::with(&["--save", "3600 1"]);
    let (one, hash) = (process(&server.url(), 1), hash(1));
    let fence = one.take(&hash, LEASE).await;
    // Under the name of the snapshot there is a folder.
    std::fs::create_dir(server.dir().join("dump.rdb")).unwrap();
    std::fs::write(server.dir().join("dump.rdb/x"), "").unwrap();
    server.command(&["BGSAVE"]);
    let began = Instant::now();
    while !server.command(&["INFO", "persistence"]).text().contains("rdb_last_bgsave_status:err") {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = one.sent(&hash, fence, TOTAL, TTL, b"").await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == "MISCONF"), "{error:?}");
    assert_eq!(one.meet(&hash).await.state, State::Reserved);
}

#[tokio::test]
async fn a_server_that_evicts_is_seen() {
    let server = RedisServer::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let facts = process(&server.url(), 1).examine(true).await.unwrap();
    assert_eq!((facts.maxmemory_policy.as_str(), facts.maxmemory), ("allkeys-lru", 100 << 20));
    assert!(facts.evicts() && facts.replicas == 0 && facts.version.starts_with(|c: char| c.is_ascii_digit()));
}

#[tokio::test]
async fn a_cluster_is_refused() {
    let server = RedisServer::with(&["--cluster-enabled", "yes"]);
    assert_eq!(process(&server.url(), 1).examine(true).await, Err(Error::Cluster));
}

#[tokio::test]
async fn credentials_are_used_and_never_shown() {
    let server = RedisServer::with(&["--requirepass", "hunter2 ü"]);
    let port = server.port();
    let good = Options::new(format!("redis://:hunter2%20%C3%BC@127.0.0.1:{port}/3"));
    assert!(!format!("{good:?}").contains("hunter2"));
    let one = process(&good.url, 1);
    one.take(&hash(1), LEASE).await;
    assert!(!format!("{one:?}").contains("hunter2"));
    for (url, code) in [("redis://127.0.0.1", "NOAUTH"), ("redis://me:s3cret@127.0.0.1", "WRONGPASS")] {
        let error = process(&format!("{url}:{port}"), 1).get(&hash(1)).await.unwrap_err();
        assert!(error.to_string().contains(code), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
    for url in [
        "redis://me:s3cret@",
        "http://me:s3cret@host",
        "me:s3cret@host",
        "redis://me:s3cret@host/x",
        "redis://me:s3#cret@host",
        "rediss://me:s3cret@host#insecure",
        "redis://me:s3cret@host?protocol=s3cret",
    ] {
        let error = Redis::new(Options::new(url), [1; 16]).unwrap_err();
        assert!(matches!(error, Error::Url(_)) && !format!("{error} {error:?}").contains("s3"), "{error}");
    }
    server.kill();
    // The first may find the connection that it had.
    let lost = one.get(&hash(1)).await.unwrap_err();
    assert!(!format!("{lost} {lost:?}").contains("hunter2"));
    let error = one.get(&hash(1)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")) && !error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_user_who_may_do_no_more_than_is_written_down_will_do() {
    let server = RedisServer::start();
    let rules = "on >pw ~outboard:idem:* +eval +evalsha +script|load +wait +info +echo +select +time +hmget +hget +hset \
                 +exists +pexpire +get +set +del +zadd +zrem +zrange";
    let words: Vec<&str> = ["ACL", "SETUSER", "outboard"].into_iter().chain(rules.split_whitespace()).collect();
    assert_eq!(server.command(&words).text(), "OK");
    let one = process(&format!("redis://outboard:pw@127.0.0.1:{}/0", server.port()), 1);
    let fence = one.send(&hash(1), TOTAL).await;
    assert_eq!(one.counts().await.unwrap().sent, 1);
    assert!(one.unknown(&hash(1), fence).await.unwrap());
    assert_eq!(one.done(&hash(1), fence, 200, b"").await.unwrap(), Settled::Kept);
    let fence = one.send(&hash(2), TOTAL).await;
    assert!(one.release(&hash(2), fence).await.unwrap());
    let facts = one.examine(true).await.unwrap();
    assert_eq!((facts.aof_fsync, facts.snapshots), (None, None), "CONFIG is not allowed");
    // And who may not ask for replicas sends nothing: it is not known whether one is needed.
    server.command(&["ACL", "SETUSER", "outboard", "-info"]);
    let two = process(&format!("redis://outboard:pw@127.0.0.1:{}", server.port()), 2);
    let fence = two.take(&hash(3), LEASE).await;
    let error = two.sent(&hash(3), fence, TOTAL, TTL, b"").await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == "NOPERM"), "{error:?}");
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    let server = RedisServer::start();
    let one = process(&format!("redis+unix://{}", server.socket().display()), 1);
    one.take(&hash(1), LEASE).await;
}

#[tokio::test]
async fn tls_is_verified_by_the_file_that_is_named() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let (cert_arg, key_arg) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = RedisServer::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        cert_arg,
        "--tls-key-file",
        key_arg,
        "--tls-ca-cert-file",
        cert_arg,
        "--tls-auth-clients",
        "no",
    ]);
    let options = |host: &str, ca_file| Options {
        ca_file,
        timeout: Duration::from_secs(5),
        ..Options::new(format!("rediss://{host}:{port}"))
    };
    let one = Redis::new(options("localhost", Some(cert.clone())), [1; 16]).unwrap();
    let fence = one.send(&hash(1), TOTAL).await;
    assert_eq!(one.done(&hash(1), fence, 200, &vec![7; 1 << 20]).await.unwrap(), Settled::Kept);
    for (host, ca) in [("localhost", None), ("127.0.0.1", Some(cert.clone()))] {
        let error = Redis::new(options(host, ca), [1; 16]).unwrap().get(&hash(1)).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }) && error.to_string().contains("certificate"), "{error}");
    }
    assert!(matches!(Redis::new(options("localhost", Some(key)), [1; 16]), Err(Error::Ca { .. })));
    let plain = Options { ca_file: Some(cert), ..Options::new("redis://localhost") };
    assert!(matches!(Redis::new(plain, [1; 16]), Err(Error::Url(_))), "a file that would go unused");
}
