//! What is switched at run time, observed, reloaded and fetched at start.

use std::net::TcpListener;

use super::*;

fn switch(proxy: &Proxy, word: &str) {
    let answer = proxy.admin_post(&format!("/policies/all/cache/{word}"), "");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn compared(proxy: &Proxy) -> (f64, f64) {
    let of = |result: &str| proxy.metric(&series("compared", result));
    (of("same"), of("different"))
}

#[test]
fn observing_serves_nothing_and_compares() {
    let origin = scripted(|head, number| {
        let body = if head.target == "/same" { "same".into() } else { number.to_string() };
        Some(minute(&body))
    });
    let proxy = start(&origin, "mode: observe");
    for number in 0..3 {
        assert_eq!(ask(&proxy, "/", &[]).text(), number.to_string());
    }
    assert_eq!((compared(&proxy), origin.count()), ((0.0, 2.0), 3));
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "/same", &[]).text(), "same");
    }
    assert_eq!((compared(&proxy), origin.count()), ((2.0, 2.0), 6));
    assert_eq!((results(&proxy, "hit"), results(&proxy, "stale")), (0.0, 0.0));
    // A request that would be refused by a cache is not: there is none as far as clients can tell.
    assert_eq!(ask(&proxy, "/none", &[("Cache-Control", "only-if-cached")]).status, 200);
}

#[test]
fn observing_never_holds_anybody_up() {
    let (inside, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
    let counts = inside.clone();
    let origin = scripted(move |_, _| {
        if counts.fetch_add(1, Ordering::SeqCst) + 1 == 20 {
            gate.open();
        }
        gate.wait();
        Some(minute("all at once"))
    });
    let proxy = start(&origin, "mode: observe");
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    clients.iter_mut().for_each(|client| client.request("GET", "/", &[], b""));
    for client in &mut clients {
        assert_eq!(client.read_response().text(), "all at once");
    }
}

#[test]
fn a_switch_turns_it_off_and_on() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = start(&origin, "");
    assert_eq!((ask(&proxy, "/", &[]).text(), ask(&proxy, "/", &[]).text()), ("0".into(), "0".into()));
    switch(&proxy, "off");
    let off = ask(&proxy, "/", &[]);
    assert_eq!((off.text().as_str(), off.header("cache-status")), ("1", None));
    switch(&proxy, "observe");
    assert_eq!((ask(&proxy, "/", &[]).text().as_str(), compared(&proxy)), ("2", (0.0, 1.0)));
    switch(&proxy, "on");
    let on = ask(&proxy, "/", &[]);
    assert!(on.text() == "2" && status(&on).contains("hit"), "what was observed last: {on:?}");
    assert_eq!(origin.count(), 3);
}

/// What is changed while it is off must not come back when it is on.
#[test]
fn a_change_while_it_is_off_ends_what_is_stored() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = start(&origin, "");
    ask(&proxy, "/", &[]);
    switch(&proxy, "off");
    Client::connect(proxy.addr("inbound")).post("/", b"new");
    switch(&proxy, "on");
    assert_eq!(ask(&proxy, "/", &[]).text(), "2");
}

#[test]
fn a_reload_keeps_what_is_stored_where_nothing_of_it_changed() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let text =
        |level: &str, ttl: &str| format!("logging: {{ level: {level} }}\n{}", caching(&origin, &format!("ttl: {ttl}")));
    let proxy = Proxy::start(&text("info", "1m"));
    let reload = |text: &str| {
        proxy.write_config(text);
        let answer = proxy.admin_post("/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    assert_eq!(ask(&proxy, "/", &[]).text(), "0");
    reload(&text("debug", "1m"));
    assert_eq!(ask(&proxy, "/", &[]).text(), "0");
    reload(&text("debug", "2m"));
    assert_eq!((ask(&proxy, "/", &[]).text().as_str(), origin.count()), ("1", 2));
    let forgotten = "outboard_cache_invalidations_total{cause=\"reload\"}";
    assert_eq!(proxy.metric(forgotten), 1.0);
    // Without the section nothing is served from it, and with it again nothing of the time before.
    reload(&yaml(&origin, "routes: [{ name: all }]"));
    assert_eq!(ask(&proxy, "/", &[]).text(), "2");
    reload(&text("debug", "2m"));
    assert_eq!(ask(&proxy, "/", &[]).text(), "3");
}

#[test]
fn what_is_to_be_warm_is_fetched_before_anybody_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let routes = "routes: [{ name: all, match: { host: test.example }, cache: { warm: [\"/a?b=1\", /c] } }]";
    let proxy = Proxy::start(&yaml(address, routes));
    // The application comes later than the proxy, as in a pod.
    let origin = Origin::serve_at(address, |conn| {
        while let Some(head) = conn.read_head() {
            conn.write(minute(&head.target));
        }
    });
    await_stores(&proxy, "stored", 2.0);
    let asked: Vec<String> = origin.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(asked, ["/a?b=1", "/c"]);
    for target in ["/a?b=1", "/c"] {
        let answer = ask(&proxy, target, &[]);
        assert!(answer.text() == target && status(&answer).contains("hit"), "{answer:?}");
    }
    assert_eq!(origin.count(), 2);
    // They are fetched without a credential, and so are nobody's who has one.
    ask(&proxy, "/c", &[("Authorization", "a")]);
    assert_eq!(origin.count(), 3);
    // What is forgotten is fetched again.
    proxy.write_config(&yaml(address, &routes.replace("/c]", "/c], ttl: 5m")));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    eventually("it is warm again", || origin.count() == 5);
}
