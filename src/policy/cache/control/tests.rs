use proptest::prelude::*;

use super::super::FOREVER;
use super::super::tests::head;
use super::*;

fn said(lines: &[&str]) -> Control {
    let fields: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
    Control::of(&head(&fields))
}

fn asked(lines: &[&str]) -> RequestControl {
    let fields: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
    RequestControl::of(&head(&fields))
}

#[test]
fn a_time_is_a_whole_number_and_everything_else_is_stale() {
    for (line, max_age) in [
        ("", None),
        ("max-age=60", Some(60)),
        ("max-age=\"60\"", Some(60)),
        ("MaX-aGe=60", Some(60)),
        ("max-age=0060", Some(60)),
        (" , ,max-age=60 , ,", Some(60)),
        ("foo, max-age=60, bar=\"x,y\"", Some(60)),
        ("max-age=2147483647", Some(i32::MAX as u32)),
        ("max-age=2147483648", Some(FOREVER)),
        ("max-age=2147483649", Some(FOREVER)),
        ("max-age=99999999999999999999999", Some(FOREVER)),
        ("max-age", Some(0)),
        ("max-age=", Some(0)),
        ("max-age=\"\"", Some(0)),
        ("max-age=-60", Some(0)),
        ("max-age=+60", Some(0)),
        ("max-age=60.0", Some(0)),
        ("max-age=a60", Some(0)),
        ("max-age=60a", Some(0)),
        ("max-age='60'", Some(0)),
        ("max-age=\"60\"1", Some(0)),
        ("max-age =60", Some(0)),
        ("max-age= 60", Some(0)),
        ("max-age=60 1", Some(0)),
        ("max-age=60;x", Some(0)),
        ("xmax-age=60", None),
        ("max-agex=60", None),
        ("ext=\"max-age=3600\", max-age=1", Some(1)),
        ("max-age=1, ext=\"max-age=3600\"", Some(1)),
        ("ext=\"a\\\", max-age=3600\", max-age=1", Some(1)),
        ("max-age=3600, max-age=1800", Some(1800)),
        ("max-age=1800, max-age=3600", Some(1800)),
        ("max-age=3600, max-age=x", Some(0)),
        ("ext=\"never closed, max-age=3600", Some(0)),
    ] {
        assert_eq!(said(&[line]).max_age, max_age, "{line}");
    }
    assert_eq!(said(&["max-age=3600", "max-age=1800"]).max_age, Some(1800));
    assert_eq!(said(&["s-maxage=5, max-age=7"]).s_maxage, Some(5));
}

#[test]
fn every_directive_is_known_in_any_case_and_with_any_argument() {
    let all = "No-Store, PRIVATE, Public, must-REVALIDATE, proxy-revalidate=x, must-understand, immutable, no-transform, \
        no-cache, stale-while-revalidate=3, stale-if-error=\"4\"";
    let control = said(&[all]);
    assert!(control.no_store && control.private && control.public && control.must_revalidate);
    assert!(control.proxy_revalidate && control.must_understand && control.immutable && control.no_transform);
    assert!(control.no_cache && control.fields.is_empty());
    assert_eq!((control.stale_while_revalidate, control.stale_if_error), (Some(3), Some(4)));
    assert_eq!(said(&["nostore, no-storex, x-no-store, =no-store"]), Control::default());
}

#[test]
fn a_quotation_that_is_never_closed_hides_nothing() {
    for line in ["ext=\"a, no-store", "ext=\"a\\\", no-store", "\", no-store", "no-store, ext=\""] {
        assert!(said(&[line]).no_store, "{line}");
        assert_eq!(said(&[line]).max_age, Some(0), "{line}");
    }
    assert!(!said(&["ext=\"a, no-store\""]).no_store);
}

#[test]
fn fields_that_are_named_are_left_out_and_all_is_meant_where_none_is_named() {
    for directive in ["no-cache", "private"] {
        let control = said(&[&format!("{directive}=\"A, b\""), &format!("{directive}=\"c\"")]);
        assert_eq!(control.fields, ["a", "b", "c"], "{directive}");
        assert!(!control.no_cache && !control.private, "{directive}");
        for all in ["", "=", "=\"\"", "=\" , \"", "=a", "=\"a b\"", "=\"a", "=\"a\"b", " =\"a\""] {
            let control = said(&[&format!("{directive}{all}")]);
            assert!(control.no_cache || control.private, "{directive}{all}");
            assert!(control.fields.is_empty(), "{directive}{all}");
        }
        let both = said(&[&format!("{directive}, {directive}=\"a\"")]);
        assert!(both.no_cache || both.private, "{directive}");
    }
}

