//! One answer, stored and served: hits, conditions, ranges, HEAD, and who is no part of it.

use super::*;

#[test]
fn the_second_is_served_from_memory() {
    let origin = numbered("Cache-Control: max-age=60\r\nETag: \"one\"\r\nX-App: 1\r\n");
    let proxy = start(&origin, "");
    let first = ask(&proxy, "/a?b=1", &[]);
    assert_eq!((first.status, first.text().as_str(), first.header("age")), (200, "0", None));
    assert_eq!(status(&first), "outboard; fwd=uri-miss; stored");
    let mut kept = Client::connect(proxy.addr("inbound"));
    for _ in 0..3 {
        let again = kept.get("/a?b=1");
        assert_eq!((again.status, again.text().as_str()), (200, "0"));
        assert_eq!((again.header("etag"), again.header("x-app")), (Some("\"one\""), Some("1")));
        assert_eq!(again.header_all("content-length"), ["1"]);
        assert_eq!(again.header_all("date").len(), 1);
        assert!(again.header("age").unwrap().parse::<u32>().unwrap() < 10);
        assert!(status(&again).starts_with("outboard; hit; ttl="), "{again:?}");
    }
    assert_eq!((origin.count(), results(&proxy, "miss"), results(&proxy, "hit")), (1, 1.0, 3.0));
    assert_eq!((ask(&proxy, "/a?b=2", &[]).text(), ask(&proxy, "/a", &[]).text()), ("1".into(), "2".into()));
    assert_eq!(proxy.metric("outboard_cache_objects"), 3.0);
    // Every request of a route is counted as one, whoever answered it.
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    assert_eq!(proxy.metric("outboard_requests_total{method=\"GET\",route=\"all\",status=\"2xx\"}"), 6.0);
}

#[test]
fn a_stated_age_counts() {
    let origin = numbered("Cache-Control: max-age=60\r\nAge: 50\r\n");
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/", &[]).header("age"), Some("50"));
    let age: u32 = ask(&proxy, "/", &[]).header("age").unwrap().parse().unwrap();
    assert!((50..60).contains(&age), "{age}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn head_is_answered_from_a_stored_get_and_stores_nothing_itself() {
    let origin = scripted(|head, _| {
        let whole = minute("twelve bytes");
        Some(if head.method == "HEAD" { whole.trim_end_matches("twelve bytes").to_owned() } else { whole })
    });
    let proxy = start(&origin, "");
    assert_eq!(ask_by(&proxy, "HEAD", "/", &[]).status, 200);
    assert_eq!((ask(&proxy, "/", &[]).text().as_str(), origin.count()), ("twelve bytes", 2));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("HEAD", "/", &[], b"");
    let head = client.try_read_response("HEAD").unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("12")));
    assert_eq!(client.get("/").text(), "twelve bytes", "no byte of a body came behind HEAD");
    assert_eq!(origin.count(), 2);
}

#[test]
fn who_has_it_gets_304_from_memory() {
    let fields = "Cache-Control: max-age=60\r\nETag: \"one\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                  Vary: X-A\r\nX-App: 1\r\n";
    let origin = numbered(fields);
    let proxy = start(&origin, "");
    ask(&proxy, "/", &[]);
    let mut client = Client::connect(proxy.addr("inbound"));
    for (name, value, expected) in [
        ("If-None-Match", "\"one\"", 304),
        ("If-None-Match", "W/\"one\"", 304),
        ("If-None-Match", "\"two\", \"one\"", 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"two\"", 200),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
    ] {
        client.request("GET", "/", &[(name, value)], b"");
        let answer = client.read_response();
        assert_eq!(answer.status, expected, "{name}: {value}");
        assert_eq!((answer.header("etag"), answer.header("vary")), (Some("\"one\""), Some("X-A")), "{name}: {value}");
        assert_eq!(answer.body.len(), usize::from(expected == 200), "{name}: {value}");
    }
    // If-None-Match decides alone where both are there.
    let both = [("If-None-Match", "\"two\""), ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")];
    assert_eq!(ask(&proxy, "/", &both).status, 200);
    assert_eq!(ask_by(&proxy, "HEAD", "/", &[("If-None-Match", "\"one\"")]).status, 304);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_condition_is_judged_on_a_miss_too_and_the_whole_is_stored() {
    let origin = numbered("Cache-Control: max-age=60\r\nETag: \"one\"\r\n");
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/", &[("If-None-Match", "\"one\"")]).status, 304);
    assert_eq!(origin.requests()[0].header("if-none-match"), None, "the whole was asked for");
    assert_eq!((ask(&proxy, "/", &[]).text().as_str(), origin.count()), ("0", 1));
}

