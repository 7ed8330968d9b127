//! Records that several processes share, in real redis-servers: killed, paused, slow, failed over.

use std::sync::Arc;

use super::*;
use crate::common::redis::{Cable, RedisServer};

fn shared(origin: &Origin, url: &str, section: &str) -> String {
    yaml_with(origin, &format!("store: redis, {section}"), "") + &format!("stores: {{ redis: {{ url: \"{url}\" }} }}\n")
}

/// A proxy that has found its server usable.
#[track_caller]
fn start_shared(origin: &Origin, url: &str, section: &str) -> Proxy {
    let proxy = Proxy::start(&shared(origin, url, section));
    proxy.await_metric("outboard_idempotency_store_up{store=\"redis\"}", 1.0);
    proxy
}

#[test]
fn a_retry_at_another_replica_gets_the_first_answer() {
    let (origin, server) = (charges(), RedisServer::durable());
    let proxies: Vec<Proxy> = (0..3).map(|_| start_shared(&origin, &server.url(), "")).collect();
    let first = pay(&proxies[0], "k");
    assert_eq!((first.status, first.text().as_str()), (201, "{\"charge\":1}"));
    for proxy in &proxies {
        let again = pay(proxy, "k");
        assert!(is_replayed(&again));
        assert_eq!((again.status, &again.body, again.header("x-charge")), (201, &first.body, Some("yes")));
        let other = pay_with(proxy, &[("Idempotency-Key", "k")], b"other");
        assert_eq!(other.reason(), "idempotency_mismatch");
        let other = pay_with(proxy, &[("Idempotency-Key", "k"), ("Authorization", "Bearer two")], BODY);
        assert_eq!(other.reason(), "idempotency_credential_changed");
    }
    assert_eq!(origin.count(), 1);
    assert!(!proxies[0].raw_output().contains("error"), "{}", proxies[0].raw_output());
}

#[test]
fn tries_at_all_replicas_at_once_are_one_charge() {
    let (origin, server) = (charges(), RedisServer::durable());
    let proxies: Arc<Vec<Proxy>> =
        Arc::new((0..3).map(|_| start_shared(&origin, &server.url(), "in_flight: { max_waiters: 99 }")).collect());
    for round in 1..=5 {
        let tries: Vec<_> = (0..30)
            .map(|n| {
                let proxies = proxies.clone();
                std::thread::spawn(move || pay(&proxies[n % 3], &format!("k{round}")))
            })
            .collect();
        let answers: Vec<Response> = tries.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(answers.iter().filter(|a| !is_replayed(a)).count(), 1, "{answers:#?}");
        assert!(answers.iter().all(|a| a.text() == format!("{{\"charge\":{round}}}")), "{answers:#?}");
        assert_eq!(origin.count(), round);
    }
}

