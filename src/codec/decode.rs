//! Decoding.

use super::{brotli, gzip, zstd};
use crate::policy::compression::Coding;

/// A step decodes about so much at once.
const STEP: usize = 16 << 10;

/// Why a body could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not of this coding, it was damaged, or something stands behind its end.
    #[error("the body is not what its coding says")]
    Corrupt,
    /// It ends before its end. So does one of no bytes at all.
    #[error("the body ends before its end")]
    Truncated,
    /// Decoded it would be longer than this.
    #[error("the decoded body is longer than {0} bytes")]
    TooLong(usize),
    /// There was no memory for the decoder.
    #[error("there is no memory for a decoder")]
    Memory,
}

/// Decodes a whole body of at most `limit` bytes decoded. It stops there: a small body that would be a huge one costs no
/// more than about twice the limit.
///
/// # Errors
/// As [`DecodeError`] says.
pub fn decode(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding)?;
    let (mut rest, mut out) = (body, Vec::new());
    while decoder.write(&mut rest, &mut out)? {
        if out.len() > limit {
            break;
        }
    }
    if out.len() > limit {
        return Err(DecodeError::TooLong(limit));
    }
    decoder.finish()?;
    Ok(out)
}

/// A decoder of a body that comes in pieces.
pub struct Decoder(Unpacker);

enum Unpacker {
    Gzip(gzip::Unpacker),
    Br(brotli::Unpacker),
    Zstd(zstd::Unpacker),
}

impl Decoder {
    /// At the beginning of a body.
    ///
    /// # Errors
    /// [`DecodeError::Memory`].
    pub fn new(coding: Coding) -> Result<Decoder, DecodeError> {
        Ok(Decoder(match coding {
            Coding::Gzip => Unpacker::Gzip(gzip::Unpacker::new()),
            Coding::Br => Unpacker::Br(brotli::Unpacker::new()),
            Coding::Zstd => Unpacker::Zstd(zstd::Unpacker::new().ok_or(DecodeError::Memory)?),
        }))
    }

    /// Decodes onto the end of `out`, and takes from `chunk` what it has used.
    ///
    /// True: there is more to come from the bytes so far, so call it again, with what is left of the chunk, once there is
    /// room for more. It gives out what fits into `out` as it is, or some 16 KiB: a few bytes can stand for millions.
    ///
    /// # Errors
    /// [`DecodeError::Corrupt`]. What was given out before was right as far as can be known.
    pub fn write(&mut self, chunk: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        match &mut self.0 {
            Unpacker::Gzip(unpacker) => {
                room(out);
                unpacker.step(chunk, out)
            }
            Unpacker::Br(unpacker) => unpacker.step(chunk, out, STEP),
            Unpacker::Zstd(unpacker) => {
                room(out);
                unpacker.step(chunk, out)
            }
        }
    }

    /// No more bytes come.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], unless that is where the body ends.
    pub fn finish(self) -> Result<(), DecodeError> {
        let ended = match &self.0 {
            Unpacker::Gzip(unpacker) => unpacker.ended(),
            Unpacker::Br(unpacker) => unpacker.ended(),
            Unpacker::Zstd(unpacker) => unpacker.ended(),
        };
        if ended { Ok(()) } else { Err(DecodeError::Truncated) }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

fn room(out: &mut Vec<u8>) {
    if out.capacity() - out.len() < STEP {
        out.reserve(STEP);
    }
}
