//! zstd, by zstd-safe.

use std::cell::RefCell;
use std::thread::LocalKey;

use zstd_safe::zstd_sys::ZSTD_EndDirective as End;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::pool::{Lent, Pooled};
use super::{DecodeError, Failed, Op};

/// The greatest window of the content coding is 8 MiB (RFC 9659); no level up to 19 asks for more.
const GREATEST_WINDOW: u32 = 23;
/// The window of a body of unknown length: 128 KiB. Left to itself the encoder would take megabytes for each event stream.
const STREAM_WINDOW: u32 = 17;
/// And its tables, for the levels up to this one. The stronger ones have tables of other kinds.
const SMALL_TABLES_UP_TO: i32 = 4;
const HASH_LOG: u32 = 16;
const CHAIN_LOG: u32 = 15;
/// A larger state is not kept.
const KEPT_BYTES: usize = 4 << 20;

struct Coder(CCtx<'static>);

impl Pooled for Coder {
    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>> {
        thread_local!(static KEPT: RefCell<Vec<Coder>> = const { RefCell::new(Vec::new()) });
        &KEPT
    }

    fn renew(&mut self) -> bool {
        self.0.sizeof() <= KEPT_BYTES && self.0.reset(ResetDirective::SessionAndParameters).is_ok()
    }
}

fn coder() -> Option<Lent<Coder>> {
    Lent::take(|_| true, || CCtx::try_create().map(Coder))
}

fn level(level: u32) -> i32 {
    level.clamp(1, 19) as i32
}

/// Encodes into the beginning of `room`, which is made large enough. The length.
pub(super) fn whole(strength: u32, body: &[u8], room: &mut Vec<u8>) -> Result<usize, Failed> {
    let mut lent = coder().ok_or(Failed)?;
    let bound = zstd_safe::compress_bound(body.len());
    if room.len() < bound {
        room.resize(bound, 0);
    }
    lent.get().ok_or(Failed)?.0.compress(&mut room[..], body, level(strength)).map_err(|_| Failed)
}

/// An encoder of a body that comes in pieces.
pub(super) struct Stream(Lent<Coder>);

impl Stream {
    pub(super) fn new(strength: u32) -> Option<Stream> {
        let mut lent = coder()?;
        let coder = &mut lent.get()?.0;
        let level = level(strength);
        coder.set_parameter(CParameter::CompressionLevel(level)).ok()?;
        coder.set_parameter(CParameter::WindowLog(STREAM_WINDOW)).ok()?;
        if level <= SMALL_TABLES_UP_TO {
            coder.set_parameter(CParameter::HashLog(HASH_LOG)).ok()?;
            coder.set_parameter(CParameter::ChainLog(CHAIN_LOG)).ok()?;
        }
        Some(Stream(lent))
    }

    pub(super) fn run(&mut self, input: &[u8], op: Op, out: &mut Vec<u8>) -> Result<(), Failed> {
        let coder = &mut self.0.get().ok_or(Failed)?.0;
        let end = match op {
            Op::Write => End::ZSTD_e_continue,
            Op::Flush => End::ZSTD_e_flush,
            Op::Finish => End::ZSTD_e_end,
        };
        let mut input = InBuffer::around(input);
        loop {
            out.reserve(256.max(input.src.len() / 4));
            let at = out.len();
            let left = coder.compress_stream2(&mut OutBuffer::around_pos(out, at), &mut input, end);
            match left {
                Ok(0) if op != Op::Write => return Ok(()),
                Ok(_) if op == Op::Write && input.pos() == input.src.len() => return Ok(()),
                Ok(_) => {}
                Err(_) => {
                    self.0.spoil();
                    return Err(Failed);
                }
            }
        }
    }
}

/// A decoder: of one frame, or of several one behind the other (RFC 8878, 3).
pub(super) struct Unpacker {
    coder: DCtx<'static>,
    ended: bool,
}

impl Unpacker {
    pub(super) fn new() -> Option<Unpacker> {
        let mut coder = DCtx::try_create()?;
        coder.set_parameter(DParameter::WindowLogMax(GREATEST_WINDOW)).ok()?;
        Some(Unpacker { coder, ended: false })
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Decodes until `out` is full or `input` empty. Whether it was full.
    pub(super) fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let mut from = InBuffer::around(input);
        loop {
            if self.ended && from.pos() == input.len() {
                *input = &[];
                return Ok(false);
            }
            let before = (from.pos(), out.len());
            let left = self.coder.decompress_stream(&mut OutBuffer::around_pos(out, before.1), &mut from);
            self.ended = left.map_err(|_| DecodeError::Corrupt)? == 0;
            let full = out.len() == out.capacity();
            if full || from.pos() == input.len() {
                *input = &input[from.pos()..];
                return Ok(full);
            }
            if !self.ended && (from.pos(), out.len()) == before {
                return Err(DecodeError::Corrupt);
            }
        }
    }
}
