//! Several answers under one key: `Vary`, and what makes a key.

use std::time::{Duration, Instant};

use super::*;

/// Answers in the language that is asked for, with its number.
fn polyglot() -> Origin {
    scripted(|head, number| {
        let language = head.header("x-lang").unwrap_or("none").to_owned();
        Some(answer(200, "Cache-Control: max-age=60\r\nVary: X-Lang\r\n", &format!("{language} {number}")))
    })
}

#[test]
fn each_variant_is_stored_by_itself() {
    let origin = polyglot();
    let proxy = start(&origin, "");
    for round in 0..2 {
        for (number, language) in ["de", "en", "fr"].iter().enumerate() {
            let answer = ask(&proxy, "/", &[("X-Lang", language)]);
            assert_eq!(answer.text(), format!("{language} {number}"), "{round}");
            let expected = if round > 0 { "hit" } else { "stored" };
            assert!(status(&answer).contains(expected), "{round} {language}: {answer:?}");
        }
    }
    assert_eq!(ask(&proxy, "/", &[]).text(), "none 3", "a missing field is a value of its own");
    assert_eq!(ask(&proxy, "/", &[("X-Lang", "")]).text(), " 4", "and so is an empty one");
    assert_eq!(ask(&proxy, "/", &[]).text(), "none 3");
    assert_eq!((origin.count(), proxy.metric("outboard_cache_objects")), (5, 5.0));
}

#[test]
fn at_most_sixteen_variants_are_kept() {
    let origin = polyglot();
    let proxy = start(&origin, "");
    let languages: Vec<String> = (0..40).map(|n| format!("l{n}")).collect();
    for (number, language) in languages.iter().enumerate() {
        assert_eq!(ask(&proxy, "/", &[("X-Lang", language)]).text(), format!("{language} {number}"));
    }
    assert_eq!(proxy.metric("outboard_cache_objects"), 16.0);
    assert!(ask(&proxy, "/", &[("X-Lang", "l39")]).text().starts_with("l39 39"), "the newest is there");
    for language in &languages {
        assert!(ask(&proxy, "/", &[("X-Lang", language)]).text().starts_with(&format!("{language} ")));
    }
    assert_eq!(proxy.metric("outboard_cache_objects"), 16.0);
}

#[test]
fn vary_star_is_for_one_alone() {
    let origin = numbered("Cache-Control: max-age=60\r\nVary: *\r\n");
    let proxy = start(&origin, "");
    assert_eq!((ask(&proxy, "/", &[]).text(), ask(&proxy, "/", &[]).text()), ("0".into(), "1".into()));
    await_stores(&proxy, "vary_star", 1.0);
}

/// One purge ends all variants, and the variants that came after it stay.
#[test]
fn a_purge_of_a_url_ends_all_its_variants() {
    let origin = polyglot();
    let proxy = start(&origin, "");
    for language in ["de", "en"] {
        ask(&proxy, "/", &[("X-Lang", language)]);
    }
    purge(&proxy, "{\"url\": \"http://test.example/\"}");
    assert_eq!(ask(&proxy, "/", &[("X-Lang", "de")]).text(), "de 2");
    assert_eq!(ask(&proxy, "/", &[("X-Lang", "en")]).text(), "en 3");
    assert_eq!(ask(&proxy, "/", &[("X-Lang", "de")]).text(), "de 2");
}

/// An answer whose Vary is another one than that of those before it.
#[test]
fn a_vary_that_changes_never_serves_one_for_another() {
    let origin = scripted(|head, number| {
        let vary = if number == 0 { "X-Lang" } else { "X-Lang, X-Tenant" };
        let tenant = head.header("x-tenant").unwrap_or("-").to_owned();
        Some(answer(200, &format!("Cache-Control: max-age=60\r\nVary: {vary}\r\n"), &tenant))
    });
    let proxy = start(&origin, "");
    let tenant = |tenant: &str, language: &str| ask(&proxy, "/", &[("X-Tenant", tenant), ("X-Lang", language)]).text();
    assert_eq!((tenant("a", "de"), tenant("b", "en"), tenant("c", "en")), ("a".into(), "b".into(), "c".into()));
    assert_eq!((tenant("b", "en"), tenant("c", "en"), origin.count()), ("b".into(), "c".into(), 3));
}

