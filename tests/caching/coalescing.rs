//! Many who want the same thing at once.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;

/// Answers a minute's worth once the gate is open, with its number.
fn gated(gate: &Gate, fields: &'static str) -> Origin {
    let held = gate.clone();
    scripted(move |_, number| {
        held.wait();
        Some(answer(200, fields, &format!("answer {number}")))
    })
}

const MINUTE: &str = "Cache-Control: max-age=60\r\n";

/// Clients that have asked and read nothing yet.
fn crowd(proxy: &Proxy, count: usize, headers: &[(&str, &str)]) -> Vec<Client> {
    let asks = |_| {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/hot", headers, b"");
        client
    };
    (0..count).map(asks).collect()
}

#[test]
fn a_thousand_at_once_are_one_fetch() {
    let gate = Gate::default();
    let origin = gated(&gate, MINUTE);
    let proxy = start(&origin, "coalesce: { wait: 14s }");
    let clients = crowd(&proxy, 1000, &[]);
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 1000.0);
    gate.open();
    for mut client in clients {
        assert_eq!(client.read_response().text(), "answer 0");
    }
    assert_eq!((origin.count(), results(&proxy, "miss"), results(&proxy, "coalesced")), (1, 1.0, 999.0));
    assert_eq!(proxy.metric("outboard_cache_objects"), 1.0);
}

/// Who has looked in vain, and comes to fetch it when it has just been stored, looks again.
#[test]
fn a_fetch_that_ends_while_another_looks_is_not_made_again() {
    let origin = Origin::answer(minute("quick"));
    let proxy = start(&origin, "");
    let (addr, rounds) = (proxy.addr("inbound"), 300);
    let barrier = Arc::new(std::sync::Barrier::new(8));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let barrier = barrier.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                for round in 0..rounds {
                    barrier.wait();
                    assert_eq!(client.get(&format!("/{round}")).text(), "quick");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!((origin.count(), results(&proxy, "miss")), (rounds, rounds as f64));
}

#[test]
fn the_others_get_it_though_the_first_has_left() {
    let gate = Gate::default();
    let origin = gated(&gate, MINUTE);
    let proxy = start(&origin, "coalesce: { wait: 14s }");
    let first = crowd(&proxy, 1, &[]).remove(0);
    eventually("the application is asked", || origin.count() == 1);
    let others = crowd(&proxy, 10, &[]);
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 11.0);
    first.reset();
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 10.0);
    gate.open();
    for mut client in others {
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "answer 0"));
        assert!(status(&answer).contains("collapsed"), "{answer:?}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn it_is_stored_though_all_have_left() {
    let gate = Gate::default();
    let origin = gated(&gate, MINUTE);
    let proxy = start(&origin, "");
    let clients = crowd(&proxy, 5, &[]);
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 5.0);
    clients.into_iter().for_each(Client::reset);
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    gate.open();
    await_stores(&proxy, "stored", 1.0);
    assert_eq!((ask(&proxy, "/hot", &[]).text().as_str(), origin.count()), ("answer 0", 1));
}

#[test]
fn who_waits_too_long_is_told_so_and_the_fetch_goes_on() {
    let gate = Gate::default();
    let origin = gated(&gate, MINUTE);
    let proxy = start(&origin, "coalesce: { wait: 200ms }");
    let mut first = crowd(&proxy, 1, &[]).remove(0);
    eventually("the application is asked", || origin.count() == 1);
    let begun = Instant::now();
    for mut client in crowd(&proxy, 20, &[]) {
        let answer = client.read_response();
        assert_eq!((answer.status, answer.reason()), (503, "coalesce_timeout"));
    }
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(origin.count(), 1, "none of them was sent on");
    gate.open();
    assert_eq!(first.read_response().text(), "answer 0", "who began it has the time of its own request");
    assert_eq!(ask(&proxy, "/hot", &[]).text(), "answer 0");
    let refused = proxy.metric("outboard_refusals_total{reason=\"coalesce_timeout\",route=\"all\"}");
    assert_eq!((origin.count(), refused), (1, 20.0));
}