#[test]
fn a_targeted_field_stands_in_for_the_general_one() {
    let of = |cdn: &[&str], general: &str| {
        let mut fields = vec![("cache-control", general)];
        fields.extend(cdn.iter().map(|line| ("cdn-cache-control", *line)));
        Control::of(&head(&fields))
    };
    for (cdn, max_age) in [
        (&["max-age=5"][..], 5),
        (&["foo, max-age=5;x=y"], 5),
        (&["foo", "max-age=5"], 5),
        (&["max-age=7, max-age=5"], 5),
        (&["max-age=99999999999"], FOREVER),
        (&["max-age=-5"], 0),
        (&["max-age=5, no-store=?0, foo=(1 2)"], 5),
    ] {
        let control = of(cdn, "no-store, max-age=60");
        assert_eq!((control.max_age, control.no_store, control.targeted), (Some(max_age), false, true), "{cdn:?}");
    }
    for ignored in [
        &[""][..],
        &["max-age=5, &&&&&"],
        &["max-age=\"5\""],
        &["max-age=5.0"],
        &["max-age"],
        &["max-age=(5)"],
        &["max-age =5"],
        &["max-age= 5"],
        &["MaX-aGe=5"],
        &["s-maxage=x, max-age=5"],
        &["max-age=5", "&"],
    ] {
        let control = of(ignored, "no-store, max-age=60");
        assert_eq!((control.max_age, control.no_store, control.targeted), (Some(60), true, false), "{ignored:?}");
    }
    assert!(of(&["no-store"], "max-age=60").no_store);
    assert!(of(&["private"], "max-age=60").private);
    assert!(of(&["private=(\"a\")"], "max-age=60").private);
    assert_eq!(of(&["no-cache=\"a\""], "max-age=60").fields, ["a"]);
    assert!(of(&["max-age=5"], "no-transform").no_transform);
    assert_eq!(of(&["foo"], "max-age=60").max_age, None);
}

#[test]
fn what_a_request_asks_for() {
    let none = RequestControl::default();
    for (line, expected) in [
        ("nothing-to-see-here", none),
        ("No-Cache", RequestControl { no_cache: true, ..none }),
        ("no-store, only-if-cached", RequestControl { no_store: true, only_if_cached: true, ..none }),
        ("max-age=5, max-age=3", RequestControl { max_age: Some(3), ..none }),
        ("max-age=x", RequestControl { max_age: Some(0), ..none }),
        ("min-fresh=5, min-fresh=7", RequestControl { min_fresh: Some(7), ..none }),
        ("min-fresh=x", RequestControl { min_fresh: Some(FOREVER), ..none }),
        ("max-stale", RequestControl { max_stale: Some(FOREVER), ..none }),
        ("max-stale=5", RequestControl { max_stale: Some(5), ..none }),
        ("max-stale=5, max-stale", RequestControl { max_stale: Some(5), ..none }),
        ("max-stale=x", RequestControl { max_stale: Some(0), ..none }),
    ] {
        assert_eq!(asked(&[line]), expected, "{line}");
    }
    assert_eq!(asked(&[]), none);
}

#[test]
fn pragma_counts_where_there_is_no_cache_control() {
    let of = |fields: &[(&str, &str)]| RequestControl::of(&head(fields)).no_cache;
    assert!(of(&[("pragma", "No-Cache")]));
    assert!(of(&[("pragma", "foo, no-cache")]));
    assert!(!of(&[("pragma", "foo")]));
    assert!(!of(&[("pragma", "no-cache"), ("cache-control", "foo")]));
}

/// A directive that is well-formed, of a kind that counts or not.
fn directive() -> impl Strategy<Value = String> {
    let time = (
        prop::sample::select(vec!["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"]),
        prop_oneof![any::<u32>().prop_map(|n| n.to_string()), "[a-z0-9.-]{0,4}", "\"[0-9]{0,3}\""],
    );
    let word = prop::sample::select(vec![
        "no-store",
        "private",
        "public",
        "no-cache",
        "no-cache=\"a\"",
        "private=\"b, a\"",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
        "no-transform",
        "ext",
        "ext=\"no-store, max-age=7\"",
    ]);
    prop_oneof![time.prop_map(|(name, value)| format!("{name}={value}")), word.prop_map(str::to_owned)]
}

proptest! {
    #[test]
    fn neither_the_order_nor_the_lines_matter(mut all in prop::collection::vec(directive(), 0..8), seed: u64, cut: usize) {
        let sorted = |mut control: Control| {
            control.fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            control
        };
        let expected = sorted(said(&[&all.join(", ")]));
        let mut state = seed;
        for at in (1..all.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            all.swap(at, (state >> 33) as usize % (at + 1));
        }
        let (first, second) = all.split_at(cut % (all.len() + 1));
        prop_assert_eq!(sorted(said(&[&first.join(","), &second.join(" ,\t")])), expected);
    }

    #[test]
    fn one_directive_more_never_makes_it_fresher(all in prop::collection::vec(directive(), 0..6), more in directive()) {
        let (less, more) = (said(&[&all.join(",")]), said(&[&all.join(","), &more]));
        prop_assert!(less.max_age.is_none() || more.max_age <= less.max_age);
        prop_assert!(less.s_maxage.is_none() || more.s_maxage <= less.s_maxage);
        prop_assert!(more.no_store >= less.no_store && more.private >= less.private && more.no_cache >= less.no_cache);
        prop_assert!(more.forbids_stale() >= less.forbids_stale());
    }

    #[test]
    fn nothing_makes_it_panic(lines in prop::collection::vec("[a-z\", =\\\\;?()0-9\t-]{0,40}", 0..4)) {
        let fields: Vec<_> = lines.iter().map(|line| ("cache-control", line.as_str())).collect();
        Control::of(&head(&fields));
        RequestControl::of(&head(&fields));
        let fields: Vec<_> = lines.iter().map(|line| ("cdn-cache-control", line.as_str())).collect();
        Control::of(&head(&fields));
    }
}
