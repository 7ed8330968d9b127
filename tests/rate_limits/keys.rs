//! Whom a limit counts a request for.

use super::*;

#[test]
fn a_count_for_each_merchant_and_more_for_some() {
    let app = Origin::echo();
    let limit = "name: m, key: [header:x-merchant-id], limit: 3/1h, overrides: { mer_big: 6/1h, mer_none: 1/1h }";
    let (proxy, mut client) = before(&limits(&app, &[limit]));
    for (merchant, allowed) in [("mer_1", 3), ("mer_2", 3), ("mer_big", 6), ("mer_none", 1), ("mer_1", 0)] {
        let through = let_through(&mut client, 8, "/", &[("x-merchant-id", merchant)]);
        assert_eq!(through, allowed, "{merchant}");
    }
    assert_eq!(app.count(), 13, "what is refused is not forwarded");
    assert_eq!((decided(&proxy, "m", "allowed"), decided(&proxy, "m", "refused")), (13.0, 27.0));
    let refusals = proxy.metric("outboard_refusals_total{reason=\"rate_limited\",route=\"r\"}");
    assert_eq!(refusals, 27.0);
}

#[test]
fn a_key_of_several_parts() {
    let app = Origin::echo();
    let inside = "    match: { path: \"/v1/{merchant}/{*rest}\" }\n";
    let limit = "name: m, key: [\"path:merchant\", \"query:q\", \"cookie:sid\"], limit: 2/1h, missing_key: refuse, \
                 overrides: { \"mer_1, a b, s9\": 4/1h }";
    let (_proxy, mut client) = before(&route(&app, inside, &[limit]));
    for (target, cookie, allowed) in [
        ("/v1/mer_1/x?q=1", "sid=s1", 2),
        ("/v1/mer_1/y?z=2&q=1", "a=b; sid=s1", 0),
        ("/v1/mer%5f1/y?q=%31", "sid=s1", 0),
        ("/v1/mer_2/x?q=1", "sid=s1", 2),
        ("/v1/mer_1/x?q=2", "sid=s1", 2),
        ("/v1/mer_1/x?q=1", "sid=s2", 2),
        ("/v1/mer_1/x?q=a+b", "sid=s9", 4),
        ("/v1/mer_1/x?q=a%20b", "sid=s9", 0),
        // Of two values the application may read the other one.
        ("/v1/mer_1/x?q=7&q=8", "sid=s9", 0),
    ] {
        assert_eq!(let_through(&mut client, 5, target, &[("cookie", cookie)]), allowed, "{target} {cookie}");
    }
}

#[test]
fn a_request_without_the_key() {
    let app = Origin::echo();
    let with = |missing: &str| format!("name: m, key: [header:x-m], limit: 2/1h, missing_key: {missing}");
    let (proxy, mut client) = before(&limits(&app, &[&with("client_ip")]));
    assert_eq!(let_through(&mut client, 4, "/", &[]), 2, "by the client's address");
    assert_eq!(let_through(&mut client, 4, "/", &[("x-m", "")]), 0, "an empty one is none");
    assert_eq!(let_through(&mut client, 4, "/", &[("x-m", "1"), ("x-m", "2")]), 0, "and two are none");
    assert_eq!(let_through(&mut client, 4, "/", &[("x-m", "127.0.0.1")]), 2, "a key that looks like the address");
    drop(proxy);

    let (proxy, mut client) = before(&limits(&app, &[&with("skip")]));
    assert_eq!(let_through(&mut client, 9, "/", &[]), 9);
    assert_eq!(let_through(&mut client, 4, "/", &[("x-m", "1")]), 2);
    assert_eq!(decided(&proxy, "m", "skipped"), 9.0);
    drop(proxy);

    let (proxy, mut client) = before(&limits(&app, &[&with("refuse"), "name: n, key: [constant], limit: 9/1h"]));
    let answer = get(&mut client, "/", &[]);
    assert_eq!((answer.status, answer.reason()), (429, "rate_limited"));
    assert_eq!(answer.json()["detail"], "the limit m requires header:x-m");
    assert_eq!((answer.header("retry-after"), answer.header("ratelimit")), (None, None), "to wait does not help");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"m\";q=2;w=3600, \"n\";q=9;w=3600"));
    assert_eq!(let_through(&mut client, 4, "/", &[("x-m", "1")]), 2);
    assert_eq!(decided(&proxy, "m", "refused"), 3.0);
}

#[test]
fn the_client_behind_a_trusted_proxy() {
    let app = Origin::echo();
    let limit = "name: ip, key: [client_ip], limit: 2/1h, overrides: { \"::ffff:192.0.2.9\": 5/1h }";
    let plain = limits(&app, &[limit]);
    let trusting = plain.replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", trusted_proxies: [127.0.0.0/8] }");
    assert_ne!(plain, trusting);
    let (_proxy, mut client) = before(&trusting);
    for (chain, allowed) in [
        ("192.0.2.1", 2),
        ("192.0.2.2", 2),
        // The right-most that is not trusted is the client; what stands before it the client says of itself.
        ("198.51.100.7, 192.0.2.1", 0),
        ("192.0.2.2, 127.0.0.9", 0),
        ("192.0.2.9", 5),
        ("2001:db8::1", 2),
        ("[2001:db8::1]:4711", 0),
    ] {
        assert_eq!(let_through(&mut client, 7, "/", &[("x-forwarded-for", chain)]), allowed, "{chain}");
    }
    // From a stranger nothing of it is believed.
    let (_proxy, mut client) = before(&plain);
    for (chain, allowed) in [("192.0.2.1", 2), ("192.0.2.2", 0)] {
        assert_eq!(let_through(&mut client, 4, "/", &[("x-forwarded-for", chain)]), allowed, "{chain}");
    }
}

#[test]
fn clients_at_a_unix_socket_have_no_address_and_share_a_count() {
    let app = Origin::echo();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let text = limits(&app, &["name: ip, key: [client_ip], limit: 3/1h"]);
    let text = text.replace("\"127.0.0.1:0\"", &format!("\"unix:{}\"", socket.display()));
    let _proxy = Proxy::start(&text);
    let through: usize = (0..3).map(|_| let_through(&mut Client::unix(&socket), 2, "/", &[])).sum();
    assert_eq!(through, 3);
}
