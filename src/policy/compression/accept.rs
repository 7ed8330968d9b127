//! What a client takes: `Accept-Encoding` (RFC 9110, 12.5.3).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

use super::Coding;

/// A weight of 1, in thousandths.
const WHOLE: u16 = 1000;
/// Greater than every weight: of what has not been named.
const UNNAMED: u16 = u16::MAX;

/// The lines of browsers and of the usual libraries, known at a glance.
const USUAL: [(&[u8], Accepts); 5] = [
    (b"gzip, deflate, br, zstd", Accepts::of_whole_weight(true, true, true)),
    (b"gzip, deflate, br", Accepts::of_whole_weight(false, true, true)),
    (b"gzip, deflate", Accepts::of_whole_weight(false, false, true)),
    (b"gzip,deflate", Accepts::of_whole_weight(false, false, true)),
    (b"gzip", Accepts::of_whole_weight(false, false, true)),
];

/// The codings that a client takes, with their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// By [`Coding::index`], in thousandths; 0 is not acceptable.
    codings: [u16; Coding::ALL.len()],
    /// [`UNNAMED`] where the client has none for it: acceptable, but liked less than any coding it takes.
    identity: u16,
    /// It sent the field at all.
    asked: bool,
}

impl Accepts {
    /// Without the field every coding is acceptable, but none was asked for: many a small client that sends none cannot decode.
    pub const UNASKED: Accepts = Accepts { codings: [WHOLE; Coding::ALL.len()], identity: UNNAMED, asked: false };

    /// Those with a weight of 1, by [`Coding::index`], and nothing else.
    const fn of_whole_weight(zstd: bool, br: bool, gzip: bool) -> Accepts {
        Accepts {
            codings: [WHOLE * zstd as u16, WHOLE * br as u16, WHOLE * gzip as u16],
            identity: UNNAMED,
            asked: true,
        }
    }

    /// As the request's lines of the field say, all of them taken together.
    ///
    /// A member that is no coding with at most a weight is ignored. Of a coding that is named twice the lower weight counts:
    /// a body that was not encoded is read by everyone.
    pub fn of(request: &HeaderMap) -> Accepts {
        let mut lines = request.get_all(ACCEPT_ENCODING).iter();
        let Some(first) = lines.next().map(HeaderValue::as_bytes) else { return Accepts::UNASKED };
        let second = lines.next();
        if second.is_none()
            && let Some((_, accepts)) = USUAL.iter().find(|(line, _)| *line == first)
        {
            return *accepts;
        }
        let mut named = Named::default();
        named.line(first);
        second.into_iter().chain(lines).for_each(|line| named.line(line.as_bytes()));
        named.accepts()
    }

    /// The coding to send: the one of the greatest weight, among equals the first of `preference`. None: as it is.
    pub fn choose(&self, preference: &[Coding]) -> Option<Coding> {
        if !self.asked {
            return None;
        }
        let mut best: Option<(Coding, u16)> = None;
        for coding in preference {
            let weight = self.codings[coding.index()];
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((*coding, weight));
            }
        }
        let (coding, weight) = best?;
        (self.identity == UNNAMED || self.identity <= weight).then_some(coding)
    }

    /// Whether it takes a body of this coding.
    pub fn takes(&self, coding: Coding) -> bool {
        self.codings[coding.index()] > 0
    }

    /// Whether it takes a body of this coding only when that is taken off.
    pub fn needs_decoded(&self, coding: Coding) -> bool {
        !self.takes(coding) && self.takes_identity()
    }

    /// Whether it takes a body that is not encoded. One that takes nothing that we have gets such a body all the same, as
    /// RFC 9110 allows.
    pub fn takes_identity(&self) -> bool {
        self.identity > 0
    }
}

/// The weights that were named so far.
struct Named {
    codings: [u16; Coding::ALL.len()],
    identity: u16,
    /// Of `*`: of every coding that is not named.
    rest: u16,
}

impl Default for Named {
    fn default() -> Named {
        Named { codings: [UNNAMED; Coding::ALL.len()], identity: UNNAMED, rest: UNNAMED }
    }
}

impl Named {
    fn line(&mut self, line: &[u8]) {
        for member in line.split(|b| *b == b',') {
            let (name, weight) = match member.iter().position(|b| *b == b';') {
                None => (member, Some(WHOLE)),
                Some(at) => (&member[..at], weight(&member[at + 1..])),
            };
            if let (Some(place), Some(weight)) = (self.place(name.trim_ascii()), weight) {
                *place = weight.min(*place);
            }
        }
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut u16> {
        if let Some(coding) = Coding::from_name(name) {
            return Some(&mut self.codings[coding.index()]);
        }
        match name {
            b"*" => Some(&mut self.rest),
            _ if name.eq_ignore_ascii_case(b"identity") => Some(&mut self.identity),
            _ => None,
        }
    }

    fn accepts(self) -> Accepts {
        let rest = if self.rest == UNNAMED { 0 } else { self.rest };
        let codings = self.codings.map(|weight| if weight == UNNAMED { rest } else { weight });
        // `*` says of the identity only that it is not acceptable, when its weight is 0 and no other is given.
        let identity = if self.identity == UNNAMED && self.rest == 0 { 0 } else { self.identity };
        Accepts { codings, identity, asked: true }
    }
}

/// `q=0.5`, in thousandths: at most three decimals, at most 1.
fn weight(text: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', whole @ b'0'..=b'1', decimals @ ..] = text.trim_ascii() else { return None };
    let decimals = match decimals {
        [] => decimals,
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    let mut weight = u16::from(whole - b'0') * WHOLE;
    let mut unit = 100;
    for digit in decimals {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    (weight <= WHOLE).then_some(weight)
}

#[cfg(test)]
mod tests;
