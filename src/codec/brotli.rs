//! brotli, by the crate of this name.

use brotli::enc::encode::{BrotliEncoderOperation as Operation, BrotliEncoderStateStruct as State};
use brotli::enc::{BrotliEncoderParams, StandardAlloc};
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

use super::{DecodeError, Failed, Op};

/// The least window, as a power of two. With one of 16 the encoder takes another table of hashes at the levels from 5 on, and
/// ten times as long for 10 KB.
const LEAST_WINDOW: u32 = 17;
/// The greatest that a body is worth: a larger one is memory that has to be cleared.
const GREATEST_WINDOW: u32 = 22;
/// Levels 0 and 1 are no faster than 2, and give half as many bytes again.
const LEAST_LEVEL: u32 = 2;

/// An encoder.
pub(super) struct Stream(State<StandardAlloc>);

impl Stream {
    /// Of a body of this length, or of one that comes in pieces.
    pub(super) fn new(level: u32, length: Option<usize>) -> Stream {
        let bits = length.map_or(0, |length| usize::BITS - length.leading_zeros());
        let mut state = State::new(StandardAlloc::default());
        state.params = BrotliEncoderParams {
            quality: level.clamp(LEAST_LEVEL, 11) as i32,
            lgwin: bits.clamp(LEAST_WINDOW, GREATEST_WINDOW) as i32,
            size_hint: length.unwrap_or(0),
            ..BrotliEncoderParams::default()
        };
        Stream(state)
    }

    pub(super) fn run(&mut self, input: &[u8], op: Op, out: &mut Vec<u8>) -> Result<(), Failed> {
        let operation = match op {
            Op::Write => Operation::BROTLI_OPERATION_PROCESS,
            Op::Flush => Operation::BROTLI_OPERATION_FLUSH,
            Op::Finish => Operation::BROTLI_OPERATION_FINISH,
        };
        let (mut left, mut at) = (input.len(), 0);
        loop {
            // Without room for output it keeps what it has for `take_output`.
            let (mut room, mut end) = (0, 0);
            let took = self.0.compress_stream(
                operation,
                &mut left,
                input,
                &mut at,
                &mut room,
                &mut [],
                &mut end,
                &mut None,
                &mut |_, _, _, _| (),
            );
            if !took {
                return Err(Failed);
            }
            while self.0.has_more_output() {
                // 0 asks for all of it; the slice goes on behind that.
                let mut len = 0;
                let taken = self.0.take_output(&mut len);
                out.extend_from_slice(&taken[..len]);
            }
            if left == 0 && (op != Op::Finish || self.0.is_finished()) {
                return Ok(());
            }
        }
    }
}

/// Encodes a whole body onto the end of `out`.
pub(super) fn whole(level: u32, body: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
    Stream::new(level, Some(body.len())).run(body, Op::Finish, out)
}

/// A decoder. Its window grows to what the body asks for, at most 16 MiB.
pub(super) struct Unpacker {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    ended: bool,
}

impl Unpacker {
    pub(super) fn new() -> Unpacker {
        let alloc = StandardAlloc::default;
        Unpacker { state: Box::new(BrotliState::new(alloc(), alloc(), alloc())), ended: false }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Decodes at most `most` bytes. Whether there may be more.
    pub(super) fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>, most: usize) -> Result<bool, DecodeError> {
        if self.ended {
            return if input.is_empty() { Ok(false) } else { Err(DecodeError::Corrupt) };
        }
        let start = out.len();
        out.resize(start + most, 0);
        let (mut left, mut read, mut room, mut written, mut total) = (input.len(), 0, most, 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            &mut out[start..],
            &mut total,
            &mut self.state,
        );
        out.truncate(start + written);
        *input = &input[read..];
        match result {
            BrotliResult::ResultSuccess => {
                self.ended = true;
                if input.is_empty() { Ok(false) } else { Err(DecodeError::Corrupt) }
            }
            BrotliResult::NeedsMoreOutput => Ok(true),
            // It may keep output for which there was no room, and says so only when it is asked again.
            BrotliResult::NeedsMoreInput if input.is_empty() => Ok(written == most),
            _ => Err(DecodeError::Corrupt),
        }
    }
}
