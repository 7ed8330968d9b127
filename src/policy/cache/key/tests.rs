use proptest::prelude::*;

use super::*;

const PLAIN: Parts<'_> = Parts {
    route: "all",
    secure: false,
    host: "app.example",
    path: "/v1/pay",
    query: None,
    vary_by: &[],
    credential: None,
};

fn key(parts: &Parts<'_>, query: &Query) -> Vec<u8> {
    let mut out = Vec::new();
    write(parts, query, &mut out);
    out
}

fn same(one: &Parts<'_>, other: &Parts<'_>) -> bool {
    key(one, &Query::default()) == key(other, &Query::default())
}

/// Whether two queries count as one.
fn alike(query: &Query, one: Option<&str>, other: Option<&str>) -> bool {
    key(&Parts { query: one, ..PLAIN }, query) == key(&Parts { query: other, ..PLAIN }, query)
}

#[test]
fn each_part_counts() {
    let (one, two) = ([1; 16], [2; 16]);
    for other in [
        Parts { secure: true, ..PLAIN },
        Parts { host: "app.example:8080", ..PLAIN },
        Parts { host: "app.example:443", ..PLAIN },
        Parts { path: "/v1/pay/", ..PLAIN },
        Parts { path: "/V1/pay", ..PLAIN },
        Parts { query: Some(""), ..PLAIN },
        Parts { query: Some("a"), ..PLAIN },
        Parts { vary_by: &[None], ..PLAIN },
        Parts { vary_by: &[Some(b"")], ..PLAIN },
        Parts { credential: Some(&one), ..PLAIN },
    ] {
        assert!(!same(&PLAIN, &other), "{other:?}");
        assert!(same(&other, &other), "{other:?}");
    }
    assert!(!same(&Parts { credential: Some(&one), ..PLAIN }, &Parts { credential: Some(&two), ..PLAIN }));
    assert!(!same(&Parts { vary_by: &[None], ..PLAIN }, &Parts { vary_by: &[Some(b"")], ..PLAIN }));
    assert!(!same(
        &Parts { vary_by: &[Some(b"a"), Some(b"bc")], ..PLAIN },
        &Parts { vary_by: &[Some(b"ab"), Some(b"c")], ..PLAIN }
    ));
    assert!(!same(&Parts { host: "a", path: "/b", ..PLAIN }, &Parts { host: "a/", path: "b", ..PLAIN }));
    assert!(!same(&Parts { path: "/a", query: Some("b"), ..PLAIN }, &Parts { path: "/a?b", ..PLAIN }));
}

#[test]
fn a_host_has_no_case_and_no_port_that_goes_without_saying() {
    for (secure, one, other) in [
        (false, "app.example", "App.EXAMPLE"),
        (false, "app.example", "app.example:80"),
        (false, "app.example", "app.example:"),
        (true, "app.example", "app.example:443"),
        (false, "[::1]", "[::1]:80"),
        (false, "[FE80::1]:8080", "[fe80::1]:8080"),
    ] {
        assert!(same(&Parts { secure, host: one, ..PLAIN }, &Parts { secure, host: other, ..PLAIN }), "{one} {other}");
    }
    assert!(!same(&Parts { host: "[::1:80]", ..PLAIN }, &Parts { host: "[::1]", ..PLAIN }));
}

#[test]
fn what_the_route_ignores_does_not_count() {
    let query = Query::new(&["utm_*", "_", "sp ace"], false);
    for (one, other, expected) in [
        (Some("a=1&utm_source=x&b=2"), Some("a=1&b=2"), true),
        (Some("utm_source=x&utm_=&utm_%6Dedium"), None, true),
        (Some("%75tm_source=x&a"), Some("a"), true),
        (Some("_=17&a"), Some("a&_"), true),
        (Some("sp+ace=1&sp%20ace=2&a"), Some("a"), true),
        (Some("sp%2Bace=1&a"), Some("a"), false),
        (Some("__=17&a"), Some("a"), false),
        (Some("utm=1&a"), Some("a"), false),
        (Some("UTM_x=1&a"), Some("a"), false),
        (Some("a=1&b=2"), Some("b=2&a=1"), false),
        (Some(""), None, false),
        (Some("utm_x=1;amount=2"), None, false),
        (Some("a&&b"), Some("a&b"), false),
    ] {
        assert_eq!(alike(&query, one, other), expected, "{one:?} {other:?}");
    }
    assert!(alike(&Query::new(&["*"], false), Some("a=1&b"), None));
}

