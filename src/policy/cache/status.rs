//! The `Cache-Status` field (RFC 9211): what the cache did, told to who asks.

/// The name of the cache.
const NAME: &str = "outboard";

/// What was done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Answered from the store.
    Hit {
        /// For how many seconds the answer is fresh yet; negative, for how many it is not any more.
        ttl: i64,
    },
    /// Sent on.
    Forward {
        /// Why.
        why: Forward,
        /// The status of the origin's answer, where it is not that of ours.
        status: Option<u16>,
        /// Whether its answer was stored.
        stored: bool,
        /// Whether another request's answer was waited for instead.
        collapsed: bool,
    },
}

/// Why a request was sent on (RFC 9211, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The route does not cache it.
    Bypass,
    /// Its method is none that is answered from a store.
    Method,
    /// Nothing is stored for its URL.
    UriMiss,
    /// What is stored for its URL is for requests that say something else.
    VaryMiss,
    /// It asked for that.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is only a part of it.
    Partial,
}

impl Forward {
    /// The word in the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
            Forward::Partial => "partial",
        }
    }
}

/// Appends the field's value. The detail is one of our own words, such as [`super::store::Unstorable::as_str`].
pub fn write(handled: &Handled, detail: Option<&'static str>, out: &mut Vec<u8>) {
    out.extend_from_slice(NAME.as_bytes());
    let number = |out: &mut Vec<u8>, name: &str, value: i64| {
        let mut digits = itoa::Buffer::new();
        [b"; ", name.as_bytes(), b"=", digits.format(value).as_bytes()]
            .iter()
            .for_each(|part| out.extend_from_slice(part));
    };
    match *handled {
        Handled::Hit { ttl } => {
            out.extend_from_slice(b"; hit");
            number(out, "ttl", ttl);
        }
        Handled::Forward { why, status, stored, collapsed } => {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(why.as_str().as_bytes());
            if let Some(status) = status {
                number(out, "fwd-status", i64::from(status));
            }
            if stored {
                out.extend_from_slice(b"; stored");
            }
            if collapsed {
                out.extend_from_slice(b"; collapsed");
            }
        }
    }
    if let Some(detail) = detail {
        out.extend_from_slice(b"; detail=");
        out.extend_from_slice(detail.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(handled: Handled, detail: Option<&'static str>) -> String {
        let mut out = Vec::new();
        write(&handled, detail, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_case_is_told_in_its_words() {
        let forward = |why| Handled::Forward { why, status: None, stored: false, collapsed: false };
        assert_eq!(written(Handled::Hit { ttl: 42 }, None), "outboard; hit; ttl=42");
        assert_eq!(
            written(Handled::Hit { ttl: -3 }, Some("stale_if_error")),
            "outboard; hit; ttl=-3; detail=stale_if_error"
        );
        assert_eq!(written(forward(Forward::Method), None), "outboard; fwd=method");
        assert_eq!(written(forward(Forward::Bypass), Some("set_cookie")), "outboard; fwd=bypass; detail=set_cookie");
        let stored = Handled::Forward { why: Forward::UriMiss, status: None, stored: true, collapsed: false };
        assert_eq!(written(stored, None), "outboard; fwd=uri-miss; stored");
        let validated = Handled::Forward { why: Forward::Stale, status: Some(304), stored: true, collapsed: false };
        assert_eq!(written(validated, None), "outboard; fwd=stale; fwd-status=304; stored");
        let waited = Handled::Forward { why: Forward::VaryMiss, status: None, stored: false, collapsed: true };
        assert_eq!(written(waited, None), "outboard; fwd=vary-miss; collapsed");
    }

    #[test]
    fn what_is_written_is_a_structured_field() {
        let all = [Forward::Bypass, Forward::Method, Forward::UriMiss, Forward::VaryMiss, Forward::Request];
        for why in all.into_iter().chain([Forward::Stale, Forward::Partial]) {
            let handled = Handled::Forward { why, status: Some(304), stored: true, collapsed: true };
            for text in [written(handled, Some("no_store")), written(Handled::Hit { ttl: -1 }, None)] {
                assert!(sfv::Parser::parse_list(text.as_bytes()).is_ok(), "{text}");
            }
        }
    }
}
