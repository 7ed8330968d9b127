//! The rules of a shared HTTP cache: RFC 9111 with RFC 9213 (CDN-Cache-Control), RFC 9211 (Cache-Status), RFC 5861 (serving
//! stale) and of RFC 9110 what a cache answers by itself (conditions and ranges).
//!
//! Pure: heads and the time of the day go in, decisions come out. The store, the fetches and their order are not here.
//! Where the documents leave a choice, what is kept is less and what is served is younger: a wrong hit shows one
//! customer what belongs to another, a wrong miss costs one request.
//!
//! In reading order: [`key`] finds the object, [`vary`] the variant; [`control`] reads what both sides ask for and
//! [`freshness`] makes a decision of it; [`store`] says what may be kept, [`fields`] which of its header; [`merge`] takes
//! in a 304; [`conditional`] and [`range`] answer from what is kept; [`invalidate`] says what a change makes stale;
//! [`status`] tells the client what happened.

use std::time::Duration;

pub mod conditional;
pub mod control;
pub mod date;
pub mod fields;
pub mod freshness;
pub mod invalidate;
mod invalidate_settings;
pub mod key;
pub mod merge;
pub mod range;
mod settings;
pub mod status;
pub mod store;
mod targeted;
pub mod vary;

pub use freshness::{Life, Times};
pub use invalidate_settings::Settings as InvalidateSettings;
pub use settings::{Coalesce, ErrorStatus, Freshness, Partition, Settings, Tags};

/// What the rules need of a route's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// `freshness: override`: `ttl` stands in for the freshness that the origin states, and for nothing else it says.
    pub replace: bool,
    /// How long a successful answer is fresh that says nothing of it, where no credential came; with `replace`, every one.
    pub ttl: Duration,
    /// How long a stale answer is still served while it is fetched anew, where the origin does not say.
    pub stale_while_revalidate: Duration,
    /// How long a stale answer is still served in place of an error, where the origin does not say.
    pub stale_if_error: Duration,
    /// How long answers of these statuses are fresh, where the origin does not say.
    pub negative_ttl: Box<[(u16, Duration)]>,
    /// What becomes of answers to requests that carry a credential.
    pub partition: Partition,
}

/// The longest time that HTTP can say, in seconds: what is longer counts as this (RFC 9111, 1.2.2).
pub const FOREVER: u32 = 1 << 31;

/// Whole seconds, as freshness counts them.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(FOREVER).min(FOREVER)
}

/// `1*DIGIT`; what is too large counts as the longest time there is.
fn delta_seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit).min(FOREVER))
    })
}

#[cfg(test)]
mod tests;
