use proptest::prelude::*;

use super::*;

/// The whole body at once: how much of it was the body, or None if it was refused or did not end.
fn whole(bytes: &[u8]) -> Option<usize> {
    ChunkGuard::new().feed(bytes).ok().filter(|p| p.ended).map(|p| p.consumed)
}

/// A decoder written from RFC 9112 7.1 over the whole text, slow and plain: the data and the length of the body.
fn reference(bytes: &[u8]) -> Option<(u64, usize)> {
    let text: String = bytes.iter().map(|b| char::from(*b)).collect();
    let (mut at, mut data) = (0, 0u64);
    let chars: Vec<char> = text.chars().collect();
    let line = |at: usize| -> Option<(String, usize)> {
        let end = (at..chars.len().checked_sub(1)?).find(|i| chars[*i] == '\r' && chars[i + 1] == '\n')?;
        Some((chars[at..end].iter().collect(), end + 2))
    };
    loop {
        let (size_line, next) = line(at)?;
        let (size, extension) = size_line.split_at(size_line.find(';').unwrap_or(size_line.len()));
        if size.is_empty() || size.len() > 16 || !size.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let size = u64::from_str_radix(size, 16).ok().filter(|s| *s <= 1 << 40)?;
        if extension.chars().count() > 256 || extension.chars().any(|c| c != '\t' && !(' '..='~').contains(&c)) {
            return None;
        }
        at = next;
        if size == 0 {
            break;
        }
        at += size as usize;
        if chars.get(at) != Some(&'\r') || chars.get(at + 1) != Some(&'\n') {
            return None;
        }
        at += 2;
        data += size;
    }
    let trailers = at;
    loop {
        let (trailer, next) = line(at)?;
        if trailer.is_empty() {
            return (at - trailers <= 8192).then_some((data, next));
        }
        let (name, value) = trailer.split_once(':')?;
        if name.is_empty() || !name.bytes().all(|b| super::super::head::is_token(&[b])) {
            return None;
        }
        if value.chars().any(|c| c != '\t' && (c < ' ' || c == '\x7f')) {
            return None;
        }
        at = next;
    }
}

#[test]
fn a_body_ends_where_it_says() {
    for body in [
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "00A;x=\"y\"\r\n0123456789\r\n0;z\r\nX-A: b\r\nY:\r\n\r\n",
        "1;\r\na\r\n0\r\n\r\n",
    ] {
        assert_eq!(whole(body.as_bytes()), Some(body.len()), "{body:?}");
        assert_eq!(whole(format!("{body}GET /").as_bytes()), Some(body.len()), "{body:?}");
    }
    let mut guard = ChunkGuard::new();
    assert!(guard.feed(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap().ended);
    assert_eq!(guard.data(), 5);
    assert_eq!(guard.feed(b"x").unwrap(), Progress { consumed: 0, ended: true });
}

#[test]
fn what_could_be_cut_in_two_places_is_refused() {
    for body in [
        "\r\n",
        "+3\r\nabc\r\n",
        "-0\r\n",
        "0x3\r\nabc\r\n",
        " 3\r\n",
        "3 \r\n",
        "3\n",
        "3\r\r\n",
        "g\r\n",
        ";x\r\n",
        "00000000000000001\r\n",
        "10000000001\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "3\r\nabc\r0",
        "1;a\nb\r\n",
        "1;a\x01\r\n",
        "1;a\rb\n",
        "0\r\n X: a\r\n",
        "0\r\nX: a\r\n b\r\n",
        "0\r\nX : a\r\n",
        "0\r\nX\r\n",
        "0\r\n: a\r\n",
        "0\r\nX: a\n",
        "0\r\n\rX",
    ] {
        let mut guard = ChunkGuard::new();
        assert!(guard.feed(body.as_bytes()).is_err(), "{body:?}");
        assert!(guard.feed(b"0\r\n\r\n").is_err(), "refused for ever: {body:?}");
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = |bytes: usize| whole(format!("0;{}\r\n\r\n", "x".repeat(bytes - 1)).as_bytes());
    assert!(extension(256).is_some());
    assert!(extension(257).is_none());
    let trailer = |bytes: usize| whole(format!("0\r\nX:{}\r\n\r\n", "x".repeat(bytes - 4)).as_bytes());
    assert!(trailer(8192).is_some());
    assert!(trailer(8193).is_none());
    assert_eq!(whole(b"10000000000\r\n"), None);
    assert!(ChunkGuard::new().feed(b"10000000000\r\nabc").is_ok(), "2^40 is the largest chunk");
}

/// Bodies that are nearly right.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (
        "[0-9]{0,12}",
        prop::option::weighted(0.2, "[ -~]{0,8}"),
        prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n"]),
    );
    let trailer = prop_oneof!["[A-Za-z]{1,4}: [ -~]{0,8}", "[ -~]{0,6}"];
    let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (prop::collection::vec(chunk, 0..4), prop::collection::vec(trailer, 0..2), change).prop_map(
        |(chunks, trailers, change)| {
            let mut body = String::new();
            for (data, extension, end) in chunks.iter().filter(|c| !c.0.is_empty()) {
                let extension = extension.as_ref().map(|e| format!(";{e}")).unwrap_or_default();
                body += &format!("{:x}{extension}{end}{data}\r\n", data.len());
            }
            body += "0\r\n";
            for trailer in trailers {
                body += &format!("{trailer}\r\n");
            }
            let mut body = (body + "\r\nGET / HTTP/1.1\r\n\r\n").into_bytes();
            if let Some((at, byte)) = change {
                let at = at.index(body.len());
                body[at] = byte;
            }
            body
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_reference_decoder_agrees(body in bodies()) {
        let mut guard = ChunkGuard::new();
        let ours = guard.feed(&body).ok().filter(|p| p.ended).map(|p| (guard.data(), p.consumed));
        prop_assert_eq!(ours, reference(&body));
    }

    #[test]
    fn where_the_bytes_are_split_does_not_matter(body in bodies(), steps in prop::collection::vec(1usize..7, 1..20)) {
        let at_once = ChunkGuard::new().feed(&body);
        let mut guard = ChunkGuard::new();
        let (mut at, mut steps) = (0, steps.iter().cycle());
        let in_parts = loop {
            let take = steps.next().unwrap().min(&(body.len() - at)).to_owned();
            match guard.feed(&body[at..at + take]) {
                Err(refusal) => break Err(refusal),
                Ok(p) => at += p.consumed,
            }
            if at == body.len() || guard.state == State::Ended {
                break Ok(Progress { consumed: at, ended: guard.state == State::Ended });
            }
        };
        prop_assert_eq!(in_parts, at_once);
    }
}
