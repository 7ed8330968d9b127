use std::future::poll_fn;
use std::pin::Pin;

use tokio::io::AsyncRead;
use tokio::net::UnixStream;

use super::*;

/// A connection whose other end is read by the test, with socket buffers that hold less than what waits in ours.
async fn narrow() -> (Conn, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    socket2::SockRef::from(&ours).set_send_buffer_size(8 << 10).unwrap();
    (Conn::clear(Socket::from(ours)), theirs)
}

#[tokio::test]
async fn a_reader_that_never_catches_up_does_not_make_the_buffer_grow() {
    let (conn, mut peer) = narrow().await;
    let chunk = [7u8; 16 << 10];
    for _ in 0..500 {
        conn.send(&chunk);
        poll_fn(|cx| {
            // The peer takes a little, and only while more than this waits.
            while conn.poll_sent(cx, 48 << 10).map(Result::unwrap).is_pending() {
                let mut read = [0; 4 << 10];
                ready!(Pin::new(&mut peer).poll_read(cx, &mut ReadBuf::new(&mut read))).unwrap();
            }
            Poll::Ready(())
        })
        .await;
    }
    let held = conn.inner.lock().waiting.capacity();
    assert!(held <= 512 << 10, "{held} bytes are held after 8 MiB went through");
}
