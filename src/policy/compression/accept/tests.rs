use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use Coding::{Br, Gzip, Zstd};

fn of(lines: &[&str]) -> Accepts {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(ACCEPT_ENCODING, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    Accepts::of(&headers)
}

#[test]
fn the_greatest_weight_wins_and_the_servers_order_decides_among_equals() {
    let cases: &[(&str, Option<Coding>)] = &[
        ("gzip, deflate, br, zstd", Some(Zstd)),
        ("gzip, deflate, br", Some(Br)),
        ("gzip", Some(Gzip)),
        ("GZip", Some(Gzip)),
        ("x-gzip", Some(Gzip)),
        ("gzip;q=1.0, br;q=0.9, zstd;q=0.999", Some(Gzip)),
        ("gzip;q=0.2,br;q=0.21", Some(Br)),
        ("gzip ; q=0.5\t,\tbr ;q=0.4", Some(Gzip)),
        ("br;q=0.001", Some(Br)),
        ("*", Some(Zstd)),
        ("*;q=0.5, gzip", Some(Gzip)),
        ("zstd;q=0, *", Some(Br)),
        ("gzip, *;q=0", Some(Gzip)),
        ("deflate", None),
        ("deflate, compress;q=0.5", None),
        ("identity", None),
        ("", None),
        (",, ,", None),
        ("gzip;q=0", None),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("identity;q=0, gzip;q=0.1", Some(Gzip)),
        ("identity, gzip", Some(Gzip)),
        ("identity;q=0.6, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
        ("identity;q=0.5, *;q=0.1", None),
    ];
    for (line, chosen) in cases {
        assert_eq!(of(&[line]).choose(&[Zstd, Br, Gzip]), *chosen, "{line:?}");
    }
    assert_eq!(of(&["gzip, br, zstd"]).choose(&[Gzip, Zstd]), Some(Gzip));
    assert_eq!(of(&["br"]).choose(&[Gzip, Zstd]), None, "one that is not offered");
    assert_eq!(of(&["br"]).choose(&[]), None);
}

#[test]
fn who_does_not_ask_is_not_answered_encoded_but_takes_what_the_application_sends() {
    let accepts = of(&[]);
    assert_eq!(accepts, Accepts::UNASKED);
    assert_eq!(accepts.choose(&Coding::ALL), None);
    assert!(Coding::ALL.into_iter().all(|coding| accepts.takes(coding)));
    assert!(accepts.takes_identity());

    let empty = of(&[""]);
    assert!(!Coding::ALL.into_iter().any(|coding| empty.takes(coding)));
    assert!(empty.takes_identity());
}

#[test]
fn the_identity_is_acceptable_unless_it_is_excluded() {
    for (line, taken) in [
        ("gzip", true),
        ("identity;q=0", false),
        ("identity;q=0.000", false),
        ("*;q=0", false),
        ("*;q=0, identity", true),
        ("identity;q=0.001, *;q=0", true),
        ("*;q=0.1", true),
        ("IDENTITY;Q=0", false),
    ] {
        assert_eq!(of(&[line]).takes_identity(), taken, "{line:?}");
    }
}

#[test]
fn several_lines_are_one_list() {
    assert_eq!(of(&["gzip", "br"]), of(&["gzip, br"]));
    assert_eq!(of(&["gzip;q=0.5", "identity;q=0", "*;q=0.1"]), of(&["gzip;q=0.5, identity;q=0, *;q=0.1"]));
    assert_eq!(of(&["", "gzip"]), of(&["gzip"]));
}

#[test]
fn a_member_that_is_malformed_is_ignored() {
    for weight in
        ["q", "q=", "q=2", "q=1.001", "q=0.1234", "q=-1", "q=.5", "q= 1", "q =1", "q=1e0", "x=1", "q=1;x=1", ""]
    {
        let accepts = of(&[&format!("gzip;{weight}, br")]);
        assert!(!accepts.takes(Gzip) && accepts.takes(Br), "{weight:?}");
    }
    for weight in ["q=1", "q=1.", "q=1.0", "q=1.000", "Q=1", " q=1 "] {
        assert_eq!(of(&[&format!("gzip;{weight}")]), of(&["gzip"]), "{weight:?}");
    }
    assert!(!of(&["gz ip, \"gzip\", gzip=1, gzip/2"]).takes(Gzip));
}

#[test]
fn of_a_coding_named_twice_the_lower_weight_counts() {
    assert!(!of(&["gzip, gzip;q=0"]).takes(Gzip));
    assert!(!of(&["gzip;q=0", "gzip"]).takes(Gzip));
    assert_eq!(of(&["gzip;q=0.5, x-gzip"]), of(&["gzip;q=0.5"]));
    assert_eq!(of(&["*, *;q=0.5"]), of(&["*;q=0.5"]));
}

proptest! {
    /// What it says is what a plain reading of the list says.
    #[test]
    fn any_list_is_read_as_it_stands(
        members in prop::collection::vec((prop::sample::select(vec!["gzip", "br", "zstd", "identity", "*", "deflate"]), 0u16..=1000), 0..8),
        order in Just(Coding::ALL.to_vec()).prop_shuffle(),
    ) {
        let text: Vec<String> = members.iter().map(|(name, q)| format!("{name};q={}.{:03}", q / 1000, q % 1000)).collect();
        let accepts = of(&[&text.join(", ")]);
        let lowest = |name: &str| members.iter().filter(|(n, _)| *n == name).map(|(_, q)| *q).min();
        let of_coding = |c: Coding| lowest(c.as_str()).or(lowest("*")).unwrap_or(0);
        for coding in Coding::ALL {
            prop_assert_eq!(accepts.takes(coding), of_coding(coding) > 0);
        }
        let chosen = accepts.choose(&order);
        let greatest = order.iter().map(|c| of_coding(*c)).max().unwrap_or(0);
        match chosen {
            Some(chosen) => {
                prop_assert_eq!(of_coding(chosen), greatest);
                prop_assert!(greatest > 0 && lowest("identity").is_none_or(|q| q <= greatest));
                prop_assert_eq!(order.iter().find(|c| of_coding(**c) == greatest), Some(&chosen));
            }
            None => prop_assert!(greatest == 0 || lowest("identity").is_some_and(|q| q > greatest)),
        }
    }

    #[test]
    fn no_bytes_make_it_fail(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3)) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(ACCEPT_ENCODING, value);
            }
        }
        let accepts = Accepts::of(&headers);
        if let Some(chosen) = accepts.choose(&Coding::ALL) {
            prop_assert!(accepts.takes(chosen));
        }
    }
}
