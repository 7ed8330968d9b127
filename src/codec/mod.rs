//! gzip, brotli and zstd: bodies encoded whole or as they come, and decoded.
//!
//! Each coder was chosen by measuring it on a payments answer of 10 KB (benches/coders.rs; the figures stand in
//! benches/README.md):
//!
//! | | whole | as it comes |
//! |---|---|---|
//! | gzip | `deflate`, our own, up to 64 KiB and level 6; beyond, libdeflate at the level that gives what zlib gives | zlib-ng, by flate2 |
//! | br | the `brotli` crate, with a window as small as the body allows | the same |
//! | zstd | zstd, by zstd-safe | the same |
//!
//! A new state costs as much as encoding a small body where it is large, so threads keep theirs (`pool`). Brotli's cannot be
//! used twice. Nothing here blocks or does I/O, but a long body takes its time: whole ones over 64 KiB belong on a thread of
//! their own.

mod brotli;
mod decode;
mod deflate;
mod encode;
mod gzip;
mod pool;
mod zstd;

pub use decode::{DecodeError, Decoder, decode};
pub use encode::{EncodeError, Encoder, encode, encode_into};

/// What a stream is asked to do beyond taking bytes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    /// Nothing: it may keep them for later.
    Write,
    /// Give out all that it keeps.
    Flush,
    /// That, and end.
    Finish,
}

/// A coder refused. They tell numbers at best, and there is nothing to be done about them but to give up.
#[derive(Debug)]
struct Failed;

#[cfg(test)]
mod tests;
