//! Reads a body as it is framed, with as little copying as can be: what is handed on is a part of what was read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::chunked::ChunkGuard;
use super::head;

/// As much is read at once, at most.
const READ: usize = 64 << 10;

/// Where the length is not known, room for so much is made.
const READ_UNKNOWN: usize = 16 << 10;

/// As long as there is room for so much, no more is made: parts that come one by one lie in one buffer, and hold no more than
/// they are long where they are kept.
const LEAST: usize = 4 << 10;

/// Why a body does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The peer left before its end.
    Closed,
    /// It is not what it says, or is framed in a way that two could read in two ways.
    Malformed,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Body(State);

#[derive(Debug)]
enum State {
    /// So many bytes are left, not 0.
    Length(u64),
    Chunked(ChunkGuard),
    /// All that comes until the peer ends its side.
    UntilEnd,
    Ended,
    Broken(Broken),
}

impl Body {
    /// A body at its first byte.
    pub(super) fn new(framing: head::Body) -> Self {
        Body(match framing {
            head::Body::None | head::Body::Length(0) => State::Ended,
            head::Body::Length(length) => State::Length(length),
            head::Body::Chunked => State::Chunked(ChunkGuard::new()),
        })
    }

    /// The body of an answer at its first byte: chunks may have spaces behind their size.
    pub(super) fn chunked_answer() -> Self {
        Body(State::Chunked(ChunkGuard::lenient()))
    }

    /// What comes until the peer ends its side, at its first byte.
    pub(super) fn until_end() -> Self {
        Body(State::UntilEnd)
    }