#[test]
fn the_order_of_names_may_not_count_that_of_values_does() {
    let query = Query::new::<&str>(&[], true);
    for (one, other, expected) in [
        ("a=1&b=2", "b=2&a=1", true),
        ("b&a=1&c=3&a=2", "a=1&c=3&a=2&b", true),
        ("a=1&a=2", "a=2&a=1", false),
        ("a=1&b=2&a=2", "a=2&b=2&a=1", false),
        // One name to the application, however it is written.
        ("a=1&%61=2", "%61=2&a=1", false),
        ("a+b=1&a%20b=2", "a%20b=2&a+b=1", false),
        ("a=1&A=2", "A=2&a=1", false),
        ("a[0]=1&a=2", "a=2&a[0]=1", false),
        ("a.b=1&a_b=2", "a_b=2&a.b=1", false),
        ("+a=1&a=2", "a=2&+a=1", false),
        ("a%00x=1&a=2", "a=2&a%00x=1", false),
        // Another way to write a name is another key: a miss, no wrong hit.
        ("a=1&b=2", "%61=1&b=2", false),
        ("a=1&c=3;a=2", "c=3;a=2&a=1", false),
        ("%zz=1&a=1", "a=1&%zz=1", true),
        ("%=1&a=1&%4", "a=1&%=1&%4", true),
    ] {
        assert_eq!(alike(&query, Some(one), Some(other)), expected, "{one} {other}");
    }
    let many: Vec<_> = (0..2 * FEW).map(|n| format!("p{n:03}={n}")).collect();
    let reversed: Vec<_> = many.iter().rev().cloned().collect();
    assert!(alike(&query, Some(&many.join("&")), Some(&reversed.join("&"))));
    assert!(!alike(&query, Some(&many.join("&")), Some(&many[1..].join("&"))));
}

#[test]
fn a_key_is_appended_and_costs_no_allocation() {
    let query = Query::new(&["utm_*"], true);
    let parts = Parts {
        query: Some("merchant=mer_1&limit=10&utm_source=x&cursor=%61bc"),
        vary_by: &[Some(b"mer_1")],
        credential: Some(&[7; 16]),
        ..PLAIN
    };
    let mut out = Vec::with_capacity(512);
    out.push(9);
    let counted = allocation_counter::measure(|| {
        write(&parts, &query, &mut out);
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!((out[0], &out[1..]), (9, &key(&parts, &query)[..]));
}

type Owned = (bool, String, String, Option<String>, Vec<Option<Vec<u8>>>, Option<[u8; 16]>);

fn any_parts() -> impl Strategy<Value = Owned> {
    let value = prop::option::of(prop::collection::vec(0u8..4, 0..4));
    (
        any::<bool>(),
        "[a-b.]{0,3}",
        "/[a-b/?]{0,3}",
        prop::option::of("[a-b=&]{0,5}"),
        prop::collection::vec(value, 2),
        prop::option::of(prop::sample::select(vec![[0; 16], [1; 16]])),
    )
}

fn borrowed<T>((secure, host, path, query, vary_by, credential): &Owned, then: impl FnOnce(&Parts<'_>) -> T) -> T {
    let vary_by: Vec<_> = vary_by.iter().map(Option::as_deref).collect();
    then(&Parts {
        route: "all",
        secure: *secure,
        host,
        path,
        query: query.as_deref(),
        vary_by: &vary_by,
        credential: credential.as_ref(),
    })
}

/// A query as it counts by the slow way: names that are equal keep their order.
fn sorted(query: &str) -> Vec<String> {
    let mut pairs: Vec<_> = query.split('&').map(str::to_owned).collect();
    pairs.sort_by_key(|pair| pair.split('=').next().unwrap().to_owned());
    pairs
}

proptest! {
    #[test]
    fn keys_are_equal_where_all_parts_are(one in any_parts(), other in any_parts(), take: u8) {
        // Of two that are drawn alone hardly any are equal: the other takes over some parts of the one.
        let mut other = other;
        if take & 1 != 0 { other.0 = one.0; }
        if take & 2 != 0 { other.1.clone_from(&one.1); }
        if take & 4 != 0 { other.2.clone_from(&one.2); }
        if take & 8 != 0 { other.3.clone_from(&one.3); }
        if take & 16 != 0 { other.4.clone_from(&one.4); }
        if take & 32 != 0 { other.5 = one.5; }
        let plain = Query::default();
        let keys = (borrowed(&one, |p| key(p, &plain)), borrowed(&other, |p| key(p, &plain)));
        prop_assert_eq!(keys.0 == keys.1, one == other);

        let sort = Query::new::<&str>(&[], true);
        let keys = (borrowed(&one, |p| key(p, &sort)), borrowed(&other, |p| key(p, &sort)));
        let (a, b) = (one.3.as_deref().map(sorted), other.3.as_deref().map(sorted));
        let rest = (&one.0, &one.1, &one.2, &one.4, &one.5) == (&other.0, &other.1, &other.2, &other.4, &other.5);
        prop_assert_eq!(keys.0 == keys.1, rest && a == b);
    }

    #[test]
    fn no_query_makes_it_panic(text in "[ -~]{0,40}", ignore in "[a-z_*]{0,4}") {
        key(&Parts { query: Some(&text), ..PLAIN }, &Query::new(&[ignore], true));
    }
}