#[test]
fn who_waits_too_long_gets_what_is_stale_where_that_is_allowed() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |_, number| {
        if number > 0 {
            held.wait();
        }
        Some(answer(200, MINUTE, &format!("answer {number}")))
    });
    let proxy = start(&origin, "coalesce: { wait: 100ms }, stale_if_error: 1m");
    assert_eq!(ask(&proxy, "/hot", &[]).text(), "answer 0");
    expire(&proxy);
    let mut first = crowd(&proxy, 1, &[]).remove(0);
    eventually("the application is asked", || origin.count() == 2);
    let stale = ask(&proxy, "/hot", &[]);
    assert_eq!((stale.status, stale.text().as_str()), (200, "answer 0"));
    assert!(status(&stale).contains("stale_if_error"), "{stale:?}");
    gate.open();
    assert_eq!(first.read_response().text(), "answer 1");
    assert_eq!((ask(&proxy, "/hot", &[]).text().as_str(), origin.count()), ("answer 1", 2));
}

/// The application answers nobody until `together` are inside.
fn barrier(together: usize, fields: &'static str) -> (Origin, Arc<AtomicUsize>) {
    let (inside, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
    let counts = inside.clone();
    let origin = scripted(move |head, number| {
        if number > 0 {
            if counts.fetch_add(1, Ordering::SeqCst) + 1 >= together {
                gate.open();
            }
            gate.wait();
        }
        match head.header("if-none-match") {
            Some(_) => Some(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")),
            None => Some(answer(200, fields, &format!("answer {number}"))),
        }
    });
    (origin, inside)
}

/// What is asked anew each time is not to be waited for: each request needs an answer of its own.
fn are_not_serialised(fields: &'static str) {
    let (origin, inside) = barrier(50, fields);
    let proxy = start(&origin, "coalesce: { wait: 10s }");
    assert_eq!(ask(&proxy, "/hot", &[]).text(), "answer 0");
    let clients = crowd(&proxy, 50, &[]);
    eventually("fifty at once", || inside.load(Ordering::SeqCst) == 50);
    for mut client in clients {
        assert_eq!(client.read_response().status, 200);
    }
    assert_eq!(origin.count(), 51);
}

#[test]
fn what_proved_uncacheable_is_not_waited_for() {
    are_not_serialised("Cache-Control: no-store\r\n");
}

#[test]
fn what_has_to_be_validated_each_time_is_not_waited_for() {
    are_not_serialised("Cache-Control: no-cache\r\nETag: \"e\"\r\n");
}

/// Many frameworks send a tag and say nothing else.
#[test]
fn what_is_stale_when_it_comes_is_not_waited_for() {
    are_not_serialised("ETag: \"e\"\r\n");
    are_not_serialised("ETag: \"e\"\r\nCache-Control: max-age=60\r\nAge: 100\r\n");
}

#[test]
fn what_was_stored_and_is_not_to_be_any_more_is_forgotten() {
    let (inside, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
    let counts = inside.clone();
    let origin = scripted(move |_, number| {
        if number > 1 {
            counts.fetch_add(1, Ordering::SeqCst);
            gate.wait();
        }
        if inside_is_full(&counts) {
            gate.open();
        }
        let fields = if number == 0 { MINUTE } else { "Cache-Control: no-store\r\n" };
        Some(answer(200, fields, &format!("answer {number}")))
    });
    let proxy = start(&origin, "coalesce: { wait: 10s }, stale_if_error: 1m");
    ask(&proxy, "/hot", &[]);
    expire(&proxy);
    assert_eq!(ask(&proxy, "/hot", &[]).text(), "answer 1");
    let clients = crowd(&proxy, 20, &[]);
    eventually("twenty at once", || inside.load(Ordering::SeqCst) == 20);
    drop(clients);
}

fn inside_is_full(inside: &AtomicUsize) -> bool {
    inside.load(Ordering::SeqCst) >= 20
}

#[test]
fn a_failure_says_nothing_of_what_comes_after_it() {
    let origin = scripted(|_, number| Some(if number == 0 { answer(503, "", "failed") } else { minute("well") }));
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/hot", &[]).status, 503);
    assert_eq!((ask(&proxy, "/hot", &[]).text(), ask(&proxy, "/hot", &[]).text()), ("well".into(), "well".into()));
    assert_eq!((origin.count(), results(&proxy, "hit")), (2, 1.0));
}

#[test]
fn a_failure_is_every_waiters_and_nobody_hangs() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |_, _| {
        held.wait();
        None
    });
    let proxy = Proxy::start(&yaml(&origin, "routes: [{ name: all, retry: off, cache: { coalesce: { wait: 14s } } }]"));
    let clients = crowd(&proxy, 30, &[]);
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 30.0);
    gate.open();
    for mut client in clients {
        let answer = client.read_response();
        assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"));
    }
    assert_eq!(origin.count(), 1, "thirty failures of one fetch, not thirty fetches");
}

