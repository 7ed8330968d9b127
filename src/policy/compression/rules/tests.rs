use http::HeaderValue;

use super::*;
use crate::units::Size;

type Fields<'a> = &'a [(&'static str, &'static str)];

fn headers(fields: Fields<'_>) -> HeaderMap {
    fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).fold(
        HeaderMap::new(),
        |mut map, (name, value)| {
            map.append(name, value);
            map
        },
    )
}

/// A GET of /v1/payments with this answer.
fn skip(
    settings: &Settings,
    request: Fields<'_>,
    status: u16,
    response: Fields<'_>,
    length: Option<u64>,
) -> Option<Skip> {
    Rules::new(settings).skip(&Exchange {
        method: &Method::GET,
        path: "/v1/payments",
        request: &headers(request),
        status: StatusCode::from_u16(status).unwrap(),
        response: &headers(response),
        length,
    })
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn an_answer_that_no_rule_speaks_against_is_encoded() {
    let settings = Settings::default();
    for status in [200, 201, 404, 500] {
        assert_eq!(skip(&settings, &[], status, &[JSON], Some(1024)), None);
    }
    assert_eq!(skip(&settings, &[], 200, &[JSON], None), None, "of unknown length");
    let fields = &[JSON, ("content-encoding", "identity"), ("cache-control", "max-age=5, private")];
    assert_eq!(skip(&settings, &[("cache-control", "no-cache")], 200, fields, Some(5000)), None);
}

#[test]
fn each_rule_has_its_reason() {
    let cases: &[(Fields<'_>, u16, Fields<'_>, Option<u64>, Skip)] = &[
        (&[], 101, &[JSON], None, Skip::NoBody),
        (&[], 204, &[JSON], None, Skip::NoBody),
        (&[], 205, &[JSON], None, Skip::NoBody),
        (
            &[],
            200,
            &[JSON, ("cache-control", "max-age=5"), ("cache-control", "public , No-Transform")],
            None,
            Skip::NoTransform,
        ),
        (&[("cache-control", "no-transform")], 200, &[JSON], None, Skip::NoTransform),
        (&[], 200, &[JSON, ("content-encoding", "gzip")], None, Skip::Encoded),
        (&[], 200, &[JSON, ("content-encoding", "something")], None, Skip::Encoded),
        (&[], 206, &[JSON], None, Skip::Partial),
        (&[], 416, &[JSON, ("content-range", "bytes */5000")], None, Skip::Partial),
        (&[], 200, &[JSON, ("signature", "sig1=:YWJj:")], None, Skip::Signed),
        (&[("cookie", "a=b")], 200, &[JSON], None, Skip::Cookie),
        (&[], 200, &[JSON, ("set-cookie", "a=b")], None, Skip::Cookie),
        (&[], 200, &[], None, Skip::NoType),
        (&[], 200, &[("content-type", "image/png")], None, Skip::Type),
        (&[], 200, &[("content-type", "")], None, Skip::Type),
        (&[], 200, &[JSON], Some(1023), Skip::Small),
        (&[], 200, &[JSON], Some(0), Skip::Small),
        (&[], 304, &[JSON], None, Skip::NotModified),
        (&[], 304, &[], None, Skip::NotModified),
        (&[], 304, &[("content-type", "image/png")], None, Skip::Type),
    ];
    for (request, status, response, length, reason) in cases {
        let found = skip(&Settings::default(), request, *status, response, *length);
        assert_eq!(found, Some(*reason), "{request:?} {status} {response:?}");
    }
}

#[test]
fn head_varies_only_where_get_would_be_encoded() {
    let rules = Rules::new(&Settings::default());
    let none = HeaderMap::new();
    let head = |response: &HeaderMap| {
        let x = Exchange {
            method: &Method::HEAD,
            path: "/",
            request: &none,
            status: StatusCode::OK,
            response,
            length: Some(5000),
        };
        rules.skip(&x)
    };
    assert_eq!(head(&headers(&[JSON])), Some(Skip::Head));
    assert_eq!(head(&headers(&[("content-type", "image/png")])), Some(Skip::Type));
    let varies: Vec<Skip> = [Skip::NoBody, Skip::Encoded, Skip::Cookie, Skip::Small, Skip::NotModified, Skip::Head]
        .into_iter()
        .filter(|s| s.varies())
        .collect();
    assert_eq!(varies, [Skip::NotModified, Skip::Head]);
}

#[test]
fn types_are_compared_without_case_and_parameters() {
    let types = |value: &'static str| skip(&Settings::default(), &[], 200, &[("content-type", value)], None).is_none();
    for listed in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json ;charset=utf-8",
        "text/plain",
        "TEXT/html",
        "text/event-stream",
        "image/svg+xml",
    ] {
        assert!(types(listed), "{listed}");
    }
    for other in
        ["application/jsonp", "application/json5; a=application/json", "text", "textual/plain", "image/svg", "/", "*/*"]
    {
        assert!(!types(other), "{other}");
    }
}

#[test]
fn paths_are_excluded_as_patterns_of_paths_take_them() {
    let exclude_paths = ["/health", "/files/{*rest}", "/v1/{merchant}/logo"].map(String::from).to_vec();
    let rules = Rules::new(&Settings { exclude_paths, ..Settings::default() });
    for path in ["/health", "/files/", "/files/a", "/files/a/b", "/v1/mer_1/logo"] {
        assert!(rules.excludes(path), "{path}");
    }
    for path in [
        "/",
        "/health/",
        "/healthy",
        "/files",
        "/filesystem",
        "/v1/files/a",
        "/v1//logo",
        "/v1/a/b/logo",
        "/v1/a/logo/",
    ] {
        assert!(!rules.excludes(path), "{path}");
    }
    assert!(Rules::new(&Settings { exclude_paths: vec!["/{*all}".into()], ..Settings::default() }).excludes("/"));
}

#[test]
fn the_guard_against_breach_can_be_left_out_and_sizes_can_be_any() {
    let settings = Settings { breach_guard: false, min_size: Size::from_bytes(0), ..Settings::default() };
    assert_eq!(skip(&settings, &[("cookie", "a=b")], 200, &[JSON, ("set-cookie", "c=d")], Some(0)), None);
}
