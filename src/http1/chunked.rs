//! The guard of a chunked body: its framing is checked on the wire bytes, and says where the data is.
//!
//! As with the head ([`super::head`]): what two parsers could cut in two places is refused. Nothing is copied or kept, so
//! a body of any length costs the few bytes of [`ChunkGuard`].

use crate::refusal::{Reason, Refusal};

/// The largest chunk: far above what anyone sends, far below where arithmetic ends.
const MAX_CHUNK: u64 = 1 << 40;
/// Hex digits of a chunk's size.
const MAX_DIGITS: u8 = 16;
/// Bytes of one chunk's extensions.
const MAX_EXTENSION: u16 = 256;
/// Bytes of all trailers.
const MAX_TRAILERS: u16 = 8 * 1024;

/// Follows one chunked body from its first byte to its end.
#[derive(Debug, Clone)]
pub struct ChunkGuard {
    state: State,
    /// Bytes of data told so far by chunk sizes and seen.
    data: u64,
    /// Bytes of trailers so far.
    trailers: u16,
    /// Spaces may stand behind a size.
    lenient: bool,
}

/// How far a slice brought the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the slice that belong to the body; all of them unless it ended.
    pub consumed: usize,
    /// The body's last byte is among them.
    pub ended: bool,
}

/// A part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Bytes of framing at its front.
    pub framing: usize,
    /// Bytes of data behind them.
    pub data: usize,
    /// The body's last byte is the last of the framing.
    pub ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
        bytes: u16,
    },
    /// The LF after a chunk's size.
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// The first byte of a line behind the last chunk.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// The LF that ends the body.
    LastLf,
    Ended,
    Broken,
}

impl Default for ChunkGuard {
    fn default() -> Self {
        ChunkGuard { state: State::Size { digits: 0, size: 0 }, data: 0, trailers: 0, lenient: false }
    }
}

impl ChunkGuard {
    /// A guard at a body's first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for an answer: some servers pad the size of a chunk with spaces.
    pub fn lenient() -> Self {
        ChunkGuard { lenient: true, ..Self::default() }
    }

    /// Bytes of data so far, without their framing.
    pub fn data(&self) -> u64 {
        self.data
    }

    /// Follows the next bytes of the body. After its end nothing is consumed; after a refusal each byte is refused.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let mut consumed = 0;
        loop {
            let part = self.next(&bytes[consumed..])?;
            consumed += part.framing + part.data;
            if part.ended || consumed == bytes.len() {
                return Ok(Progress { consumed, ended: part.ended });
            }
        }
    }

    /// The next part of the body: bytes of its framing, and the data behind them as far as it is there. Like
    /// [`ChunkGuard::feed`] else.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Part, Refusal> {
        let mut framing = 0;
        while framing < bytes.len() && self.state != State::Ended {
            if let State::Data { left } = self.state {
                let data = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - framing);
                self.data += data as u64;
                let left = left - data as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                return Ok(Part { framing, data, ended: false });
            }
            match self.step(bytes[framing]) {
                Ok(next) => self.state = next,
                Err(detail) => {
                    self.state = State::Broken;
                    return Err(Refusal::new(Reason::BadRequest, detail));
                }
            }
            framing += 1;
        }
        Ok(Part { framing, data: 0, ended: self.state == State::Ended })
    }

    /// The state behind a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        let next = match (self.state, byte) {
            (State::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let size = size << 4 | digit;
                if digits == MAX_DIGITS || size > MAX_CHUNK {
                    return Err("a chunk's size is too large");
                }
                State::Size { digits: digits + 1, size }
            }
            (State::Size { digits: 1.., size }, b'\r') => State::SizeLf { size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { size, bytes: 1 },
            (State::Size { digits: 1.., size }, b' ' | b'\t') if self.lenient => State::Extension { size, bytes: 1 },
            (State::Size { .. }, _) => return Err("a chunk's size is malformed"),
            (State::Extension { size, .. }, b'\r') => State::SizeLf { size },
            (State::Extension { bytes: MAX_EXTENSION, .. }, _) => return Err("a chunk's extensions are too long"),
            (State::Extension { size, bytes }, b'\t' | b' '..=b'~') => State::Extension { size, bytes: bytes + 1 },
            (State::Extension { .. }, _) => return Err("a chunk's extensions are malformed"),
            (State::SizeLf { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::SizeLf { .. }, _) => return Err("a chunk's size does not end with CRLF"),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
            (State::DataCr | State::DataLf, _) => return Err("a chunk does not end with CRLF"),
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Ended,
            (State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf, _) => {
                self.trailers += 1;
                if self.trailers > MAX_TRAILERS {
                    return Err("the trailers are too large");
                }
                self.trailer(byte)?
            }
            (State::LastLf, _) => return Err("the body does not end with CRLF"),
            (State::Data { .. } | State::Ended | State::Broken, _) => return Err("the body is broken"),
        };
        Ok(next)
    }

    /// The state behind a byte of a trailer's line. A line that begins with a space would be a fold: no token.
    fn trailer(&self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::TrailerStart | State::TrailerName, _) if super::head::is_token(&[byte]) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            _ => Err("a trailer is malformed"),
        }
    }
}

#[cfg(test)]
mod tests;
