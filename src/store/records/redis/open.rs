//! Records that are sent or unknown: listed and counted.

use std::time::Duration;

use redis::Value;

use super::Redis;
use super::error::Error;
use super::link::Call;
use super::record::{Record, State, answer, bytes, number, record, unhex};
use super::scripts::{FORMAT, LIST, OPEN, PREFIX};

/// So many records of the index are looked at in one step, while the server does nothing else.
pub(super) const PAGE: usize = 128;

/// So many steps are taken: what is behind them is not listed and not counted.
const PAGES: usize = 800;

/// How many records are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sent, and not overdue.
    pub sent: u64,
    /// Unknown.
    pub unknown: u64,
    /// The time since the oldest unknown one was sent.
    pub oldest_unknown: Option<Duration>,
    /// There are more than were counted: the oldest 102,400 were.
    pub more: bool,
}

impl Redis {
    /// Records that are sent or unknown, the oldest first.
    pub async fn open(&self, limit: usize) -> Result<Vec<([u8; 16], Record)>, Error> {
        self.list(limit, |_| true).await
    }

    /// Records that are unknown, the oldest first.
    pub async fn unknowns(&self, limit: usize) -> Result<Vec<([u8; 16], Record)>, Error> {
        self.list(limit, |record| record.state == State::Unknown).await
    }

    async fn list(&self, limit: usize, wanted: impl Fn(&Record) -> bool) -> Result<Vec<([u8; 16], Record)>, Error> {
        let (mut found, mut at) = (Vec::new(), 0);
        for _ in 0..PAGES {
            let (page, last) = self.page(at).await?;
            at += page.len();
            found.extend(page.into_iter().filter(|(_, record)| wanted(record)));
            if last || found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// How many records are open, and since when.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let (mut counts, mut at) = (Counts::default(), 0);
        for _ in 0..PAGES {
            let (page, last) = self.page(at).await?;
            at += page.len();
            for (_, record) in &page {
                if record.state == State::Unknown {
                    counts.unknown += 1;
                    counts.oldest_unknown = counts.oldest_unknown.max(Some(record.sent_ago));
                } else {
                    counts.sent += 1;
                }
            }
            if last {
                return Ok(counts);
            }
        }
        Ok(Counts { more: true, ..counts })
    }

    /// A page of the index from there on, and whether it is the last.
    async fn page(&self, at: usize) -> Result<(Vec<([u8; 16], Record)>, bool), Error> {
        let (at, count) = (at.to_string(), PAGE.to_string());
        let args: [&[u8]; 3] = [FORMAT.as_bytes(), at.as_bytes(), count.as_bytes()];
        let call = Call { script: &LIST, keys: &[PREFIX, OPEN], args: &args, wait: None };
        let reply = self.link.run(&call).await?;
        let (b"page", [now, gone, Value::Array(found)]) = answer(&reply.value)? else {
            return Err(Error::Unexpected("an answer that list does not give"));
        };
        let (now, gone) = (number(now)?, number(gone)?);
        let mut page = Vec::with_capacity(found.len() / 2);
        for pair in found.chunks_exact(2) {
            let [hash, Value::Array(values)] = pair else {
                return Err(Error::Unexpected("expected a hash and a record"));
            };
            page.push((unhex(bytes(hash)?)?, record(now, values)?));
        }
        let last = page.len() as u64 + gone < PAGE as u64;
        Ok((page, last))
    }
}
