use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Spelling, request};
use super::*;

fn run(head: &[u8]) -> Result<Head, Refusal> {
    check(head, &Limits::default())
}

/// The reason a GET with these lines is refused for, if it is.
fn with(lines: &str) -> Option<Reason> {
    run(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).err().map(|r| r.reason)
}

/// The reason this request line is refused for, if it is.
fn line(line: &str) -> Option<Reason> {
    run(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).err().map(|r| r.reason)
}

fn host(value: &str) -> Option<Reason> {
    run(format!("GET / HTTP/1.1\r\nHost:{value}\r\n\r\n").as_bytes()).err().map(|r| r.reason)
}

const BAD: Option<Reason> = Some(Reason::BadRequest);

#[test]
fn an_ordinary_head_passes() {
    let head = b"POST /v1/payments?a=b HTTP/1.1\r\nHost: app.example:8080\r\nContent-Length: 12\r\nAccept:\r\nX-A: \tcaf\xc3\xa9 \r\n\r\n";
    assert_eq!(
        run(head).unwrap(),
        Head {
            safe: false,
            version_11: true,
            form: Form::Origin,
            body: Body::Length(12),
            expect_continue: false,
            upgrade: false,
            connection_close: false,
            headers: 4,
        }
    );
    assert_eq!(run(b"GET / HTTP/1.0\r\n\r\n").unwrap().body, Body::None);
    assert_eq!(with("Transfer-Encoding: \tChunked \r\n"), None);
}

#[test]
fn a_body_is_framed_in_one_way_or_refused() {
    assert_eq!(with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), BAD);
    assert_eq!(with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), BAD);
    assert_eq!(with("Content-Length: 3\r\nContent-Length: 3\r\n"), BAD);
    for value in ["", "+3", "-3", "3 4", "3,3", "3, 3", "0x3", "03", "18446744073709551616", "3;", "3.0", "\u{663}"] {
        assert_eq!(with(&format!("Content-Length: {value}\r\n")), BAD, "{value}");
    }
    assert_eq!(with("Content-Length: 18446744073709551615\r\n"), None);
    assert_eq!(with("Content-Length: 0\r\n"), None);
    assert_eq!(with("Content_Length: 3\r\n"), BAD);
    assert_eq!(with("transfer_encoding: chunked\r\n"), BAD);
}

#[test]
fn a_transfer_coding_is_chunked_alone() {
    for value in ["chunked, chunked", "identity, chunked", "", ",chunked", "chunked,", "chun ked", "\"chunked\""] {
        assert_eq!(with(&format!("Transfer-Encoding: {value}\r\n")), BAD, "{value}");
    }
    for value in ["gzip", "gzip, chunked", "identity", "xchunked", "chunked, gzip"] {
        assert_eq!(with(&format!("Transfer-Encoding: {value}\r\n")), Some(Reason::NotImplemented), "{value}");
    }
    assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), BAD);
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(run(old).unwrap_err().reason, Reason::BadRequest);
}

#[test]
fn a_line_is_a_token_a_colon_and_a_value_that_ends_with_crlf() {
    for lines in [
        "X-A : b\r\n",
        "X A: b\r\n",
        ": b\r\n",
        " X-A: b\r\n",
        "X-A: b\r\n c\r\n",
        "X-A: b\r\n\tc\r\n",
        "X-A\r\n",
        "X-A: b\n",
        "X-A: b\rc\r\n",
        "X-A: b\0\r\n",
        "X-A: b\x7f\r\n",
        "X-A: b\x01\r\n",
        "X(A): b\r\n",
        "X-\u{e4}: b\r\n",
        "\r\nX-A: b\r\n",
        "X-A: b\r\r\n",
        "X-A\t: b\r\n",
        "\0: b\r\n",
    ] {
        assert_eq!(with(lines), BAD, "{lines:?}");
    }
    assert_eq!(with("X-A: a\tb\r\n"), None);
}

