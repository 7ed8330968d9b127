//! gzip: our own DEFLATE for whole bodies that are short, libdeflate for long ones and at high levels, zlib-ng for those that
//! come in pieces.

use std::cell::RefCell;
use std::thread::LocalKey;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor, Crc};

use super::deflate::{self, Deflate, Effort};
use super::pool::{Lent, Pooled};
use super::{DecodeError, Failed, Op};

/// A window of 32 KiB, the largest there is.
const WINDOW_BITS: u8 = 15;
/// The level of libdeflate for each of gzip's: the cheapest whose bodies are about as short as those of zlib at that level
/// (benches/README.md). Whoever asks for 6 knows what zlib makes of it; what libdeflate does at 6 is shorter and dearer.
const LEVELS: [u32; 9] = [1, 1, 2, 3, 4, 4, 6, 7, 9];
/// zlib wants more than six bytes to flush into, or it flushes again.
const LEAST_ROOM: usize = 64;

struct Whole {
    level: u32,
    coder: Compressor,
}

impl Pooled for Whole {
    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>> {
        thread_local!(static KEPT: RefCell<Vec<Whole>> = const { RefCell::new(Vec::new()) });
        &KEPT
    }

    fn renew(&mut self) -> bool {
        true
    }
}

/// What stands before a whole body of ours: DEFLATE, no time, of an unknown system (RFC 1952, 2.3).
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Behind it: its CRC and its length.
const TAIL: usize = 8;

/// Encodes into the beginning of `room`, which is made large enough. The length.
pub(super) fn whole(level: u32, body: &[u8], room: &mut Vec<u8>) -> Result<usize, Failed> {
    match level {
        0..=3 if body.len() <= deflate::LONGEST => short(Effort::Fast, body, room),
        4..=6 if body.len() <= deflate::LONGEST => short(Effort::Thorough, body, room),
        _ => long(level, body, room),
    }
}

fn short(effort: Effort, body: &[u8], room: &mut Vec<u8>) -> Result<usize, Failed> {
    let mut lent = Lent::take(|_: &Deflate| true, || Some(Deflate::new())).ok_or(Failed)?;
    let coder = lent.get().ok_or(Failed)?;
    let bound = HEAD.len() + Deflate::bound(body.len()) + TAIL;
    if room.len() < bound {
        room.resize(bound, 0);
    }
    room[..HEAD.len()].copy_from_slice(&HEAD);
    let end = HEAD.len() + coder.encode(body, effort, &mut room[HEAD.len()..]);
    let mut crc = Crc::new();
    crc.update(body);
    room[end..end + 4].copy_from_slice(&crc.sum().to_le_bytes());
    room[end + 4..end + TAIL].copy_from_slice(&(body.len() as u32).to_le_bytes());
    Ok(end + TAIL)
}

fn long(level: u32, body: &[u8], room: &mut Vec<u8>) -> Result<usize, Failed> {
    let level = LEVELS[level.clamp(1, 9) as usize - 1];
    let new = || Some(Whole { level, coder: Compressor::new(CompressionLvl::new(level as i32).ok()?) });
    let mut lent = Lent::take(|w: &Whole| w.level == level, new).ok_or(Failed)?;
    let coder = &mut lent.get().ok_or(Failed)?.coder;
    let bound = coder.gzip_compress_bound(body.len());
    if room.len() < bound {
        room.resize(bound, 0);
    }
    coder.gzip_compress(body, room).map_err(|_| Failed)
}

impl Pooled for Deflate {
    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>> {
        thread_local!(static KEPT: RefCell<Vec<Deflate>> = const { RefCell::new(Vec::new()) });
        &KEPT
    }

    fn renew(&mut self) -> bool {
        true
    }
}

struct Streamed {
    level: u32,
    coder: Compress,
}

impl Pooled for Streamed {
    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>> {
        thread_local!(static KEPT: RefCell<Vec<Streamed>> = const { RefCell::new(Vec::new()) });
        &KEPT
    }

    fn renew(&mut self) -> bool {
        self.coder.reset();
        true
    }
}

/// An encoder of a body that comes in pieces.
pub(super) struct Stream(Lent<Streamed>);

impl Stream {
    /// zlib-ng's own level 1 is another thing than everybody else's: half as long again. So 1 is its 2.
    pub(super) fn new(level: u32) -> Option<Stream> {
        let level = level.clamp(2, 9);
        let new = || Some(Streamed { level, coder: Compress::new_gzip(Compression::new(level), WINDOW_BITS) });
        Lent::take(|s: &Streamed| s.level == level, new).map(Stream)
    }

    pub(super) fn run(&mut self, mut input: &[u8], op: Op, out: &mut Vec<u8>) -> Result<(), Failed> {
        let coder = &mut self.0.get().ok_or(Failed)?.coder;
        let flush = match op {
            Op::Write => FlushCompress::None,
            Op::Flush => FlushCompress::Sync,
            Op::Finish => FlushCompress::Finish,
        };
        loop {
            out.reserve(LEAST_ROOM.max(input.len() / 4));
            let before = coder.total_in();
            let status = coder.compress_vec(input, out, flush);
            input = &input[(coder.total_in() - before) as usize..];
            let full = out.len() == out.capacity();
            match status {
                Ok(Status::StreamEnd) => return Ok(()),
                Ok(_) if full => {}
                Ok(_) if op != Op::Finish && input.is_empty() => return Ok(()),
                _ => {
                    self.0.spoil();
                    return Err(Failed);
                }
            }
        }
    }
}

/// A decoder: of one member, or of several one behind the other (RFC 1952, 2.2).
pub(super) struct Unpacker {
    member: Decompress,
    ended: bool,
}

impl Unpacker {
    pub(super) fn new() -> Unpacker {
        Unpacker { member: Decompress::new_gzip(WINDOW_BITS), ended: false }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Decodes until `out` is full or `input` empty. Whether it was full.
    pub(super) fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        loop {
            if self.ended {
                if input.is_empty() {
                    return Ok(false);
                }
                *self = Unpacker::new();
            }
            let before = (self.member.total_in(), out.len());
            let status = self.member.decompress_vec(input, out, FlushDecompress::None);
            let read = self.member.total_in() - before.0;
            *input = &input[read as usize..];
            self.ended = match status {
                Ok(Status::StreamEnd) => true,
                Ok(_) => false,
                Err(_) => return Err(DecodeError::Corrupt),
            };
            if out.len() == out.capacity() {
                return Ok(true);
            }
            if input.is_empty() {
                return Ok(false);
            }
            if !self.ended && read == 0 && out.len() == before.1 {
                return Err(DecodeError::Corrupt);
            }
        }
    }
}
