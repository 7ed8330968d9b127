//! Follows the frames of an HTTP/2 client, to know since when a request's head is incomplete. The library below waits for
//! the rest of one for ever, and nothing else of the connection is read meanwhile.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PREFACE: usize = 24;

/// Since when a head is incomplete, if one is.
#[derive(Debug, Clone, Default)]
pub(super) struct HalfHead(Arc<Mutex<Option<Instant>>>);

impl HalfHead {
    pub(super) fn since(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// Reads the framing of what passes.
#[derive(Debug)]
pub(super) struct Frames {
    half: HalfHead,
    /// Bytes of the preface, or of a frame's payload, still to come.
    skip: usize,
    head: [u8; 9],
    have: usize,
    /// HEADERS came whose END_HEADERS has not.
    open: bool,
}

impl Frames {
    /// From the preface on.
    pub(super) fn new(half: HalfHead) -> Self {
        Frames { half, skip: PREFACE, head: [0; 9], have: 0, open: false }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        let mut since = self.half.0.lock();
        while !bytes.is_empty() {
            if !self.is_half() {
                *since = None;
            }
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
            } else {
                let taken = (9 - self.have).min(bytes.len());
                self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < 9 {
                    break;
                }
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                if kind == HEADERS || kind == CONTINUATION {
                    self.open = flags & END_HEADERS == 0;
                }
            }
        }
        match self.is_half() {
            true => *since = Some(since.unwrap_or_else(Instant::now)),
            false => *since = None,
        }
    }

    /// Within a head, its last frame's payload included, or within the first bytes of a frame that may begin one.
    fn is_half(&self) -> bool {
        let head = self.head[3] == HEADERS || self.head[3] == CONTINUATION;
        self.open || self.have > 0 || self.skip > 0 && head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut out = vec![0, 0, payload as u8, kind, flags, 0, 0, 0, 1];
        out.resize(9 + payload, b'x');
        out
    }

    #[test]
    fn a_head_is_half_from_its_first_byte_to_its_last() {
        let mut bytes = vec![b'P'; PREFACE];
        bytes.extend(frame(4, 0, 12));
        let begins = bytes.len();
        bytes.extend(frame(HEADERS, 0, 5));
        bytes.extend(frame(CONTINUATION, END_HEADERS, 5));
        let ends = bytes.len();
        bytes.extend(frame(0, 0, 40));
        for cut in 0..bytes.len() {
            let half = HalfHead::default();
            let mut frames = Frames::new(half.clone());
            frames.feed(&bytes[..cut]);
            let expected = cut > begins && cut < ends;
            // A frame whose kind is not known yet might be one.
            let unknown = [PREFACE, ends].iter().any(|at| cut > *at && cut < at + 9);
            assert_eq!(half.since().is_some(), expected || unknown, "cut at {cut}");
            frames.feed(&bytes[cut..]);
            assert_eq!(half.since(), None, "cut at {cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_half_head_has_a_time_of_its_own() {
        let half = HalfHead::default();
        let mut frames = Frames::new(half.clone());
        let head = frame(HEADERS, END_HEADERS, 5);
        frames.feed(&[&[b'P'; PREFACE], &head[..5]].concat());
        let first = half.since();
        tokio::time::advance(tokio::time::Duration::from_secs(1)).await;
        // The rest of this one, and the beginning of the next, in one read.
        frames.feed(&[&head[5..], &head[..3]].concat());
        assert!(first.is_some() && half.since() > first);
    }
}
