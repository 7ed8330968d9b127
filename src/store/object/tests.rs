use super::*;
use crate::store::generations::{Generations, Kind};

const NAMES: &[u8] = b"accept-language";

/// An object of the host h, filed under its path, with a number as its life.
pub(in crate::store) fn object(
    generations: &Generations,
    path: &str,
    values: &str,
    body: &[u8],
    life: u32,
) -> Object<u32> {
    filed(generations, generations.now(), path, values, body, life)
}

pub(in crate::store) fn filed(
    generations: &Generations,
    filed_at: Moment,
    path: &str,
    values: &str,
    body: &[u8],
    life: u32,
) -> Object<u32> {
    let key = format!("https://h{path}");
    Object::new(Parts {
        key: key.as_bytes(),
        place: 8..key.len(),
        status: 200,
        head: b"Content-Type: text/plain\r\nETag: \"a\"\r\nLast-Modified: Wed, 25 Nov 2026 20:00:00 GMT\r\n",
        etag: Some(32..35),
        last_modified: Some(52..81),
        body: Bytes::copy_from_slice(body),
        selector: Selector { names: if values.is_empty() { b"" } else { NAMES }, values: values.as_bytes() },
        slots: &[generations.slot(Kind::Path, path.as_bytes()), generations.slot(Kind::Route, b"all")],
        filed_at,
        life,
        flags: 5,
    })
    .unwrap()
}

fn generations() -> Generations {
    Generations::new([1, 2])
}

#[test]
fn an_object_gives_back_what_it_was_made_of() {
    let generations = generations();
    // A body that lies behind the head, one that is copied into a buffer of its own, one that is kept as it is, none.
    for size in [10, 1024, 100_000, 0] {
        let body = vec![b'x'; size];
        let object = object(&generations, "/v1/payments", "de", &body, 7);
        assert_eq!(object.key(), b"https://h/v1/payments");
        assert_eq!(object.place(), b"h/v1/payments");
        assert_eq!(object.selector(), Selector { names: NAMES, values: b"de" });
        let slots = [generations.slot(Kind::Path, b"/v1/payments"), generations.slot(Kind::Route, b"all")];
        assert_eq!(object.slots().collect::<Vec<_>>(), slots);
        assert!(object.head().starts_with(b"Content-Type: ") && object.head().ends_with(b" GMT\r\n"));
        assert_eq!(object.etag(), Some(&b"\"a\""[..]));
        assert_eq!(object.last_modified(), Some(&b"Wed, 25 Nov 2026 20:00:00 GMT"[..]));
        assert_eq!((object.body(), &object.shared_body()[..]), (&body[..], &body[..]), "{size}");
        assert_eq!((object.status(), object.flags(), object.life()), (200, 5, 7));
        let payload = object.key().len() + object.head().len() + size;
        assert!(object.weight() >= payload as u64 && object.weight() <= 512 + payload as u64 * 5 / 4, "{size}");
    }
}

#[test]
fn a_form_is_added_and_everything_else_is_shared() {
    let generations = generations();
    let first = object(&generations, "/a", "", &[b'x'; 50_000], 7);
    for _ in 0..3 {
        first.hit();
    }
    let second = first.with_form(1, Bytes::from_static(b"encoded"));
    let third = second.with_form(2, Bytes::from_static(b"otherwise")).with_form(CODINGS, Bytes::from_static(b"none"));
    assert_eq!(first.form(1), None);
    assert_eq!(third.form(1).unwrap(), "encoded");
    assert_eq!(third.form(2).unwrap(), "otherwise");
    assert_eq!((third.form(0), third.form(CODINGS)), (None, None));
    assert_eq!((third.key(), third.head(), third.filed_at()), (first.key(), first.head(), first.filed_at()));
    assert_eq!(third.body().as_ptr(), first.body().as_ptr());
    assert_eq!(third.hits(), 3, "what was counted goes on");
    assert!(third.weight() >= first.weight() + 7 + 9);
}

#[test]
fn hits_are_counted_up_to_a_number() {
    let object = object(&generations(), "/a", "", b"", 0);
    assert_eq!((object.hit(), object.hit()), (1, 2));
    for _ in 0..1000 {
        object.hit();
    }
    assert_eq!((object.hit(), object.hits()), (MOST_HITS, MOST_HITS));
}

#[test]
fn a_range_that_lies_outside_makes_no_object() {
    let parts = Parts {
        key: b"key",
        place: 0..3,
        status: 200,
        head: b"A: b\r\n",
        etag: None,
        last_modified: None,
        body: Bytes::new(),
        selector: Selector::default(),
        slots: &[],
        filed_at: generations().now(),
        life: (),
        flags: 0,
    };
    assert!(Object::new(parts.clone()).is_some());
    assert!(Object::new(Parts { place: 0..4, ..parts.clone() }).is_none());
    assert!(Object::new(Parts { etag: Some(3..7), ..parts.clone() }).is_none());
    let backwards = std::ops::Range { start: 3, end: 2 };
    assert!(Object::new(Parts { last_modified: Some(backwards), ..parts }).is_none());
}

#[test]
fn sizes_are_rounded_as_allocators_do() {
    for (size, taken) in [(0, 0), (1, 16), (60, 64), (65, 80), (129, 160), (1024, 1024), (1025, 1280), (1292, 1536)] {
        assert_eq!(allocated(size), taken, "{size}");
    }
    assert!(is_better_joined(100, 20), "both fit where one does");
    assert!(!is_better_joined(292, 1024), "1316 bytes would take 1536");
    assert!(!is_better_joined(300, COPIED + 1));
}
