//! Whether an answer is right: it is the asking merchant's, and it shows every write that was answered before the read
//! began.
//!
//! The application counts the changes of each merchant's payments and the versions of each payment, and says both in
//! its answers. What a write's answer said is known here from then on, to every client: a read that begins later and
//! shows less is stale, wherever it was kept.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, header};
use memchr::memmem;
use parking_lot::Mutex;

use super::api::schema::MERCHANTS;
use super::plan::{Kind, Step};
use crate::codec;
use crate::policy::compression::Coding;

/// The newest payments of a merchant that are kept in mind.
const RECENT: usize = 4;
/// An answer decoded may be so large.
const MOST: usize = 4 << 20;

/// What the answers to writes said so far.
pub(super) struct Known(Vec<Mutex<Merchant>>);

#[derive(Default)]
struct Merchant {
    /// The most changes that an answer told of.
    changes: u64,
    /// The newest last.
    recent: VecDeque<Payment>,
}

struct Payment {
    id: String,
    version: u64,
    /// Given back, or somebody is about to.
    refunded: bool,
}

/// What a read has to show at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nothing writes what it reads.
    Anything,
    /// Of a list.
    Changes(u64),
    /// Of a payment.
    Version(u64),
}

impl Known {
    /// Nothing was written yet.
    pub(super) fn new() -> Self {
        Known((0..MERCHANTS).map(|_| Mutex::default()).collect())
    }

    fn of<T>(&self, merchant: u32, what: impl FnOnce(&mut Merchant) -> T) -> Option<T> {
        self.0.get(merchant.checked_sub(1)? as usize).map(|m| what(&mut m.lock()))
    }

    /// The payment a Get looks at, if it shall be one made meanwhile.
    pub(super) fn recent(&self, merchant: u32) -> Option<String> {
        self.of(merchant, |m| m.recent.back().map(|p| p.id.clone()))?
    }

    /// A payment to be given back: nobody else gets the same.
    pub(super) fn take_refundable(&self, merchant: u32) -> Option<String> {
        self.of(merchant, |m| {
            let payment = m.recent.iter_mut().rev().find(|p| !p.refunded)?;
            payment.refunded = true;
            Some(payment.id.clone())
        })?
    }

    /// What a read that begins now has to show; `payment` for Get.
    pub(super) fn expected(&self, step: &Step, payment: &str) -> Expected {
        let found = match step.kind {
            Kind::List => self.of(step.merchant, |m| Expected::Changes(m.changes)),
            Kind::Get => self.of(step.merchant, |m| {
                let known = m.recent.iter().find(|p| p.id == payment);
                Expected::Version(known.map_or(1, |p| p.version))
            }),
            _ => None,
        };
        found.unwrap_or(Expected::Anything)
    }

    /// Takes in the answer to a write. False if it says nothing of what was written.
    pub(super) fn wrote(&self, merchant: u32, answer: &[u8]) -> bool {
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(answer) else { return false };
        let payment = answer.get("payment").unwrap_or(&answer);
        let (id, version) = (payment["id"].as_str(), payment["version"].as_u64());
        let (Some(id), Some(version), Some(changes)) = (id, version, answer["merchant_changes"].as_u64()) else {
            return false;
        };
        let noted = self.of(merchant, |m| {
            m.changes = m.changes.max(changes);
            if let Some(known) = m.recent.iter_mut().find(|p| p.id == id) {
                known.version = known.version.max(version);
            } else if version == 1 {
                if m.recent.len() == RECENT {
                    m.recent.pop_front();
                }
                m.recent.push_back(Payment { id: id.to_owned(), version, refunded: false });
            }
        });
        noted.is_some()
    }
}

/// A read's answer shows all that it has to.
pub(super) fn is_fresh(body: &[u8], expected: Expected) -> bool {
    match expected {
        Expected::Anything => true,
        Expected::Changes(n) => number(body, b"\"merchant_changes\":").is_some_and(|shown| shown >= n),
        Expected::Version(n) => number(body, b"\"version\":").is_some_and(|shown| shown >= n),
    }
}

/// Every merchant that it names is this one, and it names one.
pub(super) fn is_of(body: &[u8], merchant: &str) -> bool {
    const NAME: &[u8] = b"\"merchant_id\":\"";
    let mut named = memmem::find_iter(body, NAME).peekable();
    let is_this = |at: usize| {
        let rest = &body[at + NAME.len()..];
        rest.strip_prefix(merchant.as_bytes()).is_some_and(|end| end.starts_with(b"\""))
    };
    named.peek().is_some() && named.all(is_this)
}

fn number(body: &[u8], name: &[u8]) -> Option<u64> {
    let digits = &body[memmem::find(body, name)? + name.len()..];
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// The body without its coding. None for a coding that was not asked for, and for a broken one.
pub(super) fn decoded(headers: &HeaderMap, body: Bytes) -> Option<Bytes> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Some(body) };
    let coding = Coding::from_name(coding.as_bytes()).filter(|coding| *coding != Coding::Br)?;
    codec::decode(coding, &body, MOST).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests;
