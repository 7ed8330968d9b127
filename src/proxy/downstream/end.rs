//! The end of an answer: what a coder still holds, trailers, the last chunk.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use super::coder::Coded;
use super::{Coder, Downstream, Framing, Gone};
use crate::policy::compression::head::is_digest;

impl Downstream<'_> {
    /// Ready when the answer has ended and, on HTTP/1, every byte of it was handed to the socket.
    pub(in crate::proxy) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Option<HeaderMap>,
    ) -> Poll<Result<(), Gone>> {
        if let Some(coder) = self.coder.take() {
            if let Some(trailers) = trailers {
                without_digests(trailers);
            }
            self.end_coder(cx, coder)?;
        }
        ready!(self.poll_window(cx))?;
        if !self.ended {
            self.ended = true;
            match &mut self.h2 {
                Some(stream) => {
                    let ended = match trailers.take() {
                        Some(trailers) => stream.send_trailers(trailers),
                        None => stream.send_data(Bytes::new(), true),
                    };
                    ended.map_err(|_| Gone)?;
                }
                None if self.framing == Framing::Chunked => {
                    if let Some(conn) = self.conn() {
                        conn.send(b"0\r\n\r\n");
                    }
                }
                None => {}
            }
        }
        match self.conn() {
            Some(conn) => conn.poll_sent(cx, 0).map_err(|_| Gone),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes what a coder still holds; with it the head, where it was held back for its length.
    fn end_coder(&mut self, cx: &mut Context<'_>, coder: Coder) -> Result<(), Gone> {
        let coded = coder.end();
        match self.checked(coded)? {
            Coded::Rest(rest) => self.write_plain(cx, rest),
            Coded::Whole { head, route, body } => {
                self.write_head(head, &route.response_headers, false)?;
                self.write_plain(cx, body)
            }
        }
    }
}

/// They speak of the bytes as the application has them.
fn without_digests(trailers: &mut HeaderMap) {
    let digests: Vec<_> = trailers.keys().filter(|name| is_digest(name)).cloned().collect();
    for name in digests {
        trailers.remove(name);
    }
}
