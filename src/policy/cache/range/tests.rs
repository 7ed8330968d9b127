use proptest::prelude::*;

use super::*;

#[test]
fn what_is_asked_for() {
    let one = |start, end| Wanted::One(start..end);
    for (field, length, expected) in [
        ("bytes=0-1", 11, one(0, 2)),
        ("bytes=1-", 11, one(1, 11)),
        ("bytes=-1", 11, one(10, 11)),
        ("bytes=-100", 11, one(0, 11)),
        ("bytes=0-99999999999999999999999", 11, one(0, 11)),
        ("bytes=10-10", 11, one(10, 11)),
        ("Bytes = 0-1", 11, Wanted::Whole),
        ("BYTES=0-1", 11, one(0, 2)),
        ("bytes= 0-1 , ", 11, one(0, 2)),
        ("bytes=,,0-1", 11, one(0, 2)),
        ("bytes=11-", 11, Wanted::Unsatisfiable),
        ("bytes=99999999999999999999999-", 11, Wanted::Unsatisfiable),
        ("bytes=-0", 11, Wanted::Unsatisfiable),
        ("bytes=0-", 0, Wanted::Unsatisfiable),
        ("bytes=-5", 0, Wanted::Unsatisfiable),
        ("bytes=11-12,0-1", 11, one(0, 2)),
        ("bytes=0-1,5-6", 11, Wanted::Several(vec![0..2, 5..7])),
        ("bytes=5-6, -1, 0-0", 11, Wanted::Several(vec![5..7, 10..11, 0..1])),
        ("bytes=0-1,1-2", 11, Wanted::Whole),
        ("bytes=0-,-1", 11, Wanted::Whole),
        ("bytes=0-1,0-1", 11, Wanted::Whole),
        (
            "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14",
            20,
            Wanted::Several((0..8).map(|n| 2 * n..2 * n + 1).collect()),
        ),
        ("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16", 20, Wanted::Whole),
        ("bytes=90-,91-,92-,93-,94-,95-,96-,97-,98-", 20, Wanted::Whole),
        ("bytes=1-0", 11, Wanted::Whole),
        ("bytes=0-1,x", 11, Wanted::Whole),
        ("bytes=-", 11, Wanted::Whole),
        ("bytes=", 11, Wanted::Whole),
        ("bytes", 11, Wanted::Whole),
        ("bytes=1", 11, Wanted::Whole),
        ("bytes=--1", 11, Wanted::Whole),
        ("bytes=+0-1", 11, Wanted::Whole),
        ("bytes=0x0-1", 11, Wanted::Whole),
        ("lines=0-1", 11, Wanted::Whole),
        ("", 11, Wanted::Whole),
    ] {
        assert_eq!(wanted(field.as_bytes(), length), expected, "{field} of {length}");
    }
}

#[test]
fn how_it_is_answered() {
    assert_eq!(content_range(&(0..2), 11), "bytes 0-1/11");
    assert_eq!(unsatisfied(11), "bytes */11");
    assert_eq!(slice(b"01234567890", &(9..11)), b"90");
    assert_eq!(slice(b"0", &(9..11)), b"");
    assert_eq!(multipart_type("x"), "multipart/byteranges; boundary=x");
    let body = multipart(b"01234567890", &[0..2, 9..11], Some(b"text/plain"), "=b=");
    let expected = "\r\n--=b=\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/11\r\n\r\n01\
        \r\n--=b=\r\ncontent-type: text/plain\r\ncontent-range: bytes 9-10/11\r\n\r\n90\r\n--=b=--\r\n";
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    let body = multipart(b"01", &[1..2, 0..1], None, "b");
    let expected =
        "\r\n--b\r\ncontent-range: bytes 1-1/2\r\n\r\n1\r\n--b\r\ncontent-range: bytes 0-0/2\r\n\r\n0\r\n--b--\r\n";
    assert_eq!(String::from_utf8(body).unwrap(), expected);
}

proptest! {
    #[test]
    fn every_part_lies_within_and_apart(set in "(([0-9]{0,2}-[0-9]{0,2}),?){0,10}", length in 0u64..100) {
        let parts = match wanted(format!("bytes={set}").as_bytes(), length) {
            Wanted::Whole | Wanted::Unsatisfiable => Vec::new(),
            Wanted::One(part) => vec![part],
            Wanted::Several(parts) => parts,
        };
        prop_assert!(parts.len() <= MOST_PARTS);
        for (at, part) in parts.iter().enumerate() {
            prop_assert!(part.start < part.end && part.end <= length);
            prop_assert!(parts[..at].iter().all(|other| other.end <= part.start || part.end <= other.start));
        }
    }

    #[test]
    fn nothing_makes_it_panic(field: Vec<u8>, length: u64) {
        wanted(&field, length);
    }
}
