//! HTTP/2 frames written by hand: what no client library lets out.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::patience;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A connection on which any frame can be sent.
pub struct Raw {
    pub stream: TcpStream,
    /// What may be sent on the connection, and on a new stream.
    window: usize,
    stream_window: usize,
    /// Read while a window was waited for.
    kept: VecDeque<Frame>,
}

/// A frame that came.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered with this status.
    Answered(u16),
    /// It was reset with this code.
    Reset(u32),
    /// The connection was ended: GOAWAY with this code.
    GoAway(u32),
    /// The connection closed without a word.
    Closed,
}

impl Raw {
    /// Connects, and sends the preface and empty settings.
    pub fn connect(addr: SocketAddr) -> Raw {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(patience() * 2)).unwrap();
        let mut raw = Raw { stream, window: 65_535, stream_window: 65_535, kept: VecDeque::new() };
        raw.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.frame(SETTINGS, 0, 0, &[]);
        raw
    }

    /// Waits until the proxy has read everything so far, and has had its settings acknowledged.
    pub fn settle(&mut self) {
        self.frame(PING, 0, 0, b"settled?");
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.stream.read_exact(&mut payload).unwrap();
            match (head[3], head[4] & ACK) {
                (SETTINGS, 0) => self.frame(SETTINGS, ACK, 0, &[]),
                (PING, ACK) => return,
                _ => {}
            }
        }
    }

    /// Sends a frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&stream.to_be_bytes());
        out.extend_from_slice(payload);
        // The proxy may have closed already; what it said is read later.
        let _ = self.stream.write_all(&out);
    }

    /// Sends HEADERS with these fields, each a literal that is not indexed.
    pub fn headers(&mut self, stream: u32, fields: &[(&[u8], &[u8])], end: bool) {
        let block = block(fields);
        self.frame(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, &block);
    }

    /// Sends a part of a body.
    pub fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.frame(DATA, if end { END_STREAM } else { 0 }, stream, bytes);
    }

    /// Sends a body on a new stream as fast as the windows allow; stops where the stream is reset or answered.
    pub fn body(&mut self, stream: u32, mut bytes: &[u8]) {
        let mut left = self.stream_window;
        while !bytes.is_empty() {
            let part = bytes.len().min(16 << 10).min(left).min(self.window);
            if part > 0 {
                self.data(stream, &bytes[..part], part == bytes.len());
                bytes = &bytes[part..];
                left -= part;
                self.window -= part;
                continue;
            }
            let Ok(frame) = self.next() else { return };
            match frame.kind {
                WINDOW_UPDATE => {
                    let more = u32::from_be_bytes(frame.payload[..4].try_into().unwrap()) as usize;
                    if frame.stream == 0 { self.window += more } else { left += more }
                }
                _ => {
                    let over = matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY);
                    self.kept.push_back(frame);
                    if over {
                        return;
                    }
                }
            }
        }
    }

    /// Reads a frame; settings and pings are acknowledged and not told.
    pub fn read(&mut self) -> io::Result<Frame> {
        match self.kept.pop_front() {
            Some(frame) => Ok(frame),
            None => self.next(),
        }
    }

    fn next(&mut self) -> io::Result<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload)?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
                PING if frame.flags & ACK == 0 => self.frame(PING, ACK, 0, &frame.payload),
                SETTINGS | PING => {}
                _ => return Ok(frame),
            }
        }
    }

    /// Reads until it is known what became of this stream.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Ok(frame) = self.read() else { return Outcome::Closed };
            let code =
                |at: usize| frame.payload.get(at..at + 4).map_or(0, |b| u32::from_be_bytes(b.try_into().unwrap()));
            match frame.kind {
                HEADERS if frame.stream == stream => return Outcome::Answered(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(code(0)),
                GOAWAY => return Outcome::GoAway(code(4)),
                _ => {}
            }
        }
    }
}

/// The pseudo fields of a request.
pub fn pseudo(method: &'static str, path: &'static str) -> Vec<(&'static [u8], &'static [u8])> {
    vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":path", path.as_bytes()),
        (b":authority", b"test.example"),
    ]
}

fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0x10);
        text(&mut out, name);
        text(&mut out, value);
    }
    out
}

/// A string without Huffman coding: its length in 7 bits, or more (RFC 7541 5.1).
fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() < 127 {
        out.push(bytes.len() as u8);
    } else {
        out.push(127);
        let mut left = bytes.len() - 127;
        while left >= 128 {
            out.push((left % 128) as u8 | 128);
            left /= 128;
        }
        out.push(left as u8);
    }
    out.extend_from_slice(bytes);
}

/// The status, which stands first in a block. Only what encoders write for it is known here.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may come before, in one byte or in several.
    let skip = match block[0] {
        0x3f => 2 + block[1..].iter().position(|b| b & 0x80 == 0).unwrap(),
        0x20..0x3f => 1,
        _ => 0,
    };
    let block = &block[skip..];
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        // A literal, plain or in Huffman's code.
        _ if block[1] & 0x80 == 0 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
    }
}

/// Three digits in Huffman's code: 0, 1, 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0u16, |n, b| n << 1 | u16::from(*b));
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let five = number(&bits[at..at + 5]);
        let (digit, length) = if five <= 2 { (five, 5) } else { (number(&bits[at..at + 6]) - 0b01_1001 + 3, 6) };
        value = value * 10 + digit;
        at += length;
    }
    value
}
