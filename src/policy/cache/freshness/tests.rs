use std::time::Duration;

use proptest::prelude::*;

use super::super::tests::{date, head};
use super::*;

const NOW: u64 = 1_790_000_000;
const AT: Times = Times { sent: NOW, received: NOW };

/// Fields whose dates are relative to [`NOW`]: `@-30` is thirty seconds ago.
fn at_now(fields: &[(&str, &str)]) -> HeaderMap {
    let dated = fields.iter().map(|(name, value)| match value.strip_prefix('@') {
        Some(delta) => (*name, date(NOW.saturating_add_signed(delta.parse().unwrap()))),
        None => (*name, (*value).to_owned()),
    });
    let dated: Vec<_> = dated.collect();
    head(&dated.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

fn life_by(status: u16, fields: &[(&str, &str)], rules: &Rules, credential: bool) -> (Life, Basis) {
    let headers = at_now(fields);
    Life::of(status, &headers, &Control::of(&headers), rules, credential, AT)
}

fn life(fields: &[(&str, &str)]) -> Life {
    life_by(200, fields, &Rules::default(), false).0
}

fn ask(control: &str) -> RequestControl {
    RequestControl::of(&head(&[("cache-control", control)]))
}

#[test]
fn a_life_is_small() {
    assert!(size_of::<Life>() <= 24);
}

#[test]
fn how_long_it_is_fresh_by_what_the_origin_says() {
    for (fields, left) in [
        (&[("cache-control", "max-age=60")][..], 60),
        (&[("cache-control", "max-age=60, s-maxage=5")], 5),
        (&[("cache-control", "max-age=1, s-maxage=60"), ("expires", "@-10")], 60),
        (&[("cache-control", "max-age=60"), ("expires", "@-7200"), ("date", "@0")], 60),
        (&[("cache-control", "max-age=60"), ("expires", "0")], 60),
        (&[("cache-control", "max-age=0"), ("expires", "@3600"), ("date", "@0")], 0),
        (&[("cache-control", "max-age=60"), ("age", "20")], 40),
        (&[("cache-control", "max-age=60"), ("date", "@-20")], 40),
        (&[("cache-control", "max-age=60"), ("date", "@20")], 60),
        (&[("cache-control", "max-age=99999999999")], i64::from(FOREVER)),
        (&[("expires", "@60"), ("date", "@0")], 60),
        (&[("expires", "@60")], 60),
        (&[("expires", "@60"), ("date", "foo")], 60),
        (&[("expires", "@0"), ("date", "@0")], 0),
        (&[("expires", "@-60"), ("date", "@0")], 0),
        (&[("expires", "@300"), ("date", "@400")], 0),
        (&[("expires", "@10"), ("date", "@-10"), ("age", "25")], -5),
        (&[("expires", "@20"), ("date", "@10"), ("age", "15")], -5),
        (&[("expires", "0"), ("date", "@0")], 0),
        (&[("expires", "soon"), ("last-modified", "@-86400")], 0),
        (&[("expires", "@60"), ("expires", "@60")], 60),
        (&[("expires", "@60"), ("expires", "@70")], 0),
        (&[("expires", "@60"), ("expires", "0")], 0),
        (&[("cdn-cache-control", "max-age=60"), ("expires", "@-10"), ("cache-control", "no-store")], 60),
        (&[("cdn-cache-control", "foo"), ("expires", "@60"), ("cache-control", "max-age=60")], 0),
        (&[("expires", "Sun, 21 Nov 2286 04:46:39 GMT"), ("date", "@0")], i64::from(FOREVER)),
        (&[("expires", "Thursday, 18-Aug-50 02:01:18 GMT"), ("date", "Thu, 18 Aug 2050 02:00:18 GMT")], 60),
    ] {
        assert_eq!(life(fields).left(NOW), left, "{fields:?}");
    }
}

#[test]
fn how_old_it_is_when_it_comes() {
    for (lines, age) in [
        (&["0"][..], 0),
        (&["30"], 30),
        (&[" 30 "], 30),
        (&["2147483647"], i32::MAX as u32),
        (&["2147483648"], FOREVER),
        (&["99999999999999"], FOREVER),
        // The first of several counts, and what is no number does not (RFC 9111, 5.1).
        (&["7200, 0"], 7200),
        (&["7200,0"], 7200),
        (&["0, 7200"], 0),
        (&["7200", "0"], 7200),
        (&["0", "7200"], 0),
        (&["0, 0"], 0),
        (&["abc"], 0),
        (&["-7200"], 0),
        (&["7200.0"], 0),
        (&[""], 0),
        (&["7200;foo=bar"], 7200),
    ] {
        let fields: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        assert_eq!(life(&fields).age(NOW), age, "{lines:?}");
    }
}

#[test]
fn the_time_on_the_way_counts_as_age() {
    let headers = at_now(&[("age", "30"), ("date", "@-33")]);
    let control = Control::default();
    for (sent, age) in [(NOW, 33), (NOW - 2, 33), (NOW - 5, 35), (NOW + 5, 33)] {
        let times = Times { sent, received: NOW };
        let (life, _) = Life::of(200, &headers, &control, &Rules::default(), false, times);
        assert_eq!(life.age(NOW), age, "{sent}");
        assert_eq!(life.age(NOW + 10), age + 10, "{sent}");
        assert_eq!(life.age(NOW - 10), age, "a clock that went back makes nothing younger");
    }
}

#[test]
fn what_is_guessed() {
    let guessed = |status, fields: &[(&str, &str)]| life_by(status, fields, &Rules::default(), false);
    let changed = ("last-modified", "@-1000");
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        let (life, basis) = guessed(status, &[changed, ("date", "@0")]);
        assert_eq!((life.left(NOW), basis), (100, Basis::Guess), "{status}");
    }
    for status in [201, 202, 206, 302, 303, 307, 400, 401, 403, 429, 500, 502, 503, 504, 599] {
        assert_eq!(guessed(status, &[changed, ("date", "@0")]).1, Basis::Nothing, "{status}");
    }
    assert_eq!(guessed(599, &[changed, ("cache-control", "public")]).1, Basis::Guess);
    assert_eq!(guessed(200, &[("last-modified", "@-100000000")]).0.left(NOW), i64::from(LONGEST_GUESS));
    assert_eq!(guessed(200, &[("last-modified", "@50"), ("date", "@100")]).0.left(NOW), 0);
    assert_eq!(guessed(200, &[("last-modified", "long ago")]).1, Basis::Nothing);
    assert_eq!(life_by(200, &[changed], &Rules::default(), true).1, Basis::Nothing, "not with a credential");
}

#[test]
fn the_route_speaks_where_the_origin_says_nothing() {
    let rules = Rules {
        ttl: Duration::from_secs(40),
        negative_ttl: [(404, Duration::from_secs(5)), (500, Duration::from_secs(1))].into(),
        ..Rules::default()
    };
    for (status, fields, credential, expected) in [
        (200, &[][..], false, (40, Basis::Ttl)),
        (200, &[("last-modified", "@-1000")], false, (40, Basis::Ttl)),
        (200, &[("cache-control", "public")], false, (40, Basis::Ttl)),
        (200, &[("cache-control", "max-age=7")], false, (7, Basis::Origin)),
        (200, &[("expires", "@7"), ("date", "@0")], false, (7, Basis::Origin)),
        (200, &[("expires", "0")], false, (0, Basis::Origin)),
        (200, &[], true, (0, Basis::Nothing)),
        (404, &[], false, (5, Basis::Negative)),
        (404, &[], true, (5, Basis::Negative)),
        (404, &[("cache-control", "max-age=7")], false, (7, Basis::Origin)),
        (500, &[], false, (1, Basis::Negative)),
        (410, &[], false, (0, Basis::Nothing)),
        (302, &[], false, (0, Basis::Nothing)),
        (503, &[], false, (0, Basis::Nothing)),
    ] {
        let (life, basis) = life_by(status, fields, &rules, credential);
        assert_eq!((life.left(NOW), basis), expected, "{status} {fields:?} {credential}");
    }
}

#[test]
fn override_replaces_the_freshness_of_successes_and_nothing_else() {
    let rules = Rules { replace: true, ttl: Duration::from_secs(300), ..Rules::default() };
    for (status, fields, expected) in [
        (200, &[("cache-control", "max-age=7")][..], (300, Basis::Ttl)),
        (200, &[("expires", "0")], (300, Basis::Ttl)),
        (301, &[], (300, Basis::Ttl)),
        (404, &[], (0, Basis::Nothing)),
        (404, &[("cache-control", "max-age=7")], (7, Basis::Origin)),
        (500, &[], (0, Basis::Nothing)),
    ] {
        for credential in [false, true] {
            let (life, basis) = life_by(status, fields, &rules, credential);
            assert_eq!((life.left(NOW), basis), expected, "{status} {fields:?}");
        }
    }
    let (life, _) = life_by(200, &[("cache-control", "no-cache")], &rules, false);
    assert_eq!(decide(&life, &RequestControl::default(), NOW), Verdict::Revalidate);
    let stale = Rules { stale_if_error: Duration::from_secs(60), ..rules };
    let (life, _) = life_by(200, &[("cache-control", "must-revalidate")], &stale, false);
    assert!(!life.may_serve_on_error(&RequestControl::default(), NOW + 300));
}

#[test]
fn what_a_request_is_answered_with() {
    use Verdict::{Fresh, Revalidate, Stale, StaleWhileRevalidate};
    for (said, asked, later, verdict) in [
        ("max-age=60", "", 59, Fresh),
        ("max-age=60", "", 60, Revalidate),
        ("max-age=60, no-cache", "", 0, Revalidate),
        ("max-age=60, no-cache=\"a\"", "", 0, Fresh),
        ("max-age=60", "no-cache", 0, Revalidate),
        ("max-age=60", "no-store", 0, Revalidate),
        ("max-age=60", "max-age=0", 0, Fresh),
        ("max-age=60", "max-age=0", 1, Revalidate),
        ("max-age=60", "max-age=10", 11, Revalidate),
        ("max-age=60", "min-fresh=10", 50, Fresh),
        ("max-age=60", "min-fresh=10", 51, Revalidate),
        ("max-age=60, immutable", "no-cache", 0, Revalidate),
        ("max-age=60, stale-while-revalidate=30", "", 60, StaleWhileRevalidate),
        ("max-age=60, stale-while-revalidate=30", "", 89, StaleWhileRevalidate),
        ("max-age=60, stale-while-revalidate=30", "", 90, Revalidate),
        ("max-age=60, stale-while-revalidate=30", "max-age=61", 65, Revalidate),
        ("max-age=60, stale-while-revalidate=30", "min-fresh=1", 65, Revalidate),
        ("max-age=60, stale-while-revalidate=30, must-revalidate", "", 60, Revalidate),
        ("max-age=60, stale-while-revalidate=30, proxy-revalidate", "", 60, Revalidate),
        ("s-maxage=60, stale-while-revalidate=30", "", 60, StaleWhileRevalidate),
        ("max-age=60", "max-stale", 10_000, Stale),
        ("max-age=60", "max-stale=10", 70, Stale),
        ("max-age=60", "max-stale=10", 71, Revalidate),
        ("max-age=60, must-revalidate", "max-stale", 60, Revalidate),
        ("max-age=60, proxy-revalidate", "max-stale", 60, Revalidate),
        ("s-maxage=60", "max-stale", 60, Revalidate),
        ("max-age=60, no-cache", "max-stale", 60, Revalidate),
        ("max-age=60", "max-stale, max-age=65", 70, Revalidate),
    ] {
        let life = life(&[("cache-control", said)]);
        assert_eq!(decide(&life, &ask(asked), NOW + later), verdict, "{said} | {asked} | {later}");
    }
}

#[test]
fn stale_for_an_error_only_where_nobody_forbids_it() {
    let rules = Rules { stale_if_error: Duration::from_secs(30), ..Rules::default() };
    for (said, asked, later, credential, may) in [
        ("max-age=60", "", 10, false, true),
        ("max-age=60", "", 60, false, true),
        ("max-age=60", "", 89, false, true),
        ("max-age=60", "", 90, false, false),
        ("max-age=60, stale-if-error=3600", "", 3000, false, true),
        ("max-age=60, stale-if-error=3600", "", 119, true, true),
        ("max-age=60, stale-if-error=3600", "", 120, true, false),
        ("max-age=60, stale-if-error=0", "", 60, false, false),
        ("max-age=60, must-revalidate, stale-if-error=3600", "", 60, false, false),
        ("max-age=60, proxy-revalidate, stale-if-error=3600", "", 60, false, false),
        ("max-age=60, no-cache, stale-if-error=3600", "", 10, false, false),
        ("s-maxage=60", "", 60, false, false),
        ("s-maxage=60, stale-if-error=10", "", 69, false, true),
        ("max-age=60, must-revalidate", "", 59, false, true),
        ("max-age=60", "no-cache", 60, false, false),
        ("max-age=60", "max-age=20", 60, false, false),
        ("max-age=60", "max-stale=600", 300, false, true),
        ("max-age=60", "max-stale=600", 300, true, false),
    ] {
        let (life, _) = life_by(200, &[("cache-control", said)], &rules, credential);
        assert_eq!(life.may_serve_on_error(&ask(asked), NOW + later), may, "{said} | {asked} | {later} {credential}");
    }
}

#[test]
fn for_whom_the_answer_of_another_is_of_no_use() {
    for (fields, expected) in [
        (&[("cache-control", "max-age=60")][..], false),
        (&[("cache-control", "max-age=60, no-cache")], true),
        (&[("cache-control", "max-age=0")], true),
        (&[("etag", "\"e\"")], true),
        (&[("cache-control", "max-age=60"), ("age", "60")], true),
        (&[("cache-control", "max-age=60"), ("age", "59")], false),
        (&[("cache-control", "max-age=0, stale-while-revalidate=60")], false),
    ] {
        assert_eq!(life(fields).is_for_one_request(), expected, "{fields:?}");
    }
}

#[test]
fn a_soft_purge_leaves_what_may_be_served_stale() {
    let mut life = life(&[("cache-control", "max-age=60, stale-while-revalidate=30")]);
    life.expire(NOW + 10);
    for (later, verdict) in
        [(10, Verdict::StaleWhileRevalidate), (39, Verdict::StaleWhileRevalidate), (40, Verdict::Revalidate)]
    {
        assert_eq!(decide(&life, &RequestControl::default(), NOW + later), verdict, "{later}");
    }
    let before = life;
    life.expire(NOW + 20);
    assert_eq!(life, before, "twice is once");
}

proptest! {
    #[test]
    fn nothing_gets_fresher_with_time(
        said in "(max-age|s-maxage)=[0-9]{1,3}(, stale-while-revalidate=[0-9]{1,3})?(, (must|proxy)-revalidate)?",
        asked in "(max-age=[0-9]{1,3})?,(min-fresh=[0-9]{1,2})?,(max-stale(=[0-9]{1,3})?)?",
        age in 0u32..500, earlier in 0u64..1000, more in 0u64..1000,
    ) {
        let life = life(&[("cache-control", &said), ("age", &age.to_string())]);
        let request = ask(&asked);
        let rank = |at| match decide(&life, &request, at) {
            Verdict::Fresh => 0,
            Verdict::StaleWhileRevalidate => 1,
            Verdict::Stale => 2,
            Verdict::Revalidate => 3,
        };
        let (first, then) = (NOW + earlier, NOW + earlier + more);
        prop_assert!(rank(first) <= rank(then));
        prop_assert!(life.age(first) <= life.age(then));
        prop_assert!(!life.may_serve_on_error(&request, then) || life.may_serve_on_error(&request, first));
        if rank(first) == 0 {
            prop_assert!(life.is_fresh(first) && life.may_serve_on_error(&request, first));
        }
        if said.contains("revalidate,") || said.ends_with("must-revalidate") || said.ends_with("proxy-revalidate") {
            prop_assert!(life.left(then) > 0 || rank(then) == 3);
        }
    }

    #[test]
    fn nothing_makes_it_panic(fields in prop::collection::vec(
        (prop::sample::select(vec!["age", "date", "expires", "last-modified", "cache-control"]), "[ -~]{0,40}"), 0..6),
        sent: u64, received: u64, now: u64,
    ) {
        let headers = head(&fields.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>());
        let times = Times { sent, received };
        let (mut life, _) = Life::of(200, &headers, &Control::of(&headers), &Rules::default(), false, times);
        decide(&life, &RequestControl::default(), now);
        life.expire(now);
        prop_assert!(life.age(now) <= FOREVER);
    }
}
