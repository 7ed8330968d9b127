//! Whether a failed attempt is repeated, and when.
//!
//! The one rule that guards money: a request that the application may have seen is sent again only where that cannot do
//! its work twice ([`may_repeat`]). Everything else here only ever says no.

use std::time::Duration;

use http::Method;

mod budget;
mod settings;

use crate::policy::failure::Failure;
pub use budget::Budget;
pub use settings::{Backoff, BudgetSettings, Cause, Methods, NonIdempotent, Settings};

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No connection: refused, unreachable, not in time, or TLS failed.
    Connect,
    /// Connected, and provably nothing was taken: REFUSED_STREAM, GOAWAY with a lower last stream, or the first write on
    /// a reused connection failed.
    Unsent,
    /// A reused connection was closed before any byte of an answer came. The request was written: the application may
    /// have read it before it closed.
    Stale,
    /// The connection ended before the answer did.
    Reset,
    /// No answer in the time that the route gives.
    Timeout,
    /// No answer in the time of one attempt (`per_attempt`).
    PerAttempt,
    /// A whole answer with this status.
    Status(u16),
}

/// What the application can know of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not a byte of it was written, or the application provably refused it unread.
    Nothing,
    /// Anything else.
    MaybeSeen,
}

/// An attempt that failed, and all that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'r> {
    /// How.
    pub kind: Kind,
    /// What the application can know of the request.
    pub seen: Seen,
    /// The request's method.
    pub method: &'r Method,
    /// The request carries an idempotency key.
    pub has_idempotency_key: bool,
    /// The upstream says `honours_idempotency_keys`.
    pub upstream_honours_keys: bool,
    /// How many attempts there have been, this one included.
    pub attempt: u32,
    /// The whole body can be sent again; true where there is none.
    pub body_at_hand: bool,
    /// Its length in bytes.
    pub body_len: u64,
    /// The next attempt goes to an endpoint that this request has not tried yet.
    pub other_endpoint: bool,
    /// What the answer says in Retry-After.
    pub retry_after: Option<Duration>,
    /// Until the request's deadline.
    pub time_left: Duration,
    /// What an attempt takes at least.
    pub expected_least: Duration,
    /// The process is about to end.
    pub draining: bool,
    /// A random number.
    pub seed: u64,
}

/// The attempt is to be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// After this time.
    pub after: Duration,
    /// It adds load to the application, so the budget has to allow it ([`Budget::withdraw`]).
    pub charged: bool,
}

/// Whether a failed attempt is repeated.
pub fn decide(settings: &Settings, failed: &Failed<'_>) -> Option<Again> {
    // A status is an answer, so the request was seen, whatever the caller took down.
    let seen = if matches!(failed.kind, Kind::Status(_)) { Seen::MaybeSeen } else { failed.seen };
    let allowed = failed.attempt < settings.attempts
        && !failed.draining
        && asked_for(settings, failed.kind)
        && may_repeat(settings, failed.method, failed.has_idempotency_key, failed.upstream_honours_keys, seen)
        && failed.body_at_hand
        && (seen == Seen::Nothing || failed.body_len <= settings.max_body.bytes());
    if !allowed {
        return None;
    }
    let after = wait(settings, failed);
    let needed = after.saturating_add(failed.expected_least);
    (needed <= failed.time_left).then_some(Again { after, charged: is_charged(failed, seen) })
}

/// Whether a request may be sent again without doing its work twice, as far as the settings allow it.
///
/// Unseen, any request may, unless `non_idempotent: never` forbids it for methods that are not repeatable by themselves.
/// Seen, only one whose method is repeatable by itself, or whose key makes the upstream itself tell the second from the
/// first: a key that only we know of does not help there.
pub fn may_repeat(
    settings: &Settings,
    method: &Method,
    has_key: bool,
    upstream_honours_keys: bool,
    seen: Seen,
) -> bool {
    let idempotent = settings.methods == Methods::Idempotent && matches!(*method, Method::PUT | Method::DELETE);
    if method.is_safe() || idempotent {
        return true;
    }
    match (settings.non_idempotent, seen) {
        (NonIdempotent::Never, _) | (NonIdempotent::Unsent, Seen::MaybeSeen) => false,
        (NonIdempotent::Unsent | NonIdempotent::UpstreamDeduplicates, Seen::Nothing) => true,
        (NonIdempotent::UpstreamDeduplicates, Seen::MaybeSeen) => has_key && upstream_honours_keys,
    }
}

impl Settings {
    /// The bound of one attempt, `per_attempt`: none on the last one, and none for a request that may not be repeated
    /// once it was seen ([`may_repeat`]): its time could only be cut short, and its outcome would be lost.
    pub fn per_attempt(&self, attempt: u32, may_repeat_seen: bool) -> Option<Duration> {
        self.per_attempt.map(|bound| bound.get()).filter(|_| attempt < self.attempts && may_repeat_seen)
    }
}

/// Whether `retry_on` names it.
fn asked_for(settings: &Settings, kind: Kind) -> bool {
    let names = |failure: Failure| settings.retry_on.iter().any(|cause| cause.get() == failure);
    match kind {
        Kind::Connect => names(Failure::Connect),
        Kind::Stale | Kind::Reset => names(Failure::Reset),
        Kind::Unsent => names(Failure::Reset) || names(Failure::Connect),
        Kind::Timeout => names(Failure::Timeout),
        // Who bounds one attempt wants another one.
        Kind::PerAttempt => true,
        Kind::Status(status) => names(Failure::Status(status)),
    }
}

/// Where the next attempt meets another connection or another endpoint, nothing is gained by waiting.
fn is_elsewhere(failed: &Failed<'_>) -> bool {
    match failed.kind {
        Kind::Unsent | Kind::Stale => true,
        Kind::Connect => failed.other_endpoint,
        _ => false,
    }
}

/// What reached no application adds no load to it. A stale connection whose request was written may have.
fn is_charged(failed: &Failed<'_>, seen: Seen) -> bool {
    !is_elsewhere(failed) || seen == Seen::MaybeSeen
}

/// Full jitter, doubled with each attempt. What the application asked for in Retry-After comes on top: all who were told
/// the same second would otherwise come back in the same moment.
fn wait(settings: &Settings, failed: &Failed<'_>) -> Duration {
    if is_elsewhere(failed) {
        return Duration::ZERO;
    }
    let doublings = failed.attempt.saturating_sub(1).min(31);
    let most = settings.backoff.base.get().saturating_mul(1 << doublings).min(settings.backoff.max.get());
    // The seed as a fraction of 2^64; the product of two numbers of 64 bits fits into 128.
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    let jitter = Duration::from_nanos(((u128::from(most) * u128::from(failed.seed)) >> 64) as u64);
    match failed.kind {
        Kind::Status(_) => failed.retry_after.unwrap_or_default().saturating_add(jitter),
        _ => jitter,
    }
}

#[cfg(test)]
mod tests;