#[test]
fn what_was_sent_by_a_replica_that_died_is_unknown_to_the_others_and_resolved_at_any_of_them() {
    let (origin, open) = held();
    let server = RedisServer::durable();
    let section = "in_flight: { wait: 50ms }";
    let yaml = shared(&origin, &server.url(), section)
        .replace("name: pay,", "name: pay, timeouts: { connect: 50ms, first_byte: 100ms, total: 200ms },");
    let survivor = Proxy::start(&yaml);
    survivor.await_metric("outboard_idempotency_store_up{store=\"redis\"}", 1.0);
    {
        let dies = Proxy::start(&yaml);
        dies.await_metric("outboard_idempotency_store_up{store=\"redis\"}", 1.0);
        let _client = begin(&dies, "k");
        eventually("the application has it", || origin.whole() == 1);
        dies.signal(Signal::KILL);
    }
    // As long as it may still be at work, it is; then nobody knows.
    assert_eq!(pay(&survivor, "k").reason(), "idempotency_in_flight");
    assert!(within(LONG, || pay(&survivor, "k").reason() == "idempotency_unknown"));
    open.send(()).unwrap();
    let other = Proxy::start(&yaml);
    other.await_metric("outboard_idempotency_store_up{store=\"redis\"}", 1.0);
    let list = other.admin_get("/idempotency?state=unknown").json();
    let record = &list["records"][0];
    assert_eq!((record["store"].as_str(), record["route"].as_str()), (Some("redis"), Some("pay")), "{list}");
    let path = format!("/idempotency/{}/resolve", record["hash"].as_str().unwrap());
    let order = |confirm: &str| format!(r#"{{"as":"not_charged","operator":"Ada"{confirm}}}"#);
    let confirm = other.admin_post(&path, &order("")).json()["confirm"].as_str().unwrap().to_owned();
    assert_eq!(other.admin_post(&path, &order(&format!(r#","confirm":"{confirm}""#))).status, 200);
    assert_eq!(pay(&survivor, "k").text(), "{\"charge\":2}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn without_its_server_a_keyed_request_is_refused_and_never_sent_blindly() {
    let (origin, server) = (charges(), RedisServer::durable());
    let proxy = start_shared(&origin, &server.url(), "");
    assert_eq!(pay(&proxy, "k").status, 201);
    server.kill();
    let refused = pay(&proxy, "other");
    assert_eq!((refused.status, refused.reason()), (503, "idempotency_store"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(pay(&proxy, "k").reason(), "idempotency_store", "nor is it guessed");
    assert_eq!(pay(&proxy, "").status, 201, "without a key it needs none");
    assert_eq!(proxy.metric("outboard_idempotency_store_up{store=\"redis\"}"), 0.0);
    // Others share the server: that it is gone is no reason to send nobody any traffic at all.
    assert_eq!(proxy.admin_get("/readyz").status, 200);
    server.restart();
    eventually("it is there again", || is_replayed(&pay(&proxy, "k")));
    assert_eq!(pay(&proxy, "other").status, 201);
    assert_eq!(origin.count(), 3);
}

#[test]
fn an_answer_that_waits_for_the_server_is_waited_for_by_the_drain() {
    let (origin, open) = held();
    let server = RedisServer::durable();
    let yaml = shared(&origin, &server.url(), "") + "drain: { delay: 0s }\n";
    let proxy = Proxy::start(&yaml);
    proxy.await_metric("outboard_idempotency_store_up{store=\"redis\"}", 1.0);
    let mut client = begin(&proxy, "k");
    eventually("the application has it", || origin.whole() == 1);
    server.kill();
    open.send(()).unwrap();
    assert_eq!(client.read_response().status, 201, "it is passed on");
    proxy.signal(Signal::TERM);
    proxy.eventually("draining", || proxy.events("phase").iter().any(|line| line["new"] == "draining"));
    server.restart();
    assert_eq!(proxy.wait(LONG).code(), Some(0));
    let next = start_shared(&origin, &server.url(), "");
    let again = pay(&next, "k");
    assert!(is_replayed(&again) && again.text() == "{\"charge\":1}", "{again:?}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_server_that_is_not_there_at_the_start_is_waited_for() {
    let (origin, server) = (charges(), RedisServer::durable());
    server.kill();
    let proxy = Proxy::start(&shared(&origin, &server.url(), ""));
    assert_eq!(pay(&proxy, "k").reason(), "idempotency_store");
    server.restart();
    eventually("it is there", || pay(&proxy, "k").status == 201);
    assert_eq!(origin.count(), 1);
    proxy.eventually("it is told", || !proxy.events("idempotency_redis").is_empty());
}

#[test]
fn a_server_that_hangs_or_is_slow_holds_a_request_for_no_longer_than_it_may() {
    let (origin, server) = (charges(), RedisServer::durable());
    let cable = Cable::to(&server);
    let proxy = start_shared(&origin, &cable.url(), "lease: 1s");
    server.pause();
    let begun = std::time::Instant::now();
    assert_eq!(pay(&proxy, "k").reason(), "idempotency_store");
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    server.resume();
    eventually("it answers again", || pay(&proxy, "k").status == 201);
    cable.delay(Duration::from_millis(400));
    assert_eq!(pay(&proxy, "slow").reason(), "idempotency_store");
    cable.delay(Duration::ZERO);
    // The server may have given the key to a try that did not hear of it: until that one's lease is over.
    eventually("it is quick again", || pay(&proxy, "slow").status == 201);
    assert!(is_replayed(&pay(&proxy, "k")));
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_answer_of_the_server_that_is_lost_is_not_taken_for_a_yes() {
    let (origin, server) = (charges(), RedisServer::durable());
    let cable = Cable::to(&server);
    let proxy = start_shared(&origin, &cable.url(), "");
    assert_eq!(pay(&proxy, "warm").status, 201);
    for round in 0..5 {
        // Whatever step it hits: afterwards there is one charge, or a refusal, and never two.
        cable.lose_answer_to("outboard:idem:1:");
        let key = format!("k{round}");
        let before = origin.count();
        pay(&proxy, &key);
        eventually("it is known", || {
            let again = pay(&proxy, &key);
            again.status == 201 || again.reason() == "idempotency_unknown"
        });
        assert!(origin.count() - before <= 1, "round {round}");
    }
    assert!(cable.lost() >= 5);
}

#[test]
fn a_failover_loses_no_record_that_was_sent() {
    let origin = charges();
    let master = RedisServer::durable();
    let replica = master.replica(&["--appendonly", "yes"]);
    let cable = Cable::to(&master);
    let proxy = start_shared(&origin, &cable.url(), "");
    proxy.eventually("it says what a failover means", || {
        proxy
            .events("idempotency_redis")
            .iter()
            .any(|line| line["cause"].as_str().is_some_and(|c| c.contains("failover")))
    });
    let first = pay(&proxy, "k");
    assert_eq!(first.status, 201);
    master.kill();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    cable.plug_into(&replica);
    // Until somebody says that it is to be alone, a replica is asked for: nothing new is sent.
    eventually("what is done is known", || is_replayed(&pay(&proxy, "k")));
    assert_eq!(pay(&proxy, "new").reason(), "idempotency_store");
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    eventually("it goes on alone", || pay(&proxy, "new").status == 201);
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_replica_that_comes_later_is_asked_for_from_then_on_and_a_reload_of_the_file_forgets_it_not() {
    let (origin, master) = (charges(), RedisServer::durable());
    let proxy = start_shared(&origin, &master.url(), "");
    assert_eq!(pay(&proxy, "alone").status, 201);
    let replica = master.replica(&[]);
    replica.pause();
    let mut number = 0;
    assert!(within(LONG, || {
        number += 1;
        pay(&proxy, &format!("k{number}")).reason() == "idempotency_store"
    }));
    // Also after the file was read again, which a person has not asked for.
    proxy.signal(Signal::HUP);
    eventually("it is read", || !proxy.events("reload").is_empty());
    for n in 0..5 {
        assert_eq!(pay(&proxy, &format!("after{n}")).reason(), "idempotency_store");
    }
    replica.resume();
    eventually("it confirms again", || pay(&proxy, "again").status == 201);
}

#[test]
fn a_server_that_drops_keys_is_not_used() {
    let origin = charges();
    let server = RedisServer::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let proxy = Proxy::start(&shared(&origin, &server.url(), ""));
    proxy.eventually("it is told why", || {
        let lines = proxy.events("idempotency_redis");
        lines.iter().any(|line| {
            line["level"] == "error"
                && line["cause"].as_str().is_some_and(|c| c.contains("allkeys-lru") && c.contains("noeviction"))
        })
    });
    assert_eq!(pay(&proxy, "k").reason(), "idempotency_store");
    assert_eq!(origin.count(), 0);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    eventually("it is used", || pay(&proxy, "k").status == 201);
}

#[test]
fn what_stands_there_is_encrypted_and_its_password_is_never_told() {
    let secret = "4000-is-not-to-be-found-there";
    let origin = counted(move |conn, _| conn.write(created(secret)));
    let server = RedisServer::with(&["--requirepass", "hunter2hunter2"]);
    let url = format!("redis://:hunter2hunter2@127.0.0.1:{}", server.port());
    let dir = tempfile::tempdir().unwrap();
    let (key, file) = (dir.path().join("key"), dir.path().join("url"));
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let yaml = yaml_with(&origin, "store: redis", "")
        + &format!(
            "stores: {{ redis: {{ url_file: {} }}, encryption_keys: [{{ id: k1, file: {} }}] }}\n",
            file.display(),
            key.display()
        );
    let proxy = Proxy::start(&yaml);
    proxy.await_metric("outboard_idempotency_store_up{store=\"redis\"}", 1.0);
    assert_eq!(pay(&proxy, "secret-key").text(), secret);
    assert_eq!(pay(&proxy, "secret-key").text(), secret);
    let dump = server.commands(&[&["AUTH", "hunter2hunter2"], &["KEYS", "outboard:idem:1:*"]]);
    let keys = format!("{dump:?}");
    assert!(keys.contains("outboard:idem:1:") && !keys.contains("secret-key") && !keys.contains("mer_1"), "{keys}");
    server.kill();
    assert_eq!(pay(&proxy, "secret-key").reason(), "idempotency_store");
    let told = proxy.raw_output() + &proxy.admin_get("/config").text() + &proxy.admin_get("/idempotency").text();
    for text in ["hunter2", secret, "secret-key"] {
        assert!(!told.contains(text), "{text}");
    }
}
