//! How long an answer is fresh, how old it is, and what may be done with it (RFC 9111, 4.2; RFC 5861).

use http::header::{AGE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED};

use super::control::{Control, RequestControl};
use super::{FOREVER, Rules, date, delta_seconds, seconds};

/// The most that a stored answer to a request with a credential may be stale when it is served after all: nobody knows
/// whether the credential still holds.
const STALE_WITH_CREDENTIAL: u32 = 60;

/// The most that is guessed, however long ago the answer changed for the last time.
const LONGEST_GUESS: u32 = 24 * 60 * 60;

/// When an exchange took place, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The request was sent.
    pub sent: u64,
    /// The head of its answer was there.
    pub received: u64,
}

/// What the freshness of an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The origin states it.
    Origin,
    /// The route's `ttl`.
    Ttl,
    /// The route's `negative_ttl`.
    Negative,
    /// A tenth of the time since it changed.
    Guess,
    /// Nothing: it has to be validated each time.
    Nothing,
}

/// The life of a stored answer: all that it takes to decide on a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// When it was stored or last validated, in seconds since 1970.
    at: u32,
    /// How old it was then.
    age: u32,
    /// How old it may be.
    lifetime: u32,
    stale_while_revalidate: u32,
    stale_if_error: u32,
    flags: u8,
}

const NO_CACHE: u8 = 1;
const NEVER_STALE: u8 = 2;
const CREDENTIAL: u8 = 4;

/// What may be done with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Fresh,
    /// Serve it: it is stale, and the client said that this will do.
    Stale,
    /// Serve it, and fetch it anew meanwhile.
    StaleWhileRevalidate,
    /// Ask the origin first.
    Revalidate,
}

impl Life {
    /// The life of an answer that came just now. `credential` says whether the request carried one.
    pub fn of(
        status: u16,
        headers: &HeaderMap,
        control: &Control,
        rules: &Rules,
        credential: bool,
        times: Times,
    ) -> (Life, Basis) {
        let (lifetime, basis) = lifetime(status, headers, control, rules, credential, times.received);
        let (swr, sie) = windows(control, rules, credential);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let life = Life {
            at: clock(times.received),
            age: initial_age(headers, times),
            lifetime,
            stale_while_revalidate: swr,
            stale_if_error: sie,
            flags: flag(control.no_cache, NO_CACHE)
                | flag(control.forbids_stale() || control.s_maxage.is_some(), NEVER_STALE)
                | flag(credential, CREDENTIAL),
        };
        (life, basis)
    }

    /// When it came, in seconds since 1970.
    pub fn stored_at(&self) -> u64 {
        u64::from(self.at)
    }

    /// How old it is.
    pub fn age(&self, now: u64) -> u32 {
        self.age.saturating_add(clock(now).saturating_sub(self.at)).min(FOREVER)
    }

    /// For how many seconds it is fresh yet; negative, for how many it is not any more.
    pub fn left(&self, now: u64) -> i64 {
        i64::from(self.lifetime) - i64::from(self.age(now))
    }

    /// Whether it may be served without asking anybody, were it for the origin alone.
    pub fn is_fresh(&self, now: u64) -> bool {
        self.left(now) > 0 && !self.has(NO_CACHE)
    }

    /// Whether it can ever be served without asking the origin first, now or while it is stale.
    pub fn is_of_use(&self) -> bool {
        !self.has(NO_CACHE) && (self.lifetime > 0 || self.stale_while_revalidate > 0 || self.stale_if_error > 0)
    }

    /// Whether each request has to ask the origin about it, however young it is: then nobody gains by waiting for another's
    /// word.
    pub fn is_for_one_request(&self) -> bool {
        self.has(NO_CACHE) || self.lifetime <= self.age && self.stale_while_revalidate == 0
    }

    /// Makes it stale, for those who asked for that (a soft purge): what may be served stale still may be.
    pub fn expire(&mut self, now: u64) {
        self.lifetime = self.lifetime.min(self.age(now));
    }

    /// Whether it may be served where the origin cannot be asked or answered with an error.
    pub fn may_serve_on_error(&self, request: &RequestControl, now: u64) -> bool {
        let older = request.max_age.is_some_and(|most| self.age(now) > most);
        if self.has(NO_CACHE) || request.no_cache || request.no_store || older {
            return false;
        }
        self.left(now) > 0 || self.stale(now) < self.stale_if_error || self.may_serve_max_stale(request, now)
    }

    /// Whether the client takes it as stale as it is, and the origin does not forbid it.
    pub fn may_serve_max_stale(&self, request: &RequestControl, now: u64) -> bool {
        let Some(most) = request.max_stale else { return false };
        let most = if self.has(CREDENTIAL) { most.min(STALE_WITH_CREDENTIAL) } else { most };
        !self.has(NO_CACHE | NEVER_STALE) && self.stale(now) <= most
    }

