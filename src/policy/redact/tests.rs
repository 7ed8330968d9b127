use proptest::prelude::*;

use super::*;

fn redact(line: &str) -> String {
    let mut out = Vec::new();
    Redactor::new(&Settings::default()).redact_line(line.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

/// Each line becomes the one beside it, and stays so.
fn becomes(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(redact(line), *expected, "{line}");
        assert_eq!(redact(expected), *expected, "again");
    }
}

#[test]
fn card_numbers_keep_first_six_and_last_four() {
    becomes(&[
        ("4111111111111111", "411111******1111"),
        ("pan=x 4111111111111111, 378282246310005.", "pan=[redacted] 411111******1111, 378282*****0005."),
        ("a4111111111111111b", "a411111******1111b"),
        ("4111 1111 1111 1111", "4111 11** **** 1111"),
        ("4111-1111-1111-1111", "4111-11**-****-1111"),
        ("3782-822463-10005", "3782-82****-*0005"),
        ("/x?q=4111%201111%201111%201111&y", "/x?q=4111%2011**%20****%201111&y"),
        ("/x?q=4111+1111+1111+1111&y", "/x?q=4111+11**+****+1111&y"),
        ("/x?q=%224111111111111111%22", "/x?q=%22411111******1111%22"),
        (r#"{"a":"\u0022378282246310005"}"#, r#"{"a":"\u0022378282*****0005"}"#),
        ("12345678901234567890", "123456**********7890"),
        ("4111111111111111=2512", "411111******1111=2512"),
        ("200 4111111111111111 12", "200 411111******1111 12"),
        ("000000000000", "000000**0000"),
    ]);
}

#[test]
fn what_is_no_card_number_is_left_alone() {
    for line in [
        "4111111111111112",
        "1763600000123",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "2025-11-20T19:27:00.123456789Z",
        "4111111111111111".get(..11).unwrap(),
        "4111  1111  1111  1111",
        "3f0c1d0a-9f7c-4b5e-8a39-0f8a6a1b2c3d",
        r#"{"time":"2025-11-20T19:27:00.123Z","route":"list","status":200,"bytes":5324,"duration_us":1250,"upstream":"app"}"#,
        "10.0.0.1:8080 -> 127.0.0.1:3000",
        "a4111111111111111b411111111111c0",
        "",
    ] {
        assert_eq!(redact(line), line);
    }
}

#[test]
fn listed_headers_lose_their_values() {
    becomes(&[
        ("Authorization: Bearer abc", "Authorization: [redacted]"),
        (
            "GET / HTTP/1.1\r\nCookie: a=\"b\"; c=d\r\nAccept: x\r\n",
            "GET / HTTP/1.1\r\nCookie: [redacted]\r\nAccept: x\r\n",
        ),
        (r#"b"authorization: Bearer x\r\naccept: y\r\n""#, r#"b"authorization: [redacted]\r\naccept: y\r\n""#),
        (
            r#"buf: GET / HTTP/1.1\r\nX-Api-Key: x\"y\r\n\r\n"#,
            r#"buf: GET / HTTP/1.1\r\nX-Api-Key: [redacted]\r\n\r\n"#,
        ),
        (r#"{"authorization": "Bearer x", "host": "a"}"#, r#"{"authorization": "[redacted]", "host": "a"}"#),
        (r#"{"cookie":"a=\"b\"; c=d","host":"a"}"#, r#"{"cookie":"[redacted]","host":"a"}"#),
        (r#"{"cookie":"a\\","host":"a"}"#, r#"{"cookie":"[redacted]","host":"a"}"#),
        (r#"{"m":"{\"cookie\":\"a=b\",\"x\":1}"}"#, r#"{"m":"{\"cookie\":\"[redacted]\",\"x\":1}"}"#),
        (r#"{"m":"cookie: a=b","x":1}"#, r#"{"m":"cookie: [redacted]","x":1}"#),
        (r#"{"m":"cookie: a=\"b\"","x":1}"#, r#"{"m":"cookie: [redacted]","x":1}"#),
        (r#"{"set-cookie":["a=b","c=]d"],"x":1}"#, r#"{"set-cookie":[redacted],"x":1}"#),
        (r#"{"idempotency-key":12,"x":1}"#, r#"{"idempotency-key":[redacted],"x":1}"#),
        (r#"x_api_key="a b" status=200"#, r#"x_api_key="[redacted]" status=200"#),
        ("IDEMPOTENCY-KEY=abc", "IDEMPOTENCY-KEY=[redacted]"),
        ("Cookie:", "Cookie:"),
        ("no cookie here", "no cookie here"),
    ]);
}

#[test]
fn listed_parameters_lose_their_values() {
    becomes(&[
        ("GET /a?card=4&x=1 HTTP/1.1", "GET /a?card=[redacted]&x=1 HTTP/1.1"),
        (r#"{"path":"/a?x=1&Token=abc","status":200}"#, r#"{"path":"/a?x=1&Token=[redacted]","status":200}"#),
        ("/a?discard=1&cards=2&x.card=3", "/a?discard=1&cards=2&x.card=3"),
        ("/a?p%61ssword=x%26y#z", "/a?p%61ssword=[redacted]#z"),
        ("/a?to=%2Fb%3Ftoken%3Dabc%26x%3D1&y", "/a?to=%2Fb%3Ftoken%3D[redacted]%26x%3D1&y"),
        (r#"{"m":"{\"q\":\"card=1\"}"}"#, r#"{"m":"{\"q\":\"card=[redacted]\"}"}"#),
        ("/a?card=&x", "/a?card=&x"),
        ("card: visa", "card: visa"),
    ]);
}

#[test]
fn credentials_are_told_by_their_scheme() {
    becomes(&[
        ("got Bearer eyJhbGci.eyJ-_.x~+/= from", "got Bearer [redacted] from"),
        ("x: basic dTpw", "x: basic [redacted]"),
        (r#""X-Forwarded-Authorization": "BEARER abc""#, r#""X-Forwarded-Authorization": "BEARER [redacted]""#),
        ("?auth=Bearer%20abc&x=1", "?auth=Bearer%20[redacted]&x=1"),
        (r"\nBearer abc", r"\nBearer [redacted]"),
        ("forbearer abc, Bearer", "forbearer abc, Bearer"),
    ]);
}

#[test]
fn a_query_and_a_name_are_judged_alone() {
    let redactor = Redactor::new(&Settings::default());
    assert!(matches!(redactor.redact_query("a=b&c"), Cow::Borrowed("a=b&c")));
    assert_eq!(redactor.redact_query("cvv=123&a=\u{e4}"), "cvv=[redacted]&a=\u{e4}");
    assert!(redactor.is_secret_header("Authorization") && redactor.is_secret_header("x_api_key"));
    assert!(!redactor.is_secret_header("card") && !redactor.is_secret_header("accept"));
    let off = Redactor::new(&Settings { card_numbers: false, headers: vec![], query: vec![] });
    assert_eq!(off.redact_query("card=4111111111111111"), "card=4111111111111111");
}

/// A number of so many digits with the right Luhn sum.
fn card() -> impl Strategy<Value = String> {
    prop::collection::vec(0u32..10, 11..19).prop_map(|mut digits| {
        let sum: u32 =
            digits.iter().rev().enumerate().map(|(i, d)| if i % 2 == 0 { d / 5 + d * 2 % 10 } else { *d }).sum();
        digits.push((10 - sum % 10) % 10);
        digits.iter().map(u32::to_string).collect()
    })
}

fn luhn(digits: &str) -> bool {
    let doubled = |i: usize, d: u32| if i % 2 == 1 { d / 5 + d * 2 % 10 } else { d };
    digits.chars().rev().enumerate().filter_map(|(i, c)| Some(doubled(i, c.to_digit(10)?))).sum::<u32>() % 10 == 0
}

/// The digits in groups of these sizes.
fn grouped(card: &str, sizes: &[usize], separator: &str) -> String {
    let (mut rest, mut groups, mut sizes) = (card, Vec::new(), sizes.iter().cycle());
    while !rest.is_empty() {
        let (group, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        groups.push(group);
        rest = after;
    }
    groups.join(separator)
}

/// A piece of a line that is no secret.
fn harmless() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z\":,{} /?&=.-]{0,12}",
        Just("\\r\\n".to_string()),
        Just("%22".to_string()),
        Just("status\":200,".to_string())
    ]
}

/// One of the ways a head is written in a log.
fn rendered(name: &str, value: &str, how: usize) -> String {
    let head = format!("GET /a HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\nAccept: x\r\n\r\n");
    match how {
        0 => head,
        1 => format!("{:?}", head),
        2 => format!("b\"{}\"", head.escape_default()),
        3 => head.escape_default().to_string(),
        4 => serde_json::json!({ "time": "t", name: value, "status": 200 }).to_string(),
        5 => serde_json::json!({ "message": serde_json::json!({ name: value }).to_string() }).to_string(),
        6 => format!(
            "{:?}",
            http::HeaderMap::<String>::from_iter([(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.to_string()
            )])
        ),
        7 => serde_json::json!({ "message": format!("failed: {head:?}"), "x": 1 }).to_string(),
        8 => serde_json::json!({ "headers": { name: [value, value] } }).to_string(),
        _ => format!("{name}={value:?} x=1"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_card_number_survives(card in card(), sizes in prop::collection::vec(1usize..7, 1..4), separator in prop::sample::select(vec!["", " ", "-", "+", "%20", "%2D"]), before in harmless(), after in harmless()) {
        let line = format!("{before}{}{after}", grouped(&card, &sizes, separator));
        let out = redact(&line);
        let digits: String = out.replace("%22", "").replace("%20", "").replace("%2D", "").chars().filter(char::is_ascii_digit).collect();
        prop_assert!(!digits.contains(&card), "{} became {}", line, out);
    }

    #[test]
    fn no_valid_run_is_left_in_any_digits(line in "[0-9 a%-]{0,80}") {
        let out = redact(&line);
        for run in out.split(|c: char| !c.is_ascii_digit()) {
            prop_assert!(!(12..=19).contains(&run.len()) || !luhn(run), "{}", out);
            prop_assert!(run.len() < 20);
        }
        prop_assert_eq!(redact(&out), out);
    }

    #[test]
    fn no_secret_header_survives(name in prop::sample::select(vec!["authorization", "Cookie", "Set-Cookie", "x-api-key", "IDEMPOTENCY-KEY"]), value in "[!-~]{0,4}[ ;=\"\\\\a-z]{0,4}S3CR3T[ ;=,:\"\\\\a-z]{0,4}S3CR3T[!-~]{0,4}", how in 0usize..10) {
        let out = redact(&rendered(name, &value, how));
        prop_assert!(!out.contains("S3CR3T"), "{}", out);
        prop_assert_eq!(redact(&out), out);
    }

    #[test]
    fn no_secret_parameter_survives(name in prop::sample::select(vec!["card", "Token", "api_key", "p%61n"]), value in "[!$%()*+,./0-9:;=?@A-Z_a-z~-]{0,4}S3CR3T[!$%()*+,./0-9:;=?@A-Z_a-z~-]{0,4}", before in "[?&]|a=b&|%26") {
        let target = format!("/a?x=1{before}{name}={value}&y=2");
        for line in [format!("GET {target} HTTP/1.1"), format!("{target:?}"), serde_json::json!({ "path": target, "x": 1 }).to_string()] {
            let out = redact(&line);
            prop_assert!(!out.contains("S3CR3T"), "{}", out);
            prop_assert!(out.contains("y=2"), "{}", out);
            prop_assert_eq!(redact(&out), out);
        }
    }

    #[test]
    fn a_line_without_secrets_is_unchanged(words in prop::collection::vec("[a-z]{1,8}", 0..6), status in 100u32..600, bytes in 0u32..1000000, trace in "[0-9a-e]{31}f", uuid in "[0-9a-e]{8}-[0-9a-e]{4}-4[0-9a-e]{3}-a[0-9a-e]{3}-[0-9a-e]{12}") {
        let line = serde_json::json!({ "time": "2025-11-20T19:27:00.123456Z", "route": words, "path": format!("/v1/{}", words.join("/")), "status": status, "bytes": bytes, "trace_id": trace, "request_id": uuid }).to_string();
        prop_assert_eq!(redact(&line), line);
    }

    #[test]
    fn any_line_without_quotes_is_redacted_once(line in "([a-c =:%&\\[\\],0-9\r\n]|card|cookie|Bearer |%3D|%20|4111111111111111){0,20}") {
        let out = redact(&line);
        prop_assert_eq!(redact(&out), out.clone(), "{:?} became {:?}", line, out);
    }
}
