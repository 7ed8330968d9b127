//! What an application of HTTP/2 says it did not begin with is sent again, and nothing else that may not be.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use h2::Reason;

use super::before;
use crate::common::*;

/// Resets the first `count` requests for this reason, and answers the others.
fn resetting(count: usize, reason: Reason) -> H2Origin {
    let left = Arc::new(AtomicUsize::new(count));
    H2Origin::serve(move |request, mut respond| {
        let left = left.clone();
        async move {
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                respond.send_reset(reason);
                return;
            }
            let length = http2_origin::read(&mut request.into_body()).await.len();
            let mut send = respond.send_response(http::Response::new(()), false).unwrap();
            let _ = send.send_data(length.to_string().into(), true);
        }
    })
}

fn behind(origin: &H2Origin) -> Proxy {
    before(&[origin.to_string()], ", protocol: h2c", "")
}

#[test]
fn a_refused_stream_is_sent_again_whatever_its_method() {
    let origin = resetting(1, Reason::REFUSED_STREAM);
    let proxy = behind(&origin);
    let answer = Client::connect(proxy.addr("inbound")).post("/", b"body");
    assert_eq!((answer.status, answer.text().as_str()), (200, "4"));
    assert_eq!(origin.count(), 2);
    assert_eq!(proxy.access_line("/")["attempts"], 2);
    // Once, and no more.
    let origin = resetting(9, Reason::REFUSED_STREAM);
    let proxy = behind(&origin);
    let answer = Client::connect(proxy.addr("inbound")).post("/", b"body");
    assert_eq!((answer.status, answer.reason(), origin.count()), (502, "upstream_reset", 2));
    assert_eq!(proxy.access_line("/")["upstream_sent"], "none", "the application did not see it");
}

#[test]
fn a_body_that_streamed_is_not_sent_again() {
    let origin = resetting(1, Reason::REFUSED_STREAM);
    let proxy = behind(&origin);
    let answer = Client::connect(proxy.addr("inbound")).post("/", &vec![b'x'; 200_000]);
    assert_eq!((answer.status, answer.reason(), origin.count()), (502, "upstream_reset", 1));
}

#[test]
fn a_stream_that_broke_is_not_sent_again() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL] {
        let origin = resetting(1, reason);
        let proxy = behind(&origin);
        let answer = Client::connect(proxy.addr("inbound")).post("/", b"body");
        assert_eq!((answer.status, answer.reason(), origin.count()), (502, "upstream_reset", 1));
        assert_ne!(proxy.access_line("/")["upstream_sent"], "none");
    }
}

/// Speaks HTTP/2, and says goodbye (GOAWAY) to a connection that is silent for so long, as nginx does: at once.
fn impatient(patience: Duration) -> (SocketAddr, Arc<AtomicUsize>, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = answered.clone();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let Ok(mut h2) = h2::server::handshake(stream).await else { return };
                loop {
                    match tokio::time::timeout(patience, h2.accept()).await {
                        Ok(Some(Ok((request, mut respond)))) => {
                            let counter = counter.clone();
                            tokio::spawn(async move {
                                http2_origin::read(&mut request.into_body()).await;
                                counter.fetch_add(1, Ordering::SeqCst);
                                let _ = respond.send_response(http::Response::new(()), true);
                            });
                        }
                        Ok(_) => return,
                        Err(_) => h2.abrupt_shutdown(Reason::NO_ERROR),
                    }
                }
            });
        }
    });
    (address, answered, runtime)
}

#[test]
fn posts_meet_no_502_over_http2_either() {
    const CLIENTS: usize = 40;
    const ROUNDS: usize = 12;
    let (address, answered, _runtime) = impatient(Duration::from_millis(500));
    let proxy = before(
        &[address.to_string()],
        ", protocol: h2c, pool: { reuse_for_unsafe: 250ms }",
        "logging: { access: { sample: 0% } }",
    );
    let together = Barrier::new(CLIENTS);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (proxy, together, failed) = (&proxy, &together, &failed);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed as u64);
                let mut client = Client::connect(proxy.addr("inbound"));
                for round in 0..ROUNDS {
                    for _ in 0..4 {
                        let answer = client.post("/", b"body");
                        if answer.status != 200 {
                            failed.lock().unwrap().push(format!("round {round}: {}", answer.text()));
                        }
                    }
                    together.wait();
                    // All are silent together, for about as long as the application waits.
                    let common = fastrand::Rng::with_seed(round as u64).u64(494_000..502_000);
                    std::thread::sleep(Duration::from_micros(common + random.u64(..4_000)));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
    assert_eq!(answered.load(Ordering::SeqCst), CLIENTS * ROUNDS * 4, "each was answered once");
    println!("{} connections opened", super::opened(&proxy));
}
