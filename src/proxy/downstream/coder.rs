//! What stands between an answer and its client: a body is encoded for one that accepts it, or decoded for one that cannot
//! read what the application sent.
//!
//! A short body of known length is gathered, encoded in one go and sent with its length, in one write with its head. Longer
//! and unknown ones are encoded as they come, and what came so far is flushed whenever nothing more is at hand.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use http::header;
use tokio::time::Instant;

use crate::codec::{self, Decoder, Encoder};
use crate::http1::AnswerHead;
use crate::observe::metrics::CodingMetrics;
use crate::policy::compression::Coding;
use crate::policy::compression::etag::Served;
use crate::proxy::coding;
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;

/// A coder at work.
pub(in crate::proxy) enum Coder {
    /// Gathers the body.
    Gather(Box<Gather>),
    /// Encodes it as it comes.
    Encode(Box<Encode>),
    /// Decodes it as it comes.
    Decode(Box<Decode>),
}

/// A short body that is gathered.
pub(in crate::proxy) struct Gather {
    /// The head as it came.
    pub(in crate::proxy) plain: Box<AnswerHead>,
    pub(in crate::proxy) route: Arc<Route>,
    pub(in crate::proxy) coding: Coding,
    pub(in crate::proxy) level: u32,
    pub(in crate::proxy) metrics: Arc<CodingMetrics>,
    pub(in crate::proxy) first: Bytes,
    pub(in crate::proxy) body: BytesMut,
    pub(in crate::proxy) length: usize,
}

/// A body that is encoded as it comes.
pub(in crate::proxy) struct Encode {
    /// Taken at the end.
    encoder: Option<Encoder>,
    metrics: Arc<CodingMetrics>,
    /// Bytes that came and were not counted yet.
    came: usize,
    /// The encoder holds what the client has not been sent.
    dirty: bool,
}

/// A body that is decoded as it comes.
pub(in crate::proxy) struct Decode {
    decoder: Decoder,
    /// What of it was not decoded yet.
    rest: Bytes,
    /// There is more to come from what came: a few bytes can stand for millions, and are decoded as the client takes them.
    more: bool,
    /// Something came.
    begun: bool,
}

/// Why a coder cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Broke {
    /// The application's body is not what its coding says.
    Body,
    /// The coder has a fault, or no memory.
    Coder,
}

impl Broke {
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Broke::Body => Reason::UpstreamReset.into_refusal("its body is not what its coding says"),
            Broke::Coder => Reason::Internal.into(),
        }
    }
}

/// What a coder held at the end.
pub(super) enum Coded {
    /// The rest of the body.
    Rest(Bytes),
    /// A whole answer.
    Whole { head: Box<AnswerHead>, route: Arc<Route>, body: Bytes },
}

impl Encode {
    /// One that begins; none where there is no memory for it.
    pub(in crate::proxy) fn new(coding: Coding, level: u32, metrics: Arc<CodingMetrics>) -> Option<Self> {
        let encoder = Some(Encoder::new(coding, level).ok()?);
        Some(Encode { encoder, metrics, came: 0, dirty: false })
    }

    fn run(
        &mut self,
        work: impl FnOnce(&mut Option<Encoder>, &mut Vec<u8>) -> Option<Result<(), codec::EncodeError>>,
    ) -> Result<Bytes, Broke> {
        let mut out = Vec::new();
        let started = Instant::now();
        work(&mut self.encoder, &mut out).ok_or(Broke::Coder)?.map_err(|_| Broke::Coder)?;
        self.metrics.encoded(std::mem::take(&mut self.came), out.len(), started.elapsed());
        Ok(out.into())
    }
}

impl Decode {
    /// At the beginning of a body; none where there is no memory for it.
    pub(in crate::proxy) fn new(coding: Coding) -> Option<Self> {
        Some(Decode { decoder: Decoder::new(coding).ok()?, rest: Bytes::new(), more: false, begun: false })
    }

    fn step(&mut self) -> Result<Bytes, Broke> {
        let (mut rest, mut out) = (&self.rest[..], Vec::new());
        self.more = self.decoder.write(&mut rest, &mut out).map_err(|_| Broke::Body)?;
        let used = self.rest.len() - rest.len();
        self.rest.advance(used);
        Ok(out.into())
    }
}

impl Coder {
    /// Takes a part of the body; what of it can be sent at once is returned.
    pub(super) fn take(&mut self, chunk: Bytes) -> Result<Bytes, Broke> {
        match self {
            Coder::Gather(gather) => {
                gather.take(chunk);
                Ok(Bytes::new())
            }
            Coder::Encode(encode) => {
                encode.dirty = true;
                encode.came = chunk.len();
                encode.run(|encoder, out| Some(encoder.as_mut()?.write(&chunk, out)))
            }
            Coder::Decode(decode) => {
                (decode.rest, decode.begun) = (chunk, true);
                decode.step()
            }
        }
    }

    /// More of what came already; none where there is no more of it.
    pub(super) fn more(&mut self) -> Option<Result<Bytes, Broke>> {
        match self {
            Coder::Decode(decode) if decode.more => Some(decode.step()),
            _ => None,
        }
    }

    /// What the client can have of all that came so far; none where it has it.
    pub(super) fn flush(&mut self) -> Option<Result<Bytes, Broke>> {
        match self {
            Coder::Encode(encode) if encode.dirty => {
                encode.dirty = false;
                Some(encode.run(|encoder, out| Some(encoder.as_mut()?.flush(out))))
            }
            _ => None,
        }
    }

    /// The body has ended.
    pub(super) fn end(self) -> Result<Coded, Broke> {
        match self {
            Coder::Gather(gather) => gather.end(),
            Coder::Encode(mut encode) => Ok(Coded::Rest(encode.run(|encoder, out| Some(encoder.take()?.finish(out)))?)),
            Coder::Decode(decode) => {
                // There are applications that say of nothing, too, that it is encoded.
                if decode.begun {
                    decode.decoder.finish().map_err(|_| Broke::Body)?;
                }
                Ok(Coded::Rest(Bytes::new()))
            }
        }
    }
}

impl Gather {
    fn take(&mut self, chunk: Bytes) {
        // Most bodies come in one part, which is then not copied.
        if self.first.is_empty() && self.body.is_empty() {
            self.first = chunk;
            return;
        }
        if self.body.is_empty() {
            self.body.reserve(self.length);
            self.body.extend_from_slice(&self.first);
        }
        self.body.extend_from_slice(&chunk);
    }

    fn end(self) -> Result<Coded, Broke> {
        let Gather { plain, route, coding, level, metrics, first, body, .. } = self;
        let body = if body.is_empty() { first } else { body.freeze() };
        let encoded = encode(coding, level, &body, &metrics).filter(|encoded| encoded.len() < body.len());
        let mut head = plain;
        let Some(encoded) = encoded else {
            coding::varied(&mut head);
            return Ok(Coded::Whole { head, route, body });
        };
        coding::changed(&mut head, Served::Encoded(coding));
        head.insert_header(header::CONTENT_LENGTH, encoded.len()).map_err(|_| Broke::Coder)?;
        Ok(Coded::Whole { head, route, body: encoded })
    }
}

/// Encodes a whole body; none where that cannot be done.
pub(in crate::proxy) fn encode(coding: Coding, level: u32, body: &[u8], metrics: &CodingMetrics) -> Option<Bytes> {
    let started = Instant::now();
    let encoded = codec::encode(coding, level, body).ok()?;
    metrics.encoded(body.len(), encoded.len(), started.elapsed());
    Some(encoded.into())
}
