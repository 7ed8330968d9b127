use http::HeaderValue;
use serde_json::json;

use super::*;
use crate::demo::plan::Plan;

fn step(kind: Kind) -> Step {
    let first = Plan { seed: 1, clients: 1 }.warm_up().next().unwrap();
    Step { kind, merchant: 3, ..first }
}

fn created(id: &str, changes: u64) -> Vec<u8> {
    json!({ "id": id, "version": 1, "merchant_changes": changes }).to_string().into_bytes()
}

#[test]
fn a_read_has_to_show_what_a_write_was_answered() {
    let known = Known::new();
    assert_eq!(known.expected(&step(Kind::List), ""), Expected::Changes(0));
    assert!(known.wrote(3, &created("pay_a", 1)));
    assert_eq!(known.expected(&step(Kind::List), ""), Expected::Changes(1));
    assert_eq!(known.expected(&step(Kind::Get), "pay_a"), Expected::Version(1));
    let refund = json!({ "payment": { "id": "pay_a", "version": 2 }, "merchant_changes": 2 }).to_string();
    assert!(known.wrote(3, refund.as_bytes()));
    assert_eq!(known.expected(&step(Kind::Get), "pay_a"), Expected::Version(2));
    assert_eq!(known.expected(&step(Kind::Get), "pay_000041"), Expected::Version(1));
    assert_eq!(known.expected(&step(Kind::Config), ""), Expected::Anything);
}

#[test]
fn an_answer_that_comes_late_takes_nothing_back() {
    let known = Known::new();
    assert!(known.wrote(3, &created("pay_b", 2)) && known.wrote(3, &created("pay_a", 1)));
    assert_eq!(known.expected(&step(Kind::List), ""), Expected::Changes(2));
}

#[test]
fn an_answer_to_a_write_without_its_numbers_is_none() {
    for body in ["", "{}", r#"{"id":"pay_a"}"#, r#"{"id":"pay_a","version":1}"#] {
        assert!(!Known::new().wrote(3, body.as_bytes()), "{body}");
    }
}

#[test]
fn a_payment_is_given_back_once_and_the_newest_are_kept() {
    let known = Known::new();
    for n in 0..6 {
        known.wrote(3, &created(&format!("pay_{n}"), n + 1));
    }
    assert_eq!(known.recent(3).as_deref(), Some("pay_5"));
    assert_eq!(known.recent(4), None);
    let taken: Vec<_> = std::iter::from_fn(|| known.take_refundable(3)).collect();
    assert_eq!(taken, ["pay_5", "pay_4", "pay_3", "pay_2"]);
}

#[test]
fn what_is_older_than_expected_is_stale() {
    let list = br#"{"data":[{"version":9}],"merchant_changes":12,"merchant_id":"mer_0003"}"#;
    for (expected, fresh) in [
        (Expected::Anything, true),
        (Expected::Changes(12), true),
        (Expected::Changes(13), false),
        (Expected::Version(9), true),
        (Expected::Version(10), false),
    ] {
        assert_eq!(is_fresh(list, expected), fresh, "{expected:?}");
    }
    assert!(!is_fresh(b"{}", Expected::Changes(0)), "an answer without the number shows nothing");
}

#[test]
fn one_foreign_row_makes_an_answer_foreign() {
    let of = |body: &str| is_of(body.as_bytes(), "mer_0003");
    assert!(of(r#"{"data":[{"merchant_id":"mer_0003"}],"merchant_id":"mer_0003"}"#));
    assert!(!of(r#"{"data":[{"merchant_id":"mer_0004"}],"merchant_id":"mer_0003"}"#));
    assert!(!of(r#"{"merchant_id":"mer_00031"}"#));
    assert!(!of("{}"), "one that names nobody is not known to be theirs");
}

#[test]
fn codings_that_were_asked_for_are_decoded() {
    let plain = Bytes::from("a payment ".repeat(100));
    let encode = |coding| codec::encode(coding, 3, &plain).unwrap();
    let coded = [
        ("gzip", encode(Coding::Gzip), true),
        ("zstd", encode(Coding::Zstd), true),
        ("br", plain.to_vec(), false),
        ("gzip", b"not gzip".to_vec(), false),
    ];
    assert_eq!(decoded(&HeaderMap::new(), plain.clone()), Some(plain.clone()));
    for (name, body, good) in coded {
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(name))]);
        assert_eq!(decoded(&headers, body.into()), good.then(|| plain.clone()), "{name}");
    }
}
