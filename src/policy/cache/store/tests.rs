use std::time::Duration;

use super::super::tests::head;
use super::*;

const NOW: u64 = 1_790_000_000;
const AT: Times = Times { sent: NOW, received: NOW };
const PLAIN: Asked = Asked { get: true, no_store: false, credential: false, authorization: false };
const BEARER: Asked = Asked { credential: true, authorization: true, ..PLAIN };
const API_KEY: Asked = Asked { credential: true, ..PLAIN };

fn judge(asked: Asked, status: u16, fields: &[(&str, &str)], rules: &Rules) -> Result<Stored, Unstorable> {
    storable(&asked, status, &head(fields), rules, AT)
}

fn why(status: u16, fields: &[(&str, &str)]) -> Option<Unstorable> {
    judge(PLAIN, status, fields, &Rules::default()).err()
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn what_the_answer_says() {
    use Unstorable::{Expired, NoFreshness, NoStore, Partial, Private, SetCookie, Status, VaryStar, VaryTooMany};
    let nine = "a, b, c, d, e, f, g, h, i";
    for (status, fields, expected) in [
        (200, &[FRESH][..], None),
        (200, &[], Some(NoFreshness)),
        (200, &[("etag", "\"a\"")], None),
        (200, &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], None),
        (200, &[("last-modified", "soon")], Some(NoFreshness)),
        (200, &[("cache-control", "max-age=60, no-store")], Some(NoStore)),
        (200, &[("cache-control", "No-StOrE")], Some(NoStore)),
        (200, &[("cache-control", "max-age=60, private")], Some(Private)),
        (200, &[("cache-control", "max-age=60, private=\"a\"")], None),
        (200, &[("cache-control", "max-age=60, private=a")], Some(Private)),
        (200, &[("cache-control", "max-age=60, no-cache")], Some(Expired)),
        (200, &[("cache-control", "max-age=60, no-cache"), ("etag", "\"a\"")], None),
        (200, &[("cache-control", "no-cache"), ("etag", "a")], None),
        (200, &[("cache-control", "no-cache")], Some(NoFreshness)),
        (200, &[("cache-control", "max-age=0")], Some(Expired)),
        (200, &[("cache-control", "max-age=0"), ("etag", "\"a\"")], None),
        (200, &[("cache-control", "max-age=0, stale-while-revalidate=5")], None),
        (200, &[("cache-control", "max-age=60"), ("age", "90")], None),
        (200, &[("expires", "0")], Some(Expired)),
        (200, &[FRESH, ("set-cookie", "a=b")], Some(SetCookie)),
        (200, &[FRESH, ("set-cookie", "")], Some(SetCookie)),
        (200, &[FRESH, ("vary", "*")], Some(VaryStar)),
        (200, &[FRESH, ("vary", nine)], Some(VaryTooMany)),
        (200, &[FRESH, ("vary", &nine[..nine.len() - 3])], None),
        (200, &[FRESH, ("pragma", "no-cache")], None),
        (200, &[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")], None),
        (200, &[("cdn-cache-control", "no-store"), FRESH], Some(NoStore)),
        (200, &[("cdn-cache-control", "max-age=\"60\""), ("cache-control", "no-store")], Some(NoStore)),
        (206, &[FRESH], Some(Partial)),
        (304, &[FRESH], Some(Status)),
        (100, &[FRESH], Some(Status)),
        (103, &[FRESH], Some(Status)),
        (600, &[FRESH], Some(Status)),
        (201, &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(NoFreshness)),
        (599, &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(NoFreshness)),
        (599, &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("cache-control", "public")], None),
        (599, &[("cache-control", "max-age=60, must-understand")], Some(Status)),
        (599, &[("cache-control", "max-age=60, no-store, must-understand")], Some(Status)),
        (200, &[("cache-control", "max-age=60, no-store, must-understand")], None),
        (200, &[("cache-control", "max-age=60, private, must-understand")], Some(Private)),
    ] {
        assert_eq!(why(status, fields), expected, "{status} {fields:?}");
    }
}

#[test]
fn which_statuses_may_be_kept_where_the_origin_says_how_long() {
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 403, 404, 410, 499, 500, 502, 503, 504, 599] {
        assert_eq!(why(status, &[FRESH]), None, "{status}");
    }
    for status in [101, 304, 401, 407, 408, 412, 416, 417, 421, 425, 426, 428, 429, 431, 511] {
        assert_eq!(why(status, &[FRESH]), Some(Unstorable::Status), "{status}");
    }
}

#[test]
fn what_the_request_says() {
    let rules = Rules::default();
    let of = |asked| judge(asked, 200, &[FRESH], &rules).err();
    assert_eq!(of(Asked { get: false, ..PLAIN }), Some(Unstorable::Method));
    assert_eq!(of(Asked { no_store: true, ..PLAIN }), Some(Unstorable::RequestNoStore));
}