#[test]
fn host_is_one_name_and_perhaps_a_port() {
    for value in [
        "",
        " ",
        " a b",
        " a,b",
        " u@a",
        " a/",
        " a?x",
        " a#x",
        " a:b",
        " a:123456",
        " a:65536",
        " a:1:2",
        " :80",
        " a\\b",
        " [::1",
        " [::1]80",
        " [x]:80",
        " [::1%25eth0]",
        " ::1",
        " a%41",
        " \u{e4}",
        " [v1.x]",
        " http://a",
        " *",
        " a;b",
    ] {
        assert_eq!(host(value), BAD, "{value:?}");
    }
    for value in
        [" a", "a", " a\t", " a:80", " a:", " 127.0.0.1:8080", " [::1]", " [2001:db8::1]:443", " a_b.c-d.", " A.B"]
    {
        assert_eq!(host(value), None, "{value:?}");
    }
    assert_eq!(with("Host: a\r\n"), BAD, "doubled");
    assert_eq!(run(b"GET / HTTP/1.1\r\n\r\n").unwrap_err().reason, Reason::BadRequest, "missing");
    assert!(run(b"GET / HTTP/1.0\r\n\r\n").is_ok());
    assert!(run(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n").is_err());
}

#[test]
fn a_request_line_is_three_words() {
    for bad in [
        "",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET",
        "GET / ",
        "GET\t/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET /<a> HTTP/1.1",
        "GET a HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTP/2",
        "GET / HTTPS/1.1",
        "GET / HTTP/1.x",
        "GET / HTTP/ 1.1",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET /\0 HTTP/1.1",
    ] {
        assert_eq!(line(bad), BAD, "{bad:?}");
    }
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "Http/1.0", "HTTP/3.0"] {
        assert_eq!(line(&format!("GET / {version}")), Some(Reason::VersionNotSupported), "{version}");
    }
    assert_eq!(line("CONNECT a:443 HTTP/1.1"), Some(Reason::NotImplemented));
    assert_eq!(line("CONNECT / HTTP/1.1"), Some(Reason::NotImplemented));
    assert_eq!(line("OPTIONS * HTTP/1.1"), None);
    assert_eq!(line("M-SEARCH /a;b=c/%20?x={y}|z HTTP/1.1"), None);
}

#[test]
fn an_absolute_target_agrees_with_host() {
    for target in ["http://a", "http://a/", "HTTP://A/b", "https://a/b?c", "http://a?c"] {
        assert_eq!(line(&format!("GET {target} HTTP/1.1")), None, "{target}");
    }
    for target in [
        "http://b/",
        "http://a:80/",
        "http://u@a/",
        "http:///",
        "http://",
        "ftp://a/",
        "a://a",
        "http:/a",
        "http://a\\b/",
    ] {
        assert_eq!(line(&format!("GET {target} HTTP/1.1")), BAD, "{target}");
    }
    assert!(run(b"GET http://a/ HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn a_head_has_limits() {
    let limits = Limits { max_target: 5, max_headers: 2 };
    let reason = |head: &str| check(head.as_bytes(), &limits).err().map(|r| r.reason);
    assert_eq!(reason("GET /abcd HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"), None);
    assert_eq!(reason("GET /abcde HTTP/1.1\r\nHost: a\r\n\r\n"), Some(Reason::UriTooLong));
    assert_eq!(reason("GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\n\r\n"), Some(Reason::HeaderTooLarge));
}

#[test]
fn what_the_client_asks_of_the_connection_is_told() {
    let get =
        |version: &str, lines: &str| run(format!("GET / {version}\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap();
    assert!(get("HTTP/1.1", "Expect: 100-Continue\r\n").expect_continue);
    assert!(!get("HTTP/1.0", "Expect: 100-continue\r\n").expect_continue);
    assert_eq!(with("Expect: 200-ok\r\n"), BAD);
    assert!(get("HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n").upgrade);
    assert!(!get("HTTP/1.1", "Upgrade: websocket\r\n").upgrade);
    assert!(!get("HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n").upgrade);
    assert!(get("HTTP/1.1", "Connection: foo,\tClose\r\n").connection_close);
    assert!(!get("HTTP/1.1", "Connection: closed\r\n").connection_close);
    assert!(get("HTTP/1.0", "").connection_close);
    assert!(!get("HTTP/1.0", "Connection: Keep-Alive\r\n").connection_close);
    assert!(get("HTTP/1.1", "").safe);
}

#[test]
fn the_end_is_found_however_the_bytes_arrive() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n";
    let end = head.len() - 8;
    for cut in 0..=head.len() {
        let first = find_end(&head[..cut], 0);
        assert_eq!(first, (cut >= end).then_some(end), "{cut}");
        if first.is_none() {
            assert_eq!(find_end(head, cut), Some(end), "{cut}");
        }
    }
    for bare in [&b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..], b"GET / HTTP/1.1\r\nHost: a\n\n", b"\nGET"] {
        let end = find_end(bare, 0).unwrap();
        assert!(run(&bare[..end]).is_err());
    }
    assert_eq!(skip_empty_line(b"\r\nGET"), 2);
    assert_eq!(skip_empty_line(b"\nGET"), 0);
    assert!(run(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
}

/// Heads that are nearly right: parts that are mostly good, put together, with a byte changed now and then.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "OPTIONS", "PURGE", "G T", "", "CONNECT"]);
    let target = prop_oneof!["/[!-~]{0,12}", Just("*".to_string()), Just("http://a/b".to_string()), "[ -~]{0,6}"];
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", ""]);
    let field = prop_oneof![
        Just("Host: a".to_string()),
        "Content-Length: [0-9+ ]{0,3}",
        prop::sample::select(vec!["Transfer-Encoding: chunked", "Connection: close", "Expect: 100-continue"])
            .prop_map(String::from),
        "[A-Za-z-]{1,8}:[ -~\t]{0,12}",
        "[ -~]{0,10}",
    ];
    let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (method, target, version, prop::collection::vec(field, 0..5), change).prop_map(|(m, t, v, fields, change)| {
        let mut head = format!("{m} {t} {v}\r\nHost: a\r\n").into_bytes();
        for field in fields.iter().filter(|f| !f.starts_with("Host")) {
            head.extend_from_slice(field.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        if let Some((at, byte)) = change {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    })
}

/// What `check` accepts, pingora's parser and the `http` types take as it stands, and see the same.
fn others_agree(head: &[u8], checked: &Head) {
    assert_eq!(find_end(head, 0), Some(head.len()));
    let mut storage = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut storage);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())));
    let text: Vec<&[u8]> = head.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).collect();
    let mut words = text[0].split(|b| *b == b' ');
    assert_eq!(request.method.unwrap().as_bytes(), words.next().unwrap());
    let target = request.path.unwrap();
    assert_eq!(target.as_bytes(), words.next().unwrap());
    assert_eq!(request.version, Some(u8::from(checked.version_11)));
    assert_eq!(request.headers.len(), checked.headers);
    for (header, line) in request.headers.iter().zip(&text[1..]) {
        let colon = line.iter().position(|b| *b == b':').unwrap();
        assert_eq!(header.name.as_bytes(), &line[..colon]);
        assert_eq!(trim(header.value), trim(&line[colon + 1..]));
        http::HeaderValue::from_bytes(header.value).unwrap();
    }
    target.parse::<http::Uri>().unwrap();
    let bytes = Bytes::copy_from_slice(head);
    let ours = request::read(&bytes, checked).expect("what passes can be read");
    assert_eq!((ours.method.as_str(), ours.raw_path()), (request.method.unwrap(), target.as_bytes()));
    let in_order = |fields: &mut Vec<(Vec<u8>, Vec<u8>)>| fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    let mut theirs = request.headers.iter().map(|h| (h.name.as_bytes().to_vec(), trim(h.value).to_vec())).collect();
    let (headers, mut ours) = (ours.headers.clone(), Vec::new());
    Spelling::of(bytes).each(&headers, |_, name, value| ours.push((name.to_vec(), value.as_bytes().to_vec())));
    in_order(&mut theirs);
    in_order(&mut ours);
    assert_eq!(ours, theirs);
    let count = |name: &str| request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name)).count();
    assert_eq!(checked.body == Body::Chunked, count("transfer-encoding") == 1);
    assert_eq!(matches!(checked.body, Body::Length(_)), count("content-length") == 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_accepted_head_is_read_the_same_by_others(head in heads()) {
        if let Ok(checked) = run(&head) {
            others_agree(&head, &checked);
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200), from in 0usize..300) {
        find_end(&bytes, from);
        if let Ok(checked) = run(&bytes) {
            others_agree(&bytes, &checked);
        }
    }
}
