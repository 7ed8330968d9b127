//! What the tests of these rules share, and whole exchanges: an answer is stored, another request comes.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::control::RequestControl;
use super::freshness::{Times, Verdict, decide};
use super::store::{Asked, storable};
use super::{Partition, Rules};

/// A head of these fields.
pub(super) fn head(fields: &[(&str, &str)]) -> HeaderMap {
    fields.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        map
    })
}

/// A date so many seconds after the epoch, as HTTP writes it.
pub(super) fn date(at: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at))
}

/// What the cache makes of a request, some seconds after it got the answer to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It answers by itself.
    Cached,
    /// It asks the origin with a condition.
    Validated,
    /// It sends the request on.
    Sent,
}

use Then::{Cached, Sent, Validated};

/// Two requests for one URL: the answer to the first, the seconds until the second, and its fields.
fn then(status: u16, asked: &[(&str, &str)], answer: &[(&str, &str)], later: u64, again: &[(&str, &str)]) -> Then {
    const NOW: u64 = 1_790_000_000;
    let (asked, answer, again) = (head(asked), head(answer), head(again));
    let request = Asked {
        get: true,
        no_store: RequestControl::of(&asked).no_store,
        credential: asked.contains_key("authorization"),
        authorization: asked.contains_key("authorization"),
    };
    let rules = Rules { partition: Partition::Standard, ..Rules::default() };
    let Ok(stored) = storable(&request, status, &answer, &rules, Times { sent: NOW, received: NOW }) else {
        return Sent;
    };
    if !stored.vary.matches(&stored.vary.selecting(&asked), &again) {
        return Sent;
    }
    match decide(&stored.life, &RequestControl::of(&again), NOW + later) {
        Verdict::Revalidate if stored.validator => Validated,
        Verdict::Revalidate => Sent,
        Verdict::Fresh | Verdict::Stale | Verdict::StaleWhileRevalidate => Cached,
    }
}

#[test]
fn whole_exchanges() {
    let fresh = ("cache-control", "max-age=3600");
    let tag = ("etag", "\"a\"");
    for (status, answer, later, again, expected) in [
        (200, &[][..], 3, &[][..], Sent),
        (200, &[fresh], 3, &[], Cached),
        (200, &[("cache-control", "max-age=2")], 3, &[], Sent),
        (200, &[("cache-control", "max-age=2"), tag], 3, &[], Validated),
        (200, &[("cache-control", "no-cache"), tag], 0, &[], Validated),
        (200, &[tag], 0, &[], Validated),
        (200, &[("cache-control", "max-age=2, stale-while-revalidate=4")], 3, &[], Cached),
        (200, &[fresh], 3, &[("cache-control", "no-cache")], Sent),
        (200, &[fresh, tag], 3, &[("cache-control", "no-cache")], Validated),
        (200, &[fresh], 3, &[("pragma", "no-cache")], Sent),
        (200, &[fresh], 3, &[("pragma", "no-cache"), ("cache-control", "foo")], Cached),
        (200, &[("cache-control", "max-age=1500"), ("age", "2000")], 0, &[("cache-control", "max-stale=1000")], Cached),
        (200, &[fresh, ("vary", "foo")], 0, &[], Cached),
        (200, &[fresh, ("vary", "foo")], 0, &[("foo", "1")], Sent),
        // By the standard, which the routes of this test ask for.
        (200, &[fresh, ("set-cookie", "a=b")], 0, &[], Cached),
        (200, &[tag, ("set-cookie", "a=b")], 0, &[], Sent),
        (200, &[fresh, ("set-cookie2", "a=b")], 0, &[], Cached),
        (503, &[fresh], 3, &[], Cached),
        (429, &[fresh], 3, &[], Sent),
        (206, &[fresh], 3, &[], Sent),
    ] {
        assert_eq!(then(status, &[], answer, later, again), expected, "{status} {answer:?} {later} {again:?}");
    }
    let bearer = [("authorization", "x")];
    for (said, expected) in
        [("max-age=9", Sent), ("max-age=9, public", Cached), ("s-maxage=9", Cached), ("no-cache", Sent)]
    {
        assert_eq!(then(200, &bearer, &[("cache-control", said)], 3, &bearer), expected, "{said}");
    }
}