    /// Whether there is none, or all of it was read.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.0, State::Ended)
    }

    /// Reads a part; none at its end. `ahead` was read from `stream` before, and holds afterwards what came behind the body.
    ///
    /// # Errors
    /// Where it does not go on, this time and each time after.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut impl AsyncRead>,
        ahead: &mut BytesMut,
    ) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if let Some(part) = self.take(ahead) {
                if self.is_done() && ahead.is_empty() {
                    // The answer may take long, and needs no room of it.
                    *ahead = BytesMut::new();
                }
                return Poll::Ready(part);
            }
            let room = match self.0 {
                State::Length(left) => usize::try_from(left).unwrap_or(READ).min(READ),
                _ => READ_UNKNOWN,
            };
            if ahead.capacity() - ahead.len() < room.min(LEAST) {
                ahead.reserve(room);
            }
            match (ready!(poll_read_buf(stream.as_mut(), cx, ahead)), &self.0) {
                (Ok(1..), _) => {}
                (Ok(0), State::UntilEnd) => self.0 = State::Ended,
                _ => self.0 = State::Broken(Broken::Closed),
            }
        }
    }

    /// What is at hand; none where more has to be read.
    fn take(&mut self, ahead: &mut BytesMut) -> Option<Result<Option<Bytes>, Broken>> {
        match &mut self.0 {
            State::Ended => return Some(Ok(None)),
            State::Broken(broken) => return Some(Err(*broken)),
            _ if ahead.is_empty() => return None,
            State::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(ahead.len());
                *left -= length as u64;
                if *left == 0 {
                    self.0 = State::Ended;
                }
                return Some(Ok(Some(ahead.split_to(length).freeze())));
            }
            State::UntilEnd => return Some(Ok(Some(ahead.split().freeze()))),
            State::Chunked(guard) => match guard.next(ahead) {
                Ok(part) => {
                    ahead.advance(part.framing);
                    if part.data > 0 {
                        return Some(Ok(Some(ahead.split_to(part.data).freeze())));
                    }
                    if part.ended {
                        self.0 = State::Ended;
                        return Some(Ok(None));
                    }
                }
                Err(_) => {
                    self.0 = State::Broken(Broken::Malformed);
                    return Some(Err(Broken::Malformed));
                }
            },
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    /// Each read gives the next piece; then the peer has left.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let mut piece = self.0.pop_front().unwrap_or_default();
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Reads all of a body that comes in these pieces: its data, and what stood behind it.
    fn read(framing: head::Body, pieces: &[&[u8]]) -> (Result<Vec<u8>, Broken>, Vec<u8>) {
        let mut stream = Pieces(pieces.iter().skip(1).map(|piece| piece.to_vec()).collect());
        let mut ahead = BytesMut::from(pieces.first().copied().unwrap_or_default());
        let mut body = Body::new(framing);
        let mut data = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let end = loop {
            match body.poll(&mut cx, Pin::new(&mut stream), &mut ahead) {
                Poll::Ready(Ok(Some(part))) => {
                    assert!(!part.is_empty());
                    data.extend_from_slice(&part);
                }
                Poll::Ready(Ok(None)) => break Ok(data),
                Poll::Ready(Err(broken)) => {
                    let again = body.poll(&mut cx, Pin::new(&mut stream), &mut ahead);
                    assert_eq!(again, Poll::Ready(Err(broken)));
                    break Err(broken);
                }
                Poll::Pending => panic!("it waits for what does not come"),
            }
        };
        assert_eq!(body.is_done(), end.is_ok());
        (end, ahead.to_vec())
    }

    #[test]
    fn what_stands_behind_a_body_stays_there() {
        let length = head::Body::Length(5);
        assert_eq!(read(length, &[b"helloGET"]), (Ok(b"hello".to_vec()), b"GET".to_vec()));
        assert_eq!(read(length, &[b"", b"he", b"lloGET"]), (Ok(b"hello".to_vec()), b"GET".to_vec()));
        let chunks = b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\nGET";
        assert_eq!(read(head::Body::Chunked, &[chunks]), (Ok(b"hello".to_vec()), b"GET".to_vec()));
        for none in [head::Body::None, head::Body::Length(0)] {
            assert_eq!(read(none, &[b"GET"]), (Ok(Vec::new()), b"GET".to_vec()));
        }
    }

    /// Who keeps parts counts how long they are: what they hold in memory is to be no more.
    #[test]
    fn parts_that_come_one_by_one_lie_in_one_buffer() {
        for framing in [head::Body::Length(8_000), head::Body::Chunked] {
            let piece = if framing == head::Body::Chunked { b"2\r\nhi\r\n".to_vec() } else { b"hi".to_vec() };
            let mut stream = Pieces(std::iter::repeat_n(piece, 1_000).collect());
            let (mut body, mut ahead) = (Body::new(framing), BytesMut::new());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut kept = Vec::new();
            while let Poll::Ready(Ok(Some(part))) = body.poll(&mut cx, Pin::new(&mut stream), &mut ahead) {
                kept.push(part);
            }
            assert_eq!(kept.len(), 1_000);
            let at: Vec<usize> = kept.iter().map(|part| part.as_ptr() as usize).collect();
            let far = at.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 16).count();
            assert!(far <= 1, "{far} of them lie apart");
        }
    }

    #[test]
    fn a_body_that_does_not_end_is_an_error() {
        assert_eq!(read(head::Body::Length(5), &[b"he", b"ll"]).0, Err(Broken::Closed));
        assert_eq!(read(head::Body::Chunked, &[b"5\r\nhell"]).0, Err(Broken::Closed));
        assert_eq!(read(head::Body::Chunked, &[b"5\r\nhello\r\n"]).0, Err(Broken::Closed));
    }

    #[test]
    fn a_body_that_could_be_read_in_two_ways_is_an_error() {
        for body in [&b"5\r\nhello!\r\n0\r\n\r\n"[..], b"5\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"\r\n"]
        {
            assert_eq!(read(head::Body::Chunked, &[body]).0, Err(Broken::Malformed));
        }
    }

    proptest! {
        #[test]
        fn however_it_comes_a_body_is_the_same(
            parts in prop::collection::vec("[a-z]{1,40}", 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            chunked: bool,
        ) {
            let data = parts.concat().into_bytes();
            let mut wire = Vec::new();
            if chunked {
                for part in &parts {
                    wire.extend_from_slice(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes());
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            } else {
                wire.extend_from_slice(&data);
            }
            let framing = if chunked { head::Body::Chunked } else { head::Body::Length(data.len() as u64) };
            wire.extend_from_slice(b"next");
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            at.extend([0, wire.len()]);
            at.sort_unstable();
            at.dedup();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &wire[w[0]..w[1]]).collect();
            let (end, rest) = read(framing, &pieces);
            prop_assert_eq!(end, Ok(data));
            prop_assert!(b"next".starts_with(&rest));
        }
    }
}
