//! What the head guard and the matcher cost a request; the matcher has to cost the same with 10 and with 10,000 routes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use outboard::http1::head::{self, Limits};
use outboard::route::matcher::{Found, Matcher, Request, Rule};
use outboard::route::path::check_path;

/// So many routes: a resource each, by its id, for GET and POST.
fn routes(count: usize) -> Vec<Rule> {
    (0..count)
        .map(|i| Rule {
            name: format!("r{i}"),
            listener: Some(0),
            path: Some(format!("/v1/resource{}/{{id}}", i / 2)),
            methods: vec![if i % 2 == 0 { "GET" } else { "POST" }.into()],
            ..Rule::default()
        })
        .collect()
}

fn matcher(c: &mut Criterion) {
    for count in [10, 10_000] {
        let matcher = Matcher::new(&routes(count)).unwrap_or_default();
        let path = format!("/v1/resource{}/pay_0123456789", count / 2 - 1);
        let headers = HeaderMap::new();
        let request = Request {
            listener: 0,
            host: Some("app.example.com"),
            path: &path,
            method: &Method::POST,
            headers: &headers,
            query: None,
        };
        assert_eq!(matcher.find(&request), Found::Route(count - 1));
        c.bench_function(&format!("find among {count} routes"), |b| b.iter(|| matcher.find(black_box(&request))));
        let missing = Request { path: "/v2/nothing/here", ..request };
        c.bench_function(&format!("find nothing among {count}"), |b| b.iter(|| matcher.find(black_box(&missing))));
    }
    c.bench_function("check_path", |b| b.iter(|| check_path(black_box("/v1/resource12/pay_0123456789"), false)));
}

fn guard(c: &mut Criterion) {
    let small: &[u8] = b"GET /v1/payments/pay_0123456789?expand=card HTTP/1.1\r\nHost: app.example.com:8080\r\n\
        User-Agent: bench/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, br\r\n\r\n";
    let large = [
        &small[..small.len() - 2],
        b"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U\r\n",
        b"X-Merchant-Id: mer_0001\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
        b"Content-Type: application/json\r\nContent-Length: 412\r\nIdempotency-Key: 3f0c1d0a-9f7c-4b5e-8a39-0f8a6a1b2c3d\r\n",
        b"Connection: keep-alive\r\nCache-Control: no-cache\r\n\r\n",
    ]
    .concat();
    for (name, bytes) in [("small", small), ("large", &large)] {
        assert!(head::check(bytes, &Limits::default()).is_ok());
        c.bench_function(&format!("guard a {name} head of {} bytes", bytes.len()), |b| {
            b.iter(|| (head::find_end(black_box(bytes), 0), head::check(black_box(bytes), &Limits::default())))
        });
    }
}

criterion_group!(benches, matcher, guard);
criterion_main!(benches);
