//! Whether an answer may be kept (RFC 9111, 3).

use http::header::{ETAG, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED, SET_COOKIE};

use super::control::Control;
use super::freshness::{Basis, Life, Times, may_be_guessed};
use super::vary::{Names, Unmatched};
use super::{Partition, Rules, date};

/// What of a request decides on storing its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Its method is GET.
    pub get: bool,
    /// It says `no-store`.
    pub no_store: bool,
    /// It carries one of the route's credentials.
    pub credential: bool,
    /// It has an `Authorization` field.
    pub authorization: bool,
}

/// An answer that may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// When it may be served.
    pub life: Life,
    /// What its freshness rests on.
    pub basis: Basis,
    /// What it varies by.
    pub vary: Names,
    /// Fields that are not kept with it, beside those that never are: see [`super::fields`].
    pub drop: Vec<HeaderName>,
    /// Whether the origin can be asked if it still holds.
    pub validator: bool,
}

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unstorable {
    /// The request is no GET.
    Method,
    /// The request says `no-store`.
    RequestNoStore,
    /// Answers of its status mean something for their own request alone, or are not to be stored.
    Status,
    /// It is a part of an answer.
    Partial,
    /// It sets a cookie.
    SetCookie,
    /// It says `no-store`.
    NoStore,
    /// It says `private`.
    Private,
    /// It varies by something that is no field of the request.
    VaryStar,
    /// It varies by too many fields.
    VaryTooMany,
    /// The request carries a credential, and neither the origin nor the route allows to keep what was answered to it.
    Authorization,
    /// Nobody says how long it is fresh, and its status is none that may be stored all the same.
    NoFreshness,
    /// It can never be served without asking the origin, and there is nothing to ask the origin with.
    Expired,
}

impl Unstorable {
    /// The word in Cache-Status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unstorable::Method => "method",
            Unstorable::RequestNoStore => "request_no_store",
            Unstorable::Status => "status",
            Unstorable::Partial => "partial",
            Unstorable::SetCookie => "set_cookie",
            Unstorable::NoStore => "no_store",
            Unstorable::Private => "private",
            Unstorable::VaryStar => "vary_star",
            Unstorable::VaryTooMany => "vary_too_many",
            Unstorable::Authorization => "authorization",
            Unstorable::NoFreshness => "no_freshness",
            Unstorable::Expired => "expired",
        }
    }
}

/// Decides on an answer from its head. After a 304 this is asked again, with what [`super::merge`] made of the stored head.
///
/// # Errors
/// Why it may not be kept.
pub fn storable(
    asked: &Asked,
    status: u16,
    headers: &HeaderMap,
    rules: &Rules,
    times: Times,
) -> Result<Stored, Unstorable> {
    if !asked.get {
        return Err(Unstorable::Method);
    }
    if asked.no_store {
        return Err(Unstorable::RequestNoStore);
    }
    if status == 206 {
        return Err(Unstorable::Partial);
    }
    if is_for_one(status) {
        return Err(Unstorable::Status);
    }
    let control = Control::of(headers);
    // RFC 9111 would keep it for everybody. Only a route that asks for the standard, all of it, gets that, and only for
    // what came to nobody in particular and is meant to be stored by its own word.
    let stated = control.max_age.is_some() || control.s_maxage.is_some() || headers.contains_key(EXPIRES);
    let standard = rules.partition == Partition::Standard && !rules.replace && stated;
    if headers.contains_key(SET_COOKIE) && (!standard || asked.credential || asked.authorization) {
        return Err(Unstorable::SetCookie);
    }
    allowed(&control, status)?;
    partition(&control, asked, rules.partition)?;
    let vary = Names::of(headers).map_err(|why| match why {
        Unmatched::Star => Unstorable::VaryStar,
        Unmatched::TooMany => Unstorable::VaryTooMany,
    })?;
    let (life, basis) = Life::of(status, headers, &control, rules, asked.credential, times);
    if basis == Basis::Nothing && !may_be_guessed(status) && !control.public {
        return Err(Unstorable::NoFreshness);
    }
    let validator = has_validator(headers);
    if !validator && !life.is_of_use() {
        return Err(if basis == Basis::Nothing { Unstorable::NoFreshness } else { Unstorable::Expired });
    }
    Ok(Stored { life, basis, vary, drop: control.fields, validator })
}

/// What the origin says about storing at all.
fn allowed(control: &Control, status: u16) -> Result<(), Unstorable> {
    if control.must_understand && !is_understood(status) {
        return Err(Unstorable::Status);
    }
    if control.no_store && !control.must_understand {
        return Err(Unstorable::NoStore);
    }
    if control.private {
        return Err(Unstorable::Private);
    }
    Ok(())
}

fn partition(control: &Control, asked: &Asked, partition: Partition) -> Result<(), Unstorable> {
    let allowed = match partition {
        Partition::PerCredential => true,
        Partition::NeverStore => !asked.credential && !asked.authorization,
        Partition::Standard => {
            !asked.authorization || control.public || control.s_maxage.is_some() || control.must_revalidate
        }
    };
    if allowed { Ok(()) } else { Err(Unstorable::Authorization) }
}

/// Statuses of answers that are no final ones, that speak of the request's own conditions, credentials or timing, or that
/// RFC 6585 forbids to store.
fn is_for_one(status: u16) -> bool {
    !(200..=599).contains(&status)
        || matches!(status, 304 | 401 | 407 | 408 | 412 | 416 | 417 | 421 | 425 | 426 | 428 | 429 | 431 | 511)
}

/// The statuses of RFC 9110 that a cache has nothing more to know about.
fn is_understood(status: u16) -> bool {
    matches!(status, 200..=205 | 300..=303 | 305 | 307 | 308 | 400 | 402..=406 | 409..=411 | 413..=415 | 422 | 500..=505)
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.get(ETAG).is_some_and(|tag| !tag.is_empty()) || date::field(headers.get_all(LAST_MODIFIED)).is_some()
}

#[cfg(test)]
mod tests;