    /// For how many seconds it has been stale.
    fn stale(&self, now: u64) -> u32 {
        u32::try_from(-self.left(now)).unwrap_or(0)
    }

    fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// What may be done with a stored answer for this request.
pub fn decide(life: &Life, request: &RequestControl, now: u64) -> Verdict {
    let age = life.age(now);
    if life.has(NO_CACHE) || request.no_cache || request.no_store || request.max_age.is_some_and(|most| age > most) {
        return Verdict::Revalidate;
    }
    let left = life.left(now);
    if left > 0 {
        let enough = request.min_fresh.is_none_or(|least| left >= i64::from(least));
        return if enough { Verdict::Fresh } else { Verdict::Revalidate };
    }
    if request.min_fresh.is_some() {
        return Verdict::Revalidate;
    }
    if life.stale(now) < life.stale_while_revalidate {
        return Verdict::StaleWhileRevalidate;
    }
    if life.may_serve_max_stale(request, now) { Verdict::Stale } else { Verdict::Revalidate }
}

/// How long it is fresh, and why.
fn lifetime(
    status: u16,
    headers: &HeaderMap,
    control: &Control,
    rules: &Rules,
    credential: bool,
    received: u64,
) -> (u32, Basis) {
    let success = matches!(status, 200 | 203 | 204 | 300 | 301 | 308);
    if rules.replace && success {
        return (seconds(rules.ttl), Basis::Ttl);
    }
    if let Some(time) = control.s_maxage.or(control.max_age) {
        return (time, Basis::Origin);
    }
    if !control.targeted && headers.contains_key(EXPIRES) {
        return (until_expires(headers, received), Basis::Origin);
    }
    if let Some((_, ttl)) = rules.negative_ttl.iter().find(|(of, _)| *of == status) {
        return (seconds(*ttl), Basis::Negative);
    }
    if credential {
        return (0, Basis::Nothing);
    }
    if success && !rules.ttl.is_zero() && !rules.replace {
        return (seconds(rules.ttl), Basis::Ttl);
    }
    match date::field(headers.get_all(LAST_MODIFIED)) {
        Some(changed) if may_be_guessed(status) || control.public => (guess(headers, changed, received), Basis::Guess),
        _ => (0, Basis::Nothing),
    }
}

/// `Expires` as a lifetime. What is no date, or two, has expired.
fn until_expires(headers: &HeaderMap, received: u64) -> u32 {
    let date = date::field(headers.get_all(DATE)).unwrap_or(received);
    let expires = date::field(headers.get_all(EXPIRES)).unwrap_or(0);
    u32::try_from(expires.saturating_sub(date)).unwrap_or(FOREVER).min(FOREVER)
}

fn guess(headers: &HeaderMap, changed: u64, received: u64) -> u32 {
    let date = date::field(headers.get_all(DATE)).unwrap_or(received).min(received);
    u32::try_from(date.saturating_sub(changed) / 10).unwrap_or(LONGEST_GUESS).min(LONGEST_GUESS)
}

/// The statuses that may be stored without a word of the origin about it (RFC 9110, 15.1), but 206.
pub(super) fn may_be_guessed(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// How long it may be served stale: while it is validated, and in place of an error.
///
/// `s-maxage` forbids it (RFC 9111, 5.2.2.10) unless the origin, in the same breath, allows it.
fn windows(control: &Control, rules: &Rules, credential: bool) -> (u32, u32) {
    if control.forbids_stale() {
        return (0, 0);
    }
    let ours = |time| if control.s_maxage.is_some() { 0 } else { seconds(time) };
    let swr = control.stale_while_revalidate.unwrap_or_else(|| ours(rules.stale_while_revalidate));
    let sie = control.stale_if_error.unwrap_or_else(|| ours(rules.stale_if_error));
    (swr, if credential { sie.min(STALE_WITH_CREDENTIAL) } else { sie })
}

/// How old an answer is when it comes (RFC 9111, 4.2.3).
fn initial_age(headers: &HeaderMap, times: Times) -> u32 {
    let short = |time: u64| u32::try_from(time).unwrap_or(FOREVER).min(FOREVER);
    let date = date::field(headers.get_all(DATE)).unwrap_or(times.received);
    let apparent = short(times.received.saturating_sub(date));
    let delay = short(times.received.saturating_sub(times.sent));
    apparent.max(stated_age(headers).saturating_add(delay).min(FOREVER))
}

/// The `Age` field. Of several values the first counts, and what is no number does not (RFC 9111, 5.1); parameters, which
/// it cannot have, are cut off.
fn stated_age(headers: &HeaderMap) -> u32 {
    let Some(line) = headers.get(AGE) else { return 0 };
    let first = line.as_bytes().split(|b| matches!(b, b',' | b';')).next().unwrap_or_default();
    delta_seconds(first.trim_ascii()).unwrap_or(0)
}

fn clock(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