#[test]
fn credentials() {
    use Partition::{NeverStore, PerCredential, Standard};
    let refused = Some(Unstorable::Authorization);
    for (partition, asked, said, expected) in [
        (PerCredential, BEARER, "max-age=60", None),
        (PerCredential, BEARER, "max-age=60, private", Some(Unstorable::Private)),
        (PerCredential, API_KEY, "max-age=60", None),
        (NeverStore, BEARER, "max-age=60, public", refused),
        (NeverStore, API_KEY, "max-age=60, public", refused),
        (NeverStore, Asked { credential: false, ..BEARER }, "max-age=60, public", refused),
        (NeverStore, PLAIN, "max-age=60", None),
        (Standard, BEARER, "max-age=60", refused),
        (Standard, BEARER, "max-age=60, proxy-revalidate", refused),
        (Standard, BEARER, "max-age=60, public", None),
        (Standard, BEARER, "max-age=60, must-revalidate", None),
        (Standard, BEARER, "s-maxage=60", None),
        (Standard, API_KEY, "max-age=60", None),
        (Standard, PLAIN, "max-age=60", None),
    ] {
        let rules = Rules { partition, ..Rules::default() };
        let result = judge(asked, 200, &[("cache-control", said)], &rules).err();
        assert_eq!(result, expected, "{partition:?} {asked:?} {said}");
    }
}

#[test]
fn override_overrides_nothing_but_freshness() {
    let rules =
        Rules { replace: true, ttl: Duration::from_secs(60), partition: Partition::Standard, ..Rules::default() };
    let of = |asked, status, fields: &[(&str, &str)]| judge(asked, status, fields, &rules).err();
    assert_eq!(of(PLAIN, 200, &[]), None);
    assert_eq!(of(PLAIN, 200, &[("cache-control", "max-age=0")]), None);
    for (fields, expected) in [
        (&[("cache-control", "no-store")][..], Unstorable::NoStore),
        (&[("cache-control", "private")], Unstorable::Private),
        (&[("set-cookie", "a=b")], Unstorable::SetCookie),
        (&[("vary", "*")], Unstorable::VaryStar),
    ] {
        assert_eq!(of(PLAIN, 200, fields), Some(expected), "{fields:?}");
    }
    assert_eq!(of(BEARER, 200, &[]), Some(Unstorable::Authorization));
    assert_eq!(of(PLAIN, 500, &[]), Some(Unstorable::NoFreshness));
}

#[test]
fn what_is_kept_says_what_it_needs_to_be_served() {
    let fields =
        [("cache-control", "max-age=60, no-cache=\"a\", private=\"B\""), ("vary", "Foo, bar"), ("etag", "\"a\"")];
    let stored = judge(PLAIN, 200, &fields, &Rules::default()).unwrap();
    assert_eq!(stored.drop, ["a", "b"]);
    assert_eq!(stored.vary.iter().map(HeaderName::as_str).collect::<Vec<_>>(), ["bar", "foo"]);
    assert!(stored.validator && stored.life.is_fresh(NOW + 59) && !stored.life.is_fresh(NOW + 60));
    assert_eq!(stored.basis, Basis::Origin);
    assert!(!judge(PLAIN, 200, &[FRESH], &Rules::default()).unwrap().validator);
}

#[test]
fn the_words_are_all_different() {
    let all = [
        Unstorable::Method,
        Unstorable::RequestNoStore,
        Unstorable::Status,
        Unstorable::Partial,
        Unstorable::SetCookie,
        Unstorable::NoStore,
        Unstorable::Private,
        Unstorable::VaryStar,
        Unstorable::VaryTooMany,
        Unstorable::Authorization,
        Unstorable::NoFreshness,
        Unstorable::Expired,
    ];
    let words: std::collections::BTreeSet<_> = all.iter().map(|why| why.as_str()).collect();
    assert_eq!(words.len(), all.len());
}

#[test]
fn a_cookie_is_kept_by_the_standard_alone_and_only_what_is_meant_to_be_stored_and_came_to_nobody_in_particular() {
    let cookie = ("set-cookie", "a=b");
    let nobody = Asked { get: true, no_store: false, credential: false, authorization: false };
    let somebody = Asked { credential: true, ..nobody };
    let standard = Rules { partition: Partition::Standard, ..Rules::default() };
    let replaced = Rules { replace: true, ttl: Duration::from_secs(60), ..standard.clone() };
    let times = Times { sent: 0, received: 0 };
    let said = |asked: &Asked, rules: &Rules, fields: &[(&str, &str)]| {
        storable(asked, 200, &head(fields), rules, times).is_ok()
    };
    assert!(said(&nobody, &standard, &[FRESH, cookie]));
    assert!(!said(&somebody, &standard, &[FRESH, cookie]), "a credential came");
    assert!(!said(&nobody, &standard, &[("etag", "\"a\""), cookie]), "nobody says that it may be stored");
    assert!(!said(&nobody, &replaced, &[FRESH, cookie]), "it is not the origin that says how long");
    assert!(!said(&nobody, &Rules::default(), &[FRESH, cookie]));
}
