//! What encoding a payments answer of 10 KB costs with each coder and level, and how long it is then; what negotiating costs.

#![allow(clippy::expect_used, clippy::print_stdout)] // A measurement ends where it cannot measure.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use flate2::{Compress, Compression, FlushCompress};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use outboard::codec::{Decoder, Encoder, decode, encode};
use outboard::policy::compression::{Accepts, Coding, Exchange, Rules, Settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 27 payments.
const BODY: &[u8] = include_bytes!("payments.json");
/// As an application sends them.
const CHUNK: usize = 1024;

const LEVELS: &[(Coding, &[u32])] = &[
    (Coding::Gzip, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    (Coding::Br, &[2, 3, 4, 5, 6]),
    (Coding::Zstd, &[1, 2, 3, 4, 5, 6, 9]),
];

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    group
}

/// Its name with its length and the share of the body's.
fn named(name: &str, length: usize) -> String {
    format!("{name}, {length} B, {:.3}", length as f64 / BODY.len() as f64)
}

fn whole(c: &mut Criterion) {
    let mut group = group(c, "whole");
    for (coding, levels) in LEVELS {
        for level in *levels {
            let length = encode(*coding, *level, BODY).expect("encodes").len();
            group.bench_function(named(&format!("{} {level}", coding.as_str()), length), |b| {
                b.iter(|| encode(*coding, *level, black_box(BODY)))
            });
        }
    }
}

/// What was not chosen: zlib-ng, and Rust's brotli with the window that it takes by itself.
fn others(c: &mut Criterion) {
    let mut group = group(c, "whole, not chosen");
    for level in [1, 2, 6] {
        let mut coder = Compress::new_gzip(Compression::new(level), 15);
        let mut run = move || {
            let mut out = Vec::with_capacity(BODY.len());
            coder.reset();
            coder.compress_vec(black_box(BODY), &mut out, FlushCompress::Finish).expect("encodes");
            out
        };
        group.bench_function(named(&format!("zlib-ng {level}"), run().len()), |b| b.iter(&mut run));
    }
    for (level, window) in [(4, 22), (5, 16)] {
        let run = || {
            let mut out = Vec::with_capacity(BODY.len());
            let params = brotli::enc::BrotliEncoderParams {
                quality: level,
                lgwin: window,
                size_hint: BODY.len(),
                ..Default::default()
            };
            brotli::BrotliCompress(&mut black_box(BODY), &mut out, &params).expect("encodes");
            out
        };
        group.bench_function(named(&format!("br {level}, window 2^{window}"), run().len()), |b| b.iter(run));
    }
}

fn streamed(coding: Coding, level: u32, flush: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let mut encoder = Encoder::new(coding, level).expect("a coder");
    for chunk in BODY.chunks(CHUNK) {
        encoder.write(black_box(chunk), &mut out).expect("encodes");
        if flush {
            encoder.flush(&mut out).expect("encodes");
        }
    }
    encoder.finish(&mut out).expect("encodes");
    out
}

fn in_pieces(c: &mut Criterion) {
    let mut group = group(c, "in pieces of 1 KiB");
    for (coding, level) in [(Coding::Gzip, 1), (Coding::Gzip, 6), (Coding::Br, 4), (Coding::Zstd, 3)] {
        for (flush, how) in [(false, "kept"), (true, "each flushed")] {
            let length = streamed(coding, level, flush).len();
            group.bench_function(named(&format!("{} {level}, {how}", coding.as_str()), length), |b| {
                b.iter(|| streamed(coding, level, flush))
            });
        }
    }
}

fn decoding(c: &mut Criterion) {
    let mut group = group(c, "decode");
    for (coding, level) in [(Coding::Gzip, 6), (Coding::Br, 4), (Coding::Zstd, 3)] {
        let body = encode(coding, level, BODY).expect("encodes");
        group.bench_function(coding.as_str(), |b| b.iter(|| decode(coding, black_box(&body), 1 << 20)));
        group.bench_function(format!("{}, a new decoder alone", coding.as_str()), |b| b.iter(|| Decoder::new(coding)));
    }
}

fn negotiation(c: &mut Criterion) {
    let mut group = group(c, "negotiation");
    for line in [None, Some("gzip"), Some("gzip, deflate, br, zstd"), Some("br;q=1.0, gzip;q=0.8, *;q=0.1")] {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("api.example.com"));
        headers.insert("user-agent", HeaderValue::from_static("a client"));
        if let Some(line) = line {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        group.bench_function(line.unwrap_or("no Accept-Encoding"), |b| {
            b.iter(|| Accepts::of(black_box(&headers)).choose(black_box(&Coding::ALL)))
        });
    }
    let rules = Rules::new(&Settings::default());
    let (request, mut response) = (HeaderMap::new(), HeaderMap::new());
    response.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.insert("date", HeaderValue::from_static("Wed, 25 Nov 2026 20:00:00 GMT"));
    let exchange = Exchange {
        method: &Method::GET,
        path: "/v1/payments",
        request: &request,
        status: StatusCode::OK,
        response: &response,
        length: Some(9930),
    };
    assert_eq!(rules.skip(&exchange), None);
    group.bench_function("rules, nothing speaks against it", |b| b.iter(|| rules.skip(black_box(&exchange))));
}

criterion_group!(benches, whole, others, in_pieces, decoding, negotiation);
criterion_main!(benches);