#[test]
fn one_who_waits_for_a_purged_answer_gets_a_newer_one() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |_, number| {
        if number == 0 {
            held.wait();
        }
        Some(answer(200, MINUTE, &format!("answer {number}")))
    });
    let proxy = start(&origin, "coalesce: { wait: 14s }");
    let mut first = crowd(&proxy, 1, &[]).remove(0);
    eventually("the application is asked", || origin.count() == 1);
    purge(&proxy, "{\"all\": true}");
    // Who comes after the purge does not wait for what was asked before it.
    assert_eq!(ask(&proxy, "/hot", &[]).text(), "answer 1");
    gate.open();
    assert_eq!(first.read_response().text(), "answer 0");
    await_stores(&proxy, "raced", 1.0);
    assert_eq!((ask(&proxy, "/hot", &[]).text().as_str(), origin.count()), ("answer 1", 2));
}

#[test]
fn a_more_urgent_waiter_moves_the_fetch_forward() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |head, _| {
        if head.target == "/held" {
            held.wait();
        }
        Some(minute(&head.target))
    });
    let text = format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", trusted_proxies: [127.0.0.0/8] }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], queue: {{ max_concurrent: 1, timeout: 9s, target_delay: 8s, \
         interval: 8s }} }} }}\n\
         routes: [{{ name: all, priority: {{ from: \"header:x-priority\", default: normal, max: critical }}, \
         cache: {{ coalesce: {{ wait: 14s }} }} }}]\n"
    );
    let proxy = Proxy::start(&text);
    let open = |target: &str, priority: &str| -> Client {
        let mut client = Client::over(Wire::Tcp(TcpStream::connect(proxy.addr("inbound")).unwrap()));
        client.request("GET", target, &[("X-Priority", priority)], b"");
        client
    };
    let depth =
        |priority: &str| proxy.metric(&format!("outboard_queue_depth{{priority=\"{priority}\",upstream=\"app\"}}"));
    let mut clients = vec![open("/held", "normal")];
    eventually("it has the place", || origin.count() == 1);
    clients.push(open("/hot", "low"));
    eventually("the fetch waits", || depth("low") == 1.0);
    clients.push(open("/other", "high"));
    eventually("before it another", || depth("high") == 1.0);
    clients.push(open("/hot", "critical"));
    eventually("it waits among its like", || depth("critical") == 1.0 && depth("low") == 0.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    let order: Vec<String> = origin.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(order, ["/held", "/hot", "/other"]);
}

/// What the answers vary by is not known before the first one is there.
#[test]
fn who_waits_for_an_answer_that_is_another_variant_gets_its_own() {
    let origin = scripted(|head, _| {
        let language = head.header("x-lang").unwrap_or("none").to_owned();
        std::thread::sleep(Duration::from_millis(50));
        Some(answer(200, "Cache-Control: max-age=60\r\nVary: X-Lang\r\n", &language))
    });
    let proxy = start(&origin, "coalesce: { wait: 10s }");
    let languages: Vec<String> = (0..40).map(|n| format!("l{}", n % 8)).collect();
    let clients: Vec<_> = languages.iter().map(|l| (l, crowd(&proxy, 1, &[("X-Lang", l)]).remove(0))).collect();
    for (language, mut client) in clients {
        assert_eq!(&client.read_response().text(), language);
    }
    assert_eq!((origin.count(), proxy.metric("outboard_cache_objects")), (8, 8.0));
}

#[test]
fn a_stream_that_is_reset_leaves_the_fetch_to_the_others() {
    let gate = Gate::default();
    let origin = gated(&gate, MINUTE);
    let proxy = start(&origin, "coalesce: { wait: 14s }");
    let client = http2::Client::connect(proxy.addr("inbound"));
    let mut first = client.stream(http2::Client::build("GET", "/hot"), true).unwrap();
    eventually("the application is asked", || origin.count() == 1);
    let others: Vec<_> = (0..5).map(|_| client.stream(http2::Client::build("GET", "/hot"), true).unwrap()).collect();
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 6.0);
    first.reset(h2::Reason::CANCEL);
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 5.0);
    gate.open();
    for stream in others {
        assert_eq!(stream.answer().unwrap().body, b"answer 0");
    }
    assert_eq!(origin.count(), 1);
}
