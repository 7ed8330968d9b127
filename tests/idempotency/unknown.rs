//! What becomes of a request of which nobody knows whether it was carried out: refused, asked for, resolved by a person.

use std::sync::Arc;
use std::sync::Mutex;

use super::*;

/// An application that breaks off the first charge, and says of it what the test says: a status and a body for GET.
fn broken(knows: &Arc<Mutex<&'static str>>) -> Origin {
    let (knows, charged) = (knows.clone(), AtomicUsize::new(0));
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if head.method == "GET" {
                let answer = *knows.lock().unwrap();
                conn.write(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
                continue;
            }
            let number = charged.fetch_add(1, Ordering::SeqCst) + 1;
            if number == 1 {
                return;
            }
            conn.write(created(&format!("{{\"charge\":{number}}}")));
        }
    })
}

fn posts(origin: &Origin) -> usize {
    origin.requests().iter().filter(|r| r.method == "POST").count()
}

const ASK: &str = "unknown_outcome: { ask: { path: '/v1/payments?idempotency_key={key}' } }";
const SHORT: &str = "timeouts: { connect: 50ms, first_byte: 100ms, total: 200ms }";

#[test]
fn an_application_that_has_carried_it_out_says_so_and_is_not_asked_again() {
    let knows = Arc::new(Mutex::new("200 OK"));
    let origin = broken(&knows);
    let proxy = start(&origin, ASK);
    assert_eq!(pay(&proxy, "k/1 ü\"").status, 400);
    assert_eq!(pay(&proxy, "k/1?").reason(), "upstream_reset");
    for _ in 0..2 {
        let refused = pay(&proxy, "k/1?");
        assert_eq!((refused.status, refused.reason()), (409, "idempotency_not_kept"));
        assert_eq!(refused.json()["detail"], "the application says that it carried it out");
    }
    let asked: Vec<_> = origin.requests().into_iter().filter(|r| r.method == "GET").collect();
    assert_eq!((asked.len(), posts(&origin)), (1, 1));
    assert_eq!(asked[0].target, "/v1/payments?idempotency_key=k%2F1%3F");
    // It is asked in the name of who tries, and without what was of the charge alone.
    assert_eq!(asked[0].header("authorization"), Some("Bearer one"));
    for absent in ["idempotency-key", "content-type", "content-length"] {
        assert_eq!(asked[0].header(absent), None, "{absent}");
    }
}

#[test]
fn what_the_application_does_not_know_is_sent_again_once_it_can_be_at_work_on_it_no_more() {
    let knows = Arc::new(Mutex::new("404 Not Found"));
    let origin = broken(&knows);
    let proxy = Proxy::start(&yaml_with(&origin, ASK, SHORT));
    assert_eq!(pay(&proxy, "k").reason(), "upstream_reset");
    let refused = pay(&proxy, "k");
    assert_eq!((refused.status, refused.reason()), (409, "idempotency_unknown"));
    assert_eq!(refused.json()["detail"], "the application does not know it yet; try again later");
    assert_eq!(posts(&origin), 1);
    // Twice timeouts.total and five seconds after it was sent.
    let begun = std::time::Instant::now();
    assert!(within(LONG, || pay(&proxy, "k").status == 201));
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(is_replayed(&pay(&proxy, "k")));
    assert_eq!(posts(&origin), 2);
}

#[test]
fn an_application_that_cannot_be_asked_leaves_it_unknown() {
    for answer in ["500 Oops", "401 Unauthorized", "204 No Content"] {
        let origin = broken(&Arc::new(Mutex::new(answer)));
        let proxy = start(&origin, ASK);
        assert_eq!(pay(&proxy, "k").reason(), "upstream_reset");
        let refused = pay(&proxy, "k");
        assert_eq!(refused.reason(), "idempotency_unknown", "{answer}");
        assert_eq!(refused.json()["detail"], "the application could not be asked");
        assert_eq!(posts(&origin), 1);
    }
}

#[test]
fn a_hundred_tries_of_an_unknown_key_are_sent_again_by_one_alone() {
    let knows = Arc::new(Mutex::new("404 Not Found"));
    let origin = broken(&knows);
    let proxy = Arc::new(start(&origin, "unknown_outcome: forward, in_flight: { max_waiters: 200 }"));
    assert_eq!(pay(&proxy, "k").reason(), "upstream_reset");
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let proxy = proxy.clone();
            std::thread::spawn(move || pay(&proxy, "k"))
        })
        .collect();
    let answers: Vec<Response> = tries.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(answers.iter().filter(|a| a.status == 201 && !is_replayed(a)).count(), 1);
    assert!(answers.iter().all(|a| a.text() == "{\"charge\":2}"));
    assert_eq!(posts(&origin), 2);
}

/// The hash of the only record of unknown outcome.
fn listed(proxy: &Proxy) -> serde_json::Value {
    let list = proxy.admin_get("/idempotency?state=unknown").json();
    let records = list["records"].as_array().unwrap();
    assert_eq!(records.len(), 1, "{list}");
    records[0].clone()
}

