use proptest::prelude::*;

use super::super::tests::{date, head};
use super::*;

const NOW: u64 = 1_790_000_000;

fn outcome(fields: &[(&str, &str)], stored: &Validators<'_>) -> Outcome {
    evaluate(&head(fields), stored)
}

fn tagged(etag: &str) -> Validators<'_> {
    Validators { status: 200, etag: Some(etag.as_bytes()), last_modified: None, date: NOW }
}

#[test]
fn tags_are_compared_weakly_and_lists_are_read() {
    for (etag, list, same) in [
        ("\"a\"", "\"a\"", true),
        ("\"a\"", "\"b\"", false),
        ("\"a\"", "\"A\"", false),
        ("\"a\"", "W/\"a\"", true),
        ("W/\"a\"", "\"a\"", true),
        ("W/\"a\"", "W/\"a\"", true),
        ("\"a\"", "\"a\", \"1\", \"2\"", true),
        ("\"a\"", "\"1\", \"a\", \"2\"", true),
        ("\"a\"", " \"1\",\"2\" , W/\"a\" ,", true),
        ("\"a,b\"", "\"1\", \"a,b\"", true),
        ("\"b\"", "\"a,\"b\",c\"", false),
        ("\"a\"", "*", true),
        ("\"a\"", " * ", true),
        ("\"a\"", "\"*\"", false),
        ("\"a\\\"", "\"a\\\"", true),
        ("\"a\u{fc}\"", "\"a\u{fc}\"", true),
        ("\"\"", "\"\"", true),
        ("\"\"", "", false),
        // No tags by the grammar: equal bytes are the same state all the same.
        ("\"a\"", "a", true),
        ("a", "a", true),
        ("a", "\"a\"", true),
        ("w/\"a\"", "w/\"a\"", true),
        ("W\\\"a\"", "W\\\"a\"", true),
        ("W\"a\"", "W\"a\"", true),
        ("W\"a\"", "\"a\"", false),
    ] {
        let expected = if same { Outcome::NotModified } else { Outcome::Full };
        assert_eq!(outcome(&[("if-none-match", list)], &tagged(etag)), expected, "{etag} {list}");
    }
    let lines = [("if-none-match", "\"1\""), ("if-none-match", "\"a\"")];
    assert_eq!(outcome(&lines, &tagged("\"a\"")), Outcome::NotModified);
    let untagged = Validators { etag: None, ..tagged("") };
    assert_eq!(outcome(&[("if-none-match", "*")], &untagged), Outcome::NotModified);
    assert_eq!(outcome(&[("if-none-match", "\"a\"")], &untagged), Outcome::Full);
}

#[test]
fn dates() {
    let changed = date(NOW - 3000);
    let with = Validators { last_modified: Some(changed.as_bytes()), ..tagged("\"a\"") };
    let without = Validators { last_modified: None, ..with };
    let broken = Validators { last_modified: Some(b"soon"), ..with };
    let since = |at: u64| date(at);
    for (stored, since, same) in [
        (&with, since(NOW - 3000), true),
        (&with, since(NOW - 2000), true),
        (&with, since(NOW - 3001), false),
        (&with, since(NOW - 3000).to_uppercase(), true),
        (&with, "Sunday, 06-Nov-94 08:49:37 GMT".to_owned(), false),
        (&with, "soon".to_owned(), false),
        (&without, since(NOW), true),
        (&without, since(NOW - 1), false),
        (&broken, since(NOW), true),
    ] {
        let expected = if same { Outcome::NotModified } else { Outcome::Full };
        assert_eq!(outcome(&[("if-modified-since", &since)], stored), expected, "{stored:?} {since}");
    }
    let twice = [("if-modified-since", changed.as_str()), ("if-modified-since", "soon")];
    assert_eq!(outcome(&twice, &with), Outcome::Full);
}

#[test]
fn a_tag_goes_before_a_date() {
    let changed = date(NOW - 3000);
    let stored = Validators { last_modified: Some(changed.as_bytes()), ..tagged("\"a\"") };
    let old = date(NOW - 5000);
    let fields = [("if-none-match", "\"a\""), ("if-modified-since", old.as_str())];
    assert_eq!(outcome(&fields, &stored), Outcome::NotModified);
    let fields = [("if-none-match", "\"b\""), ("if-modified-since", changed.as_str())];
    assert_eq!(outcome(&fields, &stored), Outcome::Full);
}

#[test]
fn what_only_the_origin_may_judge_goes_there() {
    for name in ["if-match", "if-unmodified-since"] {
        for value in ["\"a\"", "*", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            let fields = [(name, value), ("if-none-match", "\"a\"")];
            assert_eq!(outcome(&fields, &tagged("\"a\"")), Outcome::Forward, "{name}: {value}");
        }
    }
}

#[test]
fn conditions_count_for_successes_alone() {
    for (status, expected) in
        [(200, Outcome::NotModified), (204, Outcome::NotModified), (301, Outcome::Full), (404, Outcome::Full)]
    {
        let stored = Validators { status, ..tagged("\"a\"") };
        assert_eq!(outcome(&[("if-none-match", "\"a\"")], &stored), expected, "{status}");
    }
    assert_eq!(outcome(&[], &tagged("\"a\"")), Outcome::Full);
}

#[test]
fn a_range_counts_where_it_speaks_of_this_very_state() {
    let changed = date(NOW - 1);
    let stored = Validators { last_modified: Some(changed.as_bytes()), ..tagged("\"a\"") };
    let just_now = Validators { date: NOW - 1, ..stored };
    let weak = Validators { etag: Some(b"W/\"a\""), ..stored };
    let later = date(NOW);
    let range = ("range", "bytes=0-1");
    for (stored, if_range, applies) in [
        (&stored, "\"a\"", true),
        (&stored, "\"b\"", false),
        (&stored, "W/\"a\"", false),
        (&weak, "W/\"a\"", false),
        (&weak, "\"a\"", false),
        (&stored, "a", false),
        (&stored, "", false),
        (&stored, changed.as_str(), true),
        (&stored, later.as_str(), false),
        (&just_now, changed.as_str(), false),
    ] {
        assert_eq!(range_applies(&head(&[range, ("if-range", if_range)]), stored), applies, "{if_range}");
    }
    assert!(range_applies(&head(&[range]), &stored));
    assert!(!range_applies(&head(&[("if-range", "\"a\"")]), &stored));
    assert!(!range_applies(&head(&[range, ("if-range", "\"a\""), ("if-range", "\"a\"")]), &stored));
}

proptest! {
    #[test]
    fn a_tag_in_a_list_is_found_whatever_stands_around_it(
        tag in "[a-c,]{0,3}", before in "(\"[a-c,]{0,3}\",)?", after in "(,\"[a-c,]{0,3}\")?", weak: bool,
    ) {
        let tag = format!("{}\"{tag}\"", if weak { "W/" } else { "" });
        let list = format!("{before} {tag}{after}");
        prop_assert_eq!(outcome(&[("if-none-match", &list)], &tagged(&tag)), Outcome::NotModified);
    }

    #[test]
    fn nothing_makes_it_panic(list in "[W/a-c\",* \\\\]{0,20}", tag in "[W/a-c\" \\\\]{0,8}") {
        outcome(&[("if-none-match", &list)], &tagged(&tag));
        range_applies(&head(&[("range", &list), ("if-range", &tag)]), &tagged(&tag));
    }
}
