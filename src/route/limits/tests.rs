use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::observe::metrics::Metrics;
use crate::policy::rate_limit::Table;

fn compiled(route: &str, settings: serde_json::Value) -> RateLimit {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let metrics = Metrics::new().unwrap();
    RateLimit::compile(&settings, route, &Table::new([1, 2]), &metrics.route(route)).unwrap()
}

fn asked<T>(fields: &[(&'static str, &str)], client: Option<&str>, ask: impl FnOnce(&Source<'_>) -> T) -> T {
    let mut headers = HeaderMap::new();
    fields.iter().for_each(|(name, value)| drop(headers.insert(*name, value.parse().unwrap())));
    let client = client.map(|ip| ip.parse().unwrap());
    ask(&Source { client, headers: &headers, query: None, params: &|_| None, claims: &|_| None })
}

/// Key and rule; none where nobody is counted.
fn counted(limit: &RateLimit, fields: &[(&'static str, &str)], client: Option<&str>) -> Option<(u64, String)> {
    asked(fields, client, |source| match limit.counted(source) {
        Counted::For(key, rule) => Some((key, rule.fields.policy().to_owned())),
        Counted::Skipped | Counted::Lacks(_) => None,
    })
}

#[test]
fn an_override_holds_for_its_key_alone() {
    let limit = compiled(
        "r",
        json!({ "name": "l", "key": ["header:x-m", "client_ip"], "limit": "10/1s",
            "overrides": { "mer_1,10.0.0.1": "100/1s", "mer_2, ::1": "5/1m" } }),
    );
    for (merchant, client, policy) in [
        ("mer_1", "10.0.0.1", r#""l";q=100;w=1"#),
        ("mer_1", "::ffff:10.0.0.1", r#""l";q=100;w=1"#),
        ("mer_1", "10.0.0.2", r#""l";q=10;w=1"#),
        ("mer_2", "::1", r#""l";q=5;w=60"#),
        ("mer_2", "10.0.0.1", r#""l";q=10;w=1"#),
    ] {
        let (_, told) = counted(&limit, &[("x-m", merchant)], Some(client)).unwrap();
        assert_eq!(told, policy, "{merchant} {client}");
    }
}

#[test]
fn what_is_counted_apart() {
    let settings = |name: &str, key: &str| json!({ "name": name, "key": [key], "limit": "10/1s" });
    let key = |route: &str, name: &str, key: &str, fields: &[(&'static str, &str)]| {
        counted(&compiled(route, settings(name, key)), fields, Some("10.0.0.1")).unwrap().0
    };
    let base = key("r", "l", "header:x-m", &[("x-m", "a")]);
    assert_eq!(base, key("r", "l", "header:x-m", &[("x-m", "a"), ("x-n", "b")]));
    let others = [
        key("s", "l", "header:x-m", &[("x-m", "a")]),
        key("r", "m", "header:x-m", &[("x-m", "a")]),
        key("r", "l", "header:x-n", &[("x-n", "a")]),
        key("r", "l", "header:x-m", &[("x-m", "b")]),
        // The address of one who sends no key, and a key that looks like it.
        key("r", "l", "header:x-m", &[]),
        key("r", "l", "header:x-m", &[("x-m", "10.0.0.1")]),
        key("r", "l", "client_ip", &[]),
        key("r", "l", "constant", &[]),
    ];
    for (at, other) in others.iter().enumerate() {
        assert!(*other != base && !others[at + 1..].contains(other), "{at}");
    }
}

#[test]
fn who_lacks_the_key() {
    let limit = |missing: &str| {
        let settings =
            json!({ "name": "l", "key": ["constant", "header:x-m"], "limit": "10/1s", "missing_key": missing });
        compiled("r", settings)
    };
    let by_address = limit("client_ip");
    let of = |client| counted(&by_address, &[], client).unwrap().0;
    assert_eq!(of(Some("10.0.0.1")), of(Some("::ffff:10.0.0.1")));
    assert_ne!(of(Some("10.0.0.1")), of(Some("10.0.0.2")));
    assert_eq!(of(None), of(None), "those without an address share one count");
    assert!(asked(&[], None, |s| matches!(limit("skip").counted(s), Counted::Skipped)));
    let lacks = asked(&[], None, |s| match limit("refuse").counted(s) {
        Counted::Lacks(part) => part.to_string(),
        Counted::For(..) | Counted::Skipped => String::new(),
    });
    assert_eq!(lacks, "header:x-m");
}

#[test]
fn what_is_no_limit_does_not_compile() {
    let metrics = Metrics::new().unwrap();
    for settings in [
        json!({ "name": "l", "key": [], "limit": "1/1s" }),
        json!({ "name": "l", "key": ["header"], "limit": "1/1s" }),
        json!({ "name": "l", "key": ["client_ip"], "limit": "1/1s", "overrides": { "nobody": "2/1s" } }),
        json!({ "name": "l", "key": ["header:a", "header:b"], "limit": "1/1s", "overrides": { "a": "2/1s" } }),
    ] {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        assert!(RateLimit::compile(&settings, "r", &Table::new([1, 2]), &metrics.route("r")).is_none(), "{settings:?}");
    }
}