#[test]
fn parts_are_served_from_a_stored_whole() {
    let whole = "0123456789abcdefghij";
    let origin = scripted(move |_, _| {
        Some(answer(200, "Cache-Control: max-age=60\r\nETag: \"e\"\r\nContent-Type: text/plain\r\n", whole))
    });
    let proxy = start(&origin, "");
    ask(&proxy, "/", &[]);
    let part = |headers: &[(&str, &str)]| {
        let answer = ask(&proxy, "/", headers);
        (answer.status, answer.header("content-range").map(str::to_owned), answer.text())
    };
    let one = |range: &str| part(&[("Range", range)]);
    let of = |range: &str| Some(format!("bytes {range}/20"));
    assert_eq!(one("bytes=0-3"), (206, of("0-3"), "0123".into()));
    assert_eq!(one("bytes=-2"), (206, of("18-19"), "ij".into()));
    assert_eq!(one("bytes=15-"), (206, of("15-19"), "fghij".into()));
    assert_eq!(one("bytes=15-99"), (206, of("15-19"), "fghij".into()));
    assert_eq!(one("bytes=20-"), (416, Some("bytes */20".into()), String::new()));
    assert_eq!(one("lines=0-3"), (200, None, whole.into()));
    assert_eq!(one("bytes=5-3"), (200, None, whole.into()));
    let conditional = |tag: &str| part(&[("Range", "bytes=0-3"), ("If-Range", tag)]);
    assert_eq!(conditional("\"e\"").0, 206);
    assert_eq!(conditional("\"f\""), (200, None, whole.into()));
    assert_eq!(conditional("W/\"e\"").0, 200, "only a strong tag holds");
    let answer = ask(&proxy, "/", &[("Range", "bytes=0-1, 4-5")]);
    let kind = answer.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect(kind);
    let text = answer.text();
    assert_eq!((answer.status, text.matches(&format!("--{boundary}")).count()), (206, 3), "{text}");
    for (range, bytes) in [("0-1", "01"), ("4-5", "45")] {
        let there = format!("Content-Range: bytes {range}/20\r\n\r\n{bytes}\r\n").to_lowercase();
        assert!(text.to_lowercase().contains(&there), "{text}");
    }
    // HEAD has no use for a range (RFC 9110, 14.2).
    assert_eq!(ask_by(&proxy, "HEAD", "/", &[("Range", "bytes=0-3")]).status, 200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_part_that_the_application_gave_is_not_taken_for_the_whole() {
    let origin = scripted(|head, number| match head.header("range") {
        Some(_) => Some(answer(206, "Cache-Control: max-age=60\r\nContent-Range: bytes 0-1/9\r\n", "pa")),
        None => Some(minute(&format!("whole {number}"))),
    });
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/", &[("Range", "bytes=0-1")]).text(), "pa");
    assert_eq!(ask(&proxy, "/", &[]).text(), "whole 1");
    assert_eq!((ask(&proxy, "/", &[("Range", "bytes=0-1")]).text().as_str(), origin.count()), ("wh", 2));
}

#[test]
fn only_if_cached_asks_nobody() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = start(&origin, "");
    let only = [("Cache-Control", "only-if-cached")];
    assert_eq!((ask(&proxy, "/", &only).status, origin.count()), (504, 0));
    ask(&proxy, "/", &[]);
    assert_eq!((ask(&proxy, "/", &only).status, origin.count()), (200, 1));
}

#[test]
fn what_a_request_says_of_its_own_answer_holds() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/", &[("Cache-Control", "no-store")]).text(), "0");
    assert_eq!((ask(&proxy, "/", &[]).text().as_str(), results(&proxy, "bypass")), ("1", 1.0), "it was not stored");
    assert_eq!(ask(&proxy, "/", &[("Cache-Control", "no-cache")]).text(), "2");
    assert_eq!(ask(&proxy, "/", &[]).text(), "2", "the newer one is stored");
    assert_eq!(ask(&proxy, "/", &[("Pragma", "no-cache")]).text(), "3");
    assert_eq!(ask(&proxy, "/", &[("Cache-Control", "min-fresh=600")]).text(), "4");
    assert_eq!(ask(&proxy, "/", &[("Cache-Control", "max-stale, max-age=50, min-fresh=5")]).text(), "4");
    // It may not be stored, and what is stored is not touched.
    assert_eq!((ask(&proxy, "/", &[("Cache-Control", "no-store")]).text(), origin.count()), ("5".into(), 6));
    assert_eq!(ask(&proxy, "/", &[]).text(), "4");
}

