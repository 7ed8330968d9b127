//! A record as Redis holds it, and the answers of the scripts read.

use std::fmt;
use std::time::Duration;

use redis::Value;

use super::error::Error;
use super::scripts::FORMAT;
use crate::policy::idempotency;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// An attempt has it; nothing was written to the application.
    Reserved,
    /// Something may have been written to the application.
    Sent,
    /// The answer is known.
    Done,
    /// Something may have been written, and nobody waits for the answer any more.
    Unknown,
}

/// A record. Times are by the server's clock, spans are what they were when it answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands. One that was sent and is overdue is unknown, whether anybody wrote that down yet or not.
    pub state: State,
    /// The number of the attempt that has it.
    pub fence: u64,
    /// The process that has it.
    pub owner: [u8; 16],
    /// When it was reserved, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was sent, in milliseconds since 1970; 0 where it was not.
    pub sent_ms: u64,
    /// How long a reserved one is still left to its owner.
    pub lease_left: Duration,
    /// How long a sent one may still be waited for.
    pub overdue_in: Duration,
    /// The time since it was reserved.
    pub age: Duration,
    /// The time since it was sent; zero where it was not.
    pub sent_ago: Duration,
    /// The status of the answer, 0 where there is none.
    pub status: u16,
    /// What the caller keeps beside it.
    pub meta: Vec<u8>,
    /// The answer, as the caller gave it.
    pub answer: Vec<u8>,
}

impl fmt::Debug for Record {
    /// Without what belongs to clients.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("state", &self.state)
            .field("fence", &self.fence)
            .field("age", &self.age)
            .field("status", &self.status)
            .field("meta_bytes", &self.meta.len())
            .field("answer_bytes", &self.answer.len())
            .finish_non_exhaustive()
    }
}

/// What a script answered: a word, and what belongs to it.
pub(super) fn answer(value: &Value) -> Result<(&[u8], &[Value]), Error> {
    let Value::Array(parts) = value else { return Err(Error::Unexpected("expected an array")) };
    let Some((word, rest)) = parts.split_first() else { return Err(Error::Unexpected("expected a word, got nothing")) };
    let word = bytes(word)?;
    if word == b"format" {
        let found = rest.first().map(bytes).transpose()?.unwrap_or_default();
        let found = String::from_utf8_lossy(found).chars().take(20).collect();
        return Err(Error::Format { found, known: FORMAT });
    }
    Ok((word, rest))
}

/// The time, and the record at that time.
pub(super) fn held(rest: &[Value]) -> Result<Record, Error> {
    let [now, Value::Array(values)] = rest else { return Err(Error::Unexpected("expected a time and a record")) };
    record(number(now)?, values)
}

/// A record from its fields, in the order that `lua/common.lua` gives them.
pub(super) fn record(now: u64, values: &[Value]) -> Result<Record, Error> {
    let [_, state, fence, owner, lease, overdue, created, sent, status, meta, answer] = values else {
        return Err(Error::Unexpected("expected a record of 11 fields"));
    };
    let (lease, overdue, created, sent) = (number(lease)?, number(overdue)?, number(created)?, number(sent)?);
    let state = match bytes(state)? {
        b"reserved" => State::Reserved,
        b"sent" if now > overdue => State::Unknown,
        b"sent" => State::Sent,
        b"done" => State::Done,
        b"unknown" => State::Unknown,
        _ => return Err(Error::Unexpected("a record in a state that is not known")),
    };
    let span = |from: u64, to: u64| Duration::from_millis(to.saturating_sub(from));
    let until = |of, time| if state == of { span(now, time) } else { Duration::ZERO };
    Ok(Record {
        state,
        fence: number(fence)?,
        owner: unhex(bytes(owner)?)?,
        created_ms: created,
        sent_ms: sent,
        lease_left: until(State::Reserved, lease),
        overdue_in: until(State::Sent, overdue),
        age: span(created, now),
        sent_ago: if sent == 0 { Duration::ZERO } else { span(sent, now) },
        status: u16::try_from(number(status)?).map_err(|_| Error::Unexpected("a status that is none"))?,
        meta: optional(meta)?.to_vec(),
        answer: optional(answer)?.to_vec(),
    })
}

/// A number that a script wrote as text.
pub(super) fn number(value: &Value) -> Result<u64, Error> {
    if let Value::Int(number) = value {
        return u64::try_from(*number).map_err(|_| Error::Unexpected("a negative number"));
    }
    let digits = std::str::from_utf8(bytes(value)?).ok().and_then(|digits| digits.parse().ok());
    digits.ok_or(Error::Unexpected("expected a number"))
}

/// The bytes of a field.
pub(super) fn bytes(value: &Value) -> Result<&[u8], Error> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.as_bytes()),
        _ => Err(Error::Unexpected("expected a string")),
    }
}

/// The bytes of a field that may be missing.
fn optional(value: &Value) -> Result<&[u8], Error> {
    if matches!(value, Value::Nil) { Ok(&[]) } else { bytes(value) }
}

/// A hash as it stands in keys and fields.
pub(super) fn unhex(text: &[u8]) -> Result<[u8; 16], Error> {
    let hash = std::str::from_utf8(text).ok().and_then(idempotency::unhex);
    hash.ok_or(Error::Unexpected("expected 32 hexadecimal digits"))
}
