use proptest::prelude::*;

use super::super::tests::head;
use super::*;

fn names(lines: &[&str]) -> Result<Vec<String>, Unmatched> {
    let fields: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
    Names::of(&head(&fields)).map(|names| names.iter().map(|name| name.as_str().to_owned()).collect())
}

fn by(list: &str) -> Names {
    Names::of(&head(&[("vary", list)])).unwrap()
}

#[test]
fn which_fields_it_varies_by() {
    for (lines, expected) in [
        (&[][..], &[][..]),
        (&[""], &[]),
        (&[" , ,"], &[]),
        (&["Foo, bar"], &["bar", "foo"]),
        (&["foo", "BAR,foo"], &["bar", "foo"]),
        (&["a,b,c,d,e,f,g,h,a"], &["a", "b", "c", "d", "e", "f", "g", "h"]),
    ] {
        assert_eq!(names(lines).unwrap(), expected, "{lines:?}");
    }
    for star in
        [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"], &["foo bar"], &["\u{e4}"]]
    {
        assert_eq!(names(star), Err(Unmatched::Star), "{star:?}");
    }
    assert_eq!(names(&["a,b,c,d,e,f,g,h,i"]), Err(Unmatched::TooMany));
}

#[test]
fn which_requests_say_the_same() {
    for (list, one, other, same) in [
        ("foo", &[("foo", "1")][..], &[("foo", "1")][..], true),
        ("foo", &[("foo", "1"), ("bar", "1")], &[("foo", "1"), ("bar", "2")], true),
        ("foo", &[("foo", "1")], &[("foo", "2")], false),
        ("foo", &[("foo", "a")], &[("foo", "A")], false),
        ("foo", &[("foo", "1")], &[], false),
        ("foo", &[("foo", "")], &[], false),
        ("foo", &[], &[], true),
        ("foo, bar", &[("foo", "1")], &[("bar", "1")], false),
        ("foo, bar", &[("foo", "1"), ("bar", "2")], &[("bar", "2"), ("foo", "1")], true),
        ("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
        ("foo", &[("foo", "1,2")], &[("foo", " 1,\t2 ")], true),
        ("foo", &[("foo", "1 ,2")], &[("foo", "1, 2")], true),
        ("foo", &[("foo", "1,,2")], &[("foo", "1,2")], false),
        ("foo", &[("foo", "1, 2")], &[("foo", "2, 1")], false),
        ("foo", &[("foo", "1 2")], &[("foo", "12")], false),
        ("foo", &[("foo", "\"1, 2\"")], &[("foo", "\"1,2\"")], false),
        ("foo", &[("foo", "\"a\\\", b\"")], &[("foo", "\"a\\\",b\"")], false),
        ("foo", &[("foo", "1,"), ("foo", "2")], &[("foo", "1"), ("foo", ",2")], true),
        ("foo, bar", &[("foo", "1"), ("bar", "")], &[("foo", "1")], false),
        ("accept-language", &[("accept-language", "en, de")], &[("accept-language", "de, en")], true),
        ("accept-language", &[("accept-language", "en, de")], &[("accept-language", "eN, De")], true),
        ("accept-language", &[("accept-language", "en, de")], &[("accept-language", " en ,   de")], true),
        (
            "accept-language",
            &[("accept-language", "en, de")],
            &[("accept-language", "en"), ("accept-language", "de")],
            true,
        ),
        ("accept-language", &[("accept-language", "en;q=0.5, de")], &[("accept-language", "de,en; Q=0.5")], true),
        ("accept-language", &[("accept-language", "en;q=0.5, de")], &[("accept-language", "en, de;q=0.5")], false),
        ("accept-language", &[("accept-language", "en, de")], &[("accept-language", "en, fr")], false),
        ("accept-language", &[("accept-language", "")], &[], false),
        ("accept-encoding", &[("accept-encoding", "gzip, br")], &[("accept-encoding", "BR,,gzip")], true),
    ] {
        let (names, one, other) = (by(list), head(one), head(other));
        let selecting = names.selecting(&one);
        assert!(names.matches(&selecting, &one), "{list} {one:?}");
        assert_eq!(names.matches(&selecting, &other), same, "{list} {one:?} {other:?}");
        assert_eq!(names.selecting(&other) == selecting, same, "{list} {one:?} {other:?}");
    }
}

#[test]
fn what_varies_by_nothing_matches_everything() {
    let names = Names::default();
    assert!(names.is_empty() && names.selecting(&head(&[("a", "b")])).is_empty());
    assert!(names.matches(&[], &head(&[("a", "b")])));
    assert!(!names.matches(&[0], &head(&[])));
}

#[test]
fn to_compare_costs_no_allocation() {
    let names = by("accept-language, foo");
    let request = head(&[("accept-language", "en, de;q=0.5, fr"), ("foo", "1, 2"), ("foo", "3")]);
    let selecting = names.selecting(&request);
    let counted = allocation_counter::measure(|| assert!(names.matches(&selecting, &request)));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_list_too_long_to_sort_is_compared_as_it_came() {
    let long =
        |first: &str| format!("{first},{}", (0..MOST_MEMBERS).map(|n| format!("x{n}")).collect::<Vec<_>>().join(","));
    let names = by("accept-language");
    let (one, other) = (long("en"), long("de"));
    let selecting = names.selecting(&head(&[("accept-language", &one)]));
    assert!(names.matches(&selecting, &head(&[("accept-language", &one)])));
    assert!(!names.matches(&selecting, &head(&[("accept-language", &other)])));
}

fn request() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = prop::sample::select(vec!["a", "b", "accept-language"]);
    prop::collection::vec((name, "[a-c,\" \\\\;]{0,6}"), 0..5)
}

fn of(fields: &[(&'static str, String)]) -> HeaderMap {
    head(&fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn to_match_is_to_have_the_same_bytes(one in request(), other in request()) {
        let names = by("a, b, accept-language");
        let (one, other) = (of(&one), of(&other));
        let selecting = names.selecting(&one);
        prop_assert!(names.matches(&selecting, &one));
        prop_assert_eq!(names.matches(&selecting, &other), names.selecting(&other) == selecting);
    }

    #[test]
    fn what_differs_in_more_than_blanks_differs(one in "[a-c,;=]{0,8}", other in "[a-c,;=]{0,8}") {
        let names = by("a");
        let selecting = names.selecting(&head(&[("a", &one)]));
        prop_assert_eq!(names.matches(&selecting, &head(&[("a", &other)])), one == other);
    }

    #[test]
    fn the_names_have_no_order(mut list in prop::collection::vec("[a-e]{1,2}", 0..6)) {
        let forwards = names(&[&list.join(",")]);
        list.reverse();
        let lines: Vec<_> = list.iter().map(String::as_str).collect();
        prop_assert_eq!(names(&lines), forwards);
    }
}