#[test]
fn a_person_says_that_it_was_not_charged_in_two_steps_and_is_named() {
    let origin = broken(&Arc::new(Mutex::new("404 Not Found")));
    let proxy = start(&origin, "");
    let broken = pay(&proxy, "secret-key");
    let record = listed(&proxy);
    assert_eq!((record["state"].as_str(), record["route"].as_str()), (Some("unknown"), Some("pay")));
    assert_eq!((record["upstream_sent"].as_str(), record["status"].as_u64()), (Some("all"), None));
    assert_eq!(record["request_id"].as_str(), broken.header("x-request-id"));
    assert_eq!(record["endpoint"].as_str(), Some(origin.to_string().as_str()));
    let page = proxy.admin_get("/idempotency?state=unknown").text();
    assert!(!page.contains("secret-key") && !page.contains("mer_1") && !page.contains("Bearer"), "{page}");

    let path = format!("/idempotency/{}/resolve", record["hash"].as_str().unwrap());
    let first = proxy.admin_post(&path, r#"{"as":"not_charged","operator":"Ada"}"#);
    assert_eq!(first.status, 200, "{}", first.text());
    let (confirm, effect) = (first.json()["confirm"].as_str().unwrap().to_owned(), first.json()["effect"].clone());
    assert_eq!(effect, "the next try of this key is sent to the application");
    assert_eq!(pay(&proxy, "secret-key").reason(), "idempotency_unknown", "nothing was done yet");
    // Somebody else's order, or another one, is not confirmed by it.
    for other in [
        format!(r#"{{"as":"not_charged","operator":"Bob","confirm":"{confirm}"}}"#),
        format!(r#"{{"as":"done","status":201,"operator":"Ada","confirm":"{confirm}"}}"#),
        r#"{"as":"not_charged","operator":"Ada","confirm":"000000000000"}"#.to_owned(),
    ] {
        assert_eq!(proxy.admin_post(&path, &other).status, 422, "{other}");
    }
    let order = format!(r#"{{"as":"not_charged","operator":"Ada","confirm":"{confirm}"}}"#);
    assert_eq!(proxy.admin_post(&path, &order).status, 200);
    assert_eq!(proxy.admin_post(&path, &order).status, 404, "there is no record any more");
    proxy.eventually("a line of it", || proxy.events("admin").iter().any(|line| line["result"] == "ok"));
    let lines = proxy.events("admin");
    let said = lines.iter().filter(|line| line["result"] == "ok").collect::<Vec<_>>();
    assert_eq!(said.len(), 1, "{lines:#?}");
    let order = format!("{} as not_charged by Ada", record["hash"].as_str().unwrap());
    assert_eq!((said[0]["action"].as_str(), said[0]["order"].as_str()), (Some("idempotency"), Some(order.as_str())));
    assert_eq!(pay(&proxy, "secret-key").text(), "{\"charge\":2}");
}

#[test]
fn a_person_says_that_it_was_done_and_later_tries_get_that() {
    for (with, status, reason, text) in [
        (r#""status":201,"body":"{\"charge\":7}","#, 201, "", "{\"charge\":7}"),
        (r#""status":201,"#, 409, "idempotency_not_kept", ""),
    ] {
        let origin = broken(&Arc::new(Mutex::new("404 Not Found")));
        let proxy = start(&origin, "");
        pay(&proxy, "k");
        let path = format!("/idempotency/{}/resolve", listed(&proxy)["hash"].as_str().unwrap());
        let order = |confirm: &str| format!(r#"{{"as":"done",{with}"operator":"Ada"{confirm}}}"#);
        let confirm = proxy.admin_post(&path, &order("")).json()["confirm"].as_str().unwrap().to_owned();
        assert_eq!(proxy.admin_post(&path, &order(&format!(r#","confirm":"{confirm}""#))).status, 200);
        let answer = pay(&proxy, "k");
        assert_eq!((answer.status, answer.reason()), (status, reason));
        if !text.is_empty() {
            assert_eq!((answer.text().as_str(), is_replayed(&answer)), (text, true));
        }
        assert_eq!(posts(&origin), 1);
        assert_eq!(proxy.admin_post(&path, &order("")).status, 422, "it is not unknown any more");
    }
}

#[test]
fn an_order_that_says_nothing_or_too_much_is_refused() {
    let origin = charges();
    let proxy = start(&origin, "");
    let path = format!("/idempotency/{}/resolve", "0".repeat(32));
    for (order, status) in [
        ("", 400),
        ("{}", 400),
        (r#"{"as":"charged","operator":"Ada"}"#, 400),
        (r#"{"as":"not_charged"}"#, 400),
        (r#"{"as":"not_charged","operator":" "}"#, 400),
        (r#"{"as":"not_charged","operator":"Ada","status":200}"#, 400),
        (r#"{"as":"done","operator":"Ada"}"#, 400),
        (r#"{"as":"done","operator":"Ada","status":99}"#, 400),
        (r#"{"as":"not_charged","operator":"Ada"}"#, 404),
    ] {
        assert_eq!(proxy.admin_post(&path, order).status, status, "{order}");
    }
    assert_eq!(proxy.admin_post("/idempotency/zz/resolve", r#"{"as":"not_charged","operator":"Ada"}"#).status, 404);
    assert_eq!(proxy.admin_post("/idempotency/zz/forget", "{}").status, 404);
    assert_eq!(proxy.admin_get(&path).status, 405);
    for query in ["state=done", "state=", "limit=0", "limit=9999", "key=k"] {
        assert_eq!(proxy.admin_get(&format!("/idempotency?{query}")).status, 422, "{query}");
    }
    let counts = proxy.admin_get("/idempotency").json();
    assert_eq!(counts["stores"][0]["records"]["unknown"], 0);
    assert_eq!(
        (counts["stores"][0]["durable"].as_bool(), counts["stores"][0]["store"].as_str()),
        (Some(false), Some("local"))
    );
}

#[test]
fn how_old_the_oldest_unknown_is_can_be_watched() {
    let origin = broken(&Arc::new(Mutex::new("404 Not Found")));
    let proxy = start(&origin, "");
    assert_eq!(proxy.metric("outboard_idempotency_unknown_oldest_seconds"), 0.0);
    pay(&proxy, "k");
    eventually("it grows older", || proxy.metric("outboard_idempotency_unknown_oldest_seconds") > 0.0);
    assert_eq!(proxy.metric("outboard_idempotency_store_up{store=\"local\"}"), 1.0);
}
