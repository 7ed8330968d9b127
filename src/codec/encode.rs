//! Encoding.

use std::cell::RefCell;

use super::{Failed, Op, brotli, gzip, zstd};
use crate::policy::compression::Coding;

/// A coder refused: there was no memory for it, or it has a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {} encoder failed", .0.as_str())]
pub struct EncodeError(Coding);

/// Room for a body that a thread keeps: encoders want more than they use, and what leaves is copied out of it.
const KEPT_ROOM: usize = 128 << 10;

thread_local! {
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Encodes a whole body. A level beyond those of the coding is taken for the nearest.
///
/// # Errors
/// As [`EncodeError`] says.
pub fn encode(coding: Coding, level: u32, body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_into(coding, level, body, &mut out)?;
    Ok(out)
}

/// As [`encode`], onto the end of `out`, which is left as it was if that fails.
///
/// # Errors
/// As [`EncodeError`] says.
pub fn encode_into(coding: Coding, level: u32, body: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut room = ROOM.take();
    let done = match coding {
        Coding::Gzip => gzip::whole(level, body, &mut room),
        Coding::Zstd => zstd::whole(level, body, &mut room),
        Coding::Br => {
            room.clear();
            brotli::whole(level, body, &mut room).map(|()| room.len())
        }
    };
    let done = done.map(|len| out.extend_from_slice(&room[..len])).map_err(|Failed| EncodeError(coding));
    if room.capacity() <= KEPT_ROOM {
        ROOM.set(room);
    }
    done
}

/// An encoder of a body that comes in pieces. What it has to give out is put onto the end of `out`.
///
/// It holds some hundreds of KiB, so one that is not used any more should be dropped. After an error it gives nothing more.
pub struct Encoder {
    coding: Coding,
    stream: Stream,
}

enum Stream {
    Gzip(gzip::Stream),
    Br(Box<brotli::Stream>),
    Zstd(zstd::Stream),
}

impl Encoder {
    /// Of a body of unknown length. A level beyond those of the coding is taken for the nearest.
    ///
    /// # Errors
    /// As [`EncodeError`] says.
    pub fn new(coding: Coding, level: u32) -> Result<Encoder, EncodeError> {
        let stream = match coding {
            Coding::Gzip => gzip::Stream::new(level).map(Stream::Gzip),
            Coding::Br => Some(Stream::Br(Box::new(brotli::Stream::new(level, None)))),
            Coding::Zstd => zstd::Stream::new(level).map(Stream::Zstd),
        };
        stream.map(|stream| Encoder { coding, stream }).ok_or(EncodeError(coding))
    }

    /// Its coding.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// The next piece of the body. It may give out nothing yet.
    ///
    /// # Errors
    /// As [`EncodeError`] says.
    pub fn write(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.run(chunk, Op::Write, out)
    }

    /// Gives out so much that the client can decode all pieces so far. Some bytes each time, so not more often than needed.
    ///
    /// # Errors
    /// As [`EncodeError`] says.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.run(&[], Op::Flush, out)
    }

    /// The end of the body.
    ///
    /// # Errors
    /// As [`EncodeError`] says.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.run(&[], Op::Finish, out)
    }

    fn run(&mut self, chunk: &[u8], op: Op, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let done = match &mut self.stream {
            Stream::Gzip(stream) => stream.run(chunk, op, out),
            Stream::Br(stream) => stream.run(chunk, op, out),
            Stream::Zstd(stream) => stream.run(chunk, op, out),
        };
        done.map_err(|Failed| EncodeError(self.coding))
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("coding", &self.coding).finish_non_exhaustive()
    }
}