#[test]
fn variants_are_not_fetched_one_behind_the_other() {
    // The application answers when all of a round are there: were they fetched one by one, none would be answered.
    let (inside, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
    let (counts, held) = (inside.clone(), gate.clone());
    let origin = scripted(move |head, _| {
        let language = head.header("x-lang").unwrap_or("none").to_owned();
        if language != "first" {
            counts.fetch_add(1, Ordering::SeqCst);
            held.wait();
        }
        Some(answer(200, "Cache-Control: max-age=60\r\nVary: X-Lang\r\n", &language))
    });
    let proxy = start(&origin, "coalesce: { wait: 10s }");
    assert_eq!(ask(&proxy, "/", &[("X-Lang", "first")]).text(), "first");
    let addr = proxy.addr("inbound");
    let clients: Vec<_> = (0..20)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                client.request("GET", "/", &[("X-Lang", &format!("l{}", n % 10))], b"");
                (format!("l{}", n % 10), client.read_response().text())
            })
        })
        .collect();
    let begun = Instant::now();
    eventually("all ten are asked for at once", || inside.load(Ordering::SeqCst) == 10);
    gate.open();
    for client in clients {
        let (expected, got) = client.join().unwrap();
        assert_eq!(got, expected);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(inside.load(Ordering::SeqCst), 10, "and each once");
}

#[test]
fn queries_are_told_apart_as_the_route_says() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = start(&origin, "ignore_query: [\"utm_*\", \"_\"], vary_by: [\"header:x-merchant\"]");
    for (target, expected) in [
        ("/?a=1&b=2", "0"),
        ("/?b=2&a=1", "0"),
        ("/?b=2&a=1&utm_source=x&_=99", "0"),
        ("/?a=1&a=2", "1"),
        ("/?a=2&a=1", "2"),
        ("/?a=12", "3"),
        ("/?", "4"),
        ("/?utm_x=1", "5"),
        ("/", "5"),
        ("/A", "6"),
        ("/a", "7"),
        ("/a/", "8"),
        ("/%61", "9"),
    ] {
        let answer = ask(&proxy, target, &[]);
        // Whether an empty query is none is the application's affair: both are right.
        if target != "/?" && target != "/?utm_x=1" && target != "/" {
            let shift = if expected.parse::<usize>().unwrap() > 5 { origin.count() - 1 } else { 0 };
            let number: usize = answer.text().parse().unwrap();
            assert!(shift == number || expected == answer.text(), "{target}: {}", answer.text());
        }
    }
    assert!(origin.requests()[0].target == "/?a=1&b=2", "the application gets it as it came");
    let merchant = |headers: &[(&str, &str)]| ask(&proxy, "/m", headers).text();
    let (none, one) = (merchant(&[]), merchant(&[("X-Merchant", "1")]));
    let two = merchant(&[("X-Merchant", "1"), ("X-Merchant", "2")]);
    assert!(none != one && one != two && two != none);
    assert_eq!(merchant(&[("x-merchant", "1")]), one);
    assert_eq!(merchant(&[]), none);
}

#[test]
fn hosts_do_not_share() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = start(&origin, "");
    let of = |host: &str| {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.send(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.read_response().text()
    };
    assert_eq!((of("one.example"), of("two.example"), of("one.example:8080")), ("0".into(), "1".into(), "2".into()));
    assert_eq!((of("ONE.example"), of("one.example:80")), ("0".into(), "0".into()));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("GET http://one.example/a HTTP/1.1\r\nHost: one.example\r\n\r\n");
    assert_eq!(client.read_response().text(), "0");
}
