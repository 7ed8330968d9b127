//! Tries of one key at the same time, and clients that leave.

use std::sync::Arc;
use std::sync::mpsc;

use super::*;

/// An application that answers when it is told to.
fn gated() -> (Origin, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = counted(move |conn, number| {
        let _ = gate.lock().unwrap().recv();
        conn.write(created(&format!("{{\"charge\":{number}}}")))
    });
    (origin, open)
}

#[test]
fn tries_that_come_while_the_first_is_at_work_wait_for_its_answer() {
    let (origin, open) = gated();
    let proxy = start(&origin, "");
    let mut first = begin(&proxy, "k");
    eventually("the application has it", || origin.whole() == 1);
    let mut others: Vec<Client> = (0..5).map(|_| begin(&proxy, "k")).collect();
    proxy.await_metric("outboard_requests_in_flight{route=\"pay\"}", 6.0);
    open.send(()).unwrap();
    let answer = first.read_response();
    assert_eq!((answer.status, is_replayed(&answer)), (201, false));
    for other in &mut others {
        let other = other.read_response();
        assert!(is_replayed(&other) && other.body == answer.body);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn who_waited_for_too_long_is_told_so_and_comes_again() {
    let (origin, open) = gated();
    let proxy = start(&origin, "in_flight: { wait: 50ms }");
    let mut first = begin(&proxy, "k");
    eventually("the application has it", || origin.whole() == 1);
    let refused = pay(&proxy, "k");
    assert_eq!((refused.status, refused.reason()), (409, "idempotency_in_flight"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    open.send(()).unwrap();
    assert_eq!(first.read_response().status, 201);
    assert!(is_replayed(&pay(&proxy, "k")));
    assert_eq!(origin.count(), 1);
    proxy.await_metric(&result("in_flight"), 1.0);
}

#[test]
fn no_more_than_so_many_wait_for_one_key_and_none_of_them_holds_a_place() {
    let (origin, open) = gated();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], queue: {{ max_concurrent: 2, max_queued: 1, timeout: 5s }} }} }}\n\
         routes: [{{ name: pay, idempotency: {{ owner: [header:x-merchant-id], in_flight: {{ max_waiters: 3 }} }} }}]\n"
    ));
    let mut first = begin(&proxy, "k");
    eventually("the application has it", || origin.whole() == 1);
    let mut waiting: Vec<Client> = (0..3).map(|_| begin(&proxy, "k")).collect();
    proxy.await_metric("outboard_requests_in_flight{route=\"pay\"}", 4.0);
    assert_eq!(pay(&proxy, "k").reason(), "idempotency_in_flight");
    // The second place is free for another key.
    let mut other = begin(&proxy, "other");
    eventually("the application has it", || origin.whole() == 2);
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert_eq!(first.read_response().status, 201);
    assert_eq!(other.read_response().status, 201);
    waiting.iter_mut().for_each(|client| assert!(is_replayed(&client.read_response())));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_client_that_leaves_and_tries_again_gets_its_answer_and_is_charged_once() {
    let (origin, open) = gated();
    let proxy = start(&origin, "");
    drop(begin(&proxy, "k"));
    eventually("the application has it", || origin.whole() == 1);
    proxy.await_metric("outboard_requests_in_flight{route=\"pay\"}", 0.0);
    let mut again = begin(&proxy, "k");
    proxy.await_metric("outboard_requests_in_flight{route=\"pay\"}", 1.0);
    open.send(()).unwrap();
    let answer = again.read_response();
    assert!(is_replayed(&answer));
    assert_eq!((answer.text().as_str(), origin.count()), ("{\"charge\":1}", 1));
    // What became of it stands in the log, where its access line says only that its client left.
    proxy.eventually("a line of the outcome", || !proxy.events("idempotency_outcome").is_empty());
    let line = &proxy.events("idempotency_outcome")[0];
    assert_eq!((line["outcome"].as_str(), line["status"].as_u64()), (Some("kept"), Some(201)));
}

#[test]
fn a_client_that_leaves_before_anybody_comes_again_loses_nothing() {
    let (origin, open) = gated();
    let proxy = start(&origin, "");
    drop(begin(&proxy, "k"));
    eventually("the application has it", || origin.whole() == 1);
    open.send(()).unwrap();
    proxy.await_metric(&outcome("kept"), 1.0);
    assert!(is_replayed(&pay(&proxy, "k")));
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_drain_waits_for_a_request_whose_client_has_left() {
    let (origin, open) = gated();
    let file = yaml_with(&origin, "", "") + "drain: { delay: 0s }\n";
    let proxy = Proxy::start(&file);
    drop(begin(&proxy, "k"));
    eventually("the application has it", || origin.whole() == 1);
    proxy.await_metric("outboard_requests_in_flight{route=\"pay\"}", 0.0);
    proxy.signal(Signal::TERM);
    eventually("it leaves", || proxy.events("phase").iter().any(|line| line["new"] == "draining"));
    assert!(proxy.ended().is_none());
    open.send(()).unwrap();
    assert!(proxy.wait(LONG).success());
    let line = &proxy.events("idempotency_outcome")[0];
    assert_eq!(line["outcome"], "kept");
}

#[test]
fn a_hundred_tries_at_once_are_one_charge() {
    let origin = charges();
    let proxy = Arc::new(start(&origin, "in_flight: { max_waiters: 200 }"));
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let proxy = proxy.clone();
            std::thread::spawn(move || pay(&proxy, "k"))
        })
        .collect();
    let answers: Vec<Response> = tries.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(answers.iter().filter(|a| !is_replayed(a)).count(), 1);
    assert!(answers.iter().all(|a| a.text() == "{\"charge\":1}"), "{answers:#?}");
    assert_eq!(origin.count(), 1);
}
