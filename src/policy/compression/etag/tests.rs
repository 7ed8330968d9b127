use proptest::prelude::*;

use super::*;

const GZIP: Served = Served::Encoded(Coding::Gzip);
const BR: Served = Served::Encoded(Coding::Br);

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_strong_tag_is_marked_and_a_weak_one_is_not() {
    for (tag, served, out) in [
        (r#""abc""#, GZIP, r#""abc~gzip""#),
        (r#""abc""#, BR, r#""abc~br""#),
        (r#""abc""#, Served::Encoded(Coding::Zstd), r#""abc~zstd""#),
        (r#""abc""#, Served::Decoded, r#""abc~identity""#),
        (r#""abc""#, Served::AsItIs, r#""abc""#),
        (r#""""#, GZIP, r#""~gzip""#),
        (r#""a~b""#, Served::AsItIs, r#""a~b""#),
        (r#""a~gzip""#, Served::AsItIs, r#""a~gzip~as-is""#),
        (r#""a~as-is""#, Served::AsItIs, r#""a~as-is~as-is""#),
        (r#""a~gzip""#, BR, r#""a~gzip~br""#),
        (r#"W/"abc""#, GZIP, r#"W/"abc""#),
        (r#"W/"a~gzip""#, Served::AsItIs, r#"W/"a~gzip""#),
        // No entity tags at all: not ours to mend.
        ("abc", GZIP, "abc"),
        ("\"", GZIP, "\""),
        (r#""a"b""#, GZIP, r#""a"b""#),
        ("", GZIP, ""),
    ] {
        assert_eq!(text(&sent(tag.as_bytes(), served)), out, "{tag} {served:?}");
    }
}

#[test]
fn a_list_becomes_the_applications_again() {
    for (list, out) in [
        (r#""abc~gzip""#, r#""abc""#),
        (r#""a~gzip", W/"b~gzip","c", "d~br~zstd""#, r#""a", W/"b~gzip","c", "d~br""#),
        (r#""a~gzip~as-is""#, r#""a~gzip""#),
        (r#""a,~gzip", "b~br ""#, r#""a,", "b~br ""#),
        (r#"  "a~identity"  "#, r#"  "a"  "#),
        ("*", "*"),
        ("", ""),
        (r#""abc""#, r#""abc""#),
        (r#""a~b""#, r#""a~b""#),
        (r#""a~gzip"#, r#""a~gzip"#),
        ("a~gzip", "a~gzip"),
    ] {
        assert_eq!(text(&received(list.as_bytes())), out, "{list}");
    }
}

#[test]
fn what_does_not_change_is_not_copied() {
    assert!(matches!(sent(br#""abc""#, Served::AsItIs), Cow::Borrowed(_)));
    for list in [r#""abc", W/"x~gzip""#, "*", r#""a~b""#] {
        assert!(matches!(received(list.as_bytes()), Cow::Borrowed(_)), "{list}");
    }
}

#[test]
fn a_part_of_an_encoded_body_is_never_completed_from_another() {
    assert_eq!(if_range(br#""abc~gzip""#), None);
    assert_eq!(if_range(br#" "abc~br""#), None);
    assert_eq!(if_range(br#""abc~identity""#), None);
    assert_eq!(if_range(br#""abc~gzip~as-is""#).as_deref(), Some(br#""abc~gzip""#.as_slice()));
    for kept in [r#""abc""#, r#"W/"abc~gzip""#, "Wed, 25 Nov 2026 20:00:00 GMT"] {
        assert_eq!(if_range(kept.as_bytes()).as_deref(), Some(kept.as_bytes()));
    }
}

#[test]
fn a_304_names_the_tag_that_the_client_has() {
    for (list, tag, out) in [
        (r#""abc~gzip""#, r#""abc""#, r#""abc~gzip""#),
        (r#""x", "abc~br", "abc~gzip""#, r#""abc""#, r#""abc~br""#),
        (r#""abc""#, r#""abc""#, r#""abc""#),
        (r#"W/"abc""#, r#""abc""#, r#""abc""#),
        ("*", r#""a~gzip""#, r#""a~gzip~as-is""#),
        (r#""abc~gzip""#, r#"W/"abc""#, r#"W/"abc""#),
    ] {
        assert_eq!(text(&as_sent(list.as_bytes(), tag.as_bytes())), out, "{list} {tag}");
    }
}

fn tag() -> impl Strategy<Value = String> {
    (
        "(W/)?",
        "[!#-}]{0,3}",
        prop::collection::vec(prop::sample::select(vec!["~gzip", "~br", "~as-is", "~identity", "~", "~x"]), 0..3),
    )
        .prop_map(|(weak, own, marks)| format!("{weak}\"{own}{}\"", marks.concat()))
}

fn served() -> impl Strategy<Value = Served> {
    prop::sample::select(Served::ALL.to_vec())
}

proptest! {
    /// Whatever tags an application has: what a client was sent leads back to the very tag, alone and in a list.
    #[test]
    fn what_was_sent_comes_back_as_it_was(tags in prop::collection::vec((tag(), served()), 1..5)) {
        let out: Vec<String> = tags.iter().map(|(t, s)| text(&sent(t.as_bytes(), *s)).to_owned()).collect();
        let own: Vec<&str> = tags.iter().map(|(t, _)| t.as_str()).collect();
        let list = out.join(", ");
        let back = received(list.as_bytes());
        prop_assert_eq!(text(&back), own.join(", "));
        for (out, own) in out.iter().zip(own) {
            if !own.starts_with('W') {
                let named = as_sent(out.as_bytes(), own.as_bytes());
                prop_assert_eq!(text(&named), out);
            }
        }
    }

    /// Two bodies that differ have strong tags that differ.
    #[test]
    fn no_two_bodies_share_a_strong_tag(a in (tag(), served()), b in (tag(), served())) {
        let (out_a, out_b) = (sent(a.0.as_bytes(), a.1), sent(b.0.as_bytes(), b.1));
        if a != b && !out_a.starts_with(b"W/") {
            prop_assert_ne!(out_a, out_b);
        }
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in prop::collection::vec(prop::sample::select(b"\"~gzip,W/ br*".to_vec()), 0..30)) {
        received(&bytes);
        if_range(&bytes);
        sent(&bytes, GZIP);
        as_sent(&bytes, b"\"\"");
    }
}
