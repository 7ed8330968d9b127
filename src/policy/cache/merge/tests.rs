use proptest::prelude::*;

use super::super::tests::head;
use super::*;

fn merged(stored: &[(&str, &str)], new: &[(&str, &str)]) -> HeaderMap {
    let mut stored = head(stored);
    merge(&mut stored, &head(new));
    stored
}

#[test]
fn a_304_replaces_what_it_has_and_leaves_the_rest() {
    let stored = [("date", "1"), ("cache-control", "max-age=1"), ("x", "1"), ("x", "2"), ("y", "1")];
    let new = [("date", "2"), ("cache-control", "max-age=5"), ("x", "3"), ("z", "1"), ("z", "2")];
    let expected = [("date", "2"), ("cache-control", "max-age=5"), ("x", "3"), ("y", "1"), ("z", "1"), ("z", "2")];
    assert_eq!(merged(&stored, &new), head(&expected));
}

#[test]
fn what_speaks_of_the_bytes_stays() {
    for name in
        ["content-length", "content-encoding", "content-range", "content-md5", "content-digest", "repr-digest", "etag"]
    {
        assert_eq!(merged(&[(name, "a")], &[(name, "b")]), head(&[(name, "a")]), "{name}");
    }
    for name in ["content-length", "content-encoding", "content-range", "repr-digest"] {
        assert_eq!(merged(&[], &[(name, "b")]), head(&[]), "{name}");
    }
    assert_eq!(merged(&[], &[("etag", "\"b\"")]), head(&[("etag", "\"b\"")]));
    for name in ["content-type", "content-location", "expires", "vary", "set-cookie2", "content-security-policy"] {
        assert_eq!(merged(&[(name, "a")], &[(name, "b")]), head(&[(name, "b")]), "{name}");
    }
}

#[test]
fn what_is_never_kept_does_not_come_in_by_a_304() {
    let new = [("set-cookie", "a=b"), ("connection", "x"), ("x", "1"), ("proxy-authenticate", "a"), ("te", "a")];
    assert_eq!(merged(&[("x", "0")], &new), head(&[("x", "0")]));
}

#[test]
fn the_age_is_that_of_the_304() {
    assert_eq!(merged(&[("age", "1")], &[("age", "9")]), head(&[("age", "9")]));
    assert_eq!(merged(&[("age", "1")], &[]), head(&[]));
    assert_eq!(merged(&[], &[("age", "9")]), head(&[("age", "9")]));
}

#[test]
fn whether_a_304_speaks_of_what_is_stored() {
    let lm = "last-modified";
    for (stored, new, expected) in [
        (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..], true),
        (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
        (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], true),
        (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], true),
        (&[("etag", "W/\"a\"")], &[("etag", "W/\"b\"")], false),
        (&[("etag", "\"a-gzip\"")], &[("etag", "\"a\"")], false),
        (&[("etag", "\"a\"")], &[], true),
        (&[("etag", "\"a\""), (lm, "1")], &[("etag", "\"a\""), (lm, "2")], true),
        (&[("etag", "\"a\""), (lm, "1")], &[(lm, "2")], false),
        (&[(lm, "1")], &[("etag", "\"a\"")], false),
        (&[(lm, "1")], &[(lm, "1")], true),
        (&[(lm, "1")], &[(lm, "2")], false),
        (&[(lm, "1")], &[], true),
        (&[("etag", "\"a\"")], &[(lm, "1")], true),
    ] {
        assert_eq!(selects(&head(stored), &head(new)), expected, "{stored:?} {new:?}");
    }
}

#[test]
fn what_a_head_says_of_a_stored_answer() {
    let stored = head(&[("etag", "\"a\""), ("last-modified", "1"), ("content-length", "7"), ("x", "1")]);
    for (status, fields, expected) in [
        (200, &[][..], Head::Update),
        (200, &[("x", "2"), ("etag", "\"a\""), ("content-length", "7")], Head::Update),
        (200, &[("etag", "\"b\"")], Head::Stale),
        (200, &[("last-modified", "2")], Head::Stale),
        (200, &[("content-length", "8")], Head::Stale),
        (304, &[], Head::Nothing),
        (410, &[("etag", "\"b\"")], Head::Nothing),
        (500, &[], Head::Nothing),
    ] {
        assert_eq!(of_head(200, &stored, status, &head(fields), true), expected, "{status} {fields:?}");
    }
    assert_eq!(of_head(200, &head(&[]), 200, &head(&[("etag", "\"a\"")]), true), Head::Stale);
    assert_eq!(of_head(404, &stored, 200, &head(&[]), true), Head::Stale);
    assert_eq!(of_head(404, &stored, 503, &head(&[]), true), Head::Nothing);
    // Without a validator it may be any other answer.
    for (fields, expected) in [
        (&[][..], Head::Nothing),
        (&[("content-length", "7")], Head::Nothing),
        (&[("content-length", "8")], Head::Stale),
        (&[("etag", "\"a\"")], Head::Update),
        (&[("last-modified", "1")], Head::Update),
    ] {
        assert_eq!(of_head(200, &stored, 200, &head(fields), false), expected, "{fields:?}");
    }
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "x",
        "y",
        "etag",
        "connection",
        "content-length",
        "set-cookie",
        "cache-control",
        "vary",
        "age",
        "date",
    ]);
    prop::collection::vec((name, "[xy]{0,2}"), 0..8)
        .prop_map(|fields| head(&fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>()))
}

proptest! {
    #[test]
    fn the_same_304_twice_changes_nothing_more(stored in fields(), new in fields()) {
        let mut once = stored.clone();
        merge(&mut once, &new);
        let mut twice = once.clone();
        merge(&mut twice, &new);
        prop_assert_eq!(&once, &twice);
        prop_assert!(stored.keys().all(|name| name == "age" || once.contains_key(name)), "a 304 removes no field");
        prop_assert_eq!(once.contains_key("set-cookie"), stored.contains_key("set-cookie"), "no cookie comes to what has none");
    }
}
