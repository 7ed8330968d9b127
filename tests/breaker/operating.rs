//! What operators and clients see: refusals, modes, reloads, switches.

use super::*;

fn failing() -> Origin {
    Origin::answer(answer(500, "x"))
}

const SOON: &str = "circuit_breaker: { min_requests: 5, open_for: 1m }";

/// Opens the breaker by failures.
fn open(proxy: &Proxy) {
    for _ in 0..5 {
        assert_eq!(get(proxy).status, 500);
    }
    assert_eq!(state(proxy), OPEN);
}

#[test]
fn refused_clients_keep_their_connection_and_are_told_when_to_come_back() {
    let origin = failing();
    let proxy = before(&origin, SOON, "");
    open(&proxy);
    let connections = "outboard_client_connections_total{listener=\"inbound\"}";
    let before = proxy.metric(connections);
    let mut client = Client::connect(proxy.addr("inbound"));
    for n in 0..100 {
        let answer = match n % 4 {
            0 => client.get("/"),
            1 => client.post("/", b"body"),
            2 => client.post("/", &[b'x'; 60_000]),
            _ => {
                client.request("HEAD", "/", &[], b"");
                client.try_read_response("HEAD").unwrap()
            }
        };
        assert_eq!((answer.status, answer.reason()), (503, "breaker_open"), "{n}");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((50..=60).contains(&seconds), "{seconds}");
        assert_eq!(answer.header("connection"), None, "{n}");
    }
    assert_eq!(proxy.metric(connections), before + 1.0);
    assert_eq!(origin.count(), 5);
    // Over HTTP/2 too.
    let h2 = http2::Client::connect(proxy.addr("inbound"));
    for _ in 0..100 {
        assert_eq!(h2.post("/", "body").unwrap().reason(), "breaker_open");
    }
    assert_eq!(proxy.metric(connections), before + 2.0);
    assert_eq!(proxy.metric("outboard_buffered_bytes"), 0.0);
}

#[test]
fn a_route_has_its_own_beside_its_upstreams() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.write(answer(if head.target.starts_with("/bad") { 500 } else { 200 }, "x"));
        }
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], circuit_breaker: {{ min_requests: 20, open_for: 1m }} }} }}\n\
         routes:\n\
         - {{ name: bad, match: {{ listener: inbound, path: \"/bad\" }}, circuit_breaker: {{ min_requests: 5, open_for: 1m }} }}\n\
         - {{ name: other, match: {{ listener: inbound }} }}\n"
    ));
    let ask = |path: &str| Client::connect(proxy.addr("inbound")).get(path);
    (0..15).for_each(|_| assert_eq!(ask("/").status, 200));
    (0..5).for_each(|_| assert_eq!(ask("/bad").status, 500));
    assert_eq!(ask("/bad").reason(), "breaker_open");
    assert_eq!(ask("/").status, 200, "the other routes have nothing to do with it");
    let of = |scope: &str| proxy.metric(&format!("outboard_breaker_state{{scope=\"{scope}\"}}"));
    assert_eq!((of("route:bad"), of("upstream:app")), (OPEN, CLOSED));
    // Both have to let a request through, and what one refuses counts nowhere in the other.
    proxy.admin_post("/breakers/route:bad/close", "");
    proxy.admin_post("/breakers/upstream:app/open", "");
    assert_eq!((ask("/bad").reason(), ask("/").reason()), ("breaker_open", "breaker_open"));
    let shown = proxy.admin_get("/breakers").json();
    let route = shown["breakers"].as_array().unwrap().iter().find(|b| b["scope"] == "route:bad").unwrap().clone();
    assert_eq!((route["state"].as_str(), route["calls"].as_u64()), (Some("closed"), Some(0)), "{shown}");
    proxy.admin_post("/breakers/upstream:app/reset", "");
    assert_eq!((ask("/bad").status, ask("/").status), (500, 200));
}

#[test]
fn a_reload_keeps_an_open_breaker_whose_section_did_not_change() {
    let origin = failing();
    let proxy = before(&origin, SOON, "");
    open(&proxy);
    let reload = |upstream: &str, route: &str| {
        proxy.write_config(&file(&origin, upstream, route));
        let answer = proxy.admin_post("/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    reload(SOON, "timeouts: { first_byte: 5s }");
    assert_eq!((get(&proxy).reason(), state(&proxy)), ("breaker_open", OPEN));
    reload(&SOON.replace("1m", "2m"), "");
    assert_eq!((get(&proxy).status, state(&proxy)), (500, CLOSED), "another section is another breaker");
    reload("circuit_breaker: off", "");
    for _ in 0..10 {
        assert_eq!(get(&proxy).status, 500);
    }
}

#[test]
fn observe_says_it_and_refuses_nothing() {
    let origin = failing();
    let proxy = before(&origin, "circuit_breaker: { min_requests: 5, open_for: 1m, mode: observe }", "");
    open(&proxy);
    for _ in 0..20 {
        assert_eq!(get(&proxy).status, 500);
    }
    at_rest(&proxy);
    assert_eq!(proxy.metric("outboard_observed_refusals_total{reason=\"breaker_open\",route=\"all\"}"), 20.0);
    assert_eq!(proxy.metric("outboard_refusals_total{reason=\"breaker_open\",route=\"all\"}"), 0.0);
    assert_eq!((origin.count(), transitions(&proxy, "open"), told(&proxy).len()), (25, 1.0, 1));
    // Retries go on: it only observes.
    let proxy = before(
        &origin,
        "circuit_breaker: { min_requests: 5, open_for: 1m, mode: observe }",
        "retry: { attempts: 3, retry_on: [500], backoff: { base: 1ms, max: 1ms } }",
    );
    let before = origin.count();
    (0..4).for_each(|_| assert_eq!(get(&proxy).status, 500));
    assert_eq!(origin.count(), before + 12);
}

#[test]
fn force_open_refuses_everything_until_it_is_closed_by_hand() {
    let origin = Origin::echo();
    let proxy = before(&origin, "circuit_breaker: { open_for: 7s, mode: force_open }", "");
    let answer = get(&proxy);
    assert_eq!((answer.reason(), answer.header("retry-after"), state(&proxy)), ("breaker_open", Some("7"), OPEN));
    proxy.admin_post("/breakers/upstream:app/close", "");
    assert_eq!((get(&proxy).status, state(&proxy)), (200, CLOSED));
    proxy.admin_post("/breakers/upstream:app/reset", "");
    assert_eq!((get(&proxy).reason(), state(&proxy), origin.count()), ("breaker_open", OPEN, 1));
}

#[test]
fn a_switch_holds_for_its_route() {
    let origin = failing();
    let proxy = before(&origin, SOON, "");
    open(&proxy);
    let switch =
        |word: &str| assert_eq!(proxy.admin_post(&format!("/policies/all/circuit_breaker/{word}"), "{}").status, 200);
    switch("off");
    assert_eq!(get(&proxy).status, 500);
    switch("observe");
    assert_eq!(get(&proxy).status, 500);
    at_rest(&proxy);
    assert_eq!(proxy.metric("outboard_observed_refusals_total{reason=\"breaker_open\",route=\"all\"}"), 1.0);
    switch("reset");
    assert_eq!(get(&proxy).reason(), "breaker_open");
}
