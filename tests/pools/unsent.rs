//! What an application of HTTP/2 says it did not begin with is sent again, and nothing else that may not be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
        assert_eq!(proxy.access_line("/")["upstream_sent"], "all");
    }
}