#[test]
fn a_get_with_a_body_and_other_methods_are_no_part_of_it() {
    let origin = numbered("Cache-Control: max-age=60\r\n");
    let proxy = start(&origin, "");
    assert_eq!(ask(&proxy, "/", &[]).text(), "0");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"which");
    assert_eq!(client.read_response().text(), "1");
    client.send("GET / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhich\r\n0\r\n\r\n");
    assert_eq!(client.read_response().text(), "2");
    assert_eq!(ask_by(&proxy, "OPTIONS", "/", &[]).text(), "3");
    assert_eq!(ask(&proxy, "/", &[]).text(), "0", "none of them replaced it");
    assert_eq!(client.post("/", b"new").text(), "4");
    assert_eq!(ask(&proxy, "/", &[]).text(), "5", "a change of the same URL ended it");
}

#[test]
fn http_1_0_clients_are_served_as_they_can_read() {
    let origin = Origin::answer(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let proxy = start(&origin, "");
    for number in 0..3 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.send("GET / HTTP/1.0\r\nHost: test.example\r\n\r\n");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{number}: {answer:?}");
        assert_eq!(answer.header("transfer-encoding"), None);
        await_stores(&proxy, "stored", 1.0);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_the_route_changes_in_answers_is_changed_in_hits_by_the_present_configuration() {
    let origin = numbered("Cache-Control: max-age=60\r\nServer: secret\r\nX-Mine: app\r\n");
    let text = |version: &str| {
        let change =
            format!("response: {{ set: {{ x-mine: \"{version}\" }}, add: {{ x-more: m }}, remove: [server] }}");
        yaml(&origin, &format!("routes: [{{ name: all, cache: {{}}, headers: {{ {change} }} }}]"))
    };
    let proxy = Proxy::start(&text("1"));
    for _ in 0..3 {
        let answer = ask(&proxy, "/", &[]);
        assert_eq!(answer.header_all("x-mine"), ["1"]);
        assert_eq!((answer.header_all("x-more"), answer.header("server")), (vec!["m"], None));
        assert_eq!(answer.text(), "0");
    }
    let not_modified = ask(&proxy, "/", &[("If-None-Match", "*")]);
    assert_eq!((not_modified.status, not_modified.header("server")), (304, None));
    proxy.write_config(&text("2"));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    assert_eq!(ask(&proxy, "/", &[]).header_all("x-mine"), ["2"], "a hit or not");
}

#[test]
fn early_hints_reach_who_asked_and_are_not_stored() {
    let answer = minute("answer");
    let origin = scripted(move |_, _| Some(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{answer}")));
    let proxy = start(&origin, "");
    let first = ask(&proxy, "/", &[]);
    let hints = |answer: &Response| {
        answer.informational.iter().map(|a| (a.status, a.header("link").map(str::to_owned))).collect::<Vec<_>>()
    };
    assert_eq!(hints(&first), [(103, Some("</a>".to_owned()))]);
    assert_eq!(
        (first.text().as_str(), first.header("link"), status(&first)),
        ("answer", None, "outboard; fwd=uri-miss; stored")
    );
    let again = ask(&proxy, "/", &[]);
    assert_eq!((again.text().as_str(), again.header("link"), hints(&again)), ("answer", None, vec![]));
    assert_eq!(origin.count(), 1);
}
