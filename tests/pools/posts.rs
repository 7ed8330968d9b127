//! The 502 that cannot be sent again: a POST on a connection that the application closes in the same moment.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use super::{before, opened};
use crate::common::*;

const CLIENTS: usize = 250;
/// POSTs that a client sends between two silences.
const BURST: usize = 8;
/// After this much silence the application closes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads requests of one small body each and remembers nothing but their number.
fn impatient(posts: Arc<AtomicUsize>) -> Origin {
    Origin::serve(move |conn| {
        conn.stream.set_read_timeout(Some(PATIENCE));
        let mut buf = Vec::new();
        let mut part = [0; 4096];
        loop {
            match conn.stream.read(&mut part) {
                Ok(n @ 1..) => buf.extend_from_slice(&part[..n]),
                // Silence, or the proxy closed.
                _ => return,
            }
            while let Some(end) = buf.windows(4).position(|w| w == b"\r\n\r\n") {
                let body = if buf.starts_with(b"POST") { 4 } else { 0 };
                if buf.len() < end + 4 + body {
                    break;
                }
                posts.fetch_add(body / 4, Ordering::SeqCst);
                buf.drain(..end + 4 + body);
                if conn.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                    return;
                }
            }
        }
    })
}

/// The silence after a burst. In most rounds all are silent together, so that no connection is younger than that: for about
/// as long as the application waits, or as we do. In others each has its own pace.
fn gap(random: &mut fastrand::Rng, round: usize) -> Duration {
    let of = |random: &mut fastrand::Rng, from: u64, to: u64| Duration::from_micros(random.u64(from * 1000..to * 1000));
    let common = &mut fastrand::Rng::with_seed(round as u64);
    match round % 4 {
        0 | 2 => of(common, 1900, 2050) + of(random, 0, 50),
        1 => of(common, 900, 1050) + of(random, 0, 50),
        _ => of(random, 0, 2200),
    }
}

/// `OUTBOARD_POSTS=100000` for the whole of it.
#[test]
fn posts_meet_no_502() {
    let wanted: usize = std::env::var("OUTBOARD_POSTS").ok().and_then(|s| s.parse().ok()).unwrap_or(16_000);
    let rounds = wanted.div_ceil(CLIENTS * BURST);
    let posts = Arc::new(AtomicUsize::new(0));
    let origin = impatient(posts.clone());
    // Longer than the application waits, so that only the rule for unsafe methods stands between.
    let proxy = before(
        &[origin.to_string()],
        ", pool: { idle_timeout: 4s, max_connections: 1000 }",
        "logging: { access: { sample: 0% } }",
    );
    let started = Instant::now();
    let failed = Mutex::new(Vec::new());
    let together = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (proxy, together, failed) = (&proxy, &together, &failed);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed as u64);
                let mut client = Client::connect(proxy.addr("inbound"));
                for round in 0..rounds {
                    for n in 0..BURST {
                        let answer = client.post("/", b"body");
                        if answer.status != 200 {
                            failed.lock().unwrap().push(format!("round {round}, request {n}: {}", answer.text()));
                        }
                    }
                    // What may be asked again is, on whatever connection there is.
                    if random.u8(..) < 64 {
                        let answer = client.get("/");
                        if answer.status != 200 {
                            failed.lock().unwrap().push(format!("round {round}, GET: {}", answer.text()));
                        }
                    }
                    together.wait();
                    std::thread::sleep(gap(&mut random, round));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
    let sent = rounds * CLIENTS * BURST;
    assert_eq!(posts.load(Ordering::SeqCst), sent, "each arrived once");
    let resets = proxy.metric("outboard_attempts_total{outcome=\"reset\",upstream=\"app\"}");
    println!(
        "{sent} POSTs in {:.0?}: no 502, each seen once; {} connections opened, {resets} GETs asked again",
        started.elapsed(),
        opened(&proxy)
    );
}
